"""Who knows what: memory that belongs to a group or to the world, and what spreads by hearsay. Pure.

Nothing is copied when something is told on: a listener's recall looks at the speaker's memories, from the
moment at which word can have reached it. So hearsay follows saved games, and what is forgotten is forgotten
by everybody.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["WORLD", "Channel", "Group", "GroupLike", "Hearsay", "HearsayLike", "Knowledge", "group_owner"]

WORLD = "world:"
"""Stands for an npc in `Experience.npc` and the like: what everybody in the world knows of."""
_FAINT = 0.05  # word that is less certain than this is not passed on


def group_owner(group: str) -> str:
    """Stands for an npc in `Experience.npc` and the like: what every member of ``group`` knows."""
    return f"group:{group}"


class GroupLike(Protocol):
    """A faction, a household: its id and its members' ids."""

    @property
    def id(self) -> str: ...
    @property
    def members(self) -> Iterable[str]: ...


class HearsayLike(Protocol):
    """``speaker`` tells ``listener`` (an npc or a group each) what it lived through, ``delay`` game seconds later.

    ``certainty`` (0 to 1) is what is left of it, ``kinds`` are the kinds of records that are told, and
    ``importance`` the least that is worth telling.
    """

    @property
    def speaker(self) -> str: ...
    @property
    def listener(self) -> str: ...
    @property
    def delay(self) -> float: ...
    @property
    def certainty(self) -> float: ...
    @property
    def kinds(self) -> Iterable[str]: ...
    @property
    def importance(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """See `GroupLike`."""

    id: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearsay:
    """See `HearsayLike`."""

    speaker: str
    listener: str
    delay: float = 0.0
    certainty: float = 0.7
    kinds: tuple[str, ...] = ("event", "fact", "note")
    importance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One way in which an npc knows something: the memories of ``owner``, as they reach it.

    ``heard_from`` is empty for what it was there for, is a member of, or shares with the world.
    """

    owner: str
    heard_from: str = ""
    delay: float = 0.0
    certainty: float = 1.0
    kinds: frozenset[str] = frozenset()
    importance: float = 0.0


@dataclass(frozen=True, slots=True)
class _Word:
    """Word that is on its way to the npc that `Knowledge.channels` asks about."""

    delay: float = 0.0
    certainty: float = 1.0
    kinds: frozenset[str] | None = None
    importance: float = 0.0
    via: str = ""


@dataclass(frozen=True)
class Knowledge:
    """The rules of a world. `channels` says from where an npc knows what it knows."""

    groups: tuple[GroupLike, ...] = ()
    hearsay: tuple[HearsayLike, ...] = ()
    _known: dict[str, tuple[Channel, ...]] = field(
        default_factory=dict[str, "tuple[Channel, ...]"], init=False
    )

    def channels(self, npc: str) -> tuple[Channel, ...]:
        """Its own memory first, then its groups', the world's, and what it hears of.

        Word that comes on several ways comes on the quickest; of equally quick ones, on the most certain.
        """
        known = self._known.get(npc)
        if known is None:
            known = self._known[npc] = self._find(npc)
        return known

    def _find(self, npc: str) -> tuple[Channel, ...]:
        own = [npc, *(group_owner(group.id) for group in self.groups if npc in group.members), WORLD]
        found = [Channel(owner=owner) for owner in dict.fromkeys(own)]
        members = {group.id: tuple(group.members) for group in self.groups}
        told: dict[str, list[tuple[str, HearsayLike]]] = {}  # listener → who tells it, and by which rule
        for rule in self.hearsay:
            speakers = [*members.get(rule.speaker, (rule.speaker,))]
            if rule.speaker in members:
                speakers.append(group_owner(rule.speaker))
            for listener in members.get(rule.listener, (rule.listener,)):
                told.setdefault(listener, []).extend((speaker, rule) for speaker in speakers)
        order = 0
        ways = [(0.0, -1.0, order, npc, _Word())]
        reached: set[str] = set()
        while ways:
            _, _, _, listener, word = heapq.heappop(ways)
            if listener in reached:
                continue
            reached.add(listener)
            if listener not in own:
                found.append(
                    Channel(
                        owner=listener,
                        heard_from=word.via,
                        delay=word.delay,
                        certainty=word.certainty,
                        kinds=word.kinds or frozenset(),
                        importance=word.importance,
                    )
                )
            for speaker, rule in told.get(listener, ()):
                kinds = frozenset(rule.kinds)
                next_word = _Word(
                    delay=word.delay + rule.delay,
                    certainty=word.certainty * rule.certainty,
                    kinds=kinds if word.kinds is None else kinds & word.kinds,
                    importance=max(word.importance, rule.importance),
                    via=word.via or speaker.removeprefix("group:"),
                )
                if speaker not in reached and next_word.certainty >= _FAINT and next_word.kinds:
                    order += 1
                    heapq.heappush(ways, (next_word.delay, -next_word.certainty, order, speaker, next_word))
        return tuple(found)
