"""Definitions: OpenAI's form, cost, cooldown, who; what is refused when it is defined."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pydantic
import pytest
import yaml

from npcsdk.actions.checks import check_distinct
from npcsdk.actions.constraint import make_offer
from npcsdk.actions.cooldown import Cooldowns
from npcsdk.actions.formats import Call
from npcsdk.actions.schema import ActionDefinition, action, definition_of
from npcsdk.dialogue.npc import definition_of_entry
from npcsdk.errors import ActionError
from npcsdk.persona.schema import ActionEntry
from npcsdk.prompt.build import tool_schemas

SCHEMA = {"type": "object", "properties": {"gate": {"type": "string"}}, "required": ["gate"]}


def refused(call: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        call()
    assert caught.value.hint
    return caught.value


WRITTEN = """
description: Hand over goods from the store.
parameters:
  goods: {from: state.store, many: 3, description: which goods}
  coin: {enum: [silver, copper], description: what is paid with}
  share: {type: number, minimum: 0, maximum: 1, default: 0.5, description: how much of it now}
  note: {max_length: 40, optional: true, description: what to say with it}
returns: result
when: trust >= 20 and not night
timeout: 30
cost: {stamina: 2}
cooldown: 60
who: [mara, bram]
pinned: true
"""


def test_a_function_and_yaml_give_the_same_action() -> None:
    @action(
        when="trust >= 20 and not night",
        timeout=30,
        cost={"stamina": 2},
        cooldown=60,
        who=["mara", "bram"],
        pinned=True,
    )
    def hand_over(
        goods: Annotated[
            list[str], pydantic.Field(min_length=1, max_length=3, json_schema_extra={"x-from": "state.store"})
        ],
        coin: Literal["silver", "copper"],
        share: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5,
        note: Annotated[str, pydantic.Field(max_length=40)] = "",
    ) -> str:
        """Hand over goods from the store.

        Args:
            goods: which goods
            coin: what is paid with
            share: how much of it now
            note: what to say with it
        """
        return ""

    entry = ActionEntry.model_validate(yaml.safe_load(WRITTEN))
    written, marked = definition_of_entry("hand_over", entry), definition_of(hand_over)
    del marked.parameters["properties"]["note"]["default"]  # type: ignore[attr-defined]  # YAML's has none
    assert written == marked
    assert ActionDefinition.from_dict(written.to_dict()) == written
    state = {"trust": 30, "stamina": 2, "store": [{"name": "rope", "id": 7}, "herring"]}
    offer = make_offer([written], state)
    arguments = {"goods": ["rope", "herring"], "coin": "silver"}
    given = {"goods": [7, "herring"], "coin": "silver", "share": 0.5}
    assert offer.check(Call("hand_over", arguments))[1] == given
    assert make_offer([written], {**state, "store": []}).actions == {}


# -- OpenAI's form


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "open", "description": "Opens.", "parameters": SCHEMA}},
        {"type": "function", "name": "open", "description": "Opens.", "parameters": SCHEMA, "strict": True},
        {"function": {"name": "open", "description": "Opens.", "parameters": SCHEMA}},
    ],
)
def test_openai_tools(tool: dict[str, Any]) -> None:
    definition = ActionDefinition.from_openai(tool)
    assert definition == ActionDefinition(
        name="open", description="Opens.", parameters=SCHEMA, returns="result"
    )
    assert ActionDefinition.from_openai(tool, returns="nothing", cooldown=3).cooldown == 3


def test_an_openai_tool_without_parameters() -> None:
    assert (
        ActionDefinition.from_openai({"type": "function", "function": {"name": "wave"}}).parameters[
            "properties"
        ]
        == {}
    )


@pytest.mark.parametrize(
    "tool",
    [None, [], "open", {}, {"type": "web_search"}, {"type": "function", "function": None}, {"function": {}}],
)
def test_what_is_no_function(tool: Any) -> None:
    refused(lambda: ActionDefinition.from_openai(tool))


# -- cost, cooldown, who


def test_more_fields_survive_the_wire() -> None:
    definition = ActionDefinition(
        name="bribe", cost={"gold": 5, "quest.favours": 1}, cooldown=2.5, who=("mara",), pinned=True
    )
    assert ActionDefinition.from_dict(definition.to_dict()) == definition
    plain = ActionDefinition(name="wave")
    assert plain.to_dict().keys() == {"name", "description", "parameters", "returns", "timeout"}
    assert {field.name for field in dataclasses.fields(plain)} == definition.to_dict().keys() | {"when"}


def test_the_decorator_takes_them_too() -> None:
    @action(cost={"gold": 5}, cooldown=1, who=["mara"], pinned=True)
    def bribe(amount: int) -> None:
        """Pay."""

    definition = definition_of(bribe)
    assert (definition.cost, definition.cooldown, definition.who, definition.pinned) == (
        {"gold": 5},
        1,
        ("mara",),
        True,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"cost": {"gold": 0}},
        {"cost": {"gold": -1}},
        {"cost": {"gold": "5"}},
        {"cost": {"gold": True}},
        {"cost": {"gold": float("nan")}},
        {"cost": {"gold or 1": 5}},
        {"cost": {"": 5}},
        {"cost": ["gold"]},
        {"cooldown": -1},
        {"cooldown": float("inf")},
        {"cooldown": "soon"},
        {"who": [7]},
        {"timeout": 0},
    ],
)
def test_fields_that_make_no_sense(fields: dict[str, Any]) -> None:
    assert refused(lambda: ActionDefinition.from_dict({"name": "act", **fields})).code == "bad_action_schema"


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ({"gold": 5, "quest": {"favours": 1}}, True),
        ({"gold": 9, "quest.favours": 2.5}, True),
        ({"gold": 4, "quest.favours": 1}, False),
        ({"gold": 5}, False),
        ({}, False),
        ({"gold": "many", "quest.favours": 1}, False),
    ],
)
def test_cost(state: dict[str, Any], offered: bool) -> None:
    offer = make_offer([ActionDefinition(name="bribe", cost={"gold": 5, "quest.favours": 1})], state)
    assert ("bribe" in offer.actions) is offered
    if not offered:
        assert "costs" in offer.withheld["bribe"]


@pytest.mark.parametrize("amount", [0.00001, 2.5, 10**16, 1e16])
def test_a_cost_of_any_size(amount: float) -> None:
    dear = ActionDefinition(name="bribe", cost={"gold": amount})
    assert make_offer([dear], {"gold": amount}).actions
    assert not make_offer([dear], {"gold": amount / 2}).actions


def test_cooldowns_are_each_characters_own() -> None:
    bow, wave = ActionDefinition(name="bow", cooldown=10), ActionDefinition(name="wave")
    cooldowns = Cooldowns()
    cooldowns.used("mara", bow, now=100)
    cooldowns.used("mara", wave, now=100)
    assert cooldowns.waiting("bram", [bow, wave], now=101) == {}
    waiting = cooldowns.waiting("mara", [bow, wave], now=101)
    assert list(waiting) == ["bow"]
    assert "9.0 seconds" in waiting["bow"]
    assert make_offer([bow, wave], {}, excluded=waiting).withheld == waiting
    assert cooldowns.waiting("mara", [bow, wave], now=110) == {}


# -- refused at definition


@pytest.mark.parametrize(
    "name",
    ["toolcall", "tool_call", "ToolCalls", "extra_id_1", "python_tag", "end_of_turn", "im_start", "INST", "eot_id",
     "<extra_id_1>", "[TOOL_CALLS]", "<|im_end|>", "", "1st", "a b", "a" * 65, "ö", "a\n", None, 7],
)  # fmt: skip
def test_names_that_no_action_can_have(name: Any) -> None:
    assert refused(lambda: ActionDefinition(name=name)).code == "bad_action_name"


@pytest.mark.parametrize("name", ["call", "tool", "open_gate", "instruct", "_x", "a.b-c", "padlock"])
def test_names_that_are_fine(name: str) -> None:
    assert ActionDefinition(name=name).name == name


@pytest.mark.parametrize(
    ("properties", "defined", "names"),
    [
        (
            {"x": {"$ref": "#/$defs/tree"}},
            {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            ["tree"],
        ),
        (
            {"x": {"$ref": "#/$defs/a"}},
            {
                "a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}},
                "b": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]},
            },
            ["a", "b"],
        ),
        ({"x": {"$ref": "#"}}, {}, ["#"]),
        ({"x": {"items": {"$ref": "#/properties/x"}}}, {}, ["#/properties/x"]),
    ],
)
def test_recursion_is_refused_by_name(properties: Any, defined: Any, names: list[str]) -> None:
    parameters = {"type": "object", "properties": properties, "$defs": defined}
    message = refused(lambda: ActionDefinition(name="grow", parameters=parameters)).message
    assert "recursive" in message
    assert all(name in message for name in names)


def test_a_recursive_model_is_refused() -> None:
    class Tree(pydantic.BaseModel):
        kids: list[Tree] = []

    def plant(tree: Tree) -> None:
        """Plant."""

    plant.__annotations__["tree"] = Tree
    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    assert "Tree" in refused(lambda: definition_of(plant)).message


def test_definitions_that_share_a_definition_are_no_circle() -> None:
    leaf = {"$ref": "#/$defs/leaf"}
    parameters = {
        "type": "object",
        "properties": {"a": leaf, "b": {"$ref": "#/$defs/pair"}},
        "$defs": {
            "leaf": {"type": "integer"},
            "pair": {"type": "object", "properties": {"l": leaf, "r": leaf}},
        },
    }
    assert ActionDefinition(name="grow", parameters=parameters)


def test_definitions_may_have_names_in_any_script() -> None:
    turn = {
        "type": "object",
        "properties": {"an": {"$ref": "#/$defs/Tür"}},
        "$defs": {"Tür": {"type": "string"}},
    }
    assert ActionDefinition(name="turn", parameters=turn)


def test_half_a_character_is_refused_where_it_is_defined() -> None:
    half = {"type": "object", "properties": {"x": {"enum": ["\ud800"]}}}
    assert refused(lambda: ActionDefinition(name="act", parameters=half)).code == "bad_action_schema"


def test_many_definitions_are_walked_quickly() -> None:
    layers = {
        f"d{n}": {"type": "object", "properties": {c: {"$ref": f"#/$defs/d{n + 1}"} for c in "ab"}}
        for n in range(40)
    }
    layers["d40"] = {"type": "integer"}
    parameters = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": layers}
    assert ActionDefinition(name="deep", parameters=parameters)  # 2**40 paths


def test_names_that_differ_in_case_only() -> None:
    check_distinct(["open", "close", "Wave"])
    error = refused(lambda: check_distinct(["open", "wave", "Open"]))
    assert error.code == "names_differ_in_case"
    assert "'open'" in error.message
    assert "'Open'" in error.message


# -- in the prompt


def test_a_long_description_is_cut_in_the_prompt() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "description": "word " * 10_000}}}
    definition = ActionDefinition(name="act", description="Does something. " * 3200, parameters=schema)
    assert len(definition.description) > 50_000
    (tool,) = tool_schemas([(definition.name, definition.description, definition.parameters)])
    assert tool["description"].startswith("Does something. Does")
    assert tool["description"].endswith("...")
    assert len(tool["description"]) <= 303
    assert len(tool["parameters"]["properties"]["x"]["description"]) <= 303
    (short,) = tool_schemas([("act", "Does it.", {"type": "object", "properties": {}})])
    assert short["description"] == "Does it."
