"""The real vitest and the real `uv run` through hooks and shims, as they come and with nothing set for us."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from integration.conftest import Bench
from integration.node_tools import Node, node  # noqa: F401  (a fixture)
from integration.test_tree import write

UV = Path(sys.prefix) / "bin" / "uv"


def test_f39_a_default_vitest_is_joined_from_its_second_ask_on_and_runs_ahead_after_an_edit(bench: Bench, node: Node):  # noqa: F811
    """It writes its results at every run and a bundled configuration at every start; decision 0015."""
    modules = bench.root / "node_modules"
    write(modules / ".package-lock.json", "{}")
    for name in ("vitest", "vite"):
        (modules / name).symlink_to(Path(node.tool("vitest")[1]).parent.parent / name)
    write(bench.root / ".gitignore", "node_modules\n")
    write(bench.root / "package.json", '{"private": true, "type": "module"}')
    write(bench.root / "vitest.config.ts", "export default {test: {include: ['src/*.test.js']}};\n")
    write(bench.root / "src" / "a.js", "export const a = 1;\n")
    test = "import {test, expect} from 'vitest';\nimport {a} from './a.js';\ntest('a', () => { expect(a).toBe(%d); });\n"
    write(bench.root / "src" / "a.test.js", test % 1)
    first, last = node.tool("vitest")
    bench.tool("vitest", f'exec "{first}" "{last}" "$@"')
    bench.begin()
    assert bench.bash("vitest run")[1] == 0
    assert bench.bash("vitest run")[1] == 0
    assert bench.did()[-1] == "replay"
    assert list(modules.rglob("results.json"))
    bench.edit("src/a.test.js", test % 2)
    bench.settled(1, "ahead")
    assert bench.bash("vitest run")[1] == 1
    assert bench.did()[-1] == "replay"
    assert bench.state().joins[-1].of == "ahead"


def wheel(folder: Path, version: str) -> None:
    """A tool called pytest that says which version it is."""
    folder.mkdir(exist_ok=True)
    info = f"pytest-{version}.dist-info"
    files = {
        "runner.py": f"def main():\n    print('version {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pytest\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\npytest = runner:main\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"pytest-{version}-py3-none-any.whl", "w") as made:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(name, text)


@pytest.mark.skipif(not UV.exists(), reason="uv is not in this virtual environment: `pip install uv` puts it there")
def test_f40_the_real_uv_run_is_joined_and_not_after_its_environment_changed(bench: Bench):
    wheels = bench.short / "wheels"
    wheel(wheels, "1")
    write(bench.root / ".gitignore", ".venv\n")
    write(
        bench.root / "pyproject.toml",
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["pytest"]\n'
        f'[tool.uv]\npackage = false\nno-index = true\nfind-links = ["{wheels}"]\n',
    )
    (bench.tools / "uv").symlink_to(UV)
    bench.env |= {"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "TMPDIR": str(bench.short)}  # it leaves a lock file there

    def uv(*words: str) -> None:
        subprocess.run([UV, *words, "-q"], cwd=bench.root, env={**os.environ, **bench.env}, check=True, timeout=60)

    uv("sync", "--python", sys.executable)
    bench.begin()
    for words in ("", "--no-sync "):
        for _ in range(2):
            assert bench.bash(f"uv run {words}pytest")[:2] == (b"version 1\n", 0)
    assert bench.did() == ["record", "replay"] * 2
    wheel(wheels, "22")  # of another length: Python itself takes old byte code for a file of the same size and second
    uv("pip", "install", "--no-index", f"--find-links={wheels}", "pytest==22")
    assert bench.bash("uv run --no-sync pytest")[:2] == (b"version 22\n", 0)
    assert bench.did()[-1] == "record"
