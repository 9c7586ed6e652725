"""The machine under us: clocks, locks, atomic files, process identity, private directories.

Standard library only and light, because every monitor carries it. Promises:
- a lock file is never unlinked (an unlinked one admits a second holder) and its descriptor never reaches a child (close-on-exec);
- `atomic_write` leaves the old bytes or the new ones, never a mixture, mode 0600;
- nothing is signalled on a bare pid: `Process` is pid, start time and boot id, and `signal_process` checks all three first;
- a directory of ours is 0700 and owned by this user, or it is refused.
"""

from __future__ import annotations

import fcntl
import os
import signal as _signal
import stat
import sys
import time
from typing import NamedTuple

from stretto.errors import UnavailableError, UserError

LINUX = sys.platform.startswith("linux")
PID_MOST = 1 << 22
"""The largest pid Linux gives (PID_MAX_LIMIT), other systems give smaller ones; a record may hold any number."""
READ_BYTES = 1 << 14
YIELDS = 20
"""So often a held lock is tried again at once before we sleep."""


def wall_s() -> float:
    return time.time()


def mono_s() -> float:
    """Seconds that go on through a sleep of the machine where the system has such a clock; all processes of one boot share it."""
    if LINUX:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


_boot = ""


def boot_id() -> str:
    """Return a text that differs after every reboot."""
    global _boot
    if not _boot:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                _boot = file.read().strip()
        except OSError:
            _boot = f"since-{int(time.time() - time.monotonic()) // 10}"
    return _boot


class Process(NamedTuple):
    """One process for ever, not whoever has that pid now."""

    pid: int
    start: str
    boot: str


def read_file(path: str) -> bytes:
    """Return what is in a small file, such as the kernel's own; `open` would ask five more things of each.

    Raises:
        OSError: it could not be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, READ_BYTES)
        while more := os.read(descriptor, READ_BYTES):
            data += more
        return data
    finally:
        os.close(descriptor)


def peek(path: str) -> bytes:
    """Return what is in a small file, b"" when it cannot be read: of a process that ended, of a kernel that has no such file."""
    try:
        return read_file(path)
    except OSError:
        return b""


def identify(pid: int) -> Process | None:
    """Return the identity of a living process, None when there is none (a zombie counts as none)."""
    if pid <= 1:
        return None
    if LINUX:
        try:
            text = read_file(f"/proc/{pid}/stat")
        except OSError:
            return None
        fields = text[text.rindex(b")") + 2 :].split()
        if fields[0] in (b"Z", b"X"):
            return None
        return Process(pid, fields[19].decode(), boot_id())
    import psutil  # only where /proc is missing; keeps the monitor light on Linux

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Process(pid, str(process.create_time()), boot_id())
    except psutil.Error:
        return None


def lives(process: Process) -> bool:
    """Say whether exactly this process still runs."""
    return identify(process.pid) == process


def signal_process(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone. Never touches pid 0, 1, a group, or ourselves.

    Where the system has pidfds the check and the signal cannot be parted by a reuse of the pid.
    """
    if not 1 < process.pid <= PID_MOST or process.pid == os.getpid():
        return False
    try:
        if LINUX:
            descriptor = os.pidfd_open(process.pid)
            try:
                if identify(process.pid) != process:
                    return False
                _signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        elif lives(process):
            os.kill(process.pid, number)
        else:
            return False
    except ProcessLookupError:
        return False
    return True


def private_directory(path: str) -> str:
    """Create `path` (0700, parents too) or check the one that is there; return it.

    Raises:
        UserError: it belongs to someone else, is a symbolic link, or others may enter it and that cannot be mended.
    """
    for missing in reversed(missing_above(path)):  # one by one: makedirs gives its mode to the last one only
        try:
            os.mkdir(missing, 0o700)
        except FileExistsError:
            pass
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"cannot use directory {path}: it is a link or belongs to someone else; remove it or set STRETTO_STATE_DIR")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def missing_above(path: str) -> list[str]:
    """Return the folders above `path` that are not there, the nearest first."""
    missing = []
    while (path := os.path.dirname(path)) and not os.path.isdir(path):
        missing.append(path)
    return missing


def open_private(path: str, flags: int) -> int:
    """Open a file of ours: created 0600, never through a symbolic link, never inherited."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a short write raises nothing by itself, so it has to be looked at.

    Raises:
        OSError: the write failed, or nothing could be written.
    """
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        view = view[written:]


def build() -> str:
    """Return a digest of this package's code as it lies on the disk, "" where it cannot be read: between releases versions are alike."""
    import hashlib  # for a supervisor and the command line only

    top, digest = os.path.dirname(__file__), hashlib.blake2b(digest_size=8)
    try:
        for folder, below, files in os.walk(top):
            below.sort()
            for name in sorted(name for name in files if name.endswith(".py")):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    text = file.read()
                digest.update(b"%s %d %s" % (os.fsencode(os.path.relpath(path, top)), len(text), text))
    except OSError:
        return ""
    return digest.hexdigest()


def atomic_write(path: str, data: bytes, *, durable: bool = False) -> None:
    """Replace `path` by `data`: written aside, then renamed; with `durable` also synced, file and directory.

    Raises:
        OSError: it could not be written; the old file stands.
    """
    aside = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    descriptor = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    except OSError:
        os.close(descriptor)
        os.unlink(aside)
        raise
    os.close(descriptor)
    os.rename(aside, path)
    if durable:
        sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Bring the names in a directory to the disk.

    Raises:
        OSError: it could not be done, and must not be tried again into success.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lock:
    """An advisory lock held by a process for as long as this object is open: when the process dies, the kernel lets go."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        self._file: tuple[int, int] | None = None
        """Device and inode of what is open; asked for once."""

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def acquire(self, limit_s: float) -> None:
        """Take the lock, waiting at most `limit_s`.

        Raises:
            UnavailableError: somebody still held it at the end.
        """
        for _ in range(YIELDS):  # most are held for one write: whoever holds it only has to be given the processor
            if self.try_acquire():
                return
            os.sched_yield()
        deadline = time.monotonic() + limit_s
        pause_s = 0.0001
        while not self.try_acquire():
            if time.monotonic() > deadline:
                raise UnavailableError(f"cannot lock {self.path}: still held after {limit_s} s; see who holds it with `stretto doctor`")
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.002)

    def release(self) -> None:
        """Let go and keep the file open; a copy of the descriptor in a forked child keeps nothing."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def stands(self) -> bool:
        """Say whether the lock's name still leads to the file we hold; else its folder was removed, and a new one may have a new holder."""
        try:
            named = os.lstat(self.path)
            if self._file is None:
                held = os.fstat(self._descriptor)
                self._file = (held.st_dev, held.st_ino)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == self._file

    def note(self, text: bytes) -> None:
        """Write a short text into the lock's file, over the beginning of the one before; the caller pads it.

        Nothing is cut off: a file that is made empty and written again is brought to the disk at once by some file systems.

        Raises:
            OSError: the file could not be written; the lock is held all the same.
        """
        os.pwrite(self._descriptor, text, 0)

    def sign(self, holder: Process) -> None:
        """Write into the lock's file who holds it, for whoever has to end the holder and never heard of it.

        Raises:
            OSError: the file could not be written; the lock is held all the same.
        """
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{holder.pid} {holder.start} {holder.boot}\n".encode(), 0)

    def fileno(self) -> int:
        """Return the descriptor: a process that is handed it holds the lock, too, until it has closed it or ended."""
        return self._descriptor

    def close(self) -> None:
        """Let go (closing is releasing, unless another process was handed the descriptor)."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_locked(path: str) -> bool:
    """Say whether some process holds the lock at `path`; a missing file is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def memory_bytes() -> int:
    """Return the memory that this process may share with the rest of the machine: what is built in, or what a control group grants."""
    granted = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):  # of a container: its own root
        try:
            with open(path, "rb") as file:
                word = file.read().strip()
        except OSError:
            continue
        if word.isdigit():
            granted = min(granted, int(word))
    return granted


def signer(path: str) -> Process | None:
    """Return who wrote its name into the lock's file, None when nobody did or it does not read; whether it lives is another question."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        words = os.read(descriptor, 200).decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    parts = words.split()
    if not words.endswith("\n") or len(parts) != 3 or not parts[0].isdecimal() or len(parts[0]) > 9:
        return None
    return Process(int(parts[0]), parts[1], parts[2])


def home() -> str:
    """Return this user's home folder, "" when nothing says where it is (a number without an entry in the user database, and no HOME)."""
    found = os.path.expanduser("~")
    return found if os.path.isabs(found) else ""


def state_base() -> str:
    """Return this user's state directory: `STRETTO_STATE_DIR`, else the platform's place for state.

    Raises:
        UserError: nothing says where that is.
    """
    chosen = os.environ.get("STRETTO_STATE_DIR")
    if chosen:
        return os.path.abspath(chosen)
    import platformdirs  # not needed by the monitor, which is told its paths

    try:
        found = platformdirs.user_state_dir("stretto", appauthor=False)
    except RuntimeError:  # what it does about a home that is nowhere differs between its versions
        found = ""
    if not os.path.isabs(found):
        raise UserError(
            f"cannot tell where your home folder is: HOME names none in full, and user {os.getuid()} is not in the user database; "
            "set HOME to a folder that you may write, or STRETTO_STATE_DIR"
        )
    return found
