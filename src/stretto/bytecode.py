"""Byte code of a text that is no more, where Python would take it for the text that is there. Hides how it is told and removed.

Python holds byte code against its source by the whole second of the modification time and by the size (PEP 552). Two edits of one size
within one second are one to it: whoever imports between them leaves byte code of the first for the second. A run ahead does, natively
nobody would.

Promises: removes only what some later import makes again: a `.pyc` that answers for the source as it is now and was written before that
was; never through a link, and nothing else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_HEADER_BYTES = 16


def answers(header: bytes, mtime_s: int, size: int) -> bool:
    """Say whether byte code with this header would be taken for a source with this time and size; what is held by a hash never is."""
    fields = [int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12)]
    return len(header) == _HEADER_BYTES and fields == [0, mtime_s & 0xFFFFFFFF, size & 0xFFFFFFFF]


def folders(source: str, prefixes: Iterable[str]) -> list[str]:
    """Return where byte code of a source may be.

    Args:
        prefixes: values of PYTHONPYCACHEPREFIX.
    """
    folder = os.path.dirname(source)
    return [f"{folder}/__pycache__", *(f"{prefix.rstrip('/')}{folder}" for prefix in prefixes if prefix.startswith("/"))]


def drop(source: str, folder: str, until_ns: int) -> list[str]:
    """Remove the byte code of a source in a folder that was made of an earlier text of it; return the names.

    Args:
        source: absolute, without links in it.
        until_ns: what was written up to then was made by one that may have read the source before it was what it is.
    """
    gone: list[str] = []
    try:
        seen = os.lstat(source)
        cache = os.open(folder, _FOLDER)
    except OSError:
        return gone
    start = os.path.splitext(os.path.basename(source))[0] + "."
    try:
        for name in os.listdir(cache):
            if name.startswith(start) and name.endswith(".pyc") and _is_of_earlier(cache, name, seen, until_ns):
                os.unlink(name, dir_fd=cache)
                gone.append(name)
    except OSError:
        pass  # a folder that is closed to us or goes at this moment: what Python finds there is as it would be without us
    finally:
        os.close(cache)
    return gone


def _is_of_earlier(cache: int, name: str, source: os.stat_result, until_ns: int) -> bool:
    if not stat.S_ISREG(source.st_mode):
        return False
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=cache)
    try:
        made = os.fstat(descriptor)
        early = stat.S_ISREG(made.st_mode) and made.st_mtime_ns <= max(source.st_ctime_ns, until_ns)
        return early and answers(os.read(descriptor, _HEADER_BYTES), int(source.st_mtime), source.st_size)
    finally:
        os.close(descriptor)
