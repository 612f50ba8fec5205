"""An embedder from elsewhere: looked at once when it is taken, and each time it gives vectors.

What it raises is a MemoryStoreError by name, so that a plug-in's defect costs vectors and never a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npcsdk.errors import MemoryStoreError, NpcError
from npcsdk.memory.registry import Vectors

__all__ = ["ForeignEmbedder"]

_LONG = 1e-3  # what a vector's length may differ from one by before it is brought there
_TRIED = ["a silver mine", ""]


class ForeignEmbedder:
    """``made`` as an `npcsdk.memory.registry.Embedder` that keeps its word; ``called`` is how people know it.

    Raises MemoryStoreError ``embedder_failed``, which says what is missing or wrong.
    """

    def __init__(self, made: Any, called: str) -> None:
        self._called = called
        self._made = made
        wanted: dict[str, Callable[[Any], bool]] = {
            "name": lambda value: isinstance(value, str) and bool(value),
            "dimensions": lambda value: type(value) is int and value > 0,
            "instant": lambda value: isinstance(value, bool),
            "meaning": lambda value: isinstance(value, bool),
            "embed": callable,
        }
        for what, right in wanted.items():
            if not hasattr(made, what):
                raise self._wrong(f"it has no `{what}`")
            value = getattr(made, what)
            if not right(value):
                raise self._wrong(f"its `{what}` is {value!r}")
        self._name: str = made.name
        self._dimensions: int = made.dimensions
        self.embed(_TRIED)

    @property
    def name(self) -> str:
        """See `Embedder`, as all of these."""
        return self._name

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def instant(self) -> bool:
        return bool(self._made.instant)

    @property
    def meaning(self) -> bool:
        return bool(self._made.meaning)

    def embed(self, texts: Sequence[str], /) -> Vectors:
        try:
            rows = np.asarray(self._made.embed(list(texts)), dtype=np.float32)
        except NpcError:
            raise
        except Exception as error:
            raise self._wrong(f"{type(error).__name__}: {error}") from error
        if not len(texts):
            return np.zeros((0, self._dimensions), dtype=np.float32)
        if rows.shape != (len(texts), self._dimensions):
            raise self._wrong(f"it gave {rows.shape} numbers for {len(texts)} texts")
        if not np.isfinite(rows).all():
            raise self._wrong("not all that it gave are finite numbers")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if np.any((np.abs(lengths - 1.0) > _LONG) & (lengths > 0.0)):
            rows = rows / np.where(lengths > 0.0, lengths, 1.0).astype(np.float32)
        return rows

    def _wrong(self, what: str) -> MemoryStoreError:
        return MemoryStoreError(
            f"The embedder {self._called!r} does not work: {what}.",
            hint="See npcsdk.memory.registry.Embedder for what an embedder has; recall goes by words meanwhile.",
            code="embedder_failed",
        )
