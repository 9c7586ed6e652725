"""What surrounds the sessions of `bench.sessions`: the native hook as a program, and the checkout between two sessions. No network."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from bench.sessions import alternative, prepare
from bench.sessions.projects import STRUCTLOG

from stretto.demo import project as sources
from stretto.errors import UnavailableError


def test_the_native_hook_runs_every_check_and_tells_the_model_how_each_ended(tmp_path):
    notes = tmp_path / "notes"
    settings = alternative.settings(sys.executable, str(notes), ("echo fine", "echo broken; exit 3"))
    (group,) = settings["hooks"]["PostToolUse"]
    (hook,) = group["hooks"]
    assert hook["async"] is True
    done = subprocess.run([hook["command"], *hook["args"]], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout)["hookSpecificOutput"]["additionalContext"]
    assert told == "echo fine: exit 0\nfine\n\necho broken; exit 3: exit 3\nbroken"
    rows = [json.loads(line) for line in notes.read_text().splitlines()]
    assert [row["command"] for row in rows] == ["echo fine", "echo broken; exit 3"]
    assert all(row["began_s"] <= row["ended_s"] for row in rows)


def test_every_session_begins_with_the_same_checkout_and_keeps_what_was_installed(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / ".venv").mkdir(parents=True)
    (checkout / ".venv/installed").touch()
    (checkout / "kept.py").write_text("VALUE = 1\n")
    (checkout / ".git/info").mkdir(parents=True)
    (checkout / ".git/info/exclude").write_text(".venv/\n.claude/\n__pycache__/\n")
    sources.commit(checkout)
    (checkout / "kept.py").write_text("VALUE = 2\n")
    (checkout / "new.py").touch()
    for name in ("__pycache__", ".claude"):
        (checkout / name).mkdir()
        (checkout / name / "x").touch()
    prepare.reset(replace(STRUCTLOG, warm=("touch warm",)), checkout)
    assert (checkout / "kept.py").read_text() == "VALUE = 1\n"
    assert sorted(path.name for path in checkout.iterdir()) == [".claude", ".git", ".venv", "kept.py", "warm"]
    assert (checkout / ".venv/installed").exists()


def test_a_preparation_that_fails_says_which_step_and_why(tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "a").touch()
    sources.commit(checkout)
    with pytest.raises(UnavailableError, match=r"`bash -c echo no such thing; exit 4` ended with 4: no such thing"):
        prepare.reset(replace(STRUCTLOG, warm=("echo no such thing; exit 4",)), checkout)
