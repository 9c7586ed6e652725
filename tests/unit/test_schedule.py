"""The planner: what starts, what stops, and what is never touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.model import AttemptId, JobKey
from stretto.schedule import (
    HELD_LONGEST_S,
    LEAST_FREE_BYTES,
    OVERLOADED,
    RESERVE_BYTES,
    AheadRun,
    Asked,
    Begin,
    Drop,
    Hold,
    Pause,
    Resume,
    Start,
    Stop,
    View,
    outliving,
    plan,
)


def run(name: str, *, moved: bool = False, read: bool = False, job: str | None = None, **more: object) -> AheadRun:
    return AheadRun(attempt=AttemptId(name), job=JobKey(job or name), moved=moved, read=read, **more)


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


def test_a7_nothing_starts_ahead_while_others_use_up_the_processors_or_the_memory():
    """A-7: a machine at 100 % or with less than 2 GB free gets no work of ours on top; what runs already goes on."""
    assert starts(plan(view(desired=["a"], used_up=True))) == []
    assert starts(plan(view(desired=["a"], free_bytes=LEAST_FREE_BYTES - 1))) == []
    assert starts(plan(view(desired=["a"]))) == ["a"]
    own = [run("1", job="b")]
    assert plan(view(running=own, used_up=True)) == [], "nothing is stopped for it"
    assert starts(plan(view(desired=["a"], running=own, used_up=True))) == ["a"], "our own run may be what uses them: the places bound it"


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


def pauses(actions):
    return [action.attempt for action in actions if isinstance(action, Pause)]


def resumes(actions):
    return [action.attempt for action in actions if isinstance(action, Resume)]


def test_when_the_session_needs_the_machine_the_least_wanted_is_held_back_and_goes_on_afterwards():
    running = [run("1", job="a"), run("2", job="b")]
    first = plan(view(desired=["a", "b"], running=running, foreground=1))
    assert (pauses(first), resumes(first), stops(first)) == (["2"], [], [])
    running = [run("1", job="a"), run("2", job="b", held=True)]
    assert plan(view(desired=["a", "b"], running=running, foreground=1)) == []
    assert resumes(plan(view(desired=["a", "b"], running=running))) == ["2"]
    assert pauses(plan(view(desired=["a", "b"], running=running, foreground=2))) == ["1"]


def test_nothing_starts_ahead_while_something_is_held_back():
    assert starts(plan(view(desired=["a", "b", "c"], running=[run("1", job="a", held=True)], foreground=2))) == []


def test_what_was_held_back_for_too_long_gives_its_memory_back():
    long = [run("1", held=True, held_s=HELD_LONGEST_S + 1)]
    assert stops(plan(view(running=long, foreground=2))) == ["1"]


def test_f51_an_ahead_run_ends_when_the_session_runs_the_same_command_itself():
    """It could not attach: of two at once each could spoil the other."""
    assert stops(plan(view(running=[run("1", doubled=True)], slots=4, foreground=1))) == ["1"]
    assert stops(plan(view(running=[run("1", doubled=True, read=True)], slots=4, foreground=1))) == []


def test_f51_suites_run_at_the_same_time_where_the_rules_say_that_they_may():
    both = {"desired": ["a", "b"], "slots": 4, "suites": frozenset("ab"), "together": True}
    assert starts(plan(view(**both))) == ["a", "b"]
    assert stops(plan(view(running=[run("1", job="a")], suite_foreground=True, **both))) == []


@pytest.mark.parametrize(
    "change", [{"settling": True}, {"free_bytes": LEAST_FREE_BYTES - 1}], ids=["files are being written", "memory is short"]
)
def test_a7_nothing_starts_while(change):
    assert plan(view(desired=["a"], **change)) == []


def test_a_command_that_runs_already_does_not_start_twice():
    assert plan(view(desired=["a"], running=[run("1", job="a")])) == []


@pytest.mark.parametrize(
    ("changes", "started"),
    [
        pytest.param({}, ["a", "c"], id="one at a time, and what is no suite beside it"),
        pytest.param({"suite_foreground": True}, ["c"], id="none beside the session's own"),
        pytest.param({"suite_stopping": True}, ["c"], id="none before the last one has ended"),
        pytest.param({"running": [run("1", job="b")]}, ["c"], id="none beside another one"),
    ],
)
def test_f51_of_two_suites_in_one_checkout_only_one_runs_ahead(changes, started):
    assert starts(plan(view(desired=["a", "b", "c"], slots=4, suites=frozenset("ab"), **changes))) == started


def test_f51_a_suite_that_runs_ahead_makes_way_for_one_of_the_session_unless_somebody_waits_for_it():
    both = [run("1", job="a"), run("2", job="b", read=True), run("3", job="c")]
    assert stops(plan(view(running=both, slots=4, suites=frozenset("ab"), suite_foreground=True))) == ["1"]


runs = st.lists(
    st.builds(run, st.sampled_from("123456"), moved=st.booleans(), read=st.booleans(), job=st.sampled_from("abcd"), held=st.booleans()),
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
    suites=st.frozensets(st.sampled_from("abcd")),
    suite_foreground=st.booleans(),
    suite_stopping=st.booleans(),
)
def test_plan_holds_its_promises_whatever_is_under_way(
    desired, running, foreground, slots, held, settling, suites, suite_foreground, suite_stopping
):
    suite = {"suites": suites, "suite_foreground": suite_foreground, "suite_stopping": suite_stopping}
    actions = plan(view(desired=desired, running=running, foreground=foreground, slots=slots, held=held, settling=settling, **suite))
    read = {item.attempt for item in running if item.read}
    assert not read & set(stops(actions))
    assert len(set(stops(actions))) == len(stops(actions))
    alive = [item for item in running if item.attempt not in stops(actions)]
    assert not read & set(pauses(actions)), "who is waited for has full speed"
    assert not {*pauses(actions), *resumes(actions)} & set(stops(actions))
    free = {item.attempt for item in alive if not item.held} - set(pauses(actions)) | set(resumes(actions))
    assert len(free - read) <= max(0, slots - foreground - len(read)), "the sessions' own runs come first"
    assert not {item.job for item in alive} & set(starts(actions))
    if starts(actions):
        assert foreground + len(alive) + len(starts(actions)) <= slots
        assert not held
        assert not settling
    assert not any(item.moved and not item.read for item in alive)
    begun = suites & set(starts(actions))
    assert not begun or not (suite_foreground or suite_stopping or suites & {item.job for item in running}), "F51: suites take turns"
    assert len(begun) <= 1
    assert not suite_foreground or not [item for item in alive if item.job in suites and not item.read]


# --- jobs that were asked for -----------------------------------------------------------------------------------------------

GB = 1024**3


def asked(name: str, *, after: str = "", priority: int = 0, gb: int = 1, due: bool = True) -> Asked:
    return Asked(job=JobKey(name), after=tuple(map(JobKey, after)), priority=priority, memory_bytes=gb * GB, due=due)


def begins(actions):
    return [action.job for action in actions if isinstance(action, Begin)]


def holds(actions):
    return {action.job: action.why for action in actions if isinstance(action, Hold)}


def drops(actions):
    return {action.job: action.why for action in actions if isinstance(action, Drop)}


@pytest.mark.parametrize(
    ("changes", "begun"),
    [
        pytest.param({"asked": [asked("x"), asked("y"), asked("z")]}, "xy", id="as many as there are places, in the order asked"),
        pytest.param({"asked": [asked("x"), asked("y", priority=1), asked("z", priority=2)]}, "zy", id="the most urgent first"),
        pytest.param({"asked": [asked("x"), asked("y", after="x")]}, "x", id="not before its dependency"),
        pytest.param({"asked": [asked("x", due=False), asked("y")]}, "y", id="not before the pause of a retry is over"),
        pytest.param({"asked": [asked("x")], "foreground": 1}, "x", id="beside one foreground run"),
        pytest.param({"asked": [asked("x")], "foreground": 2}, "", id="foreground runs come first"),
        pytest.param({"asked": [asked("x")], "asked_running": 2}, "", id="those that run take places"),
        pytest.param({"asked": [asked("x", gb=9), asked("y")], "free_bytes": 8 * GB}, "y", id="one that fits passes one that does not"),
        pytest.param({"asked": [asked("x", gb=2)], "free_bytes": 2 * GB + RESERVE_BYTES - 1}, "", id="the reserve stays free"),
        pytest.param({"asked": [asked("x", gb=2)], "free_bytes": 2 * GB + RESERVE_BYTES}, "x", id="all but the reserve is for jobs"),
        pytest.param({"asked": [asked("x", gb=4)], "promised_bytes": 4 * GB}, "", id="what was promised is not free"),
        pytest.param({"asked": [asked("x", gb=4), asked("y", gb=4)]}, "x", id="what is promised at this look is not free"),
        pytest.param({"asked": [asked("x"), asked("y")], "load_per_core": OVERLOADED}, "x", id="overloaded: one alone"),
        pytest.param({"asked": [asked("x")], "load_per_core": OVERLOADED, "asked_running": 1}, "", id="overloaded: none beside another"),
        pytest.param({"asked": [asked("x")], "held": "docker ran", "settling": True}, "x", id="what holds ahead runs does not hold a job"),
        pytest.param({"asked": [asked("x", after="y"), asked("y", after="x")]}, "", id="a cycle, if there could be one"),
    ],
)
def test_which_requested_jobs_begin(changes, begun):
    assert "".join(begins(plan(view(**changes)))) == begun


def test_a_job_that_is_ready_and_does_not_begin_is_held_with_the_reason():
    assert "place" in holds(plan(view(asked=[asked("x")], foreground=2)))["x"]
    assert "memory" in holds(plan(view(asked=[asked("x", gb=9)])))["x"]
    assert "overloaded" in holds(plan(view(asked=[asked("x")], load_per_core=OVERLOADED, foreground=1)))["x"]


def test_an_ahead_run_gives_way_to_a_requested_job_which_begins_once_it_is_gone():
    running = [run("1", job="a"), run("2", job="b")]
    first = plan(view(desired=["a", "b"], running=running, asked=[asked("x")]))
    assert stops(first) == ["2"]
    assert begins(first) == []
    assert "room" in holds(first)["x"]
    second = plan(view(desired=["a", "b"], running=running[:1], asked=[asked("x")]))
    assert begins(second) == ["x"]
    assert starts(second) == []


def test_each_requested_job_takes_the_place_of_one_ahead_run_at_most():
    running = [run(name, job=name) for name in "1234"]
    assert len(stops(plan(view(running=running, slots=4, asked=[asked("x"), asked("y")])))) == 2


def test_a_requested_job_is_never_put_off_for_an_ahead_run():
    assert plan(view(desired=["a", "b"], asked=[asked("x")]))[:2] == [
        Begin(job=JobKey("x")),
        Start(job=JobKey("a"), why="a source changed"),
    ]


def test_an_overloaded_machine_starts_nothing_ahead():
    assert plan(view(desired=["a"], load_per_core=OVERLOADED)) == []


def test_what_waits_for_a_job_that_will_never_pass_is_dropped_and_so_is_all_that_waits_for_that():
    dropped = drops(plan(view(asked=[asked("x", after="w"), asked("y", after="x"), asked("z")], broken={"w": "failed"})))
    assert dropped == {"x": "it waited for w, which failed", "y": "it waited for x, which was cancelled"}


def test_a_job_that_is_to_go_on_keeps_what_it_waits_for():
    jobs = [("a", (), False), ("b", ("a",), False), ("c", ("b",), True), ("d", ("c",), False)]
    assert outliving(jobs) == {"a", "b", "c"}


requested = st.lists(
    st.builds(
        asked,
        st.sampled_from("pqrstu"),
        after=st.sampled_from(["", "", "p", "q", "w", "pw"]),
        priority=st.integers(-2, 2),
        gb=st.integers(1, 4),
        due=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda item: item.job,
)


@given(
    jobs=requested,
    running=runs,
    desired=st.lists(st.sampled_from("abcd"), unique=True),
    foreground=st.integers(0, 4),
    asked_running=st.integers(0, 3),
    slots=st.integers(1, 4),
    held=st.sampled_from(["", "docker ran"]),
    free_gb=st.integers(0, 8),
    promised_gb=st.integers(0, 4),
    load=st.sampled_from([0.0, OVERLOADED]),
    broken=st.sampled_from([{}, {"w": "failed"}]),
)
def test_plan_keeps_the_promises_made_to_requested_jobs_whatever_is_under_way(
    jobs, running, desired, foreground, asked_running, slots, held, free_gb, promised_gb, load, broken
):
    seen = view(
        asked=jobs,
        running=running,
        desired=desired,
        foreground=foreground,
        asked_running=asked_running,
        slots=slots,
        held=held,
        free_bytes=free_gb * GB,
        promised_bytes=promised_gb * GB,
        load_per_core=load,
        broken=broken,
    )
    actions = plan(seen)
    assert plan(seen) == actions, "the same view, the same plan"
    begun, dropped, held_back = begins(actions), drops(actions), holds(actions)
    by_name = {item.job: item for item in jobs}
    assert len(begun) + len(dropped) + len(held_back) == len({*begun, *dropped, *held_back}), "one action a job"

    read = sum(item.read for item in running)
    fixed = foreground + asked_running + read
    if begun:
        assert foreground + asked_running + len(running) + len(begun) + len(starts(actions)) <= slots, "never more than the places"
        assert promised_gb + sum(by_name[job].memory_bytes for job in begun) / GB <= (free_gb * GB - RESERVE_BYTES) / GB
    assert all(by_name[job].due and not by_name[job].after for job in begun), "nothing before what it waits for has passed"
    assert not set(begun) & set(dropped)
    assert bool(broken) or not dropped
    assert not broken or all(item.job in dropped for item in jobs if "w" in item.after)
    assert not {item.attempt for item in running if item.read} & set(stops(actions))

    ready = [item for item in jobs if item.due and not item.after]
    assert set(begun) | set(held_back) == {item.job for item in ready}, "each ready job begins or is told why not"
    fits = [item for item in ready if promised_gb * GB + item.memory_bytes <= free_gb * GB - RESERVE_BYTES]
    if fits and fixed < slots and (load < OVERLOADED or fixed == 0):
        first = min(fits, key=lambda item: -item.priority)
        displaces = foreground + asked_running + len(running) >= slots
        assert first.job in begun or (displaces and stops(actions)), "no ready job starves beside a free place"
    urgent = [by_name[job].priority for job in begun]
    assert urgent == sorted(urgent, reverse=True)
