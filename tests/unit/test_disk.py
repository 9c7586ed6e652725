"""F58: a file system that cannot carry locks or appends is found out, by what the system says and by trying."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from stretto import disk
from stretto.disk import filesystem, unfit

LOCAL = ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "apfs", "9p", "virtiofs", "fuseblk")
SHARED = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "afs", "ceph", "glusterfs", "lustre")


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of its mounts, in the test's hands."""
    path = tmp_path / "mounts"
    monkeypatch.setattr(disk, "MOUNTS", str(path))
    return path


@pytest.mark.parametrize("kind", LOCAL)
def test_a_local_file_system_with_locks_is_fit(tmp_path, mounts, kind):
    mounts.write_text(f"none / ext4 rw 0 0\nnone {tmp_path} {kind} rw 0 0\n")
    assert (filesystem(str(tmp_path)), unfit(str(tmp_path))) == (kind, "")


@pytest.mark.parametrize("kind", SHARED)
def test_a_network_file_system_is_unfit_though_its_locks_work(tmp_path, mounts, kind):
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/home {tmp_path} {kind} rw,vers=4.2 0 0\n")
    assert unfit(str(tmp_path)) == f"it is on a network file system ({kind})"


def test_the_mount_nearest_above_decides_and_the_latest_of_two_on_one_place(tmp_path, mounts):
    (tmp_path / "a" / "b").mkdir(parents=True)
    mounts.write_text(f"x / nfs rw 0 0\nx {tmp_path}/a ext4 rw 0 0\nx {tmp_path}/a xfs rw 0 0\nx {tmp_path}/ab cifs rw 0 0\n")
    assert filesystem(str(tmp_path / "a" / "b")) == "xfs"
    assert filesystem(str(tmp_path)) == "nfs"


def test_a_folder_reached_through_a_link_or_with_a_space_is_found_where_it_is(tmp_path, mounts):
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    mounts.write_text(f"x / ext4 rw 0 0\nx {tmp_path}/a\\040b nfs rw 0 0\n")
    assert filesystem(str(tmp_path / "link")) == "nfs"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_unfit(tmp_path, monkeypatch, number):
    def flock(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "has no locks" in unfit(str(tmp_path))


def test_a_file_system_whose_locks_keep_nobody_out_is_unfit(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: None)
    assert "keep nobody out" in unfit(str(tmp_path))


def test_looking_leaves_no_file(tmp_path):
    assert unfit(str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []


def test_where_the_system_names_no_mounts_locks_alone_decide(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "MOUNTS", str(tmp_path / "nowhere"))
    assert (filesystem(str(tmp_path)), unfit(str(tmp_path))) == ("unknown", "")
