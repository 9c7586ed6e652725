"""What a gate has to know, gathered, and what it answered, logged: between `gates`, which decides, and the engine, which asks.

Hides where each fact comes from: the log's fold (blocks, prompts, decisions), the runs and results on the tree as last scanned, the
outputs on disk. Promises: no answer is given that is not in the log; an answer is kept back only while a run is under way that is expected
to end in time; a block that is over is written down as over, and until then it holds nobody.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

from stretto import commands, gates, rules, steering
from stretto.findings import Findings, findings
from stretto.fold import State
from stretto.model import (
    AttemptId,
    BlockCleared,
    BlockEnd,
    GateDecided,
    GatePlace,
    Invocation,
    JobKey,
    PromptBegan,
    SessionId,
    SessionWoken,
    SourceWritten,
    Standing,
    WordsTold,
)
from stretto.runs import Run, Runs
from stretto.world import Allowed, World

OUTPUT_BYTES = 256 * 1024
"""So much of the end of an output is read for what failed."""
FINDINGS_KEPT = 64
GATES_OF = {"stop": "Stop", "edit": "PreToolUse", "tool": "PreToolUse", "commit": "commit", "push": "push"}


class Ground(NamedTuple):
    """What the engine knows that decides beside the log."""

    standing: Allowed
    trouble: str
    """Why nothing is known for certain, "" when all is well."""
    beside: str
    """Beside what it stands so that nothing is known to hold, "" when alone."""
    problem: str
    """Why the project could not be read completely."""
    invocations: dict[JobKey, Invocation]
    """The commands that are known."""
    filtered: Collection[JobKey]
    """Those that run selected tests only."""
    generation: int
    """Of the tree, as last scanned."""
    since_epoch: int | None = None
    """Results of this epoch or a later one count as of now."""


class Gatekeeper:
    """Answers for the gates of one project."""

    def __init__(self, world: World, log: Callable[..., None], state: State, runs: Runs) -> None:
        """Begin with what the log says.

        Args:
            log: appends one event and folds it.
        """
        self._world, self._log, self._state, self._runs = world, log, state, runs
        self._found: dict[AttemptId, Findings] = {}
        self._commits_allowed: Counter[SessionId | None] = Counter()
        """Since commits were last counted, by the session that asked."""
        self._wrote_mono_s: dict[tuple[SessionId, str], float] = {}
        """When an agent first wrote a source since the last prompt."""

    # --- what is heard -------------------------------------------------------------------------------------------------------

    def prompted(self, session: SessionId) -> None:
        """The user gave a session something to do.

        Raises:
            OSError: it could not be logged.
        """
        self._log(PromptBegan, session=session)
        self._wrote_mono_s = {key: at for key, at in self._wrote_mono_s.items() if key[0] != session}

    def wrote(self, session: SessionId, agent: str, path: str) -> None:
        """An agent wrote a source; the first time after each prompt is logged.

        Raises:
            OSError: it could not be.
        """
        self._wrote_mono_s.setdefault((session, agent), self._world.mono_s())
        turn = self._state.steering.turns.get(session)
        if turn is None or agent not in turn.wrote:
            self._log(SourceWritten, session=session, agent=agent, path=path)

    # --- deciding ------------------------------------------------------------------------------------------------------------

    def ask(self, question: gates.Question, ground: Ground) -> gates.Decision:
        """Decide, log, and return what is answered; one that is kept back is not logged yet.

        Raises:
            OSError: it could not be logged, so nothing may be answered but to go on.
        """
        view = self._view(question, ground)
        decision = gates.decide(question, view)
        if decision.do == "hold":
            return decision
        if question.place == "commit" and decision.do == "allow":
            self._commits_allowed[question.session] += 1
        self._log(
            GateDecided,
            gate=self._world.new_id()[:16],
            session=question.session,
            agent=question.agent,
            on=_event(question),
            do=decision.do,
            rule=decision.rule,
            reason=view.off or view.trouble or view.beside or gates.RULES[decision.rule],
            checks=decision.checks,
            blocks=decision.blocks,
            facts=decision.facts,
            generation=ground.generation,
            held_s=round(question.waited_s, 3),
        )
        return decision

    def explain(self, question: gates.Question, ground: Ground) -> dict[str, object]:
        """Say what would be answered at this moment, with what that rests on."""
        view = self._view(question, ground)
        decision = gates.decide(question, view)
        return {
            "session": question.session,
            "may_stop": decision.do == "allow",
            "do": decision.do,
            "rule": decision.rule,
            "why": view.off or view.trouble or view.beside or gates.RULES[decision.rule],
            "says": decision.text or decision.notice,
            "wrote": sorted(view.turn.wrote.values()),
            "continued": view.turn.continued,
            "continued_most": gates.CONTINUED_MOST,
            "checks": [
                {
                    "job": check.job,
                    "command": check.command,
                    "standing": check.standing.value,
                    "outcome": check.outcome,
                    "reason": check.reason,
                    "gates": sorted(check.places),
                    "filtered": check.filtered,
                }
                for check in view.checks
            ],
            "blocks": [
                {"block": block.id, "scope": block.raised.scope, "reason": block.raised.reason}
                for block in view.blocks
                if block.concerns(question.session)
            ],
        }

    def _view(self, question: gates.Question, ground: Ground) -> gates.View:
        standing = ground.standing
        wants_checks = question.place in ("stop", "commit", "push") and not (ground.trouble or ground.beside)
        return gates.View(
            turn=self._turn(question.session),
            blocks=tuple(self._state.live_blocks(self._world.mono_s(), self._world.boot_id())),
            checks=tuple(self._checks(question, ground)) if wants_checks else (),
            off=standing.void or ("" if standing.acts else f"the mode is {standing.mode}"),
            trouble=ground.trouble,
            beside=ground.beside,
        )

    def _turn(self, session: SessionId | None) -> steering.Turn:
        known = self._state.steering.turns.get(session) if session is not None else None
        return known if known is not None else steering.Turn()

    def _checks(self, question: gates.Question, ground: Ground) -> list[gates.Checked]:
        running = {run.job: run for run in self._runs.open.values() if run.kind != "requested" and not run.cancelled_for}
        found = []
        for job in dict.fromkeys([*self._runs.results, *running]):
            if job not in ground.invocations or self._state.jobs[job].barred or self._state.jobs[job].hooked:
                continue  # what git calls sees an index of its own: it speaks for itself, and for no call without git
            command = commands.display(ground.invocations[job].argv)
            places = rules.gate_places(ground.standing.rules, commands.pattern_text(ground.invocations[job].argv))
            if places:
                found.append(self._checked(question, job, command, places, running.get(job), ground))
        return found

    def _checked(
        self, question: gates.Question, job: JobKey, command: str, places: frozenset[GatePlace], run: Run | None, ground: Ground
    ) -> gates.Checked:
        max_age_s, filtered = ground.standing.rules.max_age_s, job in ground.filtered
        verdict, _ = self._runs.judge(job, max_age_s, ground.problem, shown=True, since_epoch=ground.since_epoch)
        known, now_s = self._state.jobs[job], self._world.mono_s()
        if verdict.standing is Standing.RUNNING and run is not None:
            usual_s = known.median_s if known.durations_s else None
            left_s = None if usual_s is None else max(0.0, usual_s - (now_s - run.began_mono_s - self._runs.held_s(run)))
            return gates.Checked(
                job=job,
                attempt=run.attempt,
                command=command,
                places=places,
                standing=Standing.RUNNING,
                outcome="",
                reason=verdict.reason,
                filtered=filtered,
                left_s=left_s,
            )
        result = self._runs.results.get(job)
        if result is None or result.evidence is None:
            return gates.Checked(
                job=job, attempt=None, command=command, places=places, standing=verdict.standing, outcome="", reason=verdict.reason
            )
        outcome = result.outcome if result.end.by_itself and not result.torn else ""
        standing, reason = verdict.standing, verdict.reason
        if outcome == "fail" and standing is Standing.FRESH and not self._world.is_tool_of(job, ground.invocations[job]):
            standing, reason = Standing.STALE, "it was run by another tool than the one that is there now"
        said = self.failures(result.run.attempt) if outcome == "fail" else Findings()
        began_s = self._wrote_mono_s.get((question.session, question.agent)) if question.session is not None else None
        return gates.Checked(
            job=job,
            attempt=result.run.attempt,
            command=command,
            places=places,
            standing=standing,
            outcome=outcome,
            reason=reason,
            filtered=filtered,
            end=result.end,
            ended_ago_s=now_s - result.evidence.ended_mono_s,
            took_s=result.took_s,
            ahead=result.run.kind == "ahead",
            after_writes=began_s is not None and result.run.began_mono_s >= began_s,
            fact=_fact(job, said.names) if outcome == "fail" else "",
            lines=said.lines,
            more=said.more,
            flips=known.flips,
        )

    def failures(self, attempt: AttemptId) -> Findings:
        """Return what a run that failed says of its failures."""
        if attempt not in self._found:
            while len(self._found) >= FINDINGS_KEPT:
                del self._found[next(iter(self._found))]
            self._found[attempt] = findings(self._world.executor.tail(attempt, OUTPUT_BYTES))
        return self._found[attempt]

    def commits_made(self, session: SessionId, count: int, settings: rules.Rules) -> str:
        """Hear that so many commits were made since this was last said; return what the user is to know of those no gate was asked about.

        Raises:
            OSError: it could not be logged.
        """
        if not count:
            self._commits_allowed.pop(session, None)  # it was let do one, and did none
            return ""
        passed = max(0, count - self._commits_allowed.total())
        self._commits_allowed.clear()
        asked_for = any("commit" in places for places in (settings.gate, *dict(settings.gates).values()))
        blocks = [
            block.id
            for block in self._state.live_blocks(self._world.mono_s(), self._world.boot_id())
            if block.raised.scope in ("commit", "all") and block.concerns(session)
        ]
        if not passed or not (asked_for or blocks):
            return ""
        self._log(
            GateDecided,
            gate=self._world.new_id()[:16],
            session=session,
            on="commit",
            do="allow",
            rule="passed-by",
            reason=gates.RULES["passed-by"],
            blocks=tuple(blocks),
        )
        return f"Stretto: {passed} commit{'s were' if passed > 1 else ' was'} made past the gate, judged by nobody."

    # --- blocks --------------------------------------------------------------------------------------------------------------

    def tend(self, passed: Collection[JobKey]) -> None:
        """Write down the blocks that are over.

        Args:
            passed: checks that pass on the tree as it is.

        Raises:
            OSError: there is no room; they hold nobody all the same, and are tried again.
        """
        state = self._state
        if not state.steering.blocks:
            return
        living, sessions = {attempt.attempt for attempt in state.open_attempts()}, set(state.open_sessions())
        for block in list(state.steering.blocks.values()):
            how = steering.over(block, mono_s=self._world.mono_s(), boot=self._world.boot_id(), living=living, open_sessions=sessions) or (
                "superseded" if block.raised.job is not None and block.raised.job in passed else ""
            )
            if how:
                self.clear(block.id, how)  # type: ignore[arg-type]  # one of BlockEnd's words

    def clear(self, block: str, how: BlockEnd, by_whom: str = "") -> None:
        self._log(BlockCleared, block=block, how=how, by_whom=by_whom)

    def blocks_of(self) -> set[JobKey]:
        """Return the checks that blocks are about."""
        return {block.raised.job for block in self._state.steering.blocks.values() if block.raised.job is not None}

    def wakes(self, session: SessionId) -> str:
        """Say what an idle session is to be woken with, "" when nothing; it is logged as told.

        Raises:
            OSError: it could not be logged: then it is not woken.
        """
        turn = self._turn(session)
        for block in self._state.live_blocks(self._world.mono_s(), self._world.boot_id()):
            if block.raised.scope in ("stop", "all") and block.concerns(session) and block.id not in turn.woken | turn.facts.keys():
                after_s = max(0.0, self._world.mono_s() - block.raised.mono)
                self._log(SessionWoken, session=session, block=block.id, after_s=round(after_s, 3))
                return gates.wake_text(block)
        return ""

    def words(self, session: SessionId) -> str:
        """Return what workers said to a session that it was not told; it is logged as told.

        Raises:
            OSError: it could not be logged: then it is told later.
        """
        said = steering.untold(self._state.steering, session)
        if not said:
            return ""
        text = gates.words_text(said)
        self._log(WordsTold, session=session, count=self._state.steering.said_count)
        return text


def _event(question: gates.Question) -> str:
    if question.task:
        return "TaskCompleted"
    return "SubagentStop" if question.place == "stop" and question.agent else GATES_OF[question.place]


def _fact(job: JobKey, names: tuple[str, ...]) -> str:
    """Return the identity of a check together with the set of its failing tests; without names all failures of a check are one."""
    return hashlib.blake2b("\0".join([job, *names]).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
