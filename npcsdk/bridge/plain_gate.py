"""The gate without encryption: plain sockets in the bridge's own thread, so that a token is handed to no other.

What is sent in one turn of the loop leaves together, in one call for each client. What a client does not take stays
here as whole messages, their text joined.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from npcsdk.bridge.access import Access, Role
from npcsdk.bridge.addresses import cannot_listen, in_use, place_of
from npcsdk.bridge.backlog import SEND_BUFFER, Backlog
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.watch import READ, WRITE, new_watcher
from npcsdk.errors import ProtocolError
from npcsdk.wire.zmtp import Zmtp, frame

__all__ = ["PlainGate"]

_log = logging.getLogger(__name__)

_READ = 1 << 16  # bytes of one connection at once
_FAIR = 64  # messages of one connection before the others have their turn
_ACCEPT = 64  # new connections at once
_BACKLOG = 1024  # that the system keeps meanwhile
_HANDSHAKE = 10.0  # seconds for it
_FAREWELL = 2.0  # seconds for a connection that was dismissed to read why
_CHUNK = 1 << 16  # bytes of a backlog that are offered at once


class _Connection:
    __slots__ = (
        "backlog",
        "going",
        "heard_at",
        "inbox",
        "number",
        "outbox",
        "route",
        "socket",
        "spoke",
        "unsent",
        "zmtp",
    )

    def __init__(self, accepted: socket.socket, route: bytes, limit: int) -> None:
        self.socket = accepted
        self.number = accepted.fileno()
        self.route = route
        self.zmtp = Zmtp("ROUTER", limit)
        self.heard_at = time.monotonic()
        self.inbox: deque[bytes] = deque()
        self.outbox: list[bytes] = []  # payloads of this turn of the loop
        self.unsent = b""  # bytes of a frame that has begun to leave, or of the handshake
        self.backlog: Backlog | None = None
        self.spoke = False
        self.going = False  # dismissed: it is not listened to any more


class PlainGate:
    """A listener, its connections, and what they have not read yet; see `npcsdk.bridge.gate.open_gate`."""

    def __init__(
        self,
        address: str,
        limits: Limits,
        access: Access,
        *,
        version: Callable[[bytes], tuple[int, int]],
        gone: Callable[[bytes], None],
    ) -> None:
        self._role: Role = access.anonymous
        self._limits = limits
        self._version = version
        self._gone = gone
        self._connections: dict[bytes, _Connection] = {}
        self._numbers: dict[int, _Connection] = {}
        self._talking: dict[bytes, _Connection] = {}  # whose messages have not all been taken
        self._written: list[_Connection] = []  # who has something in the outbox
        self._behind: dict[bytes, _Connection] = {}
        self._made = 0
        self._resting = False  # the system has no room for another connection just now
        self.poller = new_watcher()
        try:
            host, port = place_of(address)
            self._listener = socket.create_server(
                (host, port),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
                backlog=_BACKLOG,
            )
        except OSError as error:
            self.poller.close()
            if error.errno == errno.EADDRINUSE:
                raise in_use(address) from error
            raise cannot_listen(address, error) from error
        except (ValueError, OverflowError) as error:
            self.poller.close()
            raise cannot_listen(address, error) from error
        self._listener.setblocking(False)
        self._listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER
        )  # the connections inherit it
        self.poller.register(self._listener.fileno(), READ)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"tcp://{shown}:{self._listener.getsockname()[1]}"

    @property
    def behind(self) -> int:
        return len(self._behind)

    @property
    def backlog_bytes(self) -> int:
        waiting = list(self._behind.values())  # any thread
        return sum(one.backlog.size for one in waiting if one.backlog)

    @property
    def strangers(self) -> int:
        return 0

    @property
    def pause_ms(self) -> int | None:
        return 0 if self._talking else None

    # In

    def receive(self, ready: Mapping[Any, int]) -> list[tuple[bytes, bytes, str, Role]]:
        for number, flags in ready.items():
            connection = self._numbers.get(number)
            if connection is not None:
                if flags & WRITE:
                    self._go_on(connection)
                if flags & READ and connection.number >= 0 and not connection.inbox:
                    self._read(connection)
            elif number == self._listener.fileno():
                self._accept()
        messages: list[tuple[bytes, bytes, str, Role]] = []
        for route, connection in list(self._talking.items()):
            for _ in range(min(_FAIR, len(connection.inbox))):
                messages.append((route, connection.inbox.popleft(), "", self._role))
            if not connection.inbox:
                del self._talking[route]
        return messages

    def _accept(self) -> None:
        for _ in range(_ACCEPT):
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                _log.warning("No further connection can be had for a moment: %s", error)
                self._resting = True
                self.poller.unregister(self._listener.fileno())
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._made += 1
            route = self._made.to_bytes(8, "big")
            connection = _Connection(accepted, route, 4 * self._limits.message_bytes)
            self._connections[route] = self._numbers[connection.number] = connection
            self.poller.register(connection.number, READ)
            self._push(connection, connection.zmtp.outgoing())

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection)
            return
        if connection.going:
            return
        try:
            messages = connection.zmtp.feed(data)
        except ProtocolError:
            self._lose(connection)
            return
        if answer := connection.zmtp.outgoing():
            self._push(connection, answer)
        if messages:
            connection.heard_at, connection.spoke = time.monotonic(), True
            connection.inbox.extend(messages)
            self._talking[connection.route] = connection

    # Out

    def send(self, route: bytes, payload: bytes) -> None:
        connection = self._connections.get(route)
        if connection is None or connection.going:
            return
        if connection.backlog is not None:
            self._put_by(connection, payload)
            return
        if not connection.outbox:
            self._written.append(connection)
        connection.outbox.append(payload)

    def flush(self) -> None:
        written, self._written = self._written, []
        for connection in written:
            payloads, connection.outbox = connection.outbox, []
            if connection.number < 0:
                continue
            if connection.unsent:
                self._fall_behind(connection, payloads, 0)
                continue
            frames = [frame(payload) for payload in payloads]
            sent = self._try(connection, frames[0] if len(frames) == 1 else b"".join(frames))
            if sent is None:
                continue
            for number, one in enumerate(frames):
                if sent < len(one):
                    connection.unsent = one[sent:] if sent else b""
                    self._fall_behind(connection, payloads, number + bool(sent))
                    break
                sent -= len(one)

    def _fall_behind(self, connection: _Connection, payloads: list[bytes], begin: int) -> None:
        """It has not taken everything: the rest waits until it does."""
        connection.backlog = connection.backlog or Backlog()
        self._behind[connection.route] = connection
        self.poller.register(connection.number, READ | WRITE)
        for payload in payloads[begin:]:
            if connection.number >= 0:
                self._put_by(connection, payload)

    def _put_by(self, connection: _Connection, payload: bytes) -> None:
        assert connection.backlog is not None
        connection.backlog.add(payload, self._version(connection.route) >= (1, 1))
        if connection.backlog.size > self._limits.backlog_bytes:
            _log.warning("A client does not read; it is let go")
            self._lose(connection)

    def _push(self, connection: _Connection, data: bytes) -> None:
        """Bytes that are no message: before what waits, but not into the middle of a frame."""
        if connection.unsent or connection.backlog is not None:
            if len(connection.unsent) > _CHUNK:
                self._lose(connection)  # it pings and does not read
                return
            connection.unsent += data
            return
        sent = self._try(connection, data)
        if sent is not None and sent < len(data):
            connection.unsent = data[sent:]
            self._fall_behind(connection, [], 0)

    def _go_on(self, connection: _Connection) -> None:
        """A connection takes something again."""
        backlog = connection.backlog
        while connection.unsent or (backlog is not None and backlog.payloads):
            pieces, size = [connection.unsent], len(connection.unsent)
            while backlog is not None and backlog.payloads and size < _CHUNK:
                pieces.append(frame(backlog.take()))
                size += len(pieces[-1])
            connection.unsent = b"".join(pieces)
            sent = self._try(connection, connection.unsent)
            if sent is None:
                return
            connection.unsent = connection.unsent[sent:]
            if connection.unsent:
                return
        connection.backlog = None
        self._behind.pop(connection.route, None)
        self.poller.register(connection.number, READ)
        if connection.going:
            self._say_no_more(connection)

    def _try(self, connection: _Connection, data: bytes) -> int | None:
        """How many bytes it has taken; None: it is gone."""
        try:
            return connection.socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # Closed. What it said last may still wait to be read, so that is done first.
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            return None

    # The end

    def dismiss(self, route: bytes) -> None:
        connection = self._connections.get(route)
        if connection is None:
            return
        self.flush()
        connection.inbox.clear()
        self._talking.pop(route, None)
        connection.going = True
        connection.heard_at = time.monotonic()
        if connection.backlog is None and connection.number >= 0:
            self._say_no_more(connection)

    @staticmethod
    def _say_no_more(connection: _Connection) -> None:
        # Closed at once with something unread, the connection would be reset, and the last word lost on its way.
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)

    def forget(self, route: bytes) -> None:
        connection = self._connections.get(route)
        if connection is not None:
            self._drop(connection)

    def _lose(self, connection: _Connection) -> None:
        self._drop(connection)
        if connection.spoke:
            self._gone(connection.route)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection.route], self._numbers[connection.number]
        self._talking.pop(connection.route, None)
        self._behind.pop(connection.route, None)
        self.poller.unregister(connection.number)
        connection.number = -1
        connection.socket.close()

    def sweep(self, now: float, known: Callable[[bytes], bool]) -> None:
        for connection in list(self._connections.values()):
            if connection.going:
                patience = _FAREWELL
            elif not connection.zmtp.ready:
                patience = _HANDSHAKE
            elif not known(connection.route):
                patience = max(self._limits.silence_s, _HANDSHAKE)
            else:
                continue
            if now - connection.heard_at > patience:
                self._lose(connection)
        if self._resting:
            self._resting = False
            self.poller.register(self._listener.fileno(), READ)

    def close(self, linger: int) -> None:
        self.flush()
        until = time.monotonic() + linger / 1000
        while self._behind and (left := until - time.monotonic()) > 0:
            for number, flags in self.poller.poll(int(left * 1000) + 1):
                connection = self._numbers.get(number)
                if connection is not None and flags & WRITE:
                    self._go_on(connection)
                elif connection is not None:
                    self._drop_unread(connection)
        for connection in list(self._connections.values()):
            self._say_no_more(connection)
            self._drop_unread(connection)
            if connection.number >= 0:
                self._drop(connection)
        self._listener.close()
        self.poller.close()

    def _drop_unread(self, connection: _Connection) -> None:
        """Read what a client said too late: unread, it would make the system take back our last word."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            for _ in range(_FAIR):
                try:
                    if connection.socket.recv(_READ):
                        continue
                except ConnectionError:
                    pass
                break
            self._drop(connection)
