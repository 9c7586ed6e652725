"""A whole project simulated from a seed: the real engine in a world of which nothing is real (C-22).

    python -m stretto.testing.simulation --seed N            replay one seed and print what happened
    python -m stretto.testing.simulation --seeds A..B        look for a seed that fails
    python -m stretto.testing.simulation --plant NAME ...    with one of the bugs of `plants` in the real code
    ... --json                                               the same as one JSON object

Real are `engine`, `runs`, `requests`, `sessions`, `fold`, `schedule`, `freshness`, `retries`, `ahead`, `snapshot.pack`. Made up are the
clock, the log's bytes, the tree, the machine, monitors, sessions and their host. Supervisors are killed before, in the middle of, and
after every append and every other step that leaves something behind; monitors between any two steps; the disk fills, tails are torn, the
machine sleeps and starts anew, the wall clock jumps, pids come round, other projects take places.

What is true is kept beside, where the engine cannot see it: `edits` counts changes of the tree, `outside` changes that no scan sees, and
each process remembers both when it begins and ends. Checked are, at the moment they can be broken: no attempt starts twice, no command
twice at once; a joined result, or one that is told, is of exactly this tree and this outside; an exit in the log is the one that was;
what waits began after what it waits for passed; what was cancelled does not begin; places and memory are never overdrawn; a foreground
process is never signalled. At the end the sessions close and the faults stop, and within bounded time all is over, nothing lives, the
supervisor has left, and the fold of the log from its first byte is the state that was held, from a snapshot too.

A seed is replayed exactly: no clock, no hash order, no memory address decides anything. It is one idea in one file: a world and its laws.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import random
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from stretto import commands, gates, hookwire, schedule, snapshot
from stretto.background import Processes, Seen
from stretto.bundle import Exit, Seal, parse_exit
from stretto.engine import TROUBLES, Call, Engine, Heard
from stretto.errors import UserError
from stretto.executors import Executor
from stretto.fold import Cancelled, Job, Passed, State, apply, fold
from stretto.heaps import Moment
from stretto.journal import parse, sealed
from stretto.model import (
    ENCODER,
    FORMAT_VERSION,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptStarted,
    BlockRaised,
    Change,
    End,
    FileClass,
    GateDecided,
    InvariantBroken,
    Invocation,
    JobContradicted,
    JobKey,
    NewsTold,
    RequestCancelled,
    RequestLost,
    SessionId,
)
from stretto.reach import Reach
from stretto.rules import Rules
from stretto.system import Process
from stretto.testing.plants import PLANTS, planted
from stretto.tree import Scan
from stretto.world import Allowed, Tree

STEPS = 60
CORES = 3
ROOT = "/p"
DRAIN_LIMIT_S = 1800.0
"""All pauses and wall limits of the jobs here add up to less."""
TOTAL_BYTES = 8 * 1024**3
GRACE_S = 2.0
IDLE_TICK_S = 2.0
"""As long as `daemon` sleeps at most."""
STOP_LIMIT_S = 15.0
"""A cancelled job's process is gone by then if somebody lives who can end it."""
CHECKS = ("pytest -q a.py", "pytest -q b.py", "ruff check .", "mypy src", "pytest -q hook.py")
SECONDS = (3.0, 8.0, 1.5, 20.0, 3.0)
HOOKED = 4
"""Which of the checks git calls, with an index of its own."""
ALONE_RUNS = 3
"""So often at least a command runs in the foreground after its run ahead was contradicted, before it runs ahead again."""
QUIET_S = 6.0
"""After so long nothing that a session did explains a change."""
FILES = ("a.py", "b.py", "c.py", "pyproject.toml", "data/x", "data/y")
IGNORED = ("data/x", "data/y")
"""In a folder that git ignores: data, or a command's products."""
CONNECTS = 0.2
"""How often a command in front is seen to be connected to another machine."""
UNKNOWN = "./deploy.sh"


class Crash(BaseException):
    """The supervisor was killed at this very call."""


class Violation(AssertionError):
    """A law of the world was broken."""


class Trace(NamedTuple):
    """What happened in one seed."""

    seed: int
    events: list[str]
    violation: str
    """"" when all held."""
    counts: dict[str, int]
    plant: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join([*self.events, self.violation]).encode()).hexdigest()

    @property
    def replay(self) -> str:
        """The command that does it again."""
        return f"python -m stretto.testing.simulation --seed {self.seed}" + (f" --plant {self.plant}" if self.plant else "")


class Truth(NamedTuple):
    """What a scan should show, and what it cannot."""

    edits: int
    outside: int


class Proc:
    """A process of the machine."""

    def __init__(self, pid: int, start: str, boot: str, what: str, began_s: float) -> None:
        self.pid, self.start, self.boot, self.what, self.began_s = pid, start, boot, what, began_s
        self.alive = True

    @property
    def identity(self) -> Process:
        return Process(self.pid, self.start, self.boot)


class Folder:
    """An attempt's directory."""

    def __init__(self) -> None:
        self.exit: bytes | None = None
        self.cancel = False
        self.holder: Proc | None = None
        self.signed: Process | None = None


class Told:
    """The pipe from a monitor, as the supervisor holds it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.over = False

    def lines(self) -> list[str] | None:
        said, self.said = self.said, []
        return said if said or not self.over else None

    def close(self) -> None:
        self.said, self.over = [], True


class Monitor:
    """The owner of one ahead run or requested job, in steps that faults come between."""

    def __init__(self, host: Host, attempt: AttemptId, spec: Mapping[str, bytes], plan: Plan) -> None:
        self.host, self.attempt, self.plan = host, attempt, plan
        self.told: Told | None = Told()
        self.proc = host.process(f"monitor {attempt[:6]}")
        self.state = "forked"
        self.began_s = 0.0
        self.due_s = host.mono + plan.delay_s
        self.wall_s, self.lease_s = float(spec["wall_s"]), float(spec["lease_s"])
        self.term = False
        self.held_since_s: float | None = None
        self.held_s = 0.0
        self.end: End | None = None

    @property
    def next_s(self) -> float:
        """When its next step is due; a run ahead also looks whether it has been without a supervisor for too long."""
        due_s = self.due_s if self.held_since_s is None else float("inf")
        if self.state == "running" and self.lease_s and self.host.engine is None:
            return min(due_s, max(self.host.alone_since_s, self.began_s) + self.lease_s)
        return due_s

    def hold(self) -> None:
        """Its run stands still: whatever was to come of it comes so much later."""
        if self.state == "running" and not self.term and self.held_since_s is None:
            self.held_since_s = self.host.mono
            self.host.count("held back")

    def go_on(self) -> None:
        if self.held_since_s is not None:
            passed_s = self.host.mono - self.held_since_s
            self.held_since_s = None
            self.held_s += passed_s
            self.due_s += passed_s
            self.wall_s += passed_s

    def tell(self, word: str) -> None:
        if self.told is not None and not self.told.over:
            self.told.said.append(word)

    def step(self) -> None:
        host, folder, plan = self.host, self.host.folders[self.attempt], self.plan
        match self.state:
            case "forked":
                if folder.holder is not None or folder.exit is not None:
                    self.gone()
                    return
                folder.holder = self.proc
                if not host.full:
                    folder.signed = self.proc.identity
                self.tell(f"started {self.proc.pid} {self.proc.start}")
                if folder.cancel or self.term:
                    self.ends(End(how="cancelled", value=15))
                    return
                host.worker_begins(self)
                self.began_s = host.mono
                self.state, self.due_s = "running", host.mono + min(plan.lasts_s, self.wall_s)
            case "running":
                host.worker_ends(self)
                lease_over = host.mono < self.due_s or self.held_since_s is not None
                self.go_on()
                if lease_over:
                    host.count("lease over")
                    self.ends(End(how="cancelled", value=15))
                elif self.term:
                    self.ends(End(how="cancelled", value=15))
                elif host.mono - self.began_s >= self.wall_s:
                    self.ends(End(how="timeout"))
                else:
                    self.ends(plan.end)
            case "ended":
                assert self.end is not None
                if host.full:
                    self.gone()
                    return
                folder.exit = f"{self.end.how} {self.end.value} 0 0\n".encode()
                self.state, self.due_s = "written", host.mono + 0.01
            case "written":
                assert self.end is not None
                event = AttemptExited(
                    v=FORMAT_VERSION,
                    ts=host.wall,
                    mono=host.mono,
                    boot=host.boot,
                    by=f"monitor:{self.proc.pid}",
                    attempt=self.attempt,
                    end=self.end,
                    out_bytes=0,
                    err_bytes=0,
                    took_s=plan.lasts_s,
                    cpu_s=0.0,
                    held_s=self.held_s,
                )
                try:
                    host.append(msgspec.json.encode(event))
                except OSError:
                    self.gone()
                    return
                self.state, self.due_s = "logged", host.mono + 0.01
            case "logged":
                self.tell("exited")
                self.gone()

    def ends(self, end: End) -> None:
        self.end = end
        self.host.truths[self.attempt].end = end
        self.state, self.due_s = "ended", self.host.mono + 0.01

    def terminate(self) -> None:
        """SIGTERM: its run is over soon, at once or after the grace time."""
        if not self.term:
            self.go_on()
            self.term = True
            if self.state == "running":
                self.due_s = min(self.due_s, self.host.mono + (GRACE_S if self.plan.ignores else 0.05))

    def gone(self) -> None:
        self.proc.alive = False
        self.state, self.due_s = "gone", float("inf")
        folder = self.host.folders[self.attempt]
        if folder.holder is self.proc:
            folder.holder = None
        if self.told is not None:
            self.told.over = True
        self.host.monitors.remove(self)
        for place in [place for place in self.host.places if place.monitor is self and place.closed]:
            place.close()

    def kill(self) -> None:
        """It dies where it is; its worker dies with it, what the worker started does not."""
        if self.state == "running":
            self.host.worker_ends(self)
            if self.plan.leaves:
                self.host.orphans[self.attempt] = True
        self.gone()


class Plan(NamedTuple):
    """What a run is going to do."""

    delay_s: float
    lasts_s: float
    end: End
    ignores: bool
    """SIGTERM."""
    leaves: bool
    """It starts processes that a killed monitor leaves behind."""


class Fact:
    """What is true of one attempt."""

    def __init__(self, job: JobKey, kind: str) -> None:
        self.job, self.kind = job, kind
        self.began: Truth | None = None
        self.ended: Truth | None = None
        self.running = False
        self.end: End | None = None
        """How the command really ended, None as long as nobody can know."""
        self.slips: dict[str, int] = {}
        """Changes of ignored files by a stranger until its end was settled."""


class Holder:
    """One of the machine's places."""

    def __init__(self, host: Host, who: object) -> None:
        self._host, self.who = host, who
        self.memory_bytes, self.pid = 0, 0
        self.monitor: Monitor | None = None
        """It holds the place, too, until its end."""
        self.closed = False

    def fileno(self) -> int:
        return -1

    def promise(self, memory_bytes: int, monitor_pid: int) -> None:
        self._host.fault("promise")
        if self._host.full:
            raise OSError(errno.ENOSPC, "no space")
        self.memory_bytes, self.pid = memory_bytes, monitor_pid

    def close(self) -> None:
        self.closed = True
        if self in self._host.places and (self.monitor is None or not self.monitor.proc.alive):
            self._host.places.remove(self)


class Shim:
    """A call of a check in a session, from the question to its end."""

    def __init__(self, session: Sitting, index: int, call_id: str) -> None:
        self.session, self.index, self.call_id = session, index, call_id
        self.call = Call()
        self.asked_of: Engine | None = None
        self.attempt: AttemptId | None = None
        self.state = "native"
        self.due_s = 0.0
        self.since_s = 0.0
        self.end = End(how="code")
        self.child: Proc | None = None


class Sitting:
    """A session of Claude Code."""

    def __init__(self, name: str, claude: Proc) -> None:
        self.id, self.claude = SessionId(name), claude
        self.unknown: tuple[str, str] | None = None
        """Call id and text of a command of unknown effects under way."""
        self.shims: list[Shim] = []
        self.over: list[hookwire.Call] = []
        """Calls of the batch under way that have ended; the host says so once all have."""
        self.calls = 0
        self.continued = 0
        """How often it was made to go on since its user's last prompt."""
        self.held: tuple[gates.Question, float] | None = None
        """The end of a turn whose answer is kept back, and since when."""


class Left:
    """A process that a call left running: it may change the outside whenever it works."""

    def __init__(self, session: SessionId, proc: Proc) -> None:
        self.session, self.proc, self.worked = session, proc, 0

    @property
    def seen(self) -> Seen:
        return Seen(start=self.proc.start, parent=1, work=(str(self.worked).encode(),))


class Host:
    """The machine, the project and what is true; the supervisor's `World` is `Door`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.mood = self.rng.choice((0.02, 0.06, 0.2))
        """How much goes wrong in this seed."""
        self.job_mood = self.rng.choice((0.0, 0.02, 0.07))
        self.events: list[str] = []
        self.counts: dict[str, int] = {}
        self.mono, self.boots, self.slept = 1000.0, 1, 0.0
        self.wall_offset = 1.7e9
        self.boot = "boot-1"
        self.data = bytearray()
        self.kept: tuple[int, bytes] | None = None
        self.full = False
        self.versions: dict[str, int] = {}
        self.edits = self.outside = 0
        self.procs: dict[int, Proc] = {}
        self.next_pid = 2
        self.ids = 0
        self.folders: dict[AttemptId, Folder] = {}
        self.monitors: list[Monitor] = []
        self.truths: dict[AttemptId, Fact] = {}
        self.orphans: dict[AttemptId, bool] = {}
        self.places: list[Holder] = []
        self.sittings: list[Sitting] = []
        self.left: list[Left] = []
        self.marks: dict[SessionId, list[int]] = {}
        """What shells wrote when they began, and nobody has read."""
        self.engine: Engine | None = None
        self.door: Door | None = None
        self.fuse = 0
        """So many persistence points from now the supervisor is killed; 0: it is not."""
        self.fuse_kind = "after"
        self.faults = True
        self.connected: set[JobKey] = set()
        """Commands that the log says were connected to another machine, and were not seen without since."""
        self.connects: set[int] = set()
        """Processes that are."""
        self.asked: list[JobKey] = []
        self.specs: dict[JobKey, dict[str, bytes]] = {}
        self.cancelled: dict[JobKey, float] = {}
        """When each was cancelled."""
        self.alone: dict[JobKey, int] = {}
        """How many foreground runs a command whose run ahead was contradicted still has to do."""
        self.strange, self.strange_s, self.acted_s = False, 0.0, 0.0
        """The last to move the tree was no session; and when one last did something."""
        self.well_since_s = self.alone_since_s = 0.0
        """Since when a supervisor lives and the disk has room, on the clock that a sleep does not move."""
        self.asked_of: dict[JobKey, Door | None] = {}
        self.plan_of: Callable[[JobKey, str], Plan] = self.draw_plan
        self.seen_offset = 0
        self.allowed = AUDITED if seed % 4 == 3 else STANDING

    # --- what is there

    @property
    def wall(self) -> float:
        return self.mono + self.wall_offset

    @property
    def awake_s(self) -> float:
        return self.mono - self.slept

    @property
    def truth(self) -> Truth:
        return Truth(self.edits, self.outside)

    def note(self, text: str) -> None:
        self.events.append(f"{self.mono:.3f} {text}")

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def broken(self, law: str) -> None:
        raise Violation(law)

    def process(self, what: str) -> Proc:
        while True:
            self.next_pid = self.next_pid + 1 if self.next_pid < 40 else 2
            if (old := self.procs.get(self.next_pid)) is None or not old.alive:
                break
        proc = self.procs[self.next_pid] = Proc(self.next_pid, str(int(self.mono * 100)), self.boot, what, self.mono)
        return proc

    def living(self, process: Process) -> Proc | None:
        proc = self.procs.get(process.pid)
        return proc if proc is not None and proc.alive and proc.identity == process else None

    def draw_plan(self, job: JobKey, kind: str) -> Plan:
        rng = self.rng
        lasts_s = SECONDS[int(job[:2], 16)] if kind == "ahead" else rng.choice((0.2, 1.0, 5.0, 40.0))
        if kind == "ahead" and rng.random() < 0.15:
            lasts_s = 400.0  # it hangs
        roll = rng.random()
        end = End(how="code", value=0 if roll < 0.7 else 1) if roll < 0.9 else End(how="signal", value=11 if roll < 0.95 else 9)
        return Plan(rng.choice((0.0, 0.01, 0.05, 0.7)), lasts_s, end, rng.random() < 0.1, rng.random() < 0.2)

    # --- the log

    def append(self, record: bytes, *, tear: int = 0) -> int:
        """What `Journal.append` does to the bytes; a tear writes that many of them only, and the writer is dead."""
        if self.full:
            raise OSError(errno.ENOSPC, "no space")
        if self.data and self.data[-1] != 10:
            self.data += b"\n"
            self.count("torn tail")
        begin = len(self.data)
        self.data += record[:tear] if tear else sealed(record) + b"\n"
        return begin

    def lines(self, offset: int) -> Iterator[tuple[int, int, bytes]]:
        while (end := self.data.find(b"\n", offset)) >= 0:
            yield offset, end + 1, bytes(self.data[offset:end])
            offset = end + 1

    def parsed(self) -> list[tuple[int, Any]]:
        return [(begin, parse(line)) for begin, _, line in self.lines(0)]

    # --- faults of the supervisor

    def fault(self, where: str) -> None:
        """A persistence point of the supervisor: it may be killed here."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.note(f"supervisor killed at {where}")
                self.count(f"killed at {where}")
                raise Crash

    def inside(self, act: Callable[[], Any]) -> Any:
        """Let the supervisor do something; None when it met trouble or died of it."""
        engine = self.engine
        if engine is None:
            return None
        try:
            return act()
        except TROUBLES as error:
            self.count("trouble")
            try:
                engine.met(error)
            except Crash:
                self.supervisor_dies()
        except Crash:
            self.supervisor_dies()
        return None

    def supervisor_dies(self) -> None:
        door, self.engine, self.door, self.fuse = self.door, None, None, 0
        self.alone_since_s = self.mono
        if door is not None:
            door.me_.alive = False
            for place in [place for place in self.places if place.who is door]:
                place.close()
            for monitor in self.monitors:
                monitor.told = None
        for sitting in self.sittings:
            for shim in sitting.shims:
                shim.asked_of = None
        self.count("supervisor dies")

    def supervisor_begins(self) -> None:
        """What the first hook or command does when nobody serves."""
        if self.engine is not None:
            return
        self.note("supervisor begins")
        self.well_since_s = self.awake_s
        self.door = Door(self)
        try:
            self.engine = Engine(self.door)
            self.engine.begin()
        except TROUBLES:
            self.supervisor_dies()
        except Crash:
            self.supervisor_dies()

    def turn(self) -> None:
        """One round of the supervisor's loop."""
        door = self.door
        if self.engine is None or door is None:
            return
        for told, act in list(door.listeners):
            if self.engine is not None and (told.said or told.over) and any(each is told for each, _ in door.listeners):
                self.inside(act)
        if self.engine is not None:
            self.inside(self.engine.tick)
        for sitting in self.sittings:
            self.ask_again(sitting)
        engine = self.engine
        if engine is not None and engine.leaving:
            self.note(f"supervisor leaves: {engine.leaving}")
            self.inside(engine.end)
            if self.engine is not None:
                self.inside(engine.say_goodbye)
            if self.engine is not None:
                self.supervisor_dies()
        self.audit()
        if self.cancelled:
            if self.full or self.engine is None:
                self.well_since_s = self.awake_s
            self.check_cancelled()

    # --- laws

    def audit(self) -> None:
        """Look at what was written since the last look."""
        for begin, after, line in self.lines(self.seen_offset):
            self.seen_offset = after
            match parse(line):
                case AttemptStarted() as event:
                    self.check_start(event)
                case AttemptExited() as event:
                    self.check_exit(event, begin)
                case AttemptSettled() as event if event.attempt in self.truths:
                    self.note_connections(event)
                case JobContradicted() as event:
                    self.count("contradicted")
                    self.alone[event.job] = ALONE_RUNS
                case InvariantBroken() as event:
                    self.broken(f"the engine says of {event.attempt[:6]}: {event.what}")
                case RequestCancelled() as event:
                    self.cancelled[event.job] = self.awake_s
                case RequestLost() as event if self.asked_of.get(event.job) is self.door:
                    self.broken(f"job {event.job[-4:]} is lost, and the supervisor that was asked lives")

    def check_cancelled(self) -> None:
        for monitor in self.monitors:
            since_s = self.cancelled.get(self.truths[monitor.attempt].job)
            if since_s is not None and monitor.state == "running" and self.awake_s - max(since_s, self.well_since_s) > STOP_LIMIT_S:
                self.broken(f"{monitor.attempt[:6]} of a cancelled job still runs after {STOP_LIMIT_S:.0f} s")

    def check_start(self, event: AttemptStarted) -> None:
        self.note(f"starts {event.kind} {event.attempt[:6]} of {event.job[:4]}")
        self.count(f"start {event.kind}")
        fact = self.truths.setdefault(event.attempt, Fact(event.job, event.kind))
        fact.kind = event.kind
        if event.kind == "ahead" and event.job in self.connected:
            self.broken(f"{event.job[:4]} runs ahead, and its last run was connected to another machine")
        if event.kind == "requested":
            self.acts()
        elif event.kind == "foreground":
            self.alone[event.job] = self.alone.get(event.job, 0) - 1
        elif event.kind == "ahead":
            self.check_ahead(event)
        if event.kind == "requested" and event.job in self.cancelled:
            self.broken(f"cancelled job {event.job[:4]} began")
        if event.kind == "requested":
            tries = sum(each.job == event.job for each in self.truths.values())
            if tries > 1 + int(self.specs[event.job]["retries"]):
                self.broken(f"job {event.job[-4:]} began {tries} times")
            for other in msgspec.json.decode(self.specs[event.job]["_after"]):
                if not any(each.job == other and each.end is not None and each.end.passed for each in self.truths.values()):
                    self.broken(f"job {event.job[:4]} began before {other[:4]} had passed")

    def note_connections(self, event: AttemptSettled) -> None:
        fact = self.truths[event.attempt]
        if event.remote:
            self.connected.add(fact.job)
            self.count("connected")
        elif fact.kind == "foreground" and event.looks and fact.job in self.connected:
            self.connected.discard(fact.job)
            self.count("forgiven")

    def check_ahead(self, event: AttemptStarted) -> None:
        """What runs ahead has to be what the session would run, in its own life, for its own work."""
        if event.job == key_of(HOOKED):
            self.broken(f"{event.attempt[:6]} runs ahead with the index that git gave one call")
        if self.alone.get(event.job, 0) > 0:
            self.broken(f"{event.attempt[:6]} runs ahead although its command's run ahead was contradicted")
        noticed = self.engine is not None and self.engine._acted_s >= self.strange_s  # what no hook had announced
        if self.strange and event.audits is None and not noticed:
            self.broken(f"{event.attempt[:6]} runs ahead of what only a stranger has moved")

    def check_exit(self, event: AttemptExited, begin: int) -> None:
        fact = self.truths.get(event.attempt)
        self.note(f"exit {event.attempt[:6]} {event.end.how} {event.end.value}")
        self.count(f"exit {event.end.how}")
        if fact is not None and fact.kind == "requested":
            self.acts()
        if fact is None:
            self.broken(f"an exit of {event.attempt[:6]}, which never started")
        elif event.end.how in ("code", "signal") and event.end != fact.end:
            self.broken(f"{event.attempt[:6]} is said to have ended with {event.end}, but it was {fact.end}")

    def needs(self, job: JobKey) -> int:
        return int(self.specs[job]["memory_bytes"])

    def requested(self) -> Iterator[Fact]:
        """Yield the requested jobs that have a monitor, but for one that comes too late: it finds that it was given up."""
        for monitor in self.monitors:
            if monitor.state == "forked" and self.folders[monitor.attempt].exit is not None:
                continue
            if (fact := self.truths[monitor.attempt]).kind == "requested":
                yield fact

    def used_bytes(self, monitor: Monitor) -> int:
        """A job takes the memory it was promised a second after its begin, and nothing before."""
        fact = self.truths[monitor.attempt]
        late = monitor.state == "running" and self.mono - monitor.began_s >= 1.0
        return self.needs(fact.job) if late and fact.kind == "requested" else 0

    def worker_begins(self, monitor: Monitor) -> None:
        fact = self.truths.get(monitor.attempt)
        if fact is None:
            self.broken(f"{monitor.attempt[:6]} runs and its start is not in the log")
            return
        if fact.began is not None:
            self.broken(f"attempt {monitor.attempt[:6]} began twice")
        for other, each in self.truths.items():
            if each.running and each.kind != "foreground" and each.job == fact.job:
                self.broken(f"{monitor.attempt[:6]} and {other[:6]} run the same command at once")
        fact.began, fact.running = self.truth, True
        running = sum(each.running for each in self.truths.values() if each.kind != "foreground")
        if running > CORES:
            self.broken(f"{running} workers on {CORES} places")
        if fact.kind == "requested":
            self.outside += 1
        self.note(f"worker of {monitor.attempt[:6]} runs")

    def taken_for_products(self, fact: Fact) -> bool:
        """Say whether all that moved are ignored files that a stranger wrote in this run and in an earlier one of the same command.

        Or any in the same folder, in two earlier ones. That is the one wrong join docs/join.md admits: nobody can tell such a file from
        what the command itself writes each time.
        """
        others = [other for other in self.truths.values() if other is not fact and other.job == fact.job and other.slips]
        taken = len(others) > 1 or all(any(path in other.slips for other in others) for path in fact.slips)
        slips = sum(fact.slips.values())
        return taken and fact.began is not None and fact.began._replace(edits=fact.began.edits + slips) == self.truth

    def worker_ends(self, monitor: Monitor) -> None:
        fact = self.truths[monitor.attempt]
        fact.running = False
        if fact.kind == "requested":
            self.outside += 1
        fact.ended = self.truth

    def check_result(self, attempt: AttemptId, what: str, *, running: bool) -> None:
        """A result is used now: it has to be of exactly what is there now."""
        fact = self.truths[attempt]
        if fact.began is None:
            if not running:
                self.broken(f"{what} {attempt[:6]}, which never ran")
            return  # its monitor is on its way: it will see this tree or a later one, as the command itself would
        if fact.began != self.truth and not self.taken_for_products(fact):
            self.broken(f"{what} {attempt[:6]}, which began on {fact.began}; now it is {self.truth}")
        if not running and (fact.ended != self.truth or fact.end is None or not fact.end.by_itself):
            self.broken(f"{what} {attempt[:6]}, which ended on {fact.ended} with {fact.end}; now it is {self.truth}")

    # --- the session's side

    def hook(self, sitting: Sitting, call: hookwire.HookCall) -> None:
        """Deliver a hook as the client does: a supervisor is started when none answers, once."""
        for _ in range(2):
            self.supervisor_begins()
            engine = self.engine
            if engine is None:
                continue
            heard = self.inside(lambda: engine.heard(call, sitting.claude.pid))  # noqa: B023  (called at once)
            if self.engine is engine:
                if heard is not None and isinstance(call, hookwire.BatchEnded) and heard.told:
                    self.count("told")
                    for _, event in self.parsed()[-3:]:
                        if isinstance(event, NewsTold) and event.text in heard.told:
                            if self.truths[event.attempt].kind == "ahead" and self.alone.get(event.job, 0) > 0:
                                self.broken(f"told {event.attempt[:6]}, whose command's run ahead was contradicted")
                            self.check_result(event.attempt, "told", running=False)
                if heard is not None and isinstance(call, hookwire.TurnEnded | hookwire.TaskDone):
                    self.gate_answers(sitting, heard, waited_s=0.0)
                return

    def gate_answers(self, sitting: Sitting, heard: Heard, waited_s: float) -> None:
        """Take what a gate says to the end of a turn: it says "go on" at most so often for one prompt, and only of what is true."""
        sitting.held = None
        if heard.held is not None:
            self.count("gate holds")
            sitting.held = (heard.held, self.mono - waited_s)
            if waited_s > gates.HOLD_S:
                self.broken(f"a gate has kept its answer back for {waited_s:.1f} s")
            return
        decided = next((event for _, event in reversed(self.parsed()) if isinstance(event, GateDecided)), None)
        if decided is None:
            self.broken("a gate has answered what is not in the log")
        elif heard.goes_on:
            self.count(f"gate: {decided.rule}")
            sitting.continued += 1
            for check in decided.checks:
                if check.fact in decided.facts and check.attempt is not None:
                    self.check_result(check.attempt, "held for", running=False)
        if sitting.continued > gates.CONTINUED_MOST:
            self.broken(f"a session was made to go on {sitting.continued} times for one prompt")

    def ask_again(self, sitting: Sitting) -> None:
        """The daemon weighs again what it keeps back."""
        engine, held = self.engine, sitting.held
        if held is None:
            return
        sitting.held = None  # its hook hears it when nobody is there to answer, and the turn ends
        if engine is not None:
            waited_s = self.mono - held[1]
            heard = self.inside(lambda: engine.weigh(msgspec.structs.replace(held[0], waited_s=waited_s)))
            if heard is not None:
                self.gate_answers(sitting, heard, waited_s)

    def stops(self, sitting: Sitting) -> None:
        """A session comes to the end of its turn; sometimes somebody blocks it just before."""
        if sitting.unknown is not None or sitting.shims or sitting.held is not None:
            return
        if self.rng.random() < 0.3 and not self.full:
            self.ids += 1
            event = BlockRaised(
                v=FORMAT_VERSION,
                ts=self.wall,
                mono=self.mono,
                boot=self.boot,
                by="cli:1",
                block=f"{self.ids:016x}",
                scope=self.rng.choice(("stop", "all", "edit", "commit")),
                reason="wait",
                session=self.rng.choice((None, sitting.id)),
                ttl_s=self.rng.choice((1.0, 30.0)),
            )
            self.append(ENCODER.encode(event))
        self.acts()  # it is at the end of work of its own
        if self.rng.random() < 0.2:
            self.hook(sitting, hookwire.TaskDone(session=sitting.id, mode="acceptEdits"))
            if sitting.held is not None:
                return
        self.hook(sitting, hookwire.TurnEnded(session=sitting.id, mode="acceptEdits"))

    def opens(self) -> None:
        self.ids += 1
        sitting = Sitting(f"s{self.ids}", self.process("claude"))
        self.sittings.append(sitting)
        self.note(f"session {sitting.id} opens")
        mode = self.rng.choice(("default", "acceptEdits", "acceptEdits", "plan")) if self.faults else "default"
        self.hook(sitting, hookwire.SessionStarted(session=sitting.id, mode="acceptEdits" if mode == "plan" else mode, source="startup"))

    def closes(self, sitting: Sitting, *, said: bool) -> None:
        self.note(f"session {sitting.id} ends, {'with' if said else 'without'} a word")
        self.acts()  # what it was running may have moved anything
        sitting.claude.alive = False
        sitting.unknown = None
        for shim in list(sitting.shims):
            self.shim_dies(shim)
        self.sittings.remove(sitting)
        if said and self.engine is not None:
            engine = self.engine
            self.inside(lambda: engine.heard(hookwire.SessionEnded(session=sitting.id, mode="", reason="exit"), sitting.claude.pid))

    def edit(self, path: str, *, by_session: bool = False) -> None:
        self.versions[path] = self.versions.get(path, 0) + 1
        self.edits += 1
        self.note(f"edit {path}")
        if path in IGNORED and not by_session:
            unsettled = self.engine.runs.open if self.engine is not None else {}
            for attempt, fact in self.truths.items():
                if fact.running or (fact.began is not None and attempt in unsettled):
                    fact.slips[path] = fact.slips.get(path, 0) + 1

    def strangers_edit(self, path: str) -> None:
        """Somebody else writes, sometimes while the sessions do nothing; the watcher may say so."""
        if self.rng.random() < 0.3:
            self.advance(QUIET_S + 1.0)
        busy = any(sitting.shims or sitting.unknown or sitting.over for sitting in self.sittings)
        if self.engine is not None:  # of a call that was broken off nobody tells the supervisor: to it that goes on
            busy = busy or any(conversation.acts for conversation in self.engine.conversations.values()) or bool(self.engine._background)
        self.edit(path)
        if self.engine is not None and self.rng.random() < 0.8:
            self.engine.poke()
            if not busy and path not in IGNORED and self.mono - self.acted_s > QUIET_S and not self.full:
                self.note("nobody but a stranger has moved that")
                self.strange, self.strange_s = True, self.mono

    def acts(self) -> None:
        """A session does something itself."""
        self.acted_s, self.strange = self.mono, False

    def session_edits(self, sitting: Sitting) -> None:
        sitting.calls += 1
        path, name = self.rng.choice(FILES), f"w{sitting.calls}"
        self.acts()
        self.hook(sitting, hookwire.WriteAsked(session=sitting.id, mode="acceptEdits", call=name, path=f"{ROOT}/{path}"))
        self.edit(path, by_session=True)
        self.call_over(sitting, hookwire.Call(id=name, tool="Edit", path=f"{ROOT}/{path}"))

    def call_over(self, sitting: Sitting, call: hookwire.Call) -> None:
        self.acts()
        sitting.over.append(call)
        if sitting.unknown is None and not sitting.shims and sitting in self.sittings:
            calls, sitting.over = tuple(sitting.over), []
            self.hook(sitting, hookwire.BatchEnded(session=sitting.id, mode="acceptEdits", calls=calls))

    def interrupted(self, sitting: Sitting) -> None:
        """Esc and a new prompt: no hook says how the batch ended."""
        self.note(f"session {sitting.id} is interrupted")
        sitting.unknown = None
        for shim in list(sitting.shims):
            self.shim_dies(shim)
        sitting.over.clear()
        sitting.continued, sitting.held = 0, None
        self.hook(sitting, hookwire.PromptSubmitted(session=sitting.id, mode="acceptEdits"))

    def unknown_begins(self, sitting: Sitting) -> None:
        sitting.calls += 1
        sitting.unknown = (f"u{sitting.calls}", UNKNOWN)
        self.acts()
        if self.faults and self.rng.random() < 0.25:
            self.full = True
            self.note("the disk is full")
        self.note(f"session {sitting.id} runs {UNKNOWN}")
        self.hook(sitting, hookwire.BashAsked(session=sitting.id, mode="acceptEdits", call=sitting.unknown[0], command=UNKNOWN))
        self.shell_begins(sitting)

    def unknown_ends(self, sitting: Sitting) -> None:
        assert sitting.unknown is not None
        (name, text), sitting.unknown = sitting.unknown, None
        self.call_over(sitting, hookwire.Call(id=name, tool="Bash", command=text))

    def leaves_running(self, sitting: Sitting) -> None:
        """A command under way starts something that goes on after it."""
        if len(self.left) < 4:
            self.left.append(Left(sitting.id, self.process("left running")))
            self.note(f"session {sitting.id} leaves something running")

    def works(self, left: Left) -> None:
        """What was left running does something, and perhaps ends."""
        left.worked += 1
        self.outside += 1
        self.count("worked after its call")
        if self.rng.random() < 0.3:
            self.dies(left)
            if self.rng.random() < 0.5:  # it leaves another behind
                self.left.append(Left(left.session, self.process("left running")))

    def dies(self, left: Left) -> None:
        left.proc.alive = False
        self.left.remove(left)

    def shell_begins(self, sitting: Sitting) -> None:
        shell = self.process("shell")
        self.marks.setdefault(sitting.id, []).append(shell.pid)
        shell.alive = False

    def unannounced(self, sitting: Sitting) -> None:
        """A shell of the session begins of which no hook tells, and does something."""
        self.note(f"session {sitting.id} runs what no hook announces")
        self.count("unannounced")
        self.shell_begins(sitting)
        self.outside += 1

    def tool(self, sitting: Sitting) -> None:
        """A tool that nobody knows does something."""
        sitting.calls += 1
        name = f"t{sitting.calls}"
        self.hook(sitting, hookwire.ToolAsked(session=sitting.id, mode="acceptEdits", call=name, tool="mcp__db__seed"))
        self.count("unknown tool")
        self.outside += 1
        self.call_over(sitting, hookwire.Call(id=name, tool="mcp__db__seed"))

    def checks(self, sitting: Sitting, index: int) -> None:
        """A session runs a check: its hook, then its shim's question."""
        if self.left and self.rng.random() < 0.3:
            self.works(self.rng.choice(self.left))
        elif self.faults and self.rng.random() < 0.05:
            self.rng.choice((self.unannounced, self.tool))(sitting)
        sitting.calls += 1
        name = f"c{sitting.calls}"
        self.acts()
        self.hook(sitting, hookwire.BashAsked(session=sitting.id, mode="acceptEdits", call=name, command=CHECKS[index]))
        self.shell_begins(sitting)
        shim = Shim(sitting, index, name)
        sitting.shims.append(shim)
        engine = self.engine
        answer = None
        if engine is not None and engine.announced and not engine.makes_way:
            shim.call.session = sitting.id
            argv = tuple(word.encode() for word in CHECKS[index].split())
            invocation = INVOCATIONS[index]
            check = commands.check_of(invocation.name, argv)
            assert check is not None
            began_s = self.mono
            answer = self.inside(lambda: engine.ask(shim.call, key_of(index), invocation, check, not_ours=None, began_s=began_s))
            if self.engine is engine and answer is None:
                self.inside(lambda: engine.hung_up(shim.call))
        self.audit()
        self.answered(shim, answer)

    def answered(self, shim: Shim, answer: Any) -> None:
        shim.since_s = self.mono
        plan = self.plan_of(key_of(shim.index), "foreground")
        shim.due_s = self.mono + SECONDS[shim.index]
        shim.end = End(how="code", value=0 if self.rng.random() < 0.75 else 1) if self.faults else plan.end
        what = answer.do if answer is not None else "exec"
        self.note(f"{shim.session.id} asks {key_of(shim.index)[:4]}: {what}{' ' + answer.run.attempt[:6] if answer and answer.run else ''}")
        self.count(f"answer {what}")
        if answer is None or answer.run is None:
            return
        shim.asked_of, shim.attempt = self.engine, answer.run.attempt
        if what == "record":
            shim.state = "recorded"
            fact = self.truths[shim.attempt]
            fact.began, fact.running = self.truth, True
            shim.child = self.process("foreground")
            self.connects.discard(shim.child.pid)
            if self.faults and shim.index and self.rng.random() < CONNECTS:
                self.connects.add(shim.child.pid)
            self.folders[shim.attempt].holder = shim.child
            engine, pid = self.engine, shim.child.pid
            if engine is not None:
                self.inside(lambda: engine.child_started(shim.call, pid))
            return
        shim.state = "waits"
        self.check_result(shim.attempt, what, running=what == "attach")

    def shim_step(self, shim: Shim) -> None:
        """What a call of a check does next, if anything is due."""
        engine = shim.asked_of if shim.asked_of is self.engine else None
        if shim.state == "waits":
            assert shim.attempt is not None
            folder, fact = self.folders[shim.attempt], self.truths[shim.attempt]
            found = parse_exit(folder.exit) if folder.exit is not None else None
            if found is None and (folder.holder is not None or any(each.attempt == shim.attempt for each in self.monitors)):
                return
            ok = found is not None and found.end.by_itself
            if ok and found is not None and found.end != fact.end:
                self.broken(f"{shim.attempt[:6]} was delivered as {found.end}, but it ended with {fact.end}")
            self.note(f"{shim.session.id} has {shim.attempt[:6]}: {'joined' if ok else 'runs it itself'}")
            if engine is not None:
                waited_s = self.mono - shim.since_s
                self.inside(lambda: engine.joined(shim.call, ok=ok, waited_s=waited_s))
            if not ok:
                self.count("join lost")
                shim.state, shim.due_s = "native", self.mono + SECONDS[shim.index]
                return
        elif self.mono < shim.due_s:
            return
        elif shim.state == "recorded":
            assert shim.attempt is not None and shim.child is not None
            fact, folder = self.truths[shim.attempt], self.folders[shim.attempt]
            fact.running, fact.ended, fact.end = False, self.truth, shim.end
            shim.child.alive = False
            if not self.full:
                folder.exit = f"{shim.end.how} {shim.end.value} 0 0\n".encode()
            folder.holder = None
            if engine is not None:
                self.inside(lambda: engine.foreground_ended(shim.call, shim.end, out_bytes=0, err_bytes=0, cpu_s=0.0, left=lambda: 0))
        if engine is not None and self.engine is engine:
            self.inside(lambda: engine.hung_up(shim.call))
        shim.session.shims.remove(shim)
        self.call_over(shim.session, hookwire.Call(id=shim.call_id, tool="Bash", command=CHECKS[shim.index]))

    def shim_dies(self, shim: Shim) -> None:
        """Esc, a kill, or the end of its session; what it recorded is never told."""
        self.note(f"a call of {key_of(shim.index)[:4]} in {shim.session.id} is broken off")
        if shim.child is not None and shim.attempt is not None:
            shim.child.alive = False
            self.folders[shim.attempt].holder = None
            self.truths[shim.attempt].running = False
        shim.session.shims.remove(shim)
        engine = shim.asked_of
        if engine is not None and engine is self.engine:
            self.inside(lambda: engine.hung_up(shim.call))

    def requests(self) -> None:
        """Somebody asks for a job, and asks again when nobody answered."""
        rng = self.rng
        self.ids += 1
        job = JobKey(f"f{self.ids:031x}")
        after = [rng.choice(self.asked)] if self.asked and rng.random() < 0.4 else []
        session = rng.choice(self.sittings).id if self.sittings and rng.random() < 0.7 else SessionId("")
        self.ask_for(
            job,
            after,
            session,
            priority=rng.choice((0, 0, 5)),
            memory_bytes=rng.choice((1 << 20, 1 << 30, 4 << 30, 5 << 30)),
            retries=rng.choice((0, 0, 1, 2)),
            keep=rng.random() < 0.2,
        )

    def ask_for(
        self, job: JobKey, after: list[JobKey], session: SessionId, *, priority: int, memory_bytes: int, retries: int, keep: bool
    ) -> None:
        message = {
            "job": job.encode(),
            "after": " ".join(after).encode(),
            "memory_bytes": str(memory_bytes).encode(),
            "priority": str(priority).encode(),
            "retries": str(retries).encode(),
            "session": session.encode(),
            "exe": b"/bin/job",
            "argv": b"job",
            "cwd": ROOT.encode(),
            "env": b"A=1",
            "umask": b"022",
            "keep": b"1" if keep else b"0",
        }
        self.specs[job] = {**message, "_after": msgspec.json.encode(after)}
        self.note(f"job {job[-4:]} is asked for")
        for _ in range(2):
            self.supervisor_begins()
            engine = self.engine
            if engine is None:
                continue

            def ask() -> Any:
                try:
                    return engine.request(message, confined=False)  # noqa: B023
                except UserError as error:
                    return error

            said = self.inside(ask)
            if said is not None:
                if not isinstance(said, UserError):
                    self.asked.append(job)
                    self.asked_of[job] = self.door
                return
            if self.engine is engine:
                return

    def drops(self) -> None:
        job = self.rng.choice(self.asked)
        if self.faults and self.rng.random() < 0.3:
            self.fuse, self.fuse_kind = 1, "after"
        self.note(f"job {job[-4:]} is cancelled")
        engine = self.engine
        if engine is not None:
            self.inside(lambda: engine.cancel_request(job, "the user cancelled it"))

    # --- time

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that is due in it in its order."""
        until = self.mono + seconds
        while True:
            # a supervisor with something to stop is not left without a turn for longer than its own loop sleeps
            limit = min(until, self.mono + IDLE_TICK_S) if self.to_stop() else until
            due = [each for each in self.monitors if each.next_s <= limit]
            shims = [shim for sitting in self.sittings for shim in sitting.shims if shim.state != "waits" and shim.due_s <= limit]
            at = min([each.next_s for each in due] + [shim.due_s for shim in shims], default=limit)
            if not due and not shims and limit >= until:
                break
            self.mono = max(self.mono, at)
            for monitor in due:
                if monitor in self.monitors and monitor.next_s <= self.mono:
                    monitor.step()
            for shim in [each for each in shims if each.due_s <= self.mono]:
                if shim in shim.session.shims:
                    self.shim_step(shim)
            if not self.faults or self.rng.random() < 0.8:  # else it is slow, and hears of several things at once
                self.turn()
            else:
                self.audit()
            self.waiters()
        self.mono = max(self.mono, until)
        self.turn()
        self.waiters()

    def to_stop(self) -> bool:
        return any(monitor.state == "running" and self.truths[monitor.attempt].job in self.cancelled for monitor in self.monitors)

    def waiters(self) -> None:
        for sitting in list(self.sittings):
            for shim in list(sitting.shims):
                if shim.state == "waits" and shim in sitting.shims:
                    self.shim_step(shim)

    # --- what happens

    def one_step(self) -> None:
        """Something happens."""
        rng = self.rng
        if self.full and rng.random() < 0.2:
            self.full = False
            self.note("the disk has room")
        if rng.random() < self.mood:
            self.goes_wrong(rng.random())
            return
        roll = rng.random()
        sitting = rng.choice(self.sittings) if self.sittings else None
        if sitting is None:
            if roll < 0.7:
                self.opens()
            elif roll < 0.8:
                self.requests()
            else:
                self.advance(rng.choice((0.5, 3.0, 12.0, 40.0)))
        elif roll < 0.36:
            self.advance(rng.choice((0.06, 0.3, 0.4, 1.0, 2.0, 5.0, 20.0)))
        elif roll < 0.64:
            if len(sitting.shims) < 2:
                self.checks(sitting, rng.choice((0, 0, 0, 1, 1, 2, 3, HOOKED)))
        elif roll < 0.74:
            self.session_edits(sitting)
        elif roll < 0.78:
            self.strangers_edit(rng.choice(FILES))
        elif roll < 0.84:
            if self.left and rng.random() < 0.3:
                self.works(rng.choice(self.left))
            elif sitting.unknown is None:
                if rng.random() < 0.2:
                    rng.choice((self.unannounced, self.tool))(sitting)
                elif rng.random() < 0.5:
                    self.unknown_begins(sitting)
                    if rng.random() < 0.5:
                        self.leaves_running(sitting)
                    if rng.random() < 0.5:  # a quick one
                        self.outside += 1
                        self.unknown_ends(sitting)
            elif rng.random() < 0.5:
                self.outside += 1
                self.note("outside changes")
            else:
                self.unknown_ends(sitting)
        elif roll < 0.84 + self.job_mood:
            self.requests()
        elif roll < 0.92:
            if self.asked and rng.random() < 0.3:
                self.drops()
            elif rng.random() < 0.5:
                self.stops(sitting)
        elif roll < 0.94:
            if len(self.sittings) < 3:
                self.opens()
        elif roll < 0.96:
            if rng.random() < 0.5:
                self.closes(sitting, said=rng.random() < 0.6)
        elif roll < 0.97:
            if sitting.shims:
                self.shim_dies(rng.choice(sitting.shims))
        elif roll < 0.98:
            self.interrupted(sitting)
        elif self.monitors:
            monitor = rng.choice(self.monitors)
            fact = self.truths[monitor.attempt]
            if fact.kind == "requested" and fact.running:
                self.outside += 1
                self.note("a job changes the outside")
            elif fact.kind == "ahead" and self.engine is not None and rng.random() < 0.3:
                engine = self.engine
                self.inside(lambda: engine.cancel_ahead(monitor.attempt))

    def goes_wrong(self, roll: float) -> None:
        rng = self.rng
        if roll < 0.45:
            self.fuse, self.fuse_kind = rng.choice((1, 1, 2, 3, 4, 6, 9)), rng.choice(("before", "tear", "after", "after"))
        elif roll < 0.60:
            if self.monitors:
                monitor = rng.choice(self.monitors)
                self.note(f"monitor of {monitor.attempt[:6]} is killed while {monitor.state}")
                self.count(f"monitor killed while {monitor.state}")
                if monitor.state == "written" and not self.full and rng.random() < 0.5:
                    self.append(b'{"t":"attempt.exited","v":1', tear=20)
                monitor.kill()
        elif roll < 0.72:
            self.full = not self.full
            self.note(f"the disk {'is full' if self.full else 'has room'}")
            self.count("disk full" if self.full else "disk has room")
        elif roll < 0.78:
            seconds = rng.choice((-7200.0, -30.0, 30.0, 7200.0))
            self.wall_offset += seconds
            self.note(f"the wall clock jumps by {seconds}")
            self.count("wall clock jumps")
        elif roll < 0.84:
            self.sleeps(rng.choice((60.0, 4000.0, 90000.0)))
        elif roll < 0.88:
            self.reboots()
        elif roll < 0.94:
            foreign = [place for place in self.places if place.who == "another project"]
            if foreign:
                foreign[0].close()
            elif len(self.places) < CORES:
                self.places.append(Holder(self, "another project"))
        else:
            if self.engine is not None:
                self.engine.leaving = "it was asked to"
                self.count("asked to leave")
                self.turn()

    def sleeps(self, seconds: float) -> None:
        """The machine sleeps: its clock has gone on when it wakes, and nothing has happened meanwhile (F14)."""
        self.note(f"the machine sleeps for {seconds:.0f} s")
        self.count("machine sleeps")
        self.mono += seconds
        self.slept += seconds
        for monitor in self.monitors:
            if monitor.state == "running" and monitor.due_s <= self.mono:
                late = monitor.term or monitor.began_s + monitor.wall_s <= self.mono
                monitor.due_s = self.mono + (0.05 if late else monitor.plan.lasts_s)

    def reboots(self) -> None:
        """The machine starts anew: every process is gone, the clock begins again, the disk has what it had (F14)."""
        self.note("the machine is started anew")
        self.count("machine reboots")
        self.supervisor_dies()
        for monitor in list(self.monitors):
            if monitor.state == "running":
                self.worker_ends(monitor)
            monitor.gone()
        self.orphans.clear()
        self.left.clear()
        self.marks.clear()
        for sitting in self.sittings:
            for shim in sitting.shims:
                if shim.attempt is not None and shim.child is not None:
                    self.folders[shim.attempt].holder = None
                    self.truths[shim.attempt].running = False
        self.sittings.clear()
        self.places.clear()
        self.procs.clear()
        self.boots += 1
        self.boot = f"boot-{self.boots}"
        self.wall_offset += self.mono - 5.0 + 60.0
        self.mono, self.slept = 5.0, 0.0
        self.acts()

    # --- the end

    def drain(self) -> None:
        """The faults stop and the sessions end: within bounded time all is over."""
        self.faults = False
        self.fuse, self.full = 0, False
        self.note("--- the faults stop")
        for place in [place for place in self.places if place.who == "another project"]:
            place.close()
        for one in list(self.left):
            self.dies(one)
        self.opens()
        for sitting in list(self.sittings):
            if sitting.unknown is not None:
                self.unknown_ends(sitting)
        self.advance(1.0)
        for sitting in list(self.sittings):
            self.closes(sitting, said=True)
        deadline_s = self.mono + DRAIN_LIMIT_S
        held: State | None = None
        while self.engine is not None:
            held = self.engine.state
            if self.mono > deadline_s:
                left = [f"{run.kind} {run.attempt[:6]}" for run in self.engine.runs.open.values()]
                asked = [f"{each.job[-4:]} {each.phase}" for each in self.engine.state.requests.values() if not each.over]
                self.broken(f"not over within {DRAIN_LIMIT_S:.0f} s of the last session: runs {left}, jobs {asked}")
            self.advance(5.0)
        if self.monitors:
            self.broken(f"{self.monitors[0].proc.what} lives on after the supervisor has left")
        if self.orphans:
            self.broken(f"what {min(self.orphans)[:6]} started outlives it")
        self.check_log(held)

    def check_log(self, held: State | None) -> None:
        whole = fold(self.parsed())
        if held is not None and held != whole:
            self.broken(f"the state held is not the fold of the log: {difference(held, whole)}")
        if (again := self.load()[0]) != whole:
            self.broken(f"the state from snapshot and tail is not the fold of the log: {difference(again, whole)}")
        if whole.anomaly_count:
            self.broken(f"the log has an event that does not fit: {whole.anomalies[0].what}")
        for attempt in whole.attempts.values():
            if type(attempt.phase).__name__ != "Settled":
                self.broken(f"attempt {attempt.attempt[:6]} was left {type(attempt.phase).__name__}")
        for request in whole.requests.values():
            if not request.over:
                self.broken(f"job {request.job[-4:]} was left {request.phase}")
            if request.job in self.cancelled and not isinstance(request.phase, Cancelled):
                self.broken(f"job {request.job[-4:]} was cancelled and is {request.phase}")
            if isinstance(request.phase, Passed) and not any(
                fact.job == request.job and fact.end is not None and fact.end.passed for fact in self.truths.values()
            ):
                self.broken(f"job {request.job[-4:]} passed, and no try of it did")
        exits = [event.attempt for _, event in self.parsed() if isinstance(event, AttemptExited)]
        if len(exits) != len(set(exits)):
            self.broken("an attempt has two exits")

    def load(self) -> tuple[State, int]:
        """What `snapshot.load` does, from these bytes."""
        state, offset = (snapshot.unpack(self.kept[1]), self.kept[0]) if self.kept is not None else (State(), 0)
        for begin, after, line in self.lines(offset):
            offset = after
            state = apply(state, parse(line), begin)
        return state, offset


class FakeTree:
    """The generations one supervisor sees."""

    def __init__(self, host: Host, name: str) -> None:
        self._host, self.id = host, name
        self.generation = 0
        self._seen: dict[str, int] = {}
        self._moved: list[tuple[str, ...]] = [()]

    def scan(self) -> Scan:
        now = self._host.versions
        moved: tuple[str, ...] = ()
        if self.generation and now != self._seen:
            moved = tuple(path for path, version in now.items() if self._seen.get(path) != version)
        if moved or not self.generation:
            self._seen = dict(now)
            self.generation += 1
            self._moved.append(moved)
        return Scan(generation=self.generation, moved=changes_of(moved), took_ms=0.0, problem="")

    def changes(self, after: int, until: int) -> tuple[Change, ...]:
        if not 1 <= after <= until <= self.generation:
            return changes_of(("(more than is remembered)",))
        return changes_of(dict.fromkeys(path for each in self._moved[after + 1 : until + 1] for path in each))

    def classify(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        return tuple(Change(path=each.path, of=FileClass.IGNORED) if each.path.startswith("data/") else each for each in changes)

    def ignored_folders(self, paths: Iterable[str]) -> Mapping[str, str]:
        return {path: path.rpartition("/")[0] for path in paths}

    def tracks(self, paths: Iterable[str]) -> bool:
        return bool(list(paths))

    def covers(self, path: bytes | str) -> bool:
        return True

    def heaps_moved(self, since: Moment) -> str:
        return ""

    def drop_byte_code(self, paths: Iterable[str], until_ns: int, prefixes: Iterable[str] = ()) -> int:
        return 0

    def spares(self, argv: Sequence[bytes], cwd: bytes) -> bool:
        return False


def changes_of(paths: Iterable[str]) -> tuple[Change, ...]:
    return tuple(Change(path=path, of=FileClass.SOURCE) for path in paths)


class FakeExecutor:
    """Monitors of the made-up machine."""

    def __init__(self, host: Host, door: Door) -> None:
        self._host, self._door = host, door

    def folder(self, attempt: AttemptId) -> str:
        return f"/state/attempts/{attempt}"

    def create(self, attempt: AttemptId) -> None:
        self._host.fault("create")
        if self._host.full:
            raise OSError(errno.ENOSPC, "no space")
        self._host.folders[attempt] = Folder()

    def spawn(self, attempt: AttemptId, spec: Mapping[str, bytes], place: Any = None) -> Told:
        host = self._host
        host.audit()
        if host.faults and host.rng.random() < 0.03:
            host.note(f"no process for {attempt[:6]}")
            raise OSError(errno.EAGAIN, "no process")
        fact = host.truths.get(attempt)
        if fact is None:
            raise Violation(f"{attempt[:6]} is spawned and its start is not in the log")
        if sum(each.attempt == attempt for each in host.monitors):
            raise Violation(f"{attempt[:6]} is spawned twice")
        if fact.kind == "requested":
            needed = host.needs(fact.job) + sum(host.needs(each.job) for each in host.requested())
            if needed > TOTAL_BYTES - schedule.RESERVE_BYTES:
                raise Violation(f"jobs that need {needed >> 20} MB run, there are {TOTAL_BYTES >> 20}")
        monitor = Monitor(host, attempt, spec, host.plan_of(fact.job, fact.kind))
        host.monitors.append(monitor)
        if place is not None:
            place.monitor = monitor
        told = monitor.told
        assert told is not None
        host.fault("spawn")
        return told

    def forbid(self, attempt: AttemptId) -> None:
        if self._host.full:
            raise OSError(errno.ENOSPC, "no space")
        if self._host.truths[attempt].kind == "foreground":
            raise Violation(f"foreground run {attempt[:6]} is forbidden")
        self._host.folders[attempt].cancel = True
        for monitor in self._host.monitors:
            if monitor.attempt == attempt and monitor.state == "running":
                monitor.terminate()  # it looks for the word four times a second
        self._host.fault("forbid")

    def signer(self, attempt: AttemptId) -> Process | None:
        return self._host.folders[attempt].signed

    def cancel(self, monitor: Process) -> bool:
        return self._signal(monitor, "cancel")

    def hasten(self, monitor: Process) -> bool:
        return self._signal(monitor, "hasten")

    def hold(self, monitor: Process) -> bool:
        return self._signal(monitor, "hold")

    def go_on(self, monitor: Process) -> bool:
        return self._signal(monitor, "go on")

    def _signal(self, process: Process, what: str) -> bool:
        proc = self._host.living(process)
        if proc is None:
            return False
        monitor = next((each for each in self._host.monitors if each.proc is proc), None)
        if monitor is None:
            raise Violation(f"a {proc.what} process got the signal to {what}")
        if what == "cancel":
            self._host.note(f"cancel {monitor.attempt[:6]}")
            monitor.terminate()
        elif what == "hold":
            monitor.hold()
        else:
            monitor.go_on()
        return True

    def owned(self, attempt: AttemptId) -> bool:
        folder = self._host.folders.get(attempt)
        return folder is not None and folder.holder is not None

    def give_up(self, attempt: AttemptId) -> bool:
        folder = self._host.folders.get(attempt)
        if folder is None:
            return True
        if folder.holder is not None:
            return False
        if folder.exit is None:
            if self._host.full:
                # A monitor that comes later would not get its files either.
                for monitor in [each for each in self._host.monitors if each.attempt == attempt]:
                    monitor.gone()
                return True
            folder.exit = b"lost 0 0 0\n"
        return True

    def exit_of(self, attempt: AttemptId) -> Exit | None:
        folder = self._host.folders.get(attempt)
        return parse_exit(folder.exit) if folder is not None and folder.exit is not None else None

    def seal(self, attempt: AttemptId) -> Seal | None:
        found = self.exit_of(attempt)
        return Seal(attempt, found, (), True) if found is not None else None

    def still(self, attempt: AttemptId, seal: Seal) -> Seal | None:
        return seal if attempt in self._host.folders else None

    def outlived(self, attempt: AttemptId) -> int:
        return int(attempt in self._host.orphans)

    def last_line(self, attempt: AttemptId) -> str:
        return "1 failed"

    def tail(self, attempt: AttemptId, most_bytes: int) -> str:
        return "FAILED test_it.py::test_it - assert 0\n1 failed"[-most_bytes:]

    def printed(self, attempt: AttemptId, most_bytes: int) -> tuple[bytes, bytes] | None:
        return (b"", b"") if self.exit_of(attempt) is not None and most_bytes >= 0 else None

    def end_orphans(self, attempt: AttemptId) -> None:
        self._host.orphans.pop(attempt, None)

    def prune(self, keep: Collection[AttemptId], limit_bytes: int, most: int) -> bool:
        return False


class Door:
    """The `World` of one supervisor's life."""

    root = ROOT
    settings: tuple[str, ...] = ()
    salt = b"salt"
    umask = 0o022

    def __init__(self, host: Host) -> None:
        self._host = host
        self.me_ = host.process("supervisor")
        host.ids += 1
        self.tree: Tree = FakeTree(host, f"scanner-{host.ids}")
        self.executor: Executor = FakeExecutor(host, self)
        self.listeners: list[tuple[Told, Callable[[], None]]] = []
        self.tended = 0

    def wall_s(self) -> float:
        return self._host.wall

    def mono_s(self) -> float:
        return self._host.mono

    def awake_s(self) -> float:
        return self._host.awake_s

    def boot_id(self) -> str:
        return self._host.boot

    def new_id(self) -> str:
        self._host.ids += 1
        return f"{self._host.ids:06x}{self._host.seed & 0xFFFFFFFFFF:026x}"

    def me(self) -> Process:
        return self.me_.identity

    def identify(self, pid: int) -> Process | None:
        proc = self._host.procs.get(pid)
        return proc.identity if proc is not None and proc.alive else None

    def lives(self, process: Process) -> bool:
        return self._host.living(process) is not None

    def arguments(self, process: Process) -> tuple[str, ...] | None:
        return ("claude", "--allowedTools", "Bash") if self.lives(process) else None

    def hooked(self) -> bool:
        return True

    def ticks(self) -> int:
        return int(self._host.mono * 100)

    def shells(self, session: SessionId) -> list[int]:
        return self._host.marks.pop(session, [])

    def survivors(
        self, sessions: Collection[SessionId], claude: Process | None, since_ticks: int, shells: Collection[int], *, orphans: bool
    ) -> Processes | None:
        left = (each for each in self._host.left if each.session in sessions and int(each.proc.start) >= since_ticks)
        return {each.proc.pid: each.seen for each in left}

    def processes(self, pids: Collection[int]) -> Processes:
        return {each.proc.pid: each.seen for each in self._host.left if each.proc.pid in pids}

    def load(self) -> tuple[State, int]:
        return self._host.load()

    def append(self, record: bytes, *, lasting: bool) -> int:
        host = self._host
        if host.fuse == 1 and host.fuse_kind != "after":
            if host.fuse_kind == "tear" and not host.full:
                host.append(record, tear=host.rng.randrange(1, len(record)))
            host.fault(f"append ({host.fuse_kind})")
        begin = host.append(record)
        host.fault("append (after)")
        return begin

    def lines(self, offset: int) -> Iterator[tuple[int, int, bytes]]:
        return self._host.lines(offset)

    def tend(self, state: State, offset: int) -> None:
        host = self._host
        if offset - self.tended > 3000 and not host.full:
            self.tended = offset
            host.kept = (offset, snapshot.pack(state))
            host.count("snapshot")
            host.fault("snapshot")

    def standing(self) -> Allowed | None:
        return self._host.allowed

    def gone(self) -> str:
        return ""

    def real(self, path: str) -> str:
        return path

    def changed_at(self, paths: Iterable[str]) -> float:
        return 0.0

    def places(self, paths: Iterable[bytes]) -> tuple[bytes, ...]:
        return tuple(paths)

    def texts(self, name: str, cwd: bytes) -> tuple[str, ...]:
        return ()

    def recall(self, job: Job, like: Invocation) -> tuple[JobKey, Invocation] | None:
        for index, invocation in enumerate(INVOCATIONS):
            if job.argv == tuple(word.decode() for word in invocation.argv):
                self._host.count("recalled")
                return key_of(index), invocation
        return None

    def is_tool_of(self, job: JobKey, invocation: Invocation) -> bool:
        return True

    def head_log(self) -> tuple[str, ...]:
        return ()

    def forget(self, session: SessionId) -> None:
        self._host.fault("forget")

    def complain(self, text: str) -> None:
        self._host.note(f"complains: {text}")

    def listen(self, owner: Any, act: Callable[[], None]) -> None:
        self.listeners.append((owner, act))

    def unlisten(self, owner: Any) -> None:
        self.listeners = [each for each in self.listeners if each[0] is not owner]

    def stand_down(self) -> None:
        pass

    def take_place(self, *, ahead: bool) -> Holder | None:
        if len(self._host.places) >= CORES:
            return None
        place = Holder(self._host, self)
        self._host.places.append(place)
        return place

    def promised_bytes(self) -> int:
        used = {monitor.proc.pid: self._host.used_bytes(monitor) for monitor in self._host.monitors}
        return sum(max(0, place.memory_bytes - used.get(place.pid, 0)) for place in self._host.places)

    def cores(self) -> int:
        return CORES

    def free_bytes(self) -> int:
        return TOTAL_BYTES - sum(self._host.used_bytes(monitor) for monitor in self._host.monitors)

    def total_bytes(self) -> int:
        return TOTAL_BYTES

    def granted_bytes(self) -> int:
        return TOTAL_BYTES

    def load_per_core(self) -> float:
        return 0.5

    def busy_percent(self) -> float:
        return 0.0

    def on_battery(self) -> bool:
        return False

    def beside(self, pid: int, claude: Process) -> str:
        return ""

    def reach(self, pid: int, ports: frozenset[int]) -> Reach:
        return Reach(remote=pid in self._host.connects, ports=ports)


STANDING = Allowed(mode="on", rules=Rules(slots=2))
AUDITED = Allowed(mode="audit", rules=Rules(slots=2))


def key_of(index: int) -> JobKey:
    return JobKey(f"{index:02x}" + "c" * 30)


def _invocation(text: str, env: tuple[bytes, ...] = ()) -> Invocation:
    argv = tuple(word.encode() for word in text.split())
    return Invocation(name=argv[0].decode(), exe=b"/bin/" + argv[0], argv=argv, cwd=ROOT.encode(), env=env, context=b"", streams="merged")


INVOCATIONS = tuple(_invocation(text, (b"GIT_INDEX_FILE=/p/.git/index",) if index == HOOKED else ()) for index, text in enumerate(CHECKS))


def difference(one: State, other: State) -> str:
    """Name the fields in which two states differ."""
    return ", ".join(
        f"{name}: {getattr(one, name)!r} and {getattr(other, name)!r}"[:300]
        for name in State.__struct_fields__
        if getattr(one, name) != getattr(other, name)
    )


def simulate(seed: int, steps: int = STEPS, plant: str = "") -> Trace:
    """Live through one seed and return what happened; `Trace.violation` says which law was broken, if one was.

    Args:
        plant: the name of a bug that is put into the real code meanwhile; see `plants`.
    """
    host = Host(seed)
    with planted(plant):
        violation = live(host, steps)
    return Trace(seed, host.events, violation, host.counts, plant)


def live(host: Host, steps: int) -> str:
    """Let so many things happen and then all come to an end; return which law was broken, "" when none was."""
    try:
        for _ in range(steps):
            host.one_step()
            if host.rng.random() < 0.7:
                host.turn()
        host.drain()
    except Violation as error:
        return str(error)
    except (LookupError, ValueError, AssertionError, OSError, TypeError, AttributeError) as error:
        return f"a bug: {error!r}"
    return ""


def main(arguments: list[str]) -> int:
    """Be the command line; 0 when every seed held, else 1."""
    parser = argparse.ArgumentParser(prog="python -m stretto.testing.simulation", description="Replay or search seeds.")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", metavar="A..B")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--plant", choices=sorted(PLANTS), default="")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    first, last = (chosen.seed or 0, chosen.seed or 0)
    if chosen.seeds:
        first, last = (int(word) for word in chosen.seeds.split(".."))
    failed = 0
    for seed in range(first, last + 1):
        trace = simulate(seed, chosen.steps, chosen.plant)
        failed += bool(trace.violation)
        if chosen.json:
            print(msgspec.json.encode({**trace._asdict(), "digest": trace.digest}).decode())
        elif chosen.seeds is None:
            print("\n".join(trace.events))
        if trace.violation and not chosen.json:
            print(f"seed {seed}: {trace.violation}\n  {trace.replay}")
    if not chosen.json:
        print(f"{last - first + 1} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
