"""The places of the machine: as many runs at a time as it has cores, over all projects, each the lock of one file.

Hides how a place is taken, whose turn it is, and what memory its holder was promised. Promises: a place is free again when its holder dies,
however that happens; whoever waits longest comes first.
"""

from __future__ import annotations

import os

from stretto import observe, system
from stretto.system import Lock, is_locked, private_directory

PROMISE_BYTES = 48
TURN_LIFE_S = 10.0
"""Five times the longest pause between two looks of a supervisor."""
WAITING_MOST = 64
"""Projects that wait at the same time; one more waits without a turn."""


class Slot:
    """A place: the lock of one file in `slots`, in which its holder's promise stands."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def promise(self, memory_bytes: int, monitor_pid: int) -> None:
        self._lock.note(f"{memory_bytes} {monitor_pid}".ljust(PROMISE_BYTES - 1).encode() + b"\n")

    def fileno(self) -> int:
        return self._lock.fileno()

    def close(self) -> None:
        self._lock.close()


class Turn:
    """Our turn among the projects that wait for a place: the lock of a file in `slots`; in it stands since when, and when that was said.

    Whoever waits longest comes first. One that did not say so for `TURN_LIFE_S` is passed over: it is stopped, or has other things to do.
    """

    def __init__(self, slots: str) -> None:
        self._slots = slots
        self._lock: Lock | None = None
        self._since_s = float("inf")

    def comes(self, now_s: float) -> bool:
        """Say whether nobody else waits for longer than we do."""
        own = self._lock.path if self._lock is not None else ""
        for name in os.listdir(self._slots) if os.path.isdir(self._slots) else ():
            path = os.path.join(self._slots, name)
            if name.endswith(".turn") and path != own and is_locked(path) and (said := _read_turn(path)):
                since_s, seen_s = said
                if now_s - seen_s < TURN_LIFE_S and (since_s, path) < (self._since_s, own):
                    return False
        return True

    def wait(self, now_s: float) -> None:
        """Wait from now on, or go on waiting."""
        if self._lock is None:
            folder = private_directory(self._slots)
            for number in range(WAITING_MOST):
                lock = Lock(os.path.join(folder, f"{number}.turn"))
                if lock.try_acquire():
                    self._lock, self._since_s = lock, now_s
                    break
                lock.close()
        if self._lock is not None:
            self._lock.note(f"{self._since_s:.6f} {now_s:.6f}".ljust(PROMISE_BYTES - 1).encode() + b"\n")

    def leave(self) -> None:
        """Wait no longer."""
        if self._lock is not None:
            self._lock.close()
            self._lock, self._since_s = None, float("inf")


def _read_turn(path: str) -> tuple[float, float] | None:
    words = system.peek(path)[:PROMISE_BYTES].split()
    try:
        return (float(words[0]), float(words[1])) if len(words) == 2 else None
    except ValueError:
        return None


def take_place_ahead(slots: str, turn: Turn, now_s: float) -> Slot | None:
    """Take a free place of the machine for a run ahead, None when there is none or another project has waited for longer."""
    place = take_place(slots) if turn.comes(now_s) else None
    if place is None:
        turn.wait(now_s)
    else:
        turn.leave()
    return place


def take_place(slots: str) -> Slot | None:
    """Take a free place of the machine, None when there is none."""
    folder = private_directory(slots)
    for number in range(os.cpu_count() or 1):
        lock = Lock(os.path.join(folder, f"{number}.lock"))
        if lock.try_acquire():
            place = Slot(lock)
            try:
                place.promise(0, 0)  # what its last holder was promised is over
            except OSError:
                place.close()
                raise
            return place
        lock.close()
    return None


def promised_bytes(slots: str) -> int:
    """Return what the holders of all places may still come to need, beyond what they use now."""
    total = 0
    for name in os.listdir(slots) if os.path.isdir(slots) else ():
        path = os.path.join(slots, name)
        if name.endswith(".lock") and is_locked(path) and (promise := _read_promise(path)):
            memory_bytes, pid = promise
            total += max(0, memory_bytes - (observe.resident_bytes(pid) if pid else 0))
    return total


def _read_promise(path: str) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        words = file.read(100).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else None
