"""Stores of memory of a given size: written in bulk, kept in the benchmarks' cache, and copied for each run.

What a store holds is the same in every run. A store that was not finished is begun again.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from npcsdk.memory.index import ChromaIndex
from npcsdk.memory.journal import FILE_NAME, Journal
from npcsdk.memory.records import INSERT, Entry, row_of
from npcsdk.memory.registry import DEFAULT_EMBEDDER, make_embedder

__all__ = ["Scribe", "Size", "built", "keep_rounds", "npc_name", "size_on_disk"]

_DONE = "done"
_TIMELINE = "INSERT INTO timelines (id, parent, fork, real_time) VALUES (?, ?, ?, 0.0)"
_BATCH = 2_000  # records embedded and indexed at once
_ROUNDS = 10  # times that a slot is loaded while a forked store is lived through

_NOUNS = """gate mine river baker smith sword wolf bread ale captain reeve tunnel bell song child horse cart road
bridge tower cellar key ring coin silver market mill forest hunter bear storm winter snow fire lamp candle prayer
priest temple grave ghost letter ship boat net fish eel salt wool cloth needle hammer anvil iron copper gold lake
shore wall guard thief rope ladder barrel wine cheese apple orchard goat sheep dog cat raven owl moon star"""
_VERBS = """opened closed found lost stole carried sold bought broke mended burned buried saw followed guarded
promised refused paid borrowed returned hid chased washed painted counted"""
_ADJECTIVES = "old young red black broken silver quiet angry cold wet tall small secret lucky heavy bright"


class Scribe:
    """Writes plausible memories and questions about them; the same ones in every run."""

    def __init__(self, seed: int = 20) -> None:
        self._random = random.Random(20)
        self._nouns, self._verbs, self._adjectives = _NOUNS.split(), _VERBS.split(), _ADJECTIVES.split()
        self._names = [
            "".join(self._random.choice("bdfgklmnprst") + self._random.choice("aeiou") for _ in range(3))
            for _ in range(3_000)
        ]
        self._random.seed(seed)

    def memory(self) -> str:
        return (
            f"The {self._a} {self._n} {self._v} near the {self._n} where {self._x} {self._v} a {self._a} "
            f"{self._n} for {self._x}."
        )

    def question(self) -> str:
        return f"Do you remember who {self._v} the {self._a} {self._n} near the {self._n} of {self._x}?"

    @property
    def _n(self) -> str:
        return self._random.choice(self._nouns)

    @property
    def _v(self) -> str:
        return self._random.choice(self._verbs)

    @property
    def _a(self) -> str:
        return self._random.choice(self._adjectives)

    @property
    def _x(self) -> str:
        return self._random.choice(self._names)


@dataclass(frozen=True, slots=True)
class Size:
    """``records`` in all, of ``npcs`` characters; ``forked``: a tenth of them is visible, the rest was un-done."""

    records: int
    npcs: int = 1
    forked: bool = False

    @property
    def name(self) -> str:
        return f"{self.records}-of-{self.npcs}{'-forked' if self.forked else ''}"


def npc_name(number: int) -> str:
    """The name of a store's character."""
    return f"npc{number}"


def built(size: Size, cache: Path) -> Path:
    """The folder of the store, made if it is not in ``cache`` yet; open it, or a copy of it, as memory."""
    folder = cache / "memory-2" / size.name  # a number for each embedder that made them
    if not (folder / _DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        _write_journal(folder, size)
        _index(folder)
        (folder / _DONE).touch()
    return folder


def keep_rounds(folder: Path, size: Size) -> None:
    """Names the end of each round of a forked store: what no saved game reaches would be collected."""
    part = size.records // _ROUNDS
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as db, db:
        for number in range(1, _ROUNDS + 1):
            db.execute(
                "INSERT OR IGNORE INTO slots (name, timeline, position, real_time) VALUES (?, ?, ?, 0.0)",
                (f"round {number}", number, number * part),
            )


def size_on_disk(folder: Path) -> int:
    """Bytes of all of a store's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write_journal(folder: Path, size: Size) -> None:
    Journal(folder).close()
    db = sqlite3.connect(folder / FILE_NAME)
    with db:
        db.executemany(INSERT, _rows(size))
        if size.forked:
            part = size.records // _ROUNDS
            for number in range(1, _ROUNDS):
                # What is visible is a tenth of each round's; then an older save was loaded.
                fork = (number - 1) * part + part // _ROUNDS
                db.execute(_TIMELINE, (number + 1, number, fork))
            db.execute(_TIMELINE, _last_fork(size))
            db.execute("UPDATE meta SET value = ? WHERE key = 'timeline'", (str(_ROUNDS + 1),))
    db.close()


def _last_fork(size: Size) -> tuple[int, int, int]:
    part = size.records // _ROUNDS
    return _ROUNDS + 1, _ROUNDS, (_ROUNDS - 1) * part + part // _ROUNDS


def _rows(size: Size) -> Iterator[tuple[object, ...]]:
    scribe = Scribe()
    part = size.records // _ROUNDS
    for number in range(size.records):
        entry = Entry(
            npc=npc_name(number % size.npcs),
            interlocutor="player",
            kind="event",
            origin="game",
            text=scribe.memory(),
            at=60.0 * number / size.npcs,
        )
        yield (number // part + 1 if size.forked else 1, *row_of(entry, 0.0))


def _index(folder: Path) -> None:
    """What the follower would do over hours, leaving half of the time to others."""
    journal = Journal(folder)
    embedder = make_embedder(DEFAULT_EMBEDDER)
    index = ChromaIndex(folder / "index", journal=journal.id, embedder=embedder, warn=print)
    try:
        for npc in journal.counts(upto=journal.last):
            records = journal.of_npc(npc)
            for start in range(0, len(records), _BATCH):
                part = records[start : start + _BATCH]
                vectors = embedder.embed([record.text for record in part])
                index.add(npc, [record.seq for record in part], vectors)
    finally:
        index.close()
        journal.close()
