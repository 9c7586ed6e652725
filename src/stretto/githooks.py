"""Git hooks of a repository as the second line of the gates: `pre-commit` and `pre-push`, for commits that no session's `git` sees.

Hides where git looks for hooks and how one that is there goes on to work. Promises: nothing is written into a working tree, nor into a
folder that other repositories share; a hook that is there is kept byte for byte, runs after ours and decides as before; removing ours
puts it back; a hook of ours that cannot do its work lets git go on.

Ours is not the only tool that puts itself before a hook: pre-commit moves what it finds to `NAME.legacy` and runs it from there, lefthook
to `NAME.old` and leaves it. So what was there when ours came has one name whatever becomes of ours (`NAME.before-stretto`), ours is known
by its second line under any name, and where the hook in front is one that runs `NAME.legacy`, ours takes that place and not the front:
put in front of it, it would be moved to `NAME.legacy` at that tool's next install, over what is there. Where lefthook is first we stay out.
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
BEHIND = ".legacy"
"""Where pre-commit and its kin look for the hook that was there before them."""
RUNS_BEHIND = b"hook-impl"
"""What stands in a hook of theirs: the subcommand that runs what is behind it first."""
PUTS_BACK = b"LEFTHOOK"
"""What stands in a hook of lefthook's. At its next install or run it takes the front again, and fails where `NAME.old` is there already."""
GIT_LIMIT_S = 10.0


def install(root: str, base: str) -> list[str]:
    """Put our hooks in; return their paths.

    Raises:
        UserError: git has its hooks where we do not write; the text has the line to add by hand.
        OSError: a file could not be written.
    """
    folder = check(root, base)
    os.makedirs(folder, exist_ok=True)
    remove(root)  # so that what has come between is met as it would be without us
    paths = []
    for name, place in PLACES.items():
        front = os.path.join(folder, name)
        path = front + BEHIND if RUNS_BEHIND in _read(front) else front
        if os.path.lexists(path):
            os.rename(path, front + KEPT)
        _write(path, _text(name, place, base))
        paths.append(path)
    return paths


def check(root: str, base: str) -> str:
    """Return the folder that our hooks can be put into; changes nothing.

    Raises:
        UserError: as `install`.
    """
    folder = _folder(root, base)
    if taken := [name for name in PLACES if PUTS_BACK in _read(os.path.join(folder, name))]:
        raise UserError(
            f"cannot put git hooks in: {' and '.join(taken)} in {folder} is lefthook's, which would move ours away; nothing was changed; "
            "run `stretto init` without --git-hooks and add these lines to lefthook-local.yml:",
            below=_lines(base),
        )
    for front in (os.path.join(folder, name) for name in PLACES):
        kept = front + KEPT
        if os.path.lexists(kept) and os.path.lexists(front) and not _ours(front) and _read(front) != _read(kept):
            raise UserError(f"cannot put a hook in: {kept} is there already; look at it and {front}, and remove one; nothing was changed")
    return folder


def remove(root: str) -> list[str]:
    """Take our hooks out wherever they were moved to, put back what was there; return the paths concerned."""
    taken = []
    for front in _fronts(root):
        ours, kept = _ours(front), front + KEPT
        for path in ours:
            os.unlink(path)
        if os.path.lexists(kept):
            there = next((path for path in (front, *ours) if not os.path.lexists(path)), None)
            if os.path.lexists(front) and _read(front) == _read(kept):
                os.unlink(kept)
            elif there is not None:
                os.rename(kept, there)
        taken += ours
    return taken


def left(root: str) -> list[str]:
    """Return the hooks from before ours that are still put aside because another one was written over ours; to be called after `remove`."""
    return [front + KEPT for front in _fronts(root) if os.path.lexists(front + KEPT)]


def problems(root: str, base: str) -> Iterator[str]:
    """Say what is wrong with our hooks where one of them is in; nothing where none is."""
    if not is_in(root):
        return
    looked_at = ask(root, "rev-parse", "--path-format=absolute", "--git-path", "hooks")
    for front in _fronts(root):
        name, ours = os.path.basename(front), _ours(front)
        runs = [path for path in ours if path == front or (path == front + BEHIND and RUNS_BEHIND in _read(front))]
        if os.path.realpath(looked_at) != os.path.realpath(os.path.dirname(front)):
            yield f"{name} is not run: core.hooksPath leads git to {looked_at}"
        elif not ours:
            yield f"{name} is not ours any more: something has put another one in its place"
        elif not runs:
            yield f"{name} is not run: something has put another one in its place and moved it to {os.path.basename(ours[0])}"
        elif _read(runs[0]) != _text(name, PLACES[name], base).encode():
            yield f"{name} is of another installation"
        elif not os.access(runs[0], os.X_OK):
            yield f"{name} cannot be executed, so git passes it by"


def is_in(root: str) -> bool:
    """Say whether a hook of ours is in."""
    return any(_ours(front) for front in _fronts(root))


def line(place: str, base: str) -> str:
    """Return the line for a hook, ours or one that somebody keeps by hand; it passes where our installation is not."""
    python, folder = shellenv.interpreter(), shellenv.islands()
    words = " ".join(map(shlex.quote, [python, "-I", "-S", "-c", LAUNCH, folder, base, place]))
    gone = f"[ ! -x {shlex.quote(python)} ] || [ ! -r {shlex.quote(folder + '/shim.py')} ]"
    return f'[ "${{STRETTO_GATE-}}" = {place} ] || [ "${{STRETTO-}}" = off ] || {gone} || {words} </dev/null || exit 1'


def _lines(base: str) -> list[str]:
    return [f"  {name}:  {line(place, base)}" for name, place in PLACES.items()]


LAUNCH = "import sys; sys.path.append(sys.argv[1]); import shim; shim.hook(sys.argv[2:])"


def _text(name: str, place: str, base: str) -> str:
    return f"""#!/bin/sh
{MARK}
# Asks Stretto whether this {place} may be done; `stretto uninstall` takes it out. Git goes on when Stretto is gone.
{line(place, base)}
kept=${{0%/*}}/{name}{KEPT}
if [ -x "$kept" ]; then exec "$kept" "$@"; fi
exit 0
"""


def _folder(root: str, base: str) -> str:
    """Return where git looks for this repository's hooks.

    Raises:
        UserError: it is no repository, or that is no place for us.
    """
    common = ask(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    if not common:
        raise UserError(f"cannot put git hooks in: {root} is no git repository")
    folder = os.path.realpath(ask(root, "rev-parse", "--path-format=absolute", "--git-path", "hooks") or "/")
    if folder != os.path.join(os.path.realpath(common), "hooks"):
        raise UserError(
            f"cannot put git hooks in: git looks for them in {folder} (core.hooksPath, or a link), "
            "which is not this repository's alone or is part of its files; nothing was changed; run `stretto init` without --git-hooks and "
            "add these lines to the hooks there:",
            below=_lines(base),
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"cannot put git hooks in: {folder} is no folder; nothing was changed; remove it or leave --git-hooks out")
    return folder


def _fronts(root: str) -> list[str]:
    """Return where git itself looks for each hook, unless it is told otherwise."""
    folder = ask(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return [os.path.join(folder, "hooks", name) for name in PLACES] if folder else []


def ask(root: str, *words: str) -> str:
    """Return what git says in a repository, "" where it refuses; nothing of the repository's is started for it. Paths are any bytes."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *words],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else ""


def _ours(front: str) -> list[str]:
    """Return the hooks of ours for one place: in front, or under the name that another tool gave it."""
    folder, name = os.path.split(front)
    try:
        names = sorted(each for each in os.listdir(folder) if each == name or each.startswith(f"{name}."))
    except OSError:
        return []
    paths = [os.path.join(folder, each) for each in names if each != name + KEPT]
    return [path for path in paths if not os.path.islink(path) and MARK.encode() in _read(path).split(b"\n")[:2]]


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO may lie there
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(65_536) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _write(path: str, text: str) -> None:
    aside = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o700)
    try:
        write_all(descriptor, text.encode())
    finally:
        os.close(descriptor)
    os.rename(aside, path)
