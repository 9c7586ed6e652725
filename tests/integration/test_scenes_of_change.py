"""What may change around a check, one scene each, end to end: a supervisor, the real shim, a run, the change, and the next ask.

The check prints what it read, so an answer that is not that of a run at the moment of the ask shows itself. `docs/join.md` lists the
scenes, those held elsewhere included (A-4, B-19, F34, F40, F41).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from integration.conftest import Bench
from integration.test_tree import pip, site_of, wheel
from stretto.testing.wait import wait_until

LIMIT_S = 30.0
DOCS = Path(__file__).resolve().parents[2] / "docs"
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
HOLD = 'while [ -f "$HOME/hold" ]; do read -r _ <"$HOME/fifo" || :; done; '
"""Waits, in the middle of a run, for as long as a test wants."""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path) -> None:
    """Make what is in a folder the first commit of a repository."""
    git(folder, "init", "-q")
    git(folder, "checkout", "-q", "-B", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ready(bench: Bench, script: str, files: Mapping[str, str] | None = None, name: str = "pytest") -> None:
    """A project with these files, in git, and a check that does this."""
    for file, text in {"src.py": "one\n", ".gitignore": ".env\ndist/\n.venv/\nnode_modules/\n.coverage\n*.log\n", **(files or {})}.items():
        write(bench.root / file, text)
    repository(bench.root)
    bench.tool(name, script)
    bench.begin()


def ask(bench: Bench, command: str = "pytest -q") -> tuple[str, str]:
    """Ask for a check: what it printed, and what was done."""
    before = len(bench.did())
    out, _, _ = bench.bash(command)
    did = bench.did()[before:]
    return out.decode(), did[-1] if did else "exec"


# --- a change between the run and the question ------------------------------------------------------------------------------------


class Scene(NamedTuple):
    prints: str
    """Shell words that print what the check reads."""
    change: Callable[[Bench], object]
    files: Mapping[str, str] = MappingProxyType({})
    prepare: Callable[[Bench], object] = lambda bench: None


def venv(bench: Bench) -> Path:
    """An environment in the project with `tiny` 1.0 in it."""
    folder = bench.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip(folder, "install", "--no-index", "--no-deps", str(wheel(bench.short / "w", "tiny", "1.0", "x = 'one'\n")))
    return folder


def outside(bench: Bench, name: str) -> Path:
    return bench.short / "elsewhere" / name


def editable(bench: Bench) -> None:
    """What `pip install -e` leaves: a path in a .pth file."""
    write(outside(bench, "lib/lib.py"), "x = 'one'\n")
    folder = bench.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    write(site_of(folder) / "__editable__.lib-1.pth", f"{outside(bench, 'lib')}\n")


def linked(bench: Bench) -> None:
    """What `npm link` leaves: a link to a checkout."""
    write(outside(bench, "left/index.js"), "one\n")
    write(outside(bench, "left/package.json"), json.dumps({"name": "left", "version": "1.0.0"}))
    (bench.root / "node_modules").mkdir()
    (bench.root / "node_modules" / "left").symlink_to(outside(bench, "left"))


def nested(bench: Bench) -> None:
    write(bench.root / "vendored" / "m.py", "one\n")
    repository(bench.root / "vendored")


def link_out(bench: Bench) -> None:
    write(outside(bench, "data.txt"), "one\n")
    (bench.root / "data.txt").symlink_to(outside(bench, "data.txt"))


def rebase(bench: Bench) -> None:
    """The last commit put behind another one that changed a file: HEAD and the files end as they are after any rebase."""
    git(bench.root, "commit", "-q", "--allow-empty", "-m", "mine")
    git(bench.root, "checkout", "-q", "-b", "theirs", "HEAD~1")
    write(bench.root / "src.py", "two\n")
    git(bench.root, "commit", "-qam", "theirs")
    git(bench.root, "checkout", "-q", "main")
    git(bench.root, "rebase", "-q", "theirs")


def upgrade(bench: Bench) -> None:
    pip(bench.root / ".venv", "install", "-U", "--no-index", "--no-deps", str(wheel(bench.short / "w", "tiny", "1.1", "x = 'two'\n")))


IMPORTS = '"$PWD/.venv/bin/python" -c "import {0}; print({0}.x)"'
NEEDS_PIP = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="no pip beside this Python")
SCENES = [
    pytest.param(Scene("cat .env", lambda b: write(b.root / ".env", "two\n"), {".env": "one\n"}), id="an ignored input is edited"),
    pytest.param(Scene(IMPORTS.format("tiny"), upgrade, prepare=venv), marks=NEEDS_PIP, id="pip install -U"),
    pytest.param(
        Scene(IMPORTS.format("lib"), lambda b: write(outside(b, "lib/lib.py"), "x = 'another'\n"), prepare=editable),
        id="an editable install is edited",
    ),
    pytest.param(
        Scene("cat node_modules/left/index.js", lambda b: write(outside(b, "left/index.js"), "two\n"), prepare=linked),
        id="a checkout behind npm link is edited",
    ),
    pytest.param(
        Scene("git describe --always", lambda b: git(b.root, "commit", "-q", "--allow-empty", "-m", "second")),
        id="an empty commit moves HEAD under git describe",
    ),
    pytest.param(
        Scene("cat src.py; git stash list", lambda b: (write(b.root / "src.py", "two\n"), git(b.root, "stash", "-q"))), id="a stash"
    ),
    pytest.param(Scene("cat src.py; git log --oneline", rebase), id="a rebase"),
    pytest.param(
        Scene("cat vendored/m.py", lambda b: write(b.root / "vendored" / "m.py", "two\n"), prepare=nested),
        id="a nested repository is edited",
    ),
    pytest.param(
        Scene("cat data.txt", lambda b: write(outside(b, "data.txt"), "two\n"), prepare=link_out),
        id="the target of a link outside is edited",
    ),
    pytest.param(
        Scene("cat dist/a.js", lambda b: write(b.root / "dist" / "a.js", "tw"), {"dist/a.js": "one\n"}), id="a build is killed half way"
    ),
    pytest.param(
        Scene("ls -a", lambda b: write(b.root / "tsconfig.tsbuildinfo", "{"), {"tsconfig.json": "{}"}), id="a .tsbuildinfo is half written"
    ),
]


@pytest.mark.parametrize("scene", SCENES)
def test_f40_a_change_between_run_and_question_is_answered_by_a_real_run(bench, scene):
    for name, text in scene.files.items():
        write(bench.root / name, text)
    scene.prepare(bench)
    ready(bench, scene.prints)
    first, _ = ask(bench)
    assert ask(bench) == (first, "replay"), "nothing has changed yet"
    scene.change(bench)
    second, did = ask(bench)
    assert (second != first, did) == (True, "record")
    assert ask(bench) == (second, "replay"), "and nothing since"


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.id in ("an ignored input is edited", "pip install -U", "a rebase")])
def test_f41_a_change_during_a_run_leaves_it_joined_by_nobody(bench, scene):
    """What the run printed is of neither tree; the session that asked for it gets it, as it would natively, and nobody else does."""
    for name, text in scene.files.items():
        write(bench.root / name, text)
    scene.prepare(bench)
    home = bench.short
    os.mkfifo(home / "fifo")
    ready(bench, f"{scene.prints}; {HOLD}{scene.prints}")
    (home / "hold").touch()
    with ThreadPoolExecutor() as pool:
        torn = pool.submit(ask, bench)
        wait_until(bench.did, LIMIT_S, "the run")
        with open(home / "fifo", "w"):  # opens once the run is in the middle
            scene.change(bench)
            (home / "hold").unlink()
        before, after = torn.result()[0], ask(bench)
    assert after[1] == "record"
    assert after[0] != before
    assert ask(bench) == (after[0], "replay")


def test_stash_and_stash_pop_between_run_and_question_never_give_the_tree_in_between(bench):
    """F41: content as it was, times not; a real run is what may come of it, never the answer of another tree."""
    ready(bench, "cat src.py")
    bench.edit("src.py", "two\n")
    assert ask(bench)[0] == "two\n"
    git(bench.root, "stash", "-q")
    assert ask(bench) == ("one\n", "record")
    git(bench.root, "stash", "pop", "-q")
    assert ask(bench)[0] == "two\n"


# --- what a command does to itself ---------------------------------------------------------------------------------------------------


def test_f52_a_snapshot_written_at_the_first_run_is_not_answered_with_the_first_run(bench):
    """Natively the second run finds it and says so."""
    ready(bench, "if [ -f __snapshots__ ]; then echo 1 passed; else echo 1 written; : >__snapshots__; fi")
    assert ask(bench) == ("1 written\n", "record")
    assert ask(bench) == ("1 passed\n", "record")
    assert ask(bench) == ("1 passed\n", "replay")


def test_a_coverage_file_written_at_every_run_is_a_product_from_the_second_run_on(bench):
    """After the first run nobody can tell whether it wrote the file or had read it."""
    ready(bench, "echo run >>.coverage; cat src.py")
    assert ask(bench) == ("one\n", "record")
    assert ask(bench) == ("one\n", "record")
    assert ask(bench) == ("one\n", "replay")


def test_a_product_that_was_taken_away_is_made_again(bench):
    """`rm -rf dist && npm run build`: a replay would leave no dist."""
    ready(bench, 'mkdir -p dist; cat src.py >dist/a.js; echo built "$(cat dist/a.js)"', name="npm")
    assert ask(bench, "npm run build")[0] == "built one\n"
    for _ in range(2):
        out, did = ask(bench, "rm -rf dist && npm run build")
        assert (out, did) == ("built one\n", "record")
        assert (bench.root / "dist" / "a.js").read_text() == "one\n"
    shutil.rmtree(bench.root / "dist")
    assert ask(bench, "npm run build") == ("built one\n", "record")
    assert (bench.root / "dist" / "a.js").exists()


def test_a_build_that_was_killed_is_no_answer_for_the_next_one(bench):
    ready(
        bench,
        "mkdir -p dist; printf o >dist/a.js; [ -f once ] || { : >once; kill -9 $$; }; cat src.py >dist/a.js; cat dist/a.js",
        name="tsc",
    )
    git(bench.root, "config", "core.excludesFile", str(write(bench.short / "excludes", "once\n")))
    bench.bash("tsc -p .")
    assert (bench.root / "dist" / "a.js").read_text() == "o"
    assert ask(bench, "tsc -p .") == ("one\n", "record")
    assert (bench.root / "dist" / "a.js").read_text() == "one\n"


# --- scope (B-19, F34) -------------------------------------------------------------------------------------------------------------------

PLACE = 'echo "${PWD##*/}:"; cat src.py'


def scopes(bench: Bench) -> dict[str, str]:
    """Places from which one command may be asked for, and the line each has of its own."""
    root = bench.root
    for folder in ("packages/a", "packages/b"):
        write(root / folder / "src.py", f"{folder}\n")
    write(root / "vendored" / "src.py", "vendored\n")
    repository(root / "vendored")
    write(bench.short / "other" / "src.py", "other\n")
    repository(bench.short / "other")
    ready(bench, PLACE)
    git(root, "worktree", "add", "-q", str(bench.short / "tree"))
    write(bench.short / "tree" / "src.py", "worktree\n")
    return {
        ".": "one",
        "packages/a": "packages/a",
        "packages/b": "packages/b",
        "vendored": "vendored",
        "../other": "other",
        "../tree": "worktree",
    }


def test_b19_f34_one_command_in_six_places_is_never_answered_by_another_places_run(bench):
    """Two repositories, a nested one, a worktree, two packages of a monorepo, all by `cd` in the command, each asked three times."""
    assert bench.short == bench.root.parent
    places = scopes(bench)
    for _ in range(3):
        for place, line in places.items():
            out, code, _ = bench.bash(f"cd {place} && pytest -q")
            assert out.decode().splitlines()[1:] == [line]
            assert code == 0
    assert bench.did().count("replay") >= len(places), "asked again where nothing changed, it is joined"


def test_b19_what_lies_outside_the_project_is_neither_joined_nor_recorded(bench):
    scopes(bench)
    for place in ("../other", "../tree"):
        before = len(bench.did())
        bench.bash(f"cd {place} && pytest -q")
        bench.bash(f"cd {place} && pytest -q")
        assert set(bench.did()[before:]) <= {"exec"}


# --- inputs that nobody declared (A-4) -------------------------------------------------------------------------------------

OUTSIDE = "joined, and named in docs/join.md as outside"
UNDECLARED = [
    pytest.param('echo "$MODE"', lambda b: b.env.update(MODE="two"), "its key differs", "", id="an environment variable"),
    pytest.param('cat "$HOME/data"', lambda b: write(b.short / "data", "two\n"), OUTSIDE, "most of the home folder", id="a file at home"),
    pytest.param(
        "cat ../elsewhere/data.txt", lambda b: write(outside(b, "data.txt"), "two\n"), OUTSIDE, "Files outside the project", id="a path out"
    ),
    pytest.param("cat /proc/uptime", lambda b: None, OUTSIDE, "The clock", id="the clock"),
    pytest.param("od -An -N8 -tx1 /dev/urandom", lambda b: None, OUTSIDE, "randomness", id="randomness"),
]


@pytest.mark.parametrize(("prints", "change", "treatment", "named"), UNDECLARED)
def test_a4_an_input_that_nobody_declared_is_treated_as_the_documents_say(bench, prints, change, treatment, named):
    """Neither treatment is an accident: the table of what no scan sees is held against what happens."""
    bench.env["MODE"] = "one"
    write(bench.short / "data", "one\n")
    write(outside(bench, "data.txt"), "one\n")
    ready(bench, prints)
    first, _ = ask(bench)
    change(bench)
    second, did = ask(bench)
    if treatment == OUTSIDE:
        assert (second, did) == (first, "replay")
        outside_of_it = re.split(r"^## ", (DOCS / "join.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert any(named in part for part in outside_of_it if part.startswith("What no scan sees"))
    else:
        assert (second, did) == ("two\n", "record")


def test_a4_what_the_session_itself_writes_outside_ends_all_results(bench):
    """The bound on what no scan sees: the session's own doings are known."""
    write(bench.short / "data", "one\n")
    ready(bench, 'cat "$HOME/data"')
    assert ask(bench) == ("one\n", "record")
    bench.bash('echo two >"$HOME/data"')
    assert ask(bench) == ("two\n", "record")
    call = {"tool_name": "Write", "tool_use_id": "w1", "tool_input": {"file_path": str(bench.short / "data"), "content": "three\n"}}
    bench.hook("PreToolUse", **call)
    write(bench.short / "data", "three\n")
    bench.batch(call)
    assert ask(bench) == ("three\n", "record")
