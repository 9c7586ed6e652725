"""A small project with small fake tools, a home, a state directory and a session file: where every shape runs."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from stretto import commands, shellenv, shellscripts

SESSION = str(uuid.uuid4())
"""Of this process alone: what a shape leaves running must not be taken for what another test left."""

CHECK = r"""#!/bin/sh
# A check of a few lines: says what it was given, does what its options say, in order.
name=${0##*/}
code=0
quiet=
for word; do
  case $word in
    --none) quiet=1 ;;
  esac
done
[ "$quiet" ] || { echo "$name starts in ${PWD##*/}"; for word; do printf '<%s>' "$word"; done; echo; echo "$name: a warning" >&2; }
for word; do
  case $word in
    --fail) echo "1 failed"; code=1 ;;
    --code=*) code=${word#*=} ;;
    --slow) sleep 0.15; echo "slow part" ;;
    --hang) echo "hanging"; exec sleep 300 ;;
    --trap) trap 'echo "caught TERM"; exit 7' TERM; echo "hanging"; sleep 300 & wait; echo "never said" ;;
    --var) echo "X=${X-unset}" ;;
    --environ) env | grep -v '^_=\|^SHLVL=\|^PWD=\|^OLDPWD=\|^PATH=\|^STRETTO_STATE_DIR=' | sort ;;
    --kinds) for at in 0 1 2; do
        if [ -p /dev/fd/$at ]; then kind=pipe; elif [ -f /dev/fd/$at ]; then kind=file; elif [ -t $at ]; then kind=tty; else kind=other; fi
        echo "$at $kind"
      done ;;
    --big) head -c 10000000 /dev/zero | tr '\0' 'x'; echo ;;
    --lines) seq 1 20000 ;;
    --bytes) printf 'caf\351 \377\376\000 \342\202 end\n' ;;
    --raw) printf 'no newline at the end' ;;
    --both) for at in 1 2 3 4 5; do echo "out $at"; echo "err $at" >&2; done ;;
    --stdin) cat ;;
    --write) echo "written by $name" >written.txt ;;
    --umask) umask ;;
    --limits) ulimit -n; ulimit -c ;;
    --leave) ( sleep 0.2; echo "said later" ) & ;;
    --signal=*) kill -s "${word#*=}" $$ ;;
  esac
done
[ "$quiet" ] || echo "$name ends with $code"
exit $code
"""
"""Not `set -e`; POSIX sh, so that a run takes a millisecond."""

UV = r"""#!/bin/sh
# `uv run X args`: X from the project's environment, else from the PATH.
[ "$1" = run ] || exit 2
shift
[ -x ".venv/bin/$1" ] && { at=.venv/bin/$1; shift; exec "$at" "$@"; }
exec "$@"
"""
NPX = r"""#!/bin/sh
at=node_modules/.bin/$1
shift
exec "$at" "$@"
"""
PYTHON = r"""#!/bin/sh
# Looks enough like an interpreter: -m MODULE, -c TEXT (a sh text here), or a file.
case $1 in
  -m) echo "module $2"; shift 2; for word; do printf '<%s>' "$word"; done; echo; [ "$1" = --fail ] && exit 1; exit 0 ;;
  -c) shift; text=$1; shift; exec sh -c "$text" python "$@" ;;
esac
exec sh "$@"
"""
MAKEFILE = """\
test:
\t@pytest -q
check: test
\truff check .
broken:
\t@pytest --fail
both: test check
"""
ACTIVATE = """\
VIRTUAL_ENV=$PWD/.venv
export VIRTUAL_ENV
PATH=$VIRTUAL_ENV/bin:$PATH
export PATH
hash -r 2>/dev/null
"""
TOOLS = ("pytest", "ruff", "mypy", "tsc", "golangci-lint", "prettier")


def make_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class World:
    """Directories under `place`: p the project, t/bin the tools, h the home, s the state."""

    def __init__(self, place: Path, python: str = "", islands: str = "") -> None:
        self.place, self.root, self.tools, self.home, self.base = place, place / "p", place / "t" / "bin", place / "h", place / "s"
        for name in TOOLS:
            make_program(self.tools / name, CHECK)
        make_program(self.tools / "uv", UV)
        make_program(self.tools / "npx", NPX)
        make_program(self.tools / "python", PYTHON)
        make_program(self.tools / "python3", PYTHON)
        self.home.mkdir(parents=True)
        (self.home / ".bash_profile").write_text(f"PATH={self.tools}:/usr/bin:/bin\n")
        self._pristine = place / "pristine"
        self._fill(self._pristine)
        self.search_path = f"{self.tools}:/usr/bin:/bin"
        self.session = self.base / "session.sh"
        self.base.mkdir(mode=0o700)
        self.python, self.islands = python, islands
        self.reset()
        self.write_session()

    def write_session(self) -> shellscripts.Found:
        names = commands.NAMES
        where = {"base": str(self.base), "python": self.python, "islands_dir": self.islands}
        shellenv.write_entries(names=names, **where)
        return shellenv.write_session(str(self.session), names, search_path=self.search_path, root=str(self.root), **where)

    def reset(self) -> None:
        """Put project and tools back to how they began."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._pristine, self.root, symlinks=True)
        for name in ("newtool", "biome"):
            (self.tools / name).unlink(missing_ok=True)

    def env(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": self.search_path,
            "LANG": "C.UTF-8",
            "CLAUDECODE": "1",
            "CLAUDE_CODE_SESSION_ID": SESSION,
            "STRETTO_STATE_DIR": str(self.base),
        }

    def env_text(self) -> str:
        """What CLAUDE_ENV_FILE holds in a session of ours; natively it is `:`."""
        return shellscripts.guard_line(str(self.session)) + "\n"

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Mode and bytes of every file of the project."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                found[os.fsdecode(os.fsencode(path.relative_to(self.root)))] = (path.stat().st_mode, path.read_bytes())
        return found

    def _fill(self, root: Path) -> None:
        (root / "sub").mkdir(parents=True)
        (root / "a folder").mkdir()
        (root / ".git").mkdir()
        (root / "a.py").write_text("a = 1\n")
        (root / "b.py").write_text("b = 2\n")
        (root / "list").write_text("a.py\nb.py\n")
        (root / "empty").write_text("")
        (root / "run.py").write_text("echo a script $1\n")
        (root / "Makefile").write_text(MAKEFILE)
        make_program(root / ".venv" / "bin" / "pytest", CHECK)
        make_program(root / ".venv" / "bin" / "pylint", CHECK)
        make_program(root / ".venv" / "bin" / "python", PYTHON)
        for name in ("gradlew", "vendor/bin/phpunit", "bin/rails", "sub/node_modules/.bin/jest"):
            make_program(root / name, CHECK.replace("${0##*/}", "$0"))
        (root / ".venv" / "bin" / "activate").write_text(ACTIVATE)
        make_program(root / "node_modules" / ".bin" / "eslint", CHECK)
