"""The project the demo works on: packaging 24.2's source distribution, as a git repository in a folder of our choice.

Hides the download, the cache and the unpacking. Promises:
- the archive is the published one: its SHA-256 is checked by pip before anything in it is looked at, and by us at every use;
- nothing is written outside the folder given, whatever the archive says;
- two calls of `create` make the same tree with the same commit id.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import platformdirs

from stretto.errors import CorruptError, UnavailableError, UserError

DOWNLOAD_LIMIT_S = 180.0
_ENTRY_LIMIT_BYTES = 64 * 1024 * 1024
_IGNORED = "__pycache__/\n.claude/\n"
"""The source distribution comes without the repository's ignore file; a checkout would have these in it. (pytest, ruff and mypy
ignore their caches by a file of their own.)"""
_COMMIT_DATE = "2024-11-08T09:47:00+00:00"


@dataclass(frozen=True, slots=True)
class Release:
    """One source distribution on the package index."""

    name: str
    version: str
    sha256: str

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}"


PACKAGING = Release("packaging", "24.2", "c228a6dc5e932d346bc5739379109d49e8853dd8223571c7c5b55260edc0b97f")
"""26,921 tests, about 15 s. Source of the digest: the package index's own page of the release."""

NEEDED = ("pytest", "ruff", "mypy", "pretend")
"""What the project's own tests and checks need, beside it; the extra `demo` installs it."""


def missing() -> list[str]:
    """Return what of `NEEDED` this environment lacks."""
    return [name for name in NEEDED if find_spec(name) is None]


def fetch(release: Release = PACKAGING, cache: Path | None = None) -> Path:
    """Return the path of the release's archive, downloaded unless the cache has it.

    Args:
        cache: the folder to keep it in; None is the user's cache directory.

    Raises:
        UnavailableError: pip could not download it.
        CorruptError: what came has another digest.
    """
    folder = cache or Path(platformdirs.user_cache_dir("stretto", appauthor=False)) / "demo"
    kept = folder / f"{release.stem}.tar.gz"
    if kept.is_file() and sha256_of(kept) == release.sha256:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as aside:
        found = _download(release, Path(aside))
        if sha256_of(found) != release.sha256:
            raise CorruptError(
                f"cannot use {found.name}: its SHA-256 is {sha256_of(found)}, published is {release.sha256}; look at your package index"
            )
        found.replace(kept)
    return kept


def create(archive: Path, project: Path) -> Path:
    """Unpack `archive` as a git repository with one commit at `project`, which is removed first; return `project`.

    Raises:
        CorruptError: the archive holds something else than files and folders below one top folder.
        UnavailableError: git is missing or failed.
    """
    if project.exists():
        shutil.rmtree(project)
    project.mkdir(parents=True)
    unpack(archive, project)
    ignore = project / ".gitignore"
    if not ignore.exists():
        ignore.write_text(_IGNORED, encoding="utf-8")
    commit(project)
    return project


def commit(project: Path) -> None:
    """Make a git repository of a folder, with one commit that holds what git does not ignore there.

    Raises:
        UnavailableError: git is missing or failed.
    """
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "As published on the package index")


def unpack(archive: Path, into: Path) -> None:
    """Write the files of a source distribution, without its top folder, below `into`.

    Own code and not `extractall`: its filter for hostile archives is missing in the first releases of Python 3.11.

    Raises:
        CorruptError: an entry is a link or a device, is too large, or points outside.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                plain = member.isfile() or member.isdir()
                if not plain or not parts or parts[0] == "/" or ".." in parts or member.size > _ENTRY_LIMIT_BYTES:
                    raise CorruptError(
                        f"cannot unpack {archive}: entry {member.name!r} is no plain file below one folder; remove the archive"
                    )
                target = into.joinpath(*parts[1:])
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                content = tar.extractfile(member)
                assert content is not None, "a plain file has content"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CorruptError(f"cannot unpack {archive}: {error}; remove it and try again") from error


def environment(project: Path) -> dict[str, str]:
    """Return what a session in `project` needs in its environment, so that `pytest`, `ruff` and `mypy` are this environment's own."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    return {"PATH": os.pathsep.join(dict.fromkeys(folders)), "PYTHONPATH": str(project / "src"), **GIT_ENV}


GIT_ENV = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""The user's git configuration (hooks, signing, templates) stays out of the demo."""


def _download(release: Release, into: Path) -> Path:
    if find_spec("pip") is None:
        raise UserError(f"cannot download {release.stem}: {sys.executable} has no pip; run `{sys.executable} -m ensurepip` first")
    wanted = into / "wanted.txt"
    wanted.write_text(f"{release.name}=={release.version} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    # Only this one package is wanted as a source distribution: what pip needs to look at it (its build backend) may be a wheel.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--no-binary", release.name, "--require-hashes", "--dest", str(into), "-r", str(wanted)]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"cannot download {release.stem}: nothing came within {DOWNLOAD_LIMIT_S:.0f} s; check the network"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:] or ["pip says nothing"]
        raise UnavailableError(f"cannot download {release.stem}: {last[0]}; check the network and pip's configuration") from error
    found = [path for path in into.iterdir() if path.name.endswith(".tar.gz")]
    if len(found) != 1:
        raise UnavailableError(f"cannot download {release.stem}: pip left {len(found)} archives in {into}; check pip's configuration")
    return found[0]


def sha256_of(path: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git(project: Path, *arguments: str) -> None:
    """Run git in a project, with nothing of the user's configuration.

    Raises:
        UnavailableError: git is missing or failed.
    """
    who = {
        "GIT_AUTHOR_NAME": "Demo",
        "GIT_AUTHOR_EMAIL": "demo@invalid",
        "GIT_COMMITTER_NAME": "Demo",
        "GIT_COMMITTER_EMAIL": "demo@invalid",
    }
    dates = {"GIT_AUTHOR_DATE": _COMMIT_DATE, "GIT_COMMITTER_DATE": _COMMIT_DATE}
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(project), "LC_ALL": "C", **GIT_ENV, **who, **dates}
    try:
        subprocess.run(["git", *arguments], cwd=project, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UnavailableError("cannot set up a project: git is not installed; install it") from error
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"cannot set up the project {project}: git {arguments[0]} says {error.stderr.strip()}") from error
