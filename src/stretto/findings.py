"""What a failing check says: the failures it names, and the lines worth showing. Pure: text in, records out.

Knows the outputs of pytest, unittest, jest, vitest, go test, cargo and rustc, tsc, ruff, mypy, pyright, eslint and rspec by their forms and
not by the command, because `make test` and `npm run check` print the same; of every other output the end is shown. Promises:
- names are the same for the same failures wherever they stand: no line numbers, times or colours in them, sorted, each once;
- lines are in the order of the output and bounded in number; whoever shows them cleans them (`gates.clean`);
- an output that is understood only in part gives what is understood; one in which nothing is gives no names.

Source of the forms: the tools' own outputs, kept in tests/unit/outputs; tests/unit/test_findings.py names the versions. rspec's is from its
documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from stretto.model import Record

LINES_MOST = 12
"""Lines shown of one check."""
TAIL_LINES = 5
"""Lines shown of an output that is not understood."""
NAMES_MOST = 500
READ_CHARACTERS = 200_000
"""So much of the end of an output is looked at."""
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Findings(Record, frozen=True, kw_only=True):
    """What one output says."""

    names: tuple[str, ...] = ()
    """The failing tests, or file and rule of each complaint; empty when the output is not understood."""
    lines: tuple[str, ...] = ()
    more: int = 0
    """Failures beyond those whose lines are given."""


def findings(output: str) -> Findings:
    """Return what the output of a check that failed says."""
    text = _COLOURS.sub("", output[-READ_CHARACTERS:]).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    names: set[str] = set()
    shown: dict[str, int] = {}
    for read in _FORMS:
        for at, name, line in read(lines):
            names.add(name)
            shown.setdefault(line.strip(), at)  # some tools repeat at their end what they said before
    if not shown:
        said = [line.strip() for line in lines if line.strip()]
        return Findings(lines=tuple(said[-TAIL_LINES:]))
    in_order = sorted(shown, key=lambda line: shown[line])
    return Findings(names=tuple(sorted(names)[:NAMES_MOST]), lines=tuple(in_order[:LINES_MOST]), more=max(0, len(in_order) - LINES_MOST))


Found = Iterator[tuple[int, str, str]]
"""Where a failure stands, its name, and the line worth showing."""


def _each(pattern: str, *, why: str = "") -> Callable[[Sequence[str]], Found]:
    """Return a reader of a form in which each failure is one line; the groups together are its name.

    Args:
        why: what the next line that is not blank looks like when it says why; "" when nothing follows.
    """
    compiled = re.compile(pattern)

    def read(lines: Sequence[str]) -> Found:
        for at, line in enumerate(lines):
            if match := compiled.match(line):
                name = " ".join(group for group in match.groups() if group)
                below = next((each for each in lines[at + 1 : at + 3] if each.strip()), "") if why else ""
                yield at, name, f"{line.strip()}: {below.strip()}" if below and re.match(why, below) else line

    return read


def _eslint(lines: Sequence[str]) -> Found:
    """A file's name on a line of its own, and under it `  12:5  error  What is wrong  rule-name`."""
    file = ""
    for at, line in enumerate(lines):
        if match := _ESLINT_COMPLAINT.match(line):
            if file:
                yield at, f"{file} {match[3]}", f"{file}:{match[1]} {match[2]} {match[3]}"
        elif line.strip():
            file = line.strip() if _ESLINT_FILE.fullmatch(line) else ""


_ESLINT_FILE = re.compile(r"(?:/|[A-Za-z]:\\|\.{0,2}[\w@-])\S*\.\w+")
_ESLINT_COMPLAINT = re.compile(r"\s+(\d+:\d+)\s+error\s+(\S.*?)\s+(\S+)\s*$")


def _above_its_place(pattern: str) -> Callable[[Sequence[str]], Found]:
    """Return a reader of a form that says what is wrong, with a code in the only group, and on the next line `  --> FILE:1:8`."""
    compiled = re.compile(pattern)

    def read(lines: Sequence[str]) -> Found:
        for at, line in enumerate(lines[:-1]):
            if (what := compiled.fullmatch(line)) and (where := _PLACE.match(lines[at + 1])):
                yield at, f"{where[1]} {what[1] or 'error'}", f"{where[1]}:{where[2]} {line}"

    return read


_PLACE = re.compile(r"\s*--> (.+?):(\d+:\d+)$")

_FORMS: tuple[Callable[[Sequence[str]], Found], ...] = (
    _each(r"(?:FAILED|ERROR) ([^\s:]+\.py(?:::\S.*?)?)(?: - .*)?$"),  # pytest's short summary
    _each(r"(?:FAIL|ERROR): (\w+ \([\w.]+\))"),  # unittest
    _each(r"  ● (\S.*? › .+|[^›]*\S)$", why=r"\s+\S"),  # jest: one test
    _each(
        r" ?(?:❯ )?FAIL  ?((?:\|\S+\| )?\S+\.[cm]?[jt]sx?(?: > .+?)?)(?: \[ .* \])?$", why=r"[A-Z]\w*(?:Error|Exception)?:"
    ),  # jest, vitest
    _each(r"\s*--- FAIL: (\S+)", why=r"\s+\S+\.go:\d+:"),  # go test
    _each(r"FAIL\t(\S+) \[(?:build|setup) failed\]"),
    _each(r"(\S+\.go):\d+:\d+: (\S.*)$"),  # go build, go vet
    _each(r"test (\S+)(?: - should panic)? \.\.\. FAILED$"),  # cargo test
    _above_its_place(r"error(?:\[(E\d+)\])?: .+"),  # rustc
    _above_its_place(r"([A-Z]{1,4}\d{1,4}|invalid-syntax):? .+"),  # ruff
    _each(r"(\S+\.pyi?):\d+:\d+: ([A-Z]{1,4}\d{1,4}) "),  # ruff and flake8, concise
    _each(r"(\S+?)(?:\(\d+,\d+\):|:\d+:\d+ -) error (TS\d+):"),  # tsc, plain and pretty
    _each(r"(\S+\.pyi?):\d+(?::\d+)?: error: .*?(?:\s+\[([\w-]+)\])?$"),  # mypy
    _each(r"\s+(\S+\.pyi?):\d+:\d+ - error: (.*)$"),  # pyright
    _each(r"rspec (\S+?):\d+ #"),
    _eslint,
)
