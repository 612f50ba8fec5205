"""Nemotron Mini 4B Instruct, and the embedded model.

The source is the chat template published with the model (it also travels in its GGUF files): no beginning-of-text
token, every system text at the top, tools and contexts in the system block, the words User, Assistant and Tool
after ``<extra_id_1>``, contents stripped, and always a request to reply at the end. ``tests/prompt`` holds it to
that template byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import ModelSource, Segment
from npcsdk.prompt.templates.base import ChatMessage, Template, stripped

__all__ = ["NemotronTemplate", "template"]

_SYSTEM = Segment("<extra_id_0>", control=True)
_TURN = Segment("<extra_id_1>", control=True)
_WORDS = {"user": "User\n", "assistant": "Assistant\n", "tool": "Tool\n"}


class NemotronTemplate(Template):
    """``<extra_id_0>System ... <extra_id_1>User ... <extra_id_1>Assistant``."""

    name = "nemotron"
    stop = ("<extra_id_1>", "<extra_id_0>")
    control = ("<extra_id_0>", "<extra_id_1>")

    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        text = "System"
        if system.strip():
            text += "\n" + system.strip()
            if tools or contexts:
                text += "\n"
        for tool in tools:
            text += f"\n<tool> {json.dumps(tool, ensure_ascii=False)} </tool>"
        if contexts and tools:
            text += "\n"
        for context in contexts:
            text += "\n" + self.context(context)
        return (_SYSTEM, Segment(text + "\n\n"))

    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        return (_TURN, Segment(_WORDS[message.role]), *stripped(message.segments), Segment("\n"))

    def reply(self) -> tuple[Segment, ...]:
        return (_TURN, Segment(_WORDS["assistant"]))

    def context(self, text: str) -> str:
        return f"<context> {text.strip()} </context>"


def template(source: ModelSource, tool_format: ToolFormat) -> NemotronTemplate:
    """The template; the same for all models of the family, which spells tools itself."""
    del source, tool_format
    return NemotronTemplate()
