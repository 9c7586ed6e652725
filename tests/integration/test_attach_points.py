"""A-5: whoever joins a run gets what a run of its own would have printed, wherever in it the question came.

The command prints 1.5 MB, not UTF-8, into both streams by turns, and waits at one place of it until the test has asked a second and a third
time. Byte for byte the same, in each stream, and one exit code.
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto.testing.wait import wait_until

LIMIT_S = 30.0
CODE = 3
BLOCKS = 300
BLOCK = bytes(range(256)) * 20
"""5 kB with every byte."""
SCRIPT = f"""
import os, sys
at, hold, fifo = int(sys.argv[1]), sys.argv[2], sys.argv[3]
block = bytes(range(256)) * 20
done = 0


def whole(stream, data):
    while data:
        data = data[os.write(stream, data):]


def say(stream, data):
    global done
    if done <= at < done + len(data):
        whole(stream, data[: at - done])
        if os.path.exists(hold):
            open(fifo).read()
        whole(stream, data[at - done :])
    else:
        whole(stream, data)
    done += len(data)


for number in range({BLOCKS}):
    say(1 + number % 2, b"%d:" % number + block)
sys.exit({CODE})
"""
SIZE = sum(len(f"{number}:") + len(BLOCK) for number in range(BLOCKS))
STREAMS = {stream: b"".join(f"{number}:".encode() + BLOCK for number in range(BLOCKS) if number % 2 == stream - 1) for stream in (1, 2)}
POINTS = {"before its first byte": 0, "at 37 %": int(SIZE * 0.37), "before its last byte": SIZE - 1}


def held(bench: Bench, at: int) -> tuple[Path, Path]:
    """A check that waits at one byte of its output; -> what it waits for, and the file that has it wait."""
    fifo, hold, script = bench.short / "fifo", bench.short / "hold", bench.short / "print.py"
    os.mkfifo(fifo)
    hold.touch()
    script.write_text(SCRIPT)
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", f"exec {sys.executable} -I -S {script} {at} {hold} {fifo}")
    bench.begin()
    return fifo, hold


def digests(*parts: bytes) -> list[str]:
    return [f"{len(part)} {hashlib.sha256(part).hexdigest()}" for part in parts]


def asked(bench: Bench, name: str, apart: bool) -> tuple[list[str], int]:
    """Ask without hooks, so that askers do not hold each other up; -> what came, by stream when they go apart, and the exit."""
    command = f'pytest -q >"$HOME/{name}.1" 2>"$HOME/{name}.2"' if apart else "pytest -q"
    out, code, _ = bench.bash(command, told=False, announced="pytest -q")
    if not apart:
        return digests(out), code
    return digests(*((bench.short / f"{name}.{stream}").read_bytes() for stream in (1, 2))), code


@pytest.mark.parametrize("apart", [False, True], ids=["one stream", "two streams"])
@pytest.mark.parametrize("point", POINTS)
def test_a5_two_that_join_a_run_under_way_get_its_bytes_and_its_exit(bench, point, apart):
    fifo, hold = held(bench, POINTS[point])
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(asked, bench, "first", apart)
        release = os.open(fifo, os.O_WRONLY)  # returns once the run waits at its point
        try:
            joined = [pool.submit(asked, bench, name, apart) for name in ("second", "third")]
            wait_until(lambda: bench.did() == ["record", "attach", "attach"], LIMIT_S, "two that attach")
            hold.unlink()
        finally:
            os.close(release)
        answers = [first.result(), *(one.result() for one in joined)]
    if apart:
        assert answers == [(digests(STREAMS[1], STREAMS[2]), CODE)] * 3
    else:
        assert answers == [(digests(b"".join(f"{number}:".encode() + BLOCK for number in range(BLOCKS))), CODE)] * 3
    assert bench.did() == ["record", "attach", "attach"]


@pytest.mark.parametrize("apart", [False, True], ids=["one stream", "two streams"])
def test_a5_one_that_asks_after_the_exit_gets_its_bytes_and_its_exit(bench, apart):
    _, hold = held(bench, 0)
    hold.unlink()
    first = asked(bench, "first", apart)
    bench.settled(1)
    assert asked(bench, "second", apart) == first
    assert first[1] == CODE
    assert bench.did() == ["record", "replay"]
