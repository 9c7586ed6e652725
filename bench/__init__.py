"""What Stretto costs and what it saves, each figure measured against its own yardstick in one run, on a machine that need not be quiet.

Two ways of doing a thing are timed in turn, A B A B, and compared by their medians: whatever else the machine does meets both. Absolute
targets are stated in milliseconds and come with the yardstick, so that a slow machine shows.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python hands these on as ignored; a shell of Claude Code has them as usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure with its target."""

    name: str
    value: float
    unit: str
    target: float
    at_least: bool = False
    """The target is the least wanted, not the most allowed."""
    against: str = ""
    """What it was measured against, and the spread."""
    missing: str = ""
    """Why there is no figure; "" when there is one."""

    @property
    def met(self) -> bool:
        return not self.missing and (self.value >= self.target if self.at_least else self.value <= self.target)


@dataclass(frozen=True, slots=True)
class Pair:
    """Times in seconds of two ways of doing a thing, taken in turn."""

    a_s: Sequence[float]
    b_s: Sequence[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.a_s) / statistics.median(self.b_s)

    @property
    def more_ms(self) -> float:
        return (statistics.median(self.a_s) - statistics.median(self.b_s)) * 1000

    def spread(self) -> str:
        """Return both medians with their quartiles, in milliseconds."""
        return f"{_quartiles(self.a_s)} against {_quartiles(self.b_s)}, {len(self.a_s)} runs each"


def in_turn(a: Callable[[], float], b: Callable[[], float], runs: int, warm: int = 3) -> Pair:
    """Call both in turn; they return the seconds they took. The first `warm` rounds are not counted."""
    taken = [(a(), b()) for _ in range(warm + runs)][warm:]
    return Pair([first for first, _ in taken], [second for _, second in taken])


def timed(argv: Sequence[str], *, stdin: str, stdout: str, cwd: str, env: Mapping[str, str]) -> float:
    """Run a program to its end and return the seconds; the cheapest start there is, so that little else is measured.

    Args:
        stdin, stdout: paths; the output is appended, as Claude Code's Bash tool has it.

    Raises:
        RuntimeError: it did not exit with 0.
    """
    here = os.getcwd()
    os.chdir(cwd)
    try:
        actions = [
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _handed_down()),
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        began_s = time.perf_counter()
        pid = os.posix_spawn(argv[0], list(argv), dict(env), file_actions=actions, setsigdef=IGNORED_BY_PYTHON)
        _, status = os.waitpid(pid, 0)
        took_s = time.perf_counter() - began_s
    finally:
        os.chdir(here)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{argv[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return took_s


def _handed_down() -> list[int]:
    """Return the descriptors this process was given above 2: a program that sees one is no ordinary call to a shim."""
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            continue  # the listing's own
    return found


def _quartiles(times_s: Sequence[float]) -> str:
    low, middle, high = (value * 1000 for value in statistics.quantiles(times_s, n=4))
    return f"{middle:.1f} ms ({low:.1f}-{high:.1f})"
