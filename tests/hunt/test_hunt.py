"""Never wrong while life goes on: 100,000 rounds of what sessions, strangers and machines do to a check, judged by an oracle.

`python -m tests.hunt --minutes N` hunts on; a finding names its seed.
"""

from __future__ import annotations

import os

import pytest

from .life import GROUPS, KINDS, hunt
from .plants import PLANTS, planted

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
LIVES = 10_000 if SOAK else 40
"""Of ten rounds each."""
BLOCK = 100 if SOAK else 20
PLANT_LIVES = 40
"""Within so many lives each planted fault is found; most need one."""


@pytest.mark.slow
@pytest.mark.timeout(0 if SOAK else 180)
@pytest.mark.parametrize("first", range(0, LIVES, BLOCK))
def test_no_answer_is_wrong_and_nothing_is_told_or_run_that_should_not_be(first):
    bag = hunt(range(first, first + BLOCK), KINDS, git=SOAK and first // BLOCK % 10 == 9)
    print(f"{bag.rounds} rounds: {dict(bag.answers)}, needless {dict(bag.needless)}")
    assert bag.findings == []
    assert bag.answers["join"] > bag.rounds // 4


@pytest.mark.slow
def test_in_a_repository_no_answer_is_wrong_either():
    assert hunt(range(3000, 3005), KINDS, git=True).findings == []


@pytest.mark.slow
def test_every_kind_is_met():
    met = hunt(range(1000, 1040), KINDS, rounds=5).met
    assert set(met) == set(KINDS)


def test_while_nothing_happens_that_a_look_does_not_show_no_question_is_missed():
    calm = [kind for kind in GROUPS["calm"] if kind != "restart"]  # what a session runs is not known to a supervisor that comes later
    bag = hunt(range(2000, 2015), calm)
    assert bag.findings == []
    assert bag.needless.total() <= bag.answers["join"] // 50, bag.needless


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found_by_its_kind(name):
    with planted(PLANTS[name]):
        bag = hunt(range(PLANT_LIVES), ("writes", "reads", "time_passes", PLANTS[name].kind), first=True)
    assert [finding.what for _, _, finding in bag.findings[:1]] == [PLANTS[name].what], f"{bag.findings} in {bag.rounds} rounds"
