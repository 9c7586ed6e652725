"""Performs the sessions of one project on a stage, one way after the other.

Promises: every session begins with the same checkout, the same caches and a home nobody has used; ways differ in one thing each (settings
with a hook, `stretto init`); the second session with Stretto differs from the first in what Stretto and Claude Code
remember; nothing outlives the stage.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.sessions import alternative, prepare
from bench.sessions.projects import Project
from bench.sessions.report import WAYS, HookRun, Played, Way
from stretto.demo import run
from stretto.demo.run import Say, Stage
from stretto.demo.session import Session
from stretto.testing.claude import Home

SESSION_LIMIT_S = 1800.0
_ORDERS: Sequence[Sequence[Way]] = (
    ("plain", "hook", "first", "second"),
    ("first", "second", "plain", "hook"),
    ("hook", "first", "second", "plain"),
)


def order(project: Project, number: int) -> list[Way]:
    """Return the ways of the project in the order in which they are played: which one is first alternates from project to project."""
    return [way for way in _ORDERS[number % len(_ORDERS)] if way in project.ways]


def play(here: Stage, project: Project, ways: Sequence[Way], say: Say) -> Played:
    """Play the project's session every way.

    Raises:
        UnavailableError: a session failed or left the script.
    """
    sessions: dict[Way, Session] = {}
    loads: dict[Way, float] = {}
    hook_runs: list[HookRun] = []
    for way in ways:
        prepare.reset(project, here.project)
        home = Home(here.folder / "home") if way == "second" else here.new_home()
        if way == "first":
            here.stretto("init", "--yes")
        notes = here.folder / "hook-runs"
        settings = alternative.settings(sys.executable, str(notes), project.hook) if way == "hook" else None
        say(f"{project.title}, {WAYS[way]}:")
        began_s = time.monotonic()
        sessions[way] = run.play(
            here,
            f"{project.title}, {way}",
            project.steps(here.project),
            home,
            say,
            prompt=project.prompt,
            settings=settings,
            limit_s=SESSION_LIMIT_S,
        )
        loads[way] = os.getloadavg()[0]
        say(f"  {sessions[way].wall_s:6.1f} s in all")
        if way == "first" and "second" in ways:
            here.rest()
        elif way in ("first", "second"):
            here.leave()
            shutil.rmtree(here.state)
        if way == "hook":
            hook_runs = _read(notes, began_s)
    return Played(title=project.title, about=project.about, sessions=sessions, hook_runs=hook_runs, loads=loads)


def _read(notes: Path, began_s: float) -> list[HookRun]:
    if not notes.exists():
        return []
    rows = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    return [HookRun(row["command"], row["began_s"] - began_s, row["ended_s"] - began_s) for row in rows]
