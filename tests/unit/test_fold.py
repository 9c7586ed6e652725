"""The fold of the log: every legal step, and nothing else, changes what is known of an attempt."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.fold import (
    LOOKS_KEPT,
    NEXT,
    PATHS_KEPT,
    REQUEST_NEXT,
    RETRY_MOST_S,
    Attempt,
    Begun,
    Cancelled,
    Exited,
    Failed,
    Job,
    Lost,
    Passed,
    Phase,
    PutAside,
    Ready,
    RequestPhase,
    Running,
    Settled,
    State,
    Stopping,
    UnderWay,
    WaitsFor,
    apply,
    fold,
    objection,
    retry_pause_s,
)
from stretto.journal import parse
from stretto.model import (
    ENCODER,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptSpawned,
    AttemptStarted,
    Bad,
    End,
    EpochBegan,
    InvariantBroken,
    JobContradicted,
    JobKey,
    JobRetried,
    JobSeen,
    JoinDecided,
    JoinDone,
    Kind,
    PermissionAsked,
    RequestCancelled,
    RequestHeld,
    RequestLost,
    RequestMade,
    SessionId,
    TreeMoved,
)
from stretto.render import not_ahead

STAMP = {"ts": 1.0, "mono": 1.0, "boot": "b", "by": "test"}
JOB, ATTEMPT = JobKey("j"), AttemptId("a")
PASS = End(how="code", value=0)

SEEN = JobSeen(**STAMP, job=JOB, name="pytest", argv=("pytest",), cwd=".", streams="merged")
STARTED = AttemptStarted(**STAMP, attempt=ATTEMPT, job=JOB, kind="foreground", session=None, generation=1)
SPAWNED = AttemptSpawned(**STAMP, attempt=ATTEMPT, pid=7, start="1")
EXITED = AttemptExited(**STAMP, attempt=ATTEMPT, end=PASS, out_bytes=1, err_bytes=0, took_s=2.0, cpu_s=1.0)
SETTLED = AttemptSettled(**STAMP, attempt=ATTEMPT, generation=2)

PHASES: list[Phase] = [Begun(), Running(7, "1"), Exited(PASS, 1, 0, 2.0), Settled(PASS, 1, 0, 2.0, "", (), ())]
EVENTS = {type(event): event for event in (SPAWNED, EXITED, SETTLED)}
ILLEGAL = [(phase, event) for phase in PHASES for kind, event in EVENTS.items() if kind not in NEXT[type(phase)]]
LEGAL = [(phase, event) for phase in PHASES for kind, event in EVENTS.items() if kind in NEXT[type(phase)]]


def state_with(phase: Phase) -> State:
    state = fold([(0, SEEN), (1, STARTED)])
    state.attempts[ATTEMPT].phase = phase
    return state


def run_of(end: End, **settled: object) -> list[tuple[int, object]]:
    exited = AttemptExited(**STAMP, attempt=ATTEMPT, end=end, out_bytes=1, err_bytes=0, took_s=2.0, cpu_s=1.0)
    return list(enumerate([SEEN, STARTED, SPAWNED, exited, AttemptSettled(**STAMP, attempt=ATTEMPT, generation=2, **settled)]))


@pytest.mark.parametrize(("phase", "event"), ILLEGAL, ids=lambda item: type(item).__name__)
def test_apply_illegal_event_keeps_the_phase_and_is_counted(phase, event):
    after = apply(state_with(phase), event, 99)
    assert after.attempts[ATTEMPT].phase == phase
    assert after.anomaly_count == 1
    assert after.anomalies[-1].offset == 99
    assert ATTEMPT in after.anomalies[-1].what


@pytest.mark.parametrize(("phase", "event"), LEGAL, ids=lambda item: type(item).__name__)
def test_apply_legal_event_moves_the_phase_on(phase, event):
    after = apply(state_with(phase), event)
    late = isinstance(phase, Exited) and isinstance(event, AttemptSpawned)  # see the test of it
    assert (after.attempts[ATTEMPT].phase == phase) is late
    assert after.anomaly_count == 0


def test_a_run_whose_owner_is_heard_of_after_its_end_keeps_its_end_and_is_no_anomaly():
    """The monitor of a command that ends at once appends the exit before the supervisor has read that it lives."""
    state = fold([(0, SEEN), (1, STARTED), (2, EXITED), (3, SPAWNED), (4, SETTLED)])
    assert isinstance(state.attempts[ATTEMPT].phase, Settled)
    assert state.anomaly_count == 0


def test_what_was_broken_is_counted_and_changes_nothing_else():
    state = fold(run_of(PASS))
    before = msgspec.json.encode(state.attempts)
    state = apply(state, InvariantBroken(**STAMP, rule="output", attempt=ATTEMPT, what="damage"))
    assert (state.broken_count, state.broken[-1].what, state.anomaly_count) == (1, "damage", 0)
    assert msgspec.json.encode(state.attempts) == before


@pytest.mark.parametrize("event", [STARTED, SPAWNED, EXITED, SETTLED], ids=lambda item: type(item).__name__)
def test_apply_event_about_something_unknown_changes_nothing_but_the_anomalies(event):
    after = apply(State(), event)
    assert not after.attempts
    assert not after.jobs
    assert after.anomaly_count == 1


def test_apply_doubled_start_does_not_reset_an_attempt():
    state = fold([(0, SEEN), (1, STARTED), (2, SPAWNED), (3, STARTED)])
    assert state.attempts[ATTEMPT].phase == Running(7, "1")
    assert state.anomaly_count == 1


def test_a_bad_line_is_counted_and_changes_nothing():
    state = fold([(0, SEEN), (1, Bad(b"{torn", "cut short"))])
    assert state.bad_lines == 1
    assert state.events == 1


def test_a_clean_run_makes_a_job_clean():
    job = fold(run_of(PASS)).jobs[JOB]
    assert job.clean
    assert job.durations_s == [2.0]
    assert job.foreground_runs == 1


@pytest.mark.parametrize(
    ("end", "settled"),
    [
        pytest.param(PASS, {"torn": "a.py changed"}, id="torn"),
        pytest.param(End(how="signal", value=15), {}, id="killed from outside"),
        pytest.param(End(how="timeout"), {}, id="timeout"),
        pytest.param(End(how="lost"), {}, id="lost"),
    ],
)
def test_a_run_that_proves_nothing_leaves_a_job_unclean(end, settled):
    assert not fold(run_of(end, **settled)).jobs[JOB].clean


def runs_that(*settled: dict, kind: Kind = "foreground") -> Job:
    """What is known of a command after these runs."""
    events = [(0, SEEN)]
    for number, what in enumerate(settled):
        attempt = AttemptId(f"r{number}")
        events += [
            (9, AttemptStarted(**STAMP, attempt=attempt, job=JOB, kind=kind if number else "foreground", session=None, generation=3)),
            (9, AttemptExited(**STAMP, attempt=attempt, end=PASS, out_bytes=1, err_bytes=0, took_s=2.0, cpu_s=1.0)),
            (9, AttemptSettled(**STAMP, attempt=attempt, generation=4, **what)),
        ]
    return fold(events).jobs[JOB]


CLEAN = {"looks": 3, "edited": True}
EFFECTS = {
    "remote": {"remote": True},
    "reached": {"reached": "use a service of this machine (port 5432)"},
    "leaves": {"left": 1},
    "products": {"products": ("db.sqlite",)},
    "mutating": {"wrote": ("left.txt",), "tracked": False},
}


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_counts_while_the_latest_runs_show_it_and_one_that_was_seen_once_is_forgiven(effect):
    seen = EFFECTS[effect] | CLEAN
    assert getattr(runs_that(seen), effect), "one sighting counts until it was looked at again"
    assert not getattr(runs_that(seen, CLEAN), effect)
    assert getattr(runs_that(seen, CLEAN, seen), effect)
    assert getattr(runs_that(seen, CLEAN, seen, CLEAN), effect), "twice is no accident"
    assert not getattr(runs_that(seen, seen, *[CLEAN] * LOOKS_KEPT), effect)
    assert getattr(runs_that(seen, CLEAN, kind="ahead"), effect), "only what the session ran itself forgives"


def test_status_says_what_was_seen_once_and_what_again():
    once, twice = runs_that({"remote": True}), runs_that({"remote": True}, {"remote": True})
    assert not_ahead(once) == "talks to the network (seen once so far)"
    assert not_ahead(twice) == "talks to the network"
    assert not_ahead(runs_that({"wrote": ("src/a.py",)} | {"torn": "src/a.py changed"}, {})) == "writes sources"


@pytest.mark.parametrize(
    ("effect", "after"),
    [("remote", {"looks": 0}), ("reached", {"looks": 0}), ("products", {"edited": False}), ("mutating", {"edited": False})],
)
def test_a_run_that_could_not_have_shown_an_effect_forgives_none(effect, after):
    """Too quick to be looked at; nothing had changed, so a formatter or a build had nothing to do."""
    assert getattr(runs_that(EFFECTS[effect] | CLEAN, *[CLEAN | after] * 9), effect)


def test_who_rewrote_what_git_tracks_is_never_forgiven():
    assert runs_that({"wrote": ("src/a.py",)}, *[CLEAN] * 20).mutating


def test_a_snapshot_of_before_keeps_what_it_knew():
    job = runs_that({})
    job.remote = job.leaves = job.mutating = True
    job.product_paths = frozenset({".coverage"})
    state = State(jobs={JOB: job})
    for _, event in run_of(PASS, looks=0, edited=False)[1:]:
        state = apply(state, event)
    assert (job.remote, job.leaves, job.mutating, job.products) == (True, False, True, True)


def test_a_folder_of_products_is_the_commands_own_from_its_second_run_or_when_it_made_it():
    assert runs_that({"folders": ("data/",)}).own_folders == frozenset()
    assert runs_that({"folders": ("data/",)}, {"folders": ("data/",)}).own_folders == {"data/"}
    assert runs_that({"folders": ("build/",), "made": ("build/",)}).own_folders == {"build/"}


def test_a_folder_in_which_something_changed_while_nothing_ran_is_nobodys_own_again():
    events = run_of(PASS, folders=("data/",), made=("data/",))
    events += [(9, TreeMoved(**STAMP, generation=5, count=1, sample=("data/x",), foreign=("data/",)))]
    assert fold(events).jobs[JOB].own_folders == frozenset()


def test_names_that_are_new_at_each_run_do_not_pile_up():
    runs = [{"folders": ("t/",), "made": ("t/",), "products": tuple(f"t/{run}-{n}" for n in range(50))} for run in range(30)]
    assert len(runs_that(*runs).product_paths) <= PATHS_KEPT


def test_what_a_command_did_is_remembered_until_a_run_could_show_that_it_does_not():
    events = run_of(PASS, torn="a.py changed", wrote=("a.py",), products=(".coverage",), remote=True, left=1)
    second = AttemptId("b")
    events += [
        (10, AttemptStarted(**STAMP, attempt=second, job=JOB, kind="foreground", session=None, generation=3)),
        (11, AttemptExited(**STAMP, attempt=second, end=PASS, out_bytes=1, err_bytes=0, took_s=2.0, cpu_s=1.0)),
        (12, AttemptSettled(**STAMP, attempt=second, generation=4)),
    ]
    job = fold(events).jobs[JOB]
    assert (job.mutating, job.products, job.remote, job.leaves) == (True, True, True, False)


def test_an_epoch_never_goes_back():
    state = fold([(0, EpochBegan(**STAMP, epoch=3, reason="pip")), (1, EpochBegan(**STAMP, epoch=2, reason="forged"))])
    assert state.epoch == 3
    assert state.anomaly_count == 1


@pytest.mark.parametrize(
    ("events", "do", "objects"),
    [
        pytest.param(run_of(PASS), "replay", False, id="a result"),
        pytest.param(run_of(PASS)[:3], "attach", False, id="a run under way"),
        pytest.param(run_of(PASS)[:4], "attach", False, id="a run that has only just ended"),
        pytest.param(run_of(PASS)[:4], "replay", True, id="no result yet"),
        pytest.param(run_of(PASS), "attach", True, id="attached to what has ended"),
        pytest.param(run_of(PASS, torn="a.py changed"), "replay", True, id="torn"),
        pytest.param(run_of(End(how="lost")), "replay", True, id="lost"),
        pytest.param(run_of(End(how="signal", value=9)), "replay", True, id="killed"),
        pytest.param([*run_of(PASS), (9, EpochBegan(**STAMP, epoch=1, reason="pip"))], "replay", True, id="an epoch later"),
        pytest.param([*run_of(PASS)[:3], (9, EpochBegan(**STAMP, epoch=1, reason="pip"))], "attach", True, id="an epoch while it runs"),
        pytest.param([(0, SEEN)], "replay", False, id="forgotten"),
    ],
)
def test_the_log_objects_to_a_join_it_contradicts(events, do, objects):
    """C-24: asked before every join is answered, whatever the supervisor remembers."""
    state = fold(events)
    assert bool(objection(state, JOB, do, ATTEMPT)) is objects
    assert state.attempts.get(ATTEMPT) is None or objection(state, JobKey("other"), do, ATTEMPT)


def test_a_join_of_an_unknown_attempt_is_an_anomaly_and_saves_nothing():
    join = JoinDecided(**STAMP, ask="q", job=JOB, session=None, standing="fresh", do="replay", attempt=AttemptId("nobody"), reason="")
    state = fold([(0, SEEN), (1, join)])
    assert state.anomaly_count == 1
    assert state.jobs[JOB].joins == 0


def test_seconds_saved_are_the_sum_over_finished_joins():
    join = JoinDecided(**STAMP, ask="q", job=JOB, session=None, standing="fresh", do="replay", attempt=ATTEMPT, of="foreground", reason="")
    done = JoinDone(**STAMP, ask="q", attempt=ATTEMPT, waited_s=0.1, saved_s=1.9)
    state = fold([*run_of(PASS), (20, join), (21, done)])
    assert state.saved_s == pytest.approx(1.9)
    assert state.attempts[ATTEMPT].joined == 1


@pytest.mark.parametrize("then", ["asked again without that knowledge", "a question was put"])
def test_what_a_later_session_may_go_by_is_what_was_known_at_the_latest_question(then: str):
    """Decision 0014."""
    join = JoinDecided(
        **STAMP, ask="q", job=JOB, session=None, standing="none", do="exec", attempt=None, reason="", mode="default", host="4d"
    )
    state = fold(enumerate([SEEN, join]))
    assert (state.jobs[JOB].allowed_mode, state.jobs[JOB].allowed_host) == ("default", "4d")
    asked = PermissionAsked(**STAMP, job=JOB, session=SessionId("s"))
    state = apply(state, asked if then == "a question was put" else msgspec.structs.replace(join, ask="r", mode="", host=""))
    assert (state.jobs[JOB].allowed_mode, state.jobs[JOB].allowed_host) == ("", "")


def test_ended_attempts_beyond_the_limit_are_forgotten_but_open_ones_never(monkeypatch):
    monkeypatch.setattr("stretto.fold.ATTEMPTS_KEPT", 3)
    monkeypatch.setattr("stretto.fold.ATTEMPTS_BEYOND", 2)
    state = fold([(0, SEEN), (1, STARTED)])
    for number in range(10):
        attempt = AttemptId(f"x{number}")
        apply(state, AttemptStarted(**STAMP, attempt=attempt, job=JOB, kind="ahead", session=None, generation=1))
        apply(state, AttemptExited(**STAMP, attempt=attempt, end=PASS, out_bytes=0, err_bytes=0, took_s=1.0, cpu_s=0.0))
    assert ATTEMPT in state.attempts
    assert len(state.attempts) <= 5


@pytest.mark.parametrize("event", [SEEN, STARTED, SPAWNED, EXITED, SETTLED], ids=lambda item: type(item).__name__)
def test_every_event_reads_back_as_it_was_written(event):
    assert parse(ENCODER.encode(event)) == event


def test_an_attempt_is_open_exactly_until_it_exited():
    assert [
        Attempt(
            attempt=ATTEMPT,
            job=JOB,
            kind="ahead",
            session=None,
            nested=False,
            started_at=0,
            started_mono=0,
            boot="",
            generation=0,
            why="",
            phase=phase,
        ).open
        for phase in PHASES
    ] == [True, True, False, False]


# --- jobs that were asked for -----------------------------------------------------------------------------------------------

FAIL = End(how="code", value=1)
FIRST, SECOND, THIRD = JobKey("r1"), JobKey("r2"), JobKey("r3")


def made(job: JobKey, *after: JobKey, **fields: object) -> list[object]:
    """What is written when a job is asked for."""
    seen = JobSeen(**STAMP, job=job, name="make", argv=("make",), cwd=".", streams="split")
    return [seen, RequestMade(**STAMP, job=job, after=after, memory_bytes=1, **fields)]


def begun(job: JobKey, attempt: str = "t1", kind: str = "requested") -> AttemptStarted:
    return AttemptStarted(**STAMP, attempt=AttemptId(attempt), job=job, kind=kind, session=None, generation=1)


def over(end: End, attempt: str = "t1") -> AttemptExited:
    return AttemptExited(**STAMP, attempt=AttemptId(attempt), end=end, out_bytes=0, err_bytes=0, took_s=1.0, cpu_s=0.0)


def log_of(*events: object) -> State:
    return fold(list(enumerate(events)))


REQUEST_PHASES: list[RequestPhase] = [
    WaitsFor(frozenset({SECOND})),
    Ready(),
    UnderWay(AttemptId("t1"), 1),
    Stopping(AttemptId("t1"), "enough"),
    Passed(AttemptId("t1")),
    Failed(FAIL),
    Cancelled("enough"),
    PutAside(FAIL, 3),
    Lost("gone"),
]
REQUEST_EVENTS = {
    type(event): event
    for event in (
        begun(FIRST, "t2"),
        over(PASS),
        RequestHeld(**STAMP, job=FIRST, reason="no place"),
        RequestCancelled(**STAMP, job=FIRST, reason="enough"),
        RequestLost(**STAMP, job=FIRST, reason="gone"),
    )
}
REQUEST_ILLEGAL = [
    (phase, event) for phase in REQUEST_PHASES for kind, event in REQUEST_EVENTS.items() if kind not in REQUEST_NEXT[type(phase)]
]
REQUEST_LEGAL = [(phase, event) for phase in REQUEST_PHASES for kind, event in REQUEST_EVENTS.items() if kind in REQUEST_NEXT[type(phase)]]


def requested(phase: RequestPhase) -> State:
    """A job in this phase; its first try is there when the phase has one."""
    state = log_of(*made(FIRST), *([] if isinstance(phase, WaitsFor | Ready | Lost) else [begun(FIRST)]))
    state.requests[FIRST].phase = phase
    return state


def test_every_phase_of_a_requested_job_is_in_the_table():
    assert {type(phase) for phase in REQUEST_PHASES} == set(REQUEST_NEXT)


@pytest.mark.parametrize(("phase", "event"), REQUEST_ILLEGAL, ids=lambda item: type(item).__name__)
def test_apply_illegal_event_keeps_a_requested_job_as_it_is_and_is_counted(phase, event):
    after = apply(requested(phase), event, 99)
    assert after.requests[FIRST].phase == phase
    assert AttemptId("t2") not in after.attempts
    assert after.anomaly_count == 1


@pytest.mark.parametrize(("phase", "event"), REQUEST_LEGAL, ids=lambda item: type(item).__name__)
def test_apply_legal_event_moves_a_requested_job_on(phase, event):
    after = apply(requested(phase), event)
    assert after.requests[FIRST].phase != phase
    assert after.anomaly_count == 0


def test_a_job_is_ready_once_the_last_of_the_others_has_passed():
    events = [*made(FIRST), *made(SECOND), *made(THIRD, FIRST, SECOND), begun(FIRST), over(PASS)]
    assert log_of(*events).requests[THIRD].phase == WaitsFor(frozenset({SECOND}))
    assert log_of(*events, begun(SECOND, "t2"), over(PASS, "t2")).requests[THIRD].phase == Ready()
    assert log_of(*events, *made(JobKey("r4"), FIRST)).requests[JobKey("r4")].phase == Ready()


@pytest.mark.parametrize(
    ("retries", "ends", "phase"),
    [
        pytest.param(0, [PASS], Passed, id="passed"),
        pytest.param(0, [FAIL], Failed, id="failed"),
        pytest.param(0, [End(how="lost")], Failed, id="lost"),
        pytest.param(2, [FAIL], Ready, id="a retry is left"),
        pytest.param(2, [FAIL, PASS], Passed, id="passed at the second try"),
        pytest.param(2, [FAIL, End(how="signal", value=11), FAIL], PutAside, id="no retry is left"),
        pytest.param(2, [End(how="cancelled", value=15)], Cancelled, id="ended by somebody: no retry"),
    ],
)
def test_what_a_try_makes_of_a_requested_job(retries, ends, phase):
    tries = [event for number, end in enumerate(ends) for event in (begun(FIRST, f"t{number}"), over(end, f"t{number}"))]
    state = log_of(*made(FIRST, retries=retries), *tries)
    assert isinstance(state.requests[FIRST].phase, phase)
    assert state.anomaly_count == 0


def test_a_cancelled_job_stays_cancelled_even_when_its_process_then_passes():
    state = log_of(
        *made(FIRST, retries=5), begun(FIRST), RequestCancelled(**STAMP, job=FIRST, reason="enough"), over(PASS), begun(FIRST, "t2")
    )
    assert state.requests[FIRST].phase == Cancelled("enough")
    assert AttemptId("t2") not in state.attempts


def test_the_pause_before_a_retry_doubles_up_to_a_limit():
    assert [retry_pause_s(tries) for tries in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert retry_pause_s(1000) == RETRY_MOST_S


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([*made(FIRST, SECOND)], id="after an unknown one"),
        pytest.param([*made(FIRST, FIRST)], id="after itself"),
        pytest.param([*made(FIRST), made(FIRST)[1]], id="asked twice"),
        pytest.param([RequestMade(**STAMP, job=FIRST, memory_bytes=1)], id="of an unknown job"),
        pytest.param([SEEN, begun(JOB)], id="a check started as if it were requested"),
        pytest.param([*made(FIRST), begun(FIRST, kind="ahead")], id="a requested job started as if it could be joined"),
    ],
)
def test_what_nobody_can_ask_for_is_an_anomaly_and_starts_nothing(events):
    state = log_of(*events)
    assert state.anomaly_count == 1
    assert not state.attempts


def test_requested_jobs_that_are_over_are_forgotten_one_day_and_open_ones_never(monkeypatch):
    monkeypatch.setattr("stretto.fold.REQUESTS_KEPT", 3)
    cancelled = [[*made(JobKey(f"x{number}")), RequestCancelled(**STAMP, job=JobKey(f"x{number}"), reason="")] for number in range(10)]
    state = log_of(*made(FIRST), *[event for events in cancelled for event in events])
    assert FIRST in state.requests
    assert len(state.requests) <= 4
    assert set(state.jobs) == set(state.requests)


names = st.sampled_from([FIRST, SECOND, THIRD])
tries = st.sampled_from(["t1", "t2", "t3"])
any_event = st.one_of(
    st.builds(lambda job, after, retries: made(job, *after, retries=retries), names, st.lists(names, max_size=2), st.integers(0, 1)),
    st.builds(lambda job, attempt, kind: [begun(job, attempt, kind)], names, tries, st.sampled_from(["requested", "ahead"])),
    st.builds(lambda end, attempt: [over(end, attempt)], st.sampled_from([PASS, FAIL, End(how="cancelled")]), tries),
    st.builds(lambda job: [RequestCancelled(**STAMP, job=job, reason="enough")], names),
    st.builds(lambda job: [RequestLost(**STAMP, job=job, reason="gone")], names),
)


@given(st.lists(any_event, max_size=25))
def test_whatever_a_log_says_no_job_runs_before_its_turn_or_after_its_end(groups):
    """Any order of any events: the graph has no cycle, one try at a time, an end is final."""
    state = State()
    ended: dict[JobKey, RequestPhase] = {}
    for event in [event for group in groups for event in group]:
        before = {job: request.phase for job, request in state.requests.items()}
        state = apply(state, event)
        order = list(state.requests)
        for job, request in state.requests.items():
            assert all(order.index(other) < order.index(job) for other in request.after), "what it waits for was asked for earlier"
            if request.under_way and not isinstance(before[job], UnderWay | Stopping):
                assert isinstance(before[job], Ready)
                assert all(isinstance(state.requests[other].phase, Passed) for other in request.after)
            if job in ended:
                assert request.phase == ended[job], "an end is final"
            if request.over:
                ended[job] = request.phase
            open_tries = [item for item in state.attempts.values() if item.job == job and item.open]
            assert len(open_tries) == request.under_way


def test_a_contradicted_command_is_left_alone_for_ever_more_foreground_runs_and_at_once_when_the_user_says_so():
    contradicted = JobContradicted(**STAMP, job=JOB, attempt=ATTEMPT, ahead="fail", foreground="pass")
    state = apply(State(), SEEN)
    for number, runs in enumerate((3, 6, 12, 24, 48, 48)):
        assert not state.jobs[JOB].contradicted
        state = apply(state, contradicted)
        for at in range(runs):
            assert state.jobs[JOB].contradicted
            state = apply(state, msgspec.structs.replace(STARTED, attempt=AttemptId(f"{number}-{at}")))
    state = apply(state, contradicted)
    assert "its run ahead failed where the session's own passed" in state.jobs[JOB].contradicted
    state = apply(state, JobRetried(**STAMP, job=JOB))
    assert (state.jobs[JOB].contradicted, state.jobs[JOB].contradictions, state.anomaly_count) == ("", 0, 0)


def test_beside_what_a_command_ran_is_as_its_latest_foreground_run_was():
    state = fold([(0, SEEN)])
    for name, beside in (("a", "a server"), ("b", "")):
        attempt = AttemptId(name)
        for event in (STARTED, EXITED, SETTLED):
            changes = {"beside": beside} if event is SETTLED else {}
            state = apply(state, msgspec.structs.replace(event, attempt=attempt, **changes))
        assert state.jobs[JOB].beside == beside
