"""The log's file: one write under a lock, torn tails closed, bad lines shown and never fatal."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from stretto.errors import UnavailableError
from stretto.journal import LINE_LIMIT_BYTES, LOCK_NAME, LOG_NAME, Journal, Tail, follow, lines, parse, read, sealed
from stretto.model import Bad
from stretto.system import Lock

RECORD = b'{"t":"supervisor.stopped","ts":1.0,"mono":1.0,"boot":"b","by":"x","reason":"r"}'
LINE = sealed(RECORD)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def put(folder: str, data: bytes) -> None:
    with open(os.path.join(folder, LOG_NAME), "ab") as file:
        file.write(data)


def test_append_returns_the_offset_its_record_begins_at(folder):
    journal = Journal(folder)
    assert [journal.append(RECORD), journal.append(RECORD)] == [0, len(LINE) + 1]


def test_the_log_and_its_lock_are_readable_by_the_owner_only(folder):
    os.umask(os.umask(0))
    Journal(folder).append(RECORD)
    for name in (LOG_NAME, LOCK_NAME):
        assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600


@pytest.mark.parametrize("cut", range(1, len(LINE)))
def test_a_tail_torn_at_any_byte_is_kept_aside_and_costs_no_later_record(folder, cut):
    journal = Journal(folder)
    journal.append(RECORD)
    put(folder, LINE[:cut])
    offset = journal.append(RECORD)
    assert [line for _, _, line in lines(folder)] == [LINE, LINE[:cut], LINE]
    assert os.listdir(os.path.join(folder, "torn")) == [str(len(LINE) + 1)]
    assert offset == len(LINE) + 1 + cut + 1


def test_a_tail_without_its_newline_is_not_read_yet(folder):
    put(folder, RECORD + b"\n" + RECORD)
    assert len(list(read(folder))) == 1


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"{torn", id="torn"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\0" * 512, id="zeros"),
        pytest.param(b"\xff\xfe\x80", id="invalid UTF-8"),
        pytest.param(b'{"t":"nobody.knows"}', id="unknown type"),
        pytest.param(RECORD.replace(b'"t"', b'"v":99,"t"'), id="newer version"),
        pytest.param(b'{"t":"attempt.exited","ts":1.0}', id="fields missing"),
        pytest.param(RECORD[:40] + RECORD, id="two records glued"),
        pytest.param(LINE.replace(b'"r"', b'"s"'), id="checksum of another line"),
        pytest.param(RECORD.replace(b'"t"', b'"v":2,"t"'), id="format 2 without a checksum"),
        pytest.param(sealed(RECORD.replace(b'"t"', b'"v":3,"t"')), id="newer version, sound"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"x":' + b"[" * 4000, id="nested deeply"),
        pytest.param(sealed(b'{"x":' + b"[" * 4000 + b"]" * 4000 + b"}"), id="nested deeply, sound"),
        pytest.param(b"x" * (LINE_LIMIT_BYTES * 3 + 17), id="3 MB in one line"),
    ],
)
def test_a_line_that_is_no_event_is_bad_and_the_next_one_is_read(folder, junk):
    """F55."""
    put(folder, junk + b"\n" + RECORD + b"\n")
    first, second = (event for _, event in read(folder))
    assert isinstance(first, Bad)
    assert first.reason
    assert not isinstance(second, Bad)


def test_offsets_are_right_behind_an_overlong_line(folder):
    put(folder, b"x" * (LINE_LIMIT_BYTES * 2 + 5) + b"\n" + LINE + b"\n")
    begin, after, line = list(lines(folder))[1]
    assert (begin, after, line) == (LINE_LIMIT_BYTES * 2 + 6, LINE_LIMIT_BYTES * 2 + 6 + len(LINE) + 1, LINE)


def test_reading_from_an_offset_gives_the_rest_only(folder):
    journal = Journal(folder)
    journal.append(RECORD)
    second = journal.append(RECORD)
    assert [begin for begin, _ in read(folder, second)] == [second]


def test_a_tail_gives_every_line_once_whatever_happens_to_the_file_between_two_looks(folder):
    """Rotated, rotated twice, torn, mended as a new file: what is given out is what one reading from the beginning gives."""
    journal, tail, seen = Journal(folder), Tail(folder, 0), []

    def look():
        for batch in tail.new():
            seen.extend((batch.offset_of(index), line) for index, line in enumerate(batch.lines))

    def step(number):
        journal.append(RECORD.replace(b"1.0", b"%d.0" % number))

    def mend():
        os.rename(os.path.join(folder, LOG_NAME), os.path.join(folder, "old"))
        shutil.copy(os.path.join(folder, "old"), os.path.join(folder, LOG_NAME))

    steps = [
        lambda: step(1),
        lambda: None,
        lambda: (step(2), step(3)),
        lambda: (step(4), journal.rotate(1)),
        lambda: step(5),
        lambda: (step(6), journal.rotate(1), step(7), journal.rotate(1), step(8)),
        lambda: (put(folder, b"torn"), look(), step(9)),
        lambda: (mend(), step(10)),
    ]
    for act in [look, *steps]:
        act()
        look()
    assert seen == [(begin, line) for begin, _, line in lines(folder)]
    assert len(seen) == 11


def test_follow_yields_what_is_there_then_stops_when_told(folder):
    Journal(folder).append(RECORD)
    assert len(list(follow(folder, 0, stop=lambda: True))) == 1


def test_a_removed_log_is_made_anew(folder):
    journal = Journal(folder)
    journal.append(RECORD)
    os.unlink(os.path.join(folder, LOG_NAME))
    assert journal.append(RECORD) == 0
    assert len(list(read(folder))) == 1


def test_a_journal_that_is_kept_open_takes_the_lock_by_its_name(folder, monkeypatch):
    """Its folder was removed and made anew: whoever holds the new lock keeps it out; the old one means nothing any more."""
    monkeypatch.setattr("stretto.journal.LOCK_LIMIT_S", 0.05)
    journal = Journal(folder)
    journal.append(RECORD)
    shutil.rmtree(folder)
    os.mkdir(folder)
    holder = Lock(os.path.join(folder, LOCK_NAME))
    holder.acquire(1)
    with pytest.raises(UnavailableError):
        journal.append(RECORD)
    holder.close()
    assert journal.append(RECORD) == 0
    assert len(list(read(folder))) == 1


def test_a_journal_used_in_a_forked_child_takes_a_lock_of_its_own(folder, monkeypatch):
    """Through the copied descriptor the lock would be the parent's, and both would be let in at once."""
    monkeypatch.setattr("stretto.journal.LOCK_LIMIT_S", 0.05)
    journal = Journal(folder)
    journal.append(RECORD)
    lock = journal._locked()
    child = os.fork()
    if child == 0:
        try:
            journal.append(RECORD)
        except UnavailableError:
            os._exit(7)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    lock.release()
    assert os.waitstatus_to_exitcode(status) == 7
    assert len(list(read(folder))) == 1


def test_a_record_of_two_lines_is_refused_and_writes_nothing(folder):
    journal = Journal(folder)
    assert journal.append(RECORD) == 0
    with pytest.raises(ValueError, match="one line"):
        journal.append(b'{"two":\n"lines"}')
    assert journal.append(RECORD) == len(LINE) + 1
    assert [line for _, _, line in lines(folder)] == [LINE] * 2


def test_a_log_that_was_emptied_behind_a_kept_journal_takes_the_next_record(folder):
    journal = Journal(folder)
    journal.append(RECORD)
    os.truncate(os.path.join(folder, LOG_NAME), 0)
    assert journal.append(RECORD) == 0


def test_a_tail_that_tears_behind_a_kept_journal_is_closed_by_it(folder):
    """It knows where its own last record ended, and nothing of what others wrote since."""
    journal = Journal(folder)
    journal.append(RECORD)
    Journal(folder).append(RECORD)
    put(folder, b"torn")
    journal.append(RECORD)
    assert [line for _, _, line in lines(folder)] == [LINE, LINE, b"torn", LINE]


def test_a_lock_that_stays_held_is_an_error_and_writes_nothing(folder, monkeypatch):
    monkeypatch.setattr("stretto.journal.LOCK_LIMIT_S", 0.05)
    holder = Lock(os.path.join(folder, LOCK_NAME))
    holder.acquire(1)
    with pytest.raises(UnavailableError):
        Journal(folder).append(RECORD)
    holder.close()
    assert list(lines(folder)) == []


def test_a_log_that_is_a_symbolic_link_is_refused(folder):
    os.symlink("/dev/null", os.path.join(folder, LOG_NAME))
    with pytest.raises(OSError, match="symbolic"):
        Journal(folder).append(RECORD)


WRITER = """
import sys
from stretto.journal import Journal
folder, writer, count, size = sys.argv[1], *map(int, sys.argv[2:])
journal = Journal(folder)
for number in range(count):
    journal.append(b'{"t":"x","writer":%d,"number":%d,"pad":"%s"}' % (writer, number, bytes([97 + writer]) * size))
"""


def test_eight_processes_lose_and_mix_nothing(folder):
    """F54, scaled to seconds: 8 writers, 60 records of 20 kB each."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder, str(writer), "60", "20000"]) for writer in range(8)]
    assert [process.wait(60) for process in writers] == [0] * 8
    seen = [json.loads(line) for _, _, line in lines(folder)]
    assert sorted((item["writer"], item["number"]) for item in seen) == [(writer, number) for writer in range(8) for number in range(60)]
    assert all(set(item["pad"]) == {chr(97 + item["writer"])} for item in seen)


@pytest.mark.parametrize("record", [b"", b"{}", b"[1,2,3,4]", b'{"t":"x"}\n', b'{"t":\n"x"}', b'{"t":"x"'])
def test_a_record_that_is_no_object_on_one_line_is_refused_and_writes_nothing(folder, record):
    with pytest.raises(ValueError, match="one line"):
        Journal(folder).append(record)
    assert list(lines(folder)) == []


def test_parse_never_raises_on_any_bytes():
    for line in (b"", b"null", b"{}", b'"', b"\xff", b'{"t":1}', b"9" * 400):
        assert isinstance(parse(line), Bad)
