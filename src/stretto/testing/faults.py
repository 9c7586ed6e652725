"""Makes the n-th system call of one kind fail or kill its process, in a supervisor and in the monitors it starts.

Nothing in the product knows of it: a test hands the hook another interpreter (`interpreter`), which opens this door and then becomes
the supervisor. Promises: no variable and no file of a project can open it; a fault happens once in one process, one with a `+` for
ever; what is not named in the fault works as ever. Standard library only, because monitors run without packages.

`mounted` gives a folder a small file system of its own, for as long as a test needs a full or a read-only disk.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 1 << 14, 1 << 18


class Fault(NamedTuple):
    """`do` at the `when`-th `call` of the supervisor or of each monitor."""

    who: str
    """supervisor or monitor."""
    call: str
    """A function of `os` (open, write, rename, fsync, fdatasync, mkdir, unlink, fork), `flock`, `spawn` for subprocess.Popen, or
    `clock`: then the wall clock is wrong by the seconds that the file `clock` beside `fired` says, for as long as it is there; or `mounts`:
    then the system's mounts are those that the file `mounts` beside `fired` lists."""
    when: int
    do: str
    """kill-before, kill-after, short (half of a write), flip (one bit of a write), or the name of an errno; with a `+` behind it: from then
    on, and of writes only those to a file (a quota, a disk that stays full)."""


def interpreter(folder: Path, fault: Fault) -> str:
    """Write a program that stands for the supervisor's interpreter and opens the door; return its path.

    The file `fired` in the folder says afterwards that the fault happened.
    """
    path = folder / "faulty-python"
    package = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path.insert(0, {str(package)!r}); from stretto.testing.faults import supervise; supervise(sys.argv[1:])"
    words = shlex.join([sys.executable, "-I", "-c", code, fault.who, fault.call, str(fault.when), fault.do, str(folder / "fired")])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o700)
    return str(path)


def supervise(arguments: list[str]) -> None:
    """Be the supervisor that the arguments behind the fault's describe, with the fault in it or in its monitors."""
    who, call, when, do, fired = arguments[:5]
    base, key, word = arguments[-3:]
    from stretto.executors import local

    if who == "monitor":
        door = f"from stretto.testing.faults import install; install({call!r}, {int(when)}, {do!r}, {fired!r}); from stretto.monitor"
        local.LAUNCH = local.LAUNCH.replace("from stretto.monitor", door)
    from stretto import daemon

    if who == "supervisor":
        install(call, int(when), do, fired)
    daemon.main([base, key, word])


def install(call: str, when: int, do: str, fired: str) -> None:
    """Open the door in this process, and in what it forks from now on."""
    if call == "clock":
        time.time = _jumping(time.time, os.path.join(os.path.dirname(fired), "clock"))
        return
    if call == "mounts":
        from stretto import disk  # here, because a monitor has no need of it

        disk.MOUNTS = os.path.join(os.path.dirname(fired), "mounts")
        return
    owner, name = {"spawn": (subprocess, "Popen"), "flock": (fcntl, "flock")}.get(call, (os, call))
    setattr(owner, name, _faulty(getattr(owner, name), name, when, do, fired))


def _faulty(real: Callable[..., Any], name: str, when: int, do: str, fired: str) -> Callable[..., Any]:
    count = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if do.endswith("+") and name == "write" and not _is_file(args[0]):
            return real(*args, **kwargs)
        count += 1
        if count != when and not (do.endswith("+") and count > when):
            return real(*args, **kwargs)
        open(fired, "w").close()
        if do == "kill-before":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "short":
            descriptor, data = args
            return real(descriptor, bytes(data)[: max(1, len(data) // 2)])
        if do == "flip":
            descriptor, data = args
            at = len(data) // 2
            return real(descriptor, bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :]))
        if not do.startswith("kill"):
            number = getattr(errno, do.removesuffix("+"))
            raise OSError(number, os.strerror(number))
        result = real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def _jumping(real: Callable[[], float], path: str) -> Callable[[], float]:
    def now() -> float:
        try:
            with open(path, encoding="ascii") as file:
                return real() + float(file.read() or 0)
        except FileNotFoundError:
            return real()

    return now


def _is_file(target: object) -> bool:
    return not isinstance(target, int) or stat.S_ISREG(os.fstat(target).st_mode)


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Callable[[], None]]:
    """Put an empty file system of that size on `folder`, seen by this thread and what it starts; yields what makes it read-only.

    Raises:
        PermissionError: the system allows no mount here; nothing has changed.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def done(result: int, what: str) -> None:
        if result != 0:
            raise PermissionError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.getcwd()
    done(libc.unshare(_CLONE_NEWNS), "a mount namespace")
    try:
        done(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "a private mount")
        target = os.fsencode(folder)
        done(libc.mount(b"none", target, b"tmpfs", 0, f"size={size_bytes},mode=700".encode()), "a tmpfs")
        yield lambda: done(libc.mount(b"none", target, b"tmpfs", _MS_REMOUNT | _MS_RDONLY, None), "read-only")
    finally:
        done(libc.setns(before, _CLONE_NEWNS), "the way back")
        os.close(before)
        os.chdir(here)
