"""Gemma and Gemma 2, instruction-tuned; also Gemma 3, which keeps the format.

The source is the chat template published with the models: the beginning-of-text token, users and models taking
turns between ``<start_of_turn>`` and ``<end_of_turn>``, contents stripped. It refuses a system message, two turns of
one role, and knows no tools, and runtimes disagree on what to do instead; `alternating` is our one answer. Without
a system text ``tests/prompt`` holds this to that template byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import Message, ModelSource, Segment
from npcsdk.prompt.templates.base import ChatMessage, Template, alternating
from npcsdk.prompt.templates.instructions import preamble

__all__ = ["GemmaTemplate", "template"]

_BOS = Segment("<bos>", control=True)
_BEGIN = Segment("<start_of_turn>", control=True)
_END = Segment("<end_of_turn>", control=True)
_WORDS = {"user": "user\n", "tool": "user\n", "assistant": "model\n"}


class GemmaTemplate(Template):
    """``<bos><start_of_turn>user ... <end_of_turn> <start_of_turn>model``.

    Args:
        tool_format: how the model is told to call; Gemma has no way of its own.
    """

    name = "gemma"
    stop = ("<end_of_turn>", "<start_of_turn>")
    control = ("<bos>", "<start_of_turn>", "<end_of_turn>")

    def __init__(self, tool_format: ToolFormat) -> None:
        self._tool_format = tool_format

    def conversation(
        self,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> tuple[Segment, ...]:
        turns = alternating(self._preamble(system, tools, contexts), messages)
        return (_BOS, *(segment for turn in turns for segment in self.message(turn)), *self.reply())

    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        text = self._preamble(system, tools, contexts)
        return (_BOS, *(self.message(ChatMessage.of("user", text)) if text else ()))

    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        (turn,) = alternating("", [message])[-1:]
        return (_BEGIN, Segment(_WORDS[turn.role]), *turn.segments, _END, Segment("\n"))

    def reply(self) -> tuple[Segment, ...]:
        return (_BEGIN, Segment(_WORDS["assistant"]))

    def context(self, text: str) -> str:
        return f"<context> {text.strip()} </context>"

    def chat(
        self, system: str, tools: Sequence[Mapping[str, Any]], messages: Sequence[ChatMessage]
    ) -> tuple[Message, ...]:
        turns = alternating(self._preamble(system, tools, ()), messages)
        return tuple(Message(turn.role, turn.text) for turn in turns)

    def _preamble(self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]) -> str:
        return preamble(self._tool_format, system, tools, [self.context(text) for text in contexts])


def template(source: ModelSource, tool_format: ToolFormat) -> GemmaTemplate:
    """The template; the same for all models of the family."""
    del source
    return GemmaTemplate(tool_format)
