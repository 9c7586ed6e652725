"""Claude Code's hook JSON in and out."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretto import install
from stretto.hookwire import (
    HARMLESS_TOOLS,
    BashAsked,
    BatchEnded,
    HookReply,
    Other,
    PermissionQuestion,
    SessionStarted,
    ToolAsked,
    Unreadable,
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
    assert [(item.id, item.tool, item.command, item.path) for item in call.calls] == [
        ("1", "Bash", "ls", ""),
        ("2", "NotebookEdit", "", "/p/n.ipynb"),
        ("", "", "", ""),  # nobody knows what that was, so it is a call of a tool that may do anything
    ]


def test_a_session_start_without_a_mode():
    call = parse("SessionStart", b'{"session_id":"s","source":"resume"}')
    assert call == SessionStarted(session="s", mode="", source="resume")


@pytest.mark.parametrize("event", ["PermissionRequest", "Unheard"])
def test_what_we_do_not_know_is_no_error(event):
    assert isinstance(parse(event, body(tool_name="Telepathy", future={"a": [1]})), Other)


@pytest.mark.parametrize("tool", ["mcp__db__seed", "Monitor", "Skill", "Telepathy", "bash", "", 7, None])
def test_a_tool_that_is_not_known_to_be_harmless_may_do_anything(tool):
    assert isinstance(parse("PreToolUse", body(tool_name=tool, tool_use_id="t1", tool_input={"command": "ls"})), ToolAsked)


@pytest.mark.parametrize("tool", sorted(HARMLESS_TOOLS))
def test_the_hosts_own_readers_change_nothing(tool):
    assert isinstance(parse("PreToolUse", body(tool_name=tool, tool_use_id="t1", tool_input=[])), Other)


@pytest.mark.parametrize("given", [{}, {"command": 7}, {"command": None}, {"command": ["ls"]}, [], "ls", None])
def test_a_call_whose_input_is_not_what_it_should_be_may_do_anything(given):
    for tool in ("Bash", "Write"):
        assert isinstance(parse("PreToolUse", body(tool_name=tool, tool_use_id="t1", tool_input=given)), ToolAsked)
        batch = parse("PostToolBatch", body(tool_calls=[{"tool_use_id": "1", "tool_name": tool, "tool_input": given}]))
        assert isinstance(batch, BatchEnded) and [call.tool for call in batch.calls] == [""]


@pytest.mark.parametrize("calls", [None, {}, "x", 1])
def test_a_batch_without_a_list_of_calls_cannot_be_read(calls):
    assert isinstance(parse("PostToolBatch", body(tool_calls=calls)), Unreadable)


def test_half_a_surrogate_pair_is_read_as_the_host_writes_it():
    """JSON to the host, which writes U+FFFD for it into a command or a file's name; no text of ours that nobody can encode."""
    half = b'{"session_id": "s", "tool_name": "Bash", "tool_use_id": "t", "tool_input": {"command": "echo \\ud83d; rm -r /x/\\udc00"}}'
    call = parse("PreToolUse", half)
    assert isinstance(call, BashAsked) and call.command == "echo \ufffd; rm -r /x/\ufffd"
    whole = parse("PreToolUse", half.replace(b"\\ud83d;", b"\\ud83d\\ude00;"))
    assert isinstance(whole, BashAsked) and whole.command.startswith("echo \U0001f600;")


@pytest.mark.parametrize("depth", [500, 20_000, 200_000])
def test_a_body_nested_too_deeply_to_be_read_is_said_to_be_so_and_still_names_its_session(depth):
    nested = b'{"session_id": "s1", "tool_name": "mcp__a__b", "tool_input": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    call = parse("PreToolUse", nested)
    assert call.session == "s1"
    assert isinstance(call, ToolAsked | Unreadable) and (depth < 1000 or isinstance(call, Unreadable))


def test_a_body_that_is_cut_is_unreadable_and_names_the_session_of_its_head_or_of_the_hook():
    head = b'{"session_id":"s1","tool_calls":[{"tool_name":"Wri'
    assert parse("PostToolBatch", head, cut=True).session == "s1"
    assert parse("PostToolBatch", head[5:], session="s2", cut=True) == Unreadable(
        session="s2", mode="", event="PostToolBatch", why="it is too long"
    )


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a": ' + b"9" * 5000 + b"}"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_body_that_is_no_object_is_unreadable_and_no_error(event, text):
    call = parse(event, text, session="by the hook")
    assert isinstance(call, Unreadable) and (call.event, call.session) == (event, "by the hook")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
FIELDS = ["session_id", "permission_mode", "agent_id", "cwd", "tool_name", "tool_use_id", "tool_input", "tool_calls", "source", "reason"]


@settings(max_examples=60)
@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_object_is_read_without_an_error(event, fields):
    given = fields.get("session_id")
    assert parse(event, json.dumps(fields).encode()).session == (
        re.sub("[\ud800-\udfff]", "\ufffd", given) if isinstance(given, str) else ""
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
