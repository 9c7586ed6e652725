"""What runs ahead stands back, and goes at full speed once somebody waits for it; both against the same command as the session runs it.

Full load is twice as many endless loops as there are cores, each in a session of its own, as other sessions' commands are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import Figure, in_turn
from bench.bench_launch import forking, start, wait
from stretto import kin
from stretto.executors import local
from stretto.system import Process, identify
from stretto.testing.wait import wait_until

TURNS = 4_000_000
RUNS = 12
TARGET = 1.05
BUSY = "for _ in range(int(sys.argv[1])): pass"
AHEAD = f"import os, sys, time\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.002)\n{BUSY}"
"""The same, begun once a file is there: so all of the work is still to come when it is attached to."""
ALONE = f"import sys\n{BUSY}"
ENDLESS = "while True: pass"


def run(runs: int = RUNS, turns: int = TURNS) -> list[Figure]:
    """Return how many times as long a command takes that is attached to, and one beside which another is held back."""
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder, forking() as forker:
        with load():
            attached = in_turn(lambda: _attached(forker, folder, turns), lambda: _native(turns), runs, warm=1)
        beside = in_turn(lambda: _beside(forker, folder, turns), lambda: _native(turns), runs, warm=1)
    return [
        Figure(
            name="attaching to a run that was held back, under full load",
            value=attached.ratio,
            unit="times",
            target=TARGET,
            against=f"the same command beside the same load; {attached.spread()}",
        ),
        Figure(
            name="a busy command beside as many runs held back as there are cores",
            value=beside.ratio,
            unit="times",
            target=TARGET,
            against=f"alone; {beside.spread()}",
        ),
    ]


@contextmanager
def load() -> Iterator[None]:
    """Keep every core busy twice over."""
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(2 * (os.cpu_count() or 1)):
            loops.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", ENDLESS], stdin=subprocess.DEVNULL, start_new_session=True))
        yield
    finally:
        for each in loops:
            each.kill()
        for each in loops:
            each.wait()


def _native(turns: int) -> float:
    began_s = time.perf_counter()
    words = [sys.executable, "-I", "-S", "-c", ALONE, str(turns)]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True, start_new_session=True)
    return time.perf_counter() - began_s


def _attached(forker: local.Forker, folder: str, turns: int) -> float:
    go = os.path.join(folder, "go")
    owner, monitor = _held(forker, folder, AHEAD, str(turns), go)
    with open(go, "xb"):
        pass
    began_s = time.perf_counter()
    local.hasten(monitor)
    wait(owner, "exited")
    took_s = time.perf_counter() - began_s
    owner.close()
    os.unlink(go)
    return took_s


def _beside(forker: local.Forker, folder: str, turns: int) -> float:
    held = [_held(forker, folder, ENDLESS) for _ in range(os.cpu_count() or 1)]
    try:
        return _native(turns)
    finally:
        for _, monitor in held:
            local.cancel(monitor)
        for owner, _ in held:
            wait(owner, "exited")
            owner.close()


def _held(forker: local.Forker, folder: str, script: str, *words: str) -> tuple[local.Owner, Process]:
    """Start a run ahead and hold it back; return once it gets no processor any more."""
    _, owner = start(forker, folder, sys.executable, "-I", "-S", "-c", script, *words)
    monitor = identify(int(wait(owner, "started").split()[1]))
    assert monitor is not None
    wait_until(lambda: list(kin.below(monitor.pid)), what="its worker")
    local.hold(monitor)
    wait_until(lambda: _taken(monitor), what="its hold")
    return owner, monitor


def _taken(monitor: Process) -> bool:
    """Say whether the monitor has taken the word in: nothing is pending for it any more."""
    with open(f"/proc/{monitor.pid}/status", encoding="ascii") as file:
        pending = next(int(line.split()[1], 16) for line in file if line.startswith("ShdPnd:"))
    return not pending & (1 << (signal.SIGTSTP - 1))
