"""A project with Stretto in it and a session open, without Claude Code: the hooks are called as the settings file names them.

Promises: everything lies in one temporary directory, nothing of the user's is touched, and no process is left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import stretto

SESSION = "00000000-0000-4000-8000-00000000be9c"
TOOL = """#!/bin/sh
[ "$1" = check ] && cat "$0.says"
exit 0
"""
"""Stands for a linter that takes no time: what is measured is what surrounds it."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where is what."""

    folder: Path
    hooks: dict[str, list[str]]
    """Event name to the command line of its hook."""

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    def environment(self) -> dict[str, str]:
        """Return the environment of the session's Bash; hooks get the project's directory on top."""
        return {
            "PATH": f"{self.folder / 'tools'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "CLAUDECODE": "1",
            "CLAUDE_CODE_SESSION_ID": SESSION,
            "CLAUDE_PID": str(os.getpid()),
        }

    def hook_environment(self) -> dict[str, str]:
        return {**self.environment(), "CLAUDE_PROJECT_DIR": str(self.project)}

    def body(self, event: str, **more: object) -> str:
        """Write what Claude Code gives that event's hook; return the file's path."""
        common = {
            "session_id": SESSION,
            "transcript_path": "",
            "cwd": str(self.project),
            "permission_mode": "default",
            "hook_event_name": event,
        }
        path = self.folder / f"{event}.json"
        path.write_text(json.dumps({**common, **more}), encoding="utf-8")
        return str(path)

    def call_hook(self, event: str, env: dict[str, str] | None = None, **more: object) -> str:
        """Call one hook, return what it prints."""
        with Path(self.body(event, **more)).open("rb") as body:
            done = subprocess.run(
                self.hooks[event],
                stdin=body,
                cwd=self.project,
                env={**self.hook_environment(), **(env or {})},
                capture_output=True,
                text=True,
            )
        if done.returncode != 0:
            raise RuntimeError(f"the hook for {event} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def bash(self, command: str, env_line: str) -> list[str]:
        """Return the command line of one call of Claude Code's Bash tool."""
        return ["/bin/bash", "-c", f"{env_line}\neval '{command}' </dev/null"]


@contextmanager
def open_ground(says: bytes = b"All checks passed!\n", files: int = 200) -> Iterator[Ground]:
    """Set the project up, open a session, and clear everything away at the end.

    Args:
        says: what the stand-in `ruff check` prints.
        files: how many the project has, a hundred to a folder from 201 on.
    """
    folder = Path(tempfile.mkdtemp(prefix="stretto-bench-")).resolve()
    try:
        for name in ("home", "tools", "project/src"):
            (folder / name).mkdir(parents=True)
        tool = folder / "tools" / "ruff"
        tool.write_text(TOOL, encoding="utf-8")
        tool.chmod(0o755)
        (folder / "tools" / "ruff.says").write_bytes(says)
        for number in range(files):
            place = folder / "project" / "src" / (f"part_{number // 100}" if files > 200 else "")
            place.mkdir(exist_ok=True)
            (place / f"module_{number}.py").write_text(f"VALUE = {number}\n", encoding="utf-8")
        quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder / "home"), "PATH": os.environ["PATH"]}
        subprocess.run(["git", "init", "-q"], cwd=folder / "project", env=quiet, check=True)
        subprocess.run(["git", "add", "-A"], cwd=folder / "project", env=quiet, check=True)
        env = {**quiet, "STRETTO_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(Path(stretto.__file__).parents[1])}

        def cli(*arguments: str) -> None:
            subprocess.run([sys.executable, "-m", "stretto", *arguments], cwd=folder / "project", env=env, check=True, capture_output=True)

        cli("init", "--yes")
        try:
            settings = json.loads((folder / "project/.claude/settings.local.json").read_text(encoding="utf-8"))
            hooks = {event: [(entry := groups[0]["hooks"][0])["command"], *entry["args"]] for event, groups in settings["hooks"].items()}
            ground = Ground(folder, hooks)
            ground.call_hook("SessionStart", {"CLAUDE_ENV_FILE": str(ground.env_file)}, source="startup")
            if not ground.env_file.exists():
                raise RuntimeError("the session was given no shims; `stretto doctor` may say why")
            yield ground
        finally:
            cli("uninstall")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
