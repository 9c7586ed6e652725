"""The two sessions as a picture: one SVG, alone or inside an HTML page that needs nothing else. Pure: records in, text out.

One panel a session, on one time scale. In each, the lane `Claude` alternates between thinking and waiting for checks; below it, with
Stretto, one lane for each worker that ran at the same time as others. A line leads from a run to the moment the session met it: solid
to a replay (it had ended), dashed to an attach (it was still running); it passes behind the bars of other workers.
Colours follow the reader's light or dark setting and never carry a meaning alone: every kind of bar also has its own form or words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stretto.demo.session import Ahead, Part, Sameness, Session, Step, critical_path_s

_WIDTH = 1200
_LEFT, _RIGHT = 118, 34
_LANE, _BAR = 44, 26
_CHAR = 6.3
"""Width of a small letter, in the units of the picture: decides whether a label fits into its bar."""

_STYLE = """
  .page { fill: #fbfbfd } .ink { fill: #1d2129 } .dim { fill: #5d6675 } .rule { stroke: #dfe3ea } .lane { fill: #f0f2f6 }
  .think { fill: #c9d4e8 } .wait { fill: #d9534a } .met { fill: #2c8a57 } .write { fill: #6b4fc0 }
  .used { fill: #2c8a57 } .idle { fill: #eef0f4; stroke: #8b95a5 }
  .join { stroke: #2c8a57; fill: none } .joint { fill: #fbfbfd; stroke: #2c8a57 }
  .path { stroke: #b8860b } .gold { fill: #8a6508 } .on { fill: #ffffff } .good { fill: #1f7a4a }
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px }
  .h1 { font-size: 19px; font-weight: 650 } .h2 { font-size: 15px; font-weight: 650 } .small { font-size: 11px }
  .num { font-variant-numeric: tabular-nums }
  @media (prefers-color-scheme: dark) {
    .page { fill: #15181e } .ink { fill: #e8ebf0 } .dim { fill: #9aa4b4 } .rule { stroke: #2c323c } .lane { fill: #1d222a }
    .think { fill: #3d4b63 } .wait { fill: #d65a50 } .met { fill: #2f9460 } .write { fill: #a48df0 }
    .used { fill: #2f9460 } .idle { fill: #262c36; stroke: #7b8696 } .join { stroke: #54c48b } .joint { fill: #15181e; stroke: #54c48b }
    .path { stroke: #d9a928 } .gold { fill: #e2b63e } .good { fill: #54c48b }
  }
"""


def html(without: Session, with_it: Session, same: Sequence[Sameness], notes: Sequence[str] = ()) -> str:
    """Return a page with the picture, a table of the checks, and the notes; it loads nothing and runs nothing.

    Args:
        same: what `session.compare` says of each step.
    """
    rows = "\n".join(
        f"<tr><td><code>{escape(one.command)}</code></td><td>{one.waited_s:.1f}</td><td>{other.waited_s:.1f}</td>"
        f"<td>{_parts(other.parts)}</td><td>{output}</td></tr>"
        for one, other, output in zip(without.steps, with_it.steps, same, strict=True)
        if one.kind == "check"
    )
    picture = svg(without, with_it, same)
    remarks = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return _PAGE.format(picture=picture, rows=rows, notes=remarks, title=escape(_headline(without, with_it)))


def html_of_one(session: Session, notes: Sequence[str] = ()) -> str:
    """Return such a page for one session that has nothing to be compared with."""
    rows = "\n".join(
        f"<tr><td><code>{escape(step.command)}</code></td><td></td><td>{step.waited_s:.1f}</td><td>{_parts(step.parts)}</td><td></td></tr>"
        for step in session.steps
        if step.kind == "check"
    )
    remarks = "".join(f"<p>{escape(note)}</p>" for note in notes)
    title = f"A Claude Code session with Stretto, {session.wall_s:.0f} s"
    picture = _picture(title, f"waited for checks: {session.waited_s:.0f} s", [session], None)
    return _PAGE.format(picture=picture, rows=rows, notes=remarks, title=escape(title))


def svg(without: Session, with_it: Session, same: Sequence[Sameness]) -> str:
    """Return the picture as one SVG document; arguments as for `html`."""
    return _picture(_headline(without, with_it), _subline(without, with_it, same), [without, with_it], critical_path_s(without))


def _picture(headline: str, subline: str, sessions: Sequence[Session], ideal_s: float | None) -> str:
    longest_s = max(session.wall_s for session in sessions)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest_s
    panels: list[str] = []
    y = 66.0
    for session in sessions:
        drawn, y = _panel(session, y + 26, scale, _lanes(session.ahead))
        panels += drawn
    axis_y = y + 6
    height = axis_y + 82
    label = f"{escape(headline)}; {escape(subline)}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height:.0f}" rx="12"/>',
            f'<text class="ink h1" x="28" y="40">{escape(headline)}</text>',
            f'<text class="dim" x="28" y="62">{escape(subline)}</text>',
            *_axis(longest_s, scale, 82, axis_y),
            *panels,
            *(_critical(ideal_s, scale, 82, axis_y) if ideal_s is not None else []),
            *_legend(axis_y + 56),
            "</svg>",
        ]
    )


def _headline(without: Session, with_it: Session) -> str:
    return f"The same Claude Code session, {without.wall_s / with_it.wall_s:.2f} times as fast"


def _subline(without: Session, with_it: Session, same: Sequence[Sameness]) -> str:
    different = sum(one == "different" for one in same)
    alike = "what Claude is given is the same" + (" but for durations" if "identical but for durations" in same else "")
    outputs = f"{different} of {len(same)} turns gave another output" if different else alike
    return f"waiting for checks: {without.waited_s:.0f} s without Stretto, {with_it.waited_s:.0f} s with it; {outputs}"


def _panel(session: Session, top: float, scale: float, lanes: Sequence[Sequence[Ahead]]) -> tuple[list[str], float]:
    """Return one session's lanes and the y below them."""
    out = [f'<text class="ink h2" x="28" y="{top + 13:.0f}">{escape(session.name[:1].upper() + session.name[1:])}</text>']
    y = top + 36
    out.append(_lane_ground("Claude", y, session.wall_s, scale))
    for step in session.steps:
        out += _step(step, y, scale)
    for step in session.steps:
        out += _write(step, y, scale)
    end_x = _LEFT + session.wall_s * scale
    clock = f"{session.wall_s:.0f} s"
    out.append(f'<text class="ink h2 num" x="{end_x:.1f}" y="{top + 13:.0f}" text-anchor="end">{clock}</text>')
    lane_of: dict[str, float] = {}
    grounds: list[str] = []
    bars: list[str] = []
    used = {part.attempt for step in session.steps for part in step.parts if part.way != "ran"}
    for number, lane in enumerate(lanes, 1):
        lane_y = y + number * _LANE
        grounds.append(_lane_ground(f"worker {number}" if len(lanes) > 1 else "worker", lane_y, session.wall_s, scale))
        for run in lane:
            lane_of[run.attempt] = lane_y
            bars += _run(run, run.attempt in used, lane_y, scale)
    lines, joints = _joins(session, lane_of, y, scale)
    return [*out, *grounds, *lines, *bars, *joints], y + len(lanes) * _LANE + _BAR


def _lane_ground(name: str, y: float, until_s: float, scale: float) -> str:
    return (
        f'<text class="dim" x="{_LEFT - 12}" y="{y + 17:.1f}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="lane" x="{_LEFT}" y="{y:.1f}" width="{until_s * scale:.1f}" height="{_BAR}" rx="4"/>'
    )


def _step(step: Step, y: float, scale: float) -> list[str]:
    out = [_bar("think", step.asked_s, step.sent_s, y, scale, f"Claude thinks {step.think_s:.1f} s")]
    if step.kind == "check":
        joined = bool(step.parts) and any(part.way != "ran" for part in step.parts)
        what = f"{step.command}: waited {step.waited_s:.1f} s"
        out.append(_bar("met" if joined else "wait", step.sent_s, max(step.returned_s, step.sent_s + 3 / scale), y, scale, what))
        out += _inside(f"{step.label}", f"{step.waited_s:.1f} s", step.sent_s, step.returned_s, y, scale)
    return out


def _write(step: Step, y: float, scale: float) -> list[str]:
    if step.kind != "write":
        return []
    x = _LEFT + step.sent_s * scale
    return [
        f'<g><title>{escape(step.label)}</title><path class="write" d="M {x:.1f} {y + 3:.1f} l 7 10 l -7 10 l -7 -10 z"/>'
        f'<text class="dim small" x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle">{escape(step.label)}</text></g>'
    ]


def _run(run: Ahead, used: bool, y: float, scale: float) -> list[str]:
    kind = "used" if used else "idle"
    dash = "" if used else ' stroke-dasharray="4 3"'
    name = run.command.split(" ", 1)[0]
    tail = {"passed": "", "failed": "(fails)", "stopped": "(stopped)"}[run.how]
    lasted = f"{run.ended_s - run.began_s:.1f} s"
    out = [
        _bar(
            kind, run.began_s, run.ended_s, y, scale, f"{run.command}: {run.how} after {lasted}, {'joined' if used else 'not needed'}", dash
        )
    ]
    return [*out, *_inside(f"{name} {tail}".strip(), lasted, run.began_s, run.ended_s, y, scale, "on" if used else "dim")]


def _joins(session: Session, lane_of: dict[str, float], claude_y: float, scale: float) -> tuple[list[str], list[str]]:
    """Return the lines from runs to the moments they were met, and the rings at their ends."""
    lines, joints = [], []
    ended = {run.attempt: run.ended_s for run in session.ahead}
    low = claude_y + _BAR
    for step in session.steps:
        for part in step.parts:
            if part.way == "ran":
                continue
            x = _LEFT + part.at_s * scale
            joints.append(
                f'<circle class="joint" stroke-width="2" cx="{x:.1f}" cy="{low:.1f}" r="3.4">'
                f"<title>{escape(part.command)}: {part.way}. {escape(part.reason)}</title></circle>"
            )
            if part.attempt not in lane_of:
                continue  # it met a run of the session itself, which has no lane: the ring says it all
            from_x = _LEFT + min(part.at_s, ended[part.attempt]) * scale
            y = lane_of[part.attempt] + _BAR / 2
            bend = min(6.0, x - from_x)
            dash = ' stroke-dasharray="5 3"' if part.way == "attach" else ""
            way = f"M {from_x:.1f} {y:.1f} H {x - bend:.1f} Q {x:.1f} {y:.1f} {x:.1f} {y - bend:.1f} V {low:.1f}"
            lines.append(f'<path class="join" stroke-width="1.8"{dash} d="{way}"/>')
    return lines, joints


def _lanes(runs: Sequence[Ahead]) -> list[list[Ahead]]:
    """Put runs into as few lanes as it takes for none to overlap in one."""
    lanes: list[list[Ahead]] = []
    for run in sorted(runs, key=lambda run: run.began_s):
        for lane in lanes:
            if lane[-1].ended_s <= run.began_s:
                lane.append(run)
                break
        else:
            lanes.append([run])
    return lanes


def _bar(kind: str, from_s: float, to_s: float, y: float, scale: float, title: str, more: str = "") -> str:
    width = max((to_s - from_s) * scale, 1.0)
    return (
        f'<rect class="{kind}" x="{_LEFT + from_s * scale:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" rx="3"{more}>'
        f"<title>{escape(title)}</title></rect>"
    )


def _inside(name: str, figure: str, from_s: float, to_s: float, y: float, scale: float, ink: str = "on") -> list[str]:
    """Return a label that fits into a bar: name and figure, else the figure, else nothing (the bar's title has it)."""
    room = (to_s - from_s) * scale - 8
    for text in (f"{name} {figure}", name, figure):
        if len(text) * _CHAR <= room:
            x = _LEFT + (from_s + to_s) / 2 * scale
            return [f'<text class="{ink} small num" x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{escape(text)}</text>']
    return []


def _axis(longest_s: float, scale: float, top: float, y: float) -> list[str]:
    step_s = next(step for step in (5, 10, 20, 30, 60, 120, 300, 600, 3600) if longest_s / step <= 14)
    out = []
    for tick in range(0, int(longest_s) + 1, step_s):
        x = _LEFT + tick * scale
        out.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{y + 8:.0f}"/>')
        out.append(f'<text class="dim small num" x="{x:.1f}" y="{y + 22:.0f}" text-anchor="middle">{tick} s</text>')
    return out


def _critical(ideal_s: float, scale: float, top: float, y: float) -> list[str]:
    x = _LEFT + ideal_s * scale
    return [
        f'<line class="path" stroke-width="1.6" stroke-dasharray="2 4" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{y + 8:.0f}"/>',
        f'<text class="gold small" x="{x + 6:.1f}" y="{top + 9:.0f}">critical path {ideal_s:.0f} s</text>',
    ]


def _legend(y: float) -> list[str]:
    entries = [
        ("think", "Claude thinks", ""),
        ("wait", "waits for a check that runs", ""),
        ("met", "met a run, waits for its rest", ""),
        ("used", "ran ahead, joined", ""),
        ("idle", "ran ahead, not needed", ' stroke-dasharray="4 3"'),
    ]
    out, x = [], 28.0
    for kind, text, more in entries:
        out.append(f'<rect class="{kind}" x="{x:.0f}" y="{y - 10:.0f}" width="18" height="12" rx="2"{more}/>')
        out.append(f'<text class="dim small" x="{x + 24:.0f}" y="{y:.0f}">{text}</text>')
        x += 24 + len(text) * _CHAR + 18
    out.append(
        f'<path class="write" d="M {x + 6:.0f} {y - 11:.0f} l 5 7 l -5 7 l -5 -7 z"/>'
        f'<text class="dim small" x="{x + 18:.0f}" y="{y:.0f}">writes files</text>'
    )
    x += 18 + 12 * _CHAR + 18
    for dash, text in (("", "replay"), (' stroke-dasharray="5 3"', "attach")):
        out.append(f'<line class="join" stroke-width="1.8"{dash} x1="{x:.0f}" x2="{x + 22:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}"/>')
        out.append(f'<text class="dim small" x="{x + 28:.0f}" y="{y:.0f}">{text}</text>')
        x += 28 + len(text) * _CHAR + 16
    return out


def _parts(parts: Sequence[Part]) -> str:
    if not parts:
        return "ran: no shim asked"
    return "<br>".join(f"<b class={part.way}>{part.way}</b> {escape(part.command)} <span>{escape(part.reason)}</span>" for part in parts)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; --ink: #1d2129; --dim: #5d6675; --page: #fff; --rule: #dfe3ea; --good: #1f7a4a; --miss: #a3372f }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --ink: #e8ebf0; --dim: #9aa4b4; --page: #0f1216; --rule: #2c323c; --good: #54c48b; --miss: #ef8a80 }}
  }}
  body {{ margin: 0 auto; max-width: 1240px; padding: 24px; background: var(--page); color: var(--ink) }}
  body {{ font: 14px/1.5 system-ui, sans-serif }}
  svg {{ width: 100%; height: auto; display: block }}
  table {{ border-collapse: collapse; width: 100%; margin-top: 24px }}
  th, td {{ text-align: left; vertical-align: top; padding: 8px 12px 8px 0; border-bottom: 1px solid var(--rule) }}
  :is(th, td):is(:nth-child(2), :nth-child(3)) {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
  code {{ font: 12.5px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }}
  b.replay, b.attach {{ color: var(--good) }} b.ran {{ color: var(--miss) }} span, p {{ color: var(--dim) }}
</style>
</head>
<body>
{picture}
<table>
<thead><tr><th>check</th><th>without, s</th><th>with, s</th><th>joined, or why not</th><th>output</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
{notes}
</body>
</html>
"""
