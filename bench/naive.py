"""The log as one would first write it, kept as the yardstick: what it loses is why ours is not written so.

It locks the file, hands the record to a buffered file, and unlocks before the buffer is flushed; nothing looks at how the file ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

LOG_NAME = "events.jsonl"


def append(folder: str, record: dict[str, Any]) -> None:
    """Append one record; that it is there afterwards is hoped, not known."""
    with open(os.path.join(folder, LOG_NAME), "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(record, file)
        file.write("\n")
        fcntl.flock(file, fcntl.LOCK_UN)  # the buffer's rest is written at the close, when nobody holds anybody back
