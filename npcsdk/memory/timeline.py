"""Timelines: which records a saved game can see. Pure.

Positions are the journal's sequence numbers, which only grow. A timeline forks from its parent at a
position; what it can see is its own records, its parent's up to the fork, the grandparent's up to the
parent's fork, and so on. So loading a slot costs one row, however long the journal is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["NO_LIMIT", "Fork", "View", "reach", "view_of"]

NO_LIMIT = 2**62
"""The limit of the timeline that is being written: all of its records are seen."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a timeline left its parent: the last position of the parent that it sees."""

    parent: int
    position: int


@dataclass(frozen=True, slots=True)
class View:
    """What one timeline can see: for each timeline of its ancestry, the last visible position."""

    timeline: int
    limits: Mapping[int, int]

    def sees(self, timeline: int, position: int) -> bool:
        """Whether the record at ``position``, written on ``timeline``, happened here."""
        return position <= self.limits.get(timeline, -1)


def view_of(timeline: int, forks: Mapping[int, Fork], *, upto: int = NO_LIMIT) -> View:
    """The view of ``timeline``, of the moment ``upto`` if given.

    ``forks`` has an entry for every timeline that was forked from another.
    """
    limits = {timeline: upto}
    limit = upto
    current = timeline
    while (fork := forks.get(current)) is not None:
        # An ancestor is never seen further than its descendant saw it.
        limit = min(limit, fork.position)
        limits[fork.parent] = limit
        current = fork.parent
    return View(timeline=timeline, limits=limits)


def reach(views: Iterable[View]) -> dict[int, int]:
    """For each timeline that any of ``views`` can see, the last position that one of them sees."""
    reached: dict[int, int] = {}
    for view in views:
        for timeline, limit in view.limits.items():
            reached[timeline] = max(limit, reached.get(timeline, -1))
    return reached
