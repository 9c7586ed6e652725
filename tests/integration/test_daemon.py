"""The whole path without Claude Code: hook client, supervisor, shims, monitors, log, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from integration.conftest import SESSION
from stretto.gates import QUIET_S
from stretto.journal import read
from stretto.model import AttemptExited, AttemptStarted, EpochBegan, NewsTold, SupervisorStarted
from stretto.system import Lock, identify, lives, signal_process
from stretto.testing import leftovers
from stretto.testing.wait import wait_until

COUNT = 'echo run >> "$HOME/runs"; cat src.py; exit $(cat code 2>/dev/null || echo 0)'
"""A check that counts how often it really ran, outside the project."""


def runs(bench) -> int:
    path = Path(bench.env["HOME"]) / "runs"
    return path.read_text().count("run") if path.exists() else 0


def ready(bench, script: str = COUNT) -> None:
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", script)
    bench.begin()


def test_a_finished_run_is_replayed_byte_for_byte_without_running_again(bench):
    ready(bench)
    first = bench.bash("pytest -q")
    bench.settled(1)
    second = bench.bash("pytest -q")
    assert second[:2] == first[:2] == (b"one\n", 0)
    assert runs(bench) == 1
    assert bench.did() == ["record", "replay"]


def test_an_edit_between_run_and_question_means_a_real_run(bench):
    """F40."""
    ready(bench)
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    assert bench.bash("pytest -q")[0] == b"two\n"


def test_after_an_edit_the_check_has_already_run_when_it_is_asked(bench):
    ready(bench, "sleep 0.5; " + COUNT)
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    output, code, _ = bench.bash("pytest -q 2>&1 | tail -5")
    assert (output, code) == (b"two\n", 0)
    assert bench.did()[-1] == "replay"
    assert bench.state().joins[-1].of == "ahead"
    assert runs(bench) == 2


def test_a_question_during_the_ahead_run_attaches_to_it(bench):
    ready(bench, 'sleep 0.3; echo begin; while [ -f "$HOME/hold" ]; do sleep 0.02; done; ' + COUNT)
    hold, _ = bench.held_ahead()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: bench.did()[-1:] == ["attach"], limit_s=10, what="the attach")
        hold.unlink()
        output, code, _ = asked.result()
    assert (output, code) == (b"begin\ntwo\n", 0)
    assert runs(bench) == 2


def test_a_failure_is_replayed_once_and_then_run_again(bench):
    """F42, F49."""
    ready(bench)
    (bench.root / "code").write_text("3")
    results = [bench.bash("pytest -q")[1] for _ in range(3)]
    assert results == [3, 3, 3]
    assert bench.did() == ["record", "replay", "record"]


def test_a_command_that_writes_sources_is_never_run_ahead(bench):
    """F45, F52: known as mutating from its first run."""
    ready(bench, "echo x >> generated.py; " + COUNT + "; sleep 0.3")
    bench.bash("pytest -q")
    job = next(iter(bench.state().jobs.values()))
    assert job.mutating
    bench.edit("src.py", "two\n")
    assert bench.bash("pytest -q")[0] == b"two\n"
    assert bench.state().joins[-1].do == "record"
    assert not [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]


def test_a_bash_call_of_unknown_effects_ends_all_results(bench):
    ready(bench)
    bench.bash("pytest -q")
    bench.bash("true && ./unknown-thing; true")
    bench.bash("pytest -q")
    assert runs(bench) == 2
    assert len(bench.events(EpochBegan)) >= 2


def test_reading_commands_leave_results_alone(bench):
    ready(bench)
    bench.bash("pytest -q")
    bench.bash("git status --short; ls; cat src.py | head -1")
    bench.bash("pytest -q")
    assert runs(bench) == 1


def test_nothing_is_joined_beside_a_command_of_unknown_effects(bench):
    ready(bench)
    bench.bash("pytest -q")
    bench.bash("./unknown-thing; pytest -q")
    assert runs(bench) == 2
    assert "effects are not known" in bench.joins()[-1][1] or "changed" in bench.joins()[-1][1]


def test_a_check_that_flips_is_told_once_at_the_next_batch(bench):
    ready(bench, "sleep 0.4; " + COUNT)
    bench.bash("pytest -q")
    bench.edit("code", "1")
    bench.settled(1, "ahead")
    look = {"tool_use_id": "r", "tool_name": "Read", "tool_input": {}}
    told = wait_until(lambda: [line for line in bench.batch(look).splitlines() if "was a" in line], limit_s=10, what="news")[0]
    assert "pytest -q" in told
    assert "exit code 1" in told
    assert bench.batch({"tool_use_id": "r", "tool_name": "Read", "tool_input": {}}) == ""
    assert len(bench.events(NewsTold)) == 1


def test_observe_mode_records_and_says_what_it_would_have_joined_and_changes_nothing(observed):
    ready(observed)
    observed.bash("pytest -q")
    observed.bash("pytest -q")
    assert runs(observed) == 2
    assert [(join.do, join.would) for join in observed.state().joins] == [("record", ""), ("record", "replay")]


def test_fifty_hooks_at_once_start_one_supervisor(bench):
    """F1."""
    bench.tool("pytest", "true")
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda _: bench.hook("SessionStart", source="startup"), range(50)))
    assert {item.returncode for item in done} == {0}
    assert len(bench.events(SupervisorStarted)) == 1


def test_the_hook_returns_its_pipes_while_a_worker_runs_on(bench):
    """F18, F19: end-of-file on both pipes at once, and nothing of ours holds them."""
    ready(bench, 'sleep 0.3; [ ! -e "$HOME/slow" ] || sleep 30; ' + COUNT)
    bench.bash("pytest -q")
    (Path(bench.env["HOME"]) / "slow").touch()
    bench.edit("src.py", "two\n")
    wait_until(lambda: [item for item in bench.state().open_attempts() if item.kind == "ahead"], limit_s=10, what="an ahead run")
    done = bench.hook("PostToolBatch", tool_calls=[])
    assert (done.returncode, done.stderr) == (0, b"")
    (attempt,) = bench.state().open_attempts()
    wait_until(lambda: type(bench.state().attempts[attempt.attempt].phase).__name__ == "Running", limit_s=5, what="its monitor")
    for process in (bench.supervisor().pid, bench.state().attempts[attempt.attempt].phase.pid):
        pipes = [os.readlink(f"/proc/{process}/fd/{number}") for number in (0, 2)]
        assert not any(target.startswith("pipe:") for target in pipes)


PORT = 'if mkdir "$HOME/port" 2>/dev/null; then sleep 0.5; cat src.py; rmdir "$HOME/port"; else echo x >> "$HOME/clashes"; exit 1; fi'
"""A suite that cannot run beside another one: the directory stands for a port."""


def test_f51_two_suites_that_share_a_port_never_run_at_the_same_time(bench):
    """Neither both ahead, nor one ahead beside the session's own."""
    trap = "trap 'rmdir \"$HOME/port\"; exit 1' TERM; "
    bench.tool("vitest", trap + PORT)
    ready(bench, trap + PORT)
    for command in ("pytest -q", "vitest run"):
        assert bench.bash(command)[:2] == (b"one\n", 0)
    count = {"pytest": 0, "vitest": 0}
    bench.edit("src.py", "two\n")

    def passed(name: str) -> int:
        state = bench.state()
        runs = [run for run in state.attempts.values() if run.kind == "ahead" and state.jobs[run.job].name == name]
        return sum(run.end is not None and run.end.passed for run in runs)

    wait_until(lambda: all(passed(name) == 1 for name in count), what="both ahead, one after the other")
    bench.edit("src.py", "three\n")
    (first,) = wait_until(
        lambda: [item for item in bench.state().open_attempts() if type(item.phase).__name__ == "Running"], what="one of them"
    )
    wait_until(lambda: (Path(bench.env["HOME"]) / "port").exists(), what="that it has the port")
    other = "vitest run" if bench.state().jobs[first.job].name == "pytest" else "pytest -q"
    assert bench.bash(other)[:2] == (b"three\n", 0)
    assert not (Path(bench.env["HOME"]) / "clashes").exists()
    assert bench.state().attempts[first.attempt].end.how == "cancelled"


def test_a_killed_supervisor_is_replaced_by_the_next_hook_and_the_session_goes_on(bench):
    """F26, F27."""
    ready(bench)
    bench.bash("pytest -q")
    first = bench.supervisor()
    signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), limit_s=5, what="its death")
    bench.hook("PreToolUse", tool_name="Read", tool_use_id="r", tool_input={})
    # On a machine under load the hook gives up before its supervisor serves; a command asked meanwhile would just run.
    second = wait_until(lambda: bench.supervisor() != first and bench.supervisor(), limit_s=20, what="another supervisor")
    assert lives(second)
    output, code, _ = bench.bash("pytest -q")
    assert (output, code) == (b"one\n", 0)
    bench.bash("pytest -q")
    assert bench.did() == ["record", "record", "replay"]
    assert runs(bench) == 2


def test_a_hook_that_meets_a_supervisor_on_its_way_out_gets_the_next_one(bench):
    """F10: the lock is held a moment longer than the socket is served (by a thread of a killed one, or while it writes its last event)."""
    ready(bench)
    bench.stop()
    first = bench.events(SupervisorStarted)
    leaving = Lock(bench.paths.supervisor_lock)
    assert leaving.try_acquire()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bench.hook, "SessionStart", source="resume")
        wait_until(lambda: waits_for_lock(bench), limit_s=5, what="a starter that waits")
        leaving.close()
        done = asked.result()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(bench.events(SupervisorStarted)) == len(first) + 1


def test_a_command_of_unknown_effects_that_outlives_its_supervisor_ends_results_all_the_same(bench):
    """The next supervisor has not seen it begin: nothing is joined until that session's calls are over, and its end ends all results."""
    ready(bench)
    unknown = {"tool_name": "Bash", "tool_use_id": "u", "tool_input": {"command": "./unknown-thing"}}
    bench.hook("PreToolUse", session_id="another", **unknown)
    first = bench.supervisor()
    signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), what="its death")
    bench.hook("UserPromptSubmit", prompt="p")
    wait_until(lambda: bench.supervisor() != first, what="another supervisor")
    for _ in range(2):
        bench.bash("pytest -q")
    assert bench.did() == ["record", "record"]
    epoch = bench.state().epoch
    bench.hook("PostToolBatch", session_id="another", tool_calls=[unknown])
    assert bench.state().epoch == epoch + 1
    for _ in range(2):
        bench.bash("pytest -q")
    assert bench.did() == ["record", "record", "record", "replay"]


def test_a_command_that_is_slow_to_stop_does_not_run_twice_at_once(bench):
    """F51: the next ahead run of it begins when the one that was overtaken has ended."""
    ready(bench, "trap '' TERM; while [ -f \"$HOME/hold\" ]; do sleep 0.05; done; sleep 0.3; " + COUNT)
    hold, first = bench.held_ahead()
    bench.edit("src.py", "three\n")
    wait_until(lambda: len([event for event in bench.events(AttemptStarted) if event.kind == "ahead"]) == 2, what="the next one")
    hold.unlink()
    told = [event for _, event in read(bench.paths.folder) if isinstance(event, AttemptStarted | AttemptExited)]
    ended = next(at for at, event in enumerate(told) if isinstance(event, AttemptExited) and event.attempt == first.attempt)
    again = max(at for at, event in enumerate(told) if isinstance(event, AttemptStarted))
    assert ended < again
    bench.settled(2, "ahead")


def waits_for_lock(bench) -> bool:
    """Whether a process that is to become the supervisor has the lock's file open."""
    lock = os.path.realpath(bench.paths.supervisor_lock)
    pids = [process.pid for process in leftovers.find(str(bench.short))]
    return any(os.path.realpath(f"/proc/{pid}/fd/{number}") == lock for pid in pids for number in os.listdir(f"/proc/{pid}/fd"))


def test_a_supervisor_that_is_not_there_costs_no_command(bench):
    """F26: without any hook nobody starts it; the shim just runs the command."""
    ready(bench)
    first = bench.supervisor()
    signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), limit_s=5, what="its death")
    assert bench.bash("pytest -q", told=False)[:2] == (b"one\n", 0)
    assert runs(bench) == 1


def test_a_foreground_run_outlives_its_supervisor_and_loses_nothing(bench):
    ready(bench, "echo begin; sleep 0.5; echo end; exit 4")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: bench.state().open_attempts(), limit_s=10, what="the run")
        signal_process(bench.supervisor(), signal.SIGKILL)
        assert asked.result()[:2] == (b"begin\nend\n", 4)


def test_an_ungranted_folder_gets_nothing(short, project, state_base, bench):
    """F13: no process, no file, no connection, whatever the event."""
    other = short / "other"
    other.mkdir()
    before = sorted(str(path) for path in short.rglob("*"))
    for event in ("SessionStart", "PreToolUse", "PostToolBatch", "SessionEnd"):
        bench.env["CLAUDE_PROJECT_DIR"] = str(other)
        done = bench.hook(event, source="startup", tool_name="Bash", tool_input={"command": "pytest"})
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(str(path) for path in short.rglob("*")) == before


def test_off_for_one_command(bench):
    ready(bench)
    bench.bash("pytest -q")
    assert bench.bash("STRETTO=off pytest -q")[:2] == (b"one\n", 0)
    assert runs(bench) == 2
    assert bench.did() == ["record"]


def test_after_the_last_session_the_supervisor_leaves_nothing_running(bench):
    ready(bench, "sleep 0.3; " + COUNT)
    bench.bash("pytest -q")
    process = bench.supervisor()
    bench.stop()
    assert not lives(process)
    assert not os.path.exists(bench.paths.socket)
    assert bench.state().supervisor is None


def test_the_same_question_at_the_same_time_attaches(bench):
    """F50."""
    ready(bench, "sleep 0.6; " + COUNT)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: bench.bash("pytest -q"), range(2)))
    assert [answer[:2] for answer in answers] == [(b"one\n", 0)] * 2
    assert runs(bench) == 1
    assert sorted(bench.did()) == ["attach", "record"]


def test_a_question_was_put_before_it_ran_so_it_never_runs_ahead(bench):
    ready(bench, "sleep 0.3; " + COUNT)
    bench.hook("PreToolUse", tool_name="Bash", tool_use_id="a1", tool_input={"command": "pytest -q"})
    bench.hook("PermissionRequest", tool_name="Bash", tool_input={"command": "pytest -q"})
    bench.bash("pytest -q", told=False)
    bench.batch({"tool_use_id": "a1", "tool_name": "Bash", "tool_input": {"command": "pytest -q"}})
    assert next(iter(bench.state().jobs.values())).asked
    bench.edit("src.py", "two\n")
    assert bench.bash("pytest -q")[0] == b"two\n"
    assert not [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]


def test_nothing_runs_ahead_in_plan_mode(bench):
    ready(bench, "sleep 0.3; " + COUNT)
    bench.bash("pytest -q")
    bench.hook("UserPromptSubmit", prompt="p", permission_mode="plan")
    (bench.root / "src.py").write_text("two\n")
    bench.batch({"tool_use_id": "w", "tool_name": "Read", "tool_input": {}})
    bench.hook("PostToolBatch", tool_calls=[], permission_mode="plan")
    assert bench.ask(op=b"ping")["mode"] == b"on"
    assert not [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]


def test_secrets_of_the_environment_are_nowhere_on_disk(bench):
    """B-14, its part on disk."""
    ready(bench)
    bench.bash("pytest -q --token=canary-argument", env={"API_TOKEN": "canary-environment"})
    bench.edit("src.py", "two\n")
    bench.settled(1)
    for path in bench.base.rglob("*"):
        if path.is_file() and not path.is_socket():
            data = path.read_bytes()
            assert b"canary-environment" not in data, path
            assert b"canary-argument" not in data, path


def test_state_is_private(bench):
    ready(bench)
    bench.bash("pytest -q")
    for path in [bench.base, *bench.base.rglob("*")]:
        mode = path.lstat().st_mode & 0o777
        assert path.is_symlink() or mode & 0o077 == 0, f"{path} is {oct(mode)}"


def test_a_message_that_is_none_of_ours_does_not_stop_the_supervisor(bench):
    ready(bench)
    for junk in (b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\4abcd"):
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(bench.paths.socket)
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    assert identify(int(bench.ask(op=b"ping")["pid"])) == bench.supervisor()


def test_the_client_answers_nothing_and_zero_to_any_input(bench):
    """F22, F23, F35: never 2 without a verdict."""
    ready(bench)
    from stretto import install

    entry = install.entry(next(item for item in install.EVENTS if item.name == "PreToolUse"), install.wiring(str(bench.base)))
    for body in (b"", b"{", b"[]", b"\xff" * 1000, json.dumps({"session_id": SESSION}).encode()):
        done = subprocess.run([entry["command"], *entry["args"]], input=body, capture_output=True, env=bench.env, check=False, timeout=20)
        assert (done.returncode, done.stdout) == (0, b"")


def test_a_failure_that_was_shown_to_one_session_is_no_news_once_the_tree_moved(bench):
    """F46: what is told to another session is true on the files as they are, or not told."""
    ready(bench)
    bench.bash("pytest -q")
    (bench.root / "code").write_text("1")
    other = {"CLAUDE_CODE_SESSION_ID": "99999999-2222-3333-4444-555555555555"}
    assert [bench.bash("pytest -q", env=other)[1] for _ in range(2)] == [1, 1]
    assert bench.did()[:2] == ["record", "record"]
    (bench.root / "code").write_text("0")
    end = time.monotonic() + QUIET_S + 1.0
    told = wait_until(
        lambda: bench.batch({"tool_use_id": "r", "tool_name": "Read", "tool_input": {}}) or time.monotonic() > end, limit_s=20, what="quiet"
    )
    assert told is True


def test_a_run_that_ends_under_a_later_supervisor_is_recorded_once(bench):
    """The monitor wrote the exit itself; the supervisor that took the run over adds only that it does not count."""
    ready(bench, 'sleep 0.3; while [ -f "$HOME/hold" ]; do sleep 0.02; done; ' + COUNT)
    hold, attempt = bench.held_ahead()
    signal_process(bench.supervisor(), signal.SIGKILL)
    bench.hook("UserPromptSubmit", prompt="p")
    hold.unlink()
    wait_until(lambda: type(bench.state().attempts[attempt.attempt].phase).__name__ == "Settled", limit_s=10, what="its end")
    assert bench.state().anomaly_count == 0
