"""The gate at the end of a turn, with a real supervisor: what the log of it outlives, and what is said again (F24, F27, F46, F48)."""

from __future__ import annotations

import json
import os
import signal

import pytest

from integration.conftest import Bench
from integration.test_control import cli
from stretto.model import GateDecided
from stretto.testing import faults
from stretto.testing.wait import wait_until

CHECK = 'grep -q good src.py || { echo "FAILED t.py::test_$(cat src.py) - not good"; exit 1; }'
LIMIT_S = 20.0


def under_way(bench: Bench) -> Bench:
    """A turn in which the check passed."""
    (bench.root / "src.py").write_text("good\n")
    bench.tool("pytest", CHECK)
    bench.begin()
    bench.hook("UserPromptSubmit", prompt="go")
    bench.bash("pytest -q")
    return bench


@pytest.fixture
def turn(bench: Bench) -> Bench:
    return under_way(bench)


def stop(bench: Bench, **fields: object) -> tuple[str, str]:
    """End the turn: what the session is told instead, and what its user is."""
    out = bench.hook("Stop", **{"stop_hook_active": False, **fields}).stdout
    found = json.loads(out) if out else {}
    return found.get("hookSpecificOutput", {}).get("additionalContext", ""), found.get("systemMessage", "")


def rules_met(bench: Bench) -> list[str]:
    return [event.rule for event in bench.events(GateDecided) if event.on == "Stop"]


def break_it(bench: Bench, text: str) -> None:
    bench.edit("src.py", f"{text}\n")
    bench.bash("pytest -q")


def test_f27_after_the_supervisor_died_gates_judge_again_and_remember_what_was_told(turn):
    break_it(turn, "one")
    assert "test_one" in stop(turn)[0]
    os.kill(turn.supervisor().pid, signal.SIGKILL)
    assert stop(turn) == ("", ""), "the machinery broken never blocks"
    turn.hook("UserPromptSubmit", prompt="again")
    break_it(turn, "one")
    told, user = stop(turn)
    assert told == "", "the same failures, which the log remembers, hold it up no more"
    assert "still red" in user
    break_it(turn, "two")
    assert "test_two" in stop(turn)[0], "others do"


def test_f48_a_failure_of_an_earlier_turn_stays_said_until_a_pass_on_the_files_as_they_are(turn):
    break_it(turn, "one")
    assert "test_one" in stop(turn)[0]
    for _ in range(2):
        turn.hook("UserPromptSubmit", prompt="something else")
        turn.edit("README", f"{os.urandom(4).hex()}\n")
        turn.bash("pytest -q")
        assert "still red" in stop(turn)[1]
    turn.hook("UserPromptSubmit", prompt="mend it")
    turn.edit("src.py", "good again\n")
    turn.bash("pytest -q")
    assert stop(turn) == ("", "")
    assert rules_met(turn)[-1] == "clear"


def test_f46_what_is_told_carries_which_run_how_long_ago_and_on_which_files(turn):
    break_it(turn, "one")
    told, _ = stop(turn)
    assert "on the files as they are now" in told and "ended " in told and " s ago" in told and "exit code 1" in told
    (decided,) = [event for event in turn.events(GateDecided) if event.do == "continue"]
    (check,) = decided.checks
    assert (check.standing, check.outcome) == ("fresh", "fail")
    assert check.attempt in turn.state().attempts, "the very run it rests on"


def test_f46_a_run_under_way_never_reads_as_a_pass(turn):
    """Neither red nor green: it is waited for when it is quick, and said to be running when it does not end."""
    hold = turn.short / "hold"
    turn.tool("pytest", f"while [ -e {hold} ]; do sleep 0.02; done; {CHECK}")
    turn.bash("pytest -q")
    hold.touch()
    turn.edit("src.py", "one\n")
    try:
        told, user = stop(turn)
    finally:
        hold.unlink()
    assert told == ""
    assert "still runs" in user or rules_met(turn)[-1] in ("still-running", "stale")
    assert [event.do for event in turn.events(GateDecided) if event.rule == "clear" and event.on == "Stop"] == []


def test_f24_a_gate_that_cannot_judge_says_so_to_the_user_and_is_in_the_log(bench):
    """The project has more files than can be looked at: nothing is known for certain."""
    bench.python = faults.altered(bench.short, "from stretto import tree; tree.MAX_ENTRIES = 200")
    turn = under_way(bench)
    break_it(turn, "one")
    for number in range(300):
        (turn.root / f"{number}.txt").touch()
    told, user = stop(turn)
    assert (told, "could not judge" in user) == ("", True)
    decided = turn.events(GateDecided)[-1]
    assert (decided.do, decided.rule) == ("allow", "unjudged")
    assert "more than 200 entries" in decided.reason


def test_a_subagent_is_held_up_by_what_it_wrote_and_nobody_else_is(turn):
    call = {"tool_name": "Edit", "tool_use_id": "e1", "tool_input": {"file_path": str(turn.root / "src.py")}}
    agent = {"agent_id": "a1", "agent_type": "general-purpose"}
    turn.hook("PreToolUse", **call, **agent)
    turn.write(turn.root / "src.py", "one\n")
    turn.hook("PostToolBatch", tool_calls=[call], **agent)
    turn.bash("pytest -q")
    out = turn.hook("SubagentStop", stop_hook_active=False, **agent).stdout
    assert b"test_one" in out
    other = turn.hook("SubagentStop", stop_hook_active=False, agent_id="a2", agent_type="general-purpose").stdout
    assert b"additionalContext" not in other
    assert stop(turn)[0] == "", "the main agent wrote nothing"
    assert [(event.on, event.agent, event.do) for event in turn.events(GateDecided) if event.on.endswith("Stop")] == [
        ("SubagentStop", "a1", "continue"),
        ("SubagentStop", "a2", "allow"),
        ("Stop", "", "allow"),
    ]


def test_a_gate_that_the_rules_switch_off_holds_nobody(short, project, state_base, waived):
    from integration.conftest import _end

    one = Bench(short, project, state_base, b"gate = []\n")
    try:
        (one.root / "src.py").write_text("good\n")
        one.tool("pytest", CHECK)
        one.begin()
        one.hook("UserPromptSubmit", prompt="go")
        one.bash("pytest -q")
        break_it(one, "one")
        assert stop(one) == ("", "")
        assert json.loads(cli(one, "explain-stop", "--json").stdout)["checks"] == []
    finally:
        _end(one, waived)


def test_a_source_written_by_a_command_counts_as_written(turn):
    """Not only by Edit and Write: `sed -i` breaks things as well."""
    turn.bash("sed -i s/good/one/ src.py")
    turn.bash("pytest -q")
    assert "test_one" in stop(turn)[0]


def test_words_of_a_worker_do_not_end_or_hold_a_turn(turn):
    from integration.test_control import hook

    hook(turn, "--exit", "0", "--context", "the index is built")
    assert stop(turn) == ("", "")
    wait_until(lambda: "the index is built" in turn.batch(), LIMIT_S, "the words")
