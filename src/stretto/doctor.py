"""Looks whether everything is in order, and says what to do where it is not.

Hides where each part keeps its facts. Promises: looks only (the one file it makes, to try locking, is gone again); works with the
supervisor dead, the grant void or nothing installed; each check is on its own, one that cannot look is a warning and stops no other.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from stretto import __version__, control, disk, githooks, install, journal, power, rules, trust
from stretto.errors import StrettoError, UnavailableError
from stretto.fold import BARRING, State
from stretto.model import JobKey
from stretto.permissions import MANAGED_SETTINGS
from stretto.render import SHORT_ID, moment, plain
from stretto.system import build, is_locked
from stretto.trust import Project

CLAUDE_LEAST = (2, 1, 300)
"""What is measured here holds for 2.1.330; versions below this one were never tried."""
CLAUDE_LIMIT_S = 10.0

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    level: Level
    name: str
    text: str
    do: str = ""
    """What the user can do about it, "" where nothing has to be done."""


@dataclass(slots=True)
class _Patient:
    """What the checks look at."""

    base: str
    root: str
    project: Project | None
    trouble: str
    """Why the grant could not be read, "" when it could."""
    state: State
    settings: dict[install.Scope, str]
    """Text of each settings file that is there."""


def examine(folder: str, base: str) -> list[Check]:
    """Return every finding for the project that `folder` belongs to, or would belong to."""
    project, trouble = None, ""
    try:
        project = trust.lookup(folder, base)
    except StrettoError as error:
        trouble = str(error)
    root = project.root if project else trust.project_root(folder)
    patient = _Patient(base=base, root=root, project=project, trouble=trouble, state=State(), settings={})
    checks: list[Check] = []
    for look in _CHECKS:
        try:
            for check in look(patient):
                checks.append(check)  # one by one: what was found before a check breaks off stays
        except (OSError, StrettoError, ValueError) as error:
            checks.append(Check("warn", look.__name__.strip("_").replace("_", " "), f"cannot be looked at: {error}"))
    return checks


# --- the checks, in the order in which they are shown -----------------------------------------------------------------------


def _version(_: _Patient) -> Iterator[Check]:
    yield Check("ok", "stretto", f"version {__version__}")


def _claude_code(_: _Patient) -> Iterator[Check]:
    try:
        answer = subprocess.run(
            ["claude", "--version"], capture_output=True, text=True, timeout=CLAUDE_LIMIT_S, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        yield Check("warn", "claude", "Claude Code is not on PATH", "nothing to do when you start it in another way")
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Check("warn", "claude", f"`claude --version` gives no answer: {error}", "try it by hand")
        return
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if found is None:
        yield Check("warn", "claude", f"`claude --version` says {plain(answer.stdout.strip())[:60]!r}", "check that this is Claude Code")
    elif tuple(int(part) for part in found.groups()) < CLAUDE_LEAST:
        least = ".".join(map(str, CLAUDE_LEAST))
        yield Check("warn", "claude", f"version {found[0]} is older than {least}, the oldest Stretto was tried with", "run `claude update`")
    else:
        yield Check("ok", "claude", f"version {found[0]}")


def _grant(patient: _Patient) -> Iterator[Check]:
    where = trust.display(patient.root)
    if patient.trouble:
        yield Check("fail", "grant", patient.trouble)
        return
    if patient.project is None:
        key = trust.project_key(trust.project_root(patient.root))
        aside = trust.put_aside_grants(f"{patient.base}/projects/{key}")
        why = f": its grant was damaged and put aside ({aside[-1]})" if aside else ""
        yield Check("fail", "grant", f"{where} is not granted{why}; nothing runs here", "run `stretto init`")
        return
    grant = patient.project.grant
    level: Level = "warn" if grant.mode == "off" else "ok"
    yield Check(level, "mode", f"{grant.mode} in {where}", "run `stretto mode on`" if grant.mode == "off" else "")
    try:
        text = trust.verify(patient.project)
    except StrettoError as error:
        yield Check("fail", "grant", str(error))
        return
    yield Check("ok", "grant", "holds")
    if text is None:
        yield Check("ok", "rules", f"no {trust.RULES_NAME}, defaults")
        return
    try:
        rules.parse(text.decode())
    except (StrettoError, UnicodeDecodeError) as error:
        yield Check("fail", "rules", str(error), f"mend {trust.RULES_NAME}, then run `stretto init` again")
        return
    yield Check("ok", "rules", f"{trust.RULES_NAME} reads")


def _presets(patient: _Patient) -> Iterator[Check]:
    try:
        own = trust.settings(patient.base)
    except StrettoError as error:
        yield Check("fail", "ahead", f"{error}; nothing runs ahead and nothing is joined", "mend that file, then run `stretto preset`")
        return
    asked, battery = rules.Rules(), power.on_battery()
    if patient.project is not None:
        try:
            asked = rules.parse((trust.verify(patient.project) or b"").decode())
        except (StrettoError, UnicodeDecodeError):
            return  # nothing runs, as was said above
    found = rules.eagerness(own, asked, on_battery=battery)
    yield Check("ok", "ahead", f"{found.preset.name} ({found.why}), at most {found.slots} at a time")
    if own.busy_percent < 100:
        yield Check("ok", "room", f"none starts while the processors are used more than {own.busy_percent} %, or with under 2 GB free")


def _settings(patient: _Patient) -> Iterator[Check]:
    held = []
    for scope, path in _settings_paths(patient).items():
        try:
            data = install.read_file(path)
            if data is None:
                continue
            text = data.decode()
            entries = list(install.installed(text))
            faults = install.problems(text)
        except (StrettoError, ValueError) as error:
            yield Check("fail", f"{scope} settings", f"{path}: {error}; Claude Code ignores the file", "mend the file")
            continue
        patient.settings[scope] = text
        for fault in faults:
            effect = "Claude Code ignores the whole file" if fault.voids else "Claude Code skips that entry"
            yield Check("fail" if fault.voids else "warn", f"{scope} settings", f"{path}: {fault.text}; {effect}", "mend the entry")
        if entries:
            held.append(scope)
            yield _entries(scope, path, entries, patient.base)
    if not held:
        yield Check("fail", "hooks", "no settings file holds Stretto's hooks", "run `stretto init`")
    if len(held) > 1:
        where = " and ".join(held)
        yield Check("warn", "hooks", f"they stand in {where} settings; the same entry runs once, a differing one twice", "keep one of them")


def _settings_paths(patient: _Patient) -> dict[install.Scope, str]:
    """Return the settings files that count here; a worktree without any of its own has those of the project it was granted with."""
    paths = install.settings_paths(patient.root)
    origin = trust.load(patient.base, patient.project.grant.origin) if patient.project and patient.project.grant.origin else None
    theirs = install.settings_paths(origin.root) if origin else {}
    return {scope: path if os.path.lexists(path) else theirs.get(scope, path) for scope, path in paths.items()}


def _entries(scope: str, path: str, entries: list[tuple[str, Any]], base: str) -> Check:
    wired = install.wiring(base)
    wanted = [(event.name, value) for event in install.EVENTS for value in install.entries_of(event, wired)]
    missing = sorted({name for name, value in wanted if value not in [mine for event, mine in entries if event == name]})
    changed = sorted({name for name, value in entries if (name, value) not in wanted})
    gone = [name for name in missing if name not in dict(entries)]
    if missing or changed or len(entries) != len(wanted):
        what = [f"missing: {', '.join(gone)}"] if gone else []
        what += (
            [f"not as this installation writes them: {', '.join(sorted({*changed, *missing} - {*gone}))}"]
            if {*changed, *missing} - {*gone}
            else []
        )
        what += ["some twice"] if len(entries) > len(wanted) else []
        return Check("fail" if gone else "warn", f"{scope} hooks", f"{path}: {'; '.join(what)}", "run `stretto init` again")
    return Check("ok", f"{scope} hooks", f"all {len(wanted)} in {path}")


def _git_hooks(patient: _Patient) -> Iterator[Check]:
    found = list(githooks.problems(patient.root, patient.base))
    for problem in found:
        yield Check("warn", "git hooks", problem, "run `stretto init --git-hooks`")
    if not found and githooks.is_in(patient.root):
        yield Check("ok", "git hooks", "pre-commit and pre-push ask the gates")


def _interpreters(patient: _Patient) -> Iterator[Check]:
    named: dict[str, str] = {}
    for text in patient.settings.values():
        for _, value in install.installed(text):
            named[install.interpreter_of(value)] = "hook"
            args = [str(argument) for argument in value["args"]]
            at = args.index(install.MARK)
            if at >= 3:
                named[args[at - 1]] = "supervisor"
                if not Path(args[at - 3], "client.py").is_file():
                    yield Check(
                        "fail", "files", f"{args[at - 3]} holds no client.py: the package moved or is gone", "run `stretto init` again"
                    )
    for path, role in named.items():
        yield _interpreter(path, role)


def _interpreter(path: str, role: str) -> Check:
    name = f"{role} python"
    if not (Path(path).is_absolute() and Path(path).is_file() and os.access(path, os.X_OK)):
        return Check("fail", name, f"{path} is gone or cannot be run", "run `stretto init` again")
    with Path(path).open("rb") as file:
        script = file.read(2) == b"#!"
    if script:
        return Check(
            "fail", name, f"{path} is a script (a version switcher's shim), slow and of changing meaning", "run `stretto init` again"
        )
    return Check("ok", name, path)


def _switches(patient: _Patient) -> Iterator[Check]:
    texts: list[tuple[str, str]] = [(install.settings_path(patient.root, scope), text) for scope, text in patient.settings.items()]
    for managed in MANAGED_SETTINGS:
        if Path(managed).is_file():
            texts.append((managed, Path(managed).read_text(encoding="utf-8")))
    for path, text in texts:
        settings = json.loads(text.removeprefix("\ufeff"))
        if settings.get("disableAllHooks"):
            yield Check("fail", "hooks", f"{path} has `disableAllHooks`: no hook runs", "take it out to use Stretto")
        if path in MANAGED_SETTINGS and settings.get("allowManagedHooksOnly"):
            yield Check("fail", "hooks", f"{path} allows managed hooks only", "ask who manages this machine")
        sandbox = settings.get("sandbox")
        if isinstance(sandbox, dict) and sandbox.get("enabled"):
            yield Check("warn", "sandbox", f"{path} turns the sandbox on: a command in it runs for real, it is never joined")


def _state_directory(patient: _Patient) -> Iterator[Check]:
    if patient.project is None:
        return
    folder = patient.project.paths.folder
    for path in (patient.base, folder):
        found = Path(path).lstat()
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
            yield Check("fail", "state", f"{path} is open to others", f"run `chmod 700 {shlex.quote(path)}`")
            return
    broken = Path(folder, "broken")
    if broken.is_dir() and (names := sorted(entry.name for entry in broken.iterdir())):
        yield Check("warn", "damage", f"put aside in {broken}: {', '.join(names)[:120]}", "remove it when you have looked at it")
    if reason := disk.unfit(folder):
        yield Check("fail", "state", f"{folder}: {reason}; nothing is recorded or joined", "set STRETTO_STATE_DIR to a local disk")
    else:
        yield Check("ok", "state", folder)


def _supervisor(patient: _Patient) -> Iterator[Check]:
    if patient.project is None:
        return
    paths = patient.project.paths
    try:
        answer = control.ask(paths, {"op": b"ping"})
    except UnavailableError as error:
        if is_locked(paths.supervisor_lock):
            yield Check("fail", "supervisor", f"it lives and does not answer: {error}", f"see {paths.supervisor_errors}; ending it is safe")
        else:
            yield Check("ok", "supervisor", "not running; the next session starts it")
        return
    version = answer.get("version", b"").decode("utf-8", "replace")
    pid = answer.get("pid", b"").decode("ascii", "replace")
    if version != __version__:
        yield Check("warn", "supervisor", f"pid {pid} is of version {version}, this is {__version__}", "run `stretto init` again")
    elif answer.get("build") != build().encode():
        yield Check("warn", "supervisor", f"pid {pid} is of another installation, also called {version}", "run `stretto init` again")
    else:
        yield Check("ok", "supervisor", f"pid {pid} answers")
    if size := plain(answer.get("size", b"").decode("utf-8", "replace")):
        large = "more than" in size
        do = "name what no command reads in `leave_out` of stretto.toml, or have git ignore it" if large else ""
        yield Check("warn" if large else "ok", "tree", f"nothing is joined: {size}" if large else size, do)


def _log(patient: _Patient) -> Iterator[Check]:
    if patient.project is None:
        return
    state = patient.state = control.fold_log(patient.project.paths)
    yield from _last_signs(state)
    if os.path.lexists(f"{patient.project.paths.folder}/{journal.FAILED_NAME}"):
        yield Check("fail", "log", "a sync failed; nothing is recorded", "when the disk is sound, run `stretto log repair`")
    if state.bad_lines or state.anomaly_count:
        bad = f" (the latest at byte {state.last_bad.offset}: {plain(state.last_bad.what)[:120]})" if state.last_bad else ""
        example = f", the latest: {plain(state.anomalies[-1].what)}" if state.anomalies else ""
        text = f"{state.bad_lines} lines nobody can use{bad}, {state.anomaly_count} events that do not fit{example}"
        yield Check("warn", "log", text, "results they concern do not count; `stretto log check` lists the lines")
    else:
        yield Check("ok", "log", f"{state.events} events, all in order")
    yield from _audits(state)
    if state.broken:
        text = f"{state.broken_count} times something was not as promised, the latest: {plain(state.broken[-1].what)}"
        yield Check("warn", "promises", text, "the results concerned were not used; `stretto events` has the rest")


def _audits(state: State) -> Iterator[Check]:
    """What mode `audit` found: each command that is barred, with both outputs."""
    if not state.ledger.total.audits:
        return
    bars = {audit.job: audit for audit in state.audits if audit.outcome in BARRING and state.jobs[audit.job].barred}
    for audit in bars.values():
        words = {"false": "a false join", "unrepeatable": "not repeatable"}.get(audit.outcome, "a false join, or not repeatable")
        both = f"`stretto logs {audit.attempt}` and `stretto logs {audit.again}`" if audit.again else f"`stretto logs {audit.attempt}`"
        text = f"{_name(state, audit.job)}: {words}: {plain(audit.reason)}; it is joined no more; compare {both}"
        level: Level = "warn" if audit.outcome == "unrepeatable" else "fail"
        yield Check(level, "audit", text, f"when it is mended, run `stretto retry {audit.job[:SHORT_ID]}`")
    if not bars:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in state.ledger.total.audits.items())
        yield Check("ok", "audit", f"no join is in doubt ({counts})")


def _last_signs(state: State) -> Iterator[Check]:
    """F70: what was last seen of each part, from the log alone; whoever reads it notices what has stopped."""
    if not state.last_hook_at:
        yield Check("warn", "last hook", "none seen yet", "start `claude` here; a session that runs already does not see new hooks at once")
    else:
        yield Check("ok", "last hook", f"{moment(state.last_hook_at)}; the last event of any kind: {moment(state.last_at)}")
    joins = [join for join in state.joins if join.do in ("replay", "attach")]
    yield Check("ok", "last join", _said(joins[-1].ts, f"{_name(state, joins[-1].job)}, {joins[-1].do}") if joins else "none yet")
    latest = {_name(state, join.job): join for join in state.joins}
    for name, join in latest.items():
        if join.code == "other-checkout":
            text = f"{name} {plain(join.reason)[:160]} ({moment(join.ts)}); it is neither joined nor judged"
            yield Check("warn", "imports", text, "install the project from here in an environment of its own (`pip install -e .`)")
    asked = state.joins[-1] if state.joins else None
    text = f"{_name(state, asked.job)} was {asked.standing}, {asked.do}: {plain(asked.reason)[:100]}" if asked else ""
    yield Check("ok", "last verdict", _said(asked.ts, text) if asked else "none yet")
    news = state.news[-1] if state.news else None
    yield Check("ok", "last news", _said(news.ts, f"{_name(state, news.job)}, {news.was} to {news.now}") if news else "none yet")


def _said(at: float, text: str) -> str:
    return f"{moment(at)}: {text}"


def _name(state: State, job: JobKey) -> str:
    return plain(" ".join(state.jobs[job].argv))[:60] if job in state.jobs else "a command"


def _shims(patient: _Patient) -> Iterator[Check]:
    folder = Path(patient.base, "bin")
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if not entries:
        if patient.state.sessions:
            yield Check("fail", "shims", f"{folder} is empty, though a session was open", "start a new session")
        return
    bad = [entry.name for entry in entries if not os.access(entry, os.X_OK) or entry.lstat().st_mode & 0o022]
    gone = sorted({path for entry in entries for path in _needed_by(entry) if not os.access(path, os.R_OK)})
    if bad:
        yield Check(
            "fail", "shims", f"in {folder} these cannot be run or can be written by others: {', '.join(bad)}", "start a new session"
        )
    elif gone:
        yield Check(
            "fail",
            "shims",
            f"they need {gone[0]}, which is gone; commands run as without Stretto",
            "run `stretto init`, start a new session",
        )
    else:
        yield Check("ok", "shims", f"{len(entries)} in {folder}")
    yield from _path_order(patient.base, {entry.name for entry in entries})


def _needed_by(entry: Path) -> list[str]:
    """Return the files a PATH entry tests for before it uses them: interpreter and shim."""
    lines = entry.read_text(encoding="utf-8", errors="replace").splitlines()
    words = next((shlex.split(line) for line in lines if line.startswith("if [ -x ")), [])
    return [after.rstrip(";") for word, after in pairwise(words) if word in ("-x", "-r")]


def _path_order(base: str, names: set[str]) -> Iterator[Check]:
    path = os.environ.get("PATH", "").split(":")
    ours = next((number for number, entry in enumerate(path) if entry.startswith((f"{base}/bin", f"{base}/paths/"))), None)
    if ours is None:
        return  # not inside a session: the directory is put there for Claude's commands only
    earlier = [entry for entry in path[:ours] if entry and any(Path(entry, name).exists() for name in names)]
    if earlier:
        text = f"{earlier[0]} comes before {path[ours]}: only shell functions see the tools in it"
        yield Check("warn", "PATH", text, "nothing to do for a virtual environment that is active")
    else:
        yield Check("ok", "PATH", "the shims come first")


_CHECKS: tuple[Callable[[_Patient], Iterator[Check]], ...] = (
    _version,
    _claude_code,
    _grant,
    _presets,
    _settings,
    _git_hooks,
    _interpreters,
    _switches,
    _state_directory,
    _supervisor,
    _log,
    _shims,
)
