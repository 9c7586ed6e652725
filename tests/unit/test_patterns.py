"""Shell patterns: against `fnmatch` on short texts, and in time on hostile ones."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.commands import display, pattern_text
from stretto.patterns import LONGEST_TEXT, matches
from stretto.rules import Rules, gate_places, parse

SMALL = st.text(alphabet="ab[]!-*?é\n", max_size=12)


@given(SMALL, st.text(alphabet="ab[]!-é\n", max_size=16))
def test_a_pattern_fits_what_it_fits_for_fnmatch(pattern, text):
    assert matches([pattern], text) is fnmatch.fnmatchcase(text, pattern)


@given(st.lists(SMALL, max_size=4), st.text(alphabet="ab", max_size=8))
def test_several_patterns_fit_when_one_does(patterns, text):
    assert matches(patterns, text) is any(matches([pattern], text) for pattern in patterns)


@pytest.mark.parametrize(
    "pattern", ["*a" * 400 + "b", "*" + "a?" * 300 + "b*", "*[ab]" * 200 + "c", "*" + "?" * 900 + "b", "**" * 400 + "b", "*a*b" * 200]
)
def test_a_hostile_pattern_on_a_long_text_takes_no_time_to_speak_of(pattern):
    began = time.process_time()
    assert matches([pattern], "a" * LONGEST_TEXT) is False
    assert time.process_time() - began < 3.0


def test_a_text_beyond_the_limit_is_taken_for_what_does_least():
    text = "pytest " + "x" * LONGEST_TEXT
    assert matches(["ruff*"], text, beyond=True)
    assert not matches(["pytest*"], text) and not matches([], text, beyond=True)
    assert matches(["*"], text)


# --- the text of a command --------------------------------------------------------------------------------------------------


def test_patterns_are_tried_on_the_whole_command_neither_cut_nor_quoted_nor_redacted():
    argv = [b"/opt/venv/bin/pytest", b"-k", b"a b", *[b"tests/test_%d.py" % number for number in range(400)], b"--token=abcdef", b"--live"]
    text = pattern_text(argv)
    assert text.startswith("pytest -k a b tests/test_0.py ") and text.endswith("--token=abcdef --live")
    assert matches(["*--live"], text) and not matches(["*--live"], display(argv))
    assert matches(["pytest -k a b *"], text)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda word: b"\0" not in word), min_size=1, max_size=8))
def test_each_word_stands_in_the_text_of_a_command_as_it_is(argv):
    words = [word.decode(errors="backslashreplace") for word in argv]
    text = pattern_text(argv)
    first = words[0].rpartition("/")[2] or words[0]
    assert text == " ".join([first, *words[1:]])
    assert matches(["*"], text)


def test_a_command_without_words_has_an_empty_text():
    assert pattern_text([]) == ""


def test_gates_and_lists_are_matched_with_the_same_text():
    rules = parse('gate = ["stop"]\n[gates]\n"*--live" = []\n')
    long = pattern_text(["pytest", *["x" * 50] * 50, "--live"])
    assert gate_places(rules, long) == frozenset()
    assert gate_places(Rules(), long) == {"stop"}
