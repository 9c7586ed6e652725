"""Who asks for a real run: by the words of a call, by what stands above it, and by the shell text it is in. Pure.

A result that still holds is the right answer to "is it green", and the wrong one to "run it again", "how often does it fail" and "how
long does it take". Promises: a call that is said to ask for a real run costs that run and nothing else, so the table may be generous; what
stands in a project's configuration is how the project always runs and is not looked at; every text is read in linear time.

It is one table and the few readers it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stretto.carryover import HIDING
from stretto.commands.shape import check_name, without_prefixes
from stretto.commands.shelltext import split

REAL_RUN, MEASURED, REPEATED = "real-run", "measured", "repeated"
"""The codes (`model.MISS_CODES`) of what is found here."""


class Asked(NamedTuple):
    """What asks for a real run."""

    code: str
    reason: str
    in_place: bool = False
    """What stands above looks into the process that it started: that has to be the command and nothing of ours."""


class _Options(NamedTuple):
    """By which options a tool is asked for a real run."""

    source: str
    """Where its documentation says so."""
    words: frozenset[str]
    """Alone, or as `--option=value`."""
    letters: str = ""
    """Short options that may stand in a cluster (`-sB`)."""
    taking: str = ""
    """Short options whose value may be the rest of a cluster."""
    values: tuple[tuple[str, str], ...] = ()
    """Options that ask only by their value, with a pattern for it; the value may be the next word."""
    one_dash: bool = False
    """`-count` and `--count` are the same (Go)."""


def _options(source: str, words: str = "", letters: str = "", taking: str = "", *, one_dash: bool = False, **values: str) -> _Options:
    named = tuple((f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}", pattern) for name, pattern in values.items())
    return _Options(source, frozenset(words.split()), letters, taking, named, one_dash)


_NO = r"(?i:0|n|no|false|off|none|disable|ignore)"
_MAKE = _options("gnu.org/software/make/manual/html_node/Options-Summary.html", "-B --always-make", "B", "CfIjloWEO")
_NX = _options("nx.dev/nx-api/nx/documents/run", "--skip-nx-cache --skipNxCache --disable-nx-cache --disableNxCache")
_BAZEL = _options("bazel.build/docs/user-manual", "--nocache_test_results --runs_per_test --runs_per_test_detects_flakes -t-")._replace(
    values=(("--cache_test_results", _NO),)
)
_GRADLE = _options("docs.gradle.org/current/userguide/command_line_interface.html", "--rerun-tasks --rerun --no-build-cache")
_MAVEN = _options("maven.apache.org/extensions/maven-build-cache-extension/parameters.html", "-Dmaven.build.cache.skipCache")._replace(
    values=(("-Dmaven.build.cache.enabled", _NO),)
)

TABLE: Mapping[str, _Options] = {
    **dict.fromkeys(
        ("pytest", "py.test"),
        _options(
            "pypi.org/project/pytest-repeat, pypi.org/project/pytest-flakefinder", "--count --flake-finder --flake-runs --flake-minutes"
        ),
    ),
    "ruff": _options("docs.astral.sh/ruff/configuration/#full-command-line-interface", "--no-cache -n", "n"),
    "mypy": _options("mypy.readthedocs.io/en/stable/command_line.html#incremental-mode", "--no-incremental"),
    "tox": _options("tox.wiki/en/latest/cli_interface.html", "--recreate -r", "r", "eckxpnot"),
    "jest": _options("jestjs.io/docs/cli#--cache", "--no-cache", cache=_NO),
    "vitest": _options("vitest.dev/guide/cli", "--no-cache", cache=_NO),
    "bun": _options("bun.sh/docs/cli/test", "--rerun-each"),
    "deno": _options("docs.deno.com/runtime/reference/cli/test", "--reload -r"),
    **dict.fromkeys(("tsc", "vue-tsc"), _options("typescriptlang.org/docs/handbook/compiler-options.html", "--force")),
    "turbo": _options("turborepo.com/docs/reference/run", "--force --no-cache"),
    "nx": _NX,
    "lerna": _NX,
    "moon": _options("moonrepo.dev/docs/commands/run", "--force -f --update-cache --updateCache"),
    "cspell": _options("cspell.org/docs/getting-started", "--no-cache"),
    "go": _options("pkg.go.dev/cmd/go#hdr-Testing_flags", "-count -test.count -a", one_dash=True),
    "gotestsum": _options("pkg.go.dev/cmd/go#hdr-Testing_flags", "-count -test.count", one_dash=True),
    "ginkgo": _options("onsi.github.io/ginkgo/#repeating-spec-runs-and-managing-flaky-specs", "-repeat -until-it-fails", one_dash=True),
    "cargo": _options("nexte.st/docs/features/stress-tests", "--stress-count --stress-duration"),
    **dict.fromkeys(("gradle", "gradlew"), _GRADLE),
    **dict.fromkeys(("mvn", "mvnw"), _MAVEN),
    **dict.fromkeys(("bazel", "bazelisk"), _BAZEL),
    "dotnet": _options("learn.microsoft.com/dotnet/core/tools/dotnet-build", "--no-incremental"),
    **dict.fromkeys(("rubocop", "standardrb"), _options("docs.rubocop.org/rubocop/usage/caching.html", cache=_NO, C=_NO)),
    "rake": _options("ruby.github.io/rake/doc/command_line_usage_rdoc.html", "-B --build-all"),
    "phpunit": _options("docs.phpunit.de/en/9.6/textui.html", "--repeat"),
    "psalm": _options("psalm.dev/docs/running_psalm/command_line_usage", "--no-cache"),
    "phpcs": _options("github.com/PHPCSStandards/PHP_CodeSniffer/wiki/Advanced-Usage", "--no-cache"),
    "php-cs-fixer": _options("cs.symfony.com/doc/usage.html", using_cache=_NO),
    "mix": _options("hexdocs.pm/mix/Mix.Tasks.Test.html", "--force --repeat-until-failure"),
    "ctest": _options("cmake.org/cmake/help/latest/manual/ctest.1.html", "--repeat --repeat-until-fail"),
    "meson": _options("mesonbuild.com/Unit-tests.html", "--repeat"),
    "stack": _options("docs.haskellstack.org/en/stable/commands/build_command", "--force-dirty"),
    "dune": _options("dune.readthedocs.io/en/stable/reference/cli.html", "--force -f"),
    "swiftlint": _options("realm.github.io/SwiftLint", "--no-cache"),
    "swiftformat": _options("github.com/nicklockwood/SwiftFormat#cache", cache="ignore"),
    **dict.fromkeys(("make", "gmake"), _MAKE),
    "task": _options("taskfile.dev/docs/reference/cli", "--force -f --force-all"),
    "mise": _options("mise.jdx.dev/cli/run.html", "--force -f"),
}
"""By tool. `--no-cache` of a tool that has no cache unless asked for one (eslint, prettier) is not here, nor is what chooses how an
environment is made (`dotnet test --no-build`), nor what tries again after a failure (`--reruns`, `--retry`)."""
_ANYWHERE = _options(
    "of the tools above",
    """--always-make --count -count --flake-finder --no-cache --no-incremental --nocache_test_results --rerun-tasks --runs_per_test
    --skip-nx-cache --rerun-each --repeat --repeat-until-fail --stress-count --force""",
)
_VARIABLES: Mapping[str, tuple[str, str]] = {
    "PYTEST_ADDOPTS": ("pytest", ""),
    "GOFLAGS": ("go", ""),
    "MAKEFLAGS": ("make", ""),
    "GNUMAKEFLAGS": ("make", ""),
    "RUFF_NO_CACHE": ("ruff", r"(?i:1|true|yes|on)"),
    "TURBO_FORCE": ("turbo", r"(?i:1|true)"),
    "NX_SKIP_NX_CACHE": ("nx", r"(?i:1|true)"),
    "NX_DISABLE_NX_CACHE": ("nx", r"(?i:1|true)"),
    "MOON_CACHE": ("moon", r"off|write"),
}
"""Variables that hold further options of a tool, or (with a pattern) ask by their value; documented with the tools. MAKEFLAGS may begin
with letters without a dash."""


def by_words(name: str, words: Sequence[str], env: Iterable[str] = ()) -> str:
    """Return the option or the variable by which a call asks for a real run, "" when there is none.

    Args:
        name: as which it is known; `words` are its arguments.
        env: `NAME=value` entries that hold for this call and not for the whole session.
    """
    for at, word in enumerate((name, *words)):
        folder, _, base = word.removeprefix("-m").rpartition("/")
        known = TABLE.get(base) if not folder or at == 0 or folder.endswith("bin") else None
        if known is not None and (found := _found(known, words[at:])):
            return found
    if name in HIDING:
        inside = [part for word in words for part in (word.split("=", 1)[1].split() if _ASSIGNS.match(word) else (word,))]
        if found := _found(_ANYWHERE, inside):
            return found
    return next((variable for variable in map(_by_variable, env) if variable), "")


_ASSIGNS = re.compile(r"[A-Za-z_]\w*=")
_OFF = re.compile(rf"=(?:{_NO})$")


def _found(known: _Options, words: Sequence[str]) -> str:
    for at, word in enumerate(words):
        head, has_value, value = word.partition("=")
        if known.one_dash and head.startswith("--"):
            head = head[1:]
        if head in known.words and not _OFF.search(word):
            return head
        if known.letters and re.fullmatch(r"-[A-Za-z0-9]+", word) and (letter := _in_cluster(known, word[1:])):
            return f"-{letter}"
        for option, pattern in known.values:
            given = value if has_value else words[at + 1] if at + 1 < len(words) else ""
            if head == option and re.fullmatch(pattern, given):
                return f"{option}={given}"
    return ""


def _in_cluster(known: _Options, letters: str) -> str:
    for letter in letters:
        if letter in known.letters:
            return letter
        if letter in known.taking:
            break
    return ""


def _by_variable(entry: str) -> str:
    variable, _, value = entry.partition("=")
    tool, pattern = _VARIABLES.get(variable, ("", ""))
    if not tool or not value:
        return ""
    if pattern:
        return variable if re.fullmatch(pattern, value) else ""
    words = value.split()
    if tool == "make" and words and re.fullmatch(r"[A-Za-z]+", words[0]):
        words[0] = f"-{words[0]}"
    return variable if _found(TABLE[tool], words) else ""


# --- what stands above ------------------------------------------------------------------------------------------------------

_METERS = frozenset(
    {"time", "gtime", "hyperfine", "multitime", "poop", "perf", "strace", "ltrace", "dtruss", "ktrace", "truss", "valgrind"}
    | {"rr", "gdb", "lldb", "py-spy", "pyinstrument", "scalene", "memray", "samply", "heaptrack", "uftrace", "bpftrace"}
)
"""Programs that time, trace or profile what they start; each one's manual page says so."""
_LOOK_INSIDE = frozenset({"strace", "ltrace", "dtruss", "ktrace", "truss", "valgrind", "rr", "gdb", "lldb"})
_METER_MODULES = frozenset({"cProfile", "profile", "timeit", "trace", "pyinstrument", "scalene", "memray"})
_INTERPRETER = re.compile(r"python[\d.]*|node|ruby|perl|php|(?:ba|da|z)?sh")


def measures(argv: Sequence[str]) -> str:
    """Return the name of the program that times, traces or profiles what it starts, "" when this is none."""
    base = _base(argv[0]) if argv else ""
    if base in _METERS:
        return base
    if base == "coverage":
        return base if "run" in argv[1:2] else ""
    if base in HIDING:  # `uv run coverage run -m pytest`; what else they start stands above the check by itself
        return next(("coverage" for at, word in enumerate(argv[1:8], 2) if _base(word) == "coverage" and "run" in argv[at : at + 1]), "")
    if not _INTERPRETER.fullmatch(base):
        return ""
    for at, word in enumerate(argv[1:], 1):
        if word == "-m":
            called = argv[at + 1] if at + 1 < len(argv) else ""
            return called if called in _METER_MODULES else measures(argv[at + 1 :])
        if not word.startswith("-"):
            return measures(argv[at:]) if _base(word) in _METERS | {"coverage"} else ""
    return ""


def by_callers(callers: Iterable[Caller]) -> Asked | None:
    """Say what above a call asks for a real run: a program that measures, `make -B`, a shell text that times or repeats."""
    for caller in callers:
        if meter := measures(caller.argv):
            return Asked(MEASURED, f"{meter} measures it", in_place=meter in _LOOK_INSIDE)
        if caller.argv and (option := by_words(_base(caller.argv[0]), caller.argv[1:])):
            return Asked(REAL_RUN, f"what called it asks for a real run ({option})")
        if found := by_text(caller.text):
            return found
    return None


class Caller(NamedTuple):
    """A process that stands between the host and a call."""

    argv: tuple[str, ...]
    text: str = ""
    """What a shell among them runs: the text after `-c`, or its script."""


def _base(word: str) -> str:
    return word.rpartition("/")[2]


# --- the text ---------------------------------------------------------------------------------------------------------------

READ_CHARS = 16_384
"""Of a longer text only the beginning is read."""
_DEPTH = 4
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_HOLDS_TEXT = re.compile(r"(?:\s-[A-Za-z]*c|\beval)\s+$")
_BEGINS = r"(?:^|[;&|(){}\n!])[ \t]*(?:(?:do|then|else|elif|if|while|until)[ \t]+)*"
_TIMES = re.compile(rf"{_BEGINS}time\s")
_CLOCKS = re.compile(r"[$][{]?(?:SECONDS|EPOCHREALTIME|EPOCHSECONDS)\b")
_STAMPS = re.compile(r"\bdate\s+[\"']?[+]%s")
_DATES = re.compile(r"(?:^|[;&|({`\n])\s*date(?=[\s;&|)`]|$)")
_SHORT_LOOP = re.compile(r"\s+\w+\s+in\s[^;\n]*[;\n]\s*\{?([^;\n}]*)")
"""zsh's, without `do`: `for i in 1 2; pytest`. With one nothing stands in its place."""
_LOOPS = re.compile(r"(?:^|[;&|(){}\n\s])(for|while|until|select|do|done|repeat)(?=[;&|(){}\n\s]|$)")


def by_text(text: str) -> Asked | None:
    """Say what in a shell text asks for real runs of its checks: `time`, clocks, a loop in which one check stands unchanged."""
    for each in _texts(text[:READ_CHARS], 0):
        bare = _QUOTED.sub(lambda found: "x" * len(found.group()), each)
        if _TIMES.search(bare):
            return Asked(MEASURED, "`time` measures it")
        if (
            _CLOCKS.search(each) or len(_STAMPS.findall(each)) > 1 or len(_DATES.findall(bare)) > 1
        ):  # `start=$(date +%s); pytest; echo $(($(date +%s) - start))`
            return Asked(MEASURED, "the clock is read around it")
        if any(_holds_a_check(part, 0) for part in _repeated(each, bare)) or _xargs_repeats(each):
            return Asked(REPEATED, "it stands in a loop: whoever repeats a check looks for a difference")
    return None


def _texts(text: str, depth: int) -> Iterable[str]:
    """A text, and those in its quotes that a shell or `eval` runs."""
    yield text
    if depth < _DEPTH:
        for found in _QUOTED.finditer(text):
            if found.group()[0] in "'\"" and _HOLDS_TEXT.search(text[max(0, found.start() - 40) : found.start()]):
                yield from _texts(found.group()[1:-1], depth + 1)


def _repeated(text: str, bare: str) -> Iterable[str]:
    """Yield the parts of a text that its loops repeat: bodies, and conditions of `while` and `until`."""
    words = list(_LOOPS.finditer(bare))
    for at, word in enumerate(words):
        end = words[at + 1].start(1) if at + 1 < len(words) else len(text)
        if word[1] in ("while", "until", "do"):
            yield text[word.end(1) : end]
        elif word[1] == "repeat":  # zsh's: `repeat 5 pytest`
            yield text[word.end(1) : end].strip().partition(" ")[2]
        elif word[1] == "for" and (short := _SHORT_LOOP.match(text, word.end(1), end)):
            yield short[1]


def _holds_a_check(text: str, depth: int) -> bool:
    """Say whether a check stands in a text with the same words each time: none of them is computed."""
    for simple in split(text)[0]:
        words = without_prefixes(list(simple.words))
        if not words or not all(word.literal for word in words) or any("$" in assign for assign in simple.assigns):
            continue
        inside = [word.text for word in words[1:]]
        if check_name(_base(words[0].text), inside):
            return True
        if len(inside) > 1 and re.fullmatch(r"-\w*c", inside[-2]) and depth < _DEPTH and _holds_a_check(inside[-1], depth + 1):
            return True
    return False


def _xargs_repeats(text: str) -> bool:
    """Say whether xargs runs a check whose words do not change: it replaces a mark (`-I{}`) that does not stand among them."""
    for simple in split(text)[0] if "xargs" in text else ():
        words = [word.text for word in simple.words]
        if not words or _base(words[0]) != "xargs":
            continue
        marks = [word[2:] or words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("-I")]
        for at in range(1, min(len(words), 20)):
            if marks and check_name(_base(words[at]), words[at + 1 :]):
                return not any(mark in word for mark in marks for word in words[at:])
            if marks and words[at - 1] == "-c" and not any(mark in words[at] for mark in marks) and _holds_a_check(words[at], 1):
                return True
    return False
