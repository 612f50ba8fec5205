"""The bridge's socket for clients: bound where it may be, encrypted where it must be, never waiting for a reader."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import zmq

from npcsdk.bridge.access import Access, Role
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.zap import Doorkeeper, check_key
from npcsdk.errors import BridgeError
from npcsdk.wire.codec import coalesced

__all__ = ["Gate", "check_address"]

_SEND_BUFFER = (
    1 << 16
)  # bytes of the system's for each client: what it does not read waits here, where it is joined

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Backlog:
    """What a client has not taken yet, because it does not read."""

    payloads: deque[bytes] = field(default_factory=deque[bytes])
    size: int = 0
    join_at: int = 1 << 16  # bytes; joining costs time, so the next waits until there is a good deal more

    def add(self, payload: bytes, joins: bool) -> None:
        self.payloads.append(payload)
        self.size += len(payload)
        if joins and self.size > self.join_at:
            self.payloads = deque(coalesced(self.payloads))
            self.size = sum(map(len, self.payloads))
            self.join_at = self.size + (1 << 16) + self.size // 8


class Gate:
    """A ROUTER and what its clients have not read yet.

    Args:
        version: the protocol in which a route is spoken to; text is joined for 1.1 and later.
        gone: told of routes that are not there any more, or were let go.

    Raises:
        BridgeError: the port is taken (``address_in_use``), the address is not one (``bad_address``), not
            loopback though no keys are set (``address_refused``), or a key is none (``bad_key``).
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        limits: Limits,
        access: Access,
        *,
        version: Callable[[bytes], tuple[int, int]],
        gone: Callable[[bytes], None],
    ) -> None:
        check_address(address, secured=access.secret_key is not None)
        if access.secret_key is not None:
            check_key(access.secret_key)
        self._access = access
        self._limits = limits
        self._version = version
        self._gone = gone
        self._backlogs: dict[bytes, _Backlog] = {}
        self._broken: set[bytes] = set()  # connections found closed since the last `retry`
        self._leaving: set[bytes] = set()  # and before it: what they said last has been read meanwhile
        self.doorkeeper: Doorkeeper | None = None
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        try:
            self._bind(context, address)
        except BaseException:
            self.close(0)
            raise
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def behind(self) -> int:
        """Clients that do not read as fast as they are written to."""
        return len(self._backlogs) + len(self._broken) + len(self._leaving)

    @property
    def backlog_bytes(self) -> int:
        """What waits for them."""
        return sum(backlog.size for backlog in list(self._backlogs.values()))  # any thread

    def receive(self) -> tuple[bytes, bytes, str, Role] | None:
        """A message, if there is one: its route, what it says, the key that its sender has proved, and the role."""
        try:
            if self.doorkeeper is None:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
                return frames[0], frames[1] if len(frames) == 2 else b"", "", self._access.anonymous
            whole = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        key = str(whole[-1].get("User-Id"))
        payload = whole[1].bytes if len(whole) == 2 else b""
        return whole[0].bytes, payload, key, self._access.clients.get(key, "play")

    def send(self, route: bytes, payload: bytes) -> None:
        """Send a message, now or when its reader has read what came before."""
        backlog = self._backlogs.get(route)
        if backlog is None:
            if route in self._broken or route in self._leaving:
                return
            try:
                self.socket.send_multipart((route, payload), zmq.NOBLOCK)
                return
            except zmq.Again:
                backlog = self._backlogs[route] = _Backlog()
            except zmq.ZMQError:
                self._broken.add(route)  # its connection is closed; a goodbye may still wait to be read
                return
        backlog.add(payload, self._version(route) >= (1, 1))
        if backlog.size > self._limits.backlog_bytes:
            _log.warning("A client does not read; it is let go")
            self._gone(route)

    def retry(self) -> None:
        """Go on with clients whose queues were full; nobody else waits for them."""
        for route in self._leaving:
            self._gone(route)
        self._leaving, self._broken = self._broken, set()
        for route, backlog in list(self._backlogs.items()):
            try:
                while backlog.payloads:
                    self.socket.send_multipart((route, backlog.payloads[0]), zmq.NOBLOCK)
                    backlog.size -= len(backlog.payloads.popleft())
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self._gone(route)
                continue
            del self._backlogs[route]

    def forget(self, route: bytes) -> None:
        """A client is gone; what it has not read is dropped."""
        self._backlogs.pop(route, None)

    def close(self, linger: int) -> None:
        """Give everything back; what was sent has so many milliseconds to leave."""
        self.socket.close(linger=linger)
        if self.doorkeeper is not None:
            self.doorkeeper.close()

    def _bind(self, context: zmq.Context[Any], address: str) -> None:
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # to be told when a client is gone or does not read
        self.socket.setsockopt(zmq.MAXMSGSIZE, 4 * self._limits.message_bytes)
        self.socket.setsockopt(zmq.SNDBUF, _SEND_BUFFER)
        if self._access.secret_key is not None:
            self.doorkeeper = Doorkeeper(context, self._access.clients)
            self.socket.setsockopt(zmq.CURVE_SERVER, 1)
            self.socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._access.secret_key)
            self.socket.setsockopt_string(zmq.ZAP_DOMAIN, "npcsdk")
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise BridgeError(
                    f"The address {address} is in use.",
                    hint="Is npcsdk serve running already? Choose another port with --address.",
                    code="address_in_use",
                ) from error
            raise BridgeError(
                f"The address {address!r} cannot be listened on: {error}.",
                hint="Write it as tcp://127.0.0.1:5990.",
                code="bad_address",
            ) from error


def check_address(address: str, *, secured: bool) -> None:
    """Nobody but this machine, unless clients have to prove who they are.

    Raises:
        BridgeError: ``bad_address`` or ``address_refused``.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname:
        raise BridgeError(
            f"The address {address!r} cannot be listened on.",
            hint="Write it as tcp://127.0.0.1:5990.",
            code="bad_address",
        )
    try:
        loopback = parts.hostname == "localhost" or ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not secured:
        raise BridgeError(
            f"The address {address} is not this machine's own (loopback), and no keys are set.",
            hint="Listen on 127.0.0.1; or make keys with npcsdk keys, and name them in a file for --config.",
            code="address_refused",
        )
