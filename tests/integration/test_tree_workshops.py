"""A development server that writes all the time: what it costs nobody, and what counts all the same (decision 0011)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.test_tree import Watch, git, quiet_home, root, write  # noqa: F401  (fixtures)
from stretto import freshness, tree
from stretto.testing.wait import wait_until

SERVER = """
import pathlib, sys, time
folder, page = pathlib.Path(sys.argv[1]), 0
while True:
    page += 1
    for name in ("trace", "build-manifest.json", f"server/app/page{page % 50}.js", f"cache/webpack/{page % 20}.pack"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{page}\\n")
    time.sleep(0.005)
"""


def make_next(folder: Path) -> Path:
    """What `next dev` of 15.5 leaves after one page was looked at, in small."""
    write(folder / "package.json", json.dumps({"dependencies": {"next": "15.5.0"}, "scripts": {"build": "next build"}}))
    made = folder / ".next"
    for name in ("build-manifest.json", "trace", "routes-manifest.json", "server/app/page.js", "static/chunks/main-app.js", "cache/x.pack"):
        write(made / name)
    write(made / "package.json", '{"type": "commonjs"}')
    write(made / "types" / "app" / "page.ts", "export type A = 1\n")
    return made


@pytest.fixture
def shop(root):  # noqa: F811
    write(root / ".gitignore", ".next/\n")
    return make_next(root)


def since(watch: Watch) -> set[tuple[str, str]]:
    """What moved since the scan before, for everybody, with its class."""
    before = watch.scanner.generation
    watch.moved()
    changes = watch.scanner.classify(watch.scanner.changes(before, watch.scanner.generation))
    return {(change.path, change.of.value) for change in changes}


def test_marks_of_tree_and_freshness_are_the_same():
    assert tree.REWRITTEN == freshness.REWRITTEN


def test_what_a_server_writes_for_itself_is_a_class_of_its_own_and_no_move(shop, root):  # noqa: F811
    watch = Watch(root)
    write(shop / "server" / "app" / "page.js", "2")
    write(shop / "trace", "2")
    write(shop / "server" / "more" / "new.js")
    (shop / "cache" / "x.pack").unlink()
    before = watch.scanner.generation
    assert watch.moved() == set()
    seen = {(change.path, change.of.value) for change in watch.scanner.changes(before, before + 1)}
    names = ("server/app/page.js", "trace", "server/more", "server/more/new.js", "cache/x.pack")
    assert seen == {(f".next/{name}", "workshop") for name in names}
    assert not watch.scanner.covers(str(shop / "trace"))
    assert watch.scanner.covers(str(shop / "types" / "app" / "page.ts"))


def test_what_other_tools_read_counts_by_its_bytes_and_a_rewriting_counts_during_a_run(shop, root):  # noqa: F811
    watch = Watch(root)
    path = shop / "types" / "app" / "page.ts"
    write(path, path.read_text())
    found = since(watch)
    assert found == {(f".next/types/app/page.ts{freshness.REWRITTEN}", "ignored")}
    assert since(watch) == set()
    write(path, "export type A = 2\n")
    assert since(watch) == {(".next/types/app/page.ts", "ignored")}


@pytest.mark.parametrize("name", ["BUILD_ID", "server/pages/a.test.js", "server/tool.py", "types/new.d.ts"])
def test_what_a_build_or_a_test_runner_goes_by_counts(shop, root, name):  # noqa: F811
    watch = Watch(root)
    write(shop / name, "2")
    assert (f".next/{name}", "ignored") in since(watch)


def leave_it_to_git(root: Path) -> None:  # noqa: F811
    write(root / ".gitignore", "nothing\n")


def track_it(root: Path) -> None:  # noqa: F811
    git(root, "add", "-f", ".next/trace")


def name_no_tool(root: Path) -> None:  # noqa: F811
    write(root / "package.json", '{"dependencies": {"nextra": "1"}}')


def take_markers_away(root: Path) -> None:  # noqa: F811
    for name in ("build-manifest.json", "routes-manifest.json"):
        (root / ".next" / name).unlink()


@pytest.mark.parametrize("change", [leave_it_to_git, track_it, name_no_tool, take_markers_away])
def test_a_folder_without_one_of_its_marks_counts_like_any_other_from_then_on(shop, root, change):  # noqa: F811
    watch = Watch(root)
    change(root)
    watch.moved()
    write(shop / "trace", "another\n")
    assert watch.moved() == {".next/trace"}
    assert not watch.scanner.spares([b"pytest"], bytes(root))


def test_a_folder_named_as_an_input_counts_like_a_source(shop, root):  # noqa: F811
    watch = Watch(root)
    watch.scanner.inputs = (".next/server",)
    watch.moved()
    write(shop / "server" / "app" / "page.js", "another\n")
    assert since(watch) == {(".next/server/app/page.js", "source")}


def test_a_folder_in_a_package_of_the_project_is_known_there(root):  # noqa: F811
    write(root / ".gitignore", ".next/\n")
    shop = make_next(root / "apps" / "web")
    watch = Watch(root)
    write(shop / "trace", "another\n")
    assert since(watch) == {("apps/web/.next/trace", "workshop")}
    assert not watch.scanner.spares([b"eslint", b"apps"], bytes(root))
    assert watch.scanner.spares([b"pytest"], bytes(root))


@pytest.fixture
def server(bench):
    """Writes into `.next` until the end of the test."""
    write(bench.root / ".gitignore", ".next/\nlog\n")
    make_next(bench.root)
    bench.tool("pytest", 'cat src.py; sleep 0.3; echo run >> "$HOME/runs"')
    bench.tool("eslint", 'cat src.py; sleep 0.3; echo run >> "$HOME/runs"')
    (bench.root / "src.py").write_text("one\n")
    bench.begin()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(bench.root / ".next")])
    wait_until((bench.root / ".next" / "server" / "app" / "page30.js").exists, what="a server that writes")
    yield process
    process.kill()
    process.wait()


def test_f41_beside_a_server_that_writes_all_the_time_a_check_is_joined_until_a_source_is_edited(bench, server):
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    bench.settled(1)
    assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "replay"]
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.did()[-1] == "replay"
    assert bench.state().joins[-1].of == "ahead"
    bench.edit("src.py", "three\n", told=False)
    assert bench.bash("pytest -q")[:2] == (b"three\n", 0)
    assert server.poll() is None


def test_f41_beside_a_server_that_writes_all_the_time_a_check_that_may_read_it_or_a_build_of_it_is_not_joined(bench, server):
    for _ in range(2):
        assert bench.bash("eslint .")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "record"]
    write(bench.root / ".next" / "BUILD_ID", "1")
    assert bench.bash("pytest -q")[0] == b"one\n"
    write(bench.root / ".next" / "BUILD_ID", "2")
    assert bench.bash("pytest -q")[0] == b"one\n"
    assert bench.did() == ["record"] * 4
