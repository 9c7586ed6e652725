"""Mode `audit`: a sample of what was joined is run once more on the same evidence, and compared.

Hides which joins wait for their rerun and what was found so far. Promises: only what may run ahead is run again, and only while nothing
has moved since the join; a rerun answers nobody in place of a result that is as good; a difference is in the log, and bars the command,
before anything else is joined. A second rerun then tells a join that was wrong from a command that never says the same twice.

What waits is not in the log: a supervisor that dies takes it along, and the audit is not made up for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stretto import compare
from stretto.fold import Settled, State
from stretto.model import AttemptId, AuditOutcome, End, JobKey, JoinAudited, JoinDecided, SessionId
from stretto.world import World

TRIES = 3
"""A rerun that had to make room for the session is begun so often."""
READ_BYTES = 8 * 1024 * 1024
"""Longer outputs are not compared."""
DIFFERS: dict[AuditOutcome, str] = {
    "false": "what was joined is not what the command says: {}; a second rerun agrees with the first",
    "unrepeatable": "not repeatable: it says something else at every run, with nothing changed",
}


class _Waiting:
    """One join that waits for its rerun."""

    def __init__(self, ask: str, session: SessionId | None, attempt: AttemptId, generation: int, epoch: int) -> None:
        self.ask, self.session, self.attempt, self.generation, self.epoch = ask, session, attempt, generation, epoch
        self.first: AttemptId | None = None
        """The rerun that differed."""
        self.found = ""
        self.under_way: AttemptId | None = None
        self.tries = 0


class Auditor:
    """All audits of one project; at most one a command at a time."""

    def __init__(self, world: World, log: Callable[..., None], state: State) -> None:
        self._world, self._log, self._state = world, log, state
        self._waiting: dict[JobKey, _Waiting] = {}

    def joined(self, decided: JoinDecided, generation: int) -> None:
        """A join was answered on this generation of the tree: take it up if it belongs to the sample."""
        job = self._state.jobs[decided.job]
        if decided.attempt is not None and decided.job not in self._waiting and compare.sampled(job.joins):
            self._waiting[decided.job] = _Waiting(decided.ask, decided.session, decided.attempt, generation, self._state.epoch)

    def due(self, ineligible: Callable[[JobKey], str]) -> list[JobKey]:
        """Return the commands to be run again now; write off what cannot be compared any more.

        Args:
            ineligible: says why a command may not be run ahead, "" when it may.
        """
        return list(self._due(ineligible))

    def _due(self, ineligible: Callable[[JobKey], str]) -> Iterator[JobKey]:
        for job, waiting in list(self._waiting.items()):
            attempt = self._state.attempts.get(waiting.attempt)
            if waiting.under_way is not None:
                continue
            if attempt is None:
                self._over(job, waiting, "void", "nothing is known of the run any more")
            elif self._moved(waiting):
                self._over(job, waiting, "void", "something changed before it was run again")
            elif not isinstance(attempt.phase, Settled):
                continue  # attached to, and not over yet
            elif attempt.phase.torn or not attempt.phase.end.by_itself:
                self._over(job, waiting, "void", "the run came to nothing after it was joined")
            elif why := ineligible(job):
                self._over(job, waiting, "skipped", why)
            elif waiting.tries >= TRIES:
                self._over(job, waiting, "void", "the session needed the machine")
            else:
                yield job

    def of(self, job: JobKey) -> AttemptId | None:
        """Return the run whose rerun a command waits for, None when it waits for none."""
        waiting = self._waiting.get(job)
        return waiting.attempt if waiting is not None and waiting.under_way is None else None

    def began(self, job: JobKey, again: AttemptId) -> None:
        waiting = self._waiting[job]
        waiting.under_way = again
        waiting.tries += 1

    def ended(self, job: JobKey, again: AttemptId, end: End, unusable: str) -> None:
        """A rerun is over.

        Args:
            unusable: why its result says nothing, "" when it does.
        """
        waiting = self._waiting.get(job)
        if waiting is None or waiting.under_way != again:
            return
        waiting.under_way = None
        if end.how == "cancelled":
            return  # it had to make room, or something moved: `due` finds out which
        if unusable or self._moved(waiting):
            self._over(job, waiting, "void", unusable or "something changed while it was run again")
            return
        then = self._ran(waiting.first or waiting.attempt)
        now = self._ran(again)
        if then is None or now is None:
            self._over(job, waiting, "void", "what they printed is no longer there, or too long")
        elif waiting.first is not None:
            outcome: AuditOutcome = "unrepeatable" if compare.difference(then, now) else "false"
            self._over(job, waiting, outcome, DIFFERS[outcome].format(waiting.found), waiting.first)
        elif found := compare.difference(then, now):
            waiting.first, waiting.found, waiting.tries = again, found, 0
            self._say(job, waiting, "differs", found, again)
        else:
            self._over(job, waiting, "same", "", again)

    def drop(self) -> None:
        """Forget what waits: the mode is another one now."""
        self._waiting.clear()

    def _moved(self, waiting: _Waiting) -> bool:
        tree = self._world.tree
        return self._state.epoch != waiting.epoch or bool(tree.changes(waiting.generation, tree.generation))

    def _ran(self, attempt: AttemptId) -> tuple[End, bytes, bytes] | None:
        known = self._state.attempts.get(attempt)
        printed = self._world.executor.printed(attempt, READ_BYTES)
        return None if known is None or known.end is None or printed is None else (known.end, *printed)

    def _over(self, job: JobKey, waiting: _Waiting, outcome: AuditOutcome, reason: str, again: AttemptId | None = None) -> None:
        if waiting.first is None or outcome in DIFFERS:  # else the difference that was found stands
            self._say(job, waiting, outcome, reason, again)
        del self._waiting[job]  # last: what the disk had no room for is said another time

    def _say(self, job: JobKey, waiting: _Waiting, outcome: AuditOutcome, reason: str, again: AttemptId | None) -> None:
        self._log(
            JoinAudited,
            ask=waiting.ask,
            job=job,
            session=waiting.session,
            attempt=waiting.attempt,
            again=again,
            outcome=outcome,
            reason=reason,
        )
