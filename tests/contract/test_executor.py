"""What every executor has to do, the one of this machine and the simulated one alike: a fake that does otherwise proves nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stretto import slots
from stretto.executors import Executor, Owner, Place
from stretto.executors.local import Local
from stretto.model import AttemptId, End
from stretto.system import Lock, is_locked
from stretto.testing.simulation import Door, Fact, Host, Plan, key_of
from stretto.testing.wait import wait_until

ONE = AttemptId("a" * 32)
PASSES, FAILS, HOLDS = "exit 0", "exit 3", "exec sleep 30"
SPEC = {
    "exe": b"/bin/sh",
    "env": b"PATH=/usr/bin:/bin",
    "cwd": b"/",
    "umask": b"22",
    "streams": b"merged",
    "wall_s": b"60",
    "limit_bytes": b"100000",
    "memory_bytes": b"1000000000",
    "tasks": b"100",
    "idle": b"0",
    "lease_s": b"0",
}


class Real:
    """Processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self.lease = Lock(str(folder / "supervisor.lock"))
        assert self.lease.try_acquire()
        self.owners: list[Owner] = []
        self.slots = str(folder / "slots")
        self.local = Local(str(folder))
        self.executor: Executor = self.local

    def spec(self, script: str) -> Mapping[str, bytes]:
        return {**SPEC, "argv": b"\0".join([b"sh", b"-c", script.encode()])}

    def room(self) -> Place:
        taken = slots.take_place(self.slots)
        assert taken is not None
        return taken

    def rooms_taken(self) -> int:
        return sum(is_locked(os.path.join(self.slots, name)) for name in os.listdir(self.slots))

    def until(self, true: Callable[[], Any]) -> None:
        wait_until(true, limit_s=30)

    def close(self) -> None:
        if monitor := self.executor.signer(ONE):
            self.executor.cancel(monitor)
            self.until(lambda: not self.executor.owned(ONE))
        for owner in self.owners:
            owner.close()
        self.local._forker.close()  # a supervisor's ends with it; this test's process goes on
        self.lease.close()


class Fake:
    """Monitors of the simulated world."""

    def __init__(self) -> None:
        self.host = Host(0)
        self.host.faults = False
        self.host.truths[ONE] = Fact(key_of(0), "ahead")
        self.owners: list[Owner] = []
        self.door = Door(self.host)
        self.executor: Executor = self.door.executor

    def room(self) -> Place:
        taken = self.door.take_place(ahead=True)
        assert taken is not None
        return taken

    def rooms_taken(self) -> int:
        return len(self.host.places)

    def spec(self, script: str) -> Mapping[str, bytes]:
        lasts_s = 30.0 if script == HOLDS else 0.1
        self.host.plan_of = lambda job, kind: Plan(0.01, lasts_s, End(how="code", value=3 if script == FAILS else 0), False, False)
        return {**SPEC, "argv": b"sh"}

    def until(self, true: Callable[[], Any]) -> None:
        for _ in range(600):
            if true():
                return
            self.host.advance(0.01)
        raise AssertionError("not within six simulated seconds")

    def close(self) -> None:
        return


@pytest.fixture(params=["local", "simulated"])
def place(request: pytest.FixtureRequest, short: Path) -> Iterator[Real | Fake]:
    if request.param == "local" and not (shutil.which("sh") and os.path.isdir("/proc")):
        pytest.skip("the monitor's tree is looked for in /proc")
    one = Real(short) if request.param == "local" else Fake()
    yield one
    one.close()


class Heard:
    """All that a monitor has said."""

    def __init__(self, place: Real | Fake, script: str, room: Place | None = None) -> None:
        self._owner = place.executor.spawn(ONE, place.spec(script), room)
        place.owners.append(self._owner)
        self.lines: list[str] = []
        self.over = False

    def word(self, word: str) -> bool:
        self._listen()
        return any(line.split()[0] == word for line in self.lines)

    def ended(self) -> bool:
        self._listen()
        return self.over

    def _listen(self) -> None:
        if not self.over:
            said = self._owner.lines()
            self.lines += said or []
            self.over = said is None


@pytest.mark.parametrize("script, value", [(PASSES, 0), (FAILS, 3)])
def test_a_run_says_that_it_started_and_exited_and_leaves_how_it_ended(place, script, value):
    place.executor.create(ONE)
    heard = Heard(place, script)
    place.until(heard.ended)
    assert [line.split()[0] for line in heard.lines] == ["started", "exited"]
    assert place.executor.exit_of(ONE).end == End(how="code", value=value)
    assert not place.executor.owned(ONE)


def test_a_place_is_taken_until_its_monitor_is_gone_though_we_let_go_of_it(place):
    place.executor.create(ONE)
    room = place.room()
    heard = Heard(place, HOLDS, room)
    room.close()
    assert place.rooms_taken() == 1
    place.until(lambda: heard.word("started"))
    assert place.rooms_taken() == 1
    place.executor.cancel(place.executor.signer(ONE))
    place.until(heard.ended)
    place.until(lambda: place.rooms_taken() == 0)


def test_a_place_is_taken_until_we_let_go_of_it_though_its_monitor_is_gone(place):
    place.executor.create(ONE)
    room = place.room()
    heard = Heard(place, PASSES, room)
    place.until(heard.ended)
    assert place.rooms_taken() == 1
    room.close()
    place.until(lambda: place.rooms_taken() == 0)


def test_what_an_ended_run_printed_is_read_whole_or_not_at_all(place):
    assert place.executor.printed(ONE, 1 << 20) is None, "nothing is there"
    place.executor.create(ONE)
    heard = Heard(place, PASSES)
    place.until(heard.ended)
    out, err = place.executor.printed(ONE, 1 << 20)
    assert isinstance(out, bytes) and err == b""
    assert place.executor.printed(ONE, -1) is None, "more than may be read"


def test_while_it_runs_it_is_owned_and_signed_and_not_to_be_given_up(place):
    place.executor.create(ONE)
    assert not place.executor.owned(ONE)
    heard = Heard(place, HOLDS)
    place.until(lambda: heard.word("started"))
    signer = place.executor.signer(ONE)
    assert heard.lines[0].split()[1:] == [str(signer.pid), signer.start]
    assert place.executor.owned(ONE)
    assert not place.executor.give_up(ONE)
    assert place.executor.exit_of(ONE) is None


def test_a_run_that_is_held_back_ends_only_after_it_goes_on(place):
    place.executor.create(ONE)
    heard = Heard(place, "sleep 0.5")
    place.until(lambda: heard.word("started"))
    signer = place.executor.signer(ONE)
    assert place.executor.hold(signer)
    began_s = time.monotonic()
    place.until(lambda: isinstance(place, Fake) or time.monotonic() - began_s > 1.5)
    assert not heard.ended()
    assert place.executor.go_on(signer)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end == End(how="code", value=0)
    assert not place.executor.hold(signer)
    assert not place.executor.go_on(signer)


@pytest.mark.parametrize("how", ["cancel", "forbid"])
def test_a_run_that_is_held_back_can_be_cancelled(place, how):
    place.executor.create(ONE)
    heard = Heard(place, HOLDS)
    place.until(lambda: heard.word("started"))
    signer = place.executor.signer(ONE)
    assert place.executor.hold(signer)
    if how == "cancel":
        assert place.executor.cancel(signer)
    else:
        place.executor.forbid(ONE)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end.how == "cancelled"


def test_a_run_that_somebody_waits_for_is_not_held_back_any_more(place):
    place.executor.create(ONE)
    heard = Heard(place, "sleep 0.5")
    place.until(lambda: heard.word("started"))
    signer = place.executor.signer(ONE)
    assert place.executor.hold(signer)
    assert place.executor.hasten(signer)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end == End(how="code", value=0)


def test_a_cancelled_run_ends_as_such_and_its_monitor_cannot_be_told_again(place):
    place.executor.create(ONE)
    heard = Heard(place, HOLDS)
    place.until(lambda: heard.word("started"))
    signer = place.executor.signer(ONE)
    assert place.executor.hasten(signer)
    assert place.executor.cancel(signer)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end.how == "cancelled"
    place.until(lambda: not place.executor.cancel(signer))


def test_a_run_that_is_forbidden_ends_without_having_run_or_soon_after_it_began(place):
    place.executor.create(ONE)
    place.executor.forbid(ONE)
    heard = Heard(place, HOLDS)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end.how == "cancelled"


def test_the_word_that_a_run_is_not_wanted_ends_one_that_runs_already(place):
    """Nobody has to know its monitor's pid."""
    place.executor.create(ONE)
    heard = Heard(place, HOLDS)
    place.until(lambda: heard.word("started"))
    place.executor.forbid(ONE)
    place.until(heard.ended)
    assert place.executor.exit_of(ONE).end.how == "cancelled"


def test_a_monitor_that_comes_after_its_run_was_given_up_runs_nothing(place):
    place.executor.create(ONE)
    assert place.executor.give_up(ONE)
    heard = Heard(place, PASSES)
    place.until(heard.ended)
    assert not heard.word("started")
    assert place.executor.exit_of(ONE).end.how == "lost"
