"""What to run ahead: a pure policy, no clock, no randomness. What comes in is what the session asked for so far; what goes out is an
order of preference. `ineligible` says who may run at all; how much runs at once is decided after (`schedule.plan`)."""

from __future__ import annotations

from collections.abc import Iterable

from stretto.commands import Check
from stretto.fold import Job
from stretto.model import JobKey, Record

HALF_LIFE_S = 600.0
"""A command not asked for in ten minutes counts half. Sessions turn to something else at about that pace."""
LEAD_S = 10.0
"""No more of a run than this is usually hidden: the lead from the last write to the check is 6.9 s at the median and 15.8 s at the
third quartile (session timelines of one Go project, 2,515 checks)."""
WORTH_S = 0.15
"""A quicker command is not run ahead: joining it would save nothing that can be felt."""
KEPT = 4
"""How many commands are run ahead after a change, at most."""


class Candidate(Record, frozen=True, kw_only=True):
    """One command that may run ahead."""

    job: JobKey
    asked: int
    """How often the session asked for it."""
    asked_ago_s: float
    usual_s: float


def ineligible(job: Job, check: Check, *, idle_input: bool, allowed: bool, forbidden: bool, withheld: str) -> str:
    """Say why a command may not run ahead, "" when it may.

    Args:
        idle_input: its standard input was open and silent; a worker's is empty.
        allowed: stretto.toml lists it: it may although it writes products or connects.
        forbidden: stretto.toml says never.
        withheld: why the host cannot be taken to run it again without asking, "" when it can.
    """
    if forbidden:
        return "the rules say never"
    if idle_input:
        return "its standard input was not empty"
    if withheld or allowed:
        return withheld
    if not check.ahead:
        return "it builds, writes products, or may do more than check"
    if job.mutating:
        return "it was seen to write sources"
    if job.products:
        return "it was seen to write files"
    if job.leaves:
        return "it was seen to leave processes running"
    if job.remote:
        return "it was seen to connect to another machine"
    if job.reached:
        return f"it was seen to {job.reached}"
    if not job.clean:
        return "it was not seen to end cleanly yet"
    return ""


def desired(candidates: Iterable[Candidate]) -> list[JobKey]:
    """Return the commands to run after a change, most wanted first."""
    ranked = sorted(
        ((worth(candidate), candidate.job) for candidate in candidates if candidate.usual_s >= WORTH_S),
        key=lambda item: (-item[0], item[1]),
    )
    return [job for _, job in ranked[:KEPT]]


def worth(candidate: Candidate) -> float:
    """Return the seconds this run is expected to hide: how likely it is asked for, times what of it fits into the usual lead."""
    likely = candidate.asked / (candidate.asked + 1) * 0.5 ** (max(0.0, candidate.asked_ago_s) / HALF_LIFE_S)
    return float(likely * min(candidate.usual_s, LEAD_S))
