"""What a model family's chat template is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from npcsdk.backends.base import Message, Segment

__all__ = ["ChatMessage", "Template", "alternating", "merged", "stripped"]


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
    stop: tuple[str, ...]
    """Texts that end the assistant's message, besides the model's own end tokens."""
    control: ClassVar[tuple[str, ...]] = ()
    """The control tokens that it writes; a tokenizer that does not know them belongs to another model."""

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

    def conversation(
        self,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> tuple[Segment, ...]:
        """The whole prompt, ending where the character speaks.

        Of two conversations of which one goes on where the other stopped, the longer prompt begins with the
        shorter one and the reply that followed it.
        """
        return (
            *self.head(system, tools, contexts),
            *(segment for message in messages for segment in self.message(message)),
            *self.reply(),
        )

    def speaking_as(self, name: str) -> Template:
        """The template for one character, for formats that write its name."""
        del name
        return self

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


def stripped(segments: Sequence[Segment]) -> list[Segment]:
    """The segments without white space at either end; one that is cut loses its ids, for they spell more."""
    kept = list(segments)
    while kept and not kept[0].text.strip():
        del kept[0]
    while kept and not kept[-1].text.strip():
        del kept[-1]
    if kept and kept[0].text != kept[0].text.lstrip():
        kept[0] = Segment(kept[0].text.lstrip())
    if kept and kept[-1].text != kept[-1].text.rstrip():
        kept[-1] = Segment(kept[-1].text.rstrip())
    return kept


def alternating(
    preamble: str, messages: Sequence[ChatMessage], *, tools_speak: bool = False
) -> list[ChatMessage]:
    """A conversation for models that know only users and assistants taking turns: user, assistant, user, ...

    The one rule of npcsdk for them, whatever the runtime. ``preamble`` (system text, tools, contexts) opens the
    first user's message, a blank line before the words. What a game answered to an action is said by the user,
    between ``<result>`` marks that no player can type, unless ``tools_speak``. Neighbours of the same role become
    one message, a line break between them. A conversation that begins with an assistant gets a user's message
    before it.
    """
    result: list[ChatMessage] = []
    for message in messages:
        role = message.role if tools_speak or message.role == "assistant" else "user"
        content = tuple(stripped(message.segments))
        if role != message.role:
            content = (Segment("<result> "), *content, Segment(" </result>"))
        if result and result[-1].role == role:
            before = result.pop().segments
            gap = (Segment("\n"),) if before and content else ()
            content = (*before, *gap, *content)
        result.append(ChatMessage(role, content))
    if not result or result[0].role != "user":
        result.insert(0, ChatMessage("user", ()))
    preamble = preamble.strip()
    if preamble:
        first = result[0].segments
        gap = "\n\n" if first else ""
        result[0] = ChatMessage("user", (Segment(preamble + gap), *first))
    return result
