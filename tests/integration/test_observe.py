"""What is seen of processes that a command leaves behind, and which ends of a connection count as another machine's."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from types import SimpleNamespace

import pytest

from stretto import callers, observe, reach
from stretto.daemon import Supervisor
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not observe.LINUX, reason="reads /proc, which only Linux has")

LEAVE = "import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    print(os.getpid(), flush=True)\n    sys.stdin.read()\n"
"""A command that ends and leaves a process, which ends with its input."""


@pytest.fixture
def adopters():
    """Init and whatever else may be handed an orphan here."""
    return {1, *observe.ancestors(os.getpid())}


def left_by(session: str, adopters: set[int], asked: str = "", **env: str) -> tuple[int, list[int]]:
    """Run a command of a session that leaves one process; return that process, and what `asked` (this session) is found to have left."""
    since_ticks = observe.start_ticks()
    command = [sys.executable, "-I", "-S", "-c", LEAVE]
    environ = {"CLAUDE_CODE_SESSION_ID": session, **env}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdin and process.stdout
        pid = int(process.stdout.readline())
        process.wait(timeout=20)
        found = observe.left_behind(adopters, since_ticks, asked or session)
        process.stdin.close()
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), what="the end of what was left")
        return pid, found


def test_a_process_a_command_left_is_found(adopters):
    pid, found = left_by(str(uuid.uuid4()), adopters)
    assert found == [pid]


def test_a_process_of_another_session_is_not_taken_for_a_commands_own(adopters):
    _, found = left_by(str(uuid.uuid4()), adopters, asked=str(uuid.uuid4()))
    assert found == []


def test_a_worker_of_ours_is_not_taken_for_a_commands_own(adopters):
    _, found = left_by(str(uuid.uuid4()), adopters, STRETTO_WORKER="1")
    assert found == []


def test_a_process_that_is_just_ending_does_not_count_and_one_without_an_environment_does():
    ended = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not observe.carries(ended.pid, b"X=1")
    ended.wait()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={}) as bare:
        wait_until(lambda: os.readlink(f"/proc/{bare.pid}/exe") != os.path.realpath(sys.executable), what="its start")
        assert observe.carries(bare.pid, b"X=1")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        pytest.param(b"0100007F", True, id="127.0.0.1"),
        pytest.param(b"3500007F", True, id="127.0.0.53"),
        pytest.param(b"00000000", True, id="unset"),
        pytest.param(b"0100000A", False, id="10.0.0.1"),
        pytest.param(b"7F000001", False, id="1.0.0.127"),
        pytest.param(b"00000000000000000000000001000000", True, id="::1"),
        pytest.param(b"0000000000000000FFFF00000100007F", True, id="::ffff:127.0.0.1"),
        pytest.param(b"0000000000000000FFFF00000100000A", False, id="::ffff:10.0.0.1"),
        pytest.param(b"B80D0120000000000000000001000000", False, id="2001:db8::1"),
    ],
)
def test_only_loopback_is_this_machine(address, local):
    assert reach.is_local(address) is local


# --- what stands above a call, and its context ------------------------------------------------------------------------------

UP = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"


def test_what_stands_between_the_host_and_a_call_is_told_with_the_texts_of_shells(tmp_path):
    script = tmp_path / "bench.sh"
    script.write_text(f"# a script\n{sys.executable} -I -S -c {UP!r}; :\n".replace("'", '"'))
    text = f"cd {tmp_path}; sh bench.sh; :"
    with subprocess.Popen(["/bin/bash", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin and shell.stdout
        pid = int(shell.stdout.readline())
        found, top = callers.above(pid, {os.getpid(), *observe.ancestors(os.getpid())})
        none, nobody = callers.above(pid, {pid, shell.pid, *(each for each in observe.ancestors(pid))})
        shell.stdin.close()
    assert [each.text.partition("\n")[0] for each in found] == ["# a script", text]
    assert found[1].argv == ("/bin/bash", "-c", text)
    assert top is not None and top.pid == shell.pid
    assert (none, nobody) == ([], None)


def test_the_environment_a_process_was_started_with_is_told():
    assert b"PATH=" + os.environb[b"PATH"] in callers.environment(os.getpid())
    assert callers.environment(1 << 22) == frozenset()


HERE = b"cgroup=4:memory:/a/b|0::/a|\nlimits=x\nuid=0"


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        (HERE, True),
        (b"cgroup=4:memory:/a/b/claude-code-bash|0::/a|\nlimits=x\nuid=0", True),
        (b"cgroup=4:memory:/a/b|0::/a/claude-code-bash|\nlimits=x\nuid=0", True),
        (b"cgroup=4:memory:/a/claude-code-bash|0::/a|\nlimits=x\nuid=0", True),
        (b"cgroup=4:memory:/c/claude-code-bash|0::/a|\nlimits=x\nuid=0", False),
        (b"cgroup=4:memory:/a/b/other|0::/a|\nlimits=x\nuid=0", False),
        (b"cgroup=4:memory:/a/b/claude-code-bash|0::/a|\nlimits=y\nuid=0", False),
        (b"cgroup=4:memory:/a/b/claude-code-bash|0::/z|\nlimits=x\nuid=0", False),
        (b"cgroup=4:memory:/a/b/claude-code-bash-2|0::/a|\nlimits=x\nuid=0", False),
        (b"", False),
    ],
)
def test_the_memory_group_of_the_host_and_nothing_else_is_taken_for_our_own_context(theirs, same):
    assert observe.same_context(theirs, HERE) is same


def test_what_stands_above_the_host_of_a_session_measures_no_call_of_it():
    """`time claude`, and in it a call that names no session (`env -i pytest`)."""
    host = observe.parent(os.getpid())
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._engine = SimpleNamespace(conversations={"s": SimpleNamespace(claude=SimpleNamespace(pid=host))})
    for session in ("s", None):
        assert supervisor._callers(os.getpid(), session) == ([], None)
