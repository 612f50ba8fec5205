"""One process owns a memory folder; a second one is told who does.

The lock is SQLite's own, held on a file of its own: it works on every system that Python runs on and the
operating system drops it when the process dies, however it dies, so no stale lock has to be guessed at.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from npcsdk.errors import MemoryStoreError

__all__ = ["Ownership"]

_LOCK = "owner.lock"
_PID = "owner.pid"


class Ownership:
    """The right to write in ``folder``, from construction to `release`.

    Raises MemoryStoreError ``memory_in_use``, naming the pid, while another owner lives, and
    ``memory_unwritable`` when the lock file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._pid_file = folder / _PID
        try:
            # autocommit mode; the reserved lock below is held by an open transaction that writes nothing
            self._lock = sqlite3.connect(
                folder / _LOCK, timeout=0.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._lock.execute("BEGIN IMMEDIATE")
                self._pid_file.write_text(str(os.getpid()), encoding="ascii")
            except BaseException:
                self._lock.close()
                raise
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._in_use(folder) from None
            raise self._unwritable(folder, error) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unwritable(folder, error) from error

    def release(self) -> None:
        """Lets another process have the folder. Calling it again does nothing."""
        with contextlib.suppress(OSError):
            if self._pid_file.read_text(encoding="ascii") == str(os.getpid()):
                self._pid_file.unlink()
        self._lock.close()

    def _in_use(self, folder: Path) -> MemoryStoreError:
        try:
            pid = self._pid_file.read_text(encoding="ascii").strip() or "unknown"
        except OSError:
            pid = "unknown"  # the owner is between taking the lock and writing its pid
        mine = " (this process)" if pid == str(os.getpid()) else ""
        return MemoryStoreError(
            f"The memory folder {folder} is in use by the process with pid {pid}{mine}.",
            hint="End that process, or give this one a memory folder of its own.",
            code="memory_in_use",
        )

    @staticmethod
    def _unwritable(folder: Path, error: Exception) -> MemoryStoreError:
        return MemoryStoreError(
            f"The memory folder {folder} cannot be written: {error}.",
            hint="Check the folder's permissions, or choose another folder for memory.",
            code="memory_unwritable",
        )
