"""`stretto saved`: what was not waited for and what that cost, as JSON and as lines for a terminal. Pure but for the local time zone.

Promises: the first number is what was measured not to be waited for, nothing else is added to it; every table fits 80 columns; the JSON
only ever gains keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stretto.fold import State
from stretto.meter import account, loses, reason_words
from stretto.model import JobKey
from stretto.render import SHORT_ID, command, moment, plain, seconds, table, times
from stretto.tally import OTHERS, Ledger

WIDE = 80
ROWS = 8
"""Of each table; the rest is one row."""
Paint = Callable[[str], str]


def report(state: State, ledger: Ledger, *, asked_since_at: float = 0.0) -> dict[str, Any]:
    """Return `stretto saved --json`.

    Args:
        asked_since_at: from when on the caller wants it, 0 from the beginning; what the log no longer holds is not counted.
    """
    return {
        "since_at": ledger.since_at,
        "asked_since_at": asked_since_at,
        "session": ledger.only or None,
        **account(ledger.total),
        "commands": [
            {"job": key, "command": _named(state, key), **account(tally), "given_up": _given_up(state, key)}
            for key, tally in sorted(ledger.commands.items(), key=lambda item: (-item[1].saved_s, -item[1].asked))
        ],
        "sessions": [
            {"session": key, **account(tally)}
            for key, tally in sorted(ledger.sessions.items(), key=lambda item: (-item[1].saved_s, -item[1].asked))
        ],
    }


def _named(state: State, key: str) -> str:
    if (job := state.jobs.get(JobKey(key))) is not None:
        return command(job, 200)
    return key if key == OTHERS else f"{plain(key)} (past its shim)"


def _given_up(state: State, key: str) -> str:
    job = state.jobs.get(JobKey(key))
    return loses(job) if job is not None else ""


def lines(data: Mapping[str, Any], strong: Paint = str) -> list[str]:
    """Return a report as lines of at most `WIDE` characters.

    Args:
        strong: what makes the first number stand out on a terminal.
    """
    if not data["since_at"]:
        return ["Nothing has been counted yet."]
    since = moment(data["since_at"])
    found = [strong(f"{seconds(data['saved_s'])} not waited for") + f" since {since}"]
    if data["asked_since_at"] and data["since_at"] > data["asked_since_at"] + 1:
        found.append("            the log says nothing of the time before that")
    if data["session"]:
        found.append(f"session     {plain(data['session'])[:60]}")
    rate = f" ({_percent(data['hit_rate'])})" if data["hit_rate"] is not None else ""
    found.append(f"checks      {data['asked']} asked for: {data['hits']} joined{rate}, {data['misses']} ran")
    if data["nested"]:
        found.append(f"            {data['nested']} more were parts of others and ran with them")
    if data["observed"]:
        found.append(f"observed    {data['observed']} more would have been joined in mode `on`")
    found += [*_ahead(data), *_audits(data)]
    for title, rows in (
        (("TIMES", "WHY IT RAN"), [(str(count), reason_words(code)) for code, count in data["miss_reasons"].items()]),
        (("JOINED", "ASKED", "SHAPE"), _shapes(data)),
        (("SAVED", "JOINED", "ASKED", "FOR NOTHING", "COMMAND"), _commands(data)),
        (("SAVED", "JOINED", "ASKED", "SESSION"), _sessions(data)),
    ):
        if rows:
            left = len(rows) - ROWS
            more = [f"{left} more; `--json` has all"] if left > 0 else []
            found += ["", *table([title, *rows[:ROWS]], WIDE), *more]
    return found


def _ahead(data: Mapping[str, Any]) -> list[str]:
    ahead = data["ahead"]
    if data["session"]:
        return ["ahead       runs ahead belong to no session; without `--session` they are counted"]
    if not ahead["runs"]:
        return ["ahead       nothing has run ahead"]
    return [
        f"ahead       {ahead['runs']} runs ended, {ahead['joined']} of them joined ({_percent(ahead['precision'])})",
        f"for nothing {seconds(ahead['wasted_cpu_s'])} of processor time ({seconds(ahead['wasted_s'])} of running time) in the others",
    ]


def _audits(data: Mapping[str, Any]) -> list[str]:
    audits = {name: count for name, count in data["audits"].items() if name != "cpu_s"}
    if not audits:
        return []
    suspect = audits.get("false", 0) + audits.get("differs", 0)
    compared = suspect + audits.get("same", 0) + audits.get("unrepeatable", 0)
    found = [f"audits      {compared} joins compared with a rerun, {audits.get('same', 0)} the same, {suspect} false or suspected to be"]
    if suspect:
        found.append("            `stretto doctor` names them")
    if count := audits.get("unrepeatable", 0):
        found.append(f"            {times(count)} a command that says something else at every run")
    if count := audits.get("void", 0) + audits.get("skipped", 0):
        found.append(f"            {count} more could not be compared")
    return [*found, f"            the reruns took {seconds(data['audits']['cpu_s'])} of processor time"]


def _shapes(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(str(row["hits"]), str(row["asked"]), plain(shape) or "(not seen)") for shape, row in data["shapes"].items()]


def _commands(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (seconds(row["saved_s"]), str(row["hits"]), str(row["asked"]), seconds(row["ahead"]["wasted_cpu_s"]), row["command"])
        for row in data["commands"]
    ]


def _sessions(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if data["session"] or len(data["sessions"]) < 2:
        return []
    return [(seconds(row["saved_s"]), str(row["hits"]), str(row["asked"]), plain(row["session"])[:SHORT_ID]) for row in data["sessions"]]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
