"""From the one thread that computes many replies to those who take them: waiting, or told when there is something.

Shared by the runtimes that batch. Pure but for the queue: no runtime, no thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import TypeAlias

from npcsdk.backends.base import Finish, Piece

__all__ = ["Delivered", "Delivery"]

Item: TypeAlias = Piece | Finish | BaseException


class Delivery:
    """One reply's way: one thread puts, one takes. Errors travel as values."""

    __slots__ = ("_items", "ready", "waits")

    def __init__(self) -> None:
        self._items: SimpleQueue[Item] = SimpleQueue()
        self.ready: Callable[[], None] | None = None
        """Called after each `put`, by the thread that puts; it must not wait."""
        self.waits = True
        """Whether `get` waits."""

    def put(self, item: Item) -> None:
        """Hand over what comes next."""
        self._items.put(item)
        if self.ready is not None:
            self.ready()

    def get(self) -> Item | None:
        """What comes next; None when there is nothing and ``waits`` is not set."""
        return self._items.get() if self.waits or not self._items.empty() else None

    def __len__(self) -> int:
        """How many have been put and not been got."""
        return self._items.qsize()


class Delivered(Iterator[Piece | Finish]):
    """What `Backend.generate` returns: `npcsdk.backends.base.PiecesAtHand` from a generator.

    Args:
        make: the generation, as a generator that yields None where `Delivery.get` has given None.
    """

    def __init__(self, make: Callable[[Delivery], Generator[Piece | Finish | None, None, None]]) -> None:
        self._delivery = Delivery()
        self._pieces = make(self._delivery)

    def __next__(self) -> Piece | Finish:
        self._delivery.waits = True
        while (item := next(self._pieces)) is None:
            pass
        return item

    def listen(self, ready: Callable[[], None]) -> None:
        """See `npcsdk.backends.base.PiecesAtHand`."""
        self._delivery.ready = ready

    def take(self) -> Piece | Finish | None:
        """See `npcsdk.backends.base.PiecesAtHand`."""
        self._delivery.waits = False
        return next(self._pieces)

    def close(self) -> None:
        """End the generation."""
        self._pieces.close()
