"""Every message of the protocol: one frozen value each, and its bytes.

A message is one msgpack map. What a client sends carries its kind under ``command``, what a server sends under
``event``; the other keys are the fields of the value. Fields that are None are left out. Decoding is strict about
what it knows (types, required fields, sizes) and silent about fields that it does not know, so that a newer peer
can add some. A kind that it does not know is a `ProtocolError` with the code ``unknown_message``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from npcsdk.errors import ProtocolError
from npcsdk.events import Event, Text, event_from_dict, event_to_dict
from npcsdk.wire import fields as check
from npcsdk.wire.version import PROTOCOL

__all__ = [
    "COMMANDS",
    "EVENTS",
    "MESSAGE_BYTES",
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
    "decode_command",
    "decode_event",
    "encode",
    "encode_turn_event",
    "unpack",
]

# The package has no type information of its own.
_packb = cast("Callable[..., bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpackb = cast("Callable[..., Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]

MESSAGE_BYTES = 1 << 20
"""The largest message either side accepts, in bytes."""


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
    seen: Mapping[str, int] = _field(check.mapping, dict)


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
    action: str = _field(check.identifier)
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

_Kind = TypeVar("_Kind")

COMMANDS: dict[str, type[Command]] = {
    kind.command: kind for kind in (Hello, Open, Close, Say, React, Cancel, Result, Ping, Leave)
}
"""What a client may send, by kind."""

EVENTS: dict[str, type[ServerEvent]] = {
    kind.event: kind for kind in (Welcome, Loading, Ready, Opened, Closed, Problem, Pong, Reset, Goodbye)
}
"""What a server may send, by kind, besides the events of a turn."""


def _checks(kind: type[Any]) -> check.Check:
    required: dict[str, check.Check] = {}
    others: dict[str, check.Check] = {}
    for one in fields(kind):
        optional = one.default is not MISSING or one.default_factory is not MISSING
        (others if optional else required)[one.name] = one.metadata["check"]
    return check.record(required, others)


_CHECKS = {kind: _checks(kind) for kind in (*COMMANDS.values(), *EVENTS.values())}

_count = check.natural
_place = {"conversation": check.identifier, "turn": check.identifier, "seq": check.natural}
_recalled = check.record(
    {"source": check.text, "text": check.text}, {"score": check.number, "reason": check.text}
)
_dropped = check.record({"what": check.text}, {"tokens": _count})
_tokens = check.record({}, {"prompt": _count, "cached": _count, "computed": _count, "generated": _count})
_timings = check.record(
    {}, dict.fromkeys(("recall_ms", "sdk_ms", "first_token_ms", "total_ms"), check.number)
)
_TURN_EVENTS = {
    "text": check.record({**_place, "text": check.text}, {"offset": _count}),
    "action": check.record(
        {**_place, "id": check.identifier, "name": check.text, "arguments": check.mapping},
        {"offset": _count, "returns": check.choice("nothing", "result")},
    ),
    "refused": check.record(
        {**_place, "name": check.text, "code": check.text, "message": check.text},
        {"offset": _count, "raw": check.text},
    ),
    "end": check.record(
        {**_place, "reason": check.choice("stop", "length", "cancelled", "rounds")},
        {
            "text": check.text,
            "tokens": _tokens,
            "timings": _timings,
            "recalled": check.items(_recalled),
            "dropped": check.items(_dropped),
        },
    ),
    "error": check.record(
        {**_place, "code": check.text, "message": check.text}, {"hint": check.text, "text": check.text}
    ),
}


def encode(message: Message) -> bytes:
    """The message as bytes.

    Raises:
        ProtocolError: code ``unencodable`` (a value that has no form on the wire) or ``too_large``.
    """
    if isinstance(message, TurnEvent):
        return encode_turn_event(message.conversation, message.turn, message.seq, message.event)
    key = "command" if isinstance(message, tuple(COMMANDS.values())) else "event"
    contents = _contents(message)
    _check_before_sending(_CHECKS[type(message)], contents)
    return _pack({key: getattr(message, key), **contents})


def encode_turn_event(conversation: str, turn: str, seq: int, event: Event) -> bytes:
    """An event of a turn as bytes: once for each token, so it builds no message in between."""
    contents = {"conversation": conversation, "turn": turn, "seq": seq, **event_to_dict(event)}
    if not isinstance(event, Text):
        _check_before_sending(_TURN_EVENTS[event.event], contents)
    return _pack(contents)


def decode_command(payload: bytes, *, limit: int = MESSAGE_BYTES) -> Command:
    """What a client sent.

    Raises:
        ProtocolError: ``too_large``, ``malformed`` (not one msgpack map), ``unknown_message`` or ``bad_field``.
    """
    contents = unpack(payload, limit)
    name = contents.get("command")
    kind = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _unknown("command", name, COMMANDS)
    return _build(kind, str(name), contents)


def decode_event(payload: bytes, *, limit: int = MESSAGE_BYTES) -> ServerEvent:
    """What a server sent; an ``error`` with a sequence number is the end of a turn, any other a `Problem`.

    Raises:
        ProtocolError: as `decode_command`.
    """
    contents = unpack(payload, limit)
    name = contents.get("event")
    if isinstance(name, str) and name in _TURN_EVENTS and (name != "error" or "seq" in contents):
        clean = _checked(_TURN_EVENTS[name], name, contents)
        event: Event
        if name == "text":  # the hot path: one for each token
            event = Text(text=clean["text"], offset=clean.get("offset", 0))
        else:
            event = event_from_dict({"event": name, **clean})
        return TurnEvent(
            conversation=clean["conversation"], turn=clean["turn"], seq=clean["seq"], event=event
        )
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _unknown("event", name, [*EVENTS, *_TURN_EVENTS])
    return _build(kind, str(name), contents)


def _build(kind: type[_Kind], name: str, contents: dict[str, Any]) -> _Kind:
    return kind(**_checked(_CHECKS[cast("Any", kind)], name, contents))


def _checked(checks: check.Check, name: str, contents: dict[str, Any]) -> dict[str, Any]:
    try:
        return checks(contents)
    except check.Wrong as wrong:
        raise ProtocolError(f"The message {name!r} {wrong}.", code="bad_field") from None


def _check_before_sending(checks: check.Check, contents: dict[str, Any]) -> None:
    """What the other side would refuse is an error on this one, where somebody can mend it."""
    try:
        checks(contents)
    except check.Wrong as wrong:
        raise _unencodable(str(wrong)) from None


def _unencodable(reason: str) -> ProtocolError:
    return ProtocolError(
        f"This cannot be sent: it {reason}.",
        hint="Use null, booleans, finite numbers of 64 bits, well-formed text, lists and maps with text keys.",
        code="unencodable",
    )


def _unknown(key: str, name: Any, known: Sequence[str] | Mapping[str, Any]) -> ProtocolError:
    shown = repr(name[:40]) if isinstance(name, str) else "missing or not text"
    return ProtocolError(
        f"The message's {key!r} is {shown}, which this side does not know.",
        hint=f"Known: {', '.join(known)}.",
        code="unknown_message",
    )


def _contents(message: Any) -> dict[str, Any]:
    contents: dict[str, Any] = {}
    for one in fields(message):
        value = getattr(message, one.name)
        if one.name == "npcs":
            value = [_contents(npc) for npc in value]
        if value is not None:
            contents[one.name] = value
    return contents


def _pack(contents: dict[str, Any]) -> bytes:
    try:
        payload = _packb(contents, use_bin_type=True)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _unencodable(f"does not encode: {error}") from error
    if len(payload) > MESSAGE_BYTES:
        raise ProtocolError(
            f"A message of {len(payload)} bytes is larger than the limit of {MESSAGE_BYTES}.",
            hint="Send less at once: a shorter line, or less state.",
            code="too_large",
        )
    return payload


def unpack(payload: bytes, limit: int = MESSAGE_BYTES) -> dict[str, Any]:
    """The map that a message is, before anything is known of its fields."""
    if len(payload) > limit:
        raise ProtocolError(
            f"A message of {len(payload)} bytes is larger than the limit of {limit}.", code="too_large"
        )
    try:
        contents: Any = _unpackb(payload, raw=False, strict_map_key=True, ext_hook=_no_extensions)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"This is not a message: {error}.", code="malformed") from None
    if not isinstance(contents, dict):
        raise ProtocolError("This is not a message: it is not a msgpack map.", code="malformed")
    return cast("dict[str, Any]", contents)


def _no_extensions(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")
