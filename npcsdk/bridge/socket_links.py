"""Two ways to a server on a socket: encrypted by ZeroMQ's own library, or plain, without a further thread."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import zmq

from npcsdk.bridge.addresses import place_of
from npcsdk.bridge.keys import Keys
from npcsdk.bridge.watch import READ, WRITE, Waker, new_watcher
from npcsdk.errors import BridgeError, ProtocolError
from npcsdk.wire.codec import MESSAGE_BYTES, encode
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import Goodbye, Problem
from npcsdk.wire.zmtp import Zmtp, frame

__all__ = ["CurveLink", "PlainLink", "socket_link"]

_BATCH = 256  # messages taken in one go, so that sending is never starved
_READ = 1 << 16
_AGAIN = 0.05  # seconds to the next attempt to connect; twice as long each time
_AGAIN_AT_MOST = 0.5
_UNSENT = 4 * MESSAGE_BYTES  # bytes; a server that leaves more untaken gets nothing further for now
_LINGER = 0.2  # seconds for the goodbye


def socket_link(address: str, *, silence: float, keys: Keys | None = None) -> PlainLink | CurveLink:
    """The way to a server on a socket (``npcsdk serve``).

    Raises:
        BridgeError: the address is none (``bad_address``), or a key.
    """
    return (
        PlainLink(address, silence=silence)
        if keys is None
        else CurveLink(address, silence=silence, keys=keys)
    )


def _bad_address(address: str, reason: Exception) -> BridgeError:
    return BridgeError(
        f"The address {address!r} cannot be used: {reason}.",
        hint="Write it as tcp://127.0.0.1:5990; keys need the server's public key, too.",
        code="bad_address",
    )


def _anew() -> bytes:
    """What a link tells its client when it is connected again: the server does not know it yet."""
    return encode(Problem(code="hello_first", message="The connection was made anew."))


class PlainLink:
    """A plain socket that speaks ZMTP itself, and is connected anew whenever it breaks."""

    def __init__(self, address: str, *, silence: float) -> None:
        self.silence: float | None = silence
        self.tick: float | None = 0.25
        try:
            self._place = place_of(address)
        except ValueError as error:
            raise _bad_address(address, error) from error
        self._waker = Waker()
        self._watcher = new_watcher()
        self._watcher.register(self._waker.socket.fileno(), READ)
        self._socket: socket.socket | None = None
        self._number = -1
        self._connected = False
        self._zmtp = Zmtp("DEALER", _UNSENT)
        self._unsent = b""
        self._writing = False
        self._ready: dict[int, int] = {}
        self._last: list[bytes] = []  # messages of our own making
        self._missed: bytes | None = None  # what was to be sent before there was a connection
        self._before = False  # there was one
        self._pause = _AGAIN
        self._again_at = 0.0
        self._over = False
        self._connect(time.monotonic())

    def send(self, payload: bytes) -> None:
        if not self._zmtp.ready:
            self._missed = payload
        elif len(self._unsent) < _UNSENT:
            self._push(frame(payload))

    def wait(self, timeout: float | None) -> None:
        if self._last:
            return
        if self._socket is None and not self._over:
            left = max(self._again_at - time.monotonic(), 0.0)
            timeout = left if timeout is None else min(timeout, left)
        ready = self._watcher.poll(None if timeout is None else int(timeout * 1000) + 1)
        self._ready = dict(ready)

    def receive(self) -> list[bytes]:
        if self._socket is None:
            self._connect(time.monotonic())
        flags = self._ready.pop(self._number, 0)
        payloads: list[bytes] = []
        if flags & WRITE and self._socket is not None:
            self._writable(self._socket)
        if flags & READ and self._socket is not None and self._connected:
            payloads = self._read(self._socket)
        if self._ready:
            self._ready.clear()
            self._waker.clear()
        if self._last:
            payloads, self._last = payloads + self._last, []
        return payloads

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self._over = True
        if self._socket is not None and self._unsent and self._connected:
            with contextlib.suppress(OSError):
                self._socket.settimeout(_LINGER)
                self._socket.sendall(self._unsent)
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)  # what was sent arrives, whatever is unread here
        self._disconnect()
        self._watcher.close()
        self._waker.close()

    # Inside

    def _connect(self, now: float) -> None:
        if self._over or now < self._again_at:
            return
        self._again_at = now + self._pause
        self._pause = min(self._pause * 2, _AGAIN_AT_MOST)
        try:
            kind, _, _, _, address = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)[0]
            made = socket.socket(kind, socket.SOCK_STREAM)
        except OSError:
            return
        made.setblocking(False)
        self._socket, self._number = made, made.fileno()
        self._zmtp, self._unsent, self._connected, self._writing = Zmtp("DEALER", _UNSENT), b"", False, True
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect(address)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            made.close()
            self._socket, self._number = None, -1
            return
        self._watcher.register(self._number, READ | WRITE)

    def _on_connected(self) -> None:
        self._pause = _AGAIN
        if self._before:  # the server would say so when it is spoken to; this is sooner
            self._last.append(_anew())
        elif self._missed is not None:
            self._push(frame(self._missed))
        self._before, self._missed = True, None

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._watcher.unregister(self._number)
            self._socket.close()
        self._socket, self._number, self._connected = None, -1, False
        self._zmtp, self._unsent = Zmtp("DEALER", _UNSENT), b""
        self._again_at = time.monotonic() + self._pause

    def _writable(self, sock: socket.socket) -> None:
        if not self._connected:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._disconnect()
                return
            self._connected = True
            self._unsent = self._zmtp.outgoing()
        data, self._unsent = self._unsent, b""
        if self._writing:
            self._writing = False
            self._watcher.register(self._number, READ)
        if data:
            self._push(data)

    def _push(self, data: bytes) -> None:
        if self._socket is None:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return  # broken: reading tells
        if sent < len(data):
            self._unsent = data[sent:]
            self._writing = True
            self._watcher.register(self._number, READ | WRITE)

    def _read(self, sock: socket.socket) -> list[bytes]:
        try:
            data = sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return []
        ready = self._zmtp.ready
        try:
            messages = self._zmtp.feed(data)
        except ProtocolError as error:
            self._disconnect()
            if error.code == "keys_needed":
                self._over = True
                self._last.append(encode(Goodbye(**fault_of(error))))
            return []
        if not ready:
            if answer := self._zmtp.outgoing():
                self._push(answer)
            if self._zmtp.ready:
                self._on_connected()
        elif answer := self._zmtp.outgoing():
            self._push(answer)
        return messages


class CurveLink:
    """ZeroMQ's own DEALER, with keys."""

    def __init__(self, address: str, *, silence: float, keys: Keys) -> None:
        self.silence: float | None = silence
        self.tick: float | None = 0.25
        self._waker = Waker()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 200)  # for the goodbye
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is kept for a server that is not there
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._greeted: zmq.Socket[bytes] = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._before = False  # there was a connection
        self._ready: dict[Any, int] = {}
        try:
            self._socket.setsockopt_string(zmq.CURVE_SERVERKEY, keys.server or "")
            self._socket.setsockopt_string(zmq.CURVE_PUBLICKEY, keys.public)
            self._socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.secret)
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise _bad_address(address, error) from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._greeted, zmq.POLLIN)
        self._poller.register(self._waker.socket, zmq.POLLIN)

    def send(self, payload: bytes) -> None:
        with contextlib.suppress(zmq.Again):
            self._socket.send(payload, zmq.NOBLOCK)

    def wait(self, timeout: float | None) -> None:
        self._ready = dict(self._poller.poll(None if timeout is None else int(timeout * 1000)))

    def receive(self) -> list[bytes]:
        payloads: list[bytes] = []
        if self._greeted in self._ready:
            self._greeted.recv_multipart(zmq.NOBLOCK)
            if self._before:  # the server would say so when it is spoken to, at the next ping; this is sooner
                payloads.append(_anew())
            self._before = True
        # A token is worth more than a round: asking whether there is more is cheaper than failing to read it.
        while len(payloads) < _BATCH and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN.value:
            payload = self._socket.recv(zmq.NOBLOCK)
            if not self._socket.getsockopt(zmq.RCVMORE):
                payloads.append(payload)
            else:  # a message is one frame; what has more is none of ours
                while self._socket.getsockopt(zmq.RCVMORE):
                    self._socket.recv(zmq.NOBLOCK)
        if not payloads:
            self._waker.clear()
        return payloads

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self._socket.disable_monitor()
        self._greeted.close()
        self._socket.close()
        self._context.term()
        self._waker.close()
