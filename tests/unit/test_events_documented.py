"""docs/events.md is the log's specification: every type is there, with every field, and its examples are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

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


def test_every_example_of_the_document_is_an_event():
    examples = re.findall(r"^    (\{.*\})$", DOCUMENT, re.MULTILINE)
    assert len(examples) == len(get_args(LogEvent))
    assert not [example for example in examples if isinstance(parse(example.encode()), Bad)]
