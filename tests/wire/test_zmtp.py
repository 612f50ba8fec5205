"""Our own end of ZeroMQ's protocol: cut anywhere, against ZeroMQ's library, and with what that never says."""

from __future__ import annotations

import socket

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import ProtocolError
from npcsdk.wire.zmtp import Zmtp, frame

LIMIT = 1 << 20


def joined(*payloads: bytes) -> tuple[Zmtp, Zmtp]:
    """A client and a server that have agreed."""
    client, server = Zmtp("DEALER", LIMIT), Zmtp("ROUTER", LIMIT)
    for _ in range(4):
        server.feed(client.outgoing())
        client.feed(server.outgoing())
    assert client.ready
    assert server.ready
    return client, server


def whole_opening() -> bytes:
    """All that a client sends until it may speak."""
    client, server = Zmtp("DEALER", LIMIT), Zmtp("ROUTER", LIMIT)
    said = client.outgoing()
    client.feed(server.outgoing())
    return said + client.outgoing()


@given(st.lists(st.binary(max_size=400), max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_messages_come_whole_wherever_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = whole_opening() + b"".join(map(frame, sent))
    server, heard, at, turn = Zmtp("ROUTER", LIMIT), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        heard += server.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert heard == sent


@given(st.binary(max_size=120), st.integers(0, 200))
def test_noise_is_refused_or_waited_for(noise: bytes, after: int) -> None:
    server = Zmtp("ROUTER", 1000)
    try:
        assert all(len(one) <= 1000 for one in server.feed(whole_opening()[:after] + noise))
    except ProtocolError as error:
        assert error.code in ("bad_stream", "keys_needed")


def test_what_costs_the_connection() -> None:
    for said in (
        b"\x02" + (LIMIT + 1).to_bytes(8, "big"),  # too long, before any of it has come
        b"\x08\x00",  # a flag that there is not
        b"\x05\x01x",  # a command of several frames
        b"\x04\x00",  # without a name
        b"\x04\x05\x04PING",  # without its time to live
        b"\x04\x07\x05ERROR\x00",
        b"\x01\xff" + bytes(255) + b"\x02" + (LIMIT - 100).to_bytes(8, "big"),  # too long in two frames
    ):
        _, server = joined()
        with pytest.raises(ProtocolError) as caught:
            server.feed(said)
        assert caught.value.code == "bad_stream"


def test_a_message_before_the_handshake_or_a_wrong_partner_is_refused() -> None:
    greeting = whole_opening()[:64]
    for said in (frame(b"early"), b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH\0"):
        with pytest.raises(ProtocolError):
            Zmtp("ROUTER", LIMIT).feed(greeting + said)


def test_several_frames_are_one_message_that_says_nothing() -> None:
    _, server = joined()
    assert server.feed(b"\x01\x01a\x00\x01b" + frame(b"c")) == [b"", b"c"]


def test_a_ping_is_answered_with_its_context() -> None:
    _, server = joined()
    assert server.feed(b"\x04\x0a\x04PING\x00\x01abc") == []
    assert server.outgoing() == b"\x04\x08\x04PONGabc"


def test_a_server_that_encrypts_is_told_by_name() -> None:
    client = Zmtp("DEALER", LIMIT)
    with pytest.raises(ProtocolError) as caught:
        client.feed(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\x01" + bytes(31))
    assert (caught.value.code, bool(caught.value.hint)) == ("keys_needed", True)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000])
def test_with_zeromqs_own_router(size: int) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, 10_000)
        router.setsockopt(zmq.HEARTBEAT_IVL, 30)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        client = Zmtp("DEALER", LIMIT)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            while not client.ready:
                stream.sendall(client.outgoing())
                client.feed(stream.recv(4096))
            stream.sendall(client.outgoing() + frame(b"x" * size))
            route, heard = router.recv_multipart()
            assert heard == b"x" * size
            router.send_multipart((route, heard[::-1]))
            messages: list[bytes] = []
            pings = 0
            while not messages or not pings:
                messages += client.feed(stream.recv(1 << 16))
                answer = client.outgoing()
                pings += b"PONG" in answer
                stream.sendall(answer)
            assert messages == [b"x" * size]
