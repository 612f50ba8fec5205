"""The embedders that need no download: vectors of common English words, and hashed spelling. The same bits everywhere.

`WordEmbedder` is the default. The table beside this module holds the 16,000 most frequent words of a published
sentence model's vocabulary and what that model makes of each alone, reduced to 128 bytes (see ``word_vectors.md``;
``examples/word_vectors.py`` makes it). A text is the sum of its words, each weighted by how rare it is, so that "where
may I get a bite?" comes near the bakery. A word that the table lacks (a name, another language) is hashed.

`HashingEmbedder` makes of each stemmed word a bundle of signed features in a fixed number of dimensions: the word
itself and the 3- to 5-grams of its letters, so that a misspelt or inflected word still points nearly the same way. Two
neighbouring words add a feature of their own. It knows no meaning: "ale" and "beer" are strangers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.registry import Vectors
from npcsdk.memory.text import spelled, terms

__all__ = ["HashingEmbedder", "WordEmbedder"]

_WORD, _GRAMS, _PAIR = 1.0, 0.6, 0.35  # lengths of the parts of a word's bundle
_COPIES = 3  # features a word is spread over: a collision then costs a third of it, not all

_TABLE = Path(__file__).with_name("word_vectors.npz")
_COMMON = (
    1000  # a word at this rank weighs half as much as the rarest (Arora et al. 2017, by rank for frequency)
)
_UNKNOWN = (
    0.3  # weight of a word that is not in the table: words find it better, this vector only must not be empty
)
_ENDINGS = ("s", "es", "ed", "ing", "er", "d", "ly")

_Row = npt.NDArray[np.float32]


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


class WordEmbedder:
    """Vectors of 128 numbers; the same bits on every run. Thread-safe."""

    @property
    def name(self) -> str:
        """Carries a version: it grows whenever the same text would get another vector."""
        return "words-1/128"

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return 128

    @property
    def instant(self) -> bool:
        """True: a line takes some hundredths of a millisecond."""
        return True

    @property
    def meaning(self) -> bool:
        """True: "ale" is near "beer"."""
        return True

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """One row for each text; zeros for a text that has no word with meaning.

        Raises MemoryStoreError ``embedder_failed``: the table is missing from this installation or damaged.
        """
        rows = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for stem, word in spelled(text).items():
                row += _vector(stem, word)
            length = math.sqrt(float(row @ row))
            if length > 0.0:
                row /= length
        return rows


@lru_cache(maxsize=50_000)
def _vector(stem: str, word: str) -> _Row:
    """A word's share of a text's vector; ``stem`` stands for it where the word itself is not known."""
    ranks, vectors = _table()
    forms = (word, *(word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending)), stem)
    rank = next((ranks[form] for form in forms if form in ranks), None)
    if rank is None:
        return _letters().embed([stem])[0] * np.float32(_UNKNOWN)
    vector = vectors[rank].astype(np.float32)
    return vector * np.float32((rank + 50) / (rank + _COMMON) / max(float(np.linalg.norm(vector)), 1.0))


@cache
def _letters() -> HashingEmbedder:
    return HashingEmbedder(128)


@cache
def _table() -> tuple[dict[str, int], npt.NDArray[np.int8]]:
    """The words with their ranks, the most frequent first, and their vectors."""
    try:
        with _TABLE.open("rb") as file, np.load(file, allow_pickle=False) as table:
            words = table["words"].tobytes().decode("ascii").split()
            return {word: rank for rank, word in enumerate(words)}, table["vectors"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise MemoryStoreError(
            f"The table of the embedder 'words' cannot be read: {error}.",
            hint="Install npcsdk again, or choose the embedder 'hashing'.",
            code="embedder_failed",
        ) from error
