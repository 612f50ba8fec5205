"""Frames between a parent and its worker over one local TCP connection, straight from thread to thread.

ZeroMQ would hand each message to a thread of its own on either side. On the way of every token that is two more
wake-ups than the message needs, so this part of the way is a plain socket. A frame is two little-endian lengths of
32 bits, then a route and a payload.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Container, Generator

from npcsdk.bridge.watch import READ, WRITE, Watch
from npcsdk.errors import BridgeError

__all__ = ["Frames", "Pipe", "Port", "pack"]

_HEAD = struct.Struct("<II")
_READ = 1 << 18  # bytes taken at once
_MOST = 1 << 28  # bytes: a frame that claims more is none; a worker that leaves more unread is given up
_TOGETHER = 1024  # frames that may wait for a thread that is sending; one with more waits itself
_STRANGERS = 16  # connections that have not proved anything yet
_TOKEN_BYTES = 256


def pack(route: bytes, payload: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(len(route), len(payload)) + route + payload


class Frames:
    """Bytes in, whole frames out."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are complete now.

        Raises:
            ValueError: this is no such stream.
        """
        if self._rest:
            data = self._rest + data
        frames: list[tuple[bytes, bytes]] = []
        at, end = 0, len(data)
        while end - at >= _HEAD.size:
            route, payload = _HEAD.unpack_from(data, at)
            if route + payload > _MOST:
                raise ValueError("a frame of this length is none")
            middle = at + _HEAD.size + route
            if middle + payload > end:
                break
            frames.append((data[at + _HEAD.size : middle], data[middle : middle + payload]))
            at = middle + payload
        self._rest = data[at:] if at else data
        return frames


class Pipe:
    """The worker's end. Any thread may send, one at a time; one thread receives.

    Args:
        port: where the parent listens on 127.0.0.1.
        token: proves that this is its worker.
    """

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = Frames()
        self._lock = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self._gathering = 0  # the thread whose frames leave together
        self.send(b"", token.encode())

    def send(self, route: bytes, payload: bytes) -> None:
        """Send a frame; waits while the parent does not read. Without effect once the parent is gone.

        What other threads want to send while one is sending, that one sends along with its next.
        """
        self._unsent.append(pack(route, payload))
        if self._gathering != threading.get_ident() or len(self._unsent) > _TOGETHER:
            self._flush()

    @contextlib.contextmanager
    def together(self) -> Generator[None, None, None]:
        """What the thread sends within the block may leave in one go; one thread at a time."""
        self._gathering = threading.get_ident()
        try:
            yield
        finally:
            self._gathering = 0
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            if not self._lock.acquire(blocking=len(self._unsent) > _TOGETHER):
                return
            try:
                if self._unsent:
                    frames = [self._unsent.popleft() for _ in range(len(self._unsent))]
                    self._socket.sendall(frames[0] if len(frames) == 1 else b"".join(frames))
            except OSError:
                self._unsent.clear()
            finally:
                self._lock.release()

    def receive(self, timeout: float) -> list[tuple[bytes, bytes]] | None:
        """Frames that have come, none after so many seconds; None when the parent is gone."""
        try:
            if not select.select([self._socket], [], [], timeout)[0]:
                return []
            data = self._socket.recv(_READ)
            return self._frames.feed(data) if data else None
        except (OSError, ValueError):
            return None


class Port:
    """The parent's end: listens for its worker, never waits, and keeps what the worker does not take yet.

    Args:
        poller: its sockets come and go there.
    """

    def __init__(self, poller: Watch) -> None:
        self._poller = poller
        self._frames = Frames()
        self._token = secrets.token_hex(16).encode()
        self._worker: socket.socket | None = None
        self._strangers: dict[int, socket.socket] = {}
        self._number = -1  # the worker's socket
        self._unsent = bytearray()
        try:
            self._listener = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise BridgeError(
                f"No local port can be opened for the worker: {error}.",
                hint="Check that this machine's firewall allows connections to 127.0.0.1.",
                code="no_port",
            ) from error
        self._listener.setblocking(False)

    @property
    def number(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def connected(self) -> bool:
        """Whether the worker has proved itself."""
        return self._worker is not None

    def expect(self) -> str:
        """Forget the last worker and what was on its way to it; the next has to bring the token that this returns."""
        self._forget_worker()
        self._unsent.clear()
        self._token = secrets.token_hex(16).encode()
        self._watch(self._listener)
        return self._token.decode()

    def send(self, route: bytes, payload: bytes) -> bool:
        """Send a frame, now or when the worker takes it; False when it has left too much unread."""
        frame = pack(route, payload)
        if self._worker is None or self._unsent:
            self._unsent += frame
            return len(self._unsent) < _MOST
        sent = self._try(self._worker, frame)
        if sent < len(frame):
            self._unsent += frame[sent:]
            self._watch(self._worker, READ | WRITE)
        return True

    def has_news(self, ready: Container[int]) -> bool:
        """Whether `take` would find something, given the sockets that are ready."""
        return self._number in ready or self._worker is None

    def take(self) -> list[tuple[bytes, bytes]]:
        """What has come from the worker; does not wait."""
        if self._worker is None:
            self._accept()
        if self._worker is None:
            return []
        if self._unsent:
            self._go_on(self._worker)
        return self._read(self._worker)

    def drain(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """What a worker that has ended had sent: to the end of its stream, or until nothing comes for so long."""
        messages = self.take()
        while self._worker is not None:
            self._worker.settimeout(timeout)
            more = self._read(self._worker)
            if not more:
                break
            messages += more
        return messages

    def close(self) -> None:
        """Give everything back."""
        self._forget_worker()
        for stranger in list(self._strangers.values()):
            self._dismiss(stranger)
        self._drop(self._listener)

    # Inside

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionError):
            while True:
                stranger, _ = self._listener.accept()
                stranger.setblocking(False)
                stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._strangers[stranger.fileno()] = stranger
                self._watch(stranger)
                if len(self._strangers) > _STRANGERS:
                    self._dismiss(next(iter(self._strangers.values())))
        for stranger in list(self._strangers.values()):
            if stranger.fileno() >= 0:
                self._question(stranger)

    def _question(self, stranger: socket.socket) -> None:
        """Look at what a new connection says first: our worker's token, or it is sent away."""
        try:
            said = stranger.recv(_TOKEN_BYTES, socket.MSG_PEEK)
            expected = pack(b"", self._token)
            if said and len(said) < len(expected) and expected.startswith(said):
                return
            right = self._worker is None and secrets.compare_digest(said[: len(expected)], expected)
            if right:
                stranger.recv(len(expected))
        except BlockingIOError:
            return
        except OSError:
            right = False
        if not right:
            self._dismiss(stranger)
            return
        del self._strangers[stranger.fileno()]
        self._worker, self._number, self._frames = stranger, stranger.fileno(), Frames()
        for other in list(self._strangers.values()):
            self._dismiss(other)
        self._poller.unregister(self._listener.fileno())  # nobody else is expected
        self._go_on(stranger)

    def _read(self, worker: socket.socket) -> list[tuple[bytes, bytes]]:
        try:
            data = worker.recv(_READ)
            if data:
                return self._frames.feed(data)
        except (BlockingIOError, InterruptedError, TimeoutError):
            return []
        except (OSError, ValueError):
            pass
        self._forget_worker()
        return []

    def _go_on(self, worker: socket.socket) -> None:
        if self._unsent:
            del self._unsent[: self._try(worker, bytes(self._unsent[:_READ]))]
        self._watch(worker, READ | WRITE if self._unsent else READ)

    @staticmethod
    def _try(worker: socket.socket, data: bytes) -> int:
        try:
            return worker.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return len(data)  # it is gone: whoever watches its process will notice

    def _watch(self, sock: socket.socket, flags: int = READ) -> None:
        self._poller.register(sock.fileno(), flags)

    def _forget_worker(self) -> None:
        if self._worker is not None:
            self._drop(self._worker)
            self._worker, self._number = None, -1

    def _dismiss(self, stranger: socket.socket) -> None:
        del self._strangers[stranger.fileno()]
        self._drop(stranger)

    def _drop(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            with contextlib.suppress(KeyError):
                self._poller.unregister(sock.fileno())
            sock.close()
