"""Clients and clocks that behave as nobody should: what it costs them, and that it costs nobody else anything."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from npcsdk.bridge.budget import Budget
from npcsdk.bridge.client import connect
from npcsdk.bridge.frontend import Limits
from npcsdk.events import End
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from tests.bridge.conftest import RunningServer
from tests.bridge.test_faults import Raw, free_address, posix, start_server

__all__ = ["free_address"]

Serve = Callable[..., RunningServer]

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
HELLO = codec.encode(m.Hello(client="half"))


def test_two_clients_with_one_identity_the_newest_has_it(serve: Serve) -> None:
    address = serve().address
    with Raw(address).greets("twin") as first, Raw(address).greets("twin") as second:
        goodbye = first.hears()
        assert isinstance(goodbye, m.Goodbye)
        assert goodbye.code == "replaced"
        second.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        assert isinstance(second.hears(), m.Opened)


@pytest.mark.parametrize(
    "half",
    [
        GREETING[:30],
        GREETING + READY[:9],
        GREETING + READY + b"\0" + bytes([len(HELLO)]) + HELLO[:10],  # a message that never ends
        GREETING + READY + b"\x02" + (1 << 19).to_bytes(8, "big") + b"x" * 1000,
        GREETING + READY + b"\x01\x02hi",  # its first frame says that more come
    ],
    ids=["greeting", "handshake", "message", "long message", "frames"],
)
def test_who_sends_half_a_message_keeps_nobody_waiting(half: bytes, serve: Serve) -> None:
    address = serve().address
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as slow:
        slow.sendall(half)
        with connect(address) as world:
            assert world["mira"].say("hello").text() == "mira heard hello"
        slow.sendall(
            b"\xff"
        )  # it is still being listened to, or was let go: either is fine, and both are harmless
        with connect(address) as world:
            assert world["mira"].say("hello").text() == "mira heard hello"


def test_a_thousand_conversations_are_too_many(serve: Serve) -> None:
    address = serve(limits=Limits(conversations=20)).address
    with Raw(address).greets() as greedy, connect(address) as world:
        for number in range(1000):
            greedy.sends(codec.encode(m.Open(conversation=f"c{number}", npc="mira")))
        answers = [greedy.hears() for _ in range(1000)]
        opened = [one for one in answers if isinstance(one, m.Opened)]
        refused = {one.code for one in answers if isinstance(one, m.Problem)}
        assert len(opened) == 20
        assert refused == {"too_many_conversations"}
        assert world["mira"].say("hello").text() == "mira heard hello"


def test_messages_out_of_order_are_refused_by_name_and_the_right_order_works(serve: Serve) -> None:
    with Raw(serve().address).greets() as raw:
        raw.sends(codec.encode(m.Say(conversation="c", turn="t1", line="hello")))
        assert raw.hears().code == "no_conversation"
        raw.sends(codec.encode(m.Result(conversation="c", turn="t1", action="a")))
        raw.sends(codec.encode(m.Cancel(conversation="c", turn="t1")))
        raw.sends(codec.encode(m.Close(conversation="c")))
        raw.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        assert isinstance(raw.hears(), m.Opened)
        raw.sends(codec.encode(m.Say(conversation="c", turn="t1", line="hello")))
        while not isinstance(heard := raw.hears().event, End):
            pass
        assert heard.text == "mira heard hello"


@posix
def test_a_server_that_stops_answering_is_noticed_within_the_silence(free_address: str) -> None:
    """Its process is there and its connection open; only nothing comes any more."""
    server = start_server(free_address)
    try:
        with connect(free_address, timeout=1.0) as world:
            events = iter(world["mira"].say("for-ever"))
            next(events)
            os.kill(server.pid, signal.SIGSTOP)
            stopped = time.monotonic()
            assert list(events)[-1].code == "server_unreachable"
            assert time.monotonic() - stopped < 2.5
            os.kill(server.pid, signal.SIGCONT)
            with world["mira"].conversation() as other:
                deadline = time.monotonic() + 10
                text = ""
                while not text and time.monotonic() < deadline:
                    text = getattr(list(other.say("hello"))[-1], "text", "")
                assert text == "mira heard hello"
    finally:
        server.kill()
        server.communicate()


def test_a_clock_that_jumps_back_takes_nothing_and_gives_nothing() -> None:
    budget = Budget(60, 2, now=1000.0)
    assert budget.take(1000.0) is None
    assert budget.take(10.0) is None  # back by minutes: what was left is left
    wait = budget.take(10.0)
    assert wait is not None
    assert 0 < wait <= 1000
    assert budget.take(10.0 + wait / 1000 + 0.001) is None


def test_the_time_of_day_decides_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(serve(limits=Limits(silence_s=5.0)).address, timeout=2.0) as world:
        for jump in (-1e6, 1e9, 0.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: 1_700_000_000.0 + jump)
            assert world["mira"].say("hello").text() == "mira heard hello"
