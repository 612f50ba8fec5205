"""A world without a model, for the bridge's benchmarks: its tokens say when they were made."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
    """Lines: ``N`` tokens; ``step N SECONDS BEGIN`` tokens that are due when everybody's are, ``rounds`` the same
    without a thread for each turn; ``prefill SECONDS``.
    """

    id = "history"

    def __init__(self, world: World, number: int) -> None:
        self.id = f"h{number}"
        self._world = world

    def say(self, line: str, **_: Any) -> Iterator[Event] | Seat:
        command, *given = line.split() or [""]
        if command == "rounds" and len(given) == 3:
            return self._world.rounds.seat(int(given[0]), float(given[1]), float(given[2]))
        return self._say(command, given, line)

    def _say(self, command: str, given: list[str], line: str) -> Iterator[Event]:
        if command == "prefill" and given:
            computed = compute(float(given[0]))
            yield Text(text=f"{computed:.3f}", offset=0)
        elif command == "step" and len(given) == 3:
            yield from self._world.steps.tokens(int(given[0]), float(given[1]), float(given[2]))
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


class Rounds:
    """As a batching runtime makes tokens: everybody's in one round, put before each turn, which is told of it."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []
        self._paced = False
        self._lock = threading.Lock()

    def seat(self, count: int, pace: float, begin: float) -> Seat:
        """Tokens that say when they were due, all of them from ``begin`` on."""
        seat = Seat(count)
        with self._lock:
            self._seats.append(seat)
            if not self._paced:
                self._paced = True
                threading.Thread(target=self._run, args=(pace, begin), daemon=True).start()
        return seat

    def _run(self, pace: float, begin: float) -> None:
        due = begin
        while True:
            time.sleep(max(due - time.perf_counter(), 0.0))
            with self._lock:
                self._seats = seats = [seat for seat in self._seats if seat.left]
            for seat in seats:
                seat.put(due)
            due += pace


class Seat:
    """One turn of `Rounds`: `npcsdk.bridge.sessions.EventsAtHand`."""

    def __init__(self, count: int) -> None:
        self.left = count
        self._due: deque[float] = deque()
        self._ready: Callable[[], None] = lambda: None
        self._over = False

    def listen(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        ready()

    def put(self, due: float) -> None:
        self._due.append(due)
        self.left -= 1
        self._ready()

    def take(self) -> Event | None:
        if self._due:
            return Text(text=f"{self._due.popleft():.9f}", offset=0)
        if self.left or self._over:
            return None
        self._over = True
        return End(reason="stop")


class Steps:
    """The same for turns that each wait in a thread: everybody's token in one step, handed out one after the other.

    A turn that has handed on its token lets the next have its own. Woken all at once, 500 threads would measure how
    they get in each other's way, and nothing of the bridge.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Seat] = deque()
        self._paced = False
        self._lock = threading.Lock()

    def tokens(self, count: int, pace: float, begin: float) -> Iterator[Event]:
        """Tokens that say when they were due, all of them from ``begin`` on."""
        with self._lock:
            if not self._paced:
                self._paced = True
                threading.Thread(target=self._run, args=(pace, begin), daemon=True).start()
        seat = _Seat()
        for _ in range(count):
            seat.pass_on()
            self._waiting.append(seat)
            seat.mine.acquire()
            yield Text(text=f"{seat.due:.9f}", offset=0)
        seat.pass_on()

    def _run(self, pace: float, begin: float) -> None:
        due = begin
        while True:
            time.sleep(max(due - time.perf_counter(), 0.0))
            if due < time.perf_counter() - pace:
                due = time.perf_counter()  # behind: nothing is made up for
            batch = deque(self._waiting.popleft() for _ in range(len(self._waiting)))
            for seat in batch:
                seat.due, seat.batch = due, batch
            if batch:
                batch.popleft().mine.release()
            due += pace


class _Seat:
    """A turn's place in the hand-out of a step."""

    def __init__(self) -> None:
        self.mine = threading.Lock()
        self.mine.acquire()
        self.due = 0.0
        self.batch: deque[_Seat] = deque()

    def pass_on(self) -> None:
        batch, self.batch = self.batch, deque()
        if batch:
            batch.popleft().mine.release()


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
        self.steps = Steps()
        self.rounds = Rounds()
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
