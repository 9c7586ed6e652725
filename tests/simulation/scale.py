"""How many seeds: ten thousand each time, a million in the long version (`STRETTO_SCALE=soak`)."""

from __future__ import annotations

import os

import pytest

from stretto.testing.simulation import simulate

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
SEEDS = 1_000_000 if SOAK else 10_000
BLOCK = 500


def blocks(begin: int, end: int) -> pytest.MarkDecorator:
    """Say which seeds a test lives through, a block in each; the ids show progress and scale."""
    firsts = range(begin, end, BLOCK)
    return pytest.mark.parametrize("first", firsts, ids=[f"{first}-of-{SEEDS}" for first in firsts])


def live_through(first: int) -> None:
    for seed in range(first, first + BLOCK):
        trace = simulate(seed)
        assert trace.events
        assert not trace.violation, f"{trace.violation}\n{trace.replay}"
