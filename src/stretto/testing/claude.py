"""Drives the real Claude Code against the scripted API: one prompt, or several prompts in one process (`terminal` has its screen).

Hides: where the binary is, the environment it gets, how it is stopped. Promises:
- nothing of the caller's environment reaches it but PATH and LANG and what is passed by name: a home, a shell, a loopback API, a fake key;
- it can reach no account and no other settings than those under its `Home` and the project;
- whatever was started is stopped through its process identity (pid and start time), never by name; what has detached itself from
  the session (a supervisor) is not touched, stopping that is its owner's work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol

import psutil

from stretto.testing.wait import wait_until

FAKE_KEY = "sk-ant-api03-scripted-and-of-no-use-anywhere-0000"
_GRACE_S = 5.0

Shell = Literal["bash", "zsh"]


class Api(Protocol):
    """What the driver has to know of an API: its address."""

    @property
    def url(self) -> str: ...


def find_binary() -> str:
    """Return the Claude Code binary: `STRETTO_CLAUDE`, else the one inside the installed claude-agent-sdk; "" when there is none."""
    chosen = os.environ.get("STRETTO_CLAUDE")
    if chosen:
        return chosen if os.access(chosen, os.X_OK) else ""
    for folder in sys.path:
        candidate = Path(folder or ".") / "claude_agent_sdk" / "_bundled" / "claude"
        if os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    return ""


def find_shell(shell: Shell) -> str:
    """Return the path of a shell that Claude Code's Bash tool can use, "" when it is not installed."""
    for folder in ("/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
        if os.access(f"{folder}/{shell}", os.X_OK):
            return f"{folder}/{shell}"
    return ""


class Home:
    """A home directory in which Claude Code was already set up once (no questions about themes or keys).

    `run` and the sessions may share one, one after the other or at once: transcripts for `--resume` live here.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = self.path / ".claude.json"
        if not self._state.exists():
            self._write(
                {
                    "hasCompletedOnboarding": True,
                    "theme": "dark",
                    "bypassPermissionsModeAccepted": True,
                    "customApiKeyResponses": {"approved": [FAKE_KEY[-20:]], "rejected": []},
                    "projects": {},
                }
            )

    def trust(self, project: str | os.PathLike[str]) -> None:
        """Answer the question "do you trust the files in this folder" beforehand."""
        state = json.loads(self._state.read_text(encoding="utf-8"))
        state.setdefault("projects", {}).setdefault(os.path.realpath(project), {})["hasTrustDialogAccepted"] = True
        self._write(state)

    def settings(self, value: Mapping[str, object]) -> None:
        """Write the user's settings file."""
        folder = self.path / ".claude"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(value, indent=2), encoding="utf-8")

    def environment(self, api: Api, *, shell: Shell = "bash", env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of a session; `env` adds to it and wins, an empty value removes."""
        scratch = self.path / "tmp"  # task output and the like; else it stays in /tmp/claude-UID for ever
        scratch.mkdir(mode=0o700, exist_ok=True)
        whole = {
            "CLAUDE_CODE_TMPDIR": str(scratch),
            "TMPDIR": str(scratch),
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": str(self.path),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": find_shell(shell),
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": FAKE_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "IS_SANDBOX": "1",
            **(env or {}),
        }
        return {name: value for name, value in whole.items() if value}

    def _write(self, state: Mapping[str, object]) -> None:
        self._state.write_text(json.dumps(state), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session ended; `code` is negative for a death by signal."""

    code: int
    stdout: str
    stderr: str
    wall_s: float

    def json(self) -> dict[str, Any]:
        """Return the result object of `output="json"`."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict), self.stdout[:500]
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return the lines of `output="stream-json"`."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    def session_id(self) -> str:
        """Return the session's id from either JSON output."""
        return str(self.events()[-1]["session_id"])


def run(
    prompt: str,
    *,
    api: Api,
    project: str | os.PathLike[str],
    home: Home,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    permission_mode: str | None = None,
    settings: Mapping[str, object] | None = None,
    shell: Shell = "bash",
    output: Literal["json", "stream-json", "text"] = "json",
    limit_s: float = 120.0,
) -> Outcome:
    """Run one `claude -p` to its end.

    Args:
        permission_mode: default, acceptEdits, dontAsk, plan, auto; None skips every permission question (bypass).
        settings: given as `--settings`, on top of the files of home and project.

    Raises:
        TimeoutError: it had not ended after `limit_s` seconds and was stopped with its children; the text holds the end of its output.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started_s = time.monotonic()
        # Files and not pipes: a child that outlives the session and keeps its output open must not hold us.
        process = subprocess.Popen(
            _command(prompt, output, permission_mode, settings, args),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=project,
            env=home.environment(api, shell=shell, env=env),
            start_new_session=True,
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            stop(process)
            raise TimeoutError(
                f"claude had not ended after {limit_s} s; output ends {_read(out)[-800:]!r}, errors {_read(err)[-800:]!r}"
            ) from None
        except BaseException:
            stop(process)
            raise
        return Outcome(code, _read(out), _read(err), time.monotonic() - started_s)


class StreamSession:
    """One `claude -p` that takes prompts as JSON lines, for `/clear`, idle sessions and several prompts in one process."""

    def __init__(
        self,
        *,
        api: Api,
        project: str | os.PathLike[str],
        home: Home,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        permission_mode: str | None = None,
        settings: Mapping[str, object] | None = None,
        shell: Shell = "bash",
    ) -> None:
        command = _command(None, "stream-json", permission_mode, settings, ("--input-format", "stream-json", *args))
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=project,
            env=home.environment(api, shell=shell, env=env),
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read_events, name="claude-events", daemon=True)
        self._reader.start()

    def send(self, text: str) -> None:
        """Hand in one prompt; it is queued while a turn runs."""
        assert self.process.stdin is not None
        line = json.dumps({"type": "user", "message": {"role": "user", "content": text}})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def results(self) -> list[dict[str, Any]]:
        """Return the result objects so far, one for each turn that ended."""
        return [event for event in list(self.events) if event.get("type") == "result"]

    def ask(self, text: str, limit_s: float = 60.0) -> dict[str, Any]:
        """Hand in a prompt and return the next result object."""
        before = len(self.results())
        self.send(text)
        wait_until(lambda: len(self.results()) > before or self._gone(), limit_s, f"a result for {text!r}")
        return self.results()[before]

    def close(self, limit_s: float = 30.0) -> Outcome:
        """End the input, wait for the process; return how it ended.

        Raises:
            TimeoutError: it had to be stopped.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        started_s = time.monotonic()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended already
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            stop(self.process)
            raise TimeoutError(f"claude had not ended {limit_s} s after the end of its input; {_read(self._errors)[-800:]!r}") from None
        finally:
            self._reader.join(1.0)
            if not self._reader.is_alive():
                self.process.stdout.close()
        text = "\n".join(json.dumps(event) for event in self.events)
        outcome = Outcome(code, text, _read(self._errors), time.monotonic() - started_s)
        self._errors.close()
        return outcome

    def __enter__(self) -> StreamSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._errors.closed:
            return
        if error is not None:
            stop(self.process)
        self.close()

    def _gone(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"claude ended with {self.process.returncode}: {_read(self._errors)[-800:]}")
        return False

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process started here and what still descends from it: asked first, then killed. Nothing to do when it has ended."""
    if process.poll() is not None:
        return
    try:
        found = psutil.Process(process.pid)
        family = [found, *found.children(recursive=True)]  # each remembers its start time, so a reused pid is never signalled
    except psutil.NoSuchProcess:
        return
    for member in family:
        _quietly(member.terminate)
    _, alive = psutil.wait_procs(family[1:], timeout=_GRACE_S)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in alive:
        _quietly(member.kill)


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        pass  # it ended in the meantime, which is what was wanted


def binary() -> str:
    """Return `find_binary`, which must find one.

    Raises:
        FileNotFoundError: it does not.
    """
    found = find_binary()
    if not found:
        raise FileNotFoundError("cannot find Claude Code: claude-agent-sdk is not installed; install it or set STRETTO_CLAUDE")
    return found


def _command(
    prompt: str | None, output: str, permission_mode: str | None, settings: Mapping[str, object] | None, args: Sequence[str]
) -> list[str]:
    command = [binary(), "-p", "--output-format", output, *(["--verbose"] if output == "stream-json" else [])]
    command += [*permissions_arguments(permission_mode), *settings_arguments(settings), *args]
    return command if prompt is None else [*command, "--", prompt]


def permissions_arguments(mode: str | None) -> list[str]:
    """Return the arguments for a permission mode; None asks nothing at all."""
    return ["--dangerously-skip-permissions"] if mode is None else ["--permission-mode", mode]


def settings_arguments(settings: Mapping[str, object] | None) -> list[str]:
    """Return the arguments for settings on top of the files."""
    return [] if settings is None else ["--settings", json.dumps(settings)]


def _read(file: IO[bytes]) -> str:
    """Return the whole text of a temporary file; bytes that are no UTF-8 come out as surrogates."""
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")
