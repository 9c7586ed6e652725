"""The run-ahead policy on recorded session timelines. They are no part of this project: `traces/` beside a checkout, or STRETTO_TRACES."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bench import Figure

ROOT = Path(__file__).resolve().parent.parent
TRACES = "STRETTO_TRACES"
PARTS = re.compile(r"hidden ([\d.]+) % .*instant ([\d.]+) % .*idle work ([\d.]+) s per s")
LIMIT_S = 300.0


def run() -> list[Figure]:
    """Return the share of check time hidden, the share of checks answered at once, and the idle work per second hidden."""
    folder = Path(os.environ.get(TRACES) or ROOT.parent / "shared" / "traces")
    scorer = folder / "score.py"
    if not scorer.is_file():
        missing = f"no recorded sessions beside this checkout; {TRACES} can name the folder with score.py in it"
        return [Figure(name="policy on recorded sessions", value=0.0, unit="", target=0.0, missing=missing)]
    argv = [sys.executable, str(scorer), "--policy", "bench.ahead:Policy", "--slots", "2"]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    found = PARTS.search(said)
    if found is None:
        raise RuntimeError(f"the scorer said something else than before: {said[:200]!r}")
    hidden, at_once, idle = map(float, found.groups())
    against = "balanced, 2 at a time; two most frequent commands: 16.5 %, 28.8 %, 8.53 s"
    return [
        Figure(name="policy: check time hidden", value=hidden, unit="%", target=30.0, at_least=True, against=against),
        Figure(name="policy: checks answered at once", value=at_once, unit="%", target=42.0, at_least=True, against=against),
        Figure(name="policy: idle work", value=idle, unit="s per second hidden", target=6.0, against=against),
    ]
