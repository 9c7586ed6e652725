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
_STEERED = frozenset(
    "--lf --last-failed --ff --failed-first --sw --stepwise --nf --new-first --onlyChanged --only-changed --onlyFailures".split()
)
_STEERED |= frozenset(
    "--changedSince --lastCommit --changed --cached --only-failures --next-failure --stale --failed --cache-result".split()
)
_FILTERED = frozenset(
    "-k -m -t -run --run -grep --grep --filter --tests --testNamePattern --test-name-pattern --name --match --deselect --example".split()
)
_WRITES = frozenset(
    "--cov --cov-report --junitxml --junit-xml --html --html-report --report-log --basetemp --coverage --outputFile --output-file".split()
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
        word.startswith(_NEVER) and not word.startswith(_HARMLESS) and not word.lower().endswith(("=false", "=none", "=no", "=0"))
        for word in args
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
    (
        "lint",
        re.compile(r"(^| )(lint|check|vet( |$)|eslint|oxlint|biome|ruff|clippy|rubocop|phpstan|psalm|staticcheck|shellcheck|validate)"),
    ),
    ("build", re.compile(r"(^| )(build|compile)")),
)
_BAD_TARGET = re.compile(
    r"fix|write|update|watch|e2e|end.?to.?end|serve|start|deploy|publish|release|snap|migrat|seed|docker|compose|open|headed|debug|install|clean"
    r"|playwright|cypress|regen|generat|bench|bless|accept|record|approve|reset|browser|mutat|connected"
    r"|(^|[^a-z])(dev|db|gen|push|up|down|ui|live|init|setup|prepare|run|ship|upload|apply|all)([^a-z]|$)"
)
_FORMATS = re.compile(r"format|fmt|prettier|style|tidy")
_ORDER: tuple[CheckKind, ...] = ("test", "lint", "types", "build")


def _target(name: str) -> Check | None:
    """Read the name of a script, task or target, which is all that the argv tells; one that formats or builds never runs ahead."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = re.sub(r"[^A-Za-z0-9]+", " ", plain).strip().lower().replace("type check", "typecheck")
    kind = next((kind for kind, words in _KINDS if words.search(plain)), None)
    if kind is None or _BAD_TARGET.search(plain):
        return None
    return Check(kind=kind, ahead=kind != "build" and not re.search(r"build|compile", plain) and not _FORMATS.search(plain))


def _joined(checks: Iterable[Check | None], args: Sequence[str] = ()) -> Check | None:
    """One call that runs several targets is a check when all of them are; `args` are the words for the tool inside."""
    found: list[Check] = []
    for check in checks:
        if check is None:
            return None
        found.append(check)
    if not found or _forbidden(args) or "-u" in args:
        return None
    steered = any(check.steered for check in found) or _has(args, _STEERED, clusters=False)
    return Check(
        kind=min((check.kind for check in found), key=_ORDER.index),
        ahead=all(check.ahead for check in found) and not steered and not _has(args, _WRITES, clusters=False),
        steered=steered,
        filtered=any(check.filtered for check in found) or _has(args, _FILTERED, clusters=False) or any(_ID.search(word) for word in args),
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


def _inner(name: str, args: Sequence[str], *, scripts: bool = False) -> Check | None:
    """Read the command a wrapper runs; with `scripts` an unknown name is one the project gave."""
    folder, _, base = name.rpartition("/")
    if folder and not folder.endswith("bin"):
        return None
    if base in TOOLS:
        return _read(TOOLS[base], args)
    if base in PYTHONS:
        module, rest = _module(args)
        return _read(MODULES[module], rest) if module in MODULES else None
    return _joined([_target(name)], args) if scripts and not folder else None


def _many(values: str = "") -> Reader:
    """`make [options] [NAME=value] target...`"""
    taking = frozenset(values.split())

    def read(args: Sequence[str]) -> Check | None:
        end = args.index("--") if "--" in args else len(args)
        names, extra, skip = [], list(args[end + 1 :]), False
        for word in args[:end]:
            if skip or word.startswith("-"):
                skip = not skip and word in taking
            elif "=" in word:
                extra += word.split("=", 1)[1].split()
            else:
                names.append(word)
        return _joined([_target(name) for name in names], extra)

    return read


def _one(values: str = "") -> Reader:
    """`just [options] recipe [arguments]`"""
    taking = frozenset(values.split())

    def read(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        return None if at < 0 else _joined([_target(args[at])], args[at + 1 :])

    return read


def _mise(args: Sequence[str]) -> Check | None:
    taking = frozenset("-C --cd -j --jobs -E --env -t --tool -o --output --timeout".split())
    at = _first(args, taking)
    if at < 0:
        return None
    if args[at] in ("exec", "x"):
        return _inner(args[args.index("--") + 1], args[args.index("--") + 2 :]) if "--" in args[:-1] else None
    rest = args[at + 1 :] if args[at] in ("run", "r") else args[at:]
    found: list[Check | None] = []
    while rest:  # several tasks stand side by side with `:::` between
        end = list(rest).index(":::") if ":::" in rest else len(rest)
        task = rest[:end]
        name = _first(task, taking)
        found.append(None if name < 0 else _joined([_target(task[name])], task[name + 1 :]))
        rest = rest[end + 1 :]
    return _joined(found)


def _runs(values: str = "", *, verbs: str = "run", scripts: bool = False, also: Mapping[str, Tool] | None = None) -> Reader:
    """`uv run [options] command...`; `also` are subcommands of its own that check (`hatch test`)."""
    taking, words = frozenset(values.split()), frozenset(verbs.split())

    def read(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        if at < 0 or args[at] not in words:
            return _read_tool(also[args[at]], args[at + 1 :]) if also and at >= 0 and args[at] in also else None
        rest = args[at + 1 :]
        at = _first(rest, taking | {"-m", "--module"})
        before = rest[: at if at >= 0 else len(rest)]
        for flag in ("-m", "--module"):
            if flag in before:
                return _inner("python", ["-m", *rest[rest.index(flag) + 1 :]])
        return None if at < 0 else _inner(rest[at].rpartition(":")[2] if scripts else rest[at], rest[at + 1 :], scripts=scripts)

    return read


def _npx(args: Sequence[str]) -> Check | None:
    at = _first(args, frozenset({"-p", "--package", "-w", "--workspace", "--cache"}))
    if at < 0 or _has(args[:at], ("-p", "--package", "-c", "--call"), clusters=False):
        return None
    check = _inner(args[at], args[at + 1 :])
    return _not_ahead(check) if _has(args[:at], ("-y", "--yes"), clusters=False) else check


def _scripts(*, bare: bool, exec_verbs: str = "exec x", test: Tool | None = None) -> Reader:
    """`npm run NAME`, `npm test`, and with `bare` also `pnpm NAME`, which is a script or a tool."""
    taking = frozenset("--prefix -C --dir --cwd -w --workspace -F --filter --workspace-concurrency".split())
    executes = frozenset(exec_verbs.split())

    def read(args: Sequence[str]) -> Check | None:
        at = _first(args, taking)
        if at < 0:
            return None
        word, rest = args[at], args[at + 1 :]
        if word == "workspace" and bare:
            return read(rest[1:])
        if word in executes:
            return _npx(rest)
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
        cut = [w for n, w in enumerate(rest) if w not in taking and (n == 0 or rest[n - 1] not in taking)]
        return _inner(word, cut, scripts=True) if bare else _joined([_target(word)], cut)

    return read


def _cargo(args: Sequence[str]) -> Check | None:
    args = [word for word in args if not word.startswith("+")]
    values = frozenset(
        "-p --package --test --bin --example --bench -F --features -j --jobs --target --target-dir --manifest-path --profile".split()
    )
    values |= frozenset(
        "--exclude --message-format --color -Z --config -E --filter-expr --partition --test-threads --skip --cargo-profile".split()
    )
    found = _read(_CARGO, args)
    if found is None or found.kind != "test":
        return found
    rest = [word for word in args if word not in ("test", "t", "nextest", "run", "r", "--")]
    named = _first(rest, values) >= 0 or _has(args, ("--exact", "--skip", "-E", "--filter-expr"))
    return Check(kind="test", ahead=False, filtered=named)


_CARGO_NEXTEST: Mapping[str, Tool | Reader] = {"run": _tool("test", ahead=False), "r": _tool("test", ahead=False)}
_CARGO: Mapping[str, Tool | Reader] = {  # everything takes the lock of target/: a run ahead would hold up the user's own
    **dict.fromkeys(("test", "t"), _tool("test", ahead=False, never="--no-run")),
    **dict.fromkeys(("check", "c"), _tool("types", ahead=False)),
    "clippy": _tool("lint", ahead=False),
    **dict.fromkeys(("build", "b"), _tool("build", ahead=False)),
    "fmt": _tool("lint", needs="--check"),
    "nextest": lambda args: _read(_CARGO_NEXTEST, args),
}


def _gradle(args: Sequence[str]) -> Check | None:
    goals = re.compile(r"(clean|test\w*|check|build|assemble\w*|compile\w*|lint\w*|\w*Test|\w*Check|detekt\w*|verify|classes|testClasses)")
    values = frozenset(
        "--tests -x --exclude-task -p --project-dir -b --build-file -c --settings-file -I --init-script --max-workers -g".split()
    )
    return _goals(args, goals, values, ("--tests",))


def _maven(args: Sequence[str]) -> Check | None:
    goals = re.compile(r"(clean|validate|compile|test-compile|test|package|verify|check|[\w.-]+:check)")
    values = frozenset("-pl --projects -f --file -P --activate-profiles -s --settings -T --threads -rf --resume-from".split())
    return _goals(args, goals, values, ("-Dtest", "-Dit.test"))


def _goals(args: Sequence[str], goals: re.Pattern[str], values: Collection[str], filtering: Collection[str]) -> Check | None:
    """JVM builds: all goals must check; each writes its build directory and may leave a daemon, so none runs ahead."""
    names, skip = [], False
    for word in args:
        if skip or word.startswith("-"):
            skip = not skip and word in values
        else:
            names.append(word.rpartition(":")[2] if word.startswith(":") else word)
    bad = re.compile(r"connected|publish|[aA]pply|[fF]ix|[uU]pdate|[rR]ecord|install")
    if _forbidden(args) or not all(goals.fullmatch(name) and not bad.search(name) for name in names) or not set(names) - {"clean"}:
        return None
    text = " ".join(names).lower()
    kind: CheckKind = "test" if re.search(r"test|verify|check", text) else "lint" if re.search("lint|detekt", text) else "build"
    return Check(kind=kind, ahead=False, filtered=_has(args, filtering, clusters=False))


def _coverage(args: Sequence[str]) -> Check | None:
    at = next((n for n, word in enumerate(args) if word == "-m"), -1)
    if not args or args[0] != "run" or at < 0:
        return None
    return _not_ahead(_inner("python", args[at:]))


def _environments(args: Sequence[str]) -> Check | None:
    """tox and nox: the names after -e or -s must not say that they write; they make environments, so they never run ahead."""
    names: list[str] = []
    for at, word in enumerate(args):
        head, _, value = word.partition("=")
        if head in ("-e", "-s", "--env", "--session", "--sessions", "-k", "-m", "-f"):
            names += (value or (args[at + 1] if at + 1 < len(args) else "")).split(",")
    if any(_BAD_TARGET.search(name.lower()) or (_FORMATS.search(name) and "check" not in name) for name in names):
        return None
    if _forbidden(args) or _has(
        args, ("-l", "--list", "--notest", "--devenv", "--install-only", "list", "config", "devenv"), clusters=False
    ):
        return None
    return Check(kind="test", ahead=False, filtered="-k" in args)


# --- the tools --------------------------------------------------------------------------------------------------------------

_PYTEST = _tool(
    "test",
    never="--looponfail --trace --inline-snapshot --force-regen --pastebin --collect-only --co --fixtures --markers --setup-plan --cache-clear",
    steered="--lf --last-failed --ff --failed-first --sw --stepwise --sw-skip --stepwise-skip --nf --new-first --testmon --picked --cache-show",
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
_TSC = _tool("types", never="-w --clean --showConfig --listFilesOnly", ahead_needs="--noEmit")
_JEST = _tool(
    "test",
    never="-u --ui --listTests --clearCache --showConfig",
    steered="-o --onlyChanged -f --onlyFailures --changedSince --changedFilesWithAncestor --lastCommit",
    filtered="-t --testNamePattern --onlyChanged -o --onlyFailures -f",
)
_VITEST = _tool("test", never="-u -w --browser --standalone", steered="--changed", filtered="-t --testNamePattern --changed")
_RUBOCOP = _tool("lint", never="-a -A -x --server --start-server --stop-server --lsp", writes="-o --out")
_DETEKT = _tool("lint", ahead=False, never="--create-baseline")
_PHPSTAN = _tool("lint", never="-b --pro")
_BUN_TEST = _tool("test", never="-u", filtered="-t --test-name-pattern")
_PYRIGHT = _tool("types", never="-w --createstub")
_SLOW_BUILD = {"test": _tool("test", ahead=False), "build": _tool("build", ahead=False)}

TOOLS: Mapping[str, Entry] = {
    # Python
    **dict.fromkeys(("pytest", "py.test"), _PYTEST),
    "ruff": {
        "check": _tool("lint", never="--add-noqa --add-ignore -w --show-settings --show-files", writes="-o"),
        "format": _tool("lint", needs="--check --diff"),
    },
    "mypy": _tool(
        "types", writes="--xml-report --txt-report --linecount-report --any-exprs-report --cobertura-xml-report --lineprecision-report"
    ),
    **dict.fromkeys(("pyright", "basedpyright"), _PYRIGHT),
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
    "vitest": {"run": _VITEST, "related": _VITEST._replace(needs=frozenset({"--run"})), "*": _VITEST._replace(needs=frozenset({"--run"}))},
    "mocha": _tool("test", never="-w", filtered="-g -f --fgrep --grep"),
    "ava": _tool("test", never="-w -u", filtered="-m --match"),
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
    "bun": _scripts(bare=True, exec_verbs="x", test=_BUN_TEST),
    **dict.fromkeys(("npx", "bunx"), _npx),
    "turbo": lambda args: _not_ahead(_many("--filter -F --concurrency --cwd")([word for word in args if word != "run"])),
    "deno": {
        "test": _tool("test", never="-u", filtered="--filter", writes="--junit-path"),
        "lint": _tool("lint"),
        "check": _tool("types"),
        "fmt": _tool("lint", needs="--check"),
        "task": _one("-c --config --cwd"),
    },
    # Go
    "go": {"test": _GO_TEST, "vet": _tool("lint", clusters=False), "build": _tool("build", clusters=False, ahead=False)},
    "golangci-lint": {"run": _tool("lint", ahead_needs="--allow-parallel-runners", writes="--out-format")},
    "staticcheck": _tool("lint", clusters=False, never="-explain -debug.cpuprofile"),
    **dict.fromkeys(("gofmt", "goimports", "gofumpt"), _GOFMT),
    "gotestsum": _tool("test", clusters=False, writes="-junitfile -jsonfile"),
    # Rust
    "cargo": _cargo,
    # JVM
    **dict.fromkeys(("gradle", "gradlew"), _gradle),
    **dict.fromkeys(("mvn", "mvnw"), _maven),
    "ktlint": _tool("lint", ahead=False, never="-F --format"),
    "detekt": _DETEKT,
    # Ruby
    "rspec": _tool(
        "test",
        never="--bisect",
        steered="--only-failures -n --next-failure",
        filtered="-e --example -E -t --tag --only-failures",
        writes="-o --out",
    ),
    **dict.fromkeys(("rubocop", "standardrb"), _RUBOCOP),
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
    "phpstan": dict.fromkeys(("analyse", "analyze"), _PHPSTAN),
    "psalm": _tool("lint", never="--alter --refactor --clear-cache --ls"),
    "pint": _tool("lint", needs="--test", never="--repair"),
    "php-cs-fixer": {"fix": _tool("lint", needs="--dry-run"), "check": _tool("lint")},
    "phpcs": _tool("lint"),
    "composer": _scripts(bare=True, exec_verbs="exec"),
    # .NET
    "dotnet": {
        "test": _tool("test", ahead=False, filtered="--filter"),
        "build": _tool("build", ahead=False),
        "format": _tool("lint", ahead=False, needs="--verify-no-changes"),
    },
    # others
    **dict.fromkeys(("swift", "bazel", "bazelisk"), _SLOW_BUILD),
    "swiftlint": {"lint": _tool("lint"), "": _tool("lint")},
    "mix": {
        "test": _tool("test", ahead=False, filtered="--only --exclude", steered="--failed --stale"),
        "credo": _tool("lint", ahead=False),
        "dialyzer": _tool("types", ahead=False),
        "format": _tool("lint", ahead=False, needs="--check-formatted"),
        "compile": _tool("build", ahead=False),
    },
    "ctest": _tool("test", ahead=False, filtered="-R -E -I"),
    "bats": _tool("test", filtered="-f --filter"),
    **dict.fromkeys(("shellcheck", "hadolint", "actionlint"), _tool("lint")),
    # wrappers
    "make": _many("-C -f -I -o -W -l --directory --file --makefile"),
    "gmake": _many("-C -f -I -o -W -l --directory --file --makefile"),
    "task": _many("-d --dir -t --taskfile -C --concurrency -o --output"),
    "just": _one("-f --justfile -d --working-directory --shell --dotenv-path"),
    "poe": _one("-C --directory -e --executor"),
    "mise": _mise,
    "uv": _runs(
        "--with --extra --group --python -p --directory --project --env-file --package --only-group --index --with-editable --no-extra -C"
    ),
    "uvx": lambda args: _not_ahead(_runs("--from --with --python -p")(["run", *args])),
    "poetry": _runs("-C --directory -P --project"),
    "pdm": _runs("-p --project", scripts=True),
    "hatch": _runs(
        "-e --env", scripts=True, also={"test": _tool("test", ahead=False), "fmt": _tool("lint", ahead=False, needs="--check -l --linter")}
    ),
    "rye": _runs("--pyproject", scripts=True, also={"test": _tool("test"), "lint": _tool("lint"), "fmt": _tool("lint", needs="--check")}),
    "pipenv": _runs("--python", scripts=True),
}

MODULES: Mapping[str, Entry] = {
    **{name: TOOLS[name] for name in ("pytest", "ruff", "mypy", "pyright", "basedpyright", "flake8", "pylint", "black", "isort", "bandit")},
    **{
        name: TOOLS[name] for name in ("pydocstyle", "pycodestyle", "pyflakes", "vulture", "yamllint", "sqlfluff", "tox", "nox", "coverage")
    },
    "unittest": _tool("test", filtered="-k"),
    "doctest": _tool("test"),
}
"""What `python -m MODULE` is looked at for; every other call of python goes by untouched."""
PYTHONS = frozenset({"python", "python3"})
NAMES: frozenset[str] = frozenset(TOOLS)
"""The names intercepted unless stretto.toml says otherwise; `PYTHONS` are not among them, they go by `MODULES`."""


def _words(argv: Argv) -> list[str]:
    return [word.decode(errors="backslashreplace") if isinstance(word, bytes) else word for word in argv]


def _module(args: Sequence[str]) -> tuple[str, list[str]]:
    """Split `[options] -m MODULE rest` after python's own options; ("", []) when it runs no module."""
    skip = False
    for at, word in enumerate(args):
        if skip:
            skip = False
        elif word == "-m":
            return (args[at + 1], list(args[at + 2 :])) if at + 1 < len(args) else ("", [])
        elif word.startswith("-m"):
            return word[2:], list(args[at + 1 :])
        elif word in ("-X", "-W"):
            skip = True
        elif not re.fullmatch(r"-[BbEIOPqRSsuv]+|-[XW].+", word):
            break
    return "", []


def python_module(argv: Argv) -> str:
    """Return the module a `python -m MODULE` runs, "" when it runs something else."""
    return _module(_words(argv)[1:])[0]


_UPDATING = re.compile(
    r"(?:UPDATE|REGEN|REGENERATE|BLESS|OVERWRITE|ACCEPT|RECORD)(?:_\w+)?|\w+_(?:BLESS|REGENERATE)|INSTA_(?:FORCE_)?UPDATE|VCR_RECORD\w*"
)


def check_of(name: str, argv: Argv, *, env: Iterable[bytes | str] = (), added: Collection[str] = ()) -> Check | None:
    """Say whether this call checks (tests, lints, checks types, builds), and how; None when it is to be left alone.

    Args:
        name: the intercepted name: `pytest`, `python`, `make`.
        env: `NAME=value` entries; one that tells test tools to rewrite their expectations (`UPDATE_SNAPSHOTS=1`) makes it no check.
        added: names the user's stretto.toml adds. Of an unknown tool only the options no check has are understood.
    """
    words = _words(argv)[1:]
    for entry in _words(list(env)):  # type: ignore[arg-type]
        variable, _, value = entry.partition("=")
        if _UPDATING.fullmatch(variable) and value.lower() not in ("", "0", "no", "none", "false", "off"):
            return None
    if name in added and name not in TOOLS:
        return _joined([_target(name) or Check(kind="test")], words)
    if "/" in name:
        return None
    return _inner(name, words)


# --- effects ----------------------------------------------------------------------------------------------------------------


class Part(Record):
    """One simple command of a text, and what it does."""

    name: str
    """Its first word, "" when there is none."""
    effect: Literal["reads", "checks", "package", "other", "setup"]
    """`setup` changes only the shell it stands in: right before a check, not to be trusted before a reader."""
    reason: str
    """Why it is neither a check nor a reader; "" when it is. Names no argument."""


def effect_of(text: str, names: Collection[str]) -> Effect:
    """Say what a whole Bash command may do to the tree.

    Args:
        names: what is intercepted in this session; a check by any other name is "other", for nobody records it.

    Returns:
        reads: it changes nothing. checks: it consists of intercepted checks and readers. package: a package manager may change the
        dependencies. other: everything else, and everything not understood.
    """
    effects = [part.effect for part in parts_of(text, names)]
    if "package" in effects:
        return "package"
    if "other" in effects or ("setup" in effects and "checks" not in effects):
        return "other"
    return "checks" if "checks" in effects else "reads"


def parts_of(text: str, names: Collection[str]) -> tuple[Part, ...]:
    """Return the simple commands of `text` with their effects; what could not be read is one last part, with the reason."""
    found, opaque = split(text)
    parts: list[Part] = []
    for simple in found:
        parts += _parts(simple, names)
    if opaque:
        parts.append(Part(name="", effect="package" if _PACKAGE.search(text) else "other", reason=f"not understood: {opaque}"))
    return tuple(parts)


_PACKAGE = re.compile(
    r"""(?x) (?:^|[\s;&|("'`/=]) (?:
      (?:pip[\d.]*|pipx|uv|poetry|pdm|rye|pipenv|hatch|pixi|conda|mamba|micromamba) \s+ (?:-\S+\s+)*
        (?:pip\s+\w+|tool\s+\w+|install|uninstall|add|remove|update|upgrade|lock|sync|venv|create|env|self|download|python)
    | (?:npm|pnpm|yarn|bun) \s+ (?:-\S+\s+)* (?:i|install|ci|add|update|up|upgrade|uninstall|remove|rm|un|link|unlink|dedupe|prune|rebuild|import|dlx|create|init|audit)
    | yarn \s* (?:$|[;&|\n]|--(?:frozen|immutable))
    | cargo \s+ (?:add|remove|rm|install|uninstall|update|fetch|vendor)  |  go \s+ (?:get|install|mod|work)
    | (?:bundle|bundler) (?:\s+(?:install|update|add|remove)|\s*(?:$|[;&|\n]))  |  composer \s+ (?:-\S+\s+)* (?:install|i|update|require|remove|upgrade)
    | (?:gem|brew|apt|apt-get|aptitude|dnf|yum|zypper|apk|port|snap|nix-env|nix) \s+ (?:-\S+\s+)*
        (?:install|uninstall|remove|purge|update|upgrade|full-upgrade|dist-upgrade|autoremove|add|del|profile|-i)
    | pacman \s+ -[SRU]  |  dotnet \s+ (?:add|restore|remove|tool|new)  |  (?:-m \s+ venv|virtualenv \s)  |  -m \s+ (?:pip|ensurepip) \s
    | (?:mise|asdf|rustup|nvm|fnm|volta|sdk|pyenv|rbenv|corepack) \s+ (?:install|i|use|up|upgrade|uninstall|plugin|default|update|toolchain|prepare|local|global)
    | pre-commit \s+ install | playwright \s+ install
    ) (?![\w:./-])"""
)
"""A run of a package manager that may change dependencies. Only asked of what is neither a reader nor a check, so it may be generous."""

_PREFIXES: Mapping[str, tuple[re.Pattern[str], frozenset[str]]] = {
    "timeout": (re.compile(r"-(k|s)\S*|--(kill-after|signal)=\S+|--foreground|--preserve-status|-v|--verbose"), frozenset({"-k", "-s"})),
    "gtimeout": (re.compile(r"-(k|s)\S*|--(kill-after|signal)=\S+|--foreground|--preserve-status"), frozenset({"-k", "-s"})),
    "env": (re.compile(r"-u|--unset=\S+"), frozenset({"-u"})),
    "nice": (re.compile(r"-n|-n?\d+|--adjustment=\d+"), frozenset({"-n"})),
    "stdbuf": (re.compile(r"-[ioe][L0]"), frozenset()),
    "command": (re.compile(r"(?!)"), frozenset()),
}
"""Commands that run the rest of their words: the options they may have, and which of these take a value."""
_RUNS_WORDS = re.compile(r"PATH|IFS|ENV|BASH\w*|ZDOTDIR|SHELLOPTS|BASHOPTS|PS4|LD_\w+|DYLD_\w+|STRETTO\w*")
"""Variables that decide which program a name is. `STRETTO=off` means that nothing is recorded."""
_STEERS_READERS = re.compile(
    r"GIT_\w+|\w*PAGER|LESS\w*|EDITOR|VISUAL|\w+_OPTIONS|\w+_OPTS?|RIPGREP_\w+|HOME|XDG_\w+|GREP_\w+|JQ_\w+|CDPATH|FPATH"
)
_HARMLESS_ENV = re.compile(r"(?:LC_\w+|LANG|TZ|NO_COLOR|FORCE_COLOR|CLICOLOR\w*|COLUMNS|CI)=.*|(?:GIT_)?PAGER=(?:cat)?", re.DOTALL)


def _parts(simple: Simple, names: Collection[str], depth: int = 0) -> list[Part]:
    words, assigns = list(simple.words), list(simple.assigns)
    prefixed = False
    while words and words[0].literal and words[0].text in _PREFIXES and len(words) > 1:
        rest = _without_prefix(words, assigns)
        if rest is None:
            break
        words, prefixed = rest, True
    name = words[0].text if words and words[0].literal else ""
    shown = name if re.fullmatch(r"[\w.+/:\[-]{0,40}", name) else ""

    def part(effect: Literal["reads", "checks", "package", "other", "setup"], reason: str = "") -> list[Part]:
        if effect == "other" and _PACKAGE.search(" ".join(word.text for word in simple.words)):
            return [Part(name=shown, effect="package", reason="a package manager's run")]
        return [Part(name=shown, effect=effect, reason=reason)]

    if simple.flaw:
        return part("other", simple.flaw)
    variables = [assign.split("=", 1)[0].rstrip("+") for assign in assigns]
    if any(_RUNS_WORDS.fullmatch(variable) for variable in variables):
        return part("other", "sets a variable that decides what a name runs")
    if not words:
        steers = any(_STEERS_READERS.fullmatch(variable) for variable in variables)
        harmless = all(_HARMLESS_ENV.fullmatch(assign) for assign in assigns)
        return (
            part("other", "sets a variable that steers other commands")
            if steers and not harmless
            else part("reads" if harmless else "setup")
        )
    if not name:
        return part("other", "the command's name is computed")
    args = words[1:]
    if name in _SHELLS and depth < 4 and (inner := _shell_text(args)) is not None and not assigns:
        found, opaque = split(inner)
        parts = [each for one in found for each in _parts(one, names, depth + 1)]
        return [*parts, *part("other", f"not understood: {opaque}")] if opaque else parts
    if name in _SETUP and not prefixed and not assigns:
        effect = _SETUP[name](args)
        return part(effect) if effect else part("other", "changes the shell in a way that is not understood")
    if name in _READERS:
        if not all(_HARMLESS_ENV.fullmatch(assign) for assign in assigns):
            return part("other", "a reader with variables that may steer it")
        return part("reads") if _READERS[name](args) else part("other", "a reader with an argument that is computed or may write")
    if len(args) == 1 and args[0].literal and (args[0].text in ("--version", "--help") or (name, args[0].text) == ("go", "version")):
        known = name in NAMES or name in _VERSIONED or name in PYTHONS
        return part("reads") if known and not assigns else part("other", "not a known command")
    module = python_module([name, *(word.text for word in args)]) if name in PYTHONS else ""
    if not (name in names or (module in MODULES and (module in names or module not in NAMES))):
        return part("other", "not a known command" if name not in NAMES and not module else "a check that is not intercepted")
    if not all(word.plain for word in args):
        return part("other", "a check whose arguments are computed")
    check = check_of(name, [word.text for word in words], env=assigns, added=names)
    return part("checks") if check else part("other", "a known tool, but not in a form that only checks")


def _without_prefix(words: list[Word], assigns: list[str]) -> list[Word] | None:
    """Return the words a prefix command runs, its assignments added to `assigns`; None when its form is not known."""
    name = words[0].text
    allowed, taking = _PREFIXES[name]
    at = 1
    while at < len(words) and words[at].text.startswith("-"):
        if not words[at].literal or not allowed.fullmatch(words[at].text):
            return None
        at += 2 if words[at].text in taking else 1
    if "timeout" in name:
        if at >= len(words) or not words[at].plain:
            return None
        at += 1
    if name == "env":
        while at < len(words) and re.match(r"[A-Za-z_]\w*=", words[at].text):
            assigns.append(words[at].text)
            at += 1
    return words[at:] if at < len(words) else None


_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})


def _shell_text(args: Sequence[Word]) -> str | None:
    """Return the text of `bash -c TEXT`, None for every other form; `-l` reads profiles, which may do anything."""
    *options, text = args or [Word("", "", True, True)]
    flags = [word.text for word in options]
    if not flags or not text.literal or "pipefail" in flags[-1:] or not all(word.literal for word in options):
        return None
    known = all(re.fullmatch(r"-[eux]*[co]?|-[eux]+c|pipefail", flag) for flag in flags)
    return text.text if known and flags[-1].endswith("c") and sum("c" in flag for flag in flags) == 1 else None


# What each reader may be given. A rule says True only when this call of it can write nothing and run nothing.


def _any(args: Sequence[Word]) -> bool:
    return True


def _plain(args: Sequence[Word]) -> bool:
    return all(word.plain for word in args)


def _only(options: str, *, most: int = 99) -> Callable[[Sequence[Word]], bool]:
    """Allow only these options (a pattern over the whole word), and at most `most` other words."""
    allowed = re.compile(options)

    def rule(args: Sequence[Word]) -> bool:
        dashed = [word for word in args if word.text.startswith("-") and word.text != "-"]
        return _plain(args) and all(allowed.fullmatch(word.text) for word in dashed) and len(args) - len(dashed) <= most

    return rule


def _sed(args: Sequence[Word]) -> bool:
    script = False
    texts = [word.text for word in args]
    for at, word in enumerate(args):
        if word.text.startswith("-"):
            if not re.fullmatch(r"-[nEru]+|-e", word.text):
                return False
        elif not script or texts[at - 1] == "-e":
            script = True
            if not word.literal or not _SED_SCRIPT.fullmatch(word.text):
                return False
    return script and _plain(args)


_SED_ADDRESS = r"(?:\d+|\$|/(?:[^/\\\n]|\\[^\n])*/)"
_SED_SCRIPT = re.compile(
    rf"(?:(?:{_SED_ADDRESS}(?:,\+?{_SED_ADDRESS})?)?!?[pdq=])(?:;(?:{_SED_ADDRESS}(?:,\+?{_SED_ADDRESS})?)?!?[pdq=])*"
    + "".join(rf"|s{d}(?:[^{d}\\\n]|\\[^\n])*{d}(?:[^{d}\\\n]|\\[^\n])*{d}[gpI0-9]*" for d in "/#,@")
    + r"|s\|(?:[^|\\\n]|\\[^\n])*\|(?:[^|\\\n]|\\[^\n])*\|[gpI0-9]*"
)
"""Printing, deleting and replacing in the stream; `w`, `e`, `r`, `i` and labels are not understood."""


def _awk(args: Sequence[Word]) -> bool:
    at = 0
    while at < len(args) and args[at].text.startswith("-"):
        if not args[at].plain or not re.fullmatch(r"-F.*|-v.*", args[at].text, re.DOTALL):
            return False
        at += 2 if args[at].text in ("-F", "-v") else 1
    if at >= len(args) or not args[at].literal or not _plain(args):
        return False
    return not re.search(r"[>|@]|system|getline|close|fflush|printf?\s*\(?\s*-", args[at].text)


def _test(args: Sequence[Word]) -> bool:
    """`[ -f x ]`; number comparisons only of numbers, because zsh evaluates the operands."""
    texts = [word.text for word in args if word.text != "]"]
    if any(re.fullmatch(r"-(eq|ne|lt|le|gt|ge)", text) for text in texts):
        return all(re.fullmatch(r"-(eq|ne|lt|le|gt|ge)|-?\d+|\$[?#]|!|-a|-o", text) for text in texts)
    return all(not text.startswith("-") or re.fullmatch(r"-[fdesrwxLhnzao]|-nt|-ot|-ef", text) for text in texts)


def _printf(args: Sequence[Word]) -> bool:
    return bool(args) and args[0].literal and not args[0].text.startswith("-") and not re.search(r"%[-0-9.]*[^-0-9.s%]", args[0].text)


_FIND = frozenset(
    "-name -iname -path -ipath -wholename -type -maxdepth -mindepth -not -o -a -or -and -newer -size -mtime -mmin -print -print0".split()
)
_FIND |= frozenset(
    "-prune -regex -iregex -empty -printf -ls -L -H -P -E -perm -user -group -links -regextype -xdev -executable -readable".split()
)


def _find(args: Sequence[Word]) -> bool:
    return all(word.plain and (not word.text.startswith("-") or word.text in _FIND) for word in args)


_LONG_GIT = (
    "oneline stat shortstat numstat dirstat summary name-only name-status cached staged graph all author committer since until after before grep "
    "format pretty decorate no-decorate color no-color word-diff color-words ignore-all-space ignore-space-change ignore-blank-lines no-ext-diff "
    "no-textconv no-patch patch merges no-merges first-parent reverse follow max-count skip abbrev abbrev-commit no-abbrev date diff-filter "
    "find-renames no-renames unified minimal raw porcelain short branch ignored untracked-files exit-code quiet check merge-base tags branches "
    "remotes full-history left-right cherry-pick boundary no-walk source topo-order date-order show-signature long show-stash ahead-behind "
    "line-number count files-with-matches files-without-match name-only heading break ignore-case word-regexp extended-regexp fixed-strings "
    "perl-regexp untracked no-index function-context compact-summary relative no-prefix inter-hunk-context text binary full-index submodule "
    "ignore-submodules no-pager contains merged no-merged sort points-at show-current list verbose remote column no-column"
).split()
_GIT_READS = re.compile(rf"--|-[^-]\S*|--(?:{'|'.join(_LONG_GIT)})(?:=.*)?", re.DOTALL)
_GIT: Mapping[str, Callable[[Sequence[Word]], bool]] = {
    **dict.fromkeys(
        ("status", "diff", "log", "show", "shortlog", "whatchanged", "diff-tree", "diff-index", "diff-files"), _only(_GIT_READS.pattern)
    ),
    "grep": _only(r"(?![^-]*O)-[^-O][^O]*|" + "|".join(f"--{each}(?:=.*)?" for each in _LONG_GIT) + "|--"),
    "blame": _only(r"-[^-]\S*|--(?:porcelain|line-porcelain|date|since|reverse|show-email|root)(?:=.*)?|--"),
    **dict.fromkeys(
        ("rev-parse", "ls-files", "ls-tree", "rev-list", "merge-base", "name-rev", "describe", "show-ref", "for-each-ref", "check-ignore"),
        _plain,
    ),
    "branch": lambda args: (
        _only(r"-[arv]|-vv|--(?:list|all|remotes|show-current|contains|merged|no-merged|verbose|sort|format|points-at)(?:=.*)?")(args)
        and (
            all(word.text.startswith("-") for word in args)
            or any(re.match(r"-l$|--(list|contains|merged|no-merged|points-at)\b", word.text) for word in args)
        )
    ),
    "tag": lambda args: (
        _plain(args)
        and (not args or args[0].text in ("-l", "--list"))
        and _only(r"-[ln]\d*|--(?:list|sort|contains|points-at|merged)(?:=.*)?")(args)
    ),
    "remote": lambda args: [word.text for word in args] in ([], ["-v"]) or (len(args) == 2 and args[0].text == "get-url" and args[1].plain),
    "config": lambda args: (
        _plain(args) and bool(args) and args[0].text in ("--get", "--list", "-l", "--get-all", "--get-regexp") and len(args) <= 2
    ),
    "stash": lambda args: _plain(args) and bool(args) and args[0].text in ("list", "show") and _only(_GIT_READS.pattern)(args[1:]),
    "worktree": lambda args: bool(args) and args[0].text == "list" and _only("--porcelain|-z|-v|--verbose", most=1)(args),
    "reflog": lambda args: (not args or args[0].text == "show" or args[0].text.startswith("-")) and _only(_GIT_READS.pattern)(args),
    "cat-file": _only(r"-[tpse]"),
    "version": _plain,
    "--version": lambda args: not args,
}
"""git's readers. An option git would accept in short (`--outp`) is not on the list, so it is refused."""


def _git(args: Sequence[Word]) -> bool:
    at = 0
    while at < len(args) and args[at].text in ("-C", "--no-pager", "--no-optional-locks", "-P"):
        at += 2 if args[at].text == "-C" else 1
    return at < len(args) and _plain(args) and args[at].literal and args[at].text in _GIT and _GIT[args[at].text](args[at + 1 :])


_READERS: Mapping[str, Callable[[Sequence[Word]], bool]] = {
    **dict.fromkeys(
        "cat head tail wc ls echo pwd grep egrep fgrep true false : basename dirname realpath readlink stat du df diff cmp comm".split(),
        _any,
    ),
    **dict.fromkeys(
        "cut tr nl rev tac fold seq paste join expand column sleep md5sum sha1sum sha256sum shasum b2sum cksum which type id".split(), _any
    ),
    **dict.fromkeys("whoami uname arch nproc uptime free ps pgrep printenv od hexdump strings jq".split(), _any),
    "rg": lambda args: _plain(args) and not any(word.text.startswith(("--pre", "--hostname-bin")) for word in args),
    **dict.fromkeys(("fd", "fdfind"), _only(r"-[^-xX]*|--(?:type|extension|hidden|no-ignore|glob|max-depth|full-path|exclude)(?:=.*)?")),
    "find": _find,
    "sed": _sed,
    **dict.fromkeys(("awk", "gawk", "mawk"), _awk),
    "sort": _only(
        r"-[^-oTS]*|--(?:unique|reverse|numeric-sort|version-sort|human-numeric-sort|key|field-separator|ignore-case|stable)(?:=.*)?"
    ),
    "uniq": _only(r"-[cdui]+|--(?:count|repeated|unique|ignore-case)", most=1),
    "tree": _only(r"-[adfisLDIPh]+|--(?:dirsfirst|noreport|gitignore|du|prune|filelimit)(?:=.*)?"),
    "file": _only(r"-[bikLzsh]+|--(?:brief|mime|mime-type)"),
    "date": lambda args: all(
        word.plain and re.fullmatch(r"\+.*|-u|-R|-I\w*|--utc|--rfc-3339=\w+|--iso-8601(=\w+)?", word.text) for word in args
    ),
    "hostname": lambda args: not args,
    "env": lambda args: not args,
    "command": lambda args: len(args) == 2 and args[0].text in ("-v", "-V") and args[1].plain,
    "[": lambda args: bool(args) and args[-1].text == "]" and _test(args),
    "test": _test,
    "printf": _printf,
    "git": _git,
    "cd": _any,
    "pushd": _plain,
    "popd": lambda args: not args,
    "exit": lambda args: all(re.fullmatch(r"\d+|\$\?", word.text) for word in args),
    "set": lambda args: bool(args) and all(re.fullmatch(r"[-+](?:[eux]+o?|o)|pipefail|errexit|nounset", word.text) for word in args),
    "wait": lambda args: not args,
}
_VERSIONED = frozenset("node java ruby php rustc gcc clang cmake docker gh".split())
_ACTIVATE = re.compile(r"(?:[\w./~-]*/)?(?:bin|Scripts)/activate")


def _export(args: Sequence[Word]) -> Literal["setup", ""]:
    for word in args:
        name = re.match(r"([A-Za-z_]\w*)(?:=|$)", word.text)
        if not name or _RUNS_WORDS.fullmatch(name[1]) or (_STEERS_READERS.fullmatch(name[1]) and not _HARMLESS_ENV.fullmatch(word.text)):
            return ""
    return "setup" if args else ""


_SETUP: Mapping[str, Callable[[Sequence[Word]], Literal["setup", ""]]] = {
    "export": _export,
    "unset": lambda args: (
        "setup" if args and all(re.fullmatch(r"[A-Za-z_]\w*", w.text) and not _RUNS_WORDS.fullmatch(w.text) for w in args) else ""
    ),
    **dict.fromkeys(
        ("source", "."), lambda args: "setup" if len(args) == 1 and args[0].literal and _ACTIVATE.fullmatch(args[0].text) else ""
    ),
}


# --- display ----------------------------------------------------------------------------------------------------------------

REDACTED = "[redacted]"
WORD_CHARS = 200
"""A longer argument is shown cut."""
LINE_CHARS = 300
"""`display` gives no longer line."""
TOTAL_CHARS = 4000
"""`redact` keeps words up to this many characters in all."""

_SECRET = r"(?:token|passw(?:or)?d|passphrase|passwd|pwd|secret|api[-_]?key|apikey|credentials?|private[-_]?key|access[-_]?key|auth(?:orization)?|bearer|cookie|signature)"
_SECRET_NAME = re.compile(rf"(?i)(?:^|[-_.]|(?<=[a-z])){_SECRET}s?(?:$|[-_.=\d])")
_SECRET_OPTION = re.compile(rf"(?i)-{{1,2}}(?:[\w.-]*[-_.]|[A-Za-z]*)?{_SECRET}")
_HEADER = re.compile(r"(?i)((?:authorization|cookie|x-[\w-]*(?:key|token|auth)[\w-]*)\s*:\s*).+", re.DOTALL)
_URL = re.compile(r"(\w[\w+.-]*://)[^/@\s]+@")
_KNOWN = re.compile(r"\b(?:gh[oprsu]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|ASIA|AIza|npm_|pypi-|hf_|eyJ)[A-Za-z0-9_.=+/-]{8,}")
_RUN = re.compile(r"[A-Za-z0-9+=]{20,}")


def _random_looking(found: re.Match[str]) -> str:
    """Hide a long run of letters and digits that changes between the two too often for a name."""
    run = found.group()
    turns = len(re.findall(r"(?<=\d)[A-Za-z]|(?<=[A-Za-z])\d", run))
    return REDACTED if turns >= 4 and sum(char.isdigit() for char in run) >= 4 else run


def _clean(word: str) -> str:
    """Hide what looks like a secret inside one word and escape what does not print."""
    if not word.startswith("-") or "=" in word:
        name, equals, value = word.partition("=")
        if equals and value and (_SECRET_NAME.search(name) or _SECRET_OPTION.fullmatch(name)):
            return f"{name}={REDACTED}"
    word = _URL.sub(rf"\1{REDACTED}@", _HEADER.sub(rf"\1{REDACTED}", word))
    word = _RUN.sub(_random_looking, _KNOWN.sub(REDACTED, word))
    word = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in word)
    return word if len(word) <= WORD_CHARS else word[: WORD_CHARS - 1] + "…"


def redact(argv: Argv) -> tuple[str, ...]:
    """Return the words for logs and eyes: without what looks like a secret, undecodable bytes escaped, at most `TOTAL_CHARS` in all."""
    words: list[str] = []
    left, hide = TOTAL_CHARS, False
    for at, word in enumerate(_words(argv)):
        shown = REDACTED if hide and not word.startswith("-") else _clean(word)
        hide = bool(_SECRET_OPTION.fullmatch(word))
        left -= len(shown) + 1
        if left < 0:
            return (*words, f"…({len(argv) - at} more)")
        words.append(shown)
    return tuple(words)


def display(argv: Argv) -> str:
    """Return one line for eyes: `redact`ed, quoted as a shell would need it, at most `LINE_CHARS` characters."""
    line = " ".join(word if REDACTED in word and " " not in word else shlex.quote(word) for word in redact(argv))
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"
