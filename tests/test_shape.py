"""The layout is the architecture: who may import whom, what is pure, and that the documents name files that exist."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "stretto"

RANKS = {
    "__init__": 0,
    "errors": 0,
    "model": 0,
    "system": 1,
    "habits": 1,
    "rpc": 1,
    "tally": 1,
    "steering": 1,
    "workshops": 1,
    "background": 1,
    "carryover": 1,
    "patterns": 1,
    "manifests": 1,
    "bytecode": 1,
    "heaps": 1,
    "hookwire": 2,
    "rules": 2,
    "commands": 2,
    "fold": 2,
    "freshness": 2,
    "tree": 2,
    "bundle": 2,
    "disk": 2,
    "kin": 2,
    "cgroup": 2,
    "journal": 2,
    "observe": 2,
    "outputs": 3,
    "reach": 3,
    "power": 2,
    "snapshot": 3,
    "findings": 2,
    "gates": 3,
    "ahead": 3,
    "schedule": 3,
    "retries": 3,
    "repeats": 3,
    "callers": 3,
    "meter": 3,
    "compare": 3,
    "executors": 3,
    "monitor": 3,
    "install": 3,
    "shellscripts": 3,
    "shellenv": 4,
    "repository": 2,
    "trust": 3,
    "world": 4,
    "logcheck": 4,
    "checkouts": 3,
    "slots": 3,
    "permissions": 3,
    "machine": 5,
    "runs": 5,
    "sessions": 5,
    "requests": 5,
    "revival": 5,
    "audit": 5,
    "gatekeeper": 6,
    "engine": 7,
    "daemon": 8,
    "control": 4,
    "render": 5,
    "waits": 1,
    "worker": 5,
    "hookcli": 6,
    "pauses": 4,
    "githooks": 5,
    "gitexclude": 6,
    "worktrees": 4,
    "explain": 6,
    "doctor": 6,
    "saved": 6,
    "cli": 7,
    "__main__": 8,
    "testing": 9,
    "demo": 10,
}
PURE = (
    "errors",
    "model",
    "hookwire",
    "rules",
    "commands",
    "habits",
    "steering",
    "waits",
    "findings",
    "fold",
    "freshness",
    "gates",
    "ahead",
    "schedule",
    "retries",
    "tally",
    "meter",
    "compare",
    "workshops",
    "carryover",
    "background",
    "patterns",
    "manifests",
    "shellscripts",
)
ISLANDS = ("client", "shim")
WORLD = {
    "os",
    "time",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "pathlib",
    "datetime",
    "threading",
    "sys",
    "tempfile",
    "shutil",
    "fcntl",
    "uuid",
}
LIGHT = ("monitor", "kin", "cgroup", "journal", "system", "rpc", "errors")
"""What the monitor loads: standard library only."""
LAZY = {"cli": {"demo", "testing"}}
"""Upward imports that happen inside a function because only one command needs them."""


def modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """Every module `path` imports; `stretto.x.y` stays whole."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"stretto.{alias.name}" for alias in node.names} if node.module == "stretto" else {node.module}
    return names


def own(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("stretto.") and name != "stretto.__version__"}


def test_every_module_has_a_rank_or_is_an_island():
    assert set(modules()) == set(RANKS) | set(ISLANDS)


@pytest.mark.parametrize("module", sorted(RANKS))
def test_a_module_imports_lower_ranks_only(module):
    for path in modules()[module]:
        for other in own(imports(path)) - {module} - LAZY.get(module, set()):
            assert RANKS[other] < RANKS[module], f"{path.name} (rank {RANKS[module]}) imports {other} (rank {RANKS[other]})"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_cannot_touch_the_world(module):
    for path in modules()[module]:
        assert not {name.split(".")[0] for name in imports(path)} & WORLD
        calls = {
            node.func.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("module", ISLANDS)
def test_an_island_imports_nothing_of_the_package_and_nothing_slow(module):
    names = {name.split(".")[0] for name in imports(PACKAGE / f"{module}.py")}
    cheap = {"posix", "sys", "select", "fcntl", "time", "hashlib", "errno", "resource"}
    assert all(name.startswith("_") or name in cheap for name in names), names


def test_the_monitor_carries_the_standard_library_only():
    for module in LIGHT:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        names: set[str] = set()
        for node in tree.body:  # module level only: what is loaded when it starts
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
        assert names <= set(sys.stdlib_module_names) | {"stretto"}, module


def test_every_module_says_first_what_it_hides_and_promises():
    for paths in modules().values():
        for path in paths:
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_a_long_file_says_why_it_is_one_idea():
    for paths in modules().values():
        for path in paths:
            text = path.read_text()
            if text.count("\n") > 500:
                assert "one idea" in (ast.get_docstring(ast.parse(text)) or ""), f"{path.name}: {text.count(chr(10))} lines"


def test_no_handler_is_bare_or_catches_everything_silently():
    for paths in modules().values():
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ExceptHandler):
                    assert node.type is not None, f"{path.name}:{node.lineno} is bare"


@pytest.mark.parametrize("document", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda path: path.name)
def test_every_file_a_document_names_exists(document):
    text = document.read_text()
    for name in re.findall(r"`((?:src|tests|docs|bench)/[\w./-]+?)`", text):
        assert (ROOT / name).exists(), f"{document.name} names {name}"
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
