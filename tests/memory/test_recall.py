"""Recall as dialogue uses it: the right passages, nobody else's, nothing un-done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.recall import Memory
from tests.memory.helpers import LORE, event, texts

Open = Callable[..., Memory]


@pytest.fixture(params=["in memory", "on disk"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, open_memory: Open) -> Memory:
    return open_memory(tmp_path if request.param == "on disk" else None, LORE)


def test_lore_is_found_and_says_where_it_is_from_and_why(memory: Memory) -> None:
    first = memory.recall("When does the gate close?", npc="mira", interlocutor="player", tags=())[0]
    assert (first.id, first.text, first.source) == ("gate", LORE[0].text, "lore/test.md:1")
    assert "gate" in first.reason
    assert "closed" in first.reason  # the word as it stands there
    assert first.score > 0


def test_lore_is_told_only_to_those_who_know_it(memory: Memory) -> None:
    assert texts(memory, "where does the cult meet?") == []
    assert texts(memory, "where does the cult meet?", tags={"cult"}) == [LORE[3].text]


@pytest.mark.parametrize("line", ["hello", "Thanks!", "how are you?", "", "...", "ok", "\0", "🙂"])
def test_small_talk_recalls_nothing(memory: Memory, line: str) -> None:
    memory.remember(event("The player paid for the window."))
    assert texts(memory, line) == []


def test_what_was_lived_is_remembered_at_once_and_after_the_index_has_it(memory: Memory) -> None:
    memory.remember(event("The player paid for the broken window of the bakery."))
    asked = "do you remember the windw I broke?"
    assert texts(memory, asked) == ["The player paid for the broken window of the bakery."]
    assert memory.indexed(60)
    assert texts(memory, asked) == ["The player paid for the broken window of the bakery."]


def test_memories_outlive_the_process(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    memory.remember(event("The player helped to carry flour."))
    memory.close()
    memory = open_memory(tmp_path)
    memory.warm("mira")
    memory.warm("nobody")
    assert texts(memory, "who helped with the flour?") == ["The player helped to carry flour."]


def test_nobody_recalls_what_is_anothers(memory: Memory) -> None:
    npcs, people = ["mira", "bram"], ["player", "rival", ""]
    for npc, person in product(npcs, people):
        memory.remember(event(f"The golden ring, {npc}, {person}.", npc=npc, interlocutor=person))
    for indexed in (False, True):
        assert not indexed or memory.indexed(60)
        for npc, person in product(npcs, people):
            found = set(texts(memory, "the golden ring", npc=npc, interlocutor=person, limit=9))
            # what happened to nobody in particular may come up with anybody
            assert found == {f"The golden ring, {npc}, {person}.", f"The golden ring, {npc}, ."}
    assert texts(memory, "the golden ring", npc="stranger") == []


def test_what_was_un_done_is_not_recalled_by_words_nor_by_vector(memory: Memory) -> None:
    memory.remember(event("The player stole a goose."))
    memory.append_turn("c", "mira", "player", {"n": 1})
    memory.save("slot")
    memory.remember(event("The player killed the goose thief."))
    memory.append_turn("c", "mira", "player", {"n": 2})
    assert memory.indexed(60)
    memory.load("slot")
    assert texts(memory, "the goose thief") == ["The player stole a goose."]
    assert memory.history("c") == [{"n": 1}]
    memory.remember(event("The player returned the goose."))
    assert set(texts(memory, "the goose")) == {"The player stole a goose.", "The player returned the goose."}
    assert memory.slots() == ["slot"]


def test_a_turn_that_was_under_way_when_a_game_was_loaded_is_refused(memory: Memory) -> None:
    memory.save("slot")
    began = memory.timeline
    memory.load("slot")
    late = event("The gate fell.", timeline=began)
    for write in (
        lambda: memory.remember(late),
        lambda: memory.append_turn("c", "mira", "player", {}, timeline=began),
        lambda: memory.append_turn("c", "mira", "player", {}, experiences=[event("fine"), late]),
    ):
        with pytest.raises(MemoryStoreError) as caught:
            write()
        assert caught.value.code == "timeline_abandoned"
    assert memory.history("c") == []
    assert texts(memory, "did the gate fall?") == [LORE[0].text]


def test_a_turn_and_its_experiences_are_one_write(memory: Memory) -> None:
    with pytest.raises(MemoryStoreError):
        memory.append_turn("c", "mira", "player", {"n": 1}, experiences=[event("good"), event("\ud800")])
    assert memory.history("c") == []
    memory.append_turn("c", "mira", "player", {"n": 1}, experiences=[event("The heron flew.")])
    assert memory.history("c") == [{"n": 1}]
    assert texts(memory, "heron") == ["The heron flew."]


def test_turns_that_the_prompt_holds_are_left_out(memory: Memory) -> None:
    memory.remember(event("The heron flew north.", turn="t1"), event("The heron came home.", turn="t2"))
    assert set(texts(memory, "heron", without_turns=["t1"])) == {"The heron came home."}
    assert len(texts(memory, "heron")) == 2


def test_a_players_own_question_is_no_answer_to_it(memory: Memory) -> None:
    for number in range(20):
        memory.remember(
            event(f"player said: When does the gate close, {number}?", kind="turn", origin="player"),
            event("player said: When does the gate close?", kind="turn", origin="player"),
        )
    found = texts(memory, "When does the gate close?")
    assert LORE[0].text in found
    assert "player said: When does the gate close?" not in found


def test_what_confirms_a_question_is_recalled(memory: Memory) -> None:
    memory.remember(event("The fox ran over the bridge."))
    assert texts(memory, "did the fox run over the bridge?") == ["The fox ran over the bridge."]


def test_what_says_the_same_is_recalled_once(memory: Memory) -> None:
    memory.remember(
        *(event("The heron flew over the chapel.") for _ in range(9)), event("A heron is a bird.")
    )
    assert sorted(texts(memory, "heron", limit=5)) == [
        "A heron is a bird.",
        "The heron flew over the chapel.",
    ]


def test_the_recent_and_the_important_come_first(memory: Memory) -> None:
    day = 86_400.0
    memory.remember(
        event("The heron flew over the mill.", at=0.0),
        event("The heron flew over the ford.", at=90 * day),
        event("The heron flew over the barn.", at=90 * day, importance=1.0),
    )
    assert [text.split()[-1] for text in texts(memory, "heron", now=90 * day)] == ["barn.", "ford.", "mill."]


def test_the_time_of_what_was_un_done_does_not_count(memory: Memory) -> None:
    day = 86_400.0
    memory.remember(event("The heron met a fox.", at=0.0), event("The heron met a cow.", at=day))
    memory.save("slot")
    before = memory.recall("heron", npc="mira", interlocutor="player", tags=())
    memory.remember(event("The heron met a bear.", at=900 * day))
    memory.load("slot")
    assert memory.recall("heron", npc="mira", interlocutor="player", tags=()) == before


def test_turns_of_many_threads_do_not_disturb_each_other(memory: Memory) -> None:
    def live(npc: str) -> None:
        for number in range(20):
            memory.remember(event(f"The heron met {npc} at stone {number}.", npc=npc))
            found = memory.recall(f"stone {number}", npc=npc, interlocutor="player", tags=(), limit=1)
            assert [passage.text for passage in found] == [f"The heron met {npc} at stone {number}."]
            finished.append(npc)

    finished: list[str] = []
    threads = [threading.Thread(target=live, args=(npc,)) for npc in ("mira", "bram", "wren", "mira2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(finished) == 80


def test_ones_own_are_found_among_thousands_of_others(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(None)
    memory.remember(
        *(
            event(f"The heron flew over field {number}.", interlocutor=f"other{number}")
            for number in range(900)
        )
    )
    memory.remember(event("A hern flies above my garden.", interlocutor="player"))
    assert memory.indexed(60)
    assert texts(memory, "the heron flies over which garden?") == ["A hern flies above my garden."]


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_limit_holds(memory: Memory, limit: int) -> None:
    memory.remember(*(event(f"The heron met a {animal}.") for animal in ["fox", "cow", "hen", "owl", "cat"]))
    assert len(texts(memory, "heron", limit=limit)) == limit


def test_a_line_of_any_length_is_a_question(memory: Memory) -> None:
    assert LORE[0].text in texts(memory, "when does the gate close? " * 5_000)


def test_an_unknown_embedder_leaves_the_folder_free(tmp_path: Path, open_memory: Open) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        Memory.open(tmp_path, embedder="telepathy")
    assert caught.value.code == "embedder_unknown"
    open_memory(tmp_path)


def test_closing_twice_is_fine_and_using_it_then_is_an_error(open_memory: Open) -> None:
    memory = open_memory()
    memory.remember(event("x"))
    memory.close()
    memory.close()
    with pytest.raises(MemoryStoreError) as caught:
        memory.remember(event("late"))
    assert caught.value.code == "memory_closed"
