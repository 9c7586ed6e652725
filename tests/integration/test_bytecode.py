"""Byte code that a run ahead made between two edits within one second does not answer for the second of them."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from integration.test_tree import Watch, git, quiet_home, root, write  # noqa: F401  (fixtures)
from stretto import bytecode
from stretto.testing import faults
from stretto.testing.wait import wait_until

FIRST, SECOND = "x = 111\n", "x = 222\n"


def compiled(source: Path, **how) -> Path:
    return Path(py_compile.compile(str(source), doraise=True, **how))


def edited_within_its_second(source: Path, text: str) -> None:
    """Write another text of the same size, which has the whole second of the one before, as two edits in a row have."""
    before = source.stat().st_mtime_ns
    source.write_text(text)
    os.utime(source, ns=(before, before + 1))


def imported(folder: Path, python: str = sys.executable) -> str:
    return subprocess.run([python, "-c", "import m; print(m.x)"], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def between(root):  # noqa: F811
    """A source edited twice within a second, and byte code of its first text."""
    source = write(root / "src" / "m.py", FIRST)
    os.utime(source, (1_700_000_000, 1_700_000_000))
    made = compiled(source)
    edited_within_its_second(source, SECOND)
    return source, made


def test_byte_code_of_the_text_before_is_removed_and_python_reads_the_source(root, between):  # noqa: F811
    source, made = between
    assert imported(source.parent) == "111"  # what Python does by itself
    watch = Watch(root)
    assert watch.scanner.drop_byte_code(["src/m.py"], 0) == 1 and not made.exists()
    assert imported(source.parent) == "222"
    assert watch.moved() == set()  # neither that it went nor that it came is a change


def test_byte_code_of_every_interpreter_and_of_pytest_is_removed(root, between):  # noqa: F811
    _, made = between
    names = ["m.cpython-399.pyc", "m.cpython-311.opt-2.pyc", "m.cpython-311-pytest-8.4.1.pyc", "m.pypy310.pyc"]
    for name in names:
        (made.parent / name).write_bytes(made.read_bytes())
        os.utime(made.parent / name, (1_700_000_000, 1_700_000_000))
    assert Watch(root).scanner.drop_byte_code(["src/m.py"], 0) == 5
    assert list(made.parent.iterdir()) == []


def remade(source: Path, made: Path) -> None:
    compiled(source)


def by_hash(source: Path, made: Path) -> None:
    compiled(source, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    os.utime(made, (1, 1))


def of_another_size(source: Path, made: Path) -> None:
    edited_within_its_second(source, "x = 3\n")


def of_another_second(source: Path, made: Path) -> None:
    os.utime(source, (1_700_000_001, 1_700_000_001))


def tracked(source: Path, made: Path) -> None:
    git(source.parent, "add", "-f", str(made))


def behind_a_link(source: Path, made: Path) -> None:
    made.parent.rename(source.parent / "far")
    made.parent.symlink_to("far")


def a_link_itself(source: Path, made: Path) -> None:
    made.rename(source.parent / "far.pyc")
    made.symlink_to("../far.pyc")


def of_another_source(source: Path, made: Path) -> None:
    made.rename(made.with_name("n." + made.name.partition(".")[2]))


def everything(top: Path) -> list[tuple[Path, int]]:
    return sorted((path, path.lstat().st_ino) for path in (top / "src").rglob("*.pyc"))


@pytest.mark.parametrize(
    "change", [remade, by_hash, of_another_size, of_another_second, tracked, behind_a_link, a_link_itself, of_another_source]
)
def test_byte_code_that_does_not_answer_for_an_earlier_text_stays(root, between, change):  # noqa: F811
    source, made = between
    change(source, made)
    before = everything(root)
    assert before and Watch(root).scanner.drop_byte_code(["src/m.py", "src", "gone/m.py", ".env"], 0) == 0
    assert everything(root) == before


def test_byte_code_that_one_who_read_the_earlier_text_may_have_written_later_is_removed(root, between):  # noqa: F811
    """A run that is stopped because the source moved may have read it before and written its byte code after."""
    source, made = between
    made.write_bytes(made.read_bytes())
    later_ns = source.stat().st_ctime_ns + 1_000_000_000
    os.utime(made, ns=(later_ns, later_ns))
    watch = Watch(root)
    assert watch.scanner.drop_byte_code(["src/m.py"], 0) == 0
    assert watch.scanner.drop_byte_code(["src/m.py"], later_ns) == 1


def test_byte_code_below_a_prefix_is_removed_in_the_project_and_nowhere_else(root, short, between):  # noqa: F811
    source, made = between
    for prefix in (root / "build", short / "elsewhere"):
        write(prefix / str(source.parent)[1:] / made.name, "").write_bytes(made.read_bytes())
        os.utime(prefix / str(source.parent)[1:] / made.name, (1_700_000_000, 1_700_000_000))
    made.unlink()
    prefixes = [str(root / "build"), str(short / "elsewhere"), "relative"]
    assert Watch(root).scanner.drop_byte_code(["src/m.py"], 0, prefixes) == 1
    assert [path.name for path in short.rglob(made.name)] == [made.name]


def test_header_is_read_as_python_writes_it(tmp_path):
    source = write(tmp_path / "m.py", FIRST)
    header = compiled(source).read_bytes()[:16]
    assert header[:4] == importlib.util.MAGIC_NUMBER
    assert bytecode.answers(header, int(source.stat().st_mtime), len(FIRST))
    assert not bytecode.answers(header[:12], int(source.stat().st_mtime), len(FIRST)) and not bytecode.answers(b"", 0, 0)


def test_session_s_own_python_after_an_edit_never_meets_byte_code_of_a_run_ahead_before_it(bench):
    """The run ahead imports between the edits; `python app.py` is no check, so nobody is asked when it runs."""
    bench.python = faults.altered(bench.short, "from stretto import schedule; schedule.OVERLOADED = 1e9")  # whatever else the machine does
    bench.write(bench.root / ".gitignore", "__pycache__\n")
    bench.write(bench.root / "m.py", FIRST)
    bench.write(bench.root / "app.py", "import m; print(m.x)\n")
    bench.tool("pytest", f'{sys.executable} -c "import m; print(m.x)"; : > "$HOME/imported"; sleep 0.3')
    bench.begin()
    bench.bash("pytest -q")
    bench.bash("pytest -q")
    (bench.short / "imported").unlink()
    bench.edit("m.py", SECOND)
    wait_until((bench.short / "imported").exists)  # a run ahead has made byte code of that text
    before = (bench.root / "m.py").stat().st_mtime_ns
    bench.write(bench.root / "m.py", "x = 333\n")
    os.utime(bench.root / "m.py", ns=(before, before + 1))
    written = {"file_path": str(bench.root / "m.py"), "content": "x = 333\n"}
    bench.batch({"tool_use_id": "toolu_same", "tool_name": "Write", "tool_input": written})
    assert bench.bash(f"{sys.executable} app.py")[0] == b"333\n"
    assert bench.bash("pytest -q")[0] == b"333\n"
