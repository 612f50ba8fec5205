"""The bridge against a bare relay: what one token takes from the worker to the client.

Three processes either way: one that makes tokens, one that hands them on, and this one. The floor is a ROUTER and two
DEALERs of bare pyzmq that hand on the same bytes; the SDK's side is a worker, a bridge and `npcsdk.connect`.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from benchmarks.harness import Row, Setting
from npcsdk.bridge.client import connect
from npcsdk.events import End, Event, Text, Tokens
from npcsdk.wire.codec import encode_turn_event

ROOT = Path(__file__).resolve().parent.parent
PACE = 0.004  # seconds between tokens


def run(setting: Setting) -> Iterator[Row]:
    rounds, tokens = setting.rounds(10), 40 if setting.quick else 150
    ours: list[float] = []
    bare: list[float] = []
    with _served() as address, connect(address) as world, _relay(tokens) as floor:
        talk = world["npc"].conversation()
        for number in range(rounds + 1):
            sides = [(ours, lambda: _turn(talk, tokens)), (bare, floor)]
            for times, side in sides if number % 2 else reversed(sides):
                measured = side()
                if number:  # the first warms up
                    times += measured
    for name, share, bar in (("p50", 0.5, 1.5), ("p99", 0.99, 2.0)):
        yield Row(
            what=f"one token from the worker to the client, {name}",
            measured=_at(ours, share) * 1e6,
            floor=_at(bare, share) * 1e6,
            unit="µs",
            bar=bar,
            note=f"{len(ours)} tokens, one every {PACE * 1000:g} ms; floor: the same bytes through a bare relay",
        )


def _at(times: list[float], share: float) -> float:
    return statistics.quantiles(times, n=100)[round(share * 100) - 1]


def _turn(talk: Any, tokens: int) -> list[float]:
    times: list[float] = []
    for event in talk.say(str(tokens)):
        if isinstance(event, Text):
            times.append(time.perf_counter() - float(event.text))
    return times


@contextlib.contextmanager
def _process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


_SERVE = """
from npcsdk.bridge.server import serve
def tell(status):
    if status.event == "ready":
        print(status.address, flush=True)
import npcsdk.bridge.server as module
class Served(module.Server):
    def __init__(self, config, **options):
        super().__init__({**config, "opener": "benchmarks.bridge:open_world"}, **options)
module.Server = Served
serve(address="tcp://127.0.0.1:*", on_status=tell)
"""


@contextlib.contextmanager
def _served() -> Iterator[str]:
    with _process(_SERVE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


_HAND_ON = """
import zmq
context = zmq.Context()
front, back = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
for socket in (front, back):
    socket.bind("tcp://127.0.0.1:*")
    print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
poller = zmq.Poller()
poller.register(front, zmq.POLLIN)
poller.register(back, zmq.POLLIN)
route = maker = b""
while True:
    ready = dict(poller.poll())
    if back in ready:
        frames = back.recv_multipart()
        maker = frames[0]
        if len(frames) > 2:
            front.send_multipart((route, frames[2]))
    if front in ready:
        route, payload = front.recv_multipart()
        back.send_multipart((maker, route, payload))
"""

_MAKE = """
import sys, zmq
from benchmarks.bridge import spoken
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send(b"here")
while True:
    route, asked = socket.recv_multipart()
    for payload in spoken(int(asked)):
        socket.send_multipart((route, payload))
"""


@contextlib.contextmanager
def _relay(tokens: int) -> Iterator[Any]:
    import msgpack

    context: zmq.Context[Any] = zmq.Context()
    with _process(_HAND_ON) as relay:
        assert relay.stdout is not None
        front, back = relay.stdout.readline().strip(), relay.stdout.readline().strip()
        with _process(_MAKE, back), context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(front)
            time.sleep(1.0)  # for the maker to connect

            def once() -> list[float]:
                socket.send(str(tokens).encode())
                times: list[float] = []
                while len(times) < tokens:
                    payload = socket.recv()
                    times.append(time.perf_counter() - float(msgpack.unpackb(payload)["text"]))
                return times

            yield once
    context.term()


def spoken(tokens: int) -> Iterator[bytes]:
    """What the bare maker sends: the bytes that the SDK would."""
    for number in range(tokens):
        time.sleep(PACE)
        text = f"{time.perf_counter():.9f}"
        yield encode_turn_event("0123abcd", "0123456789abcdef", number + 1, Text(text=text, offset=0))


# The SDK's side: a world without a model.


@dataclass(frozen=True)
class _Npc:
    id: str = "npc"
    name: str = "Npc"
    role: str = ""
    voice: str | None = None


class _Conversation:
    id = "history"

    def say(self, line: str, **_: Any) -> Iterator[Event]:
        for _number in range(int(line)):
            time.sleep(PACE)
            yield Text(text=f"{time.perf_counter():.9f}", offset=0)
        yield End(reason="stop")

    react = say

    def update(self, state: Mapping[str, Any]) -> None:
        """Nothing depends on it."""

    def prepare(self, line: str = "") -> Tokens:
        return Tokens()

    def heard(self, turn: str, offset: int) -> bool:
        return True

    def cancel(self) -> None:
        """A turn is short."""

    def result(self, action_id: str, status: str, value: Any = None) -> bool:
        return False

    close = cancel


class _World:
    name = "Benchmark"
    npcs: Mapping[str, _Npc] = {"npc": _Npc()}

    def actions_with(self, definitions: Any) -> list[Any]:
        return list(definitions)

    def open(self, npc: str, **_: Any) -> _Conversation:
        return _Conversation()

    def close(self) -> None:
        """Nothing to give back."""


def open_world(folder: Any, **_: Any) -> _World:
    """What the worker opens."""
    return _World()
