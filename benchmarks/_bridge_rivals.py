"""What the bridge is measured against: a bare relay of pyzmq, and server-sent events and WebSocket over uvicorn.

The same three processes each time: one that makes tokens, one that hands them on, and the benchmark's own.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from benchmarks._bridge_world import PACE
from npcsdk.events import Text
from npcsdk.wire.codec import encode_turn_event

ROOT = Path(__file__).resolve().parent.parent

Measure = Callable[[], list[float]]
"""One round: the seconds that each token took."""


@contextlib.contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that ends with the block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def line_of(started: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert started.stdout is not None
    line = started.stdout.readline().strip()
    if not line:
        raise RuntimeError("a process of the benchmark ended before it was ready")
    return line


# The floor

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
        if not maker:
            maker = frames[0]
            print("ready", flush=True)
        else:
            front.send_multipart((route, frames[2]))
    if front in ready:
        route, payload = front.recv_multipart()
        back.send_multipart((maker, route, payload))
"""

_MAKE = """
import sys, zmq
from benchmarks._bridge_rivals import spoken
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send(b"here")
while True:
    route, asked = socket.recv_multipart()
    for payload in spoken(int(asked)):
        socket.send_multipart((route, payload))
"""


def spoken(tokens: int) -> Iterator[bytes]:
    """What the bare maker sends: the bytes that the SDK would."""
    for number in range(tokens):
        time.sleep(PACE)
        text = f"{time.perf_counter():.9f}"
        yield encode_turn_event("0123abcd", "0123456789abcdef", number + 1, Text(text=text, offset=0))


@contextlib.contextmanager
def relay(tokens: int) -> Iterator[Measure]:
    """A ROUTER and two DEALERs of bare pyzmq that hand on the same bytes."""
    context: zmq.Context[Any] = zmq.Context()
    with process(_HAND_ON) as between:
        front, back = line_of(between), line_of(between)
        with process(_MAKE, back), context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(front)
            line_of(between)

            def once() -> list[float]:
                socket.send(str(tokens).encode())
                times: list[float] = []
                while len(times) < tokens:
                    payload = socket.recv()
                    times.append(time.perf_counter() - float(msgpack.unpackb(payload)["text"]))
                return times

            yield once
    context.term()


# The rivals

_WEB = """
import asyncio, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute

maker = asyncio.Queue()

async def came(reader, writer):
    await maker.put((reader, writer))
    print("ready", flush=True)

async def tokens(asked):
    reader, writer = maker_of[0]
    writer.write(asked.encode() + b"\\n")
    for _ in range(int(asked)):
        yield (await reader.readline()).rstrip(b"\\n")

async def sse(request):
    async def events():
        async for token in tokens(request.query_params["tokens"]):
            yield b"data: " + token + b"\\n\\n"
    return StreamingResponse(events(), media_type="text/event-stream")

async def ws(socket):
    await socket.accept()
    async for asked in socket.iter_text():
        async for token in tokens(asked):
            await socket.send_text(token.decode())

maker_of = []

async def main():
    listener = await asyncio.start_server(came, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    maker_of.append(await maker.get())
    app = Starlette(routes=[Route("/sse", sse), WebSocketRoute("/ws", ws)])
    config = uvicorn.Config(
        app, port=0, log_level="error", access_log=False, ws_per_message_deflate=False, ws_ping_interval=None,
        timeout_keep_alive=3600,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving

asyncio.run(main())
"""

_MAKE_LINES = """
import socket, sys
from benchmarks._bridge_rivals import spoken_lines
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for asked in connection.makefile("r"):
    for line in spoken_lines(int(asked)):
        connection.sendall(line)
"""


def spoken_lines(tokens: int) -> Iterator[bytes]:
    """The same tokens as lines of JSON."""
    for number in range(tokens):
        time.sleep(PACE)
        event = {"event": "text", "text": f"{time.perf_counter():.9f}", "offset": 0}
        place = {"conversation": "0123abcd", "turn": "0123456789abcdef", "seq": number + 1}
        yield json.dumps({**place, **event}).encode() + b"\n"


def missing() -> list[str]:
    """The packages that the rivals need and that are not installed."""
    return [name for name in ("starlette", "uvicorn", "websockets") if not importlib.util.find_spec(name)]


@contextlib.contextmanager
def web(tokens: int) -> Iterator[tuple[Measure, Measure]]:
    """Server-sent events and WebSocket of one Starlette application under uvicorn."""
    from websockets.sync.client import connect

    with process(_WEB) as between:
        with process(_MAKE_LINES, line_of(between)):
            line_of(between)
            port = int(line_of(between))
            connection = http.client.HTTPConnection("127.0.0.1", port)

            def sse() -> list[float]:
                connection.request("GET", f"/sse?tokens={tokens}")
                answer = connection.getresponse()
                times: list[float] = []
                while len(times) < tokens:
                    line = answer.readline()
                    if line.startswith(b"data: "):
                        times.append(time.perf_counter() - float(json.loads(line[6:])["text"]))
                answer.read()
                return times

            with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as socket:

                def ws() -> list[float]:
                    socket.send(str(tokens))
                    times: list[float] = []
                    while len(times) < tokens:
                        payload = socket.recv()
                        times.append(time.perf_counter() - float(json.loads(payload)["text"]))
                    return times

                yield sse, ws
            connection.close()
