"""Starts monitors on this machine and ends them. Promises: an argv list and never a shell; the spec goes down a pipe; the new process
gets no descriptor of ours; nothing is signalled on less than pid, start time and boot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping

from stretto import bundle, cgroup, kin, rpc
from stretto.executors import Place
from stretto.model import ATTEMPT_ID, AttemptId, Fsync
from stretto.system import Lock, Process, atomic_write, boot_id, identify, is_locked, signal_process, signer

LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); from stretto.monitor import main; main()"
NEVER_RAN = b"lost 0 0 0\n"
"""The exit of a run that was given up before its monitor was seen: one that comes late finds it and leaves."""
LAST_BYTES = 4096


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

    def spawn(self, spec: Mapping[str, bytes], place: int = -1) -> Owner:
        """Start a monitor for one attempt.

        Args:
            spec: dir, journal, fsync (of the journal; else as `exits`), attempt, argv and env (NUL-joined), exe, cwd, umask (octal),
                streams, wall_s, limit_bytes (of output), memory_bytes, tasks, and if wanted: idle (1: the idle I/O class, until somebody
                waits), lease and lease_s (the run is cancelled when nobody has held the lock of that path for so long).
            place: a descriptor that the monitor keeps open for its life, -1: none.

        Raises:
            OSError: no process could be started.
        """
        try:
            return self._spawn(spec, place)
        except (BrokenPipeError, ConnectionResetError):
            self.close()  # it has died: nothing has begun, and the next one is as good
            return self._spawn(spec, place)

    def close(self) -> None:
        """Let the process go, and wait for it; monitors live on."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _spawn(self, spec: Mapping[str, bytes], place: int) -> Owner:
        if self._requests is None:
            self._start()
        assert self._requests is not None
        spec_end, spec_pipe = os.pipe()
        heard, told = os.pipe()
        try:
            socket.send_fds(self._requests, [b"."], [spec_end, told, *([place] if place >= 0 else [])])
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
                env={"LD_BIND_NOW": "1"},  # else each owner looks up the same functions of the C library again
                cwd="/",
                start_new_session=True,
            )
        self._requests = ours


def cancel(owner: Process) -> bool:
    """Ask a monitor to end its run; False when it is gone."""
    return signal_process(owner, signal.SIGTERM)


def hasten(owner: Process) -> bool:
    """Tell a monitor that somebody waits for its run; False when it is gone."""
    return go_on(owner) and signal_process(owner, signal.SIGUSR1)


def hold(owner: Process) -> bool:
    """Have a monitor hold its run back; False when it is gone."""
    return signal_process(owner, signal.SIGTSTP)


def go_on(owner: Process) -> bool:
    """Have a monitor let its run go on; False when it is gone."""
    return signal_process(owner, signal.SIGCONT)


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


class Local:
    """The executor of one project on this machine; see `executors.Executor` for what each call promises."""

    def __init__(self, folder: str) -> None:
        """Take the project's state directory."""
        self._attempts, self._journal = os.path.join(folder, "attempts"), folder
        self.fsync: Fsync = "exits"
        """What monitors sync of the log."""
        self._forker = Forker()

    def folder(self, attempt: AttemptId) -> str:
        return os.path.join(self._attempts, attempt)

    def create(self, attempt: AttemptId) -> None:
        bundle.create(self._attempts, attempt)

    def spawn(self, attempt: AttemptId, spec: Mapping[str, bytes], place: Place | None = None) -> Owner:
        own = {
            "dir": os.fsencode(self.folder(attempt)),
            "journal": os.fsencode(self._journal),
            "fsync": self.fsync.encode(),
            "attempt": attempt.encode(),
            "lease": os.fsencode(os.path.join(self._journal, "supervisor.lock")),
            "env": b"\0".join(filter(None, [spec["env"], kin.MARK + attempt.encode()])),
        }
        return self._forker.spawn({**spec, **own}, place.fileno() if place is not None else -1)

    def forbid(self, attempt: AttemptId) -> None:
        bundle.forbid(self.folder(attempt))

    def signer(self, attempt: AttemptId) -> Process | None:
        return signer(os.path.join(self.folder(attempt), "lock"))

    def cancel(self, monitor: Process) -> bool:
        return cancel(monitor)

    def hasten(self, monitor: Process) -> bool:
        return hasten(monitor)

    def hold(self, monitor: Process) -> bool:
        return hold(monitor)

    def go_on(self, monitor: Process) -> bool:
        return go_on(monitor)

    def owned(self, attempt: AttemptId) -> bool:
        return is_locked(os.path.join(self.folder(attempt), "lock"))

    def give_up(self, attempt: AttemptId) -> bool:
        folder = self.folder(attempt)
        if not os.path.isdir(folder):
            return True  # without its directory it cannot begin
        try:
            lock = Lock(os.path.join(folder, "lock"))
        except OSError:
            return True  # neither can its monitor open it
        try:
            if not lock.try_acquire():
                return False
            if not os.path.lexists(os.path.join(folder, "exit")):
                atomic_write(os.path.join(folder, "exit"), NEVER_RAN)
        except OSError:
            pass  # a full disk: then a late monitor would not get its files either
        finally:
            lock.close()
        return True

    def exit_of(self, attempt: AttemptId) -> bundle.Exit | None:
        try:
            return bundle.read_exit(self.folder(attempt))
        except OSError:
            return None  # a directory or a link where the exit should be: damage, and never an exit

    def seal(self, attempt: AttemptId) -> bundle.Seal | None:
        return bundle.seal(self.folder(attempt))

    def still(self, attempt: AttemptId, seal: bundle.Seal) -> bundle.Seal | None:
        return bundle.still(self.folder(attempt), seal)

    def outlived(self, attempt: AttemptId) -> int:
        if cgroup.is_over(self.folder(attempt), attempt):
            return 0
        owner = self.signer(attempt)
        return sum(1 for _ in kin.carrying(attempt, since=owner.start if owner is not None and owner.boot == boot_id() else "0"))

    def last_line(self, attempt: AttemptId) -> str:
        text = self._end_of(attempt, "out", LAST_BYTES)
        return next((line for line in reversed(text.splitlines()) if line.strip()), "")

    def tail(self, attempt: AttemptId, most_bytes: int) -> str:
        return "\n".join(filter(None, (self._end_of(attempt, name, most_bytes) for name in ("out", "err"))))

    def _end_of(self, attempt: AttemptId, name: str, most_bytes: int) -> str:
        try:
            with open(os.path.join(self.folder(attempt), name), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
                return file.read(most_bytes).decode("utf-8", "replace")
        except OSError:
            return ""

    def printed(self, attempt: AttemptId, most_bytes: int) -> tuple[bytes, bytes] | None:
        return bundle.printed(self.folder(attempt), most_bytes)

    def end_orphans(self, attempt: AttemptId) -> None:
        end_orphans(attempt, self.folder(attempt))

    def prune(self, keep: Collection[AttemptId], limit_bytes: int, most: int) -> bool:
        return bool(bundle.prune(self._attempts, keep, limit_bytes, most))
