"""Many jobs that do nothing, two at a time, through our executor, our supervisor, and the queues that are installed.

Ours owns each job with a process of its own (it survives everything above it, has limits, and leaves a record); what is compared is
what that costs. All ways are taken in turn, and nothing is removed before the end: ext4 is slow to make files for a minute after many
were removed. A queue that is not installed is said to be missing; none is needed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import Figure
from bench.bench_launch import LIMIT_S, NO_OP, forking, start
from bench.ground import open_ground
from stretto import control, snapshot, trust
from stretto.executors import local
from stretto.fold import Passed
from stretto.journal import read
from stretto.model import AttemptExited

JOBS = 500
SLOTS = 2
ROUNDS = 3
EACH_LIMIT_S = 60.0
LOOK_S = 0.02
HUEY_TASKS = f"""
import subprocess
from huey import SqliteHuey
huey = SqliteHuey(filename="huey.db")
@huey.task()
def job():
    return subprocess.run(["{NO_OP}"], check=True).args
"""
HUEY_FILL = "import sys, tasks\nfor result in [tasks.job() for _ in range(int(sys.argv[1]))]: result.get(blocking=True, max_delay=0.02)"


def run(jobs: int = JOBS, rounds: int = ROUNDS) -> list[Figure]:
    """Return our time as a multiple of each queue's: of the executor alone, and of asking a supervisor and waiting for all."""
    others: list[tuple[str, bool, Callable[[str, int], float], float]] = [
        ("nq", bool(shutil.which("nq")), _nq, 1.0),
        ("GNU parallel", bool(shutil.which("parallel")), _parallel, 1.0),
        ("huey", importlib.util.find_spec("huey") is not None, _huey, 1.0),
        ("task-spooler", bool(shutil.which("tsp")), _task_spooler, 1.5),
    ]
    ways = {"ours": ours} | {name: way for name, installed, way, _ in others if installed}
    taken_s: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        for number in range(rounds):
            for name, way in ways.items():
                place = Path(folder, f"{number}-{name}")
                place.mkdir()
                taken_s[name].append(way(str(place), jobs))
        taken_s["supervisor"] = [supervised(jobs)]  # once: it clears away after itself
    median = {name: statistics.median(times) for name, times in taken_s.items()}
    figures = []
    for way, what in (("ours", "ours"), ("supervisor", "ours through a supervisor")):
        for name, installed, _, target in others:
            title = f"{jobs} no-op jobs in {SLOTS} slots, {what} against {name}"
            if not installed:
                figures.append(Figure(name=title, value=0, unit="times the time", target=target, missing="not installed"))
                continue
            against = (
                f"{_rate(jobs, taken_s[way])} against {_rate(jobs, taken_s[name])} jobs a second, {len(taken_s[way])} and {rounds} rounds"
            )
            figures.append(Figure(name=title, value=median[way] / median[name], unit="times the time", target=target, against=against))
    return figures


def _rate(jobs: int, taken_s: list[float]) -> str:
    low, high = jobs / max(taken_s), jobs / min(taken_s)
    return f"{jobs / statistics.median(taken_s):.0f} ({low:.0f}-{high:.0f})"


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
                said = owner.lines()
                if said is None or "exited" in said:
                    owner.close()
                    open_.remove(owner)
    took_s = time.perf_counter() - began_s
    passed = sum(isinstance(event, AttemptExited) and event.end.passed for _, event in read(folder))
    if passed != jobs:
        raise RuntimeError(f"{passed} of {jobs} exits are in the log")
    return took_s


def supervised(jobs: int) -> float:
    """Ask a supervisor for the jobs, one after the other, and wait until all are over; return the seconds.

    It has as many places as the machine has cores, so on another machine than one with two the comparison is not fair.

    Raises:
        RuntimeError: a job was refused, or not all have passed in `EACH_LIMIT_S`.
    """
    with open_ground() as ground:
        base = ground.folder / "state"
        (place,) = (base / "projects").iterdir()
        project = trust.load(str(base), place.name)
        if project is None:
            raise RuntimeError("there is no project")
        began_s = time.perf_counter()
        for _ in range(jobs):
            if (answer := control.ask(project.paths, _request(str(ground.project)), LIMIT_S))["ok"] != b"1":
                raise RuntimeError(str(answer))
        passed = 0
        while passed < jobs and time.perf_counter() - began_s < EACH_LIMIT_S:
            time.sleep(LOOK_S)
            state, _ = snapshot.load(project.paths.folder)
            passed = sum(isinstance(request.phase, Passed) for request in state.requests.values())
        took_s = time.perf_counter() - began_s
    if passed < jobs:
        raise RuntimeError(f"{passed} of {jobs} jobs passed")
    return took_s


def _request(cwd: str) -> dict[str, bytes]:
    words = {
        "op": "request",
        "exe": NO_OP,
        "argv": NO_OP,
        "env": "PATH=/usr/bin:/bin",
        "cwd": cwd,
        "umask": "22",
        "after": "",
        "session": "",
    }
    more = {"job": secrets.token_hex(16), "priority": "0", "memory_bytes": "1000000", "retries": "0", "keep": "1"}
    return {name: os.fsencode(value) for name, value in (words | more).items()}


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
