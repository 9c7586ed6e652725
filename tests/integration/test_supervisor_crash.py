"""Killed or failing at any step: the session's commands keep output and exit code, nothing is recorded twice or as passed, nothing stays.

The check of these tests always ends with 3: an exit code 0 anywhere in the log would be invented.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import Bench
from stretto import observe
from stretto.model import AttemptExited, SupervisorStarted
from stretto.system import identify, lives, signal_process
from stretto.testing import leftovers
from stretto.testing.faults import Fault, interpreter, mounted
from stretto.testing.wait import wait_until

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
CHECK = "sleep 0.3; cat src.py; exit 3"


def spread(most: int, few: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(range(1, most)) if SOAK else few


OTHERS = (
    ("supervisor", "fsync", 4),
    ("supervisor", "fdatasync", 12),
    ("supervisor", "recv", 12),
    ("supervisor", "sendall", 10),
    ("supervisor", "read", 30),
    ("supervisor", "close", 40),
    ("supervisor", "unlink", 4),
    ("supervisor", "rename", 4),
    ("monitor", "flock", 6),
    ("monitor", "open", 12),
    ("monitor", "read", 20),
    ("monitor", "close", 20),
    ("monitor", "fdatasync", 3),
    ("monitor", "waitpid", 4),
)
"""Calls that only the long version goes through: whose, which, and how many of them there are at least."""
ERRORS = {"recv": "ECONNRESET", "sendall": "EPIPE", "flock": "ENOLCK", "open": "EMFILE", "waitpid": "ECHILD"}
ERRORS |= dict.fromkeys(("fsync", "fdatasync", "read", "close", "unlink", "rename"), "EIO")
KILLS = [
    *[Fault("supervisor", "write", n, f"kill-{'before' if n % 2 else 'after'}") for n in spread(45, (2, 7, 16))],
    *[
        Fault("supervisor", "spawn", n, how)
        for n in spread(6, (2,))
        for how in (("kill-before", "kill-after") if SOAK else ("kill-after",))
    ],
    *[Fault("supervisor", "mkdir", n, "kill-after") for n in spread(5, ())],
    *[Fault("monitor", "write", n, how) for n in spread(6, (1,)) for how in (("kill-before", "kill-after") if SOAK else ("kill-after",))],
    *[Fault("monitor", "rename", n, how) for n in spread(3, (1,)) for how in (("kill-before", "kill-after") if SOAK else ("kill-after",))],
    *[Fault("monitor", "fork", n, "kill-after") for n in spread(4, ())],
    *[Fault("supervisor", "sendall", n, "kill-before") for n in spread(10, (3,))],  # decided and logged, not yet answered
    *[Fault(who, call, n, "kill-before") for who, call, most in (OTHERS if SOAK else ()) for n in range(1, most)],
]
FAILURES = [
    *[Fault("supervisor", "write", n, how) for n in spread(45, (14,)) for how in (("EIO", "ENOSPC", "short") if SOAK else ("ENOSPC",))],
    *[
        Fault("supervisor", "open", n, how)
        for n in spread(120, (40,))
        for how in (("EMFILE",) if not SOAK else ("EIO", "EMFILE", "ENOMEM"))
    ],
    *[Fault("supervisor", "spawn", n, "ENOMEM") for n in spread(6, (2,))],
    *[Fault("monitor", "write", n, how) for n in spread(6, (2,)) for how in (("EIO", "ENOSPC", "short") if SOAK else ("ENOSPC",))],
    *[Fault("monitor", "rename", n, "EIO") for n in spread(3, ())],
    *[Fault("monitor", "fork", n, "ENOMEM") for n in spread(4, ())],
    *[Fault("supervisor", "flock", n, "ENOLCK") for n in spread(20, (6,))],
    *[Fault(who, call, n, ERRORS[call]) for who, call, most in (OTHERS if SOAK else ()) for n in range(1, most)],
]


@pytest.fixture(scope="module", autouse=True)
def scale():
    print(f"scale: {'soak' if SOAK else 'everyday'}, {len(KILLS)} kill points, {len(FAILURES)} failure points")


@pytest.mark.parametrize("fault", [*KILLS, *FAILURES], ids=lambda fault: "-".join(map(str, fault)))
def test_c1_c2_a_fault_at_any_step_costs_no_command_and_invents_no_result(bench, fault):
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", CHECK)
    bench.python = interpreter(bench.short, fault)
    hooks = [bench.hook("SessionStart", source="startup")]
    bench.python = sys.executable
    assert bench.bash("pytest -q")[:2] == (b"one\n", 3)
    bench.edit("src.py", "two\n")
    until = time.monotonic() + 2.0
    wait_until(lambda: ahead_over(bench) or time.monotonic() > until, limit_s=10, what="the ahead run, or none")
    assert bench.bash("pytest -q")[:2] == (b"two\n", 3)
    assert bench.bash("pytest -q")[:2] == (b"two\n", 3)
    hooks.append(bench.hook("SessionEnd", reason="other"))
    assert all(hook.returncode == 0 for hook in hooks)
    wait_until(lambda: not workers(bench), limit_s=20, what="the end of every worker and monitor")
    bench.stop()
    assert SOAK or (bench.short / "fired").exists()
    exits = [event.attempt for event in bench.events(AttemptExited)]
    assert len(exits) == len(set(exits))
    assert not [event for event in bench.events(AttemptExited) if event.end.passed]
    state = bench.state()
    assert state.anomaly_count == 0, list(state.anomalies)
    assert state.bad_lines <= 1


def ahead_over(bench) -> bool:
    attempts = bench.state().attempts.values()
    replaced = len(bench.events(SupervisorStarted)) > 1  # the next one knows no command before it was asked for
    return replaced or any(run.kind == "ahead" and not run.open for run in attempts)


def workers(bench) -> list[str]:
    """What of us runs besides the supervisor and the process it forks monitors from, which ends with it."""
    return [
        words
        for process in leftovers.find(str(bench.short))
        if "stretto.daemon" not in (words := command(process.pid))
        and "stretto.daemon" not in command(next(observe.ancestors(process.pid), 0))
    ]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65536):
                pass
        except OSError:
            pass
    return path


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_c18_on_a_full_or_read_only_disk_everything_runs_as_without_us_with_one_notice(short, project, state_base, how):
    """C-18, F57; and F27: once there is room it works again."""
    state_base.mkdir(mode=0o700)
    try:
        disk = mounted(state_base, 1 << 20)
        make_read_only = disk.__enter__()
    except PermissionError as error:
        pytest.skip(f"no file system of our own here: {error}")
    try:
        bench = Bench(short, project, state_base)
        (project / "src.py").write_text("one\n")
        bench.tool("pytest", CHECK)
        bench.begin()
        filler = None
        if how == "full":
            filler = fill(state_base)
            body = {"session_id": "x", "tool_name": "Bash", "tool_use_id": "x", "tool_input": {"command": "./unknown"}}
            for _ in range(40):  # the last page of the log has room for some records
                bench.ask(op=b"hook", event=b"PreToolUse", input=json.dumps(body).encode(), claude_pid=b"0")
        else:
            process = bench.supervisor()
            bench.stop()
            wait_until(lambda: not lives(process), what="its end")
            wait_until(lambda: make_read_only() is None, what="a read-only disk")
        notices = [bench.hook("UserPromptSubmit", prompt="p").stdout, bench.hook("SessionStart", source="resume").stdout]
        for text in (b"one\n", b"two\n"):
            bench.edit("src.py", text.decode(), told=False)
            done = bench.hook("PreToolUse", tool_name="Bash", tool_use_id="a", tool_input={"command": "pytest -q"})
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            assert bench.bash("pytest -q", told=False)[:2] == (text, 3)
            done = bench.hook(
                "PostToolBatch", tool_calls=[{"tool_name": "Bash", "tool_use_id": "a", "tool_input": {"command": "pytest -q"}}]
            )
            notices.append(done.stdout)
            assert (done.returncode, done.stderr) == (0, b"")
        assert sum(b"systemMessage" in notice for notice in notices) == 1, notices
        if filler:
            filler.unlink()
            bench.hook("UserPromptSubmit", prompt="p")
            bench.ask(op=b"ping")
            before = bench.state().events
            bench.hook("PreToolUse", tool_name="Bash", tool_use_id="b", tool_input={"command": "./unknown"})
            assert bench.state().events > before
            bench.stop()
            bench.check_history()
    finally:
        leftovers.end(str(short))
        disk.__exit__(None, None, None)


def test_a_command_of_unknown_effects_on_a_full_disk_ends_results_once_there_is_room(short, project, state_base):
    """C-18: its epoch could not be written when it began, nor when it ended; what was recorded before is not joined after it."""
    state_base.mkdir(mode=0o700)
    disk = mounted(state_base, 1 << 20)
    try:
        disk.__enter__()
    except PermissionError as error:
        pytest.skip(f"no file system of our own here: {error}")
    try:
        bench = Bench(short, project, state_base)
        (project / "src.py").write_text("one\n")
        bench.tool("pytest", CHECK.replace("exit 3", "exit 0"))
        bench.begin()
        bench.bash("pytest -q")
        assert bench.did() == ["record"]
        filler = fill(state_base)
        fill_log(bench)
        epoch = bench.state().epoch
        longer = "./unknown-" + "x" * 80  # its epoch's record is longer than those the page has no more room for
        unknown = {"tool_name": "Bash", "tool_use_id": "u", "tool_input": {"command": longer}}
        bench.hook("PreToolUse", **unknown)
        bench.hook("PostToolBatch", tool_calls=[unknown])
        assert bench.state().epoch == epoch
        filler.unlink()
        bench.bash("pytest -q")
        assert bench.did() == ["record", "record"]
        assert bench.state().epoch > epoch
        bench.stop()
        bench.check_history()
    finally:
        leftovers.end(str(short))
        disk.__exit__(None, None, None)


def fill_log(bench) -> None:
    """Use up what room the last page of the log has, with prompts of sessions, which end nothing."""
    for number in range(40):
        body = {"session_id": f"s{number}", "prompt": "p"}
        bench.ask(op=b"hook", event=b"UserPromptSubmit", input=json.dumps(body).encode(), claude_pid=str(os.getpid()).encode())


def test_c18_without_a_home_everything_works(bench):
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", CHECK)
    del bench.env["HOME"]
    bench.begin()
    assert bench.bash("pytest -q")[:2] == (b"one\n", 3)
    assert bench.did() == ["record"]


def test_c1_a_killed_shim_takes_its_command_along_and_its_run_is_lost(bench):
    """C-8: nobody knows how it would have ended, so it is no result, and the next question runs the command."""
    (bench.root / "src.py").write_text("one\n")
    hold = Path(bench.env["HOME"]) / "hold"
    hold.touch()
    bench.tool("pytest", 'while [ -f "$HOME/hold" ]; do sleep 0.02; done; ' + CHECK)
    bench.begin()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bench.bash, "pytest -q")
        (run,) = wait_until(lambda: [run for run in bench.state().open_attempts() if hasattr(run.phase, "pid")], what="the run")
        child = identify(run.phase.pid)
        shim = identify(next(observe.ancestors(run.phase.pid)))
        assert child is not None and shim is not None
        signal_process(shim, signal.SIGKILL)
        assert asked.result()[1] == 128 + signal.SIGKILL
    wait_until(lambda: not lives(child), what="the end of its command")
    wait_until(lambda: not bench.state().open_attempts(), what="its record")
    assert [event.end.how for event in bench.events(AttemptExited)] == ["lost"]
    hold.unlink()
    assert bench.bash("pytest -q")[:2] == (b"one\n", 3)
    assert bench.did() == ["record", "record"]
