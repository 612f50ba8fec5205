"""What a line says of a call's arguments."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.hints import draft, narrowed
from npcsdk.actions.words import named


def schema(required: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


SKIFF = schema(
    "divers lights",
    divers={"type": "integer", "minimum": 1, "maximum": 4},
    lights={"type": "boolean", "description": "whether the searchlights are on"},
)
POUR = schema(
    "drink mugs",
    drink={"type": "string", "enum": ["ale", "mead", "cider"]},
    mugs={"type": "integer", "minimum": 1},
    seat={"type": "integer"},
    warm={"type": "boolean"},
    toast={"type": "string"},
)
TELL = schema("who", who={"type": "string", "description": "whom to tell"})


def hinted(line: str, parameters: dict[str, Any], name: str = "act", names: tuple[str, ...] = ()) -> str:
    """The arguments of a draft."""
    whole = draft(name, narrowed(parameters, line), line, names=names)
    head = f'{{"name": "{name}", "arguments": '
    assert whole.startswith(head)
    return whole.removeprefix(head)[:-1]


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("Launch it with two divers, searchlights off.", '{"divers": 2, "lights": false}'),
        ("three divers and lights please", '{"divers": 3, "lights": true}'),
        ("no lights, one diver", '{"divers": 1, "lights": false}'),
        ("Two divers down! Turn it on.", '{"divers": 2, "lights": true}'),
        ("launch it", '{"divers": ?, "lights": ?}'),
        ("launch it with nine divers", '{"divers": ?, "lights": ?}'),
        ("two divers, no, three", '{"divers": ?2|3, "lights": ?}'),
    ],
)
def test_numbers_and_switches_that_a_line_names_stand_in_the_draft(line: str, arguments: str) -> None:
    assert hinted(line, SKIFF) == arguments


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("two mugs of mead", '{"drink": "mead", "mugs": 2}'),
        ("a drink, anything", '{"drink": ?ale|mead|cider, "mugs": ?}'),
        ("Ale or cider for the 2 of us", '{"drink": ?ale|cider, "mugs": 2}'),
        ("2 warm ales to seat 7", '{"drink": "ale", "mugs": ?2|7, "warm": true}'),
        ("2 ale, not warm", '{"drink": "ale", "mugs": 2, "warm": false}'),
    ],
)
def test_what_need_not_be_said_stands_there_only_when_it_is(line: str, arguments: str) -> None:
    assert hinted(line, POUR) == arguments


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("Give me the rope and your old boots.", '{"things": ["rope", "old boots"]}'),
        ("some boots and a lantern", '{"things": ["lantern"]}'),
        ("rope, lantern, candle, old boots, all of it", '{"things": ?}'),
        ("give me something", '{"things": ?}'),
    ],
)
def test_a_list_holds_what_the_line_names_of_it(line: str, arguments: str) -> None:
    things = {"enum": ["rope", "lantern", "candle", "old boots"]}
    many = schema("things", things={"type": "array", "items": things, "minItems": 1, "maxItems": 3})
    assert hinted(line, many) == arguments


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("go and tell Old Brenna about it", '{"who": "Old Brenna"}'),
        ("Please tell Ogilvy-Huang, will you?", '{"who": "Ogilvy-Huang"}'),
        ("tell Mira, tell Bram", '{"who": ?}'),
        ("tell my brother", '{"who": "brother"}'),
        ("please tell the old miller now", '{"who": "old miller"}'),
        ("tell the miller that the bridge burned", '{"who": ?}'),
        ("Bram cheated, tell", '{"who": "Bram"}'),
        ("tell zerocool77", '{"who": "zerocool77"}'),
        ("please Wenna, tell Jory", '{"who": "Jory"}'),
    ],
)
def test_the_one_name_in_a_line_is_the_one_free_text(line: str, arguments: str) -> None:
    assert hinted(line, TELL, "tell", ("wenna",)) == arguments


def test_as_many_names_as_free_texts_stand_in_their_order() -> None:
    wire = schema("to town", to={"type": "string"}, town={"type": "string"}, words={"type": "integer"})
    assert hinted("wire Hortense in Tucumcari", wire) == '{"to": "Hortense", "town": "Tucumcari"}'
    assert hinted("wire Hortense", wire) == '{"to": ?, "town": ?}'
    assert hinted("wire Ana, Bo and Cy", wire) == '{"to": ?, "town": ?}'


def test_what_a_line_says_of_a_switch_is_the_one_choice_left() -> None:
    assert narrowed(SKIFF, "lights off")["properties"]["lights"]["enum"] == [False]
    assert narrowed(SKIFF, "launch it")["properties"]["lights"] == SKIFF["properties"]["lights"]


def test_of_choices_those_that_the_line_names() -> None:
    boilers = ["port boiler", "starboard boiler", "clinker heap"]
    assert named(boilers, "Feed the starboard boiler!") == ["starboard boiler"]
    assert named(boilers, "feed the boilers") == ["port boiler", "starboard boiler"]
    assert named(boilers, "more steam") == []
    assert narrowed({"type": "string", "enum": boilers}, "more steam")["enum"] == boilers
    assert named([], "more steam") == []
    assert named(["up", "down"], "i need the bridge up") == ["up"]
    assert named(["A", "B", "C"], "I need six bales from strip A today.") == ["A"]
    assert named(["A", "B", "C"], "A bale from strip B") == ["B"]
    assert named([7, 8], "room 7") == [7]


_VALUE = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "boolean"},
        {"type": "string"},
        {"type": "string", "enum": ["gate", "iron gate", "up", "wide"]},
        {"const": 3},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"deep": {"type": "integer"}}},
        {"type": "number", "minimum": 0.5},
    ]
)


@given(st.text(), st.dictionaries(st.text("abgi_", min_size=1, max_size=8), _VALUE, max_size=5), st.randoms())
def test_any_line_and_any_schema_give_a_draft_that_is_a_call_once_it_is_filled_in(
    line: str, properties: dict[str, Any], random: Any
) -> None:
    required = [key for key in properties if random.random() < 0.5]
    parameters = {"type": "object", "properties": properties, "required": required}
    text = draft("act", narrowed(parameters, line), line)
    assert json.loads(re.sub(r': \?[^,}"]*', ": null", text))["name"] == "act"
