"""A scan of the tree against the floor of any scan: listing every folder and asking for every file's record, nothing else."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import Figure, in_turn
from stretto.tree import RACY_NS, Scanner

SIZES = ((1_000, 30), (10_000, 12), (50_000, 6))
"""Files, runs."""
TARGET = 1.2
RACY_TARGET = 8.0
TARGETS_MS = {10_000: 50.0, 50_000: 200.0}
"""On two cores, warm."""
PACKAGES, FILES_EACH = 1_000, 100
"""Of the node_modules beside 10,000 sources."""
BESIDE_TARGET = 1.1


def run() -> list[Figure]:
    """Return how many floors a scan of an unchanged project costs, at three sizes, and what it costs right after a checkout."""
    figures = []
    for files, runs in SIZES:
        with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
            root = os.path.realpath(folder)
            _project(Path(root), files)
            scanner = Scanner(root)
            scanner.scan()
            racy = in_turn(lambda scanner=scanner: scanner.scan().took_ms / 1000, lambda root=root: _floor(root), 2, warm=0)
            _let_the_times_age(root, scanner)
            pair = in_turn(lambda scanner=scanner: scanner.scan().took_ms / 1000, lambda root=root: _floor(root), runs)
        what = f"scan of {files // 1000}k unchanged files"
        figures.append(Figure(name=what, value=pair.ratio, unit="times scandir and stat", target=TARGET, against=pair.spread()))
        if files in TARGETS_MS:
            value_ms = statistics.median(pair.a_s) * 1000
            figures.append(Figure(name=f"{what}, absolute", value=value_ms, unit="ms", target=TARGETS_MS[files], against=pair.spread()))
        if files == 10_000:
            name = "scan of 10k files written a moment ago"
            figures.append(Figure(name=name, value=racy.ratio, unit="times scandir and stat", target=RACY_TARGET, against=racy.spread()))
    figures.append(_beside_packages())
    return figures


def _beside_packages(sources: int = 10_000, packages: int = PACKAGES, runs: int = 12) -> Figure:
    """Return what a node_modules under its lock file adds to the scan of the sources beside it: the same sources twice, one with it."""
    scanners = []
    with tempfile.TemporaryDirectory(prefix="stretto-bench-") as folder:
        for name in ("with", "without"):
            root = Path(os.path.realpath(folder)) / name
            root.mkdir()
            (root / ".gitignore").write_bytes(b"node_modules/\n")
            if name == "with":
                _packages(root / "node_modules", packages)
            _project(root, sources)
            scanners.append(Scanner(str(root)))
            scanners[-1].scan()
        for scanner in scanners:
            _let_the_times_age(scanner.root, scanner)
        with_ms, without_ms = scanners
        pair = in_turn(lambda: with_ms.scan().took_ms / 1000, lambda: without_ms.scan().took_ms / 1000, runs)
    name = f"scan of {sources // 1000}k files beside a node_modules of {packages * FILES_EACH // 1000}k in {packages} packages"
    return Figure(name=name, value=pair.ratio, unit="times the scan without it", target=BESIDE_TARGET, against=pair.spread())


def _packages(modules: Path, packages: int) -> None:
    modules.mkdir()
    (modules / ".package-lock.json").write_bytes(b"{}")
    for number in range(packages * FILES_EACH):
        folder = modules / f"package{number // FILES_EACH}" / "lib"
        if number % FILES_EACH == 0:
            folder.mkdir(parents=True)
        (folder / f"part{number}.js").touch()


def _project(root: Path, files: int) -> None:
    """A repository of small sources, fifty to a folder."""
    for number in range(files):
        folder = root / f"part{number // 2500}" / f"package{number // 50}"
        if number % 50 == 0:
            folder.mkdir(parents=True)
        (folder / f"module{number}.py").write_bytes(b"VALUE = 1\n" * 20)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)


def _let_the_times_age(root: str, scanner: Scanner) -> None:
    """Wait until no file is so new that its content has to be compared: that is the common case, and what is measured."""
    time.sleep(RACY_NS / 1e9 * 2)
    scanner.scan()


def _floor(root: str) -> float:
    began_s = time.perf_counter()
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git":
                        waiting.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    for _figure in run():
        _verdict = "met" if _figure.met else "MISSED"
        print(f"{_verdict:6} {_figure.name}: {_figure.value:.2f} {_figure.unit} (at most {_figure.target:g}) [{_figure.against}]")
