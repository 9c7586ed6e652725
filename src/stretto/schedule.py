"""What the supervisor should do next: `plan(view) -> actions`. Pure; performs nothing.

Who comes first: the sessions' own foreground runs, then jobs that were asked for (by priority, then in the order they were asked), then
ahead runs. Promises: a foreground run is never ended, nor an ahead run that somebody waits for, nor a requested job for another one; an
ahead run beside which there is no core left for the sessions is held back, the least wanted first, and goes on as soon as there is; an
ahead run whose tree has moved is ended, and the next one of the same command starts when that has ended; nothing starts ahead while
anything runs whose effects are unknown; of two test suites, which may share a port, a database or a directory, never both run ahead in
one checkout, and one that runs ahead makes way for one that the session runs; a requested job starts only after everything it waits for
has passed, and one whose dependency came to anything else is dropped with the reason; whenever a place is free, the memory is enough and
the machine is not overloaded, the first ready job starts.

A job that does not fit into memory lets smaller ones pass: a place is not kept empty for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stretto.model import AttemptId, JobKey, Record

LEAST_FREE_BYTES = 2 * 1024**3
"""Below this much available memory nothing is started ahead."""
RESERVE_BYTES = 512 * 1024**2
"""What requested jobs leave of the available memory, all of them together."""
DEFAULT_MEMORY_BYTES = 512 * 1024**2
"""What a requested job is taken to need when it does not say."""
OVERLOADED = 8.0
"""Runnable tasks a core from which on nothing starts beside what runs. The load average lags by a minute, and a full set of workers is no
overload: the places bound those; this only catches what others do to the machine."""


MOVED = "the tree moved on"
"""Why a run ahead is ended that was overtaken."""
HELD_LONGEST_S = 120.0
"""An ahead run that was held back for so long is ended: what it holds in memory, and its place, are of more use to others."""


class AheadRun(Record, frozen=True, kw_only=True):
    attempt: AttemptId
    job: JobKey
    moved: bool
    """The tree is no longer what it was when this run began: its result can never be used by a new question."""
    read: bool
    """Somebody waits for it."""
    held: bool = False
    """It is held back now."""
    held_s: float = 0.0
    """For how long it was held back, all in all."""
    doubled: bool = False
    """A session runs the same command itself, because it cannot wait for this one."""


class Asked(Record, frozen=True, kw_only=True):
    """A requested job that has not begun, or waits for its next try."""

    job: JobKey
    after: tuple[JobKey, ...] = ()
    """What it waits for and has not passed yet."""
    priority: int = 0
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    due: bool = True
    """The pause before its next try is over."""
    held: str = ""
    """Why it has not begun, as was said last."""


class View(Record, frozen=True, kw_only=True):
    """All the planner may know."""

    desired: Sequence[JobKey]
    """Commands to run on the tree as it is, most wanted first; those with a usable result are not among them."""
    running: Sequence[AheadRun]
    foreground: int
    """Commands the sessions are running themselves."""
    slots: int
    """How many checks and jobs may run at once on this machine, foreground ones counted."""
    ahead_slots: int
    """How many of them may run ahead; 0: none."""
    held: str
    """Why nothing may run ahead now, "" when it may."""
    settling: bool
    """Files were written a moment ago; wait for the burst to end."""
    free_bytes: int
    load_per_core: float = 0.0
    """Runnable tasks a core, over the last minute."""
    used_up: bool = False
    """No processor has time left; while runs ahead of ours are among those that use it, the places bound them."""
    suites: frozenset[JobKey] = frozenset()
    """Which commands are test suites: they may share a port or a database, so they take turns in one checkout."""
    together: bool = False
    """Suites need not take turns here."""
    suite_foreground: bool = False
    """A session runs a suite itself."""
    suite_stopping: bool = False
    """An ahead run of a suite was told to stop and has not ended yet."""
    asked: Sequence[Asked] = ()
    """In the order in which they were asked for."""
    asked_running: int = 0
    """Requested jobs that run."""
    broken: Mapping[JobKey, str] = {}
    """Requested jobs that will never pass, and what became of them."""
    promised_bytes: int = 0
    """What the requested jobs that run on this machine may still come to need, beyond what they use already."""


class Start(Record, frozen=True, kw_only=True):
    """Run a command ahead."""

    job: JobKey
    why: str


class Stop(Record, frozen=True, kw_only=True):
    """End an ahead run."""

    attempt: AttemptId
    why: str


class Pause(Record, frozen=True, kw_only=True):
    """Hold an ahead run back."""

    attempt: AttemptId


class Resume(Record, frozen=True, kw_only=True):
    """Let an ahead run go on."""

    attempt: AttemptId


class Begin(Record, frozen=True, kw_only=True):
    """Start a requested job."""

    job: JobKey


class Hold(Record, frozen=True, kw_only=True):
    """Leave a requested job that is ready where it is, for another reason than before."""

    job: JobKey
    why: str


class Drop(Record, frozen=True, kw_only=True):
    """Cancel a requested job that can never start."""

    job: JobKey
    why: str


Action = Start | Stop | Pause | Resume | Begin | Hold | Drop


def plan(view: View) -> list[Action]:
    """Return what to do, in this order; at most one action for each command, each run and each requested job."""
    actions: list[Action] = []
    loose = [run for run in view.running if not run.read]
    kept = []
    for run in loose:
        if why := _end_of(view, run):
            actions.append(Stop(attempt=run.attempt, why=why))
        else:
            kept.append(run)
    wanted = {job: rank for rank, job in enumerate(view.desired)}
    kept.sort(key=lambda run: wanted.get(run.job, len(wanted)))  # the least wanted is last, and goes first
    stopped = len(loose) - len(kept)
    fixed = view.foreground + view.asked_running + len(view.running) - len(loose)

    drops, ready = _sorted_out(view)
    actions += drops
    begun, room, promised_bytes = 0, stopped, view.promised_bytes
    for asked in ready:
        if why := _obstacle(view, asked, fixed + begun, promised_bytes):
            pass
        elif fixed + begun + len(kept) + stopped >= view.slots:
            # What is stopped still holds its processor until its monitor says so: the job begins at the next look.
            if room:
                room -= 1
            elif kept:
                actions.append(Stop(attempt=kept.pop().attempt, why="a job that was asked for needs the machine"))
                stopped += 1
            why = "a run ahead makes room for it"
        else:
            actions.append(Begin(job=asked.job))
            begun += 1
            promised_bytes += asked.memory_bytes
        if why and why != asked.held:
            actions.append(Hold(job=asked.job, why=why))
    awake = max(0, view.slots - fixed - begun)
    actions += [Resume(attempt=run.attempt) for run in kept[:awake] if run.held]
    actions += [Pause(attempt=run.attempt) for run in kept[awake:] if not run.held]
    if view.held or view.settling or view.free_bytes < LEAST_FREE_BYTES or view.load_per_core >= OVERLOADED:
        return actions
    if view.used_up and not view.running:
        return actions

    taken = {run.job for run in view.running}  # just stopped ones, too: two of one command spoil each other
    suite = view.suite_foreground or view.suite_stopping or any(run.job in view.suites for run in view.running)
    suite = suite and not view.together
    busy, ahead = fixed + begun + len(kept) + stopped, len(view.running)
    for job in view.desired:
        if busy >= view.slots or ahead >= view.ahead_slots:
            break
        if job not in taken and not (suite and job in view.suites):
            actions.append(Start(job=job, why="a source changed"))
            suite = (suite or job in view.suites) and not view.together
            busy += 1
            ahead += 1
    return actions


def _end_of(view: View, run: AheadRun) -> str:
    """Say why an ahead run that nobody waits for has to end, "" when it has not."""
    if view.held:
        return view.held
    if run.moved:
        return MOVED
    if run.doubled:
        return "the session runs this command itself"
    if view.suite_foreground and run.job in view.suites and not view.together:
        return "the session runs a suite itself"
    if run.held_s > HELD_LONGEST_S:
        return "the session needed the machine for too long"
    return ""


def _sorted_out(view: View) -> tuple[list[Drop], list[Asked]]:
    """Return the requested jobs that can never start, and those that wait for nobody, first one first."""
    broken = dict(view.broken)
    drops: list[Drop] = []
    ready: list[Asked] = []
    for asked in view.asked:  # what a job waits for was asked for earlier, so what is dropped here is known below
        if asked.after and (cause := next((job for job in asked.after if job in broken), None)):
            broken[asked.job] = "was cancelled"
            drops.append(Drop(job=asked.job, why=f"it waited for {cause[:8]}, which {broken[cause]}"))
        elif asked.due and not asked.after:
            ready.append(asked)
    return drops, sorted(ready, key=lambda asked: -asked.priority)


def _obstacle(view: View, asked: Asked, busy: int, promised_bytes: int) -> str:
    """Say what keeps a job from starting even if every ahead run gave way, "" when nothing does."""
    if busy >= view.slots:
        return "no place is free"
    if promised_bytes + asked.memory_bytes > view.free_bytes - RESERVE_BYTES:
        return "it does not fit into the memory that is free"
    if view.load_per_core >= OVERLOADED and busy:
        return "the machine is overloaded"
    return ""


def outliving(asked: Sequence[tuple[JobKey, tuple[JobKey, ...], bool]]) -> set[JobKey]:
    """Return the requested jobs that may go on after their session ended: those asked to, and what these wait for.

    Args:
        asked: id, what it waits for, and whether it was asked to, in the order in which they were asked for.
    """
    kept: set[JobKey] = set()
    for job, after, keep in reversed(asked):
        if keep or job in kept:
            kept |= {job, *after}
    return kept
