"""Runs last: whatever the tests started is gone, and nothing stands outside their temporary directories."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs
import pytest

from stretto.system import identify
from stretto.testing import netns
from stretto.testing.wait import wait_until

BEGAN_S = Path("/proc/self").stat().st_mtime if Path("/proc/self").exists() else 0.0


def in_our_network() -> list[str]:
    """Living processes in this run's own network namespace, apart from this one and those above it."""
    ours = os.readlink("/proc/self/ns/net")
    above = {os.getpid()}
    pid = os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        above.add(pid)
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in above:
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/net") == ours and identify(int(name)):
                found.append(f"{name} {Path(f'/proc/{name}/cmdline').read_bytes()[:200]!r}")
        except OSError:
            continue
    return found


def test_no_process_of_the_suite_is_left():
    if os.readlink("/proc/self/ns/net") == os.readlink(f"/proc/{os.getppid()}/ns/net"):
        pytest.skip(f"this run has no network namespace of its own to find its processes by: {netns.isolate() or 'started inside one'}")
    wait_until(lambda: not in_our_network(), limit_s=40, what=f"the end of {in_our_network()}")
    assert in_our_network() == []


def test_no_state_stands_where_a_users_state_would():
    for folder in (Path(platformdirs.user_state_dir("stretto", appauthor=False)), Path.home() / ".claude" / "session-env"):
        assert not folder.exists() or folder.stat().st_mtime < BEGAN_S, folder


def test_no_directory_of_a_test_is_left():
    """pytest keeps its own `tmp_path` directories until the end of the run; they go with the run's directory."""
    assert [name for name in os.listdir(tempfile.gettempdir()) if not name.startswith("pytest-of-")] == []
