"""A world without a model: what it does follows from the line that it is told. Used in this process and in workers."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from npcsdk.errors import ModelError, TurnError
from npcsdk.events import Action, End, Event, Failed, Refused, Text, Tokens


@dataclass(frozen=True)
class Forgotten:
    records: int
    slots: int
    conversations: int


@dataclass(frozen=True)
class FakeNpc:
    id: str
    name: str
    role: str = "a test"
    voice: str | None = None


class AtHand:
    """A turn whose events a test puts there: `npcsdk.bridge.sessions.EventsAtHand`."""

    def __init__(self, first: str) -> None:
        self.events: deque[Event | Exception] = deque()
        self.ready: SimpleQueue[Any] = SimpleQueue()
        if first:
            self.events.append(Text(text=first))

    def listen(self, ready, work) -> None:
        self.ready.put(ready)

    def work(self) -> Event | None:
        ready = self.ready.get()
        self.ready.put(ready)
        ready()
        return None

    def put(self, *events: Event | Exception) -> None:
        self.events.extend(events)
        ready = self.ready.get(timeout=5.0)
        self.ready.put(ready)
        for _ in events:
            ready()

    def take(self) -> Event | None:
        event = self.events.popleft() if self.events else None
        if isinstance(event, Exception):
            raise event
        return event


class FakeConversation:
    def __init__(self, world: FakeWorld, npc: str, player: str, history: str) -> None:
        self.world, self.npc, self.player, self.id = world, npc, player, history
        self.cancelled = threading.Event()
        self.running = False
        self.waiting: dict[str, tuple[threading.Event, list[Any]]] = {}
        self.closed = False
        self.at_hand: AtHand | None = None

    def say(self, line, *, turn=None, state=None, seed=None, priority=0) -> Iterator[Event] | AtHand:
        if line.startswith("at hand"):
            self.at_hand = AtHand(line.removeprefix("at hand"))
            return self.at_hand
        return self._say(line, state, seed, priority)

    def _say(self, line, state, seed, priority) -> Iterator[Event]:
        if not line.strip():
            raise TurnError("The line is empty.", hint="Say something.", code="empty_line")
        if self.running:
            raise TurnError("Still speaking.", code="turn_in_progress")
        self.running = True
        self.cancelled.clear()
        self.world.lines.append((self.id, line))
        try:
            yield from self._perform(line, state or {}, seed, priority)
        finally:
            self.running = False

    def react(self, happening, *, turn=None, state=None, seed=None, priority=0) -> Iterator[Event]:
        return self.say(f"say You saw: {happening}", turn=turn, state=state, seed=seed, priority=priority)

    def _perform(
        self, line: str, state: Mapping[str, Any], seed: int | None, priority: int
    ) -> Iterator[Event]:
        command, _, rest = line.partition(" ")
        if command == "act":
            name, _, argument = rest.partition(" ")
            ready, answer = threading.Event(), []
            self.waiting["a1"] = (ready, answer)
            yield Text(text="Wait. ", offset=0)
            yield Action(id="a1", name=name, arguments={"target": argument}, offset=6, returns="result")
            came = ready.wait(self.world.timeout)
            said = f"{answer[0]}: {answer[1]}" if came else "no answer"
            yield Text(text=said, offset=6)
            yield End(reason="stop", text="Wait. " + said)
        elif command == "do":
            for number, name in enumerate(rest.split()):
                yield Action(id=f"a{number}", name=name, arguments={})
            yield End(reason="stop", actions=tuple(f"a{number}" for number in range(len(rest.split()))))
        elif command == "for-ever":
            offset = 0
            yield Text(text="on ", offset=0)
            while not self.cancelled.wait(0.005):
                offset += 3
                yield Text(text="on ", offset=offset)
            yield End(reason="cancelled", text="on " * (offset // 3 + 1))
        elif command == "count":
            for number in range(int(rest)):
                yield Text(text=f"{number} ", offset=0)
            yield End(reason="stop", text=rest)
        elif command == "slowly":
            for number in range(int(rest)):
                threading.Event().wait(0.005)
                yield Text(text=f"{number} ", offset=0)
            yield End(reason="stop", text=rest)
        elif command == "refuse":
            yield Refused(name="fly", code="unknown_action", message="Nobody can fly.")
            yield End(reason="stop")
        elif command == "fail":
            yield Text(text="Hm", offset=0)
            yield Failed(code="backend_error", message="It broke.", hint="Mend it.", text="Hm")
        elif command == "raise":
            yield Text(text="Hm", offset=0)
            raise RuntimeError("a bug")
        elif command == "die":
            yield Text(text="Farewell", offset=0)
            threading.Event().wait(0.05)  # let the word out: what is tested is what follows it
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        elif command == "actions":
            text = " ".join(action.name for action in self.actions())
            yield Text(text=text, offset=0)
            yield End(reason="stop", text=text)
        elif line.endswith("how urgent"):
            yield Text(text=str(priority), offset=0)
            yield End(reason="stop", text=str(priority))
        elif command == "state":
            text = f"{dict(state)} {seed}"
            yield Text(text=text, offset=0)
            yield End(reason="stop", text=text)
        else:
            yield Text(text=f"{self.npc} heard ", offset=0)
            yield Text(text=line, offset=len(self.npc) + 7)
            yield End(reason="stop", text=f"{self.npc} heard {line}")

    def update(self, state) -> None:
        self.world.notes.append((self.npc, "state", dict(state)))

    def prepare(self, line: str = "") -> Tokens:
        self.world.prepared.put((self.npc, line))
        return Tokens(computed=7)

    def heard(self, turn, offset) -> bool:
        self.world.notes.append((self.npc, turn, offset))
        return turn != "unknown"

    def cancel(self, arrived: Any = None) -> None:
        self.cancelled.set()

    def result(self, action_id, status, value=None) -> bool:
        if action_id not in self.waiting:
            return False
        ready, answer = self.waiting.pop(action_id)
        answer[:] = [status, value]
        ready.set()
        return True

    def close(self) -> None:
        self.closed = True


class FakeWorld:
    def __init__(self, timeout: float = 5.0) -> None:
        self.name = "Testholm"
        self.npcs = {"mira": FakeNpc("mira", "Mira"), "tom": FakeNpc("tom", "Old Tom", voice="low")}
        self.timeout = timeout
        self.actions: list[Any] = []
        self.kept: dict[str, int] = {}
        self.notes: list[Any] = []
        self.prepared: SimpleQueue[Any] = SimpleQueue()
        self.conversations: list[FakeConversation] = []
        self.lines: list[tuple[str, str]] = []
        self.closed = False

    def actions_with(self, definitions: Iterable[Any]) -> list[Any]:
        self.actions = list(definitions)
        return self.actions

    def save(self, slot: str) -> None:
        self.kept[slot] = len(self.lines)

    def load(self, slot: str) -> None:
        if slot not in self.kept:
            raise TurnError(f"There is no {slot!r}.", hint="Save first.", code="slot_unknown")
        del self.lines[self.kept[slot] :]

    def slots(self) -> list[str]:
        return sorted(self.kept)

    def set_values(self, npc, values, *, player) -> None:
        self.notes.append((npc, player, dict(values)))

    def remember(self, npc, text, *, player, importance, at, place) -> None:
        self.notes.append((npc, player, text, place) if place else (npc, player, text))

    def learn(self, npc, subject, attribute, value, *, text, player, importance, at, place) -> None:
        self.notes.append((npc, player, subject, attribute, value, text))

    def values(self, npc, *, player) -> dict[str, float]:
        return {"trust": 3.0} if player == "ada" else {}

    def delete_slot(self, slot: str) -> None:
        del self.kept[slot]

    def export_slot(self, slot: str, file: Path) -> int:
        file.write_text(str(self.kept[slot]), encoding="utf-8")
        return self.kept[slot]

    def import_slot(self, file: Path, slot: str | None = None) -> str:
        self.kept[slot or file.stem] = int(file.read_text(encoding="utf-8"))
        return slot or file.stem

    def forget(self, player: str) -> Forgotten:
        talks = [talk for talk in self.conversations if talk.player == player]
        return Forgotten(records=len(self.lines), slots=0, conversations=len(talks))

    def open(self, npc, *, player="player", conversation=None, actions=None) -> FakeConversation:
        if npc not in self.npcs:
            raise TurnError(f"There is no {npc!r}.", hint="There is Mira.", code="npc_unknown")
        made = FakeConversation(self, npc, player, conversation or f"h{len(self.conversations)}")
        made.actions = actions or (lambda: ())
        self.conversations.append(made)
        return made

    def close(self) -> None:
        self.closed = True


def open_world(folder, *, model=None, memory=None, options=None) -> FakeWorld:
    if model == "missing":
        raise ModelError("There is no model 'missing'.", hint="Take another.", code="model_not_found")
    if model == "slow":
        threading.Event().wait(0.3)
    if model == "crash":
        os._exit(7)
    return FakeWorld(**(options or {}))
