"""Has the turns that a conversation's prompt loses summed up, and takes the summary between turns."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition

from npcsdk.dialogue.history import History
from npcsdk.dialogue.summaries import Summaries
from npcsdk.memory.recall import Summary
from npcsdk.prompt.compose import Composer

__all__ = ["Upkeep"]


class Upkeep:
    """Every method is called by who holds ``lock``, the conversation's own."""

    def __init__(
        self, history: History, summaries: Summaries, lock: Condition, timeline: Callable[[], int]
    ) -> None:
        self._history = history
        self._summaries = summaries
        self._lock = lock
        self._timeline = timeline
        self._wanted: object | None = None  # stands for what is being summed up, as long as that is wanted
        self._made: Summary | None = None

    def drop(self) -> None:
        """What is being summed up has changed: what comes of it counts no more."""
        self._wanted = self._made = None

    def heard_less(self, composer: Composer, *, running: bool) -> None:
        """Of a turn less was heard than was said: no summary may stand that was made of the whole."""
        if not running:
            self.take(composer)  # the history will see to it
        elif self._made is not None:
            self._history.write(self._history.summary or Summary(), self._timeline())
        self.drop()

    def sum_up(self, composer: Composer) -> None:
        """Have summed up what the prompt loses, if there is something; nobody waits for it."""
        if self._wanted is not None or self._made is not None:
            return
        work = self._history.due(composer)
        if work is None:
            return
        self._wanted = wanted = object()
        timeline = self._timeline()

        def keep(summary: Summary) -> None:
            with self._lock:  # so that nothing is written that is not wanted any more
                if self._wanted is wanted:
                    self._history.write(summary, timeline)
                    self._wanted, self._made = None, summary

        def give_up() -> None:
            with self._lock:
                if self._wanted is wanted:
                    self._wanted = None  # it is tried again after the next turn

        self._summaries.submit(work, keep, give_up)

    def take(self, composer: Composer) -> None:
        """No turn runs: let a summary that was made stand for its turns."""
        summary, self._made = self._made, None
        if summary is not None:
            self._history.take(summary, composer)
