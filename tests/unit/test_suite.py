"""What the suite promises of itself: it runs where only Python, git and make are, and a failure is told by the test that failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

SAMPLE = """
import gc, socket
import pytest

@pytest.mark.parametrize("shell", ["zsh", "a word"])
def test_of_a_shell(shell):
    assert shell == "a word"

@pytest.mark.needs("a-program-that-is-nowhere")
def test_of_a_program():
    assert False

def test_that_breaks_off():
    opened = [socket.socket()]
    opened.append(opened)  # collected late, as what hangs on a fixture is
    assert False, "its own words"

def test_that_is_innocent():
    gc.collect()
"""


def test_what_is_not_here_is_skipped_with_its_name_and_an_innocent_test_does_not_report_what_a_failure_left_open(tmp_path):
    """Defect: 182 tests failed on a machine without zsh, and what they left open was reported by tests that ran after them."""
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    options = ["-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, "test_sample.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PATH": str(tmp_path / "nothing")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
    assert "zsh is not installed" in done.stdout
    assert "a-program-that-is-nowhere is not installed" in done.stdout
    assert "its own words" in done.stdout
