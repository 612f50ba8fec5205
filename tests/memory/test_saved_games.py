"""Saved games: a moment as a file, on another machine, deleted, and what nobody can reach any more."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.follower import Follower
from npcsdk.memory.journal import Entry, Journal
from npcsdk.memory.recall import Memory
from npcsdk.memory.records import Record
from npcsdk.memory.registry import make_embedder
from npcsdk.memory.savegame import SavedGame, decode, encode
from npcsdk.memory.vectors import ExactIndex
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def lived(text: str) -> Entry:
    return Entry(npc="mira", interlocutor="", kind="event", origin="game", text=text)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(MemoryStoreError) as caught:
        call()
    return caught.value.code


def test_a_saved_game_goes_to_another_machine(tmp_path: Path, open_memory: Open) -> None:
    home = open_memory(tmp_path / "home")
    home.append_turn("talk", "mira", "player", {"line": "hello"}, experiences=[event("A heron came.")])
    home.set_value("mira", "player", "trust", 40)
    home.save("chapter 2")
    home.remember(event("A heron died after the save."))
    home.set_value("mira", "player", "trust", -5)
    assert home.export_slot("chapter 2", tmp_path / "game.save") == 3

    away = open_memory(tmp_path / "away")
    away.remember(event("A heron that only this machine saw."))
    assert away.import_slot(tmp_path / "game.save") == "chapter 2"
    assert texts(away, "heron") == ["A heron that only this machine saw."]
    away.load("chapter 2")
    assert texts(away, "heron") == ["A heron came."]
    assert away.history("talk") == [{"line": "hello"}]
    assert away.values("mira", "player") == {"trust": 40}
    assert away.indexed(60)
    away.close()
    again = open_memory(tmp_path / "away")
    assert texts(again, "heron") == ["A heron came."]


def test_the_same_file_again_costs_nothing(tmp_path: Path, open_memory: Open) -> None:
    home = open_memory(None)
    home.remember(event("A heron came."))
    home.save("slot")
    home.export_slot("slot", tmp_path / "save")
    away = open_memory(None)
    away.import_slot(tmp_path / "save", "a")
    before = away._journal.last
    away.import_slot(tmp_path / "save", "b")
    assert away._journal.last == before
    assert away.slots() == ["a", "b"]
    away.load("b")
    assert texts(away, "heron") == ["A heron came."]


def test_a_saved_game_sees_through_forks(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(None)
    memory.remember(event("A heron at one."))
    memory.save("one")
    memory.remember(event("A heron un-done."))
    memory.load("one")
    memory.remember(event("A heron at two."))
    memory.save("two")
    memory.export_slot("two", tmp_path / "save")
    away = open_memory(None)
    away.load(away.import_slot(tmp_path / "save"))
    assert sorted(texts(away, "heron")) == ["A heron at one.", "A heron at two."]


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_a_file_that_was_cut_or_changed_is_refused_whole(tmp_path: Path, open_memory: Open, cut: int) -> None:
    memory = open_memory(None)
    memory.remember(*(event(f"Heron {number} {random.Random(number).random()}") for number in range(50)))
    memory.save("slot")
    file = tmp_path / "save"
    memory.export_slot("slot", file)
    content = file.read_bytes()
    file.write_bytes(content[:cut])
    assert code_of(lambda: memory.import_slot(file, "x")) in ("save_foreign", "save_damaged")
    changed = bytearray(content)
    changed[-9] ^= 1
    file.write_bytes(changed)
    assert code_of(lambda: memory.import_slot(file, "x")) == "save_damaged"
    assert memory.slots() == ["slot"]
    assert memory._journal.last == 50


def test_a_file_of_a_newer_version_or_of_something_else_says_so(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(None)
    header = json.dumps({"format": "npcsdk-save", "version": 99, "sha256": "", "records": 0, "slot": "x"})
    (tmp_path / "newer").write_bytes(header.encode() + b"\n")
    assert code_of(lambda: memory.import_slot(tmp_path / "newer")) == "save_newer"
    (tmp_path / "other").write_bytes(b"\x89PNG\r\n\x1a\n" * 99)
    assert code_of(lambda: memory.import_slot(tmp_path / "other")) == "save_foreign"
    assert code_of(lambda: memory.import_slot(tmp_path / "none")) == "save_unreadable"
    memory.save("slot")
    assert code_of(lambda: memory.export_slot("slot", tmp_path / "no" / "folder")) == "save_unwritable"
    assert code_of(lambda: memory.export_slot("none", tmp_path / "x")) == "slot_unknown"
    assert not (tmp_path / "x").exists()


@given(
    st.lists(
        st.builds(
            Record,
            npc=ANY_TEXT,
            interlocutor=ANY_TEXT,
            kind=ANY_TEXT,
            origin=ANY_TEXT,
            text=ANY_TEXT,
            at=st.floats(-1e18, 1e18),
            data=st.none() | st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers(-9, 9), max_size=3),
        ),
        max_size=5,
    ),
    ANY_TEXT,
)
@settings(max_examples=60, deadline=None)
def test_whatever_was_written_comes_back(records: list[Record], slot: str) -> None:
    saved = decode(encode(slot, records))
    assert saved.slot == slot
    assert [(e.npc, e.text, e.at, e.data) for e, _ in saved.records] == [
        (r.npc, r.text, r.at, r.data) for r in records
    ]


def test_a_deleted_slot_is_gone_and_what_it_alone_reached_is_collected(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path)
    memory._collecting.close()  # it would do by itself what is done here by hand
    memory.remember(event("A heron at the start."))
    memory.save("start")
    memory.remember(event("A heron in the long branch."))
    memory.save("long")
    memory.load("start")
    memory.remember(event("A heron now."))
    assert memory.collect() == 0  # "long" still reaches it
    memory.delete_slot("long")
    assert code_of(lambda: memory.load("long")) == "slot_unknown"
    assert code_of(lambda: memory.delete_slot("long")) == "slot_unknown"
    assert memory.collect() == 1
    assert sorted(texts(memory, "heron")) == ["A heron at the start.", "A heron now."]
    assert memory.indexed(60)
    index = memory._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 3}
    memory.load("start")
    assert texts(memory, "heron") == ["A heron at the start."]


def test_what_is_collected_by_and_by_is_done_in_parts_and_given_up_when_memory_is_closed(
    tmp_path: Path, open_memory: Open
) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.save("start")
        journal.append([lived(f"Heron {number} flew.") for number in range(250)])
        journal.load("start")
        journal.append([lived("The stork stayed.")])
        asked: list[int] = []
        removed = journal.collect(lambda: asked.append(1) or len(asked) > 2)  # type: ignore[func-returns-value]
        assert sum(removed.values()) == 200
    memory = open_memory(tmp_path, index="exact")  # the rest at the next start
    assert memory.collected(30)
    memory.close()
    memory._collecting.soon()  # too late, and harmless
    with closing(Journal(tmp_path)) as journal:
        assert [record.text for record in journal.of_npc("mira")] == ["The stork stayed."]
        assert len(journal._slots._forks) == 1


def test_what_a_load_has_un_done_goes_by_itself_unless_a_slot_has_it(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path, index="exact")
    memory.remember(event("A heron at the start."))
    memory.save("start")
    memory.remember(event("A heron that was kept."))
    memory.save("kept")
    memory.remember(event("A heron that was un-done."))
    memory.load("start")
    memory.remember(event("A heron now."))
    assert memory.collected(30)
    assert memory.indexed(30)
    there = {record.text for record in memory._journal.of_npc("mira")}
    assert there == {"A heron at the start.", "A heron that was kept.", "A heron now."}
    index = memory._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 2, 4}
    memory.save("kept")  # the name moves: what it alone had goes, too
    assert memory.collected(30)
    assert {record.seq for record in memory._journal.of_npc("mira")} == {1, 4}
    assert sorted(texts(memory, "heron")) == ["A heron at the start.", "A heron now."]


def test_what_was_collected_when_the_process_died_leaves_the_index_though_the_counts_agree() -> None:
    """As many records came behind the index's back as went."""
    embedder = make_embedder("words")
    index = ExactIndex(None, journal="", embedder=embedder, warn=pytest.fail)
    with closing(Journal()) as journal:
        journal.append([lived(f"Heron {number} flew.") for number in range(4)])
        index.add("mira", [1, 2, 3], embedder.embed(["Heron"] * 3))
        journal.remove([1], ["mira"])
        follower = Follower(journal, embedder, lambda: index, warn=pytest.fail)
        follower.start(lambda position: None)
        assert follower.wait(30)
        assert index.positions("mira") == {2, 3, 4}
        assert journal.unsettled()[0] == frozenset()
        follower.close(0.0)


def test_what_goes_while_the_index_is_repaired_leaves_it_too() -> None:
    embedder = make_embedder("words")
    with closing(Journal()) as journal:
        journal.append([lived(f"Heron {number} flew.") for number in range(4)])
        later = iter([2, 4])

        class Slow(ExactIndex):
            def add(self, npc: str, positions: Sequence[int], vectors: Any) -> None:
                assert positions  # Chroma takes no empty batch
                super().add(npc, positions, vectors)

            def remove(self, npc: str, positions: Sequence[int]) -> None:
                super().remove(npc, positions)
                for position in later:  # more goes in the middle of it
                    journal.remove([position], ["mira"])
                    follower.removed(["mira"])

        index = Slow(None, journal="", embedder=embedder, warn=pytest.fail)
        index.add("mira", [1, 2, 3], embedder.embed(["Heron"] * 3))
        journal.remove([1], ["mira"])
        follower = Follower(journal, embedder, lambda: index, warn=pytest.fail)
        follower.start(lambda position: None)
        assert follower.wait(30)
        assert index.positions("mira") == {3}
        follower.close(0.0)


def test_a_write_that_was_under_way_is_refused_after_a_load_and_a_collection(open_memory: Open) -> None:
    memory = open_memory(None)
    memory._collecting.close()  # it is done by hand
    memory.save("start")
    begun = memory.timeline
    memory.load("start")
    memory.collect()
    for _ in range(3):  # no timeline may get the number of one that was left
        memory.load("start")
        memory.collect()
        assert (
            code_of(lambda: memory.remember(event("A heron, late.", timeline=begun))) == "timeline_abandoned"
        )
        assert (
            code_of(lambda: memory.set_value("mira", "player", "trust", 1, timeline=begun))
            == "timeline_abandoned"
        )
    assert texts(memory, "heron") == []


@given(
    st.lists(st.tuples(st.sampled_from("wwwslldcieC"), st.integers(0, 3)), max_size=40),
    st.lists(st.tuples(st.sampled_from("wslldi"), st.integers(0, 3)), max_size=12),
)
@settings(max_examples=80, deadline=None)
def test_collection_never_takes_what_can_be_reached_whatever_happens_meanwhile(
    steps: list[tuple[str, int]], meanwhile: list[tuple[str, int]]
) -> None:
    """Against a model that copies whole histories. Between any two parts of a collection anything may happen."""
    journal = Journal()
    now: list[str] = []
    saved: dict[str, list[str]] = {}
    files: dict[str, tuple[SavedGame, list[str]]] = {}
    numbers, others = itertools.count(), iter(meanwhile)

    def act(step: str, name: int) -> None:
        nonlocal now
        slot = str(name)
        if step == "w":
            text = str(next(numbers))
            journal.append([lived(text)])
            now.append(text)
        elif step == "s":
            journal.save(slot)
            saved[slot] = list(now)
        elif step == "l" and slot in saved:
            journal.load(slot)
            now = list(saved[slot])
        elif step == "d" and slot in saved:
            journal.delete_slot(slot)
            del saved[slot]
        elif step == "e" and slot in saved:
            file = decode(encode(slot, journal.slot_records(slot)))
            files[slot] = file, list(saved[slot])
        elif step == "i" and slot in files:
            journal.graft(files[slot][0], slot)
            saved[slot] = list(files[slot][1])
        elif step in "cC":
            journal.collect(
                (lambda: act(*next(others, ("", 0))) is not None) if step == "C" else lambda: False
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("npcsdk.memory.journal._COLLECTED", 2)
        patch.setattr("npcsdk.memory.journal._GIVE_WAY", 0.0)
        for step, name in steps:
            act(step, name)
            seen = [r.text for r in journal.of_npc("mira") if journal.view.sees(r.timeline, r.seq)]
            assert seen == now
            assert {each: [r.text for r in journal.slot_records(each)] for each in journal.slots()} == saved
        journal.collect()
    reached = journal._slots.reached()
    assert all(r.seq <= reached.get(r.timeline, -1) for r in journal.of_npc("mira"))
    seen = [r.text for r in journal.of_npc("mira") if journal.view.sees(r.timeline, r.seq)]
    assert seen == now
    assert {each: [r.text for r in journal.slot_records(each)] for each in journal.slots()} == saved
    journal.close()


def test_a_journal_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([Entry(npc="mira", interlocutor="", kind="event", origin="game", text="old")])
    for statement in (
        "DROP TABLE marks",
        "DROP INDEX records_by_value",
        "DROP INDEX records_by_summary",
        "DROP INDEX records_by_fact",
        "ALTER TABLE timelines DROP COLUMN start",
    ):
        journal._store.db.execute(statement)
    journal._store.db.execute("PRAGMA user_version = 1")
    journal.close()
    journal = Journal(tmp_path)
    assert [record.text for record in journal.of_npc("mira")] == ["old"]
    assert journal._store.db.execute("PRAGMA user_version").fetchone()[0] == 3
    journal.close()
