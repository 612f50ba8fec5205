"""How often somebody may do something: so many a minute, some at once. No clock of its own."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A bucket of tokens.

    Args:
        per_minute: how many come in a minute.
        burst: how many there are at most.
        now: seconds on any clock; it is full then.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, per_minute: float, burst: float, now: float) -> None:
        self._rate = per_minute / 60.0
        self._burst = max(burst, 1.0)
        self._left = self._burst
        self._at = now

    def take(self, now: float) -> int | None:
        """Take one: None, or when there is none, the milliseconds until there will be."""
        # A clock that jumped back gives nothing and takes nothing.
        self._left = min(self._burst, self._left + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return None
        return max(1, round((1.0 - self._left) / self._rate * 1000)) if self._rate > 0 else 60_000
