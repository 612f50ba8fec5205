"""Takes what can still be read of a damaged journal into a new one; the damaged file is kept beside it."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.journal import Journal
from npcsdk.memory.owner import Ownership
from npcsdk.memory.pages import Branch, Pages, Value, logged
from npcsdk.memory.records import COLUMNS
from npcsdk.memory.slots import IMPORTED
from npcsdk.memory.store import FILE_NAME, SALVAGED, Store, exchange

__all__ = ["Found", "Salvaged", "find", "heal", "salvage"]

_DAMAGED = ("journal_damaged", "journal_failed", "journal_foreign")
_BUILDING = "salvaging"
_INSERT = f"INSERT OR IGNORE INTO records ({COLUMNS}) VALUES ({', '.join('?' * 14)})"
_TEXT, _NUMBER, _REAL = (str,), (int,), (int, float)
# What the columns of a table's rows are; a row id's own column is None in the file.
_RECORD = ((type(None),), _NUMBER, *[_TEXT] * 6, _REAL, _REAL, _TEXT, _REAL, _TEXT, (str, type(None)))
_TIMELINE = ((type(None),), (int, type(None)), (int, type(None)), _REAL, _NUMBER)
_MARK = ((type(None),), _NUMBER, _NUMBER)
_SLOT = (_TEXT, _NUMBER, _NUMBER, _REAL)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What `salvage` has done."""

    records: int
    """How many are in the new journal, of any kind, on any timeline."""
    lost: Sequence[tuple[int, int]]
    """Positions of records that could not be read: from the first to the last of each run."""
    certain: bool
    """Whether just these are lost; otherwise some of them may have been forgotten before."""
    slots: int
    """Saved moments that are in the new journal."""
    slots_lost: bool
    """Whether some may be lost. What only they could reach is kept: see `slots` of the new journal."""
    timelines_lost: bool
    """Whether it is lost which records loading a saved game had un-done: they count as lived through."""
    kept: Path
    """The damaged file."""

    @property
    def count(self) -> int:
        """How many records are lost, at most."""
        return sum(last - first + 1 for first, last in self.lost)


@dataclass(slots=True)
class Found:
    """What `find` read, besides the records."""

    meta: dict[str, str] = field(default_factory=dict[str, str])
    timelines: dict[int, tuple[int | None, int | None, float, int]] = field(
        default_factory=dict[int, tuple[int | None, int | None, float, int]]
    )
    slots: dict[str, tuple[int, int, float]] = field(default_factory=dict[str, tuple[int, int, float]])
    marks: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    seqs: list[int] = field(default_factory=list[int])
    """The positions of the records that could be read, ascending."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """Timeline → its first and its last record of those."""
    listed: set[int] = field(default_factory=set[int])
    """The positions that the database's own indexes name."""
    suspect: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Behind where up to where records lie on pages that cannot be read."""
    newest: int = 0
    """The last position that was given to a record; as far as is known, where SQLite's own count is lost."""
    tables: dict[str, int] = field(default_factory=dict[str, int])
    """Table → the page where it begins, as far as the schema can be read."""
    unread: set[int] = field(default_factory=set[int])
    """Those of these pages that cannot be read."""

    def lost(self) -> tuple[list[tuple[int, int]], bool]:
        """The positions of lost records as runs, and whether that is certain."""
        held = self.seqs
        missing = self.listed.difference(held)
        sound = self.listed.issuperset(held)
        runs = _runs(sorted(missing))
        if sound:
            return runs, True
        # The indexes are damaged, too: what no page tells of may be lost as well.
        runs += [
            (max(after, since) + 1, min(before - 1, upto))
            for after, before in zip([0, *held], [*held, self.newest + 1], strict=True)
            if before - after > 1
            for since, upto in self.suspect or [(0, self.newest)]
            if max(after, since) + 1 <= min(before - 1, upto)
        ]
        return _merged(runs), False


def heal(directory: Path) -> Salvaged | None:
    """`salvage`, if the journal in ``directory`` is damaged; None for one that is not.

    Raises MemoryStoreError: it cannot be opened for another reason, or as `salvage` does.
    """
    try:
        journal = Journal(directory)
        try:
            if not journal.check():
                journal.traces(lambda record: False)  # SQLite does not know what a record's data should be
                return None
        finally:
            journal.close()
    except MemoryStoreError as error:
        if error.code not in _DAMAGED:
            raise
    return salvage(directory)


def salvage(directory: Path) -> Salvaged:
    """Makes a new journal of what can be read of the one in ``directory``, and puts it in the place of that.

    Nothing is changed before the new journal is on disk, whole. Saved moments, timelines and positions are kept, so
    the vector index goes on with what is left.

    Raises MemoryStoreError ``journal_foreign`` where no record can be read, and as `Journal` does.
    """
    owner = Ownership(directory)
    building = directory / _BUILDING
    try:
        shutil.rmtree(building, ignore_errors=True)
        with (directory / FILE_NAME).open("rb") as stream:
            log = directory / f"{FILE_NAME}-wal"
            pages = Pages(_Disk(stream), logged(log.read_bytes() if log.exists() else b""))
            found, slots_lost, timelines_lost = _build(pages, building)
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        (building / FILE_NAME).replace(directory / SALVAGED.format(stamp))
        kept = exchange(directory)[-1]
    except OSError as error:
        raise MemoryStoreError(
            f"The journal in {directory} cannot be taken over: {error}.",
            hint="Copy the folder to another disk and try it there.",
            code="journal_failed",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
        owner.release()
    lost, certain = found.lost()
    return Salvaged(
        records=len(found.seqs),
        lost=lost,
        certain=certain,
        slots=len(found.slots),
        slots_lost=slots_lost,
        timelines_lost=timelines_lost,
        kept=kept,
    )


class _Disk:
    """A file whose bytes are zeros where the disk does not give them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._length = stream.seek(0, 2)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._length)
        with suppress(OSError):
            self._stream.seek(start)
            return self._stream.read(stop - start)
        return bytes(stop - start)


def find(pages: Pages, take: Callable[[tuple[Any, ...]], object]) -> Found:
    """Reads every page; ``take`` gets each record once or more often, as a row of `records.COLUMNS`."""
    found = Found()
    seqs = array("q")
    holds: dict[int, bool] = {}  # page → whether it holds records
    broken: set[int] = set()  # pages of which a part can be read
    branches: dict[int, Branch] = {}
    for number in range(1, pages.count + 1):
        read = pages.read(number)
        if isinstance(read, Branch):
            branches[number] = read
        elif read is not None:
            if not read.whole:
                broken.add(number)
            for row, columns in read.rows:
                if read.index:
                    _index_row(found, columns)
                elif _fits(columns, _RECORD) and row > 0 and _is_json(columns[13]):
                    holds[number] = True
                    seqs.append(row)
                    line = cast("int", columns[1])
                    first, last = found.spans.get(line, (row, row))
                    found.spans[line] = min(first, row), max(last, row)
                    take((row, *columns[1:]))
                else:
                    holds.setdefault(number, False)
                    if not _table_row(found, row, columns):
                        broken.add(number)
    found.seqs = sorted(set(seqs))
    positions = [each[1] for each in found.slots.values()]
    found.newest = max([found.newest, *found.seqs[-1:], *found.listed, *positions, 0])
    found.suspect = _suspects(found, branches, holds, broken)
    found.unread = {
        page for page in found.tables.values() if page not in branches and pages.read(page) is None
    }
    return found


# -- rows


def _index_row(found: Found, columns: tuple[Value, ...]) -> None:
    """A row of `meta`, of `slots`, or of an index that names a record."""
    if _fits(columns, (_TEXT, _TEXT)):
        found.meta[str(columns[0])] = str(columns[1])
    elif _fits(columns, _SLOT) and len(columns) == 4:
        name, timeline, position, at = cast("tuple[str, int, int, float]", columns)
        found.slots[name] = timeline, position, float(at)
    elif len(columns) > 2 and isinstance(columns[-1], int) and columns[-2] == columns[-1] > 0:
        found.listed.add(columns[-1])


def _table_row(found: Found, row: int, columns: tuple[Value, ...]) -> bool:
    """A row of a small table; False for none that we know."""
    if _fits(columns, _TIMELINE) or _fits(columns, _TIMELINE[:4]):
        _, parent, fork, at, *start = cast("tuple[Any, ...]", columns)
        found.timelines[row] = parent, fork, float(at), start[0] if start else 0
    elif _fits(columns, _MARK):
        found.marks[row] = cast("tuple[int, int]", columns[1:])
    elif _fits(columns, (_TEXT, _NUMBER)):
        if columns[0] == "records":
            found.newest = max(found.newest, cast("int", columns[1]))
    elif len(columns) == 5 and columns[0] in ("table", "index") and isinstance(columns[3], int):
        found.tables[str(columns[1])] = columns[3]
    else:
        return False
    return True


def _fits(columns: Sequence[Value], kinds: Sequence[tuple[type, ...]]) -> bool:
    return len(columns) == len(kinds) and all(
        isinstance(value, kind) for value, kind in zip(columns, kinds, strict=True)
    )


def _is_json(data: Value) -> bool:
    try:
        return data is None or isinstance(json.loads(cast("str", data)), dict)
    except (ValueError, RecursionError):
        return False


# -- what is lost


def _suspects(
    found: Found, branches: dict[int, Branch], holds: dict[int, bool], broken: set[int]
) -> list[tuple[int, int]]:
    """Where records lie of which a page, or a part of one, cannot be read."""

    def table(number: int, depth: int = 0) -> bool | None:
        """Whether it is the table of records; None where that cannot be said."""
        if number in holds or number not in branches or depth > 20:
            return holds.get(number)
        known = (table(child, depth + 1) for child, _ in branches[number].children)
        return next((one for one in known if one is not None), None)

    suspect: list[tuple[int, int]] = []
    for number, branch in branches.items():
        if table(number) is False:
            continue
        before = 0
        for child, last in branch.children:
            upto = found.newest if last is None else last
            if (child not in holds and child not in branches) or child in broken:
                suspect.append((before, upto))
            before = upto
    return suspect


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] == position - 1:
            runs[-1] = runs[-1][0], position
        else:
            runs.append((position, position))
    return runs


def _merged(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


# -- the new journal


def _build(pages: Pages, building: Path) -> tuple[Found, bool, bool]:
    """What was found, and whether saved moments and timelines are lost."""
    store = Store(building)
    try:
        db = store.db
        with store.lock, store.translated():
            db.execute("PRAGMA foreign_keys = OFF")  # records are found before their timelines
            with store.transaction():
                found = find(pages, lambda row: db.execute(_INSERT, row))
                if not found.seqs and "id" not in found.meta:
                    raise MemoryStoreError(
                        "Nothing in this file can be read as a journal.",
                        hint="Restore it from a backup, or move it aside to begin with an empty memory.",
                        code="journal_foreign",
                    )
                timelines_lost = _write_timelines(store, found)
                slots_lost = _write_slots(store, found)
                db.executemany(
                    "INSERT INTO marks SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM records WHERE seq = ?)",
                    [(seq, *mark, seq) for seq, mark in found.marks.items()],
                )
                # Positions are never used again.
                db.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", (found.newest,))
                for key, value in found.meta.items():
                    if key != "timeline":
                        store.set_meta(key, value)
    finally:
        store.close()
    return found, slots_lost, timelines_lost


def _write_timelines(store: Store, found: Found) -> bool:
    """All timelines that something belongs to; whether some had to be made up.

    One of which nothing is known continues the one before it from where its own records begin: rather is something
    remembered that was un-done than what happened forgotten.
    """
    imported = {int(value.partition(":")[0]) for key, value in found.meta.items() if key.startswith(IMPORTED)}
    parents = {parent for parent, *_ in found.timelines.values() if parent is not None}
    slotted = {timeline for timeline, *_ in found.slots.values()}
    current = int(found.meta.get("timeline", "0"))
    wanted = {*found.spans, *slotted, *parents, *([current] if current > 0 else [])} or {1}
    unknown = sorted(wanted - found.timelines.keys())
    for timeline in unknown:
        earlier = [each for each in (*found.timelines, *unknown) if each < timeline and each not in imported]
        fork = found.spans.get(timeline, (found.newest + 1, 0))[0] - 1
        alone = timeline in imported or not earlier
        found.timelines[timeline] = (None, None, 0.0, 0) if alone else (max(earlier), fork, 0.0, fork)
    store.db.execute("DELETE FROM timelines")
    store.db.executemany(
        "INSERT INTO timelines (id, parent, fork, real_time, start) VALUES (?, ?, ?, ?, ?)",
        [(timeline, *found.timelines[timeline]) for timeline in sorted(found.timelines)],
    )
    if current not in found.timelines:
        lived = [
            each for each, (parent, *_) in found.timelines.items() if parent is not None or each in parents
        ]
        current = max(lived, default=min(found.timelines))
    store.set_meta("timeline", str(current))
    return bool(unknown) and len(found.timelines) > 1


def _write_slots(store: Store, found: Found) -> bool:
    """The saved moments; whether some may be lost. Then every end of a timeline gets a name, so that it is kept."""
    rows = [(name, *slot) for name, slot in found.slots.items() if slot[0] in found.timelines]
    insert = "INSERT OR IGNORE INTO slots (name, timeline, position, real_time) VALUES (?, ?, ?, ?)"
    store.db.executemany(insert, rows)
    root = found.tables.get("slots")
    lost = root in found.unread if root is not None else not rows
    if lost and len(found.timelines) > 1:
        ends = [(f"salvaged {each}", each, last, time.time()) for each, (_, last) in found.spans.items()]
        store.db.executemany(insert, ends)
    return lost
