"""Jobs that were asked for by `stretto run`: the command line, the supervisor and the monitors as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import stretto
from integration.conftest import SESSION
from stretto import control, kin, observe
from stretto import slots as slots_of
from stretto.fold import Cancelled, Failed, Lost, Passed, PutAside, Ready, Request, Running, Stopping, UnderWay, WaitsFor, fold
from stretto.model import AttemptStarted, EpochBegan, JobKey, JobSeen, RequestMade, SessionId, SessionOpened
from stretto.requests import Requests
from stretto.schedule import OVERLOADED
from stretto.system import LINUX, Process, boot_id, lives, mono_s, signal_process
from stretto.testing import leftovers
from stretto.testing.wait import wait_until

PACKAGE = str(Path(stretto.__file__).parents[1])
LIMIT_S = 30


def stretto_cli(bench, *words: str, code: int = 0, session: bool = True, before: Sequence[str] = ()) -> str:
    """Run one command line as the session's shell would, or through `before`; return what it printed."""
    env = {**bench.env, "STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": PACKAGE, "JOB_SECRET": "hunter2-" + "x" * 20}
    if not session:
        env = {name: value for name, value in env.items() if not name.startswith("CLAUDE")}
    done = subprocess.run(
        [sys.executable, *before, "-m", "stretto", *words],
        cwd=bench.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def ask(bench, *words: str, session: bool = True) -> str:
    return stretto_cli(bench, "run", *words, session=session).strip()


def request(bench, job: str) -> Request:
    return bench.state().requests[job]


def becomes(bench, job: str, kind: type) -> Request:
    wait_until(lambda: isinstance(request(bench, job).phase, kind), limit_s=LIMIT_S, what=f"{job[:8]} to be {kind.__name__}")
    return request(bench, job)


def gate(bench, name: str) -> tuple[Path, str]:
    """A file, and a shell script that waits for as long as it is there."""
    path = bench.short / name
    path.touch()
    return path, f"echo begin; while [ -f {path} ]; do sleep 0.02; done; echo end"


def has_monitor(bench) -> None:
    """Wait until a job's monitor is known to the log."""
    wait_until(lambda: any(isinstance(item.phase, Running) for item in bench.state().open_attempts()), limit_s=LIMIT_S, what="a monitor")


def starts(bench, job: str) -> int:
    return sum(event.job == job for event in bench.events(AttemptStarted))


def test_a_job_runs_with_the_callers_directory_and_environment_and_its_exit_is_waited_for(bench):
    bench.begin()
    (bench.root / "src.py").write_text("one\n")
    job = ask(bench, "--", "sh", "-c", "cat src.py; echo ${#JOB_SECRET} >&2; exit 7")
    stretto_cli(bench, "wait", job[:8], code=7)
    assert stretto_cli(bench, "logs", job[:8], "-f") == "one\n28\n"
    assert isinstance(request(bench, job).phase, Failed)
    assert "exit 7" in stretto_cli(bench, "status")
    assert "exit 7" in stretto_cli(bench, "why")
    for path in Path(bench.paths.folder).rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_a_job_waits_until_what_it_depends_on_has_passed_and_starts_by_itself(bench):
    bench.begin()
    hold, script = gate(bench, "hold")
    first = ask(bench, "--", "sh", "-c", script)
    second = ask(bench, "--after", first[:8], "--", "sh", "-c", "echo second")
    becomes(bench, first, UnderWay)
    assert isinstance(request(bench, second).phase, WaitsFor)
    assert f"for {first[:8]}" in stretto_cli(bench, "status")
    hold.unlink()
    stretto_cli(bench, "wait", first, second)
    assert stretto_cli(bench, "logs", second) == "second\n"


def test_a_cancelled_job_stays_cancelled_and_what_waits_for_it_is_cancelled_too(bench):
    """F4: the worker ignores SIGTERM and would end with 0."""
    bench.begin()
    _, script = gate(bench, "hold")
    first = ask(bench, "--", "sh", "-c", f"trap 'echo told; exit 0' TERM; {script}")
    second = ask(bench, "--after", first, "--", "true")
    third = ask(bench, "--after", second, "--", "true")
    has_monitor(bench)
    assert "Cancelled" in stretto_cli(bench, "cancel", first[:8])
    assert isinstance(request(bench, first).phase, Stopping | Cancelled)
    stretto_cli(bench, "wait", first, code=143)
    assert "which was cancelled" in becomes(bench, second, Cancelled).phase.reason
    assert second[:8] in becomes(bench, third, Cancelled).phase.reason
    assert (starts(bench, first), starts(bench, second), starts(bench, third)) == (1, 0, 0)
    assert "over already" in stretto_cli(bench, "cancel", first)


def test_a_job_after_one_that_failed_never_starts(bench):
    bench.begin()
    first = ask(bench, "--", "false")
    second = ask(bench, "--after", first, "--", "true")
    assert "failed" in becomes(bench, second, Cancelled).phase.reason
    assert starts(bench, second) == 0


def test_c11_a_job_that_fails_at_every_try_is_put_aside_and_says_so(bench):
    """C-11: others are not held up by it."""
    bench.begin()
    poison = ask(bench, "--retries", "1", "--", "sh", "-c", "echo try >> ../tries; kill -SEGV $$")
    other = ask(bench, "--", "true")
    becomes(bench, other, Passed)
    becomes(bench, poison, PutAside)
    assert (bench.short / "tries").read_text().count("try") == 2
    assert "put aside" in stretto_cli(bench, "status")
    assert "failed 2 times" in stretto_cli(bench, "why")
    stretto_cli(bench, "wait", poison, code=128 + signal.SIGSEGV)


def test_asking_starts_a_supervisor_when_none_lives_and_no_session_is_needed(bench):
    job = ask(bench, "--", "sh", "-c", "echo alone", session=False)
    stretto_cli(bench, "wait", job)
    assert bench.events(RequestMade)[0].session is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--after", "abcdef", "--", "true"], "no id begins so"),
        (["--memory", "9999G", "--", "true"], "at most"),
        (["--memory", "much", "--", "true"], "cannot read the size"),
        (["--", "no-such-program-here"], "no such program"),
    ],
    ids=["unknown dependency", "too much memory", "no size", "no program"],
)
def test_what_can_never_run_is_refused_when_it_is_asked_for(bench, words, said):
    bench.begin()
    assert said in stretto_cli(bench, "run", *words, code=1)
    assert not bench.events(RequestMade)


def test_a_job_after_itself_is_refused_with_the_cycle_named_and_asking_twice_asks_once(bench):
    """Dependencies name earlier jobs only, so this is the only cycle anybody can ask for."""
    bench.begin()
    job = uuid.uuid4().hex
    hold, script = gate(bench, "hold")
    message = {
        "op": b"request",
        "job": job.encode(),
        "exe": b"/bin/sh",
        "argv": b"\0".join([b"sh", b"-c", script.encode()]),
        "env": b"A=b",
        "cwd": os.fsencode(bench.root),
        "umask": b"22",
        "after": job.encode(),
        "priority": b"0",
        "memory_bytes": b"1000",
        "retries": b"0",
        "keep": b"0",
        "session": SESSION.encode(),
    }
    refused = bench.ask(**message)
    assert refused["ok"] == b"0"
    assert f"{job[:8]} -> {job[:8]}".encode() in refused["reason"]
    for _ in range(2):
        assert bench.ask(**{**message, "after": b""})["ok"] == b"1"
    becomes(bench, job, UnderWay)
    hold.unlink()
    becomes(bench, job, Passed)
    assert starts(bench, job) == 1


def test_after_a_supervisors_death_what_runs_is_adopted_and_what_had_not_started_is_lost(bench):
    bench.begin()
    hold, script = gate(bench, "hold")
    runs = ask(bench, "--", "sh", "-c", script)
    waits = ask(bench, "--after", runs, "--", "true")
    becomes(bench, runs, UnderWay)
    has_monitor(bench)
    dead = bench.supervisor()
    signal_process(dead, signal.SIGKILL)
    wait_until(lambda: not lives(dead), limit_s=LIMIT_S, what="its death")
    stretto_cli(bench, "wait", waits, code=125)
    assert "gone" in becomes(bench, waits, Lost).phase.reason
    assert isinstance(request(bench, runs).phase, UnderWay)
    hold.unlink()
    stretto_cli(bench, "wait", runs)
    assert (starts(bench, runs), starts(bench, waits)) == (1, 0)
    assert stretto_cli(bench, "logs", runs) == "begin\nend\n"


def test_f4_when_the_session_is_over_only_a_job_that_was_asked_to_goes_on(bench):
    bench.begin()
    hold, script = gate(bench, "hold")
    kept = ask(bench, "--keep", "--", "sh", "-c", script)
    becomes(bench, kept, UnderWay)
    waiting = ask(bench, "--after", kept, "--", "true")
    bench.hook("SessionEnd", reason="other")
    assert "session" in becomes(bench, waiting, Cancelled).phase.reason
    assert isinstance(request(bench, kept).phase, UnderWay)
    hold.unlink()
    becomes(bench, kept, Passed)


CLAUDE, OTHER = SessionId("s1"), SessionId("s2")
STAMP = {"ts": 1.0, "mono": 1.0, "boot": "b", "by": "test"}


@pytest.mark.parametrize(
    ("fields", "open_sessions", "ended"),
    [
        pytest.param({"session": CLAUDE}, {CLAUDE}, False, id="its session is open"),
        pytest.param({"session": CLAUDE}, set(), True, id="its session is over"),
        pytest.param({"session": CLAUDE}, {SessionId("s3")}, True, id="another one, of another process, is open"),
        pytest.param({"session": CLAUDE}, {OTHER}, False, id="another one of the same process is open: /clear"),
        pytest.param({"session": CLAUDE, "keep": True}, set(), False, id="it was asked to go on"),
        pytest.param({"session": None}, set(), False, id="asked outside any session"),
    ],
)
def test_which_jobs_end_with_their_session(fields, open_sessions, ended):
    job = JobKey("a" * 32)
    events = [
        *(
            SessionOpened(**STAMP, session=SessionId(name), source="startup", claude_pid=pid)
            for name, pid in (("s1", 7), ("s2", 7), ("s3", 8))
        ),
        JobSeen(**STAMP, job=job, name="make", argv=("make",), cwd=".", streams="split"),
        RequestMade(**STAMP, job=job, memory_bytes=1, **fields),
    ]
    clock = SimpleNamespace(mono_s=mono_s)
    requests = Requests(clock, lambda *_, **__: None, fold(list(enumerate(events))))
    assert list(requests.orphans(0.0, open_sessions)) == ([job] if ended else [])
    assert list(requests.orphans(3600.0, open_sessions)) == []


def test_c8_a_job_whose_monitor_was_killed_is_lost_and_never_passed(bench):
    bench.begin()
    _, script = gate(bench, "hold")
    job = ask(bench, "--", "sh", "-c", script)
    after = ask(bench, "--after", job, "--", "true")
    has_monitor(bench)
    (monitor,) = control.monitors(bench.state())
    signal_process(monitor, signal.SIGKILL)
    stretto_cli(bench, "wait", job, code=125)
    assert becomes(bench, job, Failed).phase.end.how == "lost"
    becomes(bench, after, Cancelled)
    assert starts(bench, after) == 0


def test_nothing_of_a_stopped_supervisor_runs_on(bench):
    bench.begin()
    _, script = gate(bench, "hold")
    job = ask(bench, "--keep", "--", "sh", "-c", script)
    has_monitor(bench)
    bench.stop()
    becomes(bench, job, Cancelled)
    wait_until(lambda: not leftovers.find(str(bench.short)), limit_s=LIMIT_S, what="nothing left")


def test_a_job_begins_an_epoch_at_both_ends_and_nothing_is_joined_beside_it(bench):
    """F40: it may write what no scan sees."""
    bench.tool("pytest", "cat src.py")
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    bench.bash("pytest -q")
    hold, script = gate(bench, "hold")
    epochs = len(bench.events(EpochBegan))
    job = ask(bench, "--", "sh", "-c", script)
    becomes(bench, job, UnderWay)
    bench.bash("pytest -q")
    bench.bash("pytest -q")
    assert bench.did() == ["record"] * 3
    assert "a job that was asked for" in bench.joins()[-1][1]
    hold.unlink()
    becomes(bench, job, Passed)
    wait_until(lambda: len(bench.events(EpochBegan)) >= epochs + 2, limit_s=LIMIT_S, what="two epochs")
    bench.bash("pytest -q")
    assert bench.did()[-1] == "record"


def test_more_jobs_than_places_start_as_places_become_free_the_most_urgent_first(bench):
    bench.begin()
    places = os.cpu_count() or 1
    hold, script = gate(bench, "hold")
    if os.getloadavg()[0] / places >= OVERLOADED:
        pytest.skip(f"the machine is overloaded (load {os.getloadavg()[0]:.0f} on {places} cores): jobs start one at a time")
    first = [ask(bench, "--memory", "1M", "--", "sh", "-c", script) for _ in range(places)]
    for job in first:
        becomes(bench, job, UnderWay)
    late = ask(bench, "--memory", "1M", "--", "sh", "-c", "echo late >> ../order")
    urgent = ask(bench, "--memory", "1M", "--priority", "5", "--", "sh", "-c", "echo urgent >> ../order")
    wait_until(lambda: getattr(request(bench, urgent).phase, "held", ""), limit_s=LIMIT_S, what="a reason")
    assert isinstance(request(bench, late).phase, Ready)
    assert "no place is free" in stretto_cli(bench, "status")
    hold.unlink()
    stretto_cli(bench, "wait", *first, late, urgent)
    began = [event.job for event in bench.events(AttemptStarted)]
    assert began.index(urgent) < began.index(late)
    assert len(began) == places + 2


CONFINED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
"""Sets no_new_privs, as every sandbox does, and goes on as the rest of its arguments."""


@pytest.mark.skipif(not LINUX, reason="only Linux shows the confinement of another process")
def test_a_confined_process_cannot_have_a_job_run_outside_its_confinement(bench):
    """B-17: the supervisor looks at the process itself, whatever that says."""
    bench.begin()
    said = stretto_cli(bench, "run", "--", "true", code=1, before=["-c", CONFINED])
    assert "confined" in said
    assert not bench.events(RequestMade)


@pytest.mark.skipif(not LINUX, reason="only Linux shows the memory of another process's descendants")
def test_memory_promised_in_any_project_counts_until_it_is_used_or_its_place_is_free(short):
    slots = short / "slots"
    slots.mkdir()
    assert slots_of.promised_bytes(str(slots)) == 0
    place = slots_of.take_place(str(slots))
    assert place is not None
    place.promise(1 << 40, 0)
    assert slots_of.promised_bytes(str(slots)) == 1 << 40
    place.promise(1 << 40, os.getpid())
    assert 0 < (1 << 40) - slots_of.promised_bytes(str(slots)) < 1 << 36
    assert observe.resident_bytes(os.getpid()) > 1 << 20
    place.close()
    assert slots_of.promised_bytes(str(slots)) == 0


@pytest.mark.skipif(not LINUX, reason="finds what is left by its mark in /proc, which only Linux has")
def test_f2_what_a_job_started_is_ended_when_its_monitor_was_killed(bench):
    """F4, C-8: also what has a session of its own; the job is lost and never passed."""
    bench.begin()
    path, waiting = gate(bench, "hold")
    job = ask(bench, "--", "sh", "-c", f"setsid sh -c '{waiting}' & wait")
    attempt = becomes(bench, job, UnderWay).attempt
    wait_until(lambda: len(list(kin.carrying(attempt))) >= 3, limit_s=LIMIT_S, what="the worker and what it started")
    has_monitor(bench)
    monitor = bench.state().attempts[attempt].phase
    assert signal_process(Process(monitor.pid, monitor.start, boot_id()), signal.SIGKILL)
    assert becomes(bench, job, Failed).phase.end.how == "lost"
    wait_until(lambda: not list(kin.carrying(attempt)), limit_s=LIMIT_S, what="nothing left of it")
    assert path.exists()
