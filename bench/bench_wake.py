"""From a worker's block to the request by which an idle session asks its model about it, on the real Claude Code in a terminal.

`python -m bench.bench_wake [--json FILE]`. Idle and busy: then twice as many endless loops as there are cores run beside it. A process of
its own, since it closes its network; the model is scripted and answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import Figure
from bench.bench_attach import load
from stretto import control, trust, worker
from stretto.demo import run as demo
from stretto.model import GateDecided
from stretto.testing.api import ScriptedApi, Turn
from stretto.testing.claude import Home
from stretto.testing.netns import isolate
from stretto.testing.terminal import Interactive

RUNS = 20
TARGET_S = 1.0
LIMIT_S = 60.0
ANSWERS = 1000
"""More than any run asks for."""
REST_S = 1.5
"""Between two blocks: the host starts its watcher anew at the end of each turn."""


def run() -> list[Figure]:
    """Return both figures; in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "bench.bench_wake", "--json", str(found)]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        return [Figure(**row) for row in json.loads(found.read_text(encoding="utf-8"))]


def measure(runs: int = RUNS) -> list[Figure]:
    """Play one session in a terminal, and raise so many blocks while it is idle, twice."""
    demo.check_machine()
    folder = Path(tempfile.mkdtemp(prefix="stretto-bench-")).resolve()
    try:
        project, state = folder / "project", folder / "state"
        project.mkdir()
        (project / "README").write_text("a project\n", encoding="utf-8")
        os.environ["STRETTO_STATE_DIR"] = str(state)
        quiet = {"HOME": str(folder), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "STRETTO_STATE_DIR": str(state)}
        subprocess.run(["git", "init", "-q"], cwd=project, env=quiet, check=True)
        subprocess.run([sys.executable, "-m", "stretto", "init", "--yes"], cwd=project, env=quiet, stdout=subprocess.DEVNULL, check=True)
        paths = trust.ProjectPaths(base=str(state), key=trust.project_key(str(project)))
        isolate()
        with ExitStack() as stack:
            stack.callback(control.stop, paths)
            api = stack.enter_context(ScriptedApi([Turn(text=f"answer {number}") for number in range(ANSWERS)]))
            terminal = stack.enter_context(Interactive(api=api, project=project, home=Home(folder / "home"), permission_mode=None))
            terminal.wait_for("❯", LIMIT_S)
            terminal.send("please go on")
            _rests(terminal, paths, 1)
            idle_s = [_woken_after_s(api, terminal, paths, project) for _ in range(runs)]
            with load():
                busy_s = [_woken_after_s(api, terminal, paths, project) for _ in range(runs)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [_figure("an idle session is woken by a block", idle_s), _figure("the same, every core busy twice over", busy_s)]


def _woken_after_s(api: ScriptedApi, terminal: Interactive, paths: trust.ProjectPaths, project: Path) -> float:
    before, ends = len(api.main_requests()), _ends(paths)
    began_s = time.monotonic()
    block = worker.block(f"reason {before}", project=str(project))
    terminal.wait_for(lambda _: len(api.main_requests()) > before, LIMIT_S)
    took_s = api.main_requests()[before].arrived_s - began_s
    worker.clear(block, project=str(project))
    _rests(terminal, paths, ends + 1)
    return took_s


def _ends(paths: trust.ProjectPaths) -> int:
    return sum(isinstance(event, GateDecided) and event.on == "Stop" for event in control.fold_log(paths).steering.decisions)


def _rests(terminal: Interactive, paths: trust.ProjectPaths, ends: int) -> None:
    """Wait until the turn is over and the host had time to start its watcher."""
    terminal.wait_for(lambda _: _ends(paths) >= ends, LIMIT_S)
    over_s = time.monotonic() + REST_S
    terminal.wait_for(lambda _: time.monotonic() >= over_s, LIMIT_S)


def _figure(name: str, times_s: list[float]) -> Figure:
    p95_s = statistics.quantiles(times_s, n=20)[-1]
    against = f"from the call of worker.block to the request; median {statistics.median(times_s):.2f} s, {len(times_s)} times"
    return Figure(name=f"{name}, 95th percentile", value=p95_s, unit="s", target=TARGET_S, against=against)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.bench_wake", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    parser.add_argument("--runs", type=int, default=RUNS)
    chosen = parser.parse_args()
    figures = measure(chosen.runs)
    for figure in figures:
        print(f"{figure.name}: {figure.value:.2f} {figure.unit} [{figure.against}]")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")


if __name__ == "__main__":
    main()
