"""The history checker (C-23), itself tested: a small supervisor that does everything right is never accused, and one with a planted bug is.

`Story` makes histories: a seed decides what happens next (edits, calls of two sessions, runs ahead, ends, restarts), and a bug, if one is
planted, makes it go wrong in one way; it counts how often that made a difference, and each such history has to be accused of it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from stretto import bundle
from stretto.journal import parse
from stretto.model import (
    ENCODER,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptSpawned,
    AttemptStarted,
    End,
    EpochBegan,
    JobKey,
    JobSeen,
    JoinDecided,
    JoinDone,
    NewsTold,
    RequestCancelled,
    RequestMade,
    SessionClosed,
    SessionId,
    SessionOpened,
    SupervisorStarted,
    SupervisorStopped,
    TreeMoved,
)
from stretto.testing import simulation
from stretto.testing.history import Delivery, Edit, Line, check, main
from stretto.testing.plants import planted

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
STORIES = 20_000 if SOAK else 300
STEPS = 60
JOBS = [JobKey("pytest"), JobKey("ruff")]
SESSIONS = [SessionId("s1"), SessionId("s2")]


@dataclass
class Run:
    attempt: AttemptId
    job: JobKey
    kind: str
    session: SessionId | None
    generation: int
    epoch: int
    version: int
    code: int
    readers: list[tuple[str, SessionId, float]] = field(default_factory=list)
    """Calls that wait for it: question, session, since when."""
    began_s: float = 0.0
    replays: int = 0
    torn: str = ""
    settled: bool = False
    exited_s: float = 0.0


class Story:
    """A supervisor, its sessions, and whoever edits, one step at a time."""

    def __init__(self, seed: object, bug: str = "") -> None:
        self.dice = random.Random(repr(seed))
        self.bug, self.fired = bug, 0
        self.lines: list[Line] = []
        self.deliveries: list[Delivery] = []
        self.edits: list[Edit] = []
        self.now_s, self.version, self.scanned, self.generation, self.epoch, self.pid = 100.0, 0, 0, 0, 0, 0
        self.count = 0
        self.open: dict[AttemptId, Run] = {}
        self.results: dict[JobKey, Run] = {}
        self.known: dict[tuple[SessionId | None, JobKey], str] = {}
        self.told: list[NewsTold] = []
        self.start()
        for job in JOBS:
            self.log(JobSeen, job=job, name=job, argv=(job,), cwd=".", streams="merged")
        for session in SESSIONS:
            self.log(SessionOpened, session=session, source="startup", claude_pid=1)

    # --- the log

    def log(self, record: type[Any], /, *, by: str = "", mono: float | None = None, **fields: Any) -> None:
        self.tick()
        at = self.now_s if mono is None else mono
        event = record(ts=self.now_s, mono=at, boot="b", by=by or f"supervisor:{self.pid}", **fields)
        begin = self.lines[-1].after if self.lines else 0
        self.lines.append(Line(begin, begin + len(ENCODER.encode(event)) + 1, event))

    def tick(self) -> float:
        self.now_s += self.dice.uniform(0.001, 0.2)
        return self.now_s

    def planted(self, bug: str) -> bool:
        """Say whether this bug is planted; the caller asks only where it makes a difference."""
        if self.bug != bug:
            return False
        self.fired += 1
        return True

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    # --- what happens

    def start(self) -> None:
        self.pid += 1
        self.log(SupervisorStarted, pid=self.pid, start="1", version="0", mode="on")

    def restart(self) -> None:
        for run in list(self.open.values()):
            self.end(run)
        if not self.results or not self.planted("keeps results over a restart"):
            self.results.clear()
        self.known.clear()
        self.log(SupervisorStopped, reason="it was asked to")
        self.start()

    def edit(self) -> None:
        began_s = self.tick()
        self.version += 1
        self.edits.append(Edit(what="a.py", began_mono_s=began_s, ended_mono_s=self.tick()))
        if self.dice.random() < 0.5:
            self.scan()

    def scan(self) -> None:
        if self.scanned == self.version or self.bug == "does not see edits":
            return
        self.scanned = self.version
        self.generation += 1
        self.log(TreeMoved, generation=self.generation, count=1, sample=("a.py",))

    def new_epoch(self) -> None:
        self.epoch += 1
        self.log(EpochBegan, epoch=self.epoch, reason="pip", session=None)

    def begin(self, job: JobKey, kind: str, session: SessionId | None) -> Run:
        code = self.dice.choice([0, 0, 1])
        run = Run(AttemptId(self.name()), job, kind, session, self.generation, self.epoch, self.version, code)
        for _ in range(2 if self.planted("starts twice") else 1):
            self.log(AttemptStarted, attempt=run.attempt, job=job, kind=kind, session=session, generation=run.generation)
        run.began_s = self.now_s
        self.log(AttemptSpawned, attempt=run.attempt, pid=int(run.attempt[1:]), start="1")
        self.open[run.attempt] = run
        return run

    def ahead(self) -> None:
        job = self.dice.choice(JOBS)
        self.scan()
        for run in self.open.values():
            unmoved = (run.generation, run.epoch) == (self.generation, self.epoch)
            if run.job == job and (run.kind == "ahead" or unmoved) and not self.planted("runs the same twice at once"):
                return
        self.begin(job, "ahead", None)

    def output(self, job: JobKey, version: int) -> bytes:
        return f"{job} on {version}\n".encode()

    def end(self, run: Run | None = None, how: str = "code") -> None:
        if run is None:
            if not self.open:
                return
            run = self.dice.choice(list(self.open.values()))
        del self.open[run.attempt]
        out = self.output(run.job, run.version)
        if how == "lost" and run.readers and self.planted("delivers what was lost as passed"):
            waiting, run.readers = run.readers, []
        else:
            waiting = []
        exited = {
            "attempt": run.attempt,
            "end": End(how=how, value=run.code if how == "code" else 0),
            "out_bytes": len(out) if how == "code" else 0,
            "err_bytes": 0,
            "took_s": 1.0,
            "cpu_s": 1.0,
        }
        owner = f"monitor:{run.attempt[1:]}" if run.kind == "ahead" else ""
        early = self.planted("settles before the exit")
        if early:
            self.log(AttemptSettled, attempt=run.attempt, generation=self.generation)
        self.log(AttemptExited, by=owner, **exited)
        run.exited_s = self.now_s
        if self.planted("records an exit twice"):
            self.log(AttemptExited, by=owner, **exited)
        self.scan()
        moved = run.generation != self.generation or run.epoch != self.epoch
        run.torn = "" if how == "code" and not moved else "something changed"
        if moved and how == "code" and self.planted("does not compare the tree after a run"):
            run.torn = ""
            run.generation, run.epoch = self.generation, self.epoch
        if not early:
            digest = bundle.digest_of(out) if how == "code" else ""
            self.log(AttemptSettled, attempt=run.attempt, generation=self.generation, torn=run.torn, digest=digest)
        run.settled = True
        if how == "code" and not (self.results.get(run.job) and self.planted("keeps the older result")):
            self.results[run.job] = run
        if run.kind == "foreground":
            if how == "code":
                self.known[run.session, run.job] = "pass" if run.code == 0 else "fail"
                self.deliver("", run, run.began_s - 0.0005)
            return
        for ask, session, since_s in run.readers:
            if how == "code":
                self.done(ask, run, session, since_s)
        for ask, session, since_s in waiting:
            self.done(ask, run, session, since_s)

    def call(self) -> None:
        session, job, since_s = self.dice.choice(SESSIONS), self.dice.choice(JOBS), self.tick()
        self.scan()
        ask = self.name()
        for run in self.open.values():
            unmoved = (run.generation, run.epoch) == (self.generation, self.epoch)
            if run.job == job and run.kind == "ahead" and (unmoved or self.planted("attaches to a torn run")):
                self.fired += run.version != self.version  # only a supervisor that does not see edits attaches then
                self.decided(ask, session, run.job, "attach", run)
                run.readers.append((ask, session, since_s))
                if self.planted("does not wait for the end"):
                    self.done(ask, run, session, since_s)
                    run.readers.pop()
                    self.now_s += 20.0
                return
        found = self.results.get(job)
        if self.bug == "joins another command" and self.results.get(JOBS[1 - JOBS.index(job)]):
            found = self.results[JOBS[1 - JOBS.index(job)]]
        if found is not None and self.usable(found):
            if found.job != job:
                self.fired += 1
            do = "attach" if self.planted("attaches to what has ended") else "replay"
            self.decided(ask, session, job, do, found)
            found.replays += 1
            self.done(ask, found, session, since_s)
            return
        if any(run.kind == "foreground" for run in self.open.values()):
            return  # one call at a time here, so that what each got is known
        run = self.begin(job, "foreground", session)
        self.decided(ask, session, job, "record", run)

    def usable(self, run: Run) -> bool:
        if run.torn:
            return self.planted("replays what is torn")
        if run.epoch != self.epoch:
            return self.planted("forgets epochs")
        if run.generation != self.generation:
            return self.planted("does not compare the tree at the ask")
        if run.code != 0 and run.replays:
            return self.planted("replays a failure twice")
        if run.version != self.version:
            self.fired += 1  # only a supervisor that does not see edits comes here
        return True

    def decided(self, ask: str, session: SessionId, job: JobKey, do: str, run: Run) -> None:
        of = None if do == "record" else run.kind
        self.log(JoinDecided, ask=ask, job=job, session=session, standing="", do=do, attempt=run.attempt, of=of, reason="", decide_ms=0.1)

    def done(self, ask: str, run: Run, session: SessionId, since_s: float) -> None:
        self.log(JoinDone, ask=ask, attempt=run.attempt, waited_s=0.1, saved_s=0.9)
        self.known[session, run.job] = "pass" if run.code == 0 else "fail"
        self.deliver(ask, run, since_s)

    def deliver(self, ask: str, run: Run, since_s: float) -> None:
        out, code = self.output(run.job, run.version), run.code
        if self.planted("delivers other bytes"):
            out = out[:-2] + b"?\n"
        if self.planted("delivers another exit"):
            code = 1 - code
        self.deliveries.append(
            Delivery(
                argv=(run.job,),
                began_mono_s=since_s,
                ended_mono_s=self.tick(),
                digest=bundle.digest_of(out),
                size_bytes=len(out),
                code=code,
                ask=ask or next(e.ask for _, _, e in self.lines if isinstance(e, JoinDecided) and e.attempt == run.attempt),
            )
        )

    def news(self) -> None:
        session = self.dice.choice(SESSIONS)
        self.scan()
        for run in self.results.values():
            was, now = self.known.get((session, run.job)), "pass" if run.code == 0 else "fail"
            fresh = not run.torn and (run.epoch, run.generation) == (self.epoch, self.generation)
            if was is not None and was != now and (fresh or self.planted("tells old news")):
                self.tell(session, run, was, now)
            elif was == now and fresh and self.planted("tells what is no news"):
                self.tell(session, run, "pass" if now == "fail" else "fail", now)

    def tell(self, session: SessionId, run: Run, was: str, now: str) -> None:
        for _ in range(2 if self.planted("tells news twice") else 1):
            self.log(NewsTold, session=session, job=run.job, attempt=run.attempt, was=was, now=now, text="")
        self.known[session, run.job] = now

    def reopen(self) -> None:
        session = self.dice.choice(SESSIONS)
        self.log(SessionClosed, session=session, reason="other")
        self.log(SessionOpened, session=session, source="resume", claude_pid=1)
        self.known = {key: value for key, value in self.known.items() if key[0] != session}

    def told_whole(self, steps: int = STEPS) -> Story:
        does: list[Callable[[], None]] = [self.edit, self.new_epoch, self.ahead, self.call, self.end, self.news, self.restart, self.reopen]
        lose: Callable[[], None] = lambda: self.end(how="lost")  # noqa: E731
        for _ in range(steps):
            self.dice.choices([*does, lose], [3, 1, 6, 10, 6, 3, 0.5, 0.3, 1])[0]()
        for run in list(self.open.values()):
            self.end(run)
        return self

    def kinds(self) -> set[str]:
        return {violation.kind for violation in check(self.lines, self.deliveries, self.edits)}


def test_a_right_history_is_never_accused():
    """No false alarm, whatever the order of edits, calls, ends and restarts."""
    joins = 0
    for seed in range(STORIES):
        story = Story(seed).told_whole()
        assert check(story.lines, story.deliveries, story.edits) == [], f"seed {seed}"
        joins += sum(isinstance(line.event, JoinDone) for line in story.lines)
    print(f"{STORIES} histories with {joins} joins")
    assert joins > STORIES


PLANTED = {
    "does not compare the tree at the ask": "stale",
    "does not see edits": "no place for an edit",
    "does not compare the tree after a run": "torn replayed",
    "replays what is torn": "torn replayed",
    "forgets epochs": "across an epoch",
    "keeps results over a restart": "across a restart",
    "joins another command": "another command",
    "keeps the older result": "older result",
    "replays a failure twice": "failure replayed twice",
    "attaches to a torn run": "attached to a torn run",
    "attaches to what has ended": "attached to an ended run",
    "does not wait for the end": "delivered before its end",
    "delivers what was lost as passed": "lost delivered",
    "delivers other bytes": "wrong delivery",
    "delivers another exit": "wrong delivery",
    "starts twice": "started twice",
    "runs the same twice at once": "twice at once",
    "records an exit twice": "exited twice",
    "settles before the exit": "settled before its exit",
    "tells news twice": "news twice",
    "tells old news": "stale news",
    "tells what is no news": "no flip",
}
LATER = {
    "keeps results over a restart",
    "does not compare the tree after a run",
    "keeps the older result",
    "attaches to a torn run",
    "does not wait for the end",
    "runs the same twice at once",
    "tells old news",
}
"""These fire before they have to show: nobody may have asked since, or what was done wrong may have come to nothing."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug):
    found = fired = 0
    for seed in range(STORIES // 4):
        story = Story((bug, seed), bug).told_whole()
        fired += bool(story.fired)
        if story.fired:
            kinds = story.kinds()
            found += PLANTED[bug] in kinds
            assert PLANTED[bug] in kinds or bug in LATER, f"seed {seed}: {kinds}"
        else:
            assert story.kinds() == set(), f"seed {seed}"
    print(f"{bug}: found in {found} of {fired} histories in which it was at work")
    assert found >= 3


# --- the real code in the simulation ---------------------------------------------------------------------------------------


def simulated(seed: int, plant: str = "") -> set[str]:
    """Kinds of violation in the log of a simulated project; a writer that is killed leaves a torn line, which is none."""
    host = simulation.Host(seed)
    with planted(plant):
        simulation.live(host, simulation.STEPS)
    return kinds([Line(begin, after, parse(line)) for begin, after, line in host.lines(0)]) - {"bad line"}


def test_the_log_of_the_real_code_in_a_world_of_faults_is_never_accused():
    """Crashes, full disks, sleeps and restarts at any step (C-22): the log they leave can have happened."""
    seeds = 10_000 if SOAK else 80
    print(f"{seeds} seeds")
    for seed in range(seeds):
        assert simulated(seed) == set(), f"seed {seed}"


REAL = {
    "starts-beside-what-runs": "twice at once",
    "joins-on-another-tree": "stale",
    "does-not-compare-the-tree-at-the-end": "torn replayed",
    "ignores-dependencies": "too early",
    "records-an-exit-twice": "exited twice",
    "spawns-before-it-logs": "record of nothing",
}


@pytest.mark.parametrize("plant", REAL)
def test_a_bug_planted_in_the_real_code_is_found_in_its_log(plant):
    """Of the simulation's bugs those that a log can show."""
    assert any(REAL[plant] in simulated(seed, plant) for seed in range(150))


# --- damage to the log itself -----------------------------------------------------------------------------------------------


def laid_out(events: list[Any]) -> list[Line]:
    lines: list[Line] = []
    for event in events:
        begin = lines[-1].after if lines else 0
        lines.append(Line(begin, begin + len(ENCODER.encode(event)) + 1, event))
    return lines


def kinds(lines: list[Line]) -> set[str]:
    return {violation.kind for violation in check(lines)}


@pytest.fixture
def events() -> list[Any]:
    return [line.event for line in Story("one").told_whole().lines]


def test_lines_that_changed_places_are_found_wherever_they_stood(events):
    """One after the other for every neighbouring pair of one writer."""
    swapped = 0
    for at in range(len(events) - 1):
        if events[at].by == events[at + 1].by:
            changed = [*events[:at], events[at + 1], events[at], *events[at + 2 :]]
            assert "reordered" in kinds(laid_out(changed)), events[at]
            swapped += 1
    assert swapped > 20


def test_a_line_that_is_gone_is_found_wherever_it_stood(events):
    lines = laid_out(events)
    for at in range(1, len(lines) - 1):
        assert "not dense" in kinds(lines[:at] + lines[at + 1 :])


def test_a_torn_line_is_found(events):
    lines = laid_out(events)
    lines[7] = lines[7]._replace(event=parse(b'{"t":"attempt.exi'))
    assert "bad line" in kinds(lines)


def test_a_doubled_exit_start_or_answer_is_found_wherever_it_stood(events):
    doubled = 0
    for at, event in enumerate(events):
        if isinstance(event, AttemptStarted | AttemptSpawned | AttemptExited | AttemptSettled | JoinDecided | JoinDone):
            assert kinds(laid_out([*events[: at + 1], event, *events[at + 1 :]])), event
            doubled += 1
    assert doubled > 20


def test_a_supervisor_that_writes_on_after_the_next_one_began_is_found(events):
    late = msgspec.structs.replace(events[1], by="supervisor:999", mono=0.0)
    assert "two supervisors" in kinds(laid_out([late, *events, msgspec.structs.replace(late, mono=1e6)]))


@pytest.mark.parametrize("by", ["monitor:1", "cli:1", "nobody"])
def test_a_record_by_one_who_may_not_write_it_is_found(events, by):
    assert "wrong writer" in kinds(laid_out([*events, msgspec.structs.replace(events[1], by=by)]))


def test_an_exit_by_a_stranger_is_found(events):
    at = next(at for at, event in enumerate(events) if isinstance(event, AttemptExited) and event.by.startswith("monitor:"))
    events[at] = msgspec.structs.replace(events[at], by="monitor:999999")
    assert "wrong writer" in kinds(laid_out(events))


def test_a_log_without_its_beginning_accuses_nobody_of_what_it_does_not_show():
    """Old segments are removed: what is spoken of may have begun in them."""
    for seed in range(20):
        story = Story(("cut", seed)).told_whole()
        for at in range(1, len(story.lines), 7):
            assert check(story.lines[at:]) == [], (seed, at)


# --- edits that may be placed in more than one way --------------------------------------------------------------------------


def joined(*spans: tuple[float, float]) -> list[Line]:
    """A log with one replay for each span: from its run's start to the ask."""
    events: list[tuple[float, Any]] = []

    def add(at: float, record: type[Any], /, by: str = "supervisor:1", **fields: Any) -> None:
        events.append((at, record(ts=at, mono=at, boot="b", by=by, **fields)))

    for number, (start, asked) in enumerate(spans):
        job, attempt = JobKey(f"j{number}"), AttemptId(f"a{number}")
        add(0.0, JobSeen, job=job, name="x", argv=("x",), cwd=".", streams="merged")
        add(start, AttemptStarted, attempt=attempt, job=job, kind="ahead", session=None, generation=0)
        end = End(how="code", value=0)
        add(start + 0.1, AttemptExited, attempt=attempt, end=end, out_bytes=0, err_bytes=0, took_s=0.1, cpu_s=0.1)
        add(start + 0.1, AttemptSettled, attempt=attempt, generation=0)
        add(asked, JoinDecided, ask=f"q{number}", job=job, session=None, standing="fresh", do="replay", attempt=attempt, reason="")
    return laid_out([event for _, event in sorted(events, key=lambda item: item[0])])


@pytest.mark.parametrize(
    "spans, edit, ok",
    [
        pytest.param([(10, 20)], (11, 19), False, id="between a run's start and the ask"),
        pytest.param([(10, 20)], (5, 9), True, id="before the run"),
        pytest.param([(10, 20)], (21, 22), True, id="after the ask"),
        pytest.param([(10, 20)], (9, 11), True, id="over the start: it may have come before"),
        pytest.param([(10, 20)], (19, 21), True, id="over the ask: it may have come after"),
        pytest.param([(10, 20)], (9, 21), True, id="over all of it"),
        pytest.param([(10, 20), (19, 30)], (15, 25), False, id="each join leaves room, both together none"),
        pytest.param([(10, 20), (20, 30)], (15, 25), True, id="at the very moment between two"),
        pytest.param([(10, 20), (21, 30)], (15, 25), True, id="between two joins"),
        pytest.param([(10, 40), (20, 30)], (31, 39), False, id="behind a shorter one inside"),
    ],
)
def test_an_edit_is_placed_where_all_joins_leave_room(spans, edit, ok):
    found = check(joined(*spans), (), [Edit(what="a.py", began_mono_s=edit[0], ended_mono_s=edit[1])])
    assert [violation.kind for violation in found] == ([] if ok else ["no place for an edit"])


def test_deliveries_at_the_same_time_are_matched_and_none_is_explained_twice():
    """Two calls of one command: a pass and a failure; whoever got which, but not both the pass."""
    story = Story("two")
    runs = []
    for code in (0, 1):
        run = story.begin(JOBS[0], "foreground", SESSIONS[0])
        run.code = code
        story.decided(f"q{code}", SESSIONS[0], JOBS[0], "record", run)
        runs.append(run)
    for run in runs:
        story.end(run)
    whole = story.now_s

    def got(code: int) -> Delivery:
        out = story.output(JOBS[0], 0)
        digest = bundle.digest_of(out)
        return Delivery(argv=(JOBS[0],), began_mono_s=100.0, ended_mono_s=whole, digest=digest, size_bytes=len(out), code=code)

    assert check(story.lines, [got(1), got(0)]) == []
    assert [violation.kind for violation in check(story.lines, [got(0), got(0)])] == ["wrong delivery"]


# --- jobs that were asked for -----------------------------------------------------------------------------------------------


def requests(*steps: str) -> set[str]:
    """Kinds of violation in a log where job `b` waits for `a`: `made`, `start X`, `pass X`, `cancel X`, `join`."""
    story = Story("requests")
    for step in steps:
        word, _, job = step.partition(" ")
        match word:
            case "made":
                for name, after in (("a", ()), ("b", ("a",))):
                    story.log(JobSeen, job=name, name="x", argv=("x",), cwd=".", streams="merged")
                    story.log(RequestMade, job=name, after=after, memory_bytes=1)
            case "start":
                story.new_epoch()
                story.log(AttemptStarted, attempt=f"{job}{len(story.lines)}", job=job, kind="requested", session=None, generation=0)
            case "pass":
                attempt = next(e.attempt for _, _, e in reversed(story.lines) if isinstance(e, AttemptStarted) and e.job == job)
                end = End(how="code", value=0)
                story.log(AttemptExited, attempt=attempt, end=end, out_bytes=0, err_bytes=0, took_s=0.1, cpu_s=0.1)
            case "cancel":
                story.log(RequestCancelled, job=job, reason="the user")
            case "join":
                run = story.begin(JOBS[0], "ahead", None)
                story.decided("q", SESSIONS[0], JOBS[0], "attach", run)
    return kinds(story.lines)


@pytest.mark.parametrize(
    "steps, found",
    [
        pytest.param(["made", "start a", "pass a", "start b", "pass b"], set(), id="in order"),
        pytest.param(["made", "start b"], {"too early"}, id="before the other"),
        pytest.param(["made", "cancel a", "start a"], {"came back"}, id="after its cancellation (F8)"),
        pytest.param(["made", "start a", "start a"], {"twice at once"}, id="twice"),
        pytest.param(["start c"], {"nobody asked"}, id="unasked"),
        pytest.param(["made", "start a", "join"], {"beside a job"}, id="a join beside it"),
    ],
)
def test_a_requested_job_runs_once_in_its_turn_and_nothing_is_joined_beside_it(steps, found):
    assert requests(*steps) == found


# --- the command line -------------------------------------------------------------------------------------------------------


def test_the_command_line_prints_each_violation_with_its_offsets(tmp_path, capsys, events):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(ENCODER.encode(event) + b"\n" for event in events))
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{len(events)} lines, 0 violations\n"
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"junk\n")
    assert main([str(tmp_path), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["offsets"]) == ("bad line", [size])


def test_the_command_line_says_that_a_folder_is_none(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 1
    assert "it is no directory" in capsys.readouterr().err
