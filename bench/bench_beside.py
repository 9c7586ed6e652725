"""A command of the session beside runs ahead, against the same command alone: what the session pays for work done in advance (F72).

The scheduler lets no more run than there are cores, the session's own commands counted: so a busy command meets one busy worker less
than there are cores, each under its monitor as a supervisor starts it. With one core nothing runs ahead beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import Figure, in_turn
from bench.bench_launch import forking, start, wait
from stretto.executors import local
from stretto.system import identify

TURNS = 4_000_000
RUNS = 12
TARGET = 1.05
WORK = "import sys\nfor _ in range(int(sys.argv[1])): pass"
ENDLESS = "while True: pass"


def run(runs: int = RUNS, turns: int = TURNS) -> list[Figure]:
    """Return how many times as long a busy command takes beside as many busy runs ahead as the scheduler allows."""
    name = "a busy command beside the runs ahead that the scheduler allows"
    beside = (os.cpu_count() or 1) - 1
    if beside == 0:
        return [Figure(name=name, value=0.0, unit="times", target=TARGET, missing="one core: nothing runs ahead beside a command")]
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder, forking() as forker:
        pair = in_turn(lambda: _beside(forker, folder, beside, turns), lambda: _alone(turns), runs, warm=1)
    against = f"alone; {beside} beside it; {pair.spread()}"
    return [Figure(name=name, value=pair.ratio, unit="times", target=TARGET, against=against)]


def _alone(turns: int) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", WORK, str(turns)], stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s


def _beside(forker: local.Forker, folder: str, count: int, turns: int) -> float:
    with busy(forker, folder, count):
        return _alone(turns)


@contextmanager
def busy(forker: local.Forker, folder: str, count: int) -> Iterator[None]:
    """Keep so many workers busy, each under its monitor as a supervisor starts it; they have ended when the context is left."""
    owners = []
    try:
        for _ in range(count):
            _, owner = start(forker, folder, sys.executable, "-I", "-S", "-c", ENDLESS)
            monitor = identify(int(wait(owner, "started").split()[1]))
            owners.append((owner, monitor))
        yield
    finally:
        for _, monitor in owners:
            if monitor is not None:
                local.cancel(monitor)
        for owner, _ in owners:
            wait(owner, "exited")
            owner.close()
