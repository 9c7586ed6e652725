"""The driver runs the real Claude Code as the other tests need it: one prompt, many prompts, a terminal; results and hooks are seen."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest

from stretto.testing import leftovers
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import StreamSession, run
from stretto.testing.terminal import Interactive
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow]

LOG_HOOK = "import os,sys; f=os.open(sys.argv[1], os.O_WRONLY|os.O_APPEND|os.O_CREAT); os.write(f, sys.stdin.buffer.read().strip()+b'\\n')"
EVENTS = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "Stop", "SessionEnd")


def logging_hooks(log, events=EVENTS):
    entry = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", LOG_HOOK, str(log)], "timeout": 20}
    return {"hooks": {event: [{"hooks": [entry]}] for event in events}}


def logged(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def names(log):
    return [entry["hook_event_name"] for entry in logged(log)]


def test_session_of_two_calls_ends_and_its_results_are_seen_in_order(home, project):
    with ScriptedApi([bash("echo one"), bash("echo two >&2; pwd"), Turn(text="bye")]) as api:
        outcome = run("go", api=api, project=project, home=home)
    assert (outcome.code, outcome.json()["result"], outcome.json()["num_turns"]) == (0, "bye", 3)
    assert [(r.text, r.is_error) for r in api.tool_results()] == [("one", False), (f"two\n{project}", False)]
    assert [len(request.call_ids) for request in api.main_requests()] == [1, 1, 0]
    assert "go" in api.texts()
    assert api.main_requests()[0].session == outcome.session_id()
    waits = api.waits()
    assert [wait.tool_use_ids for wait in waits] == [request.call_ids for request in api.main_requests()[:2]]
    assert 0 < sum(wait.waited_s for wait in waits) < outcome.wall_s


def test_failing_command_is_told_as_an_error_with_its_code_and_output(home, project):
    with ScriptedApi([bash("echo before; exit 3")]) as api:
        outcome = run("go", api=api, project=project, home=home, output="text")
    assert [(r.text, r.is_error) for r in api.tool_results()] == [("Exit code 3\nbefore", True)]
    assert (outcome.code, outcome.stdout.strip()) == (0, "done")


def test_hooks_of_the_projects_local_settings_fire_in_order(home, project, short):
    log = short / "hooks"
    (project / ".claude" / "settings.local.json").write_text(json.dumps(logging_hooks(log)), encoding="utf-8")
    with ScriptedApi([bash("true"), bash("exit 4")]) as api:
        outcome = run("go", api=api, project=project, home=home)
    wait_until(lambda: "SessionEnd" in names(log), 20, "the last hook")
    calls = ["PreToolUse", "PostToolUse", "PostToolBatch", "PreToolUse", "PostToolUseFailure", "PostToolBatch"]
    assert names(log) == ["SessionStart", "UserPromptSubmit", *calls, "Stop", "SessionEnd"]
    assert {entry["session_id"] for entry in logged(log)} == {outcome.session_id()}
    ids = [entry["tool_use_id"] for entry in logged(log) if entry["hook_event_name"] == "PreToolUse"]
    assert ids == [call_id for request in api.requests for call_id in request.call_ids]


def test_settings_given_on_the_command_line_reach_the_session(home, project, short):
    log = short / "hooks"
    with ScriptedApi() as api:
        run("go", api=api, project=project, home=home, settings=logging_hooks(log, ["Stop"]))
    assert names(log) == ["Stop"]


def test_permission_modes_are_honoured(home, project):
    with ScriptedApi([bash("touch made")]) as api:
        run("go", api=api, project=project, home=home, permission_mode="default")
    assert api.tool_results()[0].is_error
    assert not (project / "made").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shell_variable_decides_which_shell_runs_commands(home, project, shell):
    with ScriptedApi([bash('echo "b=${BASH_VERSION:+bash} z=${ZSH_VERSION:+zsh}"')]) as api:
        run("go", api=api, project=project, home=home, shell=shell)
    assert api.tool_results()[0].text == {"bash": "b=bash z=", "zsh": "b= z=zsh"}[shell]


def test_session_sees_nothing_of_the_callers_environment(home, project, monkeypatch):
    monkeypatch.setenv("CALLERS_SECRET", "leaked")
    with ScriptedApi([bash("env")]) as api:
        run("go", api=api, project=project, home=home, env={"GIVEN": "on purpose"})
    seen = dict(line.partition("=")[::2] for line in api.tool_results()[0].text.splitlines() if "=" in line)
    assert (seen["HOME"], seen["GIVEN"]) == (str(home.path), "on purpose")
    assert "CALLERS_SECRET" not in seen


def test_two_sessions_at_once_each_get_their_own_run_through_the_script(home, project):
    with ScriptedApi([bash("echo one"), bash("echo two")], by_session=True) as api:
        outcomes = []
        threads = [
            threading.Thread(target=lambda: outcomes.append(run("go", api=api, project=project, home=home)), daemon=True) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(outcomes) == 2, 120, "both sessions")
    assert sorted(r.text for r in api.tool_results()) == ["one", "one", "two", "two"]
    assert {request.session for request in api.requests} == {outcome.session_id() for outcome in outcomes}
    assert len({outcome.session_id() for outcome in outcomes}) == 2


def test_session_over_its_limit_is_stopped(home, project, short):
    with ScriptedApi([Turn(think_s=3600)]) as api, pytest.raises(TimeoutError, match=r"had not ended after 0\.5 s"):
        run("go", api=api, project=project, home=home, limit_s=0.5)
    assert not leftovers.find(str(short))


def test_session_left_by_an_error_is_stopped_with_the_command_it_runs(home, project, short):
    with (
        ScriptedApi([bash("touch started; tail -f README")]) as api,
        pytest.raises(ZeroDivisionError),
        StreamSession(api=api, project=project, home=home) as session,
    ):
        session.send("go")
        wait_until((project / "started").exists, 60, "the command")
        assert leftovers.find(str(short))
        raise ZeroDivisionError
    assert wait_until(lambda: not leftovers.find(str(short)), 20, "no process left")


def test_subagent_plays_its_own_script(home, project):
    agent = Call("Agent", {"description": "d", "prompt": "do it", "subagent_type": "general-purpose", "run_in_background": False})
    with ScriptedApi([Turn((agent,))], agent_script=[bash("echo inside"), Turn(text="reported")]) as api:
        outcome = run("go", api=api, project=project, home=home)
    assert outcome.code == 0
    assert api.tool_results()[0].text == "inside"
    assert "reported" in api.tool_results()[1].text
    assert (len(api.main_requests()), len(api.agent_requests())) == (2, 2)


def test_resumed_session_keeps_its_id_and_its_history(home, project):
    with ScriptedApi([bash("echo first"), Turn(text="a"), bash("echo second")]) as api:
        first = run("one", api=api, project=project, home=home)
        again = run("two", api=api, project=project, home=home, args=["--resume", first.session_id()])
    assert again.session_id() == first.session_id()
    assert [r.text for r in api.tool_results()] == ["first", "second"]
    assert any("first" in json.dumps(message) for message in api.main_requests()[-1].body["messages"])


def test_stream_session_takes_prompts_one_after_another_and_clear_begins_a_new_session(home, project):
    script = [bash("echo one"), Turn(text="a"), bash("echo two"), Turn(text="b"), Turn(text="c")]
    with ScriptedApi(script) as api, StreamSession(api=api, project=project, home=home) as session:
        first = session.ask("do one")
        second = session.ask("do two")
        cleared = session.ask("/clear")
        third = session.ask("do three")
        outcome = session.close()
    assert [turn["result"] for turn in (first, second, third)] == ["a", "b", "c"]
    assert first["session_id"] == second["session_id"] != third["session_id"] == cleared["session_id"]
    assert [r.text for r in api.tool_results()] == ["one", "two"]
    assert (outcome.code, outcome.events()[0]["type"]) == (0, "system")
    assert "do one" not in json.dumps(api.main_requests()[-1].body["messages"])


def test_stream_session_that_ended_says_so_instead_of_waiting(home, project):
    with ScriptedApi() as api:
        session = StreamSession(api=api, project=project, home=home, args=["--no-such-flag"])
        with pytest.raises((RuntimeError, BrokenPipeError)):
            session.ask("go", 30)
        assert session.close().code == 1


def test_terminal_session_starts_and_answers_a_prompt(home, project):
    pytest.importorskip("pyte")
    with ScriptedApi([Turn(text="the answer is forty-two")]) as api, Interactive(api=api, project=project, home=home) as terminal:
        terminal.wait_for("❯")
        terminal.send("what is it")
        assert "what is it" in terminal.wait_for("forty-two")
        assert terminal.close() == 0


def test_terminal_session_asks_and_one_approval_runs_the_command(home, project):
    pytest.importorskip("pyte")
    with ScriptedApi([bash("touch made"), Turn(text="all finished")]) as api, Interactive(api=api, project=project, home=home) as terminal:
        terminal.wait_for("❯")
        terminal.send("go on")
        terminal.wait_for("Do you want to proceed?")
        assert not (project / "made").exists()
        assert "touch made" in terminal.approve()
        terminal.wait_for("all finished")
        assert (project / "made").exists()


def test_missing_binary_is_said_with_what_to_do(home, project, monkeypatch):
    monkeypatch.setenv("STRETTO_CLAUDE", os.devnull)
    with ScriptedApi() as api, pytest.raises(FileNotFoundError, match="STRETTO_CLAUDE"):
        run("go", api=api, project=project, home=home)
