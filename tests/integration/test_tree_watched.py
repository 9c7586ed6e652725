"""What inotify does not tell: the reasons of decision 0010, each shown on this kernel, and that the scan sees them."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import sys
from pathlib import Path

import pytest

from integration.test_tree import Watch, quiet_home, root, write  # noqa: F401  (fixtures)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")

EVERYTHING = 0xFCE
"""Every kind of event that tells of a change: modify, attributes, closed after writing, moved, made, deleted."""


class Inotify:
    """A queue with a watch on every folder given."""

    def __init__(self, *folders: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.queue = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for folder in folders:
            assert self.libc.inotify_add_watch(self.queue, os.fsencode(folder), EVERYTHING) >= 0, os.strerror(ctypes.get_errno())

    def told(self, cookie: Path) -> int:
        """Number of bytes of events that came before that of a file made now: the queue is in order, so nothing is still on its way."""
        before = self._drained()
        cookie.touch()
        assert self._drained() > 0, "the cookie itself was not told"
        cookie.unlink()
        self._drained()
        return before

    def _drained(self) -> int:
        size = 0
        while select.select([self.queue], [], [], 0)[0]:
            size += len(os.read(self.queue, 65536))
        return size


@pytest.fixture
def queue(root):  # noqa: F811
    made = Inotify(root, root / "src")
    yield made
    os.close(made.queue)


def test_a_write_is_told_so_silence_means_something(queue, root):  # noqa: F811
    write(root / "src" / "a.py", "other\n")
    assert queue.told(root / "cookie") > 0


def test_a_write_through_a_shared_map_is_never_told_and_the_scan_sees_it(queue, root):  # noqa: F811
    """Nothing about the file shows beforehand that somebody has it mapped: no class of files can be left to the watcher."""
    with open(root / "src" / "a.py", "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    watch = Watch(root)
    queue.told(root / "cookie")
    watch.moved()
    mapped[0:1] = b"X"
    assert queue.told(root / "cookie") == 0
    assert "src/a.py" in watch.moved()
    mapped.close()


def test_a_write_through_a_link_made_outside_is_never_told_and_the_scan_sees_it(queue, root, short):  # noqa: F811
    """Neither is the making of the link, so a count of links read earlier says nothing."""
    watch = Watch(root)
    os.link(root / "src" / "a.py", short / "twin.py")
    assert queue.told(root / "cookie") == 0
    with open(short / "twin.py", "ab") as file:
        file.write(b"# more\n")
    assert queue.told(root / "cookie") == 0
    assert "src/a.py" in watch.moved()


def test_what_happens_in_a_new_folder_before_its_watch_is_never_told_and_the_scan_sees_it(queue, root):  # noqa: F811
    watch = Watch(root)
    (root / "src" / "new").mkdir()
    assert queue.told(root / "cookie") > 0
    write(root / "src" / "new" / "b.py")
    assert queue.told(root / "cookie") == 0
    assert {"src/new", "src/new/b.py"} <= watch.moved()


@pytest.mark.slow
def test_an_overflowing_queue_forgets_and_the_scan_sees_all(queue, root):  # noqa: F811
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 40_000:
        pytest.skip(f"the queue holds {limit} events; filling it takes too long")
    watch = Watch(root)
    one, two = root / "src" / "a.py", root / "src" / "deep" / "b.py"
    for number in range(limit // 2 + 10):
        os.chmod(one, 0o644 if number % 2 else 0o600)
        os.chmod(root / "README", 0o644 if number % 2 else 0o600)
    events = b""
    write(root / "src" / "last.py")
    while select.select([queue.queue], [], [], 0)[0]:
        events += os.read(queue.queue, 65536)
    assert b"last.py" not in events
    write(two, "changed\n")
    assert {"src/last.py", "src/deep/b.py"} <= watch.moved()
