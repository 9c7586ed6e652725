"""What was measured of a session, and what follows from it. Pure: no clock, no files, no processes.

Promises: times are seconds since the session's process was started; `critical_path_s` and `compare` use nothing but the records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["check", "write", "look"]
Way = Literal["replay", "attach", "ran"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One command of a Bash call as its shim saw it."""

    command: str
    at_s: float
    way: Way
    reason: str
    took_s: float | None
    """What the run itself took, the one that was joined or the one begun; None when it is not known."""
    attempt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One turn: the model thinks from `asked_s` to `sent_s`, the session works for it from `sent_s` to `returned_s`."""

    kind: Kind
    label: str
    command: str
    """The text of the Bash call, "" for other tools."""
    asked_s: float
    sent_s: float
    returned_s: float
    outputs: tuple[str, ...] = ()
    """What the model got back, one text a call."""
    parts: tuple[Part, ...] = ()

    @property
    def think_s(self) -> float:
        return self.sent_s - self.asked_s

    @property
    def waited_s(self) -> float:
        return self.returned_s - self.sent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """One run ahead of the session."""

    attempt: str
    command: str
    began_s: float
    ended_s: float
    how: Literal["passed", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One whole session."""

    name: str
    wall_s: float
    """From the start of the process to its end."""
    steps: tuple[Step, ...]
    ahead: tuple[Ahead, ...] = ()
    told: tuple[tuple[float, str], ...] = ()
    """News the session was told, and when."""

    @property
    def checks(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.kind == "check")

    @property
    def waited_s(self) -> float:
        """Return the time waited for checks."""
        return sum(step.waited_s for step in self.checks)


def critical_path_s(session: Session) -> float:
    """Return how long a session would take if every check had been started at the last write before it.

    This is the least that running ahead can reach with these commands and this model. The session is walked through again with the
    times measured in it, a clock `t`, and `w`, the time of the last write:

        thinking:   t += think                       as measured
        a check:    t  = max(t, w + waited)          it was begun at `w`, and takes what the session waited for it when it ran for real
        the rest:   t += waited                      and for a write w = t

    A check before the first write may have begun with the session (w = 0). Checks are taken to not slow each other down. What the
    process needs beside its turns (start, end) is added as measured.

    Args:
        session: one in which every check really ran, so `waited` is what the check takes.
    """
    clock_s = write_s = 0.0
    for step in session.steps:
        clock_s += step.think_s
        if step.kind == "check":
            clock_s = max(clock_s, write_s + step.waited_s)
        else:
            clock_s += step.waited_s
        if step.kind == "write":
            write_s = clock_s
    return clock_s + session.wall_s - sum(step.returned_s - step.asked_s for step in session.steps)


Sameness = Literal["identical", "identical but for durations", "different"]

_DURATION = re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?(?:ms|s|sec|seconds)\b(?: \(\d+:\d\d:\d\d\))?")

_TIME_OF_DAY = re.compile(r"(?<![\w:.])\d\d:\d\d:\d\d(?![\w:.])")


def compare(without: Sequence[str], with_it: Sequence[str]) -> Sameness:
    """Say whether the model got the same texts.

    Two real runs of one command differ in the durations and times of day they print ("26926 passed in 15.02s", "Start at 12:01:30");
    these are left out of the second look, and only these. A replay itself is byte-exact: what differs is that the two sessions each ran
    their own first one.
    """
    if tuple(without) == tuple(with_it):
        return "identical"
    if list(map(_timeless, without)) == list(map(_timeless, with_it)):
        return "identical but for durations"
    return "different"


def _timeless(text: str) -> str:
    return _TIME_OF_DAY.sub("#:#", _DURATION.sub("#s", text))
