"""Recall among 10,000 memories of one character, the wait for a write, going back to a saved game, disk.

The floor of recall is Chroma's bare query plus the bare query of the word index, on the same records.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import Row, Setting, interleaved, median, paired_ratio, timed
from npcsdk.memory.journal import Entry, Journal
from npcsdk.memory.query import Query, best
from npcsdk.memory.recall import Experience, Memory
from npcsdk.memory.scoring import Weights
from npcsdk.memory.text import terms
from npcsdk.persona.loader import load_world

RECORDS = 10_000
ROOT = Path(__file__).resolve().parent.parent

_NOUNS = """gate mine river baker smith sword wolf bread ale captain reeve tunnel bell song child horse cart road
bridge tower cellar key ring coin silver market mill forest hunter bear storm winter snow fire lamp candle prayer
priest temple grave ghost letter ship boat net fish eel salt wool cloth needle hammer anvil iron copper gold lake
shore wall guard thief rope ladder barrel wine cheese apple orchard goat sheep dog cat raven owl moon star"""
_VERBS = """opened closed found lost stole carried sold bought broke mended burned buried saw followed guarded
promised refused paid borrowed returned hid chased washed painted counted"""
_ADJECTIVES = "old young red black broken silver quiet angry cold wet tall small secret lucky heavy bright"


class Scribe:
    """Writes plausible memories and questions about them; the same ones in every run."""

    def __init__(self) -> None:
        self._random = random.Random(20)
        self._nouns, self._verbs, self._adjectives = _NOUNS.split(), _VERBS.split(), _ADJECTIVES.split()
        self._names = [
            "".join(self._random.choice("bdfgklmnprst") + self._random.choice("aeiou") for _ in range(3))
            for _ in range(3_000)
        ]

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


def run(setting: Setting) -> Iterator[Row]:
    """All rows; see the module."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield from _big(setting, Path(name))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield from _writes(setting, Path(name))
    yield from _questions()


def _lived(text: str, at: float) -> Experience:
    return Experience(npc="mira", interlocutor="player", kind="event", origin="game", text=text, at=at)


def _big(setting: Setting, folder: Path) -> Iterator[Row]:
    scribe = Scribe()
    texts = [scribe.memory() for _ in range(RECORDS)]
    lore = load_world(ROOT / "personas").lore
    tags = {tag for passage in lore for tag in passage.tags}
    memory = Memory.open(folder, lore)
    for start in range(0, RECORDS, 500):
        memory.remember(*(_lived(text, float(start)) for text in texts[start : start + 500]))
    indexing = timed(lambda: memory.indexed(900))
    memory.close()

    memory = Memory.open(folder, lore)
    reading = timed(lambda: memory._recaller.shelf("mira"))
    memory.save("slot")
    memory.indexed(900)
    shelf, index, embedder = memory._recaller.shelf("mira"), memory._follower.index, memory._embedder
    assert index is not None
    words = sqlite3.connect(":memory:")
    words.execute("CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'porter unicode61')")
    words.executemany("INSERT INTO texts VALUES (?)", [(text,) for text in texts])
    question = ""

    def ours() -> float:
        nonlocal question
        question = scribe.question()
        asked: dict[str, Any] = {"npc": "mira", "interlocutor": "player", "tags": tags}
        return timed(lambda: memory.recall(question, **asked))

    def vectors() -> float:
        vector = embedder.embed([question or scribe.question()])[0]
        return timed(lambda: index.query("mira", vector, 5))

    def lexical() -> float:
        def search() -> None:
            scores, _ = Query.of(question or scribe.question(), (shelf.words,)).scores(
                shelf.words, len(shelf)
            )
            best(scores, 5)

        return timed(search)

    def fts5() -> float:
        match = " OR ".join(terms(question or scribe.question()))
        query = "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT 5"
        return timed(lambda: words.execute(query, (match,)).fetchall())

    sides = interleaved(ours, vectors, lexical, fts5, rounds=setting.rounds(200), order="abab", warm_up=5)
    words.close()
    recall, near, found, other = ([1e3 * seconds for seconds in side] for side in sides)
    floor = [a + b for a, b in zip(near, found, strict=True)]
    yield Row(
        what=f"recall for a turn, {RECORDS:,} records and the shipped lore, p50",
        measured=paired_ratio(recall, floor) * median(floor),
        floor=median(floor),
        unit="ms",
        bar=1.5,
        note=f"floor: Chroma's bare query {median(near):.2f} ms + the bare word query {median(found):.2f} ms",
    )
    yield Row(what="the same, absolute", measured=median(recall), unit="ms", bar=10.0)
    yield Row(
        what="word query in memory against SQLite's FTS5",
        measured=median(found),
        floor=median(other),
        unit="ms",
        note="why the word index is our own",
    )

    def load() -> float:
        memory.remember(_lived("The un-done heron flew away.", 0.0))
        began = time.perf_counter()
        memory.load("slot")
        wrong = memory.recall("the heron that flew", npc="mira", interlocutor="player", tags=())
        took = time.perf_counter() - began
        assert not any("un-done" in passage.text for passage in wrong)
        return took

    (loads,) = interleaved(load, rounds=setting.rounds(20))
    yield Row(
        what=f"loading a slot until the first right recall, {RECORDS:,} records",
        measured=1e3 * median(loads),
        unit="ms",
        bar=50.0,
    )
    memory.close()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield Row(what="disk per record, index included", measured=size / RECORDS / 1024, unit="KB", bar=3.0)
    yield Row(
        what=f"reading {RECORDS:,} records at the first turn (or ahead: Memory.warm)",
        measured=1e3 * reading,
        unit="ms",
    )
    yield Row(
        what=f"indexing {RECORDS:,} records in the background",
        measured=indexing,
        unit="s",
        note="half of the time is left to others on purpose",
    )


def _writes(setting: Setting, folder: Path) -> Iterator[Row]:
    scribe = Scribe()
    journal = Journal(folder / "journal")
    bare = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE records (npc TEXT, text TEXT)")

    def ours() -> float:
        entries = [
            Entry(npc="mira", interlocutor="player", kind="turn", origin="player", text=scribe.memory())
            for _ in range(3)
        ]
        return timed(lambda: journal.append(entries))

    def floor() -> float:
        rows = [("mira", scribe.memory()) for _ in range(3)]

        def commit() -> None:
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany("INSERT INTO records VALUES (?, ?)", rows)
            bare.execute("COMMIT")

        return timed(commit)

    above, below = interleaved(ours, floor, rounds=setting.rounds(100))
    journal.close()
    bare.close()
    yield Row(
        what="a turn's write to the journal beyond a bare commit, p50",
        measured=1e3 * median([a - b for a, b in zip(above, below, strict=True)]),
        unit="ms",
        bar=1.0,
        note=f"whole {1e3 * median(above):.2f} ms, of which this disk's commit {1e3 * median(below):.2f} ms",
    )


def _questions() -> Iterator[Row]:
    sheet = yaml.safe_load((ROOT / "tests/memory/questions.yaml").read_text(encoding="utf-8"))["questions"]
    lore = load_world(ROOT / "personas").lore
    tags = {tag for passage in lore for tag in passage.tags}

    def share(weights: Weights, limit: int) -> float:
        memory = Memory.open(None, lore, weights=weights)
        found = 0
        for question in sheet:
            hits = memory.recall(question["ask"], npc="sage", interlocutor="player", tags=tags, limit=limit)
            found += any(piece in hit.text for hit in hits for piece in question["finds"])
        memory.close()
        return found / len(sheet)

    for limit in (4, 5):
        yield Row(
            what=f"{len(sheet)} questions over the shipped lore: the right passage among the first {limit}",
            measured=share(Weights(), limit),
            unit="",
            bar=0.93,
            better="higher",
            note=f"by words alone {share(Weights(vector=0.0, min_cosine=2.0), limit):.3f}",
        )
