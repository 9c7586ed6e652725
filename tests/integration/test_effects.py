"""What a command was seen to do decides what it may do later. What cannot be seen, the tools that may run ahead are shown not to do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto import observe, reach, render
from stretto.commands import check_of
from stretto.gates import QUIET_S
from stretto.model import AheadTold, AttemptSettled, AttemptStarted, JobFlipped, NewsTold
from stretto.testing.wait import wait_until
from stretto.tree import CACHES

LOOK = {"tool_use_id": "r", "tool_name": "Read", "tool_input": {}}
CLIENT = """
import socket, sys
way, where = sys.argv[1:3]
one = socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET)
if way == "serve":
    one.bind(("127.0.0.1", int(where)))
    one.listen()
elif way == "own":
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    one.connect(server.getsockname())
elif way == "unix":
    one.connect(where)
else:
    one.connect(("127.0.0.1", int(where)))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(way: str, folder: Path) -> Iterator[str]:
    """Somebody else's service: a port of loopback or a path."""
    with socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET) as server:
        server.bind(str(folder / "db.sock") if way == "unix" else ("127.0.0.1", 0))
        server.listen()
        thread = threading.Thread(target=_serve, args=(server,))
        thread.start()
        try:
            yield str(folder / "db.sock") if way == "unix" else str(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket) -> None:
    """Take everybody in until the server is shut down: a connection that was not taken in yet has no name at its other end."""
    taken = []
    try:
        while True:
            taken.append(server.accept()[0])
    except OSError:
        for each in taken:
            each.close()


@pytest.mark.skipif(not observe.LINUX, reason="reads /proc, which only Linux has")
@pytest.mark.parametrize(
    ("way", "seen"),
    [
        pytest.param("tcp", "use a service of this machine (port ", id="a port"),
        pytest.param("unix", "use a service of this machine (/", id="a path"),
        pytest.param("serve", "serve the fixed port ", id="its own fixed port"),
        pytest.param("own", "", id="a server of its own on a port that the kernel chose"),
    ],
)
def test_a_service_that_a_command_uses_is_seen_and_its_own_is_none(short: Path, way: str, seen: str):
    with listening("unix" if way == "unix" else "tcp", short) as where:
        port = str(_fixed_port()) if way == "serve" else where
        command = [
            "/bin/sh",
            "-c",
            '"$@"; :',
            "sh",
            sys.executable,
            "-I",
            "-S",
            "-c",
            CLIENT,
            way,
            port,
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdin
            assert process.stdout.readline() == b"ready\n"
            found = reach.reach(process.pid)
            process.stdin.close()
    assert not found.remote
    assert found.service.startswith(seen) if seen else found.service == ""


def _fixed_port() -> int:
    """A free port that the kernel would not choose."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(first - 1, 1024, -1):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    pytest.skip("every port is one that the kernel chooses")


@pytest.mark.skipif(not observe.LINUX, reason="reads /proc, which only Linux has")
def test_a_suite_that_uses_a_database_of_this_machine_is_recorded_and_never_run_ahead(bench: Bench):
    (bench.root / "src.py").write_text("one\n")
    with listening("tcp", bench.short) as port:
        hold = Path(bench.env["HOME"]) / "hold"
        hold.touch()
        client = bench.short / "client.py"
        client.write_text(CLIENT)
        waits = f"{{ while [ -e {hold} ]; do sleep 0.05; done; }}"
        bench.tool("ruff", "sleep 0.3; cat src.py")
        bench.tool("pytest", f"{waits} | {sys.executable} -I -S {client} tcp {port} > /dev/null; cat src.py")
        bench.begin()
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(bench.bash, "pytest -q")
            wait_until(lambda: bench.state().open_attempts(), what="its run")
            threading.Timer(1.0, hold.unlink).start()
            assert asked.result()[:2] == (b"one\n", 0)
    (settled,) = bench.events(AttemptSettled)
    assert settled.reached == f"use a service of this machine (port {port})"
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "replay"]
    _nothing_ahead_after_an_edit(bench)


def _nothing_ahead_after_an_edit(bench: Bench) -> None:
    """With another check as the witness: once that has run ahead, this one would have, too."""
    bench.bash("ruff check .")
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    state = bench.state()
    assert {state.jobs[event.job].name for event in bench.events(AttemptStarted) if event.kind == "ahead"} == {"ruff"}


@pytest.mark.parametrize("ignored", [True, False], ids=["ignored", "not ignored"])
def test_a_suite_that_leaves_a_test_database_is_recorded_and_never_run_ahead(bench: Bench, ignored: bool):
    """F45, F52: whether git ignores the file or not."""
    (bench.root / "src.py").write_text("one\n")
    if ignored:
        (bench.root / ".gitignore").write_text("test.db\n")
    make = (
        "import sqlite3; c = sqlite3.connect('test.db'); c.execute('create table if not exists t(a)'); "
        "c.execute('insert into t values (1)'); c.commit()"
    )
    bench.tool("ruff", "sleep 0.3; cat src.py")
    bench.tool("pytest", f'{sys.executable} -c "{make}"; cat src.py')
    bench.begin()
    for _ in range(2):
        assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    (job,) = bench.state().jobs.values()
    assert (job.products, job.mutating) == (ignored, not ignored)
    _nothing_ahead_after_an_edit(bench)
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)


# --- flaky ----------------------------------------------------------------------------------------------------------------------

FLAKY = 'n=$(cat "$HOME/n" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > "$HOME/n"; echo run $n; [ $((n % 5)) -ne 1 ]'
"""Fails at its first and then at each fifth run, and nothing in the project says so."""


def test_a9_a_flaky_check_is_labelled_and_never_in_the_way(bench: Bench):
    """F42: a failure is replayed once, then it runs again; two ends of one command on one tree are a flip."""
    bench.tool("pytest", FLAKY)
    bench.begin()
    ends = [bench.bash("pytest -q")[1] for _ in range(4)]
    assert ends == [1, 1, 0, 0]
    assert bench.did() == ["record", "replay", "record", "replay"]
    (flip,) = bench.events(JobFlipped)
    assert (flip.was, flip.now) == ("fail", "pass")
    (job,) = bench.state().jobs.values()
    assert render.flaky(job) == "flaky: failed, then passed, nothing changed"
    assert [one["reason"] for one in render.why(bench.state(), 9, 0.0) if one["do"] == "flaky"] == ["failed, then passed, nothing changed"]


def test_f49_what_failed_ahead_is_not_run_again_on_the_same_tree(bench: Bench):
    (bench.root / "code").write_text("0\n")
    bench.tool("pytest", "sleep 0.3; exit $(cat code)")
    bench.tool("ruff", "sleep 0.3; cat code")
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("code", "1\n")
    bench.settled(1, "ahead")
    bench.bash("ruff check .")  # plans are made at each of these
    for _ in range(3):
        bench.batch(LOOK)
    assert len([event for event in bench.events(AttemptStarted) if event.kind == "ahead"]) == 1
    bench.edit("code", "2\n")
    bench.settled(3, "ahead")


def test_an_end_that_changed_with_the_tree_is_no_flip(bench: Bench):
    (bench.root / "code").write_text("1\n")
    bench.tool("pytest", "exit $(cat code)")
    bench.begin()
    assert bench.bash("pytest -q")[1] == 1
    bench.edit("code", "0\n")
    assert bench.bash("pytest -q")[1] == 0
    assert bench.events(JobFlipped) == []


# --- what is told ---------------------------------------------------------------------------------------------------------------


def test_that_a_command_runs_ahead_is_told_once_ever_with_the_way_to_switch_it_off(bench: Bench):
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "sleep 0.3; cat src.py")
    bench.begin()
    bench.bash("pytest -q")
    assert bench.edit("src.py", "two\n") == ""
    bench.settled(1, "ahead")
    text = wait_until(lambda: bench.batch(LOOK), what="the notice")
    assert "pytest -q" in text
    assert "stretto.toml" in text
    assert "\n" not in text
    bench.edit("src.py", "three\n")
    bench.settled(2, "ahead")
    assert bench.batch(LOOK) == ""
    bench.stop()
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("src.py", "four\n")
    bench.settled(3, "ahead")
    assert bench.batch(LOOK) == ""
    assert len(bench.events(AheadTold)) == 1


@pytest.mark.parametrize(("last", "code"), [("no tests ran in 0.01s", 5), ("2 skipped in 0.01s", 0)])
def test_f43_a_run_that_tested_nothing_is_neither_a_pass_nor_a_failure_in_the_news(bench: Bench, last: str, code: int):
    """Its output and its exit code are joined all the same: that is what the command says."""
    (bench.root / "says").write_text("1 passed in 0.1s\n" if code else "1 failed in 0.1s\n")
    (bench.root / "code").write_text("0\n" if code else "1\n")
    bench.tool("pytest", "sleep 0.3; cat says; exit $(cat code)")
    bench.tool("ruff", "sleep 0.3; exit $(cat code)")
    bench.begin()
    bench.bash("pytest -q")
    bench.bash("ruff check .")
    bench.edit("says", last + "\n")
    bench.edit("code", f"{code}\n")
    bench.settled(2, "ahead")
    wait_until(lambda: [bench.batch(LOOK), *bench.events(NewsTold)][1:], limit_s=QUIET_S * 10, what="news of ruff")
    bench.batch(LOOK)
    names = {bench.state().jobs[event.job].name for event in bench.events(NewsTold)}
    assert names == {"ruff"}
    assert bench.bash("pytest -q")[:2] == (f"{last}\n".encode(), code)
    assert bench.did()[-1] == "replay"


# --- A-10 -----------------------------------------------------------------------------------------------------------------------

SYSTEM_CALLS = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,truncate,connect,sendto"
)
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
ELIGIBLE = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy", "--follow-imports=skip", "src/rules.py"],
    "pytest": ["pytest", "-q", "-p", "no:randomly", "tests"],
    "unittest": ["python", "-m", "unittest", "discover", "-s", "tests"],
}


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
@pytest.mark.parametrize("tool", ELIGIBLE)
def test_a10_what_may_run_ahead_writes_only_caches_and_calls_nobody(short: Path, tool: str):
    """On a part of this project, at its second run, since nothing runs ahead before it was seen; its temporary files have their place."""
    project, log, temporary = short / "project", short / "calls", short / "tmp"
    for name in ("src", "tests"):
        (project / name).mkdir(parents=True)
    temporary.mkdir()
    shutil.copy(Path(observe.__file__).with_name("rules.py"), project / "src" / "rules.py")
    (project / "tests" / "test_rules.py").write_text(
        "import tempfile, unittest\nclass Test(unittest.TestCase):\n"
        "    def test_a(self):\n        with tempfile.TemporaryDirectory() as folder:\n            open(folder + '/a', 'w').close()\n"
    )
    words = ELIGIBLE[tool]
    check = check_of(words[0], [word.encode() for word in words])
    assert check is not None
    assert check.ahead
    folder = Path(sys.executable).parent
    env = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HOME": str(short),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": str(short / "c"),
    }
    command = [str(folder / words[0]), *words[1:]]
    subprocess.run(command, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
    traced = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", f"trace={SYSTEM_CALLS}", "-o", str(log), *command]
    done = subprocess.run(traced, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    lines = log.read_text(errors="replace").splitlines()
    assert len(lines) > 10, done.stderr
    assert [line for line in lines if _calls_out(line)] == []
    assert [found for line in lines if (found := _wrote_outside(line, project, temporary))] == []


def _calls_out(line: str) -> bool:
    return "AF_INET" in line and not re.search(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"', line)


def _wrote_outside(line: str, project: Path, temporary: Path) -> str:
    """Return the path that a traced call wrote to and that no class of docs/join.md leaves out, "" when there is none."""
    call = line.split(None, 1)[-1].split("(", 1)[0]
    if call in ("connect", "sendto") or re.search(r" = -1 E", line) or (call in ("open", "openat") and not WRITING.search(line)):
        return ""
    names = PATH.findall(line)
    if not names:
        return ""
    at = re.search(r"\(AT_FDCWD<([^>]*)>|\(\d+<([^>]*)>", line)
    base = next(filter(None, at.groups()), str(project)) if at else str(project)
    path = os.path.normpath(os.path.join(base, names[-1]))
    parts = set(path.split("/"))
    cache = parts & set(CACHES)
    return "" if cache or path.startswith((str(temporary), "/dev/", "/proc/")) else path
