"""The demo's project on disk, and a small demo from end to end: own archives, no network."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile

import pytest

from stretto.commands import check_of
from stretto.demo import __main__ as entry_point
from stretto.demo import live, project, run, script
from stretto.demo.project import Release
from stretto.errors import CorruptError, UnavailableError, UserError
from stretto.model import SupervisorStarted
from stretto.system import Process, lives
from stretto.testing import claude
from stretto.testing.api import Call, ScriptedApi, Turn

BACKEND = """
import os
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "tiny-1.0.dist-info"))
    with open(os.path.join(folder, "tiny-1.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
    with open(os.path.join(folder, "tiny-1.0.dist-info", "WHEEL"), "w") as file:
        file.write("Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    return "tiny-1.0.dist-info"
def build_wheel(*_):
    raise NotImplementedError
"""
FILES = {
    "tiny-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "tiny-1.0/backend.py": BACKEND,
    "tiny-1.0/src/tiny.py": "def half(n):\n    return n // 2\n",
    "tiny-1.0/tests/test_tiny.py": "from tiny import half\n\n\ndef test_half():\n    assert half(4) == 2\n",
}


def pack(path, files=FILES, extra=()):
    """Write an archive of texts, then the given entries; return its path."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        for entry in extra:
            tar.addfile(entry)
    return path


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def index(short, monkeypatch):
    """A folder that stands for the package index, with one release in it."""
    folder = short / "index"
    folder.mkdir()
    pack(folder / "tiny-1.0.tar.gz")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_fetch_downloads_once_and_takes_the_kept_archive_afterwards(short, index):
    release = Release("tiny", "1.0", digest(index / "tiny-1.0.tar.gz"))
    found = project.fetch(release, short / "cache")
    (index / "tiny-1.0.tar.gz").unlink()
    assert digest(found) == release.sha256
    assert project.fetch(release, short / "cache") == found
    assert [path.name for path in (short / "cache").iterdir()] == ["tiny-1.0.tar.gz"]


@pytest.mark.slow
def test_fetch_refuses_an_archive_with_another_digest_before_running_anything_in_it(short, index):
    touch = f"open({str(short / 'ran')!r}, 'w').close()\n"
    pack(index / "tiny-1.0.tar.gz", {**FILES, "tiny-1.0/backend.py": touch + BACKEND})
    with pytest.raises((UnavailableError, CorruptError)):
        project.fetch(Release("tiny", "1.0", "0" * 64), short / "cache")
    assert not (short / "ran").exists()
    assert not (short / "cache" / "tiny-1.0.tar.gz").exists()


@pytest.mark.slow
def test_fetch_does_not_use_a_kept_archive_that_was_damaged(short, index):
    release = Release("tiny", "1.0", digest(index / "tiny-1.0.tar.gz"))
    kept = project.fetch(release, short / "cache")
    kept.write_bytes(kept.read_bytes()[:-7])
    assert digest(project.fetch(release, short / "cache")) == release.sha256


def test_create_makes_the_same_commit_twice_and_a_clean_tree(short):
    archive = pack(short / "tiny-1.0.tar.gz")
    first = project.create(archive, short / "one")
    (first / "src" / "left-over").write_text("from the first half")
    heads = [git(project.create(archive, folder), "rev-parse", "HEAD") for folder in (first, short / "two")]
    assert heads[0] == heads[1]
    assert not (first / "src" / "left-over").exists()
    assert git(first, "status", "--porcelain") == ""


def entry(name, kind=tarfile.REGTYPE, link=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(entry("tiny-1.0/../../escaped"), id="parent"),
        pytest.param(entry("/escaped"), id="absolute"),
        pytest.param(entry("tiny-1.0/link", tarfile.SYMTYPE, "/etc/passwd"), id="symbolic link"),
        pytest.param(entry("tiny-1.0/hard", tarfile.LNKTYPE, "tiny-1.0/PKG-INFO"), id="hard link"),
        pytest.param(entry("tiny-1.0/fifo", tarfile.FIFOTYPE), id="pipe"),
        pytest.param(entry("tiny-1.0/device", tarfile.CHRTYPE), id="device"),
    ],
)
def test_unpack_refuses_what_is_no_plain_file_below_one_folder(short, hostile):
    with pytest.raises(CorruptError, match="no plain file"):
        project.unpack(pack(short / "bad.tar.gz", extra=[hostile]), short / "into")
    assert not (short / "escaped").exists()


def test_unpack_names_a_damaged_archive(short):
    archive = pack(short / "tiny-1.0.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(CorruptError, match="remove it and try again"):
        project.unpack(archive, short / "into")


def test_environment_finds_the_tools_of_this_interpreter_first(short):
    found = project.environment(short)["PATH"].split(os.pathsep)
    assert found[0] == os.path.dirname(sys.executable)
    assert len(found) == len(set(found))


def small_steps(folder, _suite=script.PYTEST):
    """A session of two checks around an edit, as short as it can be and still be met by a run ahead."""
    edit = Call("Write", {"file_path": str(folder / "tests" / "test_more.py"), "content": "def test_more():\n    assert True\n"})
    check = Call("Bash", {"command": "cd . && pytest -q 2>&1 | tail -1", "description": "check"})
    return (
        script.Step("check", "pytest", Turn((check,), "", 0.1)),
        script.Step("write", "edit", Turn((edit,), "", 0.1)),
        script.Step("check", "pytest", Turn((check,), "", 3.0)),
        script.Step("look", "done", Turn((), "done")),
    )


@pytest.mark.claude
@pytest.mark.slow
def test_small_demo_joins_the_check_after_the_edit_and_leaves_nothing_behind(short, monkeypatch):
    """Both halves of the demo on the real Claude Code: the same outputs, the second check joined, no process and no file left."""
    monkeypatch.setattr(script, "steps", small_steps)
    seen = []
    leave = run.Stage.leave
    monkeypatch.setattr(run.Stage, "leave", lambda here: (seen.append((here.folder, here.log())), leave(here)))
    report = run.both(pack(short / "tiny-1.0.tar.gz"), say=lambda line: None)
    assert [same == "different" for same in report.same] == [False] * 4
    first, second = report.with_it.checks
    assert [one.way for one in first.parts] == ["ran"], report.with_it.steps
    assert [one.way for one in second.parts] in (["attach"], ["replay"]), report.with_it.steps
    assert second.parts[0].attempt in [ran.attempt for ran in report.with_it.ahead]
    assert "1 passed" in first.outputs[0] and "2 passed" in second.outputs[0]
    assert not any(one.parts for one in report.without.steps)
    ((folder, log),) = seen
    supervisors = [Process(event.pid, event.start, event.boot) for event in log if isinstance(event, SupervisorStarted)]
    assert supervisors and not any(map(lives, supervisors))
    assert not folder.exists()


def test_live_messages_pairs_calls_with_their_results():
    """One message of the model comes in several events; a subagent's own calls are not the session's."""
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "pytest -q"}}
    other = {"type": "tool_use", "id": "t2", "name": "Read", "input": {"file_path": "a.py"}}
    results = [{"type": "tool_result", "tool_use_id": name, "content": [{"type": "text", "text": name}]} for name in ("t1", "t2")]
    events = [
        (1.0, {"type": "assistant", "message": {"id": "m1", "content": [use]}}),
        (1.1, {"type": "assistant", "message": {"id": "m1", "content": [other]}}),
        (1.2, {"type": "assistant", "parent_tool_use_id": "t1", "message": {"id": "m9", "content": [{**use, "id": "t9"}]}}),
        (2.0, {"type": "user", "message": {"content": [results[0]]}}),
        (3.0, {"type": "user", "message": {"content": [results[1]]}}),
        (4.0, {"type": "assistant", "message": {"id": "m2", "content": [{"type": "text", "text": "done"}]}}),
    ]
    (message,) = live.messages(events)
    assert (message.sent_s, message.returned_s, message.outputs) == (1.0, 3.0, ["t1", "t2"])
    assert message.calls["t1"] == {"command": "pytest -q"}


@pytest.mark.claude
@pytest.mark.slow
def test_live_half_plays_the_users_claude_and_shows_what_it_met(short, monkeypatch):
    """The user's own binary, home and account (here a scripted one) with the permissions the live demo gives it."""
    binary = claude.find_binary()
    with run.stage(pack(short / "tiny-1.0.tar.gz")) as here, ScriptedApi([step.turn for step in small_steps(here.project)]) as api:
        home = here.prepare()
        here.stretto("init", "--yes")
        for name, value in home.environment(api).items():
            monkeypatch.setenv(name, value)
        session = live.play_live(here, binary, say=lambda line: None)
    assert [step.kind for step in session.steps] == ["check", "write", "check", "look"], session
    first, second = session.checks
    assert "1 passed" in first.outputs[0] and "2 passed" in second.outputs[0]
    assert second.waited_s > 0 and second.command.startswith("cd . && pytest")
    assert {part.command for step in session.checks for part in step.parts} == {"pytest -q"}


@pytest.mark.claude
@pytest.mark.slow
def test_live_half_that_fails_says_what_claude_said(short, monkeypatch):
    """A binary that ends at once leaves no half session and no stage behind."""
    broken = short / "claude"
    broken.write_text("#!/bin/sh\necho not logged in >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(UnavailableError, match=r"ended with 3.*not logged in"), run.stage(pack(short / "tiny-1.0.tar.gz")) as here:
        here.prepare()
        live.play_live(here, str(broken), say=lambda line: None)
    assert not here.folder.exists()


def test_live_demo_does_not_start_unasked(monkeypatch):
    """It costs tokens: without a terminal to ask on, and without --yes, nothing begins."""
    monkeypatch.setattr(run, "check_machine", lambda: None)
    monkeypatch.setattr(live, "find_claude", lambda: "/bin/false")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(project, "fetch", lambda: pytest.fail("it began"))
    with pytest.raises(UserError, match="--yes"):
        entry_point.main(["--live"])


@pytest.mark.parametrize(("probe_s", "expected"), [(1.2, script.PYTEST), (3.5, script.SHORTER)], ids=["a usual machine", "a slow one"])
def test_a_slow_machine_runs_a_shorter_suite_so_that_the_demo_keeps_its_time(short, probe_s, expected):
    commands = [call.input.get("command", "") for step in script.steps(short, script.suite(probe_s)) for call in step.turn.calls]
    assert script.suite(probe_s) == expected
    assert sum(expected in command for command in commands) == 4
    assert check_of("pytest", expected.split()) is not None
