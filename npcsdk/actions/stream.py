"""Split a model's output, as it arrives, into speech and calls.

Pure and incremental: whatever way the text is cut, the parts are the same. Text that may yet turn out to be
the beginning of a marker is held back, so no fragment of a call is ever spoken. A call is complete at the
brace that closes it (the closing marker may come later or never), so an action can start at once, and calls in
a list are complete one by one. A call's name is told as soon as it is complete.

White space is settled here too, because models put it around calls: none at the beginning or the end of the
speech, and a call inside a sentence leaves the white space of one side only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["CallName", "CallPart", "CallStream", "Part", "Speech", "Unclosed"]


@dataclass(frozen=True, slots=True)
class Speech:
    """Text to speak."""

    text: str


@dataclass(frozen=True, slots=True)
class CallName:
    """The name of a call whose arguments are still to come; ``start`` is that of its `CallPart` or `Unclosed`.

    Told when the name comes before the arguments, as every dialect has it.
    """

    name: str
    start: int


@dataclass(frozen=True, slots=True)
class CallPart:
    """What stood between the markers (complete JSON, or anything if a closing marker came first).

    ``start`` and ``end`` are positions in the raw output: of the opening marker (of the call itself, when it is
    not the first between the markers), and after the body.
    """

    body: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unclosed:
    """A call that the output ended in the middle of."""

    body: str
    start: int


Part: TypeAlias = Speech | CallName | CallPart | Unclosed

# All that matters inside a body; an escaped character is passed over together with its backslash.
_STRUCTURE: Final = r'\\.|\\\Z|["{}\[\]%s]'
_BARE: Final = re.compile(r"\{\s{0,4}[\"']")
_PERHAPS_BARE: Final = re.compile(r"\{\s{0,4}\Z")
_NAME: Final = re.compile(r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([^"\\]{1,64})"\Z')
_OUTSIDE: Final = re.compile(r"\s*([A-Za-z_][\w.\-]{0,63})\s*\Z")
_NAME_WITHIN: Final = 4
"""A name is looked for at the end of this many strings of a call's own level."""
_TEXT: Final = 0  # speech, watching for a marker
_CALL: Final = 1  # between the opening marker and the closing brace
_AFTER: Final = 2  # after a complete body, waiting for the closing marker


class CallStream:
    """Feed it text; it returns parts. One stream reads one generation.

    Args:
        opening, closing: the dialect's markers; ``closing`` may be "": then a call ends with its body.
        bare: whether an output that begins with an object is a call though no marker opens it.
        after_name: markers that may stand after a call's name, where that stands before the object.
    """

    def __init__(
        self, opening: str, closing: str, *, bare: bool = False, after_name: Sequence[str] = ()
    ) -> None:
        self._opening = opening
        self._closing = closing
        self._bare = bare  # until something else than white space has come
        self._state = _TEXT
        self._after_name = tuple(after_name)
        self._known = tuple(marker for marker in (opening, closing, *after_name) if marker)
        self._markers = re.compile("|".join(map(re.escape, self._known)))
        begins = "".join({marker[0] for marker in self._known})
        self._structure = re.compile(_STRUCTURE % re.escape(begins), re.DOTALL)
        self._begins = begins  # the characters that a marker can begin with
        self._pending = ""  # the text being looked at; what stands before _at has been decided on
        self._at: int = 0
        self._base = 0  # raw position of the beginning of _pending
        self._space: list[str] = []  # white space that is spoken only if speech follows
        self._called = False  # a call stood since the last spoken character
        self._spoken = False
        self._body: list[str] = []
        self._start = 0
        self._depth = 0
        self._quoted = False
        self._listed = False  # the body is a list: its objects are calls, one by one
        self._in_item = False
        self._items = 0
        self._strings = 0  # strings of the call's own level that have ended
        self.call_end = 0
        """Raw position after the last call, its closing marker included as far as it was seen."""

    @property
    def in_call(self) -> bool:
        """Whether a call has been opened and its body is not complete."""
        return self._state == _CALL

    def feed(self, text: str) -> list[Part]:
        """The parts that ``text`` completes."""
        idle = self._state == _TEXT and not self._bare and self._at == len(self._pending)
        if idle and not any(begin in text for begin in self._begins):  # nearly every token: plain speech
            self._base += self._at + len(text)
            self._pending, self._at = "", 0
            spoken: list[Part] = []
            self._speak(text, spoken)
            return spoken
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
            body = "".join(self._body) + rest
            if not (self._items and _nothing(body)):
                parts.append(Unclosed(body, self._start))
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
        if self._bare:
            at = self._at = _not_space(pending, at)
            if at == len(pending) or _PERHAPS_BARE.match(pending, at):
                return False
            self._bare = False
            if _BARE.match(pending, at):
                self._open_body(at)
                return True
        marker = self._markers.search(pending, at)
        if marker is None:
            sure = len(pending) - max(_overlap(pending, at, known) for known in self._known)
            self._speak(pending[at:sure], parts)
            self._at = sure
            return False
        self._speak(pending[at : marker.start()], parts)
        self._at = marker.end()
        self._called = True
        if marker[0] == self._opening:  # another marker, which nothing opened, is just left out
            self._open_body(marker.start())
        return True

    def _open_body(self, start: int) -> None:
        self._state = _CALL
        self._called = True
        self._depth = 0
        self._quoted = False
        self._listed = False
        self._items = 0
        self._begin_call(start)

    def _begin_call(self, start: int) -> None:
        self._start = self._base + start
        self._body = []
        self._strings = 0
        self._in_item = False

    def _step_call(self, parts: list[Part]) -> bool:
        pending = self._pending
        for match in self._structure.finditer(pending, self._at):
            index, character = match.start(), match[0]
            if character == "\\":  # the escaped character has not arrived yet
                self._keep_body(index)
                return False
            if self._quoted:
                if character == '"':
                    self._quoted = False
                    self._string_ended(index + 1, parts)
            elif character == '"':
                self._quoted = self._depth > 0
            elif character in self._begins and (marker := self._marker_at(index)) != "":
                if marker is None:
                    self._keep_body(index)
                    return False  # perhaps a marker: wait for more
                if marker in self._after_name:
                    self._keep_body(index)
                    self._named_outside(parts)
                    self._keep_body(index + len(marker))
                elif marker == self._opening:  # once more: what stands before it is no call
                    self._keep_body(index)
                    if "".join(self._body).strip():
                        self._call_over(index, parts)
                        self._open_body(index)
                    self._at = index + len(marker)
                    self._body = []
                else:
                    self._end_body(index, parts)
                return True
            elif character in "{[":
                if self._depth <= self._listed:
                    self._opened(character, index, parts)
                self._depth += 1
            elif character in "}]":
                if self._depth > 2:  # too deep inside to end a call
                    self._depth -= 1
                elif self._closed(index + 1, parts):
                    return True
        self._keep_body(len(pending))
        return False

    def _marker_at(self, index: int) -> str | None:
        """The marker that begins there, "" for none, None when that cannot be told yet."""
        perhaps = False
        for marker in self._known:
            if self._depth and marker != self._closing:
                continue
            if self._pending.startswith(marker, index):
                return marker
            perhaps |= marker.startswith(self._pending[index : index + len(marker)])
        return None if perhaps else ""

    def _named_outside(self, parts: list[Part]) -> None:
        """The name that stands before the object is complete."""
        if self._strings >= _NAME_WITHIN:
            return
        self._strings = _NAME_WITHIN
        found = _OUTSIDE.match("".join(self._body))
        if found is not None:
            parts.append(CallName(found[1], self._start))

    def _opened(self, character: str, index: int, parts: list[Part]) -> None:
        """A brace or bracket opens inside a body: perhaps a list of calls, or the next call of one."""
        if self._after_name and not self._depth and character == "{":
            self._keep_body(index)
            self._named_outside(parts)
        if self._depth == 0 and character == "[":
            self._keep_body(index)
            self._listed = not "".join(self._body).strip()
        elif self._listed and self._depth == 1 and character == "{":
            self._keep_body(index)
            if not _nothing("".join(self._body)):
                self._listed = False  # something else is in the list: it is refused as a whole
                return
            self._begin_call(index if self._items else self._start - self._base)
            self._in_item = True

    def _closed(self, end: int, parts: list[Part]) -> bool:
        """A brace or bracket closes; whether the body is over with it."""
        if not self._depth:
            return False
        self._depth -= 1
        if self._depth == 0:
            self._end_body(end, parts)
            return True
        if self._in_item and self._depth == 1:
            self._keep_body(end)
            self._call_over(end, parts)
            self._items += 1
            self._body = []
            self._in_item = False
        return False

    def _string_ended(self, end: int, parts: list[Part]) -> None:
        if self._depth != 1 + self._listed or self._strings >= _NAME_WITHIN:
            return
        self._strings += 1
        self._keep_body(end)
        found = _NAME.match("".join(self._body))
        if found is not None:
            parts.append(CallName(found[1], self._start))
            self._strings = _NAME_WITHIN

    def _keep_body(self, end: int) -> None:
        self._body.append(self._pending[self._at : end])
        self._at = end

    def _call_over(self, end: int, parts: list[Part]) -> None:
        self.call_end = self._base + end
        parts.append(CallPart("".join(self._body).strip(), self._start, self.call_end))

    def _end_body(self, end: int, parts: list[Part]) -> None:
        self._keep_body(end)
        if self._items and _nothing("".join(self._body)):
            self.call_end = self._base + end
        else:
            self._call_over(end, parts)
        self._state = _AFTER

    def _step_after(self) -> bool:
        pending, closing = self._pending, self._closing
        begin = _not_space(pending, self._at)
        self._space.append(pending[self._at : begin])  # settled by what is spoken next, if anything is
        self._at = begin
        if begin == len(pending):
            return False
        if closing and pending.startswith(closing, begin):
            self._at = begin + len(closing)
            self.call_end = self._base + self._at
            self._state = _TEXT
            return True
        if closing.startswith(pending[begin : begin + len(closing)] or pending[begin]):
            return False  # perhaps the closing marker: wait for more
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
        spoken = space + kept
        parts.append(Speech(text if spoken == text else spoken))  # one string for all who keep it


def _nothing(text: str) -> bool:
    """Whether ``text`` holds only what separates the calls of a list."""
    return not text.strip("[], \t\r\n")


def _overlap(text: str, begin: int, marker: str) -> int:
    """How many characters at the end of ``text`` (after ``begin``) may be the beginning of ``marker``."""
    if not marker:
        return 0
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
