"""Links to a server: what a game's client hears from the way itself."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest

from npcsdk.bridge.access import Access
from npcsdk.bridge.keys import Keys
from npcsdk.bridge.socket_links import socket_link
from npcsdk.bridge.zap import new_keys
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from tests.bridge.conftest import RunningServer

Serve = Callable[..., RunningServer]
SERVER_PUBLIC, SERVER_SECRET = new_keys()
WAIT = 10.0


class Way:
    """A way to a server that can be cut."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self._target = host, int(port)
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ends = self._listener.accept()[0], socket.create_connection(self._target)
                self._ends += ends
                for one, other in (ends, reversed(ends)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for the next
        self._listener.close()
        self.cut()


@pytest.mark.parametrize("keys", [False, True])
def test_a_connection_that_was_cut_is_noticed_at_once(keys: bool, serve: Serve) -> None:
    public, secret = new_keys()
    access = Access(secret_key=SERVER_SECRET, clients={public: "play"}) if keys else Access()
    way = Way(serve(access=access).address)
    link = socket_link(way.address, silence=60.0, keys=Keys(public, secret, SERVER_PUBLIC) if keys else None)

    def heard(kind: type[m.ServerEvent]) -> m.ServerEvent:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            link.wait(0.1)
            for message in map(codec.decode_event, link.receive()):
                if isinstance(message, kind):
                    return message
            if kind is m.Welcome:
                link.send(
                    codec.encode(m.Hello(client="x"))
                )  # what is said before there is a connection is lost
        raise AssertionError(f"no {kind.__name__} came")

    heard(m.Welcome)
    for _ in range(2):
        way.cut()
        problem = heard(m.Problem)  # nothing was sent that could have brought an answer
        assert isinstance(problem, m.Problem)
        assert problem.code == "hello_first"
        heard(m.Welcome)
    link.close()
    way.close()
