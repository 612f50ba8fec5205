"""A small world with a model that replays a script, for the tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from npcsdk.backends.base import Finish, ModelSource, Piece, Request, Usage
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.dialogue.world import World
from npcsdk.memory.recall import Memory
from npcsdk.persona.schema import (
    ActionEntry,
    LorePassage,
    ParameterEntry,
    Persona,
    SamplingEntry,
    Secret,
    WorldDefinition,
)

SOURCE = ModelSource(name="script", backend="scripted", path="")
LORE = (
    LorePassage(
        id="mine", source="lore/mine.md:3", title="Mine", tags=frozenset({"mine"}),
        text="The silver mine fell in when Tam sawed through the third prop.",
    ),
    LorePassage(
        id="lake", source="lore/lake.md:3", title="Lake", tags=frozenset({"common"}),
        text="The lake is called the Mere and it is bottomless.",
    ),
    LorePassage(
        id="crypt", source="lore/crypt.md:3", title="Crypt", tags=frozenset({"crypt"}),
        text="The crypt below the chapel holds the amber crown.",
    ),
)  # fmt: skip
DEFINITION = WorldDefinition(
    name="Testing",
    setting="A village with one gate.",
    facts=("Twelve pennies make one silver.",),
    state={"trust": 10, "nearby": ()},
    sampling=SamplingEntry(temperature=0.5, top_k=7),
    actions={
        "open_gate": ActionEntry(
            description="Open a gate.",
            parameters={"gate": ParameterEntry(type="string", source="state.nearby")},
            returns="result",
            timeout=600,
        ),
        "ask": ActionEntry(description="Ask the game.", returns="result", timeout=0.05),
        "wave": ActionEntry(description="Wave."),
        "dance": ActionEntry(description="Dance."),
    },
    folder=Path(),
    personas={
        "mara": Persona(
            id="mara", name="Mara", role="an innkeeper", about="You keep the inn.", knows=("mine",),
            secrets=(Secret(id="key", text="The spare key hangs behind the clock.", when="trust >= 60"),),
            actions=("open_gate", "ask", "wave"), sampling=SamplingEntry(temperature=0.1), state={"mood": "calm"},
        ),
        "bram": Persona(id="bram", name="Bram", role="a guard", about="You watch the gate."),
    },
    lore=LORE,
)  # fmt: skip


class HookedBackend(ScriptedBackend):
    """Calls ``before`` with the number of the piece before it hands one out: to fail there, or to be interrupted."""

    before: Callable[[int], None] = staticmethod(lambda number: None)
    closed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.released: list[str] = []
        self.usages: list[Usage] = []

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        for number, item in enumerate(super().generate(request)):
            self.before(number)
            if isinstance(item, Finish):
                self.usages.append(item.usage)
            yield item

    def release(self, session: str) -> None:
        self.released.append(session)
        super().release(session)

    def close(self) -> None:
        self.closed = True


class OpenWorld(Protocol):
    def __call__(
        self,
        replies: Any,
        *,
        memory: Path | None = None,
        definition: WorldDefinition = DEFINITION,
        options: dict[str, Any] | None = None,
        limits: Any = None,
        **backend: Any,
    ) -> tuple[World, HookedBackend]: ...


@pytest.fixture
def open_world() -> Iterator[OpenWorld]:
    """Opens worlds, and closes them when the test is over."""
    opened: list[World] = []

    def make(
        replies: Any,
        *,
        memory: Path | None = None,
        definition: WorldDefinition = DEFINITION,
        options: dict[str, Any] | None = None,
        limits: Any = None,
        **backend: Any,
    ) -> tuple[World, HookedBackend]:
        model = HookedBackend(replies, **backend)
        store = Memory.open(memory, definition.lore, index="exact")
        source = ModelSource(name="script", backend="scripted", path="", options=options or {})
        world = World(definition, model, store, source, limits)
        opened.append(world)
        return world, model

    yield make
    for world in opened:
        world.close()


@pytest.fixture
def in_thread() -> Callable[[Callable[[], Any]], None]:
    """Runs a function in another thread, to its end."""

    def run(function: Callable[[], Any]) -> None:
        thread = threading.Thread(target=function)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    return run


class WhenWaiting:
    """Calls ``then`` in another thread once a conversation waits for the game, and not before."""

    def __init__(self, conversation: Any, then: Callable[[], Any]) -> None:
        condition = conversation._condition
        wait, entered = condition.wait, threading.Event()

        def waiting(timeout: float | None = None) -> bool:
            entered.set()  # the lock is held until the wait lets go of it, so `then` cannot come too early
            return wait(timeout)

        condition.wait = waiting

        def work() -> None:
            assert entered.wait(10)
            then()

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def when_waiting() -> Iterator[Callable[[Any, Callable[[], Any]], WhenWaiting]]:
    started: list[WhenWaiting] = []

    def make(conversation: Any, then: Callable[[], Any]) -> WhenWaiting:
        started.append(WhenWaiting(conversation, then))
        return started[-1]

    yield make
    for one in started:
        one.join()
