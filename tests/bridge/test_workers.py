"""Several workers behind one bridge: each its own world, or its own characters of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.bridge.client import World, connect
from npcsdk.bridge.metrics import prometheus
from npcsdk.bridge.routing import Charge, Routing
from npcsdk.bridge.section import Section
from npcsdk.bridge.server import Server, Status
from npcsdk.bridge.suspects import Suspects, digest
from npcsdk.errors import BridgeError, NpcError, TurnError, WorldError
from npcsdk.events import End, Failed, Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from tests.bridge.conftest import OPENER, RunningServer
from tests.bridge.fake_world import FakeWorld

Serve = Callable[..., RunningServer]
WORLDS = [
    {"opener": OPENER, "name": "tavern", "prefix": "tavern/"},
    {"opener": OPENER, "name": "harbour", "prefix": "harbour/"},
]
PARTS = [
    {"opener": OPENER, "name": "one", "npcs": ["mira"]},
    {"opener": OPENER, "name": "two", "npcs": ["tom"]},
]
FAULT = {"code": "worker_died", "message": "It died.", "hint": "Say it again."}


# Where things go


def routing(*charges: Charge) -> Routing:
    made = Routing(charges or (Charge("tavern", "tavern/"), Charge("harbour", "harbour/")))
    send(made, m.Hello(client="ada"))
    return made


def send(made: Routing, command: m.Command, route: bytes = b"r") -> list[int]:
    return [worker for worker, _ in made.forward(route, codec.encode(command))[1]]


def answers(made: Routing, worker: int, message: m.ServerEvent, route: bytes = b"r"):
    payload = made.answered(worker, route, codec.encode(message))
    return None if payload is None else codec.decode_event(payload)


def test_a_conversation_stays_with_the_worker_of_its_character() -> None:
    made = routing()
    assert send(made, m.Open(conversation="c", npc="harbour/tom")) == [1]
    assert send(made, m.Say(conversation="c", turn="t", line="x")) == [1]
    assert made.worker_of(b"r", m.Say(conversation="c", turn="t", line="x")) == 1
    assert send(made, m.Cancel(conversation="c", turn="t")) == [1]
    assert send(made, m.Heard(request="1", conversation="c", turn="t", offset=1)) == [1]
    assert send(made, m.Close(conversation="c")) == [1]
    assert send(made, m.Say(conversation="c", turn="u", line="x")) == [0]  # who says that it is not open


def test_a_client_that_opens_and_opens_takes_no_more_and_more_memory() -> None:
    made = routing()
    for number in range(3000):
        send(made, m.Open(conversation=f"c{number}", npc="harbour/nobody"))
    assert len(made._clients[b"r"].talks) <= 1024
    assert send(made, m.Say(conversation="c2999", turn="t", line="x")) == [1]


def test_characters_of_one_world_go_to_who_has_them() -> None:
    made = routing(Charge("one", npcs=frozenset({"mira"})), Charge("two", npcs=frozenset({"tom"})))
    assert send(made, m.Open(conversation="c", npc="tom")) == [1]
    assert send(made, m.Remember(request="1", npc="tom", text="x")) == [1]
    assert send(made, m.Remember(request="2", npc="*", text="x")) == [0, 1]
    assert send(made, m.Open(conversation="d", npc="nobody")) == [0]


def test_a_client_that_comes_back_asks_each_worker_for_its_own() -> None:
    made = routing()
    send(made, m.Open(conversation="c", npc="tavern/mira"))
    send(made, m.Open(conversation="d", npc="harbour/tom"))
    made.gone(b"r")
    _, parts = made.forward(b"new", codec.encode(m.Hello(client="ada", seen={"c": 3, "d": 4, "e": 5})))
    assert [codec.decode_command(part).seen for _, part in parts] == [{"c": 3, "e": 5}, {"d": 4}]
    assert send(made, m.Say(conversation="d", turn="t", line="x"), b"new") == [1]


def test_what_is_asked_of_all_is_answered_once() -> None:
    made = routing()
    assert send(made, m.Slots(request="1")) == [0, 1]
    assert answers(made, 1, m.Done(request="1", answers="slots", value={"slots": ["a", "b"]})) is None
    last = answers(made, 0, m.Done(request="1", answers="slots", value={"slots": ["b", "c"]}))
    assert last == m.Done(request="1", answers="slots", value={"slots": ["b"]})
    send(made, m.Forget(request="2", player="ada"))
    assert answers(made, 0, m.Done(request="2", answers="forget", value={"records": 2})) is None
    assert answers(made, 1, m.Done(request="2", answers="forget", value={"records": 3})).value == {
        "records": 5
    }


def test_one_that_fails_is_told_of_when_all_have_answered() -> None:
    made = routing()
    send(made, m.Save(request="1", slot="here"))
    problem = m.Problem(code="disk_full", message="No room.", request="1")
    assert answers(made, 0, problem) is None
    assert answers(made, 1, m.Done(request="1", answers="save")).code == "disk_full"


def test_a_slot_of_one_world_and_a_file_of_one_world() -> None:
    made = routing()
    assert send(made, m.Save(request="1", slot="harbour/dawn")) == [1]
    assert send(made, m.ExportSlot(request="2", slot="tavern/dawn", file="x")) == [0]
    with pytest.raises(TurnError, match="several workers") as caught:
        send(made, m.ExportSlot(request="3", slot="dawn", file="x"))
    assert "tavern/dawn" in caught.value.hint


def test_a_dead_workers_conversations_are_lost_and_no_others() -> None:
    made = routing()
    send(made, m.Open(conversation="c", npc="tavern/mira"))
    send(made, m.Open(conversation="d", npc="harbour/tom"))
    send(made, m.Say(conversation="d", turn="t", line="x"))
    send(made, m.Prepare(request="1", conversation="d"))
    send(made, m.Slots(request="2"))
    told = [codec.decode_event(payload) for _, payload in made.died(1, FAULT)]
    assert [(one.code, one.conversation, one.turn, one.request) for one in told] == [
        ("worker_died", "d", "t", None),
        ("conversation_lost", "d", None, None),
        ("worker_died", None, None, "1"),
    ]
    assert answers(made, 0, m.Done(request="2", answers="slots", value={"slots": []})).code == "worker_died"
    assert send(made, m.Say(conversation="c", turn="u", line="x")) == [0]
    assert [route for route, _ in made.greetings()] == [b"r"]


def test_what_has_no_answer_to_wait_for_passes_as_it_is() -> None:
    made = routing()
    payload = codec.encode(m.Opened(conversation="c", npc="n", player="p", history="h"))
    assert made.answered(0, b"r", payload) is payload
    assert made.answered(0, b"unknown", b"\xff") == b"\xff"
    send(made, m.Slots(request="1"))
    assert made.answered(0, b"r", payload) is payload


_COMMANDS = st.sampled_from(
    [
        m.Hello(client="ada"),
        m.Open(conversation="c", npc="harbour/tom"),
        m.Open(conversation="d", npc="?"),
        m.Say(conversation="c", turn="t", line="x"),
        m.Close(conversation="c"),
        m.Leave(),
        m.Slots(request="1"),
        m.Heard(request="2", conversation="c", turn="t", offset=0),
        m.Typing(conversation="d", line="x"),
    ]
)
_ANSWERS = st.sampled_from(
    [
        m.Done(request="1", answers="slots", value={"slots": []}),
        m.Problem(code="x", message="y", request="1"),
        m.Done(request="2", answers="heard"),
    ]
)


@given(st.lists(st.one_of(_COMMANDS, st.tuples(st.integers(0, 1), _ANSWERS), st.integers(0, 1)), max_size=30))
def test_in_any_order_each_request_is_answered_at_most_once_and_nothing_is_left(steps) -> None:
    made, asked, answered = routing(), 0, 0
    for step in steps:
        if isinstance(step, int):
            heard = [codec.decode_event(payload) for _, payload in made.died(step, FAULT)]
        elif isinstance(step, tuple):
            before = "1" in (client.asked if (client := made._clients.get(b"r")) else {})
            heard = [one for one in [answers(made, *step)] if one is not None] if before else []
        else:
            heard = []
            asked += isinstance(step, m.Slots) and "1" not in (
                made._clients[b"r"].asked if b"r" in made._clients else "1"
            )
            send(made, step)
        answered += sum(getattr(one, "request", None) == "1" for one in heard)
        assert answered <= asked
    made.died(0, FAULT), made.died(1, FAULT)
    assert all(not client.asked and not client.talks for client in made._clients.values())


def test_a_crash_casts_suspicion_on_the_lines_of_that_worker_only() -> None:
    suspects, mine, other = (
        Suspects(),
        m.Say(conversation="c", turn="t", line="x"),
        m.Say(conversation="d", turn="u", line="y"),
    )
    for _ in range(2):
        assert not suspects.refuses(mine, 0.0, 0)
        assert not suspects.refuses(other, 0.0, 1)
        suspects.crashed(0.0, 0)
    assert suspects.refuses(mine, 0.0, 1)
    assert not suspects.refuses(other, 0.0, 0)
    suspects.over(digest(other), 1)


# A worker's part of a world


def test_a_part_has_its_characters_under_their_names() -> None:
    world = FakeWorld()
    part = Section(world, "tavern/", ["mira"])
    assert list(part.npcs) == ["tavern/mira"]
    assert part.npcs["tavern/mira"].name == "Mira"
    assert part.open("tavern/mira", player="p", conversation=None).npc == "mira"
    with pytest.raises(WorldError, match="tavern/tom"):
        part.open("tavern/tom", player="p", conversation=None)
    part.set_values("tavern/mira", {"trust": 1}, player="p")
    part.remember("tavern/*", "x", player="", importance=0.5, at=None, place="")
    part.remember("*", "y", player="", importance=0.5, at=None, place="mill")
    with pytest.raises(WorldError):
        part.remember("tavern/tom", "z", player="", importance=0.5, at=None, place="")
    assert world.notes == [("mira", "p", {"trust": 1}), ("*", "", "x"), ("*", "", "y", "mill")]
    part.save("tavern/dawn")
    part.save("dusk")
    assert part.slots() == ["dawn", "dusk"]
    part.close()
    assert world.closed


def test_a_part_of_characters_that_are_not_there_is_a_mistake() -> None:
    with pytest.raises(WorldError, match="nobody"):
        Section(FakeWorld(), "", ["nobody"])


# Live


@pytest.fixture
def statuses() -> list[Status]:
    return []


@pytest.fixture
def worlds(serve: Serve, statuses: list[Status]) -> Iterator[tuple[RunningServer, World]]:
    running = serve(config=WORLDS, on_status=statuses.append)
    with connect(running.address) as world:
        yield running, world


def test_one_client_talks_in_several_worlds(
    worlds: tuple[RunningServer, World], statuses: list[Status]
) -> None:
    running, world = worlds
    assert set(world.npcs) == {"tavern/mira", "tavern/tom", "harbour/mira", "harbour/tom"}
    assert world.name == "Testholm"
    assert world["tavern/mira"].say("hello").text() == "mira heard hello"
    assert world["harbour/tom"].say("hello").text() == "tom heard hello"
    world.save("dawn")
    world.save("tavern/dusk")
    assert world.slots() == ["dawn"]
    with pytest.raises(NpcError) as caught:
        world.export_slot("dawn", Path("x"))
    assert caught.value.code == "which_world"
    with pytest.raises(NpcError) as caught:
        world.load("tavern/nowhere")
    assert caught.value.code == "slot_unknown"
    lost = list(world.npcs["tavern/mira"].conversation(history=None).say("refuse"))
    assert isinstance(lost[-1], End)
    ready = [status for status in statuses if status.event == "ready"]
    assert {status.worker for status in ready} == {"tavern", "harbour"}
    assert len({member.launcher.pid for member in running.server._members}) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no way to kill a process like that here")
def test_a_crash_of_one_leaves_the_turns_of_the_others_alone(worlds: tuple[RunningServer, World]) -> None:
    running, world = worlds
    here, there = world["tavern/mira"].say("for-ever"), world["harbour/mira"].say("for-ever")
    mine, theirs = iter(here), iter(there)
    assert isinstance(next(mine), Text)
    assert isinstance(next(theirs), Text)
    os.kill(running.server._members[0].launcher.pid, signal.SIGKILL)
    last = list(mine)[-1]
    assert isinstance(last, Failed)
    assert last.code == "worker_died"
    for _ in range(5):
        assert isinstance(next(theirs), Text)
    assert world["tavern/mira"].say("hello").text() == "mira heard hello"  # started again, and greeted
    assert world["tavern/tom"].say("hello").text() == "tom heard hello"
    there.cancel()
    assert list(theirs)[-1].reason == "cancelled"
    with connect(running.address) as other:
        assert other["tavern/tom"].say("hello").text() == "tom heard hello"
    numbers = running.server.metrics()
    assert [(one["name"], one["restarts"]) for one in numbers["workers"]] == [("tavern", 1), ("harbour", 0)]
    text = prometheus(numbers)
    assert 'npcsdk_worker_restarts_total{worker="tavern"} 1' in text
    assert 'npcsdk_worker_ready{worker="harbour"} 1' in text


def test_parts_of_one_world_look_like_one(serve: Serve) -> None:
    with connect(serve(config=PARTS).address) as world:
        assert set(world.npcs) == {"mira", "tom"}
        assert world["mira"].say("hello").text() == "mira heard hello"
        assert world["tom"].say("hello").text() == "tom heard hello"
        world.remember("*", "It rained.")


def test_a_world_that_cannot_be_loaded_ends_the_server_before_it_has_served(serve: Serve) -> None:
    running = serve(config=[WORLDS[0], {**WORLDS[1], "model": "missing"}])
    running.thread.join(20)
    assert running.error.code == "model_not_found"


@pytest.mark.parametrize("names", [("a", "a"), ("a", "")])
def test_workers_have_names_of_their_own(names: tuple[str, str]) -> None:
    with pytest.raises(BridgeError, match="name of its own"):
        Server([{"opener": OPENER, "name": name} for name in names], address="tcp://127.0.0.1:*")
