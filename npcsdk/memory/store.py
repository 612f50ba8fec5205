"""The journal's database: opening, schema, transactions, and SQLite's errors turned into ours."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.owner import Ownership

__all__ = ["FILE_NAME", "SALVAGED", "Store", "exchange"]

SCHEMA_VERSION = 3
APPLICATION_ID = 0x6E706373  # "npcs": tells our file from any other SQLite database
FILE_NAME = "journal.sqlite3"
SALVAGED = "journal.salvaged-{}.sqlite3"
"""A new journal, whole, that is to take the place of a damaged one: see `exchange`."""
_ASIDE = "journal.damaged-{}.sqlite3"
_ROOM = 4_300_000  # bytes: SQLite begins the log anew after 1,000 pages

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE timelines (
    id INTEGER PRIMARY KEY, parent INTEGER REFERENCES timelines(id), fork INTEGER, real_time REAL NOT NULL
);
CREATE TABLE slots (
    name TEXT PRIMARY KEY, timeline INTEGER NOT NULL REFERENCES timelines(id),
    position INTEGER NOT NULL, real_time REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, timeline INTEGER NOT NULL REFERENCES timelines(id),
    npc TEXT NOT NULL, interlocutor TEXT NOT NULL, conversation TEXT NOT NULL, turn TEXT NOT NULL,
    kind TEXT NOT NULL, origin TEXT NOT NULL, game_time REAL NOT NULL, real_time REAL NOT NULL,
    place TEXT NOT NULL, importance REAL NOT NULL, text TEXT NOT NULL, data TEXT
);
CREATE INDEX records_by_npc ON records (npc, seq) WHERE kind <> 'transcript';
CREATE INDEX records_by_conversation ON records (conversation, seq) WHERE kind = 'transcript'
"""
_SINCE = {
    2: """
CREATE INDEX records_by_value ON records (npc, interlocutor, seq) WHERE kind = 'value';
CREATE INDEX records_by_summary ON records (conversation, seq) WHERE kind = 'summary';
CREATE TABLE marks (
    seq INTEGER PRIMARY KEY REFERENCES records(seq) ON DELETE CASCADE,
    uses INTEGER NOT NULL DEFAULT 0, pinned INTEGER NOT NULL DEFAULT 0
)
""",
    # `start`: a timeline's records lie behind it. 0, which is always true, for timelines older than this version.
    3: """
ALTER TABLE timelines ADD COLUMN start INTEGER NOT NULL DEFAULT 0;
CREATE INDEX records_by_fact ON records (npc, seq) WHERE kind = 'fact'
""",
}


def exchange(directory: Path) -> list[Path]:
    """Puts a salvaged journal in the place of the damaged one: where the damaged one lies now.

    It goes on where it was interrupted: as long as the new one has its own name, it is not in its place.
    """
    kept: list[Path] = []
    for new in sorted(directory.glob(SALVAGED.format("*"))):
        stamp = new.name.removeprefix(SALVAGED.partition("{")[0]).removesuffix(".sqlite3")
        aside = directory / _ASIDE.format(stamp)
        # The log first: it must never lie beside a journal that is not its own.
        for suffix in ("-wal", "-shm", ""):
            old = directory / f"{FILE_NAME}{suffix}"
            if old.exists():
                old.replace(directory / f"{aside.name}{suffix}")
        new.replace(directory / FILE_NAME)
        kept.append(aside)
    return kept


def _exchange(directory: Path) -> None:
    try:
        exchange(directory)
    except OSError as error:
        raise MemoryStoreError(
            f"The journal that was salvaged in {directory} cannot be put in its place: {error}.",
            hint="Check the folder's permissions, and that no other program has its files open.",
            code="memory_unwritable",
        ) from error


class Store:
    """Opens ``directory`` (made when missing), or a database that lives in this process only for None.

    ``lock`` guards ``db``: hold it around every use. Raises MemoryStoreError, see `Journal`.
    """

    def __init__(self, directory: Path | None) -> None:
        self.lock = threading.RLock()
        self._directory = directory
        self._where = "in-memory journal" if directory is None else str(directory / FILE_NAME)
        self._owner: Ownership | None = None
        self._closed = False
        self._roomy = directory is None
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MemoryStoreError(
                    f"The memory folder {directory} cannot be made: {error}.",
                    hint="Check the path and its permissions, or choose another folder for memory.",
                    code="memory_unwritable",
                ) from error
            self._owner = Ownership(directory)
        try:
            if directory is not None:
                _exchange(directory)
            with self.translated():
                # Transactions are explicit: the module's own would hide where a write becomes durable.
                self.db = sqlite3.connect(
                    ":memory:" if directory is None else directory / FILE_NAME,
                    isolation_level=None,
                    check_same_thread=False,
                )
                try:
                    self._prepare()
                except BaseException:
                    self.db.close()
                    raise
        except BaseException:
            if self._owner is not None:
                self._owner.release()
            raise

    def meta(self) -> dict[str, str]:
        """All of the journal's own settings."""
        return {str(key): str(value) for key, value in self.db.execute("SELECT key, value FROM meta")}

    def set_meta(self, key: str, value: str) -> None:
        """Writes one of them, in the transaction that is open."""
        self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing, mostly."""
        with self.lock, self.translated():
            found = [str(row[0]) for row in self.db.execute("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else found

    def scrub(self) -> None:
        """Leaves nothing of deleted records in the file, its write-ahead log, and damaged files beside it."""
        self.drop_damaged()
        with self.lock, self.translated():
            self.db.execute("VACUUM")
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def drop_damaged(self) -> None:
        """Deletes damaged files that were kept when a journal was salvaged: nothing can be taken out of them."""
        if self._directory is not None:
            for path in self._directory.glob(_ASIDE.format("*") + "*"):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise MemoryStoreError(
                        f"The damaged file {path} cannot be deleted: {error}.",
                        hint="It may tell of who is to be forgotten: delete it by hand.",
                        code="forget_unfinished",
                    ) from error

    def make_room(self) -> None:
        """Makes the write-ahead log as long as it will be before it is used again from its beginning. Once is enough.

        A commit that lengthens a file waits for the file system's own journal, too; one that overwrites, for itself
        alone: a seventh less on ext4.
        """
        with self.lock:
            if self._roomy or self._closed:
                return
            self._roomy, db = True, self.db
            cache = int(db.execute("PRAGMA cache_size").fetchone()[0])
            db.execute("PRAGMA cache_size = 10")  # what does not fit goes to the log at once
            try:
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO meta (key, value) VALUES ('room', zeroblob(?))", (_ROOM,))
            except sqlite3.Error:
                pass  # a full disk, say: whoever writes will be told
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                db.execute(f"PRAGMA cache_size = {cache}")

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets the folder go. May be called again."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            self.db.close()
            if self._owner is not None:
                self._owner.release()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All or nothing; on disk when it ends. Hold the lock."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself already (disk full, I/O error)
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def translated(self) -> Generator[None, None, None]:
        """Turns SQLite's errors into ours, once, here."""
        if self._closed:
            raise MemoryStoreError(
                "Memory has been closed.", hint="Open the world again.", code="memory_closed"
            )
        try:
            yield
        except json.JSONDecodeError as error:  # of a record's data: SQLite does not know what it keeps
            raise MemoryStoreError(
                f"{self._where}: the data of a record is damaged ({error}).",
                hint=_SALVAGE.format(self._directory),
                code="journal_damaged",
            ) from error
        except sqlite3.Error as error:
            number = getattr(error, "sqlite_errorcode", 0) & 0xFF
            code, hint = _FAILURES.get(number, ("journal_failed", "See the message; nothing was written."))
            if str(error).startswith("Could not decode"):  # it has no number
                code = "journal_damaged"
            if code == "journal_damaged":
                hint = _SALVAGE.format(self._directory)
            raise MemoryStoreError(f"{self._where}: {error}.", hint=hint, code=code) from error

    # -- inside

    def _prepare(self) -> None:
        db = self.db
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS alone: a plain fsync leaves data in the drive's cache
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        application = int(db.execute("PRAGMA application_id").fetchone()[0])
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty:
            self._create()
        elif application != APPLICATION_ID:
            raise MemoryStoreError(
                f"{self._where} is an SQLite database, but not a journal.",
                hint="Choose an empty folder for memory.",
                code="journal_foreign",
            )
        elif version > SCHEMA_VERSION:
            raise MemoryStoreError(
                f"{self._where} was written by a newer version (schema {version}, known: {SCHEMA_VERSION}).",
                hint="Update npcsdk, or choose another folder for memory.",
                code="journal_newer",
            )
        elif version < SCHEMA_VERSION:
            with self.transaction():
                self._extend(version)

    def _create(self) -> None:
        with self.transaction():
            # executescript would commit on its own; the schema must appear whole or not at all
            for statement in _SCHEMA.split(";"):
                self.db.execute(statement)
            self.db.execute(
                "INSERT INTO timelines (id, parent, fork, real_time) VALUES (1, NULL, NULL, ?)",
                (time.time(),),
            )
            self.set_meta("id", uuid.uuid4().hex)
            self.set_meta("timeline", "1")
            self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._extend(1)

    def _extend(self, version: int) -> None:
        for newer in range(version + 1, SCHEMA_VERSION + 1):
            for statement in _SINCE[newer].split(";"):
                self.db.execute(statement)
        self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


_UNWRITABLE = ("memory_unwritable", "Check the folder's permissions, or choose another folder for memory.")
_SALVAGE = (
    'Run `npcsdk memory --doctor --memory "{}"`: what can be read gets a new journal, and this one is kept.'
)
_DAMAGED = ("journal_damaged", _SALVAGE)
_FAILURES = {
    sqlite3.SQLITE_FULL: (
        "disk_full",
        "Free some space: what was acknowledged is kept, this was not written.",
    ),
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_PERM: _UNWRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_IOERR: ("journal_failed", "The disk did not answer; check it, then open the world again."),
    sqlite3.SQLITE_BUSY: ("memory_in_use", "Another program holds the journal; close it."),
}
