"""How the next token is chosen from logits. Pure numpy, fast at a vocabulary of 256,000.

The order is that of transformers: repetition penalty, temperature, top-k, top-p. On a large vocabulary, which
tokens are legal is asked for candidates only, and only a candidate that is illegal makes us mask the whole
vocabulary; the outcome is the same as that of masking first.
"""

from __future__ import annotations

import math
import random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from npcsdk.backends.base import Sampling

__all__ = ["Bitmask", "Logits", "Sampler", "largest", "mask_logits"]

Logits: TypeAlias = NDArray[np.float32]
Bitmask: TypeAlias = NDArray[np.int32]
"""Bit ``i % 32`` of word ``i // 32`` says whether token ``i`` is legal."""

_BLOCK = 64
_SMALL = 8192
_FIRST_TRY = 512


class Sampler:
    """Chooses tokens for one generation.

    The repetition penalty counts the tokens of this reply only: the prompt holds names and schemas that the
    model is meant to repeat.
    """

    __slots__ = ("_inverse", "_penalty", "_random", "_seen", "_top_k", "_top_p")

    def __init__(self, sampling: Sampling) -> None:
        self._random = random.Random(sampling.seed).random
        self._inverse = 1.0 / sampling.temperature if sampling.temperature > 1e-6 else 0.0
        self._top_k = max(sampling.top_k, 0)
        self._top_p = sampling.top_p
        self._penalty = sampling.repetition_penalty if sampling.repetition_penalty > 0 else 1.0
        self._seen: set[int] = set()

    def pick(self, logits: Logits, legal: Bitmask | None = None) -> int:
        """The next token.

        Args:
            logits: shape ``[vocabulary]``; overwritten.
            legal: the tokens that may be chosen; at least one. None: all.

        Raises:
            ValueError: no token has a finite logit, as a runtime that overflows gives.
        """
        if self._seen and self._penalty != 1.0:
            seen = np.fromiter(self._seen, dtype=np.intp, count=len(self._seen))
            values = logits[seen]
            logits[seen] = np.where(values > 0, values / self._penalty, values * self._penalty)
        _highest(logits)
        token = self._greedy(logits, legal) if not self._inverse else self._draw(logits, legal)
        if self._penalty != 1.0:
            self._seen.add(token)
        return token

    def _greedy(self, logits: Logits, legal: Bitmask | None) -> int:
        token = int(logits.argmax())
        if legal is not None and not (int(legal[token >> 5]) >> (token & 31)) & 1:
            token = int(mask_logits(logits, legal).argmax())
            _highest(logits)
        return token

    def _draw(self, logits: Logits, legal: Bitmask | None) -> int:
        limit = self._top_k
        wide = not 0 < limit < logits.size
        if legal is not None and (wide or logits.size <= _SMALL):
            logits, legal = mask_logits(logits, legal), None
        if wide:
            return self._draw_wide(logits)
        chosen = largest(logits, limit)
        if legal is not None and not ((legal[chosen >> 5] >> (chosen & 31)) & 1).all():
            chosen = largest(mask_logits(logits, legal), limit)
        return self._nucleus(chosen, logits[chosen], None)

    def _draw_wide(self, logits: Logits) -> int:
        """Without top-k: the nucleus is looked for among the largest few, then among more."""
        if self._top_p >= 1.0:
            scaled = (logits - _highest(logits)) * np.float32(self._inverse)
            weights: NDArray[np.float64] = np.exp(scaled).cumsum(dtype=np.float64)
            drawn = self._random() * float(weights[-1])
            return min(int(weights.searchsorted(drawn, side="right")), logits.size - 1)
        total = float(np.exp((logits - _highest(logits)) * np.float32(self._inverse)).sum(dtype=np.float64))
        limit = _FIRST_TRY
        while True:
            chosen = largest(logits, limit) if limit < logits.size else np.arange(logits.size)
            values = logits[chosen]
            covered = float(np.exp((values - values.max()) * np.float32(self._inverse)).sum(dtype=np.float64))
            if limit >= logits.size or covered >= self._top_p * total:
                return self._nucleus(chosen, values, total)
            limit *= 8

    def _nucleus(self, chosen: NDArray[np.intp], values: Logits, total: float | None) -> int:
        """Draw among candidates. ``total`` is the weight of all tokens where candidates are not all that
        count."""
        # A stable order makes a seed give the same reply everywhere: by logit, then by id.
        _highest(values)
        order = np.lexsort((chosen, -values))
        values = values[order]
        weights = np.exp((values - values[0]) * np.float32(self._inverse)).cumsum(dtype=np.float64)
        end = weights.size
        if self._top_p < 1.0:
            # The smallest set whose probability reaches top_p, never empty.
            end = int(weights.searchsorted(self._top_p * (total or weights[-1]))) + 1
            end = min(end, weights.size)
        at = int(weights[:end].searchsorted(self._random() * weights[end - 1], side="right"))
        return int(chosen[order[min(at, end - 1)]])


def _highest(logits: Logits) -> np.float32:
    highest = logits.max()
    if not math.isfinite(highest):
        raise ValueError("no token can be chosen: the logits are not finite numbers")
    return highest


def largest(logits: Logits, count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` largest logits, in no order; of equal ones at the border, any.

    On a large vocabulary the largest of each block of 64 are compared first: the ``count``-th largest of
    those is a lower bound, which few single logits reach. Sorting everything would take 20 times as long.
    """
    if logits.size <= _SMALL or count * 4 >= logits.size // _BLOCK:
        return np.argpartition(logits, logits.size - count)[logits.size - count :]
    whole = logits.size // _BLOCK * _BLOCK
    tops = logits[:whole].reshape(-1, _BLOCK).max(axis=1)
    bound = np.partition(tops, tops.size - count)[tops.size - count]
    candidates = np.flatnonzero(logits >= bound)
    if candidates.size <= count:
        return candidates
    values = logits[candidates]
    return candidates[np.argpartition(values, values.size - count)[values.size - count :]]


def mask_logits(logits: Logits, legal: Bitmask) -> Logits:
    """Set the logits of illegal tokens to minus infinity, in place."""
    bits = np.unpackbits(legal.view(np.uint8), count=logits.size, bitorder="little").view(np.bool_)
    np.copyto(logits, np.float32(-np.inf), where=~bits)
    return logits
