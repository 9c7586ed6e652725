"""A granted project with a live supervisor, driven through the real hook client and the real shims, without Claude Code."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from stretto import bundle, install, rpc, trust
from stretto.executors import local
from stretto.fold import Attempt, State, fold
from stretto.journal import read
from stretto.model import AttemptId, End, LogEvent
from stretto.system import Process, boot_id, lives, mono_s
from stretto.testing import history, room
from stretto.testing.wait import wait_until

SHELL_SIGNS = frozenset("|&;<>()$`\\\"'*?[]#~=%{}!\n")
SESSION = str(uuid.uuid4())
"""Of this process alone: what another test leaves running at the same time must not be taken for ours."""


class Bench:
    """One project, one session."""

    def __init__(self, short: Path, project: Path, base: Path, rules: bytes | None = None, mode: str = "on") -> None:
        self.root, self.base, self.short = project, base, short
        if rules is not None:
            (project / "stretto.toml").write_bytes(rules)
        self.granted = trust.grant(str(project), mode, rules, base=str(base), python=sys.executable)
        self.paths = self.granted.paths
        room.whatever_else_runs(base)
        self.tools = short / "tools"
        self.tools.mkdir()
        self.env_file = short / "env-file"
        self.env = {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "HOME": str(short),
            "LANG": "C.UTF-8",
            "CLAUDE_PROJECT_DIR": str(project),
            "CLAUDE_CODE_SESSION_ID": SESSION,
            "CLAUDE_PID": str(os.getpid()),
        }
        self._numbers = itertools.count(1)
        """Of calls; several may be under way at the same time."""
        self.mode = "default"
        """The session's permission mode."""
        self.notices: list[str] = []
        """Lines that hooks showed the user."""
        self.islands = install.wiring(str(base)).islands
        """Where the hook's client is; a test puts another installation's here."""
        self.deliveries: list[history.Delivery] = []
        self.edits: list[history.Edit] = []
        """What the history checker is told at the end."""
        self.python = sys.executable
        """The interpreter a hook starts the supervisor with; a test puts `faults.interpreter` here."""
        self.client_python = install.wiring(str(base)).python
        """The one a hook itself runs with; the same."""

    # --- the host's side

    @property
    def shell_env(self) -> dict[str, str]:
        """What the host gives to a Bash call: unlike a hook's it does not name the project, by which the two are told apart."""
        return {name: value for name, value in self.env.items() if name != "CLAUDE_PROJECT_DIR"}

    def hook(self, event: str, **fields: Any) -> subprocess.CompletedProcess[bytes]:
        """Call our hook as Claude Code would."""
        wired = dataclasses.replace(install.wiring(str(self.base)), python=self.client_python, supervisor=self.python, islands=self.islands)
        entry = install.entry(next(item for item in install.EVENTS if item.name == event), wired)
        body = json.dumps({"session_id": SESSION, "cwd": str(self.root), "hook_event_name": event, "permission_mode": self.mode, **fields})
        env = {**self.env, "CLAUDE_ENV_FILE": str(self.env_file)} if event == "SessionStart" else self.env
        done = subprocess.run(
            [entry["command"], *entry["args"]], input=body.encode(), capture_output=True, env=env, cwd=self.root, check=False, timeout=30
        )
        if b"systemMessage" in done.stdout:
            self.notices.append(json.loads(done.stdout)["systemMessage"])
        return done

    def begin(self) -> None:
        done = self.hook("SessionStart", source="startup")
        assert (done.returncode, done.stderr) == (0, b""), done

    def bash(
        self, command: str, *, told: bool = True, announced: bool | str = False, env: dict[str, str] | None = None, shell: str = "bash"
    ) -> tuple[bytes, int, float]:
        """Run a Bash call with its hooks: output, exit code, seconds it took without the hooks.

        Args:
            told: its hooks are called.
            announced: its hooks are not called, and the supervisor, if there is one, is told over its socket that it begins, or that
                this other text does.
        """
        number = next(self._numbers)
        call = f"toolu_{number}"
        session = (env or {}).get("CLAUDE_CODE_SESSION_ID", SESSION)
        if told:
            self.hook("PreToolUse", session_id=session, tool_name="Bash", tool_use_id=call, tool_input={"command": command})
        if announced:
            self.announce(call, command if announced is True else str(announced))
        output = self.short / f"output-{number}"
        text = self.env_file.read_text() if self.env_file.exists() else ":\n"
        script = f"{text}\n: && eval {_quoted(command)} < /dev/null"
        began, began_mono_s = time.monotonic(), mono_s()
        with open(output, "ab") as file:
            done = subprocess.run(
                [f"/bin/{shell}", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**self.shell_env, **(env or {})},
                cwd=self.root,
                start_new_session=True,
                check=False,
                timeout=60,
            )
        took = time.monotonic() - began
        if not set(command) & SHELL_SIGNS:  # else others than this command may have printed
            self.deliveries.append(
                history.Delivery(
                    argv=tuple(shlex.split(command)),
                    began_mono_s=began_mono_s,
                    ended_mono_s=mono_s(),
                    digest=bundle.digest_of(output.read_bytes()),
                    size_bytes=output.stat().st_size,
                    code=done.returncode,
                )
            )
        if told:
            self.batch({"tool_use_id": call, "tool_name": "Bash", "tool_input": {"command": command}}, session=session)
        return output.read_bytes(), done.returncode, took

    def announce(self, call: str, command: str) -> None:
        """Tell the supervisor of a Bash call as a hook does, without the hook."""
        body = {"session_id": SESSION, "cwd": str(self.root), "permission_mode": self.mode, "tool_name": "Bash", "tool_use_id": call}
        body["tool_input"] = {"command": command}
        with contextlib.suppress(OSError, AssertionError):  # nobody is there
            self.ask(op=b"hook", event=b"PreToolUse", input=json.dumps(body).encode(), claude_pid=b"%d" % os.getpid())

    def batch(self, *calls: dict[str, Any], session: str = SESSION) -> str:
        """End a batch of calls; return the context we add."""
        out = self.hook("PostToolBatch", session_id=session, tool_calls=list(calls)).stdout
        return json.loads(out).get("hookSpecificOutput", {}).get("additionalContext", "") if out else ""

    def edit(self, name: str, text: str, *, told: bool = True) -> str:
        """Write a file as the Edit tool does; return the context we add."""
        path = self.root / name
        fields = {"tool_name": "Edit", "tool_use_id": f"toolu_{next(self._numbers)}", "tool_input": {"file_path": str(path)}}
        if told:
            self.hook("PreToolUse", **fields)
        began_mono_s = mono_s()
        self.write(path, text)
        self.edits.append(history.Edit(what=name, began_mono_s=began_mono_s, ended_mono_s=mono_s()))
        return self.batch(fields) if told else ""

    def held_ahead(self) -> tuple[Path, Attempt]:
        """Run pytest once, then have it run ahead of an edit; return the file for as long as which it is to wait, and the run."""
        self.bash("pytest -q")
        hold = Path(self.env["HOME"]) / "hold"
        hold.touch()
        self.edit("src.py", "two\n")
        runs = wait_until(lambda: [run for run in self.state().open_attempts() if hasattr(run.phase, "pid")], what="an ahead run")
        return hold, runs[0]

    def check_history(self, waived: Collection[str] = ()) -> None:
        """Fail when what the log tells, with what our calls got and when we edited, cannot have happened one thing after the other."""
        if "everything" in waived:
            return
        found = history.check(history.load(self.paths.folder), self.deliveries, self.edits)
        assert [violation for violation in found if violation.kind not in waived] == []

    def write(self, path: Path, text: str) -> None:
        """Exchange a file's content as one step, as editors do."""
        aside = self.short / f"edit-{next(self._numbers)}"
        aside.write_text(text)
        if path.exists():
            shutil.copymode(path, aside)
        os.replace(aside, path)

    # --- our side

    def tool(self, name: str, script: str) -> Path:
        """Put an executable of that name on the PATH."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def state(self) -> State:
        return fold(read(self.paths.folder))

    def events(self, kind: type[LogEvent]) -> list[Any]:
        return [event for _, event in read(self.paths.folder) if isinstance(event, kind)]

    def joins(self) -> list[tuple[str, str]]:
        """What was answered to each question so far: what was done, and why."""
        return [(join.do, join.reason) for join in self.state().joins]

    def did(self) -> list[str]:
        return [join.do for join in self.state().joins]

    def supervisor(self) -> Process:
        found = self.state().supervisor
        assert found is not None
        return Process(found.pid, found.start, found.boot)

    def ask(self, **message: bytes) -> rpc.Message:
        """Put a question to the supervisor over its socket."""
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self.paths.socket)
            connection.sendall(rpc.encode(message))
            reader = rpc.Reader()
            while data := connection.recv(65536):
                for reply in reader.feed(data):
                    return reply
        raise AssertionError("no answer")

    def settled(self, count: int, kind: str = "") -> None:
        """Wait until that many attempts (of a kind) have been settled."""

        def enough() -> bool:
            attempts = [item for item in self.state().attempts.values() if item.kind == (kind or item.kind)]
            return sum(type(item.phase).__name__ == "Settled" for item in attempts) >= count

        wait_until(enough, limit_s=20, what=f"{count} settled {kind} attempts")

    def stop(self) -> None:
        if self.state().supervisor is None:
            return
        process = self.supervisor()
        if lives(process):
            try:
                self.ask(op=b"stop")
            except (OSError, AssertionError):
                pass  # it is just leaving by itself, which is what is waited for
            wait_until(lambda: not lives(process), limit_s=10, what="the supervisor's end")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def bench(short: Path, project: Path, state_base: Path, waived: frozenset[str]) -> Iterator[Bench]:
    one = Bench(short, project, state_base)
    yield one
    _end(one, waived)


@pytest.fixture
def observed(short: Path, project: Path, state_base: Path, waived: frozenset[str]) -> Iterator[Bench]:
    """The same in observe mode."""
    one = Bench(short, project, state_base, mode="observe")
    yield one
    _end(one, waived)


def _end(one: Bench, waived: Collection[str]) -> None:
    if not os.path.isdir(one.paths.folder):
        return
    one.stop()
    for path in (one.paths.supervisor_errors, one.paths.events):
        print(Path(path).read_text(errors="replace") if os.path.exists(path) else f"no {path}")
    one.check_history(waived)


# --- a monitor without a supervisor


class Started:
    """One monitor of the test, its bundle, and what it said."""

    def __init__(self, forker: local.Forker, tmp_path: Path, words: list[str], place: int = -1, **changes: bytes) -> None:
        self.home = tmp_path
        self.attempt = AttemptId(os.urandom(16).hex())
        self.folder = bundle.create(str(tmp_path / "attempts"), self.attempt)
        spec = {
            "dir": os.fsencode(self.folder),
            "journal": os.fsencode(str(tmp_path)),
            "attempt": self.attempt.encode(),
            "exe": os.fsencode(words[0]),
            "argv": b"\0".join(os.fsencode(word) for word in words),
            "env": b"PATH=/usr/bin:/bin\0STRETTO_WORKER=" + self.attempt.encode(),
            "cwd": os.fsencode(str(tmp_path)),
            "umask": b"22",
            "streams": b"merged",
            "wall_s": b"60",
            "limit_bytes": b"1000000",
            "memory_bytes": b"1000000000",
            "tasks": b"1000",
            "idle": b"1",
        }
        self.owner = forker.spawn(spec | changes, place)
        self.said: list[str] = []
        self.gone = False
        wait_until(lambda: self.listen() and any(line.startswith("started") for line in self.said), limit_s=10, what="monitor started")
        _, pid, start = next(line for line in self.said if line.startswith("started")).split()
        self.process = Process(int(pid), start, boot_id())

    def listen(self) -> bool:
        lines = self.owner.lines() if not self.gone else None
        if lines is None:
            self.gone = True
        else:
            self.said += lines
        return True

    def end(self) -> End:
        wait_until(lambda: self.listen() and self.gone, limit_s=20, what="monitor gone")
        found = bundle.read_exit(self.folder)
        assert found is not None
        return found.end

    def output(self, name: str = "out") -> bytes:
        return (Path(self.folder) / name).read_bytes()

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_until(lambda: children.read_text().split(), limit_s=5, what="a worker")[0])


@pytest.fixture
def forker() -> Iterator[local.Forker]:
    one = local.Forker()
    yield one
    one.close()


@pytest.fixture
def groupless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitors of this test find no control group to make another in, as on most machines of ordinary users."""
    door = "from stretto import cgroup; cgroup.place = str; from stretto.monitor"
    monkeypatch.setattr(local, "LAUNCH", local.LAUNCH.replace("from stretto.monitor", door))


@pytest.fixture
def start(tmp_path: Path, forker: local.Forker) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(script: str, place: int = -1, **changes: bytes) -> Started:
        one = Started(forker, tmp_path, ["/bin/sh", "-c", script], place, **changes)
        started.append(one)
        return one

    yield begin
    for one in started:
        if lives(one.process):
            local.cancel(one.process)
            wait_until(lambda one=one: not lives(one.process), limit_s=15, what="the monitor's end")
        one.owner.close()
        local.end_orphans(one.attempt, one.folder)  # of one whose monitor the test killed


@pytest.fixture
def pids_group() -> Iterator[Callable[..., None]]:
    """Puts processes into a control group of at most 300 tasks; skips where none can be made."""
    yield from _limited("pids", "pids.max", "300")


@pytest.fixture
def memory_group() -> Iterator[Callable[..., None]]:
    """The same with at most 80 MB."""
    yield from _limited("memory", "memory.max", str(80 << 20))


def _limited(controller: str, name: str, value: str) -> Iterator[Callable[..., None]]:
    first = Path("/sys/fs/cgroup") / controller  # of the first version, where each controller has a tree
    if first.exists():
        group, name = first / f"stretto-test-{os.urandom(4).hex()}", name.replace("memory.max", "memory.limit_in_bytes")
    else:
        group = Path(f"/sys/fs/cgroup/stretto-test-{os.urandom(4).hex()}")
    try:
        group.mkdir()
        (group / name).write_text(value)
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no limit for {controller} can be set here beforehand: {error}")

    def enter(*pids: int) -> None:
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))

    yield enter
    wait_until(lambda: not (group / "cgroup.procs").read_text(), limit_s=20, what="an empty group")
    group.rmdir()
