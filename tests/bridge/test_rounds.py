"""Turns whose events are at hand: no thread waits for them, and nothing else about them differs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from npcsdk.backends.base import Finish, ModelSource, Piece
from npcsdk.backends.delivery import Delivery
from npcsdk.bridge.rounds import Rounds
from npcsdk.bridge.sessions import ServiceLimits
from npcsdk.dialogue.world import World
from npcsdk.events import End, Failed, Text
from npcsdk.memory.recall import Memory
from npcsdk.wire import messages as m
from tests.bridge.test_service import WAIT, Desk
from tests.dialogue.conftest import DEFINITION
from tests.dialogue.test_listening import Batch


@pytest.fixture
def desk():
    desk = Desk(ServiceLimits(threads=4))
    desk.service.attach(desk.world)
    yield desk
    desk.service.close()


def begun(desk: Desk, name: str, line: str = "at hand Hm. "):
    """A client whose turn has begun, and the turn's events."""
    client = desk.client(name).open().say(line)
    client.until(lambda one: isinstance(one, m.TurnEvent))
    return client, desk.world.conversations[-1].at_hand


def test_turns_that_nobody_waits_for_run_beside_each_other(desk: Desk) -> None:
    turns = [begun(desk, f"client-{number}") for number in range(4)]
    for number, (_, events) in enumerate(turns):
        events.put(Text(text=str(number), offset=4))
    for _, events in turns:
        events.put(End(reason="stop"))
    for number, (client, _) in enumerate(turns):
        assert client.turn() == [Text(text=" Hm. "), Text(text=str(number), offset=4), End(reason="stop")]
        assert [one.seq for one in client.heard if isinstance(one, m.TurnEvent)] == [1, 2, 3]


def test_a_conversation_goes_on_after_such_a_turn(desk: Desk) -> None:
    ada, events = begun(desk, "ada")
    ada.sends(m.State(request="r", conversation="c", state={"night": True}))
    assert desk.world.notes == []  # it waits for the turn
    events.put(End(reason="stop"))
    ada.until(lambda one: isinstance(one, m.Done))
    assert desk.world.notes == [("mira", "state", {"night": True})]
    assert ada.say("hello", "t2").turn("t2")[-1].text == "mira heard hello"


def test_what_goes_wrong_ends_the_turn_with_what_was_said(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    ada, events = begun(desk, "ada")
    events.put(RuntimeError("a bug"))
    last = ada.turn()[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.text) == ("internal_error", " Hm. ")
    events.put(Text(text="too late"), End(reason="stop"))
    assert ada.say("hello", "t2").turn("t2")[-1].text == "mira heard hello"


def test_a_cancelled_turn_and_a_drained_service_wait_for_the_end(desk: Desk) -> None:
    ada, events = begun(desk, "ada")
    ada.sends(m.Cancel(conversation="c", turn="t"))
    assert desk.world.conversations[0].cancelled.wait(WAIT)
    desk.service.drain()
    assert not desk.drained.is_set()
    events.put(End(reason="cancelled"))
    assert ada.turn()[-1] == End(reason="cancelled")
    assert desk.drained.wait(WAIT)


def test_what_is_ready_at_once_leaves_together() -> None:
    groups: list[list[int]] = []
    changed = threading.Condition()

    @contextmanager
    def together() -> Iterator[None]:
        groups.append([])
        yield
        with changed:
            changed.notify_all()

    rounds = Rounds(together)
    held = threading.Event()
    first = rounds.follow(lambda: held.wait(WAIT) and groups[-1].append(0))
    others = [rounds.follow(lambda number=number: groups[-1].append(number)) for number in range(1, 5)]
    first()
    deadline = time.monotonic() + WAIT
    while not groups and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    for ready in others:
        ready()
    held.set()
    with changed:
        assert changed.wait_for(lambda: sum(map(len, groups)) == 5, WAIT)
    assert groups == [[0, 1, 2, 3, 4]]
    rounds.close()


def test_an_error_in_one_turn_does_not_keep_others(caplog: pytest.LogCaptureFixture) -> None:
    rounds, reached = Rounds(contextmanager(lambda: iter([None]))), threading.Event()
    rounds.follow(lambda: 1 // 0)()
    rounds.follow(reached.set)()
    assert reached.wait(WAIT)
    assert "could not go on" in caplog.text
    rounds.close()


def test_a_real_worlds_turns_beside_each_other_are_whole_and_in_order() -> None:
    backend, count = Batch(), 6
    memory = Memory.open(None, DEFINITION.lore, index="exact")
    world = World(DEFINITION, backend, memory, ModelSource(name="batch", backend="scripted", path=""))
    desk = Desk(ServiceLimits(threads=count), world)
    desk.service.attach(world)
    clients = [
        desk.client(f"client-{number}").open(npc="bram", player=f"p{number}") for number in range(count)
    ]
    for client in clients:
        client.say("Hello.")
    until(lambda: len(backend.replies) == count)

    def speak(mine: list[Delivery]) -> None:
        for number in range(30):
            for reply in mine:
                reply.put(Piece(f" {number}", (number,)))
        for reply in mine:
            reply.put(Finish(reason="stop"))

    engines = [threading.Thread(target=speak, args=(backend.replies[start::3],)) for start in range(3)]
    for engine in engines:
        engine.start()
    said = " ".join(map(str, range(30)))
    for client in clients:
        events = client.turn()
        assert "".join(event.text for event in events[:-1]) == events[-1].text == said
        assert [one.seq for one in client.heard if isinstance(one, m.TurnEvent)] == list(range(1, 32))
    clients[0].say("And now?", "t2")
    until(lambda: len(backend.replies) == count + 1)
    assert said in backend.requests[-1].prompt.text
    backend.says("Hm.", end=True)
    assert clients[0].turn("t2")[-1].text == "Hm."
    desk.service.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true() and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    assert true()
