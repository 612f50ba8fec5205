"""Turns that need no thread while they speak: their world says when it has something, and one thread goes from turn to
turn.

A runtime that computes the next token of many characters in one batch has all of them at the same moment. Handed to
a thread for each turn, every token would cost two changes of threads; here a whole round costs one, and leaves
together. What takes time in a turn (recalling, waiting for the game, writing down) is done in a thread of the pool.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue

__all__ = ["Rounds"]

_log = logging.getLogger(__name__)

_TOGETHER = 64  # turns whose events leave in one go: the first does not wait for the last of many


class Rounds:
    """Advances turns in one thread, which begins with the first of them.

    Args:
        together: what is sent within it leaves in one go.
    """

    def __init__(self, together: Callable[[], AbstractContextManager[None]]) -> None:
        self._together = together
        self._ready: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._begun = False

    def follow(self, advance: Callable[[], None]) -> Callable[[], None]:
        """What to call, from any thread, whenever ``advance`` has something to do; it does not wait."""
        with self._lock:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="npcsdk-rounds", daemon=True).start()
        return lambda: self._ready.put(advance)

    def close(self) -> None:
        """End the thread after what is ready."""
        self._ready.put(None)

    def _run(self) -> None:
        while (first := self._ready.get()) is not None:
            with self._together():
                self._advance(first)
                for _ in range(_TOGETHER - 1):
                    try:
                        another = self._ready.get_nowait()
                    except Empty:
                        break
                    if another is None:
                        return
                    self._advance(another)

    @staticmethod
    def _advance(advance: Callable[[], None]) -> None:
        try:
            advance()
        except Exception:
            _log.exception("A turn could not go on")
