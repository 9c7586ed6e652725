"""Performs the demo: both halves on one stage, and the report.

Hides the temporary directory, the closed network and the reading of Stretto's log. Promises: everything but the downloaded archive and
the picture asked for lies in one temporary directory, which is removed at the end; no process of the demo outlives it; neither the
user's home nor their Stretto state is read or written; the two halves differ in one thing, `stretto init`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import stretto
from stretto import journal
from stretto.demo import project as sources
from stretto.demo import script
from stretto.demo.session import Ahead, Part, Sameness, Session, Step, Way, compare, critical_path_s
from stretto.errors import UnavailableError, UserError
from stretto.model import (
    AttemptExited,
    AttemptId,
    AttemptStarted,
    Bad,
    JobKey,
    JobSeen,
    JoinDecided,
    LogEvent,
    NewsTold,
    SupervisorStarted,
)
from stretto.system import Process, lives, mono_s, signal_process
from stretto.testing import room
from stretto.testing.api import Request, ScriptedApi
from stretto.testing.claude import Home, find_binary, find_shell, run
from stretto.testing.netns import isolate

SESSION_LIMIT_S = 900.0
COMMAND_LIMIT_S = 60.0
LEAVE_LIMIT_S = 10.0
"""How long the supervisor may take to leave after `stretto uninstall`."""
REST_LIMIT_S = 300.0
"""How long it may take to leave by itself after a session's end."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a session plays: one temporary directory with a home, a state directory and the project in it."""

    folder: Path
    name: str
    """What the project's folder is called."""
    create: Callable[[Path], object]
    """Makes the project anew, as published, at the path it is given."""
    surroundings: Callable[[Path], Mapping[str, str]]
    """Returns what a session in the project at that path needs in its environment."""

    @property
    def project(self) -> Path:
        return self.folder / "work" / self.name

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environment(self) -> dict[str, str]:
        """Return what is added to the environment of a session."""
        return {**self.surroundings(self.project), "STRETTO_STATE_DIR": str(self.state)}

    def prepare(self) -> Home:
        """Make the project anew, as published, and return a home nobody has used."""
        self.create(self.project)
        return self.new_home()

    def new_home(self) -> Home:
        """Return a home nobody has used, in which the project is trusted."""
        shutil.rmtree(self.folder / "home", ignore_errors=True)
        room.whatever_else_runs(self.state)  # what is shown is what runs ahead, and a machine that is not idle shows it, too
        home = Home(self.folder / "home")
        home.trust(self.project)
        return home

    def stretto(self, *arguments: str) -> str:
        """Call the command line in the project, return what it says.

        Raises:
            UnavailableError: it failed.
        """
        env = {**self.environment(), "HOME": str(self.folder / "home"), "LANG": "C.UTF-8"}
        env["PYTHONPATH"] = str(Path(stretto.__file__).parents[1])  # where this very package is, installed or not
        command = [sys.executable, "-m", "stretto", *arguments]
        done = subprocess.run(
            command, cwd=self.project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_LIMIT_S
        )
        if done.returncode != 0:
            raise UnavailableError(f"cannot run stretto {' '.join(arguments)}: exit {done.returncode}, {done.stderr.strip()[-500:]}")
        return done.stdout

    def log(self) -> list[LogEvent]:
        """Return the events of the project's log, in order; [] when there is none."""
        return [event for folder in self.state.glob("projects/*") for _, event in journal.read(str(folder)) if not isinstance(event, Bad)]

    def leave(self) -> None:
        """Take Stretto out of the project again and see to it that nothing of it lives on.

        Raises:
            UnavailableError: a supervisor did not leave and had to be stopped.
        """
        supervisors = self._supervisors()
        try:
            if self.project.exists() and (self.state / "projects").exists():
                self.stretto("uninstall")
        finally:
            _wait_for_end(supervisors, LEAVE_LIMIT_S)
            late = [process for process in supervisors if signal_process(process, signal.SIGTERM)]
        if late:
            raise UnavailableError(
                f"the supervisor {late[0].pid} had not left {LEAVE_LIMIT_S:.0f} s after `stretto uninstall`; it was stopped"
            )

    def rest(self) -> None:
        """Wait until the supervisor has left by itself, as it does when no session is open and nothing runs.

        Raises:
            UnavailableError: it had not.
        """
        if not _wait_for_end(self._supervisors(), REST_LIMIT_S):
            raise UnavailableError(f"the supervisor had not left {REST_LIMIT_S:.0f} s after the session's end")

    def _supervisors(self) -> list[Process]:
        return [Process(event.pid, event.start, event.boot) for event in self.log() if isinstance(event, SupervisorStarted)]


def _wait_for_end(processes: Sequence[Process], limit_s: float) -> bool:
    """Return whether all had ended within the limit."""
    deadline = time.monotonic() + limit_s
    while any(map(lives, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(lives, processes))


@contextmanager
def stage(archive: Path, *, keep: bool = False) -> Iterator[Stage]:
    """Open the demo's stage: the project of `archive`, with this environment's own tools."""
    with open_stage("packaging", lambda project: sources.create(archive, project), sources.environment, keep=keep) as opened:
        yield opened


@contextmanager
def open_stage(
    name: str, create: Callable[[Path], object], surroundings: Callable[[Path], Mapping[str, str]], *, keep: bool = False
) -> Iterator[Stage]:
    """Open a stage, and clear it away at the end, unless it is to be kept (its processes end in any case)."""
    folder = Path(tempfile.mkdtemp(prefix="stretto-demo-")).resolve()
    opened = Stage(folder, name, create, surroundings)
    try:
        yield opened
    finally:
        try:
            opened.leave()
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def probe(here: Stage) -> float:
    """Return the seconds a known part of the demo's suite takes here, the quicker of two runs."""
    here.create(here.project)
    took = []
    for _ in range(2):
        began_s = time.monotonic()
        command = [sys.executable, "-m", "pytest", *script.PROBE]
        env = {**os.environ, **here.environment()}
        subprocess.run(
            command, cwd=here.project, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S, check=False
        )
        took.append(time.monotonic() - began_s)
    return min(took)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Both halves and what follows."""

    without: Session
    with_it: Session
    same: tuple[Sameness, ...]
    """One entry a step."""
    notes: tuple[str, ...]

    @property
    def speedup(self) -> float:
        return self.without.wall_s / self.with_it.wall_s

    @property
    def critical_path_s(self) -> float:
        return critical_path_s(self.without)

    @property
    def over_critical_path(self) -> float:
        return self.with_it.wall_s / self.critical_path_s


def check_machine() -> None:
    """Look for what the demo needs before anything long begins.

    Raises:
        UserError: something is not installed.
    """
    lacking = sources.missing()
    if not find_binary():
        lacking.append("claude-agent-sdk (it carries Claude Code)")
    if lacking:
        raise UserError(
            f"cannot run the demo with {sys.executable}: {', '.join(lacking)} missing; run `pip install 'stretto[demo]'` or `make demo`"
        )
    if shutil.which("git") is None or not find_shell("bash"):
        raise UserError("cannot run the demo: git and bash are needed; install them")


def both(archive: Path, *, keep: bool = False, say: Say = print) -> Report:
    """Play the script without Stretto and then with it, return what was measured.

    Args:
        say: is told each step as it ends, one line of text.
    """
    closed = isolate()
    notes = [f"the network is not closed off: {closed}"] if closed else []
    with stage(archive, keep=keep) as here:
        if keep:
            notes.append(f"everything is kept in {here.folder}")
        suite = script.suite(probe(here))
        if suite != script.PYTEST:
            notes.append(f"this machine is slow: the suite is `{suite}` here, so that the demo ends within four minutes")
        say("Without Stretto:")
        without = play(here, "without Stretto", script.steps(here.project, suite), here.prepare(), say)
        say("With Stretto:")
        home = here.prepare()
        here.stretto("init", "--yes")
        with_it = play(here, "with Stretto", script.steps(here.project, suite), home, say)
    same = tuple(compare(one.outputs, other.outputs) for one, other in zip(without.steps, with_it.steps, strict=True))
    return Report(without=without, with_it=with_it, same=same, notes=tuple(notes))


def play(
    here: Stage,
    name: str,
    steps: Sequence[script.Step],
    home: Home,
    say: Say,
    *,
    prompt: str = script.PROMPT,
    settings: Mapping[str, object] | None = None,
    limit_s: float = SESSION_LIMIT_S,
) -> Session:
    """Run the real Claude Code through the steps once.

    Args:
        settings: given to Claude Code on top of the files of home and project.
        limit_s: after this long the session is stopped.

    Raises:
        UnavailableError: it failed, or left the script.
    """
    with ScriptedApi([step.turn for step in steps], label="demo") as api:
        began_s, began_mono_s = time.monotonic(), mono_s()
        # The session is waited for here and told of in a thread, not the other way round: Ctrl-C then ends it at once.
        over = threading.Event()
        teller = threading.Thread(target=_tell, args=(api, steps, began_s, say, over), name="teller", daemon=True)
        teller.start()
        try:
            outcome = run(prompt, api=api, project=here.project, home=home, env=here.environment(), settings=settings, limit_s=limit_s)
        finally:
            over.set()
            teller.join()
        requests = api.main_requests()
    if outcome.code != 0 or len(requests) != len(steps):
        raise UnavailableError(
            f"cannot play the session {name}: Claude Code ended with {outcome.code} after {len(requests)} of {len(steps)} turns; "
            f"it says {(outcome.stderr or outcome.stdout).strip()[-500:]!r}"
        )
    events = here.log()
    measured = []
    for number, (step, request) in enumerate(zip(steps, requests, strict=True)):
        later = requests[number + 1] if number + 1 < len(requests) else None
        returned_s = later.arrived_s if later else request.answered_s
        commands = [str(call.input["command"]) for call in step.turn.calls if call.tool == "Bash"]
        measured.append(
            Step(
                kind=step.kind,
                label=step.label,
                command=commands[0] if commands else "",
                asked_s=request.arrived_s - began_s,
                sent_s=request.answered_s - began_s,
                returned_s=returned_s - began_s,
                outputs=_outputs(request, later),
                parts=parts(events, began_mono_s, request.answered_s - began_s, returned_s - began_s),
            )
        )
    news = tuple((event.mono - began_mono_s, event.text) for event in events if isinstance(event, NewsTold))
    return Session(name=name, wall_s=outcome.wall_s, steps=tuple(measured), ahead=ahead(events, began_mono_s), told=news)


def parts(events: Sequence[LogEvent], began_mono_s: float, from_s: float, to_s: float) -> tuple[Part, ...]:
    """Return the commands whose shims asked between two moments of a session that began at `began_mono_s`."""
    commands = _commands(events)
    took = {event.attempt: event.took_s for event in events if isinstance(event, AttemptExited)}
    found = []
    for event in events:
        if not isinstance(event, JoinDecided) or not from_s <= event.mono - began_mono_s <= to_s:
            continue
        way: Way = event.do if event.do in ("replay", "attach") else "ran"
        found.append(
            Part(
                command=commands.get(event.job, "?"),
                at_s=event.mono - began_mono_s,
                way=way,
                reason=event.reason,
                took_s=took.get(event.attempt) if event.attempt else None,
                attempt=event.attempt,
            )
        )
    return tuple(found)


def ahead(events: Sequence[LogEvent], began_mono_s: float) -> tuple[Ahead, ...]:
    """Return the runs ahead that came to an end, in the order of their beginning."""
    commands = _commands(events)
    begun: dict[AttemptId, tuple[JobKey, float]] = {}
    found = []
    for event in events:
        if isinstance(event, AttemptStarted) and event.kind == "ahead":
            begun[event.attempt] = (event.job, event.mono - began_mono_s)
        elif isinstance(event, AttemptExited) and event.attempt in begun:
            job, at_s = begun.pop(event.attempt)
            how: Literal["passed", "failed", "stopped"]
            how = "passed" if event.end.passed else "failed" if event.end.by_itself else "stopped"
            found.append(
                Ahead(attempt=event.attempt, command=commands.get(job, "?"), began_s=at_s, ended_s=event.mono - began_mono_s, how=how)
            )
    return tuple(sorted(found, key=lambda run: run.began_s))


def _commands(events: Sequence[LogEvent]) -> dict[JobKey, str]:
    return {event.job: " ".join(event.argv) for event in events if isinstance(event, JobSeen)}


def _outputs(request: Request, later: Request | None) -> tuple[str, ...]:
    if later is None:
        return ()
    mine = set(request.call_ids)
    return tuple(f"{'error: ' if result.is_error else ''}{result.text}" for result in later.results() if result.tool_use_id in mine)


def _tell(api: ScriptedApi, steps: Sequence[script.Step], began_s: float, say: Say, over: threading.Event) -> None:
    """Say which checks have come back, as they do, until the session is over."""
    told = 0
    while True:
        last = over.wait(0.05)
        requests = api.main_requests()
        for number in range(told, min(len(requests) - 1, len(steps))):
            if steps[number].kind == "check":
                waited_s = requests[number + 1].arrived_s - requests[number].answered_s
                say(f"  {requests[number + 1].arrived_s - began_s:6.1f} s  {steps[number].label}: waited {waited_s:.1f} s")
        told = max(told, len(requests) - 1)
        if last:
            return
