"""Base models, which have no chat format: the conversation as a script that the model goes on writing.

    <system text>

    The scene, as a script:

    (It is dusk.)
    Player:
    Good evening.

    Bram:
    Evening. The gate is shut.

    Player:
    ...

A speech is one paragraph under its speaker's name; a blank line or the next speaker's name ends it, so the model
never gets to write the player's next line. What the player says is written on one line: nobody can begin another
speaker's paragraph. No control tokens but the beginning-of-text token, where the model's files name one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import Message, ModelSource, Segment
from npcsdk.prompt.templates.base import ChatMessage, Template, alternating, stripped
from npcsdk.prompt.templates.instructions import preamble
from npcsdk.prompt.untrusted import one_line

__all__ = ["CompletionTemplate", "template"]

# How a passage travels inside a user's message. Text of others cannot hold it: `untrusted` defuses every tag.
_PASSAGE = re.compile(r"^<context> (.*) </context>$")
_SCENE = "The scene, as a script:"
_PLAYER = "Player"
_OTHER = "Visitor"  # the player beside a character whose name is Player
_PARAGRAPHS = re.compile(r"\s*\n\s*\n\s*")


class CompletionTemplate(Template):
    """A script of ``Player`` and a character.

    Args:
        tool_format: how the model is told to call.
        bos: the beginning-of-text token, or "".
        speaker: the character's name as the script has it.
    """

    name = "completion"

    def __init__(self, tool_format: ToolFormat, *, bos: str = "", speaker: str = "Character") -> None:
        self._tool_format = tool_format
        self._bos = bos
        self._speaker = one_line(speaker).replace(":", "") or "Character"
        self._player = _OTHER if self._speaker.casefold() == _PLAYER.casefold() else _PLAYER
        self.stop = ("\n\n", f"\n{self._player}:", f"\n{self._speaker}:", "\n(")

    def speaking_as(self, name: str) -> CompletionTemplate:
        return CompletionTemplate(self._tool_format, bos=self._bos, speaker=name)

    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        text = preamble(self._tool_format, system, tools, [f"({one_line(item)})" for item in contexts])
        return (Segment(self._bos, control=True), Segment(f"{text}\n\n{_SCENE}\n\n".lstrip()))

    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        if message.role == "assistant":
            return (Segment(f"{self._speaker}:\n"), *_one_paragraph(message.segments), Segment("\n\n"))
        if message.role == "tool":
            return (Segment(f"({one_line(message.text)})\n\n"),)
        notes, words = _apart(message.text)
        return (Segment("".join(f"({note})\n" for note in notes) + f"{self._player}:\n{words}\n\n"),)

    def reply(self) -> tuple[Segment, ...]:
        return (Segment(f"{self._speaker}:\n"),)

    def context(self, text: str) -> str:
        return f"<context> {text.strip()} </context>"

    def chat(
        self, system: str, tools: Sequence[Mapping[str, Any]], messages: Sequence[ChatMessage]
    ) -> tuple[Message, ...]:
        turns = alternating(preamble(self._tool_format, system, tools, ()), messages)
        return tuple(Message(turn.role, turn.text) for turn in turns)


def _apart(text: str) -> tuple[list[str], str]:
    """The passages at the beginning of a user's message, and the player's words on one line."""
    lines = text.split("\n")
    notes: list[str] = []
    while lines and (found := _PASSAGE.match(lines[0])):
        notes.append(one_line(found[1]))
        del lines[0]
    return notes, " ".join(" ".join(lines).split())


def _one_paragraph(segments: Sequence[Segment]) -> list[Segment]:
    """A speech without blank lines. What this model sampled has none, for they end it; another's may."""
    return [
        segment if segment.ids is not None else Segment(_PARAGRAPHS.sub("\n", segment.text))
        for segment in stripped(segments)
    ]


def template(source: ModelSource, tool_format: ToolFormat) -> CompletionTemplate:
    """The template, beginning with the model's own beginning-of-text token."""
    return CompletionTemplate(tool_format, bos=source.tokens.get("bos_token", ""))
