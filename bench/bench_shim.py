"""A Bash call that meets our shim against the same call without it: a check that is recorded, a call that is no check, a replay."""

from __future__ import annotations

import os
import statistics

from bench import Figure, in_turn, timed
from bench.ground import Ground, open_ground

RUNS = 50
MISS_TARGET_MS = 25.0
REPLAY_TARGET_MS = 40.0
GIT_CALLS = 20
GIT_TARGET = 1.05
REPLAY_BYTES = 1_000_000


def run() -> list[Figure]:
    """Return what a shim costs where it does not join, and what a replay of 1 MB takes."""
    with open_ground() as ground:
        figures = [
            _no_join(ground, "recorded check", "ruff check src"),
            _no_join(ground, "call that is no check", "ruff --version"),
            _git(ground),
        ]
    with open_ground(b"x" * 99 + b"\n" + b"y" * 99 + b"\n" * (REPLAY_BYTES - 200) + b"\n") as ground:
        figures.append(_replay(ground))
    return figures


def _no_join(ground: Ground, name: str, command: str) -> Figure:
    touched = ground.project / "src" / "module_0.py"
    count = 0

    def call(env_line: str) -> float:
        # Every call finds a tree that nothing has run on: with the shim each is a miss.
        nonlocal count
        count += 1
        touched.write_text(f"VALUE = {count}\n", encoding="utf-8")
        return _bash(ground, command, env_line)

    line = ground.env_file.read_text(encoding="utf-8")
    pair = in_turn(lambda: call(line), lambda: call(":"), RUNS)
    return Figure(
        name=f"Bash call, shim that does not join ({name})",
        value=pair.more_ms,
        unit="ms more",
        target=MISS_TARGET_MS,
        against=pair.spread(),
    )


def _git(ground: Ground) -> Figure:
    """A git that is neither commit nor push goes through a shell function; `command git` goes past it."""
    line = ground.env_file.read_text(encoding="utf-8")

    def calls(git: str) -> float:
        return _bash(ground, f"for n in {' '.join('x' * GIT_CALLS)}; do {git} status >/dev/null; done", line)

    pair = in_turn(lambda: calls("git"), lambda: calls("command git"), RUNS)
    against = f"`command git status` in the same shell; {GIT_CALLS} calls: {pair.spread()}"
    return Figure(name="`git status` in a session", value=pair.ratio, unit="times", target=GIT_TARGET, against=against)


def _replay(ground: Ground) -> Figure:
    line = ground.env_file.read_text(encoding="utf-8")
    size = os.path.getsize(ground.folder / "tools" / "ruff.says")
    _bash(ground, "ruff check src", line)
    before = _sink_bytes(ground)
    pair = in_turn(lambda: _bash(ground, "ruff check src", line), lambda: _bash(ground, "ruff check src", ":"), RUNS, warm=2)
    if _sink_bytes(ground) - before != size * 2 * (RUNS + 2):
        raise RuntimeError("a replay printed something else than the command")
    joins = ground.folder / "state"
    replays = sum(log.read_bytes().count(b'"do":"replay"') for log in joins.glob("projects/*/events.jsonl"))
    if replays < RUNS:
        raise RuntimeError(f"only {replays} of {RUNS} calls were replays")
    return Figure(
        name="Bash call, replay of 1 MB",
        value=statistics.median(pair.a_s) * 1000,
        unit="ms",
        target=REPLAY_TARGET_MS,
        against=pair.spread(),
    )


def _bash(ground: Ground, command: str, env_line: str) -> float:
    return timed(
        ground.bash(command, env_line),
        stdin=os.devnull,
        stdout=str(ground.folder / "sink"),
        cwd=str(ground.project),
        env=ground.environment(),
    )


def _sink_bytes(ground: Ground) -> int:
    return os.path.getsize(ground.folder / "sink")
