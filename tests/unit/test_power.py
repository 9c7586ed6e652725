"""What a machine runs on, from a tree like the kernel's."""

from __future__ import annotations

import pytest

from stretto import power

MAINS, EMPTY = {"type": "Mains", "online": "1"}, {"type": "Mains", "online": "0"}
FULL, DRAINS = {"type": "Battery", "status": "Full", "present": "1"}, {"type": "Battery", "status": "Discharging", "present": "1"}
MOUSE = {"type": "Battery", "status": "Discharging", "scope": "Device"}
UPS = {"type": "UPS", "status": "Discharging"}
USB, USB_ON = {"type": "USB", "online": "0"}, {"type": "USB", "online": "1"}
QUIET = {"type": "Battery", "status": "Unknown"}


@pytest.mark.parametrize(
    ("supplies", "battery"),
    [
        pytest.param({}, False, id="a machine without any"),
        pytest.param({"AC": MAINS, "BAT0": FULL}, False, id="a laptop in its socket"),
        pytest.param({"AC": EMPTY, "BAT0": DRAINS}, True, id="a laptop on the way"),
        pytest.param({"AC": MAINS, "BAT0": DRAINS}, False, id="a weak charger"),
        pytest.param({"AC": EMPTY, "BAT0": QUIET, "BAT1": DRAINS}, True, id="two batteries, one drains"),
        pytest.param({"AC": EMPTY, "BAT0": FULL}, True, id="just pulled out, the battery does not say yet"),
        pytest.param({"BAT0": DRAINS}, True, id="no socket is listed"),
        pytest.param({"BAT0": QUIET}, False, id="nothing is known"),
        pytest.param({"AC": EMPTY, "USBC0": USB_ON, "BAT0": {**FULL, "status": "Charging"}}, False, id="charged by USB"),
        pytest.param({"AC": EMPTY, "USBC0": USB, "BAT0": DRAINS}, True, id="nothing on USB"),
        pytest.param({"hidpp_battery_0": MOUSE}, False, id="a mouse"),
        pytest.param({"AC": EMPTY, "hidpp_battery_0": MOUSE}, False, id="a mouse on a machine that lists an empty socket"),
        pytest.param({"ups": UPS}, False, id="a UPS"),
        pytest.param({"AC": EMPTY, "BAT0": {**DRAINS, "present": "0"}}, False, id="the battery was taken out"),
        pytest.param({"BAT0": {"type": "Battery"}}, False, id="a battery that says nothing"),
        pytest.param({"x": {}, "BAT0": DRAINS}, True, id="a folder without files beside it"),
    ],
)
def test_on_battery_is_said_only_when_nothing_feeds_the_machine(tmp_path, supplies, battery):
    for name, files in supplies.items():
        (tmp_path / name).mkdir()
        for key, value in files.items():
            (tmp_path / name / key).write_text(value + "\n")
    assert power._linux(str(tmp_path)) is battery


def test_on_battery_without_any_tree_is_no(tmp_path):
    assert power._linux(str(tmp_path / "gone")) is False


@pytest.mark.parametrize(
    ("said", "battery"),
    [
        (b"Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t80%; discharging; 4:12 remaining present: true\n", True),
        (b"Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 'Battery Power' present: true\n", False),
        (b"Now drawing from 'UPS Power'\n", False),
        (b"", False),
    ],
)
def test_on_battery_of_a_mac_is_what_it_draws_from(said, battery):
    assert power._draws_from_battery(said) is battery


def test_on_battery_without_pmset_is_no(monkeypatch, tmp_path):
    monkeypatch.setattr(power, "PMSET", str(tmp_path / "pmset"))
    assert power._pmset() is False
