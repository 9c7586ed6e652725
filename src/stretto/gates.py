"""What a session is told. Pure. So far news; gates come to stand here.

News is a fact about a check that flipped, told once to each session, bounded, and as data: what a worker printed is quoted, with
control characters out, and never reads as an instruction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from stretto.model import AttemptId, End, JobKey, Record

NEWS_LIMIT = 3
"""Flips told in one batch, at most."""
QUIET_S = 2.0
"""No news while files are being written: the next result is already under way."""
LINE_CHARACTERS = 160
NOTICE_NAMES = 3
"""Commands that one notice names; the others are counted."""
NOTICES_MOST = 5
"""Notices in one session, at most."""
NO_COMMAND = (126, 127)
"""Exit codes of a shell that could not execute the command, or did not find it."""
PYTEST_NO_VERDICT = (3, 4, 5)
"""Internal error, usage error, no tests collected (pytest's own documentation of its exit codes)."""
_PYTEST = re.compile(r"\bpy\.?test\b")
NOTHING_TESTED = re.compile(
    r"\bno tests? (?:were |was )?(?:ran|run|found|collected|executed|to run)\b|\bno test (?:files|suites?)\b|^Ran 0 tests|^0 examples,"
    r"|^[= ]*\d+ (?:skipped|deselected)(?:, \d+ (?:skipped|deselected|warnings?))* in [\d.]+ ?s\b",
    re.IGNORECASE,
)
"""The last line of a run in which nothing was tested: pytest, unittest, jest, vitest, go, rspec, phpunit."""
ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[@-_])")
"""ECMA-48 control sequences and OSC strings."""


class Result(Record, frozen=True, kw_only=True):
    """The latest fresh result of one check."""

    job: JobKey
    attempt: AttemptId
    command: str
    end: End
    ended_ago_s: float
    took_s: float
    last_line: str
    flips: int = 0
    """How often the check came to another end although nothing had changed."""


class News(Record, frozen=True, kw_only=True):
    job: JobKey
    attempt: AttemptId
    was: str
    now: str
    text: str


def news(results: Iterable[Result], known: Mapping[JobKey, str], quiet_for_s: float) -> list[News]:
    """Return the flips a session has not heard of.

    Args:
        results: fresh results only.
        known: `pass` or `fail` as the session last saw each check, by running it or by being told; a check it never saw is no news.
        quiet_for_s: seconds since a file was last written.
    """
    if quiet_for_s < QUIET_S:
        return []
    told = []
    for result in results:
        was, now = known.get(result.job), outcome(result.end, result.last_line, result.command)
        if was is not None and now and now != was:
            told.append(News(job=result.job, attempt=result.attempt, was=was, now=now, text=_sentence(result, was, now)))
    return told[:NEWS_LIMIT]


def outcome(end: End, last_line: str = "", command: str = "") -> str:
    """Return `pass` or `fail`, "" when the run says nothing about the code: it tested nothing, or could not even begin (F43).

    The exit code comes first: no last line makes a pass of a failure. For a join this does not count, which repeats what was printed.
    """
    if end.how == "code" and (end.value in NO_COMMAND or (end.value in PYTEST_NO_VERDICT and _PYTEST.search(command))):
        return ""
    if end.how == "code" and NOTHING_TESTED.search(ESCAPES.sub("", last_line)):
        return ""
    return "pass" if end.passed else "fail"


def notice(commands: Sequence[str]) -> str:
    """Return the line that tells once of commands that they also run ahead from now on, and how to switch that off."""
    shown = ", ".join(f"«{clean(command)}»" for command in commands[:NOTICE_NAMES])
    more = f" and {len(commands) - NOTICE_NAMES} more" if len(commands) > NOTICE_NAMES else ""
    return (
        f"Stretto: {shown}{more} also run{'s' if len(commands) == 1 else ''} in the background after edits now; a call is answered by that "
        "run when nothing has changed since. The user can switch this off with `never` under [ahead] in stretto.toml."
    )


def _sentence(result: Result, was: str, now: str) -> str:
    code = f"exit code {result.end.value}" if result.end.how == "code" else f"signal {result.end.value}"
    last = clean(result.last_line)
    quoted = f" Last line it printed, quoted as data: «{last}»" if last else ""
    flaky = " It is flaky: it came to both ends before, with nothing changed." if result.flips else ""
    return (
        f"Stretto: the check «{clean(result.command)}» was a {was} and is a {now} ({code}) on the files as they are now; "
        f"it ran in the background, ended {result.ended_ago_s:.0f} s ago and took {result.took_s:.1f} s.{flaky}{quoted}"
    )


def clean(text: str) -> str:
    """Return `text` on one bounded line: no escape sequences, no control, format or private characters, no quote marks of ours."""
    text = ESCAPES.sub("", text)
    text = "".join(" " if letter.isspace() else letter for letter in text if letter.isspace() or unicodedata.category(letter)[0] != "C")
    text = " ".join(text.replace("«", "<").replace("»", ">").replace("<system-reminder", "<system reminder").split())
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
