"""C-22: the upper half of the seeds, in a file of its own so that two workers share them."""

from __future__ import annotations

from simulation.scale import SEEDS, blocks, live_through


@blocks(SEEDS // 2, SEEDS)
def test_c22_c24_no_seed_of_the_upper_half_breaks_a_law(first):
    live_through(first)
