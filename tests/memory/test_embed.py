"""The hashing embedder: the same bits everywhere, near for what is spelt alike."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.embed import HashingEmbedder
from npcsdk.memory.registry import make_embedder

SAMPLE = ["The gate closes at dusk.", "門番は夜に門を閉める", "Ворота закрываются", ""]


def digest() -> str:
    # Rounded: the last bit of a sum may differ between processors, what a vector says may not.
    return hashlib.sha256(np.round(HashingEmbedder().embed(SAMPLE), 4).tobytes()).hexdigest()


def test_vectors_do_not_hang_on_the_hash_seed() -> None:
    code = "from tests.memory.test_embed import digest; print(digest())"
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == digest()


def test_shape_type_and_length() -> None:
    vectors = HashingEmbedder(dimensions=64).embed(SAMPLE)
    assert vectors.shape == (4, 64)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 0], abs=1e-5)


@given(st.lists(st.text(), max_size=5))
def test_any_text_has_a_vector_of_length_one_or_zero(texts: list[str]) -> None:
    lengths = np.linalg.norm(HashingEmbedder().embed(texts), axis=1)
    assert all(abs(length - 1) < 1e-5 or length == 0 for length in lengths)


def test_one_text_at_a_time_or_together_is_the_same() -> None:
    embedder = HashingEmbedder()
    assert np.array_equal(embedder.embed(SAMPLE), np.concatenate([embedder.embed([text]) for text in SAMPLE]))


@pytest.mark.parametrize(
    ("asked", "near", "far"),
    [
        ("the silver mines", "a mine full of silver", "a bakery full of bread"),
        ("the watchtowr", "an old watchtower", "an old man"),
        ("castel aldren", "Castle Aldren", "Candle Lane"),
    ],
)
def test_what_is_spelt_alike_is_nearer(asked: str, near: str, far: str) -> None:
    question, one, other = HashingEmbedder().embed([asked, near, far])
    assert question @ one > question @ other + 0.15


def test_an_unknown_embedder_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(MemoryStoreError, match="telepathy") as caught:
        make_embedder("telepathy")
    assert caught.value.code == "embedder_unknown"
    assert "hashing" in caught.value.hint
