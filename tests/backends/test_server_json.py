"""A reply that is one JSON object: what holds it, and how it becomes speech and calls again."""

from __future__ import annotations

import itertools
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.actions.formats import KNOWN, load_format
from npcsdk.backends.base import Constraint, Prompt, Request
from npcsdk.backends.server_json import JsonReply, instructions, response_format, spelled

HERMES = load_format("hermes")
TARGET = {
    "type": "object",
    "properties": {"target": {"type": "string", "enum": ["iron gate", "postern"]}},
    "required": ["target"],
    "additionalProperties": False,
}
OPEN = Constraint(opening="<tool_call>", closing="</tool_call>", tools=(("open_gate", TARGET),), max_calls=2)


def read(text: str, *cuts: int, dialect: str = "hermes") -> str:
    reader = JsonReply(load_format(dialect))
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return "".join(reader.feed(text[one:other]) for one, other in itertools.pairwise(places))


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.text(min_size=1, max_size=5),
            "arguments": st.dictionaries(st.text(max_size=3), st.text()),
        }
    ),
    max_size=3,
)


@given(
    st.text(), CALLS, st.booleans(), st.sampled_from([None, 2]), st.lists(st.integers(0, 300), max_size=20)
)
@settings(max_examples=80, deadline=None)
def test_it_is_read_however_it_is_cut_and_spelled(
    say: str, calls: list[dict[str, Any]], ascii_: bool, indent: int | None, cuts: list[int]
) -> None:
    text = json.dumps({"say": say, "do": calls}, ensure_ascii=ascii_, indent=indent)
    told = "".join(HERMES.render_call(call["name"], call["arguments"]) for call in calls)
    assert read(text, *cuts) == read(text) == say + told


@pytest.mark.parametrize("dialect", KNOWN)
def test_calls_become_the_models_dialect(dialect: str) -> None:
    calls = [{"name": "open_gate", "arguments": {"target": "postern"}}]
    written = read(spelled("Aye.", calls), dialect=dialect)
    assert written == "Aye." + load_format(dialect).render_call("open_gate", {"target": "postern"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Aye, I open it.", "Aye, I open it."),
        ('{"say": "Aye', "Aye"),
        ('{"say": "Aye", "do": [{"name": "x"', "Aye"),
        ('{"mood": {"x": [1]}, "n": 12, "say": "Aye"}', "Aye"),
        (r'{"say": "a\ud83d", "do": []}', "a\ud83d"),
        (r'{"say": "a\ud83db\qc"}', "a\ud83db\\qc"),
        ('{"say": null, "do": null}', ""),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_what_is_no_such_object(text: str, shown: str) -> None:
    assert read(text) == read(text, *range(len(text))) == shown


def test_what_is_said_is_handed_on_at_once() -> None:
    reader = JsonReply(HERMES)
    assert [reader.feed(part) for part in ('{"say": "We', "ll", " me", 't."')] == ["We", "ll", " me", "t."]
    assert reader.feed(', "do": [{"name": "wave", "arguments": {}}') == HERMES.render_call("wave", {})


def test_the_schema_allows_speech_and_legal_calls_alone() -> None:
    request = Request(prompt=Prompt(()), constraint=OPEN)
    form = response_format(request)["json_schema"]
    legal = jsonschema.Draft202012Validator(form["schema"])
    good = {"name": "open_gate", "arguments": {"target": "postern"}}
    assert form["strict"] is True
    assert legal.is_valid({"say": "Aye.", "do": []})
    assert legal.is_valid({"say": "", "do": [good, good]})
    assert not legal.is_valid({"say": "", "do": [good, good, good]})
    assert not legal.is_valid({"say": "", "do": [{"name": "open_gate", "arguments": {"target": "sky"}}]})
    assert not legal.is_valid({"say": "", "do": [{"name": "fly", "arguments": {}}]})
    silent = Request(prompt=Prompt(()), constraint=Constraint(opening="<c>", closing=""))
    nothing = jsonschema.Draft202012Validator(response_format(silent)["json_schema"]["schema"])
    assert nothing.is_valid({"say": "Aye.", "do": []})
    assert not nothing.is_valid({"say": "Aye.", "do": [good]})


def test_strict_is_said_only_where_it_can_be() -> None:
    loose = {"type": "object", "properties": {"target": {"type": "string"}}, "additionalProperties": False}
    constraint = Constraint(opening="<c>", closing="", tools=(("look", loose),))
    form = response_format(Request(prompt=Prompt(()), constraint=constraint))
    assert form["json_schema"]["strict"] is False
    assert response_format(Request(prompt=Prompt(())), schema_in_object=True)["type"] == "json_object"


def test_the_instructions_name_the_actions() -> None:
    assert "open_gate" in instructions([{"name": "open_gate", "parameters": TARGET}])
    assert '"do": []' in instructions([])
