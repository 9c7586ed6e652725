"""C-22: the lower half of the seeds, in a file of its own so that two workers share them."""

from __future__ import annotations

from simulation.scale import SEEDS, blocks, live_through


@blocks(0, SEEDS // 2)
def test_c22_c24_no_seed_of_the_lower_half_breaks_a_law(first):
    live_through(first)
