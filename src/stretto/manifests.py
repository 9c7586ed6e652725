"""What a project's manifests name outside the folder they lie in. Pure: text in, paths out.

Cargo's `path = "../lib"`, pytest's `pythonpath`, `-e ../lib`, `file:../lib`, `replace x => ../x`, `includeBuild("../x")`,
`<module>../x</module>`, `add_subdirectory(../x)`, `Include="..\\x\\x.csproj"`: each tool has a grammar of its own, and all of them write a
relative path that leaves the folder with `..`, or an absolute one. So no grammar is read. A text is cut at the characters that no such path
holds; each piece with a step `..` in it, or that is absolute, is a path, and the scanner asks the disk what is there. Reading too
much costs a look at one more place; nothing is so written that it cannot be read, and the time is linear in the text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

MOST_BYTES = 1 << 20
"""A manifest that is larger is not read, and then not everything is known of what it names."""
CONFIG_BYTES = 1 << 16
"""Other configuration that is larger is data rather, and is not read."""
CONFIGS_MOST = 50
"""A folder with more files that may be configuration holds data."""
MOST_LONG = 1000
"""Characters of one path."""
MOST_PATHS = 500
"""Paths of one manifest."""

NAMES = frozenset(
    """
    pyproject.toml setup.py setup.cfg pytest.ini .pytest.ini pytest.toml tox.ini mypy.ini conftest.py noxfile.py Pipfile uv.toml pixi.toml
    environment.yml package.json pnpm-workspace.yaml lerna.json deno.json deno.jsonc import_map.json bunfig.toml jsconfig.json .babelrc
    .swcrc Cargo.toml go.mod go.work settings.gradle settings.gradle.kts build.gradle build.gradle.kts pom.xml CMakeLists.txt
    CMakePresets.json meson.build composer.json Gemfile mix.exs Package.swift pubspec.yaml melos.yaml MODULE.bazel WORKSPACE build.zig
    build.zig.zon dune-workspace Makefile makefile GNUmakefile justfile Justfile .justfile Taskfile.yml Taskfile.yaml
    """.split()  # noqa: SIM905  (forty lines otherwise)
)
_ENDINGS = frozenset({".csproj", ".fsproj", ".vbproj", ".props", ".targets", ".sln", ".slnx", ".gemspec", ".cmake", ".bazelrc"})
_SOME_ARE = frozenset({".json", ".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".txt", ".in"})
"""Endings of which the whole name decides."""
_CONFIG = re.compile(r"tsconfig[\w.-]*\.json|[\w.-]{1,60}\.config\.[cm]?[jt]s|(?:requirements|constraints)[\w.-]*\.(?:txt|in)")
_SETTINGS = re.compile(
    r"\.(?:[\w-]{1,40}rc(?:\.[\w.-]{1,20})?|flake8|rspec|env(?:\.[\w.-]{1,40})?)"
    r"|.*\.(?:toml|ini|cfg|conf|ya?ml|json[c5]?|xml|neon|dist|properties|mk|mak|gradle|kts|sbt|bzl|sh|base\.[cm]?[jt]s|txt)"
)
"""What says by its name that it is configuration, of whatever tool: `extends`, `include`, `source`, `.` are spelled in each."""
_SERVICES = re.compile(r"(?:docker-|podman-)?compose[\w.-]*\.ya?ml|values[\w.-]*\.ya?ml|settings\.json|launch\.json|devcontainer\.json")
"""Of these no check is made of: they say what containers mount and what editors do."""
_WRITTEN = re.compile(
    r"(?:[\w.-]*[.-])?(?:logs?|te?mp|caches?|dist|build|out|outputs?|coverage|htmlcov|reports?|pid|sock|lock|db|sqlite3?|node_modules|venv)"
)
"""Last steps of paths to what is written rather than read: nothing could be joined beside what moves in each run."""
_PROSE = re.compile(r".*\.(?:md|rst|adoc)|[A-Z]+")
_WORD = re.compile(r"[\w@.-]{1,100}")

_CODE = (".py", ".js", ".ts", ".mjs", ".cjs", ".mts", ".cts", "file", "File")
"""Ends of the names of manifests that are programs: a bare `..` in one of them is not what is imported."""

_CUT = re.compile(r"[\s\"'`<>()\[\]{},;|&=!]+")
_PREFIX = re.compile(r"(?:-[A-Za-z])?(?:(?:file|link|portal|path|workspace):(?://)?)?")
_SYSTEM = re.compile(r"/(?:usr|etc|bin|sbin|lib|lib64|dev|proc|sys|run|nix|snap|System|Library|Applications)(?:/|$)")
"""Where the system keeps what is no project."""


def is_manifest(name: str) -> bool:
    """Say whether a file of this name may name folders that its project is made of."""
    ending = name[name.rfind(".") :]
    return name in NAMES or ending in _ENDINGS or (ending in _SOME_ARE and _CONFIG.fullmatch(name) is not None)


def is_settings(name: str) -> bool:
    """Say whether a file may be configuration, which may name what it extends or includes."""
    return _SETTINGS.fullmatch(name) is not None and not is_manifest(name) and not _SERVICES.fullmatch(name)


def is_of_system(path: str) -> bool:
    """Say whether a path is the root, or lies where the system keeps what is no project."""
    return path == "/" or _SYSTEM.match(path) is not None


def paths(name: str, text: bytes) -> tuple[str, ...]:
    """Return the paths that a manifest names and that may lie outside its folder, as relative to it or absolute, each once.

    A pattern is cut before its first wildcard: the folder in which it is looked for. What stands in place of the manifest's own folder
    (`${CMAKE_CURRENT_SOURCE_DIR}/../x`, `{toxinidir}/../x`) is dropped, as a name before `..` is not.
    """
    found: dict[str, None] = {}
    for piece in dict.fromkeys(_CUT.split(text[:MOST_BYTES].decode("utf-8", "surrogateescape").replace("\\", "/"))):
        if ".." not in piece and "/" not in piece[:12]:
            continue
        prefix = _PREFIX.match(piece)
        for part in piece[prefix.end() if prefix is not None else 0 :].split(":"):
            if path := _path_in(part, bare=not name.endswith(_CODE)):
                found[path] = None
        if len(found) > MOST_PATHS:
            break
    return tuple(found)[: MOST_PATHS + 1]


def paths_of_settings(name: str, text: bytes) -> tuple[str, ...]:
    """Return the relative paths that configuration names outside its folder; whole ones are too often places of other machines."""
    named = (path for path in paths(name, text) if not path.startswith("/") and path.strip("./"))
    return tuple(path for path in named if not _WRITTEN.fullmatch(path.rpartition("/")[2].lower()))


def words(name: str, text: bytes) -> frozenset[str]:
    """Return what a file says that may be the name of one beside it, with its ending or without: `./base.json`, `import rules`."""
    return frozenset() if _PROSE.fullmatch(name) else frozenset(_WORD.findall(text[:CONFIG_BYTES].decode("utf-8", "replace")))


def named_by(said: frozenset[str], names: Iterable[str]) -> list[str]:
    """Return those names that stand among what a file says."""
    fits = (name for name in names if name in said or name.partition(".")[0] in said or name.rpartition(".")[0] in said)
    return [name for name in fits if not _WRITTEN.fullmatch(name.lower())]


def _path_in(piece: str, *, bare: bool) -> str:
    """The path that a piece of a manifest is, "" when it is none."""
    steps = piece[:MOST_LONG].split("/")
    if ".." not in steps and not piece.startswith("/"):
        return ""
    wild = next((at for at, step in enumerate(steps) if set(step) & set("*?")), len(steps))
    steps = steps[:wild]
    if not steps:
        return ""
    if "$" in steps[0] or "%" in steps[0] or steps[:2] == ["", ".."]:  # a variable, or what is left after one
        steps = steps[steps.index("..") :] if ".." in steps else []
    if not steps:
        return ""
    if variable := next((at for at, step in enumerate(steps) if "$" in step or "%" in step), 0):
        steps = steps[:variable]
        bare = False  # where it leads is not known
    path = posixpath.normpath("/".join(steps))
    if "\0" in path:
        return ""
    if path.startswith("/"):
        return "" if path.count("/") < 2 or path.startswith("//") or _SYSTEM.match(path) else path
    if not path.startswith(".."):
        return ""
    return path if bare or path.strip("./") else ""
