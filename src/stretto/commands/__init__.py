"""What a command is: a check worth recording, a mere reader, a package manager's run, or anything else. Pure.

Hides how a whole Bash text is judged; the grammar is in `shelltext`, the readers in `readers`, the checks in `tools`. Promises:

- `effect_of` is deny by default: "reads" and "checks" are said only of texts understood to the last character. "other" is always a
  safe answer. Not seen by it: what the user's own aliases, functions and configuration make of a name.
- `redact` and `display` give text that may be logged and printed: no secret that can be told by its looks, no control characters.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import structs

from stretto.commands.deeds import Deeds, Effect, Part, PartEffect, Written, effect_of_all, gathered
from stretto.commands.fixing import where as where_it_fixes
from stretto.commands.readers import reads
from stretto.commands.realruns import Asked, Caller, by_callers, by_text, by_words
from stretto.commands.setup import BUILTINS, HARMLESS_ENV, RUNS_WORDS, SETTERS, SETUP, STEERS_READERS, first_on_path, goes_to
from stretto.commands.shape import Spotted, by_name, checks_in, shape_of
from stretto.commands.shelltext import Simple, Word, split
from stretto.commands.tools import (
    FILES,
    MODULES,
    NAMES,
    NODES,
    PYTHONS,
    TOOLS,
    Check,
    CheckKind,
    file,
    inner,
    joined,
    module,
    node_runs,
    target,
)

__all__ = ["FILES", "MODULES", "NAMES", "NODES", "PYTHONS", "Check", "CheckKind", "Deeds", "Effect", "Part", "Written", "check_of"]
__all__ += [
    "Asked",
    "Caller",
    "Spotted",
    "by_callers",
    "by_text",
    "checks_in",
    "deeds_of",
    "display",
    "effect_of",
    "parts_of",
    "pattern_text",
    "python_file",
    "python_module",
    "redact",
    "shape_of",
    "where_it_fixes",
]

Argv = Sequence[bytes] | Sequence[str]
"""argv[0] included; its value is not looked at."""
NESTED = 20
"""No command line has more wrappers than this; a longer one is not looked through."""


def _words(argv: Sequence[bytes | str]) -> list[str]:
    return [word.decode(errors="backslashreplace") if isinstance(word, bytes) else word for word in argv]


def python_module(argv: Argv) -> str:
    """Return the module a `python -m MODULE` or `python .venv/bin/MODULE` runs, "" when it runs something else."""
    return module(_words(argv)[1:])[0]


def python_file(name: str, argv: Argv) -> str:
    """Return the path by which a call of python runs the file of a tool, "" when it does not."""
    return file(_words(argv)[1:]) if name in PYTHONS else ""


_UPDATING = re.compile(
    r"(?:UPDATE|REGEN|REGENERATE|BLESS|OVERWRITE|ACCEPT|RECORD)(?:_\w+)?|\w+_(?:BLESS|REGENERATE)|INSTA_(?:FORCE_)?UPDATE|VCR_RECORD\w*"
)
_NOT_SET = frozenset({"", "0", "no", "none", "false", "off"})


def check_of(
    name: str,
    argv: Argv,
    *,
    env: Iterable[bytes | str] = (),
    added: Collection[str] = (),
    usual: Collection[bytes | str] = (),
) -> Check | None:
    """Say whether this call checks (tests, lints, checks types, builds), and how; None when it is to be left alone.

    Args:
        name: the intercepted name: `pytest`, `python`, `make`.
        env: `NAME=value` entries; one that tells test tools to rewrite what they expect (`UPDATE_SNAPSHOTS=1`) makes it no check.
        added: names the user's stretto.toml adds. Of an unknown tool only the options no check has are understood.
        usual: the entries of `env` that hold for the whole session: how its checks always run asks for nothing in particular.
    """
    words, env = _words(argv)[1:], list(env)
    more: list[str] = []
    for entry in _words(env):
        variable, _, value = entry.partition("=")
        if _UPDATING.fullmatch(variable) and value.lower() not in _NOT_SET:
            return None
        if variable == "PYTEST_ADDOPTS":
            more = value.split()  # pytest reads them before its own arguments, however deep in a wrapper it stands
    if "/" in name or sum(word in TOOLS or word == "workspace" for word in words) > NESTED:
        return None
    if name in added and name not in TOOLS and name not in PYTHONS:
        check = joined([target(name) or Check(kind="test")], words)
    else:
        check = inner(name, words)
    check = joined([check, inner("pytest", more)], words) if more and check else check
    real = by_words(name, words, _words([entry for entry in env if entry not in usual])) if check else ""
    return structs.replace(check, real=real) if check and real else check


# --- effects ----------------------------------------------------------------------------------------------------------------


def deeds_of(text: str, names: Collection[str]) -> Deeds:
    """Say what a whole Bash command does, with what it writes by name set apart."""
    return gathered(_judge_text(text, names, 0))


def effect_of(text: str, names: Collection[str]) -> Effect:
    """Say what a whole Bash command may do to the tree.

    Args:
        names: what is intercepted in this session, tools called by their path as they are spelled; a check by any other name is "other",
            for nobody records it.

    Returns:
        reads: it changes nothing. checks: it consists of intercepted checks and readers. package: a package manager may change the
        dependencies. other: everything else, and everything not understood.
    """
    return effect_of_all(parts_of(text, names))


def is_way_out(text: str) -> bool:
    """Say whether a Bash command only looks at Stretto, or ends what it does to a session: such a one is never held up."""
    found, opaque = split(text)
    return bool(found) and not opaque and all(_leads_out(simple) for simple in found)


def _leads_out(simple: Simple) -> bool:
    words = [word.text for word in simple.words]
    if simple.flaw or simple.writes or simple.assigns or len(words) < 2 or not all(word.literal for word in simple.words):
        return False
    return (words[0] == "stretto" and words[1] in _WAYS_OUT) or (words[0] == "claude-hook" and words[1] == "--clear")


_WAYS_OUT = frozenset({"unblock", "pause", "status", "why", "explain-stop", "doctor", "logs", "events"})


def only_git(text: str, names: Collection[str]) -> bool:
    """Say whether a Bash command does nothing but call git, checks and readers: then nothing it changes escapes a look at the project."""
    return all(part.name.rpartition("/")[2] == "git" or part.effect in ("reads", "checks", "setup") for part in parts_of(text, names))


def parts_of(text: str, names: Collection[str]) -> tuple[Part, ...]:
    """Return the simple commands of `text` with their effects; what could not be read is one last part, with the reason.

    One that writes what it names is "other" here; `deeds_of` tells the two apart.
    """
    return tuple(_strictly(part) for part in _judge_text(text, names, 0))


def _strictly(part: Part) -> Part:
    if part.effect in ("reads", "checks", "setup"):
        if part.writes:
            return structs.replace(part, effect="other", reason="writes to a file that it names")
        if part.first_on_path:
            return structs.replace(part, effect="other", reason="sets a variable that decides what a name runs")
    return part


_PACKAGE = re.compile(
    r"""(?x) (?:^|[\s;&|("'`/=]) (?:
      (?:pip[\d.]*|pipx|uv|poetry|pdm|rye|pipenv|hatch|pixi|conda|mamba|micromamba) \s+ (?:-\S+\s+)*
        (?:pip\s+\w+|tool\s+\w+|install|uninstall|add|remove|update|upgrade|lock|sync|venv|create|env|self|download|python)
    | (?:npm|pnpm|yarn|bun) \s+ (?:-\S+\s+)*
        (?:i|install|ci|add|update|up|upgrade|uninstall|remove|rm|un|link|unlink|dedupe|prune|rebuild|import|dlx|create|init|audit)
    | yarn \s* (?:$|[;&|\n]|--(?:frozen|immutable))
    | cargo \s+ (?:add|remove|rm|install|uninstall|update|fetch|vendor)
    | go \s+ (?:get|install|mod|work)
    | (?:bundle|bundler) (?:\s+(?:install|update|add|remove)|\s*(?:$|[;&|\n]))
    | composer \s+ (?:-\S+\s+)* (?:install|i|update|require|remove|upgrade)
    | (?:gem|brew|apt|apt-get|aptitude|dnf|yum|zypper|apk|port|snap|nix-env|nix) \s+ (?:-\S+\s+)*
        (?:install|uninstall|remove|purge|update|upgrade|full-upgrade|dist-upgrade|autoremove|add|del|profile|-i)
    | pacman \s+ -[SRU]
    | dotnet \s+ (?:add|restore|remove|tool|new|nuget|workload)
    | (?:gradle|gradlew|mvn|mvnw) \s [^;&|\n]* (?:--refresh-dependencies|--write-locks|--update-locks|-U|--update-snapshots|dependency:\S+)
    | (?:dart|flutter) \s+ pub \s+ \w+ | mix \s+ (?:deps\.\w+|archive\.\w+|local\.\w+) | swift \s+ package \s+ \w+
    | deno \s+ (?:install|add|remove|uninstall|cache|update) | pod \s+ (?:install|update) | luarocks \s+ \w+ | cabal \s+ (?:update|install)
    | -m \s+ (?:venv|virtualenv|ensurepip|pip \s+ \w+) | virtualenv \s+ \S+
    | (?:mise|asdf|rustup|nvm|fnm|volta|sdk|pyenv|rbenv|corepack) \s+
        (?:install|i|use|up|upgrade|uninstall|unuse|plugin|default|update|toolchain|override|component|target|prepare|enable|disable
        |local|global|shell|sync)
    | (?:pre-commit|playwright) \s+ install
    ) (?![\w:./-])"""
)
"""A run of a package manager that may change dependencies. Only asked of what is neither a reader nor a check, so it may be generous."""

_PREFIXES: Mapping[str, tuple[re.Pattern[str], frozenset[str]]] = {
    **dict.fromkeys(
        ("timeout", "gtimeout"),
        (re.compile(r"-[ks]\S*|--(?:kill-after|signal)=\S+|--foreground|--preserve-status|-v|--verbose"), frozenset({"-k", "-s"})),
    ),
    "env": (re.compile(r"-u|--unset=\S+"), frozenset({"-u"})),
    "nice": (re.compile(r"-n|-n?\d+|--adjustment=\d+"), frozenset({"-n"})),
    "stdbuf": (re.compile(r"-[ioe][L0]"), frozenset()),
    "command": (re.compile(r"(?!)"), frozenset()),
}
"""Commands that run the rest of their words: the options they may have, and which of these take a value."""
_VERSIONED = frozenset({"node", "java", "ruby", "php", "rustc", "gcc", "clang", "cmake", "docker", "gh"})
_SHOWN = re.compile(r"[\w.+/:\[-]{0,40}")
_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_SHELL_DEPTH = 4


def _judge_text(text: str, names: Collection[str], depth: int) -> list[Part]:
    found, opaque = split(text)
    parts = [part for simple in found for part in _judge(simple, names, depth)]
    if opaque:
        parts.append(Part(name="", effect="package" if _PACKAGE.search(text) else "other", reason=f"not understood: {opaque}"))
    return parts


def _judge(simple: Simple, names: Collection[str], depth: int) -> list[Part]:
    words, assigns, prefixed = _without_prefixes(simple)
    name = words[0].text if words and words[0].literal else ""
    args = words[1:]
    if name in _SHELLS and not simple.flaw and not assigns and depth < _SHELL_DEPTH and (text := _shell_text(args)) is not None:
        inner_parts = _judge_text(text, by_name(names), depth + 1)
        shell = Part(name=name, effect="reads", reason="", writes=simple.writes, looked_up=_looked_up_within(name, inner_parts))
        return [shell, *inner_parts] if simple.writes or shell.looked_up else inner_parts
    first = first_on_path(simple)
    if first is not None:
        assigns = [assign for assign in assigns if not assign.startswith("PATH=")]
    exports_path = name == "export" and any(word.text.startswith("PATH=") for word in args)
    if simple.flaw:
        effect, reason = _other(simple.flaw)
    elif (exports_path and first is None) or any(RUNS_WORDS.fullmatch(assign.split("=", 1)[0].rstrip("+")) for assign in assigns):
        effect, reason = _other("sets a variable that decides what a name runs")
    elif not words:
        effect, reason = _judge_assignments(assigns)
    elif not name:
        effect, reason = _other("the command's name is computed")
    else:
        effect, reason = _judge_call(name, args, assigns, names, prefixed=prefixed)
    if effect == "other" and _PACKAGE.search(" ".join(word.text for word in simple.words)):
        effect, reason = "package", "a package manager's run"
    if first and not words:
        effect = "setup"
    named = _named_by(name, args) if effect != "other" else ()
    return [
        Part(
            name=name if _SHOWN.fullmatch(name) else "",
            effect=effect,
            reason=reason,
            writes=(*simple.writes, *named),
            piped=simple.piped,
            goes_to=goes_to(name, args),
            first_on_path=first or (),
            looked_up=_looked_up(simple, name, effect, prefixed=prefixed),
        )
    ]


def _looked_up(simple: Simple, name: str, effect: PartEffect, *, prefixed: bool) -> tuple[str, ...]:
    """A check stands behind our function unless another command starts it; what the shell has itself is not looked up."""
    if not name or "/" in name or (effect in ("checks", "setup") and not prefixed):
        return ()
    texts = [word.text for word in simple.words]
    before = texts[: texts.index(name) + 1] if prefixed else [name]
    return tuple(word for word in before if word not in BUILTINS and re.fullmatch(r"[\w.+-]+", word))


def _looked_up_within(shell: str, parts: Iterable[Part]) -> tuple[str, ...]:
    """A shell that is started has no functions of ours: all it runs is looked up."""
    return (shell, *(part.name for part in parts if part.name and "/" not in part.name and part.name not in BUILTINS))


def _named_by(name: str, args: Sequence[Word]) -> tuple[str, ...]:
    """Return what `mkdir`, `touch` and `tee` make or write."""
    return tuple(word.text for word in args if name in _MAKES and not word.text.startswith("-") and word.text != "/dev/null")


_MAKES: Mapping[str, re.Pattern[str]] = {
    "tee": re.compile(r"-[ai]+|--append|--ignore-interrupts"),
    "mkdir": re.compile(r"-[pv]+|--parents|--verbose"),
    "touch": re.compile(r"-[am]+"),
}
"""Commands that make or write only what they name, and the options that change nothing about that."""


def _makes(name: str, args: Sequence[Word]) -> bool:
    """Say whether what such a command names can be taken at its word."""
    return all(
        word.literal and not re.search(r"^[~=]|[*?\[{]", word.raw) and (not word.text.startswith("-") or _MAKES[name].fullmatch(word.text))
        for word in args
    )


def _other(reason: str) -> tuple[PartEffect, str]:
    return "other", reason


def _judge_assignments(assigns: Sequence[str]) -> tuple[PartEffect, str]:
    """Variables set for what follows in the same shell."""
    if all(HARMLESS_ENV.fullmatch(assign) for assign in assigns):
        return "reads", ""
    if any(STEERS_READERS.fullmatch(assign.split("=", 1)[0].rstrip("+")) for assign in assigns):
        return _other("sets a variable that steers other commands")
    return "setup", ""


def _judge_call(
    name: str, args: Sequence[Word], assigns: Sequence[str], names: Collection[str], *, prefixed: bool
) -> tuple[PartEffect, str]:
    if name in SETUP and not prefixed and not assigns:
        if SETUP[name](args):
            return "setup", ""
        if name not in SETTERS:
            return _other("changes the shell in a way that is not understood")
    harmless = all(HARMLESS_ENV.fullmatch(assign) for assign in assigns)
    if name in _MAKES:
        return ("reads", "") if harmless and _makes(name, args) else _other("makes or writes something that is computed")
    verdict = reads(name, args)
    if verdict is not None:
        return ("reads", "") if verdict and harmless else _other("a reader with an argument or a variable that is computed or may write")
    if "/" in name and name in names and not prefixed:
        name = name.rpartition("/")[2]
        names = {name, *names}
    texts = [word.text for word in args]
    if texts in (["--version"], ["--help"]) or (name, texts) == ("go", ["version"]):
        known = name in NAMES or name in PYTHONS or name in _VERSIONED
        return ("reads", "") if known and harmless else _other("not a known command")
    called = module(texts)[0] if name in PYTHONS else ""
    by_words = called in MODULES and (called in names or called not in NAMES)
    by_words = by_words or (name in NODES and not prefixed and node_runs(texts)[0] in {"--test", *names})
    if not (name in names or by_words):
        return _other("a check that is not intercepted" if name in NAMES or called in NAMES else "not a known command")
    if not all(word.plain for word in args):
        return _other("a check whose arguments are computed")
    if check_of(name, [name, *texts], env=assigns, added=names) is None:
        return _other("a known tool, but not in a form that only checks")
    return "checks", ""


def _without_prefixes(simple: Simple) -> tuple[list[Word], list[str], bool]:
    """Return words, assignments and whether `timeout`, `env` and their like were taken off the front."""
    words, assigns, prefixed = list(simple.words), list(simple.assigns), False
    while words and words[0].literal and words[0].text in _PREFIXES:
        name = words[0].text
        allowed, taking = _PREFIXES[name]
        at = 1
        while at < len(words) and words[at].literal and allowed.fullmatch(words[at].text):
            at += 2 if words[at].text in taking else 1
        if "timeout" in name and at < len(words) and words[at].plain:
            at += 1
        more: list[str] = []
        while name == "env" and at < len(words) and words[at].plain and re.match(r"[A-Za-z_]\w*=", words[at].text):
            more.append(words[at].text)
            at += 1
        if at >= len(words) or words[at].text.startswith("-"):
            break  # a form that is not known, or nothing to run: judged as a call of the prefix itself
        words, assigns, prefixed = words[at:], [*assigns, *more], True
    return words, assigns, prefixed


def _shell_text(args: Sequence[Word]) -> str | None:
    """Return the text of `bash -c TEXT`, None for every other form; `-l` reads profiles, which may do anything."""
    if len(args) < 2 or not all(word.literal for word in args):
        return None
    *flags, text = [word.text for word in args]
    known = all(re.fullmatch(r"-[eux]*o?|-[eux]*c|pipefail", flag) for flag in flags)
    return text if known and re.fullmatch(r"-[eux]*c", flags[-1]) and not any(flag.endswith("c") for flag in flags[:-1]) else None


# --- display ----------------------------------------------------------------------------------------------------------------

REDACTED = "[redacted]"
WORD_CHARS = 200
"""A longer argument is shown cut."""
LINE_CHARS = 300
"""`display` gives no longer line."""
TOTAL_CHARS = 4000
"""`redact` keeps words up to this many characters in all; one argument longer than this shows only its length."""

_SECRET = (
    r"(?:token|passw(?:or)?d|passphrase|pwd|secret|api[-_]?key|credential|private[-_]?key|access[-_]?key|auth(?:orization)?|bearer"
    r"|cookie|signature)s?"
)
_SECRET_NAME = re.compile(rf"(?i)(?:^|[-_.]|(?<=[a-z])){_SECRET}(?:$|[-_.\d])")
_SECRET_OPTION = re.compile(rf"(?i)-{{1,2}}(?:[\w.-]*[-_.]|[a-z]*){_SECRET}")
_INSIDE = (
    (re.compile(r"(?i)((?:authorization|cookie|x-[\w-]{0,40}(?:key|token|auth)[\w-]{0,40})\s*:\s*).+", re.DOTALL), rf"\1{REDACTED}"),
    (re.compile(r"(?i)(\bbearer\s+)\S+"), rf"\1{REDACTED}"),
    (re.compile(r"(\w[\w+.-]{0,30}://)[^/@\s]+@"), rf"\1{REDACTED}@"),
    (re.compile(rf"(?i)(?<![\w-])((?:[a-z][\w.-]{{0,40}}[-_.])?{_SECRET}[\w-]{{0,20}}=)\S+"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)(?<![\w-])(--?(?:[a-z][\w.-]{{0,40}}[-_.])?{_SECRET}\s+)\S+"), rf"\1{REDACTED}"),
    (re.compile(r"\b(?:gh[oprsu]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|ASIA|AIza|npm_|pypi-|hf_|eyJ)[\w.=+/-]{8,}"), REDACTED),
)
"""Secrets inside one word: headers, credentials of a URL, assignments and options in a shell text, well-known prefixes."""
_RUN = re.compile(r"[A-Za-z0-9+=]{20,}")


def _random_looking(found: re.Match[str]) -> str:
    """Hide a long run of letters and digits that changes between the two too often for a name."""
    run = found.group()
    turns = len(re.findall(r"(?<=\d)[A-Za-z]|(?<=[A-Za-z])\d", run))
    return REDACTED if turns >= 4 and sum(char.isdigit() for char in run) >= 4 else run


def _clean(word: str) -> str:
    """Hide what looks like a secret inside one word and escape what does not print."""
    if len(word) > TOTAL_CHARS:
        return f"[{len(word)} characters]"
    name, equals, value = word.partition("=")
    if equals and value and " " not in name and (_SECRET_NAME.search(name) or _SECRET_OPTION.fullmatch(name)):
        return f"{name}={REDACTED}"
    for pattern, instead in _INSIDE:
        word = pattern.sub(instead, word)
    word = _RUN.sub(_random_looking, word)
    word = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in word)
    return word if len(word) <= WORD_CHARS else word[: WORD_CHARS - 1] + "…"


def redact(argv: Argv) -> tuple[str, ...]:
    """Return the words for logs and eyes: without what looks like a secret, undecodable bytes escaped, at most `TOTAL_CHARS` in all."""
    words: list[str] = []
    left, hide = TOTAL_CHARS, False
    for at, word in enumerate(_words(argv)):
        shown = REDACTED if hide and not word.startswith("-") else _clean(word)
        hide = len(word) <= WORD_CHARS and bool(_SECRET_OPTION.fullmatch(word))
        left -= len(shown) + 1
        if left < 0:
            return (*words, f"…({len(argv) - at} more)")
        words.append(shown)
    return tuple(words)


def pattern_text(argv: Argv) -> str:
    """Return the text that patterns of the rules are matched with: the words of the command as it gets them, one space between two.

    Of the first word only the name, whatever path it was called by. Neither cut nor quoted nor redacted, so it is for nobody's eyes and for
    no log; what is no UTF-8 stands as `\\xff`.
    """
    words = _words(argv)
    return " ".join([words[0].rpartition("/")[2] or words[0], *words[1:]]) if words else ""


def display(argv: Argv) -> str:
    """Return one line for eyes: `redact`ed, quoted as a shell would need it, at most `LINE_CHARS` characters."""
    return _displayed(tuple(argv))


@functools.lru_cache(maxsize=512)  # each plan asks for that of every command that is known
def _displayed(argv: tuple[bytes, ...] | tuple[str, ...]) -> str:
    line = " ".join(word if REDACTED in word and " " not in word else shlex.quote(word) for word in redact(argv))
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"
