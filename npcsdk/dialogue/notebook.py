"""Which turns between one npc and one player were heard in part.

It lies in the journal as transcripts under names of its own, so it follows the timeline when a save is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from npcsdk.memory.recall import Experience, Memory

__all__ = ["PRIVATE", "Notebook"]

PRIVATE = "\x01"
"""How names in the journal begin that are no conversation's."""


class Notebook:
    """The notes of ``npc`` about ``player``. Every method reads or writes the journal itself; nothing is held."""

    def __init__(self, memory: Memory, npc: str, player: str) -> None:
        self._memory = memory
        self._npc = npc
        self._player = player
        self._heard = f"{PRIVATE}heard/{npc}/{player}"

    def cut_short(self) -> frozenset[str]:
        """Turns whose memories are wrong as they were first written: they were heard in part only."""
        return frozenset(str(record["turn"]) for record in self._memory.history(self._heard))

    def cut(self, turn: str, heard: Sequence[Experience]) -> None:
        """Of ``turn`` only this was heard; what was remembered of it before counts no more."""
        self._memory.append_turn(self._heard, self._npc, self._player, {"turn": turn}, experiences=heard)
