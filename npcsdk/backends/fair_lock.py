"""A lock that is handed on in order, so that several generations on one model take steps in turn."""

from __future__ import annotations

import threading

__all__ = ["FairLock"]

_PATIENCE = 4


class _Waiter:
    __slots__ = ("gate", "passed", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.passed = 0
        self.gate = threading.Lock()
        self.gate.acquire()


class FairLock:
    """First come, first served; a higher priority goes ahead, but nobody is passed over for ever.

    A plain `threading.Lock` would mostly go back to the thread that just released it. After every four times that
    a later one goes ahead of it, a waiter counts as one priority higher.
    """

    __slots__ = ("_guard", "_held", "_waiters")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiters: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        """How many threads wait for it."""
        return len(self._waiters)

    def acquire(self, priority: int = 0) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            waiter = _Waiter(priority)
            self._waiters.append(waiter)
        try:
            waiter.gate.acquire()
        except BaseException:  # KeyboardInterrupt: leave the queue, or pass on what was just handed over.
            with self._guard:
                queued = waiter in self._waiters
                if queued:
                    self._waiters.remove(waiter)
            if not queued:
                self.release()
            raise

    def release(self) -> None:
        with self._guard:
            if not self._waiters:
                self._held = False
                return
            best = max(self._waiters, key=lambda waiter: waiter.priority + waiter.passed // _PATIENCE)
            at = self._waiters.index(best)
            for waiter in self._waiters[:at]:
                waiter.passed += 1
            del self._waiters[at]
        best.gate.release()
