"""Shared by every test: a network with nothing but loopback, short private directories, and the end of whatever a test left running."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from stretto.testing import claude, leftovers, netns

_FIRST = "STRETTO_TEST_RUN" not in os.environ
"""Whether this is the process that was started, and not one of the workers it shares the tests with."""
RUN_DIRECTORY = os.environ.setdefault("STRETTO_TEST_RUN", os.path.realpath(tempfile.mkdtemp(prefix="st-")) if _FIRST else "")
"""Everything the suite writes lies in here; removed at its end, and looked at before by the last test."""
FINISHED = "finished"
"""The file in it that names the tests that are over."""
os.environ["TMPDIR"] = tempfile.tempdir = RUN_DIRECTORY
os.environ["NODE_DISABLE_COMPILE_CACHE"] = "1"  # tools of Node would leave one in there

for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    # In the background of a shell, or under nohup, these are ignored, and so they would be by every command whose death is compared here.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# How long one example takes says how busy the machine is, and nothing about what is claimed.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

# Before anything starts a thread; what the tests start inherits it, and so do the workers.
_ISOLATION = "" if netns.is_isolated() else netns.isolate()


def pytest_report_header() -> list[str]:
    return [
        f"network: {'not isolated, ' + _ISOLATION if _ISOLATION else 'loopback only'}",
        f"claude: {claude.find_binary() or 'not found'}",
    ]


SHELLS = frozenset({"bash", "zsh", "dash", "ksh", "mksh", "fish"})
"""A test that is given one of these by a parameter runs where that shell is; no test has to look for it itself."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("claude") and not claude.find_binary():
        pytest.skip("no Claude Code binary: claude-agent-sdk is not installed and STRETTO_CLAUDE is not set")
    for program in _programs_needed(item):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _programs_needed(item: pytest.Item) -> list[str]:
    """Return what a test needs beside Python, git and make: what its marks `needs` name, and the shells among its parameters."""
    given = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    shells = [value for value in given if isinstance(value, str) and value in SHELLS]
    return [*(name for mark in item.iter_markers("needs") for name in mark.args), *shells]


_FAILED: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _FAILED.add(report.nodeid)


def _close_what_a_failure_left_open() -> None:
    """A test that broke off in its middle has said what is wrong; what it had open must not be reported by the test after it."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)  # they hold the frames of the failure
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Write down which tests are over: the process that was started hears of all of them, and the last tests wait for the others."""
    if nodeid in _FAILED:
        _close_what_a_failure_left_open()
    if _FIRST:
        with open(os.path.join(RUN_DIRECTORY, FINISHED), "a", encoding="utf-8") as file:
            file.write(nodeid.encode("unicode_escape").decode() + "\n")


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short real path (sockets), removed afterwards, once nothing that names it runs any more."""
    path = Path(tempfile.mkdtemp(prefix=""))
    yield path
    left = leftovers.end(str(path))
    shutil.rmtree(path, ignore_errors=True)
    if left:
        # A supervisor that waits for its last session is no fault; a test that forbids it asks `leftovers.find` itself.
        print(f"ended after the test: {left}")


@pytest.fixture
def state_base(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stretto's state directory for this test, in the environment too; made by whoever needs it first."""
    base = short / "s"
    monkeypatch.setenv("STRETTO_STATE_DIR", str(base))
    return base


@pytest.fixture
def home(short: Path) -> claude.Home:
    """A home in which Claude Code was set up."""
    return claude.Home(short / "h")


@pytest.fixture
def project(short: Path) -> Path:
    """A git repository with one commit."""
    root = short / "p"
    (root / ".claude").mkdir(parents=True)
    (root / "README").write_text("a project\n", encoding="utf-8")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "README"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.fixture
def waived(request: pytest.FixtureRequest) -> frozenset[str]:
    """What the history checker may find after this test: `@pytest.mark.damages_log(KIND, ..., reason=WHY)`, or `everything`."""
    marker = request.node.get_closest_marker("damages_log")
    if marker is None:
        return frozenset()
    assert marker.args and marker.kwargs["reason"], "a waiver names what it waives, and why"
    return frozenset(marker.args)


def pytest_unconfigure() -> None:
    if _FIRST:
        shutil.rmtree(RUN_DIRECTORY, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What proves that nothing was left behind comes last."""
    items.sort(key=lambda item: item.path.name == "test_nothing_left_behind.py")
