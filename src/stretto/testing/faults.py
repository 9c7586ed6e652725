"""Makes the n-th system call of one kind fail or kill its process: a supervisor, the monitors it starts, a shim, a hook's client.

Nothing in the product knows of it: a test hands out another interpreter (`interpreter`), which opens this door and then becomes
what it stands for. Promises: no variable and no file of a project can open it; a fault happens once in one process, one with a `+` for
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


_ANY = "any"
"""For `call`: whatever is called, so that a number counts every step there is."""
_POSIX = tuple(
    """
    open read write pread close dup2 rename unlink mkdir pipe pipe2 fork execve waitpid kill fstat stat lstat statvfs access readlink
    listdir chdir setsid pidfd_open set_blocking fsync fdatasync _exit
    """.split()  # noqa: SIM905  a list of words
)
_SOCKET = ("connect", "send", "sendall", "recv")


class Fault(NamedTuple):
    """`do` at the `when`-th `call` of one process."""

    who: str
    """supervisor, monitor (each of them), shim or client."""
    call: str
    """A function of `os` (open, write, rename, fsync, fdatasync, mkdir, unlink, fork...), `spawn` for subprocess.Popen, `flock`, one of a
    socket (connect, send, sendall, recv), `any` of them, or `clock`: then the wall clock is wrong by the seconds that the file `clock`
    beside `fired` says, for as long as it is there; or `mounts`: then the system's mounts are those that the file `mounts` beside `fired`
    lists."""
    when: int
    do: str
    """kill-before, kill-after, short (half of a write), flip (one bit of a write), trace (write down every step, break none), or the name
    of an errno; with a `+` behind it: from then on, and of writes only those to a file (a quota, a disk that stays full)."""
    depth: int = 0
    """In an island: 0 for the process itself, 1 for what it forked, 2 for what that forked."""


class Step(NamedTuple):
    """One call that a process made, as `trace` writes it down."""

    depth: int
    call: str
    at: int
    """Which of all the calls of its process, from 1."""
    fd: int
    """The descriptor it was for, -1 where there is none."""


def steps(folder: Path) -> list[Step]:
    """Return what an island with the fault `trace` did, in the order it was done."""
    rows = [line.split() for line in (folder / "fired").read_text().splitlines()]
    return [Step(int(depth), call, int(at), int(fd)) for depth, call, at, fd in rows]


def interpreter(folder: Path, fault: Fault) -> str:
    """Write a program that stands for an interpreter and opens the door: the supervisor's, or that of an island; return its path.

    The file `fired` in the folder says afterwards that the fault happened.
    """
    path = folder / f"faulty-{fault.who}"
    package = Path(__file__).resolve().parents[2]
    door = "island" if fault.who in ("shim", "client") else "supervise"
    code = f"import sys; sys.path.insert(0, {str(package)!r}); from stretto.testing.faults import {door}; {door}(sys.argv[1:])"
    flags = ["-I", "-S"] if door == "island" else ["-I"]
    told = [fault.who, fault.call, str(fault.when), fault.do, str(fault.depth), str(folder / "fired")]
    words = shlex.join([sys.executable, *flags, "-c", code, *told])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o700)
    return str(path)


def altered(folder: Path, statement: str) -> str:
    """Write a program that stands for the supervisor's interpreter and does a Python statement first (a pause made shorter); its path."""
    path = folder / "altered-python"
    package = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {package!r}); {statement}; from stretto.daemon import main; main(sys.argv[-3:])"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-c", code])} "$@"\n')
    path.chmod(0o700)
    return str(path)


def supervise(arguments: list[str]) -> None:
    """Be the supervisor that the arguments behind the fault's describe, with the fault in it or in its monitors."""
    who, call, when, do, _, fired = arguments[:6]
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
    owner: Any
    if call == "spawn":
        owner, name = subprocess, "Popen"
    elif call == "flock":
        owner, name = fcntl, call
    elif call in _SOCKET:
        import socket

        owner, name = socket.socket, call
    else:
        owner, name = os, call
    door = _Door(call, when, do, fired, None)
    setattr(owner, name, door.wrap(call, getattr(owner, name)))


def island(arguments: list[str]) -> None:
    """Be the island that the arguments behind the fault's start (`-I -S -c CODE ARGUMENTS`), with the fault in it."""
    import _socket

    _, call, when, do, depth, fired = arguments[:6]
    code, rest = arguments[9], arguments[10:]
    posix: Any = sys.modules["posix"]
    door = _Door(call, int(when), do, fired, int(depth))
    for name in _POSIX:
        if hasattr(posix, name):
            setattr(posix, name, door.wrap(name, getattr(posix, name)))
    fcntl.flock = door.wrap("flock", fcntl.flock)
    members = {name: door.wrap(name, getattr(_socket.socket, name)) for name in _SOCKET}
    _socket.socket = type("socket", (_socket.socket,), members)  # type: ignore[assignment, misc]
    sys.argv = ["-c", *rest]
    exec(compile(code, "<island>", "exec"), {"__name__": "__main__"})


class _Door:
    """Counts the steps of a process and of each one it forks, and breaks one of them."""

    def __init__(self, call: str, when: int, do: str, fired: str, depth: int | None) -> None:
        self._call, self._when, self._do, self._fired, self._depth = call, when, do, fired, depth
        self._here = 0
        self._count = 0
        self._all = 0

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._step(name, real, args, kwargs)
            if name == "fork" and result == 0:
                self._here, self._count, self._all = self._here + 1, 0, 0
            return result

        return call

    def _step(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._all += 1
        if self._do == "trace":
            descriptor = args[0] if args and isinstance(args[0], int) else -1
            _note(self._fired, f"{self._here} {name} {self._all} {descriptor}\n")
            return real(*args, **kwargs)
        if self._call in (name, _ANY) and self._depth in (None, self._here):
            if self._do.endswith("+") and name == "write" and not _is_file(args[0]):
                return real(*args, **kwargs)
            self._count += 1
            if self._count == self._when or (self._do.endswith("+") and self._count > self._when):
                return self._break(real, args, kwargs)
        return real(*args, **kwargs)

    def _break(self, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _note(self._fired, "")
        if self._do == "kill-before":
            _KILL(os.getpid(), signal.SIGKILL)
        if self._do == "short":
            descriptor, data = args
            return real(descriptor, bytes(data)[: max(1, len(data) // 2)])
        if self._do == "flip":
            descriptor, data = args
            at = len(data) // 2
            return real(descriptor, bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :]))
        if not self._do.startswith("kill"):
            if real is _CLOSE:  # lets go of the descriptor whatever it reports
                real(*args, **kwargs)
            number = getattr(errno, self._do.removesuffix("+"))
            raise OSError(number, os.strerror(number))
        result = real(*args, **kwargs)
        _KILL(os.getpid(), signal.SIGKILL)
        return result


_OPEN, _WRITE, _CLOSE, _KILL = os.open, os.write, os.close, os.kill
"""The real ones, whatever the door is open for."""


def _note(path: str, line: str) -> None:
    descriptor = _OPEN(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _WRITE(descriptor, line.encode())
    _CLOSE(descriptor)


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
