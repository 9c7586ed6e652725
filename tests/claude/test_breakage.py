"""Whatever of ours breaks while a real session runs: every call goes on as without us, and nothing is left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import stretto
from stretto.model import AttemptStarted, SupervisorStarted
from stretto.system import lives, signal_process
from stretto.testing import leftovers
from stretto.testing.api import bash
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow]

FORMS = ["pytest -q", "timeout 60 pytest -q 2>&1 | tail -5", "(pytest -q) && echo passed", "python -m pytest -q", "echo plain"]
"""A function, a PATH entry, a subshell, the pattern for python, and a call that is none of ours."""
TOLD = ["one\nrun 1", "one\nrun 2", "one\nrun 3\npassed", "one\nrun 1", "plain"]
"""What they print when each really runs, the counts of pytest and python beginning anew."""


def ours_left(world):
    """Supervisors and monitors of this test that live."""
    return [process for process in leftovers.find(str(world.base)) if "stretto" in " ".join(process.cmdline())]


def test_a_supervisor_killed_between_two_calls_is_not_noticed_and_replaced(world):
    """F26, F27."""

    def script():
        yield bash("pytest -q")
        world.settled(1)
        killed = world.supervisor()
        signal_process(killed, signal.SIGKILL)
        wait_until(lambda: not lives(killed), what="its death")
        yield bash("pytest -q")
        world.settled(2)
        yield bash("pytest -q")

    seen = world.session(script())
    assert seen.texts == ["one\nrun 1", "one\nrun 2", "one\nrun 2"]
    assert world.did() == ["record", "record", "replay"]
    assert len(world.events(SupervisorStarted)) == 2


@pytest.mark.parametrize("joined", [False, True])
def test_a_supervisor_killed_during_a_run_costs_nothing_of_its_output(world, joined):
    """F26, F47: the run is the command's own child (and the joiner reads from disk), so both end as if nothing had happened."""

    def kill():
        killed = world.supervisor()
        signal_process(killed, signal.SIGKILL)
        wait_until(lambda: not lives(killed), what="its death")
        world.hold.unlink()

    def script():
        world.hold.touch()
        if joined:
            yield bash("pytest -q", run_in_background=True)
            wait_until(lambda: world.did() == ["record"], what="the run in the background")
        world.when(lambda: world.did()[-1:] == ["attach" if joined else "record"], kill)
        yield bash("pytest -q; echo code $?")
        yield bash("pytest -q; echo code $?")

    seen = world.session(script())
    assert seen.texts[-2] == "one\nrun 1\ncode 0"
    assert seen.texts[-1] == "one\nrun 2\ncode 0"


def test_state_deleted_in_mid_session_leaves_every_call_as_it_was(world):
    """F22, F26: no call is lost, no state comes back by itself, no process stays."""
    world.tool("python")

    def script():
        yield bash("pytest -q")
        world.settled(1)
        shutil.rmtree(world.base)
        for name in ("pytest", "python"):
            (world.short / "counts" / name).unlink(missing_ok=True)
        for form in FORMS:
            yield bash(form)

    seen = world.session(script())
    assert seen.texts[1:] == TOLD
    assert not any(seen.errors)
    wait_until(lambda: not ours_left(world), 60, "the supervisor's leaving")
    assert not world.base.exists()


def test_state_deleted_during_a_run_costs_nothing_of_its_output(world):
    def script():
        world.hold.touch()

        def delete():
            shutil.rmtree(world.base, ignore_errors=True)
            world.hold.unlink()

        world.when(lambda: world.did() == ["record"], delete)
        yield bash("pytest -q; echo code $?")
        yield bash("pytest -q; echo code $?")

    seen = world.session(script())
    assert seen.texts == ["one\nrun 1\ncode 0", "one\nrun 2\ncode 0"]


@pytest.fixture
def private(bare):
    """The same, installed from a copy of the package in an environment of its own, both of which can be taken away."""
    place = bare.short / "v"
    venv.create(place, symlinks=True, with_pip=False)
    package = bare.short / "package"
    shutil.copytree(Path(stretto.__file__).parent, package / "stretto", ignore=shutil.ignore_patterns("__pycache__"))
    packages = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    others = [folder for folder in sys.path if folder.endswith("site-packages")]
    Path(packages, "all.pth").write_text("\n".join([str(package), *others]) + "\n")
    python = str(place / "bin" / "python")
    bare.tool("pytest")
    bare.tool("python")
    env = {"HOME": str(bare.home.path), "STRETTO_STATE_DIR": str(bare.base), "PATH": bare.path}
    subprocess.run([python, "-m", "stretto", "init", "--yes"], cwd=bare.root, env=env, check=True, capture_output=True, timeout=60)
    return bare


@pytest.mark.parametrize("lost", ["v", "package", "both"])
def test_interpreter_or_package_removed_in_mid_session_leaves_every_call_as_it_was(private, lost):
    """F22, F23."""

    def script():
        yield bash("pytest -q")
        private.settled(1)
        yield bash("pytest -q")
        assert private.did() == ["record", "replay"]
        for name in ("v", "package") if lost == "both" else (lost,):
            shutil.rmtree(private.short / name)
        for name in ("pytest", "python"):
            (private.short / "counts" / name).unlink(missing_ok=True)
        for form in FORMS:
            yield bash(form)

    seen = private.session(script())
    assert seen.texts[2:] == TOLD
    assert not any(seen.errors)
    assert len(private.events(AttemptStarted)) == 1


@pytest.mark.parametrize("lost", ["v", "package"])
def test_interpreter_or_package_missing_from_the_start_is_one_notice_and_nothing_else(private, lost):
    """F22, F23: the session works to its end; what is not there can deny nothing."""
    shutil.rmtree(private.short / lost)

    def script():
        for form in FORMS:
            yield bash(form)

    seen = private.session(script(), silent=False)
    assert seen.texts == TOLD
    assert len(seen.notices()) == 1
    assert "Stretto is not working" in seen.notices()[0]


def test_a_project_deleted_in_mid_session_is_left_alone_and_works_again_when_it_is_back(world):
    """F33: nothing of ours writes into the corpse, whoever still runs, and the host says what it says without us."""
    world.tool("pytest", "sleep 0.4")

    def script(installed):
        yield bash("pytest -q > /dev/null")
        if installed:
            world.settled(1)
            yield world.edit("one", "two")
            wait_until(lambda: len(world.events(AttemptStarted)) == 2, 60, "an ahead run")
        away = world.short / "away"
        world.root.rename(away)
        yield bash("pytest -q > /dev/null; echo code $?")
        yield bash("echo plain")
        if installed:
            wait_until(lambda: not ours_left(world), 60, "the supervisor's leaving")
        assert not world.root.exists()
        away.rename(world.root)
        world.source.write_text("one\n")
        yield bash("pytest -q > /dev/null; echo code $?")

    with_us = world.session(script(True))
    world.cli("mode", "off")
    without = world.session(script(False))
    assert with_us.texts[-3:] == without.texts[-3:]
    assert with_us.texts[-1] == "code 0"


def test_a_working_folder_deleted_in_mid_session_changes_nothing(world):
    """F33: hooks are started in a folder that is gone."""
    (world.root / "sub").mkdir()

    def script():
        yield bash("cd sub && pytest -q")
        (world.root / "sub").rmdir()
        yield bash("pytest -q; echo code $?")
        (world.root / "sub").mkdir()
        yield bash("pytest -q; echo code $?")

    with_us = world.session(script())
    world.cli("mode", "off")
    (world.short / "counts" / "pytest").unlink()
    without = world.session(script())
    assert with_us.texts == without.texts


def test_a_state_directory_that_takes_no_new_run_leaves_every_call_as_it_was(world):
    """F57, its part in a session: where nothing can be recorded, commands just run."""

    def script():
        yield bash("pytest -q")
        world.settled(1)
        attempts = Path(world.paths.attempts)
        shutil.rmtree(attempts)
        attempts.write_text("in the way")
        yield world.edit("one", "two")
        yield bash("pytest -q; echo code $?")
        yield bash("pytest -q; echo code $?")

    seen = world.session(script())
    assert seen.texts[-2:] == ["two\nrun 2\ncode 0", "two\nrun 3\ncode 0"]
