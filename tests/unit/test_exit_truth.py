"""C-8: each way a job can end is told apart where a person and a script see it, and only a pass is 0."""

from __future__ import annotations

import errno
import signal

from stretto import cli, render
from stretto.bundle import HOWS
from stretto.fold import Cancelled, Failed, Lost, Passed, PutAside, Request, RequestPhase
from stretto.model import AttemptId, End, JobKey

ENDS = [
    *(End(how="code", value=value) for value in range(256)),
    *(End(how="signal", value=int(number)) for number in signal.valid_signals() if number not in (32, 33)),
    *(End(how="unstarted", value=value) for value in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.E2BIG)),
    *(End(how=how) for how in HOWS if how not in ("code", "signal", "unstarted")),
]


def request(phase: RequestPhase) -> Request:
    return Request(
        job=JobKey("a" * 32), after=(), priority=0, memory_bytes=1, keep=False, retries=0, session=None, asked_at=0.0, phase=phase
    )


def test_every_way_to_end_is_in_the_table():
    assert {end.how for end in ENDS} == set(HOWS)


def test_c8_no_end_but_a_pass_is_zero():
    for end in ENDS:
        for phase in (Failed(end), PutAside(end, 2)):
            code = cli._exit_code(request(phase))
            assert (0 < code < 256) != end.passed, end
            if end.how == "code":
                assert code == end.value
            if end.how == "signal":
                assert code == 128 + end.value


def test_c8_what_never_ended_by_itself_is_not_zero_either():
    assert cli._exit_code(request(Passed(AttemptId("b" * 32)))) == 0
    assert cli._exit_code(request(Cancelled("x"))) == 143
    assert cli._exit_code(request(Lost("x"))) == 125


def test_c8_each_way_reads_differently():
    texts = [render.ended(end) for end in ENDS]
    assert len(set(texts)) == len(texts)
    assert [text for text in texts if text == "passed"] == ["passed"]
