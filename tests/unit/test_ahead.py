"""The policy: what is worth running ahead, and in which order."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto import habits
from stretto.ahead import LISTED_MOST, WORTH_S, Candidate, desired, given_paths, ineligible, likelihoods
from stretto.commands import Check
from stretto.fold import Job
from stretto.model import Invocation, JobKey
from stretto.rules import PRESETS

PRICE = PRESETS["balanced"].price


def told(*story: tuple) -> habits.Habits:
    """Habits after a session in which this happened: ("w", path), ("c", job, took_s, passed), ("z", seconds)."""
    learned, at_s = habits.Habits(), 100.0
    habits.session_began(learned, at_s)
    for what, *rest in story:
        at_s += 5.0
        if what == "w":
            habits.wrote(learned, at_s, rest[0])
        elif what == "c":
            habits.asked(learned, at_s, rest[0])
            at_s += rest[1]
            habits.ended(learned, at_s, rest[0], passed=rest[2], took_s=rest[1])
        else:
            at_s += rest[0]
    return learned


def wants(learned: habits.Habits, *jobs: str, after_s: float = 0.5, price: float = PRICE, usual_s: float = 5.0) -> list[JobKey]:
    candidates = [Candidate(job=JobKey(job), usual_s=learned.lasts_s.get(job, usual_s)) for job in jobs]
    return desired(learned, candidates, learned.heard_s + after_s, price)


ROUND = (("w", "src/a.py"), ("c", "tests", 6.0, True), ("w", "src/a.py"), ("c", "tests", 6.0, True))


def test_what_was_asked_after_every_write_is_wanted_after_the_next():
    assert wants(told(*ROUND, ("w", "src/a.py")), "tests") == ["tests"]


def test_a_command_asked_for_once_is_wanted_after_the_first_write():
    assert wants(told(("c", "tests", 6.0, True), ("w", "src/a.py")), "tests") == ["tests"]


def test_a_command_whose_first_ask_no_moment_saw_coming_is_known_from_then_on():
    """The first look at the tree finds a change and is the question's own: nothing could have been begun between the two."""
    learned = habits.Habits()
    habits.session_began(learned, 100.0)
    habits.wrote(learned, 101.37, "/home/git/ignore")
    for job, asked_s, ended_s in (("slow", 101.37, 101.98), ("quick", 102.09, 102.39)):
        habits.asked(learned, asked_s, job)
        habits.ended(learned, ended_s, job, passed=True, took_s=ended_s - asked_s)
    habits.wrote(learned, 102.92, "src.py")
    assert set(wants(learned, "slow", "quick")) == {"slow", "quick"}


def test_before_anything_was_written_nothing_is_wanted():
    assert wants(told(("c", "tests", 6.0, True)), "tests", "lint") == []


def test_what_was_asked_since_the_last_write_is_not_wanted_again():
    assert wants(told(*ROUND), "tests") == []


def test_a_command_of_which_nothing_is_known_is_not_wanted():
    assert wants(told(*ROUND, ("w", "src/a.py")), "never") == []


def test_what_is_too_quick_to_be_felt_is_not_wanted():
    story = [("c", "tests", WORTH_S / 2, True), ("w", "src/a.py")] * 3
    assert wants(told(*story), "tests") == []


def test_a_command_never_asked_after_many_writes_is_given_up_and_comes_back_when_it_is_asked():
    given_up = told(*ROUND, *[("w", "src/a.py")] * 60)
    assert wants(given_up, "tests") == []
    back = told(*ROUND, *[("w", "src/a.py")] * 60, *ROUND * 3, ("w", "src/a.py"))
    assert wants(back, "tests") == ["tests"]


def test_after_the_first_check_what_usually_follows_it_is_wanted():
    story = [("w", "src/a.py"), ("c", "lint", 1.0, True), ("c", "tests", 20.0, True)] * 6
    learned = told(*story, ("w", "src/a.py"), ("c", "lint", 1.0, True))
    assert wants(learned, "lint", "tests") == ["tests"]


def test_the_longer_nothing_is_asked_the_less_likely_it_is():
    learned = told(*ROUND * 3, ("w", "src/a.py"))
    soon, late = (likelihoods(learned, [JobKey("tests")], learned.heard_s + after_s)["tests"] for after_s in (1.0, 50.0))
    assert late < soon


def test_what_runs_already_is_worth_more_than_what_would_begin():
    learned = told(*ROUND * 3, ("w", "src/a.py"))
    now_s = learned.heard_s + 1.0
    dear = next(
        price / 100 for price in range(1, 2000) if not desired(learned, [Candidate(job=JobKey("tests"), usual_s=6.0)], now_s, price / 100)
    )
    assert desired(learned, [Candidate(job=JobKey("tests"), usual_s=6.0, run_s=5.9)], now_s, dear) == ["tests"]


def test_a_lower_price_of_idle_work_wants_no_less():
    learned = told(*ROUND, *[("w", "src/a.py")] * 6)
    wanted = [set(wants(learned, "tests", price=preset.price)) for preset in PRESETS.values()]
    assert all(more >= less for less, more in pairwise(wanted))


STORIES = st.lists(
    st.one_of(
        st.tuples(st.just("w"), st.sampled_from(["a.py", "t/test_a.py", None])),
        st.tuples(st.just("c"), st.sampled_from("abcdefghijkl"), st.floats(0, 1e4), st.booleans()),
        st.tuples(st.just("z"), st.floats(0, 1e6)),
    ),
    max_size=60,
)


@given(STORIES, st.floats(-10, 1e7), st.floats(0, 1))
def test_the_answer_is_bounded_lists_nothing_twice_and_does_not_depend_on_the_order_given(story, after_s, price):
    learned = told(*story)
    candidates = [Candidate(job=JobKey(job), usual_s=learned.lasts_s.get(job, 5.0)) for job in "abcdefghijkl"]
    wanted = desired(learned, candidates, learned.heard_s + after_s, price)
    assert wanted == desired(learned, reversed(candidates), learned.heard_s + after_s, price)
    assert len(wanted) == len(set(wanted)) <= LISTED_MOST
    assert not set(wanted) & set(learned.stretch)


@given(STORIES)
def test_names_mean_nothing(story):
    other = dict(zip("abcdefghijkl", [f"zz{n}" for n in range(12)], strict=True))
    renamed = [(what, other[rest[0]], *rest[1:]) if what == "c" else (what, *rest) for what, *rest in story]
    one, two = told(*story), told(*renamed)
    now_s = one.heard_s + 1.0
    first = likelihoods(one, [JobKey(job) for job in other], now_s)
    second = likelihoods(two, [JobKey(job) for job in other.values()], now_s)
    assert {other[job]: round(likely, 9) for job, likely in first.items()} == {job: round(likely, 9) for job, likely in second.items()}


@given(STORIES)
def test_a_story_read_in_parts_teaches_what_it_teaches_read_at_once(story):
    beats = [habits.Beat("session", 0.0, "b")]
    for at, (what, *rest) in enumerate(story):
        if what == "c":
            beats += [habits.Beat("asked", float(at), "b", rest[0]), habits.Beat("ended", float(at), "b", rest[0], rest[2], rest[1])]
        elif what == "w":
            beats.append(habits.Beat("wrote", float(at), "b" if at < 30 else "c", rest[0] or ""))
    whole, parts = habits.Habits(), habits.Habits()
    habits.learn(whole, beats)
    for beat in beats:
        habits.learn(parts, [beat])
    assert whole == parts


def test_habits_stay_bounded_whatever_is_told():
    learned = told(*(("w", f"d{n}/f.py") if n % 3 else ("c", f"j{n}", 1.0, True) for n in range(3000)))
    assert len(learned.project) <= habits.SITUATIONS_MOST
    assert max(len(tally.hits) for tally in learned.project.values()) <= habits.JOBS_MOST
    assert max(map(len, (*learned.asks_s.values(), *learned.writes_s.values()))) <= habits.WAITS_MOST
    assert len(learned.lasts_s) <= habits.SITUATIONS_MOST and len(learned.sessions_of) <= habits.SITUATIONS_MOST


CHECK = Check(kind="test")
JOB = Job(job="j", name="pytest", argv=("pytest",), cwd=".", streams="merged", seen_at=0.0, clean=True)


def reason(job: Job = JOB, check: Check = CHECK, **changes: object) -> str:
    plain: dict[str, object] = {"idle_input": False, "allowed": False, "forbidden": False, "withheld": ""}
    return ineligible(job, check, **(plain | changes))


def test_a_command_seen_to_do_nothing_but_check_may_run_ahead():
    assert reason() == ""


@pytest.mark.parametrize(
    "field",
    [
        {"mutating": True},
        {"product_paths": frozenset({"dist/a"})},
        {"leaves": True},
        {"remote": True},
        {"reached": "use a service"},
        {"beside": "a server"},
        {"clean": False},
    ],
    ids=str,
)
def test_a_command_seen_to_do_more_may_not(field):
    job = msgspec.structs.replace(JOB, **field)
    assert reason(job)
    assert reason(job, allowed=True) == ""


def test_a_command_that_never_ended_by_itself_is_no_candidate():
    """A watcher, or one that always ran into a limit: `clean` is what the log says of a run that came to its own end."""
    assert "not seen to end" in reason(msgspec.structs.replace(JOB, clean=False))


def test_what_is_configured_to_rewrite_sources_does_not_unless_it_is_allowed_and_nothing_is_read_for_what_does_not_anyway():
    assert reason(fixes=lambda: "ruff.toml") == "it rewrites sources, says ruff.toml"
    assert reason(fixes=lambda: "ruff.toml", allowed=True) == ""
    asked: list[str] = []
    reason(msgspec.structs.replace(JOB, mutating=True), fixes=lambda: asked.append("read") or "")
    assert asked == []


@pytest.mark.parametrize("field", [{"hooked": True}, {"contradiction": "it failed", "alone_until": 3, "foreground_runs": 1}], ids=str)
def test_what_lives_another_life_does_not_run_ahead_whatever_is_allowed(field):
    assert reason(msgspec.structs.replace(JOB, **field), allowed=True)


def test_given_paths_are_those_that_a_call_names_whole():
    call = Invocation(
        name="pytest",
        exe=b"/bin/pytest",
        argv=(b"pytest", b"-q", b"/a/tests", b"--basetemp=/a/tmp", b"-o", b"cache_dir=/a/cache", b"tests/a.py::b"),
        cwd=b"/a",
        env=(b"TMPDIR=/t", b"PATH=/bin:/usr/bin", b"PWD=/never", b"LANG=C"),
        context=b"",
        streams="merged",
    )
    assert given_paths(call) == (b"/a", b"/a/tests", b"/a/tmp", b"/a/cache", b"/t")
    assert given_paths(call, env=False) == (b"/a", b"/a/tests", b"/a/tmp", b"/a/cache")


def test_what_git_gives_each_call_anew_makes_no_new_command_and_git_itself_makes_one():
    """Source: the variables that git 2.39 gives a pre-commit hook of `git commit -a`."""
    here = (b"PATH=/bin", b"HOME=/h")
    of_git = (b"GIT_INDEX_FILE=.git/index.lock", b"GIT_PREFIX=", b"GIT_EDITOR=:", b"GIT_EXEC_PATH=/usr/lib/git-core")

    def key(*env: bytes, below_git: bool = False) -> str:
        call = Invocation(
            name="x", exe=b"/x", argv=(b"x",), cwd=b"/", env=(*here, *env), context=b"", streams="merged", below_git=below_git
        )
        return call.key(b"salt", b"")

    first, second = (key(*of_git, b"GIT_AUTHOR_DATE=@%d +0000" % at) for at in (1, 2))
    assert first == second == key(below_git=True) == key(b"PRE_COMMIT=1")
    assert first != key()
    assert first != key(*of_git, b"MORE=1")
    assert key(b"GIT_SSH_COMMAND=a") != key(b"GIT_SSH_COMMAND=b"), "outside of git its variables are as any others"


@pytest.mark.parametrize(
    "changes", [{"idle_input": True}, {"withheld": "plan mode"}, {"forbidden": True}, {"grouped": True}, {"gone": "/tmp/x"}], ids=str
)
def test_what_the_rules_allow_is_still_no_more_than_the_host_would_do(changes):
    assert reason(allowed=True, **changes)


def test_a_build_does_not_run_ahead_unless_it_is_allowed():
    build = Check(kind="build", ahead=False)
    assert reason(check=build)
    assert reason(check=build, allowed=True) == ""


def test_a_machine_that_started_anew_forgets_no_habit_and_mixes_no_clocks():
    beats = [habits.Beat("session", 9e6, "one")]
    for at in range(4):
        at_s = 9e6 + 20 * at
        beats += [habits.Beat("wrote", at_s, "one", "a.py"), habits.Beat("asked", at_s + 5, "one", "tests")]
        beats.append(habits.Beat("ended", at_s + 11, "one", "tests", True, 6.0))
    beats += [habits.Beat("session", 3.0, "two"), habits.Beat("wrote", 9.0, "two", "a.py")]
    learned = habits.Habits()
    habits.learn(learned, beats)
    assert wants(learned, "tests") == ["tests"]
    assert all(0 <= time_s < 100 for times_s in (*learned.asks_s.values(), *learned.writes_s.values()) for time_s in times_s)
