"""What stands between the host and a call: the processes above it, the texts of the shells among them, what the first was started with.
Linux only; elsewhere nothing is seen.

Promises: looks, never touches; a process that ends while it is looked at is no error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from stretto import observe
from stretto.commands import Caller
from stretto.system import Process, identify, peek

CALLERS_MOST = 40
"""No call has more processes above it that are looked at."""
SCRIPT_BYTES = 16_384
"""So much of a shell's script is read."""
SHELLS = re.compile(r"(?:ba|da|z|k|mk|a)?sh")


def above(pid: int, hosts: Collection[int]) -> tuple[list[Caller], Process | None]:
    """Return the processes above one, nearest first, and the last of them: the shell of the Bash call, or what was left of it.

    Args:
        hosts: where to stop: the host and whatever stands above it.
    """
    found: list[Caller] = []
    last = pid
    for each in observe.ancestors(pid):
        if each in hosts or each <= 1 or len(found) >= CALLERS_MOST:
            break
        argv = observe.arguments(each) or ()
        found.append(Caller(argv, _shell_text(each, argv)))
        last = each
    return found, identify(last) if found else None


def _shell_text(pid: int, argv: tuple[str, ...]) -> str:
    if not argv or not SHELLS.fullmatch(argv[0].rpartition("/")[2].removeprefix("-")):
        return ""
    for at, word in enumerate(argv[1:], 1):
        if re.fullmatch(r"-[A-Za-z]*c", word):
            return argv[at + 1] if at + 1 < len(argv) else ""
        if not word.startswith(("-", "+")):
            path = os.path.join(f"/proc/{pid}/cwd", word) if not word.startswith("/") else word
            return _beginning(path)
    return ""


def _beginning(path: str) -> str:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as script:
            return script.read(SCRIPT_BYTES).decode("utf-8", "replace") if os.path.isfile(path) else ""
    except OSError:
        return ""


def environment(pid: int) -> frozenset[bytes]:
    """Return the `NAME=value` entries that a process was started with; none where that cannot be read."""
    return frozenset(entry for entry in peek(f"/proc/{pid}/environ").split(b"\0") if entry)
