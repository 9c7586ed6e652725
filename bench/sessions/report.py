"""What follows from the sessions of one project, and how it is shown. Pure: no clock, no files, no processes.

`started_path_s` is the limit that a session with Stretto is held to: what its joined runs would have cost at best, and what was not
joined costs what it took. The demo's `critical_path_s` is the limit of a perfect guesser: every check begun at the last write before it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stretto.demo.session import Sameness, Session, compare, critical_path_s

Way = Literal["plain", "hook", "first", "second"]
WAYS: Mapping[Way, str] = {
    "plain": "plain",
    "hook": "with a native async hook",
    "first": "with Stretto, in a project it has never seen",
    "second": "with Stretto, the next session of the same project",
}
LEAST_SPEED, MEDIAN_SPEED, PATH_LIMIT = 0.99, 1.4, 1.1
"""The targets: no session slower than this share of plain; the median of the projects; times the path of what was started in time."""


@dataclass(frozen=True, slots=True)
class HookRun:
    """One command that the native hook ran; seconds since its session began."""

    command: str
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """All sessions of one project, one a way, in the order in which they were played."""

    title: str
    about: str
    sessions: Mapping[Way, Session]
    hook_runs: Sequence[HookRun] = ()
    loads: Mapping[Way, float] = field(default_factory=dict)
    """The machine's load average when the session ended: two cores are busy with two."""

    @property
    def plain(self) -> Session:
        return self.sessions["plain"]

    @property
    def critical_path_s(self) -> float:
        return critical_path_s(self.plain)

    def speed(self, way: Way) -> float:
        """Return how many times as fast as plain that way was."""
        return self.plain.wall_s / self.sessions[way].wall_s

    def same(self, way: Way) -> tuple[Sameness, ...]:
        """Return for each turn whether the model got what it got in the plain session."""
        pairs = zip(self.plain.steps, self.sessions[way].steps, strict=True)
        return tuple(compare(one.outputs, other.outputs) for one, other in pairs)

    def differing(self, way: Way) -> list[str]:
        """Return the labels of the turns whose outputs differ by more than durations and times of day."""
        return [step.label for step, same in zip(self.plain.steps, self.same(way), strict=True) if same == "different"]


def started_path_s(session: Session) -> float:
    """Return how long a session with Stretto would take if what it joined had cost nothing but its own time from the last write on.

    The session is walked through with its own times, as in `critical_path_s`: a part of a call that was joined ends at the later of now
    and last write + what the run took; a part that ran takes what it took. Shells, hooks, questions and scans are taken to cost
    nothing, and runs to not slow each other down: a session is above this by what Stretto and the machine add.
    """
    clock_s = write_s = 0.0
    for step in session.steps:
        clock_s += step.think_s
        if step.kind != "check" or not step.parts:
            clock_s += step.waited_s
        for part in step.parts if step.kind == "check" else ():
            took_s = min(step.waited_s, part.took_s or 0.0) if part.way == "ran" else part.took_s or 0.0
            clock_s = clock_s + took_s if part.way == "ran" else max(clock_s, write_s + took_s)
        if step.kind == "write":
            write_s = clock_s
    return clock_s + session.wall_s - sum(step.returned_s - step.asked_s for step in session.steps)


def believed_s(session: Session, runs: Sequence[HookRun], commands: Sequence[str]) -> float:
    """Return how long the session with the native hook would take if its model did not ask for what the hook had told it already.

    Generous to the hook: a check counts as told when each of the hook's commands that it names has ended since the last write, whatever
    filter or pipe the model wanted.
    """
    saved_s = write_s = 0.0
    for step in session.steps:
        named = [command for command in commands if command in step.command]
        told = {run.command for run in runs if run.began_s >= write_s and run.ended_s <= step.sent_s}
        if step.kind == "check" and named and told.issuperset(named):
            saved_s += step.waited_s
        if step.kind == "write":
            write_s = step.sent_s
    return session.wall_s - saved_s


def misses(session: Session) -> Counter[str]:
    """Return why commands of checks were not joined."""
    return Counter(part.reason for step in session.checks for part in step.parts if part.way == "ran")


def hits(session: Session) -> tuple[int, int]:
    """Return how many commands of checks were joined, and how many there were."""
    parts = [part for step in session.checks for part in step.parts]
    return sum(part.way != "ran" for part in parts), len(parts)


def idle_s(session: Session) -> float:
    """Return the seconds that runs ahead took, useful or not."""
    return sum(run.ended_s - run.began_s for run in session.ahead)


def table(played: Sequence[Played], hooks: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, one row for each project."""
    lines = [
        "| project | plain | native hook | hook, believed | Stretto, first session | second | perfect guesser | joined | ahead | outputs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in played:
        cells = [one.title, f"{one.plain.wall_s:.1f} s ({one.plain.waited_s:.1f} s of it waiting)"]
        cells.append(_cell(one, "hook"))
        hook = one.sessions.get("hook")
        cells.append(f"{one.plain.wall_s / believed_s(hook, one.hook_runs, hooks[one.title]):.2f}" if hook else "")
        cells += [_cell(one, "first"), _cell(one, "second"), f"{one.plain.wall_s / one.critical_path_s:.2f}"]
        ours = [one.sessions[way] for way in _ours(one)]
        cells.append(", ".join("{} of {}".format(*hits(session)) for session in ours))
        cells.append(", ".join(f"{idle_s(session):.0f} s" for session in ours))
        different = sum(len(one.differing(way)) for way in one.sessions)
        cells.append(f"{different} differ" if different else "all the same")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def verdicts(played: Sequence[Played]) -> list[str]:
    """Return a line for each target: met or missed, and by which session."""
    ours = [(one, way) for one in played for way in _ours(one)]
    if not ours:
        return []
    slowest, slowest_way = min(ours, key=lambda pair: pair[0].speed(pair[1]))
    paths = [(one.sessions[way].wall_s / started_path_s(one.sessions[way]), one, way) for one, way in ours]
    highest, highest_one, highest_way = max(paths, key=lambda row: row[0])
    least = slowest.speed(slowest_way)
    rows = [
        (least >= LEAST_SPEED, f"slowest session: {least:.3f} of plain ({slowest.title}, {slowest_way}); target at least {LEAST_SPEED}"),
        (highest <= PATH_LIMIT, f"highest: {highest:.3f} times the path of what was started in time ({highest_one.title}, {highest_way});"
         f" target at most {PATH_LIMIT}"),
    ]  # fmt: skip
    for way in ("first", "second"):
        of_way = [one.speed(other) for one, other in ours if other == way and "second" in one.sessions]
        if of_way:
            middle = statistics.median(of_way)
            rows.append(
                (middle >= MEDIAN_SPEED, f"median of {len(of_way)} projects, {way} session: {middle:.2f}; target at least {MEDIAN_SPEED}")
            )
    return [f"{'met' if met else 'MISSED':6} {text}" for met, text in rows]


def details(one: Played) -> list[str]:
    """Return the turns of one project: what was waited for each check, each way, and how Stretto came by it."""
    ways: list[Way] = [way for way in WAYS if way in one.sessions]
    lines = [f"{one.title}: {one.about}; load " + ", ".join(f"{way} {one.loads.get(way, 0.0):.1f}" for way in ways)]
    for number, step in enumerate(one.plain.steps):
        if step.kind != "check":
            continue
        waits = "  ".join(f"{way} {one.sessions[way].steps[number].waited_s:6.2f}" for way in ways)
        lines.append(f"  {step.label:24} {waits}")
        for way in _ours(one):
            for part in one.sessions[way].steps[number].parts:
                took = "" if part.took_s is None else f" ({part.took_s:.1f} s)"
                lines.append(f"      {way}: {part.way} {part.command}{took}: {part.reason}")
    for way in ways:
        differing = one.differing(way)
        if differing:
            lines.append(f"  DIFFERENT OUTPUT, {way}: {', '.join(differing)}")
    for way in _ours(one):
        session = one.sessions[way]
        over = session.wall_s / started_path_s(session)
        lines.append(
            f"  {way}: {session.wall_s:.1f} s, {one.speed(way):.3f} of plain, {over:.3f} times the path of what was started in time,"
            f" {session.wall_s / one.critical_path_s:.3f} times the perfect guesser's"
        )
    return lines


def as_json(played: Sequence[Played], hooks: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return everything measured and computed."""
    rows = []
    for one in played:
        ways: dict[str, Any] = {}
        for way, session in one.sessions.items():
            row: dict[str, Any] = {
                "wall_s": session.wall_s,
                "waited_s": session.waited_s,
                "load": one.loads.get(way),
                "speed": one.speed(way),
                "outputs": list(one.same(way)),
            }
            if way == "hook":
                row["believed_s"] = believed_s(session, one.hook_runs, hooks[one.title])
                row["hook_s"] = sum(run.ended_s - run.began_s for run in one.hook_runs)
            if way in _ours(one):
                row["joined"], row["asked"] = hits(session)
                row |= {"misses": misses(session), "ahead_s": idle_s(session), "started_path_s": started_path_s(session)}
            row["checks"] = [
                {
                    "label": step.label,
                    "command": step.command,
                    "waited_s": step.waited_s,
                    "parts": [
                        {"command": part.command, "way": part.way, "reason": part.reason, "took_s": part.took_s} for part in step.parts
                    ],
                }
                for step in session.checks
            ]
            ways[way] = row
        rows.append({"project": one.title, "about": one.about, "critical_path_s": one.critical_path_s, "order": list(ways), "ways": ways})
    return rows


def _ours(one: Played) -> list[Way]:
    ways: tuple[Way, ...] = ("first", "second")
    return [way for way in ways if way in one.sessions]


def _cell(one: Played, way: Way) -> str:
    if way not in one.sessions:
        return ""
    return f"{one.sessions[way].wall_s:.1f} s, **{one.speed(way):.2f}**"
