"""The shell scripts of a session: what its Bash sources, and what stands for a tool on its PATH. Pure.

Hides what bash, zsh and sh take for right in which mode. Promises:
- what is sourced defines functions, sets the PATH and prints nothing; read twice, it is as if it was read once;
- a script on the PATH runs the tool also where the shim cannot start, and then leaves the tool nothing of ours on the PATH;
- who asks where a tool is (`which`, `command -v`, `type`) is told where it is without us.

Source: docs/transparency.md has the measurements.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stretto import commands

_LAUNCH = """\
import sys
sys.path.append(sys.argv[1])
try:
 from shim import main
except BaseException:
 import _signal, posix
 for n in 13, 25: _signal.signal(n, _signal.SIG_DFL)
 b, _, *w = [a.encode(sys.getfilesystemencoding(), "surrogateescape") for a in sys.argv[2:]]
 e = posix.environ
 p = [d for d in e.get(b"PATH", b"/usr/bin:/bin").split(b":") if not d.startswith(b + b"/paths/")]
 if b"PATH" in e: e[b"PATH"] = b":".join(p)
 for f in [w[0]] if b"/" in w[0] else [(d or b".") + b"/" + w[0] for d in p]:
  try: posix.execve(f, w, e)
  except OSError: pass
 sys.exit(127)
main(sys.argv[2:])"""
LAUNCH = f"exec({json.dumps(_LAUNCH)})"
"""What the interpreter is given: a module is read from its cached bytecode, a script would be compiled at every call.
A shim that cannot be imported (a damaged or half-written installation, a disk that fails) is replaced by the tool itself.
One line: `set -x` prints it."""
MARK = "# stretto entry"
"""Second line of every PATH entry; what carries it is never taken for the real tool (see shim.py)."""
BESIDE = (".venv/bin", "venv/bin", "node_modules/.bin", "vendor/bin")
"""Where a project keeps tools that are not on the PATH until it is activated."""
SEARCHED = ("", "bin", *BESIDE)
"""Where in a project, and in each folder of its root, a tool may stand that is called by its path: `./gradlew`, `bin/rails`."""
SEEKERS = ("which", "whereis")
"""Programs that say where a tool is: on our PATH they stand for themselves, and look where they would look without us."""
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Found(NamedTuple):
    """Which tools are there for a session."""

    on_path: tuple[str, ...]
    beside: tuple[str, ...]
    """Not on the PATH, but in a directory of the project that an activation puts there."""
    paths: tuple[str, ...] = ()
    """Ways to call a tool of the project by its path, relative and absolute."""


NONE = Found((), ())


def guard_line(path: str) -> str:
    """Return the line for CLAUDE_ENV_FILE: sources `path` when that does no harm, and succeeds in any case.

    Source: the only form that outlived ten states of the sourced file in bash and zsh (tests/integration/test_shim.py repeats it).
    """
    quoted = shlex.quote(path)
    return f"if [ -f {quoted} ] && ( . {quoted} ) </dev/null >/dev/null 2>&1; then . {quoted} >/dev/null 2>&1; fi; :"


def path_entry(name: str, *, base: str, python: str, islands_dir: str) -> str:
    """Return the sh script that stands for a tool on the PATH: the shim, or without it the real tool by an own search.

    It is a Python program as well: `python $(command -v pytest)` in a script runs pytest.
    """
    start, test = _shim(base, python, islands_dir)
    body = f"""\
if {test}; then
  exec {start} path {name} "$@"
fi
{_without(base)}
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
    about = f"# Runs {name} as without Stretto when Stretto is gone. Made by Stretto; `stretto uninstall` takes it away."
    if "'''" in body or "\\" in base + python + islands_dir:
        return f"#!/bin/sh\n{MARK}\n{about}\n{body}"
    return f"#!/bin/sh\n{MARK}\n{about}\n''':'\n{body}: <<'# end'\n'''\n{_AS_PYTHON}# end\n"


_AS_PYTHON = """\
import os, sys
for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
    path = os.path.join(folder, os.path.basename(__file__))
    if os.path.isfile(path) and os.access(path, os.X_OK):
        with open(path, "rb") as file:
            text = file.read()
        if b"\\n# stretto entry\\n" not in text[:64]:
            break
else:
    sys.exit(__file__ + ": command not found")
sys.argv[0] = __file__ = path
if not getattr(sys.flags, "safe_path", False):
    sys.path[0] = os.path.dirname(os.path.realpath(path))
exec(compile(text, path, "exec"))
"""


def seeker_entry(name: str, *, base: str) -> str:
    """Return the sh script that stands for a program that looks along the PATH: itself, with a PATH that has nothing of ours."""
    return f"""#!/bin/sh
{MARK}
# Runs {name} on the PATH as it is without Stretto. Made by Stretto; `stretto uninstall` takes it away.
{_without(base)}
export PATH
exec {name} "$@"
"""


def _without(base: str) -> str:
    """Return sh lines that take our folders out of the PATH, and the folder the script itself was found in."""
    ours = f"{shlex.quote(base)}/paths/" + "[0-9a-f]" * DIGEST_CHARS
    return f"""\
_stretto_path=:$PATH:
for _stretto_at in {shlex.quote(base)}/bin "${{0%/*}}"; do
  while case $_stretto_path in *:"$_stretto_at":*) ;; *) false ;; esac; do
    _stretto_path=${{_stretto_path%%:"$_stretto_at":*}}:${{_stretto_path#*:"$_stretto_at":}}
  done
done
while case $_stretto_path in *:{ours}:*) ;; *) false ;; esac; do
  _stretto_path=${{_stretto_path%%:{ours}:*}}:${{_stretto_path#*:{ours}:}}
done
_stretto_path=${{_stretto_path#:}}
PATH=${{_stretto_path%:}}"""


def session_text(
    found: Found,
    *,
    base: str,
    python: str,
    islands_dir: str,
    pythons: Found = NONE,
    git: Found = NONE,
    seekers: Sequence[str] = (),
    setpriv: str = "",
    marks: str = "",
) -> str:
    """Return what a session's Bash sources.

    Args:
        found: the tools that are there.
        pythons: interpreters by name, intercepted only where their words run a check.
        git: the program of that name, intercepted only where one of its words is `commit` or `push`.
        seekers: those of `SEEKERS` that are there.
        setpriv: util-linux' program, "" where there is none; keeps other Python and git calls in subshells cheap.
        marks: the file in which each shell that sources this says so, "" for none. A call that no hook announced shows by it.
    """
    start, test = _shim(base, python, islands_dir)
    folder = paths_folder(base, (*found.on_path, *seekers))
    ours = _escaped(f"{base}/paths/") + "?" * DIGEST_CHARS + ":"  # also of a session around this one
    lines = [
        "# Made by Stretto for one session, sourced before each of its Bash commands. Safe to delete: commands then run as without it.",
    ]
    if marks:
        lines += [_MARK.format(marks=shlex.quote(marks))]
    if found.on_path:
        lines += [f'case ":$PATH:" in *:{shlex.quote(folder)}:*) ;; *) PATH={shlex.quote(folder)}:$PATH ;; esac']
    functions = [name for name in (*found.on_path, *found.beside) if _FUNCTION_NAME.fullmatch(name)]
    interpreters = [name for name in (*pythons.on_path, *pythons.beside) if _FUNCTION_NAME.fullmatch(name)]
    by_words = dict.fromkeys((name for name in interpreters if name not in commands.NODES), _CHECKS)
    by_words |= dict.fromkeys(git.on_path, _GATES)
    nodes = [name for name in interpreters if name in commands.NODES]
    if not (functions or by_words or nodes or found.paths):
        return "\n".join([*lines, ":", ""])
    lines += [_HELPERS.format(test=test, start=start, folder=ours, checks=_check_patterns(found), tests=_node_patterns(found))]
    lines += [_define(name, f'_stretto {name} "$@" || return') for name in functions]
    for name, words in by_words.items():
        direct = setpriv and name in (*pythons.on_path, *git.on_path)
        lines += [_define(name, _BY_WORDS.format(name=name, words=words, within=_bound(name, setpriv if direct else "")))]
    lines += ['_stretto_text="${BASH_EXECUTION_STRING-${ZSH_EXECUTION_STRING-/}}"']  # of the whole Bash call; "/": not known
    for name in nodes:
        body = _BY_WORDS.format(name=name, words=_RUNS_TESTS, within=_bound(name, setpriv if name in pythons.on_path else ""))
        lines += [f"case $_stretto_text in {_BACKGROUND}) ;; {_OF_NODE}) eval {shlex.quote(_define(name, body))} ;; esac"]
    lines += _by_path(found.paths, setpriv)
    lines += [f"case $_stretto_text in {_LOOKS}) eval {shlex.quote(_LOOKING.format(folder=ours, callers=_CALLERS))} ;; esac"]
    return "\n".join([*lines, "unset _stretto_text", "unset -f _stretto_free", ":", ""])


_MARK = """\
[ "${{BASH_SUBSHELL:-${{ZSH_SUBSHELL:-0}}}}" != 0 ] || {{ \\builtin echo "$$" >>{marks}; }} 2>/dev/null || :"""
"""Not in the trial of `guard_line`, which is a subshell. A builtin and no process; where it cannot be written nothing is said."""

_HELPERS = """\
if [ -n "${{ZSH_VERSION-}}" ]; then
function _stretto_free {{ ! functions "$1" && ! alias "$1"; }}
else
function _stretto_free {{ ! declare -F "$1" && ! alias "$1"; }}
fi
function _stretto {{ _stretto_run "function:${{BASHPID-}}:$$:${{BASH_LINENO[1]-}}:$0" "$@" || return; }}
function _stretto_through {{ _stretto_run "through:${{BASHPID-}}" "$@" || return; }}
function _stretto_run {{
if {test}; then {start} "$@" || _stretto_end "$?" "$@"
else shift; _stretto_native "$@"; fi
}}
function _stretto_native {{
case $1 in */*) if ! {{ [ -f "$1" ] && [ -x "$1" ]; }}; then _stretto_missed "$@"; return; fi ;; esac
PATH=${{PATH//{folder}/}} \\command "$@"
}}
function _stretto_end {{
[ "$1" = 127 ] || return "$1"
shift 2
case $1 in
*/*) if [ -f "$1" ] && [ -x "$1" ]; then return 127; fi ;;
*) if ( unset -f "$1"; PATH=${{PATH//{folder}/}} \\command -v "$1" ) >/dev/null 2>&1; then return 127; fi ;;
esac
_stretto_native "$@"
}}
function _stretto_missed {{
if [ -z "${{ZSH_VERSION-}}" ]; then BASH_ENV= "${{BASH:-bash}}" -c ':;"$@"; exit $?' "$0" "$@"; return; fi
( emulate -L zsh
_stretto_at=$("${{ZSH_ARGZERO:-zsh}}" -f -c ':;"$@"; exit $?' zsh "$@" 2>&1)
_stretto_code=$?
printf '%s\\n' "${{functrace[${{functrace[(i)$1:*]}}+1]}}: ${{_stretto_at#*:*: }}" >&2
exit $_stretto_code )
}}
function _stretto_checks {{
case " ${{*-}} " in {checks}) return 0 ;; esac
return 1
}}
function _stretto_gates {{
case " ${{*-}} " in *" commit "*|*" push "*) return 0 ;; esac
return 1
}}
function _stretto_tests {{
case " ${{*-}} " in {tests}) return 0 ;; esac
return 1
}}
function _stretto_apart {{ [ "${{BASHPID:-$$}}" != "$$" ] || [ "${{ZSH_SUBSHELL:-0}}" != 0 ]; }}"""
"""127 without the tool means that it went away: then the shell itself says so, in its own words; of a path a fresh one does, since in a
function it would name our file. Whatever may fail stands before an `|| return`: a trap on errors that functions inherit (`set -E`)
would else run once for each of ours, and once more for the call itself."""

_CHECKS, _GATES, _RUNS_TESTS = "_stretto_checks", "_stretto_gates", "_stretto_tests"
"""Functions that say of a call's words that it may be a check, or one that a gate is asked about; the shim reads them properly."""

_BY_WORDS = """\
if {words} "$@"; then _stretto {name} "$@"
elif _stretto_apart; then {within} "$@"
else \\command {name} "$@"; fi || return"""
"""In a subshell a call that is not ours goes through a program that binds it to the subshell's life: `python x & kill $!` means it."""

_OF_NODE = '*"node "*--test*|*"node "*node_modules/.bin/*|/'
_BACKGROUND = """*[!'&>|']'&'[!'&>']*|*[!'&>|']'&'"""
"""What a text has in which node runs tests or the file of a tool; in every other one node stays what it is. So it does where something goes
into the background, a server most of all: whoever waits for that is told how node ended, and nothing is joined beside it anyway."""

_LOOKS = '*"command -"*|*"type "*|*"which "*|*whence*|*where*'
"""What a text has in which somebody asks the shell where a tool is."""

_ON_CALLER = (
    ". ",
    "break",
    "continue",
    "declare ",
    "eval ",
    "exec ",
    "getopts ",
    "local ",
    "return",
    "set ",
    "shift",
    "source ",
    "typeset ",
)
_CALLERS = "|".join(f'*"command {word}"*' for word in _ON_CALLER)
"""What a text has in which `command` runs a builtin that acts on who calls it: in a function it would act on the function."""
_LOOKING = """\
function _stretto_look {{ (
local _stretto_at _stretto_code
PATH=${{PATH//{folder}/}}
for _stretto_at in "$@"; do case $_stretto_at in -*) ;; *)
case $(typeset -f "$_stretto_at") in *_stretto*) unset -f "$_stretto_at" ;; esac ;; esac; done
if [ -n "${{ZSH_VERSION-}}" ]; then builtin "$@"; exit; fi
{{ _stretto_at=$(builtin "$@" 2>&1 >&3); _stretto_code=$?; }} 3>&1
[ -z "$_stretto_at" ] || printf '%s\\n' "${{_stretto_at//"$BASH_SOURCE: line"/$0: line}}" >&2
exit $_stretto_code
) }}
case $_stretto_text in {callers}) ;; *"command -"*)
if _stretto_free command; then
function command {{ case ${{1-}} in -*[vV]*) _stretto_look command "$@" ;; *) builtin command "$@" ;; esac || return; }}
fi ;; esac
case $_stretto_text in *"type "*)
if _stretto_free type; then
function type {{ _stretto_look type "$@" || return; }}
fi ;; esac
case ${{ZSH_VERSION:+$_stretto_text}} in *whence*|*where*|*"which "*)
if _stretto_free whence; then
function whence {{ _stretto_look whence "$@" || return; }}
fi
if _stretto_free where; then
function where {{ _stretto_look where "$@" || return; }}
fi
if _stretto_free which && [ -z "$(trap)" ]; then
function which {{ _stretto_look which "$@" || return; }}
function _stretto_again {{
if ! functions which >/dev/null; then
function which {{ _stretto_look which "$@" || return; }}
else
case $ZSH_DEBUG_CMD in :|*builtin*|*_stretto*) return ;; esac
fi
trap - DEBUG
}}
trap _stretto_again DEBUG
fi ;; esac"""
"""Who asks the shell where a tool is, is told by the shell, in a subshell that has nothing of ours; an error of bash's would name our file,
and is given the shell's name instead. Only a command whose text has such a word is given these functions. The host takes a function `which`
away after this was read: zsh, where it is a word of the shell, makes it again before the first command of the text; elsewhere it is a
program (`seeker_entry`)."""


def _by_path(paths: Sequence[str], setpriv: str) -> list[str]:
    """Return the lines that meet tools by their path, for commands whose text has folder and name; in posix mode no function is named so.

    They are text within a text: a shell that does not take such names loses nothing else by them.
    """
    if not paths:
        return []
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(posixpath.basename(path), []).append(path)
    folders = "|".join(dict.fromkeys(f"*{_folder(path)}*" for path in paths))
    python = _BY_WORDS.format(name="__AT__", words=_CHECKS, within=_bound("__AT__", setpriv))
    bodies = {
        True: shlex.quote(f'[ -x __AT__ ] || {{ _stretto_end 127 path __AT__ "$@" || return; return; }}\n{python}'),
        False: shlex.quote('_stretto __AT__ "$@" || return'),
    }
    each = [
        f"case $_stretto_text in *{name}*|/) _stretto_meet {bodies[name in commands.PYTHONS]} {' '.join(group)} ;; esac"
        for name, group in by_name.items()
    ]
    text = "\n".join(['case ":${SHELLOPTS-}:" in *:posix:*) ;; *)', _MEET, *each, "unset -f _stretto_meet ;; esac"])
    return [f"case $_stretto_text in {folders}|/) eval {shlex.quote(text)} ;; esac"]


_MEET = """\
function _stretto_meet {
_stretto_body=$1
shift
for _stretto_at in "$@"; do if _stretto_free "$_stretto_at"; then
eval "function $_stretto_at {
${_stretto_body//__AT__/$_stretto_at}
}"
fi; done
unset _stretto_at _stretto_body
}"""


def _folder(path: str) -> str:
    """The end of a tool's folder, by which a text that calls it is known; of one in the root its own name."""
    folder = next((folder for folder in SEARCHED[1:] if posixpath.dirname(path).endswith(folder)), "")
    return folder or f"/{posixpath.basename(path)}"


def _bound(name: str, setpriv: str) -> str:
    return f"{setpriv} --pdeathsig TERM {name}" if setpriv else f"_stretto_through {name}"


def _define(name: str, body: str) -> str:
    """`function NAME {` because after `NAME() {` a user's alias of that name would be a syntax error at every call."""
    return f"if _stretto_free {name}; then\nfunction {name} {{\n{body}\n}}\nfi"


def _escaped(text: str) -> str:
    """With a backslash before whatever is no letter: the only quoting both shells understand within `${PATH//PATTERN/}`."""
    return re.sub(r"([^A-Za-z0-9_])", r"\\\1", text)


def _check_patterns(found: Found) -> str:
    """Which words make a call of Python one that may be a check: a module that checks, or the file of a tool that is one."""
    intercepted = {*found.on_path, *found.beside, *(posixpath.basename(path) for path in found.paths)}
    modules = sorted(
        module
        for module in commands.MODULES.keys() - commands.FILES
        if module in intercepted or module not in commands.NAMES or not intercepted
    )
    by_module = [f'*" -m {module} "*|*" -m{module} "*' for module in modules]
    files = [f'*" {file} "*|*"/{file} "*' for file in sorted(commands.FILES)]
    return "|".join([*by_module, *(f'*"/{module} "*' for module in modules if module in commands.NAMES), *files])


def _node_patterns(found: Found) -> str:
    """The same for a call of node: its own test runner, or the file of a tool that is intercepted."""
    tools = sorted({*found.on_path, *found.beside})
    return "|".join(['*" --test "*', *(f'*"node_modules/.bin/{tool} "*' for tool in tools)])


def _shim(base: str, python: str, islands_dir: str) -> tuple[str, str]:
    """Return the start of the shim's command line (up to how it is called) and the test that it can run."""
    start = f"{shlex.quote(python)} -I -S -c {shlex.quote(LAUNCH)} {shlex.quote(islands_dir)} {shlex.quote(base)}"
    return start, f"[ -x {shlex.quote(python)} ] && [ -r {shlex.quote(islands_dir + '/shim.py')} ]"


DIGEST_CHARS = 16


def paths_folder(base: str, names: Iterable[str]) -> str:
    """Return the directory that shows exactly these PATH entries; the same set has the same path, for ever."""
    digest = hashlib.blake2b("\0".join(sorted(names)).encode(), digest_size=DIGEST_CHARS // 2).hexdigest()
    return posixpath.join(base, "paths", digest)
