"""A worker that does nothing, from its launch to its recorded exit, against a bare child process."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import Figure, in_turn
from stretto import bundle
from stretto.executors import local
from stretto.model import AttemptId, End

NO_OP = "/bin/true"
RUNS = 40
TARGET_MS = 5.0
LIMIT_S = 30.0


def run(runs: int = RUNS) -> list[Figure]:
    """Return what a monitor costs on top of the process it owns."""
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder, forking() as forker:
        pair = in_turn(lambda: _owned(forker, folder), _bare, runs)
    return [
        Figure(name="launch to recorded exit under a monitor", value=pair.more_ms, unit="ms more", target=TARGET_MS, against=pair.spread())
    ]


@contextmanager
def forking() -> Iterator[local.Forker]:
    """What a supervisor keeps to fork monitors from."""
    forker = local.Forker()
    try:
        yield forker
    finally:
        forker.close()


def start(forker: local.Forker, folder: str, *argv: str) -> tuple[str, local.Owner]:
    """Start a worker (the no-op unless told otherwise) in a bundle of its own below `folder`; return the bundle's path and its owner."""
    attempt = AttemptId(os.urandom(16).hex())
    place = bundle.create(os.path.join(folder, "attempts"), attempt)
    words = argv or (NO_OP,)
    spec = {
        "dir": os.fsencode(place),
        "journal": os.fsencode(folder),
        "attempt": attempt.encode(),
        "exe": os.fsencode(words[0]),
        "argv": b"\0".join(map(os.fsencode, words)),
        "env": b"PATH=/usr/bin:/bin",
        "cwd": os.fsencode(folder),
        "umask": b"22",
        "streams": b"merged",
        "wall_s": b"60",
        "limit_bytes": b"1000000",
        "memory_bytes": b"%d" % (1 << 30),
        "tasks": b"100",
    }
    return place, forker.spawn(spec)


def wait(owner: local.Owner, until: str) -> str:
    """Return the first line of a monitor that begins so.

    Raises:
        RuntimeError: it left, or said nothing of that for `LIMIT_S`.
    """
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        select.select([owner], [], [], max(0.0, deadline - time.monotonic()))
        lines = owner.lines()
        if lines is None:
            break
        for line in lines:
            if line.startswith(until):
                return line
    raise RuntimeError(f"no monitor said `{until}`")


def _owned(forker: local.Forker, folder: str) -> float:
    began_s = time.perf_counter()
    place, owner = start(forker, folder)
    wait(owner, "exited")
    took_s = time.perf_counter() - began_s
    owner.close()
    found = bundle.read_exit(place)
    if found is None or found.end != End(how="code", value=0):
        raise RuntimeError(f"the no-op ended as {found}")
    return took_s


def _bare() -> float:
    began_s = time.perf_counter()
    subprocess.run([NO_OP], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s
