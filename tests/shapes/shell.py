"""Runs a command text the way Claude Code 2.1.330 runs it in its Bash tool: the same argv, descriptors, session and wrapping text.

Source: tests/claude/test_host_facts.py holds the real binary to what is imitated here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SHELLS = {"bash": "/bin/bash", "zsh": "/bin/zsh"}
_AFTER = {
    "bash": r"\builtin shopt -u extglob 2>/dev/null || true",
    "zsh": r"\builtin setopt NO_EXTENDED_GLOB NO_BARE_GLOB_QUAL NO_BRACE_CCL NO_MAGIC_EQUAL_SUBST NO_EQUALS 2>/dev/null || true",
}
_UNDO = r"{ \builtin unalias -- 'which'; \builtin unset -f -- 'which'; } >/dev/null 2>&1 || true"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a Bash call left behind."""

    code: int
    out: bytes
    cwd: str


def text_of(shell: str, command: str, env_text: str, snapshot: Path, cwd_file: Path) -> str:
    """Return what the shell's -c is given."""
    has_input = re.search(r"<(?!\()", command)
    null = "" if has_input else " < /dev/null"
    joint = ":" if env_text.endswith("\n") else ""
    return (
        f"source {shlex.quote(str(snapshot))} 2>/dev/null || true && {env_text}{joint} && {_AFTER[shell]} && {_UNDO} && "
        f"eval {shlex.quote(command)}{null} && pwd -P >| {shlex.quote(str(cwd_file))}"
    )


class Call:
    """One Bash call under way."""

    def __init__(
        self, shell: str, command: str, *, env_text: str, env: Mapping[str, str], cwd: Path, place: Path, snapshot: str = ""
    ) -> None:
        """Start it.

        Args:
            env_text: what the session's environment file holds.
            place: an empty directory for the output and other files of this call.
            snapshot: the user's aliases and functions.
        """
        place.mkdir(parents=True, exist_ok=True)
        self.output, self._cwd_file = place / "output", place / "cwd"
        snapshot_file = place / "snapshot"
        snapshot_file.write_text(("shopt -s expand_aliases\n" if shell == "bash" else "") + snapshot)
        text = text_of(shell, command, env_text, snapshot_file, self._cwd_file)
        descriptor = os.open(self.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [SHELLS[shell], "-c", text],
                stdin=theirs,
                stdout=descriptor,
                stderr=descriptor,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            self._ours.close()
            raise
        finally:
            theirs.close()
            os.close(descriptor)

    def finish(self, limit_s: float = 60.0) -> Result:
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self._ours.close()
        cwd = self._cwd_file.read_text() if self._cwd_file.exists() else ""
        return Result(code=code, out=self.output.read_bytes(), cwd=cwd)


def run(shell: str, command: str, **how: object) -> Result:
    """Run one Bash call to its end; arguments as `Call`."""
    return Call(shell, command, **how).finish()  # type: ignore[arg-type]
