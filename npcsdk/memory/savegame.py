"""A saved moment as one file: everything that it remembers, to ship inside the game's own save. Pure.

The first line is JSON (format, version, checksum, counts), the rest is compressed JSON Lines, one record each.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.records import Entry, Record

__all__ = ["SavedGame", "decode", "encode", "entries_of", "entry_of", "fields_of"]

_FORMAT, _VERSION = "npcsdk-save", 1
_LARGEST = 2**30  # bytes unpacked: a file that unpacks to more was not written by us
_TEXTS = ("npc", "interlocutor", "kind", "origin", "text", "conversation", "turn", "place")
_NUMBERS = ("at", "importance", "real_time")


@dataclass(frozen=True, slots=True)
class SavedGame:
    """What such a file holds. ``digest`` tells one content from another."""

    slot: str
    digest: str
    records: Sequence[tuple[Entry, float]]
    """Each with the wall clock at which it was written, the oldest first."""


def fields_of(record: Record) -> dict[str, Any]:
    """A record as JSON-able fields, without its position and timeline: those are a journal's own."""
    fields: dict[str, Any] = {name: getattr(record, name) for name in (*_TEXTS, *_NUMBERS)}
    if record.data is not None:
        fields["data"] = dict(record.data)
    return {name: value for name, value in fields.items() if value != "" or name in ("npc", "kind")}


def entry_of(fields: Any) -> tuple[Entry, float]:
    """The other way. Raises ValueError where something is not what `fields_of` gives."""
    if not isinstance(fields, Mapping):
        raise ValueError("a record is not a mapping")
    given = cast("Mapping[str, Any]", fields)
    unknown = given.keys() - {*_TEXTS, *_NUMBERS, "data"}
    if unknown or "npc" not in given or "kind" not in given:
        raise ValueError(f"a record has the unknown fields {sorted(unknown)}, or lacks `npc` or `kind`")
    values: dict[str, Any] = {}
    for name in _TEXTS:
        values[name] = given.get(name, "")
        if not isinstance(values[name], str):
            raise ValueError(f"`{name}` of a record is not text")
    for name, usual in (("at", 0.0), ("importance", 0.5), ("real_time", 0.0)):
        number = given.get(name, usual)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"`{name}` of a record is not a number")
        values[name] = float(number)
    data = given.get("data")
    if data is not None and not isinstance(data, Mapping):
        raise ValueError("`data` of a record is not a mapping")
    real_time = values.pop("real_time")
    return Entry(**values, data=cast("Mapping[str, Any] | None", data)), real_time


def entries_of(fields: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Several of them. Raises MemoryStoreError ``import_invalid``, with the number of the one that is wrong."""
    entries: list[Entry] = []
    for number, given in enumerate(fields, 1):
        try:
            entries.append(entry_of(given)[0])
        except ValueError as error:
            raise MemoryStoreError(
                f"Record {number} cannot be taken in: {error}.",
                hint="Give what an export wrote; nothing was taken in.",
                code="import_invalid",
            ) from error
    return entries


def encode(slot: str, records: Iterable[Record]) -> bytes:
    """The file for a saved moment and the records that it sees, the oldest first."""
    lines = [json.dumps(fields_of(record), ensure_ascii=False, separators=(",", ":")) for record in records]
    body = zlib.compress("\n".join(lines).encode("utf-8"), 6)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "sha256": hashlib.sha256(body).hexdigest(),
        "records": len(lines),
        "slot": slot,
    }
    return json.dumps(header).encode("ascii") + b"\n" + body


def decode(content: bytes) -> SavedGame:
    """The saved moment in a file's bytes.

    Raises MemoryStoreError ``save_foreign``, ``save_newer`` or ``save_damaged``.
    """
    line, _, body = content.partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(line[:10_000])
        if header["format"] != _FORMAT:
            raise ValueError
        version = int(header["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MemoryStoreError(
            "This is not a saved game of npcsdk.",
            hint="Give the file that `export_slot` wrote.",
            code="save_foreign",
        ) from None
    if version > _VERSION:
        raise MemoryStoreError(
            f"The saved game was written by a newer version (format {version}, known: {_VERSION}).",
            hint="Update npcsdk.",
            code="save_newer",
        )
    digest = hashlib.sha256(body).hexdigest()
    try:
        if digest != header["sha256"]:
            raise ValueError("its checksum is another")
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(body, _LARGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("it is too long or ends too early")
        records = [entry_of(json.loads(each)) for each in text.split(b"\n")] if text else []
        if len(records) != header["records"]:
            raise ValueError(f"it has {len(records)} records instead of {header['records']}")
        return SavedGame(str(header["slot"]), digest, records)
    except (ValueError, KeyError, zlib.error, RecursionError) as error:
        raise MemoryStoreError(
            f"The saved game is damaged: {error}.",
            hint="Copy the file again, in binary mode; nothing was taken from it.",
            code="save_damaged",
        ) from error
