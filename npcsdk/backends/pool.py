"""Which sessions keep a cache: least recently used ones give way, and a byte budget holds. Pure
bookkeeping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["SessionPool", "common_prefix"]

State = TypeVar("State")


class SessionPool(Generic[State]):
    """States by session, within ``budget`` bytes. Not locked: its owner does that.

    A state is *idle* (in the pool, can be evicted) or *taken* (its owner works with it; it counts, but cannot
    be evicted). The cycle is `take`, or `reserve` where there is nothing to take; then `put` or `forget`.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._idle: OrderedDict[str, tuple[State, int]] = OrderedDict()
        self._idle_bytes = 0
        self._taken_bytes = 0
        self._taken: dict[str, int] = {}
        self._unwanted: set[str] = set()

    @property
    def bytes(self) -> int:
        """Bytes of all states, idle and taken."""
        return self._idle_bytes + self._taken_bytes

    def __len__(self) -> int:
        return len(self._idle) + sum(self._taken.values())

    def __contains__(self, session: str) -> bool:
        return session in self._idle or session in self._taken

    def take(self, session: str) -> State | None:
        """The session's idle state, now taken; None when there is none."""
        found = self._idle.pop(session, None)
        if found is None:
            return None
        state, size = found
        self._idle_bytes -= size
        self._start(session, size)
        return state

    def reserve(self, session: str, size: int) -> list[State] | None:
        """Count ``size`` bytes as taken for a new state, and return the idle states that must go for it.

        None when it cannot fit until something taken comes back: nothing has changed then.
        """
        if self._taken_bytes + size > self.budget:
            return None
        evicted: list[State] = []
        while self.bytes + size > self.budget:
            _, (state, freed) = self._idle.popitem(last=False)
            self._idle_bytes -= freed
            evicted.append(state)
        self._start(session, size)
        return evicted

    def put(self, session: str, state: State, size: int) -> State | None:
        """Give a taken state back as the most recently used one.

        Returns a state that is no longer wanted: this one, if the session was released meanwhile, or an older
        one of the same session.
        """
        unwanted = session in self._unwanted
        self.forget(session, size)
        if unwanted:
            return state
        older = self._idle.pop(session, None)
        if older is not None:
            self._idle_bytes -= older[1]
        self._idle[session] = (state, size)
        self._idle_bytes += size
        return older[0] if older is not None else None

    def forget(self, session: str, size: int) -> None:
        """A taken state is gone and will not be put back."""
        self._taken_bytes -= size
        self._taken[session] -= 1
        if not self._taken[session]:
            del self._taken[session]
            self._unwanted.discard(session)

    def release(self, session: str) -> State | None:
        """Drop a session. Its state if it was idle; a taken one comes back from `put` instead."""
        if session in self._taken:
            self._unwanted.add(session)
        found = self._idle.pop(session, None)
        if found is None:
            return None
        self._idle_bytes -= found[1]
        return found[0]

    def clear(self) -> list[State]:
        """Drop every idle state and return them."""
        states = [state for state, _ in self._idle.values()]
        self._idle.clear()
        self._idle_bytes = 0
        return states

    def _start(self, session: str, size: int) -> None:
        self._taken_bytes += size
        self._taken[session] = self._taken.get(session, 0) + 1


def common_prefix(cached: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens of ``prompt`` need not be computed: at least one always is, for its logits."""
    limit = min(len(cached), len(prompt) - 1)
    if limit <= 0:
        return 0
    a, b = cached[:limit], prompt[:limit]
    if a == b:
        return limit
    low, high = 0, limit  # The prefix of length `low` is equal, that of length `high` is not.
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
