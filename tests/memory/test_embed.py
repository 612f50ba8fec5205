"""The embedders without a download: the same bits everywhere; near is what is spelt alike, or means the like."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory import embed
from npcsdk.memory.embed import HashingEmbedder, WordEmbedder
from npcsdk.memory.registry import DEFAULT_EMBEDDER, Embedder, make_embedder

SAMPLE = ["The gate closes at dusk.", "門番は夜に門を閉める", "Ворота закрываются", ""]


def digest() -> str:
    # Rounded: the last bit of a sum may differ between processors, what a vector says may not.
    made = (HashingEmbedder().embed(SAMPLE), WordEmbedder().embed(SAMPLE))
    return hashlib.sha256(b"".join(np.round(rows, 4).tobytes() for rows in made)).hexdigest()


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


both = pytest.mark.parametrize("embedder", [HashingEmbedder(), WordEmbedder()], ids=["hashing", "words"])


@both
@given(texts=st.lists(st.text(), max_size=5))
def test_any_text_has_a_vector_of_length_one_or_zero(embedder: Embedder, texts: list[str]) -> None:
    rows = embedder.embed(texts)
    assert rows.shape == (len(texts), embedder.dimensions)
    assert rows.dtype == np.float32
    assert all(abs(length - 1) < 1e-5 or length == 0 for length in np.linalg.norm(rows, axis=1))


@both
def test_one_text_at_a_time_or_together_is_the_same(embedder: Embedder) -> None:
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


@pytest.mark.parametrize(
    ("asked", "near", "far"),
    [
        ("where can I get a bite to eat", "The bakery sells bread and pies.", "The gate closes at dusk."),
        ("any ships leaving soon", "The ferry sails on Tuesdays.", "The smith is my cousin."),
        ("BURNED?", "A fire in the mill", "A flood in the mill"),
        ("Xolquith", "Xolquith the Bald", "Vemmerly the Bald"),
        ("門番は夜に", "門番は夜に門を閉める", "パン屋は朝に"),
    ],
)
def test_what_means_the_like_is_nearer_and_so_is_an_unknown_name(asked: str, near: str, far: str) -> None:
    question, one, other = WordEmbedder().embed([asked, near, far])
    assert question @ one > question @ other + 0.1


def test_the_default_knows_what_words_mean_and_takes_nothing() -> None:
    assert make_embedder(DEFAULT_EMBEDDER).meaning
    with pytest.raises(MemoryStoreError, match="takes nothing"):
        make_embedder("words:64")


def test_a_damaged_table_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.npz").write_bytes(b"PK\x03\x04 and then nothing")
    monkeypatch.setattr(embed, "_TABLE", tmp_path / "table.npz")
    embed._table.cache_clear()
    embed._vector.cache_clear()
    try:
        with pytest.raises(MemoryStoreError) as caught:
            WordEmbedder().embed(["bread"])
    finally:
        embed._table.cache_clear()
    assert caught.value.code == "embedder_failed"
    assert "hashing" in caught.value.hint


def test_an_unknown_embedder_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(MemoryStoreError, match="telepathy") as caught:
        make_embedder("telepathy")
    assert caught.value.code == "embedder_unknown"
    assert "hashing" in caught.value.hint
