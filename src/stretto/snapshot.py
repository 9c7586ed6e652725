"""The fold of the log kept on disk, so that start-up and `status` read the log's tail only.

Hides the file `snapshot`: a line that says what it stands for, then the state as JSON. Promises: it is a cache and never the truth;
one that cannot be read, was made by another version, or does not fit the log on disk is ignored, and the log is folded whole. Written
by the supervisor only, atomically, 0600.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import Any, get_args, get_origin

import msgspec

from stretto import __version__, journal
from stretto.fold import RECENT, State, apply_all
from stretto.model import FORMAT_VERSION
from stretto.system import atomic_write

NAME = "snapshot"
SEGMENT_BYTES = 4 * 1024 * 1024
"""The log begins a new file at this size."""
EVERY_BYTES = 256 * 1024
"""A new snapshot is made when the log has grown by this much: the tail then costs some milliseconds to fold."""
LIMIT_BYTES = 64 * 1024 * 1024


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    made_by: str
    offset: int
    before: str
    """Digest of the bytes just before that offset: a log that was replaced by another one does not fit."""
    digest: str
    """Of the state's bytes."""


def load(folder: str) -> tuple[State, int]:
    """Return the fold of the log in `folder` and the offset of the first line that is not in it yet; the empty state without a log.

    Raises:
        OSError: the log is there and cannot be read.
    """
    state, offset = _read(folder) or (State(), 0)
    for batch in journal.batches(folder, offset):
        offset = batch.after
        state = apply_all(state, journal.parse_all(batch.lines), batch.offset_of)
    return state, offset


def save(folder: str, state: State, offset: int) -> None:
    """Keep the state that the log up to `offset` leads to.

    Raises:
        OSError: it could not be written; an earlier one stands.
    """
    body = pack(state)
    head = _Head(v=FORMAT_VERSION, made_by=__version__, offset=offset, before=_before(folder, offset), digest=_digest(body))
    atomic_write(os.path.join(folder, NAME), msgspec.json.encode(head) + b"\n" + body)


def pack(state: State) -> bytes:
    """Return a state as JSON."""
    return msgspec.json.encode(state, enc_hook=_plain)


def unpack(body: bytes) -> State:
    """Return the state that was packed.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return msgspec.json.decode(body, type=State, dec_hook=_typed)


class Tender:
    """Keeps the log small: snapshots, rotation, compression. One a supervisor, which calls `tend` now and then."""

    def __init__(self, folder: str, log: journal.Journal) -> None:
        self._folder = folder
        self._log = log
        self._saved = -EVERY_BYTES
        self.keep_bytes, self.keep_s = journal.KEEP_BYTES, journal.KEEP_S
        """What may stay of old segments; see `journal.tidy`."""

    def tend(self, state: State, offset: int) -> None:
        """Do what is due; next to nothing when nothing is.

        Raises:
            UnavailableError, OSError: what was due could not be done; the log is as good as before.
        """
        if offset - self._saved < EVERY_BYTES:
            return
        self._saved = offset
        for name in os.listdir(self._folder):
            if name.startswith(f"{NAME}.") and name.endswith(".tmp"):  # one that was killed meanwhile left it
                os.unlink(os.path.join(self._folder, name))
        save(self._folder, state, offset)
        if self._log.rotate(SEGMENT_BYTES):
            journal.tidy(self._folder, self.keep_bytes, self.keep_s)


def _read(folder: str) -> tuple[State, int] | None:
    try:
        descriptor = os.open(os.path.join(folder, NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            head_line, _, body = file.read(LIMIT_BYTES).partition(b"\n")
        head = msgspec.json.decode(head_line, type=_Head)
        if (head.v, head.made_by, head.digest) != (FORMAT_VERSION, __version__, _digest(body)):
            return None
        if not 0 <= head.offset <= journal.end(folder) or head.before != _before(folder, head.offset):
            return None
        return unpack(body), head.offset
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _before(folder: str, offset: int) -> str:
    return _digest(journal.before(folder, offset))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, deque):
        return list(value)
    raise NotImplementedError


def _typed(kind: Any, value: Any) -> Any:
    if get_origin(kind) is deque:
        return deque(msgspec.convert(value, list[get_args(kind)[0]]), maxlen=RECENT)  # type: ignore[misc]
    raise NotImplementedError
