"""The events of a turn, as its listener gets them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator

from npcsdk.events import Event

__all__ = ["TurnEvents"]


class TurnEvents:
    """A turn's events, for one listener; and for whoever has to end the turn while the listener is elsewhere.

    A generator that was never advanced does not run its own clean-up; this does.
    """

    def __init__(self, events: Generator[Event, None, None], abandon: Callable[[], None]) -> None:
        self._events = events
        self._abandon = abandon
        self._begun = False
        self._lock = threading.Lock()  # held while the generator runs
        self._rest: deque[Event] = deque()  # what `finish` has taken out of it

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._lock:
            self._begun = True
            return self._rest.popleft() if self._rest else next(self._events)

    def finish(self, timeout: float) -> None:
        """Run a cancelled turn to its end. The listener still gets its events."""
        if self._lock.acquire(timeout=timeout):
            try:
                self._begun = True
                self._rest.extend(self._events)
            finally:
                self._lock.release()

    def close(self) -> None:
        """Cancel the turn if it is not over. Idempotent."""
        with self._lock:
            self._rest.clear()
            self._events.close()
            if not self._begun:
                self._begun = True
                self._abandon()

    def __del__(self) -> None:
        self.close()
