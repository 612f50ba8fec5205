"""The stand-in for a game in a terminal: its state, and its answers to actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from npcsdk.errors import WorldError

__all__ = ["STAND_IN", "with_state"]

STAND_IN = "done"
"""What a terminal answers to an action that waits for the game."""


def with_state(state: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """``state`` with ``KEY=VALUE`` assignments applied; numbers, true/false and ``a,b`` lists are recognised.

    Raises:
        WorldError: ``bad_state``, an assignment without a key or an equals sign.
    """
    changed = dict(state)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key.strip() or not equals:
            raise WorldError(
                f"{assignment!r} sets nothing.",
                hint="Write KEY=VALUE, for example trust=60 or nearby=iron gate,well.",
                code="bad_state",
            )
        changed[key.strip()] = _read(value.strip())
    return changed


def _read(text: str) -> Any:
    if "," in text:
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
