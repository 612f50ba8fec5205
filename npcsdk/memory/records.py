"""What the journal holds: entries, records, and their rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from npcsdk.errors import MemoryStoreError

__all__ = [
    "COLUMNS",
    "FACT",
    "INSERT",
    "SILENT",
    "SUMMARY",
    "TRANSCRIPT",
    "VALUE",
    "Entry",
    "Record",
    "check_text",
    "record_of",
    "recorded",
    "row_of",
]

TRANSCRIPT = "transcript"
"""The kind of a record that holds a whole turn for a conversation's history; it is never recalled."""
VALUE = "value"
"""The kind of a record that sets a number with a name: trust, mood. Never recalled; `values` reads it."""
SUMMARY = "summary"
"""The kind of a record that stands for a conversation's oldest turns. Never recalled; the prompt has it."""
FACT = "fact"
"""The kind of a record that says what an attribute of a subject is; the newest one is recalled."""
SILENT = frozenset({TRANSCRIPT, VALUE, SUMMARY})
"""The kinds that recall never finds: they have no vector and no words."""

COLUMNS = (
    "seq, timeline, npc, interlocutor, conversation, turn, kind, origin, game_time, real_time, place, "
    "importance, text, data"
)
INSERT = (
    "INSERT INTO records (timeline, npc, interlocutor, conversation, turn, kind, origin, "
    "game_time, real_time, place, importance, text, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be written. ``at`` is game time in seconds; ``data`` is JSON-able."""

    npc: str
    interlocutor: str
    kind: str
    origin: str
    text: str = ""
    conversation: str = ""
    turn: str = ""
    at: float = 0.0
    place: str = ""
    importance: float = 0.5
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Entry):
    """What was written: an entry with its position, its timeline and the wall clock at that moment."""

    seq: int = field(default=0)
    timeline: int = field(default=0)
    real_time: float = field(default=0.0)


def row_of(entry: Entry, now: float) -> tuple[Any, ...]:
    """The columns of ``entry`` after the timeline, for `INSERT`.

    Raises MemoryStoreError ``text_invalid`` or ``data_invalid``.
    """
    for name in ("npc", "interlocutor", "conversation", "turn", "kind", "origin", "place", "text"):
        check_text(name, getattr(entry, name))
    data = None
    if entry.data is not None:
        try:
            data = json.dumps(entry.data, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise MemoryStoreError(
                f"The data of a {entry.kind} of {entry.npc!r} cannot be stored: {error}.",
                hint="Use strings, finite numbers, booleans, None, lists and dicts with string keys.",
                code="data_invalid",
            ) from error
    for name, number in (("at", entry.at), ("importance", entry.importance)):
        if not (-1e300 < number < 1e300):  # also false for NaN, which SQLite would turn into NULL
            raise MemoryStoreError(
                f"`{name}` of a {entry.kind} of {entry.npc!r} is {number}, not a finite number.",
                hint="Give game time in seconds and importance between 0 and 1.",
                code="data_invalid",
            )
    return (
        entry.npc,
        entry.interlocutor,
        entry.conversation,
        entry.turn,
        entry.kind,
        entry.origin,
        float(entry.at),
        now,
        entry.place,
        float(entry.importance),
        entry.text,
        data,
    )


def check_text(name: str, text: str) -> None:
    """Refuses what cannot be stored and come back as it was: MemoryStoreError ``text_invalid``."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MemoryStoreError(
            f"`{name}` has half of a surrogate pair at offset {error.start}; it is not valid Unicode text.",
            hint="Decode the engine's UTF-16 strings whole before handing them over.",
            code="text_invalid",
        ) from error


def recorded(entry: Entry, *, seq: int, timeline: int, real_time: float) -> Record:
    """``entry`` as it was written."""
    return Record(
        seq=seq,
        timeline=timeline,
        real_time=real_time,
        npc=entry.npc,
        interlocutor=entry.interlocutor,
        kind=entry.kind,
        origin=entry.origin,
        text=entry.text,
        conversation=entry.conversation,
        turn=entry.turn,
        at=entry.at,
        place=entry.place,
        importance=entry.importance,
        data=entry.data,
    )


def record_of(row: tuple[Any, ...]) -> Record:
    """The record in a row of `COLUMNS`. Raises ValueError where its data is damaged."""
    return Record(
        seq=row[0],
        timeline=row[1],
        npc=row[2],
        interlocutor=row[3],
        conversation=row[4],
        turn=row[5],
        kind=row[6],
        origin=row[7],
        at=row[8],
        real_time=row[9],
        place=row[10],
        importance=row[11],
        text=row[12],
        data=None if row[13] is None else json.loads(row[13]),
    )
