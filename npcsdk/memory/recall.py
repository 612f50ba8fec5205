"""`Memory`: what a world's characters know and have lived through, and the passages of it that fit a line.

    memory = Memory.open(folder, world.lore)
    memory.remember(Experience(npc="mira", interlocutor="player", kind="event", origin="game",
                               text="The player paid for the broken window."))
    memory.recall("do you remember the window?", npc="mira", interlocutor="player", tags={"village"})

Writes go to the journal and are on disk when they return. Words are searched in memory and vectors in an
index that follows in the background; while it is missing, damaged or slow, recall goes on by words.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.follower import Follower
from npcsdk.memory.journal import TRANSCRIPT, Entry, Journal, Record
from npcsdk.memory.lore import LoreLike, LoreShelf
from npcsdk.memory.query import Query
from npcsdk.memory.registry import Vectors, make_embedder, make_index
from npcsdk.memory.scoring import Hit, Weights, pick, rank
from npcsdk.memory.shelf import Shelf
from npcsdk.memory.text import spelled, terms

__all__ = ["Experience", "LoreLike", "Memory", "Passage"]

_log = logging.getLogger("npcsdk.memory")

_FETCH = 24  # vectors asked of the index at first; more only while they still match
_FETCH_MOST = 768
_WORDS = 12  # candidates taken by words from each side
_PATIENCE = 0.05  # seconds a turn waits for the index before it goes on by words
_DRAIN = 5.0  # seconds that close gives the index; the rest is done at the next start
_SHELVED = 400_000  # records held in memory over all npcs; the longest unused npc is put away first


@dataclass(frozen=True, slots=True)
class Passage:
    """Something recalled: its id, text, where it is from, how well it fits (about 1 is best) and why."""

    id: str
    text: str
    source: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One thing that ``npc`` experienced with ``interlocutor`` ("" for nobody in particular).

    ``at`` is game time in seconds, ``importance`` lies between 0 and 1. ``timeline``, where given, is
    `Memory.timeline` as it was when the experience began: should a saved game have been loaded since, the
    experience is refused.
    """

    npc: str
    interlocutor: str
    kind: Literal["turn", "event", "note"]
    text: str
    origin: Literal["player", "npc", "game"]
    turn: str = ""
    conversation: str = ""
    at: float = 0.0
    place: str = ""
    importance: float = 0.5
    timeline: int | None = None


class Memory:
    """Made by `open`. Every method may be called from any thread; a closed memory raises ``memory_closed``."""

    def __init__(
        self,
        journal: Journal,
        lore: Iterable[LoreLike],
        *,
        directory: Path | None,
        embedder: str,
        index: str,
        weights: Weights,
    ) -> None:
        self._journal = journal
        self._weights = weights
        self._embedder = make_embedder(embedder)
        self._lore = LoreShelf(lore, self._embedder)
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # one npc's records are read at a time; taken before the other lock
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="npcsdk-memory-query")
        self._asked: Future[list[tuple[int, float]]] | None = None
        self._follower = Follower(
            journal,
            self._embedder,
            lambda: make_index(
                index, directory, journal=journal.id, embedder=self._embedder, warn=_log.warning
            ),
            indexed=self._settle,
            warn=_log.warning,
        )

    @classmethod
    def open(
        cls,
        directory: Path | None,
        lore: Iterable[LoreLike] = (),
        *,
        embedder: str = "hashing",
        index: str | None = None,
        weights: Weights | None = None,
    ) -> Memory:
        """Opens the memory kept in ``directory``; with None nothing is kept on disk.

        ``index`` names another vector index than the usual one (Chroma, or exact search with no directory).

        Raises MemoryStoreError: see `Journal` for the codes, and ``embedder_unknown``. A missing or damaged
        index is no error; an unknown ``index`` is a warning, and recall goes by words.
        """
        journal = Journal(directory)
        try:
            return cls(
                journal,
                lore,
                directory=None if directory is None else directory / "index",
                embedder=embedder,
                index=index or ("exact" if directory is None else "chroma"),
                weights=weights or Weights(),
            )
        except BaseException:
            journal.close()
            raise

    # -- writing

    def remember(self, *experiences: Experience) -> None:
        """Writes experiences, all or none; on disk when this returns. The vector index follows later."""
        if experiences:
            self._append([_entry(experience) for experience in experiences], _timeline_of(experiences))

    def append_turn(
        self,
        conversation: str,
        npc: str,
        interlocutor: str,
        turn: Mapping[str, Any],
        *,
        experiences: Sequence[Experience] = (),
        timeline: int | None = None,
    ) -> None:
        """Writes a whole turn (JSON-able) for `history`, and with it, in one commit, what was experienced."""
        transcript = Entry(
            npc=npc,
            interlocutor=interlocutor,
            conversation=conversation,
            kind=TRANSCRIPT,
            origin="npc",
            at=max((experience.at for experience in experiences), default=0.0),
            data=turn,
        )
        if timeline is None:
            timeline = _timeline_of(experiences)
        self._append([transcript, *map(_entry, experiences)], timeline)

    # -- reading

    def history(self, conversation: str) -> list[dict[str, Any]]:
        """The turns of a conversation as `append_turn` got them, oldest first, on this timeline only."""
        return [dict(record.data or {}) for record in self._journal.transcript(conversation)]

    def recall(
        self,
        query: str,
        *,
        npc: str,
        interlocutor: str,
        tags: Collection[str],
        limit: int = 4,
        now: float | None = None,
        without_turns: Collection[str] = (),
    ) -> list[Passage]:
        """The passages that fit ``query`` best: lore that meets ``tags``, and memories of this interlocutor.

        ``now`` is game time (the newest that was remembered, by default). ``without_turns`` names turns
        whose memories are not wanted because the prompt holds them already. Nothing that fits: [].
        """
        if not terms(query):
            return []
        vector = self._embedder.embed([query])[0]
        shelf = self._shelf(npc)
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

    # -- timelines

    @property
    def timeline(self) -> int:
        """The timeline that is being lived now."""
        return self._journal.timeline

    def save(self, slot: str) -> None:
        """Names this moment, to come back to."""
        self._journal.save(slot)

    def load(self, slot: str) -> None:
        """Goes back to a named moment: what happened after it is not remembered, and not written late."""
        self._journal.load(slot)

    def slots(self) -> list[str]:
        """The names of the saved moments, sorted."""
        return self._journal.slots()

    # -- care

    def warm(self, npc: str) -> None:
        """Begins to make ready to recall for ``npc``, so that its first turn need not; returns at once."""

        def read() -> None:
            with contextlib.suppress(MemoryStoreError):  # its first turn will say what is wrong
                self._shelf(npc)

        threading.Thread(target=read, name="npcsdk-memory-warm", daemon=True).start()

    def indexed(self, timeout: float) -> bool:
        """Waits until the vector index holds everything written so far; False when it does not in time."""
        return self._follower.wait(timeout)

    def close(self) -> None:
        """Lets the index catch up (a few seconds at most) and the folder go. May be called again."""
        self._follower.close(_DRAIN)
        self._asker.shutdown(wait=False, cancel_futures=True)
        self._journal.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside

    def _append(self, entries: Sequence[Entry], timeline: int | None) -> None:
        # One lock for journal and shelves: shelves take records in the journal's order.
        with self._lock:
            for record in self._journal.append(entries, timeline=timeline):
                shelf = self._shelves.get(record.npc)
                if shelf is not None and record.kind != TRANSCRIPT:
                    shelf.add([record])
        self._follower.wake()

    def _shelf(self, npc: str) -> Shelf:
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

    def _settle(self, position: int) -> None:
        """The follower's word that the index holds everything up to ``position``."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.settle(position)

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


def _entry(experience: Experience) -> Entry:
    return Entry(
        npc=experience.npc,
        interlocutor=experience.interlocutor,
        kind=experience.kind,
        origin=experience.origin,
        text=experience.text,
        turn=experience.turn,
        conversation=experience.conversation,
        at=experience.at,
        place=experience.place,
        importance=experience.importance,
    )


def _timeline_of(experiences: Sequence[Experience]) -> int | None:
    """The timeline that experiences name; the oldest, which is refused first, where they differ."""
    named = [experience.timeline for experience in experiences if experience.timeline is not None]
    return min(named, default=None)
