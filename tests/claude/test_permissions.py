"""Permission parity (B-4, F37, F38): whether a command runs, is asked about or is refused is the host's business, with Stretto as without.

Stretto neither rewrites a command nor answers a permission question, so every cell of {deny, ask, allow, no rule} x {permission modes} has
to come out the same: as a miss, when a finished result is there to be joined, and when the hook client breaks in mid-session. One session
without Stretto for each mode is what the others are compared with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import stretto
from stretto import install, trust
from stretto.fold import Job, State, fold
from stretto.journal import read
from stretto.model import AttemptStarted, JoinDecided, TreeMoved
from stretto.testing import leftovers
from stretto.testing.api import Call, ScriptedApi, Turn, bash
from stretto.testing.claude import Home, Outcome, StreamSession, run
from stretto.testing.terminal import Interactive
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow, pytest.mark.timeout(600)]

KINDS = ("deny", "ask", "allow", "none")
MODES = ("default", "acceptEdits", "dontAsk", "plan", "bypassPermissions")
SITUATIONS = ("miss", "hit", "broken-miss", "broken-hit")
RULES = {kind: [f"Bash(pytest {kind}:*)"] for kind in KINDS if kind != "none"}
PYTEST = """\
#!/bin/sh
echo "$*" >>"$HOME/runs"
case "$*" in *slow*) sleep 0.6 ;; *quick*) sleep 0.3 ;; esac
echo "pytest ran: $*"
"""
NOTE_HOOK = "import os,sys; f=os.open(sys.argv[1], os.O_WRONLY|os.O_APPEND|os.O_CREAT); os.write(f, sys.stdin.buffer.read().strip()+b'\\n')"
LIMIT_S = 60.0


class Ground:
    """A project, a home and a fake pytest; with an installation of Stretto of its own that can be broken."""

    def __init__(self, place: Path) -> None:
        self.place, self.root, self.base = place, place / "p", place / "s"
        self.home = Home(place / "h")
        self.notes = place / "notes"
        (self.root / ".claude").mkdir(parents=True)
        (self.root / "src.py").write_text("one\n")
        (self.root / "sub").mkdir()
        (self.root / "sub" / "keep").write_text("")
        for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "first"]):
            subprocess.run(["git", *words], cwd=self.root, check=True)
        tool = place / "t" / "pytest"
        tool.parent.mkdir()
        tool.write_text(PYTEST)
        tool.chmod(0o755)
        self.env = {"PATH": f"{tool.parent}:/usr/bin:/bin"}
        self.api = ScriptedApi(lambda body: self.script(body))
        """One for all sessions: its address is in their environment, and another environment is another command."""
        self.script: Callable[[dict], Turn] = lambda body: Turn(text="done")
        self._package = place / "package" / "stretto"
        shutil.copytree(Path(stretto.__file__).parent, self._package, ignore=shutil.ignore_patterns("__pycache__"))

    # --- Stretto

    def install(self) -> None:
        trust.grant(str(self.root), "on", None, base=str(self.base), python=sys.executable)
        wired = replace(install.wiring(str(self.base)), islands=str(self._package))
        install.perform(install.plan_init(self._settings, wired))

    def uninstall(self) -> None:
        install.perform(install.plan_uninstall(self._settings))

    @property
    def _settings(self) -> str:
        return install.settings_path(str(self.root), "local")

    def break_client(self) -> None:
        """From now on every hook meets a client that tries to block as soon as it is read."""
        (self._package / "client.py").write_text("raise SystemExit(2)\n")

    def mend_client(self) -> None:
        shutil.copy(Path(stretto.__file__).parent / "client.py", self._package)

    def paths(self) -> trust.ProjectPaths:
        return trust.ProjectPaths(base=str(self.base), key=trust.project_key(str(self.root)))

    def state(self) -> State:
        return fold(read(self.paths().folder))

    def events(self, kind: type) -> list:
        return [event for _, event in read(self.paths().folder) if isinstance(event, kind)]

    def decisions(self, session: str) -> dict[str, str]:
        """What was answered to the questions of one session, by the command's arguments (the last one counts)."""
        jobs = self.state().jobs
        return {" ".join(jobs[e.job].argv[1:]): f"{e.do}: {e.reason}" for e in self.events(JoinDecided) if e.session == session}

    def job(self, arguments: str) -> Job:
        (found,) = [job for job in self.state().jobs.values() if " ".join(job.argv[1:]) == arguments]
        return found

    def ahead(self) -> list[str]:
        """The arguments of everything that was ever started ahead."""
        jobs = self.state().jobs
        return [" ".join(jobs[event.job].argv[1:]) for event in self.events(AttemptStarted) if event.kind == "ahead"]

    def settled(self) -> bool:
        return all(type(attempt.phase).__name__ == "Settled" for attempt in self.state().attempts.values())

    # --- the host

    def settings(self, **permissions: list[str]) -> dict[str, object]:
        """Rules, and a hook that notes every permission question and every command as the host hands it to hooks."""
        entry = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", NOTE_HOOK, str(self.notes)], "timeout": 20}
        return {"permissions": permissions, "hooks": {event: [{"hooks": [entry]}] for event in ("PreToolUse", "PermissionRequest")}}

    def noted(self, event: str) -> list[str]:
        lines = self.notes.read_text(encoding="utf-8").splitlines() if self.notes.exists() else []
        return [note["tool_input"].get("command", "") for note in map(json.loads, lines) if note["hook_event_name"] == event]

    def session(self, commands: list[str], mode: str, *, before: Callable[[], None] = lambda: None, **permissions: list[str]) -> Session:
        """Run one `claude -p` that calls Bash with each command; `before` happens between its start and the first call."""
        self.notes.unlink(missing_ok=True)
        steps = iter([Turn((Call("Bash", {"command": command}, id=f"toolu_{number:03d}"),)) for number, command in enumerate(commands)])
        first = iter([before])

        def script(body: dict) -> Turn:
            next(first, lambda: None)()
            return next(steps, Turn(text="done"))

        self.script = script
        how = {"permission_mode": mode, "settings": self.settings(**permissions), "env": self.env}
        outcome = run("go", api=self.api, project=self.root, home=self.home, limit_s=240, **how)
        assert outcome.code == 0, outcome
        session = outcome.session_id()
        found = {r.tool_use_id: r for request in self.api.main_requests() if request.session == session for r in request.results()}
        results = list(found.values())
        assert len(results) == len(commands), results
        assert self.noted("PreToolUse") == commands
        asked, denied = self.noted("PermissionRequest"), {item["tool_use_id"] for item in outcome.json()["permission_denials"]}
        cells = {
            command: Cell("pytest ran:" in result.text, result.text, result.is_error, command in asked, result.tool_use_id in denied)
            for command, result in zip(commands, results, strict=True)
        }
        return Session(cells, outcome)


@dataclass(frozen=True)
class Cell:
    """The outcome of one Bash call."""

    ran: bool
    text: str
    is_error: bool
    asked: bool
    denied: bool


@dataclass(frozen=True)
class Session:
    cells: dict[str, Cell]
    outcome: Outcome


def fresh_ground() -> Iterator[Ground]:
    place = Path(os.path.realpath(tempfile.mkdtemp(prefix="st-")))
    ground = Ground(place)
    with ground.api:
        yield ground
    leftovers.end(str(place))
    shutil.rmtree(place, ignore_errors=True)


# --- the matrix


class Matrix:
    """The sessions of the matrix, each run once, when the first cell of its mode is looked at."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._native: dict[str, Session] = {}
        self._with: dict[str, Session] = {}
        self._broken: dict[str, Session] = {}
        self._decisions: dict[str, dict[str, str]] = {}
        """What the shims of each session were answered; the state directory is made anew for each mode."""

    @staticmethod
    def command(kind: str, situation: str) -> str:
        return f"pytest {kind} {situation}"

    def run(self, mode: str) -> None:
        if mode in self._native:
            return
        ground = self._ground
        commands = [self.command(kind, situation) for situation in SITUATIONS for kind in KINDS]
        half = len(commands) // 2
        self._native[mode] = ground.session(commands, mode, **RULES)
        shutil.rmtree(ground.base, ignore_errors=True)
        ground.install()
        try:
            finished = [self.command(kind, situation) for situation in SITUATIONS if "hit" in situation for kind in KINDS]
            prepared = ground.session(finished, "bypassPermissions")
            assert all(cell.ran and not cell.asked for cell in prepared.cells.values())
            wait_until(ground.settled, LIMIT_S, "results of all prepared commands")
            self._with[mode] = ground.session(commands[:half], mode, **RULES)
            self._broken[mode] = ground.session(commands[half:], mode, before=ground.break_client, **RULES)
            for session in (self._with[mode], self._broken[mode]):
                key = session.outcome.session_id()
                self._decisions[key] = ground.decisions(key)
        finally:
            ground.mend_client()
            ground.uninstall()
            shutil.copytree(ground.base, f"/tmp/ph/{mode}", dirs_exist_ok=True, ignore=shutil.ignore_patterns("s")); leftovers.end(str(ground.base))

    def native(self, mode: str, kind: str, situation: str) -> Cell:
        self.run(mode)
        return self._native[mode].cells[self.command(kind, situation)]

    def observed(self, mode: str, kind: str, situation: str) -> tuple[Cell, str]:
        """Return the outcome with Stretto and what the shim was told to do ("" when it never asked)."""
        self.run(mode)
        session = (self._broken if situation.startswith("broken") else self._with)[mode]
        command = self.command(kind, situation)
        return session.cells[command], self._decisions[session.outcome.session_id()].get(command.removeprefix("pytest "), "")


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    for ground in fresh_ground():
        yield Matrix(ground)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_a_rule_in_a_mode_has_the_outcome_it_has_without_stretto(matrix: Matrix, mode: str, kind: str, situation: str):
    """B-4, F37, F38: ran or refused, the text the model gets, whether a question was put, what the result counts as denied."""
    cell, do = matrix.observed(mode, kind, situation)
    assert cell == matrix.native(mode, kind, situation)
    if not cell.ran:
        assert do == "", "a command that was refused never reached us"
    else:
        assert do.startswith("replay" if "hit" in situation else "record"), do
