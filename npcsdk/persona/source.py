"""A designer's file: its text, its value, and where in the text each part of the value stands.

A reader of a format (`npcsdk.persona.yaml_source`, `npcsdk.persona.lore`) fills it in; checks report mistakes to it
by the path of a value, ``("secrets", 0, "when")``, and it knows their place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from npcsdk.persona.diagnostics import Diagnostic, diagnose

__all__ = ["MAX_BYTES", "Path", "Source", "Span", "Written", "decode"]

MAX_BYTES: Final = 256 * 1024

Path: TypeAlias = tuple[str | int, ...]

_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ESCAPE_LENGTHS: Final[Mapping[str, int]] = {"x": 4, "u": 6, "U": 10}


@dataclass(frozen=True, slots=True)
class Span:
    """Where something stands: line and column from 1, length in code points of its first line."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Written:
    """A text value and how the file spells it: ``text[start:end]`` of the file in a YAML style."""

    text: str
    start: int
    end: int
    style: str


@dataclass(slots=True)
class Source:
    """A file's text, its value, and where its parts stand.

    ``diagnostics`` are the mistakes found so far; ``broken`` the paths whose value could not be read.
    """

    file: str
    text: str
    first_line: int = 1
    value: Any = None
    readable: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    keys: dict[Path, Span] = field(default_factory=dict[Path, Span])
    values: dict[Path, Span] = field(default_factory=dict[Path, Span])
    broken: set[Path] = field(default_factory=set[Path])
    scalars: dict[Path, Written] = field(default_factory=dict[Path, Written])
    starts: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.starts = [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def span(self, start: int, end: int | None = None) -> Span:
        """The span of ``text[start:end]``, cut off at the end of its first line."""
        index = bisect_right(self.starts, start) - 1
        begin = self.starts[index]
        stop = min(start + 1 if end is None else end, begin + len(self._line(index)))
        return Span(self.first_line + index, start - begin + 1, max(1, stop - start))

    def line(self, number: int) -> str:
        """The text of a line, without its end."""
        index = number - self.first_line
        return self._line(index) if 0 <= index < len(self.starts) else ""

    def _line(self, index: int) -> str:
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[index] : end].rstrip("\r\n\x85\u2028\u2029")

    def report(self, code: str, where: Span, **values: Any) -> None:
        """Note a mistake at a span."""
        self.diagnostics.append(
            diagnose(
                code,
                self.file,
                line=where.line,
                column=where.column,
                length=where.length,
                source_line=self.line(where.line),
                **values,
            )
        )

    def index_of(self, where: Span) -> int:
        """Where a span begins, as an index of ``text``."""
        return self.starts[where.line - self.first_line] + where.column - 1

    def key_at(self, path: Path) -> Span:
        """Where the key at ``path`` stands, or the nearest thing around it that has a place."""
        return self._nearest(path, (self.keys, self.values))

    def value_at(self, path: Path) -> Span:
        """Where the value at ``path`` stands, or the nearest thing around it that has a place."""
        return self._nearest(path, (self.values, self.keys))

    def _nearest(self, path: Path, tables: Iterable[dict[Path, Span]]) -> Span:
        tables = tuple(tables)
        for length in range(len(path), -1, -1):
            for table in tables:
                if path[:length] in table:
                    return table[path[:length]]
        return Span(self.first_line, 1)

    def inside(self, path: Path, offset: int, length: int = 1) -> Span:
        """Where a part of the text scalar at ``path`` stands, through quotes, escapes and folded lines."""
        scalar = self.scalars.get(path)
        if scalar is None:
            return self.value_at(path)
        places = _places(scalar, self.text)
        offset = min(offset, len(scalar.text))
        start = places[offset]
        end = places[min(offset + length, len(scalar.text))]
        return self.span(start, max(end, start + 1))


def decode(file: str, data: bytes) -> Source:
    """The text of a file's bytes. Bytes that are not UTF-8, and too many of them, are reported."""
    if len(data) > MAX_BYTES:
        source = Source(file, "")
        source.diagnostics.append(diagnose("NPC009", file, limit=MAX_BYTES))
        return source
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        source = Source(file, data.decode("utf-8", errors="replace"))
        start = len(data[: error.start].decode("utf-8", errors="replace"))
        source.report("NPC003", source.span(start), byte=data[error.start])
        return source
    source = Source(file, text.removeprefix("\ufeff"))
    source.readable = True
    return source


def _places(scalar: Written, text: str) -> list[int]:
    """For every character of the scalar's value, and its end, the index in the file's text."""
    index, end = scalar.start, scalar.end
    if scalar.style in ("'", '"'):
        index, end = index + 1, end - 1
    elif scalar.style in ("|", ">"):
        index = text.find("\n", index) + 1
    places: list[int] = []
    for char in scalar.text:
        while char.isspace() is False and index < end and text[index].isspace():
            index += 1
        places.append(min(index, end))
        if index >= end:
            continue
        if scalar.style == '"' and text[index] == "\\":
            index += _ESCAPE_LENGTHS.get(text[index + 1 : index + 2], 2)
        elif scalar.style == "'" and text.startswith("''", index):
            index += 2
        elif not char.isspace() or text[index].isspace():
            index += 1
    places.append(min(index, end))
    return places
