"""In which shape a check stands in a Bash command, and which checks of it no shim will see. Pure.

Promises: what is returned holds no word of the text but names of known tools; any text gives an answer, and a wrong one costs a wrong
count and nothing else: nothing is decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from stretto.commands.shelltext import Word, split
from stretto.commands.tools import MODULES, NAMES, NODES, PYTHONS, TOOLS, inner, module
from stretto.model import Record

_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_FILTERS = "head tail grep egrep fgrep rg sed awk cut sort uniq wc jq less cat tee tr column"
_PARTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("cd", re.compile(r"(?:^|[;&|(\n]\s*)(?:cd|pushd)\s")),
    ("env", re.compile(r"(?:^|[;&|(\n]\s*|\benv\s+(?:-\S+\s+)*)[A-Za-z_]\w*=\S*\s+\S|(?:^|[;&|(\n]\s*)export\s")),
    ("timeout", re.compile(r"(?:^|[;&|(\n\s])g?timeout\s")),
    ("prefix", re.compile(r"(?:^|[;&|(\n]\s*)(?:time|nice|nohup|command|exec|env|stdbuf|xargs|sudo)\s")),
    ("wrapper", re.compile(r"(?:^|[;&|(\n\s])(?:uvx?|poetry|pdm|hatch|pipenv|npx|npm|pnpm|yarn|bunx?|make|just|task|mise|tox|nox)\s+\S")),
    ("shell", re.compile(r"(?:^|[;&|(\n\s])(?:\S*/)?(?:ba|z|da)?sh\s+(?:-\w+\s+)*-\w*c\b")),
    ("module", re.compile(r"\bpython[\d.]*\s+(?:-\S+\s+)*-m\s")),
    ("activate", re.compile(r"(?:\bsource|(?:^|[;&|(\n]\s*)\.)\s+\S*activate")),
    ("loop", re.compile(r"(?:^|[;&|(\n]\s*)(?:for|while|until|if|case)\s")),
    ("substitution", re.compile(r"\$\(|`|<\(|>\(")),
    ("subshell", re.compile(r"(?:^|[;&|\n]\s*)\(")),
    ("chain", re.compile(r"&&|\|\||[;\n]")),
    ("background", re.compile(r"(?<![&>|\d])&(?![&>\d])")),
    ("input", re.compile(r"<")),
    ("redirect", re.compile(r">")),
    ("filter", re.compile(rf"(?<!\|)\|&?\s*(?:{_FILTERS.replace(' ', '|')})\b")),
    ("pipe", re.compile(rf"(?<!\|)\|(?!\|)&?(?!\s*(?:{_FILTERS.replace(' ', '|')})\b)")),
)
"""What a text may have, in the order in which it is named; looked for with quoted text left out."""
_HEREDOC = re.compile(r"<<-?[ \t]*['\"]?(\w+)")
READ_CHARS = 4000
"""Of a longer text only the beginning is looked at."""


def shape_of(text: str) -> str:
    """Return the shape of a Bash command: `plain`, or what it has, such as `cd+chain+redirect+filter`."""
    bare = _QUOTED.sub(lambda found: "''" if found[0][0] in "'\"" else "x", _without_documents(text[:READ_CHARS].strip()))
    found = [name for name, pattern in _PARTS if pattern.search(bare)]
    return "+".join(found) or "plain"


def _without_documents(text: str) -> str:
    """Leave out what here-documents hold; one that does not end takes the rest with it."""
    kept = ""
    while found := _HEREDOC.search(text):
        kept += text[: found.start()] + "<"
        line_end = text.find("\n", found.end())
        if line_end < 0:
            return kept + text[found.end() :]
        kept += text[found.end() : line_end]
        end = re.compile(rf"^[ \t]*{found[1]}[ \t]*$", re.MULTILINE).search(text, line_end)
        if end is None:
            return kept
        text = text[end.end() :]
    return kept + text


class Spotted(Record, frozen=True, kw_only=True):
    """One check in a Bash command."""

    name: str
    """The name of a known tool, or of a project's script that has a `test` of its own."""
    code: str
    """Why no shim will be asked about it, one of `model.MISS_CODES`; "" when one should be."""
    certain: bool
    """It runs whatever ran before it; what stands behind `&&` or in an `if` may not run at all."""


_PASSED = frozenset({"timeout", "gtimeout", "env", "nice", "stdbuf", "command", "time", "nohup", "exec"})
_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_OFF = re.compile(r"STRETTO=off|STRETTO_FRESH=1")
_NEVER_FAIL = frozenset({"cd", "pushd", "source", ".", "export", "unset", "set", "echo", "true", ":", "clear", "pwd"})
"""What stands before `&&` and as good as always succeeds."""
_DEPTH = 4
_INTERPRETERS = frozenset({"node", "php", "ruby", "perl", "tsx", "ts-node", "bash", "sh", "zsh", "java"}) | PYTHONS
SCRIPTS = frozenset({"manage.py", "artisan"})
"""Of a project, with a `test` of their own."""
_ELSEWHERE = frozenset({"docker", "podman", "docker-compose", "kubectl", "nerdctl", "ssh", "mosh", "vagrant", "su", "doas"}) | frozenset(
    {"nix-shell", "direnv", "conda", "micromamba", "devbox"}
)
"""Commands that run the rest of their words in a container, on another machine, as another user, or on a PATH of their own."""
_NESTED = 20
"""Words of these in which the command may begin."""


def checks_in(text: str, names: Collection[str]) -> tuple[Spotted, ...]:
    """Return the checks of a Bash command as far as it can be read.

    Args:
        names: what is intercepted in this session.
    """
    return _spotted(text, names, "", 0, certain=True)


def _spotted(text: str, names: Collection[str], code: str, depth: int, *, certain: bool) -> tuple[Spotted, ...]:
    simple, _ = split(text)
    nearest = names if depth == 0 else by_name(names)
    sure = not re.search(r"\b(?:if|for|while|until|case|exit|return)\b", _QUOTED.sub("''", text[:READ_CHARS]))
    runs = certain
    conditional = re.search(r"&&|\|\|", _QUOTED.sub("''", text[:READ_CHARS])) is not None
    found: list[Spotted] = []
    for each in simple:
        words = list(each.words)
        why = code or ("disabled" if any(_OFF.fullmatch(assign) for assign in each.assigns) else "")
        met = nearest
        while words and words[0].literal and (words[0].text in _PASSED or words[0].text == "sudo"):
            met = met if words[0].text == "time" else by_name(met)
            why = why or ("login-shell" if words[0].text == "sudo" else "")
            words, off = _behind(words)
            why = why or off
        if not words:
            continue
        inside = [word.text for word in words[1:]]
        base = words[0].text.rsplit("/", 1)[-1]
        if base in _SHELLS and depth < _DEPTH and len(inside) > 1 and re.fullmatch(r"-\w*c", inside[-2]) and words[-1].literal:
            login = any(re.fullmatch(r"-\w*[li]\w*|--login", option) for option in inside[:-1])
            found += _spotted(inside[-1], names, why or ("login-shell" if login else ""), depth + 1, certain=runs)
        elif name := check_name(base, inside):
            found.append(Spotted(name=name, code=why or _unseen(words[0].text, base, name, met), certain=runs and sure))
        elif name := _file_name(base, inside):
            found.append(Spotted(name=name, code=why or "by-path", certain=runs and sure))
        elif base in _ELSEWHERE and (name := _name_within(inside)):
            found.append(Spotted(name=name, code=why or "elsewhere", certain=runs and sure))
        runs = runs and not (conditional and base not in _NEVER_FAIL)
    return tuple(found)


def without_prefixes(words: list[Word]) -> list[Word]:
    """Return the words of a command behind `time`, `env X=1`, `timeout 60` and their like."""
    while words and words[0].literal and (words[0].text in _PASSED or words[0].text == "sudo"):
        words, _ = _behind(words)
    return words


def by_name(names: Collection[str]) -> Collection[str]:
    """Return what is intercepted where the session's own shell does not see the call: no path, which only a function meets."""
    return frozenset(name for name in names if "/" not in name)


def _behind(words: list[Word]) -> tuple[list[Word], str]:
    """Take a prefix such as `timeout 60` off; return the rest, and `disabled` when it switches Stretto off."""
    rest, off = words[1:], ""
    while rest and (rest[0].text.startswith("-") or re.fullmatch(r"[\d.]+[smhd]?|[A-Za-z_]\w*=.*", rest[0].text, re.DOTALL)):
        off = off or ("disabled" if _OFF.fullmatch(rest[0].text) else "")
        rest = rest[1:]
    return rest, off


def check_name(base: str, args: list[str]) -> str:
    """Return the name by which a call is known as a check, "" when it is none."""
    if args in (["--version"], ["--help"], ["-V"], ["-h"]):
        return ""
    if base in PYTHONS or re.fullmatch(r"python[\d.]+", base):
        called = module(args)[0]
        return called if called in MODULES and inner("python", args) is not None else ""
    if base in NODES:
        return base if inner(base, args) is not None else ""
    return base if base in TOOLS and inner(base, args) is not None else ""


def _file_name(base: str, args: list[str]) -> str:
    """Return the name of a check whose file is run: `node node_modules/.bin/jest`, `php artisan test`, `./manage.py test`."""
    if base in SCRIPTS:
        return base if args[:1] == ["test"] else ""
    at = next((n for n, word in enumerate(args) if not word.startswith("-")), -1)
    if base not in _INTERPRETERS or at < 0 or "-m" in args[:at]:
        return ""
    folder, _, script = args[at].rpartition("/")
    if script in SCRIPTS:
        return _file_name(script, args[at + 1 :])
    tool = re.sub(r"\.(?:[cm]?js|phar|py|rb|php|jar)$", "", script)
    return check_name(tool, args[at + 1 :]) if folder or tool != script else ""


def _name_within(args: list[str]) -> str:
    """Return the name of the check that begins somewhere in these words."""
    return next((name for at, word in enumerate(args[:_NESTED]) if (name := check_name(word.rpartition("/")[2], args[at + 1 :]))), "")


def _unseen(typed: str, base: str, name: str, names: Collection[str]) -> str:
    if "/" in typed:
        return "" if typed in names else "by-path"
    known = base in names or (base in PYTHONS | NODES and (name in names or name not in NAMES))
    return "" if known else "not-intercepted"
