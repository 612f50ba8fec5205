"""Numbers that a line names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.quantities import numbers


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("a core from a depth of 45 metres", [45]),
        ("All fourteen servings, please.", [14]),
        ("sixty-five inches", [65]),
        ("two hundred and six crates, then one thousand two hundred", [206, 1200]),
        ("a dozen eels, no: two dozen", [12, 24]),
        ("a hundred marks and 1,200 pence", [100, 1200]),
        ("five, six or seven", [5, 6, 7]),
        ("twenty thirty", [20, 30]),
        ("blow it twice", [2]),
        ("deck 7b", [7]),
        ("half past three", [3]),
        ("2.5 litres", []),
        ("nobody knows", []),
        ("9" * 40, []),
        ("one one zero", [1, 1, 0]),
        ("cocoa for the second floor", [2]),
        ("wait a second", []),
        ("the third", []),
    ],
)
def test_numbers_are_read_in_figures_and_in_words(line: str, named: list[int]) -> None:
    assert numbers(line) == named


@given(st.text())
def test_any_text_is_read(line: str) -> None:
    assert all(number >= 0 for number in numbers(line))


@given(st.integers(0, 999_999))
def test_figures_are_found_wherever_they_stand(number: int) -> None:
    assert numbers(f"take {number:,} of them") == numbers(f"take {number} of them") == [number]
