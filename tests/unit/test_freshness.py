"""The rules of settle and judge, as tables: one circumstance changed at a time, and never a FRESH that is not certain."""

import itertools
import math

import pytest

from stretto import freshness, tree
from stretto.freshness import INDEX_REWRITTEN, Settled, foreign, judge, places, settle
from stretto.model import Change, End, Evidence, FileClass, Products, Standing, Verdict, lies_in

SOURCE = Change(path="src/a.py", of=FileClass.SOURCE)
IGNORED = Change(path="build/out.bin", of=FileClass.IGNORED)
GIT = Change(path="git:.", of=FileClass.GIT)
REWRITTEN = Change(path="git:." + INDEX_REWRITTEN, of=FileClass.GIT)
DEPENDENCY = Change(path="deps:.venv", of=FileClass.DEPENDENCY)
BUILT = Products(paths={"build/out.bin"})

EVIDENCE = Evidence(scanner="s1", before=3, after=4, epoch_before=7, epoch_after=7, ended_mono_s=1000.0)
PASSED = End(how="code", value=0)
FAILED = End(how="code", value=1)


def settled(*changes: Change, **differing) -> Settled:
    given = {"edited": (), "epoch_before": 7, "epoch_after": 7, "others_wrote": False, "problem": "", "known": Products()}
    return settle(changes, **(given | differing))


def verdict(**differing) -> Verdict:
    given = {
        "evidence": EVIDENCE,
        "end": PASSED,
        "torn": "",
        "moved": (),
        "scanner": "s1",
        "epoch": 7,
        "now_mono_s": 1012.0,
        "max_age_s": 3600.0,
        "replays": 0,
        "problem": "",
    }
    return judge(**(given | differing))


# --- settle


def test_settle_run_that_changed_nothing_can_be_used():
    assert settled() == Settled(torn="", wrote=(), products=())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(SOURCE, "src/a.py", id="source"),
        pytest.param(GIT, "git's state", id="git"),
        pytest.param(REWRITTEN, "git's state", id="index-rewritten-with-equal-entries"),
        pytest.param(DEPENDENCY, "installed packages in .venv", id="dependency"),
        pytest.param(Change(path="git:libs/x", of=FileClass.GIT), "git's state in libs/x", id="git-of-a-submodule"),
    ],
)
def test_settle_input_moved_during_the_run_is_torn_and_named(change, named):
    """F41: a tree that changed during the run leaves a result nobody may use."""
    result = settled(change)
    assert result.torn == f"{named} changed during the run"
    assert result.products == ()


def test_settle_source_no_edit_explains_was_written_by_the_command():
    assert settled(SOURCE).wrote == ("src/a.py",)


def test_settle_source_the_host_edited_tears_but_was_not_written_by_the_command():
    result = settled(SOURCE, edited={"src/a.py"})
    assert result.torn and result.wrote == ()


def test_settle_folder_made_by_an_edit_was_not_written_by_the_command():
    folders = [Change(path=path, of=FileClass.SOURCE) for path in ("src/new", "src/new/deep", "src/other")]
    assert settled(*folders, edited=["src/new/deep/x.py"]).wrote == ("src/other",)


def test_settle_git_and_packages_are_no_sources_written():
    assert settled(GIT, DEPENDENCY).wrote == ()


def test_settle_ignored_file_not_known_from_an_earlier_run_tears_and_is_remembered():
    """The user's `.env` and the run's own `.coverage` look alike the first time."""
    result = settled(IGNORED)
    assert "has not been seen to write it before" in result.torn and "build/out.bin" in result.torn
    assert result.products == ("build/out.bin",)


def test_settle_ignored_file_known_from_earlier_runs_is_a_product():
    assert settled(IGNORED, known=BUILT) == Settled(torn="", wrote=(), products=("build/out.bin",))


def test_settle_known_product_beside_an_unknown_one_tears():
    other = Change(path=".env", of=FileClass.IGNORED)
    result = settled(IGNORED, other, known=BUILT)
    assert ".env" in result.torn and "build" not in result.torn


def test_settle_ignored_file_the_host_edited_is_an_input_even_when_known():
    result = settled(IGNORED, known=BUILT, edited={"build/out.bin"})
    assert result.torn and result.products == ()


def test_settle_ignored_files_beside_another_run_belong_to_nobody():
    result = settled(IGNORED, known=BUILT, others_wrote=True)
    assert "another command ran at the same time" in result.torn
    assert result.products == ()


# --- products whose names nobody can know, and files that the shell writes


def test_settle_new_name_in_a_folder_that_is_the_commands_own_is_a_product():
    """`.hypothesis/constants/HASH`, `coverage/tmp/coverage-PID`: another name at each run."""
    new = Change(path="coverage/tmp/coverage-4711", of=FileClass.IGNORED)
    assert settled(new, known=Products(folders={"coverage/"})) == Settled(torn="", wrote=(), products=(new.path,))


@pytest.mark.parametrize(
    ("path", "differing"),
    [
        pytest.param("coverage.ini", {}, id="beside the folder"),
        pytest.param("coverage/deep", {"edited": {"coverage/deep"}}, id="the host wrote it"),
        pytest.param("coverage/deep", {"others_wrote": True}, id="another run beside it"),
        pytest.param("out/sub/a.o", {}, id="deeper than a kind of file"),
        pytest.param(".env", {}, id="a file of the user's"),
    ],
)
def test_settle_what_is_not_certain_to_be_the_commands_own_tears(path, differing):
    known = Products(folders={"coverage/", "out/*.o"})
    assert settled(Change(path=path, of=FileClass.IGNORED), known=known, **differing).torn


def test_products_lie_in_whole_folders_that_git_ignores_or_several_of_a_kind_together():
    roots = {"target/debug/a": "target", "target/b": "target", "target": "target"} | dict.fromkeys(("src/a.o", "src/b.o", "src/c.o"), "")
    assert places(roots, roots) == ("src/*.o", "target/")
    assert places([".env", ".env.local", "a.pem", "b.pem"], {}) == ()
    assert lies_in("target/debug/new", "target/") and lies_in("target", "target/") and not lies_in("targets", "target/")
    assert lies_in("src/x.o", "src/*.o") and not lies_in("src/deep/x.o", "src/*.o") and not lies_in("src/x.c", "src/*.o")


def test_what_a_command_is_known_to_write_is_no_move_against_it_while_it_runs():
    """`coverage run` was stopped for its own `.coverage`, and begun again, ten times in half a minute."""
    assert foreign([IGNORED], BUILT) == ()
    assert foreign([IGNORED, SOURCE], BUILT) == (SOURCE,)
    assert foreign([IGNORED], Products()) == (IGNORED,)
    assert foreign([IGNORED], BUILT, {"build/out.bin"}) == (IGNORED,), "the host wrote it"
    of_source = Change(path="build/out.bin", of=FileClass.SOURCE)
    assert foreign([of_source], BUILT) == (of_source,)


@pytest.mark.parametrize("of", [FileClass.SOURCE, FileClass.IGNORED], ids=["a source", "an ignored file"])
def test_settle_what_the_shell_puts_a_runs_output_into_is_not_the_runs_doing(of):
    log = Change(path="log.txt", of=of)
    assert settled(log, outputs=("log.txt",)) == Settled(torn="", wrote=(), products=())
    appended = settled(log, printed=("log.txt",))
    assert appended.torn and not appended.wrote and not appended.products, "it held something that the run may have read"


def test_settle_another_run_that_left_nothing_behind_does_not_tear():
    assert settled(others_wrote=True).torn == ""


def test_settle_moved_epoch_tears():
    assert settled(epoch_after=8).torn


def test_settle_unreadable_project_tears_with_its_reason():
    assert "too many files" in settled(problem="too many files").torn


# --- judge


def test_judge_nothing_moved_is_fresh():
    assert verdict() == Verdict(standing=Standing.FRESH, reason="nothing has changed since it ended 12 s ago")


def test_judge_first_replay_of_a_failure_is_fresh():
    assert verdict(end=FAILED).standing is Standing.FRESH


def test_judge_second_replay_of_a_failure_is_stale():
    """F42: a flaky failure must not come back for ever."""
    result = verdict(end=FAILED, replays=1)
    assert result.standing is Standing.STALE and "failure is not replayed twice" in result.reason


def test_judge_pass_may_be_replayed_many_times():
    assert verdict(replays=1000).standing is Standing.FRESH


def test_judge_crash_signal_is_the_commands_own_failure():
    assert verdict(end=End(how="signal", value=11)).standing is Standing.FRESH


@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param(End(how="timeout"), "too long", id="timeout"),
        pytest.param(End(how="cancelled", value=15), "cancelled", id="cancelled"),
        pytest.param(End(how="oversize"), "more output", id="oversize"),
        pytest.param(End(how="memory"), "out of memory", id="memory"),
        pytest.param(End(how="processes"), "more processes", id="processes"),
        pytest.param(End(how="unstarted", value=2), "could not be started", id="unstarted"),
        pytest.param(End(how="lost"), "not known", id="lost"),
        pytest.param(End(how="signal", value=15), "signal 15", id="killed-from-outside"),
        pytest.param(End(how="signal", value=9), "signal 9", id="sigkill"),
    ],
)
def test_judge_run_that_did_not_end_by_itself_is_unknown(end, said):
    """F42, F43: a timeout or a lost exit is no result."""
    result = verdict(end=end)
    assert result.standing is Standing.UNKNOWN and said in result.reason


@pytest.mark.parametrize("change", [SOURCE, IGNORED, GIT, DEPENDENCY], ids=lambda change: change.of.value)
def test_judge_any_change_since_is_stale_and_named(change):
    """F40; decision 0002: no class of changes is left out."""
    result = verdict(moved=(change,))
    assert result.standing is Standing.STALE
    assert result.reason.endswith("changed since it ended")


def test_judge_index_rewritten_after_the_run_with_equal_entries_is_fresh():
    assert verdict(moved=(REWRITTEN,)).standing is Standing.FRESH


def test_judge_index_rewritten_beside_a_real_change_is_stale():
    assert verdict(moved=(REWRITTEN, SOURCE)).reason == "src/a.py changed since it ended"


@pytest.mark.parametrize(
    ("differing", "standing"),
    [
        pytest.param({"evidence": None}, Standing.UNKNOWN, id="no-evidence"),
        pytest.param({"moved": None}, Standing.UNKNOWN, id="changes-not-known"),
        pytest.param({"scanner": "s2"}, Standing.UNKNOWN, id="another-scanner"),
        pytest.param({"problem": "too many files"}, Standing.UNKNOWN, id="unreadable-project"),
        pytest.param({"torn": "src/a.py changed during the run"}, Standing.TORN, id="torn"),
        pytest.param({"epoch": 8}, Standing.STALE, id="new-epoch"),
        pytest.param({"now_mono_s": 1000.0 + 3600.5}, Standing.STALE, id="too-old"),
        pytest.param({"now_mono_s": 1000.0 + 9000.0}, Standing.STALE, id="much-too-old"),
        pytest.param({"max_age_s": math.nan}, Standing.STALE, id="age-not-a-number"),
        pytest.param({"now_mono_s": math.nan}, Standing.UNKNOWN, id="clock-not-a-number"),
        pytest.param({"now_mono_s": 999.0}, Standing.UNKNOWN, id="ended-in-the-future"),
    ],
)
def test_judge_one_doubt_is_enough(differing, standing):
    result = verdict(**differing)
    assert result.standing is standing
    assert result.reason


def test_judge_forged_evidence_is_never_fresh():
    backwards = Evidence(scanner="s1", before=5, after=4, epoch_before=7, epoch_after=7, ended_mono_s=1000.0)
    assert verdict(evidence=backwards).standing is Standing.UNKNOWN
    across = Evidence(scanner="s1", before=3, after=4, epoch_before=6, epoch_after=7, ended_mono_s=1000.0)
    assert verdict(evidence=across).standing is Standing.TORN


def test_judge_running_on_an_unmoved_tree_is_running():
    assert verdict(end=None).standing is Standing.RUNNING


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        pytest.param({"moved": (SOURCE,)}, "src/a.py changed since it began", id="source-moved"),
        pytest.param({"moved": (IGNORED,)}, "build/out.bin changed since it began", id="ignored-moved"),
        pytest.param({"moved": (REWRITTEN,)}, "git's state changed since it began", id="index-rewritten"),
        pytest.param({"epoch": 8}, "cannot show", id="epoch-moved"),
        pytest.param({"torn": "because"}, "because", id="told-torn"),
    ],
)
def test_judge_running_while_the_tree_moved_is_torn(differing, said):
    result = verdict(end=None, **differing)
    assert result.standing is Standing.TORN and said in result.reason


def test_judge_running_under_another_scanner_is_unknown():
    assert verdict(end=None, scanner="s2").standing is Standing.UNKNOWN


def test_judge_every_combination_with_any_doubt_is_not_fresh():
    """Two doubts never cancel each other."""
    doubts = {
        "evidence": [EVIDENCE, None],
        "end": [PASSED, End(how="lost"), End(how="cancelled", value=15), None],
        "torn": ["", "torn"],
        "moved": [(), (SOURCE,), (IGNORED, REWRITTEN), None],
        "scanner": ["s1", "s2"],
        "epoch": [7, 8],
        "now_mono_s": [1012.0, 9999.0, 1.0],
        "problem": ["", "no"],
    }
    fresh = [
        combination
        for combination in itertools.product(*doubts.values())
        if verdict(**dict(zip(doubts, combination, strict=True))).standing is Standing.FRESH
    ]
    assert fresh == [(EVIDENCE, PASSED, "", (), "s1", 7, 1012.0, "")]


# --- words


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "f0"), (2, "f0 and f1"), (3, "f0, f1 and f2"), (4, "f0, f1, f2 and 1 more"), (9, "f0, f1, f2 and 6 more")],
)
def test_reason_names_the_first_three_paths(count, said):
    moved = tuple(Change(path=f"f{number}", of=FileClass.SOURCE) for number in range(count))
    assert verdict(moved=moved).reason == f"{said} changed since it ended"


@pytest.mark.parametrize(("age_s", "said"), [(3, "3 s"), (300, "5 minutes"), (7200, "2 hours")])
def test_reason_tells_the_age_in_words(age_s, said):
    assert said in verdict(now_mono_s=1000.0 + age_s, max_age_s=1e6).reason


def test_mark_of_a_rewritten_index_is_the_same_in_both_modules():
    assert freshness.INDEX_REWRITTEN == tree.TOUCHED
