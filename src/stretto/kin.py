"""The processes of one run: found by descent, or by the mark in their environment; what they use; and their end.

Standard library only and light, because every monitor carries it. Promises:
- a process is found together with its identity and signalled on nothing less: whoever got the pid of one of ours since has another
  parent, another mark or another start time, and is left alone;
- one that forks faster than we look is stopped before it is ended, so that the search comes to an end;
- `end` returns what resisted (uninterruptible in the kernel), and nothing when all are gone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from stretto.system import LINUX, Process, atomic_write, boot_id, identify, open_private, peek, signal_process

MARK = b"STRETTO_WORKER="
"""The environment entry of everything an ahead run starts; its value is the attempt."""
REMEMBERED = "tree"
"""The file in an attempt's directory that holds the tree as its monitor saw it last: the boot id, then a pid and a start time a line."""
LOCKS = "/proc/locks"
ACCEPTS = 0x10000
"""The flag of a listening socket in /proc/net/unix."""
PAUSE_S = 0.005
STANDS_S = 0.05
"""So long at most it may take one that was told to stop to do so; what sits in the kernel takes longer."""
STOP_WALKS = 5
"""So often a tree is walked at most until all of it stands: one that is told to stop may still fork before it hears of it."""
RESIST_S = 5.0
"""So long after a SIGKILL something may still be there: it sits in the kernel, and nobody can do more."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Seen(NamedTuple):
    """One living process as it was when we looked."""

    process: Process
    parent: int
    tasks: int
    """Its threads, the first one included."""
    resident_bytes: int
    stopped: bool = False
    """By a signal, ours or another one."""


def below(root: int) -> Iterator[Seen]:
    """Yield the living descendants of a process, each before its own children are looked for; zombies are left out.

    Whoever stops what is yielded before asking for the next one gets the whole tree, however fast it forks.
    """
    queue = [root]
    while queue:
        parent = queue.pop()
        for pid in children(parent):
            seen, ended = _look(pid)
            if seen is None or seen.parent not in (parent, root):
                continue  # it ended, was handed on (the next look finds it), or the pid is a stranger's by now
            if not ended:
                yield seen
            queue.append(pid)


def carrying(attempt: str, known: Collection[Process] = (), since: str = "0") -> Iterator[Seen]:
    """Yield the living processes of this user that carry an attempt's mark or are `known` to be its own, and all that descend from one.

    This finds what a killed monitor left: whoever it was handed to, in whatever session. What wiped its environment, lost its parent and
    is not known is not found. Our own ancestors and pid 1 are never known, whatever a damaged record says.

    Args:
        since: the start time of the first process that could carry it, as in `Process`; the environment of older ones is not read.
    """
    oldest = int(since) if since.isdecimal() else 0
    mark = MARK + attempt.encode()
    all_seen = {}
    for pid in _all_pids():
        seen, ended = _look(pid)
        if seen is not None and not ended and pid != os.getpid():
            all_seen[pid] = seen
    ours: set[int] = set()
    above_us = {1}
    above = os.getppid()
    while above in all_seen and above not in above_us:
        above_us.add(above)
        above = all_seen[above].parent
    for pid, seen in all_seen.items():
        if seen.process in known and pid not in above_us:
            ours.add(pid)
        elif LINUX and int(seen.process.start) < oldest:
            continue
        elif mark in _environment(pid) and identify(pid) == seen.process:
            ours.add(pid)
    for pid, seen in all_seen.items():
        above = pid
        while above in all_seen and above not in ours:
            above = all_seen[above].parent
        if above in ours:
            yield seen


def remember(folder: str, tree: Iterable[Process]) -> None:
    """Leave the identities of a tree in an attempt's directory, whole or not at all; where they do not fit, the mark has to do."""
    try:
        text = "".join([boot_id() + "\n", *(f"{process.pid} {process.start}\n" for process in tree)])
        atomic_write(os.path.join(folder, REMEMBERED), text.encode())
    except OSError:
        pass  # a full disk


def remembered(folder: str) -> set[Process]:
    """Return what `remember` left, as far as it reads; of another boot nothing. Whether any of it lives is another question."""
    try:
        descriptor = open_private(os.path.join(folder, REMEMBERED), os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            boot, *lines = file.read().decode("ascii", "replace").splitlines() or [""]
    except OSError:
        return set()
    words = [line.split() for line in lines]
    pairs = [(pair[0], pair[1]) for pair in words if len(pair) == 2 and pair[0].isdecimal() and len(pair[0]) <= 9]
    return {Process(int(pid), start, boot) for pid, start in pairs if boot == boot_id()}


def own_bytes(found: Iterable[Seen], enough: int) -> int:
    """Return the memory that the found ones hold; what is shared with files or others is left out once the sum exceeds `enough`."""
    seen = list(found)
    total = sum(each.resident_bytes for each in seen)
    if total <= enough or not LINUX:
        return total
    total = 0
    for each in seen:
        words = peek(f"/proc/{each.process.pid}/statm").split()
        if len(words) > 2:
            total += (int(words[1]) - int(words[2])) * PAGE_BYTES
    return total


def end(
    find: Callable[[], Iterator[Seen]],
    *,
    grace_s: float,
    group: int = 0,
    at_once: Callable[[], None] = lambda: None,
    hurry: Callable[[], bool] = lambda: False,
    reap: Callable[[], None] = lambda: None,
) -> list[Process]:
    """End all that `find` yields, again and again until it yields nothing; return what resisted.

    Args:
        grace_s: between SIGTERM and SIGKILL; 0 kills at once.
        group: a process group to kill in one step, 0 for none. The caller vouches that its leader is his own child and not yet waited
            for: then nobody else can have that number.
        at_once: called at every look that kills: ends what it can in one step, as the kernel does for a control group.
        hurry: asked at every look; true ends the grace time.
        reap: called at every look, to wait for what was handed to us.
    """
    kill_at = time.monotonic() + grace_s
    told: set[Process] = set()
    while True:
        now = time.monotonic()
        if now >= kill_at or hurry():
            kill_at = min(kill_at, now)
            at_once()
            if group:
                _kill_group(group)
            found = []
            for seen in find():
                _signal(seen.process, signal.SIGSTOP)
                found.append(seen.process)
            for process in found:
                _signal(process, signal.SIGKILL)
        else:
            found = [seen.process for seen in find()]
            for process in found:
                if process not in told:
                    _signal(process, signal.SIGTERM)
            told.update(found)
        reap()
        if not found or now > kill_at + RESIST_S:
            return found
        time.sleep(PAUSE_S)


def stop(root: int) -> list[Process]:
    """Stop all below `root` and return them, parents first: none of them runs while a child of it is seen stopped.

    What was stopped already is not ours to let go on, and is not among them.
    """
    stopped: dict[Process, None] = {}
    before = {seen.process for seen in below(root) if seen.stopped}
    for _ in range(STOP_WALKS):
        awake = [seen.process for seen in _stopping(root) if seen.process not in stopped and seen.process not in before]
        if not awake:
            break
        stopped.update(dict.fromkeys(awake))
    return list(stopped)


def _stopping(root: int) -> Iterator[Seen]:
    """Stop each one below `root`, and see it stand, before its children are looked for: one that only has been told may still be waiting
    for a child, and would be told that this one has stopped."""
    for seen in below(root):
        if not seen.stopped:
            _signal(seen.process, signal.SIGSTOP)
            until = time.monotonic() + STANDS_S
            while not _stands(seen.process) and time.monotonic() < until:
                time.sleep(0.0005)
        yield seen


def _stands(process: Process) -> bool:
    seen, ended = _look(process.pid)
    return seen is None or ended or seen.stopped or seen.process != process


def go_on(stopped: Iterable[Process]) -> None:
    """Let what `stop` returned go on, children first: a shell that looks for stopped children finds none."""
    for process in reversed(list(stopped)):
        _signal(process, signal.SIGCONT)


def holds(pids: Collection[int]) -> str:
    """Say what these processes hold that somebody else may wait for, in words; "" when it is nothing.

    A lock is seen at the open file it hangs on, also when who took it has ended since (`exec 9>lock; flock 9`). A file that is a lock by
    being there (`index.lock`) is known by its name, and git makes and closes it at any moment. Where the system does not show locks they
    may hold any.
    """
    if not os.path.exists(LOCKS):
        return "what nobody can see here"
    if next(_locked(pids), None) is not None or any(_holds_lock_file(pid) for pid in pids):
        return "a lock"
    pid = next(iter(pids), 0)
    listening = {
        fields[9] for table in ("tcp", "tcp6") for fields in _rows(f"/proc/{pid}/net/{table}") if len(fields) > 9 and fields[3] == b"0A"
    }
    listening |= {fields[6] for fields in _rows(f"/proc/{pid}/net/unix") if len(fields) > 6 and int(fields[3], 16) & ACCEPTS}
    return "a socket that it listens on" if listening and not listening.isdisjoint(_open(pids, "socket:[")) else ""


def keeps_waiting(pids: Collection[int]) -> bool:
    """Say whether somebody else waits for a lock that these processes hold; other workers of ours do not count."""
    rows = [line.split() for line in peek(LOCKS).splitlines()]
    waiting = [fields for fields in rows if len(fields) > 6 and fields[1] == b"->" and int(fields[5]) not in pids]
    if not waiting:
        return False
    held = set(_locked(pids)) | {fields[5] for fields in rows if len(fields) > 5 and fields[1] != b"->" and int(fields[4]) in pids}
    return any(fields[6] in held and not _is_worker(int(fields[5])) for fields in waiting)


def _holds_lock_file(pid: int) -> bool:
    if peek(f"/proc/{pid}/comm").rstrip(b"\n") == b"git":
        return True
    for descriptor in _names(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{descriptor}").endswith((".lock", ".lck", ".pid")):
                _, _, flags = peek(f"/proc/{pid}/fdinfo/{descriptor}").partition(b"flags:")
                if int(flags.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
        except (OSError, IndexError):
            continue  # closed, or the process ended, meanwhile
    return False


def _is_worker(pid: int) -> bool:
    return any(entry.startswith(MARK) for entry in _environment(pid))


def _locked(pids: Iterable[int]) -> Iterator[bytes]:
    """Yield the files on which these processes hold locks, as device and inode in the kernel's words."""
    for pid in pids:
        for descriptor in _names(f"/proc/{pid}/fdinfo"):
            for line in peek(f"/proc/{pid}/fdinfo/{descriptor}").splitlines():
                fields = line.split()
                if fields[:1] == [b"lock:"] and len(fields) > 6 and fields[2] != b"->":
                    yield fields[6]


def _open(pids: Iterable[int], kind: str) -> Iterator[bytes]:
    """Yield the inodes of what these processes hold open of a kind."""
    for pid in pids:
        for descriptor in _names(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue  # closed, or the process ended, meanwhile
            if target.startswith(kind):
                yield target[len(kind) : -1].encode()


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # the process ended, or shows nothing of itself


def _rows(path: str) -> list[list[bytes]]:
    return [line.split() for line in peek(path).splitlines()[1:]]


def _signal(process: Process, number: int) -> None:
    try:
        signal_process(process, number)
    except PermissionError:
        pass  # it has become another user (sudo): it resists


def _kill_group(group: int) -> None:
    """One step for the whole group, so that no fork comes in between."""
    if group <= 1 or group == os.getpgrp():
        return
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the leader never made the group its own, or has left it; the search ends its members one by one


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies included."""
    if LINUX:
        found: list[int] = []
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                found += [int(word) for word in peek(f"/proc/{pid}/task/{task}/children").split()]
        except OSError:
            pass  # it ended while we looked
        return found
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _look(pid: int) -> tuple[Seen | None, bool]:
    """Return a process and whether it is only a zombie."""
    if LINUX:
        text = peek(f"/proc/{pid}/stat")
        if b")" not in text:
            return None, True
        fields = text[text.rindex(b")") + 2 :].split()
        process = Process(pid, fields[19].decode(), boot_id())
        return Seen(process, int(fields[1]), int(fields[17]), int(fields[21]) * PAGE_BYTES, fields[0] == b"T"), fields[0] in (b"Z", b"X")
    import psutil

    found = identify(pid)
    try:
        process_now = psutil.Process(pid)
        seen = Seen(found or Process(pid, "", ""), process_now.ppid(), process_now.num_threads(), process_now.memory_info().rss)
    except psutil.Error:
        return None, True
    return seen, found is None


def _all_pids() -> list[int]:
    if LINUX:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    import psutil

    return list(psutil.pids())


def _environment(pid: int) -> list[bytes]:
    if LINUX:
        return peek(f"/proc/{pid}/environ").split(b"\0")
    import psutil

    try:
        return [os.fsencode(f"{name}={value}") for name, value in psutil.Process(pid).environ().items()]
    except psutil.Error:
        return []
