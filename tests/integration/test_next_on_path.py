"""Programs that look for the next one of their name on the PATH, and whoever asks where a tool is: they find what they find without us.

With wrappers and version managers' shims of our own writing, and with the real pyenv and mise where they are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conftest import Bench
from shapes import shell
from shapes.stub import Stub
from shapes.world import World, make_program
from stretto import shellscripts

SHELLS = ("bash", "zsh")
WRAPPER = """#!/bin/sh
# A wrapper of the user's that runs the next program of its name.
me=$(readlink -f "$0")
next=$(which -a "${0##*/}" | while read -r each; do [ "$(readlink -f "$each")" = "$me" ] || { echo "$each"; break; }; done)
echo "wrapped" >&2
exec "$next" "$@"
"""
WALKER = """#!/bin/bash
# The same with nothing but the shell: the first on the PATH that is not this file.
IFS=:
for folder in $PATH; do
  [ "$folder/pytest" -ef "$0" ] || [ ! -x "$folder/pytest" ] || { echo wrapped; exec "$folder/pytest" "$@"; }
done
exit 127
"""
PYENV = """#!/usr/bin/env bash
# As pyenv does: its shims' folder is taken off the PATH to look where the system's own is, and `exec` goes there.
root=$(cd "${0%/*}/.." && pwd)
clean=:$PATH:
clean=${clean//:$root\\/shims:/:}
program=$(PATH=${clean#:} command -v "${0##*/}") || { echo "pyenv: ${0##*/}: command not found" >&2; exit 127; }
exec "$program" "$@"
"""
ASDF = """#!/usr/bin/env bash
# As asdf does: a version is chosen and run with its folder put before the PATH; `system` is what is beyond the shims.
PATH=$(printf %s "$PATH" | sed "s|:*${0%/*}:*|:|; s|^:||")
export PATH
exec "${0##*/}" "$@"
"""
SHIMS = {"which": WRAPPER, "walker": WALKER, "pyenv-like": PYENV, "asdf-like": ASDF}
WAYS = (
    "pytest -q",
    "timeout 20 pytest -q",
    "sh -c 'pytest -q'",
    "STRETTO=off pytest -q",
    "command pytest -q; (pytest -q) 2>&1 | cat",
    "./check.sh",
)


@pytest.fixture
def world(short: Path) -> World:
    return World(short)


@pytest.fixture
def stub(world: World) -> Iterator[Stub]:
    stub = Stub(world.base, world.root)
    yield stub
    stub.close()


def bash(world: World, name: str, text: str, env_text: str, path: str = "", snapshot: str = "") -> shell.Result:
    place = world.place / "calls"
    shutil.rmtree(place, ignore_errors=True)
    env = world.env() | ({"PATH": path} if path else {})
    return shell.run(name, text, env_text=env_text, env=env, cwd=world.root, place=place, snapshot=snapshot)


def shims(world: World, text: str, name: str = "pytest") -> str:
    """Put a version manager's folder before everything else; return the PATH."""
    make_program(world.place / "v" / "shims" / name, text)
    make_program(world.root / "check.sh", "#!/bin/sh\nexec pytest -q\n")
    world.search_path = f"{world.place}/v/shims:{world.search_path}"
    world.write_session()
    return world.search_path


@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("kind", SHIMS)
def test_what_looks_for_the_next_of_its_name_finds_it_and_runs_it_once(world, stub, kind, shell_name):
    path = shims(world, SHIMS[kind])
    for text in WAYS:
        expected = bash(world, shell_name, text, ":\n", path)
        assert bash(world, shell_name, text, world.env_text(), path) == expected, text
    asked = [message for message in stub.calls if message["name"] == b"pytest"]
    assert asked
    assert all(str(world.base).encode() + b"/paths" not in message["env"] for message in asked), "the supervisor is told the PATH as it is"


@pytest.mark.parametrize("ruin", ["no supervisor", "no interpreter", "no shim"])
def test_it_finds_it_also_where_nobody_of_ours_can_help(short, ruin):
    python = "/nowhere/python3" if ruin == "no interpreter" else ""
    islands = short / "i"
    islands.mkdir()
    (islands / "shim.py").write_text("raise SystemExit\n")
    world = World(short, python, str(islands) if ruin == "no shim" else "")
    path = shims(world, WALKER)
    for text in WAYS:
        expected = bash(world, "bash", text, ":\n", path)
        assert bash(world, "bash", text, world.env_text(), path) == expected, text


PYENV_ROOT = Path.home() / ".pyenv"


@pytest.mark.skipif(not os.access(PYENV_ROOT / "libexec" / "pyenv", os.X_OK), reason="pyenv is not installed")
@pytest.mark.parametrize("shell_name", SHELLS)
def test_the_real_pyenv_finds_the_systems_tool(world, stub, shell_name):
    """Its shims lead to `pyenv exec`, which for the version `system` looks along the PATH for what is not its own."""
    shim = f'#!/usr/bin/env bash\nset -e\nexport PYENV_ROOT="{world.place}/v"\nexec "{PYENV_ROOT}/libexec/pyenv" exec "${{0##*/}}" "$@"\n'
    (world.place / "v" / "versions").mkdir(parents=True)
    path = shims(world, shim)
    for text in WAYS:
        expected = bash(world, shell_name, text, ":\n", path)
        assert b"pytest starts in p" in expected.out
        assert bash(world, shell_name, text, world.env_text(), path) == expected, text
    assert stub.calls


MISE = os.environ.get("STRETTO_TEST_MISE") or shutil.which("mise")


@pytest.mark.skipif(not MISE, reason="mise is not installed")
@pytest.mark.parametrize("shell_name", SHELLS)
def test_the_real_mise_finds_the_systems_tool(world, stub, shell_name):
    folder = world.place / "v" / "shims"
    folder.mkdir(parents=True)
    (folder / "pytest").symlink_to(str(MISE))
    make_program(world.root / "check.sh", "#!/bin/sh\nexec pytest -q\n")
    world.search_path = path = f"{folder}:{world.search_path}"
    world.write_session()
    for text in WAYS:
        expected = bash(world, shell_name, text, ":\n", path)
        assert bash(world, shell_name, text, world.env_text(), path) == expected, text
    assert stub.calls


# --- who asks where a tool is -----------------------------------------------------------------------------------------------

ASKS = (
    "which pytest; echo $?",
    "which -a pytest",
    "which nothing-of-that-name; echo $?",
    "which pytest ruff cd; which mine; which ll",
    "$(which pytest) -q",
    "command -v pytest; \\command -v pytest; command -V pytest; command -v mine nothing; echo $?",
    "command -v eslint || echo install it",
    "command -v golangci-lint",
    "command -v .venv/bin/pytest; command -v .venv/bin/nothing || echo none",
    "type pytest; type mine; type cd; type if; type nothing; echo $?",
    "type -a pytest; type which; type command; type type",
    "head -1 $(command -v pytest); wc -l <$(which ruff)",
    "ls $(dirname $(which pytest)) | head -3",
    "hash pytest; type pytest >/dev/null && pytest -q",
    "f() { local at; at=$(command -v pytest) || return; echo $at $#; }; f one two",
    "set -eu; command -v pytest >/dev/null; type ruff >/dev/null; echo on; command -v nothing; echo never",
    "which pytest && cd sub && which pytest",
    "sh -c 'which pytest; which -a ruff'",
    "nice -n 0 which pytest; find . -name a.py -exec which pytest ';'",
    "pytest() { echo mine; }; command -v pytest; which pytest; pytest",
    "command -v pytest >/dev/null && command pytest -q; command -p true; command echo 'a  b'",
    "for each in pytest ruff; do command -v $each >/dev/null 2>&1 || echo no $each; done",
)
BASH_ASKS = ("type -P pytest; type -p pytest; type -t pytest; type -t mine", "shopt -so posix; type pytest; command -v pytest; which ruff")
ZSH_ASKS = ("whence -p pytest; whence -v pytest; where pytest; whence -w mine", "setopt no_unset; which pytest; trap; (which ruff)")
MINE = "mine() { echo mine; }\nalias ll='ls -l'\n"


@pytest.mark.parametrize(
    ("shell_name", "text"),
    [(name, text) for name in SHELLS for text in (*ASKS, *(BASH_ASKS if name == "bash" else ZSH_ASKS))],
)
def test_who_asks_where_a_tool_is_is_told_what_is_so_without_us(world, shell_name, text):
    expected = bash(world, shell_name, text, ":\n", snapshot=MINE)
    found = bash(world, shell_name, text, world.env_text(), snapshot=MINE)
    assert unlined(found.out) == unlined(expected.out)
    assert (found.code, found.cwd) == (expected.code, expected.cwd)


def unlined(text: bytes) -> list[bytes]:
    """The known difference: bash counts one line more."""
    return [line.split(b": ", 2)[-1] if line.startswith(b"/bin/bash: line ") else line for line in text.split(b"\n")]


@pytest.mark.parametrize(
    "text", ["which pytest; pytest -q", "command -v pytest && pytest -q", "type pytest; pytest -q", "hash pytest; pytest -q"]
)
@pytest.mark.parametrize("shell_name", SHELLS)
def test_a_check_beside_such_a_question_is_met(world, stub, shell_name, text):
    bash(world, shell_name, text, world.env_text())
    assert [message["name"] for message in stub.calls] == [b"pytest"]


@pytest.mark.parametrize("own", ["trap 'echo debug' DEBUG\n", "which() { echo my which; }\n", "command() { echo my command; }\n"])
@pytest.mark.parametrize("shell_name", SHELLS)
def test_what_the_user_made_of_such_a_word_stays(world, shell_name, own):
    text = "command -v ls; which ls; true"
    expected, found = (bash(world, shell_name, text, env_text, snapshot=own) for env_text in (":\n", world.env_text()))
    if "DEBUG" in own:  # fires for each command, ours as well
        assert b"debug" in found.out
        assert found.out.split(b"\n")[-2] == expected.out.split(b"\n")[-2]
    else:
        assert unlined(found.out) == unlined(expected.out)


def test_an_entry_read_as_python_is_the_tool(world):
    """A script gets the entry's path from `command -v`; interpreters it is handed to run what they would run."""
    make_program(
        world.tools / "pytest", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv, __name__, __file__, sys.path[0])\nsys.exit(3)\n"
    )
    script = "python3 $(command -v pytest) -q; echo $?; python3 -X dev -m cProfile -o /dev/null $(command -v pytest) a | head -1"
    env = world.env() | {"PATH": "/usr/bin:/bin"}
    expected, found = (
        subprocess.run(["sh", "-c", script], env=env | {"PATH": path}, cwd=world.root, capture_output=True, check=True)
        for path in (f"{world.tools}:/usr/bin:/bin", f"{shown(world)}:{world.tools}:/usr/bin:/bin")
    )
    (world.tools / "python3").unlink()  # the shapes' own, which is none
    assert (found.stdout, found.stderr) == (expected.stdout, expected.stderr)


def shown(world: World) -> str:
    """The folder this session has on its PATH."""
    (folder,) = (world.base / "paths").iterdir()
    return str(folder)


def test_an_entry_of_a_state_directory_with_a_backslash_is_no_python():
    """Python would read the backslash as an escape, and warn."""
    assert "'''" not in shellscripts.path_entry("pytest", base="/a\\s", python="/p", islands_dir="/i")


def test_nothing_stands_for_which_where_there_is_none(world):
    world.search_path = str(world.tools)
    shutil.rmtree(world.base / "paths")
    world.write_session()
    assert sorted(set(os.listdir(shown(world))) & {"which", "whereis"}) == []


# --- paths in shells of other modes ------------------------------------------------------------------------------------------


def test_a_bash_in_posix_mode_takes_no_path_for_a_name_and_loses_nothing_else(world, stub):
    world_env = world.env
    world.env = lambda: world_env() | {"POSIXLY_CORRECT": "1"}
    text = ".venv/bin/pytest -q; ruff check; command -v mypy; .venv/bin/python -m pytest -q"
    assert bash(world, "bash", text, world.env_text()) == bash(world, "bash", text, ":\n")
    assert [message["name"] for message in stub.calls] == [b"ruff"]


@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("options", ["set -u\n", "set -e\n", "set -eu\n", "set -f\n", "set -o noclobber\n", "IFS=/\n"])
def test_no_option_of_the_users_shell_loses_a_path(world, stub, shell_name, options):
    text = ".venv/bin/pytest -q | tail -1; ./gradlew >/dev/null; ./nothing || which pytest"
    expected = bash(world, shell_name, text, ":\n", snapshot=options)
    found = bash(world, shell_name, text, world.env_text(), snapshot=options)
    assert (unlined(found.out), found.code) == (unlined(expected.out), expected.code)
    assert [message["argv"].split(b"\0")[0] for message in stub.calls] == [b".venv/bin/pytest", b"./gradlew"]


# --- a check within a check -------------------------------------------------------------------------------------------------


def test_a_check_inside_a_recorded_one_runs_as_part_of_it(bench: Bench):
    """Also one that was told the path of our entry before, and kept it: it is neither recorded nor waited for."""
    bench.tool("pytest", "echo tested")
    bench.tool("make", f"pytest -q; {bench.base}/bin/pytest -q; timeout 20 pytest -q")
    bench.begin()
    for _ in range(2):
        out, code, _ = bench.bash("make test")
        assert (out, code) == (b"tested\n" * 3, 0)
    assert bench.did() == ["record", "replay"]
    assert [job.name for job in bench.state().jobs.values()] == ["make"]
