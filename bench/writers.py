"""Many processes that append to one log at the same time, in one of three ways, and what is found of it afterwards.

`python -m bench.writers WAY FOLDER WRITER COUNT SIZES` is one writer: it says `ready`, waits for a line, appends, and says how many
records it was told are kept. Promises: the writers begin together, their start is not measured, and none outlives `load`.
"""

from __future__ import annotations

import json
import os
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import naive
from stretto.errors import UnavailableError
from stretto.journal import LOG_NAME, Journal

WAYS = ("ours", "naive", "sqlite")
LIMIT_S = 120.0
DATABASE = "events.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one load came to."""

    took_s: float
    acknowledged: int
    refused: int
    """Appends that ended with an error: their caller knows that they are not kept."""
    whole: int
    """Records found again, with every byte."""
    torn: int
    """Lines that are no record."""

    @property
    def lost(self) -> int:
        """Records that were acknowledged and are not there."""
        return self.acknowledged - self.whole


def load(way: str, folder: str, writers: int, count: int, sizes: Sequence[int]) -> Outcome:
    """Let `writers` processes append `count` records each, their sizes (bytes) taken in turn, and look at what is there."""
    root = str(Path(__file__).resolve().parent.parent)
    if way == "sqlite":
        _database(folder).close()
    argv = [sys.executable, "-m", "bench.writers", way, folder]
    rest = [str(count), ",".join(map(str, sizes))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    started = [
        subprocess.Popen([*argv, str(writer), *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=env)
        for writer in range(writers)
    ]
    try:
        deadline = time.monotonic() + LIMIT_S
        for process in started:
            _line(process, deadline)
        began_s = time.perf_counter()
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        said = [tuple(map(int, _line(process, deadline).split())) for process in started]
        took_s = time.perf_counter() - began_s
    finally:
        for process in started:
            process.kill()  # our own child, not waited for yet: its pid is nobody else's
            process.communicate()
    whole, torn = _found(way, folder, sizes)
    return Outcome(took_s=took_s, acknowledged=sum(a for a, _ in said), refused=sum(r for _, r in said), whole=whole, torn=torn)


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise RuntimeError(f"a writer said nothing for {LIMIT_S:g} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a writer ended early")
    return line


def _found(way: str, folder: str, sizes: Sequence[int]) -> tuple[int, int]:
    seen: set[tuple[int, int]] = set()
    torn = 0
    for text in _texts(way, folder):
        try:
            record = json.loads(text)
            if record["text"] != "x" * sizes[record["number"] % len(sizes)]:
                raise ValueError("another length")
            seen.add((record["writer"], record["number"]))
        except (ValueError, KeyError, TypeError):
            torn += 1
    return len(seen), torn


def _texts(way: str, folder: str) -> Iterable[bytes]:
    if way == "sqlite":
        database = _database(folder)
        try:
            yield from (row[0] for row in database.execute("SELECT record FROM events ORDER BY offset"))
        finally:
            database.close()
    else:
        with open(os.path.join(folder, LOG_NAME), "rb") as file:
            yield from file


def _database(folder: str) -> sqlite3.Connection:
    database = sqlite3.connect(os.path.join(folder, DATABASE), timeout=60.0, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE IF NOT EXISTS events (offset INTEGER PRIMARY KEY, record BLOB)")
    return database


def _appender(way: str, folder: str) -> Callable[[dict[str, object]], object]:
    if way == "naive":
        return lambda record: naive.append(folder, record)
    if way == "sqlite":
        database = _database(folder)
        return lambda record: database.execute("INSERT INTO events (record) VALUES (?)", (json.dumps(record).encode(),))
    journal = Journal(folder)
    return lambda record: journal.append(json.dumps(record).encode())


def main() -> None:
    """Be one writer."""
    way, folder, writer, count, sizes = sys.argv[1:]
    texts = ["x" * int(size) for size in sizes.split(",")]
    append = _appender(way, folder)
    print("ready", flush=True)
    sys.stdin.readline()
    acknowledged = refused = 0
    for number in range(int(count)):
        try:
            append({"writer": int(writer), "number": number, "text": texts[number % len(texts)]})
            acknowledged += 1
        except (UnavailableError, sqlite3.OperationalError):
            refused += 1
    print(acknowledged, refused, flush=True)


if __name__ == "__main__":
    main()
