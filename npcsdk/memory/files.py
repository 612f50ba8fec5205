"""One file, read or replaced whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from npcsdk.errors import MemoryStoreError

__all__ = ["read_file", "write_file"]


def write_file(file: Path, content: bytes) -> None:
    """Puts ``content`` into ``file``: it is on disk when this returns, and a crash leaves the old one.

    Raises MemoryStoreError ``save_unwritable``.
    """
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise MemoryStoreError(
            f"{file} cannot be written: {error}.",
            hint="Check that the folder exists, its permissions and the free space.",
            code="save_unwritable",
        ) from error


def read_file(file: Path) -> bytes:
    """The content of ``file``. Raises MemoryStoreError ``save_unreadable``."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise MemoryStoreError(
            f"{file} cannot be read: {error}.", hint="Check the path.", code="save_unreadable"
        ) from error
