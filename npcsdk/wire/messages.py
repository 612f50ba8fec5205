"""Every message of the protocol, one frozen value each, with what its fields may hold.

A message is one msgpack map. What a client sends carries its kind under ``command``, what a server sends under
``event``; the other keys are the fields of the value. Fields that are None are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, cast

from npcsdk.events import Event
from npcsdk.wire import fields as check
from npcsdk.wire.version import PROTOCOL

__all__ = [
    "COMMANDS",
    "EVENTS",
    "Cancel",
    "Close",
    "Closed",
    "Command",
    "Goodbye",
    "Hello",
    "Leave",
    "Loading",
    "Message",
    "NpcInfo",
    "Open",
    "Opened",
    "Ping",
    "Pong",
    "Problem",
    "React",
    "Ready",
    "Reset",
    "Result",
    "Say",
    "ServerEvent",
    "TurnEvent",
    "Welcome",
]


def _field(checked: check.Check, default: Any = MISSING) -> Any:
    metadata = {"check": checked}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=cast("type[Any]", default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of a connection, and again after a reconnection.

    ``client`` names the client's session; whoever knows it is that client, so it is long and random.
    ``actions`` are the actions that the game registers, each ``{name, description, parameters, returns, when,
    timeout}``. After a reconnection ``epoch`` is the last welcome's and ``seen`` has, for each open conversation,
    the sequence number of the last event that arrived.
    """

    command: ClassVar[str] = "hello"
    client: str = _field(check.identifier)
    protocol: tuple[int, int] = _field(check.version, PROTOCOL)
    sdk: str = _field(check.text, "")
    features: tuple[str, ...] = _field(check.items(check.text), ())
    actions: tuple[Mapping[str, Any], ...] = _field(check.items(check.mapping), ())
    epoch: str | None = _field(check.optional(check.identifier), None)
    seen: Mapping[str, int] = _field(check.numbering, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Begin a conversation under an id of the client's; ``history`` continues an earlier one by its name."""

    command: ClassVar[str] = "open"
    conversation: str = _field(check.identifier)
    npc: str = _field(check.identifier)
    player: str = _field(check.identifier, "player")
    history: str | None = _field(check.optional(check.identifier), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """End a conversation; its running turn is cancelled, its history and the npc's memory stay."""

    command: ClassVar[str] = "close"
    conversation: str = _field(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """The player speaks. ``turn`` is an id of the client's: sent again, it is the same turn."""

    command: ClassVar[str] = "say"
    conversation: str = _field(check.identifier)
    turn: str = _field(check.identifier)
    line: str = _field(check.text)
    state: Mapping[str, Any] = _field(check.mapping, dict)
    seed: int | None = _field(check.optional(check.seed), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class React:
    """Something happened in the game that the character may remark on."""

    command: ClassVar[str] = "react"
    conversation: str = _field(check.identifier)
    turn: str = _field(check.identifier)
    happening: str = _field(check.text)
    state: Mapping[str, Any] = _field(check.mapping, dict)
    seed: int | None = _field(check.optional(check.seed), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop a turn; it still ends with ``end`` (reason ``cancelled``)."""

    command: ClassVar[str] = "cancel"
    conversation: str = _field(check.identifier)
    turn: str = _field(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an action: ``done`` with a value, or ``failed`` with the reason as its value."""

    command: ClassVar[str] = "result"
    conversation: str = _field(check.identifier)
    turn: str = _field(check.identifier)
    action: str = _field(check.action_id)
    status: Literal["done", "failed"] = _field(check.choice("done", "failed"), "done")
    value: Any = field(default=None, metadata={"check": check.data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? Answered at once with ``pong`` and the same nonce."""

    command: ClassVar[str] = "ping"
    nonce: int = _field(check.natural, 0)


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
    epoch: str = _field(check.identifier)
    protocol: tuple[int, int] = _field(check.version, PROTOCOL)
    sdk: str = _field(check.text, "")
    features: tuple[str, ...] = _field(check.items(check.text), ())
    limits: Mapping[str, Any] = _field(check.mapping, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """The world is not ready yet: what is being done, and how far it is (0 to 1) where that is known."""

    event: ClassVar[str] = "loading"
    stage: str = _field(check.text)
    progress: float | None = _field(check.optional(check.number), None)


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
    world: str = _field(check.text)
    npcs: tuple[NpcInfo, ...] = _field(_npcs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The conversation is there; ``history`` is the name under which it can be continued later."""

    event: ClassVar[str] = "opened"
    conversation: str = _field(check.identifier)
    npc: str = _field(check.identifier)
    player: str = _field(check.identifier)
    history: str = _field(check.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The conversation is closed."""

    event: ClassVar[str] = "closed"
    conversation: str = _field(check.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A command could not be carried out.

    ``turn`` names the turn that ends by it (or never began); ``conversation`` alone, a conversation that could not
    be opened or is lost. ``kind`` is the family of the error, ``answers`` the kind of the command.
    """

    event: ClassVar[str] = "error"
    code: str = _field(check.text)
    message: str = _field(check.text)
    hint: str = _field(check.text, "")
    kind: str = _field(check.text, "error")
    answers: str | None = _field(check.optional(check.text), None)
    conversation: str | None = _field(check.optional(check.identifier), None)
    turn: str | None = _field(check.optional(check.identifier), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Here. The nonce is the ping's."""

    event: ClassVar[str] = "pong"
    nonce: int = _field(check.natural, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The server has lost its conversations (its worker died): every open turn ends with this error."""

    event: ClassVar[str] = "reset"
    code: str = _field(check.text)
    message: str = _field(check.text)
    hint: str = _field(check.text, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The server ends the connection, and why: another version, a world that does not load, a shutdown."""

    event: ClassVar[str] = "goodbye"
    code: str = _field(check.text)
    message: str = _field(check.text)
    hint: str = _field(check.text, "")
    kind: str = _field(check.text, "bridge_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEvent:
    """An event of a turn: the fields of `npcsdk.events`, and where they belong.

    ``seq`` counts the events of a conversation from 1, so that a client sees what it missed or has already had.
    """

    conversation: str
    turn: str
    seq: int
    event: Event


Command: TypeAlias = Hello | Open | Close | Say | React | Cancel | Result | Ping | Leave
ServerEvent: TypeAlias = (
    Welcome | Loading | Ready | Opened | Closed | Problem | Pong | Reset | Goodbye | TurnEvent
)
Message: TypeAlias = Command | ServerEvent

COMMANDS: dict[str, type[Command]] = {
    kind.command: kind for kind in (Hello, Open, Close, Say, React, Cancel, Result, Ping, Leave)
}
"""What a client may send, by kind."""

EVENTS: dict[str, type[ServerEvent]] = {
    kind.event: kind for kind in (Welcome, Loading, Ready, Opened, Closed, Problem, Pong, Reset, Goodbye)
}
"""What a server may send, by kind, besides the events of a turn."""
