"""The benches at a tiny scale: they run, they clean up, and our log loses nothing. The figures mean nothing here."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from bench import Figure, bench_attach, bench_beside, bench_crowd, bench_hook, bench_idle, bench_jobs, bench_journal, bench_launch
from bench.__main__ import _line
from bench.writers import WAYS, load

from stretto.system import LINUX

SCALE = os.environ.get("STRETTO_SCALE", "quick")
WRITERS, RECORDS = (64, 1_000) if SCALE == "soak" else (4, 20)


@pytest.fixture(autouse=True)
def cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever a bench writes lies in here, and is gone at its end."""
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield
    assert not list(place.iterdir())


@pytest.mark.parametrize("way", [way for way in WAYS if way != "naive"])
def test_a_log_written_by_many_processes_at_once_loses_no_acknowledged_record(way, tmp_path):
    """F54, C-6."""
    print(f"scale {SCALE}: {WRITERS} writers, {RECORDS} records each")
    found = load(way, str(tmp_path), WRITERS, RECORDS, bench_journal.MIXED)
    assert (found.lost, found.torn) == (0, 0)
    assert found.acknowledged + found.refused == WRITERS * RECORDS


def test_a_log_with_a_torn_record_is_counted_as_such(tmp_path):
    """The counting itself: a bench that cannot see a loss proves nothing."""
    load("naive", str(tmp_path), 1, 3, (10,))
    log = tmp_path / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"\n", b"", 1))
    found = load("naive", str(tmp_path), 1, 3, (10,))
    assert found.torn == 1


def test_the_journal_bench_counts_no_loss_of_ours_at_any_number_of_processes():
    figures = bench_journal.run(writers=2, records=10, appends=16, events=60, rounds=1)
    assert next(figure for figure in figures if "our log" in figure.name).value == 0
    speeds = [figure for figure in figures if figure.name.startswith("append")]
    assert len(speeds) == 2 * len(bench_journal.PROCESSES)
    assert all("lost 0 and" in figure.against for figure in speeds)


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
def test_the_other_benches_give_each_figure_with_its_yardstick():
    figures = [*bench_launch.run(runs=2), *bench_idle.run(window_s=0.2)]
    assert len(figures) == 5
    assert all(figure.against and figure.value >= 0 for figure in figures)


def test_the_bench_of_attaching_ends_all_that_it_started():
    attached, beside = bench_attach.run(runs=2, turns=10_000)
    assert attached.value > 0
    assert beside.value > 0


def test_the_bench_of_a_command_beside_runs_ahead_ends_them_all():
    (figure,) = bench_beside.run(runs=2, turns=100_000)
    assert figure.missing or (figure.value > 0 and "beside it" in figure.against)


def test_the_bench_of_hook_and_shim_in_a_crowd_gives_both_with_their_yardsticks_and_ends_the_crowd():
    """`cleaned_up` would find what is left; the workers are waited for when the context is left."""
    hook, miss = bench_crowd.run(runs=2, files=300, workers=1)
    assert hook.value > 0 and "300 files" in hook.name and "times it" in hook.against
    assert "a scan is" in miss.against


def test_every_job_of_the_jobs_bench_has_its_exit_in_the_log(tmp_path):
    """`ours` raises when one is missing."""
    assert bench_jobs.ours(str(tmp_path), 4) > 0


def test_jobs_asked_of_a_supervisor_all_pass():
    assert bench_jobs.supervised(4) > 0


def test_a_figure_that_could_not_be_taken_says_why_and_is_never_met():
    figure = Figure(name="jobs", value=0, unit="times", target=1, missing="not installed")
    assert not figure.met
    assert "not installed" in _line(figure)


def test_the_bench_of_a_hook_with_many_commands_known_ends_both_supervisors():
    (figure,) = bench_hook.run_known(runs=2, known=3)
    assert figure.value > 0
    assert "3 commands known" in figure.name
