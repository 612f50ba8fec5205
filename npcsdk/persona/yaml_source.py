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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

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

from npcsdk.persona.source import Path, Source, Span, Written

__all__ = ["MAX_DEPTH", "read_yaml"]

MAX_DEPTH: Final = 16

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_UNSPEAKABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")
_REAL: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


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


# What PyYAML says, what a designer needs to read instead, and what to do about it.
_PLAINER: Final = (
    (
        "mapping values are not allowed",
        "a colon followed by a space is not expected here",
        "Put a text that has a colon in quotes, and indent the line as its neighbours are.",
    ),
    (
        "could not find expected ':'",
        "this line has no colon",
        "If it goes on from the line above, indent it.",
    ),
    (
        "expected <block end>",
        "this does not fit what stands above it",
        "Indent the line as its neighbours are.",
    ),
    (
        "cannot start any token",
        "a text cannot begin with this character",
        "Put the text in quotes.",
    ),
)


def _report_syntax(source: Source, error: yaml.MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    start = min(mark.index, len(source.text)) if mark else 0
    problem = " ".join(" ".join(part for part in (error.context, error.problem) if part).split())
    where = source.span(start)
    if source.text[start : start + 1] == "\t":
        source.report("NPC002", where)
        return
    if error.context_mark and problem.startswith(("while parsing a flow", "while scanning a quoted")):
        # PyYAML notices at the end of the file; the designer must look at where it began.
        what = (
            "this quote is never closed" if "quoted" in problem else "a comma or closing bracket is missing"
        )
        hint = "Close it where it ends, or put the whole text in quotes."
        source.report("NPC001", source.span(error.context_mark.index), problem=what, hint=hint)
        return
    for said, plainer, hint in _PLAINER:
        if said in problem:
            if "simple key" in problem and error.context_mark:
                where = source.span(error.context_mark.index)
            source.report("NPC001", where, problem=plainer, hint=hint)
            return
    source.report("NPC001", where, problem=problem)


def _index(mark: Any) -> int:
    """Where a mark stands. The stubs call marks optional; those that come out of the parser never are."""
    return int(mark.index)


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
        return self._source.span(_index(event.start_mark), _index(event.end_mark))

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
            written = self._source.text[_index(event.start_mark) : _index(event.end_mark)]
            found = re.search(r"!\S*", written)
            self._source.report("NPC007", self._first_word(event), text=found.group() if found else event.tag)
        return event.tag is not None

    def _first_word(self, event: Event) -> Span:
        start = _index(event.start_mark)
        found = re.compile(r"\S+").match(self._source.text, start)
        return self._source.span(start, found.end() if found else None)

    def _scalar(self, event: ScalarEvent, *, broken: bool) -> None:
        text: str = event.value
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
                text, _index(event.start_mark), _index(event.end_mark), event.style or ""
            )

    def _key(self, parent: _Open, key: str, event: ScalarEvent) -> None:
        parent.key = key
        span = self._span(event)
        if parent.first_key:
            parent.first_key = False
            # A mapping in block style begins with its first key: what is missing in it is shown there.
            if self._source.text[self._source.index_of(self._source.values[parent.path])] not in "{[":
                self._source.values[parent.path] = span
        path = (*parent.path, key)
        if key in parent.value:
            self._source.report("NPC005", span, key=key, first=self._source.keys[path].line)
            parent.skip = True
            return
        self._source.keys[path] = span

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
