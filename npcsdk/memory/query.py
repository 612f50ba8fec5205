"""A line read as a query: which terms it asks for, in which spellings, and what each is worth. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npcsdk.memory.lexical import LexicalIndex, idf

__all__ = ["Query", "best"]

_MISSPELT = 0.7  # a term that only resembles the query's counts for this share of its likeness


@dataclass(frozen=True, slots=True)
class Wanted:
    """One term of the query: what it weighs, and the spellings that count as it, each with a factor."""

    term: str
    weight: float
    spellings: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """The terms of a line against the indexes that are searched together, so that their scores compare."""

    wanted: tuple[Wanted, ...]

    @classmethod
    def of(cls, words: Sequence[str], indexes: Sequence[LexicalIndex]) -> Query:
        """Reads the stemmed ``words`` of a line; a word that no index holds is taken for a misspelt one."""
        documents = sum(len(index) for index in indexes)
        wanted: list[Wanted] = []
        for word in dict.fromkeys(words):
            spellings = {word: 1.0}
            holding = sum(index.holding(word) for index in indexes)
            if holding == 0:
                for index in indexes:
                    for other, likeness in index.resembling(word):
                        spellings[other] = max(spellings.get(other, 0.0), _MISSPELT * likeness)
            wanted.append(Wanted(word, idf(documents, holding), tuple(spellings.items())))
        return cls(tuple(wanted))

    def scores(
        self, index: LexicalIndex, documents: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """For the first ``documents`` of ``index``: BM25, and the share of the query's weight that is met."""
        score = np.zeros(len(index), dtype=np.float64)
        covered = np.zeros(len(index), dtype=np.float64)
        whole = sum(wanted.weight for wanted in self.wanted)
        for wanted in self.wanted:
            met = np.zeros(len(index), dtype=np.float64) if len(wanted.spellings) > 1 else None
            for spelling, factor in wanted.spellings:
                posting = index.posting(spelling)
                if posting is None:
                    continue
                held, share = posting
                score[held] += factor * wanted.weight * share
                if met is None:
                    covered[held] += wanted.weight / whole
                else:
                    met[held] = np.maximum(met[held], factor)
            if met is not None:
                covered += met * (wanted.weight / whole)
        return score[:documents], covered[:documents]

    def found_in(self, terms: frozenset[str]) -> tuple[str, ...]:
        """The terms of a text that the query asks for, in the query's order."""
        return tuple(
            spelling for wanted in self.wanted for spelling, _ in wanted.spellings if spelling in terms
        )

    @property
    def terms(self) -> frozenset[str]:
        """The terms as they were asked for."""
        return frozenset(wanted.term for wanted in self.wanted)


def best(scores: npt.NDArray[np.float64], limit: int) -> list[int]:
    """The places of the greatest positive scores, at most ``limit``, best first; ties by place."""
    places = np.flatnonzero(scores > 0.0)
    if len(places) > limit:
        found = scores[places]
        # Most of thousands of matches are poor; partitioning the better half of the range is ten times faster.
        good = found[found >= 0.5 * found.max()]
        if len(good) < limit:
            good = found
        # All that tie with the last one compete, so that the choice does not hang on the partition's whim.
        places = places[found >= np.partition(good, -limit)[-limit]]
    return places[np.argsort(-scores[places], kind="stable")][:limit].tolist()
