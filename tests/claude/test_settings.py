"""What Claude Code makes of odd settings files, held to the real binary: what it applies `init` takes, what voids a file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stretto import install
from stretto.testing.api import ScriptedApi
from stretto.testing.claude import run

GOOD = {"type": "command", "command": "true"}
GROUP = {"hooks": [GOOD]}


def entry(**more: Any) -> dict[str, Any]:
    return {"PreToolUse": [{"hooks": [{**GOOD, **more}]}]}


APPLIED: dict[str, Any] = {
    "a comment": {"_comment": "format after edits"},
    "a comment of lines": {"//": ["one", "two"]},
    "a comment that is an object": {"_comment": {"by": "me"}},
    "a number": {"_version": 1},
    "null": {"_comment": None},
    "an event nobody knows": {"PreToolUsed": [GROUP]},
    "an event nobody knows, of nonsense": {"Whatever": [{"x": 1}]},
    "an event that is null": {"PostToolUse": None, "PreToolUse": None, "PermissionRequest": None},
    "an event of ours that is null": {"Stop": None, "SessionStart": None},
    "an event that is a text": {"PostToolUse": "none"},
    "an event of ours that is a text": {"Stop": "none"},
    "an event that is an object": {"PostToolUse": GROUP},
    "a comment in a group": {"PreToolUse": [{"_comment": "x", **GROUP}]},
    "a comment in an entry": entry(**{"//": "x"}),
    "no entries": {"PreToolUse": [{"hooks": []}]},
    "an empty command": entry(command=""),
    "a fraction of a second": entry(timeout=0.5),
    "a bad group elsewhere": {"Stop": [None, "x", {"matcher": 1, "hooks": [GOOD]}]},
    "a bad entry elsewhere": {"Stop": [{"hooks": [None, {"command": "true"}, {**GOOD, "timeout": 0}]}]},
}
VOIDING: dict[str, Any] = {
    "an event that is a text": {"PermissionRequest": "none"},
    "a group that is null": {"PreToolUse": [None]},
    "a group that is a text": {"PreToolUse": ["# comment"]},
    "a group without entries": {"PreToolUse": [{}]},
    "entries that are null": {"PreToolUse": [{"hooks": None}]},
    "a matcher that is null": {"PreToolUse": [{"matcher": None, "hooks": [GOOD]}]},
    "a matcher that is an object": {"PreToolUse": [{"matcher": {"tool": "Bash"}, "hooks": [GOOD]}]},
    "an entry that is a text": {"PreToolUse": [{"hooks": ["true"]}]},
    "an entry without a type": {"PreToolUse": [{"hooks": [{"command": "true"}]}]},
    "an entry of a type nobody knows": entry(type="x"),
    "an entry without a command": {"PermissionRequest": [{"hooks": [{"type": "command"}]}]},
    "no time at all": entry(timeout=0),
    "a time that is null": entry(timeout=None),
    "a time that is true": entry(timeout=True),
    "arguments that are a text": entry(args="x"),
    "arguments that are numbers": entry(args=[1]),
    "a condition that is a number": entry(**{"if": 1}),
    "a status that is a number": entry(statusMessage=1),
    "an entry for the web without an address": {"PreToolUse": [{"hooks": [{"type": "http"}]}]},
    "an entry for a model without a prompt": {"PreToolUse": [{"hooks": [{"type": "prompt"}]}]},
}
WIRED = install.Wiring(python="/nowhere", islands="/nowhere", base="/nowhere", supervisor="/nowhere")
CASES = [*((name, hooks, False) for name, hooks in APPLIED.items()), *((name, hooks, True) for name, hooks in VOIDING.items())]


@pytest.mark.parametrize(("name", "hooks", "voids"), CASES)
def test_init_takes_what_the_host_applies_and_refuses_what_voids_the_file(name, hooks, voids):
    text = json.dumps({"hooks": hooks}, indent=2)
    assert any(fault.voids for fault in install.problems(text)) is voids
    if voids:
        with pytest.raises(ValueError, match="ignores the whole file"):
            install.with_hooks(text, WIRED)
    else:
        assert install.without_hooks(install.with_hooks(text, WIRED)) == text


@pytest.mark.parametrize("value", ["null", '"none"', "1", "[]"])
def test_where_hooks_is_no_object_ours_go_in_beside_it_and_out_again_to_the_byte(value):
    text = f'{{"model": "opus", "hooks": {value}}}\n'
    with_ours = install.with_hooks(text, WIRED)
    assert len(list(install.installed(with_ours))) == sum(len(install.entries_of(event, WIRED)) for event in install.EVENTS)
    assert install.without_hooks(with_ours) == text


@pytest.mark.claude
@pytest.mark.slow
def test_the_host_does_with_each_of_these_files_what_is_said_of_it_here(short, home, project):
    """Three files a session, as it reads three; a hook of our own in each says whether the file counts."""
    marks = short / "marks"
    marks.touch()
    files = [home.path / ".claude" / "settings.json", project / ".claude" / "settings.json", project / ".claude" / "settings.local.json"]
    beside = [(f"hooks are {value}", value, False) for value in ("null", "1")]
    notices = 0
    for at in range(0, len(CASES) + len(beside), len(files)):
        batch = [*CASES, *beside][at : at + len(files)]
        for path, (name, hooks, voids) in zip(files, batch, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_of(name, hooks, voids, marks))
        with ScriptedApi([]) as api:
            outcome = run("go", api=api, project=project, home=home, output="stream-json", args=["--include-hook-events"])
        assert outcome.code == 0, outcome
        notices += sum(
            install.ABSENT[:30] in event.get("stdout", "") for event in outcome.events() if event.get("hook_event") == "SessionStart"
        )
        for path in files:
            path.unlink(missing_ok=True)
    counted = {line for line in marks.read_text().splitlines() if line}
    expected = {f"{name}, {voids}" for name, hooks, voids in CASES if not voids}
    assert counted == expected
    assert notices == len(expected) + len(beside), "where the file counts, our own entries do"


def text_of(name: str, hooks: Any, voids: bool, marks: Path) -> str:
    if isinstance(hooks, str):
        text = f'{{"hooks": {hooks}}}'
    else:
        mark = {"type": "command", "command": f"echo {json.dumps(f'{name}, {voids}')} >>{marks}"}
        text = json.dumps({"hooks": {**hooks, "UserPromptSubmit": [{"hooks": [mark]}]}})
    wired = install.Wiring(python=f"/nowhere/{name}", islands="/nowhere", base="/nowhere", supervisor="/nowhere")
    return text if voids else install.with_hooks(text, wired)
