"""Embeddings from a server with OpenAI's interface (``POST /embeddings``): llama-server, Ollama, vLLM, OpenAI."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError

import numpy as np

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.registry import Vectors

__all__ = ["EndpointEmbedder"]

_KEY = "NPCSDK_EMBEDDINGS_KEY"
_TIMEOUT = 20.0  # seconds; a turn does not wait that long, the index may


class EndpointEmbedder:
    """``openai:MODEL@URL``, such as ``openai:all-minilm@http://127.0.0.1:11434/v1``.

    A key, where the server wants one, is read from the environment variable ``NPCSDK_EMBEDDINGS_KEY``.
    Raises MemoryStoreError ``embedder_unknown`` for another spelling and ``embedder_failed`` when the server
    does not answer: it has to once, so that the length of its vectors is known.
    """

    def __init__(self, where: str) -> None:
        model, at, url = where.partition("@")
        if not at or not model or not url.startswith(("http://", "https://")):
            raise MemoryStoreError(
                f"{where!r} does not say which model to ask where.",
                hint="Write openai:MODEL@URL, such as openai:all-minilm@http://127.0.0.1:11434/v1.",
                code="embedder_unknown",
            )
        self._model = model
        self._url = url.rstrip("/") + "/embeddings"
        self._dimensions = 0
        self._dimensions = int(self.embed(["dimensions"]).shape[1])

    @property
    def name(self) -> str:
        """Says which model made the vectors; the server may move."""
        return f"openai:{self._model}/{self._dimensions}"

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return self._dimensions

    @property
    def instant(self) -> bool:
        """False: there is a server between."""
        return False

    @property
    def meaning(self) -> bool:
        """True."""
        return True

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """One row of length one for each text. Raises MemoryStoreError ``embedder_failed``."""
        if not texts:
            return np.zeros((0, self._dimensions), dtype=np.float32)
        # Servers refuse an empty text; a space has as little meaning.
        body = json.dumps({"model": self._model, "input": [text or " " for text in texts]}).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(_KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            request = urllib.request.Request(self._url, body, headers)
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                answer: Any = json.load(response)
            data = sorted(answer["data"], key=lambda item: item["index"])
            rows = np.array([item["embedding"] for item in data], dtype=np.float32)
            if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
                raise ValueError(f"it sent {rows.shape} numbers for {len(texts)} texts")
            if self._dimensions and rows.shape[1] != self._dimensions:
                raise ValueError(f"its vectors have {rows.shape[1]} numbers instead of {self._dimensions}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, HTTPError):
                error.close()  # it is the response too
            raise MemoryStoreError(
                f"The embeddings of {self._model!r} could not be had from {self._url}: {error}.",
                hint=f"Check that the server runs and has the model; a key goes into {_KEY}.",
                code="embedder_failed",
            ) from error
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0.0, lengths, 1.0).astype(np.float32)
