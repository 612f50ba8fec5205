"""What designers wrote, ready to be searched: by words, and exactly by vectors, since lore is small."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from npcsdk.memory.focus import sentences
from npcsdk.memory.lexical import LexicalIndex
from npcsdk.memory.query import Query, best
from npcsdk.memory.registry import Embedder, Vectors
from npcsdk.memory.scoring import Candidate
from npcsdk.memory.text import terms
from npcsdk.memory.vectors import ExactVectors

__all__ = ["COMMON", "LoreLike", "LoreShelf"]

COMMON = "common"
"""The tag of lore that everybody knows."""


class LoreLike(Protocol):
    """A passage of lore: ``tags`` say who knows it, ``source`` where it stands (``lore/gate.md:12``)."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def tags(self) -> Collection[str]: ...


class LoreShelf:
    """All lore of a world. Its keys as candidates are negative (`key`), so that memories can have the rest."""

    def __init__(self, lore: Iterable[LoreLike], embedder: Embedder) -> None:
        self.passages = tuple(lore)
        self.words = LexicalIndex()
        self._terms: list[frozenset[str]] = []
        self._vectors = ExactVectors(embedder.dimensions)
        self._sentences: tuple[Vectors, npt.NDArray[np.intp]] | None = None  # and of which passage each is
        self._known: dict[frozenset[str], npt.NDArray[np.bool_]] = {}
        for passage in self.passages:
            body, title = terms(passage.text), terms(passage.title)
            self.words.add(body, extra=title)
            self._terms.append(frozenset(body) | frozenset(title))
        self._embedder = embedder
        if embedder.instant:
            self.prepare()

    def prepare(self) -> None:
        """Makes the vectors, if that has not been done; until then lore is found by words."""
        if len(self._vectors) < len(self.passages):
            made = ExactVectors(self._embedder.dimensions)
            texts = [f"{passage.title}\n{passage.text}" for passage in self.passages]
            made.add(range(len(texts)), self._embedder.embed(texts))
            if self._embedder.meaning and not self._embedder.instant:
                pieces = [sentences(passage.text) or [passage.title] for passage in self.passages]
                owners = np.repeat(np.arange(len(pieces)), [len(each) for each in pieces])
                rows = self._embedder.embed([sentence for each in pieces for sentence in each])
                self._sentences = rows, owners
            self._vectors = made

    def candidates(self, query: Query, vector: Vectors, tags: Collection[str], limit: int) -> list[Candidate]:
        """The best ``limit`` by words and the best ``limit`` by vector among what ``tags`` may know."""
        if not self.passages:
            return []
        known = self._knows(frozenset(tags))
        scores, coverage = query.scores(self.words, len(self.passages))
        near = self._vectors.similarities(vector) if vector.any() else []
        cosines = self._with_sentences(np.array([cosine for _, cosine in near]), vector)
        chosen = dict.fromkeys(best(np.where(known, scores, 0.0), limit))
        if near:
            chosen |= dict.fromkeys(best(np.where(known, cosines, 0.0), limit))
        return [
            Candidate(
                key=self.key(number),
                cosine=float(cosines[number]) if near else None,
                lexical=float(scores[number]),
                coverage=float(coverage[number]),
                terms=self._terms[number],
            )
            for number in chosen
        ]

    def _with_sentences(self, cosines: npt.NDArray[np.float64], vector: Vectors) -> npt.NDArray[np.float64]:
        """A passage tells of several things, a question asks for one: half counts the nearest sentence, half the whole.

        Only for what reads sentences; a sum of words knows no more of a sentence than of a passage.
        """
        if self._sentences is None or not len(cosines):
            return cosines
        rows, owners = self._sentences
        nearest = np.full(len(cosines), -1.0)
        np.maximum.at(nearest, owners, rows @ vector)
        return (cosines + nearest) / 2.0

    @staticmethod
    def key(number: int) -> int:
        """The key of a passage as a candidate, and back: its own inverse."""
        return ~number

    def _knows(self, tags: frozenset[str]) -> npt.NDArray[np.bool_]:
        known = self._known.get(tags)
        if known is None:
            meant = tags | {COMMON}
            known = np.array(
                [not meant.isdisjoint(passage.tags) for passage in self.passages], dtype=np.bool_
            )
            self._known[tags] = known
        return known
