"""The policy under the scorer of session timelines: `score.py --policy bench.ahead:Policy --slots 2`. A thin adapter."""

from __future__ import annotations

import os
import re
from typing import Any

from stretto import ahead, habits, rules

FORMATS = re.compile(r"(\b(fmt|format)\S*|gofmt -[a-z]*w|--fix\b|--write\b)")
"""What the scorer takes for a write though it is asked for like a check. In the product `commands` knows it, and an epoch begins."""
BEGINS_S = 0.3
"""The scorer starts a command this long after it was asked to."""


class Policy:
    """One project's sessions, one after the other."""

    def __init__(self) -> None:
        self.habits = habits.Habits()
        self.price = rules.PRESETS[os.environ.get("STRETTO_PRESET", rules.DEFAULT_PRESET)].price
        self._began: dict[str, float] = {}
        self._now = 0.0
        """The clock of `habits`: sessions follow one another on it, as they do in a log."""
        self._offset = 0.0
        self._heard = 0
        self._asked = (-1, 0)
        self._wanted: list[str] = []

    def session(self) -> None:
        """A new session begins."""
        self._offset = self._now + 60.0
        habits.session_began(self.habits, self._offset)
        self._began = {}
        self._heard += 1

    def clock_s(self, at_s: float) -> float:
        """Return a time of this session on the clock of the habits."""
        return self._offset + at_s

    def observe(self, event: dict[str, Any]) -> None:
        """Something happened. Prompts and other tools teach next to nothing (docs/ahead.md), and the log does not have them."""
        self._now = now_s = self.clock_s(event["now"])
        self._heard += 1
        if event["kind"] == "write":
            self._wrote(now_s, event["path"])
        elif event["kind"] == "check":
            at_s = now_s - sum(event["took"])
            for core, took_s in zip(event["cores"], event["took"], strict=True):
                if FORMATS.search(core):
                    self._wrote(at_s + took_s, None)
                else:
                    habits.asked(self.habits, at_s, core)
                    habits.ended(self.habits, at_s + took_s, core, passed=bool(event["ok"]), took_s=took_s)
                at_s += took_s

    def _wrote(self, at_s: float, path: str | None) -> None:
        habits.wrote(self.habits, at_s, path)
        self._began = {}

    def desired(self, now: float) -> list[str]:
        """Return what should be running; asked again only when something happened or a period began."""
        now_s = self.clock_s(now)
        asked = (self._heard, ahead.period(self.habits, now_s))
        if asked == self._asked:
            return self._wanted
        self._asked = asked
        lasts_s = self.habits.lasts_s
        # Nobody says when a run has ended: one that should have stays listed, for it may take longer this time.
        over = {core for core, began_s in self._began.items() if now_s - began_s >= lasts_s[core]}
        candidates = [
            ahead.Candidate(job=core, usual_s=took_s, run_s=now_s - self._began[core] if core in self._began else None)
            for core, took_s in lasts_s.items()
            if core not in over
        ]
        wanted = ahead.desired(self.habits, candidates, now_s, self.price)
        self._wanted = [*over, *wanted]
        self._began = {core: self._began.get(core, now_s + BEGINS_S) for core in self._wanted}
        return self._wanted
