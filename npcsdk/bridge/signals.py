"""Holds Ctrl-C back for a moment in which an exception would lose something."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["HeldSignals"]


class HeldSignals:
    """While a ``with`` of it lasts, Ctrl-C waits; it comes at its end, or in a ``with`` of `let`.

    Messages are taken from a socket and put where their readers find them: an exception between the two would lose
    some. What is held back takes microseconds; what waits belongs in `let`. Only the main thread is ever interrupted.
    """

    __slots__ = ("_before", "_came", "_letting")

    def __init__(self) -> None:
        self._before: Any = None
        self._came = False
        self._letting = False

    def __enter__(self) -> HeldSignals:
        if threading.get_ident() == threading.main_thread().ident:
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._came = False
                try:
                    signal.signal(signal.SIGINT, self._hold)
                    self._before = before
                except ValueError:
                    pass  # an interpreter within the interpreter: it gets no signals
        return self

    def __exit__(self, *_: object) -> None:
        before, self._before = self._before, None
        if before is not None:
            signal.signal(signal.SIGINT, before)
            if self._came:
                signal.raise_signal(signal.SIGINT)

    def let(self) -> _Let:
        """Let Ctrl-C come for a while: what came before, at once."""
        return _Let(self)

    def _hold(self, number: int, frame: Any) -> None:
        if self._letting:
            self._before(number, frame)
        else:
            self._came = True

    def _let(self, letting: bool) -> None:
        # The handler stays where it is: setting one costs more than all the rest of a token's way through here.
        self._letting = letting
        if letting and self._came and self._before is not None:
            self._came = False
            self._before(int(signal.SIGINT), None)


class _Let:
    __slots__ = ("_held",)

    def __init__(self, held: HeldSignals) -> None:
        self._held = held

    def __enter__(self) -> None:
        self._held._let(True)  # pyright: ignore[reportPrivateUsage]

    def __exit__(self, *_: object) -> None:
        self._held._let(False)  # pyright: ignore[reportPrivateUsage]
