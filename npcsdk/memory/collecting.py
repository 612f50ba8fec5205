"""Does something by and by on a thread of its own, once more when it is asked for meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from npcsdk.errors import MemoryStoreError

__all__ = ["ByAndBy"]


class ByAndBy:
    """``work`` gets a function that says whether it should stop; what it raises is a warning."""

    def __init__(
        self, work: Callable[[Callable[[], bool]], object], *, name: str, warn: Callable[[str], None]
    ) -> None:
        self._work = work
        self._name = name
        self._warn = warn
        self._changed = threading.Condition()
        self._wanted = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        """Have it done; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def settled(self, timeout: float) -> bool:
        """Wait until it has been done as often as it was asked for."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def close(self) -> None:
        """Stop as soon as the work does. Idempotent."""
        with self._changed:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._wanted or self._closed:
                    self._thread = None
                    self._changed.notify_all()
                    return
                self._wanted = False
            try:
                self._work(lambda: self._closed)
            except MemoryStoreError as error:
                if error.code != "memory_closed":
                    self._warn(str(error))
