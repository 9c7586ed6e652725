"""What a scan sees, on real files, real git and real installs: each input a check can depend on, changed once."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import venv
import zipfile
from pathlib import Path

import pytest

from stretto import tree
from stretto.model import Change, FileClass
from stretto.testing.wait import wait_until
from stretto.tree import Scanner, tool_identity

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always")


def git(folder: Path, *argv: str) -> str:
    return subprocess.run([*GIT, *argv], cwd=folder, check=True, capture_output=True, text=True).stdout


def write(path: Path, text: str = "x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def quiet_home(short, monkeypatch):
    """A home of this test's own: configuration in the home folder is an input."""
    monkeypatch.setenv("HOME", str(short / "h"))
    (short / "h").mkdir()


@pytest.fixture
def root(project):
    """A repository with sources, ignored files, a nested folder and a link."""
    write(project / ".gitignore", "build/\n*.log\n.env\nlocal/\n")
    write(project / "src" / "a.py", "one = 1\n")
    write(project / "src" / "deep" / "b.py", "two = 2\n")
    write(project / "build" / "out.bin")
    write(project / ".env", "KEY=1\n")
    (project / "link").symlink_to("src/a.py")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "second")
    return project


class Watch:
    """A scanner and what moved since it was last asked."""

    def __init__(self, root: Path) -> None:
        self.scanner = Scanner(str(root))
        first = self.scanner.scan()
        assert first.problem == "" and first.generation == 1 and first.moved == ()

    def moved(self) -> set[str]:
        scan = self.scanner.scan()
        assert scan.problem == ""
        return {change.path for change in scan.moved}

    def classes(self) -> dict[str, str]:
        scan = self.scanner.scan()
        return {change.path: change.of.value for change in self.scanner.classify(scan.moved)}


@pytest.fixture
def watch(root):
    return Watch(root)


# --- files


def same_size_same_times(path: Path) -> None:
    """What an editor and `touch -r` can do at worst: other content, size and modification time as before."""
    before = path.stat()
    text = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in text))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


ONE_CHANGE = [
    pytest.param(lambda r: write(r / "src/a.py", "one = 11\n"), {"src/a.py"}, id="content"),
    pytest.param(lambda r: same_size_same_times(r / "src/a.py"), {"src/a.py"}, id="same-size-and-mtime"),
    pytest.param(lambda r: os.utime(r / "src/a.py"), {"src/a.py"}, id="touch"),
    pytest.param(lambda r: (r / "src/a.py").chmod(0o755), {"src/a.py"}, id="chmod"),
    pytest.param(lambda r: (r / "src").chmod(0o700), {"src"}, id="chmod-of-a-folder"),
    pytest.param(lambda r: (r / "src/a.py").unlink(), {"src/a.py"}, id="deleted"),
    pytest.param(lambda r: write(r / "src/new.py"), {"src/new.py"}, id="created"),
    pytest.param(lambda r: write(r / "src/empty", ""), {"src/empty"}, id="empty-file"),
    pytest.param(lambda r: (r / "src/void").mkdir(), {"src/void"}, id="empty-folder"),
    pytest.param(lambda r: (r / "src/a.py").rename(r / "src/c.py"), {"src/a.py", "src/c.py"}, id="renamed"),
    pytest.param(
        lambda r: (r / "src/deep").rename(r / "src/far"),
        {"src/deep", "src/deep/b.py", "src/far", "src/far/b.py"},
        id="folder-renamed",
    ),
    pytest.param(lambda r: swap_for_folder(r / "src/a.py"), {"src/a.py"}, id="file-becomes-folder"),
    pytest.param(lambda r: relink(r / "link", "src/deep/b.py"), {"link"}, id="link-target"),
    pytest.param(lambda r: relink(r / "link", "nowhere"), {"link"}, id="link-to-nothing"),
    pytest.param(lambda r: os.link(r / "src/a.py", r / "src/twin.py"), {"src/a.py", "src/twin.py"}, id="hard-link"),
    pytest.param(lambda r: write(r / ".env", "KEY=2\n"), {".env"}, id="ignored-input"),
    pytest.param(lambda r: (r / "build/out.bin").unlink(), {"build/out.bin"}, id="ignored-product-deleted"),
    pytest.param(lambda r: shutil.rmtree(r / "build"), {"build", "build/out.bin"}, id="ignored-folder-deleted"),
    pytest.param(lambda r: os.mkfifo(r / "pipe"), {"pipe"}, id="fifo"),
    pytest.param(lambda r: write(r / "sub/__pycache__", "a file of that name"), {"sub", "sub/__pycache__"}, id="file-named-like-a-cache"),
]
"""A change, and the paths that are named."""


@pytest.mark.parametrize(("change", "moved"), ONE_CHANGE)
def test_scan_one_change_is_found_and_named(root, watch, change, moved):
    """F40: whatever moved between a run and the question is seen, untracked and ignored files too."""
    change(root)
    assert watch.moved() == moved
    assert watch.moved() == set()


@pytest.mark.parametrize(("change", "moved"), ONE_CHANGE)
def test_scan_one_change_in_folders_at_rest_is_found_and_named(root, monkeypatch, change, moved):
    """The same where the folders' own times spare the scan from listing them."""
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 40_000_000)
    monkeypatch.setattr(tree, "RACY_NS", 40_000_000)
    watch = Watch(root)
    listed = count_listings(monkeypatch)
    wait_until(lambda: listed(watch) == 0, what="a scan that lists no folder")
    change(root)
    assert watch.moved() == moved
    assert watch.moved() == set()


def count_listings(monkeypatch):
    """-> how many folders of the project one scan lists."""
    real, places = os.scandir, []

    def counted(path):
        places.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", counted)

    def listed(watch: Watch) -> int:
        places.clear()
        watch.moved()
        return sum(isinstance(place, int) for place in places)

    return listed


def test_scan_folder_that_rests_is_listed_once_and_one_changed_of_late_every_time(root, monkeypatch):
    watch = Watch(root)
    listed = count_listings(monkeypatch)
    folders = 1 + sum(len(below) for top, below, _ in os.walk(root) if "/.git" not in top) - 1  # git's own is not listed
    assert listed(watch) == listed(watch) == folders
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 0)
    watch.moved()
    assert listed(watch) == 0
    write(root / "src" / "new.py")
    assert listed(watch) == 1


@pytest.mark.parametrize("kind", ["overlay", "nfs4", "fuse.sshfs", ""])
def test_scan_on_a_file_system_of_which_nothing_is_promised_lists_every_folder(root, monkeypatch, kind):
    """C-20."""
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 0)
    monkeypatch.setattr(tree, "_file_systems", lambda: {os.stat(root).st_dev: kind} if kind else {})
    watch = Watch(root)
    listed = count_listings(monkeypatch)
    watch.moved()
    assert listed(watch) > 1


def test_scan_socket_and_name_that_is_not_utf8_are_seen(root, watch):
    odd = os.path.join(os.fsencode(root), b"odd-\xff.log")
    with open(odd, "wb"):
        pass
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(root / "sock"))
    server.close()
    assert watch.moved() == {"odd-\\xff.log", "sock"}
    os.unlink(odd)
    assert watch.classes() == {"odd-\\xff.log": "ignored"}


@pytest.mark.parametrize("undo", ["restore", "copy"])
def test_scan_change_and_change_back_counts_as_moved(root, watch, undo):
    """A-3: an input that was something else for a moment while a run read it."""
    path = root / "src" / "a.py"
    before, text = path.stat(), path.read_bytes()
    if undo == "copy":
        path.rename(root / "aside")
        path.write_bytes(b"other\n")
        os.replace(root / "aside", path)
    else:
        path.write_bytes(b"other\n")
        path.write_bytes(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.read_bytes() == text
    assert watch.moved() == {"src/a.py"}


def test_scan_folder_renamed_and_renamed_back_counts_as_moved(root, watch):
    """A-3 for a whole folder: the files in it are exactly what they were."""
    (root / "src").rename(root / "away")
    (root / "away").rename(root / "src")
    assert watch.moved() == {"src"}


def test_scan_folder_renamed_and_renamed_back_is_unseen_once_byte_code_came_into_it(root, watch):
    """A limit of A-3, in docs/join.md: the time that told of the renaming tells of the byte code then. A file that changed is seen."""
    (root / "src").rename(root / "away")
    (root / "away").rename(root / "src")
    (root / "src" / "__pycache__").mkdir(exist_ok=True)
    write(root / "src" / "__pycache__" / "a.cpython-311.pyc", "x")
    assert watch.moved() == set()
    (root / "src").rename(root / "away")
    write(root / "away" / "a.py", "one = 3\n")
    (root / "away").rename(root / "src")
    write(root / "src" / "__pycache__" / "a.cpython-311.pyc", "y")
    assert "src/a.py" in watch.moved()


def test_scan_content_changed_within_one_tick_is_found_by_content(root, watch, monkeypatch):
    """F40: times as coarse as a second, so that two writes leave equal records; only the hash can tell."""
    path = root / "src" / "a.py"
    real = tree._fields

    def coarse(found):
        mode, inode, size, mtime_ns, ctime_ns = real(found)
        return mode, inode, size, mtime_ns // 10**10 * 10**10, ctime_ns // 10**11 * 10**11

    monkeypatch.setattr(tree, "_fields", coarse)
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 200 * 10**9)
    coarse_watch = Watch(root)
    path.write_text("one = 2\n", encoding="utf-8")
    assert coarse_watch.moved() == {"src/a.py"}
    assert coarse_watch.moved() == set()


def test_scan_content_changed_within_one_tick_is_found_even_when_the_window_has_passed_since(root, monkeypatch):
    """The last comparison of a file that is racy no more: without it, a change right after the scan before would stay unseen for ever."""
    path = write(root / "src" / "racy.py", "one = 1\n")
    real = tree._fields
    monkeypatch.setattr(tree, "_fields", lambda found: (*real(found)[:3], 0, real(found)[4] // 10**11 * 10**11))
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 200 * 10**9)
    watch = Watch(root)
    path.write_text("two = 2\n", encoding="utf-8")
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 0)
    monkeypatch.setattr(tree, "RACY_NS", 0)
    assert watch.moved() == {"src/racy.py"}
    assert watch.scanner._racy == {}


def test_scan_file_written_while_it_is_hashed_counts_as_moved_until_it_rests(root):
    path = root / "src" / "busy"
    stop = threading.Event()

    def keep_writing():
        count = 0
        while not stop.is_set():
            count += 1
            path.write_text(f"{count:09d}\n" * 200, encoding="utf-8")

    path.write_text("begin\n", encoding="utf-8")
    busy = Watch(root)
    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        wait_until(lambda: "src/busy" in busy.moved())
    finally:
        stop.set()
        writer.join()
    busy.moved()
    assert busy.moved() == set()


# --- caches


@pytest.mark.parametrize("name", sorted(set(tree.CACHES) - tree.FORGETFUL))
def test_scan_caches_are_not_looked_at(root, watch, name):
    write(root / "src" / name / "x", "1")
    assert watch.moved() == set()
    write(root / "src" / name / "x", "2")
    write(root / "src" / name / "deep" / "y", "2")
    assert watch.moved() == set()
    shutil.rmtree(root / "src" / name)
    assert watch.moved() == set()


@pytest.mark.parametrize("place", ["__pycache__/data.bin", "src/__pycache__/data.bin", "src/deep/.mypy_cache/in/x"])
def test_scan_cache_that_git_tracks_is_a_source(root, place):
    path = write(root / place)
    git(root, "add", "-f", place)
    tracked = Watch(root)
    write(path, "other\n")
    assert tracked.moved() == {place}


def test_scan_link_into_a_cache_makes_what_it_leads_to_an_input(root):
    write(root / "src" / ".mypy_cache" / "data.json", "1")
    (root / "data.json").symlink_to("src/.mypy_cache/data.json")
    (root / "all").symlink_to("src/.mypy_cache")
    linked = Watch(root)
    write(root / "src" / ".mypy_cache" / "data.json", "2")
    moved = linked.moved()
    assert "data.json" in moved and str(root / "src" / ".mypy_cache" / "data.json") in moved


@pytest.mark.parametrize(
    "where", ["p/pyproject.toml", "p/tests/pytest.ini", "tox.ini", "p/setup.cfg", "p/Makefile", "p/noxfile.py", "p/package.json"]
)
def test_scan_pytest_cache_is_an_input_where_configuration_steers_by_it(root, short, where):
    """`addopts = "--ff"` makes a plain `pytest` read what the last one failed."""
    write(root / ".pytest_cache" / "v" / "x", "1")
    watch = Watch(root)
    config = write(short / where, "addopts = '-q --ff'\n")
    assert ".pytest_cache/v/x" in watch.moved()
    write(root / ".pytest_cache" / "v" / "x", "2")
    assert watch.moved() == {".pytest_cache/v/x"}
    assert watch.scanner.covers(str(root / ".pytest_cache" / "v" / "x"))
    write(config, "addopts = '-q --ffs x--ff'\n")
    watch.moved()
    write(root / ".pytest_cache" / "v" / "x", "3")
    assert watch.moved() == set()


ORDER = (".vite/vitest/da39a3ee5e6b4b0d3255bfef95601890afd80709/results.json", ".vite/vitest/results.json", ".vite/results.json")


@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize("place", [*ORDER, ".vitest/results.json", ".vite-temp/vitest.config.ts.timestamp-1.mjs"])
def test_scan_what_vitest_leaves_at_each_run_does_not_count_from_the_first_on(root, place, lock):
    write(root / ".gitignore", "node_modules\n")
    write(root / "node_modules" / "a" / "package.json", "{}")
    if lock:
        write(root / "node_modules" / ".package-lock.json", "{}")
    watch = Watch(root)
    for text in ("1", "2"):
        write(root / "node_modules" / place, text)
        assert watch.moved() == set()
    shutil.rmtree(root / "node_modules" / place.split("/")[0])
    assert watch.moved() == set()
    for other in (".vite/deps/a.js", f"{ORDER[0].rpartition('/')[0]}/deps/a.js", ".vitest/x/results.json", "a/results.json"):
        write(root / "node_modules" / other, "1")
        assert watch.moved() & {f"node_modules/{other}", "deps:node_modules"}, other


@pytest.mark.parametrize(
    ("where", "text"),
    [("vitest.config.mts", "export default {test: {isolate: false}}"), ("a/package.json", '{"scripts": {"test": "vitest run --bail 1"}}')],
)
def test_scan_results_of_vitest_are_an_input_where_the_order_of_files_may_decide(root, where, text):
    write(root / ".gitignore", "node_modules\n")
    write(root / "node_modules" / ".package-lock.json", "{}")
    write(root / "node_modules" / ORDER[0], "1")
    watch = Watch(root)
    config = write(root / where, text)
    watch.moved()
    write(root / "node_modules" / ORDER[0], "2")
    assert watch.moved() == {f"node_modules/{ORDER[0]}"}
    write(config, "{}")
    watch.moved()
    write(root / "node_modules" / ORDER[0], "3")
    assert watch.moved() == set()


def test_scan_results_of_vitest_that_git_tracks_are_sources(root):
    write(root / "node_modules" / ORDER[1], "1")
    git(root, "add", "-f", ".")
    watch = Watch(root)
    write(root / "node_modules" / ORDER[1], "2")
    assert watch.moved() == {f"node_modules/{ORDER[1]}"}


@pytest.mark.parametrize("name", sorted(tree.FORGETFUL))
def test_scan_cache_without_which_its_tool_may_say_something_else_is_a_change_when_it_is_gone(root, watch, name):
    """ruff and eslint hold a finding against its own file only (tests/integration/test_caches.py shows it)."""
    place = root / "src" / name
    if name == ".eslintcache":
        make, remake, take_away = lambda: write(place, "[]"), lambda: write(place, "[1]"), place.unlink
    else:
        make, remake, take_away = lambda: write(place / "x"), lambda: write(place / "deep" / "y"), lambda: shutil.rmtree(place)
    make()
    assert watch.moved() == set()
    remake()
    assert watch.moved() == set()
    take_away()
    assert watch.moved() == {f"src/{name}"}
    make()
    assert watch.moved() == set()


def test_scan_byte_code_that_is_gone_counts_and_what_comes_or_is_written_anew_does_not(root, watch):
    """Warnings of the compiler are said when byte code is made, and under `-W error` they are failures."""
    place = root / "src" / "__pycache__"
    write(place / "a.cpython-311.pyc", "\0" * 16)
    assert watch.moved() == set()
    write(place / "b.cpython-311.pyc", "\0" * 16)
    write(place / "a.cpython-311.pyc", "\0" * 15)
    write(place / "a.cpython-311.pyc.4711", "half")
    assert watch.moved() == set()
    (place / "a.cpython-311.pyc.4711").unlink()
    assert watch.moved() == set()
    (place / "a.cpython-311.pyc").unlink()
    assert watch.moved() == {"src/__pycache__"}
    shutil.rmtree(place)
    assert watch.moved() == {"src/__pycache__"}


def test_scan_byte_code_that_python_takes_unseen_is_a_source(root):
    """PEP 552 knows three kinds; the unchecked one is used whatever its source says."""
    source = write(root / "src" / "a.py", "one = 1\n")

    def compiled(mode: py_compile.PycInvalidationMode) -> None:
        py_compile.compile(str(source), invalidation_mode=mode)

    compiled(py_compile.PycInvalidationMode.CHECKED_HASH)
    watch = Watch(root)
    compiled(py_compile.PycInvalidationMode.TIMESTAMP)
    compiled(py_compile.PycInvalidationMode.CHECKED_HASH)
    assert watch.moved() == set()
    compiled(py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert watch.moved() == {"src/__pycache__"}
    assert watch.moved() == set()
    compiled(py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert watch.moved() == {"src/__pycache__"}
    compiled(py_compile.PycInvalidationMode.TIMESTAMP)
    assert watch.moved() == {"src/__pycache__"}


# --- links and what lies outside


def test_scan_file_a_link_leads_out_to_is_an_input(root, short):
    outside = write(short / "shared" / "data.txt", "1")
    (root / "data").symlink_to(outside)
    linked = Watch(root)
    same_size_same_times(outside)
    assert linked.moved() == {"data"}
    outside.unlink()
    assert linked.moved() == {"data"}


def test_scan_folder_a_link_leads_out_to_is_scanned(root, short):
    outside = write(short / "shared" / "deep" / "data.txt", "1")
    (root / "data").symlink_to(short / "shared")
    linked = Watch(root)
    write(outside, "2")
    assert linked.moved() == {str(outside)}
    assert linked.scanner.covers(str(outside)) and not linked.scanner.covers(str(short / "elsewhere"))


def test_scan_link_that_leads_on_through_another_outside_is_followed(root, short):
    first, second = short / "one", short / "two"
    write(first / "x", "1")
    write(second / "x", "2")
    (short / "current").symlink_to(first)
    (root / "data").symlink_to(short / "current")
    linked = Watch(root)
    relink(short / "current", str(second))
    assert "data" in linked.moved()
    write(second / "x", "3")
    assert linked.moved() == {str(second / "x")}


def test_scan_target_that_appears_later_is_seen(root, short):
    (root / "data").symlink_to(short / "later")
    linked = Watch(root)
    write(short / "later", "now")
    assert linked.moved() == {"data"}


def test_scan_links_in_a_circle_end(root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "self").symlink_to(".")
    (root / "up").symlink_to("../p")
    assert Watch(root).moved() == set()


def test_scan_configuration_above_the_project_and_at_home_is_an_input(root, short, watch):
    write(short / "pyproject.toml", "[tool.ruff]\n")
    write(short / "h" / ".config" / "ruff" / "ruff.toml", "")
    assert watch.moved() == {str(short / "pyproject.toml"), str(short / "h" / ".config" / "ruff" / "ruff.toml")}


# --- limits


def test_scan_too_many_entries_is_a_problem_and_compares_nothing(root, watch, monkeypatch):
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    monkeypatch.setattr(tree, "REST_S", 0.0)
    write(root / "src" / "a.py", "changed\n")
    scan = watch.scanner.scan()
    assert "the project has more than 3 entries" in scan.problem
    assert (scan.generation, scan.moved) == (1, ())
    monkeypatch.undo()
    assert "src/a.py" in watch.moved()


def test_scan_outside_folder_around_the_project_over_its_limit_is_a_problem(root, short, monkeypatch):
    """Elsewhere such a folder is looked at in another way (tests/integration/test_tree_outside.py); this one holds the project itself."""
    for number in range(20):
        write(short / "big" / f"f{number}")
    (root / "up").symlink_to("..")
    monkeypatch.setattr(tree, "MAX_OUTSIDE", 10)
    assert "leads to" in Scanner(str(root)).scan().problem


def test_scan_after_one_that_failed_counts_as_moved_though_nothing_differs(root, watch):
    """What was changed and changed back around a failed scan is not known."""
    root.rename(root.with_name("gone"))
    assert "it is not there" in watch.scanner.scan().problem
    root.with_name("gone").rename(root)
    assert watch.moved() != set()
    assert watch.moved() == set()


def test_scan_racy_file_too_big_to_hash_counts_as_moved(root, watch, monkeypatch):
    write(root / "src" / "big", "x" * 5000)
    watch.moved()
    monkeypatch.setattr(tree, "MAX_HASH_BYTES", 0)
    assert "src/big" in watch.moved()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give the scan away to another user")
def test_scan_folder_closed_to_the_user_is_a_problem_only_where_files_in_it_can_be_opened(monkeypatch):
    """A folder nobody of this user can enter cannot change a run's outcome; one that can be entered but not listed can."""
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:  # the tests' own folders are closed to other users
        root = Path(open_to_all)
        root.chmod(0o755)
        write(root / "data" / "x")
        found = [_problem_for_nobody(root, mode) for mode in (0o700, 0o711)]
    assert found == ["", "data cannot be listed"]


def _problem_for_nobody(root: Path, mode: int) -> str:
    (root / "data").chmod(mode)
    program = (
        "import os, sys; from stretto.tree import Scanner; os.setgid(65534); os.setuid(65534); print(Scanner(sys.argv[1]).scan().problem)"
    )
    return subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True).stdout.strip()


def test_changes_of_generations_nobody_remembers_is_a_change(root, watch, monkeypatch):
    monkeypatch.setattr(tree, "MAX_LOGGED", 5)
    for number in range(8):
        write(root / "src" / "a.py", f"{number}\n")
        watch.moved()
    now = watch.scanner.generation
    assert watch.scanner.changes(now, now) == ()
    assert watch.scanner.changes(now - 2, now) == (Change(path="src/a.py", of=FileClass.SOURCE),)
    for after, until in ((1, now), (0, now), (now, now + 1), (now, now - 1)):
        assert watch.scanner.changes(after, until)[0].path == "(more than is remembered)"


def test_changes_are_the_union_of_all_generations_between(root, watch):
    for name in ("one", "two", "three"):
        write(root / "src" / name)
        watch.moved()
    assert watch.scanner.generation == 4
    assert [change.path for change in watch.scanner.changes(1, 4)] == ["src/one", "src/three", "src/two"]
    assert [change.path for change in watch.scanner.changes(2, 3)] == ["src/two"]


# --- git


def empty_commit(root):
    git(root, "commit", "-q", "--allow-empty", "-m", "empty")


def stage(root):
    write(root / "src" / "staged.py")
    git(root, "add", "src/staged.py")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(empty_commit, id="empty-commit"),
        pytest.param(lambda r: git(r, "tag", "v1"), id="tag"),
        pytest.param(lambda r: git(r, "branch", "other"), id="branch"),
        pytest.param(lambda r: git(r, "checkout", "-q", "-b", "other"), id="checkout"),
        pytest.param(lambda r: git(r, "checkout", "-q", "--detach"), id="detach"),
        pytest.param(lambda r: git(r, "update-index", "--chmod=+x", "src/a.py"), id="index-mode"),
        pytest.param(lambda r: git(r, "update-index", "--assume-unchanged", "src/a.py"), id="index-flag"),
        pytest.param(lambda r: git(r, "rm", "-q", "--cached", "src/a.py"), id="index-removed"),
        pytest.param(lambda r: git(r, "config", "core.autocrlf", "true"), id="config"),
        pytest.param(lambda r: write(r / ".git" / "info" / "exclude", "*.tmp\n"), id="exclude"),
        pytest.param(stage, id="staged"),
    ],
)
def test_scan_git_state_is_an_input(root, watch, change):
    change(root)
    assert "git:." in watch.moved()
    assert watch.moved() == set()


def test_scan_stash_and_pop_counts_as_moved(root, watch):
    """A-3: the tree is as it was, but while the changes were away a run saw another one."""
    write(root / "src" / "a.py", "edited\n")
    watch.moved()
    git(root, "stash", "-q")
    git(root, "stash", "pop", "-q")
    assert "src/a.py" in watch.moved()


def test_scan_staged_and_unstaged_again_is_an_index_written_anew(root, watch):
    """A-3 for the index: entries are equal, but what a run saw in between is not known."""
    write(root / "src" / "a.py", "edited\n")
    watch.moved()
    git(root, "add", "src/a.py")
    git(root, "reset", "-q")
    assert watch.moved() == {"git:." + tree.TOUCHED}


def test_scan_index_refreshed_by_git_status_has_the_entries_it_had(root, watch):
    os.utime(root / "src" / "a.py")
    watch.moved()
    git(root, "status")
    assert watch.moved() == {"git:." + tree.TOUCHED}


def test_scan_packing_objects_changes_nothing(root, watch):
    git(root, "repack", "-q", "-a", "-d")
    assert watch.moved() == set()


@pytest.mark.parametrize("kind", ["nested", "submodule", "worktree"])
def test_scan_repository_within_the_project_has_its_own_state(root, short, kind):
    """F59: nested repositories, submodules and worktrees are found in the walk, wherever their git folder lies."""
    inner = root / "libs" / "inner"
    if kind == "worktree":
        git(root, "worktree", "add", "-q", str(inner))
    else:
        origin = short / "origin"
        origin.mkdir()
        git(origin, "init", "-q")
        write(origin / "mod.py")
        write(origin / ".gitignore", "*.tmp\n")
        git(origin, "add", "-A")
        git(origin, "commit", "-qm", "first")
        if kind == "submodule":
            git(root, "submodule", "--quiet", "add", str(origin), "libs/inner")
        else:
            git(root, "clone", "-q", str(origin), str(inner))
    watch = Watch(root)
    git(inner, "commit", "-q", "--allow-empty", "-m", "empty")
    assert "git:libs/inner" in watch.moved()
    write(inner / "more.py")
    assert watch.classes() == {"libs/inner/more.py": "source"}
    if kind != "worktree":
        write(inner / "more.tmp")
        assert watch.classes() == {"libs/inner/more.tmp": "ignored"}


def test_scan_in_a_worktree_or_through_a_link_sees_the_same_project(root, short):
    """F59: the project is its real path, however one came to it."""
    git(root, "worktree", "add", "-q", str(short / "wt"))
    (short / "alias").symlink_to(short / "wt")
    watch = Watch(short / "alias")
    assert watch.scanner.root == str(short / "wt")
    git(short / "wt", "commit", "-q", "--allow-empty", "-m", "empty")
    assert watch.moved() == {"git:."}
    write(short / "wt" / "src" / "a.py", "edited\n")
    git(short / "wt", "add", "-A")
    assert watch.moved() == {"git:.", "src/a.py"}


def test_scan_without_git_takes_everything_for_a_source(short):
    write(short / "plain" / "a.log", "1")
    watch = Watch(short / "plain")
    write(short / "plain" / "a.log", "2")
    assert watch.classes() == {"a.log": "source"}


def test_scan_git_begun_later_is_seen(short):
    write(short / "plain" / "a.py", "1")
    watch = Watch(short / "plain")
    git(short / "plain", "init", "-q")
    assert "git:." in watch.moved()


def test_scan_folder_named_git_that_is_no_repository_is_scanned(short):
    write(short / "plain" / ".git" / "notes", "1")
    watch = Watch(short / "plain")
    write(short / "plain" / ".git" / "notes", "2")
    assert watch.moved() == {".git/notes"}


def test_classify_tells_ignored_files_from_sources(root, watch):
    write(root / "src" / "new.py")
    write(root / "debug.log")
    write(root / "local" / "deep" / "x")
    write(root / "forced.log")
    git(root, "add", "-f", "forced.log")
    shutil.rmtree(root / "build")
    assert watch.classes() == {
        "src/new.py": "source",
        "debug.log": "ignored",
        "local": "ignored",
        "local/deep": "ignored",
        "local/deep/x": "ignored",
        "forced.log": "source",
        "build": "ignored",
        "build/out.bin": "ignored",
        "git:.": "git",
    }


def test_classify_asks_git_once_for_what_many_ask_until_something_moves(root, watch, monkeypatch):
    """A hundred known commands want to know of the same edit at each plan: a process for each would hold up every hook."""
    asked = []
    real = tree._git
    monkeypatch.setattr(tree, "_git", lambda *args, **more: asked.append(args) or real(*args, **more))
    write(root / "src" / "a.py", "one = 2\n")
    write(root / "local" / "x", "1\n")
    moved = watch.scanner.scan().moved
    asked.clear()
    classes = [watch.scanner.classify(moved) for _ in range(100)]
    assert len(set(classes)) == 1
    assert len(asked) == 1
    write(root / ".gitignore", "build/\n*.log\n.env\n")
    assert watch.classes()[".gitignore"] == "source"
    assert {change.path: change.of.value for change in watch.scanner.classify(moved)} == {
        "src/a.py": "source",
        "local": "source",
        "local/x": "source",
    }


def test_classify_folder_that_came_with_ignored_files_only_is_ignored(root, watch):
    write(root / "logs" / "deep" / "a.log")
    write(root / "mixed" / "a.log")
    write(root / "mixed" / "a.py")
    (root / "void").mkdir()
    classes = watch.classes()
    assert {path for path, of in classes.items() if of == "ignored"} == {"logs", "logs/deep", "logs/deep/a.log", "mixed/a.log"}
    shutil.rmtree(root / "logs")
    assert set(watch.classes().values()) == {"ignored"}


def test_classify_chmod_of_a_folder_is_a_source_whatever_else_moved_in_it(root, watch):
    write(root / "src" / "a.log")
    (root / "src").chmod(0o700)
    assert watch.classes() == {"src": "source", "src/a.log": "ignored"}


def test_classify_paths_behind_a_new_link_do_not_spoil_the_rest(root, watch):
    shutil.rmtree(root / "src" / "deep")
    (root / "src" / "deep").symlink_to("..")
    write(root / "debug.log")
    classes = watch.classes()
    assert classes["debug.log"] == "ignored" and classes["src/deep/b.py"] == "source"


# --- git is only read


def test_scan_takes_no_lock_and_leaves_one_that_is_held(root, watch):
    """F53: a foreground git may hold index.lock at any time."""
    lock = write(root / ".git" / "index.lock", "held")
    os.utime(root / "src" / "a.py")
    git_dir = {path: path.stat().st_ctime_ns for path in (root / ".git").rglob("*")}
    scan = watch.scanner.scan()
    watch.scanner.classify(scan.moved)
    assert scan.problem == "" and lock.read_text() == "held"
    assert {path: path.stat().st_ctime_ns for path in (root / ".git").rglob("*")} == git_dir


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_scan_opens_nothing_in_the_project_for_writing(root, short):
    """F53, F60: every file call of a scan, of its git and of a question about classes, seen by the kernel."""
    program = """if True:
        import os, sys
        from stretto.tree import Scanner
        root = sys.argv[1]
        scanner = Scanner(root)
        scanner.scan()
        open(os.environ["OUT"] + "/mark", "w").close()
        for name in ("src/a.py", "src/new.py", "debug.log"):
            with open(os.path.join(root, name), "a") as file: file.write("more")
        os.system("git -C " + root + " add src/new.py")
        open(os.environ["OUT"] + "/mark", "w").close()
        moved = scanner.scan().moved
        assert {change.of.value for change in scanner.classify(moved)} == {"source", "git", "ignored"}, moved
    """
    log = short / "strace"
    argv = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "300",
        "-e",
        "trace=file,pwrite64,write,ftruncate",
        "-o",
        str(log),
        sys.executable,
        "-c",
        program,
    ]
    env = os.environ | {"OUT": str(short), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*argv, str(root)], env=env, check=False, capture_output=True, text=True)
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0, done.stderr
    text = log.read_text(errors="replace")
    mark = str(short / "mark")
    before, after = text[: text.index(mark)], text[text.rindex(mark) :]
    writing = ("O_WRONLY", "O_RDWR", "O_CREAT", "rename", "unlink", "link(", "mkdir", "chmod", "utime", "truncate")
    guilty = [line for line in (before + after).splitlines() if str(root) in line and any(call in line for call in writing)]
    guilty = [line for line in guilty if "readlink" not in line and '"/dev/null"' not in line]
    assert "ls-files" in before and "check-ignore" in after, "git was not seen at all"
    assert guilty == []


@pytest.mark.slow
def test_scan_killed_in_the_middle_leaves_no_lock_behind(root):
    """F53: SIGKILL at any moment, git children included."""
    program = "import sys\nfrom stretto.tree import Scanner\nwhile True:\n    Scanner(sys.argv[1]).scan()\n    print('.', flush=True)"
    for turn in range(5):
        os.utime(root / "src" / "a.py")
        child = subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, start_new_session=True)
        assert child.stdout is not None
        child.stdout.read(2 + turn)
        os.killpg(child.pid, 9)
        child.wait()
        child.stdout.close()
    assert list((root / ".git").rglob("*.lock")) == []


def test_scan_never_runs_a_program_the_repository_names(root, short):
    """B-1: core.fsmonitor is a command line in the repository's own configuration."""
    trap = write(short / "trap.sh", f"#!/bin/sh\ntouch {short}/sprung\n")
    trap.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(trap))
    (short / "sprung").unlink(missing_ok=True)
    watch = Watch(root)
    write(root / "debug.log")
    watch.classes()
    assert not (short / "sprung").exists()


# --- installed packages


@pytest.fixture
def environment(root):
    """A virtual environment without pip."""
    venv.create(root / ".venv", symlinks=True)
    write(root / ".gitignore", ".venv/\n*.log\n")
    return root / ".venv"


def site_of(environment: Path) -> Path:
    return environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def wheel(folder: Path, name: str, version: str, body: str = "x = 1\n") -> Path:
    """A wheel as small as they come."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def pip(environment: Path, *argv: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check", *argv]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="no pip beside this Python")
def test_scan_real_pip_install_upgrade_and_uninstall_move_the_dependencies(environment, root, short):
    """F40: a package installed between the run and the question."""
    watch = Watch(root)
    pip(environment, "install", "--no-index", "--no-deps", str(wheel(short / "w", "tiny", "1.0")))
    assert watch.moved() == {"deps:.venv"}
    pip(environment, "install", "--no-index", "--no-deps", "--force-reinstall", str(wheel(short / "w", "tiny", "1.0")))
    assert watch.moved() == {"deps:.venv"}
    pip(environment, "install", "--no-index", "--no-deps", str(wheel(short / "w", "tiny", "1.1")))
    assert watch.moved() == {"deps:.venv"}
    pip(environment, "uninstall", "-y", "tiny")
    assert watch.moved() == {"deps:.venv"}
    assert watch.moved() == set()


def test_scan_byte_code_written_into_packages_is_no_change(environment, root):
    """The first import after an install writes `__pycache__` into every package; that must not tear the run."""
    site = site_of(environment)
    write(site / "pkg" / "__init__.py")
    write(site / "pkg" / "sub" / "mod.py")
    write(site / "six.py")
    watch = Watch(root)
    for place in (site, site / "pkg", site / "pkg" / "sub"):
        write(place / "__pycache__" / "x.pyc")
    assert watch.moved() == set()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda site: write(site / "six.py", "y\n"), id="module"),
        pytest.param(lambda site: write(site / "new-1.0.dist-info" / "METADATA"), id="dist-info"),
        pytest.param(lambda site: write(site / "pkg" / "more.py"), id="file-added-to-a-package"),
        pytest.param(lambda site: (site / "pkg" / "__init__.py").unlink(), id="file-taken-from-a-package"),
        pytest.param(lambda site: write(site / "x.pth", "/nowhere\n"), id="pth"),
        pytest.param(lambda site: same_size_same_times(site.parents[2] / "pyvenv.cfg"), id="pyvenv.cfg"),
        pytest.param(lambda site: write(site.parents[2] / "bin" / "tool"), id="program"),
        pytest.param(lambda site: relink(site.parents[2] / "bin" / "python", "/bin/sh"), id="interpreter"),
    ],
)
def test_scan_environment_is_compared_by_its_list(environment, root, change):
    site = site_of(environment)
    write(site / "pkg" / "__init__.py")
    write(site / "six.py")
    watch = Watch(root)
    change(site)
    assert watch.moved() == {"deps:.venv"}
    assert not watch.scanner.covers(str(site / "pkg" / "__init__.py"))


@pytest.mark.parametrize("how", ["direct_url", "pth", "egg-link"])
def test_scan_editable_install_outside_is_scanned(environment, root, short, how):
    lib = write(short / "lib" / "mod.py", "1").parent
    site = site_of(environment)
    if how == "direct_url":
        write(site / "lib-1.dist-info" / "direct_url.json", json.dumps({"dir_info": {"editable": True}, "url": f"file://{lib}"}))
    elif how == "pth":
        write(site / "lib.pth", f"import nothing\n# {short}\n{lib}\n")
    else:
        write(site / "lib.egg-link", f"{lib}\n.")
    watch = Watch(root)
    write(lib / "mod.py", "2")
    assert watch.moved() == {str(lib / "mod.py")}


def test_scan_folder_with_pyvenv_cfg_that_git_tracks_is_sources(root):
    """A test fixture may look like an environment."""
    write(root / "tests" / "fake" / "pyvenv.cfg")
    write(root / "tests" / "fake" / "lib" / "x.py", "1")
    git(root, "add", "-A")
    watch = Watch(root)
    write(root / "tests" / "fake" / "lib" / "x.py", "2")
    assert watch.moved() == {"tests/fake/lib/x.py"}


def test_scan_project_that_is_itself_an_environment_is_scanned(short):
    write(short / "e" / "pyvenv.cfg")
    write(short / "e" / "main.py", "1")
    watch = Watch(short / "e")
    write(short / "e" / "main.py", "2")
    assert watch.moved() == {"main.py"}


@pytest.fixture
def modules(root):
    """A node_modules as npm leaves it."""
    write(root / ".gitignore", "node_modules/\n*.log\n")
    folder = root / "node_modules"
    write(folder / ".package-lock.json", "{}")
    write(folder / "left-pad" / "package.json", '{"version": "1.0.0"}')
    write(folder / "@scope" / "pkg" / "package.json", "{}")
    write(folder / ".bin" / "tool")
    write(folder / ".prisma" / "client" / "index.js", "1")
    return folder


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        pytest.param(lambda m: write(m / ".package-lock.json", '{"a": 1}'), "deps:node_modules", id="lock-file"),
        pytest.param(lambda m: write(m / "other" / "index.js"), "deps:node_modules", id="package-added"),
        pytest.param(lambda m: shutil.rmtree(m / "left-pad"), "deps:node_modules", id="package-removed"),
        pytest.param(lambda m: write(m / "@scope" / "more" / "index.js"), "deps:node_modules", id="scoped-package-added"),
        pytest.param(lambda m: write(m / ".bin" / "other"), "deps:node_modules", id="program-added"),
        pytest.param(lambda m: write(m / ".prisma" / "client" / "index.js", "2"), "node_modules/.prisma/client/index.js", id="generated"),
    ],
)
def test_scan_node_modules_is_compared_by_its_list_and_generated_code_by_file(modules, root, change, moved):
    watch = Watch(root)
    change(modules)
    assert watch.moved() == {moved}


def test_scan_node_caches_are_not_looked_at(modules, root):
    watch = Watch(root)
    write(modules / ".cache" / "babel" / "x")
    write(modules / ".cache" / "one")
    assert watch.moved() == set()
    write(modules / ".cache" / "babel" / "y")
    (modules / ".cache" / "babel" / "x").unlink()
    write(modules / ".cache" / "one", "2")
    assert watch.moved() == set()
    shutil.rmtree(modules / ".cache" / "babel")
    assert watch.moved() == {"node_modules/.cache/babel"}
    shutil.rmtree(modules / ".cache")
    assert watch.moved() == {"node_modules/.cache", "node_modules/.cache/one"}


def test_scan_linked_checkout_in_node_modules_is_scanned(modules, root, short):
    write(short / "lib" / "index.js", "1")
    (modules / "lib").symlink_to(short / "lib")
    watch = Watch(root)
    write(short / "lib" / "index.js", "2")
    assert watch.moved() == {str(short / "lib" / "index.js")}


def test_scan_node_modules_without_a_lock_file_is_scanned_up_to_a_limit(modules, root, monkeypatch):
    (modules / ".package-lock.json").unlink()
    watch = Watch(root)
    write(modules / "left-pad" / "package.json", "{}")
    assert watch.moved() == {"node_modules/left-pad/package.json"}
    monkeypatch.setattr(tree, "MAX_UNMARKED", 3)
    assert watch.moved() == {"node_modules"}  # no package.json beside it: looked at when a result would be used
    before = watch.scanner.scan().moment
    write(modules / "left-pad" / "package.json", "{ }")
    assert watch.moved() == set() and watch.scanner.heaps_moved(before) == "node_modules"


def test_scan_node_modules_and_environments_behind_links_are_compared_by_their_lists(modules, environment, root, short):
    shutil.move(modules, short / "node_modules")
    modules.symlink_to(short / "node_modules")
    shutil.move(environment, short / "env")
    environment.symlink_to(short / "env")
    watch = Watch(root)
    write(short / "node_modules" / "other" / "index.js")
    write(site_of(short / "env") / "new-1.0.dist-info" / "METADATA")
    assert watch.moved() == {f"deps:{short}/node_modules", f"deps:{short}/env"}


# --- digest


@pytest.mark.slow
# --- tools


def test_tool_identity_is_the_same_until_something_moves(short):
    exe = write(short / "bin" / "tool", "#!/bin/sh\n")
    asked = (os.fsencode(exe), os.fsencode(short), (b"tool",))
    first = tool_identity(*asked)
    assert tool_identity(*asked) == first
    same_size_same_times(exe)
    assert tool_identity(*asked) != first


def test_tool_identity_sees_the_interpreter_env_finds_on_the_path(short):
    exe = write(short / "bin" / "tool", "#!/usr/bin/env interp\n")
    for folder in ("one", "two"):
        write(short / folder / "interp").chmod(0o755)
    asked = (os.fsencode(exe), os.fsencode(short), (b"tool",))
    one = tool_identity(*asked, os.fsencode(f"{short}/one:{short}/two"))
    assert one != tool_identity(*asked, os.fsencode(f"{short}/two:{short}/one"))
    write(short / "one" / "interp", "newer\n")
    assert one != tool_identity(*asked, os.fsencode(f"{short}/one:{short}/two"))


def test_tool_identity_of_a_tool_in_an_environment_outside_sees_an_install(short):
    venv.create(short / "env", symlinks=True)
    exe = write(short / "env" / "bin" / "tool", f"#!{short}/env/bin/python\n")
    asked = (os.fsencode(exe), os.fsencode(short), (b"tool",), b"/usr/bin:/bin")
    first = tool_identity(*asked, os.fsencode(short / "p"))
    write(site_of(short / "env") / "__pycache__" / "x.pyc")
    assert tool_identity(*asked, os.fsencode(short / "p")) == first
    write(site_of(short / "env") / "new-1.dist-info" / "METADATA")
    assert tool_identity(*asked, os.fsencode(short / "p")) != first


def test_tool_identity_leaves_an_environment_inside_the_project_to_the_scan(environment, root):
    exe = write(environment / "bin" / "tool", f"#!{environment}/bin/python\n")
    asked = (os.fsencode(exe), os.fsencode(root), (b"tool",), b"", os.fsencode(root))
    first = tool_identity(*asked)
    write(site_of(environment) / "new-1.dist-info" / "METADATA")
    assert tool_identity(*asked) == first


def test_tool_identity_of_a_wrapper_sees_the_program_and_the_environment_on_the_path(short):
    venv.create(short / "env", symlinks=True)
    exe = write(short / "bin" / "make")
    inner = write(short / "env" / "bin" / "check")
    inner.chmod(0o755)
    asked = (os.fsencode(exe), os.fsencode(short), (b"make", b"check"), os.fsencode(f"{short}/env/bin:/bin"))
    first = tool_identity(*asked)
    write(inner, "newer\n")
    second = tool_identity(*asked)
    write(site_of(short / "env") / "new-1.dist-info" / "METADATA")
    assert len({first, second, tool_identity(*asked)}) == 3


def test_tool_identity_of_a_node_tool_sees_its_package(short):
    exe = write(short / "jest" / "bin" / "jest.js", "#!/usr/bin/env node\n")
    write(short / "jest" / "package.json", '{"version": "29.0.0"}')
    asked = (os.fsencode(exe), os.fsencode(short), (b"jest",))
    first = tool_identity(*asked)
    write(short / "jest" / "package.json", '{"version": "29.0.1"}')
    assert tool_identity(*asked) != first


def test_tool_identity_of_a_version_managers_shim_sees_its_choice_and_its_installs(short):
    exe = write(short / "pyenv" / "shims" / "pytest", "#!/usr/bin/env bash\n")
    site = short / "pyenv" / "versions" / "3.12.1" / "lib" / "python3.12" / "site-packages"
    write(site / "pkg" / "__init__.py")
    write(short / "pyenv" / "version", "3.12.1\n")
    asked = (os.fsencode(exe), os.fsencode(short), (b"pytest",))
    seen = [tool_identity(*asked)]
    write(site / "new-1.dist-info" / "METADATA")
    seen.append(tool_identity(*asked))
    write(short / "pyenv" / "version", "3.12.2\n")
    seen.append(tool_identity(*asked))
    assert len(set(seen)) == 3


def test_tool_identity_of_nothing_or_of_a_circle_answers(short):
    (short / "a").symlink_to("b")
    (short / "b").symlink_to("a")
    loop = write(short / "loop", f"#!{short}/loop\n")
    for exe in (b"/nowhere/tool", os.fsencode(short / "a"), os.fsencode(loop), b""):
        assert len(tool_identity(exe, b"/", (b"tool",))) == 16
