"""Three ways to reach a server, behind one small interface: a socket, a child process, this very process.

One thread at a time uses a link (`npcsdk.bridge.core.Core` sees to that); only `wake` may be called from others.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import zmq

from npcsdk.bridge.frontend import Frontend, Limits
from npcsdk.bridge.keys import Keys
from npcsdk.bridge.launcher import OVER, Launcher, WorkerConfig
from npcsdk.errors import BridgeError, ProtocolError
from npcsdk.wire.codec import decode_event, encode
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import Goodbye

__all__ = ["InlineLink", "Link", "SocketLink", "Waker", "WorkerLink", "died"]

_BATCH = 256  # messages taken in one go, so that sending is never starved
_ROUTE = b"game"


class Link(Protocol):
    """A way for whole messages to a server and back."""

    silence: float | None
    """Seconds without a word after which the server counts as gone; None where the link itself sees that."""
    tick: float | None
    """Seconds between looks at the clock; None where nothing depends on it."""

    def send(self, payload: bytes) -> None:
        """Send one message, or drop it while there is no connection: the peer sends again what matters."""
        ...

    def wait(self, timeout: float | None) -> None:
        """Wait for messages, at most so many seconds (None: for ever), or until `wake`. Takes nothing."""
        ...

    def receive(self) -> list[bytes]:
        """The messages that are there now."""
        ...

    def wake(self) -> None:
        """Make `wait` return, now or the next time. Any thread."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Waker:
    """Wakes a `zmq.Poller`, or anything else that polls sockets, from another thread."""

    def __init__(self) -> None:
        self.socket, self._sender = socket.socketpair()
        self.socket.setblocking(False)
        self._sender.setblocking(False)

    def wake(self) -> None:
        # A full buffer means that it is being woken already; a closed one, that nobody waits.
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        self.socket.close()
        self._sender.close()


class SocketLink:
    """A server on a socket (``npcsdk serve``)."""

    def __init__(self, address: str, *, silence: float, keys: Keys | None = None) -> None:
        self.silence: float | None = silence
        self.tick: float | None = 0.25
        self._waker = Waker()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 200)  # for the goodbye
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is kept for a server that is not there
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        try:
            if keys is not None:
                self._socket.setsockopt_string(zmq.CURVE_SERVERKEY, keys.server or "")
                self._socket.setsockopt_string(zmq.CURVE_PUBLICKEY, keys.public)
                self._socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.secret)
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise BridgeError(
                f"The address {address!r} cannot be used: {error}.",
                hint="Write it as tcp://127.0.0.1:5990; keys need the server's public key, too.",
                code="bad_address",
            ) from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._waker.socket, zmq.POLLIN)

    def send(self, payload: bytes) -> None:
        with contextlib.suppress(zmq.Again):
            self._socket.send(payload, zmq.NOBLOCK)

    def wait(self, timeout: float | None) -> None:
        self._poller.poll(None if timeout is None else int(timeout * 1000))

    def receive(self) -> list[bytes]:
        payloads: list[bytes] = []
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
        self._socket.close()
        self._context.term()
        self._waker.close()


class WorkerLink:
    """A worker of our own in a child process, started when the first message needs it."""

    silence: float | None = None
    tick: float | None = 1.0

    def __init__(self, config: WorkerConfig) -> None:
        self._waker = Waker()
        self._frontend = Frontend(Limits(messages_per_minute=None))
        self._ready = False
        self._answers: list[bytes] = []
        self._poller = zmq.Poller()
        self.launcher = Launcher(config, self._poller, self._waker.wake)
        self._poller.register(self._waker.socket, zmq.POLLIN)

    def send(self, payload: bytes) -> None:
        answers, forward = self._frontend.receive(_ROUTE, payload, time.monotonic())
        self._answers += answers
        if forward is not None:
            try:
                self._ready = self._ready and self.launcher.running
                self.launcher.start()
            except BridgeError as error:
                self._answers.append(encode(Goodbye(**fault_of(error))))
                return
            self.launcher.send(_ROUTE, forward)

    def wait(self, timeout: float | None) -> None:
        if not self._answers:
            self._poller.poll(None if timeout is None else int(timeout * 1000))

    def receive(self) -> list[bytes]:
        payloads, self._answers = self._answers, []
        self._sort(self.launcher.receive(), payloads)
        if not payloads:  # woken, or nothing has come for a while: is the worker still there?
            self._waker.clear()
            self.launcher.end_if_frozen(time.monotonic())
            status = self.launcher.exited()
            if status is not None:
                self._sort(self.launcher.last_words(), payloads)
                payloads += self._died(status)
        return payloads

    def _sort(self, messages: list[tuple[bytes, bytes]], payloads: list[bytes]) -> None:
        for route, payload in messages:
            if route:
                payloads.append(payload)
            else:
                self._note(payload)

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self.launcher.close()
        self._waker.close()

    def _note(self, payload: bytes) -> None:
        if payload.startswith(OVER):
            self._frontend.suspects.over(payload[len(OVER) :])
            return
        with contextlib.suppress(ProtocolError):
            message = decode_event(payload)
            self._ready = self._ready or type(message).__name__ == "Ready"

    def _died(self, status: int) -> list[bytes]:
        error = died(status, loading=not self._ready)
        if not self._ready:
            return [encode(Goodbye(**error, kind=BridgeError.default_code))]
        return [payload for _, payload in self._frontend.reset(error, time.monotonic())]


class InlineLink:
    """The service in this process, for tests and notebooks: its turns hold the interpreter's lock as they please."""

    silence: float | None = None
    tick: float | None = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        from npcsdk.bridge.service import Service
        from npcsdk.bridge.worker import load_world

        self._queue: deque[bytes] = deque()
        self._there = threading.Event()
        self._frontend = Frontend(Limits(messages_per_minute=None))
        self._service = Service(lambda route, payload: self._put(payload))
        threading.Thread(
            target=load_world, args=(self._service, config), name="npcsdk-load", daemon=True
        ).start()

    def send(self, payload: bytes) -> None:
        from npcsdk.wire.codec import decode_command

        answers, forward = self._frontend.receive(_ROUTE, payload, time.monotonic())
        for answer in answers:
            self._put(answer)
        if forward is not None:
            self._service.receive(_ROUTE, decode_command(forward))

    def _put(self, payload: bytes) -> None:
        self._queue.append(payload)
        self._there.set()

    def wait(self, timeout: float | None) -> None:
        self._there.wait(timeout)

    def receive(self) -> list[bytes]:
        self._there.clear()
        payloads: list[bytes] = []
        while self._queue and len(payloads) < _BATCH:
            payloads.append(self._queue.popleft())
        if self._queue:
            self._there.set()
        return payloads

    def wake(self) -> None:
        self._there.set()

    def close(self) -> None:
        self._service.close()


def died(status: int, *, loading: bool) -> dict[str, str]:
    """What to say of a worker that has ended by itself with an exit status."""
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    when = " while it loaded the world" if loading else ""
    hint = (
        "Its last words are on standard error; a smaller model may help if memory ran out."
        if loading
        else "It is started again for the next line; what the characters remembered is kept."
    )
    return {"code": "worker_died", "message": f"The worker process {how}{when}.", "hint": hint}
