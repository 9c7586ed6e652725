"""What makes two calls the same, and who gets a real run although a result holds: through the real shims, hooks and supervisor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from integration.conftest import Bench
from integration.test_daemon import runs
from stretto import observe
from stretto.model import AttemptStarted, JoinDecided
from stretto.testing.wait import wait_until

ONCE = 'echo run >> "$HOME/runs"; echo done'
linux = pytest.mark.skipif(not observe.LINUX, reason="reads /proc, which only Linux has")


@pytest.fixture
def ready(bench):
    """A session in which one run of `pytest -q` holds."""
    bench.tool("pytest", ONCE)
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    bench.bash("pytest -q")
    bench.settled(1)
    bench.bash("pytest -q")
    assert bench.did() == ["record", "replay"]
    return bench


def codes(bench) -> list[str]:
    """Why each question was no join, "" for a join."""
    return [event.code for event in bench.events(JoinDecided)]


def ahead(bench) -> list[AttemptStarted]:
    return [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]


# --- the same call ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "AI_AGENT"])
@pytest.mark.parametrize("form", ["{}=7 pytest -q", "export {}=7; pytest -q"])
def test_a_variable_that_steers_what_tools_print_makes_another_call(ready, name, form):
    ready.bash(form.format(name))
    ready.settled(2)
    ready.bash(form.format(name))
    assert ready.did()[2:] == ["record", "replay"]
    assert ready.events(JoinDecided)[2].differs == (f"env {name}",)


def test_a_folder_entered_by_a_link_is_another_call_than_the_same_folder_by_its_own_name(bench):
    bench.tool("pytest", 'echo "$PWD"')
    (bench.root / "real").mkdir()
    (bench.root / "real" / "src.py").write_text("one\n")
    (bench.root / "link").symlink_to("real")
    bench.begin()
    own = f"{bench.root}/real\n".encode()
    assert bench.bash("cd real && pytest -q")[0] == own
    bench.settled(1)
    assert bench.bash("cd link && pytest -q")[0] == f"{bench.root}/link\n".encode()
    bench.settled(2)
    assert bench.bash("cd -P link && pytest -q")[0] == own
    assert bench.bash("unset PWD; cd real; pytest -q")[0] == own
    assert bench.did() == ["record", "record", "replay", "replay"]


def test_a_trace_context_is_no_difference_and_a_run_ahead_gets_none(bench):
    bench.tool("pytest", f'echo run >> "$HOME/runs"; env | grep -E "^(TRACE|BAGGAGE)" >> {bench.short}/seen; sleep 0.6')
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    trace = {"TRACEPARENT": "00-1-2-01", "TRACESTATE": "a=1", "BAGGAGE": "b=1"}
    bench.bash("pytest -q", env=trace)
    bench.settled(1)
    bench.bash("pytest -q", env={**trace, "TRACEPARENT": "00-1-3-01"})
    assert bench.did() == ["record", "replay"]
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    assert sorted((bench.short / "seen").read_text().splitlines()) == ["BAGGAGE=b=1", "TRACEPARENT=00-1-2-01", "TRACESTATE=a=1"]
    assert runs(bench) == 2


# --- who asks for one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pytest --count=1", "PYTEST_ADDOPTS=--flake-finder pytest -q", "python3 -m pytest --count=1"])
def test_words_that_ask_for_a_real_run_get_one_each_time_and_it_is_recorded(ready, command):
    if command.startswith("python3"):
        ready.tool("python3", ONCE)
        ready.begin()
    before = runs(ready)
    for _ in range(2):
        ready.bash(command)
    assert runs(ready) == before + 2
    assert ready.did()[2:] == ["record", "record"] and codes(ready)[3] == "real-run"


@linux
def test_a_variable_that_the_whole_session_has_forbids_no_join(bench):
    bench.tool("pytest", ONCE)
    bench.begin()
    env = {"PYTEST_ADDOPTS": "--count=1"}
    bench.bash("pytest -q", env=env)
    bench.settled(1)
    bench.bash("pytest -q", env=env)
    bench.bash("export PYTEST_ADDOPTS=--count=1; pytest -q", env=env)
    assert bench.did() == ["record", "replay", "replay"]  # that sets what every call has
    bench.bash("PYTEST_ADDOPTS=--count=2 pytest -q", env=env)
    assert codes(bench)[-1] == "real-run"


def test_a_command_that_asks_for_a_real_run_runs_ahead_for_a_gate_and_for_nobody_else(bench):
    bench.tool("pytest", 'echo run >> "$HOME/runs"; sleep 0.6; grep -q good src.py')
    (bench.root / "src.py").write_text("good\n")
    bench.begin()
    bench.hook("UserPromptSubmit", prompt="go")
    bench.tool("ruff", "sleep 0.6")
    bench.begin()
    bench.bash("pytest --count=2")
    bench.bash("ruff check .")
    bench.settled(2)
    bench.edit("src.py", "bad\n")
    bench.settled(1, "ahead")
    assert [bench.state().jobs[event.job].argv for event in ahead(bench)] == [("ruff", "check", ".")]
    told = bench.hook("Stop", stop_hook_active=False).stdout
    assert b"pytest --count=2" in told
    assert bench.state().jobs[ahead(bench)[-1].job].argv == ("pytest", "--count=2")


@linux
def test_a_wrapper_is_asked_as_a_whole_and_the_checks_inside_it_are_part_of_it(ready):
    ready.tool("make", "pytest -q")
    ready.begin()
    before = runs(ready)
    for number in (1, 2):
        ready.bash("make -B test")
        assert runs(ready) == before + number
    for _ in range(2):
        ready.bash("make test")
        assert runs(ready) == before + 3  # nobody asked for a real run of that


@pytest.mark.parametrize(
    "command",
    [
        "for i in 1 2 3; do pytest -q; done",
        "n=0; while [ $n -lt 3 ]; do pytest -q; n=$((n+1)); done",
        "for i in 1 2 3; do bash -c 'pytest -q'; done",
        pytest.param("seq 3 | xargs -I{} pytest -q", marks=linux),
        pytest.param("printf 'for i in 1 2 3; do pytest -q; done' > $HOME/loop; sh $HOME/loop", marks=linux),
    ],
)
def test_a_loop_that_looks_for_a_flake_runs_as_often_as_it_says(ready, command):
    before = runs(ready)
    output = ready.bash(command)[0]
    assert runs(ready) == before + 3
    assert output == b"done\n" * 3
    assert set(codes(ready)[2:]) == {"repeated"}


def test_the_second_question_within_one_bash_call_is_a_real_run_and_the_first_is_not(ready):
    before = runs(ready)
    ready.bash("pytest -q; (pytest -q); pytest -q -x")
    assert codes(ready)[2:] == ["", "repeated", "arguments-differ"]
    assert runs(ready) == before + 2
    ready.settled(3)
    ready.bash("pytest -q")
    assert ready.did()[-1] == "replay"  # another call asks for the first time


def test_each_check_of_a_loop_over_different_ones_is_asked_for_the_first_time(ready):
    ready.bash("for f in a b; do pytest $f; done")
    assert "repeated" not in codes(ready)


@pytest.mark.parametrize(
    "command",
    [
        "time pytest -q",
        "bash -c 'time pytest -q'",
        "for i in 1 2; do time pytest -q; done",
        pytest.param("printf 'time pytest -q\\n' > $HOME/bench.sh; bash $HOME/bench.sh", marks=linux),
        pytest.param("hyperfine pytest", marks=linux),
    ],
)
def test_who_measures_a_check_measures_a_run(ready, command):
    ready.tool("hyperfine", "pytest -q; true")  # a shell script of that name stands above the check, as the program would
    before = runs(ready)
    ready.bash(command)
    assert runs(ready) == before + (2 if command.startswith("for") else 1)
    assert set(codes(ready)[2:]) == {"measured"}


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_who_traces_a_check_traces_the_check_itself(ready):
    before = runs(ready)
    ready.bash("strace -o $HOME/trace -e trace=execve pytest -q")
    assert runs(ready) == before + 1
    assert ready.did()[-1] == "exec"
    assert str(ready.tools / "pytest") in (Path(ready.env["HOME"]) / "trace").read_text()


def test_a_rule_holds_however_long_a_command_is_and_whatever_stands_in_it(short, project, state_base):
    one = Bench(short, project, state_base, rules=b'exclude = ["pytest *--live"]\n')
    try:
        one.tool("pytest", ONCE)
        one.begin()
        words = " ".join(f"tests/test_{number}.py" for number in range(200))
        for _ in range(2):
            one.bash(f"pytest -q {words} --token=abcdefgh -k 'a b' --live")
        assert codes(one) == ["disabled", "disabled"]
        one.bash(f"pytest -q {words} --dead")
        assert one.did()[-1] == "record"
    finally:
        one.stop()


@linux
def test_a_run_asked_for_within_a_background_loop_is_one_of_its_own_too(ready):
    before = runs(ready)
    ready.bash("(for i in 1 2 3; do pytest -q; done) >/dev/null 2>&1 &")
    wait_until(lambda: runs(ready) == before + 3, what="three runs")
    assert set(ready.did()[2:]) <= {"record", "exec"}  # recorded as long as its call is open
