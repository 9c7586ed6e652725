"""events.jsonl: one JSON object a line, append-only, shared by every process of a project.

Hides locking, torn tails and bad lines. Promises:
- one record is one `write` under an advisory lock of its own file (`events.lock`, never renamed, never unlinked);
- an appender that finds the last byte is no newline copies that torn tail aside (`torn/<offset>`) and closes it first; otherwise its
  own record would be glued to it and lost (3 to 56 in some thousand acknowledged records when killed at random without this);
- a record is acknowledged (`append` returns its offset) only after every byte was written;
- a reader gets whole lines only, in order, each with its byte offset; a line it cannot use comes as `Bad` with its bytes: never
  silently dropped, never a crash.

Appending needs the standard library only: the monitor carries this module and has to stay small. `read` imports the records.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stretto.system import Lock, open_private, private_directory, write_all

if TYPE_CHECKING:
    from stretto.model import Bad, LogEvent

LOG_NAME = "events.jsonl"
LOCK_NAME = "events.lock"
LOCK_LIMIT_S = 2.0
"""Longest wait for the lock: it is held for one write, so whoever holds it longer is stopped or broken."""
LINE_LIMIT_BYTES = 1024 * 1024
"""No record of ours is longer than some kilobytes; a longer line is foreign."""
BLOCK_BYTES = 256 * 1024


class Journal:
    """Appends to the log in `folder`; keeps its two files open, and opens them again when they were removed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptor = -1

    def append(self, record: bytes) -> int:
        """Write one record (a JSON object without its newline) and return the byte offset it begins at.

        Raises:
            UnavailableError: the lock stayed held for `LOCK_LIMIT_S`.
            OSError: the file could not be written (full disk, folder gone); nothing is acknowledged.
        """
        lock = self._open()
        lock.acquire(LOCK_LIMIT_S)
        try:
            end = os.fstat(self._descriptor).st_size
            opening = self._close_torn_tail(end)
            write_all(self._descriptor, opening + record + b"\n")
            return end + len(opening)
        finally:
            lock.close()  # closing is releasing; the log itself stays open

    def close(self) -> None:
        """Let go of the files; the next append opens them again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> Lock:
        lock = Lock(os.path.join(self._folder, LOCK_NAME))
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0:
            self.close()
        if self._descriptor < 0:
            self._descriptor = open_private(os.path.join(self._folder, LOG_NAME), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        return lock

    def _close_torn_tail(self, end: int) -> bytes:
        if end == 0 or os.pread(self._descriptor, 1, end - 1) == b"\n":
            return b""
        begin = end
        tail = b""
        while begin > 0 and b"\n" not in tail:
            step = min(begin, BLOCK_BYTES)
            begin -= step
            tail = os.pread(self._descriptor, step, begin) + tail
        tail = tail[tail.rfind(b"\n") + 1 :]
        aside = open_private(
            os.path.join(private_directory(os.path.join(self._folder, "torn")), str(end - len(tail))), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        try:
            write_all(aside, tail)
        finally:
            os.close(aside)
        return b"\n"


def lines(folder: str, offset: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """Yield the whole lines from a byte offset on: where it begins, where the next one begins, its bytes without the newline.

    A tail without a newline is not yielded: its writer may still be writing.

    A line longer than `LINE_LIMIT_BYTES` is yielded cut to that length (it cannot be one of ours).
    """
    try:
        descriptor = os.open(os.path.join(folder, LOG_NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rest = b""
        begin = offset  # of `rest`
        skipped = 0  # bytes of an overlong line already let go
        while block := os.pread(descriptor, BLOCK_BYTES, begin + skipped + len(rest)):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                after = begin + skipped + len(line) + 1
                yield begin, after, line[:LINE_LIMIT_BYTES]
                begin, skipped = after, 0
            if len(rest) > LINE_LIMIT_BYTES:
                skipped += len(rest) - LINE_LIMIT_BYTES
                rest = rest[:LINE_LIMIT_BYTES]
    finally:
        os.close(descriptor)


def read(folder: str, offset: int = 0) -> Iterator[tuple[int, LogEvent | Bad]]:
    """Yield every event from a byte offset on with the offset it begins at; what is no event comes as `Bad`."""
    for begin, _, line in lines(folder, offset):
        yield begin, parse(line)


def follow(folder: str, offset: int, stop: Callable[[], bool], pause_s: float = 0.05) -> Iterator[tuple[int, LogEvent | Bad]]:
    """Like `read`, then go on with what is appended, until `stop()` is true; looks every `pause_s`."""
    while True:
        for begin, after, line in lines(folder, offset):
            offset = after
            yield begin, parse(line)
        if stop():
            return
        time.sleep(pause_s)


def parse(line: bytes) -> LogEvent | Bad:
    """Return the event a line holds, or `Bad` with the reason."""
    import msgspec

    from stretto.model import EVENT_DECODER, FORMAT_VERSION, Bad

    if not line:
        return Bad(line, "an empty line")
    try:
        event: LogEvent = EVENT_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Bad(line, str(error))
    if event.v > FORMAT_VERSION:
        return Bad(line, f"written by a newer version (format {event.v}, this one reads {FORMAT_VERSION})")
    return event
