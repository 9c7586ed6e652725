"""Git repositories as they lie on the disk, looked at without starting git: it runs what a configuration names, and may not be there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stretto.errors import UserError

POINTER_BYTES = 4096
"""More than a path has: what is read of a file that names a git directory."""


def refuse_foreign(root: str, folder: str) -> None:
    """Refuse a project that was found above a folder and belongs to neither its owner nor this user: anybody can put `.git` into /tmp.

    Raises:
        UserError: it is somebody else's.
    """
    ours = {os.geteuid(), Path(folder).stat().st_uid}
    for path in (root, f"{root}/.git"):
        if os.path.realpath(folder) != root and os.path.lexists(path) and (uid := os.lstat(path).st_uid) not in ours:
            raise UserError(f"cannot grant {root}: {path} belongs to user {uid}; run `stretto init` in that folder itself")


def git_directory(root: str) -> str:
    """Return the git directory of a repository or worktree, found without starting git; "" when there is none."""
    if os.path.isdir(f"{root}/.git"):
        return os.path.realpath(f"{root}/.git")
    word, _, path = pointer(f"{root}/.git").partition(b" ")
    return os.path.realpath(os.path.join(root, os.fsdecode(path))) if word == b"gitdir:" and path else ""


def common_directory(root: str) -> str:
    """Return the git directory that all worktrees of a repository share, "" outside of any."""
    git = git_directory(root)
    if not os.path.isdir(git):
        return ""
    path = pointer(f"{git}/commondir")
    return os.path.realpath(os.path.join(git, os.fsdecode(path))) if path else git


def pointer(path: str) -> bytes:
    """Return the line in a file of git's that names a folder, b"" where there is none; never waits, never reads much."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, POINTER_BYTES).rstrip(b"\n") if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def identity(path: str) -> str:
    """Return what tells a folder from another one at its path: inode and owner (devices get new numbers), "" when it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_ino}:{found.st_uid}"
