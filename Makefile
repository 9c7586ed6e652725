# Two commands do everything on a machine with Python 3.11+, git and make: `make demo` and `make test`.
# They make .venv and install into it what they need; nothing outside this directory is changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check fix bench bench-sessions soak clean help

help:
	@echo "make demo   the main job, on the real Claude Code with a scripted model: no account, under four minutes"
	@echo "make test   every check and test, the real Claude Code included"
	@echo "make check  format, lint, types, unit and contract tests (the quick part)"
	@echo "make bench  speed and memory, as ratios within one run"
	@echo "make bench-sessions  four real projects on the real Claude Code, three ways side by side (most of an hour)"
	@echo "make soak   the counts of a release for the randomised tests (long)"
	@echo "make fix    format, and mend what the linter can"

$(VENV)/.demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Stretto needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what the demo needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "installing what the tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,test]'
	@$(BIN)/python tests/integration/node_tools.py
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/stretto demo

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit tests/contract tests/test_shape.py

test: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

bench: $(VENV)/.test
	$(BIN)/python -m bench

bench-sessions: $(VENV)/.test
	$(BIN)/python -m bench.sessions

soak: $(VENV)/.test
	STRETTO_SCALE=soak $(BIN)/python -m pytest -q tests/integration
	@echo "100,000 rounds of the hunt in which life varies; python -m tests.hunt --minutes N goes on with other seeds"
	STRETTO_SCALE=soak $(BIN)/python -m pytest -q -n 2 --dist load tests/hunt
	@echo "a million seeds in blocks of 500; a seed that fails prints the line that replays it"
	STRETTO_SCALE=soak $(BIN)/python -m pytest -q -n 2 --dist load tests/simulation

fix: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
