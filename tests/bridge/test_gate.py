"""Who gets in, what they may do, and what becomes of those who do not read or cannot be understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from npcsdk.bridge.access import Access
from npcsdk.bridge.client import connect
from npcsdk.bridge.curve_gate import CurveGate
from npcsdk.bridge.frontend import Frontend, Limits
from npcsdk.bridge.gate import Gate, check_address
from npcsdk.bridge.keys import Keys, write_keys
from npcsdk.bridge.plain_gate import PlainGate
from npcsdk.bridge.server import Server
from npcsdk.bridge.zap import new_keys, public_key_of
from npcsdk.errors import BridgeError
from npcsdk.events import Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from tests.bridge.conftest import OPENER, RunningServer
from tests.bridge.test_faults import Raw

Serve = Callable[..., RunningServer]

SERVER_PUBLIC, SERVER_SECRET = new_keys()


class Narrow(Raw):
    """A client that takes in little at once."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.socket.close()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 5000)
        self.socket.setsockopt(zmq.RCVHWM, 10)
        self.socket.setsockopt(zmq.RCVBUF, 1 << 14)
        self.socket.connect(address)


class Keyed(Raw):
    """A client that proves who it is."""

    def __init__(self, address: str, secret: str, server: str = SERVER_PUBLIC) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 5000)
        self.socket.setsockopt_string(zmq.CURVE_SERVERKEY, server)
        self.socket.setsockopt_string(zmq.CURVE_SECRETKEY, secret)
        self.socket.setsockopt_string(zmq.CURVE_PUBLICKEY, public_key_of(secret))
        self.socket.connect(address)

    def asks(self, command: m.Request) -> m.ServerEvent:
        self.sends(codec.encode(command))
        while getattr(answer := self.hears(), "request", None) != command.request:
            pass
        return answer


@pytest.fixture
def secured(serve: Serve) -> tuple[str, str, str]:
    """The address of a server that demands keys, a player's secret key and a director's."""
    player, director = new_keys(), new_keys()
    access = Access(secret_key=SERVER_SECRET, clients={player[0]: "play", director[0]: "direct"})
    return serve(access=access).address, player[1], director[1]


def test_a_client_with_a_known_key_is_served(secured: tuple[str, str, str]) -> None:
    address, player, _ = secured
    with Keyed(address, player).greets() as client:
        client.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        assert isinstance(client.hears(), m.Opened)


def _ask(socket: Any) -> Any:
    socket.send(codec.encode(m.Hello(client="x")))
    return socket.recv()


@pytest.mark.parametrize("wrong", ["unknown key", "wrong server key", "no key"])
def test_nobody_else_is(wrong: str, secured: tuple[str, str, str]) -> None:
    address, player, _ = secured
    if wrong == "no key":
        client: Raw = Raw(address)
    else:
        unknown = wrong == "unknown key"
        client = Keyed(
            address, new_keys()[1] if unknown else player, SERVER_PUBLIC if unknown else new_keys()[0]
        )
    with client:
        client.socket.setsockopt(zmq.RCVTIMEO, 400)
        client.socket.setsockopt(zmq.SNDTIMEO, 400)  # there is nobody to send to once it has been turned away
        with pytest.raises(zmq.Again):
            _ask(client.socket)
    with Keyed(address, player).greets() as other:
        other.sends(codec.encode(m.Ping(nonce=1)))
        assert other.hears() == m.Pong(nonce=1)


def test_a_role_bounds_what_a_client_may_do(secured: tuple[str, str, str]) -> None:
    address, player, director = secured
    with Keyed(address, player).greets() as client:
        assert client.asks(m.Save(request="1", slot="here")).code == "not_allowed"
    with Keyed(address, director).greets() as client:
        assert isinstance(client.asks(m.Save(request="1", slot="here")), m.Done)
        assert client.asks(m.Metrics(request="2")).code == "not_allowed"


def test_a_session_belongs_to_its_key(secured: tuple[str, str, str]) -> None:
    address, player, director = secured
    with Keyed(address, player).greets("ada") as ada, Keyed(address, director).greets("ada"):
        ada.sends(codec.encode(m.Ping(nonce=1)))
        assert ada.hears() == m.Pong(nonce=1)  # and no goodbye: nobody took it over


def test_a_network_address_demands_keys() -> None:
    check_address("tcp://0.0.0.0:5990", secured=True)
    with pytest.raises(BridgeError) as caught:
        Server({"opener": OPENER}, address="tcp://0.0.0.0:5990")
    assert "npcsdk keys" in caught.value.hint
    with pytest.raises(BridgeError) as caught:
        Server({"opener": OPENER}, address="tcp://127.0.0.1:*", access=Access(secret_key="short"))
    assert caught.value.code == "bad_key"


def test_a_python_game_connects_with_its_keys(serve: Serve, tmp_path: Path) -> None:
    public, secret = new_keys()
    access = Access(secret_key=SERVER_SECRET, clients={public: "direct"})
    write_keys(tmp_path / "game.key", Keys(public, secret, SERVER_PUBLIC))
    with connect(serve(access=access).address, keys=Keys.read(tmp_path / "game.key")) as world:
        assert world["mira"].say("hello").text() == "mira heard hello"
        world.save("here")
    with pytest.raises(BridgeError) as caught:
        write_keys(tmp_path / "game.key", Keys(public, secret))
    assert caught.value.code == "key_file"
    assert secret not in repr(Keys(public, secret))


def test_metrics_for_who_may_see_them(serve: Serve) -> None:
    with Raw(serve().address).greets() as raw:
        ready = False
        while not ready:  # the client may know a moment before the bridge does
            raw.sends(codec.encode(m.Metrics(request="1")))
            answer = raw.hears()
            assert answer.value["clients"] == 1
            ready = answer.value["ready"]


# What costs a connection


def test_who_sends_noise_again_and_again_is_not_read_any_more() -> None:
    frontend = Frontend()
    frontend.receive(b"good", codec.encode(m.Hello(client="good")), 0.0)
    for route in (b"bad", b"stranger"):
        if route == b"bad":
            frontend.receive(route, codec.encode(m.Hello(client="bad")), 0.0)
        said: list[bytes] = []
        for _ in range(100):
            said += frontend.receive(route, b"noise", 0.0)[0]
        last = codec.decode_event(said[-1])
        assert isinstance(last, m.Goodbye)
        assert last.code == "misbehaved"
        assert frontend.receive(route, codec.encode(m.Hello(client="x")), 0.0) == ([], None)
    answers, _ = frontend.receive(b"good", codec.encode(m.Ping(nonce=5)), 0.0)
    assert codec.decode_event(answers[0]) == m.Pong(nonce=5)


def test_too_many_messages_are_refused_with_a_time_to_come_back() -> None:
    frontend = Frontend(Limits(messages_per_minute=60))
    frontend.receive(b"a", codec.encode(m.Hello(client="a")), 0.0)
    say = codec.encode(m.Say(conversation="c", turn="t", line="x"))
    forwarded = [frontend.receive(b"a", say, 0.0)[1] for _ in range(20)]
    assert sum(one is not None for one in forwarded) == 15
    (answer,), _ = frontend.receive(b"a", say, 0.0)
    problem = codec.decode_event(answer)
    assert (problem.code, problem.turn) == ("busy", "t")
    assert frontend.receive(b"a", say, problem.retry_ms / 1000 + 0.01)[1] == say


def test_an_old_client_hears_every_text_by_itself(serve: Serve) -> None:
    with Raw(serve().address) as raw:
        raw.sends(codec.encode(m.Hello(client="old", protocol=(1, 0))))
        raw.sends(codec.encode(m.Open(conversation="c", npc="mira")))
        raw.sends(codec.encode(m.Say(conversation="c", turn="t", line="count 3000")))
        numbers = []
        while len(numbers) < 3001:
            event = raw.hears()
            if isinstance(event, m.TurnEvent):
                assert event.first is None
                numbers.append(event.seq)
        assert numbers == list(range(1, 3002))


@pytest.fixture(params=[PlainGate, CurveGate])
def open_gate(request: pytest.FixtureRequest) -> Iterator[Callable[..., Gate]]:
    """Opens a gate of either kind, without keys."""
    gates: list[Gate] = []

    def make(limits: Limits, version: tuple[int, int], lost: list[bytes]) -> Gate:
        def gone(route: bytes) -> None:
            lost.append(route)
            gates[-1].forget(route)

        gates.append(
            request.param("tcp://127.0.0.1:*", limits, Access(), version=lambda route: version, gone=gone)
        )
        return gates[-1]

    yield make
    for gate in gates:
        gate.close(0)


def first_message(gate: Gate) -> tuple[bytes, bytes]:
    """The route and the payload of what comes first."""
    for _ in range(100):
        if messages := gate.receive(dict(gate.poller.poll(1000))):
            return messages[0][:2]
    raise AssertionError("nothing came")


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
def test_a_slow_reader_gets_all_of_its_text_and_a_newer_one_in_fewer_messages(
    version: tuple[int, int], open_gate: Callable[..., Gate]
) -> None:
    lost: list[bytes] = []
    gate = open_gate(Limits(), version, lost)
    with Narrow(gate.address) as raw:
        raw.sends(b"hello")
        route = first_message(gate)[0]
        for number in range(1, 30001):
            event = Text(text=f"{number} ", offset=0)
            gate.send(route, codec.encode_turn_event("c", "t", number, event))
            gate.flush()
        assert gate.behind == 1
        seen, said, messages = 0, [], 0
        while seen < 30000:
            gate.receive(dict(gate.poller.poll(0)))
            gate.flush()
            event = raw.hears()
            assert (event.first or event.seq) == seen + 1
            seen, messages = event.seq, messages + 1
            said.append(event.event.text)
        assert "".join(said) == "".join(f"{number} " for number in range(1, 30001))
        assert (messages < seen) == (version == (1, 1))
        gate.receive(dict(gate.poller.poll(0)))
        assert gate.behind == 0
    assert not lost


def test_a_reader_that_never_reads_is_let_go(open_gate: Callable[..., Gate]) -> None:
    lost: list[bytes] = []
    gate = open_gate(Limits(backlog_bytes=1 << 18), (1, 1), lost)
    with Narrow(gate.address) as raw:
        raw.sends(b"hello")
        route = first_message(gate)[0]
        number = 0
        while not lost and number < 100_000:
            number += 1
            gate.send(route, codec.encode_turn_event("c", "t", number, Text(text="x" * 400, offset=0)))
            gate.flush()
        assert gate.backlog_bytes < 2 << 18
    assert lost[0] == route
