"""From what pydantic says about a value to what a designer reads about a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError

from npcsdk.persona.diagnostics import did_you_mean
from npcsdk.persona.schema import (
    ActionEntry,
    GroupEntry,
    HearsayEntry,
    LoreHeader,
    ParameterEntry,
    Persona,
    SamplingEntry,
    Secret,
    WorldFile,
)
from npcsdk.persona.source import Path, Source

__all__ = ["keys_of", "validate"]

_Model = TypeVar("_Model", bound=BaseModel)

_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "`key: value` lines",
    "model_type": "`key: value` lines",
    "model_attributes_type": "`key: value` lines",
}
_LIMITS: Final = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_long": "is longer than {max_length} characters",
    "finite_number": "must be a number with an end",
}


def validate(model: type[_Model], source: Source, **given: Any) -> _Model | None:
    """The source's value as ``model``, or None and a diagnostic in ``source`` for every mistake.

    ``given`` are values that the file may leave out.
    """
    if not source.readable:
        return None
    value: Any = source.value
    if not isinstance(value, dict):
        source.report("NPC011", source.value_at(()))
        return None
    value = given | cast("dict[str, Any]", value)
    silent = set(source.broken)
    for path in _empty_values(value, ()):
        if not _is_under(path, silent):
            source.report("NPC034", source.key_at(path), label=_label(path))
            silent.add(path)
    try:
        result = model.model_validate(value)
    except ValidationError as invalid:
        errors = [cast("dict[str, Any]", error) for error in invalid.errors(include_url=False)]
        # A key that is spelled wrongly is unknown and missing; one mistake is enough to say so.
        silent |= {path for error in errors for path in _meant(model, error)}
        for error in errors:
            _report(model, source, error, silent)
        return None
    return None if silent else result


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model, as they are spelled in a file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _meant(model: type[BaseModel], error: dict[str, Any]) -> Iterator[Path]:
    if error["type"] == "extra_forbidden":
        path = cast("Path", error["loc"])
        near = did_you_mean(str(path[-1]), _owner(model, path[:-1])[1])
        if near:
            yield (*path[:-1], near.split("`")[1])


def _empty_values(value: Any, path: Path) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _empty_values(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _empty_values(inner, (*path, index))


def _is_under(path: Path, silent: set[Path]) -> bool:
    return any(path[:length] in silent for length in range(len(path) + 1))


def _report(model: type[BaseModel], source: Source, error: dict[str, Any], silent: set[Path]) -> None:
    kind = cast("str", error["type"])
    loc = cast("Path", error["loc"])
    context = cast("dict[str, Any]", error.get("ctx", {}))
    if kind == "missing":
        _report_missing(model, source, loc, silent)
        return
    bad_key = loc[-1:] == ("[key]",)
    path = _known_part(source, loc[:-1] if bad_key else loc)
    if _is_under(path, silent):
        return
    if bad_key:
        source.report("NPC035", source.key_at(path), text=path[-1])
        return
    in_union = len(path) < len(loc) and kind in _WANTED
    if in_union:
        # A choice of kinds gives an error for each kind; designers need one.
        silent.add(path)
    label = _label(path)
    found = error["input"]
    where = source.key_at(path) if _found(found) in _NESTED else source.value_at(path)
    if kind == "extra_forbidden":
        owner, known = _owner(model, path[:-1])
        key = str(path[-1])
        near = did_you_mean(key, known)
        source.report("NPC030", source.key_at(path), key=key, owner=owner, known=", ".join(known), hint=near)
    elif kind in _WANTED:
        wanted = "text, a number, true or false" if in_union else _WANTED[kind]
        source.report(
            "NPC032", where, label=label, wanted=wanted, found=_found(found), hint=_type_hint(kind, found)
        )
    elif kind in ("string_too_short", "too_short"):
        source.report("NPC034", where, label=label)
    elif kind in _LIMITS:
        source.report("NPC033", where, label=label, problem=_LIMITS[kind].format(**context))
    elif kind == "literal_error":
        expected = str(context["expected"]).replace("'", "`")
        near = did_you_mean(
            str(found), [word.strip("`") for word in expected.replace(" or ", ", ").split(", ")]
        )
        source.report("NPC033", where, label=label, problem=f"must be {expected}", hint=near or "")
    elif kind == "string_pattern_mismatch" and path[-1] == "from":
        source.report(
            "NPC033",
            where,
            label=label,
            problem="must name a value of the state",
            hint="Such as `state.nearby`.",
        )
    elif kind in ("string_pattern_mismatch", "identifier"):
        source.report("NPC035", where, text=found)
    elif kind == "condition":
        where = source.inside(path, int(context["offset"]), int(context["length"]))
        source.report("NPC041", where, problem=context["problem"])
    elif kind == "contradiction":
        parts = tuple(int(part) if part.isdigit() else part for part in str(context["key"]).split("."))
        source.report("NPC042", source.value_at((*path, *parts)), problem=context["problem"])
    else:
        source.report("NPC033", where, label=label, problem=str(error["msg"]))


def _report_missing(model: type[BaseModel], source: Source, loc: Path, silent: set[Path]) -> None:
    path, key = loc[:-1], loc[-1]
    if _is_under(loc, silent):
        return
    owner, _ = _owner(model, path)
    source.report("NPC031", source.value_at(path), key=key, owner=owner)


def _known_part(source: Source, loc: Path) -> Path:
    for length in range(len(loc), 0, -1):
        if loc[:length] in source.values or loc[:length] in source.keys:
            return loc[:length]
    return ()


def _label(path: Path) -> str:
    if not path:
        return "this"
    last = path[-1]
    if isinstance(last, int):
        return f"entry {last + 1} of {_label(path[:-1])}"
    return f"`{last}`"


def _owner(model: type[BaseModel], path: Path) -> tuple[str, list[str]]:
    """What the mapping at ``path`` is called, and its keys."""
    tops: dict[type[BaseModel], str] = {
        Persona: "a persona",
        WorldFile: "world.yaml",
        LoreHeader: "a lore file",
    }
    match path:
        case ():
            return tops.get(model, "this"), keys_of(model)
        case ("sampling",):
            return "`sampling`", keys_of(SamplingEntry)
        case ("secrets", _):
            return "a secret", keys_of(Secret)
        case ("actions", _):
            return "an action", keys_of(ActionEntry)
        case ("groups", _):
            return "a group", keys_of(GroupEntry)
        case ("hearsay", _):
            return "a rule of hearsay", keys_of(HearsayEntry)
        case ("actions", _, "parameters", _):
            return "a parameter", keys_of(ParameterEntry)
        case _:
            return "this", []


_NESTED: Final = ("a list", "`key: value` lines")


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false" if value not in (True, False) else str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "`key: value` lines"


def _type_hint(kind: str, found: Any) -> str:
    if kind == "string_type":
        if isinstance(found, dict):
            return "Put a text that has a colon in quotes."
        if isinstance(found, list):
            return "Put a text that begins with a bracket in quotes; one text is enough here."
        return "Put it in quotes."
    if kind == "tuple_type":
        return "Write each entry on a line of its own that begins with `- `."
    if kind in ("int_type", "float_type", "bool_type") and isinstance(found, str):
        return "Write it without quotes." if found else ""
    return ""
