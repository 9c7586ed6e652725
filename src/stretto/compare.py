"""Whether two runs of one command said the same, and which joins are looked at again. Pure: bytes in, words out.

Promises: only what is known to differ between any two runs is taken out before two outputs are compared (`_VARIES`, the whole list); what
is said of a difference holds no byte of either output. A difference that hides behind one of the patterns, such as a test that reports a
wrong number of seconds, is not found.
"""

from __future__ import annotations

import re

from stretto.model import End

SAMPLE = 5
"""One join in so many of a command is audited; its first always."""
COMPARED_BYTES = 1024 * 1024
"""Of longer outputs that are not equal to the byte this much is compared: the supervisor answers nobody meanwhile (about 60 ms)."""

_VARIES: tuple[tuple[re.Pattern[bytes], bytes], ...] = (
    (re.compile(rb"\x1b\[[0-9;]*m"), b""),
    (re.compile(rb"(?:/private)?/(?:tmp|var/tmp|var/folders)/[^\s'\"`:,;()<>\]]*"), b"<temp>"),
    (re.compile(rb"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"), b"<time>"),
    (re.compile(rb"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"), b"<time>"),
    (re.compile(rb"\b\d+(?:\.\d+)?(?:e-\d+)? ?(?:ns|\xc2\xb5s|us|ms|s|secs?|seconds?|min|minutes?)\b"), b"<time>"),
    (re.compile(rb"\b0x[0-9a-fA-F]{6,16}\b"), b"<address>"),
    (re.compile(rb"(?i)\b(pid|process)([ =:#]+)\d+"), rb"\1\2<pid>"),
    (re.compile(rb"(?i)(\bseed[ =:]+)\d+"), rb"\1<seed>"),
    (re.compile(rb"={3,}"), b"==="),
    (re.compile(rb"-{3,}"), b"---"),
)
"""Colours; temporary paths; dates and times; durations; addresses; pids; seeds that are printed; rulers, which are as long as what they
stand around leaves room."""
_WORKER_LINE = re.compile(rb"\[gw\d+\](?: \[ *\d+%\])? (.*)")
"""A line of pytest-xdist: which worker, how far, what."""


def sampled(joins: int) -> bool:
    """Say whether the join of a command that has this number, from 1 on, is audited."""
    return joins % SAMPLE == 1


def normal(output: bytes) -> bytes:
    """Return an output without what varies between any two runs; lines of pytest-xdist's workers are sorted among themselves."""
    for pattern, by in _VARIES:
        output = pattern.sub(by, output)
    lines = output.split(b"\n")
    at = [number for number, line in enumerate(lines) if _WORKER_LINE.fullmatch(line.rstrip())]
    for number, line in zip(at, sorted(_WORKER_LINE.sub(rb"\1", lines[number]) for number in at), strict=True):
        lines[number] = line
    return b"\n".join(lines)


def difference(one: tuple[End, bytes, bytes], other: tuple[End, bytes, bytes]) -> str:
    """Say in what the second of two runs differs from the first, "" when in nothing that counts.

    Args:
        one: how it ended, and its two streams (the second empty when they were one).
    """
    if one[0] != other[0]:
        return f"it ended with {one[0].how} {one[0].value}, and when run again with {other[0].how} {other[0].value}"
    for name, first, second in (("output", one[1], other[1]), ("standard error", one[2], other[2])):
        if first == second:
            continue
        mine = normal(first[:COMPARED_BYTES]).split(b"\n")
        theirs = normal(second[:COMPARED_BYTES]).split(b"\n")
        for number, (line, again) in enumerate(zip(mine, theirs, strict=False), start=1):
            if line != again:
                return f"line {number} of its {name} differs when it is run again"
        if len(mine) != len(theirs):
            return f"its {name} has {len(mine)} lines, and when run again {len(theirs)}"
    return ""
