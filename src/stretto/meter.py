"""What running ahead is worth: when a command's guesses lose, what a call that missed is nearest to, and the account. Pure.

`loses` is the last word on a command whose ahead runs do not pay, whatever the policy in `ahead` makes of it (A-8). Promises: a command is
given up after `PATIENCE` whole ahead runs in a row that nobody took (twice as many, when it paid before); from then on it is tried once
after ever more further questions of the session, and never without one; so under a storm of wrong guesses the work for nothing grows with
the logarithm of the questions. One that pays again is back at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stretto.fold import Job
from stretto.model import MISS_CODES, Invocation
from stretto.tally import Tally

PATIENCE = 8.0
"""Whole ahead runs in a row that nobody took, before a command is given up; one that was stopped counts a quarter."""
WORTH = 0.03
"""Seconds hidden for a second of a processor, below which it does not pay. What is started idle costs the session nothing but heat:
the policies measured on recorded sessions take 6 to 9 s of idle work for each second hidden (0.11 to 0.17), this is a quarter of that."""
PROBE_FIRST, PROBE_MOST = 4, 64
"""After so many further questions a command that was given up is tried once more; each time in vain doubles the number."""
NEAREST_MOST = 50
"""Known calls that one that missed is compared with; it takes about 20 microseconds each."""
NAMES_SHOWN = 5


def loses(job: Job) -> str:
    """Say why a command whose ahead runs do not pay is not run ahead now, "" when it is."""
    if not given_up(job) or job.asks_since_bet >= probe_after(job):
        return ""
    left = probe_after(job) - job.asks_since_bet
    hidden = f"{job.bet_hidden_s:.1f} s hidden for {job.bet_cost_s:.0f} s of work"
    return f"given up: its ahead runs do not pay, lately {hidden}; tried again after {left} more {'call' if left == 1 else 'calls'}"


def given_up(job: Job) -> bool:
    """Say whether the ahead runs of a command lose: enough of them in a row were for nothing, and what they hide is not worth it."""
    pays = job.bet_hidden_s >= WORTH * job.bet_cost_s
    return job.idle_bets >= (2 * PATIENCE if pays else PATIENCE)


def probe_after(job: Job) -> int:
    """Return after how many questions since its last ahead run a command that was given up is tried once more."""
    in_vain = max(0, int(job.idle_bets - PATIENCE))
    return int(min(PROBE_MOST, PROBE_FIRST * 2 ** min(in_vain, 10)))


# --- the nearest call -------------------------------------------------------------------------------------------------------

_CODES = (
    ("arguments", "arguments-differ"),
    ("directory", "directory-differs"),
    ("program", "tool-differs"),
    ("tool", "tool-differs"),
    ("streams", "streams-differ"),
    ("input", "input-differs"),
    ("limits", "limits-differ"),
    ("env", "environment-differs"),
)


def nearest(invocation: Invocation, known: Iterable[Invocation]) -> tuple[str, ...]:
    """Return in what a call differs from the nearest known one of the same name, as `JoinDecided.differs` has it; () without one."""
    best: tuple[str, ...] = ()
    compared = 0
    for other in known:
        if other.name != invocation.name:
            continue
        fields = _differences(invocation, other)
        if not best or (len(_kinds(fields)), len(fields)) < (len(_kinds(best)), len(best)):
            best = fields
        compared += 1
        if compared >= NEAREST_MOST:
            break
    return best


def code_of(differs: tuple[str, ...]) -> str:
    """Return the miss code for what `nearest` found; `never-run` for nothing."""
    kinds = _kinds(differs)
    return next((code for kind, code in _CODES if kind in kinds), "never-run")


def nearest_words(differs: tuple[str, ...]) -> str:
    """Return what `nearest` found, in words; "" for nothing."""
    if not differs:
        return ""
    env = [field.removeprefix("env ") for field in differs if field.startswith("env ")]
    parts = [field for field in differs if not field.startswith("env ")]
    if env:
        more = f" and {len(env) - NAMES_SHOWN} more" if len(env) > NAMES_SHOWN else ""
        parts.append(f"environment ({', '.join(env[:NAMES_SHOWN])}{more})")
    return f"the nearest that has run differs in {', '.join(parts)}"


def _kinds(fields: tuple[str, ...]) -> set[str]:
    return {field.split(" ", 1)[0] for field in fields}


def _differences(one: Invocation, other: Invocation) -> tuple[str, ...]:
    pairs = (
        ("arguments", one.argv[1:] != other.argv[1:]),
        ("directory", one.cwd != other.cwd),
        ("program", one.exe != other.exe),
        ("streams", one.streams != other.streams),
        ("input", one.stdin != other.stdin),
        ("limits", one.context != other.context),
    )
    fields = [name for name, differs in pairs if differs]
    mine, theirs = set(one.meaningful_env), set(other.meaningful_env)
    names = sorted({entry.split(b"=", 1)[0].decode("ascii", "backslashreplace") for entry in mine ^ theirs})
    fields += [f"env {name[:40]}" for name in names if name.isidentifier()]
    fields += ["env (others)"] if any(not name.isidentifier() for name in names) else []
    return tuple(fields or ["tool"])  # nothing that was given differs: then what is installed does


# --- the account ------------------------------------------------------------------------------------------------------------


def account(tally: Tally) -> dict[str, Any]:
    """Return one tally as `stretto saved --json` has it."""
    return {
        "saved_s": round(tally.saved_s, 3),
        "asked": tally.asked,
        "hits": tally.hits,
        "misses": tally.missed,
        "hit_rate": _rounded(tally.hit_rate),
        "observed": tally.observed,
        "nested": tally.nested,
        "miss_reasons": dict(sorted(tally.misses.items(), key=lambda item: -item[1])),
        "shapes": {shape: {"hits": hits, "asked": asked} for shape, (hits, asked) in _by_count(tally.shapes)},
        "ahead": {
            "runs": tally.ahead_runs,
            "joined": tally.taken_runs,
            "precision": _rounded(tally.precision),
            "cpu_s": round(tally.ahead_cpu_s, 3),
            "wasted_cpu_s": round(tally.wasted_cpu_s, 3),
            "wasted_s": round(tally.wasted_s, 3),
        },
        "audits": {**tally.audits, "cpu_s": round(tally.audit_cpu_s, 3)},
    }


def reason_words(code: str) -> str:
    """Return a miss code in words; a later version's as it is."""
    return MISS_CODES.get(code, code)


def _by_count(shapes: Mapping[str, list[int]]) -> list[tuple[str, list[int]]]:
    return sorted(shapes.items(), key=lambda item: -item[1][1])


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
