"""Hermes 2 Pro, Hermes 3, Qwen 2.5 and Qwen 3: ``<tool_call>`` and ``</tool_call>`` on lines of their own around
``{"name": ..., "arguments": {...}}``, one pair for each call. The families' templates present the tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]


class HermesFormat(ToolFormat):
    """The dialect of the Hermes and Qwen families."""

    name = "hermes"
    opening = "<tool_call>"
    closing = "</tool_call>"

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        body = compact_json({"name": name, "arguments": dict(arguments)})
        return f"{self.opening}\n{body}\n{self.closing}"


FORMAT = HermesFormat()
