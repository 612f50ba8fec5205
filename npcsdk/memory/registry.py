"""What memory asks of an embedder and of a vector index, and how names become objects.

Built-in ones are named as strings here and imported when they are wanted. Other packages join through the entry point
groups ``npcsdk.embedders`` and ``npcsdk.indexes``; an entry is a class, or a function that makes one:

    [project.entry-points."npcsdk.embedders"]
    elvish = "my_game.elvish:ElvishEmbedder"

Then ``embedder="elvish"`` is ``ElvishEmbedder()``, and ``"elvish:sindarin"`` is ``ElvishEmbedder("sindarin")``. In the
game's own process (``inline=True``, or `npcsdk.memory.recall.Memory.open`) an object will do in place of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from npcsdk.errors import MemoryStoreError, NpcError

__all__ = ["DEFAULT_EMBEDDER", "Embedder", "VectorIndex", "Vectors", "make_embedder", "make_index"]

DEFAULT_EMBEDDER = "words"

Vectors = npt.NDArray[np.float32]
"""float32, shape (count, dimensions); each row has length one, or is all zeros for a text without meaning."""


class Embedder(Protocol):
    """Turns texts into vectors whose dot product says how alike the texts are.

    This is all that an embedder of your own needs:

        class ElvishEmbedder:
            name = "elvish-1/300"   # grows with every change of the vectors
            dimensions = 300
            instant = True          # a line in well under a millisecond: no thread is needed
            meaning = True          # False for one that knows spelling alone

            def embed(self, texts):
                return numpy.stack([self.vector(text) for text in texts])  # float32, one row for each
    """

    @property
    def name(self) -> str:
        """Says how vectors were made, version included; an index made under another name is rebuilt."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        ...

    @property
    def instant(self) -> bool:
        """Whether embedding one line takes well under a millisecond, so that it may happen at once."""
        ...

    @property
    def meaning(self) -> bool:
        """Whether vectors are alike by what texts mean, and not only by how they are written."""
        ...

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """One vector for each text, in order. Must be safe to call from several threads."""
        ...


class VectorIndex(Protocol):
    """Vectors of journal records by npc. Derived: it may be empty, behind or thrown away at any time.

    ``positions`` are the journal's; failures raise MemoryStoreError, and the caller goes on without.
    """

    def count(self, npc: str) -> int:
        """How many vectors it holds for ``npc``."""
        ...

    def positions(self, npc: str) -> set[int]:
        """Whose vectors it holds."""
        ...

    def add(self, npc: str, positions: Sequence[int], vectors: Vectors) -> None:
        """Adds vectors; a position that it holds already may be ignored."""
        ...

    def remove(self, npc: str, positions: Sequence[int]) -> None:
        """Removes vectors; positions that it does not hold are ignored."""
        ...

    def query(self, npc: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        """The nearest ``limit`` positions with their cosines, best first (nearly: the index may approximate)."""
        ...

    def reset(self) -> None:
        """Begins again with nothing."""
        ...

    def close(self) -> None:
        """Writes what is pending and lets go of files."""
        ...


_EMBEDDERS: Mapping[str, str] = {
    "hashing": "npcsdk.memory.embed:HashingEmbedder",
    "openai": "npcsdk.memory.embed_endpoint:EndpointEmbedder",
    "sentence-transformers": "npcsdk.memory.embed_sentence:SentenceEmbedder",
    "words": "npcsdk.memory.embed:WordEmbedder",
}
_PLAIN = ("hashing", "words")  # they take no argument
_INDEXES: Mapping[str, str] = {
    "chroma": "npcsdk.memory.index:ChromaIndex",
    "chroma:": "npcsdk.memory.index:ChromaServer",
    "exact": "npcsdk.memory.vectors:ExactIndex",
}


def make_embedder(name: str | Embedder) -> Embedder:
    """The embedder called ``name``, or ``name:argument`` for one that takes one (a model, a folder).

    One from elsewhere, by name or as an object, is tried, and held to what an `Embedder` promises.

    Raises MemoryStoreError ``embedder_unknown`` or ``embedder_failed``, and MissingExtra.
    """
    if not isinstance(name, str):
        return _foreign(name, type(name).__name__)
    kind, colon, argument = name.partition(":")
    make = _find("embedder", kind, _EMBEDDERS, "npcsdk.embedders")
    if kind in _EMBEDDERS and bool(colon and argument) == (kind in _PLAIN):
        raise MemoryStoreError(
            f"{name!r} takes nothing." if kind in _PLAIN else f"The embedder {name!r} is not complete.",
            hint="Write words, hashing, sentence-transformers:FOLDER or openai:MODEL@URL.",
            code="embedder_unknown",
        )
    if kind in _EMBEDDERS:
        return cast(Embedder, make(argument) if argument else make())
    try:
        made = make(argument) if argument else make()
    except NpcError:
        raise
    except Exception as error:
        raise MemoryStoreError(
            f"The embedder {name!r} cannot be made: {type(error).__name__}: {error}.",
            hint=f"It comes from the entry point {kind!r} of another package: see that one's documentation.",
            code="embedder_failed",
        ) from error
    return _foreign(made, name)


def _foreign(made: Any, called: str) -> Embedder:
    foreign = import_module("npcsdk.memory.embed_foreign").ForeignEmbedder
    return cast(Embedder, foreign(made, called))


def make_index(
    name: str, directory: Path | None, *, journal: str, embedder: Embedder, warn: Callable[[str], None]
) -> VectorIndex:
    """The index called ``name`` in ``directory`` (None: in this process only), for this journal and embedder.

    ``chroma:http://host:port`` is a Chroma server, and needs no directory.
    One that was made for another journal or by another embedder is made anew.

    Raises MemoryStoreError ``index_unknown`` or ``index_failed``.
    """
    kind, colon, argument = name.partition(":")
    make = _find("index", kind + colon, _INDEXES, "npcsdk.indexes")
    more = {"argument": argument} if colon else {}
    return cast(VectorIndex, make(directory, journal=journal, embedder=embedder, warn=warn, **more))


def _loaded(point: metadata.EntryPoint, what: str) -> Callable[..., Any]:
    try:
        return cast(Callable[..., Any], point.load())
    except Exception as error:  # whatever a package raises as it is imported
        raise MemoryStoreError(
            f"The {what} {point.name!r} cannot be loaded from {point.value!r}: {type(error).__name__}: {error}.",
            hint="Install its package again, or choose another.",
            code=f"{what}_failed",
        ) from error


def _find(what: str, name: str, table: Mapping[str, str], group: str) -> Callable[..., Any]:
    if name in table:
        module, _, attribute = table[name].partition(":")
        return cast(Callable[..., Any], getattr(import_module(module), attribute))
    plugins = {point.name: point for point in metadata.entry_points(group=group)}
    if name in plugins:
        return _loaded(plugins[name], what)
    known = ", ".join(sorted({*table, *plugins}))
    raise MemoryStoreError(
        f"There is no {what} named {name!r}.",
        hint=f"Known: {known}. Packages add more through the entry point group {group!r}.",
        code=f"{what}_unknown",
    )
