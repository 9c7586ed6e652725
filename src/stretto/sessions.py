"""What is known of the Claude Code sessions under way: which Bash calls are open, which files their tools write, what was allowed.

Nothing here is in the log because it means nothing once the session is over; what it decides (an epoch, a permission question) is.
Promises: while a command whose effects are not known is open, `blocker` names it; a call nobody said the end of is over at the next
prompt, or after `CALL_LIFE_S`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable

from stretto import commands
from stretto.hookwire import BashAsked
from stretto.model import PERMISSION_STRICTNESS, JobKey
from stretto.system import Process

CALL_LIFE_S = 900.0
"""A Bash call nobody said the end of (Esc gives no hook) counts as open for this long, or until the next prompt."""
UNKNOWN_EFFECTS = ("other", "package")
STRICTEST = max(PERMISSION_STRICTNESS.values())


class OpenCall:
    """A Bash call between its PreToolUse and the end of its batch."""

    def __init__(self, asked: BashAsked, effect: str, since_s: float, names: Collection[str]) -> None:
        self.command, self.agent, self.effect, self.background = asked.command, asked.agent, effect, asked.background
        self.shape = commands.shape_of(asked.command)
        self.checks = commands.checks_in(asked.command, names)
        self.shims: set[str] = set()
        """Names by which shims asked while it was open."""
        self.question = False
        """The host put a permission question about it."""
        self.since_s = since_s

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
    """One file a tool of the session writes: from when on, and until when (None: it has not ended yet)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.ended_s: float | None = None


class Conversation:
    """One session of Claude Code, its subagents included."""

    def __init__(self, claude: Process | None, mono_s: Callable[[], float], awake_s: Callable[[], float], *, unseen: bool = False) -> None:
        """Begin to follow a session.

        Args:
            mono_s: the clock of edits and runs.
            awake_s: the clock of calls: while the machine sleeps a command does not come nearer to its end.
            unseen: it was under way before: calls may be open of which no hook of ours has told this supervisor.
        """
        self.claude = claude
        self._mono_s, self._awake_s = mono_s, awake_s
        self._unseen_since_s = awake_s() if unseen else None
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
        self.known: dict[JobKey, str] = {}
        """`pass` or `fail` as this session last saw each check."""
        self._calls: dict[str, OpenCall] = {}
        self._edits: dict[str, Edit] = {}

    def bash_asked(self, asked: BashAsked, effect: str, names: Collection[str]) -> None:
        """A Bash call begins.

        Args:
            names: what is intercepted.
        """
        self._calls[asked.call] = OpenCall(asked, effect, self._awake_s(), names)

    def shim_asked(self, names: Collection[str]) -> str:
        """A shim asks about a check by one of these names; return the shape of the Bash call it stands in, "" when none is known.

        A shim cannot tell which call that is: of several the first that holds such a check.
        """
        for call in self._calls.values():
            call.shims.update(names)
        return next((call.shape for call in self._calls.values() if any(check.name in names for check in call.checks)), "")

    def question(self, command: str) -> None:
        """The host asks the user about this command; the hook does not say which call it is."""
        for call in self._calls.values():
            if call.command == command:
                call.question = True

    @property
    def has_open_calls(self) -> bool:
        return bool(self._calls)

    @property
    def questioned(self) -> bool:
        """Whether an open call was asked about: a shim cannot tell which call it belongs to, so all of them count."""
        return any(call.question for call in self._calls.values())

    def call_ended(self, key: str) -> OpenCall | None:
        """Close a call; None when it was not open."""
        return self._calls.pop(key, None)

    def turn_ended(self, agent: str) -> list[OpenCall]:
        """Close what the main agent or one subagent left open: it was interrupted."""
        keys = [key for key, call in self._calls.items() if call.agent == agent]
        return [self._calls.pop(key) for key in keys]

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

    def write_asked(self, call: str, path: str) -> None:
        """A tool is about to write the file at this real path."""
        self._edits[call] = Edit(path)

    def write_ended(self, key: str, path: str) -> None:
        self._edits.setdefault(key, Edit(path)).ended_s = self._mono_s()

    def edited_since(self, began_s: float) -> list[str]:
        """Return the real paths the session's tools were writing at any time since then."""
        return [edit.path for edit in self._edits.values() if edit.ended_s is None or edit.ended_s >= began_s]

    def forget_edits_before(self, began_s: float) -> None:
        self._edits = {key: edit for key, edit in self._edits.items() if edit.ended_s is None or edit.ended_s >= began_s}


def blocker(conversations: Iterable[Conversation]) -> str:
    """Say why nothing may be joined or run ahead at this moment, "" when it may."""
    conversations = list(conversations)
    if any(conversation.open_of_unknown_effects() for conversation in conversations):
        return "it stands beside a command whose effects are not known"
    if any(conversation.may_hide_calls for conversation in conversations):
        return "a session was under way before this supervisor, and what it is running is not known"
    return ""


class Approvals:
    """In which permission mode the host last ran each command without a question; none of a command it asked about.

    One approval is no standing one, and a settings file that changed may deny what it allowed.
    """

    def __init__(self, settings: tuple[str, ...]) -> None:
        self._settings = settings
        self._stamp = self._now()
        self._modes: dict[JobKey, str] = {}

    def note(self, job: JobKey, conversation: Conversation | None) -> None:
        """A session ran this job just now; only within a call whose hooks we saw do we know that no question was put."""
        if conversation is not None and conversation.has_open_calls and not conversation.questioned:
            self._modes[job] = conversation.mode
        else:
            self._modes.pop(job, None)

    def withheld(self, job: JobKey, conversations: Iterable[Conversation]) -> str:
        """Say why the host cannot be taken to run this again without asking, "" when it can."""
        if (stamp := self._now()) != self._stamp:
            self._stamp = stamp
            self._modes.clear()
        mode = self._modes.get(job)
        if mode is None:
            return "the host asked before running it, or its settings changed, or it was not seen in a session"
        approved = PERMISSION_STRICTNESS.get(mode, STRICTEST)
        now = min((PERMISSION_STRICTNESS.get(item.mode, STRICTEST) for item in conversations), default=STRICTEST)
        if approved >= STRICTEST or now >= STRICTEST or now > approved:
            return "the permission mode has become stricter"
        return ""

    def _now(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._settings)


def settings_of_host(root: str) -> tuple[str, ...]:
    """Return the settings files in which Claude Code's permission rules for a project stand."""
    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
    return (f"{home}/settings.json", f"{root}/.claude/settings.json", f"{root}/.claude/settings.local.json")


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
