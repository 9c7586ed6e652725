"""Our hooks in settings files: what goes in, what comes out again, and that nothing else ever moves."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto import install
from stretto.errors import UnavailableError, UserError

WIRED = install.Wiring(python="/opt/py/bin/python3.11", islands="/opt/st/stretto", base="/home/u/st ate", supervisor="/opt/venv/bin/python")
OTHER = install.Wiring(python="/opt/py/bin/python3.12", islands="/opt/st/stretto", base="/home/u/st ate", supervisor="/opt/venv/bin/python")
FOREIGN = {"type": "command", "command": "echo stretto:hook:v1", "timeout": 3}

ROUND_TRIPS = [
    pytest.param("{}", id="empty-object"),
    pytest.param("{}\n", id="empty-object-line"),
    pytest.param("{\n}\n", id="empty-object-two-lines"),
    pytest.param("{ \t }", id="empty-object-blanks"),
    pytest.param('{"model":"opus"}', id="one-line-no-newline-at-the-end"),
    pytest.param('{"a": 1, "b": [1,2 , 3]}\n', id="one-line-loose"),
    pytest.param('{\n  "model": "opus",\n  "env": {"A": "b"}\n}\n', id="two-spaces"),
    pytest.param('{\n    "model": "opus"\n}', id="four-spaces-no-newline-at-the-end"),
    pytest.param('{\n\t"model": "opus",\n\t"x": {\n\t\t"y": []\n\t}\n}\n', id="tabs"),
    pytest.param('{\r\n  "model": "opus"\r\n}\r\n', id="crlf"),
    pytest.param('{\n  "model": "opus"\n\n\n  }  \n\n', id="odd-blanks-at-the-end"),
    pytest.param('\ufeff{\n  "model": "opus"\n}\n', id="byte-order-mark"),
    pytest.param('{"ключ": "значение \\u00e9 é 🎼", "s": "a\\"b{[,]}\\\\"}\n', id="unicode-and-escapes"),
    pytest.param('{"hooks": {}}', id="empty-hooks"),
    pytest.param('{"hooks": {"PreToolUse": [], "Stop": [ ]}, "z": null}', id="empty-events"),
    pytest.param(
        json.dumps({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [FOREIGN]}], "Notification": []}}, indent=2) + "\n",
        id="foreign-hook-in-the-same-event",
    ),
    pytest.param(
        json.dumps({"hooks": {"Stop": [{"hooks": [FOREIGN]}]}, "permissions": {"deny": ["Bash(rm*)"]}}), id="foreign-hook-compact"
    ),
    pytest.param('{\n  "hooks" : {\n    "Stop" : [\n      { "hooks" : [] }\n    ]\n  } ,\n  "a" : 1\n}\n', id="empty-foreign-group"),
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_f69_init_then_uninstall_is_byte_equal(text):
    with_ours = install.with_hooks(text, WIRED)
    assert with_ours != text
    assert install.without_hooks(with_ours) == text


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_init_adds_our_entries_and_keeps_all_that_was_there(text):
    before, after = (json.loads(side.removeprefix("\ufeff")) for side in (text, install.with_hooks(text, WIRED)))
    hooks = after.pop("hooks")
    old = before.pop("hooks", {})
    assert after == before
    for event in install.EVENTS:
        *others, ours = hooks[event.name]
        assert others == old.get(event.name, [])
        assert ours["hooks"] == install.entries_of(event, WIRED)
        assert ours.get("matcher", "") == event.matcher
    assert {name: hooks[name] for name in old if name not in {event.name for event in install.EVENTS}} == {
        name: value for name, value in old.items() if name not in {event.name for event in install.EVENTS}
    }


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
GROUPS = st.lists(
    st.fixed_dictionaries(
        {"hooks": st.lists(st.just(FOREIGN), max_size=2)},
        optional={"matcher": st.sampled_from(["", "Bash", "Edit|Write"]), "x": JSON_VALUES},
    ),
    max_size=2,
)
HOOKS = st.dictionaries(st.sampled_from([event.name for event in install.EVENTS] + ["Notification", "PostToolUse"]), GROUPS, max_size=4)
SETTINGS = st.tuples(
    st.dictionaries(st.text(max_size=6).filter(lambda key: key != "hooks"), JSON_VALUES, max_size=3), st.none() | HOOKS, st.booleans()
).map(lambda parts: parts[0] if parts[1] is None else ({"hooks": parts[1], **parts[0]} if parts[2] else {**parts[0], "hooks": parts[1]}))
STYLES = st.sampled_from([None, 0, 1, 2, 4, "\t"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,  ", " : ")])


@given(
    settings=SETTINGS,
    indent=STYLES,
    separators=SEPARATORS,
    ascii_only=st.booleans(),
    crlf=st.booleans(),
    end=st.sampled_from(["", "\n", "\n\n "]),
)
def test_f69_any_settings_are_byte_equal_after_uninstall_and_hold_us_once_in_between(settings, indent, separators, ascii_only, crlf, end):
    text = json.dumps(settings, indent=indent, separators=separators, ensure_ascii=ascii_only) + end
    text = text.replace("\n", "\r\n") if crlf else text
    once = install.with_hooks(text, WIRED)
    assert install.with_hooks(once, WIRED) == once
    assert sorted(event for event, _ in install.installed(once)) == sorted(
        event.name for event in install.EVENTS for _ in install.entries_of(event, WIRED)
    )
    assert install.with_hooks(install.with_hooks(text, OTHER), WIRED) == once
    assert install.without_hooks(once) == text


@given(settings=SETTINGS, indent=STYLES)
def test_uninstall_after_the_host_wrote_the_file_anew_takes_out_only_our_entries(settings, indent):
    """Claude Code writes settings.local.json itself when the user answers "do not ask again"."""
    host = json.dumps(
        {**json.loads(install.with_hooks(json.dumps(settings, indent=indent), WIRED)), "permissions": {"allow": ["Bash(ls)"]}}, indent=2
    )
    left = json.loads(install.without_hooks(host))
    assert left.pop("permissions") == {"allow": ["Bash(ls)"]}
    settings = {key: value for key, value in settings.items() if key != "permissions"}
    foreign = {event: groups for event, groups in settings.pop("hooks", {}).items() if groups}
    assert {event: groups for event, groups in left.pop("hooks", {}).items() if groups} == foreign
    assert left == settings


def test_uninstall_keeps_what_the_user_put_next_to_ours_in_between():
    text = install.with_hooks('{\n  "model": "opus"\n}\n', WIRED)
    settings = json.loads(text)
    settings["hooks"]["Stop"][0]["hooks"].insert(0, FOREIGN)
    settings["hooks"]["SessionEnd"].append({"hooks": [FOREIGN]})
    left = json.loads(install.without_hooks(json.dumps(settings, indent=2)))
    assert left == {"model": "opus", "hooks": {"Stop": [{"hooks": [FOREIGN]}], "SessionEnd": [{"hooks": [FOREIGN]}]}}


def test_an_entry_that_only_mentions_our_mark_is_not_ours():
    foreign = [FOREIGN, {"type": "command", "command": "x", "args": [f"--id={install.MARK}"]}, {"type": "command", "command": install.MARK}]
    text = json.dumps({"hooks": {"Stop": [{"hooks": foreign}]}})
    assert install.without_hooks(text) == text


@pytest.mark.parametrize(
    "data, place",
    [
        pytest.param(b"", "line 1 column 1", id="empty-file"),
        pytest.param(b'{\n  // models\n  "a": 1\n}\n', "line 2 column 3", id="comment"),
        pytest.param(b'{\n  "a": 1,\n}\n', ": line ", id="comma-at-the-end"),
        pytest.param(b'{"a": 1', "line 1 column 8", id="cut-short"),
        pytest.param(b"[]", "line 1 column 1", id="no-object"),
        pytest.param(b'{"a": NaN}', "NaN", id="no-json-number"),
        pytest.param(b'{\n "a": "\xff"}', "line 2 column 8", id="no-utf-8"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="nested-too-deeply"),
        pytest.param(b'{"hooks": {"PreToolUse": {}}}', "`hooks.PreToolUse` is no list", id="event-is-an-object"),
        pytest.param(
            b'{"hooks": {"PreToolUse": [{"hooks": [{"type": "command"}]}]}}', "`hooks.PreToolUse[0].hooks[0]`", id="entry-without-command"
        ),
        pytest.param(
            b'{"hooks": {"PermissionRequest": [{"hooks": [{"type": "command", "command": "x", "timeout": 0}]}]}}',
            "`timeout`",
            id="timeout-zero",
        ),
    ],
)
def test_init_into_a_file_claude_code_would_ignore_refuses_with_the_place_and_changes_nothing(tmp_path, data, place):
    path = tmp_path / "settings.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        install.plan_init(str(path), WIRED)
    assert place in str(error.value)
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["fifo", "endless", "large"])
def test_what_is_no_settings_file_is_refused_at_once(tmp_path, kind):
    """A link of a cloned repository may lead anywhere."""
    path = tmp_path / "settings.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(install.FILE_MOST_BYTES + 1)
    for plan in (lambda: install.plan_init(str(path), WIRED), lambda: install.plan_uninstall(str(path))):
        with pytest.raises(UserError, match="no regular file"):
            plan()


def test_a_bad_entry_under_an_event_that_voids_nothing_does_not_stop_init():
    text = '{"hooks": {"Stop": [{"hooks": [{"type": "command"}]}]}}'
    assert [fault.voids for fault in install.problems(text)] == [False]
    assert install.without_hooks(install.with_hooks(text, WIRED)) == text


def test_uninstall_from_a_file_broken_since_then_refuses_and_from_a_foreign_broken_file_does_nothing(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(install.with_hooks(None, WIRED) + "}")
    with pytest.raises(UserError, match="line"):
        install.plan_uninstall(str(path))
    path.write_text("{ // not ours\n}")
    assert not install.plan_uninstall(str(path)).changes


def test_f69_files_and_folders_that_were_not_there_are_gone_again(tmp_path):
    path = tmp_path / ".claude" / "settings.local.json"
    edit = install.plan_init(str(path), WIRED)
    assert edit.makes_directory
    install.perform(edit)
    assert json.loads(path.read_text())["hooks"]
    edit = install.plan_uninstall(str(path))
    assert edit.after is None
    install.perform(edit)
    assert not path.exists()


def test_init_twice_writes_once(tmp_path):
    path = tmp_path / "settings.json"
    install.perform(install.plan_init(str(path), WIRED))
    assert not install.plan_init(str(path), WIRED).changes


def test_init_of_another_installation_replaces_our_entries(tmp_path):
    text = install.with_hooks(install.with_hooks('{"a": 1}', OTHER), WIRED)
    assert text == install.with_hooks('{"a": 1}', WIRED)


def test_a_settings_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "dotfiles.json", tmp_path / "settings.json"
    real.write_text("{}")
    real.chmod(0o640)
    link.symlink_to(real)
    install.perform(install.plan_init(str(link), WIRED))
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    install.perform(install.plan_uninstall(str(link)))
    assert real.read_text() == "{}"


def test_a_file_changed_since_the_plan_is_not_overwritten(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text("{}")
    edit = install.plan_init(str(path), WIRED)
    path.write_text('{"new": 1}')
    with pytest.raises(UnavailableError):
        install.perform(edit)
    assert path.read_text() == '{"new": 1}'


def test_f30_user_and_project_file_get_identical_entries_which_the_host_runs_once():
    """Claude Code runs an entry with the same command and args once, whatever file it stands in (measured)."""
    user, project = (list(install.installed(install.with_hooks(text, WIRED))) for text in ('{"model": "x"}', None))
    assert user == project


def test_hooks_that_meet_other_tools_than_they_should_are_exchanged():
    """An older installation's matcher; a hook that is there is not yet one that is called."""
    text = install.with_hooks(None, WIRED)
    matcher = next(event.matcher for event in install.EVENTS if event.name == "PreToolUse")
    older = text.replace(json.dumps(matcher), '"Bash|Edit|Write|MultiEdit|NotebookEdit"')
    assert older != text
    assert install.with_hooks(older, WIRED) == text
    assert install.with_hooks(text, WIRED) == text


def test_f71_timeouts_are_whole_seconds_within_a_minute_and_only_what_waits_in_the_background_has_days():
    entries = [entry for _, entry in install.installed(install.with_hooks(None, WIRED))]
    waiting = [entry for entry in entries if entry.get("asyncRewake")]
    assert [type(entry["timeout"]) for entry in entries] == [int] * len(entries)
    assert all(1 <= entry["timeout"] <= 60 for entry in entries if entry not in waiting)
    assert len(entries) - len(waiting) == len(install.EVENTS)
    assert [entry["timeout"] for entry in waiting] == [install.WATCH_S] * 2


def test_the_hook_interpreter_is_a_real_file_outside_any_virtual_environment():
    wired = install.wiring("/state")
    assert os.path.realpath(wired.python) == wired.python
    assert os.access(wired.python, os.X_OK)
    assert "/shims/" not in wired.python
    prefix = subprocess.run(
        [wired.python, "-I", "-c", "import sys; print(sys.prefix == sys.base_prefix)"], capture_output=True, text=True, check=True
    )
    assert prefix.stdout == "True\n"
    assert os.path.isfile(os.path.join(wired.islands, "client.py"))


def run_entry(entry, stdin=b"{}"):
    return subprocess.run([entry["command"], *entry["args"]], input=stdin, capture_output=True, timeout=30, check=False)


def real_entry(event_name, islands):
    wired = install.Wiring(python=install.wiring("").python, islands=str(islands), base="/nonexistent", supervisor=sys.executable)
    return next(install.entry(event, wired) for event in install.EVENTS if event.name == event_name)


@pytest.mark.parametrize("event", ["SessionStart", "PreToolUse", "Stop"])
@pytest.mark.parametrize("state", ["gone", "empty-folder", "syntax-error", "raises-at-import", "no-main", "exits-2-at-import"])
def test_f22_f23_a_broken_installation_ends_every_hook_with_zero_and_one_notice(tmp_path, event, state):
    """F22, F23: without our files no hook blocks, says why once at the start of a session, and never ends with Python's own 2."""
    islands = tmp_path / "islands"
    if state != "gone":
        islands.mkdir()
    body = {
        "syntax-error": "def main(:",
        "raises-at-import": "1 / 0",
        "no-main": "x = 1",
        "exits-2-at-import": "import sys; sys.exit(2)",
    }.get(state)
    if body:
        (islands / "client.py").write_text(body)
    ended = run_entry(real_entry(event, islands))
    assert (ended.returncode, ended.stderr) == (0, b"")
    if event == "SessionStart":
        said = json.loads(ended.stdout)
        assert list(said) == ["systemMessage"]
        assert "stretto init" in said["systemMessage"] and "stretto uninstall" in said["systemMessage"]
        assert install.MARK in said["systemMessage"], "what to do where the command is gone as well"
    else:
        assert ended.stdout == b""


ABSENT = {
    "absent": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "not executable": lambda path: path.write_text("x"),
    "of another machine": lambda path: (path.write_bytes(b"\x7fELF\x02\x01\x01other\0"), path.chmod(0o755)),
    "without its loader": lambda path: (path.write_text("#!/nowhere/loader\n"), path.chmod(0o755)),
}


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
@pytest.mark.parametrize("state", ABSENT)
def test_without_its_interpreter_a_hook_is_silent_but_for_one_notice_at_the_start_of_a_session(tmp_path, state, shell):
    """A checkout opened in a container or on another machine: the host reports a program it cannot start at every call."""
    python = tmp_path / "it's python"
    ABSENT[state](python)
    wired = install.Wiring(python=str(python), islands="/nowhere", base="/nowhere", supervisor="/nowhere")
    path = tmp_path / "bin"
    path.mkdir()
    (path / shell).symlink_to(shutil.which(shell))
    for event in install.EVENTS:
        for one in install.entries_of(event, wired):
            assert one["command"] == "/bin/sh"
            ended = run_entry({**one, "command": str(path / shell)})
            said = json.loads(ended.stdout)["systemMessage"] if ended.stdout else ""
            assert (ended.returncode, said) == (0, install.ABSENT if one["args"][-1] == "SessionStart" else "")


def test_the_launcher_hands_the_client_its_arguments_and_its_exit(tmp_path):
    (tmp_path / "client.py").write_text("import sys\ndef main(argv):\n    print(argv)\n    sys.exit(2)\n")
    entry = real_entry("Stop", tmp_path)
    ended = run_entry(entry)
    assert ended.returncode == 2  # a verdict of the client passes
    assert ended.stdout.decode().strip() == str([str(tmp_path), "/nonexistent", sys.executable, install.MARK, "Stop"])
