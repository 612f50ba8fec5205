"""Which lines a worker died of: one that it died of twice is not given to it a third time. No clock of its own."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from npcsdk.wire.messages import React, Say

__all__ = ["Suspects", "digest"]

_STRIKES = 2
_EXPIRES = 600.0  # seconds: a line may have been there by chance, and a mended model deserves a chance
_MOST = 4096


@dataclass(slots=True)
class _Strikes:
    count: int
    at: float


def digest(command: Say | React) -> bytes:
    """What is the same for the same input, whoever says it."""
    text = command.line if isinstance(command, Say) else command.happening
    return hashlib.sha256(f"{command.command}\0{text}".encode()).digest()[:16]


class Suspects:
    """What is being worked on, and what was being worked on when workers died."""

    def __init__(self) -> None:
        self._running: dict[int, set[bytes]] = {}  # by worker
        self._strikes: OrderedDict[bytes, _Strikes] = OrderedDict()

    def refuses(self, command: Say | React, now: float, worker: int = 0) -> bool:
        """Whether workers died of this line before; otherwise it is noted as being worked on."""
        name = digest(command)
        strikes = self._strikes.get(name)
        if strikes is not None and strikes.count >= _STRIKES and now - strikes.at < _EXPIRES:
            return True
        self._running.setdefault(worker, set()).add(name)
        return False

    def over(self, name: bytes, worker: int = 0) -> None:
        """A turn has ended as turns do: its line is harmless."""
        self._running.get(worker, set[bytes]()).discard(name)
        self._strikes.pop(name, None)

    def crashed(self, now: float, worker: int = 0) -> None:
        """A worker died: of one of the lines that it had."""
        for name in self._running.pop(worker, ()):
            strikes = self._strikes.setdefault(name, _Strikes(0, now))
            if now - strikes.at >= _EXPIRES:
                strikes.count = 0
            strikes.count, strikes.at = strikes.count + 1, now
        while len(self._strikes) > _MOST:
            self._strikes.popitem(last=False)
