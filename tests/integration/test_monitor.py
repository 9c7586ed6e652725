"""The owner of an ahead run, as a real process: limits, the whole tree, exit truth, and that others can see that it lives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.conftest import Started
from stretto import bundle, kin, monitor
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited, AttemptId, Bad, End
from stretto.system import LINUX, Process, boot_id, identify, is_locked, lives
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="looks into /proc")


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


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exec yes", id="many lines"),
        pytest.param("exec cat /dev/zero", id="one line of NULs"),
        pytest.param("trap '' TERM; while :; do head -c 100000 /dev/zero | tr '\\0' x; done", id="ignores TERM"),
    ],
)
def test_a_run_that_prints_too_much_is_oversize_and_cut_with_a_mark(start, script):
    """C-16, at one megabyte."""
    run = start(script)
    assert run.end() == End(how="oversize")
    output = run.output()
    assert len(output) < 1_000_200
    assert b"\n[stretto: cut here, it printed " in output[1_000_000:]
    assert not End(how="oversize").by_itself  # so nobody joins it (test_freshness)


def test_a_cut_leaves_the_file_that_a_joiner_has_open_as_it_was(start):
    """C-16: our words never come through as the command's."""
    run = start("echo begin; sleep 0.2; exec yes")
    path = Path(run.folder) / "out"
    wait_until(lambda: path.exists() and path.stat().st_size, limit_s=10, what="output")
    with open(path, "rb") as joiner:
        assert run.end().how == "oversize"
        assert b"stretto" not in joiner.read()
    assert b"stretto" in run.output()


def test_of_two_streams_the_one_that_is_too_long_is_cut(start):
    """C-16."""
    run = start("echo short >&2; exec yes", streams=b"split")
    assert run.end().how == "oversize"
    assert run.output("err") == b"short\n"
    assert b"[stretto: cut here" in run.output()[-200:]


def test_every_byte_and_a_name_that_is_no_utf8_come_through(start, tmp_path):
    """C-17."""
    data = bytes(range(256)) * 40 + "é€\r\n".encode() + "é".encode()[:1]
    name = b"name-\xff\xfe"
    (tmp_path / os.fsdecode(name)).write_bytes(data)
    run = start("exec cat name*")
    assert run.end() == End(how="code", value=0)
    assert run.output() == data
    assert all(not isinstance(event, Bad) for _, event in read(str(tmp_path)))


def test_a_directory_and_an_environment_that_are_no_utf8_reach_the_worker(start, tmp_path):
    """C-17."""
    folder = os.fsencode(tmp_path) + b"/\xff dir"
    os.mkdir(folder)
    run = start('printf %s "$ODD"; pwd', cwd=folder, env=b"PATH=/usr/bin:/bin\0ODD=\xfe=x")
    assert run.end() == End(how="code", value=0)
    assert run.output() == b"\xfe=x" + folder + b"\n"


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        pytest.param({"exe": b"/nonexistent/tool"}, errno.ENOENT, id="no such file"),
        pytest.param({"exe": b"plain"}, errno.EACCES, id="not executable"),
        pytest.param({"cwd": b"/nonexistent"}, errno.ENOENT, id="no such directory"),
        pytest.param({"env": b"=x"}, errno.EINVAL, id="no environment"),
    ],
)
def test_a_command_that_cannot_be_started_is_told_from_its_own_127(start, tmp_path, changes, number):
    """C-8."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    assert start("true", **changes).end() == End(how="unstarted", value=number)
    assert start("exit 127").end() == End(how="code", value=127)


def test_a_tree_that_takes_too_much_memory_is_ended_as_such(start):
    """C-8, C-14: the limit is watched; the address space is bounded by us, in case it is not."""
    hog = "import time\nhold = []\nfor _ in range(20): hold.append(bytearray(b'x') * (10 << 20)); time.sleep(0.02)\ntime.sleep(60)"
    run = start(f'ulimit -v 1000000; {sys.executable} -I -S -c "{hog}" & wait', memory_bytes=str(60 << 20).encode())
    assert run.end() == End(how="memory")
    assert not _carriers(run)


def test_a_failure_for_want_of_memory_within_the_limit_is_the_commands_own(start):
    """C-8: what a limit of the caller does to a command is no doing of ours."""
    run = start(f"ulimit -v 200000; exec {sys.executable} -I -S -c 'bytearray(1 << 30)'")
    assert run.end() == End(how="code", value=1)


BOMB = (
    "import os, sys, time\n"
    "while True:\n"
    "    try:\n"
    "        if os.fork() == 0 and sys.argv[1:]: os.setsid()\n"
    "    except OSError:\n"
    "        time.sleep(0.05)\n"
)
"""Does not burn out where its forks fail."""


@pytest.mark.parametrize("sessions", [pytest.param("", id="one group"), pytest.param("new", id="sessions of their own")])
def test_a_fork_bomb_is_ended_as_too_many_processes(pids_group, start, tmp_path, sessions):
    """C-14: inside a group that holds it in any case."""
    (tmp_path / "bomb.py").write_text(BOMB)
    run = start(f"while ! [ -e go ]; do sleep 0.05; done; exec {sys.executable} -I -S bomb.py {sessions}", tasks=b"60")
    pids_group(run.process.pid, run.worker())
    (tmp_path / "go").touch()
    assert run.end() == End(how="processes")
    assert not _carriers(run)


def test_a_kill_by_the_kernel_for_want_of_memory_is_no_signal_from_outside(memory_group, start, tmp_path):
    """C-8, C-14."""
    run = start(f"while ! [ -e go ]; do sleep 0.05; done; exec {sys.executable} -I -S -c 'bytearray(b\"x\") * (300 << 20)'")
    memory_group(run.worker())
    (tmp_path / "go").touch()
    assert run.end() == End(how="memory")


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
    assert run.output().decode().splitlines() == [
        str(tmp_path),
        "PATH=/usr/bin:/bin",
        f"PWD={tmp_path}",
        f"STRETTO_WORKER={run.attempt}",
        "0027",
    ]


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
    assert not _carriers(run)


def _carriers(run: Started) -> list[kin.Seen]:
    return list(kin.carrying(run.attempt))


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


DAEMON = (
    "import os,signal,time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        open('daemon','w').write(str(os.getpid()))\n"
    "        if os.fork() == 0: os.execve('/bin/sleep', ['sleep', '61'], {})\n"
    "        time.sleep(60)\n"
    "    os._exit(0)\n"
    "time.sleep(60)\n"
)
"""Leaves a daemon that ignores SIGTERM, and below it a process that has wiped its environment."""


def test_what_a_killed_owner_leaves_is_ended_by_its_mark_and_nothing_else_is(start, tmp_path):
    """F3, F4, F6: found whoever it was handed to; a `claude`, and the worker of another attempt, live on."""
    (tmp_path / "daemon.py").write_text(DAEMON)
    decoy = tmp_path / "claude"
    decoy.write_text("#!/bin/sh\nexec sleep 62\n")
    decoy.chmod(0o755)
    others = [subprocess.Popen([decoy], env={"STRETTO_WORKER": mark}, cwd=tmp_path, start_new_session=True) for mark in ("", "0" * 32)]
    try:
        run = start(f"exec {sys.executable} daemon.py")
        deep = tmp_path / "daemon"
        wait_until(lambda: deep.exists() and deep.read_text(), limit_s=10, what="the daemon")
        wait_until(lambda: len(_carriers(run)) >= 3, limit_s=10, what="the worker, its daemon and what that started")
        os.kill(run.process.pid, signal.SIGKILL)
        wait_until(lambda: not lives(run.process), limit_s=10, what="the owner's end")
        assert identify(int(deep.read_text())) is not None
        local.end_orphans(run.attempt, run.folder)
        wait_until(lambda: identify(int(deep.read_text())) is None, limit_s=10, what="the daemon's end")
        assert not _carriers(run)
        assert [one.poll() for one in others] == [None, None]
        local.cancel(run.process)  # a dead identity: signals nobody
        assert [one.poll() for one in others] == [None, None]
    finally:
        for one in others:
            one.kill()
            one.wait()


def test_a_run_that_is_forbidden_before_its_owner_begins_never_runs(tmp_path, start):
    """F8: stopped while it is being spawned."""
    attempt = AttemptId(os.urandom(16).hex())
    folder = bundle.create(str(tmp_path / "attempts"), attempt)
    bundle.forbid(folder)
    run = start("touch ran", dir=os.fsencode(folder), attempt=attempt.encode())
    wait_until(lambda: run.listen() and run.gone, limit_s=20, what="monitor gone")
    found = bundle.read_exit(folder)
    assert found is not None and found.end.how == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_a_run_is_stopped_by_the_word_on_disk_when_nobody_signals(start):
    """F8: the supervisor that asked for it died before it knew the owner."""
    run = start("sleep 60")
    run.worker()
    bundle.forbid(run.folder)
    assert run.end().how == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_that_started_it_does_not_reach_the_owner(tmp_path, number):
    """F16, C-7: the launcher's whole group is signalled; the run comes to its own end."""
    attempt = AttemptId(os.urandom(16).hex())
    folder = bundle.create(str(tmp_path / "attempts"), attempt)
    texts = {"dir": folder, "journal": str(tmp_path), "attempt": attempt, "exe": "/bin/sh", "cwd": str(tmp_path), "streams": "merged"}
    limits = {"umask": "22", "wall_s": "30", "limit_bytes": "1000", "memory_bytes": "1000000000", "tasks": "1000"}
    command = {"argv": "sh\0-c\0while ! [ -e go ]; do sleep 0.02; done", "env": f"PATH=/usr/bin:/bin\0STRETTO_WORKER={attempt}"}
    spec = texts | limits | command
    script = (
        "import sys, time\n"
        "from stretto.executors import local\n"
        "owner = local.Forker().spawn({name: value.encode() for name, value in eval(sys.argv[1]).items()})\n"
        "time.sleep(60)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script, repr(spec)], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: bundle.writing(folder) and (Path(folder) / "out").exists(), limit_s=20, what="the worker")
        os.killpg(launcher.pid, number)
        assert launcher.wait(timeout=20) != 0
    finally:
        launcher.kill()
        launcher.wait()
        (tmp_path / "go").touch()
    found = wait_until(lambda: bundle.read_exit(folder), limit_s=20, what="the exit")
    assert found.end == End(how="code", value=0)
    wait_until(lambda: not bundle.writing(folder), limit_s=20, what="the owner's end")


def test_no_descriptor_reaches_the_worker_whatever_its_number(start, tmp_path):
    """C-7: one above every small number, made inheritable on purpose."""
    with open(tmp_path / "held", "w") as file:
        high = os.dup2(file.fileno(), 700)
        try:
            run = start("ls /proc/self/fd; cat")
            assert run.end() == End(how="code", value=0)
        finally:
            os.close(high)
    assert run.output().split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing's own


def test_an_owner_costs_little_memory_and_little_time_while_nothing_happens(start):
    """F9, as ratios: against a bare interpreter of the same run, and against the time that went by."""
    bare = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"], stdin=-1, stdout=-1)
    assert bare.stdout is not None and bare.stdin is not None
    with bare:
        bare.stdout.readline()
        run = start("sleep 60")
        run.worker()
        ours, floor = _resident_kb(run.process.pid), _resident_kb(bare.pid)
        bare.stdin.close()
    began_s, before_s = time.monotonic(), _cpu_s(run.process.pid)
    wait_until(lambda: time.monotonic() - began_s > 1.5, limit_s=10, what="a second and a half")
    used = (_cpu_s(run.process.pid) - before_s) / (time.monotonic() - began_s)
    print(f"resident {ours} kB, a bare interpreter {floor} kB; {used:.1%} of a processor while idle")
    assert ours < 2 * floor
    assert used < 0.05


def _resident_kb(pid: int) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_runs_ahead_has_the_idle_io_class_until_somebody_waits_for_it(start):
    """Decision 0007."""
    if subprocess.run(["sh", "-c", "command -v ionice"], stdout=-1).returncode:
        pytest.skip("no ionice to ask with")
    run = start("sleep 60 & wait")
    worker = run.worker()

    def classes() -> set[str]:
        pids = [worker, *(each.process.pid for each in kin.below(worker))]
        return {subprocess.run(["ionice", "-p", str(pid)], stdout=-1, text=True).stdout.split(":")[0].strip() for pid in pids}

    wait_until(lambda: list(kin.below(worker)), limit_s=10, what="the sleeper")
    assert classes() == {"idle"}
    assert local.hasten(run.process)
    wait_until(lambda: "idle" not in classes(), limit_s=10, what="full speed")
    assert os.getpriority(os.PRIO_PROCESS, worker) == os.getpriority(os.PRIO_PROCESS, 0)


def test_a_stranger_is_never_signalled(start):
    """F5, F7: a forged identity with a live pid is refused."""
    assert not local.cancel(Process(os.getppid(), "1", boot_id()))
    assert not local.cancel(Process(os.getpid(), "1", boot_id()))
    for pid in (0, 1, -1, os.getpgrp(), -os.getpgrp()):
        assert not local.cancel(Process(pid, "0", boot_id()))
        assert not local.hasten(Process(pid, "0", boot_id()))


def test_a_forker_that_died_is_replaced_and_its_owners_live_on(forker, start):
    first = start("sleep 60")
    source = Path(f"/proc/{first.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    killed = identify(int(source))
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)  # our own child, not waited for yet
    wait_until(lambda: not lives(killed), limit_s=10, what="the forker's end")
    assert start("exit 4").end() == End(how="code", value=4)
    assert lives(first.process)


def test_a_forker_ends_with_who_asked_and_holds_nothing_of_a_run(forker, start):
    """C-6, C-7."""
    run = start("sleep 60")
    source = identify(int(Path(f"/proc/{run.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]))
    assert source is not None
    wait_until(lambda: sorted(os.listdir(f"/proc/{source.pid}/fd")) == ["0", "1", "2"], limit_s=10, what="three descriptors")
    assert len(os.listdir(f"/proc/{source.pid}/task")) == 1
    forker.close()
    assert not lives(source)
    assert lives(run.process)


def _ahead_run(bench):
    """Let a supervisor run a check ahead that leaves a process in a session of its own and does not end; return the attempt."""
    (bench.root / "src.py").write_text("one\n")
    hold = Path(bench.env["HOME"]) / "hold"
    bench.tool("pytest", f"[ -f {hold} ] || exec sleep 0.3; setsid sleep 77 & wait")
    bench.begin()
    bench.bash("pytest -q")
    hold.touch()
    bench.edit("src.py", "two\n")
    return wait_until(lambda: [run for run in bench.state().open_attempts() if run.kind == "ahead"], limit_s=20, what="an ahead run")[0]


def test_a_run_whose_owner_is_killed_is_lost_and_what_it_started_is_ended(bench):
    """F2, F3, C-8: by the supervisor, which finds it by its mark."""
    attempt = _ahead_run(bench)
    wait_until(
        lambda: any(b"77" in Path(f"/proc/{each.process.pid}/cmdline").read_bytes().split(b"\0") for each in kin.carrying(attempt.attempt)),
        limit_s=20,
        what="the process that is left",
    )
    phase = wait_until(lambda: bench.state().attempts[attempt.attempt].phase, limit_s=10)
    os.kill(phase.pid, signal.SIGKILL)
    wait_until(lambda: type(bench.state().attempts[attempt.attempt].phase).__name__ == "Settled", limit_s=20, what="its end in the log")
    assert bench.state().attempts[attempt.attempt].end == End(how="lost")
    wait_until(lambda: not list(kin.carrying(attempt.attempt)), limit_s=10, what="nothing left of it")


def test_a_stop_while_a_run_is_being_started_leaves_nothing_running(bench):
    """F8: whether its owner had said who it is or not."""
    attempt = _ahead_run(bench)
    bench.stop()
    wait_until(lambda: bench.state().attempts[attempt.attempt].end, limit_s=20, what="its end in the log")  # its owner may only be coming
    assert bench.state().attempts[attempt.attempt].end == End(how="cancelled", value=signal.SIGTERM)
    wait_until(lambda: not list(kin.carrying(attempt.attempt)), limit_s=20, what="nothing left of it")
    wait_until(lambda: not bundle.writing(bundle.folder_of(os.path.join(bench.paths.folder, "attempts"), attempt.attempt)), limit_s=20)


def test_many_runs_that_leave_something_leave_nothing(start):
    """F2: counted by mark, the owners dead or alive."""
    count = 500 if os.environ.get("STRETTO_SCALE") == "soak" else 20
    print(f"{count} runs")
    runs = []
    for number in range(count):
        runs.append(start(f"(setsid sleep 60 &) ; exit {number % 7}"))
        if number % 10 == 9:
            assert [run.end().value for run in runs] == [each % 7 for each in range(number - len(runs) + 1, number + 1)]
            assert not [left for run in runs for left in _carriers(run)]
            runs.clear()


def test_launch_to_recorded_exit_costs_less_than_a_few_starts_of_an_interpreter(start):
    """As a ratio within one run; a fresh interpreter for each owner made it three to four."""

    def took_s(fn: Callable[[], object]) -> float:
        began_s = time.perf_counter()
        fn()
        return time.perf_counter() - began_s

    start("true").end()  # brings the forker
    ours = sorted(took_s(lambda: start("true").end()) for _ in range(9))[4]
    bare = sorted(took_s(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""])) for _ in range(9))[4]
    print(f"{ours * 1000:.1f} ms; a bare interpreter {bare * 1000:.1f} ms")
    assert ours < 6 * bare


def test_a_search_leaves_out_what_began_before_the_run_and_nothing_else(tmp_path):
    """The mark is read in younger processes only; the worker of a run is always younger than its owner."""
    attempt = "5a" * 16
    child = subprocess.Popen(["sleep", "600"], env={"STRETTO_WORKER": attempt})
    try:
        own, found = identify(os.getpid()), identify(child.pid)
        assert own is not None
        assert found is not None
        wait_until(lambda: [each.process for each in kin.carrying(attempt)] == [found], what="the mark in its environment")
        assert [each.process for each in kin.carrying(attempt, since=own.start)] == [found]
        assert [each.process for each in kin.carrying(attempt, since=found.start)] == [found]
        assert not list(kin.carrying(attempt, since=str(int(found.start) + 1)))
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def silent_worker(tmp_path):
    """A process that prints nothing, the file it would print to, and the alarm of a monitor that has got used to that."""
    worker = subprocess.Popen(["sleep", "600"])
    output = tmp_path / "out"
    output.touch()
    alarm = monitor._Alarm(worker.pid, [str(output)])
    alarm.wait(0.0, quiet=True)
    yield worker, output, alarm
    signal.set_wakeup_fd(-1)
    worker.kill()
    worker.wait()


@pytest.mark.parametrize("news", ["output", "signal", "end"])
def test_a_monitor_that_waits_long_is_woken_by_news(silent_worker, news):
    """What is bounded by its looks alone is memory (0.25 s), tasks (0.1 s) and wall time (0.25 s)."""
    worker, output, alarm = silent_worker
    if news == "output":
        output.write_bytes(b"x")
    elif news == "signal":
        old = signal.signal(signal.SIGUSR1, lambda number, frame: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, old)
    else:
        worker.kill()
    began_s = time.monotonic()
    assert alarm.wait(60.0, quiet=True) is (news == "end")
    assert time.monotonic() - began_s < 30


def test_a_monitor_whose_worker_prints_all_the_time_looks_no_more_often_than_it_means_to(silent_worker):
    _, output, alarm = silent_worker
    output.write_bytes(b"x")
    began_s = time.monotonic()
    alarm.wait(0.05, quiet=False)
    assert time.monotonic() - began_s >= 0.05
