"""Who asks for a real run: by options, by variables, by what stands above a call, by the text it is in."""

from __future__ import annotations

import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.commands import Caller, by_callers, by_text, check_of, realruns
from stretto.hookwire import BashAsked
from stretto.model import MISS_CODES, JobKey, SessionId
from stretto.sessions import Conversation
from stretto.system import Process

ASKS = """
    make -B test | make --always-make test | make -kB test | make -j4 -sB check | gmake -B test | make test ARGS=--count=5
    go test -count=1 ./... | go test -count 5 ./... | go test --count=3 ./a | go vet -a ./... | gotestsum -- -count=1 ./...
    pytest --count=5 | pytest --count 5 -q | pytest --flake-finder | python -m pytest --count=2 | uv run pytest --count=5
    poetry run python -m pytest --flake-finder | npx jest --no-cache | jest --cache=false | jest --cache false | npm test -- --no-cache
    pnpm exec jest --no-cache | yarn jest --no-cache | vitest run --no-cache | ruff check --no-cache . | ruff check -n . | ruff check -nq .
    mypy --no-incremental . | turbo run test --force | turbo test --force
    pnpm turbo run test --force | nx test web --skip-nx-cache | nx run web:test --skipNxCache | gradle test --rerun-tasks
    gradle test --rerun | bazel test --nocache_test_results //... | bazel test --cache_test_results=no //...
    bazel test --runs_per_test=3 //a | rubocop --cache false | tox --recreate | tox -r -e py311 | mix test --repeat-until-failure 5
    dotnet build --no-incremental
    ctest --repeat until-fail:5 | ctest --repeat-until-fail 5 | meson test --repeat=3 | task -f test | dune runtest --force
    mvn test -Dmaven.build.cache.enabled=false | bun test --rerun-each 3 | bundle exec rubocop --cache false | psalm --no-cache
"""
DOES_NOT = """
    make test | make -C B test | make -f B test | make -j4 test | make -CB test | go test ./... | go test -run Test_count ./... | pytest
    pytest tests/test_count.py | pytest -k count | jest | jest --cache=true | npm test | ruff check . | mypy . | mypy --cache-dir=.cache .
    mypy --cache-dir=/dev/null .
    eslint --no-cache . | prettier --check . | turbo run test | turbo run test --force=false | gradle test | bazel test //...
    pytest --reruns 3 | jest --testTimeout=5 | dotnet test --no-build | tox -e r | rubocop --cache true | pytest -p no:cacheprovider
"""


def lines(text: str) -> list[str]:
    return [each.strip() for line in text.strip().splitlines() for each in line.split("|")]


def asked(line: str, **more) -> str:
    words = shlex.split(line)
    check = check_of(words[0], words, **more)
    assert check is not None, line
    return check.real


@pytest.mark.parametrize("line", lines(ASKS))
def test_options_by_which_a_tool_is_asked_for_a_real_run_are_found_also_inside_wrappers(line):
    assert asked(line)


@pytest.mark.parametrize("line", lines(DOES_NOT))
def test_what_asks_for_nothing_leaves_a_call_alone(line):
    assert not asked(line)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("PYTEST_ADDOPTS=-q --count=5", "pytest"),
        ("PYTEST_ADDOPTS=--flake-finder", "make test"),
        ("GOFLAGS=-count=1", "go test ./..."),
        ("MAKEFLAGS=B", "make test"),
        ("MAKEFLAGS=-j2 --always-make", "make test"),
        ("TURBO_FORCE=true", "turbo run test"),
        ("NX_SKIP_NX_CACHE=true", "nx test web"),
        ("RUFF_NO_CACHE=true", "ruff check ."),
    ],
)
def test_a_variable_asks_when_it_was_set_for_this_call_and_not_when_the_whole_session_has_it(entry, line):
    assert asked(line, env=[entry]) == entry.split("=")[0]
    assert asked(line, env=[entry], usual=frozenset([entry])) == ""


@pytest.mark.parametrize(
    "entry", ["PYTEST_ADDOPTS=-q", "GOFLAGS=-race", "MAKEFLAGS=k", "MAKEFLAGS=", "TURBO_FORCE=false", "COUNT=--count=5"]
)
def test_a_variable_that_asks_for_nothing_is_left_alone(entry):
    assert asked("pytest", env=[entry]) == ""


def conversation(*texts: str) -> Conversation:
    found = Conversation(None, lambda: 0.0, lambda: 0.0)
    for number, text in enumerate(texts):
        found.asked(BashAsked(session=SessionId("s"), mode="default", call=f"c{number}", command=text), "checks", {"pytest", "ruff"})
    return found


ONE, OTHER = JobKey("one"), JobKey("other")


def test_a_second_question_from_the_shell_of_one_bash_call_is_one_too_many():
    asked = conversation("pytest", "pytest")
    shells = [Process(7, "1", "b"), Process(7, "2", "b")]
    assert asked.asked_again(ONE, {"pytest"}, shells[0]) is None
    assert asked.asked_again(ONE, {"pytest"}, shells[1]) is None  # another process that got the same number
    assert asked.asked_again(OTHER, {"pytest"}, shells[0]) is None
    again = asked.asked_again(ONE, {"pytest"}, shells[0])
    assert again is not None and again.code == "repeated" and again.code in MISS_CODES


def test_shells_that_ended_long_ago_are_forgotten():
    asked = conversation()
    for pid in range(1000):
        assert asked.asked_again(ONE, {"pytest"}, Process(pid, "1", "b")) is None
    assert asked.asked_again(ONE, {"pytest"}, Process(999, "1", "b")) is not None
    assert asked.asked_again(ONE, {"pytest"}, Process(0, "1", "b")) is None


def test_without_a_shell_each_open_call_has_a_first_question_and_none_a_second():
    asked = conversation("pytest -q", "ruff check .", "pytest -q")
    assert [asked.asked_again(ONE, {"pytest"}, None) is None for _ in range(3)] == [True, True, False]
    assert conversation().asked_again(ONE, {"pytest"}, None) is None


def test_of_several_open_calls_those_that_hold_the_check_say_whether_it_is_measured():
    assert conversation("time make test").real_by_text({"pytest"}, None) is not None
    assert conversation("time ruff check .", "pytest -q").real_by_text({"pytest"}, None) is None
    assert conversation("ruff check .", "time pytest -q").real_by_text({"pytest"}, None) is not None


def test_the_call_whose_shell_is_known_to_run_a_check_says_whether_it_is_measured():
    both = conversation("pytest -q", "time pytest -q")
    both.shell_began(7)
    both.shell_began(8)
    assert both.real_by_text({"pytest"}, Process(7, "1", "b")) is None
    assert both.real_by_text({"pytest"}, Process(8, "1", "b")) is not None


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        ("time pytest -q", "measured"),
        ("/usr/bin/time -v pytest", "measured"),
        ("hyperfine 'pytest -q'", "measured"),
        ("perf stat pytest", "measured"),
        ("strace -f pytest", "measured"),
        ("python3 -m cProfile -m pytest", "measured"),
        ("python /usr/bin/py-spy record -- pytest", "measured"),
        ("/bin/sh /home/me/bin/hyperfine pytest", "measured"),
        ("coverage run -m pytest", "measured"),
        ("uv run --frozen coverage run -m pytest", "measured"),
        ("uv run coverage report", None),
        ("make -B test", "real-run"),
        ("npx jest --no-cache", "real-run"),
        ("make test", None),
        ("coverage report", None),
        ("python tool.py time", None),
        ("/bin/sh -c pytest", None),
        ("timeout 60 pytest", None),
    ],
)
def test_what_stands_above_a_call_asks_for_it(argv, code):
    found = by_callers([Caller(("/bin/sh", "-e")), Caller(tuple(shlex.split(argv)))])
    assert (found.code if found else None) == code
    assert code is None or code in MISS_CODES


def test_what_looks_into_the_process_it_started_gets_the_command_in_place():
    assert by_callers([Caller(("strace", "pytest"))]).in_place
    assert not by_callers([Caller(("time", "pytest"))]).in_place


TIMED = [
    "time pytest -q",
    "cd a && time pytest",
    "time -p pytest",
    "for i in 1 2; do time pytest $i; done",
    "bash -c 'time pytest -q'",
    'bash -c "cd a; time make test"',
    "{ time pytest; } 2>&1",
    "(time ruff check .)",
    "time ( pytest; ruff check . )",
    "! time pytest",
    "if time pytest; then echo; fi",
    "eval 'time pytest'",
    "SECONDS=0; pytest -q; echo took $SECONDS",
    "start=$(date +%s%N); pytest -q; end=$(date +%s%N); echo $((end - start))",
    "date; pytest -q; date",
    "date\npytest -q 2>&1 | tail -3\ndate",
    't0=$EPOCHREALTIME; pytest; echo "$t0 ${EPOCHREALTIME}"',
]
LOOPED = [
    "for i in 1 2 3; do pytest -q; done",
    "for i in $(seq 5); do pytest -q || break; done",
    "for ((i=0; i<5; i++)); do\n  pytest -q\ndone",
    "while pytest -q; do :; done",
    "until ! pytest; do n=$((n+1)); done",
    "n=0; while [ $n -lt 5 ]; do pytest -q >/dev/null 2>&1; n=$((n+1)); done",
    "for i in 1 2; do timeout 60 pytest -q; done",
    "for i in 1 2; do cd a && make test; done",
    "for i in 1 2; do bash -c 'pytest -q'; done",
    "bash -c 'for i in 1 2; do pytest; done'",
    "seq 5 | xargs -I{} pytest -q",
    "seq 5 | xargs -P2 -I {} sh -c 'pytest -q'",
    "repeat 5 pytest -q",
    "repeat 5; do pytest -q; done",
    "for i in 1 2 3; pytest -q",
    "for i in 1 2 3; { pytest -q; }",
]
NEITHER = [
    "pytest -q",
    "pytest -q; ruff check .",
    'for f in a b; do pytest "$f"; done',
    "for f in a b; do pytest tests/$f -q; done",
    "for s in 1 2; do SEED=$s pytest; done",
    "for f in *.txt; do cat $f; done; pytest",
    "while read -r f; do ruff check $f; done < list",
    "echo 'time pytest'",
    'git commit -m "for a while; do time pytest; done"',
    "pytest -k time",
    "pytest -q; echo wait for it; ruff check",
    "for f in a b; pytest $f",
    "ls a/time b",
    "seq 5 | xargs -I{} pytest test_{}.py",
    "echo a b | xargs ruff check",
    "timeout 60 pytest",
    "date +%s > stamp; pytest",
    "date; pytest --date; echo 'date; date'",
    "",
]


@pytest.mark.parametrize("text", TIMED)
def test_the_shells_time_leaves_no_process_and_is_found_in_the_text(text):
    found = by_text(text)
    assert found is not None and found.code == "measured"


@pytest.mark.parametrize("text", LOOPED)
def test_a_loop_in_which_one_check_stands_unchanged_makes_its_first_run_real_too(text):
    found = by_text(text)
    assert found is not None and found.code == "repeated"


@pytest.mark.parametrize("text", NEITHER)
def test_a_text_that_neither_times_nor_repeats_a_check_asks_for_nothing(text):
    assert by_text(text) is None


@given(st.text(alphabet="for whiledotnepys'\"-c;&|(){}$`\n\\x", max_size=300))
def test_any_text_gives_an_answer(text):
    found = by_text(text)
    assert found is None or found.code in MISS_CODES


@pytest.mark.parametrize(
    "part", ["time ", "'", '"', "\\", "for ", "do ", "done;", "-c '", "xargs -I{} ", "{ ", "( ", ";while ", "x" * 50, 'bash -c "', "\n  "]
)
def test_a_hostile_text_is_read_in_no_time_to_speak_of(part):
    text = part * (200_000 // len(part))
    began = time.process_time()
    by_text(text)
    by_callers([Caller(tuple(text.split(" ")[:5000]), text)])
    assert time.process_time() - began < 5.0


def test_every_entry_names_its_documentation_and_says_something():
    for name, options in realruns.TABLE.items():
        assert "." in options.source and " " not in options.source.split(",")[0], name
        assert options.words or options.values, name
