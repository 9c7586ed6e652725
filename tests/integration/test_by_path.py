"""Tools of the project that are called by their path, with the real supervisor: joined, run ahead, and judged like any check."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto.testing.wait import wait_until

SHELLS = ("bash", "zsh")
TOOL = '#!/bin/sh\necho "$0 in ${PWD##*/} with $(cat src.py)"\n'
PYTHON = '[ "$1" != -X ] || shift 2\nexec "$@"'
"""Runs the file that Python would run."""


def program(path: Path, text: str = TOOL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def grown(bench: Bench) -> Bench:
    """A project with tools of its own, in a session."""
    (bench.root / ".gitignore").write_text(".venv\nnode_modules\n.claude\n")
    (bench.root / "src.py").write_text("one\n")
    for name in (".venv/bin/pytest", "node_modules/.bin/jest", "gradlew"):
        program(bench.root / name)
    program(bench.root / ".venv/bin/mypy", TOOL + "sleep 0.3\n")
    bench.tool("python", PYTHON)
    bench.begin()
    return bench


@pytest.mark.parametrize("shell", SHELLS)
def test_each_way_to_call_a_tool_is_recorded_once_and_then_joined(grown: Bench, shell: str):
    """They are calls of their own: a program may print how it was called."""
    root = grown.root
    ways = [".venv/bin/pytest -q", "./.venv/bin/pytest -q", f"{root}/.venv/bin/pytest -q", "node_modules/.bin/jest", "./gradlew test"]
    for text in ways:
        first, code, _ = grown.bash(text, shell=shell)
        assert (first, code) == (f"{text.split()[0]} in p with one\n".encode(), 0)
        assert grown.bash(text, shell=shell)[:2] == (first, 0)
    assert grown.did() == ["record", "replay"] * len(ways)
    assert {job.name for job in grown.state().jobs.values()} == {"pytest", "jest", "gradlew"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tools_file_for_an_interpreter_is_the_tool(grown: Bench, shell: str):
    out = grown.bash("python -X dev .venv/bin/pytest -q", shell=shell)[0]
    assert grown.bash("python -X dev .venv/bin/pytest -q", shell=shell)[0] == out == b".venv/bin/pytest in p with one\n"
    assert grown.did() == ["record", "replay"]
    grown.bash("python src/pytest -q; python -c 'import a/pytest x'", shell=shell)
    assert len(grown.did()) == 2, "what only looks like it passes by"


@pytest.mark.parametrize("shell", SHELLS)
def test_what_an_interpreter_runs_is_met_by_the_words_after_it(grown: Bench, shell: str):
    program(grown.root / "manage.py")
    grown.tool("node", '[ "$1" != --test ] || { cat src.py; exit 3; }\nexec "$@"')
    grown.bash("true")  # the session sees it from the next call on
    for text, code in (("python ./manage.py test", 0), ("node --test", 3), ("node node_modules/.bin/jest", 0)):
        before = len(grown.did())
        first = grown.bash(text, shell=shell)[:2]
        assert grown.bash(text, shell=shell)[:2] == first
        assert first[1] == code and first[0].endswith(b"one\n")
        assert grown.did()[before:] == ["record", "replay"]
    before = len(grown.did())
    grown.bash("node ./gradlew --test; python manage.py migrate; node node_modules/.bin/jest --watch", shell=shell)
    assert len(grown.did()) == before, "what checks nothing passes by"


def test_a_tools_file_outside_the_project_is_part_of_the_command(grown: Bench):
    """`python $(which pytest)`: that it lies outside says nothing against the call, and another version of it is another command."""
    tool = grown.short / "else" / "bin" / "pytest"
    program(tool)
    for _ in range(2):
        grown.bash(f"python {tool} -q")
    assert grown.did() == ["record", "replay"]
    program(tool, TOOL + "echo a newer one\n")
    assert b"newer" in grown.bash(f"python {tool} -q")[0]


def test_what_runs_ahead_is_called_as_it_was_called(grown: Bench):
    assert grown.bash("./.venv/bin/mypy src")[0] == b"./.venv/bin/mypy in p with one\n"
    grown.edit("src.py", "two\n")
    wait_until(lambda: any(run.kind == "ahead" for run in grown.state().attempts.values()), what="an ahead run")
    grown.settled(1, "ahead")
    assert grown.bash("./.venv/bin/mypy src")[0] == b"./.venv/bin/mypy in p with two\n"
    (join,) = [join for join in grown.state().joins if join.do == "replay"]
    assert grown.state().attempts[join.attempt or ""].kind == "ahead"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tool_installed_in_the_session_is_met_from_the_next_call_on(grown: Bench, shell: str):
    grown.tool("pip", 'mkdir -p venv/bin; cp gradlew "venv/bin/$2"')
    grown.bash("pip install ruff", shell=shell)
    for _ in range(2):
        assert grown.bash("venv/bin/ruff check", shell=shell)[0] == b"venv/bin/ruff in p with one\n"
    assert grown.did() == ["record", "replay"]


def test_below_another_program_a_path_is_not_met_and_its_effects_are_not_known(grown: Bench):
    """No function is seen by `timeout`; so what was recorded before may have been changed by it."""
    grown.bash("./gradlew test")
    grown.bash("timeout 60 ./gradlew build")
    grown.bash("bash -c './gradlew build'")
    grown.bash("./gradlew test")
    assert grown.did() == ["record", "record"]
