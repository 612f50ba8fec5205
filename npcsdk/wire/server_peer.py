"""The server's end of a connection as a state machine: no sockets, no threads, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npcsdk.errors import ProtocolError
from npcsdk.wire.codec import MESSAGE_BYTES, decode_command, encode, place_of
from npcsdk.wire.messages import (
    Command,
    Goodbye,
    Hello,
    Leave,
    Ping,
    Pong,
    Problem,
    React,
    Reset,
    Say,
    Welcome,
)
from npcsdk.wire.version import FEATURES, PROTOCOL, agreed_version, sdk_version

__all__ = ["ServerPeer"]


class ServerPeer:
    """The server's end of one connection: it greets, answers pings, and turns bytes into commands.

    Args:
        epoch: changes whenever the server has lost its conversations.
        limits: what `Welcome` tells the client about limits.
    """

    def __init__(self, *, epoch: str, limits: Mapping[str, Any], message_bytes: int = MESSAGE_BYTES) -> None:
        self.greeted = False
        self.version = PROTOCOL
        self.mistakes = 0
        self.epoch = epoch
        self._limits = limits
        self._message_bytes = message_bytes
        self._outgoing: list[bytes] = []

    def receive(self, payload: bytes) -> Command | None:
        """Take one message of the client's: the command to carry out, or None when it is answered here already."""
        try:
            command = decode_command(payload, limit=self._message_bytes)
        except ProtocolError as error:
            self._refuse(error.code, error.message, error.hint, place_of(payload))
            if error.code != "unknown_message":  # a newer client's
                self.mistakes += 1
            return None
        if isinstance(command, Ping):
            # A client that has to greet again (this side was restarted) learns it from its next ping.
            if self.greeted:
                self._outgoing.append(encode(Pong(nonce=command.nonce)))
                return None
        elif isinstance(command, Hello):
            return self._greet(command)
        elif self.greeted:
            if isinstance(command, Leave):
                self.greeted = False
            return command
        if not isinstance(command, Leave):
            self._refuse(
                "hello_first",
                "This connection has not said hello.",
                "Send hello first, or again.",
                place_of(payload),
            )
        return None

    def reset(self, epoch: str, error: Mapping[str, str]) -> None:
        """The server has lost its conversations: tell the client, which will greet again."""
        self.epoch = epoch
        if self.greeted:
            self.greeted = False
            self._outgoing.append(encode(Reset(**error)))

    def outgoing(self) -> list[bytes]:
        """The messages to send now, in order."""
        out, self._outgoing = self._outgoing, []
        return out

    def _greet(self, hello: Hello) -> Hello | None:
        version = agreed_version(hello.protocol)
        if version is None:
            self.greeted = False
            goodbye = Goodbye(
                code="unsupported_version",
                message=f"The client speaks protocol {hello.protocol[0]}, this server {PROTOCOL[0]}.",
                hint="Update the older of the two.",
            )
            self._outgoing.append(encode(goodbye))
            return None
        self.greeted = True
        self.version = version
        welcome = Welcome(
            epoch=self.epoch,
            protocol=version,
            sdk=f"npcsdk {sdk_version()}",
            features=FEATURES,
            limits=self._limits,
        )
        self._outgoing.append(encode(welcome))
        return hello

    def _refuse(self, code: str, message: str, hint: str, place: Mapping[str, str]) -> None:
        kind = place.get("command")
        problem = Problem(
            code=code,
            message=message,
            hint=hint,
            kind="protocol_error",
            answers=kind,
            conversation=place.get("conversation"),
            turn=place.get("turn") if kind in (Say.command, React.command) else None,
            request=place.get("request"),
        )
        self._outgoing.append(encode(problem))
