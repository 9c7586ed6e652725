"""One supervisor for a project: what it makes of damaged files, of other versions, of crashing commands, and when it leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from integration.conftest import SESSION
from stretto import __version__, bundle, control, doctor, trust
from stretto.executors import local
from stretto.fold import Passed
from stretto.model import AttemptExited, AttemptStarted, JobKey, SessionClosed, SupervisorStarted, SupervisorStopped
from stretto.system import Lock, build, identify, lives, signal_process, signer
from stretto.testing import faults, leftovers
from stretto.testing.wait import wait_until

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
HELD = 'while [ -f "$HOME/hold" ]; do sleep 0.02; done; cat src.py'


def ready(bench, script: str = "sleep 0.3; cat src.py") -> None:
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", script)
    bench.begin()


def ahead(bench) -> list[AttemptStarted]:
    return [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]


def hook(bench, **fields: bytes) -> None:
    body = json.dumps({"session_id": SESSION, "prompt": "p", "permission_mode": "default"}).encode()
    bench.ask(op=b"hook", event=b"UserPromptSubmit", input=body, claude_pid=str(os.getpid()).encode(), **fields)


# --- F11 --------------------------------------------------------------------------------------------------------------------


def spoil(path: Path, how: str) -> None:
    if how in ("directory", "link", "junk", "empty"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if how == "directory":
        path.mkdir()
    elif how == "link":
        path.symlink_to("/dev/null")
    else:
        path.write_bytes(random.Random(str(path.name)).randbytes(300) if how == "junk" else b"")


@pytest.mark.damages_log("everything", reason="the log is replaced by junk")
@pytest.mark.parametrize("how", ["directory", "link", "junk", "empty"] if SOAK else ["directory", "junk"])
def test_f11_no_damaged_state_file_stops_the_next_supervisor(bench, how):
    """Every file but the grant, all at once: what cannot be used is put aside and doctor names it."""
    ready(bench)
    bench.bash("pytest -q")
    bench.settled(1)
    bench.stop()
    folder = Path(bench.paths.folder)
    for name in ("events.jsonl", "events.lock", "salt", "s", "supervisor.err", "sessions", "attempts", "torn"):
        spoil(folder / name, how)
    done = bench.hook("SessionStart", source="resume")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record"]
    if how != "empty":
        assert any(check.name == "damage" for check in doctor.examine(str(bench.root), str(bench.base)))


@pytest.mark.damages_log("everything", reason="bytes of the log are flipped")
@pytest.mark.parametrize("seed", range(200 if SOAK else 2))
def test_f11_a_log_and_exits_with_flipped_bytes_fold_and_serve(bench, seed):
    print(f"scale: {'soak' if SOAK else 'everyday'}")
    ready(bench)
    bench.bash("pytest -q")
    bench.settled(1)
    bench.stop()
    dice = random.Random(seed)
    for path in [Path(bench.paths.events), *Path(bench.paths.attempts).glob("*/exit"), *Path(bench.paths.attempts).glob("*/lock")]:
        data = bytearray(path.read_bytes())
        for _ in range(max(1, len(data) // 60)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
    bench.hook("SessionStart", source="resume")
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.state().supervisor is not None


@pytest.mark.parametrize("text", [b"", b"{", b"\xff" * 40, b"[]"] if SOAK else [b"{"], ids=repr)
def test_f11_a_damaged_grant_is_no_grant_and_doctor_says_so(bench, text):
    ready(bench)
    bench.stop()
    Path(bench.paths.grant).write_bytes(text)
    done = bench.hook("SessionStart", source="resume")
    assert done.returncode == 0 and b"systemMessage" in done.stdout
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    (check,) = [check for check in doctor.examine(str(bench.root), str(bench.base)) if (check.level, check.name) == ("fail", "grant")]
    aside = Path(bench.paths.folder, "broken", "grant.0")
    assert str(aside) in check.text and aside.read_bytes() == text
    assert not Path(bench.paths.grant).exists()
    done = bench.hook("SessionStart", source="resume")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), "a folder without a grant: nothing happens, nothing is said"
    trust.grant(str(bench.root), "on", None, base=str(bench.base), python=sys.executable)
    assert bench.hook("SessionStart", source="resume").stdout == b""
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert lives(bench.supervisor())


def test_f11_a_grant_of_another_version_is_no_grant_and_stays(bench):
    ready(bench)
    bench.stop()
    newer = Path(bench.paths.grant).read_bytes().replace(b'"v":1', b'"v":99').replace(b'"v": 1', b'"v": 99')
    assert b"99" in newer
    Path(bench.paths.grant).write_bytes(newer)
    done = bench.hook("SessionStart", source="resume")
    assert done.returncode == 0 and b"systemMessage" in done.stdout
    assert Path(bench.paths.grant).read_bytes() == newer
    assert any("version 99" in check.text for check in doctor.examine(str(bench.root), str(bench.base)))


@pytest.mark.damages_log("everything", reason="the log gets records that nobody wrote")
def test_f5_a_record_that_names_a_stranger_or_a_path_is_adopted_by_nobody_and_signals_nobody(bench):
    ready(bench)
    bench.bash("pytest -q")
    bench.stop()
    (job,) = bench.state().jobs
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with open(bench.paths.events, "a", encoding="utf-8") as file:
            for attempt, pid in (("0" * 32, stranger.pid), ("../../../../outside", 1), ("1" * 32, 2**70), ("2" * 32, -1)):
                common = {"ts": 1.0, "mono": 1.0, "boot": "another", "by": "supervisor:7", "attempt": attempt}
                begun = {"t": "attempt.started", "job": job, "kind": "ahead", "session": None, "generation": 1, **common}
                file.write(json.dumps(begun) + "\n" + json.dumps({"t": "attempt.spawned", "pid": pid, "start": "1", **common}) + "\n")
        bench.hook("SessionStart", source="resume")
        wait_until(lambda: not bench.state().open_attempts(), what="an end of each")
        assert {run.end.how for run in bench.state().attempts.values() if run.kind == "ahead"} == {"lost"}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- between two supervisors ------------------------------------------------------------------------------------------------


def test_f8_a_run_taken_over_before_its_monitor_was_logged_is_cancelled_all_the_same(bench):
    """Its lock's file names the monitor."""
    ready(bench, "sleep 0.3; " + HELD)
    _, run = bench.held_ahead()
    monitor = signer(f"{bench.paths.attempts}/{run.attempt}/lock")
    assert monitor is not None and lives(monitor)
    bench_supervisor = bench.supervisor()
    signal_process(bench_supervisor, signal.SIGKILL)
    wait_until(lambda: not lives(bench_supervisor), what="its death")
    lines = Path(bench.paths.events).read_text().splitlines(keepends=True)
    Path(bench.paths.events).write_text("".join(line for line in lines if f'"pid":{monitor.pid},' not in line))
    bench.hook("UserPromptSubmit", prompt="p")
    wait_until(lambda: not lives(monitor), limit_s=20, what="its end")
    wait_until(lambda: bench.state().attempts[run.attempt].end, what="its record")
    assert bench.state().attempts[run.attempt].end.how == "cancelled"
    assert bench.state().anomaly_count == 0


def test_f8_a_monitor_that_comes_after_its_run_was_given_up_starts_nothing(bench):
    ready(bench)
    bench.bash("pytest -q")
    first = bench.supervisor()
    signal_process(first, signal.SIGKILL)
    wait_until(lambda: not lives(first), what="its death")
    attempt = "ab" * 16
    folder = bundle.create(bench.paths.attempts, attempt)
    (job,) = bench.state().jobs
    with open(bench.paths.events, "a", encoding="utf-8") as file:
        common = {"ts": 1.0, "mono": 1.0, "boot": "b", "by": "supervisor:7"}
        begun = {"t": "attempt.started", "attempt": attempt, "job": job, "kind": "ahead", "session": None, "generation": 1}
        file.write(json.dumps(begun | common) + "\n")
    bench.hook("UserPromptSubmit", prompt="p")
    wait_until(lambda: bench.state().attempts[attempt].end, what="its end")
    spec = {"dir": os.fsencode(folder), "journal": os.fsencode(bench.paths.folder), "attempt": attempt.encode()}
    forker = local.Forker()
    owner = forker.spawn(spec)
    wait_until(lambda: owner.lines() is None, what="the monitor's end")
    owner.close()
    forker.close()
    assert sorted(os.listdir(folder)) == ["exit", "lock"]
    assert [event.end.how for event in bench.events(AttemptExited) if event.attempt == attempt] == ["lost"]


def test_f10_a_supervisor_whose_directory_was_replaced_leaves_the_new_one_alone(bench):
    ready(bench)
    old = bench.supervisor()
    os.rename(bench.paths.folder, f"{bench.paths.folder}.gone")
    bench.granted = trust.grant(str(bench.root), "on", None, base=str(bench.base), python=sys.executable)
    bench.hook("SessionStart", source="startup")
    new = bench.supervisor()
    assert new != old
    wait_until(lambda: not lives(old), limit_s=20, what="the old one's end")
    assert lives(new) and bench.ask(op=b"ping")["pid"] == str(new.pid).encode()
    assert not bench.events(SupervisorStopped)
    shutil.rmtree(f"{bench.paths.folder}.gone")


def another_installation(short: Path, version: str) -> str:
    """Copy the package as of another version; return its islands directory."""
    here = Path(trust.__file__).parent
    there = short / "other" / "stretto"
    shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "client.py", "shim.py"):
        text = (there / name).read_text()
        assert f'"{__version__}"' in text
        (there / name).write_text(text.replace(f'"{__version__}"', f'"{version}"'))
    return str(there)


def test_f12_a_hook_of_another_version_is_answered_and_the_supervisor_leaves_when_its_runs_are_over(bench):
    ready(bench, HELD)
    hold = Path(bench.env["HOME"]) / "hold"
    hold.touch()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bench.bash, "pytest -q", told=False, announced=True)
        wait_until(lambda: bench.state().open_attempts(), what="a foreground run")
        old = bench.supervisor()
        hook(bench, version=b"99.0")
        hook(bench, version=b"99.0")
        assert lives(old)
        hold.unlink()
        assert asked.result()[:2] == (b"one\n", 0)
    wait_until(lambda: not lives(old), what="it makes way")
    assert [run.end.how for run in bench.state().attempts.values()] == ["code"]


def test_f12_two_installations_that_both_fire_recycle_the_supervisor_once(bench):
    ready(bench)
    ours, other = bench.islands, another_installation(bench.short, "99.0")
    for _ in range(3):
        for bench.islands in (ours, other):
            done = bench.hook("UserPromptSubmit", prompt="p")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            if bench.islands == other:
                wait_until(lambda: bench.state().supervisor is None or len(bench.events(SupervisorStarted)) == 2, what="it makes way")
    assert len(bench.events(SupervisorStarted)) == 2
    assert lives(bench.supervisor())


def test_f12_after_an_upgrade_the_new_version_serves(bench):
    """The hooks of the new installation only; then back again, as far as to the end of that supervisor's life."""
    ready(bench)
    old = bench.supervisor()
    bench.islands = another_installation(bench.short, "99.0")
    bench.hook("UserPromptSubmit", prompt="p")
    wait_until(lambda: not lives(old), what="it makes way")
    assert bench.hook("UserPromptSubmit", prompt="p").stdout == b""
    assert bench.ask(op=b"ping")["version"] == b"99.0"
    assert any(check.name == "supervisor" and "99.0" in check.text for check in doctor.examine(str(bench.root), str(bench.base)))


def test_f12_an_installation_exchanged_in_mid_session_recycles_once_upwards_and_once_downwards(bench):
    """The same place, as `pip install` does it: the files of another version, and then those of the first again."""
    place = another_installation(bench.short, "1.0")
    bench.islands = place
    ready(bench)
    starts = 1
    for before, after in (("1.0", "99.0"), ("99.0", "1.0")):
        old = bench.supervisor()
        assert bench.ask(op=b"ping")["version"] == before.encode()
        assert f"version {before}" in cli(bench, "status")
        for name in ("__init__.py", "client.py", "shim.py"):
            path = Path(place, name)
            path.write_text(path.read_text().replace(f'"{before}"', f'"{after}"'))
        shutil.rmtree(Path(place, "__pycache__"))
        bench.hook("UserPromptSubmit", prompt="p")
        wait_until(lambda old=old: not lives(old), what="it makes way")
        starts += 1
        for _ in range(3):
            done = bench.hook("UserPromptSubmit", prompt="p")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert bench.ask(op=b"ping")["version"] == after.encode()
        assert len(bench.events(SupervisorStarted)) == starts
        assert any(check.name == "supervisor" and after in check.text for check in doctor.examine(str(bench.root), str(bench.base)))
        assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.state().anomaly_count == 0


def test_f12_code_that_was_exchanged_under_the_same_version_serves_from_the_next_session_on(bench):
    """Between two releases every installation calls itself the same."""
    place = bench.islands = another_installation(bench.short, __version__)
    ready(bench)
    old = bench.supervisor()
    assert bench.ask(op=b"ping")["build"] == build().encode()
    with Path(place, "model.py").open("a") as file:
        file.write("\n# newer\n")
    bench.hook("UserPromptSubmit", prompt="p")
    assert lives(old)
    bench.hook("SessionStart", source="startup")
    wait_until(lambda: not lives(old), what="it makes way")
    bench.hook("UserPromptSubmit", prompt="p")
    assert bench.ask(op=b"ping")["build"] not in (b"", build().encode())
    assert len(bench.events(SupervisorStarted)) == 2


def test_f12_init_of_another_build_ends_the_supervisor_and_no_job_that_was_asked_for(bench):
    place = bench.islands = another_installation(bench.short, __version__)
    with Path(place, "model.py").open("a") as file:
        file.write("\n# older\n")
    ready(bench)
    old = bench.supervisor()
    assert any("another installation" in check.text for check in doctor.examine(str(bench.root), str(bench.base)))
    hold = bench.root.parent / "hold"
    hold.touch()
    job = cli(bench, "run", "--", "sh", "-c", f"while [ -f {hold} ]; do sleep 0.02; done").strip()
    wait_until(lambda: bench.state().open_attempts(), what="the job")
    cli(bench, "init", "--yes")
    wait_until(lambda: not lives(old), what="it leaves")
    assert [run.job for run in bench.state().open_attempts()] != []
    bench.islands = str(Path(trust.__file__).parent)
    bench.hook("SessionStart", source="startup")
    assert bench.ask(op=b"ping")["build"] == build().encode()
    hold.unlink()
    wait_until(lambda: not bench.state().open_attempts(), what="its end")
    assert isinstance(bench.state().requests[JobKey(job)].phase, Passed)


@pytest.mark.parametrize("job", [True, False], ids=["with a job", "alone"])
def test_f12_a_supervisor_too_old_to_know_how_to_leave_is_ended_unless_that_ended_a_job(monkeypatch, bench, job):
    ended = []
    monkeypatch.setattr(control, "ask", lambda *_: {"do": b"exec", "reason": b"the supervisor met an error"})
    monkeypatch.setattr(control, "stop", ended.append)
    kinds = ["ahead", "requested"] if job else ["ahead"]
    monkeypatch.setattr(
        control, "fold_log", lambda _: SimpleNamespace(open_attempts=lambda: [SimpleNamespace(kind=kind) for kind in kinds])
    )
    control.replace(bench.paths, "99.0")
    assert ended == ([] if job else [bench.paths])


# --- crashing commands, cancelled ones, nested ones -------------------------------------------------------------------------


def test_c11_a_command_whose_ahead_run_dies_waits_and_another_one_does_not(bench):
    ready(bench)
    bench.tool("mypy", "sleep 0.3; cat src.py")
    bench.tool("pytest", 'sleep 0.3; if [ -n "$STRETTO_WORKER" ]; then echo x >> "$HOME/tries"; kill -9 $PPID; sleep 5; fi; cat src.py')
    bench.bash("pytest -q")
    bench.bash("mypy .")
    tries = Path(bench.env["HOME"]) / "tries"
    for number in range(3):
        bench.edit("src.py", f"{number}\n")
        wait_until(
            lambda: tries.exists() and any(job.name == "pytest" and job.crashes for job in bench.state().jobs.values()), what="a crash"
        )
        assert bench.bash("mypy .")[:2] == (f"{number}\n".encode(), 0)
    assert tries.read_text().count("x") == 1
    (job,) = (job for job in bench.state().jobs.values() if job.name == "pytest")
    assert job.crashes == 1
    assert bench.bash("pytest -q")[:2] == (b"2\n", 0)


def test_c11_after_the_third_crash_a_command_is_put_aside_and_why_says_till_when_and_how_to_try_again(bench):
    """The pauses after the first two are taken away; the hour after the third stands."""
    bench.python = faults.altered(bench.short, "from stretto import retries; retries.PAUSES_S = (0.0, 0.0)")
    ready(bench)
    bench.tool("mypy", "sleep 0.3; cat src.py")
    crash = 'if [ -n "$STRETTO_WORKER" ] && [ ! -e "$HOME/mended" ]; then echo x >> "$HOME/tries"; kill -9 $PPID; sleep 5; fi; '
    bench.tool("pytest", f"sleep 0.3; {crash}cat src.py")
    bench.bash("pytest -q")
    bench.bash("mypy .")
    tries = Path(bench.env["HOME"]) / "tries"

    def job():
        return next(job for job in bench.state().jobs.values() if job.name == "pytest")

    for number in range(1, 5):
        bench.edit("src.py", f"{number}\n")
        wait_until(lambda number=number: job().crashes == min(number, 3), what="a crash, or three")
        assert bench.bash("mypy .")[:2] == (f"{number}\n".encode(), 0)
    assert tries.read_text().count("x") == 3
    (line,) = [item for item in cli(bench, "why", "20", "--json").splitlines() if '"put aside"' in item]
    reason = json.loads(line)["reason"]
    again = f"`stretto retry {job().job[:8]}`"
    assert again in reason and "3 ahead runs died" in reason and "since" in reason and "tried again from" in reason
    assert again in cli(bench, "why", "20")
    (row,) = [item for item in json.loads(cli(bench, "status", "--json"))["jobs"] if item["job"] == job().job]
    assert again in row["not_ahead"]
    assert again in cli(bench, "status")
    (Path(bench.env["HOME"]) / "mended").touch()
    assert "may run ahead again" in cli(bench, "retry", job().job[:8])
    wait_until(
        lambda: any(run.job == job().job and run.end and run.end.passed for run in bench.state().attempts.values() if run.kind == "ahead"),
        what="a run",
    )
    assert bench.state().anomaly_count == 0
    assert not [item for item in cli(bench, "why", "20", "--json").splitlines() if '"put aside"' in item]


def cli(bench, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stretto", *words], capture_output=True, text=True, cwd=bench.root, env=os.environ, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_f8_what_the_user_cancelled_is_not_started_again_on_the_same_tree(bench):
    """F49."""
    ready(bench, "sleep 0.3; " + HELD)
    hold, run = bench.held_ahead()
    assert bench.ask(op=b"cancel", attempt=run.attempt.encode())["ok"] == b"1"
    wait_until(lambda: not bench.state().attempts[run.attempt].open, what="its end")
    for _ in range(3):
        bench.batch({"tool_use_id": "r", "tool_name": "Read", "tool_input": {}})
    assert len(ahead(bench)) == 1
    hold.unlink()
    bench.edit("src.py", "three\n")
    wait_until(lambda: len(ahead(bench)) == 2, what="a run on the next tree")


def test_c13_hooks_and_checks_of_an_agent_inside_a_worker_do_nothing_even_with_a_wiped_environment(bench):
    ready(bench)
    bench.bash("pytest -q")
    attempt = next(iter(bench.state().attempts))
    events = bench.state().events
    body = json.dumps({"session_id": "inner", "source": "startup"})
    code = (
        "import subprocess, sys, os\n"
        "os.environ.pop('STRETTO_WORKER')\n"
        "print(subprocess.run(sys.argv[1:], input=sys.stdin.buffer.read(), env=dict(os.environ)).returncode)\n"
    )
    from stretto import install

    entry = install.entry(next(item for item in install.EVENTS if item.name == "SessionStart"), install.wiring(str(bench.base)))
    env = {**bench.env, "STRETTO_WORKER": attempt, "CLAUDE_ENV_FILE": str(bench.short / "inner")}
    argv = [sys.executable, "-c", code, entry["command"], *entry["args"]]
    done = subprocess.run(argv, input=body.encode(), capture_output=True, env=env, cwd=bench.root, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")
    assert bench.state().events == events and "inner" not in bench.state().sessions
    assert not (bench.short / "inner").exists()


def test_c13_a_hook_inside_a_worker_with_a_wiped_environment_starts_no_supervisor(bench):
    """By ancestry: the mark is in the environment of the process above, whatever that one gave its child."""
    ready(bench)
    bench.stop()
    events = bench.state().events
    from stretto import install

    entry = install.entry(next(item for item in install.EVENTS if item.name == "SessionStart"), install.wiring(str(bench.base)))
    code = (
        "import subprocess, sys, os\n"
        "os.environ.pop('STRETTO_WORKER', None)\n"
        "print(subprocess.run(sys.argv[2:], input=sys.stdin.buffer.read(), env=dict(os.environ)).returncode)\n"
    )
    body = json.dumps({"session_id": "inner", "source": "startup"}).encode()
    inner = [sys.executable, "-c", code, "-", entry["command"], *entry["args"]]
    env = {**bench.env, "CLAUDE_ENV_FILE": str(bench.short / "inner")}
    done = subprocess.run(
        inner, input=body, capture_output=True, env={**env, "STRETTO_WORKER": "x"}, cwd=bench.root, check=False, timeout=30
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")
    assert bench.state().events == events
    assert not leftovers.find(str(bench.short))
    done = subprocess.run(inner, input=body, capture_output=True, env=env, cwd=bench.root, check=False, timeout=30)
    assert done.returncode == 0 and bench.state().events > events, "without a worker above it one is started"


def test_c13_a_thousand_sessions_at_once_stay_under_the_cap(bench):
    ready(bench)
    count = 1000 if SOAK else 150
    print(f"scale: {count} sessions")
    for number in range(count):
        body = json.dumps({"session_id": f"s{number}", "prompt": "p"}).encode()
        bench.ask(op=b"hook", event=b"UserPromptSubmit", input=body, claude_pid=str(os.getpid()).encode())
    assert len([session for session in bench.state().sessions.values() if not session.closed]) <= 64
    assert len([process for process in leftovers.find(str(bench.short))]) == 1


# --- leaving ----------------------------------------------------------------------------------------------------------------


def test_c7_ten_seconds_after_the_session_nothing_of_it_runs(bench):
    ready(bench, "sleep 0.3; trap '' TERM; " + HELD)
    bench.held_ahead()
    bench.hook("SessionEnd", reason="other")
    wait_until(lambda: not bench.state().open_attempts(), limit_s=30, what="its end")
    (closed,) = bench.events(SessionClosed)
    ended = max(event.mono for event in bench.events(AttemptExited))
    assert ended - closed.mono < 10.0
    wait_until(lambda: len(leftovers.find(str(bench.short))) <= 1, what="nothing but the supervisor")


def test_a_session_that_ended_while_no_supervisor_lived_is_closed_by_the_next(bench):
    ready(bench)
    bench.stop()
    with open(bench.paths.events, "a", encoding="utf-8") as file:
        event = {"t": "session.opened", "ts": 1.0, "mono": 1.0, "boot": "b", "by": "supervisor:7", "session": "old", "source": "startup"}
        file.write(json.dumps(event | {"claude_pid": os.getpid()}) + "\n")  # the pid is somebody else's by now: this test began later
    bench.hook("UserPromptSubmit", prompt="p")
    assert bench.state().sessions["old"].closed


# --- git --------------------------------------------------------------------------------------------------------------------


def test_c21_commits_stashes_and_rebases_go_through_while_the_supervisor_scans(bench):
    """F53, F60: no index.lock of ours, and the index is not touched."""
    ready(bench)
    rounds = 330 if SOAK else 3
    print(f"scale: {rounds} rounds of a commit, a stash and a rebase")
    env = {**bench.env, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.invalid"}
    env |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.invalid"}

    def git(*words: str) -> None:
        done = subprocess.run(["git", *words], cwd=bench.root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    git("add", "src.py")
    for number in range(rounds):
        bench.edit("src.py", f"{number}\n")
        git("commit", "-qam", f"round {number}")
        (bench.root / "src.py").write_text("stashed\n")
        bench.hook("PostToolBatch", tool_calls=[{"tool_name": "Edit", "tool_use_id": "e", "tool_input": {"file_path": "src.py"}}])
        git("stash", "-q")
        git("stash", "drop", "-q")
        git("rebase", "-q", "--force-rebase", "HEAD~1")
    index = bench.root / ".git" / "index"
    before = index.stat().st_mtime_ns, index.stat().st_ino
    assert bench.bash("pytest -q")[1] == 0
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == before
    assert not list((bench.root / ".git").glob("*.lock"))


def test_a_lock_knows_whether_its_name_still_leads_to_it(tmp_path):
    lock = Lock(str(tmp_path / "lock"))
    assert lock.stands() and signer(lock.path) is None
    me = identify(os.getpid())
    lock.sign(me)
    assert signer(lock.path) == me
    os.rename(lock.path, tmp_path / "old")
    assert not lock.stands()
    other = Lock(str(tmp_path / "lock"))
    assert other.stands() and not lock.stands()
    lock.close()
    other.close()
