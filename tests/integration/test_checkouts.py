"""A suite that imports the project's own packages from another checkout: said aloud once, neither joined nor recorded, marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.test_tree import quiet_home, write  # noqa: F401  (a fixture)
from integration.test_tree_outside import environment_outside
from stretto.checkouts import imports_elsewhere, links_elsewhere, packages


@pytest.fixture
def pair(short):
    """A main checkout and a worktree of it, both with the package `acme` below src."""
    for name in ("main", "wt"):
        write(short / name / "src" / "acme" / "__init__.py", f"where = {name!r}\n")
        write(short / name / "tests" / "test_a.py", "def test_a(): pass\n")
        write(short / name / "pyproject.toml", '[project]\nname = "acme"\n')
    return short / "main", short / "wt"


def said(wt: Path, lead: Path, argv=(b"pytest", b"-q"), env=(), cwd: Path | None = None) -> str:
    return imports_elsewhere(str(wt), str(cwd or wt), argv, env, [str(lead)])


@pytest.mark.parametrize("lead", ["src", "."])
def test_own_package_of_another_checkout_is_named_with_where_it_comes_from(pair, lead):
    main, wt = pair
    assert said(wt, main / lead) == f"imports acme from {main / 'src'}, not from here"


def setting(wt: Path) -> dict:
    write(wt / "pyproject.toml", '[tool.pytest.ini_options]\npythonpath = [\n  "src",\n]\n')
    return {}


def ini(wt: Path) -> dict:
    write(wt / "pytest.ini", "[pytest]\npythonpath = src lib\n")
    return {}


def variable(wt: Path) -> dict:
    return {"env": [b"A=1", b"PYTHONPATH=x:src"]}


def conftest_with_a_path(wt: Path) -> dict:
    write(wt / "tests" / "conftest.py", "import sys\nsys.path.insert(0, 'src')\n")
    return {}


def conftest_beside_the_package(wt: Path) -> dict:
    write(wt / "src" / "conftest.py", "")
    return {}


def inside_the_package(wt: Path) -> dict:
    write(wt / "src" / "acme" / "tests" / "__init__.py", "")
    return {}


def module_in_the_folder(wt: Path) -> dict:
    return {"argv": (b"python3", b"-m", b"pytest"), "cwd": wt / "src"}


@pytest.mark.parametrize(
    "how", [setting, ini, variable, conftest_with_a_path, conftest_beside_the_package, inside_the_package, module_in_the_folder]
)
def test_nothing_is_said_where_what_is_here_may_come_first(pair, how):
    main, wt = pair
    more = how(wt)
    assert said(wt, main / "src", **more) == ""


def test_marker_option_of_pytest_is_not_taken_for_a_module(pair):
    main, wt = pair
    assert said(wt, main / "src", argv=(b"pytest", b"-m", b"slow"), cwd=wt / "src") != ""


def test_neighbour_with_packages_of_its_own_is_no_other_checkout(pair, short):
    _, wt = pair
    for name in ("other/__init__.py", "tests/__init__.py", "setup.py", "conftest.py"):
        write(short / "lib" / name)
    write(wt / "src" / "tests" / "__init__.py")
    assert said(wt, short / "lib") == "" and said(wt, short) == "" and said(wt, wt / "src") == ""


def test_worktree_within_the_checkout_that_its_environment_was_made_for_is_told(pair):
    main, _ = pair
    nested = main / ".claude" / "worktrees" / "x"
    for top in (main, nested):
        write(top / "flat" / "__init__.py")
    assert said(nested, main) == f"imports flat from {main}, not from here"


@pytest.fixture
def workspace(pair):
    """A worktree that has the main checkout's node_modules, in which the workspace's packages are links."""
    main, wt = pair
    for top in pair:
        write(top / "packages" / "core" / "package.json", '{\n  "name": "@acme/core"}')
    write(main / "node_modules" / ".package-lock.json", "{}")
    (main / "node_modules" / "@acme").mkdir()
    (main / "node_modules" / "@acme" / "core").symlink_to("../../packages/core")
    (wt / "node_modules").symlink_to(main / "node_modules")
    return main, wt


def test_own_package_of_node_from_another_checkout_is_named(workspace):
    main, wt = workspace
    assert links_elsewhere(str(wt), str(wt), "vitest") == f"imports @acme/core from {main}/packages/core, not from here"
    assert links_elsewhere(str(main), str(main), "vitest") == links_elsewhere(str(wt), str(wt), "pytest") == ""


def test_own_package_of_node_that_is_linked_here_nearer_by_is_not_told(workspace):
    _, wt = workspace
    (wt / "app" / "node_modules" / "@acme").mkdir(parents=True)
    (wt / "app" / "node_modules" / "@acme" / "core").symlink_to("../../../packages/core")
    assert links_elsewhere(str(wt), str(wt / "app"), "vitest") == ""


def test_checkout_of_somebody_else_linked_by_npm_is_no_other_checkout(workspace):
    main, wt = workspace
    write(main / "packages" / "core" / "package.json", '{"name": "other"}')
    assert links_elsewhere(str(wt), str(wt), "npm") == ""


def test_packages_are_those_that_something_can_import_by_name(short):
    for name in (
        "src/one/__init__.py",
        "two/__init__.py",
        "three.py",
        "test_x.py",
        "no-name/__init__.py",
        "plain/file.txt",
        "docs/__init__.py",
    ):
        write(short / "p" / name)
    assert sorted(packages(str(short / "p"))) == ["one", "three", "two"]


def test_suite_that_imports_from_another_checkout_runs_is_said_once_and_marked(bench, short):
    program, site = environment_outside(short)
    write(short / "main" / "src" / "acme" / "__init__.py", "main\n")
    write(bench.root / "src" / "acme" / "__init__.py", "here\n")
    write(site / "acme.pth", f"{short}/main/src\n")
    write(program, f"#!{short}/env/bin/python\nprint(open('{short}/main/src/acme/__init__.py').read())\n").chmod(0o755)
    bench.env["PATH"] = f"{short}/env/bin:{bench.env['PATH']}"
    bench.begin()
    replies = []
    for number in range(2):
        call = {"tool_use_id": f"toolu_{number}a", "tool_name": "Bash", "tool_input": {"command": "pytest -q"}}
        bench.hook("PreToolUse", **call)
        assert bench.bash("pytest -q", told=False)[0] == b"main\n\n"
        replies.append(json.loads(bench.hook("PostToolBatch", tool_calls=[call]).stdout or b"{}"))
    words = f"imports acme from {short}/main/src, not from here"
    assert words in replies[0]["hookSpecificOutput"]["additionalContext"] and words in replies[0]["systemMessage"]
    assert replies[1] == {}
    assert bench.did() == ["exec", "exec"]
    assert {join.code for join in bench.state().joins} == {"other-checkout"} and words in bench.state().joins[-1].reason
