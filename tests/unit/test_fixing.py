"""Which configurations and scripts have a command rewrite what it checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.commands import where_it_fixes

NPM = """{"scripts": {"lint": "eslint . --fix", "dry": "eslint . --fix-dry-run", "again": "npm run lint", "all": "run-s dry again",
"prettier": "prettier --check .", "posttest": "prettier -w .", "test": "vitest run", "loop": "npm run loop && npm run loop"}}"""
MAKE = """SOURCES := src
.PHONY: lint check
lint: format
\truff check $(SOURCES)
format:
\t@black \\
\t  $(SOURCES)
check: ; black --check $(SOURCES)
types:
\tmypy src
"""
JUST = "lint *args: fmt\n    ruff check .\nfmt:\n    @ruff format .\ntest: build\n    pytest\nbuild:\n    echo built\n"
TOX = "[tox]\nenvlist = py\n[testenv]\ncommands = pytest\n[testenv:lint]\ncommands =\n    ruff check --fix .\n[flake8]\nselect = x --fix\n"
NOX = '@nox.session\ndef lint(session):\n    session.run("isort", "src")\n'
TASK = "tasks:\n  lint:\n    cmds:\n      - golangci-lint run --fix\n  test:\n    cmds:\n      - go test ./...\n"
PDM = '[tool.pdm.scripts]\nlint = "ruff check --fix"\ncheck = {cmd = "ruff check"}\n'
POE = '[tool.poe.tasks.lint]\nsequence = [{cmd = "black ."}, {cmd = "mypy ."}]\n'
HATCH = '[tool.hatch.envs.style.scripts]\nlint = ["ruff format {args:.}"]\n'


def of(line: str, files: dict[str, str]) -> str:
    return where_it_fixes([word.encode() for word in line.split()], lambda name: [files[name]] if name in files else [])


@pytest.mark.parametrize(
    ("line", "files", "found"),
    [
        ("ruff check .", {"pyproject.toml": "[tool.ruff]\nfix = true\n"}, "pyproject.toml"),
        ("uv run ruff check .", {"ruff.toml": "fix = true\n"}, "ruff.toml"),
        ("python -m ruff check src", {".ruff.toml": "fix-only = true\n"}, ".ruff.toml"),
        ("ruff check", {"ruff.toml": 'extend = "base.toml"\n', "base.toml": "fix = true\n"}, "base.toml"),
        ("ruff check --config own.toml", {"own.toml": "fix = true\n"}, "own.toml"),
        ("rubocop", {".rubocop": "--format progress\n-A\n"}, ".rubocop"),
        ("bundle exec rubocop app", {".rubocop": "--autocorrect"}, ".rubocop"),
        ("golangci-lint run ./...", {".golangci.yml": "issues:\n  fix: true\n"}, ".golangci.yml"),
        ("npx stylelint src", {".stylelintrc.json": '{\n  "fix": true\n}'}, ".stylelintrc.json"),
        ("npx markdownlint-cli2", {".markdownlint-cli2.jsonc": '{"fix": true}'}, ".markdownlint-cli2.jsonc"),
        ("npm run lint", {"package.json": NPM}, "package.json"),
        ("npm run again", {"package.json": NPM}, "package.json"),
        ("yarn all", {"package.json": NPM}, "package.json"),
        ("pnpm -r run lint", {"package.json": NPM}, "package.json"),
        ("npm test", {"package.json": NPM}, "package.json"),
        ("make lint", {"Makefile": MAKE}, "Makefile"),
        ("make check types lint", {"Makefile": MAKE}, "Makefile"),
        ("make check", {"Makefile": "check:\n\truff check .\n", "ruff.toml": "fix = true"}, "Makefile"),
        ("just lint", {"justfile": JUST}, "justfile"),
        ("tox -e lint", {"tox.ini": TOX}, "tox.ini"),
        ("tox", {"tox.ini": TOX}, "tox.ini"),
        ("nox -s lint", {"noxfile.py": NOX}, "noxfile.py"),
        ("task lint", {"Taskfile.yml": TASK}, "Taskfile.yml"),
        ("pdm run lint", {"pyproject.toml": PDM}, "pyproject.toml"),
        ("poe lint", {"pyproject.toml": POE}, "pyproject.toml"),
        ("hatch run style:lint", {"pyproject.toml": HATCH}, "pyproject.toml"),
        ("composer lint", {"composer.json": '{"scripts": {"lint": ["php-cs-fixer --in-place"]}}'}, "composer.json"),
    ],
)
def test_what_a_configuration_or_a_script_has_rewritten_is_found(line, files, found):
    assert of(line, files) == found


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("ruff check --no-fix .", {"ruff.toml": "fix = true\n"}),
        ("ruff check .", {"pyproject.toml": "[tool.black]\nfix = true\n"}),
        ("ruff check .", {"pyproject.toml": "[tool.ruff]\nfix = false\nfixable = ['ALL']\n"}),
        ("ruff check .", {"pyproject.toml": "tool = 1\n"}),
        ("ruff check .", {"pyproject.toml": "no toml ["}),
        ("ruff format --check .", {"ruff.toml": "fix = true\n"}),
        ("golangci-lint run --fix=false", {".golangci.yml": "fix: true\n"}),
        ("golangci-lint run", {".golangci.yml": "linters:\n  # fix: true\n  enable: [prefix: true]\n"}),
        ("npm run dry", {"package.json": NPM}),
        ("npm run prettier", {"package.json": NPM}),
        ("npm run loop", {"package.json": NPM}),
        ("npm run lint", {"package.json": "[1]"}),
        ("make check", {"Makefile": MAKE}),
        ("make types", {"Makefile": MAKE}),
        ("just test", {"justfile": JUST}),
        ("tox -e py", {"tox.ini": TOX}),
        ("task test", {"Taskfile.yml": TASK}),
        ("pdm run check", {"pyproject.toml": PDM}),
        ("pytest -q", {"package.json": NPM, "Makefile": MAKE, "ruff.toml": "fix = true"}),
        ("make", {}),
    ],
)
def test_what_only_checks_is_not_taken_for_it(line, files):
    assert of(line, files) == ""


def test_a_file_with_endless_lines_is_not_read():
    """A dotted key of many parts takes a parser hours."""
    assert of("ruff check .", {"ruff.toml": "fix = true\n" + "a." * 100_000 + "b = 1\n"}) == ""


@given(st.text(max_size=300))
def test_whatever_stands_in_a_file_nothing_is_raised(text):
    names = (
        "package.json",
        "pyproject.toml",
        "Makefile",
        "justfile",
        "tox.ini",
        "noxfile.py",
        "Taskfile.yml",
        "ruff.toml",
        ".rubocop",
        "composer.json",
    )
    for line in (
        "npm run lint",
        "make lint",
        "just lint",
        "tox -e lint",
        "nox",
        "task lint",
        "pdm run lint",
        "ruff check",
        "rubocop",
        "composer x",
    ):
        of(line, dict.fromkeys(names, text))
