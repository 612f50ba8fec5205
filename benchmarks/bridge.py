"""The bridge against a bare relay and against web servers: what one token takes from the worker to the client.

Three processes whichever way: one that makes tokens, one that hands them on, and this one. Then the bridge alone: many
clients, a ping while the worker computes, and a server that is killed and started.
"""

from __future__ import annotations

import contextlib
import gc
import selectors
import socket
import statistics
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks import _bridge_rivals as rivals
from benchmarks._bridge_rivals import line_of, process
from benchmarks._bridge_world import PACE
from benchmarks.harness import Row, Setting
from npcsdk.bridge.client import connect
from npcsdk.errors import NpcError
from npcsdk.events import Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from npcsdk.wire.zmtp import Zmtp, frame

_END = b"\xa5event\xa3end"
STEP = 0.02  # seconds between the tokens of each of many clients
_NPCS = ("bram", "mara", "torva", "wren")  # of the world that ships


def run(setting: Setting) -> Iterator[Row]:
    yield from _one_token(setting)
    yield from _pings(setting)
    yield from _many_clients(setting)
    yield from _reconnection(setting)


def _at(times: list[float], share: float) -> float:
    return statistics.quantiles(times, n=100)[round(share * 100) - 1]


# One token


def _one_token(setting: Setting) -> Iterator[Row]:
    rounds, tokens = setting.rounds(10), 40 if setting.quick else 150
    absent = rivals.missing()
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(_served())[1]
        talk = stack.enter_context(connect(address))["npc"].conversation()
        sides: dict[str, Callable[[], list[float]]] = {
            "ours": lambda: _turn(talk, tokens),
            "bare": stack.enter_context(rivals.relay(tokens)),
        }
        if not absent:
            sides["sse"], sides["ws"] = stack.enter_context(rivals.web(tokens))
        times: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, side in sides.items() if number % 2 else reversed(sides.items()):
                measured = side()
                if number:  # the first warms up
                    times[name] += measured
    many = f"{len(times['ours'])} tokens, one every {PACE * 1000:g} ms"
    for name, share, bar in (("p50", 0.5, 1.5), ("p99", 0.99, 2.0)):
        yield Row(
            what=f"one token from the worker to the client, {name}",
            measured=_at(times["ours"], share) * 1e6,
            floor=_at(times["bare"], share) * 1e6,
            unit="µs",
            bar=bar,
            note=f"{many}; floor: the same bytes through a bare relay",
        )
        if absent:
            continue
        web = {name: _at(times[name], share) * 1e6 for name in ("sse", "ws")}
        yield Row(
            what=f"the same, {name}, against the better of server-sent events and WebSocket",
            measured=_at(times["ours"], share) * 1e6,
            floor=min(web.values()),
            unit="µs",
            bar=1.0,
            note=f"Starlette under uvicorn: server-sent events {web['sse']:.0f} µs, WebSocket {web['ws']:.0f} µs",
        )


def _turn(talk: Any, tokens: int) -> list[float]:
    times: list[float] = []
    for event in talk.say(str(tokens)):
        if isinstance(event, Text):
            times.append(time.perf_counter() - float(event.text))
    return times


# The server

_SERVE = """
import sys
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.server import Server
def tell(status):
    if status.event == "ready":
        print(status.address, flush=True)
server = Server(
    {"opener": sys.argv[3], "model": sys.argv[4] or None},
    address=sys.argv[1],
    limits=Limits(threads=int(sys.argv[2]), turns_per_minute=1_000_000, queue=10_000),
    on_status=tell,
)
print(server.address, flush=True)
server._crew.start()
print(server.worker_pid, flush=True)
server.run()
"""


@contextlib.contextmanager
def _served(
    address: str = "tcp://127.0.0.1:*", threads: int = 16, world: str = "_bridge_world", model: str = ""
) -> Iterator[tuple[Any, str, int]]:
    """The process, the address and the worker's process id of a server that is ready."""
    with process(_SERVE, address, str(threads), f"benchmarks.{world}:open_world", model) as server:
        address, worker = line_of(server), int(line_of(server))
        line_of(server)
        yield server, address, worker


class _Raw:
    """A client without the SDK's: a plain socket, and what is heard on it."""

    def __init__(self, address: str, name: str, npc: str = "npc") -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self.name = name
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._zmtp = Zmtp("DEALER", codec.MESSAGE_BYTES)
        self._heard: deque[bytes] = deque()
        while not self._zmtp.ready:
            self.socket.sendall(self._zmtp.outgoing())
            self._zmtp.feed(self.socket.recv(4096))
        self.socket.sendall(self._zmtp.outgoing())
        self.send(m.Hello(client=name)).send(m.Open(conversation=name, npc=npc, player=name))

    def send(self, command: m.Command) -> _Raw:
        self.socket.sendall(frame(codec.encode(command)))
        return self

    def read(self) -> list[bytes]:
        """What has come, after waiting for it; nothing when the server has ended the connection."""
        data = self.socket.recv(1 << 16)
        return self._zmtp.feed(data) if data else []

    def next(self) -> Any:
        while not self._heard:
            self._heard.extend(self.read())
        return codec.decode_event(self._heard.popleft())

    def hear(self, kind: type[Any]) -> Any:
        while not isinstance(message := self.next(), kind):
            pass
        return message


@contextlib.contextmanager
def _raw(address: str, count: int, *npcs: str) -> Iterator[list[_Raw]]:
    clients: list[_Raw] = []
    each = cycle(npcs or ("npc",))
    try:
        clients += [_Raw(address, f"client-{number}", next(each)) for number in range(count)]
        for client in clients:
            client.hear(m.Opened)
        yield clients
    finally:
        for client in clients:
            client.socket.close()


def _pings(setting: Setting) -> Iterator[Row]:
    seconds = 1.0 if setting.quick else 3.0
    with _served() as (_, address, _worker), _raw(address, 1) as (client,):
        client.send(m.Say(conversation=client.name, turn="t", line=f"prefill {seconds}"))
        times: list[float] = []
        over = False
        while not over:
            began = time.perf_counter()
            client.send(m.Ping(nonce=len(times)))
            while True:
                message = client.next()
                over = over or isinstance(message, m.TurnEvent)
                if isinstance(message, m.Pong):
                    break
            times.append(time.perf_counter() - began)
            time.sleep(0.002)
    yield Row(
        what="ping while the worker computes, p99",
        measured=_at(times, 0.99) * 1000,
        unit="ms",
        bar=5.0,
        note=f"{len(times)} pings while one call held the worker's interpreter for {seconds:g} s",
    )


def _many_clients(setting: Setting) -> Iterator[Row]:
    count, tokens = (50, 50) if setting.quick else (500, 250)
    times, ordered, memory = _together("", count, tokens)
    waiting, _, _ = _together("waits", count, tokens // 2)
    yield Row(
        what=f"{count} clients with {1 / STEP:g} tokens a second each, p99",
        measured=_at(times, 0.99) * 1000,
        unit="ms",
        bar=20.0,
        note=f"{len(times)} tokens, everybody's due at the same moments; p50 {_at(times, 0.5) * 1000:.1f} ms; heard in "
        f"this one process, too; from a runtime that does not batch, with a thread for each turn: p99 "
        f"{_at(waiting, 0.99) * 1000:.1f} ms",
    )
    yield Row(
        what="the same, tokens lost or out of order",
        measured=count * tokens - ordered,
        unit="",
        bar=0,
    )
    yield Row(
        what="the same, memory of bridge and worker for each client that is spoken to",
        measured=memory / 1024,
        unit="KB",
        bar=100,
    )


def _together(model: str, count: int, tokens: int) -> tuple[list[float], int, float]:
    """Tokens for many clients at the same moments: the seconds that each took, how many came in order, and the bytes
    that each client takes of bridge and worker, near the end of what is said to all of them.
    """
    speaking: list[int] = []
    with (
        _served(threads=count, world="_bridge_paced", model=model) as (server, address, worker),
        _raw(address, 1, _NPCS[0]),
    ):
        before = _resident(server.pid) + _resident(worker)
        with _raw(address, count, *_NPCS) as clients:
            begin = time.perf_counter() + 1.0 + 0.005 * count  # all of them have begun by then
            line = f"paced {tokens} {STEP} {begin:.6f}"
            for client in clients:
                client.send(m.Say(conversation=client.name, turn="t", line=line))
            look = threading.Timer(
                begin + 0.9 * tokens * STEP - time.perf_counter(),
                lambda: speaking.append(_resident(server.pid) + _resident(worker) - before),
            )
            look.start()
            with _no_collection():
                times, ordered = _hear_all(clients, tokens)
            look.join()
    return times, ordered, speaking[0] / count


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """What is measured is the server, and not this process looking through all that it has noted for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _hear_all(clients: list[_Raw], tokens: int) -> tuple[list[float], int]:
    """The seconds that each token took, and how many came in order."""
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    running = set(clients)
    heard: list[
        tuple[_Raw, float, list[bytes]]
    ] = []  # looked at when all is over: there are only so many cores
    deadline = time.monotonic() + 60 + tokens * STEP
    while running and time.monotonic() < deadline:
        for key, _ in selector.select(1.0):
            client: _Raw = key.data
            payloads = client.read()
            heard.append((client, time.perf_counter(), payloads))
            if not payloads:
                selector.unregister(client.socket)
            if not payloads or _END in payloads[-1]:
                running.discard(client)
    selector.close()
    seen = dict.fromkeys(clients, 0)
    times: list[float] = []
    ordered = 0
    for client, now, payloads in heard:
        for message in map(codec.decode_event, payloads):
            if not isinstance(message, m.TurnEvent) or not isinstance(message.event, Text):
                continue
            first = message.first or message.seq
            if first == seen[client] + 1:
                ordered += message.seq - first + 1
            seen[client] = message.seq
            times.append((now - float(message.event.text[-20:].split()[-1])) % 100)
    return times, ordered


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0


# A server that is killed


def _reconnection(setting: Setting) -> Iterator[Row]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    took: list[float] = []
    wrong = 0
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(_served(address))[0]
        with connect(address, timeout=3.0) as world, world["npc"].conversation() as talk:
            for _ in range(setting.rounds(5)):
                turn = talk.say("1000")
                next(iter(turn))
                _kill(first)
                first = stack.enter_context(_served(address))[0]
                up = time.perf_counter()
                lost = [event for event in turn if not isinstance(event, Text)]
                wrong += len(lost) != 1  # one end, and nothing after it
                heard: list[str] = []
                while not heard:
                    with contextlib.suppress(NpcError):
                        heard = [event.text for event in talk.say("3") if isinstance(event, Text)]
                        took.append(time.perf_counter() - up)
                wrong += len(heard) != 3 or len(set(heard)) != 3
    yield Row(
        what="an answer after the server was killed and is ready again, longest",
        measured=max(took),
        unit="s",
        bar=1.0,
        note=f"{len(took)} times in mid-turn; the conversation goes on by itself",
    )
    yield Row(what="the same, turns with a lost or doubled event", measured=wrong, unit="", bar=0)


def _kill(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
