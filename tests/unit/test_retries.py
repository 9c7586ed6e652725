"""C-11, C-12: a command that keeps crashing is put aside, and all of them together cannot make a storm."""

from __future__ import annotations

import pytest

from stretto import __version__, client, shim
from stretto.fold import MAKES_WAY, fold
from stretto.model import AttemptExited, AttemptId, AttemptStarted, End, JobKey, JobSeen, SupervisorStarted, SupervisorStopped
from stretto.retries import ASIDE_S, BURST, PAUSES_S, SHARE, TRIES, Budget, put_aside

STAMP = {"ts": 1.0, "mono": 7.0, "boot": "b", "by": "test"}
JOB = JobKey("j")


@pytest.mark.parametrize(
    ("crashes", "ago_s", "waits"),
    [
        (0, 0.0, False),
        (1, PAUSES_S[0] - 1, True),
        (1, PAUSES_S[0], False),
        (2, PAUSES_S[0], True),
        (2, PAUSES_S[1], False),
        (TRIES, PAUSES_S[1], True),
        (TRIES, ASIDE_S, False),
        (TRIES + 5, ASIDE_S - 1, True),
        (TRIES, -1.0, False),
    ],
)
def test_pauses_grow_with_the_crashes_and_end(crashes, ago_s, waits):
    assert bool(put_aside(crashes, ago_s)) is waits


@pytest.mark.parametrize("good", [0, 10, 1000])
def test_c12_retries_stay_below_a_tenth_of_what_went_well(good):
    budget, spent = Budget(), 0
    for number in range(good + 1000):
        if number < good:
            budget.earn()
        while budget.allows():
            budget.spend()
            spent += 1
    assert spent <= BURST + SHARE * good + 1


def crashes_after(*ends: End) -> int:
    events: list = [JobSeen(**STAMP, job=JOB, name="pytest", argv=("pytest",), cwd=".", streams="merged")]
    for number, end in enumerate(ends):
        attempt = AttemptId(f"{number:032x}")
        events.append(AttemptStarted(**STAMP, attempt=attempt, job=JOB, kind="ahead", session=None, generation=1))
        events.append(AttemptExited(**STAMP, attempt=attempt, end=end, out_bytes=0, err_bytes=0, took_s=1.0, cpu_s=1.0))
    return fold(enumerate(events)).jobs[JOB].crashes


LOST, KILLED, RED, CANCELLED = End(how="lost"), End(how="signal", value=9), End(how="code", value=1), End(how="cancelled", value=15)


@pytest.mark.parametrize(
    ("ends", "count"),
    [
        ((LOST, KILLED), 2),
        ((LOST, RED), 0),
        ((LOST, CANCELLED), 1),
        ((CANCELLED,), 0),
        ((End(how="timeout"), End(how="oversize"), LOST), 3),
    ],
)
def test_a_crash_is_an_end_nobody_wanted(ends, count):
    assert crashes_after(*ends) == count


def test_f12_client_and_shim_carry_the_version_of_the_package():
    assert client.VERSION == shim.VERSION == __version__.encode()


@pytest.mark.parametrize(("reason", "made_way"), [(f"{MAKES_WAY}: 2, this is 1", "1"), ("it was asked to", "")])
def test_f12_the_log_says_who_made_way(reason, made_way):
    started = SupervisorStarted(**STAMP, pid=7, start="1", version="1", mode="on")
    assert fold(enumerate([started, SupervisorStopped(**STAMP, reason=reason)])).made_way == made_way
