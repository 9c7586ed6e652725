"""What a running command does to the machine, as far as the system lets an ordinary user see: the context a process runs in, the
processes it leaves behind, the connections it opens. Linux only; elsewhere the answers say that nothing could be seen.

Promises: looks, never touches; a process that ends while it is looked at is no error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from stretto.system import LINUX, peek

STATUS_LINES = re.compile(
    rb"^(Uid|Gid|Groups|Umask|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):[ \t]*(.*?)[ \t]*$", re.MULTILINE
)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
CONFINING = (b"uid", b"gid", b"groups", b"cap", b"nonewprivs", b"seccomp")
SCOPE = re.compile(rb"/[^/\n]+\.scope$", re.MULTILINE)
"""A terminal's own transient systemd scope: two terminals of one user differ in it and in nothing that a command can notice."""


def own_context() -> bytes:
    """Return the context of this process as text lines, sorted: the same bytes a shim sends of itself (contract-tested).

    Two processes with the same text have the same user, groups, umask, capabilities, seccomp state, limits, namespaces, personality
    and cgroup: a command does the same in either. Elsewhere than on Linux: user, groups and umask only.
    """
    if not LINUX:
        return f"uid={os.getuid()}\ngid={os.getgid()}\ngroups={sorted(os.getgroups())}".encode()
    lines = [name.lower() + b"=" + b" ".join(value.split()) for name, value in STATUS_LINES.findall(peek("/proc/self/status"))]
    for name in NAMESPACES:
        try:
            lines.append(f"ns_{name}={os.readlink(f'/proc/self/ns/{name}')}".encode())
        except OSError:
            continue
    for name in ("limits", "personality"):
        lines.append(name.encode() + b"=" + b"|".join(peek(f"/proc/self/{name}").split(b"\n")))
    lines.append(b"cgroup=" + b"|".join(SCOPE.sub(b"", peek("/proc/self/cgroup")).split(b"\n")))
    return b"\n".join(sorted(lines))


def confinement(pid: int) -> bytes:
    """Return what a process may do, as text lines: user, groups, capabilities, seccomp state, namespaces.

    Equal for two processes when neither is in a sandbox that the other is not in; unlike `own_context` it leaves out what only steers a
    command (umask, limits, cgroup). A process that shows nothing of itself has an empty one; elsewhere than
    on Linux all have.
    """
    lines = [name.lower() + b"=" + b" ".join(value.split()) for name, value in STATUS_LINES.findall(peek(f"/proc/{pid}/status"))]
    lines = [line for line in lines if line.startswith(CONFINING)]
    for name in NAMESPACES:
        try:
            lines.append(f"ns_{name}={os.readlink(f'/proc/{pid}/ns/{name}')}".encode())
        except OSError:
            continue
    return b"\n".join(sorted(lines))


def resident_bytes(pid: int) -> int:
    """Return the memory a process and its descendants hold, shared pages counted in each of them; 0 where that cannot be seen."""
    pages = 0
    for each in [pid, *descendants(pid)] if LINUX else ():
        fields = peek(f"/proc/{each}/statm").split()
        pages += int(fields[1]) if len(fields) > 1 else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def ancestors(pid: int) -> Iterator[int]:
    """Yield the parents of a process, nearest first."""
    while pid > 1:
        fields = _stat(pid)
        if fields is None:
            return
        pid = int(fields[1])
        yield pid


def workers_above(pid: int) -> set[str]:
    """Return the marks (attempt ids) of the workers a process runs in, its own and its ancestors': one of them may have wiped its own."""
    found = set()
    for each in (pid, *ancestors(pid)):
        for entry in peek(f"/proc/{each}/environ").split(b"\0"):
            if entry.startswith(b"STRETTO_WORKER="):
                found.add(entry[15:].decode("ascii", "replace"))
    return found


def descendants(pid: int) -> list[int]:
    """Return all living descendants of a process."""
    found: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop()
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            for word in peek(f"/proc/{parent}/task/{task}/children").split():
                found.append(int(word))
                queue.append(int(word))
    return found


def start_ticks() -> int:
    """Return the kernel's clock as process start times count it: 1/100 s since boot."""
    text = peek("/proc/uptime").split()
    return int(float(text[0]) * os.sysconf("SC_CLK_TCK")) if text else 0


def left_behind(adopters: set[int], since_ticks: int, session: str | None) -> list[int]:
    """Return processes that a finished command left running: begun since then and handed to one of `adopters`.

    Args:
        adopters: init, and whatever stands above the session and may be a subreaper (`systemd --user`).
        session: the Claude Code session that ran it; what else the user started in those seconds does not carry its id. Without one
            that is counted, too: such a result is not used, and the command does not run ahead.

    One of ours does not count.
    """
    mark = b"CLAUDE_CODE_SESSION_ID=" + os.fsencode(session or "")
    found = []
    for name in os.listdir("/proc") if LINUX else ():
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is None or fields[0] in (b"Z", b"X") or int(fields[19]) < since_ticks or int(fields[1]) not in adopters:
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid == os.getuid() and not _ours(int(name)) and carries(int(name), mark if session else b""):
                found.append(int(name))
        except OSError:
            continue
    return found


def remote_connections(pid: int) -> list[str]:
    """Return the remote ends beyond loopback of the sockets a process and its descendants hold open right now."""
    inodes: set[bytes] = set()
    for each in [pid, *descendants(pid)]:
        folder = f"/proc/{each}/fd"
        try:
            for descriptor in os.listdir(folder):
                target = os.readlink(f"{folder}/{descriptor}")
                if target.startswith("socket:["):
                    inodes.add(target[8:-1].encode())
        except OSError:
            continue
    if not inodes:
        return []
    remote = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in peek(f"/proc/{pid}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[9] in inodes and not is_local(fields[2].split(b":")[0]):
                remote.append(fields[2].decode())
    return remote


def is_local(address: bytes) -> bool:
    """Say whether an address of /proc/net (hex, each 32 bits in host order) is loopback or unset."""
    if len(address) == 8:
        return address.endswith(b"7F") or address == b"00000000"
    return address in (b"0" * 32, b"0" * 24 + b"01000000") or (address[:24] == b"0000000000000000FFFF0000" and address.endswith(b"7F"))


def _ours(pid: int) -> bool:
    return b"stretto." in peek(f"/proc/{pid}/cmdline") or b"STRETTO_WORKER=" in peek(f"/proc/{pid}/environ")


def carries(pid: int, entry: bytes) -> bool:
    """Say whether a process has this entry in its environment; one without any (it may have wiped it) counts as having it.

    One that is just ending has no environment either, and no program any more: it does not count.
    """
    environ = peek(f"/proc/{pid}/environ")
    if environ:
        return not entry or entry in environ.split(b"\0")
    try:
        os.readlink(f"/proc/{pid}/exe")
    except FileNotFoundError:
        return False
    except PermissionError:
        pass  # it shows nothing to anybody: it may well be
    return True


def _stat(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat behind the name: state, ppid, pgrp, session, ...; start time is the twentieth."""
    text = peek(f"/proc/{pid}/stat")
    return text[text.rindex(b")") + 2 :].split() if b")" in text else None
