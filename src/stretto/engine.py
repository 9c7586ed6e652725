"""What is done about checks and jobs, and what is known of them: the supervisor without its sockets.

    heard (hooks, shims, monitors, the watcher, the clock) -> append -> fold -> plan -> perform

Everything that decides alone is elsewhere (`gates`, `ahead`, `schedule`, `freshness`, `commands`); all that is remembered is in the log;
everything outside is behind `world.World`, so the same code runs on a machine and in `testing.simulation`. Promises:
- nothing is begun, answered or told that is not in the log; nothing is begun before what an earlier supervisor left is taken over;
- an epoch that could not be written is owed: until it is in the log nothing is joined, told or run ahead;
- whoever calls gets every trouble raised as one of `TROUBLES`, and the engine is as good as before.

It is one idea in one file: the state of the work and all that moves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple, assert_never

from stretto import __version__, ahead, commands, freshness, gates, habits, hookwire, meter, patterns, retries, rpc, rules, schedule
from stretto.audit import Auditor
from stretto.background import Background, Processes
from stretto.errors import CorruptError, StrettoError, UserError
from stretto.findings import Findings
from stretto.fold import MAKES_WAY, Job, Session, apply, objection
from stretto.gatekeeper import Gatekeeper, Ground
from stretto.journal import parse
from stretto.model import (
    ENCODER,
    FORMAT_VERSION,
    AheadTold,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    Bad,
    CheckMissed,
    End,
    EpochBegan,
    FileClass,
    InvariantBroken,
    Invocation,
    JobKey,
    JobRetried,
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
    Verdict,
    lies_in,
)
from stretto.outputs import Outputs
from stretto.requests import WALL_S, Requests
from stretto.revival import Revival
from stretto.runs import Run, Runs
from stretto.sessions import CALL_LIFE_S, UNKNOWN_EFFECTS, Approvals, Conversation, OpenCall, blocker
from stretto.system import Process
from stretto.tree import Scan
from stretto.world import Allowed, World

IDLE_LOOK_S, BUSY_LOOK_S = 2.0, 0.5
"""How often sessions and orphans are looked at."""
EDITS_KEPT_S = 0.1
"""An edit that ended is remembered for this long while nothing runs."""
LINGER_S = 20.0
"""A supervisor without sessions waits this long for the next one: `/clear` and a restart of `claude` come in between."""
SESSION_END_GRACE_S = 4.0
"""Ahead runs that nobody reads are ended this long after the last session; two looks and the worker's 2 s of grace make at most 10 s."""
SESSIONS_MOST = 64
"""Sessions of one project that are served at the same time; a loop that starts more is not helped along."""
DISTURBED_S = 60.0
"""For as long after a development server has written, what may read its files does not run ahead."""
BYTE_CODE_S = 2.5
"""For so long after an ahead run has ended, byte code that it made may still be of the second in which a source is written."""
PYCACHE_PREFIX = b"PYTHONPYCACHEPREFIX="
JUST_S, ACT_S = 1.0, 5.0
"""What shows so soon after a session acted is its own although there was a look between (a formatter's hook); what it did longer ago than
the second explains nothing."""
SAMPLE_S = 0.25
QUICK_S = 1.0
"""A foreground command that usually ends sooner takes no ahead run's place: stopping one would cost more than it disturbs."""
JOB_GRACE_S = 3.0
"""Requested jobs of a session that ended are ended this long after that was seen: two looks and the worker's own grace come on top."""
OTHER_TOOL = "the tool that runs it was exchanged meanwhile"
TROUBLES = (StrettoError, OSError, ValueError, KeyError, ArithmeticError, RecursionError, MemoryError)
"""What a full disk, a damaged file or a message of somebody else can make happen; everything else is a bug."""
NOT_TAKEN_IN = (ValueError, KeyError, ArithmeticError, RecursionError, MemoryError)
"""Those of them that the content of a message makes happen."""
LOG_CUT = "the log was cut or made anew"
HOOKS_LOST = (
    "Stretto's hooks are gone from Claude Code's settings (stashed, cleaned or switched off?): nothing was joined for commands that ran"
    " meanwhile; `stretto init` brings them back"
)
TEMPORARY = ("/tmp", "/var/tmp", os.environ.get("TMPDIR") or "/tmp")
"""Folders for temporary files."""
NO_OUTPUTS = Outputs()
BAD_LINE = "a line of the log cannot be used; what it said is not known"


def is_claude(session: Session, found: Process) -> bool:
    """Say whether the process that has a session's pid now is the one that opened it. No wall clock is asked (C-19)."""
    if not session.claude_start:  # opened under a version whose log did not name it
        return found.boot == session.boot
    return found == Process(session.claude_pid, session.claude_start, session.boot)


def _passed_by(code: str, reason: str) -> Verdict:
    return Verdict(standing=Standing.UNKNOWN, reason=reason, code=code)


def _names_of(invocation: Invocation) -> set[str]:
    """Return the names by which a Bash text may call a check."""
    return {invocation.name, commands.python_module(invocation.argv)} - {""}


def _named(claude: Process | None) -> dict[str, Any]:
    return {"claude_pid": claude.pid, "claude_start": claude.start} if claude is not None else {"claude_pid": 0}


class Call:
    """One call of a check, from its question to its end."""

    def __init__(self) -> None:
        self.ask = ""
        """The id of the question, "" before it was put."""
        self.pid = 0
        """The process that asks, 0 where the system cannot tell."""
        self.session: SessionId | None = None
        self.run: Run | None = None
        """The foreground run that is recorded."""
        self.waits_for: Run | None = None


class Heard(NamedTuple):
    """What comes of a hook."""

    told: str = ""
    """What the session is told."""
    notice: str = ""
    """What its user is told."""
    denied: bool = False
    """What it is about to do is not done, for the reason in `told`."""
    goes_on: bool = False
    """Its turn does not end, for the reason in `told`."""
    held: gates.Question | None = None
    """The answer is kept back: `weigh` this question again."""


NOTHING = Heard()


def _is_same_for_git(invocation: Invocation, run: Run) -> bool:
    """Say whether a call that git makes sees what the call of a run saw; an index beside the repository's own is looked at by no scan."""
    indexes = [entry for entry in invocation.of_git if entry.startswith(b"GIT_INDEX_FILE=")]
    return invocation.of_git == run.of_git and all(os.path.basename(entry) == b"index" for entry in indexes)


class Answer(NamedTuple):
    do: str
    """exec, record, replay or attach."""
    reason: str
    run: Run | None = None


class Engine:
    """The work of one project, until there is no more reason to do it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.state, self._offset = world.load()
        self._by = f"supervisor:{world.me().pid}"
        self.runs = Runs(world, self.log, self._catch_up, self.state)
        self.runs.edited = self._edited
        self._habits = habits.Habits()
        self._learned = 0
        """So many beats of the log's story are in the habits."""
        self._retries = retries.Budget()
        self._refused: dict[JobKey, tuple[int, int]] = {}
        """Commands whose ahead run the user cancelled, and the generation and epoch that goes for."""
        self.makes_way = ""
        """The version of a hook that is not ours: we leave when no session waits for us any more."""
        self.by_path: frozenset[str] = frozenset()
        """Paths by which tools of the project are met; set by whoever can look for them."""
        self.announced = False
        self._owed_epoch = ""
        """Why an epoch began that the log does not have yet, "" when it has them all."""
        self.trouble = ""
        """Why nothing can be done at this moment (a full disk), "" when the last record was written."""
        self._met_last = ""
        self.untold: set[SessionId] = set()
        """Sessions that were open when a line of the log could not be used, and were not told yet."""
        self._requests = Requests(world, self.log, self.state)
        self._auditor = Auditor(world, self.log, self.state)
        self._gatekeeper = Gatekeeper(world, self.log, self.state, self.runs)
        self._head_log = world.head_log()
        self._passed: dict[SessionId, str] = {}
        """What users are still to be told of commits that passed by a gate."""
        self._urgent: set[JobKey] = set()
        """Checks that a gate would wait for, if they ran."""
        self.wake: Callable[[SessionId, str], None] = lambda session, text: None
        """Wakes an idle session; set by whoever can."""
        self._revival = Revival(world, self.state)
        self._invocations: dict[JobKey, Invocation] = {}
        self._checks: dict[JobKey, commands.Check] = {}
        self._unexplained = False
        """Since the last look at the tree something ran whose effects are not known."""
        self._moves = 0
        """How often something moved; unlike the scanner's generations these stand still beside a development server."""
        self._busy_s = -DISTURBED_S
        """When a development server was last seen to write."""
        self._ahead_s = -BYTE_CODE_S
        """When an ahead run was last under way."""
        self._elsewhere: set[JobKey] = set()
        """Suites that import from another checkout, as they were last asked for."""
        self._overtaken: set[str] = set()
        """Sources that moved while something ran ahead that may have read them before, and may still write their byte code."""
        self._approvals = Approvals(world.settings, world.salt)
        self.conversations: dict[SessionId, Conversation] = {}
        self._background = Background()
        self._looked_ticks = 0
        """When was last looked for shells, as processes are dated."""
        self._unopened: dict[SessionId, tuple[str, Process | None]] = {}
        """Sessions whose opening is not in the log yet, with its source and the host's process."""
        self._not_followed_s: float | None = None
        """When a session beyond the cap was last heard of, on the clock of calls."""
        self.standing = world.standing() or Allowed(mode="off", rules=rules.Rules())
        self._places: dict[JobKey, tuple[bytes, ...]] = {}
        """What a command was given by absolute paths, as far as it was there when its last foreground run ended."""
        self._fixes: dict[JobKey, tuple[int, str]] = {}
        """Where a command is configured to rewrite sources, and how often something had moved when that was looked up."""
        self._looked_s = world.mono_s()
        self._acted_s = float("-inf")
        """When a session last did something that may have moved the tree."""
        self._head = world.head_log()[-1:]
        """How HEAD last moved: as it was last seen, or as the last call that may have moved it left it."""
        self._stranger: Literal["", "files", "branch"] = ""
        """What moved last without any session: nothing runs ahead for that until one acts again."""
        self._moved_s = 0.0
        self._poked_s = 0.0
        self.dirty = True
        self._last_session_s = world.mono_s()
        self._last_sample_s = 0.0
        self._last_look_s = 0.0
        self.leaving = ""
        self._unclean = False
        """The supervisor before us did not say that it stopped."""
        self._scan = Scan(generation=0, moved=(), took_ms=0.0, problem="")

    # --- life ----------------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look at the project for the first time and take over what an earlier supervisor left; what fails is tried again later."""
        self._catch_up()
        self.reload()
        self._scan = self._world.tree.scan()
        self._unclean = self.state.supervisor is not None
        self.guarded(self._announce)

    @property
    def busy(self) -> bool:
        """Whether something is due soon."""
        return bool(self.runs.open or self._poked_s or self._revival.pending)

    def end(self) -> None:
        """We leave, as `leaving` says or because of an error: nothing goes on that nobody waits for."""
        self.guarded(self._end_requests)
        for run in list(self.runs.open.values()):
            if run.kind == "ahead":
                self.runs.cancel(run, "the supervisor leaves")

    def say_goodbye(self) -> None:
        self.log(SupervisorStopped, reason=self.leaving or "an error")

    def _announce(self) -> None:
        """Say that we are here and take over what an earlier one left. Until that is in the log nothing is begun."""
        me = self._world.me()
        self.log(SupervisorStarted, pid=me.pid, start=me.start, version=__version__, mode=self.standing.mode)
        if self._unclean:
            self._new_epoch("an earlier supervisor died; what happened without it was not seen", None)
        self.runs.adopt(self._scan)
        for session in list(self.state.sessions.values()):
            if session.closed:
                continue
            claude = self._world.identify(session.claude_pid)
            if claude is not None and is_claude(session, claude):
                self.conversations[session.session] = self._conversation_with(claude, unseen=True)
                self._world.shells(session.session)
            else:
                self.log(SessionClosed, session=session.session, reason="its process ended while no supervisor lived")
        left = self._world.survivors(tuple(self.state.sessions), None, 0, (), orphans=True)
        self._background.follow(left or {}, session="", announced=False, harmless=False)
        self.announced = True

    def guarded(self, act: Callable[..., object], *arguments: Any) -> None:
        """Do one thing; what goes wrong ends that and nothing else. A session never waits for us to get better."""
        try:
            act(*arguments)
        except TROUBLES as error:
            self.met(error)

    def met(self, error: Exception) -> None:
        """Say once what went wrong, and leave when that is because nothing is left to serve."""
        if repr(error) != self._met_last:
            self._met_last = repr(error)
            self._world.complain(repr(error))
        self.leaving = self.leaving or self._world.gone()

    def tick(self) -> None:
        """Do what is due.

        Raises:
            one of TROUBLES: the rest is done at the next call.
        """
        now_s = self._world.mono_s()
        if now_s >= self.standing.until_mono_s:
            self.reload()
        self.guarded(self.pay_epoch)
        self.guarded(self._log_openings)
        if self._poked_s and now_s - self._poked_s >= self.standing.rules.quiet_s:
            self._poked_s = 0.0
            self.look()
            self.dirty = True
        if now_s - self._last_sample_s >= SAMPLE_S:
            self._last_sample_s = now_s
            self._sample()
        if not self.announced:
            self._announce()
        if now_s - self._last_look_s >= (BUSY_LOOK_S if self.runs.open else IDLE_LOOK_S):
            self._last_look_s = now_s
            self._check_sessions(now_s)
            self.guarded(self._look_beside)
            self._tend_log()
            self.runs.prune()
            self.guarded(self.tend_blocks)
            self.dirty = True
        if self._revival.pending:
            self.guarded(self._revive)
        if self.makes_way and not any(run.readers or (run.kind == "foreground" and not run.adopted) for run in self.runs.open.values()):
            self.leaving = f"{MAKES_WAY}: {self.makes_way}, this is {__version__}"
            return
        if self.dirty:
            self.dirty = False
            self._plan()

    def _check_sessions(self, now_s: float) -> None:
        if gone := self._world.gone():
            self.leaving = gone
            return
        for session, conversation in list(self.conversations.items()):
            if conversation.claude is not None and not self._world.lives(conversation.claude):
                self.close_session(session, "its process ended")
        for job in list(self._requests.orphans(JOB_GRACE_S, self.conversations)):
            self.cancel_request(job, "its session is over")
        if self.conversations:
            self._last_session_s = now_s
            return
        alone_s = now_s - self._last_session_s
        if alone_s > SESSION_END_GRACE_S:
            for run in self.runs.open.values():
                if run.kind == "ahead" and not run.readers and not run.cancelled_for:
                    self.runs.cancel(run, "the session is over")
        if alone_s > LINGER_S and not self.runs.open and not self._requests.open():
            self.leaving = "no session is open and nothing runs"

    def _sample(self) -> None:
        for run in list(self.runs.open.values()):
            if run.over:
                self._ends(run, run.over)
            elif run.adopted and self.runs.gone(run):
                self._ends(run, "the supervisor was not there when it began")
            elif run.kind == "foreground" and run.child_pid:
                self._look_at(run, run.child_pid)
                self._look_around(run)
            elif run.kind == "ahead" and run.process:
                self._look_at(run, run.process.pid)

    def _look_at(self, run: Run, pid: int) -> None:
        """Note what a run is connected to; once something was seen, a further look could tell nothing new of it."""
        if not (run.remote or run.reached):
            run.remote, run.reached, run.ports = self._world.reach(pid, run.ports)
            run.looks += 1

    def _look_around(self, run: Run) -> None:
        """Note what its own Bash call has started beside a foreground run."""
        conversation = self.conversations.get(run.session) if run.session is not None else None
        if run.mixed and run.shim_pid and not run.beside and conversation is not None and conversation.claude is not None:
            run.beside = self._world.beside(run.shim_pid, conversation.claude)

    def reload(self) -> None:
        """Read the grant and the rules it was given for; whatever is wrong with them switches everything off and says why."""
        standing = self._world.standing()
        if standing is None:
            self.leaving = "its grant is gone"
            return
        self.standing = standing
        if standing.mode != "audit":
            self._auditor.drop()
        self.dirty = True

    # --- the log -------------------------------------------------------------------------------------------------------------

    def log(self, kind: type[Any], /, **fields: Any) -> None:
        """Append one event and fold it, together with what others appended meanwhile.

        Raises:
            OSError: nothing was written; the caller must not act as if it had been.
            CorruptError: the log was cut or made anew by somebody else; what we know is not what it says, so we leave.
        """
        if self.leaving == LOG_CUT:
            raise CorruptError(f"{LOG_CUT}: what is known here belongs to the one before")
        event = kind(
            v=FORMAT_VERSION, ts=self._world.wall_s(), mono=self._world.mono_s(), boot=self._world.boot_id(), by=self._by, **fields
        )
        try:
            lasting = kind is AttemptExited or (kind is AttemptSettled and self._judged(event))
            offset = self._world.append(ENCODER.encode(event), lasting=lasting)
            if offset < self._offset:
                self.leaving = LOG_CUT
                raise CorruptError(f"cannot go on with the log: {LOG_CUT}; the next hook starts a new supervisor")
        except (OSError, StrettoError) as error:
            self.trouble = str(error)
            raise
        self.trouble = ""
        self._catch_up()

    def _judged(self, event: AttemptSettled) -> bool:
        """Say whether anything can be answered from a settled run: a job that was asked for is joined by nobody."""
        attempt = self.state.attempts.get(event.attempt)
        return attempt is None or attempt.kind != "requested"

    def _catch_up(self) -> None:
        for begin, after, line in self._world.lines(self._offset):
            self._offset = after
            event = parse(line)
            apply(self.state, event, begin)
            if isinstance(event, Bad):
                self._owed_epoch = BAD_LINE
                self.untold |= self.conversations.keys()

    def _tend_log(self) -> None:
        try:
            self._world.tend(self.state, self._offset)
        except (OSError, StrettoError) as error:
            self._world.complain(f"cannot tend the log: {error!r}")

    def _new_epoch(self, reason: str, session: SessionId | None) -> None:
        """End all earlier results. One that cannot be written is owed: until it is in the log nothing is joined, told or run ahead.

        Raises:
            OSError: it could not be written.
        """
        if session is not None:
            self._acts()
        self._owed_epoch = reason
        epoch = self.state.epoch + 1
        self.log(EpochBegan, epoch=epoch, reason=reason, session=session)
        if self.state.epoch == epoch:  # else its own line was damaged
            self._owed_epoch = ""
        self.dirty = True

    def pay_epoch(self) -> None:
        """Write the epoch that is owed, if any.

        Raises:
            OSError: there is still no room for it.
        """
        if self._owed_epoch:
            self._new_epoch(self._owed_epoch, None)

    # --- sessions ------------------------------------------------------------------------------------------------------------

    def heard(self, call: hookwire.HookCall, claude_pid: int) -> Heard:
        """Take in what the host says of a session; return what comes of it for that session."""
        if call.session not in self.conversations and len(self.conversations) >= SESSIONS_MOST:
            self._not_followed(call)
            return NOTHING
        claude = self._world.identify(claude_pid)
        if isinstance(call, hookwire.SessionEnded):
            if call.session in self.conversations:
                self.close_session(call.session, call.reason)
            return NOTHING
        if isinstance(call, hookwire.Unreadable) and not call.session:
            self._not_followed_s = self._world.awake_s()
            self._new_epoch(f"what the host said at {call.event} cannot be read: {call.why}", None)
            return NOTHING
        conversation = self._conversation(call, claude)
        self.guarded(self._log_openings)
        if call.mode:
            conversation.mode = call.mode
        conversation.idle = False
        try:
            return self._heard_of(conversation, call)
        except NOT_TAKEN_IN:
            conversation.unread = True  # whatever it was about may do anything
            self._new_epoch("what the host said could not be taken in", call.session)
            raise

    def _heard_of(self, conversation: Conversation, call: hookwire.HookCall) -> Heard:
        match call:
            case hookwire.Unreadable():
                conversation.unread = True
                self._new_epoch(f"what the host said at {call.event} cannot be read: {call.why}", call.session)
            case hookwire.ToolAsked():
                self._asked(conversation, call, "other")
            case hookwire.BashAsked():
                way_out = commands.is_way_out(call.command)
                self._bash_asked(conversation, call)  # first: should its denial not reach the host, it runs
                return self._ask_gate(gates.Question(place="tool", session=call.session, agent=call.agent, way_out=way_out))
            case hookwire.WriteAsked():
                self._acts()
                conversation.write_asked(call.call, self._world.real(call.path))
                return self._ask_gate(gates.Question(place="edit", session=call.session, agent=call.agent))
            case hookwire.PermissionQuestion():
                conversation.question(call.command)
            case hookwire.PromptSubmitted():
                self._turn_over(conversation, call)
                if not (call.agent or call.machine):
                    self._gatekeeper.prompted(call.session)
            case hookwire.TurnEnded():
                self._turn_over(conversation, call)
                self._note_commits(call.session)
                return self.weigh(gates.Question(place="stop", session=call.session, agent=call.agent, continues=call.continues))
            case hookwire.TaskDone():
                return self.weigh(gates.Question(place="stop", session=call.session, agent=call.agent, task=True))
            case hookwire.BatchEnded():
                if not call.agent:
                    self._read_again(conversation, call.session)
                self._batch_ended(conversation, call)
                words = "" if call.agent else self._gatekeeper.words(call.session)
                self._note_commits(call.session)
                aloud = self._tell_aloud(conversation)
                told = "\n".join(filter(None, [words, aloud, self._tell_news(conversation, call), self._tell_ahead(conversation, call)]))
                return Heard(told=told, notice=aloud) if told else Heard(notice=self._passed.pop(call.session, ""))
        return NOTHING

    def _note_commits(self, session: SessionId) -> None:
        """Take note of commits that were made past a gate which was to be asked; the user of the session is told once."""
        moves = self._world.head_log()
        known, self._head_log = self._head_log, moves
        new = moves[moves.index(known[-1]) + 1 :] if known and known[-1] in moves else ()
        made = sum(move.partition("\t")[2].startswith("commit") for move in new)
        if self.standing.acts and not self.standing.void and (said := self._gatekeeper.commits_made(session, made, self.standing.rules)):
            self._passed[session] = said

    def _read_again(self, conversation: Conversation, session: SessionId) -> None:
        """The host said something that can be read, and that what it said before is over."""
        if conversation.unread:
            self._new_epoch("what could not be read before is over", session)
            conversation.unread = False

    def _turn_over(self, conversation: Conversation, call: hookwire.HookCall) -> None:
        if not call.agent:
            self._read_again(conversation, call.session)
        if not call.agent and conversation.may_hide_calls:
            self._new_epoch("what a session ran before this supervisor came was broken off", call.session)
            conversation.unseen_over()
        self._calls_ended(conversation, conversation.turn_ended(call.agent), call.session)

    # --- gates ---------------------------------------------------------------------------------------------------------------

    def weigh(self, question: gates.Question) -> Heard:
        """Answer a gate's question about the end of a turn, a commit or a push, on the tree as it is now.

        Raises:
            one of TROUBLES: the answer is to go on.
        """
        self._catch_up()
        self.guarded(self.pay_epoch)
        trouble = f"the log has no room to say that earlier results ended: {self._owed_epoch}" if self._owed_epoch else ""
        if not trouble:
            self.look()
            trouble = self._scan.problem
        if question.session is not None:
            self._note_writes_of_commands(question.session, question.agent)
        if question.place == "stop" and not (trouble or question.waited_s):
            self._hurry(question)
        heard = self._ask_gate(question, trouble)
        if heard.held is None:
            self._urgent.clear()
            conversation = self.conversations.get(question.session) if question.session is not None else None
            if conversation is not None and question.place == "stop" and not (question.agent or question.task or heard.goes_on):
                conversation.idle = True
                self.guarded(self._wake)  # a block of which it was told already wakes nobody, one that came meanwhile does
        return heard

    def explain(self, question: gates.Question) -> dict[str, object]:
        """Say what a gate would answer at this moment, and why; nothing is logged, started or kept back."""
        self._catch_up()
        self.guarded(self.look)
        return self._gatekeeper.explain(question, self._ground(question, self._scan.problem))

    def _ground(self, question: gates.Question, trouble: str) -> Ground:
        return Ground(
            standing=self.standing,
            trouble=trouble,
            beside=self._beside(question),
            problem=self._scan.problem,
            invocations=self._invocations,
            filtered={job for job, check in self._checks.items() if check.filtered} | self._elsewhere,
            generation=self._scan.generation,
            since_epoch=self._before_git(question),
        )

    def _before_git(self, question: gates.Question) -> int | None:
        """Return the epoch before the call that a commit or a push is in, when that does nothing that a scan would not see."""
        if question.place not in ("commit", "push") or question.session not in self.conversations:
            return None
        return self.conversations[question.session].epoch_before_git(self.state.epoch)

    def _beside(self, question: gates.Question) -> str:
        """Say beside what a gate is asked. A commit is itself a call of unknown effects: its session does nothing else meanwhile."""
        if question.place == "stop":
            return self._blocker()
        if question.place in ("commit", "push"):
            return blocker(each for session, each in self.conversations.items() if session != question.session)
        return ""

    def _ask_gate(self, question: gates.Question, trouble: str = "") -> Heard:
        decision = self._gatekeeper.ask(question, self._ground(question, trouble))
        match decision.do:
            case "hold":
                return Heard(held=question)
            case "allow":
                passed = self._passed.pop(question.session, "") if question.session is not None and not decision.notice else ""
                return Heard(told=decision.text, notice=decision.notice or passed)
            case "continue":
                return Heard(told=decision.text, goes_on=True)
            case "deny":
                return Heard(told=decision.text, denied=True)
            case _:
                assert_never(decision.do)

    def _note_writes_of_commands(self, session: SessionId, agent: str) -> None:
        """Say that an agent wrote a source when one changed since the first of its commands whose effects are not known."""
        conversation = self.conversations.get(session)
        since = conversation.unsure.pop(agent, None) if conversation is not None else None
        if since is None:
            return
        changes = self._world.tree.classify(self._world.tree.changes(since, self._scan.generation))
        if path := next((change.path for change in changes if change.of is FileClass.SOURCE), ""):
            self._gatekeeper.wrote(session, agent, path)

    def _hurry(self, question: gates.Question) -> None:
        """Start the quick checks that a gate would wait for: nobody edits any more, so there is no rest of the tree to wait for."""
        turn = self.state.steering.turns.get(question.session) if question.session is not None else None
        if turn is None or question.agent not in turn.wrote or self._held() or self._stranger == "branch":
            return
        self._stranger = ""  # it is at the end of work of its own, on the files as they are
        for key, check in self._checks.items():
            job = self.state.jobs[key]
            text = commands.pattern_text(self._invocations[key].argv)
            gated = "stop" in rules.gate_places(self.standing.rules, text) and not check.filtered
            quick = bool(job.durations_s) and job.median_s < gates.HOLD_S
            if gated and quick and self.runs.wants_run(job) and not self._ineligible(job, gated=True):
                self._urgent.add(key)
        if self._urgent:
            self._poked_s = 0.0
            self._plan()

    def tend_blocks(self) -> None:
        """Write down which blocks are over, and wake the idle sessions that one concerns.

        Raises:
            OSError: there is no room; the next call tries again.
        """
        self._catch_up()
        if not self.state.steering.blocks:
            return
        about = self._gatekeeper.blocks_of()
        passed = {job for job in about if (result := self.runs.results.get(job)) is not None and result.outcome == "pass"}
        if passed:
            self.look()
            passed = {
                job for job in passed if self.runs.still_true(self.runs.results[job], self.standing.rules.max_age_s, self._scan.problem)
            }
        self._gatekeeper.tend(passed)
        self._wake()

    def _wake(self) -> None:
        if not self.standing.acts or self.standing.void:
            return
        for session, conversation in self.conversations.items():
            if conversation.idle and conversation.watched and (text := self._gatekeeper.wakes(session)):
                conversation.idle = False
                self.wake(session, text)

    def _conversation(self, call: hookwire.HookCall, claude: Process | None) -> Conversation:
        conversation = self.conversations.get(call.session)
        if conversation is None:
            started = isinstance(call, hookwire.SessionStarted)
            source = call.source if isinstance(call, hookwire.SessionStarted) else "seen"
            conversation = self._conversation_with(claude, unseen=not started)
            self.conversations[call.session] = conversation
            self._world.shells(call.session)  # of what began before we follow it only what lives can still do anything
            known = self._background.pids()
            self._follow(conversation, call.session, 0, (), announced=False, harmless=False, orphans=True)
            if self._background.pids() - known:
                self._end_results("something of the session was running before it was followed", call.session)
            self._unopened[call.session] = (source, claude)
        return conversation

    def _log_openings(self) -> None:
        """Say which sessions opened. One that the disk has no room for is followed all the same, or what it runs would be forgotten.

        Raises:
            OSError: there is no room; the next call tries again.
        """
        for session, (source, claude) in list(self._unopened.items()):
            self.log(SessionOpened, session=session, source=source, **_named(claude))
            del self._unopened[session]

    def _not_followed(self, call: hookwire.HookCall) -> None:
        """Nothing is known of a session beyond the cap, so what it may be running stands beside everything for as long as a call lives."""
        if isinstance(call, hookwire.BashAsked | hookwire.ToolAsked | hookwire.BatchEnded | hookwire.Unreadable):
            self._not_followed_s = self._world.awake_s()
            self._new_epoch(f"more than {SESSIONS_MOST} sessions are open, and one that is not followed ran something", call.session)

    def _conversation_with(self, claude: Process | None, *, unseen: bool) -> Conversation:
        arguments = self._world.arguments(claude) if claude is not None else None
        return Conversation(claude, self._world.mono_s, self._world.awake_s, unseen=unseen, arguments=arguments)

    def close_session(self, session: SessionId, reason: str) -> None:
        self.guarded(self._look_beside)  # what its shells wrote of themselves goes with it
        if session in self._unopened:
            del self._unopened[session]  # the log never heard of it
        else:
            self.log(SessionClosed, session=session, reason=reason)
        conversation = self.conversations.pop(session)
        if calls := conversation.close():
            self._follow_what_is_left(conversation, calls, session, unknown=True)
        if calls or conversation.may_hide_calls or conversation.unread:
            self._new_epoch("a session ended in the middle of a command whose effects are not known", session)
        self._world.forget(session)
        self._last_session_s = self._world.mono_s()
        self.dirty = True

    def names(self) -> tuple[str, ...]:
        """Return the names that are intercepted."""
        return tuple(sorted((set(commands.NAMES) | set(self.standing.rules.add)) - set(self.standing.rules.remove)))

    def _met(self) -> frozenset[str]:
        """Return all that is met, by its name or as it is called by its path."""
        return self.by_path.union(self.names())

    def _bash_asked(self, conversation: Conversation, call: hookwire.BashAsked) -> None:
        effect, writes = self._effect_of(call)
        self._asked(conversation, call, effect, writes).only_git = commands.only_git(call.command, self._met())

    def _asked(
        self, conversation: Conversation, call: hookwire.BashAsked | hookwire.ToolAsked, effect: str, writes: Sequence[str] = ()
    ) -> OpenCall:
        if effect != "reads":
            self._acts()
        self.guarded(self._look_beside)  # a shell that has begun already is not this call's
        open_call = conversation.asked(call, effect, self._met(), self._world.ticks(), writes)
        open_call.epoch = self.state.epoch
        if writes:
            conversation.unsure.setdefault(call.agent, self._scan.generation)
        if open_call.is_unknown:
            self._unexplained = True
            conversation.unsure.setdefault(call.agent, self._scan.generation)
            what = "a package manager" if effect == "package" else "a command whose effects are not known"
            self._new_epoch(f"{what} ran: {gates.clean(open_call.text)[:80]}", call.session)
        return open_call

    def _acts(self) -> None:
        """A session does something that may move the tree: what moves now is its own, and what moved before it works on."""
        self._acted_s, self._stranger = self._world.mono_s(), ""
        self.dirty = True

    def _calls_ended(self, conversation: Conversation, calls: list[OpenCall], session: SessionId) -> None:
        """Calls are over, to the host; what they left running is followed from now on."""
        if any(call.effect != "reads" for call in calls):
            self._acts()
        if any(call.is_unknown for call in calls):
            self._head = self._world.head_log()[-1:]
        for unknown in (True, False):
            kind = [call for call in calls if call.is_unknown is unknown]
            if kind:
                self._follow_what_is_left(conversation, kind, session, unknown=unknown)
        for call in calls:
            if call.is_unknown:
                self._unexplained = True
                self._new_epoch(f"it ended: {gates.clean(call.text)[:80]}", session)
                self.poke()

    def _follow_what_is_left(self, conversation: Conversation, calls: list[OpenCall], session: SessionId, *, unknown: bool) -> None:
        shells = {call.shell for call in calls if call.shell}
        orphans = unknown or any(call.background for call in calls)
        since_ticks, announced = min(call.since_ticks for call in calls), any(not call.tool for call in calls)
        if not self._follow(conversation, session, since_ticks, shells, announced=announced, harmless=not unknown, orphans=orphans):
            for number, call in enumerate(calls):
                if call.is_unknown and (call.background or "&" in call.command.replace("&&", "")):
                    conversation.go_on(f"{call.since_s} {number}", call)

    def _follow(
        self,
        conversation: Conversation,
        session: SessionId,
        since_ticks: int,
        shells: Collection[int],
        *,
        announced: bool,
        harmless: bool,
        orphans: bool,
    ) -> bool:
        """Follow what a session has started since a moment, but for the calls that are open; False where that cannot be seen."""
        found = self._world.survivors((session,), conversation.claude, since_ticks, shells, orphans=orphans)
        if found is None:
            return False
        self._background.follow(self._but_open_calls(found), session=session, announced=announced, harmless=harmless)
        return True

    def _look_beside(self) -> None:
        """Take note of shells that no hook announced, and of what calls left running; what may have happened begins an epoch.

        Raises:
            OSError: that epoch could not be written; it is owed.
        """
        since_ticks, self._looked_ticks = self._looked_ticks, self._world.ticks()
        for session, conversation in self.conversations.items():
            unannounced = set()
            for pid in self._world.shells(session):
                call = conversation.shell_began(pid)
                if call is None:
                    unannounced.add(pid)
                elif not conversation.is_open(call):  # a background call: its shell is slower than the host
                    found = self._world.processes([pid])
                    self._background.follow(found, session=session, announced=True, harmless=not call.is_unknown)
                    if call.is_unknown:
                        self._end_results("a background command of unknown effects began", session)
            if unannounced:
                self._follow(conversation, session, since_ticks, unannounced, announced=False, harmless=False, orphans=True)
                self._end_results("a shell of the session began that no hook announced", session)
        if self._background and self._background.look(self._world.processes, self._orphans, self._shims()):
            self._end_results("something that a command left running was at work", None)

    def _orphans(self, session: str, since_ticks: int, leaders: Collection[int]) -> Processes:
        sessions = (SessionId(session),) if session else tuple(self.state.sessions)
        found = self._world.survivors(sessions, None, since_ticks, leaders, orphans=True) or {}
        return self._but_open_calls(found)

    def _but_open_calls(self, found: Processes) -> Processes:
        open_calls = {pid for conversation in self.conversations.values() for pid in conversation.shells}
        beside = self._world.processes(open_calls) if found and open_calls else {}
        return {pid: seen for pid, seen in found.items() if pid not in beside}

    def _shims(self) -> set[int]:
        return {run.shim_pid for run in self.runs.open.values() if run.shim_pid}

    def _end_results(self, reason: str, session: SessionId | None) -> None:
        """Begin an epoch, if there is anything that one could end."""
        of_now = (result.evidence is not None and result.evidence.epoch_after == self.state.epoch for result in self.runs.results.values())
        if self.runs.open or any(of_now):
            self._new_epoch(reason, session)

    def _effect_of(self, call: hookwire.BashAsked) -> tuple[commands.Effect, list[str]]:
        """Say what a Bash command does, and which files it writes by name, links resolved, as far as that is all that it writes.

        What it writes elsewhere does no harm only when that is what a check prints, and goes into the folder for temporary files, which
        no scan looks at. A reader is one only when no other program of its name comes first.
        """
        deeds = commands.deeds_of(call.command, self._met())
        if deeds.effect in UNKNOWN_EFFECTS:
            return deeds.effect, []
        writes = []
        for written in deeds.written:
            paths = self._paths_of(written, call.cwd)
            if written.folder and paths:
                paths = [path for path in paths if not self._is_folder(path)]
                if not paths:
                    continue  # `mkdir` of what is there changes nothing, wherever that lies
            if not paths or not all(self._seen_by_scan(path) or (written.by_check and self._is_temporary(path)) for path in paths):
                return "other", []
            writes += [self._world.real(path) for path in paths]
        for program in deeds.programs:
            paths = self._paths_of(program, call.cwd)
            if not paths or self._world.changed_at(paths):
                return "other", []
        return deeds.effect, writes

    def _paths_of(self, written: commands.Written, cwd: str) -> list[str]:
        """Return where something that a text names may be; nothing when that is not known."""
        path = written.path.replace("$HOME", os.path.expanduser("~"), 1) if written.path.startswith("$HOME") else written.path
        if os.path.isabs(path):
            return [path]
        folders = [folder.replace("$HOME", os.path.expanduser("~"), 1) for folder in written.folders]
        return [os.path.join(cwd, folder, path) for folder in folders] if cwd else []

    def _is_folder(self, path: str) -> bool:
        return bool(self._world.places([os.fsencode(path) + b"/."]))

    def _is_temporary(self, path: str) -> bool:
        real = self._world.real(path)
        if any(real.startswith(f"{self._world.real(folder)}/") for folder in (self._world.root, os.path.expanduser("~"))):
            return False  # what lies there is somebody's, wherever they have it
        return any(real.startswith(f"{self._world.real(folder)}/") for folder in TEMPORARY)

    def _count_unasked(self, call: OpenCall, session: SessionId) -> None:
        """Say which checks of a Bash call ran past their shims: they are misses, too (F39)."""
        if self.standing.acts and not self.standing.void:
            for name, code in call.unasked():
                self.log(CheckMissed, session=session, name=name, shape=call.shape, code=code)

    def shim_asked(self, session: SessionId | None, invocation: Invocation) -> str:
        """A shim asks; return the shape of the Bash call it stands in, "" when none is known."""
        conversation = self.conversations.get(session) if session else None
        return conversation.shim_asked(_names_of(invocation)) if conversation else ""

    def _batch_ended(self, conversation: Conversation, batch: hookwire.BatchEnded) -> None:
        if not batch.agent:
            conversation.unseen_over()
        self.guarded(self._look_beside)  # whose shells began is known as long as the calls are open
        ended = {call.id: open_call for call in batch.calls if (open_call := conversation.call_ended(call.id)) is not None}
        self._calls_ended(conversation, list(ended.values()), batch.session)
        for call in batch.calls:
            if call.id in ended:
                self._count_unasked(ended[call.id], batch.session)
            elif self._may_do_anything(call):
                text = gates.clean(call.command or f"the tool {call.tool}")[:80]
                self._new_epoch(f"it ended, and its beginning was not seen: {text}", batch.session)
            if call.tool in hookwire.WRITING_TOOLS:
                self._acts()
                path = self._world.real(call.path)
                conversation.write_ended(call.id, path, self._world.changed_at([path]))
                self._drop_byte_code([path])
                self.runs.session_wrote()
                self.poke()
                if self._seen_by_scan(call.path):
                    self._gatekeeper.wrote(batch.session, batch.agent, os.path.relpath(self._world.real(call.path), self._world.root))
                else:
                    self._new_epoch(f"the session wrote outside what is scanned: {gates.clean(call.path)[:80]}", batch.session)
        conversation.forget_edits_before(
            min((run.began_mono_s for run in self.runs.open.values()), default=self._world.mono_s() - EDITS_KEPT_S)
        )

    def _may_do_anything(self, call: hookwire.Call) -> bool:
        if call.tool == "Bash":
            return commands.effect_of(call.command, self._met()) in UNKNOWN_EFFECTS
        return call.tool not in hookwire.WRITING_TOOLS | hookwire.HARMLESS_TOOLS

    def _seen_by_scan(self, path: str) -> bool:
        real = os.fsencode(self._world.real(path))
        return real.startswith(os.fsencode(self._world.root) + b"/") and self._world.tree.covers(real)

    def _edited(self, run: Run) -> dict[str, bool]:
        """Return the paths (below the project) that the sessions' tools wrote during a run; True for those that nobody wrote since."""
        edits = [edit for conversation in self.conversations.values() for edit in conversation.edits_since(run.began_mono_s)]
        found: dict[str, bool] = {}
        for edit in edits:
            path = os.path.relpath(edit.path, self._world.root)
            as_left = edit.ended_s is None or self._world.changed_at([edit.path]) == edit.left_at
            found[path] = found.get(path, False) or as_left
        return found

    def _tell_news(self, conversation: Conversation, batch: hookwire.BatchEnded) -> str:
        if not self.standing.acts or batch.agent:
            return ""
        self.pay_epoch()
        if self._blocker():
            return ""  # as for joins: what stands beside unknown effects is not known to hold
        results = []
        for job, result in self.runs.results.items():
            known = conversation.known.get(job)
            if known is None or known == gates.outcome(result.end) or not result.end.by_itself:
                continue
            if self.state.jobs[job].barred or self.state.jobs[job].hooked:
                continue
            self.look()
            if job not in self._elsewhere and self.runs.still_true(result, self.standing.rules.max_age_s, self._scan.problem):
                assert result.evidence is not None
                said = Findings() if result.end.passed else self._gatekeeper.failures(result.run.attempt)
                results.append(
                    gates.Result(
                        job=job,
                        attempt=result.run.attempt,
                        command=commands.display(self._invocations[job].argv),
                        end=result.end,
                        ended_ago_s=self._world.mono_s() - result.evidence.ended_mono_s,
                        took_s=result.took_s,
                        last_line=self._world.executor.last_line(result.run.attempt),
                        lines=said.lines,
                        more=said.more,
                        flips=self.state.jobs[job].flips,
                    )
                )
        told = gates.news(results, conversation.known, self._world.mono_s() - self._moved_s)
        for item in told:
            self.log(NewsTold, session=batch.session, job=item.job, attempt=item.attempt, was=item.was, now=item.now, text=item.text)
            conversation.known[item.job] = item.now
        return "\n".join(item.text for item in told)

    def _tell_ahead(self, conversation: Conversation, batch: hookwire.BatchEnded) -> str:
        """Tell once of each command that it runs ahead, how to switch that off, and not too often in one session."""
        jobs = [job for job in self._invocations if self.state.jobs[job].ahead_runs and not self.state.jobs[job].told]
        if not jobs or self.standing.mode != "on" or batch.agent or conversation.notices >= gates.NOTICES_MOST:
            return ""
        text = gates.notice([commands.display(self._invocations[job].argv) for job in jobs])
        self.log(AheadTold, session=batch.session, jobs=tuple(jobs), text=text)
        conversation.notices += 1
        return text

    def say_aloud(self, session: SessionId | None, text: str) -> None:
        """Have a session and its user told of something once, when its call is over."""
        if session in self.conversations:
            self.conversations[session].aloud.setdefault(text, False)

    def _tell_aloud(self, conversation: Conversation) -> str:
        new = [text for text, told in conversation.aloud.items() if not told]
        conversation.aloud.update(dict.fromkeys(new, True))
        return "\n".join(f"Stretto: {gates.clean(text)}" for text in new)

    # --- calls of checks -----------------------------------------------------------------------------------------------------

    def ask(
        self,
        call: Call,
        job: JobKey,
        invocation: Invocation,
        check: commands.Check,
        *,
        not_ours: Verdict | None,
        began_s: float,
        above: Collection[int] = (),
        real: commands.Asked | None = None,
        shell: Process | None = None,
        outputs: Outputs = NO_OUTPUTS,
    ) -> Answer:
        """Decide what a session's call of a check does.

        Args:
            call: as yet without a question.
            not_ours: why it just runs, neither joined nor recorded; None when it may be.
            began_s: when the question came, on the world's clock.
            above: the process that asks and its ancestors; () where the system cannot tell.
            real: what asks for a real run, as far as its words and what stands above it tell: it is recorded and nothing is joined.
            shell: the shell of the Bash call that it comes from, None when that is not known.
            outputs: files of the project that get what it prints.
        """
        self._catch_up()
        self.pay_epoch()
        self.look()
        self._drop_byte_code(self._overtaken)
        if job not in self.state.jobs:
            self.log(
                JobSeen,
                job=job,
                name=invocation.name,
                argv=commands.redact(invocation.argv),
                cwd=os.path.relpath(os.fsdecode(invocation.cwd), self._world.root),
                streams=invocation.streams,
                hooked=invocation.hooked,
            )
        call.ask = self._world.new_id()[:16]
        shape = self.shim_asked(call.session, invocation)
        if (strange := self._strange(call, above)) is not None:
            self._follow_stranger(above)  # first: what it does from then on is seen
            self._end_results(f"a check was run here, and {strange.reason}", call.session)
            self._tell_of_lost_hooks(call.session, strange)
            not_ours = not_ours or strange
        (self._elsewhere.add if not_ours is not None and not_ours.code == "other-checkout" else self._elsewhere.discard)(job)
        if not_ours is not None:
            self._decided(call, job, not_ours, "exec", None, began_s, shape=shape)
            return Answer("exec", not_ours.reason)
        verdict, run = self.runs.judge(job, self.standing.rules.max_age_s, self._scan.problem, outputs=outputs.own)
        differs: tuple[str, ...] = ()
        if verdict.code == "never-run":
            verdict, differs = self._never_run(job, invocation, verdict)
        self._invocations[job], self._checks[job] = invocation, check
        (self.runs.sparing.add if self._world.tree.spares(invocation.argv, invocation.cwd) else self.runs.sparing.discard)(job)
        conversation = self.conversations.get(call.session) if call.session else None
        blocked, code = self._blocker(), "beside-unknown"
        if not blocked and (barred := self.state.jobs[job].barred):
            blocked, code = f"it is joined no more since an audit: {barred}", "barred"
        if not blocked and run is not None and invocation.hooked and not _is_same_for_git(invocation, run):
            blocked, code = "git called it, and gave it another index, date or state than before", "git-hook"
        if conversation is not None:
            again = conversation.asked_again(job, _names_of(invocation), shell)  # counted whatever else is said
            real = real or conversation.real_by_text(_names_of(invocation), shell) or again
        if real is not None:  # said before all else: it stays true when the rest is over
            blocked, code = real.reason, real.code
        usable = run is not None and verdict.standing in (Standing.FRESH, Standing.RUNNING) and not blocked
        do = ("attach" if verdict.standing is Standing.RUNNING else "replay") if usable else "record"
        if usable and run is not None and (blocked := objection(self.state, job, do, run.attempt)):
            self.log(InvariantBroken, rule="join", attempt=run.attempt, what=blocked)
            usable, do, code = False, "record", "log-contradicts"
        if blocked:
            verdict = Verdict(standing=verdict.standing, reason=blocked, code=code)
        would = ""
        if usable and not self.standing.acts:
            do, would = "record", do
        allowed = self._approvals.note(self.state.jobs[job], conversation, invocation.argv, named=bool(shape))
        if do == "record":
            joined = call.run = self.runs.begin(job, "foreground", call.session, self._scan)
            joined.shim_pid, joined.of_git = call.pid, invocation.of_git
            joined.outputs, joined.printed = outputs
            joined.mixed = conversation is not None and conversation.mixes
            self._look_around(joined)
        else:
            assert run is not None
            joined = call.waits_for = run
            self.runs.attach(run, call.ask)
            if do == "replay":
                self.runs.results[job].replays += 1
        self._decided(call, job, verdict, do, joined, began_s, shape=shape, would=would, differs=differs, allowed=allowed)
        if call.session is not None and conversation is not None and conversation.questioned:
            self.log(PermissionAsked, job=job, session=call.session)
        if self.standing.acts and not invocation.hooked:
            self._revival.asked(invocation)
        self.dirty = True
        return Answer(do, verdict.reason, joined)

    def _strange(self, call: Call, above: Collection[int]) -> Verdict | None:
        """Say why a call is not known to be one that a session of this project makes, None when it is."""
        conversation = self.conversations.get(call.session) if call.session is not None else None
        if conversation is None and call.session is None:
            hosts = {each.claude.pid: each for each in self.conversations.values() if each.claude is not None}
            conversation = next((hosts[pid] for pid in above if pid in hosts), None)
        if conversation is None:
            return _passed_by("stranger", "its session is not one that is followed here") if call.session is not None or above else None
        claude = conversation.claude
        left = self._background.announced(above)
        if above and claude is not None and claude.pid not in above and not left:
            return _passed_by("untraced", "it does not descend from the process of its session")
        if not (left or conversation.announced(above) or conversation.may_hide_calls):
            return _passed_by("unannounced", "no hook of its session announced the call it is in")
        return None

    def _follow_stranger(self, above: Collection[int]) -> None:
        """What a call that is not known to be a session's stands in goes on, and nobody will say when it is over."""
        asker = next(iter(above), 0)
        seen = self._world.processes([asker]).get(asker) if asker else None
        if seen is not None:
            top = seen.leader if seen.leader in above else asker
            self._background.follow(self._world.processes([top]), session="", announced=False, harmless=False)

    def _tell_of_lost_hooks(self, session: SessionId | None, strange: Verdict) -> None:
        """Have the session's user told once that its hooks are gone, as soon as there is a hook again by which that can be said."""
        conversation = self.conversations.get(session) if session is not None else None
        if conversation is None or strange.code != "unannounced" or conversation.told_of_lost_hooks or self._world.hooked():
            return
        assert session is not None
        conversation.told_of_lost_hooks = True
        self._passed[session] = HOOKS_LOST

    def _never_run(self, job: JobKey, invocation: Invocation, verdict: Verdict) -> tuple[Verdict, tuple[str, ...]]:
        """Say more of a call of which there is no result: what became of its last run, or in what it differs from the nearest call."""
        known = self.state.jobs[job]
        if known.last_attempt is not None:
            ended = known.last_end is not None and known.last_end.by_itself
            return Verdict(standing=verdict.standing, reason=verdict.reason, code="restarted" if ended else "not-ended"), ()
        differs = meter.nearest(invocation, reversed(list(self._invocations.values())))
        words = meter.nearest_words(differs)
        reason = f"{verdict.reason}; {words}" if words else verdict.reason
        return Verdict(standing=verdict.standing, reason=reason, code=meter.code_of(differs)), differs

    def _decided(
        self,
        call: Call,
        job: JobKey,
        verdict: Verdict,
        do: str,
        run: Run | None,
        began_s: float,
        *,
        shape: str,
        would: str = "",
        differs: tuple[str, ...] = (),
        allowed: tuple[str, str] = ("", ""),
    ) -> None:
        """Log what is about to be answered; nothing is answered that is not in the log."""
        join = do in ("replay", "attach")
        self.log(
            JoinDecided,
            ask=call.ask,
            job=job,
            session=call.session,
            standing=verdict.standing.value,
            do=do,
            attempt=run.attempt if run else None,
            of=run.kind if run and join else None,
            reason=verdict.reason,
            would=would,
            decide_ms=round((self._world.mono_s() - began_s) * 1000, 3),
            code="" if join else verdict.code,
            differs=differs,
            shape=shape,
            mode=allowed[0],
            host=allowed[1],
        )
        if join and self.standing.mode == "audit":
            self._auditor.joined(self.state.joins[-1], self._scan.generation)

    def child_started(self, call: Call, pid: int, doubt: str = "") -> None:
        """The recorded command runs.

        Args:
            doubt: why what is said of it cannot be believed, "" when it can.
        """
        assert call.run is not None
        call.run.child_pid, call.run.doubt = pid, doubt
        if process := self._world.identify(pid):
            self.runs.started(call.run, process)

    def foreground_ended(self, call: Call, end: End, *, out_bytes: int, err_bytes: int, cpu_s: float, left: Callable[[], int]) -> None:
        """The recorded command is over.

        Args:
            left: counts what it left running; called once the tree was looked at, when what was only just ending is gone.
        """
        run = call.run
        assert run is not None
        self._look_around(run)
        self.look()
        self._places[run.job] = self._world.places(ahead.given_paths(self._invocations[run.job]))
        self.runs.ended(run, end, out_bytes, err_bytes, cpu_s, left(), self._scan, log_exit=True)
        self._knows(call.session, run, end)
        call.run = None
        self.dirty = True

    def joined(self, call: Call, *, ok: bool, waited_s: float) -> None:
        """A call has read the run it joined to its end (`ok`), or could not."""
        run = call.waits_for
        if run is None:
            return
        self._catch_up()  # its monitor may have logged its end a moment ago
        attempt = self.state.attempts.get(run.attempt)
        # A run that had to share the machine took longer than the session would have waited.
        took_s = min((attempt.took_s if attempt is not None else None) or 0.0, self.state.jobs[run.job].median_s)
        if ok:
            self.log(
                JoinDone, ask=call.ask, attempt=run.attempt, waited_s=round(waited_s, 6), saved_s=round(max(0.0, took_s - waited_s), 6)
            )
            if attempt is not None and attempt.end is not None:
                self._knows(call.session, run, attempt.end)
        run.readers.discard(call.ask)
        call.waits_for = None

    def hung_up(self, call: Call) -> None:
        """Nobody will say any more of a call: what hung on it is over or unknown."""
        if call.waits_for is not None:
            call.waits_for.readers.discard(call.ask)
        if call.run is not None and call.run.attempt in self.runs.open:
            self._ends(call.run, "its shim ended without saying how")
        self.dirty = True

    def _knows(self, session: SessionId | None, run: Run, end: End) -> None:
        """Remember what a session saw of a check; of one that tested nothing it knows nothing any more."""
        if session not in self.conversations or not end.by_itself:
            return
        known = self.conversations[session].known
        text = commands.display(self._invocations[run.job].argv)
        if outcome := gates.outcome(end, self._world.executor.last_line(run.attempt), text):
            known[run.job] = outcome
        else:
            known.pop(run.job, None)

    # --- the tree ------------------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something was written: look once the tree stands still."""
        self._poked_s = self._moved_s = self._world.mono_s()

    def look(self) -> None:
        """Bring the generation up to date; only this decides what a result is worth."""
        looked_s, self._looked_s = self._looked_s, self._world.mono_s()
        before, scan = self._scan, self._world.tree.scan()
        self._scan = scan
        if scan.generation != before.generation and not scan.moved:
            self._busy_s = self._world.mono_s()
        if scan.moved:
            self._whose(scan, looked_s)
            self._moves += 1
            self._moved_s = self._world.mono_s()
            self.dirty = True
            if any(change.path == "stretto.toml" for change in scan.moved):
                self.reload()  # before the log, which may have no room: the next scan does not find it again
            self._drop_byte_code(change.path for change in scan.moved)
            sample = tuple(sorted(change.path for change in scan.moved)[:5])
            foreign = self._moved_by_others([change.path for change in scan.moved])
            self.log(TreeMoved, generation=scan.generation, count=len(scan.moved), sample=sample, foreign=foreign)
        self._unexplained = bool(self._blocker())
        self._look_beside()

    def _drop_byte_code(self, paths: Iterable[str]) -> None:
        """See to it that no byte code which a run ahead made of an earlier text is taken for a source as it is now."""
        now_s, runs = self._world.mono_s(), [run for run in self.runs.open.values() if run.kind == "ahead"]
        if runs:
            self._ahead_s = now_s
        if now_s - self._ahead_s >= BYTE_CODE_S:
            return
        sources = [path for path in paths if path.endswith((".py", ".pyw"))]
        if runs:
            self._overtaken.update(sources)
        prefixes = {
            os.fsdecode(entry[len(PYCACHE_PREFIX) :])
            for invocation in self._invocations.values()
            for entry in invocation.env
            if entry.startswith(PYCACHE_PREFIX)
        }
        if sources:
            self._world.tree.drop_byte_code(sources, int(self._world.wall_s() * 1e9) if runs else 0, prefixes)

    def _moved_by_others(self, paths: list[str]) -> tuple[str, ...]:
        """Return the folders of products in which something was written while nothing was known to run: whose doing is not known then."""
        if self.runs.open or self._unexplained:
            return ()
        folders = {folder for job in self.state.jobs.values() for folder, runs in job.product_folders.items() if runs >= 0}
        return tuple(sorted(folder for folder in folders if any(lies_in(path, folder) and self._is_there(path) for path in paths)))

    def _is_there(self, path: str) -> bool:
        return self._world.changed_at([os.path.join(self._world.root, path)]) > 0

    def _whose(self, scan: Scan, looked_s: float) -> None:
        """Something moved: take note when that was no session's doing. Nothing runs ahead for it until one acts again (decision 0026).

        A session acts by its writing tools, by Bash calls that do more than read, and by what these left running. HEAD is moved by calls of
        unknown effects alone, and only until they end: what a check or a process in the background writes is its own, but no checkout of
        another branch.

        Args:
            looked_s: when the last look at the tree began: what a session did before that had shown by then.
        """
        switched = False
        if any(change.of is FileClass.GIT and not freshness.is_rewriting(change) for change in scan.moved):
            head = self._world.head_log()[-1:]
            switched, self._head = head != self._head, head
        now_s = self._world.mono_s()
        if not switched and self._acted_s >= max(min(looked_s, now_s - JUST_S), now_s - ACT_S):
            return
        if any(conversation.open_of_unknown_effects() if switched else conversation.acts for conversation in self.conversations.values()):
            return
        moved = {change.of for change in self._world.tree.classify(scan.moved) if not freshness.is_rewriting(change)}
        if not moved & {FileClass.SOURCE, FileClass.DEPENDENCY}:
            return
        if switched:
            self._stranger = "branch"
        elif not (self._stranger or self._background.of_sessions):
            self._stranger = "files"

    # --- running ahead -------------------------------------------------------------------------------------------------------

    def _eagerness(self) -> rules.Eagerness:
        return rules.eagerness(self.standing.settings, self.standing.rules, on_battery=self._world.on_battery())

    def _plan(self) -> None:
        own = {run.job for run in self.runs.open.values() if run.kind == "foreground"}
        running = [
            schedule.AheadRun(
                attempt=run.attempt,
                job=run.job,
                moved=self.runs.moved(run),
                read=bool(run.readers),
                held=run.held_since_s is not None,
                held_s=self.runs.held_s(run),
                doubled=run.job in own,
            )
            for run in self.runs.open.values()
            if run.kind == "ahead" and not run.cancelled_for
        ]
        eagerness, held = self._eagerness(), self._held()
        self._requests.write_off()
        for run in self.runs.open.values():
            if not run.cancelled_for and (reason := self._requests.stopping(run.job)):  # cancelled under an earlier supervisor
                self.runs.cancel(run, reason)
        asked = self._requests.asked()
        suites = frozenset(filter(self._is_suite, self._checks))
        foreground = sum(self._needs_machine(run) for run in self.runs.open.values())
        asked_running = sum(run.kind == "requested" for run in self.runs.open.values())
        room = asked and foreground + asked_running < self._world.cores()
        view = schedule.View(
            desired=[] if held or self._stranger else [*self._desired(eagerness.preset), *self._auditor.due(self._forbidden)],
            running=running,
            foreground=foreground,
            slots=self._world.cores(),
            ahead_slots=max(0, eagerness.slots - sum(run.kind == "ahead" and bool(run.cancelled_for) for run in self.runs.open.values())),
            held=held,
            settling=bool(self._poked_s),
            free_bytes=self._world.free_bytes(),
            load_per_core=self._world.load_per_core(),
            used_up=self._world.busy_percent() > self.standing.settings.busy_percent,
            suites=suites,
            together=self.standing.rules.together,
            suite_foreground=any(run.kind == "foreground" and run.job in suites for run in self.runs.open.values()),
            suite_stopping=any(run.cancelled_for and run.job in suites for run in self.runs.open.values()),
            asked=asked,
            asked_running=asked_running,
            broken=self._requests.broken() if asked else {},
            promised_bytes=self._world.promised_bytes() if room else 0,  # it takes a look at each holder's processes
        )
        actions = schedule.plan(view)
        if not any(isinstance(action, schedule.Start) for action in actions):
            self._world.stand_down()
        for action in actions:
            match action:
                case schedule.Stop():
                    self.runs.cancel(self.runs.open[action.attempt], action.why)
                case schedule.Pause():
                    self.runs.hold(self.runs.open[action.attempt])
                case schedule.Resume():
                    self.runs.go_on(self.runs.open[action.attempt])
                case schedule.Start():
                    self._start_ahead(action)
                case schedule.Begin():
                    self._begin_requested(action.job)
                case schedule.Hold():
                    self._requests.hold(action.job, action.why)
                case schedule.Drop():
                    self.cancel_request(action.job, action.why)

    def _needs_machine(self, run: Run) -> bool:
        """Say whether a foreground run is long enough, or too unknown, to leave it alone with the machine."""
        usual_s = self.state.jobs[run.job].median_s
        return run.kind == "foreground" and not run.adopted and not 0 < usual_s < QUICK_S

    def _held(self) -> str:
        if not self.standing.acts or self.standing.void or self._eagerness().slots == 0:
            return "running ahead is switched off"
        return self._blocker()

    def _blocker(self) -> str:
        """Say why nothing may be joined or run ahead at this moment, "" when it may."""
        if self._owed_epoch:
            return f"the log has no room to say that all earlier results ended: {self._owed_epoch}"
        if any(run.kind == "requested" for run in self.runs.open.values()):
            return "it stands beside a job that was asked for, whose effects are not known"
        if self._not_followed_s is not None and self._world.awake_s() - self._not_followed_s < CALL_LIFE_S:
            return "a session beyond those that are followed may be running something"
        if self._background.active:
            return "it stands beside something that a command left running and that is at work"
        return blocker(self.conversations.values())

    def _desired(self, preset: rules.Preset) -> list[JobKey]:
        if not self.conversations or self.makes_way or not self.announced:
            return []
        candidates = []
        under_way = {
            run.job for run in self.runs.open.values() if run.cancelled_for or (run.kind == "foreground" and not self.runs.moved(run))
        }
        running = {run.job: run.began_mono_s for run in self.runs.open.values() if run.kind == "ahead"}
        for key in self._invocations.keys() - under_way:
            job = self.state.jobs[key]
            if self._refused.get(key) == (self._moves, self.state.epoch) or (self._is_retry(job) and not self._retries.allows()):
                continue
            if self._is_disturbed(key) or self.runs.pause_s(key):
                continue
            if self.runs.wants_run(job) and not self._ineligible(job, gated=key in self._urgent):
                began_s = running.get(key)
                run_s = None if began_s is None else self._world.mono_s() - began_s
                candidates.append(ahead.Candidate(job=key, usual_s=job.median_s, run_s=run_s))
        urgent = [candidate.job for candidate in candidates if candidate.job in self._urgent]
        wanted = ahead.desired(self._learn(), candidates, self._world.mono_s(), preset.price)
        desired = list(dict.fromkeys([*urgent, *wanted]))
        if self._poked_s:  # nothing starts yet
            return desired
        exchanged = {key for key in desired if key not in running and not self._is_same_tool(key)}
        self._refused |= dict.fromkeys(exchanged, (self._moves, self.state.epoch))
        return [key for key in desired if key not in exchanged]

    def _learn(self) -> habits.Habits:
        """Return what the log's story teaches, up to its latest beat."""
        if new := min(self.state.beats - self._learned, len(self.state.story)):
            habits.learn(self._habits, self.state.story[-new:])
            self._learned = self.state.beats
        return self._habits

    def _revive(self) -> None:
        """Know again what earlier sessions ran in an environment that was just asked in."""
        learned = self._learn()
        often = sorted(learned.sessions_of, key=lambda name: -learned.sessions_of[name])
        worth = (JobKey(name) for name in dict.fromkeys([*learned.lately, *often]) if ahead.is_considered(learned, JobKey(name)))
        for key, invocation in self._revival.some(worth, self._invocations):
            check = self.check_of(invocation, invocation.env)
            if check is None or check.steered or self.excludes(invocation):
                continue
            self._invocations[key], self._checks[key] = invocation, check
            if self._world.tree.spares(invocation.argv, invocation.cwd):
                self.runs.sparing.add(key)
            self.runs.revived[key] = self._scan.generation
            self.dirty = True

    def check_of(self, invocation: Invocation, usual: Collection[bytes]) -> commands.Check | None:
        """Say how a call checks; None when it is to be left alone.

        Args:
            usual: the part of its environment that every call of the session has.
        """
        return commands.check_of(invocation.name, invocation.argv, env=invocation.env, added=self.standing.rules.add, usual=usual)

    def excludes(self, invocation: Invocation) -> bool:
        """Say whether the rules leave a call alone."""
        return patterns.matches(self.standing.rules.exclude, commands.pattern_text(invocation.argv), beyond=True)

    def _is_disturbed(self, job: JobKey) -> bool:
        """Say whether a development server writes what this command may read: its run would only be torn."""
        return job not in self.runs.sparing and self._world.mono_s() - self._busy_s < DISTURBED_S

    def _ineligible(self, job: Job, *, gated: bool = False) -> str:
        """Say why a command is not run ahead, "" when it is.

        Args:
            gated: a gate waits for it. One that asks for a real run each time runs ahead for nobody else.
        """
        if job.barred:
            return "nothing is joined for it since an audit"
        if not gated and job.job in self._checks and (asked := self._checks[job.job].real):
            return f"it asks for a real run each time ({asked})"
        return meter.loses(job) or self._forbidden(job.job)

    def _forbidden(self, key: JobKey) -> str:
        """Say why a command may not be run by us at all, whatever it would bring; "" when it may."""
        if key not in self._invocations:
            return "its environment is not known to this supervisor"
        if key in self._elsewhere:
            return "it imports the project's own packages from another checkout"
        job = self.state.jobs[key]
        text = commands.pattern_text(self._invocations[job.job].argv)
        if aside := retries.put_aside(job.crashes, self._crashed_ago_s(job)):
            return aside
        return ahead.ineligible(
            job,
            self._checks[job.job],
            idle_input=self._invocations[job.job].stdin == "idle",
            grouped=self._invocations[job.job].in_memory_group,
            allowed=patterns.matches(self.standing.rules.ahead, text),
            forbidden=patterns.matches(self.standing.rules.never_ahead, text, beyond=True),
            withheld=self._approvals.withheld(job, self.conversations.values()),
            gone=self._gone(key),
            fixes=lambda: self._where_it_fixes(key),
        )

    def _gone(self, key: JobKey) -> str:
        """Return the first place a command was given that is there no more, "" when all are: nobody is to make it anew."""
        given = self._places.get(key, ahead.given_paths(self._invocations[key], env=False))
        left = self._world.places(given)
        return next((commands.display([path]) for path in given if path not in left), "")

    def _where_it_fixes(self, key: JobKey) -> str:
        moves, where = self._fixes.get(key, (-1, ""))
        if moves != self._moves:
            invocation = self._invocations[key]
            where = commands.where_it_fixes(invocation.argv, lambda name: self._world.texts(name, invocation.cwd))
            self._fixes[key] = self._moves, where
        return where

    def _crashed_ago_s(self, job: Job) -> float:
        return self._world.mono_s() - job.crashed_mono if job.crashed_boot == self._world.boot_id() else -1.0

    def _is_retry(self, job: Job) -> bool:
        return retries.counts(job.crashes, self._crashed_ago_s(job))

    def _is_same_tool(self, job: JobKey) -> bool:
        """Say whether a command would be run by the tool that it was asked of: outside the project that may be exchanged unseen."""
        invocation = self._invocations.get(job)
        return invocation is None or self._world.is_tool_of(job, invocation)

    def _start_ahead(self, action: schedule.Start) -> None:
        place = self._world.take_place(ahead=True)
        if place is None:
            return
        if self._is_retry(self.state.jobs[action.job]):
            self._retries.spend()
        try:
            audits = self._auditor.of(action.job)
            why = action.why if audits is None else "to be compared with what was joined"
            run = self.runs.begin(action.job, "ahead", None, self._scan, why=why, audits=audits)
        except TROUBLES:
            place.close()
            raise
        if audits is not None:
            self._auditor.began(action.job, run.attempt)
        try:
            self.runs.spawn(run, self._invocations[action.job], self._world.umask, place)
        except OSError as error:
            self._world.complain(f"cannot start an ahead run: {error}")
            self._auditor.ended(run.job, run.attempt, End(how="cancelled"), "")  # to be tried again
            return
        self._listen_to(run)

    def _listen_to(self, run: Run) -> None:
        assert run.owner is not None
        self._world.listen(run.owner, lambda: self._owner_speaks(run))

    def _owner_speaks(self, run: Run) -> None:
        assert run.owner is not None
        said = run.owner.lines()
        for line in said or ():
            word, *rest = line.split()
            if word == "started":
                # Each for itself: what the disk has no room for keeps nobody from being stopped, and no later line from being read.
                self.guarded(self.runs.started, run, Process(int(rest[0]), rest[1], self._world.boot_id()))
                if run.kind == "requested" and run.place is not None:
                    self.guarded(run.place.promise, self.state.requests[run.job].memory_bytes, int(rest[0]))
                if run.cancelled_for:
                    self.runs.cancel(run, run.cancelled_for)
        if said is None or "exited" in said:
            self._world.unlisten(run.owner)
            self._ends(run, "its monitor died")

    def _ends(self, run: Run, why: str) -> None:
        """Nothing more will be heard of a run: log its end, or have that tried again until there is room for it."""
        run.over = why
        self.dirty = True
        if run.kind == "foreground":
            self.runs.lost(run, why)
        else:
            self._ahead_ended(run)

    def _ahead_ended(self, run: Run) -> None:
        self._drop_byte_code(self._overtaken)
        if sum(other.kind == "ahead" for other in self.runs.open.values()) <= 1:
            self._overtaken.clear()
        self._catch_up()
        self._request_ended(run)
        attempt = self.state.attempts.get(run.attempt)
        if attempt is None or attempt.end is None:
            self.runs.lost(run, run.over)
            self._auditor.ended(run.job, run.attempt, End(how="lost"), "the rerun was lost")
            return
        found = self._world.executor.exit_of(run.attempt)
        if run.kind != "requested":  # nothing is answered from that; the tree is looked at once it stands still
            self.look()
            run.doubt = run.doubt or ("" if self._is_same_tool(run.job) else OTHER_TOOL)
        result = self.runs.ended(
            run,
            attempt.end,
            found.out_bytes if found else 0,
            found.err_bytes if found else 0,
            0.0,
            0,
            self._scan,
            log_exit=False,
        )
        if attempt.end.by_itself:
            self._retries.earn()
        unusable = result.torn or ("" if attempt.end.by_itself else "the rerun did not come to an end")
        self._auditor.ended(run.job, run.attempt, attempt.end, unusable)

    def cancel_ahead(self, attempt: AttemptId) -> bool:
        """The user does not want an ahead run, nor another one on the same tree; False when nothing of that id runs."""
        run = self.runs.open.get(attempt)
        if run is not None and run.kind == "ahead":
            self._refused[run.job] = (self._moves, self.state.epoch)
            self.runs.cancel(run, "the user cancelled it")
        return run is not None

    def retry(self, job: JobKey) -> bool:
        """The user wants a command that was put aside, given up or barred to be tried again at once; False when there is none."""
        known = self.state.jobs.get(job)
        if known is not None and (known.crashes or known.barred or known.idle_bets or known.contradicted):
            self.log(JobRetried, job=job)
            self.dirty = True
        return known is not None

    def make_way(self, run: Run) -> frozenset[AttemptId]:
        """Stop the suites that run ahead when a session's own begins: they may share a port (F51). Returns those that still run."""
        if self.standing.rules.together or not self._is_suite(run.job):
            return frozenset()
        ahead_runs = [other for other in self.runs.open.values() if other.kind == "ahead" and not other.readers]
        suites = [other for other in ahead_runs if self._is_suite(other.job)]
        for other in suites:
            if not other.cancelled_for:
                self.runs.cancel(other, "the session runs a suite itself")
        return frozenset(other.attempt for other in suites)

    def _is_suite(self, job: JobKey) -> bool:
        return job in self._checks and self._checks[job].kind == "test"

    # --- jobs that were asked for --------------------------------------------------------------------------------------------

    def request(self, message: rpc.Message, *, confined: bool) -> JobKey:
        """Take a job.

        Raises:
            UserError: it is refused.
            KeyError, ValueError, OSError: the message is none, or the log cannot be written.
        """
        if self.standing.void:
            raise UserError(self.standing.void)
        job = self._requests.ask(message, confined, self.conversations)
        self.dirty = True
        return job

    def cancel_request(self, job: JobKey, why: str) -> bool:
        """Log it first, then end its process: however that ends, the job stays cancelled. False when it was over before."""
        self._catch_up()  # its monitor may have logged its end a moment ago
        done = self._requests.cancel(job, why)
        for run in self.runs.open.values():
            if done and run.job == job:
                self.runs.cancel(run, why)
        return done

    def _end_requests(self) -> None:
        """We leave: nothing that was asked for runs on. After an error of ours, or for a newer one, it does: the next one adopts it."""
        if not self.leaving or self.makes_way:
            return
        for request in self._requests.open():
            self.guarded(self.cancel_request, request.job, "the supervisor was ended")
        for run in self.runs.open.values():
            if run.kind == "requested" and not run.cancelled_for:
                self.runs.cancel(run, "the supervisor was ended")

    def _begin_requested(self, job: JobKey) -> None:
        place = self._world.take_place(ahead=False)
        if place is None:
            self._requests.hold(job, "no place is free")
            return
        order, dirty = self._requests.order(job), self.dirty
        request = self.state.requests[job]
        try:
            place.promise(request.memory_bytes, 0)
            self._new_epoch(f"a job that was asked for began: {commands.display(order.invocation.argv)[:80]}", request.session)
            run = self.runs.begin(job, "requested", request.session, self._scan, why="it was asked for")
        except TROUBLES:
            place.close()
            raise
        self._requests.begun(job)
        try:
            self.runs.spawn(run, order.invocation, self._world.umask, place, WALL_S)
        except OSError as error:
            self._world.complain(f"cannot start a requested job: {error}")
            self._request_ended(run)
            return
        self._listen_to(run)
        # Its epoch stops what runs ahead, and nothing else: a long queue need not be planned twice for each job.
        self.dirty = dirty or any(other.kind == "ahead" for other in self.runs.open.values())

    def _request_ended(self, run: Run) -> None:
        """What a requested job did to the machine no scan can show: everything that was known before it ended is over."""
        if run.kind == "requested":
            self._new_epoch("a job that was asked for ended", run.session)
            self.poke()
