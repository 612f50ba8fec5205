"""Nemotron Mini: ``<toolcall> {"name": ..., "arguments": {...}} </toolcall>``.

Several calls stand in several pairs of markers; a list in one pair is read too, because models write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]


class NemotronFormat(ToolFormat):
    """The dialect of Nemotron Mini 4B Instruct and of the embedded model."""

    name = "nemotron"
    opening = "<toolcall>"
    closing = "</toolcall>"

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        body = compact_json({"name": name, "arguments": dict(arguments)})
        return f"{self.opening} {body} {self.closing}"


FORMAT = NemotronFormat()
