"""Owns one ahead run from its start to its recorded end, whatever happens to everything above it.

Started by the supervisor as `python -I -S`, standard library only, about 10 MB. The spec arrives as one rpc frame on standard input
(an environment is never on disk and never in an argument); standard output is a pipe that tells the supervisor `started PID START`
and `exited`, and whose end-of-file says that we are gone. Promises:
- it is double-forked, in a session of its own, so neither a hook's time-out nor the supervisor's death reaches it;
- it holds the lock of the attempt's directory for its life: that, and nothing else, is how others know that it lives;
- the worker's standard input is empty, its output goes straight to the bundle's files (they survive our death), no other descriptor
  reaches it, and on Linux it dies with us;
- however the run ends, its whole tree is gone first (we are its subreaper), then `exit` is written, then the log, then the pipe.

SIGTERM cancels the run.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time

from stretto.journal import Journal
from stretto.rpc import Message, Reader
from stretto.system import LINUX, Lock, atomic_write, boot_id, identify, mono_s, open_private, wall_s, write_all

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""
LOOK_S = 0.02
"""How often sizes, limits and the order of two streams are looked at; the end of the worker is seen at once."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Read the spec, detach, run the worker to its end."""
    spec = _read_spec(0)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.chdir("/")
    try:
        _own(spec)
    finally:
        os._exit(0)


def _own(spec: Message) -> None:
    folder = os.fsdecode(spec["dir"])
    lock = Lock(os.path.join(folder, "lock"))
    if not lock.try_acquire():
        return  # somebody owns this attempt already
    if os.path.lexists(os.path.join(folder, "exit")):
        return  # given up before we came: a later supervisor found nobody at work here, and may have started it anew
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    cancelled: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: cancelled.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    me = identify(os.getpid())
    assert me is not None
    try:
        lock.sign(me)  # whoever takes this run over may never have read our line below
    except OSError:
        pass  # a full disk: the line below and the log say it, too
    _tell(f"started {me.pid} {me.start}\n")
    began_s = mono_s()
    try:
        worker = _spawn(spec, folder)
    except OSError as error:
        _record(spec, folder, "lost", error.errno or 0, began_s, 0)
        return
    how, value, cpu_s, left = _watch(worker, spec, folder, cancelled, began_s)
    _record(spec, folder, how, value, began_s, left, cpu_s)


def _spawn(spec: Message, folder: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
    out = open_private(os.path.join(folder, "out"), flags)
    err = open_private(os.path.join(folder, "err"), flags) if spec["streams"] == b"split" else out
    owner = os.getpid()
    pid = os.fork()
    if pid:
        os.close(out)
        if err != out:
            os.close(err)
        return pid
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:
            os._exit(137)  # it was killed before we could ask to die with it
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.umask(int(spec["umask"], 8))
        os.chdir(spec["cwd"])
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, 256)
        env = dict(entry.split(b"=", 1) for entry in spec["env"].split(b"\0") if b"=" in entry)
        os.execve(spec["exe"], spec["argv"].split(b"\0"), env)
    finally:
        os._exit(127)


def _watch(worker: int, spec: Message, folder: str, cancelled: list[int], began_s: float) -> tuple[str, int, float, int]:
    """Wait for the end; return how, value, CPU seconds, and how many processes were left running (they are gone by then)."""
    order = _Order(folder) if spec["streams"] == b"split" else None
    wall_s_, limit_bytes = float(spec["wall_s"]), int(spec["limit_bytes"])
    poller = select.poll()
    handle = os.pidfd_open(worker) if LINUX else -1
    if handle >= 0:
        poller.register(handle, select.POLLIN)
    verdict: tuple[str, int] | None = None
    status = 0
    while True:
        poller.poll(LOOK_S * 1000)
        pid, status = os.waitpid(worker, os.WNOHANG)
        if order:
            order.look()
        if pid:
            break
        if verdict is None:
            if cancelled:
                verdict = ("cancelled", signal.SIGTERM)
            elif mono_s() - began_s > wall_s_:
                verdict = ("timeout", 0)
            elif _size(folder, "out") + _size(folder, "err") > limit_bytes:
                verdict = ("oversize", 0)
            if verdict:
                _end_tree(worker)
    left = len(_descendants(os.getpid()))
    _end_tree(worker)
    if order:
        order.look()
        order.close()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if verdict is None:
        verdict = ("signal", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else ("code", os.WEXITSTATUS(status))
    return *verdict, usage.ru_utime + usage.ru_stime, left


def _record(spec: Message, folder: str, how: str, value: int, began_s: float, left: int, cpu_s: float = 0.0) -> None:
    out, err = _size(folder, "out"), _size(folder, "err")
    atomic_write(os.path.join(folder, "exit"), f"{how} {value} {out} {err}\n".encode())
    event = {
        "t": "attempt.exited",
        "v": 1,
        "ts": wall_s(),
        "mono": mono_s(),
        "boot": boot_id(),
        "by": f"monitor:{os.getpid()}",
        "attempt": spec["attempt"].decode(),
        "end": {"how": how, "value": value},
        "out_bytes": out,
        "err_bytes": err,
        "took_s": round(mono_s() - began_s, 6),
        "cpu_s": round(cpu_s, 6),
        "left": left,
    }
    Journal(os.fsdecode(spec["journal"])).append(json.dumps(event).encode())
    _tell("exited\n")


class _Order:
    """The index `frames` of a run whose streams are two files: which grew when, as fine as we look."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = {"out": 0, "err": 0}
        self._index = open_private(os.path.join(folder, "frames"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def look(self) -> None:
        for stream, name in ((b"\x01", "out"), (b"\x02", "err")):
            grown = _size(self._folder, name) - self._seen[name]
            if grown > 0:
                write_all(self._index, stream + grown.to_bytes(4, "big"))
                self._seen[name] += grown

    def close(self) -> None:
        os.close(self._index)


def _end_tree(worker: int) -> None:
    """End every descendant: TERM, then KILL what is still there after the grace time. Ours alone: found by walking down from us."""
    deadline = time.monotonic() + GRACE_S
    number: int = signal.SIGTERM
    told: set[int] = set()
    while tree := _descendants(os.getpid()):
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        for pid in tree:
            if pid not in told or number == signal.SIGKILL:
                told.add(pid)
                try:
                    os.kill(pid, number)  # a descendant's pid cannot be reused before we, its subreaper, have waited for it
                except ProcessLookupError:
                    continue
        _reap_adopted(worker)
        time.sleep(0.005)
        if time.monotonic() > deadline + 5.0:
            break  # unkillable (uninterruptible sleep): PDEATHSIG and the kernel have the last word
    _reap_adopted(worker)


def _reap_adopted(worker: int) -> None:
    """Wait for descendants that were handed to us, without taking the worker's own status away."""
    for pid in _children(os.getpid()):
        if pid != worker:
            os.waitpid(pid, os.WNOHANG)


def _descendants(root: int) -> list[int]:
    """Return all living descendants of a process, children first; zombies left out."""
    found: list[int] = []
    queue = [root]
    while queue:
        for pid in _children(queue.pop()):
            if identify(pid) is not None:
                found.append(pid)
            queue.append(pid)
    return found


def _children(pid: int) -> list[int]:
    if LINUX:
        try:
            children: list[int] = []
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    children += [int(word) for word in file.read().split()]
            return children
        except OSError:
            return []
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _size(folder: str, name: str) -> int:
    try:
        return os.stat(os.path.join(folder, name)).st_size
    except FileNotFoundError:
        return 0


def _prctl(option: int, value: int) -> None:
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _tell(text: str) -> None:
    try:
        os.write(1, text.encode())
    except BrokenPipeError:
        pass  # the supervisor is gone; the log and the lock tell the next one


def _read_spec(descriptor: int) -> Message:
    reader = Reader()
    while data := os.read(descriptor, 1 << 16):
        for message in reader.feed(data):
            return message
    sys.exit("cannot read the spec: standard input ended; the monitor is started by the supervisor only")
