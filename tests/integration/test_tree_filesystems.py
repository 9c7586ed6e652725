"""C-20: what a scan does on file systems that promise less. Kinds are told by a mountinfo of the test; tmpfs and overlay are real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration.test_tree import Watch, quiet_home, root, write  # noqa: F401  (fixtures)
from stretto import tree
from stretto.tree import Scanner


@pytest.fixture
def kind(monkeypatch, short):
    """Say what the file system of a folder is called, in `/proc/self/mountinfo` as the scan reads it."""
    real = tree._read

    def name(folder: Path, kind: str) -> None:
        device = os.stat(folder).st_dev
        line = f"27 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - {kind} server:/x rw\n"
        monkeypatch.setattr(tree, "_read", lambda path, *rest: line.encode() if path == "/proc/self/mountinfo" else real(path, *rest))

    return name


LOCAL = ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs")
FAR = ("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse", "fuse.sshfs", "fuseblk", "vboxsf", "ceph", "afs")


@pytest.mark.parametrize("name", LOCAL + FAR)
def test_a_file_changed_a_minute_ago_is_compared_by_content_where_another_clock_gives_the_times(root, kind, monkeypatch, name):  # noqa: F811
    """Two writes may leave one record there: nobody knows how coarse the other clock is, nor how far it is off."""
    kind(root, name)
    now_ns = os.stat(root / "src" / "a.py").st_ctime_ns + 60 * 10**9
    monkeypatch.setattr(tree.time, "time_ns", lambda: now_ns)
    opened = []
    real = tree._content
    monkeypatch.setattr(tree, "_content", lambda path, record: opened.append(path) or real(path, record))
    Watch(root).moved()
    assert (str(root / "src" / "a.py") in opened) is (name in FAR)


@pytest.mark.parametrize("name", ["vfat", "msdos", "exfat"])
def test_where_no_change_times_are_kept_nothing_is_known(root, kind, name):  # noqa: F811
    kind(root, name)
    assert f"is on a {name} file system, which keeps no change times" in Scanner(str(root)).scan().problem


@pytest.mark.parametrize("name", ["nfs4", "overlay", "9p", "fuse.sshfs", "apfs"])
def test_where_nothing_is_promised_of_folders_a_file_that_came_is_found_though_the_folder_says_nothing(root, kind, monkeypatch, name):  # noqa: F811
    kind(root, name)
    monkeypatch.setattr(tree, "COARSE_RACY_NS", 0)
    monkeypatch.setattr(tree, "REMOTE_RACY_NS", 0)
    real = os.fstat

    def frozen(descriptor: int) -> os.stat_result:
        """What a folder says when its times do not move."""
        fields = list(real(descriptor))
        return os.stat_result([*fields[:6], 0, 0, 0, 0], {"st_mtime_ns": 0, "st_ctime_ns": 0})

    monkeypatch.setattr(tree.os, "fstat", frozen)
    watch = Watch(root)
    write(root / "src" / "new.py")
    assert watch.moved() == {"src/new.py"}


@pytest.mark.parametrize("name", ["SRC/__PyCache__/x.pyc", "Node_Modules/pkg/index.js", ".Mypy_Cache/x", ".PYTEST_CACHE/x"])
def test_a_name_that_is_a_cache_in_another_case_is_looked_at(root, name):  # noqa: F811
    """Where case does not count a tool may mean the same folder: then nothing is left out, which is safe. git itself knows `ignorecase`."""
    path = write(root / name)
    watch = Watch(root)
    write(path, "2")
    assert watch.moved() == {name}


def test_a_write_named_in_another_case_is_not_taken_for_seen(root):  # noqa: F811
    """`covers` says no, and the write begins an epoch."""
    watch = Watch(root)
    assert watch.scanner.covers(str(root / "src" / "a.py"))
    assert not watch.scanner.covers(str(root).upper() + "/src/a.py")


def test_a_file_renamed_to_another_case_is_seen(root):  # noqa: F811
    watch = Watch(root)
    (root / "src" / "a.py").rename(root / "src" / "A.py")
    assert watch.moved() == {"src/a.py", "src/A.py"}


SCRIPT = """
import json, os, shutil, sys
from stretto import tree
tree.COARSE_RACY_NS = tree.RACY_NS = 40_000_000
root = sys.argv[1]
scanner = tree.Scanner(root)
assert scanner.scan().problem == ""
found = []
def look(what, change):
    scanner.scan()
    change()
    found.append([what, sorted(each.path for each in scanner.scan().moved)])
def write(name, text):
    with open(os.path.join(root, name), "w") as file:
        file.write(text)
look("copied up", lambda: write("low.txt", "changed"))
look("covered", lambda: os.unlink(os.path.join(root, "gone.txt")))
look("made in a folder of below", lambda: write("folder/new.txt", "new"))
look("made again", lambda: write("gone.txt", "again"))
look("mode of a folder of below", lambda: os.chmod(os.path.join(root, "folder"), 0o700))
look("folder covered whole", lambda: shutil.rmtree(os.path.join(root, "folder")))
look("nothing", lambda: None)
print(json.dumps([tree._file_systems().get(os.stat(root).st_dev), found]))
"""
EXPECTED = [
    ["copied up", ["low.txt"]],
    ["covered", ["gone.txt"]],
    ["made in a folder of below", ["folder/new.txt"]],
    ["made again", ["gone.txt"]],
    ["mode of a folder of below", ["folder"]],
    ["folder covered whole", ["folder", "folder/low.txt", "folder/new.txt"]],
    ["nothing", []],
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tmpfs", "overlay"])
def test_on_a_real_file_system_of_that_kind_every_change_is_found(short, name):
    """In a user namespace: an overlay copies up, covers and merges while the scan looks."""
    for file in ("low.txt", "gone.txt", "folder/low.txt"):
        write(short / "low" / file)
    for folder in ("top", "up", "work"):
        (short / folder).mkdir()
    # Both on a tmpfs: an overlay on top of an overlay, as in a container, is often refused.
    mount = f"mount -t tmpfs none {short}/top && cd {short}/top && cp -a {short}/low {short}/up {short}/work . && mkdir m"
    place = "low"
    if name == "overlay":
        mount += " && mount -t overlay none -o userxattr,lowerdir=low,upperdir=up,workdir=work m"
        place = "m"
    command = f'{mount} && "{sys.executable}" -c "$0" {short}/top/{place}'
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare")
    done = subprocess.run([unshare, "-Urm", "sh", "-c", command, SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 and re.search(r"unshare|mount", done.stderr):
        pytest.skip(f"this system lets us not mount a {name}: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [name, EXPECTED]
