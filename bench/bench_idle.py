"""What the supervisor and a monitor hold of memory and take of the processor while nothing happens, against a Python that sleeps."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import Figure
from bench.bench_launch import forking, start, wait
from bench.ground import open_ground
from stretto.executors import local
from stretto.fold import fold
from stretto.journal import read
from stretto.system import LINUX, Process, boot_id

WINDOW_S, SETTLE_S = 10.0, 2.0
SUPERVISOR_MB, MONITOR_MB = 45.0, 12.0
SUPERVISOR_PERCENT, MONITOR_PERCENT = 0.5, 0.3
SLEEP = "import time; time.sleep(600)"


def run(window_s: float = WINDOW_S) -> list[Figure]:
    """Return memory (Pss; RSS beside it) and processor time of both over a window in which nothing is asked."""
    if not LINUX:
        return [Figure(name="idle memory and processor time", value=0, unit="MB", target=0, missing="reads /proc, which only Linux has")]
    with open_ground() as ground, tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder, forking() as forker:
        (log,) = (ground.folder / "state").glob("projects/*/events.jsonl")
        supervisor = fold(read(str(log.parent))).supervisor
        if supervisor is None:
            raise RuntimeError("no supervisor is in the log")
        _, owner = start(forker, folder, "/bin/sleep", "600")
        monitor, began = wait(owner, "started").split()[1:]
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        bare = [subprocess.Popen([python, *options, "-c", SLEEP]) for options in (["-I", "-S"], [])]
        try:
            pids = [supervisor.pid, int(monitor), *(process.pid for process in bare)]
            time.sleep(SETTLE_S)
            before = [_cpu_s(pid) for pid in pids]
            time.sleep(window_s)
            cpu = [(_cpu_s(pid) - then) / window_s * 100 for pid, then in zip(pids, before, strict=True)]
            memory = [_memory_mb(pid) for pid in pids]
        finally:
            for process in bare:
                process.terminate()
                process.wait()
            local.cancel(Process(int(monitor), began, boot_id()))
            wait(owner, "exited")
            owner.close()
    figures = []
    targets = (("supervisor", SUPERVISOR_MB, SUPERVISOR_PERCENT), ("monitor", MONITOR_MB, MONITOR_PERCENT))
    for number, (name, limit_mb, limit_percent) in enumerate(targets):
        pss, rss = memory[number]
        against = f"RSS {rss:.1f} MB; `python -I -S` that sleeps: {_both(memory[2])}; `python`: {_both(memory[3])}"
        figures.append(Figure(name=f"memory of an idle {name} (Pss)", value=pss, unit="MB", target=limit_mb, against=against))
        against = f"over {window_s:g} s; sleeping `python`: {cpu[3]:.2f} %"
        figures.append(Figure(name=f"processor time of an idle {name}", value=cpu[number], unit="%", target=limit_percent, against=against))
    return figures


def _both(memory: tuple[float, float]) -> str:
    return f"Pss {memory[0]:.1f}, RSS {memory[1]:.1f} MB"


def _cpu_s(pid: int) -> float:
    """Return the processor time of all threads; the kernel counts it in nanoseconds there, and in ticks of 10 ms in `stat`."""
    return sum(
        int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        for task in os.listdir(f"/proc/{pid}/task")
    )


def _memory_mb(pid: int) -> tuple[float, float]:
    """Return Pss and Rss, in units of 1,000,000 bytes."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            name, *rest = line.split()
            if name in ("Pss:", "Rss:"):
                found[name] = int(rest[0]) * 1024 / 1e6
    return found["Pss:"], found["Rss:"]
