"""Keeps every character's memory within its cap: counts what is written and trims on a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from npcsdk.errors import MemoryStoreError

__all__ = ["Caps"]

_SLACK = 10  # a tenth of the cap goes at a time, so that it happens seldom


@dataclass(slots=True)
class _Count:
    held: int  # records, as far as known
    next_look: int  # at so many


class Caps:
    """`wrote` is called after every write and takes no time; ``trim`` is called elsewhere, later.

    Args:
        cap: records that a character may have; those that are pinned may be more.
        count: how many it has.
        trim: forgets the least useful ones until so many are left.
    """

    def __init__(
        self,
        cap: int,
        *,
        count: Callable[[str], int],
        trim: Callable[[str, int], int],
        warn: Callable[[str], None],
    ) -> None:
        self._cap = cap
        self._count = count
        self._trim = trim
        self._warn = warn
        self._changed = threading.Condition()
        self._counts: dict[str, _Count] = {}
        self._due: dict[str, None] = {}  # in order
        self._working = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def wrote(self, written: Mapping[str, int]) -> None:
        """So many records of each npc came."""
        with self._changed:
            if self._closed:
                return
            for npc, number in written.items():
                count = self._counts.get(npc)
                if count is not None:
                    count.held += number
                if count is None or count.held >= count.next_look:
                    self._due[npc] = None
            if self._due:
                self._changed.notify_all()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="npcsdk-memory-caps", daemon=True)
                    self._thread.start()

    def settled(self, timeout: float) -> bool:
        """Wait until nobody is over the cap any more, as far as is known."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._working, timeout)

    def close(self) -> None:
        """Stop after what is being done now; the rest is done after the next write of another time. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed)
                if self._closed:
                    return
                npc = next(iter(self._due))
                del self._due[npc]
                self._working = True
            try:
                self._look(npc)
            except MemoryStoreError as error:  # a full disk, say: it is tried again after some more writes
                if error.code != "memory_closed":
                    self._warn(f"The memory of {npc!r} could not be brought within its cap: {error}")
                with self._changed:
                    count = self._counts.setdefault(npc, _Count(0, 0))
                    count.next_look = count.held + self._slack
            finally:
                with self._changed:
                    self._working = False
                    self._changed.notify_all()

    def _look(self, npc: str) -> None:
        # What is written from now on is added to what is counted, even if it is counted too: that may cause a look
        # too many, never one too few.
        with self._changed:
            since = self._counts[npc] = _Count(0, sys.maxsize)
        held, next_look = self._count(npc), self._cap + 1
        if held > self._cap:
            held -= self._trim(npc, self._cap - self._slack + 1)
            next_look = max(next_look, held + self._slack)  # full of what is pinned: not with every write
        with self._changed:
            count = self._counts[npc] = _Count(held + since.held, next_look)
            if count.held >= count.next_look:
                self._due[npc] = None

    @property
    def _slack(self) -> int:
        return max(self._cap // _SLACK, 1)
