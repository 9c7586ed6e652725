"""The foreground first: an ahead run is held back, costs nothing meanwhile, and goes on as if nothing had been.

Each with a control group of our own (frozen) and without one (stopped process by process).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.conftest import Started

from stretto import cgroup, kin
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited, AttemptSettled, End
from stretto.runs import HELD_MOST_S
from stretto.system import Process, lives, signal_process
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="what stands still is seen in /proc")
TREE = "setsid sh -c 'while :; do :; done' & sh -c 'while :; do :; done' & wait"
"""Three generations, one of them in a session of its own, all busy."""


@pytest.fixture(params=["group", "groupless"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "groupless":
        request.getfixturevalue("groupless")
    elif not cgroup.place():
        pytest.skip("no control group of the second version in which this user may make another")
    return str(request.param)


def tree(run: Started) -> list[int]:
    return [each.process.pid for each in kin.below(run.process.pid)]


def cpu_ticks(pids: list[int]) -> int:
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields)


def stands(pids: list[int]) -> bool:
    """Whether none of them gets any processor for a tenth of a second: asked again and again."""
    before = cpu_ticks(pids)
    try:
        wait_until(lambda: cpu_ticks(pids) > before, limit_s=0.3)
    except AssertionError:
        return True
    return False


def exited(run: Started) -> AttemptExited:
    (event,) = [event for _, event in read(str(run.home)) if isinstance(event, AttemptExited) and event.attempt == run.attempt]
    return event


def held(run: Started, size: int = 4) -> list[int]:
    pids = wait_until(lambda: len(tree(run)) >= size and tree(run), what="the tree")
    assert local.hold(run.process)
    wait_until(lambda: stands(pids), what="a tree that stands still")
    return pids


def test_a_held_tree_gets_no_processor_and_all_of_it_goes_on(way: str, start: Callable[..., Started]):
    run = start(TREE)
    pids = held(run, 3)
    assert local.go_on(run.process)
    for pid in pids[1:]:
        wait_until(lambda pid=pid: cpu_ticks([pid]) > 0 and not stands([pid]), what="one of them running")


def test_who_is_waited_for_goes_on_and_can_be_held_again_when_nobody_waits_any_more(way: str, start: Callable[..., Started]):
    run = start(TREE)
    pids = held(run, 3)
    assert local.hasten(run.process)
    wait_until(lambda: not stands(pids), what="full speed")
    assert local.hold(run.process)
    wait_until(lambda: stands(pids), what="a tree that stands again")


def test_the_last_word_counts_however_fast_they_come(way: str, start: Callable[..., Started]):
    run = start(TREE)
    pids = wait_until(lambda: len(tree(run)) >= 3 and tree(run), what="the tree")
    for _ in range(200):
        assert local.hold(run.process)
        assert local.go_on(run.process)
    wait_until(lambda: not stands(pids), what="a tree that runs")
    for _ in range(200):
        assert local.go_on(run.process)
        assert local.hold(run.process)
    wait_until(lambda: stands(pids), what="a tree that stands")
    assert local.cancel(run.process)
    assert run.end() == End(how="cancelled", value=signal.SIGTERM)


def test_time_for_which_it_was_held_counts_for_no_limit_and_no_duration(way: str, start: Callable[..., Started]):
    run = start("sleep 0.2; while [ ! -e go ]; do sleep 0.02; done; exit 3", wall_s=b"1.5")
    wait_until(lambda: tree(run), what="its worker")
    assert local.hold(run.process)
    _pass(1.6)
    assert local.go_on(run.process)
    (run.home / "go").touch()
    assert run.end() == End(how="code", value=3)
    event = exited(run)
    assert event.held_s >= 1.0
    assert event.took_s < 1.5


def _pass(seconds: float) -> None:
    """Let wall time go by: it is what is measured here."""
    import time

    until_s = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until_s, limit_s=seconds + 30)


def test_a_held_run_hears_sigterm_when_it_is_cancelled(way: str, start: Callable[..., Started]):
    """It may clean up after itself, as every cancelled run may."""
    run = start("trap 'echo cleaned; exit 1' TERM; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: b"ready" in run.output(), what="its trap")
    assert local.hold(run.process)
    assert local.cancel(run.process)
    assert run.end().how == "cancelled"
    assert b"cleaned" in run.output()


def test_f3_f4_nothing_is_left_stopped_when_the_owner_of_a_held_run_is_killed(way: str, start: Callable[..., Started]):
    """C-8: nobody is there to let it go on; the supervisor, or the next one, ends it."""
    run = start(TREE)
    held(run, 3)
    assert list(kin.carrying(run.attempt))
    os.kill(run.process.pid, signal.SIGKILL)  # a child of the test's own forker
    wait_until(lambda: run.listen() and run.gone, what="the owner's end")
    assert local.end_orphans(run.attempt, run.folder) == []
    wait_until(lambda: not list(kin.carrying(run.attempt)), what="nothing left")


def test_f9_a_held_run_ends_when_no_supervisor_is_left_to_lift_the_hold(way: str, start: Callable[..., Started], tmp_path: Path):
    run = start(TREE, lease=os.fsencode(tmp_path / "supervisor.lock"), lease_s=b"1.5")
    assert local.hold(run.process)
    assert run.end() == End(how="cancelled", value=signal.SIGTERM)
    assert not list(kin.carrying(run.attempt))


def test_what_was_stopped_before_is_not_let_go_on(groupless: None, start: Callable[..., Started]):
    """A suite that tests job control finds its stopped child as it left it."""
    run = start("sh -c 'kill -STOP $$' & echo $! > stopped; while :; do sleep 0.02; done")
    pid = int(wait_until(lambda: (run.home / "stopped").exists() and (run.home / "stopped").read_text().strip(), what="its child"))

    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    wait_until(lambda: state() == "T", what="a stopped child")
    assert local.hold(run.process)
    assert local.go_on(run.process)
    worker = run.worker()
    wait_until(lambda: Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T", what="the others going on")
    assert state() == "T"


def test_a_shell_with_job_control_sees_no_stopped_child(groupless: None, start: Callable[..., Started]):
    run = start("exec bash -c 'set -m; while [ ! -e go ]; do sleep 0.02; done & wait $!; echo waited $?'")
    wait_until(lambda: len(tree(run)) >= 2, what="its child")
    for _ in range(3):
        assert local.hold(run.process)
        wait_until(lambda: tree(run) and all(each.stopped for each in kin.below(run.process.pid)), what="a stopped tree")
        assert local.go_on(run.process)
        wait_until(lambda: not any(each.stopped for each in kin.below(run.process.pid)), what="a tree that goes on")
    (run.home / "go").touch()
    assert run.end() == End(how="code", value=0)
    assert b"Stopped" not in run.output()
    assert run.output().endswith(b"waited 0\n")


# --- through a supervisor -----------------------------------------------------------------------------------------------------


def long_foreground(bench, ahead: str) -> tuple[Path, Path]:
    """Have one check run ahead and the session run as many others as there are cores; return the files that end them."""
    bench.root.joinpath("src.py").write_text("one\n")
    home = Path(bench.env["HOME"])
    bench.tool("ruff", f"echo x >> {home}/entered; while [ -e {home}/hold ]; do sleep 0.05; done")
    bench.tool("pytest", ahead)
    bench.begin()
    return home / "hold", home / "entered"


AHEAD = 'sleep 0.3; [ -e "$HOME/slow" ] && while [ -e "$HOME/slow" ]; do sleep 0.05; done; exit $(cat code)'


@pytest.mark.parametrize("code", [0, 1])
def test_c20_a_run_held_for_long_is_not_attached_to_and_its_failure_is_not_its_result(bench, code: int):
    """A time limit of its own may have passed while it was stopped; when it passes all the same, nothing has."""
    (bench.root / "code").write_text("0\n")
    hold, entered = long_foreground(bench, AHEAD)
    bench.bash("pytest -q")
    slow = Path(bench.env["HOME"]) / "slow"
    slow.touch()
    bench.edit("code", f"{code}\n")
    wait_until(
        lambda: [run for run in bench.state().open_attempts() if run.kind == "ahead" and hasattr(run.phase, "pid")], what="a run ahead"
    )
    hold.touch()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(bench.bash, f"ruff check {number}") for number in range(cores)]
        wait_until(lambda: entered.exists() and len(entered.read_text().split()) >= cores, what="a busy session")
        _pass(HELD_MOST_S + 0.7)
        slow.unlink()
        hold.unlink()
        for each in asked:
            each.result()
    bench.settled(1, "ahead")
    settled = {event.attempt: event for event in bench.events(AttemptSettled)}
    (ahead,) = [run for run in bench.state().attempts.values() if run.kind == "ahead" and bench.state().jobs[run.job].name == "pytest"]
    (end,) = [event for event in bench.events(AttemptExited) if event.attempt == ahead.attempt]
    assert end.held_s > HELD_MOST_S
    assert ("held back" in settled[ahead.attempt].torn) is bool(code)
    assert bench.bash("pytest -q")[1] == code
    assert bench.did()[-1] == ("record" if code else "replay")


def test_f9_a_run_that_was_held_when_its_supervisor_was_killed_is_ended_by_the_next_one(bench):
    """Nobody else would lift the hold; the lease, which would end it too, takes longer."""
    (bench.root / "code").write_text("0\n")
    long_foreground(bench, AHEAD)
    bench.bash("pytest -q")
    slow = Path(bench.env["HOME"]) / "slow"
    slow.touch()
    bench.edit("code", "1\n")
    (run,) = wait_until(
        lambda: [run for run in bench.state().open_attempts() if run.kind == "ahead" and hasattr(run.phase, "pid")], what="a run ahead"
    )
    wait_until(lambda: list(kin.below(run.phase.pid)), what="its worker")
    assert local.hold(Process(run.phase.pid, run.phase.start, run.boot))
    first = bench.supervisor()
    assert signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), what="its death")
    bench.hook("PreToolUse", tool_name="Read", tool_use_id="r", tool_input={})
    wait_until(lambda: not bench.state().attempts[run.attempt].open, what="its end in the log")
    assert bench.state().attempts[run.attempt].end == End(how="cancelled", value=signal.SIGTERM)
    wait_until(lambda: not list(kin.carrying(run.attempt)), what="nothing left of it")


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_what_is_traced_goes_on_too(groupless: None, start: Callable[..., Started]):
    """Its tracer hands our SIGSTOP on when it goes on itself, and so after our SIGCONT."""
    run = start("exec strace -f -qq -o /dev/null -e trace=none sh -c 'while :; do :; done'")

    def at_work() -> list[int]:
        """The tracer, which tries things with children of its own first, and what it traces."""
        pids = tree(run)
        return pids if len(pids) == 2 and cpu_ticks(pids[-1:]) > 5 else []

    pids = wait_until(at_work, what="work")
    for _ in range(3):
        assert local.hold(run.process)
        wait_until(lambda: stands(pids), what="a tree that stands")
        assert local.go_on(run.process)
        wait_until(lambda: not stands(pids[-1:]), what="a tree that goes on")


# --- what others may wait for is given up, not frozen

HOLDER = """import fcntl, os, socket, sys, time
kind, path = sys.argv[1:]
if kind == "flock":
    held = open(path, "w")
    if os.fork() == 0:  # who takes it ends: `exec 9>lock; flock 9`
        fcntl.flock(held, fcntl.LOCK_EX)
        os._exit(0)
    os.wait()
elif kind == "file":
    held = open(path + ".lock", "w")
elif kind == "posix":
    held = open(path, "w")
    fcntl.lockf(held, fcntl.LOCK_EX)
elif kind == "unix":
    held = socket.socket(socket.AF_UNIX)
    held.bind(path)
    held.listen()
elif kind == "tcp":
    held = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def holder(start: Callable[..., Started], short: Path, kind: str) -> Started:
    script = short / "holder.py"
    script.write_text(HOLDER)
    run = start(f"{sys.executable} {script} {kind} {short / 'held'}", limit_bytes=b"1000000")
    wait_until(lambda: b"ready" in run.output(), limit_s=20, what="what it holds")
    return run


needs_locks = pytest.mark.skipif(not os.path.exists(kin.LOCKS), reason="this kernel shows no locks")


@needs_locks
@pytest.mark.parametrize("kind", ["flock", "posix", "file", "unix", "tcp"])
def test_who_holds_a_lock_or_a_socket_is_ended_and_not_held_back(start, short, kind):
    """Nobody would let go of it for as long as it stands still, and the session may be who waits."""
    run = holder(start, short, kind)
    local.hold(run.process)
    assert run.end() == End(how="cancelled", value=signal.SIGTERM)


@needs_locks
def test_who_holds_nothing_is_held_back_as_ever(start, short, way):
    run = holder(start, short, "nothing")
    local.hold(run.process)
    wait_until(lambda: stands(tree(run)), limit_s=10, what="a run that stands still")
    assert lives(run.process) and not run.gone


def test_where_no_lock_can_be_seen_a_run_is_ended_and_not_held_back(start, short, monkeypatch):
    monkeypatch.setattr(
        local, "LAUNCH", local.LAUNCH.replace("from stretto.monitor", "from stretto import kin; kin.LOCKS = '/none'; from stretto.monitor")
    )
    run = holder(start, short, "nothing")
    local.hold(run.process)
    assert run.end() == End(how="cancelled", value=signal.SIGTERM)


@needs_locks
def test_a_run_ahead_whose_lock_the_session_waits_for_is_ended_at_once(start, short):
    """It is not held back: it just goes on holding what the session needs now."""
    run = holder(start, short, "flock")
    with ThreadPoolExecutor() as pool:
        done = pool.submit(subprocess.run, [*WAITER, str(short / "held")], timeout=20, check=True)
        assert run.end() == End(how="cancelled", value=signal.SIGTERM)
        assert done.result().returncode == 0


@needs_locks
def test_a_run_that_the_session_waits_for_keeps_its_lock_and_so_does_one_that_another_worker_waits_for(start, short):
    run = holder(start, short, "flock")
    waiter = subprocess.Popen([*WAITER, str(short / "held")], env={"STRETTO_WORKER": "0" * 32})
    try:
        wait_until(lambda: b"->" in Path(kin.LOCKS).read_bytes(), limit_s=10, what="somebody who waits")
        assert not kin.keeps_waiting(set(tree(run)))
    finally:
        waiter.kill()
        waiter.wait()
    local.hasten(run.process)
    waiter = subprocess.Popen([*WAITER, str(short / "held")])
    try:
        wait_until(lambda: kin.keeps_waiting(set(tree(run))), limit_s=10, what="somebody who waits")
        with pytest.raises(AssertionError):
            wait_until(lambda: run.listen() and run.gone, limit_s=1.0)
    finally:
        waiter.kill()
        waiter.wait()


WAITER = [sys.executable, "-I", "-S", "-c", "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX)"]
