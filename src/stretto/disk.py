"""Whether a directory lies on a file system that can carry our state: locks that keep others out, and appends that are in place.

Hides how a system is asked for its mounts. Promises: looks only (the one file it makes, to try locking, is gone again). A file system
that has no locks, or that other machines share, is refused before anything relies on it: on NFS an append is not atomic and a lock may
be local to one machine, so that two writers would lose records without an error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile

from stretto.system import is_locked

MOUNTS = "/proc/self/mounts"
NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "fuse.rclone", "afs", "ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs", "lustre", "gpfs")
"""Beginnings of the names Linux gives to file systems that other machines may share. 9p and virtiofs are not among them: virtual
machines and sandboxes have their own disk on them, and whether locks work there is tried."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})


def unfit(folder: str) -> str:
    """Say why state cannot be kept in a directory that is there, "" when it can.

    Raises:
        OSError: nothing can be written there, or not be locked for a reason of its own.
    """
    kind = filesystem(folder)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="locks.") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept_out = is_locked(file.name)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return f"its file system ({kind}) has no locks: {error.strerror}"
    if not kept_out:
        return f"locks on its file system ({kind}) keep nobody out"
    return f"it is on a network file system ({kind})" if kind.startswith(NETWORK) else ""


def filesystem(folder: str) -> str:
    """Return the type of the file system a folder is on, as Linux names it; "unknown" elsewhere."""
    best, kind = "", "unknown"
    path = os.path.realpath(folder) + "/"
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return kind
    for line in lines:
        _, mount, name, *_ = line.split(" ")
        mount = mount.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in mount else mount
        if len(mount) >= len(best) and path.startswith(mount.rstrip("/") + "/"):
            best, kind = mount, name
    return kind
