"""Turns whose listener does not wait hear what others hear, from a runtime that makes it elsewhere."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.formats import load_format
from npcsdk.backends.base import Finish, ModelSource, Piece, PiecesAtHand, Request, Usage
from npcsdk.backends.delivery import Delivered, Delivery
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.dialogue.conversation import Conversation
from npcsdk.dialogue.kept import Sampled
from npcsdk.dialogue.world import World
from npcsdk.errors import BackendError
from npcsdk.events import Action, End, Event, Failed, Text
from npcsdk.memory.recall import Memory
from tests.dialogue.conftest import DEFINITION

FORMAT = load_format("nemotron")
OPEN = FORMAT.render_call("open_gate", {"gate": "north"})
STATE = {"nearby": ["north"]}


class Batch(ScriptedBackend):
    """Each reply is put together by the test, piece by piece, as a runtime's own thread would."""

    def __init__(self) -> None:
        super().__init__([])
        self.replies: list[Delivery] = []
        self.over: list[Delivery] = []

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        return Delivered(lambda delivery: self._generate(request, delivery))

    def _generate(self, request: Request, delivery: Delivery) -> Iterator[Piece | Finish | None]:
        self.requests.append(request)
        self.replies.append(delivery)
        item = None
        try:
            while not isinstance(item, Finish):
                item = delivery.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.over.append(delivery)

    def says(self, *texts: str, end: bool = False) -> None:
        for text in texts:
            self.replies[-1].put(Piece(text, (1,)))
        if end:
            self.replies[-1].put(Finish(reason="stop", usage=Usage(generated_tokens=7)))


class Ear:
    """A listener as the bridge is one, in one thread: it does what it is told when the test says `go`."""

    def __init__(self, events: Any) -> None:
        self.events, self.heard, self.worked = events, [], 0
        self._told: deque[str] = deque(["work"])
        events.listen(lambda: self._told.append("take"), lambda: self._told.append("work"))
        self.go()

    def go(self) -> list[Event]:
        while self._told:
            what = self._told.popleft()
            self.worked += what == "work"
            while not self.is_over and (event := getattr(self.events, what)()) is not None:
                self.heard.append(event)
        return self.heard

    @property
    def is_over(self) -> bool:
        return bool(self.heard) and isinstance(self.heard[-1], End | Failed)

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.heard if isinstance(event, Text))


@pytest.fixture
def batch() -> Iterator[tuple[Conversation, Batch]]:
    backend = Batch()
    memory = Memory.open(None, DEFINITION.lore, index="exact")
    world = World(DEFINITION, backend, memory, ModelSource(name="batch", backend="scripted", path=""))
    yield world.open("mara", conversation="c"), backend
    world.close()


def test_events_come_when_they_are_there(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    ear = Ear(talk.say("Hello."))
    assert (ear.heard, ear.worked) == ([], 1)
    backend.says("Good ")
    assert [event.text for event in ear.go()] == ["Good"]
    assert ear.events.take() is None
    backend.says("day.", " Sit.")
    assert len(ear.go()) == 3
    assert ear.worked == 1
    backend.says(end=True)
    assert ear.go()[-1] == End(**{**vars_of(ear.heard[-1]), "reason": "stop", "text": "Good day. Sit."})
    assert ear.worked == 2
    assert ear.heard[-1].tokens.generated == 7
    assert ear.said == "Good day. Sit."


def vars_of(end: Any) -> dict[str, Any]:
    return {name: getattr(end, name) for name in end.__dataclass_fields__ if name != "event"}


def test_what_was_said_is_remembered_and_the_next_turn_begins(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    for number in range(2):
        ear = Ear(talk.say("Hello."))
        backend.says("Good ", f"day {number}.", end=True)
        assert isinstance(ear.go()[-1], End)
    ear = Ear(talk.say("Again?"))
    assert "Good day 0." in backend.requests[-1].prompt.text
    assert "Good day 1." in backend.requests[-1].prompt.text
    talk.cancel()
    backend.says(end=True)
    assert ear.go()[-1].reason == "cancelled"


def test_an_answer_of_the_game_is_waited_for_in_a_thread(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    ear = Ear(talk.say("Open the gate!", state=STATE))
    backend.says("Wait. ", OPEN)
    (action,) = [event for event in ear.go() if isinstance(event, Action)]
    assert talk.result(action.id, "done", "opened")
    backend.says(end=True)
    ear.go()
    assert len(backend.replies) == 2
    assert "opened" in backend.requests[-1].prompt.text
    assert not ear.is_over
    backend.says("It is open.", end=True)
    assert ear.go()[-1].text == "Wait. It is open."
    assert ear.worked == 3


def test_a_runtime_that_fails_ends_the_turn(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    ear = Ear(talk.say("Hello."))
    backend.says("Good ")
    ear.go()
    backend.replies[-1].put(BackendError("It broke.", code="runtime_failed"))
    assert (ear.go()[-1].code, ear.heard[-1].text) == ("runtime_failed", "Good")
    assert ear.worked == 2  # it was written down where that may take its time
    assert talk.say("Are you well?")


def test_closing_ends_a_turn_that_nobody_works_on(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    ear = Ear(talk.say("Hello."))
    backend.says("Good ")
    ear.go()
    backend.says("day.", end=True)
    talk.close()
    assert ear.go()[-1].reason == "cancelled"
    assert talk.gone


def test_whoever_leaves_early_cancels(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    ear = Ear(talk.say("Hello."))
    backend.says("Good ")
    ear.go()
    ear.events.close()
    assert backend.over == backend.replies
    assert talk.say("Hello?")


def test_a_listener_that_waits_gets_the_same(batch: tuple[Conversation, Batch]) -> None:
    talk, backend = batch
    heard: list[Event] = []
    thread = threading.Thread(target=lambda: heard.extend(talk.say("Hello.")))
    thread.start()
    while not backend.replies:
        threading.Event().wait(0.001)
    backend.says("Good ", "day.", end=True)
    thread.join(5.0)
    assert [event.text for event in heard] == ["Good", " day.", "Good day."]


def test_a_runtime_without_pieces_at_hand_is_waited_for(open_world: Any) -> None:
    world, _ = open_world(["Good day."])
    ear = Ear(world.open("mara").say("Hello."))
    assert ear.heard[-1].text == "Good day."
    assert ear.worked == 1


# Pieces


def test_pieces_are_asked_for_in_either_way() -> None:
    def make(delivery: Delivery) -> Iterator[Any]:
        item = None
        while not isinstance(item, Finish):
            item = delivery.get()
            yield item
            begun.append(delivery)

    begun: list[Delivery] = []
    pieces, told = Delivered(make), []
    assert isinstance(pieces, PiecesAtHand)
    pieces.listen(lambda: told.append(1))
    assert pieces.take() is None
    assert pieces.take() is None
    (delivery, *_) = begun
    delivery.put(Piece("a"))
    delivery.put(Piece("b"))
    assert (pieces.take(), next(pieces), len(told)) == (Piece("a"), Piece("b"), 2)
    delivery.put(Finish(reason="stop"))
    assert list(pieces) == [Finish(reason="stop")]


@given(st.lists(st.builds(Piece, st.text(max_size=3), st.lists(st.integers(0, 1 << 40)).map(tuple))))
def test_what_was_sampled_is_kept_as_it_was(pieces: list[Piece]) -> None:
    sampled = Sampled()
    for piece in pieces:
        sampled.add(piece)
    assert list(sampled) == pieces
