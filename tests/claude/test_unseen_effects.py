"""What the real host does without a Bash hook, and what comes of it: a result from before is never given (decision 0019)."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from stretto import install
from stretto.hookwire import HARMLESS_TOOLS
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import run
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow]

LOG_HOOK = """
import json, os, sys
said = json.loads(sys.stdin.buffer.read())
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(descriptor, json.dumps([said["hook_event_name"], said.get("tool_name")]).encode() + b"\\n")
"""
SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {}
    if asked["method"] == "initialize":
        answer = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}}
        answer["serverInfo"] = {"name": "s", "version": "1"}
    elif asked["method"] == "tools/list":
        answer = {"tools": [{"name": "seed", "description": "seeds", "inputSchema": {"type": "object"}}]}
    elif asked["method"] == "tools/call":
        with open(sys.argv[1], "w") as file:
            file.write("new\\n")
        answer = {"content": [{"type": "text", "text": "seeded"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}), flush=True)
"""


def served_tool(world, outside):
    """A server of tools in the project, one of which writes outside it."""
    script = world.short / "server.py"
    script.write_text(SERVER)
    (world.root / ".mcp.json").write_text(
        json.dumps({"mcpServers": {"db": {"command": sys.executable, "args": [str(script), str(outside)]}}})
    )
    return Call("mcp__db__seed", {"rows": 3})


def test_a_matcher_that_names_what_it_leaves_out_meets_every_other_tool_and_no_reader(home, project, short):
    """Facts: a negative lookahead is a regular expression to the host; Monitor and unknown tools have a PreToolUse, and the denied, too."""
    log = short / "log"
    matcher = next(event.matcher for event in install.EVENTS if event.name == "PreToolUse")
    entry = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", LOG_HOOK, str(log)]}
    settings = {"hooks": {"PreToolUse": [{"matcher": matcher, "hooks": [entry]}]}}
    monitor = {"command": "echo x", "description": "watch", "timeout_ms": 5000, "persistent": False}
    calls = [Call("Read", {"file_path": str(project / "README")}), Call("Glob", {"pattern": "*"}), Call("Bash", {"command": "echo x"})]
    calls += [Call("Monitor", monitor), Call("Write", {"file_path": str(project / "new"), "content": "x"})]
    with ScriptedApi([Turn((call,)) for call in calls]) as api:
        run("go", api=api, project=project, home=home, settings=settings)
    assert [json.loads(line)[1] for line in log.read_text().splitlines()] == ["Bash", "Monitor", "Write"]
    assert {"Read", "Glob"} <= HARMLESS_TOOLS


@pytest.mark.parametrize("how", ["mcp", "half", "skill", "background", "monitor", "left"])
def test_what_a_session_does_in_a_way_that_no_scan_shows_is_not_answered_from_before(bare, how):
    outside = bare.short / "outside"
    outside.write_text("old\n")
    (bare.short / "w.sh").write_text(f"echo new > {outside}\n")
    write = f"sh {bare.short}/w.sh"
    skill = bare.root / ".claude" / "skills" / "demo"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(f"---\nname: demo\ndescription: demo\n---\n!`{write}`\n")
    tool = served_tool(bare, outside)
    bare.tool("pytest", f"cat {outside}")
    bare.cli("init", "--yes")
    monitor = {"command": f"sleep 1; {write}; sleep 4", "description": "watch", "timeout_ms": 30000, "persistent": False}
    turns = {
        "mcp": Turn((tool,)),
        "half": bash(f"echo \ud83d; {write}"),
        "skill": Turn((Call("Skill", {"skill": "demo"}),)),
        "background": bash(f"sleep 1; {write}; sleep 4", run_in_background=True),
        "monitor": Turn((Call("Monitor", monitor),)),
        "left": bash(f"( sleep 1; {write} ) > /dev/null 2>&1 &"),
    }

    def script():
        yield bash("pytest -q")
        yield bash("pytest -q")
        yield turns[how]
        yield bash("pytest -q")
        wait_until(lambda: outside.read_text() == "new\n", 20, "what it writes")
        yield bash("pytest -q")

    seen = bare.session(script(), settings={"enableAllProjectMcpServers": True})
    assert bare.did()[1] == "replay"
    assert "new" in seen.texts[-1], bare.why()


def test_when_the_hooks_go_away_in_mid_session_nothing_is_joined_any_more(world):
    settings = world.root / ".claude" / "settings.local.json"
    kept = settings.read_bytes()

    def script():
        yield bash("pytest -q")
        yield bash("pytest -q")
        settings.unlink()  # as `git stash -u` does in another terminal
        yield bash("sleep 4; pytest -q")  # the host takes up to 3 s to see it
        yield bash("pytest -q")
        yield bash("pytest -q")
        settings.write_bytes(kept)

    world.session(script(), silent=False)
    assert world.did()[:2] == ["record", "replay"]
    assert set(world.did()[-2:]) == {"exec"}, world.why()
    assert [join.code for join in world.state().joins][-2:] == ["unannounced"] * 2


def test_a_server_in_the_background_and_a_check_in_the_background_are_served(world):
    """Neither a development server that lives beside the session nor a check that the host put into the background ends joins."""
    pid = world.short / "pid"
    serve = f"echo $$ > {pid}; exec {sys.executable} -m http.server 0 --bind 127.0.0.1 --directory {world.short}"

    def script():
        yield bash(serve, run_in_background=True)
        yield bash("sleep 2; ls")
        yield bash("pytest -q")
        yield bash("pytest -q")
        yield bash("pytest -q", run_in_background=True)
        wait_until(lambda: len(world.did()) == 3, 20, "the check in the background")
        os.kill(int(pid.read_text()), signal.SIGTERM)  # `claude -p` waits for it

    world.session(script())
    assert world.did()[1:] == ["replay", "replay"]
