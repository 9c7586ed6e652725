"""Joins in sessions of the real Claude Code: what is replayed, what is attached to, what runs for real, and who may share."""

from __future__ import annotations

import json
import sys

import pytest

from stretto import control
from stretto.model import AttemptStarted, SessionOpened, SupervisorStarted
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import StreamSession
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow]

SLOW_ENOUGH = "sleep 0.4"
"""A check that takes less than 0.15 s is not worth running ahead."""
LOG_HOOK = "import os,sys; f=os.open(sys.argv[1], os.O_WRONLY|os.O_APPEND|os.O_CREAT); os.write(f, sys.stdin.buffer.read().strip()+b'\\n')"
CHANGING = ("session_id", "transcript_path", "prompt_id", "duration_ms")
"""Keys of a hook's input that differ between two sessions with one script."""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_finished_run_is_replayed(world, shell):
    def script():
        yield bash("pytest -q")
        world.settled(1)
        yield bash("pytest -q")

    seen = world.session(script(), shell=shell)
    assert seen.texts == ["one\nrun 1", "one\nrun 1"]
    assert seen.errors == [False, False]
    assert world.runs() == 1
    assert world.did() == ["record", "replay"]


def test_a_running_run_is_attached_to(world):
    """F50."""

    def script():
        world.hold.touch()
        yield bash("pytest -q", run_in_background=True)
        wait_until(lambda: world.did() == ["record"], what="the run in the background")
        world.when(lambda: world.did() == ["record", "attach"], world.hold.unlink)
        yield bash("pytest -q")

    seen = world.session(script())
    assert seen.texts[1] == "one\nrun 1"
    assert world.runs() == 1
    assert world.did() == ["record", "attach"]


def test_after_an_edit_a_quick_check_runs_for_real(world):
    """F40: too quick to be run ahead, so nothing but a real run can answer."""

    def script():
        yield bash("pytest -q")
        world.settled(1)
        yield world.edit("one", "two")
        yield bash("pytest -q")

    seen = world.session(script())
    assert (seen.texts[0], seen.texts[-1]) == ("one\nrun 1", "two\nrun 2")
    assert world.did() == ["record", "record"]


@pytest.mark.parametrize("asked", ["while it runs", "after its end"])
def test_a_run_overtaken_by_an_edit_is_neither_attached_to_nor_replayed(world, asked):
    """F41: src.py is read before the edit, so this run says `one` of a tree that says `two`."""

    def script():
        world.hold.touch()
        yield bash("pytest -q", run_in_background=True)
        wait_until(lambda: world.did() == ["record"] and world.runs() == 1, what="the run in the background")
        yield world.edit("one", "two")
        if asked == "while it runs":
            world.when(lambda: world.runs() == 2, world.hold.unlink)
        else:
            world.hold.unlink()
            world.settled(1)
        yield bash("pytest -q")

    seen = world.session(script())
    assert seen.texts[-1].startswith("two\nrun 2")
    assert world.did() == ["record", "record"]
    assert "changed" in world.why()[1][1]


def test_after_an_edit_the_check_has_run_before_it_is_asked(world):
    world.tool("pytest", SLOW_ENOUGH)

    def script():
        yield bash("pytest -q")
        world.settled(1)
        yield world.edit("one", "two")
        world.settled(1, "ahead")
        yield bash("pytest -q 2>&1 | tail -5")

    seen = world.session(script())
    assert seen.texts[-1] == "two\nrun 2"
    assert world.runs() == 2
    last = world.state().joins[-1]
    assert (last.do, last.of) == ("replay", "ahead")


def test_a_check_asked_while_it_runs_ahead_is_attached_to(world):
    world.tool("pytest", SLOW_ENOUGH)

    def script():
        yield bash("pytest -q")
        world.settled(1)
        world.hold.touch()
        yield world.edit("one", "two")
        wait_until(lambda: [item for item in world.state().open_attempts() if item.kind == "ahead"], 60, "an ahead run")
        world.when(lambda: world.did()[-1] == "attach", world.hold.unlink)
        yield bash("pytest -q")

    seen = world.session(script())
    assert seen.texts[-1] == "two\nrun 2"
    assert world.runs() == 2
    assert world.state().joins[-1].of == "ahead"


def test_a_check_of_an_earlier_session_runs_ahead_in_a_later_one(world):
    """Two processes of Claude Code, each with a supervisor of its own; mypy is asked for in the second only after it has run ahead."""
    for name in ("pytest", "mypy"):
        world.tool(name, SLOW_ENOUGH)

    def first():
        yield world.edit("one", "two")
        yield bash("pytest -q && mypy src.py")
        world.settled(2)
        yield world.edit("two", "three")
        yield bash("pytest -q && mypy src.py")
        world.settled(4)

    def second():
        yield bash("pytest -q")
        world.settled(5)
        yield world.edit("three", "four")
        wait_until(lambda: ran_ahead(world, "mypy src.py"), 60, f"mypy ahead; {world.why()}")
        yield bash("mypy src.py 2>&1 | tail -5")

    with world.api(first(), second()) as api:
        world.session_at(api)
        control.stop(world.paths)
        world.session_at(api)
        assert api.tool_results()[-1].text.startswith("four\n")
    last = world.state().joins[-1]
    assert (last.do, last.of) == ("replay", "ahead")
    assert len(world.events(SupervisorStarted)) == 2


def ran_ahead(world, command):
    """Whether the latest supervisor had this run ahead, and it has ended."""
    state = world.state()
    since = state.supervisor.mono
    runs = [run for run in state.attempts.values() if run.kind == "ahead" and run.started_mono >= since and not run.open]
    return any(" ".join(state.jobs[run.job].argv) == command for run in runs)


def test_a_failing_suite_is_told_the_same_with_and_without(bare):
    """F42, F43, F44: exit code, error text, PostToolUseFailure and the batch, as a miss, as a hit and through a pipe."""
    path = bare.bin / "pytest"
    path.write_text("#!/bin/sh\necho 'FAILED t.py::a'; echo 'no such fixture' >&2; printf '1 failed'; exit 3\n")
    path.chmod(0o755)
    log = bare.short / "hooks"
    entry = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", LOG_HOOK, str(log)], "timeout": 20}
    bare.home.settings({"hooks": {event: [{"hooks": [entry]}] for event in ("PostToolUse", "PostToolUseFailure", "PostToolBatch")}})

    def script():
        for command in ("pytest -q", "pytest -q", "pytest -q", "pytest -q | tail -1", "pytest -q && echo passed", "pytest -q; echo $?"):
            yield bash(command)

    def told():
        seen = bare.session(script())
        hooks = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        requests = [[(text, result) for text, result in [(request.new_texts(), request.results())]] for request in seen.api.main_requests()]
        return requests[1:], [{key: value for key, value in hook.items() if key not in CHANGING} for hook in hooks]

    without = told()
    bare.cli("init", "--yes")
    assert told() == without
    failures = [hook for hook in without[1] if hook["hook_event_name"] == "PostToolUseFailure"]
    assert failures[0]["error"] == "Exit code 3\nFAILED t.py::a\nno such fixture\n1 failed"
    assert bare.did()[:3] == ["record", "replay", "record"]
    assert "replay" in bare.did()[3:]


def test_two_sessions_share_one_supervisor_and_their_runs(world):
    inner = []

    def first():
        yield bash("pytest -q")
        world.settled(1)
        world.hold.touch()
        yield bash("pytest -q -x", run_in_background=True)
        wait_until(lambda: len(world.did()) == 2, what="the run in the background")
        inner.append(world.session_at(api).outcome.session_id())
        yield bash("pytest -q -x")

    def second():
        yield bash("pytest -q")
        world.when(lambda: world.did()[-1] == "attach", world.hold.unlink)
        yield bash("pytest -q -x")

    with world.api(first(), second()) as api:
        outer = world.session_at(api).outcome.session_id()
    told = {session: [r.text for q in api.requests if q.session == session for r in q.results()] for session in (outer, *inner)}
    assert told[inner[0]] == ["one\nrun 1", "one\nrun 2"]
    assert (told[outer][0], told[outer][-1]) == ("one\nrun 1", "one\nrun 2")
    assert world.runs() == 2
    assert world.did() == ["record", "record", "replay", "attach", "replay"]
    assert {opened.session for opened in world.events(SessionOpened)} == {outer, *inner}
    assert len(world.events(SupervisorStarted)) == 1


def test_a_resumed_session_joins(world):
    def script():
        yield bash("pytest -q")
        world.settled(1)
        yield Turn(text="done")
        yield bash("pytest -q")
        world.settled(1)
        yield bash("pytest -q")

    with world.api(script()) as api:
        first = world.session_at(api).outcome.session_id()
        again = world.session_at(api, args=["--resume", first]).outcome.session_id()
    assert first == again
    one, two, three = (result.text for result in api.tool_results())
    assert two == three
    assert world.did()[-1] == "replay"
    assert one == two or len(world.events(SupervisorStarted)) == 2  # the second process came later than a supervisor waits for it


def test_after_clear_the_new_session_joins(world):
    steps = [bash("pytest -q"), Turn(text="done"), bash("pytest -q")]
    with (
        ScriptedApi(steps) as api,
        StreamSession(api=api, project=world.root, home=world.home, env={"PATH": world.path}) as session,
    ):
        first = session.ask("a")["session_id"]
        world.settled(1)
        session.ask("/clear")
        second = session.ask("b")["session_id"]
    assert first != second
    assert [result.text for result in api.tool_results()] == ["one\nrun 1", "one\nrun 1"]
    assert world.did() == ["record", "replay"]
    assert [join.session for join in world.state().joins] == [first, second]


@pytest.mark.parametrize("background", [False, True])
def test_a_subagents_command_joins(world, background):
    def script():
        yield bash("pytest -q")
        world.settled(1)
        agent = {"description": "d", "prompt": "do it", "subagent_type": "general-purpose", "run_in_background": background}
        yield Turn((Call("Agent", agent),))
        wait_until(lambda: len(world.did()) == 2, 60, "the subagent's command")

    seen = world.session(script(), agent_script=[bash("pytest -q")])
    own = [result.text for request in seen.api.agent_requests() for result in request.results()]
    assert own == ["one\nrun 1"]
    assert world.did() == ["record", "replay"]
    assert world.runs() == 1


SHAPES = [
    "pytest -q",
    "pytest -q 2>&1 | tail -5",
    "cd sub && pytest -q 2>&1 | tail -5",
    "timeout 60 pytest -q",
    "FOO=1 pytest -q",
    "env FOO=1 pytest -q",
    'bash -c "pytest -q"',
    "(pytest -q)",
    "pytest -q && echo passed || echo failed",
    "pytest -q > /dev/null 2>&1; echo $?",
    "set -o pipefail; pytest -q 2>&1 | head -20 | cat",
    "pytest -q 2>/dev/null | grep run",
    "source .venv/bin/activate && pytest -q",
    "python -m pytest -q",
    "ruff check .",
    "cat README; pytest -q; git status --short",
    'echo "got $(pytest -q)"',
]


MISSES = {
    "for each in 1; do pytest -q; done": "it stands in a loop: whoever repeats a check looks for a difference",
    "./run-it; pytest -q": "it stands beside a command whose effects are not known",
    "echo x | pytest -q": "",  # its input is not empty: it is never asked for
}
"""Shapes that run each time, with the reason `stretto why` gives."""


def test_shapes_that_models_write_join_when_they_are_asked_again(world):
    """F39: each shape twice in one session; the second time no tool runs and the answer is the same to the byte."""
    (world.root / "sub").mkdir()
    (world.root / ".gitignore").write_text(".venv/\n")
    world.tool("pytest", folder=world.root / ".venv" / "bin")
    (world.root / ".venv" / "bin" / "activate").write_text(f"PATH={world.root}/.venv/bin:$PATH\n")
    (world.root / ".venv" / "pyvenv.cfg").write_text("")
    world.tool("ruff")
    world.tool("python")
    answers = {}

    def script():
        for shape in SHAPES:
            (first,) = yield bash(f"cd {world.root} && {shape}" if shape.startswith("cd ") else shape)
            asked = len(world.did())
            ran = sum(map(world.runs, ("pytest", "ruff", "python")))
            (second,) = yield bash(f"cd {world.root} && {shape}" if shape.startswith("cd ") else shape)
            more = sum(map(world.runs, ("pytest", "ruff", "python"))) - ran
            answers[shape] = (first.text == second.text and not second.is_error, more, world.did()[asked:])
            if shape.startswith("cd "):
                yield bash(f"cd {world.root}")

    world.session(script())
    assert answers == {shape: (True, 0, ["replay"]) for shape in SHAPES}


def test_shapes_that_never_join_run_each_time_and_say_why(world):
    """F39: a miss has a reason, and is no wrong hit."""
    world.tool("run-it", folder=world.root)
    answers = {}

    def script():
        for shape in MISSES:
            before, asked = world.runs(), len(world.why())
            yield bash(shape)
            yield bash(shape)
            answers[shape] = (world.runs() - before, {reason for _, reason in world.why()[asked:]})

    world.session(script())
    assert answers == {shape: (2, {reason} - {""}) for shape, reason in MISSES.items()}
    assert set(world.did()) == {"record"}


@pytest.mark.parametrize("place", ["beside", "nested"])
def test_a_check_in_another_repository_never_joins(world, place):
    """F34: neither after `cd` in the command nor when it is given as a folder."""
    other = world.short / "other" if place == "beside" else world.root / "other"
    other.mkdir()
    (other / ".git").mkdir()

    def script():
        yield bash("pytest -q")
        world.settled(1)
        for _ in range(2):
            yield bash(f"cd {other} && pytest -q")
            yield bash(f"(cd {other}; pytest -q)")

    seen = world.session(script())
    assert [text.splitlines()[1] for text in seen.texts] == [f"run {number}" for number in range(1, 6)]
    assert "replay" not in world.did()
    assert "attach" not in world.did()
    assert len(world.events(AttemptStarted)) == 1
