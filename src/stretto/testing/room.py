"""Room for runs ahead where everything else is busy: a test machine's processors are used up by the tests themselves."""

from __future__ import annotations

import os

from stretto.rules import SETTINGS_FILE
from stretto.system import atomic_write, private_directory


def whatever_else_runs(base: str | os.PathLike[str]) -> None:
    """Let supervisors with this state directory start runs ahead although all processors are used."""
    atomic_write(os.path.join(private_directory(os.fspath(base)), SETTINGS_FILE), b"busy_percent = 100\n")
