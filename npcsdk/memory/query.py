"""A line read as a query: which terms it asks for, in which spellings, and what each is worth. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from npcsdk.memory.lexical import LexicalIndex, Posting, idf
from npcsdk.memory.text import misspelt_filler, terms
from npcsdk.memory.thesaurus import hints, neighbours

__all__ = ["Query", "best"]

_MISSPELT = 0.7  # a term that only resembles the query's counts for this share of its likeness
_NEIGHBOUR = 0.4  # a term that means about the same counts for this share
_HINT = 0.15  # a term that fits the kind of question
_LONGEST = 4_000  # characters of a line that are read as a question
_MOST_TERMS, _MOST_UNKNOWN = 32, 8
_SPARSE = 0.5  # of a mask: below this share it is cheaper to leave out first and add up then
_UNWRITTEN = 0.5  # a term that nobody wrote weighs this share of what a rare one does


@dataclass(frozen=True, slots=True)
class Wanted:
    """One term of the query: what it weighs, and what weighs instead of it, spelling → weight."""

    term: str
    weight: float
    spellings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Query:
    """The terms of a line against the indexes that are searched together, so that their scores compare."""

    wanted: tuple[Wanted, ...]
    hints: Mapping[str, float]
    """Terms that an answer is likely to hold: they tip the scale between texts that match, no more."""

    @classmethod
    def of(cls, line: str, indexes: Sequence[LexicalIndex]) -> Query:
        """Reads ``line``; a word that no index holds is taken for a misspelt one."""
        documents = sum(len(index) for index in indexes)

        def weigh(term: str) -> float:
            """What a term says; 0.0 for one that no document holds."""
            holding = 0
            for index in indexes:
                holding += index.holding(term)
            return idf(documents, holding) if holding else 0.0

        wanted: list[Wanted] = []
        weights = {word: weigh(word) for word in terms(line[:_LONGEST])}
        # Somebody may paste a novel: the words that say most are looked for, and few unknown ones guessed at.
        unknown = [word for word, weight in weights.items() if not weight][:_MOST_UNKNOWN]
        known = sorted(weights, key=weights.__getitem__, reverse=True)[:_MOST_TERMS]
        for word, own in weights.items():
            if word not in (known if own else unknown):
                continue
            spellings = {word: own} if own else {}
            if not own:
                if misspelt_filler(word):
                    continue
                for index in indexes:
                    for other, likeness in index.resembling(word):
                        spellings[other] = max(spellings.get(other, 0.0), _MISSPELT * likeness * weigh(other))
            for other in neighbours(word):
                if meaning := weigh(other):
                    # A rare word may stand for a common one, but says no more than that one would.
                    worth = _NEIGHBOUR * (min(meaning, own) if own else meaning)
                    spellings[other] = max(spellings.get(other, 0.0), worth)
            unwritten = _UNWRITTEN * idf(documents, 0)
            wanted.append(Wanted(word, own or max([unwritten, *spellings.values()]), spellings))
        return cls(tuple(wanted), {term: _HINT * weigh(term) for term in hints(line)})

    def scores(
        self, index: LexicalIndex, documents: int, mask: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """For the first ``documents`` of ``index``: BM25, and the share of the query's weight that is met.

        With a ``mask`` of them, both may be 0 for what it does not show.
        """
        if mask is not None and np.count_nonzero(mask) < _SPARSE * len(mask):
            return self._scores_among(index, mask[:documents])
        score, covered = self._sum(len(index), index.posting)
        return score[:documents], covered[:documents]

    def _scores_among(
        self, index: LexicalIndex, mask: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The same, but only what ``mask`` shows is added up: little, when most was un-done or is others'."""
        shown = np.flatnonzero(mask)
        seen = np.zeros(len(index), dtype=np.bool_)  # it may have grown since the mask was made
        seen[: len(mask)] = mask
        places = np.zeros(len(index), dtype=np.int32)
        places[shown] = np.arange(len(shown), dtype=np.int32)

        def posting(term: str) -> Posting | None:
            found = index.posting(term)
            if found is None:
                return None
            held, share = found
            keep = seen[held]
            return places[held[keep]], share[keep]

        score, covered = np.zeros(len(mask)), np.zeros(len(mask))
        score[shown], covered[shown] = self._sum(len(shown), posting)
        return score, covered

    def _sum(
        self, size: int, posting_of: Callable[[str], Posting | None]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        whole = sum(wanted.weight for wanted in self.wanted)
        alone: list[tuple[Posting, float]] = []  # terms of one spelling: all of them are added up in one go
        several: list[list[tuple[Posting, float]]] = []
        for wanted in self.wanted:
            found = [
                (posting, weight)
                for spelling, weight in wanted.spellings.items()
                if (posting := posting_of(spelling)) is not None
            ]
            if len(found) == 1:
                alone += found
            elif found:
                several.append(sorted(found, key=itemgetter(1)))
        score, covered = np.zeros(size), np.zeros(size)
        if alone:
            held = np.concatenate([held for (held, _), _ in alone])
            worth = np.concatenate([share * np.float32(weight) for (_, share), weight in alone])
            met = np.repeat([weight / whole for _, weight in alone], [len(held) for (held, _), _ in alone])
            score += np.bincount(held, worth, size)
            covered += np.bincount(held, met, size)
        for found in several:
            # One meaning is worth as much as its best spelling, however many of them a text has.
            best_share, best_met = np.zeros(size), np.zeros(size)
            for (held, share), weight in found:
                best_share[held] = np.maximum(best_share[held], weight * share)
                best_met[held] = weight / whole  # the last one is the greatest
            score += best_share
            covered += best_met
        matched = score > 0.0
        for term, weight in self.hints.items():
            posting = posting_of(term)
            if posting is not None:
                held, share = posting
                score[held] += matched[held] * (weight * share)
        return score, covered

    def found_in(self, held: frozenset[str]) -> tuple[str, ...]:
        """The terms of a text that the query asks for, in the query's order."""
        asked = dict.fromkeys(spelling for wanted in self.wanted for spelling in wanted.spellings)
        return tuple([spelling for spelling in asked if spelling in held])

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
