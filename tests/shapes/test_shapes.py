"""Every command shape gives the same with and without Stretto: bytes printed, exit code, working directory, files (F39, F44).

Run natively (an environment file that holds `:`), as a miss, and as a hit, in bash and zsh, the way Claude Code runs it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shapes import shell
from shapes.stub import Stub
from shapes.table import KNOWN, SHAPES, Shape
from shapes.world import World
from stretto.testing.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(Path(tmp_path_factory.mktemp("w").resolve()))


@pytest.fixture(scope="module")
def stub(world: World) -> Iterator[Stub]:
    stub = Stub(world.base, world.root)
    yield stub
    stub.close()


def seen(world: World, name: str, shape: Shape, env_text: str, number: int, like: tuple[object, ...] = ()) -> tuple[object, ...]:
    """Run a shape on the pristine project; return all that may be compared."""
    world.reset()
    if shape.setup:
        subprocess.run(["/bin/sh", "-c", shape.setup], cwd=world.root, env=world.env(), check=True)
    place = world.place / f"call-{number}"
    place.mkdir(exist_ok=True)
    (place / "output").unlink(missing_ok=True)
    env = world.env() | dict(shape.env)
    result = shell.run(name, shape.text, env_text=env_text, env=env, cwd=world.root, place=place, snapshot=shape.snapshot)
    output = place / "output"

    def now() -> tuple[object, ...]:
        return result.code, shape.comparable(output.read_bytes()), result.cwd, world.files()

    if shape.late:
        last = shape.late.encode()
        wait_until(lambda: any(last in path.read_bytes() for path in (output, *world.root.glob("*.txt"))), what=shape.late)
    if shape.late and like:
        wait_until(lambda: now() == like, limit_s=10, what=f"{shape.name}: what is printed later")
    return now()


CASES = [
    pytest.param(name, shape, id=f"{name}-{shape.name}", marks=pytest.mark.needs(*shape.starts))
    for shape in SHAPES
    for name in shape.shells
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_shape_gives_the_same_natively_as_a_miss_and_as_a_hit(world: World, stub: Stub, name: str, shape: Shape):
    stub.forget()
    native = seen(world, name, shape, ":\n", 0)
    assert not stub.calls
    assert seen(world, name, shape, world.env_text(), 1, native) == native, "as a miss"
    wait_until(stub.idle)
    before = len(stub.answers)
    assert seen(world, name, shape, world.env_text(), 2, native) == native, "as a hit"
    assert stub.answers[before:].count(b"join") == shape.joins, shape.why_not


def test_every_shape_that_is_not_joined_says_why():
    assert [shape.name for shape in SHAPES if (shape.joins == 0) != bool(shape.why_not)] == []


def test_every_known_difference_is_explained():
    text = (ROOT / "docs" / "transparency.md").read_text(encoding="utf-8")
    assert [name for name in KNOWN if f"**{name}**" not in text] == []
    used = {name for shape in SHAPES for name in shape.differs}
    assert used == set(KNOWN)
