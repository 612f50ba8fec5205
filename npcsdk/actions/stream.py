"""Split a model's output, as it arrives, into speech and calls.

Pure and incremental: whatever way the text is cut, the parts are the same. Text that may yet turn out to be
the beginning of a marker is held back, so no fragment of a call is ever spoken. A call is complete at the
brace that closes it (the closing marker may come later or never), so an action can start at once.

White space is settled here too, because models put it around calls: none at the beginning or the end of the
speech, and a call inside a sentence leaves the white space of one side only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["CallPart", "CallStream", "Part", "Speech", "Unclosed"]


@dataclass(frozen=True, slots=True)
class Speech:
    """Text to speak."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """What stood between the markers (complete JSON, or anything if a closing marker came first).

    ``start`` and ``end`` are positions in the raw output: of the opening marker, and after the body.
    """

    body: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unclosed:
    """A call that the output ended in the middle of."""

    body: str
    start: int


Part: TypeAlias = Speech | CallPart | Unclosed

# All that matters inside a body; an escaped character is passed over together with its backslash.
_STRUCTURE: Final = re.compile(r'\\.|\\\Z|["{}\[\]<]', re.DOTALL)
_TEXT: Final = 0  # speech, watching for a marker
_CALL: Final = 1  # between the opening marker and the closing brace
_AFTER: Final = 2  # after a complete body, waiting for the closing marker


class CallStream:
    """Feed it text; it returns parts. One stream reads one generation.

    Args:
        opening, closing: the dialect's markers.
    """

    def __init__(self, opening: str, closing: str) -> None:
        self._opening = opening
        self._closing = closing
        self._state = _TEXT
        self._markers = re.compile(f"{re.escape(opening)}|{re.escape(closing)}")
        self._pending = ""  # the text being looked at; what stands before _at has been decided on
        self._at = 0
        self._base = 0  # raw position of the beginning of _pending
        self._space: list[str] = []  # white space that is spoken only if speech follows
        self._called = False  # a call stood since the last spoken character
        self._spoken = False
        self._body: list[str] = []
        self._start = 0
        self._depth = 0
        self._quoted = False
        self.call_end = 0
        """Raw position after the last call, its closing marker included as far as it was seen."""

    @property
    def in_call(self) -> bool:
        """Whether a call has been opened and its body is not complete."""
        return self._state == _CALL

    def feed(self, text: str) -> list[Part]:
        """The parts that ``text`` completes."""
        self._pending = self._pending[self._at :] + text
        self._base += self._at
        self._at = 0
        parts: list[Part] = []
        while self._step(parts):
            pass
        return parts

    def finish(self) -> list[Part]:
        """The rest, when the generation is over."""
        parts: list[Part] = []
        rest = self._pending[self._at :]
        # In plain text, what is held back is the beginning of a marker that never came: not speech.
        if self._state == _CALL:
            parts.append(Unclosed("".join(self._body) + rest, self._start))
        self._at = len(self._pending)
        self._state = _TEXT
        return parts

    def _step(self, parts: list[Part]) -> bool:
        """Consume some of the pending text; False when nothing more can be decided yet."""
        if self._state == _CALL:
            return self._step_call(parts)
        if self._state == _AFTER:
            return self._step_after()
        return self._step_text(parts)

    def _step_text(self, parts: list[Part]) -> bool:
        pending, at = self._pending, self._at
        marker = self._markers.search(pending, at)
        if marker is None:
            sure = len(pending) - max(
                _overlap(pending, at, self._opening), _overlap(pending, at, self._closing)
            )
            self._speak(pending[at:sure], parts)
            self._at = sure
            return False
        self._speak(pending[at : marker.start()], parts)
        self._at = marker.end()
        self._called = True
        if marker[0] == self._opening:  # a closing marker that nothing opened is just left out
            self._open_body(marker.start())
        return True

    def _open_body(self, start: int) -> None:
        self._state = _CALL
        self._start = self._base + start
        self._body = []
        self._depth = 0
        self._quoted = False

    def _step_call(self, parts: list[Part]) -> bool:
        pending = self._pending
        for match in _STRUCTURE.finditer(pending, self._at):
            index, character = match.start(), match[0]
            if character == "\\":  # the escaped character has not arrived yet
                self._keep_body(index)
                return False
            if self._quoted:
                if character == '"':
                    self._quoted = False
            elif character == "<":
                if pending.startswith(self._closing, index):
                    self._end_body(index, parts)
                    return True
                if self._closing.startswith(pending[index : index + len(self._closing)]):
                    self._keep_body(index)
                    return False  # perhaps the closing marker: wait for more
            elif character == '"' and self._depth:
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]" and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._end_body(index + 1, parts)
                    return True
        self._keep_body(len(pending))
        return False

    def _keep_body(self, end: int) -> None:
        self._body.append(self._pending[self._at : end])
        self._at = end

    def _end_body(self, end: int, parts: list[Part]) -> None:
        self._keep_body(end)
        self.call_end = self._base + end
        parts.append(CallPart("".join(self._body).strip(), self._start, self.call_end))
        self._state = _AFTER

    def _step_after(self) -> bool:
        pending = self._pending
        begin = _not_space(pending, self._at)
        self._space.append(pending[self._at : begin])  # settled by what is spoken next, if anything is
        self._at = begin
        if pending.startswith(self._closing, begin):
            self._at = begin + len(self._closing)
            self.call_end = self._base + self._at
            self._state = _TEXT
            return True
        if self._closing.startswith(pending[begin : begin + len(self._closing)]):
            return False  # perhaps the closing marker (or nothing yet): wait for more
        if pending[begin] in ",;":
            second = _not_space(pending, begin + 1)
            if second == len(pending):
                return False
        else:
            second = begin
        if pending[second] == "{":  # a second call before the closing marker
            self._at = second
            self._open_body(second)
            return True
        self._state = _TEXT  # the closing marker was forgotten: this is speech
        return True

    def _speak(self, text: str, parts: list[Part]) -> None:
        body = text.lstrip()
        self._space.append(text[: len(text) - len(body)])
        if not body:
            return
        space = "".join(self._space)
        if not self._spoken:
            space = ""
        elif self._called and space:
            space = "\n" if "\n" in space else " "
        kept = body.rstrip()
        self._space = [body[len(kept) :]]
        self._spoken = True
        self._called = False
        parts.append(Speech(space + kept))


def _overlap(text: str, begin: int, marker: str) -> int:
    """How many characters at the end of ``text`` (after ``begin``) may be the beginning of ``marker``."""
    at = text.find(marker[0], max(begin, len(text) - len(marker) + 1))
    while at >= 0:
        if marker.startswith(text[at:]):
            return len(text) - at
        at = text.find(marker[0], at + 1)
    return 0


def _not_space(text: str, begin: int) -> int:
    while begin < len(text) and text[begin].isspace():
        begin += 1
    return begin
