"""Shell patterns on the text of a whole command: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of these or none of them. Pure.

Promises: upper and lower case differ; as in `fnmatch`, a `[` that nothing closes stands for itself; nothing goes back over a text, so the
time grows with its length and the pattern's and never faster, whatever stands in either.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LONGEST_TEXT = 65_536
"""Characters of a command that patterns are tried on."""


def matches(patterns: Iterable[str], text: str, *, beyond: bool = False) -> bool:
    """Say whether one shell pattern fits the whole text of a command (`commands.pattern_text`); upper and lower case differ.

    It takes a time that grows with the text and with the pattern, and never faster, whatever stands in either.

    Args:
        beyond: the answer for a text of more than `LONGEST_TEXT` characters, which no pattern is tried on but `*` alone.
    """
    patterns = tuple(patterns)
    if len(text) > LONGEST_TEXT:
        return bool(patterns) and (beyond or any(pattern.strip("*") == "" for pattern in patterns))
    return _matches(patterns, text)


@functools.lru_cache(maxsize=512)  # each plan asks for that of every command that is known
def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(_fits(_pieces(pattern), text) for pattern in patterns)


class _One(NamedTuple):
    """One character of a pattern that is no `*`."""

    ranges: tuple[tuple[int, int], ...]
    """Of characters, both ends included."""
    negated: bool = False
    """It is any other one. Without ranges: any at all, `?`."""

    def fits(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges) is not self.negated


_Piece = tuple[_One, ...]
"""What stands between two `*`."""


@functools.lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[_Piece, ...]:
    """Split a shell pattern at its `*`. As in `fnmatch`: a `[` that nothing closes stands for itself."""
    pieces: list[_Piece] = []
    piece: list[_One] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        close = _closing(pattern, at) if char == "[" else -1
        if char == "*":
            pieces.append(tuple(piece))
            piece = []
        elif char == "?":
            piece.append(_One((), negated=True))
        elif close > 0:
            piece.append(_any_of(pattern[at + 1 : close]))
            at = close
        else:
            piece.append(_One(((ord(char), ord(char)),)))
        at += 1
    return (*pieces, tuple(piece))


def _closing(pattern: str, at: int) -> int:
    """Return where a `[` ends, -1 when it does not: a `]` right behind it, or behind its `!`, is one of its characters."""
    begin = at + 2 if pattern[at + 1 : at + 2] == "!" else at + 1
    return pattern.find("]", begin + 1)


def _any_of(inside: str) -> _One:
    negated, ranges, at = inside.startswith("!"), [], 0
    inside = inside[1:] if negated else inside
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            ranges.append((ord(inside[at]), ord(inside[at + 2])))
            at += 3
        else:
            ranges.append((ord(inside[at]), ord(inside[at])))
            at += 1
    return _One(tuple(ranges), negated)


def _fits(pieces: Sequence[_Piece], text: str) -> bool:
    first, last = pieces[0], pieces[-1]
    end = len(text) - len(last)
    if len(pieces) == 1:
        return end == 0 and _stands(first, text)
    if end < len(first) or not _stands(first, text) or not _stands(last, text[end:]):
        return False
    at = len(first)
    for piece in pieces[1:-1]:  # each where it fits first: what comes after it then has the most room
        at = _find(piece, text, at, end)
        if at < 0:
            return False
    return True


def _stands(piece: _Piece, text: str) -> bool:
    return all(one.fits(ord(char)) for one, char in zip(piece, text, strict=False))


def _find(piece: _Piece, text: str, at: int, end: int) -> int:
    """Return where a piece ends at its first place in `text[at:end]`, -1 when it has none."""
    if all(not one.negated and len(one.ranges) == 1 and one.ranges[0][0] == one.ranges[0][1] for one in piece):
        plain = "".join(chr(one.ranges[0][0]) for one in piece)
        found = text.find(plain, at, end)
        return found + len(plain) if found >= 0 else -1
    # All places at once, a bit for each character of the piece; between two ends of ranges all characters are alike.
    ends = sorted({end for one in piece for low, high in one.ranges for end in (low, high + 1)})
    masks: dict[int, int] = {}
    state, whole = 0, 1 << (len(piece) - 1)
    for place in range(at, end):
        code = ord(text[place])
        alike = bisect.bisect_right(ends, code)
        if alike not in masks:
            masks[alike] = sum(1 << bit for bit, one in enumerate(piece) if one.fits(code))
        state = (state << 1 | 1) & masks[alike]
        if state & whole:
            return place + 1
    return -1
