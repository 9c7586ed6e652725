"""Jobs that somebody asked for by `stretto run`: what is asked is checked, remembered, and told to the planner.

Hides where the environment of a job is: in this memory and in the pipe to its monitor, nowhere else. Promises:
- a job is in the log before its id is given out; asking twice with one id asks once;
- a process that is confined in another way than we are (a sandbox, other capabilities, another user namespace) is refused: its job would
  run outside that confinement;
- what had not started when a supervisor died is lost and says so; nothing starts twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from stretto import commands, rpc, schedule
from stretto.errors import UserError
from stretto.fold import Cancelled, Failed, Lost, PutAside, Ready, Request, RequestPhase, State, Stopping, UnderWay, WaitsFor
from stretto.model import Invocation, JobKey, JobSeen, RequestCancelled, RequestHeld, RequestLost, RequestMade, SessionId
from stretto.world import World

ID = re.compile(rb"[0-9a-f]{32}")
RETRIES_MOST = 20
WALL_S = 24 * 3600.0
"""A requested job that takes longer than a day is ended."""


class Order(NamedTuple):
    """How to run a job; held in memory only, because of the environment."""

    invocation: Invocation
    umask: int


class Requests:
    """The requested jobs of one project."""

    def __init__(self, world: World, log: Callable[..., None], state: State) -> None:
        self._world, self._log, self._state = world, log, state
        self._orders: dict[JobKey, Order] = {}
        self._ended_s: dict[SessionId, float] = {}
        self._open: list[Request] = []
        self._open_at = -1
        """How many events the log had when `_open` was made."""
        self._as_asked: dict[JobKey, tuple[RequestPhase, schedule.Asked]] = {}
        """What the planner was told of a job, and in which phase: a long queue is told again and again."""

    # --- asking --------------------------------------------------------------------------------------------------------------

    def ask(self, message: rpc.Message, confined: bool, sessions: Collection[SessionId]) -> JobKey:
        """Log the job a `request` message describes.

        Args:
            confined: whoever sent it may do other things than we may (a sandbox, other rights).
            sessions: those that are open.

        Raises:
            UserError: it waits for something unknown, can never fit, or comes from another confinement.
            KeyError, ValueError: a field is missing or is not of its kind.
        """
        job = JobKey(message["job"].decode())
        if not ID.fullmatch(message["job"]):
            raise ValueError(f"{job!r} is no id")
        if job in self._state.requests:
            return self._asked_again(job, message, confined=confined)
        if job in self._state.jobs:
            raise ValueError(f"{job!r} is the id of a check")
        if confined:
            raise UserError("cannot run a job from here: this process is confined (a sandbox, other rights), and the job would not be")
        after = tuple(JobKey(word) for word in message["after"].decode().split())
        self._check_after(job, after)
        memory_bytes, priority, retries = int(message["memory_bytes"]), int(message["priority"]), int(message["retries"])
        most_bytes = self._world.total_bytes() - schedule.RESERVE_BYTES
        if not 0 < memory_bytes <= most_bytes:
            raise UserError(f"cannot promise {memory_bytes >> 20} MB: at most {most_bytes >> 20} MB of this machine's memory can be")
        if not 0 <= retries <= RETRIES_MOST:
            raise UserError(f"cannot try it {retries} times again: at most {RETRIES_MOST}")
        session = SessionId(message["session"].decode())
        order = _order(message)
        name, argv = order.invocation.name, order.invocation.argv
        cwd = os.path.relpath(os.fsdecode(message["cwd"]), self._world.root).encode("utf-8", "backslashreplace").decode()
        self._log(JobSeen, job=job, name=name, argv=commands.redact(argv), cwd=cwd, streams="split")
        self._log(
            RequestMade,
            job=job,
            after=after,
            priority=priority,
            memory_bytes=memory_bytes,
            keep=message["keep"] == b"1",
            retries=retries,
            session=session if session in sessions else None,
        )
        self._orders[job] = order
        return job

    def _asked_again(self, job: JobKey, message: rpc.Message, *, confined: bool) -> JobKey:
        """The answer to the first asking was lost, perhaps with its supervisor: then this one learns how to run the job."""
        request = self._state.requests[job]
        if not request.over and not request.under_way and job not in self._orders and not confined:
            self._orders[job] = _order(message)
        return job

    def _check_after(self, job: JobKey, after: tuple[JobKey, ...]) -> None:
        for other in after:
            if other == job:
                raise UserError(f"cannot run {job[:8]} after itself: {job[:8]} -> {job[:8]} is a cycle")
            if other not in self._state.requests:
                raise UserError(f"cannot run a job after {other[:8]}: there is no such requested job; `stretto status` shows them")

    def write_off(self) -> None:
        """Say of every job that has yet to start, and whose environment went with an earlier supervisor, that it never will."""
        for request in self.open():
            if isinstance(request.phase, (WaitsFor, Ready)) and request.job not in self._orders:
                self._log(RequestLost, job=request.job, reason="the supervisor that knew its environment is gone; ask for it again")

    # --- what there is -------------------------------------------------------------------------------------------------------

    def open(self) -> list[Request]:
        """Return the jobs that are not over, in the order in which they were asked for."""
        if self._open_at != self._state.events:
            self._open = [request for request in self._state.requests.values() if not request.over]
            self._open_at = self._state.events
        return self._open

    def stopping(self, job: JobKey) -> str:
        """Return why a job that still runs was cancelled, "" when it was not."""
        request = self._state.requests.get(job)
        return request.phase.reason if request is not None and isinstance(request.phase, Stopping) else ""

    def order(self, job: JobKey) -> Order:
        """Return how to run a job."""
        return self._orders[job]

    def begun(self, job: JobKey) -> None:
        """A try of the job is in the log; how to run it is forgotten once no try is left."""
        request = self._state.requests[job]
        if isinstance(request.phase, UnderWay) and request.phase.tries > request.retries:
            self._orders.pop(job, None)

    def asked(self) -> list[schedule.Asked]:
        """Return what has not begun, as the planner wants it."""
        now_s = self._world.mono_s()
        known, self._as_asked = self._as_asked, {}
        found = []
        for request in self.open():
            phase = request.phase
            if isinstance(phase, (WaitsFor, Ready)):
                told = known.get(request.job)
                if told is None or told[0] is not phase or not told[1].due:
                    told = phase, _as_asked(request, phase, now_s)
                self._as_asked[request.job] = told
                found.append(told[1])
        return found

    def broken(self) -> dict[JobKey, str]:
        """Return the jobs that somebody waits for and that will never pass, and what became of them."""
        awaited = {job for request in self.open() if isinstance(request.phase, WaitsFor) for job in request.phase.others}
        found = {}
        for job in awaited:
            request = self._state.requests.get(job)
            if request is None:
                found[job] = "is not known any more"
            elif became := fate(request):
                found[job] = became
        return found

    # --- ending --------------------------------------------------------------------------------------------------------------

    def cancel(self, job: JobKey, reason: str) -> bool:
        """Log that a job shall not run; False when it was over or cancelled before. One that runs is still to be ended."""
        request = self._state.requests.get(job)
        if request is None or request.over or isinstance(request.phase, Stopping):
            return False
        self._log(RequestCancelled, job=job, reason=reason)
        self._orders.pop(job, None)
        return True

    def hold(self, job: JobKey, why: str) -> None:
        """Log why a job does not begin, when that is news."""
        phase = self._state.requests[job].phase
        if isinstance(phase, Ready) and phase.held != why:
            self._log(RequestHeld, job=job, reason=why)

    def orphans(self, grace_s: float, sessions: Collection[SessionId]) -> Iterator[JobKey]:
        """Yield the jobs whose session was seen to be over `grace_s` ago or longer and that were not asked to go on.

        Args:
            sessions: those that are open.

        `/clear` ends a session and begins another in the same process: its jobs go on.
        """
        now_s = self._world.mono_s()
        requests = self.open()
        outliving = schedule.outliving([(item.job, item.after, item.keep or item.session is None) for item in requests])
        alive = {self._claude(session) for session in sessions} - {None}
        for request in requests:
            session = request.session
            if session is None or request.job in outliving or isinstance(request.phase, Stopping):
                continue
            if session in sessions or self._claude(session) in alive:
                self._ended_s.pop(session, None)
            elif now_s - self._ended_s.setdefault(session, now_s) >= grace_s:
                yield request.job

    def _claude(self, session: SessionId) -> tuple[int, str, str] | None:
        known = self._state.sessions.get(session)
        return (known.claude_pid, known.claude_start, known.boot) if known is not None and known.claude_pid else None


def _order(message: rpc.Message) -> Order:
    invocation = Invocation(
        name=os.fsdecode(os.path.basename(message["exe"])).encode("utf-8", "backslashreplace").decode(),
        exe=message["exe"],
        argv=tuple(message["argv"].split(b"\0")),
        cwd=message["cwd"],
        env=tuple(message["env"].split(b"\0")) if message["env"] else (),
        context=b"",
        streams="split",
    )
    return Order(invocation, int(message["umask"], 8))


def _as_asked(request: Request, phase: WaitsFor | Ready, now_s: float) -> schedule.Asked:
    if isinstance(phase, WaitsFor):
        after = tuple(job for job in request.after if job in phase.others)
        return schedule.Asked(job=request.job, after=after, priority=request.priority, memory_bytes=request.memory_bytes)
    due = phase.due_mono_s <= now_s
    return schedule.Asked(job=request.job, priority=request.priority, memory_bytes=request.memory_bytes, due=due, held=phase.held)


def fate(request: Request) -> str:
    """Return what became of a job that will never pass, in words that follow its name; "" for any other."""
    match request.phase:
        case Failed():
            return "failed"
        case PutAside():
            return "was put aside"
        case Cancelled() | Stopping():
            return "was cancelled"
        case Lost():
            return "was lost"
        case _:
            return ""
