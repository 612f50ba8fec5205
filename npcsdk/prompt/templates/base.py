"""What a model family's chat template is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from npcsdk.backends.base import Message, Segment

__all__ = ["ChatMessage", "Template", "merged"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation. An assistant's text is kept in the segments in which it was sampled."""

    role: Literal["user", "assistant", "tool"]
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, role: Literal["user", "assistant", "tool"], text: str) -> ChatMessage:
        """A message of plain text."""
        return cls(role, (Segment(text),))

    @property
    def text(self) -> str:
        """The whole content."""
        return "".join(segment.text for segment in self.segments)


class Template(ABC):
    """How one model family spells a conversation. Stateless; byte for byte its published template."""

    name: ClassVar[str]
    stop: ClassVar[tuple[str, ...]]
    """Texts that end the assistant's message, besides the model's own end tokens."""

    @abstractmethod
    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        """Everything before the first message: system text, tools, and contexts where a model wants them there."""

    @abstractmethod
    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        """One message, whole."""

    @abstractmethod
    def reply(self) -> tuple[Segment, ...]:
        """What makes the model speak next."""

    @abstractmethod
    def context(self, text: str) -> str:
        """A passage as it stands inside the user's message."""

    def chat(
        self, system: str, tools: Sequence[Mapping[str, Any]], messages: Sequence[ChatMessage]
    ) -> tuple[Message, ...]:
        """The same conversation as messages, for servers that apply a template themselves."""
        del tools
        return (
            Message("system", system),
            *(Message(message.role, message.text) for message in messages),
        )


def merged(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Neighbours of the same kind joined, so that text is encoded in one go as the model's own tokenizer does.

    Sampled segments keep their ids and are never joined to anything.
    """
    result: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        last = result[-1] if result else None
        if last and last.ids is None and segment.ids is None and last.control == segment.control:
            result[-1] = Segment(last.text + segment.text, last.control)
        else:
            result.append(segment)
    return tuple(result)
