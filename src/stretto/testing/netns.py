"""A network with nothing in it but loopback, so that no test can reach another host, whatever it starts.

Linux only. Promises: after `isolate()` returned "", the calling thread and every process it starts see one interface, `lo`, and it is
up; user and group ids are what they were before; a second call changes nothing. Otherwise nothing has changed and the text says why.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def isolate() -> str:
    """Move this process into a network namespace of its own; return "" or the reason why that is not possible here.

    Call it before any thread is started: only the calling thread moves, and without root a process with threads is refused by the system.
    Without root the process also enters a user namespace in which its ids are mapped to themselves; files of other users then
    show an unknown owner, and set-uid programs have no effect.
    """
    if not sys.platform.startswith("linux"):
        return f"network namespaces need Linux, this is {sys.platform}"
    return "" if is_isolated() else enter()


def enter() -> str:
    """Do what `isolate` does, wherever the process is: the namespace is always a new one."""
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return f"the system allows no network namespace: {os.strerror(ctypes.get_errno())}"
        try:
            _map_ids(uid, gid)
        except OSError as error:
            # The namespace is entered and cannot be left: going on would run everything as nobody.
            raise RuntimeError(
                f"cannot map uid {uid} into the user namespace: {error}; run the tests as root or without isolation"
            ) from error
    _loopback_up()
    return ""


def is_isolated() -> bool:
    """Say whether this process sees no network interface but loopback, and that one up."""
    return {name for _, name in socket.if_nameindex()} <= {"lo"} and bool(_flags("lo") & _IFF_UP)


def _map_ids(uid: int, gid: int) -> None:
    Path("/proc/self/setgroups").write_bytes(b"deny")  # required before an unprivileged gid_map
    Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (uid, uid))
    Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (gid, gid))


def _flags(interface: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sh14x", interface.encode(), 0))
        except OSError:
            return 0
    return int(struct.unpack("16sh14x", answer)[1])


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _flags("lo") | _IFF_UP))
