"""Scoring is pure: each rule alone, and what must hold for any candidates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.memory.scoring import Candidate, Weights, fuse, overlap, pick, rank

PLAIN = Weights()


def candidate(key: int, **fields: object) -> Candidate:
    return replace(Candidate(key=key, cosine=0.5, lexical=1.0, coverage=0.5), **fields)  # type: ignore[arg-type]


def order(*candidates: Candidate, weights: Weights = PLAIN) -> list[int]:
    return [hit.candidate.key for hit in rank(candidates, weights)]


def test_first_by_everything_scores_one() -> None:
    assert fuse([(0, 1.0), (0, 2.0)], 10.0) == pytest.approx(1.0)
    assert fuse([(None, 1.0), (None, 2.0)], 10.0) == 0.0
    assert fuse([], 10.0) == 0.0
    assert fuse([(0, 0.0)], 10.0) == 0.0


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.1, 100))
def test_a_better_place_never_scores_less(a: int, b: int, one: float, other: float, smoothing: float) -> None:
    better = fuse([(min(a, b), one), (7, other)], smoothing)
    worse = fuse([(max(a, b), one), (7, other)], smoothing)
    assert worse <= better <= 1.0 + 1e-9
    assert fuse([(None, one), (7, other)], smoothing) < worse


def test_what_matches_neither_way_is_left_out() -> None:
    weak = candidate(1, cosine=PLAIN.min_cosine - 0.01, coverage=PLAIN.min_coverage - 0.01)
    assert order(weak) == []
    assert order(replace(weak, cosine=None)) == []
    assert order(replace(weak, cosine=PLAIN.min_cosine)) == [1]
    assert order(replace(weak, coverage=PLAIN.min_coverage)) == [1]


def test_what_matches_far_less_than_the_best_is_left_out() -> None:
    best = candidate(1, cosine=0.9, coverage=1.0)
    assert order(best, candidate(2, cosine=0.3, coverage=0.3)) == [1]
    assert order(best, candidate(2, cosine=0.3, coverage=0.6)) == [1, 2]
    assert order(best, candidate(2, cosine=0.6, coverage=0.0)) == [1, 2]


def test_both_readings_count() -> None:
    both = candidate(3, cosine=0.6, lexical=2.0)
    by_vector = candidate(1, cosine=0.7, lexical=0.0)
    by_words = candidate(2, cosine=None, lexical=3.0)
    assert order(by_vector, by_words, both)[0] == 3


def test_without_vectors_words_alone_decide_and_lose_nothing() -> None:
    hits = rank([candidate(1, cosine=None, lexical=2.0), candidate(2, cosine=None, lexical=5.0)], PLAIN)
    assert [hit.candidate.key for hit in hits] == [2, 1]
    assert hits[0].score == pytest.approx(1.0)


def test_among_equals_the_recent_the_important_and_the_trusted_come_first() -> None:
    assert order(candidate(1, age=PLAIN.half_life * 10), candidate(2, age=0.0)) == [2, 1]
    assert order(candidate(1, importance=0.2), candidate(2, importance=0.9)) == [2, 1]
    assert order(candidate(1, trust=0.5), candidate(2)) == [2, 1]
    assert order(candidate(2), candidate(1)) == [1, 2]


def test_a_clock_that_went_backwards_makes_nothing_fresher_than_now() -> None:
    future, present = rank([candidate(1, age=-1e9), candidate(2, age=0.0)], PLAIN)
    assert future.score == present.score


def test_lore_does_not_age() -> None:
    fresh, lore, old = (
        rank([candidate(1, age=age)], PLAIN)[0].score for age in (0.0, None, PLAIN.half_life * 50)
    )
    assert fresh > lore > old


def test_a_half_life_of_nothing_is_no_error() -> None:
    assert order(candidate(1, age=5.0), weights=Weights(half_life=0.0)) == [1]


def test_the_second_of_two_that_say_the_same_is_passed_over() -> None:
    words = frozenset("abcde")
    hits = rank(
        [candidate(1, terms=words), candidate(2, terms=words), candidate(3, terms=frozenset("xyz"))], PLAIN
    )
    assert [hit.candidate.key for hit in pick(hits, PLAIN, 3)] == [1, 3]


def test_what_adds_something_goes_before_what_repeats() -> None:
    hits = rank(
        [
            candidate(1, lexical=3.0, terms=frozenset("abcdef")),
            candidate(2, lexical=2.0, terms=frozenset("abcdeg")),
            candidate(3, lexical=1.9, terms=frozenset("uvwxyz")),
        ],
        PLAIN,
    )
    assert [hit.candidate.key for hit in pick(hits, Weights(diversity=0.5), 2)] == [1, 3]
    assert [hit.candidate.key for hit in pick(hits, Weights(diversity=0.0), 2)] == [1, 2]


def test_overlap() -> None:
    assert overlap(frozenset("ab"), frozenset("ab")) == 1.0
    assert overlap(frozenset("ab"), frozenset("bc")) == pytest.approx(1 / 3)
    assert overlap(frozenset(), frozenset("ab")) == 0.0


def test_a_reason_names_words_likeness_recency_and_importance() -> None:
    shown = candidate(1, words=("gate", "mine"), cosine=0.42, age=0.0, importance=0.9)
    assert rank([shown], PLAIN)[0].reason(PLAIN) == "words: gate, mine; alike 0.42; recent; important"
    silent = candidate(1, cosine=None, age=PLAIN.half_life * 9)
    assert rank([silent], PLAIN)[0].reason(PLAIN) == ""


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        key=st.integers(-50, 50),
        cosine=st.none() | st.floats(-1, 1),
        lexical=st.floats(0, 20),
        coverage=st.floats(0, 1),
        terms=st.frozensets(st.sampled_from("abcdefg")),
        age=st.none() | st.floats(-1e6, 1e9),
        importance=st.floats(0, 1),
        trust=st.floats(0.1, 1),
    ),
    max_size=25,
    unique_by=lambda item: item.key,
)


@given(CANDIDATES, st.integers(-1, 10), st.randoms())
def test_whatever_the_candidates(candidates: list[Candidate], limit: int, random: object) -> None:
    hits = rank(candidates, PLAIN)
    chosen = pick(hits, PLAIN, limit)
    assert len(chosen) <= max(limit, 0)
    assert len({hit.candidate.key for hit in chosen}) == len(chosen)
    assert set(chosen) <= set(hits)
    if hits and limit > 0:
        assert chosen[0] == hits[0]
    for i, a in enumerate(chosen):
        assert all(overlap(a.candidate.terms, b.candidate.terms) <= PLAIN.same for b in chosen[i + 1 :])
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(shuffled, PLAIN) == hits


def test_vectors_that_know_meaning_decide_where_words_have_little_to_say() -> None:
    alike, wordy = candidate(1, cosine=0.6, lexical=1.0), candidate(2, cosine=0.35, lexical=3.0)
    for coverage, first in ((0.25, 1), (1.0, 2)):
        found = [replace(alike, coverage=coverage / 2), replace(wordy, coverage=coverage)]
        assert rank(found, PLAIN, meaning=True)[0].candidate.key == first
    assert rank([replace(alike, coverage=0.2), replace(wordy, coverage=0.25)], PLAIN)[0].candidate.key == 2
