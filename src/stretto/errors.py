"""Whose fault an error is. Promises: every error a user can meet derives from `StrettoError` and carries its exit code.

    StrettoError
      |- UserError         exit 1   bad rules, unknown id, not a project: the message says what to change
      |- UnavailableError  exit 3   something that should answer does not; trying again may help
      '- CorruptError      exit 4   a file on disk is not what we wrote: stop and ask

Exit 2 is never chosen here: Claude Code reads it as "block". A bug stays an ordinary exception and ends with exit 70.
"""

from __future__ import annotations

from collections.abc import Sequence


class StrettoError(Exception):
    """Base; the message reads "cannot <verb> <thing> <path>: <cause>; <what to do>". Below it may stand lines to copy, each by itself."""

    exit_code = 70

    def __init__(self, message: str, *, below: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *below]))
        self.lines = [message, *below]


class UserError(StrettoError):
    """The caller can mend it: wrong argument, bad configuration, nothing by that name."""

    exit_code = 1


class UnavailableError(StrettoError):
    """Not now: no supervisor answers, a lock stays held, a deadline passed."""

    exit_code = 3


class CorruptError(StrettoError):
    """A file of ours does not hold what we wrote into it."""

    exit_code = 4
