"""Runs last: whatever the tests started is gone, and nothing stands outside their temporary directories."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from stretto import observe
from stretto.system import identify
from stretto.testing import netns
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.timeout(560)
BEGAN_S = Path("/proc/self").stat().st_mtime if Path("/proc/self").exists() else 0.0


LIMIT_S = 240.0
"""For tests that run beside this one, on another worker, to come to their end first; then for what they started."""
FINISHED = "finished"


@pytest.fixture(autouse=True)
def _after_all_others(request: pytest.FixtureRequest) -> None:
    """Nothing may be looked for while another worker is between two tests."""
    others = {item.nodeid.encode("unicode_escape").decode() for item in request.session.items if item.path != request.path}
    path = Path(os.environ["STRETTO_TEST_RUN"], FINISHED)
    if others:
        wait_until(lambda: others <= set(path.read_text(encoding="utf-8").splitlines()), limit_s=LIMIT_S, what="the end of all other tests")


def in_our_network() -> list[str]:
    """Living processes in this run's own network namespace, apart from pytest itself, its workers, and what stands above them."""
    ours = os.readlink("/proc/self/ns/net")
    above = [os.getpid(), *observe.ancestors(os.getpid())]
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in above:
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            worker = b"exec(eval(sys.stdin.readline()))" in words and next(observe.ancestors(int(name)), 0) in above
            if os.readlink(f"/proc/{name}/ns/net") == ours and identify(int(name)) and not worker:
                found.append(f"{name} {words[:200]!r}")
        except OSError:
            continue
    return found


def test_no_process_of_the_suite_is_left():
    if not netns.is_isolated():
        pytest.skip("this run has no network namespace of its own to find its processes by")
    wait_until(lambda: not in_our_network(), limit_s=LIMIT_S, what="the end of every process of the suite")
    assert in_our_network() == []


def test_no_state_stands_where_a_users_state_would():
    for folder in (Path(platformdirs.user_state_dir("stretto", appauthor=False)), Path.home() / ".claude" / "session-env"):
        assert not folder.exists() or folder.stat().st_mtime < BEGAN_S, folder


def test_no_directory_of_a_test_is_left():
    """pytest keeps its own `tmp_path` directories until the end of the run; they go with the run's directory."""

    def left() -> list[str]:
        return [name for name in os.listdir(os.environ["STRETTO_TEST_RUN"]) if not name.startswith("pytest-of-") and name != FINISHED]

    try:
        wait_until(lambda: not left(), limit_s=LIMIT_S, what="the end of every test's directory")
    except AssertionError:
        pytest.fail(f"left behind: {left()}")
    assert left() == []
