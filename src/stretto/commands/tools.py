"""The table of tools: which call of a test runner, linter, type checker or build checks. Pure; `commands.check_of` is its door.

Hides every option we know of other people's tools. Deny by default: a tool or a form that is not in the table is no check, and
neither is one that writes what it reads (`--fix`, `--write`, snapshot updates), waits for somebody (watch, debugger, interface) or is
an end-to-end suite. Wrappers are looked through where their argv shows the command inside, else judged by the name of the target.

It is one idea in one long file: one table and the few readers it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from stretto.carryover import by_order

CheckKind = Literal["test", "lint", "types", "build"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A command line that checks."""

    kind: CheckKind
    ahead: bool = True
    """May ever run ahead: not known to write products, to install, to leave a process, or to exclude a second run of itself."""
    steered: bool = False
    """Its outcome hangs on what an earlier run left in a cache (`--lf`): never joined to another run, never run ahead."""
    filtered: bool = False
    """Runs only selected tests (`-k`, ids): says nothing about the whole."""
    real: str = ""
    """The option or variable by which it asks for a real run (`realruns.by_words`): recorded, never answered with an earlier result."""


# --- reading options --------------------------------------------------------------------------------------------------------


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER = tuple(
    _set(
        """--fix --write --watch --update --autocorrect --auto-correct --autofix --snapshot-update --inspect --regen --bless --accept
        --in-place --inplace --install-types --interactive --headed --pdb --ui --generate-baseline --set-baseline --auto-gen-config
        --init --help --apply --edit"""
    )
)
"""Options no check has, whatever the tool; each stands for all that begin with it."""
_NEVER_OFF = ("=false", "=none", "=no", "=0", "=off")
_STEERED = _set(
    """--lf --last-failed --ff --failed-first --sw --stepwise --nf --new-first --onlyChanged --only-changed --onlyFailures
    --changedSince --lastCommit --changed --cached --only-failures --next-failure --stale --failed"""
)
_FILTERED = _set(
    """-k -m -t -run -grep --grep --filter --tests --testNamePattern --test-name-pattern --name --match --deselect --example"""
)
_WRITES = _set(
    """--cov --cov-report --junitxml --junit-xml --html --html-report --report-log --basetemp --coverage --outputFile --output-file"""
)
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
    return Tool(kind, ahead=ahead, clusters=clusters)._replace(**{key: _set(text) for key, text in options.items()})  # type: ignore[arg-type]


Reader = Callable[[Sequence[str]], Check | None]
Entry = Tool | Reader | Mapping[str, Tool | Reader]
"""How to read the arguments: by the tool's options, by a function, or by the first word that is no option ("*": any other, or none)."""


def has(args: Sequence[str], options: Collection[str], *, clusters: bool = False, one_dash: bool = False) -> bool:
    """Say whether one of `options` is among `args`, also as `--option=value`."""
    for word in args:
        head = word.split("=", 1)[0]
        if head in options or (one_dash and head.startswith("--") and head[1:] in options):
            return True
        if clusters and re.fullmatch(r"-[A-Za-z]{2,5}", word) and any("-" + char in options for char in word[1:]):
            return True
    return False


def _forbidden(args: Sequence[str]) -> bool:
    """Say whether an option is there that no check has. `--watchAll=false` and the like switch it off and are none."""
    return any(word.startswith(_NEVER) and not word.startswith("--fix-dry-run") and not word.lower().endswith(_NEVER_OFF) for word in args)


def _read_tool(tool: Tool, args: Sequence[str]) -> Check | None:
    one_dash = not tool.clusters
    if _forbidden(args) or has(args, tool.never, clusters=tool.clusters, one_dash=one_dash):
        return None
    if tool.needs and not has(args, tool.needs, clusters=tool.clusters, one_dash=one_dash):
        return None
    steered = has(args, tool.steered)
    ahead = tool.ahead and not steered and not has(args, tool.writes | _WRITES, one_dash=one_dash)
    ahead = ahead and not (tool.kind == "test" and _needs_services(args))
    filtered = has(args, tool.filtered, one_dash=one_dash) or any(_ID.search(word) for word in args if not word.startswith("-"))
    if tool.clusters and not filtered:  # `-xk expr`, `-kexpr`
        filtered = any(re.match(r"-[vqsx]*([kmte])", word) and "-" + word.lstrip("-vqsx")[:1] in tool.filtered for word in args)
    return Check(
        kind=tool.kind,
        ahead=ahead and (not tool.ahead_needs or has(args, tool.ahead_needs)),
        steered=steered,
        filtered=filtered,
    )


def read(entry: Entry, args: Sequence[str]) -> Check | None:
    """Read the arguments of one tool; None when this call is no check."""
    if isinstance(entry, Tool):
        return _read_tool(entry, args)
    if not isinstance(entry, Mapping):
        return entry(args)
    at = next((n for n, word in enumerate(args) if not word.startswith("-")), None)
    if at is not None and args[at] in entry:
        return read(entry[args[at]], [*args[:at], *args[at + 1 :]])
    return read(entry["*"], args) if "*" in entry else None


# --- wrappers ---------------------------------------------------------------------------------------------------------------

_KINDS: tuple[tuple[CheckKind, re.Pattern[str]], ...] = (
    ("types", re.compile(r"typecheck|(^| )(types?|tsc|mypy|pyright)( |$)")),
    ("test", re.compile(r"(^| )(test|unit|spec|jest|vitest|pytest|rspec|phpunit|mocha|ava( |$)|verify|ci( |$))")),
    ("lint", re.compile(r"(^| )(lint|check(?!out|sum|point)|vet( |$)|eslint|oxlint|biome|ruff|clippy|rubocop|phpstan|psalm|staticcheck)")),
    ("lint", re.compile(r"(^| )(shellcheck|validate)")),
    ("build", re.compile(r"(^| )(build|compile)")),
)
_BAD_TARGET = re.compile(
    r"fix|write|update|watch|e2e|end.?to.?end|serve(?!r)|start|deploy|publish|release|snap|migrat|seed|docker|compose|headed|debug|install|clean"
    r"|playwright|cypress|regen|generat|bench|bless|accept(?!ance)|record|approve|reset|browser|mutat|connected"
    r"|(^|[^a-z])(dev|db|gen|push|up|down|ui|open|live|init|setup|prepare|ship|upload|apply)([^a-z]|$)"
)
_SERVICES = re.compile(
    r"(^|[^a-z])(integrations?|functional|acceptance|system|smoke|e2e|end.?to.?end|database|postgres(ql)?|mysql|mariadb|redis"
    r"|mongo(db)?|kafka|rabbit(mq)?|elastic(search)?|containers?|testcontainers|docker|compose|k8s|kubernetes|selenium|webdriver(io)?|wdio"
    r"|playwright|cypress|puppeteer|nightwatch|testcafe|detox|appium|staging)([^a-z]|$)"
)
"""Words of tests that need something beside the code: such a suite is recorded and joined, and runs ahead only when the rules say so. The
name is a hint; what a run was seen to connect to counts besides, whatever its name (`reach.reach`)."""
_LEFT_OUT = re.compile(r"--?(ignore|exclude|deselect|skip|not)\b|\bnot ", re.IGNORECASE)


def _needs_services(args: Sequence[str]) -> bool:
    """Say whether the words name tests that need services; those they leave out (`--ignore=e2e`, `-m "not e2e"`) do not count."""
    skip = False
    for word in args:
        if skip or _LEFT_OUT.search(word):
            skip = not skip and word.startswith("-") and "=" not in word and " " not in word
        elif _SERVICES.search(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).lower()):
            return True
    return False


_FORMATS = re.compile(r"format|fmt|prettier|style|tidy")
_ORDER: tuple[CheckKind, ...] = ("test", "lint", "types", "build")


def target(name: str) -> Check | None:
    """Read the name of a script, task or target, which is all that the argv tells; one that formats or builds never runs ahead."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = re.sub(r"[^A-Za-z0-9]+", " ", plain).strip().lower().replace("type check", "typecheck")
    kind = next((kind for kind, words in _KINDS if words.search(plain)), None)
    if kind is None or _BAD_TARGET.search(plain):
        return None
    ahead = kind != "build" and not re.search(r"build|compile", plain) and not (kind == "test" and _SERVICES.search(plain))
    return Check(kind=kind, ahead=ahead and not _FORMATS.search(plain))


def joined(checks: Iterable[Check | None], args: Sequence[str] = ()) -> Check | None:
    """One call that runs several targets is a check when all of them are; `args` are the words for the tool inside."""
    found: list[Check] = []
    for check in checks:
        if check is None:
            return None
        found.append(check)
    if not found or _forbidden(args) or "-u" in args:
        return None
    steered = any(check.steered for check in found) or has(args, _STEERED) or by_order(args)
    return Check(
        kind=min((check.kind for check in found), key=_ORDER.index),
        ahead=all(check.ahead for check in found) and not steered and not has(args, _WRITES),
        steered=steered,
        filtered=any(check.filtered for check in found) or has(args, _FILTERED) or any(_ID.search(word) for word in args),
    )


def _not_ahead(check: Check | None) -> Check | None:
    return check and Check(kind=check.kind, ahead=False, steered=check.steered, filtered=check.filtered)


def _first(args: Sequence[str], values: Collection[str]) -> int:
    """Return where the first word stands that is neither an option nor the value of one in `values`; -1 when there is none."""
    skip = False
    for at, word in enumerate(args):
        if skip:
            skip = False
        elif word == "--":
            return at + 1 if at + 1 < len(args) else -1
        elif word.startswith("-"):
            skip = word in values
        else:
            return at
    return -1


def inner(name: str, args: Sequence[str], *, scripts: bool = False) -> Check | None:
    """Read a command by its name, as a wrapper runs it; with `scripts` an unknown name is one the project gave."""
    folder, _, base = name.rpartition("/")
    if folder and not folder.endswith("bin"):
        return None
    if base in TOOLS:
        return read(TOOLS[base], args)
    if base in PYTHONS:
        name, rest = module(args)
        return read(MODULES[name], rest) if name in MODULES else None
    if base in NODES:
        return _node(args)
    return joined([target(name)], args) if scripts and not folder else None


def module(args: Sequence[str]) -> tuple[str, list[str]]:
    """Split `[options] -m MODULE rest` after python's own options; ("", []) when it runs no module.

    A tool whose file is run (`.venv/bin/pytest rest`) is the module of its name, and so is the project's `manage.py`.
    """
    path, rest = _program(args)
    if path.startswith("-m"):
        return path[2:], rest
    folder, _, name = path.rpartition("/")
    if name in FILES:
        return name, rest
    return (name, rest) if folder.endswith("bin") and name in MODULES and name in TOOLS else ("", [])


def file(args: Sequence[str]) -> str:
    """Return the path by which python runs the file of a tool, "" when it does not."""
    path, _ = _program(args)
    return "" if path.startswith("-m") or path.rpartition("/")[2] in FILES or not module(args)[0] else path


def _program(args: Sequence[str]) -> tuple[str, list[str]]:
    """Return what python runs after its own options, a module as `-mMODULE` or a file's path, and the words for it."""
    skip = False
    for at, word in enumerate(args):
        if skip:
            skip = False
        elif word == "-m":
            return ("-m" + args[at + 1], list(args[at + 2 :])) if at + 1 < len(args) else ("", [])
        elif word.startswith("-m"):
            return word, list(args[at + 1 :])
        elif word in ("-X", "-W"):
            skip = True
        elif not word.startswith("-"):
            return word, list(args[at + 1 :])
        elif not re.fullmatch(r"-[BbEIOPqRSsuv]+|-[XW].+", word):
            break
    return "", []


_NODE_TEST = _tool(
    "test",
    clusters=False,
    never="--test-update-snapshots -e --eval -p --print -c --check -i --interactive --run --cpu-prof --heap-prof --prof --inspect"
    " --inspect-brk --inspect-wait --build-snapshot",
    writes="--test-reporter-destination",
    filtered="--test-name-pattern --test-skip-pattern --test-only --test-shard",
)
_NODE_VALUES = _set(
    """-r --require --import --loader --experimental-loader -C --conditions --env-file --env-file-if-exists --test-name-pattern
    --test-skip-pattern --test-reporter --test-reporter-destination --test-concurrency --test-shard --test-timeout --test-isolation
    --test-coverage-include --test-coverage-exclude --test-global-setup"""
)
"""Options of node whose value is the next word.

Source: https://nodejs.org/api/cli.html and https://nodejs.org/api/test.html
"""


def node_runs(args: Sequence[str]) -> tuple[str, list[str]]:
    """Return what node runs of what may check, and the words for it: `--test` of its own, or the name of a tool whose file it is given.

    ("", []) for everything else.
    """
    skip = False
    for at, word in enumerate(args):
        if skip:
            skip = False
        elif word == "--test":
            return word, list(args)
        elif word.startswith("-"):
            if _forbidden([word]) or has([word], _NODE_TEST.never):
                break
            skip = word in _NODE_VALUES
        else:
            folder, _, tool = word.rpartition("/")
            return (tool, list(args[at + 1 :])) if folder.endswith("node_modules/.bin") and tool in TOOLS else ("", [])
    return "", []


def _node(args: Sequence[str]) -> Check | None:
    name, rest = node_runs(args)
    return _read_tool(_NODE_TEST, rest) if name == "--test" else inner(name, rest) if name else None


def _many(values: str = "") -> Reader:
    """`make [options] [NAME=value] target...`"""
    taking = _set(values)

    def reader(args: Sequence[str]) -> Check | None:
        end = args.index("--") if "--" in args else len(args)
        names, extra, skip = [], list(args[end + 1 :]), False
        for word in args[:end]:
            if skip or word.startswith("-"):
                skip = not skip and word in taking
            elif "=" in word:
                extra += word.split("=", 1)[1].split()
            else:
                names.append(word)
        return None if _forbidden(args[:end]) else joined([target(name) for name in names], extra)

    return reader


def _one(values: str = "") -> Reader:
    """`just [options] recipe [arguments]`"""
    taking = _set(values)

    def reader(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        return None if at < 0 else joined([target(args[at])], args[at + 1 :])

    return reader


def _mise(args: Sequence[str]) -> Check | None:
    taking = _set("-C --cd -j --jobs -E --env -t --tool -o --output --timeout")
    at = _first(args, taking)
    if at < 0:
        return None
    if args[at] in ("exec", "x"):
        return inner(args[args.index("--") + 1], args[args.index("--") + 2 :]) if "--" in args[:-1] else None
    rest = args[at + 1 :] if args[at] in ("run", "r") else args[at:]
    found: list[Check | None] = []
    while rest:  # several tasks stand side by side with `:::` between
        end = list(rest).index(":::") if ":::" in rest else len(rest)
        task = rest[:end]
        name = _first(task, taking)
        found.append(None if name < 0 else joined([target(task[name])], task[name + 1 :]))
        rest = rest[end + 1 :]
    return joined(found)


def _runs(values: str, *, verbs: str = "run", scripts: bool = False, also: Mapping[str, Tool] | None = None) -> Reader:
    """`uv run [options] command...`; `also` are subcommands of its own that check (`hatch test`)."""
    taking, words = _set(values), _set(verbs)

    def reader(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        if at < 0 or args[at] not in words:
            return _read_tool(also[args[at]], args[at + 1 :]) if also and at >= 0 and args[at] in also else None
        rest = args[at + 1 :]
        at = _first(rest, taking | {"-m", "--module"})
        for flag in ("-m", "--module"):
            if flag in (rest[:at] if at >= 0 else rest):
                return inner("python", ["-m", *rest[rest.index(flag) + 1 :]])
        if at < 0:
            return None
        tool = rest[at].rpartition(":")[2]  # hatch: environment:command
        return inner(tool if scripts and tool in TOOLS else rest[at], rest[at + 1 :], scripts=scripts)

    return reader


def _npx(args: Sequence[str]) -> Check | None:
    at = _first(args, _set("-w --workspace --cache"))
    if at < 0 or has(args[:at], ("-p", "--package", "-c", "--call")):
        return None
    check = inner(args[at], args[at + 1 :])
    return _not_ahead(check) if has(args[:at], ("-y", "--yes")) else check


def _scripts(*, bare: bool, executes: tuple[str, ...] = ("exec", "x"), test: Tool | None = None) -> Reader:
    """`npm run NAME`, `npm test`, and with `bare` also `pnpm NAME`, which is a script or a tool."""
    taking = _set("--prefix -C --dir --cwd -w --workspace -F --filter --workspace-concurrency")

    def reader(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        if bare and at >= 0 and list(args[at : at + 2]) == ["workspaces", "foreach"]:
            args = args[at + 2 :]
            at = _first(args, _set("--include --exclude --from --since -j --jobs"))
        while bare and at >= 0 and args[at] == "workspace":
            args = args[at + 2 :]
            at = _first(args, taking)
        if at < 0:
            return None
        word, rest = args[at], args[at + 1 :]
        if word in executes:
            return _npx(rest)
        if word == "dlx":
            return _not_ahead(_npx(rest))  # it installs what it runs, outside the project
        if word in ("run", "run-script"):
            at = _first(rest, taking)
            if at < 0:
                return None
            word, rest = rest[at], rest[at + 1 :]
        elif word in ("test", "t", "tst"):
            if test is not None:
                return _read_tool(test, rest)
            word = "test"
        elif not bare:
            return None
        end = rest.index("--") if "--" in rest else len(rest)
        own = [each for n, each in enumerate(rest[:end]) if each not in taking and (n == 0 or rest[n - 1] not in taking)]
        words = [*own, *rest[end + 1 :]]
        return inner(word, words, scripts=True) if bare else joined([target(word)], words)

    return reader


def _cargo(args: Sequence[str]) -> Check | None:
    args = [word for word in args if not word.startswith("+")]
    found = read(_CARGO, args)
    if found is None or found.kind != "test":
        return found
    values = _set(
        """-p --package --test --bin --example --bench -F --features -j --jobs --target --target-dir --manifest-path --profile --exclude
        --message-format --color -Z --config -E --filter-expr --partition --test-threads --skip --cargo-profile"""
    )
    rest = [word for word in args if word not in ("test", "t", "nextest", "run", "r", "--")]
    return Check(kind="test", ahead=False, filtered=_first(rest, values) >= 0 or has(rest, ("--exact", "--skip", "-E", "--filter-expr")))


def _gradle(args: Sequence[str]) -> Check | None:
    if has(args, ("--refresh-dependencies", "--refresh-keys", "--write-locks", "--update-locks", "-M", "--write-verification-metadata")):
        return None  # it does what a package manager does, and checks besides
    goals = re.compile(r"clean|test\w*|check|build|assemble\w*|compile\w*|lint\w*|\w*Test|\w*Check|detekt\w*|classes|testClasses")
    values = _set("--tests -x --exclude-task -p --project-dir -b --build-file -c --settings-file -I --init-script --max-workers -g")
    return _goals(args, goals, values, ("--tests",))


def _maven(args: Sequence[str]) -> Check | None:
    if has(args, ("-U", "--update-snapshots")):
        return None
    goals = re.compile(r"clean|validate|compile|test-compile|test|package|verify|[\w.-]+:check")
    values = _set("-pl --projects -f --file -P --activate-profiles -s --settings -T --threads -rf --resume-from")
    return _goals(args, goals, values, ("-Dtest", "-Dit.test"))


def _goals(args: Sequence[str], goals: re.Pattern[str], values: Collection[str], filtering: Collection[str]) -> Check | None:
    """JVM builds: all goals must check; each writes its build directory and may leave a daemon, so none runs ahead."""
    names, skip = [], False
    for word in args:
        if skip or word.startswith("-"):
            skip = not skip and word in values
        elif goals.fullmatch(word if goals.fullmatch(word) else word.rpartition(":")[2]) and not _BAD_GOAL.search(word):
            names.append(word)
        else:
            return None
    if _forbidden(args) or not set(names) - {"clean"}:
        return None
    text = " ".join(names).lower()
    kind: CheckKind = "test" if re.search(r"test|verify|check", text) else "lint" if re.search(r"lint|detekt", text) else "build"
    return Check(kind=kind, ahead=False, filtered=has(args, filtering))


_BAD_GOAL = re.compile(r"connected|publish|[aA]pply|[fF]ix|[uU]pdate|[rR]ecord|install|deploy")


def _nx(args: Sequence[str]) -> Check | None:
    """`nx test web`, `nx run web:test`, `nx run-many -t test,lint`, `nx affected -t test`. It keeps a cache and leaves a process."""
    taking = _set("-t --target --targets -p --projects --exclude --base --head --parallel -c --configuration --files --runner")
    at = _first(args, taking)
    if at < 0:
        return None
    word, rest = args[at], [*args[:at], *args[at + 1 :]]
    if word == "run":
        at = _first(rest, taking)
        names = rest[at].split(":")[1:2] if at >= 0 else []
    elif word in ("run-many", "affected"):
        names = _values(rest, ("-t", "--target", "--targets"))
    else:
        names = [word.removeprefix("affected:")]
    return _not_ahead(joined([target(name) for name in names], [word for word in rest if word not in ("-t", "-p")]))


def _moon(args: Sequence[str]) -> Check | None:
    return _not_ahead(joined([target(word.rpartition(":")[2]) for word in args if not word.startswith("-")], args))


def _lerna(args: Sequence[str]) -> Check | None:
    taking = _set("--scope --ignore --concurrency --since --loglevel")
    at = _first(args, taking)
    if at < 0 or args[at] != "run":
        return None
    rest = args[at + 1 :]
    at = _first(rest, taking)
    return _not_ahead(joined([target(rest[at])], rest)) if at >= 0 else None


def _values(args: Sequence[str], options: Collection[str]) -> list[str]:
    """Return what stands after the first of `options`, however many and separated however."""
    for at, word in enumerate(args):
        head, has_value, value = word.partition("=")
        if head in options:
            until = next((n for n, each in enumerate(args[at + 1 :]) if each.startswith("-")), len(args) - at - 1)
            return [name for each in ([value] if has_value else args[at + 1 : at + 1 + until]) for name in re.split("[, ]", each) if name]
    return []


def _cmake(args: Sequence[str]) -> Check | None:
    """`cmake --build DIR [--target NAME...]`; every other call configures, installs or is a tool box."""
    if not args or args[0] != "--build" or len(args) < 2 or _forbidden(args) or has(args, ("--clean-first",)):
        return None
    own = args[: args.index("--")] if "--" in args else args
    return _built(_values(own[2:], ("-t", "--target")))


def _ninja(args: Sequence[str]) -> Check | None:
    if has(args, ("-t", "-n", "-h", "--version")) or _forbidden(args):
        return None
    names, skip = [], False
    for word in args:
        if skip or word.startswith("-"):
            skip = not skip and word in ("-C", "-f", "-j", "-k", "-l", "-d", "-w")
        else:
            names.append(word)
    return _built(names)


def _zig_build(args: Sequence[str]) -> Check | None:
    return None if _forbidden(args) else _built([word for word in args if not word.startswith("-")])


def _built(names: Sequence[str]) -> Check | None:
    """What a build directory is asked for: its default, or targets that all check or build. It is locked and written, so never ahead."""
    return _not_ahead(joined([Check(kind="build") if name == "all" else target(name) for name in names or ("all",)]))


def _coverage(args: Sequence[str]) -> Check | None:
    at = next((n for n, word in enumerate(args) if word == "-m"), -1)
    return _not_ahead(inner("python", args[at:])) if args and args[0] == "run" and at > 0 else None


def _environments(args: Sequence[str]) -> Check | None:
    """tox and nox: the names after -e or -s must not say that they write; they make environments, so they never run ahead."""
    names: list[str] = []
    for at, word in enumerate(args):
        head, _, value = word.partition("=")
        if head in ("-e", "-s", "--env", "--session", "--sessions", "-k", "-m", "-f"):
            names += (value or (args[at + 1] if at + 1 < len(args) else "")).split(",")
    if any(_BAD_TARGET.search(name.lower()) or (_FORMATS.search(name) and "check" not in name) for name in names):
        return None
    if _forbidden(args) or has(args, ("-l", "--list", "--notest", "--devenv", "--install-only", "list", "config", "devenv")):
        return None
    return Check(kind="test", ahead=False, filtered="-k" in args)


# --- the tools --------------------------------------------------------------------------------------------------------------

_PYTEST = _tool(
    "test",
    never="--looponfail --trace --inline-snapshot --force-regen --pastebin --collect-only --co --fixtures --markers --setup-plan",
    steered="""--lf --last-failed --ff --failed-first --sw --stepwise --sw-skip --stepwise-skip --nf --new-first --testmon --picked
    --cache-show --cache-clear""",
    filtered="-k -m --deselect --last-failed --lf --testmon --picked",
)
_GO_TEST = _tool(
    "test",
    clusters=False,
    never="-bench -fuzz -update -u -update-golden -golden -regenerate -list -n",
    writes="-c -o -coverprofile -cpuprofile -memprofile -blockprofile -mutexprofile -trace -outputdir -exec -toolexec -work",
    filtered="-run -skip",
)
_GOFMT = _tool("lint", clusters=False, needs="-l -d", never="-w")
_TSC = _tool("types", clusters=False, never="-w -watch -clean -showConfig -listFilesOnly -init", ahead_needs="--noEmit -noEmit")
_JEST = _tool(
    "test",
    never="-u --listTests --clearCache --showConfig",
    steered="-o --onlyChanged -f --onlyFailures --changedSince --changedFilesWithAncestor --lastCommit",
    filtered="-t --testNamePattern --onlyChanged -o --onlyFailures -f",
)
_VITEST_RUN = _tool("test", never="-u -w --browser --standalone", steered="--changed", filtered="-t --testNamePattern --changed")


def _vitest(tool: Tool) -> Reader:
    def reader(args: Sequence[str]) -> Check | None:
        check = _read_tool(tool, args)
        return Check(kind="test", ahead=False, steered=True, filtered=check.filtered) if check and by_order(args) else check

    return reader


_RUBOCOP = _tool("lint", never="-a -A -x --server --start-server --stop-server --lsp", writes="-o --out")
_MAKE = "-C -f -I -o -W -l --directory --file --makefile"
_UV_RUN = _runs("--with --extra --group --python -p --directory --project --env-file --package --only-group --index --with-editable")


def _uvx(args: Sequence[str]) -> Check | None:
    """It makes an environment outside the project for what it runs."""
    return _not_ahead(_runs("--from --with --python -p")(["run", *args]))


_TARGET_DIRECTORY = {"test": _tool("test", ahead=False), "build": _tool("build", ahead=False)}
"""Subcommands of tools that write their build directory and lock it."""

_CARGO: Mapping[str, Tool | Reader] = {  # all but fmt lock target/: one run ahead would hold up the user's own
    **dict.fromkeys(("test", "t"), _tool("test", ahead=False, never="--no-run")),
    **dict.fromkeys(("check", "c"), _tool("types", ahead=False)),
    "clippy": _tool("lint", ahead=False),
    **dict.fromkeys(("build", "b"), _tool("build", ahead=False)),
    "fmt": _tool("lint", needs="--check"),
    "nextest": lambda args: read(dict.fromkeys(("run", "r"), _tool("test", ahead=False)), args),
}

TOOLS: Mapping[str, Entry] = {
    # Python
    **dict.fromkeys(("pytest", "py.test"), _PYTEST),
    "ruff": {
        "check": _tool("lint", never="--add-noqa --add-ignore -w --show-settings --show-files", writes="-o"),
        "format": _tool("lint", needs="--check --diff"),
    },
    "mypy": _tool("types", writes="--xml-report --txt-report --linecount-report --any-exprs-report --cobertura-xml-report"),
    **dict.fromkeys(("pyright", "basedpyright"), _tool("types", never="-w --createstub")),
    "ty": {"check": _tool("types")},
    "flake8": _tool("lint", writes="--tee"),
    "pylint": _tool("lint", never="--generate-rcfile --generate-toml-config", writes="--output"),
    "black": _tool("lint", needs="--check --diff"),
    "isort": _tool("lint", needs="--check -c --check-only --diff"),
    "bandit": _tool("lint", writes="-o --output"),
    **dict.fromkeys(("pydocstyle", "pycodestyle", "pyflakes", "vulture", "yamllint"), _tool("lint")),
    "codespell": _tool("lint", never="-w -i"),
    "sqlfluff": {"lint": _tool("lint")},
    **dict.fromkeys(("tox", "nox"), _environments),
    "coverage": _coverage,
    # JavaScript, TypeScript
    "jest": _JEST,
    "vitest": {"run": _vitest(_VITEST_RUN), "*": _vitest(_VITEST_RUN._replace(needs=_set("--run")))},
    "mocha": _tool("test", never="-w", filtered="-g -f --fgrep --grep"),
    "ava": _tool("test", never="-w -u", filtered="-m --match"),
    "tape": _tool("test"),
    "jasmine": _tool("test", filtered="--filter --filter-path"),
    "uvu": _tool("test"),
    "eslint": _tool("lint", never="--env-info --print-config", writes="-o --cache --cache-location"),
    **dict.fromkeys(("tsc", "vue-tsc"), _TSC),
    "svelte-check": _tool("types"),
    "biome": dict.fromkeys(("check", "lint", "ci", "format"), _tool("lint")),
    "prettier": _tool("lint", needs="--check -c --list-different -l", never="-w"),
    "oxlint": _tool("lint"),
    "stylelint": _tool("lint", writes="-o"),
    **dict.fromkeys(("markdownlint", "markdownlint-cli2"), _tool("lint", never="-f", writes="-o")),
    "npm": _scripts(bare=False),
    **dict.fromkeys(("pnpm", "yarn"), _scripts(bare=True)),
    "bun": _scripts(bare=True, executes=("x",), test=_tool("test", never="-u", filtered="-t --test-name-pattern")),
    **dict.fromkeys(("npx", "bunx"), _npx),
    "nx": _nx,
    "lerna": _lerna,
    "turbo": lambda args: _not_ahead(_many("--filter -F --concurrency --cwd")([word for word in args if word != "run"])),
    "deno": {
        "test": _tool("test", never="-u", filtered="--filter", writes="--junit-path"),
        "lint": _tool("lint"),
        "check": _tool("types"),
        "fmt": _tool("lint", needs="--check"),
        "task": _one("-c --config --cwd"),
    },
    # Go
    "go": {
        "tool": lambda args: inner(args[0].rpartition("/")[2], args[1:]) if args and not args[0].startswith("-") else None,
        "test": _GO_TEST,
        "vet": _tool("lint", clusters=False, never="-fix"),
        "build": _tool("build", clusters=False, ahead=False, never="-n"),
    },
    # Takes a lock for the whole machine and fails when it is held, so a run ahead could make another one red.
    "golangci-lint": {"run": _tool("lint", ahead_needs="--allow-parallel-runners")},
    "staticcheck": _tool("lint", clusters=False, never="-explain"),
    **dict.fromkeys(("gofmt", "goimports", "gofumpt"), _GOFMT),
    "ginkgo": _tool("test", clusters=False, ahead=False, never="-watch", filtered="-focus -skip -label-filter"),
    "buf": {"lint": _tool("lint"), "format": _tool("lint", needs="-d --diff --exit-code", never="-w")},
    "terraform": {"validate": _tool("lint"), "fmt": _tool("lint", clusters=False, needs="-check")},
    "gotestsum": _tool("test", clusters=False, never="-watch", writes="-junitfile -jsonfile"),
    # Rust
    "cargo": _cargo,
    # JVM
    **dict.fromkeys(("gradle", "gradlew"), _gradle),
    **dict.fromkeys(("mvn", "mvnw"), _maven),
    "ktlint": _tool("lint", ahead=False, never="-F --format"),
    "detekt": _tool("lint", ahead=False, never="--create-baseline"),
    # Ruby
    "rspec": _tool(
        "test",
        never="--bisect",
        steered="--only-failures -n --next-failure",
        filtered="-e --example -E -t --tag --only-failures",
        writes="-o --out",
    ),
    **dict.fromkeys(("rubocop", "standardrb"), _RUBOCOP),
    "rails": lambda args: _not_ahead(read(dict.fromkeys(("test", "t", "test:all"), _tool("test", filtered="-n --name")), args)),
    "rake": lambda args: _not_ahead(_many("-f --rakefile -C")(args)),
    "bundle": _runs("--gemfile", verbs="exec"),
    # PHP
    "phpunit": _tool(
        "test",
        never="--migrate-configuration --generate-configuration -d",
        filtered="--filter --group",
        writes="--log-junit --coverage-html --coverage-clover",
    ),
    "pest": _tool("test", never="--mutate --profile", filtered="--filter --group", steered="--dirty --retry"),
    "phpstan": dict.fromkeys(("analyse", "analyze"), _tool("lint", never="-b --pro")),
    "psalm": _tool("lint", never="--alter --refactor --clear-cache --ls"),
    "pint": _tool("lint", needs="--test", never="--repair"),
    "php-cs-fixer": {"fix": _tool("lint", needs="--dry-run"), "check": _tool("lint")},
    "phpcs": _tool("lint"),
    "composer": _scripts(bare=True, executes=("exec",)),
    # .NET
    "dotnet": {
        "test": _tool("test", ahead=False, filtered="--filter"),
        "build": _tool("build", ahead=False),
        "format": _tool("lint", ahead=False, needs="--verify-no-changes"),
    },
    # others
    **dict.fromkeys(("swift", "bazel", "bazelisk"), _TARGET_DIRECTORY),
    "swiftformat": _tool("lint", needs="--lint"),
    "swiftlint": {"lint": _tool("lint"), "*": _tool("lint", never="rules version docs generate-docs baseline reporters analyze")},
    "mix": {
        "test": _tool("test", ahead=False, filtered="--only --exclude", steered="--failed --stale"),
        "credo": _tool("lint", ahead=False),
        "dialyzer": _tool("types", ahead=False),
        "format": _tool("lint", ahead=False, needs="--check-formatted"),
        "compile": _tool("build", ahead=False),
    },
    "ctest": _tool(
        "test", ahead=False, never="-N --show-only -S -D -M", steered="--rerun-failed", filtered="-R -E -I -L -LE --rerun-failed"
    ),
    "meson": {
        "test": _tool("test", ahead=False, never="--gdb --list -i", filtered="--suite --no-suite"),
        "compile": _tool("build", ahead=False, never="--clean"),
    },
    "ninja": _ninja,
    "cmake": _cmake,
    "dart": {
        "test": _tool("test", filtered="-n --name -N --plain-name -t --tags"),
        "analyze": _tool("types"),
        "format": _tool("lint", needs="--output=none --set-exit-if-changed"),
    },
    "flutter": {
        "test": _tool("test", ahead=False, never="--update-goldens", filtered="--name --plain-name -t --tags"),
        "analyze": _tool("types", ahead=False),
    },
    "zig": {
        "test": _tool("test", ahead=False, filtered="--test-filter"),
        "build": _zig_build,
    },
    **dict.fromkeys(("sbt", "stack", "cabal", "dune"), _TARGET_DIRECTORY | {"runtest": _tool("test", ahead=False)}),
    "prove": _tool("test", never="-D --state"),
    **dict.fromkeys(("luacheck", "cppcheck", "ansible-lint", "tflint", "cspell", "knip"), _tool("lint", never="--cache-location")),
    "typos": _tool("lint", never="-w --write-changes"),
    "shfmt": _tool("lint", needs="-d --diff -l --list", never="-w"),
    "bats": _tool("test", filtered="-f --filter"),
    **dict.fromkeys(("shellcheck", "hadolint", "actionlint"), _tool("lint")),
    # wrappers
    **dict.fromkeys(("make", "gmake"), _many(_MAKE)),
    **dict.fromkeys(("mage", "gulp", "grunt"), _many("-d -t -w --gulpfile --gruntfile --cwd")),
    "moon": {"run": _moon},
    "task": _many("-d --dir -t --taskfile -C --concurrency -o --output"),
    "just": _one("-f --justfile -d --working-directory --shell --dotenv-path"),
    "poe": _one("-C --directory -e --executor"),
    "mise": _mise,
    "uv": lambda args: _uvx(args[2:]) if list(args[:2]) == ["tool", "run"] else _UV_RUN(args),
    "uvx": _uvx,
    "poetry": _runs("-C --directory -P --project"),
    "pdm": _runs("-p --project", scripts=True),
    "hatch": _runs("-e --env", scripts=True, also={"test": _tool("test", ahead=False), "fmt": _tool("lint", ahead=False, needs="--check")}),
    "rye": _runs("--pyproject", scripts=True, also={"test": _tool("test"), "lint": _tool("lint"), "fmt": _tool("lint", needs="--check")}),
    "pipenv": _runs("--python", scripts=True),
}

PYTHONS = frozenset({"python", "python3"})
"""Not intercepted by name; only their `-m MODULE` calls are looked at."""
MODULES: Mapping[str, Entry] = {
    **{
        name: TOOLS[name]
        for name in _set(
            """pytest ruff mypy pyright basedpyright flake8 pylint black isort bandit pydocstyle pycodestyle pyflakes vulture yamllint
            sqlfluff tox nox coverage"""
        )
    },
    "unittest": _tool("test", filtered="-k"),
    "doctest": _tool("test"),
    "manage.py": {"test": _tool("test", never="--pdb", filtered="-k --tag --exclude-tag")},
}
"""What `python -m MODULE` is looked at for; every other call of python goes by untouched."""
FILES = frozenset({"manage.py"})
"""Those that are no modules: a project has a file of this name, which is one of its sources."""
NODES = frozenset({"node"})
"""As `PYTHONS`: only their calls that run tests, or the file of a tool."""
NAMES: frozenset[str] = frozenset(TOOLS)
"""The names intercepted unless stretto.toml says otherwise."""
