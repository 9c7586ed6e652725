"""`inputs` of stretto.toml: what a user names is looked at like a source, wherever it lies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from integration.conftest import Bench, _end
from integration.test_tree import Watch, git, quiet_home, root, same_size_same_times, write  # noqa: F401  (fixtures)
from stretto import tree


class Named(Watch):
    """A watch with `inputs`."""

    def __init__(self, folder: Path, *inputs: str) -> None:
        super().__init__(folder)
        self.scanner.inputs = inputs
        self.moved()


@pytest.mark.parametrize("how", ["absolute", "home", "relative"])
def test_input_file_outside_is_a_source_however_it_is_named(root, short, how):  # noqa: F811
    """F40: an edit that keeps size and time, a removal, and its coming back."""
    path = write(short / "h" / "acme.toml", "1\n")
    pattern = {"absolute": str(path), "home": "~/acme.toml", "relative": "../h/acme.toml"}[how]
    watch = Named(root, pattern)
    same_size_same_times(path)
    assert watch.classes() == {pattern: "source"}
    path.unlink()
    assert watch.moved() == {pattern}
    assert watch.moved() == set()
    write(path)
    assert watch.moved() == {pattern}


def test_input_that_is_not_there_may_appear_with_the_folders_around_it(root, short):  # noqa: F811
    watch = Named(root, str(short / "far" / "deep" / "a.toml"))
    assert watch.moved() == set()
    write(short / "far" / "deep" / "b.toml")
    assert watch.moved() == set()
    write(short / "far" / "deep" / "a.toml")
    assert watch.moved() == {str(short / "far" / "deep" / "a.toml")}


def test_input_folder_outside_counts_whole_with_hidden_files_and_what_its_links_lead_to(root, short):  # noqa: F811
    write(short / "fixtures" / ".hidden" / "a")
    write(short / "other.txt")
    (short / "fixtures" / "link").symlink_to(short / "other.txt")
    watch = Named(root, "../fixtures")
    write(short / "fixtures" / ".hidden" / "a", "2")
    assert watch.moved() == {str(short / "fixtures/.hidden/a")}
    write(short / "other.txt", "2")
    assert watch.moved() == {str(short / "fixtures/link")}
    shutil.rmtree(short / "fixtures")
    assert "../fixtures" in watch.moved()


def test_input_pattern_fits_what_comes_later_and_nothing_else(root, short):  # noqa: F811
    write(short / "conf" / "a.toml")
    pattern = f"{short}/c?nf/*.toml"
    watch = Named(root, pattern)
    write(short / "conf" / "b.txt")
    assert watch.moved() == set()
    write(short / "conf" / ".c.toml")
    assert watch.moved() == {pattern}
    write(short / "conf" / "a.toml", "2")
    assert watch.moved() == {pattern}
    write(short / "canf" / "x.toml")
    assert watch.moved() == {pattern}


def test_input_link_whose_target_is_exchanged_is_seen(root, short):  # noqa: F811
    write(short / "one")
    write(short / "two")
    (short / "current").symlink_to("one")
    watch = Named(root, "../current")
    write(short / "one", "2")
    assert watch.moved() == {"../current"}
    (short / "next").symlink_to("two")
    os.replace(short / "next", short / "current")
    assert watch.moved() == {"../current"}


def test_input_that_git_ignores_is_a_source_and_not_a_product(root):  # noqa: F811
    watch = Named(root, ".env", "build")
    write(root / ".env", "2")
    write(root / "build" / "out.bin", "2")
    write(root / "debug.log", "2")
    assert watch.classes() == {".env": "source", "build/out.bin": "source", "debug.log": "ignored"}


def test_input_in_a_cache_or_an_installed_package_is_seen(root):  # noqa: F811
    write(root / ".mypy_cache" / "3.11" / "x.json")
    write(root / "node_modules" / ".package-lock.json", "{}")
    write(root / "node_modules" / "pkg" / "deep" / "index.js")
    watch = Named(root, ".mypy_cache", "node_modules/pkg/deep/index.js")
    write(root / ".mypy_cache" / "3.11" / "x.json", "2")
    assert watch.moved() == {str(root / ".mypy_cache/3.11/x.json")}
    same_size_same_times(root / "node_modules" / "pkg" / "deep" / "index.js")
    assert watch.moved() == {"node_modules/pkg/deep/index.js"}


def test_input_pattern_looked_for_beyond_the_limit_is_a_problem_and_a_folder_is_looked_at_when_asked(root, short, monkeypatch):  # noqa: F811
    for number in range(6):
        write(short / "many" / f"{number}.x")
    monkeypatch.setattr(tree, "MAX_OUTSIDE", 5)
    watch = Watch(root)
    watch.scanner.inputs = ("../many/*.y",)
    assert "has more than 5 entries" in watch.scanner.scan().problem
    watch.scanner.inputs = ("../many",)
    before = watch.scanner.scan()
    write(short / "many" / "1.x", "2")
    assert before.problem == watch.scanner.scan().problem == "" and watch.scanner.heaps_moved(before.moment) == str(short / "many")


def test_inputs_taken_away_again_count_as_moved_once(root, short):  # noqa: F811
    path = write(short / "a")
    watch = Named(root, "../a")
    watch.scanner.inputs = ()
    assert watch.moved() == {"../a"}
    write(path, "2")
    assert watch.moved() == set()


def test_input_outside_edited_between_run_and_question_means_a_real_run(short, project, state_base):
    """F40, end to end: `inputs` in a granted stretto.toml."""
    bench = Bench(short, project, state_base, rules=b'inputs = ["../shared/*.toml"]\n')
    try:
        path = write(short / "shared" / "a.toml", "one\n")
        bench.tool("pytest", 'cat ../shared/*.toml; echo run >> "$HOME/runs"')
        bench.begin()
        for text in ("one\n", "two\n"):
            write(path, text)
            for _ in range(2):
                assert bench.bash("pytest -q")[:2] == (text.encode(), 0)
        write(short / "shared" / "b.toml", "three\n")
        assert bench.bash("pytest -q")[:2] == (b"two\nthree\n", 0)
        assert bench.did() == ["record", "replay", "record", "replay", "record"]
    finally:
        _end(bench, frozenset())
