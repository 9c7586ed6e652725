"""Calls and edits of several threads at once through the real client, shims and supervisor, as a history (C-23).

Two checks that share nothing. The checker reads the log, what the callers got, and when the edits were. And the file the checks read holds
a number that only grows, so each answer says by itself on which version of the tree it was made: that one has to have been there at some
moment between the ask and the answer.

STRETTO_SEED varies the choices; `make soak` runs many.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from stretto.model import AttemptStarted, JoinDecided
from stretto.system import mono_s
from stretto.testing import history

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
SEED = int(os.environ.get("STRETTO_SEED", "20240229"))
STEPS = 400 if SOAK else 30
CHECK = 'v=$(cat src.py)\nsleep 0.1\necho "$v"\nexit $((v % 4 == 0))'
COMMANDS = ["pytest -q", "pytest -q tests", "mypy ."]


class Sessions:
    """What three callers do at the same time, and what the answers say."""

    def __init__(self, bench, seed: int) -> None:
        self.bench, self.dice = bench, random.Random(seed)
        self.version = 1
        self.began_s, self.ended_s = [0.0, 0.0], [0.0, 0.0]
        """Of the edit that made each version."""
        self.wrong: list[str] = []
        self.answers = 0

    def call(self, command: str, told: bool) -> None:
        began_s = mono_s()
        out, code, _ = self.bench.bash(command, told=told)
        ended_s = mono_s()
        self.answers += 1
        version = int(out)
        there = self.began_s[version] <= ended_s and (version + 1 >= len(self.began_s) or began_s <= self.ended_s[version + 1])
        if not there or code != (version % 4 == 0):
            self.wrong.append(f"{command} between {began_s} and {ended_s}: {out!r}, {code}; version {self.version} is there")

    def edit(self, told: bool) -> None:
        self.version += 1
        self.began_s.append(mono_s())
        self.ended_s.append(float("inf"))
        self.bench.edit("src.py", f"{self.version}\n", told=told)
        self.ended_s[-1] = mono_s()

    def step(self, pool: ThreadPoolExecutor) -> None:
        """Up to two calls at once, in some steps with an edit among them; now and then something no scan can see, or another supervisor."""
        dice = self.dice
        told = dice.random() < 0.8
        under_way = [pool.submit(self.call, dice.choice(COMMANDS), told) for _ in range(dice.choice([0, 1, 1, 2]))]
        if dice.random() < 0.4:
            self.edit(dice.random() < 0.7)
        if dice.random() < 0.05:
            self.bench.bash("./unknown-thing")
        for each in under_way:
            each.result()
        if dice.random() < 0.05:
            self.bench.stop()
            self.bench.begin()
        elif dice.random() < 0.3:
            self.bench.batch()


@pytest.mark.slow
@pytest.mark.timeout(0 if SOAK else 180)
def test_c23_what_callers_get_equals_some_order_of_doing_one_thing_after_the_other(bench):
    (bench.root / "src.py").write_text("1\n")
    for name in ("pytest", "mypy"):
        bench.tool(name, CHECK)
    bench.begin()
    sessions = Sessions(bench, SEED)
    with ThreadPoolExecutor(3) as pool:
        for _ in range(STEPS):
            sessions.step(pool)
    sessions.edit(told=True)
    for _ in range(2):  # whatever came before, here is a join
        sessions.call(COMMANDS[0], told=True)
    bench.stop()
    assert sessions.wrong == []
    lines = history.load(bench.paths.folder)
    assert history.check(lines, bench.deliveries, bench.edits) == []
    did = [line.event.do for line in lines if isinstance(line.event, JoinDecided)]
    counts = {do: did.count(do) for do in sorted(set(did))}
    print(f"{STEPS} steps, {sessions.answers} answers, {len(bench.edits)} edits, seed {SEED}: {counts}")
    assert sessions.answers >= STEPS // 2 and len(bench.edits) >= STEPS // 6
    assert did.count("replay") + did.count("attach") > 0
    # The same history with an edit between every run and its joins is not one: the checker was awake.
    started = {line.event.attempt: line.event.mono for line in lines if isinstance(line.event, AttemptStarted)}
    joined = [event for _, _, event in lines if isinstance(event, JoinDecided) and event.do in ("replay", "attach")]
    moments = [(started[event.attempt] + event.mono - event.decide_ms / 1000) / 2 for event in joined]
    planted = [history.Edit(what="planted", began_mono_s=moment, ended_mono_s=moment) for moment in moments]
    found = history.check(lines, bench.deliveries, planted)
    assert [violation.kind for violation in found] == ["no place for an edit"] * len(joined)
