"""What makes a tool go by what its earlier run left, or by git, as its configuration and its words say. Pure.

pytest reads `.pytest_cache` only when asked to (`--lf`), and testmon its own data: who is asked by a configuration goes by it as one who is
asked on the line, and a result of before says nothing of the next run. vitest orders its test files by the results of the run before; that
says nothing where files run side by side and each in its own world, and may where they do not: then the order can decide. Decision 0015 has
the reasons. What is taken for steering and is not costs a join and nothing else.
"""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence

PYTEST_CONFIG = frozenset({"pytest.ini", ".pytest.ini", "pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg"})
STEERING_FILES = PYTEST_CONFIG | frozenset(
    {"Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", ".justfile", "noxfile.py", "Taskfile.yml", "Taskfile.yaml"}
    | {"package.json", "mise.toml", ".mise.toml", "tasks.py"}
)
"""Where a call of pytest or vitest may stand with its options."""

_PYTEST = re.compile(rb"(?<![\w-])--(?:lf|ff|nf|sw|last-failed|failed-first|new-first|stepwise|testmon|picked)\b")
"""Options by which pytest goes by what its earlier run, or git, says. In its configuration they make `.pytest_cache` an input besides."""
_KIN = re.compile(
    r"(?<![\w-])--(?:lf|ff|nf|sw|last-failed|failed-first|new-first|stepwise|testmon|picked|only-?(?:failures|changed)|next-failure"
    r"|changedSince|lastCommit|rerun-failed|order-by[= ][\w,]*defects)\b",
    re.IGNORECASE,
)
"""The same of all test tools, in a recipe or script."""
_JEST = re.compile(rb"\b(?:onlyChanged|onlyFailures|lastCommit|changedSince)\b")

_SEVERAL = r"[\"']?(?:[2-9]|[1-9]\d+)\b"
_ORDERED = (
    r"(?i:--(?:no-?)?(?:isolate|file-?parallelism|bail|pool-?options)\b"
    rf"|--(?:min|max)-?(?:workers|threads|forks)\b(?![=\s]{_SEVERAL}))"
)
_ELSEWHERE = r"(?:--config|-c)[\s=](?!\S*(?:^|/|\b)vite(?:st)?\.)(?=\S*\.[cm]?[jt]s\b)(?!\S*jest)"
"""A configuration by another name, which is not looked at."""
_WORDS = re.compile(rf"(?:^|\s){_ORDERED}|(?:^|\s){_ELSEWHERE}")
_SCRIPT = re.compile(rf"(?<![\w-]){_ORDERED}|\bvitest\b[^\"\n;&|]*\s{_ELSEWHERE}".encode())
_VALUE = r"[\"']?\s*:\s*"
_VITEST = re.compile(
    rf"""(?x) \b(?:bail|sequencer)\b | \b(?:isolate|fileParallelism)\b (?!{_VALUE}true\b)
    | \bsingle(?:Thread|Fork)\b (?!{_VALUE}false\b) | \b(?:min|max)(?:Workers|Threads|Forks)\b (?!{_VALUE}{_SEVERAL})
    | \bbrowser{_VALUE}\{{
    | (?:\bfrom|\bimport|\brequire|\bextends) [\s(:]* ["'] (?:
        \.[^"']*/(?!vite)[^"'/]+ | (?!vite(?:st)?/)[^."'][^"']*(?<!ts)(?<!ts-)(?:config|preset)[^"']*
    ) ["']
    """.encode()
)
"""Settings of vitest by which files may see one another or not all are run; and settings taken from where nobody looks."""


def is_vitest_config(name: str) -> bool:
    """Say whether vitest may take its settings from a file of this name."""
    return name.startswith("vite") and name.endswith((".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json"))


def steers(name: str, text: bytes) -> frozenset[str]:
    """Return which tools go by their cache as this file says: "pytest", "vitest".

    Args:
        name: the file's, one of `STEERING_FILES` or `is_vitest_config`.
    """
    found = {"pytest"} if name in STEERING_FILES and _PYTEST.search(text) else set()
    if (_VITEST.search(text) if is_vitest_config(name) else _SCRIPT.search(text)) is not None:
        found.add("vitest")
    return frozenset(found)


def by_order(args: Sequence[str]) -> bool:
    """Say whether the words of a call make the order count in which vitest runs its files."""
    return _WORDS.search(" ".join(args)) is not None


_ONE_WORKER = re.compile(rb"VITEST_(?:MIN|MAX)_(?:WORKERS|THREADS|FORKS)=.*")


def steers_by_env(env: Iterable[bytes]) -> bool:
    """Say whether `NAME=value` entries make pytest read its cache or may have vitest run one file after another."""
    return any((entry.startswith(b"PYTEST_ADDOPTS=") and _PYTEST.search(entry)) or _ONE_WORKER.fullmatch(entry) for entry in env)


PYTEST_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
"""Where pytest looks for its settings in one folder, in this order (docs.pytest.org/en/stable/reference/customize.html)."""
PYTEST_NAMES = frozenset({"pytest", "py.test"})
HIDING = frozenset(
    {"make", "gmake", "just", "task", "poe", "mise", "npm", "pnpm", "yarn", "bun", "npx", "bunx", "uv", "uvx", "poetry", "pdm", "hatch"}
    | {"rye", "pipenv", "tox", "nox", "composer", "bundle", "rake", "mage", "gulp", "grunt", "lerna", "moon"}
)
"""Wrappers behind whose words there may be a tool that they do not name."""


def pytest_settings(name: str, text: bytes) -> str | None:
    """Return the options that a settings file of pytest adds to every call (`addopts`), None when the file says nothing to pytest.

    Args:
        name: the file's, one of `PYTEST_FILES`.
    """
    source = text.decode("utf-8", "replace")
    try:
        if name.endswith(".toml"):
            found = tomllib.loads(source)
            own = name != "pyproject.toml"
            tables = (
                [found.get("pytest")]
                if own
                else [found.get("tool", {}).get("pytest"), found.get("tool", {}).get("pytest", {}).get("ini_options")]
            )
            options = [table["addopts"] for table in tables if isinstance(table, dict) and "addopts" in table]
            return _flat(options) if own or any(isinstance(table, dict) for table in tables) else None
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(source)
    except (ValueError, AttributeError, TypeError, RecursionError, configparser.Error):
        return source  # it cannot be read: then whatever stands in it may count
    section = "tool:pytest" if name == "setup.cfg" else "pytest"
    if not parser.has_section(section):
        return "" if name in ("pytest.ini", ".pytest.ini") else None
    return parser.get(section, "addopts", fallback="")


def _flat(options: object) -> str:
    return " ".join(map(_flat, options)) if isinstance(options, list) else str(options)


def steers_pytest(options: str) -> bool:
    """Say whether options of pytest have it go by what its earlier run, or git, says."""
    return _PYTEST.search(options.encode()) is not None


def runs_pytest(words: Sequence[str]) -> int:
    """Return where the words of a call name pytest, also as a module; -1 where they do not."""
    found = (at for at, word in enumerate(words) if word.removeprefix("-m").rpartition("/")[2] in PYTEST_NAMES)
    return next(found, -1)


RECIPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("make", "gmake"), ("GNUmakefile", "makefile", "Makefile")),
    "just": ("justfile", "Justfile", ".justfile"),
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), ("package.json",)),
    "tox": ("tox.ini", "pyproject.toml", "setup.cfg"),
    "nox": ("noxfile.py",),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    **dict.fromkeys(("poe", "pdm", "hatch", "rye"), ("pyproject.toml",)),
    "mise": ("mise.toml", ".mise.toml"),
    "composer": ("composer.json",),
    "rspec": (".rspec", ".rspec-local"),
    "phpunit": ("phpunit.xml", "phpunit.xml.dist"),
}
"""In which files of its folder a wrapper finds what it runs, and a tool options of its own."""
_ORDERED_BY_DEFECTS = re.compile(r"executionOrder\s*=\s*[\"'][^\"']*defects")
_VARIABLE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*(?::|::|\?|\+)?=\s*(.*)")
_REFERENCE = re.compile(r"[$][({]([A-Za-z_]\w*)[)}]|[{][{]\s*([A-Za-z_]\w*)\s*[}][}]")


def recipe_steers(name: str, words: Sequence[str], text: str) -> bool:
    """Say whether what a call runs, as a file of `RECIPES` has it, goes by what an earlier run, or git, says.

    Of make, just, the scripts of package.json and tasks of pyproject.toml what the words name counts, and what that needs; of any other
    the whole file.
    """
    if not _KIN.search(text) and not _ORDERED_BY_DEFECTS.search(text):
        return False
    if name in ("make", "gmake", "just"):
        recipes, values = _recipes(text)
        return any(_KIN.search(part) for part in _needed(recipes, values, [word for word in words if not word.startswith("-")]))
    if name in ("npm", "pnpm", "yarn", "bun"):
        try:
            scripts = json.loads(text).get("scripts", {})
        except (ValueError, AttributeError, RecursionError):
            return True
        return isinstance(scripts, dict) and any(
            isinstance(script, str) and _KIN.search(script)
            for script in (scripts.get(before + word) for word in words for before in ("", "pre", "post"))
        )
    if name in ("poe", "pdm", "hatch", "rye"):
        return _tasks_steer(words, text)
    return True


def _tasks_steer(words: Sequence[str], text: str) -> bool:
    """The same of tasks in TOML, by the key or the table that holds them; pytest's own options are read elsewhere."""
    table = key = ""
    named = {part for word in words for part in word.split(":")}
    for line in text.splitlines():
        if line.startswith("["):
            table, key = line.strip("[] \t\"'").rpartition(".")[2].strip("\"'"), ""
        elif (assigned := _KEY.match(line)) is not None:
            key = assigned[1]
        if key != "addopts" and not {key, table}.isdisjoint(named) and _KIN.search(line):
            return True
    return False


_KEY = re.compile(r"[\"']?([\w.:-]+)[\"']?\s*=")


def _recipes(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return of a makefile or justfile each target with what it needs and does, and its variables."""
    recipes: dict[str, str] = {}
    values: dict[str, str] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line[:1] in ("\t", " ") and current:
            for target in current:
                recipes[target] += f"\n{line}"
        elif (assigned := _VARIABLE.fullmatch(line)) is not None:
            values[assigned[1]] = values.get(assigned[1], "") + " " + assigned[2]
        elif line.strip() and not line.startswith("#"):
            left, _, needs = line.partition(":")
            current = left.split() if ":" in line else []  # of just also the names of its arguments, which do no harm
            for target in current:
                recipes[target] = f"{recipes.get(target, '')} {needs} {left if '--' in left else ''}"
    return recipes, values


def _needed(recipes: Mapping[str, str], values: Mapping[str, str], targets: Sequence[str]) -> list[str]:
    """Return the recipes of some targets, or of the first one, and all that they name: prerequisites, variables."""
    left = list(targets) or list(recipes)[:1]
    seen: dict[str, str] = {}
    while left:
        name = left.pop()
        found = recipes.get(name, "") if name in recipes else values.get(name, "")
        if name not in seen and found:
            seen[name] = found
            left += found.partition("\n")[0].split()
            left += [one or other for one, other in _REFERENCE.findall(found)]
            left += re.findall(r"(?:MAKE[)}]|make|just)\s+([\w.-]+)", found)
    return list(seen.values())


def steers_jest(text: bytes) -> bool:
    """Say whether jest's configuration has it go by what git or an earlier run says."""
    return _JEST.search(text) is not None
