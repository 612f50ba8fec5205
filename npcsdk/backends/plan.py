"""One step of a batching runtime, as values: what `npcsdk.backends.scheduler` decides and a runtime carries out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Copy", "Cut", "Drop", "Entry", "Forget", "Load", "Move", "Plan", "Save"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget a whole sequence."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Forget all but the first ``length`` tokens of a sequence."""

    sequence: int
    length: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Share the first ``length`` cells of ``source`` with ``sequence``, which is empty."""

    source: int
    sequence: int
    length: int


@dataclass(frozen=True, slots=True)
class Save:
    """Keep a sequence's contents elsewhere, by the name ``state``."""

    sequence: int
    state: int


@dataclass(frozen=True, slots=True)
class Load:
    """Bring back what was kept as ``state`` into an empty sequence; it is no longer kept then."""

    state: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Forget:
    """What was kept as ``state`` is not needed any more."""

    state: int


Move: TypeAlias = Drop | Cut | Copy | Save | Load | Forget


@dataclass(frozen=True, slots=True)
class Entry:
    """Tokens to compute for one request, at the position ``start`` of its sequence.

    ``reply`` says that it is one token of the reply, not of the prompt; ``last`` that the logits after it are wanted.
    """

    request: int
    sequence: int
    start: int
    tokens: Sequence[int]
    reply: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: first the ``moves``, in this order, then one computation of all ``entries``."""

    moves: tuple[Move, ...]
    entries: tuple[Entry, ...]

    @property
    def prefill(self) -> int:
        """How many tokens are prompts'."""
        return sum(len(entry.tokens) for entry in self.entries if not entry.reply)

    @property
    def replies(self) -> int:
        """How many tokens are replies'."""
        return sum(entry.reply for entry in self.entries)

    def __bool__(self) -> bool:
        return bool(self.moves or self.entries)
