"""The machine that a life is played on: the real supervisor, client and shim, joined without a socket and without a process.

Everything that would ask the kernel about processes asks `Stage` instead; the clock is its own. Monitors are those of the simulation, which
a contract test holds to the real ones (tests/contract/test_executor.py); so are its processes (tests/contract/test_hunt_processes.py).

It is one idea in one file: a machine, and all the places where the real code asks for one.
"""

from __future__ import annotations

import collections
import json
import os
import posix
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from stretto import background, client, daemon, install, machine, observe, outputs, rpc, shim, trust
from stretto.model import AttemptId, End, GateDecided, NewsTold, SessionId
from stretto.rules import Rules
from stretto.system import Process
from stretto.testing import simulation
from stretto.testing.simulation import Crash, Door, FakeExecutor, Host, Monitor, Plan, Proc, Told
from stretto.tree import Scanner
from stretto.world import Allowed

from .oracle import Ran, Seen, code, meaningful, needs_service, objection
from .place import Place

GROUPS = ("0::/user.slice", "0::/claude-code-bash")
"""The control group of a session, and the one beside it that the host makes for Bash calls under a memory limit."""
LARGEST_BYTES = 200_000
"""What stands for the largest message, so that one beyond it costs no time."""
FIRST_PID = 5_000_000
"""Above every number that the system gives: what asks the kernel all the same finds nobody."""
LIMIT = b"CLAUDE_CODE_TOOL_MEMORY_LIMIT"
WAIT_MOST_S, STEP_S = 900.0, 0.5
KEPT_S = 500.0
"""So long after its end a result is surely not too old."""
STANDING = Allowed(mode="on", rules=Rules(slots=2))


class Finding(NamedTuple):
    """Something that should not have been."""

    what: str
    """wrong: a result was given that did not hold. told: a red was told that no run of the session had. harm: it ran where it must not."""
    kind: str
    """What happened last, and how it was asked."""
    story: str


class Being(Proc):
    """A process, and what can be seen of it."""

    argv: tuple[str, ...] = ()
    text = ""
    """What a shell was given to run."""
    session = ""
    """Whose environment it has."""
    leader = 0
    """Of its session of processes: the shell of the call it belongs to."""
    worked = 0
    """How much it has done."""
    serves = False


class Session:
    """A Claude Code session, as far as it matters here."""

    def __init__(self, name: str, claude: Proc) -> None:
        self.id, self.claude = SessionId(name), claude
        self.hooks = True
        """Its host still calls our hooks."""
        self.here = True
        """It is a session of this project."""
        self.calls = 0


class Connection:
    """Our end and the supervisor's end of a connection, in one."""

    def __init__(self, stage: Stage, pid: int) -> None:
        self.stage, self.pid, self.given, self.said, self.open = stage, pid, b"", b"", True
        self.peer = daemon.Peer(self)  # type: ignore[arg-type]
        self.supervisor = stage.supervisor

    def tell(self, data: bytes) -> None:
        """Let the supervisor read something."""
        self.given += data
        if self.open and self.supervisor is self.stage.supervisor and self.supervisor is not None:
            while self.given and self.open:
                self.stage.inside(lambda: self.supervisor._readable(self.peer))  # type: ignore[union-attr]

    def hear(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def hang_up(self) -> None:
        if self.open and self.supervisor is self.stage.supervisor and self.supervisor is not None:
            self.given = b""
            self.stage.inside(lambda: self.supervisor._readable(self.peer))  # type: ignore[union-attr]

    # what the supervisor does with a socket

    def recv(self, most: int) -> bytes:
        data, self.given = self.given[:most], self.given[most:]
        return data

    def sendall(self, data: bytes) -> None:
        self.said += data

    def fileno(self) -> int:
        return 99 if self.open else -1

    def close(self) -> None:
        self.open = False

    def setblocking(self, flag: bool) -> None:
        pass

    def settimeout(self, limit_s: float) -> None:
        pass


class Unselecting:
    """Nobody waits for sockets here."""

    def register(self, *_: object) -> None:
        pass

    unregister = register

    def close(self) -> None:
        pass


class Watched(FakeExecutor):
    """Monitors of which it is known what they see."""

    def spawn(self, attempt: AttemptId, spec: Mapping[str, bytes], place: Any = None) -> Told:
        self._host.specs_of[attempt] = spec  # type: ignore[attr-defined]
        self._host.moves_at[attempt] = self._host.moves  # type: ignore[attr-defined]
        return super().spawn(attempt, spec, place)


class Ground(Door):
    """The world of one supervisor: a made-up machine under a real project."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stage = stage
        self.root = str(stage.place.root)
        self.settings = ()
        self.project = stage.project
        self.tree = self._scanner = Scanner(os.fsencode(self.root))
        self.executor = Watched(stage, self)

    # what is left running, and what a check stands beside

    def ticks(self) -> int:
        return int(self._host.mono * 100)

    def shells(self, session: SessionId) -> list[int]:
        return self.stage.marks.pop(session, [])

    def survivors(
        self, sessions: Collection[SessionId], claude: Process | None, since_ticks: int, shells: Collection[int], *, orphans: bool
    ) -> dict[int, Any]:
        host = claude.pid if claude is not None else 0
        found = set()
        for each in self.stage.beings():
            below, theirs = host in self.stage.above(each.pid), each.session in sessions or each.leader in shells
            lost = self.stage.parents[each.pid] == 1 or not host or each.leader in shells
            if int(each.start) >= since_ticks and theirs and (below or (lost and (orphans or not host))):
                found.add(each.pid)
        return self.processes(found)

    def processes(self, pids: Collection[int]) -> dict[int, Any]:
        return {
            each.pid: background.Seen(
                start=each.start,
                parent=self.stage.parents[each.pid],
                leader=each.leader,
                work=(b"%d" % each.worked,),
                serves=each.serves,
            )
            for each in self.stage.beings()
            if each.pid in pids or not set(pids).isdisjoint(self.stage.above(each.pid))
        }

    def beside(self, pid: int, claude: Process) -> str:
        chain = [pid, *self.stage.above(pid)]
        shell = chain[chain.index(claude.pid) - 1] if claude.pid in chain else 0
        of_call = (each for each in self.stage.beings() if each.leader == shell and each.pid not in chain)
        return "a server that the same call had started" if shell and any(each.serves for each in of_call) else ""

    def at_work(self, session: SessionId) -> bool:
        return any(each.session == session and each.what != "shim" for each in self.stage.beings())

    def real(self, path: str) -> str:
        return os.path.realpath(path)


REAL = ("head_log", "identity", "places", "recall", "texts")
"""What is asked of the real project."""
for _name, _value in vars(machine.Machine).items():
    if _name in REAL or not (_name.startswith("__") or hasattr(Ground, _name)):
        setattr(Ground, _name, _value)


class Stage(Host):
    """One machine with one project, from a seed."""

    def __init__(self, seed: int, place: Place) -> None:
        super().__init__(seed)
        self.rng = random.Random(f"hunt {seed}")
        self.faults = False
        self.allowed = STANDING
        self.place = place
        self.project = trust.Project(
            paths=trust.ProjectPaths(base=str(place.base / "state"), key="k" * 32),
            grant=trust.Grant(path=str(place.root), uid=os.getuid(), rules_digest=None, mode="on", granted_at=0.0, python=""),
        )
        self.plan_of = lambda job, kind: Plan(0.01, self.rng.choice((0.2, 1.0, 4.0)), End(how="code"), False, False)
        self.parents: dict[int, int] = {}
        self.marks: dict[SessionId, list[int]] = {}
        """Shells that have said that they begin, which nobody has read yet."""
        self.supervisor: daemon.Supervisor | None = None
        self.specs_of: dict[AttemptId, Mapping[str, bytes]] = {}
        self.moves_at: dict[AttemptId, int] = {}
        """`moves` when a run ahead was begun: its process comes a moment later, and what moved between the two counts against it."""
        self.ran: dict[AttemptId, Ran] = {}
        self.findings: list[Finding] = []
        self.kind = ""
        """What happened last, for the findings."""
        self.told_offset = 0
        self.needless: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self.moves = 0
        """How often anything that a command may depend on was touched."""
        self.service = False
        self.lint_fixes = False
        """The linter is configured to rewrite what it finds."""
        self.restarted_s = 0.0
        self.shell_env: dict[bytes, bytes] = {}
        self.brings: dict[tuple[bytes, ...], set[bool]] = {}
        """How sessions themselves ran each command: with a service that the same call had started, or with what was there."""
        self.session_acted_s = 0.0
        self.stranger_moved_s: float | None = None
        self.env: dict[bytes, bytes] = {
            b"PATH": os.fsencode(f"{place.tools}:/usr/bin:/bin"),
            b"HOME": os.fsencode(place.home),
            b"PWD": os.fsencode(place.root),
            b"CLAUDECODE": b"1",
            b"LANG": b"C.UTF-8",
            b"SHLVL": b"1",
        }
        self.mask = "0022"
        self.asking = self.asking_parent = 0

    # --- processes

    def process(self, what: str, parent: int = 1) -> Being:
        self.next_pid += 1
        pid = self.next_pid + FIRST_PID
        being = self.procs[pid] = Being(pid, str(int(self.mono * 100)), self.boot, what, self.mono)
        self.parents[pid] = parent
        above = self.procs.get(parent)
        being.session, being.leader = (above.session, above.leader) if isinstance(above, Being) else ("", pid)
        being.argv = (what,)
        return being

    def shell(self, session: Session, text: str) -> Being:
        """Begin a shell of the host's: it reads what we gave the session, whoever announced it."""
        shell = self.process("bash", session.claude.pid)
        shell.session, shell.leader, shell.text = session.id, shell.pid, text
        shell.argv = ("/bin/bash", "-c", text)
        if session.here:
            self.marks.setdefault(session.id, []).append(shell.pid)
        return shell

    def beings(self) -> list[Being]:
        return [each for each in self.procs.values() if each.alive and isinstance(each, Being)]

    def callers(self, pid: int, hosts: Collection[int]) -> tuple[list[Any], Process | None]:
        """What `observe.callers` returns: what stands between a process and the host, and the last of it."""
        found, last = [], None
        for each in self.above(pid):
            if each in hosts or each <= 1:
                break
            last = self.procs[each]
            found.append(observe.Called(last.argv, getattr(last, "text", "")))
        return found, last.identity if last is not None else None

    def below_git(self, pid: int, host: int) -> bool:
        for each in self.above(pid):
            if each == host:
                return False
            if each in self.procs and self.procs[each].what == "git":
                return True
        return False

    def above(self, pid: int) -> Iterator[int]:
        while pid > 1 and pid in self.parents:
            pid = self.parents[pid]
            yield pid

    # --- what is true

    def touched(self) -> None:
        self.moves += 1

    def seen(self, argv: tuple[bytes, ...], cwd: bytes, env: Mapping[bytes, bytes], umask: str, limit: bytes) -> Seen:
        service = self.service or not needs_service(argv)
        return Seen(argv, cwd, meaningful(env), umask, limit, service, self.place.seen, self.outside)

    def worker_begins(self, monitor: Monitor) -> None:
        spec = self.specs_of[monitor.attempt]
        env = dict(entry.partition(b"=")[::2] for entry in spec["env"].split(b"\0"))
        seen = self.seen(tuple(spec["argv"].split(b"\0")), spec["cwd"], env, f"{int(spec['umask'], 8):04o}", spec.get("memory_group", b""))
        ran = self.ran[monitor.attempt] = Ran(seen, self.moves, "ahead", monitor.proc.pid, self.mono)
        monitor.plan = monitor.plan._replace(end=End(how="code", value=ran.code))
        fact = self.truths[monitor.attempt]
        fact.running = True
        if any(name.startswith(b"GIT_") for name in env):
            self.found("harm", "it ran ahead in the environment of a git hook")
        if self.lint_fixes and seen.argv[0] == b"ruff":
            self.found("harm", "it ran ahead and rewrites sources, as it is configured to")
        if b"TRACEPARENT" in env:
            self.found("harm", "it ran ahead under a trace of a call")
        if self.stranger_moved_s is not None and self.session_acted_s < self.stranger_moved_s - 10.0:
            self.found("harm", "it ran ahead because of what a stranger did while the session was idle")

    def worker_ends(self, monitor: Monitor) -> None:
        self.truths[monitor.attempt].running = False
        if (ran := self.ran.get(monitor.attempt)) is not None:
            ran.ends(self.moves, self.mono)

    def found(self, what: str, story: str) -> None:
        self.findings.append(Finding(what, self.kind, story))

    # --- the supervisor

    def supervisor_begins(self) -> None:
        if self.engine is not None:
            return
        self.door = Ground(self)
        self.restarted_s = self.mono
        try:
            self.supervisor = daemon.Supervisor(self.project, None)  # type: ignore[arg-type]
            self.supervisor._selector.close()
            self.supervisor._selector = Unselecting()  # type: ignore[assignment]
            self.engine = self.supervisor._engine
            self.engine.begin()
        except Crash:
            self.supervisor_dies()

    def supervisor_dies(self) -> None:
        super().supervisor_dies()
        self.supervisor = None

    def inside(self, act: Callable[[], Any]) -> Any:
        try:
            return super().inside(act)
        except Exception as error:  # noqa: BLE001  whatever the supervisor does not expect ends it
            self.found("bug", f"the supervisor died of {type(error).__name__}: {error}"[:200])
            self.supervisor_dies()
            return None

    def turn(self) -> None:
        if self.supervisor is not None:
            self.inside(self.supervisor._pay)
        super().turn()
        self.look_at_what_was_told()

    def advance(self, seconds: float) -> None:
        until_s = self.mono + seconds
        while self.mono < until_s:
            due_s = min((monitor.next_s for monitor in self.monitors), default=until_s)
            self.mono = max(self.mono, min(due_s, self.mono + STEP_S, until_s))
            for monitor in list(self.monitors):
                if monitor in self.monitors and monitor.next_s <= self.mono:
                    monitor.step()
            self.turn()

    def settle(self) -> None:
        """Let what runs ahead come to its end."""
        for _ in range(40):
            self.advance(1.0)
            if not self.monitors and self.engine is not None and not self.engine.busy:
                return

    # --- hooks

    def hook(self, session: Session, event: str, tool: str = "", spoil: str = "", **fields: object) -> None:
        """Do what the host does at an event, if our entries in its settings listen for it."""
        self.session_acted_s = self.mono
        entry = next((entry for entry in install.EVENTS if entry.name == event), None)
        if not session.hooks or entry is None or (tool and not matches(entry.matcher, tool)):
            return
        common = {"session_id": session.id, "cwd": str(self.place.root), "permission_mode": "acceptEdits", "hook_event_name": event}
        if tool:
            common["tool_name"] = tool
        body = spoiled(spoil, json.dumps({**common, **fields}).encode())
        environ = {b"CLAUDE_PROJECT_DIR": os.fsencode(self.place.root), b"CLAUDE_PID": b"%d" % session.claude.pid, b"PATH": b"/usr/bin"}
        environ[b"CLAUDE_CODE_SESSION_ID"] = session.id.encode()
        self.asking = session.claude.pid
        HOOK.environ, HOOK.body = environ, body
        try:
            client.ask(b"/islands", os.fsencode(self.project.paths.base), b"python", event.encode())
        except (OSError, ValueError, KeyError):
            pass  # as in `client.main`
        self.look_at_what_was_told()

    def look_at_what_was_told(self) -> None:
        """No session is told of a red that no run of its own would have shown it."""
        for event in self._new_events():
            if isinstance(event, NewsTold) and event.now == "fail":
                self._check_red(event.attempt, "news")
            elif isinstance(event, GateDecided) and event.do == "continue":
                for check in event.checks:
                    if check.fact in event.facts and check.attempt is not None:
                        self._check_red(check.attempt, "a gate")

    def _new_events(self) -> list[Any]:
        found = []
        for _, after, line in self.lines(self.told_offset):
            self.told_offset = after
            if b"news.told" in line or b"gate.decided" in line:
                found.append(simulation.parse(line))
        return found

    def _check_red(self, attempt: AttemptId, where: str) -> None:
        ran = self.ran.get(attempt)
        if ran is None or ran.kind != "ahead":
            return
        own = self.brings.get(ran.seen.argv, set())
        now = ran.seen._replace(files=self.place.seen, outside=self.outside)
        there = self.service or not needs_service(ran.seen.argv)
        if ran.code and own and not any(code(now._replace(service=brings or there)) for brings in own):
            self.found("told", f"{where} of a red that only a run ahead had")

    # --- calls of checks

    def shim_of(
        self, pid: int, argv: tuple[str, ...], env: Mapping[bytes, bytes], cwd: str, via: str
    ) -> tuple[Any, dict[bytes, bytes], Any]:
        """Do what a shim does until it has its answer; return the call, the answer and the connection."""
        self.shell_env = dict(env)
        self.asking = pid
        here = os.getcwd()
        os.chdir(cwd)
        try:
            call = shim.Call([self.project.paths.base, via, argv[0], *argv[1:]])
            if call.exe is None:
                return call, {}, None
            try:
                reply, connection = shim.ask(call)
            except Exception:  # noqa: BLE001  as in `shim.main`
                return call, {}, None
            return call, reply, connection
        finally:
            os.chdir(here)

    def check(
        self,
        argv: tuple[str, ...],
        parent: int,
        env: Mapping[bytes, bytes],
        *,
        session: Session | None,
        cwd: str = "",
        via: str = "",
        real: str = "",
        brings: bool = False,
        during: Callable[[Proc, Mapping[bytes, bytes]], None] | None = None,
        forged: bool = False,
        lasts_s: float = 0.3,
    ) -> str:
        """Call a check as a shell does; return how it was answered.

        Args:
            real: why a real run is asked for.
            brings: its call has started the service that it needs.
            during: what happens while it runs, if it does.
            forged: nothing is executed, its end is only told.
        """
        cwd = cwd or str(self.place.root)
        proc = self.process("shim", parent)
        proc.argv = argv
        call, reply, connection = self.shim_of(proc.pid, argv, env, cwd, via or f"function:{parent}:{parent}:1:bash")
        words = tuple(os.fsencode(word) for word in argv)
        limit = env.get(LIMIT, b"")
        now = self.seen(words, os.fsencode(os.path.realpath(cwd)), env, self.mask, limit)
        do = reply.get(b"do", b"exec").decode()
        self.answers[do] += 1
        if session is not None and not forged:
            self.brings.setdefault(words, set()).add(brings)
        if do == "join":
            self._join(AttemptId(os.path.basename(reply[b"dir"].decode())), now, real, proc, connection)
        else:
            if not real and not forged:
                self._note_needless(now)
            self._run(do, reply, now, proc, call, connection, during, forged, lasts_s)
        if connection is not None:
            connection.hang_up()
        proc.alive = False
        return do

    def _join(self, attempt: AttemptId, now: Seen, real: str, proc: Proc, connection: Connection) -> None:
        ran = self.ran.get(attempt)
        if ran is None and any(monitor.attempt == attempt for monitor in self.monitors):
            self.advance(0.1)  # its monitor is on its way, and sees what is there now
            ran = self.ran.get(attempt)
        if why := objection(ran, now, self.moves, real, set(self.above(proc.pid))):
            self.found("wrong", why)
        until_s = self.mono + WAIT_MOST_S
        while ran is not None and ran.ended_s is None and self.mono < until_s and "itself" not in why:
            self.advance(1.0)
        if ran is not None:
            ran.shown = ran.shown or bool(ran.code)
        connection.tell(rpc.encode({"op": b"joined", "ok": b"1", "waited_us": b"0"}))

    def _run(
        self,
        do: str,
        reply: Mapping[bytes, bytes],
        now: Seen,
        proc: Proc,
        call: Any,
        connection: Any,
        during: Any,
        forged: bool,
        lasts_s: float,
    ) -> None:
        child = self.process("forged" if forged else "child", 1 if forged else proc.pid)
        child.argv = call.argv and tuple(os.fsdecode(word) for word in call.argv)
        ran = Ran(now, self.moves, "foreground", child.pid, self.mono)
        ran.forged = forged
        attempt = None
        if do == "record":
            attempt = AttemptId(os.path.basename(reply[b"dir"].decode()))
            self.audit()
            self.ran[attempt] = ran
            self.folders[attempt].holder = child
            connection.tell(rpc.encode({"op": b"started", "pid": b"%d" % child.pid}))
        if during is not None:
            during(child, call.env)
        self.advance(lasts_s)
        ran.ends(self.moves, self.mono)
        child.alive = False
        if attempt is None:
            return
        end = End(how="code", value=0 if forged else ran.code)
        self.truths[attempt].end = end
        self.folders[attempt].exit = f"code {end.value} 0 0\n".encode()
        self.folders[attempt].holder = None
        connection.tell(
            rpc.encode(
                {
                    "op": b"exited",
                    "how": b"code",
                    "value": b"%d" % end.value,
                    "out": b"0",
                    "err": b"0",
                    "cpu_us": b"0",
                    "wall_us": b"0",
                    "left": b"0",
                }
            )
        )

    def _note_needless(self, now: Seen) -> None:
        """Count by reason what could have been answered, as far as the oracle knows."""
        for attempt, ran in self.ran.items():
            if ran.moves != self.moves_at.get(attempt, ran.moves):
                continue
            known = ran.ended_s is not None and ran.began_s >= self.restarted_s and self.mono - ran.ended_s < KEPT_S
            if known and not ran.shown and ran.steady and not ran.forged and ran.seen == now:
                join = self.engine.state.joins[-1] if self.engine is not None and self.engine.state.joins else None
                self.needless[join.code if join is not None else "no answer"] += 1
                return


def context_of(mask: str, env: Mapping[bytes, bytes]) -> bytes:
    """Return what kind of process has this environment, in the words of the product."""
    return f"cgroup={GROUPS[LIMIT in env]}\nlimits=some\nuid=1000\numask={mask}".encode()


def matches(matcher: str, tool: str) -> bool:
    return matcher in ("", "*") or re.fullmatch(matcher, tool) is not None


SPOILED = ("half", "deep", "large", "unknown", "missing", "bytes", "cut")


def spoiled(how: str, body: bytes) -> bytes:
    """Make a hook's body one that real sessions were seen to send, or that a next version may."""
    match how:
        case "half":
            return body.replace(b"./deploy.sh", b"./deploy.sh \\ud83d")
        case "deep":
            return body.replace(b'"tool_input": {', b'"tool_input": {"x": ' + b"[" * 3000 + b"]" * 3000 + b", ")
        case "large":
            return body.replace(b"./deploy.sh", b"./deploy.sh " + b"x" * (LARGEST_BYTES + 1000))
        case "unknown":
            return body.replace(b'"tool_input": {', b'"future": {"a": [1, null]}, "tool_input": {"other": 7, ')
        case "missing":
            return re.sub(rb'"(tool_use_id|permission_mode|cwd)": "[^"]*",? ?', b"", body).replace(b", }", b"}")
        case "bytes":
            return body.replace(b"./deploy.sh", b"./deploy.sh \xff\xfe")
        case "cut":
            return body[: len(body) - 3]
    return body


class HookInput:
    """What the client's own process would have: its environment and its standard input."""

    environ: Mapping[bytes, bytes] = {}
    body = b""

    def read(self, descriptor: int, most: int) -> bytes:
        part, self.body = self.body[:most], self.body[most:]
        return part

    def __getattr__(self, name: str) -> Any:
        return getattr(posix, name)


HOOK = HookInput()


def exchange(connection: Connection | None, message: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
    if connection is None:
        return None
    connection.tell(client.encode(message))
    said = connection.hear()
    if not said:  # kept back, or broken off
        connection.hang_up()
        return None if not connection.stage.engine else {b"code": b"0", b"out": b"", b"err": b""}
    return {key.encode(): value for key, value in rpc.decode(said[4:]).items()}


def receive(connection: Connection, deadline: float) -> dict[bytes, bytes]:
    for _ in range(20):
        if said := connection.hear():
            return {key.encode(): value for key, value in rpc.decode(said[4:]).items()}
        connection.stage.advance(0.05)
    raise OSError("no answer in time")


@contextmanager
def playing(stage: Stage) -> Iterator[None]:
    """Have the real code ask this machine for all that it would ask the kernel."""

    def connect(*_: object) -> Connection | None:
        return Connection(stage, stage.asking) if stage.engine is not None else None

    def connect_or_fail(*_: object) -> Connection:
        connection = connect()
        if connection is None:
            raise OSError("nobody listens")
        return connection

    def granted(base: bytes, folder: bytes) -> bytes | None:
        root = os.fsencode(stage.place.root)
        return os.fsencode(stage.project.paths.folder) if (folder + b"/").startswith(root + b"/") else None

    def send(connection: Connection, data: bytes, deadline: float) -> None:
        message = rpc.decode(data[4:])
        message["pid"] = b"%d" % stage.asking
        connection.tell(rpc.encode(message))

    with ExitStack() as stack:
        for owner, name, value in (
            (daemon, "Machine", lambda *_: stage.door),
            (daemon, "_peer_pid", lambda connection: connection.pid),
            (daemon, "mono_s", lambda: stage.mono),
            (daemon, "outputs_of", lambda pid: outputs.Outputs()),
            (daemon, "settings_of_host", lambda _: ()),
            (rpc, "MAX_BYTES", LARGEST_BYTES),
            (observe, "ancestors", stage.above),
            (observe, "parent", lambda pid: stage.parents.get(pid, 0)),
            (observe, "callers", stage.callers),
            (observe, "below_git", stage.below_git),
            (observe, "environment", lambda pid: frozenset(name + b"=" + value for name, value in stage.env.items())),
            (observe, "workers_above", lambda pid: set()),
            (observe, "left_behind", lambda *_: []),
            (observe, "own_context", lambda: context_of("0022", {})),
            (observe, "confinement", lambda pid: b""),
            (client, "posix", HOOK),
            (client, "granted", lambda base, folder: b"k" * 32),
            (client, "connect", connect),
            (client, "connect_soon", connect),
            (client, "nested", lambda: False),
            (client, "start", lambda *_: stage.supervisor_begins()),
            (client, "exchange", exchange),
            (shim, "environment", lambda: dict(stage.shell_env)),
            (shim, "empty_input", lambda env: b"null"),
            (shim, "output_streams", lambda: b"merged"),
            (shim, "inherits_more", lambda: False),
            (shim, "granted", granted),
            (shim, "connect", connect_or_fail),
            (shim, "send", send),
            (shim, "receive", receive),
            (shim, "context", lambda: context_of(stage.mask, stage.shell_env)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value, create=True))
        yield
