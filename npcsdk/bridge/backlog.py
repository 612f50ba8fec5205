"""What a client has not taken yet, because it does not read: whole messages, their text joined."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from npcsdk.wire.codec import coalesced

__all__ = ["SEND_BUFFER", "Backlog"]

SEND_BUFFER = 1 << 16
"""Bytes of the system's for each client: what it does not read waits here, where it is joined."""

_JOIN = 1 << 16  # bytes; joining costs time, so the next waits until there is a good deal more


@dataclass(slots=True)
class Backlog:
    payloads: deque[bytes] = field(default_factory=deque[bytes])
    size: int = 0
    """Bytes of all of them."""
    join_at: int = _JOIN

    def add(self, payload: bytes, joins: bool) -> None:
        """One more; ``joins``: its reader understands text that has been joined."""
        self.payloads.append(payload)
        self.size += len(payload)
        if joins and self.size > self.join_at:
            self.payloads = deque(coalesced(self.payloads))
            self.size = sum(map(len, self.payloads))
            self.join_at = self.size + _JOIN + self.size // 8

    def take(self) -> bytes:
        """The first, which is not its any more."""
        payload = self.payloads.popleft()
        self.size -= len(payload)
        return payload
