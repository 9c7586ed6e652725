"""What the demo's session does: somebody asks for `Version.is_stable` in packaging, with tests.

The scripted model reads the class, writes the property with a mistake and a test that finds it, sees the failure, mends it, looks at the
warnings, and checks everything once more before it says it is done. The commands have the shapes of real sessions (82 % carry
`2>&1`, 47 % end in a pipe, 22 % are chains), and the times it thinks before a check are the quartiles of 2,515 real ones: 4.0, 6.9 and
15.8 s from the last write. Promises: the same script for both halves; paths are the only thing that depends on where the project is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stretto.testing.api import Call, Turn

PROMPT = "Add a property Version.is_stable (a release without local part), with tests. Keep ruff, mypy and the whole suite green."

SHORT_S, MEDIAN_S, LONG_S = 4.0, 6.9, 15.8
"""Thinking before a check: the quartiles of the time from the last write to the check in real sessions."""
EDIT_S = 3.6
"""Thinking before any other call: the median of real sessions."""
TIMEOUT_MS = 600_000
"""A slow machine is slow, not wrong: without this Claude Code moves a check to the background after two minutes."""

Kind = Literal["check", "write", "look"]

RUFF = "ruff check --select E,W,I src tests"
MYPY = "mypy --no-warn-unused-ignores src"
PYTEST = "pytest -q"
SHORTER = "pytest -q --ignore=tests/test_version.py"
"""What a slow machine runs in its place: 8,861 of the 26,921 tests."""
PROBE, PROBE_SHARE = ("-q", "tests/test_markers.py"), 2225 / 26921
"""A part of the suite, and what part of it by the number of tests."""
SLOW_S = 24.0
"""From this estimate on the suite is too long: the two sessions run it six times and think for 80 s, and four minutes are promised."""

_ANCHOR = """        return self.dev is not None

    @property
    def major(self) -> int:
"""
_DRAFT = """        return self.dev is not None

    @property
    def is_stable(self) -> bool:
        \"\"\"Whether this version is a release without a local part.

        >>> Version("1.2.3").is_stable
        True
        >>> Version("1.2.3rc1").is_stable
        False
        >>> Version("1.2.3+local").is_stable
        False
        \"\"\"
        return not self.is_prerelease

    @property
    def major(self) -> int:
"""
_WRONG = "        return not self.is_prerelease\n"
_RIGHT = "        return not self.is_prerelease and self.local is None\n"
_TEST = '''"""Version.is_stable is true for releases and post-releases without a local part."""

import pytest

from packaging.version import Version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0", True),
        ("1.0.post1", True),
        ("1.0rc1", False),
        ("1.0.dev1", False),
        ("1.0+local", False),
    ],
)
def test_is_stable(text: str, expected: bool) -> None:
    assert Version(text).is_stable is expected
'''


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the scripted model, with what the picture calls it."""

    kind: Kind
    label: str
    turn: Turn


def suite(probe_s: float) -> str:
    """Return the test command for a machine on which the probe took so long."""
    return PYTEST if probe_s / PROBE_SHARE < SLOW_S else SHORTER


def steps(project: Path, pytest: str = PYTEST) -> tuple[Step, ...]:
    """Return the session's steps in order; the paths of the file tools lie in `project`."""
    version, test = project / "src/packaging/version.py", project / "tests/test_stable.py"
    look = Call("Read", {"file_path": str(version), "offset": 380, "limit": 60})  # Claude Code edits no file that was not read
    draft = Call("Edit", {"file_path": str(version), "old_string": _ANCHOR, "new_string": _DRAFT})
    write = Call("Write", {"file_path": str(test), "content": _TEST})
    mend = Call("Edit", {"file_path": str(version), "old_string": _WRONG, "new_string": _RIGHT})
    return (
        Step("look", "read", Turn((look,), "I look at the class first.", EDIT_S)),
        Step("write", "edit + test", Turn((draft, write), "Now the property and its test.", EDIT_S)),
        _check("ruff; mypy; pytest", f"{RUFF} 2>&1 | tail -3; {MYPY} 2>&1 | tail -2; cd . && {pytest} 2>&1 | tail -2", SHORT_S),
        Step("write", "fix", Turn((mend,), "The local part was forgotten.", EDIT_S)),
        _check("pytest", f"cd . && {pytest} 2>&1 | tail -1", LONG_S),
        _check("ruff && mypy", f"{RUFF} 2>&1 | head -20 && {MYPY} 2>&1 | tail -2", SHORT_S),
        _check("pytest | grep", f"{pytest} 2>&1 | grep -iE 'passed|failed|warning' | head -5", SHORT_S),
        _check("ruff && mypy && pytest", f"{RUFF} && {MYPY} 2>&1 | tail -1 && {pytest} 2>&1 | tail -1", MEDIAN_S),
        Step("look", "done", Turn((), "Version.is_stable is in, with tests; everything passes.")),
    )


def _check(label: str, command: str, think_s: float) -> Step:
    call = Call("Bash", {"command": command, "description": "Run the checks", "timeout": TIMEOUT_MS})
    return Step("check", label, Turn((call,), "", think_s))
