"""Numbers about a worker's turns, as they are told to operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from npcsdk.events import Action, End, Event, Failed, Refused, Text

__all__ = ["BUCKETS_MS", "Histogram", "Stats"]

BUCKETS_MS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound of `BUCKETS_MS`, one more for the rest, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_MS) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        place = next((n for n, bound in enumerate(BUCKETS_MS) if value <= bound), len(BUCKETS_MS))
        self.counts[place] += 1
        self.total += value

    def as_data(self) -> Mapping[str, Any]:
        """Plain data: ``counts`` (not cumulative) and ``sum``."""
        return {"counts": list(self.counts), "sum": self.total}


class Stats:
    """What has happened since the worker began. Counted without a lock: a number may be missed once in a while."""

    def __init__(self) -> None:
        self.busy = 0
        self._turns = 0
        self._ended: dict[str, int] = {}
        self._actions: dict[str, int] = {}
        self._tokens = {"prompt": 0, "cached": 0, "computed": 0, "generated": 0}
        self._generating_ms = 0.0
        self._times = {name: Histogram() for name in ("first_token_ms", "recall_ms", "queue_ms", "turn_ms")}

    def began(self, waited: float) -> None:
        """A turn begins, after so many seconds in the queue."""
        self._turns += 1
        self._times["queue_ms"].add(waited * 1000)

    def told(self, event: Event) -> None:
        """An event of a turn."""
        if isinstance(event, Text):
            return  # most are
        if isinstance(event, Action):
            self._count(self._actions, "repaired" if event.repaired else "made")
        elif isinstance(event, Refused):
            self._count(self._actions, f"refused_{event.code}")
        elif isinstance(event, Failed):
            self._count(self._ended, f"error_{event.code}")
        elif isinstance(event, End):
            self._count(self._ended, event.reason)
            for name in self._tokens:
                self._tokens[name] += getattr(event.tokens, name)
            times = event.timings
            if event.tokens.generated:
                self._times["first_token_ms"].add(times.first_token_ms)
                self._times["recall_ms"].add(times.recall_ms)
                self._generating_ms += max(times.total_ms - times.first_token_ms, 0.0)
            self._times["turn_ms"].add(times.total_ms)

    def as_data(self) -> Mapping[str, Any]:
        """All of it as plain data."""
        return {
            "turns": self._turns,
            "busy": self.busy,
            "ended": dict(self._ended),
            "actions": dict(self._actions),
            "tokens": dict(self._tokens),
            "generating_ms": self._generating_ms,
            "times": {name: times.as_data() for name, times in self._times.items()},
        }

    @staticmethod
    def _count(counts: dict[str, int], name: str) -> None:
        if name in counts or len(counts) < 100:  # names come from a closed list; a plug-in's may not
            counts[name] = counts.get(name, 0) + 1
