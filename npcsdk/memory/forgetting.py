"""What may be forgotten: whose trace a record is, and which memories are of least use. Pure."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from npcsdk.memory.records import Record

__all__ = ["Forgotten", "Kept", "Search", "least_useful", "mentions", "tells_of"]

_LONG = 1_000  # characters of a name
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


class Search:
    """`tells_of` for many records at a time, without looking at each: a tenth of the time.

    `separator` is what stands between the texts of a record, and is no part of the person's name.
    """

    def __init__(self, person: str) -> None:
        self._pattern = _naming(person)
        self._plain = person.lower() if person.isascii() else None
        self.like: str | None = None
        """For SQLite's LIKE with the escape ``!``: it misses none in texts of ASCII. None for other names."""
        if person.isascii() and person.isprintable() and len(person) < _LONG:
            self.like = "%" + re.sub(r"([!%_])", r"!\1", person) + "%"
        self.separator = next((mark for mark in map(chr, range(32)) if mark not in person), "\0")

    def among(self, rows: Sequence[tuple[int, int, str, str | None]]) -> list[int]:
        """Of rows (position, whether shared with the person, the texts, the data as JSON) the positions of traces."""
        found = [row[0] for row in rows if row[1]]
        if self._pattern is None or not rows:
            return found
        mark = self.separator
        texts = [
            mark + text if data is None else mark + text + mark + _plain(data) for _, _, text, data in rows
        ]
        ends = list(accumulate(map(len, texts)))
        hits = {bisect_right(ends, start) for start in self._starts("".join(texts), self._pattern)}
        return sorted({*found, *(rows[hit][0] for hit in hits)})

    def _starts(self, text: str, pattern: re.Pattern[str]) -> Iterator[int]:
        if self._plain is None or not text.isascii():
            yield from (hit.start() for hit in pattern.finditer(text))
            return
        # The same for ASCII, where upper and lower case are nothing but that; ten times faster.
        lower, at = text.lower(), -1
        while (at := lower.find(self._plain, at + 1)) >= 0:
            if pattern.match(text, at):
                yield at


def mentions(person: str) -> Callable[[str], bool]:
    """Whether a text names ``person``, in upper or lower case, not as a part of a longer word."""
    pattern = _naming(person)
    return (lambda text: False) if pattern is None else (lambda text: pattern.search(text) is not None)


def _naming(person: str) -> re.Pattern[str] | None:
    if not person.strip():
        return None
    name = re.escape(person)
    # What stands before it is looked at last: twice as fast as first.
    return re.compile(rf"{name}(?!\w)(?<!\w{name})", re.IGNORECASE)


def _plain(data: str) -> str:
    """Data as `tells_of` looks at it: letters as they are, not as JSON escapes them."""
    return json.dumps(json.loads(data), ensure_ascii=False) if "\\" in data else data
