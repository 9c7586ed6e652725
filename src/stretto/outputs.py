"""Into which files the shell puts what a command prints: its own redirections, and what stands behind its pipes. Linux only; elsewhere
nothing is found.

Promises: looks, never touches; a process that ends while it is looked at is no error. What is not found is taken for the command's own
doing, and so for something that it must not do.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from typing import NamedTuple

from stretto.observe import of_session
from stretto.system import peek


class Outputs(NamedTuple):
    """Where the outputs of a command go in the end, as far as these are files that were empty when it was asked about."""

    own: tuple[str, ...] = ()
    """Paths of regular files that hold nothing yet: what comes into them is what the command prints."""
    others: tuple[str, ...] = ()
    """Of files that hold something already."""


def outputs_of(pid: int) -> Outputs:
    """Say into which files a process prints, itself or through the pipes behind it (`tee`, `grep > found.txt`).

    The shell writes these, not the command. Who stands behind a pipe is looked for among the processes of the shell that typed the line.
    """
    files: dict[str, int] = {}
    try:
        pipes = _written(f"/proc/{pid}/fd", ("1", "2"), files)
    except OSError:
        return Outputs()
    if pipes:
        seen = set(pipes)
        near = [other for other in of_session(pid) if other != pid]
        while pipes:
            reads = pipes.pop()
            for other in near:
                folder = f"/proc/{other}/fd"
                try:
                    names = os.listdir(folder)
                    if not any(os.readlink(f"{folder}/{name}") == reads and not _writes(other, name) for name in names):
                        continue
                    new = _written(folder, [name for name in names if _writes(other, name)], files) - seen
                except OSError:
                    continue
                seen |= new
                pipes |= new
    return Outputs(
        tuple(sorted(path for path, size in files.items() if not size)), tuple(sorted(path for path, size in files.items() if size))
    )


def _written(folder: str, names: Iterable[str], files: dict[str, int]) -> set[str]:
    """Add the regular files among these descriptors to `files`, with their sizes; return the pipes."""
    pipes = set()
    for name in names:
        target = os.readlink(f"{folder}/{name}")
        if target.startswith("pipe:["):
            pipes.add(target)
        elif target.startswith("/"):
            found = os.stat(f"{folder}/{name}")
            if stat.S_ISREG(found.st_mode) and found.st_nlink:
                files[target] = found.st_size
    return pipes


def _writes(pid: int, descriptor: str) -> bool:
    """Say whether a descriptor is open for writing."""
    flags = re.search(rb"^flags:\s*([0-7]+)", peek(f"/proc/{pid}/fdinfo/{descriptor}"), re.MULTILINE)
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY
