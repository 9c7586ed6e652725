"""When a command whose ahead runs keep dying may be tried again: `put_aside(...)` and `Budget`. Pure.

A run is a crash when nobody wanted its end and the command did not choose it: lost with its monitor, killed from outside, over its time
or its output limit. An exit code, also a bad one, is a result and no crash; a cancelled run is neither.

Promises: one command is tried `TRIES` times with growing pauses and then once an hour, so what is mended is found to be mended; over all
commands retries within the hour stay below a fixed number plus a tenth of the runs that went well, however many fail at once (C-11, C-12).
"""

from __future__ import annotations

TRIES = 3
PAUSES_S = (15.0, 60.0)
"""After the first and the second crash in a row."""
ASIDE_S = 3600.0
"""After the third and every later one."""
BURST = 4.0
"""Retries that are allowed before anything went well: one for each command that is wanted at a time."""
SHARE = 0.1


def put_aside(crashes: int, crashed_ago_s: float) -> str:
    """Say why a command is not run ahead now, "" when it may be.

    Args:
        crashes: in a row, up to now.
        crashed_ago_s: since the last of them; below 0 when that was in another boot and nobody can say.
    """
    if not 0 <= crashed_ago_s < pause_s(crashes):
        return ""
    what = f"its last {crashes} ahead runs" if crashes > 1 else "its last ahead run"
    return (
        f"put aside: {what} did not come to an end" if crashes >= TRIES else f"{what} did not come to an end; it waits before the next try"
    )


def pause_s(crashes: int) -> float:
    """Return how long after the last of so many crashes in a row a command is not run ahead."""
    if crashes <= 0:
        return 0.0
    return ASIDE_S if crashes >= TRIES else PAUSES_S[crashes - 1]


def counts(crashes: int, crashed_ago_s: float) -> bool:
    """Say whether a start now is a retry, which the budget has to allow.

    After `ASIDE_S` it is none: else a stretch in which every command fails would use the budget up, and nothing be left to earn it back.
    """
    return crashes > 0 and crashed_ago_s < ASIDE_S


class Budget:
    """How many second tries are left, over all commands."""

    def __init__(self) -> None:
        self._left = BURST

    def allows(self) -> bool:
        return self._left >= 1.0

    def spend(self) -> None:
        """A command that crashed last time is started again."""
        self._left -= 1.0

    def earn(self) -> None:
        """A run came to an end of its own."""
        self._left = min(BURST, self._left + SHARE)
