"""Talks to a project's supervisor from outside it, and makes sure that it is gone when it shall be gone.

Hides the socket's length limit and the ways a process can refuse to end. Promises: every call has a deadline; nothing is signalled but
processes the project's own log names by pid, start time and boot, and what carries the mark of one of its runs; `stop` returns only when
none of them lives.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable

from stretto import rpc, snapshot
from stretto.errors import UnavailableError
from stretto.executors import local
from stretto.fold import Running, State
from stretto.system import Process, is_locked, lives, open_private, signal_process
from stretto.trust import Project, ProjectPaths

ASK_LIMIT_S = 2.0
LEAVE_LIMIT_S = 6.0
"""From being asked to the end: a supervisor takes milliseconds, a monitor 2 s of grace for its worker and some for its record."""
KILL_LIMIT_S = 5.0
START_LIMIT_S = 20.0
ENV_KEPT = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "SYSTEMROOT")
"""All a supervisor inherits; the same as in client.py, which starts one from a hook (contract-tested)."""
LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); from stretto.daemon import main; main(sys.argv[2:])"


def ask(paths: ProjectPaths, message: rpc.Message, limit_s: float = ASK_LIMIT_S) -> rpc.Message:
    """Return the supervisor's answer to one message.

    Raises:
        UnavailableError: nobody listens, or no whole answer came within `limit_s`.
        CorruptError: the answer is no message of ours.
    """
    reader = rpc.Reader()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit_s)
        try:
            _connect(connection, paths.folder)
            connection.sendall(rpc.encode(message))
            while data := connection.recv(1 << 16):
                for answer in reader.feed(data):
                    return answer
        except OSError as error:
            raise UnavailableError(f"cannot reach the supervisor at {paths.socket}: {error.strerror or error}") from error
    raise UnavailableError(f"cannot reach the supervisor at {paths.socket}: it broke off")


def hold(paths: ProjectPaths, message: rpc.Message, limit_s: float = ASK_LIMIT_S) -> tuple[socket.socket, rpc.Message]:
    """Like `ask`, but leave the connection open: what was said holds for as long as that does.

    Raises:
        UnavailableError, CorruptError: as `ask`.
    """
    reader = rpc.Reader()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(limit_s)
        _connect(connection, paths.folder)
        connection.sendall(rpc.encode(message))
        while data := connection.recv(1 << 16):
            for answer in reader.feed(data):
                return connection, answer
        raise UnavailableError(f"cannot reach the supervisor at {paths.socket}: it broke off")
    except OSError as error:
        connection.close()
        raise UnavailableError(f"cannot reach the supervisor at {paths.socket}: {error.strerror or error}") from error
    except BaseException:
        connection.close()
        raise


def _connect(connection: socket.socket, folder: str) -> None:
    """Connect by a name relative to the folder: an absolute one may be longer than a socket's address can hold."""
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        connection.connect("s")
    finally:
        os.fchdir(here)
        os.close(here)


def wake(project: Project) -> None:
    """Make sure that a supervisor serves the project: start one in a session of its own when none does.

    Raises:
        UnavailableError: none serves it `START_LIMIT_S` later.
    """
    try:
        ask(project.paths, {"op": b"ping"})
        return
    except UnavailableError:
        pass
    word, given = os.pipe()
    errors = open_private(project.paths.supervisor_errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        started = subprocess.Popen(
            [project.grant.python, "-I", "-c", LAUNCH, package, project.paths.base, project.paths.key, str(given)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[given],
            cwd="/",
            env={name: value for name, value in os.environ.items() if name in ENV_KEPT or name.startswith("LC_")},
            start_new_session=True,
        )
        os.close(given)
        given = -1
        ready, _, _ = select.select([word], [], [], START_LIMIT_S)
        if not ready or not os.read(word, 1):
            raise UnavailableError(f"cannot start the supervisor: see {project.paths.supervisor_errors} and `stretto doctor`")
        started.returncode = 0  # it outlives us; whoever waits for it then is not this process
    except OSError as error:
        raise UnavailableError(f"cannot start the supervisor: {error}; run `stretto init` again") from error
    finally:
        for descriptor in (word, errors, given):
            if descriptor >= 0:
                os.close(descriptor)


def request(project: Project, message: rpc.Message) -> rpc.Message:
    """Return the answer to a message that needs a supervisor, started if none lives; one that breaks off is asked once more.

    Raises:
        UnavailableError: there was no answer.
    """
    wake(project)
    try:
        return ask(project.paths, message)
    except UnavailableError:  # it was just leaving
        wake(project)
        return ask(project.paths, message)


def reload(paths: ProjectPaths) -> bool:
    """Tell the supervisor that the grant changed; False when there is none to tell (the next one reads it anyway)."""
    try:
        ask(paths, {"op": b"reload"})
    except UnavailableError:
        return False
    return True


def fold_log(paths: ProjectPaths) -> State:
    """Return what the whole log on disk says; the empty state when there is none."""
    return snapshot.load(paths.folder)[0]


def supervisor(state: State) -> Process | None:
    """Return the supervisor the log names last, None when it is not alive."""
    started = state.supervisor
    process = Process(started.pid, started.start, started.boot) if started else None
    return process if process and lives(process) else None


def monitors(state: State) -> list[Process]:
    """Return the living owners of ahead runs and requested jobs that have no end in the log."""
    named = [
        Process(attempt.phase.pid, attempt.phase.start, attempt.boot)
        for attempt in state.open_attempts()
        if attempt.kind != "foreground" and isinstance(attempt.phase, Running)
    ]
    return [process for process in named if lives(process)]


def replace(paths: ProjectPaths, by: str) -> None:
    """Have the supervisor leave as soon as nobody waits for it, so that the next hook starts one `by` another version or build.

    Requested jobs go on. A supervisor from before this question is ended, unless that would end such jobs.
    """
    try:
        known = "ok" in ask(paths, {"op": b"leave", "by": by.encode()})
    except UnavailableError:
        known = False
    if not known and not any(attempt.kind == "requested" for attempt in fold_log(paths).open_attempts()):
        stop(paths)


def stop(paths: ProjectPaths) -> int:
    """End the supervisor, every ahead run and requested job of a project; return how many processes that were.

    Foreground runs are not ours to end.

    Raises:
        UnavailableError: something still lives after SIGKILL, or holds the supervisor's lock without being in the log.
    """
    leaving = {supervisor(fold_log(paths))} - {None}
    try:
        ask(paths, {"op": b"stop"})
    except UnavailableError:
        pass  # not there, or stuck: what the log names is ended below
    count = _end(process for process in leaving if process is not None)
    count += _end(monitors(fold_log(paths)))
    for attempt in fold_log(paths).open_attempts():  # of those whose monitor was killed, by us or before, with nobody there to see it
        if attempt.kind != "foreground":
            local.end_orphans(attempt.attempt, os.path.join(paths.attempts, attempt.attempt))
    deadline = time.monotonic() + LEAVE_LIMIT_S
    while is_locked(paths.supervisor_lock):
        if time.monotonic() > deadline:
            raise UnavailableError(f"cannot stop the supervisor: {paths.supervisor_lock} is still held, and the log does not say by whom")
        time.sleep(0.01)
    return count


def _end(processes: Iterable[Process]) -> int:
    """Wait for these processes to leave, ask them once more, kill them; return how many there were."""
    alive = found = list(processes)
    for number, limit_s in ((0, LEAVE_LIMIT_S / 3), (signal.SIGTERM, LEAVE_LIMIT_S), (signal.SIGKILL, KILL_LIMIT_S)):
        for process in alive:
            if number:
                signal_process(process, number)
        alive = _wait_gone(alive, limit_s)
    if alive:
        raise UnavailableError(f"cannot end process {alive[0].pid}: it lives on after SIGKILL; it waits for a device or a network disk")
    return len(found)


def _wait_gone(processes: list[Process], limit_s: float) -> list[Process]:
    deadline = time.monotonic() + limit_s
    while (alive := [process for process in processes if lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive
