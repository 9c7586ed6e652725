"""The world as it is: what the engine asks of it, answered by this machine. Decides nothing; `world` has the promises of each call.

It is one idea in one file: each method is one question.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import psutil

from stretto import disk, journal, observe, pauses, power, reach, rules, shellenv, snapshot, system, trust
from stretto.background import Processes
from stretto.checkouts import imports_elsewhere, links_elsewhere
from stretto.errors import StrettoError
from stretto.executors import Executor, Owner
from stretto.executors.local import Local
from stretto.fold import Job, State
from stretto.model import Invocation, JobKey, SessionId
from stretto.slots import Slot, Turn, promised_bytes, take_place, take_place_ahead
from stretto.system import Lock, Process
from stretto.tree import Scanner, Tool, steered, tool, unseen_tool
from stretto.world import Allowed, Tree

SUPPLY_LOOK_S = 30.0
"""How old an answer may be about what the machine runs on."""
MARKS_MOST_BYTES = 1 << 20
"""So much of what a session's shells wrote is read at once."""
TEXT_BYTES = 256 * 1024
"""A configuration that is larger is not read."""
HEAD_LOG_BYTES, HEAD_MOVES = 16_384, 50
"""So much of the end of git's log of HEAD is read."""
USED_LOOK_S = 1.0
"""Over at least so long the use of the processors is averaged: a shorter time makes any command look like a full machine."""


class Used:
    """How much of the processors' time was used between two looks that are at least `USED_LOOK_S` apart."""

    def __init__(self) -> None:
        self._at_s = self._used_s = self._whole_s = 0.0
        self._percent = 0.0
        self._known = False

    def percent(self, now_s: float, used_s: float, whole_s: float) -> float:
        """Take the sums since the machine began, return the share of the last whole look; 0 before the first one is over."""
        if not self._known or now_s - self._at_s >= USED_LOOK_S:
            if self._known and whole_s > self._whole_s:
                self._percent = 100.0 * (used_s - self._used_s) / (whole_s - self._whole_s)
            self._known, self._at_s, self._used_s, self._whole_s = True, now_s, used_s, whole_s
        return self._percent


class Supply:
    """What the machine runs on, looked at every `SUPPLY_LOOK_S` at most."""

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._at_s, self._battery = float("-inf"), False

    def is_battery(self, now_s: float) -> bool:
        if now_s - self._at_s >= SUPPLY_LOOK_S:
            self._at_s, self._battery = now_s, self._look()
        return self._battery


def _processor_s() -> tuple[float, float]:
    """Return the seconds that all processors were used, and all their seconds, since the machine began."""
    if system.LINUX:  # user nice system idle iowait irq softirq steal, in ticks: guests are counted in the first two
        ticks = [int(word) for word in system.peek("/proc/stat").partition(b"\n")[0].split()[1:9]]
        return (sum(ticks) - sum(ticks[3:5]), sum(ticks)) if len(ticks) == 8 else (0.0, 0.0)
    times = psutil.cpu_times()
    return sum(times) - times.idle, sum(times)


def _unfit(folder: str) -> str:
    """Say why nothing may rely on files in our state directory, "" when it may or when a full disk keeps us from trying."""
    try:
        reason = disk.unfit(folder)
    except OSError:
        return ""
    return reason and f"state cannot be kept in {folder}: {reason}; set STRETTO_STATE_DIR to a local disk, then run `stretto init` again"


def _text(path: str) -> str:
    """Return what is in a small file of the project, "" of anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        small = stat.S_ISREG(found.st_mode) and found.st_size <= TEXT_BYTES
        return file.read(TEXT_BYTES).decode("utf-8", "replace") if small else ""


class Machine:
    """This machine and one project on it; whoever makes one holds the supervisor's lock."""

    def __init__(self, project: trust.Project, lock: Lock, selector: selectors.BaseSelector, settings: tuple[str, ...]) -> None:
        self.project = project
        self.root = project.root
        self.settings = settings
        self.salt = Path(project.paths.salt).read_bytes()
        self._scanner = Scanner(os.fsencode(project.root))
        self.tree: Tree = self._scanner
        self._local = Local(project.paths.folder)
        self.executor: Executor = self._local
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        self._paths, self._lock, self._selector = project.paths, lock, selector
        self._journal = journal.Journal(self._paths.folder)
        self._total_bytes = 0
        self._used = Used()
        self._turn = Turn(project.paths.slots)
        self._supply = Supply(power.on_battery)
        self._unfit = _unfit(self._paths.folder)
        """Why nothing may rely on our files, "" when it may."""
        self._tail: journal.Tail | None = None
        self._tender = snapshot.Tender(self._paths.folder, self._journal)
        self._marks_read: dict[SessionId, int] = {}
        """How much of what its shells wrote was read, by session."""

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

    def arguments(self, process: Process) -> tuple[str, ...] | None:
        found = observe.arguments(process.pid)
        return found if system.lives(process) else None  # else it may be another one's

    def ticks(self) -> int:
        return observe.start_ticks()

    def shells(self, session: SessionId) -> list[int]:
        at = self._marks_read.get(session, 0)
        try:
            with open(shellenv.marks_path(self._paths.sessions, session), "rb") as file:
                if os.fstat(file.fileno()).st_size < at:
                    at = 0  # made anew
                file.seek(at)
                text = file.read(MARKS_MOST_BYTES)
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._marks_read[session] = at + len(whole)
        return [int(line) for line in whole.splitlines() if line.isdigit() and len(line) < 10]

    def survivors(
        self, sessions: Collection[SessionId], claude: Process | None, since_ticks: int, shells: Collection[int], *, orphans: bool
    ) -> Processes | None:
        if not system.LINUX:
            return None
        host = claude.pid if claude is not None and system.lives(claude) else 0
        adopters = {1, *observe.ancestors(host)} if host else {1}
        return observe.survivors(host, sessions, since_ticks, adopters, shells, orphans=orphans)

    def processes(self, pids: Collection[int]) -> Processes:
        return observe.processes(pids)

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
            self._scanner.inputs, self._scanner.leave_out = found.inputs, found.leave_out
            self._journal.fsync = self._local.fsync = found.fsync
            self._tender.keep_bytes, self._tender.keep_s = found.keep_mb << 20, found.keep_days * 86_400.0
            settings = trust.settings(self._paths.base)
            self._mark_gates(any(place != "stop" for places in (found.gate, *dict(found.gates).values()) for place in places))
            void, until_mono_s = self._unfit, float("inf")
            if left_s := pauses.left_s(self._paths):
                void, until_mono_s = "it is paused; `stretto resume` ends that", self.mono_s() + left_s
            return Allowed(mode=project.grant.mode, rules=found, settings=settings, void=void, until_mono_s=until_mono_s)
        except (StrettoError, UnicodeDecodeError) as error:
            return Allowed(mode=self.project.grant.mode, rules=rules.Rules(), void=str(error))

    def _mark_gates(self, asked_for: bool) -> None:
        """Leave a mark for the `git` shim that the project wants commits or pushes judged: it says so when there is nobody to do it."""
        if asked_for != os.path.lexists(self._paths.gates):
            try:
                if asked_for:
                    os.close(system.open_private(self._paths.gates, os.O_WRONLY | os.O_CREAT))
                else:
                    os.unlink(self._paths.gates)
            except OSError as error:
                self.complain(f"cannot mark that commits are judged: {error}")

    def gone(self) -> str:
        if not self._lock.stands():
            return "its state directory is gone"
        if not os.path.isdir(self.root) or not os.path.isfile(self._paths.grant):
            return "the project or its grant is gone"
        return ""

    def real(self, path: str) -> str:
        return os.path.realpath(path)

    def changed_at(self, paths: Iterable[str]) -> float:
        latest_s = 0.0
        for path in paths:
            try:
                latest_s = max(latest_s, os.lstat(path).st_ctime)
            except OSError:
                continue
        return latest_s

    def head_log(self) -> tuple[str, ...]:
        try:
            path = os.path.join(self.root, ".git")
            if os.path.isfile(path):  # a worktree or a submodule
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    path = os.path.join(self.root, file.read(HEAD_LOG_BYTES).partition("gitdir:")[2].strip())
            with open(os.path.join(path, "logs", "HEAD"), "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - HEAD_LOG_BYTES))
                return tuple(log.read(HEAD_LOG_BYTES).decode("utf-8", "surrogateescape").splitlines()[-HEAD_MOVES:])
        except OSError:
            return ()

    def identity(self, invocation: Invocation) -> JobKey:
        """Return the key of a call, with the tool as it is now."""
        return self._identity(invocation)[0]

    def size(self) -> str:
        """Say what of the project is too large to be looked at file by file, "" when nothing is."""
        return self._scanner.size()

    def look_outside(self, invocation: Invocation, *, suite: bool) -> tuple[JobKey, str, str]:
        """Have the next scan look where the environment of a call leads.

        Returns:
            its key; why it can be neither joined nor recorded, "" when it can, as a code and in words.
        """
        key, found = self._identity(invocation)
        leads = (*found.leads, *self._scanner.leads_of(found.here))
        cwd = os.fsdecode(invocation.cwd)
        said = imports_elsewhere(self.root, cwd, invocation.argv, invocation.env, leads) if suite else ""
        if suite and (said := said or links_elsewhere(self.root, cwd, invocation.name)):
            return key, "other-checkout", said  # what it says is not about this project: nobody need look there
        unfit = self._scanner.lead(found.leads)
        return key, "unreadable" if unfit else "", unfit and f"its environment leads to where nobody can look: {unfit}"

    def _identity(self, invocation: Invocation) -> tuple[JobKey, Tool]:
        path = next((entry[5:] for entry in invocation.env if entry.startswith(b"PATH=")), b"")
        found = tool(invocation.exe, invocation.cwd, invocation.argv, path, os.fsencode(self.root), invocation.env)
        return invocation.key(self.salt, found.identity), found

    def is_tool_of(self, job: JobKey, invocation: Invocation) -> bool:
        return self._identity(invocation)[0] == job

    def places(self, paths: Iterable[bytes]) -> tuple[bytes, ...]:
        return tuple(path for path in paths if os.path.lexists(path))

    def texts(self, name: str, cwd: bytes) -> tuple[str, ...]:
        folder, root = os.fsdecode(cwd), self.root
        found = []
        while (folder + "/").startswith(root + "/"):
            path = os.path.normpath(os.path.join(folder, name))
            if path.startswith(root + "/") and (text := _text(path)):
                found.append(text)
            folder = os.path.dirname(folder)
        return tuple(found)

    def recall(self, job: Job, like: Invocation) -> tuple[JobKey, Invocation] | None:
        path = next((entry[5:] for entry in like.env if entry.startswith(b"PATH=")), b"/usr/bin:/bin")
        cwd = os.path.normpath(os.path.join(self.root, job.cwd))
        exe = shellenv.which(job.argv[0] if job.argv and "/" in job.argv[0] else job.name, os.fsdecode(path), cwd)
        if exe is None or not os.path.isdir(cwd):
            return None
        argv = tuple(os.fsencode(word) for word in job.argv)
        again = Invocation(
            name=job.name,
            exe=os.fsencode(exe),
            argv=argv,
            cwd=os.fsencode(cwd),
            env=like.moved(os.fsencode(cwd)),
            context=like.context,
            streams=job.streams,
        )
        if steered(argv, again.cwd, again.env) or unseen_tool(argv) or trust.excludes(self.project.grant.excluded, job.argv):
            return None
        key, code, _ = self.look_outside(again, suite=True)
        return None if code else (key, again)

    def hooked(self) -> bool:
        base = os.fsencode(self._paths.base)
        return any(base in system.peek(path) for path in self.settings)

    def forget(self, session: SessionId) -> None:
        self._marks_read.pop(session, None)
        for path in (os.path.join(self._paths.sessions, f"{session}.sh"), shellenv.marks_path(self._paths.sessions, session)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

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

    def take_place(self, *, ahead: bool) -> Slot | None:
        return take_place_ahead(self._paths.slots, self._turn, system.mono_s()) if ahead else take_place(self._paths.slots)

    def stand_down(self) -> None:
        self._turn.leave()

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

    def busy_percent(self) -> float:
        return self._used.percent(system.mono_s(), *_processor_s())

    def on_battery(self) -> bool:
        return self._supply.is_battery(system.mono_s())

    def beside(self, pid: int, claude: Process) -> str:
        return observe.beside(pid, claude.pid)

    def reach(self, pid: int, ports: frozenset[int]) -> reach.Reach:
        return reach.reach(pid, ports)
