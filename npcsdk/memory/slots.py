"""Saved moments in a journal: names, forks, what can still be reached, and moving them between machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.records import COLUMNS, INSERT, Record, check_text, record_of, row_of
from npcsdk.memory.savegame import SavedGame
from npcsdk.memory.store import Store
from npcsdk.memory.timeline import Fork, View, reach, view_of

__all__ = ["IMPORTED", "Slots"]

IMPORTED = "import:"
"""How the keys of settings begin that say where an imported game lies."""


class Slots:
    """The timelines of a journal's database and the names in it. Its owner holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._forks: dict[int, Fork] = {}
        self._starts: dict[int, int] = {}  # timeline → its records lie behind this position
        for timeline, parent, fork, start in store.db.execute(
            "SELECT id, parent, fork, start FROM timelines"
        ):
            self._starts[int(timeline)] = int(start)
            if parent is not None:
                self._forks[int(timeline)] = Fork(int(parent), int(fork))
        self.view: View = view_of(int(store.meta()["timeline"]), self._forks)
        """What the timeline that is being written can see."""
        self.changes = 0
        """Grows whenever other records than before can be reached."""

    @property
    def forked(self) -> bool:
        """Whether there is more than one timeline."""
        return len(self._starts) > 1

    def names(self) -> list[str]:
        """All names, sorted."""
        return [str(row[0]) for row in self._store.db.execute("SELECT name FROM slots ORDER BY name")]

    def save(self, slot: str, position: int) -> None:
        """Names ``position`` on the current timeline; a name that exists moves."""
        check_text("slot", slot)
        self.changes += slot in self.names()
        with self._store.transaction():
            self._name(slot, self.view.timeline, position)

    def ranges(self) -> list[tuple[int, int, int]]:
        """Where the records lie that the current timeline sees: timelines, newest first, from behind where to where."""
        found: list[tuple[int, int, int]] = []
        for timeline, limit in self.view.limits.items():
            fork = self._forks.get(timeline)
            since = max(self._starts.get(timeline, 0), 0 if fork is None else fork.position)
            found.append((timeline, since, limit))
        return found

    def load(self, slot: str, newest: int) -> int:
        """Forks a timeline at a named moment, goes there and returns it. One row is written.

        ``newest`` is the journal's last position.
        """
        parent, position = self._point(slot)
        self.changes += 1
        # A fork of a fork that wrote nothing is a fork of its parent: loading the same slot a
        # thousand times does not make an ancestry of a thousand.
        while (fork := self._forks.get(parent)) is not None and not self._wrote(parent, position):
            parent, position = fork.parent, min(position, fork.position)
        with self._store.transaction():
            cursor = self._store.db.execute(
                "INSERT INTO timelines (parent, fork, real_time, start) VALUES (?, ?, ?, ?)",
                (parent, position, time.time(), newest),
            )
            timeline = cursor.lastrowid or 0
            self._store.set_meta("timeline", str(timeline))
        self._forks[timeline] = Fork(parent, position)
        self._starts[timeline] = newest
        self.view = view_of(timeline, self._forks)
        return timeline

    def delete(self, slot: str) -> None:
        """Forgets a name; what only it could reach stays until it is collected."""
        self._point(slot)
        self.changes += 1
        with self._store.transaction():
            self._store.db.execute("DELETE FROM slots WHERE name = ?", (slot,))

    def records(self, slot: str) -> list[Record]:
        """Everything that a named moment remembers, the oldest first."""
        timeline, position = self._point(slot)
        view = view_of(timeline, self._forks, upto=position)
        found: list[Record] = []
        for each, limit in view.limits.items():
            rows = self._store.db.execute(
                f"SELECT {COLUMNS} FROM records WHERE timeline = ? AND seq <= ?", (each, limit)
            )
            found += map(record_of, rows)
        return sorted(found, key=lambda record: record.seq)

    def graft(self, saved: SavedGame, slot: str, newest: int) -> int:
        """Writes a saved game from elsewhere on a timeline of its own, named ``slot``; how many records.

        One that is here already, unchanged, is only named.
        """
        check_text("slot", slot)
        self.changes += 1
        key = IMPORTED + saved.digest
        known = self._store.meta().get(key, "").partition(":")
        if known[0]:
            timeline, position = int(known[0]), int(known[2])
            row = self._store.db.execute(
                "SELECT count(*) FROM records WHERE timeline = ? AND seq <= ?", (timeline, position)
            ).fetchone()
            if int(row[0]) == len(saved.records) and self._exists(timeline):
                with self._store.transaction():
                    self._name(slot, timeline, position)
                return 0
        rows = [row_of(entry, real_time) for entry, real_time in saved.records]
        with self._store.transaction():
            cursor = self._store.db.execute(
                "INSERT INTO timelines (parent, fork, real_time, start) VALUES (NULL, NULL, ?, ?)",
                (time.time(), newest),
            )
            timeline, position = cursor.lastrowid or 0, 0
            for row in rows:
                position = self._store.db.execute(INSERT, (timeline, *row)).lastrowid or 0
            self._name(slot, timeline, position)
            self._store.set_meta(key, f"{timeline}:{position}")
        self._starts[timeline] = newest
        return len(rows)

    def unreached(self) -> list[tuple[int, int, int]]:
        """What neither the current timeline nor a name can reach: timelines, from behind where to where at most."""
        reached = self.reached()
        newest = int(self._store.db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])
        found: list[tuple[int, int, int]] = []
        upto = newest  # where the timeline after it began: then it was left for good
        for (timeline,) in self._store.db.execute("SELECT id FROM timelines ORDER BY id DESC").fetchall():
            since = max(reached.get(timeline, -1), self._starts.get(timeline, 0))
            if since < upto:
                found.append((int(timeline), since, upto))
            if timeline in self._forks and self._starts.get(timeline, 0):  # an import is not lived on
                upto = min(upto, self._starts[timeline])
        return found

    def remove(
        self, timeline: int, since: int, upto: int, also: Callable[[Iterable[str]], None]
    ) -> dict[str, int]:
        """Removes a timeline's records behind ``since`` up to ``upto``: npc → how many.

        ``also`` is done by the same commit, if there are any; it gets their npcs.
        """
        where = (since, upto, timeline)
        with self._store.transaction():
            rows = self._store.db.execute(
                "SELECT npc, count(*) FROM records WHERE seq > ? AND seq <= ? AND timeline = ? GROUP BY npc",
                where,
            ).fetchall()
            if rows:
                also(str(row[0]) for row in rows)
                self._store.db.execute(
                    "DELETE FROM records WHERE seq > ? AND seq <= ? AND timeline = ?", where
                )
        return {str(npc): int(count) for npc, count in rows}

    def drop_timelines(self) -> None:
        """Forgets the timelines that nothing can reach; their records are removed."""
        reached = self.reached()
        rows = self._store.db.execute("SELECT id FROM timelines ORDER BY id DESC").fetchall()
        gone = [int(row[0]) for row in rows if int(row[0]) not in reached]  # children before their parents
        # Or SQLite would look through all records, for each of them, whether one belongs to it.
        self._store.db.execute("PRAGMA foreign_keys = OFF")
        try:
            with self._store.transaction():
                for timeline in gone:
                    self._store.db.execute("DELETE FROM timelines WHERE id = ?", (timeline,))
                self._drop_imports(gone)
        finally:
            self._store.db.execute("PRAGMA foreign_keys = ON")
        for timeline in gone:
            self._forks.pop(timeline, None)
            self._starts.pop(timeline, None)

    def reached(self) -> dict[int, int]:
        """For each timeline that the current one or a name can see, up to which position."""
        views = [self.view]
        for timeline, position in self._store.db.execute("SELECT timeline, position FROM slots"):
            views.append(view_of(int(timeline), self._forks, upto=int(position)))
        return reach(views)

    # -- inside

    def _name(self, slot: str, timeline: int, position: int) -> None:
        self._store.db.execute(
            "INSERT INTO slots (name, timeline, position, real_time) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET timeline = excluded.timeline, "
            "position = excluded.position, real_time = excluded.real_time",
            (slot, timeline, position, time.time()),
        )

    def _point(self, slot: str) -> tuple[int, int]:
        check_text("slot", slot)
        row = self._store.db.execute(
            "SELECT timeline, position FROM slots WHERE name = ?", (slot,)
        ).fetchone()
        if row is None:
            raise MemoryStoreError(
                f"There is no saved game named {slot!r}.",
                hint=f"Saved: {', '.join(self.names()) or 'none'}.",
                code="slot_unknown",
            )
        return int(row[0]), int(row[1])

    def _exists(self, timeline: int) -> bool:
        row = self._store.db.execute("SELECT 1 FROM timelines WHERE id = ?", (timeline,)).fetchone()
        return row is not None

    def _wrote(self, timeline: int, upto: int) -> bool:
        since = max(self._forks[timeline].position, self._starts.get(timeline, 0))
        row = self._store.db.execute(
            "SELECT 1 FROM records WHERE timeline = ? AND seq > ? AND seq <= ? LIMIT 1",
            (timeline, since, upto),
        ).fetchone()
        return row is not None

    def _drop_imports(self, gone: Iterable[int]) -> None:
        unreachable = set(gone)
        meta: Mapping[str, str] = self._store.meta()
        for key, value in meta.items():
            if key.startswith(IMPORTED) and int(value.partition(":")[0]) in unreachable:
                self._store.db.execute("DELETE FROM meta WHERE key = ?", (key,))
