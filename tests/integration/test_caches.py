"""Every name in `tree.CACHES` on the real tools: without it they say the same and end with the same code, whatever it holds.

Each tool runs through a row of states of its project, options changing with them, with its cache carried on from state to state; after
each state it runs once more with the cache taken away. Where that can make a difference the scan has to see it, and that is shown, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from integration.node_tools import Node, node  # noqa: F401  (a fixture)
from integration.test_tree import Watch, quiet_home, same_size_same_times, write  # noqa: F401  (a fixture)
from stretto import commands

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
"""All states; else those without which nothing is said."""
Said = tuple[int, str, str]
COLOURS = re.compile(r"\x1b\[[\d;]*m")
TIMES = re.compile(r"\b\d+(?:\.\d+)? ?m?s\b|\d{2}:\d{2}:\d{2}|(?<=\d)m (?=\d)")
"""Durations and clocks, of which no tool promises anything."""


def some(states: dict[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    print(f"scale {'soak' if SOAK else 'quick'}")
    return list(states.items())[: None if SOAK else 3]


def say(folder: Path, argv: Sequence[str], extra: Mapping[str, str] | None = None) -> Said:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "RUFF", "MYPY", "NO_COLOR"))}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(extra or {})}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, TIMES.sub("T", COLOURS.sub("", done.stdout)), TIMES.sub("T", COLOURS.sub("", done.stderr))


def take_away(folder: Path, name: str) -> int:
    """Remove every cache of that name; -> how many there were."""
    found = list(folder.rglob(name))
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(found)


PASSING = "import mod\n\n\ndef test_one():\n    assert mod.VALUE == 'yes'\n\n\ndef test_two():\n    assert mod.VALUE\n"
PYTEST = [sys.executable, "-m", "pytest", "--no-header"]
MYPY = [sys.executable, "-m", "mypy"]
RUFF = [sys.executable, "-m", "ruff", "check", "--output-format", "concise"]

STATES = {
    "pass": {"mod.py": "VALUE = 'yes'\n", "test_mod.py": PASSING},
    "fail": {"mod.py": "VALUE = 'no'\n"},
    "fail in another way": {"mod.py": "import os\nVALUE: int = 'yes'\n", "test_mod.py": PASSING.replace("'yes'", "mod.NONE")},
    "broken": {"mod.py": "VALUE = (\n"},
    "pass again": {"mod.py": "VALUE = 'yes'\n", "test_mod.py": PASSING},
}
"""What is written over the state before."""
TOOLS = [
    pytest.param(
        "__pycache__",
        [([sys.executable, *more, "-c", "import mod; print(mod.VALUE)"], {}) for more in ([], ["-O"], ["-W", "error"])]
        + [([sys.executable, "-c", "import mod; print(mod.VALUE)"], {"PYTHONDONTWRITEBYTECODE": "1"})],
        id="python",
    ),
    pytest.param(
        ".pytest_cache __pycache__",
        [([*PYTEST, "-W", "error", "-q"], {}), ([*PYTEST, "-x", "-v"], {}), ([*PYTEST, "-k", "two", "-rA"], {}), ([*PYTEST, "--co"], {})],
        id="pytest",
    ),
    pytest.param(
        ".mypy_cache",
        [([*MYPY, "mod.py"], {}), ([*MYPY, "--strict", "."], {}), ([*MYPY, "--no-error-summary", "test_mod.py"], {})],
        id="mypy",
    ),
    pytest.param(
        ".ruff_cache",
        [
            ([*RUFF, "."], {}),
            ([*RUFF, "--select", "F,E,I,INP", "mod.py"], {}),
            ([*RUFF, "--statistics", "."], {}),
            ([*RUFF, "-q", "."], {}),
        ],
        id="ruff",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("names", "calls"), TOOLS)
def test_a_tool_says_the_same_without_its_cache_in_every_state_of_the_project(short, names, calls):
    folder, carried = short / "c", 0
    for number, (state, files) in enumerate(some(STATES)):
        for file, text in files.items():
            write(folder / file, text)
        argv, extra = calls[number % len(calls)]
        if SOAK or not number:
            say(folder, argv, extra)  # makes the cache; later it is carried on from another state and other options
        with_cache = say(folder, argv, extra)
        carried += sum(take_away(folder, name) for name in names.split())
        assert say(folder, argv, extra) == with_cache, state
    assert carried, "there was no cache to take away"


def test_python_says_the_same_from_byte_code_that_is_out_of_date_or_that_the_source_is_checked_against(short):
    folder = short / "c"
    call = [sys.executable, "-c", "import mod; print(mod.VALUE)"]
    for mode in ("timestamp", "checked-hash"):
        write(folder / "mod.py", f"VALUE = '{mode}'\n")
        subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", mode, "."], cwd=folder, check=True)
        write(folder / "mod.py", f"VALUE = 'newer than {mode}'\n")
        assert say(folder, call)[1] == f"newer than {mode}\n"


def test_python_takes_unchecked_byte_code_unseen_so_it_is_looked_at(short):
    folder = short / "c"
    write(folder / "mod.py", "VALUE = 'old'\n")
    watch = Watch(folder)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."], cwd=folder, check=True)
    assert watch.moved() == {"__pycache__"}
    write(folder / "mod.py", "VALUE = 'newer'\n")
    watch.moved()
    call = [sys.executable, "-c", "import mod; print(mod.VALUE)"]
    assert say(folder, call)[1] == "old\n"
    take_away(folder, "__pycache__")
    assert watch.moved() == {"__pycache__"}
    assert say(folder, call)[1] == "newer\n"


@pytest.mark.parametrize(
    "more", [pytest.param([], id="a-warning-that-is-shown"), pytest.param(["-W", "error"], id="a-warning-that-is-an-error")]
)
def test_a_warning_of_the_compiler_is_said_only_where_byte_code_is_made_so_that_it_is_gone_counts(short, more):
    folder = short / "c"
    write(folder / "mod.py", 'VALUE = 1\nassert (VALUE, "always true")\n')
    call = [sys.executable, *more, "-c", "import mod; print(mod.VALUE)"]
    say(folder, [sys.executable, "-W", "ignore", "-c", "import mod"])
    warm = say(folder, call)
    watch = Watch(folder)
    take_away(folder, "__pycache__")
    assert watch.moved() == {"__pycache__"}
    assert say(folder, call) != warm


def test_ruff_says_something_else_without_its_cache_where_another_file_counts_so_that_it_is_gone_counts(short):
    folder = short / "c"
    write(folder / "a.py", "import os\n\nimport foo\nimport zlib2\n\nprint(os, foo, zlib2)\n")
    call = [*RUFF, "--select", "I", "a.py"]
    say(folder, call)
    write(folder / "foo" / "__init__.py", "")
    watch = Watch(folder)
    with_cache = say(folder, call)
    assert watch.moved() == set()
    take_away(folder, ".ruff_cache")
    assert watch.moved() == {".ruff_cache"}
    assert say(folder, call) != with_cache


# --- eslint, and what lies in a node_modules


ESLINT = "export default [{rules: {'no-unused-vars': 'error', 'no-debugger': 'warn'}}];\n"
SCRIPTS = {
    "pass": {"eslint.config.mjs": ESLINT, "src/a.js": "export const a = 1;\n", "src/b.js": "export const b = 2;\n"},
    "fail": {"src/a.js": "const a = 1;\n"},
    "warn": {"src/a.js": "debugger;\n"},
    "another rule": {"eslint.config.mjs": ESLINT.replace("'warn'", "'error'")},
    "pass again": {"src/a.js": "export const a = 1;\n"},
}
CACHED = [
    ["--cache"],
    ["--cache", "--cache-strategy", "content"],
    ["--cache", "--cache-location", "here/"],
    ["--cache", "--format", "json"],
]


@pytest.mark.slow
def test_eslint_says_the_same_without_its_cache_in_every_state_of_the_project(node: Node):  # noqa: F811
    folder, carried = node.project("lint"), 0
    for number, (state, files) in enumerate(some(SCRIPTS)):
        for file, text in files.items():
            write(folder / file, text)
        argv = [*node.tool("eslint"), "src", *CACHED[number % len(CACHED)]]
        if SOAK or not number:
            say(folder, argv)
        with_cache = say(folder, argv)
        if "here/" in argv:
            shutil.rmtree(folder / "here")  # no name of the list: looked at like any other file
        else:
            carried += take_away(folder, ".eslintcache")
        assert say(folder, argv) == with_cache, state
    assert carried, "there was no cache to take away"


@pytest.mark.slow
@pytest.mark.parametrize("place", [".eslintcache", "node_modules/.cache/eslint"])
def test_eslint_says_something_else_without_its_cache_where_another_file_counts_so_that_it_is_gone_counts(node: Node, place):  # noqa: F811
    folder = node.project(f"cross-{len(place)}")
    rule = "{create: c => ({Program(n) { if (existsSync('src/b.js')) c.report({node: n, message: 'there is a b'}); }})}"
    write(
        folder / "eslint.config.mjs",
        f"import {{existsSync}} from 'fs';\nexport default [{{plugins: {{x: {{rules: {{y: {rule}}}}}}}, rules: {{'x/y': 'error'}}}}];\n",
    )
    write(folder / "src" / "a.js", "export const a = 1;\n")
    argv = [*node.tool("eslint"), "src/a.js", "--cache", "--cache-location", place + "/" * place.count("/")]
    assert say(folder, argv)[0] == 0
    write(folder / "src" / "b.js", "\n")
    watch = Watch(folder)
    assert say(folder, argv)[0] == 0
    assert watch.moved() == set()
    (folder / place).unlink() if (folder / place).is_file() else shutil.rmtree(folder / place)
    assert watch.moved() == {place}
    assert say(folder, argv)[0] == 1


PRETTY = {
    "pass": {".prettierrc": '{"semi": true}', "src/a.js": "export const a = 1;\n", "src/b.ts": "export const b: number = 2;\n"},
    "fail": {"src/a.js": "export const   a = 1\n"},
    "another setting": {".prettierrc": '{"semi": false}'},
    "broken": {"src/b.ts": "export const b: number = (\n"},
    "pass again": {"src/a.js": "export const a = 1\n", "src/b.ts": "export const b: number = 2\n"},
}


@pytest.mark.slow
def test_prettier_says_the_same_without_its_cache_in_every_state_of_the_project(node: Node):  # noqa: F811
    folder, carried = node.project("pretty"), 0
    words = (["--check"], ["--list-different", "--cache-strategy", "metadata"], ["--check", "--cache-strategy", "content"])
    for number, (state, files) in enumerate(some(PRETTY)):
        for file, text in files.items():
            write(folder / file, text)
        argv = [*node.tool("prettier"), "src", "--cache", *words[number % len(words)]]
        if SOAK or not number:
            say(folder, argv)
        with_cache = say(folder, argv)
        carried += take_away(folder / "node_modules", ".cache")
        assert say(folder, argv) == with_cache, state
    assert carried, "there was no cache to take away"


# --- vitest


CASES = "import {test, expect} from 'vitest';\ntest('one', () => { expect(%s).toBe(1); });\n"
SUITES = {
    "pass": {f"src/{name}.test.js": CASES % 1 for name in ("a", "b", "c")},
    "one fails": {"src/c.test.js": CASES % 2},
    "another, and one is broken": {"src/c.test.js": CASES % 1, "src/a.test.js": CASES % 3, "src/b.test.js": "import 'nothing-there';\n"},
    "one is gone, one longer": {"src/b.test.js": CASES % 1, "src/a.test.js": CASES % 1 + "// more\n" * 50},
    "pass again": {"src/c.test.js": CASES % 1},
}


def in_any_order(said: Said) -> tuple[int, list[str], list[str]]:
    """Lines without the numbers that a failure gets by its place in the order."""
    return said[0], *(sorted(re.sub(r"⎯+|\[\d+/\d+\]", "", line).strip() for line in text.splitlines()) for text in said[1:])


@pytest.mark.slow
def test_vitest_says_the_same_without_its_earlier_results_in_every_state_but_for_the_order_of_files(node: Node):  # noqa: F811
    """In a default run; the scan sees neither that they come, nor that they change, nor that they are gone (decision 0015)."""
    folder, carried = node.project("suites"), 0
    argv = [*node.tool("vitest"), "run", "--reporter=verbose"]
    for state, files in some(SUITES):
        for file, text in files.items():
            write(folder / file, text)
        watch = Watch(folder)
        with_cache = in_any_order(say(folder, argv))
        assert watch.moved() == set(), state
        carried += take_away(folder, "results.json")
        assert in_any_order(say(folder, argv)) == with_cache, state
        assert watch.moved() == set(), state
    assert carried, "there was no cache to take away"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["argv", "configuration"])
def test_vitest_may_say_something_else_by_the_order_of_files_where_they_see_each_other_so_its_results_count(node: Node, where):  # noqa: F811
    """Without isolation and side by side no more, a file that failed goes first the next time and may find another world."""
    folder = node.project(f"order-{where}")
    write(folder / "src" / "a.test.js", "globalThis.seen = true;\n" + CASES % 1 + "// long\n" * 50)
    write(folder / "src" / "b.test.js", CASES % "globalThis.seen ? 2 : 1")
    argv = [*node.tool("vitest"), "run"]
    if where == "argv":
        argv += ["--no-isolate", "--no-file-parallelism"]
        check = commands.check_of("vitest", ["vitest", *argv[2:]])
        assert check is not None and check.steered
    else:
        write(folder / "vitest.config.mjs", "export default {test: {isolate: false, fileParallelism: false}};\n")
    watch = Watch(folder)
    assert say(folder, argv)[0] == 1  # the longer file goes first
    if where == "configuration":
        assert any(path.endswith("results.json") for path in watch.moved())
    assert say(folder, argv)[0] == 0  # the one that failed goes first
    if where == "configuration":
        assert any(path.endswith("results.json") for path in watch.moved())


# --- a development server's folder


JUNK = "debugger; const unused = 1; export const x: number = 'no'\n"
OWN = ("server/app/page.js", "static/chunks/main-app.js", "trace", "cache/webpack/x.pack", "build-manifest.json")
COMPILER = '{"compilerOptions": {"noEmit": true, "strict": true, "skipLibCheck": true, "types": [], "allowJs": true, "checkJs": true}, '


@pytest.fixture(scope="module")
def shop(node: Node) -> Path:  # noqa: F811
    folder = node.project("shop")
    write(folder / "package.json", '{"private": true, "type": "module", "dependencies": {"next": "15.5.0"}}')
    write(folder / "eslint.config.mjs", ESLINT)
    write(folder / "tsconfig.json", COMPILER + '"include": [".next/types/**/*.ts", ".next/dev/types/**/*.ts", "**/*.ts"]}')
    return folder


def put_next(folder: Path, text: str) -> None:
    shutil.rmtree(folder / ".next", ignore_errors=True)
    for name in OWN:
        write(folder / ".next" / name, text)
    write(folder / ".next" / "package.json", '{"type": "commonjs"}')
    write(folder / ".next" / "types" / "app" / "page.ts", "export type Page = string\n")


SPARING = {
    "tsc": ["tsc", "-p", ".", "--pretty", "false"],
    "eslint": ["eslint", "src"],
    "vitest": ["vitest", "run", "--reporter=verbose"],
}


@pytest.mark.slow
@pytest.mark.parametrize("tool", SPARING)
@pytest.mark.parametrize("passes", [True, False] if SOAK else [False])
def test_a_tool_that_spares_next_says_the_same_whatever_the_server_has_written(shop, node: Node, tool, passes):  # noqa: F811
    """The promise behind the row of `workshops.WORKSHOPS`: rewritten, or gone but for the parts that count."""
    write(shop / "src" / "a.ts", "export const a: number = 1\n" if passes else "debugger\nexport const a: number = 'one'\n")
    write(shop / "src" / "b.js", "export const b = 1;\n" if passes else "const b = 1;\n")
    write(
        shop / "src" / "a.test.js",
        f"import {{test, expect}} from 'vitest';\ntest('a', () => {{ expect(1).toBe({1 if passes else 2}); }});\n",
    )
    argv = [*node.tool(SPARING[tool][0]), *SPARING[tool][1:]]
    put_next(shop, "export const page = 1;\n")
    first = say(shop, argv)
    assert (first[0] == 0) is passes or tool == "tsc", first  # vitest's own types may not suit this compiler
    put_next(shop, JUNK)
    for name in OWN[1:3]:
        (shop / ".next" / name).unlink()
    assert say(shop, argv) == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "text", "argv"),
    [
        pytest.param("types/bad.ts", "export const n: number = 'no'\n", ["tsc", "-p", ".", "--pretty", "false"], id="types"),
        pytest.param("server/x.test.js", "throw new Error('read');\n", ["vitest", "run"], id="tests"),
        pytest.param("server/page.js", JUNK, ["eslint", "."], id="eslint-everything"),
    ],
)
def test_what_other_tools_read_of_next_changes_what_they_say_so_it_counts_for_them(shop, node: Node, part, text, argv):  # noqa: F811
    from stretto import workshops

    write(shop / "src" / "a.test.js", "import {test} from 'vitest';\ntest('a', () => {});\n")
    put_next(shop, "export const page = 1;\n")
    call = [*node.tool(argv[0]), *argv[1:]]
    before = say(shop, call)
    write(shop / ".next" / part, text)
    assert say(shop, call) != before
    counts = workshops.part(workshops.WORKSHOPS[".next"], part) in ("read", "test")
    configs = {name: (shop / name).read_text() for name in ("package.json", "tsconfig.json")}
    assert counts or not workshops.spares(argv, configs, [".next"])
