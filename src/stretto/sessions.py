"""What is known of the Claude Code sessions under way: which Bash calls are open, which files their tools write, what was allowed.

Nothing here is in the log because it means nothing once the session is over; what it decides (an epoch, a permission question) is.
Promises: while a command whose effects are not known is open, `blocker` names it; a call nobody said the end of is over at the next
prompt, or after `CALL_LIFE_S`. It is one idea in one file: what holds of a session as long as it lives.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence

from stretto import commands
from stretto.fold import Job
from stretto.hookwire import BashAsked, ToolAsked
from stretto.model import PERMISSION_STRICTNESS, JobKey
from stretto.permissions import (
    STRICTEST,
    UNEXPLAINED_MODES,
    allowed_by,
    allowed_on,
    deciding_flags,
    rule_names,
    stamp,
    strictness,
)
from stretto.repeats import Repeats
from stretto.system import Process

CALL_LIFE_S = 900.0
"""A Bash call nobody said the end of (Esc gives no hook) counts as open for this long, or until the next prompt."""
LATE_S = 10.0
"""A background call's shell says that it began at most so long after the call."""
UNKNOWN_EFFECTS = ("other", "package")


class OpenCall:
    """A call of Bash, or of a tool that may do anything, between its PreToolUse and the end of its batch."""

    def __init__(self, asked: BashAsked | ToolAsked, effect: str, since_s: float, names: Collection[str], since_ticks: int = 0) -> None:
        self.tool = asked.tool if isinstance(asked, ToolAsked) else ""
        """Its name, "" for Bash."""
        self.command = asked.command if isinstance(asked, BashAsked) else ""
        self.background = isinstance(asked, BashAsked) and asked.background
        self.agent, self.effect = asked.agent, effect
        self.shape = commands.shape_of(self.command)
        self.checks = commands.checks_in(self.command, names)
        self.since_ticks = since_ticks
        """When it began, as processes are dated."""
        self.shell = 0
        """The shell that runs it, 0 as long as that did not say so."""
        self.real = commands.by_text(self.command)
        """What in its text asks for real runs of its checks, None when nothing does."""
        self.jobs: set[JobKey] = set()
        """The checks that were asked for while it was open, as far as their own shell is not known."""
        self.edits: list[Edit] = []
        self.shims: set[str] = set()
        """Names by which shims asked while it was open."""
        self.question = False
        """The host put a permission question about it."""
        self.since_s = since_s
        self.epoch = 0
        """Which one it was before this began, as far as its effects are not known."""
        self.only_git = False
        """It only calls git, checks and readers."""

    @property
    def is_unknown(self) -> bool:
        return self.effect in UNKNOWN_EFFECTS

    @property
    def text(self) -> str:
        """What it is called in a reason."""
        return self.command or f"the tool {self.tool}"

    def unasked(self) -> list[tuple[str, str]]:
        """Return the checks in it that ran past their shim as far as can be known, and why, as name and miss code."""
        found = []
        for check in self.checks:
            if check.certain and check.code:
                found.append((check.name, check.code))
            elif check.certain and check.name not in self.shims and not (self.background or self.question):
                found.append((check.name, "stdin" if "input" in self.shape.split("+") else "no-answer"))
        return found


class Edit:
    """One file that the session writes, by a tool or by its name in a command: from when on, until when (None: it has not ended yet)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.ended_s: float | None = None
        self.left_at = 0.0
        """When the file had last changed as the tool had left it; what changed it since was somebody else."""


class Conversation:
    """One session of Claude Code, its subagents included."""

    def __init__(
        self,
        claude: Process | None,
        mono_s: Callable[[], float],
        awake_s: Callable[[], float],
        *,
        unseen: bool = False,
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Begin to follow a session.

        Args:
            arguments: the host's command line, None when it could not be read.
            mono_s: the clock of edits and runs.
            awake_s: the clock of calls: while the machine sleeps a command does not come nearer to its end.
            unseen: it was under way before: calls may be open of which no hook of ours has told this supervisor.
        """
        self.claude = claude
        self._mono_s, self._awake_s = mono_s, awake_s
        self._unseen_since_s = awake_s() if unseen else None
        self.flags = deciding_flags(arguments) if arguments is not None else None
        """What on the host's command line may decide whether it asks; None when that cannot be known."""
        self.seen_whole = not unseen
        """Every question that the host put in it went by this supervisor."""
        self.questioned_names: set[str] = set()
        """The checks in commands about which the host put a question."""
        self.mode = ""
        """Claude Code's permission mode as last seen."""
        self.idle = False
        """Its turn has ended and nothing was asked of it since."""
        self.watched = False
        """Something waits that can wake it."""
        self.unsure: dict[str, int] = {}
        """The generation of the tree before the first command of unknown effects of each agent that was not looked at since."""
        self.notices = 0
        """How often it was told that commands run ahead."""
        self.aloud: dict[str, bool] = {}
        """What it and its user are told once, and whether they were."""
        self.known: dict[JobKey, str] = {}
        """`pass` or `fail` as this session last saw each check."""
        self.told_of_lost_hooks = False
        self.unread = False
        """The host said something of it that could not be read, and nothing since that shows that it is over."""
        self._calls: dict[str, OpenCall] = {}
        self._late: list[OpenCall] = []
        """Background calls that ended, to the host, before their shells said that they began."""
        self._repeats = Repeats()
        self._edits: dict[str, Edit] = {}

    def asked(
        self, asked: BashAsked | ToolAsked, effect: str, names: Collection[str], since_ticks: int = 0, writes: Iterable[str] = ()
    ) -> OpenCall:
        """A call begins.

        Args:
            names: what is intercepted.
            since_ticks: the moment, as processes are dated.
            writes: real paths that its text writes by name.
        """
        call = self._calls[asked.call] = OpenCall(asked, effect, self._awake_s(), names, since_ticks)
        call.edits = [Edit(path) for path in writes]
        self._edits |= {f"{asked.call}:{number}": edit for number, edit in enumerate(call.edits)}
        return call

    def shell_began(self, pid: int) -> OpenCall | None:
        """A shell of this session says that it begins; return the call that it runs, None when no hook told of one.

        It cannot say which: of several, the first whose shell is not known. A call that was denied never has one, and is over soon.
        """
        self._late = [call for call in self._late if self._awake_s() - call.since_s < LATE_S]
        for call in (*self._calls.values(), *self._late):
            if not call.tool and not call.shell:
                call.shell = pid
                return call
        return None

    def is_open(self, call: OpenCall) -> bool:
        return call in self._calls.values()

    @property
    def shells(self) -> set[int]:
        """The shells of the calls that are open."""
        return {call.shell for call in self._calls.values() if call.shell}

    def go_on(self, key: str, call: OpenCall) -> None:
        """What a call started cannot be followed here: it counts as open until the next prompt, or for as long as a call lives."""
        self._calls[f"{key} goes on"] = call

    def shim_asked(self, names: Collection[str]) -> str:
        """A shim asks about a check by one of these names; return the shape of the Bash call it stands in, "" when none is known.

        A shim cannot tell which call that is: of several the first that holds such a check.
        """
        for call in self._calls.values():
            call.shims.update(names)
        return next((call.shape for call in self._calls.values() if any(check.name in names for check in call.checks)), "")

    def asked_again(self, job: JobKey, names: Collection[str], shell: Process | None) -> commands.Asked | None:
        """A check is asked for by one of these names, from the shell of its call; say so when it was before in the same call."""
        calls = [call for call in self._calls.values() if any(check.name in names for check in call.checks)] or list(self._calls.values())
        return self._repeats.again(job, shell, [call.jobs for call in calls])

    def real_by_text(self, names: Collection[str], shell: Process | None) -> commands.Asked | None:
        """Say what asks for real runs in the Bash call of a check: that of its shell, else each with such a one."""
        own = [call for call in self._calls.values() if shell is not None and call.shell == shell.pid]
        calls = own or [call for call in self._calls.values() if len(self._calls) == 1 or any(check.name in names for check in call.checks)]
        return next((call.real for call in calls if call.real is not None), None)

    def question(self, command: str) -> None:
        """The host asks the user about this command; the hook does not say which call it is."""
        self.seen_whole = False  # from here on an answer may hold for the rest of the session, and for no other
        for call in self._calls.values():
            if call.command == command:
                call.question = True
                self.questioned_names.update(check.name for check in call.checks)

    @property
    def has_open_calls(self) -> bool:
        """Whether a Bash call is open that a hook told of."""
        return any(not call.tool for call in self._calls.values())

    @property
    def acts(self) -> bool:
        """Whether a Bash call is open that does more than read, or may be."""
        now_s = self._awake_s()
        return self.may_hide_calls or any(call.effect != "reads" and now_s - call.since_s < CALL_LIFE_S for call in self._calls.values())

    @property
    def mixes(self) -> bool:
        """Whether a Bash call may be open that holds more than checks and readers: something else may have been started for them."""
        return not self._calls or self.may_hide_calls or any(call.effect in UNKNOWN_EFFECTS for call in self._calls.values())

    @property
    def questioned(self) -> bool:
        """Whether an open call was asked about: a shim cannot tell which call it belongs to, so all of them count."""
        return any(call.question for call in self._calls.values())

    def announced(self, above: Collection[int]) -> bool:
        """Say whether a process with these ancestors is in an open Bash call that a hook told of.

        Where a shell has said that it runs a call it has to be that one: the host may have told of a call's beginning and not of its end.
        """
        shells = [call.shell for call in self._calls.values() if not call.tool]
        return any(not (shell and above) or shell in above for shell in shells)

    def call_ended(self, key: str) -> OpenCall | None:
        """Close a call, None when it was not open; what its text writes is written by now."""
        call = self._calls.pop(key, None)
        if call is not None and call.background and not call.shell:
            self._late.append(call)
        for edit in call.edits if call is not None else ():
            edit.ended_s = self._mono_s()
        return call

    def turn_ended(self, agent: str) -> list[OpenCall]:
        """Close what the main agent or one subagent left open: it was interrupted."""
        keys = [key for key, call in self._calls.items() if call.agent == agent]
        return [call for key in keys if (call := self.call_ended(key)) is not None]

    def close(self) -> list[OpenCall]:
        """The session is over, and so are its calls; return those of unknown effects."""
        calls, self._calls = self._calls, {}
        return [call for call in calls.values() if call.is_unknown]

    def unseen_over(self) -> None:
        """The main agent came to the end of a batch or of its turn: what it had under way before we came is over."""
        self._unseen_since_s = None

    @property
    def may_hide_calls(self) -> bool:
        return self._unseen_since_s is not None and self._awake_s() - self._unseen_since_s < CALL_LIFE_S

    def open_of_unknown_effects(self) -> OpenCall | None:
        now_s = self._awake_s()
        calls = (call for call in self._calls.values() if call.effect in UNKNOWN_EFFECTS and now_s - call.since_s < CALL_LIFE_S)
        return next(calls, None)

    def epoch_before_git(self, epoch: int) -> int | None:
        """Return the epoch before this session's open calls of unknown effects began, None unless they are all that has begun one since.

        Args:
            epoch: the one of now.
        """
        calls = [call for call in self._calls.values() if call.effect in UNKNOWN_EFFECTS]
        if not calls or not all(call.only_git for call in calls):
            return None
        first = min(call.epoch for call in calls)
        return first if epoch - first == len(calls) else None

    def write_asked(self, call: str, path: str) -> None:
        """A tool is about to write the file at this real path."""
        self._edits[call] = Edit(path)

    def write_ended(self, key: str, path: str, left_at: float = 0.0) -> None:
        """A tool has written the file at this real path.

        Args:
            left_at: when the file last changed, as the system says.
        """
        edit = self._edits.setdefault(key, Edit(path))
        edit.ended_s, edit.left_at = self._mono_s(), left_at

    def edits_since(self, began_s: float) -> list[Edit]:
        """Return what the session's tools were writing at any time since then, by real paths."""
        return [edit for edit in self._edits.values() if edit.ended_s is None or edit.ended_s >= began_s]

    def forget_edits_before(self, began_s: float) -> None:
        self._edits = {key: edit for key, edit in self._edits.items() if edit.ended_s is None or edit.ended_s >= began_s}


def blocker(conversations: Iterable[Conversation]) -> str:
    """Say why nothing may be joined or run ahead at this moment, "" when it may."""
    conversations = list(conversations)
    if any(conversation.open_of_unknown_effects() for conversation in conversations):
        return "it stands beside a command whose effects are not known"
    if any(conversation.unread for conversation in conversations):
        return "the host said something of a session that cannot be read"
    if any(conversation.may_hide_calls for conversation in conversations):
        return "a session was under way before this supervisor, and what it is running is not known"
    return ""


class Approvals:
    """In which permission mode each host last ran each command without a question; none of a command that one asked about.

    One approval is no standing one, and a settings file that changed may deny what it allowed. What was agreed on in one session holds
    in no other: what another host process ran, now or before this supervisor, counts only when the mode or a rule in the settings
    explains why no question was put, and when all that decides about that is as it was (decision 0014).
    """

    def __init__(self, settings: tuple[str, ...], salt: bytes = b"") -> None:
        """Know nothing yet.

        Args:
            settings: the files in which the host's permission rules stand.
            salt: random bytes of the project, so that nothing on the host's command line can be guessed from the log.
        """
        self._settings, self._salt = settings, salt
        self._stamp = self._now()
        self._allowed = allowed_by(settings)
        self._modes: dict[JobKey, dict[Process | None, str]] = {}

    def note(self, job: Job, conversation: Conversation | None, argv: Sequence[bytes], *, named: bool) -> tuple[str, str]:
        """A session ran this job just now; only within a call whose hooks we saw do we know that no question was put.

        Args:
            named: the text of an open Bash call names this check, so that the host judged it and not only something that started it.

        Returns:
            what a later session may go by: the permission mode and a digest of what else decided; "" and "" when nothing.
        """
        if conversation is None or not conversation.has_open_calls or conversation.questioned:
            self._modes.pop(job.job, None)
            return "", ""
        self._look()
        self._modes.setdefault(job.job, {})[conversation.claude] = conversation.mode
        host = self._host(conversation)
        if host and named and conversation.seen_whole and self._explains(conversation, argv):
            return conversation.mode, host
        return (job.allowed_mode, host) if host == job.allowed_host else ("", "")

    def withheld(self, job: Job, conversations: Iterable[Conversation]) -> str:
        """Say why the host cannot be taken to run this again without asking, "" when it can."""
        self._look()
        modes = self._modes.get(job.job, {})
        known = False
        for conversation in conversations:
            mode = modes.get(conversation.claude)
            known = known or mode is not None
            if mode is not None and strictness(conversation.mode) <= strictness(mode) < STRICTEST:
                return ""
            if self._carried(job, conversation):
                return ""
        if known:
            return "the permission mode has become stricter"
        return "the host asked before running it, or its settings changed, or it was not seen in a session"

    def _host(self, conversation: Conversation) -> str:
        """Return a digest of all that decides about questions besides mode and command: settings files, command line; "" if unknown."""
        if conversation.flags is None:
            return ""
        return hashlib.blake2b(repr((self._stamp, conversation.flags)).encode(), key=self._salt[:64], digest_size=16).hexdigest()

    def _carried(self, job: Job, conversation: Conversation) -> bool:
        """Say whether what an earlier session ran without a question runs without one in this session, too."""
        names = {job.name, commands.python_module(job.argv)}
        if conversation.mode in UNEXPLAINED_MODES or not names.isdisjoint(conversation.questioned_names):
            return False
        if not job.allowed_host or not strictness(conversation.mode) <= strictness(job.allowed_mode) < STRICTEST:
            return False
        return self._host(conversation) == job.allowed_host

    def _explains(self, conversation: Conversation, argv: Sequence[bytes]) -> bool:
        """Say whether mode or settings are the reason why nothing was asked, and not what was agreed on in that session alone."""
        if conversation.mode == "bypassPermissions":
            return True
        if conversation.mode in UNEXPLAINED_MODES or conversation.mode not in PERMISSION_STRICTNESS:
            return False
        text = shlex.join(os.fsdecode(word) for word in argv)
        return any(rule_names(rule, text) for rule in (*self._allowed, *allowed_on(conversation.flags or ())))

    def _look(self) -> None:
        """Forget what was allowed under settings that have changed."""
        if (stamp := self._now()) != self._stamp:
            self._stamp, self._allowed = stamp, allowed_by(self._settings)
            self._modes.clear()

    def _now(self) -> tuple[object, ...]:
        return tuple(stamp(path) for path in self._settings)
