"""The log damaged, cut or failing under a live supervisor (C-3, C-5, C-6): no command is lost, nothing is passed that did not pass, and the
user is told once.

The check of these tests prints its source and ends with 3: an exit code 0 anywhere in the log would be invented.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from integration.conftest import Bench
from stretto import doctor, logcheck
from stretto.journal import FAILED_NAME, LOCK_NAME, sealed
from stretto.model import AttemptExited, EpochBegan, JoinDecided, TreeMoved
from stretto.system import lives
from stretto.testing.faults import Fault, interpreter
from stretto.testing.wait import wait_until

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
CHECK = "cat src.py; exit 3"


def ready(bench) -> None:
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", CHECK)
    bench.begin()


def notices(bench) -> int:
    """Let some hooks fire that may show the user a line; return how many did so far in this test."""
    for event in ("UserPromptSubmit", "Stop", "UserPromptSubmit"):
        bench.hook(event, prompt="p")
    return len(bench.notices)


def findings(bench, name: str) -> list[doctor.Check]:
    return [check for check in doctor.examine(str(bench.root), str(bench.base)) if check.name == name]


def damage(bench) -> None:
    """A whole line whose checksum does not fit."""
    line = bytearray(sealed(b'{"t":"attempt.exited","v":2,"ts":1.0,"mono":1.0,"boot":"b","by":"x"}'))
    line[20] ^= 1
    with open(bench.paths.events, "ab") as file:
        file.write(bytes(line) + b"\n")


# --- C-3: damage in the middle (decision 0008) ------------------------------------------------------------------------------------


@pytest.mark.damages_log("bad line", reason="a damaged line is put there")
def test_c3_a_damaged_line_ends_every_earlier_result_with_one_notice_and_later_ones_count_again(bench):
    ready(bench)
    bench.tool("pytest", CHECK.replace("3", "0"))
    for _ in range(2):
        assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "replay"]
    assert notices(bench) == 0
    damage(bench)
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "replay", "record"]
    assert [event.reason for event in bench.events(EpochBegan)] == ["a line of the log cannot be used; what it said is not known"]
    assert notices(bench) == 1
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did()[3:] == ["replay"]
    assert [(check.level, "log check" in check.do) for check in findings(bench, "log")] == [("warn", True)]


@pytest.mark.damages_log("bad line", reason="a damaged line is put there")
def test_c3_after_a_damaged_line_no_command_runs_ahead_before_it_was_seen_again(bench):
    """The line may have said that the user was asked before it ran, or that it writes sources."""
    ready(bench)
    bench.tool("pytest", "sleep 0.2; " + CHECK)
    bench.bash("pytest -q")
    bench.settled(1)
    assert all(job.clean for job in bench.state().jobs.values())
    damage(bench)
    assert not any(job.clean for job in bench.state().jobs.values())
    bench.edit("src.py", "two\n")
    wait_until(lambda: bench.events(TreeMoved), what="the edit being seen")
    assert bench.bash("pytest -q")[:2] == (b"two\n", 3)
    bench.settled(2)
    assert [attempt.kind for attempt in bench.state().attempts.values()] == ["foreground", "foreground"]
    assert all(job.clean for job in bench.state().jobs.values())
    bench.edit("src.py", "three\n")
    bench.settled(3)
    assert [attempt.kind for attempt in bench.state().attempts.values()][2:] == ["ahead"], "and then it does again"


@pytest.mark.damages_log("everything", reason="the log is cut")
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97] if SOAK else [0.0, 0.5])
def test_c3_a_log_that_was_cut_ends_its_supervisor_and_the_next_one_joins_nothing_from_before(bench, share):
    ready(bench)
    bench.tool("pytest", CHECK.replace("3", "0"))
    bench.bash("pytest -q")
    bench.settled(1)
    first = bench.supervisor()
    size = os.path.getsize(bench.paths.events)
    os.truncate(bench.paths.events, int(size * share))
    bench.edit("src.py", "two\n")
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    wait_until(lambda: not lives(first), what="its end")
    bench.hook("UserPromptSubmit", prompt="p")
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.supervisor() != first
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    did = [event.do for event in bench.events(JoinDecided) if event.by == f"supervisor:{bench.supervisor().pid}"]
    assert (did[0], did[-1]) == ("record", "replay")


@pytest.mark.damages_log("everything", reason="one record of any kind is damaged, and what followed from it does not fit")
@pytest.mark.parametrize("when", range(1, 46) if SOAK else (9, 14))
def test_c3_a_record_that_reaches_the_disk_with_a_flipped_bit_costs_no_command_and_invents_no_result(bench, when):
    print(f"scale: {'soak' if SOAK else 'everyday'}")
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", CHECK)
    bench.python = interpreter(bench.short, Fault("supervisor", "write", when, "flip"))
    bench.begin()
    bench.python = sys.executable
    for text in ("one\n", "two\n", "two\n", "three\n"):
        bench.edit("src.py", text)
        assert bench.bash("pytest -q")[:2] == (text.encode(), 3)
    bench.hook("SessionEnd", reason="other")
    bench.stop()
    assert SOAK or (bench.short / "fired").exists()
    assert not [event for event in bench.events(AttemptExited) if event.end.passed]
    assert bench.state().bad_lines <= 1


# --- C-5: a failed sync -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["supervisor", "monitor"])
def test_c5_after_a_failed_sync_all_is_as_without_us_until_the_user_repairs_the_log(bench, who):
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "sleep 0.2; " + CHECK)
    bench.python = interpreter(bench.short, Fault(who, "fdatasync", 1, "EIO"))
    bench.begin()
    bench.python = sys.executable
    assert bench.bash("pytest -q")[:2] == (b"one\n", 3)
    if who == "monitor":
        bench.settled(1)
        bench.edit("src.py", "two\n")
    mark = Path(bench.paths.folder, FAILED_NAME)
    wait_until(mark.exists, what="the mark of the failed sync")
    assert (bench.short / "fired").exists()
    before = Path(bench.paths.events).read_bytes()
    for text in ("three\n", "three\n"):
        bench.edit("src.py", text, told=False)
        assert bench.bash("pytest -q", told=False)[:2] == (text.encode(), 3)
        for event in ("PreToolUse", "PostToolBatch"):
            done = bench.hook(event, tool_name="Bash", tool_use_id="a", tool_input={"command": "pytest -q"}, tool_calls=[])
            assert (done.returncode, done.stdout.count(b"additionalContext"), done.stderr) == (0, 0, b"")
    assert Path(bench.paths.events).read_bytes() == before, "nothing is written any more"
    assert notices(bench) == 1
    (found,) = [check for check in findings(bench, "log") if check.level == "fail"]
    assert "sync failed" in found.text and "stretto log repair" in found.do
    if who == "monitor":
        bench.stop()  # each of its monitors would fail its first sync anew
    logcheck.repair(bench.paths.folder)
    assert not mark.exists()
    assert not [check for check in findings(bench, "log") if check.level == "fail"]
    bench.hook("UserPromptSubmit", prompt="p")
    wait_until(lambda: not bench.state().open_attempts(), what="the record of the runs that ended meanwhile")
    for _ in range(2):
        assert bench.bash("pytest -q")[:2] == (b"three\n", 3)
    assert bench.did()[-2] == "record"
    assert bench.did()[-1] in ("replay", "attach")
    assert not [event for event in bench.events(AttemptExited) if event.end.passed]
    bench.stop()


# --- C-6: a stopped holder of the lock ---------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from stretto.system import Lock
lock = Lock(sys.argv[1])
lock.acquire(5)
print("held", flush=True)
time.sleep(600)
"""


def test_c6_while_a_stopped_process_holds_the_lock_all_is_as_without_us_and_hardly_slower_with_one_notice(bench):
    ready(bench)
    bench.bash("pytest -q")
    bench.settled(1)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, f"{bench.paths.folder}/{LOCK_NAME}"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        before = Path(bench.paths.events).read_bytes()
        began_s = time.monotonic()
        for text in ("two\n", "three\n"):
            bench.edit("src.py", text)
            assert bench.bash("pytest -q")[:2] == (text.encode(), 3)
        print(f"two edits and two commands took {time.monotonic() - began_s:.1f} s beside a stopped holder")
        assert notices(bench) == 1
        assert Path(bench.paths.events).read_bytes() == before
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    bench.hook("UserPromptSubmit", prompt="p")
    bench.edit("src.py", "four\n")
    assert bench.bash("pytest -q")[:2] == (b"four\n", 3)
    wait_until(lambda: len(bench.did()) > 1, what="a record again")
    assert bench.state().bad_lines == 0


def below(pid: int, least: int) -> list[int]:
    """Return a process's descendants, its children first; [] while there are fewer than that."""
    found = [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return found if len(found) >= least else []


def open_files(pid: int) -> list[str]:
    names = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            continue  # closed meanwhile
    return names


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_c6_no_command_monitor_or_forker_has_a_descriptor_of_the_log_or_its_lock(bench):
    """Whoever has one of the lock by inheritance would hold it for everybody."""
    ready(bench)
    hold = bench.short / "hold"
    bench.tool("pytest", f'sleep 0.2; while [ -e "{hold}" ]; do sleep 0.02; done; ' + CHECK)
    bench.bash("pytest -q")
    bench.settled(1)
    hold.touch()
    bench.edit("src.py", "two\n")
    supervisor = bench.supervisor().pid
    running = wait_until(lambda: [run for run in bench.state().open_attempts() if hasattr(run.phase, "pid")], what="an ahead run")
    others = wait_until(lambda: below(supervisor, 3), what="the process that forks, a monitor and its command")
    assert running[0].phase.pid in others
    for pid in others[:3]:  # one that was only just forked still closes what it was born with
        wait_until(lambda pid=pid: not [name for name in open_files(pid) if "/events" in name], what=f"{pid} without the log")
    assert any("/events" in name for name in open_files(supervisor)), "it can be seen where it is"
    hold.unlink()
    bench.settled(2)


# --- log.fsync --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fsync", "who", "synced"),
    [("always", "supervisor", True), ("never", "supervisor", False), ("never", "monitor", False)],
)
def test_the_rule_about_syncs_reaches_the_supervisor_and_its_monitors(short, project, state_base, fsync, who, synced):
    """A sync that fails leaves its mark, so whether one was asked for can be seen."""
    bench = Bench(short, project, state_base, rules=f'[log]\nfsync = "{fsync}"\n'.encode())
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "sleep 0.2; " + CHECK)
    bench.python = interpreter(bench.short, Fault(who, "fdatasync", 1, "EIO"))
    bench.begin()
    bench.python = sys.executable
    if fsync == "always":
        assert bench.state().supervisor is not None, "written, and then not known to be on the disk"
        assert Path(bench.paths.folder, FAILED_NAME).exists()
    assert bench.bash("pytest -q")[:2] == (b"one\n", 3)
    bench.edit("src.py", "two\n")
    if not synced:
        bench.settled(2)
        assert [attempt.kind for attempt in bench.state().attempts.values()] == ["foreground", "ahead"]
    assert bench.bash("pytest -q")[:2] == (b"two\n", 3)
    assert (bench.short / "fired").exists() == Path(bench.paths.folder, FAILED_NAME).exists() == synced
    bench.stop()
