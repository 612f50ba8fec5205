"""The vector index in Chroma: derived, so that nothing that happens to it is more than a delay."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from npcsdk.errors import MemoryStoreError
from npcsdk.memory import recall as recall_module
from npcsdk.memory import registry
from npcsdk.memory.embed import HashingEmbedder, WordEmbedder
from npcsdk.memory.index import ChromaIndex
from npcsdk.memory.recall import Memory
from npcsdk.memory.registry import Vectors
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]
TEXTS = [
    f"The {animal} ran over the bridge of {place}." for animal in ["fox", "cow", "hen"] for place in "ab"
]


def index_at(
    directory: Path, journal: str = "j", dimensions: int | None = None
) -> tuple[ChromaIndex, list[str]]:
    """As a world's own memory opens it; with ``dimensions``, as one with another embedder does."""
    warnings: list[str] = []
    embedder = HashingEmbedder(dimensions) if dimensions else WordEmbedder()
    return ChromaIndex(directory, journal=journal, embedder=embedder, warn=warnings.append), warnings


def held(memory: Memory) -> list[int]:
    """The positions in the index, once it has caught up."""
    assert memory.indexed(60)
    index = memory._follower.index
    assert index is not None
    return sorted(index.positions("mira"))


# -- the adapter


def test_it_finds_the_nearest_and_survives_closing(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    index, _ = index_at(tmp_path)
    index.add("mira", [3, 7, 9], embedder.embed(["a silver mine", "a bakery", "silver spoons"]))
    index.close()
    index, warnings = index_at(tmp_path)
    found = index.query("mira", embedder.embed(["the silver mine"])[0], 2)
    assert [position for position, _ in found] == [3, 9]
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)
    assert (index.count("mira"), index.positions("mira")) == (3, {3, 7, 9})
    index.remove("mira", [7, 8])
    assert index.positions("mira") == {3, 9}
    index.close()
    assert warnings == []


def test_npcs_of_any_name_are_kept_apart(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    index, _ = index_at(tmp_path)
    for number, npc in enumerate(["", "x", "門番", "a/b\0c", "A" * 1000], 1):
        index.add(npc, [number], embedder.embed([f"secret {number}"]))
        assert index.positions(npc) == {number}
    index.close()


@pytest.mark.parametrize("other", [{"journal": "another"}, {"dimensions": 64}])
def test_an_index_of_another_journal_or_embedder_is_begun_again(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    index, _ = index_at(tmp_path)
    index.add("mira", [1], WordEmbedder().embed(["text"]))
    index.close()
    index, warnings = index_at(tmp_path, **other)
    assert index.positions("mira") == set()
    assert len(warnings) == 1
    index.close()


def test_an_opening_that_never_ended_is_not_tried_twice(tmp_path: Path) -> None:
    index, _ = index_at(tmp_path)
    index.add("mira", [1], WordEmbedder().embed(["text"]))
    index.close()
    (tmp_path / "opening").touch()
    index, warnings = index_at(tmp_path)
    assert index.positions("mira") == set()
    assert "did not come to an end" in warnings[0]
    index.close()
    index, warnings = index_at(tmp_path)
    assert warnings == []
    index.close()


def test_old_generations_are_removed(tmp_path: Path) -> None:
    index, _ = index_at(tmp_path)
    index.reset()
    index.close()
    index, _ = index_at(tmp_path)
    index.close()
    assert [path.name for path in tmp_path.glob("g*")] == ["g2"]


def test_a_closed_index_fails_by_name(tmp_path: Path) -> None:
    index, _ = index_at(tmp_path)
    index.close()
    with pytest.raises(MemoryStoreError) as caught:
        index.count("mira")
    assert caught.value.code == "index_failed"


# -- following the journal


def test_the_index_holds_what_the_journal_holds(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    memory.remember(*map(event, TEXTS))
    memory.append_turn("c", "mira", "player", {"n": 1}, experiences=[event("The hen sang.")])
    assert held(memory) == [1, 2, 3, 4, 5, 6, 8]  # the seventh is the turn's transcript
    memory.remember(event("The cow slept."))
    assert held(memory)[-1] == 9


def test_closing_lets_the_index_catch_up(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    memory.remember(*map(event, TEXTS))
    memory.close()
    index, warnings = index_at(tmp_path / "index", _journal_id(tmp_path))
    assert len(index.positions("mira")) == len(TEXTS)
    assert warnings == []
    index.close()


def _journal_id(folder: Path) -> str:
    return str(json.loads((folder / "index" / "index.json").read_text())["journal"])


def _delete(folder: Path) -> None:
    shutil.rmtree(folder / "index")


def _delete_generation(folder: Path) -> None:
    shutil.rmtree(folder / "index" / "g1")


def _damage(folder: Path) -> None:
    (folder / "index" / "g1" / "chroma.sqlite3").write_bytes(b"garbage" * 1000)


def _damage_marker(folder: Path) -> None:
    (folder / "index" / "index.json").write_bytes(b"\xff{")


def _lose_some(folder: Path) -> None:
    index, _ = index_at(folder / "index", _journal_id(folder))
    index.remove("mira", [2, 3])
    index.close()


def _add_strangers(folder: Path) -> None:
    index, _ = index_at(folder / "index", _journal_id(folder))
    index.add("mira", [500], WordEmbedder().embed(["never happened"]))
    index.close()


@pytest.mark.parametrize(
    ("harm", "warned"),
    [
        (_delete, False),
        (_delete_generation, True),
        (_damage, True),
        (_damage_marker, True),
        (_lose_some, False),
        (_add_strangers, False),
    ],
)
def test_whatever_happened_to_the_index_it_is_made_whole(
    tmp_path: Path,
    open_memory: Open,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
    warned: bool,
) -> None:
    memory = open_memory(tmp_path)
    memory.remember(*map(event, TEXTS))
    memory.close()
    harm(tmp_path)
    with caplog.at_level(logging.WARNING, "npcsdk.memory"):
        memory = open_memory(tmp_path)
        assert {*TEXTS[:2]} & {*texts(memory, "did the fox run over the bridge?")}  # by words, meanwhile
        assert held(memory) == list(range(1, len(TEXTS) + 1))
        assert {*TEXTS[:2]} & {*texts(memory, "did the fox run over the bridge?")}
    assert bool(caplog.records) == warned


# -- an index that fails or hangs


class Unwell:
    """An index that fails while ``ill`` is set, and blocks queries while ``gate`` is closed."""

    made: Unwell

    def __init__(self, directory: Path | None, **_: Any) -> None:
        Unwell.made = self
        self.ill = False
        self.resets = 0
        self.gate = threading.Event()
        self.gate.set()
        self.held: dict[int, Vectors] = {}

    def _check(self) -> None:
        if self.ill:
            raise MemoryStoreError("The index is unwell.", code="index_failed")

    def count(self, npc: str) -> int:
        self._check()
        return len(self.held)

    def positions(self, npc: str) -> set[int]:
        self._check()
        return set(self.held)

    def add(self, npc: str, positions: Sequence[int], vectors: Vectors) -> None:
        self._check()
        self.held.update(zip(positions, vectors, strict=True))

    def remove(self, npc: str, positions: Sequence[int]) -> None:
        self._check()

    def query(self, npc: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        self._check()
        assert self.gate.wait(30)
        return [(position, float(row @ vector)) for position, row in self.held.items()]

    def reset(self) -> None:
        self.held.clear()
        self.ill = False
        self.resets += 1

    def close(self) -> None:
        self.gate.set()


@pytest.fixture
def unwell(monkeypatch: pytest.MonkeyPatch) -> type[Unwell]:
    monkeypatch.setattr(registry, "_INDEXES", {"unwell": f"{__name__}:Unwell"})
    return Unwell


def test_a_failing_index_is_begun_again_and_the_turn_goes_by_words(
    open_memory: Open, unwell: type[Unwell], caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_memory(index="unwell")
    memory.remember(event(TEXTS[0]))
    assert memory.indexed(30)
    unwell.made.ill = True
    assert texts(memory, "the fox on the bridge") == [TEXTS[0]]
    memory.remember(event(TEXTS[2]))
    assert memory.indexed(30)
    assert unwell.made.resets == 1
    assert set(unwell.made.held) == {1, 2}
    assert "unwell" in caplog.text


def test_a_hanging_index_costs_a_turn_little(open_memory: Open, unwell: type[Unwell]) -> None:
    memory = open_memory(index="unwell")
    memory.remember(event(TEXTS[0]))
    assert memory.indexed(30)
    unwell.made.gate.clear()
    assert texts(memory, "the fox on the bridge") == [TEXTS[0]]
    assert texts(memory, "the fox on the bridge") == [TEXTS[0]]  # does not even ask while it hangs
    unwell.made.gate.set()


def test_an_index_that_never_works_is_left_alone(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []

    def fail(*_: Any, **__: Any) -> None:
        attempts.append(1)
        raise MemoryStoreError("No index today.", code="index_failed")

    monkeypatch.setattr(recall_module, "make_index", fail)
    memory = open_memory()
    memory.remember(event(TEXTS[0]))
    assert not memory.indexed(30)
    assert len(attempts) == 3
    assert texts(memory, "the fox on the bridge") == [TEXTS[0]]
    assert "No index today." in caplog.text


def test_an_unknown_index_is_a_warning_and_recall_goes_by_words(
    open_memory: Open, caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_memory(index="crystal ball")
    memory.remember(event(TEXTS[0]))
    assert not memory.indexed(30)
    assert texts(memory, "the fox on the bridge") == [TEXTS[0]]
    assert "crystal ball" in caplog.text
