"""The demo's second half with the user's own Claude Code: their `claude`, their account, their settings, a copy of the project.

Hides the stream of events Claude Code prints. Promises: it works in the demo's temporary directory and with Stretto's state there;
beyond what the user's own settings permit, it may edit files in that copy and run its checks; it is stopped after `LIMIT_S`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stretto.demo import script
from stretto.demo.run import Say, Stage, ahead, parts
from stretto.demo.session import Kind, Session, Step
from stretto.errors import UnavailableError, UserError
from stretto.model import NewsTold
from stretto.system import mono_s
from stretto.testing.claude import stop

LIMIT_S = 1800.0
FILE_TOOLS = ("Read", "Edit", "Write", "Glob", "Grep")
COMMANDS = ("pytest", "ruff", "mypy", "cd", "head", "tail", "git diff", "git status")
ALLOWED = (*FILE_TOOLS, *(f"Bash({command}:*)" for command in COMMANDS))
PROMPT = (
    f"{script.PROMPT} Before you begin, see how things stand: run `{script.RUFF}`, `{script.MYPY}` and `pytest -q`. "
    "Write the tests into tests/test_stable.py. Run the three again after your changes, until all of them pass. Use no other commands."
)


@dataclass(slots=True)
class Message:
    """One message of the model with calls in it, and when what happened to it."""

    sent_s: float
    calls: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    returned_s: float = 0.0
    outputs: list[str] = field(default_factory=list)


def find_claude() -> str:
    """Return the user's own `claude`.

    Raises:
        UserError: there is none on PATH.
    """
    found = shutil.which("claude")
    if found is None:
        raise UserError("cannot run the live demo: no `claude` on PATH; install Claude Code, or run `stretto demo`, which brings its own")
    return found


def play_live(here: Stage, claude: str, say: Say) -> Session:
    """Let `claude` do the task of the script in the prepared project, return what was measured.

    Raises:
        UnavailableError: it failed or took longer than `LIMIT_S`; the text holds the end of what it said.
    """
    command = [claude, "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"]
    command += ["--allowedTools", *ALLOWED, "--", PROMPT]
    seen: list[tuple[float, dict[str, Any]]] = []
    with tempfile.TemporaryFile() as errors:
        began_s, began_mono_s = time.monotonic(), mono_s()
        process = subprocess.Popen(
            command,
            cwd=here.project,
            env={**os.environ, **here.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        watchdog = threading.Timer(LIMIT_S, stop, (process,))
        watchdog.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"{"):
                    seen.append((time.monotonic() - began_s, json.loads(line)))
                    _tell(*seen[-1], say)
            code = process.wait()
        except BaseException:
            stop(process)
            raise
        finally:
            watchdog.cancel()
            if process.stdout is not None:
                process.stdout.close()
        wall_s = time.monotonic() - began_s
        if code != 0:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip() or str(seen[-1][1].get("result", "") if seen else "")
            raise UnavailableError(
                f"cannot play the live session: {claude} ended with {code} after {wall_s:.0f} s; it says {said[-300:]!r}"
            )
    log = here.log()
    steps, asked_s = [], 0.0
    for message in messages(seen):
        joins = parts(log, began_mono_s, message.sent_s, message.returned_s)
        commands = [str(call.get("command", "")) for call in message.calls.values() if "command" in call]
        writes = any("file_path" in call and ("content" in call or "new_string" in call) for call in message.calls.values())
        kind: Kind = "check" if joins else "write" if writes else "look"
        label = ", ".join(dict.fromkeys(part.command.split(" ", 1)[0] for part in joins)) or ("edit" if writes else "look")
        steps.append(
            Step(
                kind=kind,
                label=label,
                command="; ".join(commands),
                asked_s=asked_s,
                sent_s=message.sent_s,
                returned_s=message.returned_s,
                outputs=tuple(message.outputs),
                parts=joins,
            )
        )
        asked_s = message.returned_s
    steps.append(Step(kind="look", label="done", command="", asked_s=asked_s, sent_s=wall_s, returned_s=wall_s))
    told = tuple((event.mono - began_mono_s, event.text) for event in log if isinstance(event, NewsTold))
    return Session(name="with Stretto, live", wall_s=wall_s, steps=tuple(steps), ahead=ahead(log, began_mono_s), told=told)


def messages(seen: Iterable[tuple[float, Mapping[str, Any]]]) -> list[Message]:
    """Return the model's messages that made calls, in order, from Claude Code's stream of events with the times they came at.

    One message may come in several events, one for each block, under one id; each call's result comes as an event of its own.
    """
    by_id: dict[str, Message] = {}
    of_call: dict[str, Message] = {}
    for at_s, event in seen:
        message = event.get("message")
        if not isinstance(message, dict) or event.get("parent_tool_use_id"):
            continue
        content = message.get("content")
        for block in content if isinstance(content, list) else []:
            if block.get("type") == "tool_use":
                mine = by_id.setdefault(str(message.get("id")), Message(at_s))
                mine.calls[block["id"]] = block.get("input") or {}
                of_call[block["id"]] = mine
            elif block.get("type") == "tool_result" and block.get("tool_use_id") in of_call:
                mine = of_call[block["tool_use_id"]]
                mine.returned_s = at_s
                mine.outputs.append(_text(block.get("content")))
    return [message for message in by_id.values() if message.returned_s]


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict)) if isinstance(content, list) else ""


def _tell(at_s: float, event: Mapping[str, Any], say: Say) -> None:
    message = event.get("message")
    if event.get("type") != "assistant" or not isinstance(message, dict):
        return
    for block in message.get("content") or []:
        if block.get("type") == "tool_use":
            what = block.get("input") or {}
            say(f"  {at_s:6.1f} s  {block.get('name')} {str(what.get('command') or what.get('file_path') or '')[:100]}")
