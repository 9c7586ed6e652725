"""A small project on disk, what lies around it, and which writing of each file is there: as real as the scanner needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")
TOOLS = ("pytest", "mypy", "ruff", "make", "go", "jest", "time", "hyperfine")
MANIFESTS = {
    "pyproject.toml": '[project]\nname = "p"\nversion = "1"\n[tool.pytest.ini_options]\npythonpath = ["../lib"]\n',
    "Cargo.toml": '[package]\nname = "x"\nversion = "0.1.0"\n[dependencies]\ndep = { path = "../dep" }\n',
}


class Place:
    """A project, and the folders beside it that something in it leads to."""

    def __init__(self, base: Path, *, git: bool) -> None:
        self.base = Path(os.path.realpath(base))
        self.root = self.base / "p"
        self.link = self.base / "way" / "p"
        """Another name of the project."""
        self.tools, self.own_tools, self.venv = self.base / "tools", self.base / "own", self.base / "venv"
        self.home = self.base / "home"
        self._count = 0
        self.versions: dict[str, int] = {}
        self.paths = {
            "a.py": self.root / "a.py",
            "b.py": self.root / "pkg" / "b.py",
            "test_a.py": self.root / "tests" / "test_a.py",
            "link": self.base / "shared" / "x.txt",
            "lib": self.base / "lib" / "limits.py",
            "dep": self.base / "dep" / "src" / "lib.rs",
            "editable": self.base / "checkout" / "acme" / "core.py",
        }
        self.inside = ("a.py", "b.py", "test_a.py")
        for folder in (self.tools, self.own_tools, self.home, self.venv / "bin", self.link.parent, self.root):
            folder.mkdir(parents=True, exist_ok=True)
        self._make_tools()
        for name, text in MANIFESTS.items():
            (self.root / name).write_text(text, encoding="utf-8")
        (self.root / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n.coverage\n", encoding="utf-8")
        for name in self.paths:
            self.write(name)
        (self.base / "dep" / "Cargo.toml").write_text('[package]\nname = "dep"\nversion = "0.1.0"\n', encoding="utf-8")
        (self.root / "out").symlink_to(self.base / "shared")
        self.link.symlink_to(self.root)
        if git:
            for argv in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
                subprocess.run(["git", *IDENTITY, *argv], cwd=self.root, check=True, capture_output=True)

    def _make_tools(self) -> None:
        for name in TOOLS:
            self._script(self.tools / name, "#!/bin/sh\nexit 0\n")
        self._script(self.own_tools / "pytest", '#!/bin/sh\nPATH="${PATH#*:}" exec pytest "$@"\n')
        (self.venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="utf-8")
        (self.venv / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
        self._script(self.venv / "bin" / "pytest", f"#!{self.venv}/bin/python\n")
        site = self.venv / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
        site.mkdir(parents=True)
        (site / "acme.pth").write_text(f"{self.base}/checkout\n", encoding="utf-8")
        (site / "acme-1.dist-info").mkdir()
        (site / "acme-1.dist-info" / "METADATA").write_text("Name: acme\n", encoding="utf-8")

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def write(self, name: str) -> None:
        """Write a file anew; no two writings are alike."""
        self._count += 1
        path = self.paths[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"value = {self._count}\n", encoding="utf-8")
        self.versions[name] = self._count

    def configure(self, more: str) -> None:
        """Give pyproject.toml another end."""
        self._count += 1
        (self.root / "pyproject.toml").write_text(MANIFESTS["pyproject.toml"] + more + f"# {self._count}\n", encoding="utf-8")
        self.versions["pyproject.toml"] = self._count

    @property
    def seen(self) -> tuple[tuple[str, int], ...]:
        return tuple(self.versions.items())
