"""Opens memories for the tests of this folder, and closes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
