"""What runs ahead lives the life of the session's own run, or it does not run; and only for work of the session's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto import engine, observe, render
from stretto.fold import Job
from stretto.model import AttemptSettled, JobContradicted, JobFlipped, JobSeen, NewsTold, TreeMoved
from stretto.testing.wait import wait_until

LOOK = {"tool_use_id": "r", "tool_name": "Read", "tool_input": {}}
COMMIT = "git -c user.name=t -c user.email=t@example.invalid commit -qam"
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc"), reason="ancestors and sockets are seen in /proc")


def job(bench: Bench, name: str, *, hooked: bool = False) -> Job:
    (found,) = [one for one in bench.state().jobs.values() if one.name == name and one.hooked is hooked]
    return found


def edited(bench: Bench, text: str, count: int) -> None:
    """The session edits, and whatever is to run ahead of that has: `ruff` does each time, and is not wanted more than the others."""
    bench.edit("src.py", text)
    wait_until(lambda: job(bench, "ruff").ahead_runs >= count and not bench.state().open_attempts(), limit_s=20, what="ruff ahead")


def ready(bench: Bench) -> None:
    """A session in which a linter runs ahead."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("ruff", "sleep 0.3")
    bench.tool("other", ":")  # a command of unknown effects: a check behind it is asked for anew, in an epoch of its own
    bench.begin()
    bench.bash("ruff check .")


# --- git's own calls


@pytest.fixture
def hooked(bench: Bench) -> Bench:
    """A project whose own git hook runs the suite."""
    bench.tool("pytest", "sleep 0.3; echo ran >> $HOME/runs")
    ready(bench)
    subprocess.run(["git", "add", "src.py"], cwd=bench.root, check=True)
    hook = bench.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexec pytest -q\n")
    hook.chmod(0o755)
    return bench


def test_what_a_git_hook_runs_is_one_command_and_never_runs_ahead(hooked: Bench):
    """It has git's index, and the lock on it, which is gone when git has ended; and a date that differs at each commit."""
    for number in range(2):
        hooked.edit("src.py", f"{number} of this\n")
        assert hooked.bash(f"{COMMIT} {number}", env={"GIT_EDITOR": ":"})[1] == 0
    edited(hooked, "and one more\n", 1)
    assert [seen.hooked for seen in hooked.events(JobSeen) if seen.name == "pytest"] == [True]
    known = job(hooked, "pytest", hooked=True)
    assert (known.foreground_runs, known.ahead_runs) == (2, 0)
    assert render.not_ahead(known) == "called from a git hook"


def test_the_terminals_own_call_is_another_command_and_runs_ahead(hooked: Bench):
    hooked.bash("pytest -q")
    hooked.edit("src.py", "two\n")
    hooked.settled(1, "ahead")
    hooked.bash(f"{COMMIT} two")
    assert hooked.did()[-1] == "record", "it is not joined with a run that saw another index"
    wait_until(lambda: job(hooked, "pytest").ahead_runs >= 1, limit_s=20, what="the terminal's own ahead")
    assert job(hooked, "pytest", hooked=True).ahead_runs == 0


def test_calls_of_a_hook_are_joined_when_git_gave_both_the_same(hooked: Bench):
    """A runner that gives each of its calls the same sees the same; one with another variable of git's is asked for what it is."""
    for env in ({"PRE_COMMIT": "1"}, {"PRE_COMMIT": "1"}, {"PRE_COMMIT": "1", "GIT_AUTHOR_DATE": "@1 +0000"}):
        hooked.bash("pytest -q", env=env)
    assert hooked.did()[-3:] == ["record", "replay", "record"]
    assert len({join.job for join in hooked.state().joins if join.do and hooked.state().jobs[join.job].name == "pytest"}) == 1
    assert hooked.state().joins[-1].code == "git-hook"


@needs_proc
def test_git_above_a_process_is_seen_whatever_its_environment_says():
    with subprocess.Popen(["git", "-c", "alias.x=!sleep 60 & echo $!; wait", "x"], stdout=subprocess.PIPE, start_new_session=True) as git:
        assert git.stdout is not None
        below = int(git.stdout.readline())
        try:
            assert observe.below_git(below, os.getpid())
            assert not observe.below_git(git.pid, os.getpid())
            assert not observe.below_git(below, git.pid), "what stands above the session is not asked"
        finally:
            os.kill(below, 15)


# --- what stands beside it in its own call


SERVER = "import os, socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\ntime.sleep(60)\n"


@needs_proc
@pytest.mark.parametrize("way", ["server", "daemon"])
def test_a_check_beside_what_its_own_call_started_does_not_run_ahead(bench: Bench, way: str):
    """Without the server it would fail, and the session be told so; alone in its call it is as any other."""
    bench.tool("pytest", "sleep 0.3")
    ready(bench)
    script, up = bench.short / "server.py", bench.short / "up"
    script.write_text(SERVER)
    bench.tool("away", f"sleep 60 & echo $! > {up}")
    begin = {
        "server": f"{sys.executable} {script} {up} &",
        "daemon": "env -u CLAUDE_PROJECT_DIR setsid away;",  # which no Bash call of the host has
    }[way]
    end = {"server": "kill %1", "daemon": f"kill $(cat {up})"}[way]
    start = f"{begin} until [ -e {up} ]; do sleep 0.02; done; pytest -q; {end}"
    bench.bash(start)
    assert job(bench, "pytest").beside.startswith(f"a {way}")
    edited(bench, "two\n", 1)
    assert job(bench, "pytest").ahead_runs == 0
    bench.bash("pytest -q")
    assert job(bench, "pytest").beside == ""
    bench.edit("src.py", "three\n")
    wait_until(lambda: job(bench, "pytest").ahead_runs == 1, limit_s=20, what="pytest ahead")


@needs_proc
def test_a_pipe_a_reader_and_a_package_manager_before_it_are_nothing_beside_it(bench: Bench):
    bench.tool("pytest", "sleep 0.3")
    ready(bench)
    bench.bash("sh -c 'sleep 0.1' && pytest -q 2>&1 | tee /dev/null | tail -3")
    assert job(bench, "pytest").beside == ""


# --- contradicted


def test_what_ran_ahead_and_is_contradicted_counts_for_nothing_until_the_command_has_run_some_times(bench: Bench):
    bench.tool("pytest", 'sleep 0.3; [ -z "$STRETTO_WORKER" ]')
    ready(bench)
    assert bench.bash("pytest -q")[1] == 0
    edited(bench, "two\n", 1)
    bench.settled(2, "ahead")
    assert bench.bash("pytest -q")[1] == 1  # once: then it is asked for again
    assert bench.bash("pytest -q")[1] == 0
    (found,) = bench.events(JobContradicted)
    assert (found.ahead, found.foreground) == ("fail", "pass")
    assert bench.events(JobFlipped) == []
    edited(bench, "three\n", 2)
    assert job(bench, "pytest").ahead_runs == 1
    assert "its run ahead failed where the session's own passed" in render.not_ahead(job(bench, "pytest"))
    assert any(item["do"] == "put aside" and "retry" in item["reason"] for item in render.why(bench.state(), 20, 0.0))
    bench.ask(op=b"retry", job=job(bench, "pytest").job.encode())
    wait_until(lambda: job(bench, "pytest").ahead_runs == 2, limit_s=20, what="pytest ahead again")


def test_green_ahead_and_red_in_the_session_is_the_same(bench: Bench):
    bench.tool("pytest", 'sleep 0.3; [ -n "$STRETTO_WORKER" ] || [ ! -e $HOME/red ]')
    ready(bench)
    assert bench.bash("pytest -q")[1] == 0
    (bench.short / "red").touch()
    edited(bench, "two\n", 1)
    bench.settled(2, "ahead")
    assert bench.bash("other; pytest -q")[1] == 1
    (found,) = bench.events(JobContradicted)
    assert (found.ahead, found.foreground) == ("pass", "fail")


def test_after_its_own_runs_a_contradicted_command_is_tried_ahead_again(bench: Bench):
    bench.tool("pytest", 'sleep 0.3; [ -z "$STRETTO_WORKER" ] || [ ! -e $HOME/red ]')
    ready(bench)
    (bench.short / "red").touch()
    bench.bash("pytest -q")
    edited(bench, "two\n", 1)
    bench.settled(2, "ahead")
    bench.bash("other; pytest -q")
    assert bench.events(JobContradicted)
    (bench.short / "red").unlink()
    for number in range(3):
        bench.edit("src.py", f"{number} more\n")
        bench.bash("pytest -q")
    bench.edit("src.py", "last\n")
    wait_until(lambda: job(bench, "pytest").ahead_runs >= 2, limit_s=20, what="pytest ahead again")


# --- folders that are gone


@pytest.mark.parametrize("given", ["argument", "variable"])
def test_a_folder_that_was_removed_is_not_brought_back(bench: Bench, given: str):
    folder = bench.short / "cache"
    folder.mkdir()
    bench.tool("pytest", f"sleep 0.3; mkdir -p {folder}")
    ready(bench)
    bench.bash(f"pytest -q -o cache_dir={folder}" if given == "argument" else f"TMPDIR={folder} pytest -q")
    shutil.rmtree(folder)
    edited(bench, "two\n", 1)
    assert job(bench, "pytest").ahead_runs == 0
    assert not folder.exists()
    folder.mkdir()
    bench.edit("src.py", "three\n")
    wait_until(lambda: job(bench, "pytest").ahead_runs == 1, limit_s=20, what="pytest ahead")


# --- what rewrites sources


@pytest.mark.parametrize(("recipe", "ahead"), [("ruff check --fix .", 0), ("ruff check .", 1)])
def test_a_target_that_has_sources_rewritten_does_not_run_ahead_also_when_its_first_runs_found_nothing(
    bench: Bench, recipe: str, ahead: int
):
    (bench.root / "Makefile").write_text(f"lint:\n\t{recipe}\n")
    bench.tool("make", "sleep 0.3")
    ready(bench)
    bench.bash("make lint")
    edited(bench, "two\n", 1)
    assert job(bench, "make").ahead_runs == ahead


@pytest.mark.parametrize("rewrites", [True, False])
def test_a_file_that_was_changed_after_the_sessions_tool_had_written_it_is_the_commands_doing(bench: Bench, rewrites: bool):
    """The tool wrote it while the command ran, which excuses what the tool left and nothing later."""
    bench.tool(
        "mypy",
        f"touch {bench.short}/began; until [ -e {bench.short}/go ]; do sleep 0.02; done; {'echo fixed > src.py' if rewrites else ':'}",
    )
    ready(bench)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(bench.bash, "mypy src.py")
        wait_until((bench.short / "began").exists, limit_s=20, what="its beginning")
        bench.edit("src.py", "two\n")
        (bench.short / "go").touch()
        done.result()
    settled = [event for event in bench.events(AttemptSettled) if event.attempt == job(bench, "mypy").last_attempt]
    assert settled[0].wrote == (("src.py",) if rewrites else ())


# --- only for the session's own work


@pytest.fixture
def branched(bench: Bench) -> Bench:
    """An idle session with a suite, and a branch of somebody else's."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    (bench.root / "src.py").write_text("one\n")
    subprocess.run([*git, "add", "src.py"], cwd=bench.root, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], cwd=bench.root, check=True)
    subprocess.run([*git, "switch", "-qc", "theirs"], cwd=bench.root, check=True)
    (bench.root / "src.py").write_text("theirs\n")
    subprocess.run([*git, "commit", "-qam", "theirs"], cwd=bench.root, check=True)
    subprocess.run([*git, "switch", "-q", "-"], cwd=bench.root, check=True)
    bench.tool("pytest", "sleep 0.3; cat src.py >> $HOME/runs")
    bench.tool("other", ":")
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("src.py", "mine\n")
    bench.settled(1, "ahead")
    bench.edit("src.py", "one\n")
    bench.settled(2, "ahead")
    return bench


def moved(bench: Bench, count: int) -> None:
    wait_until(lambda: len(bench.events(TreeMoved)) > count, limit_s=20, what="a look at the tree")


def test_a_branch_that_somebody_else_checks_out_runs_only_when_the_session_acts_again(branched: Bench):
    seen = len(branched.events(TreeMoved))
    subprocess.run(["git", "switch", "-q", "theirs"], cwd=branched.root, check=True)
    moved(branched, seen)
    branched.batch(LOOK)
    branched.bash("cat src.py")  # looking at it is no work on it
    branched.write(branched.root / "other.py", "nor is what an editor writes\n")
    moved(branched, seen + 1)
    assert branched.state().attempts.keys() == {item.attempt for item in branched.state().attempts.values() if item.end is not None}
    assert job(branched, "pytest").ahead_runs == 2
    branched.edit("src.py", "theirs, and mine\n")
    branched.settled(3, "ahead")


@pytest.mark.parametrize("command", ["other", "other; cat src.py", f"{COMMIT} own --allow-empty"])
def test_a_branch_that_somebody_else_checks_out_right_after_a_call_of_the_sessions_is_not_the_sessions(branched: Bench, command: str):
    """A call of unknown effects was taken for what moved HEAD for five seconds after its end."""
    branched.bash(command)
    seen = len(branched.events(TreeMoved))
    subprocess.run(["git", "switch", "-q", "theirs"], cwd=branched.root, check=True)
    moved(branched, seen)
    branched.write(branched.root / "other.py", "an editor's, later\n")
    moved(branched, seen + 1)
    branched.bash("cat src.py")
    wait_until(lambda: not branched.state().open_attempts(), limit_s=20, what="the end of what was under way")
    assert "theirs\n" not in (branched.short / "runs").read_text()
    branched.edit("src.py", "theirs, and mine\n")
    wait_until(lambda: "theirs, and mine\n" in (branched.short / "runs").read_text(), limit_s=20, what="a run of the session's own text")


def test_files_that_somebody_else_writes_after_a_look_are_not_the_sessions_because_it_acted_before(branched: Bench):
    branched.bash("other")
    seen = len(branched.events(TreeMoved))
    time.sleep(engine.JUST_S)  # what moves within it counts as the session's
    subprocess.run(["git", "checkout", "-q", "theirs", "--", "src.py"], cwd=branched.root, check=True)
    moved(branched, seen)
    branched.write(branched.root / "other.py", "an editor's, later\n")
    moved(branched, seen + 1)
    wait_until(lambda: not branched.state().open_attempts(), limit_s=20, what="the end of what was under way")
    assert "theirs\n" not in (branched.short / "runs").read_text()


def test_a_checkout_of_the_sessions_own_is_its_own_work(branched: Bench):
    branched.bash("git switch -q theirs")
    branched.settled(3, "ahead")


@needs_proc
def test_what_a_call_has_left_running_writes_for_the_session(branched: Bench):
    """It is no stranger as long as it lives, unless it checks out another branch."""
    branched.bash(
        f"(until [ -e {branched.short}/go ]; do sleep 0.02; done; echo made > made.py; sleep 60) & echo $! > {branched.short}/pid"
    )
    try:
        seen = len(branched.events(TreeMoved))
        (branched.short / "go").touch()
        moved(branched, seen)
        branched.settled(3, "ahead")
    finally:
        subprocess.run(["kill", (branched.short / "pid").read_text().strip()], check=False)


@needs_proc
def test_a_server_is_seen_beside_a_check_and_one_that_was_there_before_is_not(short: Path):
    """By the address of its socket, in the call that stands right below the host's process."""
    with socket.socket(socket.AF_UNIX) as before:
        before.bind(str(short / "before"))
        before.listen()
        text = f"{sys.executable} -c 'exec(open(\"{short}/s.py\").read())' {short}/up & sleep 60 & echo $!; wait"
        (short / "s.py").write_text(SERVER)
        with subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE, start_new_session=True) as shell:
            assert shell.stdout is not None
            check = int(shell.stdout.readline())
            try:
                wait_until(lambda: observe.beside(check, os.getpid()), limit_s=20, what="the server")
                assert observe.beside(check, os.getpid()) == "a server that the same call had started"
                assert observe.beside(check, 1 << 30) == "", "a host that does not stand above it"
            finally:
                os.killpg(shell.pid, 9)


def test_nobody_is_told_of_what_was_contradicted(bench: Bench):
    """Its results are not kept: neither news nor a gate can rest on one."""
    bench.tool("pytest", 'sleep 0.3; [ -z "$STRETTO_WORKER" ]')
    ready(bench)
    bench.bash("pytest -q")
    edited(bench, "two\n", 1)
    bench.settled(2, "ahead")
    bench.bash("other; pytest -q")
    assert bench.events(JobContradicted)
    told = len(bench.events(NewsTold))
    edited(bench, "three\n", 2)
    bench.batch(LOOK)
    assert bench.hook("Stop", stop_hook_active=False).stdout == b""
    assert len(bench.events(NewsTold)) == told


def test_a_tool_that_was_exchanged_runs_nothing_ahead_that_the_tool_before_is_answered_from(bench: Bench):
    """F40: another terminal switches versions outside the project, a run ahead would begin, and the versions are switched back."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("mypy", "sleep 0.3")
    link, before, after = (bench.tool(name, f"sleep 0.3; echo {name}; cat src.py") for name in ("ruff", "ruff-1", "ruff-2"))

    def switch(to: Path) -> None:
        link.unlink()
        link.symlink_to(to)

    switch(before)
    bench.begin()
    bench.bash("ruff check; mypy src.py")
    bench.edit("src.py", "two\n")
    wait_until(lambda: job(bench, "ruff").ahead_runs >= 1 and job(bench, "mypy").ahead_runs >= 1, limit_s=20, what="both ahead")
    switch(after)
    bench.edit("src.py", "three\n")
    wait_until(lambda: job(bench, "mypy").ahead_runs >= 2 and not bench.state().open_attempts(), limit_s=20, what="the other one ahead")
    assert job(bench, "ruff").ahead_runs == 1
    switch(before)
    assert bench.bash("ruff check")[:2] == (b"ruff-1\nthree\n", 0)
