"""Owns one ahead run from its start to its recorded end, whatever happens to everything above it.

The supervisor keeps one small process of this module (`python -I -S`, standard library only, one thread, no lock, no file), which forks
an owner for each request: that takes 3 ms where a fresh interpreter takes 20. A request is one byte on its standard input, a socket,
with two descriptors or three: where the spec is read from (one rpc frame: an environment is never on disk and never in an argument), a pipe
that tells the supervisor `started PID START` and `exited`, and whose end-of-file says that the owner is gone, and the lock of the machine's
place that the run takes, which the owner keeps open for its life. It ends when the supervisor does. Promises of an owner:
- it has a session of its own, outlives the supervisor, and is no descendant of a hook (the supervisor is none either);
- of a run that only a supervisor can make use of it is told a lease: when no supervisor has lived for that long, the run is cancelled;
- it holds the lock of the attempt's directory for its life: that, and nothing else, is how others know that it lives;
- the worker's standard input is empty, its output goes straight to the bundle's files (they survive our death), no other descriptor
  reaches it, and on Linux it dies with us;
- however the run ends, its whole tree is gone first (we are its subreaper, and where the system lets us it has a control group), then
  `exit` is written, then the log, then the pipe;
- limits are watched: a command sees what it would see without us, and one that goes beyond is ended and recorded as such. The one that the
  kernel keeps, the number of tasks in the control group, says that it was met, and then the run is ended all the same;
- what only we know would be lost with us, so the tree we saw last is on disk for whoever has to end it after our death.

SIGTERM, or a file `cancel` in the attempt's directory, cancels the run. SIGTSTP holds it back, SIGCONT lets it go on: of these two the
kernel keeps the last one said. SIGUSR1, behind a SIGCONT, says that somebody waits for it: full speed from then on. The time for which it
was held counts for none of its limits but the lease, so a hold that nobody is left to lift ends with the run.

It is one idea in one file: what an owner starts it watches, ends and records, and it carries as little as it can.

Source of the limits and priorities: decision 0007; of the control group and of what is remembered: decision 0009.
"""

from __future__ import annotations

import _socket
import errno
import gc
import os
import resource
import select
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from stretto import cgroup, kin
from stretto.journal import Journal
from stretto.rpc import Message, Reader
from stretto.system import (
    LINUX,
    Lock,
    Process,
    atomic_write,
    boot_id,
    identify,
    is_locked,
    mono_s,
    open_private,
    read_file,
    wall_s,
    write_all,
)

if TYPE_CHECKING:
    from stretto.model import Fsync

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""
LOOK_S = 0.02
"""How often sizes, limits and the order of two streams are looked at while the worker prints; its end is seen at once."""
CLOSE_LOOK_S = 0.002
"""The same when more than half of the output allowed is there."""
QUIET_LOOK_S = 0.1
"""The same while it prints nothing: output and signals wake us at once (on Linux); it bounds how late too many tasks are seen."""
TREE_LOOK_S = 0.25
"""How often the tree is walked: its memory and its tasks."""
LEASE_LOOKS = 8
"""So often in the time of its lease an owner looks whether a supervisor lives."""
COPY_BYTES = 1 << 18
FRAME_MOST_BYTES = (1 << 32) - 1
"""What one entry of the index can say."""
INT_BYTES = 4
IN_MODIFY = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
"""System call numbers; on another machine the I/O class stays as it is."""
CLOSE_RANGE, CLOSE_RANGE_CLOEXEC, INT_MOST = 436, 4, (1 << 31) - 1
"""Number of a system call (the same on every machine), its flag (Linux 5.11) and the largest descriptor there could be."""
IOPRIO_WHO_PROCESS, IOPRIO_NONE, IOPRIO_IDLE = 1, 0, 3 << 13
DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
"""An owner hears none of these: they are meant for a terminal's foreground."""
HOLDING = (signal.SIGTSTP, signal.SIGCONT)
"""What holds a run back and lets it go on. An owner has them blocked and takes them one look at a time: the kernel then keeps the one that
came last and forgets the other, where handlers would run in the order of their numbers."""
HELD_LOOKS = 4
"""So often it is looked at what a run holds that stands still."""
HASTE_LOOKS = 4
"""So many walks in a row set the I/O class back: what was just being forked in one of them is met by the next. As many let what was stopped
go on once more: what a debugger looks at may take our SIGSTOP only after our SIGCONT."""


def main() -> None:
    """Fork an owner for every request, until the supervisor is gone."""
    requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, 0)
    for number in range(1, signal.NSIG):
        if number in DEAF_TO or signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _unheard)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for the owners
    boot_id()  # read once for all of them
    _libc()  # and so is what it loads
    groups = cgroup.place()
    gc.freeze()  # what is here now is shared with every owner, and stays so as long as nobody writes to it
    while True:
        byte, rights, _, _ = requests.recvmsg(1, _socket.CMSG_LEN(3 * INT_BYTES), getattr(_socket, "MSG_CMSG_CLOEXEC", 0))
        if not byte:
            return
        numbers = rights[0][2] if rights else b""
        given = [int.from_bytes(numbers[at : at + INT_BYTES], sys.byteorder) for at in range(0, len(numbers), INT_BYTES)]
        try:
            child = os.fork()
        except OSError:
            child = -1  # no more processes: the supervisor sees both pipes end
        if child == 0:
            try:
                _begin(groups, *given)
            finally:
                os._exit(0)
        for descriptor in given:
            os.close(descriptor)


def _unheard(number: int, frame: object) -> None:
    """Do nothing at a signal. It is caught and not ignored, because the exec of a worker sets back by itself what is caught."""


def _begin(groups: str, spec: int, supervisor: int, *place: int) -> None:
    """Become an owner: nothing of the process that was forked stays. The place is let go by our end and by nothing else."""
    for descriptor in place:
        os.set_inheritable(descriptor, False)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(supervisor, 1)
    message = _read_spec(spec)
    for descriptor in (null, supervisor, spec):
        os.close(descriptor)
    if message is not None:
        _own(message, groups)


def _own(spec: Message, groups: str) -> None:
    folder = os.fsdecode(spec["dir"])
    lock = Lock(os.path.join(folder, "lock"))
    if not lock.try_acquire():
        return  # somebody owns this attempt already
    if os.path.lexists(os.path.join(folder, "exit")):
        return  # given up before we came: a later supervisor found nobody at work here, and may have started it anew
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    watch = _Watch(spec, folder)
    signal.signal(signal.SIGTERM, watch.cancel)
    signal.signal(signal.SIGUSR1, watch.hasten)
    signal.pthread_sigmask(signal.SIG_BLOCK, HOLDING)
    me = identify(os.getpid())
    assert me is not None
    try:
        lock.sign(me)  # whoever takes this run over may never have read our line below
    except OSError:
        pass  # a full disk: the line below and the log say it, too
    _tell(f"started {me.pid} {me.start}\n")
    began_s = mono_s()
    if os.path.exists(os.path.join(folder, "cancel")):
        _record(spec, folder, ("cancelled", signal.SIGTERM), began_s)  # it was stopped before we came
        return
    group = cgroup.make(groups, folder, spec["attempt"].decode())
    if group is not None:
        group.limit_tasks(int(spec["tasks"]))
    try:
        worker, group = _spawn(spec, folder, group)
    except OSError as error:
        if group is not None:
            group.remove()
        _record(spec, folder, ("unstarted", error.errno or errno.EINVAL), began_s)
        return
    verdict = watch.until_end(worker, group)
    if group is not None:
        group.remove()
    _record(spec, folder, verdict, began_s, watch.left, watch.cpu_s, watch.held_s)


def _spawn(spec: Message, folder: str, group: cgroup.Group | None) -> tuple[int, cgroup.Group | None]:
    """Start the worker, and return the control group it is in: none when the system did not let us put it there.

    Raises:
        OSError: there is no process, or the command's file could not be executed in it.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
    out = open_private(os.path.join(folder, "out"), flags)
    err = open_private(os.path.join(folder, "err"), flags) if spec["streams"] == b"split" else out
    owner = os.getpid()
    env = dict(entry.split(b"=", 1) for entry in spec["env"].split(b"\0") if b"=" in entry)
    hears, tells = os.pipe()  # closed by the exec; before that an error number comes through it
    pid, group = _fork(group, folder)
    if pid == 0:
        try:
            _become(spec, env, owner, out, err)
        except (OSError, ValueError) as error:
            os.write(tells, str(getattr(error, "errno", None) or errno.EINVAL).encode())
        finally:
            os._exit(127)
    for descriptor in {out, err, tells}:
        os.close(descriptor)
    failed = os.read(hears, 100)
    os.close(hears)
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), os.strerror(int(failed)))
    return pid, group


def _fork(group: cgroup.Group | None, folder: str) -> tuple[int, cgroup.Group | None]:
    """Fork into the group, or where the system refuses that, without it."""
    if group is not None:
        try:
            return group.fork(), group
        except OSError:
            group.remove()  # no clone3, or no right to it: a fork that fails for another reason fails below, too
            cgroup.forget(folder)
    return os.fork(), None


def _become(spec: Message, env: dict[bytes, bytes], owner: int, out: int, err: int) -> None:
    """Turn this fresh child into the command, with nothing of ours about it.

    It does as little as it can: each page of memory that it touches is copied first.
    """
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(127)  # the owner died before it could take us along
    if spec.get("idle") == b"1":
        _set_io_class(0, IOPRIO_IDLE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(int(spec["umask"], 8))
    os.chdir(spec["cwd"])
    os.dup2(out, 1)
    os.dup2(err, 2)
    _keep_from_exec()
    os.execve(spec["exe"], spec["argv"].split(b"\0"), env)


def _keep_from_exec() -> None:
    """See to it that no descriptor but the first three goes on; one that the exec closes has to stay until then."""
    libc, _ = _libc()
    if libc is not None and libc.syscall(CLOSE_RANGE, 3, INT_MOST, CLOSE_RANGE_CLOEXEC) == 0:
        return
    for name in os.listdir("/proc/self/fd" if LINUX else "/dev/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:
            continue  # the one the listing itself was read from


class _Watch:
    """Waits for the end of the worker, holds it to its limits, and ends its tree."""

    def __init__(self, spec: Message, folder: str) -> None:
        self._folder, self._streams = folder, ("out", "err") if spec["streams"] == b"split" else ("out",)
        self._order = _Order(folder) if spec["streams"] == b"split" else None
        self._pause_s, self._seen_bytes = 0.0, 0
        self._until_s = mono_s() + float(spec["wall_s"])
        self._limit_bytes, self._memory_bytes, self._tasks = (int(spec[name]) for name in ("limit_bytes", "memory_bytes", "tasks"))
        self._lease, self._lease_s = os.fsdecode(spec.get("lease", b"")), float(spec.get("lease_s", b"0"))
        self._served_s = self._asked_s = mono_s()
        self._cancelled = False
        self._haste = 0
        self._held_at_s: float | None = None
        """Since when it is held back, None while it is not."""
        self._stopped: list[Process] = []
        """What we stopped one by one, where no group could be held."""
        self._again = 0
        self._looks = 0
        """How many looks are left at what it holds while it stands still."""
        self._gives_way = spec.get("idle") == b"1"
        """It runs ahead, and nobody waits for it: who waits for a lock of its own comes first."""
        self.held_s = 0.0
        """For how long it was held back, all in all."""
        self._worker = 0
        self._group: cgroup.Group | None = None
        self._remembered: list[Process] = []
        self._status: int | None = None
        self._walked_s = 0.0
        self._machine_tasks = _machine_tasks()
        self._out_of_memory = _oom_kills()
        self.left = 0
        """Processes that were still running when the worker had ended; they are gone by now."""
        self.cpu_s = 0.0

    def cancel(self, number: int, frame: object) -> None:
        self._cancelled = True

    def hasten(self, number: int, frame: object) -> None:
        self._gives_way = False
        self._haste = HASTE_LOOKS
        self._walked_s = 0.0

    def _heed(self) -> None:
        """Hold the run back or let it go on, as was said last."""
        pending = signal.sigpending()
        for number in HOLDING:
            if number in pending:
                signal.sigwait([number])
                if number == signal.SIGTSTP:
                    self._hold()
                else:
                    self._let_go()

    def _hold(self) -> None:
        if self._held_at_s is None:
            self._held_at_s = mono_s()
            self._again = 0
            self._stopped = [] if self._group is not None and self._group.hold(True) else kin.stop(os.getpid())
            self._looks = HELD_LOOKS
            self._look_at_locks()

    def _look_at_locks(self) -> None:
        """End the run when it stands still with what the session may wait for: nobody would ever let that go.

        Looked at once it stands, since before it may take a lock at any moment, and then again: the kernel takes its time to stop a group.
        """
        if self._looks and self._gives_way:
            self._looks -= 1
            if kin.holds([each.process.pid for each in kin.below(os.getpid())]):
                self._cancelled = True

    def _let_go(self) -> None:
        if self._held_at_s is None:
            return
        passed_s = mono_s() - self._held_at_s
        self._held_at_s = None
        self.held_s += passed_s
        self._until_s += passed_s
        if self._group is not None:
            self._group.hold(False)
        kin.go_on(self._stopped)
        self._again, self._walked_s = HASTE_LOOKS if self._stopped else 0, 0.0

    def _go_once_more(self, tree: list[kin.Seen]) -> None:
        self._again -= 1
        ours = {each.process for each in tree if each.stopped}.intersection(self._stopped)
        kin.go_on(process for process in self._stopped if process in ours)

    def until_end(self, worker: int, group: cgroup.Group | None) -> tuple[str, int]:
        """Return how the run ended and the value that goes with it; its tree is gone then."""
        self._worker, self._group = worker, group
        alarm = _Alarm(worker, [os.path.join(self._folder, name) for name in self._streams])
        verdict: tuple[str, int] | None = None
        while verdict is None and not self._ended():
            quiet, pause_s = self._pause()
            if alarm.wait(pause_s, quiet):
                continue
            if self._order:
                self._order.look()
            verdict = self._beyond()
        self._let_go()  # who is stopped hears no SIGTERM
        by_us = verdict is not None
        if by_us or kin.children(os.getpid()) != [worker]:  # a worker that has ended has no children: they are ours by now
            if not by_us:
                self.left = sum(each.process.pid != worker for each in kin.below(os.getpid()))
            kin.end(
                lambda: kin.below(os.getpid()),
                grace_s=GRACE_S if verdict is None or verdict[0] in ("cancelled", "timeout") else 0.0,
                group=worker if self._status is None else 0,
                at_once=group.kill if group else lambda: None,
                hurry=lambda: self._printed() > self._limit_bytes,
                reap=self._reap_adopted,
            )
        status = self._wait()
        if self._order:
            self._order.look()
            self._order.close()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        if verdict is None and self._printed() > self._limit_bytes:
            verdict = ("oversize", 0)
        if verdict and verdict[0] == "oversize":
            _cut(self._folder, self._streams, self._limit_bytes)
        if verdict is not None:
            return verdict
        if group and group.refused_tasks():
            return "processes", 0
        kills = group.memory_kills() if group else None
        if kills is not None:
            if kills:
                return "memory", 0
            return _by_itself(status)
        killed = status in (signal.SIGKILL, 128 + signal.SIGKILL << 8)  # itself, or the command that a shell says was killed
        if killed and _oom_kills() > self._out_of_memory:
            return "memory", 0
        return _by_itself(status)

    def _pause(self) -> tuple[bool, float]:
        """Say whether nothing was printed since the last look, and how long to wait for the next one."""
        printed = self._printed()
        if printed == self._seen_bytes:
            quiet, self._pause_s = self._pause_s > 0, min(max(self._pause_s * 2, LOOK_S), QUIET_LOOK_S)
        else:
            quiet, self._seen_bytes = False, printed
            self._pause_s = CLOSE_LOOK_S if printed * 2 > self._limit_bytes else LOOK_S
        return quiet, self._pause_s

    def _beyond(self) -> tuple[str, int] | None:
        """Say why the run has to be ended now, if it has to."""
        self._heed()
        now_s = mono_s()
        if self._cancelled:
            return "cancelled", signal.SIGTERM
        if self._printed() > self._limit_bytes:
            return "oversize", 0
        if _machine_tasks() - self._machine_tasks > self._tasks:
            return self._too_many()
        if now_s - self._walked_s < TREE_LOOK_S:
            return None
        if now_s > self._until_s and self._held_at_s is None:
            return "timeout", 0
        if os.path.exists(os.path.join(self._folder, "cancel")):
            return "cancelled", signal.SIGTERM
        if self._held_at_s is not None:
            self._look_at_locks()
        if self._lease_s and self._lease_ran_out(now_s):
            return "cancelled", signal.SIGTERM
        self._walked_s = now_s
        self._reap_adopted()
        tree = list(kin.below(os.getpid()))
        if self._haste:
            self._haste -= 1
            _restore_io_class([each.process.pid for each in tree])
        if self._again and self._held_at_s is None:
            self._go_once_more(tree)
        self._remember(tree)
        if self._gives_way and kin.keeps_waiting({each.process.pid for each in tree}):
            return "cancelled", signal.SIGTERM
        if sum(each.tasks for each in tree) > self._tasks or (self._group and self._group.refused_tasks()):
            return "processes", 0
        return ("memory", 0) if kin.own_bytes(tree, self._memory_bytes) > self._memory_bytes else None

    def _lease_ran_out(self, now_s: float) -> bool:
        """Say whether no supervisor has held its lock for the time of the lease; a hand-over from one to the next takes seconds."""
        if now_s - self._asked_s < self._lease_s / LEASE_LOOKS:
            return False
        self._asked_s = now_s
        try:
            served = is_locked(self._lease)
        except OSError:
            served = False  # something else is in its place
        if served:
            self._served_s = now_s
        return now_s - self._served_s > self._lease_s

    def _remember(self, tree: list[kin.Seen]) -> None:
        """Leave the tree on disk for whoever has to end it when we are killed; a control group knows it better."""
        if self._group is None and (now := sorted(each.process for each in tree)) != self._remembered:
            self._remembered = now
            kin.remember(self._folder, now)

    def _too_many(self) -> tuple[str, int] | None:
        """Many tasks have appeared on the machine: stop our group, so that a fork bomb holds still, and count whether they are ours."""
        _signal_group(self._worker, signal.SIGSTOP)
        count = 0
        for each in kin.below(os.getpid()):
            count += each.tasks
            if count > self._tasks:
                return "processes", 0
        if self._held_at_s is None:
            _signal_group(self._worker, signal.SIGCONT)
        self._machine_tasks = _machine_tasks()
        return None

    def _printed(self) -> int:
        return sum(_size(self._folder, name) for name in self._streams)

    def _ended(self) -> bool:
        """Say whether the worker is over; it is not waited for yet, so its number stays its own (macOS has to wait to look)."""
        if not hasattr(os, "waitid"):
            pid, status = os.waitpid(self._worker, os.WNOHANG)
            self._status = status if pid else None
            return pid != 0
        return os.waitid(os.P_PID, self._worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _wait(self) -> int:
        """Return the worker's wait status; one that not even SIGKILL has ended is left behind as killed."""
        if self._status is not None:
            return self._status
        pid, status = os.waitpid(self._worker, os.WNOHANG)
        return status if pid else int(signal.SIGKILL)

    def _reap_adopted(self) -> None:
        """Wait for what was handed to us, without taking the worker's own status away."""
        for pid in kin.children(os.getpid()):
            if pid != self._worker:
                os.waitpid(pid, os.WNOHANG)


def _by_itself(status: int) -> tuple[str, int]:
    return ("signal", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else ("code", os.WEXITSTATUS(status))


def _record(
    spec: Message, folder: str, verdict: tuple[str, int], began_s: float, left: int = 0, cpu_s: float = 0.0, held_s: float = 0.0
) -> None:
    how, value = verdict
    out, err = _size(folder, "out"), _size(folder, "err")
    atomic_write(os.path.join(folder, "exit"), f"{how} {int(value)} {out} {err}\n".encode())
    now_s = mono_s()
    # by hand, since `json` would be half of our start: every text in it is hex digits, a word of ours, or the kernel's uuid
    event = (
        f'{{"t":"attempt.exited","v":2,"ts":{wall_s()!r},"mono":{now_s!r},"boot":"{boot_id()}","by":"monitor:{os.getpid()}",'
        f'"attempt":"{spec["attempt"].decode()}","end":{{"how":"{how}","value":{int(value)}}},"out_bytes":{out},"err_bytes":{err},'
        f'"took_s":{round(max(0.0, now_s - began_s - held_s), 6)!r},"cpu_s":{round(cpu_s, 6)!r},"left":{left},'
        f'"held_s":{round(held_s, 6)!r}}}'
    )
    fsync = cast("Fsync", spec.get("fsync", b"exits").decode())
    Journal(os.fsdecode(spec["journal"]), fsync).append(event.encode(), lasting=True)
    _tell("exited\n")


def _cut(folder: str, streams: tuple[str, ...], limit_bytes: int) -> None:
    """Shorten the stored output to the limit, each stream that is cut with a last line that says so.

    In a new file under the old name: whoever copies from the old one must never take our words for the command's.
    """
    sizes = [_size(folder, name) for name in streams]
    for name, size in zip(streams, sizes, strict=True):
        keep = max(limit_bytes - (sum(sizes) - size), limit_bytes // len(streams))
        if size <= keep:
            continue
        path = os.path.join(folder, name)
        old = open_private(path, os.O_RDONLY)
        new = open_private(path + ".cut", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        left = keep
        while left and (data := os.read(old, min(COPY_BYTES, left))):
            write_all(new, data)
            left -= len(data)
        write_all(new, f"\n[stretto: cut here, it printed {size} bytes and {keep} are kept]\n".encode())
        os.close(new)
        os.close(old)
        os.rename(path + ".cut", path)


class _Alarm:
    """Wakes us at the end of the worker, at a signal to us, and when it prints after a silence; on other systems than Linux at a signal."""

    def __init__(self, worker: int, outputs: list[str]) -> None:
        self._outputs = outputs
        self._poller = select.poll()
        self._end = os.pidfd_open(worker) if LINUX else -1
        if LINUX:
            self._poller.register(self._end, select.POLLIN)
        self._growth = -2
        """Tells that an output grew; -1 where nothing does, -2 before the first silence: most runs have none."""

    def wait(self, limit_s: float, quiet: bool) -> bool:
        """Wait for at most so long; say whether the worker has ended.

        Args:
            quiet: it has not printed lately: its next output is to wake us. One that prints all the time would do nothing else.
        """
        if quiet and self._growth == -2:
            self._listen()
        if quiet and self._growth >= 0:
            self._poller.register(self._growth, select.POLLIN)
        ended = False
        for descriptor, _ in self._poller.poll(limit_s * 1000):
            if descriptor == self._end:
                ended = True
            else:
                os.read(descriptor, COPY_BYTES)
        if quiet and self._growth >= 0:
            self._poller.unregister(self._growth)
        return ended

    def _listen(self) -> None:
        hears, tells = os.pipe()
        os.set_blocking(tells, False)
        signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
        self._poller.register(hears, select.POLLIN)
        libc, _ = _libc()
        self._growth = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK) if libc is not None else -1
        for path in self._outputs:
            if self._growth >= 0:
                libc.inotify_add_watch(self._growth, os.fsencode(path), IN_MODIFY)


class _Order:
    """The index `frames` of a run whose streams are two files: which grew when, as fine as we look."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = {"out": 0, "err": 0}
        self._index = open_private(os.path.join(folder, "frames"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def look(self) -> None:
        for stream, name in ((b"\x01", "out"), (b"\x02", "err")):
            grown = _size(self._folder, name) - self._seen[name]
            while grown > 0:
                frame = min(grown, FRAME_MOST_BYTES)
                write_all(self._index, stream + frame.to_bytes(4, "big"))
                self._seen[name] += frame
                grown -= frame

    def close(self) -> None:
        os.close(self._index)


def _machine_tasks() -> int:
    """Return how many tasks the whole machine has: one short read, where a walk through a fork bomb would never come to its end."""
    try:
        return int(read_file("/proc/loadavg").split()[3].split(b"/")[1])
    except (OSError, IndexError, ValueError):
        return 0


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory since boot, in any control group; 0 where it does not count."""
    try:
        _, found, after = read_file("/proc/vmstat").partition(b"\noom_kill ")
    except OSError:
        return 0
    return int(after.split(None, 1)[0]) if found else 0


def _signal_group(leader: int, number: int) -> None:
    """Signal the worker's process group; the worker is our child and not waited for, so the number is its own."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in it, or all have become another user


def _set_io_class(task: int, value: int) -> None:
    """Set the I/O class of one task, 0 for ourselves; without a system call for it, it stays as it is."""
    libc, number = _libc()
    if libc is not None and number is not None:
        libc.syscall(number, IOPRIO_WHO_PROCESS, task, value)


def _restore_io_class(pids: list[int]) -> None:
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                _set_io_class(int(task), IOPRIO_NONE)
        except FileNotFoundError:
            continue  # it ended meanwhile


def _size(folder: str, name: str) -> int:
    try:
        return os.stat(os.path.join(folder, name)).st_size
    except FileNotFoundError:
        return 0


def _prctl(option: int, value: int) -> None:
    libc, _ = _libc()
    if libc is not None:
        libc.prctl(option, value, 0, 0, 0)


@cache
def _libc() -> tuple[Any, int | None]:
    """Return the C library and its number of the call that sets an I/O class; nothing of both on other systems than Linux."""
    if not LINUX:
        return None, None
    import ctypes

    return ctypes.CDLL(None), IOPRIO_SET.get(os.uname().machine)


def _tell(text: str) -> None:
    try:
        os.write(1, text.encode())
    except BrokenPipeError:
        pass  # the supervisor is gone; the log and the lock tell the next one


def _read_spec(descriptor: int) -> Message | None:
    """Return the spec, None when the supervisor ended before it was whole."""
    reader = Reader()
    while data := os.read(descriptor, 1 << 16):
        for message in reader.feed(data):
            return message
    return None
