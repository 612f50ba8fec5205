"""Scoring only what may be seen gives what scoring everything gives, where that may be seen."""

from __future__ import annotations

import numpy as np
import pytest

from npcsdk.memory.lexical import LexicalIndex
from npcsdk.memory.query import Query
from npcsdk.memory.text import terms

TEXTS = [
    f"The {adjective} {noun} was {verb} near the {place}."
    for adjective in ("old", "silver", "broken")
    for noun in ("sword", "blade", "beer", "loaf", "mare")
    for verb in ("sold", "stolen", "mended")
    for place in ("gate", "mill", "lake")
]


@pytest.mark.parametrize(
    "line", ["who stole the ale?", "the silver swrod by the door", "where is my horse", "xyzzy"]
)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_a_sparse_mask_changes_nothing_of_what_it_shows(line: str, share: float) -> None:
    index = LexicalIndex()
    for text in TEXTS:
        index.add(terms(text))
    mask = np.random.default_rng(3).random(len(TEXTS)) < share
    index.add(terms("A silver sword that came since the mask was made."))
    query = Query.of(line, (index,))
    whole, narrowed = query.scores(index, len(TEXTS)), query.scores(index, len(TEXTS), mask)
    for all_of_it, part in zip(whole, narrowed, strict=True):
        assert part.shape == (len(TEXTS),)
        np.testing.assert_allclose(part[mask], all_of_it[mask])
