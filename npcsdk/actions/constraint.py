"""What is legal this turn: definitions and the game's state in, an offer out.

An action whose condition is false, or one of whose targets does not exist now, is withheld. A parameter with
``x-from: "state.nearby"`` becomes an enum of the names that the state lists now; the model sees names and the
game gets ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match  # pyright: ignore[reportUnknownVariableType]

from npcsdk.actions.checks import SOURCE
from npcsdk.actions.formats.base import Call, ToolFormat
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Constraint
from npcsdk.conditions import ConditionError, compile_condition

__all__ = ["BadCall", "Offer", "Offered", "make_offer", "state_values"]

MAX_STRING = 200
"""The greatest length of a generated string whose schema gives none: a small model must not run on in one."""
MAX_INTEGER = 999_999_999
"""Likewise for whole numbers, either side of zero: nine digits."""
MAX_ITEMS = 16
"""Likewise for the items of a list."""
_MAX_REASON = 200


class BadCall(ValueError):
    """A call that must not reach the game; ``code`` and the message say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Offered:
    """An action that is legal now, its schema narrowed to this turn's state, and each name's id."""

    definition: ActionDefinition
    schema: Mapping[str, Any]
    ids: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


@dataclass(frozen=True, slots=True)
class Offer:
    """Everything that may be called this turn, and what was withheld and why."""

    actions: Mapping[str, Offered]
    withheld: Mapping[str, str]
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of those that the player's words ask for, the call as far as the words say it, where the prompt is to tell."""

    def constraint(self, tool_format: ToolFormat, max_calls: int) -> Constraint:
        """The same as a neutral value for backends that hold a model to it."""
        return Constraint(
            opening=tool_format.opening,
            closing=tool_format.closing,
            tools=tuple((name, _bounded(offered.schema)) for name, offered in self.actions.items()),
            max_calls=max_calls,
            arguments_key=tool_format.arguments_key,
            listed=tool_format.listed,
            bare=tool_format.bare,
            after_name=tool_format.after_name[-1] if tool_format.after_name else "",
        )

    def without(self, name: str, reason: str) -> Offer:
        """The same offer but for one action."""
        actions = {key: offered for key, offered in self.actions.items() if key != name}
        asked = {key: text for key, text in self.asked.items() if key != name}
        return Offer(actions, {**self.withheld, name: reason}, asked)

    def check(self, call: Call) -> tuple[ActionDefinition, dict[str, Any]]:
        """The action that a call means and its arguments as the game gets them, defaults filled in.

        Raises:
            BadCall: ``unknown_action`` (not offered now) or ``bad_arguments``.
        """
        offered = self.actions.get(call.name)
        if offered is None:
            reason = self.withheld.get(call.name)
            raise BadCall(
                "unknown_action",
                f"{call.name!r} was not offered this turn" + (f": {reason}." if reason else "."),
            )
        arguments = dict(call.arguments)
        problem = _first_problem(offered.schema, arguments)
        if problem:
            raise BadCall("bad_arguments", f"{call.name!r}: {problem}")
        properties = cast("Mapping[str, Mapping[str, Any]]", offered.schema.get("properties", {}))
        for name, schema in properties.items():
            if name not in arguments and schema.get("default") is not None:
                arguments[name] = deepcopy(schema["default"])  # the game's own from now on
            value = arguments.get(name)
            if schema.get("type") == "integer" and isinstance(value, float):
                arguments[name] = int(value)  # JSON Schema calls 3.0 an integer; the game's languages do not
        for name, ids in offered.ids.items():
            if name in arguments:
                arguments[name] = _identified(arguments[name], ids)
        return offered.definition, arguments


def _identified(value: Any, ids: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_identified(item, ids) for item in cast("list[Any]", value)]
    return ids.get(value, value) if isinstance(value, str) else value


def make_offer(
    definitions: Iterable[ActionDefinition],
    state: Mapping[str, Any],
    *,
    allowed: Sequence[str] | None = None,
    spelled: Callable[[str], str] = str,
    excluded: Mapping[str, str] | None = None,
) -> Offer:
    """Decide what is legal now.

    Args:
        allowed: names of the actions that this character may use (None: all).
        spelled: how the prompt writes a target's name, so that the model can call what it has read.
        excluded: actions that are not to be offered for reasons of the caller's, and these reasons.
    """
    excluded = excluded or {}
    actions: dict[str, Offered] = {}
    withheld: dict[str, str] = {}
    for definition in definitions:
        if allowed is not None and definition.name not in allowed:
            withheld[definition.name] = "this character may not use it"
        elif definition.name in excluded:
            withheld[definition.name] = excluded[definition.name]
        elif definition.when and not _holds(definition.when, state):
            withheld[definition.name] = f"its condition {definition.when!r} does not hold"
        elif lacking := _lacking(definition, state):
            withheld[definition.name] = lacking
        else:
            offered = _narrow(definition, state, spelled)
            if isinstance(offered, str):
                withheld[definition.name] = offered
            else:
                actions[definition.name] = offered
    return Offer(actions, withheld)


def state_values(state: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The names that ``path`` (``"state.nearby"``) lists in the game's state, each with its id.

    An entry is a string (name and id at once) or a mapping with ``name`` and, where it differs, ``id``. An entry that
    stands alone is a list of one.
    """
    value: Any = state
    for part in path.removeprefix("state.").split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    found: dict[str, Any] = {}
    entries: Iterable[Any] = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else (value,)
    for entry in entries:
        if isinstance(entry, Mapping):
            item = cast("Mapping[str, Any]", entry)
            shown = item.get("name") if item.get("name") is not None else item.get("id")
            if shown is not None and str(shown):
                found.setdefault(str(shown), item.get("id", shown))
        elif isinstance(entry, str) and entry:
            found.setdefault(entry, entry)
    return found


def _holds(condition: str, state: Mapping[str, Any]) -> bool:
    try:
        return compile_condition(condition).evaluate(state)
    except ConditionError:
        return False  # worlds are checked when they load; an engine's bad condition withholds its action


def _lacking(definition: ActionDefinition, state: Mapping[str, Any]) -> str:
    """What the state has too little of for the action's cost, in words; "" when it has enough."""
    for what, amount in definition.cost.items():
        if not _holds(f"{what} >= {Decimal(repr(amount)):f}", state):  # conditions know no exponents
            return f"it costs {amount:g} {what}, and there is less"
    return ""


def _narrow(
    definition: ActionDefinition, state: Mapping[str, Any], spelled: Callable[[str], str]
) -> Offered | str:
    properties = cast("Mapping[str, Mapping[str, Any]]", definition.parameters.get("properties", {}))
    sources = {name: str(schema[SOURCE]) for name, schema in properties.items() if schema.get(SOURCE)}
    if not sources:
        return Offered(definition, definition.parameters)
    required = cast("Sequence[str]", definition.parameters.get("required", ()))
    narrowed: dict[str, Any] = dict(properties)
    ids: dict[str, Mapping[str, Any]] = {}
    for name, source in sources.items():
        values: dict[str, Any] = {}
        for value, its_id in state_values(state, source).items():
            values.setdefault(spelled(value), its_id)
        values.pop("", None)
        if not values:
            if name in required:
                return f"{source} lists nothing for {name!r}"
            del narrowed[name]
            continue
        ids[name] = values
        names = list(values)
        narrowed[name] = {key: item for key, item in properties[name].items() if key != SOURCE}
        many = narrowed[name].get("type") == "array"
        default: Any = narrowed[name].get("default")
        chosen = cast("list[Any]", default) if many and isinstance(default, list) else [default]
        if not all(one in names for one in chosen):
            narrowed[name].pop("default", None)  # it does not exist now
        if many:
            narrowed[name]["items"] = {"enum": names}
        else:
            narrowed[name]["enum"] = names
    return Offered(definition, {**definition.parameters, "properties": narrowed}, ids)


def _bounded(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with a bound for all that has none, and closed against invented arguments."""
    return {**_with_bounds(schema), "additionalProperties": False}


def _with_bounds(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    bounded = dict(cast("Mapping[str, Any]", schema))
    for key in ("properties", "$defs"):
        if key in bounded:
            items = cast("Mapping[str, Any]", bounded[key])
            bounded[key] = {name: _with_bounds(item) for name, item in items.items()}
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in bounded:
            bounded[key] = [_with_bounds(item) for item in cast("Sequence[Any]", bounded[key])]
    if "items" in bounded:
        bounded["items"] = _with_bounds(bounded["items"])
    kind = bounded.get("type")
    if {"enum", "const"} & bounded.keys():
        return bounded
    if kind == "string" and not {"maxLength", "pattern"} & bounded.keys():
        bounded["maxLength"] = MAX_STRING
    elif kind == "integer":
        if not {"minimum", "exclusiveMinimum"} & bounded.keys():
            bounded["minimum"] = -MAX_INTEGER
        if not {"maximum", "exclusiveMaximum"} & bounded.keys():
            bounded["maximum"] = MAX_INTEGER
    elif kind == "array":
        bounded.setdefault("maxItems", MAX_ITEMS)
    return bounded


def _first_problem(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    closed = {"additionalProperties": False, **schema}
    try:
        errors = cast("Iterable[Any]", Draft202012Validator(closed).iter_errors(arguments))  # pyright: ignore[reportUnknownMemberType]
        error: Any = cast("Any", best_match)(errors)
    except RecursionError:  # a schema that refers to itself, or arguments that make it
        return "nested too deep"
    if error is None:
        return None
    place = ".".join(str(part) for part in error.absolute_path)
    message = str(error.message)
    if len(message) > _MAX_REASON:  # it may quote every target that exists
        message = f"{message[:_MAX_REASON]}..."
    return f"{place}: {message}" if place else message
