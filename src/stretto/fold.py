"""What the log says: `apply(state, event) -> state`. Pure.

An attempt is a small machine; `NEXT` holds every legal step and nothing else:

    Begun --attempt.spawned--> Running --attempt.exited--> Exited --attempt.settled--> Settled
      '------attempt.exited----------------------------------^  '--attempt.spawned--> Exited (heard late)

A short run's `attempt.spawned` may come right after its `attempt.exited`: the supervisor writes the one, the monitor the other.

A job that was asked for (`stretto run`) is another; `REQUEST_NEXT` holds its steps:

    WaitsFor --the last of the others passed--> Ready --attempt.started--> UnderWay --attempt.exited--> Passed, Failed, PutAside
       |                                         |  ^------- a retry is left -------|
       |--request.cancelled--> Cancelled <-------|                                  '--request.cancelled--> Stopping --> Cancelled
       '--request.lost-------> Lost <------------'

It is one idea in one file: two machines over one log, because a step of an attempt is a step of the job it is a try of.

Promises: an event its attempt cannot take, or one about something unknown, changes nothing but the list of anomalies: a forged, late
or doubled record can make a result unknown, never passed. A line that is no event makes every command one that has to be seen again
before it runs ahead (decision 0008). `apply` uses up the state it is given (it is changed in place and returned):
a log of a million events is folded without copying a million dictionaries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from statistics import median

import msgspec

from stretto import habits, steering
from stretto.model import (
    AheadTold,
    ArtifactMade,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptSpawned,
    AttemptStarted,
    Bad,
    BlockCleared,
    BlockRaised,
    CheckMissed,
    End,
    EpochBegan,
    Event,
    GateDecided,
    InvariantBroken,
    JobContradicted,
    JobFlipped,
    JobKey,
    JobRetried,
    JobSeen,
    JoinAudited,
    JoinDecided,
    JoinDone,
    Kind,
    LogEvent,
    NewsTold,
    PermissionAsked,
    PromptBegan,
    RequestCancelled,
    RequestHeld,
    RequestLost,
    RequestMade,
    SessionClosed,
    SessionId,
    SessionOpened,
    SessionWoken,
    SourceWritten,
    Streams,
    SupervisorStarted,
    SupervisorStopped,
    TreeMoved,
    WordsTold,
    WorkerProgressed,
    WorkerSaid,
    lies_in,
)
from stretto.steering import Block, Steering
from stretto.tally import Ledger, Outcome

RECENT = 500
"""How many joins, news and anomalies the state remembers; the log has them all."""
DURATIONS = 9
"""Of how many last runs the usual duration is the median."""
MAKES_WAY = "a hook of another version came"
"""How the reason begins with which a supervisor leaves for one of another version."""
ATTEMPTS_KEPT, ATTEMPTS_BEYOND = 1000, 100
"""Ended attempts the state remembers; older ones are only in the log. It may be some more: they are forgotten so many at a time."""
REQUESTS_KEPT = 500
"""Requested jobs that are over and still remembered; older ones once their attempts are forgotten, too."""
UNKNOWN_EPOCH = -1
"""Of an attempt that an older snapshot remembers."""
ALONE_FIRST, ALONE_MOST = 3, 48
"""So many foreground runs a command whose run ahead was contradicted is left alone; each further time doubles the number."""
BET_KEPT = 0.9
"""What is left of the cost and the gain of a command's earlier ahead runs when the next one ends: about the last ten count."""
BET_STOPPED = 0.25
"""A run that was stopped, because the tree moved or the session needed the machine, is so much of one that lost."""
BET_IDLE = 0.25
"""A second in which an ahead run only waits costs so many seconds of a processor: it holds one of the machine's places."""
LOOKS_KEPT, LOOKS_COUNT = 5, 2
"""An effect of a command counts when its latest run had it, or so many of the latest; one that was seen once and not again is forgiven."""
FOLDER_RUNS = 2
"""So many runs, each with nothing beside it, have to be seen to write into a folder before whatever changes there is theirs."""
FOLDERS_KEPT, PATHS_KEPT = 200, 500
"""Of one command."""
BARRING = ("differs", "false", "unrepeatable")
"""What an audit may find after which a command is joined no more, until the user says so."""
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
"""The pause before the first retry; it doubles, up to the second number."""


# --- one attempt's phases ---------------------------------------------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It was decided that it starts; nobody has seen its process yet."""


class Running(msgspec.Struct, frozen=True, tag=True, gc=False):
    pid: int
    start: str


class Exited(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The command is over; whether its result may be used is not known yet."""

    end: End
    out_bytes: int
    err_bytes: int
    took_s: float


class Settled(msgspec.Struct, frozen=True, tag=True, gc=False):
    end: End
    out_bytes: int
    err_bytes: int
    took_s: float
    torn: str
    wrote: tuple[str, ...]
    products: tuple[str, ...]


Phase = Begun | Running | Exited | Settled

NEXT: dict[type[Phase], dict[type[Event], Callable[..., Phase]]] = {
    Begun: {
        AttemptSpawned: lambda _, e: Running(e.pid, e.start),
        AttemptExited: lambda _, e: Exited(e.end, e.out_bytes, e.err_bytes, e.took_s),
    },
    Running: {AttemptExited: lambda _, e: Exited(e.end, e.out_bytes, e.err_bytes, e.took_s)},
    Exited: {
        AttemptSpawned: lambda p, _: p,
        AttemptSettled: lambda p, e: Settled(p.end, p.out_bytes, p.err_bytes, p.took_s, e.torn, e.wrote, e.products),
    },
    Settled: {},
}


class Attempt(msgspec.Struct, kw_only=True, gc=False):
    attempt: AttemptId
    job: JobKey
    kind: Kind
    session: SessionId | None
    nested: bool
    started_at: float
    started_mono: float
    boot: str
    generation: int
    why: str
    epoch: int = UNKNOWN_EPOCH
    """In which it began."""
    phase: Phase = Begun()
    joined: int = 0
    """How often its result was taken by another call, replays and attaches."""
    cpu_s: float = 0.0
    audits: AttemptId | None = None
    """Of an ahead run that was started only to be compared with this one."""

    @property
    def end(self) -> End | None:
        return self.phase.end if isinstance(self.phase, (Exited, Settled)) else None

    @property
    def took_s(self) -> float | None:
        return self.phase.took_s if isinstance(self.phase, (Exited, Settled)) else None

    @property
    def open(self) -> bool:
        return isinstance(self.phase, (Begun, Running))


# --- one requested job's phases ---------------------------------------------------------------------------------------------


class WaitsFor(msgspec.Struct, frozen=True, tag=True, gc=False):
    others: frozenset[JobKey]
    """Those of its dependencies that have not passed; never empty."""


class Ready(msgspec.Struct, frozen=True, tag=True, gc=False):
    tries: int = 0
    due_mono_s: float = 0.0
    """Not before this time of the log's monotonic clock: the pause before a retry."""
    held: str = ""
    """Why it has not begun, as the supervisor last said."""


class UnderWay(msgspec.Struct, frozen=True, tag=True, gc=False):
    attempt: AttemptId
    tries: int


class Stopping(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Cancelled, and its process is not gone yet."""

    attempt: AttemptId
    reason: str


class Passed(msgspec.Struct, frozen=True, tag=True, gc=False):
    attempt: AttemptId


class Failed(msgspec.Struct, frozen=True, tag=True, gc=False):
    end: End


class Cancelled(msgspec.Struct, frozen=True, tag=True, gc=False):
    reason: str


class PutAside(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It failed at every try it was given."""

    end: End
    tries: int


class Lost(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It can never begin (again)."""

    reason: str


RequestPhase = WaitsFor | Ready | UnderWay | Stopping | Passed | Failed | Cancelled | PutAside | Lost
OVER = (Passed, Failed, Cancelled, PutAside, Lost)
"""The phases in which nothing more happens to a job."""


class Request(msgspec.Struct, kw_only=True):
    """A job that somebody asked for; its command is in `State.jobs` under the same id."""

    job: JobKey
    after: tuple[JobKey, ...]
    priority: int
    memory_bytes: int
    keep: bool
    retries: int
    session: SessionId | None
    asked_at: float
    phase: RequestPhase
    attempt: AttemptId | None = None
    """Its latest try."""
    ended_at: float | None = None

    @property
    def over(self) -> bool:
        return isinstance(self.phase, OVER)

    @property
    def under_way(self) -> bool:
        return isinstance(self.phase, (UnderWay, Stopping))


def retry_pause_s(tries: int) -> float:
    """Return how long a job that failed `tries` times (1 or more) waits for its next try."""
    return float(min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(tries - 1, 10)))


def _tried(request: Request, phase: UnderWay, event: AttemptExited) -> RequestPhase:
    if event.end.passed:
        return Passed(phase.attempt)
    if event.end.how == "cancelled":
        return Cancelled("its monitor was told to end it")
    if phase.tries <= request.retries:
        return Ready(phase.tries, event.mono + retry_pause_s(phase.tries))
    return PutAside(event.end, phase.tries) if request.retries else Failed(event.end)


REQUEST_NEXT: dict[type[RequestPhase], dict[type[Event], Callable[..., RequestPhase]]] = {
    WaitsFor: {
        RequestCancelled: lambda _, p, e: Cancelled(e.reason),
        RequestLost: lambda _, p, e: Lost(e.reason),
    },
    Ready: {
        AttemptStarted: lambda _, p, e: UnderWay(e.attempt, p.tries + 1),
        RequestHeld: lambda _, p, e: Ready(p.tries, p.due_mono_s, e.reason),
        RequestCancelled: lambda _, p, e: Cancelled(e.reason),
        RequestLost: lambda _, p, e: Lost(e.reason),
    },
    UnderWay: {
        AttemptExited: _tried,
        RequestCancelled: lambda _, p, e: Stopping(p.attempt, e.reason),
    },
    Stopping: {AttemptExited: lambda _, p, e: Cancelled(p.reason)},
    Passed: {},
    Failed: {},
    Cancelled: {},
    PutAside: {},
    Lost: {},
}


class Job(msgspec.Struct, kw_only=True):
    """A command as it was asked for, and what is known of it."""

    job: JobKey
    name: str
    argv: tuple[str, ...]
    cwd: str
    streams: Streams
    seen_at: float
    foreground_runs: int = 0
    ahead_runs: int = 0
    joins: int = 0
    last_asked_mono: float = 0.0
    asked: bool = False
    """The host put a permission question at its latest foreground call."""
    allowed_mode: str = ""
    """The permission mode in which the host ran it, as last asked, without a question that a later session would see; "" if not known."""
    allowed_host: str = ""
    """The digest of what else decided that; "" together with `allowed_mode`."""
    clean: bool = False
    """Observed at least once: ended by itself, wrote nothing but caches, left nothing, called nobody."""
    mutating: bool = False
    """It writes files that git does not ignore; for good when git tracks one of them."""
    rewrites: bool = False
    """It was seen to write a file that git tracks."""
    product_paths: frozenset[str] = frozenset()
    """Ignored files it was seen to write."""
    product_folders: dict[str, int] = msgspec.field(default_factory=dict)
    """Where these lie, and in how many of its runs something changed there; -1 when somebody else changes it, too."""
    leaves: bool = False
    remote: bool = False
    reached: str = ""
    """The service of this machine that it was seen to use, or the fixed port that it served."""
    looks: dict[str, tuple[bool, ...]] = msgspec.field(default_factory=dict)
    """By effect, whether the latest runs that could show it did, latest last; nothing of an effect that was never seen."""
    flips: int = 0
    """How often it came to another end than the run before it although nothing had changed."""
    flip: str = ""
    """The last of them: `failed, then passed` or the other way round."""
    flipped_at: float = 0.0
    """When that was, for display."""
    hooked: bool = False
    """Git, or a runner of its hooks, called it."""
    beside: str = ""
    """Beside what its latest foreground call had started it ran: its runs ahead would be without that."""
    contradictions: int = 0
    """How often a run ahead and the session's own came to different ends on one tree, since the user last said to try again."""
    contradiction: str = ""
    """The last of them, in words."""
    alone_until: int = 0
    """The number of foreground runs that it has to reach before it runs ahead again."""
    told: bool = False
    """A session was told that it runs ahead."""
    crashes: int = 0
    """Ahead runs in a row that were lost, killed, or over a limit; `retries` says what follows."""
    crashed_mono: float = 0.0
    crashed_boot: str = ""
    crashed_at: float = 0.0
    """The last of them, for display."""
    last_attempt: AttemptId | None = None
    last_end: End | None = None
    barred: str = ""
    """Why nothing is joined for it any more, since an audit found something; "" when it may be."""
    bet_cost_s: float = 0.0
    """Processor seconds of its ahead runs, and below the seconds that they spared the session; older ones count less and less."""
    bet_hidden_s: float = 0.0
    idle_bets: float = 0.0
    """Ahead runs that ended since one of them was joined; `meter.loses` says what follows."""
    asks_since_bet: int = 0
    """How often the session asked for it since its last ahead run ended."""
    durations_s: list[float] = msgspec.field(default_factory=list)

    @property
    def products(self) -> bool:
        """Whether it writes ignored files, as far as the latest runs show."""
        return counts(self.looks["products"]) if "products" in self.looks else bool(self.product_paths)

    @property
    def own_folders(self) -> frozenset[str]:
        """The folders in which whatever changes during its runs is its own."""
        return frozenset(folder for folder, runs in self.product_folders.items() if runs >= FOLDER_RUNS)

    @property
    def contradicted(self) -> str:
        """Why nothing that ran ahead counts for it, "" when it does."""
        left = self.alone_until - self.foreground_runs
        return (
            f"{self.contradiction}; tried again after {left} more {'run' if left == 1 else 'runs'} of the session's own" if left > 0 else ""
        )

    @property
    def median_s(self) -> float:
        return median(self.durations_s) if self.durations_s else 0.0


def counts(looks: tuple[bool, ...]) -> bool:
    """Say whether an effect that was seen in some of the latest runs is still taken for one of the command."""
    return bool(looks) and (looks[-1] or sum(looks) >= LOOKS_COUNT)


class Session(msgspec.Struct, kw_only=True):
    session: SessionId
    source: str
    claude_pid: int
    claude_start: str = ""
    boot: str = ""
    """Pid, start and boot name the host's process for ever, whatever the wall clock does."""
    opened_at: float
    closed: bool = False


class Anomaly(msgspec.Struct, frozen=True):
    offset: int
    what: str


class State(msgspec.Struct, kw_only=True):
    """The fold of the whole log."""

    sessions: dict[SessionId, Session] = msgspec.field(default_factory=dict)
    jobs: dict[JobKey, Job] = msgspec.field(default_factory=dict)
    attempts: dict[AttemptId, Attempt] = msgspec.field(default_factory=dict)
    requests: dict[JobKey, Request] = msgspec.field(default_factory=dict)
    """In the order in which they were asked for."""
    joins: deque[JoinDecided] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    waits: dict[str, JoinDone] = msgspec.field(default_factory=dict)
    """Ends of joins by `ask`; as many as there are in `joins`."""
    news: deque[NewsTold] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    anomalies: deque[Anomaly] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    anomaly_count: int = 0
    broken: deque[InvariantBroken] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    broken_count: int = 0
    bad_lines: int = 0
    last_bad: Anomaly | None = None
    """The latest line that is no event, and why."""
    events: int = 0
    epoch: int = 0
    generation: int = 0
    supervisor: SupervisorStarted | None = None
    """The latest supervisor that said it began and has not said that it stopped; it may be dead."""
    made_way: str = ""
    """Version of the supervisor that left because a hook of another version came, "" when the last one left for anything else."""
    saved_s: float = 0.0
    in_front: set[AttemptId] = msgspec.field(default_factory=set)
    """Runs that a session waits for, under way."""
    story: list[habits.Beat] = msgspec.field(default_factory=list)
    """What the sessions wrote and asked for, latest last, from which `habits` learns."""
    beats: int = 0
    """How many there ever were."""
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    audits: deque[JoinAudited] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    steering: Steering = msgspec.field(default_factory=Steering)
    """Blocks, prompts and what gates decided."""
    last_at: float = 0.0
    last_hook_at: float = 0.0
    """When a hook last did something that is logged; 0: never."""

    def open_attempts(self) -> list[Attempt]:
        """Attempts that began and have not ended, oldest first."""
        return [attempt for attempt in self.attempts.values() if attempt.open]

    def open_sessions(self) -> list[SessionId]:
        """Sessions that opened and have not closed."""
        return [session.session for session in self.sessions.values() if not session.closed]

    def live_blocks(self, mono_s: float, boot: str) -> list[Block]:
        """Blocks that hold at this moment, oldest first."""
        living, sessions = {attempt.attempt for attempt in self.open_attempts()}, set(self.open_sessions())
        blocks = self.steering.blocks.values()
        return [block for block in blocks if not steering.over(block, mono_s=mono_s, boot=boot, living=living, open_sessions=sessions)]


def apply(state: State, event: LogEvent | Bad, offset: int = -1) -> State:
    """Return the state after one line of the log; uses up the one passed in.

    Args:
        offset: where the line begins, for the anomaly list; -1 when it does not matter.
    """
    return apply_all(state, (event,), lambda _: offset)


def apply_all(state: State, events: Iterable[LogEvent | Bad], offset_of: Callable[[int], int]) -> State:
    """Return the state after many lines of the log; uses up the one passed in.

    Args:
        offset_of: where the line with this index among them begins; asked for what goes onto the anomaly list only.
    """
    last: LogEvent | None = None
    count = 0
    for index, event in enumerate(events):
        if isinstance(event, Bad):
            _bad_line(state, event, offset_of(index))
            continue
        if last is None and not state.ledger.since_at:
            state.ledger.since_at = event.ts
        last = event
        count += 1
        if problem := APPLY[type(event)](state, event):
            state.anomaly_count += 1
            state.anomalies.append(Anomaly(offset_of(index), problem))
    state.events += count
    if last is not None:
        state.last_at = last.ts
    return state


def _bad_line(state: State, line: Bad, offset: int) -> None:
    """Count a line nobody can use. It may have said that a command writes sources or was asked about, so each has to be seen anew."""
    state.bad_lines += 1
    state.last_bad = Anomaly(offset, line.reason)
    for job in state.jobs.values():
        job.clean = False


def fold(events: Iterable[tuple[int, LogEvent | Bad]]) -> State:
    """Return the state a whole log leads to."""
    state = State()
    for offset, event in events:
        state = apply(state, event, offset)
    return state


def recount(events: Iterable[tuple[int, LogEvent | Bad]], known: State, *, session: str = "", since_at: float = 0.0) -> Ledger:
    """Return what the log counts for one session, from a time on, or both.

    Args:
        events: as much of the log as is kept, from its beginning.
        known: the fold of the whole log, for the commands that are named only in what is no longer kept.
        session: "" for all.
        since_at: wall clock; counting begins with the first event that is not older.
    """
    state = State(
        jobs={
            job.job: Job(job=job.job, name=job.name, argv=job.argv, cwd=job.cwd, streams=job.streams, seen_at=job.seen_at)
            for job in known.jobs.values()
        }
    )
    begun = False
    for offset, event in events:
        if not begun and not isinstance(event, Bad) and event.ts >= since_at:
            begun = True
            state.ledger = Ledger(only=session, since_at=event.ts)
        apply(state, event, offset)
    return state.ledger if begun else Ledger(only=session)


def objection(state: State, job: JobKey, do: str, attempt: AttemptId) -> str:
    """Say what the log itself holds against answering a question with a run, "" when nothing.

    `freshness` decides by what the supervisor remembers; this asks what is written down, and shares nothing with it (C-24).

    Args:
        do: replay or attach.
    """
    run = state.attempts.get(attempt)
    if run is None:
        return ""  # forgotten, not contradicted
    if run.job != job or run.kind == "requested":
        return "by the log it is a run of something else"
    if run.epoch not in (UNKNOWN_EPOCH, state.epoch):
        return f"by the log it began in epoch {run.epoch}, and this is {state.epoch}"
    match run.phase:
        case Settled() if do == "attach":
            return "by the log it has ended"
        case Settled(torn=torn) if torn:
            return f"by the log it is torn: {torn}"
        case Settled(end=end) if not end.by_itself:
            return f"by the log it ended by {end.how}"
        case Begun() | Running() | Exited() if do == "replay":
            return "by the log it has no result yet"
        case _:
            return ""


def disputed(state: State) -> set[AttemptId]:
    """Return the runs whose outputs an audit found to differ, as long as their command is barred: a person may want to see both."""
    audits = [audit for audit in state.audits if audit.outcome in BARRING and audit.job in state.jobs and state.jobs[audit.job].barred]
    return {attempt for audit in audits for attempt in (audit.attempt, audit.again) if attempt is not None}


def _supervisor_started(state: State, event: SupervisorStarted) -> str:
    state.supervisor = event
    return ""


def _supervisor_stopped(state: State, event: SupervisorStopped) -> str:
    if state.supervisor is not None:
        state.made_way = state.supervisor.version if event.reason.startswith(MAKES_WAY) else ""
    state.supervisor = None
    return ""


def _session_opened(state: State, event: SessionOpened) -> str:
    state.sessions[event.session] = Session(
        session=event.session,
        source=event.source,
        claude_pid=event.claude_pid,
        claude_start=event.claude_start,
        boot=event.boot,
        opened_at=event.ts,
    )
    state.last_hook_at = event.ts
    steering.session_opened(state.steering, event.session)
    _beat(state, event, "session")
    return ""


def _beat(state: State, event: Event, what: habits.What, name: str = "", *, good: bool = False, took_s: float = 0.0) -> None:
    state.story.append(habits.Beat(what, event.mono, event.boot, name, good, took_s))
    state.beats += 1
    if len(state.story) > 2 * habits.BEATS_KEPT:
        del state.story[: -habits.BEATS_KEPT]


def _session_closed(state: State, event: SessionClosed) -> str:
    session = state.sessions.get(event.session)
    if session is None:
        return f"session.closed for session {event.session}, which was never opened"
    session.closed = True
    steering.session_closed(state.steering, event.session)
    return ""


def _epoch_began(state: State, event: EpochBegan) -> str:
    if event.epoch <= state.epoch:
        return f"epoch.began {event.epoch} after {state.epoch}"
    state.epoch = event.epoch
    if event.session is not None:
        state.last_hook_at = event.ts
    _beat(state, event, "wrote")
    return ""


def _tree_moved(state: State, event: TreeMoved) -> str:
    state.generation = event.generation
    for job in state.jobs.values() if event.foreign else ():
        job.product_folders.update({folder: -1 for folder in event.foreign if folder in job.product_folders})
    if not state.in_front:  # else it may be what a check writes
        _beat(state, event, "wrote", event.sample[0] if event.sample else "")
    return ""


def _job_seen(state: State, event: JobSeen) -> str:
    if event.job in state.jobs:
        return f"job.seen twice for {event.job}"
    state.jobs[event.job] = Job(
        job=event.job,
        name=event.name,
        argv=event.argv,
        cwd=event.cwd,
        streams=event.streams,
        hooked=event.hooked,
        seen_at=event.ts,
        last_asked_mono=event.mono,
    )
    return ""


def _job_retried(state: State, event: JobRetried) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"job.retried for unknown job {event.job}"
    job.crashes = 0
    job.barred = ""
    job.contradictions = job.alone_until = 0
    job.bet_cost_s = job.bet_hidden_s = job.idle_bets = 0.0
    return ""


def _job_flipped(state: State, event: JobFlipped) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"job.flipped for unknown job {event.job}"
    words = {"pass": "passed", "fail": "failed"}
    job.flipped_at = event.ts
    job.flips, job.flip = job.flips + 1, f"{words.get(event.was, event.was)}, then {words.get(event.now, event.now)}"
    return ""


def _job_contradicted(state: State, event: JobContradicted) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"job.contradicted for unknown job {event.job}"
    words = {"pass": "passed", "fail": "failed"}
    own, ahead = words.get(event.foreground, event.foreground), words.get(event.ahead, event.ahead)
    job.contradiction = f"its run ahead {ahead} where the session's own {own}, on the same files"
    job.contradictions += 1
    job.alone_until = job.foreground_runs + int(min(ALONE_MOST, ALONE_FIRST * 2 ** min(job.contradictions - 1, 10)))
    return ""


def _permission_asked(state: State, event: PermissionAsked) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"permission.asked for unknown job {event.job}"
    job.asked = True
    job.allowed_mode = job.allowed_host = ""
    state.last_hook_at = event.ts
    return ""


def _attempt_started(state: State, event: AttemptStarted) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"attempt.started for unknown job {event.job}"
    if event.attempt in state.attempts:
        return f"attempt.started twice for {event.attempt}"
    if (event.kind == "requested") is not (event.job in state.requests):
        return f"attempt.started of kind {event.kind} for job {event.job}, which is of another kind"
    if event.kind == "requested" and (problem := _request_step(state, event, event.job)):
        return problem
    state.attempts[event.attempt] = Attempt(
        attempt=event.attempt,
        job=event.job,
        kind=event.kind,
        session=event.session,
        nested=event.nested,
        started_at=event.ts,
        started_mono=event.mono,
        boot=event.boot,
        generation=event.generation,
        why=event.why,
        epoch=state.epoch,
        audits=event.audits,
    )
    if event.kind == "foreground":
        job.foreground_runs += 1
        state.in_front.add(event.attempt)
        job.asked = False  # a question about this very call, if any, is recorded right behind
    elif event.kind == "ahead" and event.audits is None:
        job.ahead_runs += 1
    job.last_attempt = event.attempt
    if len(state.attempts) >= ATTEMPTS_KEPT + ATTEMPTS_BEYOND:
        _forget_oldest(state)
    return ""


def _forget_oldest(state: State) -> None:
    for attempt in list(islice(state.attempts.values(), len(state.attempts) - ATTEMPTS_KEPT)):
        if not attempt.open:
            del state.attempts[attempt.attempt]
            steering.attempt_forgotten(state.steering, attempt.attempt)


def _attempt_step(state: State, event: AttemptSpawned | AttemptExited | AttemptSettled) -> str:
    attempt = state.attempts.get(event.attempt)
    if attempt is None:
        return f"{_tag(event)} for unknown attempt {event.attempt}"
    step = NEXT[type(attempt.phase)].get(type(event))
    if step is None:
        return f"{_tag(event)} for attempt {event.attempt} in phase {type(attempt.phase).__name__}"
    attempt.phase = step(attempt.phase, event)
    return ""


def _attempt_exited(state: State, event: AttemptExited) -> str:
    if problem := _attempt_step(state, event):
        return problem
    attempt = state.attempts[event.attempt]
    job = state.jobs[attempt.job]
    job.last_end = event.end
    attempt.cpu_s = event.cpu_s
    by_itself = event.end.by_itself
    if attempt.audits is not None:
        state.ledger.reran(attempt.job, event.cpu_s)
    elif attempt.kind == "ahead":
        _bet_ended(state, job, attempt, event)
    if attempt.kind == "ahead":
        if by_itself:
            job.crashes = 0
        elif event.end.how != "cancelled":
            job.crashes, job.crashed_mono, job.crashed_boot, job.crashed_at = job.crashes + 1, event.mono, event.boot, event.ts
    if by_itself:
        job.durations_s.append(event.took_s)
        del job.durations_s[:-DURATIONS]
    if attempt.kind == "foreground":
        state.in_front.discard(event.attempt)
        _check_ended(state, event, attempt.job, event.end, event.took_s)
    return _request_step(state, event, attempt.job) if attempt.kind == "requested" else ""


def _bet_ended(state: State, job: Job, attempt: Attempt, event: AttemptExited) -> None:
    # What crashed is `retries`' to judge.
    weight = 1.0 if event.end.by_itself else BET_STOPPED if event.end.how == "cancelled" else 0.0
    kept = BET_KEPT**weight
    job.bet_cost_s = job.bet_cost_s * kept + max(event.cpu_s, event.took_s * BET_IDLE)
    job.bet_hidden_s *= kept
    job.idle_bets += weight
    job.asks_since_bet = 0
    state.ledger.ran_ahead(attempt.job, event.took_s, event.cpu_s)
    if attempt.joined:
        state.ledger.taken(attempt.job, event.took_s, event.cpu_s)


def _attempt_settled(state: State, event: AttemptSettled) -> str:
    problem = _attempt_step(state, event)
    if problem:
        return problem
    attempt = state.attempts[event.attempt]
    job = state.jobs[attempt.job]
    _note_effects(job, attempt, event)
    _note_products(job, event)
    if attempt.kind == "foreground":
        job.beside = event.beside
    if not (job.clean or event.torn) and attempt.end is not None and attempt.end.by_itself:
        job.clean = True
    if not event.torn and attempt.kind != "requested":
        steering.check_ended(state.steering, state.open_sessions(), attempt.job, event.outcome)
    return ""


def _note_effects(job: Job, attempt: Attempt, event: AttemptSettled) -> None:
    """Note what the run did besides. A run in which something was not seen says that only when it could have been.

    Writing needs something to write: a formatter that finds nothing to do at its second run still is a formatter, and one that rewrote
    what git tracks is one for good.
    """
    whole = attempt.kind == "foreground" and attempt.end is not None and attempt.end.by_itself
    job.rewrites = job.rewrites or (bool(event.wrote) and event.tracked) or (job.mutating and "files" not in job.looks)
    job.mutating = _look(job, "files", bool(event.wrote), whole and event.edited, before=job.mutating) or job.rewrites
    _look(job, "products", bool(event.products), whole and event.edited, before=job.products)
    job.leaves = _look(job, "left", bool(event.left), whole, before=job.leaves)
    job.remote = _look(job, "remote", event.remote, whole and event.looks > 0, before=job.remote)
    still = _look(job, "reached", bool(event.reached), whole and event.looks > 0, before=bool(job.reached))
    job.reached = event.reached or (job.reached if still else "")


def _look(job: Job, effect: str, seen: bool, could_show: bool, *, before: bool) -> bool:
    """Add one run's look at an effect; return whether the effect counts now.

    Args:
        before: whether it counted; of a snapshot that was made without looks nothing else is known.
    """
    known = job.looks.get(effect, (True,) if before else ())
    if seen or (known and could_show):
        known = (*known, seen)[-LOOKS_KEPT:]
    if known:
        job.looks[effect] = known
    return counts(known)


def _note_products(job: Job, event: AttemptSettled) -> None:
    job.product_paths |= set(event.products)
    for folder in event.folders:
        runs = job.product_folders.get(folder, 0)
        if runs >= 0 and (folder in job.product_folders or len(job.product_folders) < FOLDERS_KEPT):
            job.product_folders[folder] = max(runs + 1, FOLDER_RUNS) if folder in event.made else runs + 1
    if len(job.product_paths) > PATHS_KEPT:
        own = job.own_folders
        job.product_paths = frozenset(path for path in job.product_paths if not any(lies_in(path, folder) for folder in own))


def _request_made(state: State, event: RequestMade) -> str:
    if event.job not in state.jobs:
        return f"request.made for unknown job {event.job}"
    if event.job in state.requests or state.jobs[event.job].last_attempt is not None:
        return f"request.made for job {event.job}, which was there before"
    if unknown := [other for other in event.after if other not in state.requests]:
        return f"request.made for {event.job} after unknown job {unknown[0]}"
    others = frozenset(other for other in event.after if not isinstance(state.requests[other].phase, Passed))
    state.requests[event.job] = Request(
        job=event.job,
        after=event.after,
        priority=event.priority,
        memory_bytes=event.memory_bytes,
        keep=event.keep,
        retries=event.retries,
        session=event.session,
        asked_at=event.ts,
        phase=WaitsFor(others) if others else Ready(),
    )
    if len(state.requests) > REQUESTS_KEPT:
        _forget_requests(state)
    return ""


def _forget_requests(state: State) -> None:
    for request in list(state.requests.values())[: len(state.requests) - REQUESTS_KEPT]:
        if request.over and request.attempt not in state.attempts:
            del state.requests[request.job], state.jobs[request.job]


def _request_event(state: State, event: RequestHeld | RequestCancelled | RequestLost) -> str:
    return _request_step(state, event, event.job)


def _request_step(state: State, event: AttemptStarted | AttemptExited | RequestHeld | RequestCancelled | RequestLost, job: JobKey) -> str:
    request = state.requests.get(job)
    if request is None:
        return f"{_tag(event)} for {job}, which nobody asked for"
    step = REQUEST_NEXT[type(request.phase)].get(type(event))
    if step is None:
        return f"{_tag(event)} for requested job {job} in phase {type(request.phase).__name__}"
    request.phase = step(request, request.phase, event)
    if isinstance(event, AttemptStarted):
        request.attempt = event.attempt
    if request.over:
        request.ended_at = event.ts
    if isinstance(request.phase, Passed):
        for other in state.requests.values():
            if isinstance(other.phase, WaitsFor) and request.job in other.phase.others:
                rest = other.phase.others - {request.job}
                other.phase = WaitsFor(rest) if rest else Ready()
    return ""


def _join_decided(state: State, event: JoinDecided) -> str:
    if len(state.joins) == RECENT:
        state.waits.pop(state.joins[0].ask, None)
    state.joins.append(event)
    state.ledger.asked(event.session, event.job, event.shape, _outcome(event), event.code)
    job = state.jobs.get(event.job)
    if job is None:
        return f"join.decided for unknown job {event.job}"
    job.last_asked_mono = event.mono
    job.allowed_mode, job.allowed_host = event.mode, event.host
    if event.do != "exec":
        _beat(state, event, "asked", event.job)
    job.asks_since_bet += 1
    if event.do in ("replay", "attach"):
        attempt = state.attempts.get(event.attempt) if event.attempt else None
        if attempt is None:
            return f"join.decided for unknown attempt {event.attempt}"
        attempt.joined += 1
        job.joins += 1
        if attempt.joined == 1 and _is_bet(attempt) and attempt.took_s is not None:
            state.ledger.taken(attempt.job, attempt.took_s, attempt.cpu_s)
    return ""


def _outcome(event: JoinDecided) -> Outcome:
    if event.do in ("replay", "attach"):
        return "hit"
    if event.would:
        return "observed"
    return "nested" if event.nested else "miss"


def _is_bet(attempt: Attempt) -> bool:
    return attempt.kind == "ahead" and attempt.audits is None


def _join_done(state: State, event: JoinDone) -> str:
    for join in reversed(state.joins):
        if join.ask == event.ask:
            break
    else:
        return f"join.done for unknown question {event.ask}"
    if event.ask in state.waits:
        return f"join.done twice for question {event.ask}"
    state.waits[event.ask] = event
    state.saved_s += event.saved_s
    state.ledger.saved(join.session, join.job, event.saved_s)
    attempt, job = state.attempts.get(event.attempt), state.jobs.get(join.job)
    if attempt is not None and attempt.end is not None:
        _check_ended(state, event, attempt.job, attempt.end, attempt.took_s or 0.0)
    if attempt is not None and job is not None and _is_bet(attempt):
        job.bet_hidden_s += event.saved_s
        job.idle_bets = 0.0
    return ""


def _check_missed(state: State, event: CheckMissed) -> str:
    state.ledger.asked(event.session, event.name, event.shape, "miss", event.code)
    state.last_hook_at = event.ts
    return ""


def _join_audited(state: State, event: JoinAudited) -> str:
    job = state.jobs.get(event.job)
    if job is None:
        return f"join.audited for unknown job {event.job}"
    before = next((audit.outcome for audit in reversed(state.audits) if audit.ask == event.ask), "")
    if before and (before != "differs" or event.outcome == "differs"):
        return f"join.audited twice for question {event.ask}"
    state.audits.append(event)
    state.ledger.audited(event.session, event.job, event.outcome, before)
    if event.outcome in BARRING:
        job.barred = event.reason
    return ""


def _check_ended(state: State, event: Event, job: JobKey, end: End, took_s: float) -> None:
    if end.by_itself:
        _beat(state, event, "ended", job, good=end.passed, took_s=took_s)


def _news_told(state: State, event: NewsTold) -> str:
    state.news.append(event)
    state.last_hook_at = event.ts
    return ""


def _ahead_told(state: State, event: AheadTold) -> str:
    state.last_hook_at = event.ts
    unknown = [job for job in event.jobs if job not in state.jobs]
    for job in event.jobs:
        if job in state.jobs:
            state.jobs[job].told = True
    return f"ahead.told of unknown job {unknown[0]}" if unknown else ""


def _prompt_began(state: State, event: PromptBegan) -> str:
    state.last_hook_at = event.ts
    steering.prompt_began(state.steering, event.session)
    return ""


def _source_written(state: State, event: SourceWritten) -> str:
    state.last_hook_at = event.ts
    steering.source_written(state.steering, event)
    return ""


def _block_raised(state: State, event: BlockRaised) -> str:
    return steering.raise_block(state.steering, event)


def _block_cleared(state: State, event: BlockCleared) -> str:
    return steering.clear_block(state.steering, event)


def _worker_said(state: State, event: WorkerSaid) -> str:
    steering.said(state.steering, event)
    return ""


def _words_told(state: State, event: WordsTold) -> str:
    state.last_hook_at = event.ts
    turn = state.steering.turn(event.session)
    turn.told = min(max(turn.told, event.count), state.steering.said_count)
    return ""


def _worker_progressed(state: State, event: WorkerProgressed) -> str:
    if event.attempt not in state.attempts:
        return f"worker.progressed for unknown attempt {event.attempt}"
    steering.progressed(state.steering, event)
    return ""


def _artifact_made(state: State, event: ArtifactMade) -> str:
    if event.attempt not in state.attempts:
        return f"artifact.made for unknown attempt {event.attempt}"
    steering.artifact_made(state.steering, event)
    return ""


def _gate_decided(state: State, event: GateDecided) -> str:
    state.last_hook_at = event.ts
    return steering.decided(state.steering, event)


def _session_woken(state: State, event: SessionWoken) -> str:
    state.steering.turn(event.session).woken.add(event.block)
    return ""


def _invariant_broken(state: State, event: InvariantBroken) -> str:
    state.broken.append(event)
    state.broken_count += 1
    return ""


def _tag(event: Event) -> str:
    return str(event.__struct_config__.tag)


APPLY: dict[type[Event], Callable[..., str]] = {
    SupervisorStarted: _supervisor_started,
    SupervisorStopped: _supervisor_stopped,
    SessionOpened: _session_opened,
    SessionClosed: _session_closed,
    EpochBegan: _epoch_began,
    TreeMoved: _tree_moved,
    JobSeen: _job_seen,
    JobRetried: _job_retried,
    JobFlipped: _job_flipped,
    JobContradicted: _job_contradicted,
    PermissionAsked: _permission_asked,
    AttemptStarted: _attempt_started,
    AttemptSpawned: _attempt_step,
    AttemptExited: _attempt_exited,
    AttemptSettled: _attempt_settled,
    RequestMade: _request_made,
    RequestHeld: _request_event,
    RequestCancelled: _request_event,
    RequestLost: _request_event,
    JoinDecided: _join_decided,
    JoinDone: _join_done,
    CheckMissed: _check_missed,
    JoinAudited: _join_audited,
    NewsTold: _news_told,
    AheadTold: _ahead_told,
    PromptBegan: _prompt_began,
    SourceWritten: _source_written,
    BlockRaised: _block_raised,
    BlockCleared: _block_cleared,
    WorkerSaid: _worker_said,
    WordsTold: _words_told,
    WorkerProgressed: _worker_progressed,
    ArtifactMade: _artifact_made,
    GateDecided: _gate_decided,
    SessionWoken: _session_woken,
    InvariantBroken: _invariant_broken,
}
"""Each returns what was wrong with the event, "" when it was applied."""
