"""What a session's Bash is given: which names, which texts, and that writing them twice is writing them once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stretto import commands, shellenv, shellscripts
from stretto.errors import UserError

SHELLS = [shell for shell in ("bash", "zsh", "dash") if shutil.which(shell)]


def program(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def text_for(*names: str, beside: tuple[str, ...] = (), pythons: tuple[str, ...] = (), **more: str) -> str:
    return shellscripts.session_text(
        shellscripts.Found(names, beside),
        base=more.get("base", "/b"),
        python=more.get("python", "/py/python3"),
        islands_dir="/i",
        pythons=shellscripts.Found(pythons, ()),
        setpriv=more.get("setpriv", ""),
    )


# --- names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["find", "grep", "rg", "pkill", "which", "test", "time", "cd", "a/b", "-x", "a;b", "é", ".", "", "a b"])
def test_a_name_the_host_or_a_shell_needs_is_never_taken(name):
    assert not shellenv.allowed(name)


def test_no_default_name_is_one_that_may_not_be_taken():
    assert [name for name in commands.NAMES if not shellenv.allowed(name)] == []


def test_names_are_found_on_the_path_and_beside_it_and_nowhere_else(tmp_path):
    root = tmp_path / "p"
    program(tmp_path / "bin" / "ruff")
    program(tmp_path / "bin" / "mypy")
    (tmp_path / "bin" / "tsc").write_text("not executable")
    (tmp_path / "bin" / "tox").mkdir()
    program(root / ".venv" / "bin" / "pytest")
    program(root / ".venv" / "bin" / "mypy")
    program(root / "node_modules" / ".bin" / "eslint")
    program(root / "bin" / "nox")
    search = f"relative:{tmp_path}/none:{tmp_path}/bin:"
    found = shellenv.find(["ruff", "mypy", "tsc", "tox", "pytest", "eslint", "nox", "find", "jest"], search, str(root))
    assert found == shellscripts.Found(("mypy", "ruff"), ("eslint", "pytest"))


def test_our_own_entries_are_not_taken_for_the_tool(tmp_path):
    """Else a tool that is not there would be found because an earlier session was given an entry for it."""
    shellenv.write_entries(str(tmp_path / "s"), ["pytest"])
    assert shellenv.find(["pytest"], f"{tmp_path}/s/bin", str(tmp_path)) == shellscripts.Found((), ())


def test_a_name_with_a_hyphen_is_on_the_path_and_no_function():
    """In POSIX mode such a function is a syntax error, at every Bash call."""
    text = text_for("golangci-lint", "ruff", "g++")
    assert "function ruff {" in text
    assert "function golangci-lint" not in text
    assert "function g++" not in text


def test_functions_are_written_so_that_an_alias_of_the_name_is_no_syntax_error():
    assert "pytest() {" not in text_for("pytest")
    assert "function pytest {" in text_for("pytest")


def test_without_tools_the_session_file_does_nothing():
    lines = [line for line in text_for().splitlines() if not line.startswith("#")]
    assert lines == [":"]


# --- texts ------------------------------------------------------------------------------------------------------------------


def test_the_guard_is_one_line_of_the_form_that_was_measured():
    assert shellscripts.guard_line("/f") == "if [ -f /f ] && ( . /f ) </dev/null >/dev/null 2>&1; then . /f >/dev/null 2>&1; fi; :"
    assert "\n" not in shellscripts.guard_line("/a b/'c'.sh")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "dash"])
def test_a_session_text_is_correct_shell(shell, tmp_path):
    names, more = ("pytest", "make", "golangci-lint"), {"base": "/a b/it's", "python": "/p y/'x'"}
    text = text_for(*names, beside=("eslint",), pythons=("python", "python3"), **more)
    checked = subprocess.run([shell, "-n", "-c", text], capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_path_entry_is_correct_shell(shell):
    text = shellscripts.path_entry("golangci-lint", base="/a b/it's", python="/p y/'x'", islands_dir="/i")
    checked = subprocess.run([shell, "-n", "-c", text], capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_every_module_that_checks_is_looked_at_and_no_other():
    text = text_for("pytest", "ruff", pythons=("python",))
    assert '*" -m pytest "*' in text
    assert '*" -m unittest "*' in text
    assert '*" -m pip "*' not in text


def test_a_projects_file_that_tests_is_looked_at_and_no_module_is_named_so():
    text = text_for("pytest", pythons=("python",))
    assert '*" manage.py "*|*"/manage.py "*' in text
    assert "-m manage.py" not in text


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "dash"])
@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("node --import tsx --test", True),
        ("cd web && node node_modules/.bin/jest", True),
        ("node --test 2>&1 | tail -5 && echo ok", True),
        ("node --test &> log || cat log", True),
        ("node server.js --port 1 & sleep 1; kill $!", False),
        ("node server.js & node --test; kill $!", False),
        ("node --test &", False),
        ("node -e 1", False),
    ],
)
def test_node_stays_what_it_is_where_the_text_has_no_test_of_it(shell, text, ours, tmp_path):
    (tmp_path / "f").write_text(text_for("npm", pythons=("node", "python"), setpriv="/usr/bin/setpriv"))
    script = f". {tmp_path}/f >/dev/null 2>&1; typeset -f node >/dev/null; echo $?; exit 0\n{text}"
    printed = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed == ("0\n" if ours else "1\n")


def test_node_is_given_the_file_of_a_tool_that_is_intercepted_and_of_no_other():
    text = text_for("npm", beside=("jest",), pythons=("node",))
    assert '*" --test "*|*"node_modules/.bin/jest "*' in text
    assert "node_modules/.bin/eslint" not in text


def test_a_python_in_a_subshell_is_bound_to_its_life():
    assert "/usr/bin/setpriv --pdeathsig TERM python" in text_for("pytest", pythons=("python",), setpriv="/usr/bin/setpriv")
    assert "_stretto_through python" in text_for("pytest", pythons=("python",))


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "dash"])
def test_sourcing_puts_the_directory_on_the_path_once_and_leaves_the_users_names_alone(shell, tmp_path):
    folder = shellscripts.paths_folder("/b", ["mypy", "pytest", "ruff"])
    (tmp_path / "f").write_text(text_for("mypy", "pytest", "ruff"))
    script = f"""
    pytest() {{ echo mine; }}
    alias ruff='ruff --mine'
    . {tmp_path}/f >/dev/null 2>&1; . {tmp_path}/f >/dev/null 2>&1
    echo "$PATH"; pytest; alias ruff; typeset -f mypy | grep -c _stretto; typeset -f ruff | grep -c _stretto; true
    """
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=True)
    path, pytest_says, alias, mypy_count, ruff_count = done.stdout.splitlines()
    assert path == f"{folder}:/usr/bin:/bin"
    assert pytest_says == "mine"
    assert "--mine" in alias
    assert (mypy_count, ruff_count) == ("1", "0")


# --- on disk ----------------------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode & 0o7777, status.st_mtime_ns, content)
    return found


def write(base: Path, session: Path, tools: Path, names: tuple[str, ...] = ("ruff", "mypy", "tsc")) -> shellscripts.Found:
    shellenv.write_entries(str(base), names, python="/py/python3", islands_dir="/i")
    return shellenv.write_session(
        str(session), names, base=str(base), search_path=str(tools), root="/nowhere", python="/py/python3", islands_dir="/i"
    )


def test_writing_again_touches_nothing(tmp_path):
    program(tmp_path / "bin" / "ruff")
    base, session = tmp_path / "s", tmp_path / "s" / "x" / "a.sh"
    first = write(base, session, tmp_path / "bin")
    before = snapshot(base)
    assert write(base, session, tmp_path / "bin") == first == shellscripts.Found(("ruff",), ())
    assert snapshot(base) == before


def test_entries_are_executable_and_private_and_all_else_is_private(tmp_path):
    program(tmp_path / "bin" / "ruff")
    base = tmp_path / "s"
    write(base, base / "x" / "a.sh", tmp_path / "bin")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (base / "bin").iterdir()}
    assert modes == dict.fromkeys(("ruff", "mypy", "tsc", *shellscripts.SEEKERS), 0o700)
    assert (base / "x" / "a.sh").stat().st_mode & 0o777 == 0o600
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in (base, base / "bin", base / "paths", *(base / "paths").iterdir()))


def test_the_path_of_a_session_shows_only_tools_that_are_there(tmp_path):
    """`command -v tsc || npm install` keeps its truth, whatever other projects were given."""
    program(tmp_path / "bin" / "ruff")
    base = tmp_path / "s"
    write(base, base / "x" / "a.sh", tmp_path / "bin")
    (shown,) = (base / "paths").iterdir()
    assert [path.name for path in shown.iterdir()] == ["ruff"]
    assert (shown / "ruff").resolve() == base / "bin" / "ruff"


def test_a_tool_that_came_and_one_that_went_are_seen_by_the_next_writing(tmp_path):
    base, session, tools = tmp_path / "s", tmp_path / "s" / "x" / "a.sh", tmp_path / "bin"
    program(tools / "ruff")
    assert write(base, session, tools).on_path == ("ruff",)
    program(tools / "mypy")
    (tools / "ruff").unlink()
    assert write(base, session, tools).on_path == ("mypy",)
    assert "function mypy" in session.read_text()
    assert "function ruff" not in session.read_text()


def test_a_damaged_entry_is_mended(tmp_path):
    program(tmp_path / "bin" / "ruff")
    base = tmp_path / "s"
    write(base, base / "x" / "a.sh", tmp_path / "bin")
    before = snapshot(base / "bin")["ruff"]
    (base / "bin" / "ruff").write_text("damaged")
    (base / "bin" / "mypy").chmod(0o600)
    (base / "bin" / "tsc").unlink()
    write(base, base / "x" / "a.sh", tmp_path / "bin")
    after = snapshot(base / "bin")
    assert (after["ruff"][0], after["ruff"][2]) == (before[0], before[2])
    assert after["mypy"][0] == after["tsc"][0] == 0o700


def test_a_directory_that_cannot_stand_in_a_path_is_refused(tmp_path):
    with pytest.raises(UserError, match="newline or colon"):
        shellenv.write_entries(str(tmp_path / "a:b"), ["ruff"])
    assert list(tmp_path.iterdir()) == []


def test_the_guard_line_is_added_once_and_foreign_lines_stay(tmp_path):
    """A resumed session finds its old file, with the line of its first start in it."""
    env_file = tmp_path / "env"
    env_file.write_text("export A=1")
    shellenv.add_guard_line(str(env_file), "/f")
    shellenv.add_guard_line(str(env_file), "/f")
    assert env_file.read_text() == f"export A=1\n{shellscripts.guard_line('/f')}\n"


def test_the_guard_line_makes_the_file_that_is_not_there(tmp_path):
    shellenv.add_guard_line(str(tmp_path / "env"), "/f")
    assert (tmp_path / "env").read_text() == shellscripts.guard_line("/f") + "\n"
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


# --- by path ----------------------------------------------------------------------------------------------------------------


def test_a_projects_own_tools_are_found_with_each_way_to_call_them(tmp_path):
    for name in (".venv/bin/pytest", "gradlew", "web/node_modules/.bin/jest", "bin/rails", "node_modules/.bin/unknown", ".hidden/bin/ruff"):
        program(tmp_path / name)
    (tmp_path / ".venv/bin/ruff").write_text("not executable")
    (tmp_path / "mvnw").mkdir()
    found = shellenv.find_paths(commands.NAMES, str(tmp_path))
    assert set(found) == {
        *(".venv/bin/pytest", "./.venv/bin/pytest", "../.venv/bin/pytest", f"{tmp_path}/.venv/bin/pytest"),
        *("./gradlew", "../gradlew", f"{tmp_path}/gradlew"),
        *("node_modules/.bin/jest", "./node_modules/.bin/jest", "../node_modules/.bin/jest"),
        *("web/node_modules/.bin/jest", "./web/node_modules/.bin/jest", f"{tmp_path}/web/node_modules/.bin/jest"),
        *("bin/rails", "./bin/rails", "../bin/rails", f"{tmp_path}/bin/rails"),
    }


def test_of_a_project_whose_path_no_shell_takes_for_a_name_the_relative_ways_are_met(tmp_path):
    root = tmp_path / "it's a $HOME"
    program(root / ".venv/bin/pytest")
    assert shellenv.find_paths(["pytest"], str(root)) == (".venv/bin/pytest", "./.venv/bin/pytest", "../.venv/bin/pytest")


def test_so_many_paths_are_met_and_those_of_the_root_before_others(tmp_path):
    program(tmp_path / "gradlew")
    for number in range(shellenv.FOLDERS_MOST):
        program(tmp_path / f"m{number:03}" / "gradlew")
    found = shellenv.find_paths(["gradlew"], str(tmp_path))
    assert len(found) == shellenv.PATHS_MOST
    assert found[:2] == ("./gradlew", "../gradlew")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "dash"])
@pytest.mark.parametrize(
    ("text", "defined"), [(".venv/bin/ruff -q", "yes no"), ("ruff", "no no"), ("x=/r/.venv/bin; $x/python", "no yes"), ("ls", "no no")]
)
def test_a_path_is_a_function_only_in_a_command_that_speaks_of_it(shell, text, defined, tmp_path):
    """Each costs time, at every Bash call."""
    found = shellscripts.Found((), (), (".venv/bin/ruff", "/r/.venv/bin/python"))
    (tmp_path / "f").write_text(shellscripts.session_text(found, base="/b", python="/p", islands_dir="/i"))
    ask = "is() { if typeset -f $1 >/dev/null; then echo yes; else echo no; fi; }; echo $(is $1) $(is $2)"
    script = f". {tmp_path}/f 2>/dev/null; {ask}; : {text!r}"
    done = subprocess.run([shell, "-c", script, "sh", *found.paths], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (defined + "\n", "")
