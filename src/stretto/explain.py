"""One decision explained: what was asked, what was known, which rule decided, what would have changed it. Pure, from the log alone.

Promises: works with nothing of Stretto alive; a text from outside never reaches a terminal with control characters in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stretto import render
from stretto.fold import State
from stretto.model import MISS_CODES, BlockCleared, GateDecided
from stretto.steering import Block


def explainable(state: State) -> list[str]:
    """Return the ids that `explain` knows: of answers to shims and gates, of blocks, of runs that were joined."""
    steering = state.steering
    found = [join.ask for join in state.joins] + [gate.gate for gate in steering.decisions]
    found += [*steering.blocks, *(ended.block for ended in steering.ended)]
    return list(dict.fromkeys([*found, *(join.attempt for join in state.joins if join.attempt)]))


def explain(state: State, name: str) -> dict[str, Any]:
    """Say of one id what was asked, what was known, which rule decided, and what would have changed it; from the log alone.

    Args:
        name: one of `explainable`.
    """
    steering = state.steering
    for gate in steering.decisions:
        if gate.gate == name:
            return _explain_gate(state, gate)
    raised = steering.blocks.get(name)
    ended = next((event for event in reversed(steering.ended) if event.block == name), None)
    if raised is not None or ended is not None:
        return _explain_block(name, raised, ended, [gate for gate in steering.decisions if name in gate.blocks])
    join = next(join for join in reversed(state.joins) if name in (join.ask, join.attempt))
    decision = render.decision(join, state.jobs.get(join.job), state.waits.get(join.ask))
    joined = join.do in ("replay", "attach")
    change = (
        "a change of any file it may read" if joined else MISS_CODES.get(join.code, "") and f"that it is not so: {MISS_CODES[join.code]}"
    )
    return {
        **decision,
        "kind": "check",
        "rule": join.code or join.do,
        "known": [f"its last result stood {join.standing}"],
        "change": change,
    }


def _explain_gate(state: State, gate: GateDecided) -> dict[str, Any]:
    known = []
    for check in gate.checks:
        outcome = {"pass": "passed", "fail": "failed"}.get(check.outcome, "came to no verdict")
        run = f", run {check.attempt[: render.SHORT_ID]}" if check.attempt else ""
        known.append(f"{render.command(state.jobs.get(check.job))}: {outcome}, {check.standing} ({check.reason}{run})")
    known += [f"block {block}" for block in gate.blocks]
    return {
        "kind": "gate",
        "at": gate.ts,
        "ask": gate.gate,
        "on": gate.on,
        "session": gate.session,
        "agent": gate.agent,
        "do": gate.do,
        "rule": gate.rule,
        "reason": gate.reason,
        "known": known,
        "held_s": gate.held_s,
        "change": CHANGES.get(gate.rule, ""),
    }


def _explain_block(name: str, block: Block | None, ended: BlockCleared | None, gates: Sequence[GateDecided]) -> dict[str, Any]:
    known = [f"it held {gate.on} up at {render.clock(gate.ts)} ({gate.gate[: render.SHORT_ID]})" for gate in gates if gate.do != "allow"]
    reason = render.plain(block.raised.reason) if block is not None else ""
    how = _ENDS.get(ended.how, ended.how) if ended is not None else "it holds, as far as the log says"
    return {
        "kind": "block",
        "at": ended.ts if ended is not None else block.raised.ts if block is not None else 0.0,
        "ask": name,
        "do": "ended" if ended is not None else "holds",
        "rule": ended.how if ended is not None else "block",
        "reason": f"{reason}; {how}" if reason else how,
        "known": known,
        "change": "" if ended is not None else f"`stretto unblock {name}`, the end of its worker, or its time",
    }


_ENDS = {
    "clear": "its worker ended it",
    "owner": "its worker is gone",
    "expired": "its time was over",
    "user": "the user ended it",
    "superseded": "the check it was about passed",
    "session": "the session it was for is over",
}
CHANGES = {
    "block": "the end of the block: `stretto unblock ID`, its own end, or its time",
    "block-told": "nothing: it was told once for this prompt",
    "red": "a pass of the check on the files as they are, or `gate = []` in stretto.toml",
    "red-told": "other failures than those it was told",
    "red-before": "nothing: it was red when this session first saw it",
    "cap": "a new prompt of the user",
    "nothing-written": "a source written since the user's last prompt",
    "stale": "a run of the check on the files as they are",
    "running": "the end of the run",
    "still-running": "a quicker check",
    "unjudged": "that what is named is in order again",
    "off": "mode `on`, the end of a pause, or a grant that holds",
    "not-gated": "`gate` in stretto.toml",
    "clear": "a check that was not red before and fails now",
}
"""What would have led to another answer, by the rule that decided."""


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return an explanation as lines."""
    what = found.get("on") or render.plain(" ".join(found.get("argv", []))) or f"block {found['ask']}"
    said = [
        f"{render.moment(found['at'])}  {what}",
        f"answer   {render.DONE.get(found['do'], found['do'])}",
        f"rule     {found['rule']}: {render.plain(found['reason'])}",
    ]
    said += [f"known    {render.plain(each)}" for each in found["known"]]
    if found["change"]:
        said.append(f"change   {found['change']}")
    return said


def stop_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `stretto explain-stop` knows as lines."""
    whom = f"Session {found['session'][: render.SHORT_ID]}" if found.get("session") else "A session"
    said = [f"{whom} {'may end its turn' if found['may_stop'] else 'is held up'}: {render.plain(found['why'])} ({found['rule']})."]
    for check in found.get("checks", []):
        outcome = {"pass": "passed", "fail": "failed"}.get(check["outcome"], "no verdict")
        note = "" if check["gates"] and not check["filtered"] else " (holds nothing up)"
        said.append(f"check    {render.plain(check['command'])}: {outcome}, {check['standing']}: {render.plain(check['reason'])}{note}")
    said += [f"block    {block['block']} of {block['scope']}: {render.plain(block['reason'])}" for block in found.get("blocks", [])]
    said += [f"waits    {render.plain(each)}" for each in found.get("waiting", [])]
    if found.get("wrote") is not None and not found["wrote"] and found["rule"] != "no-supervisor":
        said.append("written  no source since the user's last prompt")
    if found.get("continued"):
        said.append(f"held up  {found['continued']} of at most {found['continued_most']} times for this prompt")
    return said
