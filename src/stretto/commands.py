"""What a command is: a check worth recording, a mere reader, a package manager's run, or anything else. Pure.

Hides the table of tools and of their options; all of what Stretto knows about other people's command lines is here. Promises:

- `check_of` is deny by default: a tool or a form that is not in the table is no check, and neither is one that writes what it reads
  (`--fix`, `--write`, snapshot updates), waits for somebody (watch, debugger, interface) or is an end-to-end suite.
- `effect_of` is deny by default: "reads" and "checks" are said only of texts understood to the last character. "other" is always a
  safe answer. Not seen by it: what the user's own aliases, functions and configuration make of a name.
- `redact` and `display` give text that may be logged and printed: no secret that can be told by its looks, no control characters.

Longer than most files because it is one table and the few readers of it; the shell's grammar is in `shelltext`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from stretto.model import Record
from stretto.shelltext import Simple, Word, split

CheckKind = Literal["test", "lint", "types", "build"]
Effect = Literal["reads", "checks", "package", "other"]
Argv = Sequence[bytes] | Sequence[str]
"""argv[0] included; its value is not looked at."""


class Check(Record):
    """A command line that checks."""

    kind: CheckKind
    ahead: bool = True
    """May ever run ahead: it is not known to write products, to install, to connect or to exclude a second run of itself."""
    steered: bool = False
    """Its outcome hangs on what an earlier run left in a cache (`--lf`): never joined to another run, never run ahead."""
    filtered: bool = False
    """Runs only selected tests (`-k`, ids): says nothing about the whole."""


# --- the table --------------------------------------------------------------------------------------------------------------

_NEVER = ("--fix", "--write", "--watch", "--update", "--autocorrect", "--auto-correct", "--autofix", "--snapshot-update", "--inspect")
_NEVER += ("--regen", "--bless", "--accept", "--in-place", "--inplace", "--install-types", "--interactive", "--headed", "--pdb", "--ui")
_NEVER += ("--generate-baseline", "--set-baseline", "--auto-gen-config", "--init", "--help", "--apply", "--edit")
"""Options no check has, whatever the tool; each stands for all that begin with it."""
_HARMLESS = ("--fix-dry-run", "--update=none")
_STEERED = frozenset("--lf --last-failed --ff --failed-first --sw --stepwise --nf --new-first --onlyChanged --only-changed --onlyFailures".split())
_STEERED |= frozenset("--changedSince --lastCommit --changed --cached --only-failures --next-failure --stale --failed --cache-result".split())
_FILTERED = frozenset("-k -m -t -run --run -grep --grep --filter --tests --testNamePattern --test-name-pattern --name --match --deselect --example".split())
_WRITES = frozenset("--cov --cov-report --junitxml --junit-xml --html --html-report --report-log --basetemp --coverage --outputFile --output-file".split())
_ID = re.compile(r"::|\.\w+:\d+$|\.\w+\[\d")
"""One test: `file::id`, `file.rb:12`."""


class Tool(NamedTuple):
    """A tool, or one subcommand of it, whose plain call checks."""

    kind: CheckKind
    ahead: bool = True
    never: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    """One of these must be there: without it the tool writes."""
    writes: frozenset[str] = frozenset()
    """With one of these it writes a product: recorded, never run ahead."""
    steered: frozenset[str] = frozenset()
    filtered: frozenset[str] = frozenset()
    ahead_needs: frozenset[str] = frozenset()
    clusters: bool = True
    """`-xu` is `-x -u`. Not so for Go and other tools with long options after one dash, for which `--run` is `-run`."""


def _tool(kind: CheckKind, *, ahead: bool = True, clusters: bool = True, **options: str) -> Tool:
    return Tool(kind, ahead=ahead, clusters=clusters, **{key: frozenset(text.split()) for key, text in options.items()})  # type: ignore[arg-type]


Reader = Callable[[Sequence[str]], Check | None]
Entry = Tool | Reader | Mapping[str, "Tool | Reader"]
"""How to read the arguments: by the tool's options, by a function, or by the first word that is no option ("" when there is none)."""


def _has(args: Sequence[str], options: Collection[str], *, clusters: bool = True) -> bool:
    for word in args:
        head = word.split("=", 1)[0]
        if head in options or (not clusters and head.startswith("--") and head[1:] in options):
            return True
        if clusters and re.fullmatch(r"-[A-Za-z]{2,5}", word) and any("-" + char in options for char in word[1:]):
            return True
    return False


def _forbidden(args: Sequence[str]) -> bool:
    """Say whether an option is there that no check has. `--watchAll=false` and the like switch it off and are none."""
    return any(
        word.startswith(_NEVER) and not word.startswith(_HARMLESS) and not word.lower().endswith(("=false", "=none", "=no", "=0")) for word in args
    )


def _read_tool(tool: Tool, args: Sequence[str]) -> Check | None:
    if _forbidden(args) or _has(args, tool.never, clusters=tool.clusters):
        return None
    if tool.needs and not _has(args, tool.needs, clusters=tool.clusters):
        return None
    ahead = tool.ahead and not _has(args, tool.writes | _WRITES, clusters=False)
    ahead = ahead and (not tool.ahead_needs or _has(args, tool.ahead_needs))
    steered = _has(args, tool.steered, clusters=False)
    filtered = _has(args, tool.filtered, clusters=False) or any(_ID.search(word) for word in args if not word.startswith("-"))
    return Check(kind=tool.kind, ahead=ahead and not steered, steered=steered, filtered=filtered)


def _read(entry: Entry, args: Sequence[str]) -> Check | None:
    if isinstance(entry, Tool):
        return _read_tool(entry, args)
    if isinstance(entry, Mapping):
        at = next((n for n, word in enumerate(args) if not word.startswith(("-", "+"))), None)
        sub = entry.get(args[at] if at is not None else "", entry.get("*"))
        if sub is None or at is None:
            return _read(sub, args) if sub is not None else None
        rest = [*args[:at], *args[at + 1 :]] if args[at] in entry else args
        return _read(sub, rest)
    return entry(args)


# --- wrappers ---------------------------------------------------------------------------------------------------------------

_KINDS: tuple[tuple[CheckKind, re.Pattern[str]], ...] = (
    ("types", re.compile(r"typecheck|(^| )(types?|tsc|mypy|pyright)( |$)")),
    ("test", re.compile(r"(^| )(test|unit|spec|jest|vitest|pytest|rspec|phpunit|mocha|ava|verify|ci( |$))")),
    ("lint", re.compile(r"(^| )(lint|check|vet( |$)|eslint|oxlint|biome|ruff|clippy|rubocop|phpstan|psalm|staticcheck|shellcheck|validate)")),
    ("build", re.compile(r"(^| )(build|compile)")),
)
_BAD_TARGET = re.compile(
    r"fix|write|update|watch|e2e|end.?to.?end|serve|start|deploy|publish|release|snap|migrat|seed|docker|compose|open|headed|debug|install|clean"
    r"|playwright|cypress|regen|generat|bench|bless|accept|record|approve|reset|browser|mutat|connected"
    r"|(^|[^a-z])(dev|db|gen|push|up|down|ui|live|init|setup|prepare|run|ship|upload|apply|all)([^a-z]|$)"
)
_FORMATS = re.compile(r"format|fmt|prettier|style|tidy")


def _target(name: str) -> Check | None:
    """Read the name of a script, task or make target: all that the argv tells. Names that format or build may be recorded, never run ahead."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.split("=")[0])
    plain = re.sub(r"[:._/ -]+", " ", plain).strip().lower()
    if _BAD_TARGET.search(plain):
        return None
    flat = plain.replace("type check", "typecheck")
    kind = next((kind for kind, words in _KINDS if words.search(flat)), None)
    if kind is None:
        return None
    return Check(kind=kind, ahead=kind != "build" and not re.search(r"build|compile", plain) and not _FORMATS.search(plain))


def _joined(checks: Iterable[Check | None], args: Sequence[str]) -> Check | None:
    """One command that runs several targets is a check when all of them are; `args` are the words meant for the tool inside."""
    found = list(checks)
    if not found or None in found or _forbidden(args) or "-u" in args:
        return None
    known = [check for check in found if check is not None]
    order = ("test", "lint", "types", "build")
    steered = any(check.steered for check in known) or _has(args, _STEERED, clusters=False)
    return Check(
        kind=min((check.kind for check in known), key=order.index),
        ahead=all(check.ahead for check in known) and not steered and not _has(args, _WRITES, clusters=False),
        steered=steered,
        filtered=any(check.filtered for check in known) or _has(args, _FILTERED, clusters=False) or any(_ID.search(word) for word in args),
    )


def _positions(args: Sequence[str], values: Collection[str]) -> list[int]:
    """Return where the words stand that are neither options nor values of `values`; reading ends at `--`."""
    found: list[int] = []
    skip = False
    for at, word in enumerate(args):
        if skip:
            skip = False
        elif word == "--":
            break
        elif word.startswith("-") and word != "-":
            skip = word in values
        else:
            found.append(at)
    return found


def _targets(values: str = "", *, only_first: bool = False, verbs: str = "", ahead: bool = True, bare: bool = False) -> Reader:
    """Return a reader of `TOOL [options] target...` (make, task), of one target and its arguments (just), or with a verb before (mise run)."""
    taking, verbed = frozenset(values.split()), frozenset(verbs.split())

    def read(args: Sequence[str]) -> Check | None:
        places = _positions(args, taking)
        if verbed:
            if not places or (args[places[0]] not in verbed and not bare):
                return None
            if args[places[0]] in verbed:
                places = _positions([*["-"] * (places[0] + 1), *args[places[0] + 1 :]], taking)
                places = [at for at in places if args[at] not in verbed or at > 0][0:] if places else places
                places = [at for at in places if at > next(n for n, word in enumerate(args) if word in verbed)]
        if not places:
            return None
        if only_first:
            names, rest = [args[places[0]]], list(args[places[0] + 1 :])
        else:
            names, rest = [args[at] for at in places if "=" not in args[at]], [*args[:0]]
            rest = [word for at, word in enumerate(args) if at not in places]
        check = _joined([_target(name) for name in names], rest)
        return check if check is None or ahead else Check(kind=check.kind, ahead=False, steered=check.steered, filtered=check.filtered)

    return read
