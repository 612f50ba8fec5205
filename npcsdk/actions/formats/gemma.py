"""Gemma, which was trained on no tools: it is told how to call, in the system text.

The markers are our own, ``<call>`` and ``</call>``: short, spelled from common tokens, and, as every tag, defused in
text that others wrote, so that a player's line which the model repeats is no call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]

_TOLD = """\
You can act in the world. To act, write one line like this, and nothing else on that line:
<call> {{"name": "ACTION", "arguments": {{...}}}} </call>
Act only when it is asked for or called for, and only with these actions:
{tools}
Speak as usual before or after it. Without an action, only speak."""


class GemmaFormat(ToolFormat):
    """Calls by instruction, for Gemma and other models without a dialect of their own."""

    name = "gemma"
    opening = "<call>"
    closing = "</call>"

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        body = compact_json({"name": name, "arguments": dict(arguments)})
        return f"{self.opening} {body} {self.closing}"

    def instructions(self, tools: Sequence[Mapping[str, Any]]) -> str:
        if not tools:
            return ""
        return _TOLD.format(tools="\n".join(compact_json(dict(tool)) for tool in tools))


FORMAT = GemmaFormat()
