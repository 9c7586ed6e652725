"""Pauses of a project: for a while nothing is joined, run ahead, held up or told. One file in the project's state folder.

Promises: a pause ends by itself within a day, whatever the clocks do; it counts for a supervisor that lives and for the next one; a damaged
file pauses nothing.
"""

from __future__ import annotations

import os

import msgspec

from stretto.errors import UserError
from stretto.model import Record
from stretto.system import atomic_write, boot_id, mono_s, wall_s
from stretto.trust import ProjectPaths


class Pause(Record, frozen=True, kw_only=True):
    """For how long nothing is done in a project, as it stands in the file."""

    made_at: float
    until_at: float
    """Wall clock, for people, and for after a restart of the machine."""
    boot: str
    until_mono_s: float
    """The clock that does not jump, for as long as the machine runs."""


MOST_S = 86_400.0
BYTES_MOST = 4096


def begin(paths: ProjectPaths, for_s: float) -> float:
    """Have nothing done in a project for so long; return until when, on the wall clock.

    Raises:
        UserError: it is no time, or longer than a day.
        OSError: it could not be written.
    """
    if not 1.0 <= for_s <= MOST_S:
        raise UserError(f"cannot pause for {for_s:g} s: it is 1 s to a day; `stretto mode off` lasts")
    now_at = wall_s()
    record = Pause(made_at=now_at, until_at=now_at + for_s, boot=boot_id(), until_mono_s=mono_s() + for_s)
    atomic_write(paths.pause, msgspec.json.encode(record))
    return record.until_at


def end(paths: ProjectPaths) -> bool:
    """End a pause; False when there was none."""
    left = left_s(paths)
    try:
        os.unlink(paths.pause)
    except FileNotFoundError:
        return False
    return left > 0


def left_s(paths: ProjectPaths) -> float:
    """Return for how many seconds more nothing is done in a project, 0.0 when something is. A damaged file pauses nothing."""
    try:
        descriptor = os.open(paths.pause, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            record = msgspec.json.decode(file.read(BYTES_MOST), type=Pause)
    except (OSError, ValueError, msgspec.MsgspecError):
        return 0.0
    now_at = wall_s()
    if record.boot == boot_id():
        return max(0.0, record.until_mono_s - mono_s())
    return max(0.0, record.until_at - now_at) if record.made_at <= now_at else 0.0
