"""What one npc has lived through, in memory and ready to be searched: derived from the journal on first use."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable, KeysView, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.knowledge import Channel
from npcsdk.memory.lexical import LexicalIndex
from npcsdk.memory.records import FACT, Record
from npcsdk.memory.registry import Embedder, Vectors
from npcsdk.memory.scoring import Candidate
from npcsdk.memory.text import terms
from npcsdk.memory.timeline import View
from npcsdk.memory.vectors import ExactVectors

__all__ = ["Shelf", "fact_key"]

_MASKS = 16  # kept at a time: one for each interlocutor of late
_EMBED_NOW = 32  # a turn writes two or three records; a bulk import is the index's business
_SAID, _ASKED = 0.7, 0.4  # what somebody said or asked, against what happened and what designers wrote


class Shelf:
    """The word index of an npc's records with the columns that decide who may see them.

    Documents are numbered in the journal's order. Not thread-safe: `Memory` locks.
    """

    def __init__(self, dimensions: int) -> None:
        self.words = LexicalIndex()
        self._fresh = ExactVectors(dimensions)  # of records that the index may not hold yet
        self._unread: deque[tuple[int, str]] = deque(maxlen=_EMBED_NOW)  # of these, not embedded so far
        self._positions: array[int] = array("q")
        self._lines: array[int] = array("i")  # numbers of timelines, in the order of `_line`
        self._line: dict[int, int] = {}
        self._people: array[int] = array("i")
        self._at: array[float] = array("d")
        self._importance: array[float] = array("f")
        self._trust: array[float] = array("f")
        self._person: dict[str, int] = {"": 0}  # nobody in particular: everybody may hear of it
        self._kinds: array[int] = array("b")
        self._kind: dict[str, int] = {}
        self._facts: dict[tuple[str, str], list[int]] = {}  # subject and attribute → documents, oldest first
        self._replaced: set[tuple[str, str]] = set()
        self._gone: set[int] = set()  # documents whose records the journal has no more
        self._turns: dict[str, list[int]] = {}
        self._masks: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def last(self) -> int:
        """The position of the newest record it holds."""
        return self._positions[-1] if self._positions else 0

    def add(self, records: Iterable[Record]) -> None:
        """Takes records in; positions ascend, and ones that it has already are ignored."""
        for record in records:
            if record.seq <= self.last:
                continue
            document = self.words.add(terms(record.text))
            self._positions.append(record.seq)
            self._lines.append(self._line.setdefault(record.timeline, len(self._line)))
            self._people.append(self._person.setdefault(record.interlocutor, len(self._person)))
            self._at.append(record.at)
            self._importance.append(record.importance)
            self._trust.append(_trust(record))
            self._kinds.append(self._kind.setdefault(record.kind, len(self._kind)))
            if record.kind == FACT and record.data is not None:
                facts = self._facts.setdefault(fact_key(record.data), [])
                facts.append(document)
                if len(facts) > 1:
                    self._replaced.add(fact_key(record.data))
            if record.turn:
                self._turns.setdefault(record.turn, []).append(document)
            self._unread.append((record.seq, record.text))

    def settle(self, position: int) -> None:
        """The index holds everything up to ``position``: no need to keep vectors of that here."""
        self._fresh.discard(position)
        while self._unread and self._unread[0][0] <= position:
            self._unread.popleft()

    def similar_fresh(self, vector: Vectors, embedder: Embedder) -> dict[int, float]:
        """Cosines of the newest records, which the index may not hold yet, by position.

        So what was remembered a moment ago is found by vector as well. Only for an embedder that is
        instant: the reply waits for this.
        """
        if not embedder.instant:
            return {}
        if self._unread:
            try:
                vectors = embedder.embed([text for _, text in self._unread])
            except MemoryStoreError:  # words find them; the index has them later
                return {}
            self._fresh.add([position for position, _ in self._unread], vectors)
            self._unread.clear()
        return dict(self._fresh.similarities(vector))

    def count(self, positions: Iterable[int], mask: npt.NDArray[np.bool_]) -> int:
        """How many of ``positions`` are visible by ``mask``."""
        return sum(
            1 for document in self.documents(positions).values() if document < len(mask) and mask[document]
        )

    def visible(self, view: View, interlocutor: str, without_turns: Collection[str]) -> npt.NDArray[np.bool_]:
        """For each document, whether it may be recalled in a talk with ``interlocutor`` on this timeline."""
        person = self._person.get(interlocutor, 0)
        mask = self._masks.get((view.timeline, person))
        if mask is None:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            mask = np.zeros(0, dtype=np.bool_)
        done = len(mask)
        if done < len(self):
            # The views are gone when this is done: an array.array must not be viewed while it grows.
            limits = np.array([view.limits.get(timeline, -1) for timeline in self._line], dtype=np.int64)
            new = (
                np.frombuffer(self._positions, np.int64)[done:]
                <= limits[np.frombuffer(self._lines, np.int32)[done:]]
            )
            new &= np.isin(np.frombuffer(self._people, np.int32)[done:], (person, 0))
            new[[document - done for document in self._gone if document >= done]] = False
            mask = self._masks[view.timeline, person] = np.concatenate([mask, new])
        hidden = [document for turn in without_turns for document in self._turns.get(turn, ())]
        if hidden:
            mask = mask.copy()
            mask[hidden] = False
        return mask

    def heard(self, mask: npt.NDArray[np.bool_], channel: Channel, now: float) -> npt.NDArray[np.bool_]:
        """Of what ``mask`` shows, what has come over ``channel`` by the game time ``now``."""
        wanted = [number for kind, number in self._kind.items() if kind in channel.kinds]
        size = len(mask)
        kinds = np.array(self._kinds[:size], dtype=np.int8)
        at = np.array(self._at[:size], dtype=np.float64)
        importance = np.array(self._importance[:size], dtype=np.float32)
        told = np.isin(kinds, wanted) & (at + channel.delay <= now)
        return mask & told & (importance >= np.float32(channel.importance))

    @property
    def fact_keys(self) -> KeysView[tuple[str, str]]:
        """The subjects and attributes that it has facts about."""
        return self._facts.keys()

    @property
    def replaced_facts(self) -> Set[tuple[str, str]]:
        """Those about which it has more than one."""
        return self._replaced

    def facts(self, key: tuple[str, str], mask: npt.NDArray[np.bool_]) -> list[int]:
        """The documents about a subject's attribute that ``mask`` shows, oldest first."""
        size = len(mask)
        return [document for document in self._facts.get(key, ()) if document < size and mask[document]]

    def position(self, document: int) -> int:
        """Where the journal has it."""
        return self._positions[document]

    def remove(self, positions: Iterable[int]) -> None:
        """The journal has these no more: they are never candidates again."""
        gone = set(self.documents(positions).values())
        self._gone |= gone
        for mask in self._masks.values():
            mask[[document for document in gone if document < len(mask)]] = False

    @property
    def mostly_gone(self) -> bool:
        """Whether more than half of what it holds is gone from the journal."""
        return 2 * len(self._gone) > len(self)

    def documents(self, positions: Iterable[int]) -> dict[int, int]:
        """Position → document, for those that it holds."""
        wanted = np.fromiter(positions, dtype=np.int64)
        if not len(self) or not len(wanted):
            return {}
        held = np.frombuffer(self._positions, dtype=np.int64)
        places = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
        return {
            int(position): int(place)
            for position, place, same in zip(wanted, places, held[places] == wanted, strict=True)
            if same
        }

    def time(self, mask: npt.NDArray[np.bool_]) -> float:
        """The game time of the newest thing that ``mask`` shows; 0 for none."""
        return (
            float(np.frombuffer(self._at, dtype=np.float64)[: len(mask)][mask].max(initial=0.0))
            if len(self)
            else 0.0
        )

    def candidates(
        self,
        met: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
        similar: Mapping[int, float],
        matching: Sequence[int],
        mask: npt.NDArray[np.bool_],
        now: float,
        channel: Channel,
    ) -> list[Candidate]:
        """What may be recalled: positions that are ``similar`` (→ cosine), and documents ``matching`` by words.

        ``met``: scores and coverage of the first ``len(mask)`` documents. ``now`` is game time.
        ``mask`` is `visible`'s, possibly of a moment ago: documents that came since are not candidates.
        """
        scores, coverage = met
        cosines: dict[int, float | None] = {
            document: similar[position]
            for position, document in self.documents(similar).items()
            if document < len(mask) and mask[document]
        }
        for document in matching:
            cosines.setdefault(document, None)
        return [
            Candidate(
                key=self._positions[document],
                cosine=cosine,
                lexical=float(scores[document]),
                coverage=float(coverage[document]),
                age=now - self._at[document],
                importance=self._importance[document],
                trust=self._trust[document] * channel.certainty,
                heard_from=channel.heard_from,
            )
            for document, cosine in cosines.items()
        ]


def fact_key(data: Mapping[str, Any]) -> tuple[str, str]:
    """What a fact is about; upper and lower case are the same."""
    return str(data.get("subject", "")).casefold(), str(data.get("attribute", "")).casefold()


def _trust(record: Record) -> float:
    if record.kind != "turn":
        return 1.0
    # A question like this one finds it again perfectly, and it answers nothing.
    return _ASKED if record.origin == "player" and record.text.rstrip().endswith(("?", "\uff1f")) else _SAID
