"""Repairs: what was clearly meant is taken, everything else stays refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.formats import Call, MalformedCall, load_format
from npcsdk.actions.repair import repair_body, repair_call

FORMAT = load_format("nemotron")
WAVE = [Call("wave", {})]
OPEN = [Call("open_gate", {"gate": "iron gate"})]


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ('{"name": "wave", "arguments": {},}', WAVE),
        ('{"name": "open_gate", "arguments": {"gate": "iron gate",},}', OPEN),
        ('[{"name": "wave", "arguments": {}},]', WAVE),
        ("{'name': 'open_gate', 'arguments': {'gate': 'iron gate'}}", OPEN),
        ('{"name": "open_gate", "arguments": {\'gate\': "iron gate"}}', OPEN),
        ("{'name': 'take', 'arguments': {'what': 'the smith's axe'}}", [Call("take", {"what": "the smith's axe"})]),
        ("{'name': 'take', 'arguments': {'what': 'the smith\\'s axe'}}", [Call("take", {"what": "the smith's axe"})]),
        ("{'name': 'say', 'arguments': {'text': 'a \"big\" one'}}", [Call("say", {"text": 'a "big" one'})]),
        ('{"name": "a", "arguments": {"x": True, "y": None}}', [Call("a", {"x": True, "y": None})]),
        ('{"name": "open_gate", "gate": "iron gate"}', OPEN),
        ('{"name": "open_gate", "type": "function", "gate": "iron gate"}', OPEN),
        ('{"name": "open_gate", "arguments": "{\\"gate\\": \\"iron gate\\"}"}', OPEN),
        ('{"type": "function", "function": {"name": "open_gate", "arguments": {"gate": "iron gate"}}}', OPEN),
        ('{"function": {"name": "open_gate", "arguments": "{\\"gate\\": \\"iron gate\\"}"}}', OPEN),
        ('{"name": "a", "arguments": {"n": [1, 2.5, -3e2,]}}', [Call("a", {"n": [1, 2.5, -300.0]})]),
    ],
)  # fmt: skip
def test_nearly_json(body: str, calls: list[Call]) -> None:
    assert repair_body(body, FORMAT) == calls


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "open_gate", "arguments": {"gate": "iron gate"',
        '{"name": "open_gate", "arguments": {"gate": "iron gate"}',
        '{"name": "open_gate", "arguments": {"gate": "iron gate"}, ',
    ],
)
def test_braces_that_are_missing_at_the_end(body: str) -> None:
    with pytest.raises(MalformedCall):
        repair_body(body, FORMAT)
    if body.endswith(", "):  # something was to follow
        with pytest.raises(MalformedCall):
            repair_body(body, FORMAT, ended=True)
    else:
        assert repair_body(body, FORMAT, ended=True) == OPEN


@pytest.mark.parametrize(
    "body",
    [
        "",
        "open the gate",
        "{",
        "{}",
        "[]",
        '{"name": "open_gate", "arguments": {"gate": "iron ga',  # which one?
        '{"name": "pay", "arguments": {"amount": 1',  # or 10, or 100
        '{"name": "pay", "arguments": {"amount":',
        '{"name": "pay", "arguments": {"amount": 1O}}',
        '{"name": "pay", "arguments": {"amount": 1 2}}',
        '{"name": "pay", "arguments": {"amount": 1, "amount": 2}}',
        "{'name': 'pay', 'name': 'take'}",
        '{"name": "a" "arguments": {}}',
        '{"name": "a", "arguments": {}} and more',
        '{"name": "a", "arguments": {}} {"name": "b"}',
        "{name: 'wave'}",
        "{'name': wave}",
        '{"name": "a", "arguments": {"x": nothing}}',
        '{"name": "a", "arguments": {"x": NaN}}',
        '{"name": "a", "arguments": {"x": 1e999}}',
        '{"name": "a", "arguments": {"x": 99999999999999999999}}',
        '{"name": "a",, "arguments": {}}',
        '{"name": "a", "arguments": [1]}',
        '{"name": "a", "arguments": "now"}',
        '{"arguments": {}}',
        '{"name": "a", "arguments": {"x": "\\ud800",}}',
        '{"name": "a", "arguments": {"x": "\\q",}}',
        '{"name": "a", "x": ' + "[" * 200,
        "[" * 100_000,
        '{"name": "a", "arguments": {"x": "' + "y" * 50_000 + '",}}',
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_what_is_not_clear_stays_refused(body: str, ended: bool) -> None:
    with pytest.raises(MalformedCall) as caught:
        repair_body(body, FORMAT, ended=ended)
    assert 0 < len(str(caught.value)) < 300


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.booleans() | st.none() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_good_json_is_read_as_json_reads_it(arguments: dict[str, Any]) -> None:
    body = json.dumps({"name": "a", "arguments": arguments})
    assert repair_body(body, FORMAT) == [Call("a", arguments)]
    # and cutting anything off its end never changes what it says
    for cut in range(1, min(len(body), 30)):
        try:
            (call,) = repair_body(body[:-cut], FORMAT, ended=True)
        except MalformedCall:
            continue
        assert call.name == "a"
        assert all(
            arguments[key] == value or isinstance(value, dict | list) for key, value in call.arguments.items()
        )


@given(st.text(max_size=60) | st.text(alphabet="{}[]\"',:\\ naTrue1", max_size=40), st.booleans())
def test_anything_is_calls_or_malformed(body: str, ended: bool) -> None:
    try:
        calls = repair_body(body, FORMAT, ended=ended)
    except MalformedCall:
        return
    assert calls
    assert all(isinstance(call.name, str) for call in calls)


GATE = {"type": "string", "enum": ["iron gate", "postern", "Old Door", "gate 1", "gate 2"]}
OFFERED: dict[str, dict[str, Any]] = {
    "open_gate": {"type": "object", "properties": {"gate": GATE}, "required": ["gate"]},
    "give_gold": {
        "type": "object",
        "properties": {
            "amount": {"type": "integer", "minimum": 1},
            "share": {"type": "number"},
            "secretly": {"type": "boolean"},
            "reason": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "room": {"type": "string"},
        },
        "required": ["amount"],
    },
    "look": {"type": "object", "properties": {"way": {"enum": ["north", "south", "up", 5]}}},
    "pick": {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"enum": ["lantern", "rope"]}},
            "how": {"type": "object", "properties": {"count": {"type": "integer"}}},
        },
    },
    "sell_horse": {"type": "object", "properties": {}},
    "sell_house": {"type": "object", "properties": {}},
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("open_gate", "open_gate"),
        ("Open_Gate", "open_gate"),
        ("open-gate", "open_gate"),
        ("openGate", "open_gate"),
        ("open_gates", "open_gate"),
        ("opne_gate", "open_gate"),
        ("opn_gate", "open_gate"),
        ("open_gats", "open_gate"),
        ("open_door", "open_door"),  # another action
        ("gate", "gate"),
        ("lock", "lock"),  # short words are too near to each other
        ("sell_hoese", "sell_hoese"),  # horse or house
        ("close_gate", "close_gate"),  # known, and withheld
        ("close_gats", "close_gats"),  # means the one that is withheld
        ("give_gold2", "give_gold2"),
        ("", ""),
    ],
)
def test_names(name: str, meant: str) -> None:
    assert repair_call(Call(name, {}), OFFERED, ["close_gate"]).name == meant


@pytest.mark.parametrize(
    ("action", "given_", "fitted"),
    [
        ("open_gate", {"gate": "Iron Gate"}, {"gate": "iron gate"}),
        ("open_gate", {"gate": "the iron gate"}, {"gate": "iron gate"}),
        ("open_gate", {"gate": " The  Iron gate "}, {"gate": "iron gate"}),
        ("open_gate", {"gate": "an old door"}, {"gate": "Old Door"}),
        ("open_gate", {"gate": "iron_gate"}, {"gate": "iron gate"}),
        ("open_gate", {"gate": "iron gates"}, {"gate": "iron gate"}),
        ("open_gate", {"gate": "postren"}, {"gate": "postern"}),
        ("open_gate", {"Gate": "postern"}, {"gate": "postern"}),
        ("give_gold", {"amount": "5"}, {"amount": 5}),
        ("give_gold", {"amount": " 12 "}, {"amount": 12}),
        ("give_gold", {"amount": 5, "share": "0.5"}, {"amount": 5, "share": 0.5}),
        ("give_gold", {"amount": 5, "secretly": "True"}, {"amount": 5, "secretly": True}),
        ("give_gold", {"amount": 5, "room": 7}, {"amount": 5, "room": "7"}),
        ("give_gold", {"amount": 5, "room": None}, {"amount": 5}),
        ("give_gold", {"amount": 5, "reason": None}, {"amount": 5, "reason": None}),
        ("give_gold", {"amont": 5}, {"amount": 5}),
        ("look", {"way": "North"}, {"way": "north"}),
        ("look", {"way": "sough"}, {"way": "south"}),
        ("look", {"way": "5"}, {"way": 5}),
        ("pick", {"items": ["Lantern", "the rope"]}, {"items": ["lantern", "rope"]}),
        ("pick", {"how": {"count": "3"}}, {"how": {"count": 3}}),
    ],
)
def test_arguments_that_are_clear(action: str, given_: dict[str, Any], fitted: dict[str, Any]) -> None:
    assert repair_call(Call(action, given_), OFFERED).arguments == fitted


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("open_gate", {"gate": "gate 3"}),  # a digit is never a slip
        ("open_gate", {"gate": "gate"}),
        ("open_gate", {"gate": "moon"}),
        ("open_gate", {"gate": "oron gatt"}),
        ("open_gate", {"gate": ["postern"]}),
        ("open_gate", {"gate": "postern", "Gate": "iron gate"}),
        ("give_gold", {"amount": "five"}),
        ("give_gold", {"amount": "5.5"}),
        ("give_gold", {"amount": "05"}),
        ("give_gold", {"amount": "5 gold"}),
        ("give_gold", {"amount": "0x10"}),
        ("give_gold", {"amount": "9" * 30}),
        ("give_gold", {"amount": True}),
        ("give_gold", {"amount": 5, "secretly": "yes please"}),
        ("give_gold", {"amount": None}),
        ("give_gold", {"total": 5}),
        ("look", {"way": "dp"}),
    ],
)
def test_arguments_that_are_not_clear_stay_as_they_are(action: str, arguments: dict[str, Any]) -> None:
    assert repair_call(Call(action, arguments), OFFERED).arguments == arguments
