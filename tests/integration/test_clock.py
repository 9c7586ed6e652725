"""C-19 at a live supervisor: whatever the wall clock does, nothing expires or is lost, no time is negative. It is for display only."""

from __future__ import annotations

import math
import signal
import sys
import time

import pytest

from stretto import doctor, engine
from stretto.fold import Session
from stretto.journal import Journal
from stretto.model import JoinDone, SessionClosed, SessionId
from stretto.system import Process, lives, signal_process
from stretto.testing.faults import Fault, interpreter
from stretto.testing.wait import wait_until

DAY_S = 86_400.0
CHECK = "cat src.py"


def begin(bench, off_s: float) -> None:
    """Start a session whose supervisor's wall clock is wrong by that much."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", CHECK)
    set_clock(bench, off_s)
    bench.python = interpreter(bench.short, Fault("supervisor", "clock", 0, ""))
    bench.begin()


def set_clock(bench, off_s: float) -> None:
    aside = bench.short / "clock.new"
    aside.write_text(repr(off_s))
    aside.rename(bench.short / "clock")


def test_c19_no_jump_of_the_wall_clock_expires_a_result_or_a_session_or_makes_a_time_negative(bench):
    """+-1 day, a leap second, 1970, behind 2038, and back; the session's results are replayed all along."""
    begin(bench, 0.0)
    bench.bash("pytest -q")
    first = bench.supervisor()
    jumps_s = (DAY_S, -DAY_S, 1.0, -1.0, 1.0 - time.time(), 2.0**31 + 100.0 - time.time(), 400 * DAY_S, 0.0)
    for off_s in jumps_s:
        set_clock(bench, off_s)
        assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", *["replay"] * len(jumps_s)]
    spread_s = max(join.ts for join in bench.state().joins) - min(join.ts for join in bench.state().joins)
    assert spread_s > 2.0**31 - 10, "the supervisor's wall clock did jump"
    assert bench.supervisor() == first
    assert lives(first)
    assert not bench.events(SessionClosed)
    assert all(event.waited_s >= 0.0 and event.saved_s >= 0.0 for event in bench.events(JoinDone))
    assert all((attempt.took_s or 0.0) >= 0.0 for attempt in bench.state().attempts.values())
    monos = [join.mono for join in bench.state().joins]
    assert monos == sorted(monos)


@pytest.mark.parametrize("off_s", [-DAY_S, 1.0 - time.time()], ids=["a day behind", "1970"])
def test_c19_a_session_that_began_under_a_wrong_clock_is_open_for_the_next_supervisor_under_the_right_one(bench, off_s):
    """A clock that is set right after the machine was started, and a supervisor that died: the session's process is the same."""
    begin(bench, off_s)
    bench.bash("pytest -q")
    bench.settled(1)
    first = bench.supervisor()
    signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), what="its end")
    (bench.short / "clock").unlink()
    bench.python = sys.executable
    bench.hook("UserPromptSubmit", prompt="p")
    assert bench.supervisor() != first
    assert not bench.events(SessionClosed)
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "record"]


@pytest.mark.parametrize(
    ("start", "boot", "same"),
    [("7", "b", True), ("8", "b", False), ("7", "another", False), ("", "b", True), ("", "another", False)],
    ids=["itself", "a reused pid", "before a reboot", "as format 1 told", "as format 1 told before a reboot"],
)
def test_c19_a_session_is_of_the_process_that_the_kernel_names_so_and_no_wall_clock_is_asked(start, boot, same):
    opened = Session(session=SessionId("s"), source="x", claude_pid=42, claude_start=start, boot=boot, opened_at=1.0)
    assert engine.is_claude(opened, Process(42, "7", "b")) is same


@pytest.mark.damages_log("bad line", "wrong writer", reason="the record is written by hand")
@pytest.mark.parametrize("ts", [-1.0, 0.0, 2.0**31, 1e12, 1e300, math.nan], ids=repr)
def test_c19_doctor_shows_any_time_a_record_may_hold(bench, ts):
    record = b'{"t":"session.opened","ts":%s,"mono":1.0,"boot":"b","by":"x","session":"s","source":"startup","claude_pid":1}'
    Journal(bench.paths.folder).append(record % (b"null" if math.isnan(ts) else repr(ts).encode()))
    shown = {check.name: check for check in doctor.examine(str(bench.root), str(bench.base))}
    assert "cannot be looked at" not in "".join(check.text for check in shown.values())
    assert shown["last hook"].level == ("warn" if math.isnan(ts) or ts == 0.0 else "ok")
