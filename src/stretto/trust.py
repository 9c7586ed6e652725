"""Which folders Stretto may work in: grants, kept outside the tree in the user's own state directory.

A grant says: this folder (its real path), owned by this user id, with exactly these bytes of `stretto.toml` (or none), in this mode. It
is made by `stretto init` and by nothing else; no file of a repository can make or change one. Promises:
- a folder without a grant gets nothing: `lookup` creates no file and starts no process;
- the nearest ancestor with a grant decides, and the walk up ends at the first folder that has a `.git` entry: a nested repository or
  a worktree is a project of its own;
- `verify` hands out the very bytes of `stretto.toml` whose digest was granted; a changed file, owner or real path voids the grant;
- a store that is a symbolic link, belongs to someone else or can be written by others is refused, and so is a grant inside it.

`projects/KEY/grant` is one JSON object: v, path, uid, rules_digest (null without a file), mode, granted_at, python (the supervisor's
interpreter), excluded (globs of commands left alone), made_directory (we created the folder of the settings file), worktrees (those of its
repository count as granted, too), repository (identity of its git directory), origin (the project that a worktree was granted with, ""
otherwise). The path may hold bytes that are no UTF-8: they stand in it as lone surrogates (`\\udcXX`).

It is one idea in one file: what a grant is, and everything that ends it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stretto import repository
from stretto.errors import CorruptError, UserError
from stretto.model import Mode, Record
from stretto.patterns import matches
from stretto.rules import SETTINGS_FILE, Settings, parse_settings
from stretto.system import Lock, atomic_write, home, open_private, private_directory, wall_s, write_all

GRANT_VERSION = 1
RULES_NAME = "stretto.toml"
RULES_LIMIT_BYTES = 1024 * 1024
SALT_BYTES = 32
ERASE_LIMIT_S = 10.0
"""How long `erase` waits for a supervisor to let go of its lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPaths:
    """Where everything of one project stands; nothing here says that it exists."""

    base: str
    key: str

    @property
    def folder(self) -> str:
        return f"{self.base}/projects/{self.key}"

    @property
    def grant(self) -> str:
        return f"{self.folder}/grant"

    @property
    def salt(self) -> str:
        return f"{self.folder}/salt"

    @property
    def gates(self) -> str:
        """Is there when commits or pushes are to be judged; the `git` shim looks at nothing else (shim.py)."""
        return f"{self.folder}/gates"

    @property
    def pause(self) -> str:
        return f"{self.folder}/pause"

    @property
    def supervisor_lock(self) -> str:
        return f"{self.folder}/supervisor.lock"

    @property
    def supervisor_errors(self) -> str:
        return f"{self.folder}/supervisor.err"

    @property
    def socket(self) -> str:
        return f"{self.folder}/s"

    @property
    def events(self) -> str:
        return f"{self.folder}/events.jsonl"

    @property
    def sessions(self) -> str:
        return f"{self.folder}/sessions"

    @property
    def attempts(self) -> str:
        return f"{self.folder}/attempts"

    @property
    def bin(self) -> str:
        """The PATH entries: one directory for this user, shared by all projects."""
        return f"{self.base}/bin"

    @property
    def slots(self) -> str:
        return f"{self.base}/slots"


class Grant(Record, frozen=True, kw_only=True):
    """What the user allowed, as it stands in the file."""

    v: int = GRANT_VERSION
    path: str
    uid: int
    """Owner of the folder when it was granted."""
    rules_digest: str | None
    mode: Mode
    granted_at: float
    python: str
    excluded: tuple[str, ...] = ()
    made_directory: bool = False
    worktrees: bool = False
    """Worktrees of the repository are granted as well, when a session begins in one (worktrees.py)."""
    repository: str = ""
    """Inode and owner of the repository's git directory when it was granted, "" outside of any."""
    origin: str = ""
    """Key of the project with which this worktree was granted; its grant ends with that one."""


class DamagedGrantError(CorruptError):
    """What stands in a grant's place is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A granted folder; `verify` says whether the grant still holds."""

    paths: ProjectPaths
    grant: Grant

    @property
    def root(self) -> str:
        return self.grant.path


def project_root(folder: str) -> str:
    """Return the real path of the folder a grant for `folder` is about: the first one upwards that has a `.git` entry, else itself.

    What `git rev-parse --show-toplevel` says, found without starting a process in a repository nobody has trusted yet.
    """
    real = Path(os.path.realpath(folder))
    return str(next((path for path in (real, *real.parents) if os.path.lexists(path / ".git")), real))


def project_key(root: str) -> str:
    """Return the name of a project's state directory: a digest of the bytes of its real path."""
    return hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()


def lookup(folder: str, base: str) -> Project | None:
    """Return the granted project that `folder` belongs to, None without one; creates nothing.

    Raises:
        UserError: the store is not ours alone.
        CorruptError: the grant's file does not hold a grant.
    """
    path = os.path.realpath(folder)
    while True:
        project = load(base, hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest())
        if project is not None:
            return project
        if path == "/" or os.path.lexists(f"{path}/.git"):
            return None
        path = str(Path(path).parent)


def load(base: str, key: str) -> Project | None:
    """Return the project with that key, None when it has no grant.

    Raises:
        UserError: the store is not ours alone.
        DamagedGrantError: the file does not hold a grant.
        CorruptError: the grant is of another folder or another version.
    """
    paths = ProjectPaths(base=base, key=key)
    try:
        for directory in (base, f"{base}/projects", paths.folder):
            _refuse_shared(directory, os.lstat(directory), stat.S_ISDIR)
        descriptor = os.open(paths.grant, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.filename != paths.grant:  # a folder above it
            raise UserError(f"cannot look into {error.filename}: {error.strerror}; mend that or set STRETTO_STATE_DIR") from error
        raise UserError(f"cannot read grant {paths.grant}: {error.strerror}; remove it and run `stretto init`") from error
    try:
        _refuse_shared(paths.grant, os.fstat(descriptor), stat.S_ISREG)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            text = file.read()
    finally:
        os.close(descriptor)
    try:
        found = json.loads(text)
        if isinstance(found, dict) and isinstance(version := found.get("v"), int) and version != GRANT_VERSION:
            raise CorruptError(
                f"cannot use grant {paths.grant}: version {version} is another Stretto's; run `stretto init` in the project again"
            )
        grant = msgspec.convert(found, Grant)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise DamagedGrantError(f"cannot read grant {paths.grant}: {error}; run `stretto init` in the project again") from error
    if grant.v != GRANT_VERSION or hashlib.blake2b(os.fsencode(grant.path), digest_size=16).hexdigest() != key:
        raise CorruptError(f"cannot use grant {paths.grant}: it is of another folder or version; run `stretto init` in the project again")
    return Project(paths=paths, grant=grant)


def put_grant_aside(base: str, key: str) -> str:
    """Take a damaged grant away, so that its folder is one without a grant; return where it is kept, "" when there is none (any more).

    A grant is consent: what cannot be read is not granted, and only the user can say it again. One of another version is left alone.

    Raises:
        OSError, UserError: it could not be moved, or the store is not ours alone.
    """
    try:
        load(base, key)
    except DamagedGrantError:
        return put_aside(ProjectPaths(base=base, key=key).grant)
    except CorruptError:
        pass
    return ""


def put_aside_grants(folder: str) -> list[str]:
    """Return the damaged grants that were put aside in a project's state directory."""
    try:
        return sorted(str(path) for path in Path(folder, "broken").iterdir() if path.name.startswith("grant."))
    except OSError:
        return []


def keys(base: str) -> list[str]:
    """Return the keys of all projects that have state, granted or not."""
    try:
        return sorted(entry.name for entry in Path(f"{base}/projects").iterdir())
    except FileNotFoundError:
        return []


def put_aside(path: str) -> str:
    """Take away what stands in a state file's place and is none; return where it is kept (`broken/NAME.NUMBER` beside it).

    Raises:
        OSError: it could not be moved.
    """
    folder = private_directory(f"{Path(path).parent}/broken")
    number = 0
    while os.path.lexists(aside := f"{folder}/{Path(path).name}.{number}"):
        number += 1
    os.rename(path, aside)
    return aside


def mend(paths: ProjectPaths) -> list[str]:
    """Put aside whatever would keep a supervisor from starting; return where. Call it with the supervisor's lock held.

    What may be lost so: the log's history, the salt (all commands then count as new), sessions' files (the next session writes its own).

    Raises:
        OSError: something could not be moved or made; the state directory itself is of no use then.
    """
    files = (paths.events, f"{paths.folder}/events.lock", paths.salt, paths.supervisor_errors)
    moved = [put_aside(path) for path in files if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)]
    directories = (paths.sessions, paths.attempts, f"{paths.folder}/torn")
    moved += [put_aside(path) for path in directories if os.path.lexists(path) and not stat.S_ISDIR(os.lstat(path).st_mode)]
    if os.path.lexists(paths.socket) and not stat.S_ISSOCK(os.lstat(paths.socket).st_mode):
        moved.append(put_aside(paths.socket))
    for directory in (paths.sessions, paths.attempts):
        private_directory(directory)
    if os.path.lexists(paths.salt) and Path(paths.salt).stat().st_size != SALT_BYTES:
        moved.append(put_aside(paths.salt))
    _make_salt(paths.salt)
    return moved


def verify(project: Project) -> bytes | None:
    """Return the granted bytes of `stretto.toml` (None: granted without one). Use these bytes, do not read the file again.

    Raises:
        UserError: the grant is void; the message says what changed.
    """
    root, grant = project.root, project.grant
    void = f"cannot use the grant of {display(root)}: "
    try:
        found = Path(root).stat()
    except OSError as error:
        raise UserError(f"{void}{error.strerror}; it counts again when the folder is back") from error
    if os.path.realpath(root) != root or not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{void}the path leads somewhere else now; run `stretto init` there")
    if found.st_uid != grant.uid:
        raise UserError(f"{void}the folder belongs to user {found.st_uid} now, it was {grant.uid}; run `stretto init` again")
    if grant.origin:
        origin = load(project.paths.base, grant.origin)
        if (
            origin is None
            or not origin.grant.worktrees
            or origin.grant.repository != repository.identity(repository.common_directory(root))
        ):
            raise UserError(f"{void}its repository is not granted with its worktrees any more; run `stretto init` here")
    rules = read_rules(root)
    if digest(rules) != grant.rules_digest:
        how = "gone" if rules is None else "new" if grant.rules_digest is None else "changed"
        raise UserError(f"{void}{RULES_NAME} is {how}; look at it, then run `stretto init` again")
    return rules


def read_rules(root: str) -> bytes | None:
    """Return the bytes of the project's `stretto.toml`, None when there is none.

    Raises:
        UserError: it cannot be read, is no regular file, or is too large.
    """
    path = f"{root}/{RULES_NAME}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {display(path)}: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > RULES_LIMIT_BYTES:
            raise UserError(f"cannot read {display(path)}: it is no regular file or larger than {RULES_LIMIT_BYTES} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:  # which refuses a directory in its own way
            return file.read(RULES_LIMIT_BYTES)
    finally:
        os.close(descriptor)


def settings(base: str) -> Settings:
    """Return what the user's own settings in the state directory say, the defaults when there is no such file.

    Raises:
        UserError: the file is not ours alone, or what stands in it cannot be used; the message names line and key.
    """
    return parse_settings(_settings_text(base))


def set_preset(base: str, preset: str) -> None:
    """Write the user's own preset; all other lines of the file stay as they are.

    Raises:
        UserError: the file cannot be used as it is.
        OSError: it could not be written; the old one stands.
    """
    text = _settings_text(base)
    parse_settings(text)
    line = f'preset = "{preset}"'
    changed, count = re.subn(r"(?m)^[ \t]*(?:preset|\"preset\"|'preset')[ \t]*=[^\n#]*?(?=[ \t]*(?:#|$))", line, text, count=1)
    changed = changed if count else f"{line}\n{text}"
    parse_settings(changed)
    private_directory(base)
    atomic_write(f"{base}/{SETTINGS_FILE}", changed.encode())


def _settings_text(base: str) -> str:
    path = f"{base}/{SETTINGS_FILE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"cannot read {display(path)}: {error.strerror}; remove it, then run `stretto preset`") from error
    try:
        found = os.fstat(descriptor)
        _refuse_shared(path, found, stat.S_ISREG)
        if found.st_size > RULES_LIMIT_BYTES:
            raise UserError(f"cannot read {display(path)}: it is larger than {RULES_LIMIT_BYTES} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(RULES_LIMIT_BYTES)
    finally:
        os.close(descriptor)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {display(path)}: it is no UTF-8 at byte {error.start}; mend it") from error


def grant(
    root: str,
    mode: Mode,
    rules: bytes | None,
    *,
    base: str,
    python: str,
    excluded: Sequence[str] | None = None,
    made_directory: bool = False,
    worktrees: bool | None = None,
    origin: str = "",
) -> Project:
    """Allow Stretto to work in `root`; makes the project's state directory, or renews the grant that is there.

    Args:
        rules: what the user saw as `stretto.toml`; its digest is granted.
        python: absolute path of the interpreter that runs the supervisor.
        excluded: globs of commands left alone; None keeps those of an earlier grant.
        made_directory: the folder of the settings file was created by us; an earlier True is kept.
        worktrees: those of the repository, too; None keeps what an earlier grant says.
        origin: key of the project because of which this worktree is granted.

    Raises:
        UserError: `root` is no folder, or far too wide a one; the store is not ours alone.
        OSError: the store cannot be written.
    """
    root = os.path.realpath(root)
    if not Path(root).is_dir():
        raise UserError(f"cannot grant {display(root)}: it is no folder")
    if root in ("/", os.path.realpath(home() or "/")):
        raise UserError(f"cannot grant {display(root)}: everything below it would be one project; run `stretto init` in a project's folder")
    paths = ProjectPaths(base=base, key=project_key(root))
    earlier = load(base, paths.key)
    for directory in (base, f"{base}/projects", paths.folder, paths.sessions, paths.attempts):
        private_directory(directory)
    _make_salt(paths.salt)
    kept = earlier.grant.excluded if earlier else ()
    record = Grant(
        path=root,
        uid=Path(root).stat().st_uid,
        rules_digest=digest(rules),
        mode=mode,
        granted_at=wall_s(),
        python=python,
        excluded=tuple(excluded) if excluded is not None else kept,
        made_directory=made_directory or (earlier is not None and earlier.grant.made_directory),
        worktrees=worktrees if worktrees is not None else earlier is not None and earlier.grant.worktrees,
        repository=repository.identity(repository.common_directory(root)),
        origin=origin,
    )
    return _write(paths, record)


def restore(project: Project) -> None:
    """Put a grant back as it was."""
    _write(project.paths, project.grant)


def set_mode(project: Project, mode: Mode) -> Project:
    """Change the mode, keep the rest of the grant."""
    return _write(project.paths, msgspec.structs.replace(project.grant, mode=mode))


def set_excluded(project: Project, globs: Sequence[str]) -> Project:
    """Replace the globs of commands that are left alone, keep the rest of the grant."""
    return _write(project.paths, msgspec.structs.replace(project.grant, excluded=tuple(globs)))


def excludes(globs: Sequence[str], argv: Sequence[str]) -> bool:
    """Say whether a command is left alone: a glob fits its words joined by spaces, the first with or without its folder."""
    if not argv:
        return False
    texts = (" ".join(argv), " ".join([Path(argv[0]).name, *argv[1:]]))
    return any(matches(globs, text, beyond=True) for text in texts)


def revoke(paths: ProjectPaths) -> None:
    """Take the grant back: from now on no hook and no shim starts anything here. The rest of the state stays."""
    Path(paths.grant).unlink(missing_ok=True)


def erase(paths: ProjectPaths) -> None:
    """Remove the state of a project whose grant was taken back; nothing happens when there is none.

    Raises:
        UnavailableError: a supervisor still holds its lock after `ERASE_LIMIT_S`; nothing was removed.
    """
    if not Path(paths.folder).is_dir():
        return
    # Held until the directory is gone: whoever opened the lock file before us finds it unlinked, and no grant.
    lock = Lock(paths.supervisor_lock)
    try:
        lock.acquire(ERASE_LIMIT_S)
        shutil.rmtree(paths.folder)
    finally:
        lock.close()


def display(path: str) -> str:
    """Return a path as text that any terminal and any JSON can hold: nothing in it acts on a terminal or begins a line."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _write(paths: ProjectPaths, record: Grant) -> Project:
    text = json.dumps(msgspec.to_builtins(record), indent=2)  # ASCII only: keeps the surrogates of an undecodable path
    atomic_write(paths.grant, text.encode() + b"\n", durable=True)
    return Project(paths=paths, grant=record)


def _make_salt(path: str) -> None:
    """Create the salt once: written aside and linked, so that nobody reads half of it and the first one stays."""
    if Path(path).exists():
        return
    aside = f"{path}.{secrets.token_hex(8)}"
    descriptor = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(descriptor, secrets.token_bytes(SALT_BYTES))
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        Path(aside).unlink()


def digest(rules: bytes | None) -> str | None:
    return None if rules is None else hashlib.blake2b(rules, digest_size=32).hexdigest()


def _refuse_shared(path: str, found: os.stat_result, kind: Callable[[int], bool]) -> None:
    if not kind(found.st_mode):
        raise UserError(f"cannot trust {display(path)}: it is a link or of another kind; remove it or set STRETTO_STATE_DIR")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise UserError(
            f"cannot trust {display(path)}: it belongs to someone else or others may write it; mend that or set STRETTO_STATE_DIR"
        )
