"""What is true of a simulated command. Pure, and of its own mind: nothing of the product is asked, not even for its lists of names.

A command here is a function of everything it may depend on (`Seen`). An answer out of an earlier run is right when that function has the
same value now as it had from the beginning of that run to its end, when the run really was one, and when nobody asked for a real one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MEANINGLESS = frozenset(
    b"_ OLDPWD SHLVL WINDOWID TERM_SESSION_ID AI_AGENT TRACEPARENT TRACESTATE BAGGAGE CLAUDE_EFFORT CLAUDE_PID CLAUDE_TMPDIR"
    b" CLAUDE_CODE_SESSION_ID CLAUDE_CODE_CHILD_NOTES_DIR CLAUDE_CODE_MESSAGING_SOCKET CLAUDE_CODE_MESSAGING_TOKEN"
    b" CLAUDE_CODE_SESSION_ATTENDED CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_CHILD_SESSION CLAUDE_CODE_EXECPATH".split()
)
"""What the host changes from call to call, and the places of a trace: no command says something else because of them."""


class Seen(NamedTuple):
    """All that one execution could see."""

    argv: tuple[bytes, ...]
    cwd: bytes
    env: tuple[tuple[bytes, bytes], ...]
    umask: str
    limit: bytes
    """The memory it may take, b"" where nobody set a limit."""
    service: bool
    """Whether what it talks to on this machine is there; True for a command that talks to nobody."""
    files: tuple[tuple[str, int], ...]
    """Every file that it may read, in the project or where the project leads, and which writing of it that was."""
    outside: int
    """What no look can show."""


def meaningful(env: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((name, value) for name, value in env.items() if name not in MEANINGLESS and not name.startswith(b"STRETTO_")))


def needs_service(argv: Iterable[bytes]) -> bool:
    return any(b"api" in word for word in argv)


def code(seen: Seen) -> int:
    """Return how the command ends: red without its service, and on about one tree in five."""
    if not seen.service:
        return 1
    return int(zlib.crc32(repr((seen.files, seen.outside)).encode()) % 5 == 0)


class Ran:
    """One execution, as it really was."""

    def __init__(self, seen: Seen, moves: int, kind: str, who: int, began_s: float) -> None:
        self.seen, self.moves, self.kind, self.who, self.began_s = seen, moves, kind, who, began_s
        self.code = code(seen)
        self.forged = False
        """Nothing was executed: somebody only said so."""
        self.ended_s: float | None = None
        self.steady = True
        """Nothing it may depend on was touched while it ran, not even there and back."""
        self.shown = False
        """It failed, and was shown once."""

    def ends(self, moves: int, now_s: float) -> None:
        self.steady = self.steady and self.moves == moves
        self.ended_s = now_s


def objection(ran: Ran | None, now: Seen, moves: int, real: str, above: Iterable[int]) -> str:
    """Say why an answer by this run is wrong, "" when it is right.

    Args:
        now: what the command would see if it ran.
        real: why a real run was asked for, "" when none was.
        above: the ancestors of whoever asks.
    """
    if ran is None:
        return "it never began"
    if ran.forged:
        return "it never ran: somebody forged its end"
    if real:
        return f"a real run was asked for: {real}"
    if ran.ended_s is None and ran.who in above:
        return "it waits for itself"
    if ran.ended_s is None and ran.moves != moves:
        return "something was touched since it began"
    if not ran.steady:
        return "something was touched while it ran"
    for name, then, today in zip(Seen._fields, ran.seen, now, strict=True):
        if then != today:
            return f"another {name}: {_first_difference(then, today)}"
    return ""


def _first_difference(then: object, now: object) -> str:
    if isinstance(then, tuple) and isinstance(now, tuple):
        for one in (*now, *then):
            if (one in then) is not (one in now):
                return repr(one)[:120]
    return f"{then!r} and {now!r}"[:120]
