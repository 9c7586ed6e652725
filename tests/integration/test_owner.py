"""The owner of a run where it is hard: trees that hide, owners that die at any step, pids that come round, floods, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import stretto
from conftest import Started
from stretto import cgroup, kin
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited, End
from stretto.system import LINUX, Process, boot_id, identify, lives
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


def test_what_hides_is_ended_with_its_run(way, start, tmp_path):
    """F4, with the owner alive."""
    run, wiped = hidden(tmp_path, start)
    local.cancel(run.process)
    assert run.end().how == "cancelled"
    assert not lives(wiped)


def test_a_supervisor_ends_what_hides_of_a_run_whose_owner_was_killed(bench):
    """F2, F3."""
    hold = Path(bench.env["HOME"]) / "hold"
    bench.tool("pytest", f"[ -f {hold} ] || exec sleep 0.2; exec {sys.executable} -I -S {bench.short}/wiped.py {bench.short}/wiped")
    (bench.short / "wiped.py").write_text(WIPED)
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    bench.bash("pytest -q")
    hold.touch()
    bench.edit("src.py", "two\n")
    pid = int(wait_until(lambda: (bench.short / "wiped").read_text(), limit_s=30, what="the hidden process"))
    wiped = identify(pid)
    assert wiped is not None
    attempt = next(run for run in bench.state().open_attempts() if run.kind == "ahead").attempt
    folder = f"{bench.paths.attempts}/{attempt}"
    wait_until(lambda: cgroup.recorded(folder, attempt) or wiped in kin.remembered(folder), limit_s=20, what="a trace of it")
    owner = wait_until(lambda: bench.state().attempts[attempt].phase.pid, limit_s=20, what="its owner in the log")
    os.kill(owner, signal.SIGKILL)
    wait_until(lambda: not lives(wiped), limit_s=20, what="its end")
    wait_until(lambda: bench.state().attempts[attempt].end == End(how="lost"), limit_s=20, what="its record")


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
