"""Starts monitors on this machine and ends them. Promises: an argv list and never a shell; the spec goes down a pipe; the new process
gets no descriptor of ours; nothing is signalled on less than pid, start time and boot."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

from stretto import cgroup, kin, rpc
from stretto.system import Process, identify, signal_process

ATTEMPT_ID = re.compile("[0-9a-f]{32}")
"""What `Runs.begin` makes; nothing else the log names is ever taken for the name of a directory or for a mark."""
LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); from stretto.monitor import main; main()"


class Owner:
    """The pipe from one monitor. Its end-of-file means that the monitor is gone."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = b""
        os.set_blocking(pipe, False)

    def fileno(self) -> int:
        return self._pipe

    def lines(self) -> list[str] | None:
        """Return the lines that have come since the last look, None at end-of-file."""
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in whole]

    def close(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


class Forker:
    """The process that monitors are forked from: started by the first spawn, replaced when it has died, gone when we are."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def spawn(self, spec: Mapping[str, bytes]) -> Owner:
        """Start a monitor for one attempt.

        Args:
            spec: dir, journal, attempt, argv and env (NUL-joined), exe, cwd, umask (octal), streams, wall_s, limit_bytes (of output),
                memory_bytes, tasks, and if wanted: idle (1: the idle I/O class, until somebody waits), lease and lease_s (the run is
                cancelled when nobody has held the lock of that path for so long).

        Raises:
            OSError: no process could be started.
        """
        try:
            return self._spawn(spec)
        except (BrokenPipeError, ConnectionResetError):
            self.close()  # it has died: nothing has begun, and the next one is as good
            return self._spawn(spec)

    def close(self) -> None:
        """Let the process go, and wait for it; monitors live on."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _spawn(self, spec: Mapping[str, bytes]) -> Owner:
        if self._requests is None:
            self._start()
        assert self._requests is not None
        spec_end, spec_pipe = os.pipe()
        heard, told = os.pipe()
        try:
            socket.send_fds(self._requests, [b"."], [spec_end, told])
        except OSError:
            for descriptor in (spec_pipe, heard):
                os.close(descriptor)
            raise
        finally:
            os.close(spec_end)
            os.close(told)
        try:
            with open(spec_pipe, "wb") as pipe:
                pipe.write(rpc.encode(spec))
        except OSError:
            os.close(heard)
            raise
        return Owner(heard)

    def _start(self) -> None:
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [os.path.realpath(getattr(sys, "_base_executable", sys.executable)), "-I", "-S", "-c", LAUNCH, package],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        self._requests = ours


def cancel(owner: Process) -> bool:
    """Ask a monitor to end its run; False when it is gone."""
    return signal_process(owner, signal.SIGTERM)


def hasten(owner: Process) -> bool:
    """Tell a monitor that somebody waits for its run; False when it is gone."""
    return signal_process(owner, signal.SIGUSR1)


def end_orphans(attempt: str, folder: str) -> list[Process]:
    """End what a killed monitor left; return what resisted.

    Found by the attempt's control group where it had one, by its mark, and by what its monitor had seen of it: whoever it was handed to.
    Without a grace time: the supervisor cannot wait, and the run is lost already.

    Args:
        attempt: as a log names it, whatever that is: nothing is done for what no supervisor made.
        folder: the attempt's directory.
    """
    if not ATTEMPT_ID.fullmatch(attempt):
        return []
    group = cgroup.recorded(folder, attempt)
    seen = kin.remembered(folder)

    def known() -> set[Process]:
        return seen | {process for pid in (group.members() if group else ()) if (process := identify(pid))}

    resisted = kin.end(lambda: kin.carrying(attempt, known()), grace_s=0.0, at_once=group.kill if group else lambda: None)
    if group and not resisted:
        group.remove()
    return resisted
