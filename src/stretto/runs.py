"""Every run of this project that is under way, and the latest result of each command.

Hides how evidence is gathered: which generation of the tree and which epoch a run began and ended in, who else ran meanwhile, what the
run wrote. Promises: a run is in the log before it exists (`attempt.started`), a result exists only after `attempt.settled` is in the
log, and whatever is not known about a run makes its result torn or unknown, never fresh.

It is one idea in one file: what a run was, from its beginning to its last use, decides what its result is worth.

Source of the verdicts: docs/join.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from stretto import fold, freshness, gates, schedule
from stretto.bundle import Exit, Seal
from stretto.executors import Owner, Place
from stretto.fold import Begun, Exited, Job, Settled, State
from stretto.model import (
    ATTEMPT_ID,
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptSpawned,
    AttemptStarted,
    Change,
    End,
    Evidence,
    FileClass,
    InvariantBroken,
    Invocation,
    JobContradicted,
    JobFlipped,
    JobKey,
    Outcome,
    Products,
    SessionId,
    Standing,
    Verdict,
)
from stretto.system import Process
from stretto.tree import MANIFESTS, Scan
from stretto.world import World

LIMIT_BYTES = 64 * 1024 * 1024
WALL_LEAST_S, WALL_FACTOR = 600.0, 5.0
"""An ahead run may take this much, or five times its usual time."""
TASKS = 2048
"""Processes and threads of one ahead run at the same time; more is taken for a fork bomb."""
LEASE_S = 30.0
"""An ahead run goes on for so long without any supervisor; the next hook starts one, which adopts it. A requested job needs none."""
OUTPUT_KEPT_BYTES, ATTEMPTS_KEPT = 256 * 1024 * 1024, 100
"""Of output that no question can be answered from any more; kept for `stretto logs`."""
PRUNE_AFTER = 1000
"""So many ended runs are cleared away even while others run."""
HELD_MOST_S = 1.0
"""An ahead run that was held back for longer may have met a time limit of its own (the shortest usual one of a single test is 2 s): nobody
attaches to it any more, and when it fails that is not its result. When it passes it is."""
PRODUCTS_KEPT = 50
OVERTAKEN_LIMIT, OVERTAKEN_FIRST_S, OVERTAKEN_MOST_S = 2, 5.0, 120.0
"""So often in a row an ahead run may be ended because something moved that no session did; then its command waits, longer each time."""
UNEXPLAINED_LIMIT = 3
"""So often in a row a run may be overtaken by changes that no tool of the session made, before it counts as making them itself."""


class Run:
    """One attempt under way."""

    def __init__(
        self, attempt: AttemptId, job: JobKey, kind: str, session: SessionId | None, scan: Scan, epoch: int, began_mono_s: float
    ) -> None:
        self.attempt, self.job, self.kind, self.session = attempt, job, kind, session
        self.before, self.moment, self.epoch_before = scan.generation, scan.moment, epoch
        self.began_mono_s = began_mono_s
        self.outputs: tuple[str, ...] = ()
        """Files of the project into which the shell puts what it prints, and which held nothing when it began; as `Change.path`."""
        self.printed: tuple[str, ...] = ()
        """Such files that held something."""
        self.readers: set[str] = set()
        """Questions that wait for this run."""
        self.overlapped = False
        """Another recorded run was under way at some time during this one."""
        self.remote = False
        self.looks = 0
        """How often its connections were looked at."""
        self.ports: frozenset[int] = frozenset()
        """Ports on which it was seen to listen."""
        self.reached = ""
        """The first service of this machine that it was seen to use, or fixed port that it served."""
        self.cancelled_for = ""
        self.over = ""
        """Why nothing more will be heard of it, "" as long as something may: what is left is to log its end."""
        self.owner: Owner | None = None
        self.process: Process | None = None
        self.place: Place | None = None
        self.child_pid = 0
        self.shim_pid = 0
        """Who asked and records it, 0 where the system cannot tell."""
        self.doubt = ""
        """Why what its recorder says of it cannot be believed."""
        self.since_ticks = 0
        self.audits: AttemptId | None = None
        """The run that it is only compared with."""
        self.held_since_s: float | None = None
        """Since when it is held back, None while it is not."""
        self.held_before_s = 0.0
        """For how long it was held back before."""
        self.mixed = False
        """It stands in a Bash call that may have started something else for it."""
        self.beside = ""
        """Beside what its own Bash call had started it runs, in words."""
        self.of_git: tuple[bytes, ...] = ()
        """What git gave the call, when git made it."""
        self.adopted = False
        """Begun under an earlier supervisor: its beginning was not seen, so it can never count."""


class Result:
    """The settled outcome of one attempt and what it is worth."""

    def __init__(self, run: Run, end: End, evidence: Evidence | None, torn: str, took_s: float) -> None:
        self.run, self.end, self.evidence, self.torn, self.took_s = run, end, evidence, torn, took_s
        self.seal: Seal | None = None
        """What its files were; None when they cannot be replayed, and then `spoiled` says why."""
        self.spoiled = "what it printed was not kept whole"
        self.outcome: Outcome = ""
        """What it says of the code; "" while it is torn, or nobody knows."""
        self.replays = 0


class Runs:
    """All runs and results of one project."""

    def __init__(self, world: World, log: Callable[..., None], catch_up: Callable[[], None], state: State) -> None:
        """Begin with nothing under way.

        Args:
            log: appends one event and folds it.
            catch_up: reads the log to its end.
        """
        self._world, self._tree, self._executor, self._log, self._state = world, world.tree, world.executor, log, state
        self._catch_up = catch_up
        self._ended, self._ended_bytes = 1, 0
        """Runs since the last time that nothing was left to remove, and what they printed."""
        self.open: dict[AttemptId, Run] = {}
        self.results: dict[JobKey, Result] = {}
        self._unexplained: dict[JobKey, int] = {}
        self._overtaken: dict[JobKey, tuple[int, float]] = {}
        """Commands whose ahead runs were ended because the tree moved while no session did anything: how often in a row, and when last."""
        self.revived: dict[JobKey, int] = {}
        """Commands of earlier sessions that are known again, and the generation in which that was found."""
        self.sparing: set[JobKey] = set()
        """Commands known not to read what development servers write for themselves."""
        self.edited: Callable[[Run], Mapping[str, bool]] = lambda run: {}
        """Says what tools of the sessions wrote while a run was under way, and whether it is as they left it; set by whoever knows."""

    # --- beginning -----------------------------------------------------------------------------------------------------------

    def begin(
        self,
        job: JobKey,
        kind: str,
        session: SessionId | None,
        scan: Scan,
        *,
        why: str = "",
        audits: AttemptId | None = None,
    ) -> Run:
        """Make the directory of a new attempt and log it; nothing runs yet.

        Raises:
            OSError: the directory or the log could not be written.
        """
        attempt = AttemptId(self._world.new_id())
        self._executor.create(attempt)
        run = Run(attempt, job, kind, session, scan, self._state.epoch, self._world.mono_s())
        run.audits = audits
        self._log(
            AttemptStarted,
            attempt=attempt,
            job=job,
            kind=kind,
            session=session,
            generation=scan.generation,
            why=why,
            audits=audits,
        )
        for other in self.open.values():
            other.overlapped = run.overlapped = True
        self.open[attempt] = run
        return run

    def spawn(self, run: Run, invocation: Invocation, umask: int, place: Place, wall_s: float = 0.0) -> None:
        """Start the monitor of a run.

        Args:
            wall_s: how long it may take; 0: as long as is usual for an ahead run of this command.

        Raises:
            OSError: no process could be started; the attempt is logged as lost.
        """
        usual_s = self._state.jobs[run.job].median_s
        asked_for = run.kind == "requested"  # then by this very environment, whatever is in it
        env = invocation.env if asked_for else invocation.env_ahead
        spec = {
            "exe": invocation.exe,
            "argv": b"\0".join(invocation.argv),
            "env": b"\0".join(env),
            "cwd": invocation.cwd,
            "umask": oct(umask)[2:].encode(),
            "streams": invocation.streams.encode(),
            "wall_s": str(wall_s or max(WALL_LEAST_S, WALL_FACTOR * usual_s)).encode(),
            "limit_bytes": str(LIMIT_BYTES).encode(),
            "memory_bytes": str(self._world.granted_bytes() // 2).encode(),
            "tasks": str(TASKS).encode(),
            "idle": b"0" if asked_for else b"1",
            "lease_s": b"0" if asked_for else str(LEASE_S).encode(),
        }
        run.place = place
        try:
            run.owner = self._executor.spawn(run.attempt, spec, place)
        except OSError:
            self.lost(run, "no process could be started")
            raise

    # --- under way -----------------------------------------------------------------------------------------------------------

    def started(self, run: Run, process: Process) -> None:
        """The monitor (or the shim's child) lives."""
        run.process = process
        if run.readers and run.kind == "ahead":
            self._executor.hasten(process)
        elif run.held_since_s is not None:
            self._executor.hold(process)
        self._catch_up()
        known = self._state.attempts.get(run.attempt)  # none when the line that began it was damaged
        if known is not None and isinstance(known.phase, Begun):  # a quick one has logged its end by now
            self._log(AttemptSpawned, attempt=run.attempt, pid=process.pid, start=process.start)

    def moved(self, run: Run) -> bool:
        """Say whether the tree, as last scanned, is no longer what it was when the run began, by other hands than its own."""
        return run.adopted or self._state.epoch != run.epoch_before or bool(self._foreign(run))

    def _foreign(self, run: Run) -> tuple[Change, ...]:
        """Return what moved since a run began and is not what it is known to write itself, as far as it is anything to its command."""
        changes = self._changes(run.job, run.before)
        known = self._products(run.job)
        if not (changes and (known.paths or known.folders)) or run.overlapped:
            return changes
        return freshness.foreign(self._tree.classify(changes), known, set(self.edited(run)))

    def _products(self, job: JobKey) -> Products:
        known = self._state.jobs[job]
        return Products(paths=known.product_paths, folders=known.own_folders)

    def pause_s(self, job: JobKey) -> float:
        """Return for how long a command is still to wait because its ahead runs were overtaken again and again, and by no session."""
        times, at_s = self._overtaken.get(job, (0, 0.0))
        if times < OVERTAKEN_LIMIT:
            return 0.0
        pause_s = min(OVERTAKEN_MOST_S, OVERTAKEN_FIRST_S * 2.0 ** (times - OVERTAKEN_LIMIT))
        return max(0.0, at_s + pause_s - self._world.mono_s())

    def session_wrote(self) -> None:
        """What moves from now on is a session's work: nothing has to wait because of what others did."""
        self._overtaken.clear()

    def _note_overtaken(self, run: Run, end: End, edited: Collection[str]) -> None:
        if run.kind != "ahead" or (end.how != "cancelled" and not end.by_itself):
            return
        if run.cancelled_for == schedule.MOVED and not edited and run.epoch_before == self._state.epoch:
            self._overtaken[run.job] = (self._overtaken.get(run.job, (0, 0.0))[0] + 1, self._world.mono_s())
        else:
            self._overtaken.pop(run.job, None)

    def _changes(self, job: JobKey, after: int) -> tuple[Change, ...]:
        """Return what moved since a generation, as far as it is anything to this command."""
        changes = self._tree.changes(after, self._tree.generation)
        if all(change.of is not FileClass.WORKSHOP for change in changes):
            return changes
        if job in self.sparing:
            return tuple(change for change in changes if change.of is not FileClass.WORKSHOP)
        return tuple(Change(path=change.path, of=FileClass.IGNORED) if change.of is FileClass.WORKSHOP else change for change in changes)

    def attach(self, run: Run, ask: str) -> None:
        """A question waits for this run, which has the whole speed of the machine from now on."""
        run.readers.add(ask)
        self._not_held(run)
        if run.kind == "ahead" and run.process is not None:
            self._executor.hasten(run.process)

    def hold(self, run: Run) -> None:
        """Hold an ahead run back: the session needs the machine. A monitor that has not said yet who it is hears of it then."""
        if run.held_since_s is None:
            run.held_since_s = self._world.mono_s()
            if run.process is not None:
                self._executor.hold(run.process)

    def go_on(self, run: Run) -> None:
        """Let an ahead run that was held back go on."""
        self._not_held(run)
        if run.process is not None:
            self._executor.go_on(run.process)

    def _not_held(self, run: Run) -> None:
        run.held_before_s, run.held_since_s = self.held_s(run), None

    def held_s(self, run: Run) -> float:
        """Return for how long a run was held back, all in all."""
        return run.held_before_s + (self._world.mono_s() - run.held_since_s if run.held_since_s is not None else 0.0)

    def held_long(self, run: Run) -> str:
        """Say that a run was held back for so long that a failure may be of our making, "" when it was not."""
        held_s = self.held_s(run)
        if held_s <= HELD_MOST_S:
            return ""
        return f"it was held back for {held_s:.0f} s while the session needed the machine, and a time limit of its own may have passed"

    def cancel(self, run: Run, why: str) -> None:
        """Ask an ahead run's monitor to end it; the end arrives like any other.

        A monitor that has not said yet who it is finds the word on disk, even when nobody is here any more to tell it.
        """
        run.cancelled_for = why
        try:
            self._executor.forbid(run.attempt)
        except OSError:
            pass  # a full disk, a removed directory: the signal does without
        if run.process is None and run.adopted:
            run.process = self._executor.signer(run.attempt)  # begun between two supervisors: the log does not name its monitor
        if run.process is not None:
            self._executor.cancel(run.process)

    # --- ending --------------------------------------------------------------------------------------------------------------

    def ended(
        self,
        run: Run,
        end: End,
        out_bytes: int,
        err_bytes: int,
        cpu_s: float,
        left: int,
        scan: Scan,
        *,
        log_exit: bool,
    ) -> Result:
        """Settle a run: compare the tree with what it was, log the verdict, keep the result.

        Args:
            log_exit: whether `attempt.exited` is still to be written (a monitor writes it itself).
        """
        took_s = max(0.0, self._world.mono_s() - run.began_mono_s - self.held_s(run))
        if log_exit:
            self._log(
                AttemptExited,
                attempt=run.attempt,
                end=end,
                out_bytes=out_bytes,
                err_bytes=err_bytes,
                took_s=round(took_s, 6),
                cpu_s=round(cpu_s, 6),
                left=left,
            )
        edited = self.edited(run)
        changes = self._tree.classify(self._changes(run.job, run.before))
        settled = freshness.settle(
            changes,
            edited=edited.keys(),
            rewritten={path for path, as_left in edited.items() if not as_left},
            epoch_before=run.epoch_before,
            epoch_after=self._state.epoch,
            others_wrote=run.overlapped,
            known=self._products(run.job),
            outputs=run.outputs,
            printed=run.printed,
            problem=scan.problem or ("it began under an earlier supervisor" if run.adopted else ""),
        )
        torn = run.doubt or settled.torn or ("it left something running, which a replay would not" if left else "")
        torn = torn or ("" if end.passed else self.held_long(run))
        wrote = self._attributed(run, settled.wrote, end)
        self._note_overtaken(run, end, [path for path, as_left in edited.items() if as_left])
        roots = self._tree.ignored_folders(settled.products) if settled.products else {}
        folders = freshness.places(settled.products, roots)[:PRODUCTS_KEPT]
        had_work = self._had_work(run)
        evidence = self._evidence(run, scan.generation)
        seal = self._executor.seal(run.attempt) if end.by_itself and run.kind != "requested" else None
        judged = end.by_itself and not torn and run.kind != "requested"
        text = " ".join(self._state.jobs[run.job].argv)
        outcome: Outcome = gates.outcome(end, self._executor.last_line(run.attempt), text) if judged else ""
        self._log(
            AttemptSettled,
            attempt=run.attempt,
            generation=scan.generation,
            torn=torn,
            wrote=wrote[:5],
            products=tuple(sorted(settled.products, key=lambda path: bool(roots.get(path)))[:PRODUCTS_KEPT]),
            remote=run.remote,
            left=left,
            digest=seal.digest if seal else "",
            reached=run.reached,
            outcome=outcome,
            tracked=bool(wrote) and self._tree.tracks(wrote),
            edited=had_work,
            looks=run.looks,
            folders=folders,
            made=tuple(folder for folder in folders if folder[:-1] in settled.products),
            outputs=run.outputs,
            beside=run.beside,
        )
        self._close(run)
        result = Result(run, end, evidence, torn, took_s)
        result.seal, result.outcome = seal, outcome
        if seal is not None and seal.exit != Exit(end, out_bytes, err_bytes):
            self._broken(result, "output", "what is on disk of it is not what its owner told")
        if run.kind != "foreground" and (alive := self._executor.outlived(run.attempt)):
            self._executor.end_orphans(run.attempt)
            self._broken(result, "lease", f"{alive} of its processes lived on after its end")
        if end.how not in ("cancelled", "lost") and run.kind != "requested":
            self._compare(result)
            if run.kind == "foreground" or not self._state.jobs[run.job].contradicted:
                self.results[run.job] = result
        self._ended += 1
        self._ended_bytes += out_bytes + err_bytes
        return result

    def _compare(self, now: Result) -> None:
        """Log what this run and the one before it say of their command, when they came to different ends on one tree.

        Two runs of one kind: it is flaky (A-9). One of each kind: what runs ahead may lack what the session has around its own (a
        server, a lock that it holds), so nothing that ran ahead counts for this command for a while (decision 0025); unless it is known
        to be flaky, which explains it. What is run again for an audit is the auditor's to judge.
        """
        run, before = now.run, self.results.get(now.run.job)
        if before is None or not self._flipped(before, now):
            return
        was, is_now = ("pass", "fail") if before.end.passed else ("fail", "pass")
        if before.run.kind == run.kind or run.audits is not None or self._state.jobs[run.job].flips:
            self._log(JobFlipped, job=run.job, attempt=run.attempt, was=was, now=is_now)
        else:
            ahead, own = (is_now, was) if run.kind == "ahead" else (was, is_now)
            self._log(JobContradicted, job=run.job, attempt=run.attempt, ahead=ahead, foreground=own)

    def _flipped(self, before: Result, now: Result) -> bool:
        """Say whether a command came to another end although nothing has moved since the beginning of its run before.

        Of runs of two kinds one stands in a Bash call, whose own epoch may lie between them. What it writes itself each time is left out
        here: for a join it would have to be as it was, for this it need not.
        """
        first, last = before.evidence, now.evidence
        if first is None or last is None or before.torn or now.torn or not (before.end.by_itself and now.end.by_itself):
            return False
        if before.end.passed is now.end.passed or first.scanner != last.scanner:
            return False
        if last.epoch_after - first.epoch_before > (before.run.kind != now.run.kind):
            return False
        moved = self._tree.classify(self._tree.changes(first.before, last.after))
        own_only = not freshness.foreign(moved, self._products(now.run.job))
        return own_only and not self._tree.heaps_moved(before.run.moment)

    def _had_work(self, run: Run) -> bool:
        """Say whether a source had changed since the run before: one that writes only what it finds to do could have shown it."""
        result = self.results.get(run.job)
        if result is None or result.evidence is None or not 0 < result.evidence.after <= run.before:
            return False
        changes = self._tree.classify(self._tree.changes(result.evidence.after, run.before))
        printed = {*run.outputs, *run.printed, *result.run.outputs, *result.run.printed}
        return any(change.of is FileClass.SOURCE and change.path not in printed for change in changes)

    def _evidence(self, run: Run, after: int) -> Evidence:
        return Evidence(
            scanner=self._tree.id,
            before=run.before,
            after=after,
            epoch_before=run.epoch_before,
            epoch_after=self._state.epoch,
            ended_mono_s=self._world.mono_s(),
        )

    def _attributed(self, run: Run, wrote: tuple[str, ...], end: End) -> tuple[str, ...]:
        """Say which of the unexplained changes the run made itself.

        Nobody else is known to have written while a foreground run was waited for, or an ahead run that came to its end: then it was
        the run. One that was stopped because the tree moved was most likely overtaken by the user's own editor; only a command to
        which this happens again and again is taken to write by itself, or it would start, write and be stopped for ever.
        """
        if run.epoch_before != self._state.epoch or run.adopted:
            return ()
        if run.kind == "foreground" or end.by_itself:
            self._unexplained.pop(run.job, None)
            return wrote
        self._unexplained[run.job] = self._unexplained.get(run.job, 0) + 1 if wrote else 0
        return wrote if self._unexplained[run.job] >= UNEXPLAINED_LIMIT else ()

    def lost(self, run: Run, why: str) -> None:
        """Nobody knows how the run ended: an exit that is on disk is taken, else it is lost, never 0.

        Call it with the log read to its end: a monitor appends before it lets go of its lock.
        """
        if run.attempt not in self.open:
            return
        run.over = why
        if run.kind != "foreground" and ATTEMPT_ID.fullmatch(run.attempt):
            self._executor.end_orphans(run.attempt)
        known = self._state.attempts.get(run.attempt)  # none when the line that began it was damaged
        if known is not None and known.open:  # else its monitor has written the exit itself
            found = self._executor.exit_of(run.attempt) if ATTEMPT_ID.fullmatch(run.attempt) else None
            end, out_bytes, err_bytes = (found.end, found.out_bytes, found.err_bytes) if found else (End(how="lost"), 0, 0)
            self._log(
                AttemptExited,
                attempt=run.attempt,
                end=end,
                out_bytes=out_bytes,
                err_bytes=err_bytes,
                took_s=round(self._world.mono_s() - run.began_mono_s, 6),
                cpu_s=0.0,
            )
        if known is None or not isinstance(known.phase, Settled):
            self._log(AttemptSettled, attempt=run.attempt, generation=self._tree.generation, torn=why)
        self._close(run)

    def _close(self, run: Run) -> None:
        self.open.pop(run.attempt, None)
        if run.owner is not None:
            run.owner.close()
            run.owner = None
        if run.place is not None:
            run.place.close()
            run.place = None

    # --- asking --------------------------------------------------------------------------------------------------------------

    def judge(
        self,
        job: JobKey,
        max_age_s: float,
        problem: str,
        *,
        shown: bool = False,
        since_epoch: int | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> tuple[Verdict, Run | None]:
        """Say what there is for a question about `job` on the tree as last scanned, and the run it stands for.

        Args:
            outputs: files of the project that hold nothing yet and get what is printed; None: whoever asks wants no output.
            shown: a failure that was replayed already is as true as before: nobody asks for it, a gate looks at it.
            since_epoch: a result of this epoch or a later one counts as one of now.
        """
        result = self.results.get(job)
        if result is not None and any(run.job == job and run.audits is not None for run in self.open.values()):
            verdict = self._judge(result, max_age_s, problem, 0 if shown else result.replays, outputs=outputs)
            if verdict.standing is Standing.FRESH:
                return verdict, result.run  # what is only run again to be compared keeps nobody waiting
        for run in self.open.values():
            if run.job == job and not run.cancelled_for and not run.adopted and not self._state.jobs[job].leaves:
                verdict = freshness.judge(
                    evidence=self._evidence(run, run.before),
                    end=None,
                    torn="",
                    moved=self._moved_for(self._foreign(run), run, outputs),
                    scanner=self._tree.id,
                    epoch=self._state.epoch,
                    now_mono_s=self._world.mono_s(),
                    max_age_s=max_age_s,
                    replays=0,
                    problem=problem,
                )
                if verdict.standing is Standing.RUNNING and (moved := self._moved_unseen(run)) is not None:
                    return moved, None
                if verdict.standing is Standing.RUNNING and (held := self.held_long(run)):
                    return Verdict(standing=Standing.UNKNOWN, reason=held, code="held"), None
                if verdict.standing is Standing.RUNNING:
                    return verdict, run
        if result is None:
            running = any(run.job == job for run in self.open.values())
            if running:
                return Verdict(standing=Standing.TORN, reason="it is running on files that have changed since", code="running-moved"), None
            return Verdict(standing=Standing.UNKNOWN, reason="it has not run on this tree before", code="never-run"), None
        return self._judge(result, max_age_s, problem, 0 if shown else result.replays, since_epoch, outputs), result.run

    def still_true(self, result: Result, max_age_s: float, problem: str) -> bool:
        """Say whether a result holds on the tree as last scanned; a failure that was replayed already is as true as before."""
        return self._judge(result, max_age_s, problem, replays=0).standing is Standing.FRESH

    def _judge(
        self,
        result: Result,
        max_age_s: float,
        problem: str,
        replays: int,
        since_epoch: int | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Verdict:
        epoch, evidence = self._state.epoch, result.evidence
        if since_epoch is not None and evidence is not None and since_epoch <= evidence.epoch_after <= epoch:
            epoch = evidence.epoch_after
        verdict = freshness.judge(
            evidence=result.evidence,
            end=result.end,
            torn=result.torn,
            moved=self._moved_for(self._moved_since(result), result.run, outputs),
            scanner=self._tree.id,
            epoch=epoch,
            now_mono_s=self._world.mono_s(),
            max_age_s=max_age_s,
            replays=replays,
            problem=problem,
        )
        if verdict.standing is Standing.FRESH and (moved := self._moved_unseen(result.run)) is not None:
            return moved
        if verdict.standing is Standing.FRESH and (spoiled := self._spoiled(result)):
            return Verdict(standing=Standing.UNKNOWN, reason=spoiled, code="output-damaged")
        return verdict

    def _moved_unseen(self, run: Run) -> Verdict | None:
        """Say that something changed since a run began in a folder of which scans know nothing; it is asked last, for it takes longest."""
        if moved := self._tree.heaps_moved(run.moment):
            return Verdict(standing=Standing.STALE, reason=f"{moved} may have changed since it began", code="moved")
        return None

    def _spoiled(self, result: Result) -> str:
        """Say why what a result printed cannot be shown, "" when it is on disk as it was."""
        if result.seal is None:
            return result.spoiled
        still = self._executor.still(result.run.attempt, result.seal)
        if still is None:
            self._broken(result, "output", "its output on disk is not what it was")
            return result.spoiled
        result.seal = still
        return ""

    def _broken(self, result: Result, rule: str, what: str) -> None:
        """Never use a result again, and say why where `stretto doctor` finds it."""
        result.seal, result.spoiled = None, what
        self._log(InvariantBroken, rule=rule, attempt=result.run.attempt, what=what)

    def _moved_for(self, moved: tuple[Change, ...] | None, run: Run, outputs: tuple[str, ...] | None) -> tuple[Change, ...] | None:
        """Leave out the files that got what a run printed and get the same again; a call that prints elsewhere finds them changed."""
        if moved is None or outputs is None:
            return moved
        if outputs == run.outputs:
            return tuple(change for change in moved if change.path not in outputs)
        return moved + tuple(Change(path=path, of=FileClass.SOURCE) for path in run.outputs)

    def _moved_since(self, result: Result) -> tuple[Change, ...] | None:
        if result.evidence is None:
            return None
        return self._changes(result.run.job, result.evidence.after)

    def wants_run(self, job: Job) -> bool:
        """Say whether a source or a dependency changed since this command last came to an end (since it began, when torn).

        Of a command of an earlier session no result is known here, so it is wanted. After a change of what declares dependencies the next
        run may fetch packages: that one is the session's own.
        """
        result = self.results.get(job.job)
        evidence = result.evidence if result is not None else None
        if result is None and job.job in self.revived:
            since = self.revived[job.job]
        elif result is not None and evidence is not None:
            since = evidence.before if result.torn else evidence.after
        else:
            return False
        printed = result.run.outputs if result is not None else ()  # a call that prints there again has emptied it
        changes = [change for change in self._tree.classify(self._changes(job.job, since)) if change.path not in printed]
        if any(os.path.basename(change.path) in MANIFESTS for change in changes):
            return False
        return result is None or any(change.of in (FileClass.SOURCE, FileClass.DEPENDENCY) for change in changes)

    # --- after a restart -----------------------------------------------------------------------------------------------------

    def adopt(self, scan: Scan) -> None:
        """Take over what an earlier supervisor left: what lives is waited for, what died is recorded."""
        for late in [attempt for attempt in self._state.attempts.values() if isinstance(attempt.phase, Exited)]:
            # Its exit was recorded, and then nobody was there to say what it is worth: nothing.
            self._log(AttemptSettled, attempt=late.attempt, generation=scan.generation, torn="the supervisor was not there when it ended")
        for attempt in self._state.open_attempts():
            run = Run(attempt.attempt, attempt.job, attempt.kind, attempt.session, scan, self._state.epoch, self._world.mono_s())
            run.adopted = True
            phase: Any = attempt.phase
            if getattr(phase, "pid", 0):
                run.process = Process(phase.pid, phase.start, attempt.boot)
            self.open[attempt.attempt] = run
            if self.gone(run):
                self._catch_up()
                self.lost(run, "the supervisor was not there when it ended")

    def lives(self, run: Run) -> bool:
        """Say whether somebody owns the run: its lock is held."""
        return bool(ATTEMPT_ID.fullmatch(run.attempt)) and self._executor.owned(run.attempt)

    def gone(self, run: Run) -> bool:
        """Say whether nobody owns an adopted run, and see to it that nobody will: its monitor may only be on its way."""
        if self.lives(run):
            return False
        if run.kind == "foreground" or not ATTEMPT_ID.fullmatch(run.attempt):
            return True
        return self._executor.give_up(run.attempt)

    def prune(self) -> None:
        """Remove some of the oldest output that no question can be answered from any more, when there is too much of it.

        While something runs it can wait: many files removed make the next ones slow to begin (ext4 looks at each place of a file that was
        removed within the last minute), so a long queue would slow itself down.
        """
        if not self._ended or (self.open and self._ended < PRUNE_AFTER and self._ended_bytes < OUTPUT_KEPT_BYTES):
            return
        keep = {result.run.attempt for result in self.results.values()} | set(self.open) | fold.disputed(self._state)
        if not self._executor.prune(keep, OUTPUT_KEPT_BYTES, ATTEMPTS_KEPT):
            self._ended = self._ended_bytes = 0
