"""Starts monitors on this machine and ends them. Promises: an argv list and never a shell; the spec goes down a pipe; the new process
gets no descriptor of ours; nothing is signalled on less than pid, start time and boot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from stretto import kin, rpc
from stretto.system import Process, signal_process

LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); from stretto.monitor import main; main()"


class Owner:
    """The pipe from one monitor. Its end-of-file means that the monitor is gone."""

    def __init__(self, launcher: subprocess.Popen[bytes]) -> None:
        assert launcher.stdout is not None
        self._launcher = launcher
        self._pipe = launcher.stdout
        self._rest = b""
        os.set_blocking(self._pipe.fileno(), False)

    def fileno(self) -> int:
        return self._pipe.fileno()

    def lines(self) -> list[str] | None:
        """Return the lines that have come since the last look, None at end-of-file."""
        try:
            data = os.read(self._pipe.fileno(), 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in whole]

    def close(self) -> None:
        self._pipe.close()
        self._launcher.wait()  # the launcher double-forked and left long ago; this only takes its exit status


def spawn(spec: Mapping[str, bytes]) -> Owner:
    """Start a monitor for one attempt.

    Args:
        spec: dir, journal, attempt, argv and env (NUL-joined), exe, cwd, umask (octal), streams, wall_s, limit_bytes (of output),
            memory_bytes, tasks.

    Raises:
        OSError: no process could be started.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    launcher = subprocess.Popen(
        [os.path.realpath(getattr(sys, "_base_executable", sys.executable)), "-I", "-S", "-c", LAUNCH, package],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )
    assert launcher.stdin is not None
    with launcher.stdin as pipe:
        pipe.write(rpc.encode(spec))
    return Owner(launcher)


def cancel(owner: Process) -> bool:
    """Ask a monitor to end its run; False when it is gone."""
    return signal_process(owner, signal.SIGTERM)


def hasten(owner: Process) -> bool:
    """Tell a monitor that somebody waits for its run; False when it is gone."""
    return signal_process(owner, signal.SIGUSR1)


def end_orphans(attempt: str) -> list[Process]:
    """End what a killed monitor left: all that carries the attempt's mark, whoever it was handed to; return what resisted.

    Without a grace time: the supervisor cannot wait, and the run is lost already.
    """
    return kin.end(lambda: kin.carrying(attempt), grace_s=0.0)
