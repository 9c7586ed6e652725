"""What a running command does to the machine, as far as the system lets an ordinary user see: the context a process runs in, the
processes it leaves behind, the connections it opens. Linux only; elsewhere the answers say that nothing could be seen.

Promises: looks, never touches; a process that ends while it is looked at is no error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from stretto.background import Seen
from stretto.model import MEMORY_GROUP
from stretto.system import LINUX, peek

STATUS_LINES = re.compile(
    rb"^(Uid|Gid|Groups|Umask|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):[ \t]*(.*?)[ \t]*$", re.MULTILINE
)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
CONFINING = (b"uid", b"gid", b"groups", b"cap", b"nonewprivs", b"seccomp")
SCOPE = re.compile(rb"/[^/\n]+\.scope$", re.MULTILINE)
"""A terminal's own transient systemd scope: two terminals of one user differ in it and in nothing that a command can notice."""

LISTENS = b"0A"
"""The state of a listening socket in /proc/net."""
ACCEPTS = 0x10000
"""The flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON)."""
GIT = (b"git", b"git-")
"""How the kernel's name of a git process begins: `git`, `git-receive-pack`."""


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


def parent(pid: int) -> int:
    """Return the parent of a process, 0 when it is gone or cannot be seen."""
    fields = _stat(pid)
    return int(fields[1]) if fields is not None else 0


def processes(pids: Collection[int]) -> dict[int, Seen]:
    """Return those of these processes that live, and all their descendants, as they are now."""
    found: dict[int, Seen] = {}
    for pid in pids:
        for each in (pid, *descendants(pid)) if pid not in found else ():
            if each not in found and (seen := _seen(each)) is not None:
                found[each] = seen
    return found


def _seen(pid: int) -> Seen | None:
    fields = _stat(pid)
    if fields is None or fields[0] in (b"Z", b"X"):
        return None
    work, busy = [], False
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task")):
            used = peek(f"/proc/{pid}/task/{task}/schedstat")
            text = peek(f"/proc/{pid}/task/{task}/stat")
            state = text[text.rindex(b")") + 2 :][:1] if b")" in text else b"R"
            busy = busy or state in (b"R", b"D") or not used
            work.append(task.encode() + b" " + used)
    except OSError:
        return None  # it ended while it was looked at
    return Seen(start=fields[19].decode(), parent=int(fields[1]), leader=int(fields[3]), work=tuple(work), busy=busy, serves=_serves(pid))


def _serves(pid: int) -> bool:
    """Say whether a process takes connections, over the network or on a path of this machine."""
    inodes = own_sockets(pid)
    if not inodes:
        return False
    for table in ("tcp", "tcp6"):
        for line in peek(f"/proc/{pid}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENS and fields[9] in inodes:
                return True
    for line in peek(f"/proc/{pid}/net/unix").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 6 and int(fields[3], 16) & ACCEPTS and fields[6] in inodes:
            return True
    return False


def survivors(
    host: int, sessions: Collection[str], since_ticks: int, adopters: Collection[int], shells: Collection[int], *, orphans: bool
) -> dict[int, Seen]:
    """Return what the Bash calls of sessions left running: begun since then, not hooks and servers of the host, and not ours.

    One that wiped its environment counts, too, unless all of the machine's life is asked about.

    Args:
        host: Claude Code's process, 0 where it is not known.
        adopters: init, and whatever stands above the session and may be a subreaper.
        shells: the shells of the calls, each the leader of a session of processes: what is in it is the call's whatever its environment.
        orphans: look also for what has lost its parents. That costs a look at each process of the machine.
    """
    marks = {b"CLAUDE_CODE_SESSION_ID=" + os.fsencode(session) for session in sessions}
    below = set(descendants(host)) if host else set()
    found: set[int] = set()
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()] if orphans or not host else below:
        fields = _stat(pid)
        if fields is None or fields[0] in (b"Z", b"X") or int(fields[19]) < since_ticks:
            continue
        lost = int(fields[1]) in adopters or not host
        if not (pid in below or lost or int(fields[3]) in shells):
            continue
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid() or _ours(pid):
                continue
        except OSError:
            continue
        environ = set(peek(f"/proc/{pid}/environ").split(b"\0"))
        marked = not marks.isdisjoint(environ)
        if marked and int(fields[3]) not in shells and any(entry.startswith(b"CLAUDE_PROJECT_DIR=") for entry in environ):
            continue  # a hook, or a server of the host's for tools
        if marked or int(fields[3]) in shells or (since_ticks and host and environ <= {b""} and carries(pid, b"")):
            found.add(pid)
    return processes(found)


def same_context(theirs: bytes, ours: bytes) -> bool:
    """Say whether a call runs in our context, or in the memory group that the host makes for its Bash tool and in nothing else besides.

    That group lies in the host's own (control groups of version 1), or beside it (version 2).
    """
    if theirs == ours or not MEMORY_GROUP.search(theirs):
        return theirs == ours
    mine, other = (dict.fromkeys(context.split(b"\n")) for context in (ours, theirs))
    apart = [line for line in other if line not in mine]
    own = next((line for line in mine if line.startswith(b"cgroup=")), b"")
    if len(mine) != len(other) or len(apart) != 1 or not apart[0].startswith(b"cgroup="):
        return False
    pairs = list(zip(own.split(b"|"), apart[0].split(b"|"), strict=False))
    return own.count(b"|") == apart[0].count(b"|") and all(one == two or _holds_group(one, two) for one, two in pairs)


def _holds_group(ours: bytes, theirs: bytes) -> bool:
    """Say whether one control group is the host's memory group in, or beside, another."""
    found = MEMORY_GROUP.search(theirs)
    return found is not None and theirs[: found.start()] in (ours.rstrip(b"/"), ours.rpartition(b"/")[0])


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


def below_git(pid: int, host: int) -> bool:
    """Say whether a git process stands above this one, below the session's host process."""
    for each in ancestors(pid):
        if each == host:
            return False
        name = peek(f"/proc/{each}/comm").rstrip(b"\n")
        if name == GIT[0] or name.startswith(GIT[1]):
            return True
    return False


def beside(pid: int, host: int) -> str:
    """Say what else the Bash call of this process started that it may need: who listens on a socket, or went into the background for good.

    The Bash call is what stands right below the session's host process; what is above the process or below it is none of it, nor is
    what was there before. Not seen: a service that somebody else starts when told to (a container engine); who uses one is seen by `reach`.
    """
    chain = [pid, *ancestors(pid)] if LINUX else []
    if host not in chain[1:]:
        return ""
    shell = chain[chain.index(host) - 1]
    fields = _stat(shell)
    if fields is None or shell == pid:
        return ""
    leader, since, adopters = fields[3], int(fields[19]), {1, *chain[chain.index(host) :]}
    session = next((entry for entry in peek(f"/proc/{shell}/environ").split(b"\0") if entry.startswith(b"CLAUDE_CODE_SESSION_ID=")), b"-")
    parts = set(descendants(shell)) - {*chain, *descendants(pid)}
    listening = _listening(shell)
    if listening and any(not listening.isdisjoint(own_sockets(each)) for each in parts):
        return "a server that the same call had started"
    for name in os.listdir("/proc"):
        found = _stat(int(name)) if name.isdigit() else None
        if found is None or found[0] in (b"Z", b"X") or int(found[1]) not in adopters or int(found[19]) < since or int(name) in chain:
            continue
        entries = peek(f"/proc/{name}/environ").split(b"\0")
        of_call = found[3] == leader or (session in entries and not HOOKS_MARK & _names(entries))
        if of_call and not _ours(int(name)):
            return "a daemon that the same call had started"
    return ""


HOOKS_MARK = frozenset((b"CLAUDE_PROJECT_DIR",))
"""What the host gives its hooks and servers, and never a Bash call."""


def _names(entries: Collection[bytes]) -> set[bytes]:
    return {entry.split(b"=", 1)[0] for entry in entries}


def _listening(pid: int) -> set[bytes]:
    """Return the sockets on which somebody in the network of a process listens."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in peek(f"/proc/{pid}/net/{table}").splitlines()[1:]]
    found = {fields[9] for fields in rows if len(fields) > 9 and fields[3] == LISTENS}
    rows = [line.split() for line in peek(f"/proc/{pid}/net/unix").splitlines()[1:]]
    return found | {fields[6] for fields in rows if len(fields) > 6 and int(fields[3], 16) & ACCEPTS}


def own_sockets(pid: int) -> set[bytes]:
    inodes: set[bytes] = set()
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return inodes  # it is gone, or shows nothing
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue  # closed meanwhile; the others are still its own
        if target.startswith("socket:["):
            inodes.add(target[8:-1].encode())
    return inodes


def of_session(pid: int) -> list[int]:
    """Return the processes below the highest ancestor that is in the same session as `pid`."""
    own = _stat(pid)
    top = pid
    for each in ancestors(pid) if own else ():
        fields = _stat(each)
        if fields is None or own is None or fields[3] != own[3]:
            break
        top = each
    return [top, *descendants(top)]


def _ours(pid: int) -> bool:
    return b"stretto." in peek(f"/proc/{pid}/cmdline") or b"STRETTO_WORKER=" in peek(f"/proc/{pid}/environ")


def arguments(pid: int) -> tuple[str, ...] | None:
    """Return a process's command line, None when it cannot be read or is empty (a process that ended, a system without /proc)."""
    text = peek(f"/proc/{pid}/cmdline")
    return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0")) if text else None


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
