"""stretto.toml -> Rules, the user's own settings.toml -> Settings, and how eager both together are. Pure: text in, a record or a
`UserError` with line and key out.

Hides the form of both files; docs/rules.md is their reference. Promises: an unknown key, a wrong type and a value out of range are
errors and are never guessed at; no key of stretto.toml grants or enables anything by itself: what it may do is narrow, name tools, say
which of the commands a session already runs may also run ahead, and which folders no command reads (`leave_out`, the one key that loosens).
Of two presets the less eager one counts, so a repository can ask for less than its user allows and never for more.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from stretto.errors import UserError
from stretto.model import GATE_PLACES, Fsync, GatePlace, Record
from stretto.patterns import matches

FILE = "stretto.toml"
SETTINGS_FILE = "settings.toml"
"""The user's own, in the state directory and so in no repository."""
MAX_SLOTS = 64
DEFAULT_BUSY_PERCENT = 95
"""Of the time of all processors; what is above leaves no processor on which a run ahead would disturb nobody."""
DEFAULT_MAX_AGE_S = 1800.0
"""A result older than this is run again: what no scan sees (clock, network, services) has moved on by then."""
LONGEST_MAX_AGE_S = 86_400.0
DEFAULT_QUIET_S = 0.3
"""The tree has to stand still for this long before anything starts: one edit of several files is one change."""
LONGEST_QUIET_S = 60.0
DEFAULT_KEEP_DAYS, LONGEST_KEEP_DAYS = 30, 3650
DEFAULT_KEEP_MB, LARGEST_KEEP_MB = 64, 16_384
DEFAULT_GATE: tuple[GatePlace, ...] = ("stop",)
FSYNCS: tuple[Fsync, ...] = ("exits", "always", "never")
LONGEST_LIST = 200
"""Entries in one list."""
LONGEST_ENTRY = 1000
"""Characters of one entry."""


class Preset(Record, frozen=True, kw_only=True):
    """How eagerly commands run ahead: one point on the line between seconds hidden and work done for nothing."""

    name: str
    slots: int
    """Ahead runs of one project at one time, at most; 0: nothing runs ahead, and foreground results are joined all the same."""
    price: float
    """Seconds that a run has to hide for each second of work done for nothing, both as expected, to be worth beginning (docs/ahead.md)."""


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="off", slots=0, price=1.0),
        Preset(name="frugal", slots=1, price=0.25),
        Preset(name="balanced", slots=2, price=0.095),
        Preset(name="eager", slots=4, price=0.03),
    )
}
"""From the least eager to the most eager one."""
DEFAULT_PRESET, BATTERY_PRESET = "balanced", "frugal"
DEFAULT_SLOTS = PRESETS[DEFAULT_PRESET].slots


class Settings(Record, frozen=True, kw_only=True):
    """What the user's own settings.toml says, for all projects; without one, the defaults."""

    preset: str = DEFAULT_PRESET
    slots: int | None = None
    """Ahead runs of one project at one time, None: as the preset says."""
    busy_percent: int = DEFAULT_BUSY_PERCENT
    """When the processors of this machine are used more than this, nothing is started ahead; 100: their use is not looked at."""


class Eagerness(Record, frozen=True, kw_only=True):
    """What the user's settings, a project's rules and the power supply come to together."""

    preset: Preset
    slots: int
    why: str
    """Who decided: a few words for the user."""


class Rules(Record, frozen=True, kw_only=True):
    """What a project's stretto.toml says; without one, the defaults."""

    inputs: tuple[str, ...] = ()
    """Files, folders and patterns that count as sources: absolute, below the home folder (`~/`), or relative to the project's root."""
    leave_out: tuple[str, ...] = ()
    """Folders that no command reads, so that no scan looks there; named like `inputs`, without patterns."""
    add: tuple[str, ...] = ()
    """Names intercepted besides the usual ones."""
    remove: tuple[str, ...] = ()
    """Usual names left alone."""
    exclude: tuple[str, ...] = ()
    """Patterns on a command's `commands.pattern_text`: neither recorded nor joined."""
    ahead: tuple[str, ...] = ()
    """Patterns: may run ahead although Stretto would not choose them (they write products, make environments, connect)."""
    never_ahead: tuple[str, ...] = ()
    """Patterns: recorded and joined, never run ahead. Stronger than `ahead`."""
    together: bool = False
    """Test suites may run at the same time in this checkout: they share no port, database or directory."""
    preset: str | None = None
    """The most eager preset that this project wants, None: as the user has it."""
    slots: int | None = None
    """Ahead runs at one time, at most; 0: none; None: as the preset says."""
    max_age_s: float = DEFAULT_MAX_AGE_S
    """A finished result older than this is not replayed."""
    quiet_s: float = DEFAULT_QUIET_S
    """How long the tree must stand still before an ahead run starts."""
    fsync: Fsync = "exits"
    """Which records of the log are on the disk before anybody acts on them."""
    gate: tuple[GatePlace, ...] = DEFAULT_GATE
    """Where a red check holds a session up, unless `gates` says otherwise of it."""
    gates: tuple[tuple[str, tuple[GatePlace, ...]], ...] = ()
    """The same for commands by patterns; the first that fits counts."""
    keep_days: int = DEFAULT_KEEP_DAYS
    """By how much a rotated part of the log may be older than the newest one."""
    keep_mb: int = DEFAULT_KEEP_MB
    """What rotated parts of the log may take together, in MiB."""


def eagerness(settings: Settings, rules: Rules, *, on_battery: bool) -> Eagerness:
    """Say how eagerly commands run ahead: the least eager of what the user, the project and an empty socket say.

    The number of slots is the user's own where that was said for the preset that counts; the project may only lower it.
    """
    order = list(PRESETS)
    asked = [(settings.preset, "your own setting" if settings.preset != DEFAULT_PRESET else "the default")]
    if rules.preset is not None:
        asked.append((rules.preset, FILE))
    if on_battery:
        asked.append((BATTERY_PRESET, "the machine runs on battery"))
    name, why = min(asked, key=lambda each: order.index(each[0]))  # of two that say the same, the user's
    if rules.preset is not None and order.index(rules.preset) > order.index(settings.preset):
        why += f"; {FILE} asks for {rules.preset}, which only you can allow (`stretto preset {rules.preset}`)"
    preset = PRESETS[name]
    own = preset.slots if settings.slots is None else settings.slots
    slots = own if name == settings.preset else min(own, preset.slots)
    slots = slots if rules.slots is None else min(slots, rules.slots)
    return Eagerness(preset=preset, slots=0 if name == "off" else slots, why=why)


def gate_places(rules: Rules, text: str) -> frozenset[GatePlace]:
    """Return where a red check with this `commands.pattern_text` holds a session up."""
    return frozenset(next((places for pattern, places in rules.gates if matches([pattern], text)), rules.gate))


def parse(text: str) -> Rules:
    """Return the rules of a stretto.toml's text.

    Raises:
        UserError: it is no TOML, has an unknown key, or a value of the wrong type or out of range; the message names line and key.
    """
    return Rules(**_values(text, _RULES))  # type: ignore[arg-type]


def parse_settings(text: str) -> Settings:
    """Return the settings of a settings.toml's text.

    Raises:
        UserError: as for `parse`.
    """
    return Settings(**_values(text, _SETTINGS))  # type: ignore[arg-type]


def _values(text: str, form: _Form) -> dict[str, object]:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of 5,000 digits and a thousand brackets are no decode errors
        at = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(at[1]) if at else len(text.splitlines()) or 1
        cause = re.sub(r"\s*\(at [^)]*\)", "", str(error))
        raise UserError(f"cannot read {form.file} line {line}: it is no TOML ({cause}); mend that line") from error
    values: dict[str, object] = {}
    for key, value in found.items():
        if key == form.patterns:
            place = _Place(form, text, "", key)
            if not isinstance(value, dict):
                raise place.problem(f'`{key}` is {_kind(value)}, not a table of patterns; write [{key}] and under it "pytest*" = ["stop"]')
            values[key] = tuple((pattern, _places(_Place(form, text, key, pattern), each)) for pattern, each in value.items())
        elif key in form.tables:
            if not isinstance(value, dict):
                place = _Place(form, text, "", key)
                raise place.problem(f"`{key}` is a table of its own, not {_kind(value)}; write [{key}] above its keys")
            for inner, each in value.items():
                place = _Place(form, text, key, inner)
                field, reader = _key(place, form.tables[key])
                values[field] = reader(place, each)
        else:
            place = _Place(form, text, "", key)
            field, reader = _key(place, form.top, also=[*form.tables, *filter(None, [form.patterns])])
            values[field] = reader(place, value)
    return values


# --- one value --------------------------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    """A file and every key in it: its field and its reader."""

    file: str
    top: Mapping[str, tuple[str, _Reader]]
    tables: Mapping[str, Mapping[str, tuple[str, _Reader]]]
    patterns: str = ""
    """A table whose keys are patterns on commands, each with a list of gates."""


class _Place(NamedTuple):
    form: _Form
    text: str
    table: str
    key: str

    def problem(self, cause: str) -> UserError:
        return UserError(f"cannot read {self.form.file} line {_line_of(self.text, self.table, self.key)}: {cause}")


_Reader = Callable[[_Place, object], object]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_RESERVED = frozenset(
    {"alias", "awk", "bash", "break", "builtin", "case", "cat", "cd", "chmod", "chown", "claude", "command", "continue", "cp", "curl"}
    | {"dash", "declare", "do", "docker", "done", "echo", "elif", "else", "env", "esac", "eval", "exec", "exit", "export", "false", "fi"}
    | {"find", "for", "function", "git", "grep", "hash", "if", "in", "kill", "local", "ls", "mkdir", "mv", "node", "nohup", "pip", "pkill"}
    | {"podman", "printf", "python", "python3", "read", "return", "rg", "rm", "rsync", "scp", "sed", "select", "set", "sh", "source", "ssh"}
    | {"stretto", "sudo", "tee", "test", "then", "time", "timeout", "touch", "trap", "true", "type", "unalias", "unset", "unsetenv"}
    | {"until", "wget", "which", "while", "xargs", "zsh", "claude-hook"}
)
"""Words of the shell, names Claude Code defines itself, and tools of which no call is a check."""
_NOT_FILES = ("/proc/", "/sys/", "/dev/")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _texts(place: _Place, value: object, what: str = "a command") -> tuple[str, ...]:
    if not isinstance(value, list):
        raise place.problem(f'`{place.key}` is {_kind(value)}, not a list of texts; write {place.key} = ["..."]')
    if len(value) > LONGEST_LIST:
        raise place.problem(f"`{place.key}` has {len(value)} entries, more than {LONGEST_LIST}; use patterns")
    for number, each in enumerate(value, 1):
        if not isinstance(each, str):
            raise place.problem(f"entry {number} of `{place.key}` is {_kind(each)}, not a text; put it in quotes")
        if not each.strip() or not each.isprintable():
            raise place.problem(f"entry {number} of `{place.key}` is empty or does not print; write {what}")
        if len(each) > LONGEST_ENTRY:
            raise place.problem(
                f"entry {number} of `{place.key}` has {len(each)} characters, more than {LONGEST_ENTRY}; write a shorter one"
            )
    return tuple(value)


def _places(place: _Place, value: object) -> tuple[GatePlace, ...]:
    texts = _texts(place, value, what="a place") if value != [] else ()
    for each in texts:
        if each not in GATE_PLACES:
            raise place.problem(f"{each!r} in `{place.key}` is no gate; the gates are {', '.join(GATE_PLACES)}")
    return tuple(each for each in GATE_PLACES if each in texts)


def _names(place: _Place, value: object) -> tuple[str, ...]:
    texts = _texts(place, value)
    for each in texts:
        if not _NAME.fullmatch(each):
            raise place.problem(f"{each!r} in `{place.key}` is no command name; give the name alone, without path and arguments")
        if place.key == "add" and each in _RESERVED:
            raise place.problem(f"{each!r} in `{place.key}` cannot be intercepted; name the tool that checks")
    return texts


def _preset(place: _Place, value: object) -> str:
    if isinstance(value, str) and value in PRESETS:
        return value
    near = difflib.get_close_matches(value.lower(), PRESETS, n=1, cutoff=0.5) if isinstance(value, str) else []
    hint = f"did you mean {near[0]!r}?" if near else f'write {place.key} = "{DEFAULT_PRESET}"'
    raise place.problem(f"`{place.key}` is {_kind(value)}, not one of {', '.join(list(PRESETS)[::-1])}; {hint}")


def _switch(place: _Place, value: object) -> bool:
    if not isinstance(value, bool):
        raise place.problem(f"`{place.key}` is {_kind(value)}, not true or false; write {place.key} = true")
    return value


def _paths(place: _Place, value: object) -> tuple[str, ...]:
    texts = _texts(place, value, what="a path")
    for each in texts:
        if each.startswith("~") and not each.startswith("~/"):
            raise place.problem(f"{each!r} in `{place.key}` is no path of this user's; begin it with ~/ or with /")
        if "**" in each:
            raise place.problem(f"{each!r} in `{place.key}` has `**` in it; name the folder itself, of which everything counts")
        if (each + "/").startswith(_NOT_FILES):
            raise place.problem(f"{each!r} in `{place.key}` names nothing that stays as it is; what lies there cannot be compared")
    return texts


def _folders(place: _Place, value: object) -> tuple[str, ...]:
    texts = _paths(place, value)
    for each in texts:
        if set(each) & set("*?[") or not each.strip("./~"):
            raise place.problem(f'{each!r} in `{place.key}` is no plain folder, or one around the project; write it like "data/images"')
    return texts


def _number(least: int, most: int, default: int, hint: str) -> _Reader:
    def reader(place: _Place, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise place.problem(f"`{place.key}` is {_kind(value)}, not a whole number; write {place.key} = {default}")
        if not least <= value <= most:
            raise place.problem(f"`{place.key}` is {value}, not between {least} and {most}; {hint}")
        return value

    return reader


def _fsync(place: _Place, value: object) -> Fsync:
    for word in FSYNCS:
        if value == word:
            return word
    raise place.problem(f'`{place.key}` is {_kind(value)}, not one of {", ".join(FSYNCS)}; write {place.key} = "exits"')


def _duration(longest_s: float) -> _Reader:
    def reader(place: _Place, value: object) -> float:
        seconds = _seconds(value)
        if seconds is None:
            raise place.problem(f'`{place.key}` is {_kind(value)}, not a duration; write seconds or a text such as "30m", "1.5s", "200ms"')
        if not 0 <= seconds <= longest_s:
            raise place.problem(f"`{place.key}` is {seconds:g} s, not between 0 and {longest_s:g} s; choose a value between")
        return seconds

    return reader


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        written = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h)\s*", value)
        return float(written[1]) * _UNITS_S[written[2]] if written else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None


def _kind(value: object) -> str:
    names: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number"),
        (list, "a list"),
        (dict, "a table"),
    )
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return next((name for kind, name in names if isinstance(value, kind)), "a date")


_TOP: Mapping[str, tuple[str, _Reader]] = {
    "exclude": ("exclude", _texts),
    "inputs": ("inputs", _paths),
    "gate": ("gate", _places),
}
_TABLES: Mapping[str, Mapping[str, tuple[str, _Reader]]] = {
    "commands": {"add": ("add", _names), "remove": ("remove", _names)},
    "ahead": {
        "preset": ("preset", _preset),
        "allow": ("ahead", _texts),
        "never": ("never_ahead", _texts),
        "together": ("together", _switch),
        "slots": ("slots", _number(0, MAX_SLOTS, DEFAULT_SLOTS, "0 runs nothing ahead")),
        "quiet": ("quiet_s", _duration(LONGEST_QUIET_S)),
    },
    "join": {"max_age": ("max_age_s", _duration(LONGEST_MAX_AGE_S)), "leave_out": ("leave_out", _folders)},
    "log": {
        "fsync": ("fsync", _fsync),
        "keep_days": ("keep_days", _number(1, LONGEST_KEEP_DAYS, DEFAULT_KEEP_DAYS, "choose a value between")),
        "keep_mb": ("keep_mb", _number(1, LARGEST_KEEP_MB, DEFAULT_KEEP_MB, "choose a value between")),
    },
}
_RULES = _Form(FILE, _TOP, _TABLES, "gates")
_SETTINGS = _Form(
    SETTINGS_FILE,
    {
        "preset": ("preset", _preset),
        "slots": ("slots", _number(0, MAX_SLOTS, DEFAULT_SLOTS, "0 runs nothing ahead")),
        "busy_percent": ("busy_percent", _number(1, 100, DEFAULT_BUSY_PERCENT, "100 does not look at the processors")),
    },
    {},
)


# --- errors with a line -----------------------------------------------------------------------------------------------------


def _key(place: _Place, known: Mapping[str, tuple[str, _Reader]], also: Iterable[str] = ()) -> tuple[str, _Reader]:
    form, table, key = place.form, place.table, place.key
    if key in known:
        return known[key]
    names = [*known, *also]
    shown = key if key.isprintable() and len(key) <= 60 else ascii(key[:60])
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    elsewhere = next((f"[{name}] {key}" for name, keys in form.tables.items() if key in keys and name != table), "")
    elsewhere = elsewhere or (f"{key}, above all tables" if table and key in form.top else "")
    hint = f"did you mean {elsewhere}?" if elsewhere else f"did you mean `{near[0]}`?" if near else f"the keys are {', '.join(names)}"
    raise place.problem(f"`{shown}` is no key of {f'[{table}]' if table else 'the file'}; {hint}")


_STRINGS = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''", re.DOTALL)
_BARE = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*({_BARE}(?:\s*\.\s*{_BARE})*)\s*=")
_HEADER = re.compile(rf"\s*\[\[?\s*({_BARE}(?:\s*\.\s*{_BARE})*)\s*\]")


def _line_of(text: str, table: str, key: str) -> int:
    """Return the line on which a key stands: under its header, dotted, or inside its inline table; tomllib does not tell."""
    masked = _STRINGS.sub(lambda found: "\n" * found.group().count("\n"), text)
    wanted = [*([table] if table else []), key]
    under: list[str] = []
    inline = 0
    for number, line in enumerate(masked.splitlines(), 1):
        if header := _HEADER.match(line):
            under = _names_of(header[1])
            if under[: len(wanted)] == wanted:
                return number
        elif assigned := _DOTTED.match(line):
            path = [*under, *_names_of(assigned[1])]
            if path[: len(wanted)] == wanted:
                return number
            if table and path == [table]:
                inline = number
    return inline or 1


def _names_of(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(_BARE, dotted)]
