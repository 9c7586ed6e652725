"""The planner: what starts, what stops, and what is never touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.model import AttemptId, JobKey
from stretto.schedule import LEAST_FREE_BYTES, AheadRun, Start, Stop, View, plan


def run(name: str, *, moved: bool = False, read: bool = False, job: str | None = None) -> AheadRun:
    return AheadRun(attempt=AttemptId(name), job=JobKey(job or name), moved=moved, read=read)


def view(**changes: object) -> View:
    plain: dict[str, object] = {
        "desired": [],
        "running": [],
        "foreground": 0,
        "slots": 2,
        "ahead_slots": 9,
        "held": "",
        "settling": False,
        "free_bytes": LEAST_FREE_BYTES * 4,
    }
    return View(**(plain | changes))


def starts(actions):
    return [action.job for action in actions if isinstance(action, Start)]


def stops(actions):
    return [action.attempt for action in actions if isinstance(action, Stop)]


def test_most_wanted_first_and_no_more_than_there_are_slots():
    assert starts(plan(view(desired=["a", "b", "c"]))) == ["a", "b"]


def test_no_more_run_ahead_than_the_rules_allow():
    assert starts(plan(view(desired=["a", "b", "c"], slots=8, ahead_slots=2, running=[run("1", job="c")]))) == ["a"]
    assert starts(plan(view(desired=["a"], ahead_slots=0))) == []


def test_a_foreground_run_takes_a_slot():
    assert starts(plan(view(desired=["a", "b"], foreground=1))) == ["a"]


def test_a_run_whose_tree_moved_is_stopped_before_its_command_starts_again():
    first = plan(view(desired=["a"], running=[run("1", job="a", moved=True)], slots=1))
    assert stops(first) == ["1"]
    assert starts(first) == []
    assert starts(plan(view(desired=["a"], slots=1))) == ["a"]


def test_a_run_that_somebody_waits_for_is_never_stopped():
    running = [run("1", moved=True, read=True)]
    assert plan(view(running=running, held="docker ran", foreground=5)) == []


def test_a_command_of_unknown_effects_stops_everything_and_starts_nothing():
    actions = plan(view(desired=["b"], running=[run("1", job="a")], held="docker ran"))
    assert stops(actions) == ["1"]
    assert starts(actions) == []


def test_when_the_session_needs_the_machine_the_least_wanted_goes():
    running = [run("1", job="a"), run("2", job="b")]
    assert stops(plan(view(desired=["a", "b"], running=running, foreground=1))) == ["2"]


@pytest.mark.parametrize(
    "change", [{"settling": True}, {"free_bytes": LEAST_FREE_BYTES - 1}], ids=["files are being written", "memory is short"]
)
def test_nothing_starts_while(change):
    assert plan(view(desired=["a"], **change)) == []


def test_a_command_that_runs_already_does_not_start_twice():
    assert plan(view(desired=["a"], running=[run("1", job="a")])) == []


runs = st.lists(
    st.builds(run, st.sampled_from("123456"), moved=st.booleans(), read=st.booleans(), job=st.sampled_from("abcd")),
    max_size=5,
    unique_by=lambda item: item.attempt,
)


@given(
    desired=st.lists(st.sampled_from("abcd"), unique=True),
    running=runs,
    foreground=st.integers(0, 4),
    slots=st.integers(1, 4),
    held=st.sampled_from(["", "docker ran"]),
    settling=st.booleans(),
)
def test_plan_holds_its_promises_whatever_is_under_way(desired, running, foreground, slots, held, settling):
    actions = plan(view(desired=desired, running=running, foreground=foreground, slots=slots, held=held, settling=settling))
    read = {item.attempt for item in running if item.read}
    assert not read & set(stops(actions))
    assert len(set(stops(actions))) == len(stops(actions))
    alive = [item for item in running if item.attempt not in stops(actions)]
    assert not {item.job for item in alive} & set(starts(actions))
    if starts(actions):
        assert foreground + len(alive) + len(starts(actions)) <= slots
        assert not held
        assert not settling
    assert not any(item.moved and not item.read for item in alive)
