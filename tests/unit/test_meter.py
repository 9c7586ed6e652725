"""The meter: when guesses lose (A-8), what a miss is nearest to (F39), and that every count adds up."""

from __future__ import annotations

import collections
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto import saved
from stretto.fold import BET_STOPPED, Job, State, apply, fold, recount
from stretto.meter import PATIENCE, PROBE_FIRST, PROBE_MOST, code_of, given_up, loses, nearest, nearest_words, probe_after
from stretto.model import (
    MISS_CODES,
    AttemptExited,
    AttemptId,
    AttemptStarted,
    CheckMissed,
    End,
    Invocation,
    JobKey,
    JobRetried,
    JobSeen,
    JoinAudited,
    JoinDecided,
    JoinDone,
    LogEvent,
    SessionId,
)
from stretto.snapshot import pack, unpack
from stretto.tally import COMMANDS_MOST, OTHERS, SESSIONS_MOST, SHAPES_MOST, Ledger, Tally

STAMP = {"ts": 5.0, "mono": 1.0, "boot": "b", "by": "test"}
JOB = JobKey("j")
PASS, STOPPED = End(how="code", value=0), End(how="cancelled", value=15)
SEEN = JobSeen(**STAMP, job=JOB, name="pytest", argv=("pytest",), cwd=".", streams="merged")


class Story:
    """One command's life, event by event."""

    def __init__(self) -> None:
        self.state = State()
        self.log: list[LogEvent] = []
        self.put(SEEN)
        self.count = 0

    @property
    def job(self) -> Job:
        return self.state.jobs[JOB]

    def put(self, event: LogEvent) -> None:
        self.log.append(event)
        apply(self.state, event)

    def ahead(self, end: End = PASS, cpu_s: float = 10.0, audits: AttemptId | None = None) -> AttemptId:
        self.count += 1
        attempt = AttemptId(f"a{self.count}")
        self.put(AttemptStarted(**STAMP, attempt=attempt, job=JOB, kind="ahead", session=None, generation=1, audits=audits))
        self.put(AttemptExited(**STAMP, attempt=attempt, end=end, out_bytes=0, err_bytes=0, took_s=cpu_s, cpu_s=cpu_s))
        return attempt

    def ask(self, attempt: AttemptId | None = None, saved_s: float = 9.0, code: str = "moved", session: str = "s") -> None:
        self.count += 1
        do, ask = ("replay" if attempt else "record"), f"q{self.count}"
        code = "" if attempt else code
        decided = {"job": JOB, "session": SessionId(session), "standing": "", "reason": "", "shape": "plain", "of": "ahead"}
        self.put(JoinDecided(**STAMP, ask=ask, do=do, attempt=attempt, code=code, **decided))
        if attempt:
            self.put(JoinDone(**STAMP, ask=ask, attempt=attempt, waited_s=0.1, saved_s=saved_s))


# --- guesses that lose ----------------------------------------------------------------------------------------------------------


def test_a8_a_command_whose_runs_nobody_takes_is_given_up_after_eight_and_says_so_with_figures():
    story = Story()
    for number in range(int(PATIENCE)):
        assert not loses(story.job), number
        story.ahead()
    assert loses(story.job).startswith("given up: its ahead runs do not pay, lately 0.0 s hidden for ")
    assert "tried again after 4 more calls" in loses(story.job)


def test_a8_each_probe_in_vain_doubles_the_questions_before_the_next_one():
    story = Story()
    for _ in range(int(PATIENCE)):
        story.ahead()
    waited = []
    for _ in range(8):
        asks = 0
        while loses(story.job):
            story.ask()
            asks += 1
        waited.append(asks)
        story.ahead()
    assert waited == [4, 8, 16, 32, 64, 64, 64, 64]
    assert (waited[0], waited[-1]) == (PROBE_FIRST, PROBE_MOST)


def test_a8_a_probe_that_pays_brings_the_command_back_at_once():
    story = Story()
    for _ in range(int(PATIENCE)):
        story.ahead()
    for _ in range(PROBE_FIRST):
        story.ask()
    story.ask(story.ahead())
    assert not given_up(story.job) and not loses(story.job)
    for _ in range(5):
        story.ahead()
    assert not loses(story.job)


def test_a8_runs_that_were_stopped_count_a_quarter_and_crashes_and_reruns_not_at_all():
    story = Story()
    for _ in range(int(PATIENCE / BET_STOPPED) - 1):
        story.ahead(STOPPED, cpu_s=2.0)
    for _ in range(20):
        story.ahead(End(how="lost"))
        story.ahead(audits=AttemptId("x"))
    assert not loses(story.job)
    story.ahead(STOPPED)
    assert loses(story.job)


@pytest.mark.parametrize(("every", "given"), [(1, False), (3, False), (7, False), (100, True)])
def test_a_command_that_is_taken_now_and_then_is_kept_as_long_as_it_pays(every, given):
    story = Story()
    ever = False
    for number in range(100):
        attempt = story.ahead()
        if number % every == 0:
            story.ask(attempt)
        ever = ever or bool(loses(story.job))
    assert ever is given


def test_the_user_can_have_a_command_that_was_given_up_or_barred_back():
    story = Story()
    for _ in range(30):
        story.ahead()
    found = {"ask": "q", "job": JOB, "session": None, "attempt": AttemptId("a1"), "again": AttemptId("a2")}
    story.put(JoinAudited(**STAMP, outcome="differs", reason="line 1", **found))
    assert story.job.barred and loses(story.job)
    story.put(JobRetried(**STAMP, job=JOB))
    assert not story.job.barred and not loses(story.job)


@given(st.lists(st.sampled_from(["ahead", "stopped", "hit", "miss"]), max_size=200))
def test_a8_work_for_nothing_is_bounded_by_the_questions_whatever_happens(steps):
    """However often something asks for an ahead run: without a join the rule lets through eight, and one for each doubling."""
    story = Story()
    vain, asks, last = 0, 0, None
    for step in steps:
        if step in ("ahead", "stopped") and not loses(story.job):
            last = story.ahead(PASS if step == "ahead" else STOPPED)
            vain += 1
        elif step == "hit" and last is not None:
            story.ask(last)
            vain = asks = 0
        else:
            story.ask()
            asks += 1
        most = 2 * PATIENCE / BET_STOPPED + asks / PROBE_FIRST + 1
        assert vain <= most
        assert probe_after(story.job) <= PROBE_MOST


# --- what a miss is nearest to --------------------------------------------------------------------------------------------------

CALL = Invocation(
    name="pytest", exe=b"/bin/pytest", argv=(b"pytest", b"-q"), cwd=b"/p", env=(b"A=1", b"B=2"), context=b"c", streams="merged"
)


@pytest.mark.parametrize(
    ("change", "differs", "code"),
    [
        pytest.param({"argv": (b"pytest", b"-x")}, ("arguments",), "arguments-differ", id="arguments"),
        pytest.param({"cwd": b"/p/sub"}, ("directory",), "directory-differs", id="directory"),
        pytest.param({"exe": b"/usr/bin/pytest"}, ("program",), "tool-differs", id="program"),
        pytest.param({"streams": "split"}, ("streams",), "streams-differ", id="streams"),
        pytest.param({"stdin": "idle"}, ("input",), "input-differs", id="input"),
        pytest.param({"context": b"d"}, ("limits",), "limits-differ", id="limits"),
        pytest.param({"env": (b"A=secret", b"B=2")}, ("env A",), "environment-differs", id="env value"),
        pytest.param({"env": (b"A=1", b"B=2", b"SHLVL=9", b"STRETTO_X=1")}, ("tool",), "tool-differs", id="volatile env"),
        pytest.param({"env": (b"A=1",), "cwd": b"/q"}, ("directory", "env B"), "directory-differs", id="two"),
        pytest.param({"env": (b"A=1", b"B=2", b"BASH_FUNC_x%%=()")}, ("env (others)",), "environment-differs", id="odd name"),
    ],
)
def test_f39_the_nearest_call_is_named_by_the_fields_that_differ_and_no_value(change, differs, code):
    far = msgspec.structs.replace(CALL, argv=(b"pytest", b"--far"), cwd=b"/elsewhere", env=())
    found = nearest(msgspec.structs.replace(CALL, **change), [far, CALL, far])
    assert found == differs
    assert code_of(found) == code
    assert "secret" not in nearest_words(found) and code in MISS_CODES


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ((b"PWD=/p",), True),
        ((b"PWD=/link",), False),
        ((b"COLUMNS=200",), False),
        ((b"LINES=7",), False),
        ((b"AI_AGENT=claude-code",), False),
        ((b"TRACEPARENT=00-1-2-01", b"TRACESTATE=a=1", b"BAGGAGE=b=1"), True),
        ((b"_=/bin/x", b"OLDPWD=/q", b"SHLVL=3", b"CLAUDE_EFFORT=high", b"CLAUDE_CODE_SESSION_ID="), True),
        ((b"CLAUDE_CODE_ENTRYPOINT=cli",), False),
    ],
)
def test_only_what_means_something_to_a_check_makes_another_call(more, same):
    other = msgspec.structs.replace(CALL, env=(*CALL.env, *more))
    assert (other.key(b"s", b"t") == CALL.key(b"s", b"t")) is same
    assert (nearest(other, [CALL]) == ("tool",)) is same


def test_another_session_is_no_other_call():
    one, other = (msgspec.structs.replace(CALL, env=(b"CLAUDE_CODE_SESSION_ID=" + value,)) for value in (b"a", b"b"))
    assert one.key(b"s", b"t") == other.key(b"s", b"t")


def test_a_new_version_of_the_host_is_no_other_agent():
    old, new, none = (
        msgspec.structs.replace(CALL, env=(b"AI_AGENT=" + value,))
        for value in (b"claude-code_2-1-99_agent", b"claude-code_3-0-1_agent", b"")
    )
    assert old.key(b"s", b"t") == new.key(b"s", b"t") != none.key(b"s", b"t")


def test_a_run_ahead_is_in_no_trace_and_bears_no_mark_of_ours():
    call = msgspec.structs.replace(CALL, env=(b"A=1", b"TRACEPARENT=x", b"STRETTO_X=1", b"BAGGAGE=y", b"TRACESTATE=z", b"OTEL_X=1"))
    assert call.env_ahead == (b"A=1", b"OTEL_X=1")


@pytest.mark.parametrize(
    ("pwd", "cwd", "to", "becomes"),
    [
        ("/p", "/p", "/p/sub", "/p/sub"),
        ("/p/sub", "/p/sub", "/p", "/p"),
        ("/link", "/p", "/p/sub", "/link/sub"),
        ("/link/sub", "/p/sub", "/p/other", "/link/other"),
        ("/link/sub", "/p/sub", "/p/sub", "/link/sub"),
        ("/elsewhere/deep", "/p/sub", "/p/other", "/p/other"),
    ],
)
def test_a_call_put_together_again_in_another_folder_is_told_that_folder(pwd, cwd, to, becomes):
    call = msgspec.structs.replace(CALL, cwd=cwd.encode(), env=(b"A=1", b"PWD=" + pwd.encode()))
    assert call.moved(to.encode()) == (b"A=1", b"PWD=" + becomes.encode())


def test_f39_without_a_call_of_that_name_nothing_is_near():
    assert nearest(CALL, [msgspec.structs.replace(CALL, name="ruff")]) == ()
    assert (code_of(()), nearest_words(())) == ("never-run", "")


@pytest.mark.parametrize(
    "change",
    [
        {"argv": (b"pytest", b"-q", b"")},
        {"argv": (b"pytest -q",)},
        {"cwd": b"/q"},
        {"exe": b"/bin/other"},
        {"streams": "split"},
        {"stdin": "idle"},
        {"env": (b"A=1", b"B=3")},
        {"env": (b"A=1B=2",)},
        *({"context": context} for context in (b"uid 0", b"uid 1000", b"mnt:[1]", b"mnt:[2]", b"Seccomp 2", b"NoNewPrivs 1", b"c ")),
    ],
    ids=str,
)
def test_b17_no_two_calls_that_differ_in_anything_that_counts_are_the_same_call(change):
    """B-17: users, containers, sandboxes and limits are in the context; a result of the one is never found by the other."""
    other = msgspec.structs.replace(CALL, **change)
    assert other.key(b"salt", b"tools") != CALL.key(b"salt", b"tools")
    assert CALL.key(b"salt", b"tools") == msgspec.structs.replace(CALL, env=(b"B=2", b"_=x", b"A=1")).key(b"salt", b"tools")
    assert CALL.key(b"salt", b"tools") != CALL.key(b"other", b"tools") != CALL.key(b"salt", b"other")


# --- counting -------------------------------------------------------------------------------------------------------------------


def test_an_ahead_run_is_for_nothing_until_somebody_takes_it_and_then_never_again():
    story = Story()
    first, _ = story.ahead(cpu_s=4.0), story.ahead(cpu_s=3.0)
    total = story.state.ledger.total
    assert (total.wasted_cpu_s, total.precision) == (7.0, 0.0)
    story.ask(first)
    story.ask(first)
    assert (total.wasted_cpu_s, total.wasted_s, total.precision) == (3.0, 3.0, 0.5)
    assert (total.hits, total.saved_s) == (2, 18.0)


def test_a_run_that_was_attached_to_is_taken_when_it_ends():
    story = Story()
    story.put(AttemptStarted(**STAMP, attempt=AttemptId("x"), job=JOB, kind="ahead", session=None, generation=1))
    decided = {"job": JOB, "session": None, "standing": "running", "reason": ""}
    story.put(JoinDecided(**STAMP, ask="q", do="attach", attempt=AttemptId("x"), **decided))
    assert story.state.ledger.total.taken_runs == 0
    story.put(AttemptExited(**STAMP, attempt=AttemptId("x"), end=PASS, out_bytes=0, err_bytes=0, took_s=2.0, cpu_s=1.0))
    assert (story.state.ledger.total.taken_runs, story.state.ledger.total.wasted_cpu_s) == (1, 0.0)


def test_a_later_finding_about_the_same_join_replaces_the_earlier_one_and_no_third_is_taken():
    story = Story()
    found = {"ask": "q", "job": JOB, "session": SessionId("s"), "attempt": AttemptId("a1")}
    for outcome in ("differs", "differs", "false", "same"):
        story.put(JoinAudited(**STAMP, outcome=outcome, reason=outcome, **found))
    assert story.state.ledger.total.audits == {"false": 1}
    assert story.state.anomaly_count == 2
    assert story.job.barred == "false"


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ahead"), st.sampled_from([PASS, STOPPED])),
        st.tuples(st.just("hit"), st.sampled_from(["s", "t"])),
        st.tuples(st.just("miss"), st.sampled_from(["s", "t"])),
        st.tuples(st.just("past"), st.sampled_from(["s", "t"])),
    ),
    max_size=40,
)


@given(EVENTS, st.integers(0, 40))
def test_the_account_adds_up_over_commands_and_sessions_and_survives_a_snapshot_anywhere(steps, cut):
    story = Story()
    last = None
    for kind, what in steps:
        if kind == "ahead":
            last = story.ahead(what)
        elif kind == "hit" and last:
            story.ask(last, session=what)
        elif kind == "past":
            story.put(CheckMissed(**STAMP, session=SessionId(what), name="jest", shape="plain", code="by-path"))
        else:
            story.ask(session=what if kind in ("hit", "miss") else "s")
    ledger = story.state.ledger
    for rows in (ledger.commands, ledger.sessions):
        summed = Tally()
        for tally in rows.values():
            summed.take(tally)
        assert (summed.hits, summed.misses, summed.shapes, summed.saved_s) == (
            ledger.total.hits,
            ledger.total.misses,
            ledger.total.shapes,
            pytest.approx(ledger.total.saved_s),
        )
    numbered = list(enumerate(story.log))
    half = unpack(pack(fold(numbered[:cut])))
    for offset, event in numbered[cut:]:
        apply(half, event, offset)
    assert half.ledger == ledger
    assert recount(numbered, story.state).total == ledger.total
    parts = [recount(numbered, story.state, session=name).total for name in ("s", "t")]
    assert sum(part.hits for part in parts) == ledger.total.hits
    assert all(part.ahead_runs == 0 for part in parts)


def test_counting_from_a_time_on_leaves_out_what_was_before_and_says_since_when():
    story = Story()
    story.ask()
    later = [msgspec.structs.replace(event, ts=9.0) for event in story.log]
    found = recount(enumerate([*story.log, *later]), story.state, since_at=8.0)
    assert (found.total.missed, found.since_at) == (1, 9.0)
    assert recount(enumerate(story.log), story.state, since_at=8.0).since_at == 0.0


def test_what_is_counted_is_bounded_and_loses_no_count():
    ledger = Ledger()
    for number in range(3 * COMMANDS_MOST):
        ledger.asked(f"s{number}", f"j{number}", f"shape{number}", "miss", "moved")
    assert len(ledger.commands) <= COMMANDS_MOST + 1 and len(ledger.sessions) <= SESSIONS_MOST + 1
    assert len(ledger.total.shapes) <= SHAPES_MOST + 1
    assert sum(tally.missed for tally in ledger.commands.values()) == ledger.total.missed == 3 * COMMANDS_MOST
    assert ledger.commands[OTHERS].missed > 0


def test_nested_and_observed_checks_are_counted_apart_and_never_in_the_rate():
    ledger = Ledger()
    for outcome in ("nested", "observed", "hit"):
        ledger.asked("s", "j", "plain", outcome)
    assert (ledger.total.asked, ledger.total.hit_rate, ledger.total.nested, ledger.total.observed) == (1, 1.0, 1, 1)


# --- how it is shown ------------------------------------------------------------------------------------------------------------


def test_the_report_begins_with_the_one_number_fits_80_columns_and_hides_no_control_character():
    story = Story()
    story.put(msgspec.structs.replace(SEEN, job=JobKey("k"), argv=("pytest", "\x1b[2J" + "x" * 300)))
    story.ask(story.ahead(), saved_s=750.0)
    for session in ("s", "t" * 60):
        story.ask(session=session)
    for code in MISS_CODES:
        story.state.ledger.asked("s", "k", "cd+env+timeout+wrapper+shell+module+chain+redirect+filter", "miss", code)
    story.state.ledger.asked("s", "k", "\x1b]0;x\x07", "miss", "a-later-code\x1b[1m")
    data = saved.report(story.state, story.state.ledger)
    text = saved.lines(data)
    assert text[0].startswith("12 min 30 s not waited for since ")
    assert max(map(len, text)) <= 80
    assert all(line.isprintable() for line in text)
    assert saved.lines(saved.report(State(), Ledger())) == ["Nothing has been counted yet."]


def test_every_miss_code_the_code_may_write_is_in_the_closed_list():
    import re
    from pathlib import Path

    sources = Path(saved.__file__).parent
    written = collections.Counter[str]()
    for path in [*sources.glob("*.py"), *sources.glob("commands/*.py")]:
        text = path.read_text()
        for found in re.findall(r'code="([a-z-]+)"|code = "[a-z-]+", "([a-z-]+)"|_passed_by\("([a-z-]+)"', text):
            written.update(code for code in found if code)
    assert len(written) > 12
    assert set(written) <= set(MISS_CODES)
    assert set(get_args(LogEvent)) >= {CheckMissed, JoinAudited}
