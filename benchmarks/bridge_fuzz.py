"""``python -m benchmarks.bridge_fuzz``: coverage-guided frames against both ends' decoding, with atheris.

In one process and without sockets, so that coverage can guide: a server's connections and its frontend, the pipe of
a worker, a client. Whatever comes, they answer or raise what they say they raise, and the server still serves. Without
atheris (Linux, CPython up to 3.13) this says so and leaves; `benchmarks.bridge_soak` needs nothing further.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

_SESSION = 32  # messages of one connection


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge_fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, each of several frames")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was found interesting")
    given = parser.parse_args()
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed: pip install atheris")
        return 2
    with atheris.instrument_imports(include=["npcsdk.wire", "npcsdk.bridge", "msgpack"]):
        from npcsdk.wire import client_peer, codec, server_peer, zmtp  # noqa: F401
        from npcsdk.wire.vectors import samples

        look = _Look()
    with tempfile.TemporaryDirectory() as folder:
        corpus = given.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, (name, message) in enumerate(samples()):
            payload = codec.encode(message)
            for kind in range(4):
                body = zmtp.frame(payload) if kind == 1 else payload
                (corpus / f"{number}-{name}-{kind}".replace("/", "-")).write_bytes(bytes((kind,)) + body)
        options = [sys.argv[0], f"-runs={given.runs}", f"-seed={given.seed}", "-max_len=4096"]
        options += ["-report_slow_units=100000", str(corpus)]  # on a busy machine every one is slow once
        atheris.Setup(options, look.at)
        atheris.Fuzz()
    return 0


class _Look:
    """One input: its first byte says whose it is, the rest is cut into messages."""

    def __init__(self) -> None:
        from npcsdk.bridge.frontend import Frontend, Limits
        from npcsdk.bridge.pipe import Frames
        from npcsdk.errors import ProtocolError
        from npcsdk.wire import codec
        from npcsdk.wire import messages as m
        from npcsdk.wire.client_peer import ClientPeer
        from npcsdk.wire.zmtp import Zmtp

        self._frontend = Frontend(Limits(clients=64))
        self._limits, self._frames, self._zmtp = Limits, Frames, Zmtp
        self._codec, self._m, self._peer, self._error = codec, m, ClientPeer, ProtocolError
        self._now = 0.0
        self._route = 0
        shaken = Zmtp("DEALER", 1 << 16)
        shaken.feed(Zmtp("ROUTER", 1 << 16).outgoing())
        self._greeting = Zmtp("DEALER", 1 << 16).outgoing() + shaken.outgoing()

    def at(self, data: bytes) -> None:
        if not data:
            return
        self._now += 0.01
        (self._server, self._connection, self._client, self._pipe)[data[0] % 4](data[1:])

    def _server(self, data: bytes) -> None:
        """Payloads of one connection, which greets first; and then somebody else is served as ever."""
        self._route += 1
        route = self._route.to_bytes(8, "big")
        hello = self._codec.encode(self._m.Hello(client="fuzz"))
        self._frontend.receive(route, hello, self._now)
        for payload in data.split(b"\0\0", _SESSION):
            answers, forward = self._frontend.receive(route, payload, self._now)
            for answer in answers:
                self._codec.decode_event(answer)  # what a server says can be read
            if forward is not None:
                self._codec.decode_command(forward)
        self._frontend.forget(route)
        ping = self._codec.encode(self._m.Ping(nonce=7))
        self._frontend.receive(b"other", hello, self._now)
        answers, _ = self._frontend.receive(b"other", ping, self._now)
        assert [self._codec.decode_event(one) for one in answers] == [self._m.Pong(nonce=7)]

    def _connection(self, data: bytes) -> None:
        """A stream behind a handshake, whole and cut: the same messages, or the same end."""
        outcomes: list[Any] = []
        for step in (len(data) or 1, 3):
            end, heard = self._zmtp("ROUTER", 1 << 12), list[bytes]()
            try:
                end.feed(self._greeting)
                for at in range(0, len(data), step):
                    heard += end.feed(data[at : at + step])
                outcomes.append((heard, True))
            except self._error:
                outcomes.append((None, False))
        assert outcomes[0] == outcomes[1], outcomes

    def _client(self, data: bytes) -> None:
        """A client takes whatever a server says."""
        peer = self._peer(client="fuzz")
        peer.open("c1", "npc", player="p", history=None, now=self._now)
        peer.begin(self._m.Say(conversation="c1", turn="t1", line="x"), self._now)
        for payload in data.split(b"\0\0", _SESSION):
            peer.receive(payload, self._now)
            peer.notices()
            peer.tick(self._now)
            for command in peer.outgoing():
                self._codec.decode_command(command)

    def _pipe(self, data: bytes) -> None:
        frames = self._frames()
        try:
            whole = frames.feed(data)
        except ValueError:
            return
        assert sum(8 + len(route) + len(payload) for route, payload in whole) <= len(data)


if __name__ == "__main__":
    sys.exit(main())
