"""What the tests of memory share: a little lore, and short ways to write and to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from npcsdk.memory.recall import Experience, Memory


@dataclass(frozen=True)
class Lore:
    """A passage of lore as the loader would hand it over."""

    id: str
    text: str
    title: str = ""
    source: str = "lore/test.md:1"
    tags: frozenset[str] = frozenset({"common"})


LORE = (
    Lore("gate", "The northern gate is closed at dusk by the captain of the watch.", "The gate"),
    Lore("mine", "The silver mine flooded twelve years ago and nine miners drowned.", "The mine"),
    Lore("ale", "The tavern brews a dark ale with juniper berries.", "The tavern"),
    Lore("cult", "The cult meets below the mill at new moon.", "The cult", tags=frozenset({"cult"})),
)


def event(text: str, **fields: Any) -> Experience:
    """Something that the game says happened to mira and the player."""
    given: dict[str, Any] = {"npc": "mira", "interlocutor": "player", "kind": "event", "origin": "game"}
    return Experience(text=text, **{**given, **fields})


def texts(memory: Memory, query: str, **fields: Any) -> list[str]:
    """The texts that mira recalls for ``query`` in a talk with the player."""
    given: dict[str, Any] = {"npc": "mira", "interlocutor": "player", "tags": ()}
    return [passage.text for passage in memory.recall(query, **{**given, **fields})]
