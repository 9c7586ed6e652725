"""Drives the real Claude Code against the scripted API: one prompt, several prompts in one process, or its terminal interface.

Hides: where the binary is, the environment it gets, how it is stopped. Promises:
- nothing of the caller's environment reaches it but PATH and LANG and what is passed by name: a home, a shell, a loopback API, a fake key;
- it can reach no account and no other settings than those under its `Home` and the project;
- whatever was started is stopped through its process identity (pid and start time), never by name; what has detached itself from
  the session (a supervisor) is not touched, stopping that is its owner's work.
Terminal sessions need the package `pyte`, which draws the screen.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
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
KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "shift-tab": "\x1b[Z",
    "tab": "\t",
}
_GRACE_S = 5.0
_TAKE_TERMINAL = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"

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
        whole = {
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


class Interactive:
    """The terminal interface of Claude Code on a pseudo-terminal, with the screen as a person would see it."""

    def __init__(
        self,
        *,
        api: Api,
        project: str | os.PathLike[str],
        home: Home,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        permission_mode: str | None = "default",
        settings: Mapping[str, object] | None = None,
        shell: Shell = "bash",
        size: tuple[int, int] = (50, 140),
    ) -> None:
        import pyte  # only terminal sessions need it

        rows, columns = size
        home.trust(project)
        command = [_binary(), *_permissions(permission_mode), *_settings(settings), *args]
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        try:
            self.process = subprocess.Popen(
                # The launcher makes the terminal the controlling one and becomes claude: a fork with threads around stays simple.
                [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *command],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=project,
                env=home.environment(api, shell=shell, env=env),
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def screen(self) -> str:
        """Return what the terminal shows now, lines without trailing spaces."""
        self._pump(0.0)
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def wait_for(self, what: str | Callable[[str], bool], limit_s: float = 30.0) -> str:
        """Wait until the screen holds a text (or satisfies a function); return the screen.

        Raises:
            AssertionError: it did not within `limit_s` seconds, or the session ended; the text holds the screen.
        """
        holds = (lambda screen: what in screen) if isinstance(what, str) else what
        deadline = time.monotonic() + limit_s
        while not holds(self.screen()):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = f"claude ended with {self.process.returncode}" if ended else f"not within {limit_s} s"
                raise AssertionError(f"waiting for {what!r}: {why}; the screen is\n{self.screen()}")
            self._pump(0.05)
        return self.screen()

    def press(self, *keys: str) -> None:
        """Press keys by name (`KEYS`) or as they are."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())
            self._settle()

    def press_until(self, key: str, what: Callable[[str], bool], limit_s: float = 30.0) -> str:
        """Press a key again and again, half a second apart, until the screen satisfies `what`; return the screen.

        A dialog that has just appeared ignores keys for a moment, so that nothing typed for something else answers it.
        """
        deadline = time.monotonic() + limit_s
        while True:
            self.press(key)
            try:
                return self.wait_for(what, 0.5)
            except AssertionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise

    def approve(self) -> str:
        """Wait for a permission question and answer the first choice, yes, once; return the screen that showed it."""
        shown = self.wait_for("Do you want to proceed?")
        self.press_until("enter", lambda screen: "Do you want to proceed?" not in screen)
        return shown

    def send(self, text: str) -> None:
        """Type a text and press enter."""
        os.write(self._master, text.encode())
        # Enter in the same read as the text would be taken for a pasted newline: it has to come after the text was drawn.
        self.wait_for(lambda screen: text.strip()[-30:] in screen, 10.0)
        self.press("enter")

    def close(self, limit_s: float = 15.0) -> int:
        """Leave as a person would (ctrl-c twice), stop what does not; return the exit code, negative for a signal."""
        try:
            if self.process.poll() is None:
                self.press("escape")
                os.write(self._master, b"\x03")
                self._settle()
                os.write(self._master, b"\x03")
            deadline = time.monotonic() + limit_s
            while self.process.poll() is None and time.monotonic() < deadline:
                self._pump(0.05)
            stop(self.process)
        finally:
            os.close(self._master)
            self._master = -1
        return int(self.process.returncode)

    def __enter__(self) -> Interactive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._master >= 0:
            self.close()

    def _settle(self, quiet_s: float = 0.15) -> None:
        """Read until nothing has been drawn for a moment (a key can open something that takes the next one)."""
        while self._pump(quiet_s):
            pass

    def _pump(self, limit_s: float) -> bool:
        """Feed the screen what has arrived, waiting at most `limit_s` for the first byte; say whether there was any."""
        fed = False
        while self._master >= 0 and select.select([self._master], [], [], 0.0 if fed else limit_s)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: the last holder of the terminal is gone
                return fed
            self._stream.feed(data)
            fed = True
        return fed


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


def _binary() -> str:
    found = find_binary()
    if not found:
        raise FileNotFoundError("cannot find Claude Code: claude-agent-sdk is not installed; install it or set STRETTO_CLAUDE")
    return found


def _command(
    prompt: str | None, output: str, permission_mode: str | None, settings: Mapping[str, object] | None, args: Sequence[str]
) -> list[str]:
    command = [_binary(), "-p", "--output-format", output, *(["--verbose"] if output == "stream-json" else [])]
    command += [*_permissions(permission_mode), *_settings(settings), *args]
    return command if prompt is None else [*command, "--", prompt]


def _permissions(mode: str | None) -> list[str]:
    return ["--dangerously-skip-permissions"] if mode is None else ["--permission-mode", mode]


def _settings(settings: Mapping[str, object] | None) -> list[str]:
    return [] if settings is None else ["--settings", json.dumps(settings)]


def _read(file: IO[bytes]) -> str:
    """Return the whole text of a temporary file; bytes that are no UTF-8 come out as surrogates."""
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")
