"""The supervisor: one process for each project, a cache over the log.

    collect (hooks, shims, monitors, the watcher, the clock) -> append -> fold -> plan -> perform

One thread, one selector; a second thread only waits for file events and writes a byte. Everything that decides is elsewhere (`gates`,
`ahead`, `schedule`, `freshness`, `commands`); everything that is remembered is in the log. Promises:
- exactly one lives for a project: it holds `supervisor.lock`, which is never unlinked, and whoever does not get it leaves at once;
- whatever goes wrong in answering, a shim is told to run its command and a hook gets silence: no failure here reaches a session;
- it leaves when no session is open and nothing runs, when its project or its state is gone, and when asked to.

It is one idea in one file: the loop and the handlers that share its state.
"""

from __future__ import annotations

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
from typing import Any, cast

import psutil
import watchfiles

from stretto import (
    __version__,
    ahead,
    bundle,
    commands,
    disk,
    gates,
    hookwire,
    observe,
    retries,
    rpc,
    rules,
    schedule,
    shellenv,
    snapshot,
    trust,
)
from stretto.errors import CorruptError, StrettoError
from stretto.fold import MAKES_WAY, Job, Session, apply
from stretto.journal import Journal, lines, parse
from stretto.model import (
    ENCODER,
    FORMAT_VERSION,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    Bad,
    End,
    EpochBegan,
    Invocation,
    JobKey,
    JobSeen,
    JoinDecided,
    JoinDone,
    NewsTold,
    PermissionAsked,
    SessionClosed,
    SessionId,
    SessionOpened,
    Standing,
    SupervisorStarted,
    SupervisorStopped,
    TreeMoved,
    invocation_from,
)
from stretto.requests import WALL_S, Requests
from stretto.runs import ATTEMPT_ID, Run, Runs, last_line
from stretto.sessions import UNKNOWN_EFFECTS, Approvals, Conversation, OpenCall, blocker, settings_of_host
from stretto.system import LINUX, Lock, Process, boot_id, identify, lives, mono_s, private_directory, wall_s
from stretto.tree import Scan, Scanner, tool_identity

BUSY_TICK_S, IDLE_TICK_S = 0.1, 2.0
LINGER_S = 20.0
"""A supervisor without sessions waits this long for the next one: `/clear` and a restart of `claude` come in between."""
SESSION_END_GRACE_S = 4.0
"""Ahead runs that nobody reads are ended this long after the last session; two looks and the worker's 2 s of grace make at most 10 s."""
SESSIONS_MOST = 64
"""Sessions of one project that are served at the same time; a loop that starts more is not helped along."""
BUSY_LOOK_S = 0.5
START_SLACK_S = 0.5
"""By how much a process may seem to have begun after its session did: the kernel counts in hundredths."""
CLOCK_SLACK_S = 5.0
"""Where only the wall clock tells: by how much it may have been set back while a session was open."""
SAMPLE_S = 0.25
HAND_OVER_LIMIT_S = 5.0
"""How long a new supervisor waits for the lock of one that no longer listens. It is held until the last thread of a killed process is gone,
and until a leaving one has written its last event."""
QUICK_S = 1.0
"""A foreground command that usually ends sooner takes no ahead run's place: stopping one would cost more than it disturbs."""
JOB_GRACE_S = 3.0
"""Requested jobs of a session that ended are ended this long after that was seen: two looks and the worker's own grace come on top."""
SO_PEERCRED_BYTES = 12


TROUBLES = (StrettoError, OSError, ValueError, KeyError, ArithmeticError)
"""What a full disk, a damaged file or a message of somebody else can make happen; everything else is a bug."""
BAD_LINE = "a line of the log cannot be used; what it said is not known"
LOG_DAMAGED = "Stretto's log is damaged: earlier results do not count any more, new ones do; `stretto log check` says more"
TOLD_AT = ("SessionStart", "UserPromptSubmit", "PostToolBatch", "Stop")
"""Hooks whose answer may show the user a line."""


class Peer:
    """One connection: a hook, a shim, or a command-line call."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = rpc.Reader()
        self.run: Run | None = None
        """The foreground run this shim records."""
        self.ask = ""
        """The question this shim waits for."""
        self.waits_for: Run | None = None
        self.session: SessionId | None = None


class Supervisor:
    """Serves one project until it has no more reason to."""

    def __init__(self, project: trust.Project, lock: Lock) -> None:
        self.project = project
        self._lock = lock
        self.paths = project.paths
        self.root = os.fsencode(project.root)
        self._salt = Path(self.paths.salt).read_bytes()
        self.state, self._offset = snapshot.load(self.paths.folder)
        self._journal = Journal(self.paths.folder)
        self._tender = snapshot.Tender(self.paths.folder, self._journal)
        self._by = f"supervisor:{os.getpid()}"
        self._selector = selectors.DefaultSelector()
        self._scanner = Scanner(self.root)
        self._runs = Runs(self._scanner, self.paths.folder, self.log, self.state)
        self._runs.catch_up = self._catch_up
        self._retries = retries.Budget()
        self._refused: dict[JobKey, tuple[int, int]] = {}
        """Commands whose ahead run the user cancelled, and the generation and epoch that goes for."""
        self._makes_way = ""
        """The version of a hook that is not ours: we leave when no session waits for us any more."""
        self._announced = False
        self._owed_epoch = ""
        """Why an epoch began that the log does not have yet, "" when it has them all."""
        self._trouble = ""
        """Why nothing can be done at this moment (a full disk), "" when the last record was written."""
        self._met_last = ""
        self._told: set[SessionId] = set()
        """Sessions that were told of it."""
        self._untold: set[SessionId] = set()
        """Sessions that were open when a line of the log could not be used, and were not told yet."""
        self._socket_inode = 0
        self._context = observe.own_context()
        self._umask = _umask()
        self._requests = Requests(project.root, self.paths.slots, self.log, self.state)
        self._invocations: dict[JobKey, Invocation] = {}
        self._checks: dict[JobKey, commands.Check] = {}
        self._approvals = Approvals(settings_of_host(project.root))
        self._conversations: dict[SessionId, Conversation] = {}
        self._rules = rules.Rules()
        self._unfit = _unfit(self.paths.folder)
        """Why nothing may rely on our files, "" when it may."""
        self._void = self._unfit
        """Why the grant does not hold (`stretto.toml` changed), or is of no use; "" when it holds."""
        self._moved_s = 0.0
        self._poked_s = 0.0
        self._dirty = True
        self._last_session_s = mono_s()
        self._last_sample_s = 0.0
        self._last_look_s = 0.0
        self._cold: list[str] = []
        """Tools whose identity is read between two questions: the first reading costs up to 0.1 s, and is remembered."""
        self._leaving = ""
        self._scan = Scan(generation=0, moved=(), took_ms=0.0, problem="")

    # --- life ----------------------------------------------------------------------------------------------------------------

    def run(self, listening: Callable[[], None]) -> None:
        """Serve until there is no more reason to; the lock is held by the caller, who is told once connections are taken."""
        self._catch_up()
        listener = self._listen()
        listening()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._load_rules()
        self._scan = self._scanner.scan()
        self._unclean = self.state.supervisor is not None
        self._guarded(self._announce)
        self._watch()
        try:
            while not self._leaving:
                busy = self._runs.open or self._poked_s or self._cold
                for key, _ in self._selector.select(BUSY_TICK_S if busy else IDLE_TICK_S):
                    self._guarded(key.data, key.fileobj)
                self._guarded(self._tick)
        finally:
            self._guarded(self._end_requests)
            for run in list(self._runs.open.values()):
                if run.kind == "ahead":
                    self._runs.cancel(run, "the supervisor leaves")
            self._guarded(self._say_goodbye)

    def _announce(self) -> None:
        """Say that we are here and take over what an earlier one left. Until that is in the log nothing is begun."""
        me = identify(os.getpid())
        assert me is not None
        self.log(SupervisorStarted, pid=me.pid, start=me.start, version=__version__, mode=self.project.grant.mode)
        if self._unclean:
            self._new_epoch("an earlier supervisor died; what happened without it was not seen", None)
        self._runs.adopt(self._scan)
        for session in list(self.state.sessions.values()):
            if session.closed:
                continue
            claude = identify(session.claude_pid)
            if claude is not None and _was_there(claude, session):
                self._conversations[session.session] = Conversation(claude, unseen=True)
            else:
                self.log(SessionClosed, session=session.session, reason="its process ended while no supervisor lived")
        self._announced = True

    def _say_goodbye(self) -> None:
        """Remove the socket and log the end, if the state directory is still the one we served; another one may have its own supervisor."""
        if not self._lock.stands():
            return
        if os.path.lexists(self.paths.socket) and os.lstat(self.paths.socket).st_ino == self._socket_inode:
            os.unlink(self.paths.socket)
        self.log(SupervisorStopped, reason=self._leaving or "an error")

    def _guarded(self, act: Callable[..., object], *arguments: Any) -> None:
        """Do one thing; what goes wrong ends that and nothing else. A session never waits for us to get better."""
        try:
            act(*arguments)
        except TROUBLES as error:
            self._met(error)

    def _met(self, error: Exception) -> None:
        if repr(error) != self._met_last:
            self._met_last = repr(error)
            try:
                print(f"{wall_s():.3f} {error!r}", file=sys.stderr, flush=True)
            except OSError:
                pass  # its file is on the disk that is full
        if not self._lock.stands():
            self._leaving = "its state directory is gone"
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            time.sleep(BUSY_TICK_S)  # what waits to be accepted would wake us again at once

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

    def _tick(self) -> None:
        now_s = mono_s()
        self._guarded(self._pay_epoch)
        if self._poked_s and now_s - self._poked_s >= self._rules.quiet_s:
            self._poked_s = 0.0
            self._look()
        if now_s - self._last_sample_s >= SAMPLE_S:
            self._last_sample_s = now_s
            self._sample()
        if not self._announced:
            self._announce()
        if now_s - self._last_look_s >= (BUSY_LOOK_S if self._runs.open else IDLE_TICK_S):
            self._last_look_s = now_s
            self._check_sessions(now_s)
            self._tend_log()
            self._dirty = True
        if self._makes_way and not any(run.readers or (run.kind == "foreground" and not run.adopted) for run in self._runs.open.values()):
            self._leaving = f"{MAKES_WAY}: {self._makes_way}, this is {__version__}"
            return
        if self._dirty:
            self._dirty = False
            self._plan()
        if self._cold:
            tool = os.fsencode(self._cold.pop())
            tool_identity(tool, self.root, [tool], os.fsencode(os.path.dirname(tool)), self.root)

    def _check_sessions(self, now_s: float) -> None:
        if not self._lock.stands():
            self._leaving = "its state directory is gone"
            return
        if not os.path.isdir(self.root) or not os.path.isfile(self.paths.grant):
            self._leaving = "the project or its grant is gone"
            return
        for session, conversation in list(self._conversations.items()):
            if conversation.claude is not None and not lives(conversation.claude):
                self._close_session(session, "its process ended")
        for job in list(self._requests.orphans(JOB_GRACE_S, self._conversations)):
            self._cancel_request(job, "its session is over")
        if self._conversations:
            self._last_session_s = now_s
            return
        alone_s = now_s - self._last_session_s
        if alone_s > SESSION_END_GRACE_S:
            for run in self._runs.open.values():
                if run.kind == "ahead" and not run.readers and not run.cancelled_for:
                    self._runs.cancel(run, "the session is over")
        if alone_s > LINGER_S and not self._runs.open and not self._requests.open():
            self._leaving = "no session is open and nothing runs"

    def _sample(self) -> None:
        for run in list(self._runs.open.values()):
            if run.adopted and self._runs.gone(run):
                self._catch_up()
                self._runs.lost(run, "the supervisor was not there when it began")
                self._request_ended(run)
                self._dirty = True
            elif run.kind == "foreground" and run.child_pid and not run.remote:
                run.remote = bool(observe.remote_connections(run.child_pid))
            elif run.kind == "ahead" and run.process and not run.remote:
                run.remote = bool(observe.remote_connections(run.process.pid))

    # --- the log -------------------------------------------------------------------------------------------------------------

    def log(self, kind: type[Any], /, **fields: Any) -> None:
        """Append one event and fold it, together with what others appended meanwhile.

        Raises:
            OSError: nothing was written; the caller must not act as if it had been.
            CorruptError: the log was cut or made anew by somebody else; what we know is not what it says, so we leave.
        """
        event = kind(v=FORMAT_VERSION, ts=wall_s(), mono=mono_s(), boot=boot_id(), by=self._by, **fields)
        try:
            offset = self._journal.append(ENCODER.encode(event), lasting=kind in (AttemptExited, AttemptSettled))
            if offset < self._offset:
                self._leaving = "the log was cut or made anew"
                raise CorruptError(f"cannot go on with {self.paths.events}: it was cut or made anew; the next hook starts a new supervisor")
        except (OSError, StrettoError) as error:
            self._trouble = str(error)
            raise
        self._trouble = ""
        self._catch_up()

    def _catch_up(self) -> None:
        for begin, after, line in lines(self.paths.folder, self._offset):
            self._offset = after
            event = parse(line)
            apply(self.state, event, begin)
            if isinstance(event, Bad):
                self._owed_epoch = BAD_LINE
                self._untold |= self._conversations.keys()

    def _tend_log(self) -> None:
        try:
            self._tender.tend(self.state, self._offset)
        except (OSError, StrettoError) as error:
            print(f"{wall_s():.3f} cannot tend the log: {error!r}", file=sys.stderr, flush=True)

    def _new_epoch(self, reason: str, session: SessionId | None) -> None:
        """End all earlier results. One that cannot be written is owed: until it is in the log nothing is joined, told or run ahead.

        Raises:
            OSError: it could not be written.
        """
        self._owed_epoch = reason
        epoch = self.state.epoch + 1
        self.log(EpochBegan, epoch=epoch, reason=reason, session=session)
        if self.state.epoch == epoch:  # else its own line was damaged
            self._owed_epoch = ""
        self._dirty = True

    def _pay_epoch(self) -> None:
        """Write the epoch that is owed, if any.

        Raises:
            OSError: there is still no room for it.
        """
        if self._owed_epoch:
            self._new_epoch(self._owed_epoch, None)

    # --- connections ---------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
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
            self._met(error)
            self._answer(peer, {"do": b"exec", "reason": b"the supervisor met an error", "code": b"0", "out": b"", "err": b""})
            self._gone(peer)

    def _handle(self, peer: Peer, message: rpc.Message) -> None:
        match message["op"]:
            case b"hook":
                try:
                    reply = self._hook(peer, message)
                    if self._trouble and not reply.out:
                        reply = self._notice(message, self._trouble)
                    elif self._untold and not reply.out:
                        reply = self._damage_notice(message)
                except TROUBLES as error:
                    self._met(error)
                    reply = self._notice(message, str(error))
                self._answer(peer, {"code": str(reply.code).encode(), "out": reply.out, "err": reply.err})
                self._gone(peer)
            case b"invoke":
                self._answer(peer, self._invoke(peer, message))
            case b"started" if peer.run is not None:
                peer.run.child_pid = int(message["pid"])
                if process := identify(peer.run.child_pid):
                    self._runs.started(peer.run, process)
            case b"exited" if peer.run is not None:
                self._foreground_ended(peer, peer.run, message)
            case b"joined" if peer.ask:
                self._joined(peer, message)
            case b"request":
                self._answer(peer, self._request(peer, message))
            case b"drop":
                self._dirty = True
                done = self._cancel_request(JobKey(message["job"].decode()), "the user cancelled it")
                self._answer(peer, {"ok": b"1" if done else b"0"})
            case b"ping":
                self._answer(
                    peer, {"pid": str(os.getpid()).encode(), "version": __version__.encode(), "mode": self.project.grant.mode.encode()}
                )
            case b"reload":
                self._load_rules()
                self._dirty = True
                self._answer(peer, {"ok": b"1"})
            case b"cancel":
                run = self._runs.open.get(AttemptId(message["attempt"].decode()))
                if run is not None and run.kind == "ahead":
                    self._refused[run.job] = (self._scan.generation, self.state.epoch)
                    self._runs.cancel(run, "the user cancelled it")
                self._answer(peer, {"ok": b"1" if run is not None else b"0"})
            case b"stop":
                self._answer(peer, {"ok": b"1"})
                self._leaving = "it was asked to"
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

    def _gone(self, peer: Peer) -> None:
        """A connection ended: what hung on it is over or unknown."""
        if peer.connection.fileno() < 0:
            return
        self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer.waits_for is not None:
            peer.waits_for.readers.discard(peer.ask)
        if peer.run is not None and peer.run.attempt in self._runs.open:
            peer.run.adopted = True  # should its end not get into the log now: `_sample` tries again
            self._runs.lost(peer.run, "its shim ended without saying how")
        self._dirty = True

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
        if session is None or session not in self._untold:
            return hookwire.HookReply()
        self._untold.discard(session)
        return hookwire.notice_reply(LOG_DAMAGED)

    def _compare_versions(self, message: rpc.Message) -> None:
        """Make way for the version of a hook or shim that is not ours: once. A successor does not give way to what it replaced.

        Two installations that both fire would else recycle each other for ever, as the next hook may be of either; one
        whose own files were exchanged is old in any case.
        """
        theirs = message.get("version", b"").decode("ascii", "replace")
        if theirs in ("", __version__) or self._makes_way:
            return
        if self.state.made_way not in (theirs, __version__) or _version_on_disk() != __version__:
            self._makes_way = theirs

    def _nested(self, peer: Peer) -> bool:
        """Say whether a call comes out of a worker of ours: an agent in it shall not start workers of its own (C-13).

        Its own mark may have been wiped from the environment, so its ancestors are looked at.
        """
        pid = _peer_pid(peer.connection)
        above = {pid, *observe.ancestors(pid)} if pid else set()
        if any(run.process is not None and run.process.pid in above for run in self._runs.open.values() if run.kind != "foreground"):
            return True
        marks = [mark for mark in observe.workers_above(pid) if ATTEMPT_ID.fullmatch(mark)] if pid else []
        keys = trust.keys(self.paths.base) if marks else []
        return any(os.path.isdir(f"{self.paths.base}/projects/{key}/attempts/{mark}") for key in keys for mark in marks)

    def _hook(self, peer: Peer, message: rpc.Message) -> hookwire.HookReply:
        event = message["event"].decode()
        call = hookwire.parse(event, message["input"])
        if self._nested(peer):
            return hookwire.HookReply()
        self._compare_versions(message)
        if call.session not in self._conversations and len(self._conversations) >= SESSIONS_MOST:
            return hookwire.HookReply()
        claude = identify(int(message.get("claude_pid") or b"0"))
        if isinstance(call, hookwire.SessionEnded):
            if call.session in self._conversations:
                self._close_session(call.session, call.reason)
            return hookwire.HookReply()
        conversation = self._conversation(call, claude)
        if call.mode:
            conversation.mode = call.mode
        match call:
            case hookwire.SessionStarted():
                return self._session_started(call, message)
            case hookwire.BashAsked():
                self._bash_asked(conversation, call)
            case hookwire.WriteAsked():
                conversation.write_asked(call)
            case hookwire.PermissionQuestion():
                conversation.question(call.command)
            case hookwire.PromptSubmitted() | hookwire.TurnEnded():
                if not call.agent:
                    conversation.unseen_over()
                for open_call in conversation.turn_ended(call.agent):
                    self._call_ended(open_call, call.session)
            case hookwire.BatchEnded():
                self._batch_ended(conversation, call)
                return self._tell_news(conversation, call)
        return hookwire.HookReply()

    def _conversation(self, call: hookwire.HookCall, claude: Process | None) -> Conversation:
        conversation = self._conversations.get(call.session)
        if conversation is None:
            started = isinstance(call, hookwire.SessionStarted)
            source = call.source if isinstance(call, hookwire.SessionStarted) else "seen"
            self.log(SessionOpened, session=call.session, source=source, claude_pid=claude.pid if claude else 0)
            conversation = self._conversations[call.session] = Conversation(claude, unseen=not started)
        return conversation

    def _close_session(self, session: SessionId, reason: str) -> None:
        self.log(SessionClosed, session=session, reason=reason)
        conversation = self._conversations.pop(session)
        if conversation.open_of_unknown_effects():
            self._new_epoch("a session ended in the middle of a command whose effects are not known", session)
        try:
            os.unlink(os.path.join(self.paths.sessions, f"{session}.sh"))
        except FileNotFoundError:
            pass
        self._last_session_s = mono_s()
        self._dirty = True

    def _session_started(self, call: hookwire.SessionStarted, message: rpc.Message) -> hookwire.HookReply:
        self._load_rules()
        if self._void:
            return hookwire.notice_reply(f"Stretto is off in this project: {self._void}")
        env_file = message.get("env_file", b"")
        if self.project.grant.mode == "off" or not env_file:
            return hookwire.HookReply()
        names = self._names()
        shellenv.write_entries(self.paths.base, names)
        path = os.path.join(self.paths.sessions, f"{call.session}.sh")
        search_path = os.fsdecode(message.get("path", b""))
        found = shellenv.write_session(path, names, base=self.paths.base, search_path=search_path, root=self.project.root)
        self._cold = [tool for name in found.on_path if (tool := shutil.which(name, path=search_path))]
        shellenv.add_guard_line(os.fsdecode(env_file), path)
        return hookwire.HookReply()

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted((set(commands.NAMES) | set(self._rules.add)) - set(self._rules.remove)))

    def _bash_asked(self, conversation: Conversation, call: hookwire.BashAsked) -> None:
        effect = commands.effect_of(call.command, frozenset(self._names()))
        conversation.bash_asked(call, effect)
        if effect in UNKNOWN_EFFECTS:
            what = "a package manager" if effect == "package" else "a command whose effects are not known"
            self._new_epoch(f"{what} ran: {gates.clean(call.command)[:80]}", call.session)

    def _call_ended(self, call: OpenCall, session: SessionId) -> None:
        if call.effect in UNKNOWN_EFFECTS:
            self._new_epoch(f"it ended: {gates.clean(call.command)[:80]}", session)
            self._poke()

    def _batch_ended(self, conversation: Conversation, batch: hookwire.BatchEnded) -> None:
        if not batch.agent:
            conversation.unseen_over()
        for call in batch.calls:
            if open_call := conversation.call_ended(call.id):
                self._call_ended(open_call, batch.session)
            elif call.tool == "Bash" and commands.effect_of(call.command, frozenset(self._names())) in UNKNOWN_EFFECTS:
                self._new_epoch(f"it ended, and its beginning was not seen: {gates.clean(call.command)[:80]}", batch.session)
            if call.tool in hookwire.WRITING_TOOLS and call.path:
                conversation.write_ended(call.id, call.path)
                self._poke()
                if not self._seen_by_scan(call.path):
                    self._new_epoch(f"the session wrote outside what is scanned: {gates.clean(call.path)[:80]}", batch.session)
        conversation.forget_edits_before(min((run.began_mono_s for run in self._runs.open.values()), default=mono_s() - BUSY_TICK_S))

    def _seen_by_scan(self, path: str) -> bool:
        real = os.fsencode(os.path.realpath(path))
        return real.startswith(self.root + b"/") and self._scanner.covers(real)

    def _edited(self, run: Run) -> list[str]:
        """Return the paths (relative to the project) that the sessions' own tools wrote while a run was under way."""
        paths = (path for conversation in self._conversations.values() for path in conversation.edited_since(run.began_mono_s))
        return [os.path.relpath(path, self.project.root) for path in paths]

    def _tell_news(self, conversation: Conversation, batch: hookwire.BatchEnded) -> hookwire.HookReply:
        if self.project.grant.mode != "on" or batch.agent:
            return hookwire.HookReply()
        self._pay_epoch()
        results = []
        for job, result in self._runs.results.items():
            known = conversation.known.get(job)
            if known is None or known == gates.outcome(result.end) or not result.end.by_itself:
                continue
            self._scan_now()
            if self._runs.still_true(result, self._rules.max_age_s, self._scan.problem):
                assert result.evidence is not None
                results.append(
                    gates.Result(
                        job=job,
                        attempt=result.run.attempt,
                        command=commands.display(self._invocations[job].argv),
                        end=result.end,
                        ended_ago_s=mono_s() - result.evidence.ended_mono_s,
                        took_s=result.took_s,
                        last_line=last_line(result.run.folder),
                    )
                )
        told = gates.news(results, conversation.known, mono_s() - self._moved_s)
        for item in told:
            self.log(NewsTold, session=batch.session, job=item.job, attempt=item.attempt, was=item.was, now=item.now, text=item.text)
            conversation.known[item.job] = item.now
        return hookwire.context_reply("PostToolBatch", "\n".join(item.text for item in told))

    # --- shims ---------------------------------------------------------------------------------------------------------------

    def _invoke(self, peer: Peer, message: rpc.Message) -> rpc.Message:
        began_s = time.perf_counter()
        invocation = invocation_from(message)
        self._compare_versions(message)
        if self._makes_way or not self._announced:
            return {"do": b"exec", "reason": b"this supervisor makes way for another, or cannot write its log"}
        if self._nested(peer):
            return {"do": b"exec", "reason": b"it runs inside a worker"}
        self._catch_up()
        self._pay_epoch()
        session = SessionId(message["session"].decode()) or None
        peer.session = session
        check = commands.check_of(invocation.name, invocation.argv, env=invocation.env, added=self._rules.add)
        if check is None or self.project.grant.mode == "off" or self._void:
            return {"do": b"exec", "reason": b"it is no check, or Stretto is off"}
        tools = tool_identity(invocation.exe, invocation.cwd, invocation.argv, _search_path(invocation), self.root)
        job_key = invocation.key(self._salt, tools)
        self._scan_now()
        if job_key not in self.state.jobs:
            self.log(
                JobSeen,
                job=job_key,
                name=invocation.name,
                argv=commands.redact(invocation.argv),
                cwd=os.path.relpath(os.fsdecode(invocation.cwd), self.project.root),
                streams=invocation.streams,
            )
        peer.ask = os.urandom(8).hex()
        if reason := self._not_ours(invocation, check):
            self._decided(peer, job_key, "unknown", "exec", None, reason, "", began_s)
            return {"do": b"exec", "reason": reason.encode()}
        self._invocations[job_key], self._checks[job_key] = invocation, check
        conversation = self._conversations.get(session) if session else None
        verdict, run = self._runs.judge(job_key, self._rules.max_age_s, self._scan.problem)
        blocked = self._blocker()
        usable = run is not None and verdict.standing in (Standing.FRESH, Standing.RUNNING) and not blocked
        do = ("attach" if verdict.standing is Standing.RUNNING else "replay") if usable else "record"
        would = ""
        if usable and self.project.grant.mode != "on":
            do, would = "record", do
        self._approvals.note(job_key, conversation)
        if do == "record":
            joined = self._begin_foreground(peer, job_key, session, message)
        else:
            assert run is not None
            joined = run
            peer.waits_for = run
            self._runs.attach(run, peer.ask)
            if do == "replay":
                self._runs.results[job_key].replays += 1
        self._decided(peer, job_key, verdict.standing.value, do, joined, blocked or verdict.reason, would, began_s)
        if session is not None and conversation is not None and conversation.questioned:
            self.log(PermissionAsked, job=job_key, session=session)
        self._dirty = True
        what = b"record" if do == "record" else b"join"
        return {
            "do": what,
            "dir": os.fsencode(joined.folder),
            "attempt": joined.attempt.encode(),
            "reason": (blocked or verdict.reason).encode(),
        }

    def _decided(self, peer: Peer, job: JobKey, standing: str, do: str, run: Run | None, reason: str, would: str, began_s: float) -> None:
        """Log what is about to be answered; nothing is answered that is not in the log."""
        self.log(
            JoinDecided,
            ask=peer.ask,
            job=job,
            session=peer.session,
            standing=standing,
            do=do,
            attempt=run.attempt if run else None,
            of=run.kind if run and do in ("replay", "attach") else None,
            reason=reason,
            would=would,
            decide_ms=round((time.perf_counter() - began_s) * 1000, 3),
        )

    def _not_ours(self, invocation: Invocation, check: commands.Check) -> str:
        """Say why a check just runs, neither joined nor recorded; "" when it may be."""
        if check.steered:
            return "a cache steers its outcome"
        excluded = trust.excludes(self.project.grant.excluded, commands.redact(invocation.argv))
        if excluded or rules.matches(self._rules.exclude, commands.display(invocation.argv)):
            return "it is excluded"
        if invocation.context != self._context:
            return "it runs in another context than the supervisor (a sandbox, other limits)"
        if not (invocation.cwd + b"/").startswith(self.root + b"/"):
            return "it runs outside the project"
        if any(self._leads_out(argument, invocation.cwd) for argument in invocation.argv[1:]):
            return "an argument leads out of the project"
        return ""

    def _leads_out(self, argument: bytes, cwd: bytes) -> bool:
        value = argument.split(b"=", 1)[-1] if argument.startswith(b"-") else argument
        if not (value.startswith((b"/", b"~", b"..")) or b"/.." in value):
            return False
        path = os.path.normpath(os.path.join(cwd, value))
        return not (path + b"/").startswith(self.root + b"/") and (value.startswith(b"~") or os.path.lexists(path))

    def _begin_foreground(self, peer: Peer, job: JobKey, session: SessionId | None, message: rpc.Message) -> Run:
        parents = set(observe.ancestors(int(message["pid"])))
        nested = any(run.child_pid in parents for run in self._runs.open.values() if run.child_pid)
        run = self._runs.begin(job, "foreground", session, self._scan, nested=nested)
        run.since_ticks = observe.start_ticks()
        peer.run = run
        return run

    def _foreground_ended(self, peer: Peer, run: Run, message: rpc.Message) -> None:
        end = End(how=cast(Any, message["how"].decode()), value=int(message["value"]))
        self._scan_now()
        adopters = {1} | {pid for c in self._conversations.values() if c.claude for pid in observe.ancestors(c.claude.pid)}
        left = len(observe.left_behind(adopters, run.since_ticks, run.session)) + int(message["left"])
        self._runs.ended(
            run,
            end,
            int(message["out"]),
            int(message["err"]),
            int(message["cpu_us"]) / 1e6,
            left,
            self._scan,
            self._edited(run),
            log_exit=True,
        )
        self._knows(peer.session, run.job, end)
        peer.run = None
        self._dirty = True

    def _joined(self, peer: Peer, message: rpc.Message) -> None:
        run = peer.waits_for
        if run is None:
            return
        attempt = self.state.attempts.get(run.attempt)
        waited_s = int(message["waited_us"]) / 1e6
        took_s = (attempt.took_s if attempt is not None else None) or 0.0
        if message["ok"] == b"1":
            self.log(
                JoinDone, ask=peer.ask, attempt=run.attempt, waited_s=round(waited_s, 6), saved_s=round(max(0.0, took_s - waited_s), 6)
            )
            if attempt is not None and attempt.end is not None:
                self._knows(peer.session, run.job, attempt.end)
        run.readers.discard(peer.ask)
        peer.waits_for = None

    def _knows(self, session: SessionId | None, job: JobKey, end: End) -> None:
        if session in self._conversations and end.by_itself:
            self._conversations[session].known[job] = gates.outcome(end)

    # --- the tree ------------------------------------------------------------------------------------------------------------

    def _poke(self) -> None:
        self._poked_s = self._moved_s = mono_s()

    def _look(self) -> None:
        self._scan_now()
        self._dirty = True

    def _scan_now(self) -> None:
        """Bring the generation up to date; only this decides what a result is worth."""
        scan = self._scanner.scan()
        if scan.moved:
            self._moved_s = mono_s()
            self._dirty = True
            sample = tuple(sorted(change.path for change in scan.moved)[:5])
            self.log(TreeMoved, generation=scan.generation, count=len(scan.moved), sample=sample)
            if any(change.path == "stretto.toml" for change in scan.moved):
                self._load_rules()
        self._scan = scan

    def _watch(self) -> None:
        """Start the thread that says when files change; without it (no inotify left) hooks alone say so."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

        def wait() -> None:
            def interesting(_: watchfiles.Change, path: str) -> bool:
                return self._scanner.covers(os.fsencode(path))

            try:
                for _ in watchfiles.watch(
                    self.project.root, watch_filter=interesting, step=20, debounce=100, rust_timeout=5000, raise_interrupt=False
                ):
                    os.write(writer, b".")
            except (OSError, RuntimeError) as error:
                print(f"{wall_s():.3f} cannot watch {self.project.root}: {error}", file=sys.stderr, flush=True)

        def changed(_: Any) -> None:
            os.read(reader, 65536)
            self._poke()

        self._selector.register(reader, selectors.EVENT_READ, changed)
        threading.Thread(target=wait, name="watcher", daemon=True).start()

    # --- running ahead -------------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        running = [
            schedule.AheadRun(attempt=run.attempt, job=run.job, moved=self._runs.moved(run), read=bool(run.readers))
            for run in self._runs.open.values()
            if run.kind == "ahead" and not run.cancelled_for
        ]
        held = self._held()
        self._requests.write_off()
        for run in self._runs.open.values():
            if not run.cancelled_for and (reason := self._requests.stopping(run.job)):  # cancelled under an earlier supervisor
                self._runs.cancel(run, reason)
        asked = self._requests.asked()
        view = schedule.View(
            desired=[] if held else self._desired(),
            running=running,
            foreground=sum(self._needs_machine(run) for run in self._runs.open.values()),
            slots=os.cpu_count() or 1,
            ahead_slots=max(
                0, self._rules.slots - sum(run.kind == "ahead" and bool(run.cancelled_for) for run in self._runs.open.values())
            ),
            held=held,
            settling=bool(self._poked_s),
            free_bytes=psutil.virtual_memory().available,
            load_per_core=os.getloadavg()[0] / (os.cpu_count() or 1),
            asked=asked,
            asked_running=sum(run.kind == "requested" for run in self._runs.open.values()),
            broken=self._requests.broken() if asked else {},
            promised_bytes=self._requests.promised_bytes() if asked else 0,
        )
        for action in schedule.plan(view):
            match action:
                case schedule.Stop():
                    self._runs.cancel(self._runs.open[action.attempt], action.why)
                case schedule.Start():
                    self._start_ahead(action)
                case schedule.Begin():
                    self._begin_requested(action.job)
                case schedule.Hold():
                    self._requests.hold(action.job, action.why)
                case schedule.Drop():
                    self._cancel_request(action.job, action.why)

    def _needs_machine(self, run: Run) -> bool:
        """Say whether a foreground run is long enough, or too unknown, to leave it alone with the machine."""
        usual_s = self.state.jobs[run.job].median_s
        return run.kind == "foreground" and not run.adopted and not 0 < usual_s < QUICK_S

    def _held(self) -> str:
        if self.project.grant.mode != "on" or self._void:
            return "running ahead is switched off"
        return self._blocker()

    def _blocker(self) -> str:
        """Say why nothing may be joined or run ahead at this moment, "" when it may."""
        if self._owed_epoch:
            return f"the log has no room to say that all earlier results ended: {self._owed_epoch}"
        if any(run.kind == "requested" for run in self._runs.open.values()):
            return "it stands beside a job that was asked for, whose effects are not known"
        return blocker(self._conversations.values())

    def _desired(self) -> list[JobKey]:
        if not self._conversations or self._makes_way or not self._announced:
            return []
        candidates = []
        under_way = {
            run.job for run in self._runs.open.values() if run.cancelled_for or (run.kind == "foreground" and not self._runs.moved(run))
        }
        for key in self._invocations.keys() - under_way:
            job = self.state.jobs[key]
            if self._refused.get(key) == (self._scan.generation, self.state.epoch) or (job.crashes and not self._retries.allows()):
                continue
            if not self._ineligible(job) and self._runs.wants_run(job):
                asked = job.foreground_runs + job.joins
                candidates.append(ahead.Candidate(job=key, asked=asked, asked_ago_s=mono_s() - job.last_asked_mono, usual_s=job.median_s))
        return ahead.desired(candidates)

    def _ineligible(self, job: Job) -> str:
        text = commands.display(self._invocations[job.job].argv)
        ago_s = mono_s() - job.crashed_mono if job.crashed_boot == boot_id() else -1.0
        if aside := retries.put_aside(job.crashes, ago_s):
            return aside
        return ahead.ineligible(
            job,
            self._checks[job.job],
            idle_input=self._invocations[job.job].stdin == "idle",
            allowed=rules.matches(self._rules.ahead, text),
            forbidden=rules.matches(self._rules.never_ahead, text),
            withheld=self._approvals.withheld(job.job, self._conversations.values()),
        )

    def _start_ahead(self, action: schedule.Start) -> None:
        slot = self._slot()
        if slot is None:
            return
        if self.state.jobs[action.job].crashes:
            self._retries.spend()
        try:
            run = self._runs.begin(action.job, "ahead", None, self._scan, why=action.why)
        except TROUBLES:
            slot.close()
            raise
        try:
            self._runs.spawn(run, self._invocations[action.job], self._umask, slot)
        except OSError as error:
            print(f"{wall_s():.3f} cannot start an ahead run: {error}", file=sys.stderr, flush=True)
            return
        self._listen_to(run)

    def _listen_to(self, run: Run) -> None:
        assert run.owner is not None
        self._selector.register(run.owner, selectors.EVENT_READ, lambda _: self._owner_speaks(run))

    def _slot(self) -> Lock | None:
        """Take one of the machine's places for ahead runs and requested jobs: several projects share them."""
        folder = private_directory(self.paths.slots)
        for number in range(os.cpu_count() or 1):
            lock = Lock(os.path.join(folder, f"{number}.lock"))
            if lock.try_acquire():
                os.truncate(lock.path, 0)  # what its last holder was promised is over
                return lock
            lock.close()
        return None

    def _owner_speaks(self, run: Run) -> None:
        assert run.owner is not None
        said = run.owner.lines()
        for line in said or ():
            word, *rest = line.split()
            if word == "started":
                self._runs.started(run, Process(int(rest[0]), rest[1], boot_id()))
                if run.kind == "requested" and run.slot is not None:
                    self._requests.promise(run.slot.path, self.state.requests[run.job].memory_bytes, int(rest[0]))
                if run.cancelled_for:
                    self._runs.cancel(run, run.cancelled_for)
        if said is None or "exited" in said:
            self._selector.unregister(run.owner)
            self._ahead_ended(run)
            self._dirty = True

    def _ahead_ended(self, run: Run) -> None:
        """Settle a run whose monitor is done; what cannot be written now is tried again by `_sample`, as after a restart."""
        try:
            self._settle_ahead(run)
        except TROUBLES:
            run.adopted = True
            raise

    def _settle_ahead(self, run: Run) -> None:
        self._catch_up()
        self._request_ended(run)
        attempt = self.state.attempts.get(run.attempt)
        if attempt is None or attempt.end is None:
            self._runs.lost(run, "its monitor died")
            return
        if attempt.end.by_itself:
            self._retries.earn()
        found = bundle.read_exit(run.folder)
        self._scan_now()
        self._runs.ended(
            run,
            attempt.end,
            found.out_bytes if found else 0,
            found.err_bytes if found else 0,
            0.0,
            0,
            self._scan,
            self._edited(run),
            log_exit=False,
        )

    # --- jobs that were asked for --------------------------------------------------------------------------------------------

    def _request(self, peer: Peer, message: rpc.Message) -> rpc.Message:
        if self._void:
            return {"ok": b"0", "reason": self._void.encode()}
        try:
            job = self._requests.ask(message, _peer_pid(peer.connection), self._conversations)
        except StrettoError as error:
            return {"ok": b"0", "reason": str(error).encode()}
        self._dirty = True
        return {"ok": b"1", "job": job.encode()}

    def _cancel_request(self, job: JobKey, why: str) -> bool:
        """Log it first, then end its process: however that ends, the job stays cancelled."""
        done = self._requests.cancel(job, why)
        for run in self._runs.open.values():
            if done and run.job == job:
                self._runs.cancel(run, why)
        return done

    def _end_requests(self) -> None:
        """We leave: nothing that was asked for runs on. After an error of ours it does, and the next supervisor adopts it."""
        if not self._leaving:
            return
        for request in self._requests.open():
            self._guarded(self._cancel_request, request.job, "the supervisor was ended")
        for run in self._runs.open.values():
            if run.kind == "requested" and not run.cancelled_for:
                self._runs.cancel(run, "the supervisor was ended")

    def _begin_requested(self, job: JobKey) -> None:
        slot = self._slot()
        if slot is None:
            self._requests.hold(job, "no place is free")
            return
        order = self._requests.order(job)
        session = self.state.requests[job].session
        try:
            self._new_epoch(f"a job that was asked for began: {commands.display(order.invocation.argv)[:80]}", session)
            run = self._runs.begin(job, "requested", session, self._scan, why="it was asked for")
        except TROUBLES:
            slot.close()
            raise
        self._requests.promise(slot.path, self.state.requests[job].memory_bytes, 0)
        try:
            self._runs.spawn(run, order.invocation, order.umask, slot, WALL_S)
        except OSError as error:
            print(f"{wall_s():.3f} cannot start a requested job: {error}", file=sys.stderr, flush=True)
            self._request_ended(run)
            return
        self._listen_to(run)

    def _request_ended(self, run: Run) -> None:
        """What a requested job did to the machine no scan can show: everything that was known before it ended is over."""
        if run.kind == "requested":
            self._new_epoch("a job that was asked for ended", run.session)
            self._poke()

    # --- configuration -------------------------------------------------------------------------------------------------------

    def _load_rules(self) -> None:
        """Read the grant and the rules it was given for; whatever is wrong with them switches everything off and says why."""
        try:
            project = trust.load(self.paths.base, self.paths.key)
            if project is None:
                self._leaving = "its grant is gone"
                return
            self.project = project
            text = trust.verify(project)
            self._rules = rules.parse(text.decode() if text is not None else "")
            self._journal.fsync = self._runs.fsync = self._rules.fsync
            self._tender.keep_bytes, self._tender.keep_s = self._rules.keep_mb << 20, self._rules.keep_days * 86_400.0
            self._void = self._unfit
        except (StrettoError, UnicodeDecodeError) as error:
            self._void = str(error)


def _shown_to(message: rpc.Message) -> SessionId | None:
    """Return the session whose user would see what this hook's answer says; None where nothing is shown."""
    event = message["event"].decode()
    if event not in TOLD_AT:
        return None
    try:
        return hookwire.parse(event, message["input"]).session
    except ValueError:
        return None  # the host said nothing we can read; nothing is wrong with us


def _unfit(folder: str) -> str:
    """Say why nothing may rely on files in our state directory, "" when it may or when a full disk keeps us from trying."""
    try:
        reason = disk.unfit(folder)
    except OSError:
        return ""
    return reason and f"state cannot be kept in {folder}: {reason}; set STRETTO_STATE_DIR to a local disk, then run `stretto init` again"


def _search_path(invocation: Invocation) -> bytes:
    return next((entry[5:] for entry in invocation.env if entry.startswith(b"PATH=")), b"")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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


def _was_there(claude: Process, session: Session) -> bool:
    """Say whether the process that has a session's pid now is the one that had it when the session began. No wall clock is asked (C-19)."""
    if session.boot != claude.boot:
        return False
    if LINUX:
        return int(claude.start) / os.sysconf("SC_CLK_TCK") <= session.opened_mono + START_SLACK_S
    try:
        return psutil.Process(claude.pid).create_time() <= session.opened_at + CLOCK_SLACK_S
    except psutil.Error:
        return False


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
