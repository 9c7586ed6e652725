"""What joins brought and what they cost, counted event by event. Pure; knows no event and no clock, `fold` calls it.

Promises: a check is counted once, as a hit, a miss (with one of `model.MISS_CODES`), one that was only observed, or one that was part of
another; nothing is saved that was not measured at a join's end; the cost of an ahead run is "for nothing" from its end until somebody
takes its result. What is counted never grows without limit: beyond so many commands or sessions the longest unused are one row, `OTHERS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Outcome = Literal["hit", "miss", "observed", "nested"]
"""observed: mode `observe` would have made it a hit. nested: it was part of another check (`pytest` inside `make test`)."""
OTHERS = "(others)"
COMMANDS_MOST, SESSIONS_MOST, SHAPES_MOST = 300, 100, 60


class Tally(msgspec.Struct, kw_only=True):
    """Counts of one command, of one session, or of everything."""

    hits: int = 0
    misses: dict[str, int] = msgspec.field(default_factory=dict)
    """By reason."""
    observed: int = 0
    nested: int = 0
    shapes: dict[str, list[int]] = msgspec.field(default_factory=dict)
    """By the shape of the Bash command: hits, and hits and misses together."""
    saved_s: float = 0.0
    ahead_runs: int = 0
    """Those that came to an end, however; reruns of an audit not among them."""
    ahead_s: float = 0.0
    ahead_cpu_s: float = 0.0
    taken_runs: int = 0
    """Of these the ones whose result somebody took, with what they cost."""
    taken_s: float = 0.0
    taken_cpu_s: float = 0.0
    audits: dict[str, int] = msgspec.field(default_factory=dict)
    """Joins by what an audit found of them."""
    audit_cpu_s: float = 0.0

    @property
    def missed(self) -> int:
        return sum(self.misses.values())

    @property
    def asked(self) -> int:
        return self.hits + self.missed

    @property
    def hit_rate(self) -> float | None:
        return self.hits / self.asked if self.asked else None

    @property
    def precision(self) -> float | None:
        """How many of the ahead runs that ended were worth something to somebody."""
        return self.taken_runs / self.ahead_runs if self.ahead_runs else None

    @property
    def wasted_s(self) -> float:
        return max(0.0, self.ahead_s - self.taken_s)

    @property
    def wasted_cpu_s(self) -> float:
        return max(0.0, self.ahead_cpu_s - self.taken_cpu_s)

    def take(self, other: Tally) -> None:
        """Add another tally to this one."""
        for name in ("hits", "observed", "nested", "saved_s", "ahead_runs", "ahead_s", "ahead_cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("taken_runs", "taken_s", "taken_cpu_s", "audit_cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for code, count in other.misses.items():
            self.misses[code] = self.misses.get(code, 0) + count
        for outcome, count in other.audits.items():
            self.audits[outcome] = self.audits.get(outcome, 0) + count
        for shape, (hits, asked) in other.shapes.items():
            row = self.shapes.setdefault(shape, [0, 0])
            row[0] += hits
            row[1] += asked

    def _shape(self, shape: str, hit: int) -> None:
        if shape not in self.shapes and len(self.shapes) >= SHAPES_MOST:
            shape = OTHERS
        row = self.shapes.setdefault(shape, [0, 0])
        row[0] += hit
        row[1] += 1


class Ledger(msgspec.Struct, kw_only=True):
    """All that was counted so far."""

    since_at: float = 0.0
    """Wall clock of the first event that could be counted; 0: none yet."""
    only: str = ""
    """When not "", what another session did is not counted, nor what belongs to no session."""
    total: Tally = msgspec.field(default_factory=Tally)
    commands: dict[str, Tally] = msgspec.field(default_factory=dict)
    """By job, or by the bare name of a command that no shim saw."""
    sessions: dict[str, Tally] = msgspec.field(default_factory=dict)

    def asked(self, session: str | None, job: str, shape: str, outcome: Outcome, code: str = "") -> None:
        """Count one check that was asked for.

        Args:
            code: of a miss, why.
        """
        for tally in self._of(session, job):
            match outcome:
                case "hit":
                    tally.hits += 1
                case "miss":
                    tally.misses[code] = tally.misses.get(code, 0) + 1
                case "observed":
                    tally.observed += 1
                case "nested":
                    tally.nested += 1
            if outcome in ("hit", "miss"):
                tally._shape(shape, int(outcome == "hit"))

    def saved(self, session: str | None, job: str, saved_s: float) -> None:
        for tally in self._of(session, job):
            tally.saved_s += saved_s

    def ran_ahead(self, job: str, took_s: float, cpu_s: float) -> None:
        """An ahead run ended."""
        for tally in self._of(None, job):
            tally.ahead_runs += 1
            tally.ahead_s += took_s
            tally.ahead_cpu_s += cpu_s

    def taken(self, job: str, took_s: float, cpu_s: float) -> None:
        """The result of an ahead run that ended was taken for the first time."""
        for tally in self._of(None, job):
            tally.taken_runs += 1
            tally.taken_s += took_s
            tally.taken_cpu_s += cpu_s

    def reran(self, job: str, cpu_s: float) -> None:
        """The rerun of an audit ended."""
        for tally in self._of(None, job):
            tally.audit_cpu_s += cpu_s

    def audited(self, session: str | None, job: str, outcome: str, before: str = "") -> None:
        """Count what an audit found of a join.

        Args:
            before: what was found of the same join earlier and counts no more, "" when this is the first finding.
        """
        for tally in self._of(session, job):
            tally.audits[outcome] = tally.audits.get(outcome, 0) + 1
            if before:
                tally.audits[before] = tally.audits.get(before, 0) - 1
                if tally.audits[before] <= 0:
                    del tally.audits[before]

    def _of(self, session: str | None, job: str) -> Iterable[Tally]:
        if self.only and session != self.only:
            return ()
        found = [self.total, _row(self.commands, job, COMMANDS_MOST)]
        return [*found, _row(self.sessions, session, SESSIONS_MOST)] if session else found


def _row(rows: dict[str, Tally], key: str, most: int) -> Tally:
    """Return the row of a key, the latest used last; beyond `most` the longest unused goes into `OTHERS`."""
    row = rows.pop(key, None) or Tally()
    rows[key] = row
    if len(rows) > most:
        oldest = next(name for name in rows if name not in (key, OTHERS))
        rest = rows.pop(oldest)
        rows.setdefault(OTHERS, Tally()).take(rest)
    return row
