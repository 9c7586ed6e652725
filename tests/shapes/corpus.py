"""Bash calls as agents write them, made by rule from a seed: `calls`. Importable without running anything.

The mix is that of recorded sessions (510 distinct check commands of one project): 82 % send errors where the output goes, 47 % end in a
pipe, 22 % hold an `&&`, 18 % select single tests; `MIX` holds these and a test holds the corpus to them. The tools are stand-ins of a few
lines (`CHECK`): what they print depends on the name, the arguments, the folder, two variables and a file, so that an answer given for
another call, another place or another state of the project cannot be the same by chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

CHECK = r"""#!/bin/sh
name=${0##*/}
code=0
at=.
[ -f state ] || at=..
read -r state <$at/state
printf '%s in %s:' "$name" "${PWD##*/}"
for word; do printf ' <%s>' "$word"; done
echo
echo "$name: a warning, $state" >&2
echo "state $state, mode ${MODE-none}, ci ${CI-none}"
for word; do
  case $word in
    -v|--verbose) for n in 1 2 3 4 5 6; do echo "test_$n in $state"; done ;;
    --bytes) printf 'caf\351 \377\000 end' ;;
    *broken*) code=1 ;;
    --code=*) code=${word#*=} ;;
    --write) echo "$state" >written.txt ;;
  esac
done
case $state in bad*) echo "1 failed in $state"; code=1 ;; esac
echo "$name ends with $code"
exit $code
"""
"""POSIX sh without a child, so that a run takes a millisecond."""
TOOLS = (
    *("pytest", "ruff", "mypy", "pylint", "tsc", "eslint", "prettier", "vitest", "jest", "npm", "go", "golangci-lint", "cargo"),
    *("mise", "make", "just", "tox", "uv", "npx", "python", "python3"),
)
WHOLE = (
    *("pytest -q", "pytest", "pytest tests", "pytest -x -q", "pytest -v", "pytest --tb=short -q", "python -m pytest -q", "tox -q"),
    *("python3 -m pytest -x --tb=line", "python -m unittest -v", "ruff check .", "ruff check src --output-format=concise", "ruff check"),
    *("ruff format --check .", "mypy .", "mypy src --strict", "pylint src", "tsc --noEmit", "npx tsc --noEmit -p .", "npx eslint ."),
    *("eslint src --max-warnings 0", "prettier --check .", "vitest run", "npx vitest run", "jest --ci", "npm test", "npm run lint"),
    *("make test", "make -s check", "just test", "uv run pytest -q", "uv run mypy .", "go test ./...", "go test -count=1 ./pkg/..."),
    *("go vet ./...", "go build ./...", "golangci-lint run ./...", "golangci-lint run", "mise run lint", "mise run test", "cargo check"),
    *("pytest --code=5", "pytest -q broken", "ruff check broken.py", "npm run test:broken", "pytest --bytes", "mypy --code=2"),
)
SINGLE = (
    *("pytest tests/test_a.py::test_one", "pytest -k 'one and not two' -v", "pytest tests/test_a.py -q -x", "cargo test one"),
    *("go test -run TestOne ./pkg/...", "go test -v -run 'TestOne|TestTwo' ./...", "python -m unittest tests.test_a.Case.test_one"),
    *("npx vitest run a.test.ts -t 'adds two'", "mise run test -- -run TestTwo", "pytest 'tests/test_a.py::test_one[a b]'"),
    *("jest a.test.js", "python -m pytest tests/test_broken.py::test_one", "uv run pytest tests/test_a.py::test_one -q"),
)
ODD = ("pytest --write", "pytest $(echo -q)", "pytest *.md", "pytest <state", "ls -1", "./unknown")
"""Of what ends, writes or is written differently there is a little everywhere."""
PIPES = (
    *("tail -1", "tail -5", "tail -20", "head -3", "head -20", "grep -E 'state|ends'", "grep -v warning", "grep -c .", "wc -l"),
    *("sed -n '1,4p'", "sort | uniq -c", "tail -3 | cut -c1-30", "grep -A 2 state", "cat", "awk '{print $1}'", "tr a-z A-Z"),
    *("grep -i error", "tee log.txt | tail -2", "grep -E '^(ok|FAIL)' | head -5"),
)
ENDS = (
    "; echo $?",
    " || true",
    " || echo it failed",
    "; echo '---'; git status --short | head -3",
    " >out.txt; cat out.txt",
    "\necho next",
)
BEFORE = ("CI=1 ", "MODE=fast ", "env MODE=slow ", "timeout 60 ", "nice -n 1 ", "command ")
WRAPPED = (
    *(
        "({})",
        "{{ {}; }}",
        'bash -c "{}"',
        'sh -c "{}; exit 3"',
        "if {}; then echo good; else echo bad; fi",
        "! {}",
        'out=$({}); echo "$out"',
    ),
    *("for n in 1 2; do {}; done", "{} & wait $!", "set -o pipefail; {}", "export MODE=set; {}", "[ -f state ] && {}", "# a check\n{}"),
)
MIX = {" 2>&1": 0.82, "|": 0.47, "&&": 0.22, "single": 0.18}
TOLERANCE = 0.08


@dataclass(frozen=True)
class Call:
    text: str
    single: bool
    """It selects single tests."""
    change: str
    """What happens to the project before it: "" (nothing), or the name of a way in which test_transparency.py changes something."""


CHANGES = ("edit", "edit untold", "break", "new file", "touch", "delete", "ignored", "commit", "same size", "elsewhere")


def calls(count: int, seed: int) -> list[Call]:
    """Return so many calls; the same ones for a seed."""
    dice = random.Random(seed)
    return [_call(dice) for _ in range(count)]


def _call(dice: random.Random) -> Call:
    single = dice.random() < MIX["single"]
    odd = dice.random() < 0.05
    check = dice.choice(ODD if odd else SINGLE if single else WHOLE)
    if dice.random() < 0.15 and not odd:
        check = dice.choice(BEFORE) + check
    errors = dice.random()
    text = check + (" 2>&1" if errors < MIX[" 2>&1"] else " 2>/dev/null" if errors < 0.87 else "")
    if dice.random() < 0.12 and not {'"', "$"} & set(check):
        text = dice.choice(WRAPPED).format(text)
    lines = text.endswith("fi") or "\n" in text or "wait" in text
    if dice.random() < 0.44 and not lines:
        text += " | " + dice.choice(PIPES)
    elif dice.random() < 0.25 and not lines:
        text += dice.choice(ENDS)
    chained = dice.random()
    if chained < 0.10:
        text = dice.choice(("cd sub && ", "cd ./sub && ", "cd sub/.. && ")) + text
    elif chained < 0.16:
        text = f"{dice.choice(WHOLE)} && {text}"
    elif chained < 0.20 and "\n" not in text:
        text = f"{text} && {dice.choice(WHOLE)}"
    change = dice.choice(CHANGES) if dice.random() < 0.25 else ""
    return Call(text=text, single=single and not odd, change=change)
