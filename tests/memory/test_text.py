"""Reading text: what counts as the same word, what carries no meaning, every script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.memory.text import LONGEST, edits, misspelt_filler, spelled, terms, words


@pytest.mark.parametrize(
    "forms",
    [
        "mine mines mining mined",
        "thief thieves theft",
        "die died dies dead death",
        "carry carries carried carrying",
        "smith smithy smiths",
        "bake bakery baker bakes baked",
        "rob robber robbery robbed",
        "stop stops stopped stopping",
        "gate gates gate's",
        "fog foggy",
        "buy bought buying",
        "knife knives",
    ],
)
def test_forms_of_a_word_are_one_term(forms: str) -> None:
    assert len({term for form in forms.split() for term in terms(form)}) == 1


@pytest.mark.parametrize(
    ("a", "b"), [("gate", "goat"), ("sing", "sin"), ("string", "str"), ("glass", "glas")]
)
def test_different_words_stay_different(a: str, b: str) -> None:
    assert terms(a) != terms(b)


def test_filler_is_dropped_but_not_the_noun_that_looks_like_it() -> None:
    assert terms("Well, what do you think about that then?") == []
    assert terms("where is the well?") == ["well"]
    assert terms("what's the fine?") == ["fine"]


def test_case_width_and_latin_accents_do_not_matter() -> None:
    assert terms("CAFÉ Ｇａｔｅ") == terms("cafe gate")
    assert terms("don’t") == terms("don't") == []


def test_scripts_without_spaces_are_cut_into_pairs() -> None:
    assert set(terms("門番")) <= set(terms("門番は夜に門を閉める"))
    assert len(terms("門番は夜に門を閉める")) > 3


def test_vowel_signs_do_not_cut_words() -> None:
    assert words("हिन्दी") == ["हिन्दी"]
    assert len(words("नमस्ते दुनिया")) == 2


def test_spelled_gives_the_word_as_it_stands_first() -> None:
    assert spelled("The Miners mined the mine.") == {terms("mine")[0]: "miners"}


def test_edits_counts_swaps_once_and_stops_early() -> None:
    assert edits("boat", "baot", 1) == 1
    assert edits("smith", "smit", 1) == 1
    assert edits("gate", "gate", 2) == 0
    assert edits("gate", "mountain", 2) == 3


@given(st.text(max_size=8), st.text(max_size=8), st.integers(0, 3))
def test_edits_is_symmetric_and_bounded(a: str, b: str, most: int) -> None:
    assert edits(a, b, most) == edits(b, a, most) <= most + 1
    assert (edits(a, b, most) == 0) == (a == b)


def test_misspelt_filler_is_known() -> None:
    assert misspelt_filler("wher")
    assert misspelt_filler("thnks")
    assert not misspelt_filler("smithy")


@given(st.text())
def test_any_text_has_terms_that_are_words(text: str) -> None:
    assert all(term and not term.isspace() for term in terms(text))
    assert set(spelled(text)) == set(terms(text))


def test_a_very_long_text_is_read_only_so_far() -> None:
    assert "zebra" not in terms("word " * LONGEST + " zebra")
