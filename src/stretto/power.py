"""Whether this machine runs on its battery. Hides where a system says so; promises: what is not known counts as mains, nothing is
started in a shell, and no call takes longer than `PMSET_LIMIT_S`.

On Linux each supply is a folder: `type` (Mains, USB, Wireless, Battery, UPS), `online` of what feeds, `status` of a battery, and `scope`,
which is Device for the battery of a mouse or a headset (kernel documentation, ABI/testing/sysfs-class-power).
"""

from __future__ import annotations

import os
import subprocess

from stretto.system import LINUX, peek

SUPPLIES = "/sys/class/power_supply"
PMSET = "/usr/bin/pmset"
PMSET_LIMIT_S = 2.0
FEEDS = frozenset({"Mains", "USB", "Wireless"})


def on_battery(supplies: str = SUPPLIES) -> bool:
    """Say whether a battery of the machine feeds it now, and nothing else does."""
    return _linux(supplies) if LINUX else _pmset()


def _linux(supplies: str) -> bool:
    try:
        names = os.listdir(supplies)
    except OSError:
        return False
    discharging, unfed = False, False
    batteries = 0
    for name in names:
        kind = _word(supplies, name, "type")
        if _word(supplies, name, "scope") == "Device":
            continue
        if kind in FEEDS:
            if _word(supplies, name, "online") not in ("", "0"):
                return False
            unfed = unfed or kind == "Mains"
        elif kind == "Battery" and _word(supplies, name, "present") != "0":
            batteries += 1
            discharging = discharging or _word(supplies, name, "status") == "Discharging"
    return bool(batteries) and (discharging or unfed)


def _word(supplies: str, name: str, key: str) -> str:
    return peek(os.path.join(supplies, name, key)).decode("ascii", "replace").strip()


def _pmset() -> bool:
    try:
        done = subprocess.run(
            [PMSET, "-g", "batt"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PMSET_LIMIT_S, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and _draws_from_battery(done.stdout)


def _draws_from_battery(said: bytes) -> bool:
    return b"Battery Power" in said.partition(b"\n")[0]
