"""The hunt's machine shows of processes what the real one does: a session of both is built alike, and the same ones are found by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hunt.place import Place
from hunt.stage import Ground, Session, Stage
from stretto import observe
from stretto.model import SessionId
from stretto.system import LINUX
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="processes are looked for in /proc")

HOST = """
import os, subprocess, sys
env = dict(os.environ, CLAUDE_CODE_SESSION_ID="s1")
shell = subprocess.Popen(["sh", "-c", sys.argv[1]], env=env, start_new_session=True)
print(shell.pid, flush=True)
sys.stdin.read()
"""
CALL = "sleep 301 & (sleep 302 &) ; sleep 303; :"
"""A call that has started one beside it, left one to init, and waits for a third."""
NAMES = {"sh", "sleep 301", "sleep 302", "sleep 303"}


def named(pids: set[int]) -> set[str]:
    """Return what the found ones of the call are called."""
    found = {pid: observe.arguments(pid) or ("",) for pid in pids}
    return {"sh" if argv[0] == "sh" else " ".join(argv) for argv in found.values()} & NAMES


@contextmanager
def real_session() -> Iterator[tuple[int, int]]:
    """Have a host and the shell of its call; end all of it."""
    with subprocess.Popen([sys.executable, "-c", HOST, CALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        shell = int(host.stdout.readline())

        def all_of_it() -> set[int]:
            return set(observe.survivors(host.pid, ("s1",), 0, {1, *observe.ancestors(host.pid)}, {shell}, orphans=True))

        try:
            wait_until(lambda: named(all_of_it()) == NAMES)
            yield host.pid, shell
        finally:
            for pid in all_of_it():
                os.kill(pid, signal.SIGKILL)
            assert host.stdin is not None
            host.stdin.close()


def staged_session(short: Path) -> tuple[Stage, Ground, Session, int, dict[int, str]]:
    stage = Stage(1, Place(short, git=False))
    session = Session("s1", stage.process("claude"))
    shell = stage.shell(session, CALL)
    names = {shell.pid: "sh"}
    for number, parent in ((301, shell.pid), (302, 1), (303, shell.pid)):
        being = stage.process("sleep", shell.pid)
        stage.parents[being.pid] = parent
        names[being.pid] = f"sleep {number}"
    return stage, Ground(stage), session, shell.pid, names


@pytest.mark.parametrize("orphans", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_what_a_call_left_running_is_found_alike(short, known, orphans):
    """known: the host's process is."""
    _, ground, session, shell, names = staged_session(short)
    claude = session.claude.identity if known else None
    staged = {names[pid] for pid in ground.survivors((SessionId("s1"),), claude, 0, {shell}, orphans=orphans)}
    with real_session() as (host, real_shell):
        adopters = {1, *observe.ancestors(host)}
        found = observe.survivors(host if known else 0, ("s1",), 0, adopters, {real_shell}, orphans=orphans)
        assert named(set(found)) == staged
        assert staged


def test_who_stands_above_is_told_alike(short):
    stage, _, _, _, names = staged_session(short)
    last = next(pid for pid, name in names.items() if name == "sleep 303")
    staged = [names.get(pid, "claude") for pid in stage.above(last) if pid > 1]
    with real_session() as (host, real_shell):
        child = next(pid for pid in observe.descendants(real_shell) if observe.arguments(pid) == ("sleep", "303"))
        above = [pid for pid in observe.ancestors(child) if pid in (real_shell, host)]
        assert [{real_shell: "sh", host: "claude"}[pid] for pid in above] == staged
