"""Waits that would never end are found, and only these."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.waits import Wait, cycle, sentence, stuck


def on(*nodes: str, any_of: bool = False) -> Wait:
    return Wait(on=frozenset(nodes), how="waiting", any=any_of)


@pytest.mark.parametrize(
    ("waits", "node", "found"),
    [
        pytest.param({"s": on("j"), "j": on("s")}, "s", ("s", "j", "s"), id="a worker and its session"),
        pytest.param({"s": on("j")}, "s", (), id="one that goes on by itself"),
        pytest.param({"s": on("b"), "b": on("a"), "a": on("s")}, "a", ("a", "s", "b", "a"), id="by way of another job"),
        pytest.param({"j": on("j")}, "j", ("j", "j"), id="itself"),
        pytest.param({"j": on("s", "t", any_of=True), "s": on("j")}, "j", (), id="any of two sessions, one is free"),
        pytest.param({"j": on("s", "t", any_of=True), "s": on("j"), "t": on("j")}, "j", ("j", "s", "j"), id="any of two, both wait for it"),
        pytest.param({"s": on("a", "b"), "b": on("s")}, "s", ("s", "b", "s"), id="all of two, one of them waits for it"),
        pytest.param({"x": on("s"), "s": on("j"), "j": on("s")}, "x", ("s", "j", "s"), id="one that leads into a cycle"),
        pytest.param({"j": on(any_of=True), "s": on("j")}, "s", (), id="any of none: there is nobody to wait for"),
    ],
)
def test_cycle_names_what_can_never_go_on(waits, node, found):
    assert cycle(waits, node) == found


def test_sentence_says_who_waits_for_whom_and_by_what():
    waits = {"job a": Wait(frozenset({"session s"}), "claude-hook --wait"), "session s": Wait(frozenset({"job a"}), "stretto wait")}
    said = "job a waits for session s (claude-hook --wait), which waits for job a (stretto wait)"
    assert sentence(waits, cycle(waits, "job a")) == said


NODES = "abcdef"
graphs = st.dictionaries(
    st.sampled_from(NODES), st.builds(Wait, on=st.frozensets(st.sampled_from(NODES)), how=st.just("w"), any=st.booleans()), max_size=6
)


def goes_on(waits: dict[str, Wait]) -> set[str]:
    """The nodes that go on when everything happens that can: played, step by step."""
    free = {node for node in NODES if node not in waits}
    while True:
        more = {
            node
            for node, wait in waits.items()
            if node not in free and (not wait.on or (bool(wait.on & free) if wait.any else wait.on <= free))
        }
        if not more:
            return free
        free |= more


@given(graphs)
def test_what_is_stuck_is_exactly_what_never_goes_on_when_it_is_played(waits):
    assert stuck(waits) == set(NODES) - goes_on(waits)


@given(graphs, st.sampled_from(NODES))
def test_a_cycle_is_made_of_waits_that_are_there(waits, node):
    found = cycle(waits, node)
    assert bool(found) is (node in stuck(waits))
    for before, after in itertools.pairwise(found):
        assert after in waits[before].on
    assert not found or found[0] == found[-1]
