"""Never wrong (A-2, A-3, F40, F41): thousands of random changes between and during runs, and not one result joined that should not be.

A round is a run between two scans and a question at a third. Whether the answer was right is decided by an oracle that shares nothing
with the scanner: it reads every file whole, and asks git for its index. A wrong join is a FRESH although the oracle sees a difference, or
although somebody changed an input while the run was under way, even if it was changed back. A needless miss is anything but FRESH after
a round in which nothing but caches, the job's own products and the bookkeeping of `git status` moved.

What happened is told to the history checker as well (C-23): runs, joins, edits with their times, and what each join was given. It must not
object; and told that every round ended in a join, it must object to every single edit.

Every 150 rounds begin in a new project. STRETTO_SEED varies the choices; `make soak` runs the count of a release.
"""

from __future__ import annotations

import collections
import functools
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stretto import bundle, freshness, tree
from stretto.model import (
    AttemptExited,
    AttemptId,
    AttemptSettled,
    AttemptStarted,
    End,
    Evidence,
    FileClass,
    JobKey,
    JobSeen,
    JoinDecided,
    JoinDone,
    LogEvent,
    Products,
    Standing,
    SupervisorStarted,
    TreeMoved,
)
from stretto.system import mono_s
from stretto.testing.history import Delivery, Edit, Line, check
from stretto.tree import Scan, Scanner

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
ROUNDS = 24_000 if SOAK else 750
SEED = int(os.environ.get("STRETTO_SEED", "20240229"))
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always")
CACHE_NAMES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache")
PRODUCTS = ("build/out.bin", ".coverage")
"""What the simulated command writes at every run; earlier runs have shown it."""


def git(folder: Path, *argv: str) -> bool:
    return subprocess.run([*GIT, *argv], cwd=folder, check=False, capture_output=True).returncode == 0


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class World:
    """A project with everything in it that section 5 of the design names, and the changes that can happen to it."""

    def __init__(self, base: Path, dice: random.Random) -> None:
        self.base, self.dice, self.count = base, dice, 0
        self.root = base / "p"
        self.shared = base / "shared"
        self.site = self.root / ".venv" / "lib" / "python3.11" / "site-packages"
        self.last: Path | None = None
        """The file changed last: most likely still in the same tick of the clock."""
        self.been_away: set[Path] = set()
        """Folders renamed away and back during this run. No byte code is written into them before it ends: what a scan then cannot see is
        a limit of its own (docs/join.md), and tests/integration/test_tree.py holds it."""
        for number in range(12):
            write(self.root / f"d{number % 4}" / f"f{number}.py", f"value = {number}\n")
        write(
            self.root / ".gitignore",
            ".venv/\nnode_modules/\nbuild/\n.env\n.coverage\nlocal/\n*.log\n" + "".join(f"{n}/\n" for n in CACHE_NAMES),
        )
        write(self.root / ".env", "KEY=0\n")
        write(self.root / "local" / "data.json", "{}")
        write(self.root / ".venv" / "pyvenv.cfg", "home = /usr/bin\n")
        write(self.site / "pkg" / "__init__.py", "x = 1\n")
        write(self.site / "pkg-1.dist-info" / "METADATA", "1\n")
        write(self.root / "node_modules" / ".package-lock.json", "{}")
        write(self.root / "node_modules" / "left" / "package.json", "{}")
        write(self.shared / "in" / "x.txt", "1\n")
        write(self.base / "single.txt", "1\n")
        (self.root / "inside").symlink_to("d0/f0.py")
        (self.root / "outside").symlink_to(self.shared)
        (self.root / "single").symlink_to(self.base / "single.txt")
        origin = base / "origin"
        for folder in (origin, self.root / "nested", self.root):
            folder.mkdir(exist_ok=True)
            git(folder, "init", "-q")
        for folder in (origin, self.root / "nested"):
            write(folder / "m.py", "m = 1\n")
            git(folder, "add", "-A")
            git(folder, "commit", "-qm", "first")
        git(self.root, "submodule", "--quiet", "add", str(origin), "sub")
        git(self.root, "add", "-A", "--", ":!nested")
        assert git(self.root, "commit", "-qm", "first")
        self.repositories = {self.root: self.root / ".git", self.root / "nested": self.root / "nested" / ".git"}
        self.repositories[self.root / "sub"] = self.root / ".git" / "modules" / "sub"
        self._indexes: dict[bytes, bytes] = {}

    # --- choosing

    def fresh_name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def folders(self) -> list[Path]:
        return sorted(path for path in self.root.glob("d*") if path.is_dir() and not path.is_symlink())

    def files(self) -> list[Path]:
        found = []
        for folder in self.folders():
            for at, below, names in os.walk(folder):
                below[:] = sorted(set(below) - set(CACHE_NAMES))
                found += [Path(at, name) for name in sorted(names)]
        return [path for path in found if not path.is_symlink()]

    def file(self) -> Path:
        files = self.files()
        if self.last in files and self.dice.random() < 0.5:
            return self.last
        if len(files) < 6:
            return self.new_file()
        self.last = self.dice.choice(files)
        return self.last

    def new_file(self) -> Path:
        path = self.dice.choice(self.folders()) / f"{self.fresh_name()}.py"
        write(path, f"value = {self.count}\n")
        return path

    # --- what a run does by itself

    def write_caches(self) -> None:
        for name in self.dice.sample(CACHE_NAMES, 2):
            folders = [folder for folder in self.folders() if folder not in self.been_away]
            write(self.dice.choice([self.root, *folders]) / name / "v" / "x", self.fresh_name())
        write(self.site / "pkg" / "__pycache__" / "x.pyc", self.fresh_name())
        if self.dice.random() < 0.2:
            for name in set(CACHE_NAMES) - {".ruff_cache"}:  # that this one is gone counts
                shutil.rmtree(self.root / name, ignore_errors=True)

    def write_products(self) -> None:
        for name in PRODUCTS:
            write(self.root / name, self.fresh_name())

    def look_at_git(self) -> None:
        """May write the index anew, with the entries it had."""
        git(self.root, "status")

    # --- what others do: each changes an input, or changes it and back (`back_`)

    def edit(self) -> None:
        write(self.file(), f"value = {self.fresh_name()}\n" * self.dice.randint(1, 3))

    def edit_same_size_same_times(self) -> None:
        path = self.file()
        before, data = path.stat(), path.read_bytes() or b"x"
        at = self.dice.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def edit_in_place(self) -> None:
        path = self.file()
        with path.open("r+b") as file:
            first = file.read(1) or b"a"
            file.seek(0)
            file.write(bytes([first[0] ^ 2]))

    def replace_atomically(self) -> None:
        path = self.file()
        aside = path.with_name(self.fresh_name())
        aside.write_bytes(path.read_bytes()[::-1] + b"#")
        os.utime(aside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        os.replace(aside, path)

    def touch(self) -> None:
        path = self.file()
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))

    def empty(self) -> None:
        path = self.file()
        path.write_bytes(b"" if path.stat().st_size else b"x")

    def chmod(self) -> None:
        path = self.file()
        path.chmod(path.stat().st_mode ^ 0o111)

    def chmod_folder(self) -> None:
        path = self.dice.choice(self.folders())
        path.chmod(path.stat().st_mode ^ 0o011)

    def create(self) -> None:
        self.new_file()

    def create_empty(self) -> None:
        (self.dice.choice(self.folders()) / self.fresh_name()).touch()

    def create_folder(self) -> None:
        (self.dice.choice(self.folders()) / self.fresh_name()).mkdir()

    def delete(self) -> None:
        if len(self.files()) > 8:
            self.file().unlink()
        else:
            self.new_file()

    def rename(self) -> None:
        path = self.file()
        path.rename(path.with_name(f"{self.fresh_name()}.py"))

    def rename_folder(self) -> None:
        path = self.dice.choice(self.folders())
        path.rename(path.with_name(f"d{self.fresh_name()}"))

    def swap(self) -> None:
        one, other = self.file(), self.new_file()
        aside = one.with_name(self.fresh_name())
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    def hard_link(self) -> None:
        path = self.file()
        os.link(path, path.with_name(f"{self.fresh_name()}.py"))

    def write_through_hard_link(self) -> None:
        path = self.file()
        twin = self.base / self.fresh_name()
        os.link(path, twin)
        self.edit_bytes(twin)
        twin.unlink()

    def edit_bytes(self, path: Path) -> None:
        write(path, self.fresh_name())

    def file_to_folder(self) -> None:
        path = self.file()
        path.unlink()
        path.mkdir()

    def folder_to_link(self) -> None:
        path = self.dice.choice(self.folders())
        path.rename(self.root / f"d{self.fresh_name()}")
        path.symlink_to(f"d{self.count}")

    def relink(self) -> None:
        """To another target: the same one, made anew within a tick, is a change that nobody can see."""
        path = self.root / "inside"
        before = os.readlink(path) if path.is_symlink() else ""
        target = os.path.relpath(self.file(), self.root)
        path.unlink(missing_ok=True)
        path.symlink_to(f"nowhere/{self.fresh_name()}" if self.dice.random() < 0.3 or target == before else target)
        os.utime(path, ns=(1, self.count), follow_symlinks=False)

    def relink_outside(self) -> None:
        path = self.root / "single"
        path.unlink()
        target = self.base / f"single-{self.fresh_name()}.txt"
        write(target, self.fresh_name())
        path.symlink_to(target)

    def edit_outside(self) -> None:
        self.edit_bytes(self.dice.choice([self.shared / "in" / "x.txt", self.shared / self.fresh_name(), (self.root / "single").resolve()]))

    def edit_ignored(self) -> None:
        self.edit_bytes(self.root / self.dice.choice([".env", "local/data.json"]))

    def create_ignored(self) -> None:
        self.edit_bytes(self.dice.choice([self.root / "local", *self.folders()]) / f"{self.fresh_name()}.log")

    def install(self) -> None:
        name = self.fresh_name()
        write(self.site / name / "__init__.py", name)
        write(self.site / f"{name}-1.dist-info" / "METADATA", name)

    def upgrade(self) -> None:
        infos = sorted(self.site.glob("*.dist-info"))
        if not infos:
            return self.install()
        name = infos[0].name.split("-")[0]
        shutil.rmtree(infos[0])
        shutil.rmtree(self.site / name, ignore_errors=True)
        if self.dice.random() < 0.7:
            write(self.site / name / "__init__.py", self.fresh_name())
            write(self.site / f"{name}-{self.count}.dist-info" / "METADATA", self.fresh_name())

    def install_node(self) -> None:
        write(self.root / "node_modules" / self.fresh_name() / "package.json", "{}")
        write(self.root / "node_modules" / ".package-lock.json", self.fresh_name())

    def empty_commit(self) -> None:
        git(self.dice.choice(list(self.repositories)), "commit", "-q", "--allow-empty", "-m", self.fresh_name())

    def stage(self) -> None:
        self.edit()
        git(self.root, "add", "-A", "--", ":!nested")

    def commit(self) -> None:
        self.edit()
        git(self.root, "commit", "-qam", self.fresh_name())

    def tag(self) -> None:
        git(self.root, "tag", self.fresh_name())

    def branch(self) -> None:
        git(self.root, "checkout", "-q", "-b", self.fresh_name())

    def configure(self) -> None:
        git(self.root, "config", "x.y", self.fresh_name())

    def edit_nested(self) -> None:
        self.edit_bytes(self.root / self.dice.choice(["nested", "sub"]) / "m.py")

    def back_edit(self) -> None:
        path = self.file()
        before, data = path.stat(), path.read_bytes()
        path.write_bytes(data + b"#")
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def back_delete(self) -> None:
        path = self.file()
        aside = self.base / self.fresh_name()
        path.rename(aside)
        aside.rename(path)

    def back_chmod(self) -> None:
        path, mode = self.file(), 0
        mode = path.stat().st_mode
        path.chmod(mode ^ 0o111)
        path.chmod(mode)

    def back_folder(self) -> None:
        path = self.dice.choice(self.folders())
        path.rename(self.base / "away")
        (self.base / "away").rename(path)
        self.been_away.add(path)

    def back_stash(self) -> None:
        self.edit()
        git(self.root, "stash", "-q")
        git(self.root, "stash", "pop", "-q")

    def back_stage(self) -> None:
        path = self.new_file()
        git(self.root, "add", str(path))
        git(self.root, "reset", "-q", "--", str(path))
        path.unlink()

    def back_ignored(self) -> None:
        path = self.root / ".env"
        data = path.read_bytes()
        path.write_bytes(b"other")
        path.write_bytes(data)

    # --- what happens after a run to what it wrote

    def delete_product(self) -> None:
        (self.root / PRODUCTS[0]).unlink(missing_ok=True)
        (self.root / PRODUCTS[1]).unlink(missing_ok=True)

    def edit_product(self) -> None:
        self.edit_bytes(self.root / self.dice.choice(PRODUCTS))

    # --- the oracle

    def snapshot(self, *, with_times: bool) -> dict[str, object]:
        """Read everything whole: kind, mode, content or target, modification time; git's state by git."""
        found: dict[str, object] = {}
        waiting = [str(self.root), str(self.shared), *map(str, self.base.glob("single*"))]
        while waiting:
            path = waiting.pop()
            seen = os.lstat(path)
            if stat.S_ISLNK(seen.st_mode):
                found[path] = ("link", os.readlink(path))
            elif stat.S_ISDIR(seen.st_mode):
                found[path] = ("folder", seen.st_mode)
                waiting += [f"{path}/{name}" for name in os.listdir(path) if name not in (*CACHE_NAMES, ".git")]
            else:
                with open(path, "rb") as file:
                    found[path] = (seen.st_mode, seen.st_mtime_ns if with_times else 0, file.read())
        for folder, own in self.repositories.items():
            for path in (own / "HEAD", own / "config", own / "packed-refs", own / "info" / "exclude", *sorted((own / "refs").rglob("*"))):
                if path.is_file():
                    found[str(path)] = path.read_bytes()
            found[f"{own}/index"] = self._index(folder, own / "index")
        return found

    def _index(self, folder: Path, index: Path) -> bytes:
        raw = index.read_bytes()
        if raw not in self._indexes:
            self._indexes[raw] = subprocess.run(["git", "ls-files", "--stage", "-v"], cwd=folder, check=True, capture_output=True).stdout
        return self._indexes[raw]


OPERATIONS = [name for name, value in vars(World).items() if callable(value)]
OTHERS = OPERATIONS[OPERATIONS.index("edit") : OPERATIONS.index("delete_product")]
OTHERS.remove("edit_bytes")
AFTER = [*OTHERS, "delete_product", "edit_product"]
SLOW = {"empty_commit", "stage", "commit", "tag", "branch", "configure", "back_stash", "back_stage"}
"""A git process each: chosen less often."""


def choose(dice: random.Random, number: int, others: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    """What happens during a round's run, and after it: every other round one thing alone, so that nothing can hide behind another."""
    if number % 2:
        alone = [([name], []) for name in others] + [([], [name]) for name in after]
        during, since = alone[number // 2 % len(alone)]
        return during, since
    return _some(dice, others), _some(dice, after)


def _some(dice: random.Random, names: list[str]) -> list[str]:
    weights = [0.25 if name in SLOW else 1.0 for name in names]
    return dice.choices(names, weights, k=dice.choice([0, 0, 0, 1, 3, 6]))


JOB = JobKey("check")


class Told:
    """The rounds as a supervisor would have logged them: `as_it_was`, and as one that joins whatever it has."""

    def __init__(self) -> None:
        self.as_it_was: list[LogEvent] = []
        self.always_joined: list[LogEvent] = []
        self.edits: list[Edit] = []
        self.deliveries: list[Delivery] = []
        self._pid = 0

    def log(
        self, record: type[LogEvent], /, *, mono: float | None = None, joined: bool = True, really: bool = True, **fields: object
    ) -> None:
        event = record(ts=0.0, mono=mono_s() if mono is None else mono, boot="b", by=f"supervisor:{self._pid}", **fields)
        if really:
            self.as_it_was.append(event)
        if joined:
            self.always_joined.append(event)

    def new_scanner(self) -> None:
        self._pid += 1
        self.log(SupervisorStarted, pid=self._pid, start="1", version="0", mode="on")
        if self._pid == 1:
            self.log(JobSeen, job=JOB, name=JOB, argv=(JOB,), cwd=".", streams="merged")

    def scanned(self, scan: Scan) -> None:
        if scan.moved:
            sample = tuple(sorted(change.path for change in scan.moved)[:5])
            self.log(TreeMoved, generation=scan.generation, count=len(scan.moved), sample=sample)

    def ended(self, attempt: AttemptId, printed: bytes, settled: freshness.Settled, generation: int) -> None:
        end = End(how="code", value=0)
        self.log(AttemptExited, attempt=attempt, end=end, out_bytes=len(printed), err_bytes=0, took_s=0.1, cpu_s=0.1)
        digest = bundle.digest_of(printed)
        products = settled.products[:50]
        self.log(AttemptSettled, attempt=attempt, generation=generation, torn=settled.torn, products=products, digest=digest)

    def asked(self, attempt: AttemptId, asked_s: float, joined: bool, would_print: bytes) -> None:
        """A question, and what the command would have printed for it."""
        now_s = mono_s()
        ask = f"q{attempt}"
        common = {"mono": now_s, "decide_ms": (now_s - asked_s) * 1000, "job": JOB, "session": None, "standing": "", "reason": ""}
        replay = {"do": "replay", "attempt": attempt, "of": "ahead"}
        self.log(JoinDecided, ask=ask, **common, **replay, really=joined)
        if not joined:
            self.log(JoinDecided, ask=ask, **common, do="exec", attempt=None, joined=False)
            return
        self.log(JoinDone, ask=ask, attempt=attempt, waited_s=0.0, saved_s=0.1)
        digest, size = bundle.digest_of(would_print), len(would_print)
        self.deliveries.append(
            Delivery(argv=(JOB,), began_mono_s=asked_s, ended_mono_s=mono_s(), digest=digest, size_bytes=size, code=0, ask=ask)
        )

    def do(self, name: str, step: Callable[[], None]) -> None:
        began_s = mono_s()
        step()
        self.edits.append(Edit(what=name, began_mono_s=began_s, ended_mono_s=mono_s()))


def lines(events: list[LogEvent]) -> list[Line]:
    return [Line(at, at + 1, event) for at, event in enumerate(events)]


def printed(oracle: dict[str, object], own: set[str]) -> bytes:
    """What a command prints that reads everything but its own products."""
    return repr(sorted((path, repr(seen)) for path, seen in oracle.items() if path not in own)).encode()


CLOCKS = ["hashed", "settled", "coarse"]
"""hashed: everything was written seconds ago, so content is compared as well. settled: the window is as short as a tick allows, so that
most files are compared by their records alone. coarse: times change once in a hundred seconds, so that content has to tell everything; a
change and change back within a tick cannot be seen there by anybody, and is left out, as is `touch`."""


@dataclass
class Bag:
    """What a hunt brought home."""

    after: list[str]
    """All that may happen after a run."""
    wrong: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    changes: collections.Counter[str] = field(default_factory=collections.Counter)
    standings: collections.Counter[str] = field(default_factory=collections.Counter)
    told: Told = field(default_factory=Told)


def hunt(short: Path, clock: str, rounds: int, monkeypatch: pytest.MonkeyPatch) -> Bag:
    """Play so many rounds."""
    monkeypatch.setenv("HOME", str(short / "home"))
    times_tell = clock != "coarse"
    if clock == "settled":
        monkeypatch.setattr(tree, "RACY_NS", 30_000_000)
        monkeypatch.setattr(tree, "COARSE_RACY_NS", 30_000_000)
    elif clock == "coarse":
        real = tree._fields
        monkeypatch.setattr(tree, "_fields", lambda s: (*real(s)[:3], s.st_mtime_ns // 10**11 * 10**11, s.st_ctime_ns // 10**11 * 10**11))
        monkeypatch.setattr(tree, "COARSE_RACY_NS", 10**13)
    dice = random.Random(f"{SEED} {clock}")
    others = [name for name in OTHERS if times_tell or not (name.startswith("back_") or name == "touch")]
    after = [name for name in AFTER if times_tell or not (name.startswith("back_") or name == "touch")]
    bag = Bag(after=after)
    told = bag.told
    for number in range(rounds):
        if number % 150 == 0:
            shutil.rmtree(short / f"w{number - 150}", ignore_errors=True)
            (short / f"w{number}").mkdir()
            world = World(short / f"w{number}", dice)
            world.write_products()
            scanner = Scanner(str(world.root))
            before, oracle = scanner.scan(), [world.snapshot(with_times=times_tell)]
            told.new_scanner()
        own = {str(world.root / name) for name in PRODUCTS}
        attempt = AttemptId(str(number))
        told.log(AttemptStarted, attempt=attempt, job=JOB, kind="ahead", session=None, generation=before.generation)
        during, since = choose(dice, number, others, after)
        own_work: list[Callable[[], None]] = [world.write_caches, world.write_products]
        steps = [*own_work, *(functools.partial(told.do, name, getattr(world, name)) for name in during)]
        dice.shuffle(steps)
        world.been_away.clear()
        for step in steps:
            step()
        ended = scanner.scan()
        told.scanned(ended)
        oracle.append(world.snapshot(with_times=times_tell))
        settled = freshness.settle(
            scanner.classify(scanner.changes(before.generation, ended.generation)),
            edited=(),
            epoch_before=0,
            epoch_after=0,
            others_wrote=False,
            problem=before.problem or ended.problem,
            known=Products(paths=PRODUCTS),
        )
        told.ended(attempt, printed(oracle[1], own), settled, ended.generation)
        edits = len(told.edits)
        for name in since:
            told.do(name, getattr(world, name))
        world.write_caches()
        if dice.random() < 0.3:
            world.look_at_git()
        asked_s = mono_s()
        asked = scanner.scan()
        told.scanned(asked)
        oracle.append(world.snapshot(with_times=times_tell))
        evidence = Evidence(
            scanner=scanner.id, before=before.generation, after=ended.generation, epoch_before=0, epoch_after=0, ended_mono_s=0.0
        )
        verdict = freshness.judge(
            evidence=evidence,
            end=End(how="code", value=0),
            torn=settled.torn,
            moved=scanner.changes(ended.generation, asked.generation),
            scanner=scanner.id,
            epoch=0,
            now_mono_s=1.0,
            max_age_s=60.0,
            replays=0,
            problem=asked.problem,
        )
        bag.changes.update(during + since)
        bag.standings[verdict.standing.value] += 1
        told.asked(attempt, asked_s, verdict.standing is Standing.FRESH, printed(oracle[2], own))
        moved_during = {path for path in oracle[0].keys() | oracle[1].keys() if oracle[0].get(path) != oracle[1].get(path)} - own
        moved_since = {path for path in oracle[1].keys() | oracle[2].keys() if oracle[1].get(path) != oracle[2].get(path)}
        if not moved_since:
            del told.edits[edits:]  # all was put back before anybody looked: to the command nothing happened
        story = f"round {number}: during {during}, since {since}: {verdict.reason}"
        if verdict.standing is Standing.FRESH and (during or moved_during or moved_since):
            bag.wrong.append(f"{story}; the oracle saw {sorted(moved_during)[:3]} and then {sorted(moved_since)[:3]}")
        if verdict.standing is not Standing.FRESH and not during and not since:
            bag.needless.append(story)
        before, oracle = asked, oracle[2:]
    return bag


@pytest.mark.slow
@pytest.mark.timeout(0 if SOAK else 300)
@pytest.mark.parametrize("clock", CLOCKS)
def test_no_result_is_joined_that_should_not_be_and_none_is_missed_that_need_not(short, clock, monkeypatch):
    """A-2, A-3, F40, F41: 0 wrong joins, 0 needless misses."""
    began_s = mono_s()
    bag = hunt(short, clock, ROUNDS, monkeypatch)
    told = bag.told
    print(
        f"{clock}: {ROUNDS} rounds, {bag.changes.total()} changes of {len(bag.changes)} kinds, seed {SEED}, {mono_s() - began_s:.0f} s: "
        f"{dict(bag.standings)}, {len(bag.wrong)} wrong"
    )
    assert bag.wrong == []
    assert check(lines(told.as_it_was), told.deliveries, told.edits) == []
    objections = [violation for violation in check(lines(told.always_joined), (), told.edits) if violation.kind == "no place for an edit"]
    assert len(objections) == len(told.edits) > 0
    assert bag.needless == []
    assert set(bag.standings) == {"fresh", "stale", "torn"}, "every kind of round was met"
    assert set(bag.changes) == set(bag.after), "every kind of change was met"


BLIND = {
    "the mode of files": ("chmod", lambda change: change.of is FileClass.SOURCE and "/f" in change.path),
    "ignored files": ("edit_ignored", lambda change: change.path in (".env", "local/data.json")),
    "what git knows": ("empty_commit", lambda change: change.of is FileClass.GIT),
    "what is installed": ("upgrade", lambda change: change.of is FileClass.DEPENDENCY),
    "what links lead to": ("edit_outside", lambda change: change.path.startswith("/") or change.path == "single"),
    "nested repositories": ("edit_nested", lambda change: change.path.startswith(("nested/", "sub/"))),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BLIND)
def test_a2_a_scanner_that_is_blind_to_one_thing_is_caught(short, what, monkeypatch):
    """The hunt itself is held to account: a defect put in on purpose is found within as many rounds as it takes to meet it once."""
    name, unseen = BLIND[what]
    real = Scanner.changes
    monkeypatch.setattr(Scanner, "changes", lambda *args: tuple(change for change in real(*args) if not unseen(change)))
    bag = hunt(short, "settled", 2 * len(OTHERS), monkeypatch)
    assert any(name in story for story in bag.wrong)
