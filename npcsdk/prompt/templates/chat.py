"""A model behind a server that spells conversations itself: it gets messages and tools, as values.

The segments are what such a prompt is measured by; no server sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.actions.formats.base import compact_json
from npcsdk.backends.base import ModelSource, Segment
from npcsdk.prompt.templates.base import ChatMessage, Template

__all__ = ["ChatTemplate", "template"]


class ChatTemplate(Template):
    """Messages, and a plain text to measure them by."""

    name = "chat"
    stop = ()

    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        listed = [compact_json(dict(tool)) for tool in tools]
        return (Segment("\n".join(["system", system, *listed, *map(self.context, contexts), "\n"])),)

    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        return (Segment(f"{message.role}\n"), *message.segments, Segment("\n\n"))

    def reply(self) -> tuple[Segment, ...]:
        return (Segment("assistant\n"),)

    def context(self, text: str) -> str:
        return f"<context> {text.strip()} </context>"


def template(source: ModelSource, tool_format: ToolFormat) -> ChatTemplate:
    """The template; the same for all servers."""
    del source, tool_format
    return ChatTemplate()
