"""Checks for the fields of a message: each takes a decoded value and returns it, or says what is wrong.

They look at values that came from outside, so nothing is assumed about a type, and a value is never converted
silently (except an integer where a real number is due).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from typing import Any, TypeAlias, cast

__all__ = [
    "Check",
    "Wrong",
    "action_id",
    "choice",
    "data",
    "declare",
    "flag",
    "identifier",
    "items",
    "mapping",
    "natural",
    "number",
    "numbering",
    "optional",
    "priority",
    "record",
    "seed",
    "text",
    "version",
]

Check: TypeAlias = Callable[[Any], Any]

MAX_DEPTH = 32
"""Nested lists and maps in the game's own data (state, arguments, results)."""

_INTEGERS = range(-(1 << 63), 1 << 64)
_IDENTIFIER_LENGTH = 128


def declare(checked: Check, default: Any = MISSING) -> Any:
    """A message's field with its check; ``default`` is a value, or a type to make one."""
    metadata = {"check": checked}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=cast("type[Any]", default), metadata=metadata)
    return field(default=default, metadata=metadata)


class Wrong(ValueError):
    """What is wrong with a field; the message decoder adds which one."""


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"is {_name(value)}, not text")
    return value


def identifier(value: Any) -> str:
    """An id made by a peer: 1 to 128 characters."""
    if not 1 <= len(text(value)) <= _IDENTIFIER_LENGTH:
        raise Wrong(f"has {len(value)} characters, not 1 to {_IDENTIFIER_LENGTH}")
    return value


def action_id(value: Any) -> str:
    """An id made by the server, which may carry a turn's id within: 1 to 256 characters."""
    if not 1 <= len(text(value)) <= 2 * _IDENTIFIER_LENGTH:
        raise Wrong(f"has {len(value)} characters, not 1 to {2 * _IDENTIFIER_LENGTH}")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"is {_name(value)}, not true or false")
    return value


def natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Wrong(f"is {_name(value)}, not an integer from 0")
    return value


def seed(value: Any) -> int:
    if natural(value) >= 1 << 63:
        raise Wrong("is not below 2**63")
    return value


def priority(value: Any) -> int:
    """Which of several turns goes first: -9 to 9."""
    if isinstance(value, bool) or not isinstance(value, int) or not -9 <= value <= 9:
        raise Wrong(f"is {value if isinstance(value, int) else _name(value)}, not an integer from -9 to 9")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Wrong(f"is {_name(value)}, not a finite number")
    return float(value)


def version(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(cast("list[Any]", value)) < 2:
        raise Wrong("is not [major, minor]")
    major, minor = cast("list[Any]", value)[:2]
    return natural(major), natural(minor)


def data(value: Any, depth: int = 0) -> Any:
    """The game's own data: null, booleans, 64-bit integers, finite numbers, text, lists, maps with text keys."""
    if depth > MAX_DEPTH:
        raise Wrong(f"is nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise Wrong("holds an integer of more than 64 bits")
        return value
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return [data(item, depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {text(key): data(item, depth + 1) for key, item in pairs}
    raise Wrong(f"holds {_name(value)}, which has no form on the wire")


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Wrong(f"is {_name(value)}, not a map")
    return data(value)


def numbering(value: Any) -> dict[str, int]:
    """A map from names to integers from 0."""
    return {name: natural(number) for name, number in mapping(value).items()}


def optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def choice(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed or not isinstance(value, str):
            raise Wrong(f"is not one of {', '.join(allowed)}")
        return value

    return check


def items(check: Check) -> Check:
    """A list, each item checked; it becomes a tuple, since messages are frozen."""

    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Wrong(f"is {_name(value)}, not a list")
        return tuple(check(item) for item in cast("list[Any]", value))

    return checked


def record(required: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """A map with known fields; those that are not known are left out, so that a newer peer can add some."""
    others = others or {}

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Wrong(f"is {_name(value)}, not a map")
        given = cast("Mapping[Any, Any]", value)
        clean: dict[str, Any] = {}
        for name, one in {**required, **others}.items():
            if name in given:
                try:
                    clean[name] = one(given[name])
                except Wrong as wrong:
                    raise Wrong(f"has a field {name!r} that {wrong}") from None
            elif name in required:
                raise Wrong(f"lacks the field {name!r}")
        return clean

    return check


def _name(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "text",
        bytes: "binary",
        list: "a list",
    }
    kind = cast("type[Any]", type(value))
    return names.get(kind, "a map" if isinstance(value, Mapping) else f"a {kind.__name__}")
