"""What makes an action's definition unusable, told when it is defined and not in the middle of a game. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from npcsdk.errors import ActionError

__all__ = ["SOURCE", "check_distinct", "name_problem", "named_targets", "schema_problem"]

SOURCE: Final = "x-from"
"""The keyword of a parameter whose values the game's state lists."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}\Z")
_CONTROL: Final = re.compile(
    r"(toolcalls?|tool_calls?|extra_id_\d+|python_tag|(start|end)_of_turn|(begin|end)_of_text|end_?of_?text"
    r"|(start|end)_header_id|e[om]t_id|eom_id|im_(start|end)|inst|bos|eos|pad|unk)\Z",
    re.IGNORECASE,
)
_LOOKS_AROUND: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?(?:<?[=!]|P=)|\\[1-9])")
_REFERENCE: Final = re.compile(r'"\$(?:ref|dynamicRef)": "((?:[^"\\]|\\.)*)"')


def name_problem(name: Any) -> str | None:
    """Why an action cannot have this name; the text is a hint."""
    if not isinstance(name, str) or not _NAME.match(name):
        return "Use letters, digits, '_', '-' and '.', at most 64, beginning with a letter."
    if _CONTROL.match(name):
        return "A model's own control tokens are called so; take another name."
    return None


def check_distinct(names: Iterable[str]) -> None:
    """Refuse names that models and players cannot tell apart.

    Raises:
        ActionError: ``names_differ_in_case``, with both names.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ActionError(
                f"The actions {other!r} and {name!r} differ in case only.",
                hint="Rename one of them: a model mixes them up, and a misspelled call could mean either.",
                code="names_differ_in_case",
            )


def schema_problem(parameters: Any) -> str | None:
    """What makes ``parameters`` unusable as the schema of an action's arguments."""
    if not isinstance(parameters, Mapping):
        return "not an object"
    schema = cast("Mapping[str, Any]", parameters)
    if not schema.get("properties") and schema.keys() <= {"type", "properties", "required"}:
        fine = schema.get("type", "object") == "object" and schema.get("properties", {}) == {}
        if fine and not schema.get("required"):
            return None  # nothing to check: spares games without arguments the checker's import
    from jsonschema import Draft202012Validator, FormatChecker  # here: `import npcsdk` loads no dependency
    from jsonschema.exceptions import SchemaError

    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair: no tokenizer and no wire can take it
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(["regex"]))
    except SchemaError as error:
        return error.message[:200]
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)[:200]
    if schema.get("type", "object") != "object":
        return f"its type is {schema['type']!r}"
    defined = cast("Mapping[str, Any]", schema.get("$defs", {}))
    for reference in _REFERENCE.findall(
        text
    ):  # nothing is fetched, and nothing can be missing when a call comes
        if reference == "#" or reference.startswith("#/properties"):
            return f"it is recursive: it refers to {reference!r}"
        if reference.removeprefix("#/$defs/") not in defined:
            return f"{reference!r} is not in its $defs"
    for name, one in cast("Mapping[str, Any]", schema.get("properties", {})).items():
        if not isinstance(one, Mapping):
            return f"{name!r} is {one!r}: say what type it has"
    closed = {**schema, "additionalProperties": False}  # as a character is held to it
    for one in _within({**closed, "$defs": defined}):
        if problem := _contradiction(one):
            return problem
    if any(f'"{SOURCE}":' in json.dumps(one) for one in (_inside(schema), defined)):
        return f"only a parameter, or the items of its list, can have {SOURCE!r}, and nothing inside of them"
    circle = _circle(defined)
    return f"it is recursive: {' → '.join(circle)}" if circle else None


def _within(schema: Any) -> Iterator[Mapping[str, Any]]:
    """A schema and the schemas in it."""
    left = [schema]
    while left:
        one = left.pop()
        if not isinstance(one, Mapping):
            continue
        fields = cast("Mapping[str, Any]", one)
        yield fields
        for key in ("properties", "$defs"):
            left += cast("Mapping[str, Any]", fields.get(key, {})).values()
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            left += cast("list[Any]", fields.get(key, []))
        left.append(fields.get("items"))


def _contradiction(schema: Mapping[str, Any]) -> str | None:
    """Why nothing can satisfy a schema, or no grammar can hold a model to it: then every turn would end in an error."""
    for kind in ("imum", "Length", "Items"):
        low, high = schema.get(f"min{kind}"), schema.get(f"max{kind}")
        if low is not None and high is not None and low > high:
            return f"nothing has min{kind} {low!r} and max{kind} {high!r}"
    values, kinds = schema.get("enum"), schema.get("type")
    if values is not None and not any(_is_of(value, kinds) for value in cast("list[Any]", values)):
        return f"no value of its enum {values!r:.80} is of the type {kinds!r}"
    if schema.get("additionalProperties") is False:
        unknown = set(cast("list[str]", schema.get("required", []))) - schema.get("properties", {}).keys()
        if unknown:
            return f"it requires {', '.join(sorted(unknown))}, which it does not describe"
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and _LOOKS_AROUND.search(pattern):
        return f"the pattern {pattern!r:.80} looks around or back, which no grammar can"
    return None


def _is_of(value: Any, kinds: Any) -> bool:
    from jsonschema import Draft202012Validator

    return kinds is None or bool(Draft202012Validator({"type": kinds}).is_valid(value))  # pyright: ignore[reportUnknownMemberType]


def _inside(schema: Mapping[str, Any]) -> list[Any]:
    """The parameters' schemas without what says where their own values come from."""
    found: list[Any] = []
    for one in cast("Mapping[str, Any]", schema.get("properties", {})).values():
        rest = _without_source(one)
        found.append(rest | {"items": _without_source(rest["items"])} if "items" in rest else rest)
    return found


def _without_source(schema: Any) -> dict[str, Any]:
    fields = cast("Mapping[str, Any]", schema if isinstance(schema, Mapping) else {})
    return {key: value for key, value in fields.items() if key != SOURCE}


def named_targets(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with text for all that the game's state lists: a model says names, whatever type the ids have.

    A list whose items come from the state comes from the state.
    """
    properties = cast("Mapping[str, Any]", parameters.get("properties", {}))
    made = {name: _named(schema) for name, schema in properties.items()}
    return parameters if made == properties else {**parameters, "properties": made}


def _named(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    fields = dict(cast("Mapping[str, Any]", schema))
    items = fields.get("items")
    if fields.get("type") == "array" and isinstance(items, Mapping):
        inner = cast("Mapping[str, Any]", items)
        source = fields.get(SOURCE, inner.get(SOURCE))
        return {**fields, "items": {"type": "string"}, SOURCE: source} if source else fields
    if not fields.get(SOURCE) or fields.get("type") in ("string", "array"):
        return fields
    kept = {key: fields[key] for key in ("description", "default") if key in fields}
    return {"type": "string", **kept, SOURCE: fields[SOURCE]}


def _circle(defined: Mapping[str, Any]) -> list[str]:
    """Definitions that lead back to the first of them, if any do: a model could go round for ever."""
    leads = {
        name: [
            reference.removeprefix("#/$defs/")
            for reference in _REFERENCE.findall(json.dumps(one, ensure_ascii=False))
        ]
        for name, one in defined.items()
    }
    done: set[str] = set()
    for first in leads:
        path: list[str] = []
        left = [iter([first])]
        while left:
            name = next(left[-1], None)
            if name is None:
                left.pop()
                done.update(path[-1:])
                del path[-1:]
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                left.append(iter(leads.get(name, ())))
    return []
