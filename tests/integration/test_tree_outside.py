"""What lies outside the project, or is too large to be asked for file by file: path dependencies, environments elsewhere, data sets."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from integration.conftest import Bench, _end
from integration.test_tree import Watch, git, quiet_home, root, same_size_same_times, write  # noqa: F401  (fixtures)
from stretto import heaps, tree
from stretto.heaps import Moment
from stretto.testing.wait import wait_until
from stretto.tree import Scanner, tool

# --- manifests


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Cargo.toml", 'lib = { path = "../lib" }'),
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = ["../lib"]'),
        ("deep/package.json", '{"dependencies": {"lib": "file:../../lib"}}'),
        ("go.mod", "replace example.com/lib => ../lib"),
    ],
)
def test_folder_that_a_manifest_names_outside_is_scanned(root, short, name, text):  # noqa: F811
    """F40: what a path dependency holds is an input like any source."""
    path = write(short / "lib" / "src" / "lib.rs", "1\n")
    write(root / name, text)
    watch = Watch(root)
    same_size_same_times(path)
    assert watch.classes() == {str(path): "source"}


def test_folder_that_a_manifest_outside_names_in_turn_is_scanned(root, short):  # noqa: F811
    write(short / "lib" / "Cargo.toml", 'base = { path = "../base" }')
    path = write(short / "base" / "src.rs")
    write(root / "Cargo.toml", 'lib = { path = "../lib" }')
    watch = Watch(root)
    write(path, "2\n")
    assert watch.moved() == {str(path)}


def test_file_that_a_manifest_extends_is_an_input_and_so_is_what_it_names(root, short):  # noqa: F811
    base = write(short / "tsconfig.base.json", f'{{"extends": "../{short.name}/far/more.json"}}')
    more = write(short / "far" / "more.json", "{}")
    write(root / "tsconfig.json", '{"extends": "../tsconfig.base.json"}')
    watch = Watch(root)
    write(more, "{ }")
    assert watch.moved() == {str(more)}
    write(base, "{}")
    assert str(base) in watch.moved()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ruff.toml", 'extend = "../shared/base.toml"'),
        (".eslintrc.json", '{"extends": "../shared/base.toml"}'),
        ("deep/phpstan.neon", "includes:\n  - ../../shared/base.toml\n"),
        (".flake8", "[flake8]\nfilename = ../shared/base.toml\n"),
        ("jest.config.json", '{"roots": ["../shared"]}'),
        ("scripts/test.sh", ". ../shared/base.toml\n"),
    ],
)
def test_what_configuration_of_any_tool_names_outside_is_an_input(root, short, name, text):  # noqa: F811
    """F40: `extends`, `include` and their kin lead out of a project by files that are no manifests."""
    path = write(short / "shared" / "base.toml", "1\n")
    write(root / name, text)
    watch = Watch(root)
    same_size_same_times(path)
    assert watch.classes() == {str(path): "source"}


@pytest.mark.parametrize("name", ["strict.json", "rules.js", "lib/a.py"])
def test_what_a_file_outside_names_beside_itself_is_an_input(root, short, name):  # noqa: F811
    """F40: `"extends": "./strict.json"` two steps from the project."""
    path = write(short / "shared" / name, "1\n")
    write(short / "shared" / "unnamed.txt")
    write(short / "shared" / "base.json", '{"extends": ["./strict.json", "./rules"], "path": "lib"}')
    write(root / "tsconfig.json", '{"extends": "../shared/base.json"}')
    watch = Watch(root)
    write(short / "shared" / "unnamed.txt", "more\n")
    assert watch.moved() == set()
    write(path, "22\n")
    assert watch.moved() == {str(path)}
    os.unlink(path)
    assert watch.moved() & {str(path), str(path.parent)}


def test_what_configuration_above_the_project_names_is_an_input(root, short):  # noqa: F811
    path, base = write(short / "lib" / "a.py", "1\n"), write(short / "base.json", "{}")
    write(short / "pytest.ini", "[pytest]\npythonpath = lib\n")
    write(short / "tsconfig.json", '{"extends": "./base.json"}')
    watch = Watch(root)
    write(path, "22\n")
    assert watch.moved() == {str(path)}
    write(base, "{ }")
    assert watch.moved() == {str(base)}


def test_packages_installed_above_the_project_count(root, short):  # noqa: F811
    lock = write(short / "node_modules" / ".package-lock.json", "{}")
    watch = Watch(root)
    write(lock, "{ }")
    assert watch.moved() == {str(lock)}


def test_configuration_leads_to_no_folder_around_the_project_and_a_folder_full_of_it_is_data(root, short):  # noqa: F811
    write(short / "beside.py")
    write(root / "tool.yml", f"context: ..\nup: ../../{short.name}\n")
    for number in range(tree.manifests.CONFIGS_MOST + 1):
        write(root / "data" / f"{number}.json", '"../../shared/x"')
    write(short / "shared" / "x")
    watch = Watch(root)
    write(short / "beside.py", "2\n")
    write(short / "shared" / "x", "2\n")
    assert watch.moved() == set()


def test_what_a_manifest_names_and_is_not_there_is_seen_when_it_comes(root, short):  # noqa: F811
    write(root / "go.mod", "replace x => ../lib")
    watch = Watch(root)
    assert watch.moved() == set()
    write(short / "lib" / "x.go")
    assert str(short / "lib") in watch.moved()


def test_manifest_that_names_another_folder_from_now_on_leads_there(root, short):  # noqa: F811
    for name in ("one", "two"):
        write(short / name / "a.py")
    write(root / "pytest.ini", "[pytest]\npythonpath = ../one\n")
    watch = Watch(root)
    write(root / "pytest.ini", "[pytest]\npythonpath = ../two\n")
    assert "pytest.ini" in watch.moved()
    write(short / "two" / "a.py", "2\n")
    assert watch.moved() == {str(short / "two" / "a.py")}
    write(short / "one" / "a.py", "2\n")
    assert watch.moved() == set()


def test_manifest_is_read_when_it_changed_and_never_waited_for(root, monkeypatch):  # noqa: F811
    write(root / "pyproject.toml", "[project]\n")
    os.mkfifo(root / "package.json")
    monkeypatch.setattr(tree, "COARSE_RACY_NS", -(10**12))
    watch = Watch(root)
    read: list[str] = []
    whole = tree._read
    monkeypatch.setattr(tree, "_read", lambda path, *more: read.append(path) or whole(path, *more))
    assert watch.moved() == set() and str(root / "pyproject.toml") not in read
    write(root / "pyproject.toml", "[project] \n")
    assert watch.moved() == {"pyproject.toml"} and str(root / "pyproject.toml") in read


def test_manifest_too_large_to_be_read_is_a_problem(root, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tree.manifests, "MOST_BYTES", 100)
    write(root / "package.json", "{}" + " " * 200)
    assert "package.json is too large to be read" in Scanner(str(root)).scan().problem


# --- where environments outside lead


def environment_outside(short: Path) -> tuple[Path, Path]:
    """A made-up environment outside the project: its program, its site-packages."""
    site = short / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    write(short / "env" / "pyvenv.cfg", "home = /usr/bin\n")
    (short / "env" / "bin").mkdir()
    (short / "env" / "bin" / "python").symlink_to(sys.executable)
    program = write(short / "env" / "bin" / "pytest", f"#!{short}/env/bin/python\n")
    return program, site


@pytest.mark.parametrize("how", ["pth", "egg-link", "direct-url", "finder", "code-in-pth"])
def test_what_an_environment_outside_leads_to_is_told_and_scanned_without_a_change(root, short, how):  # noqa: F811
    """F40: an editable install in an environment that itself lies outside."""
    program, site = environment_outside(short)
    lib = short / "lib"
    path = write(lib / "acme.py")
    if how == "pth":
        write(site / "acme.pth", f"{lib}\n")
    elif how == "egg-link":
        write(site / "acme.egg-link", f"{lib}\n.\n")
    elif how == "direct-url":
        write(site / "acme-1.dist-info" / "direct_url.json", f'{{"url": "file://{lib}", "dir_info": {{"editable": true}}}}')
    elif how == "finder":
        write(site / "__editable___acme_1_finder.py", f"MAPPING: dict[str, str] = {{'acme': '{lib}'}}\n")
    else:
        write(site / "acme.pth", f"import sys; sys.path.append('{lib}')\n")
    found = tool(bytes(program), bytes(root), [b"pytest"], root=bytes(root))
    assert found.leads == (str(lib),)
    watch = Watch(root)
    watch.scanner.lead(found.leads)
    assert watch.moved() == set()
    write(path, "2\n")
    assert watch.moved() == {str(path)}


def test_what_lies_where_an_environment_leads_and_what_that_leads_to_has_not_moved_when_it_is_first_seen(root, short):  # noqa: F811
    """No run before could have been led there: nothing ends, and nothing is run ahead for it."""
    write(short / "lib" / "pyproject.toml", '[tool]\na = "../more"\nb = "/nowhere/at/all"\nc = "../none"\n')
    (short / "lib" / "link").symlink_to(write(short / "far" / "a.txt").parent)
    git(short / "lib", "init", "-q")
    path = write(short / "more" / "m.py")
    watch = Watch(root)
    watch.scanner.lead([str(short / "lib")])
    assert watch.moved() == set()
    write(path, "2\n")
    write(short / "far" / "a.txt", "2\n")
    write(short / "none" / "n.py")
    assert watch.moved() >= {str(path), str(short / "far" / "a.txt"), str(short / "none")}


def test_folders_of_pythonpath_are_scanned_and_those_of_the_system_are_not(root, short):  # noqa: F811
    program, _ = environment_outside(short)
    path = write(short / "lib" / "acme.py")
    found = tool(bytes(program), bytes(root), [b"pytest"], root=bytes(root), env=[b"PYTHONPATH=../lib:/usr/lib"])
    watch = Watch(root)
    watch.scanner.lead(found.leads)
    watch.scanner.lead(["/usr/lib", str(short), str(Path.home())])
    assert watch.moved() == set() and len(watch.scanner.led) == 1
    write(path, "2\n")
    assert watch.moved() == {str(path)}


def test_check_of_an_environment_outside_runs_again_after_an_edit_where_that_leads(bench, short):
    program, site = environment_outside(short)
    path = write(short / "lib" / "acme.py", "one\n")
    write(site / "acme.pth", f"{short}/lib\n")
    program.write_text(f"#!{short}/env/bin/python\nprint(open({str(path)!r}).read())\n")
    program.chmod(0o755)
    bench.env["PATH"] = f"{program.parent}:{bench.env['PATH']}"
    bench.begin()
    for text in (b"one", b"two"):
        path.write_bytes(text + b"\n")
        for _ in range(2):
            assert bench.bash("pytest -q")[0].strip() == text
    assert bench.did() == ["record", "replay", "record", "replay"]


# --- heaps


def data(folder: Path, count: int) -> None:
    for number in range(count):
        write(folder / f"{number % 3}" / f"{number}.jpg", "")


@pytest.fixture
def heap(root, monkeypatch):  # noqa: F811
    """A project of which git ignores a folder with more files than a scan asks for."""
    write(root / ".gitignore", "build/\n*.log\n.env\nlocal/\n/data\n")
    data(root / "data", 60)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 50)
    watch = Watch(root)
    at_rest(watch)
    return watch


def at_rest(watch: Watch) -> Moment:
    """Wait until what was written lies so far back that what is written next can be told from it; return a moment of then."""
    moments: list[Moment] = []

    def rests() -> bool:
        moments.append(watch.scanner.scan().moment)
        return watch.scanner.heaps_moved(moments[-1]) == ""

    wait_until(rests)
    return moments[-1]


HEAP_CHANGES = [
    pytest.param(lambda d: write(d / "0" / "0.jpg", "other"), id="content"),
    pytest.param(lambda d: same_size_same_times(write(d / "0" / "0.jpg", "12")), id="same-size-and-mtime"),
    pytest.param(lambda d: (d / "0" / "0.jpg").unlink(), id="deleted"),
    pytest.param(lambda d: write(d / "1" / "new.jpg"), id="created"),
    pytest.param(lambda d: (d / "1" / "1.jpg").rename(d / "1" / "x.jpg"), id="renamed"),
    pytest.param(lambda d: (d / "2" / "2.jpg").chmod(0o600), id="chmod"),
    pytest.param(lambda d: shutil.rmtree(d / "2"), id="folder-deleted"),
]


@pytest.mark.parametrize("change", HEAP_CHANGES)
def test_change_in_a_heap_is_found_by_one_look_after_it(root, heap, change):  # noqa: F811
    before = at_rest(heap)
    change(root / "data")
    assert heap.moved() == set()
    assert heap.scanner.heaps_moved(before) == "data"
    at_rest(heap)


def test_change_before_the_first_look_at_a_heap_is_found_at_it(root, heap):  # noqa: F811
    """What the heap was when a run began need not be known."""
    before = heap.scanner.scan().moment
    write(root / "data" / "0" / "0.jpg", "other")
    heap.scanner.scan()
    assert heap.scanner.heaps_moved(before) == "data"


def test_clock_of_files_that_was_set_back_means_that_a_heap_moved(heap):
    now = Moment.now()
    assert heap.scanner.heaps_moved(Moment(now.wall_ns + 10**12, now.steady_ns)) != ""


def test_heap_is_walked_once_for_all_that_is_asked_at_one_look(heap, monkeypatch):
    walks: list[str] = []
    whole = heaps.walk
    monkeypatch.setattr(heaps, "walk", lambda top: walks.append(top) or whole(top))
    for _ in range(2):
        moment = heap.scanner.scan().moment
        for _ in range(3):
            heap.scanner.heaps_moved(moment)
    assert len(walks) == 2


def test_what_a_link_in_a_heap_leads_to_is_scanned(root, short, monkeypatch):  # noqa: F811
    write(root / ".gitignore", "/data\n")
    data(root / "data", 60)
    path = write(short / "far" / "a.txt")
    (root / "data" / "0" / "far").symlink_to(short / "far")
    monkeypatch.setattr(tree, "MAX_ENTRIES", 50)
    watch = Watch(root)
    write(path, "2\n")
    assert watch.moved() == {str(path)}


def test_folder_outside_beyond_its_limit_is_a_heap(root, short, monkeypatch):  # noqa: F811
    data(short / "big", 30)
    (root / "big").symlink_to(short / "big")
    monkeypatch.setattr(tree, "MAX_OUTSIDE", 10)
    watch = Watch(root)
    before = at_rest(watch)
    write(short / "big" / "0" / "0.jpg", "other")
    watch.scanner.scan()
    assert watch.scanner.heaps_moved(before) == str(short / "big")
    assert "30" in watch.scanner.size() or "33" in watch.scanner.size()


def test_heap_that_takes_too_long_is_trouble_that_names_it_and_is_not_walked_again_soon(root, heap, monkeypatch):  # noqa: F811
    monkeypatch.setattr(heaps, "LIMIT_S", -1.0)
    monkeypatch.setattr(heaps, "walk", lambda top, whole=heaps.walk: whole(top, -1.0))
    moment = heap.scanner.scan().moment
    assert "data" in heap.scanner.heaps_moved(moment) and "too many files" in heap.scanner.heaps_moved(moment)
    monkeypatch.setattr(heaps, "walk", lambda top: pytest.fail("walked again"))
    heap.scanner.scan()
    assert "too many files" in heap.scanner.heaps_moved(moment)


def test_project_that_is_too_large_is_not_walked_again_until_what_is_left_out_changes(root, monkeypatch):  # noqa: F811
    """No folder that git ignores helps here, so nothing is known; a check pays next to nothing for that."""
    data(root / "tracked", 60)
    git(root, "add", "-A")
    monkeypatch.setattr(tree, "MAX_ENTRIES", 50)
    scanner = Scanner(str(root))
    assert "the project has more than 50 entries" in scanner.scan().problem
    monkeypatch.setattr(Scanner, "_walk", lambda *_: pytest.fail("walked again"))
    assert "the project has more than 50 entries" in scanner.scan().problem == scanner.size()
    monkeypatch.undo()
    scanner.leave_out = ("tracked",)
    assert scanner.scan().problem == ""


def test_folder_that_is_left_out_is_not_looked_at_nor_what_its_link_leads_to(root, short):  # noqa: F811
    write(root / "data" / "a")
    write(short / "far" / "a")
    (root / "far").symlink_to(short / "far")
    scanner = Scanner(str(root))
    scanner.leave_out = ("data", "far")
    scanner.scan()
    write(root / "data" / "a", "2")
    write(short / "far" / "a", "2")
    assert scanner.scan().moved == () and not scanner.covers(str(root / "data" / "a"))


def test_package_folder_without_a_lock_file_in_it_is_compared_by_its_list_beyond_the_limit(root, monkeypatch):  # noqa: F811
    """bun leaves none; its lock file and package.json lie beside the folder."""
    write(root / ".gitignore", "node_modules\n")
    write(root / "package.json", "{}")
    for number in range(10):
        write(root / "node_modules" / f"p{number}" / "package.json", "{}")
    write(root / "node_modules" / "@scope" / "q" / "package.json", "{}")
    monkeypatch.setattr(tree, "MAX_UNMARKED", 8)
    watch = Watch(root)
    write(root / "node_modules" / "p1" / "package.json", "{ }")
    assert watch.classes() == {"deps:node_modules": "dependency"}
    write(root / "node_modules" / "@scope" / "q" / "package.json", "{ }")
    assert watch.classes() == {"deps:node_modules": "dependency"}
    write(root / "node_modules" / "new" / "index.js")
    assert watch.classes() == {"deps:node_modules": "dependency"}
    write(root / "node_modules" / ".cache" / "x")
    assert watch.moved() == set()


def test_check_beside_a_heap_is_joined_until_something_in_it_changes(short, project, state_base, monkeypatch):
    """The limit of the supervisor's own process is the real one, so the heap lies where its limit is small: outside."""
    bench = Bench(short, project, state_base)
    try:
        for number in range(tree.MAX_OUTSIDE + 100):
            folder = short / "big" / f"{number // 1000}"
            if number % 1000 == 0:
                folder.mkdir(parents=True)
            (folder / f"{number}").touch()
        (project / "big").symlink_to(short / "big")
        bench.tool("pytest", 'cat big/0/0; echo run >> "$HOME/runs"')
        bench.begin()
        assert [bench.bash("pytest -q")[0] for _ in range(2)] == [b"", b""]
        (short / "big" / "0" / "0").write_text("other\n")
        assert bench.bash("pytest -q")[0] == b"other\n"
        assert bench.did()[1:] == ["replay", "record"]
    finally:
        _end(bench, frozenset())


def test_environment_that_leads_to_a_place_too_large_is_a_matter_of_its_own_calls(root, short, monkeypatch):  # noqa: F811
    """The rest of the project is known as ever."""
    data(short / "big", 30)
    monkeypatch.setattr(tree, "MAX_OUTSIDE", 10)
    monkeypatch.setattr(tree, "walk", lambda top: heaps.walk(top, -1.0))
    scanner = Scanner(str(root))
    assert scanner.lead([str(short / "big")]) == ""
    assert scanner.scan().problem == ""
    assert "more than 10 entries" in scanner.lead([str(short / "big")])


def test_folder_named_by_its_whole_path_is_scanned_where_it_is_a_project(root, short):  # noqa: F811
    """Such a path may be any place to which something is written."""
    paths = [write(short / "lib" / "setup.py"), write(short / "data" / "1.jpg")]
    write(root / "pyproject.toml", f'lib = {{ path = "{short}/lib" }}\ndata = "{short}/data"\n')
    watch = Watch(root)
    for path in paths:
        write(path, "2\n")
    assert watch.moved() == {str(paths[0])}


def test_folder_outside_is_left_out_where_the_user_says_so(root, short):  # noqa: F811
    write(short / "lib" / "a.rs")
    write(root / "Cargo.toml", 'lib = { path = "../lib" }')
    scanner = Scanner(str(root))
    scanner.leave_out = ("../lib",)
    scanner.scan()
    write(short / "lib" / "a.rs", "2\n")
    assert scanner.scan().moved == ()
