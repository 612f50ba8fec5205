"""YAML that remembers where everything stands.

`read_yaml` turns a text into plain dicts, lists and scalars, and keeps a `Span` for every key and value, by
its path (``("secrets", 0, "when")``). It is a strict and safe part of YAML:

- ``yes``, ``on`` and ``12:30`` are text, as in YAML 1.2; only ``true`` and ``false`` are booleans;
- a key given twice, anchors, aliases, tags and second documents are mistakes, so that nothing can expand;
- size and depth are bounded.

Mistakes are collected; the value is still there when it can be, so that its contents can be checked in the
same run. This is the only module that imports ``yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from npcsdk.persona.diagnostics import Diagnostic, diagnose

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Path", "Source", "Span", "decode", "read_yaml"]

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 16

Path: TypeAlias = tuple[str | int, ...]

_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_UNSPEAKABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")
_REAL: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
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
        low, high = 0, len(self.starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.starts[middle] <= start else (low, middle)
        line_end = self.starts[low] + len(self._line(low))
        stop = min(start + 1 if end is None else end, line_end)
        return Span(self.first_line + low, start - self.starts[low] + 1, max(1, stop - start))

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


def read_yaml(source: Source) -> None:
    """Parse ``source.text`` into ``source.value``. Mistakes go to its diagnostics; nothing is raised.

    ``source.readable`` is false afterwards when there is no value to check.
    """
    if not source.readable:
        return
    source.readable = False
    strange = _UNPRINTABLE.search(source.text)
    if strange:
        source.report("NPC004", source.span(strange.start()), character=ord(strange.group()))
        return
    parser: Any = yaml.SafeLoader(source.text)  # its stubs have no types
    try:
        source.readable = _Composer(source).compose(_events(parser))
    except yaml.MarkedYAMLError as error:
        _report_syntax(source, error)
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML lets some through as they are, such as chr() of "\UFFFFFFFF".
        where = source.span(min(parser.get_mark().index, len(source.text)))
        source.report("NPC001", where, problem="a value here is out of range")
    finally:
        parser.dispose()


def _events(parser: Any) -> Iterator[Event]:
    while parser.check_event():
        yield cast("Event", parser.get_event())


def _report_syntax(source: Source, error: yaml.MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    start = min(mark.index, len(source.text)) if mark else 0
    problem = " ".join(" ".join(part for part in (error.context, error.problem) if part).split())
    where = source.span(start)
    if source.text[start : start + 1] == "\t":
        source.report("NPC002", where)
    elif error.context_mark and problem.startswith(("while parsing a flow", "while scanning a quoted")):
        # PyYAML notices at the end of the file; the designer must look at where it began.
        what = (
            "this quote is never closed" if "quoted" in problem else "a comma or closing bracket is missing"
        )
        source.report(
            "NPC001",
            source.span(error.context_mark.index),
            problem=what,
            hint="Close it where it ends, or put the whole text in quotes.",
        )
    elif "mapping values are not allowed" in problem:
        source.report(
            "NPC001",
            where,
            problem="a colon followed by a space is not expected here",
            hint="Put a text that has a colon in quotes, and indent the line as its neighbours are.",
        )
    else:
        source.report("NPC001", where, problem=problem)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    skip: bool = False
    first_key: bool = True


class _Composer:
    """Builds the value from PyYAML's events: without recursion, and with a place for everything."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack: list[_Open] = []
        self._root: Any = None

    def compose(self, events: Iterator[Event]) -> bool:
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._source.report("NPC010", self._span(event))
                    break
            elif not self._take(event):
                return False
        self._source.value = self._root
        return True

    def _span(self, event: Event) -> Span:
        return self._source.span(event.start_mark.index, event.end_mark.index)

    def _take(self, event: Event) -> bool:
        match event:
            case ScalarEvent():
                self._scalar(event, broken=self._has_properties(event))
            case AliasEvent():
                self._source.report("NPC006", self._span(event), text=f"*{event.anchor}")
                self._put(None, event, broken=True)
            case MappingStartEvent() | SequenceStartEvent():
                broken = self._has_properties(event)
                if len(self._stack) >= MAX_DEPTH:
                    self._source.report("NPC008", self._span(event), limit=MAX_DEPTH)
                    return False
                self._open(event, broken=broken)
            case MappingEndEvent() | SequenceEndEvent():
                self._stack.pop()
            case _:
                pass
        return True

    def _has_properties(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> bool:
        """Report an anchor or a tag. With a tag the value is not what was meant."""
        if event.anchor is not None:
            self._source.report("NPC006", self._first_word(event), text=f"&{event.anchor}")
        if event.tag is not None:
            written = self._source.text[event.start_mark.index : event.end_mark.index]
            found = re.search(r"!\S*", written)
            self._source.report("NPC007", self._first_word(event), text=found.group() if found else event.tag)
        return event.tag is not None

    def _first_word(self, event: Event) -> Span:
        start = event.start_mark.index
        found = re.compile(r"\S+").match(self._source.text, start)
        return self._source.span(start, found.end() if found else None)

    def _scalar(self, event: ScalarEvent, *, broken: bool) -> None:
        text = cast("str", event.value)
        strange = _UNSPEAKABLE.search(text)
        if strange:
            self._source.report("NPC004", self._span(event), character=ord(strange.group()))
            text = _UNSPEAKABLE.sub("?", text)
        plain = bool(event.implicit[0])
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self._key(parent, text, event)
            return
        path = self._put(_resolve(text) if plain else text, event, broken=broken)
        if path is not None:
            self._source.scalars[path] = Written(
                text, event.start_mark.index, event.end_mark.index, event.style or ""
            )

    def _key(self, parent: _Open, key: str, event: ScalarEvent) -> None:
        parent.key = key
        span = self._span(event)
        if parent.first_key:
            parent.first_key = False
            # A mapping in block style begins with its first key: what is missing in it is shown there.
            if self._source.text[self._source_index(parent.path)] not in "{[":
                self._source.values[parent.path] = span
        path = (*parent.path, key)
        if key in parent.value:
            self._source.report("NPC005", span, key=key, first=self._source.keys[path].line)
            parent.skip = True
            return
        self._source.keys[path] = span

    def _source_index(self, path: Path) -> int:
        span = self._source.values[path]
        starts = self._source.starts
        return starts[span.line - self._source.first_line] + span.column - 1

    def _open(self, event: MappingStartEvent | SequenceStartEvent, *, broken: bool) -> None:
        parent = self._stack[-1] if self._stack else None
        value: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self._source.report("NPC012", self._span(event))
            # Its contents have no place in the value; they are read and forgotten.
            self._forget_next(parent)
            self._stack.append(_Open(value, (*parent.path, "?")))
            self._source.values.setdefault((*parent.path, "?"), self._span(event))
            return
        path = self._put(value, event, broken=broken)
        if path is None:
            path = (*(parent.path if parent else ()), "?")
            self._source.values.setdefault(path, self._span(event))
        self._stack.append(_Open(value, path))

    def _put(self, value: Any, event: Event, *, broken: bool = False) -> Path | None:
        """Put a value where it belongs. Gives its path, or None when it is to be forgotten."""
        if not self._stack:
            self._root = value
            self._source.values[()] = self._span(event)
            return ()
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            path: Path = (*parent.path, len(parent.value))
            parent.value.append(value)
        else:
            key, skip = parent.key, parent.skip
            if key is None:
                self._forget_next(parent)
                return None
            parent.key, parent.skip = None, False
            if skip:
                return None
            path = (*parent.path, key)
            parent.value[key] = value
        self._source.values[path] = self._span(event)
        if broken:
            self._source.broken.add(path)
        return path

    def _forget_next(self, parent: _Open) -> None:
        # The value of a key that could not be read.
        parent.key, parent.skip = "", True


def _resolve(text: str) -> Any:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _WHOLE.fullmatch(text):
        return int(text)
    if len(text) < 40 and _REAL.fullmatch(text):
        return float(text)
    return text


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
