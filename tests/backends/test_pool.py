"""The pool's bookkeeping: least recently used first, within the budget, nothing taken is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from npcsdk.backends.pool import SessionPool


def test_the_least_recently_used_session_gives_way() -> None:
    pool: SessionPool[str] = SessionPool(30)
    for name in ("a", "b", "c"):
        assert pool.reserve(name, 10) == []
        assert pool.put(name, name.upper(), 10) is None
    assert pool.take("a") == "A"
    pool.put("a", "A", 10)
    assert pool.reserve("d", 10) == ["B"]
    assert pool.take("b") is None
    assert pool.bytes == 30


def test_what_is_taken_cannot_be_evicted() -> None:
    pool: SessionPool[str] = SessionPool(20)
    assert pool.reserve("a", 10) == []
    assert pool.reserve("b", 10) == []
    assert pool.reserve("c", 10) is None
    pool.put("b", "B", 10)
    assert pool.reserve("c", 10) == ["B"]
    assert pool.bytes == 20


def test_a_session_released_while_taken_is_not_kept() -> None:
    pool: SessionPool[str] = SessionPool(20)
    pool.reserve("a", 10)
    assert pool.release("a") is None
    assert pool.put("a", "A", 10) == "A"
    assert pool.bytes == 0
    pool.reserve("a", 10)
    assert pool.put("a", "A2", 10) is None
    assert pool.release("a") == "A2"
    assert pool.release("never seen") is None
    pool.reserve("a", 10)
    pool.release("a")
    pool.forget("a", 10)  # It failed; the release is done with, and the next one is wanted again.
    pool.reserve("a", 10)
    assert pool.put("a", "A3", 10) is None


def test_two_states_of_one_session_leave_the_later_one() -> None:
    pool: SessionPool[str] = SessionPool(30)
    pool.reserve("a", 10)
    pool.reserve("a", 10)
    assert pool.put("a", "first", 10) is None
    assert pool.put("a", "second", 10) == "first"
    assert pool.bytes == 10
    assert pool.take("a") == "second"


@given(
    st.lists(st.tuples(st.sampled_from("trpfx"), st.sampled_from("abcd"), st.integers(1, 12)), max_size=60)
)
def test_bytes_are_the_sum_of_what_is_held_and_never_above_the_budget(
    steps: list[tuple[str, str, int]],
) -> None:
    pool: SessionPool[object] = SessionPool(30)
    taken: list[tuple[str, object, int]] = []
    sizes: dict[int, int] = {}
    for step, name, size in steps:
        if step == "t":
            state = pool.take(name)
            if state is not None:
                taken.append((name, state, sizes[id(state)]))
        elif step == "r":
            if pool.reserve(name, size) is not None:
                state = object()
                sizes[id(state)] = size
                taken.append((name, state, size))
        elif step == "p" and taken:
            pool.put(*taken.pop())
        elif step == "f" and taken:
            name, _, size = taken.pop()
            pool.forget(name, size)
        elif step == "x":
            pool.release(name)
        assert sum(size for _, _, size in taken) <= pool.bytes <= 30
    for entry in taken:
        pool.put(*entry)
    pool.clear()
    assert pool.bytes == 0
    assert len(pool) == 0
