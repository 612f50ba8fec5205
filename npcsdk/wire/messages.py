"""Every message of the protocol, one frozen value each, with what its fields may hold.

A message is one msgpack map. What a client sends carries its kind under ``command``, what a server sends under
``event``; the other keys are the fields of the value. Fields that are None are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from npcsdk.events import Event
from npcsdk.wire import fields as check
from npcsdk.wire.fields import declare
from npcsdk.wire.requests import (
    DeleteSlot,
    ExportSlot,
    Forget,
    Heard,
    ImportSlot,
    Learn,
    Load,
    Metrics,
    Prepare,
    Remember,
    Request,
    Save,
    SetValues,
    Slots,
    State,
    Subscribe,
    Typing,
    Values,
)
from npcsdk.wire.version import PROTOCOL

__all__ = [
    "COMMANDS",
    "EVENTS",
    "SINCE",
    "Cancel",
    "Close",
    "Closed",
    "Command",
    "DeleteSlot",
    "Done",
    "ExportSlot",
    "Forget",
    "Goodbye",
    "Heard",
    "Hello",
    "ImportSlot",
    "Learn",
    "Leave",
    "Load",
    "Loading",
    "Message",
    "Metrics",
    "NpcInfo",
    "Open",
    "Opened",
    "Overheard",
    "Ping",
    "Pong",
    "Prepare",
    "Problem",
    "React",
    "Ready",
    "Remember",
    "Request",
    "Reset",
    "Result",
    "Save",
    "Say",
    "ServerEvent",
    "SetValues",
    "Slots",
    "State",
    "Subscribe",
    "TurnEvent",
    "Typing",
    "Values",
    "Welcome",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of a connection, and again after a reconnection.

    ``client`` names the client's session; whoever knows it is that client, so it is long and random.
    ``actions`` are the actions that the game registers, each ``{name, description, parameters, returns, when,
    timeout}``. After a reconnection ``epoch`` is the last welcome's and ``seen`` has, for each open conversation,
    the sequence number of the last event that arrived.
    """

    command: ClassVar[str] = "hello"
    client: str = declare(check.identifier)
    protocol: tuple[int, int] = declare(check.version, PROTOCOL)
    sdk: str = declare(check.text, "")
    features: tuple[str, ...] = declare(check.items(check.text), ())
    actions: tuple[Mapping[str, Any], ...] = declare(check.items(check.mapping), ())
    epoch: str | None = declare(check.optional(check.identifier), None)
    seen: Mapping[str, int] = declare(check.numbering, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Begin a conversation under an id of the client's; ``history`` continues an earlier one by its name."""

    command: ClassVar[str] = "open"
    conversation: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    player: str = declare(check.identifier, "player")
    history: str | None = declare(check.optional(check.identifier), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """End a conversation; its running turn is cancelled, its history and the npc's memory stay."""

    command: ClassVar[str] = "close"
    conversation: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """The player speaks. ``turn`` is an id of the client's: sent again, it is the same turn."""

    command: ClassVar[str] = "say"
    conversation: str = declare(check.identifier)
    turn: str = declare(check.identifier)
    line: str = declare(check.text)
    state: Mapping[str, Any] = declare(check.mapping, dict)
    seed: int | None = declare(check.optional(check.seed), None)
    priority: int | None = declare(check.optional(check.priority), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class React:
    """Something happened in the game that the character may remark on."""

    command: ClassVar[str] = "react"
    conversation: str = declare(check.identifier)
    turn: str = declare(check.identifier)
    happening: str = declare(check.text)
    state: Mapping[str, Any] = declare(check.mapping, dict)
    seed: int | None = declare(check.optional(check.seed), None)
    priority: int | None = declare(check.optional(check.priority), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop a turn; it still ends with ``end`` (reason ``cancelled``).

    ``actions`` are the ids of the turn's actions that the game has been given; the server takes back the others.
    """

    command: ClassVar[str] = "cancel"
    conversation: str = declare(check.identifier)
    turn: str = declare(check.identifier)
    actions: tuple[str, ...] | None = declare(check.optional(check.items(check.action_id)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an action: ``done`` with a value, or ``failed`` with the reason as its value."""

    command: ClassVar[str] = "result"
    conversation: str = declare(check.identifier)
    turn: str = declare(check.identifier)
    action: str = declare(check.action_id)
    status: Literal["done", "failed"] = declare(check.choice("done", "failed"), "done")
    value: Any = field(default=None, metadata={"check": check.data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? Answered at once with ``pong`` and the same nonce."""

    command: ClassVar[str] = "ping"
    nonce: int = declare(check.natural, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The client goes: turns are cancelled, conversations closed."""

    command: ClassVar[str] = "goodbye"


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to ``hello``, at once, even while the world is still loading.

    ``epoch`` changes whenever the server has lost its conversations. ``limits``: ``message_bytes``,
    ``conversations`` (open at once for a client), ``silence_s`` (a client that says nothing for so long is gone).
    """

    event: ClassVar[str] = "welcome"
    epoch: str = declare(check.identifier)
    protocol: tuple[int, int] = declare(check.version, PROTOCOL)
    sdk: str = declare(check.text, "")
    features: tuple[str, ...] = declare(check.items(check.text), ())
    limits: Mapping[str, Any] = declare(check.mapping, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """The world is not ready yet: what is being done, and how far it is (0 to 1) where that is known."""

    event: ClassVar[str] = "loading"
    stage: str = declare(check.text)
    progress: float | None = declare(check.optional(check.number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcInfo:
    """A character of the world; ``voice`` is for the game's own use."""

    id: str
    name: str
    role: str = ""
    voice: str | None = None


def _npcs(value: Any) -> tuple[NpcInfo, ...]:
    one = check.record(
        {"id": check.identifier, "name": check.text},
        {"role": check.text, "voice": check.optional(check.text)},
    )
    return tuple(NpcInfo(**item) for item in check.items(one)(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The world is loaded: its name and its characters. Comes once after each ``welcome``."""

    event: ClassVar[str] = "ready"
    world: str = declare(check.text)
    npcs: tuple[NpcInfo, ...] = declare(_npcs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The conversation is there; ``history`` is the name under which it can be continued later."""

    event: ClassVar[str] = "opened"
    conversation: str = declare(check.identifier)
    npc: str = declare(check.identifier)
    player: str = declare(check.identifier)
    history: str = declare(check.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The conversation is closed."""

    event: ClassVar[str] = "closed"
    conversation: str = declare(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A command could not be carried out.

    ``request`` names the request that it answers, ``retry_ms`` (code ``busy``) how long to wait before asking again.
    ``turn`` names the turn that ends by it (or never began); ``conversation`` alone, a conversation that could not
    be opened or is lost. ``kind`` is the family of the error, ``answers`` the kind of the command.
    """

    event: ClassVar[str] = "error"
    code: str = declare(check.text)
    message: str = declare(check.text)
    hint: str = declare(check.text, "")
    kind: str = declare(check.text, "error")
    answers: str | None = declare(check.optional(check.text), None)
    conversation: str | None = declare(check.optional(check.identifier), None)
    turn: str | None = declare(check.optional(check.identifier), None)
    request: str | None = declare(check.optional(check.identifier), None)
    retry_ms: int | None = declare(check.optional(check.natural), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A request was carried out; ``value`` is what it asked for."""

    event: ClassVar[str] = "done"
    request: str = declare(check.identifier)
    answers: str = declare(check.text)
    value: Mapping[str, Any] = declare(check.mapping, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheard:
    """Something in the conversation of others: ``content`` is what was said to the npc, or an event of its turn."""

    event: ClassVar[str] = "overheard"
    npc: str = declare(check.identifier)
    player: str = declare(check.text)
    history: str = declare(check.text)
    turn: str = declare(check.identifier)
    content: Mapping[str, Any] = declare(check.mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Here. The nonce is the ping's."""

    event: ClassVar[str] = "pong"
    nonce: int = declare(check.natural, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The server has lost its conversations (its worker died): every open turn ends with this error."""

    event: ClassVar[str] = "reset"
    code: str = declare(check.text)
    message: str = declare(check.text)
    hint: str = declare(check.text, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The server ends the connection, and why: another version, a world that does not load, a shutdown."""

    event: ClassVar[str] = "goodbye"
    code: str = declare(check.text)
    message: str = declare(check.text)
    hint: str = declare(check.text, "")
    kind: str = declare(check.text, "bridge_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEvent:
    """An event of a turn: the fields of `npcsdk.events`, and where they belong.

    ``seq`` counts the events of a conversation from 1, so that a client sees what it missed or has already had.
    Texts that a slow reader did not take in time travel as one: then ``first`` is the number of the first of them.
    """

    conversation: str
    turn: str
    seq: int
    event: Event
    first: int | None = None


Command: TypeAlias = Hello | Open | Close | Say | React | Cancel | Result | Typing | Ping | Leave | Request
ServerEvent: TypeAlias = (
    Welcome
    | Loading
    | Ready
    | Opened
    | Closed
    | Problem
    | Done
    | Overheard
    | Pong
    | Reset
    | Goodbye
    | TurnEvent
)
Message: TypeAlias = Command | ServerEvent

COMMANDS: dict[str, type[Command]] = {kind.command: kind for kind in get_args(Command)}
"""What a client may send, by kind."""

EVENTS: dict[str, type[ServerEvent]] = {
    kind.event: kind for kind in get_args(ServerEvent) if kind is not TurnEvent
}
"""What a server may send, by kind, besides the events of a turn."""

SINCE: dict[str, tuple[int, int]] = dict.fromkeys(
    (*(one.command for one in get_args(Request)), Typing.command, Done.event, Overheard.event), (1, 1)
)
"""The protocol version in which a kind of message was added; those not named are as old as the protocol."""
