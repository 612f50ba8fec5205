"""One end of a ZMTP 3.1 connection (NULL mechanism) as a state machine: bytes in, messages out, no sockets.

ZeroMQ's own library hands every message to a thread of its own on either side. On the way of a token that is two more
wake-ups than it needs; so where nothing is encrypted, both ends of a connection speak the protocol themselves. Any
ZeroMQ library understands them.
"""

from __future__ import annotations

from typing import Literal

from npcsdk.errors import ProtocolError

__all__ = ["Zmtp", "frame"]

_MORE, _LONG, _COMMAND = 1, 2, 4
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_GREETING = _SIGNATURE + b"\x03\x01" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
_OPENING = 11  # of its bytes: with the version, a peer tells its mechanism before it judges ours
_PARTNERS = {"DEALER": (b"ROUTER", b"DEALER", b"REP"), "ROUTER": (b"DEALER", b"REQ", b"ROUTER")}
_COMMAND_BYTES = 4096


def frame(payload: bytes) -> bytes:
    """A message as it travels."""
    if len(payload) < 256:
        return bytes((0, len(payload))) + payload
    return b"\x02" + len(payload).to_bytes(8, "big") + payload


class Zmtp:
    """One end of one connection.

    Args:
        kind: the type of socket that this end is.
        limit: bytes of a message, at most.
    """

    __slots__ = ("_greeted", "_kind", "_limit", "_need", "_outgoing", "_parts", "_rest", "ready")

    def __init__(self, kind: Literal["DEALER", "ROUTER"], limit: int) -> None:
        self.ready = False
        """Whether both ends have agreed: messages may travel now."""
        self._kind = kind
        self._limit = limit
        self._greeted = False
        self._parts = 0  # bytes of a message of several frames, which is none of ours
        self._rest = bytearray()
        self._need = 0  # bytes of `_rest` before it is worth a look
        self._outgoing = _GREETING[:_OPENING] if kind == "DEALER" else _GREETING

    def outgoing(self) -> bytes:
        """What has to be sent now, besides messages."""
        out, self._outgoing = self._outgoing, b""
        return out

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; one of several frames counts as an empty one.

        Raises:
            ProtocolError: code ``keys_needed`` (the other end wants to be spoken to with encryption) or
                ``bad_stream``; nothing more can come of this connection.
        """
        if (
            self.ready
            and 2 <= (size := len(data)) < 258
            and data[1] == size - 2
            and not data[0]
            and not self._rest
            and not self._parts
        ):
            return [data[2:]]  # one short message: most are
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, len(data)
        messages: list[bytes] = []
        if not self._greeted:
            if not self._greet(data):
                self._keep(data, 0, min(end + 1, len(_GREETING)))
                return messages
            at = len(_GREETING)
        while end - at >= 2:
            flags, size, begin = data[at], data[at + 1], at + 2
            if flags & _LONG:
                if end - at < 9:
                    self._keep(data, at, 9)
                    return messages
                begin = at + 9
                size = int.from_bytes(data[at + 1 : begin], "big")
            if (
                flags > _COMMAND | _LONG
                or (flags & _COMMAND and flags & _MORE)
                or not self._fits(flags, size)
            ):
                raise ProtocolError("A frame that cannot be.", code="bad_stream")
            if begin + size > end:
                self._keep(data, at, begin - at + size)
                return messages
            body, at = data[begin : begin + size], begin + size
            if flags & _COMMAND:
                self._command(body)
            elif not self.ready:
                raise ProtocolError("A message before the handshake.", code="bad_stream")
            elif flags & _MORE:
                self._parts += size + 1
            else:
                messages.append(b"" if self._parts else body)
                self._parts = 0
        self._keep(data, at, 2)
        return messages

    def _keep(self, data: bytes, at: int, need: int) -> None:
        self._rest += data[at:] if at else data
        self._need = need

    def _fits(self, flags: int, size: int) -> bool:
        return size <= _COMMAND_BYTES if flags & _COMMAND else self._parts + size <= self._limit

    def _greet(self, data: bytes) -> bool:
        """Look at the other end's greeting; False while there is more to come of it."""
        if data[:1] not in (b"", b"\xff") or (len(data) > 9 and not data[9] & 1):
            raise ProtocolError("This is not ZeroMQ's protocol.", code="bad_stream")
        if len(data) > 10 and data[10] < 3:
            raise ProtocolError("An old version of ZeroMQ's protocol.", code="bad_stream")
        if len(data) < len(_GREETING):
            return False
        mechanism = data[12:32].rstrip(b"\0")
        if mechanism != b"NULL":
            raise ProtocolError(
                "The server demands keys.",
                hint="Make some with npcsdk keys, name the public one in the server's settings, and connect with keys.",
                code="keys_needed",
            )
        self._greeted = True
        if self._kind == "DEALER":
            self._outgoing += _GREETING[_OPENING:]
        properties = _property("Socket-Type", self._kind.encode()) + _property("Identity", b"")
        self._outgoing += _command(b"\x05READY" + properties)
        return True

    def _command(self, body: bytes) -> None:
        name, rest = body[1 : 1 + body[0]] if body else b"", body[1 + body[0] :] if body else b""
        if not name or len(body) < 1 + body[0]:
            raise ProtocolError("A command without a name.", code="bad_stream")
        if not self.ready:
            if name != b"READY" or _properties(rest).get(b"socket-type") not in _PARTNERS[self._kind]:
                raise ProtocolError("The handshake failed.", code="bad_stream")
            self.ready = True
        elif name == b"PING":
            if not 2 <= len(rest) <= 18:
                raise ProtocolError("A ping that is none.", code="bad_stream")
            self._outgoing += _command(b"\x04PONG" + rest[2:])
        elif name == b"ERROR":
            raise ProtocolError("The other end found a mistake.", code="bad_stream")


def _command(body: bytes) -> bytes:
    return bytes((_COMMAND, len(body))) + body


def _property(name: str, value: bytes) -> bytes:
    return bytes((len(name),)) + name.encode() + len(value).to_bytes(4, "big") + value


def _properties(data: bytes) -> dict[bytes, bytes]:
    """The metadata of a handshake, with names in small letters."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        middle = at + 1 + data[at]
        begin = middle + 4
        end = begin + int.from_bytes(data[middle:begin], "big")
        if begin > len(data) or end > len(data):
            raise ProtocolError("Metadata that is cut off.", code="bad_stream")
        found[data[at + 1 : middle].lower()] = data[begin:end]
        at = end
    return found
