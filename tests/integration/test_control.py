"""Control from a worker and from the command line: blocks and how they end, words, progress, pauses, and what explains them (C-9, F25)."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from integration.conftest import SESSION, Bench
from integration.test_requests import LIMIT_S, PACKAGE
from stretto.model import AttemptStarted, BlockCleared, BlockRaised, GateDecided, WordsTold, WorkerProgressed, WorkerSaid
from stretto.testing.wait import wait_until


def _call(bench: Bench, *argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd or bench.root,
        env={**bench.env, "STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": PACKAGE, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def hook(bench: Bench, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `claude-hook`."""
    return _call(bench, "-c", "import sys; from stretto.hookcli import main; main(sys.argv[1:])", *words, cwd=cwd, env=env)


def cli(bench: Bench, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `stretto`."""
    return _call(bench, "-m", "stretto", *words, cwd=cwd, env=env)


def stop(bench: Bench, prompt: bool = True) -> str:
    """End a turn; what the session is told instead, "" when it ends."""
    if prompt:
        bench.hook("UserPromptSubmit", prompt="go")
    out = bench.hook("Stop", stop_hook_active=False).stdout
    return json.loads(out)["hookSpecificOutput"]["additionalContext"] if b"additionalContext" in out else ""


@pytest.fixture
def idle(bench: Bench) -> Bench:
    bench.begin()
    return bench


def begun(bench: Bench, script: str) -> Bench:
    """A session in a project with a check that does this."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", script)
    bench.begin()
    return bench


# --- claude-hook ---------------------------------------------------------------------------------------------------------------


def test_a_block_holds_a_turn_up_once_and_its_clear_ends_it(idle):
    raised = hook(idle, "--exit", "2", "--reason", "the migration is not done")
    block = raised.stdout.strip()
    assert (raised.returncode, len(block)) == (0, 16)
    assert "the migration is not done" in stop(idle)
    cleared = hook(idle, "--clear", block)
    assert (cleared.returncode, cleared.stdout) == (0, "")
    assert stop(idle) == ""
    assert [event.how for event in idle.events(BlockCleared)] == ["clear"]


def test_the_same_call_again_changes_nothing_and_prints_the_same_id(idle):
    words = ("--exit", "2", "--reason", "one thing", "--scope", "commit", "--json")
    first, second = hook(idle, *words), hook(idle, *words)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert len(idle.events(BlockRaised)) == 1
    block = json.loads(first.stdout)["block"]
    assert [hook(idle, "--clear", block).returncode for _ in range(2)] == [0, 0]
    assert len(idle.events(BlockCleared)) == 1
    assert json.loads(hook(idle, *words).stdout)["block"] != block, "raised again after its end it is another one"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--exit", "1"),
        ("--exit", "2"),
        ("--exit", "2", "--reason", "  "),
        ("--exit", "0"),
        ("--exit", "2", "--reason", "x", "--scope", "everything"),
        ("--exit", "2", "--reason", "x", "--ttl", "soon"),
        ("--exit", "2", "--reason", "x", "--clear", "y"),
        ("--progress", "half"),
        ("--nothing",),
    ],
)
def test_f23_bad_usage_never_ends_with_two_and_writes_nothing(idle, words):
    """Called as a hook of Claude Code, 2 would block."""
    done = hook(idle, *words)
    assert done.returncode == 64
    assert done.stderr
    assert not idle.events(BlockRaised)


@pytest.mark.parametrize(
    "words",
    [
        ("--exit", "2", "--reason", "x", "--ttl", "48h"),
        ("--exit", "2", "--reason", "x", "--check", "nothing*"),
        ("--clear", "0123"),
        ("--progress", "1/2"),
        ("--artifact", "x"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do_and_ends_with_one(idle, words):
    done = hook(idle, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("claude-hook: cannot ")


def test_outside_a_project_it_says_so(idle, short):
    done = hook(idle, "--exit", "2", "--reason", "x", cwd=short)
    assert (done.returncode, "--project" in done.stderr) == (1, True)
    assert hook(idle, "--exit", "2", "--reason", "x", "--project", str(idle.root), cwd=short).returncode == 0


def test_help_says_what_it_does_and_that_it_never_ends_with_two(idle):
    done = hook(idle, "--help")
    assert done.returncode == 0
    assert "never ends with 2" in " ".join(done.stdout.split())


def test_off_does_nothing_and_says_so(idle):
    done = hook(idle, "--exit", "2", "--reason", "x", env={"STRETTO": "off"})
    assert (done.returncode, done.stdout, "STRETTO=off" in done.stderr) == (0, "", True)
    assert not idle.events(BlockRaised)


def test_a_secret_and_control_characters_in_a_reason_are_not_written(idle):
    hook(idle, "--exit", "2", "--reason", "token \x1b[31m ghp_0123456789abcdefghijABCDEFGHIJ012345 \u202e --password=hunter2hunter2")
    (event,) = idle.events(BlockRaised)
    assert "ghp_" not in event.reason and "hunter2" not in event.reason
    assert "\x1b" not in event.reason and "\u202e" not in event.reason


def test_c9_words_are_told_once_to_each_session_with_what_it_is_told_next(idle):
    assert hook(idle, "--exit", "0", "--context", "the index is built").returncode == 0
    told = [idle.batch() for _ in range(3)]
    assert ["the index is built" in text for text in told] == [True, False, False]
    assert "quoted as data" in told[0]
    assert len(idle.events(WorkerSaid)) == len(idle.events(WordsTold)) == 1
    idle.stop()
    idle.begin()
    assert "the index is built" not in idle.batch(), "nor by the next supervisor"


# --- where a block acts --------------------------------------------------------------------------------------------------------


def test_a_block_of_edits_denies_a_write_with_its_reason_and_no_command(idle):
    hook(idle, "--exit", "2", "--reason", "the generator writes", "--scope", "edit")
    call = {"tool_name": "Write", "tool_use_id": "w", "tool_input": {"file_path": str(idle.root / "x"), "content": "x"}}
    answer = json.loads(idle.hook("PreToolUse", **call).stdout)["hookSpecificOutput"]
    assert answer["permissionDecision"] == "deny"
    assert "the generator writes" in answer["permissionDecisionReason"]
    assert idle.hook("PreToolUse", tool_name="Bash", tool_use_id="b", tool_input={"command": "ls"}).stdout == b""


def test_f25_a_block_of_everything_leaves_the_way_out_open(idle):
    block = hook(idle, "--exit", "2", "--reason", "stop", "--scope", "all").stdout.strip()

    def denied(command: str) -> bool:
        return b"deny" in idle.hook("PreToolUse", tool_name="Bash", tool_use_id="b", tool_input={"command": command}).stdout

    assert denied("make deploy")
    assert not denied(f"stretto unblock {block}")
    assert not denied("stretto status")
    assert denied("stretto status && make deploy"), "nothing rides along"
    cli(idle, "unblock", "--all")
    assert not denied("make deploy")


# --- how a block ends ------------------------------------------------------------------------------------------------------------


def test_a_block_by_a_worker_ends_with_that_worker(idle):
    script = (
        "import os, sys; os.execvp('claude-hook', ['claude-hook', '--exit', '2', '--reason', 'I am not done', '--wait', '--timeout', '1s'])"
    )
    job = cli(idle, "run", "--", sys.executable, "-c", script).stdout.strip()
    (event,) = wait_until(lambda: idle.events(BlockRaised), LIMIT_S, "the block")
    assert event.attempt is not None
    assert cli(idle, "wait", job, env={"CLAUDE_CODE_SESSION_ID": ""}).returncode == 75, "it held for as long as it waited"
    (cleared,) = wait_until(lambda: idle.events(BlockCleared), LIMIT_S, "its end")
    assert (cleared.block, cleared.how) == (event.block, "owner")
    assert stop(idle) == ""


def test_a_block_ends_when_its_check_passes(bench):
    idle = begun(bench, "exit $(cat code)")
    (idle.root / "code").write_text("1")
    idle.bash("pytest -q")
    assert hook(idle, "--exit", "2", "--reason", "red", "--check", "pytest*").returncode == 0
    idle.edit("code", "0")
    idle.bash("pytest -q")
    (cleared,) = wait_until(lambda: idle.events(BlockCleared), LIMIT_S, "its end")
    assert cleared.how == "superseded"


@pytest.mark.parametrize("alive", [True, False], ids=["with a supervisor", "with the supervisor dead"])
def test_the_user_ends_blocks_in_every_state(idle, alive):
    blocks = [hook(idle, "--exit", "2", "--reason", reason).stdout.strip() for reason in ("one", "two")]
    if not alive:
        process = idle.supervisor()
        os.kill(process.pid, signal.SIGKILL)
    one = cli(idle, "unblock", blocks[0][:6])
    assert (one.returncode, blocks[0] in one.stdout) == (0, True)
    assert blocks[1] in cli(idle, "unblock", "--all").stdout
    assert "No block holds" in cli(idle, "unblock", "--all").stdout
    assert [event.how for event in idle.events(BlockCleared)] == ["user", "user"]
    assert stop(idle) == ""


def test_unblock_of_nothing_in_particular_is_refused(idle):
    assert cli(idle, "unblock").returncode == 1
    assert "cannot find the block" in cli(idle, "unblock", "abc").stderr


# --- waiting ---------------------------------------------------------------------------------------------------------------------


def test_one_that_waits_is_told_how_its_block_ended(idle):
    waiting = subprocess.Popen(
        [sys.executable, "-c", "from stretto.hookcli import main; main()", "--exit", "2", "--reason", "x", "--wait", "--json"],
        cwd=idle.root,
        env={**idle.env, "STRETTO_STATE_DIR": str(idle.base), "PYTHONPATH": PACKAGE},
        stdout=subprocess.PIPE,
        text=True,
    )
    (event,) = wait_until(lambda: idle.events(BlockRaised), LIMIT_S, "the block")
    cli(idle, "unblock", event.block)
    out, _ = waiting.communicate(timeout=LIMIT_S)
    assert (waiting.returncode, json.loads(out)) == (0, {"block": event.block, "ended": "user"})


def test_a_worker_that_waits_for_the_session_that_waits_for_it_is_refused_with_the_cycle(idle, short):
    """Never stuck: whoever comes second is told."""
    script = short / "worker.sh"
    script.write_text('while [ ! -e "$1" ]; do sleep 0.02; done\nclaude-hook --exit 2 --reason "ask first" --wait 2>"$2"; echo $? >"$3"\n')
    go, said, code = short / "go", short / "said", short / "code"
    job = cli(idle, "run", "--", "sh", str(script), str(go), str(said), str(code)).stdout.strip()
    waiting = subprocess.Popen(
        [sys.executable, "-m", "stretto", "wait", job],
        cwd=idle.root,
        env={**idle.env, "STRETTO_STATE_DIR": str(idle.base), "PYTHONPATH": PACKAGE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: json.loads(cli(idle, "explain-stop", "--json").stdout)["waiting"], LIMIT_S, "the wait to be known")
        go.touch()
        wait_until(lambda: code.exists() and code.read_text(), LIMIT_S, "the refusal")
        assert code.read_text() == "1\n"
        told = said.read_text()
        assert f"job {job} waits for session {SESSION} (claude-hook --wait), which waits for job {job} (stretto wait)" in told
    finally:
        assert waiting.wait(LIMIT_S) == 0, "the worker went on, and ended"


# --- progress --------------------------------------------------------------------------------------------------------------------


def test_a_worker_in_python_says_how_far_it_is_and_what_it_made(idle, short):
    made = short / "made.txt"
    script = short / "worker.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {PACKAGE!r})\nfrom stretto import worker\n"
        f"for n in range(1, 1001):\n    worker.progress(n, 1000, 'indexing')\nopen({str(made)!r}, 'w').close()\n"
        f"worker.artifact({str(made)!r}, 'the index')\nworker.say('indexed')\n"
    )
    job = cli(idle, "run", "--", sys.executable, str(script), env={}).stdout.strip()
    assert cli(idle, "wait", job).returncode == 0
    told = idle.events(WorkerProgressed)
    assert 2 <= len(told) < 500, "what is told too often is not written"
    assert (told[-1].done, told[-1].total) == (1000.0, 1000.0)
    (request,) = json.loads(cli(idle, "status", "--json").stdout)["requests"]
    assert request["progress"]["text"] == "indexing"
    assert request["artifacts"] == [str(made)]
    assert "1000/1000 indexing" in cli(idle, "status").stdout
    assert "indexed" in idle.batch()


def test_claude_hook_on_a_workers_path_is_private_and_alone(idle):
    job = cli(idle, "run", "--", "sh", "-c", 'command -v claude-hook; ls "$(dirname "$(command -v claude-hook)")"').stdout.strip()
    assert cli(idle, "wait", job).returncode == 0
    place = Path(idle.base) / "tools"
    out = cli(idle, "logs", job).stdout.splitlines()
    assert out == [str(place / "claude-hook"), "claude-hook"]
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IMODE((place / "claude-hook").stat().st_mode) == 0o700


# --- pause -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [True, False], ids=["with a supervisor", "with the supervisor dead"])
def test_while_it_is_paused_nothing_is_joined_run_ahead_or_held_up_until_it_ends(bench, alive):
    idle = begun(bench, "sleep 0.3; cat src.py")
    idle.bash("pytest -q")
    hook(idle, "--exit", "2", "--reason", "blocked")
    if not alive:
        os.kill(idle.supervisor().pid, signal.SIGKILL)
    paused = cli(idle, "pause", "--for", "30m")
    assert (paused.returncode, "stretto resume" in paused.stdout) == (0, True)
    assert stop(idle) == ""
    idle.edit("src.py", "two\n")
    assert idle.bash("pytest -q")[0] == b"two\n"
    assert "paused" in cli(idle, "status").stdout
    assert not [event for event in idle.events(AttemptStarted) if event.kind == "ahead"]
    assert cli(idle, "resume").stdout == "Goes on.\n"
    assert cli(idle, "resume").stdout == "It was not paused.\n"
    assert "blocked" in stop(idle)


def test_a_pause_ends_by_itself(idle):
    from stretto import control, pauses

    pauses.begin(idle.paths, 1.0)
    control.reload(idle.paths)
    hook(idle, "--exit", "2", "--reason", "blocked")
    wait_until(lambda: pauses.left_s(idle.paths) == 0.0, LIMIT_S, "the end of the pause")
    wait_until(lambda: "blocked" in stop(idle), LIMIT_S, "a gate that judges again")


# --- explanations -----------------------------------------------------------------------------------------------------------------


def test_explain_stop_says_why_a_turn_may_or_may_not_end_and_changes_nothing(idle):
    assert json.loads(cli(idle, "explain-stop", "--json").stdout)["may_stop"] is True
    block = hook(idle, "--exit", "2", "--reason", "not yet").stdout.strip()
    before = len(idle.events(GateDecided))
    found = json.loads(cli(idle, "explain-stop", "--session", SESSION[:6], "--json").stdout)
    assert (found["may_stop"], found["rule"], found["blocks"][0]["block"]) == (False, "block", block)
    assert "is held up" in cli(idle, "explain-stop").stdout
    assert len(idle.events(GateDecided)) == before
    os.kill(idle.supervisor().pid, signal.SIGKILL)
    assert "nothing of Stretto can hold it up" in cli(idle, "explain-stop").stdout


def test_why_explains_a_gate_a_block_and_a_join_from_the_log_alone(bench):
    idle = begun(bench, "echo FAILED t.py::test_it; grep -q one src.py")
    for _ in range(2):
        idle.bash("pytest -q")
    block = hook(idle, "--exit", "2", "--reason", "not yet").stdout.strip()
    idle.hook("UserPromptSubmit", prompt="go")
    idle.edit("src.py", "two\n")
    idle.bash("pytest -q")
    stop(idle, prompt=False)
    cli(idle, "unblock", "--all")
    stop(idle, prompt=False)
    idle.stop()
    (blocked, red) = [event for event in idle.events(GateDecided) if event.do == "continue"]
    told = cli(idle, "why", red.gate[:8]).stdout
    assert "rule     red: " in told and "pytest -q: failed, fresh" in told and "change   a pass of the check" in told
    assert f"block {block}" in cli(idle, "why", blocked.gate).stdout
    assert "the user ended it" in cli(idle, "why", block).stdout
    joined = next(join for join in idle.state().joins if join.do == "replay")
    assert json.loads(cli(idle, "why", joined.ask, "--json").stdout)["do"] == "replay"
    lines = cli(idle, "why", "20").stdout
    assert lines.count("held up") == 2
    assert "cannot" in cli(idle, "why", "zzz").stderr


def test_status_shows_a_block_with_whose_it_is_and_when_it_ends(idle):
    block = hook(idle, "--exit", "2", "--reason", "not yet", "--scope", "commit").stdout.strip()
    text = cli(idle, "status").stdout
    assert f"{block} of commit for every session, by a person or program" in text and "not yet" in text
    (shown,) = json.loads(cli(idle, "status", "--json").stdout)["blocks"]
    assert (shown["block"], shown["scope"]) == (block, "commit")
    assert 590 < shown["ends_in_s"] <= 600


def test_the_status_line_shows_how_far_a_worker_is_and_nothing_where_stretto_is_not(idle, short):
    hold = short / "hold"
    hold.touch()
    script = f'claude-hook --progress 3/10 --context indexing; while [ -e "{hold}" ]; do sleep 0.02; done'
    job = cli(idle, "run", "--", "sh", "-c", script).stdout.strip()
    try:
        wait_until(lambda: "3/10 indexing" in cli(idle, "status-line").stdout, LIMIT_S, "the progress")
        assert len(cli(idle, "status-line").stdout.splitlines()) == 1
        assert cli(idle, "status-line", cwd=short).stdout == ""
    finally:
        hold.unlink()
    assert cli(idle, "wait", job).returncode == 0
    hook(idle, "--exit", "2", "--reason", "not yet")
    assert "1 block: not yet" in cli(idle, "status-line").stdout
    cli(idle, "pause")
    assert cli(idle, "status-line").stdout == "stretto: paused\n"
