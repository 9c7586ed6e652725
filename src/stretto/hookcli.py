"""The command `claude-hook`, by which a worker in any language tells sessions something; `worker` says what it does.

Promises: it never ends with 2, whatever is wrong, because as a hook of Claude Code that would block: bad usage is 64 (EX_USAGE of
sysexits.h). 0 is done, 1 the caller's error, 3 not now, 75 (EX_TEMPFAIL) a wait whose time was over, 130 Ctrl-C, 70 a bug.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from stretto import __version__, render, worker
from stretto.errors import StrettoError
from stretto.model import BlockScope

USAGE, NOT_YET, INTERRUPTED, BUG = 64, 75, 130, 70
_TIME = re.compile(r"(\d{1,6}(?:\.\d+)?)(s|m|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (that of this process by default) and end with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        code = claude_hook.main(args=None if arguments is None else list(arguments), prog_name="claude-hook", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit:
        return USAGE if exit.exit_code == 2 else exit.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return INTERRUPTED
    except StrettoError as error:
        click.echo(f"claude-hook: {render.plain(str(error))}", err=True)
        return error.exit_code
    except OSError as error:
        click.echo(f"claude-hook: cannot write that: {render.plain(str(error))}", err=True)
        return 3
    except Exception as error:  # noqa: BLE001  # a bug must not end with the 2 or 1 of an interpreter, which mean something
        click.echo(f"claude-hook: this is a bug in Stretto {__version__}: {type(error).__name__}: {render.plain(str(error))}", err=True)
        return BUG


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="claude-hook", message="%(prog)s %(version)s")
@click.option("--exit", "code", type=click.Choice(["0", "2"]), help="2 raises a block, 0 tells the session something and goes on.")
@click.option("--reason", default="", metavar="TEXT", help="With --exit 2: why; the session is told, as data.")
@click.option("--context", default="", metavar="TEXT", help="With --exit 0: what the session is told, as data. Also beside --progress.")
@click.option("--scope", type=click.Choice(worker.SCOPES), default="stop", show_default=True, help="What is blocked.")
@click.option("--ttl", default="10m", show_default=True, metavar="TIME", help="The block is over after that in any case: 30s, 10m, 2h.")
@click.option("--check", default="", metavar="PATTERN", help="The block is over when this known check passes, such as 'pytest*'.")
@click.option("--clear", "ended", metavar="ID", help="End a block.")
@click.option("--progress", "far", metavar="DONE[/TOTAL]", help="Say how far this worker is.")
@click.option("--artifact", "made", metavar="PATH", help="Say that this worker made a file.")
@click.option("--wait", is_flag=True, help="With --exit 2: return when the block is over, and print how it ended.")
@click.option("--timeout", default="", metavar="TIME", help="With --wait: at most so long; ends with 75 when the block still holds.")
@click.option("--project", default="", metavar="DIR", help="Outside a worker: a folder of the project; the current one without it.")
@click.option("--session", default="", metavar="ID", help="Only this session; all of the project without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def claude_hook(
    context_: click.Context,
    code: str | None,
    reason: str,
    context: str,
    scope: BlockScope,
    ttl: str,
    check: str,
    ended: str | None,
    far: str | None,
    made: str | None,
    wait: bool,
    timeout: str,
    project: str,
    session: str,
    as_json: bool,
) -> None:
    """Tell the Claude Code sessions of a project something: from a worker of Stretto, or from outside with --project.

    \b
    claude-hook --exit 2 --reason "the migration is not done" --scope commit
    claude-hook --exit 0 --context "the index is built"
    claude-hook --clear ID
    claude-hook --progress 3/10

    A block ends by --clear, with its worker, after --ttl, when its --check passes, or by `stretto unblock`. The same call while it holds
    changes nothing and prints the same id. This command never ends with 2: bad usage is 64.
    """
    asked = [name for name, value in (("--exit", code), ("--clear", ended), ("--progress", far), ("--artifact", made)) if value is not None]
    if len(asked) != 1:
        raise click.UsageError(f"say one of --exit, --clear, --progress, --artifact{'; not ' + ' and '.join(asked) if asked else ''}")
    if worker.silent():
        click.echo("claude-hook: STRETTO=off: nothing was done", err=True)
        return
    answer: dict[str, object] = {}
    if code == "2":
        if not reason.strip():
            raise click.UsageError("--exit 2 needs a --reason: the session is told why")
        limit_s = _seconds(timeout) if timeout else None
        name = worker.block(reason, scope=scope, ttl_s=_seconds(ttl), check=check, session=session, project=project)
        answer = {"block": name}
        if not as_json:
            click.echo(name)
        if wait:
            answer["ended"] = how = worker.wait(name, limit_s=limit_s, project=project)
            if not as_json:
                click.echo(f"the block is over: {how}" if how else "the block still holds", err=True)
    elif code == "0":
        if not context.strip():
            raise click.UsageError("--exit 0 needs a --context: what the session is told")
        worker.say(context, session=session, project=project)
    elif ended is not None:
        answer = {"block": ended, "cleared": (cleared := worker.clear(ended, project=project))}
        if not (cleared or as_json):
            click.echo("it was over already", err=True)
    elif far is not None:
        done, total = _far(far)
        worker.progress(done, total, context)
    elif made is not None:
        worker.artifact(made, context)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=True))
    if answer.get("ended") == "":
        context_.exit(NOT_YET)


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise click.UsageError(f"cannot read the time {text!r}: write it as 30s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _far(text: str) -> tuple[float, float | None]:
    done, slash, total = text.partition("/")
    try:
        return float(done), float(total) if slash else None
    except ValueError:
        raise click.UsageError(f"cannot read the progress {text!r}: write it as 3/10 or 3") from None
