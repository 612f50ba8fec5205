"""The gate with encryption: ZeroMQ's own ROUTER. Also where a system cannot watch many plain sockets at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from npcsdk.bridge.access import Access, Role
from npcsdk.bridge.addresses import cannot_listen, in_use
from npcsdk.bridge.backlog import SEND_BUFFER, Backlog
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.watch import Poller
from npcsdk.bridge.zap import Doorkeeper, check_key

__all__ = ["CurveGate"]

_log = logging.getLogger(__name__)

_BATCH = 256  # messages taken at once, before anything else has its turn
_RETRY_MS = 10  # while a client's queue is full


class CurveGate:
    """A ROUTER and what its clients have not read yet; see `npcsdk.bridge.gate.open_gate`."""

    def __init__(
        self,
        address: str,
        limits: Limits,
        access: Access,
        *,
        version: Callable[[bytes], tuple[int, int]],
        gone: Callable[[bytes], None],
    ) -> None:
        if access.secret_key is not None:
            check_key(access.secret_key)
        self._access = access
        self._limits = limits
        self._version = version
        self._gone = gone
        self._backlogs: dict[bytes, Backlog] = {}
        self._broken: set[bytes] = set()  # connections found closed since the last `flush`
        self._leaving: set[bytes] = set()  # and before it: what they said last has been read meanwhile
        self._doorkeeper: Doorkeeper | None = None
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._sockets = zmq.Poller()
        self.poller: Poller = self._sockets
        try:
            self._bind(address)
        except BaseException:
            self.close(0)
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def behind(self) -> int:
        return len(self._backlogs) + len(self._broken) + len(self._leaving)

    @property
    def backlog_bytes(self) -> int:
        return sum(backlog.size for backlog in list(self._backlogs.values()))  # any thread

    @property
    def strangers(self) -> int:
        return self._doorkeeper.refused if self._doorkeeper else 0

    @property
    def pause_ms(self) -> int | None:
        return _RETRY_MS if self.behind else None

    def receive(self, ready: Mapping[Any, int]) -> list[tuple[bytes, bytes, str, Role]]:
        if self._doorkeeper is not None and self._doorkeeper.socket in ready:
            self._doorkeeper.answer()
        messages: list[tuple[bytes, bytes, str, Role]] = []
        while self._socket in ready and len(messages) < _BATCH:
            try:
                messages.append(self._next())
            except zmq.Again:
                break
        return messages

    def _next(self) -> tuple[bytes, bytes, str, Role]:
        if self._doorkeeper is None:
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            return frames[0], frames[1] if len(frames) == 2 else b"", "", self._access.anonymous
        whole = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        key = str(whole[-1].get("User-Id"))
        payload = whole[1].bytes if len(whole) == 2 else b""
        return whole[0].bytes, payload, key, self._access.clients.get(key, "play")

    def send(self, route: bytes, payload: bytes) -> None:
        backlog = self._backlogs.get(route)
        if backlog is None:
            if route in self._broken or route in self._leaving:
                return
            try:
                self._socket.send_multipart((route, payload), zmq.NOBLOCK)
                return
            except zmq.Again:
                backlog = self._backlogs[route] = Backlog()
            except zmq.ZMQError:
                self._broken.add(route)  # its connection is closed; a goodbye may still wait to be read
                return
        backlog.add(payload, self._version(route) >= (1, 1))
        if backlog.size > self._limits.backlog_bytes:
            _log.warning("A client does not read; it is let go")
            self._gone(route)

    def flush(self) -> None:
        """Go on with clients whose queues were full; nobody else waits for them."""
        if not self.behind:
            return
        for route in self._leaving:
            self._gone(route)
        self._leaving, self._broken = self._broken, set()
        for route, backlog in list(self._backlogs.items()):
            try:
                while backlog.payloads:
                    self._socket.send_multipart((route, backlog.payloads[0]), zmq.NOBLOCK)
                    backlog.take()
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self._gone(route)
                continue
            del self._backlogs[route]

    def dismiss(self, route: bytes) -> None:
        """ZeroMQ ends no single connection: the frontend does not read it any more."""

    def forget(self, route: bytes) -> None:
        self._backlogs.pop(route, None)

    def sweep(self, now: float, known: Callable[[bytes], bool]) -> None:
        """ZeroMQ does it itself."""

    def close(self, linger: int) -> None:
        self._socket.close(linger=linger)
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        self._context.term()

    def _bind(self, address: str) -> None:
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # to be told when a client is gone or does not read
        self._socket.setsockopt(zmq.MAXMSGSIZE, 4 * self._limits.message_bytes)
        self._socket.setsockopt(zmq.SNDBUF, SEND_BUFFER)
        if self._access.secret_key is not None:
            self._doorkeeper = Doorkeeper(self._context, self._access.clients)
            self._sockets.register(self._doorkeeper.socket, zmq.POLLIN)
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._access.secret_key)
            self._socket.setsockopt_string(zmq.ZAP_DOMAIN, "npcsdk")
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise in_use(address) from error
            raise cannot_listen(address, error) from error
        self._sockets.register(self._socket, zmq.POLLIN)
