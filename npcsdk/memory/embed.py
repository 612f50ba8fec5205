"""The default embedder: hashed words and character n-grams. No download, the same bits everywhere.

Each stemmed word is a bundle of signed features in a fixed number of dimensions: the word itself and the
3- to 5-grams of its letters, so that a misspelt or inflected word still points nearly the same way. Two
neighbouring words add a feature of their own. It knows no meaning: "ale" and "beer" are strangers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from npcsdk.memory.registry import Vectors
from npcsdk.memory.text import terms

__all__ = ["HashingEmbedder"]

_WORD, _GRAMS, _PAIR = 1.0, 0.6, 0.35  # lengths of the parts of a word's bundle
_COPIES = 3  # features a word is spread over: a collision then costs a third of it, not all


class HashingEmbedder:
    """Vectors of ``dimensions`` numbers from hashed features; deterministic across platforms and runs."""

    def __init__(self, dimensions: int = 384) -> None:
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        """Carries a version: it grows whenever the same text would get another vector."""
        return f"hashing-1/{self._dimensions}"

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return self._dimensions

    @property
    def instant(self) -> bool:
        """True: a line takes about a tenth of a millisecond."""
        return True

    @property
    def meaning(self) -> bool:
        """False: it knows how words are written."""
        return False

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """One row for each text; zeros for a text that has no word with meaning."""
        rows = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            self._fill(row, terms(text))
        return rows

    def _fill(self, row: npt.NDArray[np.float32], found: list[str]) -> None:
        if not found:
            return
        counts: dict[str, int] = {}
        for term in found:
            counts[term] = counts.get(term, 0) + 1
        # A word said five times is not five times the subject.
        parts = [
            (_word(term, self._dimensions), 1.0 + math.log(count) if count > 1 else 1.0)
            for term, count in counts.items()
        ]
        parts += [(_pair(a, b, self._dimensions), 1.0) for a, b in set(pairwise(found))]
        slots = np.concatenate([slots for (slots, _), _ in parts])
        values = np.concatenate([values * factor for (_, values), factor in parts])
        total = np.bincount(slots, weights=values, minlength=self._dimensions)
        length = math.sqrt(float(total @ total))
        if length > 0.0:
            row[:] = total / length


_Features = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


@lru_cache(maxsize=50_000)
def _word(term: str, dimensions: int) -> _Features:
    slots: list[int] = []
    values: list[float] = []
    for copy in range(_COPIES):
        slot, sign = _hash(f"w{copy}:{term}", dimensions)
        slots.append(slot)
        values.append(sign * _WORD / math.sqrt(_COPIES))
    padded = f"^{term}$"
    grams = [padded[i : i + n] for n in (3, 4, 5) for i in range(len(padded) - n + 1)]
    for gram in grams:
        slot, sign = _hash(f"g:{gram}", dimensions)
        slots.append(slot)
        values.append(sign * _GRAMS / math.sqrt(len(grams)))
    return np.array(slots, dtype=np.intp), np.array(values, dtype=np.float64)


@lru_cache(maxsize=50_000)
def _pair(first: str, second: str, dimensions: int) -> _Features:
    slot, sign = _hash(f"p:{first} {second}", dimensions)
    return np.array([slot], dtype=np.intp), np.array([sign * _PAIR], dtype=np.float64)


def _hash(feature: str, dimensions: int) -> tuple[int, float]:
    # Not hash(): that one differs from run to run.
    number = int.from_bytes(
        hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )
    return (number >> 1) % dimensions, 1.0 if number & 1 else -1.0
