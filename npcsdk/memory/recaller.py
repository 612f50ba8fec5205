"""The reading half of memory: shelves of words, the vector index beside them, and the passages that fit a line."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.experience import Passage
from npcsdk.memory.follower import Follower, named
from npcsdk.memory.journal import Journal
from npcsdk.memory.knowledge import Channel, Knowledge
from npcsdk.memory.lore import LoreShelf
from npcsdk.memory.query import Query, best
from npcsdk.memory.records import Record
from npcsdk.memory.registry import Embedder, Vectors
from npcsdk.memory.scoring import Candidate, Hit, Weights, pick, rank
from npcsdk.memory.shelf import Shelf
from npcsdk.memory.shelves import Shelves, arrived
from npcsdk.memory.text import spelled, terms

__all__ = ["Recaller", "position_of", "vectors_or"]

_log = logging.getLogger("npcsdk.memory")

_FETCH = 24  # vectors asked of the index at first; more only while they still match
_FETCH_MOST = 768
_WORDS = 12  # candidates taken by words from each side
_ALONE, _ALONE_SLOW = 0.4, 0.35  # cosine that makes a text a match all by itself
_PATIENCE = 0.05  # seconds a turn waits for the index before it goes on by words
_SLOW = 0.25  # seconds a turn waits for an embedder that is not instant
_READING = 0.005  # seconds a turn waits for records to be read before it takes a glimpse of them
_GLIMPSE, _GLIMPSE_PATIENCE = 100, 0.02  # vectors asked of the index for that, and seconds waited for them

_MEMORY = "memory:"

Asking = Future[list[tuple[int, float]]]
"""A question to the index: positions and cosines."""


@dataclass(slots=True)
class _Part:
    """One way of knowing, as far as it may be recalled now."""

    channel: Channel
    shelf: Shelf
    mask: npt.NDArray[np.bool_]


class Recaller:
    """One for each `npcsdk.memory.recall.Memory`, which hands it every record that is written (`took`)."""

    def __init__(
        self,
        journal: Journal,
        lore: LoreShelf,
        embedder: Embedder,
        follower: Follower,
        *,
        weights: Weights,
        knowledge: Knowledge,
    ) -> None:
        self._journal = journal
        self._lore = lore
        self._embedder = embedder
        self._follower = follower
        self._weights = weights
        self._knowledge = knowledge
        self._uses: Counter[int] = Counter()  # how often each was recalled, until `take_uses`
        self._lock = threading.Lock()
        self._shelves = Shelves(journal, embedder.dimensions, self._lock, lambda: follower.done)
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="npcsdk-memory-query")
        self._asked: Asking | None = None
        self._embeds = ThreadPoolExecutor(1, thread_name_prefix="npcsdk-memory-embed")
        self._embedding: Future[Vectors] | None = None
        if not embedder.instant:
            self._embeds.submit(lore.prepare)

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
        said = set(terms(query))
        if not said:
            return []
        vector = self._vector(query)
        channels = self._knowledge.channels(npc)
        shelves = self._arrived([channel.owner for channel in channels])
        with self._shelves.turn():
            asking, patience = None, _PATIENCE
            if len(shelves) < len(channels):
                asking, patience = self._glimpse([channel.owner for channel in channels], shelves, vector)
            with self._lock:
                known = [(channel, shelves[channel.owner]) for channel in channels]
                parts, time = self._known(known, interlocutor, without_turns, now)
            if asking is None:
                asking = self._ask_index(vector, parts, wanted=3 * limit)
            with self._lock:  # while the index looks for itself
                asked = Query.of(query, (self._lore.words, *(part.shelf.words for part in parts)))
                similar: dict[int, float] = {}
                for part in parts:
                    similar.update(part.shelf.similar_fresh(vector, self._embedder))
                met = [asked.scores(part.shelf.words, len(part.mask), part.mask) for part in parts]
            matching = [
                best(np.where(part.mask, scores, 0.0), _WORDS)
                for part, (scores, _) in zip(parts, met, strict=True)
            ]
            candidates = self._lore.candidates(asked, vector, tags, _WORDS)
            similar.update(self._answer(asking, patience))
            with self._lock:
                for part, found, places in zip(parts, met, matching, strict=True):
                    candidates += part.shelf.candidates(found, similar, places, part.mask, time, part.channel)
            candidates = self._likely(candidates, single=len(said) == 1)
            hits = rank(candidates, self._weights, meaning=bool(vector.any()) and self._embedder.meaning)
            # Texts are read for a choice of twice as many; for all of them only where those say the same too often.
            chosen = self._chosen(asked, hits[: 2 * limit], limit)
            if len(chosen) < limit and len(hits) > 2 * limit:
                chosen = self._chosen(asked, hits, limit)
            with self._lock:
                self._uses.update(position for item in chosen if (position := position_of(item.id)))
            return chosen

    def _likely(self, candidates: list[Candidate], *, single: bool) -> list[Candidate]:
        """Without texts that are a little like the line where another holds its words, or where it is one word.

        What is alike in meaning answers a line that no words answer. Beside an answer it is an aside.
        """
        if not self._embedder.meaning:
            return candidates
        told = 1.0 if single else max((one.coverage for one in candidates), default=0.0)
        # What takes its time reads whole sentences, and is less often alike by chance than a sum of words.
        alone = _ALONE if self._embedder.instant else _ALONE_SLOW
        floor = self._weights.min_cosine + told * (alone - self._weights.min_cosine)
        return [one for one in candidates if one.coverage or (one.cosine or 0.0) >= floor]

    def _vector(self, query: str) -> Vectors:
        """The vector of a line; zeros, and recall goes by words, when it cannot be had soon enough."""
        nothing = np.zeros(self._embedder.dimensions, dtype=np.float32)
        if self._embedder.instant:
            return vectors_or(nothing, self._embedder, [query])[0]
        if self._embedding is not None and not self._embedding.done():
            return nothing

        def embed() -> Vectors:
            vector = self._embedder.embed([query])[0]
            self._lore.prepare()  # nothing to do but after a failure
            return vector

        try:
            self._embedding = self._embeds.submit(embed)
            return self._embedding.result(_SLOW)
        except (TimeoutError, CancelledError, RuntimeError):
            return nothing
        except MemoryStoreError as error:
            _log.warning("%s", error)
            return nothing

    def _known(
        self,
        shelves: Sequence[tuple[Channel, Shelf]],
        interlocutor: str,
        without_turns: Collection[str],
        now: float | None,
    ) -> tuple[list[_Part], float]:
        """What may be recalled by each way of knowing, and the game time. Holds the lock."""
        view = self._journal.view
        parts = [
            _Part(channel, shelf, shelf.visible(view, interlocutor, without_turns))
            for channel, shelf in shelves
            if len(shelf)
        ]
        time = max((part.shelf.time(part.mask) for part in parts), default=0.0) if now is None else now
        for part in parts:
            if part.channel.heard_from:
                part.mask = part.shelf.heard(part.mask, part.channel, time)
        self._drop_old_facts(parts)
        return parts, time

    @staticmethod
    def _drop_old_facts(parts: Sequence[_Part]) -> None:
        """Of what several facts say about a subject's attribute, only the newest counts, whoever knows it."""
        keys: set[tuple[str, str]] = set()
        for number, part in enumerate(parts):
            keys |= part.shelf.replaced_facts
            for other in parts[:number]:
                keys |= part.shelf.fact_keys & other.shelf.fact_keys
        old: dict[int, list[int]] = {}
        for key in keys:
            seen = [
                (part.shelf.position(document), number, document)
                for number, part in enumerate(parts)
                for document in part.shelf.facts(key, part.mask)
            ]
            for _, number, document in sorted(seen)[:-1]:
                old.setdefault(number, []).append(document)
        for number, documents in old.items():
            parts[number].mask = parts[number].mask.copy()  # the shelf keeps the one it gave
            parts[number].mask[documents] = False

    def write(self, append: Callable[[], Sequence[Record]]) -> None:
        """Calls ``append`` and takes the records that it gives; shelves get them in the journal's order."""
        with self._lock:
            self._shelves.took(append())

    def settle(self, position: int) -> None:
        """The follower's word that the index holds everything up to ``position``."""
        with self._lock:
            self._shelves.settle(position)

    def take_uses(self) -> dict[int, int]:
        """How often each record was recalled since this was asked last."""
        with self._lock:
            uses, self._uses = dict(self._uses), Counter()
        return uses

    def remove(self, npc: str, positions: Collection[int]) -> None:
        """The journal has these records no more."""
        with self._lock:
            self._shelves.remove(npc, positions)

    def put_away(self) -> None:
        """Lets go of all shelves; each is read again when it is wanted."""
        with self._lock:
            self._shelves.put_away()

    def close(self) -> None:
        """Asks nothing any more."""
        self._shelves.close()
        self._asker.shutdown(wait=False, cancel_futures=True)
        self._embeds.shutdown(wait=False, cancel_futures=True)

    def warm(self, npc: str) -> None:
        """Begins to read all that ``npc`` may know of; returns at once."""
        for channel in self._knowledge.channels(npc):
            self._shelves.coming(channel.owner)

    def shelf(self, npc: str) -> Shelf:
        """The records of ``npc``; waits until they have been read from the journal."""
        return self._shelves.coming(npc).result()

    def _arrived(self, npcs: Sequence[str]) -> dict[str, Shelf]:
        """The shelves that are there in time."""
        held = {npc: shelf for npc in npcs if (shelf := self._shelves.held(npc)) is not None}
        reading = {npc: self._shelves.coming(npc) for npc in npcs if npc not in held}
        deadline = monotonic() + _READING
        for npc, coming in reading.items():
            shelf = arrived(coming, max(deadline - monotonic(), 0.0))
            if shelf is not None:
                held[npc] = shelf
        return held

    def _glimpse(
        self, npcs: Sequence[str], shelves: dict[str, Shelf], vector: Vectors
    ) -> tuple[Asking | None, float]:
        """Adds to ``shelves`` what stands for the missing ones; the question to the index, and how long to wait."""
        index = self._follower.index
        asking = None
        if index is not None and vector.any():
            asking = self._ask(lambda: [hit for npc in npcs for hit in index.query(npc, vector, _GLIMPSE)])
        near = self._answer(asking, _GLIMPSE_PATIENCE)
        patience = _PATIENCE
        for npc in npcs:
            if npc not in shelves:
                shelves[npc] = shelf = self._shelves.glimpse(npc, near)
                if len(shelf) > _GLIMPSE:  # a large collection is slow at first, and has been waited for
                    patience = 0.0
        return asking, patience

    def _ask_index(self, vector: Vectors, parts: Sequence[_Part], *, wanted: int) -> Asking | None:
        """Asks the index, on a thread of its own so that a slow one costs a turn no more than `_PATIENCE`."""
        index = self._follower.index
        if index is None or not vector.any() or not parts:
            return None

        def ask(part: _Part) -> list[tuple[int, float]]:
            # Where little of what the collection holds may be seen, the first answer must go further.
            shown = float(np.count_nonzero(part.mask)) / max(len(part.mask), 1)
            limit = min(max(_FETCH, int(1.5 * wanted / max(shown, 1e-6))), _FETCH_MOST)
            while True:
                found = index.query(part.channel.owner, vector, limit)
                # Others' memories and other timelines' lie in the same collection: fetched and passed over.
                matching = [position for position, cosine in found if cosine >= self._weights.min_cosine]
                if len(matching) < limit or limit >= _FETCH_MOST:
                    return found
                with self._lock:
                    seen = part.shelf.count(matching, part.mask)
                if seen >= wanted:
                    return found
                limit *= 4

        return self._ask(lambda: [hit for part in parts for hit in ask(part)])

    def _ask(self, question: Callable[[], list[tuple[int, float]]]) -> Asking | None:
        if self._asked is not None and not self._asked.done():
            return None  # still busy with an earlier question: the turn goes by words
        try:
            self._asked = self._asker.submit(question)
        except RuntimeError:  # closed meanwhile; the journal will say so
            return None
        return self._asked

    def _answer(self, asking: Asking | None, patience: float) -> dict[int, float]:
        """Position → cosine; nothing from an index that is slow or fails."""
        if asking is None:
            return {}
        try:
            return dict(asking.result(patience))
        except (TimeoutError, CancelledError):
            return {}
        except Exception as error:
            self._follower.report(named(error))
            return {}

    def _chosen(self, asked: Query, hits: Sequence[Hit], limit: int) -> list[Passage]:
        """Reads the texts of the best hits, and of these picks the ones that add something."""
        records = self._journal.read([hit.candidate.key for hit in hits if hit.candidate.key >= 0])
        read: list[Hit] = []
        spelling: dict[int, Mapping[str, str]] = {}
        for hit in hits:
            held = hit.candidate.terms
            if hit.candidate.key >= 0:
                record = records.get(hit.candidate.key)
                if record is None:
                    continue
                spelling[record.seq] = words = spelled(record.text)
                held = frozenset(words)
                said = record.kind == "turn" and record.origin == "player"
                if said and held <= asked.terms.union(terms(f"{record.npc} {record.interlocutor}")):
                    continue  # the same was said before: no news
            read.append(Hit(replace(hit.candidate, terms=held), hit.score))
        return [
            self._passage(asked, hit, records.get(hit.candidate.key), spelling)
            for hit in pick(read, self._weights, limit)
        ]

    def _passage(
        self, asked: Query, hit: Hit, record: Record | None, spelling: Mapping[int, Mapping[str, str]]
    ) -> Passage:
        if record is not None:
            found, text, source = f"{_MEMORY}{record.seq}", record.text, f"memory/{record.kind}"
            as_written = spelling[record.seq]
        else:
            lore = self._lore.passages[self._lore.key(hit.candidate.key)]
            found, text, source = lore.id, lore.text, lore.source
            as_written = spelled(f"{lore.title}\n{text}")
        # People read words, not stems.
        words = [as_written[term] for term in asked.found_in(hit.candidate.terms)]
        reason = hit.reason(self._weights, words)
        if record is not None and record.place:
            reason += f"; at {record.place}" if reason else f"at {record.place}"
        return Passage(found, text, source, hit.score, reason)


def vectors_or(nothing: Vectors, embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors for a turn, which goes by words (``nothing`` for each text) where an embedder fails."""
    try:
        return embedder.embed(texts)
    except MemoryStoreError as error:
        _log.warning("%s", error)
        return np.tile(nothing, (len(texts), 1))


def position_of(passage: str) -> int:
    """Where the journal has the memory with this passage id; 0 for lore."""
    number = passage.removeprefix(_MEMORY) if passage.startswith(_MEMORY) else ""
    return int(number) if number.isdecimal() else 0
