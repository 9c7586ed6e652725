"""Which commands rewrite what they check because a configuration or a script says so: `where(argv, texts)`. Pure; `texts` reads files.

What is read here is a hint that keeps a command from running ahead before it does harm: a linter that found nothing to mend in its first
runs wrote nothing in them. It says nothing of what may be joined, nor of what a command did: that is seen (docs/join.md).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from stretto.commands.tools import has

Texts = Callable[[str], Sequence[str]]
"""The files of that name from the command's directory up to the project's root, nearest first."""

SCRIPTS_MOST, WORDS_MOST = 50, 4000
"""No command stands for more scripts, no script has more words; what does is not followed further."""
LINE_MOST = 4000
"""Of a file with longer lines nothing is read: nobody writes such a configuration, and reading it takes long."""

FIXING = frozenset(
    (
        "--fix",
        "--fix-only",
        "--write",
        "--apply",
        "--in-place",
        "--inplace",
        "--autocorrect",
        "--autocorrect-all",
        "--auto-correct",
        "--autofix",
    )
)
OFF = ("=false", "=no", "=none", "=off", "=0")
SHORT: dict[str, frozenset[str]] = {
    "rubocop": frozenset(("-a", "-A")),
    "standardrb": frozenset(("-a", "-A")),
    "prettier": frozenset(("-w",)),
    "gofmt": frozenset(("-w",)),
    "goimports": frozenset(("-w",)),
    "gofumpt": frozenset(("-w",)),
    "shfmt": frozenset(("-w",)),
    "autopep8": frozenset(("-i",)),
    "autoflake": frozenset(("-i",)),
    "clang-format": frozenset(("-i",)),
    "ktlint": frozenset(("-F",)),
    "codespell": frozenset(("-w",)),
}
"""Options of one letter that rewrite, by tool."""
UNLESS: dict[str, frozenset[str]] = {
    "black": frozenset(("--check", "--diff")),
    "isort": frozenset(("--check", "--check-only", "-c", "--diff", "--df")),
    "rustfmt": frozenset(("--check",)),
    "swiftformat": frozenset(("--lint", "--dryrun")),
    "pyupgrade": frozenset(),
    "docformatter": frozenset(("-c", "--check")),
}
"""Formatters: they rewrite without one of these."""
UNLESS_AFTER: dict[tuple[str, str], frozenset[str]] = {
    ("ruff", "format"): frozenset(("--check", "--diff")),
    ("cargo", "fmt"): frozenset(("--check",)),
    ("go", "fmt"): frozenset(("-n",)),
    ("mix", "format"): frozenset(("--check-formatted", "--dry-run")),
    ("terraform", "fmt"): frozenset(("-check", "-diff")),
    ("dart", "format"): frozenset(("--set-exit-if-changed", "--output", "-o")),
    ("cargo", "fix"): frozenset(),
}
CONFIGS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "golangci-lint": (tuple(f".golangci.{kind}" for kind in ("yml", "yaml", "toml", "json")), frozenset(("--fix=false",))),
    "stylelint": (
        (".stylelintrc", *(f".stylelintrc.{kind}" for kind in ("json", "yml", "yaml", "js", "cjs", "mjs")), "stylelint.config.js"),
        frozenset(),
    ),
    "markdownlint-cli2": (tuple(f".markdownlint-cli2.{kind}" for kind in ("jsonc", "yaml", "cjs", "mjs")), frozenset(("--no-fix",))),
}
"""Tools whose configuration has a switch `fix: true`: where it stands, and the options that switch it off."""
_FIX_TRUE = re.compile(r"""^[ \t{,]*["']?(?:fix|unsafe-fixes)["']?\s*[:=]\s*true\b""", re.MULTILINE)
_RUFF_FILES = ("ruff.toml", ".ruff.toml", "pyproject.toml")
_NPM = frozenset(("npm", "pnpm", "yarn", "bun"))
_SPLIT = re.compile(r"[;&|()\n]+")
_CUT = " \t\"'@-+`"


def where(argv: Sequence[bytes], texts: Texts) -> str:
    """Say which file has a command rewrite what it checks, "" when none is seen to."""
    words = [word.decode(errors="replace") for word in argv]
    return _line(words, texts, set()) if words else ""


def _line(words: Sequence[str], texts: Texts, seen: set[tuple[str, str]]) -> str:
    """Judge one simple command, wrappers and all: what a wrapper runs stands among its words.

    Args:
        seen: the scripts that were looked at already.
    """
    if len(words) > WORDS_MOST or len(seen) > SCRIPTS_MOST:
        return ""
    names = [word.rpartition("/")[2] for word in words]
    for at, name in enumerate(names):
        if name == "ruff" and "--no-fix" not in words and (found := _ruff(words[at + 1 :], texts)):
            return found
        if name == "rubocop" and any(_rewrites(["rubocop", *text.split()]) for text in texts(".rubocop")):
            return ".rubocop"
        files, off = CONFIGS.get(name, ((), frozenset()))
        if not off & set(words) and (file := next((file for file in files if any(map(_FIX_TRUE.search, texts(file)))), "")):
            return file
    for file, text in _scripts(names, words, texts):
        if (file, text) in seen:
            continue
        seen.add((file, text))
        for part in _SPLIT.split(text):
            inner = [word.strip(_CUT) if at == 0 else word.strip("\"'`") for at, word in enumerate(part.split())]
            if _rewrites(inner) or _line(inner, texts, seen):
                return file
    return ""


def _rewrites(words: Sequence[str]) -> bool:
    """Say whether a command line of a script asks for it."""
    names = [word.rpartition("/")[2] for word in words]
    if any(word.split("=", 1)[0] in FIXING and not word.lower().endswith(OFF) for word in words):
        return True
    for at, name in enumerate(names):
        rest = words[at + 1 :]
        if has(rest, SHORT.get(name, frozenset())) or (name in UNLESS and not has(rest, UNLESS[name])):
            return True
        if rest and (name, rest[0]) in UNLESS_AFTER and not has(rest, UNLESS_AFTER[name, rest[0]]):
            return True
    return False


def _ruff(args: Sequence[str], texts: Texts) -> str:
    if args[:1] == ["format"] or "--version" in args:
        return ""
    named = [args[at + 1] for at, word in enumerate(args[:-1]) if word == "--config" and "=" not in args[at + 1]]
    for file in (*named, *_RUFF_FILES):
        for text in texts(file):
            table = _toml(text)
            table = _at(table, "tool", "ruff") if file.endswith("pyproject.toml") else table
            extended = table.get("extend")
            if table.get("fix") is True or table.get("fix-only") is True:
                return file
            if isinstance(extended, str) and any(_FIX_TRUE.search(more) for more in texts(extended)):
                return extended
    return ""


def _toml(text: str) -> dict[str, Any]:
    if max(map(len, text.split("\n"))) > LINE_MOST:
        return {}
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _at(value: Any, *keys: str) -> dict[str, Any]:
    """Return the table at a place of a configuration, an empty one when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


# --- what stands behind a name ----------------------------------------------------------------------------------------------


def _scripts(names: Sequence[str], words: Sequence[str], texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield what the scripts, targets and recipes that a command line names are made of, each with its file."""
    named = {word.rpartition(":")[2] if word.startswith("npm:") else word for word in words[1:]}
    first = names[0] if names else ""
    if first in _NPM or first in ("npm-run-all", "run-s", "run-p", "npm-run-all2", "concurrently", "node", "lerna", "nx", "turbo"):
        yield from _of_json("package.json", "scripts", named | ({"test"} if "t" in named or "tst" in named else set()), texts)
    if first in ("make", "gmake"):
        for file in ("GNUmakefile", "makefile", "Makefile"):
            yield from ((file, _recipe(text, named, r"[:&]")) for text in texts(file)[:1])
    elif first == "just":
        for file in ("justfile", "Justfile", ".justfile"):
            yield from ((file, _recipe(text, named, r":")) for text in texts(file)[:1])
    elif first in ("task", "go-task"):
        for file in ("Taskfile.yml", "Taskfile.yaml"):
            yield from ((file, _block(text, named)) for text in texts(file)[:1])
    elif first == "composer":
        yield from _of_json("composer.json", "scripts", named, texts)
    elif first == "deno":
        yield from _of_json("deno.json", "tasks", named, texts)
    elif first == "tox" or "tox" in names:
        yield from (("tox.ini", _sections(text, words)) for text in texts("tox.ini")[:1])
        yield from (("pyproject.toml", _strings(_at(_toml(text), "tool", "tox"))) for text in texts("pyproject.toml")[:1])
    elif first == "nox" or "nox" in names:
        yield from (("noxfile.py", _strings_of_code(text)) for text in texts("noxfile.py")[:1])
    elif first in ("poe", "poetry", "pdm", "hatch", "task", "uv", "rye", "pixi"):
        yield from _of_pyproject(named, texts)


def _of_json(file: str, key: str, named: Iterable[str], texts: Texts) -> Iterator[tuple[str, str]]:
    for text in texts(file)[:1]:
        scripts = _at(_json(text), key)
        for name in named:
            for each in (f"pre{name}", name, f"post{name}"):
                if each in scripts:
                    yield file, _strings(scripts[each])


def _of_pyproject(named: Iterable[str], texts: Texts) -> Iterator[tuple[str, str]]:
    for text in texts("pyproject.toml")[:1]:
        tools = _at(_toml(text), "tool")
        places = (("poe", "tasks"), ("pdm", "scripts"), ("taskipy", "tasks"), ("pixi", "tasks"))
        tables = [_at(tools, *place) for place in places] + [_at(env, "scripts") for env in _at(tools, "hatch", "envs").values()]
        for table in tables:
            for name in named:
                if (plain := name.rpartition(":")[2]) in table:
                    yield "pyproject.toml", _strings(table[plain])


def _strings(value: Any) -> str:
    """Return all texts in a value, one a line."""
    if isinstance(value, str):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "\n".join(map(_strings, items))


def _recipe(text: str, named: Iterable[str], mark: str) -> str:
    """Return the recipes of these targets of a makefile, and of what they wait for in it; the first target when none is named."""
    rules: dict[str, tuple[list[str], list[str]]] = {}
    lines: list[str] = []
    for line in text.replace("\\\n", " ").split("\n"):
        head = re.match(rf"@?([^\s#:=][^:=#]*?){mark}+(?!=)(.*)$", line)
        if line[:1] in (" ", "\t"):
            lines.append(line.strip().lstrip("@-+ "))
        elif head:
            after, lines = head[2].partition(";"), []
            lines += [after[2]] if after[2] else []
            for target in head[1].split()[: 1 if mark == ":" else None]:
                waits, known = rules.setdefault(target, ([], []))
                waits += after[0].split()
                rules[target] = (waits, known)
                known.append("")
                lines = known
    wanted, found, seen = [name for name in named if name in rules], [], set()
    while wanted:
        target = wanted.pop()
        if target not in seen:
            seen.add(target)
            waits, known = rules.get(target, ([], []))
            found += known
            wanted += waits
    return "\n".join(found)


def _block(text: str, named: Iterable[str]) -> str:
    """Return the lines below `NAME:` that are indented deeper, for each of these names."""
    found: list[str] = []
    depth = -1
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= depth:
            depth = -1
        if depth >= 0:
            found.append(line.strip().removeprefix("- ").removeprefix("cmd:").strip())
        elif line.strip().rstrip(":") in named and line.rstrip().endswith(":"):
            depth = indent
    return "\n".join(found)


def _sections(text: str, words: Sequence[str]) -> str:
    """Return the sections of a tox.ini that the environments on the line use; all of them when none is named."""
    named = {name for word in words[1:] if not word.startswith("--") for name in word.removeprefix("-e").split(",")}
    found, wanted = [], False
    for line in text.replace("\\\n", " ").split("\n"):
        if head := re.match(r"\[testenv(?::([^\]]+))?\]", line):
            wanted = head[1] is None or head[1] in named or not any("-e" in word for word in words)
        elif line.startswith("["):
            wanted = False
        elif wanted:
            found.append(line.partition("=")[2] if re.match(r"\s*commands\w*\s*=", line) else line)
    return "\n".join(found)


def _strings_of_code(text: str) -> str:
    """Return the calls `session.run("a", "b")` of a noxfile as command lines."""
    return "\n".join(" ".join(re.findall(r"""["']([^"'\n]*)["']""", call)) for call in re.findall(r"\.run\(([^)]*)\)", text))
