"""The journal: an append-only record of everything that characters experienced. The truth.

One SQLite file per world (WAL, synchronous=FULL): when `Journal.append` returns, the records are on disk.
Whatever else memory keeps (word index, vectors) is derived from it and may be thrown away.

Every record belongs to a timeline. `save` names a point, `load` forks a new timeline there, and a write
that still names the abandoned timeline is refused.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.owner import Ownership
from npcsdk.memory.timeline import Fork, View, view_of

__all__ = ["TRANSCRIPT", "Entry", "Journal", "Record"]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6E706373  # "npcs": tells our file from any other SQLite database
FILE_NAME = "journal.sqlite3"
TRANSCRIPT = "transcript"
"""The kind of a record that holds a whole turn for a conversation's history; it is never recalled."""

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
CREATE INDEX records_by_conversation ON records (conversation, seq) WHERE kind = 'transcript';
"""
_COLUMNS = (
    "seq, timeline, npc, interlocutor, conversation, turn, kind, origin, game_time, real_time, place, "
    "importance, text, data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be written. ``at`` is game time in seconds; ``data`` is JSON-able."""

    npc: str
    interlocutor: str
    kind: str
    origin: str
    text: str = ""
    conversation: str = ""
    turn: str = ""
    at: float = 0.0
    place: str = ""
    importance: float = 0.5
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Entry):
    """What was written: an entry with its position, its timeline and the wall clock at that moment."""

    seq: int = field(default=0)
    timeline: int = field(default=0)
    real_time: float = field(default=0.0)


class Journal:
    """Opens ``directory`` (made when missing), or a journal that lives in this process only for None.

    Safe to use from several threads. Raises MemoryStoreError with one of the codes ``memory_in_use``,
    ``memory_unwritable``, ``disk_full``, ``journal_damaged``, ``journal_newer``, ``journal_foreign``,
    ``text_invalid``, ``data_invalid``, ``timeline_abandoned``, ``slot_unknown``, ``memory_closed``,
    ``journal_failed``.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._where = "in-memory journal" if directory is None else str(directory / FILE_NAME)
        self._owner: Ownership | None = None
        self._closed = False
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
            with self._translated():
                # Transactions are explicit: the module's own would hide where a write becomes durable.
                self._db = sqlite3.connect(
                    ":memory:" if directory is None else directory / FILE_NAME,
                    isolation_level=None,
                    check_same_thread=False,
                )
                try:
                    self._prepare()
                except BaseException:
                    self._db.close()
                    raise
        except BaseException:
            if self._owner is not None:
                self._owner.release()
            raise

    # -- writing

    def append(self, entries: Sequence[Entry], *, timeline: int | None = None) -> list[Record]:
        """Writes all of ``entries`` or none; they are on disk when this returns.

        ``timeline`` is the one on which the writer began its work (`timeline`); if a slot has been loaded
        since, the write belongs to what was un-done and is refused with ``timeline_abandoned``.
        """
        now = time.time()
        rows = [self._row(entry, now) for entry in entries]
        with self._lock, self._translated():
            current = self._view.timeline
            if timeline is not None and timeline != current:
                raise MemoryStoreError(
                    f"This was written for timeline {timeline}, which was left when a saved game was loaded.",
                    hint="Drop it: it belongs to a future that was un-done.",
                    code="timeline_abandoned",
                )
            records: list[Record] = []
            with self._transaction():
                for entry, row in zip(entries, rows, strict=True):
                    cursor = self._db.execute(
                        "INSERT INTO records (timeline, npc, interlocutor, conversation, turn, kind, origin, "
                        "game_time, real_time, place, importance, text, data) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (current, *row),
                    )
                    records.append(
                        Record(
                            seq=cursor.lastrowid or 0,
                            timeline=current,
                            real_time=now,
                            npc=entry.npc,
                            interlocutor=entry.interlocutor,
                            kind=entry.kind,
                            origin=entry.origin,
                            text=entry.text,
                            conversation=entry.conversation,
                            turn=entry.turn,
                            at=entry.at,
                            place=entry.place,
                            importance=entry.importance,
                            data=entry.data,
                        )
                    )
            if records:
                self._last = records[-1].seq
                self._written_here = True
            return records

    # -- timelines

    @property
    def id(self) -> str:
        """The journal's own identity, made once; what is derived from it carries this."""
        return self._id

    @property
    def timeline(self) -> int:
        """The timeline that is being written now."""
        return self._view.timeline

    @property
    def view(self) -> View:
        """What the current timeline can see."""
        return self._view

    @property
    def last(self) -> int:
        """The position of the newest record on any timeline; 0 in an empty journal."""
        return self._last

    def save(self, slot: str) -> None:
        """Names this moment. Saving under a name again moves the name."""
        self._check_text("slot", slot)
        with self._lock, self._translated(), self._transaction():
            self._db.execute(
                "INSERT INTO slots (name, timeline, position, real_time) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET timeline = excluded.timeline, "
                "position = excluded.position, real_time = excluded.real_time",
                (slot, self._view.timeline, self._last, time.time()),
            )

    def load(self, slot: str) -> int:
        """Goes back to a saved moment: forks a timeline there and returns it. One row is written."""
        self._check_text("slot", slot)
        with self._lock, self._translated():
            row = self._db.execute("SELECT timeline, position FROM slots WHERE name = ?", (slot,)).fetchone()
            if row is None:
                known = ", ".join(self.slots()) or "none"
                raise MemoryStoreError(
                    f"There is no saved game named {slot!r}.",
                    hint=f"Saved: {known}.",
                    code="slot_unknown",
                )
            parent, position = int(row[0]), int(row[1])
            # A fork of a fork that wrote nothing is a fork of its parent: loading the same slot a
            # thousand times does not make an ancestry of a thousand.
            while (fork := self._forks.get(parent)) is not None and not self._wrote(parent, position):
                parent, position = fork.parent, min(position, fork.position)
            with self._transaction():
                cursor = self._db.execute(
                    "INSERT INTO timelines (parent, fork, real_time) VALUES (?, ?, ?)",
                    (parent, position, time.time()),
                )
                timeline = cursor.lastrowid or 0
                self._set_meta("timeline", str(timeline))
            self._forks[timeline] = Fork(parent, position)
            self._view = view_of(timeline, self._forks)
            return timeline

    def slots(self) -> list[str]:
        """The names of all saved moments, sorted."""
        with self._lock, self._translated():
            return [str(row[0]) for row in self._db.execute("SELECT name FROM slots ORDER BY name")]

    # -- reading

    def of_npc(self, npc: str, *, after: int = 0) -> list[Record]:
        """What ``npc`` experienced, on every timeline, in order; no transcripts."""
        return self._select(
            "WHERE npc = ? AND seq > ? AND kind <> 'transcript' ORDER BY seq", (npc, after), visible=False
        )

    def read(self, seqs: Sequence[int]) -> dict[int, Record]:
        """The records at these positions; positions that do not exist are left out."""
        found: dict[int, Record] = {}
        for start in range(0, len(seqs), 500):  # SQLite's limit on parameters is 999 in old builds
            part = seqs[start : start + 500]
            marks = ",".join("?" * len(part))
            for record in self._select(f"WHERE seq IN ({marks})", tuple(part), visible=False):
                found[record.seq] = record
        return found

    def transcript(self, conversation: str) -> list[Record]:
        """The turns of a conversation that the current timeline can see, oldest first."""
        return self._select(
            "WHERE conversation = ? AND kind = 'transcript' ORDER BY seq", (conversation,), visible=True
        )

    def counts(self, *, upto: int) -> dict[str, int]:
        """How many records (no transcripts) each npc has at positions up to ``upto``."""
        with self._lock, self._translated():
            rows = self._db.execute(
                "SELECT npc, count(*) FROM records WHERE kind <> 'transcript' AND seq <= ? GROUP BY npc",
                (upto,),
            ).fetchall()
        return {str(npc): int(count) for npc, count in rows}

    def positions(self, npc: str, *, upto: int) -> list[int]:
        """The positions of an npc's records (no transcripts) up to ``upto``, ascending."""
        with self._lock, self._translated():
            rows = self._db.execute(
                "SELECT seq FROM records WHERE npc = ? AND seq <= ? AND kind <> 'transcript' ORDER BY seq",
                (npc, upto),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def after(self, position: int, *, limit: int) -> list[Record]:
        """The next ``limit`` records (no transcripts) of anybody, on every timeline."""
        return self._select(
            "WHERE seq > ? AND kind <> 'transcript' ORDER BY seq LIMIT ?", (position, limit), visible=False
        )

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets the folder go. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._db.close()
            if self._owner is not None:
                self._owner.release()

    # -- inside

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS alone: a plain fsync leaves data in the drive's cache
        db.execute("PRAGMA foreign_keys = ON")
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
        meta = {str(key): str(value) for key, value in db.execute("SELECT key, value FROM meta")}
        self._forks = {
            int(row[0]): Fork(int(row[1]), int(row[2]))
            for row in db.execute("SELECT id, parent, fork FROM timelines WHERE parent IS NOT NULL")
        }
        self._id = meta["id"]
        self._view = view_of(int(meta["timeline"]), self._forks)
        self._last = int(db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    def _create(self) -> None:
        with self._transaction():
            # executescript would commit on its own; the schema must appear whole or not at all
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(
                "INSERT INTO timelines (id, parent, fork, real_time) VALUES (1, NULL, NULL, ?)",
                (time.time(),),
            )
            self._set_meta("id", uuid.uuid4().hex)
            self._set_meta("timeline", "1")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def _wrote(self, timeline: int, upto: int) -> bool:
        fork = self._forks[timeline]
        row = self._db.execute(
            "SELECT 1 FROM records WHERE timeline = ? AND seq > ? AND seq <= ? LIMIT 1",
            (timeline, fork.position, upto),
        ).fetchone()
        return row is not None

    def _row(self, entry: Entry, now: float) -> tuple[Any, ...]:
        for name in ("npc", "interlocutor", "conversation", "turn", "kind", "origin", "place", "text"):
            self._check_text(name, getattr(entry, name))
        data = None
        if entry.data is not None:
            try:
                data = json.dumps(entry.data, allow_nan=False, separators=(",", ":"))
            except (TypeError, ValueError, RecursionError) as error:
                raise MemoryStoreError(
                    f"The data of a {entry.kind} of {entry.npc!r} cannot be stored: {error}.",
                    hint="Use strings, finite numbers, booleans, None, lists and dicts with string keys.",
                    code="data_invalid",
                ) from error
        for name, number in (("at", entry.at), ("importance", entry.importance)):
            if not (-1e300 < number < 1e300):  # also false for NaN, which SQLite would turn into NULL
                raise MemoryStoreError(
                    f"`{name}` of a {entry.kind} of {entry.npc!r} is {number}, not a finite number.",
                    hint="Give game time in seconds and importance between 0 and 1.",
                    code="data_invalid",
                )
        return (
            entry.npc,
            entry.interlocutor,
            entry.conversation,
            entry.turn,
            entry.kind,
            entry.origin,
            float(entry.at),
            now,
            entry.place,
            float(entry.importance),
            entry.text,
            data,
        )

    @staticmethod
    def _check_text(name: str, text: str) -> None:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MemoryStoreError(
                f"`{name}` has half of a surrogate pair at offset {error.start}; it is not valid Unicode text.",
                hint="Decode the engine's UTF-16 strings whole before handing them over.",
                code="text_invalid",
            ) from error

    def _select(self, clause: str, parameters: tuple[Any, ...], *, visible: bool) -> list[Record]:
        with self._lock, self._translated():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM records {clause}", parameters).fetchall()
            view = self._view
        return [_record(row) for row in rows if not visible or view.sees(row[1], row[0])]

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself already (disk full, I/O error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        """Turns SQLite's errors into ours, once, here."""
        if self._closed:
            raise MemoryStoreError(
                "Memory has been closed.", hint="Open the world again.", code="memory_closed"
            )
        try:
            yield
        except sqlite3.Error as error:
            number = getattr(error, "sqlite_errorcode", 0) & 0xFF
            code, hint = _FAILURES.get(number, ("journal_failed", "See the message; nothing was written."))
            raise MemoryStoreError(f"{self._where}: {error}.", hint=hint, code=code) from error


def _record(row: tuple[Any, ...]) -> Record:
    return Record(
        seq=row[0],
        timeline=row[1],
        npc=row[2],
        interlocutor=row[3],
        conversation=row[4],
        turn=row[5],
        kind=row[6],
        origin=row[7],
        at=row[8],
        real_time=row[9],
        place=row[10],
        importance=row[11],
        text=row[12],
        data=None if row[13] is None else json.loads(row[13]),
    )


_UNWRITABLE = ("memory_unwritable", "Check the folder's permissions, or choose another folder for memory.")
_DAMAGED = (
    "journal_damaged",
    "Restore the file from a backup, or move it aside to begin with an empty memory.",
)
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
