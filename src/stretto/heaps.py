"""Folders with very many files that are no part of a scan: a data set, what a link to one leads to. Hides how one question is put to them.

A scan keeps a record of each file and asks for each again, before a run, after it and at every question. For a heap that is not paid. It is
looked at only when a result would else be used, and is asked one thing: has anything in it changed since the run began? Every change of a
file moves its change time, which no program can put back, and whatever comes or goes changes the names; so one walk at the question answers
for the whole time since, and what the heap was when the run began need not be known. What changed shortly before counts as changed since.

Promises: opens folders only; what cannot be seen (no such folder, a read error, too many files) is a `trouble`, and then everything moved.
"""

from __future__ import annotations

import os
import stat
import time
from typing import NamedTuple

LIMIT_S = 2.0
"""Of this thread's processor time, which other work on the machine does not use up: a million files, warm."""
LINKS_MOST = 1000
"""Links in one heap, each of which is followed at every scan."""
TICK_NS, SECOND_NS = 50_000_000, 2_000_000_000
"""By how much a file's time may lag behind the clock: some ticks of the kernel's, or two seconds where times are whole seconds."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_NOT_SUMMED = (1 << 64) - 1


class Moment(NamedTuple):
    """When something was, on two clocks: the one that files are dated by can be set, the other cannot."""

    wall_ns: int
    steady_ns: int

    @classmethod
    def now(cls) -> Moment:
        return cls(time.time_ns(), time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))

    def set_back_since(self, before: Moment, slack_ns: int) -> bool:
        """Say whether the clock of files was set back meanwhile, so that what changed may be dated before `before`."""
        return (self.wall_ns - before.wall_ns) < (self.steady_ns - before.steady_ns) - slack_ns


NEVER = Moment(0, 0)


class Walk(NamedTuple):
    """What one walk through a heap found."""

    entries: int
    newest_ns: int
    """The latest change time of anything in it, the folder itself included."""
    names: int
    """A sum over all names and inodes: it differs when something came or went."""
    links: tuple[tuple[str, str], ...]
    """Path below the heap, target."""
    packages: bool
    """There are installed packages or repositories in it, which are compared in ways of their own."""
    took_s: float
    trouble: str


def walk(top: str, limit_s: float = LIMIT_S) -> Walk:
    """Ask everything in a folder when it last changed."""
    began_s = time.thread_time()
    entries = newest_ns = names = 0
    links: list[tuple[str, str]] = []
    packages, trouble = False, ""
    stack = [top]
    ask = os.stat
    while stack and not trouble:
        path = stack.pop()
        try:
            folder = os.open(path, _FOLDER)
        except OSError as error:
            trouble = f"{path} cannot be listed ({error.strerror})"
            break
        try:
            newest_ns = max(newest_ns, os.fstat(folder).st_ctime_ns)
            listed = os.listdir(folder)
            entries += len(listed)
            packages = packages or not _PACKAGED.isdisjoint(listed)
            for name in listed:
                seen = ask(name, dir_fd=folder, follow_symlinks=False)
                changed_ns = seen.st_ctime_ns
                if changed_ns > newest_ns:
                    newest_ns = changed_ns
                names += hash(name) ^ seen.st_ino
                kind = seen.st_mode & 0o170000
                if kind == stat.S_IFDIR:
                    stack.append(f"{path}/{name}")
                elif kind == stat.S_IFLNK:
                    links.append((f"{path[len(top) + 1 :]}/{name}".lstrip("/"), os.readlink(name, dir_fd=folder)))
        except OSError as error:
            trouble = f"{path} changed while it was looked at ({error.strerror})"
        finally:
            os.close(folder)
        if time.thread_time() - began_s > limit_s:
            trouble = f"{top} has too many files: {entries:,} were looked at in {limit_s:g} s, and that was not all"
        if len(links) > LINKS_MOST:
            trouble = f"{top} has more than {LINKS_MOST} links in it"
    return Walk(entries, newest_ns, names & _NOT_SUMMED, tuple(links), packages, time.thread_time() - began_s, trouble)


_PACKAGED = frozenset({"pyvenv.cfg", "conda-meta", "node_modules", ".git"})


class Heap:
    """One such folder, and what was last seen of it."""

    def __init__(self, path: str, first: Walk, at: Moment) -> None:
        """Begin with a walk that was begun at a moment."""
        self.path = path
        self.last = first
        self._same_since = self._looked_at = at
        """Since when the names in it are what they are, as far as was looked; when it was looked at last."""

    def moved_since(self, before: Moment) -> bool:
        """Say whether anything in it may have changed since, as the last walk tells."""
        newest_ns = self.last.newest_ns
        slack_ns = TICK_NS if newest_ns % 1_000_000_000 else SECOND_NS
        return bool(self.last.trouble) or newest_ns >= before.wall_ns - slack_ns or self._same_since.steady_ns > before.steady_ns

    def look(self, rest_s: float) -> Walk:
        """Walk through it now, unless it was found to be trouble less than `rest_s` ago."""
        at, before = Moment.now(), self.last
        if before.trouble and at.steady_ns - self._looked_at.steady_ns < rest_s * 1e9:
            return before
        self.last, self._looked_at = walk(self.path), at
        if (self.last.names, self.last.entries, self.last.trouble) != (before.names, before.entries, before.trouble):
            self._same_since = at
        return self.last
