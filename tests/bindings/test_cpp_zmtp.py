"""The C++ client's ZMTP against the real library: a ROUTER in this process."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.bindings.cpp_build import CHECKED, build, needs_compiler

pytestmark = needs_compiler
WAIT_MS = 20_000


@pytest.fixture(scope="module")
def echo() -> Path:
    return build("tests/echo.cpp", *CHECKED)


@pytest.fixture
def router() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        router.bind("tcp://127.0.0.1:*")
        yield router


@contextlib.contextmanager
def running(
    program: Path, address: str, interval: float = 0.2, timeout: float = 10.0
) -> Iterator[subprocess.Popen[str]]:
    arguments = [str(program), address, str(interval), str(timeout)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(router: zmq.Socket[bytes]) -> str:
    return router.getsockopt_string(zmq.LAST_ENDPOINT)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return out


class Relay:
    """Between client and server, in pieces of a few bytes; it keeps what the server sent."""

    def __init__(self, target: str, piece: int) -> None:
        self.target = int(target.rsplit(":", 1)[1])
        self.piece = piece
        self.from_server = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ends: list[socket.socket] = []
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            self.ends = [client, server]
            for end in self.ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            other = threading.Thread(target=self.pump, args=(client, server))
            other.start()
            self.pump(server, client)
            other.join()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self.piece):
                if source is self.ends[1]:
                    self.from_server += data
                target.sendall(data)
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.thread.join(20)
        for end in self.ends:
            end.close()


SIZES = [0, 1, 2, 254, 255, 256, 257, 4095, 4096, 65_535, 65_536, 1_000_000]


def test_frames_of_every_size_there_and_back(echo: Path, router: zmq.Socket[bytes]) -> None:
    with running(echo, address_of(router)) as process:
        route, hello = router.recv_multipart()
        assert hello == b"hello"
        for size in SIZES:
            body = bytes(i % 251 for i in range(size))
            router.send_multipart([route, body])
            assert router.recv_multipart() == [route, body], size
        for number in range(500):  # many at once
            router.send_multipart([route, str(number).encode()])
        for number in range(500):
            assert router.recv_multipart() == [route, str(number).encode()]
        router.send_multipart([route, b"of two", b"frames"])  # not the protocol's
        router.send_multipart([route, b"over"])
        assert router.recv_multipart() == [route, b"over"]
        assert finish(process) == "open\n"


@pytest.mark.parametrize("piece", [1, 3, 61])
def test_cut_into_pieces_both_ways(echo: Path, router: zmq.Socket[bytes], piece: int) -> None:
    relay = Relay(address_of(router), piece)
    try:
        with running(echo, relay.address) as process:
            route, _ = router.recv_multipart()
            for size in (0, 1, 255, 256, 3000):
                router.send_multipart([route, b"x" * size])
                assert router.recv_multipart() == [route, b"x" * size]
            router.send_multipart([route, b"over"])
            assert router.recv_multipart()[1] == b"over"
            finish(process)
    finally:
        relay.close()


def test_the_library_sends_heartbeats_and_is_sent_some(echo: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        router.setsockopt(zmq.HEARTBEAT_IVL, 100)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 400)
        router.bind("tcp://127.0.0.1:*")
        monitor: Any = router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        relay = Relay(address_of(router), 4096)
        try:
            with running(echo, relay.address, 0.05) as process:
                route, _ = router.recv_multipart()
                assert monitor.poll(1500) == 0  # it answers: nobody is cut off
                router.send_multipart([route, b"over"])
                assert router.recv_multipart()[1] == b"over"
                assert finish(process) == "open\n"
        finally:
            relay.close()
            router.disable_monitor()
            monitor.close()
        assert b"\4PING" in relay.from_server
        assert b"\4PONG" in relay.from_server  # the answer to ours


def test_a_peer_that_falls_silent_is_lost_within_its_time(echo: Path) -> None:
    greeting = b"\xff" + bytes(8) + b"\x7f\3\1NULL" + bytes(48)
    ready = b"\5READY\x0bSocket-Type\0\0\0\6ROUTER"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with running(echo, address, 0.1, 0.3) as process:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(greeting + b"\4" + bytes([len(ready)]) + ready)
                assert process.stdout is not None
                said = [process.stdout.readline() for _ in range(3)]
                assert said == ["open\n", "lost\n", "trouble: the peer does not answer heartbeats\n"]
            again, _ = listener.accept()  # and it tries again
            again.close()


def test_another_mechanism_and_no_zmtp_at_all(echo: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        public, secret = zmq.curve_keypair()
        router.curve_server = True
        router.curve_publickey, router.curve_secretkey = public, secret
        router.bind("tcp://127.0.0.1:*")
        with running(echo, address_of(router)) as process:
            assert process.stdout is not None
            assert "CURVE" in process.stdout.readline()  # the library closes without a word
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with running(echo, f"tcp://127.0.0.1:{listener.getsockname()[1]}") as process:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                assert process.stdout is not None
                assert "ZMTP" in process.stdout.readline()


def test_it_comes_back_when_the_server_does(echo: Path) -> None:
    with zmq.Context() as context:
        port = 0
        process = None
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                with context.socket(zmq.ROUTER) as router:
                    router.setsockopt(zmq.LINGER, 0)
                    router.setsockopt(zmq.RCVTIMEO, WAIT_MS)
                    router.bind(f"tcp://127.0.0.1:{port or '*'}")
                    port = int(address_of(router).rsplit(":", 1)[1])
                    process = process or stack.enter_context(running(echo, address_of(router)))
                    assert router.recv_multipart()[1] == b"hello"
                    assert process.stdout is not None
                    while process.stdout.readline() != "open\n":
                        pass
                while process.stdout.readline() != "lost\n":
                    pass
