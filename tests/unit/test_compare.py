"""Whether two runs said the same: what varies between any two runs does not count, everything else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto.compare import COMPARED_BYTES, SAMPLE, difference, normal, sampled
from stretto.model import End

PASS, FAIL = End(how="code", value=0), End(how="code", value=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("3 passed in 0.12s", "3 passed in 11.03s", id="pytest duration"),
        pytest.param("==== 3 passed in 0.12s ====", "=== 3 passed in 10.12s ===", id="ruler"),
        pytest.param("Time: 4.5 s, 12 ms", "Time: 11 s, 1 ms", id="jest"),
        pytest.param("ok pkg 0.004s", "ok pkg 12.1s", id="go"),
        pytest.param("0:00:12 left", "1:10:59.3 left", id="clock"),
        pytest.param("at 2026-01-02T03:04:05Z", "at 2027-11-12T13:14:15.123+01:00", id="timestamp"),
        pytest.param("<X object at 0x7f2f4aedba60>", "<X object at 0x7fc648edefc0>", id="address"),
        pytest.param("in /tmp/pytest-of-me/pytest-1/a0/x.py:3", "in /tmp/pytest-of-me/pytest-22/a0/x.py:3", id="temporary path"),
        pytest.param("worker pid 123 ready", "worker pid 4242 ready", id="pid"),
        pytest.param("Using --randomly-seed=1", "Using --randomly-seed=99", id="seed"),
        pytest.param("\x1b[32mok\x1b[0m", "ok", id="colour"),
        pytest.param("[gw0] [ 50%] PASSED a\n[gw1] [100%] PASSED b", "[gw0] [ 50%] PASSED b\n[gw0] [100%] PASSED a", id="xdist order"),
    ],
)
def test_what_varies_between_any_two_runs_is_no_difference(one, other):
    assert difference((PASS, one.encode(), b""), (PASS, other.encode(), b"")) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("3 passed in 0.1s", "2 passed in 0.1s", id="count"),
        pytest.param("FAILED a", "FAILED b", id="name"),
        pytest.param("a\nb", "b\na", id="order outside xdist"),
        pytest.param("[gw0] [ 50%] PASSED a", "[gw0] [ 50%] FAILED a", id="xdist outcome"),
        pytest.param("12345", "12345\nb", id="more lines"),
        pytest.param("line 12", "line 13", id="line number"),
        pytest.param("/srv/data/1", "/srv/data/2", id="other path"),
        pytest.param("covered 81%", "covered 80%", id="percentage"),
    ],
)
def test_everything_else_is_a_difference_and_what_is_said_of_it_holds_no_output(one, other):
    for streams in ((one.encode(), b""), (b"", one.encode())):
        again = (other.encode(), b"") if streams[0] else (b"", other.encode())
        found = difference((PASS, *streams), (PASS, *again))
        assert found
        assert one not in found and other not in found


def test_another_exit_is_a_difference_whatever_was_printed():
    assert difference((PASS, b"x", b""), (FAIL, b"x", b"")) == "it ended with code 0, and when run again with code 1"


def test_a_difference_beyond_what_is_compared_is_not_looked_for():
    long = b"x\n" * COMPARED_BYTES
    assert difference((PASS, long + b"a", b""), (PASS, long + b"b", b"")) == ""


@given(st.binary(max_size=300))
def test_a_run_never_differs_from_itself_and_normalising_twice_changes_nothing_more(data):
    assert difference((PASS, data, data), (PASS, data, data)) == ""
    assert difference((PASS, data, b""), (PASS, normal(data), b"")) == "" or b"\x1b" in data or b"/" in data or b"[gw" in data


def test_the_first_join_and_every_fifth_after_it_belong_to_the_sample():
    assert [number for number in range(1, 17) if sampled(number)] == [1, 1 + SAMPLE, 1 + 2 * SAMPLE, 1 + 3 * SAMPLE]
