"""The part of a server that answers at once, whatever the worker is doing: hello, ping, mistakes.

It stands next to the sockets (in the bridge process), or in a Python game's own process before its worker. What
needs the world is handed on by route.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from npcsdk.wire.codec import MESSAGE_BYTES, encode
from npcsdk.wire.messages import Goodbye, Hello, Leave
from npcsdk.wire.server_peer import ServerPeer

__all__ = ["Frontend", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server allows; told to every client in its welcome."""

    message_bytes: int = MESSAGE_BYTES
    clients: int = 1000
    conversations: int = 64
    silence_s: float = 15.0

    def as_data(self) -> Mapping[str, Any]:
        """The limits that a client should know, for `npcsdk.wire.messages.Welcome`."""
        return {
            "message_bytes": self.message_bytes,
            "conversations": self.conversations,
            "silence_s": self.silence_s,
        }


@dataclass(slots=True)
class _Client:
    peer: ServerPeer
    heard_at: float


class Frontend:
    """The server's peers, by route.

    A route is whatever the transport calls a connection. `receive` answers what can be answered here and hands
    back what is for the worker, as it came.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.epoch = secrets.token_hex(8)
        self._clients: dict[bytes, _Client] = {}

    def receive(self, route: bytes, payload: bytes, now: float) -> tuple[list[bytes], bytes | None]:
        """Take a client's message: the answers to send back now, and what the worker has to see of it."""
        client = self._clients.get(route)
        peer = client.peer if client else self._peer()
        command = peer.receive(payload)
        if isinstance(command, Hello) and client is None:
            if len(self._clients) >= self.limits.clients:
                full = Goodbye(
                    code="server_full",
                    message=f"The server has {len(self._clients)} clients, which is its limit.",
                    hint="Try again in some seconds.",
                )
                return [encode(full)], None
            client = self._clients[route] = _Client(peer, now)
        if client is not None:
            client.heard_at = now
        if isinstance(command, Leave):
            self._clients.pop(route, None)
        if isinstance(command, Hello) and command.seen and command.epoch != self.epoch:
            # What it has seen was in another life of the server.
            payload = encode(replace(command, seen={}))
        return peer.outgoing(), payload if command is not None else None

    def silent(self, now: float) -> list[bytes]:
        """Routes whose clients have said nothing for too long; they are forgotten here."""
        gone = [
            route for route, client in self._clients.items() if now - client.heard_at > self.limits.silence_s
        ]
        for route in gone:
            del self._clients[route]
        return gone

    def forget(self, route: bytes) -> bool:
        """Forget a route whose connection is gone; whether it was known."""
        return self._clients.pop(route, None) is not None

    def routes(self) -> list[bytes]:
        """The connections that have greeted."""
        return list(self._clients)

    def reset(self, error: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """The worker died, and with it every conversation: what to tell whom."""
        self.epoch = secrets.token_hex(8)
        messages: list[tuple[bytes, bytes]] = []
        for route, client in self._clients.items():
            client.peer.reset(self.epoch, error)
            messages += [(route, payload) for payload in client.peer.outgoing()]
        return messages

    def _peer(self) -> ServerPeer:
        return ServerPeer(
            epoch=self.epoch, limits=self.limits.as_data(), message_bytes=self.limits.message_bytes
        )
