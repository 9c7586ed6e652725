"""Waiting for something another process does. Promises: polls with one limit, and a failure says what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05


def wait_until(fn: Callable[[], T], limit_s: float = 20.0, what: str = "") -> T:
    """Call `fn` until it returns something true, and return that.

    An `AssertionError`, `LookupError` or `OSError` from `fn` counts as "not yet"; anything else is a bug and passes through.

    Raises:
        AssertionError: `limit_s` seconds went by; the text holds `what` and the last value or error.
    """
    deadline = time.monotonic() + limit_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            seen = fn()
            if seen:
                return seen
            last = f"last value {seen!r}"
        except (AssertionError, LookupError, OSError) as error:
            last = f"last error {type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or getattr(fn, '__name__', 'condition')} not reached within {limit_s} s; {last}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
