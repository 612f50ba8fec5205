"""How long a step takes, learnt from those before it, and so how much of which prompt goes into the next. Pure.

A token costs more the more stand before it, and how much more is the machine's and the model's: both are fitted. In
wide pieces a token costs less than in narrow ones, so they are fitted apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from npcsdk.backends.plan import Plan

__all__ = ["Pace"]

_TILE = 64
"""From so many tokens on, and for as many at a time, runtimes look at what came before them once for all."""
_LEAST = 4
"""Fewer tokens cost about as much as this many."""
_GUESS = 32
"""Tokens of the very first piece."""
_DEPTH = 1000.0
"""Until it is known: the token after so many costs twice as much as the first."""
_SPREAD = 100.0
"""Positions have to differ by about this much to say what depth costs."""


class Pace:
    """What the steps of one runtime cost.

    Args:
        piece_s: seconds that prompts may take in a step in which somebody's reply goes on.
    """

    def __init__(self, piece_s: float) -> None:
        self._piece_s = piece_s
        self._reply_s = 0.0
        self._narrow, self._wide = _Speed(piece_s / _GUESS), _Speed(piece_s / _GUESS)

    def measure(self, plan: Plan, seconds: float) -> None:
        """How long a plan's computation took."""
        count = plan.prefill
        if not count:
            self._reply_s = seconds if not self._reply_s else 0.6 * self._reply_s + 0.4 * seconds
        elif count >= _LEAST:
            alone = max(seconds - (self._reply_s if plan.replies else 0.0), seconds / 4, 1e-9)
            pieces = [(entry.start, len(entry.tokens)) for entry in plan.entries if not entry.reply]
            depth = sum((start + size / 2) * size for start, size in pieces) / count
            speed, other = (self._wide, self._narrow) if count >= _TILE else (self._narrow, self._wide)
            speed.learn(depth, alone / count)
            # What was never seen is guessed, and the narrow ones' price not too low.
            other.guess(speed, 1.0 if other is self._wide else 2.0)

    def share(self, prompts: Sequence[tuple[int, int]], *, replies: bool, width: int) -> list[int]:
        """How many tokens of each prompt go into the next step.

        Args:
            prompts: for each, in the order of their turns, how much is computed and how much is left.
            replies: whether somebody's reply goes on in this step. Otherwise it may take four times as long; and as
                long as the replies' part of it, where that is more than a piece.
            width: the most tokens there may be.
        """
        seconds = self._piece_s
        if replies:
            seconds = max(seconds, self._reply_s)
        elif self._narrow.known or self._wide.known:
            seconds *= 4
        wide = sum(left for _, left in prompts) >= _TILE and self._wide.fit(seconds, prompts[0][0]) >= _TILE
        speed = self._wide if wide else self._narrow
        sizes: list[int] = []
        for start, left in prompts:
            size = speed.fit(seconds, start)
            if not sizes:
                size = max(size, _LEAST)
            # A small rest goes along: as a step of its own it would cost as much as a large one.
            if left <= size + size // (4 if replies else 2):
                size = left
            elif wide:
                size -= size % _TILE
            sizes.append(min(size, width))
            width -= sizes[-1]
            seconds -= speed.seconds(start, sizes[-1])
        return sizes


class _Speed:
    """Seconds of one token at a depth: ``price * (1 + depth * slope)``.

    The slope is that of a straight line through all that was measured, and forgets slowly. The price follows at once
    when things become slower, and takes its time when they become faster: what is to be avoided are pieces too long.
    """

    def __init__(self, price: float) -> None:
        self._price = price
        self._slope = 1 / _DEPTH
        self._weight = self._depth = self._mean = self._square = self._product = 0.0

    @property
    def known(self) -> bool:
        return self._weight > 0

    def guess(self, other: _Speed, times: float) -> None:
        """Take over another's figures, unless there are own ones."""
        if not self.known:
            self._price, self._slope = other._price * times, other._slope

    def learn(self, depth: float, seconds: float) -> None:
        first = not self.known
        # Decayed means, and sums of squares around them.
        self._weight = 0.98 * self._weight + 1.0
        away, off = depth - self._depth, seconds - self._mean
        self._depth += away / self._weight
        self._mean += off / self._weight
        self._square = 0.98 * self._square + away * (depth - self._depth)
        self._product = 0.98 * self._product + away * (seconds - self._mean)
        # As many of the usual kind are counted in as make a doubt where all depths were alike.
        usual = self._mean / (_DEPTH + self._depth)
        doubt = _SPREAD * _SPREAD
        rise = max((self._product + doubt * usual) / (self._square + doubt), 0.0)
        start = max(self._mean - rise * self._depth, self._mean / 20)
        self._slope = min(rise / start, 20 / _DEPTH)
        price = seconds / (1 + depth * self._slope)
        self._price = price if first or price > self._price else 0.6 * self._price + 0.4 * price

    def seconds(self, start: int, count: int) -> float:
        """What ``count`` tokens from ``start`` on take."""
        return self._price * count * (1 + (start + count / 2) * self._slope)

    def fit(self, seconds: float, start: int) -> int:
        """How many tokens from ``start`` on take so long."""
        if seconds <= 0:
            return 0
        units = seconds / self._price
        one = 1 + start * self._slope
        return int(2 * units / (one + math.sqrt(one * one + 2 * self._slope * units)))
