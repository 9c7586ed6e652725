"""What a command was seen to do once is not held against it for ever, and what is its own, or the shell's, does not end its results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.conftest import Bench, _end
from stretto import observe, reach
from stretto.model import AttemptSettled, End, EpochBegan, TreeMoved
from stretto.outputs import Outputs, outputs_of
from stretto.testing import faults
from stretto.testing.wait import wait_until

linux = pytest.mark.skipif(not observe.LINUX, reason="where an output leads is read from /proc, which only Linux has")


def asked(bench: Bench, *commands: str) -> list[str]:
    """What was answered to these calls."""
    before = len(bench.did())
    for command in commands:
        bench.bash(command)
    return bench.did()[before:]


def ready(bench: Bench, pytest_does: str = "cat src.py", ignored: str = "") -> None:
    (bench.root / "src.py").write_text("one\n")
    (bench.root / ".gitignore").write_text(ignored)
    bench.tool("pytest", pytest_does)
    bench.begin()


# --- what the shell writes ------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("ignored", ["", "log.txt\n"], ids=["a source", "ignored"])
@pytest.mark.parametrize("command", ["pytest -q > log.txt", "pytest -q > log.txt 2>&1; tail -3 log.txt", "pytest -q 2> log.txt"])
def test_a_check_whose_output_goes_into_a_file_of_the_project_joins_the_same_call(bench: Bench, command: str, ignored: str):
    ready(bench, "cat src.py; cat src.py >&2", ignored)
    bench.bash(command)
    first = (bench.root / "log.txt").read_bytes()
    assert asked(bench, command) == ["replay"]
    assert (bench.root / "log.txt").read_bytes() == first == b"one\n" * (2 if "&1" in command else 1)
    (settled,) = bench.events(AttemptSettled)
    assert (settled.wrote, settled.products, settled.outputs) == ((), (), ("log.txt",))
    assert not any(job.mutating or job.products for job in bench.state().jobs.values())


@linux
def test_a_call_that_prints_elsewhere_finds_the_file_changed(bench: Bench):
    """The run saw an empty file where this call would see a full one."""
    ready(bench, "wc -c < log.txt; cat src.py")
    (bench.root / "log.txt").write_text("")
    bench.bash("pytest -q > log.txt")
    out, code, _ = bench.bash("pytest -q")
    assert (int(out.split()[0]), code) == ((bench.root / "log.txt").stat().st_size, 0)
    assert bench.did() == ["record", "record"]
    assert bench.bash("pytest -q | cat")[1] == 0


@linux
def test_a_file_that_is_added_to_is_an_input_and_still_not_the_commands_doing(bench: Bench):
    ready(bench)
    (bench.root / "log.txt").write_text("before\n")
    assert asked(bench, "pytest -q >> log.txt", "pytest -q >> log.txt") == ["record", "record"]
    assert (bench.root / "log.txt").read_text().split() == ["before", "one", "one"]
    assert not any(job.mutating for job in bench.state().jobs.values())


@linux
def test_what_stands_behind_a_pipe_writes_for_the_shell(bench: Bench):
    ready(bench, "sleep 0.2; cat src.py")
    for _ in range(3):
        assert bench.bash("pytest -q 2>&1 | tee log.txt | tail -1")[:2] == (b"one\n", 0)
    (job,) = bench.state().jobs.values()
    assert not job.mutating
    assert "replay" in bench.did()
    assert (bench.root / "log.txt").read_text() == "one\n"


def test_an_edit_between_two_such_calls_is_seen(bench: Bench):
    ready(bench)
    bench.bash("pytest -q > log.txt")
    bench.edit("src.py", "two\n")
    bench.bash("pytest -q > log.txt")
    assert (bench.root / "log.txt").read_text() == "two\n"


# --- what a text does besides -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "mkdir -p logs && pytest -q",
        'export PATH="$HOME/.local/bin:$PATH" && pytest -q | tail -1',
        'eval "$(true)" && pytest -q',
        "source ./nvm.sh && nvm use 20 >/dev/null && pytest -q",
        "cat src.py > copy.txt; pytest -q",
        "ulimit -c 0; pytest -q -c /dev/null",
    ],
)
def test_what_only_sets_up_the_shell_or_writes_what_a_scan_sees_keeps_no_check_from_joining(bench: Bench, command: str):
    (bench.root / "nvm.sh").write_text("nvm() { :; }\n")
    ready(bench, ignored="logs\ncopy.txt\n")
    asked(bench, command, command)
    if "ulimit" not in command and "copy" not in command:
        assert asked(bench, command) == ["replay"]
    assert not any(event.reason.startswith("a command whose") for event in bench.events(EpochBegan))


@pytest.mark.parametrize(
    "command",
    [
        "git diff > /var/tmp/stretto-test-x; pytest -q",
        "pytest -q > {home}/x",
        "pytest -q > .git/x",
        "mkdir -p .pytest_cache/x && pytest -q",
        'export PATH="$HOME/bin:$PATH" && pytest -q | tail -1',
        "(sleep 0; touch x) & pytest -q",
    ],
)
def test_what_no_scan_sees_ends_results_as_ever(bench: Bench, command: str):
    (bench.short / "bin").mkdir()
    (bench.short / "bin" / "tail").write_text("#!/bin/sh\ncat\n")
    (bench.short / "bin" / "tail").chmod(0o755)
    ready(bench)
    bench.hook("PreToolUse", tool_name="Bash", tool_use_id="t", tool_input={"command": command.format(home=bench.env["HOME"])})
    assert any(event.reason.startswith("a command whose") for event in bench.events(EpochBegan))


def test_a_folder_that_is_there_already_may_be_made_anywhere(bench: Bench):
    """Only the call that really makes it outside ends results."""
    ready(bench)
    command = f"mkdir -p {bench.short}/out/deep && pytest -q"
    assert asked(bench, command, command, command) == ["record", "record", "replay"]
    (bench.short / "out" / "deep").rmdir()
    assert asked(bench, command) == ["record"]
    before = len(bench.events(EpochBegan))
    bench.bash(f"mkdir -p {bench.short}/out > {bench.short}/log")
    assert len(bench.events(EpochBegan)) > before


def test_a_file_that_another_call_writes_by_name_during_a_run_is_an_input(bench: Bench):
    """A known product or not: the session wrote it, and the run may have read it before."""
    hold = bench.short / "hold"
    ready(bench, f"cat data/x; while [ -e {hold} ]; do sleep 0.05; done; echo done > data/x", "data/\n")
    (bench.root / "data").mkdir()
    (bench.root / "data" / "x").write_text("one\n")
    bench.bash("pytest -q")
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    hold.touch()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: bench.state().open_attempts(), what="its run")
        bench.bash("echo two > data/x")
        hold.unlink()
        slow.result()
    assert bench.events(AttemptSettled)[-1].torn
    assert not any(event.reason.startswith("a command whose") for event in bench.events(EpochBegan))


# --- products -----------------------------------------------------------------------------------------------------------------


def test_a_new_name_at_each_run_in_a_folder_of_its_own_joins(bench: Bench):
    """`.hypothesis/constants/HASH`, `coverage/tmp/coverage-PID`."""
    ready(bench, "mkdir -p cover; echo x > cover/run-$$; cat src.py", "cover/\n")
    assert asked(bench, *["pytest -q"] * 3) == ["record", "record", "replay"]


def test_more_products_than_a_line_of_the_log_names_join_from_the_second_run_on(bench: Bench):
    ready(bench, "mkdir -p out; for n in $(seq 120); do date +%N > out/$n; done; cat src.py", "out/\n")
    assert asked(bench, *["pytest -q"] * 3) == ["record", "record", "replay"]
    assert all(len(event.products) <= 50 and event.folders == ("out/",) for event in bench.events(AttemptSettled))


def test_a_folder_that_others_write_into_is_no_commands_own(bench: Bench):
    (bench.root / "data").mkdir()
    ready(bench, "echo x > data/run-$$; cat src.py; cat data/user", "data/\n")
    (bench.root / "data" / "user").write_text("one\n")
    bench.bash("pytest -q")
    bench.bash("pytest -q")
    (bench.root / "data" / "user").write_text("two\n")
    wait_until(lambda: any(event.foreign for event in bench.events(TreeMoved)), what="a look")
    assert asked(bench, *["pytest -q"] * 3) == ["record"] * 3


@pytest.fixture
def allowed(short: Path, project: Path, state_base: Path, waived: frozenset[str]) -> Iterator[Bench]:
    one = Bench(short, project, state_base, rules=b'[ahead]\nallow = ["*"]\n')
    yield one
    _end(one, waived)


def test_a_run_ahead_is_not_ended_for_what_it_writes_itself(allowed: Bench):
    bench = allowed
    bench.python = faults.altered(bench.short, "from stretto import schedule; schedule.OVERLOADED = 1e9")  # whatever else the machine does
    ready(bench, "date +%N > .coverage; cat src.py; sleep 1.5", ".coverage\n")
    bench.bash("pytest -q")
    assert bench.did() == ["record"]
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    ends = [attempt.end for attempt in bench.state().attempts.values() if attempt.kind == "ahead"]
    assert ends == [End(how="code", value=0)]
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.did()[-1] == "replay"


def test_a_run_under_way_that_wrote_its_own_product_is_attached_to(bench: Bench):
    hold = bench.short / "hold"
    ready(bench, f"date +%N > .coverage; while [ -e {hold} ]; do sleep 0.05; done; cat src.py", ".coverage\n")
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    hold.touch()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: bench.state().open_attempts() and (bench.root / ".coverage").stat().st_mtime > hold.stat().st_mtime, what="it")
        second = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: len(bench.did()) == 3, what="the second question")
        hold.unlink()
        assert first.result()[:2] == second.result()[:2] == (b"two\n", 0)
    assert bench.did() == ["record", "record", "attach"]


# --- a run inside a run ---------------------------------------------------------------------------------------------------------


def test_a_recorded_command_inside_a_recorded_command_does_not_tear_it(bench: Bench):
    """`make test` that calls `pytest --cov`."""
    ready(bench, "echo $$ > .coverage; cat src.py", ".coverage\n")
    bench.tool("make", "pytest -q")
    for _ in range(3):
        assert bench.bash("make test")[:2] == (b"one\n", 0)
    outer = [join for join in bench.state().joins if not join.nested]
    assert [join.do for join in outer] == ["record", "record", "replay"]


# --- effects --------------------------------------------------------------------------------------------------------------------


SERVER = """
import socket, subprocess, sys, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
client = subprocess.Popen([sys.executable, "-I", "-S", "-c", '''
import socket, sys
one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("in", flush=True)
sys.stdin.read()
''', str(server.getsockname()[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
taken = server.accept()[0]
client.stdout.readline()
print("ready", flush=True)
for word in sys.stdin:
    {"close the taken": taken.close, "close all": lambda: (taken.close(), server.close())}[word.strip()]()
    print("done", flush=True)
client.stdin.close()
client.wait()
client.stdout.close()
"""


@linux
@pytest.mark.parametrize("word", ["close the taken", "close all"])
@pytest.mark.parametrize("seen_before", [True, False], ids=["its port was seen", "never looked at before"])
def test_a_server_inside_a_test_is_no_service_of_this_machine_whoever_closed_first(word: str, seen_before: bool):
    """Of a socket that was closed the kernel does not say any more whose it was."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"
        ports = reach.reach(process.pid).ports if seen_before else frozenset()
        assert len(ports) == seen_before
        process.stdin.write(word + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        found = reach.reach(process.pid, ports)
        process.stdin.close()
    assert (found.remote, found.service) == (False, "")


@linux
def test_the_files_that_get_an_output_are_found_behind_pipes(tmp_path: Path):
    (tmp_path / "old").write_text("x")
    script = "{ echo ready; cat; } 2>> old | tee new | cat > /dev/null"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, cwd=tmp_path, start_new_session=True) as process:
        assert process.stdin
        wait_until(lambda: (tmp_path / "new").exists() and (tmp_path / "new").stat().st_size, what="tee")
        cat = wait_until(lambda: [pid for pid in observe.descendants(process.pid) if _is_cat(pid)], what="cat")[0]
        found = outputs_of(cat)
        process.stdin.close()
    assert found == Outputs((), (str(tmp_path / "new"), str(tmp_path / "old")))


def _is_cat(pid: int) -> bool:
    return observe.arguments(pid) == ("cat",) and os.readlink(f"/proc/{pid}/fd/1").startswith("pipe:")
