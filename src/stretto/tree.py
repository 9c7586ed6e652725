"""What a project is on disk right now, and what moved since. Hides file systems, git and package folders behind generations.

Promises:

- `Scanner.scan` looks at everything, every time: no watcher, no "probably unchanged" (decision 0010). A change of content, kind, mode, name
  or link target between two scans is found even when size and modification time were put back (the change time tells), and even when it
  fell into the same tick of the clock (files changed in the last seconds are compared by content).
- A file that was changed and changed back between two scans counts as moved (A-3).
- Nothing in the project or its `.git` is ever written or locked: git is only asked to read, with GIT_OPTIONAL_LOCKS=0 (F53, F60).
- What cannot be seen completely is said in `Scan.problem`; then no result may be used.

How a scan is made. The project and the outside folders it leads to are walked; a folder is listed only when its own times say that
something came or went, each name in it is asked for every time. Per folder one dict, name -> record:

    regular or special file   (mode, inode, size, mtime, ctime)
    symbolic link             the same and its target
    folder                    (mode, uid, gid); its own times move with every cache written into it, so only a change time that is not
                              also the modification time counts: that is a rename or a chmod of the folder itself

so an unchanged folder is one comparison in C. Everything else is a fact, key -> value: git's state of a repository, a virtual environment,
a node_modules, what a link leads to, a configuration file above the project. Keys of facts that are no paths begin with NUL.

Racy files: the kernel's clock moves in ticks, so a second write within the tick of the first leaves the same times. A file whose change
time lies within `RACY_NS` before the scan is therefore hashed, and hashed again by the next scan, until its change time is so old that
any later write must show. A clock with whole seconds only gets a longer window, a remote file system a much longer one.

docs/join.md lists what no scan sees. Longer than 500 lines because it is one idea: every kind of input ends as a record in one map.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import operator
import os
import re
import secrets
import stat
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from stretto import bytecode, manifests
from stretto.carryover import (
    HIDING,
    PYTEST_CONFIG,
    PYTEST_FILES,
    RECIPES,
    STEERING_FILES,
    is_vitest_config,
    pytest_settings,
    recipe_steers,
    runs_pytest,
    steers,
    steers_by_env,
    steers_jest,
    steers_pytest,
)
from stretto.heaps import NEVER, Heap, Moment, Walk, walk
from stretto.model import Change, FileClass
from stretto.workshops import WORKSHOPS, Workshop, is_config, is_named, part, spares

# --- what is left out, and the limits -----------------------------------------------------------------------------------------

CACHES = {
    "__pycache__": "byte code; Python holds it against its source's time and size, and does without; what is not held against it counts",
    ".pytest_cache": "last failures; read only by --lf, --ff, --nf and --sw, which are never joined; looked at where a setting says them",
    ".mypy_cache": "parsed modules by file; mypy checks again whatever does not match",
    ".ruff_cache": "findings by file and settings; ruff checks again whatever does not match; that it is gone counts",
    ".eslintcache": "findings by file; eslint checks again whatever does not match; that it is gone counts",
}
"""Names no scan looks at, each with why no outcome depends on it; what git tracks is looked at even there. `.cache`, `.hypothesis`, `.tox`,
`.coverage` and `*.tsbuildinfo` are not here: tools read them back and say something else because of them."""

FORGETFUL = frozenset({".ruff_cache", ".eslintcache"})
"""Caches whose tools hold a finding against its own file only, though it may hang on another (whether a module is the project's own):
without the cache they can say something else. A run that begins one is none the worse; one that is gone or exchanged is a change."""

NODE_CACHES = {
    ".cache": "caches by tool; not looked at, but that one is gone counts",
    ".vite-temp": "a configuration while it is loaded, under a name that only the process knows that wrote it",
    ".bin": "links made from the packages' own lists; the folder's times are compared",
    ".pnpm": "the packages, named by version; the folder's times and the links to them are compared",
    ".store": "the same for yarn",
}
"""Folders right in a node_modules with a lock file that are not walked; other hidden ones there are generated code or state, and are."""

_VITEST = re.compile(r"(?:^|/)node_modules/(?:\.vitest|\.vite(?:/vitest(?:/[0-9a-f]{40})?)?)$")
"""Folders in which vitest keeps how long each test file took and whether it failed (`VITEST_RESULTS`), by version and by project."""
VITEST_RESULTS = "results.json"
"""Read only to choose the order of test files; looked at where a setting makes the order count (decision 0015)."""

NODE_MARKERS = (".package-lock.json", ".yarn-integrity", ".yarn-state.yml", ".modules.yaml")
NODE_LOCKS = ("package.json", "bun.lock", "bun.lockb", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "deno.lock")
"""Beside a node_modules without a marker, as bun leaves it: it holds packages, and was filled by these."""

RACY_NS = 2_000_000_000
COARSE_RACY_NS = 3_000_000_000
"""For times that are whole seconds: FAT counts in steps of two, and the kernel's clock lags by up to a tick."""
REMOTE_RACY_NS = 300_000_000_000
"""For file systems whose times come from another machine's clock."""

MAX_ENTRIES = 200_000
"""About half a second of each scan, warm. Beyond it the largest folders that git ignores become heaps (`heaps`)."""
ASK_EARLY = 50_000
"""So many entries into the first scan, what git ignores is counted: when that alone is too much, it need not be walked for nothing."""
MAX_OUTSIDE = 20_000
"""Entries of one folder outside the project, which becomes a heap beyond it, or of git's folder of branches and tags."""
MAX_UNMARKED = 20_000
"""Entries of one node_modules without a lock file in it; beyond it it is compared by its list, too, or becomes a heap."""
BESIDE_MOST = 1000
"""In a folder outside with more entries nothing is looked for that a file in it names."""
HEAPS_MOST = 32
RESTARTS = 100
"""How often one scan may begin again because something was found to be larger or other than it seemed."""
REST_S = 600.0
"""A project that was found too large, or a heap, is not walked again for this long, unless somebody changed what is left out."""
MAX_HASH_BYTES = 256 << 20
"""Racy content read in one scan; a file beyond it counts as moved instead."""
MAX_LOGGED = 400_000
"""Changed paths remembered; a question about older generations is answered with "everything moved"."""
GIT_TIMEOUT_S = 30

PSEUDO = ("/proc", "/sys", "/nix/store")
"""Not walked when a link leads there: no files, or files that never change under one name."""
DATED_FOLDERS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs", "ramfs", "zfs"})
"""File systems on which whatever comes or goes in a folder moves the folder's own times; others are listed at every scan."""
NO_CHANGE_TIME = frozenset({"vfat", "msdos", "exfat"})
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "vboxsf", "prl_fs", "ceph", "lustre", "afs"})

ABOVE: dict[str, frozenset[str]] = {}
for _name in """
    pyproject.toml setup.cfg tox.ini pytest.ini .pytest.ini pytest.toml conftest.py .coveragerc mypy.ini .mypy.ini .flake8 .pylintrc
    pylintrc ruff.toml .ruff.toml pyrightconfig.json
    .python-version package.json tsconfig.json jsconfig.json .npmrc .nvmrc .node-version .yarnrc.yml
    .eslintrc .eslintrc.js .eslintrc.cjs .eslintrc.json .eslintrc.yml .eslintrc.yaml eslint.config.js eslint.config.mjs eslint.config.cjs
    .eslintignore .prettierrc .prettierrc.json .prettierrc.yaml .stylelintrc biome.json .babelrc babel.config.js .browserslistrc deno.json
    .editorconfig .env .envrc .tool-versions mise.toml .mise.toml Cargo.toml .cargo/config.toml .cargo/config rust-toolchain
    rust-toolchain.toml rustfmt.toml .rustfmt.toml clippy.toml .clippy.toml go.mod go.work .golangci.yml .golangci.yaml .rubocop.yml
    .ruby-version Gemfile phpunit.xml composer.json build.gradle settings.gradle gradle.properties .gradle/gradle.properties pom.xml
    .m2/settings.xml global.json Directory.Build.props nuget.config .gitconfig .config/git/config .config/git/ignore .config/git/attributes
    .eslintrc.mjs eslint.config.ts eslint.config.mts .prettierrc.js prettier.config.js prettier.config.mjs .prettierrc.toml
    .stylelintrc.json stylelint.config.js biome.jsonc babel.config.json .swcrc deno.jsonc postcss.config.js tailwind.config.js
    turbo.json nx.json pnpm-workspace.yaml .rspec .shellcheckrc .yamllint .clang-format .clang-tidy .golangci.toml
    node_modules/.package-lock.json node_modules/.yarn-integrity node_modules/.yarn-state.yml node_modules/.modules.yaml
    .config/pylintrc .config/yamllint/config .config/go/env .bundle/config .gradle/init.gradle
    .config/ruff/ruff.toml .config/ruff/pyproject.toml .config/mypy/config .config/pycodestyle .config/flake8 .config/mise/config.toml
    """.split():  # noqa: SIM905  (a hundred lines otherwise)
    ABOVE[os.path.dirname(_name)] = ABOVE.get(os.path.dirname(_name), frozenset()) | {os.path.basename(_name)}
"""Configuration that tools look for in the folders above a project and in the home folder, by the folder it lies in there."""

REWRITTEN = "//written anew"
"""`freshness.REWRITTEN`; a test compares the two."""
TOUCHED = " (index rewritten)"
"""`freshness.INDEX_REWRITTEN`, which is of the same rank and cannot be imported; a test compares the two."""

Stat = tuple[int, int, int, int, int]
Fields = tuple[object, ...]
Listing = dict[str, Fields]
"""Name -> record, of one folder."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EINVAL})
"""What opening or reading says when something else, or nothing, is there by now."""

_ABSOLUTE = "\0"
"""Before a path that a manifest names by the whole of it."""

_NEAR = "\1"
"""Before a path that is read out of other configuration, or of a file outside: a folder is followed only where it lies near."""

_OWN = "\0own:"
"""Before the key of what moved in a workshop and is the server's own."""

_fields = operator.attrgetter("st_mode", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


@dataclass(frozen=True, slots=True)
class _Names:
    """What is in a folder, by kind."""

    own: tuple[int, ...]
    """Device and record of the folder itself when it was listed."""
    links: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    """And everything else."""
    vite: tuple[str, ...]
    """Of the files, those in which settings of vitest may stand."""
    manifests: tuple[str, ...]
    """Of the files, those that may name folders outside."""
    settings: tuple[str, ...]
    """Of the files, those that may be configuration and so name what it extends."""


@dataclass(frozen=True, slots=True)
class _ByteCode:
    """What is in a `__pycache__`."""

    own: Stat
    files: dict[str, tuple[Stat, bool]]
    """Name -> record, whether Python takes it without a look at its source."""

    def gone_since(self, before: _ByteCode) -> bool:
        """Say whether something is not there any more, or counts by itself and is not what it was.

        What comes counts for nothing, unless it is taken unseen. Its going does: warnings of the compiler are said again, or are errors.
        """
        if not before.files.keys() <= self.files.keys():
            return True
        for name, (record, unseen) in self.files.items():
            old = before.files.get(name)
            if (unseen and old is None) or (old is not None and old[0] != record and (unseen or old[1])):
                return True
        return False


class _Again(Exception):
    """What was found says that the walk has to look at more."""


class _Problem(Exception):
    """Something cannot be seen completely."""


class _TooMany(_Problem):
    """A tree has more entries than a scan may ask for."""

    def __init__(self, budget: _Budget) -> None:
        super().__init__(f"{_shown(budget.what)} has more than {budget.limit} entries{budget.advice}")
        self.budget = budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one scan found."""

    generation: int
    """1 for a scanner's first scan (0 when that failed); the same as before when nothing moved."""
    moved: tuple[Change, ...]
    """Since the scan before this one, not classified; () for the first. What a development server wrote for itself begins a generation,
    too, but is only in `changes`: it would never stand still."""
    took_ms: float
    problem: str
    """Why what was seen is not everything, "" when it is; as long as it is not, nothing may be called fresh."""
    moment: Moment = NEVER
    """When it began: `Scanner.heaps_moved` is asked about it."""


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


def _lstat(path: str, folder: int | None = None) -> Stat | None:
    """The record of `path` itself, looked up from an open folder where one is given; None when there is nothing."""
    try:
        return _record(os.stat(path, dir_fd=folder, follow_symlinks=False))
    except (OSError, ValueError):
        return None


def _read(path: str, limit_bytes: int = 1 << 20) -> bytes:
    """The first bytes of a regular file, b"" when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, limit_bytes) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def peek(path: str) -> bytes:
    """Return the beginning of a regular file, b"" when there is none to be read."""
    return _read(path, 1 << 16)


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
        return digest.digest() if _record(os.fstat(descriptor)) == record else secrets.token_bytes(16)
    except OSError:
        return secrets.token_bytes(16)
    finally:
        os.close(descriptor)


def _listed_names(folder: int, own: tuple[int, ...]) -> _Names:
    links, folders, files = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                links.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                files.append(entry.name)
    vite, named = filter(is_vitest_config, files), filter(manifests.is_manifest, files)
    settings = list(filter(manifests.is_settings, files))
    settings = settings if len(settings) <= manifests.CONFIGS_MOST else []
    return _Names(own, tuple(links), tuple(folders), tuple(files), tuple(vite), tuple(named), tuple(settings))


def _is_taken_unseen(name: str, folder: int) -> bool:
    """Say whether Python uses this byte code whatever its source says (PEP 552: hash-based and unchecked)."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return False
    try:
        return os.read(descriptor, 8)[4:8] == b"\1\0\0\0"
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _encoded(value: object) -> bytes:
    return repr(value).encode("utf-8", "surrogateescape")


def _digest(value: object) -> bytes:
    return hashlib.blake2b(_encoded(value), digest_size=16).digest()


def _shown(key: str) -> str:
    """A path as `Change.path` spells it: the same where it is UTF-8, else with the odd bytes escaped."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return os.fsencode(key).decode("utf-8", "backslashreplace")
    return key


def _present(folder: str, names: frozenset[str]) -> list[str]:
    try:
        names = names & set(os.listdir(folder))
    except OSError:
        pass  # not to be listed: ask for each
    return [f"{folder.rstrip('/')}/{name}" for name in sorted(names)]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _fitting(pattern: str, budget: _Budget) -> list[str]:
    """Return what an absolute shell pattern fits, hidden names too, each folder read once; a name without `*?[` only if it is there."""
    found = [""]
    for step in pattern.split("/"):
        if step in ("", "."):
            continue
        if not set(step) & set("*?["):
            found = [f"{folder}/{step}" for folder in found if os.path.lexists(f"{folder}/{step}")]
            continue
        below = []
        for folder in found:
            try:
                names = os.listdir(folder or "/")
            except (FileNotFoundError, NotADirectoryError):
                continue
            budget.take(len(names))
            below += [f"{folder}/{name}" for name in names if fnmatch.fnmatchcase(name, step)]
        found = below
    return [path or "/" for path in found]


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

_GIT_OWN = ("HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "config.worktree", "info/sparse-checkout")
_GIT_SHARED = ("packed-refs", "config", "shallow", "info/exclude", "info/attributes", "info/grafts", "objects/info/alternates")
_GIT_FOLDERS = ("rebase-merge", "rebase-apply")
_GIT_ENV_KEPT = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"})


def _git(folder: str, *argv: str, data: bytes = b"") -> tuple[int, bytes]:
    """Run git read-only in `folder`; -> exit code, standard output. -1 when it cannot be run or does not end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _GIT_ENV_KEPT}
    # core.fsmonitor would run a program the repository names; STRETTO=off keeps a shim of ours called `git` from asking us back.
    env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "STRETTO": "off"}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *argv],
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
        self.entries = b""
        self.tracked_caches: frozenset[str] = frozenset()
        self._index: tuple[Stat | None, bytes] | None = None
        self._listed = b""
        self._tracks: dict[str, bool] = {}

    def locate(self) -> bool:
        """Find the git folder (a `.git` file of a worktree or submodule names it); False when this is no repository."""
        git = f"{self.path}/.git"
        text = _read(git, 8192)
        if text.startswith(b"gitdir:"):
            git = os.path.normpath(os.path.join(self.path, os.fsdecode(text[7:].strip())))
        common = os.fsdecode(_read(f"{git}/commondir", 8192).strip())
        self.git = git
        self.common = os.path.normpath(os.path.join(git, common)) if common else git
        return os.path.lexists(f"{git}/HEAD")

    def read_index(self, record: Stat | None, racy: bool) -> bool:
        """Read the entries when the index is not the one last read; True when it was written anew with the entries it had."""
        content = b""
        if self._index is not None and self._index[0] == record:
            if not self._index[1] or record is None:
                return False
            content = _content(f"{self.git}/index", record)
            if content == self._index[1]:
                self._index = (record, content if racy else b"")
                return False
        elif racy and record is not None:
            content = _content(f"{self.git}/index", record)
        first, before = self._index is None, self.entries
        self._index = (record, content)
        self._read_entries(record, content)
        return not first and self.entries == before

    def _read_entries(self, record: Stat | None, content: bytes) -> None:
        code, out = (0, b"") if record is None else _git(self.path, "ls-files", "-s", "-v", "-z")
        # A foreign owner, a damaged index, no git at all: then every rewriting counts as new entries.
        self.entries = hashlib.blake2b(out, digest_size=16).digest() if code == 0 else _encoded((record, content))
        self._listed = out
        self._tracks.clear()
        caches: set[str] = set()
        if any(name.encode() in out for name in CACHES):
            for path in re.findall(rb"\t([^\0]*)\0", out):
                parts = os.fsdecode(path).split("/")
                caches.update("/".join(parts[: at + 1]) for at, part in enumerate(parts) if part in CACHES)
        self.tracked_caches = frozenset(f"{self.key}/{cache}" if self.key else cache for cache in caches)

    def tracks(self, key: str) -> bool:
        """Say whether git holds files in the folder `key`."""
        known = self._tracks.get(key)
        if known is None:
            name = key[len(self.key) + 1 :] if self.key else key
            known = self._tracks[key] = b"\t" + os.fsencode(name) + b"/" in self._listed
        return known

    def has(self, key: str) -> bool:
        """Say whether git tracks the file, or files in the folder, `key`."""
        name = key[len(self.key) + 1 :] if self.key else key
        return b"\t" + os.fsencode(name) + b"\0" in self._listed or self.tracks(key)


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


def _site_folders(prefix: str) -> list[str]:
    """The folders packages are installed into under a Python prefix."""
    found = []
    for lib in (f"{prefix}/lib", f"{prefix}/lib64"):
        try:
            names = [] if os.path.islink(lib) else os.listdir(lib)
        except OSError:
            continue
        for name in names:
            if name.startswith(("python", "pypy")):
                candidates = [f"{lib}/{name}/{packages}" for packages in ("site-packages", "dist-packages")]
                found += [candidate for candidate in candidates if os.path.isdir(candidate)]
    return sorted(found)


@dataclass(slots=True)
class _Installed:
    """One site-packages: what is compared, the files in it that count themselves, and the folders it leads to."""

    fact: list[Fields]
    files: list[tuple[str, Stat]]
    leads_to: list[str]


def _installed(site: str, folders: _Folders, line_ns: int) -> _Installed:
    """List what is installed in one folder.

    A package's own folder is compared by its first level and not by its times: those move when byte code is written into it.
    """
    seen = _Installed([], [], [])
    try:
        entries = list(os.scandir(site))
    except OSError as error:
        seen.fact.append(("closed", error.errno))
        return seen
    for entry in entries:
        record = _lstat(entry.path)
        if entry.name in CACHES or record is None:
            continue
        if entry.is_symlink():
            seen.fact.append((entry.name, *record, os.readlink(entry.path)))
            seen.leads_to.append(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            digest, direct = folders.listing(entry.path, record, line_ns)
            seen.fact.append((entry.name, record[0], record[1], digest))
            if direct:
                seen.leads_to += _direct_url(_read(f"{entry.path}/direct_url.json"))
        else:
            seen.fact.append((entry.name, *record))
            seen.files.append((entry.path, record))
            if entry.name.endswith((".pth", ".egg-link")):
                seen.leads_to += _path_lines(site, _read(entry.path), first_only=entry.name.endswith(".egg-link"))
            elif entry.name.startswith("__editable__") and entry.name.endswith("_finder.py"):
                seen.leads_to += _quoted_paths(_read(entry.path))
    seen.fact.sort(key=repr)
    seen.leads_to = [path for path in seen.leads_to if os.path.isdir(path) and not _within(os.path.realpath(path), site)]
    return seen


def _path_lines(site: str, text: bytes, *, first_only: bool) -> list[str]:
    lines = [os.fsdecode(line.strip()) for line in text.splitlines()]
    code = ("import ", "import\t")
    paths = [line for line in lines if line and not line.startswith(("#", *code))]
    if not first_only:
        paths += [path for line in lines if line.startswith(code) for path in _quoted_paths(os.fsencode(line))]
    return [os.path.normpath(os.path.join(site, path)) for path in (paths[:1] if first_only else paths) if "\0" not in path]


_QUOTED = re.compile(rb"[\"'](/[^\"'\n]{1,1000})[\"']")


def _quoted_paths(text: bytes) -> list[str]:
    """Absolute paths that a line of code or a module says, as the finder of an editable install does of each package."""
    return [os.path.normpath(os.fsdecode(path)) for path in _QUOTED.findall(text) if b"\0" not in path]


_FILE_URL = re.compile(rb'"url"\s*:\s*"file://([^"]*)"')


def _direct_url(text: bytes) -> list[str]:
    """The folder of an editable install, from its direct_url.json (PEP 610)."""
    found = _FILE_URL.search(text)
    if found is None or b'"editable"' not in text:
        return []
    path = os.fsdecode(unquote_to_bytes(found.group(1)))
    return [] if "\0" in path else [os.path.normpath(path)]


# --- one scan's findings ------------------------------------------------------------------------------------------------------


class _Pass:
    """What one scan gathers before it is compared."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.window_ns = RACY_NS
        self.line_ns = now_ns - COARSE_RACY_NS
        """What changed before this moment is certainly not racy."""
        self.listings: dict[str, Listing] = {}
        self.folder_ctimes: dict[str, int] = {}
        self.facts: dict[str, Fields] = {}
        self.names: dict[str, _Names] = {}
        """Path of a folder -> what is in it, where the next scan need not list it again."""
        self.racy: dict[str, tuple[str, Stat]] = {}
        """Path -> the key to report, its record."""
        self.read: dict[str, tuple[str, Stat, bytes]] = {}
        """The same with the hash."""
        self.links: list[tuple[str, str, str]] = []
        """Key, path, target."""
        self.outside: dict[str, None] = {}
        self.repositories: dict[str, _Repository] = {}
        self.packages: dict[str, None] = {}
        """Paths of folders whose inside is compared by their list only."""
        self.workshops: dict[str, tuple[str, Workshop]] = {}
        """Key of a folder with a slash after it -> path of it, the tool it belongs to."""
        self.digests: dict[str, tuple[Fields, bytes]] = {}
        """Path of a file compared by content -> record, hash."""
        self.bytecode: dict[str, _ByteCode] = {}
        """By the key of its `__pycache__`."""
        self.forgetful: dict[str, int] = {}
        """Key of a cache of `FORGETFUL` -> its inode, 0 for a file."""
        self.changed: set[str] = set()
        self.problems: list[str] = []
        self.devices: set[int] = set()
        self.steered: set[str] = set()
        """The tools that a configuration file makes go by their cache (`carryover.steers`)."""
        self.named: dict[str, tuple[str, ...]] = {}
        """Path of a manifest -> what it names outside its folder."""
        self.heaps: dict[str, Heap] = {}

    def note(self, path: str, key: str, record: Stat | None) -> Stat | None:
        """Have a file compared by content while it is racy; -> its record."""
        if record is not None and record[4] >= self.line_ns and stat.S_ISREG(record[0]):
            age_ns = self.now_ns - record[4]
            if age_ns <= self.window_ns or record[4] % 1_000_000_000 == 0:
                self.racy[path] = (key, record)
        return record

    def is_young(self, record: Fields) -> bool:
        """Say whether a file's record is so new that a later change may not show in it."""
        return isinstance(record[4], int) and record[4] >= self.line_ns

    def remote(self) -> None:
        self.window_ns = REMOTE_RACY_NS
        self.line_ns = self.now_ns - REMOTE_RACY_NS


class _Budget:
    """How many entries one tree may have."""

    def __init__(self, limit: int, what: str, top: str = "", key: str = "") -> None:
        """Begin with nothing taken.

        Args:
            top: path of the folder that may become a heap, "" where that does not help.
            key: its key.
        """
        self.limit = self.left = limit
        self.what, self.top, self.key = what, top, key
        self.advice = ""
        self.early: Callable[[], None] | None = None
        """Called once, `ASK_EARLY` entries into it."""

    def take(self, count: int) -> None:
        self.left -= count
        if self.early is not None and self.limit - self.left > ASK_EARLY:
            early, self.early = self.early, None
            early()
        if self.left < 0:
            raise _TooMany(self)


# --- the scanner --------------------------------------------------------------------------------------------------------------


class Scanner:
    """Keeps one map of a project and a log of which paths moved in which generation. One caller at a time."""

    def __init__(self, root: bytes | str) -> None:
        """Prepare for the project at `root`; nothing is read yet."""
        self.root = os.path.realpath(os.fsdecode(root))
        self.id = secrets.token_hex(8)
        self.generation = 0
        self._answered: dict[str, dict[bytes, bool]] = {}
        """What git said of paths in this generation, by repository: whether it ignores them rests on nothing that is not scanned, and each
        command that is known asks for the same changes at each plan."""
        self._listings: dict[str, Listing] = {}
        self._inside: dict[str, _Names] = {}
        self._bytecode: dict[str, _ByteCode] = {}
        self._forgetful: dict[str, int] = {}
        self._digests: dict[str, tuple[Fields, bytes]] = {}
        self._workshops: dict[str, Workshop] = {}
        """Key with a slash -> the tool, of those that git ignores."""
        self._workshops_named: dict[str, tuple[Fields, frozenset[str]]] = {}
        """package.json -> record, the workshops it names."""
        self._folder_ctimes: dict[str, int] = {}
        self._facts: dict[str, Fields] = {}
        self._racy: dict[str, tuple[str, Stat, bytes]] = {}
        """Path -> key, record, hash: what the next scan has to read again."""
        self._repositories: dict[str, _Repository] = {}
        self._packages: dict[str, None] = {}
        self._outside: dict[str, None] = {}
        self._folders = _Folders()
        self._kinds: dict[int, str] = {}
        self._caches = frozenset(CACHES)
        self._by_order = False
        """The order in which vitest runs its files counts, so its earlier results do."""
        self._steering: dict[str, tuple[Stat, frozenset[str]]] = {}
        """Configuration files -> record, which tools they make go by their cache."""
        self._configured: dict[str, tuple[Stat, list[str]]] = {}
        """Folder above the project -> its record, the configuration files in it."""
        self._log: dict[int, frozenset[str]] = {}
        self._logged = 0
        self._oldest = 1
        self._came_or_went: dict[str, int] = {}
        """Folders that appeared or vanished, with the generation: git's patterns ask what a path that is gone had been."""
        self._odd: dict[str, str] = {}
        """`Change.path` -> the path itself, where the two differ."""
        self.inputs: tuple[str, ...] = ()
        """What stretto.toml names as inputs (`rules.Rules.inputs`); whoever keeps the rules sets it, and the next scan looks there."""
        self._declared: frozenset[str] = frozenset()
        """Keys inside the project that are sources although git may ignore them, because `inputs` names them."""
        self._last_ns = 0
        self.leave_out: tuple[str, ...] = ()
        """Folders that stretto.toml says no command reads (`rules.Rules.leave_out`), set like `inputs`."""
        self._leads: dict[str, list[str]] = {}
        """Environment in the project -> folders of sources it leads to."""
        self.led: dict[str, str] = {}
        """Folders to which the environments of calls lead that were asked about (`Tool.leads`), as said and as they are."""
        self._unfit: dict[str, str] = {}
        """Of these the ones that cannot be looked at, and why: nothing of who is led there is joined."""
        self._new_led = False
        """Since the last scan there are more of them: what is found there has not moved, nobody looked before."""
        self._heaps: dict[str, Heap] = {}
        """By key, which is a path for what lies outside."""
        self._heaps_looked = False
        """Since the last scan: one walk answers for all results that are asked about at the same look."""
        self._listed: set[str] = set()
        """Keys of node_modules without a marker that are compared by their lists."""
        self._said: dict[str, tuple[Fields, frozenset[str]]] = {}
        """File outside -> record, the words in it."""
        self._named: dict[str, tuple[Fields, tuple[str, ...]]] = {}
        """Manifest -> record, what it names outside its folder."""
        self._rests: tuple[float, object] = (0.0, None)
        """Until when a project that is too large is not walked again, as long as what may change that is as it was."""
        self._missed = False
        """A scan failed half-way: what moved and moved back meanwhile is not known, so the next whole one counts as moved."""
        self._problem = "it has not been looked at yet"
        self._home = os.path.expanduser("~")

    # -- asking

    def scan(self) -> Scan:
        """Look at everything now and say what moved since the scan before.

        Raises nothing the file system does: that is said in `problem`. After a scan that failed half-way the next whole one compares.
        """
        started = time.perf_counter()
        moment = Moment.now()
        self._heaps_looked = False
        moved: tuple[Change, ...] = ()
        until_s, like = self._rests
        if time.monotonic() >= until_s or like != self._left_out_by():
            try:
                found = self._looked(moment.wall_ns)
            except (_Problem, OSError, RecursionError) as error:
                self._problem = str(error)
                self._missed = True
                if isinstance(error, _TooMany):
                    self._rests = (time.monotonic() + REST_S, self._left_out_by())
            else:
                self._rests = (0.0, None)
                moved = self._compare(found)
                self._problem = "; ".join(found.problems)
        took_ms = (time.perf_counter() - started) * 1e3
        return Scan(generation=self.generation, moved=moved, took_ms=took_ms, problem=self._problem, moment=moment)

    def lead(self, paths: Iterable[str]) -> str:
        """Have the next scans look at folders that the environment of a call leads to, before the call is recorded or joined.

        Returns:
            why one of them cannot be looked at, "" when nothing is known against it.
        """
        for path in paths:
            real = os.path.realpath(path)
            if real in self._unfit:
                return self._unfit[real]
            around = _within(real, self.root) or _within(self.root, real) or _within(self._home, real)
            if path not in self.led and not (around or manifests.is_of_system(real) or self._is_left_out(real)):
                self.led[path] = real
                self._new_led = self.generation > 0
        return ""

    def leads_of(self, environments: Iterable[str]) -> list[str]:
        """Return the folders of sources to which environments lead that the last scan found in the project."""
        return [lead for environment in environments for lead in self._leads.get(environment, ())]

    def heaps_moved(self, since: Moment) -> str:
        """Say what may have changed since in a folder that no scan asks for file by file, "" when nothing has.

        Args:
            since: the `Scan.moment` of a scan that was over before whatever is asked about began.
        """
        if not self._heaps:
            return ""
        if not self._heaps_looked:
            for heap in self._heaps.values():
                heap.look(REST_S)
            self._heaps_looked = True
        if Moment.now().set_back_since(since, RACY_NS // 4):
            return "(the clock was set back)"
        for key, heap in self._heaps.items():
            if heap.moved_since(since):
                return f"{_shown(key)} ({heap.last.trouble})" if heap.last.trouble else _shown(key)
        return ""

    def size(self) -> str:
        """Say what is too large to be looked at file by file, for the user; "" when nothing is."""
        if time.monotonic() < self._rests[0]:
            return self._problem
        said = [f"{_shown(key)}: {heap.last.entries} entries, {heap.last.took_s * 1e3:.0f} ms a look" for key, heap in self._heaps.items()]
        return f"looked at only when a result would be used: {'; '.join(said)}" if said else ""

    def changes(self, after: int, until: int) -> tuple[Change, ...]:
        """Return every path that moved after generation `after`, up to and with `until`; files all as sources, see `classify`.

        A question about generations this scanner does not know (any more) is answered with one change without a name, so that whoever
        asks takes everything for moved.
        """
        if not self._oldest <= after <= until <= self.generation:
            return (Change(path="(more than is remembered)", of=FileClass.SOURCE),)
        keys = set().union(*(self._log[generation] for generation in range(after + 1, until + 1)))
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
            ignored |= self._ignored(self._repositories[place], members, self._answered.setdefault(place, {}))
        ignored |= self._ignored_folders(keys.values(), ignored)
        if self._declared:
            ignored = {key for key in ignored if not any(_within(key, declared) for declared in self._declared)}
        return tuple(
            Change(path=change.path, of=FileClass.IGNORED) if keys.get(change.path) in ignored and change.of is FileClass.SOURCE else change
            for change in changes
        )

    def ignored_folders(self, paths: Iterable[str]) -> dict[str, str]:
        """Return by path the outermost folder that git ignores and that it is or lies in, "" where git ignores only the file itself."""
        around = {path: [path[:at] for at in (*(at for at, char in enumerate(path) if char == "/"), len(path))] for path in paths}
        by_repository: dict[str, set[str]] = {}
        for folders in around.values():
            for folder in folders:
                place = self._repository_of(folder)
                if place is not None and os.path.isdir(f"{self.root}/{folder}"):
                    by_repository.setdefault(place, set()).add(folder)
        ignored: set[str] = set()
        for place, members in by_repository.items():
            ignored |= self._ignored(self._repositories[place], sorted(members), self._answered.setdefault(place, {}))
        return {path: next((folder for folder in folders if folder in ignored), "") for path, folders in around.items()}

    def tracks(self, paths: Iterable[str]) -> bool:
        """Say whether git tracks one of these; outside of any repository nobody can say, and all count as tracked."""
        places = {path: self._repository_of(path) for path in paths}
        return any(place is None or self._repositories[place].has(self._odd.get(path, path)) for path, place in places.items())

    def covers(self, path: bytes | str) -> bool:
        """Say whether a write to this absolute path would show in the next scan.

        It would not in a cache, deep in an installed package, in `.git`, or outside, and in a development server's folder not to
        everybody: who learns of such a write begins an epoch.
        """
        text = os.fsdecode(path)
        text = os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text))
        top = next((top for top in (self.root, *self._outside) if _within(text, top)), None)
        if top is None or any(_within(text, folder) for folder in self._packages):
            return False
        if top == self.root and (self._own_part(text[len(top) + 1 :]) or self._is_left_out(text[len(top) + 1 :])):
            return False
        return not any(name in self._caches or name == ".git" for name in text[len(top) :].split("/"))

    def drop_byte_code(self, paths: Iterable[str], until_ns: int, prefixes: Iterable[str] = ()) -> int:
        """Remove byte code that answers for a source although it was made of an earlier text (`bytecode`); return how much there was.

        That it is gone is no change to the next scan: it is made again of what is there.

        Args:
            paths: sources that moved, as `Change.path` spells them or absolute; others are passed over.
            until_ns: see `bytecode.drop`.
            prefixes: see `bytecode.folders`; only what lies in the project is looked at.
        """
        count = 0
        for path in paths:
            source = os.path.join(self.root, self._odd.get(path, path))
            if not source.endswith((".py", ".pyw")) or os.path.realpath(os.path.dirname(source)) != os.path.dirname(source):
                continue
            for folder in bytecode.folders(source, prefixes):
                key = os.path.relpath(folder, self.root)
                inside = _within(folder, self.root) and os.path.realpath(os.path.dirname(folder)) == os.path.dirname(folder)
                if not inside or any(key in repository.tracked_caches for repository in self._repositories.values()):
                    continue
                gone = bytecode.drop(source, folder, until_ns)
                count += len(gone)
                if gone and (known := self._bytecode.get(key)) is not None:
                    self._bytecode[key] = _ByteCode(known.own, {name: seen for name, seen in known.files.items() if name not in gone})
        return count

    # -- looking

    def _looked(self, now_ns: int) -> _Pass:
        """Look until nothing more is found that says to look in another way."""
        changed: set[str] = set()
        for _ in range(RESTARTS):
            found = _Pass(now_ns)
            found.changed = changed
            try:
                self._look(found)
            except _Again:
                continue
            except _TooMany as error:
                if not self._make_room(error.budget, changed):
                    led = [path for path, real in self.led.items() if real == error.budget.top]
                    if not led or led[0] not in self.led:
                        raise
                    for path in led:  # a matter of the calls that are led there, and of no other
                        del self.led[path]
                    self._unfit[error.budget.top] = str(error)
                continue
            return found
        raise _Problem("the project changed each time that it was looked at")

    def _look(self, found: _Pass) -> None:
        if not os.path.isdir(self.root):
            raise _Problem(f"cannot read project {self.root}: it is not there")
        whole = _Budget(MAX_ENTRIES, "the project", self.root)
        if self.generation == 0 and not self._heaps:
            whole.early = lambda: self._pile_early(whole, found.changed)
        self._walk(found, self.root, "", whole)
        self._above(found)
        self._named_inputs(found)
        for path in self.led:
            self._lead(found, path)
        caches = frozenset(CACHES) - ({".pytest_cache"} if "pytest" in found.steered else set())
        by_order = "vitest" in found.steered
        if (caches, by_order) != (self._caches, self._by_order):
            self._caches, self._by_order = caches, by_order
            raise _Again
        followed = 0
        walked: set[str] = set()
        while True:
            for key, path, target in found.links[followed:]:
                self._follow(found, key, path, target)
                followed += 1
            self._take_in_named(found)
            waiting = next((path for path in found.outside if path not in walked), None)
            if waiting is None:
                break
            if not any(_within(waiting, other) for other in walked):
                hidden = self._modules(found, waiting, waiting) if waiting.endswith("/node_modules") else None
                for top in [waiting] if hidden is None else [f"{waiting}/{folder}" for folder in hidden]:
                    if not self._take_heap(found, top):
                        self._walk(found, top, top, _Budget(MAX_OUTSIDE, f"{top}, which something in the project leads to,", top, top))
            walked.add(waiting)
        self._read_racy(found)

    def _walk(self, found: _Pass, top: str, top_key: str, budget: _Budget) -> None:
        self._device(found, os.stat(top).st_dev, top)
        stack: list[tuple[str, str, _Repository | None, _Budget]] = [(top, top_key, None, budget)]
        fields, stat_of = _fields, os.stat
        caches = self._caches
        ctimes, old_ctimes, devices, links, changed = found.folder_ctimes, self._folder_ctimes, found.devices, found.links, found.changed
        while stack:
            path, key, repository, budget = stack.pop()
            prefix = key + "/" if key else ""
            line_ns = found.line_ns
            tracked = repository.tracked_caches if repository is not None else ()
            names: Listing = {}
            below: list[str] = []
            racy: list[str] = []
            try:
                folder = os.open(path, _FOLDER)
            except PermissionError:
                if os.access(path, os.X_OK):  # not to be listed, but a file in it can be opened by name
                    found.problems.append(f"{_shown(key or path)} cannot be listed")
                found.listings[key] = {"": ("closed",)}
                continue
            except OSError as error:
                if error.errno in _GONE:
                    continue  # since its parent was read; the next scan tells
                raise
            try:
                inside = self._names_in(found, folder, path)
                for name in inside.links:
                    try:
                        target = os.readlink(name, dir_fd=folder)
                        names[name] = (*fields(stat_of(name, dir_fd=folder, follow_symlinks=False)), target)
                    except OSError as error:
                        if error.errno in _GONE:
                            continue  # or no link any more
                        raise
                    if name != ".git":
                        links.append((prefix + name, f"{path}/{name}", target))
                for name in inside.folders:
                    if name in caches and prefix + name not in tracked:
                        if name == "__pycache__":
                            self._byte_code(found, folder, prefix + name)
                        elif name in FORGETFUL and (cache := _lstat(name, folder)) is not None:
                            found.forgetful[prefix + name] = cache[1]
                        continue
                    try:
                        seen = stat_of(name, dir_fd=folder, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    names[name] = (seen.st_mode, seen.st_uid, seen.st_gid)
                    below.append(name)
                    if seen.st_dev not in devices:
                        self._device(found, seen.st_dev, f"{path}/{name}")
                    ctimes[prefix + name] = ctime_ns = seen.st_ctime_ns
                    if ctime_ns != seen.st_mtime_ns and old_ctimes.get(prefix + name, ctime_ns) != ctime_ns:
                        changed.add(prefix + name)
                for name in inside.files:
                    try:
                        record = fields(stat_of(name, dir_fd=folder, follow_symlinks=False))
                    except FileNotFoundError:
                        continue
                    names[name] = record
                    if record[4] >= line_ns:
                        racy.append(name)
                if ".eslintcache" in names and prefix + ".eslintcache" not in tracked:
                    del names[".eslintcache"]
                    found.forgetful[prefix + ".eslintcache"] = 0
                    racy = [name for name in racy if name != ".eslintcache"]
            finally:
                os.close(folder)
            if "node_modules" in key and not (repository and repository.tracks(key)):
                self._without_vitest(key, names, below)
                racy = [name for name in racy if name in names]
            budget.take(len(names))
            if ".git" in names:
                inner = self._repository(found, path, key)
                if inner is not None:
                    repository = inner
                    if ".git" in below:  # not a file that names it elsewhere
                        below.remove(".git")
                        del names[".git"]
                        ctimes.pop(prefix + ".git", None)
                        changed.discard(prefix + ".git")
                    self._tracked_caches_here(path, prefix, inner, names, below)
            if key and ("pyvenv.cfg" in names or "conda-meta" in names) and not (repository and repository.tracks(key)):
                self._environment(found, path, key)
                continue
            if not WORKSHOPS.keys().isdisjoint(below) and repository is not None and not prefix.startswith("/"):
                self._find_workshops(found, path, prefix, repository, names)
            if found.workshops:
                racy = self._compare_content(found, path, prefix, names, racy)
            for name in racy:
                found.note(f"{path}/{name}", prefix + name, names[name])  # type: ignore[arg-type]  # a file's record
            found.listings[key] = names
            for name in inside.manifests:
                if len(names.get(name, ())) == 5:  # no link, nor what a development server made
                    self._read_manifest(found, f"{path}/{name}", names[name])
            for name in inside.settings:
                if len(names.get(name, ())) == 5:
                    self._read_settings(found, f"{path}/{name}", names[name])
            if inside.vite or not STEERING_FILES.isdisjoint(names):
                for name in (*inside.vite, *(STEERING_FILES & names.keys())):
                    found.steered |= self._steers(f"{path}/{name}", line_ns)
            for name in below:
                child = f"{path}/{name}"
                if self._is_left_out(prefix + name):
                    continue
                if name == "node_modules" and not (repository and repository.tracks(prefix + name)):
                    hidden = self._modules(found, child, prefix + name)
                    if hidden is None and not self._take_heap(found, prefix + name):
                        unmarked = _Budget(MAX_UNMARKED, f"{prefix}{name}, which has no lock file in it,", child, prefix + name)
                        stack.append((child, prefix + name, repository, unmarked))
                    elif hidden is None:
                        continue
                    else:
                        stack += [(f"{child}/{folder}", f"{prefix}{name}/{folder}", repository, budget) for folder in hidden]
                elif child != self.root and not (self._heaps and self._take_heap(found, prefix + name)):
                    stack.append((child, prefix + name, repository, budget))

    # -- what is too large

    def _left_out_by(self) -> object:
        """What a project that is too large hangs on, as far as the user can change it at once."""
        return (self.leave_out, self.inputs, [_stat(f"{self.root}/{name}") for name in (".gitignore", ".git/info/exclude")])

    def _is_left_out(self, key: str) -> bool:
        """Say whether a folder, by its key or its path, is one that no command reads."""
        if not self.leave_out:
            return False
        path = os.path.join(self.root, key)
        named = [os.path.join(self.root, self._home + each[1:] if each.startswith("~/") else each) for each in self.leave_out]
        return any(_within(path, os.path.normpath(each)) for each in named)

    def _take_heap(self, found: _Pass, key: str) -> bool:
        """Say whether a folder is a heap; what its links lead to is followed as ever."""
        heap = self._heaps.get(key)
        if heap is None:
            return False
        found.heaps[key] = heap
        found.links += [(f"{key}/{name}", f"{heap.path}/{name}", target) for name, target in heap.last.links]
        return True

    def _make_room(self, budget: _Budget, changed: set[str]) -> bool:
        """Have what is too large compared in another way from now on; False when there is none.

        Args:
            changed: what is compared differently from now on counts as moved once.
        """
        if not budget.top or (budget.key and _within(self.root, budget.top)):
            return False
        if budget.key:
            beside = os.path.dirname(budget.top)
            if os.path.basename(budget.top) == "node_modules" and any(os.path.exists(f"{beside}/{name}") for name in NODE_LOCKS):
                self._listed.add(budget.key)
                self._forget_below(budget.key, changed)
                return True
            return self._pile(budget.key, budget.top, walk(budget.top), budget, changed)
        return self._pile_largest(self._sizes_of_ignored(), budget, changed)

    def _pile_early(self, budget: _Budget, changed: set[str]) -> None:
        sizes = self._sizes_of_ignored()
        if sum(seen.entries for _, seen in sizes) > budget.limit and self._pile_largest(sizes, budget, changed):
            raise _Again

    def _sizes_of_ignored(self) -> list[tuple[str, Walk]]:
        """Return the folders that git ignores, the largest first; package folders are not among them, they are compared by their lists."""
        code, out = _git(self.root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        waiting = [os.fsdecode(name[:-1]) for name in out.split(b"\0") if name.endswith(b"/")] if code == 0 else []
        sizes: list[tuple[str, Walk]] = []
        while waiting and len(sizes) < HEAPS_MOST * 8:
            key = waiting.pop(0)
            path = f"{self.root}/{key}"
            if key in self._heaps or self._is_left_out(key) or os.path.basename(key) in {*CACHES, "node_modules"}:
                continue
            if os.path.islink(path) or os.path.lexists(f"{path}/pyvenv.cfg"):
                continue
            seen = walk(path)
            if seen.packages and not seen.trouble:  # it may lead elsewhere by what is installed in it
                waiting += [f"{key}/{name}" for name in self._entries(path) if os.path.isdir(f"{path}/{name}")]
            else:
                sizes.append((key, seen))
        return sorted(sizes, key=lambda size: -size[1].entries)

    def _pile_largest(self, sizes: list[tuple[str, Walk]], budget: _Budget, changed: set[str]) -> bool:
        """Make heaps of the largest folders that git ignores, at least of one, until there is room for the rest; False when none helps."""
        if sizes:
            budget.advice = f"; the largest of the folders that git ignores is {_shown(sizes[0][0])}"
        rest = sum(seen.entries for _, seen in sizes)
        done = False
        for key, seen in sizes:
            if len(self._heaps) < HEAPS_MOST and (not done or rest > budget.limit // 2) and seen.entries * 20 > budget.limit:
                done = self._pile(key, f"{self.root}/{key}", seen, budget, changed) or done
                rest -= seen.entries
        return done

    def _pile(self, key: str, path: str, seen: Walk, budget: _Budget, changed: set[str]) -> bool:
        kind = self._kinds.get(os.stat(path).st_dev, "")
        remote = kind in REMOTE or kind in NO_CHANGE_TIME or kind.startswith("fuse")
        budget.advice = f"{budget.advice}; if no command reads {_shown(key)}, name it in `leave_out` of stretto.toml"
        if seen.trouble or remote or key in self._heaps:
            budget.advice = f"; {seen.trouble}{budget.advice}" if seen.trouble else budget.advice
            return False
        self._heaps[key] = Heap(path, seen, Moment.now())
        self._forget_below(key, changed)
        return True

    def _forget_below(self, key: str, changed: set[str]) -> None:
        gone = [known for known in self._listings if _within(known, key)]
        for known in gone:
            del self._listings[known]
        if gone:
            changed.add(key)

    # -- manifests

    def _read_manifest(self, found: _Pass, path: str, record: Fields) -> None:
        """Note what a manifest names outside its folder; it is read again when it changed only."""
        known = self._named.get(path)
        if known is None or known[0] != record or found.is_young(record):
            folder = os.path.dirname(path)
            named = manifests.paths(os.path.basename(path), _read(path, manifests.MOST_BYTES))
            full = [_ABSOLUTE + each if each.startswith("/") else os.path.normpath(f"{folder}/{each}") for each in named]
            known = self._named[path] = (record, tuple(full))
        size = record[2]
        if (isinstance(size, int) and size > manifests.MOST_BYTES) or len(known[1]) > manifests.MOST_PATHS:
            found.problems.append(f"{_shown(path)} is too large to be read for the folders that it names")
        if known[1]:
            found.named[path] = known[1]

    def _take_in_named(self, found: _Pass) -> None:
        """See to it that what manifests name is part of the scan: path dependencies, folders of modules, configuration that is extended."""
        taken: set[str] = set()
        while left := [path for path in found.named if path not in taken]:
            for manifest in left:
                taken.add(manifest)
                for path in found.named[manifest]:
                    how, path = (path[0], path[1:]) if path[0] in (_ABSOLUTE, _NEAR) else ("", path)
                    if not _within(path, self.root) and f"\0input:{path}" not in found.facts:
                        self._take_in(found, path, how)

    def _read_settings(self, found: _Pass, path: str, record: Fields) -> None:
        """Note what configuration names outside its folder: what it extends, includes, or is read together with."""
        name, size = os.path.basename(path), record[2]
        if not isinstance(size, int) or size > manifests.CONFIG_BYTES:
            return
        known = self._named.get(path)
        if known is None or known[0] != record or found.is_young(record):
            folder = os.path.dirname(path)
            named = manifests.paths_of_settings(name, _read(path, manifests.CONFIG_BYTES))[: manifests.MOST_PATHS]
            begins = dict.fromkeys([folder, self.root] if _within(folder, self.root) else [folder])  # scripts begin where the command does
            full = [_NEAR + os.path.normpath(f"{begin}/{each}") for begin in begins for each in named]
            known = self._named[path] = (record, tuple(full))
        if known[1]:
            found.named[path] = known[1]

    def _read_beside(self, found: _Pass, path: str, record: Fields) -> None:
        """Note what a file outside names beside itself: no folder is scanned there in which that would be seen."""
        folder, name = os.path.split(path)
        size = record[2]
        if not isinstance(size, int) or size > manifests.CONFIG_BYTES:
            return
        known = self._said.get(path)
        if known is None or known[0] != record or found.is_young(record):
            known = self._said[path] = (record, manifests.words(name, _read(path, manifests.CONFIG_BYTES)))
        beside = self._entries(folder) if known[1] else []
        if len(beside) <= BESIDE_MOST:
            named = [f"{_NEAR}{folder}/{each}" for each in sorted(manifests.named_by(known[1], beside)) if each != name]
            found.named[path] = (*found.named.get(path, ()), *named)

    def _take_in(self, found: _Pass, path: str, how: str) -> None:
        real = os.path.realpath(path)
        if _within(real, self.root) or any(_within(real, place) for place in PSEUDO) or self._is_left_out(real):
            return
        record = _stat(real)
        fact_key = f"\0input:{path}"
        if record is not None or how != _ABSOLUTE:  # what only looks like a whole path is none
            found.facts[fact_key] = (real, record and record[:2])
        if record is None:
            return
        if stat.S_ISREG(record[0]):
            found.facts[fact_key] = (real, found.note(real, fact_key, record))
            if manifests.is_manifest(os.path.basename(real)):
                self._read_manifest(found, real, record)
            else:
                self._read_settings(found, real, record)
            self._read_beside(found, real, record)
            return
        odd = (how == _ABSOLUTE and self._is_no_project(real)) or (how == _NEAR and not self._is_near(path, real))
        if stat.S_ISDIR(record[0]) and real not in ("/", self._home) and not odd:
            found.outside.setdefault(real)

    def _is_near(self, path: str, real: str) -> bool:
        """Say that a folder belongs to the project rather than to everybody: it is no link, and lies around nothing of theirs."""
        around = _within(self.root, real) or _within(self._home, real) or os.path.dirname(real) in ("/", self._home)
        return not around and real == os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path)

    def _is_no_project(self, path: str) -> bool:
        """Say that a folder that is named by its whole path holds nothing that is built or imported: it may be any place to write to."""
        return not any(manifests.is_manifest(name) or name.endswith(".py") for name in self._entries(path))

    def _without_vitest(self, key: str, names: Listing, below: list[str]) -> None:
        """Leave out what vitest only orders its files by, and the folders made for it: what else lies in them is looked at."""
        if key.endswith("node_modules"):
            names.pop(".vite-temp", None)
            below[:] = [name for name in below if name != ".vite-temp"]
            for name in (".vite", ".vitest"):
                names.pop(name, None)
        elif _VITEST.search(key):
            for name in below:
                if name == "vitest" or _VITEST.search(f"{key}/{name}"):
                    names.pop(name, None)
            if not self._by_order:
                names.pop(VITEST_RESULTS, None)

    def _names_in(self, found: _Pass, folder: int, path: str) -> _Names:
        """Return the names in an open folder, listed again unless its own times say that none came or went.

        Every entry added, removed or renamed moves a folder's change time, which no program can put back. That is taken for granted only
        on file systems of this machine that are known to do so, and only once the folder has rested for so long that a later change must
        show. What a name stands for is asked for at every scan all the same.
        """
        seen = os.fstat(folder)
        own = (seen.st_dev, *_record(seen))
        known = self._inside.get(path)
        if known is None or known.own != own:
            known = _listed_names(folder, own)
        if own[5] < found.line_ns and self._kinds.get(seen.st_dev) in DATED_FOLDERS:
            found.names[path] = known
        return known

    def _byte_code(self, found: _Pass, parent: int, key: str) -> None:
        """Look at a `__pycache__`, whose own times tell whether anything was put there or taken away: Python only ever exchanges files."""
        own = _lstat("__pycache__", parent)
        if own is None:
            return
        known = self._bytecode.get(key)
        if known is not None and known.own == own and not found.is_young(own):
            found.bytecode[key] = known
            return
        files: dict[str, tuple[Stat, bool]] = {}
        try:
            folder = os.open("__pycache__", _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        except OSError:
            return  # gone, or closed to us and so to the run
        try:
            for name in os.listdir(folder):
                if name.endswith(".pyc") and (record := _lstat(name, folder)) is not None:
                    before = known.files.get(name) if known is not None else None
                    same = before is not None and before[0] == record and not found.is_young(record)
                    files[name] = before if before is not None and same else (record, _is_taken_unseen(name, folder))
        finally:
            os.close(folder)
        found.bytecode[key] = _ByteCode(own, files)

    def _compare_caches(self, found: _Pass) -> None:
        """Note what is gone of caches that are not looked at otherwise."""
        for key, inode in self._forgetful.items():
            if found.forgetful.get(key, -1) != inode:
                found.changed.add(key)
        nothing = _ByteCode((0, 0, 0, 0, 0), {})
        for key in self._bytecode.keys() | found.bytecode.keys():
            before, now = self._bytecode.get(key, nothing), found.bytecode.get(key, nothing)
            if now is not before and now.gone_since(before):
                found.changed.add(key)
        self._bytecode, self._forgetful = found.bytecode, found.forgetful

    def _find_workshops(self, found: _Pass, path: str, prefix: str, repository: _Repository, names: Listing) -> None:
        """Note the folders here in which a development server works; git is asked about them once everything is known."""
        record = names.get("package.json")
        if record is None or len(record) != 5:
            return
        file = f"{path}/package.json"
        known = self._workshops_named.get(file)
        if known is None or known[0] != record or found.is_young(record):
            text = _read(file)
            names_of = frozenset(name for name, workshop in WORKSHOPS.items() if is_named(workshop, text))
            known = self._workshops_named[file] = (record, names_of)
        for name in known[1]:
            if name not in names or len(names[name]) != 3:
                continue
            marked = any(os.path.lexists(f"{path}/{name}/{marker}") for marker in WORKSHOPS[name].markers)
            if marked and not repository.tracks(prefix + name):
                found.workshops[f"{prefix}{name}/"] = (f"{path}/{name}", WORKSHOPS[name])

    def _compare_content(self, found: _Pass, path: str, prefix: str, names: Listing, racy: list[str]) -> list[str]:
        """Put the hash of what other tools read of a workshop in its record's place; -> which of the names are racy still."""
        place = next((place for place in found.workshops if prefix.startswith(place)), None)
        if place is None:
            return racy
        workshop = found.workshops[place][1]
        for name, record in names.items():
            if len(record) == 5 and part(workshop, (prefix + name)[len(place) :]) == "read":
                file = f"{path}/{name}"
                known = self._digests.get(file)
                rests = known is not None and known[0] == record and name not in racy
                digest = known[1] if known is not None and rests else _content(file, record)  # type: ignore[arg-type]  # a file's record
                if known is not None and known[1] == digest and known[0] != record:
                    found.changed.add(prefix + name + REWRITTEN)
                found.digests[file] = (record, digest)
                names[name] = (record[0], digest)
        return [name for name in racy if len(names[name]) == 5]

    def _own_part(self, key: str) -> bool:
        """Say whether a path is a development server's own: what moves there is nothing to those who do not read it."""
        place = next((place for place in self._workshops if key.startswith(place)), None)
        return place is not None and not part(self._workshops[place], key[len(place) :].removesuffix(REWRITTEN))

    def _settle_workshops(self, found: _Pass) -> None:
        """Ask git whether the workshops are ignored, unless nothing moved that could have changed its mind."""
        if found.workshops.keys() == self._workshops.keys() and all(self._own_part(key) for key in found.changed):
            return
        known = {}
        for place, (_, workshop) in found.workshops.items():
            if any(_within(place, declared) or declared.startswith(place) for declared in self._declared):
                continue  # the user says that it is an input
            repository = found.repositories.get(self._repository_of(place[:-1], found.repositories) or "")
            if repository is not None and self._ignored(repository, [place[:-1]], {}):
                known[place] = workshop
        self._workshops = known

    def spares(self, argv: Sequence[bytes], cwd: bytes) -> bool:
        """Say whether a call is known not to read what development servers write for themselves (`FileClass.WORKSHOP`)."""
        if not self._workshops:
            return False
        folder = os.path.realpath(os.fsdecode(cwd))
        try:
            names = [name for name in os.listdir(folder) if is_config(name)]
        except OSError:
            return False
        configs = {name: _read(f"{folder}/{name}").decode("utf-8", "replace") for name in names}
        places = [os.path.relpath(f"{self.root}/{place[:-1]}", folder) for place in self._workshops]
        return spares([os.fsdecode(word) for word in argv], configs, places)

    def _tracked_caches_here(self, path: str, prefix: str, repository: _Repository, names: Listing, below: list[str]) -> None:
        """Add tracked caches right in a repository's top folder: its index had not been read when they were passed over."""
        for name in CACHES:
            if prefix + name in repository.tracked_caches and name not in names:
                try:
                    seen = os.lstat(f"{path}/{name}")
                except OSError:
                    continue
                if stat.S_ISDIR(seen.st_mode):
                    names[name] = (seen.st_mode, seen.st_uid, seen.st_gid)
                    below.append(name)
                else:
                    names[name] = _record(seen)

    def _steers(self, path: str, line_ns: int) -> frozenset[str]:
        record = _stat(path)
        if record is None:
            return frozenset()
        known = self._steering.get(path)
        if known is None or known[0] != record or record[4] >= line_ns:
            known = self._steering[path] = (record, steers(os.path.basename(path), _read(path)))
        return known[1]

    def _device(self, found: _Pass, device: int, path: str) -> None:
        found.devices.add(device)
        if device not in self._kinds:
            self._kinds[device] = _file_systems().get(device, "")
        kind = self._kinds[device]
        if kind in NO_CHANGE_TIME:
            found.problems.append(f"{_shown(path)} is on a {kind} file system, which keeps no change times")
        elif kind in REMOTE or kind.startswith("fuse"):
            found.remote()

    # -- git

    def _repository(self, found: _Pass, path: str, key: str) -> _Repository | None:
        """Compare git's state of one repository; None when the `.git` there is none."""
        repository = self._repositories.get(key) or _Repository(path, key)
        if not repository.locate():
            return None
        found.repositories[key] = repository
        fact_key = f"\0git:{key or '.'}"
        parts: list[Fields] = [(repository.git, repository.common)]
        for folder, names in ((repository.git, _GIT_OWN), (repository.common, _GIT_SHARED)):
            for name in names:
                parts.append((name, found.note(f"{folder}/{name}", fact_key, _stat(f"{folder}/{name}"))))
        parts.append(tuple(os.path.isdir(f"{repository.git}/{name}") for name in _GIT_FOLDERS))
        budget = _Budget(MAX_OUTSIDE, f"the list of branches and tags of {key or 'the project'}")
        for folder in dict.fromkeys((f"{repository.common}/refs", f"{repository.git}/refs", f"{repository.common}/reftable")):
            for file, record in sorted(self._refs(folder, budget)):
                parts.append((file, found.note(file, fact_key, record)))
        record_of_index = _stat(f"{repository.git}/index")
        if repository.read_index(record_of_index, racy=record_of_index is not None and record_of_index[4] >= found.line_ns):
            found.changed.add(fact_key + TOUCHED)
        parts.append((repository.entries,))
        found.facts[fact_key] = tuple(parts)
        return repository

    def _refs(self, folder: str, budget: _Budget) -> Iterator[tuple[str, Stat]]:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        budget.take(len(entries))
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "prefetch":  # fetched in the background by `git maintenance`; nothing reads them by name
                    yield from self._refs(entry.path, budget)
            elif not entry.name.endswith(".lock") and (record := _stat(entry.path)) is not None:
                yield entry.path, record

    def _repository_of(self, key: str, repositories: Collection[str] | None = None) -> str | None:
        """The key of the innermost repository that holds `key`; a repository's own folder belongs to the one around it."""
        if key.startswith("/"):
            return None
        repositories = self._repositories if repositories is None else repositories
        while key:
            key = key.rpartition("/")[0]
            if key in repositories:
                return key
        return None

    def _ignored(self, repository: _Repository, keys: Sequence[str], answered: dict[bytes, bool]) -> set[str]:
        """Return what git ignores of these.

        Args:
            answered: what it said of this repository before, by name; it is not asked for these again, and what it says is added.
        """
        start = len(repository.key) + 1 if repository.key else 0
        names = {}
        for key in keys:
            gone_folder = key in self._came_or_went and not os.path.lexists(f"{self.root}/{key}")
            names[os.fsencode(key[start:]) + (b"/" if gone_folder else b"")] = key
        if new := [name for name in names if name not in answered]:
            code, out = _git(repository.path, "check-ignore", "-z", "--stdin", data=b"".join(name + b"\0" for name in new))
            if code > 1:  # one path behind a link or in a half-made submodule spoils the answer for all: ask for the plain ones
                folders = {key: os.path.dirname(f"{self.root}/{key}") for key in keys}
                plain = [key for key, folder in folders.items() if os.path.realpath(folder) == folder]
                return self._ignored(repository, plain, answered) if len(plain) < len(keys) else set()
            ignored = set(out.split(b"\0")) if code == 0 else set()
            answered.update({name: name in ignored for name in new})
        return {key for name, key in names.items() if answered[name]}

    def _ignored_folders(self, keys: Iterable[str], ignored: set[str]) -> set[str]:
        """Folders that came or went with nothing but ignored files in them."""
        around_ignored: set[str] = set()
        around_sources: set[str] = set()
        folders = []
        for key in keys:
            if key in self._came_or_went and key not in ignored:
                folders.append(key)
                continue
            around = around_ignored if key in ignored else around_sources
            while key := key.rpartition("/")[0]:
                around.add(key)
        return {key for key in folders if key in around_ignored and key not in around_sources}

    # -- packages

    def _environment(self, found: _Pass, path: str, key: str) -> None:
        """A virtual or conda environment: its settings, its programs, and the list of what is installed."""
        fact_key = f"\0deps:{key}"
        found.packages[path] = None
        leads = self._leads[path] = []
        settings = _read(f"{path}/pyvenv.cfg")
        parts: list[Fields] = [(found.note(f"{path}/pyvenv.cfg", fact_key, _stat(f"{path}/pyvenv.cfg")), settings)]
        for folder in ("bin", "conda-meta"):
            for file in self._names(f"{path}/{folder}"):
                record = found.note(file, fact_key, _lstat(file))
                linked = record is not None and stat.S_ISLNK(record[0])
                parts.append((file, record, (os.readlink(file), _stat(file)) if linked else ()))
        sites = _site_folders(path)
        if _SYSTEM_SITE.search(settings):
            sites += _site_folders(os.path.dirname(os.path.dirname(os.path.realpath(f"{path}/bin/python"))))
        for site in sites:
            installed = _installed(site, self._folders, found.line_ns)
            parts.append((site, tuple(installed.fact)))
            for file, record in installed.files:
                found.note(file, fact_key, record)
            leads += installed.leads_to
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
        fact_key = f"\0deps:{key}"
        markers = [(name, found.note(f"{path}/{name}", fact_key, _stat(f"{path}/{name}"))) for name in NODE_MARKERS]
        unmarked = not any(record for _, record in markers)
        if unmarked and key not in self._listed:
            return None
        found.packages[path] = None
        parts: list[Fields] = [*markers]
        packages: dict[str, dict[str, Fields | None]] = {}
        fields, stat_of = _fields, os.stat
        hidden = []
        scopes = [""]
        while scopes:
            scope = scopes.pop()
            try:
                folder = os.open(path + scope, _FOLDER)
            except OSError as error:
                parts.append((scope, "closed", error.errno))
                continue
            names = packages[scope] = {}
            try:
                inside = self._names_in(found, folder, path + scope)
                for name in inside.links:
                    target = os.readlink(name, dir_fd=folder)
                    names[name] = (_lstat(name, folder), target)
                    if ".pnpm/" not in target and "/node_modules/" not in (real := os.path.realpath(f"{path}{scope}/{name}")):
                        self._lead(found, real)  # a linked checkout, not another package manager's store
                for name in inside.files:
                    if name not in CACHES:
                        names[name] = found.note(f"{path}{scope}/{name}", fact_key, _lstat(name, folder))
                for name in inside.folders:
                    if name == ".cache" and not scope:
                        self._cache_of_packages(found, f"{path}/.cache", f"{key}/.cache")
                        continue
                    if name in (".cache", ".vite-temp") or name in CACHES:
                        continue
                    if name in (".vite", ".vitest") and not scope:
                        hidden.append(name)  # walked; it comes with the first run of vitest
                        continue
                    try:
                        names[name] = record = fields(stat_of(name, dir_fd=folder, follow_symlinks=False))
                    except FileNotFoundError:
                        continue
                    if unmarked:  # no lock file tells that a package's files were exchanged in place
                        names[name + "/package.json"] = _lstat(f"{name}/package.json", folder)
                    if name[0] in "@." and not scope and name not in NODE_CACHES:
                        names[name] = record[:1]
                        if name[0] == "@":
                            scopes.append(f"/{name}")
                        else:
                            hidden.append(name)
            finally:
                os.close(folder)
        found.facts[fact_key] = (*parts, packages)
        return hidden

    def _cache_of_packages(self, found: _Pass, path: str, key: str) -> None:
        """Note which caches there are: prettier, eslint and others keep theirs here, and some say something else without it."""
        for place, name in ((path, key), *((f"{path}/{name}", f"{key}/{name}") for name in self._entries(path))):
            record = _lstat(place)
            if record is not None:
                found.forgetful[name] = record[1] if stat.S_ISDIR(record[0]) else 0

    def _entries(self, path: str) -> list[str]:
        try:
            return os.listdir(path)
        except OSError:
            return []

    # -- outside

    def _lead(self, found: _Pass, path: str) -> None:
        """Take a folder outside the project into the scan."""
        real = os.path.realpath(path)
        if not _within(real, self.root) and os.path.isdir(real) and not any(_within(real, place) for place in PSEUDO):
            found.outside.setdefault(real)

    def _follow(self, found: _Pass, key: str, path: str, target: str) -> None:
        """See to it that what a link leads to is part of the scan."""
        if not os.path.isabs(target) and ".." not in target.lstrip("./").split("/"):  # after a name, `..` may leave through a link
            lexical = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if self._is_walked(found, lexical):
                return
        real = os.path.realpath(path)
        record = _stat(real)
        inside = self._is_walked(found, real)
        packaged = not inside and any(_within(real, folder) for folder in found.packages)
        fact_key = f"\0link:{key}"
        found.facts[fact_key] = (real, inside or (record and record[:2]))
        if inside or record is None:
            return
        if stat.S_ISDIR(record[0]):
            if (
                not packaged
                and not (self._is_left_out(key) or self._is_left_out(real))
                and not any(_within(real, place) for place in PSEUDO)
            ):
                found.outside.setdefault(real)  # even a cache or git's own folder: what leads there makes it an input
        elif stat.S_ISREG(record[0]):
            found.facts[fact_key] = (real, found.note(real, fact_key, record))

    def _named_inputs(self, found: _Pass) -> None:
        """Take in what stretto.toml names; a pattern that fits nothing yet is a fact, too, so what appears is seen."""
        declared: set[str] = set()
        for pattern in self.inputs:
            start = self._home + pattern[1:] if pattern.startswith("~/") else pattern
            budget = _Budget(MAX_OUTSIDE, f"what {pattern} in stretto.toml is looked for in")
            fact: list[Fields] = []
            for path in sorted(_fitting(os.path.join(self.root, start), budget)):
                real = os.path.realpath(path)
                record = _stat(real)
                inside = self._is_walked(found, real)
                if _within(real, self.root):
                    declared.add(real[len(self.root) + 1 :])
                if record is None or inside or stat.S_ISDIR(record[0]):
                    fact.append((path, real, record and record[:2]))
                else:
                    fact.append((path, real, found.note(real, f"\0input:{pattern}", record)))
                if record is not None and stat.S_ISDIR(record[0]) and not inside:
                    found.outside.setdefault(real)  # even a cache or installed packages: who names them wants them whole
            found.facts[f"\0input:{pattern}"] = tuple(fact)
        self._declared = frozenset(declared)

    def _is_walked(self, found: _Pass, path: str) -> bool:
        if not _within(path, self.root) or any(_within(path, folder) for folder in found.packages):
            return False
        return not any(name in self._caches or name == ".git" for name in path[len(self.root) :].split("/"))

    def _above(self, found: _Pass) -> None:
        """Compare configuration above the project and in the home folder."""
        tops = [self._home]
        top = self.root
        while top != (top := os.path.dirname(top)):
            tops.append(top)
        for top in dict.fromkeys(tops):
            if _within(top, self.root):
                continue
            for below, names in ABOVE.items():
                folder = os.path.normpath(f"{top}/{below}")
                record = _stat(folder)
                if record is None:
                    continue
                known = self._configured.get(folder)
                if known is None or known[0] != record or record[4] >= found.line_ns:
                    known = self._configured[folder] = (record, _present(folder, names))
                for path in known[1]:
                    file = _stat(path)
                    if file is not None and not stat.S_ISDIR(file[0]) and not _within(path, self.root):
                        found.facts[path] = (found.note(path, path, file),)
                        if os.path.basename(path) in PYTEST_CONFIG:  # vitest looks for its own no higher than where it runs
                            found.steered |= self._steers(path, found.line_ns) & {"pytest"}
                        if (
                            stat.S_ISREG(file[0])
                            and (not _within(self._home, top) or not _within(self.root, self._home))
                            and top != self._home
                        ):
                            self._read_settings(found, path, file)
                            self._read_beside(found, path, file)

    # -- comparing

    def _read_racy(self, found: _Pass) -> None:
        """Hash what changed in the last seconds, and what had when the scan before looked."""
        left = MAX_HASH_BYTES
        set_back = found.now_ns < self._last_ns
        settled = {path: (key, record) for path, (key, record, _) in self._racy.items() if path not in found.racy}
        for path, (key, record) in (*found.racy.items(), *settled.items()):
            before = self._racy.get(path)
            if path in settled and _stat(path) != record:
                continue  # its record moved, which is seen without this
            left -= record[2]
            content = _content(path, record) if left >= 0 else secrets.token_bytes(16)
            if (before is None and set_back) or (before is not None and before[1] == record and before[2] != content):
                found.changed.add(key)
            if path not in settled:
                found.read[path] = (key, record, content)

    def _compare(self, found: _Pass) -> tuple[Change, ...]:
        """Make the new map the current one; -> what moved."""
        generation = self.generation + 1
        changed = found.changed
        old_listings = self._listings
        new = tuple(top for top in found.outside if top not in self._outside) if self._new_led else ()
        self._new_led = False
        for key, names in found.listings.items():
            old = old_listings.get(key)
            if old == names:
                found.listings[key] = old  # an equal one is there already: let go of the new one
                continue
            if new and old is None and any(_within(key, top) for top in new):
                continue
            before = old or {}
            prefix = key + "/" if key else ""
            for name in names.keys() | before.keys():
                self._note_moved(prefix + name, before.get(name), names.get(name), generation, changed)
        for key in old_listings.keys() - found.listings.keys():
            prefix = key + "/" if key else ""
            for name, record in old_listings[key].items():
                self._note_moved(prefix + name, record, None, generation, changed)
        for key in self._facts.keys() | found.facts.keys():
            if self._facts.get(key) != found.facts.get(key):
                if new and key not in self._facts and key.partition(":")[2].startswith("/"):
                    continue
                changed.add(key)
        self._compare_caches(found)
        first = self.generation == 0
        if self._missed:
            changed.add("(while it could not be read)")
            self._missed = False
        self._settle_workshops(found)
        if self._workshops:
            found.changed = changed = {f"{_OWN}{key}" if self._own_part(key) else key for key in changed}
        self._listings, self._folder_ctimes, self._facts, self._racy = found.listings, found.folder_ctimes, found.facts, found.read
        self._inside, self._digests = found.names, found.digests
        self._repositories, self._packages, self._outside = found.repositories, found.packages, found.outside
        self._heaps = found.heaps
        self._last_ns = found.now_ns
        if first or changed:
            self.generation = generation
            self._answered.clear()
            self._log[generation] = frozenset() if first else frozenset(changed)
            self._forget()
        if first:
            self._came_or_went.clear()
            return ()
        return tuple(self._change(key) for key in sorted(changed) if not key.startswith(_OWN))

    def _note_moved(self, key: str, old: Fields | None, new: Fields | None, generation: int, changed: set[str]) -> None:
        if old == new:
            return
        changed.add(key)
        was_folder, is_folder = old is not None and len(old) == 3, new is not None and len(new) == 3
        if was_folder != is_folder and (old is None or new is None):
            self._came_or_went[key] = generation
        else:
            self._came_or_went.pop(key, None)

    def _forget(self) -> None:
        self._logged += len(self._log[self.generation])
        while self._logged > MAX_LOGGED and self._oldest < self.generation:
            self._oldest += 1
            self._logged -= len(self._log.pop(self._oldest))
            for key in [key for key, generation in self._came_or_went.items() if generation <= self._oldest]:
                del self._came_or_went[key]

    def _change(self, key: str) -> Change:
        of = FileClass.SOURCE
        if key.startswith("\0"):
            key = key[1:]
            if key.startswith("own:"):
                key, of = key[4:], FileClass.WORKSHOP
            elif key.startswith(("link:", "input:")):
                key = key.partition(":")[2]
            else:
                of = FileClass.GIT if key.startswith("git:") else FileClass.DEPENDENCY
        path = _shown(key)
        if path != key:
            self._odd[path] = key
        return Change(path=path, of=of)


# --- tools --------------------------------------------------------------------------------------------------------------------

_SYSTEM_SITE = re.compile(rb"(?im)^include-system-site-packages\s*=\s*true")
_EXEC_TRICK = re.compile(rb"^'''exec' (?:\"([^\"]+)\"|(\S+))", re.MULTILINE)
"""How installers spell an interpreter whose path is too long for a shebang."""
_TOOL_FOLDERS = _Folders()

WRAPPERS = frozenset(b"npx uv uvx poetry pipenv pdm hatch rye bundle make just mise asdf nox tox npm yarn pnpm bun env".split())
"""Commands that run another: the words of their line that name a program on the PATH are looked at, too."""

LAUNCHERS = {
    "rustup": (".rustup/settings.toml", ".rustup/toolchains", ".rustup/update-hashes"),
    "volta-shim": (".volta/tools/user/platform.json", ".volta/tools/image"),
    "mise": (".local/share/mise/installs", ".config/mise/config.toml"),
}
"""Programs that choose another by a file in the home folder -> what they choose by."""


MANIFESTS = frozenset(
    [
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "requirements.txt",
        "uv.lock",
        "poetry.lock",
        "Pipfile",
        "package.json",
        "package-lock.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "go.mod",
        "go.sum",
        "Cargo.toml",
        "Cargo.lock",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "Gemfile",
        "Gemfile.lock",
        "composer.json",
        "mise.toml",
    ]
)
"""What declares dependencies."""


class Tool(NamedTuple):
    """What a call would run."""

    identity: bytes
    """What tells it from its next version."""
    leads: tuple[str, ...]
    """Folders of sources to which the environment outside the project leads that it is installed in, or PYTHONPATH."""
    here: tuple[str, ...]
    """Environments in the project that it is installed in; where they lead the scan follows by itself (`Scanner.leads_of`)."""


def tool_identity(exe: bytes, cwd: bytes, argv: Sequence[bytes], path: bytes = b"", root: bytes = b"", env: Iterable[bytes] = ()) -> bytes:
    """Return what tells one installed tool from its next version."""
    return tool(exe, cwd, argv, path, root, env).identity


def tool(exe: bytes, cwd: bytes, argv: Sequence[bytes], path: bytes = b"", root: bytes = b"", env: Iterable[bytes] = ()) -> Tool:
    """Return what tells one installed tool from its next version, and where its environment leads.

    It covers the executable, the interpreters its first line leads to, the list of packages installed beside a Python outside the
    project, the package.json of a Node tool, virtual environments on the PATH, for version managers what they choose by, and for wrappers
    that keep environments of their own every one that they may choose. docs/join.md says what it does not see; `unseen_tool` names the
    calls of which it sees too little.

    Args:
        exe: the resolved executable.
        cwd: what a relative `exe` or PATH entry is relative to.
        argv: the whole call; looked at for wrappers only.
        path: the PATH the call would get.
        root: the project: packages inside it are left to the scan, so that an install does not make another tool of it.
        env: the environment the call would get, as `NAME=value`.
    """
    names = dict(entry.split("=", 1) for entry in map(os.fsdecode, env) if "=" in entry)
    here, inside = os.fsdecode(cwd), os.path.realpath(os.fsdecode(root)) if root else "\0"
    on_path = [os.path.join(here, folder) for folder in os.fsdecode(path).split(":")] if path else []
    parts: list[Fields] = []
    prefixes: dict[str, None] = {}
    waiting = [os.path.join(here, os.fsdecode(exe))]
    if os.path.basename(exe).startswith(b"python"):
        waiting += [os.path.join(here, os.fsdecode(word)) for word in argv[1:8] if b"bin/" in word and not word.startswith(b"-")]
    if os.path.basename(exe) in WRAPPERS:
        waiting += [found for word in argv[1:8] if not word.startswith(b"-") and (found := _which(os.fsdecode(word), on_path))]
    for program in waiting:
        real = os.path.realpath(program)
        parts.append((program, real, _stat(real)))
        name = os.path.basename(real)
        if name.startswith(("python", "pypy")):
            prefixes |= dict.fromkeys(_prefixes(program, real))
        parts += _launcher(program, name)
        head = _read(real, manifests.CONFIG_BYTES)
        if head.startswith(b"#!"):
            for named in _named_by_script(program, real, head):
                if not _within(named, inside) and not _within(inside, named):
                    parts.append((named, *_named_record(named)))
        if name.endswith((".js", ".mjs", ".cjs")) or b"node" in head.split(b"\n", 1)[0]:
            parts.append(_package_json(real))
        interpreter = _interpreter(head, on_path)
        if interpreter and interpreter not in waiting and len(waiting) < 16:
            waiting.append(interpreter)  # the loop goes on over it: an interpreter may be a script itself
    for folder in on_path:
        if os.path.exists(f"{os.path.dirname(folder)}/pyvenv.cfg"):
            prefixes.setdefault(os.path.dirname(folder))
    wrapper = os.path.basename(exe).decode("utf-8", "surrogateescape")
    if wrapper in CHOOSERS:
        for place in CHOOSERS[wrapper](here, names, [os.fsdecode(word) for word in argv[1:]]):
            parts.append((place, os.path.realpath(place), _stat(place)))
            if os.path.exists(f"{place}/pyvenv.cfg") or _site_folders(place):
                prefixes |= dict.fromkeys(_prefixes(f"{place}/bin/python", os.path.realpath(f"{place}/bin/python")))
    parts += [(path, _stat(path)) for path in _named_by_env(names, here) if not _within(path, inside)]
    line_ns = time.time_ns() - COARSE_RACY_NS
    leads = [os.path.join(here, folder) for folder in names.get("PYTHONPATH", "").split(":") if folder] if prefixes else []
    leads += [os.path.join(here, folder) for name in _SEARCHED & names.keys() for folder in names[name].split(":") if folder]
    in_project: list[str] = []
    for prefix in prefixes:
        if _within(os.path.realpath(prefix), inside):
            in_project.append(os.path.realpath(prefix))
            continue
        parts.append((prefix, _read(f"{prefix}/pyvenv.cfg")))
        for site in _site_folders(prefix):
            installed = _installed(site, _TOOL_FOLDERS, line_ns)
            parts.append((site, tuple(installed.fact)))
            leads += installed.leads_to
    return Tool(_digest(parts), tuple(dict.fromkeys(leads)), tuple(dict.fromkeys(in_project)))


_CODE_ENDINGS = (".py", ".js", ".cjs", ".mjs", ".rb", ".sh", ".php", ".phar", ".pl", ".jar", ".lua")
_SEARCHED = frozenset({"MYPYPATH", "NODE_PATH", "RUBYLIB", "PERL5LIB"})
"""Variables that name folders of sources."""
_SETTING = re.compile(r"(?:CONFIG|RC|RCFILE|ADDOPTS|OPTIONS|OPTS|FLAGS|STARTUP|ENV|ENV_FILE|DOTENV|SETTINGS|INI|CLASSPATH)$")
"""How names of variables end whose values name files that a tool reads."""
NAMED_MOST = 50
"""So many paths of one script, and files of one folder that it names, are looked at."""


def _named_by_script(program: str, real: str, text: bytes) -> list[str]:
    """Return the programs, code and folders that a script says it goes on with: a wrapper leads to another program."""
    found: dict[str, None] = {}
    for path in manifests.paths("", text)[:NAMED_MOST]:
        for begin in dict.fromkeys((program, real)):
            full = os.path.realpath(os.path.join(os.path.dirname(begin), path))
            if os.path.isdir(full) or full.endswith(_CODE_ENDINGS) or os.access(full, os.X_OK):  # no log that it writes
                found[full] = None
    return list(found)


def _named_record(path: str) -> Fields:
    """Return what tells a file from its next version, or the code that lies right in a folder: what else is written there means nothing."""
    record = _stat(path)
    if record is None or not stat.S_ISDIR(record[0]) or record[0] & stat.S_ISVTX:
        return (record if record is None or not stat.S_ISDIR(record[0]) else "everybody's",)
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(_CODE_ENDINGS))
    except OSError:
        return ("closed",)
    return tuple((name, _stat(f"{path}/{name}")) for name in names[:NAMED_MOST])


def _named_by_env(env: Mapping[str, str], here: str) -> list[str]:
    """Return the files that variables name from which tools take settings."""
    found: dict[str, None] = {}
    for name in sorted(env):
        if _SETTING.search(name) and not name.startswith("CLAUDE"):
            for path in (env[name], *manifests.paths("", os.fsencode(env[name]))[:NAMED_MOST]):
                full = os.path.realpath(os.path.join(here, path)) if path and "\0" not in path else ""
                if full and os.path.isfile(full):
                    found[full] = None
    return list(found)


def steered(argv: Sequence[bytes], cwd: bytes, env: Iterable[bytes], kind: str = "test") -> bool:
    """Say whether environment or configuration have a call go by what an earlier run, or git, says.

    Args:
        kind: of the check; what runs no tests reads no settings of pytest, though its wrapper might.
    """
    if steers_by_env(env):
        return True
    words = [os.fsdecode(word) for word in argv]
    name = os.path.basename(words[0]) if words else ""
    here = os.fsdecode(cwd)
    at = runs_pytest(words)
    if any("addopts=" in word and steers_pytest(word.partition("addopts=")[2]) for word in words):  # -o addopts=--lf
        return True
    if (at >= 0 or (name in HIDING and kind == "test")) and any(map(steers_pytest, _pytest_settings(here, words[max(at, 0) + 1 :]))):
        return True
    for tool in {name, *map(os.path.basename, words[1:NAMING_WORDS])} & RECIPES.keys():
        for folder in _folders_of(here, tool, words[1:]):
            if any(recipe_steers(tool, words[1:], _read(f"{folder}/{file}").decode("utf-8", "replace")) for file in RECIPES[tool]):
                return True
    if name not in ("jest", "npx", "npm", "yarn", "pnpm", "bun"):
        return False
    files = ["package.json", *(f"jest.config.{kind}" for kind in ("js", "cjs", "mjs", "ts", "json"))]
    return any(steers_jest(_read(f"{here}/{file}")) for file in files)


_INTO = ("-C", "--directory", "--prefix", "--cwd", "--dir", "-d", "--working-directory")
NAMING_WORDS = 8
"""Among so many first words a wrapper's own tool is looked for."""
SETTINGS_PLACES = 20
"""Of so many folders that a call names the settings of pytest are looked for."""


def _folders_of(here: str, name: str, words: Sequence[str]) -> list[str]:
    """Where a wrapper looks for its file: here, or the folder that its words send it to; just and task also above."""
    sent = [os.path.join(here, words[at + 1]) for at, word in enumerate(words[:-1]) if word in _INTO]
    sent += [os.path.join(here, word.split("=", 1)[1]) for word in words if word.split("=", 1)[0] in _INTO and "=" in word]
    places = sent or [here]
    return [folder for place in places for folder in _upwards(place)] if name in ("just", "task", "poe", "mise") else places


def _pytest_settings(here: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the options that pytest's settings add to a call: each first file that is its own, above the folders of its arguments."""
    chosen = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-c", "--config-file")]
    chosen += [word.split("=", 1)[1] for word in words if word.startswith("--config-file=")]
    for path in chosen:
        path = os.path.join(here, path)
        yield pytest_settings(os.path.basename(path), _read(path)) or ""
    begins = {here}
    for word in words[: SETTINGS_PLACES * 5]:
        path = os.path.join(here, word.split("::", 1)[0])
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        if not word.startswith("-") and len(begins) < SETTINGS_PLACES and os.path.isdir(folder):
            begins.add(folder)
    seen: set[str] = set()
    for begin in begins if not chosen else ():
        for folder in _upwards(os.path.normpath(begin)):
            if folder in seen:
                break
            seen.add(folder)
            found = [pytest_settings(name, text) for name in PYTEST_FILES if (text := _read(f"{folder}/{name}"))]
            if (options := next((each for each in found if each is not None), None)) is not None:
                yield options
                break


def unseen_tool(argv: Sequence[bytes]) -> str:
    """Say why nobody can tell what a wrapper would run, "" when `tool_identity` sees it: an environment made for this one call."""
    words = [os.fsdecode(word) for word in argv]
    name = os.path.basename(words[0]) if words else ""
    ours = words[1 : words.index("--")] if "--" in words else words[1:]
    if name in ("uvx", "pipx") or (name == "uv" and ours[:2] == ["tool", "run"]):
        return f"{name} runs a tool from an environment of its own cache"
    if name == "uv" and any(word.split("=", 1)[0] in _UV_ELSEWHERE for word in _before_command(ours)):
        return "uv makes an environment for this call alone"
    if name in ("npx", "bunx") and any(
        word.split("=", 1)[0] in ("-p", "--package", "-c", "--call") or "@" in word[1:] for word in ours[:3]
    ):
        return f"{name} is asked for a package by version or list, which it keeps in a cache of its own"
    return ""


_UV_ELSEWHERE = frozenset(
    {"--with", "--with-requirements", "--with-editable", "-w", "--isolated", "--no-project", "--script", "-s", "--directory", "--project"}
)
_UV_VALUES = frozenset(
    {"--extra", "--group", "--only-group", "--no-group", "--no-extra", "--python", "-p", "--env-file", "--package", "--index"}
)


def _before_command(words: Sequence[str]) -> list[str]:
    """The options of `uv run` itself: after the first word that is neither one nor a value of one stand those of what it runs."""
    found: list[str] = []
    for word in words:
        takes_value = bool(found) and found[-1] in _UV_VALUES | _UV_ELSEWHERE
        if word != "run" and not word.startswith("-") and not takes_value:
            break
        found.append(word)
    return found


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _below(folder: str, deep: int = 1) -> list[str]:
    """Folders that many levels down."""
    found = [folder]
    for _ in range(deep):
        found = [path for top in found for _, path, record in _listed(top) if record is not None and stat.S_ISDIR(record[0])]
    return found[:MOST_ENVIRONMENTS]


def _named_venv(folder: str, home: str) -> list[str]:
    """`.venv` beside a project: an environment, or a file that names one."""
    place = f"{folder}/.venv"
    text = os.fsdecode(_read(place, 4096).strip())
    return [place, os.path.join(folder, text), f"{home}/{text}"] if text and "\0" not in text else [place]


def _uv(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """The project's environment: UV_PROJECT_ENVIRONMENT, or `.venv` beside it (or its workspace); VIRTUAL_ENV with `--active`."""
    found = [f"{folder}/.venv" for folder in _upwards(here)]
    for name in ("UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV"):
        if env.get(name):
            found += [os.path.join(folder, env[name]) for folder in (_upwards(here) if not os.path.isabs(env[name]) else [here])]
    data = env.get("UV_PYTHON_INSTALL_DIR") or f"{_data(env)}/uv/python"
    return [*found, data, *(f"{folder}/.python-version" for folder in _upwards(here))]


def _poetry(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """`.venv` beside the project, else one in the cache by the project's name; the active one where there is one."""
    cache = env.get("POETRY_CACHE_DIR") or f"{_cache(env)}/pypoetry"
    homes = [env.get("POETRY_VIRTUALENVS_PATH") or f"{cache}/virtualenvs"]
    configured = _read(f"{env.get('POETRY_CONFIG_DIR') or _config(env) + '/pypoetry'}/config.toml")
    for text in (configured, *(_read(f"{folder}/poetry.toml") for folder in _upwards(here))):
        homes += [os.path.expanduser(os.fsdecode(path)).replace("{cache-dir}", cache) for path in _VENV_PATH.findall(text)]
    found = [f"{folder}/.venv" for folder in _upwards(here)]
    return [*found, *(place for home in dict.fromkeys(homes) for place in (home, *_of_project(_below(home), here))), *_active(env)]


_VENV_PATH = re.compile(rb"(?m)^\s*(?:virtualenvs\.)?path\s*=\s*[\"']([^\"']+)[\"']")


def _pipenv(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    home = os.path.expanduser(env.get("WORKON_HOME") or f"{_data(env)}/virtualenvs")
    return [place for folder in _upwards(here) for place in _named_venv(folder, home)] + [
        home,
        *_of_project(_below(home), here),
        *_active(env),
    ]


def _pdm(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    chosen = [os.fsdecode(_read(f"{folder}/.pdm-python", 4096).strip()) for folder in _upwards(here)]
    named = [os.path.dirname(os.path.dirname(python)) for python in chosen if python and "\0" not in python]
    home = f"{_data(env)}/pdm/venvs"
    return [*(f"{folder}/.venv" for folder in _upwards(here)), *named, home, *_below(home), *_active(env)]


def _hatch(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """`{data}/env/virtual/PROJECT/HASH/ENVIRONMENT`."""
    home = env.get("HATCH_ENV_TYPE_VIRTUAL_PATH") or f"{env.get('HATCH_DATA_DIR') or _data(env) + '/hatch'}/env/virtual"
    home = os.path.join(here, home)
    return [home, *_below(home), *_below(home, 2), *_below(home, 3)]


def _npx(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """`node_modules/.bin` upwards, else what was fetched into npm's cache before."""
    tool = next((word for word in words if not word.startswith("-")), "")
    found = [f"{folder}/node_modules/.bin/{tool}" for folder in _upwards(here)]
    cache = env.get("npm_config_cache") or f"{_home_of(env)}/.npm"
    locks = [f"{folder}/node_modules/.package-lock.json" for folder in _below(f"{cache}/_npx")]
    return [*found, *(f"{folder}/node_modules/.package-lock.json" for folder in _upwards(here)), *locks]


def _mise(here: str, env: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Every version of every tool, and the files above that choose one of them."""
    home = env.get("MISE_DATA_DIR") or f"{_data(env)}/mise"
    config = env.get("MISE_CONFIG_DIR") or f"{_config(env)}/mise"
    files = [f"{config}/{name}" for name in ("config.toml", "config.local.toml", "settings.toml")]
    names = ("mise.toml", ".mise.toml", "mise.local.toml", ".tool-versions", ".config/mise.toml", "mise/config.toml")
    return [
        *_below(f"{home}/installs"),
        *_below(f"{home}/installs", 2),
        *files,
        *(f"{top}/{name}" for top in _upwards(here) for name in names),
    ]


def _home_of(env: Mapping[str, str]) -> str:
    return env.get("HOME") or os.path.expanduser("~")


def _data(env: Mapping[str, str]) -> str:
    return env.get("XDG_DATA_HOME") or f"{_home_of(env)}/.local/share"


def _cache(env: Mapping[str, str]) -> str:
    return env.get("XDG_CACHE_HOME") or f"{_home_of(env)}/.cache"


def _config(env: Mapping[str, str]) -> str:
    return env.get("XDG_CONFIG_HOME") or f"{_home_of(env)}/.config"


def _of_project(environments: Iterable[str], here: str) -> list[str]:
    """Those that are called like a project around: poetry and pipenv name an environment after it, with a hash."""
    names = {_plain(os.path.basename(folder)) for folder in _upwards(here)}
    for folder in _upwards(here):
        names |= {_plain(os.fsdecode(name)) for name in _PROJECT_NAME.findall(_read(f"{folder}/pyproject.toml"))}
    starts = tuple(name for name in names if name)
    return [place for place in environments if _plain(os.path.basename(place)).startswith(starts)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:40]


_PROJECT_NAME = re.compile(rb"(?m)^\s*name\s*=\s*[\"']([^\"']+)[\"']")


def _active(env: Mapping[str, str]) -> list[str]:
    return [env[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if env.get(name)]


MOST_ENVIRONMENTS = 200
"""Of one wrapper; more of them are compared by their folder's times only."""
CHOOSERS: Mapping[str, Callable[[str, Mapping[str, str], Sequence[str]], list[str]]] = {
    "uv": _uv,
    "rye": _uv,
    "poetry": _poetry,
    "pipenv": _pipenv,
    "pdm": _pdm,
    "hatch": _hatch,
    "npx": _npx,
    "mise": _mise,
}
"""Wrapper -> every place it may choose what it runs from, by its own documentation: more than it will choose is the safe side."""


def _which(name: str, folders: Iterable[str]) -> str:
    if "/" in name or "\0" in name or not name:
        return ""
    candidates = (f"{folder}/{name}" for folder in folders)
    return next((found for found in candidates if os.path.isfile(found) and os.access(found, os.X_OK)), "")


def _prefixes(program: str, real: str) -> list[str]:
    """Where a Python's packages are: its virtual environment's alone, or its own and the user's."""
    own = os.path.dirname(os.path.dirname(program))
    settings = _read(f"{own}/pyvenv.cfg")
    if settings and not _SYSTEM_SITE.search(settings):
        return [own]
    return [own, os.path.dirname(os.path.dirname(real)), os.path.expanduser("~/.local")]


def _interpreter(head: bytes, on_path: Sequence[str]) -> str:
    """The interpreter a script's first line names, "" for what is no script."""
    if not head.startswith(b"#!"):
        return ""
    if trick := _EXEC_TRICK.search(head):
        return os.fsdecode(trick.group(1) or trick.group(2))
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).replace("\0", "").split()
    if not words:
        return ""
    if os.path.basename(words[0]) != "env":
        return words[0]
    named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return _which(named[0], on_path) if named else ""


def _package_json(real: str) -> Fields:
    folder = os.path.dirname(real)
    for _ in range(6):
        text = _read(f"{folder}/package.json")
        if text:
            return (folder, text)
        folder = os.path.dirname(folder)
    return ()


def _launcher(program: str, name: str) -> list[Fields]:
    """What a version manager's shim chooses by: its versions, and what is installed in each Python of them."""
    home = os.path.expanduser("~")
    parts: list[Fields] = []
    for chosen in LAUNCHERS.get(name, ()):
        parts.append((chosen, _stat(f"{home}/{chosen}"), _listed(f"{home}/{chosen}")))
    base = os.path.dirname(os.path.dirname(program))
    if os.path.basename(os.path.dirname(program)) == "shims":
        parts.append((_stat(f"{base}/version"),))
        for version in (*_below(f"{base}/versions"), *_below(f"{base}/installs", 2)):  # asdf and mise: by tool, then by version
            parts += [(version, site, _stat(site)) for site in _site_folders(version)]
            parts.append((version, _listed(version)))
    return parts


def _listed(folder: str) -> tuple[tuple[str, str, Stat | None], ...]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ()
    return tuple((name, f"{folder}/{name}", _stat(f"{folder}/{name}")) for name in names)
