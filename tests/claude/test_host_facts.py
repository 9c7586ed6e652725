"""What Stretto relies on in Claude Code and no documentation promises; a release that changes one of these fails here first."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from stretto.model import Invocation
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import StreamSession, run
from stretto.testing.terminal import Interactive
from stretto.testing.wait import wait_until

from .conftest import played

pytestmark = [pytest.mark.claude, pytest.mark.slow]

# Says of the process it runs in: what fd 0 is and whether it can be read, what 1 and 2 are, which descriptors above 2 were inherited.
PROBE = """
import fcntl, json, os, select, stat, sys
inherited = []
for number in range(3, 256):
    try:
        os.fstat(number)
    except OSError:
        continue
    inherited.append(number)
kind = "null" if os.path.samefile("/dev/fd/0", os.devnull) and stat.S_ISCHR(os.fstat(0).st_mode) else stat.S_IFMT(os.fstat(0).st_mode)
kind = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFREG: "file"}.get(kind, kind)
ready = bool(select.select([0], [], [], 0)[0])
out, err = os.fstat(1), os.fstat(2)
print(json.dumps({
    "stdin": kind, "ready": ready, "inherited": inherited,
    "same": (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino), "file": stat.S_ISREG(out.st_mode),
    "append": bool(fcntl.fcntl(1, fcntl.F_GETFL) & os.O_APPEND), "tty": os.isatty(1),
    "group": os.getpgid(0) == os.getsid(0) and os.getsid(0) != 0, "sid": os.getsid(0),
}))
"""
# Appends what a hook is given, and the content of CLAUDE_ENV_FILE before, to a file; then writes a line into the env file.
LOG_HOOK = """
import json, os, sys
env = os.environ.get("CLAUDE_ENV_FILE", "")
before = None
if env and os.path.exists(env):
    with open(env) as file:
        before = file.read()
record = {"input": json.loads(sys.stdin.buffer.read()), "env_file": env, "before": before, "pid": os.environ.get("CLAUDE_PID")}
if env:
    with open(env, "a") as file:
        file.write("export MARK%d=1\\n" % len((before or "").splitlines()))
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(descriptor, json.dumps(record).encode() + b"\\n")
"""


@pytest.fixture
def hooked(project, short):
    """Return a function that lets the named events be logged, and one that returns what was logged."""
    log = short / "hooks"

    def install(*events, **settings):
        entry = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", LOG_HOOK, str(log)], "timeout": 20}
        hooks = {event: [{"hooks": [entry]}] for event in events}
        (project / ".claude" / "settings.local.json").write_text(json.dumps({**settings, "hooks": hooks}), encoding="utf-8")

    def records(event=None):
        found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        return [record for record in found if event in (None, record["input"]["hook_event_name"])]

    return install, records


@pytest.fixture(params=["bash", "zsh"])
def shell(request):
    return request.param


@pytest.fixture
def probe(short):
    """A command that prints the descriptors it was given."""
    script = short / "probe.py"
    script.write_text(PROBE, encoding="utf-8")
    return f"{sys.executable} -I -S {script}"


def test_command_gets_null_stdin_one_appended_file_and_nothing_above_two(home, project, probe, shell):
    """The shim's rules for descriptors (plain, function, subshell, job, exec) stand on this."""
    commands = [
        probe,
        f"f() {{ {probe}; }}; f",
        f"({probe})",
        f"{probe} & wait",
        f"exec {probe}",
        f"sh -c '{probe}'",
        f"for i in 1; do {probe}; done",
    ]
    with ScriptedApi([bash(command) for command in commands]) as api:
        run("go", api=api, project=project, home=home, shell=shell)
    seen = [json.loads(result.text) for result in api.tool_results()]
    expected = {"stdin": "null", "ready": True, "inherited": [], "same": True, "file": True, "append": True, "tty": False, "group": True}
    assert [{key: value for key, value in one.items() if key != "sid"} for one in seen] == [expected] * len(commands)
    assert len({one["sid"] for one in seen}) == len(commands)  # each call is a session of its own


@pytest.mark.parametrize(
    "command, stdin",
    [
        pytest.param("cat > made <<EOF\nx\nEOF\nPROBE", "socket", id="after-heredoc"),
        pytest.param("wc -l < README && PROBE", "socket", id="after-redirect"),
        pytest.param("echo 'a < b'; PROBE", "socket", id="quoted"),
        pytest.param("wc -l <<< x; PROBE", "socket", id="herestring"),
        pytest.param("diff <(echo) <(echo); PROBE", "null", id="process-substitution"),
        pytest.param("PROBE < /dev/null", "null", id="null-by-hand"),
        pytest.param("echo x | PROBE", "pipe", id="pipe"),
    ],
)
def test_any_input_redirect_in_the_text_leaves_an_idle_socket_as_stdin(home, project, probe, shell, command, stdin):
    with ScriptedApi([bash(command.replace("PROBE", probe))]) as api:
        run("go", api=api, project=project, home=home, shell=shell)
    seen = json.loads(api.tool_results()[0].text.splitlines()[-1])
    assert (seen["stdin"], seen["inherited"]) == (stdin, [])
    if stdin == "socket":
        assert not seen["ready"]  # a read would block: the other end is open and silent


def test_background_command_gets_the_same_descriptors(home, project, short, probe):
    with ScriptedApi(
        [bash(f"{probe} | cat > {short}/seen; {probe} >> {short}/seen 2>&1; mv {short}/seen {short}/whole", run_in_background=True)]
    ) as api:
        run("go", api=api, project=project, home=home)
        wait_until(lambda: (short / "whole").exists(), 20, "the background command")
    piped, direct = [json.loads(line) for line in (short / "whole").read_text(encoding="utf-8").splitlines()]
    assert (piped["stdin"], piped["inherited"], direct["stdin"], direct["inherited"]) == ("null", [], "null", [])


def test_env_file_is_kept_by_resume_and_compact_and_new_after_clear_and_fork(home, project, hooked):
    install, records = hooked
    install("SessionStart")
    with ScriptedApi() as api:
        first = run("go", api=api, project=project, home=home).session_id()
        run("go", api=api, project=project, home=home, args=["--resume", first])
        fork = run("go", api=api, project=project, home=home, args=["--resume", first, "--fork-session"]).session_id()
        with StreamSession(api=api, project=project, home=home) as session:
            begun = session.ask("a")["session_id"]
            session.ask("/clear")
            cleared = session.ask("b")["session_id"]
            session.ask("/compact")
    seen = [(r["input"]["source"], r["input"]["session_id"], len((r["before"] or "").splitlines())) for r in records()]
    assert seen == [
        ("startup", first, 0),
        ("resume", first, 1),
        ("fork", fork, 0),
        ("startup", begun, 0),
        ("clear", cleared, 0),
        ("compact", cleared, 1),
    ]
    assert len({first, fork, begun, cleared}) == 4
    assert all(r["input"]["session_id"] in r["env_file"] for r in records())
    assert len({r["pid"] for r in records()[3:]}) == 1  # one process: CLAUDE_PID outlives the session id


def test_env_file_is_read_once_per_session_so_only_what_it_sources_can_change(home, project, short, hooked, shell):
    later = short / "later.sh"
    later.write_text("A=old\n", encoding="utf-8")
    entry_code = "import os; open(os.environ['CLAUDE_ENV_FILE'], 'a').write('. ' + %r + '\\n')" % str(later)  # noqa: UP031
    entry = {"type": "command", "command": sys.executable, "args": ["-I", "-c", entry_code]}
    settings = {"hooks": {"SessionStart": [{"hooks": [entry]}]}}
    change = f"echo A=new > {later}; for f in {home.path}/.claude/session-env/*/*.sh; do echo 'B=seen' >> $f; done"
    with ScriptedApi([bash("echo $A-$B"), bash(change), bash("echo $A-$B")]) as api:
        run("go", api=api, project=project, home=home, shell=shell, settings=settings)
    assert [result.text for result in api.tool_results()][::2] == ["old-", "new-"]


def test_batch_hook_lists_every_call_of_the_message_with_its_id_failed_and_denied_too(home, project, hooked):
    install, records = hooked
    install("PostToolBatch", "PostToolUse", "PostToolUseFailure", permissions={"deny": ["Bash(rm *)"]})
    commands = ["echo fine", "echo out; exit 3", "rm nothing"]
    with ScriptedApi([Turn(tuple(Call("Bash", {"command": command}) for command in commands))]) as api:
        run("go", api=api, project=project, home=home)
    (batch,) = records("PostToolBatch")
    calls = batch["input"]["tool_calls"]
    assert [call["tool_input"]["command"] for call in calls] == commands
    assert tuple(call["tool_use_id"] for call in calls) == api.main_requests()[0].call_ids
    assert [call["tool_response"] for call in calls[:2]] == ["fine", "Exit code 3\nout"]
    assert "denied" in calls[2]["tool_response"]
    ids = api.main_requests()[0].call_ids
    assert [r["input"]["tool_use_id"] for r in records("PostToolUse")] == [ids[0]]
    assert [r["input"]["tool_use_id"] for r in records("PostToolUseFailure")] == [ids[1]]  # the denied call has no event of its own


def test_permission_question_names_no_call_and_follows_the_calls_pre_hook(home, project, hooked):
    """Pairing an approval with a call has to go over session, agent, tool and input."""
    pytest.importorskip("pyte")
    install, records = hooked
    install("PreToolUse", "PermissionRequest", "PostToolUse", "PostToolBatch")
    with ScriptedApi([bash("touch made"), Turn(text="all finished")]) as api, Interactive(api=api, project=project, home=home) as terminal:
        terminal.wait_for("❯")
        terminal.send("go on")
        terminal.approve()
        terminal.wait_for("all finished")
    seen = records()
    assert [r["input"]["hook_event_name"] for r in seen] == ["PreToolUse", "PermissionRequest", "PostToolUse", "PostToolBatch"]
    assert "tool_use_id" not in seen[1]["input"]
    assert seen[0]["input"]["tool_input"] == seen[1]["input"]["tool_input"] == seen[2]["input"]["tool_input"]
    assert {r["input"]["permission_mode"] for r in seen} == {"default"}


def test_question_that_is_interrupted_ends_with_no_further_hook(home, project, hooked):
    """Esc at the dialog: neither Post, Batch nor Stop tells of it, so a call without an end must be taken for never run."""
    pytest.importorskip("pyte")
    install, records = hooked
    install("PreToolUse", "PermissionRequest", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "Stop", "SessionEnd")
    with ScriptedApi([bash("touch made")]) as api, Interactive(api=api, project=project, home=home) as terminal:
        terminal.wait_for("❯")
        terminal.send("go on")
        terminal.wait_for("Do you want to proceed?")
        terminal.press_until("escape", lambda screen: "Interrupted" in screen)
        terminal.close()
    assert [r["input"]["hook_event_name"] for r in records()] == ["PreToolUse", "PermissionRequest", "SessionEnd"]
    assert not (project / "made").exists()


@pytest.mark.parametrize("background", [False, True])
def test_subagents_commands_carry_the_parents_session_and_hooks_name_the_agent(home, project, hooked, background):
    install, records = hooked
    install("PreToolUse", "PostToolUse", "PostToolBatch", "SubagentStart", "SubagentStop")
    agent = Call("Agent", {"description": "d", "prompt": "do it", "subagent_type": "general-purpose", "run_in_background": background})
    with ScriptedApi([Turn((agent,))], agent_script=[bash("echo $CLAUDE_CODE_SESSION_ID")]) as api:
        session = run("go", api=api, project=project, home=home).session_id()
    inside = [r["input"] for r in records() if r["input"].get("agent_id")]
    kinds = ["SubagentStart", "PreToolUse", "PostToolUse", "PostToolBatch", "SubagentStop"]
    assert [entry["hook_event_name"] for entry in inside] == kinds
    assert {entry["session_id"] for entry in inside} == {session}
    assert {entry["agent_id"] for entry in inside} == {request.agent for request in api.agent_requests()}
    own = [result.text for request in api.agent_requests() for result in request.results()]
    assert own == [session]


def sandbox_missing():
    return [name for name in ("bwrap", "socat") if not shutil.which(name)]


SANDBOX_PROBE = """
import json, os, socket, sys
try:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
    answer = "connected"
except OSError as error:
    answer = type(error).__name__
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
names = {name: os.readlink("/proc/self/ns/" + name) for name in ("mnt", "net", "pid", "user")}
print(json.dumps({"unix": answer, "privileges": status["NoNewPrivs"].strip(), "namespaces": names, "uid": os.getuid()}))
"""


@pytest.mark.parametrize("allowed, answer", [(False, "PermissionError"), (True, "connected")])
def test_sandboxed_command_is_told_from_a_free_one_by_its_context(home, project, short, allowed, answer):
    """With Unix sockets allowed the supervisor can be reached from inside: only the context keeps such a command from joining."""
    import socket

    if sandbox_missing():
        pytest.skip(f"the sandbox needs {' and '.join(sandbox_missing())}")
    script = short / "probe.py"
    script.write_text(SANDBOX_PROBE, encoding="utf-8")
    command = f"{sys.executable} -I -S {script} {short}/socket"
    settings = {"sandbox": {"enabled": True, "network": {"allowAllUnixSockets": allowed}}}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")
        server.listen(8)
        with ScriptedApi([bash(command), bash(command, dangerouslyDisableSandbox=True)]) as api:
            outcome = run("go", api=api, project=project, home=home, settings=settings)
    if "Sandbox disabled" in outcome.stderr or "bwrap" in api.tool_results()[0].text:
        pytest.skip(f"the sandbox does not work here: {outcome.stderr.strip()[:200]} {api.tool_results()[0].text[:200]}")
    inside, outside = (json.loads(result.text) for result in api.tool_results())
    assert (inside["unix"], outside["unix"]) == (answer, "connected")
    assert (inside["privileges"], outside["privileges"]) == ("1", "0")
    assert inside["uid"] == outside["uid"] == os.getuid()
    assert not set(inside["namespaces"].values()) & set(outside["namespaces"].values())


TRACING = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
    "CLAUDE_CODE_PROPAGATE_TRACEPARENT": "1",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "DISABLE_TELEMETRY": "",
}


def test_the_environment_of_bash_calls_differs_in_nothing_that_counts_in_main_subagent_and_background(home, project, short, shell):
    """What makes two calls the same stands on this; a release that sets a name of its own for each call fails here."""
    script = short / "names.py"
    script.write_text("import json, os, sys\nopen(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))\n", encoding="utf-8")
    names = ["first", "again", "background", "subagent"]
    texts = [f"{sys.executable} -I -S {script} {short}/{name}.json" for name in names]
    agent = Call("Agent", {"description": "d", "prompt": "do it", "subagent_type": "general-purpose", "run_in_background": False})

    def turns():
        yield bash(texts[0])
        yield bash(texts[1])
        yield bash(texts[2], run_in_background=True)
        wait_until(lambda: (short / "background.json").exists(), 60, "the background command")
        yield Turn((agent,))

    with ScriptedApi(played(turns()), agent_script=[bash(texts[3])]) as api:
        run("go", api=api, project=project, home=home, shell=shell, env=TRACING)
    found = [json.loads((short / f"{name}.json").read_text()) for name in names]
    calls = [
        Invocation(
            name="t",
            exe=b"/t",
            argv=(b"t",),
            cwd=os.fsencode(os.path.realpath(project)),
            env=tuple(f"{name}={value}".encode() for name, value in each.items()),
            context=b"",
            streams="merged",
        )
        for each in found
    ]
    assert len({each["TRACEPARENT"] for each in found}) == len(names)
    assert len({tuple(sorted(call.meaningful_env)) for call in calls}) == 1
    assert not {"COLUMNS", "LINES"} & found[0].keys()
    assert {each["AI_AGENT"] for each in found} == {found[0]["AI_AGENT"]} != {""}
