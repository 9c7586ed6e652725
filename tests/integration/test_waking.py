"""The watcher of an idle session: who it waits for, whom it lets go, and that it outlives nobody (F14, F22)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.conftest import SESSION, Bench
from stretto import control, install, journal
from stretto.errors import UnavailableError
from stretto.model import ENCODER, FORMAT_VERSION, BlockCleared, BlockRaised, GateDecided, SessionWoken
from stretto.system import boot_id, identify, lives, mono_s, wall_s
from stretto.testing.wait import wait_until

LIMIT_S = 20.0


class Watcher:
    """A process that waits to wake the session, as the host starts it."""

    def __init__(self, bench: Bench, *, attended: str = "1", parent: str = "") -> None:
        entries = install.entries_of(next(item for item in install.EVENTS if item.name == "Stop"), install.wiring(str(bench.base)))
        entry = entries[1]
        argv = [entry["command"], *entry["args"]]
        if parent:
            argv = [sys.executable, "-c", parent, *argv]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**bench.env, "CLAUDE_CODE_SESSION_ATTENDED": attended},
            cwd=bench.root,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"session_id": SESSION, "hook_event_name": "Stop"}).encode())
        self.process.stdin.close()
        self.process.stdin = None

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit code and what it says on stderr."""
        self.process.wait(LIMIT_S)
        out, said = self.process.communicate(timeout=LIMIT_S)
        assert out == b""
        return self.process.returncode, said.decode()


def raised(bench: Bench, scope: str = "stop", ttl_s: float = 600.0, name: str = "") -> str:
    block = name or os.urandom(8).hex()
    fields = {"v": FORMAT_VERSION, "ts": wall_s(), "mono": mono_s(), "boot": boot_id(), "by": f"cli:{os.getpid()}"}
    log = journal.Journal(bench.paths.folder)
    log.append(ENCODER.encode(BlockRaised(**fields, block=block, scope=scope, reason="wait for the migration", ttl_s=ttl_s)))  # type: ignore[arg-type]
    log.close()
    with contextlib.suppress(UnavailableError):  # nobody is there: the next supervisor reads it
        control.ask(bench.paths, {"op": b"look"})
    return block


@pytest.fixture
def watch(idle: Bench) -> Iterator[Callable[..., Watcher]]:
    """Starts watchers of the idle session, and ends those that a test left."""
    begun: list[Watcher] = []

    def begin(**how: str) -> Watcher:
        begun.append(Watcher(idle, **how))
        return begun[-1]

    yield begin
    for watcher in begun:
        if watcher.process.returncode is None:
            watcher.process.kill()
            watcher.process.communicate(timeout=LIMIT_S)


@pytest.fixture
def idle(bench: Bench) -> Bench:
    """A session whose turn has ended."""
    bench.begin()
    bench.hook("UserPromptSubmit", prompt="go")
    assert bench.hook("Stop", stop_hook_active=False).returncode == 0
    return bench


def test_a_block_wakes_an_idle_session_once_with_its_reason(idle, watch):
    watcher = watch()
    block = raised(idle)
    code, said = watcher.ended()
    assert code == 2
    assert "wait for the migration" in said and block in said
    (woken,) = idle.events(SessionWoken)
    assert woken.block == block


def test_a_block_of_commits_wakes_nobody_and_one_of_everything_does(idle, watch):
    watcher = watch()
    wait_until(lambda: idle.ask(op=b"status"), LIMIT_S, "an answer")
    raised(idle, "commit")
    block = raised(idle, "all")
    code, said = watcher.ended()
    assert (code, block in said) == (2, True)
    assert [event.block for event in idle.events(SessionWoken)] == [block]


def test_a_session_that_was_told_of_a_block_at_its_turns_end_is_not_woken_for_it(idle, watch):
    idle.hook("UserPromptSubmit", prompt="again")
    told = raised(idle)
    assert b"additionalContext" in idle.hook("Stop", stop_hook_active=False).stdout
    assert idle.hook("Stop", stop_hook_active=True).stdout == b""
    watcher = watch()
    other = raised(idle)
    code, said = watcher.ended()
    assert (code, other in said, told in said) == (2, True, False)


def test_without_a_person_to_wake_a_watcher_ends_at_once(idle, watch):
    """In `claude -p` the host would wait for it."""
    assert watch(attended="0").ended() == (0, "")
    assert watch(attended="").ended() == (0, "")


def test_a_later_watcher_lets_the_earlier_one_go(idle, watch):
    """Each turn's end brings one; one of them waits."""
    first = watch()
    second = watch()
    earlier, later = (
        (first, second) if wait_until(lambda: _one_ended(first, second), LIMIT_S, "one to be let go") is first else (second, first)
    )
    assert earlier.ended() == (0, "")
    raised(idle)
    assert later.ended()[0] == 2


def _one_ended(*watchers: Watcher) -> Watcher | None:
    return next((watcher for watcher in watchers if watcher.process.poll() is not None), None)


def test_f14_the_end_of_its_session_lets_a_watcher_go(idle, watch):
    watcher = watch()
    idle.hook("SessionEnd", reason="exit")
    assert watcher.ended() == (0, "")


def test_f14_the_death_of_the_supervisor_and_of_the_host_leaves_no_watcher(idle, watch, short):
    """The host is gone without a word: with no supervisor either, nobody else would end it."""
    mark = short / "watcher"
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['CLAUDE_PID'] = str(os.getpid())\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=0)\n"
        f"open({str(mark)!r} + '.new', 'w').write(str(child.pid)); os.rename({str(mark)!r} + '.new', {str(mark)!r})\n"
        "child.wait()\n"
    )
    watcher = watch(parent=parent)
    wait_until(mark.exists, LIMIT_S, "the watcher")
    child = identify(int(mark.read_text()))
    assert child is not None
    os.kill(idle.supervisor().pid, signal.SIGKILL)
    watcher.process.kill()
    watcher.ended()
    wait_until(lambda: not lives(child), LIMIT_S, "the end of the watcher")


def test_f22_a_block_raised_while_no_supervisor_lives_is_told_at_the_next_turns_end(idle, watch):
    """The log is the truth: what was raised meanwhile counts, and what was over meanwhile holds nobody."""
    os.kill(idle.supervisor().pid, signal.SIGKILL)
    raised(idle, ttl_s=600.0)
    idle.hook("UserPromptSubmit", prompt="again")
    assert b"wait for the migration" in idle.hook("Stop", stop_hook_active=False).stdout
    assert [(event.do, event.rule) for event in idle.events(GateDecided)][-1] == ("continue", "block")


def test_a_block_ends_by_its_own_time_and_that_is_written_down(idle, watch):
    block = raised(idle, ttl_s=1.0)
    (cleared,) = wait_until(lambda: idle.events(BlockCleared), LIMIT_S, "the end of the block")
    assert (cleared.block, cleared.how) == (block, "expired")
    idle.hook("UserPromptSubmit", prompt="again")
    assert idle.hook("Stop", stop_hook_active=False).stdout == b""


def test_the_same_block_raised_by_two_at_once_is_one(idle, watch):
    raised(idle, name="0123456789abcdef")
    raised(idle, name="0123456789abcdef")
    idle.hook("UserPromptSubmit", prompt="again")
    assert idle.hook("Stop", stop_hook_active=False).stdout.count(b"wait for the migration") == 1
    assert [event.blocks for event in idle.events(GateDecided)][-1] == ("0123456789abcdef",)


def test_state_of_a_watcher_is_nowhere_on_disk(idle, watch):
    """Who waits is known by the connection alone, so it cannot be wrong after a crash."""
    before = sorted(path.name for path in Path(idle.paths.folder).iterdir())
    watcher = watch()
    raised(idle)
    watcher.ended()
    assert sorted(path.name for path in Path(idle.paths.folder).iterdir()) == before
