"""The one door between the engine and everything outside it: clock, log, tree, machine, and where monitors run.

`machine.Machine` is the world as it is; `testing.simulation` has another one, in which every fault can happen and nothing is real. The
engine asks nothing else of what is outside, so what holds in the one has only these calls to fail by in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from stretto.background import Processes
from stretto.executors import Executor, Owner, Place
from stretto.fold import Job, State
from stretto.heaps import Moment
from stretto.model import Change, Invocation, JobKey, Mode, Record, SessionId
from stretto.reach import Reach
from stretto.rules import Rules, Settings
from stretto.system import Process
from stretto.tree import Scan


class Allowed(Record, frozen=True, kw_only=True):
    """What the user allows in this project, as last read."""

    mode: Mode
    rules: Rules
    settings: Settings = Settings()
    """The user's own, for all projects."""
    void: str = ""
    """Why nothing is done: the grant does not hold (`stretto.toml` changed), or the user paused it; "" when something is."""
    until_mono_s: float = float("inf")
    """When that has to be looked at anew."""

    @property
    def acts(self) -> bool:
        """Whether checks are joined and run ahead, as far as the mode goes."""
        return self.mode in ("on", "audit")


class Tree(Protocol):
    """Generations of a project; `tree.Scanner` has the promises."""

    id: str
    generation: int

    def scan(self) -> Scan: ...

    def changes(self, after: int, until: int) -> tuple[Change, ...]: ...

    def classify(self, changes: Iterable[Change]) -> tuple[Change, ...]: ...

    def ignored_folders(self, paths: Iterable[str]) -> Mapping[str, str]: ...

    def tracks(self, paths: Iterable[str]) -> bool: ...

    def covers(self, path: bytes | str) -> bool: ...

    def heaps_moved(self, since: Moment) -> str: ...

    def drop_byte_code(self, paths: Iterable[str], until_ns: int, prefixes: Iterable[str] = ()) -> int: ...

    def spares(self, argv: Sequence[bytes], cwd: bytes) -> bool: ...


class World(Protocol):
    """All that the engine asks of what is outside it."""

    root: str
    """Real path of the project."""
    settings: tuple[str, ...]
    """Files in which the host's permission rules stand."""
    salt: bytes
    """Random bytes of the project: what is hashed with them cannot be guessed from the log."""
    tree: Tree
    executor: Executor
    umask: int

    # --- clock and identity

    def wall_s(self) -> float: ...

    def mono_s(self) -> float:
        """Seconds of this boot; a sleep of the machine counts."""

    def awake_s(self) -> float:
        """The same without the time that the machine slept: commands do not go on then."""

    def boot_id(self) -> str: ...

    def new_id(self) -> str:
        """Return 32 hex digits that nobody has had and nobody can guess."""

    def me(self) -> Process: ...

    def identify(self, pid: int) -> Process | None:
        """Return the identity of a living process, None when there is none."""

    def lives(self, process: Process) -> bool: ...

    def arguments(self, process: Process) -> tuple[str, ...] | None:
        """Return the command line of a living process, None when it cannot be read."""

    def ticks(self) -> int:
        """Return the moment as processes are dated."""

    def shells(self, session: SessionId) -> list[int]:
        """Return the shells that have said since the last call that they begin to run something for a session."""

    def survivors(
        self, sessions: Collection[SessionId], claude: Process | None, since_ticks: int, shells: Collection[int], *, orphans: bool
    ) -> Processes | None:
        """Return what calls of sessions have started since a moment and what lives; None where that cannot be seen.

        Args:
            claude: the host's process, None where there are several or it is not known.
            since_ticks: 0 for all that lives and says in its environment whose it is.
            shells: those of the calls.
            orphans: look also for what has lost its parents, which costs more.
        """

    def processes(self, pids: Collection[int]) -> Processes:
        """Return those of these processes that live, and all their descendants, as they are now."""

    # --- the log

    def load(self) -> tuple[State, int]:
        """Return the fold of the log and the offset of the first line that is not in it yet."""

    def append(self, record: bytes, *, lasting: bool) -> int:
        """Write one record; return the offset at which it begins.

        Raises:
            OSError, UnavailableError: nothing is acknowledged.
        """

    def lines(self, offset: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the whole lines from an offset on: where it begins, where the next one begins, its bytes."""

    def tend(self, state: State, offset: int) -> None:
        """Do for the log what is due: a snapshot, a rotation.

        Raises:
            OSError, UnavailableError: it could not be done; the log is as good as before.
        """

    # --- the project

    def standing(self) -> Allowed | None:
        """Return what is allowed now, None when the grant is gone."""

    def gone(self) -> str:
        """Say why nothing is left to serve (state directory, project or grant gone), "" when there is."""

    def real(self, path: str) -> str:
        """Return a path with its links resolved."""

    def changed_at(self, paths: Iterable[str]) -> float:
        """Return when one of these files last changed in any way, seconds since 1970; 0 when none is there."""

    def places(self, paths: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return those of these absolute paths at which there is anything."""

    def texts(self, name: str, cwd: bytes) -> tuple[str, ...]:
        """Return the files of that name in a directory of the project and in those above it, up to the root, nearest first."""

    def recall(self, job: Job, like: Invocation) -> tuple[JobKey, Invocation] | None:
        """Make the call of a command of the log as a shim would see it now, with everything else as in another call.

        Returns:
            its key and the call: only when the key is the command's own is it the same call. None when no such program is found, or
            when it would be left alone if it was asked for.
        """

    def is_tool_of(self, job: JobKey, invocation: Invocation) -> bool:
        """Say whether what a call would run now is the tool that its key was made of."""

    def head_log(self) -> tuple[str, ...]:
        """Return the last moves of HEAD as git logs them, oldest first; () where it logs none."""

    def hooked(self) -> bool:
        """Say whether the host's settings name our hooks at this moment."""

    def forget(self, session: SessionId) -> None:
        """Remove what was written for a session that is over."""

    def complain(self, text: str) -> None:
        """Tell whoever looks after us; nothing hangs on it."""

    # --- the machine

    def listen(self, owner: Owner, act: Callable[[], None]) -> None:
        """Call `act` whenever a monitor has said something or is gone."""

    def unlisten(self, owner: Owner) -> None: ...

    def take_place(self, *, ahead: bool) -> Place | None:
        """Take one of the machine's places, None when all are taken: several projects share them.

        Args:
            ahead: for a run ahead: None, too, when another project has waited for longer; whoever is refused waits from now on.
        """

    def stand_down(self) -> None:
        """Wait for no place any more: nothing is to run ahead at this moment."""

    def promised_bytes(self) -> int:
        """Return what the requested jobs of all projects may still come to need, beyond what they use now."""

    def cores(self) -> int: ...

    def free_bytes(self) -> int: ...

    def total_bytes(self) -> int: ...

    def granted_bytes(self) -> int:
        """Return the memory that is ours together with the rest of the machine."""

    def load_per_core(self) -> float: ...

    def busy_percent(self) -> float:
        """Return how much of the time of all processors was used lately, by whomever."""

    def on_battery(self) -> bool:
        """Say whether the machine runs on its battery; what is not known is no."""

    def beside(self, pid: int, claude: Process) -> str:
        """Say what a process's own Bash call has started beside it that it may need, "" when nothing was seen."""

    def reach(self, pid: int, ports: frozenset[int]) -> Reach:
        """Say what a process and its descendants are connected to at this moment.

        Args:
            ports: what they were seen to listen on before.
        """
