"""One attempt's directory on disk: what a run printed, in which order, and how it ended.

    attempts/ID/   0700
      out          bytes of standard output, or of both streams when they were one file
      err          only when they were not
      frames       only then: five bytes each, stream (1 or 2) and a big-endian length: the order in which the bytes were seen
                   (after `oversize` each ends in a line that says so: it was cut there, in a file of its own, since a joiner may have
                   the first one open)
      cancel       there when the run is not wanted any more, whether its owner has begun or not
      group        the path of the run's control group, where it has one; else
      tree         the processes of the run as its monitor saw them last: what its successor ends when it was killed
      lock         held (flock) by the writer for as long as the command runs and output is being written
      exit         one line `HOW VALUE OUTBYTES ERRBYTES`, renamed into place last; HOW is a word of `model.End`
                   (`lost` also when processes the command left behind went on printing: that is not all of its output)

The writers are the shim (its own child) and the monitor (an ahead run); shims that join read the same files without this module.
Promises: an `exit` that is there is complete, and the sizes it names were on disk before it; a file that does not read as one is
damage and never an exit; a directory is removed only when nobody holds its lock; what a `Seal` was taken of is either what it was, byte
for byte, or known not to be.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from stretto.model import AttemptId, End
from stretto.system import is_locked, open_private, private_directory

CHUNK_BYTES = 1 << 16
LOOK_S = 0.05
"""How often a follower looks for more."""
SEAL_BLOCK_BYTES = 1 << 20
BEGIN_S = 2.0
"""How long a writer may take from the directory's creation until it holds the lock."""
FRAME_BYTES = 5
REMOVED_AT_ONCE = 32
"""Directories that `prune` removes in one call; each takes about half a millisecond."""
HOWS = ("code", "signal", "timeout", "cancelled", "oversize", "memory", "processes", "unstarted", "lost")
_EXIT = re.compile(rf"({'|'.join(HOWS)}) (\d{{1,18}}) (\d{{1,18}}) (\d{{1,18}})\n".encode())
HIDDEN = ".gone-"
"""A directory that is being removed is renamed to this and its id first, so that nobody finds half of one."""


class Exit(NamedTuple):
    """How a run ended and how much it had printed by then; what processes it left print later is not counted."""

    end: End
    out_bytes: int
    err_bytes: int


class Seal(NamedTuple):
    """What an ended run's files were when its result was taken; `still` says whether they are that yet."""

    digest: str
    """`digest_of` all the run printed."""
    exit: Exit
    records: tuple[tuple[int, ...] | None, ...]
    """Of each file in `SEALED`: device, inode, mode, size, times of modification and of change (ns); None for one that is not there."""
    settled: bool
    """None of the files was younger than `RACY_NS`: whoever writes to one later changes its record."""


SEALED = ("out", "err", "frames", "exit")
RACY_NS = 100_000_000
"""Ten ticks of the coarsest clock that kernels stamp files by: two writes within one leave equal times."""


class Chunk(NamedTuple):
    stream: int
    """1 for standard output (and for both, when they were one), 2 for standard error."""
    data: bytes


def create(attempts: str, attempt: AttemptId) -> str:
    """Make the empty directory of a new attempt and return its path; the writer makes the files.

    Raises:
        OSError: it could not be made, or an attempt of that id exists.
        UserError: `attempts` belongs to someone else.
    """
    private_directory(attempts)
    folder = os.path.join(attempts, attempt)
    os.mkdir(folder, 0o700)
    return folder


def folder_of(attempts: str, attempt: AttemptId) -> str:
    return os.path.join(attempts, attempt)


def sizes(folder: str) -> tuple[int, int]:
    """Return the bytes of both streams so far; 0 for one that is not there."""
    return _size(folder, "out"), _size(folder, "err")


def seal(folder: str) -> Seal | None:
    """Read what a run printed and how it says it ended; None when that is not whole, or is not there.

    Cost: the bytes are read once, about a millisecond for each of its megabytes.
    """
    try:
        records = _records(folder)  # before the bytes: what changes meanwhile is noticed at the next look
        now_ns = time.time_ns()
        with _opened(folder, "exit") as file:
            found = parse_exit(file.read(200))
        if found is None or found.end.how not in ("code", "signal"):
            return None
        digest = hashlib.blake2b(digest_size=16)
        for record, name, size in zip(records, SEALED, (found.out_bytes, found.err_bytes, -1), strict=False):
            if size < 0:
                size = record[3] if record else 0
            digest.update(size.to_bytes(8, "big"))
            if size and not _feed(digest, folder, name, size):
                return None
    except OSError:
        return None
    newest_ns = max(max(record[4:]) for record in records if record)
    return Seal(digest.hexdigest(), found, records, newest_ns + RACY_NS < now_ns)


def still(folder: str, seal_then: Seal) -> Seal | None:
    """Return the seal of files that are what they were, None when they are not; only what looks touched is read again."""
    if seal_then.settled and _records(folder) == seal_then.records:
        return seal_then
    now = seal(folder)
    return now if now is not None and (now.digest, now.exit) == (seal_then.digest, seal_then.exit) else None


def printed(folder: str, most_bytes: int) -> tuple[bytes, bytes] | None:
    """Return both streams of an ended run; None when they are not whole, not there, or longer than this together."""
    try:
        with _opened(folder, "exit") as file:
            found = parse_exit(file.read(200))
        if found is None or found.out_bytes + found.err_bytes > most_bytes:
            return None
        streams = []
        for name, size in (("out", found.out_bytes), ("err", found.err_bytes)):
            data = b""
            if size:
                with _opened(folder, name) as file, io.BufferedReader(file) as buffered:
                    data = buffered.read(size)
            if len(data) < size:
                return None
            streams.append(data)
    except OSError:
        return None
    return streams[0], streams[1]


def digest_of(out: bytes, err: bytes = b"", frames: bytes = b"") -> str:
    """Return the digest of what a run printed: each stream, and the order in which two of them came."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (out, err, frames):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def read_exit(folder: str) -> Exit | None:
    """Return how the run ended, None while (or because) nothing is recorded.

    An exit file that no writer of ours wrote, or one that counts output which is not there, reads as `lost`: it never becomes a result.
    """
    try:
        with open(os.path.join(folder, "exit"), "rb") as file:
            text = file.read(200)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = parse_exit(text)
    out, err = sizes(folder)
    if found is None or (found.end.how in ("code", "signal") and (out < found.out_bytes or err < found.err_bytes)):
        return Exit(End(how="lost"), 0, 0)
    return found


def parse_exit(text: bytes) -> Exit | None:
    """Return what an exit line says, None when it is not one."""
    found = _EXIT.fullmatch(text)
    if found is None:
        return None
    value, out, err = (int(number) for number in found.groups()[1:])
    return Exit(End(how=found[1].decode("ascii"), value=value), out, err)  # type: ignore[arg-type]  # one of HOWS


def forbid(folder: str) -> None:
    """Leave word that the run is not wanted any more: an owner that only begins now runs nothing.

    Raises:
        OSError: the word could not be left.
    """
    os.close(open_private(os.path.join(folder, "cancel"), os.O_WRONLY | os.O_CREAT))


def writing(folder: str) -> bool:
    """Say whether the writer lives and is at work."""
    return is_locked(os.path.join(folder, "lock"))


def follow(folder: str, *, live: bool) -> Iterator[Chunk]:
    """Yield what the run printed, in the order in which it was seen.

    Args:
        live: go on until the run has ended or its writer is gone; else stop at what is there now.
    """
    done = {1: 0, 2: 0}
    frames = 0
    split = False
    since = time.monotonic()
    seen_writer = False
    while True:
        # looked at before the bytes: what is on disk after a writer has ended is all there is
        seen_writer = seen_writer or writing(folder)
        begun = seen_writer or time.monotonic() - since > BEGIN_S
        over = not live or read_exit(folder) is not None or (begun and not writing(folder))
        found = read_exit(folder)
        split = split or os.path.exists(os.path.join(folder, "err"))
        if split:
            for stream, length in _frames(folder, frames):
                frames += 1
                yield from _copy(folder, stream, done, done[stream] + length)
        if over or not split:
            yield from _copy(folder, 1, done, found.out_bytes if found else None)
        if over and split:
            yield from _copy(folder, 2, done, found.err_bytes if found else None)
        if over:
            return
        time.sleep(LOOK_S)


def prune(attempts: str, keep: Collection[AttemptId], limit_bytes: int, most: int) -> list[AttemptId]:
    """Remove the oldest finished attempts until at most `most` are left, in at most `limit_bytes`; return the ids removed.

    At most `REMOVED_AT_ONCE` of them, or a quarter of all: whoever waits for the supervisor waits for this, too.

    Args:
        keep: never removed, whatever their size. Neither is one whose writer lives, nor one younger than `BEGIN_S`.
    """
    found: list[tuple[float, int, AttemptId]] = []
    try:
        names = os.listdir(attempts)
    except FileNotFoundError:
        return []
    for name in names:
        folder = os.path.join(attempts, name)
        if name.startswith(HIDDEN):
            shutil.rmtree(folder, ignore_errors=True)  # an earlier removal was cut short; the next prune tries again
            continue
        try:
            found.append((os.stat(folder).st_mtime, sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder)), AttemptId(name)))
        except (FileNotFoundError, NotADirectoryError):
            continue
    total = sum(size for _, size, _ in found)
    removed: list[AttemptId] = []
    for changed_at, size, attempt in sorted(found):
        if (total <= limit_bytes and len(found) - len(removed) <= most) or len(removed) >= max(REMOVED_AT_ONCE, len(found) // 4):
            break
        young = time.time() - changed_at < BEGIN_S
        if attempt in keep or young or writing(os.path.join(attempts, attempt)):
            continue
        remove(attempts, attempt)
        total -= size
        removed.append(attempt)
    return removed


def remove(attempts: str, attempt: AttemptId) -> None:
    """Remove one attempt; a shim that is copying from it keeps its open files and is not disturbed."""
    hidden = os.path.join(attempts, HIDDEN + attempt)
    try:
        os.rename(os.path.join(attempts, attempt), hidden)
    except FileNotFoundError:
        return
    shutil.rmtree(hidden, ignore_errors=True)  # what resists is out of sight, and the next prune tries again


def _records(folder: str) -> tuple[tuple[int, ...] | None, ...]:
    return tuple(_record(os.path.join(folder, name)) for name in SEALED)


def _record(path: str) -> tuple[int, ...] | None:
    try:
        seen = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen.st_dev, seen.st_ino, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _opened(folder: str, name: str) -> io.FileIO:
    # without waiting: somebody may have put a pipe there
    return open(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0)


def _feed(digest: hashlib.blake2b, folder: str, name: str, size: int) -> bool:
    """Take the first `size` bytes of a file into a digest; False when there are fewer."""
    with _opened(folder, name) as file:
        while size:
            data = file.read(min(size, SEAL_BLOCK_BYTES))
            if not data:
                return False
            digest.update(data)
            size -= len(data)
    return True


def _frames(folder: str, skip: int) -> Iterator[tuple[int, int]]:
    try:
        with open(os.path.join(folder, "frames"), "rb") as file:
            file.seek(skip * FRAME_BYTES)
            data = file.read()
    except FileNotFoundError:
        return
    for at in range(0, len(data) - len(data) % FRAME_BYTES, FRAME_BYTES):
        yield data[at], int.from_bytes(data[at + 1 : at + FRAME_BYTES], "big")


def _copy(folder: str, stream: int, done: dict[int, int], upto: int | None) -> Iterator[Chunk]:
    """Yield one stream from where it stands up to a size, or up to its end; `done` moves along."""
    try:
        file = open(os.path.join(folder, "out" if stream == 1 else "err"), "rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(done[stream])
        while data := file.read(CHUNK_BYTES if upto is None else max(0, min(CHUNK_BYTES, upto - done[stream]))):
            done[stream] += len(data)
            yield Chunk(stream, data)


def _size(folder: str, name: str) -> int:
    try:
        return os.stat(os.path.join(folder, name)).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0
