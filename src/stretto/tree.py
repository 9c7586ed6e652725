"""What a project is on disk right now, and what moved since. Hides file systems, git and package folders behind generations.

Promises:

- `Scanner.scan` looks at everything, every time: no watcher, no "probably unchanged". Two scans with nothing in between differ in nothing,
  and a change of content, kind, mode, name or link target between two scans is found even when size and mtime were put back (the
  change time tells), and even when it fell into the same tick of the clock (files changed in the last seconds are compared by content).
- A file that was changed and changed back between two scans counts as moved.
- Nothing in the project or its `.git` is ever written or locked: git is asked to read only, with GIT_OPTIONAL_LOCKS=0 (F53, F60).
- What cannot be seen completely is said in `Scan.problem`; then no result may be used.

How a scan is made. The project and the outside folders it leads to are walked with scandir. Per folder one dict of name -> record:

    regular or special file   (mode, inode, size, mtime, ctime)
    symbolic link             the same and its target
    folder                    (mode, uid, gid); its own times move with every cache written into it, so only a change time that is not
                              also the modification time counts: that is a rename or a chmod of the folder itself

so an unchanged folder is one comparison in C. Everything else is a fact, key -> value: `git:<folder>` (HEAD, refs, index entries, config),
`deps:<folder>` (a virtual environment, node_modules), an absolute path (target of a link, a configuration file above the project).

Racy files: the kernel's clock moves in ticks, so a second write within the tick of the first leaves the same times. A file whose change
time lies within `RACY_NS` before the scan is therefore hashed, and hashed again by the next scan, until its change time is old enough
that any later write must show. A clock with whole seconds only gets a longer window, a remote file system a much longer one.

Longer than 500 lines because it is one idea: every kind of input ends as one record in one map that one comparison looks at.
"""

from __future__ import annotations

import hashlib
import operator
import os
import re
import secrets
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stretto.model import Change, FileClass

# --- what is left out, and the limits -----------------------------------------------------------------------------------------

CACHES = {
    "__pycache__": "byte code; Python compares it with the source's time and size, or does without",
    ".pytest_cache": "last failures and timings; read only by --lf, --ff, --nf and --sw, which are steered and never joined",
    ".mypy_cache": "parsed modules keyed by hash; mypy checks again whatever does not match",
    ".ruff_cache": "findings keyed by content and settings; ruff checks again whatever does not match",
    ".eslintcache": "findings keyed by content and settings; read only by --cache, which is steered",
}
"""Names no scan looks at, each with why no outcome depends on it. Files tracked by git are looked at even there. `.cache`, `.hypothesis`,
`.tox`, `.coverage` and `*.tsbuildinfo` are not here: tools read them back and say something else because of them."""

NODE_CACHES = {
    ".cache": "build caches of babel, webpack and others, keyed by content",
    ".bin": "links made from the packages' own lists; its folder's times are compared",
    ".pnpm": "the packages themselves, named by version; the links to them are compared",
    ".store": "the same for yarn",
}
"""Folders right inside a node_modules with a lock file that are not walked."""

RACY_NS = 2_000_000_000
COARSE_RACY_NS = 3_000_000_000
"""For times that are whole seconds: FAT counts in steps of two, and the kernel's clock lags by up to a tick."""
REMOTE_RACY_NS = 300_000_000_000
"""For file systems whose times come from another machine's clock."""

MAX_ENTRIES = 200_000
MAX_OUTSIDE = 20_000
MAX_UNMARKED = 20_000
"""Entries of one node_modules without a lock file of its own."""
MAX_HASH_BYTES = 256 << 20
"""Racy content read in one scan; a file beyond it counts as moved instead."""
MAX_LOGGED = 400_000
"""Changed paths remembered; older generations are forgotten, and a question about them is answered with "everything moved"."""
GIT_TIMEOUT_S = 30

NODE_MARKERS = (".package-lock.json", ".yarn-integrity", ".yarn-state.yml", ".modules.yaml")

PSEUDO = ("/dev", "/proc", "/sys", "/run", "/nix/store")
"""Not walked when a link leads there: no files, or files that never change under one name."""

NO_CHANGE_TIME = frozenset({"vfat", "msdos", "exfat"})
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "vboxsf", "prl_fs", "ceph", "glusterfs", "lustre", "afs"})

ABOVE = tuple(
    """
    pyproject.toml setup.cfg tox.ini pytest.ini .pytest.ini pytest.toml conftest.py .coveragerc mypy.ini .mypy.ini .flake8 .pylintrc pylintrc
    ruff.toml .ruff.toml pyrightconfig.json .python-version package.json tsconfig.json jsconfig.json .npmrc .nvmrc .node-version .yarnrc.yml
    .eslintrc .eslintrc.js .eslintrc.cjs .eslintrc.json .eslintrc.yml .eslintrc.yaml eslint.config.js eslint.config.mjs eslint.config.cjs
    .eslintignore .prettierrc .prettierrc.json .prettierrc.yaml .stylelintrc biome.json .babelrc babel.config.js .browserslistrc deno.json
    .editorconfig .env .envrc .tool-versions mise.toml .mise.toml Cargo.toml .cargo/config.toml .cargo/config rust-toolchain rust-toolchain.toml
    rustfmt.toml .rustfmt.toml clippy.toml .clippy.toml go.mod go.work .golangci.yml .golangci.yaml .rubocop.yml .ruby-version Gemfile
    phpunit.xml composer.json build.gradle settings.gradle gradle.properties .gradle/gradle.properties pom.xml .m2/settings.xml
    global.json Directory.Build.props nuget.config Makefile .gitconfig .config/git/config .config/git/ignore .config/git/attributes
    .config/ruff/ruff.toml .config/ruff/pyproject.toml .config/mypy/config .config/pycodestyle .config/flake8 .config/mise/config.toml
    """.split()
)
"""Configuration that tools look for in the folders above a project and in the home folder; compared where it exists."""

TOUCHED = " (index rewritten)"
"""`freshness.INDEX_REWRITTEN`, which is of the same rank and cannot be imported; a test compares the two."""

Stat = tuple[int, int, int, int, int]
Fields = tuple[object, ...]

_fields = operator.attrgetter("st_mode", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


class _Problem(Exception):
    """Something cannot be seen completely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one scan found."""

    generation: int
    """1 for a scanner's first; the same as before when nothing moved."""
    moved: tuple[Change, ...]
    """Since the scan before this one, not classified; () for the first."""
    took_ms: float
    problem: str
    """Why what was seen is not everything, "" when it is; while it is not, nothing may be called fresh."""


# --- small readers ------------------------------------------------------------------------------------------------------------


def _record(found: os.stat_result) -> Stat:
    fields: Stat = _fields(found)
    return fields


def _stat(path: str) -> Stat | None:
    """The record of what `path` leads to, None when there is nothing."""
    try:
        return _record(os.stat(path))
    except (OSError, ValueError):
        return None


def _lstat(path: str) -> Stat | None:
    try:
        return _record(os.lstat(path))
    except (OSError, ValueError):
        return None


def _read(path: str, limit_bytes: int = 1 << 20) -> bytes:
    """The first bytes of a small file, b"" when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return os.read(descriptor, limit_bytes)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _content(path: str, record: Stat) -> bytes:
    """Hash a file of which `record` was just taken; an answer that never repeats when it moves meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return b"closed"  # for the run, too: another user's run has another context and never joins
    except OSError:
        return secrets.token_bytes(16)
    try:
        if _record(os.fstat(descriptor)) != record:
            return secrets.token_bytes(16)
        digest = hashlib.blake2b(digest_size=16)
        while chunk := os.read(descriptor, 1 << 18):
            digest.update(chunk)
        if _record(os.fstat(descriptor)) != record:
            return secrets.token_bytes(16)
        return digest.digest()
    except OSError:
        return secrets.token_bytes(16)
    finally:
        os.close(descriptor)


def _digest(value: object) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _shown(key: str) -> str:
    """A path as `Change.path` spells it: the same where it is UTF-8, else with the odd bytes escaped."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return os.fsencode(key).decode("utf-8", "backslashreplace")
    return key


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _file_systems() -> dict[int, str]:
    """Device number -> type of file system; empty where the system does not tell."""
    found = {}
    for line in _read("/proc/self/mountinfo", 1 << 22).decode("utf-8", "replace").splitlines():
        fields = line.split(" ")
        try:
            major, minor = fields[2].split(":")
            found[os.makedev(int(major), int(minor))] = fields[fields.index("-") + 1]
        except (IndexError, ValueError):
            continue
    return found


# --- git ----------------------------------------------------------------------------------------------------------------------

_GIT_FILES = ("HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "config.worktree", "info/sparse-checkout")
_GIT_SHARED = ("packed-refs", "config", "shallow", "info/exclude", "info/attributes", "info/grafts", "objects/info/alternates")
_GIT_FOLDERS = ("rebase-merge", "rebase-apply")
_TRACKED_CACHE = re.compile(rb"\t((?:[^\0]*/)?(?:" + b"|".join(re.escape(name.encode()) for name in CACHES) + rb"))(?=[/\0])")


def _git(folder: str, *argv: str, data: bytes = b"") -> tuple[int, bytes]:
    """Run git read-only in `folder`; -> exit code, standard output. -1 when it cannot be run or does not end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_GLOBAL")}
    # core.fsmonitor would run a program the repository names; STRETTO=off keeps a shim of ours called `git` from asking us back.
    env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "STRETTO": "off"}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=keep", *argv],
            cwd=folder,
            env=env,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return -1, b""
    return done.returncode, done.stdout


class _Repository:
    """One repository found in the walk: where its git folder is, and its index as last read."""

    def __init__(self, path: str, key: str) -> None:
        self.path = path
        self.key = key
        self.git = ""
        self.common = ""
        self.index: tuple[Stat | None, bytes] | None = None
        self.entries = b""
        self.tracked = b""
        self.tracked_caches: frozenset[str] = frozenset()

    def locate(self) -> bool:
        """Find the git folder (a `.git` file of a worktree or submodule names it); False when this is no repository."""
        git = os.path.join(self.path, ".git")
        text = _read(git, 8192)
        if text.startswith(b"gitdir:"):
            git = os.path.normpath(os.path.join(self.path, os.fsdecode(text[7:].strip())))
        common = os.fsdecode(_read(os.path.join(git, "commondir"), 8192).strip())
        self.git = git
        self.common = os.path.normpath(os.path.join(git, common)) if common else git
        return os.path.isfile(os.path.join(git, "HEAD")) or os.path.islink(os.path.join(git, "HEAD"))

    def read_index(self, record: Stat | None, content: bytes) -> bool:
        """Read the entries anew when the index is not the one last read; True when it was written anew with equal entries."""
        if self.index == (record, content):
            return False
        first, before = self.index is None, self.entries
        self.index = (record, content)
        if record is None:
            self.entries, self.tracked = b"none", b""
        else:
            code, out = _git(self.path, "ls-files", "-s", "-v", "-z")
            if code == 0:
                self.entries, self.tracked = hashlib.blake2b(out, digest_size=16).digest(), out
            else:  # a foreign owner, a damaged index, no git: every rewriting counts
                self.entries, self.tracked = repr((record, content)).encode(), b""
        caches = {os.fsdecode(found) for found in _TRACKED_CACHE.findall(b"\t".join((b"", *self.tracked.split(b"\t"))))}
        self.tracked_caches = frozenset(self.below(cache) for cache in caches)
        return not first and self.entries == before

    def below(self, name: str) -> str:
        """The key of a path of this repository."""
        return f"{self.key}/{name}" if self.key else name

    def tracks(self, key: str) -> bool:
        """Say whether git holds files in the folder `key`."""
        name = key[len(self.key) + 1 :] if self.key else key
        return b"\t" + os.fsencode(name) + b"/" in self.tracked


# --- installed packages -------------------------------------------------------------------------------------------------------


class _Folders:
    """Listings of package folders, read again only when the folder's own times moved."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Stat, bytes, bool]] = {}

    def listing(self, path: str, record: Stat, line_ns: int) -> tuple[bytes, bool]:
        """-> digest of one level of names and records (byte code left out), whether a `direct_url.json` is among them."""
        known = self._known.get(path)
        if known is not None and known[0] == record:
            return known[1], known[2]
        entries: list[Fields] = []
        direct = False
        try:
            with os.scandir(path) as found:
                for entry in found:
                    if entry.name in CACHES:
                        continue
                    direct = direct or entry.name == "direct_url.json"
                    if entry.is_symlink():
                        entries.append((entry.name, os.readlink(entry.path)))
                    elif entry.is_dir(follow_symlinks=False):
                        entries.append((entry.name,))
                    else:
                        entries.append((entry.name, *_record(entry.stat(follow_symlinks=False))))
        except OSError as error:
            return _digest(("closed", error.errno)), False
        digest = _digest(sorted(entries, key=repr))
        if record[4] < line_ns:
            self._known[path] = (record, digest, direct)
        else:
            self._known.pop(path, None)
        return digest, direct

    def clear(self) -> None:
        self._known.clear()


def _site_folders(prefix: str) -> list[str]:
    """The folders packages are installed into under a Python prefix."""
    found = []
    for lib in ("lib", "lib64"):
        folder = os.path.join(prefix, lib)
        if os.path.islink(folder):
            continue
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.startswith(("python", "pypy")):
                for packages in ("site-packages", "dist-packages"):
                    candidate = os.path.join(folder, name, packages)
                    if os.path.isdir(candidate):
                        found.append(candidate)
    return sorted(found)


class _Installed(NamedTuple):
    """One site-packages: what is compared, the files in it that count themselves, and the folders it leads to."""

    fact: Fields
    files: list[tuple[str, Stat]]
    leads_to: list[str]


def _installed(site: str, folders: _Folders, line_ns: int) -> _Installed:
    fact: list[Fields] = []
    files: list[tuple[str, Stat]] = []
    leads_to: list[str] = []
    try:
        with os.scandir(site) as found:
            entries = list(found)
        for entry in entries:
            if entry.name in CACHES:
                continue
            record = _record(entry.stat(follow_symlinks=False))
            if entry.is_symlink():
                fact.append((entry.name, *record, os.readlink(entry.path)))
                if os.path.isdir(entry.path):
                    leads_to.append(os.path.realpath(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                digest, direct = folders.listing(entry.path, record, line_ns)
                fact.append((entry.name, record[0], record[1], digest))
                if direct:
                    leads_to += _direct_url(_read(os.path.join(entry.path, "direct_url.json")))
            else:
                fact.append((entry.name, *record))
                files.append((entry.path, record))
                if entry.name.endswith((".pth", ".egg-link")):
                    leads_to += _path_lines(site, _read(entry.path), first_only=entry.name.endswith(".egg-link"))
    except FileNotFoundError:
        fact.append(("gone",))
    fact.sort(key=repr)
    return _Installed(tuple(fact), files, leads_to)


def _path_lines(site: str, text: bytes, *, first_only: bool) -> list[str]:
    lines = [os.fsdecode(line.strip()) for line in text.splitlines()]
    paths = [line for line in lines if line and not line.startswith(("#", "import ", "import\t"))]
    joined = [os.path.normpath(os.path.join(site, path)) for path in (paths[:1] if first_only else paths)]
    return [path for path in joined if os.path.isdir(path)]


_FILE_URL = re.compile(rb'"url"\s*:\s*"file://([^"]*)"')


def _direct_url(text: bytes) -> list[str]:
    """The folder of an editable install, from its direct_url.json (PEP 610)."""
    found = _FILE_URL.search(text)
    if found is None or b'"editable"' not in text:
        return []
    from urllib.parse import unquote_to_bytes  # only where there is an editable install

    path = os.fsdecode(unquote_to_bytes(found.group(1)))
    return [os.path.normpath(path)] if os.path.isdir(path) else []


# --- the scanner --------------------------------------------------------------------------------------------------------------

Listing = dict[str, Fields]
"""Name -> record, of one folder."""


class _Pass:
    """What one scan gathers."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.window_ns = RACY_NS
        self.listings: dict[str, Listing] = {}
        self.folder_ctimes: dict[str, int] = {}
        self.facts: dict[str, Fields] = {}
        self.racy: dict[str, tuple[str, Stat]] = {}
        """Path -> the key to report, its record."""
        self.links: list[tuple[str, str, str]] = []
        self.outside: dict[str, None] = {}
        self.repositories: dict[str, _Repository] = {}
        self.packages: dict[str, None] = {}
        """Absolute paths of folders whose inside is compared by their list only."""
        self.changed: set[str] = set()
        self.problems: list[str] = []
        self.devices: set[int] = set()

    def is_racy(self, record: Stat) -> bool:
        age_ns = self.now_ns - record[4]
        return age_ns <= self.window_ns or (age_ns <= COARSE_RACY_NS and record[4] % 1_000_000_000 == 0)

    @property
    def line_ns(self) -> int:
        """What changed before this moment is certainly not racy."""
        return self.now_ns - max(self.window_ns, COARSE_RACY_NS)


class _Budget:
    """How many entries one tree may have."""

    def __init__(self, left: int, what: str) -> None:
        self.limit = left
        self.left = left
        self.what = what


class Scanner:
    """Keeps one map of a project and a log of which paths moved in which generation. One caller at a time."""

    def __init__(self, root: bytes | str) -> None:
        """Prepare for the project at `root`; nothing is read yet."""
        self.root = os.path.realpath(os.fsdecode(root))
        self.id = secrets.token_hex(8)
        self.generation = 0
        self._listings: dict[str, Listing] = {}
        self._folder_ctimes: dict[str, int] = {}
        self._facts: dict[str, Fields] = {}
        self._racy: dict[str, bytes] = {}
        self._repositories: dict[str, _Repository] = {}
        self._packages: dict[str, None] = {}
        self._outside: dict[str, None] = {}
        self._folders = _Folders()
        self._log: dict[int, frozenset[str]] = {}
        self._logged = 0
        self._oldest = 0
        self._dir_moved: dict[str, int] = {}
        """Folders that appeared or vanished, with the generation: git's patterns ask what a path that is gone had been."""
        self._odd: dict[str, str] = {}
        """`Change.path` -> the path itself, where the two differ."""
        self._last_ns = 0
        self._problem = "it has not been looked at yet"
        self._home = os.path.expanduser("~")

    # -- asking

    def scan(self) -> Scan:
        """Look at everything now and say what moved since the scan before.

        Raises nothing that the file system does: it is said in `problem`.
        """
        started = time.perf_counter()
        found = _Pass(time.time_ns())
        if self._last_ns > found.now_ns:  # the clock was set back: times no longer order what happened
            found.window_ns = max(found.window_ns, self._last_ns - found.now_ns + RACY_NS)
        try:
            self._look(found)
        except (_Problem, OSError, RecursionError) as error:
            # Nothing is compared with a half-made map: the old one stands, and the next whole scan tells what moved.
            self._problem = str(error)
            return Scan(generation=self.generation, moved=(), took_ms=(time.perf_counter() - started) * 1e3, problem=self._problem)
        first = self.generation == 0
        self._compare(found)
        self._problem = "; ".join(found.problems)
        self._last_ns = found.now_ns
        if first:
            found.changed.clear()
            self.generation = 1
            self._log[1] = frozenset()
        elif found.changed:
            self.generation += 1
            self._log[self.generation] = frozenset(found.changed)
            self._logged += len(found.changed)
            self._forget()
        moved = tuple(self._change(key) for key in sorted(found.changed))
        return Scan(generation=self.generation, moved=moved, took_ms=(time.perf_counter() - started) * 1e3, problem=self._problem)

    def changes(self, after: int, until: int) -> tuple[Change, ...]:
        """Return every path that moved after generation `after`, up to and with `until`; sources and ignored files both as sources.

        A question about generations this scanner does not know (any more) is answered with one change of an unnamed path, so that
        whoever asks takes everything for moved.
        """
        if after < max(self._oldest, 1) or until > self.generation or after > until:
            return (Change(path="(more than is remembered)", of=FileClass.SOURCE),)
        keys: set[str] = set()
        for generation in range(after + 1, until + 1):
            keys |= self._log[generation]
        return tuple(self._change(key) for key in sorted(keys))

    def classify(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Tell ignored files from sources, by what git says now; where git cannot be asked everything stays a source.

        A folder that came or went counts as ignored when all that moved in it is ignored: git itself knows no folders.
        """
        changes = tuple(changes)
        keys = {change.path: self._odd.get(change.path, change.path) for change in changes if change.of is FileClass.SOURCE}
        by_repository: dict[str, list[str]] = {}
        for key in keys.values():
            place = self._repository_of(key)
            if place is not None:
                by_repository.setdefault(place, []).append(key)
        ignored: set[str] = set()
        for place, members in by_repository.items():
            ignored |= self._ignored(self._repositories[place], members)
        ignored |= self._ignored_folders([key for key in keys.values() if key not in ignored], set(keys.values()), ignored)
        return tuple(
            Change(path=change.path, of=FileClass.IGNORED)
            if change.of is FileClass.SOURCE and keys[change.path] in ignored
            else change
            for change in changes
        )

    def covers(self, path: bytes | str) -> bool:
        """Say whether a write to this absolute path would show in the next scan.

        It would not in a cache, deep inside an installed package, in `.git`, or outside: whoever learns of such a write begins an epoch.
        """
        text = os.fsdecode(path)
        text = os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text))
        tops = [self.root, *self._outside]
        top = next((top for top in tops if _within(text, top)), None)
        if top is None or any(_within(text, folder) for folder in self._packages):
            return False
        return not any(part in CACHES or part == ".git" for part in text[len(top) :].split("/"))

    def digest(self) -> str:
        """Return a text that is the same for two scanners exactly when they saw the same; "" when that cannot be told now.

        Compared across a restart of the supervisor. Not before the first scan, not while a file changed seconds ago, and not while
        something could not be seen.
        """
        if self._problem or self._racy:
            return ""
        digest = hashlib.blake2b(digest_size=16)
        for table in (self._listings, self._facts):
            for key in sorted(table):
                value = table[key]
                text = repr((key, sorted(value.items()) if isinstance(value, dict) else value))
                digest.update(text.encode("utf-8", "surrogateescape"))
        digest.update(repr(sorted(self._folder_ctimes.items())).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    # -- looking

    def _look(self, found: _Pass) -> None:
        if not os.path.isdir(self.root):
            raise _Problem(f"cannot read project {self.root}: it is not there")
        self._walk(found, self.root, "", _Budget(MAX_ENTRIES, "the project"))
        self._above(found)
        links, done = 0, set()
        while True:
            while links < len(found.links):
                self._follow(found, *found.links[links])
                links += 1
            waiting = [path for path in found.outside if path not in done]
            if not waiting:
                break
            path = waiting[0]
            done.add(path)
            if any(_within(path, other) for other in (self.root, *(done - {path}))):
                continue
            self._walk(found, path, path, _Budget(MAX_OUTSIDE, f"{path}, which a link or an editable install leads to,"))
        self._racy_content(found)

    def _walk(self, found: _Pass, top: str, top_key: str, budget: _Budget) -> None:
        stack: list[tuple[str, str, _Repository | None, _Budget]] = [(top, top_key, None, budget)]
        fields, lstat_of, readlink = _fields, os.DirEntry.stat, os.readlink
        folder_ctimes, old_ctimes = found.folder_ctimes, self._folder_ctimes
        while stack:
            path, key, repository, budget = stack.pop()
            prefix = key + "/" if key else ""
            line = found.line_ns
            names: Listing = {}
            below: list[str] = []
            racy: list[tuple[str, Stat]] = []
            has_git = False
            try:
                entries = os.scandir(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since its parent was read; the next scan tells
            except PermissionError:
                if os.access(path, os.X_OK):  # not to be listed, but files in it can be opened by name
                    found.problems.append(f"{_shown(key or path)} cannot be listed")
                names[""] = ("closed",)
                found.listings[key] = names
                continue
            with entries:
                for entry in entries:
                    name = entry.name
                    try:
                        if entry.is_symlink():
                            target = readlink(entry.path)
                            names[name] = (*fields(lstat_of(entry, follow_symlinks=False)), target)
                            found.links.append((prefix + name, entry.path, target))
                        elif entry.is_dir(follow_symlinks=False):
                            if name == ".git":
                                has_git = True
                                continue
                            if name in CACHES and not (repository is not None and prefix + name in repository.tracked_caches):
                                continue
                            seen = lstat_of(entry, follow_symlinks=False)
                            names[name] = (seen.st_mode, seen.st_uid, seen.st_gid)
                            if seen.st_dev not in found.devices:
                                self._device(found, seen.st_dev, entry.path)
                            folder_ctimes[prefix + name] = seen.st_ctime_ns
                            if seen.st_ctime_ns != seen.st_mtime_ns and old_ctimes.get(prefix + name) not in (None, seen.st_ctime_ns):
                                found.changed.add(prefix + name)
                            below.append(name)
                        else:
                            if name in CACHES and not (repository is not None and prefix + name in repository.tracked_caches):
                                continue
                            record = fields(lstat_of(entry, follow_symlinks=False))
                            names[name] = record
                            if record[4] >= line:
                                racy.append((name, record))
                            if name == ".git":
                                has_git = True
                    except FileNotFoundError:
                        continue  # gone since the folder was listed
            budget.left -= len(names)
            if budget.left < 0:
                raise _Problem(f"{budget.what} has more than {budget.limit} entries")
            if has_git:
                repository = self._repository(found, path, key) or repository
                if repository is not None and repository.tracked_caches:
                    below += self._tracked_here(path, prefix, repository, names, folder_ctimes)
            if key != top_key and ("pyvenv.cfg" in names or "conda-meta" in names) and not (repository and repository.tracks(key)):
                self._environment(found, path, key)
                continue
            for name, record in racy:
                if found.is_racy(record):
                    found.racy[prefix + name if top_key else f"{top}/{prefix}{name}"] = (prefix + name, record)
            found.listings[key] = names
            for name in below:
                child = f"{path}/{name}"
                if name == "node_modules" and not (repository and repository.tracks(prefix + name)):
                    walked = self._modules(found, child, prefix + name)
                    limit = budget if walked else _Budget(MAX_UNMARKED, f"{_shown(prefix + name)}, which has no lock file in it,")
                    for folder in (name,) if walked is None else [f"{name}/{hidden}" for hidden in walked]:
                        stack.append((f"{path}/{folder}", prefix + folder, repository, limit))
                elif child != self.root:
                    stack.append((child, prefix + name, repository, budget))

    def _tracked_here(
        self, path: str, prefix: str, repository: _Repository, names: Listing, folder_ctimes: dict[str, int]
    ) -> list[str]:
        """Caches that git tracks right in a repository's own top folder: its index was not read yet when they were passed over."""
        more = []
        for name in CACHES:
            if prefix + name in repository.tracked_caches and name not in names:
                try:
                    seen = os.lstat(f"{path}/{name}")
                except OSError:
                    continue
                if stat.S_ISDIR(seen.st_mode):
                    names[name] = (seen.st_mode, seen.st_uid, seen.st_gid)
                    folder_ctimes[prefix + name] = seen.st_ctime_ns
                    more.append(name)
                else:
                    names[name] = _record(seen)
        return more

    def _device(self, found: _Pass, device: int, path: str) -> None:
        found.devices.add(device)
        kind = _file_systems().get(device, "")
        if kind in NO_CHANGE_TIME:
            found.problems.append(f"{_shown(path)} is on a {kind} file system, which keeps no change times")
        elif kind in REMOTE or kind.startswith("fuse"):
            found.window_ns = max(found.window_ns, REMOTE_RACY_NS)

    def _note(self, found: _Pass, path: str, key: str, record: Stat | None) -> Stat | None:
        """Have a file that is part of a fact compared by content while it is racy; -> its record."""
        if record is not None and stat.S_ISREG(record[0]) and found.is_racy(record):
            found.racy[path] = (key, record)
        return record

    # -- git

    def _repository(self, found: _Pass, path: str, key: str) -> _Repository | None:
        repository = self._repositories.get(key) or _Repository(path, key)
        if not repository.locate():
            return None
        found.repositories[key] = repository
        fact_key = f"git:{key or '.'}"
        parts: list[Fields] = [(repository.git, repository.common)]
        places = [(repository.git, name) for name in _GIT_FILES] + [(repository.common, name) for name in _GIT_SHARED]
        for folder, name in places:
            file = f"{folder}/{name}"
            parts.append((name, self._note(found, file, fact_key, _stat(file))))
        parts.append(tuple(os.path.isdir(f"{repository.git}/{name}") for name in _GIT_FOLDERS))
        folders = dict.fromkeys([f"{repository.common}/refs", f"{repository.git}/refs", f"{repository.common}/reftable"])
        budget = _Budget(MAX_OUTSIDE, f"the folder of branches and tags of {_shown(key or 'the project')}")
        for folder in folders:
            for file, record in sorted(self._files(folder, budget)):
                parts.append((file, self._note(found, file, fact_key, record)))
        index = f"{repository.git}/index"
        record = _stat(index)
        content = _content(index, record) if record is not None and found.is_racy(record) else b""
        if repository.index is not None and repository.index[0] == record and not content:
            content = repository.index[1]  # it was racy when it was read, is not any more: compare once more, then let it be
            if content and record is not None and (again := _content(index, record)) != content:
                content = again
        if repository.read_index(record, content):
            found.changed.add(fact_key + TOUCHED)
        parts.append((repository.entries,))
        found.facts[fact_key] = tuple(parts)
        return repository

    def _files(self, folder: str, budget: _Budget) -> Iterator[tuple[str, Stat]]:
        try:
            entries = os.scandir(folder)
        except OSError:
            return
        with entries:
            for entry in entries:
                budget.left -= 1
                if budget.left < 0:
                    raise _Problem(f"{budget.what} has more than {budget.limit} entries")
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "prefetch":  # background fetches of `git maintenance`; nothing reads them by name
                        yield from self._files(entry.path, budget)
                elif (record := _stat(entry.path)) is not None:
                    yield entry.path, record

    def _repository_of(self, key: str) -> str | None:
        """The key of the innermost repository that holds `key` (its own folder belongs to the one around it)."""
        if key.startswith("/"):
            return None
        folder = key
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in self._repositories:
                return folder
        return None

    def _ignored(self, repository: _Repository, keys: list[str]) -> set[str]:
        start = len(repository.key) + 1 if repository.key else 0
        names = {}
        for key in keys:
            is_folder = key in self._dir_moved or os.path.isdir(f"{self.root}/{key}")
            names[os.fsencode(key[start:]) + (b"/" if is_folder and not os.path.lexists(f"{self.root}/{key}") else b"")] = key
        code, out = _git(repository.path, "check-ignore", "-z", "--stdin", data=b"".join(name + b"\0" for name in names))
        if code != 0:
            return set()
        return {names[name] for name in out.split(b"\0") if name in names}

    def _ignored_folders(self, candidates: list[str], all_keys: set[str], ignored: set[str]) -> set[str]:
        found = set()
        for key in candidates:
            if key in self._dir_moved:
                inside = [other for other in all_keys if other.startswith(key + "/") and other not in self._dir_moved]
                if inside and all(other in ignored for other in inside):
                    found.add(key)
        return found

    # -- packages

    def _environment(self, found: _Pass, path: str, key: str) -> None:
        """A virtual or conda environment: its settings, its programs, and the list of what is installed."""
        fact_key = f"deps:{_shown(key)}"
        found.packages[path] = None
        settings = self._note(found, f"{path}/pyvenv.cfg", fact_key, _stat(f"{path}/pyvenv.cfg"))
        parts: list[Fields] = [(settings, _read(f"{path}/pyvenv.cfg"))]
        for folder in ("bin", "conda-meta"):
            for file in self._names(f"{path}/{folder}"):
                record = _lstat(file)
                linked = record is not None and stat.S_ISLNK(record[0])
                parts.append((file, self._note(found, file, fact_key, record), (os.readlink(file), _stat(file)) if linked else None))
        sites = _site_folders(path)
        if re.search(rb"(?im)^include-system-site-packages\s*=\s*true", _read(f"{path}/pyvenv.cfg")):
            base = os.path.realpath(f"{path}/bin/python")
            sites += _site_folders(os.path.dirname(os.path.dirname(base)))
        for site in sites:
            installed = _installed(site, self._folders, found.line_ns)
            parts.append((site, installed.fact))
            for file, record in installed.files:
                self._note(found, file, fact_key, record)
            for target in installed.leads_to:
                self._lead(found, target)
        found.facts[fact_key] = tuple(parts)

    def _names(self, folder: str) -> list[str]:
        try:
            return sorted(f"{folder}/{name}" for name in os.listdir(folder) if name not in CACHES)
        except OSError:
            return []

    def _modules(self, found: _Pass, path: str, key: str) -> list[str] | None:
        """A node_modules: compared by its list when a package manager's lock file is in it.

        Returns the hidden folders in it that are to be walked like sources, None when it has no lock file and is walked whole.
        """
        fact_key = f"deps:{_shown(key)}"
        markers = [(name, self._note(found, f"{path}/{name}", fact_key, _stat(f"{path}/{name}"))) for name in NODE_MARKERS]
        if not any(record for _, record in markers):
            return None
        found.packages[path] = None
        parts: list[Fields] = [*markers]
        hidden = []
        scopes = [""]
        while scopes:
            scope = scopes.pop()
            try:
                with os.scandir(path + scope) as found_entries:
                    entries = list(found_entries)
            except OSError as error:
                parts.append((scope, "closed", error.errno))
                continue
            for entry in entries:
                name = f"{scope}/{entry.name}"
                record = _lstat(entry.path)
                if record is None or entry.name in (".cache", *CACHES):
                    continue
                if entry.is_symlink():
                    parts.append((name, record, os.readlink(entry.path)))
                    real = os.path.realpath(entry.path)
                    if "/node_modules/" not in real and os.path.isdir(real):  # a linked checkout, not another package manager's store
                        self._lead(found, real)
                elif not entry.is_dir(follow_symlinks=False):
                    parts.append((name, self._note(found, entry.path, fact_key, record)))
                elif entry.name.startswith("@") and not scope:
                    scopes.append(name)
                elif entry.name.startswith(".") and not scope and entry.name not in NODE_CACHES:
                    hidden.append(entry.name)
                else:
                    parts.append((name, record))
        found.facts[fact_key] = tuple(sorted(parts, key=repr))
        return hidden

    # -- outside

    def _lead(self, found: _Pass, path: str) -> None:
        """Take a folder outside the project into the scan."""
        real = os.path.realpath(path)
        if not _within(real, self.root) and not any(_within(real, place) for place in PSEUDO):
            found.outside.setdefault(real)

    def _follow(self, found: _Pass, key: str, path: str, target: str) -> None:
        """See to it that what a link leads to is part of the scan."""
        lexical = os.path.normpath(os.path.join(os.path.dirname(path), target))
        plain = "/../" not in "/" + target.lstrip("./") + "/"  # after a name, `..` may leave through another link
        if plain and not os.path.isabs(target) and self._is_scanned(found, lexical):
            return
        real = os.path.realpath(path)
        if self._is_scanned(found, real):
            found.facts[key + " ->"] = (real,)
            return
        record = _stat(real)
        found.facts[key + " ->"] = (real, record is None)
        if record is None:
            return
        if stat.S_ISDIR(record[0]):
            if any(_within(real, place) for place in PSEUDO) or any(_within(real, folder) for folder in found.packages):
                return
            if not _within(real, self.root):
                found.outside.setdefault(real)
            else:  # a cache, or git's own folder: what leads there makes it an input
                self._walk(found, real, real, _Budget(MAX_OUTSIDE, f"{real}, which a link leads to,"))
        elif stat.S_ISREG(record[0]):
            found.facts[_shown(real)] = (self._note(found, real, _shown(real), record),)
        else:
            found.facts[_shown(real)] = (record[0],)

    def _is_scanned(self, found: _Pass, path: str) -> bool:
        if not _within(path, self.root):
            return False
        parts = path[len(self.root) :].split("/")
        if any(part in CACHES or part == ".git" for part in parts):
            return False
        return not any(_within(path, folder) for folder in found.packages) or os.path.isdir(path)

    def _above(self, found: _Pass) -> None:
        """Configuration above the project and in the home folder."""
        folders = [self._home]
        folder = self.root
        while folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
            folders.append(folder)
        for folder in dict.fromkeys(folders):
            for name in ABOVE:
                path = f"{folder.rstrip('/')}/{name}"
                record = _stat(path)
                if record is not None and not _within(path, self.root):
                    found.facts[_shown(path)] = (self._note(found, path, _shown(path), record),)

    # -- comparing

    def _racy_content(self, found: _Pass) -> None:
        """Hash what changed in the last seconds, and what had when the scan before looked."""
        left = MAX_HASH_BYTES
        self._fresh_racy: dict[str, bytes] = {}
        again = {path: entry for path, entry in self._racy_keys.items() if path not in found.racy} if self._racy else {}
        for path, (key, record) in {**again, **found.racy}.items():
            if path in again and _lstat_or_stat(path) != record:
                continue  # it moved: the records say so
            left -= record[2]
            content = _content(path, record) if left >= 0 else secrets.token_bytes(16)
            before = self._racy.get(path)
            if before is not None and self._racy_keys[path][1] == record and before != content:
                found.changed.add(key)
            if path in found.racy:
                self._fresh_racy[path] = content

    def _compare(self, found: _Pass) -> None:
        changed = found.changed
        old_listings = self._listings
        generation = self.generation + 1
        for key, names in found.listings.items():
            old = old_listings.get(key)
            if old == names:
                found.listings[key] = old  # the equal one we have: the new one can go
                continue
            prefix = key + "/" if key else ""
            before = old or {}
            for name, record in names.items():
                if before.get(name) != record:
                    self._moved(changed, prefix + name, before.get(name), record, generation)
            for name in before.keys() - names.keys():
                self._moved(changed, prefix + name, before[name], None, generation)
        for key in old_listings.keys() - found.listings.keys():
            prefix = key + "/" if key else ""
            for name, record in old_listings[key].items():
                self._moved(changed, prefix + name, record, None, generation)
        for key in self._facts.keys() | found.facts.keys():
            if self._facts.get(key) != found.facts.get(key):
                changed.add(key.removesuffix(" ->"))
        self._listings = found.listings
        self._folder_ctimes = found.folder_ctimes
        self._facts = found.facts
        self._racy = self._fresh_racy
        self._racy_keys = found.racy
        self._repositories = found.repositories
        self._packages = found.packages
        self._outside = found.outside
