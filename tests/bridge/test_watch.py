"""What watches sockets: the same over every system's way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from npcsdk.bridge.watch import READ, WRITE, Watcher, new_watcher


@pytest.fixture(params=[Watcher, new_watcher], ids=["anywhere", "here"])
def watcher(request: pytest.FixtureRequest) -> Iterator[Watcher]:
    make: Callable[[], Watcher] = request.param
    made = make()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_socket_is_ready_for_what_it_is_watched_for(
    watcher: Watcher, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    watcher.register(one.fileno())
    assert watcher.poll(0) == []
    other.send(b"x")
    assert watcher.poll(1000) == [(one.fileno(), READ)]
    watcher.register(one.fileno(), READ | WRITE)
    assert watcher.poll(1000) == [(one.fileno(), READ | WRITE)]
    watcher.register(one.fileno(), WRITE)
    assert watcher.poll(1000) == [(one.fileno(), WRITE)]
    watcher.unregister(one.fileno())
    assert watcher.poll(0) == []
    with pytest.raises(KeyError):
        watcher.unregister(one.fileno())


def test_an_end_shows_to_who_reads(watcher: Watcher, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    watcher.register(one.fileno(), READ | WRITE)
    other.close()
    ((number, flags),) = watcher.poll(1000)
    assert (number, flags & READ) == (one.fileno(), READ)
    one.close()  # before it is watched no more
    watcher.unregister(number)
    assert watcher.poll(0) == []
