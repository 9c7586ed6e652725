"""The policy: what is worth running ahead, and in which order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.ahead import HALF_LIFE_S, KEPT, WORTH_S, Candidate, desired, ineligible, worth
from stretto.commands import Check
from stretto.fold import Job
from stretto.model import JobKey


def candidate(job: str = "j", asked: int = 3, asked_ago_s: float = 0.0, usual_s: float = 5.0) -> Candidate:
    return Candidate(job=job, asked=asked, asked_ago_s=asked_ago_s, usual_s=usual_s)


def test_longer_commands_come_first_up_to_the_usual_lead():
    assert desired([candidate("short", usual_s=1), candidate("long", usual_s=9)]) == ["long", "short"]
    assert worth(candidate(usual_s=20)) == worth(candidate(usual_s=2000))


def test_a_command_not_asked_for_lately_counts_less():
    assert worth(candidate(asked_ago_s=HALF_LIFE_S)) * 2 == worth(candidate())


def test_a_command_asked_for_more_often_counts_more():
    assert desired([candidate("rare", asked=1), candidate("often", asked=9)]) == ["often", "rare"]


def test_what_is_too_quick_to_be_felt_is_not_run_ahead():
    assert desired([candidate(usual_s=WORTH_S / 2)]) == []


@given(st.lists(st.builds(candidate, st.text("abcdef", min_size=1, max_size=3), st.integers(1, 9), st.floats(0, 1e5), st.floats(0, 1e4))))
def test_the_choice_is_bounded_and_does_not_depend_on_the_order_given(candidates):
    assert len(desired(candidates)) <= KEPT
    unique = list({item.job: item for item in candidates}.values())
    assert desired(unique) == desired(list(reversed(unique)))


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


@pytest.mark.parametrize("changes", [{"idle_input": True}, {"withheld": "plan mode"}, {"forbidden": True}], ids=str)
def test_what_the_rules_allow_is_still_no_more_than_the_host_would_do(changes):
    assert reason(allowed=True, **changes)


def test_a_build_does_not_run_ahead_unless_it_is_allowed():
    build = Check(kind="build", ahead=False)
    assert reason(check=build)
    assert reason(check=build, allowed=True) == ""


def test_a_command_last_asked_for_in_an_earlier_boot_counts_as_asked_just_now():
    """Its time is of another clock then, and may lie far ahead of ours."""
    now, before = (Candidate(job=JobKey("a"), asked=3, asked_ago_s=ago_s, usual_s=5.0) for ago_s in (0.0, -1e9))
    assert worth(before) == worth(now)
