"""Llama 3.1, 3.2 and 3.3, calls of custom functions: ``{"name": ..., "parameters": {...}}``.

The reply begins with the call; ``<|python_tag|>`` before it is optional, and makes a call possible after speech.
Several calls are separated by semicolons. Nothing closes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]


class Llama3Format(ToolFormat):
    """The JSON dialect of the Llama 3 family."""

    name = "llama3"
    opening = "<|python_tag|>"
    closing = ""
    arguments_key = "parameters"
    bare = True

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        return self.opening + compact_json({"name": name, "parameters": dict(arguments)})


FORMAT = Llama3Format()
