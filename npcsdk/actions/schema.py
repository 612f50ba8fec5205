"""What an action is: a name, a description, a JSON Schema of its arguments, and how the game answers.

A definition comes from a Python function (`definition_of`, `action`) or as plain data from a world's YAML or
from an engine over the socket (`ActionDefinition.from_dict`). Both give the same value.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints, overload

from npcsdk.actions.checks import SOURCE, name_problem, named_targets, schema_problem
from npcsdk.conditions import ConditionError, compile_condition
from npcsdk.errors import ActionError

__all__ = ["ActionDefinition", "Returns", "action", "definition_of", "handler_of", "named_handler_of"]

Returns = Literal["nothing", "result"]
DEFAULT_TIMEOUT = 10.0
_ATTRIBUTE = "__npcsdk_action__"

Function = TypeVar("Function", bound=Callable[..., Any])


def _no_parameters() -> Mapping[str, Any]:
    return {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDefinition:
    """One action that characters may be offered.

    ``parameters`` is a JSON Schema object. A property may carry ``x-from: "state.nearby"``: its legal values are
    those that the game's state lists this turn (see `npcsdk.actions.constraint`). ``returns`` "result" makes a turn
    wait, at most ``timeout`` seconds, for the game's answer. ``when`` is a condition over the game's state; while it
    is false the action is not offered.

    ``cost`` names numbers in the game's state and how much of each an action takes: it is offered only while there
    is enough (the game does the taking). After an action a character cannot use it again for ``cooldown`` seconds.
    ``who`` are the ids of the characters that may use it; None leaves that to the personas. Of many actions only
    those that seem relevant stand in the prompt; a ``pinned`` one always does.

    Raises:
        ActionError: a name that models or engines cannot spell, a schema that is not an object's or is recursive, a
            bad timeout, cost or cooldown.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=_no_parameters)
    returns: Returns = "nothing"
    when: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    cooldown: float = 0.0
    who: tuple[str, ...] | None = None
    pinned: bool = False

    def __post_init__(self) -> None:
        # Engines send these over the socket, so nothing about their types can be taken for granted.
        name = cast(Any, self.name)
        if problem := name_problem(name):
            raise ActionError(
                f"An action cannot be named {name!r}."[:200], hint=problem, code="bad_action_name"
            )
        if problem := schema_problem(self.parameters):
            raise ActionError(
                f"The parameters of action {name!r} cannot be used: {problem}.",
                hint='Give {"type": "object", "properties": {...}, "required": [...]}.',
                code="bad_action_schema",
            )
        object.__setattr__(self, "parameters", named_targets(self.parameters))
        if self.returns not in ("nothing", "result"):
            raise ActionError(
                f"Action {name!r} returns {self.returns!r}.",
                hint="Say 'nothing' or 'result'.",
                code="bad_action_schema",
            )
        for what, seconds, least in (("timeout", self.timeout, 1e-9), ("cooldown", self.cooldown, 0)):
            if not _is_number(seconds) or not least <= seconds <= 3600:
                raise ActionError(
                    f"Action {name!r} has a {what} of {seconds!r} seconds.",
                    hint=f"Give seconds between 0 and 3600{', more than 0' if least else ''}.",
                    code="bad_action_schema",
                )
        self._check_cost()
        if isinstance(cast(Any, self.who), list):
            object.__setattr__(self, "who", tuple(cast("list[str]", self.who)))
        if self.who is not None and not all(isinstance(cast(Any, one), str) for one in self.who):
            raise ActionError(
                f"Action {name!r} is for {self.who!r}.",
                hint="Give a list of characters' ids.",
                code="bad_action_schema",
            )
        for what, text in (("description", cast(Any, self.description)), ("condition", cast(Any, self.when))):
            if not isinstance(text, str | None):
                raise ActionError(
                    f"Action {name!r} has the {what} {text!r}.", hint="Give text.", code="bad_action_schema"
                )

    def _check_cost(self) -> None:
        cost = cast(Any, self.cost)
        try:
            fine = isinstance(cost, Mapping) and all(
                _is_number(amount)
                and amount > 0
                and compile_condition(f"{what} >= 0").names == frozenset({what})
                for what, amount in cast("Mapping[str, Any]", cost).items()
            )
        except ConditionError:
            fine = False
        if not fine:
            raise ActionError(
                f"Action {self.name!r} costs {cost!r}.",
                hint='Give names of numbers in the state, and how much of each: {"gold": 5}.',
                code="bad_action_schema",
            )

    def to_dict(self) -> dict[str, Any]:
        """The definition as plain data, for the wire."""
        data: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
            "returns": self.returns,
            "timeout": self.timeout,
        }
        if self.when:
            data["when"] = self.when
        if self.cost:
            data["cost"] = dict(self.cost)
        if self.cooldown:
            data["cooldown"] = self.cooldown
        if self.who is not None:
            data["who"] = list(self.who)
        if self.pinned:
            data["pinned"] = True
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ActionDefinition:
        """The inverse of `to_dict`; unknown keys are ignored, missing ones take their defaults."""
        if not isinstance(cast(Any, data), Mapping):
            raise ActionError(
                f"An action definition cannot be {data!r}.",
                hint='Give an object with a "name".',
                code="bad_action_name",
            )
        known = {key: data[key] for key in cls.__dataclass_fields__ if data.get(key) is not None}
        if "name" not in known:
            raise ActionError(
                "An action definition has no name.", hint="Add a 'name'.", code="bad_action_name"
            )
        return cls(**known)

    def to_openai(self) -> dict[str, Any]:
        """The definition in the form of OpenAI's ``tools``; what that has no place for is left out."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    @classmethod
    def from_openai(cls, tool: Mapping[str, Any], **more: Any) -> ActionDefinition:
        """A definition in the form of OpenAI's ``tools``: with ``function`` inside (chat) or without (responses).

        Args:
            more: what that form has no place for: ``returns``, ``when``, ``timeout``, ``cost``, ``cooldown``, ``who``.
                A tool ``returns`` a "result" unless told otherwise, as tools do there.

        Raises:
            ActionError: it is no function, or what `ActionDefinition` refuses.
        """
        data = cast("Mapping[str, Any]", tool if isinstance(cast(Any, tool), Mapping) else {})
        function = data.get("function", data)
        if not isinstance(function, Mapping) or not function or data.get("type", "function") != "function":
            raise ActionError(
                f"{tool!r}"[:80] + " is no function in the form of OpenAI's tools.",
                hint='Give {"type": "function", "function": {"name": ..., "parameters": {...}}}.',
                code="bad_action_schema",
            )
        fields = cast("Mapping[str, Any]", function)
        taken = {
            key: fields[key] for key in ("name", "description", "parameters") if fields.get(key) is not None
        }
        return cls.from_dict({"returns": "result", **taken, **more})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@overload
def action(function: Function, /) -> Function: ...
@overload
def action(
    *,
    name: str | None = None,
    description: str | None = None,
    returns: Returns | None = None,
    when: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    cost: Mapping[str, float] | None = None,
    cooldown: float = 0.0,
    who: Sequence[str] | None = None,
    pinned: bool = False,
) -> Callable[[Function], Function]: ...
def action(function: Any = None, /, **options: Any) -> Any:
    """Mark a function of the game as an action; it stays an ordinary function.

    The docstring's first paragraph describes it, type hints give the schema (``Literal``, ``Enum``, ``Annotated``
    bounds, defaults, pydantic models), and a function that returns something ``returns`` a result.
    """

    def mark(target: Function) -> Function:
        setattr(target, _ATTRIBUTE, define(target, **options))
        return target

    return mark if function is None else mark(function)


def definition_of(target: Callable[..., Any] | ActionDefinition | Mapping[str, Any]) -> ActionDefinition:
    """The definition of a function, marked with `action` or plain; or of plain data, ours or OpenAI's.

    Raises:
        ActionError: a parameter without a usable type, or of a kind that JSON cannot name (``*args``).
    """
    if isinstance(target, ActionDefinition):
        return target
    if isinstance(target, Mapping):
        data = cast("Mapping[str, Any]", target)
        openai = "function" in data or data.get("type") == "function"
        return ActionDefinition.from_openai(data) if openai else ActionDefinition.from_dict(data)
    marked = getattr(target, _ATTRIBUTE, None)
    return marked if isinstance(marked, ActionDefinition) else define(target)


def handler_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function to call with an action's arguments: it gets what its type hints say, not what JSON has for it.

    So an ``Enum`` arrives as its member and a model as an instance. Ids of targets arrive as the game gave them.
    """
    properties = cast("Mapping[str, Any]", definition_of(function).parameters.get("properties", {}))
    hints = get_type_hints(function, include_extras=True)
    return _typed(
        function,
        {name: hint for name, hint in hints.items() if name in properties and SOURCE not in properties[name]},
    )


def named_handler_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `handler_of`, of a function for an action that is defined elsewhere: anything that can be called will do.

    Raises:
        NameError: type hints that cannot be resolved.
    """
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except (TypeError, ValueError):
        return function  # of C's, without a signature
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    hinted = (one for one in parameters if one.kind in kinds and one.annotation is not one.empty)
    return _typed(function, {one.name: one.annotation for one in hinted})


def _typed(function: Callable[..., Any], hints: Mapping[str, Any]) -> Callable[..., Any]:
    """The function, called with what JSON has for its arguments; itself where that is what its hints say."""

    def plain(hint: Any) -> Any:
        return get_args(hint)[0] if get_origin(hint) is Annotated else hint

    wanted = {name: hint for name, hint in hints.items() if plain(hint) not in (str, int, bool, Any)}
    if not wanted:
        return function
    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # here: as in `_parameters`

    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, hint in wanted.items():
        with suppress(PydanticUserError, NameError):  # nothing that JSON could have: as it comes
            adapters[name] = TypeAdapter(hint)

    def typed(**arguments: Any) -> Any:
        for name in adapters.keys() & arguments.keys():
            # What its schema allows and its type does not, or a type that is not whole yet: as it came.
            with suppress(ValidationError, PydanticUserError):
                arguments[name] = adapters[name].validate_python(arguments[name])
        return function(**arguments)

    return typed if adapters else function


def define(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    returns: Returns | None = None,
    when: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    cost: Mapping[str, float] | None = None,
    cooldown: float = 0.0,
    who: Sequence[str] | None = None,
    pinned: bool = False,
) -> ActionDefinition:
    """Build a definition from a function's signature and docstring."""
    own_name = name or getattr(function, "__name__", "")
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ActionError(
            f"The type hints of action {own_name!r} cannot be resolved: {error}.",
            hint="Annotate with types that are importable where the function is defined.",
            code="bad_action_schema",
        ) from error
    if returns is None:
        returns = "nothing" if hints.get("return", type(None)) is type(None) else "result"
    documentation = inspect.getdoc(function) or ""
    return ActionDefinition(
        name=own_name,
        description=description
        if description is not None
        else documentation.split("\n\n")[0].replace("\n", " "),
        parameters=_parameters(function, own_name, hints, documentation),
        returns=returns,
        when=when,
        timeout=timeout,
        cost=cost or {},
        cooldown=cooldown,
        who=None if who is None else tuple(who),
        pinned=pinned,
    )


def _parameters(
    function: Callable[..., Any], action_name: str, hints: Mapping[str, Any], documentation: str
) -> dict[str, Any]:
    from pydantic import Field, create_model  # here: `import npcsdk` loads no dependency
    from pydantic.errors import PydanticUserError

    described = _argument_descriptions(documentation)
    fields: dict[str, Any] = {}
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        if not place and parameter.name in ("self", "cls") and parameter.name not in hints:
            continue  # a method marked where its class is written
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ActionError(
                f"Action {action_name!r} takes {parameter}, which a character cannot name.",
                hint="Give every parameter a name and a type.",
                code="bad_action_schema",
            )
        annotation = hints.get(parameter.name, str)
        default = ... if parameter.default is parameter.empty else parameter.default
        if parameter.name in described and not _has_description(annotation):
            annotation = Annotated[annotation, Field(description=described[parameter.name])]
        # Under an alias, because pydantic's own names ("copy", "json", "_x") cannot be those of fields.
        fields[f"p{len(fields)}"] = (Annotated[annotation, Field(alias=parameter.name)], default)
    try:
        model = create_model(f"{action_name}_arguments", **fields)
        schema = model.model_json_schema()
    except (PydanticUserError, TypeError, ValueError) as error:
        raise ActionError(
            f"The parameters of action {action_name!r} have no JSON Schema: {error}.",
            hint="Use str, int, float, bool, Literal, Enum, lists of these or pydantic models.",
            code="bad_action_schema",
        ) from error
    cleaned = cast("dict[str, Any]", _without_titles(schema))
    cleaned.setdefault("properties", {})
    return cleaned


def _has_description(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and any(
        getattr(extra, "description", None) for extra in get_args(annotation)[1:]
    )


def _without_titles(schema: Any) -> Any:
    # pydantic repeats every field's name as a title: tokens that tell a model nothing.
    if isinstance(schema, dict):
        mapping = cast("dict[str, Any]", schema)
        return {
            key: (
                {name: _without_titles(value) for name, value in cast("dict[str, Any]", item).items()}
                if key in ("properties", "$defs")
                else item
                if key in ("default", "const", "enum", "examples")  # values, not schemas
                else _without_titles(item)
            )
            for key, item in mapping.items()
            if key != "title"
        }
    if isinstance(schema, list):
        return [_without_titles(item) for item in cast("list[Any]", schema)]
    return schema


def _argument_descriptions(documentation: str) -> dict[str, str]:
    """Parameter descriptions from a Google-style ``Args:`` section."""
    found: dict[str, str] = {}
    inside = False
    last, margin = "", 0
    for line in documentation.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() in ("Args:", "Arguments:", "Parameters:"):
            inside = True
        elif inside and line and not indent:
            break
        elif inside and last and line.strip() and indent > margin:
            found[last] += " " + line.strip()
        elif inside and (match := re.match(r"\s+(\w+)(?:\s*\([^)]*\))?:\s*(.+)", line)):
            last, margin = match[1], indent
            found[last] = match[2].strip()
    return found
