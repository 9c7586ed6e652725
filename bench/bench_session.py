"""The demo's session with Stretto against the same without it, and against its critical path."""

from __future__ import annotations

import sys

from bench import Figure
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
