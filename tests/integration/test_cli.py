"""The command line as a user has it: a process of its own, its output, its exit code, and what it leaves behind."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import stretto
from stretto import cli, control, install, journal, model, power, snapshot, trust
from stretto.errors import CorruptError, UnavailableError, UserError
from stretto.fold import fold
from stretto.journal import Journal, read
from stretto.model import ENCODER, AttemptId, End, JobKey, SessionId
from stretto.render import moment
from stretto.system import Lock, boot_id, identify, lives
from stretto.testing import leftovers
from stretto.testing.wait import wait_until

LIMIT_S = 60
PACKAGE = str(Path(stretto.__file__).parents[1])


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class World:
    """One user: a home, a state directory, a project; nothing of the real user is in reach."""

    def __init__(self, short, project):
        self.base, self.project, self.home = short / "s", project, short / "h"
        self.home.mkdir()
        (self.home / "bin").mkdir()
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
            "STRETTO_STATE_DIR": str(self.base),
            "PYTHONPATH": PACKAGE,
            "LANG": "C.UTF-8",
        }
        self.command = [sys.executable, "-m", "stretto"]

    def __call__(self, *arguments, cwd=None, env=None, stdin=subprocess.DEVNULL):
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=cwd or self.project,
            env={**self.env, **(env or {})},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments, **more):
        ended = self(*arguments, **more)
        assert ended.code == 0, ended
        return ended.out

    @property
    def settings(self):
        return self.project / ".claude" / "settings.local.json"

    @property
    def paths(self):
        return trust.ProjectPaths(base=str(self.base), key=trust.project_key(str(self.project)))

    def hook(self, event, **payload):
        """Run our hook as Claude Code does: the entry in the settings, its environment, JSON on standard input."""
        entry = next(value for name, value in install.installed(self.settings.read_text()) if name == event)
        body = {"session_id": "5e55", "hook_event_name": event, "cwd": str(self.project), "permission_mode": "default", **payload}
        env = {**self.env, "CLAUDE_PROJECT_DIR": str(self.project), "CLAUDE_PID": str(os.getpid())}
        if event == "SessionStart":
            env["CLAUDE_ENV_FILE"] = str(self.home / "env-file")
        return subprocess.run(
            [entry["command"], *entry["args"]], input=json.dumps(body).encode(), env=env, capture_output=True, timeout=LIMIT_S, check=False
        )


@pytest.fixture
def world(short, project):
    return World(short, project)


@pytest.fixture
def log(world):
    """Grants the project and appends events as their writers do."""
    world.ok("init", "--yes")
    journal = Journal(world.paths.folder)
    clock = {"at": 1_790_000_000.0}

    def append(kind, /, **fields):
        clock["at"] += 1
        event = kind(ts=clock["at"], mono=clock["at"], boot=boot_id(), by="supervisor:1", **fields)
        journal.append(ENCODER.encode(event))

    yield append
    journal.close()


JOB, RUN, OTHER = JobKey("a" * 32), AttemptId("0123abcd" * 4), AttemptId("0123ffff" * 4)
SESSION = SessionId("5e55")


def one_check(log, world, *, out=b"1 passed\n", err=None, exited=True):
    """A check that ran ahead and was replayed once."""
    log(model.SessionOpened, session=SESSION, source="startup", claude_pid=1)
    log(model.JobSeen, job=JOB, name="pytest", argv=("pytest", "-q"), cwd=".", streams="merged" if err is None else "split")
    log(model.AttemptStarted, attempt=RUN, job=JOB, kind="ahead", session=None, generation=3, why="a source changed")
    folder = Path(world.paths.attempts, RUN)
    folder.mkdir(mode=0o700)
    (folder / "out").write_bytes(out)
    if err is not None:
        (folder / "err").write_bytes(err)
        frames = b"".join(stream + len(data).to_bytes(4, "big") for stream, data in ((b"\1", out), (b"\2", err)))
        (folder / "frames").write_bytes(frames)
    if not exited:
        return
    (folder / "exit").write_text(f"code 1 {len(out)} {len(err or b'')}\n")
    log(
        model.AttemptExited,
        attempt=RUN,
        end=End(how="code", value=1),
        out_bytes=len(out),
        err_bytes=len(err or b""),
        took_s=12.5,
        cpu_s=11.0,
    )
    log(model.AttemptSettled, attempt=RUN, generation=3)
    decided = {"job": JOB, "session": SESSION, "standing": "fresh", "attempt": RUN, "of": "ahead"}
    log(model.JoinDecided, ask="q1", do="replay", reason="nothing moved since it ended", **decided)
    log(model.JoinDone, ask="q1", attempt=RUN, waited_s=0.02, saved_s=12.48)


# --- in and out -------------------------------------------------------------------------------------------------------------


def under(path):
    return {os.path.join(folder, name) for folder, folders, files in os.walk(path) for name in folders + files}


@pytest.mark.parametrize("words", [["status"], ["why"], ["events"], ["logs", "0"], ["mode"], ["no"], ["path"], ["doctor"]])
def test_f13_looking_at_an_untouched_repository_leaves_no_process_and_no_file(short, world, words):
    before = under(short)
    ended = world(*words)
    assert ended.code == 1
    assert "stretto init" in ended.out + ended.err
    assert under(short) == before
    assert leftovers.find(str(short)) == []


def test_f13_hooks_of_the_user_do_nothing_in_a_folder_that_was_never_granted(short, world):
    elsewhere = short / "elsewhere"
    elsewhere.mkdir()
    world.ok("init", "--yes", "--user", cwd=elsewhere)
    before = under(world.project) | under(world.base)
    entries = list(install.installed((world.home / ".claude" / "settings.json").read_text()))
    wired = install.wiring(str(world.base))
    assert len(entries) == sum(len(install.entries_of(event, wired)) for event in install.EVENTS)
    for _, entry in entries:
        env = {**world.env, "CLAUDE_PROJECT_DIR": str(world.project)}
        done = subprocess.run([entry["command"], *entry["args"]], input=b"{}", env=env, capture_output=True, timeout=LIMIT_S, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert under(world.project) | under(world.base) == before
    assert leftovers.find(str(short)) == []


@pytest.mark.parametrize(
    "before", [None, "{}", '{\n\t"model": "opus"\n}', '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "x"}]}]}}\n']
)
@pytest.mark.parametrize("scope", ["local", "project", "user"])
def test_f69_init_and_uninstall_leave_the_settings_byte_equal_and_no_state(world, before, scope):
    path = Path(install.settings_path(str(world.project), scope) if scope != "user" else world.home / ".claude" / "settings.json")
    if before is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(before)
    flags = [] if scope == "local" else [f"--{scope}"]
    world.ok("init", "--yes", *flags)
    assert install.MARK in path.read_text()
    world.ok("uninstall")
    assert (path.read_text() if path.exists() else None) == before
    assert not os.path.exists(world.paths.folder)
    assert leftovers.find(str(world.base)) == []


def test_f69_a_claude_folder_that_was_not_there_is_gone_again_and_one_that_was_stays(world):
    world.ok("init", "--yes")
    world.ok("uninstall")
    assert (world.project / ".claude").is_dir()  # the fixture's own
    (world.project / ".claude").rmdir()
    world.ok("init", "--yes")
    world.ok("init", "--yes")
    world.ok("uninstall")
    assert not (world.project / ".claude").exists()


def test_init_refuses_broken_settings_with_the_place_and_grants_nothing(world):
    world.settings.write_text('{\n  // comment\n  "a": 1\n}\n')
    ended = world("init", "--yes")
    assert ended.code == 1
    assert "line 2 column 3" in ended.err
    assert world.settings.read_text() == '{\n  // comment\n  "a": 1\n}\n'
    assert not world.base.exists()


def test_init_refuses_rules_that_do_not_read_and_grants_nothing(world):
    (world.project / trust.RULES_NAME).write_text("this is = not [toml\n")
    ended = world("init", "--yes")
    assert ended.code == 1 and "line" in ended.err
    assert not world.settings.exists() and not world.base.exists()


def test_init_from_a_folder_below_grants_the_repository(world):
    below = world.project / "a" / "b"
    below.mkdir(parents=True)
    world.ok("init", "--yes", cwd=below)
    assert world.ok("path").strip() == world.paths.folder
    assert world.ok("path", cwd=below).strip() == world.paths.folder


@pytest.mark.skipif(power.on_battery(), reason="this machine runs on battery, which is shown instead of the default")
def test_preset_is_shown_chosen_and_counts_in_every_project_and_a_repository_can_only_ask_for_less(world):
    world.ok("init", "--yes")
    assert world.ok("preset") == "balanced\n"
    assert "ahead       balanced (the default), at most 2 at a time" in world.ok("status")
    world.ok("preset", "frugal")
    assert json.loads(world.ok("status", "--json"))["ahead"] == {"preset": "frugal", "slots": 1, "why": "your own setting"}
    (world.project / "stretto.toml").write_text('[ahead]\npreset = "eager"\nslots = 60\n')
    world.ok("init", "--yes")
    status = json.loads(world.ok("status", "--json"))["ahead"]
    assert (status["preset"], status["slots"]) == ("frugal", 1)
    assert "stretto.toml asks for eager, which only you can allow (`stretto preset eager`)" in world.ok("doctor")
    wrong = world("preset", "egaer")
    assert (wrong.code, wrong.err) == (1, "stretto: cannot choose 'egaer': it is no preset; did you mean `stretto preset eager`?\n")
    assert "the presets are eager, balanced, frugal, off" in world("preset", "zzz").err
    (world.project / "stretto.toml").write_text('\n[ahead]\npreset = "ballanced"\n')
    refused = world("init", "--yes")
    assert refused.code == 1
    assert "cannot read stretto.toml line 3: `preset` is the text 'ballanced'" in refused.err
    assert "did you mean 'balanced'?" in refused.err


def test_init_again_keeps_the_mode_that_was_chosen(world):
    world.ok("init", "--observe")
    assert world.ok("mode") == "observe\n"
    world.ok("init", "--yes")
    assert world.ok("mode") == "observe\n"


def test_changed_rules_void_the_grant_until_init_is_run_again(world):
    world.ok("init", "--yes")
    (world.project / trust.RULES_NAME).write_text("")
    assert "stretto init" in json.loads(world.ok("status", "--json"))["grant"]
    world.ok("init", "--yes")
    assert json.loads(world.ok("status", "--json"))["grant"] == "ok"


def test_uninstall_where_nothing_is_installed_says_so_and_makes_nothing(short, world):
    before = under(short)
    ended = world("uninstall")
    assert ended.code == 1 and "nothing of Stretto" in ended.err
    assert under(short) == before


def test_uninstall_after_the_state_was_deleted_still_takes_the_hooks_out(world):
    world.ok("init", "--yes")
    subprocess.run(["rm", "-r", str(world.base)], check=True)
    world.ok("uninstall")
    assert not world.settings.exists()
    assert not world.base.exists()


def test_uninstall_of_one_project_leaves_the_users_hooks_while_another_project_needs_them(short, world):
    other = short / "other"
    other.mkdir()
    world.ok("init", "--yes", "--user")
    world.ok("init", "--yes", "--user", cwd=other)
    said = world.ok("uninstall")
    user = world.home / ".claude" / "settings.json"
    assert install.MARK in user.read_text() and "stay" in said
    world.ok("uninstall", cwd=other)
    assert not user.exists()


def test_uninstall_all_leaves_no_project_no_shim_and_no_directory(short, world):
    other = short / "other"
    other.mkdir()
    world.ok("init", "--yes")
    world.ok("init", "--yes", cwd=other)
    (world.base / "bin").mkdir()
    (world.base / "bin" / "pytest").write_text("#!/bin/sh\n")
    world.ok("uninstall", "--all")
    assert not world.base.exists()
    assert not world.settings.exists() and not (other / ".claude").exists()


def test_uninstall_all_keeps_what_is_not_ours_in_a_state_directory_of_the_users_choice(world):
    world.ok("init", "--yes")
    (world.base / "letters.txt").write_text("mine")
    world.ok("uninstall", "--all")
    assert os.listdir(world.base) == ["letters.txt"]


def test_init_on_a_terminal_asks_and_cancel_changes_nothing(short, world):
    before = under(short)
    code, said = on_a_terminal(world, ["init"], b"cancel\n")
    assert code == 1 and "observe" in said and "nothing was changed" in said
    assert under(short) == before
    code, said = on_a_terminal(world, ["init"], b"\n")
    assert code == 0
    assert world.ok("mode") == "on\n"


def on_a_terminal(world, words, typed, env=None):
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(world.project)
        os.execve(world.command[0], [*world.command, *words], {**world.env, "TERM": "xterm", **(env or {})})
    os.write(master, typed)
    said = b""
    try:
        while data := os.read(master, 1 << 16):
            said += data
    except OSError:
        pass  # how a terminal says that its last user is gone
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


# --- with a supervisor ------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(world):
    """A granted project whose supervisor was started by the hook."""
    world.ok("init", "--yes")
    started = world.hook("SessionStart", source="startup")
    assert started.returncode == 0, started
    return control.supervisor(control.fold_log(world.paths))


def test_f69_uninstall_ends_the_supervisor_that_a_hook_started(short, world, served):
    assert lives(served)
    said = world.ok("uninstall")
    assert "ended 1 process" in said
    assert not lives(served)
    assert leftovers.find(str(short)) == []
    assert not os.path.exists(world.paths.folder)


@pytest.mark.slow
def test_uninstall_ends_a_supervisor_that_does_not_answer(short, world, served):
    os.kill(served.pid, signal.SIGSTOP)
    world.ok("uninstall")
    assert not lives(served)
    assert leftovers.find(str(short)) == []


def test_status_and_doctor_name_the_supervisor_and_a_mode_reaches_it(world, served):
    assert json.loads(world.ok("status", "--json"))["supervisor"]["pid"] == served.pid
    assert {check["name"]: check["level"] for check in doctor(world)}["supervisor"] == "ok"
    world.ok("mode", "off")
    assert control.ask(world.paths, {"op": b"ping"})["mode"] == b"off"
    assert {check["name"]: check["level"] for check in doctor(world)}["mode"] == "warn"


def test_doctor_looks_at_the_shims_of_a_session_and_at_their_place_on_the_path(world, served):
    assert finding(world, "shims")["level"] == "ok"
    assert finding(world, "last hook")["level"] == "ok"
    bin_, tools = f"{world.base}/bin", world.home / "bin"
    assert [check for check in doctor(world) if check["name"] == "PATH"] == []
    (tools / "pytest").write_text("#!/bin/sh\n")
    levels = {}
    for name, path in {"first": f"{bin_}:{tools}", "behind": f"{tools}:{bin_}"}.items():
        found = next(check for check in doctor(world, env={"PATH": f"{path}:/usr/bin:/bin"}) if check["name"] == "PATH")
        levels[name] = found["level"]
    assert levels == {"first": "ok", "behind": "warn"}
    entry = Path(bin_, "pytest")
    entry.write_text(re.sub(r"\[ -x \S+ \]", "[ -x '/nonexistent/python 3' ]", entry.read_text()))
    found = finding(world, "shims")
    assert found["level"] == "fail" and "/nonexistent/python 3" in found["text"]


def test_status_works_with_the_supervisor_dead(world, served):
    os.kill(served.pid, signal.SIGKILL)
    wait_until(lambda: not lives(served), what="the supervisor is dead")
    assert json.loads(world.ok("status", "--json"))["supervisor"] is None


def test_uninstall_ends_ahead_runs_the_log_names_and_neither_foreground_runs_nor_reused_pids(world, log):
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    ahead, foreground, reused = sleepers
    try:
        log(model.JobSeen, job=JOB, name="pytest", argv=("pytest",), cwd=".", streams="merged")
        for number, (process, kind) in enumerate([(ahead, "ahead"), (foreground, "foreground"), (reused, "ahead")]):
            attempt = AttemptId(f"{number:032x}")
            start = "1" if process is reused else identify(process.pid).start
            log(model.AttemptStarted, attempt=attempt, job=JOB, kind=kind, session=None, generation=1)
            log(model.AttemptSpawned, attempt=attempt, pid=process.pid, start=start)
        assert "ended 1 process" in world.ok("uninstall")
        assert ahead.wait(LIMIT_S) == -signal.SIGTERM
        assert foreground.poll() is None and reused.poll() is None
    finally:
        for process in sleepers:
            process.kill()
            process.wait()


def test_asking_without_a_supervisor_is_unavailable(world):
    world.ok("init", "--yes")
    with pytest.raises(UnavailableError):
        control.ask(world.paths, {"op": b"ping"})
    assert control.reload(world.paths) is False
    assert control.stop(world.paths) == 0


# --- looking ----------------------------------------------------------------------------------------------------------------


def test_status_shows_the_checks_what_they_did_and_what_was_saved(world, log):
    one_check(log, world)
    data = json.loads(world.ok("status", "--json"))
    assert data["project"] == str(world.project) and data["mode"] == "on"
    assert (data["decisions"]["replay"], data["saved_s"]) == (1, 12.48)
    (job,) = data["jobs"]
    assert job["argv"] == ["pytest", "-q"]
    assert (job["last"]["attempt"], job["last"]["state"], job["last"]["took_s"]) == (RUN, "exit 1", 12.5)
    text = world.ok("status")
    assert re.search(rf"^{RUN[:8]} +ahead +exit 1 .*pytest -q$", text, re.M)
    assert "joined      1 of 1" in text


def test_status_calls_a_run_nobody_owns_lost_and_one_whose_lock_is_held_running(world, log):
    one_check(log, world, exited=False)
    (job,) = json.loads(world.ok("status", "--json"))["jobs"]
    assert job["last"]["state"] == "lost"
    lock = Lock(os.path.join(world.paths.attempts, RUN, "lock"))
    assert lock.try_acquire()
    data = json.loads(world.ok("status", "--json"))
    assert data["jobs"][0]["last"]["state"].startswith("running for")
    assert [run["attempt"] for run in data["running"]] == [RUN]
    lock.close()


def test_why_shows_each_decision_with_its_reason(world, log):
    one_check(log, world)
    decided = {"job": JOB, "session": SESSION, "attempt": OTHER}
    log(model.JoinDecided, ask="q2", do="record", standing="stale", reason="src/a.py changed", would="replay", **decided)
    text = world.ok("why")
    assert re.search(r"replayed +pytest -q\n +nothing moved since it ended; ahead run 0123abcd; waited 0\.02 s, saved 12\.5 s", text)
    assert re.search(r"ran +pytest -q\n +src/a\.py changed; mode `on` would have made it replayed", text)
    (last,) = [json.loads(line) for line in world.ok("why", "1", "--json").splitlines()]
    assert (last["do"], last["reason"], last["would"]) == ("record", "src/a.py changed", "replay")


def three_checks(log, world):
    """One that was replayed, one that ran because something moved, one past its shim; a run ahead that nobody took."""
    one_check(log, world)
    decided = {"job": JOB, "session": SESSION, "standing": "stale", "attempt": None}
    shape, code = "cd+redirect", "environment-differs"
    log(model.JoinDecided, ask="q2", do="exec", reason="moved", code=code, differs=("env CI",), shape=shape, **decided)
    log(model.CheckMissed, session=SESSION, name="jest", shape="plain", code="by-path")
    log(model.AttemptStarted, attempt=OTHER, job=JOB, kind="ahead", session=None, generation=4)
    log(model.AttemptExited, attempt=OTHER, end=End(how="code", value=0), out_bytes=0, err_bytes=0, took_s=9.0, cpu_s=7.0)


def test_f39_saved_counts_hits_misses_by_reason_and_work_for_nothing_and_shows_the_one_number_first(world, log):
    three_checks(log, world)
    data = json.loads(world.ok("saved", "--json"))
    assert (data["saved_s"], data["hits"], data["misses"], data["hit_rate"]) == (12.48, 1, 2, 0.3333)
    assert data["miss_reasons"] == {"environment-differs": 1, "by-path": 1}
    assert data["shapes"] == {"": {"hits": 1, "asked": 1}, "cd+redirect": {"hits": 0, "asked": 1}, "plain": {"hits": 0, "asked": 1}}
    wasted = {"runs": 2, "joined": 1, "precision": 0.5, "cpu_s": 18.0, "wasted_cpu_s": 7.0, "wasted_s": 9.0}
    assert data["ahead"] == wasted
    assert [(row["command"], row["saved_s"], row["misses"]) for row in data["commands"]] == [
        ("pytest -q", 12.48, 1),
        ("jest (past its shim)", 0.0, 1),
    ]
    assert [(row["session"], row["saved_s"]) for row in data["sessions"]] == [(SESSION, 12.48)]
    text = world.ok("saved").splitlines()
    assert text[0].startswith("12.5 s not waited for since ")
    assert "checks      3 asked for: 1 joined (33 %), 2 ran" in text
    assert "for nothing 7.0 s of processor time (9.0 s of running time) in the others" in text
    assert max(map(len, text)) <= 80
    assert "\x1b[" in on_a_terminal(world, ["saved"], b"")[1]
    assert "[environment-differs]" in world.ok("why")


def test_saved_of_a_session_or_from_a_time_on_counts_what_the_log_still_has(world, log):
    three_checks(log, world)
    log(model.JoinDecided, ask="q3", job=JOB, session=SessionId("0the"), standing="", do="exec", attempt=None, reason="", code="moved")
    only = json.loads(world.ok("saved", "--json", "--session", SESSION[:2]))
    assert (only["session"], only["hits"], only["misses"], only["ahead"]["runs"]) == (SESSION, 1, 2, 0)
    assert "runs ahead belong to no session" in world.ok("saved", "--session", SESSION)
    assert json.loads(world.ok("saved", "--json", "--since", "90000d"))["misses"] == 3
    last_hour = json.loads(world.ok("saved", "--json", "--since", "1m"))
    assert (last_hour["misses"], last_hour["since_at"]) == ((0, 0.0) if time.time() > 1_790_000_100 else (3, last_hour["since_at"]))
    assert world("saved", "--since", "yesterday").code == 1
    assert world("saved", "--session", "nobody").code == 1


def test_saved_totals_stay_when_old_parts_of_the_log_go_and_say_since_when(world, log):
    """The fold that is kept holds them; without it they begin with what is left, and say so."""
    three_checks(log, world)
    rotating = Journal(world.paths.folder)
    for name in ("later", "latest"):
        assert rotating.rotate(1)
        log(model.SessionOpened, session=SessionId(name), source="startup", claude_pid=1)
    rotating.close()
    state, offset = snapshot.load(world.paths.folder)
    first_at = state.ledger.since_at
    snapshot.save(world.paths.folder, state, offset)
    oldest, _ = journal.segments(world.paths.folder)
    os.unlink(Path(world.paths.folder, oldest.name))
    kept = json.loads(world.ok("saved", "--json"))
    assert (kept["saved_s"], kept["misses"], kept["since_at"]) == (12.48, 2, first_at)
    os.unlink(Path(world.paths.folder, snapshot.NAME))
    left = json.loads(world.ok("saved", "--json"))
    assert left["saved_s"] == 0 and left["since_at"] > first_at


def test_what_an_audit_found_is_named_by_doctor_status_and_why_until_it_is_forgiven(world, log):
    one_check(log, world)
    found = {"ask": "q1", "job": JOB, "session": SESSION, "attempt": RUN, "again": OTHER}
    log(model.JoinAudited, outcome="differs", reason="line 1 of its output differs when it is run again", **found)
    check = finding(world, "audit")
    assert check["level"] == "fail" and f"stretto logs {OTHER}" in check["text"] and f"stretto retry {JOB[:8]}" in check["do"]
    assert "barred by an audit" in world.ok("status")
    assert f"compare `stretto logs {RUN[:8]}` and `stretto logs {OTHER[:8]}`" in world.ok("why")
    assert "1 joins compared with a rerun, 0 the same, 1 false or suspected to be" in world.ok("saved")
    log(model.JobRetried, job=JOB)
    assert finding(world, "audit")["level"] == "ok"


def test_why_and_status_say_that_a_command_was_given_up_with_the_figures(world, log):
    """A-8."""
    one_check(log, world)
    for number in range(20):
        attempt = AttemptId(f"{number:032x}")
        log(model.AttemptStarted, attempt=attempt, job=JOB, kind="ahead", session=None, generation=4)
        log(model.AttemptExited, attempt=attempt, end=End(how="code", value=0), out_bytes=0, err_bytes=0, took_s=9.0, cpu_s=7.0)
    assert re.search(r"given up: its ahead runs do not pay, lately \d+\.\d s hidden for \d+ s of work", world.ok("status"))
    assert "its ahead runs do not pay" in world.ok("why")


def test_a_command_with_control_characters_cannot_act_on_the_terminal(world, log):
    log(model.JobSeen, job=JOB, name="pytest", argv=("pytest", "\x1b]52;c;evil\x07\x9b31m\u202e"), cwd=".", streams="merged")
    log(model.JoinDecided, ask="q", job=JOB, session=None, standing="none", do="record", attempt=None, reason="a\x1b[2Jb")
    for words in (["status"], ["why"], ["events"]):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", world.ok(*words))


def test_logs_prints_the_bytes_of_a_run_by_any_unambiguous_beginning_of_its_id(world, log):
    one_check(log, world, out=b"out \xff\n", err=b"err\n")
    done = subprocess.run(
        [*world.command, "logs", "0123"], cwd=world.project, env=world.env, capture_output=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out \xff\n", b"err\n")
    assert world.ok("logs", "--stderr", RUN) == "err\n"
    log(model.AttemptStarted, attempt=OTHER, job=JOB, kind="ahead", session=None, generation=3)
    assert "2 ids begin so" in world("logs", "0123").err
    assert "no id begins so" in world("logs", "9").err
    assert "no longer kept" in world("logs", "0123ffff").err


def test_logs_follow_ends_with_the_run(world, log):
    one_check(log, world, out=b"first\n", exited=False)
    folder = Path(world.paths.attempts, RUN)
    lock = Lock(str(folder / "lock"))
    assert lock.try_acquire()
    reader = subprocess.Popen([*world.command, "logs", "-f", RUN[:6]], cwd=world.project, env=world.env, stdout=subprocess.PIPE)
    assert reader.stdout.readline() == b"first\n"
    with (folder / "out").open("ab") as file:
        file.write(b"second\n")
    assert reader.stdout.readline() == b"second\n"
    (folder / "exit").write_text("code 0 13 0\n")
    lock.close()
    assert reader.stdout.read() == b""
    assert reader.wait(LIMIT_S) == 0
    reader.stdout.close()


def test_events_prints_the_log_and_follows_it(world, log):
    one_check(log, world)
    lines = world.ok("events", "--json").splitlines()
    assert [json.loads(line)["t"] for line in lines] == [event.__struct_config__.tag for _, event in read(world.paths.folder)]
    assert "«pytest -q»" in world.ok("events")
    reader = subprocess.Popen([*world.command, "events", "-f"], cwd=world.project, env=world.env, stdout=subprocess.PIPE, text=True)
    for _ in lines:
        reader.stdout.readline()
    log(model.SessionClosed, session=SESSION, reason="exit")
    assert "session.closed" in reader.stdout.readline()
    reader.send_signal(signal.SIGINT)
    assert reader.wait(LIMIT_S) == 130
    reader.stdout.close()


def test_a_bad_line_is_counted_and_shown_and_hides_nothing_after_it(world, log):
    with open(world.paths.events, "ab") as file:
        file.write(b"not json\n")
    log(model.SessionOpened, session=SESSION, source="startup", claude_pid=1)
    ended = world("events")
    assert ended.code == 0 and "session.opened" in ended.out and "line at byte 0" in ended.err
    assert json.loads(world.ok("status", "--json"))["log"] == {"events": 1, "bad_lines": 1, "anomalies": 0, "broken": 0}
    assert {check["name"]: check["level"] for check in doctor(world)}["log"] == "warn"


def test_no_adds_lists_and_takes_back_patterns(world):
    world.ok("init", "--yes")
    world.ok("no", "pytest*")
    world.ok("no", "pytest*")
    assert world.ok("no") == "pytest*\n"
    world.ok("no", "--remove", "pytest*")
    assert world.ok("no") == ""
    assert world("no", "--remove", "pytest*").code == 1


def test_colours_only_on_a_terminal_and_never_with_no_color(world):
    world.ok("init", "--yes")
    assert "\x1b[" not in world("doctor").out
    assert "\x1b[" in on_a_terminal(world, ["doctor"], b"")[1]
    assert "\x1b[" not in on_a_terminal(world, ["doctor"], b"", env={"NO_COLOR": "1"})[1]


# --- doctor -----------------------------------------------------------------------------------------------------------------


def doctor(world, **more):
    return [json.loads(line) for line in world("doctor", "--json", **more).out.splitlines()]


def finding(world, name):
    return next(check for check in doctor(world) if check["name"] == name)


def test_doctor_finds_nothing_wrong_right_after_init(world):
    world.ok("init", "--yes")
    assert [check for check in doctor(world) if check["level"] == "fail"] == []
    assert world("doctor").code == 0


def test_f30_doctor_warns_when_user_and_project_both_hold_the_hooks(world):
    world.ok("init", "--yes")
    world.ok("init", "--yes", "--user")
    found = finding(world, "hooks")
    assert found["level"] == "warn" and "local and user" in found["text"]


def break_json(world):
    world.settings.write_text(world.settings.read_text() + "}")


def remove_an_entry(world):
    settings = json.loads(world.settings.read_text())
    del settings["hooks"]["Stop"]
    world.settings.write_text(json.dumps(settings))


def lose_the_interpreter(world):
    world.settings.write_text(world.settings.read_text().replace(install.wiring("").python, "/nonexistent/python3"))


def use_a_version_switcher(world):
    shim = world.home / "bin" / "python3"
    shim.write_text("#!/bin/sh\nexec python3\n")
    shim.chmod(0o755)
    world.settings.write_text(world.settings.read_text().replace(install.wiring("").python, str(shim)))


def lose_the_package(world):
    world.settings.write_text(world.settings.read_text().replace(install.wiring("").islands, "/nonexistent/stretto"))


def disable_hooks(world):
    (world.home / ".claude").mkdir(exist_ok=True)
    (world.home / ".claude" / "settings.json").write_text('{"disableAllHooks": true}')


def spoil_a_foreign_entry(world):
    settings = json.loads(world.settings.read_text())
    settings["hooks"]["PreToolUse"].append({"hooks": [{"type": "command"}]})
    world.settings.write_text(json.dumps(settings))


def change_rules(world):
    (world.project / trust.RULES_NAME).write_text("x")


def open_the_state(world):
    os.chmod(world.paths.folder, 0o755)


@pytest.mark.parametrize(
    "spoil, name, level",
    [
        (break_json, "local settings", "fail"),
        (remove_an_entry, "local hooks", "fail"),
        (lose_the_interpreter, "hook python", "fail"),
        (lose_the_interpreter, "local hooks", "warn"),
        (use_a_version_switcher, "hook python", "fail"),
        (lose_the_package, "files", "fail"),
        (disable_hooks, "hooks", "fail"),
        (spoil_a_foreign_entry, "local settings", "fail"),
        (change_rules, "grant", "fail"),
        (open_the_state, "state", "fail"),
    ],
)
def test_doctor_names_what_is_wrong_and_what_to_do(world, spoil, name, level):
    world.ok("init", "--yes")
    spoil(world)
    found = finding(world, name)
    assert found["level"] == level
    assert found["do"] or "run `stretto" in found["text"]
    assert world("doctor").code == (1 if any(check["level"] == "fail" for check in doctor(world)) else 0)


def test_f70_doctor_says_when_hook_join_verdict_and_news_were_last_seen_from_the_log_alone(log, world):
    """F70: one line each; nothing of Stretto runs."""
    signs = ("last hook", "last join", "last verdict", "last news")
    assert [(finding(world, sign)["level"], "none" in finding(world, sign)["text"]) for sign in signs] == [
        ("warn", True),
        *[("ok", True)] * 3,
    ]
    one_check(log, world)
    log(model.NewsTold, session=SESSION, job=JOB, attempt=RUN, was="pass", now="fail", text="t")
    shown = {sign: finding(world, sign) for sign in signs}
    assert {found["level"] for found in shown.values()} == {"ok"}
    state = fold(read(world.paths.folder))
    assert moment(state.last_hook_at) in shown["last hook"]["text"]
    assert shown["last join"]["text"] == f"{moment(state.joins[-1].ts)}: pytest -q, replay"
    assert shown["last verdict"]["text"].startswith(f"{moment(state.joins[-1].ts)}: pytest -q was fresh, replay: ")
    assert shown["last news"]["text"] == f"{moment(state.news[-1].ts)}: pytest -q, pass to fail"


def test_doctor_says_that_a_sandboxed_command_is_never_joined(world):
    world.ok("init", "--yes")
    (world.project / ".claude" / "settings.json").write_text('{"sandbox": {"enabled": true}}')
    assert finding(world, "sandbox")["level"] == "warn"


@pytest.mark.parametrize(
    "answer, level",
    [("echo '2.1.330 (Claude Code)'", "ok"), ("echo 1.0.17", "warn"), ("echo hello", "warn"), ("exit 3", "warn"), (None, "warn")],
)
def test_doctor_reads_the_version_of_claude_code_and_never_fails_without_it(world, answer, level):
    world.ok("init", "--yes")
    if answer is not None:
        (world.home / "bin" / "claude").write_text(f"#!/bin/sh\n{answer}\n")
        (world.home / "bin" / "claude").chmod(0o755)
    assert finding(world, "claude")["level"] == level


# --- exit codes -------------------------------------------------------------------------------------------------------------


class Raises:
    def __init__(self, error):
        self.error = error

    def main(self, **_):
        raise self.error


@pytest.mark.parametrize(
    "error, code",
    [
        (UserError("cannot x"), 1),
        (UnavailableError("cannot y"), 3),
        (CorruptError("cannot z"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("surprise"), 70),
    ],
)
def test_errors_end_with_their_own_exit_code_which_is_never_2(short, monkeypatch, capsys, error, code):
    monkeypatch.setenv("STRETTO_STATE_DIR", str(short / "s"))
    monkeypatch.setattr(cli, "stretto", Raises(error))
    monkeypatch.setattr(cli.tempfile, "tempdir", str(short))
    assert cli.run(["status"]) == code
    said = capsys.readouterr().err
    if code == 70:
        (report,) = short.glob("stretto-*.txt")
        assert str(report) in said
        assert "ZeroDivisionError: surprise" in report.read_text()
    elif code != 130:
        assert str(error) in said


def test_bad_usage_ends_with_2_and_a_closed_pipe_says_nothing(world):
    assert world("status", "--nonsense").code == 2
    world.ok("init", "--yes")
    shell = f"{' '.join(world.command)} doctor | head -c 1"
    done = subprocess.run(["bash", "-c", shell], cwd=world.project, env=world.env, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.stderr == b""


def test_version_is_printed(world):
    assert world.ok("version") == world.ok("--version") == f"stretto {stretto.__version__}\n"


def test_log_check_says_damage_with_code_4_and_repair_keeps_a_copy(log, world):
    """F55, C-3."""
    log(model.SupervisorStopped, reason="r")
    assert "1 events, 0 bad lines" in world.ok("log", "check")
    with open(f"{world.paths.folder}/events.jsonl", "ab") as file:
        file.write(b"\0\n{torn")
    before = Path(world.paths.folder, "events.jsonl").read_bytes()
    damaged = world("log", "check", "--json")
    assert damaged.code == 4
    found = json.loads(damaged.out)
    assert (found["sound"], found["bad_lines"], found["tail_bytes"]) == (False, 1, 5)
    assert Path(json.loads(world.ok("log", "repair", "--json"))["copy"]).read_bytes() == before
    after = json.loads(world("log", "check", "--json").out)
    assert (after["bad_lines"], after["tail_bytes"]) == (2, 0)
    assert "2 lines nobody can use" in world("doctor").out
