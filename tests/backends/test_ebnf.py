"""JSON Schemas as grammars: what a grammar can spell is legal, and what is legal and plainly spelled is in it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import KNOWN, load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.ebnf import Grammar, Inexpressible, literal
from npcsdk.backends.openvino_tags import structural_tags

_TOKEN = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{\d+,\d*\}|[()|?]|[a-z]\w*')
_PLAIN = {'\\"': '"', "\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_LETTERS = '0123456789abfnrtuAFdD7 !#~"\\/ßé旅🙂\x1f'


def _tokens(rule: str) -> list[str]:
    found = [token for token in _TOKEN.findall(rule) if not token.isspace()]
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\.", lambda escape: _PLAIN[escape[0]], text[1:-1])


def pattern(grammar: str) -> re.Pattern[str]:
    """The same as a regular expression, for there are no circles."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())

    def expression(rule: str) -> str:
        parts: list[str] = []
        for token in _tokens(rule):
            if token.startswith('"'):
                parts.append(f"(?:{re.escape(_plain(token))})")
            elif token[0].isalpha():
                parts.append(f"(?:{expression(rules[token])})")
            else:
                parts.append("(?:" if token == "(" else token)
        return "".join(parts)

    return re.compile(expression(rules["root"]))


def spelled(grammar: str, chance: random.Random) -> str:
    """Something that the grammar spells."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())

    def either(tokens: list[str], at: int) -> tuple[list[str], int]:
        """What each alternative from there on says, and where they end."""
        said = [""]
        while at < len(tokens) and tokens[at] != ")":
            token = tokens[at]
            if token == "|":
                said.append("")
                at += 1
                continue
            begun = at

            def one(begun: int = begun) -> tuple[str, int]:
                token = tokens[begun]
                if token == "(":
                    inner, end = either(tokens, begun + 1)
                    return chance.choice(inner), end + 1
                if token.startswith('"'):
                    return _plain(token), begun + 1
                if token.startswith("["):
                    return chance.choice([one for one in _LETTERS if re.match(token, one)]), begun + 1
                return chance.choice(either(_tokens(rules[token]), 0)[0]), begun + 1

            text, at = one()
            mark = tokens[at] if at < len(tokens) else ""
            if mark == "?" or mark.startswith("{"):
                least, most = ("0", "1") if mark == "?" else mark[1:-1].split(",")
                times = chance.randint(int(least), int(most or int(least) + 3))
                text = "".join(one()[0] for _ in range(times))
                at += 1
            said[-1] += text
        return said, at

    return chance.choice(either(_tokens(rules["root"]), 0)[0])


def grammar_of(schema: Mapping[str, Any]) -> str:
    grammar = Grammar()
    return grammar.text(grammar.value(schema))


def of(schema: Mapping[str, Any]) -> re.Pattern[str]:
    return pattern(grammar_of(schema))


@given(st.integers(-1300, 1300), st.integers(0, 1300), st.data())
@settings(max_examples=60, deadline=None)
def test_whole_numbers(low: int, span: int, data: st.DataObject) -> None:
    high = low + span
    legal = of({"type": "integer", "minimum": low, "maximum": high})
    for number in {low - 1, low, low + 1, high, high + 1, 0, data.draw(st.integers(-9999, 9999))}:
        assert bool(legal.fullmatch(str(number))) is (low <= number <= high), number
    for text in ("-0", "00", f"0{abs(high)}", "+1", "1.0", ""):
        assert not legal.fullmatch(text)


@given(st.integers(-500, 500), st.integers(0, 900), st.data())
@settings(max_examples=60, deadline=None)
def test_numbers(low: int, span: int, data: st.DataObject) -> None:
    high = low + span
    legal = of({"type": "number", "minimum": low / 100, "maximum": high / 100})
    for number in {low - 1, low, high, high + 1, data.draw(st.integers(-2000, 2000))}:
        assert bool(legal.fullmatch(f"{number / 100:.2f}")) is (low <= number <= high), number


def test_numbers_between_close_bounds_and_without_any() -> None:
    assert of({"type": "number", "minimum": 0.00012, "maximum": 0.00013}).fullmatch("0.00012")
    assert of({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}).fullmatch("0.001")
    assert not of({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}).fullmatch("0.000")
    free = of({"type": "number"})
    assert all(free.fullmatch(text) for text in ("0", "-12.5", "123456789"))
    assert not any(free.fullmatch(text) for text in ("12345678901", "1e5", "-0", ".5", "1."))


def _schema(chance: random.Random, depth: int) -> dict[str, Any]:
    low = chance.randint(0, 3)
    match chance.randrange(10 if depth else 7):
        case 0:
            return {"enum": chance.sample(["a", 'a "b"', "back\\slash", "旅\n", "🙂", 3, None, True, "{"], 3)}
        case 1:
            return {"type": "string", "minLength": low, "maxLength": low + chance.randint(0, 3)}
        case 2:
            return {"type": "integer", "minimum": -low * 7, "maximum": chance.randint(0, 1200)}
        case 3:
            return {"type": "number", "minimum": -2.5, "maximum": chance.choice([-1.25, 0, 0.1, 99.75])}
        case 4:
            return chance.choice([{"type": "boolean"}, {"type": "null"}, {"const": 'a"\\b\n'}])
        case 5:
            return {"type": ["integer", "null"], "minimum": 3, "description": "or none"}
        case 6:
            return {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        case 7:
            most = low + chance.randint(0, 2)
            return {"type": "array", "items": _schema(chance, depth - 1), "minItems": low, "maxItems": most}
        case 8:
            return {"anyOf": [_schema(chance, depth - 1), _schema(chance, depth - 1)]}
        case _:
            names = chance.sample(["a", "", 'a "b"', "ß", "name"], low)
            return {
                "type": "object",
                "properties": {name: _schema(chance, depth - 1) for name in names},
                "required": [name for name in names if chance.random() < 0.5],
            }


def test_whatever_a_grammar_spells_satisfies_its_schema() -> None:
    chance = random.Random(11)
    for _ in range(60):
        schema = _schema(chance, 3)
        grammar = grammar_of(schema)
        for _ in range(4):
            text = spelled(grammar, chance)
            jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("left_out", "text"),
    [
        ("", '{"a": 1, "b": 2, "c": 3}'),
        ("a", '{"b": 2, "c": 3}'),
        ("c", '{"a": 1, "b": 2}'),
        ("ac", '{"b": 2}'),
        ("b", '{"a": 1, "c": 3}'),
        ("abc", "{}"),
    ],
)
@pytest.mark.parametrize("required", ["", "a", "b", "c", "abc"])
def test_members_that_may_be_left_out(left_out: str, text: str, required: str) -> None:
    properties = {name: {"type": "integer", "minimum": 1, "maximum": 3} for name in "abc"}
    legal = of({"type": "object", "properties": properties, "required": list(required)})
    assert bool(legal.fullmatch(text)) is not bool(set(left_out) & set(required))
    assert not legal.fullmatch(text.replace(": ", ":").replace("{}", "{ }"))  # one spelling only


def test_free_strings_hold_any_character_but_those_that_json_escapes() -> None:
    legal = of({"type": "string"})
    for letter in "ß\u07ff\u0800\u0fff\u1000旅\ud7ff\ue000，\uffff\U00010000\U0001f642\U00040000\U0010ffff":
        assert legal.fullmatch(f'"{letter}"')
    assert not any(legal.fullmatch(f'"{letter}"') for letter in ("\x1f", '"', "\\", "\ud800", "\udfff"))


def test_references_and_lists_that_are_shared() -> None:
    names = {"enum": [f"gate {number}" for number in range(50)]}
    place = {"type": "object", "properties": {"at": {"$ref": "#/$defs/name"}}, "required": ["at"]}
    grammar = Grammar()
    grammar.value({"$ref": "#/$defs/place", "$defs": {"name": names, "place": place}})
    grammar.value({"type": "array", "items": {"enum": [*names["enum"]]}, "maxItems": 2})
    assert grammar.text('""').count("gate 17") == 1


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "string", "pattern": "a+"},
        {"type": "string", "format": "date"},
        {"type": "integer", "multipleOf": 2},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "array", "items": {"type": "null"}, "uniqueItems": True},
        {"type": "array", "maxItems": 2},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"anyOf": [{"type": "null"}], "type": "string"},
        {"enum": []},
        {"$ref": "#/$defs/nowhere"},
        {"type": "no such type"},
    ],
    ids=str,
)
def test_what_there_is_no_rule_for(schema: Any) -> None:
    with pytest.raises(Inexpressible):
        Grammar().value(schema)


def test_literals() -> None:
    text = 'a "b" \\ c\nd\re 旅'
    assert pattern(f"root ::= {literal(text)}\n").fullmatch(text)


# As OpenVINO GenAI is told.


class _Forms(SimpleNamespace):
    """What of the package is needed to build a configuration."""

    def __call__(self, **fields: Any) -> SimpleNamespace:
        return SimpleNamespace(**fields)


def _tags(name: str, definitions: list[ActionDefinition]) -> list[tuple[str, Any, str]]:
    form = {kind: (lambda *given, kind=kind: (kind, *given)) for kind in ("EBNF", "JSONSchema")}
    forms = _Forms(**form, Tag=lambda *given: given, TriggeredTags=lambda triggers, tags: tags)
    genai = SimpleNamespace(StructuredOutputConfig=forms)
    constraint = make_offer(definitions, {"nearby": ["iron gate", "Tür"]}).constraint(load_format(name), 2)
    tags, read = structural_tags(genai, constraint)
    assert read is any(kind == "JSONSchema" for _, (kind, _), _ in tags.structural_tags_config)
    return tags.structural_tags_config


OPEN = ActionDefinition(
    name="open_gate",
    parameters={
        "type": "object",
        "properties": {"gate": {"type": "string", "x-from": "state.nearby"}, "times": {"type": "integer"}},
        "required": ["gate"],
    },
)


@pytest.mark.parametrize("name", KNOWN)
def test_the_tag_of_a_dialect_takes_what_the_dialect_writes(name: str) -> None:
    dated = ActionDefinition(
        name="wait_until",
        parameters={
            "type": "object",
            "properties": {"day": {"type": "string", "format": "date"}},
            "required": ["day"],
        },
    )
    tool_format = load_format(name)
    (begin, (kind, grammar), end), (other, (other_kind, schema), _) = _tags(
        name, [OPEN, ActionDefinition(name="wave"), dated]
    )
    assert (kind, other_kind) == ("EBNF", "JSONSchema")
    legal = re.compile(re.escape(begin) + f"(?:{pattern(grammar).pattern})" + re.escape(end))
    assert legal.fullmatch(tool_format.render_call("open_gate", {"gate": "Tür", "times": 3}))
    assert legal.fullmatch(tool_format.render_call("wave", {}))
    assert not legal.fullmatch(tool_format.render_call("open_gate", {"gate": "moon"}))
    assert not legal.fullmatch(tool_format.render_call("open_gate", {}))
    assert not legal.fullmatch(tool_format.render_call("burn", {}))
    assert other.startswith(tool_format.opening)
    assert "wait_until" in other
    assert json.loads(schema)["properties"]["day"]["format"] == "date"


@pytest.mark.parametrize("name", KNOWN)
def test_what_calls_have_in_common_is_said_once(name: str) -> None:
    """The runtime compiles each place of a literal: said for each action it took it four times as long."""
    alike = [ActionDefinition(name=f"open_{number}", parameters=OPEN.parameters) for number in range(9)]
    ((begin, (_, grammar), end),) = _tags(name, alike)
    assert grammar.count("gate") == 2  # the argument's name, and in that of a target
    assert grammar.count("times") == 1
    legal = re.compile(re.escape(begin) + f"(?:{pattern(grammar).pattern})" + re.escape(end))
    assert legal.fullmatch(load_format(name).render_call("open_8", {"gate": "iron gate", "times": 3}))
