"""The way between a parent and its worker: frames cut anywhere, strangers, a reader that is slow, an end."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.bridge.client import World
from npcsdk.bridge.pipe import Frames, Pipe, Port, pack
from npcsdk.bridge.signals import HeldSignals
from tests.bridge.conftest import OPENER, ROOT

frames = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=300)), max_size=8)


@given(frames, st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_frames_come_whole_wherever_the_stream_is_cut(
    sent: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(pack(*frame) for frame in sent)
    reader, heard, at, turn = Frames(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        heard += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert heard == sent


def test_a_length_that_cannot_be_is_no_frame() -> None:
    with pytest.raises(ValueError):
        Frames().feed(struct.pack("<II", 1 << 31, 1 << 31))


@pytest.fixture
def port():
    port = Port(zmq.Poller())
    yield port
    port.close()


def until(port: Port, count: int) -> list[tuple[bytes, bytes]]:
    taken: list[tuple[bytes, bytes]] = []
    while len(taken) < count:
        port._poller.poll(1000)
        taken += port.take()
    return taken


def test_a_worker_with_the_token_is_heard_and_gets_what_waited_for_it(port: Port) -> None:
    token = port.expect()
    port.send(b"r", b"early")
    pipe = Pipe(port.number, token)
    pipe.send(b"a", b"1")
    pipe.send(b"", b"2")
    assert until(port, 2) == [(b"a", b"1"), (b"", b"2")]
    assert pipe.receive(5) == [(b"r", b"early")]
    pipe._socket.close()
    assert port.drain(1) == []
    assert not port.connected


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", pack(b"", b"0" * 32), b"\xff" * 500])
def test_nobody_else_is_listened_to(port: Port, said: bytes) -> None:
    token = port.expect()
    with socket.create_connection(("127.0.0.1", port.number)) as stranger:
        stranger.sendall(said + pack(b"a", b"evil"))
        pipe = Pipe(port.number, token)
        pipe.send(b"a", b"good")
        assert until(port, 1) == [(b"a", b"good")]
        pipe._socket.close()


def test_a_worker_that_does_not_read_makes_nobody_wait_and_misses_nothing(port: Port) -> None:
    pipe = Pipe(port.number, port.expect())
    pipe.send(b"", b"here")
    until(port, 1)
    for number in range(3000):  # more than the system keeps
        assert port.send(b"r", b"%d" % number + b"x" * 4000)
    heard: list[tuple[bytes, bytes]] = []
    reading = threading.Thread(
        target=lambda: [heard.extend(pipe.receive(5) or ()) for _ in iter(lambda: len(heard) < 3000, False)]
    )
    reading.start()
    while reading.is_alive():
        port._poller.poll(10)
        port.take()
    assert [int(payload.partition(b"x")[0]) for _, payload in heard] == list(range(3000))
    pipe._socket.close()


def test_many_threads_send_and_every_thread_keeps_its_order(port: Port) -> None:
    pipe = Pipe(port.number, port.expect())

    def work(name: bytes) -> None:
        for number in range(300):
            pipe.send(name, b"%d" % number)

    threads = [threading.Thread(target=work, args=(b"%d" % name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    heard = until(port, 2400)
    for thread in threads:
        thread.join()
    for name in range(8):
        assert [int(payload) for route, payload in heard if route == b"%d" % name] == list(range(300))
    pipe._socket.close()


# Ctrl-C while a thread reads for itself


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a terminal, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_waits_for_a_message_to_be_delivered() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with HeldSignals():
            signal.raise_signal(signal.SIGINT)
            done.append("taken")
            done.append("delivered")
    assert done == ["taken", "delivered"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_comes_where_a_thread_waits() -> None:
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with HeldSignals() as held:
            with held.let():
                signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_between_events_does_what_it_would_do_without() -> None:
    held = HeldSignals().keep()
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with held.hold():
            signal.raise_signal(signal.SIGINT)
            done.append("delivered")
    assert done == ["delivered"]
    held.end()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_loops_one_within_the_other_leave_the_handler_as_it_was(order: tuple[int, int]) -> None:
    held = [HeldSignals().keep(), HeldSignals().keep()]
    for number in order:
        held[number].end()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_a_handler_that_the_game_sets_meanwhile_stays() -> None:
    held = HeldSignals().keep()
    mine = signal.signal(signal.SIGINT, signal.SIG_IGN)
    held.end()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, mine)  # as it was: it does what the one before would
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
def test_a_loop_over_a_turn_leaves_the_handler_as_it_was() -> None:
    with World(inline=True, opener=OPENER) as world:
        for _ in world["mira"].say("count 3"):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        for _ in world["mira"].say("for-ever"):
            break
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no way to interrupt a thread here")
def test_interrupted_again_and_again_a_reader_misses_nothing() -> None:
    """In a process of its own: this one may have loaded native code that is not to be interrupted like this."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bridge.interrupted"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    times, said, last = ran.stdout.split()
    assert int(times)
    assert last == "End"
    assert int(said) in range(55, 61)  # an interrupt may come just behind `next`, in that very loop


def test_a_thread_that_reads_for_itself_serves_the_others() -> None:
    """While one thread blocks for an event that does not come, others are told theirs; and after it left, too."""
    with World(opener=OPENER) as world:
        quiet = world["mira"].say("act nothing now")
        events = iter(quiet)
        next(events), next(events)
        blocked = threading.Thread(target=lambda: list(events))
        blocked.start()
        assert world["tom"].say("hello").text() == "tom heard hello"
        assert world.slots() == []
        quiet.result("a1", "enough")
        blocked.join(10)
        assert quiet.last.text == "Wait. done: enough"


def test_while_nobody_waits_actions_are_called_all_the_same() -> None:
    called = threading.Event()
    with World(opener=OPENER, actions={"wave": called.set}) as world:
        assert world["mira"].say("hello").text()  # this thread has read for itself, and stops
        turn = world["mira"].say("do wave")
        assert called.wait(10)
        turn.text()


def test_what_one_thread_sends_together_leaves_in_order_and_keeps_nobody_else(port: Port) -> None:
    pipe = Pipe(port.number, port.expect())
    until(port, 0)
    with pipe.together():
        pipe.send(b"a", b"1")
        assert port.take() == []
        other = threading.Thread(target=pipe.send, args=(b"b", b"2"))
        other.start()
        other.join(5)
        assert until(port, 2) == [(b"a", b"1"), (b"b", b"2")]  # whoever else sends takes it along
        for number in range(3000):  # more than may wait
            pipe.send(b"c", str(number).encode())
    assert until(port, 3000) == [(b"c", str(number).encode()) for number in range(3000)]
    pipe._socket.close()
