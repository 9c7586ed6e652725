"""The owner of a run where it is hard: trees that hide, owners that die at any step, pids that come round, floods, and what it costs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import stretto
from integration.conftest import Started
from integration.test_requests import LIMIT_S, ask
from stretto import bundle, cgroup, kin, monitor
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited, AttemptId, End
from stretto.monitor import PR_SET_CHILD_SUBREAPER
from stretto.system import LINUX, Lock, Process, boot_id, identify, lives
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="looks into /proc")

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
PACKAGE = str(Path(stretto.__file__).parents[1])

WIPED = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        with open(sys.argv[1] + '.tmp', 'w') as file: file.write(str(os.getpid()))\n"
    "        os.rename(sys.argv[1] + '.tmp', sys.argv[1])\n"
    "        os.execve('/bin/sleep', ['sleep', '64'], {})\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "time.sleep(60)\n"
)
"""Leaves a process with no mark, no parent of ours and a session of its own; its pid is in the file of the first argument."""


@pytest.fixture
def needs_group() -> None:
    if not cgroup.place():
        pytest.skip("no control group of the second version in which this user may make another")


@pytest.fixture(params=["group", "groupless"])
def way(request: pytest.FixtureRequest) -> str:
    """Once with a control group of our own, once without."""
    request.getfixturevalue("needs_group" if request.param == "group" else "groupless")
    return str(request.param)


def hidden(tmp_path: Path, start: Callable[..., Started]) -> tuple[Started, Process]:
    """Start a run with a process in it that no mark and no parent gives away."""
    (tmp_path / "wiped.py").write_text(WIPED)
    run = start(f"exec {sys.executable} -I -S wiped.py {tmp_path}/wiped")
    pid = int(wait_until(lambda: (tmp_path / "wiped").read_text(), limit_s=20, what="the hidden process"))
    found = identify(pid)
    assert found is not None
    wait_until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), limit_s=20, what="its wiped environment")
    return run, found


def kill_owner(run: Started) -> None:
    os.kill(run.process.pid, signal.SIGKILL)  # a child of the test's own forker, which is not waiting: the pid is its own
    wait_until(lambda: not lives(run.process), limit_s=20, what="the owner's end")


# --- what hides from the sweep ------------------------------------------------------------------------------------------------


def test_f3_f4_what_wiped_its_environment_and_lost_its_parents_is_ended_after_its_owner_was_killed(way, start, tmp_path):
    """By the control group, or by what the owner saw; a stranger that looks the same lives on (F6)."""
    decoy = subprocess.Popen(["/bin/sleep", "64"], env={}, start_new_session=True)
    try:
        run, wiped = hidden(tmp_path, start)
        if way == "groupless":
            wait_until(lambda: wiped in kin.remembered(run.folder), limit_s=20, what="it was seen")
        kill_owner(run)
        assert lives(wiped)
        assert wiped not in [each.process for each in kin.carrying(run.attempt)], "found by its mark: this proves nothing"
        assert local.end_orphans(run.attempt, run.folder) == []
        wait_until(lambda: not lives(wiped), limit_s=10, what="its end")
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()


def test_f3_under_a_user_manager_that_adopts_orphans_they_are_found_all_the_same(way, start, tmp_path):
    """As `systemd --user` does: what lost its parents is handed to a process of the user that lives on, here this one, never to pid 1."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        run, wiped = hidden(tmp_path, start)
        if way == "groupless":
            wait_until(lambda: wiped in kin.remembered(run.folder), limit_s=20, what="it was seen")
        worker = run.worker()
        kill_owner(run)
        wait_until(lambda: wiped.pid in kin.children(os.getpid()), limit_s=20, what="its adoption")
        assert local.end_orphans(run.attempt, run.folder) == []
        assert os.waitpid(worker, 0) == (worker, signal.SIGKILL)
        assert os.waitpid(wiped.pid, 0) == (wiped.pid, signal.SIGKILL)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def test_what_hides_is_ended_with_its_run(way, start, tmp_path):
    """F4, with the owner alive."""
    run, wiped = hidden(tmp_path, start)
    local.cancel(run.process)
    assert run.end().how == "cancelled"
    assert not lives(wiped)


def test_a_supervisor_ends_what_hides_of_a_run_whose_owner_was_killed(bench):
    """F2, F3, C-8: of a job that was asked for, so that no load of the machine keeps it from beginning."""
    (bench.short / "wiped.py").write_text(WIPED)
    bench.begin()
    job = ask(bench, "--", sys.executable, "-I", "-S", f"{bench.short}/wiped.py", f"{bench.short}/wiped")
    pid = int(wait_until(lambda: (bench.short / "wiped").read_text(), limit_s=LIMIT_S, what="the hidden process"))
    wiped = identify(pid)
    assert wiped is not None
    attempt = bench.state().requests[job].attempt
    folder = f"{bench.paths.attempts}/{attempt}"
    wait_until(lambda: cgroup.recorded(folder, attempt) or wiped in kin.remembered(folder), limit_s=LIMIT_S, what="a trace of it")
    owner = wait_until(lambda: getattr(bench.state().attempts[attempt].phase, "pid", 0), limit_s=LIMIT_S, what="its owner in the log")
    os.kill(owner, signal.SIGKILL)
    wait_until(lambda: not lives(wiped), limit_s=LIMIT_S, what="its end")
    wait_until(lambda: bench.state().attempts[attempt].end == End(how="lost"), limit_s=LIMIT_S, what="its record")
    assert not cgroup.place() or not os.path.exists(f"{cgroup.place()}/{cgroup.PREFIX}{attempt}")


# --- F5, F7: damaged records --------------------------------------------------------------------------------------------------


def test_f7_a_damaged_memory_of_the_tree_names_nobody(tmp_path):
    """Pid 0, 1, -1, our own and our parent's, with the right start time even: nobody is signalled."""
    me, above = identify(os.getpid()), identify(os.getppid())
    first = Path("/proc/1/stat").read_text().rsplit(")", 1)[1].split()[19]
    stranger = subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True)
    try:
        assert me is not None and above is not None
        lines = ["0 1", f"1 {first}", f"-1 {first}", "1 0", f"-{os.getpgrp()} 1", f"{me.pid} {me.start}", f"{above.pid} {above.start}"]
        lines += [f"{stranger.pid} 1", "x y", f"{2**70} 1", "", "7", "\0 \0"]
        (tmp_path / kin.REMEMBERED).write_text("\n".join([boot_id(), *lines]))
        assert list(kin.carrying("0" * 32, kin.remembered(str(tmp_path)))) == []
        assert local.end_orphans("0" * 32, str(tmp_path)) == []
        assert stranger.poll() is None
        found = identify(stranger.pid)
        assert found is not None
        (tmp_path / kin.REMEMBERED).write_text(f"another-boot\n{found.pid} {found.start}\n")
        assert kin.remembered(str(tmp_path)) == set()
        (tmp_path / kin.REMEMBERED).write_text(f"{boot_id()}\n{found.pid} {found.start}\n")
        assert local.end_orphans("0" * 32, str(tmp_path)) == []
        assert stranger.wait(timeout=10) == -signal.SIGKILL, "and with a true record it would have been found"
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("how", ["missing", "directory", "link", "fifo", "empty", "junk"])
def test_f11_a_record_of_the_tree_that_does_not_read_is_none(tmp_path, how):
    for name in (kin.REMEMBERED, cgroup.RECORD):
        path = tmp_path / name
        if how == "directory":
            path.mkdir()
        elif how == "link":
            path.symlink_to("/etc/passwd")
        elif how == "fifo":
            os.mkfifo(path)
        elif how != "missing":
            path.write_bytes(b"" if how == "empty" else b"\xff\0/\n" * 100)
    assert kin.remembered(str(tmp_path)) == set()
    assert cgroup.recorded(str(tmp_path), "0" * 32) is None
    assert local.end_orphans("0" * 32, str(tmp_path)) == []


# --- the control group --------------------------------------------------------------------------------------------------------


def test_the_worker_is_in_a_group_of_its_attempt_which_is_gone_with_the_run(needs_group, start):
    run = start("cat /proc/self/cgroup; read never")
    group = cgroup.recorded(run.folder, run.attempt)
    assert run.end() == End(how="code", value=1)
    assert f"/stretto-{run.attempt}\n".encode() in run.output()
    assert group is None or not os.path.exists(group.path)
    assert cgroup.is_over(run.folder, run.attempt)
    assert not cgroup.is_over(run.folder, "0" * 32)
    assert not os.path.exists(os.path.join(cgroup.place(), cgroup.PREFIX + run.attempt))


def test_groups_that_a_run_made_inside_its_own_end_with_it(needs_group, start):
    path = f"{cgroup.place()}/stretto-$A"
    run = start(f"A=$STRETTO_WORKER; mkdir -p {path}/in/deep && echo $$ > {path}/in/deep/cgroup.procs && (setsid sleep 61 &) && exit 5")
    assert run.end() == End(how="code", value=5)
    assert not os.path.exists(os.path.join(cgroup.place(), cgroup.PREFIX + run.attempt))


def test_a_group_is_taken_for_ours_only_with_its_name_in_its_file_system_and_without_us_in_it(needs_group, tmp_path):
    attempt, other = os.urandom(16).hex(), os.urandom(16).hex()
    real = Path(cgroup.place()) / (cgroup.PREFIX + attempt)
    plain = tmp_path / (cgroup.PREFIX + attempt)
    plain.mkdir()
    (tmp_path / "link").symlink_to(cgroup.place())
    real.mkdir()
    try:
        record = tmp_path / cgroup.RECORD
        for text in (
            f"{plain}\n",
            f"{tmp_path}/link/{real.name}\n",
            f"{real.name}\n",
            f"{real.parent}\n",
            f"{real}/../{real.name}\n",
            "\n",
        ):
            record.write_text(text)
            assert cgroup.recorded(str(tmp_path), attempt) is None, text
        record.write_text(f"{real}\n")
        assert cgroup.recorded(str(tmp_path), other) is None
        found = cgroup.recorded(str(tmp_path), attempt)
        assert found is not None and found.path == str(real)
        script = (
            f"import sys; sys.path.insert(0, {PACKAGE!r})\n"
            f"open({str(real / 'cgroup.procs')!r}, 'w').write('0')\n"
            "from stretto import cgroup\n"
            f"print(cgroup.recorded({str(tmp_path)!r}, {attempt!r}))\n"
        )
        assert subprocess.run([sys.executable, "-c", script], stdout=-1, text=True).stdout == "None\n"
    finally:
        assert cgroup.Group(str(real)).remove()


@pytest.mark.parametrize(
    "door",
    [
        pytest.param("cgroup.CLONE3 = 100000", id="no clone3"),
        pytest.param("cgroup.place = lambda: '/proc'", id="no room for a group"),
        pytest.param("cgroup.place = lambda: '/nonexistent'", id="no such directory"),
    ],
)
def test_where_no_group_can_be_had_everything_else_is_as_ever(needs_group, monkeypatch, start, tmp_path, door):
    monkeypatch.setattr(
        local, "LAUNCH", local.LAUNCH.replace("from stretto.monitor", f"from stretto import cgroup; {door}; from stretto.monitor")
    )
    run = start("cat /proc/self/cgroup; (setsid sleep 60 &); exit 3")
    assert run.end() == End(how="code", value=3)
    assert b"stretto-" not in run.output()
    (event,) = [event for _, event in read(str(tmp_path)) if isinstance(event, AttemptExited)]
    assert event.left >= 1
    assert not list(kin.carrying(run.attempt))
    assert not os.path.exists(os.path.join(cgroup.place(), cgroup.PREFIX + run.attempt))
    assert not cgroup.is_over(run.folder, run.attempt), "it was in none, so its end says nothing"


@pytest.fixture(params=["files", "kernel"])
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[cgroup.Group]:
    """A group whose tasks and memory are counted: plain files that look like one, and one of the kernel's where it is to be had."""
    if request.param == "files":
        folder = tmp_path / "group"
        folder.mkdir()
        for name, text in (
            ("pids.max", "max\n"),
            ("pids.events", "max 0\n"),
            ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"),
        ):
            (folder / name).write_text(text)
        yield cgroup.Group(str(folder))
        return
    request.getfixturevalue("needs_group")
    folder = Path(cgroup.place()) / f"stretto-test-{os.urandom(4).hex()}"
    folder.mkdir()
    try:
        if not (folder / "pids.max").exists() or not (folder / "memory.events").exists():
            pytest.skip("the controllers for tasks and memory are not enabled in this control group")
        yield cgroup.Group(str(folder))
    finally:
        folder.rmdir()


def test_a_group_that_counts_says_what_was_refused_and_killed(counted):
    assert (counted.refused_tasks(), counted.memory_kills()) == (False, 0)
    counted.limit_tasks(1)
    assert Path(counted.path, "pids.max").read_text().strip() == "1"
    if os.path.exists(f"{counted.path}/cgroup.procs"):
        child = counted.fork()
        if child == 0:
            try:
                os.fork()
            except BlockingIOError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    else:
        Path(counted.path, "pids.events").write_text("max 1\n")
        Path(counted.path, "memory.events").write_text("low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n")
        assert counted.memory_kills() == 2
    assert counted.refused_tasks()


def test_a_group_that_does_not_count_says_so(tmp_path):
    group = cgroup.Group(str(tmp_path))
    group.limit_tasks(1)
    group.kill()
    assert (group.refused_tasks(), group.memory_kills(), group.members()) == (False, None, [])
    assert list(tmp_path.iterdir()) == []


# --- F9: the lease ------------------------------------------------------------------------------------------------------------


def test_f9_a_run_ends_when_no_supervisor_has_lived_for_the_time_of_its_lease(start, tmp_path):
    """Held, it goes on; let go, it ends; and one without a lease goes on all the same."""
    lock = Lock(str(tmp_path / "supervisor.lock"))
    assert lock.try_acquire()
    lease = {"lease": os.fsencode(lock.path), "lease_s": b"0.4"}
    run, asked_for = start("sleep 60", **lease), start("sleep 60")
    began_s = time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > 1.2, what="more than two leases")
    assert lives(run.process)
    lock.close()
    assert run.end().how == "cancelled"
    assert lives(asked_for.process)


def test_f9_a_lock_that_is_not_there_is_no_supervisor(start, tmp_path):
    """The state directory was removed, or something else stands in its place."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    runs = [start("sleep 60", lease=os.fsencode(tmp_path / name), lease_s=b"0.3") for name in ("missing", "directory", "link")]
    assert [run.end().how for run in runs] == ["cancelled"] * 3


# --- C-8: the end is true -----------------------------------------------------------------------------------------------------


def test_c8_every_exit_code_is_the_one_recorded(start, tmp_path):
    codes = range(256) if SOAK else [*range(0, 256, 17), 1, 2, 124, 125, 126, 127, 128, 129, 137, 139, 143]
    print(f"scale: {len(codes)} of 256 codes")
    found = {code: start(f"exit {code}").end() for code in codes}
    assert found == {code: End(how="code", value=code) for code in codes}
    assert {event.end.value for _, event in read(str(tmp_path)) if isinstance(event, AttemptExited)} == set(codes)


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL, signal.SIGPIPE, signal.SIGTERM]
)
def test_c8_death_by_a_signal_is_that_signal_with_a_core_or_without(start, number):
    for core in ("0", "unlimited"):
        assert start(f"ulimit -c {core} 2>/dev/null; kill -{int(number)} $$; sleep 60").end() == End(how="signal", value=number)


def _faulty(monkeypatch: pytest.MonkeyPatch, call: str, when: int, do: str, fired: Path) -> None:
    door = f"from stretto.testing.faults import install; install({call!r}, {when}, {do!r}, {str(fired)!r}); from stretto.monitor"
    monkeypatch.setattr(local, "LAUNCH", local.LAUNCH.replace("from stretto.monitor", door))


@pytest.mark.parametrize("call", ["open", "fork", "write", "rename", "mkdir"])
@pytest.mark.parametrize("do", ["kill-before", "kill-after"])
def test_c8_an_owner_killed_at_any_phase_leaves_the_true_end_or_none(request, tmp_path, call, do):
    """Never a code that the command did not end with, and nothing of it lives on."""
    if call == "fork":
        request.getfixturevalue("groupless")  # a worker that goes into a group is made by clone3
    most = 40 if SOAK else 6
    for when in range(1, most + 1):
        folder = tmp_path / f"{when}"
        folder.mkdir()
        fired = folder / "fired"
        with pytest.MonkeyPatch.context() as patch, contextlib.closing(local.Forker()) as forker:
            _faulty(patch, call, when, do, fired)
            attempt = AttemptId(os.urandom(16).hex())
            run = bundle.create(str(folder / "attempts"), attempt)
            spec = {
                "dir": os.fsencode(run),
                "journal": os.fsencode(folder),
                "attempt": attempt.encode(),
                "exe": b"/bin/sh",
                "argv": b"sh\0-c\0echo done; exit 7",
                "env": b"PATH=/usr/bin:/bin\0STRETTO_WORKER=" + attempt.encode(),
                "cwd": os.fsencode(folder),
                **{"umask": b"22", "streams": b"merged", "wall_s": b"60", "limit_bytes": b"1000000"},
                **{"memory_bytes": b"1000000000", "tasks": b"1000"},
            }
            with contextlib.suppress(OSError):  # the forker itself was killed: nothing has begun
                owner = forker.spawn(spec)
                wait_until(lambda owner=owner: owner.lines() is None, limit_s=20, what="the owner's end")
                owner.close()
            wait_until(lambda run=run: not bundle.writing(run), limit_s=20, what="a free lock")
            local.end_orphans(attempt, run)
        found = bundle.read_exit(run)
        assert found is None or found.end == End(how="code", value=7), (when, found)
        recorded = [event.end for _, event in read(str(folder)) if isinstance(event, AttemptExited)]
        assert recorded in ([], [End(how="code", value=7)]), when
        assert found is not None or not recorded, "the exit is on disk before it is in the log"
        assert not list(kin.carrying(attempt))
        assert not cgroup.place() or not os.path.exists(f"{cgroup.place()}/{cgroup.PREFIX}{attempt}")
        if not fired.exists():
            break
    print(f"scale: {when} of at most {most} phases of {call}")
    assert when > 1 or call in ("mkdir", "rename")


# --- C-14: what exhausts ------------------------------------------------------------------------------------------------------


def test_c14_ten_thousand_threads_are_ended_as_too_many_and_another_run_is_unaffected(start, tmp_path, pids_group):
    """Inside a group of 300 tasks, made before; the run's own limit is 60."""
    (tmp_path / "threads.py").write_text(
        "import threading, time\n"
        "for _ in range(10000):\n"
        "    try: threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    except RuntimeError: time.sleep(0.05)\n"
    )
    run = start(f"while ! [ -e go ]; do sleep 0.05; done; exec {sys.executable} -I -S threads.py", tasks=b"60")
    pids_group(run.worker())
    (tmp_path / "go").touch()
    assert start("exit 5").end() == End(how="code", value=5)
    assert run.end() == End(how="processes")
    assert not list(kin.carrying(run.attempt))


def test_c14_a_hundred_gigabytes_are_refused_or_ended_and_the_whole_tree_with_them(start, tmp_path):
    """A hog with a session and a parent of its own, in an address space bounded before."""
    (tmp_path / "hog.py").write_text(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        held = []\n"
        "        while True:\n"
        "            try: held.append(bytearray(b'x') * (10 << 20))\n"
        "            except MemoryError: pass\n"
        "            time.sleep(0.02)\n"
        "    os._exit(0)\n"
        "time.sleep(60)\n"
    )
    run = start(f"ulimit -v 1000000; exec {sys.executable} -I -S hog.py", memory_bytes=str(60 << 20).encode())
    assert run.end() == End(how="memory")
    assert not list(kin.carrying(run.attempt))
    whole = start(f"ulimit -v 1000000; exec {sys.executable} -I -S -c 'bytearray(100 << 30)'")
    assert whole.end() == End(how="code", value=1)  # refused at once: the command's own failure


# --- C-15: pids that come round -----------------------------------------------------------------------------------------------

ROUND = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from stretto import bundle, kin
from stretto.executors import local
from stretto.system import Process, boot_id, identify, lives, signal_process, signer
from stretto.testing.wait import wait_until

base = sys.argv[2]
attempt = os.urandom(16).hex()
folder = bundle.create(base + "/attempts", attempt)
spec = dict(dir=folder, journal=base, attempt=attempt, exe="/bin/sleep", argv="sleep\\0" + "60", env="STRETTO_WORKER=" + attempt, cwd=base,
            umask="22", streams="merged", wall_s="60", limit_bytes="1000", memory_bytes="1000000000", tasks="1000")
forker = local.Forker()
owner = forker.spawn({name: os.fsencode(value) for name, value in spec.items()})
wait_until(lambda: bundle.writing(folder) and signer(folder + "/lock"))
monitor = signer(folder + "/lock")
worker = wait_until(lambda: next((each.process for each in kin.below(monitor.pid)), None))
kin.remember(folder, [worker])
assert lives(monitor) and lives(worker)
assert signal_process(monitor, 9)
wait_until(lambda: not lives(monitor) and not lives(worker))
os.waitpid(worker.pid, 0)  # we are the first process of this namespace, which it was handed to
local.end_orphans(attempt, folder)
kin.remember(folder, [worker, monitor])

def reuse(old):
    # another process under the number of an ended one; not in the hundredth of a second in which that began: the kernel counts no finer
    wait_until(lambda: int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) > int(old.start) + 1)
    def come_round():
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(old.pid - 1))
        one = subprocess.Popen(["/bin/sleep", "61"], env={})
        if one.pid == old.pid:
            return one
        one.kill()
        one.wait()
    return wait_until(come_round, what=f"pid {old.pid} again")

strangers = [reuse(monitor), reuse(worker)]
for old, stranger in zip((monitor, worker), strangers):
    assert stranger.pid == old.pid
    assert not lives(old)
    assert identify(old.pid) not in (None, old)
    assert not signal_process(old, 9)
    assert not local.cancel(old)
    assert not local.hasten(old)
assert list(kin.carrying(attempt, kin.remembered(folder))) == []
assert local.end_orphans(attempt, folder) == []
assert signer(folder + "/lock") == monitor and not lives(monitor)
assert not bundle.writing(folder)
assert [stranger.poll() for stranger in strangers] == [None, None]
for stranger in strangers:
    stranger.kill()
    stranger.wait()
forker.close()
print("came round")
"""


def test_c15_processes_that_got_the_pids_of_a_dead_owner_and_its_worker_are_neither_trusted_nor_signalled(tmp_path):
    """F5, with real reuse: in a pid namespace of its own, where the next pid can be chosen."""
    (tmp_path / "round.py").write_text(ROUND)
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not shutil.which(words[0]) or subprocess.run([*words, "true"], stderr=-1).returncode:
        pytest.skip("no pid namespace can be made here (needs root and unshare)")
    done = subprocess.run(
        [*words, sys.executable, str(tmp_path / "round.py"), PACKAGE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ns_last_pid" in done.stderr and ("Permission" in done.stderr or "No such file" in done.stderr):
        pytest.skip("this kernel does not let us choose the next pid")
    assert done.stdout == "came round\n", done.stderr


# --- C-16: floods -------------------------------------------------------------------------------------------------------------


def _status_kb(pid: int, name: str) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))


@pytest.mark.parametrize("streams", ["merged", "split"])
def test_c16_much_output_below_the_limit_is_kept_whole_in_constant_memory(start, tmp_path, streams):
    """One line without an end, of NULs; the owner's peak is that of one that has nothing to do."""
    size = (10 << 30) if SOAK else (200 << 20)
    print(f"scale: {size >> 20} MB")
    quiet = start("sleep 60")
    quiet.worker()
    run = start(
        f"head -c {size} /dev/zero; touch done; while ! [ -e go ]; do sleep 0.05; done; exit 3",
        limit_bytes=str(size + 1000).encode(),
        streams=streams.encode(),
        wall_s=b"600",
    )
    wait_until(lambda: (tmp_path / "done").exists(), limit_s=300, what="the output")
    peak_kb, floor_kb = _status_kb(run.process.pid, "VmHWM"), _status_kb(quiet.process.pid, "VmHWM")
    (tmp_path / "go").touch()
    assert run.end() == End(how="code", value=3)
    assert bundle.sizes(run.folder)[0] == size
    os.truncate(os.path.join(run.folder, "out"), 0)  # the disk is shared
    print(f"peak {peak_kb} kB, at rest {floor_kb} kB")
    assert peak_kb < 1.3 * floor_kb


def test_c16_more_than_four_gigabytes_between_two_looks_are_several_frames(tmp_path):
    """A frame counts to 4 GB; an owner that was stopped for a while finds more than that. In a file with a hole."""
    size = (9 << 30) + 7
    order = monitor._Order(str(tmp_path))
    (tmp_path / "out").touch()
    os.truncate(tmp_path / "out", size)
    order.look()
    order.close()
    frames = (tmp_path / "frames").read_bytes()
    assert len(frames) == 3 * bundle.FRAME_BYTES
    assert sum(int.from_bytes(frames[at + 1 : at + bundle.FRAME_BYTES], "big") for at in range(0, len(frames), bundle.FRAME_BYTES)) == size


def test_c16_a_flood_beyond_the_limit_is_cut_with_a_mark_in_constant_memory(start):
    """200 MB are asked for, far more than are kept; what is read back is the beginning and the mark."""
    quiet = start("sleep 60")
    quiet.worker()
    run = start("yes 0123456789 | head -c 200000000; sleep 60", limit_bytes=b"30000000")
    assert run.end() == End(how="oversize")
    usage = os.stat(os.path.join(run.folder, "out")).st_size
    assert 30_000_000 < usage < 30_000_200
    text = run.output()
    assert text.startswith(b"0123456789\n" * 1000)
    assert text[30_000_000:].startswith(b"\n[stretto: cut here, it printed ")


def test_c16_a_slow_reader_gets_every_byte_and_holds_nobody_up(start):
    """The run is over long before the reader has read it: there is a file between them."""
    run = start("yes slow | head -c 900000; exit 4")
    reader = bundle.follow(run.folder, live=True)
    first = next(reader)
    assert run.end() == End(how="code", value=4)
    rest = b"".join(chunk.data for chunk in reader)
    assert first.data + rest == (b"slow\n" * 180_000)[:900_000]


# --- what reaches the worker, and what the owner costs ------------------------------------------------------------------------


def test_the_environment_is_the_one_of_the_call_byte_for_byte(start):
    """Odd bytes, empty values, equal signs, newlines, no PATH; and nothing of ours but the mark."""
    entries = [b"ODD=\xff\xfe\x01", b"EMPTY=", b"EQUAL==a=b=", b"LINES=one\ntwo\r\n", b"CLAUDECODE=1", b"\xffNAME=x", b"LC_ALL=C"]
    read_own = "import os; os.write(1, open('/proc/self/environ', 'rb').read())"
    run = start(
        "", exe=os.fsencode(sys.executable), argv=b"\0".join([b"python3", b"-I", b"-S", b"-c", read_own.encode()]), env=b"\0".join(entries)
    )
    assert run.end() == End(how="code", value=0)
    assert run.output().split(b"\0")[:-1] == entries


def test_c7_neither_forker_nor_owner_pins_a_directory_or_has_a_terminal(start, tmp_path):
    run = start("sleep 60")
    fields = Path(f"/proc/{run.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    for pid in (run.process.pid, int(fields[1])):
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        about = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        assert (about[2], about[3], about[4]) == (str(pid), str(pid), "0"), "a group and a session of its own, and no terminal"
    worker = run.worker()

    def standing() -> list[str]:
        return Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[2:5]

    wait_until(lambda: standing() == [str(worker), str(worker), "0"], what="a session of its own, which it takes as its first step")


def test_an_owner_holds_at_most_twelve_megabytes_of_its_own(start):
    """The issue's figure: as the system shares it out (Pss) where it says so, else what is resident."""
    run = start("sleep 60")
    run.worker()
    rollup = Path(f"/proc/{run.process.pid}/smaps_rollup")
    if rollup.exists():
        held_kb = next(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:"))
    else:
        held_kb = _status_kb(run.process.pid, "VmRSS")
    print(f"{held_kb} kB held, {_status_kb(run.process.pid, 'VmRSS')} kB resident")
    assert held_kb < 12 * 1024


def test_what_was_asked_for_never_has_the_idle_io_class(start):
    """Decision 0007: only what nobody asked for stands back."""
    if not shutil.which("ionice"):
        pytest.skip("no ionice to ask with")
    run = start("sleep 60 & wait", idle=b"0")
    worker = run.worker()
    wait_until(lambda: list(kin.below(worker)), limit_s=10, what="the sleeper")
    for pid in (worker, *(each.process.pid for each in kin.below(worker))):
        assert "idle" not in subprocess.run(["ionice", "-p", str(pid)], stdout=-1, text=True).stdout
    assert os.getpriority(os.PRIO_PROCESS, worker) == os.getpriority(os.PRIO_PROCESS, 0)


def test_f2_many_runs_whose_owners_were_killed_leave_nothing(start):
    """500 in the long version; each has left a process in a session of its own."""
    count = 500 if SOAK else 20
    print(f"scale: {count} runs")
    runs = []
    for number in range(count):
        runs.append(start(f"setsid sleep 6{number % 10} & wait"))
        if number % 10 == 9:
            for run in runs:
                wait_until(lambda run=run: len(list(kin.below(run.process.pid))) >= 2, limit_s=20, what="its sleeper")
            for run in runs:
                kill_owner(run)
            for run in runs:
                assert local.end_orphans(run.attempt, run.folder) == []
            assert not [left for run in runs for left in kin.carrying(run.attempt)]
            runs.clear()


DELEGATED = """
import os, sys
sys.path[:0] = sys.argv[1].split(":")
mine, base = sys.argv[2:]
assert os.getuid() == 65534
from stretto import bundle, cgroup
from stretto.executors import local
from stretto.testing.wait import wait_until
assert cgroup.place() == mine, cgroup.place()
attempt = os.urandom(16).hex()
folder = bundle.create(base + "/attempts", attempt)
spec = dict(dir=folder, journal=base, attempt=attempt, exe="/bin/sh", argv="sh\\0-c\\0cat /proc/self/cgroup; (setsid sleep 60 &); exit 3",
            env="PATH=/usr/bin:/bin", cwd=base, umask="22", streams="merged", wall_s="60", limit_bytes="9999", memory_bytes="1000000000",
            tasks="1000")
forker = local.Forker()
owner = forker.spawn({name: os.fsencode(value) for name, value in spec.items()})
wait_until(lambda: owner.lines() is None)
forker.close()
assert bundle.read_exit(folder).end.value == 3, bundle.read_exit(folder)
assert f"/stretto-{attempt}\\n" in open(folder + "/out").read()
assert not os.path.exists(f"{mine}/stretto-{attempt}")
print("delegated")
"""


def test_an_ordinary_user_has_groups_where_one_was_delegated_to_him(needs_group):
    """As below the systemd of his own session: the directory and its files belong to him, nothing above does.

    His files are in a file system of their own, since he may not enter the suite's directory; he may read everything, since the
    interpreter may be root's.
    """
    user = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
    inside = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o mode=1777 none /mnt && echo 0 > $0/cgroup.procs && exec {user} "$@"']
    group = Path(cgroup.place()) / f"stretto-test-{os.urandom(4).hex()}"
    group.mkdir()
    try:
        if not shutil.which("setpriv") or subprocess.run([*inside, str(group), "true"], stderr=-1).returncode:
            pytest.skip("only root can delegate a control group for this, and give a user a file system")
        for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(path, 65534, 65534)
        words = [*inside, str(group), sys.executable, "-c", DELEGATED, ":".join(filter(None, sys.path)), str(group), "/mnt"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "delegated\n", done.stderr
    finally:
        wait_until(lambda: cgroup.Group(str(group)).remove(), limit_s=20, what="an empty group")


def test_in_a_control_group_namespace_the_mount_of_that_namespace_is_found(needs_group, tmp_path):
    """As in a container: an older mount shows our own group under another path."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-mC", "true"], stderr=-1).returncode:
        pytest.skip("no control group namespace can be made here (needs root and unshare)")
    group, mount = Path(cgroup.place()) / f"stretto-test-{os.urandom(4).hex()}", tmp_path / "mount"
    group.mkdir()
    mount.mkdir()
    ask_place = f"import sys; sys.path.insert(0, {PACKAGE!r}); from stretto import cgroup; print(repr(cgroup.place()))"
    script = (
        f"echo 0 > {group}/cgroup.procs; unshare -mC sh -c 'mount -t cgroup2 none {mount} && echo $$ > {mount}/cgroup.procs;"
        f' {sys.executable} -c "$0"; umount -l {mount}; umount -l {cgroup.place()}; {sys.executable} -c "$0"\' "$1"'
    )
    try:
        done = subprocess.run(["sh", "-c", script, "sh", ask_place], capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.splitlines() == [repr(str(mount)), "''"], done
    finally:
        wait_until(lambda: cgroup.Group(str(group)).remove(), limit_s=20, what="an empty group")
