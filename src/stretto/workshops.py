"""Folders in which a development server works all the time, and the checks that do not look there. Pure.

`next dev` writes into `.next` whenever a page is looked at. Nothing a type checker or a test says hangs on that, but it would end every
result. Such a folder is known by name and marker: git ignores it, the package.json beside it names the tool, and a file of that tool is
in it. Then what moves in it counts for every command but those of which this module knows that they do not read it; parts of it that
they do read count for them, too. Decision 0011 has the reasons, and a test with the real tools stands behind each row.

A command that is not known to leave such a folder alone is taken to read it: that is the safe mistake.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Workshop(NamedTuple):
    """One tool's folder."""

    package: str
    """What package.json names the tool as."""
    markers: frozenset[str]
    """One of these lies in the folder."""
    built: frozenset[str]
    """Written by a build only, at every build: a test that reads what was built is run again after each."""
    read: re.Pattern[str]
    """Parts other tools read, as paths in the folder: they count after a run when their bytes changed, during it at any writing."""


WORKSHOPS: Mapping[str, Workshop] = {
    ".next": Workshop(
        package="next",
        markers=frozenset({"build-manifest.json", "routes-manifest.json", "dev"}),
        built=frozenset({"BUILD_ID"}),
        read=re.compile(r"\.(?:[cm]?ts|tsx|pyi?|vue|svelte)$|(?:^|/)package\.json$"),
    ),
}

_TESTS = re.compile(r"[.-](?:test|spec)\.[^/]*$|(?:^|/)__(?:tests|mocks|snapshots)__/")
"""What a test runner picks up by its name, wherever it lies."""


def part(workshop: Workshop, inside: str) -> str:
    """Return what a path in the folder is: "built" or "test" count as ever, "read" by content, "" is the server's own."""
    if inside in workshop.built:
        return "built"
    if _TESTS.search(inside):
        return "test"
    return "read" if workshop.read.search(inside) else ""


def is_named(workshop: Workshop, package_json: bytes) -> bool:
    """Say whether a package.json names the tool among its dependencies."""
    try:
        found = json.loads(package_json)
    except (ValueError, RecursionError):
        return False
    groups = [found.get(key) for key in ("dependencies", "devDependencies")] if isinstance(found, dict) else []
    return any(isinstance(group, dict) and workshop.package in group for group in groups)


_SUFFICES = frozenset({"pytest", "py.test", "mypy", "ruff"})
"""They read Python files, and those count in such a folder, too."""
_RUNNERS = frozenset({"npm", "pnpm", "yarn"})
_CONFIG = re.compile(r"^(?:package\.json|tsconfig[^/]*\.json|vite(?:st)?\.(?:config|workspace)\.\w+)$")
_TYPES_ONLY = re.compile(r"\.next(?!/(?:dev/)?types/)")
_WIDENED = re.compile(r"\b(?:include|enabled|workspace|projects)\b")
"""Settings of vitest by which it may look at files that are not named like tests."""


def is_config(name: str) -> bool:
    """Say whether `spares` wants the text of a file of this name beside the command."""
    return bool(_CONFIG.match(name))


def spares(argv: Sequence[str], configs: Mapping[str, str], workshops: Collection[str]) -> bool:
    """Say whether a call is known not to read the server's own part of such folders.

    Args:
        argv: the call, wrappers included.
        configs: name -> text of each `is_config` file in its directory.
        workshops: the folders, relative to its directory.
    """
    words = list(argv)
    if not words:
        return False
    name = words[0].rpartition("/")[2]
    if name.startswith("python") and len(words) > 2 and words[1] == "-m":
        return words[2] in _SUFFICES
    if name == "npx":
        words = words[1:]
        if not words or words[0].startswith("-"):
            return False
        name = words[0]
    elif name in _RUNNERS:
        return _script_spares(words[1:], configs, workshops)
    return _tool_spares(name, words[1:], configs, workshops)


def _script_spares(words: Sequence[str], configs: Mapping[str, str], workshops: Collection[str]) -> bool:
    words = words[1:] if words[:1] in (["run"], ["run-script"]) else words
    if len(words) != 1:  # options of the runner, or more words for the script
        return False
    try:
        scripts = json.loads(configs.get("package.json", "")).get("scripts", {})
        steps = [shlex.split(step) for step in str(scripts[words[0]]).split("&&")]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        return False
    if f"pre{words[0]}" in scripts or f"post{words[0]}" in scripts or not steps:
        return False
    if any(set("".join(step)) & set("|;<>&$`()\n=") for step in steps):
        return False  # more of a shell than is read here
    return all(bool(step) and step[0] not in _RUNNERS and spares(step, configs, workshops) for step in steps)


def _tool_spares(name: str, args: Sequence[str], configs: Mapping[str, str], workshops: Collection[str]) -> bool:
    if name in _SUFFICES:
        return True
    if "package.json" not in configs or any(".next" in word for word in args):
        return False
    if name == "tsc":  # its patterns leave out folders with a dot unless they are named
        return not any(_TYPES_ONLY.search(text) for file, text in configs.items() if file.startswith("tsconfig"))
    if name == "vitest":
        widened = any(_WIDENED.search(text) for file, text in configs.items() if file.startswith("vite"))
        return not widened and not any(word.startswith(("--coverage", "--config", "--root", "--dir", "-c", "-r")) for word in args)
    if name == "eslint":  # without a path it looks at everything that its configuration does not leave out
        return bool(args) and not args[0].startswith("-") and not any(_reaches(word, workshops) for word in args)
    return False


def _reaches(word: str, workshops: Collection[str]) -> bool:
    """Say whether a path or pattern may lead into one of the folders."""
    path = word.removeprefix("./").rstrip("/")
    if path.startswith(("..", "/", "~")) or set(path) & set("*?[{!"):
        return True
    return path in ("", ".") or any((folder + "/").startswith(path + "/") for folder in workshops)
