"""The simulation itself: it replays exactly, everything it has happens, and it finds bugs that are put into the real code."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys

import pytest

from stretto.testing.plants import PLANTS
from stretto.testing.simulation import main, simulate

PLANT_SEEDS = 2000


def digests(hash_seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "stretto.testing.simulation", "--seeds", "0..29", "--json"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line)["digest"] for line in done.stdout.splitlines()]


def test_c22_a_seed_replays_exactly_whatever_the_order_of_hashes():
    one, other = digests("1"), digests("2")
    assert len(set(one)) == 30
    assert one == other
    assert one[7] == simulate(7).digest


def test_c22_every_kind_of_fault_answer_and_end_happens():
    counts = collections.Counter[str]()
    expected = [
        *("answer record", "answer replay", "answer attach", "answer exec", "told", "join lost", "snapshot"),
        *("start foreground", "start ahead", "start requested", "exit code", "exit signal", "exit lost", "exit cancelled", "exit timeout"),
        *("killed at append (before)", "killed at append (tear)", "killed at append (after)", "killed at spawn", "killed at create"),
        *("killed at promise", "killed at snapshot", "killed at forbid", "torn tail", "disk full", "trouble", "supervisor dies"),
        *("monitor killed while forked", "monitor killed while running", "machine sleeps", "machine reboots", "wall clock jumps"),
        *("asked to leave", "unannounced", "unknown tool", "worked after its call", "connected", "forgiven"),
    ]
    for seed in range(2000):  # 400 are enough as a rule; the rarest of them comes about once in so many
        counts.update(simulate(seed).counts)
        if seed >= 100 and all(counts[what] for what in expected):
            break
    assert not [what for what in expected if not counts[what]]


IN_A_SCENE = {"tells-news-beside-unknown-effects", "counts-what-was-contradicted"}
"""So rarely met by a seed that tests/simulation/test_scenes.py plays them."""


@pytest.mark.parametrize("plant", sorted(PLANTS.keys() - IN_A_SCENE))
def test_c22_a_planted_bug_is_found(plant, capsys):
    for seed in range(PLANT_SEEDS):
        trace = simulate(seed, plant=plant)
        if trace.violation:
            break
    assert trace.violation, f"{plant} was not found within {PLANT_SEEDS} seeds"
    assert not simulate(seed).violation, "without the bug the same seed holds"
    code = main(trace.replay.split()[3:])
    assert code == 1
    assert f"seed {seed}: {trace.violation}" in capsys.readouterr().out
