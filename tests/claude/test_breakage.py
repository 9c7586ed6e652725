"""Whatever of ours breaks while a real session runs: every call goes on as without us, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
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
    found = []
    for process in leftovers.find(str(world.base)):
        try:
            found += [process] if any("stretto" in word for word in process.cmdline()) else []
        except psutil.Error:
            continue  # it has just ended
    return found


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


@pytest.mark.damages_log("everything", reason="the log is removed under a run, whose end may come into a new one")
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
    """The same, installed from copies of the interpreter and of the package, both of which can be taken away."""
    interpreter = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    copy = bare.short / "python" / "bin" / interpreter.name
    copy.parent.mkdir(parents=True)
    shutil.copy2(interpreter, copy)
    for name in {"lib", sys.platlibdir}:
        (bare.short / "python" / name).symlink_to(Path(sys.base_prefix) / name)
    made = subprocess.run(
        [copy, "-I", "-m", "venv", "--without-pip", bare.short / "env"], capture_output=True, text=True, timeout=60, check=False
    )
    if made.returncode:
        pytest.skip(f"this Python does not run from a copy: {made.stderr.strip()[-200:]}")
    package = bare.short / "package"
    shutil.copytree(Path(stretto.__file__).parent, package / "stretto", ignore=shutil.ignore_patterns("__pycache__"))
    packages = next((bare.short / "env").glob("lib*/python3*/site-packages"))
    folders = [str(package), *(folder for folder in sys.path if folder.endswith("-packages"))]
    (packages / "all.pth").write_text("\n".join(folders) + "\n")
    bare.tool("pytest")
    bare.tool("python")
    env = {"HOME": str(bare.home.path), "STRETTO_STATE_DIR": str(bare.base), "PATH": bare.path}
    subprocess.run(
        [bare.short / "env" / "bin" / "python", "-m", "stretto", "init", "--yes"],
        cwd=bare.root,
        env=env,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert str(copy) in (bare.root / ".claude" / "settings.local.json").read_text()
    return bare


def lose(world, what):
    for name in what:
        shutil.rmtree(world.short / name)


@pytest.mark.parametrize("lost", [("python",), ("env",), ("package",), ("python", "env", "package")], ids="-".join)
def test_interpreter_or_package_removed_in_mid_session_leaves_every_call_as_it_was(private, lost):
    """F22, F23: without its interpreter a hook cannot even say that it is broken; the host takes that for no answer."""

    def script():
        yield bash("pytest -q")
        private.settled(1)
        yield bash("pytest -q")
        assert private.did() == ["record", "replay"]
        lose(private, lost)
        yield private.edit("one", "two")
        for name in ("pytest", "python"):
            (private.short / "counts" / name).unlink(missing_ok=True)
        for form in FORMS:
            yield bash(form)

    seen = private.session(script(), silent="env" in lost)
    printed = [text.replace("two", "one") for text in seen.texts[4:]]
    if lost == ("env",):  # only a new supervisor needs it; the one that lives goes on joining
        printed = [line for text in printed for line in text.splitlines() if not line.startswith("run")]
        assert printed == ["one", "one", "one", "passed", "one", "plain"]
    else:
        assert printed == TOLD
    assert not any(seen.errors)


@pytest.mark.parametrize("lost", [("python",), ("env",), ("package",)], ids="-".join)
def test_interpreter_or_package_missing_from_the_start_is_one_notice_at_most_and_nothing_else(private, lost):
    """F22, F23: the session works to its end; what is not there can deny nothing, and no hook waits for what cannot come."""
    lose(private, lost)

    def script():
        for form in FORMS:
            yield bash(form)

    seen = private.session(script(), silent=False)
    assert seen.texts == TOLD
    assert not any(seen.errors)
    (notice,) = seen.notices()
    assert ("name a Python that is not on this machine" if lost == ("python",) else "Stretto is not working") in notice


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
    assert with_us.texts[-1].startswith("code 0")


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

    seen = world.session(script(), silent=False)
    assert len(seen.notices()) == 1
    assert seen.texts[-2:] == ["two\nrun 2\ncode 0", "two\nrun 3\ncode 0"]
