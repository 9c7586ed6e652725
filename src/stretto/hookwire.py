"""Claude Code's hook JSON, in and out. Pure.

Hides field names and their quirks; the rest of the project knows `HookCall` and `HookReply`. Promises: unknown fields and unknown
events are no error (`Other`); a body that is no JSON object is `ValueError`; a reply that has nothing to say is zero bytes, because
any other "nothing" has been taken for something by one version or another.

Source: measured on Claude Code 2.1.330 (docs/architecture.md names the events we listen to and why).
"""

from __future__ import annotations

from typing import Any

import msgspec

from stretto.model import Record, SessionId

MACHINE_PROMPT = "<task-notification>"
"""How the host's own prompts begin."""
WRITING_TOOLS = frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})


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


class PermissionQuestion(HookCall, frozen=True, kw_only=True):
    """The host is putting a question to the user about this command."""

    command: str


class BatchEnded(HookCall, frozen=True, kw_only=True):
    calls: tuple[Call, ...]


class Other(HookCall, frozen=True, kw_only=True):
    pass


class HookReply(Record, frozen=True, kw_only=True):
    code: int = 0
    out: bytes = b""
    err: bytes = b""


def parse(event: str, body: bytes) -> HookCall:
    """Return what the host says.

    Raises:
        ValueError: the body is no JSON object.
    """
    try:
        raw = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"cannot read the input of hook {event}: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"cannot read the input of hook {event}: it is no object")
    common: dict[str, Any] = {
        "session": SessionId(_text(raw, "session_id")),
        "mode": _text(raw, "permission_mode"),
        "agent": _text(raw, "agent_id"),
        "cwd": _text(raw, "cwd"),
    }
    given = raw.get("tool_input")
    tool_input: dict[str, Any] = given if isinstance(given, dict) else {}
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
        case "PreToolUse" if raw.get("tool_name") == "Bash":
            background = tool_input.get("run_in_background") is True
            return BashAsked(**common, call=_text(raw, "tool_use_id"), command=_text(tool_input, "command"), background=background)
        case "PreToolUse" if _text(raw, "tool_name") in WRITING_TOOLS:
            return WriteAsked(**common, call=_text(raw, "tool_use_id"), path=_path(tool_input))
        case "PermissionRequest" if raw.get("tool_name") == "Bash":
            return PermissionQuestion(**common, command=_text(tool_input, "command"))
        case "PostToolBatch":
            calls = raw.get("tool_calls")
            return BatchEnded(
                **common, calls=tuple(_call(item) for item in calls if isinstance(item, dict)) if isinstance(calls, list) else ()
            )
        case _:
            return Other(**common)


def context_reply(event: str, text: str) -> HookReply:
    """Return the reply that adds a fact to what the model sees next; nothing when there is nothing to say."""
    if not text:
        return HookReply()
    return HookReply(out=msgspec.json.encode({"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}))


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


def _call(item: dict[str, Any]) -> Call:
    given = item.get("tool_input")
    tool_input: dict[str, Any] = given if isinstance(given, dict) else {}
    return Call(
        id=_text(item, "tool_use_id"),
        tool=_text(item, "tool_name"),
        command=_text(tool_input, "command"),
        path=_path(tool_input),
    )


def _path(tool_input: dict[str, Any]) -> str:
    return _text(tool_input, "file_path") or _text(tool_input, "notebook_path")


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""
