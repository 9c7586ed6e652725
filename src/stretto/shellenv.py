"""What a session's Bash gets: functions, a directory on its PATH, and the one guarded line that brings both in.

    base/bin/NAME              the PATH entry of a tool, an sh script; one stable place per user that works without any state
    base/paths/DIGEST/NAME     links to those a session may see: only tools that are there, so that `command -v x || install x` stays true
    .../sessions/SESSION.marks a line with its process id from every shell that sourced that file
    .../sessions/SESSION.sh    functions and the PATH line; sourced before every Bash command by the guarded line

What these scripts say is in shellscripts.py. Functions catch the plain forms, also after a virtual environment put itself first on the
PATH, and tools called by their path; PATH entries catch `timeout`, `xargs`, scripts, nested shells, and names no shell takes for a function
everywhere. Promises:
- nothing written here can break a Bash call, whatever becomes of our files later: missing, damaged, without interpreter;
- a name the user defined is left alone, and so is every name a shell needs for itself;
- who asks where a tool is (`which`, `command -v`, `type`) is told where it is without us;
- writing is idempotent and atomic; files are 0600 or 0700.

Source: docs/transparency.md has the measurements and what differs all the same.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from stretto import commands
from stretto.errors import UserError
from stretto.shellscripts import BESIDE, MARK, SEARCHED, SEEKERS, Found, guard_line, path_entry, paths_folder, seeker_entry, session_text
from stretto.system import LINUX, atomic_write, open_private, private_directory, write_all

MARKS = ".marks"
FOLDERS_MOST, PATHS_MOST = 100, 240
"""So many folders of the root are looked into, and so many spellings are met."""
_SPELLING = re.compile(r"[A-Za-z0-9_./+@%,-]+")
"""What bash and zsh take for a function's name as it stands."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
NEVER = frozenset(
    """
    find grep rg pkill which unsetenv stretto claude sh bash zsh dash env sudo xargs timeout nohup
    alias bg break builtin caller case cd command compgen complete continue coproc declare dirs disown do done echo elif else enable
    esac eval exec exit export false fc fg fi for function getopts hash help history if in jobs kill let local logout mapfile popd
    printf pushd pwd read readarray readonly return select set shift shopt source suspend test then time times trap true type typeset
    ulimit umask unalias unset until wait while autoload bindkey chdir emulate foreach functions integer limit noglob nocorrect print
    repeat rehash setopt unfunction unsetopt whence where zmodload
    """.split()  # noqa: SIM905  a list of words
)
"""Names the host defines itself, and words of bash and zsh: taking one of them would break more than a tool."""


def islands() -> str:
    """Return the directory shim.py and client.py are in."""
    return str(Path(__file__).resolve().parent)


def interpreter() -> str:
    """Return the interpreter shims run with: outside any virtual environment, which may go and whose start costs more."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def allowed(name: str) -> bool:
    """Say whether a tool of this name may be intercepted at all."""
    return bool(_NAME.fullmatch(name)) and name not in NEVER


def find(names: Iterable[str], search_path: str, root: str) -> Found:
    """Say which of `names` a shell with this PATH in this project would find; our own PATH entries do not count.

    Args:
        search_path: as in the variable: directories separated by colons; relative ones are left out.
        root: the project, absolute.
    """
    wanted = sorted(name for name in set(names) if allowed(name))
    on_path = _on_path(wanted, search_path)
    beside = _in([os.path.join(root, folder) for folder in BESIDE], [name for name in wanted if name not in on_path])
    return Found(on_path, tuple(name for name in wanted if name in beside))


def find_paths(names: Iterable[str], root: str) -> tuple[str, ...]:
    """Return the ways in which the project's own tools among `names` may be called by their path.

    A relative one is right wherever it leads to a file: from the root, from a folder of it that has the same tool, from one beside.
    """
    wanted = {name for name in names if allowed(name)}
    spelled: dict[str, None] = {}
    for prefix in ("", *_subfolders(root)):
        for folder in SEARCHED:
            inner = f"{folder}/" if folder else ""
            for name in sorted(wanted & _listed(f"{root}/{prefix}{inner}")):
                if not _is_tool(f"{root}/{prefix}{inner}{name}"):
                    continue
                near, far = f"{inner}{name}", f"{prefix}{inner}{name}"
                spelled |= dict.fromkeys((near, f"./{near}", f"../{near}", far, f"./{far}", f"{root}/{far}"))
    return tuple([path for path in spelled if "/" in path and _SPELLING.fullmatch(path)][:PATHS_MOST])


def _subfolders(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            found = sorted(entry.name for entry in entries if entry.name[0].isalnum() and entry.is_dir())
    except OSError:
        return []
    return [f"{name}/" for name in found if f"{name}/bin" not in BESIDE and name not in ("bin", "node_modules", "vendor")][:FOLDERS_MOST]


def _listed(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def which(name: str, search_path: str, cwd: str) -> str | None:
    """Return the program that a shim called by this name runs (`shim.resolve`), None when there is none.

    It is absolute, but for a name that is a path already.
    """
    if "/" in name:
        return name if _is_tool(os.path.join(cwd, name)) else None
    for folder in search_path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        absolute = candidate if candidate.startswith("/") else f"{cwd}/{candidate}"
        if _is_tool(absolute):
            return absolute
    return None


def _on_path(names: Sequence[str], search_path: str) -> tuple[str, ...]:
    there = _in([folder for folder in dict.fromkeys(search_path.split(":")) if os.path.isabs(folder)], names)
    return tuple(name for name in names if name in there)


def _in(folders: Sequence[str], names: Sequence[str]) -> set[str]:
    return {name for name in names if any(_is_tool(os.path.join(folder, name)) for folder in folders)}


def _is_tool(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.X_OK):
        return False
    try:
        with open(path, "rb") as file:
            return MARK.encode() not in file.read(len(MARK) + 16).split(b"\n")
    except OSError:
        return True  # executable but not readable: not ours


# --- on disk ----------------------------------------------------------------------------------------------------------------


def write_entries(base: str, names: Iterable[str], python: str = "", islands_dir: str = "") -> tuple[str, ...]:
    """Write the PATH entries of all `names` that may have one; return those names.

    Args:
        python: the interpreter the shim runs with; this one when empty.
        islands_dir: where shim.py is; beside this module when empty.

    Raises:
        OSError: the directory or a file could not be written; files are whole, old or new.
        UserError: the directory belongs to someone else.
    """
    base, python, islands_dir = _places(base, python, islands_dir)
    folder = private_directory(os.path.join(base, "bin"))
    wanted = tuple(sorted(name for name in set(names) if allowed(name)))
    for name in wanted:
        _write_program(os.path.join(folder, name), path_entry(name, base=base, python=python, islands_dir=islands_dir))
    for name in SEEKERS:
        _write_program(os.path.join(folder, name), seeker_entry(name, base=base))
    return wanted


def write_voice(base: str, python: str = "") -> str:
    """Write `claude-hook` where workers find it, and return its folder: for their PATH, with nothing else in it.

    It starts this installation, also where that is not on the PATH, and knows its state directory.

    Raises:
        OSError: the folder or the file could not be written; files are whole, old or new.
        UserError: the folder belongs to someone else.
    """
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stretto.hookcli import main; main()"
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    words = " ".join(map(shlex.quote, [python or sys.executable, "-I", "-c", start, package]))
    folder = private_directory(os.path.join(base, "tools"))
    _write_program(os.path.join(folder, "claude-hook"), f'#!/bin/sh\nSTRETTO_STATE_DIR={shlex.quote(base)} exec {words} "$@"\n')
    return folder


def write_session(
    path: str,
    names: Iterable[str],
    *,
    base: str,
    search_path: str,
    root: str,
    python: str = "",
    islands_dir: str = "",
    pythons: Iterable[str] = commands.PYTHONS,
) -> Found:
    """Write what a session's Bash sources, for the tools that are there now; return them. Called again, it sees what came and went.

    Args:
        path: the session's file; its directory is made.
        search_path: the PATH of the session's commands.
        root: the project.

    Raises:
        OSError, UserError: as `write_entries`.
    """
    base, python, islands_dir = _places(base, python, islands_dir)
    found = find(names, search_path, root)._replace(paths=find_paths((*names, *pythons), root))
    interpreters, git = find((*pythons, *commands.NODES), search_path, root), find(("git",), search_path, root)
    seekers = _on_path(SEEKERS, search_path) if found.on_path else ()  # nobody asks for them where none of our names is on the PATH
    _show(base, (*found.on_path, *seekers))
    private_directory(os.path.dirname(path))
    marks = f"{path.removesuffix('.sh')}{MARKS}"
    os.close(open_private(marks, os.O_WRONLY | os.O_CREAT))
    places = {"base": base, "python": python, "islands_dir": islands_dir, "setpriv": _setpriv(), "marks": marks}
    _write(path, session_text(found, pythons=interpreters, git=git, seekers=seekers, **places))
    return found


def marks_path(folder: str, session: str) -> str:
    """Return the file in which the shells of a session say that they begin."""
    return os.path.join(folder, f"{session}{MARKS}")


def add_guard_line(env_file: str, path: str) -> None:
    """Put the line that sources `path` into CLAUDE_ENV_FILE, once; a resumed session finds its old file with the line in it.

    Raises:
        OSError: the file could not be written.
    """
    line = guard_line(path)
    try:
        with open(env_file, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    if line in text.split("\n"):
        return
    begin = "\n" if text and not text.endswith("\n") else ""
    descriptor = os.open(env_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, os.fsencode(f"{begin}{line}\n"))
    finally:
        os.close(descriptor)


def _places(base: str, python: str, islands_dir: str) -> tuple[str, str, str]:
    places = os.path.abspath(base), python or interpreter(), islands_dir or islands()
    for place in places:
        if "\n" in place or ":" in places[0]:
            raise UserError(
                f"cannot put Stretto on the PATH from {place!r}: a newline or colon in a path; set STRETTO_STATE_DIR to a plain one"
            )
    return places


def _show(base: str, names: Sequence[str]) -> None:
    folder = private_directory(os.path.join(private_directory(os.path.join(base, "paths")), os.path.basename(paths_folder(base, names))))
    for name in names:
        link, target = os.path.join(folder, name), os.path.join("..", "..", "bin", name)
        try:
            if os.readlink(link) == target:
                continue
        except OSError:
            pass  # none there, or no link: made anew
        aside = f"{link}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        os.symlink(target, aside)
        os.rename(aside, link)


def _write_program(path: str, text: str) -> None:
    data = os.fsencode(text)
    try:
        with open(path, "rb") as file:
            if file.read() == data and stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o700:
                return
    except OSError:
        pass  # none there, or not readable: made anew
    aside = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    descriptor = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    os.rename(aside, path)


def _write(path: str, text: str) -> None:
    data = os.fsencode(text)
    try:
        if Path(path).read_bytes() == data:
            return
    except OSError:
        pass  # none there, or not readable: made anew
    atomic_write(path, data)


@functools.cache
def _setpriv() -> str:
    """Return the path of a setpriv that can bind a program to its parent's life, "" when there is none."""
    for path in ("/usr/bin/setpriv", "/bin/setpriv"):
        if LINUX and os.access(path, os.X_OK):
            told = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
            return path if b"--pdeathsig" in told.stdout else ""
    return ""
