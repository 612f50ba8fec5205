"""Who gets the tokens of a small window. Pure: sizes in, decisions out.

The order of priority: the system's core, the offered tools and the player's line are never dropped; then as many
passages as fit their share; then history, newest first; then the system's ornaments (examples, relations, ...),
which are decided once for a conversation, so that the stable part of the prompt stays byte-stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Shares", "first_turn", "fit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How a window of ``window`` tokens is divided; ``reply`` tokens are kept free for the answer."""

    window: int
    reply: int
    system: float = 0.5
    """The largest share of the window for system text and tools together; ornaments beyond it are dropped."""
    passages: float = 0.25
    """The largest share for this turn's passages."""
    low_water: float = 0.6
    """When history must be trimmed, it is trimmed to this share of its room, so that the cache is lost seldom."""
    high_water: float = 0.85
    """When history fills more than this share of its room, what stands for its oldest turns is made ready."""
    summary: float = 0.08
    """The largest share for what stands for the turns that history has lost."""

    @property
    def prompt(self) -> int:
        """Tokens that a prompt may have."""
        return self.window - self.reply


def fit(sizes: Sequence[int], room: int) -> list[bool]:
    """Which items fit into ``room`` tokens, taken in order of priority; a later, smaller one may fill a gap."""
    kept: list[bool] = []
    for size in sizes:
        fits = size <= room
        kept.append(fits)
        if fits:
            room -= size
    return kept


def first_turn(sizes: Sequence[int], start: int, room: int, low_water: float) -> int:
    """The first turn of a history to keep.

    While everything from ``start`` fits into ``room`` nothing changes. When it does not, old turns go until the rest
    fits into ``low_water * room``: one large step instead of a small one every turn.
    """
    total = sum(sizes[start:])
    if total <= room:
        return start
    while start < len(sizes) and total > room * low_water:
        total -= sizes[start]
        start += 1
    return start
