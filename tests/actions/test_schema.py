"""Definitions of actions: from the game's functions, and as data from an engine."""

from __future__ import annotations

import datetime
import enum
import warnings
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import Call
from npcsdk.actions.schema import ActionDefinition, action, definition_of, handler_of
from npcsdk.errors import ActionError


class Mood(enum.Enum):
    CALM = "calm"
    ANGRY = "angry"


class Item(BaseModel):
    """A thing."""

    title: str
    count: Annotated[int, Field(ge=1)] = 1


def give(
    item: str,
    to: Literal["player", "guard"],
    count: Annotated[int, Field(ge=1, le=9)] = 1,
    gift: bool = False,
) -> None:
    """Hand something
    over.

    It leaves the inventory.

    Args:
        item: What is given,
            by its name.
        to (str): Who gets it.

    Returns:
        nothing: really.
    """


def properties(function: Any) -> dict[str, Any]:
    return dict(definition_of(function).parameters["properties"])


def test_a_function_becomes_a_definition() -> None:
    definition = definition_of(give)
    assert definition == ActionDefinition(
        name="give",
        description="Hand something over.",
        parameters={
            "type": "object",
            "properties": {
                "item": {"type": "string", "description": "What is given, by its name."},
                "to": {"type": "string", "enum": ["player", "guard"], "description": "Who gets it."},
                "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
                "gift": {"type": "boolean", "default": False},
            },
            "required": ["item", "to"],
        },
    )


def test_no_parameters_and_no_docstring() -> None:
    def wave() -> None: ...

    assert definition_of(wave) == ActionDefinition(name="wave")


def test_enums_lists_models_and_optional_values() -> None:
    def act(mood: Mood, words: list[str], thing: Item, where: str | None = None) -> None: ...

    definition = definition_of(act)
    offer = make_offer([definition], {})
    good = {"mood": "angry", "words": ["a"], "thing": {"title": "rope", "count": 2}}
    assert offer.check(Call("act", good))[1] == good
    for bad in ({"mood": "MAD"}, {"words": "a"}, {"words": [1]}, {"thing": {"count": 1}}, {"where": 3}):
        with pytest.raises(ValueError):
            offer.check(Call("act", good | bad))
    # names of fields may be "title"; the titles that pydantic makes up are left out
    assert "title" in definition.parameters["$defs"]["Item"]["properties"]
    assert "Item" not in [item.get("title") for item in definition.parameters["$defs"].values()]


def test_a_default_that_is_an_object_stays_whole() -> None:
    def act(thing: dict[str, str] = {"title": "rope"}) -> None: ...  # noqa: B006

    assert properties(act)["thing"]["default"] == {"title": "rope"}


def test_a_description_of_its_own_wins_over_the_docstring() -> None:
    def act(where: Annotated[str, Field(description="own")]) -> None:
        """Go.

        Args:
            where: from the docstring
        """

    assert properties(act)["where"]["description"] == "own"


@pytest.mark.parametrize(
    "name", ["copy", "json", "schema", "model_config", "model_name", "_x", "title", "p0"]
)
def test_parameters_may_have_any_name(name: str) -> None:
    """pydantic's own names must not leak into the game's."""
    scope: dict[str, Any] = {}
    exec(f"def act({name}: int, p1: int = 2) -> None: ...", scope)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        definition = definition_of(scope["act"])
    assert list(definition.parameters["properties"]) == [name, "p1"]
    assert definition.parameters["required"] == [name]


def test_targets_from_state_can_be_named_in_a_function() -> None:
    def go(place: Annotated[str, Field(json_schema_extra={"x-from": "state.exits"})]) -> None: ...

    offer = make_offer([definition_of(go)], {"exits": [{"name": "north door", "id": 7}]})
    assert offer.check(Call("go", {"place": "north door"}))[1] == {"place": 7}


class Test_returns:
    def test_what_a_function_returns_decides_whether_a_turn_waits(self) -> None:
        def nothing(): ...
        def none() -> None: ...
        def text() -> str: ...  # type: ignore[empty-body]
        def maybe() -> str | None: ...

        kinds = [definition_of(each).returns for each in (nothing, none, text, maybe)]
        assert kinds == ["nothing", "nothing", "result", "result"]

    def test_the_decorator_says_otherwise(self) -> None:
        @action(returns="result")
        def none() -> None: ...

        assert definition_of(none).returns == "result"


def test_the_decorator_keeps_the_function() -> None:
    @action
    def double(x: int) -> int:
        """Twice as much."""
        return 2 * x

    @action(name="triple", description="Three times.", when="trust > 3", timeout=2.5)
    def other(x: int) -> int:
        return 3 * x

    assert (double(4), other(4)) == (8, 12)
    assert double.__name__ == "double"
    assert definition_of(double).description == "Twice as much."
    definition = definition_of(other)
    assert (definition.name, definition.description) == ("triple", "Three times.")
    assert (definition.when, definition.timeout) == ("trust > 3", 2.5)
    assert definition_of(definition) is definition


def test_methods_and_callables() -> None:
    class Game:
        @action
        def open(self, gate: str) -> bool:
            """Open a gate."""
            return bool(gate)

    assert list(properties(Game().open)) == ["gate"]
    assert definition_of(Game().open).returns == "result"
    assert Game().open("x") is True


class Opaque:
    pass


def star(*args: int) -> None: ...
def stars(**options: int) -> None: ...
def positional(x: int, /) -> None: ...
def opaque(x: Opaque) -> None: ...
def unresolved(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [star, stars, positional, opaque, unresolved])
def test_a_function_without_a_schema_is_a_named_error(function: Any) -> None:
    with pytest.raises(ActionError) as caught:
        definition_of(function)
    assert caught.value.code == "bad_action_schema"
    assert function.__name__ in caught.value.message
    assert caught.value.hint


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ActionError, match="<lambda>"):
        definition_of(lambda: None)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
PROPERTY = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "integer", "minimum": 0}),
    st.just({"type": "string", "x-from": "state.nearby"}),
    st.lists(st.text(max_size=5), min_size=1, unique=True).map(lambda names: {"enum": names}),
)


@given(
    st.builds(
        ActionDefinition,
        name=NAMES,
        description=st.text(max_size=30),
        parameters=st.dictionaries(NAMES, PROPERTY, max_size=3).map(
            lambda items: {"type": "object", "properties": items, "required": sorted(items)}
        ),
        returns=st.sampled_from(["nothing", "result"]),
        when=st.none() | st.just("trust > 3"),
        timeout=st.floats(0.01, 3600),
    )
)
def test_a_definition_survives_the_wire(definition: ActionDefinition) -> None:
    data = definition.to_dict()
    assert ActionDefinition.from_dict(data) == definition
    assert ActionDefinition.from_dict({**data, "newer": 1}) == definition


def test_what_an_engine_leaves_out_takes_its_default() -> None:
    assert ActionDefinition.from_dict({"name": "wave", "description": None}) == ActionDefinition(name="wave")


def schema(**items: Any) -> dict[str, Any]:
    return {"name": "a", "parameters": {"type": "object", **items}}


FEW = {"type": "array", "minItems": 3, "maxItems": 1}
BAD: dict[str, Any] = {
    "no object": ["wave"],
    "text": "wave",
    "nothing": {},
    "name is a number": {"name": 3},
    "name is empty": {"name": ""},
    "name with a space": {"name": "open gate"},
    "name with a marker": {"name": "<toolcall>"},
    "name too long": {"name": "a" * 65},
    "name with a line break": {"name": "a\n"},
    "parameters are a list": {"name": "a", "parameters": ["x"]},
    "parameters are text": {"name": "a", "parameters": "x"},
    "not of type object": {"name": "a", "parameters": {"type": "string"}},
    "properties are a list": schema(properties=["x"]),
    "a property is text": schema(properties={"x": "string"}),
    "an unknown type": schema(properties={"x": {"type": "banana"}}),
    "required is text": schema(properties={"x": {}}, required="x"),
    "required without properties is text": schema(required="x"),
    "an enum is text": schema(properties={"x": {"enum": "abc"}}),
    "a pattern is broken": schema(properties={"x": {"pattern": "("}}),
    "a pattern that looks around": schema(properties={"x": {"type": "string", "pattern": "^(?!a)b"}}),
    "a pattern that looks back, in a list": schema(
        properties={"x": {"type": "array", "items": {"type": "string", "pattern": r"(a)\1"}}}
    ),
    "a parameter may be anything": schema(properties={"x": True}),
    "a parameter may be nothing": schema(properties={"x": False}),
    "no number is so": schema(properties={"x": {"type": "integer", "minimum": 5, "maximum": 1}}),
    "no text is so, in one of several": schema(
        properties={"x": {"anyOf": [{"type": "string", "minLength": 9, "maxLength": 3}, {"type": "null"}]}}
    ),
    "no list is so": schema(properties={"x": {"$ref": "#/$defs/t"}}, **{"$defs": {"t": FEW}}),
    "an enum of another type": schema(properties={"x": {"type": "integer", "enum": ["one", 2.5]}}),
    "an empty enum": schema(properties={"x": {"enum": []}}),
    "requires what it does not describe": schema(properties={"gate": {"type": "string"}}, required=["gaet"]),
    "a bound is text": schema(properties={"x": {"minimum": "1"}}),
    "a default is not JSON": schema(properties={"x": {"default": b"x"}}),
    "a default is not a number": schema(properties={"x": {"default": float("nan")}}),
    "a reference into the world": schema(properties={"x": {"$ref": "http://example.invalid/schema.json"}}),
    "a reference to nothing": schema(properties={"x": {"$ref": "#/$defs/missing"}}),
    "returns something": {"name": "a", "returns": "maybe"},
    "returns a list": {"name": "a", "returns": []},
    "timeout is text": {"name": "a", "timeout": "10"},
    "timeout is zero": {"name": "a", "timeout": 0},
    "timeout is negative": {"name": "a", "timeout": -1},
    "timeout is endless": {"name": "a", "timeout": float("inf")},
    "timeout is not a number": {"name": "a", "timeout": float("nan")},
    "timeout is true": {"name": "a", "timeout": True},
    "description is a list": {"name": "a", "description": ["x"]},
    "condition is a number": {"name": "a", "when": 3},
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_definition_from_an_engine_is_a_named_error(case: str) -> None:
    with pytest.raises(ActionError) as caught:
        ActionDefinition.from_dict(BAD[case])
    assert caught.value.code in ("bad_action_name", "bad_action_schema")
    assert caught.value.hint
    assert len(caught.value.message) < 500


class Gate(enum.Enum):
    IRON = "iron gate"


class Spot(BaseModel):
    x: int
    y: int = 0


def test_a_function_gets_what_its_type_hints_say() -> None:
    def act(
        gate: Gate, spot: Spot, way: list[Gate], day: datetime.date, at: float, other: Gate | None = None
    ) -> Any:
        return gate, spot, way, day, at, other

    arguments = {"gate": "iron gate", "spot": {"x": 3}, "way": ["iron gate"], "day": "2030-01-02", "at": 3}
    expected = (Gate.IRON, Spot(x=3), [Gate.IRON], datetime.date(2030, 1, 2), 3.0, None)
    assert handler_of(act)(**arguments) == expected
    assert type(handler_of(act)(**arguments)[4]) is float
    # Defaults are filled in as JSON has them, before the function is called.
    assert handler_of(act)(**arguments, other="iron gate")[5] is Gate.IRON


def test_a_function_gets_its_targets_ids_and_what_no_type_takes_as_they_are() -> None:
    def go(
        place: Annotated[Gate, Field(json_schema_extra={"x-from": "state.exits"})], gate: Gate, n: int = 1
    ) -> Any:
        return place, gate, n

    assert handler_of(go)(place=7, gate="moon") == (7, "moon", 1)

    def plain(name: str, count: Annotated[int, Field(ge=1)] = 2) -> None: ...

    assert handler_of(plain) is plain


def test_methods_and_callables_are_called_with_types_too() -> None:
    class Game:
        @action
        def open(self, gate: Gate) -> Gate:
            return gate

    assert handler_of(Game().open)(gate="iron gate") is Gate.IRON


def test_plain_data_is_a_definition_ours_or_openais() -> None:
    tool = {
        "type": "function",
        "function": {"name": "wave", "parameters": {"type": "object", "properties": {}}},
    }
    assert definition_of(tool) == definition_of({"name": "wave", "returns": "result"})
    with pytest.raises(ActionError):
        definition_of({})
