"""What changes only the shell it stands in: variables, the PATH, a version manager that is switched to, the folder. Pure.

Promises: what is said to set up a shell runs nothing but what is known to do no more, and a PATH is understood to its last folder. What is
not on the lists here is no setup: "other" is always a safe answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from stretto.commands.shelltext import Simple, Word

_NAMES = ". : [ cd echo eval exit export false popd printf pushd pwd set source test true type ulimit umask unset wait"
BUILTINS = frozenset(_NAMES.split(" "))
"""Not looked up on the PATH."""
RUNS_WORDS = re.compile(r"PATH|IFS|ENV|BASH\w*|ZDOTDIR|SHELLOPTS|BASHOPTS|PS4|LD_\w+|DYLD_\w+|STRETTO\w*")
"""Variables that decide which program a name is. `STRETTO=off` means that nothing is recorded."""
STEERS_READERS = re.compile(
    r"GIT_\w+|\w*PAGER|LESS\w*|EDITOR|VISUAL|\w+_OPTIONS|\w+_OPTS?|RIPGREP_\w+|HOME|XDG_\w+|GREP_\w+|JQ_\w+|CDPATH|FPATH|PROMPT\w*"
)
HARMLESS_ENV = re.compile(r"(?:LC_\w+|LANG|TZ|NO_COLOR|FORCE_COLOR|CLICOLOR\w*|COLUMNS|CI)=.*|(?:GIT_)?PAGER=(?:cat)?", re.DOTALL)


def first_on_path(simple: Simple) -> tuple[str, ...] | None:
    """Return the folders that an assignment of PATH puts before all others, None when it has none that is understood."""
    words = [*simple.values, *(simple.words[1:] if simple.words and simple.words[0].text == "export" else ())]
    words = [word for word in words if word.text.startswith("PATH=")]
    if len(words) != 1 or "\\" in words[0].raw or words[0].literal or "'" in words[0].raw:
        return None
    folders = [re.sub(r"^(?:~|\$\{HOME\}|\$HOME)(?=/|$)", "$HOME", part) for part in words[0].text[5:].split(":")]
    folders = [re.sub(r"^(?:\$\{PWD\}|\$PWD)(?=/|$)", ".", part) for part in folders]
    at = next((at for at, part in enumerate(folders) if part in ("$PATH", "${PATH}")), -1)
    known = all(re.fullmatch(r"(?:\$HOME)?[^$~*?\[{]*", part) and part for at_, part in enumerate(folders) if at_ != at)
    return tuple(folders[:at]) if at >= 0 and known else None


def goes_to(name: str, args: Sequence[Word]) -> str:
    if name not in ("cd", "pushd", "popd"):
        return ""
    words = [word for word in args if word.text not in ("--", "-P", "-L")]
    if name == "popd" or len(words) != 1 or words[0].text.startswith("-"):
        return "?"
    text = re.sub(r"^(?:~|\$\{HOME\}|\$HOME)(?=/|$)", "$HOME", words[0].text)
    return text if re.fullmatch(r"(?:\$HOME)?[^$~*?\[{]*", text) else "?"


_ACTIVATE = re.compile(r"(?:[\w./~-]*/)?(?:bin|Scripts)/activate")
_SHELL_FILES = re.compile(r"(?:\$\{?\w+\}?/|[\w./~-]*/)?(?:nvm\.sh|asdf\.sh|chruby\.sh|conda\.sh|sdkman-init\.sh|\.cargo/env)")
"""Files of version managers that only set up the shell that reads them: functions, the PATH."""
SETTERS: Mapping[str, re.Pattern[str]] = {
    "nvm": re.compile(r"use(?: (?!-)\S+)?"),
    "fnm": re.compile(r"use(?: (?!-)\S+)?|env(?: --\S+)*"),
    "sdk": re.compile(r"use \S+ \S+"),
    "conda": re.compile(r"activate(?: \S+)?|deactivate|shell\.(?:bash|zsh|posix) hook"),
    "mamba": re.compile(r"activate(?: \S+)?|deactivate"),
    "micromamba": re.compile(r"activate(?: \S+)?|deactivate|shell hook(?: \S+)*"),
    "deactivate": re.compile(""),
    "pyenv": re.compile(r"(?:init|virtualenv-init)(?: -| --\S+| \w+)*|shell \S+|activate \S+"),
    **dict.fromkeys(("rbenv", "nodenv", "goenv", "jenv", "phpenv"), re.compile(r"init(?: -| --\S+| \w+)*|shell \S+")),
    "asdf": re.compile(r"shell \S+ \S+"),
    "mise": re.compile(r"(?:activate|env|hook-env)(?: \S+)*"),
    "direnv": re.compile(r"(?:export|hook) \w+"),
    "brew": re.compile(r"shellenv(?: \w+)?"),
    "opam": re.compile(r"env(?: \S+)*"),
    "luarocks": re.compile(r"path(?: \S+)*"),
    "module": re.compile(r"(?:load|purge)(?: \S+)*"),
}
"""Calls of version managers that set up the shell they stand in, or print what does, and change nothing on the disk."""
_PRINTS_NOTHING = re.compile(r"true|:")


def _evaluates(args: Sequence[Word]) -> bool:
    """Say whether `eval "$(...)"` only takes over what such a call prints; that call is judged as a command of its own."""
    found = re.fullmatch(r"\$\(\s*([^()]*?)\s*\)", args[0].text) if len(args) == 1 else None
    if not found or re.search(r"[;&|\n<>`$]", found[1]):
        return False
    name, _, rest = found[1].partition(" ")
    return bool(_PRINTS_NOTHING.fullmatch(found[1])) or (name in SETTERS and bool(SETTERS[name].fullmatch(rest.strip())))


def _plain(args: Sequence[Word]) -> bool:
    return all(word.plain for word in args)


def _sets_up(name: str) -> Callable[[Sequence[Word]], bool]:
    return lambda args: _plain(args) and bool(SETTERS[name].fullmatch(" ".join(word.text for word in args)))


def _exports(args: Sequence[Word]) -> bool:
    for word in args:
        if word.text.startswith("PATH=") and len(args) == 1:
            return True  # `first_on_path` has understood it, or the call is none of ours
        name = re.match(r"([A-Za-z_]\w*)(?:=|$)", word.text)
        if not name or RUNS_WORDS.fullmatch(name[1]) or (STEERS_READERS.fullmatch(name[1]) and not HARMLESS_ENV.fullmatch(word.text)):
            return False
    return bool(args)


def _unsets(args: Sequence[Word]) -> bool:
    return bool(args) and all(re.fullmatch(r"[A-Za-z_]\w*", word.text) and not RUNS_WORDS.fullmatch(word.text) for word in args)


def _sources(args: Sequence[Word]) -> bool:
    if len(args) != 1:
        return False
    return (args[0].literal and bool(_ACTIVATE.fullmatch(args[0].text))) or bool(_SHELL_FILES.fullmatch(args[0].text))


SETUP: Mapping[str, Callable[[Sequence[Word]], bool]] = {
    **{name: _sets_up(name) for name in SETTERS},
    **{"export": _exports, "unset": _unsets, "source": _sources, ".": _sources, "eval": _evaluates},
    **dict.fromkeys(("ulimit", "umask"), _plain),
}
