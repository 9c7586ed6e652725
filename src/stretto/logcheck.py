"""What is wrong with a project's log, and the one explicit call that mends what can be mended.

Promises: `check` looks only; `repair` loses no byte: what it replaces stays beside it as `torn/before-repair-<time>`, no line is removed
and every offset stays what it was. A line that nobody can use is left where it is; it counts for nothing.
"""

from __future__ import annotations

import os

import msgspec

from stretto import journal, snapshot
from stretto.fold import State, apply
from stretto.model import Bad
from stretto.system import Lock, open_private, private_directory, sync_directory, wall_s, write_all

SHOWN = 100
"""How many bad lines are listed; all are counted."""


class BadLine(msgspec.Struct, frozen=True, kw_only=True):
    offset: int
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found."""

    events: int
    bad_lines: int
    bad: list[BadLine]
    """The first `SHOWN` of them."""
    anomalies: int
    """Events that do not fit what came before."""
    tail_bytes: int
    """Behind the last newline; a writer that died left it, or one is just writing."""
    failed: bool
    """A sync failed: nothing is appended until a repair."""
    segments: int
    first_offset: int
    end_offset: int

    @property
    def sound(self) -> bool:
        return not (self.bad_lines or self.anomalies or self.tail_bytes or self.failed)


def check(folder: str) -> Report:
    """Read the whole log in `folder` without the help of a snapshot.

    Raises:
        OSError: it is there and cannot be read.
    """
    closed = journal.segments(folder)
    end = journal.end(folder)
    offset = first = closed[0].begin if closed else 0
    state = State()
    bad: list[BadLine] = []
    for begin, after, line in journal.lines(folder, first):
        offset = after
        event = journal.parse(line)
        if isinstance(event, Bad) and len(bad) < SHOWN:
            bad.append(BadLine(offset=begin, reason=event.reason))
        state = apply(state, event, begin)
    return Report(
        events=state.events,
        bad_lines=state.bad_lines,
        bad=bad,
        anomalies=state.anomaly_count,
        tail_bytes=max(0, end - offset),
        failed=os.path.lexists(os.path.join(folder, journal.FAILED_NAME)),
        segments=len(closed),
        first_offset=first,
        end_offset=end,
    )


def repair(folder: str) -> str:
    """Write the log's present file anew and to the disk, close its tail, forget the snapshot and the mark of a failed sync.

    Returns:
        The path of the copy; "" when there is no file to repair.

    Raises:
        UnavailableError: the lock stayed held.
        OSError: it could not be written or did not reach the disk; the log and its mark are as they were.
    """
    path = os.path.join(folder, journal.LOG_NAME)
    lock = Lock(os.path.join(folder, journal.LOCK_NAME))
    try:
        lock.acquire(journal.LOCK_LIMIT_S)
        aside = ""
        if os.path.lexists(path):
            aside = os.path.join(private_directory(os.path.join(folder, "torn")), f"before-repair-{wall_s():.6f}")
            _copy(path, aside, close_tail=False)
            # A new file: the pages of the old one may be called clean and be lost all the same. Appenders notice the change.
            _copy(path, f"{path}.repaired", close_tail=True)
            os.rename(f"{path}.repaired", path)
            sync_directory(folder)
        for name in (snapshot.NAME, journal.FAILED_NAME):
            try:
                os.unlink(os.path.join(folder, name))
            except FileNotFoundError:
                continue
        return aside
    finally:
        lock.close()


def _copy(path: str, to: str, *, close_tail: bool) -> None:
    """Write a copy to the disk, with a newline at its end if it is to have one; in blocks, because a log may hold anything."""
    last = b"\n"
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    copy = open_private(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        while block := os.read(source, journal.BLOCK_BYTES):
            write_all(copy, block)
            last = block
        if close_tail and not last.endswith(b"\n"):
            write_all(copy, b"\n")
        os.fsync(copy)
    except OSError:
        os.unlink(to)
        raise
    finally:
        os.close(source)
        os.close(copy)
