"""Mistral, tokenizers v2 to v7: ``[TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...]``.

All calls of a message stand in one list, and nothing closes it but the list's own bracket. (The later spelling is
another dialect: `npcsdk.actions.formats.mistral_args`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]


class MistralFormat(ToolFormat):
    """The dialect of Mistral 7B v0.3, Nemo and Small 3."""

    name = "mistral"
    opening = "[TOOL_CALLS]"
    closing = ""
    listed = True

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{self.opening} {compact_json([{'name': name, 'arguments': dict(arguments)}])}"


FORMAT = MistralFormat()
