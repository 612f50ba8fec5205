"""The first turn after a start: recall that does not wait until all records have been read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from npcsdk.memory.journal import Journal
from npcsdk.memory.recall import Fact, Memory
from npcsdk.memory.records import Entry
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]


def test_the_first_turn_has_the_newest_and_the_facts_of_this_timeline_and_later_ones_have_all(
    tmp_path: Path, open_memory: Open, held_up: threading.Event
) -> None:
    with Memory.open(tmp_path) as memory:
        memory.learn(Fact(npc="mira", subject="the gate", attribute="state", value="open"))
        memory.remember(event("An old heron stole the baker's ladder."))
        memory.remember(*(event(f"The player carried sack number {number}.") for number in range(400)))
        memory.remember(event("The player broke the bakery's window."))
        memory.save("evening")
        memory.learn(Fact(npc="mira", subject="the gate", attribute="state", value="burnt"))
        memory.remember(event("The player mended the bakery's window."))
        memory.load("evening")
    memory = open_memory(tmp_path, index="none")  # there is no such index: words alone
    assert texts(memory, "Who broke the window of the bakery?") == ["The player broke the bakery's window."]
    assert texts(memory, "What about the gate?") == ["the gate: state is open."]
    heron = "An old heron stole the baker's ladder."
    assert heron not in texts(memory, "Who stole the baker's ladder?")
    held_up.set()
    memory._recaller.shelf("mira")
    assert heron in texts(memory, "Who stole the baker's ladder?")
    assert texts(memory, "Who mended the window of the bakery?") == ["The player broke the bakery's window."]


def test_what_the_index_finds_is_in_the_first_turn_however_old_it_is(
    tmp_path: Path, open_memory: Open, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npcsdk.memory.recaller._GLIMPSE_PATIENCE", 60.0)
    with Memory.open(tmp_path) as memory:
        memory.remember(event("An old heron stole the baker's ladder."))
        memory.remember(*(event(f"The player carried sack number {number}.") for number in range(400)))
    memory = open_memory(tmp_path, index="exact")
    assert memory.indexed(60)
    assert texts(memory, "Who stole the baker's ladder?")[:1] == ["An old heron stole the baker's ladder."]


def test_what_is_forgotten_while_it_is_being_read_is_gone(
    tmp_path: Path, open_memory: Open, held_up: threading.Event
) -> None:
    memory = open_memory(tmp_path, index="none")
    memory.remember(event("The heron flew away."), event("The player sang."))
    memory.warm("mira")
    memory.trim("mira", 0)
    held_up.set()
    memory._recaller.shelf("mira")
    assert texts(memory, "Where is the heron?") == []


def test_the_newest_are_this_timelines(tmp_path: Path) -> None:
    def lived(text: str, kind: str = "event") -> Entry:
        return Entry(npc="mira", interlocutor="", kind=kind, origin="game", text=text)

    journal = Journal(tmp_path)
    journal.append([lived("a"), lived("f", "fact"), lived("b")])
    journal.save("one")
    journal.append([lived("un-done")])
    journal.load("one")
    journal.append([lived("c"), lived("a turn", "transcript")])
    assert [record.text for record in journal.newest("mira", 2)] == ["b", "c"]
    assert [record.text for record in journal.newest("mira", 9)] == ["a", "f", "b", "c"]
    assert [record.text for record in journal.newest("mira", 9, kind="fact")] == ["f"]
    journal.close()
