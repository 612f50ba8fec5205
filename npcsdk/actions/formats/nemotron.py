"""Nemotron Mini: ``<toolcall> {"name": ..., "arguments": {...}} </toolcall>``.

Several calls stand in several pairs of markers; a list in one pair is read too, because models write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from npcsdk.actions.formats.base import Call, MalformedCall, ToolFormat, compact_json, read_json

__all__ = ["FORMAT"]


class NemotronFormat(ToolFormat):
    """The dialect of Nemotron Mini 4B Instruct and of the embedded model."""

    name = "nemotron"
    opening = "<toolcall>"
    closing = "</toolcall>"

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        body = compact_json({"name": name, "arguments": dict(arguments)})
        return f"{self.opening} {body} {self.closing}"

    def parse_calls(self, body: str) -> Sequence[Call]:
        value = read_json(body)
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        if not items:
            raise MalformedCall("an empty list of calls")
        return [_read(item) for item in items]


def _read(item: Any) -> Call:
    if not isinstance(item, dict):
        raise MalformedCall("not an object")
    fields = cast("dict[str, Any]", item)
    name = fields.get("name")
    arguments = fields.get("arguments", {})
    if not isinstance(name, str):
        raise MalformedCall("no name")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise MalformedCall("arguments are not an object")
    return Call(name, cast("dict[str, Any]", arguments))


FORMAT = NemotronFormat()
