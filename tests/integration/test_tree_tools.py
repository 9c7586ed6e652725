"""What a wrapper would run: every place it may choose from is part of the tool's identity; where nobody can tell there is no join (F40)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from integration.conftest import Bench, _end
from integration.test_tree import quiet_home, write  # noqa: F401  (a fixture)
from stretto.tree import steered, tool, tool_identity, unseen_tool

SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def environment(place: Path) -> Path:
    """The least that is one; -> a file whose coming is an install."""
    write(place / "pyvenv.cfg", "home = /usr/bin\n")
    write(place / "bin" / "python", "#!/bin/sh\n")
    write(place / SITE / "six.py")
    return place / SITE / "new-1.dist-info" / "METADATA"


def node_cache(folder: Path) -> Path:
    write(folder / "eslint" / "package.json", "{}")
    return write(folder / ".package-lock.json", "{}")


CASES = [
    pytest.param("uv run pytest", lambda p, h: environment(p.parent / ".venv"), {}, id="uv-beside-a-project-above"),
    pytest.param("uv run pytest", lambda p, h: environment(h / "env"), {"UV_PROJECT_ENVIRONMENT": "{h}/env"}, id="uv-named"),
    pytest.param("uv run pytest", lambda p, h: h / ".local/share/uv/python/cpython-3.13/x", {}, id="uv-python"),
    pytest.param("poetry run pytest", lambda p, h: environment(h / ".cache/pypoetry/virtualenvs/my-app-Ab1-py3.11"), {}, id="poetry"),
    pytest.param(
        "poetry run pytest",
        lambda p, h: environment(h / "c/virtualenvs/p-x-py3"),
        {"POETRY_CACHE_DIR": "{h}/c"},
        id="poetry-cache-elsewhere",
    ),
    pytest.param(
        "poetry run pytest", lambda p, h: environment(h / "v/My_App-x-py3"), {"POETRY_VIRTUALENVS_PATH": "{h}/v"}, id="poetry-path"
    ),
    pytest.param("pipenv run pytest", lambda p, h: environment(h / ".local/share/virtualenvs/p-Ab12"), {}, id="pipenv"),
    pytest.param("pipenv run pytest", lambda p, h: environment(h / "w/p-Ab12"), {"WORKON_HOME": "{h}/w"}, id="pipenv-elsewhere"),
    pytest.param("pdm run pytest", lambda p, h: environment(h / "named"), {}, id="pdm"),
    pytest.param("hatch run pytest", lambda p, h: environment(h / ".local/share/hatch/env/virtual/p/Ab12/hatch-test"), {}, id="hatch"),
    pytest.param("npx eslint src", lambda p, h: node_cache(h / ".npm/_npx/ab12/node_modules"), {}, id="npx-cache"),
    pytest.param("npx eslint src", lambda p, h: node_cache(p.parent / "node_modules"), {}, id="npx-above"),
    pytest.param("mise run test", lambda p, h: h / ".local/share/mise/installs/node/22.1.0/x", {}, id="mise-install"),
    pytest.param("mise run test", lambda p, h: environment(h / ".local/share/mise/installs/python/3.12.1"), {}, id="mise-python"),
    pytest.param("mise run test", lambda p, h: h / ".config/mise/config.toml", {}, id="mise-config"),
    pytest.param("mise run test", lambda p, h: h / "d/installs/node/22/x", {"MISE_DATA_DIR": "{h}/d"}, id="mise-elsewhere"),
]


@pytest.mark.parametrize(("line", "prepare", "env"), CASES)
def test_an_install_where_a_wrapper_may_choose_makes_another_tool(short, line, prepare, env):
    project, home = short / "around" / "p", short / "h"
    write(project / "pyproject.toml", '[project]\nname = "my-app"\n')
    write(project / ".pdm-python", f"{home}/named/bin/python")
    file = prepare(project, home)
    exe = write(short / "bin" / line.split()[0])
    words = tuple(os.fsencode(word) for word in line.split())
    entries = [f"{name}={value.format(h=home)}".encode() for name, value in {"HOME": str(home), **env}.items()]

    def identity() -> bytes:
        return tool_identity(os.fsencode(exe), os.fsencode(project), words, b"/nowhere", os.fsencode(project), entries)

    first = identity()
    assert identity() == first
    write(file, "another\n")
    assert identity() != first


@pytest.mark.parametrize(
    "line",
    [
        *("uvx ruff check .", "uv tool run ruff check .", "pipx run ruff", "uv run --with ruff ruff check .", "uv run --isolated pytest"),
        *("npx eslint@9 src", "npx -p typescript tsc", "npx --package=typescript tsc", "uv run --extra dev --with=x pytest"),
    ],
)
def test_a_call_that_makes_its_environment_is_never_joined(line):
    assert unseen_tool([os.fsencode(word) for word in line.split()])


@pytest.mark.parametrize(
    "line",
    [
        "uv run pytest -s -w",
        "uv run --extra dev pytest --with x",
        "npx eslint src",
        "npx --no-install tsc",
        "poetry run pytest",
        "pytest",
        "",
    ],
)
def test_a_call_whose_environment_can_be_seen_may_be_joined(line):
    assert unseen_tool([os.fsencode(word) for word in line.split()]) == ""


@pytest.mark.parametrize(
    ("line", "env", "file", "text", "expected"),
    [
        ("pytest", "PYTEST_ADDOPTS=-q --lf", "", "", True),
        ("make test", "PYTEST_ADDOPTS=--stepwise", "", "", True),
        ("pytest", "PYTEST_ADDOPTS=-q --lfx", "", "", False),
        ("jest", "", "package.json", '{"jest": {"onlyFailures": true}}', True),
        ("npm test", "", "package.json", '{"scripts": {"test": "jest --onlyChanged"}}', True),
        ("npx jest", "", "jest.config.mjs", "export default {onlyChanged: true}", True),
        ("jest", "", "package.json", '{"jest": {"bail": true}}', False),
        ("pytest", "", "package.json", '{"jest": {"onlyFailures": true}}', False),
        ("pytest -q", "", "pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--testmon"\n', True),
        ("python -m pytest", "", "setup.cfg", "[tool:pytest]\naddopts = --lf\n", True),
        ("uv run pytest", "", "tox.ini", "[pytest]\naddopts = --nf\n", True),
        ("make test", "", "pytest.ini", "[pytest]\naddopts = --sw\n", True),
        ("pytest sub/test_a.py::test_b", "", "sub/pytest.ini", "[pytest]\naddopts = --ff\n", True),
        ("pytest -c odd/pytest.ini", "", "odd/pytest.ini", "[pytest]\naddopts = --ff\n", True),
        ("pytest", "", "sub/pytest.ini", "[pytest]\naddopts = --ff\n", False),
        ("pytest", "", "pyproject.toml", '[tool.poe.tasks]\nagain = "pytest --lf"\n', False),
        ("ruff check", "", "pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--lf"\n', False),
        ("make -C sub test", "", "sub/Makefile", "test:\n\tpytest --testmon\n", True),
        ("pytest -o addopts=--lf", "", "", "", True),
        ("pytest --override-ini=addopts=--testmon", "", "", "", True),
        ("bundle exec rspec", "", ".rspec", "--only-failures\n", True),
    ],
)
def test_a_call_that_goes_by_what_an_earlier_run_left_is_known_from_environment_and_configuration(short, line, env, file, text, expected):
    if file:
        (short / file).parent.mkdir(exist_ok=True)
        write(short / file, text)
    assert steered([os.fsencode(word) for word in line.split()], os.fsencode(short), [os.fsencode(env)]) is expected


def test_the_first_file_that_is_pytests_own_decides_and_what_stands_above_it_does_not(short):
    write(short / "pytest.ini", "[pytest]\naddopts = --lf\n")
    (short / "sub").mkdir()
    write(short / "sub" / "pyproject.toml", "[project]\nname = 'x'\n")
    assert steered([b"pytest"], os.fsencode(short / "sub"), [])
    write(short / "sub" / "tox.ini", "[pytest]\naddopts = -q\n")
    assert not steered([b"pytest"], os.fsencode(short / "sub"), [])


def test_f40_an_install_into_the_environment_of_a_wrapper_between_run_and_question_means_a_real_run(short, project, state_base):
    """`poetry run`, end to end."""
    bench = Bench(short, project, state_base)
    try:
        file = environment(short / ".cache/pypoetry/virtualenvs/p-Ab1-py3.11")
        bench.tool("poetry", 'cat "$HOME"/.cache/pypoetry/virtualenvs/*/lib/*/site-packages/*/METADATA 2>/dev/null; exit 0')
        bench.begin()
        for _ in range(2):
            assert bench.bash("poetry run pytest")[:2] == (b"", 0)
        write(file, "new\n")
        assert bench.bash("poetry run pytest")[:2] == (b"new\n", 0)
        assert bench.did() == ["record", "replay", "record"]
        assert bench.bash("PYTEST_ADDOPTS=--lf poetry run pytest")[:2] == (b"new\n", 0)
        assert bench.joins()[-1] == ("exec", "a cache steers its outcome")
    finally:
        _end(bench, frozenset())


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("exec {t}/real/tool", "real/tool"),
        ('exec "$(dirname "$0")/../real/tool" "$@"', "real/tool"),
        ("import sys; sys.path.insert(0, '{t}/real'); import m", "real/m.py"),
        ("require('{t}/real/m.js')", "real/m.js"),
    ],
)
def test_what_a_wrapper_goes_on_with_is_part_of_the_tool(short, script, named):
    """F40: another program, or other code, behind the same wrapper."""
    root = short / "p"
    root.mkdir()
    behind = write(short / named, "1\n")
    behind.chmod(0o755)
    program = write(short / "bin" / "ruff", "#!/bin/sh\n" + script.format(t=short) + f"\n# {root}/a.py {short}/real/log.txt\n")
    write(root / "a.py")
    write(short / "real" / "log.txt")

    def identity() -> bytes:
        return tool_identity(bytes(program), bytes(root), [b"ruff"], root=bytes(root))

    before = identity()
    write(root / "a.py", "2\n")
    write(short / "real" / "log.txt", "2\n")
    assert identity() == before  # the project is the scan's; a file that is no program may be written to
    write(behind, "22\n")
    assert identity() != before


@pytest.mark.parametrize(
    "entry", ["RUFF_CONFIG={f}", "PYTEST_ADDOPTS=-q -c {f}", "NODE_OPTIONS=--require={f}", "COVERAGE_RCFILE={f}", "BASH_ENV={f}"]
)
def test_a_file_that_a_variable_names_for_settings_is_part_of_the_tool(short, entry):
    root, file = short / "p", write(short / "shared" / "x.toml", "1\n")
    root.mkdir()
    program, env = write(short / "bin" / "ruff", "\x7fELF"), [entry.format(f=file).encode()]
    before = tool_identity(bytes(program), bytes(root), [b"ruff"], root=bytes(root), env=env)
    assert tool_identity(bytes(program), bytes(root), [b"ruff"], root=bytes(root), env=env) == before
    write(file, "22\n")
    assert tool_identity(bytes(program), bytes(root), [b"ruff"], root=bytes(root), env=env) != before


@pytest.mark.parametrize("name", ["MYPYPATH", "NODE_PATH", "RUBYLIB", "PERL5LIB"])
def test_folders_of_sources_that_variables_name_are_led_to(short, name):
    program = write(short / "bin" / "ruff", "\x7fELF")
    found = tool(bytes(program), bytes(short / "p"), [b"ruff"], root=bytes(short / "p"), env=[f"{name}={short}/lib:{short}/more".encode()])
    assert found.leads == (f"{short}/lib", f"{short}/more")
