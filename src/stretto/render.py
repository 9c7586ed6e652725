"""What the log says, as text for a terminal and as JSON. Pure but for the local time zone: whoever calls passes the time and what is alive.

Promises: a text from outside (a command, a path, a reason) never reaches a terminal with control characters in it; the JSON of
`status` and `why` only ever gains keys. It is one idea in one file: all views use the same words for the same thing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from stretto.fold import (
    BARRING,
    Attempt,
    Begun,
    Cancelled,
    Exited,
    Failed,
    Job,
    Lost,
    Passed,
    PutAside,
    Ready,
    Request,
    Running,
    Settled,
    State,
    Stopping,
    UnderWay,
    WaitsFor,
)
from stretto.meter import given_up, loses
from stretto.model import AttemptId, End, Event, GateDecided, JobKey, JoinAudited, JoinDecided, JoinDone
from stretto.retries import TRIES, pause_s
from stretto.steering import Block

SHORT_ID = 8
"""Digits of an id that are shown; any unique beginning is taken back."""
REQUESTS_SHOWN = 10
"""Requested jobs that are over and still shown in the table of `status`."""
SIGNALS = {1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 15: "TERM"}


def plain(text: str) -> str:
    """Return `text` with everything a terminal could act on written out."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode() for letter in text)


def command(job: Job | None, width: int = 60) -> str:
    """Return a job as it was typed, shortened to `width` characters."""
    if job is None:
        return "(unknown command)"
    text = plain(" ".join(job.argv) + ("" if job.cwd == "." else f"   in {job.cwd}"))
    return text if len(text) <= width else text[: width - 1] + "…"


def seconds(value_s: float) -> str:
    """Return a duration a person reads at a glance: `0.03 s`, `12.4 s`, `3 min 20 s`."""
    if value_s < 1:
        return f"{value_s:.2f} s"
    return f"{value_s:.1f} s" if value_s < 120 else f"{int(value_s // 60)} min {int(value_s % 60)} s"


def ended(end: End) -> str:
    """Return how a run ended in a word or two."""
    if end.how == "code":
        return "passed" if end.value == 0 else f"exit {end.value}"
    if end.how == "unstarted":
        return f"could not be started: {os.strerror(end.value)}"
    words = {"oversize": "too much output", "memory": "out of memory", "processes": "too many processes"}
    return f"signal {SIGNALS.get(end.value, end.value)}" if end.how == "signal" else words.get(end.how, end.how)


def phase(attempt: Attempt, alive: Collection[AttemptId], now_at: float) -> str:
    """Return what an attempt is doing or how it ended.

    Args:
        alive: attempts whose lock is held; an open one that is not among them was lost.
    """
    match attempt.phase:
        case Begun() | Running():
            if attempt.attempt not in alive:
                return "lost"
            return f"running for {seconds(max(0.0, now_at - attempt.started_at))}"
        case Exited(end=end) | Settled(end=end, torn=""):
            return ended(end)
        case Settled(end=end):
            return f"{ended(end)}, torn"


def clock(at: float) -> str:
    """Return a wall-clock time of day, local."""
    return _local("%H:%M:%S", at)


def moment(at: float) -> str:
    """Return a day and a wall-clock time, local."""
    return _local("%Y-%m-%d %H:%M:%S", at)


def _local(form: str, at: float) -> str:
    try:
        return time.strftime(form, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "at no time of a calendar"  # a damaged record, or a clock that was


# --- status -----------------------------------------------------------------------------------------------------------------


def status(state: State, head: Mapping[str, Any], alive: Collection[AttemptId], now_at: float) -> dict[str, Any]:
    """Return `stretto status --json`.

    Args:
        head: what the log does not know: project, mode, grant, ahead (preset, slots and why), supervisor.
    """
    joins = [join.do for join in state.joins]
    return {
        **head,
        "sessions": [
            {"session": session.session, "opened_at": session.opened_at, "source": session.source}
            for session in state.sessions.values()
            if not session.closed
        ],
        "saved_s": round(state.saved_s, 3),
        "decisions": {
            "replay": joins.count("replay"),
            "attach": joins.count("attach"),
            "run": len(joins) - joins.count("replay") - joins.count("attach"),
            "would_join": sum(1 for join in state.joins if join.would),
        },
        "jobs": [
            _job(state, job, alive, now_at)
            for job in sorted(state.jobs.values(), key=lambda job: -job.last_asked_mono)
            if job.job not in state.requests
        ],
        "requests": [_request(state, request, alive, now_at) for request in state.requests.values()],
        "running": [_attempt(attempt, alive, now_at) for attempt in state.open_attempts() if attempt.attempt in alive],
        "unread": state.joins[-1].reason if state.joins and state.joins[-1].code == "unreadable" else "",
        "blocks": [_block(block, now_at) for block in state.steering.blocks.values()],
        "log": {"events": state.events, "bad_lines": state.bad_lines, "anomalies": state.anomaly_count, "broken": state.broken_count},
    }


def _block(block: Block, now_at: float) -> dict[str, Any]:
    event = block.raised
    return {
        "block": event.block,
        "scope": event.scope,
        "reason": event.reason,
        "session": event.session,
        "attempt": event.attempt,
        "job": event.job,
        "raised_at": event.ts,
        "ends_in_s": round(max(0.0, event.ts + event.ttl_s - now_at), 1),
    }


def _progress(state: State, attempt: AttemptId | None) -> dict[str, Any] | None:
    found = state.steering.progress.get(attempt) if attempt is not None else None
    return None if found is None else {"done": found.done, "total": found.total, "text": found.text, "at": found.at}


def far(progress: Mapping[str, Any] | None) -> str:
    """Return how far a worker says it is: `3/10 indexing`, "" when it says nothing."""
    if progress is None:
        return ""
    amount = f"{progress['done']:g}" + (f"/{progress['total']:g}" if progress["total"] is not None else "")
    return f"{amount} {plain(progress['text'])}".strip()


def _job(state: State, job: Job, alive: Collection[AttemptId], now_at: float) -> dict[str, Any]:
    last = state.attempts.get(job.last_attempt) if job.last_attempt else None
    return {
        "job": job.job,
        "argv": list(job.argv),
        "cwd": job.cwd,
        "usual_s": round(job.median_s, 3),
        "foreground_runs": job.foreground_runs,
        "ahead_runs": job.ahead_runs,
        "joins": job.joins,
        "flaky": flaky(job),
        "not_ahead": not_ahead(job) or aside(state, job, now_at) or loses(job),
        "barred": job.barred,
        "last": _attempt(last, alive, now_at) if last else None,
    }


def _request(state: State, request: Request, alive: Collection[AttemptId], now_at: float) -> dict[str, Any]:
    job = state.jobs[request.job]
    attempt = state.attempts.get(request.attempt) if request.attempt else None
    word, reason = request_state(request)
    if isinstance(request.phase, UnderWay) and attempt is not None:
        word = phase(attempt, alive, now_at)
    return {
        "job": request.job,
        "argv": list(job.argv),
        "cwd": job.cwd,
        "state": word,
        "reason": reason,
        "over": request.over,
        "priority": request.priority,
        "memory_bytes": request.memory_bytes,
        "after": list(request.after),
        "keep": request.keep,
        "retries": request.retries,
        "progress": _progress(state, request.attempt),
        "artifacts": list(state.steering.artifacts.get(request.attempt, ())) if request.attempt else [],
        "asked_at": request.asked_at,
        "attempt": request.attempt,
        "end": {"how": attempt.end.how, "value": attempt.end.value} if attempt and attempt.end else None,
        "took_s": attempt.took_s if attempt else None,
    }


def request_state(request: Request) -> tuple[str, str]:
    """Return what became of a requested job so far: a word, and the reason where there is one to give."""
    match request.phase:
        case WaitsFor(others=others):
            return "waiting", "for " + ", ".join(job[:SHORT_ID] for job in request.after if job in others)
        case Ready(tries=0, held=held):
            return "ready", held
        case Ready(tries=tries, held=held):
            return "ready", held or f"failed {times(tries)}, is tried again"
        case UnderWay(tries=tries):
            return "running", f"try {tries}" if tries > 1 else ""
        case Stopping(reason=reason):
            return "stopping", reason
        case Passed():
            return "done", ""
        case Failed(end=end):
            return "failed", ended(end)
        case Cancelled(reason=reason):
            return "cancelled", reason
        case PutAside(end=end, tries=tries):
            return "put aside", f"failed {times(tries)}, lastly: {ended(end)}"
        case Lost(reason=reason):
            return "lost", reason


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _attempt(attempt: Attempt, alive: Collection[AttemptId], now_at: float) -> dict[str, Any]:
    settled = attempt.phase if isinstance(attempt.phase, Settled) else None
    return {
        "attempt": attempt.attempt,
        "job": attempt.job,
        "kind": attempt.kind,
        "started_at": attempt.started_at,
        "state": phase(attempt, alive, now_at),
        "end": {"how": attempt.end.how, "value": attempt.end.value} if attempt.end else None,
        "took_s": attempt.took_s,
        "torn": settled.torn if settled else "",
        "joined": attempt.joined,
    }


def not_ahead(job: Job) -> str:
    """Return what is known of a job that keeps it from running ahead, "" when the log knows nothing against it."""
    known = (
        (job.hooked, "called from a git hook"),
        (job.contradicted, f"put aside: {job.contradicted}"),
        (job.beside, f"ran beside {job.beside}"),
        (not job.clean, "not yet seen to end well"),
        (job.mutating, "writes sources" + _once(job, "files")),
        (job.products, "writes products" + _once(job, "products")),
        (job.leaves, "leaves processes" + _once(job, "left")),
        (job.remote, "talks to the network" + _once(job, "remote")),
        (job.reached, f"was seen to {job.reached}" + _once(job, "reached")),
        (job.asked, "needs a permission"),
        (bool(job.barred), "barred by an audit"),
    )
    return next((reason for applies, reason in known if applies), "")


def _once(job: Job, effect: str) -> str:
    """Say of an effect that one more run of the session without it would end that."""
    return "" if effect == "files" and job.rewrites else " (seen once so far)" if sum(job.looks.get(effect, ())) == 1 else ""


def flaky(job: Job) -> str:
    """Say that a command came to both ends although nothing had changed, "" when it was not seen to."""
    times = "" if job.flips < 2 else f" ({job.flips} times)"
    return f"flaky: {job.flip}, nothing changed{times}" if job.flips else ""


def aside(state: State, job: Job, now_at: float) -> str:
    """Return since when, till when and why a job whose ahead runs died is put aside or waits, "" when it does not.

    The pause itself goes by a clock that never jumps and ends with a restart of the machine; the times are for a person.
    """
    until_at = job.crashed_at + pause_s(job.crashes)
    if now_at >= until_at or (state.supervisor is not None and state.supervisor.boot != job.crashed_boot):
        return ""
    what = "put aside" if job.crashes >= TRIES else "waits"
    died = "its last ahead run died" if job.crashes == 1 else f"its last {job.crashes} ahead runs died"
    since = f"since {clock(job.crashed_at)}, tried again from {clock(until_at)} on"
    return f"{what}: {died}; {since}, or at once by `stretto retry {job.job[:SHORT_ID]}`"


def status_lines(data: Mapping[str, Any], now_at: float, wide: int) -> list[str]:
    """Return `stretto status` as lines of at most about `wide` characters."""
    supervisor = data["supervisor"]
    decisions = data["decisions"]
    joined = decisions["replay"] + decisions["attach"]
    lines = [
        f"Stretto is {data['mode']} in {data['project']}" + (f": {data['grant']}" if data["grant"] != "ok" else ""),
        f"ahead       {data['ahead']['preset']} ({data['ahead']['why']}), at most {data['ahead']['slots']} at a time",
        f"supervisor  {'pid {pid}, version {version}'.format_map(supervisor) if supervisor else 'not running; the next session starts it'}",
        f"sessions    {len(data['sessions'])} open",
        f"joined      {joined} of {joined + decisions['run']} checks, {seconds(data['saved_s'])} not waited for",
    ]
    if decisions["would_join"]:
        lines.append(f"observed    {decisions['would_join']} more would have been joined")
    if data["unread"]:
        lines.append(f"unread      {plain(data['unread'])}")
    if data["log"]["bad_lines"] or data["log"]["anomalies"]:
        lines.append("log         has lines nobody can use; `stretto doctor` says more")
    if data["log"]["broken"]:
        lines.append(f"promises    {data['log']['broken']} times something was not as promised; `stretto doctor` says more")
    for block in data["blocks"]:
        whom = f"session {block['session'][:SHORT_ID]}" if block["session"] else "every session"
        whose = f"worker {block['attempt'][:SHORT_ID]}" if block["attempt"] else "a person or program"
        lines.append(
            f"block       {block['block']} of {block['scope']} for {whom}, by {whose}, for {seconds(block['ends_in_s'])} at most: "
            f"{plain(block['reason'])}"
        )
    if data["requests"]:
        over = [request for request in data["requests"] if request["over"]][-REQUESTS_SHOWN:]
        shown = [request for request in data["requests"] if not request["over"] or request in over]
        lines += ["", *table([("JOB", "STATE", "PRIORITY", "TOOK", "WHY", "COMMAND"), *map(_request_row, shown)], wide)]
    if not data["jobs"]:
        return [*lines, "", "No check has been seen yet."]
    rows: list[tuple[str, ...]] = [("ID", "LAST RUN", "STATE", "TOOK", "AGO", "AHEAD", "COMMAND")]
    rows += [_row(job, now_at) for job in data["jobs"]]
    return [*lines, "", *table(rows, wide)]


def status_line(state: State, now_at: float, *, paused: bool) -> str:
    """Return the one line of Claude Code's status line."""
    if paused:
        return "stretto: paused"
    parts = []
    for attempt in state.open_attempts():
        name = command(state.jobs.get(attempt.job), 24)
        if attempt.kind == "requested":
            parts.append(f"{name} {far(_progress(state, attempt.attempt))}".strip())
        elif attempt.kind == "ahead":
            parts.append(f"{name} runs ahead")
    live = [block for block in state.steering.blocks.values() if block.raised.ts + block.raised.ttl_s > now_at]
    if live:
        parts.append(f"{len(live)} block{'s' if len(live) > 1 else ''}: {plain(live[-1].raised.reason)[:40]}")
    return "stretto: " + (", ".join(parts) or f"{seconds(state.saved_s)} not waited for")


def _row(job: Mapping[str, Any], now_at: float) -> tuple[str, ...]:
    last = job["last"]
    text = plain(" ".join(job["argv"]) + ("" if job["cwd"] == "." else f"   in {job['cwd']}"))
    ahead = job["not_ahead"] or "yes"
    text += f"   [{job['flaky']}]" if job["flaky"] else ""
    if last is None:
        return "-", "-", "-", "-", "-", ahead, text
    took = seconds(last["took_s"]) if last["took_s"] is not None else "-"
    return last["attempt"][:SHORT_ID], last["kind"], last["state"], took, seconds(max(0.0, now_at - last["started_at"])), ahead, text


def _request_row(request: Mapping[str, Any]) -> tuple[str, ...]:
    took = seconds(request["took_s"]) if request["took_s"] is not None else "-"
    text = plain(" ".join(request["argv"]) + ("" if request["cwd"] == "." else f"   in {request['cwd']}"))
    return (
        request["job"][:SHORT_ID],
        request["state"],
        str(request["priority"]),
        took,
        plain(request["reason"]) or far(request["progress"]) or "-",
        text,
    )


def table(rows: Sequence[Sequence[str]], wide: int) -> list[str]:
    """Return rows as aligned lines; the last column takes what is left of `wide`, at least 20 characters."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    room = max(20, wide - sum(widths) - 2 * len(widths))
    lines = []
    for row in rows:
        last = row[-1] if len(row[-1]) <= room else row[-1][: room - 1] + "…"
        lines.append("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), last]))
    return lines


# --- why --------------------------------------------------------------------------------------------------------------------


def why(state: State, count: int, now_at: float) -> list[dict[str, Any]]:
    """Return the last `count` decisions, oldest first, as `stretto why --json` has them.

    They are about checks, requested jobs that did not pass, commands that are not run ahead because they died, and flaky ones.
    """
    decisions = [decision(join, state.jobs.get(join.job), state.waits.get(join.ask)) for join in state.joins]
    decisions += [_refusal(state, request) for request in state.requests.values() if request.over and not isinstance(request.phase, Passed)]
    decisions += [_set_aside(job, job.crashed_at, reason) for job in state.jobs.values() if (reason := aside(state, job, now_at))]
    decisions += [_set_aside(job, now_at, reason) for job in state.jobs.values() if given_up(job) and (reason := loses(job))]
    decisions += [_set_aside(state.jobs[audit.job], audit.ts, _barred(audit)) for audit in _bars(state)]
    decisions += [_set_aside(job, now_at, _contradicted(job)) for job in state.jobs.values() if job.contradicted]
    decisions += [_held_up(gate) for gate in state.steering.decisions if gate.do != "allow" or gate.rule in TOLD_RULES]
    decisions += [_unasked(job, job.flipped_at, "flaky", flaky(job).removeprefix("flaky: ")) for job in state.jobs.values() if job.flips]
    return sorted(decisions, key=lambda decision: decision["at"])[-count:]


TOLD_RULES = ("cap", "override", "passed-by")
"""Rules by which a gate let something go on that a person may want to know of."""


def _held_up(gate: GateDecided) -> dict[str, Any]:
    """A gate that did something, in the shape of a decision."""
    reason = f"{gate.reason}; `stretto why {gate.gate[:SHORT_ID]}` says more"
    return {
        **_NOTHING,
        "at": gate.ts,
        "ask": gate.gate,
        "argv": [gate.on],
        "session": gate.session,
        "do": {"continue": "held up", "deny": "denied"}.get(gate.do, "let go"),
        "reason": reason,
        "code": gate.rule,
    }


def _refusal(state: State, request: Request) -> dict[str, Any]:
    """Why a requested job did not come to a good end, in the shape of a decision."""
    word, reason = request_state(request)
    return _unasked(state.jobs[request.job], request.ended_at or 0.0, word, reason) | {
        "session": request.session,
        "attempt": request.attempt,
    }


def _set_aside(job: Job, at: float, reason: str) -> dict[str, Any]:
    """Why a command does not run ahead for a time, or is not joined, in the shape of a decision."""
    word, _, rest = reason.partition(": ")
    return _unasked(job, at, word, rest)


def _bars(state: State) -> list[JoinAudited]:
    """Return the latest finding of each command that an audit bars."""
    found = {audit.job: audit for audit in state.audits if audit.outcome in BARRING}
    return [audit for job, audit in found.items() if job in state.jobs and state.jobs[job].barred]


def _barred(audit: JoinAudited) -> str:
    both = f"`stretto logs {audit.attempt[:SHORT_ID]}` and `stretto logs {(audit.again or '')[:SHORT_ID]}`"
    return f"barred: {audit.reason}; compare {both}; `stretto retry {audit.job[:SHORT_ID]}` lets it be joined again"


def _contradicted(job: Job) -> str:
    return f"put aside: {job.contradicted}, or at once by `stretto retry {job.job[:SHORT_ID]}`"


def _unasked(job: Job, at: float, word: str, reason: str) -> dict[str, Any]:
    """A decision that is no answer to a shim."""
    return {**_NOTHING, "at": at, "job": job.job, "argv": list(job.argv), "cwd": job.cwd, "do": word, "reason": reason}


_NOTHING: dict[str, Any] = {
    "at": 0.0,
    "ask": "",
    "job": None,
    "argv": [],
    "cwd": "",
    "session": None,
    "do": "",
    "would": "",
    "standing": "",
    "reason": "",
    "attempt": None,
    "of": None,
    "decide_ms": 0.0,
    "waited_s": None,
    "saved_s": None,
    "code": "",
    "differs": [],
    "shape": "",
}


def decision(join: JoinDecided, job: Job | None, done: JoinDone | None) -> dict[str, Any]:
    return {
        "at": join.ts,
        "ask": join.ask,
        "job": join.job,
        "argv": list(job.argv) if job else [],
        "cwd": job.cwd if job else "",
        "session": join.session,
        "do": join.do,
        "would": join.would,
        "standing": join.standing,
        "reason": join.reason,
        "attempt": join.attempt,
        "of": join.of,
        "decide_ms": join.decide_ms,
        "waited_s": done.waited_s if done else None,
        "saved_s": done.saved_s if done else None,
        "code": join.code,
        "differs": list(join.differs),
        "shape": join.shape,
    }


def why_lines(decisions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return decisions as lines: when, what was done, the command; below it the reason and what it saved."""
    lines = []
    for decision in decisions:
        text = plain(" ".join(decision["argv"])) or "(unknown command)"
        lines.append(f"{clock(decision['at'])}  {DONE.get(decision['do'], decision['do']):<9}  {text}")
        detail = plain(decision["reason"]) + (f" [{plain(decision['code'])}]" if decision["code"] else "")
        if decision["do"] in ("replay", "attach") and decision["attempt"]:
            detail += f"; {decision['of'] or 'a'} run {decision['attempt'][:SHORT_ID]}"
        if decision["waited_s"] is not None:
            detail += f"; waited {seconds(decision['waited_s'])}, saved {seconds(max(0.0, decision['saved_s']))}"
        if decision["would"]:
            detail += f"; mode `on` would have made it {DONE[decision['would']]}"
        lines.append(f"                     {detail}")
    return lines


DONE = {"replay": "replayed", "attach": "attached", "record": "ran", "exec": "ran bare"}
"""`ran` is recorded and can be joined; `ran bare` was not even looked at from outside."""


# --- events -----------------------------------------------------------------------------------------------------------------

_ENVELOPE = {"t", "v", "ts", "mono", "boot", "by"}


def event_line(event: Event, jobs: Mapping[JobKey, Job]) -> str:
    """Return one event as one line: time, type, its fields; ids shortened, a known job by its command."""
    fields = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _ENVELOPE and value not in ("", None, [], 0)}
    parts = []
    for name, value in fields.items():
        if name == "job" and value in jobs:
            parts.append(f"«{command(jobs[value])}»")
        elif name in ("job", "attempt", "ask", "session"):
            parts.append(f"{name}={str(value)[:SHORT_ID]}")
        else:
            parts.append(f"{name}={plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())}")
    return f"{clock(event.ts)}  {event.__struct_config__.tag!s:<19} {' '.join(parts)}"
