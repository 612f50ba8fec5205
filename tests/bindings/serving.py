"""A server in a process of its own, to be killed; and a wire that can be cut."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPENER = "tests.bridge.fake_world:open_world"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """``npcsdk serve`` (with ``arguments``), or the fake world behind the same server (without)."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        if arguments:
            command = [sys.executable, "-m", "npcsdk", "serve", "--address", self.address, *arguments]
        else:
            code = (
                "import signal; from npcsdk.bridge.server import Server;"
                f"server = Server({{'opener': {OPENER!r}}}, address={self.address!r});"
                "signal.signal(signal.SIGTERM, lambda *_: server.stop()); server.run()"
            )
            command = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """The bridge and its worker at once, without a word."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Wire:
    """Passes bytes between a client and a server, and breaks every connection when told to."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._over = False
        self.silent = False  # swallow everything
        self.made = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut(self) -> None:
        self._wake.send(b"c")

    def close(self) -> None:
        self._over = True
        self._wake.send(b"x")
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._listener:
                    self._accept()
                elif one is self._waker:
                    self._waker.recv(64)
                    for end in list(self._pairs):
                        self._drop(end)
                elif one in self._pairs:
                    self._pass(one)
        for end in list(self._pairs):
            self._drop(end)
        self._selector.close()
        for end in (self._listener, self._waker, self._wake):
            end.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        self.made += 1
        self._pairs[near], self._pairs[far] = far, near
        self._selector.register(near, selectors.EVENT_READ)
        self._selector.register(far, selectors.EVENT_READ)

    def _pass(self, one: socket.socket) -> None:
        try:
            data = one.recv(997)  # an odd number, so that frames are cut anywhere
            if not data:
                self._drop(one)
            elif not self.silent:
                self._pairs[one].sendall(data)
        except OSError:
            self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for end in (one, other):
            self._selector.unregister(end)
            end.close()
