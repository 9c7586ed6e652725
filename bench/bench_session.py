"""Whole sessions with Stretto: the demo's against its critical path, and the quick one of `bench.sessions` (all of them take most of an
hour and have their own command)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import Figure
from bench.sessions.projects import QUICK
from bench.sessions.report import LEAST_SPEED, PATH_LIMIT
from stretto.demo import project, run

SPEEDUP_TARGET = 1.6
CRITICAL_TARGET = 1.15


def run_session() -> list[Figure]:
    """Return the two figures; takes as long as the demo. Closes the network of this process, so it comes last."""
    run.check_machine()
    report = run.both(project.fetch(), say=lambda line: print(line, file=sys.stderr, flush=True))
    different = sum(same == "different" for same in report.same)
    if different:
        raise RuntimeError(f"{different} of {len(report.same)} turns gave another output with Stretto: a speed that does not count")
    against = f"{report.with_it.wall_s:.1f} s against {report.without.wall_s:.1f} s; critical path {report.critical_path_s:.1f} s"
    return [
        Figure(name="demo's session", value=report.speedup, unit="times as fast", target=SPEEDUP_TARGET, at_least=True, against=against),
        Figure(
            name="demo's session", value=report.over_critical_path, unit="times its critical path", target=CRITICAL_TARGET, against=against
        ),
    ]


def run_quick_project() -> list[Figure]:
    """Return two figures of each session with Stretto on the quick project; a process of its own, since it closes its network."""
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "bench.sessions", "--project", QUICK.title, "--way", "first", "--way", "second"]
        subprocess.run([*command, "--json", str(found)], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        (row,) = json.loads(found.read_text(encoding="utf-8"))
    figures = []
    plain_s = row["ways"]["plain"]["wall_s"]
    for way in ("first", "second"):
        mine = row["ways"][way]
        if "different" in mine["outputs"]:
            raise RuntimeError(f"the {way} session gave another output with Stretto: a speed that does not count")
        name = f"{QUICK.title}, a quick suite, {way} session"
        against = f"{mine['wall_s']:.1f} s against {plain_s:.1f} s; {mine['joined']} of {mine['asked']} joined"
        path = mine["wall_s"] / mine["started_path_s"]
        figures += [
            Figure(name=name, value=mine["speed"], unit="times as fast", target=LEAST_SPEED, at_least=True, against=against),
            Figure(name=name, value=path, unit="times the path of what was started in time", target=PATH_LIMIT, against=against),
        ]
    return figures
