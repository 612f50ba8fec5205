"""All shelves that are held, and how one gets there: read from the journal in the background, on first use.

Reading a hundred thousand records takes seconds, and a turn does not wait for that: it gets a `glimpse`, a small
shelf of what is newest, of the facts, and of what the vector index found.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.journal import Journal
from npcsdk.memory.records import FACT, SILENT, Record
from npcsdk.memory.shelf import Shelf

__all__ = ["Shelves", "arrived"]

_SHELVED = 400_000  # records held in memory over all npcs; the longest unused npc is put away first
_PAGE = (
    40  # records read at a time: under a millisecond, while a turn may want the interpreter or the journal
)
_GIVE_WAY = 0.05  # seconds that reading waits for a turn, before the next page
_NEWEST, _FACTS = 300, 500  # of a glimpse


class Shelves:
    """Every method may be called from any thread.

    Args:
        lock: guards the shelves themselves; held by who uses one.
        done: up to which position the vector index holds everything.
    """

    def __init__(
        self, journal: Journal, dimensions: int, lock: threading.Lock, done: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._dimensions = dimensions
        self._lock = lock
        self._done = done
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._coming: dict[str, Future[Shelf]] = {}
        self._gone: dict[str, list[int]] = {}  # of npcs that are being read: what the journal lost meanwhile
        self._age = 0  # grows when all is put away: what was being read then counts no more
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="npcsdk-memory-read")
        self._quiet = threading.Condition()
        self._turns = 0

    # -- reading; without the lock

    def held(self, npc: str) -> Shelf | None:
        """The shelf of ``npc``, if it has been read."""
        with self._lock:
            shelf = self._shelves.get(npc)
            if shelf is not None:
                self._shelves.move_to_end(npc)
            return shelf

    def coming(self, npc: str) -> Future[Shelf]:
        """The shelf of ``npc``, which is being read unless it is held. Raises MemoryStoreError ``memory_closed``."""
        with self._lock:
            shelf = self._shelves.get(npc)
            if shelf is not None:
                ready: Future[Shelf] = Future()
                ready.set_result(shelf)
                return ready
            reading = self._coming.get(npc)
            if reading is None:
                try:
                    reading = self._reader.submit(self._read, npc)
                except RuntimeError:
                    raise MemoryStoreError(
                        "Memory has been closed.", hint="Open the world again.", code="memory_closed"
                    ) from None
                self._coming[npc] = reading
            return reading

    def glimpse(self, npc: str, near: Collection[int]) -> Shelf:
        """Some of what ``npc`` lived through on this timeline: the newest, the facts, and what is at ``near``."""
        records = {record.seq: record for record in self._journal.newest(npc, _NEWEST)}
        records |= {record.seq: record for record in self._journal.newest(npc, _FACTS, kind=FACT)}
        found = self._journal.read([position for position in near if position not in records])
        # What the index found is everybody's of whom ``npc`` may know; only its own is its own.
        records |= {position: record for position, record in found.items() if record.npc == npc}
        shelf = Shelf(self._dimensions)
        shelf.add(records[position] for position in sorted(records))
        shelf.settle(self._done())
        return shelf

    @contextmanager
    def turn(self) -> Generator[None, None, None]:
        """A turn is recalling: reading gives way to it."""
        with self._quiet:
            self._turns += 1
        try:
            yield
        finally:
            with self._quiet:
                self._turns -= 1
                self._quiet.notify_all()

    def close(self) -> None:
        """Reads nothing any more."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, npc: str) -> Shelf:
        try:
            while True:
                shelf, age = Shelf(self._dimensions), self._age
                while records := self._journal.of_npc(npc, after=shelf.last, limit=_PAGE):
                    shelf.add(records)
                    with self._quiet:
                        self._quiet.wait_for(lambda: not self._turns, _GIVE_WAY)
                with self._lock:
                    shelf.add(self._journal.of_npc(npc, after=shelf.last))
                    if age != self._age:
                        continue  # records were erased or taken in meanwhile
                    shelf.remove(self._gone.pop(npc, ()))
                    shelf.settle(self._done())
                    self._shelves[npc] = shelf
                    held = sum(len(each) for each in self._shelves.values())
                    while held > _SHELVED and len(self._shelves) > 1:
                        held -= len(self._shelves.popitem(last=False)[1])
                    return shelf
        finally:
            with self._lock:
                self._coming.pop(npc, None)
                self._gone.pop(npc, None)

    # -- under the lock

    def took(self, records: Iterable[Record]) -> None:
        """The journal got these. Hold the lock since before it did: shelves get them in the journal's order."""
        for record in records:
            shelf = self._shelves.get(record.npc)
            if shelf is not None and record.kind not in SILENT:
                shelf.add([record])

    def settle(self, position: int) -> None:
        """The index holds everything up to ``position``."""
        for shelf in self._shelves.values():
            shelf.settle(position)

    def remove(self, npc: str, positions: Collection[int]) -> None:
        """The journal has these records no more."""
        if npc in self._coming:
            self._gone.setdefault(npc, []).extend(positions)
        shelf = self._shelves.get(npc)
        if shelf is not None:
            shelf.remove(positions)
            if shelf.mostly_gone:  # it is read again without them, and takes less room
                del self._shelves[npc]

    def put_away(self) -> None:
        """Lets go of all shelves; each is read again when it is wanted."""
        self._age += 1
        self._shelves.clear()


def arrived(reading: Future[Shelf], patience: float) -> Shelf | None:
    """The shelf, if it has been read within ``patience`` seconds. Raises what reading raised."""
    try:
        return reading.result(patience)
    except (TimeoutError, CancelledError):
        return None
