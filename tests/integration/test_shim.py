"""The shim against a stub supervisor: whatever happens to us, the command runs once, prints what it prints and ends as it ends.

One file over 500 lines, because it is one promise put to one program in every state of the world around it. The command shapes are
tests/shapes; here is what a table of command lines cannot show: signals, deaths at given moments, damaged files, hung peers.
"""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from shapes import shell
from shapes.stub import Stub, project_state
from shapes.world import World, make_program
from stretto import bundle, observe, rpc, shellenv, shellscripts, shim, trust
from stretto.testing.wait import wait_until

SHELLS = ("bash", "zsh")
LINUX_ONLY = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux's")

STEPS = """#!/bin/sh
echo "first line"
echo $$ >"$AT/pid"
trap 'echo TERM >>"$AT/terms"; exit 7' TERM
while [ ! -e "$AT/go" ]; do sleep 0.01; done
echo "last line"
exit 3
"""
"""A command a test holds in the middle: it says where it is in $AT and goes on when $AT/go is there."""
WHOLE = b"first line\nlast line\n"


@pytest.fixture
def world(short: Path) -> World:
    world = World(short)
    make_program(world.tools / "mypy", STEPS)
    return world


@pytest.fixture
def stub(world: World) -> Iterator[Stub]:
    stub = Stub(world.base, world.root)
    yield stub
    stub.close()


class Held:
    """A call of the STEPS command by its PATH entry, under the test's control."""

    def __init__(self, world: World, *, text: str = "", shell_name: str = "bash", stdout: int | None = None) -> None:
        self.at = world.place / "at"
        shutil.rmtree(self.at, ignore_errors=True)
        self.at.mkdir()
        env = world.env() | {"AT": str(self.at)}
        self.output = world.place / "held-output"
        self.output.unlink(missing_ok=True)
        descriptor = os.open(self.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        argv = [shell.SHELLS[shell_name], "-c", world.env_text() + text] if text else [str(world.base / "bin" / "mypy")]
        out = descriptor if stdout is None else stdout
        try:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=descriptor, env=env, cwd=world.root, start_new_session=True
            )
        finally:
            os.close(descriptor)

    def child(self) -> int:
        """Return the pid of the command itself, once it stands in the middle."""
        return number(self.at / "pid")

    def go(self) -> None:
        (self.at / "go").touch()

    def printed(self) -> bytes:
        return self.output.read_bytes()

    def terms(self) -> int:
        return len((self.at / "terms").read_text().split()) if (self.at / "terms").exists() else 0


def call(world: World, name: str, *words: str, env: Mapping[str, str] | None = None, **how: object) -> subprocess.CompletedProcess[bytes]:
    """Run a tool by its PATH entry, as `timeout` or `make` would."""
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "capture_output": True, "cwd": world.root, "check": False, "timeout": 60}
    settings |= how
    argv = [str(world.base / "bin" / name), *words]
    return subprocess.run(argv, env=world.env() | dict(env or {}), **settings)  # type: ignore[call-overload,no-any-return]


def native(world: World, name: str, *words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "capture_output": True, "cwd": world.root, "check": False} | how
    argv = [str(world.tools / name), *words]
    return subprocess.run(argv, env=world.env(), **settings)  # type: ignore[call-overload,no-any-return]


def same(one: subprocess.CompletedProcess[bytes], other: subprocess.CompletedProcess[bytes]) -> bool:
    return (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


def bash(world: World, name: str, text: str, env_text: str, snapshot: str = "") -> shell.Result:
    place = world.place / "calls"
    shutil.rmtree(place, ignore_errors=True)
    return shell.run(name, text, env_text=env_text, env=world.env(), cwd=world.root, place=place, snapshot=snapshot)


def number(path: Path) -> int:
    """Return the number a command of the test writes into a file, once it is whole."""
    return int(wait_until(lambda: path.read_text().endswith("\n") and path.read_text(), what=f"a number in {path.name}"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int) -> bool:
    return not alive(pid)


# --- agreement with the package ---------------------------------------------------------------------------------------------


def test_the_shim_says_the_same_of_its_context_as_the_supervisor_of_its_own():
    assert shim.context() == observe.own_context()


def test_the_shim_finds_a_project_where_the_package_puts_it(world, stub):
    assert stub.state.name == trust.project_key(str(world.root))
    assert shim.granted(os.fsencode(world.base), os.fsencode(world.root / "sub")) == os.fsencode(stub.state)


def test_what_a_call_is_arrives_whole(world, stub):
    call(world, "ruff", "check", "a b", "", os.fsdecode(b"caf\xe9"), env={"X": "1\n2", "LC_CTYPE": "C"})
    (message,) = stub.calls
    assert message["op"] == b"invoke"
    assert message["argv"] == b"ruff\0check\0a b\0\0caf\xe9"
    assert message["exe"] == os.fsencode(world.tools / "ruff")
    assert message["cwd"] == os.fsencode(world.root)
    assert (message["via"], message["streams"], message["name"], message["stdin"]) == (b"path", b"split", b"ruff", b"null")
    env = dict(entry.split(b"=", 1) for entry in message["env"].split(b"\0"))
    assert env[b"X"] == b"1\n2"
    assert message["session"] == env[b"CLAUDE_CODE_SESSION_ID"]


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LANG": "C"}, {"LC_CTYPE": "POSIX"}])
def test_the_interpreters_own_locale_does_not_reach_the_command(world, stub, locale):
    """Python puts LC_CTYPE into its environment when the locale is C."""
    make_program(world.tools / "tsc", "#!/bin/sh\nenv | grep '^L[AC]' | sort\n")
    env = {name: value for name, value in world.env().items() if name != "LANG"} | locale
    argv = [str(world.base / "bin" / "tsc")]
    done = subprocess.run(argv, env=env, cwd=world.root, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{name}={value}\n" for name, value in locale.items())
    assert stub.answers == [b"record"]


# --- when not to ask --------------------------------------------------------------------------------------------------------


def with_terminal(world: World) -> None:
    ours, theirs = pty.openpty()
    call(world, "ruff", capture_output=False, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert os.read(ours, 1000).startswith(b"ruff starts")
    os.close(ours)


def with_a_descriptor(world: World) -> None:
    with open(world.root / "three", "wb") as file:
        assert call(world, "ruff", pass_fds=(file.fileno(),)).stdout.startswith(b"ruff starts")


def with_closed(redirect: str) -> Callable[[World], None]:
    def odd(world: World) -> None:
        subprocess.run(["/bin/sh", "-c", f"exec ruff {redirect}"], env=shown(world), cwd=world.root, stdin=subprocess.DEVNULL, check=False)

    return odd


def shown(world: World) -> dict[str, str]:
    return world.env() | {"PATH": f"{world.base}/bin:{world.search_path}"}


def with_env(**env: str) -> Callable[[World], None]:
    def odd(world: World) -> None:
        assert same(call(world, "ruff", env=env), native(world, "ruff"))

    return odd


def without_grant(world: World) -> None:
    (project_state(world.base, world.root) / "grant").unlink()
    assert same(call(world, "ruff"), native(world, "ruff"))


def in_a_nested_repository(world: World) -> None:
    """F34: a repository in the project is a project of its own."""
    (world.root / "sub" / ".git").mkdir()
    assert same(call(world, "ruff", cwd=world.root / "sub"), native(world, "ruff", cwd=world.root / "sub"))


def outside(world: World) -> None:
    assert same(call(world, "ruff", cwd=world.home), native(world, "ruff", cwd=world.home))


def from_a_pipe(world: World) -> None:
    """F17: what a command could read from is left to it."""
    done = subprocess.run(["ruff", "--stdin"], env=shown(world), cwd=world.root, input=b"text\n", capture_output=True, check=True)
    assert done.stdout.endswith(b"text\nruff ends with 0\n")


ODD = {
    "a terminal": with_terminal,
    "a descriptor above 2": with_a_descriptor,
    "closed input": with_closed("<&-"),
    "closed output": with_closed(">&- 2>/dev/null"),
    "closed error output": with_closed("2>&- >/dev/null"),
    "a full device": with_closed(">/dev/full 2>/dev/null"),
    "STRETTO=off": with_env(STRETTO="off"),
    "STRETTO_FRESH": with_env(STRETTO_FRESH="1"),
    "inside an ahead run": with_env(STRETTO_WORKER="abc"),
    "no grant": without_grant,
    "a nested repository": in_a_nested_repository,
    "outside any project": outside,
    "input from a pipe": from_a_pipe,
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_call_is_executed_and_nobody_is_asked(world, stub, odd):
    ODD[odd](world)
    assert stub.calls == []


def test_an_ordinary_call_is_asked_about_from_any_folder_of_the_project(world, stub):
    call(world, "ruff", cwd=world.root / "sub")
    assert len(stub.calls) == 1


def test_a_state_directory_of_any_length_has_a_socket(short):
    """The kernel takes 107 bytes of address; we go there instead."""
    deep = short / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    world = World(deep)
    stub = Stub(world.base, world.root)
    try:
        assert same(call(world, "ruff"), native(world, "ruff"))
        assert stub.answers == [b"record"]
        assert stub.calls[0]["cwd"] == os.fsencode(world.root)
    finally:
        stub.close()


def test_a_removed_working_directory_changes_nothing(world, stub):
    """F33."""
    text = "cd sub && rm -r ../sub && ruff check; echo $?"
    expected = bash(world, "bash", text, ":\n").out
    world.reset()
    assert bash(world, "bash", text, world.env_text()).out == expected


# --- supervisors that fail --------------------------------------------------------------------------------------------------


class Peer:
    """Somebody on the project's socket who is no supervisor of ours."""

    def __init__(self, world: World, backlog: int = 16) -> None:
        state = project_state(world.base, world.root)
        state.mkdir(parents=True, exist_ok=True)
        (state / "grant").touch()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(state / "s"))
        self.listener.listen(backlog)
        self.path = str(state / "s")

    def close(self) -> None:
        self.listener.close()


def test_a_supervisor_that_hangs_does_not_keep_the_command(world):
    """As if stopped by SIGSTOP: the kernel accepts for it, and nothing ever comes."""
    peer = Peer(world)
    assert same(call(world, "ruff", "--fail"), native(world, "ruff", "--fail"))
    peer.close()


def test_a_supervisor_whose_queue_is_full_does_not_keep_the_command(world):
    peer = Peer(world, backlog=0)
    waiting = []
    for _ in range(4):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        waiting.append(one)
        try:
            one.connect(peer.path)
        except BlockingIOError:
            break
    else:
        pytest.fail("the queue never filled")
    assert same(call(world, "ruff", "--fail"), native(world, "ruff", "--fail"))
    for one in waiting:
        one.close()
    peer.close()


def test_a_socket_nobody_listens_on_does_not_keep_the_command(world):
    Peer(world).close()
    assert same(call(world, "ruff", "--fail"), native(world, "ruff", "--fail"))


NO_ANSWERS: dict[str, rpc.Message] = {
    "nothing": {},
    "unknown": {"do": b"dance"},
    "exec": {"do": b"exec", "reason": b"no check"},
    "record without a directory": {"do": b"record"},
    "record in a missing directory": {"do": b"record", "dir": b"/nowhere/at/all"},
    "join without a directory": {"do": b"join"},
    "join of a missing directory": {"do": b"join", "dir": b"/nowhere/at/all"},
    "join of a file": {"do": b"join", "dir": b"/dev/null"},
}


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_an_answer_that_cannot_be_done_is_executed_once(world, stub, answer):
    make_program(world.tools / "tsc", '#!/bin/sh\necho run >>"$HOME/runs"\necho said\nexit 4\n')
    stub.decide = lambda message: {"do": b"", **NO_ANSWERS[answer]}
    done = call(world, "tsc")
    assert (done.returncode, done.stdout, done.stderr) == (4, b"said\n", b"")
    assert (world.home / "runs").read_text() == "run\n"


@pytest.mark.parametrize(
    "reply", [b"", b"\0", b"\0\0\0\x04abc", b"\xff\xff\xff\xff" + b"x" * 100, b"\0\0\0\x04\xff\xff\xff\xff", b"HTTP/1.1 400\r\n\r\n"]
)
def test_a_reply_that_is_no_message_is_executed(world, reply):
    peer = Peer(world)
    process = subprocess.Popen(
        [str(world.base / "bin" / "ruff"), "--fail"], env=world.env(), cwd=world.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    connection, _ = peer.listener.accept()
    connection.recv(1 << 20)
    connection.sendall(reply)
    connection.close()
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, native(world, "ruff", "--fail").stdout)
    peer.close()


def test_a_supervisor_killed_in_the_middle_of_a_recorded_run_is_not_missed(world, stub):
    held = Held(world)
    held.child()
    wait_until(lambda: stub.reported("started"))
    stub.close()
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == WHOLE
    (folder,) = stub.attempts.iterdir()
    found = bundle.read_exit(str(folder))
    assert found is not None
    assert (found.end.how, found.end.value, found.out_bytes) == ("code", 3, len(WHOLE))


def test_the_state_directory_removed_in_the_middle_of_a_recorded_run_is_not_missed(world, stub):
    held = Held(world)
    held.child()
    wait_until(lambda: stub.reported("started"))
    shutil.rmtree(world.base)
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == WHOLE


# --- recording --------------------------------------------------------------------------------------------------------------


def test_a_recorded_run_holds_its_lock_and_leaves_everything_behind(world, stub):
    held = Held(world)
    child = held.child()
    wait_until(lambda: stub.reported("started"))
    (folder,) = stub.attempts.iterdir()
    assert bundle.writing(str(folder))
    assert bundle.read_exit(str(folder)) is None
    assert int(stub.reported("started")[0]["pid"]) == child
    wait_until(lambda: (folder / "out").read_bytes() == held.printed() == b"first line\n", what="seen live, in both places")
    held.go()
    assert held.process.wait(30) == 3
    wait_until(stub.idle)
    assert not bundle.writing(str(folder))
    assert (folder / "out").read_bytes() == WHOLE
    report = stub.reported("exited")[0]
    assert (report["how"], report["value"], report["out"], report["err"], report["left"]) == (b"code", b"3", b"21", b"0", b"0")
    assert sorted(path.name for path in folder.iterdir()) == ["exit", "lock", "out"]


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_the_order_of_two_streams_is_kept_as_it_was_seen(world, stub, kind):
    """F44. The command waits between its lines, so that there is an order to be seen."""
    make_program(world.tools / "tsc", "#!/bin/sh\nfor at in 1 2 3; do echo o$at; sleep 0.1; echo e$at >&2; sleep 0.1; done\n")
    if kind == "pipe":
        call(world, "tsc")
    else:
        with open(world.root / "o", "wb") as out, open(world.root / "e", "wb") as err:
            call(world, "tsc", capture_output=False, stdout=out, stderr=err)
        assert ((world.root / "o").read_bytes(), (world.root / "e").read_bytes()) == (b"o1\no2\no3\n", b"e1\ne2\ne3\n")
    wait_until(stub.idle)
    (folder,) = stub.attempts.iterdir()
    order = [chunk.data for chunk in bundle.follow(str(folder), live=False)]
    assert b"".join(order) == b"o1\ne1\no2\ne2\no3\ne3\n"


def test_the_command_gets_the_kind_of_output_it_would_have_had(world, stub):
    held = Held(world)
    status = os.stat(f"/proc/{held.child()}/fd/1")
    flags = Path(f"/proc/{held.child()}/fdinfo/1").read_text()
    held.go()
    held.process.wait(30)
    assert (status.st_mode & 0o170000, int(flags.split("flags:")[1].split()[0], 8) & os.O_APPEND) == (0o100000, os.O_APPEND)


def test_nothing_but_its_three_descriptors_reaches_the_command(world, stub):
    """F18."""
    held = Held(world)
    descriptors = sorted(os.listdir(f"/proc/{held.child()}/fd"))
    held.go()
    held.process.wait(30)
    assert [name for name in descriptors if name != "10"] == ["0", "1", "2"]  # dash keeps its script at 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_much_output_passes_whole_in_constant_memory(world, stub, kind):
    """40 MB, and the shim's own peak looked at while it still lives."""
    text = 'head -c 40000000 /dev/zero | tr "\\0" x\necho $PPID >"$HOME/shim"\nread -r line <"$HOME/go"\n'
    make_program(world.tools / "tsc", "#!/bin/sh\n" + text)
    os.mkfifo(world.home / "go")
    path = world.place / "much"
    with open(path, "wb") as out:
        process = subprocess.Popen(
            [str(world.base / "bin" / "tsc")],
            env=world.env(),
            cwd=world.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if kind == "pipe" else out,
            stderr=subprocess.DEVNULL,
        )
        if kind == "pipe":
            assert process.stdout is not None
            count = 0
            while count < 40_000_000:
                count += len(process.stdout.read(min(1 << 20, 40_000_000 - count)))
        else:
            wait_until(lambda: path.stat().st_size == 40_000_000, limit_s=60)
        pid = number(world.home / "shim")
        peak_kib = int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])
        with open(world.home / "go", "w") as go:
            go.write("on\n")
        assert process.wait(30) == 0
        if process.stdout:
            assert process.stdout.read() == b""
            process.stdout.close()
    assert peak_kib < 24 * 1024
    wait_until(stub.idle)
    assert stub.reported("exited")[0]["out"] == b"40000000"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_output_too_long_to_keep_passes_whole_and_is_never_a_result(world, stub, kind):
    make_program(world.tools / "tsc", '#!/bin/sh\nhead -c 100000000 /dev/zero | tr "\\0" x\n')
    path = world.place / "much"
    with open(path, "wb") as out:
        if kind == "file":
            code = call(world, "tsc", capture_output=False, stdout=out, stderr=subprocess.DEVNULL).returncode
        else:
            argv = ["/bin/sh", "-c", f"'{world.base}/bin/tsc' 2>/dev/null | cat"]
            code = subprocess.run(argv, env=world.env(), cwd=world.root, stdin=subprocess.DEVNULL, stdout=out, check=False).returncode
    assert (code, path.stat().st_size) == (0, 100_000_000)
    with open(path, "rb") as file:
        assert set(iter(lambda: file.read(1 << 20).strip(b"x"), b"")) == set()
    path.unlink()
    wait_until(stub.idle)
    assert stub.reported("exited")[0]["how"] == b"oversize"
    (folder,) = stub.attempts.iterdir()
    taken = sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder))
    assert taken < 90_000_000


# --- ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 127, 128, 139, 255])
def test_an_exit_code_is_passed_on_as_a_miss_and_as_a_hit(world, stub, code):
    for answer in (b"record", b"join"):
        assert call(world, "ruff", f"--code={code}").returncode == code
        wait_until(stub.idle)
        assert stub.answers[-1] == answer


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGPIPE])
def test_a_death_by_signal_is_a_death_by_signal_as_a_miss_and_as_a_hit(world, stub, number):
    for answer in (b"record", b"join"):
        assert call(world, "ruff", f"--signal={number.name[3:]}").returncode == -number
        wait_until(stub.idle)
        assert stub.answers[-1] == answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_the_shim_alone_reaches_the_command(world, stub, number):
    """What `kill $!` and `timeout` do. The result is never used: it was ended from outside."""
    make_program(world.tools / "mypy", STEPS.replace("TERM >>", f"{number.name[3:]} >>").replace("' TERM", f"' {number.name[3:]}"))
    held = Held(world)
    held.child()
    held.process.send_signal(number)
    assert held.process.wait(30) == 7
    assert held.terms() == 1
    wait_until(stub.idle)
    assert (stub.reported("exited")[0]["how"], int(stub.reported("exited")[0]["value"])) == (b"cancelled", number)


def test_a_signal_to_the_whole_group_reaches_a_command_that_heeds_it_exactly_once(world, stub):
    held = Held(world)
    held.child()
    os.killpg(held.process.pid, signal.SIGTERM)
    assert held.process.wait(30) == 7
    assert held.terms() == 1


def test_a_signal_the_caller_ignores_is_ignored(world, stub):
    """nohup: the shim must not make a signal deadly that was not."""
    held = Held(world, text=f"trap '' HUP; '{world.base}/bin/mypy'; exit $?")
    child = held.child()
    (shim_pid,) = [pid for pid in observe.ancestors(child)][:1]
    os.kill(shim_pid, signal.SIGHUP)
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == WHOLE


@LINUX_ONLY
def test_a_killed_shim_leaves_no_survivor(world, stub):
    held = Held(world)
    child = held.child()
    held.process.kill()
    held.process.wait(30)
    wait_until(lambda: gone(child))
    wait_until(stub.idle)
    (folder,) = stub.attempts.iterdir()
    assert not bundle.writing(str(folder))
    assert bundle.read_exit(str(folder)) is None, "nobody knows how it would have ended"


HELD_BY = {
    "a recorded function": "mypy & echo $! >$AT/job; wait",
    "an executed function": "STRETTO=off mypy & echo $! >$AT/job; wait",
    "a PATH entry": "command mypy & echo $! >$AT/job; wait",
    "another python": "python $HOME/steps & echo $! >$AT/job; wait",
    "a subshell": "(cd . && mypy) & echo $! >$AT/job; wait",
}


@LINUX_ONLY
@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("held_by", HELD_BY)
def test_kill_of_the_last_job_ends_the_command(world, stub, held_by, shell_name):
    """`pytest & kill $!` kills the subshell of a function, and what it stands for."""
    (world.home / "steps").write_text(STEPS)
    held = Held(world, text=HELD_BY[held_by], shell_name=shell_name)
    child = held.child()
    os.kill(number(held.at / "job"), signal.SIGTERM)
    if held_by == "a subshell" and shell_name == "zsh":
        os.kill(child, signal.SIGTERM)  # natively, too, the subshell alone dies there
    wait_until(lambda: gone(child))
    held.process.wait(30)
    assert held.terms() <= 1


@pytest.mark.parametrize("shell_name", SHELLS)
def test_the_end_of_the_shell_does_not_end_what_it_left_running(world, stub, shell_name):
    """`pytest & echo started`: natively it lives on, so it must with us."""
    held = Held(world, text="mypy & echo started", shell_name=shell_name)
    child = held.child()
    assert held.process.wait(30) == 0
    wait_until(lambda: stub.reported("started"))
    assert alive(child)
    held.go()
    wait_until(lambda: held.printed().endswith(b"last line\n"))
    wait_until(stub.idle)
    assert stub.reported("exited")[0]["how"] == b"code"


# --- pipes whose reader leaves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("before", ["", "trap '' PIPE; "])
def test_a_reader_that_leaves_is_met_as_natively(world, stub, shell_name, before):
    """`yes | head -1`: Python ignores SIGPIPE and would hand that on; where the shell itself ignores it, it stays ignored."""
    (world.tools / "tsc").unlink()
    (world.tools / "tsc").symlink_to(shutil.which("yes") or "/usr/bin/yes")
    status = "${PIPESTATUS[@]}" if shell_name == "bash" else "$pipestatus"
    text = f"{before}tsc 2>err | head -1; echo {status}; cat err"
    expected = bash(world, shell_name, text, ":\n")
    assert bash(world, shell_name, text, world.env_text()).out == expected.out
    wait_until(stub.idle)
    assert stub.answers == [b"record"]
    assert stub.reported("exited")[0]["how"] == b"cancelled"


def test_a_reader_that_leaves_a_joined_run_ends_it(world, stub):
    make_program(world.tools / "tsc", "#!/bin/sh\nseq 1 200000\n")
    call(world, "tsc")
    wait_until(stub.idle)
    argv = ["/bin/bash", "-c", f"'{world.base}/bin/tsc' | head -1; echo ${{PIPESTATUS[@]}}"]
    done = subprocess.run(argv, env=world.env(), cwd=world.root, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout == b"1\n141 0\n"
    assert stub.answers == [b"record", b"join"]


# --- what a command leaves running ------------------------------------------------------------------------------------------

LEAVING = """#!/bin/sh
echo "its own"
( while [ ! -e "$AT/go" ]; do sleep 0.01; done; echo "said later" ) &
exit 5
"""


def test_a_process_left_behind_does_not_keep_the_call_and_is_still_heard(world, stub):
    """F18, F19: the call returns at once; what is printed later goes where it would have gone, natively."""
    make_program(world.tools / "mypy", LEAVING)
    held = Held(world)
    assert held.process.wait(30) == 5
    assert held.printed() == b"its own\n"
    held.go()
    wait_until(lambda: held.printed() == b"its own\nsaid later\n")
    wait_until(stub.idle)
    report = stub.reported("exited")[0]
    assert (report["how"], report["left"], report["out"]) == (b"code", b"1", b"8")
    (folder,) = stub.attempts.iterdir()
    found = bundle.read_exit(str(folder))
    assert found is not None
    assert found.end.how == "lost", "what it printed until then is not all of it: never a result"


def test_a_pipe_ends_when_the_last_process_left_behind_lets_go_of_it(world, stub):
    make_program(world.tools / "mypy", LEAVING)
    reader, writer = os.pipe()
    held = Held(world, stdout=writer)
    os.close(writer)
    assert held.process.wait(30) == 5
    assert os.read(reader, 100) == b"its own\n"
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    os.set_blocking(reader, True)
    held.go()
    assert os.read(reader, 100) == b"said later\n"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_a_process_left_behind_loses_its_reader_as_natively(world, stub):
    make_program(world.tools / "mypy", '#!/bin/sh\n( echo $$ >"$AT/pid"; yes; echo >"$AT/over" ) &\nexit 0\n')
    reader, writer = os.pipe()
    held = Held(world, stdout=writer)
    os.close(writer)
    held.process.wait(30)
    os.read(reader, 10)
    os.close(reader)
    wait_until(lambda: (held.at / "over").exists(), what="the end of `yes`")


# --- joining ----------------------------------------------------------------------------------------------------------------


class Run:
    """A run of somebody else, written into a bundle step by step; `die` is what the kernel does to a killed writer."""

    def __init__(self, stub: Stub, *, split: bool = False) -> None:
        self.folder = stub.new_bundle()
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for name in ("out", "err", "frames") if split else ("out",):
            (self.folder / name).touch()
        self.split = split
        stub.decide = lambda message: {"do": b"join", "dir": os.fsencode(self.folder), "attempt": b"x"}

    def prints(self, data: bytes, stream: int = 1) -> None:
        with open(self.folder / ("out" if stream == 1 else "err"), "ab") as file:
            file.write(data)
        if self.split:
            with open(self.folder / "frames", "ab") as file:
                file.write(bytes([stream]) + len(data).to_bytes(4, "big"))

    def ends(self, line: str) -> None:
        aside = self.folder / "aside"
        aside.write_text(line + "\n")
        aside.rename(self.folder / "exit")
        self.die()

    def die(self) -> None:
        os.close(self._lock)


def test_a_running_run_is_printed_as_it_goes_on_and_ended_as_it_ends(world, stub):
    run = Run(stub)
    run.prints(b"before ")
    held = Held(world)
    wait_until(lambda: held.printed() == b"before ")
    run.prints(b"during ")
    wait_until(lambda: held.printed() == b"before during ")
    run.prints(b"after")
    run.ends("code 9 19 0")
    assert held.process.wait(30) == 9
    assert held.printed() == b"before during after"
    wait_until(stub.idle)
    assert stub.reported("joined")[0]["ok"] == b"1"


def test_a_run_that_has_only_just_begun_is_waited_for(world, stub):
    """Between the supervisor's two answers the writer has not made its files yet."""
    folder = stub.new_bundle()
    asked = []
    stub.decide = lambda message: asked.append(1) or {"do": b"join", "dir": os.fsencode(folder), "attempt": b"x"}
    held = Held(world)
    wait_until(lambda: asked)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "out").write_bytes(b"text")
    (folder / "exit").write_bytes(b"code 6 4 0\n")
    os.close(lock)
    assert held.process.wait(30) == 6
    assert held.printed() == b"text"


def test_a_split_run_is_printed_in_its_order_on_its_streams(world, stub):
    run = Run(stub, split=True)
    for data, stream in ((b"o1 ", 1), (b"e1 ", 2), (b"o2 ", 1), (b"e2 ", 2)):
        run.prints(data, stream)
    run.ends("code 1 6 6")
    done = call(world, "ruff")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"o1 o2 ", b"e1 e2 ")


def test_a_supervisor_killed_in_the_middle_of_an_attached_run_is_not_missed(world, stub):
    run = Run(stub)
    run.prints(b"before ")
    held = Held(world)
    wait_until(lambda: held.printed() == b"before ")
    stub.close()
    run.prints(b"after")
    run.ends("code 9 12 0")
    assert held.process.wait(30) == 9
    assert held.printed() == b"before after"


def lose(run: Run) -> None:
    run.die()


LOSSES: dict[str, Callable[[Run], None]] = {
    "its writer is killed": lose,
    "it is cancelled": lambda run: run.ends("cancelled 15 11 0"),
    "it times out": lambda run: run.ends("timeout 0 11 0"),
    "its exit counts bytes that are not there": lambda run: run.ends("code 0 999 0"),
    "its exit is damaged": lambda run: run.ends("code 0"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_lost_in_the_middle_is_run_for_real_and_nothing_is_printed_twice(world, stub, loss):
    run = Run(stub)
    run.prints(b"first line\n")
    held = Held(world)
    wait_until(lambda: held.printed() == b"first line\n")
    LOSSES[loss](run)
    held.child()
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == WHOLE
    wait_until(stub.idle)
    assert stub.reported("joined")[0]["ok"] == b"0"


def test_a_lost_run_through_a_pipe_is_run_for_real_and_nothing_is_printed_twice(world, stub):
    run = Run(stub, split=True)
    run.prints(b"first line\n")
    reader, writer = os.pipe()
    held = Held(world, stdout=writer)
    os.close(writer)
    assert os.read(reader, 100) == b"first line\n"
    run.die()
    held.child()
    held.go()
    assert held.process.wait(30) == 3
    with open(reader, "rb") as file:
        assert file.read() == b"last line\n"


def test_a_lost_run_that_printed_something_else_is_followed_by_the_whole_real_output(world, stub):
    run = Run(stub)
    run.prints(b"first other\n")
    held = Held(world)
    wait_until(lambda: held.printed() == b"first other\n")
    run.die()
    held.child()
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == b"first other\n" + WHOLE


def test_a_run_lost_before_a_byte_was_printed_is_executed_in_place(world, stub):
    run = Run(stub)
    held = Held(world)
    wait_until(lambda: stub.calls)
    run.die()
    assert held.child() == held.process.pid
    held.go()
    assert held.process.wait(30) == 3
    assert held.printed() == WHOLE


def test_a_finished_run_whose_output_is_gone_is_executed(world, stub):
    run = Run(stub)
    run.ends("code 0 5 0")
    assert same(call(world, "ruff", "--fail"), native(world, "ruff", "--fail"))


def test_a_joined_run_is_ended_by_a_signal_as_a_command_would_be(world, stub):
    run = Run(stub)
    run.prints(b"before ")
    held = Held(world)
    wait_until(lambda: held.printed() == b"before ")
    held.process.send_signal(signal.SIGTERM)
    assert held.process.wait(30) == -signal.SIGTERM
    run.die()


# --- the session file, the entries, and their ruin ---------------------------------------------------------------------------


def damage_nothing(session: Path) -> None:
    assert session.exists()


def write(text: str) -> Callable[[Path], None]:
    return lambda session: session.write_text(text) and None


def directory(session: Path) -> None:
    session.unlink()
    session.mkdir()


STATES: dict[str, Callable[[Path], object]] = {
    "whole": damage_nothing,
    "missing": lambda session: session.unlink(),
    "unreadable": lambda session: session.chmod(0),
    "syntax error": write("function pytest { ( ;\n"),
    "exit": write("exit 3\n"),
    "set -e": write("set -e\nfalse\n"),
    "set -u": write("set -u\necho $not_there\n"),
    "noise": write("echo noise\necho noise >&2\n:\n"),
    "very long": write("# a long line of nothing\n" * 40_000 + ":\n"),
    "binary": lambda session: session.write_bytes(bytes(range(256)) * 40),
    "directory": directory,
}
PROBE = "echo one; pytest -q 2>&1 | tail -1; (exit 4); echo $?; cd sub; echo two"


@pytest.mark.parametrize("mode", ["", "posix"])
@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("state", STATES)
def test_no_state_of_the_session_file_breaks_a_bash_call(world, shell_name, state, mode):
    """F22 for shells."""
    snapshot = {"": "", "posix": "set -o posix\n" if shell_name == "bash" else "emulate sh\n"}[mode]
    expected = bash(world, shell_name, PROBE, ":\n", snapshot)
    STATES[state](world.session)
    assert bash(world, shell_name, PROBE, world.env_text(), snapshot) == expected


RUINS: dict[str, Callable[[World], object]] = {
    "the interpreter removed": lambda world: os.unlink(world.python),
    "the interpreter made unusable": lambda world: os.chmod(world.python, 0o600),
    "the package removed": lambda world: shutil.rmtree(world.islands),
    "the state directory removed": lambda world: shutil.rmtree(world.base),
    "the PATH entries removed": lambda world: shutil.rmtree(world.base / "bin"),
    "the projects removed": lambda world: shutil.rmtree(world.base / "projects", ignore_errors=True),
}
USES = """
pytest -q; command pytest --fail; echo $?; timeout 20 ruff check; echo a.py | xargs mypy; sh -c 'tsc --fail'; echo $?
golangci-lint run; python -m pytest x; python -c 'echo hello'; (python run.py now)
command -v biome || echo none; eslint . 2>/dev/null; echo $?
source .venv/bin/activate; pytest -q | tail -1; make test
"""


@pytest.mark.slow
@pytest.mark.parametrize("shell_name", SHELLS)
@pytest.mark.parametrize("ruin", RUINS)
def test_every_command_still_runs_after(short, ruin, shell_name):
    """F22: the interpreter, the package or the state removed in the middle of a session."""
    python = short / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    islands = short / "islands"
    islands.mkdir()
    shutil.copy(shim.__file__, islands / "shim.py")
    world = World(short, python=str(python), islands=str(islands))
    expected = bash(world, shell_name, USES, ":\n")
    world.reset()
    if ruin == "the interpreter made unusable":
        python.unlink()
        python.write_text("no program")
    RUINS[ruin](world)
    found = bash(world, shell_name, USES, world.env_text())
    assert unlined(found.out) == unlined(expected.out)
    assert (found.code, found.cwd) == (expected.code, expected.cwd)


def unlined(text: bytes) -> list[bytes]:
    """The known difference: bash counts one line more."""
    return [line.split(b": ", 2)[-1] if line.startswith(b"/bin/bash: line ") else line for line in text.split(b"\n")]


@pytest.mark.parametrize("shell_name", SHELLS)
def test_a_tool_that_went_away_is_missed_in_the_shells_own_words(world, stub, shell_name):
    text = "ruff check; echo $?; command ruff; echo $?"
    (world.tools / "ruff").unlink()
    expected = unlined(bash(world, shell_name, text, ":\n").out)
    found = unlined(bash(world, shell_name, text, world.env_text()).out)
    assert found[1] == expected[1] == b"127"
    assert found[3] == expected[3] == b"127"
    assert b"ruff" in found[0]
    assert b"not found" in found[0]
    assert stub.calls == []


def test_a_path_entry_without_its_interpreter_runs_the_real_tool(world):
    """Also with a PATH full of oddities, and none of the shell's variables changed for the tool."""
    shellenv.write_entries(str(world.base), ["ruff", "tsc", "biome"], python="/nowhere/python3", islands_dir="/nowhere")
    make_program(world.tools / "tsc", '#!/bin/sh\nprintf "%s\\n" "$IFS" "$PATH" "$@"\n')
    env = world.env() | {"PATH": f"{world.base}/bin:/nowhere::{world.base}/paths/*:{world.search_path}", "IFS": "-"}
    argv = [str(world.base / "bin" / "tsc"), "a b", "*", ""]
    done = subprocess.run(argv, env=env, cwd=world.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    env |= {"PATH": f"/nowhere::{world.base}/paths/*:{world.search_path}"}  # without what is ours
    expected = subprocess.run([str(world.tools / "tsc"), *argv[1:]], env=env, cwd=world.root, capture_output=True, text=True, check=True)
    assert done.stdout == expected.stdout
    env |= {"PATH": f"{world.base}/bin:{env['PATH']}"}
    missing = subprocess.run([str(world.base / "bin" / "biome")], env=env, capture_output=True, check=False)
    assert (missing.returncode, missing.stderr) == (127, b"biome: command not found\n")


def test_the_shims_form_typed_by_hand_is_harmless(world, stub):
    """F38: by its path, by its command line, nested in itself, from another state directory: always the tool, once."""
    expected = native(world, "ruff", "--fail")
    entry = str(world.base / "bin" / "ruff")
    other = world.place / "other"
    shellenv.write_entries(str(other), ["ruff"])
    path = f"{other}/bin:{world.base}/bin:{other}/bin:{world.search_path}"
    by_hand = [sys.executable, "-I", "-S", "-c", shellscripts.LAUNCH, shellenv.islands(), str(world.base), "path", "ruff", "--fail"]
    for argv in ([entry, "--fail"], by_hand, ["timeout", "20", "ruff", "--fail"], ["env", "ruff", "--fail"]):
        done = subprocess.run(
            argv, env=world.env() | {"PATH": path}, cwd=world.root, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
        )
        assert same(done, expected)
    bare = subprocess.run([sys.executable, "-I", "-S", shim.__file__, "ruff"], capture_output=True, check=False)
    assert (bare.returncode, bare.stdout) == (0, b"")


@pytest.mark.parametrize("shell_name", SHELLS)
def test_calls_at_the_same_time_do_not_mix(world, stub, shell_name):
    """Twelve at once, recorded and joined as they come."""
    text = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do ruff same >~/out.$n 2>&1 & done; wait; cat ~/out.*"
    expected = native(world, "ruff", "same", stderr=subprocess.STDOUT, capture_output=False, stdout=subprocess.PIPE).stdout
    assert bash(world, shell_name, text, world.env_text()).out == expected * 12
    assert stub.answers.count(b"record") + stub.answers.count(b"join") + stub.answers.count(b"exec") == 12


def test_time_spent_in_the_command_is_reported(world, stub):
    make_program(world.tools / "tsc", "#!/bin/sh\nn=0; while [ $n -lt 60000 ]; do n=$((n+1)); done\n")
    began = time.monotonic()
    call(world, "tsc")
    wall_us = (time.monotonic() - began) * 1e6
    wait_until(stub.idle)
    report = stub.reported("exited")[0]
    assert 0 < int(report["cpu_us"]) <= int(report["wall_us"]) + 20_000
    assert int(report["wall_us"]) <= wall_us
