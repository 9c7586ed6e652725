"""Each fault that real life found, put back into the real code, and the kind that has to find it.

A hunt that has never found anything proves nothing. A plant is a small wrong turn in one function, as in `stretto.testing.plants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from stretto import commands, daemon, engine, hookwire, model
from stretto.background import Background
from stretto.daemon import Supervisor
from stretto.engine import Engine
from stretto.sessions import Conversation
from stretto.tree import Scanner

from .stage import Ground, context_of

Swap = tuple[Any, str, Any]
"""Where, which name, and what stands there meanwhile."""


class Plant(NamedTuple):
    kind: str
    """What has to happen in a life for the fault to show."""
    swaps: Callable[[], list[Swap]]
    what: str
    """What is found (`stage.Finding`)."""


PLANTS: dict[str, Plant] = {}


def planted_for(*kinds: str, what: str = "wrong") -> Callable[[Callable[[], list[Swap]]], Callable[[], list[Swap]]]:
    def note(swaps: Callable[[], list[Swap]]) -> Callable[[], list[Swap]]:
        for kind in kinds:
            PLANTS[f"{swaps.__name__.replace('_', '-')}/{kind}"] = Plant(kind, swaps, what)
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


@planted_for("mcp_tool", "unknown_tool")
def hears_of_no_tool_but_bash() -> list[Swap]:
    real = Engine._asked

    def asked(self: Any, conversation: Any, call: Any, effect: str, *more: Any) -> Any:
        return real(self, conversation, call, "reads" if isinstance(call, hookwire.ToolAsked) else effect, *more)

    return [(Engine, "_asked", asked), (Engine, "_may_do_anything", lambda self, call: False), *reads_no_marks_of_shells()]


@planted_for("spoiled_deep", "spoiled_bytes", "spoiled_cut", "spoiled_half", "spoiled_large")
def takes_what_it_cannot_read_for_nothing() -> list[Swap]:
    real = hookwire.parse

    def parse(event: str, body: bytes, **more: Any) -> Any:
        found = real(event, body, **more)
        try:
            msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return hookwire.Other(session=found.session, mode="")
        return found

    return [(hookwire, "parse", parse), *reads_no_marks_of_shells()]


@planted_for("skill_command")
def reads_no_marks_of_shells() -> list[Swap]:
    known = SimpleNamespace(is_unknown=False)
    return [(Conversation, "shell_began", lambda self, pid: known), (Conversation, "is_open", lambda self, call: True)]


@planted_for("background_call", "ampersand", "server_lives_on", "monitor_tool")
def forgets_what_a_call_left_running() -> list[Swap]:
    return [(Background, "follow", lambda self, found, **_: None), *reads_no_marks_of_shells()]


# --- who asks ---------------------------------------------------------------------------------------------------------------


@planted_for("other_project_asks", "outside_any_session", "leftover_asks")
def answers_whoever_asks() -> list[Swap]:
    return [(Engine, "_strange", lambda self, call, above: None)]


@planted_for("hooks_gone")
def does_not_miss_its_hooks() -> list[Swap]:
    return [*answers_whoever_asks(), *reads_no_marks_of_shells()]


@planted_for("leftover_forges")
def believes_whatever_is_told_of_an_end() -> list[Swap]:
    real = Engine.child_started
    return [*answers_whoever_asks(), (Engine, "child_started", lambda self, call, pid, doubt="": real(self, call, pid))]


@planted_for("test_forges")
def believes_a_test_that_tells_an_end() -> list[Swap]:
    return [*believes_whatever_is_told_of_an_end(), (Supervisor, "_inside_a_run", lambda self, pid: False)]


@planted_for("wrapper_of_the_name")
def lets_a_call_wait_for_its_own_ancestor() -> list[Swap]:
    return [(Supervisor, "_inside_a_run", lambda self, pid: False), *forgets_who_asks_for_a_real_run()]


@planted_for("git_hook", "git_variable", what="harm")
def takes_what_git_calls_for_any_other_call() -> list[Swap]:
    return [(model.Invocation, "hooked", property(lambda self: False))]


@planted_for("real_option", "real_loop", "real_time")
def forgets_who_asks_for_a_real_run() -> list[Swap]:
    return [
        (daemon, "_asked_for_real", lambda *_: None),
        (Conversation, "asked_again", lambda self, *_: None),
        (Conversation, "real_by_text", lambda self, *_: None),
    ]


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
    return [(daemon, "invocation_from", lambda *given, **more: msgspec.structs.replace(real(*given, **more), context=base))]


def _without(*names: bytes) -> list[Swap]:
    real = model.Invocation.meaningful_env.fget  # type: ignore[attr-defined]
    kept = property(lambda self: tuple(entry for entry in real(self) if not entry.startswith(names)))
    return [(model.Invocation, "meaningful_env", kept)]


@planted_for("pwd_by_link")
def takes_no_note_of_pwd() -> list[Swap]:
    return _without(b"PWD=")


@planted_for("width", "height")
def takes_no_note_of_the_terminal_that_is_said() -> list[Swap]:
    return _without(b"COLUMNS=", b"LINES=")


@planted_for("asks_under_a_trace", what="harm")
def runs_ahead_in_a_trace() -> list[Swap]:
    return [(model.Invocation, "env_ahead", property(lambda self: self.env))]


@planted_for("memory_limit")
def takes_no_note_of_the_memory_group() -> list[Swap]:
    return [(model.Invocation, "in_memory_group", property(lambda self: False))]


# --- what the project leads to ----------------------------------------------------------------------------------------------


@planted_for("pythonpath_edit", "path_dependency_edit")
def reads_no_manifests() -> list[Swap]:
    return [(Scanner, "_take_in_named", lambda self, found: None)]


@planted_for("editable_outside_edit")
def does_not_follow_environments() -> list[Swap]:
    return [(Scanner, "lead", lambda self, leads: None)]


@planted_for("steered_by_configuration")
def reads_options_on_the_line_only() -> list[Swap]:
    return [(daemon, "steered", lambda *_: False)]


# --- ahead ------------------------------------------------------------------------------------------------------------------


@planted_for("stranger_moves_while_idle", "stranger_moves_after_escape", what="harm")
def works_for_strangers() -> list[Swap]:
    return [(Engine, "_whose", lambda self, *_: None)]


@planted_for("linter_that_fixes", what="harm")
def does_not_read_how_a_linter_is_configured() -> list[Swap]:
    return [(commands, "where_it_fixes", lambda argv, texts: "")]


@planted_for("server_around", what="told")
def does_not_see_what_a_call_started_beside_a_check() -> list[Swap]:
    return [(Ground, "beside", lambda self, pid, claude: "")]
