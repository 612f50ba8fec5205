"""A bounded pool of daemon threads in which owners take turns.

`concurrent.futures` joins its threads when the interpreter exits, so one stuck runtime would keep a finished game
from ending; these threads are simply left behind.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

__all__ = ["UNDER_WAY", "Pool"]

_log = logging.getLogger(__name__)

Job = Callable[[], object]

UNDER_WAY: Final = "under way"
"""What a job returns that goes on without its thread: it counts as running until `Pool.done`, and may `Pool.resume`."""


class Pool:
    """Runs at most ``size`` jobs at a time, each in a thread; threads begin when there is work.

    Of those who have jobs waiting, each gets one done in its turn, whoever has more; an owner's own are done in the
    order of `submit`.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._resumed: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._running = 0  # jobs, those that are under way without a thread among them
        self._count = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        with self._changed:
            return self._count

    def submit(self, job: Job, owner: str = "") -> None:
        """Run the job in one of the threads. It handles its own errors; one that escapes is logged."""
        with self._changed:
            self._waiting.setdefault(owner, deque()).append(job)
            self._count += 1
            self._wake()

    def resume(self, job: Job) -> None:
        """What a job that is under way has to do in a thread; it comes before those that wait."""
        with self._changed:
            self._resumed.append(job)
            self._wake()

    def done(self) -> None:
        """A job that was under way, without a thread, is over."""
        with self._changed:
            self._running -= 1
            self._wake()

    def close(self) -> None:
        """Let the threads end after the jobs that were submitted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wake(self) -> None:
        """See to it that what can be done is done. Holds the lock."""
        possible = len(self._resumed) + min(self._count, self._size - self._running)
        if possible <= 0:
            return
        self._changed.notify()
        if self._idle < possible and self._threads < self._size:
            self._threads += 1
            name = f"{self._name}-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            under_way = False
            try:
                under_way = job() is UNDER_WAY
            except Exception:
                _log.exception("A job failed")
            del job  # or the thread keeps alive what the job refers to while it waits
            if not under_way:
                with self._changed:
                    self._running -= 1

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            while (job := self._take()) is None and not (self._closed and not self._count):
                self._changed.wait()
            self._idle -= 1
            return job

    def _take(self) -> Job | None:
        if self._resumed:
            return self._resumed.popleft()
        if not self._waiting or self._running >= self._size:
            return None
        self._running += 1
        owner, jobs = self._waiting.popitem(last=False)
        job = jobs.popleft()
        self._count -= 1
        if jobs:
            self._waiting[owner] = jobs  # behind the others
        return job
