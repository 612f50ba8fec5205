"""Where a world's memory lies: a folder, or a Chroma server with the journal in a folder here."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from npcsdk.errors import MemoryStoreError

__all__ = ["Place", "is_server", "memory_folder", "place_of"]

_SERVER = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the journal (None: nothing is kept) and the name of the vector index (None: the usual one)."""

    folder: Path | None
    index: str | None = None


def is_server(memory: object) -> bool:
    """Whether ``memory`` names a server rather than a folder."""
    return isinstance(memory, str) and _SERVER.match(memory) is not None


def place_of(memory: str | os.PathLike[str] | None, *, journal: Path | None = None, world: Path) -> Place:
    """What ``memory`` means: a folder, None, or ``http://host:port`` of ``chroma run``.

    A server holds the vectors alone. The journal, which is the truth, stays in the folder ``journal``, by default
    one in the platform's place for such data that belongs to the folder of the ``world``.

    Raises MemoryStoreError ``memory_misplaced``: a journal of its own is for a server.
    """
    if isinstance(memory, str) and is_server(memory):
        return Place(journal if journal is not None else memory_folder(world), f"chroma:{memory.rstrip('/')}")
    if journal is not None and memory is not None and Path(memory) != journal:
        raise MemoryStoreError(
            f"Memory is to lie in {os.fspath(memory)}, and its journal in {journal}.",
            hint="A journal of its own goes with a server: memory http://host:port.",
            code="memory_misplaced",
        )
    return Place(journal if memory is None else Path(memory))


def memory_folder(world: Path) -> Path:
    """The usual folder for the journal of a world: in ``$NPCSDK_MEMORY``, or where the platform keeps such data."""
    named = os.environ.get("NPCSDK_MEMORY")
    if named:
        base = Path(named)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "npcsdk" / "memory"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support" / "npcsdk" / "memory"
    else:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        base = Path(data) / "npcsdk" / "memory"
    where = world.resolve()
    return base / f"{where.name or 'world'}-{hashlib.sha256(str(where).encode()).hexdigest()[:8]}"
