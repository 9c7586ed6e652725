"""A suite that imports the project's own packages from another checkout: said aloud once, neither joined nor recorded, marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.test_tree import quiet_home, write  # noqa: F401  (a fixture)
from integration.test_tree_outside import environment_outside
from stretto.checkouts import imports_elsewhere, packages


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
    call = {"tool_use_id": "toolu_9", "tool_name": "Bash", "tool_input": {"command": "pytest -q"}}
    for _ in range(2):
        assert bench.bash("pytest -q", told=False)[0] == b"main\n\n"
    replies = [json.loads(bench.hook("PostToolBatch", tool_calls=[call]).stdout or b"{}") for _ in range(2)]
    words = f"imports acme from {short}/main/src, not from here"
    assert words in replies[0]["hookSpecificOutput"]["additionalContext"] and words in replies[0]["systemMessage"]
    assert replies[1] == {}
    assert bench.did() == ["exec", "exec"]
    assert {join.code for join in bench.state().joins} == {"other-checkout"} and words in bench.state().joins[-1].reason
