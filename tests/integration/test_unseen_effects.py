"""What a session does that no scan shows and no hook tells: it ends what it may have changed, and never more than that (decision 0019)."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import SESSION, Bench
from stretto import observe, rpc
from stretto.model import EpochBegan
from stretto.system import LINUX, lives
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="processes are only seen where /proc shows them")
UNKNOWN = "python3 -c 1"
"""Anything may come of it."""


@pytest.fixture
def outside(bench: Bench) -> Path:
    """A file outside the project that the session's check prints."""
    path = bench.short / "outside"
    path.write_text("old\n")
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", f"cat {path}")
    bench.begin()
    return path


def check(bench: Bench) -> str:
    out, code, _ = bench.bash("pytest -q")
    assert code == 0, out
    return out.decode().strip()


def known(bench: Bench) -> None:
    """There is a result that is joined."""
    check(bench)
    check(bench)
    assert bench.did()[-1] == "replay"


def told(bench: Bench, event: str, body: bytes) -> None:
    """A hook with this very body, as its client passes it on."""
    assert bench.ask(op=b"hook", event=event.encode(), input=body, session=SESSION.encode(), claude_pid=b"%d" % os.getpid())["code"] == b"0"


def asked(bench: Bench, tool: str, call: str, given: Any, **more: Any) -> bytes:
    body = {"session_id": SESSION, "permission_mode": "default", "tool_name": tool, "tool_use_id": call, "tool_input": given, **more}
    return json.dumps(body).encode()


def ended(tool: str, call: str, given: Any) -> bytes:
    calls = [{"tool_use_id": call, "tool_name": tool, "tool_input": given}]
    return json.dumps({"session_id": SESSION, "permission_mode": "default", "tool_calls": calls}).encode()


def nested(depth: int) -> bytes:
    return (
        b'{"session_id": "%s", "tool_name": "mcp__a__b", "tool_input": ' % SESSION.encode() + b'{"a":' * depth + b"1" + b"}" * (depth + 1)
    )


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"command": "echo \ud83d > outside"}, id="half a surrogate pair"),
        pytest.param({"command": ["echo"]}, id="a list"),
        pytest.param("echo", id="no object"),
    ],
)
def test_what_a_bash_call_of_an_odd_text_did_is_not_answered_from_before(bench, outside, given):
    known(bench)
    told(bench, "PreToolUse", asked(bench, "Bash", "odd", given))
    outside.write_text("new\n")
    told(bench, "PostToolBatch", ended("Bash", "odd", given))
    assert check(bench) == "new"
    assert check(bench) == "new"
    assert bench.did()[-2:] == ["record", "replay"]


@pytest.mark.parametrize("event", ["PreToolUse", "PostToolBatch", "Something"])
@pytest.mark.parametrize("body", [nested(50_000), b'{"session_id": "' + SESSION.encode() + b'", ', b"\xff"], ids=["nested", "cut", "bytes"])
def test_what_cannot_be_read_ends_results_and_stands_beside_everything_until_the_session_is_heard_again(bench, outside, event, body):
    known(bench)
    told(bench, event, body)
    assert bench.joins()[-1][0] == "replay"
    bench.hook("PreToolUse", tool_name="Bash", tool_use_id="by an agent", tool_input={"command": "pytest -q"})
    bench.bash("pytest -q", told=False)
    assert bench.joins()[-1] == ("record", "the host said something of a session that cannot be read")
    outside.write_text("new\n")
    told(bench, "PostToolBatch", ended("Bash", "by an agent", {"command": "pytest -q"}))
    assert [check(bench), check(bench)] == ["new", "new"]
    assert bench.did()[-2:] == ["record", "replay"]
    assert lives(bench.supervisor())


def test_a_body_of_any_size_is_taken_in_and_more_than_a_message_holds_counts_as_unreadable(bench, outside):
    known(bench)
    epochs = len(bench.events(EpochBegan))
    large = [{"tool_use_id": "w", "tool_name": "Read", "tool_input": {}, "tool_response": "x" * (40 << 20)}]
    assert bench.hook("PostToolBatch", tool_calls=large).returncode == 0
    assert len(bench.events(EpochBegan)) == epochs + 1
    bench.batch({"tool_use_id": "r", "tool_name": "Read", "tool_input": {}})
    assert [check(bench), check(bench)] == ["old", "old"]
    assert bench.did()[-2:] == ["record", "replay"]


@pytest.mark.parametrize("tool", ["mcp__db__seed", "Monitor", "Telepathy"])
def test_a_tool_that_nobody_knows_ends_results_and_nothing_is_joined_beside_it(bench, outside, tool):
    known(bench)
    call = {"tool_name": tool, "tool_use_id": "x", "tool_input": {"rows": 3}}
    bench.hook("PreToolUse", **call)
    bench.bash("pytest -q")  # by a subagent
    assert bench.joins()[-1] == ("record", "it stands beside a command whose effects are not known")
    outside.write_text("new\n")
    bench.batch(call)
    assert [check(bench), check(bench)] == ["new", "new"]
    assert bench.did()[-2:] == ["record", "replay"]


def test_a_tool_that_nobody_knows_ends_results_also_where_its_beginning_was_not_heard(bench, outside):
    known(bench)
    outside.write_text("new\n")
    bench.batch({"tool_name": "mcp__db__seed", "tool_use_id": "x", "tool_input": {}})
    assert check(bench) == "new"


def test_the_hosts_own_readers_end_nothing(bench, outside):
    known(bench)
    bench.batch(
        *({"tool_name": tool, "tool_use_id": tool, "tool_input": {}} for tool in ("Read", "Grep", "TodoWrite", "WebFetch", "Agent"))
    )
    check(bench)
    assert bench.did()[-1] == "replay"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_that_no_hook_announced_ends_results(bench, outside, shell):
    """The commands of a skill, hooks that are gone, a tool of somebody's plugin: their shells source the session's file."""
    if not os.path.exists(f"/bin/{shell}"):
        pytest.skip(f"{shell} is not installed")
    known(bench)
    bench.bash(f"echo new > {outside}", told=False, shell=shell)
    assert check(bench) == "new"
    assert "a shell of the session began that no hook announced" in [epoch.reason for epoch in bench.events(EpochBegan)]


def test_shells_that_hooks_announced_end_nothing_in_either_shell(bench, outside):
    for shell in ("bash", "zsh"):
        if os.path.exists(f"/bin/{shell}"):
            bench.bash("pytest -q; pytest -q; ls", shell=shell)
    known(bench)
    assert not bench.events(EpochBegan)


def test_what_an_unannounced_shell_leaves_running_is_followed(bench, outside, released):
    known(bench)
    with going_on(bench, f"( read < {released}; echo new > {outside}; exec sleep 60 )", told=False):
        check(bench)
        free(released)
        wait_until(lambda: outside.read_text() == "new\n", limit_s=10, what="what it writes")
        assert check(bench) == "new"


def test_a_check_whose_call_no_hook_announced_runs_and_is_neither_joined_nor_recorded(bench, outside):
    known(bench)
    outside.write_text("new\n")
    out, code, _ = bench.bash("pytest -q", told=False)
    assert (out, code) == (b"new\n", 0)
    assert bench.joins()[-1] == ("exec", "no hook of its session announced the call it is in")
    assert bench.state().joins[-1].code == "unannounced"
    assert check(bench) == "new"


def test_a_call_of_whose_end_nobody_told_announces_no_later_one(bench, outside):
    known(bench)
    bench.hook("PreToolUse", tool_name="Bash", tool_use_id="open", tool_input={"command": "pytest -q"})
    bench.bash("pytest -q", told=False)
    assert bench.did()[-1] == "replay"
    bench.bash("pytest -q", told=False)  # the shell of that call has said that it runs it
    assert bench.state().joins[-1].code == "unannounced"


def test_a_user_whose_hooks_went_away_is_told_once_when_there_is_a_hook_again(bench, outside):
    known(bench)
    for _ in range(2):
        bench.bash("pytest -q", told=False)
    for _ in range(2):
        bench.batch({"tool_use_id": "r", "tool_name": "Read", "tool_input": {}})
    assert len([notice for notice in bench.notices if "hooks are gone" in notice]) == 1


# --- what goes on after its call


@pytest.fixture
def released(bench: Bench) -> Iterator[Path]:
    """A pipe: whoever reads it goes on when a test says so."""
    path = bench.short / "released"
    os.mkfifo(path)
    yield path


def free(pipe: Path) -> None:
    """Let the one who reads go on."""

    def written() -> bool:
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False  # nobody reads yet
        os.write(descriptor, b"\n")
        os.close(descriptor)
        return True

    wait_until(written, limit_s=10, what="a reader")


@contextmanager
def going_on(bench: Bench, command: str, *, told: bool = True, env: dict[str, str] | None = None) -> Iterator[int]:
    """A Bash call that leaves one process behind: its id; it is ended at the end."""
    out, code, _ = bench.bash(f"{command} >{bench.short}/left 2>&1 & echo $!", told=told, env=env)
    assert code == 0
    pid = int(out)
    try:
        yield pid
    finally:
        for each in [*observe.descendants(pid), pid]:
            subprocess.run(["kill", "-9", str(each)], check=False, stderr=subprocess.DEVNULL)
        wait_until(lambda: observe.parent(pid) == 0 or not os.path.exists(f"/proc/{pid}/exe"), limit_s=10, what="its end")


DAEMON = """
import os, sys
end = os.open(sys.argv[1], os.O_RDONLY)
os.read(end, 1)
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
again = os.open(sys.argv[2], os.O_RDONLY)
os.read(again, 1)
open(sys.argv[3], "w").write("new\\n")
"""


def test_what_becomes_a_daemon_after_its_call_is_followed_too(bench, outside, released):
    script, again = bench.short / "daemon.py", bench.short / "again"
    script.write_text(DAEMON)
    os.mkfifo(again)
    with going_on(bench, f"{sys.executable} {script} {released} {again} {outside}") as pid:
        known(bench)
        free(released)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), limit_s=10, what="the end of what was started")
        known(bench)
        free(again)
        wait_until(lambda: outside.read_text() == "new\n", limit_s=10, what="what it writes")
        assert check(bench) == "new"


@pytest.mark.parametrize("how", ["( {} )", "nohup bash -c '{}'", "setsid bash -c '{}'", "env -i PATH=$PATH bash -c '{}'"])
def test_what_a_call_left_running_ends_results_when_it_did_something_and_not_before(bench, outside, released, how):
    with going_on(bench, how.format(f"read < {released}; echo new > {outside}; sleep 60")):
        known(bench)
        free(released)
        wait_until(lambda: outside.read_text() == "new\n", limit_s=10, what="what it writes")
        assert check(bench) == "new"
        wait_until(lambda: (check(bench), bench.did()[-1])[1] == "replay", limit_s=20, what="a join beside what sleeps again")


def test_a_session_that_begins_beside_what_another_one_left_running_ends_nothing(bench, outside, released):
    with going_on(bench, f"( read < {released} )"):
        known(bench)
        epochs = len(bench.events(EpochBegan))
        bench.env_file, own = bench.short / "another", bench.env_file
        bench.hook("SessionStart", source="startup", session_id="11111111-2222-3333-4444-555555555555")
        bench.env_file = own
        check(bench)
        assert (bench.did()[-1], len(bench.events(EpochBegan))) == ("replay", epochs)


def test_what_ended_since_the_last_look_ends_results(bench, outside, released):
    with going_on(bench, f"( read < {released}; echo new > {outside} )") as pid:
        known(bench)
        free(released)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), limit_s=10, what="its end")
        assert [check(bench), check(bench)] == ["new", "new"]
        assert bench.did()[-2:] == ["record", "replay"]


def test_nothing_is_joined_beside_what_is_at_work(bench, outside):
    with going_on(bench, "( while :; do :; done )"):
        check(bench)
        check(bench)
        assert bench.joins()[-1][0] == "record"


def test_a_server_that_works_disturbs_no_join(bench, outside):
    """A development server beside the session must not end joins for good (docs/join.md)."""
    server = bench.short / "server.py"
    server.write_text(
        "import socket, time\n"
        "one = socket.socket()\none.bind(('127.0.0.1', 0))\none.listen()\n"
        f"open({str(bench.short / 'up')!r}, 'w').close()\n"
        "while True:\n    sum(range(1000))\n    time.sleep(0.005)\n"
    )
    with going_on(bench, f"{sys.executable} {server}"):
        wait_until((bench.short / "up").exists, limit_s=20, what="the server")
        check(bench)  # from here on it is known to be one
        known(bench)
    assert check(bench) == "old"
    assert bench.joins()[-1][0] == "record", "a server that has gone is a change"


def test_a_check_in_the_background_is_served_for_as_long_as_its_shell_lives(bench, outside, released):
    known(bench)
    command = f"read < {released}; pytest -q"
    text = bench.env_file.read_text()
    fields = {"tool_name": "Bash", "tool_use_id": "b", "tool_input": {"command": "pytest -q", "run_in_background": True}}
    bench.hook("PreToolUse", **fields)
    with open(bench.short / "output", "ab") as output, subprocess.Popen(
        ["/bin/bash", "-c", f"{text}\n: && eval {shlex.quote(command)}"],
        stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=bench.shell_env, cwd=bench.root, start_new_session=True,
    ) as shell:  # fmt: skip
        bench.batch(fields)
        free(released)
        assert shell.wait(20) == 0
    assert bench.did()[-1] == "replay"
    assert (bench.short / "output").read_text() == "old\n"


# --- who asks


def test_a_session_that_is_not_followed_here_runs_its_check_and_ends_results(bench, outside):
    known(bench)
    outside.write_text("new\n")
    out, _, _ = bench.bash("pytest -q", told=False, env={"CLAUDE_CODE_SESSION_ID": "11111111-2222-3333-4444-555555555555"})
    assert out == b"new\n"
    assert (bench.did()[-1], bench.state().joins[-1].code) == ("exec", "stranger")
    assert check(bench) == "new"


def test_what_a_strange_session_does_in_the_same_call_after_it_asked_here_ends_results(bench, outside, released):
    known(bench)
    strange = {"CLAUDE_CODE_SESSION_ID": "11111111-2222-3333-4444-555555555555"}
    with going_on(bench, f"( pytest -q; read < {released}; echo new > {outside}; sleep 60 )", told=False, env=strange):
        wait_until(lambda: bench.did()[-1] == "exec", limit_s=10, what="its question")
        wait_until(lambda: (check(bench), bench.did()[-1])[1] == "replay", limit_s=20, what="a join beside what waits")
        free(released)
        wait_until(lambda: outside.read_text() == "new\n", limit_s=10, what="what it writes")
        assert check(bench) == "new"


FORGER = """
import os, socket, sys, time
state, cwd, tool, done = sys.argv[1:5]
while os.getppid() == int(sys.argv[5]):
    time.sleep(0.01)
sys.path.insert(0, sys.argv[6])
import shim
call = shim.Call([sys.argv[7], "path", "pytest", "-q"])
call.exe = tool.encode()
os.chdir(cwd)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0)
out = os.open(done + ".out", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.dup2(out, 1)
os.dup2(out, 2)
os.closerange(3, 64)
reply, connection = shim.ask(call)
print(reply.get(b"do", b"").decode(), file=open(done + ".part", "w"), flush=True)
os.rename(done + ".part", done)
"""


def test_a_process_that_a_test_left_behind_is_answered_with_a_run_of_its_own(bench, outside):
    """It asks as a shim does; whatever it would report at the end is not recorded."""
    known(bench)
    script, done = bench.short / "forger.py", bench.short / "forged"
    script.write_text(FORGER)
    words = [str(bench.paths.folder), str(bench.root), str(bench.tools / "pytest"), str(done)]
    inner = " ".join(map(shlex.quote, [sys.executable, str(script), *words]))
    bench.bash(f"( {inner} $BASHPID {shlex.quote(bench.islands)} {shlex.quote(str(bench.base))} >/dev/null 2>&1 & )", told=False)
    wait_until(done.exists, limit_s=20, what="an answer")
    assert done.read_text() == "exec\n"
    assert bench.state().joins[-1].code in ("untraced", "unannounced")


def test_what_is_not_recorded_by_the_parent_of_what_ran_is_torn(bench, outside):
    """The connection is the asker's; what it says ran has to be its own child."""
    env = b"\0".join(f"{name}={value}".encode() for name, value in bench.env.items())
    bench.hook("PreToolUse", tool_name="Bash", tool_use_id="f", tool_input={"command": "pytest -q"})
    request = {
        "op": b"invoke", "v": b"1", "session": SESSION.encode(), "name": b"pytest", "exe": os.fsencode(bench.tools / "pytest"),
        "argv": b"pytest\0-q", "cwd": os.fsencode(bench.root), "env": env, "context": observe.own_context(), "streams": b"merged",
        "stdin": b"null", "via": b"path", "pid": b"%d" % os.getpid(),
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(bench.paths.socket)
        connection.sendall(rpc.encode(request))
        (answer,) = rpc.Reader().feed(connection.recv(65536))
        assert answer["do"] == b"record"
        exited = {"op": b"exited", "how": b"code", "value": b"0", "out": b"0", "err": b"0", "cpu_us": b"0", "left": b"0"}
        connection.sendall(rpc.encode({"op": b"started", "pid": b"%d" % os.getppid()}) + rpc.encode(exited))
        bench.settled(1)
    (settled,) = [attempt.phase for attempt in bench.state().attempts.values()]
    assert "did not come from" in settled.torn
    bench.bash("pytest -q")
    assert bench.did()[-1] == "record"


def test_a_command_without_the_sessions_variable_is_known_by_the_process_it_descends_from(bench, outside):
    known(bench)
    command = "env -u CLAUDE_CODE_SESSION_ID pytest -q"
    for _ in range(2):
        assert bench.bash(command)[:2] == (b"old\n", 0)
    assert bench.did()[-2:] == ["record", "replay"]  # that it is not there is a difference in the environment


def test_a_look_at_a_few_processes_costs_next_to_nothing():
    began = time.perf_counter()
    for _ in range(20):
        observe.processes([os.getpid()])
    assert (time.perf_counter() - began) / 20 < 0.5
