"""Commands of earlier sessions, made known again: only the log remembers them, and it holds no environment.

Once a session asks about one check, what any call of it would be is known but for the call's own words, and these are in the log. So each
command that is worth it is put together again in that call's environment, and its key says whether it is the same call: then it is, to
the last byte, and else nothing comes of it. Promises: never while a question waits, a few milliseconds at a time, each command once for
each environment; at most `REVIVED_MOST` come back.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Collection, Iterable

from stretto.fold import Job, State
from stretto.model import Invocation, JobKey
from stretto.tree import MANIFESTS
from stretto.world import World

REVIVED_MOST = 64
"""Of all sessions that one supervisor serves, and in one environment those that are looked at."""
ENVIRONMENTS_MOST = 16
"""A project whose calls come with more than so many environments gets nothing back in the others."""
BUDGET_S = 0.005
"""So much is done between two questions, or one command when that takes longer: a key costs a few milliseconds, a cold tool more."""


class Revival:
    """What is still to be put together again."""

    def __init__(self, world: World, state: State) -> None:
        self._world, self._state = world, state
        self._environments: set[bytes] = set()
        self._asked: Invocation | None = None
        """The latest call in whose environment nothing was looked at yet."""
        self._left: deque[tuple[Invocation, JobKey]] = deque()
        self._revived = 0

    @property
    def pending(self) -> bool:
        """Whether something is left to do."""
        return self._asked is not None or bool(self._left)

    def asked(self, invocation: Invocation) -> None:
        """A session asked about this check, which may be joined and recorded: what else would run beside it can be known."""
        if len(self._environments) < ENVIRONMENTS_MOST and self._revived < REVIVED_MOST:
            self._asked = invocation

    def some(self, worth: Iterable[JobKey], known: Collection[JobKey]) -> list[tuple[JobKey, Invocation]]:
        """Do a little of what is left; return what is known again.

        Args:
            worth: commands in the order in which they are wanted back; looked at when a new environment has come.
            known: those that need nothing.
        """
        if self._asked is not None:
            like, self._asked = self._asked, None
            if (digest := _digest(like)) not in self._environments:
                self._environments.add(digest)
                jobs = (self._state.jobs[key] for key in worth if key in self._state.jobs and key not in known)
                wanted = [job.job for job in jobs if self._is_candidate(job)]
                self._left.extend((like, key) for key in wanted[:REVIVED_MOST])
        found: list[tuple[JobKey, Invocation]] = []
        until_s = self._world.mono_s() + BUDGET_S
        while self._left and self._revived < REVIVED_MOST:
            like, key = self._left.popleft()
            if key not in known and (again := self._again(self._state.jobs[key], like)) is not None:
                self._revived += 1
                found.append((key, again))
            if self._world.mono_s() >= until_s:
                break
        if self._revived >= REVIVED_MOST:
            self._left.clear()
        return found

    def _is_candidate(self, job: Job) -> bool:
        """Say whether it may run ahead at all: what the host would ask about, and what is no check, need not be put together."""
        return bool(job.allowed_host) and job.clean and not job.barred and job.job not in self._state.requests

    def _again(self, job: Job, like: Invocation) -> Invocation | None:
        last = self._state.attempts.get(job.last_attempt) if job.last_attempt else None
        if last is None or self._declared_since(job.cwd, last.started_at):
            return None
        made = self._world.recall(job, like)
        return made[1] if made is not None and made[0] == job.job else None

    def _declared_since(self, cwd: str, at: float) -> bool:
        """Say whether what declares dependencies changed: the next run may fetch packages, and that one is the session's own."""
        folders, here = [self._world.root], os.path.join(self._world.root, cwd)
        while len(here) > len(self._world.root):
            folders.append(here)
            here = os.path.dirname(here)
        return self._world.changed_at(os.path.join(folder, name) for folder in folders for name in sorted(MANIFESTS)) >= at


def _digest(call: Invocation) -> bytes:
    """Return what tells two environments apart, as far as keys do."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (call.context, *sorted(call.meaningful_env)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
