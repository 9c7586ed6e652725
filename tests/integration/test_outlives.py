"""What a session started outlives it: its group is signalled, its terminal goes, its orphans are adopted (C-7, F3, F15, F16).

The host here is a small program that runs our hook and `stretto run` as Claude Code's own children would be run: same session, same
group, same terminal, with many descriptors open that nobody may inherit.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import stretto
from integration.conftest import Bench
from stretto import install
from stretto.fold import Passed, Running, UnderWay
from stretto.system import LINUX, Process, identify, lives, signal_process
from stretto.testing import leftovers
from stretto.testing.wait import wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="looks into /proc")

LIMIT_S = 30
HOST = """
import ctypes, fcntl, json, os, signal, subprocess, sys, termios
spec = json.load(open(sys.argv[1]))
if spec["terminal"]:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if spec["reaper"]:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
held = os.open(spec["held"], os.O_RDWR | os.O_CREAT, 0o600)
for number in range(10, 256):
    os.dup2(held, number, inheritable=True)
env = dict(os.environ, CLAUDE_PID=str(os.getpid()))
said = []
for argv, text in spec["calls"]:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=env, close_fds=False)
    said.append([done.returncode, done.stdout, done.stderr])
with open(spec["said"] + ".new", "w") as file:
    json.dump(said, file)
os.rename(spec["said"] + ".new", spec["said"])
while True:
    signal.pause()
"""


class Host:
    """Claude Code as far as it matters here: one session with one job asked for."""

    def __init__(self, bench: Bench, script: str, *, terminal: bool = False, reaper: bool = False) -> None:
        self.bench, self.session = bench, str(uuid.uuid4())
        hook = install.entry(next(item for item in install.EVENTS if item.name == "SessionStart"), install.wiring(str(bench.base)))
        body = {"session_id": self.session, "cwd": str(bench.root), "hook_event_name": "SessionStart", "source": "startup"}
        run = [sys.executable, "-m", "stretto", "run", "--keep", "--", "sh", "-c", script]
        self.held = bench.short / "held"
        said = bench.short / "said"
        spec = {
            "calls": [[[hook["command"], *hook["args"]], json.dumps(body)], [run, ""]],
            "held": str(self.held),
            "said": str(said),
            "terminal": terminal,
            "reaper": reaper,
        }
        (bench.short / "spec").write_text(json.dumps(spec))
        env = {**bench.env, "CLAUDE_CODE_SESSION_ID": self.session, "CLAUDE_ENV_FILE": str(bench.env_file)}
        env |= {"STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": str(Path(stretto.__file__).parents[1])}
        self.master, slave = pty.openpty() if terminal else (-1, os.open("/dev/null", os.O_RDWR))
        argv = [sys.executable, "-c", HOST, str(bench.short / "spec")]
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=bench.root, start_new_session=True)
        os.close(slave)
        wait_until(lambda: said.exists() or self.process.poll() is not None, limit_s=LIMIT_S, what="the host's calls")
        start, asked = json.loads(said.read_text())
        assert (start[0], asked[0]) == (0, 0), (start, asked)
        self.job = asked[1].strip()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def hosts():
    there: list[Host] = []
    yield there
    for host in there:
        host.end()


def under_way(bench: Bench, job: str) -> tuple[Process, Process, Process]:
    """Return supervisor, monitor and worker of a job, once it runs."""

    def found() -> tuple[Process, Process, Process] | None:
        request = bench.state().requests[job]
        assert isinstance(request.phase, UnderWay) and request.attempt is not None
        phase = bench.state().attempts[request.attempt].phase
        assert isinstance(phase, Running)
        monitor = identify(phase.pid)
        children = Path(f"/proc/{phase.pid}/task/{phase.pid}/children").read_text().split()
        workers = [pid for pid in children if b"echo begin" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert monitor is not None and workers
        worker = identify(int(workers[0]))
        assert worker is not None
        return bench.supervisor(), monitor, worker

    return wait_until(found, limit_s=LIMIT_S, what="the job's worker")


def command(bench: Bench, *words: str) -> tuple[int, str]:
    """What the next session's command line says."""
    env = {**bench.env, "STRETTO_STATE_DIR": str(bench.base), "PYTHONPATH": str(Path(stretto.__file__).parents[1])}
    argv = [sys.executable, "-m", "stretto", *words]
    done = subprocess.run(argv, cwd=bench.root, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def targets(pid: int) -> list[str]:
    """Where the descriptors of a process lead."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def test_c7_nothing_of_a_hook_reaches_what_it_started_and_the_project_is_not_pinned(bench, hosts):
    hold = bench.short / "hold"
    hold.touch()
    host = Host(bench, f"echo begin; while [ -f {hold} ]; do sleep 0.02; done", terminal=True)
    hosts.append(host)
    supervisor, monitor, worker = under_way(bench, host.job)
    terminal = os.readlink(f"/proc/{host.process.pid}/fd/0")
    assert terminal.startswith("/dev/pts/") and targets(host.process.pid).count(str(host.held)) > 240
    for process in (supervisor, monitor, worker):
        assert not {str(host.held), terminal} & set(targets(process.pid))
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        group, session, tty = int(fields[2]), int(fields[3]), int(fields[4])
        assert group != os.getpgid(host.process.pid) and session != os.getsid(host.process.pid) and tty == 0
    for process in (supervisor, monitor):
        assert not os.readlink(f"/proc/{process.pid}/cwd").startswith(str(bench.root))
        assert not [target for target in targets(process.pid) if target.startswith(str(bench.root))]
    hold.unlink()
    wait_until(lambda: isinstance(bench.state().requests[host.job].phase, Passed), limit_s=LIMIT_S, what="its end")


@pytest.mark.parametrize("how", ["SIGHUP", "SIGTERM", "SIGKILL", "terminal closed"])
def test_f15_f16_a_job_outlives_its_host_and_the_next_session_finds_its_result(bench, hosts, how):
    """The group of the host is signalled, or its terminal hung up, right after the launch; once the supervisor is killed as well."""
    hold = bench.short / "hold"
    hold.touch()
    host = Host(bench, f"echo begin; while [ -f {hold} ]; do sleep 0.02; done; echo end; exit 5", terminal=how == "terminal closed")
    hosts.append(host)
    supervisor, monitor, worker = under_way(bench, host.job)
    if how == "terminal closed":
        os.close(host.master)
        host.master = -1
    else:
        os.killpg(host.process.pid, getattr(signal, how))
    host.process.wait(timeout=LIMIT_S)
    if how == "SIGKILL":
        signal_process(supervisor, signal.SIGKILL)
        wait_until(lambda: not lives(supervisor), what="the supervisor's end")
        assert bench.hook("SessionStart", source="startup").returncode == 0
    assert lives(monitor) and lives(worker)
    hold.unlink()
    code, said = command(bench, "wait", host.job)
    assert code == 5, said
    assert "exit 5" in command(bench, "status")[1]
    assert command(bench, "logs", host.job) == (0, "begin\nend\n")
    assert bench.state().anomaly_count == 0


@pytest.mark.parametrize("how", ["cancel", "monitor killed"])
def test_f3_orphans_that_another_reaper_adopts_are_ended_all_the_same(bench, hosts, how):
    """As under `systemd --user`: who is orphaned gets neither pid 1 nor one of us for a parent, but the host here."""
    left = bench.short / "left"
    script = f"echo begin; (setsid sh -c 'echo $$ > {left}; exec sleep 300' &); sleep 300"
    host = Host(bench, script, reaper=True)
    hosts.append(host)
    supervisor, monitor, _ = under_way(bench, host.job)
    parent = int(Path(f"/proc/{supervisor.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert parent == host.process.pid, "an orphan of the host's hook is the host's"
    wait_until(lambda: left.exists() and left.read_text().strip(), what="an orphan of the worker")
    orphan = identify(int(left.read_text()))
    assert orphan is not None
    if how == "cancel":
        assert command(bench, "cancel", host.job)[0] == 0
    else:
        signal_process(monitor, signal.SIGKILL)
    wait_until(lambda: not lives(orphan), limit_s=LIMIT_S, what="the orphan's end")
    wait_until(lambda: bench.state().requests[host.job].over, limit_s=LIMIT_S, what="its record")
    assert not isinstance(bench.state().requests[host.job].phase, Passed)
    wait_until(
        lambda: not [item for item in leftovers.find(str(bench.short)) if "sleep" in item.name()], limit_s=LIMIT_S, what="nothing left"
    )
