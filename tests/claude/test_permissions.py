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
from stretto.testing import leftovers, room
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
        room.whatever_else_runs(self.base)
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
    place = Path(os.path.realpath(tempfile.mkdtemp(prefix="")))
    ground = Ground(place)
    with ground.api:
        yield ground
    leftovers.end(str(place))
    shutil.rmtree(place, ignore_errors=True)


# --- the matrix


class Matrix:
    """The sessions: one without Stretto for each mode, then, beside results that are finished, one with it and a broken one."""

    def __init__(self, ground: Ground) -> None:
        self.native = {mode: ground.session(commands(mode, SITUATIONS), mode, **RULES) for mode in MODES}
        ground.install()
        finished = [command(kind, situation, "") for situation in SITUATIONS if "hit" in situation for kind in KINDS]
        prepared = ground.session(finished, "bypassPermissions")
        assert all(cell.ran and not cell.asked for cell in prepared.cells.values())
        wait_until(ground.settled, LIMIT_S, "results of all prepared commands")
        self.whole = {mode: ground.session(commands(mode, SITUATIONS[:2]), mode, **RULES) for mode in MODES}
        self.broken: dict[str, Session] = {}
        for mode in MODES:
            self.broken[mode] = ground.session(commands(mode, SITUATIONS[2:]), mode, before=ground.break_client, **RULES)
            ground.mend_client()
        sessions = (*self.whole.values(), *self.broken.values())
        self._decisions = {session.outcome.session_id(): ground.decisions(session.outcome.session_id()) for session in sessions}

    def observed(self, mode: str, kind: str, situation: str) -> tuple[Cell, str]:
        """Return the outcome with Stretto and what the shim was told to do ("" when it never asked)."""
        session = (self.broken if situation.startswith("broken") else self.whole)[mode]
        text = command(kind, situation, mode)
        return session.cells[text], self._decisions[session.outcome.session_id()].get(text.removeprefix("pytest "), "")


def command(kind: str, situation: str, mode: str) -> str:
    """The command of one cell; what is to be a miss is another one in each mode."""
    return f"pytest {kind} {situation}" + ("" if "hit" in situation else f" {mode}")


def commands(mode: str, situations: tuple[str, ...]) -> list[str]:
    return [command(kind, situation, mode) for situation in situations for kind in KINDS]


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
    assert cell == matrix.native[mode].cells[command(kind, situation, mode)]
    if not cell.ran:
        assert do == "", "a command that was refused never reached us"
    else:
        # With a broken hook no call is announced: it runs, and neither is it recorded nor anything joined.
        assert do.startswith("exec:" if "broken" in situation else "replay:" if "hit" in situation else "record:"), do


@pytest.mark.parametrize("mode", MODES)
def test_a_session_ends_with_the_code_it_has_without_stretto(matrix: Matrix, mode: str):
    """B-4: Claude Code itself ends with 1 when nothing of what it tried was allowed."""
    assert {matrix.whole[mode].outcome.code, matrix.broken[mode].outcome.code} == {matrix.native[mode].outcome.code}


def test_the_matrix_holds_commands_that_ran_and_commands_that_did_not(matrix: Matrix):
    """The comparison above says something only where the rules make a difference."""
    ran = {(mode, kind) for mode in MODES for kind in KINDS if matrix.native[mode].cells[command(kind, "hit", mode)].ran}
    assert {kind for mode, kind in ran if mode == "default"} == {"allow"}
    assert {kind for mode, kind in ran if mode == "bypassPermissions"} >= {"allow", "none"}
    assert "deny" not in {kind for _, kind in ran}


@pytest.fixture
def ground() -> Iterator[Ground]:
    yield from fresh_ground()


def test_a_finished_result_gets_no_form_of_a_denied_command_past_its_rule(ground: Ground):
    """B-4: `Bash(pytest:*)` denied, a finished pytest result at hand for every form; natively and with Stretto the same."""
    forms = ["pytest -q", "cd sub && pytest -q", "pytest -q 2>&1 | tail -1", "X=1 pytest -q", "timeout 60 pytest -q", "true; pytest -q"]
    rule = {"deny": ["Bash(pytest:*)"]}
    native = ground.session(forms, "bypassPermissions", **rule)
    ground.install()
    prepared = ground.session(forms, "bypassPermissions")
    assert all(cell.ran for cell in prepared.cells.values())
    wait_until(ground.settled, LIMIT_S, "results of all prepared commands")
    denied = ground.session(forms, "bypassPermissions", **rule)
    assert denied.cells == native.cells
    assert [form for form, cell in denied.cells.items() if cell.ran or not cell.denied] == []
    again = ground.session(forms[:1], "bypassPermissions")
    assert ground.decisions(again.outcome.session_id())["-q"].startswith("replay:"), "there was a result to be joined"


# --- questions put to a person


def asked_for(ground: Ground, text: str) -> tuple[str, str]:
    """Let the terminal interface ask about a command and approve it once: the question as it was put, and what the model got."""
    steps = iter([Turn((Call("Bash", {"command": text, "description": "check"}, id="toolu_q"),)), Turn(text="all finished")])
    ground.script = lambda body: next(steps)
    with Interactive(api=ground.api, project=ground.root, home=ground.home, env=ground.env, settings=ground.settings()) as terminal:
        terminal.wait_for("❯", LIMIT_S)
        terminal.send("go on")
        terminal.wait_for("Do you want to", LIMIT_S)
        question = terminal.approve()
        terminal.wait_for("all finished", LIMIT_S)
        (result,) = ground.api.main_requests()[-1].results()
    return question, result.text


def test_the_question_shows_the_command_as_it_was_written(ground: Ground):
    """B-4, F38: with a result to be joined, the person is asked the same question about the same text, and gets the same bytes."""
    pytest.importorskip("pyte")
    text = "pytest -q 2>&1 | tail -1"
    native = asked_for(ground, text)
    ground.install()
    ground.session([text], "bypassPermissions")
    wait_until(ground.settled, LIMIT_S, "its result")
    assert asked_for(ground, text) == native
    assert text in native[0]
    assert native[1] == "pytest ran: -q"
    assert [event.do for event in ground.events(JoinDecided)] == ["record", "replay"]


def edit(old: str, new: str, path: Path) -> list[Turn]:
    return [
        Turn((Call("Read", {"file_path": str(path)}),)),
        Turn((Call("Edit", {"file_path": str(path), "old_string": old, "new_string": new}),)),
    ]


def test_what_was_approved_once_does_not_run_ahead_after_an_edit(ground: Ground):
    """B-4: one approval is no standing one. Beside it a command with an allow rule does run ahead, so there was time to."""
    pytest.importorskip("pyte")
    ground.install()

    def ran_ahead() -> bool:
        return any(attempt.kind == "ahead" and type(attempt.phase).__name__ == "Settled" for attempt in ground.state().attempts.values())

    def after_the_edit(body: dict) -> Turn:
        wait_until(ran_ahead, LIMIT_S, "the ahead run of what is allowed")
        return Turn(text="all finished")

    calls = [bash("pytest approved slow"), bash("pytest allow quick"), *edit("one", "two", ground.root / "src.py")]
    steps = iter([lambda body, turn=turn: turn for turn in calls] + [after_the_edit])
    ground.script = lambda body: next(steps)(body)
    rules = ground.settings(allow=["Bash(pytest allow:*)", "Edit"])
    with Interactive(api=ground.api, project=ground.root, home=ground.home, env=ground.env, settings=rules) as terminal:
        terminal.wait_for("❯", LIMIT_S)
        terminal.send("go on")
        terminal.wait_for("Do you want to", LIMIT_S)
        assert "pytest approved slow" in terminal.approve()
        terminal.wait_for("all finished", 2 * LIMIT_S)
    assert (ground.root / "src.py").read_text() == "two\n"
    assert ground.noted("PermissionRequest") == ["pytest approved slow"]
    assert ground.job("approved slow").asked
    assert not ground.job("allow quick").asked
    assert set(ground.ahead()) == {"allow quick"}
    assert (ground.home.path / "runs").read_text().count("approved slow") == 1


def test_an_approval_that_no_hook_of_ours_saw_is_no_standing_one(ground: Ground):
    """B-4: the hook client breaks before the question; what was approved then does not run ahead once it is mended."""
    pytest.importorskip("pyte")
    ground.install()

    def after(act: Callable[[], None], turn: Turn) -> Callable[[dict], Turn]:
        def step(body: dict) -> Turn:
            act()
            return turn

        return step

    def after_the_edit(body: dict) -> Turn:
        wait_until(lambda: "allow quick" in ground.ahead(), LIMIT_S, "the ahead run of what is allowed")
        wait_until(ground.settled, LIMIT_S, "its end")
        return Turn(text="all finished")

    steps = iter(
        [
            after(ground.break_client, bash("pytest approved slow")),
            after(ground.mend_client, bash("pytest allow quick")),
            *(lambda body, turn=turn: turn for turn in edit("one", "two", ground.root / "src.py")),
            after_the_edit,
        ]
    )
    ground.script = lambda body: next(steps)(body)
    rules = ground.settings(allow=["Bash(pytest allow:*)", "Edit"])
    with Interactive(api=ground.api, project=ground.root, home=ground.home, env=ground.env, settings=rules) as terminal:
        terminal.wait_for("❯", LIMIT_S)
        terminal.send("go on")
        terminal.wait_for("Do you want to", LIMIT_S)
        terminal.approve()
        terminal.wait_for("all finished", 2 * LIMIT_S)
    assert ground.job("approved slow").foreground_runs == 0, "no hook announced it"
    assert set(ground.ahead()) == {"allow quick"}


# --- modes


def moved(ground: Ground, text: str) -> None:
    """Change a source and wait until the supervisor has gone round with it: a later change is seen only after the plan for this one."""
    for number in range(3):
        before = len(ground.events(TreeMoved))
        (ground.root / "src.py").write_text(f"{text} {number}\n")
        wait_until(lambda before=before: len(ground.events(TreeMoved)) > before, LIMIT_S, "the change seen")


@pytest.mark.parametrize("stricter", ["default", "acceptEdits", "plan", "dontAsk"])
def test_nothing_runs_ahead_after_the_mode_became_stricter(ground: Ground, stricter: str):
    """B-4: run without a question in bypass mode, where it runs ahead; then the same session in a stricter mode, where it does not."""
    ground.install()
    once = {"n": 0}

    def waits_for_ahead(body: dict) -> Turn:
        moved(ground, "lax")
        wait_until(lambda: ground.ahead(), LIMIT_S, "a run ahead in bypass mode")
        wait_until(ground.settled, LIMIT_S, "its end")
        return Turn(text="first")

    def moves(body: dict) -> Turn:
        once["n"] = len(ground.ahead())
        moved(ground, stricter)
        return Turn(text="second")

    read_it = Turn((Call("Read", {"file_path": str(ground.root / "src.py")}),))
    steps = iter([lambda body: bash("pytest -q quick"), waits_for_ahead, lambda body: read_it, moves])
    ground.script = lambda body: next(steps)(body)
    with StreamSession(api=ground.api, project=ground.root, home=ground.home, env=ground.env, settings=ground.settings()) as session:
        assert session.ask("one", 2 * LIMIT_S)["result"] == "first"
        change_mode(session, stricter)
        assert session.ask("two", 2 * LIMIT_S)["result"] == "second"
        assert session.close().code == 0
    assert once["n"] >= 1
    assert len(ground.ahead()) == once["n"]


def change_mode(session: StreamSession, mode: str) -> None:
    """Change the permission mode of a session under way, as an SDK does."""
    assert session.process.stdin is not None
    request = {"type": "control_request", "request_id": "mode", "request": {"subtype": "set_permission_mode", "mode": mode}}
    session.process.stdin.write(json.dumps(request).encode() + b"\n")
    session.process.stdin.flush()

    def answered() -> bool:
        answers = [event["response"] for event in list(session.events) if event.get("type") == "control_response"]
        assert not answers or answers[0]["subtype"] == "success", answers
        return bool(answers)

    wait_until(answered, LIMIT_S, f"the change to {mode}")


def test_nothing_runs_ahead_in_plan_mode_or_in_a_new_session_that_begins_stricter(ground: Ground):
    """B-4: the approval of an earlier session in bypass mode is none for one in plan mode or in default mode."""
    ground.install()
    ground.session(["pytest -q quick"], "bypassPermissions")
    wait_until(ground.settled, LIMIT_S, "its result")
    for mode in ("plan", "default"):
        read_it = Turn((Call("Read", {"file_path": str(ground.root / "src.py")}),))

        def moves(body: dict, mode: str = mode) -> Turn:
            moved(ground, mode)
            return Turn(text="done")

        steps = iter([lambda body, turn=read_it: turn, moves])
        ground.script = lambda body, steps=steps: next(steps)(body)
        assert run("go", api=ground.api, project=ground.root, home=ground.home, env=ground.env, permission_mode=mode).code == 0
        assert ground.ahead() == []
