"""The fold of the log: every legal step, and nothing else, changes what is known of an attempt."""

from __future__ import annotations

import pytest

from stretto.fold import NEXT, Attempt, Begun, Exited, Phase, Running, Settled, State, apply, fold
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
    JobKey,
    JobSeen,
    JoinDecided,
    JoinDone,
)

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
    assert after.attempts[ATTEMPT].phase != phase
    assert after.anomaly_count == 0


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


def test_what_a_command_once_did_is_remembered_for_good():
    events = run_of(PASS, torn="a.py changed", wrote=("a.py",), products=(".coverage",), remote=True, left=1)
    second = AttemptId("b")
    events += [
        (10, AttemptStarted(**STAMP, attempt=second, job=JOB, kind="foreground", session=None, generation=3)),
        (11, AttemptExited(**STAMP, attempt=second, end=PASS, out_bytes=1, err_bytes=0, took_s=2.0, cpu_s=1.0)),
        (12, AttemptSettled(**STAMP, attempt=second, generation=4)),
    ]
    job = fold(events).jobs[JOB]
    assert (job.mutating, job.products, job.remote, job.leaves) == (True, True, True, True)


def test_an_epoch_never_goes_back():
    state = fold([(0, EpochBegan(**STAMP, epoch=3, reason="pip")), (1, EpochBegan(**STAMP, epoch=2, reason="forged"))])
    assert state.epoch == 3
    assert state.anomaly_count == 1


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


def test_ended_attempts_beyond_the_limit_are_forgotten_but_open_ones_never(monkeypatch):
    monkeypatch.setattr("stretto.fold.ATTEMPTS_KEPT", 3)
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
