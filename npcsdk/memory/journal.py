"""The journal: an append-only record of everything that characters experienced. The truth.

One SQLite file per world (WAL, synchronous=FULL): when `Journal.append` returns, the records are on disk.
Whatever else memory keeps (word index, vectors) is derived from it and may be thrown away.

Every record belongs to a timeline. `save` names a point, `load` forks a new timeline there, and a write
that still names the abandoned timeline is refused.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.forgetting import Kept, Search
from npcsdk.memory.records import (
    COLUMNS,
    INSERT,
    TRANSCRIPT,
    Entry,
    Record,
    record_of,
    recorded,
    row_of,
)
from npcsdk.memory.savegame import SavedGame
from npcsdk.memory.slots import Slots
from npcsdk.memory.store import FILE_NAME, Store
from npcsdk.memory.timeline import View

__all__ = ["FILE_NAME", "TRANSCRIPT", "Entry", "Journal", "Record"]

# The first part is what the index on npc is made for, word by word, or SQLite would not use it.
_LIVED = "kind <> 'transcript' AND kind <> 'value' AND kind <> 'summary'"
_ERASING = "erasing"
_REMOVED = "removed"
_PAGE = 500  # records that are read or removed at a time, while a turn's write waits
_SEARCHED = 2_000  # positions that are searched at a time, for the same reason
_COLLECTED = 100  # records that are removed at a time by and by
_GIVE_WAY = 0.002  # seconds between them for whoever waits: a lock of Python's is not fair


class Journal:
    """Opens ``directory`` (made when missing), or a journal that lives in this process only for None.

    Safe to use from several threads. Raises MemoryStoreError with one of the codes ``memory_in_use``,
    ``memory_unwritable``, ``disk_full``, ``journal_damaged``, ``journal_newer``, ``journal_foreign``,
    ``text_invalid``, ``data_invalid``, ``timeline_abandoned``, ``slot_unknown``, ``memory_closed``,
    ``journal_failed``.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._store = store = Store(directory)
        try:
            with store.lock, store.translated():
                self._id = store.meta()["id"]
                self._slots = Slots(store)
                self._last = self._newest()
                self._unsettled: set[str] = set(json.loads(store.meta().get(_REMOVED, "[]")))
                self._removals = 0
        except BaseException:
            store.close()
            raise

    # -- writing

    def append(self, entries: Sequence[Entry], *, timeline: int | None = None) -> list[Record]:
        """Writes all of ``entries`` or none; they are on disk when this returns.

        ``timeline`` is the one on which the writer began its work (`timeline`); if a slot has been loaded
        since, the write belongs to what was un-done and is refused with ``timeline_abandoned``.
        """
        now = time.time()
        rows = [row_of(entry, now) for entry in entries]
        with self._open():
            current = self._slots.view.timeline
            if timeline is not None and timeline != current:
                raise MemoryStoreError(
                    f"This was written for timeline {timeline}, which was left when a saved game was loaded.",
                    hint="Drop it: it belongs to a future that was un-done.",
                    code="timeline_abandoned",
                )
            records: list[Record] = []
            with self._store.transaction():
                for entry, row in zip(entries, rows, strict=True):
                    cursor = self._store.db.execute(INSERT, (current, *row))
                    records.append(
                        recorded(entry, seq=cursor.lastrowid or 0, timeline=current, real_time=now)
                    )
            if records:
                self._last = records[-1].seq
            return records

    # -- timelines

    @property
    def id(self) -> str:
        """The journal's own identity, made once; what is derived from it carries this."""
        return self._id

    @property
    def timeline(self) -> int:
        """The timeline that is being written now."""
        return self._slots.view.timeline

    @property
    def view(self) -> View:
        """What the current timeline can see."""
        return self._slots.view

    @property
    def last(self) -> int:
        """The position of the newest record on any timeline; 0 in an empty journal."""
        return self._last

    def save(self, slot: str) -> None:
        """Names this moment. Saving under a name again moves the name."""
        with self._open():
            self._slots.save(slot, self._last)

    @property
    def forked(self) -> bool:
        """Whether there is more than one timeline."""
        return self._slots.forked

    @property
    def changes(self) -> int:
        """Grows whenever there may be something to `collect`."""
        return self._slots.changes

    def load(self, slot: str) -> int:
        """Goes back to a saved moment: forks a timeline there and returns it. One row is written."""
        with self._open():
            return self._slots.load(slot, self._last)

    def slots(self) -> list[str]:
        """The names of all saved moments, sorted."""
        with self._open():
            return self._slots.names()

    def delete_slot(self, slot: str) -> None:
        """Forgets the name of a saved moment; see `collect`."""
        with self._open():
            self._slots.delete(slot)

    def slot_records(self, slot: str) -> list[Record]:
        """Everything that a saved moment remembers, the oldest first."""
        with self._open():
            return self._slots.records(slot)

    def graft(self, saved: SavedGame, slot: str) -> int:
        """Takes in a saved game from elsewhere under the name ``slot``; how many records were written."""
        with self._open():
            written = self._slots.graft(saved, slot, self._last)
            self._last = self._newest()
            return written

    def collect(self, stop: Callable[[], bool] = lambda: False) -> dict[str, int]:
        """Removes what neither this timeline nor a slot can reach, some at a time: npc → how many records.

        Between the parts anything may be written, saved, loaded or taken in: then it looks again what can be reached.
        """
        removed: Counter[str] = Counter()
        while True:
            with self._open():
                changes, unreached = self._slots.changes, self._slots.unreached()
            parts = (
                (timeline, start, min(start + _COLLECTED, upto))
                for timeline, since, upto in unreached
                for start in range(since, upto, _COLLECTED)
            )
            for part in parts:
                if stop():
                    return dict(removed)
                with self._open():
                    if self._slots.changes != changes:
                        break
                    removed.update(self._slots.remove(*part, self._unsettle))
                time.sleep(_GIVE_WAY)
            with self._open():
                if self._slots.changes == changes:
                    self._slots.drop_timelines()
                    return dict(removed)

    def unsettled(self) -> tuple[frozenset[str], int]:
        """The npcs of whom records were removed that what is derived may still have, also before a crash.

        The number is for `settle`.
        """
        with self._open():
            return frozenset(self._unsettled), self._removals

    def settle(self, removals: int) -> None:
        """What is derived has nothing any more of what had been removed when `unsettled` gave this number."""
        with self._open():
            if self._unsettled and removals == self._removals:
                with self._store.transaction():
                    self._store.db.execute("DELETE FROM meta WHERE key = ?", (_REMOVED,))
                self._unsettled.clear()

    def _unsettle(self, npcs: Iterable[str]) -> None:
        """In the transaction that removes records of ``npcs``."""
        self._removals += 1
        self._unsettled |= set(npcs)
        if self._unsettled:
            self._store.set_meta(_REMOVED, json.dumps(sorted(self._unsettled)))

    # -- forgetting

    def mark(self, uses: Mapping[int, int], pinned: Mapping[int, bool] | None = None) -> None:
        """Counts how often records were recalled, and pins some; positions that do not exist are ignored."""
        if not uses and not pinned:
            return
        add = "INSERT INTO marks (seq, uses) SELECT seq, ? FROM records WHERE seq = ? "
        pin = "INSERT INTO marks (seq, pinned) SELECT seq, ? FROM records WHERE seq = ? "
        with self._open(), self._store.transaction():
            self._store.db.executemany(
                f"{add} ON CONFLICT (seq) DO UPDATE SET uses = uses + excluded.uses",
                [(count, seq) for seq, count in uses.items()],
            )
            self._store.db.executemany(
                f"{pin} ON CONFLICT (seq) DO UPDATE SET pinned = excluded.pinned",
                [(int(yes), seq) for seq, yes in (pinned or {}).items()],
            )

    def kept(self, npc: str) -> list[Kept]:
        """What decides which of an npc's records to keep, on every timeline; no transcripts."""
        found: list[Kept] = []
        with self._open():
            reached = self._slots.reached()
        rows: list[Any] = []
        while not found or len(rows) == _PAGE:
            with self._open():  # a turn that wants to write waits for no more than a page
                rows = self._store.db.execute(
                    "SELECT seq, game_time, importance, coalesce(uses, 0), coalesce(pinned, 0), timeline "
                    f"FROM records LEFT JOIN marks USING (seq) WHERE npc = ? AND seq > ? AND {_LIVED} "
                    "ORDER BY seq LIMIT ?",
                    (npc, found[-1].seq if found else 0, _PAGE),
                ).fetchall()
            if not rows:
                break
            found += [
                Kept(seq, at, importance, uses, bool(pinned), seq <= reached.get(timeline, -1))
                for seq, at, importance, uses, pinned, timeline in rows
            ]
        return found

    def count(self, npc: str) -> int:
        """How many records an npc has, on every timeline; no transcripts."""
        with self._open():
            row = self._store.db.execute(
                f"SELECT count(*) FROM records WHERE npc = ? AND {_LIVED}", (npc,)
            ).fetchone()
        return int(row[0])

    def remove(self, seqs: Sequence[int], npcs: Iterable[str] = ()) -> None:
        """Deletes records of ``npcs``, some at a time; on disk when this returns."""
        for start in range(0, len(seqs), _PAGE):
            with self._open(), self._store.transaction():
                self._unsettle(npcs)
                part = [(seq,) for seq in seqs[start : start + _PAGE]]
                self._store.db.executemany("DELETE FROM records WHERE seq = ?", part)

    def traces(self, tells: Callable[[Record], bool]) -> list[Record]:
        """The records of any kind, on any timeline, for which ``tells`` holds."""
        found: list[Record] = []
        last = 0
        while records := self._select("WHERE seq > ? ORDER BY seq LIMIT 1000", (last,), visible=False):
            found += filter(tells, records)
            last = records[-1].seq
        return found

    def traces_of(self, person: str) -> list[int]:
        """The positions of all that tells of a person (`forgetting.tells_of`), and of what was made of that."""
        search = Search(person)
        columns = ("text", "conversation", "turn", "place")
        texts = " || ?1 || ".join(columns)
        likely = ""
        if search.like is not None:
            # SQLite knows upper and lower case of ASCII alone, and texts up to their first NUL.
            other = (f"length(CAST({name} AS BLOB)) <> length({name})" for name in columns)
            named = (f"{name} LIKE ?5 ESCAPE '!'" for name in (*columns, "data"))
            likely = f"AND (interlocutor = ?2 OR instr(data, '\\') OR {' OR '.join((*named, *other))})"
        told: list[int] = []
        for start in range(0, self._last, _SEARCHED):
            with self._open():
                rows = self._store.db.execute(
                    f"SELECT seq, interlocutor = ?2 AND ?2 <> '', {texts}, data FROM records "
                    f"WHERE seq > ?3 AND seq <= ?4 {likely} ORDER BY seq",
                    (search.separator, person, start, start + _SEARCHED, search.like)[: 5 if likely else 4],
                ).fetchall()
            told += search.among(rows)
        # What a model made of what is erased may tell of it in other words.
        with self._open():
            talks: set[str] = set()
            for start in range(0, len(told), _PAGE):
                part = told[start : start + _PAGE]
                talks.update(
                    row[0]
                    for row in self._store.db.execute(
                        f"SELECT DISTINCT conversation FROM records WHERE seq IN ({','.join('?' * len(part))})",
                        part,
                    )
                )
            made = [
                seq
                for seq, talk in self._store.db.execute(
                    "SELECT seq, conversation FROM records WHERE kind = 'summary' AND conversation <> ''"
                )
                if talk in talks
            ]
        return sorted({*told, *made})

    def make_room(self) -> None:
        """Makes later writes quicker, see `Store.make_room`; takes some ten milliseconds, once."""
        self._store.make_room()

    def erasing(self) -> None:
        """What is removed from now on is to leave no trace in anything; holds until `erased`, also after a crash."""
        with self._open(), self._store.transaction():
            self._store.set_meta(_ERASING, "yes")

    def erased(self) -> None:
        """No trace is left."""
        with self._open(), self._store.transaction():
            self._store.db.execute("DELETE FROM meta WHERE key = ?", (_ERASING,))

    @property
    def half_erased(self) -> bool:
        """Whether `erasing` did not come to its end."""
        with self._open():
            return _ERASING in self._store.meta()

    def scrub(self) -> None:
        """Leaves nothing of deleted records in the files."""
        self._store.scrub()

    def drop_damaged(self) -> None:
        """Deletes the damaged files that were kept beside the journal."""
        self._store.drop_damaged()

    def check(self) -> list[str]:
        """What is wrong with the file; nothing, mostly."""
        return self._store.check()

    # -- reading

    def of_npc(self, npc: str, *, after: int = 0, limit: int = -1) -> list[Record]:
        """What ``npc`` experienced behind ``after``, on every timeline, in order; no transcripts."""
        return self._select(
            f"WHERE npc = ? AND seq > ? AND {_LIVED} ORDER BY seq LIMIT ?", (npc, after, limit), visible=False
        )

    def newest(self, npc: str, limit: int, *, kind: str | None = None) -> list[Record]:
        """The last ``limit`` records of ``npc`` that the current timeline sees, in order; no transcripts.

        ``kind``: of this kind alone. It takes as long as there are records to give, however many there are.
        """
        which = (
            _LIVED if kind is None else f"kind = '{kind}'"
        )  # as the index has it, or SQLite would not use it
        found: list[Record] = []
        with self._open():
            for timeline, since, upto in self._slots.ranges():
                rows = self._store.db.execute(
                    f"SELECT {COLUMNS} FROM records WHERE npc = ? AND seq > ? AND seq <= ? AND timeline = ? "
                    f"AND {which} ORDER BY seq DESC LIMIT ?",
                    (npc, since, upto, timeline, limit - len(found)),
                )
                found += map(record_of, rows)
                if len(found) >= limit:
                    break
        return sorted(found, key=lambda record: record.seq)

    def visible(self, npc: str | None) -> list[Record]:
        """Everything of ``npc`` (None: of everybody) that the current timeline can see, transcripts included."""
        if npc is None:
            return self._select("ORDER BY seq", (), visible=True)
        return self._select("WHERE npc = ? ORDER BY seq", (npc,), visible=True)

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

    def summary(self, conversation: str) -> Record | None:
        """The newest summary of a conversation that the current timeline can see."""
        found = self._select(
            "WHERE conversation = ? AND kind = 'summary' ORDER BY seq", (conversation,), visible=True
        )
        return found[-1] if found else None

    def values(self, npc: str, interlocutor: str) -> list[Record]:
        """The numbers set for the two that the current timeline can see, oldest first."""
        return self._select(
            "WHERE npc = ? AND interlocutor = ? AND kind = 'value' ORDER BY seq",
            (npc, interlocutor),
            visible=True,
        )

    def counts(self, *, upto: int) -> dict[str, int]:
        """How many records (no transcripts) each npc has at positions up to ``upto``."""
        with self._open():
            rows = self._store.db.execute(
                f"SELECT npc, count(*) FROM records WHERE {_LIVED} AND seq <= ? GROUP BY npc",
                (upto,),
            ).fetchall()
        return {str(npc): int(count) for npc, count in rows}

    def positions(self, npc: str, *, upto: int) -> list[int]:
        """The positions of an npc's records (no transcripts) up to ``upto``, ascending."""
        with self._open():
            rows = self._store.db.execute(
                f"SELECT seq FROM records WHERE npc = ? AND seq <= ? AND {_LIVED} ORDER BY seq",
                (npc, upto),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def after(self, position: int, *, limit: int) -> list[Record]:
        """The next ``limit`` records (no transcripts) of anybody, on every timeline."""
        return self._select(
            f"WHERE seq > ? AND {_LIVED} ORDER BY seq LIMIT ?", (position, limit), visible=False
        )

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets the folder go. May be called again."""
        self._store.close()

    # -- inside

    @contextmanager
    def _open(self) -> Generator[None, None, None]:
        with self._store.lock, self._store.translated():
            yield

    def _newest(self) -> int:
        # Not max(seq): the newest records may have been forgotten, and positions are never used again.
        row = self._store.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        return int(row[0]) if row else 0

    def _select(self, clause: str, parameters: tuple[Any, ...], *, visible: bool) -> list[Record]:
        with self._open():
            rows = self._store.db.execute(f"SELECT {COLUMNS} FROM records {clause}", parameters).fetchall()
            view = self._slots.view
        with self._store.translated():
            return [record_of(row) for row in rows if not visible or view.sees(row[1], row[0])]
