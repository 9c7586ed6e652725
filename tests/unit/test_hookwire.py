"""Claude Code's hook JSON in and out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretto import install
from stretto.hookwire import (
    BashAsked,
    BatchEnded,
    HookReply,
    Other,
    PermissionQuestion,
    SessionStarted,
    WriteAsked,
    context_reply,
    notice_reply,
    parse,
)

EVENTS = [
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "Stop",
    "SubagentStop",
    "PreToolUse",
    "PermissionRequest",
    "PostToolBatch",
    "Unheard",
]


def body(**fields: object) -> bytes:
    return json.dumps({"session_id": "s", "cwd": "/p", "permission_mode": "default", **fields}).encode()


def test_bash_before_it_runs():
    call = parse("PreToolUse", body(tool_name="Bash", tool_use_id="t1", tool_input={"command": "pytest -q"}))
    assert call == BashAsked(session="s", mode="default", cwd="/p", call="t1", command="pytest -q")
    assert isinstance(call, BashAsked) and not call.background


def test_a_writing_tool_before_it_runs():
    call = parse("PreToolUse", body(tool_name="Edit", tool_use_id="t1", tool_input={"file_path": "/p/a.py"}))
    assert call == WriteAsked(session="s", mode="default", cwd="/p", call="t1", path="/p/a.py")


def test_a_permission_question():
    call = parse("PermissionRequest", body(tool_name="Bash", tool_input={"command": "pytest"}))
    assert call == PermissionQuestion(session="s", mode="default", cwd="/p", command="pytest")


def test_a_batch_with_calls_of_a_subagent():
    calls = [
        {"tool_use_id": "1", "tool_name": "Bash", "tool_input": {"command": "ls"}},
        {"tool_use_id": "2", "tool_name": "NotebookEdit", "tool_input": {"notebook_path": "/p/n.ipynb"}},
        "not an object",
    ]
    call = parse("PostToolBatch", body(agent_id="agent", tool_calls=calls))
    assert isinstance(call, BatchEnded)
    assert call.agent == "agent"
    assert [(item.id, item.command, item.path) for item in call.calls] == [("1", "ls", ""), ("2", "", "/p/n.ipynb")]


def test_a_session_start_without_a_mode():
    call = parse("SessionStart", b'{"session_id":"s","source":"resume"}')
    assert call == SessionStarted(session="s", mode="", source="resume")


@pytest.mark.parametrize("event", ["PreToolUse", "PermissionRequest", "Unheard"])
def test_what_we_do_not_know_is_no_error(event):
    assert isinstance(parse(event, body(tool_name="Telepathy", future={"a": [1]})), Other)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_body_that_is_no_object_is_a_value_error(event, text):
    with pytest.raises(ValueError, match=event):
        parse(event, text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
FIELDS = ["session_id", "permission_mode", "agent_id", "cwd", "tool_name", "tool_use_id", "tool_input", "tool_calls", "source", "reason"]


@settings(max_examples=60)
@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_object_is_read_without_an_error(event, fields):
    assert parse(event, json.dumps(fields).encode()).session == (
        fields.get("session_id") if isinstance(fields.get("session_id"), str) else ""
    )


def test_nothing_to_say_is_zero_bytes():
    """F35."""
    assert context_reply("PostToolBatch", "") == HookReply(code=0, out=b"", err=b"")


def test_context_names_its_event_and_is_nested_where_the_host_reads_it():
    """F35."""
    assert json.loads(context_reply("PostToolBatch", "fact").out) == {
        "hookSpecificOutput": {"hookEventName": "PostToolBatch", "additionalContext": "fact"}
    }


def test_a_notice_is_for_the_user_only():
    assert json.loads(notice_reply("off").out) == {"systemMessage": "off"}


def test_f29_after_a_write_only_context_is_ever_added():
    """No hook of ours stands where the host might be told that a write which stands was refused."""
    assert not {"PostToolUse", "PostToolUseFailure"} & {event.name for event in install.EVENTS}
    answer = json.loads(context_reply("PostToolBatch", "a fact").out)
    assert set(answer) == {"hookSpecificOutput"}
    assert set(answer["hookSpecificOutput"]) == {"hookEventName", "additionalContext"}
