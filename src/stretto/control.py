"""Talks to a project's supervisor from outside it, and makes sure that it is gone when it shall be gone.

Hides the socket's length limit and the ways a process can refuse to end. Promises: every call has a deadline; nothing is signalled but
processes the project's own log names by pid, start time and boot; `stop` returns only when none of them lives.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterable

from stretto import rpc, snapshot
from stretto.errors import UnavailableError
from stretto.fold import Running, State
from stretto.system import Process, is_locked, lives, signal_process
from stretto.trust import ProjectPaths

ASK_LIMIT_S = 2.0
LEAVE_LIMIT_S = 6.0
"""From being asked to the end: a supervisor takes milliseconds, a monitor 2 s of grace for its worker and some for its record."""
KILL_LIMIT_S = 5.0


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


def _connect(connection: socket.socket, folder: str) -> None:
    """Connect by a name relative to the folder: an absolute one may be longer than a socket's address can hold."""
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        connection.connect("s")
    finally:
        os.fchdir(here)
        os.close(here)


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
    """Return the living owners of ahead runs that have no end in the log."""
    named = [
        Process(attempt.phase.pid, attempt.phase.start, attempt.boot)
        for attempt in state.open_attempts()
        if attempt.kind == "ahead" and isinstance(attempt.phase, Running)
    ]
    return [process for process in named if lives(process)]


def stop(paths: ProjectPaths) -> int:
    """End the supervisor and every ahead run of a project; return how many processes that were. Foreground runs are not ours to end.

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
