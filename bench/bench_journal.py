"""The log against the naive one and against SQLite, with what each of them lost; and a long log folded against bare decoding."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import msgspec

from bench import Figure, in_turn
from bench.writers import WAYS, Outcome, load
from stretto import snapshot
from stretto.fold import State, apply
from stretto.journal import LOG_NAME, read, sealed
from stretto.model import FORMAT_VERSION

MIXED = (200,) * 8 + (6_000, 70_000)
"""Bytes of text in a record: mostly small ones, as ours are; two that do not fit into a buffer at once."""
SMALL = (200,)
WRITERS, RECORDS = 8, 1_000
PROCESSES = (1, 4, 16)
APPENDS = 4_000
"""Of all processes together, in each of the comparisons of speed."""
ROUNDS = 3
EVENTS = 1_000_000
FOLD_TARGET = 3.0
EVENTS_OF_A_RUN = 6
START_TARGET_MS = 150.0
START_RUNS = 9
TAIL_EVENTS = 1_000
"""About as long as a tail gets: a snapshot is made after every 256 kB."""


def run(writers: int = WRITERS, records: int = RECORDS, appends: int = APPENDS, events: int = EVENTS, rounds: int = ROUNDS) -> list[Figure]:
    """Return what the logs lose under one load, what an append costs, and what folding a log costs."""
    figures = [_integrity(way, writers, records) for way in ("ours", "naive")]
    for processes in PROCESSES:
        figures += _speed(processes, max(1, appends // processes), rounds)
    return figures + _folding(events)


def _integrity(way: str, writers: int, records: int) -> Figure:
    outcome = _load(way, writers, records, MIXED)
    name = f"acknowledged records lost, {writers} writers, {'our log' if way == 'ours' else 'the naive log (yardstick, no target)'}"
    return Figure(
        name=name,
        value=outcome.lost,
        unit=f"of {outcome.acknowledged}",
        target=0 if way == "ours" else outcome.acknowledged,
        against=f"{outcome.torn} lines torn or glued, {outcome.refused} appends refused with an error, {outcome.took_s:.1f} s",
    )


def _speed(processes: int, count: int, rounds: int) -> list[Figure]:
    """Each way in turn; every load has a folder of its own."""
    taken = [{way: _load(way, processes, count, SMALL) for way in WAYS} for _ in range(rounds)]
    median = {way: statistics.median(outcomes[way].took_s for outcomes in taken) for way in WAYS}
    lost = {way: sum(outcomes[way].lost for outcomes in taken) for way in WAYS}
    refused = {way: sum(outcomes[way].refused for outcomes in taken) for way in WAYS}
    each_us = {way: median[way] / (processes * count) * 1e6 for way in WAYS}
    return [
        Figure(
            name=f"append, {processes} process{'es' if processes > 1 else ''}, ours against {other}",
            value=median["ours"] / median[other],
            unit="times the time",
            target=target,
            against=f"{each_us['ours']:.0f} against {each_us[other]:.0f} µs a record, {rounds} rounds; "
            f"lost {lost['ours']} and {lost[other]}, refused {refused['ours']} and {refused[other]}",
        )
        for other, target in (("naive", 1.5), ("sqlite", 1.0))
    ]


def _load(way: str, writers: int, count: int, sizes: tuple[int, ...]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        return load(way, folder, writers, count, sizes)


def _folding(events: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        written = _write_log(folder, events // EVENTS_OF_A_RUN)
        path = os.path.join(folder, LOG_NAME)

        def ours() -> float:
            began_s = time.process_time()
            state, _ = snapshot.load(folder)  # what a supervisor and `status` do; there is no snapshot yet
            took_s = time.process_time() - began_s
            if (state.events, state.bad_lines, state.anomaly_count) != (written, 0, 0):
                raise RuntimeError(f"folded {state.events} of {written} events, {state.bad_lines} bad, {state.anomaly_count} out of place")
            return took_s

        def bare(decode: Callable[[bytes], object]) -> float:
            began_s = time.process_time()
            with open(path, "rb") as file:
                for line in file:
                    decode(line)
            return time.process_time() - began_s

        decoder = msgspec.json.Decoder()
        figures = []
        for name, decode in (("msgspec", decoder.decode), ("json", json.loads)):
            pair = in_turn(ours, lambda decode=decode: bare(decode), 3, warm=0)
            figures.append(
                Figure(
                    name=f"folding {written} events cold against bare {name} decoding",
                    value=pair.ratio,
                    unit="times",
                    target=FOLD_TARGET,
                    against=f"processor time: {pair.spread()}",
                )
            )
        return [*figures, _start(folder, written)]


def _start(folder: str, events: int) -> Figure:
    """From a snapshot that stands 1,000 events before the log's end: what a supervisor or `status` begins with."""
    name = f"start from a snapshot of {events} events"
    state, count, offset = State(), 0, 0
    for begin, event in read(folder):
        if count >= events - TAIL_EVENTS:
            offset = begin
            break
        state = apply(state, event, begin)
        count += 1
    snapshot.save(folder, state, offset)
    taken_s = []
    for _ in range(START_RUNS):
        began_s = time.perf_counter()
        found, _ = snapshot.load(folder)
        taken_s.append(time.perf_counter() - began_s)
        if found.events != events:
            raise RuntimeError(f"the snapshot and its tail give {found.events} of {events} events")
    return Figure(
        name=name,
        value=statistics.median(taken_s) * 1000,
        unit="ms",
        target=START_TARGET_MS,
        against=f"{min(taken_s) * 1000:.1f} to {max(taken_s) * 1000:.1f} ms, {START_RUNS} runs, {events - count} events in the tail",
    )


def _write_log(folder: str, runs: int) -> int:
    """Write the log of one command that ran and was joined that often, as it is written today; return how many events it holds."""
    common = f'"v":{FORMAT_VERSION},"ts":1.0,"mono":1.0,"boot":"b","by":"supervisor:7"'
    job = "9f" * 16
    with open(os.path.join(folder, LOG_NAME), "wb") as file:

        def write(record: str) -> None:
            file.write(sealed(record.encode("ascii")) + b"\n")

        write(f'{{"t":"job.seen",{common},"job":"{job}","name":"pytest","argv":["pytest","-q"],"cwd":".","streams":"merged"}}')
        for number in range(runs):
            attempt, ask = f"{number:032x}", f"q{number}"
            of = f'{common},"attempt":"{attempt}"'
            write(f'{{"t":"attempt.started",{of},"job":"{job}","kind":"ahead","session":null,"generation":4,"why":"a source changed"}}')
            write(f'{{"t":"attempt.spawned",{of},"pid":77,"start":"12399"}}')
            write(
                f'{{"t":"attempt.exited",{of},"end":{{"how":"code","value":0}},"out_bytes":120,"err_bytes":0,"took_s":14.2,"cpu_s":13.9,"left":0}}'
            )
            write(f'{{"t":"attempt.settled",{of},"generation":4,"torn":"","wrote":[],"products":[],"remote":false,"left":0}}')
            write(
                f'{{"t":"join.decided",{of},"ask":"{ask}","job":"{job}","session":"5c1e","standing":"fresh","do":"replay","of":"ahead",'
                f'"reason":"nothing has changed since it ended","decide_ms":2.1}}'
            )
            write(f'{{"t":"join.done",{of},"ask":"{ask}","waited_s":0.01,"saved_s":14.19}}')
    return 1 + runs * EVENTS_OF_A_RUN
