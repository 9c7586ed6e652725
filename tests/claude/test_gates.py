"""Gates on the real Claude Code: what ends a turn, what does not, and that nothing ever holds a session for ever (F21, F25, F26, C-10).

The tool `pytest` of these tests fails as long as BROKEN stands in src.py, and names a failing test.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import stretto
from stretto import control, journal, shellenv
from stretto.gates import CONTINUED_MOST
from stretto.model import ENCODER, FORMAT_VERSION, BlockRaised, BlockScope, GateDecided, SessionWoken
from stretto.system import boot_id, mono_s, wall_s
from stretto.testing import room
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import StreamSession, run
from stretto.testing.terminal import Interactive
from stretto.testing.wait import wait_until

from .conftest import LIMIT_S, Script, World

pytestmark = [pytest.mark.claude, pytest.mark.slow]

PACKAGE = Path(stretto.__file__).parents[1]
FAILS = 'if grep -q BROKEN {source}; then echo "FAILED t.py::test_it - assert 0"; exit 1; fi'


@pytest.fixture
def checked(bare: World) -> World:
    """A project with Stretto and a pytest that fails while src.py is broken."""
    bare.tool("pytest", FAILS.format(source=bare.source))
    bare.cli("init", "--yes")
    room.whatever_else_runs(bare.base)
    return bare


def stops(world: World) -> list[tuple[str, str]]:
    """What was answered to each end of a turn: act and rule."""
    return [(event.do, event.rule) for event in world.events(GateDecided) if event.on == "Stop"]


def said_at_stop(seen_or_api: object) -> list[str]:
    """What the model was told instead of the end of its turn."""
    api = getattr(seen_or_api, "api", seen_or_api)
    texts = [json.dumps(request.body["messages"][-1], ensure_ascii=False) for request in api.main_requests()]
    return [text for text in texts if "Stop hook additional context" in text]


def result_of(seen) -> str:
    return str(seen.outcome.events()[-1]["result"])


def test_a_turn_does_not_end_on_a_check_that_the_session_broke_and_ends_once_it_is_mended(checked):
    """The main job of a gate: red is told with its failing line, as data, and nobody is told again after the fix."""

    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        yield Turn(text="finished")
        yield checked.edit("BROKEN", "two")
        yield Turn(text="mended")

    seen = checked.session(script())
    assert result_of(seen) == "mended"
    (told,) = said_at_stop(seen)
    assert "«pytest»" in told and "FAILED t.py::test_it - assert 0" in told and "quoted as data" in told
    assert stops(checked)[0] == ("continue", "red")
    assert stops(checked)[-1][0] == "allow"
    assert checked.runs() >= 3


def test_f21_a_check_that_stays_red_holds_a_turn_up_once_and_the_result_is_whole(checked):
    """Also "write a failing test and stop": one further turn, and then the session ends as it wants to."""

    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        yield Turn(text="finished")
        yield Turn(text="it is meant to fail")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "it is meant to fail"
    assert len(said_at_stop(seen)) == 1
    assert stops(checked) == [("continue", "red"), ("allow", "red-told")]
    assert any("still red" in notice for notice in seen.notices())


def test_the_same_failures_on_other_trees_hold_no_later_turn_up(checked):
    """Once for the same set of failing tests in a session, whatever the tree; the host's own cap would begin anew with every tool call."""

    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        yield Turn(text="finished")
        yield checked.edit("BROKEN", "BROKEN again")
        yield Turn(text="still")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "still"
    assert [do for do, _ in stops(checked)].count("continue") == 1


def test_a_tree_that_was_red_before_ends_as_without_us(checked):
    checked.source.write_text("BROKEN\n")

    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("BROKEN", "BROKEN and more")
        yield Turn(text="finished")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "finished"
    assert said_at_stop(seen) == []
    assert [do for do, _ in stops(checked)] == ["allow"]


def test_a_question_without_an_edit_ends_as_without_us(checked):
    def script() -> Script:
        yield bash("pytest")
        yield Turn(text="it passes")

    seen = checked.session(script())
    assert result_of(seen) == "it passes"
    assert stops(checked) == [("allow", "nothing-written")]


def test_f26_a_turn_ends_when_the_supervisor_was_killed(checked):
    """The machinery itself broken never blocks."""

    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        process = checked.supervisor()
        os.kill(process.pid, signal.SIGKILL)
        yield Turn(text="finished")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "finished"
    assert said_at_stop(seen) == []


def test_a_turn_waits_for_a_quick_check_that_runs_and_is_not_held_by_one_that_hangs(checked):
    """C-10: within the hook's own limit, with a word to the user."""

    def script() -> Script:
        yield bash("pytest")
        checked.hold.touch()
        yield checked.edit("one", "BROKEN")
        yield Turn(text="finished")

    seen = checked.session(script(), silent=False)
    checked.hold.unlink()
    assert result_of(seen) == "finished"
    (decided,) = [event for event in checked.events(GateDecided) if event.on == "Stop"]
    assert (decided.do, decided.rule) == ("allow", "still-running")
    assert decided.held_s >= 9.0
    assert any("still runs" in notice for notice in seen.notices())


def raised(world: World, scope: BlockScope) -> None:
    """Raise a block as a person's program does: a line in the log, and a word to the supervisor."""
    event = BlockRaised(
        v=FORMAT_VERSION,
        ts=wall_s(),
        mono=mono_s(),
        boot=boot_id(),
        by=f"cli:{os.getpid()}",
        block=os.urandom(8).hex(),
        scope=scope,
        reason="the migration is not done",
        ttl_s=600.0,
    )
    with contextlib.closing(journal.Journal(world.paths.folder)) as log:
        log.append(ENCODER.encode(event))
    control.ask(world.paths, {"op": b"look"})


def test_a_block_of_edits_denies_writes_with_its_reason_and_lets_the_rest_go_on(checked):
    def script() -> Script:
        yield bash("pytest")
        raised(checked, "edit")
        yield checked.edit("one", "two")
        yield bash("cat src.py")
        yield Turn(text="finished")

    with checked.api(script()) as api:
        outcome = run("go", api=api, project=checked.root, home=checked.home, env={"PATH": checked.path}, output="stream-json")
    results = api.tool_results()
    assert outcome.code == 0
    denied = [result for result in results if result.is_error]
    assert len(denied) == 1 and "the migration is not done" in denied[0].text and "quoted as data" in denied[0].text
    assert "one" in results[-1].text
    assert checked.source.read_text() == "one\n"


def test_f21_a_block_holds_a_turn_up_once_for_a_prompt_and_the_session_ends(checked):
    def script() -> Script:
        yield bash("pytest")
        raised(checked, "stop")
        yield Turn(text="finished")
        yield Turn(text="still finished")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "still finished"
    (told,) = said_at_stop(seen)
    assert "the migration is not done" in told
    assert [do for do, _ in stops(checked)] == ["continue", "allow"]
    assert len(said_at_stop(seen)) <= CONTINUED_MOST


def test_a_new_prompt_of_the_user_is_held_up_anew_by_a_block_that_still_stands(checked):
    """stream-json: several prompts in one process; every one of them ends."""

    def script() -> Script:
        yield bash("pytest")
        raised(checked, "stop")
        for text in ("first", "first again", "second", "second again"):
            yield Turn(text=text)

    with (
        checked.api(script()) as api,
        StreamSession(api=api, project=checked.root, home=checked.home, env={"PATH": checked.path}) as session,
    ):
        assert session.ask("one")["result"] == "first again"
        assert session.ask("two")["result"] == "second again"
    assert [do for do, _ in stops(checked)] == ["continue", "allow"] * 2


def test_an_idle_session_is_woken_by_a_block_and_a_headless_one_never_waits_for_that(checked):
    """The watcher of an interactive session; in `-p` it ends at once, because there the host would wait for it."""

    def script() -> Script:
        yield bash("pytest")
        yield Turn(text="answer one")
        yield Turn(text="answer two")
        yield Turn(text="answer three")

    with checked.api(script()) as api:
        arguments = {"api": api, "project": checked.root, "home": checked.home, "env": {"PATH": checked.path}, "permission_mode": None}
        with Interactive(**arguments) as terminal:
            terminal.wait_for("❯", LIMIT_S)
            terminal.send("please go on")
            terminal.wait_for("answer one", LIMIT_S)
            wait_until(lambda: stops(checked), LIMIT_S, "the turn's end")
            raised(checked, "stop")
            terminal.wait_for("answer two", LIMIT_S)
            (woken,) = checked.events(SessionWoken)
            assert woken.after_s < LIMIT_S
    assert any("the migration is not done" in json.dumps(request.body["messages"][-1]) for request in api.main_requests())


GIT = "git -c user.name=t -c user.email=t@example.invalid -c commit.gpgsign=false"


def test_b16_a_commit_on_red_is_refused_in_a_session_and_done_after_the_fix_in_one_chain(bare):
    """The gate acts when the chain reaches it: `pytest && git commit` is judged after pytest."""
    bare.tool("pytest", FAILS.format(source=bare.source))
    (bare.root / "stretto.toml").write_text('gate = ["stop", "commit"]\n')
    subprocess.run(["git", "init", "-q"], cwd=bare.root, check=True)
    bare.cli("init", "--yes")
    commit = f"{GIT} commit -qm x --allow-empty && echo done"

    def script() -> Script:
        yield bash("pytest")
        yield bare.edit("one", "BROKEN")
        yield bash("pytest")
        yield bash(commit)
        yield bare.edit("BROKEN", "two")
        yield bash(f"pytest && {commit}")
        yield Turn(text="finished")

    with bare.api(script()) as api:
        outcome = run("go", api=api, project=bare.root, home=bare.home, env={"PATH": bare.path}, output="stream-json")
    assert outcome.code == 0
    texts = [result.text for result in api.tool_results()]
    refused = next(text for text in texts if "So this commit is not done" in text)
    assert "FAILED t.py::test_it - assert 0" in refused and "done" not in refused.splitlines()
    assert texts[-1].strip().endswith("done")
    decided = [(event.do, event.rule) for event in bare.events(GateDecided) if event.on == "commit"]
    assert decided == [("deny", "red"), ("allow", "clear")]


def test_a_worker_of_the_session_blocks_it_and_goes_on_by_exit_codes(checked):
    """The founding claim: 2 blocks, 0 goes on."""
    program = f'#!/bin/sh\nPYTHONPATH={PACKAGE} STRETTO_STATE_DIR={checked.base} exec {sys.executable} -m stretto "$@"\n'
    (checked.bin / "stretto").write_text(program)
    (checked.bin / "stretto").chmod(0o755)
    (checked.bin / "claude-hook").symlink_to(Path(shellenv.write_voice(str(checked.base))) / "claude-hook")
    blocks = 'stretto run -- claude-hook --exit 2 --reason "the index is being built" --wait --timeout 60s'

    def script() -> Script:
        yield bash("pytest")
        yield bash(blocks)
        wait_until(lambda: checked.events(BlockRaised), LIMIT_S, "the block")
        yield Turn(text="finished")
        (block,) = checked.events(BlockRaised)
        yield bash(f"claude-hook --clear {block.block}; claude-hook --exit 0 --context 'the index is built'")
        yield bash("cat src.py")
        yield Turn(text="now finished")

    seen = checked.session(script(), silent=False)
    assert result_of(seen) == "now finished"
    (told,) = said_at_stop(seen)
    assert "the index is being built" in told
    assert any("the index is built" in text for request in seen.api.main_requests() for text in request.new_texts())
    assert [do for do, _ in stops(checked)] == ["continue", "allow"]


def test_a_task_is_not_marked_as_done_on_red_and_is_once_it_is_mended(checked):
    """TaskCompleted; the host has its list of tasks for this model only."""

    def update() -> Turn:
        return Turn((Call("TaskUpdate", {"taskId": "1", "status": "completed"}),))

    def script() -> Script:
        yield Turn((Call("TaskCreate", {"subject": "do it", "description": "d", "activeForm": "doing it"}),))
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        yield bash("pytest")
        yield update()
        yield Turn((Call("TaskList", {}),))
        yield checked.edit("BROKEN", "two")
        yield bash("pytest")
        yield update()
        yield Turn((Call("TaskList", {}),))
        yield Turn(text="finished")

    arguments = ["--model", "claude-sonnet-4-5"]
    seen = checked.session(script(), args=arguments, working_hooks=False)
    assert result_of(seen) == "finished"
    lists = [text for text in seen.texts if text.startswith("#1 [")]
    assert ["completed" in text for text in lists] == [False, True]
    refused = next(text for text in seen.texts if text.startswith("TaskCompleted hook feedback"))
    assert "FAILED t.py::test_it - assert 0" in refused and "stretto" not in refused.split("Stretto:")[0]
    decided = [(event.do, event.rule) for event in checked.events(GateDecided) if event.on == "TaskCompleted"]
    assert decided == [("continue", "red"), ("allow", "clear")]


def interactive(checked: World, api: ScriptedApi) -> Interactive:
    return Interactive(api=api, project=checked.root, home=checked.home, env={"PATH": checked.path}, permission_mode=None)


def test_in_a_terminal_red_is_told_once_and_the_next_prompt_begins_anew(checked):
    def script() -> Script:
        yield bash("pytest")
        yield checked.edit("one", "BROKEN")
        yield bash("pytest")
        yield Turn(text="answer one")
        yield Turn(text="answer two")
        yield Turn(text="answer three")

    with checked.api(script()) as api, interactive(checked, api) as terminal:
        terminal.wait_for("❯", LIMIT_S)
        terminal.send("please go on")
        terminal.wait_for("answer two", LIMIT_S)
        terminal.wait_for(lambda _: len(stops(checked)) == 2, LIMIT_S)
        terminal.send("a question")
        terminal.wait_for("answer three", LIMIT_S)
        terminal.wait_for(lambda _: len(stops(checked)) == 3, LIMIT_S)
    assert stops(checked) == [("continue", "red"), ("allow", "red-told"), ("allow", "nothing-written")]
    assert len(said_at_stop(api)) == 1


def test_in_a_terminal_esc_ends_the_wait_for_a_check_at_once(checked):
    """The answer is kept back with a status line; nothing of ours goes on waiting after Esc."""

    def script() -> Script:
        yield bash("pytest")
        checked.hold.touch()
        yield checked.edit("one", "BROKEN")
        yield Turn(text="answer one")
        yield Turn(text="answer two")

    with checked.api(script()) as api, interactive(checked, api) as terminal:
        terminal.wait_for("❯", LIMIT_S)
        terminal.send("please go on")
        terminal.wait_for("Waiting for checks", LIMIT_S)
        terminal.press("escape")
        terminal.wait_for(lambda screen: "Waiting for checks" not in screen, 5.0)
        assert stops(checked) == [], "it was not answered: the host did not wait for it"
        checked.hold.unlink()
        terminal.send("go on")
        terminal.wait_for("answer two", LIMIT_S)
        terminal.wait_for(lambda _: stops(checked), LIMIT_S)
    assert said_at_stop(api) == []
