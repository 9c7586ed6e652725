"""Many jobs that do nothing, two at a time, through our executor and through the queues that are installed.

Ours owns each job with a process of its own (it survives everything above it, has limits, and leaves a record); what is compared is
what that costs. A queue that is not installed is said to be missing; none is a dependency.
"""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import Figure
from bench.bench_launch import LIMIT_S, NO_OP, forking, start
from stretto.executors import local
from stretto.journal import read
from stretto.model import AttemptExited

JOBS = 500
SLOTS = 2
EACH_LIMIT_S = 60.0
HUEY_TASKS = f"""
import subprocess
from huey import SqliteHuey
huey = SqliteHuey(filename="huey.db")
@huey.task()
def job():
    return subprocess.run(["{NO_OP}"], check=True).args
"""
HUEY_FILL = "import sys, tasks\nfor result in [tasks.job() for _ in range(int(sys.argv[1]))]: result.get(blocking=True, max_delay=0.02)"


def run(jobs: int = JOBS) -> list[Figure]:
    """Return our time as a multiple of each queue's."""
    others: list[tuple[str, bool, Callable[[str, int], float], float]] = [
        ("nq", bool(shutil.which("nq")), _nq, 1.0),
        ("GNU parallel", bool(shutil.which("parallel")), _parallel, 1.0),
        ("huey", importlib.util.find_spec("huey") is not None, _huey, 1.0),
        ("task-spooler", bool(shutil.which("tsp")), _task_spooler, 1.5),
    ]
    ours_s = _in_folder(ours, jobs)
    figures = []
    for name, installed, way, target in others:
        what = f"{jobs} no-op jobs in {SLOTS} slots, ours against {name}"
        if not installed:
            figures.append(Figure(name=what, value=0, unit="times the time", target=target, missing="not installed"))
            continue
        other_s = _in_folder(way, jobs)
        against = f"{jobs / ours_s:.0f} against {jobs / other_s:.0f} jobs a second, one run each"
        figures.append(Figure(name=what, value=ours_s / other_s, unit="times the time", target=target, against=against))
    return figures


def ours(folder: str, jobs: int) -> float:
    """Run the jobs through `executors/local`; return the seconds.

    Raises:
        RuntimeError: not every exit is in the log, or a monitor is silent for `LIMIT_S`.
    """
    began_s = time.perf_counter()
    left = jobs
    open_: list[local.Owner] = []
    with forking() as forker:
        while left or open_:
            while left and len(open_) < SLOTS:
                open_.append(start(forker, folder)[1])
                left -= 1
            ready = select.select(open_, [], [], LIMIT_S)[0]
            if not ready:
                raise RuntimeError(f"no monitor said anything for {LIMIT_S:g} s")
            for owner in ready:
                if owner.lines() is None:
                    owner.close()
                    open_.remove(owner)
    took_s = time.perf_counter() - began_s
    passed = sum(isinstance(event, AttemptExited) and event.end.passed for _, event in read(folder))
    if passed != jobs:
        raise RuntimeError(f"{passed} of {jobs} exits are in the log")
    return took_s


def _in_folder(way: Callable[[str, int], float], jobs: int) -> float:
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        return way(folder, jobs)


def _call(folder: str, *argv: str, **env: str) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(argv, stdin=quiet, stdout=quiet, stderr=quiet, cwd=folder, env={**os.environ, **env}, check=True, timeout=EACH_LIMIT_S)


def _nq(folder: str, jobs: int) -> float:
    """It has one slot a queue, so two queues."""
    queues = [os.path.join(folder, str(number)) for number in range(SLOTS)]
    for queue in queues:
        os.mkdir(queue)
    began_s = time.perf_counter()
    for number in range(jobs):
        _call(folder, "nq", NO_OP, NQDIR=queues[number % SLOTS])
    for queue in queues:
        _call(folder, "nq", "-w", NQDIR=queue)
    return time.perf_counter() - began_s


def _parallel(folder: str, jobs: int) -> float:
    began_s = time.perf_counter()
    _call(folder, "parallel", "-N0", f"-j{SLOTS}", NO_OP, ":::", *map(str, range(jobs)), HOME=folder)
    return time.perf_counter() - began_s


def _huey(folder: str, jobs: int) -> float:
    Path(folder, "tasks.py").write_text(HUEY_TASKS, encoding="utf-8")
    consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "tasks.huey", "-w", str(SLOTS), "-k", "thread", "-d", "0.005", "-m", "0.01"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(consumer, cwd=folder, env={**os.environ, "PYTHONPATH": folder}, stdout=quiet, stderr=quiet)
    try:
        _call(folder, sys.executable, "-c", HUEY_FILL, "1", PYTHONPATH=folder)  # until it is up
        began_s = time.perf_counter()
        _call(folder, sys.executable, "-c", HUEY_FILL, str(jobs), PYTHONPATH=folder)
        return time.perf_counter() - began_s
    finally:
        process.terminate()
        process.wait()


def _task_spooler(folder: str, jobs: int) -> float:
    env = {"TS_SOCKET": os.path.join(folder, "s"), "TMPDIR": folder, "TS_SLOTS": str(SLOTS), "TS_MAXFINISHED": "10"}
    try:
        began_s = time.perf_counter()
        for _ in range(jobs):
            _call(folder, "tsp", "-n", NO_OP, **env)
        _call(folder, "tsp", "-N", str(SLOTS), "-nf", NO_OP, **env)  # takes every slot, so it runs when all else is over
        return time.perf_counter() - began_s
    finally:
        _call(folder, "tsp", "-K", **env)
