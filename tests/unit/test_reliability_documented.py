"""docs/reliability.md: every test it names exists, and every number it has to answer for has an answer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)))
NUMBERS = [
    *(f"F{number}" for number in (*range(1, 18), *range(20, 30), 31, 32, 34, *range(39, 44), *range(46, 61), 63, *range(70, 73))),
    *(f"A-{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9)),
    *("B-16", "B-17", "B-19"),
    *(f"C-{number}" for number in range(1, 25)),
]


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_the_reliability_page_names_exists(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not [name for where, name in NAMED if where == path and name not in there]


def test_no_test_is_named_in_another_form_than_the_one_that_is_checked():
    assert len(re.findall(r"\btest_\w+(?!\w|\.py)", DOCUMENT)) == len(re.findall(r"`tests/[\w/]+\.py::\w+`", DOCUMENT))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_failure_mode_and_acceptance_test_has_a_row_with_a_test_or_says_not_yet(number):
    rows = re.findall(rf"^\| {number} \| .+ \| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 1
    assert "`tests/" in rows[0] or rows[0].startswith("not yet")


def test_every_promise_has_a_test():
    promises = DOCUMENT.split("## By failure mode")[0]
    rows = [row for row in promises.splitlines() if row.startswith("| ") and not row.startswith("| promise")]
    assert len(rows) > 20
    assert not [row for row in rows if "`tests/" not in row]
