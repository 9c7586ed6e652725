"""The table of command shapes: `SHAPES`. Importable without running anything, so that the real Claude Code can be driven through it too.

One idea, one table: every line is a command text as an agent writes it. The fake tools it uses are in world.py (`pytest --fail` is a
tool that fails, not the real one). `joins` says how many commands of it are answered from the record when it is run a second time on
the same files; where that is 0, `why_not` says why. A difference that is known stands in `differs`, by the name docs/transparency.md
explains it under; nothing else may differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

BOTH = ("bash", "zsh")


def notices_first(whole: re.Match[bytes]) -> bytes:
    """Bash tells of a background job that is done before or after what the next command prints: natively 6 times of 12 each. Which job it
    marks as the current one (`[1]-`) depends on which ended first."""
    lines = [re.sub(rb"^\[(\d+)\][-+ ]", rb"[\1] ", line) for line in whole[0].splitlines()]
    return b"\n".join(sorted(lines, key=lambda line: not line.startswith(b"[")))


KNOWN: dict[str, tuple[re.Pattern[bytes], bytes | Callable[[re.Match[bytes]], bytes]]] = {
    "bash line numbers": (re.compile(rb"(?m)^((?:/bin/)?bash: (?:-c: )?line )\d+"), rb"\1N"),
    "process ids": (re.compile(rb"(?m)^((?:/bin/)?bash: line \w+: ) *\d+"), rb"\1PID"),
    "the PATH": (re.compile(rb"/\S*/s/paths/[0-9a-f]+:"), b""),
    "a trace": (
        re.compile(rb"(?m)^\+.*\n"),
        b"",
    ),
    "when bash tells of a job": (re.compile(rb"(?s)\A.+\Z"), notices_first),
    "a death in a subshell": (re.compile(rb"(?m)^(?:/bin/)?bash: line \w+: .*\n"), b""),
    "a death with its errors elsewhere": (re.compile(rb"(?m)^(?:/bin/)?bash: line \w+: .*\n"), b""),
}
"""Known differences: what of the output is put aside on both sides before comparing."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    name: str
    text: str
    joins: int = 1
    why_not: str = ""
    shells: tuple[str, ...] = BOTH
    snapshot: str = ""
    """What the user's own shell set up: aliases, functions."""
    differs: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    late: str = ""
    """What is printed last, after the shell has ended."""
    setup: str = ""
    """A sh text run in the project beforehand, natively."""

    @property
    def starts(self) -> tuple[str, ...]:
        """Shells that the text itself starts."""
        return tuple(shell for shell in BOTH if re.search(rf"\b{shell} -\w*c\b", self.text))

    def comparable(self, out: bytes) -> bytes:
        for name in self.differs:
            pattern, instead = KNOWN[name]
            out = pattern.sub(instead, out)
        return out


def _shape(name: str, text: str, joins: int = 1, why_not: str = "", **more: object) -> Shape:
    return Shape(name=name, text=text, joins=joins, why_not=why_not, **more)  # type: ignore[arg-type]


INPUT = "standard input is not empty"
DESCRIPTORS = "a descriptor above 2 is handed down"
ELSEWHERE = "the tool is called in a way neither a function nor a PATH entry sees"
ENDED = "it was ended from outside, or its reader left: such a run is no result"
NOT_OURS = "nothing in it is a check"

SHAPES: tuple[Shape, ...] = (
    # plain
    _shape("plain", "pytest -q"),
    _shape("no arguments", "mypy"),
    _shape("quoted arguments", """pytest -k "a and b" 'x  y' '' $'tab\\there' "it's" """),
    _shape("glob", "ruff check *.py"),
    _shape("failing", "pytest --fail"),
    _shape("exit code of its own", "pytest --code=42"),
    _shape("exit code 127 of its own", "pytest --code=127"),
    _shape("exit code 126 of its own", "pytest --code=126"),
    _shape("prints nothing", "pytest --none"),
    _shape("no newline at the end", "pytest --none --raw"),
    _shape("both streams in turn", "pytest --both"),
    _shape("invalid UTF-8", "pytest --bytes"),
    _shape("arguments that are no UTF-8", "pytest $'caf\\xe9' naïve"),
    _shape("20,000 lines", "pytest --lines"),
    _shape("10 MB", "pytest --big"),
    _shape("10 MB through a pipe", "pytest --big | md5sum"),
    _shape("comment and continuation", "# run it\npytest \\\n  -q # all\n"),
    _shape("environment", "pytest --environ"),
    _shape("kinds of descriptors", "pytest --kinds; pytest --kinds one 2>err.txt | cat; pytest --kinds two 2>&1 | cat", 3),
    _shape("limits and umask", "umask 027; ulimit -n 512; pytest --limits --umask"),
    # pipes
    _shape("tail", "pytest -q | tail -2"),
    _shape("tail of both", "pytest -q 2>&1 | tail -2"),
    _shape("head -1", "pytest -q >/dev/null 2>&1; pytest -q 2>&1 | head -1", 2),
    _shape("head -1 of much", "pytest --lines 2>&1 | head -1", 0, ENDED),
    _shape("grep -c", "pytest --lines | grep -c 7"),
    _shape("grep without a match", "pytest -q 2>&1 | grep nothing"),
    _shape("three stages", "pytest -q 2>&1 | sort | uniq -c | tail -3"),
    _shape("|&", "pytest -q |& tail -3"),
    _shape("pipefail", "set -o pipefail; pytest --fail | tail -1", 1),
    _shape("status of stages in bash", "pytest --fail 2>&1 | cat; echo ${PIPESTATUS[@]}", shells=("bash",)),
    _shape("status of stages in zsh", "pytest --fail 2>&1 | cat; echo $pipestatus", shells=("zsh",)),
    # the file is there before: else it is new or not yet there when pytest asks, whichever side of the pipe is faster
    _shape("tee", "pytest -q 2>&1 | tee log.txt | tail -1", setup=": > log.txt"),
    _shape("tee of both, then look", "pytest --fail 2>&1 | tee log.txt; tail -1 log.txt", setup=": > log.txt"),
    _shape("input from a pipe", "echo some input | pytest --stdin", 0, INPUT),
    _shape("xargs", "echo a.py b.py | xargs pytest"),
    _shape("xargs -n1", "printf '%s\\n' a.py b.py | xargs -n1 pytest", 2),
    # redirects
    _shape("to a file", "pytest -q >out.txt; cat out.txt"),
    _shape("appended", "echo first >>out.txt; pytest -q >>out.txt; cat out.txt"),
    _shape("errors to a file", "pytest -q 2>err.txt; cat err.txt"),
    _shape("errors away", "pytest -q 2>/dev/null"),
    _shape("both to a file", "pytest -q >out.txt 2>&1; cat out.txt"),
    _shape("both to a file, short", "pytest -q &>out.txt; cat out.txt"),
    _shape("two files", "pytest --both >out.txt 2>err.txt; cat out.txt err.txt"),
    _shape("one file opened twice", "pytest -q >out.txt 2>out.txt; wc -l out.txt", 0, "the two positions overwrite each other"),
    _shape("all away", "pytest -q >/dev/null 2>&1; echo $?"),
    _shape("streams swapped", "pytest --both 3>&1 1>&2 2>&3 3>&-"),
    _shape("/dev/null as input", "pytest --stdin </dev/null"),
    _shape("an empty file as input", "pytest --stdin <empty"),
    _shape("a file as input", "pytest --stdin <list", 0, INPUT),
    _shape("a descriptor kept open", "exec 3>three.txt; pytest -q; echo x >&3", 0, DESCRIPTORS),
    _shape("process substitution", "diff <(pytest -q 2>&1) <(pytest -q 2>&1) && echo same", 1, shells=("bash",)),
    _shape("into a process substitution", "pytest -q > >(cat >p.txt); wait; sleep 0.1; cat p.txt", 0, DESCRIPTORS, shells=("bash",)),
    # here-documents: Claude Code leaves an idle socket as input in such calls
    _shape("here-document before", "cat >new.py <<'EOF'\nx = 1\nEOF\npytest -q"),
    _shape("here-document as input", "pytest --stdin <<EOF\none\ntwo $((1+1))\nEOF", 0, INPUT),
    _shape("here-string", "pytest --stdin <<<'a line'", 0, INPUT),
    _shape("comparison in the text", "[[ 1 < 2 ]] && pytest -q"),
    # lists
    _shape("and", "ruff check . && mypy . && pytest -q", 3),
    _shape("and, the first fails", "ruff check --fail && pytest -q", 1),
    _shape("or", "pytest --fail || echo it failed"),
    _shape("or true", "pytest --fail || true"),
    _shape("semicolons", "ruff check .; mypy .; pytest --fail; echo $?", 3),
    _shape("lines", "set -e\nruff check .\npytest --fail\necho never", 2),
    _shape("set -u and noglob", "set -uf; pytest -q *.py"),
    _shape("negated", "! pytest --fail"),
    _shape("if", "if pytest -q; then echo good; else echo bad; fi"),
    _shape("while", "n=0; while ! pytest --code=$n; do n=$((n+1)); [ $n -gt 2 ] && break; done; echo $n", 1),
    _shape("case", "case $(pytest --none --raw) in 'no newline'*) echo yes;; *) echo no;; esac"),
    _shape("status kept", 'pytest --fail; code=$?; echo "it was $code"; exit $code'),
    _shape("not reached", "false && pytest -q; echo $?", 0, NOT_OURS),
    _shape("the same twice", "pytest -q; pytest -q", 2),
    # places
    _shape("cd and", "cd sub && pytest -q"),
    _shape("cd into a folder with a space", "cd 'a folder' && pytest -q && pwd"),
    _shape("subshell", "(cd sub && pytest -q); pwd"),
    _shape("braces", "{ pytest -q; echo end; } 2>&1 | tail -1"),
    _shape("pushd", "pushd sub >/dev/null; pytest -q; popd >/dev/null; pwd"),
    _shape("loop over files", "for f in *.py; do pytest $f; done", 3),
    _shape("loop that reads", "while read -r f; do pytest $f; done <list", 0, INPUT),
    _shape("substitution", 'out=$(pytest --fail 2>&1); echo "$? [$out]"'),
    _shape("backticks", "echo `pytest -q`"),
    _shape("eval", "eval 'pytest -q'"),
    _shape("a function in the text", "t() { pytest -q \"$@\"; }; t one; t 'two words'", 2),
    _shape("trap at the end", "trap 'echo bye' EXIT; pytest -q"),
    # environments and wrappers
    _shape("variable before", "X=1 pytest --var; pytest --var", 2),
    _shape("env", "env X=2 pytest --var"),
    _shape("export", "export X=3; pytest --var"),
    _shape("env -i", 'env -i PATH="$PATH" pytest --environ', 1),
    _shape("timeout", "timeout 60 pytest -q"),
    _shape("timeout in a chain", "cd sub && timeout -k 5 60 pytest --fail 2>&1 | tail -3"),
    _shape("timeout that strikes", "timeout 0.5 pytest --hang; echo $?", 0, ENDED),
    _shape("timeout with its own handler", "timeout 0.5 pytest --trap; echo $?", 0, ENDED),
    _shape("timeout with KILL", "timeout -s KILL 0.5 pytest --hang; echo $?", 0, ENDED, differs=("a death in a subshell",)),
    _shape("nice, nohup, stdbuf", "nice -n 1 pytest -q; nohup pytest -q; stdbuf -oL pytest -q", 3),
    _shape("command", "command pytest -q"),
    _shape("backslash", "\\pytest -q"),
    _shape("exec", "exec pytest --fail"),
    _shape("sh -c", "sh -c 'pytest -q; echo $?'"),
    _shape("bash -c", "bash -c 'cd sub && pytest --fail'"),
    _shape("bash -lc", "bash -lc 'pytest -q'", 0, ELSEWHERE),
    _shape("zsh -c", "zsh -c 'pytest -q'"),
    _shape("find -exec", "find . -maxdepth 1 -name '*.py' -exec pytest {} +"),
    _shape("STRETTO=off", "STRETTO=off pytest -q", 0, "asked for"),
    _shape("STRETTO_FRESH", "STRETTO_FRESH=1 pytest -q", 0, "asked for"),
    # by path
    _shape("an absolute path", "$PWD/.venv/bin/pytest -q"),
    _shape("a relative path", ".venv/bin/pytest -q"),
    _shape("a relative path with a dot", "./.venv/bin/pytest --fail 2>&1 | tail -1"),
    _shape("a path says its name", "./gradlew test; ../p/gradlew test; sh gradlew test", 1),
    _shape("a path from a folder", "cd sub && ../.venv/bin/pytest -q && pwd"),
    _shape("a folder's own tool", "cd sub && node_modules/.bin/jest | tail -1; cd .. && sub/node_modules/.bin/jest", 2),
    _shape(
        "a path from a folder that has none", "cd sub; .venv/bin/pytest -q; echo $?", 0, "it is not there", differs=("bash line numbers",)
    ),
    _shape("a path that may not be run", "chmod -x gradlew; ./gradlew; echo $?", 0, "it is not there", differs=("bash line numbers",)),
    _shape(
        "a path that is gone", "rm .venv/bin/python; .venv/bin/python -V; echo $?", 0, "it is not there", differs=("bash line numbers",)
    ),
    _shape("a path in a variable", 'bin=.venv/bin; $bin/pytest -q && "$PWD/.venv/bin/pytest" one', 2),
    _shape("a path in a loop, a subshell, a substitution", 'for n in 1 2; do (.venv/bin/pytest $n); done; echo "$(./gradlew)"', 3),
    _shape("a path below another program", "timeout 60 .venv/bin/pytest -q; command ./gradlew; bash -c './gradlew'", 0, ELSEWHERE),
    _shape("a path in posix mode", "set -o posix; .venv/bin/pytest -q", 1, shells=("bash",)),
    _shape("node_modules by path", "node_modules/.bin/eslint . && ./node_modules/.bin/eslint --fail", 2),
    _shape("vendor and bin", "vendor/bin/phpunit -v; bin/rails test; echo $?", 2),
    _shape("a path in the background", ".venv/bin/pytest --code=5 >o 2>&1 & wait $!; echo $?; cat o"),
    _shape("kill a path", ".venv/bin/pytest --hang >o 2>&1 & sleep 0.6; kill $!; wait $! 2>/dev/null; echo $?; cat o", 0, ENDED),
    _shape("a path dies of SEGV", ".venv/bin/pytest --signal=SEGV; echo $?", 1, differs=("bash line numbers", "process ids")),
    _shape("a python by path, -m", ".venv/bin/python -m pytest -q && ./.venv/bin/python -m mypy --fail", 2),
    _shape("a python by path, else", ".venv/bin/python run.py now; .venv/bin/python -c 'echo $0' | cat", 0, NOT_OURS),
    _shape(
        "kill a python by path",
        ".venv/bin/python -c 'echo hanging; exec sleep 300' >o 2>&1 & sleep 0.6; kill $!; wait $! 2>/dev/null; echo $?; cat o",
        0,
        NOT_OURS,
    ),
    _shape("a tool's file for python", "python .venv/bin/pytest -q; python3 -Wignore .venv/bin/pytest --fail | tail -1", 2),
    _shape("user's function named by a path", "./gradlew test", 0, "the name is taken", snapshot="function ./gradlew { echo mine; }\n"),
    _shape(
        "made during the session", "mkdir -p venv/bin && cp gradlew venv/bin/ruff && venv/bin/ruff check", 0, "the session began without it"
    ),
    # runners
    _shape("make", "make test"),
    _shape("make with two checks", "make both"),
    _shape("make that fails", "make broken"),
    _shape("make -j2", "make -j2 both 2>/dev/null >/dev/null; echo $?"),
    _shape("make -s and tail", "make -s check 2>&1 | tail -1"),
    _shape("uv run", "uv run pytest -q"),
    _shape("uv run of a tool on the PATH", "uv run mypy ."),
    _shape("npx", "npx eslint ."),
    _shape("a name with a hyphen", "golangci-lint run; golangci-lint --fail | tail -1", 2),
    _shape("venv activated", "source .venv/bin/activate && pytest -q"),
    _shape("venv activated, its own tool", ". .venv/bin/activate; pylint a.py | tail -1"),
    _shape("python -m", "python -m pytest -q"),
    _shape("python3 -m in a pipe", "python3 -m mypy --fail 2>&1 | tail -1"),
    _shape("python with options and -m", "python -Wignore -m pytest -q", 1),
    _shape("python -c", "python -c 'echo text \"$1\"' 'an argument'", 0, NOT_OURS),
    _shape("python file", "python run.py now | cat", 0, NOT_OURS),
    _shape("python reads", "echo 'echo from input' | python /dev/stdin", 0, NOT_OURS),
    # background
    _shape("background and wait", "pytest -q & wait; echo $?"),
    _shape("background and wait for it", "pytest --code=5 >o 2>&1 & wait $!; echo $?; cat o"),
    _shape(
        "two in the background",
        "pytest -q >~/1.txt 2>&1 & ruff check . >~/2.txt 2>&1 & wait; cat ~/1.txt ~/2.txt",
        2,
        differs=("when bash tells of a job",),
    ),
    _shape("background, not waited for", "pytest --slow >bg.txt 2>&1 & echo started", 1, late="pytest ends with 0\n"),
    _shape("kill what runs", "pytest --hang >o 2>&1 & sleep 0.6; kill $!; wait $! 2>/dev/null; echo $?; cat o", 0, ENDED),
    _shape(
        "kill a python",
        "python -c 'echo hanging; exec sleep 300' >o 2>&1 & sleep 0.6; kill $!; wait $! 2>/dev/null; echo $?; cat o",
        0,
        NOT_OURS,
    ),
    _shape("leaves something running", "pytest --leave; echo next", 0, "it left a process", late="said later\n"),
    _shape("leaves something in a pipe", "pytest --leave 2>&1 | cat; echo next", 0, "it left a process"),
    _shape("leaves something, substituted", 'echo "[$(pytest --leave)]"', 0, "it left a process"),
    # signals
    _shape("dies of SEGV", "pytest --signal=SEGV; echo $?", 1, differs=("bash line numbers", "process ids")),
    _shape("dies of KILL", "pytest --signal=KILL; echo $?", 0, ENDED, differs=("bash line numbers", "process ids")),
    _shape("dies of TERM as the last", "pytest --signal=TERM", 0, ENDED),
    _shape("dies of PIPE", "pytest --signal=PIPE; echo $?"),
    _shape("dies of INT", "pytest --signal=INT; echo $?", 0, ENDED),
    _shape("dies in a pipe", "pytest --signal=ABRT 2>&1 | cat; echo $?"),
    _shape("dies in a subshell", "(pytest --signal=ABRT); echo $?", 1, differs=("a death in a subshell",)),
    _shape(
        "dies with its errors elsewhere", "pytest --signal=ABRT 2>/dev/null; echo $?", 1, differs=("a death with its errors elsewhere",)
    ),
    _shape("dies below timeout", "timeout 20 pytest --signal=TERM; echo $?", 0, ENDED),
    # what is there, and what is not
    _shape("not installed", "biome check . ; echo $?", 0, "it is not there", differs=("bash line numbers",)),
    _shape("command -v or install", "command -v biome >/dev/null || echo install it", 0, "it is not there"),
    _shape("command -v and run", "command -v pytest >/dev/null && pytest -q"),
    _shape("hash and type -t", "hash pytest && type pytest >/dev/null && pytest -q", 1),
    _shape("where is it", "command -v pytest", 0, NOT_OURS),
    _shape("which", "command which pytest", 0, NOT_OURS),
    _shape("which of the shell", "which -a pytest ruff; which nothing", 0, NOT_OURS),
    _shape("type", "type pytest", 0, NOT_OURS),
    _shape("type -P", "type -P pytest; type -t ruff", 0, NOT_OURS, shells=("bash",)),
    _shape("run where it is", "$(which pytest) -q; head -1 $(command -v ruff)", 0, ELSEWHERE),
    _shape("an interpreter where it is", "python $(which pytest) -q", 1),
    _shape("another one where it is", "sh $(command -v pytest) -q | tail -1", 0, ELSEWHERE),
    _shape("which and run", "which pytest >/dev/null && pytest -q", 1),
    _shape("echo $PATH", "echo $PATH; env | grep ^PATH=", 0, NOT_OURS, differs=("the PATH",)),
    _shape("installed during the session", "cp ../t/bin/uv ../t/bin/newtool && newtool run mypy .", 1),
    _shape("installed under a name we know", "cp ../t/bin/mypy ../t/bin/biome; biome check .", 0, "the session began without it"),
    _shape("no such option of the shell", "pytest -q; nosuchcommand; echo $?", 1, differs=("bash line numbers",)),
    # the user's own names
    _shape("user's alias", "pytest a.py", snapshot="alias pytest='pytest -q --both'\n"),
    _shape("user's function", "pytest a.py", snapshot='pytest() { echo mine; command pytest -v "$@"; }\n'),
    _shape("user's function under another name", "t a.py", snapshot='t() { pytest -q "$@"; }\n'),
    _shape("user's set -e in his shell", "pytest --fail; echo on", snapshot="set -e\n"),
    _shape("user's IFS", "IFS=-; pytest -q a-b", snapshot=""),
    _shape("an IFS of digits", 'IFS=012; pytest --fail; echo "$?"'),
    _shape(
        "a trap on errors", "set -E; trap 'echo \"failed: $?\"' ERR; pytest --fail; .venv/bin/pytest --fail; echo on", 2, shells=("bash",)
    ),
    _shape(
        "a trap on errors of what is no check",
        "set -E; trap 'echo \"failed: $?\"' ERR; python3 -c 'exit(3)'; git nope 2>/dev/null; type nope",
        0,
        "no check",
        differs=("bash line numbers",),
        shells=("bash",),
    ),
    _shape(
        "a trap on errors that leaves",
        "set -Eeu; trap 'echo failed; exit 9' ERR; pytest -q; pytest --fail; echo never",
        2,
        shells=("bash",),
    ),
    _shape("zsh's trap on errors", 'TRAPZERR() { echo "failed: $?"; }; pytest --fail; echo on', shells=("zsh",)),
    _shape("command before a builtin", 'command -v pytest >/dev/null; command set -- a b; echo "$#"; pytest -q', shells=("bash",)),
    _shape(
        "command before break", "for i in 1 2 3; do command -v pytest >/dev/null; command break; done; echo $i; pytest -q", shells=("bash",)
    ),
    _shape("command before exec", "command -v pytest >/dev/null; command exec 4>&1; echo hi >&4; exec 4>&-; pytest -q", shells=("bash",)),
    _shape(
        "zsh's warnings", "setopt warn_create_global warn_nested_var 2>/dev/null; command -v pytest >/dev/null; pytest -q", shells=("zsh",)
    ),
    _shape("unset -f", "unset -f pytest 2>/dev/null; pytest -q"),
    _shape("set -x", "set -x; pytest -q", differs=("a trace",)),
)

assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 60
