"""Promise 4: an action that reaches the game was offered this turn, and its arguments are legal now."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from npcsdk.actions.constraint import BadCall, Offer, make_offer, state_values
from npcsdk.actions.formats import Call, load_format
from npcsdk.actions.schema import ActionDefinition, definition_of
from npcsdk.errors import ActionError

FORMAT = load_format("nemotron")
GATE = {"type": "string", "x-from": "state.nearby"}
NEAR = pydantic.Field(json_schema_extra={"x-from": "state.nearby"})


def definition(
    name: str = "act", *, when: str | None = None, required: Any = (), **properties: Any
) -> ActionDefinition:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return ActionDefinition(name=name, when=when, parameters=parameters)


def refused(offer: Offer, name: str, arguments: dict[str, Any] | None = None) -> BadCall:
    with pytest.raises(BadCall) as caught:
        offer.check(Call(name, arguments or {}))
    return caught.value


OPEN = definition("open_gate", gate=GATE, required=["gate"])


def test_a_condition_decides_whether_an_action_is_offered() -> None:
    bribe = definition("bribe", when="trust >= 10 and not angry")
    assert "bribe" in make_offer([bribe], {"trust": 10, "angry": False}).actions
    for state in ({"trust": 9}, {}, {"trust": 10, "angry": True}):
        offer = make_offer([bribe], state)
        assert not offer.actions
        error = refused(offer, "bribe")
        assert error.code == "unknown_action"
        assert "trust >= 10" in str(error)


def test_a_condition_that_cannot_be_read_withholds_its_action_only() -> None:
    offer = make_offer([definition("a", when="trust >="), definition("b")], {})
    assert list(offer.actions) == ["b"]
    assert "a" in offer.withheld


def test_only_allowed_actions_are_offered() -> None:
    definitions = [definition("a"), definition("b"), definition("c")]
    assert list(make_offer(definitions, {}).actions) == ["a", "b", "c"]
    offer = make_offer(definitions, {}, allowed=["b"])
    assert list(offer.actions) == ["b"]
    assert "this character" in str(refused(offer, "a"))
    assert not make_offer(definitions, {}, allowed=[]).actions


def test_an_action_nobody_defined() -> None:
    error = refused(make_offer([OPEN], {"nearby": ["iron gate"]}), "fly")
    assert error.code == "unknown_action"
    assert "'fly'" in str(error)


@pytest.mark.parametrize(
    ("nearby", "name", "expected"),
    [
        (["iron gate", "well"], "iron gate", "iron gate"),
        ([{"name": "iron gate", "id": "gate_7"}], "iron gate", "gate_7"),
        ([{"name": "iron gate", "id": 7}], "iron gate", 7),
        ([{"name": "iron gate", "id": 0}], "iron gate", 0),
        ([{"name": "iron gate"}], "iron gate", "iron gate"),
        ([{"id": "gate_7"}], "gate_7", "gate_7"),
        ([{"name": None, "id": "gate_7"}], "gate_7", "gate_7"),
        (("iron gate",), "iron gate", "iron gate"),
        ("iron gate", "iron gate", "iron gate"),
        ({"name": "iron gate", "id": 7}, "iron gate", 7),
        ([{"name": "iron gate", "id": 1}, {"name": "iron gate", "id": 2}], "iron gate", 1),
        ([None, 5, "", {}, "iron gate"], "iron gate", "iron gate"),
    ],
)
def test_the_model_sees_names_and_the_game_gets_ids(nearby: Any, name: str, expected: Any) -> None:
    offer = make_offer([OPEN], {"nearby": nearby})
    assert offer.check(Call("open_gate", {"gate": name})) == (OPEN, {"gate": expected})
    error = refused(offer, "open_gate", {"gate": "moon"})
    assert error.code == "bad_arguments"
    assert "gate" in str(error)


def test_an_id_is_no_name() -> None:
    offer = make_offer([OPEN], {"nearby": [{"name": "iron gate", "id": "gate_7"}]})
    assert refused(offer, "open_gate", {"gate": "gate_7"}).code == "bad_arguments"


def test_targets_deeper_in_the_state() -> None:
    far = definition(gate={"type": "string", "x-from": "state.room.exits"}, required=["gate"])
    state = {"room": {"exits": ["door"]}}
    assert make_offer([far], state).check(Call("act", {"gate": "door"}))[1] == {"gate": "door"}


@pytest.mark.parametrize(
    "state", [{}, {"nearby": []}, {"nearby": None}, {"nearby": ""}, {"nearby": 3}, {"nearby": {}}]
)
def test_without_a_target_the_action_is_withheld(state: dict[str, Any]) -> None:
    offer = make_offer([OPEN], state)
    assert not offer.actions
    assert "state.nearby" in str(refused(offer, "open_gate", {"gate": "iron gate"}))


def test_without_a_target_an_optional_parameter_is_taken_away() -> None:
    look = definition("look", at=GATE, long={"type": "boolean"})
    offer = make_offer([look], {"nearby": []})
    assert offer.check(Call("look", {"long": True}))[1] == {"long": True}
    assert refused(offer, "look", {"at": "iron gate"}).code == "bad_arguments"
    tools = dict(offer.constraint(FORMAT, 1).tools)
    assert list(tools["look"]["properties"]) == ["long"]


def test_a_default_target_must_exist_too() -> None:
    look = definition("look", at={**GATE, "default": "well"})
    assert make_offer([look], {"nearby": ["well", "gate"]}).check(Call("look", {}))[1] == {"at": "well"}
    assert make_offer([look], {"nearby": ["gate"]}).check(Call("look", {}))[1] == {}
    assert make_offer([look], {"nearby": []}).check(Call("look", {}))[1] == {}


def test_several_targets_at_once() -> None:
    gather = definition(
        items={"type": "array", "items": {"type": "string"}, "x-from": "state.nearby"}, required=["items"]
    )
    offer = make_offer([gather], {"nearby": [{"name": "herb", "id": 1}, {"name": "root", "id": 2}]})
    assert offer.check(Call("act", {"items": ["root", "herb"]}))[1] == {"items": [2, 1]}
    assert refused(offer, "act", {"items": ["herb", "moon"]}).code == "bad_arguments"


def test_targets_are_named_whatever_type_their_ids_have() -> None:
    """As a game in Python writes it, whose ids are numbers; a list that may be left out is empty then."""

    def attack(
        target: Annotated[int, NEAR],
        then: Annotated[int | None, NEAR] = None,
        others: Annotated[list[int], NEAR] = [],  # noqa: B006
        allies: list[Annotated[int, NEAR]] = [],  # noqa: B006
    ) -> None: ...

    offer = make_offer(
        [definition_of(attack)], {"nearby": [{"name": "wolf", "id": 7}, {"name": "bear", "id": 8}]}
    )
    assert refused(offer, "attack", {"target": 7}).code == "bad_arguments"
    given = {"target": "wolf", "others": ["bear"], "allies": ["wolf"], "then": "bear"}
    expected = {"target": 7, "others": [8], "allies": [7], "then": 8}
    assert offer.check(Call("attack", given))[1] == expected
    first = offer.check(Call("attack", {"target": "wolf"}))[1]
    assert first == {"target": 7, "others": [], "allies": []}
    first["others"].append(9)  # the game's own list, not the next turn's
    assert offer.check(Call("attack", {"target": "wolf"}))[1]["others"] == []
    held = dict(offer.constraint(FORMAT, 1).tools)["attack"]["properties"]
    assert held["target"] == held["then"] == {"type": "string", "enum": ["wolf", "bear"]}
    assert held["others"]["items"] == held["allies"]["items"] == {"enum": ["wolf", "bear"]}


@pytest.mark.parametrize(
    "inner", [{"type": "object", "properties": {"who": GATE}}, {"type": "array", "items": {"items": GATE}}]
)
def test_a_target_inside_of_a_parameter_is_refused_where_it_is_defined(inner: dict[str, Any]) -> None:
    """It would be free text, and the game would aim at what does not exist."""
    with pytest.raises(ActionError) as caught:
        definition("give", order=inner)
    assert caught.value.code == "bad_action_schema"
    assert "x-from" in caught.value.message


def test_a_name_is_legal_as_the_prompt_spells_it() -> None:
    offer = make_offer(
        [OPEN], {"nearby": [{"name": "Iron  GATE", "id": 7}]}, spelled=lambda name: " ".join(name.split())
    )
    assert offer.check(Call("open_gate", {"gate": "Iron GATE"}))[1] == {"gate": 7}


def test_defaults_are_filled_in() -> None:
    act = definition(
        count={"type": "integer", "default": 2},
        loud={"type": "boolean", "default": False},
        note={"type": "string"},
    )
    offer = make_offer([act], {})
    assert offer.check(Call("act", {}))[1] == {"count": 2, "loud": False}
    assert offer.check(Call("act", {"count": 5}))[1] == {"count": 5, "loud": False}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, True),
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, "1"),
        ({"type": "number"}, False),
        ({"type": "boolean"}, 1),
        ({"type": "boolean"}, "true"),
        ({"type": "string"}, None),
        ({"type": "string"}, 1),
        ({"type": "integer", "maximum": 3}, 4),
        ({"type": "string", "maxLength": 3}, "four"),
        ({"type": "string", "pattern": "^a+$"}, "ab"),
        ({"enum": ["a", "b"]}, "c"),
        ({"enum": [1]}, True),
    ],
)
def test_bad_arguments(schema: dict[str, Any], value: Any) -> None:
    error = refused(make_offer([definition(x=schema)], {}), "act", {"x": value})
    assert error.code == "bad_arguments"
    assert "'act': x:" in str(error)


def test_a_missing_and_an_invented_argument() -> None:
    offer = make_offer([definition(x={"type": "string"}, required=["x"])], {})
    assert "'x'" in str(refused(offer, "act", {}))
    assert "'y'" in str(refused(offer, "act", {"x": "a", "y": 1}))


def test_a_whole_number_reaches_the_game_as_one() -> None:
    value = make_offer([definition(x={"type": "integer"})], {}).check(Call("act", {"x": 3.0}))[1]["x"]
    assert value == 3
    assert isinstance(value, int)


def test_ten_thousand_targets() -> None:
    names = [{"name": f"target {number}", "id": number} for number in range(10_000)]
    begun = perf_counter()
    offer = make_offer([OPEN], {"nearby": names})
    assert offer.check(Call("open_gate", {"gate": "target 9999"}))[1] == {"gate": 9999}
    error = refused(offer, "open_gate", {"gate": "moon"})
    assert perf_counter() - begun < 1.0  # about 20 ms; anything quadratic takes minutes
    assert len(str(error)) < 400  # and does not list them all


class Test_constraint:
    def test_markers_and_count(self) -> None:
        constraint = make_offer([OPEN], {"nearby": ["gate"]}).constraint(FORMAT, 3)
        assert (constraint.opening, constraint.closing, constraint.max_calls) == (
            "<toolcall>",
            "</toolcall>",
            3,
        )
        assert dict(constraint.tools)["open_gate"]["properties"]["gate"]["enum"] == ["gate"]

    def test_nothing_offered_means_no_tools(self) -> None:
        assert make_offer([OPEN], {}).constraint(FORMAT, 3).tools == ()

    def test_strings_end_and_arguments_cannot_be_invented(self) -> None:
        act = ActionDefinition(
            name="act",
            parameters={
                "type": "object",
                "properties": {
                    "free": {"type": "string"},
                    "short": {"type": "string", "maxLength": 5},
                    "one_of": {"type": "string", "enum": ["a"]},
                    "pattern": {"type": "string", "pattern": "^a$"},
                    "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "many": {"type": "array", "items": {"type": "string"}},
                    "thing": {"$ref": "#/$defs/Thing"},
                },
                "$defs": {"Thing": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "additionalProperties": True,
            },
        )
        schema = dict(make_offer([act], {}).constraint(FORMAT, 1).tools)["act"]
        validator = Draft202012Validator(schema)
        long = "x" * 100_000
        for arguments in (
            {"free": long},
            {"short": "toolong"},
            {"maybe": long},
            {"many": [long]},
            {"thing": {"name": long}},
            {"invented": 1},
        ):
            assert not validator.is_valid(arguments), arguments
        for arguments in ({"free": "x" * 200}, {"maybe": None}, {"one_of": "a"}, {"many": ["a"]}):
            assert validator.is_valid(arguments), arguments
        assert "maxLength" not in schema["properties"]["one_of"]
        assert "maxLength" not in act.parameters["properties"]["free"]  # what was given stays as it was


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(
    st.lists(NAMES | st.fixed_dictionaries({"name": NAMES, "id": st.integers()}), max_size=6),
    NAMES,
    st.integers(),
)
def test_whatever_the_state_lists_is_legal_and_nothing_else(
    nearby: list[Any], word: str, number: int
) -> None:
    offer = make_offer([OPEN], {"nearby": nearby})
    legal = state_values({"nearby": nearby}, "state.nearby")
    for name in legal:
        assert offer.check(Call("open_gate", {"gate": name}))[1]["gate"] == legal[name]
    for value in (word, number, None, [word]):
        if not isinstance(value, str) or value not in legal:
            with pytest.raises(BadCall):
                offer.check(Call("open_gate", {"gate": value}))


def test_what_a_schema_leaves_open_is_bounded_while_it_is_generated() -> None:
    """A small model that runs on inside a number, a string or a list would fill its whole reply with it."""
    parameters = {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "small": {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
            "names": {"type": "array", "items": {"type": "string"}},
            "choice": {"type": "integer", "enum": [10**12]},
        },
    }
    offer = make_offer([ActionDefinition(name="act", parameters=parameters)], {})
    ((_, schema),) = offer.constraint(load_format("nemotron"), 1).tools
    made = schema["properties"]
    assert made["count"]["minimum"] == -made["count"]["maximum"] < 0
    assert made["small"] == {"type": "integer", "minimum": 1, "exclusiveMaximum": 5}
    assert made["names"]["maxItems"] > 1
    assert made["names"]["items"]["maxLength"] > 1
    assert made["choice"] == {"type": "integer", "enum": [10**12]}
    # what the game itself allows stays as wide as its schema: only generating is bounded
    assert offer.check(Call("act", {"count": 10**12}))[1]["count"] == 10**12
