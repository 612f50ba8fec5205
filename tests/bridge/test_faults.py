"""What must not take a game down: a worker that dies or cannot start, a server that is gone, clients that misbehave."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import zmq

from npcsdk.bridge.client import World, connect
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.server import Server
from npcsdk.bridge.server import serve as serve_world
from npcsdk.errors import BridgeError, ModelError, NpcError
from npcsdk.events import Failed, Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from tests.bridge.conftest import OPENER, ROOT, RunningServer

Serve = Callable[..., RunningServer]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # a zombie is not alive
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def gone(pid: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if alive(pid):
                threading.Event().wait(0.02)
                continue
        return True
    return False


posix = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at /proc")


class Raw:
    """A client of one's own: whatever bytes a test likes."""

    def __init__(self, address: str) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 5000)
        self.socket.connect(address)

    def sends(self, *payloads: bytes) -> Raw:
        for payload in payloads:
            self.socket.send(payload)
        return self

    def hears(self) -> m.ServerEvent:
        return codec.decode_event(self.socket.recv())

    def greets(self, client: str = "raw") -> Raw:
        self.sends(codec.encode(m.Hello(client=client)))
        while not isinstance(heard := self.hears(), m.Ready):
            if isinstance(heard, m.Welcome):
                self.epoch = heard.epoch
        return self

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.context.term()


# The worker


@pytest.mark.parametrize("over_a_server", [False, True])
def test_a_worker_that_dies_ends_its_turns_and_is_started_again(over_a_server: bool, serve: Serve) -> None:
    world = connect(serve().address) if over_a_server else World(opener=OPENER)
    with world:
        mira = world["mira"]
        other = world["tom"].say("for-ever")
        events = list(mira.say("die"))
        assert events[0] == Text(text="Farewell")
        assert isinstance(events[-1], Failed)
        assert (events[-1].code, bool(events[-1].hint)) == ("worker_died", True)
        assert list(other)[-1].code == "worker_died"
        assert mira.say("hello").text() == "mira heard hello"


@posix
def test_killed_in_mid_sentence_again_and_again() -> None:
    with World(opener=OPENER) as world:
        for number in range(3):
            turn = world["mira"].say(f"for-ever {number}")
            events = iter(turn)
            next(events)
            os.kill(world.core.link.launcher.pid, signal.SIGKILL)
            assert list(events)[-1].code == "worker_died"
        assert world["mira"].say("hello").text() == "mira heard hello"


@pytest.mark.parametrize("over_a_server", [False, True])
def test_a_line_that_a_worker_died_of_twice_is_refused(over_a_server: bool, serve: Serve) -> None:
    world = connect(serve().address) if over_a_server else World(opener=OPENER)
    with world:
        mira = world["mira"]
        codes = [list(mira.say("die"))[-1].code for _ in range(3)]
        assert codes == ["worker_died", "worker_died", "crashes_worker"]
        assert mira.say("hello").text() == "mira heard hello"


@posix
def test_a_worker_that_hangs_is_ended_and_started_again() -> None:
    with World(opener=OPENER) as world:
        launcher = world.core.link.launcher
        turn = world["mira"].say("for-ever")
        events = iter(turn)
        next(events)
        os.kill(launcher.pid, signal.SIGSTOP)
        launcher._frozen_after = 0.3
        assert list(events)[-1].code == "worker_died"
        launcher._frozen_after = 60.0
        assert world["mira"].say("hello").text() == "mira heard hello"


def test_a_worker_that_dies_while_it_loads_is_an_error_not_a_wait() -> None:
    with pytest.raises(BridgeError, match="exit status 7 while it loaded") as caught:
        World(opener=OPENER, model="crash")
    assert caught.value.code == "worker_died"


@posix
def test_the_worker_ends_with_the_world() -> None:
    with World(opener=OPENER) as world:
        pid = world.core.link.launcher.pid
        assert alive(pid)
    assert gone(pid)


GAME = """
import os, sys
import npcsdk
world = npcsdk.World(opener="tests.bridge.fake_world:open_world")
print(world.core.link.launcher.pid, flush=True)
turn = world["mira"].say("for-ever")
next(iter(turn))
{ending}
"""


@posix
@pytest.mark.parametrize(
    "ending", ["", "sys.exit(3)", "raise ValueError('a bug')", "os._exit(0)", "os.abort()"]
)
def test_no_worker_outlives_its_game(ending: str) -> None:
    """Whether the game forgets to close its world, crashes, or is killed. Without a ``__main__`` guard, too."""
    game = subprocess.run(
        [sys.executable, "-c", GAME.format(ending=ending)],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert gone(int(game.stdout)), game.stderr


def test_a_file_of_the_game_does_not_shadow_a_module(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('the game has a module of this name')")
    monkeypatch.chdir(tmp_path)
    with World(opener=OPENER) as world:
        assert world["mira"].say("hello").text() == "mira heard hello"


@posix
def test_a_world_that_is_loaded_again_is_told_to_those_who_are_connected(serve: Serve) -> None:
    running = serve()
    with Raw(running.address).greets() as raw, connect(running.address) as world:
        before = world.core.ready
        os.kill(running.server.worker_pid, signal.SIGKILL)
        heard = [raw.hears()]
        while not isinstance(heard[-1], m.Ready):  # this one has said nothing in between
            heard.append(raw.hears())
        assert isinstance(heard[0], m.Reset)
        assert any(isinstance(one, m.Loading) for one in heard)
        deadline = time.monotonic() + 10
        while world.core.ready is before and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert world.core.ready is not before  # it greeted again, perhaps when all was loaded
        assert world["mira"].say("hello").text() == "mira heard hello"


# The server


def test_a_server_that_is_not_there_is_an_error_within_seconds(free_address: str) -> None:
    started = time.monotonic()
    with pytest.raises(BridgeError) as caught:
        connect(free_address, timeout=1.0)
    assert (caught.value.code, bool(caught.value.hint)) == ("server_unreachable", True)
    assert time.monotonic() - started < 4


def test_a_bad_address_is_an_error() -> None:
    with pytest.raises(BridgeError) as caught:
        connect("127.0.0.1:5990")
    assert caught.value.code == "bad_address"


def test_a_port_that_is_taken_is_an_error_with_a_hint(serve: Serve) -> None:
    with pytest.raises(BridgeError) as caught:
        Server({"opener": OPENER}, address=serve().address)
    assert caught.value.code == "address_in_use"
    assert "port" in caught.value.hint


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5990", "tcp://*:5990", "tcp://192.0.2.1:5990"])
def test_only_this_machine_is_served(address: str) -> None:
    with pytest.raises(BridgeError) as caught:
        Server({"opener": OPENER}, address=address)
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize("address", ["ipc:///tmp/x", "5990", "tcp://"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(BridgeError) as caught:
        Server({"opener": OPENER}, address=address)
    assert caught.value.code == "bad_address"


def test_a_server_whose_world_does_not_load_says_so_and_ends() -> None:
    server = Server({"opener": OPENER, "model": "missing"}, address="tcp://127.0.0.1:*")
    with pytest.raises(ModelError) as caught:
        server.run()
    assert caught.value.code == "model_not_found"


def test_a_server_whose_worker_crashes_at_every_start_ends() -> None:
    server = Server({"opener": OPENER, "model": "crash"}, address="tcp://127.0.0.1:*")
    with pytest.raises(BridgeError) as caught:
        server.run()
    assert caught.value.code == "worker_died"


def test_a_server_that_stops_lets_the_turn_end_and_says_goodbye(serve: Serve) -> None:
    running = serve()
    with connect(running.address) as world:
        turn = world["mira"].say("act wait for-me")
        events = iter(turn)
        action = [next(events), next(events)][1]
        running.server.stop()
        turn.result(action, "there")
        assert list(events)[-1].text == "Wait. done: there"
        running.thread.join(10)
        assert not running.thread.is_alive()
        with pytest.raises(NpcError) as caught:
            world["mira"].say("hello").text()
        assert caught.value.code == "shutting_down"


def test_a_server_that_dies_and_comes_back_is_found_again(free_address: str) -> None:
    first = start_server(free_address)
    with connect(free_address, timeout=3.0) as world:
        with world["mira"].conversation(player="Ada") as conversation:
            assert conversation.say("hello").text() == "mira heard hello"
            history = conversation.history
            events = iter(conversation.say("for-ever"))
            next(events)
            first.kill()
            first.wait()
            second = start_server(free_address)
            try:
                assert list(events)[-1].code in ("turn_lost", "server_unreachable")
                assert conversation.say("hello").text() == "mira heard hello"
                assert conversation.history == history
            finally:
                second.kill()
                second.communicate()
    first.communicate()


SERVE = """
from npcsdk.bridge.server import Server
def status(one):
    print(one.event, flush=True)
Server({{"opener": "tests.bridge.fake_world:open_world"}}, address="{address}", on_status=status).run()
"""


@pytest.fixture
def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def start_server(address: str) -> subprocess.Popen[str]:
    """A server in a process of its own, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(address=address)],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    return process


def test_a_new_client_is_welcome_while_another_is_spoken_to(serve: Serve) -> None:
    address = serve().address
    with connect(address) as ada, connect(address) as ben:
        turn = ada["mira"].say("for-ever")
        assert ben["mira"].say("hello").text() == "mira heard hello"
        turn.cancel()
        turn.text()


# Clients that misbehave

GARBAGE = [
    b"",
    b"\xc1",
    b"GET / HTTP/1.1\r\n\r\n",
    os.urandom(300),
    msgpack.packb(["hello"]),
    msgpack.packb({"command": "fly"}),
    msgpack.packb({"command": "say", "conversation": 1}),
    b"\x91" * 5000,
    b"x" * (codec.MESSAGE_BYTES + 1),
]


def test_garbage_costs_its_sender_an_error_and_nobody_else_anything(serve: Serve) -> None:
    address = serve().address
    with Raw(address).greets() as raw, connect(address) as ada:
        for payload in GARBAGE:
            raw.sends(payload)
            assert isinstance(raw.hears(), m.Problem)
        raw.socket.send_multipart([b"two", b"frames"])
        assert isinstance(raw.hears(), m.Problem)
        assert ada["mira"].say("hello").text() == "mira heard hello"
        raw.sends(codec.encode(m.Ping(nonce=5)))
        assert raw.hears() == m.Pong(nonce=5)


def test_a_port_scanner_is_no_trouble(serve: Serve) -> None:
    running = serve()
    port = int(running.address.rsplit(":", 1)[1])
    for payload in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b""):
        with socket.create_connection(("127.0.0.1", port)) as scanner:
            scanner.sendall(payload)
    with connect(running.address) as world:
        assert world["mira"].say("hello").text() == "mira heard hello"


def test_a_wrong_version_is_told_and_let_go(serve: Serve) -> None:
    with Raw(serve().address) as raw:
        raw.sends(codec.encode(m.Hello(client="raw", protocol=(9, 0))))
        goodbye = raw.hears()
        assert isinstance(goodbye, m.Goodbye)
        assert goodbye.code == "unsupported_version"
        assert goodbye.hint


def test_a_hello_is_answered_while_the_world_still_loads(serve: Serve) -> None:
    with Raw(serve().address) as raw:
        raw.sends(codec.encode(m.Hello(client="raw")), codec.encode(m.Ping(nonce=1)))
        assert isinstance(raw.hears(), m.Welcome)
        assert raw.hears() == m.Pong(nonce=1)  # before anything that needs the world


def test_a_client_that_vanishes_leaves_nothing_running(serve: Serve) -> None:
    running = serve()
    with Raw(running.address).greets("ghost") as raw:
        epoch = raw.epoch
        raw.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        raw.sends(codec.encode(m.Say(conversation="c", turn="t", line="for-ever")))
        while not isinstance(raw.hears(), m.TurnEvent):
            pass
    # It comes back under its name, and its turn is still there: it was given time.
    with Raw(running.address) as raw:
        raw.sends(codec.encode(m.Hello(client="ghost", epoch=epoch, seen={"c": 1})))
        events = [raw.hears() for _ in range(12)]
        numbers = [event.seq for event in events if isinstance(event, m.TurnEvent)]
        assert numbers == list(range(2, 2 + len(numbers)))
        assert numbers
        raw.sends(codec.encode(m.Leave()))


def test_a_silent_client_is_forgotten(serve: Serve) -> None:
    running = serve(limits=Limits(silence_s=0.2))
    deadline = time.monotonic() + 10
    while not running.server.metrics()["ready"] and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    with Raw(running.address).greets() as raw:
        while time.monotonic() < deadline:
            threading.Event().wait(0.8)
            raw.sends(codec.encode(m.Open(conversation="c", npc="mira")))
            answer = raw.hears()
            if isinstance(answer, m.Problem):
                break
        assert answer.code == "hello_first"


def test_a_full_server_says_so(serve: Serve) -> None:
    address = serve(limits=Limits(clients=1)).address
    with Raw(address).greets("first"), Raw(address) as second:
        second.sends(codec.encode(m.Hello(client="second")))
        assert second.hears().code == "server_full"


def test_a_client_that_does_not_read_holds_up_nobody(serve: Serve) -> None:
    address = serve().address
    with Raw(address) as lazy:
        lazy.greets("lazy")
        lazy.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        lazy.sends(codec.encode(m.Say(conversation="c", turn="t", line="count 20000")))
        with connect(address) as ada:
            for _ in range(5):
                assert ada["mira"].say("hello").text() == "mira heard hello"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_cleanly(number: int) -> None:
    code = textwrap.dedent("""
        from npcsdk.bridge import server
        Original = server.Server
        class Fake(Original):
            def __init__(self, config, **options):
                super().__init__({**config, "opener": "tests.bridge.fake_world:open_world"}, **options)
        server.Server = Fake
        def status(one):
            print(one.event, one.address, flush=True)
        server.serve(address="tcp://127.0.0.1:*", on_status=status)
        print("ended", flush=True)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line.split()[0])
            if lines[-1] == "ready":
                process.send_signal(number)
        assert process.wait(20) == 0
    assert lines[0] == "listening"
    assert lines[-2:] == ["draining", "ended"]


def test_serve_refuses_before_it_starts_anything() -> None:
    with pytest.raises(BridgeError):
        serve_world(address="tcp://0.0.0.0:5990")
