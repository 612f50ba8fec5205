"""When a character may do something again. Thread-safe; the clock is the caller's, in seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from npcsdk.actions.schema import ActionDefinition

__all__ = ["Cooldowns"]


class Cooldowns:
    """The cooldowns of a world's characters, over all their conversations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, str], float] = {}

    def used(self, npc: str, definition: ActionDefinition, now: float) -> None:
        """A character has done it."""
        if definition.cooldown:
            with self._lock:
                self._ready[npc, definition.name] = now + definition.cooldown

    def waiting(self, npc: str, definitions: Iterable[ActionDefinition], now: float) -> dict[str, str]:
        """The actions that this character may not use yet, and the reason in words."""
        found: dict[str, str] = {}
        with self._lock:
            for definition in definitions:
                left = self._ready.get((npc, definition.name), now) - now if definition.cooldown else 0.0
                if left > 0:
                    found[definition.name] = f"it was used a while ago, and again only in {left:.1f} seconds"
        return found
