"""What the machine is asked for at every look: how much of its processors is used, and what it runs on."""

from __future__ import annotations

import pytest

from stretto.machine import SUPPLY_LOOK_S, USED_LOOK_S, Supply, Used, _processor_s
from stretto.system import LINUX


def test_used_is_the_share_of_the_last_whole_look():
    used = Used()
    assert used.percent(0.0, 100.0, 1000.0) == 0.0, "one look says nothing"
    assert used.percent(USED_LOOK_S / 2, 101.0, 1001.0) == 0.0, "nor do two that are too close"
    assert used.percent(USED_LOOK_S, 102.0, 1002.0) == 100.0
    assert used.percent(USED_LOOK_S * 1.5, 102.0, 1003.0) == 100.0, "as before, until the next look is over"
    assert used.percent(USED_LOOK_S * 2, 102.5, 1004.0) == pytest.approx(25.0)


def test_used_where_nothing_is_known_is_nothing():
    used = Used()
    assert [used.percent(float(at_s), 0.0, 0.0) for at_s in range(4)] == [0.0] * 4


def test_the_supply_is_looked_at_once_in_half_a_minute():
    looks: list[bool] = []

    def look() -> bool:
        looks.append(len(looks) % 2 == 0)
        return looks[-1]

    supply = Supply(look)
    assert [supply.is_battery(at_s) for at_s in (5.0, 6.0, 5.0 + SUPPLY_LOOK_S - 0.1)] == [True] * 3
    assert [supply.is_battery(at_s) for at_s in (5.0 + SUPPLY_LOOK_S, 5.0 + SUPPLY_LOOK_S + 1)] == [False] * 2
    assert len(looks) == 2


def test_processor_times_of_this_machine_make_sense():
    used_s, whole_s = _processor_s()
    assert 0 < used_s < whole_s
    later = _processor_s()
    assert later[0] >= used_s
    assert not LINUX or later[1] >= whole_s
