"""Exact search over matrices that grow: for lore, for the newest records, and for memory without a folder."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from npcsdk.memory.registry import Embedder, Vectors

__all__ = ["ExactIndex", "ExactVectors"]


class ExactVectors:
    """Rows of unit vectors by key. Not thread-safe: its owner locks."""

    def __init__(self, dimensions: int) -> None:
        self._rows: Vectors = np.zeros((0, dimensions), dtype=np.float32)
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Appends one row for each key; a key must be new."""
        used = len(self._keys)
        need = used + len(keys)
        if need > len(self._rows):
            grown = np.zeros((max(need, 2 * len(self._rows), 16), self._rows.shape[1]), dtype=np.float32)
            grown[:used] = self._rows[:used]
            self._rows = grown
        self._rows[used:need] = vectors
        self._keys.extend(keys)

    @property
    def keys(self) -> Sequence[int]:
        """The keys of the rows, in order."""
        return self._keys

    def discard(self, upto: int) -> None:
        """Forgets every row whose key is ``upto`` or less; for keys that ascend."""
        count = bisect.bisect_right(self._keys, upto)
        if count:
            self._rows = self._rows[count : len(self._keys)].copy()
            del self._keys[:count]

    def remove(self, keys: Sequence[int]) -> None:
        """Forgets the rows with these keys; others are ignored."""
        unwanted = set(keys).intersection(self._keys)
        if unwanted:
            kept = [place for place, key in enumerate(self._keys) if key not in unwanted]
            self._rows = self._rows[kept]
            self._keys = [self._keys[place] for place in kept]

    def similarities(self, vector: Vectors) -> list[tuple[int, float]]:
        """Every key with its cosine to ``vector`` (shape (dimensions,)), in no order."""
        if not self._keys:
            return []
        cosines = self._rows[: len(self._keys)] @ vector
        return list(zip(self._keys, cosines.tolist(), strict=True))

    def nearest(self, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        """The ``limit`` keys of the greatest cosines, best first."""
        cosines = self._rows[: len(self._keys)] @ vector
        places = np.arange(len(cosines))
        if len(cosines) > limit:
            places = np.argpartition(cosines, -limit)[-limit:]
        places = places[np.argsort(-cosines[places], kind="stable")]
        return [(self._keys[place], float(cosines[place])) for place in places.tolist()]


class ExactIndex:
    """A `npcsdk.memory.registry.VectorIndex` that lives in this process and compares with everything."""

    def __init__(
        self, directory: Path | None, *, journal: str, embedder: Embedder, warn: Callable[[str], None]
    ) -> None:
        self._dimensions = embedder.dimensions
        self._lock = threading.Lock()
        self._held: dict[str, ExactVectors] = {}

    def count(self, npc: str) -> int:
        """See `VectorIndex`, as all of these."""
        return len(self.positions(npc))

    def positions(self, npc: str) -> set[int]:
        with self._lock:
            held = self._held.get(npc)
            return set() if held is None else set(held.keys)

    def add(self, npc: str, positions: Sequence[int], vectors: Vectors) -> None:
        with self._lock:
            held = self._held.setdefault(npc, ExactVectors(self._dimensions))
            held.remove(positions)
            held.add(positions, vectors)

    def remove(self, npc: str, positions: Sequence[int]) -> None:
        with self._lock:
            if npc in self._held:
                self._held[npc].remove(positions)

    def query(self, npc: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        with self._lock:
            held = self._held.get(npc)
            return [] if held is None else held.nearest(vector, limit)

    def reset(self) -> None:
        with self._lock:
            self._held.clear()

    def close(self) -> None:
        self.reset()
