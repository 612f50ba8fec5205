"""What may be forgotten: whose trace a record is, and which memories are of least use. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from npcsdk.memory.records import Record

__all__ = ["Forgotten", "Kept", "least_useful", "mentions", "tells_of"]

_HALF_LIFE = 30 * 86_400.0  # game seconds; memory for good fades more slowly than what comes to mind first
_RECENCY, _USE = 0.5, 0.3


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a person has left behind, and nobody has any more."""

    records: int
    """Of the journal: turns, what was experienced, facts, values, summaries."""
    slots: int
    """Saved moments that were named after the person."""
    conversations: int = 0
    """Open conversations with the person, which know nothing of it any more."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What decides whether a record is kept: see `npcsdk.memory.recall.Memory.trim`."""

    seq: int
    at: float
    importance: float
    uses: int
    pinned: bool
    reached: bool = True
    """Whether the present or a saved game sees it at all."""


def least_useful(kept: Sequence[Kept], keep: int) -> list[int]:
    """The positions to give up so that ``keep`` are left, ascending; pinned ones are never among them.

    Usefulness is importance, and a share each for recency in game time and for how often it was recalled. What was
    un-done, and no saved game remembers, is of none.
    """
    newest = max((each.at for each in kept), default=0.0)

    def usefulness(each: Kept) -> tuple[bool, float, int]:
        recency = 0.5 ** ((newest - each.at) / _HALF_LIFE)
        worth = each.importance + _RECENCY * recency + _USE * each.uses / (each.uses + 2.0)
        return each.reached, worth, each.seq

    loose = sorted((each for each in kept if not each.pinned), key=usefulness)
    return sorted(each.seq for each in loose[: max(len(kept) - max(keep, 0), 0)])


def tells_of(person: str) -> Callable[[Record], bool]:
    """Whether a record is a trace of ``person``: shared with them, or naming them as a word of its own."""
    named = mentions(person)

    def tells(record: Record) -> bool:
        if person and record.interlocutor == person:
            return True
        fields: Iterable[str] = (record.text, record.conversation, record.turn, record.place)
        if any(named(text) for text in fields):
            return True
        return record.data is not None and named(json.dumps(record.data, ensure_ascii=False))

    return tells


def mentions(person: str) -> Callable[[str], bool]:
    """Whether a text names ``person``, in upper or lower case, not as a part of a longer word."""
    if not person.strip():
        return lambda text: False
    pattern = re.compile(rf"(?<!\w){re.escape(person)}(?!\w)", re.IGNORECASE)
    return lambda text: pattern.search(text) is not None
