"""What makes a tool go by what its earlier run left in a cache, as its configuration and its words say. Pure.

pytest reads `.pytest_cache` only when asked to (`--lf`). vitest orders its test files by the results of the run before; that says nothing
where files run side by side and each in its own world, and may where they do not: then the order can decide. Decision 0015 has the reasons.
What is taken for steering and is not costs a join and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PYTEST_CONFIG = frozenset({"pytest.ini", ".pytest.ini", "pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg"})
STEERING_FILES = PYTEST_CONFIG | frozenset(
    {"Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", ".justfile", "noxfile.py", "Taskfile.yml", "Taskfile.yaml"}
    | {"package.json", "mise.toml", ".mise.toml", "tasks.py"}
)
"""Where a call of pytest or vitest may stand with its options."""

_PYTEST = re.compile(rb"(?<![\w-])--(?:lf|ff|nf|sw|last-failed|failed-first|new-first|stepwise)\b")
"""Options that make `.pytest_cache` an input of every plain `pytest` when they stand in its configuration."""
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


def steers_jest(text: bytes) -> bool:
    """Say whether jest's configuration has it go by what git or an earlier run says."""
    return _JEST.search(text) is not None
