"""What a session and a script see of a run, end to end through the command line: the true end, the true bytes, the true environment;
and that disk, git and everybody else in the project are left alone."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.test_requests import LIMIT_S, PACKAGE, ask, becomes, gate, has_monitor, stretto_cli
from stretto import bundle, kin, runs
from stretto.fold import Passed, UnderWay
from stretto.model import AttemptId
from stretto.schedule import OVERLOADED
from stretto.system import LINUX, Process, boot_id, lives, signal_process
from stretto.testing.wait import wait_until

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
EVERY_BYTE = bytes(range(256)) * 40 + "é€😀\r\n".encode() + "é".encode()[:1] + b"\xed\xa0\x80 lone surrogate\r\n\0"


def skip_if_busy() -> None:
    """Called when no ahead run came: where the machine is too busy for any, that is as it should be."""
    if os.getloadavg()[0] / (os.cpu_count() or 1) >= OVERLOADED / 2:
        pytest.skip(f"the machine is overloaded (load {os.getloadavg()[0]:.0f}): nothing runs ahead")


def settled_ahead(bench) -> str:
    """Wait for an ahead run and return its attempt; skip where the machine is too busy for any."""
    try:
        bench.settled(1, "ahead")
    except AssertionError:
        skip_if_busy()
        raise
    return next(item.attempt for item in bench.state().attempts.values() if item.kind == "ahead")


def cli_bytes(bench, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """The same as `stretto_cli`, in bytes."""
    return subprocess.run(
        [sys.executable, "-m", "stretto", *words],
        cwd=bench.root,
        env={**bench.env, "STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": PACKAGE, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_c8_the_end_of_a_job_is_the_same_truth_for_wait_and_for_status(bench):
    """Exit codes, signals, too much output, no interpreter, no directory, cancelled: each is told apart, and none is 0 but a pass."""
    bench.begin()
    hold, script = gate(bench, "hold")
    broken = bench.tool("broken", "")
    broken.write_text("#!/nonexistent/interpreter\n")
    jobs = {
        ask(bench, "--", "sh", "-c", "exit 255"): (255, {"how": "code", "value": 255}),
        ask(bench, "--", "sh", "-c", "kill -TERM $$; sleep 60"): (143, {"how": "signal", "value": 15}),
        ask(bench, "--", "yes"): (125, {"how": "oversize", "value": 0}),
        ask(bench, "--", "broken"): (127, {"how": "unstarted", "value": 2}),
        ask(bench, "--", "true"): (0, {"how": "code", "value": 0}),
    }
    stopped = ask(bench, "--", "sh", "-c", script)
    has_monitor(bench)
    stretto_cli(bench, "cancel", stopped)
    jobs[stopped] = (143, {"how": "cancelled", "value": 15})
    for job, (code, _) in jobs.items():
        stretto_cli(bench, "wait", job, code=code)
    data = json.loads(stretto_cli(bench, "status", "--json"))
    ends = {item["job"]: item["end"] for item in data["requests"]}
    assert [ends[job] for job in jobs] == [end for _, end in jobs.values()]
    states = {item["job"]: item["state"] for item in data["requests"]}
    assert [states[job] for job in jobs] == ["failed"] * 4 + ["done", "cancelled"]
    hold.unlink()


def test_c8_f33_a_job_whose_directory_went_before_it_began_could_not_be_started(bench):
    bench.begin()
    hold, script = gate(bench, "hold")
    first = ask(bench, "--", "sh", "-c", script)
    (bench.root / "sub").mkdir()
    root, bench.root = bench.root, bench.root / "sub"
    try:
        late = ask(bench, "--after", first, "--", "true")
    finally:
        bench.root = root
    (bench.root / "sub").rmdir()
    hold.unlink()
    stretto_cli(bench, "wait", late, code=127)
    assert "could not be started" in stretto_cli(bench, "status")
    assert not (bench.root / "sub").exists()


def test_c17_every_byte_of_a_job_comes_back_whatever_the_locale(bench):
    """Both streams, a name that is no UTF-8, LANG=C; what we say of it stays JSON and text."""
    bench.begin()
    name = os.fsencode(bench.root) + b"/data-\xff\xfe"
    with open(name, "wb") as file:
        file.write(EVERY_BYTE)
    job = ask(bench, "--", "sh", "-c", 'cat "$0"; cat "$0" >&2', os.fsdecode(name))
    stretto_cli(bench, "wait", job)
    for env in ({"LANG": "C"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, {"LANG": "C.UTF-8"}):
        done = cli_bytes(bench, "logs", job, env=env)
        assert (done.stdout, done.stderr) == (EVERY_BYTE, EVERY_BYTE)
        json.loads(cli_bytes(bench, "status", "--json", env=env).stdout)
        assert cli_bytes(bench, "status", env=env).returncode == 0
    for line in Path(bench.paths.events).read_bytes().splitlines():
        json.loads(line.decode("utf-8"))


def test_c16_a_reader_of_a_job_that_leaves_ends_the_reading_and_not_the_job(bench):
    bench.begin()
    hold, script = gate(bench, "hold")
    job = ask(bench, "--", "sh", "-c", f"yes line | head -c 3000000; {script}")
    becomes(bench, job, UnderWay)
    reading = subprocess.Popen(
        [sys.executable, "-m", "stretto", "logs", job, "-f"],
        cwd=bench.root,
        env={**bench.env, "STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": PACKAGE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert reading.stdout is not None and reading.stderr is not None
        assert reading.stdout.read(5) == b"line\n"
        reading.stdout.close()
        assert reading.wait(timeout=LIMIT_S) != 0
        assert b"Traceback" not in reading.stderr.read()
    finally:
        reading.kill()
        reading.wait()
        reading.stderr.close()
    hold.unlink()
    stretto_cli(bench, "wait", job)
    assert stretto_cli(bench, "logs", job).endswith("begin\nend\n")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve the bytes of a file")
def test_c16_f57_what_is_kept_of_a_project_is_bounded_by_bytes(bench):
    """The oldest go first, by what they take on the disk; the result that can still be joined stays."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "sleep 0.2; cat src.py")
    bench.begin()
    sizes = [runs.OUTPUT_KEPT_BYTES // 2, runs.OUTPUT_KEPT_BYTES // 2, runs.OUTPUT_KEPT_BYTES // 4]
    old = [f"{number:032x}" for number in range(len(sizes))]
    room = shutil.disk_usage(bench.base).free
    if room < 2 * sum(sizes):
        pytest.skip(f"the disk has {room >> 20} MB free, and this needs {2 * sum(sizes) >> 20} MB")
    for number, (attempt, size) in enumerate(zip(old, sizes, strict=True)):
        folder = bundle.create(bench.paths.attempts, AttemptId(attempt))
        with open(os.path.join(folder, "out"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        os.utime(folder, (1000 + number, 1000 + number))
    bench.bash("pytest -q")
    wait_until(lambda: not os.path.exists(f"{bench.paths.attempts}/{old[0]}"), limit_s=LIMIT_S, what="the oldest gone")
    left = os.listdir(bench.paths.attempts)
    assert old[1] in left and old[2] in left
    assert bench.bash("pytest -q")[0] == b"one\n"
    assert bench.did()[-1] == "replay"


@pytest.mark.skipif(not LINUX, reason="reads /proc/self/environ")
def test_f32_an_ahead_run_has_the_environment_of_the_call_it_stands_for_and_the_mark(bench):
    """CLAUDECODE and all the rest included: it is the call's own result that is wanted, so nothing may differ but what is ours."""
    show = "import sys; sys.stdout.buffer.write(open('/proc/' + sys.argv[1] + '/environ', 'rb').read())"
    bench.tool("pytest", f'sleep 0.2; cat src.py > /dev/null; exec {sys.executable} -I -S -c "{show}" $$')
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    odd = {"CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli", "ODD": os.fsdecode(b"\xff=\x01"), "EMPTY": ""}
    native, code, _ = bench.bash("pytest -q", env=odd)
    assert code == 0
    bench.edit("src.py", "two\n")
    attempt = settled_ahead(bench)
    ahead = Path(bench.paths.attempts, attempt, "out").read_bytes()
    ours = {entry for entry in ahead.split(b"\0") if entry.startswith(b"STRETTO_")}
    assert ours == {b"STRETTO_WORKER=" + attempt.encode()}
    assert b"CLAUDECODE=1" in ahead.split(b"\0") and b"ODD=\xff=\x01" in ahead.split(b"\0")

    def others(text: bytes) -> set[bytes]:
        return {entry for entry in text.split(b"\0") if not entry.startswith(b"STRETTO_")}

    assert others(ahead) == others(native)


def test_c21_f53_git_operations_go_through_while_the_tree_is_fingerprinted(project, short):
    """Commits, stashes, rebases and checkouts against scans without a pause; no scan takes the index's lock or touches it."""
    rounds = 200 if SOAK else 12
    print(f"scale: {rounds * 5} git operations")
    program = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "from stretto.tree import Scanner\n"
        "scanner = Scanner(sys.argv[2]); count = 0\n"
        "while not os.path.exists(sys.argv[3]):\n"
        "    scanner.classify(scanner.scan().moved); count += 1\n"
        "    if count == 2: open(sys.argv[4], 'w').close()\n"
        "print(count)\n"
    )
    stop, begun = short / "stop", short / "begun"
    env = {"PATH": "/usr/bin:/bin", "HOME": str(short), "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.invalid"}
    env |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.invalid", "GIT_CONFIG_NOSYSTEM": "1"}
    scans = subprocess.Popen(
        [sys.executable, "-c", program, PACKAGE, str(project), str(stop), str(begun)], stdout=subprocess.PIPE, text=True
    )

    def git(*words: str) -> None:
        done = subprocess.run(["git", *words], cwd=project, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    try:
        wait_until(begun.exists, limit_s=LIMIT_S, what="the first scans")
        (project / "a.py").write_text("begin\n")
        git("add", "a.py")
        for number in range(rounds):
            (project / "a.py").write_text(f"{number}\n")
            git("commit", "-qam", f"{number}")
            (project / "a.py").write_text("stashed\n")
            git("stash", "-q")
            git("stash", "pop", "-q")
            git("checkout", "-q", "--", "a.py")
            git("rebase", "-q", "--force-rebase", "HEAD~1")
        index = project / ".git" / "index"
        before = (index.stat().st_mtime_ns, index.stat().st_ino)
        begun.unlink()
    finally:
        stop.touch()
        count = int(scans.communicate(timeout=60)[0])
    print(f"{count} scans")
    assert count > 2
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == before
    assert not list((project / ".git").rglob("*.lock"))


def test_f52_f60_neither_a_run_nor_a_scan_of_ours_writes_into_the_project(bench):
    """What is there after a check ran, ran ahead and was joined is what the session itself wrote."""
    bench.tool("pytest", "sleep 0.2; cat src.py")
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    settled_ahead(bench)

    def files() -> dict[str, tuple[int, int, int]]:
        found = {}
        for folder, _, names in os.walk(bench.root):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                about = os.lstat(path)
                found[path] = (about.st_mtime_ns, about.st_ino, about.st_size)
        return found

    before = files()
    job = ask(bench, "--", "sh", "-c", "cat src.py")
    stretto_cli(bench, "wait", job)
    assert bench.bash("pytest -q")[1] == 0
    bench.bash("pytest -q")
    assert files() == before


def test_uninstall_ends_what_a_run_started_also_when_supervisor_and_owner_were_killed(bench):
    """F2, F69: nobody is left who could have ended it."""
    bench.begin()
    job = ask(bench, "--", "sh", "-c", "setsid sleep 71 & wait")
    attempt = becomes(bench, job, UnderWay).attempt
    has_monitor(bench)
    wait_until(lambda: len(list(kin.carrying(attempt))) >= 2, limit_s=LIMIT_S, what="the worker and what it started")
    monitor, supervisor = bench.state().attempts[attempt].phase, bench.supervisor()
    assert signal_process(supervisor, signal.SIGKILL)
    assert signal_process(Process(monitor.pid, monitor.start, boot_id()), signal.SIGKILL)
    wait_until(lambda: not lives(supervisor), limit_s=LIMIT_S, what="the supervisor's end")
    assert list(kin.carrying(attempt))
    stretto_cli(bench, "uninstall")
    wait_until(lambda: not list(kin.carrying(attempt)), limit_s=LIMIT_S, what="nothing left of it")


def test_a_job_that_was_asked_for_runs_with_the_io_class_of_the_call(bench):
    """Decision 0007: only what nobody asked for stands back."""
    if not shutil.which("ionice"):
        pytest.skip("no ionice to ask with")
    bench.begin()
    job = ask(bench, "--", "ionice")
    stretto_cli(bench, "wait", job)
    native = subprocess.run(["ionice"], stdout=-1, text=True, check=True).stdout
    assert stretto_cli(bench, "logs", job) == native
    assert "idle" not in native


SHORT_LEASE = (
    "import sys; sys.path.insert(0, {package!r}); from stretto import runs; runs.LEASE_S = 1.0; "
    "from stretto import daemon; daemon.main(sys.argv[-3:])"
)


def hasty(bench) -> None:
    """Let the supervisor of this test give leases of one second."""
    program = bench.short / "python"
    words = shlex.join([sys.executable, "-I", "-c", SHORT_LEASE.format(package=PACKAGE)])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o700)
    bench.python = str(program)


def run_of(bench, kind: str) -> str:
    """Return the directory of the one run of a kind whose monitor is in the log."""

    def known() -> list[str]:
        return [run.attempt for run in bench.state().open_attempts() if run.kind == kind and hasattr(run.phase, "pid")]

    return f"{bench.paths.attempts}/{wait_until(known, what=f'a run of kind {kind}')[0]}"


def test_f9_what_runs_ahead_ends_when_no_supervisor_comes_back(bench):
    """Nobody fires a hook any more: the session was killed with everything above it. The lease is a second here, else thirty."""
    hasty(bench)
    hold, script = gate(bench, "hold")
    hold.unlink()
    bench.tool("pytest", f"sleep 0.3; {script}")
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    bench.bash("pytest -q")
    hold.touch()
    bench.edit("src.py", "two\n")
    try:
        folder = run_of(bench, "ahead")
    except AssertionError:
        skip_if_busy()
        raise
    assert signal_process(bench.supervisor(), signal.SIGKILL)
    assert bundle.writing(folder)
    wait_until(lambda: not bundle.writing(folder), limit_s=LIMIT_S, what="its end")
    found = bundle.read_exit(folder)
    assert found is not None and found.end.how == "cancelled"


def test_f9_a_job_that_was_asked_for_goes_on_without_a_supervisor(bench):
    """Until it ends by itself; the next supervisor takes its end over."""
    hasty(bench)
    bench.begin()
    hold, script = gate(bench, "hold")
    job = ask(bench, "--keep", "--", "sh", "-c", script)
    folder = run_of(bench, "requested")
    assert signal_process(bench.supervisor(), signal.SIGKILL)
    began_s = time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > 2.0, what="two leases")
    assert bundle.writing(folder)
    hold.unlink()
    wait_until(lambda: not bundle.writing(folder), limit_s=LIMIT_S, what="its end")
    bench.hook("UserPromptSubmit", prompt="p")
    becomes(bench, job, Passed)
