"""What `stretto init` writes, as the real Claude Code takes it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stretto
from stretto import install, trust
from stretto.fold import fold
from stretto.journal import read
from stretto.model import SessionOpened
from stretto.testing import leftovers
from stretto.testing.api import ScriptedApi, bash
from stretto.testing.claude import run

pytestmark = [pytest.mark.claude, pytest.mark.slow]

PACKAGE = Path(stretto.__file__).parent


def cli(project, home, *words):
    env = {**os.environ, "HOME": str(home.path), "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "stretto", *words], cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done


def opened(base, project):
    folder = trust.ProjectPaths(base=str(base), key=trust.project_key(str(project))).folder
    return [event for _, event in read(folder) if isinstance(event, SessionOpened)]


def notices(outcome):
    """Messages of hooks for the user, as the stream of events carries them."""
    return [line for line in outcome.stdout.splitlines() if "Stretto is not working" in line and '"hook_response"' in line]


def test_hooks_reach_the_supervisor_and_the_session_is_as_without_them(state_base, project, home):
    cli(project, home, "init", "--yes")
    with ScriptedApi([bash("echo one; exit 3")]) as api:
        outcome = run("go", api=api, project=project, home=home, output="stream-json", args=["--include-hook-events"])
    assert outcome.code == 0
    assert [(result.text, result.is_error) for result in api.tool_results()] == [("Exit code 3\none", True)]
    (event,) = opened(state_base, project)
    assert event.session == outcome.session_id()
    assert notices(outcome) == []


def test_f30_hooks_in_user_and_project_settings_open_the_session_once(state_base, project, home):
    cli(project, home, "init", "--yes")
    cli(project, home, "init", "--yes", "--user")
    with ScriptedApi([bash("true")]) as api:
        outcome = run("go", api=api, project=project, home=home)
    assert outcome.code == 0
    assert len(opened(state_base, project)) == 1


@pytest.mark.parametrize("lost", ["files", "interpreter", "client-unreadable"])
def test_f22_a_broken_installation_disturbs_nothing_and_says_so_once(short, state_base, project, home, lost):
    """F22: our files deleted, damaged, or their interpreter gone: tools work, the session ends, at most one notice."""
    islands = short / "islands"
    islands.mkdir()
    shutil.copy(PACKAGE / "client.py", islands)
    python = short / "python3"
    python.symlink_to(install.wiring("").python)
    wired = install.Wiring(python=str(python), islands=str(islands), base=str(state_base), supervisor=sys.executable)
    trust.grant(str(project), "on", None, base=str(state_base), python=sys.executable)
    install.perform(install.plan_init(install.settings_path(str(project), "local"), wired))
    if lost == "files":
        shutil.rmtree(islands)
    elif lost == "interpreter":
        python.unlink()
    else:
        (islands / "client.py").write_text("def main(:\n")
    with ScriptedApi([bash("echo one"), bash("echo two")]) as api:
        outcome = run("go", api=api, project=project, home=home, output="stream-json", args=["--include-hook-events"])
    assert outcome.code == 0
    assert [(result.text, result.is_error) for result in api.tool_results()] == [("one", False), ("two", False)]
    assert len(notices(outcome)) == (0 if lost == "interpreter" else 1)  # without an interpreter nobody of ours is there to speak
    assert json.loads(outcome.stdout.splitlines()[-1])["is_error"] is False


def test_on_a_machine_without_the_interpreter_no_hook_fails_and_the_user_is_told_once(world):
    """The same checkout in a container: 11 errors of hooks in 3 calls, at Stop, too."""
    settings = world.root / ".claude" / "settings.local.json"
    here = install.wiring("").python
    settings.write_text(settings.read_text().replace(json.dumps(here), '"/opt/of/another/machine/python3"'))
    seen = world.session((turn for turn in [bash("echo one"), bash("echo two"), world.edit("one", "two")]), silent=False)
    assert seen.texts[:2] == ["one", "two"]
    assert seen.notices() == [install.ABSENT]
    assert {hook["outcome"] for hook in seen.hooks()} == {"success"}


def test_a_worktree_that_the_host_makes_is_not_served_and_the_user_is_told_once(world):
    seen = world.session((turn for turn in [bash("pwd"), bash("pytest -q")]), args=["--worktree", "feat"], silent=False)
    assert seen.texts[0] == str(world.root / ".claude" / "worktrees" / "feat")
    assert ["not served" in line for line in seen.notices()] == [True]
    assert world.did() == []


def test_a_worktree_that_the_host_makes_is_served_where_the_user_said_so(world):
    world.cli("init", "--yes", "--worktrees")
    place = world.root / ".claude" / "worktrees" / "feat"
    seen = world.session((turn for turn in [bash("pytest -q"), bash("pytest -q"), bash("pytest -q")]), args=["--worktree", "feat"])
    assert len(seen.texts) == 3
    assert "replay" in [
        join.do for join in fold(read(trust.ProjectPaths(base=str(world.base), key=trust.project_key(str(place))).folder)).joins
    ]
    world.cli("uninstall")
    assert not leftovers.find(str(world.base))
