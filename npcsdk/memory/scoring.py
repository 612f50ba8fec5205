"""Which of the candidates are worth a place in the prompt. Pure: values in, values out, no clock.

Two readings of "alike" (vectors and words) are fused by rank, because their numbers cannot be compared;
recency in game time and importance tip the scale between near equals; what says the same again is passed
over; and what is alike by neither reading is left out, so that a greeting recalls nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Candidate", "Hit", "Weights", "fuse", "overlap", "pick", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each side counts. All are plain numbers that a designer may set."""

    vector: float = 1.0
    lexical: float = 1.3
    recency: float = 0.15
    importance: float = 0.2
    diversity: float = 0.3
    """0: the best in order; 1: as different from each other as can be."""
    smoothing: float = 10.0
    """The constant of reciprocal-rank fusion: small, and the first places count for much more."""
    half_life: float = 86_400.0
    """Game seconds after which a memory's recency has halved."""
    min_cosine: float = 0.2
    min_coverage: float = 0.2
    """A candidate below both is no match. Coverage is the share of the query's weight that it holds."""
    min_share: float = 0.5
    """A candidate that has less than this share of the best one's coverage, and of its cosine, is left out."""
    same: float = 0.8
    """Two texts that overlap more than this say the same; the second is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One thing that may be recalled, with what is known about it. ``cosine`` None: not compared by vector."""

    key: int
    cosine: float | None = None
    lexical: float = 0.0
    coverage: float = 0.0
    words: tuple[str, ...] = ()
    """The query's words that it holds."""
    terms: frozenset[str] = frozenset()
    """All of its words, for telling whether two say the same."""
    age: float | None = None
    """Game seconds since it happened; None for lore, which does not age."""
    importance: float = 0.5
    trust: float = 1.0
    """Scales the score: what somebody said is worth less than what happened."""
    heard_from: str = ""
    """Who told it, where it is hearsay."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A candidate that matches, with its score; about 1.0 is first place by every reading."""

    candidate: Candidate
    score: float

    def reason(self, weights: Weights, words: Sequence[str] | None = None) -> str:
        """Why it was recalled, for people: ``words: gate, mine; alike 0.42; recent``.

        ``words``: the candidate's words as people spell them.
        """
        candidate = self.candidate
        parts: list[str] = []
        if words := candidate.words if words is None else words:
            parts.append("words: " + ", ".join(words))
        if candidate.cosine is not None and candidate.cosine > 0.0:
            parts.append(f"alike {candidate.cosine:.2f}")
        if candidate.age is not None and _recency(candidate.age, weights.half_life) > 0.75:
            parts.append("recent")
        if candidate.heard_from:
            parts.append(f"heard from {candidate.heard_from}")
        if candidate.importance > 0.75:
            parts.append("important")
        return "; ".join(parts)


def fuse(ranks: Sequence[tuple[int | None, float]], smoothing: float) -> float:
    """Reciprocal-rank fusion of (rank from 0, weight) pairs; 1.0 for first everywhere, None adds nothing."""
    whole = got = 0.0
    for place, weight in ranks:
        whole += weight
        if place is not None:
            got += weight / (smoothing + place + 1.0)
    return got * (smoothing + 1.0) / whole if whole > 0.0 else 0.0


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """How much two sets of words share: 0 for nothing, 1 for the same set."""
    if not a or not b:
        return 0.0
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def rank(candidates: Sequence[Candidate], weights: Weights, *, meaning: bool = False) -> list[Hit]:
    """Every candidate that matches at all, best first; ties keep the order of their keys.

    ``meaning``: the cosines know what words mean, and are not words in another guise.
    """
    matching = [
        candidate
        for candidate in candidates
        if (candidate.cosine is not None and candidate.cosine >= weights.min_cosine)
        or candidate.coverage >= weights.min_coverage
    ]
    cosine = max((c.cosine for c in matching if c.cosine is not None), default=0.0) * weights.min_share
    covered = max((c.coverage for c in matching), default=0.0)
    coverage = covered * weights.min_share
    matching = [
        c for c in matching if c.coverage >= coverage or (c.cosine is not None and c.cosine >= cosine)
    ]
    lexical = weights.lexical
    if (
        meaning
    ):  # where even the best text holds little of the query, which one holds most says next to nothing
        lexical *= min(covered, 1.0) ** 2
    by_vector = _places(matching, lambda c: c.cosine if c.cosine and c.cosine > 0.0 else None)
    by_words = _places(matching, lambda c: c.lexical if c.lexical > 0.0 else None)
    compared = any(candidate.cosine is not None for candidate in matching)
    hits: list[Hit] = []
    for candidate in matching:
        vector, word = by_vector.get(candidate.key), by_words.get(candidate.key)
        # With no vectors at hand (an index under repair) words alone decide.
        score = fuse([(vector, weights.vector if compared else 0.0), (word, lexical)], weights.smoothing)
        fresh = _recency(candidate.age, weights.half_life)
        boost = candidate.trust * (1.0 + weights.importance * (candidate.importance - 0.5))
        boost *= 1.0 + weights.recency * (fresh - 0.5)
        hits.append(Hit(candidate, score * boost))
    hits.sort(key=lambda hit: (-hit.score, hit.candidate.key))
    return hits


def pick(hits: Sequence[Hit], weights: Weights, limit: int) -> list[Hit]:
    """Up to ``limit`` of the ranked hits, the best first, then whatever adds most that is new."""
    if not hits or limit <= 0:
        return []
    left = list(hits)
    chosen: list[Hit] = []
    likeness = [0.0] * len(left)  # each one's greatest overlap with what has been chosen
    while left and len(chosen) < limit:
        values = [
            (1.0 - weights.diversity) * hit.score - weights.diversity * hits[0].score * likeness[i]
            for i, hit in enumerate(left)
        ]
        best = max(range(len(left)), key=values.__getitem__)
        taken = left.pop(best)
        likeness.pop(best)
        chosen.append(taken)
        remaining: list[tuple[Hit, float]] = []
        for hit, before in zip(left, likeness, strict=True):
            now = max(before, overlap(hit.candidate.terms, taken.candidate.terms))
            if now <= weights.same:
                remaining.append((hit, now))
        left = [hit for hit, _ in remaining]
        likeness = [value for _, value in remaining]
    return chosen


def _places(candidates: Sequence[Candidate], value: Callable[[Candidate], float | None]) -> dict[int, int]:
    """Key → place among those that have a value; equal values share the better place."""
    scored = [(number, candidate.key) for candidate in candidates if (number := value(candidate)) is not None]
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    places: dict[int, int] = {}
    place, previous = 0, math.inf
    for at, (number, key) in enumerate(scored):
        if number != previous:
            place, previous = at, number
        places[key] = place
    return places


def _recency(age: float | None, half_life: float) -> float:
    """1 for this moment, halving with every half-life; 0.5, which changes nothing, for what has no age."""
    if age is None:
        return 0.5
    # A clock that went backwards makes an age negative: as fresh as can be, not fresher.
    return 0.5 ** (max(age, 0.0) / half_life) if half_life > 0.0 else 0.0
