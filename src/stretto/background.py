"""Processes that a session's calls left running, and whether they did anything between two looks. Pure.

A background call, `( ... ) &`, `nohup` or an interrupted call goes on after the host has said that it ended. What it does then no scan
need show, so the processes are found once, when the call ends, and looked at from then on. Promises:
- a process that used no time of a processor and is not about to did nothing: as long as all stand still, nothing is said to have happened;
- one that takes connections, and what it starts, is a server: it may work without anything being said (docs/join.md), but not begin to
  serve or end without it;
- what is not known counts as work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple


class Seen(NamedTuple):
    """One process at one moment."""

    start: str
    """The kernel's start time: with the pid it names one process of this boot."""
    parent: int
    leader: int = 0
    """The process whose session of processes it is in."""
    work: tuple[bytes, ...] = ()
    """What each of its threads has used of the processors so far, as the kernel words it; () where that cannot be seen."""
    busy: bool = False
    """A thread runs at this moment, or cannot be interrupted in what it does."""
    serves: bool = False
    """It takes connections."""


Processes = Mapping[int, Seen]
Orphans = Callable[[str, int, Collection[int]], Processes]


class _Left:
    """What one call left running."""

    def __init__(self, session: str, announced: bool, harmless: bool, seen: Processes) -> None:
        self.session, self.announced, self.harmless, self.seen = session, announced, harmless, dict(seen)


class Background:
    """All that the calls of a project's sessions left running."""

    def __init__(self) -> None:
        self._left: list[_Left] = []
        self.active = False
        """Something was at work at the last look, or has just been."""

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def of_sessions(self) -> bool:
        """Whether a session's own calls are known to have left something running that still lives."""
        return any(left.session for left in self._left)

    def follow(self, found: Processes, *, session: str, announced: bool, harmless: bool) -> None:
        """Follow what was found when a call ended; what is followed already stays with the call it was found at.

        Args:
            session: whose call it was, "" when that is not known.
            announced: a hook told of the call, so a check below these processes is one that a session runs.
            harmless: nothing in the call is of unknown effects.
        """
        for left in self._left:
            if left.harmless and not harmless:  # it was met before it was known whose it is
                left.seen = {pid: seen for pid, seen in left.seen.items() if pid not in found}
        known = self.pids()
        if new := {pid: seen for pid, seen in found.items() if pid not in known}:
            self._left.append(_Left(session, announced, harmless, new))

    def pids(self) -> set[int]:
        return {pid for left in self._left for pid in left.seen}

    def announced(self, above: Collection[int]) -> bool:
        """Say whether a process with these ancestors (itself among them) was started by a call of which a hook told."""
        return any(left.announced and not left.seen.keys().isdisjoint(above) for left in self._left)

    def look(self, processes: Callable[[Collection[int]], Processes], orphans: Orphans, ours: Collection[int] = ()) -> bool:
        """Say whether anything may have happened since the last look.

        Args:
            processes: returns those of these pids that live, and all their descendants.
            orphans: finds what somebody who ended has left: by the session, since when, and whose sessions of processes it may be in.
            ours: shims whose command is recorded: what that does is known in another way.
        """
        happened = False
        for left in self._left:
            found = dict(processes(left.seen))
            if any(pid not in found or found[pid].start != seen.start for pid, seen in left.seen.items()):
                since_ticks = min(int(seen.start) for seen in left.seen.values())
                others = self.pids() - left.seen.keys()
                lost = orphans(left.session, since_ticks, {seen.leader for seen in left.seen.values()})
                found |= {pid: seen for pid, seen in lost.items() if pid not in others}
            before, now = _without(left.seen, ours), _without(found, ours)
            happened = (not left.harmless and _worked(before, now)) or happened
            left.seen = now
        self._left = [left for left in self._left if left.seen]
        self.active = happened and any(not left.harmless for left in self._left)
        return happened


def _without(seen: Processes, tops: Collection[int]) -> dict[int, Seen]:
    return {pid: each for pid, each in seen.items() if not _is_below(pid, seen, tops)}


def _worked(before: Processes, now: Processes) -> bool:
    serving = {pid for pid, seen in now.items() if seen.serves and pid in before and before[pid].serves and before[pid].start == seen.start}
    for pid, seen in before.items():
        gone = pid not in now or now[pid].start != seen.start
        if gone and (seen.serves or not _is_below(pid, before, serving)):
            return True
    for pid, seen in now.items():
        if _is_below(pid, now, serving):
            continue
        if pid not in before or seen.busy or not seen.work or seen.work != before[pid].work:
            return True
    return False


def _is_below(pid: int, among: Processes, tops: Collection[int]) -> bool:
    """Say whether a process is one of these or descends from one."""
    passed: set[int] = set()
    while pid in among and pid not in passed:
        if pid in tops:
            return True
        passed.add(pid)
        pid = among[pid].parent
    return pid in tops
