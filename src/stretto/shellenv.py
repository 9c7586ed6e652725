"""What a session's Bash gets: functions, a directory on its PATH, and the one guarded line that brings both in.

    base/bin/NAME              the PATH entry of a tool, an sh script; one stable place per user that works without any state
    base/paths/DIGEST/NAME     links to those a session may see: only tools that are there, so that `command -v x || install x` stays true
    .../sessions/SESSION.marks a line with its process id from every shell that sourced that file
    .../sessions/SESSION.sh    functions and the PATH line; sourced before every Bash command by the guarded line

Functions catch the plain forms, also after a virtual environment put itself first on the PATH; PATH entries catch `timeout`, `xargs`,
`make`, nested shells, and names no shell takes for a function everywhere. Promises:
- nothing written here can break a Bash call, whatever becomes of our files later: missing, damaged, without interpreter;
- a name the user defined is left alone, and so is every name a shell needs for itself;
- writing is idempotent and atomic; files are 0600 or 0700.

Source: docs/transparency.md has the measurements and what differs all the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from stretto import commands
from stretto.errors import UserError
from stretto.system import LINUX, atomic_write, open_private, private_directory, write_all

_LAUNCH = """\
import sys
sys.path.append(sys.argv[1])
try:
 from shim import main
except BaseException:
 import _signal, posix
 for n in 13, 25: _signal.signal(n, _signal.SIG_DFL)
 for d in posix.environ.get(b"PATH", b"/usr/bin:/bin").decode(sys.getfilesystemencoding(), "surrogateescape").split(":"):
  if not d.startswith(sys.argv[2] + "/paths/"):
   try: posix.execv((d or ".") + "/" + sys.argv[4], sys.argv[4:])
   except OSError: pass
 sys.exit(127)
main(sys.argv[2:])"""
LAUNCH = f"exec({json.dumps(_LAUNCH)})"
"""What the interpreter is given: a module is read from its cached bytecode, a script would be compiled at every call.
A shim that cannot be imported (a damaged or half-written installation, a disk that fails) is replaced by the tool itself.
One line: `set -x` prints it."""
MARK = "# stretto entry"
"""Second line of every PATH entry; what carries it is never taken for the real tool (see shim.py)."""
MARKS = ".marks"
BESIDE = (".venv/bin", "venv/bin", "node_modules/.bin", "vendor/bin")
"""Where a project keeps tools that are not on the PATH until it is activated."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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


class Found(NamedTuple):
    """Which tools are there for a session."""

    on_path: tuple[str, ...]
    beside: tuple[str, ...]
    """Not on the PATH, but in a directory of the project that an activation puts there."""


NONE = Found((), ())


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
    folders = [folder for folder in dict.fromkeys(search_path.split(":")) if os.path.isabs(folder)]
    on_path = _in(folders, wanted)
    beside = _in([os.path.join(root, folder) for folder in BESIDE], [name for name in wanted if name not in on_path])
    return Found(tuple(name for name in wanted if name in on_path), tuple(name for name in wanted if name in beside))


def which(name: str, search_path: str, cwd: str) -> str | None:
    """Return the program that a shim called by this name runs (`shim.resolve`), absolute; None when there is none."""
    for folder in search_path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        absolute = candidate if candidate.startswith("/") else f"{cwd}/{candidate}"
        if _is_tool(absolute):
            return absolute
    return None


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


# --- the texts --------------------------------------------------------------------------------------------------------------


def guard_line(path: str) -> str:
    """Return the line for CLAUDE_ENV_FILE: sources `path` when that does no harm, and succeeds in any case.

    Source: the only form that outlived ten states of the sourced file in bash and zsh (tests/integration/test_shim.py repeats it).
    """
    quoted = shlex.quote(path)
    return f"if [ -f {quoted} ] && ( . {quoted} ) </dev/null >/dev/null 2>&1; then . {quoted} >/dev/null 2>&1; fi; :"


def path_entry(name: str, *, base: str, python: str, islands_dir: str) -> str:
    """Return the sh script that stands for a tool on the PATH: the shim, or without it the real tool by an own search."""
    start, test = _shim(base, python, islands_dir)
    return f"""#!/bin/sh
{MARK}
# Runs {name} as without Stretto when Stretto is gone. Made by Stretto; `stretto uninstall` takes it away.
if {test}; then
  exec {start} path {name} "$@"
fi
set -f
IFS=:
for _stretto_at in $PATH; do
  _stretto_at=${{_stretto_at:-.}}/{name}
  if [ -f "$_stretto_at" ] && [ -x "$_stretto_at" ]; then
    _stretto_line=
    {{ IFS= read -r _stretto_line && IFS= read -r _stretto_line; }} <"$_stretto_at" 2>/dev/null
    [ "$_stretto_line" = {shlex.quote(MARK)} ] || exec "$_stretto_at" "$@"
  fi
done
echo {shlex.quote(name + ": command not found")} >&2
exit 127
"""


def session_text(
    found: Found, *, base: str, python: str, islands_dir: str, pythons: Found = NONE, git: Found = NONE, setpriv: str = "", marks: str = ""
) -> str:
    """Return what a session's Bash sources.

    Args:
        found: the tools that are there.
        pythons: interpreters by name, intercepted only for `-m MODULE` with a module that checks.
        git: the program of that name, intercepted only where one of its words is `commit` or `push`.
        marks: the file in which each shell that sources this says so, "" for none. A call that no hook announced shows by it.
        setpriv: util-linux' program, "" where there is none; keeps other Python and git calls in subshells cheap.
    """
    start, test = _shim(base, python, islands_dir)
    folder = paths_folder(base, found.on_path)
    lines = [
        "# Made by Stretto for one session, sourced before each of its Bash commands. Safe to delete: commands then run as without it.",
    ]
    if marks:
        lines += [_MARK.format(marks=shlex.quote(marks))]
    if found.on_path:
        lines += [f'case ":$PATH:" in *:{shlex.quote(folder)}:*) ;; *) PATH={shlex.quote(folder)}:$PATH ;; esac']
    functions = [name for name in (*found.on_path, *found.beside) if _FUNCTION_NAME.fullmatch(name)]
    by_words = {name: _module_patterns(found) for name in (*pythons.on_path, *pythons.beside) if _FUNCTION_NAME.fullmatch(name)}
    by_words |= dict.fromkeys(git.on_path, _GATED)
    if functions or by_words:
        lines += [_HELPERS.format(test=test, start=start, folder=_escaped(folder + ":"))]
    lines += [_define(name, f'_stretto {name} "$@"') for name in functions]
    for name, patterns in by_words.items():
        direct = setpriv and name in (*pythons.on_path, *git.on_path)
        within = f"{setpriv} --pdeathsig TERM {name}" if direct else f"_stretto_through {name}"
        lines += [_define(name, _BY_WORDS.format(name=name, patterns=patterns, within=within))]
    if functions or by_words:
        lines += ["unset -f _stretto_free"]
    return "\n".join([*lines, ":", ""])


_MARK = """\
[ "${{BASH_SUBSHELL:-${{ZSH_SUBSHELL:-0}}}}" != 0 ] || {{ \\builtin echo "$$" >>{marks}; }} 2>/dev/null || :"""
"""Not in the trial of `guard_line`, which is a subshell. A builtin and no process; where it cannot be written nothing is said."""

_HELPERS = """\
if [ -n "${{ZSH_VERSION-}}" ]; then
function _stretto_free {{ ! functions "$1" && ! alias "$1"; }}
else
function _stretto_free {{ ! declare -F "$1" && ! alias "$1"; }}
fi
function _stretto {{
if {test}; then {start} "function:${{BASHPID-}}:$$:${{BASH_LINENO[1]-}}:$0" "$@" || _stretto_end $? "$@"
else _stretto_native "$@"; fi
}}
function _stretto_through {{
if {test}; then {start} "through:${{BASHPID-}}" "$@" || _stretto_end $? "$@"
else _stretto_native "$@"; fi
}}
function _stretto_native {{ PATH=${{PATH//{folder}/}} \\command "$@"; }}
function _stretto_end {{
[ "$1" = 127 ] || return "$1"
shift
if ( unset -f "$1"; PATH=${{PATH//{folder}/}} \\command -v "$1" ) >/dev/null 2>&1; then return 127; fi
_stretto_native "$@"
}}"""
"""127 without the tool means that it went away: then the shell itself says so, in its own words."""

_GATED = '*" commit "*|*" push "*'
"""Which words may make a call of git one that a gate is asked about; the shim reads them properly."""

_BY_WORDS = """\
case " ${{*-}} " in
{patterns}) _stretto {name} "$@" ;;
*) if [ "${{BASHPID:-$$}}" != "$$" ] || [ "${{ZSH_SUBSHELL:-0}}" != 0 ]; then {within} "$@"; else \\command {name} "$@"; fi ;;
esac"""
"""In a subshell a call that is not ours goes through a program that binds it to the subshell's life: `python x & kill $!` means it."""


def _define(name: str, body: str) -> str:
    """`function NAME {` because after `NAME() {` a user's alias of that name would be a syntax error at every call."""
    return f"if _stretto_free {name}; then\nfunction {name} {{\n{body}\n}}\nfi"


def _escaped(text: str) -> str:
    """With a backslash before whatever is no letter: the only quoting both shells understand within `${PATH//PATTERN/}`."""
    return re.sub(r"([^A-Za-z0-9_])", r"\\\1", text)


def _module_patterns(found: Found) -> str:
    intercepted = {*found.on_path, *found.beside}
    modules = sorted(module for module in commands.MODULES if module in intercepted or module not in commands.NAMES or not intercepted)
    return "|".join(f'*" -m {module} "*|*" -m{module} "*' for module in modules)


def _shim(base: str, python: str, islands_dir: str) -> tuple[str, str]:
    """Return the start of the shim's command line (up to how it is called) and the test that it can run."""
    start = f"{shlex.quote(python)} -I -S -c {shlex.quote(LAUNCH)} {shlex.quote(islands_dir)} {shlex.quote(base)}"
    return start, f"[ -x {shlex.quote(python)} ] && [ -r {shlex.quote(islands_dir + '/shim.py')} ]"


# --- on disk ----------------------------------------------------------------------------------------------------------------


def paths_folder(base: str, names: Iterable[str]) -> str:
    """Return the directory that shows exactly these PATH entries; the same set has the same path, for ever."""
    digest = hashlib.blake2b("\0".join(sorted(names)).encode(), digest_size=8).hexdigest()
    return os.path.join(base, "paths", digest)


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
    found = find(names, search_path, root)
    interpreters, git = find(pythons, search_path, root), find(("git",), search_path, root)
    _show(base, found.on_path)
    private_directory(os.path.dirname(path))
    marks = f"{path.removesuffix('.sh')}{MARKS}"
    os.close(open_private(marks, os.O_WRONLY | os.O_CREAT))
    text = session_text(
        found, base=base, python=python, islands_dir=islands_dir, pythons=interpreters, git=git, setpriv=_setpriv(), marks=marks
    )
    _write(path, text)
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
