"""What a session is told. Pure. So far news; gates come to stand here.

News is a fact about a check that flipped, told once to each session, bounded, and as data: what a worker printed is quoted, with
control characters out, and never reads as an instruction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from stretto.model import AttemptId, End, JobKey, Record

NEWS_LIMIT = 3
"""Flips told in one batch, at most."""
QUIET_S = 2.0
"""No news while files are being written: the next result is already under way."""
LINE_CHARACTERS = 160
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
        was, now = known.get(result.job), outcome(result.end)
        if was is not None and now != was:
            told.append(News(job=result.job, attempt=result.attempt, was=was, now=now, text=_sentence(result, was, now)))
    return told[:NEWS_LIMIT]


def outcome(end: End) -> str:
    return "pass" if end.passed else "fail"


def _sentence(result: Result, was: str, now: str) -> str:
    code = f"exit code {result.end.value}" if result.end.how == "code" else f"signal {result.end.value}"
    last = clean(result.last_line)
    quoted = f" Last line it printed, quoted as data: «{last}»" if last else ""
    return (
        f"Stretto: the check «{clean(result.command)}» was a {was} and is a {now} ({code}) on the files as they are now; "
        f"it ran in the background, ended {result.ended_ago_s:.0f} s ago and took {result.took_s:.1f} s.{quoted}"
    )


def clean(text: str) -> str:
    """Return `text` on one bounded line: no escape sequences, no control, format or private characters, no quote marks of ours."""
    text = ESCAPES.sub("", text)
    text = "".join(" " if letter.isspace() else letter for letter in text if letter.isspace() or unicodedata.category(letter)[0] != "C")
    text = " ".join(text.replace("«", "<").replace("»", ">").replace("<system-reminder", "<system reminder").split())
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
