"""The thread that lets the vector index follow the journal, away from the reply path."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.journal import Journal, Record
from npcsdk.memory.registry import Embedder, VectorIndex

__all__ = ["Follower", "named"]

_BATCH = (
    64  # Chroma holds the interpreter's lock while it adds: some ten milliseconds, few more for 64 than for 1
)
_LINGER = 0.5  # seconds that new records may wait for company: one interruption instead of several
_READ = 256
_ATTEMPTS = 3
_PASSING = ("embedder_failed", "index_unreachable")  # what lies elsewhere, and may come back
_ANYBODY = "\0"
_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before it is asked again


class Follower:
    """Opens the index when there is something to index, repairs it, then adds what the journal gets.

    ``opens`` makes the index. `start` begins.
    A failing index is begun again; after three failures in a row it is left alone until the next start.
    """

    def __init__(
        self,
        journal: Journal,
        embedder: Embedder,
        opens: Callable[[], VectorIndex],
        *,
        warn: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._embedder = embedder
        self._opens = opens
        self._indexed: Callable[[int], None] = lambda position: None
        self._warn = warn
        self._index: VectorIndex | None = None
        self._changed = threading.Condition()
        self._done = 0  # everything up to this position is in the index
        self._broken = False
        self._index_failed = False
        # npcs of whom records were removed from the journal; how often, or a removal during a repair would be missed
        self._suspects: Counter[str] = Counter()
        self._hurry = 0  # how many wait for the index to hold everything
        self._deadline: float | None = None  # set by close: when to stop, drained or not
        self._thread = threading.Thread(target=self._run, name="npcsdk-memory-index", daemon=True)

    def start(self, indexed: Callable[[int], None]) -> None:
        """Begins to follow; ``indexed(position)`` is called when all records up to there are in the index."""
        self._indexed = indexed
        self._thread.start()

    @property
    def index(self) -> VectorIndex | None:
        """The index while it can be asked; it may still be behind the journal."""
        return self._index

    @property
    def done(self) -> int:
        """The index holds everything up to this position."""
        return self._done

    def wake(self) -> None:
        """The journal has grown."""
        with self._changed:
            self._changed.notify_all()

    def report(self, error: MemoryStoreError) -> None:
        """A query failed: the index is begun again."""
        with self._changed:
            if self._index is not None and not self._broken:
                self._warn(str(error))
                if error.code in _PASSING:
                    self._suspects[_ANYBODY] += 1  # it may come back with less than it had
                else:
                    self._index_failed = True
                self._changed.notify_all()

    def removed(self, npcs: Iterable[str]) -> None:
        """Records of ``npcs`` have left the journal: their vectors follow."""
        with self._changed:
            self._suspects.update(set(npcs))
            self._changed.notify_all()

    def rebuild(self, timeout: float) -> bool:
        """The index is begun again; whether nothing is left of the old one before ``timeout`` seconds are over."""
        with self._changed:
            self._index_failed = True
            self._done = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._index_failed or self._broken, timeout)
            return not self._index_failed and not self._broken

    def wait(self, timeout: float) -> bool:
        """Waits until the index holds all that the journal holds now. False: it does not, or never will."""
        target = self._journal.last
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._settled(target) or self._broken, timeout)
            finally:
                self._hurry -= 1
            return self._settled(target)

    def close(self, drain: float) -> None:
        """Stops, after following to the end of the journal if that takes no longer than ``drain`` seconds."""
        with self._changed:
            self._deadline = time.monotonic() + drain
            self._changed.notify_all()
        self._thread.join()

    def _settled(self, target: int) -> bool:
        return self._done >= target and not self._suspects and not self._index_failed

    # -- the thread

    def _run(self) -> None:
        failures = 0
        while not self._broken:
            try:
                if not self._wait_for_work():
                    break
                if self._deadline is None:
                    self._journal.make_room()
                if self._index is None:
                    self._index = self._opens()
                    self._repair(self._index)
                elif self._index_failed:
                    self._index.reset()
                    with self._changed:
                        self._index_failed = False
                        self._changed.notify_all()
                    self._repair(self._index)
                elif self._suspects:
                    self._repair(self._index)
                else:
                    self._follow(self._index)
                failures = 0
            except Exception as raised:
                error = named(raised)
                if error.code == "memory_closed":
                    break
                failures += 1
                self._warn(str(error))
                if error.code in _PASSING:
                    self._suspects[_ANYBODY] += 1
                    with self._changed:  # a server will come back
                        pause = min(_PAUSE * 2 ** min(failures, 8), _LONGEST_PAUSE)
                        self._changed.wait_for(lambda: self._deadline is not None, pause)
                        if self._deadline is not None:
                            break
                elif failures >= _ATTEMPTS:
                    with self._changed:
                        self._broken = True
                        self._changed.notify_all()
                else:
                    self._index_failed = self._index is not None
        index, self._index = self._index, None
        if index is not None:
            try:
                index.close()
            except Exception as raised:
                self._warn(str(named(raised)))

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(self._something_to_do)
            if self._index is not None:
                self._changed.wait_for(lambda: self._hurry or self._something_to_do() == "now", _LINGER)
            if self._deadline is None:
                return True
            return (
                self._journal.last > self._done or bool(self._suspects)
            ) and time.monotonic() < self._deadline

    def _something_to_do(self) -> Literal["", "soon", "now"]:
        if (
            self._index_failed
            or self._suspects
            or self._deadline is not None
            or self._journal.last - self._done >= _BATCH
        ):
            return "now"
        return "soon" if self._journal.last > self._done else ""

    def _repair(self, index: VectorIndex) -> None:
        """Makes the index hold exactly the journal's records, by comparing counts and, where they differ, ids."""
        removed, removals = self._journal.unsettled()
        with self._changed:
            asked = dict(self._suspects)
        suspects = removed.union(asked)
        upto = self._journal.last
        counts = dict.fromkeys(suspects - {_ANYBODY}, 0) | self._journal.counts(upto=upto)
        for npc, count in counts.items():
            if npc not in suspects and index.count(npc) == count:
                continue
            wanted = self._journal.positions(npc, upto=upto)
            held = index.positions(npc)
            strangers = sorted(held.difference(wanted))
            if strangers:
                index.remove(npc, strangers)
            missing = [position for position in wanted if position not in held]
            for start in range(0, len(missing), _BATCH):
                records = self._journal.read(missing[start : start + _BATCH])
                if records and not self._add(index, npc, list(records.values())):  # they may be gone by now
                    return
        with self._changed:
            self._suspects = Counter({npc: n for npc, n in self._suspects.items() if n != asked.get(npc)})
        with contextlib.suppress(
            MemoryStoreError
        ):  # a full disk, say: then it is compared again at the next start
            self._journal.settle(removals)
        self._advance(upto)

    def _follow(self, index: VectorIndex) -> None:
        last = self._journal.last  # read first: what comes after it is the next round's
        records = self._journal.after(self._done, limit=_READ)
        if not records:  # only transcripts since
            self._advance(last)
            return
        start = 0
        while start < len(records):
            end = start + 1
            while end < min(len(records), start + _BATCH) and records[end].npc == records[start].npc:
                end += 1
            if not self._add(index, records[start].npc, records[start:end]):
                return
            self._advance(records[end - 1].seq)
            start = end

    def _add(self, index: VectorIndex, npc: str, records: Sequence[Record]) -> bool:
        """Adds one batch; False when it is time to stop."""
        began = time.monotonic()
        index.add(npc, [record.seq for record in records], self._embedder.embed([r.text for r in records]))
        took = time.monotonic() - began
        with self._changed:
            # Leaves the interpreter to others for as long as it took: a rebuild must not starve a recall.
            self._changed.wait_for(lambda: self._deadline is not None or self._index_failed, took)
            return not self._index_failed and (self._deadline is None or time.monotonic() < self._deadline)

    def _advance(self, position: int) -> None:
        with self._changed:
            self._done = position
            self._changed.notify_all()
        self._indexed(position)


def named(error: Exception) -> MemoryStoreError:
    """An index of another package may raise anything: the thread lives on."""
    if isinstance(error, MemoryStoreError):
        return error
    return MemoryStoreError(
        f"The memory index failed: {type(error).__name__}: {error}.",
        hint="Recall goes on by words; the index is built again from the journal.",
        code="index_failed",
    )
