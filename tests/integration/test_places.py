"""The machine's places: shared by all projects, held by who runs, taken in turn."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from integration.conftest import Bench
from stretto import slots as slots_of
from stretto.model import AttemptStarted
from stretto.system import LINUX, is_locked, lives, mono_s, signal_process
from stretto.testing.wait import wait_until

HELD = 'sleep 0.3; while [ -f "$HOME/hold" ]; do sleep 0.02; done; cat src.py'


def names(slots: Path, ending: str) -> list[str]:
    return sorted(path.name for path in slots.glob(f"*.{ending}") if is_locked(str(path)))


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Places of a machine with two cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return tmp_path / "slots"


# --- who holds a place ------------------------------------------------------------------------------------------------------


def test_a_place_is_held_by_the_monitor_when_its_supervisor_lets_go_and_free_when_the_run_is_over(start, slots, tmp_path):
    go = tmp_path / "go"
    place = slots_of.take_place(str(slots))
    assert place is not None
    one = start(f"while ! [ -e {go} ]; do sleep 0.02; done", place.fileno())
    place.promise(1 << 30, one.process.pid)
    place.close()  # as a supervisor's death does
    assert names(slots, "lock") == ["0.lock"]
    if LINUX:
        assert 0 < slots_of.promised_bytes(str(slots)) <= 1 << 30, "what was promised is so as long as its monitor lives"
    go.touch()
    one.end()
    wait_until(lambda: not names(slots, "lock"), what="a free place")
    assert slots_of.promised_bytes(str(slots)) == 0


@pytest.mark.skipif(not LINUX, reason="only Linux ends a worker with its monitor")
def test_f58_a_killed_monitor_frees_its_place(start, slots):
    """F58: the kernel lets go; nobody has to notice anything."""
    place = slots_of.take_place(str(slots))
    assert place is not None
    one = start("exec sleep 60", place.fileno())
    place.close()
    assert names(slots, "lock") == ["0.lock"]
    assert signal_process(one.process, signal.SIGKILL)
    wait_until(lambda: not lives(one.process), what="its death")
    wait_until(lambda: not names(slots, "lock"), what="a free place")


def test_a_worker_holds_no_place_itself(start, slots, tmp_path):
    """What it leaves running would keep the place for ever."""
    place = slots_of.take_place(str(slots))
    assert place is not None
    one = start("ls -l /proc/self/fd /proc/$$/fd /dev/fd/ 2>/dev/null; echo listed", place.fileno())
    place.close()
    one.end()
    listed = Path(one.folder, "out").read_text()
    assert "listed" in listed
    assert "slots" not in listed


def test_places_and_turns_are_readable_by_their_owner_only(slots):
    place, turn = slots_of.take_place(str(slots)), slots_of.Turn(str(slots))
    assert place is not None
    turn.wait(1.0)
    assert stat.S_IMODE(slots.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in slots.iterdir()} == {"0.lock": 0o600, "0.turn": 0o600}
    place.close()
    turn.leave()


def test_a_file_that_nobody_holds_is_a_free_place_and_no_turn(slots):
    """Whatever stands in it: left by a crash, by an older version, or by chance."""
    slots.mkdir(mode=0o700)
    for name in ("0.lock", "1.lock", "0.turn", "1.turn"):
        (slots / name).write_text("1099511627776 1\n")
        (slots / name).chmod(0o600)
    assert slots_of.promised_bytes(str(slots)) == 0
    turn = slots_of.Turn(str(slots))
    first = slots_of.take_place_ahead(str(slots), turn, mono_s())
    second = slots_of.take_place_ahead(str(slots), turn, mono_s())
    assert first is not None
    assert second is not None
    first.close()
    second.close()


@pytest.mark.parametrize("text", [b"", b"x y", b"1", b"1 2 3", b"nan nan", b"\xff\xfe \x00", b"inf -inf"])
def test_a_turn_that_does_not_read_keeps_nobody_waiting(slots, text):
    theirs = slots_of.Turn(str(slots))
    theirs.wait(1.0)
    (slots / "0.turn").write_bytes(text)
    assert slots_of.Turn(str(slots)).comes(2.0)
    theirs.leave()


# --- in turn ----------------------------------------------------------------------------------------------------------------


def test_whoever_waited_longest_comes_first_and_who_no_longer_wants_is_passed_over(slots):
    places = [slots_of.take_place(str(slots)) for _ in range(2)]
    a, b, c = (slots_of.Turn(str(slots)) for _ in range(3))
    for at_s, turn in enumerate((a, b, c)):
        assert slots_of.take_place_ahead(str(slots), turn, float(at_s)) is None
    assert places[0] is not None
    places[0].close()
    assert slots_of.take_place_ahead(str(slots), c, 3.0) is None, "two have waited longer"
    assert slots_of.take_place_ahead(str(slots), b, 3.1) is None
    a.leave()
    got = slots_of.take_place_ahead(str(slots), b, 3.2)
    assert got is not None
    assert names(slots, "turn") == ["2.turn"]
    for each in (got, places[1]):
        assert each is not None
        each.close()
    c.leave()


def test_one_that_waits_and_no_longer_says_so_is_passed_over(slots):
    """A supervisor that was stopped in its turn holds up nobody."""
    places = [slots_of.take_place(str(slots)) for _ in range(2)]
    stopped, other = slots_of.Turn(str(slots)), slots_of.Turn(str(slots))
    stopped.wait(100.0)
    for place in places:
        assert place is not None
        place.close()
    assert slots_of.take_place_ahead(str(slots), other, 100.0 + slots_of.TURN_LIFE_S - 0.1) is None
    got = slots_of.take_place_ahead(str(slots), other, 100.0 + slots_of.TURN_LIFE_S + 0.1)
    assert got is not None
    got.close()
    stopped.leave()


@pytest.mark.parametrize("seed", range(10))
def test_no_project_waits_for_more_than_one_run_of_each_other_one(slots, seed):
    """Everybody wants all the time, whoever looks first and however long a run takes: nobody starves."""
    rng = random.Random(seed)
    projects = [slots_of.Turn(str(slots)) for _ in range(rng.randint(2, 5))]
    held: list[tuple[int, slots_of.Slot]] = []
    passed = [0] * len(projects)
    began = [0] * len(projects)
    for step in range(400):
        if held and rng.random() < 0.4:
            held.pop(rng.randrange(len(held)))[1].close()
        favourite = 0 if rng.random() < 0.7 else rng.randrange(len(projects))  # the first one looks far more often
        place = slots_of.take_place_ahead(str(slots), projects[favourite], step * 0.01)
        if place is not None:
            held.append((favourite, place))
            began[favourite] += 1
            for other in range(len(projects)):
                passed[other] = 0 if other == favourite or projects[other]._lock is None else passed[other] + 1
            assert max(passed) <= len(projects), (seed, step)
        assert len(held) <= 2
    assert all(began)
    for _, place in held:
        place.close()
    for turn in projects:
        turn.leave()


# --- two supervisors --------------------------------------------------------------------------------------------------------


def test_two_worktrees_take_turns_and_never_more_than_the_machine_has(bench, short):
    """One place is left for two supervisors: the one that waits gets it before the one that had it gets it again."""
    root = short / "w"
    subprocess.run(["git", "worktree", "add", "-q", str(root)], cwd=bench.root, check=True)
    (short / "2").mkdir()
    other = Bench(short / "2", root, bench.base)
    taken = [slots_of.take_place(bench.paths.slots) for _ in range((os.cpu_count() or 1) - 1)]
    try:
        for each in (bench, other):
            (each.root / "src.py").write_text("one\n")
            each.tool("pytest", HELD)
            each.begin()
        hold, _ = bench.held_ahead()
        other.bash("pytest -q")
        (other.short / "hold").touch()
        other.edit("src.py", "two\n")
        slots = Path(bench.paths.slots)
        wait_until(lambda: names(slots, "turn"), limit_s=30, what="the other one to wait")
        assert ahead(other) == []
        bench.edit("src.py", "three\n")  # its run is stopped, and it wants another one at once
        wait_until(lambda: ahead(other), limit_s=30, what="a run of the one that waited")
        wait_until(lambda: len(names(slots, "turn")) == 1, limit_s=30, what="the first one to wait")
        assert len(ahead(bench)) == 1
        (other.short / "hold").unlink()
        wait_until(lambda: len(ahead(bench)) == 2, limit_s=30, what="a run of the first one")
        hold.unlink()
    finally:
        for place in taken:
            assert place is not None
            place.close()
        other.stop()


def ahead(bench: Bench) -> list[AttemptStarted]:
    return [event for event in bench.events(AttemptStarted) if event.kind == "ahead"]
