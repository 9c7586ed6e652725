"""`python -m stretto.demo`, and what `stretto demo` calls: arguments in, the report on the terminal and in files."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stretto.demo import live, project, run, table, timeline
from stretto.errors import StrettoError, UserError

PICTURE = "stretto-demo.html"


def main(arguments: Sequence[str]) -> None:
    """Run the demo.

    Raises:
        StrettoError: something it needs is missing or failed; the text says what to do.
    """
    chosen = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=False)
    run.check_machine()
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        if chosen.live:
            _live(chosen, console)
        else:
            _both(chosen, console)
    finally:
        signal.signal(signal.SIGTERM, before)


def _both(chosen: argparse.Namespace, console: Console) -> None:
    began_s = time.monotonic()
    archive = _fetch(console)
    console.print("One scripted session of the real Claude Code, twice; no account, no network. Takes three to four minutes on two cores.")
    report = run.both(archive, keep=chosen.keep, say=console.print)
    table.show(report, console)
    notes = [f"{note}." for note in report.notes]
    chosen.out.write_text(timeline.html(report.without, report.with_it, report.same, notes), encoding="utf-8")
    if chosen.svg:
        chosen.svg.write_text(timeline.svg(report.without, report.with_it, report.same), encoding="utf-8")
    if chosen.json:
        chosen.json.write_text(json.dumps(table.as_json(report), indent=2), encoding="utf-8")
    console.print(f"Timeline: {chosen.out.resolve()}   (all in {time.monotonic() - began_s:.0f} s)", soft_wrap=True)


def _live(chosen: argparse.Namespace, console: Console) -> None:
    claude = live.find_claude()
    if not chosen.yes:
        if not sys.stdin.isatty():
            raise UserError("cannot start the live demo: it uses your account and nobody is there to ask; add --yes")
        console.print(f"This lets your own {claude} work on a copy of packaging 24.2 with Stretto. It uses your account and costs tokens.")
        if console.input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("nothing was started")
    archive = _fetch(console)
    with run.stage(archive, keep=chosen.keep) as here:
        here.prepare()
        here.stretto("init", "--yes")
        session = live.play_live(here, claude, console.print)
        if chosen.keep:
            console.print(f"Everything is kept in {here.folder}", soft_wrap=True)
    table.show_one(session, console)
    chosen.out.write_text(timeline.html_of_one(session), encoding="utf-8")
    console.print(f"Timeline: {chosen.out.resolve()}", soft_wrap=True)


def _fetch(console: Console) -> Path:
    with console.status("Getting packaging 24.2 from the package index"):
        return project.fetch()


def _leave(number: int, _frame: object) -> None:
    """End as a program would that was told to, but through every clean-up on the way."""
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stretto demo", description="Show on a real project what Stretto saves.")
    parser.add_argument("--live", action="store_true", help="the second half with your own `claude`; costs tokens")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory and say where it is")
    parser.add_argument("--out", type=Path, default=Path(PICTURE), metavar="FILE", help=f"where the picture goes (default: {PICTURE})")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture as SVG, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StrettoError as error:
        print(f"stretto: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
