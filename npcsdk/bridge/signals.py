"""Holds Ctrl-C back for a moment in which an exception would lose something."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["HeldSignals"]


class HeldSignals:
    """While a ``with`` of it lasts, Ctrl-C waits; it comes at its end, or in a ``with`` of `let`.

    Messages are taken from a socket and put where their readers find them: an exception between the two would lose
    some. What is held back takes microseconds; what waits belongs in `let`. Only the main thread is ever interrupted.

    Setting a handler costs more than all the rest of a token's way through here. So who holds Ctrl-C again and again
    sets it once with `keep`, and uses `hold`; in between, Ctrl-C does what it would do without.
    """

    __slots__ = ("_before", "_came", "_handler", "_letting", "_over", "thread")

    def __init__(self) -> None:
        self.thread = 0
        """The thread in which `hold` holds; 0: none."""
        self._handler: Callable[[int, Any], None] | None = None
        self._before: Any = None
        self._came = False
        self._letting = True
        self._over = False

    def __enter__(self) -> HeldSignals:
        self.keep()
        self._letting = False
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._let(True)

    def keep(self) -> HeldSignals:
        """Set the handler, until `end`."""
        self.thread = threading.get_ident()
        if self.thread == threading.main_thread().ident:
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before, self._handler = before, self._on_signal
                # An interpreter within the interpreter gets no signals: ValueError.
                with contextlib.suppress(ValueError):
                    signal.signal(signal.SIGINT, self._handler)
        return self

    def end(self) -> None:
        """Set the handler that was there before, unless somebody has set another meanwhile."""
        self._over = True
        if self._handler is None or threading.get_ident() != self.thread:
            return  # where it stays, it does what the one before it would
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGINT) == self._handler:
                signal.signal(signal.SIGINT, self._first())

    def hold(self) -> _Switch:
        """Hold Ctrl-C back for a while; a `keep` has to be there."""
        return _Switch(self, False)

    def let(self) -> _Switch:
        """Let Ctrl-C come for a while: what came before, at once."""
        return _Switch(self, True)

    def _first(self) -> Any:
        """The handler before this one, and before all that are over."""
        before = self._before
        while isinstance(held := getattr(before, "__self__", None), HeldSignals) and held._over:
            before = held._before
        return before

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._letting:
            self._before(number, frame)
        else:
            self._came = True

    def _let(self, letting: bool) -> None:
        self._letting = letting
        if letting and self._came and self._before is not None:
            self._came = False
            self._before(int(signal.SIGINT), None)


class _Switch:
    __slots__ = ("_held", "_letting")

    def __init__(self, held: HeldSignals, letting: bool) -> None:
        self._held = held
        self._letting = letting

    def __enter__(self) -> None:
        self._held._let(self._letting)  # pyright: ignore[reportPrivateUsage]

    def __exit__(self, *_: object) -> None:
        self._held._let(not self._letting)  # pyright: ignore[reportPrivateUsage]
