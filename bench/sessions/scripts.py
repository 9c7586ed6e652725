"""What the sessions do: one scripted model for each project. Pure; paths are the only thing that depends on where the project is.

Every session adds a function with a mistake in it and a test that finds it, sees the failure, mends it, breaks and mends an older test,
and checks in the shapes that real sessions have (82 % carry `2>&1`, 47 % end in a pipe, 22 % are chains, 18 % select single tests).
The model thinks as long as in 260 recorded sessions with 2,515 checks: 3.6 s (the median) before a call, and before the first check after a
write 4.0, 6.9 and 15.8 s (the quartiles of the time from the last write to the check).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stretto.demo.script import EDIT_S, LONG_S, MEDIAN_S, SHORT_S, TIMEOUT_MS, Kind, Step
from stretto.testing.api import Call, Turn

TIMES = f"{EDIT_S} s before a call, {SHORT_S}, {MEDIAN_S} or {LONG_S} s from a write to its check (recorded sessions)"


def structlog(project: Path) -> Sequence[Step]:
    """Return the session on the quick suite: filters, single files, the whole suite again and again."""
    utils, test = project / "src/structlog/_utils.py", project / "tests/test_shorten.py"
    levels, named, misnamed = project / "src/structlog/_log_levels.py", 'return "warning"', 'return "warn"'
    anchor = "    return processname\n"
    draft = (
        f'{anchor}\n\ndef shorten(text: str, limit: int) -> str:\n    """\n    Return *text*, cut to *limit* characters.\n    """\n'
        '    if len(text) <= limit:\n        return text\n    return text[:limit] + "..."\n'
    )
    content = (
        '"""What shorten cuts."""\n\nimport pytest\n\nfrom structlog._utils import shorten\n\n\n'
        '@pytest.mark.parametrize(\n    ("text", "limit", "expected"),\n    [("abc", 3, "abc"), ("abcdef", 5, "ab..."), ("", 3, "")],\n)\n'
        "def test_shorten(text, limit, expected):\n    assert shorten(text, limit) == expected\n"
    )
    return (
        _look("read", utils),
        _look("read", levels),
        _check("the suite", "pytest -q 2>&1 | tail -5", EDIT_S),
        _write("function + test", _edit(utils, anchor, draft), _new(test, content)),
        _check("its file", "pytest -q tests/test_shorten.py 2>&1 | tail -20", SHORT_S),
        _write("mend", _edit(utils, 'return text[:limit] + "..."', 'return text[: limit - 3] + "..."')),
        _check("its file", "pytest -q tests/test_shorten.py 2>&1 | tail -20", SHORT_S),
        _check("the suite", "cd . && pytest -q 2>&1 | tail -5", EDIT_S),
        _write("break an older test", _edit(levels, named, misnamed)),
        _check("the suite", "pytest -q 2>&1 | tail -5", MEDIAN_S),
        _check("those that fail", "pytest -q -k 'warn or shorten' 2>&1 | grep -E 'passed|failed'", EDIT_S),
        _write("mend", _edit(levels, misnamed, named)),
        _check("those that failed", "pytest -q -k 'warn or shorten' 2>&1 | grep -E 'passed|failed'", SHORT_S),
        _check("the suite", "pytest -q 2>&1 | tail -5", EDIT_S),
        _write("a third case", _edit(test, '("", 3, "")]', '("", 3, ""), ("abcd", 3, "...")]')),
        _check("the suite", "pytest -q 2>&1 | tail -5", LONG_S),
        _check("file && suite", "pytest -q tests/test_shorten.py && pytest -q 2>&1 | grep passed", EDIT_S),
        _done(),
    )


def click(project: Path) -> Sequence[Step]:
    """Return the session of linters and tests in chains."""
    utils, test = project / "src/click/utils.py", project / "tests/test_format_size.py"
    anchor = "def make_default_short_help(help: str, max_length: int = 45) -> str:\n"
    draft = (
        'def format_size(count: int) -> str:\n    """Returns a number of bytes with a unit."""\n    value = count\n'
        '    for unit in ("B", "kB", "MB"):\n        if value < 1000:\n            return f"{value:.3g} {unit}"\n        value /= 1000\n'
        f'    return f"{{value:.3g}} GB"\n\n\n{anchor}'
    )
    content = (
        "import pytest\n\nfrom click.utils import format_size\n\n\n"
        '@pytest.mark.parametrize(\n    ("count", "expected"),\n    [(0, "0 B"), (1500, "1.5 kB"), (10**10, "10 GB")],\n)\n'
        "def test_format_size(count, expected):\n    assert format_size(count) == expected\n"
    )
    lint, types = "ruff check --no-fix src tests", "mypy"
    chain = f"{lint} && {types} 2>&1 | tail -5 && pytest -q 2>&1 | tail -5"
    return (
        _look("read", utils),
        _check("ruff && mypy && pytest", chain, EDIT_S),
        _write("function + test", _edit(utils, anchor, draft), _new(test, content)),
        _check("its file", "pytest -q tests/test_format_size.py 2>&1 | tail -20", SHORT_S),
        _check("ruff; mypy", f"{lint} 2>&1 | tail -20; {types} 2>&1 | tail -20", EDIT_S),  # an int that becomes a float: mypy finds it
        _write("mend", _edit(utils, "    value = count\n", "    value = float(count)\n")),
        _check("ruff && mypy && pytest", chain, MEDIAN_S),
        _write("an unused import", _edit(test, "import pytest\n\n", "import os\n\nimport pytest\n\n")),
        _check("ruff && pytest", f"{lint} 2>&1 | tail -20 && pytest -q 2>&1 | tail -3", SHORT_S),
        _write("mend", _edit(test, "import os\n\nimport pytest\n\n", "import pytest\n\n")),
        _check("ruff && pytest", f"{lint} 2>&1 | tail -20 && pytest -q 2>&1 | tail -3", SHORT_S),
        _write("break older tests", _edit(utils, "return str(value)\n", "return repr(value)\n")),
        _check("pytest", "pytest -q 2>&1 | tail -3", MEDIAN_S),
        _write("mend", _edit(utils, "return repr(value)\n", "return str(value)\n")),
        _check("ruff && mypy && pytest", chain, LONG_S),
        _check("pytest | grep", f"{types} && pytest -q 2>&1 | grep -E 'passed|failed'", EDIT_S),
        _done(),
    )


def networkx(project: Path) -> Sequence[Step]:
    """Return the session on the slow suite."""
    wiener, test = project / "networkx/algorithms/wiener.py", project / "networkx/algorithms/tests/test_hyper_wiener.py"
    exported = '__all__ = ["wiener_index", "schultz_index", "gutman_index"]\n'
    draft = (
        '__all__ = ["wiener_index", "hyper_wiener_index", "schultz_index", "gutman_index"]\n\n\n'
        "@nx._dispatchable\ndef hyper_wiener_index(G):\n"
        '    """Returns the hyper-Wiener index of the undirected graph `G`: half of the sum of d + d * d over all pairs."""\n'
        "    total = sum(d + d * d for _, nbrs in nx.shortest_path_length(G) for d in nbrs.values())\n    return total / 2\n"
    )
    content = (
        "import networkx as nx\n\n\ndef test_hyper_wiener_index_of_path_graph():\n"
        "    found = nx.algorithms.wiener.hyper_wiener_index(nx.path_graph(3))\n    assert found == 5\n\n\n"
        "def test_hyper_wiener_index_of_complete_graph():\n"
        "    found = nx.algorithms.wiener.hyper_wiener_index(nx.complete_graph(4))\n    assert found == 6\n"
    )
    halved, doubled = "return total if G.is_directed() else total / 2", "return 2 * total"
    suite, mine = "pytest -q networkx/algorithms 2>&1 | tail -5", "pytest -q networkx/algorithms/tests/test_hyper_wiener.py 2>&1 | tail -25"
    return (
        _look("read", wiener),
        _check("the suite", suite, EDIT_S),
        _write("function + test", _edit(wiener, exported, draft), _new(test, content)),
        _check("its file", mine, SHORT_S),
        _write("mend", _edit(wiener, "    return total / 2\n\n", "    return total / 4\n\n")),
        _check("its file", mine, SHORT_S),
        _check("the suite", f"cd . && {suite}", EDIT_S),
        _check("the suite | grep", "pytest -q networkx/algorithms 2>&1 | grep -E 'passed|failed'", EDIT_S),
        _write("break an older test", _edit(wiener, halved, doubled)),
        _check("wiener", "pytest -q networkx/algorithms -k wiener 2>&1 | tail -5", MEDIAN_S),
        _write("mend", _edit(wiener, doubled, halved)),
        _check("the suite", suite, LONG_S),
        _check("file && suite", f"{mine} && {suite}", EDIT_S),
        _done(),
    )


def zod(project: Path) -> Sequence[Step]:
    """Return the session of tsc and vitest."""
    util, test = project / "src/v4/core/util.ts", project / "src/v4/core/tests/chunk.test.ts"
    anchor = "export function cleanRegex(source: string): string {\n"
    draft = (
        "export function chunk<T>(items: readonly T[], size: number): T[][] {\n  const found: T[][] = [];\n"
        "  for (let at = 0; at <= items.length; at += size) found.push(items.slice(at, at + size));\n  return found;\n}\n\n" + anchor
    )
    content = (
        'import { expect, test } from "vitest";\nimport { util } from "zod/v4/core";\n\n'
        'test("chunk", () => {\n  expect(util.chunk([1, 2, 3, 4], 2)).toEqual([[1, 2], [3, 4]]);\n'
        "  expect(util.chunk([1, 2, 3], 2)).toEqual([[1, 2], [3]]);\n  expect(util.chunk([], 2)).toEqual([]);\n});\n"
    )
    types, suite = "npx tsc --noEmit 2>&1 | tail -20", "npx vitest run 2>&1 | tail -6"
    mine = "npx vitest run src/v4/core/tests/chunk.test.ts 2>&1 | grep -E 'Tests|Error'"
    return (
        _look("read", util),
        _check("tsc && vitest", f"npx tsc --noEmit && {suite}", EDIT_S),
        _write("function + test", _edit(util, anchor, draft), _new(test, content)),
        _check("its file", mine, SHORT_S),
        _write("mend", _edit(util, "at <= items.length", "at < items.length")),
        _check("its file", mine, SHORT_S),
        _check("tsc", types, EDIT_S),
        _check("vitest", f"cd . && {suite}", EDIT_S),
        _write("a wrong type", _edit(util, "const found: T[][] = [];", "const found: T[] = [];")),
        _check("tsc", types, MEDIAN_S),
        _write("mend", _edit(util, "const found: T[] = [];", "const found: T[][] = [];")),
        _check("tsc && vitest", f"npx tsc --noEmit && {suite}", LONG_S),
        _check("vitest | grep", "npx vitest run 2>&1 | grep -E 'Tests|Test Files'", EDIT_S),
        _done(),
    )


def never_twice(project: Path) -> Sequence[Step]:
    """Return the session in which Stretto can only cost: no check is asked for twice, and other calls besides."""
    utils = project / "src/structlog/_utils.py"
    files = ("test_base", "test_config", "test_contextvars", "test_dev", "test_frames", "test_generic", "test_log_levels")
    steps = [_look("read", utils)]
    before = "Generic utilities."
    for number, name in enumerate(files):
        after = f"Generic utilities, {number}."
        steps.append(_write("edit", _edit(utils, before, after)))
        steps.append(_check(name, f"pytest -q tests/{name}.py 2>&1 | tail -3", SHORT_S))
        steps.append(Step("look", "git", Turn((_bash(f"git diff --stat && sed -n {number + 1},+4p README.md"),), "", EDIT_S)))
        before = after
    return (*steps, _done())


def _look(label: str, path: Path) -> Step:
    return Step("look", label, Turn((Call("Read", {"file_path": str(path)}),), "", EDIT_S))


def _write(label: str, *calls: Call) -> Step:
    return Step("write", label, Turn(calls, "", EDIT_S))


def _check(label: str, command: str, think_s: float) -> Step:
    kind: Kind = "check"
    return Step(kind, label, Turn((_bash(command),), "", think_s))


def _done() -> Step:
    return Step("look", "done", Turn((), "It is in, with tests; everything passes.", EDIT_S))


def _bash(command: str) -> Call:
    return Call("Bash", {"command": command, "description": "Run the checks", "timeout": TIMEOUT_MS})


def _edit(path: Path, old: str, new: str) -> Call:
    return Call("Edit", {"file_path": str(path), "old_string": old, "new_string": new})


def _new(path: Path, content: str) -> Call:
    return Call("Write", {"file_path": str(path), "content": content})
