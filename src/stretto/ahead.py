"""What to run ahead: a pure policy, no clock, no randomness. What comes in is what the project's sessions did so far (`habits`); what
goes out is an order of preference. `ineligible` says who may run at all; how much runs at once is decided after (`schedule.plan`).

A command is worth running ahead while what it is expected to hide outweighs what it is expected to waste:

    likely * E[hidden] > price * (likely * E[rest of it] + (1 - likely) * E[spent until the next write])

`likely`, that it is asked for before the next write, is a logistic regression on the log-odds of how often it followed in each of
several situations, on recency and order, and on where in the stretch we are. Its weights were fitted by `bench/fit_ahead.py` on real
session timelines; nothing in it knows a name. The waiting times are those this project showed at such moments. docs/ahead.md has the
figures, cross-validated, and what was tried and left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from stretto.commands import Check
from stretto.fold import Job
from stretto.habits import Habits, Tally
from stretto.model import Invocation, JobKey, Record

WORTH_S = 0.15
"""A quicker command is not run ahead: joining it would save nothing that can be felt."""
PATH_MOST = 4096
LIKELY_LEAST = 0.005
LISTED_MOST = 8
CONSIDERED_MOST = 200
"""Of the commands asked for most recently; more cost time and are never wanted."""
ELAPSED_S = (1.5, 4.0, 8.0, 15.0, 30.0)
"""Bounds of the time since the latest moment."""
ASK_S, WRITE_S = (3.0, 6.0, 10.0, 20.0), (4.0, 8.0, 15.0, 40.0)
"""Waiting times where too few are known: the quartiles of the shared timelines, rounded."""


class Candidate(Record, frozen=True, kw_only=True):
    """One command that may run ahead."""

    job: JobKey
    usual_s: float
    run_s: float | None = None
    """How long it has been running ahead already; None when it does not."""


def ineligible(
    job: Job,
    check: Check,
    *,
    idle_input: bool,
    allowed: bool,
    forbidden: bool,
    withheld: str,
    grouped: bool = False,
    gone: str = "",
    fixes: Callable[[], str] = str,
) -> str:
    """Say why a command may not run ahead, "" when it may.

    Args:
        idle_input: its standard input was open and silent; a worker's is empty.
        allowed: stretto.toml lists it: it may although it writes products or connects.
        forbidden: stretto.toml says never.
        withheld: why the host cannot be taken to run it again without asking, "" when it can.
        grouped: the session runs it in the host's memory group, of whose limit a run of ours would be free.
        gone: the first folder it was given that is there no more, "" when all are.
        fixes: says where it is configured to rewrite sources, "" when that is not seen; asked last, since it reads files.
    """
    if forbidden:
        return "the rules say never"
    if idle_input:
        return "its standard input was not empty"
    if grouped:
        return "the session runs it under the host's memory limit, which would not hold for a run ahead"
    if job.hooked:
        return "git called it, with an index or a date of its own"
    if gone:
        return f"a folder it was given is gone: {gone}"
    if job.contradicted:
        return f"put aside: {job.contradicted}"
    if withheld or allowed:
        return withheld
    if job.beside:
        return f"it ran beside {job.beside}"
    if not check.ahead:
        return "it builds, writes products, or may do more than check"
    if job.mutating:
        return "it was seen to write sources"
    if job.products:
        return "it was seen to write files"
    if job.leaves:
        return "it was seen to leave processes running"
    if job.remote:
        return "it was seen to connect to another machine"
    if job.reached:
        return f"it was seen to {job.reached}"
    if not job.clean:
        return "it was not seen to end cleanly yet"
    if where := fixes():
        return f"it rewrites sources, says {where}"
    return ""


def given_paths(invocation: Invocation, *, env: bool = True) -> tuple[bytes, ...]:
    """Return the absolute paths that a call was given: its directory, in arguments and, with `env`, in variables."""
    entries = [entry.partition(b"=")[2] for entry in invocation.meaningful_env] if env else []
    words = [part for word in invocation.argv[1:] for part in (word, *word.split(b"=")[1:])]
    paths = (word for word in (*words, *entries) if word.startswith(b"/") and len(word) < PATH_MOST and b":" not in word)
    return tuple(dict.fromkeys((invocation.cwd, *paths)))


def desired(habits: Habits, candidates: Iterable[Candidate], now_s: float, price: float) -> list[JobKey]:
    """Return the commands to run now, most wanted first; one that runs and is not among them is not worth going on with.

    Args:
        candidates: those that may run and have no result that is still true.
        now_s: on the clock of `habits`.
        price: seconds that have to be hidden for one second of idle work, at the margin (`rules.Preset.price`).
    """
    if not habits.wrote_any:
        return []
    elapsed_s = max(0.0, now_s - habits.moment_s)
    known = {candidate.job: candidate for candidate in candidates if candidate.usual_s >= WORTH_S and candidate.job not in habits.stretch}
    kind = habits.kind()
    asks_s = _later(habits.asks_s.get(kind, ()), elapsed_s, ASK_S)
    writes_s = _later(habits.writes_s.get(kind, ()), elapsed_s, WRITE_S)
    wanted = []
    for job, likely in likelihoods(habits, known.keys(), now_s).items():
        if likely < LIKELY_LEAST:
            continue
        usual_s, run_s = known[job].usual_s, known[job].run_s or 0.0
        hidden_s = sum(min(usual_s, run_s + ask_s) for ask_s in asks_s) / len(asks_s)
        lost_s = sum(min(max(0.0, usual_s - run_s), write_s) for write_s in writes_s) / len(writes_s)
        worth_s = likely * hidden_s - price * (likely * (usual_s - hidden_s) + (1 - likely) * lost_s)
        if worth_s > 0:
            wanted.append((worth_s, job))
    return [job for _, job in sorted(wanted, key=lambda item: (-item[0], item[1]))[:LISTED_MOST]]


def period(habits: Habits, now_s: float) -> int:
    """Return which period since the latest moment it is: within one, the answer of `desired` hardly changes."""
    return sum(now_s - habits.moment_s >= bound_s for bound_s in ELAPSED_S)


def likelihoods(habits: Habits, jobs: Iterable[JobKey], now_s: float) -> dict[JobKey, float]:
    """Return for each command how likely it is asked for before the next write."""
    rank = {job: at for at, job in enumerate(habits.recent)}
    chosen = [job for job in jobs if is_considered(habits, job)]
    chosen = sorted(chosen, key=lambda job: (rank.get(job, len(rank)), -habits.sessions_of.get(job, 0), job))[:CONSIDERED_MOST]
    base = BIAS + _dot(MOMENT_WEIGHTS, of_moment(habits, now_s))
    tallies = _tallies(habits)
    return {job: 1 / (1 + math.exp(-(base + _dot(JOB_WEIGHTS, of_job(habits, job, tallies))))) for job in chosen}


def is_considered(habits: Habits, job: JobKey) -> bool:
    """Say whether a command is one of those worth a thought: of this session, of several, or among the last asked for."""
    return job in habits.recent or habits.sessions_of.get(job, 0) >= 2 or job in habits.lately


def _later(times_s: Sequence[float], elapsed_s: float, usual_s: Sequence[float]) -> list[float]:
    """Return how much longer it was at moments that had lasted this long already."""
    longer = [time_s - elapsed_s for time_s in times_s if time_s > elapsed_s]
    return longer if len(longer) >= 5 else [*longer, *usual_s]


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True) if value)


def _odds(share: float) -> float:
    share = min(1 - 1e-4, max(1e-4, share))
    return math.log(share / (1 - share))


NONE = Tally()


def _tallies(habits: Habits) -> tuple[list[Tally], list[Tally]]:
    project = [habits.project.get(situation, NONE) for situation in habits.situations()]
    return project, [habits.session.get(situation, NONE) for situation in habits.of_session()]


def of_job(habits: Habits, job: JobKey, tallies: tuple[list[Tally], list[Tally]] | None = None) -> list[float]:
    """Return what speaks for this command now; `JOB_WEIGHTS` weighs each."""
    (overall, kind, *particular), (session, *of_session) = tallies or _tallies(habits)
    share = (overall.hits.get(job, 0.0) + 0.01) / (overall.trials + 5)
    share_of_kind = kind.share(job, share, 6)
    share_now = session.share(job, share, 5)
    values = [_odds(share), _odds(share_of_kind)]
    values += [_odds(tally.share(job, share_of_kind, 4)) for tally in particular]
    values += [_odds(share_now), *(_odds(tally.share(job, share_now, 3)) for tally in of_session)]
    rank = habits.recent.index(job) if job in habits.recent else -1
    values += [rank == 0, rank == 1, 2 <= rank < 5, rank >= 5, rank < 0]
    before = habits.before
    values += [job in before, before[:1] == [job], before[-1:] == [job]]
    passed = habits.passed.get(job) if rank >= 0 else None
    values += [passed is False, passed is True]
    writes = habits.writes - habits.written_at.get(job, 0) if rank >= 0 else -1
    values += [0 <= writes <= 1, 1 < writes <= 3, 3 < writes <= 10, writes > 10]
    values += [math.log1p(habits.sessions_of.get(job, 0))]
    last = habits.stretch[-1] if habits.stretch else ""
    for followers in (habits.followers, habits.followers_now):
        following = followers.get(last, []) if last else []
        values += [following[:1] == [job], following.count(job) / 4]
    at = before.index(last) if last in before else None
    values += [at is not None and job in before[at + 1 :], at is not None and before[at + 1 : at + 2] == [job]]
    values += [at is not None and job in before[:at]]
    lasts_s = habits.lasts_s.get(job, 1.0)
    longest_s = max((habits.lasts_s.get(other, 0.0) for other in habits.stretch), default=0.0)
    values += [0.0 if last else math.log1p(lasts_s) / 3]
    values += [math.log((lasts_s + 0.5) / (habits.lasts_s.get(last, 1.0) + 0.5)) if last else 0.0, bool(last) and lasts_s > longest_s]
    return [float(value) for value in values]


def of_moment(habits: Habits, now_s: float) -> list[float]:
    """Return what speaks for any check to come now; `MOMENT_WEIGHTS` weighs each."""
    wrote, asked = not habits.after_check, len(habits.stretch)
    bucket = period(habits, now_s)
    failed, passed = habits.last_passed is False, habits.last_passed is True
    values: list[float] = [wrote, *(bucket == at for at in range(len(ELAPSED_S) + 1)), asked == 0, asked == 1, asked > 1, failed, passed]
    values += [wrote and habits.unnamed, habits.in_tests, habits.burst == 1, habits.burst == 2, habits.burst > 2]
    usual_burst = (sum(habits.bursts) / len(habits.bursts)) if habits.bursts else 4.0
    if wrote:
        since_check_s = None if habits.check_s is None else max(0.0, now_s - habits.check_s)
        values += [math.log1p(habits.gap_s) / 3, habits.gap_s < 1.0]
        values += [0.0 if since_check_s is None else math.log1p(since_check_s) / 5, since_check_s is None]
        values += [
            habits.same_path,
            habits.path_again,
            max(-1.5, min(1.5, math.log((habits.burst + 0.5) / (usual_burst + 0.5)))),
            failed,
            0.0,
        ]
    else:
        values += [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, failed]
    values += [_odds((habits.checked_writes + 1) / (habits.writes + 4))]
    values += [math.log1p(max(0.0, now_s - (habits.write_s or 0.0))) / 5]
    return [float(value) for value in values]


BIAS = -0.38
JOB_WEIGHTS: tuple[float, ...] = (
    -0.13,
    0.08,
    0.09,
    -0.05,
    0.17,
    0.18,
    0.47,
    -0.08,
    0.19,
    0.23,
    0.02,
    0.01,
    -0.21,
    -0.34,
    -0.30,
    0.26,
    0.15,
    0.28,
    -0.24,
    -0.06,
    -0.07,
    0.11,
    0.06,
    0.00,
    0.16,
    0.21,
    0.11,
    0.08,
    -0.06,
    -0.03,
    0.08,
    -0.34,
    0.04,
    0.10,
)
MOMENT_WEIGHTS: tuple[float, ...] = (
    0.05,
    0.72,
    0.77,
    -0.26,
    -0.56,
    -0.51,
    -0.46,
    0.05,
    -0.11,
    -0.23,
    0.07,
    0.04,
    0.11,
    0.09,
    -0.23,
    0.10,
    -0.15,
    -0.12,
    -0.16,
    -0.03,
    -0.40,
    0.01,
    -0.31,
    0.17,
    0.40,
    -0.33,
    -0.26,
    -0.42,
)
