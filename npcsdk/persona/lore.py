"""Lore: Markdown files cut into short passages.

A passage is one or more whole paragraphs or list entries under one heading, or some whole sentences of a
long paragraph: about 25 to 70 words, because a small model reads a few short passages better than one long
one. Its id depends on its file and its words only, so that an edit elsewhere does not change it.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from npcsdk.persona.checks import validate
from npcsdk.persona.diagnostics import diagnose
from npcsdk.persona.schema import LoreHeader, LorePassage
from npcsdk.persona.source import Source, Span
from npcsdk.persona.yaml_source import read_yaml

__all__ = ["FEWEST_WORDS", "MOST_WORDS", "Lore", "read_lore", "split_passages"]

FEWEST_WORDS: Final = 25
MOST_WORDS: Final = 70

_HEADING: Final = re.compile(r" {0,3}#{1,6}(?=\s|$)")
_LIST_ENTRY: Final = re.compile(r" {0,3}(?:[-*+]|\d{1,3}[.)])[ \t]+")
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SENTENCE_END: Final = re.compile(
    r"(?:[.!?\u2026]+[\"')\]\u201d\u2019]*)(?=\s)|[\u3002\uff01\uff1f]+[\u201d\u300d\u300f]*"
)
_ABBREVIATION: Final = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|No|vs|etc|e\.g|i\.e)|\b[A-Z])\.$")
_UNSPACED: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


@dataclass(frozen=True, slots=True)
class Lore:
    """A lore file as read: its tags and its passages."""

    tags: frozenset[str]
    passages: tuple[LorePassage, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """Words that are never cut: a sentence, and whether a new paragraph begins with it."""

    title: str
    text: str
    line: int
    section: int
    paragraph: int


def read_lore(source: Source, name: str) -> Lore | None:
    """Read a lore file. ``name`` is its path in the world, ``lore/gate.md``; mistakes go to ``source``."""
    if not source.readable:
        return None
    header, body, first_line = _front_matter(source)
    if header is None:
        return None
    passages = tuple(split_passages(body, name, header.tags, first_line=first_line))
    if not passages:
        source.diagnostics.append(diagnose("NPC054", source.file))
    return Lore(frozenset(header.tags), passages)


def _front_matter(source: Source) -> tuple[LoreHeader | None, str, int]:
    lines = source.text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != "---":
        return LoreHeader(), source.text, 1
    for index, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            header = Source(source.file, "".join(lines[1:index]), first_line=2, readable=True)
            read_yaml(header)
            if header.readable and header.value is None:
                header.value = {}
            entry = validate(LoreHeader, header)
            source.diagnostics.extend(header.diagnostics)
            source.keys.update(header.keys)
            source.values.update(header.values)
            source.value = header.value
            return entry, "".join(lines[index + 1 :]), index + 2
    source.report("NPC013", Span(1, 1, 3))
    return None, "", 1


def split_passages(
    markdown: str, name: str, tags: Iterable[str], *, first_line: int = 1
) -> Iterator[LorePassage]:
    """Cut Markdown into passages; ``first_line`` is the number of its first line in the file ``name``."""
    tags = frozenset(tags)
    seen: dict[str, int] = {}
    for group in _grouped(_units(markdown, _title_of(name), first_line)):
        text = " ".join(unit.text for unit in group)
        title = group[0].title
        digest = hashlib.blake2b(f"{title}\n{text}".encode(), digest_size=6).hexdigest()
        count = seen[digest] = seen.get(digest, 0) + 1
        identity = f"{name}#{digest}" + (f"-{count}" if count > 1 else "")
        yield LorePassage(id=identity, source=f"{name}:{group[0].line}", title=title, text=text, tags=tags)


def _title_of(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"[-_\s]+", " ", stem).strip().capitalize()


def _units(markdown: str, title: str, first_line: int) -> Iterator[_Unit]:
    # A comment keeps its line ends, so that the lines after it keep their numbers.
    text = _COMMENT.sub(lambda match: "\n" * match.group().count("\n"), markdown)
    section = paragraph = 0
    pending: list[tuple[int, str]] = []

    def flush() -> Iterator[_Unit]:
        nonlocal paragraph
        if pending:
            paragraph += 1
            for line, sentence in _sentences(pending):
                yield _Unit(title, sentence, line, section, paragraph)
            pending.clear()

    for number, line in enumerate(re.split("\r\n|\n|\r", text), first_line):
        heading = _HEADING.match(line)
        if heading:
            yield from flush()
            section += 1
            words = line[heading.end() :].split()
            title = " ".join(words[:-1] if words and not words[-1].strip("#") else words) or title
        elif "".join(line.split()).strip("-*_") == "":
            # An empty line, or a rule.
            yield from flush()
        else:
            entry = _LIST_ENTRY.match(line)
            if entry:
                yield from flush()
                line = line[entry.end() :]
            if line.strip():
                pending.append((number, line))
    yield from flush()


def _sentences(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The sentences of a paragraph, each with the line on which it begins."""
    words = [" ".join(line.split()) for _, line in lines]
    text = " ".join(words)
    starts = [0, *accumulate(len(line) + 1 for line in words)]
    ends = [match.end() for match in _SENTENCE_END.finditer(text + " ")]
    begin = 0
    for end in [*ends, len(text)]:
        last = end == len(text)
        # The text has single spaces, so that what follows stands one further on.
        if not last and (
            text[end + 1 : end + 2].islower() or _ABBREVIATION.search(text, max(begin, end - 8), end)
        ):
            continue
        begin += text.startswith(" ", begin)
        if begin < end:
            yield lines[bisect_right(starts, begin) - 1][0], text[begin:end]
        begin = end


def count_words(text: str) -> int:
    """Words, as a reader of any script would count them, roughly."""
    unspaced = len(_UNSPACED.findall(text))
    return unspaced // 2 + len(_UNSPACED.sub(" ", text).split()) if unspaced else len(text.split())


def _grouped(units: Iterable[_Unit]) -> Iterator[list[_Unit]]:
    """Sentences together: a paragraph where it is short enough, several where they are very short."""
    group: list[_Unit] = []
    words = 0
    for paragraph in _paragraphs(units):
        size = sum(count_words(unit.text) for unit in paragraph)
        if group and (
            paragraph[0].section != group[0].section or words >= FEWEST_WORDS or words + size > MOST_WORDS
        ):
            yield group
            group, words = [], 0
        if size <= MOST_WORDS:
            group, words = group + paragraph, words + size
            continue
        pieces = _pieces(paragraph, size)
        yield from pieces[:-1]
        group = pieces[-1]
        words = sum(count_words(unit.text) for unit in group)
    if group:
        yield group


def _paragraphs(units: Iterable[_Unit]) -> Iterator[list[_Unit]]:
    paragraph: list[_Unit] = []
    for unit in units:
        if paragraph and unit.paragraph != paragraph[0].paragraph:
            yield paragraph
            paragraph = []
        paragraph.append(unit)
    if paragraph:
        yield paragraph


def _pieces(paragraph: list[_Unit], size: int) -> list[list[_Unit]]:
    """A long paragraph in about equal pieces of whole sentences."""
    target = size / -(-size // MOST_WORDS)
    pieces: list[list[_Unit]] = [[]]
    words = 0
    for unit in paragraph:
        count = count_words(unit.text)
        if pieces[-1] and (words + count > MOST_WORDS or words >= target):
            pieces.append([])
            words = 0
        pieces[-1].append(unit)
        words += count
    return pieces
