"""Embeddings by a sentence-transformers model, by name or from a folder. Needs the extra ``semantic``."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npcsdk.errors import MemoryStoreError, MissingExtra
from npcsdk.memory.registry import Vectors

__all__ = ["SentenceEmbedder"]


class SentenceEmbedder:
    """``sentence-transformers:MODEL``, where MODEL is a folder or a name that the package knows how to get.

    Raises MissingExtra when the package is not installed, and MemoryStoreError ``embedder_failed`` when the
    model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtra(
                "The embedder `sentence-transformers` needs the package sentence-transformers.",
                hint="pip install 'npcsdk[semantic]'",
            ) from error
        folder = Path(model).expanduser()
        try:
            self._model: Any = SentenceTransformer(str(folder) if folder.is_dir() else model, device="cpu")
            self._dimensions = int(self._model.encode(["dimensions"], show_progress_bar=False).shape[1])
        except Exception as error:  # whatever the package, its network or the file format raise
            raise MemoryStoreError(
                f"The embedding model {model!r} cannot be loaded: {type(error).__name__}: {error}.",
                hint="Give a folder that sentence-transformers saved, or a model's name and a network.",
                code="embedder_failed",
            ) from error
        # A folder may be moved, and another model put in its place: the weights say which one it is.
        self._name = f"sentence-transformers:{_fingerprint(folder) or model}/{self._dimensions}"
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Says which weights made the vectors."""
        return self._name

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return self._dimensions

    @property
    def instant(self) -> bool:
        """False: a line takes some ten milliseconds."""
        return False

    @property
    def meaning(self) -> bool:
        """True."""
        return True

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """One row of length one for each text."""
        if not texts:
            return np.zeros((0, self._dimensions), dtype=np.float32)
        with self._lock:  # its tokenizer may be used by one thread at a time
            rows = self._model.encode(
                list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        return np.asarray(rows, dtype=np.float32)


def _fingerprint(folder: Path) -> str:
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]) if folder.is_dir() else []
    if not weights:
        return ""
    digest = hashlib.sha256()
    with weights[0].open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]
