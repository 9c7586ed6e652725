"""What the supervisor should do next: `plan(view) -> actions`. Pure; performs nothing.

Promises: a foreground run is never stopped, nor an ahead run that somebody waits for; an ahead run whose tree has moved is stopped
before another one of the same command starts; nothing starts while anything runs whose effects are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from stretto.model import AttemptId, JobKey, Record

LEAST_FREE_BYTES = 2 * 1024**3
"""Below this much available memory nothing is started ahead."""


class AheadRun(Record, frozen=True, kw_only=True):
    attempt: AttemptId
    job: JobKey
    moved: bool
    """The tree is no longer what it was when this run began: its result can never be used by a new question."""
    read: bool
    """Somebody waits for it."""


class View(Record, frozen=True, kw_only=True):
    """All the planner may know."""

    desired: Sequence[JobKey]
    """Commands to run on the tree as it is, most wanted first; those with a usable result are not among them."""
    running: Sequence[AheadRun]
    foreground: int
    """Commands the sessions are running themselves."""
    slots: int
    """How many checks may run at once on this machine, foreground ones counted."""
    ahead_slots: int
    """How many of them may run ahead; 0: none."""
    held: str
    """Why nothing may run ahead now, "" when it may."""
    settling: bool
    """Files were written a moment ago; wait for the burst to end."""
    free_bytes: int


class Start(Record, frozen=True, kw_only=True):
    job: JobKey
    why: str


class Stop(Record, frozen=True, kw_only=True):
    attempt: AttemptId
    why: str


Action = Start | Stop


def plan(view: View) -> list[Action]:
    """Return what to do, in this order; at most one action for each command."""
    actions: list[Action] = []
    stopped: set[AttemptId] = set()

    def stop(run: AheadRun, why: str) -> None:
        actions.append(Stop(attempt=run.attempt, why=why))
        stopped.add(run.attempt)

    loose = [run for run in view.running if not run.read]
    for run in loose:
        if view.held:
            stop(run, view.held)
        elif run.moved:
            stop(run, "the tree moved on")
    kept = [run for run in loose if run.attempt not in stopped]
    busy = view.foreground + sum(run.read for run in view.running) + len(kept)
    wanted = {job: rank for rank, job in enumerate(view.desired)}
    for run in sorted(kept, key=lambda run: -wanted.get(run.job, len(wanted))):
        if busy <= view.slots:
            break
        stop(run, "the session needs the machine")
        busy -= 1
    if view.held or view.settling or view.free_bytes < LEAST_FREE_BYTES:
        return actions
    taken = {run.job for run in view.running if run.attempt not in stopped}
    # What was just stopped still holds its processor until its monitor says so: it starts again at the next look.
    busy += len(stopped)
    ahead = len(view.running)
    for job in view.desired:
        if busy >= view.slots or ahead >= view.ahead_slots:
            break
        if job not in taken:
            actions.append(Start(job=job, why="a source changed"))
            busy += 1
            ahead += 1
    return actions
