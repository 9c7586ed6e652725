"""The records everything speaks in. Hides nothing, does nothing: no clock, no environment, no I/O.

Promises: every record is frozen; times carry their unit in the name (`_s`, `_ms`, `_at` for wall-clock seconds since 1970);
states are unions of records, so a field exists only in the state in which it means something.

It is one idea in one file: the words that everybody uses, and what each may mean.

`Event` is the union written to events.jsonl, one JSON object a line; docs/events.md lists them with examples. A type never changes
its meaning: a new meaning is a new type.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Literal, NamedTuple, NewType

import msgspec

AttemptId = NewType("AttemptId", str)
"""32 hex digits, random: nobody can guess another session's run."""
ATTEMPT_ID = re.compile("[0-9a-f]{32}")
"""What is made; nothing else a log names is ever taken for the name of a directory or for a mark."""
JobKey = NewType("JobKey", str)
"""32 hex digits over everything that makes two calls the same call; see `Invocation.key`."""
SessionId = NewType("SessionId", str)

FORMAT_VERSION = 2
"""2: every line ends with its checksum (`journal.sealed`)."""

Mode = Literal["on", "audit", "observe", "off"]
"""audit: on, and a sample of what was joined is run again and compared."""
Fsync = Literal["exits", "always", "never"]
"""What of the log is synced: the records appended as `lasting`, all, or none."""
Outcome = Literal["pass", "fail", ""]
"""What a run says of the code; "" when nothing: no test was collected, a usage error, nobody knows."""
BlockScope = Literal["stop", "commit", "edit", "all"]
"""What a block keeps a session from: ending its turn, commits and pushes, writing files, or any of these and every other tool."""
BLOCK_SCOPES: tuple[BlockScope, ...] = ("stop", "commit", "edit", "all")
GatePlace = Literal["stop", "commit", "push"]
"""Where a red check holds a session up."""
GATE_PLACES: tuple[GatePlace, ...] = ("stop", "commit", "push")
Kind = Literal["foreground", "ahead", "requested"]
"""foreground: the session's own run; ahead: started by us before it is asked for; requested: a job that was asked for."""
Streams = Literal["merged", "split"]
"""merged: descriptors 1 and 2 are the same file; split: they are not."""


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records. None can be part of a cycle, so the garbage collector need not look at them: a long log makes millions."""


# --- what a shim sees -------------------------------------------------------------------------------------------------------


class Invocation(Record, frozen=True, kw_only=True):
    """One call of a command as its shim saw it; two are the same call when `key` agrees."""

    name: str
    """The word that was typed: `pytest`, `python`, `make`."""
    exe: bytes
    """The resolved executable, absolute."""
    argv: tuple[bytes, ...]
    """As the command receives it, argv[0] included."""
    cwd: bytes
    env: tuple[bytes, ...]
    """`NAME=value` entries as the command would receive them. Held in memory only: never logged, never on disk."""
    context: bytes
    """User, groups, umask, limits, namespaces, capabilities, seccomp and cgroup as text lines, sorted."""
    streams: Streams
    stdin: Literal["null", "idle"] = "null"
    """null: empty. idle: a silent socket of the host's, on which a read blocks (a Bash call whose text has a `<` gets that)."""
    below_git: bool = False
    """A git process stands between it and the session."""

    @property
    def hooked(self) -> bool:
        """Whether git, or a runner of git hooks, called it: with an index, a date and a state of its own that are over when git ends."""
        return self.below_git or any(entry.split(b"=", 1)[0] in HOOK_ENV for entry in self.env)

    @property
    def of_git(self) -> tuple[bytes, ...]:
        """What git, or a runner of git hooks, gave this one call; () outside of hooks."""
        return tuple(sorted(entry for entry in self.env if entry.startswith(HOOK_PREFIXES))) if self.hooked else ()

    @property
    def meaningful_env(self) -> tuple[bytes, ...]:
        """The entries that make a difference, as far as they do.

        PWD only where it says something else than `cwd`: by which link the folder was entered. Of the names by which a tool may tell that
        an agent calls it only that they are set, and AI_AGENT without the host's version: else with each new one all that earlier sessions
        showed would be forgotten. What git gives each call anew makes no other command: it is compared when one is joined.
        """
        found = []
        for entry in self.env:
            name, _, value = entry.partition(b"=")
            if self.hooked and entry.startswith(HOOK_PREFIXES):
                continue
            if name in AGENT_MARKS and value:
                found.append(name)
            elif name == b"AI_AGENT":
                found.append(re.sub(rb"[0-9]+", b"0", entry))
            elif not (name in VOLATILE_ENV or name.startswith(VOLATILE_PREFIXES) or (name == b"PWD" and value == self.cwd)):
                found.append(entry)
        return tuple(found)

    @property
    def env_ahead(self) -> tuple[bytes, ...]:
        """The environment of a run that no call is behind: without marks of ours, and in nobody's trace."""
        return tuple(
            entry for entry in self.env if not entry.startswith(VOLATILE_PREFIXES) and entry.split(b"=", 1)[0] not in TRACE_CONTEXT
        )

    @property
    def in_memory_group(self) -> bool:
        """Whether it ran in the memory group that the host makes for its Bash tool; see `MEMORY_GROUP`."""
        return MEMORY_GROUP.search(self.context) is not None

    def moved(self, cwd: bytes) -> tuple[bytes, ...]:
        """Return the environment as the same shell would give it in another folder of the project: PWD goes with it, links kept."""
        found = []
        for entry in self.env:
            if entry.startswith(b"PWD="):
                above, below = entry[4:], self.cwd
                while above.rpartition(b"/")[2] == below.rpartition(b"/")[2] and not (cwd + b"/").startswith(below + b"/"):
                    above, below = above.rpartition(b"/")[0], below.rpartition(b"/")[0]
                entry = b"PWD=" + (above + cwd[len(below) :] if (cwd + b"/").startswith(below + b"/") else cwd)
            found.append(entry)
        return tuple(found)

    def key(self, salt: bytes, tools: bytes) -> JobKey:
        """Return the identity of this call.

        Args:
            salt: random bytes of the project, so that a secret in an argument cannot be guessed from the log.
            tools: what `tree.tool_identity` says of the executable.
        """
        digest = hashlib.blake2b(key=salt[:64], digest_size=16)
        for part in (
            self.exe,
            self.cwd,
            self.context,
            self.streams.encode(),
            self.stdin.encode(),
            tools,
            *self.argv,
            b"\0hook" if self.hooked else b"\0env",
            *sorted(self.meaningful_env),
        ):
            digest.update(len(part).to_bytes(8, "big") + part)
        return JobKey(digest.hexdigest())


TRACE_CONTEXT = frozenset({b"TRACEPARENT", b"TRACESTATE", b"BAGGAGE"})
"""In which trace a call stands (W3C Trace Context and Baggage, as environment variables; the host gives each Bash call a span of its own):
another value at every call, and nothing to a check. A run ahead is in no trace and gets none of them."""
VOLATILE_ENV = (
    frozenset({b"_", b"OLDPWD", b"SHLVL", b"WINDOWID", b"TERM_SESSION_ID", b"CLAUDE_EFFORT", b"CLAUDE_PID", b"CLAUDE_TMPDIR"})
    | {b"CLAUDE_CODE_SESSION_ID", b"CLAUDE_CODE_CHILD_NOTES_DIR", b"CLAUDE_CODE_MESSAGING_SOCKET", b"CLAUDE_CODE_MESSAGING_TOKEN"}
    | {b"CLAUDE_CODE_SESSION_ATTENDED", b"CLAUDE_CODE_ENTRYPOINT", b"CLAUDE_CODE_CHILD_SESSION", b"CLAUDE_CODE_EXECPATH"}
    | TRACE_CONTEXT
)
"""Names that differ between two calls of one command, or between two sessions, without meaning anything to it. Source: the environment
Claude Code 2.1.332 gives its Bash tool, measured (`tests/claude/test_host_facts.py`). What steers a tool is not among them, though it may
be the host that sets it: `AI_AGENT` is the same at every call, and the host sets no `COLUMNS` and no `LINES`."""
AGENT_MARKS = frozenset({b"CLAUDE_CODE_SESSION_ID", b"CLAUDE_CODE_ENTRYPOINT", b"CLAUDE_CODE_CHILD_SESSION"})
"""Of the volatile ones: the host sets them at every call, and whoever takes one away by hand means it."""
VOLATILE_PREFIXES = (b"STRETTO_",)
MEMORY_GROUP = re.compile(rb"/claude-code-bash(?=[|\n]|$)")
"""Where a context names the control group that the host makes for its Bash tool under CLAUDE_CODE_TOOL_MEMORY_LIMIT: right in its own
group (version 1), or beside it (version 2). Hooks, and so the supervisor, are outside of it."""
HOOK_ENV = frozenset(
    {b"GIT_DIR", b"GIT_WORK_TREE", b"GIT_COMMON_DIR", b"GIT_INDEX_FILE", b"GIT_PREFIX", b"GIT_EXEC_PATH", b"GIT_REFLOG_ACTION"}
    | {b"GIT_OBJECT_DIRECTORY", b"GIT_QUARANTINE_PATH", b"GIT_PUSH_OPTION_COUNT", b"GIT_AUTHOR_DATE", b"GIT_COMMITTER_DATE"}
    | {b"PRE_COMMIT", b"HUSKY_GIT_PARAMS", b"LEFTHOOK_BIN"}
)
"""Names that say that git, or a runner of its hooks, stands behind a call. Source: githooks(5), git(1), and the runners' own documents."""
HOOK_PREFIXES = (b"GIT_", b"PRE_COMMIT", b"HUSKY", b"LEFTHOOK", b"PREK_")

PERMISSION_STRICTNESS = {"bypassPermissions": 0, "auto": 1, "acceptEdits": 2, "default": 3, "dontAsk": 3, "plan": 4}
"""Claude Code's permission modes, laxest first; a mode that is not listed counts as the strictest."""


# --- how a run ends ---------------------------------------------------------------------------------------------------------


class End(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one attempt ended. `how` says which fact `value` is; only `code` and `signal` are the command's own doing."""

    how: Literal["code", "signal", "timeout", "cancelled", "oversize", "memory", "processes", "unstarted", "lost"]
    """`memory`: ended for what it took, by us or by the kernel; `processes`: it started too many; `unstarted`: there was no process at all
    (a command that ends with 127 itself is `code`); `lost`: nobody knows."""
    value: int = 0
    """Exit code for `code`, signal number for `signal` (and for `cancelled`, what killed it), error number for `unstarted`, else 0."""

    @property
    def passed(self) -> bool:
        return self.how == "code" and self.value == 0

    @property
    def by_itself(self) -> bool:
        """The command ended without anybody's doing: an exit code, or a signal that a crash raises."""
        return self.how == "code" or (self.how == "signal" and self.value in OWN_SIGNALS)


OWN_SIGNALS = frozenset({4, 5, 6, 7, 8, 11, 13, 31})
"""ILL TRAP ABRT BUS FPE SEGV PIPE SYS (Linux numbers): raised by what the process itself did. Any other came from outside."""


# --- evidence and verdicts --------------------------------------------------------------------------------------------------


class Standing(Enum):
    """What a stored result is worth now; see `freshness.judge`."""

    FRESH = "fresh"
    RUNNING = "running"
    STALE = "stale"
    TORN = "torn"
    UNKNOWN = "unknown"


class FileClass(Enum):
    """What a changed path means; docs/join.md has the table."""

    SOURCE = "source"
    GIT = "git"
    DEPENDENCY = "dependency"
    IGNORED = "ignored"
    WORKSHOP = "workshop"
    """What a development server wrote for itself: nothing to a command that is known not to read it, to any other like IGNORED."""


class Change(Record, frozen=True, kw_only=True):
    """One path that was not the same in two scans."""

    path: str
    """Relative to the project, or absolute for what lies outside; `git:<dir>` and `deps:<dir>` for those two classes."""
    of: FileClass


def lies_in(path: str, folder: str) -> bool:
    """Say whether a path lies where products of a command lie: `build/`, or `out/*.o` for the files of one kind right in a folder."""
    if folder.endswith("/"):
        return path.startswith(folder) or path == folder[:-1]
    start, _, end = folder.rpartition("*")
    return path.startswith(start) and path.endswith(end) and "/" not in path[len(start) :]


class Products(Record, frozen=True, kw_only=True):
    """What a command is known to write itself, from earlier runs that nothing overlapped."""

    paths: Collection[str] = ()
    folders: Collection[str] = ()
    """Whatever changes in these during its runs is its own (`lies_in`)."""

    def hold(self, path: str) -> bool:
        return path in self.paths or any(lies_in(path, folder) for folder in self.folders)


class Evidence(Record, frozen=True, kw_only=True):
    """What the tree was when a run began and ended.

    Generations are numbers of one scanner's life (`scanner`): a scan that finds anything moved begins the next one. So "equal in S0
    and S1" reads "nothing in the changes between generation `before` and `after` matters".
    """

    scanner: str
    before: int
    after: int
    epoch_before: int
    epoch_after: int
    ended_mono_s: float


class Verdict(Record, frozen=True, kw_only=True):
    """What was decided, and why in words a user understands."""

    standing: Standing
    reason: str
    code: str = ""
    """The reason as one of `MISS_CODES`; "" when it may be used."""


MISS_CODES = {
    "never-run": "it had not run on this tree before",
    "arguments-differ": "it had run with other arguments only",
    "environment-differs": "it had run in another environment only",
    "streams-differ": "it had run with its outputs connected in another way only",
    "directory-differs": "it had run in another directory only",
    "tool-differs": "it had run as another program or version only",
    "input-differs": "it had run with another standard input only",
    "limits-differ": "it had run under other limits or as another user only",
    "moved": "something changed since its last run ended",
    "torn": "something changed during its last run",
    "running-moved": "something changed since the run under way began",
    "epoch": "something happened that no look at the project can show",
    "too-old": "its last run ended too long ago",
    "failed-once": "a failure is shown once, then it runs again",
    "held": "its run under way had been held back for the session",
    "not-ended": "its last run was stopped or lost",
    "restarted": "the supervisor was new and did not know what had changed",
    "unreadable": "the project could not be read completely",
    "output-damaged": "its output on disk was not what it was",
    "log-contradicts": "the log spoke against it",
    "beside-unknown": "it stood beside a command of unknown effects",
    "stranger": "its session was not one that is followed in this project",
    "untraced": "it did not descend from the process of its session",
    "unannounced": "no hook had announced the call it stood in",
    "real-run": "its words, or those of what called it, ask for a real run",
    "repeated": "it was asked again within one Bash call, or in a loop: whoever repeats a check looks for a difference",
    "measured": "it was timed, traced or profiled",
    "barred": "an audit found that its output or exit differs",
    "git-hook": "git called it, with an index or a date of its own",
    "steered": "a cache steers its outcome",
    "unseen-tool": "it makes its own environment, which no look at the project can show",
    "sandbox": "it ran in a sandbox, or under other limits than the supervisor",
    "other-checkout": "it imports the project's own packages from another checkout",
    "outside": "it ran in, or was about, something outside the project",
    "disabled": "it was excluded, or Stretto was switched off for it",
    "not-intercepted": "its name is not intercepted",
    "by-path": "it was called by a path, or its file by an interpreter, past its shim",
    "login-shell": "it stood in a shell that reads profiles, or under sudo",
    "elsewhere": "it ran in a container, on another machine or on a PATH of its own",
    "stdin": "its standard input was not empty",
    "no-answer": "its shim did not ask: its streams, or no answer in time",
    "": "the log does not say why",
}
"""Every reason for which a check that was asked for ran for real (F39), in words for a table; the list is closed. The last: older logs."""


# --- the log ----------------------------------------------------------------------------------------------------------------


class Event(Record, tag_field="t", frozen=True, kw_only=True):
    """Fields every event carries."""

    v: int = 1
    """Format of the line: what we write says `FORMAT_VERSION`, a line that says nothing is of the first one."""
    ts: float
    """Wall clock, seconds since 1970; for display only."""
    mono: float
    """Monotonic clock in seconds; comparable within one `boot` only."""
    boot: str
    by: str
    """Who wrote it: `supervisor:<pid>`, `monitor:<pid>`, `cli:<pid>`."""


class SupervisorStarted(Event, tag="supervisor.started", frozen=True, kw_only=True):
    pid: int
    start: str
    """The kernel's start time of that pid: pid, start and boot together name one process for ever."""
    version: str
    mode: Mode


class SupervisorStopped(Event, tag="supervisor.stopped", frozen=True, kw_only=True):
    reason: str


class SessionOpened(Event, tag="session.opened", frozen=True, kw_only=True):
    session: SessionId
    source: str
    """startup, resume, clear or compact: Claude Code's word."""
    claude_pid: int
    claude_start: str = ""
    """The kernel's start time of that pid; "" in older logs: then a pid that was given again may be taken for it."""


class SessionClosed(Event, tag="session.closed", frozen=True, kw_only=True):
    session: SessionId
    reason: str


class EpochBegan(Event, tag="epoch.began", frozen=True, kw_only=True):
    """Something happened that no scan can see; every earlier result ends here."""

    epoch: int
    reason: str
    session: SessionId | None = None


class TreeMoved(Event, tag="tree.moved", frozen=True, kw_only=True):
    generation: int
    count: int
    sample: tuple[str, ...]
    """The first few changed paths."""
    foreign: tuple[str, ...] = ()
    """Folders of products (`attempt.settled`) in which something changed while no command was known to run."""


class JobSeen(Event, tag="job.seen", frozen=True, kw_only=True):
    job: JobKey
    name: str
    argv: tuple[str, ...]
    """For display: secrets redacted, undecodable bytes escaped."""
    cwd: str
    """Relative to the project: `.` for its root."""
    streams: Streams
    hooked: bool = False
    """Git, or a runner of its hooks, called it: such a one never runs ahead."""


class JobRetried(Event, tag="job.retried", frozen=True, kw_only=True):
    """The user wants a command that was put aside, given up or barred to run ahead and be joined again; why it was not is forgotten."""

    job: JobKey


class JobFlipped(Event, tag="job.flipped", frozen=True, kw_only=True):
    """A command came to another end than the run before it, and nothing had changed: it is flaky."""

    job: JobKey
    attempt: AttemptId
    """The later of the two runs."""
    was: str
    """pass or fail."""
    now: str


class JobContradicted(Event, tag="job.contradicted", frozen=True, kw_only=True):
    """A run ahead and the session's own run of one command came to different ends on one tree: its runs ahead live another life."""

    job: JobKey
    attempt: AttemptId
    """The later of the two runs."""
    ahead: str
    """How the run ahead ended: pass or fail."""
    foreground: str
    """How the session's own did."""


class PermissionAsked(Event, tag="permission.asked", frozen=True, kw_only=True):
    """The host put a question before running this; one approval is no standing one, so the job does not run ahead."""

    job: JobKey
    session: SessionId


class AttemptStarted(Event, tag="attempt.started", frozen=True, kw_only=True):
    attempt: AttemptId
    job: JobKey
    kind: Kind
    session: SessionId | None
    generation: int
    nested: bool = False
    """Called from inside another recorded run (a `pytest` inside `make test`)."""
    why: str = ""
    audits: AttemptId | None = None
    """Of an ahead run that was started only to be compared with this one."""


class AttemptSpawned(Event, tag="attempt.spawned", frozen=True, kw_only=True):
    attempt: AttemptId
    pid: int
    start: str


class AttemptExited(Event, tag="attempt.exited", frozen=True, kw_only=True, forbid_unknown_fields=True):
    attempt: AttemptId
    end: End
    out_bytes: int
    err_bytes: int
    took_s: float
    """Without the time for which it was held back."""
    cpu_s: float
    left: int = 0
    """Processes the command left running."""
    held_s: float = 0.0
    """For how long it was held back because the session needed the machine."""


class AttemptSettled(Event, tag="attempt.settled", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The evidence is complete: what the run changed, and whether its result may ever be used."""

    attempt: AttemptId
    generation: int
    torn: str = ""
    """Why the result cannot be used, "" when it can."""
    wrote: tuple[str, ...] = ()
    """Sources the run itself changed."""
    products: tuple[str, ...] = ()
    """Ignored files the run wrote."""
    remote: bool = False
    """A connection beyond loopback was seen."""
    left: int = 0
    digest: str = ""
    """`bundle.digest_of` what it printed; "" when that was not read (lost, cancelled, a line of format 1)."""
    reached: str = ""
    """A service of this machine that it was seen to use, or a fixed port that it served itself, in words; "" when none was seen."""
    outcome: Outcome = ""
    """What it says of the code (`gates.outcome`)."""
    tracked: bool = True
    """Git tracks one of `wrote`, or nobody can say: it wrote what is somebody's work, and not only files of its own."""
    edited: bool = False
    """A source had changed since this command last ran, so there was something for it to write; false in older logs."""
    looks: int = 0
    """How often its connections were looked at; 0 in older logs."""
    folders: tuple[str, ...] = ()
    """Where `products` lie, as far as git ignores a whole folder (`build/`) or several of a kind lie together (`out/*.o`)."""
    made: tuple[str, ...] = ()
    """Those of `folders` that came into being during the run."""
    outputs: tuple[str, ...] = ()
    """Files of the project into which the shell put what it printed, and which held nothing when it began."""
    beside: str = ""
    """Beside what its own Bash call had started it ran, in words: a server, a daemon; "" when it ran alone, or ran ahead."""


class RequestMade(Event, tag="request.made", frozen=True, kw_only=True):
    """Somebody asked for a job (`job.seen` with this id came right before); it is not a check and nothing joins it."""

    job: JobKey
    after: tuple[JobKey, ...] = ()
    """Requested jobs that must have passed first; all of them were asked for earlier, so no cycle can be written down."""
    priority: int = 0
    """Higher starts first."""
    memory_bytes: int
    """What it may need; see `schedule.DEFAULT_MEMORY_BYTES` for one that does not say."""
    keep: bool = False
    """It may go on after its session ended."""
    retries: int = 0
    """So often it is tried again after a failure, before it is put aside."""
    session: SessionId | None = None
    """The session it was asked in and ends with; null when there was none."""


class RequestHeld(Event, tag="request.held", frozen=True, kw_only=True):
    """A job that could start does not, and why; written when the reason changes."""

    job: JobKey
    reason: str


class RequestCancelled(Event, tag="request.cancelled", frozen=True, kw_only=True):
    """The job shall not run (any more); whatever its process does from here on, it stays cancelled."""

    job: JobKey
    reason: str


class RequestLost(Event, tag="request.lost", frozen=True, kw_only=True):
    """The job can never start: what it needs was only in the memory of a supervisor that is gone."""

    job: JobKey
    reason: str


class JoinDecided(Event, tag="join.decided", frozen=True, kw_only=True):
    ask: str
    """Id of this one question."""
    job: JobKey
    session: SessionId | None
    standing: str
    """fresh, running, stale, torn, unknown, or `none` when there was nothing to judge."""
    do: Literal["replay", "attach", "record", "exec"]
    attempt: AttemptId | None
    """The attempt joined, or the one begun."""
    of: Kind | None = None
    """Whose result was joined."""
    reason: str
    would: Literal["", "replay", "attach"] = ""
    """In observe mode: what `on` would have done."""
    decide_ms: float = 0.0
    code: str = ""
    """Why it was no join, one of `MISS_CODES`; "" for a join."""
    differs: tuple[str, ...] = ()
    """In what the call differs from the nearest one that is known: `arguments`, `directory`, `env NAME` and the like, never a value."""
    shape: str = ""
    """How the check stands in its Bash command (`commands.shape_of`); "" when that was not seen."""
    nested: bool = False
    """It came from inside another recorded run."""
    mode: str = ""
    """The permission mode in which the host ran it without a question, for a reason that goes for later sessions, too; "" if not known."""
    host: str = ""
    """A digest of what else decided that, settings files and command line (decision 0014); "" together with `mode`."""


class JoinDone(Event, tag="join.done", frozen=True, kw_only=True):
    ask: str
    attempt: AttemptId
    waited_s: float
    saved_s: float
    """What the session did not wait for: the attempt's own duration, or the usual one of its command when that is less, less the wait."""


class CheckMissed(Event, tag="check.missed", frozen=True, kw_only=True):
    """A Bash command held a check that no shim asked about."""

    session: SessionId
    name: str
    """The tool's name; never more of the text."""
    shape: str
    code: str
    """One of `MISS_CODES`."""


BlockEnd = Literal["clear", "owner", "expired", "user", "superseded", "session"]
"""clear: who raised it took it back. owner: that worker ended. expired: its time was over. user: a person removed it. superseded: the
check that it is about passed. session: the session that it meant is over."""
GateAct = Literal["allow", "continue", "deny"]
"""continue: a turn that was about to end goes on, with the reason. deny: a tool, a commit or a push is not done, with the reason."""
AuditOutcome = Literal["same", "differs", "false", "unrepeatable", "void", "skipped"]


class JoinAudited(Event, tag="join.audited", frozen=True, kw_only=True):
    """A joined run was run again on the same evidence and compared.

    same: equal in what counts. differs: not; nothing is joined for this command any more. false: a second rerun agreed with the first,
    so what was joined was wrong. unrepeatable: the reruns differ among themselves. void: something moved meanwhile, or it could not be
    compared. skipped: the command may not run ahead, so it was not run again. A later finding about a question replaces the earlier one.
    """

    ask: str
    job: JobKey
    session: SessionId | None
    attempt: AttemptId
    """The one that was joined; both outputs are kept under their ids while the command is barred."""
    again: AttemptId | None = None
    outcome: AuditOutcome
    reason: str = ""


class NewsTold(Event, tag="news.told", frozen=True, kw_only=True):
    session: SessionId
    job: JobKey
    attempt: AttemptId
    was: str
    now: str
    text: str


class AheadTold(Event, tag="ahead.told", frozen=True, kw_only=True):
    """A session was told, once for each command, that these now also run ahead of being asked for, and how to switch that off."""

    session: SessionId
    jobs: tuple[JobKey, ...]
    text: str


class PromptBegan(Event, tag="prompt.began", frozen=True, kw_only=True):
    """The user (not a notification of the host's) gave a session something to do: what a gate may count begins anew."""

    session: SessionId


class SourceWritten(Event, tag="source.written", frozen=True, kw_only=True):
    """An agent of a session wrote a source for the first time since the user's last prompt."""

    session: SessionId
    agent: str = ""
    """Id of the subagent, "" for the main one."""
    path: str
    """The first of what it wrote, relative to the project."""


class BlockRaised(Event, tag="block.raised", frozen=True, kw_only=True):
    """Somebody keeps sessions from something until it is over; the same block again changes nothing."""

    block: str
    """16 hex digits over what makes it the same block."""
    scope: BlockScope
    reason: str
    session: SessionId | None = None
    """The session that is meant, None: all of the project."""
    attempt: AttemptId | None = None
    """The worker that raised it; it ends with that. None: a person, or a program of theirs."""
    job: JobKey | None = None
    """The check that it is about: it ends when that passes."""
    ttl_s: float


class BlockCleared(Event, tag="block.cleared", frozen=True, kw_only=True):
    """A block is over."""

    block: str
    how: BlockEnd
    by_whom: str = ""


class WorkerSaid(Event, tag="worker.said", frozen=True, kw_only=True):
    """Somebody tells sessions something, once, as data; nothing is held up."""

    text: str
    session: SessionId | None = None
    attempt: AttemptId | None = None


class WordsTold(Event, tag="words.told", frozen=True, kw_only=True):
    """A session was told what workers said, up to so many of all that was ever said."""

    session: SessionId
    count: int


class WorkerProgressed(Event, tag="worker.progressed", frozen=True, kw_only=True):
    """A worker says how far it is."""

    attempt: AttemptId
    done: float
    total: float | None = None
    text: str = ""


class ArtifactMade(Event, tag="artifact.made", frozen=True, kw_only=True):
    """A worker names a file that it made for somebody."""

    attempt: AttemptId
    path: str
    text: str = ""


class Weighed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a gate knew of one check when it decided."""

    job: JobKey
    attempt: AttemptId | None
    standing: str
    outcome: Outcome
    fact: str = ""
    """Digest of the check and the set of its failing tests; "" when it does not fail."""
    reason: str = ""


class GateDecided(Event, tag="gate.decided", frozen=True, kw_only=True):
    """A gate was asked, and this is what it answered; it is in the log before the answer is given."""

    gate: str
    """Id of this decision."""
    session: SessionId | None
    agent: str = ""
    on: str
    """Stop, SubagentStop, TaskCompleted, PreToolUse, commit or push."""
    do: GateAct
    rule: str
    """Which rule decided, one of `gates.RULES`."""
    reason: str
    checks: tuple[Weighed, ...] = ()
    blocks: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    """What the session is held up for now, and therefore not again."""
    generation: int = 0
    held_s: float = 0.0
    """For how long the answer was kept back because a check was about to end."""


class SessionWoken(Event, tag="session.woken", frozen=True, kw_only=True):
    """An idle session was woken because of a block."""

    session: SessionId
    block: str
    after_s: float
    """Seconds since the block was raised."""


class InvariantBroken(Event, tag="invariant.broken", frozen=True, kw_only=True):
    """Something that Stretto promises was found not to hold; the result it concerns is not used."""

    rule: str
    """output: what a run printed is not on disk as it was. lease: a process of an ended run lived on.
    join: the log contradicts a join that was about to be answered."""
    attempt: AttemptId
    what: str


LogEvent = (
    SupervisorStarted
    | SupervisorStopped
    | SessionOpened
    | SessionClosed
    | EpochBegan
    | TreeMoved
    | JobSeen
    | JobRetried
    | JobFlipped
    | JobContradicted
    | PermissionAsked
    | AttemptStarted
    | AttemptSpawned
    | AttemptExited
    | AttemptSettled
    | RequestMade
    | RequestHeld
    | RequestCancelled
    | RequestLost
    | JoinDecided
    | JoinDone
    | CheckMissed
    | JoinAudited
    | NewsTold
    | AheadTold
    | PromptBegan
    | SourceWritten
    | BlockRaised
    | BlockCleared
    | WorkerSaid
    | WordsTold
    | WorkerProgressed
    | ArtifactMade
    | GateDecided
    | SessionWoken
    | InvariantBroken
)


class Bad(NamedTuple):
    """A line of the log that is no event of ours, and why."""

    raw: bytes
    reason: str


EVENT_DECODER = msgspec.json.Decoder(LogEvent)
ENCODER = msgspec.json.Encoder()


def invocation_from(message: Mapping[str, bytes], *, below_git: bool = False) -> Invocation:
    """Return the invocation a shim's `invoke` request describes.

    Args:
        below_git: a git process stands between it and the session, as its ancestors show.

    Raises:
        KeyError: a field is missing.
        ValueError: the name is no text, or streams or standard input are of no known kind.
    """
    streams = message["streams"].decode("ascii")
    if streams not in ("merged", "split"):
        raise ValueError(f"unknown streams {streams!r}")
    stdin = message["stdin"].decode("ascii")
    if stdin not in ("null", "idle"):
        raise ValueError(f"unknown standard input {stdin!r}")
    return Invocation(
        name=message["name"].decode(),
        exe=message["exe"],
        argv=tuple(message["argv"].split(b"\0")),
        cwd=message["cwd"],
        env=tuple(message["env"].split(b"\0")) if message["env"] else (),
        context=message["context"],
        streams="merged" if streams == "merged" else "split",
        stdin="null" if stdin == "null" else "idle",
        below_git=below_git,
    )
