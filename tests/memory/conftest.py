"""Opens memories for the tests of this folder, and closes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npcsdk.memory.journal import Journal
from npcsdk.memory.recall import Memory


@pytest.fixture
def open_memory() -> Iterator[Callable[..., Memory]]:
    """Opens memories and closes them when the test is over."""
    opened: list[Memory] = []

    def make(directory: Path | None = None, lore: Any = (), **options: Any) -> Memory:
        memory = Memory.open(directory, lore, **options)
        opened.append(memory)
        return memory

    yield make
    for memory in opened:
        memory.close()


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reading a character's records does not begin until this is set."""
    go_on = threading.Event()
    read = Journal.of_npc

    def slowly(self: Journal, npc: str, **given: Any) -> Any:
        go_on.wait(60)
        return read(self, npc, **given)

    monkeypatch.setattr(Journal, "of_npc", slowly)
    yield go_on
    go_on.set()
