"""The word index, the reading of a query, and exact vectors: against plain definitions of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.memory.embed import HashingEmbedder
from npcsdk.memory.lexical import LexicalIndex, idf
from npcsdk.memory.query import Query, best
from npcsdk.memory.registry import make_index
from npcsdk.memory.text import terms
from npcsdk.memory.thesaurus import hints, neighbours
from npcsdk.memory.vectors import ExactVectors


def index_of(*documents: str) -> LexicalIndex:
    index = LexicalIndex()
    for document in documents:
        index.add(terms(document))
    return index


def ranked(question: str, index: LexicalIndex) -> list[int]:
    scores, _ = Query.of(question, (index,)).scores(index, len(index))
    return best(scores, len(index))


def test_rare_words_weigh_more_than_common_ones() -> None:
    index = index_of("gate bread", "gate wine", "gate cloth", "gate heron")
    assert ranked("heron at the gate", index)[0] == 3
    assert idf(100, 1) > idf(100, 50) > idf(100, 100) > 0


def test_a_short_text_beats_a_long_one_with_the_same_word() -> None:
    index = index_of("heron " + "bread wine cloth iron salt horse wagon " * 3, "heron")
    assert ranked("heron", index)[0] == 1


def test_a_title_counts() -> None:
    index = LexicalIndex()
    index.add(terms("It opens at dawn."), extra=terms("The gate"))
    index.add(terms("It opens at dawn."), extra=terms("The bakery"))
    assert ranked("when does the gate open", index)[0] == 0


@pytest.mark.parametrize("asked", ["smtih", "smitth", "smoth", "blacksmiths"])
def test_misspelt_and_compound_words_find_what_they_resemble(asked: str) -> None:
    assert ranked(asked, index_of("bread and wine", "a smith"))[:1] == [1]


def test_short_words_resemble_nothing() -> None:
    assert index_of("ale").resembling("alex") == []
    assert index_of("oxen").resembling("ox") == []


def test_a_neighbour_in_meaning_is_found_and_weighs_less() -> None:
    index = index_of("the tavern brews ale", "beer is brewed here")
    assert ranked("any beer?", index) == [1, 0]
    assert terms("ale")[0] in neighbours(terms("beer")[0])


def test_a_question_prefers_its_kind_of_answer_but_never_by_that_alone() -> None:
    index = index_of(
        "The tower is old and grey", "The tower stands in the north", "The mill stands in the north"
    )
    assert ranked("where is the tower?", index) == [1, 0]
    assert terms("dusk")[0] in hints("when does it close?")
    assert hints("the gate") == frozenset()


def test_filler_misspelt_asks_for_nothing() -> None:
    assert Query.of("wher", (index_of("cherry"),)).wanted == ()


def test_coverage_is_the_share_of_the_question_that_is_met() -> None:
    index = index_of("heron bronze", "heron", "salt")
    _, coverage = Query.of("heron bronze", (index,)).scores(index, 3)
    assert coverage[0] == pytest.approx(1.0)
    assert 0.0 < coverage[1] < 1.0
    assert coverage[2] == 0.0


@given(
    st.lists(st.lists(st.sampled_from(["heron", "bronze", "salt", "iron"]), max_size=5), max_size=12),
    st.lists(st.sampled_from(["heron", "bronze", "salt", "iron", "qqqq"]), max_size=4),
)
def test_a_document_scores_exactly_when_it_holds_something_asked_for(
    documents: list[list[str]], asked: list[str]
) -> None:
    index = index_of(*(" ".join(document) for document in documents))
    query = Query.of(" ".join(asked), (index,))
    scores, coverage = query.scores(index, len(index))
    for number, document in enumerate(documents):
        held = {term for word in document for term in terms(word)}
        assert (scores[number] > 0) == bool(query.found_in(frozenset(held)))
        assert 0.0 <= coverage[number] <= 1.0 + 1e-9


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.25]), max_size=60), st.integers(1, 20))
def test_best_is_the_head_of_a_sorted_list(values: list[float], limit: int) -> None:
    expected = sorted((i for i, v in enumerate(values) if v > 0), key=lambda i: (-values[i], i))[:limit]
    assert best(np.array(values), limit) == expected


@given(st.lists(st.integers(0, 40), unique=True), st.lists(st.integers(0, 40)), st.integers(-1, 41))
def test_exact_vectors_keep_rows_and_keys_together(keys: list[int], gone: list[int], upto: int) -> None:
    held = ExactVectors(4)
    rows = {key: np.full(4, key, dtype=np.float32) for key in keys}
    for key in sorted(keys):
        held.add([key], rows[key][None, :])
    held.remove(gone)
    held.discard(upto)
    left = {key: 4.0 * key for key in keys if key not in gone and key > upto}
    assert dict(held.similarities(np.ones(4, dtype=np.float32))) == left
    assert len(held) == len(left)


def test_the_exact_index_gives_the_nearest_first() -> None:
    embedder = HashingEmbedder()
    index = make_index("exact", None, journal="j", embedder=embedder, warn=pytest.fail)
    index.add("mira", [1, 2, 3], embedder.embed(["a silver mine", "a bakery", "silver spoons"]))
    found = index.query("mira", embedder.embed(["silver mine"])[0], 2)
    assert [position for position, _ in found] == [1, 3]
    index.remove("mira", [1, 99])
    assert index.positions("mira") == {2, 3}
    assert index.count("mira") == 2
    assert index.count("bram") == 0
    assert index.query("bram", embedder.embed(["silver"])[0], 2) == []
    index.reset()
    assert index.positions("mira") == set()


def test_a_novel_is_read_for_the_words_that_say_most() -> None:
    index = index_of("heron", *(f"common word{n}" for n in range(500)))
    novel = " ".join(f"unheard{n} word{n}" for n in range(200)) + " heron"
    query = Query.of("heron " + novel * 50, (index,))
    assert len(query.wanted) <= 40
    assert terms("heron")[0] in query.terms
