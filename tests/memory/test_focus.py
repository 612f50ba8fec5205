"""Sentences of what was recalled: how a text is cut, and which of them a line asks for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.memory.embed import WordEmbedder
from npcsdk.memory.experience import Passage
from npcsdk.memory.focus import nearest_sentences, sentences
from npcsdk.memory.recall import Memory
from npcsdk.memory.registry import Vectors
from tests.memory.helpers import LORE


def passage(number: int, text: str) -> Passage:
    return Passage(id=str(number), text=text, source="lore", score=1.0, reason="")


PASSAGES = [
    passage(1, "The ferry to the island leaves at noon. It carries twelve people and one goat."),
    passage(2, "Mr. Aldane sells bread. His oven was built by monks!"),
    passage(3, "The silver mine is closed."),
]


def asked(line: str, count: int = 1) -> list[str]:
    return [one.text for one in nearest_sentences(line, PASSAGES, count, WordEmbedder().embed)]


def test_a_text_is_cut_at_the_ends_of_its_sentences() -> None:
    assert sentences('One. Two! "Three?" Four') == ["One.", "Two!", '"Three?"', "Four"]
    assert sentences("Mr. Bell met Dr. J. Stone. They spoke.") == [
        "Mr. Bell met Dr. J. Stone.",
        "They spoke.",
    ]
    assert sentences("門は閉まる。夜だ。") == ["門は閉まる。", "夜だ。"]
    assert sentences("It costs 3.50 silver... or less.") == ["It costs 3.50 silver...", "or less."]
    assert sentences("  ") == []


@given(st.text())
def test_no_character_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_the_sentence_that_answers_comes_and_counts_what_its_passage_is_about() -> None:
    assert asked("when does the ferry leave") == ["The ferry to the island leaves at noon."]
    assert asked("how many goats may the ferry carry") == ["It carries twelve people and one goat."]
    assert asked("who made the oven of the bakery") == ["His oven was built by monks!"]
    assert asked("any silver left in that mine?", 2) == ["The silver mine is closed."]


def test_with_it_come_its_neighbours_in_their_order() -> None:
    long = [passage(1, "The moon rose. A bell rang. The baker burned his bread. He cried. Nobody came.")]

    def around(count: int) -> str:
        (one,) = nearest_sentences("who burned the bread", long, count, WordEmbedder().embed)
        return one.text

    assert around(1) == "The baker burned his bread."
    assert around(2) in ("A bell rang. The baker burned his bread.", "The baker burned his bread. He cried.")
    assert around(5) == around(9) == long[0].text
    assert asked("who built his oven", 2) == ["Mr. Aldane sells bread. His oven was built by monks!"]


@given(st.lists(st.text(max_size=40), max_size=4), st.text(max_size=30), st.integers(0, 4))
def test_what_is_offered_stands_so_in_a_passage(texts: list[str], line: str, count: int) -> None:
    given_ = [passage(number, text) for number, text in enumerate(texts)]
    for one in nearest_sentences(line, given_, count, WordEmbedder().embed):
        cut = sentences(one.text)
        assert "".join(one.text.split()) in "".join(texts[int(one.id)].split())
        assert 1 <= len(cut) <= max(count, 1)


def test_a_line_that_nothing_answers_gets_nothing() -> None:
    assert asked("who wrote this song", 9) == []
    assert asked("hello there", 9) == []
    assert nearest_sentences("who built the oven", [], 2, WordEmbedder().embed) == []


def test_without_vectors_the_words_decide() -> None:
    def none(texts: object) -> Vectors:
        return np.zeros((len(list(texts)), 1), np.float32)  # type: ignore[call-overload]

    (best,) = nearest_sentences("who built the oven", PASSAGES, 1, none)
    assert (best.id, best.text) == ("2", "His oven was built by monks!")


def test_memory_gives_sentences_where_it_is_asked_to() -> None:
    memory = Memory.open(None, LORE)
    try:
        whole = memory.recall("When does the gate close?", npc="mira", interlocutor="player", tags=())
        parts = memory.recall(
            "When does the gate close?", npc="mira", interlocutor="player", tags=(), sentences=1
        )
        known = memory.recall(
            "What does a candle cost?",
            npc="mira",
            interlocutor="player",
            tags=(),
            sentences=1,
            known=["The chapel is open day and night. A candle costs one penny."],
        )
    finally:
        memory.close()
    assert [part.id for part in parts] == [whole[0].id]
    assert [(part.text, part.source) for part in known] == [("A candle costs one penny.", "persona")]
    assert parts[0].text in sentences(whole[0].text)
