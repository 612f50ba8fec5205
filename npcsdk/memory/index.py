"""The vector index in Chroma: one collection for each npc, derived from the journal.

The folder holds generations, of which one is in use. A marker beside them says for which journal and
embedder it was made; a generation that is not ours, or that does not work, is left for a new one, and
removed when the system lets us (an open file cannot be removed on Windows).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.registry import Embedder, Vectors

__all__ = ["ChromaIndex", "ChromaServer", "made_by"]

_MARKER = "index.json"
_OPENING = "opening"
_PAGE = 5_000
_TIMEOUT = 10.0  # seconds for an answer of a server


def made_by(directory: Path) -> str | None:
    """The name of the embedder that made the index in ``directory``; None where there is none, or none to read."""
    try:
        found: dict[str, Any] = json.loads((directory / _MARKER).read_text(encoding="utf-8"))
        return str(found["embedder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ChromaIndex:
    """See `npcsdk.memory.registry.VectorIndex`. Used by one thread for writing and others for queries.

    Every failure of Chroma becomes MemoryStoreError ``index_failed``.
    """

    def __init__(
        self, directory: Path | None, *, journal: str, embedder: Embedder, warn: Callable[[str], None]
    ) -> None:
        if directory is None:
            raise MemoryStoreError(
                "The Chroma index needs a folder.",
                hint="Give memory a folder, or use the index 'exact'.",
                code="index_failed",
            )
        self._directory = directory
        self._made_for = {"journal": journal, "embedder": embedder.name, "dimensions": embedder.dimensions}
        self._warn = warn
        self._collections: dict[str, Any] = {}
        self._client: Any = None
        with self._translated("opened"):
            directory.mkdir(parents=True, exist_ok=True)
            generation, reason = self._usable()
            if reason:
                warn(f"The memory index in {directory} is built again: {reason}.")
            self._open(generation or self._next())

    # -- VectorIndex

    def count(self, npc: str) -> int:
        with self._translated("read"):
            return int(self._collection(npc).count())

    def positions(self, npc: str) -> set[int]:
        found: set[int] = set()
        with self._translated("read"):
            collection = self._collection(npc)
            while True:
                ids = collection.get(include=[], limit=_PAGE, offset=len(found))["ids"]
                found.update(map(int, ids))
                if len(ids) < _PAGE:
                    return found

    def add(self, npc: str, positions: Sequence[int], vectors: Vectors) -> None:
        with self._translated("written"):
            self._collection(npc).add(ids=[str(position) for position in positions], embeddings=vectors)

    def remove(self, npc: str, positions: Sequence[int]) -> None:
        with self._translated("written"):
            self._collection(npc).delete(ids=[str(position) for position in positions])

    def query(self, npc: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        with self._translated("read"):
            found = self._collection(npc).query(
                query_embeddings=vector.reshape(1, -1), n_results=limit, include=["distances"]
            )
            return [
                (int(position), 1.0 - float(distance))
                for position, distance in zip(found["ids"][0], found["distances"][0], strict=True)
            ]

    def reset(self) -> None:
        with self._translated("built again"):
            self._shut()
            self._open(self._next())

    def close(self) -> None:
        with self._translated("closed"):
            self._shut()

    # -- inside

    def _collection(self, npc: str) -> Any:
        collection = self._collections.get(npc)
        if collection is None:
            if self._client is None:
                raise RuntimeError("the index is closed")
            # Names may hold little but ASCII letters, an npc's id may be of any script.
            name = "npc-" + hashlib.sha256(npc.encode()).hexdigest()[:32]
            collection = self._collections[npc] = self._client.get_or_create_collection(
                name,
                embedding_function=None,
                metadata={"npc": npc, **self._made_for},
                configuration={"hnsw": {"space": "cosine"}},
            )
        return collection

    def _usable(self) -> tuple[str, str]:
        """The generation to go on with ("" for none) and, where one is given up, why."""
        marker = self._directory / _MARKER
        if not marker.exists():
            return "", ""
        try:
            found: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
            generation = str(found["generation"])
            if {key: found.get(key) for key in self._made_for} != self._made_for:
                return "", f"it was made by the embedder {found.get('embedder')!r} or for another journal"
        except (OSError, ValueError, KeyError, TypeError):
            return "", "its marker cannot be read"
        if (self._directory / _OPENING).exists():
            # A damaged store can take the whole process down as it is opened; once is enough.
            return "", "the last attempt to open it did not come to an end"
        if not (self._directory / generation).is_dir():
            return "", "its folder is missing"
        return generation, ""

    def _next(self) -> str:
        numbers = [int(path.name[1:]) for path in self._directory.glob("g*") if path.name[1:].isdecimal()]
        return f"g{max(numbers, default=0) + 1}"

    def _open(self, generation: str) -> None:
        import chromadb  # 0.5 s and 100 MB: only when there is something to index
        from chromadb.config import Settings

        opening = self._directory / _OPENING
        opening.touch()
        self._client = chromadb.PersistentClient(
            path=str(self._directory / generation), settings=Settings(anonymized_telemetry=False)
        )
        self._client.count_collections()  # reads its database, so damage shows now
        marker = self._directory / (_MARKER + ".new")
        marker.write_text(json.dumps({"generation": generation, **self._made_for}), encoding="utf-8")
        marker.replace(self._directory / _MARKER)
        opening.unlink()
        for other in self._directory.glob("g*"):
            if other.name != generation:
                shutil.rmtree(other, ignore_errors=True)

    def _shut(self) -> None:
        self._collections.clear()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it is given up; what it held can be had again
                client.close()

    @contextmanager
    def _translated(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except MemoryStoreError:
            raise
        except BaseException as error:
            # Chroma's native part panics with an exception that is not even an Exception.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            raise MemoryStoreError(
                f"The memory index in {self._directory} could not be {what}: {type(error).__name__}: {error}.",
                hint="Recall goes on by words; the index is built again from the journal.",
                code="index_failed",
            ) from error


class ChromaServer:
    """The same against ``chroma run``: ``chroma:http://host:port``. Several journals may share one server.

    Each has collections of its own. Every failure becomes MemoryStoreError ``index_unreachable``: the caller
    goes on by words and asks again.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        journal: str,
        embedder: Embedder,
        warn: Callable[[str], None],
        argument: str,
    ) -> None:
        self._url = urlsplit(argument)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise MemoryStoreError(
                f"{argument!r} is not the address of a Chroma server.",
                hint="Write chroma:http://host:port, as `chroma run` says it.",
                code="index_unknown",
            )
        self._journal = journal
        self._made_for = {"journal": journal, "embedder": embedder.name, "dimensions": embedder.dimensions}
        self._collections: dict[str, Any] = {}
        self._client: Any = None
        with self._translated():
            for collection in self._own():
                if {key: collection.metadata.get(key) for key in self._made_for} != self._made_for:
                    warn(f"The memory index on {argument} is built again: it was made by another embedder.")
                    self._connected().delete_collection(collection.name)

    def count(self, npc: str) -> int:
        """See `VectorIndex`, as all of these."""
        with self._translated():
            return int(self._collection(npc).count())

    def positions(self, npc: str) -> set[int]:
        found: set[int] = set()
        with self._translated():
            collection = self._collection(npc)
            while True:
                ids = collection.get(include=[], limit=_PAGE, offset=len(found))["ids"]
                found.update(map(int, ids))
                if len(ids) < _PAGE:
                    return found

    def add(self, npc: str, positions: Sequence[int], vectors: Vectors) -> None:
        with self._translated():
            self._collection(npc).upsert(ids=[str(position) for position in positions], embeddings=vectors)

    def remove(self, npc: str, positions: Sequence[int]) -> None:
        with self._translated():
            self._collection(npc).delete(ids=[str(position) for position in positions])

    def query(self, npc: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        with self._translated():
            found = self._collection(npc).query(
                query_embeddings=vector.reshape(1, -1), n_results=limit, include=["distances"]
            )
            return [
                (int(position), 1.0 - float(distance))
                for position, distance in zip(found["ids"][0], found["distances"][0], strict=True)
            ]

    def reset(self) -> None:
        with self._translated():
            self._collections.clear()
            for collection in self._own():
                self._connected().delete_collection(collection.name)

    def close(self) -> None:
        self._collections.clear()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def _connected(self) -> Any:
        if self._client is None:
            import chromadb
            from chromadb.config import Settings

            self._client = chromadb.HttpClient(
                host=self._url.hostname or "",
                port=self._url.port or (443 if self._url.scheme == "https" else 80),
                ssl=self._url.scheme == "https",
                # It never closes what it keeps open: so it keeps nothing.
                settings=Settings(anonymized_telemetry=False, chroma_http_max_keepalive_connections=0),
            )
            # It would wait for ever for a server that hangs, and there is no public setting for that.
            session = getattr(getattr(self._client, "_server", None), "_session", None)
            if session is not None:
                session.timeout = _TIMEOUT
        return self._client

    def _own(self) -> list[Any]:
        """This journal's collections, whoever embedded them."""
        found: list[Any] = []
        while True:
            page = self._connected().list_collections(limit=_PAGE, offset=len(found))
            found += page
            if len(page) < _PAGE:
                return [
                    each for each in found if each.metadata and each.metadata.get("journal") == self._journal
                ]

    def _collection(self, npc: str) -> Any:
        collection = self._collections.get(npc)
        if collection is None:
            name = "npc-" + hashlib.sha256(f"{self._journal}/{npc}".encode()).hexdigest()[:32]
            collection = self._collections[npc] = self._connected().get_or_create_collection(
                name,
                embedding_function=None,
                metadata={"npc": npc, **self._made_for},
                configuration={"hnsw": {"space": "cosine"}},
            )
        return collection

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # of its HTTP client, of the server, or of an answer that is none
            self._collections.clear()  # it may come back with other data: what was known of it counts no more
            raise MemoryStoreError(
                f"The Chroma server at {self._url.geturl()} does not serve: {type(error).__name__}: {error}.",
                hint="Start it with `chroma run`; recall goes by words until it is back.",
                code="index_unreachable",
            ) from error
