"""What a worker tells the sessions of its project: blocks, words, progress, artifacts. The door for Python; `claude-hook` is the other.

    from stretto import worker
    worker.progress(3, 10, "indexing")
    block = worker.block("the schema is being migrated", scope="commit")
    ...
    worker.clear(block)

Hides how a worker knows its project and itself (its mark in the environment), and that what it says is a line in the log, which counts
with the supervisor dead, too. Promises: what is said twice counts once; a text is cleaned of control characters and of what looks like a
secret before it is written; a block always ends, at the latest with its time. The same functions work outside a worker, in the folder of
a project or with `project`; a block then has no owner and lives until its time is over or somebody ends it.

With `STRETTO=off` in the environment nothing is written; `block` returns "".

Source of the rules: docs/control.md.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

from stretto import commands, control, gates, journal, steering, trust
from stretto.errors import UnavailableError, UserError
from stretto.fold import State
from stretto.model import (
    ENCODER,
    FORMAT_VERSION,
    ArtifactMade,
    AttemptId,
    BlockCleared,
    BlockEnd,
    BlockRaised,
    BlockScope,
    Event,
    JobKey,
    SessionId,
    WorkerProgressed,
    WorkerSaid,
)
from stretto.system import boot_id, mono_s, state_base, wall_s

SCOPES: tuple[BlockScope, ...] = ("stop", "commit", "edit", "all")
PROGRESS_EVERY_S = 0.2
"""Progress told more often is not written, except the last of it."""
LOOK_EVERY_S = 0.25
"""How often one that waits looks whether its block is over."""
_MARK = re.compile(r"[0-9a-f]{32}")
_last_progress_s = -PROGRESS_EVERY_S


class Place(NamedTuple):
    """Who speaks, and to whom."""

    project: trust.Project
    attempt: AttemptId | None
    """The worker, None outside of one."""


def silent() -> bool:
    """Say whether `STRETTO=off` is set: then nothing is said."""
    return os.environ.get("STRETTO") == "off"


def place(project: str = "") -> Place:
    """Return who speaks.

    Args:
        project: a folder in the project, "" for that of the worker or, outside of one, of the current folder.

    Raises:
        UserError: no project of Stretto is there.
    """
    base = state_base()
    mark = os.environ.get("STRETTO_WORKER", "")
    if _MARK.fullmatch(mark):
        for key in trust.keys(base):
            paths = trust.ProjectPaths(base=base, key=key)
            if os.path.isdir(f"{paths.attempts}/{mark}") and (found := trust.load(base, key)) is not None:
                return Place(project=found, attempt=AttemptId(mark))
    found = trust.lookup(project or ".", base)
    if found is None:
        where = trust.display(os.path.abspath(project or "."))
        raise UserError(f"cannot find a project of Stretto at {where}; name one with --project, or run `stretto init` there")
    return Place(project=found, attempt=None)


def block(
    reason: str, *, scope: BlockScope = "stop", ttl_s: float = steering.TTL_S, check: str = "", session: str = "", project: str = ""
) -> str:
    """Keep sessions from something, and return the block's id; the same again while it holds changes nothing and returns the same id.

    Args:
        reason: what the session is told, as data.
        scope: stop: a turn does not end before it was told; commit: no `git commit` and `git push`; edit: no file is written; all.
        ttl_s: after so many seconds it is over in any case; 1 to 86,400.
        check: a pattern for a known check, such as `pytest*`: the block is over when that passes.
        session: the session that is meant, "" for all of the project.

    Raises:
        UserError: an argument is none, or too many blocks hold already.
        UnavailableError, OSError: it could not be written.
    """
    text = _text(reason)
    if scope not in SCOPES:
        raise UserError(f"cannot block {scope!r}: it is one of {', '.join(SCOPES)}")
    if not 1.0 <= ttl_s <= steering.TTL_MOST_S:
        raise UserError(f"cannot block for {ttl_s:g} s: it is 1 s to {steering.TTL_MOST_S:.0f} s")
    if silent():
        return ""
    here = place(project)
    state = control.fold_log(here.project.paths)
    meant = SessionId(session) if session else None
    live = state.live_blocks(mono_s(), boot_id())
    for each in live:
        if steering.same(each, scope, text, meant, here.attempt):
            return each.id
    if len(live) >= steering.BLOCKS_MOST:
        raise UserError(f"cannot block: {len(live)} blocks hold already; `stretto unblock --all` ends them")
    name = steering.block_id(scope, text, meant, here.attempt, state.steering.raised - len(live))
    job = _job(state, check) if check else None
    _append(here, BlockRaised, block=name, scope=scope, reason=text, session=meant, attempt=here.attempt, job=job, ttl_s=float(ttl_s))
    _tell(here, start=bool(state.open_sessions()))
    return name


def clear(block: str, *, project: str = "") -> bool:
    """End a block; False when it was over already.

    Args:
        block: its id or a beginning of it that no other has.

    Raises:
        UserError: no block ever had it.
        UnavailableError, OSError: it could not be written.
    """
    if silent():
        return False
    here = place(project)
    return _end(here, control.fold_log(here.project.paths), block, "clear")


def say(text: str, *, session: str = "", project: str = "") -> None:
    """Tell sessions something, once each, with what they are told next; nothing is held up.

    Raises:
        UserError: the text is empty.
        UnavailableError, OSError: it could not be written.
    """
    said = _text(text)
    if not silent():
        here = place(project)
        _append(here, WorkerSaid, text=said, session=SessionId(session) if session else None, attempt=here.attempt)
        _tell(here, start=False)


def progress(done: float, total: float | None = None, text: str = "") -> None:
    """Say how far this worker is: `done` of `total`, in whatever unit. Told often, it is written five times a second at most.

    Raises:
        UserError: it is no worker that says so, or a number is negative or not finite.
        UnavailableError, OSError: it could not be written.
    """
    global _last_progress_s
    if not (0 <= done < float("inf")) or (total is not None and not (0 < total < float("inf"))):
        raise UserError(f"cannot say {done} of {total}: both are finite, and not negative")
    now_s = time.monotonic()
    if silent() or (now_s - _last_progress_s < PROGRESS_EVERY_S and done != total):
        return
    here = place()
    if here.attempt is None:
        raise UserError("cannot say how far it is: this is no worker of Stretto; start it with `stretto run`")
    _last_progress_s = now_s
    fields = {"done": float(done), "total": None if total is None else float(total), "text": _text(text) if text.strip() else ""}
    _append(here, WorkerProgressed, attempt=here.attempt, **fields)


def artifact(path: str, text: str = "") -> None:
    """Say that this worker made a file that others may want.

    Raises:
        UserError: it is no worker that says so, or the file is not there.
        UnavailableError, OSError: it could not be written.
    """
    if silent():
        return
    here = place()
    if here.attempt is None:
        raise UserError("cannot name an artifact: this is no worker of Stretto; start it with `stretto run`")
    if not os.path.exists(path):
        raise UserError(f"cannot name {trust.display(os.path.abspath(path))} as an artifact: there is no such file")
    _append(here, ArtifactMade, attempt=here.attempt, path=os.path.abspath(path), text=_text(text) if text.strip() else "")


def wait(block: str, *, limit_s: float | None = None, project: str = "") -> BlockEnd | Literal[""]:
    """Wait until a block is over; return how it ended, "" when it holds after `limit_s`.

    Raises:
        UserError: no block ever had this id, or the wait could never end, as whoever it is for waits for this worker: the cycle is named.
    """
    here = place(project)
    until_s = float("inf") if limit_s is None else time.monotonic() + limit_s
    state = control.fold_log(here.project.paths)
    name = _find(state, block)
    held = state.steering.blocks.get(name)
    with contextlib.ExitStack() as stack:
        if here.attempt is not None and held is not None:
            job = state.attempts[here.attempt].job
            sessions = [held.raised.session] if held.raised.session is not None else list(state.open_sessions())
            on = [f"session {session}" for session in sessions]
            stack.enter_context(waiting(here.project, f"job {job}", on, "claude-hook --wait", any_of=True))
        while True:
            for ended in state.steering.ended:
                if ended.block == name:
                    return ended.how
            if all(each.id != name for each in state.live_blocks(mono_s(), boot_id())):
                return "expired"
            if time.monotonic() >= until_s:
                return ""
            time.sleep(LOOK_EVERY_S)
            state = control.fold_log(here.project.paths)


@contextlib.contextmanager
def waiting(project: trust.Project, who: str, on: list[str], how: str, *, any_of: bool = False) -> Iterator[None]:
    """Let the supervisor know for as long as this lasts who waits for whom; without one there is nobody to know it, and nothing is checked.

    Raises:
        UserError: that would never end; the cycle is named.
    """
    message = {"op": b"waits", "who": who.encode(), "on": "\0".join(on).encode(), "how": how.encode(), "any": b"1" if any_of else b"0"}
    try:
        connection, answer = control.hold(project.paths, message)
    except UnavailableError:
        yield
        return
    with connection:
        if answer.get("ok") != b"1":
            raise UserError(answer.get("reason", b"cannot wait for that").decode("utf-8", "backslashreplace"))
        yield


def unblock(here: Place, ids: list[str]) -> list[str]:
    """End blocks as the user; all that hold without `ids`. Returns the ids of those that were ended.

    Raises:
        UserError: no block ever had one of these.
        UnavailableError, OSError: it could not be written.
    """
    state = control.fold_log(here.project.paths)
    names = [_find(state, each) for each in ids] if ids else list(state.steering.blocks)
    return [name for name in names if _end(here, state, name, "user")]


# --- how it is written --------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """Return a text as it may be written: one line, without what looks like a secret.

    Raises:
        UserError: nothing is left of it.
    """
    words = " ".join(commands.redact(text.split()))
    cleaned = gates.clean(words, steering.REASON_CHARACTERS)
    if not cleaned:
        raise UserError("cannot say nothing: the text is empty")
    return cleaned


def _append(here: Place, kind: type[Event], **fields: object) -> None:
    role = "worker" if here.attempt is not None else "cli"
    log = journal.Journal(here.project.paths.folder)
    try:
        event = kind(v=FORMAT_VERSION, ts=wall_s(), mono=mono_s(), boot=boot_id(), by=f"{role}:{os.getpid()}", **fields)
        log.append(ENCODER.encode(event))
    finally:
        log.close()


def _tell(here: Place, *, start: bool) -> None:
    """Have the supervisor look at the log now; it would by itself within a second.

    Args:
        start: there is somebody to be woken, so one is started when none lives.
    """
    try:
        control.ask(here.project.paths, {"op": b"look"})
    except UnavailableError:
        if start and here.attempt is None:  # a worker has no business starting one (C-13)
            with contextlib.suppress(UnavailableError):
                control.wake(here.project)


def _end(here: Place, state: State, block: str, how: BlockEnd) -> bool:
    name = _find(state, block)
    if name not in state.steering.blocks:
        return False
    _append(here, BlockCleared, block=name, how=how, by_whom=here.attempt or "")
    _tell(here, start=False)
    return True


def _find(state: State, beginning: str) -> str:
    known = dict.fromkeys([*state.steering.blocks, *(ended.block for ended in state.steering.ended)])
    found = [name for name in known if beginning and name.startswith(beginning)]
    if len(found) != 1:
        raise UserError(
            f"cannot find the block {beginning!r}: {'several begin so' if found else 'none was raised'}; `stretto status` shows them"
        )
    return found[0]


def _job(state: State, pattern: str) -> JobKey:
    found = [job.job for job in state.jobs.values() if job.job not in state.requests and fnmatch.fnmatchcase(" ".join(job.argv), pattern)]
    if len(found) != 1:
        what = f"{len(found)} known checks are" if found else "no known check is"
        raise UserError(f"cannot tie a block to {pattern!r}: {what} called so; `stretto status` shows them")
    return found[0]
