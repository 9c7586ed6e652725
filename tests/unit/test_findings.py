"""What a failing check names, read from what the real tools printed (tests/unit/outputs).

Recorded with pytest 9.2.0, unittest of Python 3.11, ruff 0.17.6, mypy 2.4.1, pyright of 2026-11, jest 30, vitest 3.2.4, TypeScript 5.9.3,
eslint 9.39.1, go 1.27.3, cargo and rustc 1.95.0; only paths were made short and backtraces taken out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.findings import LINES_MOST, NAMES_MOST, TAIL_LINES, findings

OUTPUTS = Path(__file__).parent / "outputs"
NAMED = {
    "cargo": {"tests::adds", "tests::panics"},
    "eslint": {"/home/u/js/bad.mjs no-undef", "/home/u/js/bad.mjs prefer-const"},
    "go": {
        "TestSum",
        "TestTable",
        "TestTable/one_case",
        "example.com/a/b",
        'b/b.go cannot use "a" (untyped string constant) as int value in return statement',
    },
    "jest": {"./a.test.js", "boom", "sums › adds"},
    "mypy": {"typed.py arg-type", "typed.py return-value"},
    "pyright": {
        '/home/u/py/typed.py Argument of type "Literal[\'a\']" cannot be assigned to parameter "x" of type "int" in function "f"',
        '/home/u/py/typed.py Type "int" is not assignable to return type "str"',
    },
    "pytest": {"test_a.py::TestBox::test_n[2]", "test_a.py::test_fix", "test_a.py::test_sum"},
    "ruff": {"typed.py F401", "typed.py I001"},
    "ruff-concise": {"typed.py F401", "typed.py I001"},
    "rustc": {"src/lib.rs E0308", "src/lib.rs E0425"},
    "tsc": {"a.ts TS2322"},
    "tsc-pretty": {"a.ts TS2322"},
    "unittest": {"test_add (test_u.Sums.test_add)", "test_boom (test_u.Sums.test_boom)"},
    "vitest": {"b.test.mjs > boom", "b.test.mjs > sums > adds"},
}
SHOWN = {
    "cargo": "test tests::adds ... FAILED",
    "eslint": "/home/u/js/bad.mjs:2:1 'foo' is not defined no-undef",
    "go": "--- FAIL: TestSum (0.00s): a_test.go:3: got 2",
    "jest": "● boom: TypeError: no base",
    "mypy": 'typed.py:3: error: Incompatible return value type (got "int", expected "str")  [return-value]',
    "pyright": '/home/u/py/typed.py:3:12 - error: Type "int" is not assignable to return type "str"',
    "pytest": "FAILED test_a.py::test_sum - assert (1 + 1) == 3",
    "ruff": "typed.py:1:8 F401 [*] `os` imported but unused",
    "ruff-concise": "typed.py:1:8: F401 [*] `os` imported but unused",
    "rustc": "src/lib.rs:2:14 error[E0425]: cannot find function `h` in this scope",
    "tsc": "a.ts(2,31): error TS2322: Type 'number' is not assignable to type 'string'.",
    "tsc-pretty": "a.ts:2:31 - error TS2322: Type 'number' is not assignable to type 'string'.",
    "unittest": "FAIL: test_add (test_u.Sums.test_add)",
    "vitest": "FAIL  b.test.mjs > sums > adds: AssertionError: expected 2 to be 3 // Object.is equality",
}


def output(tool: str) -> str:
    return (OUTPUTS / f"{tool}.txt").read_text(encoding="utf-8")


def test_every_recorded_output_is_judged():
    assert {path.stem for path in OUTPUTS.iterdir()} == set(NAMED) == set(SHOWN)


@pytest.mark.parametrize("tool", NAMED)
def test_what_a_tool_printed_names_exactly_its_failures(tool):
    found = findings(output(tool))
    assert set(found.names) == NAMED[tool]
    assert SHOWN[tool] in found.lines


@pytest.mark.parametrize("tool", NAMED)
def test_the_same_failures_have_the_same_names_wherever_they_stand_and_whenever_they_ran(tool):
    """Line and column numbers and times move with every edit; the set of failures does not."""
    text = re.sub(r"(?<=[:(, m])(\d+)(?=[:,)\x1b])", lambda match: str(int(match[1]) + 7), output(tool))
    text = re.sub(r"\d+\.\d+ ?s\b|\b\d+ ?ms\b", "9.99s", text)
    assert text != output(tool)
    assert findings(text).names == findings(output(tool)).names


@pytest.mark.parametrize("tool", NAMED)
def test_one_failure_less_is_another_set(tool):
    """Of each output one named failure is taken away, line by line; mended in part is not the same as before."""
    lines = output(tool).splitlines(keepends=True)
    sets = {findings("".join(lines[:at] + lines[at + 1 :])).names for at in range(len(lines))}
    assert len(sets) > 1 or len(NAMED[tool]) == 1


def test_rspec_names_the_place_of_the_example():
    found = findings("Failures:\n\n  1) Sum adds\n\nrspec ./spec/sum_spec.rb:4 # Sum adds\n")
    assert found.names == ("./spec/sum_spec.rb",)


def test_an_output_that_nobody_knows_is_shown_by_its_end_and_names_nothing():
    found = findings("begin\n" + "\n".join(f"step {n}" for n in range(50)) + "\n\nit broke\n")
    assert found.names == ()
    assert len(found.lines) == TAIL_LINES
    assert found.lines[-1] == "it broke"


def test_more_failures_than_are_shown_are_counted():
    found = findings("\n".join(f"FAILED test_a.py::test_{n}" for n in range(LINES_MOST + 30)))
    assert len(found.lines) == LINES_MOST
    assert found.more == 30


@given(st.text(max_size=2000))
def test_any_text_is_read_and_what_comes_of_it_is_bounded(text):
    found = findings(text)
    assert len(found.names) <= NAMES_MOST
    assert len(found.lines) <= max(LINES_MOST, TAIL_LINES)
    assert list(found.names) == sorted(set(found.names))


@pytest.mark.parametrize("line", ["FAILED " + "a" * 200_000, "  ● " + " ›" * 60_000, "error" + ": " * 90_000, " " * 199_000 + "x"])
def test_a_line_made_to_be_slow_is_read_in_time_in_proportion(line):
    """No backtracking beyond the length: what a test prints cannot hold the supervisor up."""
    assert len(findings(line).lines) == 1
