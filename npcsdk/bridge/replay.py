"""What a conversation's last turn has told, for a client that comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from npcsdk.events import Event, Text
from npcsdk.wire.codec import encode_turn_event

__all__ = ["Replay"]


class Replay:
    """A turn's events by their numbers; of more than ``most``, the newest.

    It is kept for everybody who speaks, so of nearly every event only its text is, which others have, too.
    """

    __slots__ = ("_begin", "_conversation", "_end", "_kept", "_most", "seq", "turn")

    def __init__(self, conversation: str, most: int) -> None:
        self._conversation = conversation
        self._most = most
        self._kept: deque[str | bytes] = deque()
        self._begin = self._end = 0  # where the texts that are kept begin, and where they end
        self.seq = 0
        """The last event's number, counted through the whole conversation."""
        self.turn = ""

    def begin(self, turn: str) -> None:
        """Another turn begins: nothing is kept of the last."""
        self.turn = turn
        self.clear()

    def clear(self) -> None:
        """Keep nothing of what was told."""
        self._kept.clear()
        self._begin = self._end = 0

    def add(self, event: Event) -> bytes:
        """The turn's next event, as the client gets it."""
        payload = encode_turn_event(self._conversation, self.turn, self.seq + 1, event)
        self.seq += 1
        if isinstance(event, Text) and event.offset == self._end:
            self._end += len(event.text)
            self._kept.append(event.text)
        else:
            self._kept.append(payload)
        if len(self._kept) > self._most:
            gone = self._kept.popleft()
            self._begin += len(gone) if isinstance(gone, str) else 0
        return payload

    @property
    def first(self) -> int:
        """The number of the first event that is kept."""
        return self.seq - len(self._kept) + 1

    def after(self, seen: int) -> Iterator[bytes]:
        """What came after the event with the number ``seen``, as far as it is kept."""
        offset = self._begin
        for seq, kept in enumerate(self._kept, self.first):
            if isinstance(kept, bytes):
                if seq > seen:
                    yield kept
                continue
            if seq > seen:
                yield encode_turn_event(self._conversation, self.turn, seq, Text(text=kept, offset=offset))
            offset += len(kept)
