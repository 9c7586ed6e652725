"""Mode `audit`: joins that were wrong are found, named and switched off; those that were right never are."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from stretto import doctor
from stretto.model import AttemptStarted, CheckMissed, JoinAudited
from stretto.testing.wait import wait_until

from .conftest import Bench, _end


@pytest.fixture
def audited(short, project, state_base, waived):
    one = Bench(short, project, state_base, mode="audit")
    (one.root / "src.py").write_text("one\n")
    yield one
    _end(one, waived)


def outcomes(bench) -> list[str]:
    return [audit.outcome for audit in bench.events(JoinAudited)]


def findings(bench) -> list[doctor.Check]:
    return [check for check in doctor.examine(str(bench.root), str(bench.base)) if check.name == "audit"]


def joined(bench, command: str = "pytest -q") -> None:
    """Run a command, and have it joined."""
    before = len(bench.did())
    bench.bash(command)
    bench.bash(command)
    assert bench.did()[before:] == ["record", "replay"], bench.joins()


def finally_found(bench, *expected: str) -> None:
    wait_until(lambda: outcomes(bench) == list(expected), limit_s=30, what=f"audits {expected}")


@pytest.mark.parametrize("change", ["output", "exit"])
def test_an_undeclared_input_is_found_to_have_made_a_false_join_and_the_command_is_joined_no_more(audited, change):
    """A file outside that nothing leads to: no scan sees it."""
    outside = Path(audited.env["HOME"]) / "outside"
    outside.write_text("0\n")
    script = 'cat src.py "$HOME/outside"' if change == "output" else 'cat src.py; exit "$(cat "$HOME/outside")"'
    audited.tool("pytest", script)
    audited.begin()
    audited.bash("pytest -q")
    outside.write_text("3\n")
    out, code, _ = audited.bash("pytest -q")
    assert (out, code) == ((b"one\n0\n", 0) if change == "output" else (b"one\n", 0)), "that was wrong, and nobody could know"
    finally_found(audited, "differs", "false")
    out, code, _ = audited.bash("pytest -q")
    assert (out, code) == ((b"one\n3\n", 0) if change == "output" else (b"one\n", 3))
    last = audited.state().joins[-1]
    assert (last.do, last.code) == ("record", "barred")

    (found,) = findings(audited)
    assert found.level == "fail" and "a false join" in found.text
    first, again = audited.events(JoinAudited)[0].attempt, audited.events(JoinAudited)[0].again
    for attempt, text in ((first, b"0\n"), (again, b"3\n")):
        out_path = Path(audited.paths.attempts, attempt, "out")
        assert stat.S_IMODE(out_path.stat().st_mode) == 0o600
        assert change == "exit" or out_path.read_bytes().endswith(text)
    total = audited.state().ledger.total
    assert total.audits == {"false": 1}
    assert total.ahead_runs == 0 and total.audit_cpu_s > 0, "reruns are no guesses"

    assert audited.ask(op=b"retry", job=audited.events(JoinAudited)[0].job.encode())["ok"] == b"1"
    audited.bash("pytest -q")
    assert audited.did()[-1] == "replay"
    assert findings(audited)[0].level == "ok"


def test_a_command_that_the_clock_drives_is_found(audited):
    """It says the same until a moment, and something else from then on."""
    for margin_s in (3, 10, 30):  # on a slow machine the first run may come too late
        turn = int(time.time()) + margin_s
        audited.tool("pytest", f'if [ "$(date +%s)" -lt {turn} ]; then echo valid; else echo expired; fi')
        if margin_s == 3:
            audited.begin()
        if audited.bash("pytest -q")[0] == b"valid\n":
            break
    wait_until(lambda: time.time() > turn, limit_s=40, what="the moment")
    assert audited.bash("pytest -q")[0] == b"valid\n"
    finally_found(audited, "differs", "false")


def test_a_command_that_says_something_else_at_every_run_is_not_repeatable_and_not_false(audited):
    audited.tool("pytest", 'echo "1 passed"; date +%N')
    audited.begin()
    joined(audited)
    finally_found(audited, "differs", "unrepeatable")
    (found,) = findings(audited)
    assert found.level == "warn" and "not repeatable" in found.text
    assert audited.state().ledger.total.audits == {"unrepeatable": 1}


def test_a_deterministic_command_is_never_doubted_whatever_varies_between_any_two_runs(audited):
    """Durations, times of day, addresses, temporary paths and pids differ; the sample is the first join and every fifth."""
    audited.tool(
        "pytest",
        'cat src.py; echo "pid $$ at 0x$(date +%N | cut -c1-8) in /tmp/pytest-$$/x"; date "+%Y-%m-%d %H:%M:%S"\n'
        'echo "==== 3 passed in 0.$(date +%N | cut -c1-2)s ===="',
    )
    audited.begin()
    audited.bash("pytest -q")
    for number in range(1, 7):
        audited.bash("pytest -q")
        finally_found(audited, *(["same"] if number < 6 else ["same", "same"]))
    assert audited.did() == ["record", *["replay"] * 6]
    assert [event.audits is not None for event in audited.events(AttemptStarted) if event.kind == "ahead"] == [True, True]
    assert findings(audited)[0].level == "ok"


def test_an_audit_is_void_when_the_tree_moves_before_its_rerun_has_ended(audited):
    hold = Path(audited.env["HOME"]) / "hold"
    audited.tool("pytest", 'cat src.py; while [ -e "$HOME/hold" ]; do sleep 0.05; done')
    audited.begin()
    audited.bash("pytest -q")
    hold.touch()
    audited.bash("pytest -q")
    wait_until(lambda: [run for run in audited.state().open_attempts() if run.audits], limit_s=20, what="a rerun under way")
    audited.edit("src.py", "two\n")
    finally_found(audited, "void")
    hold.unlink()
    assert findings(audited)[0].level == "ok"


def test_a_question_during_a_rerun_is_answered_by_the_result_that_is_there(audited):
    """Nobody waits for an audit."""
    hold = Path(audited.env["HOME"]) / "hold"
    audited.tool("pytest", 'cat src.py; while [ -e "$HOME/hold" ]; do sleep 0.05; done')
    audited.begin()
    audited.bash("pytest -q")
    hold.touch()
    audited.bash("pytest -q")
    wait_until(lambda: [run for run in audited.state().open_attempts() if run.audits], limit_s=20, what="a rerun under way")
    assert audited.bash("pytest -q")[:2] == (b"one\n", 0)
    assert audited.did() == ["record", "replay", "replay"]
    hold.unlink()
    finally_found(audited, "same")


def test_a_command_that_may_not_run_ahead_is_not_run_again_and_counted_so(audited):
    audited.tool("make", "cat src.py")
    audited.begin()
    joined(audited, "make build")
    finally_found(audited, "skipped")
    assert not [event for event in audited.events(AttemptStarted) if event.kind == "ahead"]


def test_mode_on_audits_nothing(bench):
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "cat src.py; date +%N")
    bench.begin()
    joined(bench)
    bench.edit("src.py", "two\n")
    assert bench.events(JoinAudited) == [] and not [event for event in bench.events(AttemptStarted) if event.audits]


# --- misses ---------------------------------------------------------------------------------------------------------------------


def test_f39_each_miss_of_a_check_has_a_reason_and_a_shape(bench):
    """What differs is named, never its value."""
    (bench.root / "src.py").write_text("one\n")
    (bench.root / "sub").mkdir()
    bench.tool("pytest", "cat src.py ../src.py 2>/dev/null; exit ${CODE:-0}")
    bench.begin()
    shapes = [
        ("pytest -q", {}, "never-run", "plain"),
        ("pytest -q -x 2>&1 | tail -3", {}, "arguments-differ", "redirect+filter"),
        ("SECRET_THING=hunter2 pytest -q", {}, "environment-differs", "env"),
        ("cd sub && pytest -q", {}, "directory-differs", "cd+chain"),
        ("timeout 30 pytest -q 2>/dev/null", {}, "streams-differ", "timeout+redirect"),
        ("bash -c 'pytest -q -v'", {}, "arguments-differ", "shell"),
        ("pytest -q --lf", {}, "steered", "plain"),
        ("CODE=1 pytest -q", {}, "environment-differs", "env"),
        ("CODE=1 pytest -q", {}, "", "env"),
        ("CODE=1 pytest -q", {}, "failed-once", "env"),
    ]
    for command, env, code, shape in shapes:
        bench.bash(command, env=env)
        join = bench.state().joins[-1]
        assert (join.code, join.shape) == (code, shape), (command, join)
    by_code = {join.code: join for join in bench.state().joins}
    assert by_code["streams-differ"].differs == ("streams",)
    assert "env SECRET_THING" in next(join for join in bench.state().joins if join.shape == "env").differs
    assert b"hunter2" not in Path(bench.paths.events).read_bytes()
    bench.edit("src.py", "two\n", told=False)
    bench.bash("pytest -q")
    assert bench.state().joins[-1].code == "moved"
    bench.bash("./unknown.sh")
    bench.bash("pytest -q")
    assert bench.state().joins[-1].code == "epoch"
    tally = bench.state().ledger.total
    assert (tally.hits, tally.missed) == (1, len(shapes) + 1) and "" not in tally.misses


def test_f39_a_check_that_never_reached_its_shim_is_a_miss_with_a_reason(bench):
    path = bench.tool("pytest", "echo ran")
    (bench.root / ".venv" / "bin").mkdir(parents=True)
    os.symlink(path, bench.root / ".venv" / "bin" / "pytest")
    bench.begin()
    for command in (
        "env .venv/bin/pytest -q",
        "cd . && timeout 9 ./.venv/bin/pytest -q 2>&1 | tail -1",
        "STRETTO=off pytest -q",
        "pytest -q",
        "false && pytest -q",
        "ls",
    ):
        bench.bash(command)
    missed = [(event.name, event.code, event.shape) for event in bench.events(CheckMissed)]
    assert missed == [
        ("pytest", "by-path", "prefix"),
        ("pytest", "by-path", "cd+timeout+chain+redirect+filter"),
        ("pytest", "disabled", "env"),
    ]
    assert bench.state().ledger.commands["pytest"].misses == {"by-path": 2, "disabled": 1}
