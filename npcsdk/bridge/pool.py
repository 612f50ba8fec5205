"""A bounded pool of daemon threads in which owners take turns.

`concurrent.futures` joins its threads when the interpreter exits, so one stuck runtime would keep a finished game
from ending; these threads are simply left behind.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

__all__ = ["Pool"]

_log = logging.getLogger(__name__)

Job = Callable[[], None]


class Pool:
    """Runs jobs in at most ``size`` threads; threads begin when there is work.

    Of those who have jobs waiting, each gets one done in its turn, whoever has more; an owner's own are done in the
    order of `submit`.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
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
            self._changed.notify()
            if self._idle < self._count and self._threads < self._size:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self) -> None:
        """Let the threads end after the jobs that were submitted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:
                _log.exception("A job failed")
            del job  # or the thread keeps alive what the job refers to while it waits

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._changed.wait()
            self._idle -= 1
            if not self._waiting:
                return None
            owner, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            self._count -= 1
            if jobs:
                self._waiting[owner] = jobs  # behind the others
            return job
