"""Which checks were asked for before within one Bash call. In memory only; nothing outside is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from stretto import commands
from stretto.model import JobKey
from stretto.system import Process

SHELLS_MOST = 64
"""Shells of Bash calls whose questions are remembered; the one that asked last stays longest."""
AGAIN = commands.Asked("repeated", "it was asked before in this Bash call: whoever repeats a check looks for a difference")


class Repeats:
    """What was asked for from the shell of each Bash call of a session."""

    def __init__(self) -> None:
        self._shells: dict[Process, set[JobKey]] = {}

    def again(self, job: JobKey, shell: Process | None, calls: Sequence[set[JobKey]]) -> commands.Asked | None:
        """A check is asked for; say so when it was before in the same Bash call.

        Args:
            shell: the one of the call, None when that is not known.
            calls: then each call that it may stand in has a first question, kept in its set.
        """
        if shell is None:
            first = next((jobs for jobs in calls if job not in jobs), None)
            if first is not None:
                first.add(job)
            return AGAIN if calls and first is None else None
        jobs = self._shells.pop(shell, set())
        again = job in jobs
        self._shells[shell] = jobs | {job}
        while len(self._shells) > SHELLS_MOST:
            del self._shells[next(iter(self._shells))]
        return AGAIN if again else None
