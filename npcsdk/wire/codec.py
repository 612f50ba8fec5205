"""Messages to bytes and back: strict about what it knows, silent about fields that it does not know.

The only module that touches msgpack. A kind of message that is not known is a `ProtocolError` with the code
``unknown_message``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from npcsdk.errors import ProtocolError
from npcsdk.events import Event, Text, event_from_dict, event_to_dict
from npcsdk.wire import fields as check
from npcsdk.wire.messages import COMMANDS, EVENTS, Command, Message, ServerEvent, TurnEvent

__all__ = [
    "MESSAGE_BYTES",
    "coalesced",
    "decode_command",
    "decode_event",
    "encode",
    "encode_turn_event",
    "place_of",
    "unpack",
]

MESSAGE_BYTES = 1 << 20
"""The largest message either side accepts, in bytes."""

# The package has no type information of its own.
_packb = cast("Callable[..., bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_Unpacker = cast("Callable[..., Any]", msgpack.Unpacker)  # pyright: ignore[reportUnknownMemberType]
_unpackb = cast("Callable[..., Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]

_Kind = TypeVar("_Kind")


def _checks(kind: type[Any]) -> check.Check:
    required: dict[str, check.Check] = {}
    others: dict[str, check.Check] = {}
    for one in fields(kind):
        optional = one.default is not MISSING or one.default_factory is not MISSING
        (others if optional else required)[one.name] = one.metadata["check"]
    return check.record(required, others)


_CHECKS = {kind: _checks(kind) for kind in (*COMMANDS.values(), *EVENTS.values())}


def _check_of(annotation: Any) -> check.Check:
    """The check that a field of an event needs, from its type: so events have one definition, `npcsdk.events`."""
    simple = {str: check.text, int: check.natural, float: check.number, bool: check.flag}
    if annotation in simple:
        return simple[annotation]
    if is_dataclass(annotation):
        return _check_of_class(cast("type[Any]", annotation))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return check.choice(*arguments)
    if origin is tuple:
        return check.items(_check_of(arguments[0]))
    if origin in (Union, UnionType) and NoneType in arguments:
        (other,) = set(arguments) - {NoneType}
        return check.optional(_check_of(other))
    return check.mapping if origin is Mapping else check.data


def _check_of_class(kind: type[Any], **others: check.Check) -> check.Check:
    types = get_type_hints(kind)
    required, optional = dict(others), dict[str, check.Check]()
    for one in fields(kind):
        known = one.default is not MISSING or one.default_factory is not MISSING
        (optional if known else required)[one.name] = _check_of(types[one.name])
    return check.record(required, optional)


_PLACE = {"conversation": check.identifier, "turn": check.identifier, "seq": check.natural}
_TURN_EVENTS = {kind.event: _check_of_class(kind, **_PLACE) for kind in get_args(Event)}
_TEXT = _packb("event") + _packb("text")
_PLACES = ("command", "conversation", "turn", "request")
_FIRST = check.optional(check.natural)


def encode(message: Message) -> bytes:
    """The message as bytes.

    Raises:
        ProtocolError: code ``unencodable`` (a value that has no form on the wire) or ``too_large``.
    """
    if isinstance(message, TurnEvent):
        return encode_turn_event(
            message.conversation, message.turn, message.seq, message.event, message.first
        )
    key = "command" if isinstance(message, tuple(COMMANDS.values())) else "event"
    contents = _contents(message)
    _check_before_sending(_CHECKS[type(message)], contents)
    return _pack({key: getattr(message, key), **contents})


def encode_turn_event(
    conversation: str, turn: str, seq: int, event: Event, first: int | None = None
) -> bytes:
    """An event of a turn as bytes: once for each token, so it builds no message in between."""
    contents: dict[str, Any] = {"conversation": conversation, "turn": turn, "seq": seq}
    if isinstance(event, Text):
        contents["event"], contents["text"], contents["offset"] = "text", event.text, event.offset
        if first is not None:
            contents["first"] = first
    else:
        contents.update(event_to_dict(event))
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
    if name == "text" and (quick := _plain_text(contents)) is not None:
        return quick
    if isinstance(name, str) and name in _TURN_EVENTS and (name != "error" or "seq" in contents):
        clean = _checked(_TURN_EVENTS[name], name, contents)
        event: Event
        if name == "text":  # the hot path: one for each token
            event = Text(text=clean["text"], offset=clean.get("offset", 0))
            if "first" in contents:
                clean["first"] = _first(contents["first"])
        else:
            event = event_from_dict({"event": name, **clean})
        return TurnEvent(
            conversation=clean["conversation"],
            turn=clean["turn"],
            seq=clean["seq"],
            event=event,
            first=clean.get("first"),
        )
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _unknown("event", name, [*EVENTS, *_TURN_EVENTS])
    return _build(kind, str(name), contents)


def _plain_text(contents: dict[str, Any]) -> TurnEvent | None:
    """A token as it mostly comes, checked in one go; None when something about it needs a closer look."""
    get = contents.get
    conversation, turn, seq = get("conversation"), get("turn"), get("seq")
    text, offset = get("text"), get("offset")
    if (
        type(conversation) is str
        and type(turn) is str
        and type(seq) is int
        and type(text) is str
        and type(offset) is int
        and 0 < len(conversation) <= 128
        and 0 < len(turn) <= 128
        and seq >= 0
        and offset >= 0
        and "first" not in contents
    ):
        return TurnEvent(conversation=conversation, turn=turn, seq=seq, event=Text(text=text, offset=offset))
    return None


def _first(value: Any) -> int | None:
    try:
        return _FIRST(value)
    except check.Wrong as wrong:
        raise ProtocolError(
            f"The message 'text' has a field 'first' that {wrong}.", code="bad_field"
        ) from None


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


def coalesced(payloads: Sequence[bytes]) -> list[bytes]:
    """The same events with runs of text of one turn as one message each; what is no text stays as it is.

    Only for readers that know the field ``first`` (protocol 1.1).
    """
    joined: list[bytes] = []
    run: list[dict[str, Any]] = []

    def close() -> None:
        if run:
            text = "".join(one["text"] for one in run)
            first = run[0].get("first") or run[0]["seq"]
            joined.append(_pack({**run[0], "text": text, "seq": run[-1]["seq"], "first": first}))
            run.clear()

    for payload in payloads:
        # Ids take at most 128 bytes each; what has no such key there is not looked into.
        contents: dict[str, Any] | None = unpack(payload) if _TEXT in payload[:400] else None
        if contents is None or contents.get("event") != "text" or "seq" not in contents:
            close()
            joined.append(payload)
            continue
        if run and any(run[-1][key] != contents[key] for key in ("conversation", "turn")):
            close()
        if sum(len(one["text"]) for one in run) > MESSAGE_BYTES // 16:
            close()
        if run and (contents.get("first") or contents["seq"]) != run[-1]["seq"] + 1:
            close()
        run.append(contents)
    close()
    return joined


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


def place_of(payload: bytes) -> dict[str, str]:
    """Of a command that was refused: its kind, conversation, turn and request, as far as they can be read.

    So that whoever sent it can end what waits for it. What is large or deep is passed over without being built.
    """
    found: dict[str, str] = {}
    try:
        reader = _Unpacker(max_buffer_size=0, raw=False)
        reader.feed(payload)
        for _ in range(min(reader.read_map_header(), 64)):
            key = reader.unpack()
            if key not in _PLACES:
                reader.skip()
            elif isinstance(value := reader.unpack(), str):
                found[key] = check.identifier(value)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException, msgpack.OutOfData):
        pass  # as far as they can be read
    return found


def _no_extensions(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")
