"""Our hooks in Claude Code's settings files, next to whatever is there.

Hides JSON as text: an edit inserts and removes members and leaves every other byte as it was (indentation, order of keys, line ends,
escapes). Promises:
- `without_hooks` undoes `with_hooks` to the byte, the absent file included; when somebody edited in between, only our entries go;
- an entry is ours when `MARK` is an element of its `args`, nothing else is looked at: no path, no part of a text;
- a file that is no JSON, or that Claude Code would ignore because of a bad entry, is refused and stays as it is;
- entries are in exec form with an interpreter by its real path, so no version switcher stands in between; where that interpreter is not
  (the checkout of another machine, a container), they are silent but for one notice at the start of a session;
- timeouts are seconds, from one table.

How an edit stays reversible without a record: members are put behind the last one, their comma first, so taking out from the end of
the member before to the end of ours is the inverse. What we put into an object or array that stood there empty is closed right behind
it; an object or array that we made ourselves has a line break before its end, and goes when nothing else is in it.

It is one idea in one file: an edit and its inverse, read side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # there since 2.0, undocumented; a string's end is all we need of it
from pathlib import Path
from typing import Any, Literal

from stretto import hookwire
from stretto.errors import UnavailableError, UserError
from stretto.system import atomic_write, home, missing_above

MARK = "stretto:hook:v1"
"""The element of `args` that makes an entry ours."""

Scope = Literal["local", "project", "user"]

LAUNCH = """\
import sys
sys.path.append(sys.argv[1])
try:
    from client import main
except BaseException:
    if sys.argv[-1] == "SessionStart":
        print('{"systemMessage": "Stretto is not working: its files are gone or damaged, everything runs as without it. \
To mend it, install it again and run `stretto init`. To end it, `stretto uninstall`, \
or where that command is gone, too, take the entries that hold stretto:hook:v1 out of the settings (`/hooks` shows which files)."}')
    sys.exit(0)
main(sys.argv[1:])
"""
"""What the interpreter runs. It is an argument and no file: a missing file would end the interpreter with 2, which reads as "block".
Whatever keeps our client from being imported, an exit included, is silent, but for one notice at the start of a session."""

SHELL = "/bin/sh"
GUARD = """\
gone() { %s; exit 0; }
trap gone 0
[ -z "${BASH_VERSION-}" ] || shopt -s execfail
[ -x "$0" ] && exec "$0" "$@"
"""
"""What stands before the interpreter: the host reports a program it cannot start at every call, and a shell that can is on every machine.
The interpreter takes the shell's place, so nothing stands in between afterwards (0.8 ms). A failing `exec` ends dash, which the trap sees,
and bash only without that option."""
ABSENT = (
    "Stretto's hooks in these settings name a Python that is not on this machine: they do nothing here, everything runs as without them. "
    "To use Stretto here, install it and run `stretto init --user`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    name: str
    timeout_s: int
    matcher: str = ""
    """Tool name the hook is for, "" where the event has none."""
    status: str = ""
    """What the host shows while it waits for this one for more than a second."""
    watched: bool = False
    """A second entry waits in the background from then on and can wake the session when it is idle."""


EVENTS = (
    HookEvent(name="SessionStart", timeout_s=14, watched=True),
    HookEvent(name="UserPromptSubmit", timeout_s=5),
    HookEvent(name="PreToolUse", timeout_s=5, matcher=f"^(?!(?:{'|'.join(sorted(hookwire.HARMLESS_TOOLS))})$).*$"),
    HookEvent(name="PermissionRequest", timeout_s=5, matcher="Bash"),
    HookEvent(name="PostToolBatch", timeout_s=5),
    HookEvent(name="Stop", timeout_s=15, status="Waiting for checks that are about to end", watched=True),
    HookEvent(name="SubagentStop", timeout_s=15, status="Waiting for checks that are about to end"),
    HookEvent(name="TaskCompleted", timeout_s=15, status="Waiting for checks that are about to end"),
    HookEvent(name="SessionEnd", timeout_s=5),
)
"""What we listen to. The client gives up on its own before each of these seconds are over."""

FILE_MOST_BYTES = 16 << 20
"""More than settings are; a link of a cloned repository may lead anywhere."""
WATCH = "Watch"
"""What the client of the second entry is told instead of the event's name."""
WATCH_S = 7 * 86_400
"""A session may be idle for so long; its watcher ends with it."""

VOIDING = ("PreToolUse", "PermissionRequest")
"""One bad entry under these and Claude Code 2.1.332 ignores the whole file, its deny rules included (measured)."""
HOST_EVENTS = frozenset(
    [
        "PreToolUse",
        "PostToolUse",
        "PostToolUseFailure",
        "PostToolBatch",
        "Notification",
        "UserPromptSubmit",
        "UserPromptExpansion",
        "SessionStart",
        "SessionEnd",
        "Stop",
        "StopFailure",
        "SubagentStart",
        "SubagentStop",
        "PreCompact",
        "PostCompact",
        "PreModelSwitch",
        "PostModelSwitch",
        "PermissionRequest",
        "PermissionDenied",
        "Setup",
        "TeammateIdle",
        "TaskCreated",
        "TaskCompleted",
        "Elicitation",
        "ElicitationResult",
        "ConfigChange",
        "WorktreeCreate",
        "WorktreeRemove",
        "InstructionsLoaded",
        "CwdChanged",
        "FileChanged",
        "DirectoryAdded",
        "MessageDisplay",
        "PreSkillShellCommand",
    ]
)
"""What it listens to (2.1.332). It passes over every other member of `hooks`, whatever that holds: people write comments so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the entries of one installation name; the same wiring gives the same entries, so two files with them fire once."""

    python: str
    """Interpreter of the hook: a real path outside any virtual environment."""
    islands: str
    """Directory of `client.py`."""
    base: str
    """State directory."""
    supervisor: str
    """Interpreter that has the package's dependencies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a settings file shall become; None means no file."""

    path: str
    before: bytes | None
    after: bytes | None
    makes_directory: bool = False
    """The file's directory is not there yet."""

    @property
    def changes(self) -> bool:
        return self.before != self.after


def wiring(base: str) -> Wiring:
    """Return the wiring of the running installation."""
    python = getattr(sys, "_base_executable", "") or sys.executable
    return Wiring(python=os.path.realpath(python), islands=str(Path(__file__).resolve().parent), base=base, supervisor=sys.executable)


def settings_path(root: str, scope: Scope) -> str:
    """Return the settings file of a scope: `local` and `project` lie in the project, `user` in Claude Code's own directory.

    Raises:
        UserError: nothing says where the user's home folder is.
    """
    if scope == "user":
        if not (home() or os.environ.get("CLAUDE_CONFIG_DIR")):
            raise UserError("cannot tell where your home folder is: set HOME, or CLAUDE_CONFIG_DIR")
        directory = os.environ.get("CLAUDE_CONFIG_DIR") or f"{home()}/.claude"
        return f"{Path(directory).absolute()}/settings.json"
    return f"{root}/.claude/settings.local.json" if scope == "local" else f"{root}/.claude/settings.json"


def settings_paths(root: str) -> dict[Scope, str]:
    """Return the settings files of all scopes that this user has."""
    everywhere: tuple[Scope, ...] = ("local", "project", "user")
    known = home() or os.environ.get("CLAUDE_CONFIG_DIR")
    return {scope: settings_path(root, scope) for scope in everywhere if scope != "user" or known}


def plan_init(path: str, wired: Wiring) -> Edit:
    """Return the edit that puts our hooks into a settings file; one that changes nothing when they are there already.

    Raises:
        UserError: the file cannot be read, is no JSON (with line and column), or Claude Code would ignore it.
    """
    before = read_file(path)
    text = None if before is None else _decode(path, before)
    try:
        after = with_hooks(text, wired)
    except ValueError as error:
        raise UserError(f"cannot add hooks to {path}: {error}; mend the file first, nothing was changed") from error
    return Edit(path=path, before=before, after=after.encode(), makes_directory=bool(missing_above(os.path.realpath(path))))


def plan_uninstall(path: str) -> Edit:
    """Return the edit that takes our hooks out of a settings file; one that changes nothing when there are none.

    Raises:
        UserError: the file cannot be read or is no JSON (with line and column).
    """
    before = read_file(path)
    if before is None:
        return Edit(path=path, before=None, after=None)
    try:
        after = without_hooks(_decode(path, before))
    except ValueError as error:
        if MARK.encode() not in before:  # a broken file that cannot hold an entry of ours is none of our business
            return Edit(path=path, before=before, after=before)
        raise UserError(f"cannot take hooks out of {path}: {error}; mend the file first, nothing was changed") from error
    return Edit(path=path, before=before, after=None if after is None else after.encode())


def made_by_us(edit: Edit) -> bool:
    """Say whether the file that an edit leaves holds nothing but our hooks, so that it is gone at uninstall."""
    return edit.before is None or plan_uninstall(edit.path).after is None


def undoing(edit: Edit) -> Edit:
    """Return the edit that takes another one back."""
    return Edit(path=edit.path, before=edit.after, after=edit.before)


def perform(edit: Edit) -> None:
    """Do what the edit says.

    Raises:
        UnavailableError: the file is no longer what it was when the edit was planned.
        UserError: it cannot be written.
    """
    if not edit.changes:
        return
    if read_file(edit.path) != edit.before:
        raise UnavailableError(f"cannot write {edit.path}: it was changed by someone else just now; try again")
    path = Path(os.path.realpath(edit.path))  # a link into a dotfiles repository stays a link
    made = missing_above(str(path))
    try:
        if edit.after is None:
            path.unlink()
            return
        for folder in reversed(made):
            os.mkdir(folder, 0o755)  # never open to others' writing, whatever the umask: what stands in there is run
        was = path.stat() if edit.before is not None else None
        atomic_write(str(path), edit.after)
        if was is not None and os.geteuid() == 0:  # written aside by root, it would else be taken from its owner
            os.chown(path, was.st_uid, was.st_gid)
        path.chmod(was.st_mode & 0o7777 if was is not None else 0o644 & ~_umask())
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        leads = f", which leads to {path}" if str(path) != edit.path else ""
        raise UserError(f"cannot write {edit.path}{leads}: {error.strerror}; nothing was changed") from error


def with_hooks(text: str | None, wired: Wiring) -> str:
    """Return a settings file's text with our hooks in it, once, as this wiring wants them.

    Raises:
        ValueError: it is no JSON, or what Claude Code would ignore; the message has the place.
    """
    if text is not None:
        faults = [fault for fault in problems(text) if fault.voids]
        if faults:
            raise ValueError(f"{faults[0].text}, so Claude Code ignores the whole file")
        wanted = {event.name: entries_of(event, wired) for event in EVENTS}
        found: dict[str, list[Any]] = {}
        for name, value in installed(text):
            found.setdefault(name, []).append(value)
        if found == wanted and _matchers(text) == {event.name: {event.matcher} for event in EVENTS}:
            return text
        text = without_hooks(text)
    if text is None:
        layout = _Layout(newline="\n", unit="  ")
        return "{\n  " + _hooks_member("  ", layout, wired, EVENTS) + "\n}\n"
    return _insert(text, wired)


def without_hooks(text: str) -> str | None:
    """Return a settings file's text without our hooks; None when nothing is left of a file that we made.

    Raises:
        ValueError: it is no JSON; the message has the line and the column.
    """
    root = _scan(text)
    edits: list[tuple[int, int]] = []
    hooks = root.get("hooks")
    if hooks is None or hooks.kind != "{":
        return text
    done_events = []
    for event in hooks.members:
        done_groups = []
        for group in event.members if event.kind == "[" else ():
            entries = group.get("hooks") if group.kind == "{" else None
            ours = (
                [node for node in entries.members if _is_ours(json.loads(text[node.body : node.end]))]
                if entries and entries.kind == "["
                else []
            )
            if entries and ours and len(ours) == len(entries.members):
                done_groups.append(group)
            elif entries and ours:
                edits += _cut(entries, ours)
        if done_groups and len(done_groups) == len(event.members) and _made_by_us(text, event):
            done_events.append(event)
        elif done_groups:
            edits += _cut(event, done_groups)
    if done_events and len(done_events) == len(hooks.members) and _made_by_us(text, hooks):
        if len(root.members) == 1 and _made_by_us(text, root):
            return None
        edits = _cut(root, [hooks])
    elif done_events:
        edits += _cut(hooks, done_events)
    for start, end in sorted(edits, reverse=True):
        text = text[:start] + text[end:]
    return text


def installed(text: str) -> Iterator[tuple[str, Any]]:
    """Yield (event, entry) for every entry of ours.

    Raises:
        ValueError: it is no JSON.
    """
    hooks = _load(text).get("hooks")
    for event, groups in hooks.items() if isinstance(hooks, dict) else ():
        for group in groups if isinstance(groups, list) else ():
            entries = group.get("hooks") if isinstance(group, dict) else None
            for value in entries if isinstance(entries, list) else ():
                if _is_ours(value):
                    yield event, value


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the hooks that Claude Code does not accept."""

    text: str
    voids: bool
    """The whole file is ignored because of it, not only the entry."""


def _matchers(text: str) -> dict[str, set[str]]:
    """Return the matchers of the groups that hold our hooks, by event."""
    found: dict[str, set[str]] = {}
    for name, groups in _load(text).get("hooks", {}).items():
        for group in groups if isinstance(groups, list) else ():
            entries = group.get("hooks") if isinstance(group, dict) else None
            if any(_is_ours(entry) for entry in (entries if isinstance(entries, list) else ())):
                found.setdefault(name, set()).add(group.get("matcher", ""))
    return found


def problems(text: str) -> list[Fault]:
    """Return what is wrong with the hooks of a settings file.

    Raises:
        ValueError: it is no JSON.
    """
    hooks = _load(text).get("hooks", {})
    if not isinstance(hooks, dict):
        return [Fault("`hooks` is no object", False)]
    faults = []
    for event, groups in hooks.items():
        if event not in HOST_EVENTS:
            continue
        voids = event in VOIDING
        if not isinstance(groups, list):
            faults.append(Fault(f"`hooks.{event}` is no list", voids and groups is not None))
            continue
        for number, group in enumerate(groups):
            at = f"hooks.{event}[{number}]"
            entries = group.get("hooks") if isinstance(group, dict) else None
            if not isinstance(entries, list) or not isinstance(group.get("matcher", ""), str):
                faults.append(Fault(f"`{at}` is no object with a list `hooks` and a text `matcher`", voids))
                continue
            faults += [Fault(f"`{at}.hooks[{n}]` {what}", voids) for n, one in enumerate(entries) if (what := _entry_fault(one))]
    return faults


def entries_of(event: HookEvent, wired: Wiring) -> list[dict[str, Any]]:
    """Return our entries for one event, in order."""
    return [entry(event, wired), *([_watcher(wired)] if event.watched else [])]


def entry(event: HookEvent, wired: Wiring) -> dict[str, Any]:
    """Return the entry by which we hear of one event."""
    status = {"statusMessage": event.status} if event.status else {}
    return {**_command(wired, event.name), "timeout": event.timeout_s, **status}


def _watcher(wired: Wiring) -> dict[str, Any]:
    """Return the entry that waits in the background. In a plain `-p` the host would wait for it, so there it ends at once (client.py)."""
    return {**_command(wired, WATCH), "timeout": WATCH_S, "asyncRewake": True}


def _command(wired: Wiring, word: str) -> dict[str, Any]:
    said = f"echo {shlex.quote(json.dumps({'systemMessage': ABSENT}))}" if word == "SessionStart" else ":"
    own = ["-I", "-S", "-c", LAUNCH, wired.islands, wired.base, wired.supervisor, MARK, word]
    return {"type": "command", "command": SHELL, "args": ["-c", GUARD % said, wired.python, *own]}


def interpreter_of(entry: dict[str, Any]) -> str:
    """Return the interpreter that an entry of ours names, of this version or one before."""
    return str(entry["args"][2] if entry.get("command") == SHELL else entry.get("command"))


# --- JSON as text -----------------------------------------------------------------------------------------------------------

_BLANK = " \t\r\n"


@dataclass(slots=True)
class _Node:
    """One member of an object (with its key) or one element of an array: where it stands in the text."""

    start: int
    """Where the key begins, or the value when there is none."""
    body: int
    """Where the value begins."""
    end: int = 0
    kind: str = ""
    """`{`, `[`, or "" for anything else."""
    key: str = ""
    members: list[_Node] = field(default_factory=list)

    def get(self, key: str) -> _Node | None:
        """Return the member of that name; the last one, as every JSON reader takes it."""
        return next((member for member in reversed(self.members) if member.key == key), None) if self.kind == "{" else None


@dataclass(frozen=True, slots=True)
class _Layout:
    newline: str
    unit: str


def _load(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = json.loads(text.removeprefix("\ufeff"), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("line 1 column 1: it is no object")
    return value


def _scan(text: str) -> _Node:
    """Return where everything stands in a text that is known to be JSON."""
    _load(text)
    return _scan_value(text, _skip(text, 1 if text.startswith("\ufeff") else 0))


def _scan_value(text: str, at: int) -> _Node:
    node = _Node(start=at, body=at)
    if text[at] == '"':
        node.end = scanstring(text, at + 1)[1]
    elif text[at] in "{[":
        node.kind = text[at]
        at = _skip(text, at + 1)
        while text[at] not in "}]":
            member = _scan_member(text, at) if node.kind == "{" else _scan_value(text, at)
            node.members.append(member)
            at = _skip(text, member.end)
            if text[at] == ",":
                at = _skip(text, at + 1)
        node.end = at + 1
    else:
        while at < len(text) and text[at] not in ",]}" + _BLANK:
            at += 1
        node.end = at
    return node


def _scan_member(text: str, at: int) -> _Node:
    key, end = scanstring(text, at + 1)
    node = _scan_value(text, _skip(text, _skip(text, end) + 1))  # past the colon
    node.start, node.key = at, key
    return node


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _insert(text: str, wired: Wiring) -> str:
    root = _scan(text)
    indent = _gap(text, root).rpartition("\n")[2]
    layout = _Layout(newline="\r\n" if "\r\n" in text else "\n", unit=indent if indent and "\n" in _gap(text, root) else "  ")
    hooks = root.get("hooks")
    if (
        hooks is None or hooks.kind != "{"
    ):  # of two members of one name every reader takes the last, which is taken out again without a trace
        return _apply(text, [_append(text, root, layout, lambda indent: [_hooks_member(indent, layout, wired, EVENTS)])])
    edits = []
    lists = {event.name: found for event in EVENTS if (found := hooks.get(event.name)) is not None and found.kind == "["}
    missing = [event for event in EVENTS if event.name not in lists]
    for event in EVENTS:
        groups = lists.get(event.name)
        if groups is not None:
            edits.append(_append(text, groups, layout, lambda indent, event=event: [_group(event, wired)]))  # type: ignore[misc]
    if missing:
        edits.append(_append(text, hooks, layout, lambda indent: [_event_member(indent, layout, wired, event) for event in missing]))
    return _apply(text, edits)


def _append(text: str, box: _Node, layout: _Layout, render: Callable[[str], Sequence[str]]) -> tuple[int, str]:
    """Return where and what to insert so that the rendered members are the last ones of an object or array."""
    gap = _gap(text, box)
    before = text[: box.start].rpartition("\n")[2]
    indent = gap.rpartition("\n")[2] if "\n" in gap else before[: len(before) - len(before.lstrip(" \t"))]
    if box.members:
        between = gap if "\n" not in gap else layout.newline + indent
        return box.members[-1].end, "".join(f",{between}{item}" for item in render(indent))
    items = render(indent + layout.unit)
    return box.end - 1, f",{layout.newline}{indent}{layout.unit}".join(items)


def _gap(text: str, box: _Node) -> str:
    """Return the white space before the last member."""
    if not box.members:
        return ""
    start = box.members[-1].start
    head = text[:start].rstrip(_BLANK)
    return text[len(head) : start]


def _apply(text: str, edits: list[tuple[int, str]]) -> str:
    for at, new in sorted(edits, reverse=True):
        text = text[:at] + new + text[at:]
    return text


def _hooks_member(indent: str, layout: _Layout, wired: Wiring, events: Sequence[HookEvent]) -> str:
    inner = indent + layout.unit
    members = f",{layout.newline}{inner}".join(_event_member(inner, layout, wired, event) for event in events)
    return f'"hooks": {{{layout.newline}{inner}{members}{layout.newline}{indent}}}'


def _event_member(indent: str, layout: _Layout, wired: Wiring, event: HookEvent) -> str:
    return f'"{event.name}": [{layout.newline}{indent}{layout.unit}{_group(event, wired)}{layout.newline}{indent}]'


def _group(event: HookEvent, wired: Wiring) -> str:
    matcher = {"matcher": event.matcher} if event.matcher else {}
    return json.dumps({**matcher, "hooks": entries_of(event, wired)})


def _cut(box: _Node, gone: Sequence[_Node]) -> list[tuple[int, int]]:
    """Return the ranges to remove so that these members are gone and the others stay as they are."""
    if len(gone) == len(box.members):
        return [(gone[0].start, gone[-1].end)]
    ranges = []
    kept_before = False
    for number, member in enumerate(box.members):
        if not any(member is node for node in gone):
            kept_before = True
        elif kept_before:
            ranges.append((box.members[number - 1].end, member.end))
        else:
            ranges.append((member.start, box.members[number + 1].start))
    return ranges


def _made_by_us(text: str, box: _Node) -> bool:
    return text[box.members[-1].end] in _BLANK


# --- entries ----------------------------------------------------------------------------------------------------------------


def _is_ours(value: Any) -> bool:
    args = value.get("args") if isinstance(value, dict) else None
    return isinstance(args, list) and MARK in args


_NEEDED = {"command": ("command",), "prompt": ("prompt",), "agent": ("prompt",), "http": ("url",), "mcp_tool": ("server", "tool")}
"""The texts that an entry of each type must have; an empty one will do."""
_TAKEN: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "timeout": ("number of seconds above 0", lambda value: not isinstance(value, bool) and isinstance(value, int | float) and value > 0),
    "args": ("list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value)),
    "shell": ("`bash` or `powershell`", lambda value: value in ("bash", "powershell")),
    **dict.fromkeys(("if", "statusMessage"), ("text", lambda value: isinstance(value, str))),
    **dict.fromkeys(("once", "async", "asyncRewake"), ("`true` or `false`", lambda value: isinstance(value, bool))),
}
"""What an entry may have; any other key is passed over. Held to the real binary by tests/claude/test_settings.py."""


def _entry_fault(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _NEEDED:
        return "is no object with a `type` that Claude Code knows"
    for key in _NEEDED[kind]:
        if not isinstance(value.get(key), str):
            return f"has no `{key}`"
    for key, (what, fits) in _TAKEN.items():
        if key in value and not fits(value[key]):
            return f"has a `{key}` that is no {what}"
    return ""


# --- files ------------------------------------------------------------------------------------------------------------------


def read_file(path: str) -> bytes | None:
    """Return the bytes of a file, None when it is not there; never waits for a writer, never reads without end.

    Raises:
        UserError: it cannot be read, or is no file of settings.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; nothing was changed") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_MOST_BYTES:
            raise UserError(f"cannot read {path}: it is no regular file, or larger than {FILE_MOST_BYTES >> 20} MB; nothing was changed")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(FILE_MOST_BYTES)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; nothing was changed") from error
    finally:
        os.close(descriptor)


def _decode(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise UserError(
            f"cannot read {path}: line {line} column {column}: it is no UTF-8; mend the file first, nothing was changed"
        ) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
