"""What every world answers about commands of the log and hosts, this machine and the simulated one alike."""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stretto import trust
from stretto.fold import Job
from stretto.machine import Machine
from stretto.model import Invocation, JobKey
from stretto.system import Lock, Process
from stretto.testing.simulation import INVOCATIONS, Door, Host, key_of
from stretto.world import World


class Place:
    """A world, one call in it, and its key."""

    def __init__(self, world: World, call: Invocation, key: JobKey, host: Process) -> None:
        self.world, self.call, self.key, self.host = world, call, key, host

    def job(self, *argv: str) -> Job:
        words = argv or tuple(os.fsdecode(word) for word in self.call.argv)
        return Job(job=self.key, name=self.call.name, argv=words, cwd=".", streams=self.call.streams, seen_at=0.0)


@pytest.fixture(params=["machine", "simulation"])
def place(request: pytest.FixtureRequest, project: Path, state_base: Path, tmp_path: Path) -> Iterator[Place]:
    if request.param == "simulation":
        door = Door(Host(1))
        yield Place(door, INVOCATIONS[0], key_of(0), door.me())
        return
    tool = tmp_path / "tools" / "pytest"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    granted = trust.grant(str(project), "on", None, base=str(state_base), python=sys.executable)
    lock = Lock(granted.paths.supervisor_lock)
    assert lock.try_acquire()
    with selectors.DefaultSelector() as selector:
        machine = Machine(granted, lock, selector, ())
        call = Invocation(
            name="pytest",
            exe=os.fsencode(tool),
            argv=(b"pytest", b"-q"),
            cwd=os.fsencode(granted.root),
            env=(b"PATH=" + os.fsencode(tool.parent) + b":/usr/bin:/bin",),
            context=b"",
            streams="merged",
        )
        yield Place(machine, call, machine.identity(call), machine.me())
    lock.close()


def test_a_command_of_the_log_is_the_call_it_was(place: Place):
    assert place.world.recall(place.job(), place.call) == (place.key, place.call)


def test_a_command_with_other_words_is_another_call_or_none(place: Place):
    made = place.world.recall(place.job(place.call.name, "--api-key", "[redacted]"), place.call)
    assert made is None or made[0] != place.key


def test_what_is_not_there_never_changed(place: Place):
    assert place.world.changed_at([]) == place.world.changed_at([f"{place.world.root}/requirements.txt"]) == 0.0


def test_the_command_line_of_a_living_host_is_told_and_of_another_process_not(place: Place):
    assert place.world.arguments(place.host)
    assert place.world.arguments(place.host._replace(start="0")) is None


GONE: list[Callable[[Path], object]] = [Path.unlink, lambda tool: tool.chmod(0o644), lambda tool: tool.write_text("#!/bin/sh\n# newer\n")]


@pytest.mark.parametrize("change", GONE, ids=["gone", "no program", "newer"])
@pytest.mark.parametrize("place", ["machine"], indirect=True)
def test_a_program_that_changed_makes_another_call_or_none(place: Place, change: Callable[[Path], object]):
    change(Path(os.fsdecode(place.call.exe)))
    made = place.world.recall(place.job(), place.call)
    assert made is None or made[0] != place.key


@pytest.mark.parametrize("place", ["machine"], indirect=True)
def test_a_file_that_was_just_written_has_changed_since_before(place: Place):
    path = Path(place.world.root) / "requirements.txt"
    path.write_text("attrs\n")
    assert place.world.changed_at([str(path), "/no/such/file"]) == path.stat().st_ctime
