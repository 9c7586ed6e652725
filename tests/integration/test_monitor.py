"""The owner of an ahead run, as a real process: limits, the whole tree, exit truth, and that others can see that it lives."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from stretto import bundle
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited, AttemptId, End
from stretto.system import LINUX, Process, boot_id, identify, is_locked, lives
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="looks into /proc")


class Started:
    """One monitor of the test, its bundle, and what it said."""

    def __init__(self, tmp_path: Path, argv: list[str], **changes: bytes) -> None:
        self.home = tmp_path
        self.attempt = AttemptId(os.urandom(16).hex())
        self.folder = bundle.create(str(tmp_path / "attempts"), self.attempt)
        spec = {
            "dir": os.fsencode(self.folder),
            "journal": os.fsencode(str(tmp_path)),
            "attempt": self.attempt.encode(),
            "exe": os.fsencode(argv[0]),
            "argv": b"\0".join(os.fsencode(word) for word in argv),
            "env": b"PATH=/usr/bin:/bin\0STRETTO_WORKER=1",
            "cwd": os.fsencode(str(tmp_path)),
            "umask": b"22",
            "streams": b"merged",
            "wall_s": b"60",
            "limit_bytes": b"1000000",
            "memory_bytes": b"1000000000",
            "tasks": b"1000",
        }
        self.owner = local.spawn(spec | changes)
        self.said: list[str] = []
        self.gone = False
        wait_until(lambda: self.listen() and any(line.startswith("started") for line in self.said), limit_s=10, what="monitor started")
        _, pid, start = next(line for line in self.said if line.startswith("started")).split()
        self.process = Process(int(pid), start, boot_id())

    def listen(self) -> bool:
        lines = self.owner.lines() if not self.gone else None
        if lines is None:
            self.gone = True
        else:
            self.said += lines
        return True

    def end(self) -> End:
        wait_until(lambda: self.listen() and self.gone, limit_s=20, what="monitor gone")
        found = bundle.read_exit(self.folder)
        assert found is not None
        return found.end

    def output(self, name: str = "out") -> bytes:
        return (Path(self.folder) / name).read_bytes()

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_until(lambda: children.read_text().split(), limit_s=5, what="a worker")[0])


@pytest.fixture
def start(tmp_path):
    started: list[Started] = []

    def begin(script: str, **changes: bytes) -> Started:
        one = Started(tmp_path, ["/bin/sh", "-c", script], **changes)
        started.append(one)
        return one

    yield begin
    for one in started:
        if lives(one.process):
            local.cancel(one.process)
            wait_until(lambda one=one: not lives(one.process), limit_s=15, what="the monitor's end")
        one.owner.close()


def test_a_run_leaves_its_output_its_exit_and_one_record(start, tmp_path):
    run = start("echo out; echo err >&2; exit 3")
    assert run.end() == End(how="code", value=3)
    assert run.output() == b"out\nerr\n"
    (event,) = [event for _, event in read(str(tmp_path)) if isinstance(event, AttemptExited)]
    assert (event.attempt, event.end, event.out_bytes, event.left) == (run.attempt, End(how="code", value=3), 8, 0)


def test_split_streams_are_two_files_with_the_order_they_were_seen_in(start):
    run = start("echo out; echo err >&2", streams=b"split")
    run.end()
    assert (run.output("out"), run.output("err")) == (b"out\n", b"err\n")
    assert len(run.output("frames")) == 10


def test_death_by_a_signal_is_told_from_an_exit_code(start):
    """C-8."""
    assert start("kill -SEGV $$").end() == End(how="signal", value=signal.SIGSEGV)


def test_a_run_over_its_wall_time_is_a_timeout_and_never_an_exit_code(start):
    """C-8."""
    assert start("sleep 60", wall_s=b"0.2").end().how == "timeout"


def test_a_run_that_prints_too_much_is_oversize(start):
    """C-16, at one megabyte."""
    assert start("exec yes").end().how == "oversize"


def test_a_command_that_cannot_be_started_does_not_pass(start):
    run = start("true", exe=b"/nonexistent/tool")
    assert not run.end().passed


def test_the_owner_holds_the_lock_for_its_life_and_no_child_inherits_it(start):
    run = start("sleep 60")
    lock = os.path.join(run.folder, "lock")
    assert is_locked(lock)
    worker = run.worker()
    wait_until(lambda: "sh" in Path(f"/proc/{worker}/comm").read_text() or "sleep" in Path(f"/proc/{worker}/comm").read_text(), limit_s=5)
    targets = [os.readlink(f"/proc/{worker}/fd/{name}") for name in os.listdir(f"/proc/{worker}/fd")]
    assert lock not in targets
    assert sorted(os.listdir(f"/proc/{worker}/fd")) == ["0", "1", "2"]
    local.cancel(run.process)
    assert run.end().how == "cancelled"
    assert not is_locked(lock)


def test_a_worker_reads_an_empty_standard_input(start):
    """F17."""
    run = start("cat; echo done")
    assert run.end() == End(how="code", value=0)
    assert run.output() == b"done\n"


def test_the_worker_stands_in_a_session_of_its_own_in_the_directory_and_environment_of_the_call(start, tmp_path):
    run = start("pwd; env | sort; umask", umask=b"27")
    run.end()
    assert run.output().decode().splitlines() == [str(tmp_path), "PATH=/usr/bin:/bin", f"PWD={tmp_path}", "STRETTO_WORKER=1", "0027"]


def test_the_monitor_is_detached_and_pins_no_directory(start):
    """C-7."""
    run = start("sleep 60")
    stat = Path(f"/proc/{run.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert int(stat[3]) != os.getsid(0)
    assert stat[1] != str(os.getpid())
    assert os.readlink(f"/proc/{run.process.pid}/cwd") == "/"


NEST = (
    "import os,signal,time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "for depth in range(3):\n"
    "    if os.fork(): time.sleep(60)\n"
    "    os.setsid()\n"
    "open('deep','w').write(str(os.getpid()))\n"
    "time.sleep(60)\n"
)


def test_cancel_ends_a_tree_three_deep_in_new_sessions_that_ignores_sigterm(start, tmp_path):
    """F4."""
    (tmp_path / "nest.py").write_text(NEST)
    run = start(f"exec {sys.executable} nest.py")
    deep = tmp_path / "deep"
    wait_until(lambda: deep.exists() and deep.read_text(), limit_s=10, what="the deepest process")
    pid = int(deep.read_text())
    local.cancel(run.process)
    assert run.end().how == "cancelled"
    assert identify(pid) is None


def test_what_a_finished_command_left_running_is_counted_and_ended(start, tmp_path):
    """F2."""
    run = start("(setsid sleep 60 & echo $! > left); exit 0")
    assert run.end() == End(how="code", value=0)
    (event,) = [event for _, event in read(str(tmp_path)) if isinstance(event, AttemptExited)]
    assert event.left >= 1
    assert not any("sleep" in _name(pid) for pid in _session_members(run))


def _session_members(run: Started) -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and f"STRETTO_WORKER=1\0PWD={run.home}" in _environment(name)]


def _environment(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def test_the_worker_dies_with_a_killed_monitor_and_the_lock_is_free(start):
    """C-1, one step of it: SIGKILL of the owner leaves no orphan."""
    run = start("exec sleep 60")
    worker = run.worker()
    os.kill(run.process.pid, signal.SIGKILL)
    wait_until(
        lambda: not os.path.exists(f"/proc/{worker}") or "Z" in Path(f"/proc/{worker}/stat").read_text(), limit_s=5, what="worker gone"
    )
    wait_until(lambda: not is_locked(os.path.join(run.folder, "lock")), limit_s=5, what="lock free")
    assert bundle.read_exit(run.folder) is None


def test_a_monitor_needs_little_memory(start):
    run = start("sleep 60")
    run.worker()
    resident = next(line for line in Path(f"/proc/{run.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    floor = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < int(floor.split()[1])


def test_a_stranger_is_never_signalled(start):
    """F5, F7: a forged identity with a live pid is refused."""
    assert not local.cancel(Process(os.getppid(), "1", boot_id()))
    assert not local.cancel(Process(os.getpid(), "1", boot_id()))
    for pid in (0, 1, -1):
        assert not local.cancel(Process(pid, "0", boot_id()))
