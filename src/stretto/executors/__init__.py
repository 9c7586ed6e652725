"""Where monitors run: the calls every place has to answer. One place so far, `local`, this machine; the simulation is another.

An executor keeps what belongs to an attempt under its id and decides nothing. Nobody is signalled on less than pid, start time and boot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from stretto.bundle import Exit, Seal
from stretto.model import AttemptId
from stretto.system import Process


class Owner(Protocol):
    """The ear at one monitor."""

    def lines(self) -> list[str] | None:
        """Return what it has said since the last look (`started PID START`, `exited`), None when it is gone."""

    def close(self) -> None: ...


class Place(Protocol):
    """One of the machine's places for ahead runs and requested jobs: held until it is closed and no monitor holds it any more."""

    def promise(self, memory_bytes: int, monitor_pid: int) -> None:
        """Say to the supervisors of other projects what its holder may need.

        Raises:
            OSError: it could not be written.
        """

    def fileno(self) -> int:
        """Return the descriptor of its lock."""

    def close(self) -> None:
        """Let go of it; a monitor that was given it holds it until its own end."""


class Executor(Protocol):
    """Starts monitors, ends them, and keeps what they leave."""

    def folder(self, attempt: AttemptId) -> str:
        """Return where what an attempt leaves is found."""

    def create(self, attempt: AttemptId) -> None:
        """Make the directory of a new attempt.

        Raises:
            OSError, UserError: it could not be made.
        """

    def spawn(self, attempt: AttemptId, spec: Mapping[str, bytes], place: Place | None = None) -> Owner:
        """Start the monitor of an attempt that has its directory.

        Args:
            spec: argv and env (NUL-joined), exe, cwd, umask (octal), streams, wall_s, limit_bytes (of output), memory_bytes, tasks.
            place: held by the monitor for its life, whatever becomes of us.

        Raises:
            OSError: no process could be started.
        """

    def forbid(self, attempt: AttemptId) -> None:
        """Leave word that the run is not wanted: a monitor that only begins now runs nothing.

        Raises:
            OSError: the word could not be left.
        """

    def signer(self, attempt: AttemptId) -> Process | None:
        """Return the monitor that signed the attempt's lock, None when none did; whether it lives is another question."""

    def cancel(self, monitor: Process) -> bool:
        """Ask a monitor to end its run; False when it is gone."""

    def hasten(self, monitor: Process) -> bool:
        """Tell a monitor that somebody waits for its run, which goes on if it was held; False when it is gone."""

    def hold(self, monitor: Process) -> bool:
        """Have a monitor hold its run back: it costs nobody the processor; False when it is gone."""

    def go_on(self, monitor: Process) -> bool:
        """Have a monitor let its run go on; False when it is gone."""

    def owned(self, attempt: AttemptId) -> bool:
        """Say whether somebody holds the attempt's lock."""

    def give_up(self, attempt: AttemptId) -> bool:
        """Leave an exit for a monitor that has not come yet; False when it came while we looked."""

    def exit_of(self, attempt: AttemptId) -> Exit | None:
        """Return how the run ended as its monitor recorded it, None when it did not."""

    def seal(self, attempt: AttemptId) -> Seal | None:
        """Read what an ended run printed and how it says it ended; None when that is not whole."""

    def still(self, attempt: AttemptId, seal: Seal) -> Seal | None:
        """Return the seal of a run whose files are what they were, None when they are not."""

    def outlived(self, attempt: AttemptId) -> int:
        """Count the living processes that carry the mark of a run that has ended; none should."""

    def last_line(self, attempt: AttemptId) -> str:
        """Return the last line it printed that is not blank; "" when there is none."""

    def tail(self, attempt: AttemptId, most_bytes: int) -> str:
        """Return the end of what it printed so far, the second stream behind the first, at most so much of each; "" without any."""

    def printed(self, attempt: AttemptId, most_bytes: int) -> tuple[bytes, bytes] | None:
        """Return the two streams of an ended run (the second empty when they were one); None when they are not whole, or longer."""

    def end_orphans(self, attempt: AttemptId) -> None:
        """End what a killed monitor left: all that carries the attempt's mark."""

    def prune(self, keep: Collection[AttemptId], limit_bytes: int, most: int) -> bool:
        """Remove some of the oldest ended attempts beyond both limits, but none of `keep`; say whether to go on another time."""
