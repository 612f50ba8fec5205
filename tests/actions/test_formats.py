"""The Nemotron dialect of tool calls: what is written can be read, and what is no call is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.formats import Call, MalformedCall, load_format
from npcsdk.actions.stream import CallName, CallPart, CallStream
from npcsdk.errors import ActionError

FORMAT = load_format("nemotron")
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(NAMES, st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_is_written_is_read_through_the_stream(name: str, arguments: dict[str, Any]) -> None:
    stream = CallStream(FORMAT.opening, FORMAT.closing)
    parts = [*stream.feed(FORMAT.render_call(name, arguments)), *stream.finish()]
    told, part = parts
    assert told == CallName(name, 0)
    assert isinstance(part, CallPart)
    assert list(FORMAT.parse_calls(part.body)) == [Call(name, arguments)]


def test_spelled_as_the_model_was_trained() -> None:
    assert (
        FORMAT.render_call("open_gate", {"gate": "Grüner Weg", "wide": True})
        == '<toolcall> {"name": "open_gate", "arguments": {"gate": "Grüner Weg", "wide": true}} </toolcall>'
    )


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ('{"name": "wave", "arguments": {}}', [Call("wave", {})]),
        ('{"name": "wave"}', [Call("wave", {})]),
        ('{"name": "wave", "arguments": null}', [Call("wave", {})]),
        ('{"arguments": {"a": 1}, "name": "wave"}', [Call("wave", {"a": 1})]),
        ('{"name": "wave", "arguments": {"a": [1, {"b": []}]}}', [Call("wave", {"a": [1, {"b": []}]})]),
        ('{"name": "wave", "arguments": {"a": "two\nlines"}}', [Call("wave", {"a": "two\nlines"})]),
        ('[{"name": "a"}, {"name": "b", "arguments": {"x": 1.5}}]', [Call("a", {}), Call("b", {"x": 1.5})]),
        ('{"name": "a", "thought": "hm", "arguments": {}}', [Call("a", {})]),
        ('{"name": "say", "arguments": {"t": "\\ud83d\\ude42"}}', [Call("say", {"t": "🙂"})]),
    ],
)
def test_read(body: str, calls: list[Call]) -> None:
    assert list(FORMAT.parse_calls(body)) == calls


def nested(depth: int) -> str:
    return '{"name": "a", "arguments": {"x": ' + "[" * depth + "]" * depth + "}}"


MALFORMED = {
    "nothing": "",
    "words": "open the gate",
    "broken": '{"name": "a", "arguments": {',
    "single quotes": "{'name': 'a'}",
    "trailing comma": '{"name": "a",}',
    "two values": '{"name": "a"} {"name": "b"}',
    "empty list": "[]",
    "list of lists": '[["a"]]',
    "number": "7",
    "null": "null",
    "no name": '{"arguments": {}}',
    "name is null": '{"name": null}',
    "name is a number": '{"name": 3}',
    "arguments are a list": '{"name": "a", "arguments": [1]}',
    "arguments are text": '{"name": "a", "arguments": "{}"}',
    "one of a list is broken": '[{"name": "a"}, 5]',
    # what the game's side could not read, or could misread
    "not a number": '{"name": "a", "arguments": {"x": NaN}}',
    "infinity": '{"name": "a", "arguments": {"x": -Infinity}}',
    "overflows": '{"name": "a", "arguments": {"x": 1e999}}',
    "an integer of more than 64 bits": '{"name": "a", "arguments": {"x": 9223372036854775808}}',
    "an integer of 5000 digits": '{"name": "a", "arguments": {"x": ' + "9" * 5000 + "}}",
    "half a surrogate pair": '{"name": "a", "arguments": {"x": "\\ud800"}}',
    "half a surrogate pair as a key": '{"name": "a", "arguments": {"\\udc00": 1}}',
    "two names": '{"name": "a", "name": "b", "arguments": {}}',
    "an argument twice": '{"name": "a", "arguments": {"x": 1, "x": 2}}',
    "nested too deep": nested(100),
    "nested absurdly deep": nested(100_000),
    "absurdly deep and never closed": "[" * 100_000,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    with pytest.raises(MalformedCall) as caught:
        FORMAT.parse_calls(MALFORMED[case])
    assert 0 < len(str(caught.value)) < 300


def test_reasonable_nesting_is_fine() -> None:
    assert FORMAT.parse_calls(nested(12))[0].name == "a"


@given(st.text(max_size=60) | VALUES.map(json.dumps))
def test_any_body_is_calls_or_malformed(body: str) -> None:
    try:
        calls = FORMAT.parse_calls(body)
    except MalformedCall:
        return
    assert calls
    assert all(isinstance(call.name, str) for call in calls)


def test_an_unknown_dialect_is_named_with_those_that_exist() -> None:
    with pytest.raises(ActionError) as caught:
        load_format("klingon")
    assert caught.value.code == "unknown_tool_format"
    assert "nemotron" in caught.value.hint
