"""events.jsonl: one JSON object a line, append-only, shared by every process of a project.

Hides locking, segments, torn tails and bad lines. Promises:
- one record is one `write` under an advisory lock of its own file (`events.lock`, never renamed, never unlinked);
- an appender that finds the last byte is no newline copies that torn tail aside (`torn/<offset>`) and closes it first; otherwise its
  own record would be glued to it and lost (3 to 56 in some thousand acknowledged records when killed at random without this);
- a record is acknowledged (`append` returns its offset) only after every byte was written; what a failing write left is cut off again;
- a record ends with its checksum, so that a reader believes no damaged line, whatever it says;
- a reader gets whole lines only, in order, each with its byte offset; a line it cannot use comes as `Bad` with its bytes: never
  silently dropped, never a crash;
- a record that must last is synced before it is acknowledged; a sync that failed is never tried again: the mark `events.failed`
  makes every later append of every process fail, because nobody knows which bytes the disk has;
- whoever dies at any step of an append, a rotation or a tidying leaves a log that the next one goes on with.

The log is one stream of bytes, and the offset in it is an event's sequence number. Its end lies in `events.jsonl`; what was rotated
away lies in `events-<begin>-<end>.jsonl` (20 digits each; `.gz` once compressed). `events.jsonl` begins where the newest of those
ends, so that one rename is the whole rotation, and nothing beside the names has to agree. An appender compares the file it holds with
the one of that name under the lock; a reader lists the names before and after it opens.

Every line is one event: `t` (its type), `v` (format), `ts` (wall clock, s since 1970, for display only), `mono` (s, a clock that counts
within one boot), `boot`, `by` (who wrote it), the fields of its type, and `crc` (see `sealed`). docs/events.md has them in full, with
examples and with what a reader of another format makes of them. Names end in their unit: `_s`, `_ms`, `_bytes`.

    supervisor.started  a supervisor serves: pid, start (the kernel's, of that pid), version, mode
    supervisor.stopped  it left: reason
    session.opened      session, source, claude_pid (0: unknown), claude_start (the kernel's)
    session.closed      session, reason
    epoch.began         earlier results end: epoch (a count), reason, session
    tree.moved          a scan found changes: generation (a count), count (paths), sample (the first of them), foreign
    job.seen            a command for the first time: job (its key), name, argv (redacted), cwd (below the project), streams, hooked
    job.retried         the user wants one that was put aside to run ahead again: job
    job.flipped         another end than the run before, and nothing had changed: job, attempt, was, now
    job.contradicted    a run ahead came to another end than the session's own: job, attempt, ahead, foreground
    permission.asked    the host put a question before it ran: job, session
    attempt.started     written before anything runs: attempt, job, kind, session, generation, nested, why, audits
    attempt.spawned     its owner lives: attempt, pid, start
    attempt.exited      how it ended: attempt, end (how, value), out_bytes, err_bytes, took_s, cpu_s, left (processes), held_s
    attempt.settled     attempt, generation, torn (why never), wrote, products (paths), remote, left (processes), digest, reached, outcome,
                        tracked, edited, looks, folders, made, outputs, beside
    request.made        a job was asked for: job, after (jobs), priority, memory_bytes, keep, retries, session
    request.held        it could start and does not: job, reason
    request.cancelled   it never starts again: job, reason
    request.lost        it can never start: job, reason
    join.decided        ask, job, session, standing, do, attempt, of, reason, would, decide_ms, code, differs, shape, nested, mode, host
    join.done           a join came to its end: ask, attempt, waited_s, saved_s
    check.missed        a Bash command held a check that no shim asked about: session, name, shape, code
    join.audited        a joined run was run again: ask, job, session, attempt, again, outcome, reason
    news.told           a session was told that a check flipped: session, job, attempt, was, now, text
    ahead.told          a session was told that commands run ahead: session, jobs, text
    prompt.began        the user gave a session something to do: session
    source.written      an agent wrote its first source since then: session, agent, path
    block.raised        sessions are kept from something: block, scope, reason, session, attempt, job, ttl_s
    block.cleared       a block is over: block, how, by_whom
    worker.said         sessions are to be told something: text, session, attempt
    words.told          a session was told what workers said: session, count
    worker.progressed   a worker says how far it is: attempt, done, total, text
    artifact.made       a worker names a file that it made: attempt, path, text
    gate.decided        a gate was asked: gate, session, agent, on, do, rule, reason, checks, blocks, facts, generation, held_s
    session.woken       an idle session was woken: session, block, after_s
    invariant.broken    something promised was found not to hold: rule, attempt, what

Appending needs the standard library only: the monitor carries this module and has to stay small. `read` imports the records.

It is one idea in one file: who appends, who reads and who tidies have to agree on every byte.
"""

from __future__ import annotations

import errno
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from stretto.system import Lock, open_private, private_directory, sync_directory, write_all

if TYPE_CHECKING:
    from stretto.model import Bad, Fsync, LogEvent

LOG_NAME = "events.jsonl"
LOCK_NAME = "events.lock"
FAILED_NAME = "events.failed"
LOCK_LIMIT_S = 2.0
"""Longest wait for the lock: it is held for one write, so whoever holds it longer is stopped or broken."""
STUCK_LIMIT_S = 0.05
"""The same for a writer that waited in vain before: whoever did not let go within seconds will not within milliseconds, and a supervisor
that waited for it at each record would keep the session waiting."""
LINE_LIMIT_BYTES = 1024 * 1024
"""No record of ours is longer than some kilobytes; a longer line is foreign."""
BLOCK_BYTES = 64 * 1024
"""Read at once. What is decoded from it stays in the processor's cache until it is folded: of a megabyte it takes half as long again."""
KEEP_BYTES = 64 * 1024 * 1024
"""What rotated segments may take on disk together; beyond it the oldest go."""
KEEP_S = 30 * 86_400.0
"""How much older than the newest rotated segment another one may be."""

_CLOSED = re.compile(r"events-(\d{20})-(\d{20})\.jsonl(\.gz)?")


class Segment(NamedTuple):
    """A rotated part of the log."""

    begin: int
    end: int
    name: str


def segments(folder: str) -> list[Segment]:
    """Return the rotated segments, oldest first; one that is there plain and compressed counts once, plain."""
    found: dict[int, Segment] = {}
    try:
        names = sorted(os.listdir(folder), reverse=True)  # `.jsonl.gz` before `.jsonl`
    except FileNotFoundError:
        return []
    for name in names:
        if match := _CLOSED.fullmatch(name):
            found[int(match[1])] = Segment(int(match[1]), int(match[2]), name)
    return [found[begin] for begin in sorted(found)]


def _base(closed: list[Segment]) -> int:
    return closed[-1].end if closed else 0


def sealed(record: bytes) -> bytes:
    """Return a record with its checksum as the last field: `crc`, the CRC-32 of all bytes before that field in eight hex digits.

    It finds every damage of up to 32 bits in a row. Whoever can write the log can write it, too: it is against accidents.

    Raises:
        ValueError: the record is no JSON object with a field, or not one line.
    """
    if record[:1] != b"{" or record[-1:] != b"}" or len(record) < len(b'{"":0}') or b"\n" in record:
        raise ValueError("a record is one line, and one object with a field")
    body = record[:-1]
    return b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))


_SEAL_BYTES, _CRC_BYTES = len(b',"crc":"01234567"}'), len(b'01234567"}')
DAMAGED, UNSEALED = "damaged: its checksum does not fit", "damaged: its checksum is missing"


class Journal:
    """Appends to the log in `folder`; for one thread.

    Keeps the log and its lock open, and opens them again when they were rotated, removed, or opened by the process we were forked from:
    a lock that is held through a copied descriptor would keep nobody out.
    """

    def __init__(self, folder: str, fsync: Fsync = "exits") -> None:
        self._folder = folder
        self._log, self._failed = os.path.join(folder, LOG_NAME), os.path.join(folder, FAILED_NAME)
        self.fsync: Fsync = fsync
        self._unmarked = False
        """A sync failed, and not even the mark that says so could be made."""
        self._stuck = False
        """The last wait for the lock was in vain."""
        self._owner = os.getpid()
        self._lock: Lock | None = None
        self._descriptor = -1
        self._file = (0, 0)
        """Device and inode of the open log."""
        self._begin = 0
        """Offset of the open log's first byte."""
        self._size = 0
        """Of the open log, as found when the lock was taken."""
        self._whole = 0
        """Up to here the open log is known to end in a newline; 0: nothing is known."""

    def append(self, record: bytes, *, lasting: bool = False) -> int:
        """Write one record and return the byte offset it begins at.

        Args:
            record: a JSON object without its newline, with at least one field. It gets its checksum here.
            lasting: an exit or a verdict: on the disk before this returns, unless `fsync` is "never".

        Raises:
            ValueError: the record is none.
            UnavailableError: the lock stayed held for `LOCK_LIMIT_S`, for `STUCK_LIMIT_S` when it did so before.
            OSError: the file could not be written (full disk, folder gone), or a sync has failed before; nothing is acknowledged.
        """
        data = sealed(record) + b"\n"
        lock = self._locked()
        try:
            size = self._size
            opening = self._close_torn_tail(size)
            try:
                write_all(self._descriptor, opening + data)
            except OSError:
                os.ftruncate(self._descriptor, size)
                raise
            begin = size + len(opening)
            self._whole = begin + len(data)
        finally:
            lock.release()
        if self.fsync == "always" or (lasting and self.fsync == "exits"):
            self._sync()  # without the lock: several that wait for the disk are served by one of its turns
        return self._begin + begin

    def rotate(self, limit_bytes: int) -> bool:
        """Begin a new file when the present one has reached `limit_bytes`; say whether that was so.

        Raises:
            UnavailableError, OSError: as for `append`; nothing has changed.
        """
        lock = self._locked()
        try:
            size = self._size
            if not size or size < limit_bytes:
                return False
            if opening := self._close_torn_tail(size):
                write_all(self._descriptor, opening)
            end = self._begin + size + len(opening)
            if self.fsync != "never":
                self._sync()
            os.rename(self._log, os.path.join(self._folder, f"events-{self._begin:020}-{end:020}.jsonl"))
            self._close_log()
            return True
        finally:
            lock.release()

    def close(self) -> None:
        """Let go of the files; the next append opens them again."""
        self._close_log()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __del__(self) -> None:
        self.close()

    def _close_log(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _locked(self) -> Lock:
        """Take the lock, and make sure that the open files are those whose names they were opened by."""
        if self._owner != os.getpid():
            self.close()
            self._owner = os.getpid()
        while True:
            if self._lock is None:
                self._lock = Lock(os.path.join(self._folder, LOCK_NAME))
            lock = self._lock
            limit_s = STUCK_LIMIT_S if self._stuck else LOCK_LIMIT_S
            self._stuck = True
            lock.acquire(limit_s)
            self._stuck = False
            try:
                if lock.stands():
                    if self._unmarked:
                        self._mark_failed()
                    if os.access(self._failed, os.F_OK, follow_symlinks=False):
                        raise OSError(errno.EIO, "the log failed to reach the disk; remove the mark once the disk is sound", self._folder)
                    self._open()
                    return lock
            except BaseException:
                lock.release()
                raise
            self.close()  # the folder was removed and made anew

    def _open(self) -> None:
        """Have the log open and know its size; the lock is held."""
        if self._descriptor >= 0:
            try:
                named = os.lstat(self._log)
            except FileNotFoundError:
                self._close_log()
            else:
                if (named.st_dev, named.st_ino) == self._file:
                    self._size = named.st_size
                    return
                self._close_log()
        self._descriptor = open_private(self._log, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        held = os.fstat(self._descriptor)
        self._file, self._size, self._whole = (held.st_dev, held.st_ino), held.st_size, 0
        self._begin = _base(segments(self._folder))

    def _sync(self) -> None:
        try:
            _to_disk(self._descriptor)
        except OSError:
            # After a failed sync the kernel calls the pages clean: a second one would succeed and mean nothing.
            self._mark_failed()
            raise

    def _mark_failed(self) -> None:
        self._unmarked = True  # until the mark stands: then it speaks to everybody, and goes with a repair
        os.close(open_private(self._failed, os.O_WRONLY | os.O_CREAT))
        self._unmarked = False

    def _close_torn_tail(self, end: int) -> bytes:
        """Return what has to be written first: nothing, or the newline behind a tail that is kept aside, however long it is."""
        if end in (0, self._whole) or os.pread(self._descriptor, 1, end - 1) == b"\n":
            return b""
        begin = end
        while begin > 0:
            step = min(begin, BLOCK_BYTES)
            at = os.pread(self._descriptor, step, begin - step).rfind(b"\n")
            begin -= step
            if at >= 0:
                begin += at + 1
                break
        aside = open_private(
            os.path.join(private_directory(os.path.join(self._folder, "torn")), str(self._begin + begin)),
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        )
        try:
            while begin < end and (block := os.pread(self._descriptor, min(BLOCK_BYTES, end - begin), begin)):
                write_all(aside, block)
                begin += len(block)
        finally:
            os.close(aside)
        return b"\n"


def _to_disk(descriptor: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)  # some systems have no call that leaves the times out


def tidy(folder: str, keep_bytes: int = KEEP_BYTES, keep_s: float = KEEP_S) -> None:
    """Compress all rotated segments but the newest, remove the oldest beyond `keep_bytes`, and one that is older than `keep_s`.

    The newest stays whatever its size and age: its name says where `events.jsonl` begins. Only the supervisor calls this, after a
    rotation. It may die at any step: the next call does what is left.

    No clock is asked for the age of a segment but those its records and the newest segment's were written by: the one that counts
    within a boot when they are of the same boot, else the wall clock, and then the latest time of the one and the earliest of the other.
    So a wall clock that jumps and comes back removes nothing, and one that is wrong for as long as a whole segment and a reboot removes
    one, because no call removes more by age.

    Raises:
        OSError: a segment could not be written or removed; the others are as they should be.
    """
    for name in os.listdir(folder):
        if name.startswith("events-") and name.endswith(".tmp"):  # a tidier died while it wrote this
            os.unlink(os.path.join(folder, name))
    for segment in segments(folder)[:-1]:
        if segment.name.endswith(".gz"):
            continue
        path = os.path.join(folder, segment.name)
        if not os.path.lexists(f"{path}.gz"):  # else a tidier died before its last step
            _compress(path)
        os.unlink(path)
    closed = segments(folder)
    sizes = [os.stat(os.path.join(folder, segment.name)).st_size for segment in closed]
    while len(closed) > 1 and sum(sizes) > keep_bytes:
        os.unlink(os.path.join(folder, closed.pop(0).name))
        sizes.pop(0)
    if len(closed) > 1 and _age_s(_times(folder, closed[0]), _times(folder, closed[-1])) > keep_s:
        os.unlink(os.path.join(folder, closed[0].name))


def _compress(path: str) -> None:
    press = zlib.compressobj(6, zlib.DEFLATED, 31)
    aside = f"{path}.gz.{os.getpid()}.tmp"
    pressed = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for block in _blocks(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), False, 0):
            write_all(pressed, press.compress(block))
        write_all(pressed, press.flush())
        os.fsync(pressed)
    except OSError:
        os.unlink(aside)
        raise
    finally:
        os.close(pressed)
    os.rename(aside, f"{path}.gz")
    sync_directory(os.path.dirname(path))


class _Times(NamedTuple):
    """When the records of a segment were written."""

    earliest: float
    """Wall clock."""
    latest: float
    first: tuple[str, float]
    """Boot, and the clock that counts within it."""
    last: tuple[str, float]


_STAMP = re.compile(rb'"ts":([0-9.e+-]+),"mono":([0-9.e+-]+),"boot":"([^"\\]*)"')


def _times(folder: str, segment: Segment) -> _Times | None:
    """Return when a segment was written, None when none of its records says so."""
    blocks = _blocks(_open_to_read(folder, segment.name), segment.name.endswith(".gz"), 0)
    found = None
    for line in (line for batch in _batches_of(blocks, 0) for line in batch.lines):
        if stamp := _STAMP.search(line):
            try:
                at, mono = float(stamp[1]), float(stamp[2])
            except ValueError:
                continue  # a damaged line
            here = (stamp[3].decode("ascii", "replace"), mono)
            found = _Times(min(found.earliest, at), max(found.latest, at), found.first, here) if found else _Times(at, at, here, here)
    return found


def _age_s(old: _Times | None, new: _Times | None) -> float:
    """Return how much later the one was begun than the other was ended, as far as that is certain; 0 when it is not."""
    if old is None or new is None:
        return 0.0
    if old.last[0] == new.first[0]:
        return new.first[1] - old.last[1]
    return new.earliest - old.latest


class Batch(NamedTuple):
    """Whole lines that stand one behind the other in the log, without their newlines."""

    begin: int
    after: int
    """Where the next batch begins, unless what comes next was removed with an old segment."""
    lines: list[bytes]

    def offset_of(self, index: int) -> int:
        """Return where a line begins."""
        return self.begin + sum(map(len, self.lines[:index])) + index

    def each(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield each line: where it begins, where the next one begins, its bytes."""
        begin = self.begin
        for line in self.lines:
            after = begin + len(line) + 1 if len(line) < LINE_LIMIT_BYTES else self.after
            yield begin, after, line
            begin = after


def batches(folder: str, offset: int = 0) -> Iterator[Batch]:
    """Yield the whole lines from a byte offset on, many at a time.

    A tail without a newline is not yielded: its writer may still be writing. What was removed with an old segment is left out.

    A line as long as `LINE_LIMIT_BYTES` or longer is a batch of its own, cut to that length (it cannot be one of ours).
    """
    while True:
        closed = segments(folder)
        older = next((segment for segment in closed if segment.end > offset), None)
        if older is not None:
            try:
                descriptor = _open_to_read(folder, older.name)
            except FileNotFoundError:
                continue  # compressed or removed this very moment
            offset = max(offset, older.begin)
            yield from _batches_of(_blocks(descriptor, older.name.endswith(".gz"), offset - older.begin), offset)
            offset = older.end
            continue
        found = _open_last(folder)
        if found is None:
            if segments(folder) == closed:
                return
            continue
        descriptor, begin = found
        if begin != _base(closed):
            os.close(descriptor)
            continue  # rotated meanwhile
        yield from _batches_of(_blocks(descriptor, False, offset - begin), offset)
        return


def lines(folder: str, offset: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """Yield what `batches` does line by line: where it begins, where the next one begins, its bytes without the newline."""
    for batch in batches(folder, offset):
        yield from batch.each()


class Tail:
    """Reads the log from an offset on, again and again, each time what is new; keeps the file open, so that a look costs two calls."""

    def __init__(self, folder: str, offset: int) -> None:
        self._folder = folder
        self._log = os.path.join(folder, LOG_NAME)
        self.offset = offset
        """Of the first line not given out yet."""
        self._descriptor = -1
        self._file = (0, 0)
        self._begin = 0

    def new(self) -> Iterator[Batch]:
        """Yield what was appended since the last look; `offset` stands behind the batch that was given out last."""
        if self._descriptor >= 0 and not self._stands():
            self.close()
        if self._descriptor < 0:
            for batch in batches(self._folder, self.offset):
                self.offset = batch.after
                yield batch
            self._open()
            return
        size = os.fstat(self._descriptor).st_size
        if self._begin + size <= self.offset:
            return
        for batch in _batches_of(_blocks(os.dup(self._descriptor), False, self.offset - self._begin), self.offset):
            self.offset = batch.after
            yield batch

    def close(self) -> None:
        """Let go of the file; the next look opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _stands(self) -> bool:
        try:
            named = os.lstat(self._log)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == self._file

    def _open(self) -> None:
        found = _open_last(self._folder)
        if found is None:
            return
        self._descriptor, self._begin = found
        held = os.fstat(self._descriptor)
        self._file = (held.st_dev, held.st_ino)
        if self.offset < self._begin:
            self.close()  # rotated since: the next look reads on in the closed one


def _open_last(folder: str) -> tuple[int, int] | None:
    """Open the log's last file; return its descriptor and where it begins, None when it is not there."""
    while True:
        begin = _base(segments(folder))
        try:
            descriptor = _open_to_read(folder, LOG_NAME)
        except FileNotFoundError:
            return None
        if _base(segments(folder)) == begin:
            return descriptor, begin
        os.close(descriptor)  # rotated between the list and the opening: which part this is would be a guess


def end(folder: str) -> int:
    """Return the offset behind the last byte of the log."""
    while True:
        base = _base(segments(folder))
        try:
            size = os.lstat(os.path.join(folder, LOG_NAME)).st_size
        except FileNotFoundError:
            size = 0
        if _base(segments(folder)) == base:
            return base + size


def before(folder: str, offset: int, count: int = 256) -> bytes:
    """Return at most `count` bytes that stand before `offset` in the same file; b"" where that file is gone or begins there.

    Raises:
        OSError: a file is there and cannot be read.
    """
    closed = segments(folder)
    own = next((segment for segment in closed if segment.begin < offset <= segment.end), None)
    begin, name = (own.begin, own.name) if own else (_base(closed), LOG_NAME)
    try:
        blocks = _blocks(_open_to_read(folder, name), name.endswith(".gz"), max(0, offset - begin - count))
    except FileNotFoundError:
        return b""
    return next(blocks, b"")[: min(count, max(0, offset - begin))]


def _open_to_read(folder: str, name: str) -> int:
    return os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _blocks(descriptor: int, compressed: bool, skip: int) -> Iterator[bytes]:
    """Yield the bytes of an open file from `skip` on, and close it; a compressed one that is damaged ends where the damage begins."""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not compressed:
            file.seek(skip)
            while block := file.read(BLOCK_BYTES):
                yield block
            return
        import gzip

        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            try:
                unpacked.seek(skip)
                while block := unpacked.read(BLOCK_BYTES):
                    yield block
            except (EOFError, zlib.error, gzip.BadGzipFile):
                yield b"\0damaged compressed segment\n"  # no event, so it is counted and shown as one


def _batches_of(blocks: Iterator[bytes], begin: int) -> Iterator[Batch]:
    rest = b""
    skipped = 0  # bytes of an overlong line already let go
    for block in blocks:
        whole = (rest + block).split(b"\n")
        rest = whole.pop()
        if whole and len(whole[0]) >= LINE_LIMIT_BYTES:  # only the first one can have begun in an earlier block
            line = whole.pop(0)
            after = begin + skipped + len(line) + 1
            yield Batch(begin, after, [line[:LINE_LIMIT_BYTES]])
            begin, skipped = after, 0
        if whole:
            after = begin + sum(map(len, whole)) + len(whole)
            yield Batch(begin, after, whole)
            begin = after
        if len(rest) > LINE_LIMIT_BYTES:
            skipped += len(rest) - LINE_LIMIT_BYTES
            rest = rest[:LINE_LIMIT_BYTES]


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
    """Return the event a line holds, or `Bad` with the reason.

    The checksum is compared on the bytes, before anything of them is believed; format 1 had none.
    """
    return _parser()(line)


def parse_all(lines: Iterable[bytes]) -> list[LogEvent | Bad]:
    """Return what `parse` makes of each line."""
    return list(map(_parser(), lines))


@cache
def _parser() -> Callable[[bytes], LogEvent | Bad]:
    """Return what parses one line; made once, because looking its parts up would take as long as the decoding."""
    import msgspec

    from stretto.model import EVENT_DECODER, FORMAT_VERSION, Bad

    decode, checksum = EVENT_DECODER.decode, zlib.crc32
    undecodable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError)

    def parsed(line: bytes) -> LogEvent | Bad:
        text = line[:-_SEAL_BYTES]
        if not line.endswith(b',"crc":"%08x"}' % checksum(text)):
            return unsealed(line)
        try:
            event: LogEvent = decode(text + b"}")
        except undecodable as error:
            return Bad(line, str(error))
        return event if event.v <= FORMAT_VERSION else newer(line, event.v)

    def unsealed(line: bytes) -> LogEvent | Bad:
        if not line:
            return Bad(line, "an empty line")
        if line[-_SEAL_BYTES:-_CRC_BYTES] == b',"crc":"':
            return Bad(line, DAMAGED)
        try:
            event: LogEvent = decode(line)
        except undecodable as error:
            return Bad(line, str(error))
        if event.v > FORMAT_VERSION:
            return newer(line, event.v)
        return event if event.v <= 1 else Bad(line, UNSEALED)

    def newer(line: bytes, version: int) -> Bad:
        return Bad(line, f"written by a newer version (format {version}, this one reads {FORMAT_VERSION})")

    return parsed
