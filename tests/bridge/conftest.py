"""Worlds without a model: in this process, in a child process, on a server. The same tests run over all three."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npcsdk.bridge.client import AsyncWorld, World
from npcsdk.bridge.server import Server

OPENER = "tests.bridge.fake_world:open_world"
ROOT = str(Path(__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def _children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ROOT)


class RunningServer:
    """A server in a thread of this process, its worker in a child as always."""

    def __init__(self, **options: Any) -> None:
        self.server = Server(
            options.pop("config", {"opener": OPENER}),
            address=options.pop("address", "tcp://127.0.0.1:*"),
            **options,
        )
        self.address = self.server.address
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningServer]]:
    running: list[RunningServer] = []

    def start(**options: Any) -> RunningServer:
        running.append(RunningServer(**options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(params=["inline", "worker", "server"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def open_world(way: str, serve: Callable[..., RunningServer]) -> Iterator[Callable[..., World]]:
    """Makes a `World`, by the way that the test is run for; closed at the end."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        if way == "server":
            world = World.connect(serve().address, **options)
        else:
            world = World(inline=way == "inline", opener=OPENER, **options)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def open_async(way: str, serve: Callable[..., RunningServer]) -> Callable[..., AsyncWorld]:
    """Makes an `AsyncWorld`, by the way that the test is run for; the test closes it."""

    def make(**options: Any) -> AsyncWorld:
        if way == "server":
            return AsyncWorld.connect(serve().address, **options)
        return AsyncWorld(inline=way == "inline", opener=OPENER, **options)

    return make
