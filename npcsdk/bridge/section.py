"""The part of a world that one of several workers answers for, under the names that the server's clients use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npcsdk.bridge.sessions import ConversationLike, ForgottenLike, NpcLike, WorldLike
from npcsdk.errors import WorldError

__all__ = ["Section"]


@dataclass(frozen=True, slots=True)
class _Listed:
    id: str
    name: str
    role: str
    voice: str | None


class Section:
    """A `WorldLike` in front of another.

    Args:
        prefix: comes before the ids of its characters and the names of its saved moments, as ``tavern/``.
        npcs: the characters that it answers for, where others of the world have a worker of their own.

    Raises:
        WorldError: one of ``npcs`` is not there (``npc_unknown``).
    """

    def __init__(self, world: WorldLike, prefix: str, npcs: Collection[str] | None) -> None:
        self._world = world
        self._prefix = prefix
        missing = [npc for npc in npcs or () if npc not in world.npcs]
        if missing:
            raise WorldError(
                f"The world {world.name!r} has no character {missing[0]!r}.",
                hint=f"There are: {', '.join(world.npcs)}.",
                code="npc_unknown",
            )
        self._npcs = {
            prefix + npc.id: _Listed(prefix + npc.id, npc.name, npc.role or "", npc.voice)
            for npc in world.npcs.values()
            if npcs is None or npc.id in npcs
        }

    @property
    def name(self) -> str:
        return self._world.name

    @property
    def npcs(self) -> Mapping[str, NpcLike]:
        return self._npcs

    def actions_with(self, definitions: Iterable[Any]) -> Sequence[Any]:
        return self._world.actions_with(definitions)

    def open(
        self,
        npc: str,
        *,
        player: str,
        conversation: str | None,
        actions: Callable[[], Sequence[Any]] | None = None,
    ) -> ConversationLike:
        return self._world.open(self._own(npc), player=player, conversation=conversation, actions=actions)

    def save(self, slot: str) -> None:
        self._world.save(self._slot(slot))

    def load(self, slot: str) -> None:
        self._world.load(self._slot(slot))

    def slots(self) -> list[str]:
        return self._world.slots()

    def delete_slot(self, slot: str) -> None:
        self._world.delete_slot(self._slot(slot))

    def export_slot(self, slot: str, file: Path) -> int:
        return self._world.export_slot(self._slot(slot), file)

    def import_slot(self, file: Path, slot: str | None) -> str:
        return self._prefix + self._world.import_slot(file, None if slot is None else self._slot(slot))

    def forget(self, player: str) -> ForgottenLike:
        return self._world.forget(player)

    def set_values(self, npc: str, values: Mapping[str, Any], *, player: str) -> None:
        self._world.set_values(self._own(npc), values, player=player)

    def values(self, npc: str, *, player: str) -> Mapping[str, float]:
        return self._world.values(self._own(npc), player=player)

    def remember(self, npc: str, text: str, **told: Any) -> None:
        self._world.remember(self._whom(npc), text, **told)

    def learn(self, npc: str, subject: str, attribute: str, value: str, **told: Any) -> None:
        self._world.learn(self._whom(npc), subject, attribute, value, **told)

    def close(self) -> None:
        self._world.close()

    def _own(self, npc: str) -> str:
        if npc not in self._npcs:
            raise WorldError(
                f"There is no character {npc!r} here.",
                hint=f"There are: {', '.join(self._npcs)}.",
                code="npc_unknown",
            )
        return npc.removeprefix(self._prefix)

    def _whom(self, npc: str) -> str:
        """A character, or what the world takes for several: a group, or everybody."""
        plain = npc.removeprefix(self._prefix)
        return self._own(npc) if plain in self._world.npcs else plain

    def _slot(self, slot: str) -> str:
        return slot.removeprefix(self._prefix)
