"""Each fault that real life found, put back into the real code, and the kind that has to find it.

A hunt that has never found anything proves nothing. A plant is a small wrong turn in one function, as in `stretto.testing.plants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from stretto import daemon, engine, model
from stretto.engine import Engine
from stretto.tree import Scanner

from .stage import context_of

Swap = tuple[Any, str, Any]
"""Where, which name, and what stands there meanwhile."""


class Plant(NamedTuple):
    kind: str
    """What has to happen in a life for the fault to show."""
    swaps: Callable[[], list[Swap]]


PLANTS: dict[str, Plant] = {}


def planted_for(*kinds: str) -> Callable[[Callable[[], list[Swap]]], Callable[[], list[Swap]]]:
    def note(swaps: Callable[[], list[Swap]]) -> Callable[[], list[Swap]]:
        for kind in kinds:
            PLANTS[f"{swaps.__name__.replace('_', '-')}/{kind}"] = Plant(kind, swaps)
        return swaps

    return note


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, wrong in plant.swaps():
            stack.enter_context(mock.patch.object(owner, name, wrong))
        yield


# --- effects ----------------------------------------------------------------------------------------------------------------


@planted_for("unknown_bash", "escaped")
def begins_no_epoch() -> list[Swap]:
    return [(Engine, "_new_epoch", lambda self, reason, session: None)]


@planted_for("subagent_beside", "batch_in_odd_order")
def joins_beside_unknown_effects() -> list[Swap]:
    return [(engine, "blocker", lambda conversations: "")]


# --- the tree ---------------------------------------------------------------------------------------------------------------


@planted_for("stranger_edits")
def sees_no_change() -> list[Swap]:
    return [(Scanner, "changes", lambda self, after, until: ())]


@planted_for("stranger_edits_behind_a_link")
def does_not_look_behind_links() -> list[Swap]:
    real = Scanner.changes
    return [(Scanner, "changes", lambda *given: tuple(change for change in real(*given) if not change.path.startswith("/")))]


# --- the environment --------------------------------------------------------------------------------------------------------


@planted_for("random_variable", "pytest_addopts")
def counts_known_variables_only() -> list[Swap]:
    known = (b"PATH=", b"HOME=", b"LANG=", b"PWD=", b"COLUMNS=", b"LINES=")
    return [(model.Invocation, "meaningful_env", property(lambda self: tuple(each for each in self.env if each.startswith(known))))]


@planted_for("path_prefix")
def takes_no_note_of_the_path() -> list[Swap]:
    real = model.Invocation.meaningful_env.fget  # type: ignore[attr-defined]
    return [(model.Invocation, "meaningful_env", property(lambda self: tuple(e for e in real(self) if not e.startswith(b"PATH="))))]


@planted_for("umask")
def takes_no_note_of_limits() -> list[Swap]:
    real = daemon.invocation_from
    base = context_of("0022", {})
    return [(daemon, "invocation_from", lambda message: msgspec.structs.replace(real(message), context=base))]
