"""``npcsdk serve``: the bridge between sockets and the worker. It relays, answers at once, and never computes.

One thread: the gate for the clients, and the launcher's way to the worker. What a worker sends goes to
its client as it came. When the worker dies, clients are told and a new one is started; when a signal says so, the
turns that run are waited for and everybody is told goodbye.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from npcsdk.bridge.access import Access
from npcsdk.bridge.frontend import Frontend, Limits
from npcsdk.bridge.gate import open_gate
from npcsdk.bridge.launcher import DRAIN, DRAINED, OVER, STATS, Launcher
from npcsdk.bridge.links import died
from npcsdk.bridge.metrics import MetricsServer
from npcsdk.bridge.watch import READ, Waker
from npcsdk.errors import BridgeError, NpcError, ProtocolError
from npcsdk.wire.codec import decode_event, encode
from npcsdk.wire.faults import error_of
from npcsdk.wire.messages import Done, Goodbye, Loading, Ready
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = ["DEFAULT_ADDRESS", "Server", "Status", "serve"]

_log = logging.getLogger(__name__)

_TICK_MS = 500
_CRASHES = 3  # in a row before a worker has been ready: then it is not started again


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the server is doing: told to whoever started it.

    ``listening`` (address), ``loading`` (stage, progress), ``ready`` (world, npcs), ``worker_died`` (message),
    ``draining``.
    """

    event: Literal["listening", "loading", "ready", "worker_died", "draining"]
    address: str = ""
    stage: str = ""
    progress: float | None = None
    world: str = ""
    npcs: tuple[str, ...] = ()
    message: str = ""


class Server:
    """The bridge process's work. `run` blocks; `stop` may be called from anywhere.

    Args:
        config: what the worker loads; see `npcsdk.bridge.launcher.WorkerConfig`.
        address: where to listen; a port of ``*`` takes a free one (see `address`).
        limits: how much clients may do.
        access: who may connect, and do what.
        on_status: told what the server is doing, in the thread of `run`.
        drain_timeout: seconds for running turns to end when the server stops.

    Raises:
        BridgeError: the port is taken (``address_in_use``), the address is not one (``bad_address``), or it is
            not loopback and ``access`` demands no keys (``address_refused``).
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        address: str = DEFAULT_ADDRESS,
        limits: Limits | None = None,
        access: Access | None = None,
        on_status: Callable[[Status], None] = lambda status: None,
        drain_timeout: float = 10.0,
    ) -> None:
        self._on_status = on_status
        self._drain_timeout = drain_timeout
        self._stopping = threading.Event()
        self._limits = limits = limits or Limits()
        self._frontend = Frontend(limits, self.metrics)
        self._numbers: Mapping[str, Any] = {}  # the worker's
        self._restarts = 0
        self._began = time.monotonic()
        self._ready = False
        self._crashes = 0
        self._look_at = 0.0
        self._drained = False
        self._waker = Waker()
        try:
            self._gate = open_gate(
                address, limits, access or Access(), version=self._frontend.version, gone=self._gone
            )
        except BaseException:
            self._waker.close()
            raise
        self.address = self._gate.address
        poller = self._gate.poller
        self._launcher = Launcher({**config, "limits": limits.for_worker()}, poller, self._waker.wake)
        self._woken = self._waker.socket.fileno()
        poller.register(self._woken, READ)

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return self._launcher.pid

    def metrics(self) -> Mapping[str, Any]:
        """How the server is doing, as plain data; see `npcsdk.bridge.metrics`. Any thread."""
        return {
            "up_s": time.monotonic() - self._began,
            "ready": self._ready,
            "clients": self._frontend.count,
            "slow_clients": self._gate.behind,
            "backlog_bytes": self._gate.backlog_bytes,
            "worker_restarts": self._restarts,
            "refused": dict(self._frontend.refused),
            "strangers": self._gate.strangers,
            "worker": dict(self._numbers),
        }

    def run(self, message: str = "") -> None:
        """Serve until `stop`; ``message`` is what else there is to say of where it listens.

        Raises:
            NpcError: the world or the model cannot be loaded, or the worker crashes whenever it loads them.
        """
        self._on_status(Status(event="listening", address=self.address, message=message))
        try:
            self._launcher.start()
            while not self._stopping.is_set():
                self._turn()
            self._drain()
        except NpcError as error:
            self._farewell(error.code, error.message, error.hint)
            raise
        finally:
            self.close()

    def stop(self) -> None:
        """Let the running turns end, tell the clients, and return from `run`. Any thread, and signal handlers."""
        self._stopping.set()
        self._waker.wake()

    # One turn of the loop

    def _turn(self) -> None:
        pause = self._gate.pause_ms
        ready = dict(self._gate.poller.poll(_TICK_MS if pause is None else pause))
        if self._launcher.has_news(ready):
            self._from_worker()
            self._gate.flush()
        self._from_clients(ready)
        self._gate.flush()
        now = time.monotonic()
        if self._woken in ready or now >= self._look_at:
            self._waker.clear()
            self._look_at = now + _TICK_MS / 1000
            self._look_around(now)

    def _look_around(self, now: float) -> None:
        """What need not be looked at for each message: is everybody still there?"""
        status = self._launcher.exited()
        if status is not None:
            for message in self._launcher.last_words():
                self._take(*message)
            self._worker_died(status)
        self._launcher.end_if_frozen(now)
        for route in self._frontend.silent(now):
            self._gone(route)
        self._gate.sweep(now, self._frontend.knows)

    def _from_clients(self, ready: Mapping[Any, int]) -> None:
        for route, payload, key, role in self._gate.receive(ready):
            answers, forward = self._frontend.receive(route, payload, time.monotonic(), role=role, key=key)
            for answer in answers:
                self._gate.send(route, answer)
            if forward is not None:
                self._launcher.send(route, forward)
            elif answers and self._frontend.ignores(route):
                self._gate.dismiss(route)
                self._launcher.send(route, b"")

    def _from_worker(self) -> None:
        for message in self._launcher.receive():
            self._take(*message)

    def _take(self, route: bytes, payload: bytes) -> None:
        if route:
            self._gate.send(route, payload)
        elif payload.startswith(OVER):
            self._frontend.suspects.over(payload[len(OVER) :])
        elif payload.startswith(STATS):
            numbers = decode_event(payload[len(STATS) :])
            self._numbers = numbers.value if isinstance(numbers, Done) else {}
        elif payload == DRAINED:
            self._drained = True
        else:
            self._note(payload)

    def _note(self, payload: bytes) -> None:
        """The worker's word to its parent."""
        try:
            message = decode_event(payload)
        except ProtocolError:
            _log.warning("The worker sent its parent a bad message")
            return
        if isinstance(message, Loading | Ready):
            for route in self._frontend.waiting():  # those who have greeted hear it from the worker itself
                self._gate.send(route, payload)
        if isinstance(message, Loading):
            self._on_status(Status(event="loading", stage=message.stage, progress=message.progress))
        elif isinstance(message, Ready):
            self._ready, self._crashes = True, 0
            npcs = tuple(npc.id for npc in message.npcs)
            self._on_status(Status(event="ready", address=self.address, world=message.world, npcs=npcs))
        elif isinstance(message, Goodbye):
            raise error_of(message)

    def _worker_died(self, status: int) -> None:
        fault = died(status, loading=not self._ready)
        _log.error("%s", fault["message"])
        self._on_status(Status(event="worker_died", message=fault["message"]))
        if not self._ready:
            self._crashes += 1
            if self._crashes >= _CRASHES:
                raise BridgeError(**fault)
        self._ready = False
        self._restarts += 1
        self._numbers = {}
        for route, payload in self._frontend.reset(fault, time.monotonic()):
            self._gate.send(route, payload)
        self._launcher.start()

    # Clients

    def _gone(self, route: bytes) -> None:
        """A client is gone for now; the worker keeps its turns for a while, in case it comes back."""
        self._gate.forget(route)
        self._frontend.forget(route)
        self._launcher.send(route, b"")

    # The end

    def _drain(self) -> None:
        self._on_status(Status(event="draining"))
        deadline = time.monotonic() + self._drain_timeout
        if self._ready:
            self._launcher.send(b"", DRAIN)
            while not self._drained and self._launcher.running and time.monotonic() < deadline:
                self._turn()
            self._from_worker()
        self._farewell("shutting_down", "The server is shutting down.", "Connect again in a moment.")

    def _farewell(self, code: str, message: str, hint: str) -> None:
        goodbye = encode(Goodbye(code=code, message=message, hint=hint))
        for route in self._frontend.routes():
            self._gate.send(route, goodbye)

    def close(self) -> None:
        """Give everything back; `run` does it itself."""
        self._launcher.close()
        self._gate.close(linger=500)  # for the goodbyes
        self._waker.close()


def serve(
    folder: str | Path | None = None,
    *,
    model: str | None = None,
    memory: str | Path | None = None,
    address: str = DEFAULT_ADDRESS,
    options: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    access: Access | None = None,
    on_status: Callable[[Status], None] = lambda status: None,
    drain_timeout: float = 10.0,
    metrics: str | None = None,
) -> None:
    """Serve a world until SIGTERM or Ctrl-C; the second one does not wait for running turns.

    Raises:
        NpcError: the address cannot be had, or the world or the model cannot be loaded.
    """
    config = {
        "folder": None if folder is None else str(Path(folder).absolute()),
        "model": model,
        "memory": memory if memory is None or "://" in str(memory) else str(Path(memory).absolute()),
        "options": dict(options or {}),
    }
    server = Server(
        config,
        address=address,
        limits=limits,
        access=access,
        on_status=on_status,
        drain_timeout=drain_timeout,
    )
    try:
        served = MetricsServer(metrics, server.metrics) if metrics else None
    except BridgeError:
        server.close()
        raise
    # The second signal interrupts the waiting; everything is closed on the way out all the same.
    try:
        with contextlib.suppress(KeyboardInterrupt), _signals(server):
            server.run(f"metrics on http://{served.address}/metrics" if served else "")
    finally:
        if served is not None:
            served.close()


@contextlib.contextmanager
def _signals(server: Server) -> Generator[None, None, None]:
    def stop(number: int, frame: object) -> None:
        server.stop()
        signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
