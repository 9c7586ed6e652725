"""The world as it is: what the engine asks of it, answered by this machine. Decides nothing; `world` has the promises of each call."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator

import psutil

from stretto import disk, journal, observe, rules, snapshot, system, trust
from stretto.errors import StrettoError
from stretto.executors import Executor, Owner
from stretto.executors.local import Local
from stretto.fold import State
from stretto.model import SessionId
from stretto.system import Lock, Process, is_locked, private_directory
from stretto.tree import Scanner
from stretto.world import Allowed, Tree

PROMISE_BYTES = 48


class Slot:
    """A place: the lock of one file in `slots`, in which its holder's promise stands."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def promise(self, memory_bytes: int, monitor_pid: int) -> None:
        self._lock.note(f"{memory_bytes} {monitor_pid}".ljust(PROMISE_BYTES - 1).encode() + b"\n")

    def close(self) -> None:
        self._lock.close()


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
        if is_locked(path) and (promise := _read_promise(path)):
            memory_bytes, pid = promise
            total += max(0, memory_bytes - (observe.resident_bytes(pid) if pid else 0))
    return total


def _read_promise(path: str) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        words = file.read(100).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else None


def _unfit(folder: str) -> str:
    """Say why nothing may rely on files in our state directory, "" when it may or when a full disk keeps us from trying."""
    try:
        reason = disk.unfit(folder)
    except OSError:
        return ""
    return reason and f"state cannot be kept in {folder}: {reason}; set STRETTO_STATE_DIR to a local disk, then run `stretto init` again"


class Machine:
    """This machine and one project on it; whoever makes one holds the supervisor's lock."""

    def __init__(self, project: trust.Project, lock: Lock, selector: selectors.BaseSelector, settings: tuple[str, ...]) -> None:
        self.project = project
        self.root = project.root
        self.settings = settings
        self._scanner = Scanner(os.fsencode(project.root))
        self.tree: Tree = self._scanner
        self._local = Local(project.paths.folder)
        self.executor: Executor = self._local
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        self._paths, self._lock, self._selector = project.paths, lock, selector
        self._journal = journal.Journal(self._paths.folder)
        self._total_bytes = 0
        self._unfit = _unfit(self._paths.folder)
        """Why nothing may rely on our files, "" when it may."""
        self._tail: journal.Tail | None = None
        self._tender = snapshot.Tender(self._paths.folder, self._journal)

    # --- clock and identity

    def wall_s(self) -> float:
        return system.wall_s()

    def mono_s(self) -> float:
        return system.mono_s()

    def awake_s(self) -> float:
        return time.monotonic()

    def boot_id(self) -> str:
        return system.boot_id()

    def new_id(self) -> str:
        return os.urandom(16).hex()

    def me(self) -> Process:
        me = system.identify(os.getpid())
        assert me is not None
        return me

    def identify(self, pid: int) -> Process | None:
        return system.identify(pid)

    def lives(self, process: Process) -> bool:
        return system.lives(process)

    # --- the log

    def load(self) -> tuple[State, int]:
        return snapshot.load(self._paths.folder)

    def append(self, record: bytes, *, lasting: bool) -> int:
        return self._journal.append(record, lasting=lasting)

    def lines(self, offset: int) -> Iterator[tuple[int, int, bytes]]:
        if self._tail is None or self._tail.offset != offset:
            self._tail = journal.Tail(self._paths.folder, offset)
        for batch in self._tail.new():
            yield from batch.each()

    def tend(self, state: State, offset: int) -> None:
        self._tender.tend(state, offset)

    # --- the project

    def standing(self) -> Allowed | None:
        try:
            project = trust.load(self._paths.base, self._paths.key)
            if project is None:
                return None
            self.project = project
            text = trust.verify(project)
            found = rules.parse(text.decode() if text is not None else "")
            self._scanner.inputs = found.inputs
            self._journal.fsync = self._local.fsync = found.fsync
            self._tender.keep_bytes, self._tender.keep_s = found.keep_mb << 20, found.keep_days * 86_400.0
            return Allowed(mode=project.grant.mode, rules=found, void=self._unfit)
        except (StrettoError, UnicodeDecodeError) as error:
            return Allowed(mode=self.project.grant.mode, rules=rules.Rules(), void=str(error))

    def gone(self) -> str:
        if not self._lock.stands():
            return "its state directory is gone"
        if not os.path.isdir(self.root) or not os.path.isfile(self._paths.grant):
            return "the project or its grant is gone"
        return ""

    def real(self, path: str) -> str:
        return os.path.realpath(path)

    def forget(self, session: SessionId) -> None:
        try:
            os.unlink(os.path.join(self._paths.sessions, f"{session}.sh"))
        except FileNotFoundError:
            pass

    def complain(self, text: str) -> None:
        try:
            print(f"{system.wall_s():.3f} {text}", file=sys.stderr, flush=True)
        except OSError:
            pass  # its file is on the disk that is full

    # --- the machine

    def listen(self, owner: Owner, act: Callable[[], None]) -> None:
        self._selector.register(owner, selectors.EVENT_READ, lambda _: act())  # type: ignore[arg-type]  # local.Owner has a fileno

    def unlisten(self, owner: Owner) -> None:
        self._selector.unregister(owner)  # type: ignore[arg-type]

    def take_place(self) -> Slot | None:
        return take_place(self._paths.slots)

    def promised_bytes(self) -> int:
        return promised_bytes(self._paths.slots)

    def cores(self) -> int:
        return os.cpu_count() or 1

    def free_bytes(self) -> int:
        if system.LINUX:
            _, found, after = system.read_file("/proc/meminfo").partition(b"MemAvailable:")
            if found:
                return int(after.split(None, 1)[0]) * 1024
        return psutil.virtual_memory().available

    def total_bytes(self) -> int:
        if not self._total_bytes:
            self._total_bytes = psutil.virtual_memory().total
        return self._total_bytes

    def granted_bytes(self) -> int:
        return system.memory_bytes()

    def load_per_core(self) -> float:
        return os.getloadavg()[0] / self.cores()

    def connects(self, pid: int) -> bool:
        return bool(observe.remote_connections(pid))
