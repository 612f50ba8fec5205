"""Reads an SQLite file page by page, without SQLite: for a journal of which some pages are damaged. Pure.

SQLite refuses whatever a damaged page leads to. Here every page is read for itself: a leaf whose parent is lost still
has its rows. Nothing that was forgotten comes back: what SQLite frees in a journal it overwrites (``secure_delete``).
The format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Branch", "Leaf", "Pages", "Source", "Value", "logged"]

Value = int | float | str | bytes | None
"""One column of a row."""


class Source(Protocol):
    """A file's bytes; `bytes` are one."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...


_MAGIC = b"SQLite format 3\0"
_USUAL = 4096  # bytes of a page, where the header cannot say
_INDEX_BRANCH, _TABLE_BRANCH, _INDEX_LEAF, _TABLE_LEAF = 0x02, 0x05, 0x0A, 0x0D
_LOG_HEADER, _FRAME_HEADER = 32, 24


@dataclass(frozen=True, slots=True)
class Leaf:
    """Rows of a table with their row ids, or of an index (a table without row ids is one), where they are 0."""

    rows: Sequence[tuple[int, tuple[Value, ...]]]
    index: bool
    whole: bool
    """Whether all of its rows could be read."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a table's rows lie: pages, each with the greatest row id behind it; the last one's is unknown, None."""

    children: Sequence[tuple[int, int | None]]


class Pages:
    """The pages of a database: ``file``, with those of its write-ahead log (`logged`) before it.

    Numbers begin with 1, as SQLite's do.
    """

    def __init__(self, file: Source, log: tuple[Mapping[int, bytes], int, int] | None = None) -> None:
        self._file = file
        self._logged, size, count = log or ({}, 0, 0)
        self.size = size or _page_size(file[:100]) or _USUAL
        self.count = count or -(-len(file) // self.size)

    def page(self, number: int) -> bytes:
        """The page's bytes; of a file that was cut off, zeros in place of what is gone."""
        held = self._logged.get(number)
        if held is None:
            held = self._file[(number - 1) * self.size : number * self.size]
        return held.ljust(self.size, b"\0")

    def read(self, number: int) -> Leaf | Branch | None:
        """What the page holds; None for one that holds no rows, or none that can be read."""
        page = self.page(number)
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (_INDEX_BRANCH, _TABLE_BRANCH, _INDEX_LEAF, _TABLE_LEAF):
            return None
        head = 8 if kind in (_INDEX_LEAF, _TABLE_LEAF) else 12
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + head
        if first + 2 * count > self.size:
            return None
        cells = struct.unpack_from(f">{count}H", page, first)
        if kind == _TABLE_BRANCH:
            return self._branch(page, start, cells)
        rows: list[tuple[int, tuple[Value, ...]]] = []
        for at in cells:
            try:
                if at < first + 2 * count:
                    raise ValueError
                rows.append(self._row(page, at + (4 if kind == _INDEX_BRANCH else 0), kind))
            except (ValueError, IndexError, struct.error):
                continue
        if count and not rows:
            return None
        return Leaf(rows, index=kind != _TABLE_LEAF, whole=len(rows) == count)

    # -- inside

    def _branch(self, page: bytes, start: int, cells: Sequence[int]) -> Branch | None:
        children: list[tuple[int, int | None]] = []
        try:
            for at in cells:
                key, _ = _varint(page, at + 4)
                children.append((int.from_bytes(page[at : at + 4], "big"), key))
        except IndexError:
            return None
        children.append((int.from_bytes(page[start + 8 : start + 12], "big"), None))
        known = [key for _, key in children[:-1] if key is not None]
        fine = all(0 < child <= self.count for child, _ in children) and known == sorted(set(known))
        return Branch(children) if fine else None

    def _row(self, page: bytes, at: int, kind: int) -> tuple[int, tuple[Value, ...]]:
        size, at = _varint(page, at)
        row = 0
        if kind == _TABLE_LEAF:
            row, at = _varint(page, at)
        return row, _columns(self._payload(page, at, size, table=kind == _TABLE_LEAF))

    def _payload(self, page: bytes, at: int, size: int, *, table: bool) -> bytes:
        """A row's bytes: what lies in the page, and what lies on in others."""
        most = self.size - 35 if table else (self.size - 12) * 64 // 255 - 23
        if size <= most:
            if at + size > self.size:
                raise ValueError
            return page[at : at + size]
        if size > self.count * self.size:
            raise ValueError
        least = (self.size - 12) * 32 // 255 - 23
        here = least + (size - least) % (self.size - 4)
        here = here if here <= most else least
        if at + here + 4 > self.size:
            raise ValueError
        parts, left = [page[at : at + here]], size - here
        following = int.from_bytes(page[at + here : at + here + 4], "big")
        seen: set[int] = set()
        while left > 0:
            if not 0 < following <= self.count or following in seen:
                raise ValueError
            seen.add(following)
            overflow = self.page(following)
            parts.append(overflow[4 : 4 + left])
            left -= len(parts[-1])
            following = int.from_bytes(overflow[:4], "big")
        if following:  # it would go on: this is some other page
            raise ValueError
        return b"".join(parts)


def logged(log: bytes) -> tuple[Mapping[int, bytes], int, int] | None:
    """The committed pages in a write-ahead log, the size of a page, and how many the database has; None for no log.

    A damaged frame costs its own page alone: what was committed behind it counts.
    """
    if len(log) < _LOG_HEADER:
        return None
    magic, _, size, _, salt1, salt2, sum1, sum2 = struct.unpack_from(">8I", log)
    if magic & ~1 != 0x377F0682 or size < 512 or size & (size - 1):
        return None
    order = ">" if magic & 1 else "<"
    found: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    count = 0
    for at in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        number, commit, *salts, now1, now2 = struct.unpack_from(">6I", log, at)
        if salts != [salt1, salt2]:
            break
        body = log[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
        sums = _checksum(log[at : at + 8] + body, order, sum1, sum2)
        if sums == (now1, now2):
            pending[number] = body
        sum1, sum2 = now1, now2
        if commit and sums == (now1, now2):
            found |= pending
            pending, count = {}, commit
    return found, size, count


def _checksum(data: bytes, order: str, first: int, second: int) -> tuple[int, int]:
    words: Iterator[int] = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def _page_size(header: bytes) -> int:
    """What the file's header says; 0 where it cannot be."""
    if not header.startswith(_MAGIC):
        return 0
    size = int.from_bytes(header[16:18], "big")
    size = 65_536 if size == 1 else size
    return size if size >= 512 and not size & (size - 1) else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends. Raises IndexError behind the end."""
    value = 0
    for number in range(8):
        byte = data[at + number]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


_SIZES = (0, 1, 2, 3, 4, 6, 8, 8)  # bytes of a number, by its kind


def _columns(payload: bytes) -> tuple[Value, ...]:
    """A row's columns. Raises ValueError or IndexError for what is none."""
    end, at = _varint(payload, 0)
    if not 0 < end <= len(payload):
        raise ValueError
    kinds: list[int] = []
    while at < end:
        kind = payload[at]
        if kind < 0x80:  # nearly always
            at += 1
        else:
            kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end:
        raise ValueError
    values: list[Value] = []
    for kind in kinds:
        if kind in (0, 8, 9):
            values.append(None if kind == 0 else kind - 8)
            continue
        if kind < 0 or kind in (10, 11):
            raise ValueError
        size = (kind - 12) // 2 if kind > 11 else _SIZES[kind]
        piece = payload[at : at + size]
        if len(piece) < size:
            raise ValueError
        at += size
        if kind > 11:
            values.append(piece.decode("utf-8") if kind & 1 else piece)
        elif kind == 7:
            values.append(struct.unpack(">d", piece)[0])
        else:
            values.append(int.from_bytes(piece, "big", signed=True))
    if at != len(payload):
        raise ValueError
    return tuple(values)
