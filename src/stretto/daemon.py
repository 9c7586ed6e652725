"""The supervisor: one process for each project, a cache over the log.

One thread, one selector; a second thread only waits for file events and writes a byte. What to do and what is known is the `engine`'s;
here are the sockets, what hooks and shims say over them, and the watcher. Promises:
- exactly one lives for a project: it holds `supervisor.lock`, which is never unlinked, and whoever does not get it leaves at once;
- whatever goes wrong in answering, a shim is told to run its command and a hook gets silence: no failure here reaches a session;
- it leaves when no session is open and nothing runs, when its project or its state is gone, and when asked to.

It is one idea in one file: the loop and the handlers that share its state.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import selectors
import shutil
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import watchfiles
from msgspec import structs

from stretto import __version__, callers, commands, gates, hookwire, observe, rpc, shellenv, trust, waits
from stretto.engine import TROUBLES, Call, Engine, Heard
from stretto.errors import CorruptError, StrettoError
from stretto.fold import WaitsFor
from stretto.machine import Machine
from stretto.model import ATTEMPT_ID, AttemptId, End, Invocation, JobKey, SessionId, Standing, Verdict, invocation_from
from stretto.outputs import Outputs, outputs_of
from stretto.permissions import settings_of_host
from stretto.runs import Run
from stretto.shellscripts import Found
from stretto.system import LINUX, Lock, Process, build, mono_s, wall_s
from stretto.tree import steered, tool_identity, unseen_tool

BUSY_TICK_S, IDLE_TICK_S = 0.1, 2.0
OWED_TICK_S = 0.02
WAY_LIMIT_S = 0.5
"""How long a session's suite is kept back at most until a suite that runs ahead has ended. Less than the shim waits for an answer."""
HAND_OVER_LIMIT_S = 5.0
"""How long a new supervisor waits for the lock of one that no longer listens. It is held until the last thread of a killed process is gone,
and until a leaving one has written its last event."""
SO_PEERCRED_BYTES = 12
NOT_ITS_CHILD = "what was recorded did not come from a process of who recorded it"
LOG_DAMAGED = "Stretto's log is damaged: earlier results do not count any more, new ones do; `stretto log check` says more"
TOLD_AT = ("SessionStart", "UserPromptSubmit", "PostToolBatch", "Stop")
"""Hooks whose answer may show the user a line."""


class Peer:
    """One connection: a hook, a shim, or a command-line call."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = rpc.Reader()
        self.call = Call()


class Owed(NamedTuple):
    """An answer that is given when some runs have ended, or the time is over."""

    peer: Peer
    reply: rpc.Message
    ending: frozenset[AttemptId]
    until_s: float


class Held(NamedTuple):
    """The question of a gate whose answer waits for a run that is about to end."""

    peer: Peer
    event: str
    """The hook's, or commit or push."""
    question: gates.Question
    since_s: float


class Supervisor:
    """Serves one project until it has no more reason to."""

    def __init__(self, project: trust.Project, lock: Lock) -> None:
        self._lock = lock
        self.paths = project.paths
        self.root = os.fsencode(project.root)
        self._selector = selectors.DefaultSelector()
        self._machine = Machine(project, lock, self._selector, settings_of_host(project.root))
        self._engine = Engine(self._machine)
        self._owed: list[Owed] = []
        self._held: list[Held] = []
        self._watchers: dict[SessionId, Peer] = {}
        self._waits: dict[Peer, tuple[str, waits.Wait]] = {}
        """Who waits for whom, by the connection that said so."""
        """Who waits to wake an idle session; one for each."""
        self._engine.wake = self._wake
        self._told: set[SessionId] = set()
        """Sessions that were told that we are of no use for the moment."""
        self._build = build()
        """The code that we are: an installation may be exchanged while we serve."""
        self._socket_inode = 0
        self._context, self._confinement = observe.own_context(), observe.confinement(os.getpid())
        self._search_paths: dict[SessionId, str] = {}
        """The PATH of each session's commands; of sessions that began under an earlier supervisor it is not known."""
        self._cold: list[str] = []
        """Tools whose identity is read between two questions: the first reading costs up to 0.1 s, and is remembered."""

    # --- life ----------------------------------------------------------------------------------------------------------------

    def run(self, listening: Callable[[], None]) -> None:
        """Serve until there is no more reason to; the lock is held by the caller, who is told once connections are taken."""
        listener = self._listen()
        listening()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._engine.begin()
        self._engine.by_path = frozenset(shellenv.find_paths((*self._engine.names(), *commands.PYTHONS), self._machine.root))
        self._watch()
        try:
            while not self._engine.leaving:
                busy = self._engine.busy or self._cold
                for key, _ in self._selector.select(OWED_TICK_S if self._owed or self._held else BUSY_TICK_S if busy else IDLE_TICK_S):
                    self._engine.guarded(key.data, key.fileobj)
                self._engine.guarded(self._pay)
                self._engine.guarded(self._engine.tick)
                if self._cold:
                    self._engine.guarded(self._warm, os.fsencode(self._cold.pop()))
        finally:
            self._engine.end()
            self._engine.guarded(self._say_goodbye)

    def _warm(self, tool: bytes) -> None:
        tool_identity(tool, self.root, [tool], os.fsencode(os.path.dirname(tool)), self.root)

    def _say_goodbye(self) -> None:
        """Remove the socket and log the end, if the state directory is still the one we served; another one may have its own supervisor."""
        if not self._lock.stands():
            return
        if os.path.lexists(self.paths.socket) and os.lstat(self.paths.socket).st_ino == self._socket_inode:
            os.unlink(self.paths.socket)
        self._engine.say_goodbye()

    def _listen(self) -> socket.socket:
        """Take the socket's name; whoever had it before is dead, since we hold the lock."""
        os.chdir(self.paths.folder)  # the name is then short enough for every system's limit
        try:
            os.unlink("s")
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        listener.bind("s")
        os.umask(mask)
        self._socket_inode = os.lstat("s").st_ino
        os.chdir("/")
        listener.listen(128)
        listener.setblocking(False)
        return listener

    # --- connections ---------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                time.sleep(BUSY_TICK_S)  # what waits to be accepted would wake us again at once
            raise
        if not _same_user(connection):
            connection.close()
            return
        connection.setblocking(False)
        peer = Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda _: self._readable(peer))

    def _readable(self, peer: Peer) -> None:
        try:
            data = peer.connection.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(peer)
            return
        try:
            for message in peer.reader.feed(data):
                self._handle(peer, message)
        except TROUBLES as error:
            # Whatever it was, the peer must not wait for us: a shim runs its command, a hook stays silent.
            self._engine.met(error)
            self._answer(peer, {"do": b"exec", "reason": b"the supervisor met an error", "code": b"0", "out": b"", "err": b""})
            self._gone(peer)

    def _handle(self, peer: Peer, message: rpc.Message) -> None:
        match message["op"]:
            case b"hook":
                try:
                    reply = self._hook(peer, message)
                    if self._engine.trouble and not reply.out:
                        reply = self._notice(message, self._engine.trouble)
                    elif self._engine.untold and not reply.out:
                        reply = self._damage_notice(message)
                except TROUBLES as error:
                    self._engine.met(error)
                    reply = self._notice(message, str(error))
                if not any(held.peer is peer for held in self._held):
                    self._answer_hook(peer, reply)
            case b"gate":
                self._gate(peer, message)
            case b"watch":
                self._watch_session(peer, SessionId(message["session"].decode()))
            case b"look":
                self._engine.tend_blocks()
                self._answer(peer, {"ok": b"1"})
            case b"waits":
                self._answer(peer, self._wait(peer, message))
            case b"explain":
                question = gates.Question(place="stop", session=SessionId(message["session"].decode()) or None)
                found = self._engine.explain(question) | {"waiting": [f"{who} waits ({wait.how})" for who, wait in self._waits.values()]}
                self._answer(peer, {"found": msgspec.json.encode(found)})
            case b"invoke":
                answer = self._invoke(peer, message)
                run = peer.call.run
                if run is not None and (ending := self._engine.make_way(run)):
                    self._owed.append(Owed(peer, answer, ending, mono_s() + WAY_LIMIT_S))
                else:
                    self._answer(peer, answer)
            case b"started" if peer.call.run is not None and not peer.call.run.child_pid:
                pid = int(message["pid"])
                above = observe.parent(pid) if peer.call.pid else 0
                self._engine.child_started(peer.call, pid, NOT_ITS_CHILD if above not in (0, peer.call.pid) else "")
            case b"exited" if peer.call.run is not None:
                if not peer.call.run.child_pid:
                    peer.call.run.doubt = NOT_ITS_CHILD
                self._foreground_ended(peer, peer.call.run, message)
            case b"joined" if peer.call.ask:
                self._engine.joined(peer.call, ok=message["ok"] == b"1", waited_s=int(message["waited_us"]) / 1e6)
            case b"request":
                self._answer(peer, self._request(peer, message))
            case b"drop":
                self._engine.dirty = True
                done = self._engine.cancel_request(JobKey(message["job"].decode()), "the user cancelled it")
                self._answer(peer, {"ok": b"1" if done else b"0"})
            case b"ping":
                self._answer(
                    peer,
                    {
                        "pid": str(os.getpid()).encode(),
                        "version": __version__.encode(),
                        "build": self._build.encode(),
                        "mode": self._engine.standing.mode.encode(),
                        "size": self._machine.size().encode("utf-8", "backslashreplace"),
                    },
                )
            case b"reload":
                self._engine.reload()
                self._answer(peer, {"ok": b"1"})
            case b"cancel":
                known = self._engine.cancel_ahead(AttemptId(message["attempt"].decode()))
                self._answer(peer, {"ok": b"1" if known else b"0"})
            case b"retry":
                known = self._engine.retry(JobKey(message["job"].decode()))
                self._answer(peer, {"ok": b"1" if known else b"0"})
            case b"leave":
                self._answer(peer, {"ok": b"1"})
                self._engine.makes_way = self._engine.makes_way or message["by"].decode("utf-8", "replace")
            case b"stop":
                self._answer(peer, {"ok": b"1"})
                self._engine.leaving = "it was asked to"
            case _:
                raise CorruptError(f"cannot answer {message['op']!r}: it does not fit here")

    def _answer(self, peer: Peer, message: rpc.Message) -> None:
        try:
            peer.connection.setblocking(True)
            peer.connection.settimeout(1.0)
            peer.connection.sendall(rpc.encode(message))
            peer.connection.setblocking(False)
        except OSError:
            pass  # it is gone; the end of its connection is handled like any other

    def _answer_hook(self, peer: Peer, reply: hookwire.HookReply) -> None:
        self._answer(peer, {"code": str(reply.code).encode(), "out": reply.out, "err": reply.err})
        self._gone(peer)

    def _pay(self) -> None:
        """Answer those who waited for a suite or a check to end, or waited long enough; let those go whose session is over."""
        for session in [session for session in self._watchers if session not in self._engine.conversations]:
            if (peer := self._unwatch(session)) is not None:
                self._answer_hook(peer, hookwire.HookReply())
        for held in list(self._held):
            question = structs.replace(held.question, waited_s=mono_s() - held.since_s)
            try:
                heard = self._engine.weigh(question)
            except TROUBLES as error:
                self._engine.met(error)
                heard = Heard()
            if heard.held is None:
                self._held.remove(held)
                self._give(held, heard)
        for owed in list(self._owed):
            if mono_s() >= owed.until_s or owed.ending.isdisjoint(self._engine.runs.open):
                self._owed.remove(owed)
                self._answer(owed.peer, owed.reply)

    def _gone(self, peer: Peer) -> None:
        """A connection ended: what hung on it is over or unknown."""
        if peer.connection.fileno() < 0:
            return
        self._held = [held for held in self._held if held.peer is not peer]  # Esc: the host ended the hook, and nobody waits any more
        for session in [session for session, watcher in self._watchers.items() if watcher is peer]:
            self._unwatch(session)
        self._waits.pop(peer, None)
        self._selector.unregister(peer.connection)
        peer.connection.close()
        self._engine.hung_up(peer.call)

    # --- hooks ---------------------------------------------------------------------------------------------------------------

    def _notice(self, message: rpc.Message, why: str) -> hookwire.HookReply:
        """Say once in each session that we are of no use for the moment."""
        session = _shown_to(message)
        if session is None or session in self._told:
            return hookwire.HookReply()
        self._told.add(session)
        return hookwire.notice_reply(f"Stretto is not working at the moment, everything runs as without it: {why}")

    def _damage_notice(self, message: rpc.Message) -> hookwire.HookReply:
        """Say once in each session that was open then that the log was damaged."""
        session = _shown_to(message)
        if session is None or session not in self._engine.untold:
            return hookwire.HookReply()
        self._engine.untold.discard(session)
        return hookwire.notice_reply(LOG_DAMAGED)

    def _compare_builds(self) -> None:
        """Make way when our own files were exchanged for others that call themselves the same version, as between two releases."""
        if not self._engine.makes_way and build() not in ("", self._build):
            self._engine.makes_way = f"{__version__}, installed anew"

    def _compare_versions(self, message: rpc.Message) -> None:
        """Make way for the version of a hook or shim that is not ours: once. A successor does not give way to what it replaced.

        Two installations that both fire would else recycle each other for ever, as the next hook may be of either; one
        whose own files were exchanged is old in any case.
        """
        theirs = message.get("version", b"").decode("ascii", "replace")
        if theirs in ("", __version__) or self._engine.makes_way:
            return
        if self._engine.state.made_way not in (theirs, __version__) or _version_on_disk() != __version__:
            self._engine.makes_way = theirs

    def _nested(self, peer: Peer) -> bool:
        """Say whether a call comes out of a worker of ours: an agent in it shall not start workers of its own (C-13).

        Its own mark may have been wiped from the environment, so its ancestors are looked at.
        """
        pid = _peer_pid(peer.connection)
        above = {pid, *observe.ancestors(pid)} if pid else set()
        if any(run.process is not None and run.process.pid in above for run in self._engine.runs.open.values() if run.kind != "foreground"):
            return True
        marks = [mark for mark in observe.workers_above(pid) if ATTEMPT_ID.fullmatch(mark)] if pid else []
        keys = trust.keys(self.paths.base) if marks else []
        return any(os.path.isdir(f"{self.paths.base}/projects/{key}/attempts/{mark}") for key in keys for mark in marks)

    def _hook(self, peer: Peer, message: rpc.Message) -> hookwire.HookReply:
        event = message["event"].decode()
        call = _said(message)
        if self._nested(peer):
            return hookwire.HookReply()
        self._compare_versions(message)
        heard = self._engine.heard(call, int(message.get("claude_pid") or b"0"))
        if isinstance(call, hookwire.SessionStarted):
            self._compare_builds()
        if isinstance(call, hookwire.SessionStarted) and call.session in self._engine.conversations:
            return self._session_started(call, message)
        if isinstance(call, hookwire.BatchEnded) and call.session in self._search_paths and _may_install(call):
            self._engine.guarded(self._write_session, call.session)
        if heard.held is not None:
            self._held.append(Held(peer, event, heard.held, mono_s()))
        return _reply(event, heard)

    def _gate(self, peer: Peer, message: rpc.Message) -> None:
        """Answer the `git` shim: whether a commit or a push may be done."""
        place = message["place"].decode()
        if place not in ("commit", "push"):
            raise CorruptError(f"cannot answer for the gate {place!r}: there is none")
        session = SessionId(message["session"].decode()) or None
        if self._nested(peer):
            self._answer(peer, {"do": b"allow", "text": b""})
            return
        override = message.get("override") == b"1"
        question = gates.Question(place="commit" if place == "commit" else "push", session=session, override=override)
        heard = self._engine.weigh(question)
        held = Held(peer, place, question, mono_s())
        if heard.held is not None:
            self._held.append(held)
        else:
            self._give(held, heard)

    def _wait(self, peer: Peer, message: rpc.Message) -> rpc.Message:
        """Remember, for as long as this connection lives, who waits for whom; refuse a wait that would never end."""
        who = message["who"].decode()
        self._waits[peer] = (
            who,
            waits.Wait(on=frozenset(message["on"].decode().split("\0")), how=message["how"].decode(), any=message["any"] == b"1"),
        )
        known = {
            f"job {request.job}": waits.Wait(on=frozenset(f"job {job}" for job in request.phase.others), how="stretto run --after")
            for request in self._engine.state.requests.values()
            if isinstance(request.phase, WaitsFor)
        }
        for node, wait in self._waits.values():
            earlier = known.get(node)
            known[node] = wait if earlier is None else waits.Wait(on=earlier.on | wait.on, how=wait.how)
        if nodes := waits.cycle(known, who):
            del self._waits[peer]
            return {"ok": b"0", "reason": f"cannot wait: {waits.sentence(known, nodes)}".encode()}
        return {"ok": b"1"}

    def _give(self, held: Held, heard: Heard) -> None:
        """Answer a question of a gate that was kept back, or might have been."""
        if held.event in ("commit", "push"):
            self._answer(held.peer, {"do": b"deny" if heard.denied else b"allow", "text": (heard.told or heard.notice).encode()})
        else:
            self._answer_hook(held.peer, _reply(held.event, heard))

    # --- waking --------------------------------------------------------------------------------------------------------------

    def _watch_session(self, peer: Peer, session: SessionId) -> None:
        """Somebody waits to wake a session; whoever did before is let go, since each turn's end brings another."""
        conversation = self._engine.conversations.get(session)
        if conversation is None:
            self._answer_hook(peer, hookwire.HookReply())
            return
        if (earlier := self._watchers.pop(session, None)) is not None:
            self._answer_hook(earlier, hookwire.HookReply())
        self._watchers[session] = peer
        conversation.watched = True
        self._engine.tend_blocks()

    def _unwatch(self, session: SessionId) -> Peer | None:
        if (conversation := self._engine.conversations.get(session)) is not None:
            conversation.watched = False
        return self._watchers.pop(session, None)

    def _wake(self, session: SessionId, text: str) -> None:
        if (peer := self._unwatch(session)) is not None:
            self._answer_hook(peer, hookwire.HookReply(code=2, err=text.encode()))

    def _session_started(self, call: hookwire.SessionStarted, message: rpc.Message) -> hookwire.HookReply:
        self._engine.reload()
        if void := self._engine.standing.void:
            return hookwire.notice_reply(f"Stretto is off in this project: {void}")
        env_file = message.get("env_file", b"")
        if self._engine.standing.mode == "off" or not env_file:
            return hookwire.HookReply()
        search_path = self._search_paths[call.session] = os.fsdecode(message.get("path", b""))
        shellenv.write_entries(self.paths.base, self._engine.names())
        found = self._write_session(call.session)
        self._cold = [tool for name in found.on_path if (tool := shutil.which(name, path=search_path))]
        shellenv.add_guard_line(os.fsdecode(env_file), self._script_of(call.session))
        return hookwire.HookReply()

    def _script_of(self, session: SessionId) -> str:
        return os.path.join(self.paths.sessions, f"{session}.sh")

    def _write_session(self, session: SessionId) -> Found:
        """Write what the Bash of a session sources, for the tools that are there now."""
        found = shellenv.write_session(
            self._script_of(session),
            self._engine.names(),
            base=self.paths.base,
            search_path=self._search_paths[session],
            root=self._machine.root,
        )
        self._engine.by_path = frozenset(found.paths)
        return found

    # --- shims ---------------------------------------------------------------------------------------------------------------

    def _invoke(self, peer: Peer, message: rpc.Message) -> rpc.Message:
        engine, began_s = self._engine, mono_s()
        session, pid = SessionId(message["session"].decode()) or None, int(message["pid"])
        invocation = invocation_from(message, below_git=self._below_git(session, pid))
        self._compare_versions(message)
        if engine.makes_way or not engine.announced:
            return {"do": b"exec", "reason": b"this supervisor makes way for another, or cannot write its log"}
        if self._nested(peer) or self._inside_a_run(_peer_pid(peer.connection) or pid):
            return {"do": b"exec", "reason": b"it runs inside a worker or another check"}
        peer.call.session = session
        peer.call.pid = _peer_pid(peer.connection)
        standing, shell = self._callers(peer.call.pid or pid, peer.call.session)
        check = engine.check_of(invocation, callers.environment(shell.pid) if shell is not None else ())
        if check is None or engine.standing.mode == "off" or engine.standing.void:
            engine.shim_asked(peer.call.session, invocation)
            return {"do": b"exec", "reason": b"it is no check, or Stretto is off"}
        not_ours = self._not_ours(invocation, check)
        outputs = self._outputs(peer.call.pid)
        real = _asked_for_real(invocation, check, standing)
        if not_ours is None and real is not None and real.in_place:
            not_ours = _passed_by(real.code, real.reason)
        job, code, why = self._machine.look_outside(invocation, suite=check.kind == "test")
        if code and not_ours is None:
            not_ours = _passed_by(code, why)
            if code == "other-checkout":
                said = f"`{commands.display(invocation.argv)[:80]}` {why}; it says nothing of the files here"
                engine.say_aloud(peer.call.session, said)
        above = (peer.call.pid, *observe.ancestors(peer.call.pid)) if peer.call.pid and LINUX else ()
        answer = engine.ask(
            peer.call,
            job,
            invocation,
            check,
            not_ours=not_ours,
            began_s=began_s,
            above=above,
            real=real,
            shell=shell,
            outputs=outputs,
        )
        if answer.run is None:
            return {"do": answer.do.encode(), "reason": answer.reason.encode()}
        if answer.do == "record":
            answer.run.since_ticks = observe.start_ticks()
        return {
            "do": b"record" if answer.do == "record" else b"join",
            "dir": os.fsencode(self._machine.executor.folder(answer.run.attempt)),
            "attempt": answer.run.attempt.encode(),
            "reason": answer.reason.encode(),
        }

    def _inside_a_run(self, pid: int) -> bool:
        """Say whether a process comes from inside a foreground run that is under way.

        Nothing of ours is on the PATH there; who was told the path of an entry before and kept it gets here all the same.
        """
        children = {run.child_pid for run in self._engine.runs.open.values() if run.child_pid}
        return bool(children) and not children.isdisjoint(observe.ancestors(pid))

    def _outputs(self, pid: int) -> Outputs:
        """Return the files of the project into which the shell puts what a process prints, as a scan names them."""
        found, root = outputs_of(pid), os.fsdecode(self.root) + "/"
        own, others = (tuple(path.removeprefix(root) for path in paths if path.startswith(root)) for paths in found)
        return Outputs(own, others)

    def _callers(self, pid: int, session: SessionId | None) -> tuple[list[commands.Caller], Process | None]:
        """Return what stands between the host and a call, and the shell of its Bash call.

        A call that names no session (`env -i`) has a host all the same, and what stands above that is none of it.
        """
        known = [each.claude for name, each in self._engine.conversations.items() if each.claude is not None and session in (name, None)]
        hosts = {claude.pid for claude in known}
        return callers.above(pid, {above for host in hosts for above in (host, *observe.ancestors(host))})

    def _below_git(self, session: SessionId | None, pid: int) -> bool:
        """Say whether git made this call: its hook, its alias, its bisecting."""
        conversation = self._engine.conversations.get(session) if session is not None else None
        return observe.below_git(pid, conversation.claude.pid if conversation is not None and conversation.claude is not None else 0)

    def _not_ours(self, invocation: Invocation, check: commands.Check) -> Verdict | None:
        """Say why a check just runs, neither joined nor recorded; None when it may be."""
        if check.steered or steered(invocation.argv, invocation.cwd, invocation.env, check.kind):
            return _passed_by("steered", "a cache steers its outcome")
        if unseen := unseen_tool(invocation.argv):
            return _passed_by("unseen-tool", unseen)
        words = [word.decode(errors="backslashreplace") for word in invocation.argv]
        if trust.excludes(self._machine.project.grant.excluded, words) or self._engine.excludes(invocation):
            return _passed_by("disabled", "it is excluded")
        if not observe.same_context(invocation.context, self._context):
            return _passed_by("sandbox", "it runs in another context than the supervisor (a sandbox, other limits)")
        if not (invocation.cwd + b"/").startswith(self.root + b"/"):
            return _passed_by("outside", "it runs outside the project")
        tool = os.fsencode(commands.python_file(invocation.name, invocation.argv))  # part of its identity, wherever it is
        if any(argument != tool and self._leads_out(argument, invocation.cwd) for argument in invocation.argv[1:]):
            return _passed_by("outside", "an argument leads out of the project")
        return None

    def _leads_out(self, argument: bytes, cwd: bytes) -> bool:
        value = argument.split(b"=", 1)[-1] if argument.startswith(b"-") else argument
        if value == b"/dev/null":
            return False  # nothing, by its name: always the same
        if not (value.startswith((b"/", b"~", b"..")) or b"/.." in value):
            return False
        path = os.path.normpath(os.path.join(cwd, value))
        return not (path + b"/").startswith(self.root + b"/") and (value.startswith(b"~") or os.path.lexists(path))

    def _foreground_ended(self, peer: Peer, run: Run, message: rpc.Message) -> None:
        late = self._outputs(_peer_pid(peer.connection))  # who stands behind its pipe may have opened its file since the question
        run.printed += tuple(path for path in (*late.own, *late.others) if path not in run.outputs)
        adopters = {1} | {pid for c in self._engine.conversations.values() if c.claude for pid in observe.ancestors(c.claude.pid)}
        self._engine.foreground_ended(
            peer.call,
            End(how=cast(Any, message["how"].decode()), value=int(message["value"])),
            out_bytes=int(message["out"]),
            err_bytes=int(message["err"]),
            cpu_s=int(message["cpu_us"]) / 1e6,
            left=lambda: len(observe.left_behind(adopters, run.since_ticks, run.session)) + int(message["left"]),
        )

    # --- the tree ------------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Start the thread that says when files change; without it (no inotify left) hooks alone say so."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

        def wait() -> None:
            def interesting(_: watchfiles.Change, path: str) -> bool:
                return self._machine.tree.covers(os.fsencode(path))

            try:
                for _ in watchfiles.watch(
                    self._machine.root, watch_filter=interesting, step=20, debounce=100, rust_timeout=5000, raise_interrupt=False
                ):
                    os.write(writer, b".")
            except (OSError, RuntimeError) as error:
                self._machine.complain(f"cannot watch {self._machine.root}: {error}")

        def changed(_: Any) -> None:
            os.read(reader, 65536)
            self._engine.poke()

        self._selector.register(reader, selectors.EVENT_READ, changed)
        threading.Thread(target=wait, name="watcher", daemon=True).start()

    # --- jobs that were asked for --------------------------------------------------------------------------------------------

    def _request(self, peer: Peer, message: rpc.Message) -> rpc.Message:
        confined = observe.confinement(_peer_pid(peer.connection)) != self._confinement
        try:
            return {"ok": b"1", "job": self._engine.request(message, confined=confined).encode()}
        except StrettoError as error:
            return {"ok": b"0", "reason": str(error).encode()}


def _may_install(batch: hookwire.BatchEnded) -> bool:
    """Say whether a package manager ran: there may be tools now that were not there before, and others may be gone."""
    return any(call.tool == "Bash" and commands.effect_of(call.command, ()) == "package" for call in batch.calls)


def _reply(event: str, heard: Heard) -> hookwire.HookReply:
    """Return what the host is answered."""
    if heard.denied:
        return hookwire.deny_reply(heard.told)
    if event == "TaskCompleted":
        return hookwire.block_reply(heard.told) if heard.goes_on else hookwire.HookReply()
    if heard.goes_on or (heard.told and event == "PostToolBatch"):
        return hookwire.context_reply(event, heard.told, heard.notice)
    return hookwire.notice_reply(heard.notice) if heard.notice else hookwire.HookReply()


def _asked_for_real(invocation: Invocation, check: commands.Check, above: list[commands.Caller]) -> commands.Asked | None:
    """Return what asks for a real run, by the words of a call and by what stands above it."""
    if check.real:
        return commands.Asked("real-run", f"its words ask for a real run ({check.real})")
    own = commands.Caller((invocation.name, *(os.fsdecode(word) for word in invocation.argv[1:])))
    return commands.by_callers([own, *above])


def _passed_by(code: str, reason: str) -> Verdict:
    return Verdict(standing=Standing.UNKNOWN, reason=reason, code=code)


def _shown_to(message: rpc.Message) -> SessionId | None:
    """Return the session whose user would see what this hook's answer says; None where nothing is shown."""
    event = message["event"].decode()
    if event not in TOLD_AT:
        return None
    return _said(message).session or None


def _said(message: rpc.Message) -> hookwire.HookCall:
    """Return what the host said to a hook."""
    session = message.get("session", b"").decode("utf-8", "replace")
    return hookwire.parse(message["event"].decode(), message["input"], session=session, cut=message.get("cut") == b"1")


def _same_user(connection: socket.socket) -> bool:
    """Say whether the other end is this user; where the system cannot tell, the folder's 0700 has already decided."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, SO_PEERCRED_BYTES))
    return bool(uid == os.getuid())


def _peer_pid(connection: socket.socket) -> int:
    """Return who connected; 0 where the system cannot tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, SO_PEERCRED_BYTES))[0])


def _version_on_disk() -> str:
    """Return the version our own package has on disk by now, "" when it is gone."""
    try:
        found = re.search(r'^__version__ = "([^"]*)"', (Path(__file__).parent / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def _is_served(folder: str) -> bool:
    """Say whether somebody takes connections for the project; who holds the lock may only be on its way out."""
    os.chdir(folder)  # a short name, as in `_listen`
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect("s")
        except OSError:
            return False
        finally:
            os.chdir("/")
    return True


def main(arguments: list[str]) -> None:
    """Be the supervisor of the project with this key, or leave at once when there is one.

    Args:
        arguments: state base, project key, and the descriptor of a pipe that gets one byte when somebody serves the project.
    """
    base, key, word = arguments
    try:
        project = trust.load(base, key)
    except StrettoError as error:
        print(f"{wall_s():.3f} {error}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError, StrettoError):  # then it is met again, by the next hook and by doctor
            if aside := trust.put_grant_aside(base, key):
                print(f"{wall_s():.3f} damaged, put aside: {aside}", file=sys.stderr, flush=True)
        return  # without a word; `stretto doctor` says the same
    if project is None:
        return

    def served() -> None:
        try:
            os.write(int(word), b".")
        except BrokenPipeError:
            pass  # the hook has given up; the next one finds us
        os.close(int(word))

    try:
        lock = Lock(project.paths.supervisor_lock)
        deadline_s = mono_s() + HAND_OVER_LIMIT_S
        while not lock.try_acquire():
            if _is_served(project.paths.folder):
                served()
                return
            if mono_s() > deadline_s:
                return  # without a word: the hook gives up
            time.sleep(0.01)
    except OSError as error:  # without a lock there may be two of us: then rather none
        print(f"{wall_s():.3f} cannot lock {project.paths.supervisor_lock}: {error}", file=sys.stderr, flush=True)
        return
    try:
        for aside in trust.mend(project.paths):
            print(f"{wall_s():.3f} damaged, put aside: {aside}", file=sys.stderr, flush=True)
        Supervisor(project, lock).run(served)
    except OSError as error:
        print(f"{wall_s():.3f} cannot serve: {error}", file=sys.stderr, flush=True)
    finally:
        lock.close()


if __name__ == "__main__":
    main(sys.argv[1:])
