"""Where a turn's time goes: the runtime, recall, waiting for the game, the listener, and what is left, our own."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

from npcsdk.events import Timings

__all__ = ["TurnClock"]

Item = TypeVar("Item")


class TurnClock:
    """Started when the line arrives."""

    def __init__(self) -> None:
        self._start = perf_counter()
        self._runtime = 0.0
        self._recall = 0.0
        self._waiting = 0.0
        self._outside = 0.0
        self._first: float | None = None

    def runtime(self, pieces: Iterable[Item | None]) -> Iterator[Item | None]:
        """The same pieces; the time between asking for one and having it, with a None for not yet, is the runtime's."""
        iterator = iter(pieces)
        while True:
            begun = perf_counter()
            try:
                while (item := next(iterator)) is None:
                    yield None
            except StopIteration:
                return
            finally:
                self._runtime += perf_counter() - begun
            yield item

    def outside(self, events: Iterator[Item | None]) -> Iterator[Item | None]:
        """The same events; the time until the listener asks for the next one is the listener's.

        Not so after a None, for no event yet: then the runtime has it.
        """
        try:
            for event in events:
                begun = perf_counter()
                try:
                    yield event
                finally:
                    if event is not None:
                        self._outside += perf_counter() - begun
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()

    @contextmanager
    def recall(self) -> Generator[None, None, None]:
        """Around the recall of memory."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._recall += perf_counter() - begun

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """Around waiting for the game's results."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._waiting += perf_counter() - begun

    def first_token(self) -> None:
        """The first piece has come; later calls change nothing."""
        if self._first is None:
            self._first = perf_counter() - self._start

    def timings(self) -> Timings:
        """All of it, up to now."""
        total = perf_counter() - self._start
        own = total - self._runtime - self._recall - self._waiting - self._outside
        return Timings(
            recall_ms=self._recall * 1000,
            sdk_ms=max(own, 0.0) * 1000,
            first_token_ms=(self._first or 0.0) * 1000,
            total_ms=total * 1000,
        )
