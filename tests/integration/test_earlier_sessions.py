"""A command that an earlier session asked for runs ahead in a new one, under a supervisor that never saw it asked; and when it must not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto import trust
from stretto.fold import Attempt
from stretto.testing.wait import wait_until

SLOW_ENOUGH = "sleep 0.3; cat src.py"


def allow(bench: Bench, *names: str) -> None:
    folder = bench.root / ".claude"
    folder.mkdir(exist_ok=True)
    rules = [f"Bash({name}:*)" for name in names]
    (folder / "settings.local.json").write_text(json.dumps({"permissions": {"allow": rules}}))


def prepare(bench: Bench, *names: str) -> None:
    """Put tools on the PATH and allow them."""
    bench.write(bench.root / "src.py", "zero\n")
    for name in names:
        bench.tool(name, SLOW_ENOUGH)
    allow(bench, *names)
    trust.set_preset(str(bench.base), "eager")  # one stretch is little to learn from


def session(bench: Bench, *commands: str, question: str = "") -> None:
    """Live through a session of a supervisor of its own, which edits and asks.

    Args:
        question: the host puts one about this command before the last of them is asked for.
    """
    bench.begin()
    before = len(bench.did())
    bench.edit("src.py", "one\n")
    for number, command in enumerate(commands):
        if question and number == len(commands) - 1:
            bench.hook("PermissionRequest", tool_name="Bash", tool_input={"command": question})
        bench.bash(command)
    assert len(bench.did()) == before + len(commands)
    end(bench)


def end(bench: Bench) -> None:
    bench.hook("SessionEnd", reason="other")
    bench.stop()


def edits_after_asking(bench: Bench, text: str) -> None:
    """Begin a session which asks for pytest alone and edits; wait until pytest has run ahead, and with it what had the same chance."""
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("src.py", text)
    ahead(bench, "pytest")


def ahead(bench: Bench, name: str) -> None:
    wait_until(lambda: any(run.kind == "ahead" for run in begun(bench, name) if not run.open), limit_s=20, what=f"{name} ahead")


def begun(bench: Bench, name: str) -> list[Attempt]:
    """The runs of a command that this supervisor began."""
    state = bench.state()
    assert state.supervisor is not None
    since = state.supervisor.mono
    return [run for run in state.attempts.values() if state.jobs[run.job].name == name and run.started_mono >= since]


def test_checks_of_an_earlier_session_run_ahead_in_a_new_one_where_nothing_speaks_against_it(bench: Bench):
    """B-4: beside each other one that is as it was, and those whose program, words, rule or exclusion stand against it."""
    names = ("pytest", "mypy", "ruff", "flake8", "bandit", "vulture")
    prepare(bench, *names, "pylint")
    allow(bench, *names)  # pylint is run without a question, too, and nobody knows why: a skill may have allowed it
    secret = "flake8 --api-key=hush-hush src.py"
    others = ["ruff check src.py", secret, "bandit -q src.py", "pylint src.py", "vulture src.py"]
    session(bench, "pytest -q", "mypy src.py", *others, question="git push")
    assert [bool(join.mode and join.host) for join in bench.state().joins] == [True] * 5 + [False] * 2

    bench.tool("ruff", SLOW_ENOUGH + "; echo newer")
    trust.set_excluded(bench.granted, ["bandit*"])
    bench.begin()
    bench.bash("pytest -q")
    assert not begun(bench, "mypy"), "nothing was written in this session yet"
    bench.edit("src.py", "three\n")
    ahead(bench, "mypy")
    ahead(bench, "pytest")
    assert bench.bash("mypy src.py 2>&1 | tail -3")[:2] == (b"three\n", 0)
    last = bench.state().joins[-1]
    assert (last.do, last.of) == ("replay", "ahead")
    assert [name for name in (*names, "pylint") if begun(bench, name)] == ["pytest", "mypy"]
    assert "hush-hush" not in Path(bench.paths.events).read_text()
    assert bench.bash("ruff check src.py")[0] == b"three\nnewer\n"
    assert bench.state().anomaly_count == 0


def environment_differs(bench: Bench) -> None:
    bench.env["CI"] = "1"


def settings_changed(bench: Bench) -> None:
    (bench.root / ".claude" / "settings.json").write_text(json.dumps({"permissions": {"deny": ["Bash(mypy:*)"]}}))


def dependencies_declared(bench: Bench) -> None:
    (bench.root / "requirements.txt").write_text("attrs\n")


@pytest.mark.parametrize("between", [environment_differs, settings_changed, dependencies_declared], ids=lambda act: act.__name__)
def test_a_check_of_an_earlier_session_stays_unknown_when_something_changed_between(bench: Bench, between: Callable[[Bench], None]):
    prepare(bench, "pytest", "mypy")
    session(bench, "pytest -q", "mypy src.py")
    between(bench)
    edits_after_asking(bench, "three\n")
    assert not begun(bench, "mypy")


def test_in_bypass_mode_no_rule_is_needed_and_in_a_stricter_one_or_plan_mode_nothing_is_carried_over(bench: Bench):
    """B-4: the same in a folder of the project."""
    prepare(bench, "pytest")
    (bench.root / "sub").mkdir()
    bench.tool("mypy", "sleep 0.3; pwd; cat ../src.py")
    bench.mode = "bypassPermissions"
    session(bench, "pytest -q", "cd sub && mypy .")

    bench.mode = "default"
    edits_after_asking(bench, "two\n")
    assert not begun(bench, "mypy")
    end(bench)

    bench.mode = "plan"
    bench.begin()
    bench.bash("pytest -q")
    bench.edit("src.py", "three\n")
    bench.bash("pytest -q")
    assert not begun(bench, "mypy")
    end(bench)

    bench.mode = "bypassPermissions"
    edits_after_asking(bench, "four\n")
    ahead(bench, "mypy")
    assert bench.bash("cd sub && mypy .")[0] == f"{os.path.realpath(bench.root)}/sub\nfour\n".encode()
    assert bench.did()[-1] == "replay"
