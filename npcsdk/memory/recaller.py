"""The reading half of memory: shelves of words, the vector index beside them, and the passages that fit a line."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.experience import Passage
from npcsdk.memory.follower import Follower
from npcsdk.memory.journal import Journal
from npcsdk.memory.lore import LoreShelf
from npcsdk.memory.query import Query
from npcsdk.memory.records import SILENT, Record
from npcsdk.memory.registry import Embedder, Vectors
from npcsdk.memory.scoring import Hit, Weights, pick, rank
from npcsdk.memory.shelf import Shelf
from npcsdk.memory.text import spelled, terms

__all__ = ["Recaller"]

_FETCH = 24  # vectors asked of the index at first; more only while they still match
_FETCH_MOST = 768
_WORDS = 12  # candidates taken by words from each side
_PATIENCE = 0.05  # seconds a turn waits for the index before it goes on by words
_SHELVED = 400_000  # records held in memory over all npcs; the longest unused npc is put away first


class Recaller:
    """One for each `npcsdk.memory.recall.Memory`, which hands it every record that is written (`took`)."""

    def __init__(
        self, journal: Journal, lore: LoreShelf, embedder: Embedder, follower: Follower, weights: Weights
    ) -> None:
        self._journal = journal
        self._lore = lore
        self._embedder = embedder
        self._follower = follower
        self._weights = weights
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # one npc's records are read at a time; taken before the other lock
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="npcsdk-memory-query")
        self._asked: Future[list[tuple[int, float]]] | None = None

    def recall(
        self,
        query: str,
        *,
        npc: str,
        interlocutor: str,
        tags: Collection[str],
        limit: int,
        now: float | None,
        without_turns: Collection[str],
    ) -> list[Passage]:
        """See `npcsdk.memory.recall.Memory.recall`."""
        if not terms(query):
            return []
        vector = self._embedder.embed([query])[0]
        shelf = self.shelf(npc)
        with self._lock:
            mask = shelf.visible(self._journal.view, interlocutor, without_turns)
        asking = self._ask_index(npc, vector, shelf, mask, wanted=3 * limit)
        with self._lock:  # while the index looks for itself
            asked = Query.of(query, (self._lore.words, shelf.words))
            similar = shelf.similar_fresh(vector, self._embedder)
            met = asked.scores(shelf.words, len(mask))
        candidates = self._lore.candidates(asked, vector, tags, _WORDS)
        similar.update(self._answer(asking))
        with self._lock:
            candidates += shelf.candidates(met, similar, mask, _WORDS, now)
        return self._chosen(asked, rank(candidates, self._weights)[: 3 * limit + 3], limit)

    def write(self, append: Callable[[], Sequence[Record]]) -> None:
        """Calls ``append`` and takes the records that it gives; shelves get them in the journal's order."""
        with self._lock:
            for record in append():
                shelf = self._shelves.get(record.npc)
                if shelf is not None and record.kind not in SILENT:
                    shelf.add([record])

    def settle(self, position: int) -> None:
        """The follower's word that the index holds everything up to ``position``."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.settle(position)

    def put_away(self) -> None:
        """Lets go of all shelves; each is read again when it is wanted."""
        with self._lock:
            self._shelves.clear()

    def close(self) -> None:
        """Asks nothing any more."""
        self._asker.shutdown(wait=False, cancel_futures=True)

    def shelf(self, npc: str) -> Shelf:
        """The records of ``npc``, read from the journal when it is asked for the first time."""
        shelf = self._held(npc)
        if shelf is None:
            with self._reading:
                shelf = self._held(npc)  # perhaps somebody else has read it meanwhile
                if shelf is None:
                    shelf = self._read_in(npc)
        return shelf

    def _held(self, npc: str) -> Shelf | None:
        with self._lock:
            shelf = self._shelves.get(npc)
            if shelf is not None:
                self._shelves.move_to_end(npc)
            return shelf

    def _read_in(self, npc: str) -> Shelf:
        # Some tenths of a second for ten thousand records: writes and other npcs' turns go on meanwhile.
        shelf = Shelf(self._embedder.dimensions)
        shelf.add(self._journal.of_npc(npc))
        with self._lock:
            shelf.add(self._journal.of_npc(npc, after=shelf.last))
            shelf.settle(self._follower.done)
            self._shelves[npc] = shelf
            held = sum(len(each) for each in self._shelves.values())
            while held > _SHELVED and len(self._shelves) > 1:
                held -= len(self._shelves.popitem(last=False)[1])
        return shelf

    def _ask_index(
        self, npc: str, vector: Vectors, shelf: Shelf, mask: npt.NDArray[np.bool_], *, wanted: int
    ) -> Future[list[tuple[int, float]]] | None:
        """Asks the index, on a thread of its own so that a slow one costs a turn no more than `_PATIENCE`."""
        index = self._follower.index
        if index is None or not vector.any() or not len(shelf):
            return None
        if self._asked is not None and not self._asked.done():
            return None  # still busy with an earlier question: the turn goes by words

        def ask() -> list[tuple[int, float]]:
            limit = _FETCH
            while True:
                found = index.query(npc, vector, limit)
                # Others' memories and other timelines' lie in the same collection: fetched and passed over.
                matching = [position for position, cosine in found if cosine >= self._weights.min_cosine]
                if len(matching) < limit or limit >= _FETCH_MOST:
                    return found
                with self._lock:
                    seen = shelf.count(matching, mask)
                if seen >= wanted:
                    return found
                limit *= 4

        try:
            self._asked = self._asker.submit(ask)
        except RuntimeError:  # closed meanwhile; the journal will say so
            return None
        return self._asked

    def _answer(self, asking: Future[list[tuple[int, float]]] | None) -> dict[int, float]:
        """Position → cosine; nothing from an index that is slow or fails."""
        if asking is None:
            return {}
        try:
            return dict(asking.result(_PATIENCE))
        except (TimeoutError, CancelledError):
            return {}
        except MemoryStoreError as error:
            self._follower.report(error)
            return {}

    def _chosen(self, asked: Query, hits: Sequence[Hit], limit: int) -> list[Passage]:
        """Reads the texts of the best hits, and of these picks the ones that add something."""
        records = self._journal.read([hit.candidate.key for hit in hits if hit.candidate.key >= 0])
        read: list[Hit] = []
        for hit in hits:
            held = hit.candidate.terms
            if hit.candidate.key >= 0:
                record = records.get(hit.candidate.key)
                if record is None:
                    continue
                held = frozenset(terms(record.text))
                said = record.kind == "turn" and record.origin == "player"
                if said and held <= asked.terms.union(terms(f"{record.npc} {record.interlocutor}")):
                    continue  # the same was said before: no news
            read.append(Hit(replace(hit.candidate, terms=held, words=asked.found_in(held)), hit.score))
        return [
            self._passage(hit, records.get(hit.candidate.key)) for hit in pick(read, self._weights, limit)
        ]

    def _passage(self, hit: Hit, record: Record | None) -> Passage:
        if record is not None:
            found, text, source = f"memory:{record.seq}", record.text, f"memory/{record.kind}"
            read = text
        else:
            lore = self._lore.passages[self._lore.key(hit.candidate.key)]
            found, text, source = lore.id, lore.text, lore.source
            read = f"{lore.title}\n{text}"
        # People read words, not stems.
        spelling = spelled(read)
        words = tuple(spelling[term] for term in hit.candidate.words)
        shown = Hit(replace(hit.candidate, words=words), hit.score)
        return Passage(found, text, source, hit.score, shown.reason(self._weights))
