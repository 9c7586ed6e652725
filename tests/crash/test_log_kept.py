"""What stays of the log: parts that go by age and size whatever the clock does (C-19, F57), a tidier and a repair killed at any step
(C-25), and lines of any kind and length in constant memory (F55).
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stretto import doctor, journal, logcheck, snapshot, trust
from stretto.fold import fold
from stretto.journal import FAILED_NAME, LINE_LIMIT_BYTES, LOG_NAME, Journal, lines, read, sealed, segments, tidy
from stretto.model import Bad
from stretto.testing import faults

RECORD = b'{"t":"supervisor.stopped","v":2,"ts":1.0,"mono":1.0,"boot":"b","by":"x","reason":"r"}'
LINE = sealed(RECORD)
DAY_S = 86_400.0
NOW = 1_790_000_000.0
Part = list[tuple[float, float, str]]
BEHIND: Part = [(1.0, 1.0, "b")]


@pytest.fixture
def folder(short):
    return str(short)


def write(folder: str, *parts: Part, behind: Part = BEHIND) -> None:
    """Write one segment for each list of (wall clock, counting clock, boot), and some records behind them."""
    log = Journal(folder)
    for part in (*parts, behind):
        for at, mono, boot in part:
            log.append(b'{"t":"supervisor.stopped","v":2,"ts":%r,"mono":%r,"boot":"%s","by":"x","reason":"r"}' % (at, mono, boot.encode()))
        if part is not behind:
            assert log.rotate(1)


def begins(folder: str) -> list[int]:
    return [segment.begin for segment in segments(folder)]


# --- age (C-19) -------------------------------------------------------------------------------------------------------------------


def days(*numbers: float, boot: str = "a") -> Part:
    return [(NOW + number * DAY_S, number * DAY_S, boot) for number in numbers]


def jumped(part: Part, by_s: float) -> Part:
    """The same moments as a wall clock that is wrong says them."""
    return [(at + by_s, mono, boot) for at, mono, boot in part]


YEAR_S = 365 * DAY_S


@pytest.mark.parametrize(
    ("parts", "gone"),
    [
        pytest.param([days(0, 1), days(20, 29)], 0, id="young"),
        pytest.param([days(0, 1), days(31.5, 32)], 1, id="old"),
        pytest.param([days(0, 1), days(30.5, 40)], 0, id="less than 30 days between its end and the newest one's beginning"),
        pytest.param([days(0, 1), days(2, 3), days(60, 61)], 1, id="two are old, and one goes at a time"),
        pytest.param([days(0, 1), days(60, 61, boot="z")], 1, id="old, and a reboot between"),
        pytest.param([days(0, 1), jumped(days(2, 3), YEAR_S)], 0, id="a year ahead within the boot"),
        pytest.param(
            [days(0, 1), [*days(2, boot="z"), *jumped(days(3, boot="z"), YEAR_S), *days(4, boot="z")]], 0, id="a year ahead, back"
        ),
        pytest.param([jumped(days(0, 1), YEAR_S), days(60, 61, boot="z")], 0, id="old, written a year ahead"),
        pytest.param([days(0, 1), jumped(days(2, 3, boot="z"), YEAR_S), days(4, 5, boot="y")], 0, id="a whole part a year ahead, and back"),
        pytest.param([days(0, 1), days(2, 3), jumped(days(4, 5, boot="z"), YEAR_S)], 1, id="a whole part a year ahead costs one"),
        pytest.param([days(0, 1), jumped(days(2, 3, boot="z"), -NOW)], 0, id="back to 1970"),
        pytest.param([jumped(days(0, 1), -NOW), days(2, 3)], 0, id="from 1970 within the boot"),
        pytest.param([days(0, 1), jumped(days(2, 3), 2.0**31 - NOW)], 0, id="2038 within the boot"),
        pytest.param([days(0, 1), jumped(days(2, 3), -DAY_S)], 0, id="a day back"),
        pytest.param([days(60, 61), days(0, 1)], 0, id="backwards"),
        pytest.param([days(0, 1)], 0, id="the newest never"),
    ],
)
def test_old_parts_go_by_what_their_own_records_say_whatever_the_clock_did_meanwhile(folder, parts, gone):
    """C-19, F57."""
    write(folder, *parts)
    before, kept = begins(folder), list(read(folder))
    tidy(folder)
    assert begins(folder) == before[gone:]
    assert list(read(folder)) == [pair for pair in kept if pair[0] >= before[gone]]


def test_all_old_parts_go_one_at_each_rotation_and_the_newest_stays(folder):
    write(folder, days(0), days(1), days(2), days(90))
    for left in (3, 2, 1, 1):
        tidy(folder)
        assert len(segments(folder)) == left


def test_a_part_without_one_record_that_reads_has_no_age(folder):
    write(folder, days(0, 1), days(90))
    oldest = Path(folder, segments(folder)[0].name)
    oldest.write_bytes(b"\0" * oldest.stat().st_size)
    tidy(folder)
    assert len(segments(folder)) == 2


def test_what_the_rules_say_about_old_parts_reaches_the_tidier(folder, monkeypatch):
    monkeypatch.setattr(snapshot, "SEGMENT_BYTES", 1)
    write(folder, days(0), days(3), behind=days(4))
    tender = snapshot.Tender(folder, Journal(folder))
    tender.keep_s = 2 * DAY_S
    tender.tend(*snapshot.load(folder))
    assert len(segments(folder)) == 2


# --- killed at any step (C-25) ----------------------------------------------------------------------------------------------------


def killed(act, call: str, when: int, do: str, folder: str) -> bool:
    """Do something in a child that dies at its n-th call of one kind; say whether that came to pass."""
    pid = os.fork()
    if pid == 0:
        try:
            faults.install(call, when, do, f"{folder}/fired")
            act(folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) < 0


STEPS = [(call, do) for call in ("open", "write", "fsync", "rename", "unlink") for do in ("kill-before", "kill-after")]


@pytest.mark.parametrize(("call", "do"), STEPS, ids=str)
def test_a_tidier_killed_before_or_after_any_step_loses_and_doubles_nothing_and_the_next_one_finishes(short, call, do):
    """C-25, F56."""
    when = 1
    while True:
        folder = str(short / f"{when}")
        os.mkdir(folder)
        write(folder, days(0), days(50), days(51), days(52))
        before, all_begins = list(read(folder)), begins(folder)
        fired = killed(tidy, call, when, do, folder)
        now = list(read(folder))
        assert now in (before, [pair for pair in before if pair[0] >= all_begins[1]]), "at most the oldest part is gone"
        tidy(folder)
        assert list(read(folder)) == [pair for pair in before if pair[0] >= all_begins[1]]
        assert sorted(name for name in os.listdir(folder) if name.startswith("events")) == sorted(
            [LOG_NAME, journal.LOCK_NAME, *(segment.name for segment in segments(folder))]
        )
        assert [segment.name.endswith(".gz") for segment in segments(folder)] == [True, True, False]
        if not fired:
            break
        when += 1
    assert when > 1


@pytest.mark.parametrize("do", ["kill-before", "kill-after"])
def test_a_rotation_killed_before_or_after_its_rename_loses_and_doubles_nothing(short, do):
    """C-25, F56."""
    folder = str(short)
    log = Journal(folder)
    log.append(RECORD)
    assert killed(lambda where: Journal(where).rotate(1), "rename", 1, do, folder)
    assert log.append(RECORD) == len(LINE) + 1
    assert [begin for begin, _ in read(folder)] == [0, len(LINE) + 1]


@pytest.mark.parametrize(("call", "do"), [step for step in STEPS if step[0] != "unlink"], ids=str)
def test_a_repair_killed_before_or_after_any_step_loses_nothing_and_the_next_one_finishes(short, call, do):
    """C-25, C-5: until it is done the mark of the failed sync stands."""
    when = 1
    while True:
        folder = str(short / f"{when}")
        os.mkdir(folder)
        Path(folder, LOG_NAME).write_bytes(LINE + b"\n{torn")
        Path(folder, FAILED_NAME).touch()
        fired = killed(logcheck.repair, call, when, do, folder)
        assert Path(folder, LOG_NAME).read_bytes() in (LINE + b"\n{torn", LINE + b"\n{torn\n")
        assert os.path.exists(f"{folder}/{FAILED_NAME}") or not fired
        logcheck.repair(folder)
        report = logcheck.check(folder)
        assert (report.events, report.bad_lines, report.tail_bytes, report.failed) == (1, 1, 0, False)
        if not fired:
            break
        when += 1
    assert when > 1


def test_a_repair_that_does_not_reach_the_disk_leaves_log_and_mark_as_they_were(folder, monkeypatch):
    """C-5: nothing is called sound before it is."""

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    Path(folder, LOG_NAME).write_bytes(LINE + b"\n{torn")
    Path(folder, FAILED_NAME).touch()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken disk"):
        logcheck.repair(folder)
    assert Path(folder, LOG_NAME).read_bytes() == LINE + b"\n{torn"
    assert Path(folder, FAILED_NAME).exists()
    assert os.listdir(f"{folder}/torn") == []


def test_what_a_killed_supervisor_left_of_a_snapshot_goes_with_the_next_one(folder):
    """C-25: or each kill would leave some more."""
    Path(folder, f"{snapshot.NAME}.77.5.tmp").write_bytes(b"half")
    log = Journal(folder)
    log.append(RECORD)
    snapshot.Tender(folder, log).tend(*snapshot.load(folder))
    assert sorted(name for name in os.listdir(folder) if name.startswith(snapshot.NAME)) == [snapshot.NAME]


def test_a_failed_sync_whose_mark_cannot_be_made_fails_its_writer_all_the_same(folder, monkeypatch):
    """C-5: a disk that broke takes no new file either."""
    log = Journal(folder)
    log.append(RECORD)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(journal, "_to_disk", broken)
    monkeypatch.setattr(journal, "open_private", broken)
    for _ in range(2):
        with pytest.raises(OSError, match="broken disk"):
            log.append(RECORD, lasting=True)
    monkeypatch.undo()
    with pytest.raises(OSError, match="failed to reach the disk"):
        log.append(RECORD)
    assert os.path.exists(f"{folder}/{FAILED_NAME}"), "made as soon as it can be"
    logcheck.repair(folder)
    log.append(RECORD)


# --- lines of any kind (F55) ------------------------------------------------------------------------------------------------------

OPENED = b'{"t":"session.opened","v":2,"ts":1.0,"mono":1.0,"boot":"b","by":"x","session":"s","source":"startup","claude_pid":1}'
JUNK = {
    "NULs": b"\0" * 4096,
    "invalid UTF-8": sealed(RECORD.replace(b'"r"', b'"\xff\xfe"')),
    "two records glued": LINE + LINE,
    "torn": LINE[:40],
    "unknown version": sealed(RECORD.replace(b'"v":2', b'"v":99')),
    "unknown type": sealed(RECORD.replace(b"supervisor.stopped", b"nobody.knows")),
    "damaged": LINE.replace(b'"r"', b'"s"'),
    "longer than any record": b"x" * (3 * LINE_LIMIT_BYTES),
    "empty": b"",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_a_line_that_is_no_event_is_skipped_counted_kept_and_shown(short, project, state_base, junk):
    """F55: by the reader, the check and doctor; a repair leaves it where it is."""
    granted = trust.grant(str(project), "on", None, base=str(state_base), python=sys.executable)
    folder = granted.paths.folder
    log = Journal(folder)
    log.append(RECORD)
    with open(granted.paths.events, "ab") as file:
        file.write(junk + b"\n")
    log.append(OPENED)
    state = fold(read(folder))
    assert (state.events, state.bad_lines, state.anomaly_count, list(state.sessions)) == (2, 1, 0, ["s"])
    report = logcheck.check(folder)
    assert [bad.offset for bad in report.bad] == [len(LINE) + 1]
    assert report.bad[0].reason
    logcheck.repair(folder)
    assert junk in Path(granted.paths.events).read_bytes()
    (shown,) = [check for check in doctor.examine(str(project), str(state_base)) if check.name == "log"]
    assert shown.level == "warn"
    assert f"1 lines nobody can use (the latest at byte {len(LINE) + 1}" in shown.text
    assert "stretto log check" in shown.do


def test_a_line_that_was_appended_twice_is_an_event_that_does_not_fit_and_shown(short, project, state_base):
    """F55: byte for byte the same line, which has a right checksum."""
    granted = trust.grant(str(project), "on", None, base=str(state_base), python=sys.executable)
    log = Journal(granted.paths.folder)
    seen = b'{"t":"job.seen","v":2,"ts":1.0,"mono":1.0,"boot":"b","by":"x","job":"j","name":"n","argv":["n"],"cwd":".","streams":"merged"}'
    for _ in range(2):
        log.append(seen)
    (shown,) = [check for check in doctor.examine(str(project), str(state_base)) if check.name == "log"]
    assert "1 events that do not fit, the latest: job.seen twice" in shown.text


HUGE_BYTES = (100 if os.environ.get("STRETTO_SCALE") == "soak" else 32) * 1024 * 1024
ADDRESS_BYTES = 24 * 1024 * 1024
"""What the child may map at all beyond what it has at its start: less than the line is long."""

IN_LITTLE_MEMORY = """
import resource, sys
from stretto import journal, logcheck, snapshot
from stretto.fold import fold
folder, room, RECORD = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + room
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
journal.Journal(folder).append(RECORD)
state = fold(journal.read(folder))
assert (state.events, state.bad_lines) == (2, 1), (state.events, state.bad_lines)
assert logcheck.check(folder).bad_lines == 1
logcheck.repair(folder)
log = journal.Journal(folder)
assert log.rotate(1)
log.append(RECORD)
assert log.rotate(1)
journal.tidy(folder)
assert logcheck.check(folder).bad_lines == 1
with open("/proc/self/status") as file:  # the peak that getrusage tells is the forked test runner's
    print(next(line.split()[1] for line in file if line.startswith("VmHWM:")))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here to measure the limit by")
def test_a_line_longer_than_the_memory_takes_none_to_close_read_repair_and_compress(folder):
    """F55: a torn tail as well as a whole line, of 100 MB at soak scale; in a process that may not map as much as the line is long."""
    with open(f"{folder}/{LOG_NAME}", "wb") as file:
        file.write(LINE + b"\n")
        for _ in range(HUGE_BYTES >> 20):
            file.write(b"x" * (1 << 20))
    ran = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, folder, str(ADDRESS_BYTES), RECORD.decode()], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    peak_mb = int(ran.stdout) // 1024
    print(f"scale: a line of {HUGE_BYTES >> 20} MB; {peak_mb} MB resident at most, {ADDRESS_BYTES >> 20} MB more may be mapped")
    assert [isinstance(event, Bad) for _, event in read(folder)] == [False, True, False, False]
    assert next(after for begin, after, _ in lines(folder, len(LINE) + 1)) == len(LINE) + 1 + HUGE_BYTES + 1
