"""Git hooks as second line: asked for at `init`, in nobody's way, and gone without a trace (B-16, F69)."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from integration.conftest import Bench
from integration.test_control import cli
from integration.test_git_gate import commits, decisions, gated, git, go_red  # noqa: F401  (a fixture)
from stretto import githooks
from stretto.errors import UserError


@pytest.fixture
def hooked(gated: Bench) -> Bench:  # noqa: F811
    githooks.install(str(gated.root), str(gated.base))
    return gated


PAST = {
    "in another shell": 'bash -c "git commit -qam x"',
    "by an alias": "git -c alias.ci=commit ci -qam x",
    "by its path": "/usr/bin/git commit -qam x",
    "below a tool": "env git commit -qam x",
}


@pytest.mark.parametrize("way", PAST)
def test_b16_with_hooks_in_a_commit_past_the_function_is_refused_as_well(hooked, way):
    go_red(hooked)
    _, code, _ = hooked.bash(PAST[way])
    assert (code != 0, commits(hooked)) == (True, 1)
    assert decisions(hooked)[-1] == ("commit", "deny", "red")


def test_through_the_function_the_gate_is_asked_once(hooked):
    assert hooked.bash("git commit -q --allow-empty -m second")[1] == 0
    assert decisions(hooked) == [("commit", "allow", "clear")]


def test_a_person_commits_in_a_terminal_and_may_override(hooked):
    go_red(hooked)
    words = ["git", "commit", "-qam", "x"]
    env = {name: value for name, value in hooked.env.items() if not name.startswith("CLAUDE")}
    refused = subprocess.run(words, cwd=hooked.root, env=env, capture_output=True, text=True, check=False)
    assert (refused.returncode, "FAILED t.py::test_it" in refused.stderr) == (1, True)
    assert subprocess.run(words, cwd=hooked.root, env={**env, "STRETTO": "off"}, check=False).returncode == 0
    assert commits(hooked) == 2


@pytest.mark.parametrize("lost", ["state", "supervisor"])
def test_b16_without_what_a_hook_needs_git_goes_on(hooked, lost):
    go_red(hooked)
    hooked.stop()
    if lost == "state":
        shutil.move(hooked.base, hooked.short / "away")
    assert subprocess.run(["git", "commit", "-qam", "x"], cwd=hooked.root, env=hooked.env, check=False).returncode == 0
    if lost == "state":
        shutil.move(hooked.short / "away", hooked.base)


@pytest.mark.parametrize("code", [0, 1])
def test_a_hook_that_is_there_is_kept_byte_for_byte_and_decides_as_before(gated, code):  # noqa: F811
    path = gated.root / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    theirs = f'#!/bin/sh\necho theirs "$@" >>"$HOME/theirs"\nexit {code}\n'.encode()
    path.write_bytes(theirs)
    path.chmod(0o755)
    githooks.install(str(gated.root), str(gated.base))
    githooks.install(str(gated.root), str(gated.base))
    done = subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=gated.root, env=gated.env, check=False)
    assert done.returncode == code
    assert (Path(gated.env["HOME"]) / "theirs").read_text() == "theirs\n"
    assert len(githooks.remove(str(gated.root))) == 2
    assert path.read_bytes() == theirs
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert sorted(each.name for each in path.parent.iterdir() if not each.name.endswith(".sample")) == ["pre-commit"]


def test_what_pre_push_is_told_on_its_input_reaches_the_hook_that_was_there(gated, short):  # noqa: F811
    path = gated.root / ".git" / "hooks" / "pre-push"
    path.parent.mkdir(exist_ok=True)
    path.write_text('#!/bin/sh\ncat >"$HOME/told"\n')
    path.chmod(0o755)
    githooks.install(str(gated.root), str(gated.base))
    subprocess.run(["git", "init", "-q", "--bare", str(short / "origin")], env=gated.env, check=True)
    git(gated, "push", "-q", str(short / "origin"), "HEAD:refs/heads/main")
    assert (Path(gated.env["HOME"]) / "told").read_text().startswith("HEAD ")


@pytest.mark.parametrize("inside", [True, False], ids=["in the tree, as husky has it", "shared with others"])
def test_where_git_has_its_hooks_elsewhere_nothing_is_written_and_the_line_to_add_is_said(gated, short, inside):  # noqa: F811
    folder = gated.root / ".husky" if inside else short / "hooks"
    folder.mkdir()
    git(gated, "config", "core.hooksPath", str(folder))
    with pytest.raises(UserError) as refused:
        githooks.install(str(gated.root), str(gated.base))
    assert list(folder.iterdir()) == []
    line = next(part for part in str(refused.value).splitlines() if part.strip().startswith("pre-commit:"))
    (folder / "pre-commit").write_text("#!/bin/sh\n" + line.split(":", 1)[1].strip() + "\n")
    (folder / "pre-commit").chmod(0o755)
    go_red(gated)
    assert subprocess.run(["git", "commit", "-qam", "x"], cwd=gated.root, env=gated.env, check=False, capture_output=True).returncode == 1


def test_init_puts_them_in_doctor_looks_at_them_and_uninstall_takes_them_out(gated):  # noqa: F811
    before = sorted(os.listdir(gated.root / ".git" / "hooks")) if (gated.root / ".git" / "hooks").exists() else []
    done = cli(gated, "init", "--yes", "--git-hooks")
    assert (done.returncode, "pre-commit" in done.stdout) == (0, True)

    def found() -> list[tuple[str, str]]:
        lines = cli(gated, "doctor", "--json").stdout.splitlines()
        return [(one["level"], one["text"]) for one in map(json.loads, lines) if one["name"] == "git hooks"]

    assert [level for level, _ in found()] == ["ok"]
    (gated.root / ".git" / "hooks" / "pre-push").write_text("#!/bin/sh\n")
    assert [level for level, _ in found()] == ["warn"]
    (gated.root / ".git" / "hooks" / "pre-push").unlink()
    cli(gated, "init", "--yes", "--git-hooks")
    assert cli(gated, "uninstall").returncode == 0
    assert sorted(os.listdir(gated.root / ".git" / "hooks")) == before
