"""Who holds a session up, and what it was held up for already: blocks, prompts, and the decisions of gates. Pure; `fold` calls it.

Promises: a block is over as soon as one of its ends has come, whether or not anybody wrote that down; what a session was held up for is
never forgotten before it ends; everything here is bounded.

The records of a block and of a gate's decision:

    block.raised -> live -> block.cleared (clear, owner, expired, user, superseded, session)
    prompt.began -> source.written -> gate.decided (continue) at most twice -> gate.decided (allow)
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable

import msgspec

from stretto.model import (
    ArtifactMade,
    AttemptId,
    BlockCleared,
    BlockRaised,
    GateDecided,
    JobKey,
    Outcome,
    SessionId,
    SourceWritten,
    WorkerProgressed,
    WorkerSaid,
)

BLOCKS_MOST = 200
"""Live blocks of one project; a further one is refused."""
TTL_S, TTL_MOST_S = 600.0, 86_400.0
REASON_CHARACTERS = 1000
FACTS_MOST = 2000
"""What one session was held up for; beyond that nothing holds it up any more."""
DECISIONS = 500
SAID_MOST = 100
ARTIFACTS_MOST = 20


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps sessions from going on."""

    raised: BlockRaised

    @property
    def id(self) -> str:
        return self.raised.block

    def concerns(self, session: SessionId | None) -> bool:
        return self.raised.session is None or self.raised.session == session


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    done: float
    total: float | None
    text: str
    at: float


class Turn(msgspec.Struct, kw_only=True):
    """What gates have to know of one session."""

    prompts: int = 0
    wrote: dict[str, str] = msgspec.field(default_factory=dict)
    """The agents that wrote a source since the user's last prompt, "" the main one, and the first path each wrote."""
    continued: int = 0
    """How often a turn was made to go on since the user's last prompt."""
    facts: dict[str, int] = msgspec.field(default_factory=dict)
    """What it was held up for, and the number of the prompt in which that was last."""
    first: dict[JobKey, Outcome] = msgspec.field(default_factory=dict)
    """How each check came out when it first did in this session."""
    passed: set[JobKey] = msgspec.field(default_factory=set)
    """The checks that passed in this session at least once."""
    woken: set[str] = msgspec.field(default_factory=set)
    """The blocks it was woken for."""
    told: int = 0
    """How many of all that workers ever said it was told."""


class Steering(msgspec.Struct, kw_only=True):
    """The fold of everything that steers sessions."""

    blocks: dict[str, Block] = msgspec.field(default_factory=dict)
    """Those that nobody has said to be over, in the order in which they were raised."""
    ended: deque[BlockCleared] = msgspec.field(default_factory=lambda: deque(maxlen=DECISIONS))
    raised: int = 0
    """How many there ever were."""
    turns: dict[SessionId, Turn] = msgspec.field(default_factory=dict)
    said: deque[WorkerSaid] = msgspec.field(default_factory=lambda: deque(maxlen=SAID_MOST))
    said_count: int = 0
    progress: dict[AttemptId, Progress] = msgspec.field(default_factory=dict)
    artifacts: dict[AttemptId, list[str]] = msgspec.field(default_factory=dict)
    decisions: deque[GateDecided] = msgspec.field(default_factory=lambda: deque(maxlen=DECISIONS))

    def turn(self, session: SessionId) -> Turn:
        """Return what is known of a session; a new record for one that was not heard of."""
        return self.turns.setdefault(session, Turn())


def block_id(scope: str, reason: str, session: SessionId | None, attempt: AttemptId | None, number: int) -> str:
    """Return the identity of a block.

    Args:
        number: how many blocks were over when it was raised, so that one raised again after its end is another one.
    """
    parts = "\0".join([scope, reason, session or "", attempt or "", str(number)])
    return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def same(block: Block, scope: str, reason: str, session: SessionId | None, attempt: AttemptId | None) -> bool:
    """Say whether raising this would only repeat a block."""
    event = block.raised
    return (event.scope, event.reason, event.session, event.attempt) == (scope, reason, session, attempt)


def over(block: Block, *, mono_s: float, boot: str, living: Collection[AttemptId], open_sessions: Collection[SessionId]) -> str:
    """Say how a block has ended although nobody wrote that down, "" while it holds; the words of `model.BlockEnd`.

    Args:
        living: attempts that began and have not ended.
        open_sessions: sessions that are open.
    """
    event = block.raised
    if event.boot != boot or mono_s - event.mono >= event.ttl_s or mono_s < event.mono:
        return "expired"
    if event.attempt is not None and event.attempt not in living:
        return "owner"
    if event.session is not None and event.session not in open_sessions:
        return "session"
    return ""


# --- steps ------------------------------------------------------------------------------------------------------------------


def raise_block(steering: Steering, event: BlockRaised) -> str:
    if event.block in steering.blocks:
        return ""  # two that raised the same at the same time
    if len(steering.blocks) >= BLOCKS_MOST:
        return f"block.raised beyond {BLOCKS_MOST} blocks"
    steering.blocks[event.block] = Block(raised=event)
    steering.raised += 1
    return ""


def clear_block(steering: Steering, event: BlockCleared) -> str:
    if steering.blocks.pop(event.block, None) is None:
        return f"block.cleared for unknown block {event.block}"
    steering.ended.append(event)
    return ""


def prompt_began(steering: Steering, session: SessionId) -> None:
    turn = steering.turn(session)
    turn.prompts += 1
    turn.wrote.clear()
    turn.continued = 0


def source_written(steering: Steering, event: SourceWritten) -> None:
    steering.turn(event.session).wrote.setdefault(event.agent, event.path)


def check_ended(steering: Steering, sessions: Iterable[SessionId], job: JobKey, outcome: Outcome) -> None:
    """A check came to an end that counts, while these sessions were open."""
    for session in sessions:
        turn = steering.turn(session)
        turn.first.setdefault(job, outcome)
        if outcome == "pass":
            turn.passed.add(job)


def decided(steering: Steering, event: GateDecided) -> str:
    if any(decision.gate == event.gate for decision in reversed(steering.decisions)):
        return f"gate.decided twice for {event.gate}"
    steering.decisions.append(event)
    if event.session is None or event.do == "allow":
        return ""
    turn = steering.turn(event.session)
    if event.do == "continue":
        turn.continued += 1
    for fact in event.facts:
        if len(turn.facts) < FACTS_MOST:
            turn.facts[fact] = turn.prompts
    return ""


def said(steering: Steering, event: WorkerSaid) -> None:
    steering.said.append(event)
    steering.said_count += 1


def session_opened(steering: Steering, session: SessionId) -> None:
    """A session begins; what was said before it is not for it."""
    if session not in steering.turns:
        steering.turns[session] = Turn(told=steering.said_count)


def untold(steering: Steering, session: SessionId) -> list[WorkerSaid]:
    """Return what workers said and this session was not told, oldest first; of very much only the latest."""
    turn = steering.turns.get(session)  # to ask is no event: nothing comes into being by it
    new = steering.said_count - (turn.told if turn is not None else 0)
    return [event for event in list(steering.said)[-new:] if event.session in (None, session)] if new else []


def progressed(steering: Steering, event: WorkerProgressed) -> None:
    steering.progress[event.attempt] = Progress(done=event.done, total=event.total, text=event.text, at=event.ts)


def artifact_made(steering: Steering, event: ArtifactMade) -> None:
    made = steering.artifacts.setdefault(event.attempt, [])
    if event.path not in made and len(made) < ARTIFACTS_MOST:
        made.append(event.path)


def attempt_forgotten(steering: Steering, attempt: AttemptId) -> None:
    steering.progress.pop(attempt, None)
    steering.artifacts.pop(attempt, None)


def session_closed(steering: Steering, session: SessionId) -> None:
    steering.turns.pop(session, None)
