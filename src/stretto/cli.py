"""The command line `stretto`.

Hides nothing but the mapping from words to calls; what is shown comes from `render`, what is looked at from `doctor`. Promises:
- `status`, `why`, `logs` and `events` read the log on disk: they work with the supervisor dead, and make no file and no process;
- one place (`run`) turns errors into exit codes: 1 the caller's, 3 not now, 4 damage, 70 a bug (with a file that says more), 130 for
  Ctrl-C; 2 is bad usage and nothing else;
- nothing is changed before everything that can be checked beforehand was checked.

It is one idea in one file: every command is a few lines, and they are read side by side.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import click
import msgspec

from stretto import (
    __version__,
    bundle,
    control,
    disk,
    doctor,
    explain,
    fold,
    gitexclude,
    githooks,
    install,
    journal,
    logcheck,
    pauses,
    power,
    render,
    repository,
    rules,
    saved,
    schedule,
    shellenv,
    trust,
    worker,
)
from stretto import worktrees as worktree
from stretto.errors import CorruptError, StrettoError, UnavailableError, UserError
from stretto.fold import Cancelled, Failed, Passed, PutAside, Request, State, apply
from stretto.model import ENCODER, AttemptId, Bad, End, JobKey, Mode
from stretto.system import build, is_locked, missing_above, private_directory, state_base, wall_s
from stretto.trust import Project, ProjectPaths, display

INTERRUPTED, BUG = 130, 70
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.EIO}
"""What a system refuses is no bug of ours: words, and no report."""
FOLLOW_PAUSE_S = 0.1
WAKE_EVERY_S = 0.5
"""How often `wait` looks whether a supervisor still lives: without one nothing that waits would ever start."""
NO_EXIT = {"timeout": 124, "cancelled": 143, "memory": 137, "oversize": 125, "processes": 125, "lost": 125, "unstarted": 127}
"""What `wait` ends with when a job had no exit code of its own: never 0."""
SIZE = re.compile(r"(\d+)([KMG]?)")
STATUS_LINE_BYTES = 1 << 20
TIME_BACK = re.compile(r"(\d{1,6})([mhd])")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (that of this process by default) and end with its exit code."""
    _open_closed_streams()
    sys.exit(run(arguments))


def _open_closed_streams() -> None:
    """Put the null device where the caller closed a stream (`>&-`): Python has none there, and the next file would be taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # for as long as the process lives


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the only place that knows which error means which."""
    try:
        code = stretto.main(args=None if arguments is None else list(arguments), prog_name="stretto", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return INTERRUPTED
    except StrettoError as error:
        click.echo("stretto: " + "\n".join(map(render.plain, error.lines)), err=True)
        return error.exit_code
    except BrokenPipeError:
        _give_up_output()
        return 1
    except OSError as error:
        if error.errno not in REFUSED and not _is_lost():
            return _bug(arguments)
        where = f" {error.filename}" if error.filename else " what is needed"
        if error.errno == errno.ENOSPC and not error.filename:
            _give_up_output()
        click.echo(f"stretto: cannot use{render.plain(where)}: {error.strerror}", err=True)
        return UserError.exit_code
    except Exception:  # noqa: BLE001  # a bug: said once, in full, in a file that can be attached to a report
        return _bug(arguments)


def _give_up_output() -> None:
    """Lead standard output away from where nothing can be written, or the interpreter complains when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _bug(arguments: Sequence[str] | None) -> int:
    where = _write_report(arguments)
    click.echo(f"stretto: this is a bug in Stretto {__version__}; please report it with {where}", err=True)
    return BUG


def _is_lost() -> bool:
    """Say whether the folder we were started in is gone, and every relative path with it."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stretto", message="%(prog)s %(version)s")
@click.pass_context
def stretto(context: click.Context) -> None:
    """Transparent parallelism for Claude Code: checks run ahead, and the session meets them already done."""
    if os.environ.get("NO_COLOR"):
        context.color = False


# --- in and out -------------------------------------------------------------------------------------------------------------


@stretto.command()
@click.option("--project", "scope", flag_value="project", help="Write .claude/settings.json, which the repository shares.")
@click.option("--user", "scope", flag_value="user", help="Write the user's own settings: the hooks then serve every granted project.")
@click.option("--observe", is_flag=True, help="Only look: record, say what would have been joined, change nothing.")
@click.option("--git-hooks", is_flag=True, help="Also put pre-commit and pre-push into the repository, for commits no session sees.")
@click.option("--worktrees/--no-worktrees", default=None, help="Grant the worktrees of this repository, too, as sessions begin in them.")
@click.option("--no-exclude", is_flag=True, help="Leave the settings file that is made in git's sight.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def init(scope: install.Scope | None, observe: bool, git_hooks: bool, worktrees: bool | None, no_exclude: bool, yes: bool) -> None:
    """Grant this project and put the hooks into Claude Code's settings."""
    base, root = state_base(), trust.project_root(".")
    repository.refuse_foreign(root, os.getcwd())
    text = trust.read_rules(root)
    if text is not None:
        rules.parse(_decode_rules(root, text))
    edit = install.plan_init(install.settings_path(root, scope or "local"), wired := install.wiring(base))
    if git_hooks:
        githooks.check(root, base)
    with _line_for_git():
        hidden = gitexclude.plan_add(root) if scope is None and not no_exclude and install.made_by_us(edit) else None
    earlier = _load_or_none(base, trust.project_key(root))
    mode: Mode = "observe" if observe else earlier.grant.mode if earlier and earlier.grant.mode != "off" else "on"
    if not yes and not observe and sys.stdin.isatty() and sys.stdout.isatty():
        mode = _ask_mode(root, edit, text is not None, mode, hidden)
    with contextlib.ExitStack() as undo:  # all of it or nothing
        _check_disk(base, undo)
        undo.callback(_ungrant, ProjectPaths(base=base, key=trust.project_key(root)), earlier)
        project = trust.grant(
            root, mode, text, base=base, python=wired.supervisor, made_directory=edit.makes_directory, worktrees=worktrees
        )
        paths = project.paths
        worktree.index(project)
        for each in (edit, hidden) if hidden is not None else (edit,):
            undo.callback(_remove_folders, missing_above(os.path.realpath(each.path)))
        _write_settings(edit, scope)
        undo.callback(install.perform, install.undoing(edit))
        if hidden is not None:
            with _line_for_git():
                install.perform(hidden)
            undo.callback(install.perform, install.undoing(hidden))
        hooks = githooks.install(root, base) if git_hooks else []
        undo.pop_all()
    _renew_supervisor(paths)
    click.echo(f"{click.style('Granted', bold=True)} {display(root)}, mode {mode}.")
    if project.grant.worktrees:
        click.echo("Worktrees of its repository are granted, too, when a session begins in one; `--no-worktrees` ends that.")
    click.echo(
        "Commands run ahead: {preset} ({why}), at most {slots} at a time; `stretto preset` chooses.".format(**_eagerness(_project()))
    )
    already = "" if edit.changes else " (they were there already)"
    click.echo(f"Hooks are in {display(edit.path)}{already}; state is kept in {display(paths.folder)}.")
    if hidden is not None:
        click.echo(
            f"Git leaves that file alone: a line in {display(hidden.path)} names it until `stretto uninstall` (`--no-exclude` adds none)."
        )
    if hooks:
        click.echo(f"Git hooks are in {' and '.join(map(display, hooks))}.")
    click.echo(
        "Start `claude` as always. `stretto status` shows what happens, `stretto doctor` whether all is well, `stretto uninstall` ends it."
    )


def _check_disk(base: str, undo: contextlib.ExitStack) -> None:
    """Refuse a state directory that cannot carry us; what of it was made goes again unless all else goes well."""
    made = [*([] if os.path.lexists(base) else [base]), *missing_above(base)]
    undo.callback(_remove_folders, made)
    try:
        reason = disk.unfit(private_directory(base))
    except OSError as error:
        raise UserError(f"cannot keep state in {base}: {error.strerror}; set STRETTO_STATE_DIR to a folder that you may write") from error
    if reason:
        raise UserError(f"cannot keep state in {base}: {reason}; set STRETTO_STATE_DIR to a directory on a local disk")


def _remove_folders(folders: Iterable[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _ungrant(paths: ProjectPaths, earlier: Project | None) -> None:
    """Put a grant back as it was before this command."""
    if earlier is not None:
        trust.restore(earlier)
        worktree.index(earlier)
        return
    trust.revoke(paths)
    worktree.forget(paths.base, paths.key)
    control.stop(paths)
    trust.erase(paths)
    _remove_folders([f"{paths.base}/repositories", f"{paths.base}/projects"])


def _write_settings(edit: install.Edit, scope: install.Scope | None) -> None:
    try:
        install.perform(edit)
    except UserError as error:
        if scope != "user":
            raise
        hint = "`stretto init` without --user puts the hooks into the project instead; or change what writes that file"
        raise UserError(f"{error}; {hint}") from error


@contextlib.contextmanager
def _line_for_git() -> Iterator[None]:
    """Where the line that hides the settings file from git cannot be written, say how to do without it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; `stretto init --no-exclude` does without that line") from error


def _ask_mode(root: str, edit: install.Edit, has_rules: bool, mode: Mode, hidden: install.Edit | None) -> Mode:
    click.echo(f"In {display(root)} Stretto will")
    click.echo(
        f"  write its hooks into {display(edit.path)}" if edit.changes else f"  leave {display(edit.path)} as it is, the hooks are in it"
    )
    if hidden is not None:
        click.echo(f"  name that file in {display(hidden.path)}, so that git leaves it alone (`--no-exclude` does not)")
    if has_rules:
        click.echo(f"  follow {trust.RULES_NAME} as it is now; when it changes, you are asked again")
    click.echo("  on:       run checks again by itself after an edit, if Claude ran them here without a question")
    click.echo("  audit:    on, and a sample of what Claude got without a run is run again and compared")
    click.echo("  observe:  only record, and say what it would have done")
    answer = click.prompt("Mode", type=click.Choice(["on", "audit", "observe", "cancel"]), default=mode)
    if answer == "cancel":
        raise UserError("nothing was changed")
    return cast(Mode, answer)


def _decode_rules(root: str, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {display(root)}/{trust.RULES_NAME}: it is no UTF-8 at byte {error.start}; mend it") from error


def _load_or_none(base: str, key: str) -> Project | None:
    """Return an earlier grant; one that cannot be read is as good as none, because it is about to be replaced."""
    try:
        return trust.load(base, key)
    except CorruptError:
        return None


def _renew_supervisor(paths: ProjectPaths) -> None:
    """Let a living supervisor read the grant again; one of another version or build leaves, the next hook starts ours."""
    try:
        answer = control.ask(paths, {"op": b"ping"})
    except UnavailableError:
        return
    if (answer.get("version"), answer.get("build")) == (__version__.encode(), build().encode()):
        control.reload(paths)
    else:
        control.replace(paths, f"{__version__}, another installation")


@stretto.command()
@click.option("--all", "everything", is_flag=True, help="Every project of this user, and the directory of shims.")
def uninstall(everything: bool) -> None:
    """Take the hooks out, end every process, remove the grant and the state of this project."""
    base = state_base()
    here = _load_or_none(base, trust.project_key(trust.project_root("."))) or _lookup_or_none(base)
    root = here.root if here else trust.project_root(".")
    keys = list(dict.fromkeys([*(trust.keys(base) if everything else []), trust.project_key(root)]))
    keys += [key for key in worktree.of_origin(base, trust.project_key(root)) if key not in keys]
    gone = {key: found for key in keys if (found := _load_or_none(base, key)) is not None}
    roots = {key: found.root for key, found in gone.items()} | {trust.project_key(root): root}
    others = [found for key in trust.keys(base) if key not in keys and (found := _load_or_none(base, key)) is not None]
    plans = [_Taking(key, place, others) for key, place in roots.items()]
    stated = [paths for key in keys if Path((paths := ProjectPaths(base=base, key=key)).folder).is_dir()]
    own = install.settings_paths(root).get("user")
    user = install.plan_uninstall(own) if own else None
    if not stated and not (user and user.changes and not others) and not any(plan.edits for plan in plans):
        raise UserError(f"cannot uninstall from {display(root)}: nothing of Stretto is here; run it in the project, or with --all")

    faults: list[str] = []
    for plan in plans:
        edits = [install.plan_uninstall(edit.path) for edit in plan.edits]  # again: two projects may have one file
        _take_out([*edits, *plan.hidden()], faults)
        if plan.key in gone and gone[plan.key].grant.made_directory:
            _remove_folders(dict.fromkeys(os.path.dirname(os.path.realpath(path)) for path in plan.files))
        for said in plan.take_git_hooks():
            click.echo(said)
        for path, used in plan.shared.items():
            click.echo(f"The hooks in {display(path)} stay: it is also the settings file of {used}, another granted project.")
    if user and not others:
        _take_out([user], faults)
        if user.changes and user.after is None and any(each.grant.made_directory for each in gone.values()):
            _remove_folders([os.path.dirname(os.path.realpath(user.path))])
    for paths in stated:
        trust.revoke(paths)
        worktree.forget(base, paths.key)
        ended = control.stop(paths)
        trust.erase(paths)
        click.echo(f"Removed {display(paths.folder)}" + (f", ended {ended} process{'es' if ended > 1 else ''}." if ended else "."))
    if here and here.grant.origin and (origin := _load_or_none(base, here.grant.origin)) is not None:
        click.echo(
            f"The next session here is served again: {display(origin.root)} is granted with its worktrees. "
            "`stretto init --no-worktrees` there ends that, `stretto mode off` here is for this one."
        )
    if others and user and user.changes:
        click.echo(
            f"The hooks in {display(user.path)} stay: {len(others)} other granted projects use them; "
            "`stretto uninstall --all` takes them out."
        )
    if everything:
        Path(base, rules.SETTINGS_FILE).unlink(missing_ok=True)
        _remove_base(base)
    elif not others and Path(base, "bin").is_dir():
        click.echo(f"The shims in {display(base)}/bin stay, files of builds may name them; `stretto uninstall --all` removes them.")
    if faults:
        raise UserError(f"all else is done, but {'; '.join(faults)}; its hooks do nothing any more; take them out by hand")


class _Taking:
    """What is to be taken out of one project, and what stays because another granted project uses the same file or repository."""

    def __init__(self, key: str, root: str, others: Sequence[Project]) -> None:
        self.key, self.root = key, root
        real = {os.path.realpath(path): other.root for other in others for path in install.settings_paths(other.root).values()}
        self.files = [path for scope, path in install.settings_paths(root).items() if scope != "user"]
        planned = [install.plan_uninstall(path) for path in self.files]
        self.shared = {edit.path: display(real[path]) for edit in planned if edit.changes and (path := os.path.realpath(edit.path)) in real}
        self.edits = [edit for edit in planned if edit.changes and edit.path not in self.shared]
        common = repository.common_directory(root) or githooks.ask(
            root, "rev-parse", "--path-format=absolute", "--git-common-dir"
        )  # a bare one
        self._beside = [display(other.root) for other in others if common and repository.common_directory(other.root) == common]

    def hidden(self) -> list[install.Edit]:
        """Return the edit that takes the line for git out, none where another worktree needs it."""
        edit = gitexclude.plan_remove(self.root) if not self._beside else None
        return [edit] if edit else []

    def take_git_hooks(self) -> Iterator[str]:
        """Take our git hooks out and yield what to say about them."""
        if self._beside and githooks.is_in(self.root):
            yield f"The git hooks stay: they are also those of {self._beside[0]}, another granted worktree of this repository."
        elif taken := githooks.remove(self.root):
            yield f"Took the git hooks out: {' and '.join(map(display, taken))}."
        for path in [] if self._beside else githooks.left(self.root):
            yield f"{display(path)} is the hook from before; another one has been written over ours, so it was left there."


def _take_out(edits: Sequence[install.Edit], faults: list[str]) -> None:
    """Perform edits; one that cannot be written keeps nothing else from being undone."""
    for edit in edits:
        try:
            install.perform(edit)
        except UserError as error:
            faults.append(str(error).removesuffix("; nothing was changed"))
            continue
        if edit.changes:
            what = "a line" if edit.path.endswith("/info/exclude") else "the hooks"
            click.echo(f"Took {what} out of {display(edit.path)}{' (the file is gone again)' if edit.after is None else ''}.")


def _lookup_or_none(base: str) -> Project | None:
    try:
        return trust.lookup(".", base)
    except CorruptError:
        return None


def _remove_base(base: str) -> None:
    """Remove what is ours in the state directory, and itself when nothing else is in it: the user may have chosen a shared one."""
    for name in ("bin", "paths", "slots", "reports", "tools", "repositories"):
        shutil.rmtree(Path(base, name), ignore_errors=True)
    for folder in (Path(base, "projects"), Path(base)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if Path(base).exists():
        click.echo(f"{display(base)} stays: it holds something else.")
    else:
        click.echo(f"Removed {display(base)}.")


@stretto.command()
@click.argument("mode", type=click.Choice(["on", "audit", "observe", "off"]), required=False)
def mode(mode: Mode | None) -> None:
    """Show or change the mode of this project; `audit` is `on`, and a sample of what was joined is run again and compared."""
    project = _project()
    if mode is None:
        click.echo(project.grant.mode)
        return
    trust.set_mode(project, mode)
    control.reload(project.paths)
    click.echo(f"Stretto is {mode} in {display(project.root)}.")


@stretto.command()
@click.argument("name", metavar="[PRESET]", required=False)
def preset(name: str | None) -> None:
    """Show or choose how eagerly commands run ahead: eager, balanced, frugal or off. It is yours, for all your projects.

    A stretto.toml can ask for less, never for more; on battery it is at most frugal. With off, what Claude runs is still joined.
    """
    base = state_base()
    if name is None:
        click.echo(trust.settings(base).preset)
        return
    if name not in rules.PRESETS:
        near = difflib.get_close_matches(name.lower(), rules.PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean `stretto preset {near[0]}`?" if near else f"the presets are {', '.join(list(rules.PRESETS)[::-1])}"
        raise UserError(f"cannot choose {name!r}: it is no preset; {hint}")
    trust.set_preset(base, name)
    for key in trust.keys(base):
        control.reload(ProjectPaths(base=base, key=key))
    click.echo(f"Commands run ahead as {name!r} says, in all your projects.")


@stretto.command()
@click.argument("pattern", required=False)
@click.option("--remove", is_flag=True, help="Take the pattern back.")
def no(pattern: str | None, remove: bool) -> None:
    """Leave commands alone that match PATTERN, such as 'pytest*'; without one, list the patterns.

    A pattern is compared with the whole command, its words unquoted and one space apart; * stands for anything.
    """
    project = _project()
    if pattern is not None and not remove and not 0 < len(pattern) <= rules.LONGEST_ENTRY:
        raise UserError(f"cannot leave commands alone by a pattern of {len(pattern)} characters: it has 1 to {rules.LONGEST_ENTRY}")
    excluded = list(project.grant.excluded)
    if pattern is None:
        for glob in excluded:
            click.echo(glob)
        return
    if remove and pattern not in excluded:
        raise UserError(f"cannot take back {pattern!r}: it is not among the patterns; `stretto no` lists them")
    kept = [glob for glob in excluded if glob != pattern]
    trust.set_excluded(project, kept if remove else [*kept, pattern])
    control.reload(project.paths)
    click.echo(f"{'Joins again' if remove else 'Leaves alone'}: {pattern}")


# --- looking ----------------------------------------------------------------------------------------------------------------


@stretto.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Show what Stretto knows of this project: sessions, checks, what runs, what was saved."""
    project = _project()
    state = control.fold_log(project.paths)
    process = control.supervisor(state)
    head: dict[str, Any] = {
        "project": display(project.root),
        "mode": project.grant.mode,
        "grant": _grant_state(project),
        "ahead": _eagerness(project),
        "supervisor": {"pid": process.pid, "version": state.supervisor.version} if process and state.supervisor else None,
    }
    data = render.status(state, head, _alive(project.paths, state), wall_s())
    if as_json:
        _echo_json(data)
        return
    for number, line in enumerate(render.status_lines(data, wall_s(), _width())):
        click.echo(click.style(line, bold=True) if number == 0 else line)


def _eagerness(project: Project) -> dict[str, Any]:
    """Return how eagerly commands run ahead here, and who says so."""
    try:
        text = trust.verify(project)
        found = rules.eagerness(trust.settings(project.paths.base), rules.parse((text or b"").decode()), on_battery=power.on_battery())
    except (StrettoError, UnicodeDecodeError) as error:
        return {"preset": "off", "slots": 0, "why": str(error)}
    return {"preset": found.preset.name, "slots": found.slots, "why": found.why}


def _grant_state(project: Project) -> str:
    try:
        trust.verify(project)
    except UserError as error:
        return str(error)
    if left_s := pauses.left_s(project.paths):
        return f"paused for {render.seconds(left_s)} more; `stretto resume` ends it"
    return "ok"


@stretto.command()
@click.argument("what", metavar="[COUNT | ID]", default="10")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def why(what: str, as_json: bool) -> None:
    """Show the last COUNT decisions: what was joined, what was run, who was held up, and the reason; or explain the one with this ID.

    ID is that of a decision, of a block, or of a run whose result was joined, or a beginning of it that no other has.
    """
    state = control.fold_log(_project().paths)
    if not (what.isdecimal() and len(what) < render.SHORT_ID and int(what) > 0):
        found = explain.explain(state, _resolve(what, explain.explainable(state)))
        if as_json:
            _echo_json(found)
        for line in [] if as_json else explain.lines(found):
            click.echo(line)
        return
    decisions = render.why(state, int(what), time.time())
    if as_json:
        for decision in decisions:
            _echo_json(decision)
        return
    for line in render.why_lines(decisions) or ["No check has been asked for yet."]:
        click.echo(line)


@stretto.command(name="saved")
@click.option("--session", default="", metavar="ID", help="Only this session.")
@click.option("--since", default="", metavar="TIME", help="Only the last so much time, such as 90m, 12h or 7d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_saved(session: str, since: str, as_json: bool) -> None:
    """Show what was not waited for, what runs ahead cost for nothing, and why checks ran for real."""
    project = _project()
    state = control.fold_log(project.paths)
    ledger, since_at = state.ledger, wall_s() - _seconds_of(since) if since else 0.0
    if session or since:
        only = _resolve(session, sorted({*state.sessions, *ledger.sessions})) if session else ""
        ledger = fold.recount(journal.read(project.paths.folder), state, session=only, since_at=since_at)
    data = saved.report(state, ledger, asked_since_at=since_at)
    if as_json:
        _echo_json(data)
        return
    for line in saved.lines(data, lambda text: click.style(text, bold=True)):
        click.echo(line)


def _seconds_of(time_back: str) -> float:
    found = TIME_BACK.fullmatch(time_back)
    if found is None:
        raise UserError(f"cannot read the time {time_back!r}: write a whole number with m, h or d, such as 7d")
    return float(found[1]) * {"m": 60, "h": 3600, "d": 86400}[found[2]]


@stretto.command()
@click.argument("attempt")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--stderr", "only_errors", is_flag=True, help="Only what went to standard error (runs that had it apart).")
def logs(attempt: str, follow: bool, only_errors: bool) -> None:
    """Print the output of one run or requested job, by its id or an unambiguous beginning of it."""
    project = _project()
    found = _attempt_of(project.paths, attempt, wait=follow)
    folder = bundle.folder_of(project.paths.attempts, found)
    if not Path(folder).is_dir():
        raise UserError(f"cannot print the output of {found}: it is no longer kept; `stretto status` shows the latest runs")
    for chunk in bundle.follow(folder, live=follow):
        if only_errors and chunk.stream != 2:
            continue
        stream = sys.stderr if chunk.stream == 2 and not only_errors else sys.stdout
        stream.buffer.write(chunk.data)
        stream.flush()


def _attempt_of(paths: ProjectPaths, prefix: str, *, wait: bool) -> AttemptId:
    """Return the run an id means: that of a requested job is its latest try, waited for when `wait` says so."""
    state = control.fold_log(paths)
    found = _resolve(prefix, [*state.attempts, *state.requests])
    while (request := state.requests.get(JobKey(found))) is not None:
        if request.attempt is not None:
            return request.attempt
        if request.over or not wait:
            raise UserError(f"cannot print the output of {found}: it has not begun ({' '.join(render.request_state(request))})")
        time.sleep(FOLLOW_PAUSE_S)
        state = control.fold_log(paths)
    return AttemptId(found)


def _resolve(prefix: str, ids: Sequence[str]) -> str:
    found = [item for item in ids if item.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"cannot find {prefix!r}: no id begins so; `stretto status` shows the ids")
    raise UserError(f"cannot tell what is meant by {prefix!r}: {len(found)} ids begin so; give more digits")


@stretto.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended.")
@click.option("--json", "as_json", is_flag=True, help="The events themselves, one JSON object a line.")
def events(follow: bool, as_json: bool) -> None:
    """Print the log of this project."""
    folder = _project().paths.folder
    state = State()
    for offset, event in journal.follow(folder, 0, lambda: not follow, FOLLOW_PAUSE_S):
        if isinstance(event, Bad):
            click.echo(f"stretto: the line at byte {offset} cannot be used: {render.plain(event.reason)}", err=True)
            continue
        state = apply(state, event, offset)
        click.echo(ENCODER.encode(event).decode() if as_json else render.event_line(event, state.jobs))


@stretto.group()
def log() -> None:
    """Look at the log's file, and mend it."""


@log.command(name="check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def check_log(context: click.Context, as_json: bool) -> None:
    """Read the whole log and list what nobody can use; exit code 4 when something is wrong. Changes nothing."""
    report = logcheck.check(_project().paths.folder)
    if as_json:
        _echo_json({**msgspec.to_builtins(report), "sound": report.sound})
    else:
        for bad in report.bad:
            click.echo(f"the line at byte {bad.offset} cannot be used: {render.plain(bad.reason)}")
        click.echo(f"{report.events} events, {report.bad_lines} bad lines, {report.anomalies} events that do not fit")
        if report.tail_bytes:
            click.echo(f"{report.tail_bytes} bytes at the end are no whole line; the next writer closes them, as does `stretto log repair`")
        if report.failed:
            click.echo("the disk failed a sync: nothing is recorded until `stretto log repair`")
    context.exit(0 if report.sound else CorruptError.exit_code)


@log.command(name="repair")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def repair_log(as_json: bool) -> None:
    """Write the log anew to the disk and close its tail, keeping a copy; bad lines stay and count for nothing."""
    aside = logcheck.repair(_project().paths.folder)
    if as_json:
        _echo_json({"copy": aside})
    else:
        click.echo(f"Repaired; what was there before is in {aside}." if aside else "There is no log yet; nothing was changed.")


@stretto.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def examine(context: click.Context, as_json: bool) -> None:
    """Say whether everything is in order, and what to do where it is not; exit code 1 when something fails."""
    checks = doctor.examine(".", state_base())
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in checks:
        if as_json:
            _echo_json({"level": check.level, "name": check.name, "text": check.text, "do": check.do})
            continue
        click.echo(f"{click.style(check.level.ljust(4), fg=colours[check.level])}  {check.name:<18} {render.plain(check.text)}")
        if check.do and check.level != "ok":
            click.echo(f"{'':<25}{render.plain(check.do)}")
    context.exit(1 if any(check.level == "fail" for check in checks) else 0)


@stretto.command()
def path() -> None:
    """Print the directory in which the state of this project is kept."""
    click.echo(_project().paths.folder)


@stretto.command()
def version() -> None:
    """Print the version."""
    click.echo(f"stretto {__version__}")


@stretto.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Show on a real project what Stretto saves; `--live` does it with your own `claude`."""
    from stretto.demo import __main__ as show  # its parts are needed by nobody else

    show.main(arguments)


# --- asking for jobs --------------------------------------------------------------------------------------------------------


@stretto.command(name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--after", multiple=True, metavar="ID", help="Only when this job has passed; may be given several times.")
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, help="Higher starts first (0 without it).")
@click.option("--memory", default="", metavar="SIZE", help="What it may need, such as 500M or 2G (512M without it).")
@click.option("--retries", type=click.IntRange(0, 20), default=0, help="Try it again so often when it fails, then put it aside.")
@click.option("--keep", is_flag=True, help="It may finish after this session has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def ask_for(after: tuple[str, ...], priority: int, memory: str, retries: int, keep: bool, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND as a job of its own beside the session; prints its id at once.

    `stretto logs ID -f` follows it, `stretto wait ID` waits for it, `stretto cancel ID` ends it, `stretto status` shows all of them.
    """
    project = _project()
    trust.verify(project)
    here = os.getcwd()
    known = list(control.fold_log(project.paths).requests) if after else []
    mask = os.umask(0o077)
    os.umask(mask)
    own_path = os.fsencode(shellenv.write_voice(project.paths.base))
    env = {**os.environb, b"PATH": own_path + b":" + os.environb.get(b"PATH", os.fsencode(os.defpath))}
    message = {
        "op": b"request",
        "job": secrets.token_hex(16).encode(),
        "exe": os.fsencode(_executable(command[0], here, project.paths.bin)),
        "argv": b"\0".join(os.fsencode(word) for word in command),
        "env": b"\0".join(name + b"=" + value for name, value in env.items()),
        "cwd": os.fsencode(here),
        "umask": oct(mask)[2:].encode(),
        "after": " ".join(_resolve(prefix, known) for prefix in after).encode(),
        "priority": str(priority).encode(),
        "memory_bytes": str(_bytes_of(memory) if memory else schedule.DEFAULT_MEMORY_BYTES).encode(),
        "retries": str(retries).encode(),
        "keep": b"1" if keep else b"0",
        "session": os.environb.get(b"CLAUDE_CODE_SESSION_ID", b""),
    }
    job = _granted(control.request(project, message))["job"].decode()
    if as_json:
        _echo_json({"job": job})
    else:
        click.echo(job)


def _executable(word: str, here: str, shims: str) -> str:
    """Return the file a command's first word means, our own entries on the PATH left out: the job is not to be joined."""
    folders = [folder for folder in os.get_exec_path() if os.path.realpath(folder or ".") != os.path.realpath(shims)]
    found = shutil.which(word, path=os.pathsep.join(folders))
    if found is None:
        raise UserError(f"cannot run {word!r}: no such program; a line for a shell needs `sh -c '...'`")
    return os.path.join(here, found)


def _bytes_of(size: str) -> int:
    found = SIZE.fullmatch(size.upper())
    if found is None:
        raise UserError(f"cannot read the size {size!r}: write a whole number with K, M or G, such as 500M")
    return int(found[1]) << 10 * " KMG".index(found[2] or " ")


def _granted(answer: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if answer.get("ok") == b"1":
        return answer
    raise UserError(answer.get("reason", b"cannot do that: the supervisor refused").decode("utf-8", "backslashreplace"))


@stretto.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def cancel(ids: tuple[str, ...]) -> None:
    """Cancel requested jobs (they stay cancelled, and so does what waits for them), or end runs ahead."""
    project = _project()
    state = control.fold_log(project.paths)
    found = [_resolve(prefix, [*state.requests, *state.attempts]) for prefix in ids]
    for item in found:
        attempt = state.attempts.get(AttemptId(item))
        job = attempt.job if attempt is not None else JobKey(item)
        of_request = job in state.requests
        message = {"op": b"drop", "job": job.encode()} if of_request else {"op": b"cancel", "attempt": item.encode()}
        if control.request(project, message).get("ok") == b"1":
            click.echo(f"Cancelled {item[: render.SHORT_ID]}.")
        else:
            click.echo(f"{item[: render.SHORT_ID]} was over already.", err=True)


@stretto.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def retry(ids: tuple[str, ...]) -> None:
    """Let commands run ahead and be joined again at once that were put aside because their runs died, given up because nobody took their
    results, or barred by an audit; ID as `status` and `why` print it."""
    project = _project()
    state = control.fold_log(project.paths)
    for item in [_resolve(prefix, [*state.jobs, *state.attempts]) for prefix in ids]:
        attempt = state.attempts.get(AttemptId(item))
        job = state.jobs[attempt.job if attempt is not None else JobKey(item)]
        control.request(project, {"op": b"retry", "job": job.job.encode()})
        was = "may run ahead again" if job.crashes or job.idle_bets or job.contradicted else "has nothing to be forgiven"
        was = "may be joined and run ahead again" if job.barred else was
        click.echo(f"{render.command(job)} {was}.")


@stretto.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_context
def wait(context: click.Context, ids: tuple[str, ...]) -> None:
    """Wait for requested jobs and end with the exit code of the first one given that did not pass, 0 when all did.

    A job that had no exit code counts as 128 and its signal, 124 (took too long), 143 (cancelled), 137 (out of memory), 127 (could not be
    started) or 125 (lost, too much output, too many processes).
    """
    project = _project()
    state = State()
    jobs: list[JobKey] = []
    looked_s = time.monotonic()

    def over() -> bool:
        nonlocal looked_s
        if not jobs:
            jobs.extend(JobKey(_resolve(prefix, list(state.requests))) for prefix in ids)
        if all(state.requests[job].over for job in jobs):
            return True
        if time.monotonic() - looked_s > WAKE_EVERY_S:
            looked_s = time.monotonic()
            if not is_locked(project.paths.supervisor_lock):
                control.wake(project)
        return False

    session = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    with contextlib.ExitStack() as stack:
        if session:
            known = list(control.fold_log(project.paths).requests)
            on = [f"job {_resolve(prefix, known)}" for prefix in ids]
            stack.enter_context(worker.waiting(project, f"session {session}", on, "stretto wait"))
        for offset, event in journal.follow(project.paths.folder, 0, over, FOLLOW_PAUSE_S):
            state = apply(state, event, offset)
    codes = [_exit_code(state.requests[job]) for job in jobs]
    context.exit(next((code for code in codes if code), 0))


def _exit_code(request: Request) -> int:
    word, reason = render.request_state(request)
    match request.phase:
        case Passed():
            return 0
        case Failed(end=end) | PutAside(end=end):
            if end.how == "code":
                return end.value
        case Cancelled():
            end = End(how="cancelled")
        case _:
            end = End(how="lost")
    click.echo(f"stretto: {request.job[: render.SHORT_ID]} {render.plain(f'{word}: {reason}')}", err=True)
    return 128 + end.value if end.how == "signal" else NO_EXIT[end.how]


@stretto.command("status-line")
def status_line() -> None:
    """Print one line for Claude Code's status line: how far workers are, what runs, what holds sessions up.

    In Claude Code's settings: "statusLine": {"type": "command", "command": "stretto status-line"}. Prints nothing where Stretto is not.
    """
    try:
        said = json.loads(sys.stdin.read(STATUS_LINE_BYTES)) if not sys.stdin.isatty() else {}
        folder = said.get("cwd") if isinstance(said, dict) else None
    except ValueError:
        folder = None
    project = trust.lookup(folder if isinstance(folder, str) and os.path.isdir(folder) else ".", state_base())
    if project is not None:
        click.echo(render.status_line(control.fold_log(project.paths), wall_s(), paused=pauses.left_s(project.paths) > 0))


# --- control ----------------------------------------------------------------------------------------------------------------


@stretto.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All that hold in this project.")
def unblock(ids: tuple[str, ...], everything: bool) -> None:
    """End blocks by which workers or programs hold sessions up; works with the supervisor dead. ID as `status` prints it."""
    if bool(ids) is everything:
        raise UserError("cannot end blocks: name some, or say --all")
    ended = worker.unblock(worker.Place(_project(), None), list(ids))
    for name in ended:
        click.echo(f"Ended block {name}.")
    if not ended:
        click.echo("No block holds." if everything else "That was over already.")


@stretto.command()
@click.option("--for", "time_on", default="30m", show_default=True, metavar="TIME", help="So long, 24h at most: 90m, 12h, 1d.")
def pause(time_on: str) -> None:
    """Do nothing in this project for a while: nothing is joined, run ahead, held up or told. Works with the supervisor dead."""
    project = _project()
    until_at = pauses.begin(project.paths, _seconds_of(time_on))
    control.reload(project.paths)
    click.echo(f"Paused until {render.moment(until_at)}; `stretto resume` ends it.")


@stretto.command()
def resume() -> None:
    """End a pause."""
    project = _project()
    was = pauses.end(project.paths)
    control.reload(project.paths)
    click.echo("Goes on." if was else "It was not paused.")


@stretto.command("explain-stop")
@click.option("--session", default="", metavar="ID", help="As `status` prints it; the latest without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def explain_stop(session: str, as_json: bool) -> None:
    """Say whether a session may end its turn at this moment, and why."""
    project = _project()
    state = control.fold_log(project.paths)
    opened = [str(each) for each in state.open_sessions()]
    if session:
        session = _resolve(session, opened)
    try:
        answer = control.ask(project.paths, {"op": b"explain", "session": (session or (opened[-1] if opened else "")).encode()})
        found = json.loads(answer["found"])
    except UnavailableError:
        found = {"may_stop": True, "rule": "no-supervisor", "why": "no supervisor lives: nothing of Stretto can hold it up", "waiting": []}
    if as_json:
        _echo_json(found)
        return
    for line in explain.stop_lines(found):
        click.echo(line)


# --- shared by the commands -------------------------------------------------------------------------------------------------


def _project() -> Project:
    project = trust.lookup(".", state_base())
    if project is None:
        raise UserError(f"cannot find a project of Stretto at {display(str(Path.cwd()))}: it was never granted; run `stretto init` there")
    return project


def _alive(paths: ProjectPaths, state: State) -> set[AttemptId]:
    return {attempt.attempt for attempt in state.open_attempts() if is_locked(f"{bundle.folder_of(paths.attempts, attempt.attempt)}/lock")}


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000


def _echo_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=True))


def _write_report(arguments: Sequence[str] | None) -> str:
    """Write what is known of a bug into a file and return its path; outside the state directory where there is none to write to."""
    import platform  # slow to load, and only a bug needs it

    words = sys.argv[1:] if arguments is None else list(arguments)
    text = (
        f"stretto {__version__}, Python {sys.version.split()[0]}, {platform.platform()}\narguments: {words!r}\n\n{traceback.format_exc()}"
    )
    folder: str | None = None
    try:
        folder = f"{state_base()}/reports"
        if Path(state_base()).is_dir():
            Path(f"{folder}").mkdir(mode=0o700, exist_ok=True)
        else:
            folder = None
    except (OSError, StrettoError):
        folder = None
    descriptor, name = tempfile.mkstemp(prefix="stretto-", suffix=".txt", dir=folder)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return name
