"""The report as a table and as JSON. Pure but for the console it is given. Promises: nothing is shown that was not measured, and every
check that was not joined says why."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stretto.demo.run import Report
from stretto.demo.session import Part, Session, Step

_WIDE = 130
"""Columns from which on a terminal has room for the whole commands."""
_OUTPUTS = {"identical": "[green]same[/]", "identical but for durations": "[green]same *[/]", "different": "[bold red]different[/]"}
_WAYS = {"replay": "[green]replay[/]", "attach": "[green]attach[/]", "ran": "[yellow]ran[/]"}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    table = Table(title="One scripted session of the real Claude Code on packaging 24.2", title_justify="left", show_lines=True)
    table.add_column("check", ratio=4, overflow="fold")
    table.add_column("without\nwaited s", justify="right", no_wrap=True)
    table.add_column("with\nwaited s", justify="right", no_wrap=True)
    table.add_column("joined, or why not", ratio=6, overflow="fold")
    table.add_column("output", no_wrap=True)
    for one, other, same in zip(report.without.steps, report.with_it.steps, report.same, strict=True):
        if one.kind == "check":
            table.add_row(
                _check(one, console),
                f"{one.waited_s:.1f}",
                f"{other.waited_s:.1f}",
                "\n".join(map(_part, other.parts)) or "[yellow]ran[/]: no shim asked",
                _OUTPUTS[same],
            )
    console.print(table)
    for line in summary(report):
        console.print(line, highlight=False)


def show_one(session: Session, console: Console) -> None:
    """Print a session that has nothing to be compared with."""
    table = Table(title="With Stretto, live", title_justify="left", show_lines=True)
    table.add_column("check", ratio=5, overflow="fold")
    table.add_column("waited s", justify="right", no_wrap=True)
    table.add_column("joined, or why not", ratio=6, overflow="fold")
    for step in session.checks:
        table.add_row(escape(step.command), f"{step.waited_s:.1f}", "\n".join(map(_part, step.parts)))
    console.print(table)
    took_s = sum(part.took_s or 0.0 for step in session.checks for part in step.parts)
    console.print(
        f"{session.wall_s:.1f} s in all; waited {session.waited_s:.1f} s for checks whose runs took {took_s:.1f} s", highlight=False
    )
    console.print("[dim]A command is never run ahead before the session ran it once, so the first run of each is a miss by design.[/]")


def summary(report: Report) -> list[str]:
    """Return the totals, the verdict on the outputs, and what a reader has to know about them."""
    without, with_it = report.without, report.with_it
    different = sum(same == "different" for same in report.same)
    durations = sum(same == "identical but for durations" for same in report.same)
    lines = [
        f"[bold]{report.speedup:.2f} times as fast[/]: {without.wall_s:.1f} s without, {with_it.wall_s:.1f} s with Stretto; "
        f"waited for checks {without.waited_s:.1f} s and {with_it.waited_s:.1f} s",
        f"critical path {report.critical_path_s:.1f} s (every check begun at the last write before it): "
        f"with Stretto {report.over_critical_path:.2f} times that",
        f"ran ahead {len(with_it.ahead)} times; {len(_joined(with_it))} of these runs were joined, "
        f"the others took {_idle_s(with_it):.1f} s for nothing",
    ]
    if different:
        lines.append(f"[bold red]{different} of {len(report.same)} turns gave the model another text than without Stretto[/]")
    else:
        lines.append(f"what the model got is the same in all {len(report.same)} turns")
    if durations:
        lines.append(
            f"* {durations} outputs differ in the durations they print (as in 15.02s), which no two real runs share, and in nothing else"
        )
    lines.append("[dim]A command is never run ahead before the session ran it once, so the first run of each is a miss by design.[/]")
    lines += [f"[dim]Note: {escape(note)}[/]" for note in report.notes]
    return lines


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for machines; times in seconds since the session's start."""
    return {
        "v": 1,
        "speedup": round(report.speedup, 3),
        "critical_path_s": round(report.critical_path_s, 3),
        "over_critical_path": round(report.over_critical_path, 3),
        "outputs_same": all(same != "different" for same in report.same),
        "sessions": [_session(report.without), _session(report.with_it)],
        "steps": [
            {
                "label": one.label,
                "command": one.command,
                "waited_without_s": round(one.waited_s, 3),
                "waited_with_s": round(other.waited_s, 3),
                "outputs": same,
                "parts": [
                    {
                        "command": part.command,
                        "did": part.way,
                        "reason": part.reason,
                        "took_s": part.took_s,
                        "at_s": round(part.at_s, 3),
                        "attempt": part.attempt,
                    }
                    for part in other.parts
                ],
            }
            for one, other, same in zip(report.without.steps, report.with_it.steps, report.same, strict=True)
        ],
        "notes": list(report.notes),
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "wall_s": round(session.wall_s, 3),
        "waited_s": round(session.waited_s, 3),
        "steps": [
            {
                "kind": step.kind,
                "label": step.label,
                "asked_s": round(step.asked_s, 3),
                "sent_s": round(step.sent_s, 3),
                "returned_s": round(step.returned_s, 3),
                "outputs": list(step.outputs),
            }
            for step in session.steps
        ],
        "ahead": [
            {
                "attempt": run.attempt,
                "command": run.command,
                "began_s": round(run.began_s, 3),
                "ended_s": round(run.ended_s, 3),
                "how": run.how,
            }
            for run in session.ahead
        ],
        "told": [{"at_s": round(at_s, 3), "text": text} for at_s, text in session.told],
    }


def _joined(session: Session) -> set[str]:
    asked = {part.attempt for step in session.steps for part in step.parts if part.way != "ran"}
    return {run.attempt for run in session.ahead if run.attempt in asked}


def _idle_s(session: Session) -> float:
    joined = _joined(session)
    return sum(run.ended_s - run.began_s for run in session.ahead if run.attempt not in joined)


def _check(step: Step, console: Console) -> str:
    return escape(step.label) + (f"\n[dim]{escape(step.command)}[/]" if console.width >= _WIDE else "")


def _part(part: Part) -> str:
    took = "" if part.took_s is None or part.way != "ran" else f" {part.took_s:.1f} s"
    return f"{escape(part.command.split(' ', 1)[0])} {_WAYS[part.way]}{took}: [dim]{escape(part.reason)}[/]"
