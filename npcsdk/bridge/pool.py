"""A bounded pool of daemon threads.

`concurrent.futures` joins its threads when the interpreter exits, so one stuck runtime would keep a finished game
from ending; these threads are simply left behind.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Pool"]

_log = logging.getLogger(__name__)


class Pool:
    """Runs jobs in at most ``size`` threads, in the order of `submit`; threads begin when there is work."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Run the job in one of the threads. It handles its own errors; one that escapes is logged."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1  # taken: the thread that is waiting will run it
            elif self._threads < self._size:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end after the jobs that were submitted."""
        for _ in range(self._size):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            try:
                job()
            except Exception:
                _log.exception("A job failed")
            del job  # or the thread keeps alive what the job refers to while it waits
            with self._lock:
                if self._jobs.empty():
                    self._idle += 1
