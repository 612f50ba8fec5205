"""What callers hand to memory and get from it: experiences, facts, passages. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.records import FACT, VALUE, Entry

__all__ = ["Experience", "Fact", "Passage", "entry_of", "fact_entry", "timeline_of", "value_entries"]


@dataclass(frozen=True, slots=True)
class Passage:
    """Something recalled: its id, text, where it is from, how well it fits (about 1 is best) and why."""

    id: str
    text: str
    source: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One thing that ``npc`` experienced with ``interlocutor`` ("" for nobody in particular).

    ``npc`` may also be `group_owner(id)` for what a whole group lived through, or `WORLD` for everybody.

    ``at`` is game time in seconds, ``importance`` lies between 0 and 1. ``timeline``, where given, is
    `Memory.timeline` as it was when the experience began: should a saved game have been loaded since, the
    experience is refused.
    """

    npc: str
    interlocutor: str
    kind: Literal["turn", "event", "note"]
    text: str
    origin: Literal["player", "npc", "game"]
    turn: str = ""
    conversation: str = ""
    at: float = 0.0
    place: str = ""
    importance: float = 0.5
    timeline: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What the game says is so: ``attribute`` of ``subject`` is ``value``. It replaces what was known before.

    ``npc`` and ``interlocutor`` are as for an `Experience`. ``text`` is how a character is told; left out,
    a plain sentence. Only the game states facts: what a player claims is an experience of the claim.
    """

    npc: str
    subject: str
    attribute: str
    value: str
    interlocutor: str = ""
    text: str = ""
    at: float = 0.0
    place: str = ""
    importance: float = 0.5
    timeline: int | None = None


def fact_entry(fact: Fact) -> Entry:
    """The fact as it is written."""
    return Entry(
        npc=fact.npc,
        interlocutor=fact.interlocutor,
        kind=FACT,
        origin="game",
        text=fact.text or f"{fact.subject}: {fact.attribute} is {fact.value}.",
        at=fact.at,
        place=fact.place,
        importance=fact.importance,
        data={"subject": fact.subject, "attribute": fact.attribute, "value": fact.value},
    )


def value_entries(npc: str, interlocutor: str, values: Mapping[str, float], at: float) -> list[Entry]:
    """Numbers with names as they are written. Raises MemoryStoreError ``data_invalid`` for what is no number."""
    for name, value in values.items():
        given: Any = value
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            raise MemoryStoreError(
                f"The value {name!r} of {npc!r} is {value!r}, not a finite number.",
                hint="Values are numbers; keep other things as facts.",
                code="data_invalid",
            )
    if not values:
        return []
    return [Entry(npc=npc, interlocutor=interlocutor, kind=VALUE, origin="game", at=at, data=dict(values))]


def entry_of(experience: Experience) -> Entry:
    """The experience as it is written."""
    return Entry(
        npc=experience.npc,
        interlocutor=experience.interlocutor,
        kind=experience.kind,
        origin=experience.origin,
        text=experience.text,
        turn=experience.turn,
        conversation=experience.conversation,
        at=experience.at,
        place=experience.place,
        importance=experience.importance,
    )


def timeline_of(experiences: Sequence[Experience | Fact]) -> int | None:
    """The timeline that experiences name; the oldest, which is refused first, where they differ."""
    named = [experience.timeline for experience in experiences if experience.timeline is not None]
    return min(named, default=None)
