"""Says, after the fact, whether what a project's log tells can have happened one thing after the other (C-23).

`check` is pure: it takes the lines of a log, what callers of shims were given (`Delivery`), and when others changed the tree (`Edit`), and
returns every contradiction with the offsets of the lines concerned. It shares no rule with the product: not the fold, not `freshness`.
Command line: `python -m stretto.testing.history FOLDER [--json]`, where FOLDER is what `stretto path` prints.
It is one idea in one file: every rule is a pass over the same book, and one page has to say what they together prove.

What a join has to be equal to: a run of the same command at the moment of the ask. A run reads its files between its start and its end, so
an answer is that of a sequential execution exactly when all it read before the ask may as well have been read at the ask, that is, when no
edit lies between the start of the run and the ask. An edit is seen from outside as an interval, and may be placed anywhere in it, but only
once for all joins: one that lies wholly in what the joins together leave no room for has no place, and is reported. Each edit counts as a
tree never seen before, also one that puts things back; what was changed and put back between a run and the ask is no edit, and is to be
left out by who tells of edits.

Checked:
- the sequence is dense (a line begins where the one before ended), every line is one whole record, each writer's clock goes forward, each
  record comes from a writer who may write it, and no two supervisors write in turn;
- an attempt starts once, is spawned and exits at most once, is settled at most once and after its exit; no command has two ahead runs, no
  ahead run begins beside a foreground run on the same tree, no requested job runs twice at once, after its cancellation, or too early;
- a join names a run of the same command, known to this same supervisor, not asked for by `stretto run` nor beside such a job, with no
  epoch and no move of the tree in between that is not the run's own product; a replay is of the latest result, which ended by itself
  and is not torn, a failing one at most once; an attach is to a run that was not settled; its end is told after the run's, and is never
  told when the run was lost, cancelled or cut;
- bytes and exit that a caller got are those of the run that one of its possible questions names, no question used twice;
- news is a flip of what that session last saw, told once, about a result a replay would be right for.

Not checked, because no line tells it: that news is told at all (the log has no line for a batch that ended with nothing to say), the
age limit (a setting), an answer whose shim then had to run the command itself (there is no `join.done` then), what runs outside the log,
and moves of the tree beyond the five that `tree.moved` names, which count as explained when those five are.

Cost: one pass over the lines, plus O((joins + edits) log joins). A log whose oldest segments are gone is checked from where it begins; what
began before counts as unknown and not as wrong.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from stretto import journal
from stretto.model import (
    ArtifactMade,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptSpawned,
    AttemptStarted,
    Bad,
    BlockCleared,
    BlockRaised,
    End,
    EpochBegan,
    JobKey,
    JobSeen,
    JoinDecided,
    JoinDone,
    LogEvent,
    NewsTold,
    RequestCancelled,
    RequestLost,
    RequestMade,
    SessionClosed,
    SessionId,
    SupervisorStarted,
    TreeMoved,
    WorkerProgressed,
    WorkerSaid,
    lies_in,
)

LATE_S = 10.0
"""Those who are attached have an exit from the disk before its record is stamped: by a supervisor after a scan."""
REWRITTEN = " (index rewritten)"
"""So ends the path of a move that changed git's index file and no entry of it; after a run it means nothing."""
SAMPLE = 5
"""So many changed paths at most are in a `tree.moved`."""
VOICES = ("worker", "cli")
SAID_FROM_OUTSIDE = (BlockRaised, BlockCleared, WorkerSaid, WorkerProgressed, ArtifactMade)
"""What a worker or a person writes by themselves, so that it holds with the supervisor dead, too."""
PRODUCTS_TOLD = 50
"""So many products at most are in an `attempt.settled`."""


class Line(NamedTuple):
    """One line of the log."""

    begin: int
    after: int
    """Where the next one has to begin."""
    event: LogEvent | Bad


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody changed an input of the checks, at some moment between these two (seconds of the log's own clock)."""

    what: str
    began_mono_s: float
    ended_mono_s: float


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller of one shim got, as seen from outside, between these two (seconds of the log's own clock)."""

    argv: tuple[str, ...]
    began_mono_s: float
    ended_mono_s: float
    digest: str | None
    """`bundle.digest_of` of the bytes; None when they were not seen alone."""
    size_bytes: int
    code: int
    """As a shell tells it: 128 and the number for a death by signal."""
    ask: str = ""
    """The question it was, when that is known; else any of this command in that time may be it."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """A few fixed words: what tests and waivers name."""
    what: str
    offsets: tuple[int, ...]


class Run:
    """All lines about one attempt."""

    def __init__(self) -> None:
        self.started: list[tuple[int, AttemptStarted]] = []
        self.spawned: list[tuple[int, AttemptSpawned]] = []
        self.exited: list[tuple[int, AttemptExited]] = []
        self.settled: list[tuple[int, AttemptSettled]] = []

    @property
    def end(self) -> End | None:
        return self.exited[0][1].end if self.exited else None


class _Book:
    """The log, sorted by what its lines are about."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.partial = bool(lines) and lines[0].begin > 0
        self.events = [(line.begin, line.event) for line in lines if not isinstance(line.event, Bad)]
        self.runs: dict[AttemptId, Run] = defaultdict(Run)
        self.jobs: dict[JobKey, JobSeen] = {}
        self.epochs: list[int] = []
        self.moves: list[tuple[int, TreeMoved]] = []
        self.decided: dict[str, tuple[int, JoinDecided]] = {}
        self.done: dict[str, tuple[int, JoinDone]] = {}
        self.attempts_of: dict[JobKey, list[AttemptId]] = defaultdict(list)
        self.requested: dict[JobKey, RequestMade] = {}
        for offset, event in self.events:
            match event:
                case JobSeen():
                    self.jobs[event.job] = event
                case EpochBegan():
                    self.epochs.append(offset)
                case TreeMoved():
                    self.moves.append((offset, event))
                case AttemptStarted():
                    self.runs[event.attempt].started.append((offset, event))
                    self.attempts_of[event.job].append(event.attempt)
                case AttemptSpawned():
                    self.runs[event.attempt].spawned.append((offset, event))
                case AttemptExited():
                    self.runs[event.attempt].exited.append((offset, event))
                case AttemptSettled():
                    self.runs[event.attempt].settled.append((offset, event))
                case RequestMade():
                    self.requested[event.job] = event
                case JoinDecided():
                    self.decided.setdefault(event.ask, (offset, event))
                case JoinDone():
                    self.done.setdefault(event.ask, (offset, event))
                case _:
                    continue
        self._move_offsets = [offset for offset, _ in self.moves]

    def epoch_between(self, begin: int, end: int) -> int | None:
        at = bisect.bisect_right(self.epochs, begin)
        return self.epochs[at] if at < len(self.epochs) and self.epochs[at] < end else None

    def moves_between(self, begin: int, end: int) -> list[tuple[int, TreeMoved]]:
        return self.moves[bisect.bisect_right(self._move_offsets, begin) : bisect.bisect_left(self._move_offsets, end)]

    def is_own(self, job: JobKey, attempt: AttemptId | None, begin: int, paths: Iterable[str]) -> bool:
        """Say whether a command was seen before to write all of these, or the shell to put what a run of it printed into them."""
        before = [event for each in self.attempts_of[job] for at, event in self.runs[each].settled if at < begin]
        known = (
            {path for event in before for path in event.products} | {p for _, run in self.runs[attempt].settled for p in run.outputs}
            if attempt
            else set()
        )
        folders = {folder for event in before for folder in event.folders}
        return all(path in known or any(lies_in(path, folder) for folder in folders) for path in paths)


def check(lines: Iterable[Line], deliveries: Iterable[Delivery] = (), edits: Iterable[Edit] = ()) -> list[Violation]:
    """Return what cannot have been, in the order of the log; [] when all of it can.

    Args:
        lines: of one project's log, in order (`load`).
    """
    whole = list(lines)
    book = _Book(whole)
    found = [
        *_sequence(whole),
        *_writers(book),
        *_attempts(book),
        *_at_once(book),
        *_requests(book),
        *_joins(book),
        *_ends_of_joins(book),
        *_order_of_edits(book, edits),
        *_delivered(book, deliveries),
        *_news(book),
    ]
    return sorted(found, key=lambda violation: violation.offsets[:1])


def load(folder: str) -> list[Line]:
    """Read the log of a project, rotated segments included.

    Raises:
        OSError: it is there and cannot be read.
    """
    closed = journal.segments(folder)
    return [Line(begin, after, journal.parse(line)) for begin, after, line in journal.lines(folder, closed[0].begin if closed else 0)]


def _wrong(kind: str, what: str, *offsets: int) -> Violation:
    return Violation(kind=kind, what=what, offsets=offsets)


# --- the sequence and its writers -------------------------------------------------------------------------------------------


def _sequence(lines: Sequence[Line]) -> Iterator[Violation]:
    for line, following in itertools.pairwise(lines):
        if line.after != following.begin:
            yield _wrong("not dense", f"a line ends at {line.after} and the next begins at {following.begin}", line.begin, following.begin)
    for line in lines:
        if isinstance(line.event, Bad):
            yield _wrong("bad line", line.event.reason, line.begin)


def _writers(book: _Book) -> Iterator[Violation]:
    clocks: dict[tuple[str, str], tuple[int, float]] = {}
    supervisors: list[tuple[str, str]] = []
    for offset, event in book.events:
        writer = (event.boot, event.by)
        role = event.by.partition(":")[0]
        before = clocks.get(writer)
        if before is not None and event.mono < before[1]:
            yield _wrong("reordered", f"{event.by} wrote at {event.mono}, after it wrote at {before[1]}", before[0], offset)
        clocks[writer] = (offset, event.mono)
        if role == "supervisor":
            if writer not in supervisors:
                supervisors.append(writer)
            elif writer != supervisors[-1]:
                if isinstance(event, SupervisorStarted):  # the number came round: another process
                    supervisors.remove(writer)
                    supervisors.append(writer)
                else:
                    yield _wrong("two supervisors", f"{event.by} wrote after {supervisors[-1][1]} had begun to", offset)
        elif role in VOICES and isinstance(event, SAID_FROM_OUTSIDE):
            continue
        elif role != "monitor" or not isinstance(event, AttemptExited):
            yield _wrong("wrong writer", f"{event.by} wrote {_tag(event)}", offset)
        else:
            spawned = book.runs[event.attempt].spawned
            if spawned and spawned[0][1].pid != int(event.by.partition(":")[2] or 0):
                what = f"{event.by} wrote the exit of {event.attempt}, whose owner is {spawned[0][1].pid}"
                yield _wrong("wrong writer", what, spawned[0][0], offset)


# --- attempts ---------------------------------------------------------------------------------------------------------------


def _attempts(book: _Book) -> Iterator[Violation]:
    for attempt, run in book.runs.items():
        for kind, seen in (
            ("started twice", run.started),
            ("spawned twice", run.spawned),
            ("exited twice", run.exited),
            ("settled twice", run.settled),
        ):
            if len(seen) > 1:
                yield _wrong(kind, f"{attempt}: {len(seen)} times", *(offset for offset, _ in seen))
        later = [offset for seen in (run.spawned, run.exited, run.settled) for offset, _ in seen]
        if not run.started:
            if not book.partial:
                yield _wrong("never started", f"{attempt} is spoken of and never began", *later)
            continue
        first = run.started[0][0]
        if any(offset < first for offset in later):
            yield _wrong("before its start", f"{attempt} is spoken of before it began", first, *later)
        if run.settled and (not run.exited or run.exited[0][0] > run.settled[0][0]):
            yield _wrong("settled before its exit", f"{attempt}", run.settled[0][0])
        if run.spawned and run.settled and run.settled[0][0] < run.spawned[0][0]:
            yield _wrong("spawned after its end", f"{attempt}", run.settled[0][0], run.spawned[0][0])
        if run.exited and run.started[0][1].boot == run.exited[0][1].boot and run.exited[0][1].mono < run.started[0][1].mono:
            yield _wrong("before its start", f"{attempt} exited before it began, by the clock", first, run.exited[0][0])


def _at_once(book: _Book) -> Iterator[Violation]:
    """Nothing runs twice at once where one run would have done."""
    under_way: dict[JobKey, dict[AttemptId, tuple[int, AttemptStarted]]] = defaultdict(dict)
    for offset, event in book.events:
        match event:
            case AttemptStarted():
                for other_offset, other in under_way[event.job].values():
                    same_tree = other.by == event.by and other.generation == event.generation and not _changed(book, other_offset, offset)
                    twice = other.kind == event.kind and event.kind in ("ahead", "requested")
                    if twice or (event.kind == "ahead" and other.kind == "foreground" and same_tree):
                        what = f"{event.attempt} ({event.kind}) began while {other.attempt} ({other.kind}) ran the same"
                        yield _wrong("twice at once", what, other_offset, offset)
                under_way[event.job][event.attempt] = (offset, event)
            case AttemptExited() if book.runs[event.attempt].started:
                under_way[book.runs[event.attempt].started[0][1].job].pop(event.attempt, None)
            case _:
                continue


def _changed(book: _Book, begin: int, end: int) -> bool:
    return book.epoch_between(begin, end) is not None or bool(book.moves_between(begin, end))


def _requests(book: _Book) -> Iterator[Violation]:
    """A job that was asked for begins after all it waits for has passed, and never once it was cancelled or lost."""
    over: dict[JobKey, int] = {}
    passed: set[JobKey] = set()
    for offset, event in book.events:
        match event:
            case RequestCancelled() | RequestLost():
                over.setdefault(event.job, offset)
            case AttemptExited() if event.end.passed and book.runs[event.attempt].started:
                passed.add(book.runs[event.attempt].started[0][1].job)
            case AttemptStarted(kind="requested"):
                if event.job in over:
                    yield _wrong("came back", f"job {event.job} began after it was cancelled or lost", over[event.job], offset)
                made = book.requested.get(event.job)
                if made is None:
                    if not book.partial:
                        yield _wrong("nobody asked", f"job {event.job} began and nobody asked for it", offset)
                elif missing := [job for job in made.after if job not in passed]:
                    yield _wrong("too early", f"job {event.job} began before {missing[0]} had passed", offset)
            case _:
                continue


# --- joins ------------------------------------------------------------------------------------------------------------------


def _joins(book: _Book) -> Iterator[Violation]:
    asked: set[str] = set()
    recorded: dict[AttemptId, int] = {}
    replays: dict[AttemptId, int] = {}
    requested: dict[AttemptId, int] = {}
    latest: dict[JobKey, AttemptId] = {}
    settled: set[AttemptId] = set()
    for offset, event in book.events:
        match event:
            case AttemptStarted(kind="requested"):
                requested[event.attempt] = offset
            case AttemptExited():
                requested.pop(event.attempt, None)
            case AttemptSettled():
                settled.add(event.attempt)
                run = book.runs[event.attempt]
                adopted = not run.started or (run.started[0][1].by, run.started[0][1].boot) != (event.by, event.boot)
                if not adopted and run.end is not None and run.end.how not in ("cancelled", "lost"):
                    latest[run.started[0][1].job] = event.attempt
            case JoinDecided():
                if event.ask in asked:
                    yield _wrong("asked twice", f"question {event.ask}", book.decided[event.ask][0], offset)
                asked.add(event.ask)
                if event.do == "record" and event.attempt is not None:
                    if event.attempt in recorded:
                        yield _wrong("recorded twice", f"{event.attempt} is the run of two calls", recorded[event.attempt], offset)
                    recorded[event.attempt] = offset
                    yield from _recorded(book, offset, event)
                elif event.do in ("replay", "attach"):
                    if requested:
                        yield _wrong("beside a job", f"{event.ask} joined while a requested job ran", *requested.values(), offset)
                    yield from _join(book, offset, event, settled)
                    if event.do == "replay" and event.attempt is not None:
                        if latest.get(event.job, event.attempt) != event.attempt:
                            what = f"{event.ask} got {event.attempt}, and {latest[event.job]} is newer"
                            yield _wrong("older result", what, offset)
                        end = book.runs[event.attempt].end
                        if end is not None and not end.passed and event.attempt in replays:
                            what = f"{event.attempt} failed and was shown twice"
                            yield _wrong("failure replayed twice", what, replays[event.attempt], offset)
                        replays[event.attempt] = offset
            case _:
                continue


def _recorded(book: _Book, offset: int, event: JoinDecided) -> Iterator[Violation]:
    assert event.attempt is not None
    run = book.runs.get(event.attempt)
    if run is None or not run.started:
        if not book.partial:
            yield _wrong("record of nothing", f"{event.ask} began {event.attempt}, which the log does not know", offset)
        return
    at, started = run.started[0]
    if at > offset:
        yield _wrong("answered before the start", f"{event.ask} was answered before {event.attempt} was in the log", offset, at)
    if (started.kind, started.job, started.session) != ("foreground", event.job, event.session):
        yield _wrong("record of another", f"{event.ask} began {event.attempt}, which is another call's", at, offset)


def _join(book: _Book, offset: int, event: JoinDecided, settled_before: set[AttemptId]) -> Iterator[Violation]:
    run = book.runs.get(event.attempt) if event.attempt is not None else None
    if run is None or not run.started or run.started[0][0] > offset:
        if not book.partial:
            yield _wrong("join of nothing", f"{event.ask} got {event.attempt}, which the log does not know by then", offset)
        return
    at, started = run.started[0]
    name = f"{event.ask} got {event.attempt}"
    if started.job != event.job:
        yield _wrong("another command", f"{name}, which is a run of {started.job} and not of {event.job}", at, offset)
    if started.kind == "requested" or event.of not in (None, started.kind):
        yield _wrong("wrong kind", f"{name} as {event.of}, and it is {started.kind}", at, offset)
    if (started.by, started.boot) != (event.by, event.boot):
        yield _wrong("across a restart", f"{name}, which began under {started.by}; the answer is of {event.by}", at, offset)
    if (epoch := book.epoch_between(at, offset)) is not None:
        yield _wrong("across an epoch", f"{name}, and an epoch began between its start and the ask", at, epoch, offset)
    if event.do == "attach":
        if event.attempt in settled_before:
            yield _wrong("attached to an ended run", name, run.settled[0][0], offset)
        if moved := [move for move in book.moves_between(at, offset) if not book.is_own(event.job, event.attempt, at, move[1].sample)]:
            what = f"{name}, which was torn: {', '.join(moved[0][1].sample)} changed while it ran"
            yield _wrong("attached to a torn run", what, at, moved[0][0], offset)
        return
    if event.attempt not in settled_before:
        yield _wrong("replayed before its end", name, at, offset)
        return
    until, settled = run.settled[0]
    if settled.torn:
        yield _wrong("torn replayed", f"{name}, and {settled.torn}", until, offset)
    if run.end is None or not run.end.by_itself:
        yield _wrong("no result", f"{name}, which did not end by itself ({run.end.how if run.end else 'no end'})", until, offset)
    for move, moved_paths in _unexplained(book, at, until, settled):
        yield _wrong("torn replayed", f"{name}, and {moved_paths} changed while it ran", at, move, offset)
    for move, moved_paths in _since(book, until, offset, settled.outputs):
        yield _wrong("stale", f"{name}, and {moved_paths} changed since it ended", until, move, offset)


def _unexplained(book: _Book, begin: int, end: int, settled: AttemptSettled) -> Iterator[tuple[int, str]]:
    """Moves of the tree while a run went on that are not its own products."""
    if len(settled.products) >= PRODUCTS_TOLD:
        return
    for offset, move in book.moves_between(begin, end):
        own = (*settled.products, *settled.outputs)
        if foreign := [path for path in move.sample if path not in own and not any(lies_in(path, folder) for folder in settled.folders)]:
            yield offset, ", ".join(foreign)


def _since(book: _Book, begin: int, end: int, outputs: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """Moves of the tree after a run that count."""
    for offset, move in book.moves_between(begin, end):
        if counted := [path for path in move.sample if not path.endswith(REWRITTEN) and path not in outputs]:
            yield offset, ", ".join(counted)


def _ends_of_joins(book: _Book) -> Iterator[Violation]:
    seen: set[str] = set()
    for offset, event in book.events:
        if not isinstance(event, JoinDone):
            continue
        if event.ask in seen:
            yield _wrong("done twice", f"question {event.ask}", book.done[event.ask][0], offset)
        seen.add(event.ask)
        if event.ask not in book.decided:
            if not book.partial:
                yield _wrong("done, never asked", f"question {event.ask}", offset)
            continue
        at, decided = book.decided[event.ask]
        if at > offset or decided.do not in ("replay", "attach") or decided.attempt != event.attempt:
            yield _wrong("done as another", f"{event.ask} was answered with {decided.do} of {decided.attempt}", at, offset)
            continue
        run = book.runs.get(event.attempt)
        if run is None or run.end is None:
            continue
        if run.end.how not in ("code", "signal"):
            yield _wrong("lost delivered", f"{event.ask} was given the end of {event.attempt}, which is {run.end.how}", at, offset)
        exited_at, exited = run.exited[0]
        if exited.boot == event.boot and exited.mono > event.mono + LATE_S:
            what = f"{event.ask} was given the end of {event.attempt} at {event.mono}, and that ended at {exited.mono}"
            yield _wrong("delivered before its end", what, offset, exited_at)


# --- edits ------------------------------------------------------------------------------------------------------------------


class _Closed(NamedTuple):
    """A time in which no edit may lie, by the joins that say so."""

    begin_s: float
    end_s: float


def _order_of_edits(book: _Book, edits: Iterable[Edit]) -> Iterator[Violation]:
    """Place every edit where the joins leave room; what has no room is in no sequential order."""
    closed: list[_Closed] = []
    by: list[tuple[_Closed, tuple[int, int], str]] = []
    for offset, event in book.decided.values():
        run = book.runs.get(event.attempt) if event.do in ("replay", "attach") and event.attempt is not None else None
        if run is None or not run.started or run.started[0][1].boot != event.boot:
            continue
        at, started = run.started[0]
        # The supervisor had the question that long when it wrote the answer down.
        span = _Closed(started.mono, event.mono - event.decide_ms / 1000)
        if span.begin_s < span.end_s:
            closed.append(span)
            by.append((span, (at, offset), event.ask))
    merged: list[_Closed] = []
    for span in sorted(closed):
        if merged and span.begin_s < merged[-1].end_s:  # at the very moment where two of them meet there is room
            merged[-1] = _Closed(merged[-1].begin_s, max(merged[-1].end_s, span.end_s))
        else:
            merged.append(span)
    begins = [span.begin_s for span in merged]
    for edit in edits:
        at = bisect.bisect_left(begins, edit.began_mono_s) - 1
        if at < 0 or edit.ended_mono_s >= merged[at].end_s:
            continue
        blame = [item for item in by if item[0].begin_s < edit.ended_mono_s and item[0].end_s > edit.began_mono_s]
        offsets = sorted({offset for _, pair, _ in blame for offset in pair})
        asks = ", ".join(ask for _, _, ask in blame)
        what = f"{edit.what} changed between {edit.began_mono_s} and {edit.ended_mono_s}, and {asks} got what ran before"
        yield _wrong("no place for an edit", what, *offsets)


# --- deliveries -------------------------------------------------------------------------------------------------------------


def _delivered(book: _Book, deliveries: Iterable[Delivery]) -> Iterator[Violation]:
    """Find for every delivery a question of its own that explains it (augmenting paths: calls at the same time may be alike)."""
    given = list(deliveries)
    decided = sorted((event.mono, offset, event) for offset, event in book.decided.values() if event.do != "exec")
    times = [time for time, _, _ in decided]
    possible: list[list[int]] = []
    may_be: list[list[int]] = []
    for delivery in given:
        near = range(bisect.bisect_left(times, delivery.began_mono_s), bisect.bisect_right(times, delivery.ended_mono_s))
        own = [at for at in near if _is_question_of(book, decided[at][2], delivery)]
        may_be.append(own)
        possible.append([at for at in own if not _contradiction(book, decided[at][2], delivery)])
    taken: dict[int, int] = {}

    def place(number: int, tried: set[int]) -> bool:
        for at in possible[number]:
            if at not in tried:
                tried.add(at)
                if at not in taken or place(taken[at], tried):
                    taken[at] = number
                    return True
        return False

    for number, delivery in enumerate(given):
        if may_be[number] and not place(number, set()):
            reasons = [_contradiction(book, decided[at][2], delivery) or "was another call's" for at in may_be[number]]
            what = f"a call of {' '.join(delivery.argv)} got {delivery.size_bytes} bytes and {delivery.code}: {'; '.join(reasons)}"
            yield _wrong("wrong delivery", what, *(decided[at][1] for at in may_be[number]))


def _is_question_of(book: _Book, event: JoinDecided, delivery: Delivery) -> bool:
    if delivery.ask:
        return event.ask == delivery.ask
    return event.job in book.jobs and book.jobs[event.job].argv == delivery.argv


def _contradiction(book: _Book, event: JoinDecided, delivery: Delivery) -> str:
    """Say why a delivery cannot be the answer of a question, "" when it can."""
    run = book.runs.get(event.attempt) if event.attempt is not None else None
    if run is None or run.end is None or (event.do != "record" and event.ask not in book.done):
        return ""  # unfinished, or the shim ran the command itself in the end
    end, exited = run.end, run.exited[0][1]
    if end.how not in ("code", "signal"):
        return f"{event.ask} says {end.how}, which no call can be given" if event.do != "record" else ""
    code = end.value if end.how == "code" else 128 + end.value
    if delivery.code != code:
        return f"{event.ask} says {code}"
    settled = run.settled[0][1] if run.settled else None
    if end.how == "signal" or delivery.digest is None or settled is None or settled.left or exited.left:
        return ""  # a shell adds words about a signal; what a command left running goes on printing
    if delivery.size_bytes != exited.out_bytes + exited.err_bytes:
        return f"{event.ask} says {exited.out_bytes + exited.err_bytes} bytes"
    merged = event.job in book.jobs and book.jobs[event.job].streams == "merged"
    return f"{event.ask} says other bytes" if merged and settled.digest not in ("", delivery.digest) else ""


# --- news -------------------------------------------------------------------------------------------------------------------


def _news(book: _Book) -> Iterator[Violation]:
    knows: dict[tuple[SessionId | None, JobKey], str] = {}
    told: dict[tuple[SessionId, AttemptId], int] = {}
    for offset, event in book.events:
        match event:
            case SupervisorStarted():
                knows.clear()  # what sessions saw is remembered by no log
            case SessionClosed():
                knows = {key: value for key, value in knows.items() if key[0] != event.session}
            case AttemptExited() if event.end.by_itself and book.runs[event.attempt].started:
                started = book.runs[event.attempt].started[0][1]
                if started.kind == "foreground":
                    knows[started.session, started.job] = _outcome(event.end)
            case JoinDone() if event.ask in book.decided:
                exited = book.runs[event.attempt].exited
                if exited and exited[0][0] < offset and exited[0][1].end.by_itself:
                    decided = book.decided[event.ask][1]
                    knows[decided.session, decided.job] = _outcome(exited[0][1].end)
            case NewsTold():
                if (event.session, event.attempt) in told:
                    what = f"session {event.session} heard of {event.attempt} twice"
                    yield _wrong("news twice", what, told[event.session, event.attempt], offset)
                told[event.session, event.attempt] = offset
                last = knows.get((event.session, event.job))
                if event.now == event.was or (last != event.was and not (book.partial and last is None)):
                    what = f"session {event.session} heard that {event.was} became {event.now}; it last saw {last}"
                    yield _wrong("no flip", what, offset)
                knows[event.session, event.job] = event.now
                yield from _true_news(book, offset, event)
            case _:
                continue


def _true_news(book: _Book, offset: int, event: NewsTold) -> Iterator[Violation]:
    run = book.runs.get(event.attempt)
    if run is None or not run.started or not run.settled or run.settled[0][0] > offset:
        if not book.partial:
            yield _wrong("news of nothing", f"{event.attempt} has no result by then", offset)
        return
    at, until, settled = run.started[0][0], run.settled[0][0], run.settled[0][1]
    wrong_end = run.end is None or not run.end.by_itself or _outcome(run.end) != event.now or run.started[0][1].job != event.job
    if wrong_end or settled.torn:
        yield _wrong("false news", f"{event.attempt} was told as {event.now}", until, offset)
    if (epoch := book.epoch_between(at, offset)) is not None:
        yield _wrong("stale news", f"an epoch began since {event.attempt} did", epoch, offset)
    for move, paths in _since(book, until, offset):
        yield _wrong("stale news", f"{paths} changed since {event.attempt} ended", move, offset)


def _outcome(end: End) -> str:
    return "pass" if end.passed else "fail"


def _tag(event: LogEvent) -> str:
    return str(event.__struct_config__.tag)


# --- command line -----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the log in a folder and print what is wrong; return 1 when something is."""
    parser = argparse.ArgumentParser(prog="python -m stretto.testing.history", description="Say what in a project's log cannot have been.")
    parser.add_argument("folder", help="the project's state directory (`stretto path`)")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    chosen = parser.parse_args(arguments)
    if not os.path.isdir(chosen.folder):
        print(f"cannot read {chosen.folder}: it is no directory", file=sys.stderr)
        return 1
    lines = load(chosen.folder)
    found = check(lines)
    if chosen.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        for violation in found:
            print(f"{','.join(map(str, violation.offsets))}: {violation.kind}: {violation.what}")
        print(f"{len(lines)} lines, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
