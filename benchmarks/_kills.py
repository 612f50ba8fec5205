"""Kills a process that writes memories, again and again, at random moments, and looks at what is left.

The writer opens the folder, writes from two threads (single records, several at once, whole turns, facts, and what a
load then un-does), closes, and begins again; so kills also fall into opening, repairing, indexing, collecting and
closing. After each kill every write that was acknowledged must be there whole and once, nothing may be there in part,
the file must be sound, and the index must agree with the journal. ``python -m benchmarks.memory_soak`` runs it.
"""

from __future__ import annotations

import faulthandler
import itertools
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

from npcsdk.memory.recall import Experience, Fact, Memory
from npcsdk.memory.records import Record

__all__ = ["Outcome", "soak"]

_NPCS = ("mira", "bram", "wren")
_EARLY = 0.3  # of the kills come after a moment of this many seconds at most, whatever the writer does then
_MOMENT = 1.5
_MOST = 60  # the others come while it writes: after as many writes at most, and a little later
_LATER = 0.03
_STARTING = 900.0  # seconds for a start and for the index to agree: slow is not wrong
_NEVER = -1
_UNDONE = (
    "un-done"  # how texts begin that a load has un-done, or may have: collected or not, they do not count
)


@dataclass(slots=True)
class Outcome:
    """What came of some kills. ``wrong`` is empty when every promise held."""

    kills: int = 0
    early: int = 0
    """Kills before the writer had opened the folder."""
    acknowledged: int = 0
    unacknowledged: int = 0
    """Writes that are there whole, and whose acknowledgement the kill cut off."""
    slowest: float = 0.0
    """Seconds after which the index agreed with the journal, at most."""
    wrong: list[str] = field(default_factory=list[str])


def soak(
    folder: Path, kills: int, *, seed: int = 1, report: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Kills ``kills`` times; what is found wrong is in the outcome, nothing is raised for it."""
    chance = random.Random(seed)
    # A forked writer starts in a moment: what is killed should be writing, not importing.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["benchmarks._kills", "chromadb"])
    outcome = Outcome()
    sizes: dict[str, int] = {}  # acknowledged write → of how many records it is
    for number in range(kills):
        hearing, telling = context.Pipe(duplex=False)
        writer = context.Process(target=_write, args=(folder, telling, number, chance.random()), daemon=True)
        writer.start()
        telling.close()
        acknowledged, opened, ended = _listen(hearing, chance)
        writer.kill()
        acknowledged += _rest(hearing)
        writer.join()
        hearing.close()
        outcome.kills += 1
        outcome.early += not opened
        sizes.update(acknowledged)
        outcome.acknowledged = len(sizes)
        found = _examine(folder, sizes, outcome)
        if ended:
            found.append("the writer ended by itself")
        outcome.wrong += [f"kill {number}: {what}" for what in found]
        report(f"{number + 1}/{kills}: {len(sizes)} acknowledged, {len(outcome.wrong)} wrong {found[:3]}")
    return outcome


def _listen(hearing: Connection, chance: random.Random) -> tuple[list[tuple[str, int]], bool, bool]:
    """What is acknowledged until a random moment; whether the writer had begun by then, and had ended by itself."""
    early = chance.random() < _EARLY
    writes = _NEVER if early else chance.randint(0, _MOST)
    later = chance.uniform(0.0, _LATER)
    heard: list[tuple[str, int]] = []
    opened = False
    deadline = time.monotonic() + (chance.uniform(0.0, _MOMENT) if early else _STARTING)
    while hearing.poll(max(deadline - time.monotonic(), 0.0)):
        try:
            write, size = hearing.recv()
        except EOFError:
            return heard, opened, True
        opened = True
        if size:
            heard.append((write, size))
        if len(heard) == writes:
            deadline = time.monotonic() + later
            writes = _NEVER
    return heard, opened, False


def _rest(hearing: Connection) -> list[tuple[str, int]]:
    """What had been acknowledged before the kill and not been heard yet."""
    heard: list[tuple[str, int]] = []
    try:
        while True:
            write, size = hearing.recv()
            if size:
                heard.append((write, size))
    except (EOFError, OSError):
        return heard


def _examine(folder: Path, sizes: dict[str, int], outcome: Outcome) -> list[str]:
    """Opens the folder as the next start would, and compares."""
    memory = Memory.open(folder)
    try:
        began = time.monotonic()
        if not memory.indexed(_STARTING):
            faulthandler.dump_traceback(all_threads=True)  # what it waits for
            return ["the index does not come to an end"]
        outcome.slowest = max(outcome.slowest, time.monotonic() - began)
        health = memory.doctor(_STARTING)
        wrong = [f"the journal: {what}" for what in health.journal]
        if health.missing or health.strangers:
            wrong.append(f"the index lacks {health.missing} records and has {health.strangers} too many")
        there = Counter(record.text for record in memory._journal.traces(_counts))
    finally:
        memory.close()
    wrong += [f"{text!r} is there {count} times" for text, count in there.items() if count > 1]
    parts: dict[str, set[str]] = {}
    for text in there:
        write, _, part = text.partition(" part ")
        parts.setdefault(write, set()).add(part)
    for write, size in sizes.items():
        if len(parts.get(write, ())) != size:
            wrong.append(f"{write!r} was acknowledged and has {len(parts.get(write, ()))} of {size} records")
    late = parts.keys() - sizes.keys()
    outcome.unacknowledged = len(late)
    for write in late:  # "heron 3-0-17 of 4"
        if len(parts[write]) != int(write.rpartition(" ")[2]):
            wrong.append(f"{write!r} was not acknowledged and is there in part")
    return wrong


def _counts(record: Record) -> bool:
    return bool(record.text) and not record.text.startswith(_UNDONE)


# -- the writer


class _Gate:
    """Lets many write, or one go back to a saved game: what others write meanwhile is not un-done by accident."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writing = 0

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        with self._changed:
            self._writing += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing)
            yield


def _write(folder: Path, telling: Connection, number: int, seed: float) -> None:
    chance = random.Random(seed)
    lock = threading.Lock()
    counters = [itertools.count() for _ in range(2)]

    def tell(write: str, size: int) -> None:
        with lock:
            telling.send((write, size))

    while True:
        memory = Memory.open(folder)
        tell("", 0)
        rounds = chance.randint(5, 60)
        gate = _Gate()

        def work(thread: int, memory: Memory = memory, rounds: int = rounds, gate: _Gate = gate) -> None:
            own = random.Random(f"{seed}/{thread}/{next(counters[thread])}")
            for _ in range(rounds):
                _one(memory, gate, own, f"{number}-{thread}-{next(counters[thread])}", tell)

        threads = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        memory.close()


def _one(
    memory: Memory, gate: _Gate, chance: random.Random, name: str, tell: Callable[[str, int], None]
) -> None:
    kind = chance.choice(("one", "several", "turn", "fact", "slot"))
    npc = chance.choice(_NPCS)
    size = {"one": 1, "several": chance.randint(2, 6), "turn": 2, "fact": 1, "slot": 0}[kind]
    write = f"heron {name} of {size}"
    lived = [
        Experience(npc=npc, interlocutor="player", kind="event", origin="game", text=f"{write} part {part}")
        for part in range(max(size, 1))
    ]
    if kind == "slot":
        with gate.alone():
            memory.save("slot")
            lost = [
                replace(lived[0], text=f"{_UNDONE} {name} part {part}")
                for part in range(chance.randint(0, 150))
            ]
            memory.remember(*lost)
            memory.load("slot")
        return
    with gate.writing():
        if kind == "turn":
            turn = {"player": "hello", "npc": name}
            memory.append_turn(
                f"talk with {npc}", npc, "player", turn, experiences=lived, values={"trust": 1.0}
            )
        elif kind == "fact":
            text = f"{write} part 0"
            memory.learn(
                Fact(npc=npc, interlocutor="player", subject="gate", attribute="state", value=name, text=text)
            )
        else:
            memory.remember(*lived)
    tell(write, size)
