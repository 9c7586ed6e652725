"""When the host is known to run a command again without asking: in the session that ran it, and in a later one (B-4, decision 0014)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stretto.fold import Job
from stretto.hookwire import BashAsked
from stretto.model import JobKey, SessionId
from stretto.permissions import deciding_flags
from stretto.sessions import Approvals, Conversation
from stretto.system import Process

PYTEST = (b"pytest", b"-q", b"a b.py")
CLAUDE = ("claude",)


def a_job() -> Job:
    return Job(job=JobKey("1f"), name="pytest", argv=tuple(word.decode() for word in PYTEST), cwd=".", streams="merged", seen_at=0.0)


def conversation(mode: str, pid: int = 7, *, arguments: tuple[str, ...] | None = CLAUDE, unseen: bool = False) -> Conversation:
    """A session with an open call of pytest."""
    found = Conversation(Process(pid, "1", "boot"), lambda: 1.0, lambda: 1.0, unseen=unseen, arguments=arguments)
    found.mode = mode
    asked = BashAsked(session=SessionId("s"), mode=mode, call="toolu_1", command="pytest -q 'a b.py'")
    found.asked(asked, "checks", ("pytest",))
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    allow(path, "Bash(pytest:*)")
    return path


def allow(path: Path, *rules: str) -> None:
    path.write_text(json.dumps({"permissions": {"allow": list(rules)}}))


def ran(settings: Path, session: Conversation, *, job: Job | None = None, named: bool = True) -> Job:
    """Return what the log knows of the job after a session ran it under a supervisor of its own."""
    job = job or a_job()
    job.allowed_mode, job.allowed_host = Approvals((str(settings),)).note(job, session, PYTEST, named=named)
    return job


def withheld(settings: Path, job: Job, *sessions: Conversation) -> bool:
    return bool(Approvals((str(settings),)).withheld(job, sessions))


@pytest.mark.parametrize("rule", ["Bash(pytest:*)", "Bash(pytest *)", "Bash(pytest -q 'a b.py')", "Bash", "Bash(*)", "Bash(pytest -q:*)"])
def test_a_rule_in_the_settings_carries_a_command_over(settings: Path, rule: str):
    allow(settings, "Edit", rule)
    assert not withheld(settings, ran(settings, conversation("default")), conversation("default", 8))


@pytest.mark.parametrize(
    "rule",
    ["", "Edit", "Bash(py:*)", "Bash(pytest)", "Bash(pytest -x:*)", "Bash(*pytest*)", "Bash(pytest -*q:*)", "Bash(pytest:*", "Bash()"],
)
def test_a_rule_that_is_not_certain_to_cover_a_command_carries_nothing_over(settings: Path, rule: str):
    allow(settings, rule)
    assert ran(settings, conversation("default")).allowed_mode == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 4000, "[]", '{"permissions": 1}', '{"permissions": {"allow": {"Bash": 1}}}', '{"permissions": {"allow": [1]}}']
)
def test_settings_that_are_not_as_expected_carry_nothing_over(settings: Path, text: str):
    settings.write_text(text)
    assert ran(settings, conversation("default")).allowed_mode == ""


MODES = ("bypassPermissions", "auto", "acceptEdits", "default", "dontAsk", "plan", "something new", "")
CARRIED = {
    "bypassPermissions": {"bypassPermissions"},
    "acceptEdits": {"bypassPermissions", "acceptEdits"},
    "default": {"bypassPermissions", "acceptEdits", "default", "dontAsk"},
    "dontAsk": {"bypassPermissions", "acceptEdits", "default", "dontAsk"},
}


@pytest.mark.parametrize("now", MODES)
@pytest.mark.parametrize("before", MODES)
def test_only_a_mode_that_is_explained_and_not_laxer_carries_over(settings: Path, before: str, now: str):
    """Never from, into or through auto mode, where the host judges by what was said in that session alone, nor plan mode."""
    carried = now in CARRIED.get(before, set())
    assert withheld(settings, ran(settings, conversation(before)), conversation(now, 8)) is not carried


def test_bypass_mode_needs_no_rule(settings: Path):
    settings.unlink()
    job = ran(settings, conversation("bypassPermissions"))
    assert not withheld(settings, job, conversation("bypassPermissions", 8))
    assert withheld(settings, job, conversation("default", 8))


def test_nothing_is_carried_over_once_the_settings_have_changed(settings: Path):
    job = ran(settings, conversation("default"))
    allow(settings, "Bash(pytest:*)", "Bash(ls)")
    assert withheld(settings, job, conversation("default", 8))


def test_nothing_is_carried_over_when_settings_change_under_the_same_supervisor(settings: Path):
    job = ran(settings, conversation("default"))
    approvals, later = Approvals((str(settings),)), conversation("default", 8)
    assert approvals.withheld(job, [later]) == ""
    settings.unlink()
    assert approvals.withheld(job, [later])


ARGUMENTS = [
    pytest.param(CLAUDE, ("claude", "-p", "--model", "opus", "--", "do it"), True, id="flags that decide nothing"),
    pytest.param(("claude", "-p", "one thing"), ("claude", "another thing"), True, id="another prompt"),
    pytest.param(CLAUDE, ("claude", "--disallowedTools", "Bash(pytest:*)"), False, id="a tool taken away"),
    pytest.param(CLAUDE, ("claude", "--settings", '{"permissions":{"deny":["Bash"]}}'), False, id="other settings"),
    pytest.param(("claude", "--settings", "a.json"), ("claude", "--settings", "a.json"), False, id="settings in a file of no stamp"),
    pytest.param(("claude", "--settings=a.json"), ("claude", "--settings=a.json"), False, id="the same in one word"),
    pytest.param(("claude", "--permission-prompt-tool", "x"), ("claude", "--permission-prompt-tool", "x"), False, id="a tool that answers"),
    pytest.param(("claude", "--new", "x", "y"), ("claude", "--new", "x", "z"), False, id="a flag nobody knows"),
    pytest.param(("claude", "--new", "x", "y"), ("claude", "--new", "x", "y"), True, id="the same flag nobody knows"),
    pytest.param(CLAUDE, None, False, id="a command line that cannot be read"),
    pytest.param(None, None, False, id="none that can be read"),
]


@pytest.mark.parametrize(("before", "now", "carried"), ARGUMENTS)
def test_the_hosts_command_line_has_to_decide_alike(settings: Path, before, now, carried: bool):
    job = ran(settings, conversation("default", arguments=before))
    assert withheld(settings, job, conversation("default", 8, arguments=now)) is not carried


@pytest.mark.parametrize("flag", ["--allowedTools Edit Bash(pytest:*)", "--allowed-tools=Edit,Bash(pytest:*)", "--settings"])
def test_a_rule_on_the_command_line_explains_as_one_in_a_file_does(settings: Path, flag: str):
    settings.unlink()
    words = flag.split() if " " in flag or "=" in flag else [flag, '{"permissions": {"allow": ["Bash(pytest:*)"]}}']
    arguments = ("claude", *words)
    job = ran(settings, conversation("default", arguments=arguments))
    assert job.allowed_mode == "default"
    assert not withheld(settings, job, conversation("default", 8, arguments=arguments))


def test_a_value_that_belongs_to_a_flag_is_told_from_a_prompt():
    assert deciding_flags(("claude", "--dangerously-skip-permissions", "go on")) == ("--dangerously-skip-permissions",)
    assert deciding_flags(("claude", "--permission-mode", "plan", "go on")) == ("--permission-mode", "plan")
    assert deciding_flags(("claude", "--resume", "8d", "--verbose", "go on")) == ()
    assert deciding_flags(("claude", "-p", "--allowedTools", "A", "B", "--model", "m", "go on")) == ("--allowedTools", "A", "B")


def test_a_question_about_it_ends_what_was_known(settings: Path):
    job = ran(settings, conversation("default"))
    asked = conversation("default", 8)
    asked.question("pytest -q 'a b.py'")
    assert withheld(settings, job, asked), "the host asks in this session, whatever it did in another"
    ran(settings, asked, job=job)
    assert withheld(settings, job, conversation("default", 9))


def test_after_any_question_nothing_new_is_carried_over_and_what_was_known_stays(settings: Path):
    """What a question was answered with may hold for the rest of that session."""
    session = conversation("default")
    session.question("git push")
    assert ran(settings, session).allowed_mode == ""
    job = ran(settings, session, job=ran(settings, conversation("default")))
    assert not withheld(settings, job, conversation("default", 9))


@pytest.mark.parametrize("unknown", ["unseen", "nested", "no hook"])
def test_a_call_that_the_host_was_not_seen_to_judge_carries_nothing_over(settings: Path, unknown: str):
    session = conversation("default", unseen=unknown == "unseen")
    if unknown == "no hook":
        session.turn_ended("")
    assert ran(settings, session, named=unknown != "nested").allowed_mode == ""


def test_what_was_agreed_on_in_one_session_does_not_hold_in_another_beside_it(settings: Path):
    """The same supervisor serves both; no rule explains why the first was not asked."""
    settings.unlink()
    approvals, job = Approvals((str(settings),)), a_job()
    one, other = conversation("default", 7), conversation("default", 8)
    assert approvals.note(job, one, PYTEST, named=True) == ("", "")
    assert approvals.withheld(job, [one, other]) == ""
    assert approvals.withheld(job, [other])
