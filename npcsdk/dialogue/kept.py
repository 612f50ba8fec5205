"""What history keeps of a generation: the tokens as they were sampled, wherever the text may stay as it was.

Kept are what was said and the calls that were legal. A refused call, a fragment of one, a stray marker and what was
said too late are cut out: a broken call, seen again, teaches a small model to break the next. What is kept keeps its
ids, so that the next prompt begins with the very tokens that the runtime's cache holds.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import Piece, Segment

__all__ = ["Sampled", "SampledCall", "kept_segments"]


class Sampled:
    """A generation's pieces, kept small: one for each token of everybody who speaks."""

    __slots__ = ("_counts", "_ids", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._ids = array("q")  # of all pieces, and how many of each
        self._counts = array("I")

    def add(self, piece: Piece) -> None:
        """The next piece."""
        self._texts.append(piece.text)
        self._ids.extend(piece.ids)
        self._counts.append(len(piece.ids))

    def __iter__(self) -> Iterator[Piece]:
        at = 0
        for text, count in zip(self._texts, self._counts, strict=True):
            yield Piece(text, tuple(self._ids[at : at + count]))
            at += count


@dataclass(frozen=True, slots=True)
class SampledCall:
    """A call in a generation's text, from ``start`` to ``end``; ``body`` is it without markers.

    ``legal`` are the calls in it that were legal, written out as the model should have; ``whole`` says that there
    were no others.
    """

    start: int
    end: int
    body: str
    legal: tuple[str, ...] = ()
    whole: bool = False


def kept_segments(
    pieces: Iterable[Piece], calls: Sequence[SampledCall], tool_format: ToolFormat, *, silent_after: bool
) -> tuple[Segment, ...]:
    """An assistant's message as history keeps it.

    Args:
        pieces: the whole generation.
        calls: the calls in it, in order, fragments too.
        silent_after: leave out what follows the last call.
    """
    pieces = tuple(pieces)
    raw = "".join(piece.text for piece in pieces)
    segments: list[Segment] = []
    for item in _spaced(raw, _items(raw, calls, tool_format, silent_after)):
        segments += [Segment(item)] if isinstance(item, str) else _sampled(pieces, *item)
    return tuple(segments)


_Item = tuple[int, int] | str  # a range of the generation's text, or text of ours


def _items(
    raw: str, calls: Sequence[SampledCall], tool_format: ToolFormat, silent_after: bool
) -> Iterator[_Item]:
    opening, closing = tool_format.opening, tool_format.closing
    closed = re.compile(rf"\s*{re.escape(closing)}")
    ended = re.compile(rf"[\s,;\]]*{re.escape(closing)}")  # where a pair of markers held several calls
    at = 0
    for call, following in zip_longest(calls, calls[1:]):
        yield from _speech(raw, at, call.start, tool_format)
        sampled = raw[call.start : call.end]
        well_written = sampled.startswith(opening) and sampled[len(opening) :].strip() == call.body
        shared = following is not None and not raw.startswith(opening, following.start)
        if call.whole and well_written and not shared:
            end = closed.match(raw, call.end)
            at = end.end() if end else call.end
            yield call.start, at
            if not end:  # stopped at the brace, or the model forgot it
                yield closing
        else:
            yield from call.legal
            end = ended.match(raw, call.end)
            at = following.start if following and shared else end.end() if end else call.end
    if not silent_after:
        yield from _speech(raw, at, len(raw), tool_format)


def _speech(raw: str, start: int, end: int, tool_format: ToolFormat) -> Iterator[tuple[int, int]]:
    """The range without stray markers, and without what may have been the beginning of one."""
    markers = tool_format.markers
    if end == len(raw):
        end -= max(
            (n for marker in markers for n in range(1, len(marker)) if raw.endswith(marker[:n], start)),
            default=0,
        )
    for stray in re.compile("|".join(map(re.escape, markers))).finditer(raw, start, end):
        yield start, stray.start()
        start = stray.end()
    yield start, end


def _spaced(raw: str, items: Iterator[_Item]) -> list[_Item]:
    """The items without white space at either end, and with no more than was written on one side of a cut."""
    kept: list[_Item] = []
    last = " "  # what has been kept ends with it
    for item in items:
        if isinstance(item, str):
            item = item if last.isspace() else f" {item}"
            last = item[-1:] or last
        else:
            start, end = item
            before = kept[-1] if kept else ""
            if isinstance(before, tuple) and before[1] == start:
                kept.pop()
                start = before[0]
            elif last.isspace():
                start = end - len(raw[start:end].lstrip())
            if start == end:
                continue
            item = start, end
            last = raw[end - 1]
        kept.append(item)
    while kept and isinstance(end_item := kept[-1], tuple):
        text = raw[slice(*end_item)].rstrip()
        if text:
            kept[-1] = (end_item[0], end_item[0] + len(text))
            break
        kept.pop()
    return kept


def _sampled(pieces: Sequence[Piece], start: int, end: int) -> list[Segment]:
    """A range of the generation.

    Pieces that lie inside as a whole keep the ids that were sampled for them; of a piece that is cut, text remains.
    """
    segments: list[Segment] = []
    run: list[Piece] = []
    at = 0
    for piece in (*pieces, Piece("")):
        begin, at = at, at + len(piece.text)
        if piece.ids and begin >= start and at <= end:
            run.append(piece)
            continue
        if run:
            ids = tuple(token for sampled in run for token in sampled.ids)
            segments.append(Segment("".join(sampled.text for sampled in run), ids=ids))
            run = []
        if begin < end and at > start:
            segments.append(Segment(piece.text[max(start - begin, 0) : end - begin]))
    return segments
