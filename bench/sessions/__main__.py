"""`python -m bench.sessions [--project NAME] [--json FILE]`: real projects on the real Claude Code, three ways side by side."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.sessions import play, prepare, report, scripts
from bench.sessions.projects import PROJECTS, Project
from stretto.demo import run
from stretto.errors import StrettoError
from stretto.testing.netns import isolate


def main(arguments: Sequence[str]) -> None:
    """Play the projects chosen, print what was measured, and write the file asked for."""
    parser = argparse.ArgumentParser(prog="bench.sessions", description=__doc__)
    parser.add_argument(
        "--project", action="append", choices=PROJECTS, metavar="NAME", help=f"one of {', '.join(PROJECTS)}; again for more"
    )
    parser.add_argument("--way", action="append", choices=report.WAYS, metavar="WAY", help="only these ways (plain is always played)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directories and say where they are")
    chosen = parser.parse_args(arguments)
    projects = [PROJECTS[title] for title in chosen.project or PROJECTS]
    played = measure(projects, ways=chosen.way or list(report.WAYS), keep=chosen.keep)
    hooks = hooks_of(projects)
    for one in played:
        print("\n" + "\n".join(report.details(one)))
    print("\n" + "\n".join((*report.table(played, hooks), "", *report.verdicts(played))))
    print(f"\nModel time, scripted: {scripts.TIMES}.")
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(played, hooks), indent=2), encoding="utf-8")


def measure(projects: Sequence[Project], *, ways: Sequence[str] = tuple(report.WAYS), keep: bool = False) -> list[report.Played]:
    """Prepare all projects, close this process's network, and play them.

    Raises:
        StrettoError: something is missing, could not be got, or failed; the text says what to do.
    """
    run.check_machine()
    path = os.environ.get("PATH", os.defpath)
    archives = {project.title: prepare.get(project, _say) for project in projects}
    with ExitStack() as stack:
        stages: list[tuple[Project, run.Stage]] = []
        for project in projects:

            def create(into: Path, project: Project = project) -> None:
                prepare.create(project, archives[project.title], into, _say)

            def surroundings(into: Path, project: Project = project) -> Mapping[str, str]:
                return project.surroundings(into, path)

            here = stack.enter_context(run.open_stage(project.title, create, surroundings, keep=keep))
            here.create(here.project)
            stages.append((project, here))
            if keep:
                _say(f"{project.title}: everything is kept in {here.folder}")
        closed = isolate()
        if closed:
            _say(f"the network is not closed off: {closed}")
        found = []
        for number, (project, here) in enumerate(stages):
            order = [way for way in play.order(project, number) if way in ways or way == "plain"]
            found.append(play.play(here, project, order, _say))
        return found


def hooks_of(projects: Sequence[Project]) -> dict[str, Sequence[str]]:
    """Return what the native hook runs, by project."""
    return {project.title: project.hook for project in projects}


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StrettoError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
