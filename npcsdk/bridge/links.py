"""Ways to reach a server, behind one small interface: here a child process and this very process.

One thread at a time uses a link (`npcsdk.bridge.core.Core` sees to that); only `wake` may be called from others.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from npcsdk.bridge.frontend import Frontend, Limits
from npcsdk.bridge.launcher import OVER, Launcher, WorkerConfig
from npcsdk.bridge.watch import READ, Waker, new_watcher
from npcsdk.errors import BridgeError, ProtocolError
from npcsdk.wire.codec import decode_event, encode
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import Goodbye

__all__ = ["InlineLink", "Link", "WorkerLink", "died"]

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


class WorkerLink:
    """A worker of our own in a child process, started when the first message needs it."""

    silence: float | None = None
    tick: float | None = 1.0

    def __init__(self, config: WorkerConfig) -> None:
        self._waker = Waker()
        self._frontend = Frontend(Limits(messages_per_minute=None))
        self._ready = False
        self._answers: list[bytes] = []
        self._poller = new_watcher()
        self.launcher = Launcher(config, self._poller, self._waker.wake)
        self._poller.register(self._waker.socket.fileno(), READ)

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
        self._poller.close()
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
