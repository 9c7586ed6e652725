"""The directory of one attempt: what its readers make of every state a writer, or its death, can leave behind."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stretto import bundle
from stretto.model import AttemptId, End
from stretto.testing.wait import wait_until

ONE, TWO, THREE = (AttemptId(letter * 32) for letter in "abc")


@pytest.fixture
def attempts(short: Path) -> str:
    return str(short / "attempts")


@pytest.fixture
def folder(attempts: str) -> Path:
    return Path(bundle.create(attempts, ONE))


class Writer:
    """Holds the lock of a bundle as a shim or a monitor does."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


@pytest.fixture
def writer(folder: Path) -> Iterator[Writer]:
    writer = Writer(folder)
    yield writer
    writer.close()


def frame(stream: int, length: int) -> bytes:
    return bytes([stream]) + length.to_bytes(4, "big")


def test_a_new_bundle_is_private_empty_and_made_once(attempts, folder):
    assert folder == Path(bundle.folder_of(attempts, ONE))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []
    assert bundle.sizes(str(folder)) == (0, 0)
    with pytest.raises(FileExistsError):
        bundle.create(attempts, ONE)


@pytest.mark.parametrize(
    ("text", "end", "sizes"),
    [
        (b"code 0 4 0\n", End(how="code", value=0), (4, 0)),
        (b"code 255 0 0\n", End(how="code", value=255), (0, 0)),
        (b"signal 11 2 3\n", End(how="signal", value=11), (2, 3)),
        (b"cancelled 15 4 3\n", End(how="cancelled", value=15), (4, 3)),
        (b"timeout 0 1 0\n", End(how="timeout"), (1, 0)),
        (b"oversize 0 99 99\n", End(how="oversize"), (99, 99)),
        (b"memory 0 4 3\n", End(how="memory"), (4, 3)),
        (b"processes 0 4 3\n", End(how="processes"), (4, 3)),
        (b"unstarted 2 0 0\n", End(how="unstarted", value=2), (0, 0)),
    ],
)
def test_an_exit_says_how_it_ended_and_how_much_was_printed(folder, text, end, sizes):
    (folder / "out").write_bytes(b"four")
    (folder / "err").write_bytes(b"two")
    (folder / "exit").write_bytes(text)
    assert bundle.read_exit(str(folder)) == (end, *sizes)


def test_without_an_exit_file_nothing_has_ended(folder):
    assert bundle.read_exit(str(folder)) is None
    assert bundle.read_exit(str(folder / "nowhere")) is None


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"\n", b"code 0 4\n", b"code 0 4 0", b"code 0 4 0 0\n", b"passed 0 4 0\n", b"code -1 4 0\n", b"code x 4 0\n"),
        *(b"code 0 4 \xb2\n", b"code 0 5 0\n", b"code 0 4 1\n", b"code 0\x00 4 0\n", b"code 0 4 0\n\n"),
    ],
)
def test_a_damaged_exit_or_one_that_counts_missing_output_is_lost_and_never_a_result(folder, text):
    (folder / "out").write_bytes(b"four")
    (folder / "exit").write_bytes(text)
    found = bundle.read_exit(str(folder))
    assert found is not None
    assert found.end.how == "lost"


def test_every_truncation_of_an_exit_line_is_lost(folder):
    whole = b"code 0 4 0\n"
    (folder / "out").write_bytes(b"four")
    for cut in range(len(whole)):
        (folder / "exit").write_bytes(whole[:cut])
        found = bundle.read_exit(str(folder))
        assert found is not None
        assert found.end.how == "lost"


def test_writing_is_said_only_while_somebody_holds_the_lock(folder):
    assert not bundle.writing(str(folder))
    writer = Writer(folder)
    assert bundle.writing(str(folder))
    writer.close()
    assert not bundle.writing(str(folder))


def test_a_finished_run_is_read_in_the_order_in_which_it_was_seen(folder):
    (folder / "out").write_bytes(b"ooOOO-late")
    (folder / "err").write_bytes(b"eE")
    (folder / "frames").write_bytes(frame(1, 2) + frame(2, 1) + frame(1, 3) + frame(2, 1))
    (folder / "exit").write_bytes(b"code 1 5 2\n")
    assert list(bundle.follow(str(folder), live=False)) == [(1, b"oo"), (2, b"e"), (1, b"OOO"), (2, b"E")]


def test_output_the_index_does_not_name_is_still_read(folder):
    """A writer that died between the bytes and their frame, or in the middle of one."""
    (folder / "out").write_bytes(b"ooOO")
    (folder / "err").write_bytes(b"eeE")
    (folder / "frames").write_bytes(frame(1, 2) + frame(2, 2)[:3])
    (folder / "lock").touch()
    assert list(bundle.follow(str(folder), live=True)) == [(1, b"oo"), (1, b"OO"), (2, b"eeE")]


def test_what_a_run_left_behind_prints_later_is_not_part_of_it(folder):
    (folder / "out").write_bytes(b"its own, and later")
    (folder / "exit").write_bytes(b"code 0 7 0\n")
    assert b"".join(chunk.data for chunk in bundle.follow(str(folder), live=False)) == b"its own"


def test_following_a_live_run_goes_on_until_it_ends(folder, writer):
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.extend(chunk.data for chunk in bundle.follow(str(folder), live=True)))
    with open(folder / "out", "ab", buffering=0) as out:
        out.write(b"one ")
        thread.start()
        wait_until(lambda: b"".join(seen) == b"one ")
        out.write(b"two ")
        wait_until(lambda: b"".join(seen) == b"one two ")
        out.write(b"three")
        (folder / "exit").write_bytes(b"code 0 13 0\n")
    thread.join(10)
    assert b"".join(seen) == b"one two three"


def test_following_a_run_whose_writer_died_ends(folder, writer):
    (folder / "out").write_bytes(b"half")
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.extend(chunk.data for chunk in bundle.follow(str(folder), live=True)))
    thread.start()
    wait_until(lambda: seen == [b"half"])
    writer.close()
    thread.join(10)
    assert not thread.is_alive()


def test_pruning_takes_the_oldest_first_and_stops_at_the_limit(attempts):
    for at, attempt in enumerate((TWO, ONE, THREE)):
        folder = Path(bundle.create(attempts, attempt))
        (folder / "out").write_bytes(b"x" * 8192)
        os.utime(folder, (1000 + at, 1000 + at))
    assert bundle.prune(attempts, keep=(), limit_bytes=2 * 8192, most=99) == [TWO]
    assert bundle.prune(attempts, keep=(), limit_bytes=2 * 8192, most=99) == []
    assert bundle.prune(attempts, keep={ONE}, limit_bytes=0, most=99) == [THREE]
    assert sorted(os.listdir(attempts)) == [ONE]


def test_pruning_leaves_what_is_being_written_and_what_has_just_begun(attempts, folder, writer):
    (folder / "out").write_bytes(b"x" * 8192)
    os.utime(folder, (1000, 1000))
    Path(bundle.create(attempts, TWO), "out").write_bytes(b"x" * 8192)
    assert bundle.prune(attempts, keep=(), limit_bytes=0, most=99) == []
    writer.close()
    assert bundle.prune(attempts, keep=(), limit_bytes=0, most=99) == [ONE]


def test_pruning_finishes_what_an_earlier_one_began(attempts, folder):
    (folder / "out").write_bytes(b"x")
    os.rename(folder, os.path.join(attempts, bundle.HIDDEN + ONE))
    bundle.prune(attempts, keep=(), limit_bytes=1 << 30, most=99)
    assert os.listdir(attempts) == []
    assert bundle.prune(attempts + "/nowhere", keep=(), limit_bytes=0, most=99) == []


def test_removing_does_not_disturb_a_reader(attempts, folder):
    (folder / "out").write_bytes(b"still here")
    with open(folder / "out", "rb") as reader:
        bundle.remove(attempts, ONE)
        assert not folder.exists()
        assert reader.read() == b"still here"
    bundle.remove(attempts, ONE)


def test_no_more_runs_are_kept_than_told_however_small(tmp_path, monkeypatch):
    monkeypatch.setattr("stretto.bundle.BEGIN_S", 0.0)
    attempts = str(tmp_path / "attempts")
    for number, attempt in enumerate((ONE, TWO, THREE)):
        os.utime(bundle.create(attempts, attempt), (number, number))
    assert bundle.prune(attempts, keep=(), limit_bytes=1 << 30, most=1) == [ONE, TWO]


# --- the seal ---------------------------------------------------------------------------------------------------------------


def ended(folder: Path, out: bytes = b"one\n", err: bytes | None = None, exit_line: bytes | None = None) -> None:
    """An ended run, long ago as far as files are concerned."""
    (folder / "out").write_bytes(out)
    if err is not None:
        (folder / "err").write_bytes(err)
        (folder / "frames").write_bytes(frame(1, len(out)) + frame(2, len(err)))
    (folder / "exit").write_bytes(exit_line or b"code 0 %d %d\n" % (len(out), len(err or b"")))


def test_a_seal_names_the_end_and_the_bytes(folder):
    ended(folder, b"one\n", b"two\n")
    seal = bundle.seal(str(folder))
    assert seal is not None
    assert seal.exit == bundle.Exit(End(how="code", value=0), 4, 4)
    assert seal.digest == bundle.digest_of(b"one\n", b"two\n", frame(1, 4) + frame(2, 4))


def test_a_seal_covers_what_was_printed_by_the_end_and_no_more(folder):
    """What a process that was left running prints later is shown to nobody."""
    ended(folder, b"one\nlater\n", exit_line=b"code 0 4 0\n")
    seal = bundle.seal(str(folder))
    assert seal is not None and seal.digest == bundle.digest_of(b"one\n")


@pytest.mark.parametrize("line", [b"lost 0 0 0\n", b"cancelled 15 4 0\n", b"code 0 5 0\n", b"code 0 4", b"junk\n", b""])
def test_what_is_not_whole_has_no_seal(folder, line):
    ended(folder)
    (folder / "exit").write_bytes(line)
    assert bundle.seal(str(folder)) is None


def test_a_pipe_where_the_output_should_be_is_not_waited_for(folder):
    ended(folder)
    (folder / "out").unlink()
    os.mkfifo(folder / "out")
    assert bundle.seal(str(folder)) is None


def test_a_seal_taken_in_the_same_tick_as_a_write_does_not_trust_the_times(folder, monkeypatch):
    """Kernels stamp files by a clock of some milliseconds: a write within one leaves the record as it was."""
    ended(folder)
    young = bundle.seal(str(folder))
    assert young is not None and not young.settled
    monkeypatch.setattr(bundle, "RACY_NS", -(10**12))
    old = bundle.seal(str(folder))
    assert old is not None and old.settled
    (folder / "out").write_bytes(b"two\n")
    monkeypatch.setattr(bundle, "_records", lambda _: old.records)  # as if no time had passed
    assert bundle.still(str(folder), young) is None
    assert bundle.still(str(folder), old) is old, "which is why only an old one is trusted"


def test_files_that_only_look_touched_are_read_once_and_trusted_again(folder, monkeypatch):
    monkeypatch.setattr(bundle, "RACY_NS", -(10**12))
    ended(folder)
    seal = bundle.seal(str(folder))
    assert seal is not None
    os.utime(folder / "out", ns=(0, 0))
    again = bundle.still(str(folder), seal)
    assert again is not None and again != seal and again.digest == seal.digest
    assert bundle.still(str(folder), again) is again
