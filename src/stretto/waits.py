"""Who waits for whom: finds those that would wait for ever. Pure.

A node is a session or a job. One that waits for all of several goes on when all have gone on, one that waits for any when one has; a node
that waits for nothing goes on by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple


class Wait(NamedTuple):
    """What one node waits for."""

    on: frozenset[str]
    how: str
    """By what it waits, in words: `stretto wait`, `claude-hook --wait`."""
    any: bool = False
    """One of them is enough."""


def stuck(waits: Mapping[str, Wait]) -> frozenset[str]:
    """Return the nodes that can never go on, whatever happens outside these waits."""
    left = set(waits)
    while True:
        free = {node for node in left if _goes_on(waits[node], left)}
        if not free:
            return frozenset(left)
        left -= free


def _goes_on(wait: Wait, left: set[str]) -> bool:
    held = wait.on & left
    return held != wait.on if wait.any and wait.on else not held


def cycle(waits: Mapping[str, Wait], node: str) -> tuple[str, ...]:
    """Return a cycle of waits that `node` can never come out of, first and last the same; () when there is none.

    `node` itself may only lead into the cycle.
    """
    held = stuck(waits)
    if node not in held:
        return ()
    path: list[str] = []
    while node not in path:
        path.append(node)
        node = min(waits[node].on & held)
    return (*path[path.index(node) :], node)


def sentence(waits: Mapping[str, Wait], nodes: tuple[str, ...]) -> str:
    """Return a cycle in words: "job 12 waits for session s (`claude-hook --wait`), which waits for job 12 (`stretto wait`)"."""
    steps = [f"waits for {after} ({waits[before].how})" for before, after in itertools.pairwise(nodes)]
    return f"{nodes[0]} " + ", which ".join(steps)
