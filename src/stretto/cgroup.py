"""A control group (version 2) of its own for the tree of one run, where the system lets us make one.

Standard library only and light, because every monitor carries it. Promises:
- it is made inside the group we are in, so the run stays under every limit that holds for us, and no other group is changed;
- it is named after the attempt, its path is on disk before it exists, and nothing is ended or removed that has not both;
- where none can be made (not writable, no second version, no clone3) `make` says so, and nothing else is different.

What it gives: `kill` ends the whole tree in one step of the kernel, whatever it did to its environment, parents and sessions; `members`
finds it after its owner's death; the kernel counts what it refused (tasks) and killed (memory) where those controllers are enabled.

Source of the choices: decision 0009.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from functools import cache
from typing import Final

from stretto.system import LINUX, open_private, peek

PREFIX: Final = "stretto-"
RECORD: Final = "group"
"""The file in an attempt's directory that holds the path."""
CLONE_INTO_CGROUP: Final = 0x200000000
CLONE3: Final = 435
"""The same number on every architecture that has it (Linux 5.7 for the flag)."""
REMOVE_S = 1.0
"""So long the kernel may take to let go of an ended process before its group is left behind."""


class Group:
    """One control group of ours, by its directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fork(self) -> int:
        """Fork into the group; 0 in the child, which is in it from its first moment.

        By clone3: writing a pid to `cgroup.procs` waits for a grace period of the kernel (5 to 15 ms measured, against 0.3 ms).
        Python is not told, so the child may only become another program or leave, and the caller has one thread.

        Raises:
            OSError: the system does not let us (errno says why); nothing was forked.
        """
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            asked = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, directory)
            pid = _python_dll().syscall(CLONE3, asked, len(asked))
            if pid < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return int(pid)
        finally:
            os.close(directory)

    def limit_tasks(self, most: int) -> None:
        """Have the kernel refuse more tasks than that, where it counts them; `refused_tasks` says afterwards that it did."""
        self._write("pids.max", str(most))

    def refused_tasks(self) -> bool:
        return self._event("pids.events", b"max") > 0

    def memory_kills(self) -> int | None:
        """Return how many of our processes the kernel killed for want of memory, None where it does not count them by group."""
        return None if not os.path.exists(os.path.join(self.path, "memory.events")) else self._event("memory.events", b"oom_kill")

    def members(self) -> list[int]:
        """Return the pids in the group and in what was made inside it."""
        found: list[int] = []
        for folder in self._folders():
            found += [int(word) for word in peek(os.path.join(folder, "cgroup.procs")).split()]
        return found

    def kill(self) -> None:
        """End all that is in the group, forks under way included. Before Linux 5.14 nothing happens: the caller looks for itself, too."""
        self._write("cgroup.kill", "1")

    def hold(self, held: bool) -> bool:
        """Hold all that is in the group back, and what comes into it, or let it go on; False where the kernel cannot.

        By `cgroup.freeze` (Linux 5.2), which needs no controller, and which no process, parent or shell can notice; a frozen group can be
        killed. Not by a weight (`cpu.idle`): the kernel has none in a group whose parent has processes, as ours always has.
        """
        return self._write("cgroup.freeze", "1" if held else "0")

    def remove(self) -> bool:
        """Remove the group, and what was made inside it; False while something is still in it."""
        until_s = time.monotonic() + REMOVE_S
        while True:
            for folder in reversed(self._folders()):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # something is still there, or somebody else removed it: looked at below
            if not os.path.isdir(self.path):
                return True
            if time.monotonic() > until_s:
                return False
            time.sleep(0.001)

    def _folders(self) -> list[str]:
        """The group and the groups inside it, each before what is inside it."""
        return [folder for folder, _, _ in os.walk(self.path)]

    def _event(self, name: str, key: bytes) -> int:
        words = peek(os.path.join(self.path, name)).split()
        return next((int(value) for word, value in zip(words[::2], words[1::2], strict=False) if word == key), 0)

    def _write(self, name: str, text: str) -> bool:
        try:
            descriptor = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False  # this kernel, or this group, has no such file
        try:
            os.write(descriptor, text.encode())
            return True
        except OSError:
            return False  # the group has just been removed
        finally:
            os.close(descriptor)


@cache
def _python_dll() -> ctypes.PyDLL:
    return ctypes.PyDLL(None, use_errno=True)


def place() -> str:
    """Return the directory of the control group this process is in, "" when no group can be made inside it."""
    if not LINUX:
        return ""
    _python_dll()  # loaded once for all that are forked from here
    own = next((line[3:] for line in peek("/proc/self/cgroup").split(b"\n") if line.startswith(b"0::")), b"")
    for line in peek("/proc/self/mountinfo").split(b"\n"):
        before, _, after = line.partition(b" - ")
        if own and after.startswith(b"cgroup2 "):
            root, point = before.split(b" ")[3:5]
            if own == root or own.startswith(root.rstrip(b"/") + b"/"):
                path = os.fsdecode(point.rstrip(b"/") + own[len(root.rstrip(b"/")) :]).rstrip("/")
                if "\\" not in path and os.access(path, os.W_OK):  # a backslash: an escaped space, not worth a decoder
                    return path
    return ""


def make(parent: str, folder: str, attempt: str) -> Group | None:
    """Make the group of an attempt and leave its path in the attempt's directory; None where the system does not let us.

    Args:
        parent: what `place` returned.
        folder: the attempt's directory.
    """
    if not parent:
        return None
    group = Group(os.path.join(parent, PREFIX + attempt))
    try:
        descriptor = open_private(os.path.join(folder, RECORD), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, os.fsencode(group.path) + b"\n")
        finally:
            os.close(descriptor)
    except OSError:
        return None
    try:
        os.mkdir(group.path, 0o700)
    except OSError:
        forget(folder)
        return None
    return group


def recorded(folder: str, attempt: str) -> Group | None:
    """Return the group whose path an attempt's directory holds, None when there is none or it is not ours.

    Ours is a directory in the file system of control groups that bears the attempt's name (128 random bits), and that we are not in.
    """
    path = _recorded_path(folder, attempt)
    if not path or os.path.realpath(path) != path:
        return None
    group = Group(path)
    if not os.path.isdir(path) or not _is_cgroup(path) or os.getpid() in group.members():
        return None
    return group


def is_over(folder: str, attempt: str) -> bool:
    """Say whether a run had a group, as its directory says, and that was removed: the kernel removes none in which something lives."""
    path = _recorded_path(folder, attempt)
    try:
        return bool(path) and _is_cgroup(os.path.dirname(path)) and not os.path.lexists(path)
    except OSError:
        return False


def forget(folder: str) -> None:
    """Take the record back of a group that is not used after all."""
    try:
        os.unlink(os.path.join(folder, RECORD))
    except OSError:
        pass  # without it a search finds what there is all the same


def _recorded_path(folder: str, attempt: str) -> str:
    """Return the path that an attempt's directory names as its group, "" when it names none that could be."""
    try:
        descriptor = open_private(os.path.join(folder, RECORD), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        path = os.fsdecode(os.read(descriptor, 4096)).removesuffix("\n")
    except OSError:
        return ""  # a directory where the record should be
    finally:
        os.close(descriptor)
    return path if os.path.isabs(path) and "\0" not in path and os.path.basename(path) == PREFIX + attempt else ""


def _is_cgroup(path: str) -> bool:
    """Say whether a directory lies in a mounted cgroup2: the kernel says so of its device."""
    found = os.stat(path).st_dev
    device = f"{os.major(found)}:{os.minor(found)}".encode()
    return any(
        line.split(b" ")[2] == device and b" - cgroup2 " in line for line in peek("/proc/self/mountinfo").split(b"\n") if b" - " in line
    )
