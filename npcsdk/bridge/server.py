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
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from npcsdk.bridge.access import Access
from npcsdk.bridge.crew import Crew, Member
from npcsdk.bridge.frontend import Frontend, Limits
from npcsdk.bridge.gate import open_gate
from npcsdk.bridge.launcher import DRAIN, DRAINED, OVER, STATS
from npcsdk.bridge.links import died
from npcsdk.bridge.metrics import MetricsServer
from npcsdk.bridge.routing import Routing
from npcsdk.bridge.watch import READ, Waker
from npcsdk.errors import BridgeError, NpcError, ProtocolError
from npcsdk.wire.codec import decode_event, encode, place_of
from npcsdk.wire.faults import error_of, fault_of
from npcsdk.wire.messages import Command, Done, Goodbye, Loading, Problem, Ready
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = ["DEFAULT_ADDRESS", "Server", "Status", "serve"]

_log = logging.getLogger(__name__)

_TICK_MS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the server is doing: told to whoever started it.

    ``listening`` (address), ``loading`` (stage, progress), ``ready`` (world, npcs), ``worker_died`` (message),
    ``draining``. ``worker``: the name of one of several.
    """

    event: Literal["listening", "loading", "ready", "worker_died", "draining"]
    address: str = ""
    stage: str = ""
    progress: float | None = None
    world: str = ""
    npcs: tuple[str, ...] = ()
    message: str = ""
    worker: str = ""


class Server:
    """The bridge process's work. `run` blocks; `stop` may be called from anywhere.

    Args:
        config: what the worker loads, or each of several; see `npcsdk.bridge.crew.Crew`.
        address: where to listen; a port of ``*`` takes a free one (see `address`).
        limits: how much clients may do; of turns, with each worker.
        access: who may connect, and do what.
        on_status: told what the server is doing, in the thread of `run`.
        drain_timeout: seconds for running turns to end when the server stops.

    Raises:
        BridgeError: the port is taken (``address_in_use``), the address is not one (``bad_address``), or it is
            not loopback and ``access`` demands no keys (``address_refused``).
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Sequence[Mapping[str, Any]],
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
        self._frontend = Frontend(limits, self.metrics, self._worker_of)
        self._began = time.monotonic()
        self._look_at = 0.0
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
        try:
            configs = [config] if isinstance(config, Mapping) else list(config)
            self._crew = Crew(configs, limits.for_worker(), poller, self._waker.wake)
        except BaseException:
            self._gate.close(0)
            self._waker.close()
            raise
        self._members = self._crew.members
        self._routing = Routing(self._crew.charges) if self._crew.several else None
        self._woken = self._waker.socket.fileno()
        poller.register(self._woken, READ)

    @property
    def worker_pid(self) -> int | None:
        """The first worker's process id, while there is one."""
        return self._members[0].launcher.pid

    def metrics(self) -> Mapping[str, Any]:
        """How the server is doing, as plain data; see `npcsdk.bridge.metrics`. Any thread."""
        return {
            "up_s": time.monotonic() - self._began,
            "ready": self._crew.ready,
            "clients": self._frontend.count,
            "slow_clients": self._gate.behind,
            "backlog_bytes": self._gate.backlog_bytes,
            "refused": dict(self._frontend.refused),
            "strangers": self._gate.strangers,
            **self._crew.numbers(),
        }

    def run(self, message: str = "") -> None:
        """Serve until `stop`; ``message`` is what else there is to say of where it listens.

        Raises:
            NpcError: the world or the model cannot be loaded, or the worker crashes whenever it loads them.
        """
        self._on_status(Status(event="listening", address=self.address, message=message))
        try:
            self._crew.start()
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
        for member in self._members:
            if member.launcher.has_news(ready):
                self._from_worker(member)
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
        for member in self._members:
            status = member.launcher.exited()
            if status is not None:
                for message in member.launcher.last_words():
                    self._take(member, *message)
                self._worker_died(member, status, now)
            member.launcher.end_if_frozen(now)
        for member in self._crew.due(now):
            self._start_again(member)
        for route in self._frontend.silent(now):
            self._gone(route)
        self._gate.sweep(now, self._frontend.knows)

    def _from_clients(self, ready: Mapping[Any, int]) -> None:
        for route, payload, key, role in self._gate.receive(ready):
            answers, forward = self._frontend.receive(route, payload, time.monotonic(), role=role, key=key)
            for answer in answers:
                self._gate.send(route, answer)
            if forward is not None:
                self._forward(route, forward)
            elif answers and self._frontend.ignores(route):
                self._gate.dismiss(route)
                self._end(route)

    def _forward(self, route: bytes, payload: bytes) -> None:
        if self._routing is None:
            self._members[0].launcher.send(route, payload)
            return
        try:
            greets, parts = self._routing.forward(route, payload)
        except NpcError as error:
            place = place_of(payload)
            self._gate.send(
                route,
                encode(
                    Problem(**fault_of(error), answers=place.get("command"), request=place.get("request"))
                ),
            )
            return
        for number, part in parts:
            member = self._members[number]
            if member.again_at is None:
                member.launcher.send(route, part)
            elif not greets:
                self._tell_lost(member, self._crew.absence(member))
        if greets:
            self._gate.send(route, encode(self._crew.told or Loading(stage="worlds")))

    def _tell_lost(self, member: Member, fault: Mapping[str, str]) -> None:
        assert self._routing is not None
        for route, payload in self._routing.died(member.number, fault):
            self._gate.send(route, payload)

    def _from_worker(self, member: Member) -> None:
        for message in member.launcher.receive():
            self._take(member, *message)

    def _take(self, member: Member, route: bytes, payload: bytes) -> None:
        if route:
            if self._routing is not None:
                answer = self._routing.answered(member.number, route, payload)
                if answer is None:
                    return
                payload = answer
            self._gate.send(route, payload)
        elif payload.startswith(OVER):
            self._frontend.suspects.over(payload[len(OVER) :], member.number)
        elif payload.startswith(STATS):
            numbers = decode_event(payload[len(STATS) :])
            member.numbers = numbers.value if isinstance(numbers, Done) else {}
        elif payload == DRAINED:
            member.drained = True
        else:
            self._note(member, payload)

    def _note(self, member: Member, payload: bytes) -> None:
        """The worker's word to its parent."""
        try:
            message = decode_event(payload)
        except ProtocolError:
            _log.warning("The worker sent its parent a bad message")
            return
        if isinstance(message, Ready):
            member.ready, member.crashes, member.told = True, 0, message
            npcs = tuple(npc.id for npc in message.npcs)
            self._on_status(
                Status(
                    event="ready", address=self.address, world=message.world, npcs=npcs, worker=member.name
                )
            )
        elif isinstance(message, Loading):
            self._on_status(
                Status(event="loading", stage=message.stage, progress=message.progress, worker=member.name)
            )
        elif isinstance(message, Goodbye):
            if member.told is None or not self._crew.give_up(member, time.monotonic()):
                raise error_of(message)
            member.launcher.ask_to_end()
        if isinstance(message, Loading | Ready):
            self._announce(member, message, payload)

    def _announce(self, member: Member, message: Loading | Ready, payload: bytes) -> None:
        """Tell clients how the loading goes, where the worker does not."""
        if self._routing is None:
            for route in self._frontend.waiting():  # those who have greeted hear it from the worker itself
                self._gate.send(route, payload)
            return
        if isinstance(message, Loading):
            if self._crew.told is not None:
                return  # one that is started again: the others serve
            told = self._crew.loading(member, message)
        else:
            told = self._crew.told
        if told is not None:
            for route in self._frontend.routes():
                self._gate.send(route, encode(told))

    def _worker_died(self, member: Member, status: int, now: float) -> None:
        fault = died(status, loading=not member.ready)
        _log.error("%s%s", f"{member.name}: " if member.name else "", fault["message"])
        self._on_status(Status(event="worker_died", message=fault["message"], worker=member.name))
        again = self._crew.died(member, fault, now)
        if self._routing is None:
            for route, payload in self._frontend.reset(fault, now):
                self._gate.send(route, payload)
        else:
            self._frontend.suspects.crashed(now, member.number)
            self._tell_lost(member, fault)
        if again:
            self._start_again(member)

    def _start_again(self, member: Member) -> None:
        member.launcher.start()
        if self._routing is not None:
            for route, payload in self._routing.greetings():
                member.launcher.send(route, payload)

    # Clients

    def _worker_of(self, route: bytes, command: Command) -> int:
        return 0 if self._routing is None else self._routing.worker_of(route, command)

    def _gone(self, route: bytes) -> None:
        """A client is gone for now; the worker keeps its turns for a while, in case it comes back."""
        self._gate.forget(route)
        self._frontend.forget(route)
        self._end(route)

    def _end(self, route: bytes) -> None:
        if self._routing is not None:
            self._routing.gone(route)
        for member in self._members:
            member.launcher.send(route, b"")

    # The end

    def _drain(self) -> None:
        self._on_status(Status(event="draining"))
        deadline = time.monotonic() + self._drain_timeout
        for member in self._members:
            if member.ready:
                member.launcher.send(b"", DRAIN)
        while time.monotonic() < deadline and any(
            member.ready and not member.drained and member.launcher.running for member in self._members
        ):
            self._turn()
        for member in self._members:
            self._from_worker(member)
        self._farewell("shutting_down", "The server is shutting down.", "Connect again in a moment.")

    def _farewell(self, code: str, message: str, hint: str) -> None:
        goodbye = encode(Goodbye(code=code, message=message, hint=hint))
        for route in self._frontend.routes():
            self._gate.send(route, goodbye)

    def close(self) -> None:
        """Give everything back; `run` does it itself."""
        self._crew.close()
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
    workers: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Serve a world until SIGTERM or Ctrl-C; the second one does not wait for running turns.

    Args:
        workers: several worlds, or several parts of one, each with a worker of its own: what they load otherwise than
            ``folder``, ``model``, ``memory`` and ``options`` say, a ``name``, and a ``prefix`` for its characters' ids
            or the ``npcs`` that it answers for.

    Raises:
        NpcError: the address cannot be had, or the world or the model cannot be loaded.
    """
    common = {"folder": folder, "model": model, "memory": memory, "options": dict(options or {})}
    config = [_config({**common, **worker}) for worker in workers] or _config(common)
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


def _config(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a worker loads, its paths not relative to anything any more."""
    folder, memory = given["folder"], given["memory"]
    return {
        **given,
        "folder": None if folder is None else str(Path(folder).absolute()),
        "memory": memory if memory is None or "://" in str(memory) else str(Path(memory).absolute()),
    }


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
