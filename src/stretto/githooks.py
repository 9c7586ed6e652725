"""Git hooks of a repository as the second line of the gates: `pre-commit` and `pre-push`, for commits that no session's `git` sees.

Hides where git looks for hooks and how one that is there goes on to work. Promises: nothing is written into a working tree, nor into a
folder that other repositories share; a hook that is there is kept byte for byte, runs after ours and decides as before; removing ours
puts it back; a hook of ours that cannot do its work lets git go on.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator

from stretto import shellenv
from stretto.errors import UserError
from stretto.system import write_all

PLACES = {"pre-commit": "commit", "pre-push": "push"}
MARK = "# stretto git hook"
KEPT = ".before-stretto"
"""What a hook that was there is called while ours stands in its place."""
GIT_LIMIT_S = 10.0


def install(root: str, base: str) -> list[str]:
    """Put our hooks in; return their paths.

    Raises:
        UserError: git has its hooks where we do not write; the text has the line to add by hand.
        OSError: a file could not be written.
    """
    folder = _folder(root, base)
    os.makedirs(folder, exist_ok=True)
    for name, place in PLACES.items():
        path = os.path.join(folder, name)
        if os.path.lexists(path) and not _is_ours(path):
            if os.path.lexists(path + KEPT):
                raise UserError(f"cannot put a hook in: {path + KEPT} is there already; look at both and remove one")
            os.rename(path, path + KEPT)
        _write(path, _text(place, base))
    return [os.path.join(folder, name) for name in PLACES]


def remove(root: str) -> list[str]:
    """Take our hooks out, put back what was there; return the paths concerned."""
    found = [path for path in _paths(root) if _is_ours(path)]
    for path in found:
        if os.path.lexists(path + KEPT):
            os.rename(path + KEPT, path)
        else:
            os.unlink(path)
    return found


def problems(root: str, base: str) -> Iterator[str]:
    """Say what is wrong with our hooks where one of them is in; nothing where none is."""
    ours = [path for path in _paths(root) if _is_ours(path)]
    for path in _paths(root) if ours else ():
        name = os.path.basename(path)
        if path not in ours:
            yield f"{name} is not ours any more: something has put another one in its place"
        elif _read(path) != _text(PLACES[name], base).encode():
            yield f"{name} is of another installation"
        elif not os.access(path, os.X_OK):
            yield f"{name} cannot be executed, so git passes it by"


def is_in(root: str) -> bool:
    """Say whether a hook of ours is in."""
    return any(_is_ours(path) for path in _paths(root))


def line(place: str, base: str) -> str:
    """Return the line for a hook that somebody keeps by hand."""
    python, folder = shellenv.interpreter(), shellenv.islands()
    words = " ".join(map(shlex.quote, [python, "-I", "-S", "-c", LAUNCH, folder, base, place]))
    return f'[ "${{STRETTO_GATE-}}" = {place} ] || [ "${{STRETTO-}}" = off ] || {words} </dev/null || exit 1'


LAUNCH = "import sys; sys.path.append(sys.argv[1]); import shim; shim.hook(sys.argv[2:])"


def _text(place: str, base: str) -> str:
    python, folder = shellenv.interpreter(), shellenv.islands()
    there = f"[ -x {shlex.quote(python)} ] && [ -r {shlex.quote(folder + '/shim.py')} ]"
    return f"""#!/bin/sh
{MARK}
# Asks Stretto whether this {place} may be done; `stretto uninstall` takes it out. Git goes on when Stretto is gone.
if {there}; then
  {line(place, base)}
fi
if [ -x "$0{KEPT}" ]; then exec "$0{KEPT}" "$@"; fi
exit 0
"""


def _folder(root: str, base: str) -> str:
    """Return where git looks for this repository's hooks.

    Raises:
        UserError: it is no repository, or that is no place for us.
    """
    folder = _ask(root, "rev-parse", "--path-format=absolute", "--git-path", "hooks")
    if not folder:
        raise UserError(f"cannot put git hooks in: {root} is no git repository")
    common = _ask(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    if os.path.realpath(folder) != os.path.realpath(os.path.join(common, "hooks")):
        lines = "\n".join(f"  {name}:  {line(place, base)}" for name, place in PLACES.items())
        raise UserError(
            f"cannot put git hooks in: core.hooksPath says {folder}, which is not this repository's alone or is part of its files; "
            f"add these lines to the hooks there:\n{lines}"
        )
    return folder


def _paths(root: str) -> list[str]:
    folder = _ask(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return [os.path.join(folder, "hooks", name) for name in PLACES] if folder else []


def _ask(root: str, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _is_ours(path: str) -> bool:
    return MARK.encode() in _read(path).split(b"\n")[:2]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65_536) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""


def _write(path: str, text: str) -> None:
    aside = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o700)
    try:
        write_all(descriptor, text.encode())
    finally:
        os.close(descriptor)
    os.rename(aside, path)
