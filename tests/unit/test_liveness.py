"""No state of ours holds a session for ever: the model of gates, blocks, workers and a session, explored to its end (C-10, F21, F25).

The model's moves are all that can happen around one session; what answers are the real `gates.decide` and the real fold of `steering`. A
state is what both can tell apart, so the search ends by itself: there is no depth beyond which something could hide.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto import gates, steering
from stretto.model import (
    AttemptId,
    BlockCleared,
    BlockRaised,
    BlockScope,
    End,
    GateDecided,
    JobKey,
    Outcome,
    SessionId,
    SourceWritten,
    Standing,
)

SESSION = SessionId("s")
WORKER = AttemptId("w")
CHECK = JobKey("pytest")
BOOT = "boot"
BLOCKS_RAISED_MOST = 2 if os.environ.get("STRETTO_SCALE") == "soak" else 1
"""In one story; two make 170,000 states."""
CHECK_STATES: dict[str, tuple[Standing, Outcome, str, float | None]] = {
    "passes": (Standing.FRESH, "pass", "", None),
    "fails": (Standing.FRESH, "fail", "fact one", None),
    "fails otherwise": (Standing.FRESH, "fail", "fact two", None),
    "failed once": (Standing.STALE, "fail", "fact one", None),
    "runs a second more": (Standing.RUNNING, "", "", 1.0),
    "runs for nobody knows how long": (Standing.RUNNING, "", "", None),
    "no verdict": (Standing.FRESH, "", "", None),
}


def event_fields(mono_s: float = 0.0) -> dict[str, object]:
    return {"v": 2, "ts": 0.0, "mono": mono_s, "boot": BOOT, "by": "supervisor:1"}


class Model(NamedTuple):
    """One state; `told` and `goings` are the test's own count of what happened, not the product's."""

    turn: steering.Turn
    blocks: tuple[BlockRaised, ...] = ()
    check: str = "passes"
    worker_lives: bool = True
    raised: int = 0
    told_ever: frozenset[str] = frozenset()
    told_now: frozenset[str] = frozenset()
    goings: int = 0

    def key(self) -> object:
        turn = self.turn
        facts = tuple(sorted((fact, prompt == turn.prompts) for fact, prompt in turn.facts.items()))
        return (
            (bool(turn.wrote), turn.continued, facts, tuple(turn.first.items()), tuple(turn.passed)),
            (tuple((block.block, block.scope, block.attempt) for block in self.blocks), self.check, self.worker_lives, self.raised),
            (self.told_ever, self.told_now, self.goings),
        )

    def copy_of_turn(self) -> steering.Turn:
        turn = self.turn
        return msgspec.structs.replace(
            turn, wrote=dict(turn.wrote), facts=dict(turn.facts), first=dict(turn.first), passed=set(turn.passed), woken=set(turn.woken)
        )

    def live(self, mono_s: float = 1.0) -> tuple[steering.Block, ...]:
        living = [WORKER] if self.worker_lives else []
        blocks = [steering.Block(raised=block) for block in self.blocks]
        return tuple(
            block for block in blocks if not steering.over(block, mono_s=mono_s, boot=BOOT, living=living, open_sessions=[SESSION])
        )

    def view(self, mono_s: float = 1.0) -> gates.View:
        standing, outcome, fact, left_s = CHECK_STATES[self.check]
        checked = gates.Checked(
            job=CHECK,
            attempt=AttemptId("a"),
            command="pytest",
            places=frozenset({"stop", "commit"}),
            standing=standing,
            outcome=outcome,
            left_s=left_s,
            end=End(how="code", value=1),
            fact=fact,
        )
        return gates.View(turn=self.turn, blocks=self.live(mono_s), checks=(checked,))


def asked(place: gates.Place, waited_s: float = 0.0, *, way_out: bool = False) -> gates.Question:
    return gates.Question(place=place, session=SESSION, waited_s=waited_s, way_out=way_out)


def stopped(model: Model, mono_s: float = 1.0) -> tuple[Model, gates.Decision]:
    """Let the session ask to end its turn, and fold the answer; an answer kept back is given at the latest when the time for it is over."""
    decision = gates.decide(asked("stop"), model.view(mono_s))
    if decision.do == "hold":
        decision = gates.decide(asked("stop", gates.HOLD_S), model.view(mono_s))
    assert decision.do in ("allow", "continue")
    known = steering.Steering(turns={SESSION: model.copy_of_turn()})
    event = GateDecided(
        **event_fields(), gate="g", session=SESSION, on="Stop", do=decision.do, rule=decision.rule, reason="", facts=decision.facts
    )
    assert steering.decided(known, event) == ""
    model = model._replace(turn=known.turns[SESSION])
    if decision.do == "continue":
        model = model._replace(
            goings=model.goings + 1, told_ever=model.told_ever | set(decision.facts), told_now=model.told_now | set(decision.facts)
        )
    return model, decision


def after_a_prompt(model: Model) -> Model:
    known = steering.Steering(turns={SESSION: model.copy_of_turn()})
    steering.prompt_began(known, SESSION)
    return model._replace(turn=known.turns[SESSION], goings=0, told_now=frozenset())


def after_a_write(model: Model) -> Model:
    known = steering.Steering(turns={SESSION: model.copy_of_turn()})
    steering.source_written(known, SourceWritten(**event_fields(), session=SESSION, path="src.py"))
    return model._replace(turn=known.turns[SESSION])


def after_the_check(model: Model, state: str) -> Model:
    known = steering.Steering(turns={SESSION: model.copy_of_turn()})
    standing, outcome, _, _ = CHECK_STATES[state]
    if standing is Standing.FRESH:
        steering.check_ended(known, [SESSION], CHECK, outcome)
    return model._replace(turn=known.turns[SESSION], check=state)


def after_a_block(model: Model, scope: BlockScope, owner: AttemptId | None) -> Model:
    known = steering.Steering(blocks={block.block: steering.Block(raised=block) for block in model.blocks})
    block = BlockRaised(**event_fields(), block=f"block {model.raised}", scope=scope, reason="no", attempt=owner, ttl_s=60.0)
    assert steering.raise_block(known, block) == ""
    return model._replace(blocks=tuple(each.raised for each in known.blocks.values()), raised=model.raised + 1)


def after_a_clear(model: Model, block: BlockRaised) -> Model:
    known = steering.Steering(blocks={each.block: steering.Block(raised=each) for each in model.blocks})
    assert steering.clear_block(known, BlockCleared(**event_fields(), block=block.block, how="user")) == ""
    return model._replace(blocks=tuple(each.raised for each in known.blocks.values()))


def moves(model: Model) -> Iterator[Model]:
    """Everything that can happen next."""
    yield stopped(model)[0]
    yield after_a_prompt(model)
    yield after_a_write(model)
    yield from (after_the_check(model, state) for state in CHECK_STATES)
    if model.raised < BLOCKS_RAISED_MOST:
        for scope, owner in itertools.product(("stop", "edit", "all"), (WORKER, None)):
            if model.worker_lives or owner is None:
                yield after_a_block(model, scope, owner)  # type: ignore[arg-type]
    yield from (after_a_clear(model, block) for block in model.blocks)
    if model.worker_lives:
        yield model._replace(worker_lives=False)


def explored() -> Iterator[Model]:
    """Every state that can be reached, each once."""
    start = Model(turn=steering.Turn())
    seen, waiting = {start.key()}, deque([start])
    while waiting:
        model = waiting.popleft()
        yield model
        for reached in moves(model):
            if (key := reached.key()) not in seen:
                seen.add(key)
                waiting.append(reached)


@pytest.fixture(scope="module")
def reached() -> list[Model]:
    states = list(explored())
    print(f"{len(states)} states, all that can be reached")
    return states


def test_the_whole_model_is_reached(reached):
    """The search did not end for want of moves: every check state, blocks, dead workers and held-up turns are among its states."""
    assert {model.check for model in reached} == set(CHECK_STATES)
    assert {model.goings for model in reached} == {0, 1, gates.CONTINUED_MOST}
    assert {len(model.blocks) for model in reached} == set(range(BLOCKS_RAISED_MOST + 1))
    assert {stopped(model)[1].rule for model in reached} >= {
        "block",
        "block-told",
        "nothing-written",
        "red",
        "red-told",
        "red-before",
        "cap",
        "still-running",
        "stale",
        "clear",
    }


def test_c10_no_prompt_is_held_up_more_often_than_the_cap_whatever_happens_meanwhile(reached):
    """Between two asks of one prompt anything may happen: writes, other failures, new blocks."""
    assert max(model.goings for model in reached) == gates.CONTINUED_MOST


def test_c10_the_same_failures_never_hold_a_session_up_twice_and_a_block_once_for_a_prompt(reached):
    for model in reached:
        _, decision = stopped(model)
        if decision.do == "continue":
            red = {fact for fact in decision.facts if not fact.startswith("block")}
            assert not red & model.told_ever
            assert not set(decision.facts) & model.told_now


def test_from_every_state_the_session_ends_by_asking_again_and_nothing_else_moving(reached):
    """No process of ours has to do anything for it: no worker ends, no check ends, no time passes."""
    for model in reached:
        asks, state = 0, model
        while True:
            asks += 1
            state, decision = stopped(state)
            if decision.do == "allow":
                break
            assert asks <= gates.CONTINUED_MOST


def test_f25_from_every_state_a_denied_tool_has_a_way_out_and_the_denial_an_end(reached):
    """What looks at Stretto or ends a block is allowed; when the blocks have expired, everything is; a dead worker denies nothing."""
    for model in reached:
        for place in ("edit", "tool", "commit"):
            decision = gates.decide(asked(place), model.view())
            if decision.rule == "block":
                assert decision.do == "deny"
                assert gates.decide(asked(place, way_out=True), model.view()).do == "allow"
                assert gates.decide(asked(place), model.view(mono_s=61.0)).rule != "block"
                assert any(block.raised.attempt is None or model.worker_lives for block in model.live())


def test_a_gate_that_has_lost_its_ground_never_holds(reached):
    """Our own trouble, another's work beside it, or being off: told or not, the turn ends at once, blocks aside."""
    for model in reached:
        for lost in ({"off": "paused"}, {"trouble": "the disk is full", "blocks": ()}, {"beside": "a command of the user's", "blocks": ()}):
            decision = gates.decide(asked("stop"), msgspec.structs.replace(model.view(), **lost))
            assert decision.do == "allow"


@given(
    ttl_s=st.floats(0.0, steering.TTL_MOST_S),
    raised_s=st.floats(0.0, 1e9),
    later_s=st.floats(0.0, 1e9),
    owned=st.booleans(),
    lives=st.booleans(),
    meant=st.booleans(),
    opened=st.booleans(),
)
def test_no_block_outlives_its_owner_its_session_or_its_time(ttl_s, raised_s, later_s, owned, lives, meant, opened):
    event = BlockRaised(
        **event_fields(raised_s),
        block="b",
        scope="all",
        reason="no",
        attempt=WORKER if owned else None,
        session=SESSION if meant else None,
        ttl_s=ttl_s,
    )
    now_s = raised_s + later_s
    how = steering.over(
        steering.Block(raised=event), mono_s=now_s, boot=BOOT, living=[WORKER] if lives else [], open_sessions=[SESSION] if opened else []
    )
    holds = now_s - raised_s < ttl_s and (lives or not owned) and (opened or not meant)
    assert bool(how) is not holds
    assert steering.over(steering.Block(raised=event), mono_s=now_s, boot="another boot", living=[WORKER], open_sessions=[SESSION])


class _Step(NamedTuple):
    what: str
    which: int


@given(st.lists(st.builds(_Step, st.sampled_from(["ask", "prompt", "write", "block", "fact", "clear"]), st.integers(0, 5)), max_size=120))
def test_any_story_with_many_failures_and_blocks_keeps_to_the_caps(steps):
    """Beyond the model: six sets of failures, any number of blocks, stories of 120 steps."""
    turn, blocks, fact, goings, told = steering.Turn(first={CHECK: "pass"}), [], "", 0, set()
    known = steering.Steering(turns={SESSION: turn})
    for number, step in enumerate(steps):
        match step.what:
            case "prompt":
                steering.prompt_began(known, SESSION)
                goings = 0
            case "write":
                steering.source_written(known, SourceWritten(**event_fields(), session=SESSION, path="src.py"))
            case "block":
                blocks.append(BlockRaised(**event_fields(), block=f"block {number}", scope="stop", reason="no", ttl_s=60.0))
            case "clear" if blocks:
                blocks.pop()
            case "fact":
                fact = f"fact {step.which}"
            case "ask":
                checked = gates.Checked(
                    job=CHECK,
                    attempt=AttemptId("a"),
                    command="pytest",
                    places=frozenset({"stop"}),
                    standing=Standing.FRESH,
                    outcome="fail" if fact else "pass",
                    end=End(how="code", value=1),
                    fact=fact,
                )
                view = gates.View(turn=turn, blocks=tuple(steering.Block(raised=block) for block in blocks), checks=(checked,))
                decision = gates.decide(asked("stop"), view)
                assert len(decision.text) <= gates.TEXT_CHARACTERS
                steering.decided(
                    known,
                    GateDecided(
                        **event_fields(),
                        gate=str(number),
                        session=SESSION,
                        on="Stop",
                        do=decision.do,
                        rule=decision.rule,
                        reason="",
                        facts=decision.facts,
                    ),
                )
                if decision.do == "continue":
                    goings += 1
                    red = {each for each in decision.facts if each.startswith("fact")}
                    assert not red & told
                    told |= red
                assert goings <= gates.CONTINUED_MOST


def test_a_session_that_was_held_up_for_more_than_is_remembered_is_held_up_no_more():
    turn = steering.Turn(prompts=1, wrote={"": "src.py"}, first={CHECK: "pass"}, facts={str(n): 1 for n in range(steering.FACTS_MOST)})
    model = Model(turn=turn, check="fails")
    assert gates.decide(asked("stop"), model.view()).do == "allow"
