"""The part of a server that answers at once, whatever the worker is doing: hello, ping, mistakes, refusals.

It stands next to the sockets (in the bridge process), or in a Python game's own process before its worker. What
needs the world is handed on by route.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from npcsdk.bridge.access import Role, may, session_name
from npcsdk.bridge.budget import Budget
from npcsdk.bridge.suspects import Suspects
from npcsdk.wire.codec import MESSAGE_BYTES, encode
from npcsdk.wire.messages import (
    Command,
    Done,
    Goodbye,
    Hello,
    Leave,
    Metrics,
    Open,
    Problem,
    React,
    Request,
    Say,
    Typing,
)
from npcsdk.wire.server_peer import ServerPeer

__all__ = ["Frontend", "Limits"]

_MISTAKES = 64  # unreadable messages in a row; then nothing of that connection is read any more
_REMEMBERED = 4096  # connections that have made mistakes without greeting, or are not read
_FULL_MS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server allows; told to every client in its welcome."""

    message_bytes: int = MESSAGE_BYTES
    clients: int = 1000
    conversations: int = 64
    silence_s: float = 15.0
    messages_per_minute: int | None = 6000
    turns_per_minute: int = 240
    queue: int = 256
    threads: int = 16
    """Turns that run at the same time; more wait. A model that computes several at once wants as many."""
    backlog_bytes: int = 4 << 20
    """What is kept for a client that does not read, its text joined; one with more is let go."""

    def for_worker(self) -> Mapping[str, Any]:
        """What the worker has to hold, for `npcsdk.bridge.sessions.ServiceLimits`."""
        return {
            "conversations": self.conversations,
            "turns_per_minute": self.turns_per_minute,
            "queue": self.queue,
            "threads": self.threads,
        }

    def as_data(self) -> Mapping[str, Any]:
        """The limits that a client should know, for `npcsdk.wire.messages.Welcome`."""
        return {
            "message_bytes": self.message_bytes,
            "conversations": self.conversations,
            "silence_s": self.silence_s,
            "messages_per_minute": self.messages_per_minute,
            "turns_per_minute": self.turns_per_minute,
        }


@dataclass(slots=True)
class _Client:
    peer: ServerPeer
    heard_at: float
    budget: Budget | None
    mistakes: int = 0


class Frontend:
    """The server's peers, by route.

    A route is whatever the transport calls a connection. `receive` answers what can be answered here and hands
    back what is for the worker, as it came.

    Args:
        metrics: what `Metrics` is answered with.
        worker_of: which of several workers a turn is for.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        metrics: Callable[[], Mapping[str, Any]] = dict,
        worker_of: Callable[[bytes, Command], int] = lambda route, command: 0,
    ) -> None:
        self.limits = limits or Limits()
        self.epoch = secrets.token_hex(8)
        self.suspects = Suspects()
        self.refused: dict[str, int] = {}
        """How often something was refused here, by code."""
        self._metrics = metrics
        self._worker_of = worker_of
        self._clients: dict[bytes, _Client] = {}
        self._strangers: OrderedDict[bytes, int] = OrderedDict()  # their mistakes
        self._ignored: OrderedDict[bytes, None] = OrderedDict()

    def receive(
        self, route: bytes, payload: bytes, now: float, *, role: Role = "administer", key: str = ""
    ) -> tuple[list[bytes], bytes | None]:
        """Take a client's message: the answers to send back now, and what the worker has to see of it.

        Args:
            role: what the client may do.
            key: the public key that it has proved to have.
        """
        if route in self._ignored:
            return [], None
        client = self._clients.get(route)
        peer = client.peer if client else self._peer()
        mistakes = peer.mistakes
        command = peer.receive(payload)
        if peer.mistakes > mistakes:
            return self._mistake(route, client, peer), None
        if command is None:  # a ping, or somebody who has not greeted
            if client is not None:
                client.heard_at = now
            return peer.outgoing(), None
        if isinstance(command, Hello):
            if client is None:
                if len(self._clients) >= self.limits.clients:
                    return [self._full()], None
                client = self._clients[route] = _Client(peer, now, self._budget(now))
                self._strangers.pop(route, None)
            payload = self._hello(command, payload, key)
        assert client is not None
        client.heard_at, client.mistakes = now, 0
        if isinstance(command, Leave):
            self._clients.pop(route, None)
        refusal = self._refusal(route, client, command, role, now)
        if refusal is not None:
            self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
            return [encode(refusal)], None
        if isinstance(command, Metrics):
            return [encode(Done(request=command.request, answers="metrics", value=self._metrics()))], None
        return peer.outgoing(), payload

    def version(self, route: bytes) -> tuple[int, int]:
        """The protocol in which the client behind a route is spoken to; 1.0 when there is none."""
        client = self._clients.get(route)
        return client.peer.version if client else (1, 0)

    def knows(self, route: bytes) -> bool:
        """Whether somebody has greeted there."""
        return route in self._clients

    def ignores(self, route: bytes) -> bool:
        """Whether nothing of a connection is read any more, since it made too many mistakes."""
        return route in self._ignored

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

    @property
    def count(self) -> int:
        """How many connections have greeted."""
        return len(self._clients)

    def routes(self) -> list[bytes]:
        """The connections that have greeted."""
        return list(self._clients)

    def waiting(self) -> list[bytes]:
        """The connections whose conversations were lost, and that have not greeted again."""
        return [route for route, client in self._clients.items() if not client.peer.greeted]

    def reset(self, error: Mapping[str, str], now: float) -> list[tuple[bytes, bytes]]:
        """The worker died, and with it every conversation: what to tell whom."""
        self.epoch = secrets.token_hex(8)
        self.suspects.crashed(now)
        messages: list[tuple[bytes, bytes]] = []
        for route, client in self._clients.items():
            client.peer.reset(self.epoch, error)
            messages += [(route, payload) for payload in client.peer.outgoing()]
        return messages

    # Inside

    def _peer(self) -> ServerPeer:
        return ServerPeer(
            epoch=self.epoch, limits=self.limits.as_data(), message_bytes=self.limits.message_bytes
        )

    def _budget(self, now: float) -> Budget | None:
        rate = self.limits.messages_per_minute
        return None if rate is None else Budget(rate, rate / 4, now)

    def _hello(self, hello: Hello, payload: bytes, key: str) -> bytes:
        name = session_name(key, hello.client)
        stale = hello.seen and hello.epoch != self.epoch  # what it has seen was in another life of the server
        if name == hello.client and not stale:
            return payload
        return encode(replace(hello, client=name, seen={} if stale else hello.seen))

    def _full(self) -> bytes:
        goodbye = Goodbye(
            code="server_full",
            message=f"The server has {len(self._clients)} clients, which is its limit.",
            hint=f"Try again in {_FULL_MS // 1000} seconds.",
        )
        return encode(goodbye)

    def _mistake(self, route: bytes, client: _Client | None, peer: ServerPeer) -> list[bytes]:
        """A message that cannot be read: an error, and in the end the connection."""
        if client is not None:
            client.mistakes += 1
            mistakes = client.mistakes
        else:
            mistakes = self._strangers[route] = self._strangers.pop(route, 0) + 1
            if len(self._strangers) > _REMEMBERED:
                self._strangers.popitem(last=False)
        self.refused["malformed"] = self.refused.get("malformed", 0) + 1
        if mistakes < _MISTAKES:
            return peer.outgoing()
        self._clients.pop(route, None)
        self._strangers.pop(route, None)
        self._ignored[route] = None
        if len(self._ignored) > _REMEMBERED:
            self._ignored.popitem(last=False)
        goodbye = Goodbye(
            code="misbehaved",
            message=f"{mistakes} messages in a row could not be read.",
            hint="Check what this connection sends; then connect anew.",
        )
        return [*peer.outgoing(), encode(goodbye)]

    def _refusal(
        self, route: bytes, client: _Client, command: Command, role: Role, now: float
    ) -> Problem | None:
        code, message, hint, retry = "", "", "", None
        if not may(role, command):
            code, message = "not_allowed", f"A client of the role {role!r} may not {command.command}."
            hint = "The server's configuration says who may."
        elif isinstance(command, Open | Say | React | Typing | Request) and client.budget is not None:
            retry = client.budget.take(now)
            if retry is not None:
                code = "busy"
                message = f"This client sends more than {self.limits.messages_per_minute} messages a minute."
                hint = "Wait a little."
        if (
            not code
            and isinstance(command, Say | React)
            and self.suspects.refuses(command, now, self._worker_of(route, command))
        ):
            code, message = "crashes_worker", "The process with the model died twice of this very line."
            hint = "Say something else; the server's log has the details."
        if not code:
            return None
        return Problem(
            code=code,
            message=message,
            hint=hint,
            kind="turn_error",
            answers=command.command,
            conversation=getattr(command, "conversation", None),
            turn=command.turn if isinstance(command, Say | React) else None,
            request=getattr(command, "request", None),
            retry_ms=retry,
        )
