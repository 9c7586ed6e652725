"""Whether a suite imports this project's own packages from another checkout. Hides where packages may lie and what Python looks at first.

A worktree whose environment was made for the main checkout (`pip install -e` there) tests the code of that checkout and not its own: what
it says is true, and not about the files that the session edits. That is told by what is on disk: the environment leads to a folder outside
that holds a package of a name that lies here, too, and nothing that comes before it in Python's search finds the one that is here.

Promises: reads names, and a few configuration files up to a bound; runs nothing. Where it is not known which comes first, nothing is said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from stretto.tree import peek

SOURCE_FOLDERS = ("", "src", "lib", "python")
"""Where, below a checkout, its packages may lie."""
NAMES_MOST = 2000
_COMMON = frozenset(
    {"test", "tests", "testing", "docs", "doc", "examples", "example", "scripts", "script", "tools", "bin", "build", "dist", "src", "lib"}
    | {"benchmarks", "bench", "conftest", "setup", "noxfile", "tasks", "manage"}
)
"""Names that say nothing about whose package it is."""
NODE_TOOLS = frozenset("npm npx pnpm yarn bun bunx node jest vitest mocha ava tap tape c8 nyc turbo nx lerna".split())  # noqa: SIM905
_NAME = re.compile(rb'"name"\s{0,20}:\s{0,20}"([^"]{1,200})"')
_CONFIGS = ("pytest.ini", ".pytest.ini", "pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg")
_PYTHONPATH = re.compile(rb"\bpythonpath\b\"?\s*=\s*([^=]{0,500})")
_WORDS = re.compile(r"[^\s\"'\[\],]+")


def imports_elsewhere(root: str, cwd: str, argv: Sequence[bytes], env: Iterable[bytes], leads: Iterable[str]) -> str:
    """Say which of the project's own packages a suite imports from another checkout, "" when none is known to be.

    Args:
        leads: folders to which the environment of the call leads (`tree.Tool`).
    """
    own: dict[str, str] | None = None
    for lead in leads:
        real = os.path.realpath(lead)
        if _is_within(real, root):
            continue
        if own is None:
            tops = dict.fromkeys([root, cwd])
            own = {name: place for top in reversed(tops) for name, place in packages(top).items()}
        theirs = packages(real)
        shared = sorted(name for name in own.keys() & theirs.keys() if not comes_first(own[name], root, cwd, argv, env))
        if shared:
            return f"imports {shared[0]} from {theirs[shared[0]]}, not from here"
    return ""


def links_elsewhere(root: str, cwd: str, name: str) -> str:
    """Say which of the project's own packages a suite of Node's takes from another checkout, "" when none is known to be.

    That is so in a worktree whose `node_modules` is the main checkout's: what links in it lead to lies beside it, and here, too.

    Args:
        name: the word by which the suite is called.
    """
    if name not in NODE_TOOLS:
        return ""
    seen: set[str] = set()
    for modules in dict.fromkeys((f"{cwd}/node_modules", f"{root}/node_modules")):
        for package, path in _links_in(modules):
            real = os.path.realpath(path)
            if package in seen or _is_within(real, root):
                seen.add(package)
            elif "/node_modules/" not in real and (named := _package_name(real)) and named in _own_names(root, real):
                return f"imports {named} from {real}, not from here"
    return ""


def _links_in(modules: str) -> list[tuple[str, str]]:
    """Names and paths of the packages in a node_modules that are links, with those one level down in scopes."""
    found: list[tuple[str, str]] = []
    folders = [("", modules)]
    for scope, folder in folders:
        try:
            with os.scandir(folder) as entries:
                for _, entry in zip(range(NAMES_MOST), entries, strict=False):
                    if entry.is_symlink():
                        found.append((scope + entry.name, entry.path))
                    elif not scope and entry.name.startswith("@"):
                        folders.append((f"{entry.name}/", entry.path))
        except OSError:
            continue
    return found


def _own_names(root: str, elsewhere: str) -> set[str]:
    """Names of the packages here that lie where one of another checkout lies in that."""
    steps = elsewhere.split("/")
    return {_package_name("/".join([root, *steps[-deep:]])) for deep in (1, 2, 3)} - {""}


def _package_name(folder: str) -> str:
    found = _NAME.search(peek(f"{folder}/package.json"))
    return found[1].decode("utf-8", "replace") if found else ""


def packages(top: str) -> dict[str, str]:
    """Return the packages and modules of a checkout that something may import by their name alone, with the folder each lies in."""
    found: dict[str, str] = {}
    for below in SOURCE_FOLDERS:
        folder = os.path.join(top, below) if below else top
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for _, entry in zip(range(NAMES_MOST), entries, strict=False)]
        except OSError:
            continue
        for name in names:
            module = name.removesuffix(".py")
            whole = module != name or os.path.isfile(f"{folder}/{name}/__init__.py")
            if whole and module.isidentifier() and module.lower() not in _COMMON and not module.startswith("test_"):
                found.setdefault(module, folder)
    return found


def comes_first(folder: str, root: str, cwd: str, argv: Sequence[bytes], env: Iterable[bytes]) -> bool:
    """Say whether a folder here may be looked at before what is installed: by PYTHONPATH, `-m`, pytest's settings or its way to import."""
    words = [os.fsdecode(word) for word in argv]
    paths = next((os.fsdecode(entry[11:]) for entry in env if entry.startswith(b"PYTHONPATH=")), "")
    if any(path and os.path.realpath(os.path.join(cwd, path)) == folder for path in paths.split(":")):
        return True
    before_m = [before for before, word in pairwise(words) if word == "-m"]
    if folder == cwd and any(os.path.basename(before).startswith(("python", "pypy")) or before == "run" for before in before_m):
        return True
    texts = [(place, peek(f"{place}/{name}")) for place in dict.fromkeys([cwd, root]) for name in _CONFIGS]
    for place, text in texts:
        said = [word for found in _PYTHONPATH.findall(text) for word in _WORDS.findall(os.fsdecode(found))]
        if any(os.path.realpath(os.path.join(place, word)) == folder for word in said if "\0" not in word):
            return True
    places = dict.fromkeys([cwd, root, folder])
    hooks = [f"{place}/{below}conftest.py" for place in places for below in ("", "tests/", "test/")]
    if any(b"sys.path" in peek(hook) for hook in hooks):
        return True
    if "importlib" in " ".join(words) or any(b"import-mode" in text for _, text in texts):
        return False
    return _holds_tests(folder)


def _holds_tests(folder: str) -> bool:
    """Say whether pytest puts a folder first because of a test file or conftest.py in it, or in a package right in it."""
    try:
        names = os.listdir(folder)[:NAMES_MOST]
    except OSError:
        return False
    if any(name == "conftest.py" or (name.endswith(".py") and name.startswith("test_")) or name.endswith("_test.py") for name in names):
        return True
    tests = [name for name in names if name in ("test", "tests") or os.path.isdir(f"{folder}/{name}/tests")]
    return any(os.path.isfile(f"{folder}/{name}/__init__.py") for name in tests)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
