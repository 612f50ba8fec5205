"""Starting up: the import, and `npcsdk serve` until a client has its first answered hello and its first word."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Row, Setting, interleaved, median, timed
from npcsdk.bridge.client import World, connect

__all__ = ["run"]


def run(setting: Setting) -> Iterator[Row]:
    rounds = setting.rounds(15)
    bare, whole = interleaved(lambda: _python("pass"), lambda: _python("import npcsdk"), rounds=rounds)
    yield Row(
        what="import npcsdk, beyond `python -c pass`",
        measured=(median(whole) - median(bare)) * 1000,
        unit="ms",
        bar=60,
        note=f"python -c pass: {median(bare) * 1000:.0f} ms",
    )
    yield from _serve(setting)
    yield from _worker(setting)


def _python(code: str) -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def _serve(setting: Setting) -> Iterator[Row]:
    hello: list[float] = []
    ready: list[float] = []
    word: list[float] = []
    for _ in range(setting.rounds(5)):
        address = f"tcp://127.0.0.1:{_free_port()}"
        begun = time.perf_counter()
        loading: list[float] = []
        with _server(address, setting.model):
            stages = lambda stage, progress: loading.append(time.perf_counter() - begun)  # noqa: E731, B023
            with connect(address, timeout=60, on_loading=stages) as world:
                ready.append(time.perf_counter() - begun)
                hello.append(loading[0] if loading else ready[-1])
                next(iter(next(iter(world.npcs.values())).say("Hello.", seed=1)))
                word.append(time.perf_counter() - begun)
    yield Row(
        what="npcsdk serve: process start to the first answered hello",
        measured=statistics.median(hello) * 1000,
        unit="ms",
        note=f"world and model loaded after {median(ready) * 1000:.0f} ms, "
        f"first word after {median(word) * 1000:.0f} ms",
    )


def _worker(setting: Setting) -> Iterator[Row]:
    """A Python game's own world: the child process, until it can be spoken to."""
    seconds: list[float] = []
    for _ in range(setting.rounds(5)):
        begun = time.perf_counter()
        with World(model=setting.model):
            seconds.append(time.perf_counter() - begun)
    yield Row(what="npcsdk.World(): until it can be spoken to", measured=median(seconds) * 1000, unit="ms")


@contextmanager
def _server(address: str, model: str | None) -> Iterator[None]:
    command = [sys.executable, "-m", "npcsdk", "serve", "--address", address]
    process = subprocess.Popen(
        [*command, *(["--model", model] if model else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
