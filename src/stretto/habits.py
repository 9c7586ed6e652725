"""What a project's sessions ask for after what they write: the memory that `ahead` predicts from. Pure.

The log's fold keeps the story, its latest *beats*: a session began, something was written, a check was asked for, it ended.
`Habits` is what a reader of the story learns; it is not kept on disk, because the story is.

Time is cut into *stretches*: a stretch lasts from one write to the next, because a write ends every earlier result. At a *moment* (a
write, or the end of a check) it is not known yet what will be asked before the stretch is over; when it is over, each of its moments
is counted in several *situations* at once, from the general (any moment) to the particular (after this check, which failed, in that
folder). A situation is a text; nobody but this module looks into it.

Promises: bounded memory, whatever the log holds; the same events lead to the same habits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Command = str
"""The key of a job, or whatever else names a command."""

PROJECT_FADES, SESSION_FADES = 0.998, 0.97
"""What an older moment counts against the next one, over all sessions and within one. Best of those tried on the shared timelines
(docs/ahead.md): a session turns to something else every thirty moments or so."""
SITUATIONS_MOST = 600
"""Of the project. The one that was met longest ago goes first."""
JOBS_MOST = 128
"""In one situation, and in a stretch. The one with the least weight goes first."""
MOMENTS_MOST = 40
"""Of one stretch; more checks than that without a write teach nothing new."""
WAITS_MOST = 120
"""Times that are kept of each kind of moment."""
FOLLOWERS_MOST = 4
LATELY_MOST = 20
"""So many of the commands asked for last are remembered though one session alone asked for them."""
AT_ONCE_S = 0.3
"""A moment after which a check was asked sooner than that is none: nothing could have been begun before it (`fmt && lint`)."""


BEATS_KEPT = 4096
"""Of the story. By `PROJECT_FADES` what is older than some 500 moments hardly counts; a session has about sixty."""

What = Literal["session", "wrote", "asked", "ended"]


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened."""

    what: What
    at_s: float
    """On the monotonic clock of that boot."""
    boot: str
    name: str = ""
    """The command; of a write the path, "" when a command may have written anything."""
    good: bool = False
    """It ended by passing."""
    took_s: float = 0.0


class Tally(msgspec.Struct):
    """How often each command was asked for after one situation, before the next write."""

    trials: float = 0.0
    hits: dict[Command, float] = msgspec.field(default_factory=dict)

    def count(self, asked: set[Command], fades: float) -> None:
        self.trials = self.trials * fades + 1
        for job in self.hits:
            self.hits[job] *= fades
        for job in asked:
            self.hits[job] = self.hits.get(job, 0.0) + 1
        while len(self.hits) > JOBS_MOST:
            del self.hits[min(self.hits, key=lambda job: (self.hits[job], job))]

    def share(self, job: Command, prior: float, weight: float) -> float:
        """Return how likely `job` follows; `prior` counts as much as `weight` moments."""
        return (self.hits.get(job, 0.0) + weight * prior) / (self.trials + weight)


class Moment(msgspec.Struct):
    """One point of the stretch that is not over yet."""

    at_s: float
    kind: str
    situations: list[str]
    of_session: list[str]
    at_once: bool = True
    """It does not count when a check was asked at once. The first moment of a session always does: nothing else would tell of what is
    asked before the first write."""


class Habits(msgspec.Struct, kw_only=True):
    """All that is remembered. Times are seconds of the monotonic clock of one boot."""

    boot: str = ""
    project: dict[str, Tally] = msgspec.field(default_factory=dict)
    session: dict[str, Tally] = msgspec.field(default_factory=dict)
    asks_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    """From a moment of that kind to each command asked before the next write."""
    writes_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    """From a moment of that kind to the next write."""
    followers: dict[Command, list[Command]] = msgspec.field(default_factory=dict)
    """What was asked right after it within a stretch, latest first."""
    followers_now: dict[Command, list[Command]] = msgspec.field(default_factory=dict)
    """The same of this session alone."""
    sessions_of: dict[Command, int] = msgspec.field(default_factory=dict)
    lasts_s: dict[Command, float] = msgspec.field(default_factory=dict)

    lately: list[Command] = msgspec.field(default_factory=list)
    """What was asked for last, of whichever session, latest first."""

    stretch: list[Command] = msgspec.field(default_factory=list)
    """What was asked since the last write, each once."""
    asked_at: list[tuple[float, Command]] = msgspec.field(default_factory=list)
    moments: list[Moment] = msgspec.field(default_factory=list)
    before: list[Command] = msgspec.field(default_factory=list)
    """The last stretch in which anything was asked."""

    recent: list[Command] = msgspec.field(default_factory=list)
    """What this session asked for, latest first."""
    passed: dict[Command, bool] = msgspec.field(default_factory=dict)
    written_at: dict[Command, int] = msgspec.field(default_factory=dict)
    """How many writes there had been in this session when it was asked for last."""
    last_passed: bool | None = None
    last: Command = ""
    second_last: Command = ""
    after_check: bool = False
    """The latest moment is the end of a check, not a write."""
    moment_s: float = 0.0
    """When the latest moment was."""
    write_s: float | None = None
    check_s: float | None = None
    gap_s: float = 5.0
    """How long nothing had been heard before the latest write."""
    heard_s: float = 0.0
    writes: int = 0
    burst: int = 0
    """Writes since the last check."""
    bursts: list[int] = msgspec.field(default_factory=list)
    checked_writes: int = 0
    unnamed: bool = False
    """The latest write was a command's, so it is not known which file."""
    path: str = ""
    folder: str = ""
    paths: list[str] = msgspec.field(default_factory=list)
    same_path: bool = False
    path_again: bool = False
    in_tests: bool = False
    wrote_any: bool = False
    """Something was written in this session by its own hand; before that nothing is worth running ahead."""

    def kind(self) -> str:
        """Return which kind of moment the latest one is, as far as waiting times go."""
        outcome = {None: "-", True: "+", False: "x"}[self.last_passed]
        if self.after_check:
            return f"c{outcome}{min(len(self.stretch), 3)}"
        return f"w{int(self.unnamed)}{min(self.burst, 3)}{int(self.in_tests)}{outcome}"

    def situations(self) -> list[str]:
        """Return the situations of the latest moment, of the project: general first. `ahead` weighs each place in this list."""
        any_asked = int(bool(self.stretch))
        outcome = {None: "-", True: "+", False: "x"}[self.last_passed]
        asked = "|".join(sorted(self.stretch)) if self.stretch else f"first {self.before[0] if self.before else ''} {outcome}"
        return [
            "any",
            self.kind(),
            f"last {int(self.after_check)} {self.last} {outcome} {any_asked}",
            f"two {any_asked} {self.last} {self.second_last}",
            f"in {any_asked} {self.folder}",
            f"all {asked}",
        ]

    def of_session(self) -> list[str]:
        """Return the situations of the latest moment that are counted for this session alone."""
        any_asked = int(bool(self.stretch))
        outcome = {None: "-", True: "+", False: "x"}[self.last_passed]
        return ["any", f"kind {any_asked} {outcome}", f"last {any_asked} {self.last}"]


def learn(habits: Habits, story: Iterable[Beat]) -> None:
    """Take in more of the story."""
    for beat in story:
        if beat.boot != habits.boot:
            clock_began(habits, beat.boot)
        match beat.what:
            case "session":
                session_began(habits, beat.at_s)
            case "wrote":
                wrote(habits, beat.at_s, beat.name or None)
            case "asked":
                asked(habits, beat.at_s, beat.name)
            case "ended":
                ended(habits, beat.at_s, beat.name, passed=beat.good, took_s=beat.took_s)


def session_began(habits: Habits, at_s: float) -> None:
    """A session opened: what is remembered of the project stays, the rest begins anew."""
    _over(habits, habits.heard_s)
    fresh = Habits()
    for name in _OF_SESSION:
        setattr(habits, name, getattr(fresh, name))
    _moment(habits, at_s, at_once=False)


def clock_began(habits: Habits, boot: str) -> None:
    """The machine started anew, and its clock with it: the stretch under way can no longer be timed."""
    habits.boot = boot
    habits.moments, habits.asked_at = [], []
    habits.moment_s = habits.heard_s = 0.0
    habits.write_s = habits.check_s = None


def wrote(habits: Habits, at_s: float, path: str | None) -> None:
    """Something was written; all results ended.

    Args:
        path: of one file that changed; None when a command may have written anything.
    """
    _over(habits, at_s)
    if habits.stretch:
        habits.before = habits.stretch
        habits.bursts = [*habits.bursts[-5:], habits.burst]
        habits.burst = 0
        habits.checked_writes += 1
        habits.paths = []
    habits.burst += 1
    habits.writes += 1
    habits.stretch = []
    habits.gap_s = max(0.0, at_s - habits.heard_s)
    habits.unnamed = path is None
    habits.same_path = path is not None and path == habits.path
    habits.path_again = path in habits.paths
    habits.path = path or ""
    if path is not None:
        habits.paths = [*habits.paths[-MOMENTS_MOST:], path]
        habits.folder = path.rpartition("/")[0]
        habits.in_tests = "test" in path.lower()
        habits.wrote_any = True
    habits.after_check = False
    habits.write_s = at_s
    _moment(habits, at_s)


def asked(habits: Habits, at_s: float, job: Command) -> None:
    """A check was asked for."""
    habits.heard_s = max(habits.heard_s, at_s)
    if habits.stretch and habits.stretch[-1] != job:
        for followers in (habits.followers, habits.followers_now):
            followers[habits.stretch[-1]] = [job, *followers.pop(habits.stretch[-1], [])][:FOLLOWERS_MOST]
            _trim(followers)
    if job not in habits.stretch and len(habits.stretch) < JOBS_MOST:
        habits.stretch.append(job)
        habits.asked_at.append((at_s, job))
    if job not in habits.recent:
        habits.sessions_of[job] = habits.sessions_of.pop(job, 0) + 1
        _trim(habits.sessions_of)
    else:
        habits.recent.remove(job)
    habits.lately = [job, *(other for other in habits.lately if other != job)][:LATELY_MOST]
    habits.recent = [job, *habits.recent[: JOBS_MOST - 1]]
    habits.written_at[job] = habits.writes
    for known in (habits.passed, habits.written_at):
        _trim(known)
    habits.second_last, habits.last = habits.last, job


def ended(habits: Habits, at_s: float, job: Command, *, passed: bool, took_s: float) -> None:
    """A check that was asked for has ended, or was answered."""
    habits.lasts_s[job] = 0.5 * habits.lasts_s.pop(job, took_s) + 0.5 * took_s  # to the end: asked last
    _trim(habits.lasts_s)
    habits.passed[job] = habits.last_passed = passed
    habits.after_check = True
    habits.check_s = at_s
    _moment(habits, at_s)


def _moment(habits: Habits, at_s: float, *, at_once: bool = True) -> None:
    habits.moment_s = at_s
    habits.heard_s = max(habits.heard_s, at_s)
    if len(habits.moments) < MOMENTS_MOST:
        habits.moments.append(Moment(at_s, habits.kind(), habits.situations(), habits.of_session(), at_once))


def _over(habits: Habits, at_s: float) -> None:
    """The stretch is over: count its moments."""
    for moment in habits.moments:
        later = {job: asked_s for asked_s, job in habits.asked_at if asked_s >= moment.at_s}
        if moment.at_once and any(asked_s - moment.at_s < AT_ONCE_S for asked_s in later.values()):
            continue
        for tallies, situations, fades in (
            (habits.project, moment.situations, PROJECT_FADES),
            (habits.session, moment.of_session, SESSION_FADES),
        ):
            for situation in situations:
                tally = tallies[situation] = tallies.pop(situation, Tally())  # to the end: met last
                tally.count(set(later), fades)
            _trim(tallies)
        _keep(habits.asks_s, moment.kind, [when - moment.at_s for when in later.values()])
        _keep(habits.writes_s, moment.kind, [max(0.0, at_s - moment.at_s)])
    for _, job in habits.asked_at:  # one that no moment saw coming: from now on it is known
        for tallies in (habits.project, habits.session):
            tallies.setdefault("any", Tally()).hits.setdefault(job, 1.0)
    habits.moments, habits.asked_at = [], []


def _trim(met: dict[str, Any]) -> None:
    """Forget what was met longest ago."""
    while len(met) > SITUATIONS_MOST:
        del met[next(iter(met))]


def _keep(times: dict[str, list[float]], kind: str, more: list[float]) -> None:
    times[kind] = [*times.get(kind, []), *(round(time_s, 2) for time_s in more)][-WAITS_MOST:]


_OF_SESSION = (
    *(
        "session",
        "followers_now",
        "stretch",
        "before",
        "recent",
        "passed",
        "written_at",
        "last_passed",
        "last",
        "second_last",
        "after_check",
    ),
    *("moment_s", "write_s", "check_s", "gap_s", "writes", "burst", "bursts", "checked_writes", "unnamed", "path", "folder", "paths"),
    *("same_path", "path_again", "in_tests", "wrote_any"),
)
