"""C-18: on a disk that takes nothing, or without a home, hooks and shims do as if Stretto were absent; the user is told once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto import cli, disk, doctor, install
from stretto.testing import leftovers
from stretto.testing.faults import Fault, interpreter, mounted

BASH = {"tool_name": "Bash", "tool_use_id": "a", "tool_input": {"command": "pytest -q"}}
CALLS = {
    "SessionStart": {"source": "startup"},
    "UserPromptSubmit": {"prompt": "p"},
    "PreToolUse": BASH,
    "PermissionRequest": BASH,
    "PostToolBatch": {"tool_calls": [BASH]},
    "Stop": {},
    "SubagentStop": {"agent_id": "g"},
    "TaskCompleted": {"task_id": "1"},
    "SessionEnd": {"reason": "other"},
}
SOAK = os.environ.get("STRETTO_SCALE") == "soak"
NOTICES = {"full": 1, "read-only": 1, "quota": 1, "no home": 0, "home not writable": 0}
if SOAK:
    NOTICES |= {"full but for some bytes": 1, "input/output error": 1}


@pytest.fixture
def world(request: pytest.FixtureRequest, short: Path, project: Path, state_base: Path) -> Iterator[Bench]:
    """A granted project under the condition that the test names, from before the session on."""
    how = request.param
    with ExitStack() as stack:
        stack.callback(leftovers.end, str(short))
        make_read_only = None
        if how in ("full", "full but for some bytes", "read-only"):
            state_base.mkdir(mode=0o700)
            try:
                make_read_only = stack.enter_context(mounted(state_base, 1 << 20))
            except PermissionError as error:
                pytest.skip(f"no file system of our own here: {error}")
            stack.callback(leftovers.end, str(short))
        bench = Bench(short, project, state_base)
        if how == "read-only" and make_read_only:
            make_read_only()
        if how.startswith("full"):
            fill(state_base / "filler")
        if how == "full but for some bytes":
            os.truncate(state_base / "filler", (state_base / "filler").stat().st_size - 8192)
        if how in ("quota", "input/output error"):
            bench.python = interpreter(short, Fault("supervisor", "write", 1, "EDQUOT+" if how == "quota" else "EIO+"))
        if how == "no home":
            del bench.env["HOME"]
        if how == "home not writable":
            bench.env["HOME"] = "/proc/1"
        yield bench
        try:
            bench.ask(op=b"stop")
        except (OSError, AssertionError):
            pass  # there is none, or it cannot answer; what lives is ended below


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass  # that is what full means


def test_the_table_names_every_hook_we_listen_to():
    assert sorted(CALLS) == sorted(event.name for event in install.EVENTS)


@pytest.mark.parametrize(("world", "notices"), NOTICES.items(), indirect=["world"], ids=NOTICES)
def test_c18_every_hook_and_shim_is_as_if_we_were_absent_with_one_notice_in_a_session(world, notices):
    """C-18, F57: each hook ends with 0, says nothing but the one line, adds no context, and blocks nothing."""
    print(f"scale: {'soak' if SOAK else 'everyday'}, {len(NOTICES)} conditions")
    (world.root / "src.py").write_text("one\n")
    world.tool("pytest", "cat src.py; exit 3")
    for event, fields in CALLS.items():
        if event == "SessionEnd":
            for text in ("two\n", "three\n"):
                (world.root / "src.py").write_text(text)
                assert world.bash("pytest -q", told=False)[:2] == (text.encode(), 3)
        done = world.hook(event, **fields)
        assert (done.returncode, done.stderr) == (0, b""), event
        assert done.stdout == b"" or list(json.loads(done.stdout)) == ["systemMessage"], event
    assert len(world.notices) == notices, world.notices
    assert all("everything runs as without it" in notice for notice in world.notices)


# --- file systems that cannot carry us (F58, C-20) ----------------------------------------------------------------------------------


def all_as_without_us(bench: Bench) -> None:
    for text in ("one\n", "two\n"):
        (bench.root / "src.py").write_text(text)
        bench.hook("UserPromptSubmit", prompt="p")
        assert bench.bash("pytest -q")[:2] == (text.encode(), 3)
    assert not bench.did()
    assert len(bench.notices) == 1


def test_f58_without_locks_no_supervisor_serves_and_the_user_is_told_once(bench):
    """Two supervisors of one project would be worse than none."""
    bench.tool("pytest", "cat src.py; exit 3")
    bench.python = interpreter(bench.short, Fault("supervisor", "flock", 1, "ENOLCK+"))
    bench.hook("SessionStart", source="startup")
    all_as_without_us(bench)
    assert "stretto doctor" in bench.notices[0]
    assert bench.state().supervisor is None
    assert "cannot lock" in Path(bench.paths.supervisor_errors).read_text()


def test_f58_on_a_network_file_system_the_supervisor_is_passive_and_says_why_once(bench):
    bench.tool("pytest", "cat src.py; exit 3")
    (bench.short / "mounts").write_text(f"none / ext4 rw 0 0\nserver:/x {bench.base} nfs4 rw 0 0\n")
    bench.python = interpreter(bench.short, Fault("supervisor", "mounts", 0, ""))
    bench.hook("SessionStart", source="startup")
    all_as_without_us(bench)
    assert "network file system (nfs4)" in bench.notices[0]
    assert "STRETTO_STATE_DIR" in bench.notices[0]


@pytest.mark.parametrize("there", [False, True], ids=["new state directory", "one that was there"])
def test_f58_init_refuses_a_network_file_system_and_leaves_nothing(project, state_base, short, monkeypatch, capsys, there):
    if there:
        state_base.mkdir(mode=0o700)
    (short / "mounts").write_text(f"none / ext4 rw 0 0\nserver:/x {short} nfs rw 0 0\n")
    monkeypatch.setattr(disk, "MOUNTS", str(short / "mounts"))
    monkeypatch.chdir(project)
    assert cli.run(["init", "--yes"]) == 1
    assert "network file system (nfs)" in capsys.readouterr().err
    assert state_base.exists() == there
    assert not any(state_base.iterdir() if there else ())
    assert not (project / ".claude" / "settings.local.json").exists()


def test_f58_doctor_names_the_file_system_and_the_way_out(bench, monkeypatch):
    (bench.short / "mounts").write_text(f"none / ext4 rw 0 0\nserver:/x {bench.base} nfs rw 0 0\n")
    monkeypatch.setattr(disk, "MOUNTS", str(bench.short / "mounts"))
    (found,) = [check for check in doctor.examine(str(bench.root), str(bench.base)) if check.name == "state"]
    assert (found.level, "network file system (nfs)" in found.text, "STRETTO_STATE_DIR" in found.do) == ("fail", True, True)
