"""The hook client with a living supervisor against the interpreter that does nothing."""

from __future__ import annotations

import os

from bench import Figure, in_turn, timed
from bench.ground import open_ground

RUNS = 60
TARGET = 1.3


def run() -> list[Figure]:
    """Return the one figure: what every hook costs, as a multiple of starting Python at all."""
    with open_ground() as ground:
        hook = ground.hooks["PreToolUse"]
        body = ground.body("PreToolUse", tool_name="Bash", tool_use_id="toolu_1", tool_input={"command": "ls -l", "description": "list"})
        env, cwd, sink = ground.hook_environment(), str(ground.project), str(ground.folder / "sink")
        nothing = [hook[0], "-I", "-S", "-c", "pass"]
        pair = in_turn(
            lambda: timed(hook, stdin=body, stdout=sink, cwd=cwd, env=env),
            lambda: timed(nothing, stdin=os.devnull, stdout=sink, cwd=cwd, env=env),
            RUNS,
        )
    return [Figure(name="hook client", value=pair.ratio, unit="times `python -I -S -c pass`", target=TARGET, against=pair.spread())]
