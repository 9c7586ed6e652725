"""Stretto installed by its own command line into a project, and sessions of the real Claude Code there, scripted by generators.

A script yields turns and is sent the results of the calls in the turn before; what stands between two turns runs while the model
"thinks", so a script waits for whatever has to have happened. Every session is looked at for what no session may ever show: a hook that
failed, printed an error, or answered a PreToolUse with anything at all (F36, F37: a command is never rewritten).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import stretto
from stretto import control, trust
from stretto.fold import Settled, State, fold
from stretto.journal import read
from stretto.model import AttemptSettled, LogEvent
from stretto.system import Process
from stretto.testing import history, room
from stretto.testing.api import Call, Request, ScriptedApi, ToolResult, Turn
from stretto.testing.claude import Home, Outcome, run
from stretto.testing.wait import wait_until

PACKAGE = Path(stretto.__file__).parent
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
LIMIT_S = 60.0
"""How long anything is waited for; only a failure takes so long."""

Script = Generator[Turn, list[ToolResult], None]


def played(script: Script) -> Callable[[dict[str, Any]], Turn]:
    """Return the function a `ScriptedApi` calls for each request."""
    begun: list[bool] = []

    def play(body: dict[str, Any]) -> Turn:
        try:
            if not begun:
                begun.append(True)
                return next(script)
            return script.send(Request(body, {}, 0.0).results())
        except StopIteration:
            return Turn(text="done")

    return play


def played_each(*scripts: Script) -> Callable[[dict[str, Any]], Turn]:
    """Return a function that plays one script to each session, in the order in which the sessions come."""
    left = iter(scripts)
    taken: dict[str, Callable[[dict[str, Any]], Turn]] = {}

    def play(body: dict[str, Any]) -> Turn:
        session = json.loads(body["metadata"]["user_id"])["session_id"]
        if session not in taken:
            taken[session] = played(next(left))
        return taken[session](body)

    return play


@dataclass(frozen=True)
class Seen:
    """A session that has ended."""

    outcome: Outcome
    api: ScriptedApi

    @property
    def texts(self) -> list[str]:
        """What the model got for each call, in order."""
        return [result.text for result in self.api.tool_results()]

    @property
    def errors(self) -> list[bool]:
        return [result.is_error for result in self.api.tool_results()]

    def hooks(self, event: str = "") -> list[dict[str, Any]]:
        """What the hooks answered, as Claude Code reports it."""
        found = [item for item in self.outcome.events() if item.get("subtype") == "hook_response"]
        return [item for item in found if event in ("", item["hook_event"])]

    def notices(self) -> list[str]:
        """The lines that hooks showed to the user."""
        answers = [json.loads(item["stdout"]) for item in self.hooks() if item["stdout"].startswith("{")]
        return [answer["systemMessage"] for answer in answers if "systemMessage" in answer]


class World:
    """One project and everything around it that a test may look at."""

    def __init__(self, short: Path, project: Path, base: Path, home: Home) -> None:
        self.short, self.root, self.base, self.home = short, project, base, home
        self.bin, self._counts = short / "bin", short / "counts"
        self.bin.mkdir()
        self._counts.mkdir()
        self.path = f"{self.bin}:{SYSTEM_PATH}"
        self.hold = short / "hold"
        """While it exists, the tools do not end."""
        self.source = project / "src.py"
        self.source.write_text("one\n")

    # --- what the session works with

    def tool(self, name: str, script: str = "", *, folder: Path | None = None) -> Path:
        """Put a tool on the PATH: prints src.py and the number of this run, waits for `hold`, then does `script`."""
        count = self._counts / name
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"#!/bin/sh\necho >> {count}\ncat {self.source}\nwhile [ -e {self.hold} ]; do sleep 0.05; done\n"
            f'echo "run $(wc -l < {count} | tr -d " ")"\n{script}\n'
        )
        path.chmod(0o755)
        return path

    def runs(self, name: str = "pytest") -> int:
        """How often the tool really ran."""
        count = self._counts / name
        return len(count.read_text().splitlines()) if count.exists() else 0

    def edit(self, old: str, new: str) -> Turn:
        """A turn that changes src.py with the Edit tool."""
        path = str(self.source)
        change = {"file_path": path, "old_string": old, "new_string": new}
        return Turn((Call("Read", {"file_path": path}), Call("Edit", change)))

    def cli(self, *words: str, cwd: Path | None = None, python: str = sys.executable, code: int = 0) -> str:
        """Run `stretto WORDS` as a user would and return what it printed."""
        env = {**os.environ, "HOME": str(self.home.path), "PYTHONPATH": str(PACKAGE.parent)}
        env.pop("CLAUDE_CONFIG_DIR", None)
        done = subprocess.run(
            [python, "-m", "stretto", *words], cwd=cwd or self.root, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == code, done
        return done.stdout

    def session(self, script: Script, *, agent_script: Sequence[Turn] = (), **options: Any) -> Seen:
        """Run one session with an API of its own to its end; `options` are those of `session_at`."""
        with ScriptedApi(played(script), agent_script=agent_script) as api:
            return self.session_at(api, **options)

    def api(self, *scripts: Script) -> ScriptedApi:
        """Return an API for several sessions: each plays the next script, a resumed one goes on with its own."""
        return ScriptedApi(played_each(*scripts))

    def session_at(
        self,
        api: ScriptedApi,
        *,
        cwd: Path | None = None,
        args: Sequence[str] = (),
        silent: bool = True,
        working_hooks: bool = True,
        **options: Any,
    ) -> Seen:
        """Run one session to its end. Sessions that shall share runs need one API: its address is in the environment of every command.

        Args:
            silent: no hook may tell the user anything.
            working_hooks: every hook must have succeeded.
        """
        outcome = run(
            "go",
            api=api,
            project=cwd or self.root,
            home=self.home,
            env={"PATH": self.path},
            output="stream-json",
            args=["--include-hook-events", *args],
            **options,
        )
        seen = Seen(outcome, api)
        assert outcome.code == 0, outcome.stderr
        unnoticed(seen, working_hooks=working_hooks)
        assert not silent or seen.notices() == []
        return seen

    # --- what Stretto did

    @property
    def paths(self) -> trust.ProjectPaths:
        return trust.ProjectPaths(base=str(self.base), key=trust.project_key(str(self.root)))

    def state(self) -> State:
        return fold(read(self.paths.folder))

    def events(self, kind: type[LogEvent]) -> list[Any]:
        return [event for _, event in read(self.paths.folder) if isinstance(event, kind)]

    def did(self) -> list[str]:
        """What was answered to each question so far."""
        return [join.do for join in self.state().joins]

    def why(self) -> list[tuple[str, str]]:
        return [(join.do, join.reason) for join in self.state().joins]

    def supervisor(self) -> Process:
        found = self.state().supervisor
        assert found is not None
        return Process(found.pid, found.start, found.boot)

    def settled(self, count: int, kind: str = "") -> None:
        """Wait until that many runs (of a kind) have been settled."""

        def enough() -> bool:
            attempts = [item for item in self.state().attempts.values() if kind in ("", item.kind)]
            return sum(isinstance(item.phase, Settled) for item in attempts) >= count

        wait_until(enough, LIMIT_S, f"{count} settled {kind} runs; so far {self.why()}")

    def when(self, condition: Callable[[], object], act: Callable[[], object]) -> None:
        """Do something as soon as a condition holds, while the session goes on."""

        def wait() -> None:
            wait_until(condition, LIMIT_S, f"the condition; so far {self.why()}")
            act()

        threading.Thread(target=wait, name="when", daemon=True).start()


def unnoticed(seen: Seen, *, working_hooks: bool) -> None:
    """Check what must hold in every session, whatever else happens in it."""
    for hook in seen.hooks():
        assert hook["exit_code"] != 2, hook
        assert not working_hooks or (hook["exit_code"], hook["stderr"], hook["outcome"]) == (0, "", "success"), hook
    for hook in seen.hooks("PreToolUse") + seen.hooks("PermissionRequest"):
        assert hook["stdout"] == "", hook
    assert "updatedInput" not in seen.outcome.stdout
    assert not working_hooks or "hook error" not in seen.outcome.stdout.lower() + seen.outcome.stderr.lower()


@pytest.fixture
def bare(short: Path, project: Path, state_base: Path, home: Home, waived: frozenset[str]) -> Iterator[World]:
    """A project without Stretto."""
    one = World(short, project, state_base, home)
    yield one
    if Path(one.paths.folder).is_dir():
        errors = Path(one.paths.supervisor_errors)
        print(errors.read_text() if errors.exists() else "the supervisor said nothing")
        print(*one.why(), *one.events(AttemptSettled), sep="\n")
        control.stop(one.paths)  # sooner than it would leave by itself
        found = history.check(history.load(one.paths.folder))
        assert "everything" in waived or [violation for violation in found if violation.kind not in waived] == []


@pytest.fixture
def world(bare: World) -> World:
    """A project with Stretto and a tool named pytest."""
    bare.tool("pytest")
    bare.cli("init", "--yes")
    room.whatever_else_runs(bare.base)
    return bare
