"""From generated tokens to pieces of text: whole code points, nothing of a stop string, and which tokens made
what.

Pure: bytes of tokens in, `Piece` values out. Used by every adapter that sees tokens.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from npcsdk.backends.base import Piece

__all__ = ["TextStream"]


class TextStream:
    """Text of one generation, token by token.

    A piece ends at the end of a token, where the text so far is whole code points and no end of it could be
    the beginning of a stop string. So a piece with ids is exactly the text of these ids; only the text
    between the last such place and a stop string comes as a piece without ids.
    """

    __slots__ = ("_decoder", "_ids", "_longest", "_starts", "_stops", "_text", "stopped")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max((len(stop) for stop in self._stops), default=0)
        self._starts = frozenset(stop[0] for stop in self._stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._ids: list[int] = []
        self.stopped = False
        """A stop string has come; nothing may be pushed any more."""

    def push(self, token: int, data: bytes) -> Piece | None:
        """Add a generated token and its bytes; a piece when some text is certain."""
        self._ids.append(token)
        whole = data.isascii() and not self._decoder.getstate()[0]
        new = data.decode("ascii") if whole else self._decoder.decode(data)
        text = self._text = self._text + new if self._text else new
        if self._stops and text:
            end = self._find(text)
            if end >= 0:
                self.stopped = True
                self._text, self._ids = "", []
                return Piece(text[:end]) if end else None
            if self._held(text):
                return None
        if not whole and self._decoder.getstate()[0]:
            return None  # The token ends inside a code point.
        if not text:
            return None
        piece = Piece(text, tuple(self._ids))
        self._text, self._ids = "", []
        return piece

    def finish(self) -> Piece | None:
        """What was held back, when no stop string can come any more. Half a code point is dropped."""
        text, ids = self._text, tuple(self._ids)
        broken = bool(self._decoder.getstate()[0])
        self._decoder.reset()
        self._text, self._ids = "", []
        if not text:
            return None
        return Piece(text) if broken else Piece(text, ids)

    def _find(self, text: str) -> int:
        ends = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        return min(ends, default=-1)

    def _held(self, text: str) -> bool:
        """Whether an end of ``text`` begins a stop string."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._starts:
                tail = text[at:]
                if any(stop.startswith(tail) for stop in self._stops):
                    return True
        return False
