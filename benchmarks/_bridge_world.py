"""A world without a model, for the bridge's benchmarks: its tokens say when they were made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from npcsdk.events import End, Event, Text, Tokens

PACE = 0.004  # seconds between tokens, unless a line says otherwise


@dataclass(frozen=True)
class Npc:
    id: str = "npc"
    name: str = "Npc"
    role: str = ""
    voice: str | None = None


@dataclass(frozen=True)
class Forgotten:
    records: int = 0
    slots: int = 0
    conversations: int = 0


class Conversation:
    """Lines: ``N`` tokens; ``prefill SECONDS``."""

    id = "history"

    def __init__(self, world: World, number: int) -> None:
        self.id = f"h{number}"
        self._world = world

    def say(self, line: str, **_: Any) -> Iterator[Event]:
        command, *given = line.split() or [""]
        if command == "prefill" and given:
            computed = compute(float(given[0]))
            yield Text(text=f"{computed:.3f}", offset=0)
        else:
            for _number in range(min(int(command), 1000) if command.isdecimal() else 0):
                time.sleep(PACE)
                yield Text(text=f"{time.perf_counter():.9f}", offset=0)
        self._world.keep(line)
        yield End(reason="stop", text=line)

    react = say

    def update(self, state: Mapping[str, Any]) -> None:
        """Nothing depends on it."""

    def prepare(self, line: str = "") -> Tokens:
        return Tokens()

    def heard(self, turn: str, offset: int) -> bool:
        return True

    def cancel(self, arrived: Any = None) -> None:
        """A turn is short."""

    def result(self, action_id: str, status: str, value: Any = None) -> bool:
        return False

    def close(self) -> None:
        """Nothing to give back."""


def compute(seconds: float) -> float:
    """Keep a core busy and the interpreter's lock held, as a native runtime may; the seconds that it took."""
    began = time.perf_counter()
    sum(repeat(1, 2_000_000))
    each = (time.perf_counter() - began) / 2_000_000
    sum(repeat(1, int(seconds / each)))  # one call: nobody else gets the lock
    return time.perf_counter() - began


class World:
    name = "Benchmark"

    def __init__(self, memory: Path | None = None) -> None:
        self.npcs: Mapping[str, Npc] = {"npc": Npc()}
        self._opened = 0
        self._log = memory / "log" if memory else None

    def keep(self, text: str) -> None:
        """On disk when it returns."""
        if self._log is not None:
            with open(self._log, "ab", buffering=0) as log:
                log.write(text.encode() + b"\n")
                os.fsync(log.fileno())

    def remember(self, npc: str, text: str, **_: Any) -> None:
        self.keep(text)

    def save(self, slot: str) -> None:
        """Nothing to name."""

    load = save

    def slots(self) -> list[str]:
        return []

    def delete_slot(self, slot: str) -> None:
        """There is none."""

    def export_slot(self, slot: str, file: Path) -> int:
        return 0  # and no file: whoever sends bad frames names it

    def import_slot(self, file: Path, slot: str | None) -> str:
        return slot or ""

    def forget(self, player: str) -> Forgotten:
        return Forgotten()

    def learn(self, npc: str, *_: Any, **__: Any) -> None:
        """Nothing depends on it."""

    def values(self, npc: str, *, player: str) -> Mapping[str, float]:
        return {}

    def set_values(self, npc: str, values: Mapping[str, Any], *, player: str) -> None:
        """Nothing depends on them."""

    def actions_with(self, definitions: Any) -> list[Any]:
        return list(definitions)

    def open(self, npc: str, **_: Any) -> Conversation:
        self._opened += 1
        return Conversation(self, self._opened)

    def close(self) -> None:
        """Nothing to give back."""


def open_world(folder: Any, *, memory: Path | str | None = None, **_: Any) -> World:
    """What the worker opens."""
    return World(None if memory is None else Path(memory))
