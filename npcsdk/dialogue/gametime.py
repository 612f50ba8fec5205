"""What time it is in the game, as far as the game has said it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from time import time
from typing import Any, cast

__all__ = ["GameTime"]

_USUAL = ("game_time", "time")


class GameTime:
    """One for a world. Safe to use from any thread.

    Args:
        name: of the state's number that is the game's time in seconds, dots for nested ones; None for the usual.
        initial: the state with which the world begins.
    """

    def __init__(self, name: str | None = None, initial: Mapping[str, Any] | None = None) -> None:
        self._names = (name,) if name else _USUAL
        self._latest = self._read(initial or {})

    def now(self, state: Mapping[str, Any]) -> float | None:
        """The game's time; the latest that was told, where ``state`` does not tell it; None if none ever did."""
        told = self._read(state)
        if told is not None:
            self._latest = told  # also when it is earlier: a game may jump
        return self._latest

    def at(self, state: Mapping[str, Any] | None = None) -> float:
        """When what happens now happens: in game time, or by the wall clock in a game that tells no time."""
        told = self.now(state or {})
        return time() if told is None else told

    def _read(self, state: Mapping[str, Any]) -> float | None:
        for name in self._names:
            value = state.get(name)
            if value is None and "." in name:
                value = _nested(state, name.split("."))
            if isinstance(value, int | float) and not isinstance(value, bool):
                with suppress(OverflowError):  # a whole number beyond all time
                    if math.isfinite(value):
                        return float(value)
        return None


def _nested(state: Mapping[str, Any], path: list[str]) -> Any:
    value: Any = state
    for name in path:
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value
