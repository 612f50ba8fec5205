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
_SHARE = 8
"""What a step of one token costs is about that of so many of a prompt: until it is known."""
_DEPTH = 1000.0
"""Until it is known: the token after so many costs twice as much as the first."""
_STEEPEST = 5 / _DEPTH
_SPREAD = 100.0
"""Positions have to differ by about this much to say what depth costs."""


class Pace:
    """What the steps of one runtime cost.

    Args:
        piece_s: seconds that prompts may take in a step in which somebody's reply goes on.
        step_s: seconds of a step of one token, which every step takes before all else, if that is known.
    """

    def __init__(self, piece_s: float, step_s: float = 0.0) -> None:
        self._piece_s = piece_s
        self._step_s = self._reply_s = step_s
        price = max(piece_s / _GUESS, step_s / _SHARE)
        self._narrow, self._wide = _Speed(price), _Speed(price)
        self._beside = _GUESS // 2

    def measure(self, plan: Plan, seconds: float) -> None:
        """How long a plan's computation took."""
        count = plan.prefill
        if not count:
            self._reply_s = _mean(self._reply_s, seconds)
            if plan.replies == 1:
                self._step_s = _mean(self._step_s, seconds)
        elif count >= _LEAST:
            alone = max(seconds - (self._reply_s if plan.replies else self._step_s), seconds / 4, 1e-9)
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
            replies: whether somebody's reply goes on in this step. Otherwise it may take four times as long. Where a
                step for replies alone takes longer than a piece, prompts may take as long.
            width: the most tokens there may be.
        """
        seconds = max(self._piece_s, self._reply_s if replies else self._step_s)
        if not replies and (self._narrow.known or self._wide.known):
            seconds *= 4
        if replies:  # However wrong a prediction is, a step is not many times as long as the one before it.
            width = min(width, 2 * self._beside)
        most = min(width, sum(left for _, left in prompts))
        wide = min(most, self._wide.fit(seconds, prompts[0][0])) >= _TILE
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
        if replies and sum(sizes) < sum(left for _, left in prompts):
            self._beside = max(sum(sizes), _LEAST)
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
        start = self._mean - rise * self._depth
        self._slope = min(rise / start, _STEEPEST) if start > 0 else _STEEPEST
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


def _mean(before: float, now: float) -> float:
    return 0.6 * before + 0.4 * now if before else now
