"""Hook and shim in a project of 10,000 files while eight workers are busy: many times as many as the scheduler lets run on two cores.

The workers are as a supervisor starts them. What the machine cannot give is in the yardsticks as well: a bare start of Python and the
scan are taken in turn, beside the same workers.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence

from bench import Figure, Pair, in_turn, timed
from bench.bench_beside import busy
from bench.bench_launch import forking
from bench.ground import Ground, open_ground
from stretto import install
from stretto.tree import RACY_NS, Scanner

FILES, WORKERS = 10_000, 8
RUNS = 60
HOOK_TARGET_MS = 40.0
MISS_TARGET_MS = 25.0


def run(runs: int = RUNS, files: int = FILES, workers: int = WORKERS) -> list[Figure]:
    """Return the 95th percentile of a hook's time, and what a shim that does not join costs beyond the scan."""
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder, open_ground(files=files) as ground:
        time.sleep(RACY_NS / 1e9 * 2)  # files written a moment ago are compared by content: no usual project has 10,000 of these
        with forking() as forker, busy(forker, folder, workers):
            return [_hook(ground, runs, workers), _miss(ground, runs, workers)]


def _hook(ground: Ground, runs: int, workers: int) -> Figure:
    hook = ground.hooks["PreToolUse"]
    body = ground.body("PreToolUse", tool_name="Bash", tool_use_id="toolu_1", tool_input={"command": "ls -l", "description": "list"})
    env, cwd, sink = ground.hook_environment(), str(ground.project), str(ground.folder / "sink")
    nothing = [install.wiring("").python, "-I", "-S", "-c", "pass"]
    pair = in_turn(
        lambda: timed(hook, stdin=body, stdout=sink, cwd=cwd, env=env),
        lambda: timed(nothing, stdin=os.devnull, stdout=sink, cwd=cwd, env=env),
        runs,
    )
    against = f"`python -I -S -c pass` beside the same workers: p95 {_p95_ms(pair.b_s):.1f} ms, {_p95_ms(pair.a_s) / _p95_ms(pair.b_s):.2f}"
    against += f" times it; medians {pair.spread()}"
    name = f"hook, 95th percentile, {len(_files(ground))} files, {workers} busy workers"
    return Figure(name=name, value=_p95_ms(pair.a_s), unit="ms", target=HOOK_TARGET_MS, against=against)


def _miss(ground: Ground, runs: int, workers: int) -> Figure:
    touched = next(iter(_files(ground)))
    line = ground.env_file.read_text(encoding="utf-8")
    count, scans_s = 0, []
    scanner = Scanner(str(ground.project))
    scanner.scan()

    def call(env_line: str) -> float:
        nonlocal count
        count += 1
        with open(touched, "w", encoding="utf-8") as file:
            file.write(f"VALUE = {count}\n")
        scans_s.append(scanner.scan().took_ms / 1000)
        return timed(
            ground.bash("ruff check src", env_line),
            stdin=os.devnull,
            stdout=str(ground.folder / "sink"),
            cwd=str(ground.project),
            env=ground.environment(),
        )

    pair: Pair = in_turn(lambda: call(line), lambda: call(":"), runs)
    scan_ms = statistics.median(scans_s) * 1000
    return Figure(
        name=f"Bash call, shim that does not join, less one scan; {len(_files(ground))} files, {workers} busy workers",
        value=pair.more_ms - scan_ms,
        unit="ms more",
        target=MISS_TARGET_MS,
        against=f"{pair.more_ms:.1f} ms more in all, a scan is {scan_ms:.1f} ms; {pair.spread()}",
    )


def _files(ground: Ground) -> list[str]:
    return sorted(str(path) for path in (ground.project / "src").rglob("*.py"))


def _p95_ms(times_s: Sequence[float]) -> float:
    return float(statistics.quantiles(times_s, n=20)[-1] * 1000)
