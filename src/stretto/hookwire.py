"""Claude Code's hook JSON, in and out. Pure.

Hides field names and their quirks; the rest of the project knows `HookCall` and `HookReply`. Promises: unknown fields and unknown
events are no error (`Other`); a body of which we cannot say what it says is `Unreadable` and never an exception, so that whoever decides
can take it for anything; a reply that has nothing to say is zero bytes, because any other "nothing" has been taken for something by one
version or another.

Source: measured on Claude Code 2.1.330 (docs/architecture.md names the events we listen to and why).
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from stretto.model import Record, SessionId

MACHINE_PROMPT = "<task-notification>"
"""How the host's own prompts begin."""
WRITING_TOOLS = frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})
HARMLESS_TOOLS = frozenset(
    """
    Read NotebookRead Glob Grep LS WebFetch WebSearch ToolSearch TodoRead TodoWrite TaskCreate TaskGet TaskList TaskUpdate TaskOutput
    TaskStop BashOutput KillShell KillBash Agent Task AskUserQuestion EnterPlanMode ExitPlanMode StructuredOutput
    """.split()  # noqa: SIM905  a list of words
)
"""The host's own tools that change nothing a check could depend on, or whose own calls are announced (a subagent's), or whose effect is the
end of a process that is followed. A tool that is not here may do anything."""
HEAD_BYTES = 65_536
"""So much of the beginning of a body that cannot be read is looked at for the session it is about."""
_HALF = re.compile("[\ud800-\udfff]")
_SESSION = re.compile(rb'"session_id"\s*:\s*"([^"\\]{1,200})"')


class Call(Record, frozen=True, kw_only=True):
    """One finished tool call of a batch."""

    id: str
    tool: str
    command: str = ""
    path: str = ""


class HookCall(Record, frozen=True, kw_only=True):
    session: SessionId
    mode: str
    """Claude Code's permission mode; "" when the event does not carry it."""
    agent: str = ""
    """Id of the subagent that acts, "" for the main one."""
    cwd: str = ""


class SessionStarted(HookCall, frozen=True, kw_only=True):
    source: str


class SessionEnded(HookCall, frozen=True, kw_only=True):
    reason: str


class PromptSubmitted(HookCall, frozen=True, kw_only=True):
    machine: bool = False
    """The host's own notification and nobody's prompt: a background task ended, a hook woke the session."""


class TurnEnded(HookCall, frozen=True, kw_only=True):
    """Stop or SubagentStop."""

    continues: bool = False
    """It goes on only because a hook made it go on."""
    subagent: bool = False


class TaskDone(HookCall, frozen=True, kw_only=True):
    """TaskCompleted: a task of the session's list is about to be marked as done."""


class BashAsked(HookCall, frozen=True, kw_only=True):
    """PreToolUse of a Bash call: it is about to run, or to be asked for."""

    call: str
    command: str
    background: bool = False
    """It goes on after the host said that the call ended."""


class WriteAsked(HookCall, frozen=True, kw_only=True):
    """PreToolUse of a tool that writes one file: from now on a change of that file is the session's doing."""

    call: str
    path: str


class ToolAsked(HookCall, frozen=True, kw_only=True):
    """PreToolUse of a tool that is not known to be harmless: from now on it may do anything."""

    call: str
    tool: str


class PermissionQuestion(HookCall, frozen=True, kw_only=True):
    """The host is putting a question to the user about this command."""

    command: str


class BatchEnded(HookCall, frozen=True, kw_only=True):
    calls: tuple[Call, ...]


class Other(HookCall, frozen=True, kw_only=True):
    pass


class Unreadable(HookCall, frozen=True, kw_only=True):
    """The host said something, and what it said is not known."""

    event: str
    why: str


class HookReply(Record, frozen=True, kw_only=True):
    code: int = 0
    out: bytes = b""
    err: bytes = b""


def parse(event: str, body: bytes, *, session: str = "", cut: bool = False) -> HookCall:
    """Return what the host says.

    Args:
        session: the session by the hook's environment, for a body that does not say it.
        cut: there was more of the body than was passed on.
    """
    raw = _decoded(body) if not cut else "it is too long"
    if isinstance(raw, dict):
        common: dict[str, Any] = {
            "session": SessionId(_text(raw, "session_id") or session),
            "mode": _text(raw, "permission_mode"),
            "agent": _text(raw, "agent_id"),
            "cwd": _text(raw, "cwd"),
        }
        return _call_of(event, raw, common)
    return Unreadable(session=SessionId(session or _session_in(body)), mode="", event=event, why=raw)


def _decoded(body: bytes) -> dict[str, Any] | str:
    """Return the JSON object in a body, or why there is none."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, MemoryError):
        # Half of a surrogate pair, which a model may well write, is JSON to the host and to the standard library.
        try:
            raw = json.loads(body.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError, MemoryError) as error:
            return f"it is no JSON that can be read ({type(error).__name__})"
    return raw if isinstance(raw, dict) else "it is no object"


def _session_in(body: bytes) -> str:
    found = _SESSION.search(body[:HEAD_BYTES])
    return found[1].decode("utf-8", "replace") if found else ""


def _call_of(event: str, raw: dict[str, Any], common: dict[str, Any]) -> HookCall:
    match event:
        case "SessionStart":
            return SessionStarted(**common, source=_text(raw, "source"))
        case "SessionEnd":
            return SessionEnded(**common, reason=_text(raw, "reason"))
        case "UserPromptSubmit":
            return PromptSubmitted(**common, machine=_text(raw, "prompt").lstrip().startswith(MACHINE_PROMPT))
        case "Stop" | "SubagentStop":
            return TurnEnded(**common, continues=raw.get("stop_hook_active") is True, subagent=event == "SubagentStop")
        case "TaskCompleted":
            return TaskDone(**common)
        case "PreToolUse":
            return _tool_asked(raw, common)
        case "PermissionRequest" if raw.get("tool_name") == "Bash":
            return PermissionQuestion(**common, command=_text(_tool_input(raw) or {}, "command"))
        case "PostToolBatch":
            calls = raw.get("tool_calls")
            if not isinstance(calls, list):
                return Unreadable(**common, event=event, why="it has no list of calls")
            return BatchEnded(**common, calls=tuple(_call(item) for item in calls))
        case _:
            return Other(**common)


def _tool_asked(raw: dict[str, Any], common: dict[str, Any]) -> HookCall:
    tool, call, tool_input = _text(raw, "tool_name"), _text(raw, "tool_use_id"), _tool_input(raw)
    if tool == "Bash" and tool_input is not None and isinstance(tool_input.get("command"), str):
        background = tool_input.get("run_in_background") not in (None, False)
        return BashAsked(**common, call=call, command=_text(tool_input, "command"), background=background)
    if tool in WRITING_TOOLS and tool_input is not None and _path(tool_input):
        return WriteAsked(**common, call=call, path=_path(tool_input))
    return Other(**common) if tool in HARMLESS_TOOLS else ToolAsked(**common, call=call, tool=tool)


def context_reply(event: str, text: str, shown: str = "") -> HookReply:
    """Return the reply that adds a fact to what the model sees next, and a line for the user; nothing when there is nothing to say."""
    if not text:
        return HookReply()
    reply: dict[str, Any] = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
    return HookReply(out=msgspec.json.encode({**reply, "systemMessage": shown} if shown else reply))


def deny_reply(reason: str) -> HookReply:
    """Return the reply to a PreToolUse that keeps the tool from running, with the reason for the model.

    Not exit 2: that would show the model the hook's command line.
    """
    decision = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason}
    return HookReply(out=msgspec.json.encode({"hookSpecificOutput": decision}))


def block_reply(reason: str) -> HookReply:
    """Return the reply to a TaskCompleted by which the task is not marked as done, with the reason for the model.

    Measured on 2.1.331 (tests/claude/test_gates.py): added context is dropped at this event, and exit 2 shows the hook's command line.
    """
    return HookReply(out=msgspec.json.encode({"decision": "block", "reason": reason}))


def notice_reply(text: str) -> HookReply:
    """Return the reply that shows the user, and only the user, a line."""
    return HookReply(out=msgspec.json.encode({"systemMessage": text}))


def _call(item: object) -> Call:
    """Return one call of a batch; one whose tool or input is not what it should be is one of a tool that nobody knows."""
    raw: dict[str, Any] = item if isinstance(item, dict) else {}
    tool, tool_input = _text(raw, "tool_name"), _tool_input(raw)
    command, path = _text(tool_input or {}, "command"), _path(tool_input or {})
    known = tool_input is not None and (
        isinstance(tool_input.get("command"), str) if tool == "Bash" else bool(path) if tool in WRITING_TOOLS else True
    )
    return Call(id=_text(raw, "tool_use_id"), tool=tool if known or tool in HARMLESS_TOOLS else "", command=command, path=path)


def _tool_input(raw: dict[str, Any]) -> dict[str, Any] | None:
    given = raw.get("tool_input")
    return given if isinstance(given, dict) else None


def _path(tool_input: dict[str, Any]) -> str:
    return _text(tool_input, "file_path") or _text(tool_input, "notebook_path")


def _text(raw: dict[str, Any], key: str) -> str:
    """Return a text of the host's; half a surrogate pair as the host itself writes it into files and commands."""
    value = raw.get(key)
    return _HALF.sub("\ufffd", value) if isinstance(value, str) else ""
