"""Which prompts wait for another's beginning: the pure part of OpenVINO's adapter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from npcsdk.backends.openvino_beginnings import Beginnings

PAGE = 4
WORLD = list(range(10))


def test_a_common_beginning_is_computed_by_one() -> None:
    beginnings = Beginnings(PAGE, 100)
    assert not beginnings.waits([*WORLD, 1])
    beginnings.begin("a", [*WORLD, 1])
    assert beginnings.waits([*WORLD, 2])
    assert not beginnings.waits([9, *WORLD])
    assert not beginnings.waits(WORLD[:PAGE])  # its only page is its last, which is computed anyway
    beginnings.computed("a")
    assert not beginnings.waits([*WORLD, 2])


def test_what_is_there_already_is_not_waited_for() -> None:
    beginnings = Beginnings(PAGE, 100)
    beginnings.begin("a", WORLD)
    beginnings.computed("a")
    beginnings.begin("b", [*WORLD, *range(50, 70)])
    assert not beginnings.waits([*WORLD, *range(80, 99)])  # shares nothing that b computes
    assert beginnings.waits([*WORLD, *range(50, 70), 1])


def test_nobody_waits_for_one_that_has_gone() -> None:
    beginnings = Beginnings(PAGE, 100)
    beginnings.begin("a", WORLD)
    beginnings.dropped("a")
    beginnings.dropped("a")
    assert not beginnings.waits(WORLD)


def test_the_oldest_pages_are_forgotten() -> None:
    beginnings = Beginnings(PAGE, 2)
    for start in (0, 100):
        beginnings.begin(start, range(start, start + 10))
        beginnings.computed(start)
    beginnings.begin("again", range(10))
    assert beginnings.waits([*range(10), 1])
    assert not beginnings.waits([*range(100, 110), 1])


@given(st.lists(st.lists(st.integers(0, 1), max_size=30), max_size=12), st.integers(1, 30))
def test_everybody_gets_a_turn(prompts: list[list[int]], pages: int) -> None:
    """Whatever the prompts: as long as some wait, one that they wait for is being computed."""
    beginnings = Beginnings(PAGE, pages)
    left = dict(enumerate(prompts))
    computing: set[int] = set()
    while left:
        for number, prompt in list(left.items()):
            if not beginnings.waits(prompt):
                beginnings.begin(number, prompt)
                computing.add(number)
                del left[number]
        assert computing
        done = min(computing)
        computing.discard(done)
        beginnings.computed(done)
