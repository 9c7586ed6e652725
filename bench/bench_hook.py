"""The hook client with a living supervisor against the interpreter that does nothing; and with many commands known against with one."""

from __future__ import annotations

import os
import subprocess
import time

from bench import Figure, in_turn, timed
from bench.ground import Ground, open_ground
from stretto import install

RUNS = 60
TARGET = 1.3
KNOWN = 150
"""Different commands asked for so far: those of a long day."""
KNOWN_TARGET = 1.5
AFTER_AN_EDIT = 40
"""Hooks one after the other, in about the time that planning after an edit may take."""


def run() -> list[Figure]:
    """Return the one figure: what every hook costs, as a multiple of starting Python at all."""
    with open_ground() as ground:
        hook = ground.hooks["PreToolUse"]
        body = ground.body("PreToolUse", tool_name="Bash", tool_use_id="toolu_1", tool_input={"command": "ls -l", "description": "list"})
        env, cwd, sink = ground.hook_environment(), str(ground.project), str(ground.folder / "sink")
        nothing = [install.wiring("").python, "-I", "-S", "-c", "pass"]
        pair = in_turn(
            lambda: timed(hook, stdin=body, stdout=sink, cwd=cwd, env=env),
            lambda: timed(nothing, stdin=os.devnull, stdout=sink, cwd=cwd, env=env),
            RUNS,
        )
    return [Figure(name="hook client", value=pair.ratio, unit="times `python -I -S -c pass`", target=TARGET, against=pair.spread())]


def run_known(runs: int = 20, known: int = KNOWN) -> list[Figure]:
    """Return what hooks cost right after an edit when many commands are known, as a multiple of when one is."""
    with open_ground() as many, open_ground() as one:
        _ask(many, known)
        _ask(one, 1)
        pair = in_turn(lambda: _hooks_after_an_edit(many), lambda: _hooks_after_an_edit(one), runs)
    name = f"hooks right after an edit, {known} commands known"
    return [Figure(name=name, value=pair.ratio, unit="times with one known", target=KNOWN_TARGET, against=pair.spread())]


def _ask(ground: Ground, count: int) -> None:
    line = ground.env_file.read_text(encoding="utf-8")
    for number in range(count):
        command = f"ruff check --line-length={80 + number}"
        call = {"tool_name": "Bash", "tool_use_id": f"toolu_known_{number}", "tool_input": {"command": command}}
        ground.call_hook("PreToolUse", **call)
        subprocess.run(
            ground.bash(command, line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=ground.project,
            env=ground.environment(),
            check=True,
        )
        ground.call_hook("PostToolBatch", tool_calls=[call])


def _hooks_after_an_edit(ground: Ground) -> float:
    edited = ground.project / "src" / "module_0.py"
    call = {"tool_name": "Edit", "tool_use_id": "toolu_2", "tool_input": {"file_path": str(edited)}}
    ground.call_hook("PreToolUse", **call)
    edited.write_text(f"VALUE = {time.perf_counter_ns()}\n", encoding="utf-8")
    ground.call_hook("PostToolBatch", tool_calls=[call])
    body = ground.body("PreToolUse", tool_name="Bash", tool_use_id="toolu_1", tool_input={"command": "ls -l", "description": "list"})
    sink, cwd = str(ground.folder / "sink"), str(ground.project)
    env = ground.hook_environment()
    return sum(timed(ground.hooks["PreToolUse"], stdin=body, stdout=sink, cwd=cwd, env=env) for _ in range(AFTER_AN_EDIT)) / AFTER_AN_EDIT
