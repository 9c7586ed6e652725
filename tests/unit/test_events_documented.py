"""docs/events.md is the log's specification: every type is there, with every field, and its examples are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from stretto import journal
from stretto.journal import parse
from stretto.model import Bad, Event, LogEvent

DOCUMENT = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
COMMON = {field.name for field in msgspec.structs.fields(Event)}


@pytest.mark.parametrize("kind", get_args(LogEvent), ids=lambda kind: kind.__struct_config__.tag)
def test_every_event_and_each_of_its_fields_is_documented(kind):
    section = DOCUMENT.split(f"### {kind.__struct_config__.tag}\n", 1)
    assert len(section) == 2, f"{kind.__struct_config__.tag} has no section"
    text = section[1].split("\n### ", 1)[0]
    for field in msgspec.structs.fields(kind):
        if field.name not in COMMON:
            assert f"`{field.name}`" in text, f"{kind.__struct_config__.tag}.{field.name}"


def test_the_list_at_the_top_of_the_journal_names_every_event_and_each_of_its_fields_in_order():
    """So that the code's own page is as complete as the document."""
    entries = re.findall(r"^    ([a-z]+\.[a-z]+) +(.*)$", re.sub(r"\n {24}", " ", journal.__doc__ or ""), re.MULTILINE)
    assert [tag for tag, _ in entries] == [kind.__struct_config__.tag for kind in get_args(LogEvent)]
    for (tag, text), kind in zip(entries, get_args(LogEvent), strict=True):
        own = [field.name for field in msgspec.structs.fields(kind) if field.name not in COMMON]
        plain = re.sub(r"\([^)]*\)", "", text)
        assert [part.strip() for part in plain.rpartition(": ")[2].split(",")] == own, tag
    assert all(f"`{name}`" in (journal.__doc__ or "") for name in COMMON | {"t", "crc"})


def test_every_example_of_the_document_is_an_event():
    examples = re.findall(r"^    (\{.*\})$", DOCUMENT, re.MULTILINE)
    assert len(examples) == len(get_args(LogEvent))
    assert not [example for example in examples if isinstance(parse(example.encode()), Bad)]
    assert all(example.endswith('"}') and '"crc":"' in example for example in examples), "with the checksum that it really has"
