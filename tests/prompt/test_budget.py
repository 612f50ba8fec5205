"""Who gets the tokens of a window: pure decisions over sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from npcsdk.prompt.budget import Shares, first_turn, fit

SIZES = st.lists(st.integers(0, 50), max_size=20)
ROOM = st.integers(0, 200)


def test_a_later_smaller_item_fills_a_gap() -> None:
    assert fit([4, 9, 3, 4], 10) == [True, False, True, False]
    assert fit([], 10) == []


@given(SIZES, ROOM)
def test_what_is_kept_fits_and_nothing_that_would_fit_is_left_out(sizes: list[int], room: int) -> None:
    kept = fit(sizes, room)
    used = 0
    for size, keep in zip(sizes, kept, strict=True):
        assert keep == (used + size <= room)
        used += size * keep
    assert used <= room


@given(SIZES, ROOM, st.floats(0.1, 1.0), st.integers(0, 20))
def test_history_stays_until_it_must_go_and_then_goes_down_to_the_low_water_mark(
    sizes: list[int], room: int, low_water: float, begin: int
) -> None:
    begin = min(begin, len(sizes))
    start = first_turn(sizes, begin, room, low_water)
    assert start >= begin
    assert sum(sizes[start:]) <= room
    if sum(sizes[begin:]) <= room:
        assert start == begin
    else:
        assert sum(sizes[start:]) <= room * low_water
        assert sum(sizes[start - 1 :]) > room * low_water  # and not one turn more than that


def test_trimming_is_seldom() -> None:
    """With turns of equal size the beginning moves once in many turns, not every turn."""
    sizes: list[int] = []
    start, moves = 0, 0
    for _ in range(100):
        sizes.append(50)
        now = first_turn(sizes, start, 1000, 0.6)
        moves += now != start
        start = now
    assert 0 < moves <= 100 / 8


def test_shares() -> None:
    assert Shares(window=4096, reply=160).prompt == 3936
