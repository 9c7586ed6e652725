"""`python -m bench [--json FILE] [--no-session]`: every figure with its target, met or missed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import (
    Figure,
    bench_ahead,
    bench_attach,
    bench_beside,
    bench_crowd,
    bench_hook,
    bench_idle,
    bench_jobs,
    bench_journal,
    bench_launch,
    bench_session,
    bench_shim,
    bench_tree,
    bench_wake,
)


def main() -> None:
    """Measure, print, and write the file asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    parser.add_argument("--no-session", action="store_true", help="leave out whole sessions, which take minutes")
    chosen = parser.parse_args()
    parts: list[Callable[[], Sequence[Figure]]] = [
        bench_hook.run,
        bench_hook.run_known,
        bench_shim.run,
        bench_tree.run,
        bench_journal.run,
        bench_launch.run,
        bench_jobs.run,
        bench_idle.run,
        bench_ahead.run,
        bench_attach.run,
        bench_beside.run,
        bench_crowd.run,
    ]
    if not chosen.no_session:
        parts += [bench_wake.run, bench_session.run_quick_project, bench_session.run_session]
    figures: list[Figure] = []
    for part in parts:
        for figure in part():
            figures.append(figure)
            print(_line(figure), flush=True)
    if chosen.json:
        rows = [{**asdict(figure), "met": figure.met} for figure in figures]
        chosen.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


def _line(figure: Figure) -> str:
    if figure.missing:
        return f"       {figure.name}: {figure.missing}"
    bound = "at least" if figure.at_least else "at most"
    verdict = "met" if figure.met else "MISSED"
    return f"{verdict:6} {figure.name}: {figure.value:.2f} {figure.unit} (target: {bound} {figure.target:g}) [{figure.against}]"


if __name__ == "__main__":
    main()
