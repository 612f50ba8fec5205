"""Commands that protocol 1.1 has added: what a game's director asks for beside conversations' turns.

A request is answered by one `Done` or one `Problem` that carries its id; sent again with the same id, it is not carried
out again. `Typing` is not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from npcsdk.wire import fields as check
from npcsdk.wire.fields import declare

__all__ = [
    "DeleteSlot",
    "ExportSlot",
    "Forget",
    "Heard",
    "ImportSlot",
    "Learn",
    "Load",
    "Metrics",
    "Prepare",
    "Remember",
    "Request",
    "Save",
    "SetValues",
    "Slots",
    "State",
    "Subscribe",
    "Typing",
    "Values",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Of a turn the player heard only the first ``offset`` code points: that much was said."""

    command: ClassVar[str] = "heard"
    request: str = declare(check.identifier)
    conversation: str = declare(check.identifier)
    turn: str = declare(check.identifier)
    offset: int = declare(check.natural)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Warm the character of a conversation: compute what its next prompt begins with."""

    command: ClassVar[str] = "prepare"
    request: str = declare(check.identifier)
    conversation: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is so in the game now, without a line."""

    command: ClassVar[str] = "state"
    request: str = declare(check.identifier)
    conversation: str = declare(check.identifier)
    state: Mapping[str, Any] = declare(check.mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetValues:
    """Trust, mood and the like of an npc towards a player; kept, and part of their conversations' state."""

    command: ClassVar[str] = "set"
    request: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    player: str = declare(check.identifier, "player")
    values: Mapping[str, Any] = declare(check.mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Which values are set of an npc towards a player?"""

    command: ClassVar[str] = "values"
    request: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    player: str = declare(check.identifier, "player")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """A note of the game's: the npc (a group, or ``*`` for everybody) knows it from now on.

    ``at`` is game time, ``place`` where it happened.
    """

    command: ClassVar[str] = "remember"
    request: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    text: str = declare(check.text)
    player: str = declare(check.text, "")
    importance: float = declare(check.number, 0.5)
    at: float | None = declare(check.optional(check.number), None)
    place: str | None = declare(check.optional(check.text), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """Something is so from now on, whatever was so before. ``text`` says it in words; the rest is as in `Remember`."""

    command: ClassVar[str] = "learn"
    request: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    subject: str = declare(check.identifier)
    attribute: str = declare(check.identifier)
    value: str = declare(check.text)
    text: str = declare(check.text, "")
    player: str = declare(check.text, "")
    importance: float = declare(check.number, 0.5)
    at: float | None = declare(check.optional(check.number), None)
    place: str | None = declare(check.optional(check.text), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Name this moment of the world's memory."""

    command: ClassVar[str] = "save"
    request: str = declare(check.identifier)
    slot: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Go back to a saved moment: what happened after it is not remembered."""

    command: ClassVar[str] = "load"
    request: str = declare(check.identifier)
    slot: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Which moments are saved?"""

    command: ClassVar[str] = "slots"
    request: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSlot:
    """Forget a saved moment, and what nothing else remembers."""

    command: ClassVar[str] = "delete_slot"
    request: str = declare(check.identifier)
    slot: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSlot:
    """Write a saved moment into a file on the server's machine, to ship inside the game's own save."""

    command: ClassVar[str] = "export_slot"
    request: str = declare(check.identifier)
    slot: str = declare(check.identifier)
    file: str = declare(check.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSlot:
    """Take in such a file, under the name that it had or another."""

    command: ClassVar[str] = "import_slot"
    request: str = declare(check.identifier)
    file: str = declare(check.text)
    slot: str | None = declare(check.optional(check.identifier), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Erase every trace of a player."""

    command: ClassVar[str] = "forget"
    request: str = declare(check.identifier)
    player: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Overhear what is said with an npc in the conversations of others; ``on`` false ends it."""

    command: ClassVar[str] = "subscribe"
    request: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    on: bool = declare(check.flag, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How the server is doing, as numbers."""

    command: ClassVar[str] = "metrics"
    request: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """The beginnings of a line: recall and prefill may start. Not answered."""

    command: ClassVar[str] = "typing"
    conversation: str = declare(check.identifier)
    line: str = declare(check.text)


Request: TypeAlias = (
    Heard
    | Prepare
    | State
    | SetValues
    | Values
    | Remember
    | Learn
    | Save
    | Load
    | Slots
    | DeleteSlot
    | ExportSlot
    | ImportSlot
    | Forget
    | Subscribe
    | Metrics
)
"""A command that is answered by `Done` or by a `Problem` with its id."""
