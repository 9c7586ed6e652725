"""stretto.toml: what is read, and where an error is said to be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretto.errors import UserError
from stretto.patterns import matches
from stretto.rules import (
    _SETTINGS,
    _TABLES,
    _TOP,
    DEFAULT_MAX_AGE_S,
    DEFAULT_QUIET_S,
    PRESETS,
    Rules,
    Settings,
    eagerness,
    parse,
    parse_settings,
)

DOCS = Path(__file__).parents[2] / "docs" / "rules.md"


def test_parse_nothing_gives_the_defaults():
    assert parse("") == parse("# only a comment\n") == Rules()
    assert (Rules().slots, Rules().max_age_s, Rules().quiet_s) == (None, DEFAULT_MAX_AGE_S, DEFAULT_QUIET_S)
    assert parse_settings("") == Settings()


def test_parse_documented_example_sets_every_key():
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    assert parse(example[1]) == Rules(
        gate=("stop", "commit"),
        gates=(("ruff*", ()), ("pytest*", ("stop", "commit", "push"))),
        add=("run-checks",),
        remove=("golangci-lint",),
        exclude=("pytest -m db*", "make test-hardware"),
        inputs=("~/.config/acme/test.toml", "../fixtures", "/etc/acme/*.conf"),
        ahead=("cargo check*", "uvx ruff check ."),
        never_ahead=("npm test*",),
        preset="frugal",
        slots=1,
        together=True,
        quiet_s=0.5,
        max_age_s=900.0,
        leave_out=("data/images",),
        fsync="always",
        keep_days=7,
        keep_mb=16,
    )


def test_documentation_table_lists_exactly_the_keys_that_are_read():
    listed = re.findall(r"^\| `([\w.]+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted([*_TOP, *(f"{table}.{key}" for table, keys in _TABLES.items() for key in keys), "gates"])


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90.0), ("1.5", 1.5), ('"200ms"', 0.2), ('"45s"', 45.0), ('"30m"', 1800.0), ('"2h"', 7200.0), ("0", 0.0)]
)
def test_parse_duration_is_seconds_or_a_text_with_unit(written, seconds):
    assert parse(f"[join]\nmax_age = {written}").max_age_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n[ahead]\nslot = 3", "line 4: `slot` is no key of [ahead]; did you mean `slots`?"),
        ("slots = 3", "line 1: `slots` is no key of the file; did you mean [ahead] slots?"),
        ("[ahead]\nexclude = []", "line 2: `exclude` is no key of [ahead]; did you mean exclude, above all tables?"),
        ("[comands]\nadd = []", "line 1: `comands` is no key of the file; did you mean `commands`?"),
        (
            "enabled = true",
            "line 1: `enabled` is no key of the file; the keys are exclude, inputs, gate, commands, ahead, join, log, gates",
        ),
        ("# x\n[ahead]\n# y\nslots = '3'", "line 4: `slots` is the text '3', not a whole number"),
        ("[ahead]\nslots = true", "line 2: `slots` is true or false, not a whole number"),
        ("[ahead]\nslots = -1", "line 2: `slots` is -1, not between 0 and 64"),
        (
            "[ahead]\npreset = 'egaer'",
            "line 2: `preset` is the text 'egaer', not one of eager, balanced, frugal, off; did you mean 'eager'?",
        ),
        ("[ahead]\npreset = 'Frugal'", "did you mean 'frugal'?"),
        ("[ahead]\npreset = 'zzz'", 'not one of eager, balanced, frugal, off; write preset = "balanced"'),
        ("[ahead]\npreset = 2", "line 2: `preset` is a number, not one of"),
        ("[ahead]\npreset = false", "line 2: `preset` is true or false, not one of eager, balanced, frugal, off"),
        ("preset = 'off'", "line 1: `preset` is no key of the file; did you mean [ahead] preset?"),
        ("[ahead]\npresets = 'off'", "line 2: `presets` is no key of [ahead]; did you mean `preset`?"),
        ("[ahead]\nquiet = '2m'", "line 2: `quiet` is 120 s, not between 0 and 60 s"),
        ("[join]\nmax_age = '2 weeks'", "line 2: `max_age` is the text '2 weeks', not a duration"),
        ("[join]\nleave_out = ['..']", "line 2: '..' in `leave_out` is no plain folder, or one around the project"),
        ("[join]\nleave_out = ['/']", "line 2: '/' in `leave_out` is no plain folder"),
        ("[join]\nleave_out = ['.']", "line 2: '.' in `leave_out` is no plain folder"),
        ("[join]\nleave_out = ['*/x']", "line 2: '*/x' in `leave_out` is no plain folder"),
        ("[join]\nmax_age = nan", "line 2: `max_age` is a number, not a duration"),
        ("[join]\nmax_age = inf", "line 2: `max_age` is inf s, not between"),
        ("[join]\nmax_age = 1979-05-27", "line 2: `max_age` is a date, not a duration"),
        ("[log]\nfsync = 'exit'", "line 2: `fsync` is the text 'exit', not one of exits, always, never"),
        ("[log]\nfsync = true", "line 2: `fsync` is true or false, not one of exits, always, never"),
        ("[log]\n\nkeep_days = 0", "line 3: `keep_days` is 0, not between 1 and 3650"),
        ("[log]\nkeep_days = 1.5", "line 2: `keep_days` is a number, not a whole number"),
        ("[log]\nkeep_mb = 20000", "line 2: `keep_mb` is 20000, not between 1 and 16384"),
        ("log = 'never'", "line 1: `log` is a table of its own"),
        ("[log]\nsync = 'never'", "line 2: `sync` is no key of [log]; did you mean `fsync`?"),
        ("exclude = 'pytest'", "line 1: `exclude` is the text 'pytest', not a list of texts"),
        ("exclude = ['a',\n 3]", "line 1: entry 2 of `exclude` is a number, not a text"),
        ("[join]\ninputs = []", "line 2: `inputs` is no key of [join]; did you mean inputs, above all tables?"),
        ("\ninputs = 'a'", "line 2: `inputs` is the text 'a', not a list of texts"),
        ("inputs = [1]", "line 1: entry 1 of `inputs` is a number, not a text"),
        ("inputs = [' ']", "line 1: entry 1 of `inputs` is empty or does not print; write a path"),
        ("inputs = ['~root/x']", "line 1: '~root/x' in `inputs` is no path of this user's"),
        ("# a\ninputs = ['a/**/b']", "line 2: 'a/**/b' in `inputs` has `**` in it; name the folder itself"),
        ("inputs = ['/proc/cpuinfo']", "line 1: '/proc/cpuinfo' in `inputs` names nothing that stays as it is"),
        ("exclude = ['']", "line 1: entry 1 of `exclude` is empty"),
        ("ahead = ['x']", "line 1: `ahead` is a table of its own, not a list; write [ahead]"),
        ("ahead = { slots = 1, slot = 2 }", "line 1: `slot` is no key of [ahead]"),
        ("\nahead.slot = 2", "line 2: `slot` is no key of [ahead]"),
        ("[ahead]\nslots = 1\n\n[join]\nslots = 1", "line 5: `slots` is no key of [join]; did you mean [ahead] slots?"),
        ("exclude = ['''\n[ahead]\nslot = 1''']\n[ahead]\nslot = 2", "line 1: entry 1 of `exclude`"),
        ("[ahead.slots]\nx = 1", "line 1: `slots` is a table, not a whole number"),
        ("[commands]\nadd = ['git']", "line 2: 'git' in `add` cannot be intercepted"),
        ("[commands]\nadd = ['../x']", "line 2: '../x' in `add` is no command name"),
        ("[commands]\nadd = ['x y']", "line 2: 'x y' in `add` is no command name"),
        ("a = 1\nb = [", "line 2: it is no TOML"),
        ("exclude = []\nexclude = []", "line 2: it is no TOML"),
        ("x = " + "9" * 5000, "line 1: it is no TOML"),
        ("x = " + "[" * 5000, "line 1: it is no TOML"),
        ('"a\\u001b[31m" = 1', "`'a\\x1b[31m'` is no key"),
    ],
)
def test_parse_mistake_is_told_with_line_and_key(text, message):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert str(caught.value).startswith("cannot read stretto.toml line ")
    assert message in str(caught.value)


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            [
                "[ahead]",
                "[join]",
                "[log]",
                "fsync",
                "slots",
                "allow",
                "=",
                " ",
                "\n",
                "1",
                "true",
                '"',
                "'x'",
                "[",
                "]",
                ",",
                ".",
                "#",
                "{}",
            ]
        )
    ).map("".join)
)
def test_parse_any_text_gives_rules_or_a_user_error(text):
    try:
        assert isinstance(parse(text), Rules)
    except UserError as error:
        assert re.match(r"cannot read stretto\.toml line \d+: ", str(error))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = 'eagre'", "line 1: `preset` is the text 'eagre', not one of eager, balanced, frugal, off; did you mean 'eager'?"),
        ("\nbusy_percen = 3", "line 2: `busy_percen` is no key of the file; did you mean `busy_percent`?"),
        ("busy_percent = 0", "line 1: `busy_percent` is 0, not between 1 and 100"),
        ("[ahead]\npreset = 'off'", "line 1: `ahead` is no key of the file; the keys are preset, slots, busy_percent"),
        ("preset = ", "line 1: it is no TOML"),
    ],
)
def test_parse_settings_mistake_is_told_with_line_and_key(text, message):
    with pytest.raises(UserError) as caught:
        parse_settings(text)
    assert str(caught.value).startswith("cannot read settings.toml line ")
    assert message in str(caught.value)


def test_documentation_lists_exactly_the_keys_of_the_settings():
    listed = re.findall(r"^\| own `([\w.]+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(_SETTINGS.top)


def test_documentation_shows_every_preset_as_it_is():
    listed = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.]+) s \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {(name, int(slots), float(price)) for name, slots, price in listed} == {
        (preset.name, preset.slots, preset.price) for preset in PRESETS.values()
    }


LEVELS = list(PRESETS)


@pytest.mark.parametrize("battery", [False, True])
@pytest.mark.parametrize("asked", [None, *LEVELS])
@pytest.mark.parametrize("own", LEVELS)
def test_eagerness_is_the_least_of_what_user_project_and_battery_say(own, asked, battery):
    """No repository makes the machine do more than its user's own setting; a project, and an empty socket, may ask for less."""
    for own_slots in (None, 0, 1, 5):
        for slots in (None, 0, 1, 9):
            found = eagerness(Settings(preset=own, slots=own_slots), Rules(preset=asked, slots=slots), on_battery=battery)
            alone = eagerness(Settings(preset=own, slots=own_slots), Rules(), on_battery=battery)
            said = [own, *([asked] if asked else []), *(["frugal"] if battery else [])]
            assert found.preset.name == min(said, key=LEVELS.index)
            assert found.slots <= alone.slots
            assert found.slots <= (9 if slots is None else slots)
            assert found.preset.name != "off" or found.slots == 0


def test_eagerness_says_who_decided():
    assert eagerness(Settings(), Rules(), on_battery=False).why == "the default"
    assert eagerness(Settings(preset="eager"), Rules(), on_battery=False).why == "your own setting"
    assert eagerness(Settings(), Rules(preset="off"), on_battery=True).why == "stretto.toml"
    assert eagerness(Settings(), Rules(), on_battery=True).why == "the machine runs on battery"
    assert "asks for eager, which only you can allow" in eagerness(Settings(), Rules(preset="eager"), on_battery=False).why
    assert eagerness(Settings(slots=3), Rules(), on_battery=False).slots == 3


def test_presets_move_along_one_line():
    """More eager is more places and a lower price of idle work, at every step."""
    assert [preset.name for preset in PRESETS.values()] == ["off", "frugal", "balanced", "eager"]
    assert sorted(PRESETS.values(), key=lambda preset: (preset.slots, -preset.price)) == list(PRESETS.values())
    assert len({(preset.slots, preset.price) for preset in PRESETS.values()}) == len(PRESETS)


def test_no_key_grants_or_enables():
    """A repository's file may narrow and name; mode, grant, state and interpreter are kept outside of it."""
    words = {*_TOP, *_TABLES, *(key for keys in _TABLES.values() for key in keys)}
    assert words == {
        "exclude",
        "inputs",
        "gate",
        "commands",
        "ahead",
        "join",
        "add",
        "remove",
        "allow",
        "never",
        "slots",
        "quiet",
        "max_age",
        "leave_out",
        "preset",
    } | {
        "log",
        "together",
        "fsync",
        "keep_days",
        "keep_mb",
    }


@pytest.mark.parametrize(
    ("patterns", "text", "fits"),
    [
        (["pytest*"], "pytest -q", True),
        (["pytest"], "pytest -q", False),
        (["x", "pytest -m db*"], "pytest -m db -q", True),
        (["PYTEST*"], "pytest", False),
        ([], "pytest", False),
    ],
)
def test_matches_pattern_fits_the_whole_text(patterns, text, fits):
    assert matches(patterns, text) is fits
