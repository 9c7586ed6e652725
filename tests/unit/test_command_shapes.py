"""The shape of a check in its Bash command, and the checks that run past their shim (F39)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapes.table import SHAPES
from stretto.commands import MODULES, NAMES, checks_in, shape_of
from stretto.commands.shape import _PARTS, SCRIPTS
from stretto.model import MISS_CODES

INTERCEPTED = frozenset(NAMES)
PARTS = {name for name, _ in _PARTS} | {"plain"}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("pytest -q", "plain"),
        ("pytest 2>&1", "redirect"),
        ("pytest -q 2>&1 | tail -20", "redirect+filter"),
        ("cd src && pytest -q 2>&1 | tail -20", "cd+chain+redirect+filter"),
        ("pytest | python report.py", "pipe"),
        ("pytest | tee log | python report.py", "filter+pipe"),
        ("CI=1 pytest", "env"),
        ("env CI=1 pytest", "env+prefix"),
        ("timeout 60 pytest", "timeout"),
        ("cd x; CI=1 timeout 5 pytest", "cd+env+timeout+chain"),
        ("uv run pytest", "wrapper"),
        ("python -m pytest", "module"),
        ("bash -c 'cd x && pytest | tail'", "shell"),
        ("source .venv/bin/activate && pytest", "activate+chain"),
        ("for f in a b; do pytest $f; done", "loop+chain"),
        ("echo $(pytest)", "substitution"),
        ("(pytest)", "subshell"),
        ("pytest & wait", "background"),
        ("pytest < /dev/null", "input"),
        ("ruff check . || true", "chain"),
        ("pytest -k 'a && b | c > d'", "plain"),
        ('pytest -k "a; b"', "plain"),
        ("pytest a\\|b", "plain"),
        ("cat > x <<'EOF'\na && b | c\nEOF\npytest", "chain+input+redirect"),
    ],
)
def test_f39_the_shape_of_a_command_is_what_stands_outside_its_quotes(text, shape):
    assert shape_of(text) == shape


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pytest -q", [("pytest", "", True)]),
        (".venv/bin/pytest -q | tail", [("pytest", "by-path", True)]),
        ("./node_modules/.bin/jest --ci", [("jest", "by-path", True)]),
        ("cd web && npx tsc --noEmit", [("npx", "", True)]),
        ("ruff check . && mypy src", [("ruff", "", True), ("mypy", "", False)]),
        ("STRETTO=off pytest", [("pytest", "disabled", True)]),
        ("env STRETTO_FRESH=1 pytest", [("pytest", "disabled", True)]),
        ("timeout -k 5 60 pytest", [("pytest", "", True)]),
        ("bash -c 'pytest -q'", [("pytest", "", True)]),
        ("bash -lc 'pytest -q'", [("pytest", "login-shell", True)]),
        ("sudo pytest", [("pytest", "login-shell", True)]),
        ("python3.11 -m pytest", [("pytest", "not-intercepted", True)]),
        ("python -m pytest", [("pytest", "", True)]),
        ("if [ -f x ]; then pytest; fi", [("pytest", "", False)]),
        ("grep pytest setup.py", []),
        ("echo 'pytest'", []),
        ("pytest --version", []),
        ("ruff format .", []),
    ],
)
def test_f39_checks_are_found_with_why_no_shim_will_see_them(text, found):
    assert [(check.name, check.code, check.certain) for check in checks_in(text, INTERCEPTED)] == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cd web; ./gradlew test | tail -1", ""),
        ("time ./gradlew test", ""),
        ("timeout 60 ./gradlew test", "by-path"),
        ("bash -c './gradlew test'", "by-path"),
        ("../gradlew test", "by-path"),
    ],
)
def test_f39_a_path_that_is_met_has_a_shim_where_the_sessions_own_shell_runs_it(text, code):
    (check,) = checks_in(text, INTERCEPTED | {"./gradlew"})
    assert (check.name, check.code) == ("gradlew", code)


def test_f39_a_name_the_user_took_out_is_a_miss_by_that_reason():
    (check,) = checks_in("pytest -q", INTERCEPTED - {"pytest"})
    assert check.code == "not-intercepted"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_f39_every_shape_of_the_corpus_has_a_name_that_tells_nothing_of_its_words(shape):
    assert set(shape_of(shape.text).split("+")) <= PARTS
    for check in checks_in(shape.text, INTERCEPTED):
        assert check.name in NAMES and check.code in MISS_CODES


@given(st.text(alphabet="ab &|;<>()'\"\\\n$`=-/pytest<<E", max_size=300))
def test_any_text_has_a_shape_of_known_parts(text):
    assert set(shape_of(text).split("+")) <= PARTS
    assert all(check.name in NAMES | SCRIPTS | MODULES.keys() for check in checks_in(text, INTERCEPTED))


@pytest.mark.parametrize("piece", ["<<a\n", "'", '"', "a=", "env -x ", "python -x ", "$(", "| ", "bash -a "])
def test_a_text_made_to_be_slow_is_not_slow(piece):
    began = time.process_time()
    shape_of(piece * 30_000)
    checks_in(piece * 10_000, INTERCEPTED)
    assert time.process_time() - began < 3.0
