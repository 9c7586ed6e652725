"""Bugs for the simulation to find: each a small wrong turn put into the real code for as long as it is asked for (C-22, C-23).

A checker that has never found anything proves nothing: `tests/simulation/test_simulation.py` holds the simulation to finding all of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec

from stretto import fold, freshness, runs, schedule, snapshot
from stretto.background import Background
from stretto.engine import Engine
from stretto.hookwire import ToolAsked
from stretto.model import AttemptExited, End, Invocation, Products, RequestMade
from stretto.requests import Requests
from stretto.runs import Runs
from stretto.sessions import Conversation

Swap = tuple[Any, str, Any]
"""Where, which name, and what stands there meanwhile."""


def _starts_beside_what_runs() -> list[Swap]:
    real = schedule.plan
    return [(schedule, "plan", lambda view: real(msgspec.structs.replace(view, running=())))]


def _adopts_nothing() -> list[Swap]:
    return [(Runs, "adopt", lambda self, scan: None)]


def _takes_lost_for_passed() -> list[Swap]:
    return [(runs, "End", lambda **_: End(how="code", value=0))]


def _forgets_a_cancel_after_a_crash() -> list[Swap]:
    return [(Requests, "stopping", lambda self, job: "")]


def _cancels_without_a_record() -> list[Swap]:
    def cancel(self: Any, job: Any, reason: str) -> bool:
        return self._orders.pop(job, None) is not None

    return [(Requests, "cancel", cancel)]


def _joins_across_epochs() -> list[Swap]:
    real = freshness.judge

    def judge(**given: Any) -> Any:
        evidence = given["evidence"]
        return real(**{**given, "epoch": evidence.epoch_before if given["end"] is None else evidence.epoch_after})

    return [(freshness, "judge", judge)]


def _joins_on_another_tree() -> list[Swap]:
    return [(Runs, "_moved_since", lambda self, result: ())]


def _does_not_compare_the_tree_at_the_end() -> list[Swap]:
    real = freshness.settle
    return [(freshness, "settle", lambda changes, **given: real((), **given))]


def _drops_a_request_from_the_snapshot() -> list[Swap]:
    real = snapshot.pack

    def pack(state: fold.State) -> bytes:
        kept = dict(list(state.requests.items())[:-1])
        return real(msgspec.structs.replace(state, requests=kept))

    return [(snapshot, "pack", pack)]


def _writes_no_epoch() -> list[Swap]:
    return [(Engine, "_new_epoch", lambda self, reason, session: None)]


def _forgets_an_epoch_without_room() -> list[Swap]:
    real = Engine._new_epoch

    def new_epoch(self: Any, reason: str, session: Any) -> None:
        try:
            real(self, reason, session)
        except OSError:
            self._owed_epoch = ""

    return [(Engine, "_new_epoch", new_epoch)]


def _retries_without_a_limit() -> list[Swap]:
    def tried(request: Any, phase: Any, event: AttemptExited) -> Any:
        return fold.Passed(phase.attempt) if event.end.passed else fold.Ready(phase.tries, event.mono + 1.0)

    table: dict[Any, Any] = {**fold.REQUEST_NEXT, fold.UnderWay: {**fold.REQUEST_NEXT[fold.UnderWay], AttemptExited: tried}}
    return [(fold, "REQUEST_NEXT", table), (Requests, "begun", lambda self, job: None)]


def _ignores_dependencies() -> list[Swap]:
    real = fold.APPLY[RequestMade]
    table: dict[Any, Any] = {**fold.APPLY, RequestMade: lambda state, event: real(state, msgspec.structs.replace(event, after=()))}
    return [(fold, "APPLY", table)]


def _records_an_exit_twice() -> list[Swap]:
    real = Runs.ended

    def ended(self: Any, *given: Any, log_exit: bool) -> Any:
        return real(self, *given, log_exit=True)

    return [(Runs, "ended", ended)]


def _spawns_before_it_logs() -> list[Swap]:
    real = Runs.begin

    def begin(self: Any, *given: Any, **named: Any) -> Any:
        log, self._log = self._log, lambda *_, **__: None
        try:
            return real(self, *given, **named)
        finally:
            self._log = log

    return [(Runs, "begin", begin)]


def _promises_memory_no_longer_after_a_crash() -> list[Swap]:
    """The place, in which the promise stands, goes with the supervisor and not with the monitor."""
    real = Runs.spawn

    def spawn(self: Any, *given: Any) -> None:
        executor = self._executor
        self._executor = SimpleNamespace(spawn=lambda attempt, spec, _: executor.spawn(attempt, spec))
        try:
            real(self, *given)
        finally:
            self._executor = executor

    return [(Runs, "spawn", spawn)]


def _tells_news_beside_unknown_effects() -> list[Swap]:
    real = Engine._tell_news

    def tell(self: Any, *given: Any) -> str:
        self._blocker, blocker = (lambda: ""), self._blocker
        try:
            return real(self, *given)
        finally:
            self._blocker = blocker

    return [(Engine, "_tell_news", tell)]


def _gives_an_end_up_that_it_cannot_log() -> list[Swap]:
    def ends(self: Any, run: Any, why: str) -> None:
        self.runs.lost(run, why) if run.kind == "foreground" else self._ahead_ended(run)
        run.over = ""

    real = Runs.lost

    def lost(self: Any, run: Any, why: str) -> None:
        try:
            real(self, run, why)
        finally:
            run.over = ""

    return [(Engine, "_ends", ends), (Runs, "lost", lost)]


def _hears_of_no_tool_but_bash() -> list[Swap]:
    """As when hooks were for Bash and the tools that write one file."""
    real = Engine._asked

    def asked(self: Any, conversation: Any, call: Any, effect: str, writes: Any = ()) -> Any:
        return real(self, conversation, call, "reads" if isinstance(call, ToolAsked) else effect, writes)

    return [(Engine, "_asked", asked), (Engine, "_may_do_anything", lambda self, call: False)]


def _reads_no_marks_of_shells() -> list[Swap]:
    return [(Conversation, "shell_began", lambda self, pid: SimpleNamespace(is_unknown=False)), (Conversation, "is_open", lambda *_: True)]


def _forgets_what_a_call_left_running() -> list[Swap]:
    return [(Background, "follow", lambda self, found, **_: None)]


def _takes_a_folder_for_its_own_at_once() -> list[Swap]:
    return [(Runs, "_products", lambda self, job: Products(folders=("data/",)))]


def _forgives_what_the_last_run_did() -> list[Swap]:
    return [(fold, "counts", lambda looks: False)]


def _runs_ahead_of_what_a_stranger_moved() -> list[Swap]:
    return [(Engine, "_whose", lambda self, scan, looked_s: None)]


def _runs_ahead_in_the_environment_of_a_git_hook() -> list[Swap]:
    return [(Invocation, "hooked", property(lambda self: False))]


def _counts_what_was_contradicted() -> list[Swap]:
    return [(fold.Job, "contradicted", property(lambda self: ""))]


PLANTS: dict[str, Callable[[], list[Swap]]] = {
    function.__name__[1:].replace("_", "-"): function
    for function in (
        _starts_beside_what_runs,
        _adopts_nothing,
        _takes_lost_for_passed,
        _forgets_a_cancel_after_a_crash,
        _cancels_without_a_record,
        _joins_across_epochs,
        _joins_on_another_tree,
        _does_not_compare_the_tree_at_the_end,
        _drops_a_request_from_the_snapshot,
        _writes_no_epoch,
        _forgets_an_epoch_without_room,
        _retries_without_a_limit,
        _ignores_dependencies,
        _records_an_exit_twice,
        _spawns_before_it_logs,
        _promises_memory_no_longer_after_a_crash,
        _tells_news_beside_unknown_effects,
        _gives_an_end_up_that_it_cannot_log,
        _hears_of_no_tool_but_bash,
        _reads_no_marks_of_shells,
        _forgets_what_a_call_left_running,
        _takes_a_folder_for_its_own_at_once,
        _forgives_what_the_last_run_did,
        _runs_ahead_of_what_a_stranger_moved,
        _runs_ahead_in_the_environment_of_a_git_hook,
        _counts_what_was_contradicted,
    )
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have one of `PLANTS` in the code; "" for none."""
    swaps = PLANTS[name]() if name else []
    real = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in swaps]
    try:
        for owner, attribute, wrong in swaps:
            setattr(owner, attribute, wrong)
        yield
    finally:
        for owner, attribute, right in real:
            setattr(owner, attribute, right)
