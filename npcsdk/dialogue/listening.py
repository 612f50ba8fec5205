"""The events of a turn, as its listener gets them: waiting for each, or told when there is one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator

from npcsdk.backends.base import Finish, Piece, PiecesAtHand
from npcsdk.events import End, Event, Failed

__all__ = ["Listener", "TurnEvents"]


class Listener:
    """How somebody listens to a turn; `TurnEvents` and the turn itself share one."""

    __slots__ = ("ready", "work", "working")

    def __init__(self) -> None:
        self.ready: Callable[[], None] | None = None
        """Called when there is something to take; None while the listener waits for each event."""
        self.work: Callable[[], None] | None = None
        """Called when what comes next takes time: recalling, waiting for the game, writing down."""
        self.working = True
        """Whether the turn is with a thread that may take its time; else a runtime has it."""

    def pieces(self, generation: Iterator[Piece | Finish]) -> Generator[Piece | Finish | None, None, None]:
        """A generation; None where nothing is at hand, or where what follows is for a thread that takes its time."""
        if self.ready is None or not isinstance(generation, PiecesAtHand):
            yield from generation
            return
        generation.listen(self.ready)
        item: Piece | Finish | None = None
        while not isinstance(item, Finish):
            try:
                item = next(generation) if self.ready is None else generation.take()
            except BaseException:
                if not self.working:
                    self.working = True
                    yield None
                raise
            if item is None:
                self.working = False
            elif isinstance(item, Finish) and not self.working:
                self.working = True
                yield None
            yield item


class TurnEvents:
    """A turn's events, for one listener; and for whoever has to end the turn while the listener is elsewhere.

    A listener iterates, and waits; or it calls `listen` first, and then `work` and `take` as those tell: a turn whose
    runtime computes for many at once then needs no thread while it speaks.

    A generator that was never advanced does not run its own clean-up; this does.
    """

    def __init__(
        self,
        events: Generator[Event | None, None, None],
        abandon: Callable[[], None],
        listener: Listener,
    ) -> None:
        self._events = events
        self._abandon = abandon
        self._listener = listener
        self._begun = False
        self._lock = threading.Lock()  # held while the generator runs
        self._rest: deque[Event | None] = deque()  # what `finish` has taken out of it

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._lock:
            while (event := self._next()) is None:
                pass
            return event

    def listen(self, ready: Callable[[], None], work: Callable[[], None]) -> None:
        """Before the first event: from now on ``ready`` is called when there may be something to `take`, ``work`` when
        there is something to `work` on. From any thread; they do not wait."""
        self._listener.ready, self._listener.work = ready, work

    def work(self) -> Event | None:
        """The next event, from a thread that may take its time. None: what comes next is told by ``ready``.

        Called by whoever called `listen`, and after each ``work``; then until it is None or the turn is over.
        """
        with self._lock:
            event = self._next()
            ready = self._told(event)
        if event is None and ready is not None:
            ready()  # what has come since was told while there was somebody at work
        return event

    def take(self) -> Event | None:
        """The next event, or None while there is none. Never waits."""
        listener = self._listener
        if listener.working and not self._rest:
            return None
        with self._lock:
            event = self._next()
            work = listener.work if event is None and listener.working else None
            self._told(event)
        if work is not None:
            work()
        return event

    def _next(self) -> Event | None:
        self._begun = True
        return self._rest.popleft() if self._rest else next(self._events)

    def _told(self, event: Event | None) -> Callable[[], None] | None:
        """Let go of the listener with the last event: it may hold on to these events in turn."""
        ready = self._listener.ready
        if isinstance(event, End | Failed):
            self._listener.ready = self._listener.work = None
        return ready

    def finish(self, timeout: float) -> None:
        """Run a cancelled turn to its end. The listener still gets its events."""
        if self._lock.acquire(timeout=timeout):
            listener = self._listener
            ready, working = listener.ready, listener.working
            try:
                self._begun = True
                listener.ready, listener.working = None, True
                self._rest.extend(event for event in self._events if event is not None)
            finally:
                listener.ready, listener.working = ready, working
                self._lock.release()
            if ready is not None and not working:
                ready()

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
