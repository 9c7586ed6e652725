"""The table of command shapes through the real Claude Code: what it sends to the model, and the files, are the same (F39, F44).

Each group of shapes is played twice in one project: by a session without Stretto whose environment file holds `:`, and by a session with
it, each shape as a miss and directly after it as a hit. Between the calls the project is put back in place, touching only what differs.
What may differ stands in the table, nowhere else; which shapes the real supervisor does not join, and why, stands here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shapes.table import SHAPES, Shape
from shapes.world import World
from stretto import install, trust
from stretto.fold import fold
from stretto.journal import read
from stretto.model import VOLATILE_ENV, JoinDecided
from stretto.testing import leftovers, room
from stretto.testing.api import Call, ScriptedApi, ToolResult, Turn
from stretto.testing.claude import Home, run
from stretto.testing.wait import wait_until

pytestmark = [pytest.mark.claude, pytest.mark.slow, pytest.mark.timeout(900)]

GROUP = 24
"""Shapes of one session: the conversation is sent whole with every call."""
LIMIT_S = 60.0
COLON_HOOK = "import os; open(os.environ['CLAUDE_ENV_FILE'], 'a').write(':\\n')"
AGAIN = "asked before in this Bash call"
"""Words of the reason why the second of two equal calls in one text is a run."""
UNKNOWN_EFFECTS = (
    "effects are not known",
    "cannot show",
    "changed during the run",
    "changed since it ended",
    AGAIN,
    "does not descend from",
    "announced",
    "left running",
    "stands in a loop",
)
"""Words of the reason why a command is not joined whose text holds anything that is not understood to be a check or a reader. What such a
text writes (`>bg.txt`) may also be what is found first, and what it leaves in the background may ask when nobody is above it any more."""
NOT_UNDERSTOOD = frozenset(
    {
        *("quoted arguments", "glob", "arguments that are no UTF-8", "kinds of descriptors", "tee", "tee of both, then look"),
        *("xargs", "xargs -n1", "to a file", "appended", "errors to a file", "both to a file", "both to a file, short", "two files"),
        *("process substitution", "here-document before", "comparison in the text", "set -u and noglob", "while", "case", "status kept"),
        *("loop over files", "substitution", "backticks", "eval", "a function in the text", "trap at the end", "env -i", "exec"),
        *("nice, nohup, stdbuf", "find -exec", "make with two checks", "make that fails", "make -j2", "a name with a hyphen"),
        *("background and wait", "background and wait for it", "two in the background", "background, not waited for"),
        *("hash and type -t", "installed during the session", "no such option of the shell", "user's IFS", "unset -f"),
        *("an absolute path", "a path says its name", "a path in a variable", "a path in a loop, a subshell, a substitution"),
        *("an IFS of digits", "a trap on errors", "a trap on errors that leaves", "zsh's trap on errors", "zsh's warnings"),
        *("command before a builtin", "command before break", "command before exec"),
        *("a path in posix mode", "a path in the background", "an interpreter where it is", "user's function under another name"),
    }
)
"""Shapes the supervisor of today runs for real although a shim could join them; what comes to join is taken off."""
OTHER_CONTEXT = frozenset({"limits and umask"})
REPEATS = frozenset({"head -1", "the same twice"})
"""Shapes that ask for one check twice: the second ask is a run."""
LEAST_RATE = 0.55
"""Of all checks that a shim could join, so many are joined in this table; real sessions have more plain ones."""
SECTIONS = {
    "plain": "plain calls",
    "tail": "pipes",
    "to a file": "redirects",
    "here-document before": "here-documents",
    "and": "lists and conditions",
    "cd and": "places, loops, substitutions",
    "variable before": "environment, wrappers, shells",
    "an absolute path": "by path",
    "make": "runners",
    "background and wait": "background",
    "dies of SEGV": "signals",
    "not installed": "what is installed",
    "user's alias": "the user's own names",
}
"""First shape of each kind in the table."""
OF_A_SESSION = re.compile(rb"(?m)^(" + b"|".join(sorted(VOLATILE_ENV)) + rb")=.*$")
"""Variables that are others in the next session, with or without Stretto."""

SAVED_TO = re.compile(r"(?<=Full output saved to: )/\S+/tool-results/\S+")


def whole(saved: re.Match[str]) -> str:
    """What stands for the name of a file with much output, which is random: all that is in it."""
    return Path(saved[0]).read_text(encoding="utf-8", errors="surrogateescape")


@dataclass(frozen=True)
class Seen:
    """What one Bash call left: the result as the model gets it, and the project's files."""

    text: bytes
    is_error: bool
    files: dict[str, tuple[int, bytes]]


@dataclass(frozen=True)
class Played:
    native: Seen
    miss: Seen
    hit: Seen
    decisions: tuple[tuple[str, str], ...]
    """What was answered to the questions of the second run, and why."""


class Stage:
    """One project in which a group of shapes is played in one shell."""

    def __init__(self, place: Path, shell: str, snapshot: str) -> None:
        self.shell = shell
        self.world = World(place)
        self.home = Home(self.world.home)
        (self.world.home / f".{shell}rc").write_text(snapshot)
        self._whole = self.world.place / "pristine"
        self._give_git()
        self._api = ScriptedApi(lambda body: self._next())
        self._play: Generator[Turn, ToolResult, None] = self._nothing()
        self._begun = False

    def play(self, shapes: list[Shape]) -> dict[str, Played]:
        native: dict[str, Seen] = {}
        second: dict[str, tuple[Seen, Seen, tuple[tuple[str, str], ...]]] = {}
        colon = {"type": "command", "command": sys.executable, "args": ["-I", "-S", "-c", COLON_HOOK], "timeout": 30}
        with self._api:
            self._session(self._native(shapes, native), {"hooks": {"SessionStart": [{"hooks": [colon]}]}})
            trust.grant(str(self.world.root), "on", None, base=str(self.world.base), python=sys.executable)
            room.whatever_else_runs(self.world.base)
            wired = install.wiring(str(self.world.base))
            install.perform(install.plan_init(install.settings_path(str(self.world.root), "local"), wired))
            self._session(self._with_stretto(shapes, second, native), {})
        return {shape.name: Played(native[shape.name], *second[shape.name]) for shape in shapes}

    # --- two ways to play

    def _native(self, shapes: list[Shape], into: dict[str, Seen]) -> Generator[Turn, ToolResult, None]:
        for number, shape in enumerate(shapes):
            self._put_back(shape.setup)
            result = yield self._call(shape, f"{number:03d}n")
            if shape.late and ">" in shape.text:
                wait_until(self._ended_late, LIMIT_S, f"{shape.name}, natively: what comes late")
            into[shape.name] = self._seen(shape, result)
        self._put_back()

    def _with_stretto(
        self, shapes: list[Shape], into: dict[str, tuple[Seen, Seen, tuple[tuple[str, str], ...]]], like: dict[str, Seen]
    ) -> Generator[Turn, ToolResult, None]:
        for number, shape in enumerate(shapes):
            seen = []
            asked: list[JoinDecided] = []
            for which in "mh":
                self._put_back(shape.setup)
                asked = self._asked()
                result = yield self._call(shape, f"{number:03d}{which}")
                wait_until(self._settled, LIMIT_S, f"{shape.name}: the end of what it runs")
                if shape.late:
                    wanted = like[shape.name].files
                    wait_until(lambda wanted=wanted: self._files() == wanted, LIMIT_S, f"{shape.name}, {which}: what comes late")
                seen.append(self._seen(shape, result))
            new = self._asked()[len(asked) :]
            into[shape.name] = (seen[0], seen[1], tuple((event.do, event.reason) for event in new))

    def _call(self, shape: Shape, number: str) -> Turn:
        return Turn((Call("Bash", {"command": shape.text, "description": shape.name}, id=f"toolu_{number}"),))

    def _seen(self, shape: Shape, result: ToolResult) -> Seen:
        text = SAVED_TO.sub(whole, result.text).encode("utf-8", "surrogateescape")
        text = text.replace(self._api.main_requests()[-1].session.encode(), b"SESSION").replace(result.tool_use_id.encode(), b"TOOL_USE")
        return Seen(shape.comparable(OF_A_SESSION.sub(rb"\1=", text)), result.is_error, self._files())

    # --- sessions

    def _session(self, play: Generator[Turn, ToolResult, None], settings: dict[str, object]) -> None:
        self._play, self._begun = play, False
        env = {"PATH": self.world.search_path, "CLAUDE_BASH_MAINTAIN_PROJECT_WORKING_DIR": "1"}
        how = {"env": env, "shell": self.shell, "settings": settings, "limit_s": 800.0}
        outcome = run("go", api=self._api, project=self.world.root, home=self.home, **how)
        assert outcome.code == 0, outcome
        assert next(self._play, None) is None, f"the session ended in the middle: {outcome}"

    def _next(self) -> Turn:
        try:
            if not self._begun:
                self._begun = True
                return next(self._play)
            (result,) = self._api.main_requests()[-1].results()
            return self._play.send(result)
        except StopIteration:
            return Turn(text="done")

    @staticmethod
    def _nothing() -> Generator[Turn, ToolResult, None]:
        yield from ()

    def _folder(self) -> str:
        return trust.ProjectPaths(base=str(self.world.base), key=trust.project_key(str(self.world.root))).folder

    def _asked(self) -> list[JoinDecided]:
        return [event for _, event in read(self._folder()) if isinstance(event, JoinDecided)]

    def _settled(self) -> bool:
        return all(type(attempt.phase).__name__ == "Settled" for attempt in fold(read(self._folder())).attempts.values())

    # --- files

    def _give_git(self) -> None:
        for words in (["init", "-q"], ["add", "*.py", "Makefile", "list"], ["commit", "-qm", "first"]):
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *words], cwd=self.world.root, check=True)
        (self.world.root / ".git" / "info" / "exclude").write_text(".venv\nnode_modules\n.claude\n")
        (self.world.root / ".claude").mkdir()

    def _files(self) -> dict[str, tuple[int, bytes]]:
        return contents(self.world.root)

    def _ended_late(self) -> bool:
        return any(b"ends with 0" in data for _, data in self._files().values())  # the tools in the project are texts, too

    def _put_back(self, setup: str = "") -> None:
        """Make the project what it was; what is equal is not touched, for a touched file is a changed one."""
        root, wanted = self.world.root, contents(self._whole)
        for name in self._files().keys() - wanted.keys():
            (root / name).unlink()
        for folder in sorted((path for path in root.rglob("*") if path.is_dir() and not hidden(path, root)), reverse=True):
            if not (self._whole / folder.relative_to(root)).is_dir():
                shutil.rmtree(folder)
        for name, (mode, data) in wanted.items():
            if self._files().get(name) != (mode, data):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(data)
                (root / name).chmod(mode)
        for name in ("newtool", "biome"):
            (self.world.tools / name).unlink(missing_ok=True)
        if setup:
            subprocess.run(["/bin/sh", "-c", setup], cwd=root, env=self.world.env(), check=True)


def hidden(path: Path, root: Path) -> bool:
    return path.relative_to(root).parts[0] in (".git", ".claude")


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file, but git's and the host's own."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not hidden(path, root):
            found[os.fsdecode(os.fsencode(path.relative_to(root)))] = (path.stat().st_mode & 0o7777, path.read_bytes())
    return found


# --- groups


def groups() -> dict[tuple[str, str], list[Shape]]:
    """Return which shapes are played in one session: by shell, what the user's own shell sets up, and number."""
    found: dict[tuple[str, str], list[Shape]] = {}
    for shell in ("bash", "zsh"):
        for snapshot in dict.fromkeys(shape.snapshot for shape in SHAPES):
            chosen = [shape for shape in SHAPES if shape.snapshot == snapshot and shell in shape.shells]
            assert not any(shape.env for shape in chosen), "a shape with variables of its own needs a session of its own"
            for at in range(0, len(chosen), GROUP):
                found[shell, f"{snapshot}{at // GROUP}"] = chosen[at : at + GROUP]
    return found


GROUPS = groups()


class Stages:
    """What was played, each group once, when the first shape of it is looked at."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._played: dict[tuple[str, str], dict[str, Played]] = {}

    def played(self, shell: str, name: str) -> Played:
        key, shapes = next((key, shapes) for key, shapes in GROUPS.items() if key[0] == shell and any(s.name == name for s in shapes))
        if key not in self._played:
            place = self._place / f"{len(self._played)}"
            self._played[key] = Stage(place, shell, shapes[0].snapshot).play(shapes)
            leftovers.end(str(place))
        return self._played[key][name]


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    place = Path(os.path.realpath(tempfile.mkdtemp(prefix="")))
    yield Stages(place)
    leftovers.end(str(place))
    shutil.rmtree(place, ignore_errors=True)


CASES = [
    pytest.param(shell, shape, id=f"{shell}-{shape.name}", marks=pytest.mark.needs(*shape.starts))
    for (shell, _), shapes in GROUPS.items()
    for shape in shapes
]


@pytest.mark.parametrize(("shell", "shape"), CASES)
def test_a_shape_gives_the_model_the_same_bytes(stages: Stages, shell: str, shape: Shape):
    """F39, F44."""
    played = stages.played(shell, shape.name)
    assert played.miss == played.native, "as a miss"
    assert played.hit == played.native, "as a hit"


JOINED = ("replay", "attach")


def joins(played: Played) -> int:
    return sum(do in JOINED for do, _ in played.decisions)


@pytest.mark.parametrize(("shell", "shape"), CASES)
def test_a_shape_that_can_join_has_joined_on_its_second_run_and_a_miss_has_a_reason(stages: Stages, shell: str, shape: Shape):
    """F39: no real shape silently never matches, and none is joined that must not be."""
    played = stages.played(shell, shape.name)
    reasons = [reason for do, reason in played.decisions if do not in JOINED]
    assert joins(played) <= shape.joins, (shape.why_not, played.decisions)
    assert all(reasons)
    if shape.name in NOT_UNDERSTOOD:
        assert all(any(words in reason for words in UNKNOWN_EFFECTS) for reason in reasons), reasons
    elif shape.name in OTHER_CONTEXT:
        assert all("another context" in reason for reason in reasons), reasons
    elif shape.name in REPEATS:
        assert joins(played) == shape.joins - 1, played.decisions
        assert all(AGAIN in reason for reason in reasons), reasons
    else:
        assert joins(played) == shape.joins, played.decisions
        assert reasons or shape.why_not or shape.joins


def test_the_hit_rate_of_each_kind_of_shape(stages: Stages, capsys: pytest.CaptureFixture[str]):
    """F39: printed, and not below what it was."""
    could: Counter[str] = Counter()
    did: Counter[str] = Counter()
    missed: dict[str, list[str]] = {}
    kind = ""
    for shape in SHAPES:
        kind = SECTIONS.get(shape.name, kind)
        for shell in shape.shells:
            if not all(map(shutil.which, (shell, *shape.starts))):
                continue
            could[kind] += shape.joins
            did[kind] += joins(stages.played(shell, shape.name))
            if joins(stages.played(shell, shape.name)) < shape.joins:
                missed.setdefault(kind, []).append(f"{shell} {shape.name}")
    with capsys.disabled():
        print(f"\njoined on the second run, in the shells that are here: {did.total()} of {could.total()}")
        for name in could:
            print(f"  {name:32} {did[name]:3} of {could[name]:3}   {', '.join(missed.get(name, []))}")
    assert did.total() >= LEAST_RATE * could.total()


def test_every_name_in_the_lists_above_is_a_shape():
    assert (NOT_UNDERSTOOD | OTHER_CONTEXT | REPEATS | SECTIONS.keys()) <= {shape.name for shape in SHAPES}
    assert not [name for name in NOT_UNDERSTOOD | OTHER_CONTEXT if not next(s for s in SHAPES if s.name == name).joins]
