"""The sampler against plain definitions of what it promises."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.backends.base import Sampling
from npcsdk.backends.sampler import Sampler, largest, mask_logits


def logits_of(seed: int, size: int, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=size) * scale).astype(np.float32)


def mask_of(legal: set[int], size: int) -> np.ndarray:
    mask = np.zeros((size + 31) // 32, dtype=np.uint32)
    for token in legal:
        mask[token // 32] |= np.uint32(1 << (token % 32))
    return mask.view(np.int32)


def support(logits: np.ndarray, sampling: Sampling) -> set[int]:
    """Tokens that top-k and top-p leave, by definition."""
    order = np.argsort(-logits, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = np.exp((logits[order] - logits[order[0]]).astype(np.float64) / sampling.temperature)
    weights /= weights.sum()
    kept, total = set(), 0.0
    for token, weight in zip(order, weights, strict=True):
        if kept and total >= sampling.top_p:
            break
        kept.add(int(token))
        total += weight
    return kept


@pytest.mark.parametrize("size", [100, 3072, 50_000])
@pytest.mark.parametrize("count", [1, 40, 500])
def test_largest_are_the_largest(size: int, count: int) -> None:
    if count > size:
        pytest.skip("nothing to choose from")
    logits = logits_of(1, size)
    assert set(largest(logits, count)) == set(np.argsort(-logits)[:count])


def test_largest_with_minus_infinity_and_ties() -> None:
    logits = np.full(50_000, -np.inf, dtype=np.float32)
    logits[[5, 40_000]] = 1.0
    assert {5, 40_000} <= set(largest(logits, 8))
    assert len(largest(np.zeros(50_000, dtype=np.float32), 8)) == 8


@given(
    st.integers(0, 10_000),
    st.sampled_from([0, 1, 5, 40]),
    st.sampled_from([0.1, 0.5, 0.95, 1.0]),
    st.sampled_from([0.3, 1.0, 2.0]),
)
@settings(max_examples=60, deadline=None)
def test_draws_stay_within_top_k_and_top_p(seed: int, top_k: int, top_p: float, temperature: float) -> None:
    sampling = Sampling(seed=seed, top_k=top_k, top_p=top_p, temperature=temperature)
    logits = logits_of(seed, 300)
    allowed = support(logits, sampling)
    sampler = Sampler(sampling)
    assert {sampler.pick(logits.copy()) for _ in range(20)} <= allowed


def test_probabilities_are_those_of_softmax() -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0], dtype=np.float32)
    expected = np.exp(logits / 0.8) / np.exp(logits / 0.8).sum()
    for sampling in (
        Sampling(seed=1, top_k=4, top_p=1, temperature=0.8),
        Sampling(seed=1, top_k=0, top_p=1, temperature=0.8),
    ):
        sampler = Sampler(sampling)
        counts = Counter(sampler.pick(logits.copy()) for _ in range(20_000))
        for token in range(4):
            assert counts[token] / 20_000 == pytest.approx(expected[token], abs=0.015)


@given(
    st.integers(0, 500),
    st.sampled_from([0, 40]),
    st.sampled_from([0.0, 0.7]),
    st.sets(st.integers(0, 9999), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_a_mask_is_the_same_as_masking_first(
    seed: int, top_k: int, temperature: float, legal: set[int]
) -> None:
    size = 10_000
    logits, mask = logits_of(seed, size), mask_of(legal, size)
    sampling = Sampling(seed=seed, top_k=top_k, temperature=temperature)
    masked = np.where(np.isin(np.arange(size), list(legal)), logits, -np.inf).astype(np.float32)
    chosen = Sampler(sampling).pick(logits.copy(), mask)
    assert chosen in legal
    assert chosen == Sampler(sampling).pick(masked)
    assert np.array_equal(mask_logits(logits.copy(), mask), masked)


def test_a_seed_repeats_and_another_differs() -> None:
    rows = [logits_of(at, 5000) for at in range(30)]

    def reply(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(seed=seed, temperature=1.5, top_k=0, top_p=1))
        return [sampler.pick(row.copy()) for row in rows]

    assert reply(3) == reply(3)
    assert reply(3) != reply(4)
    assert reply(None) != reply(None)


def test_temperature_zero_is_the_best_token() -> None:
    logits = logits_of(5, 1000)
    assert Sampler(Sampling(temperature=0, seed=1)).pick(logits.copy()) == int(logits.argmax())


def test_repetition_penalty_makes_what_was_said_less_likely() -> None:
    logits = np.array([3.0, 2.9, -1.0], dtype=np.float32)
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.5))
    assert [sampler.pick(logits.copy()) for _ in range(3)] == [0, 1, 0]
    plain = Sampler(Sampling(temperature=0))
    assert [plain.pick(logits.copy()) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_k=0), Sampling(top_k=0, top_p=1), Sampling(temperature=0)]
)
@pytest.mark.parametrize("value", [-np.inf, np.nan])
@pytest.mark.parametrize("size", [100, 50_000])
def test_logits_that_are_no_numbers_are_refused(sampling: Sampling, value: float, size: int) -> None:
    with pytest.raises(ValueError, match="finite"):
        Sampler(sampling).pick(np.full(size, value, dtype=np.float32))
