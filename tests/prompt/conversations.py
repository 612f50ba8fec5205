"""Conversations as dialogue makes them, for the tests of every template."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from npcsdk.backends.base import Segment
from npcsdk.prompt.templates import ChatMessage, Template
from npcsdk.prompt.untrusted import neutralise

TOOLS: list[dict[str, Any]] = [
    {
        "name": "open_gate",
        "description": "Open a gate.",
        "parameters": {"type": "object", "properties": {"gate": {"type": "string"}}, "required": ["gate"]},
    },
    {"name": "wave", "description": "Wave.", "parameters": {"type": "object", "properties": {}}},
]
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).map(neutralise)
WORDS = PLAIN.map(str.strip).filter(bool)
"""What a player says, or what a character is kept as having said: no white space at either end."""


@st.composite
def sampled(draw: st.DrawFn) -> ChatMessage:
    """A reply as history keeps it: pieces with the ids that were sampled for them."""
    text = draw(WORDS)
    cut = draw(st.integers(0, len(text)))
    pieces = [piece for piece in (text[:cut], text[cut:]) if piece]
    return ChatMessage("assistant", tuple(Segment(piece, ids=(7, at)) for at, piece in enumerate(pieces)))


@st.composite
def turns(draw: st.DrawFn) -> list[ChatMessage]:
    """Whole turns: a line, a reply, and sometimes an action's result and what is said after it."""
    messages: list[ChatMessage] = []
    for _ in range(draw(st.integers(1, 4))):
        messages += [ChatMessage.of("user", draw(WORDS)), draw(sampled())]
        if draw(st.booleans()):
            results = [ChatMessage.of("tool", draw(WORDS)) for _ in range(draw(st.integers(1, 2)))]
            messages += [*results, draw(sampled())]
    return messages


def spelled(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in segments)


def assert_stable(
    template: Template, system: str, tools: list[dict[str, Any]], messages: list[ChatMessage]
) -> None:
    """Wherever a reply was sampled, the prompts after it begin with the prompt before it and the reply."""
    whole = spelled(template.conversation(system, tools, (), messages))
    for at, message in enumerate(messages):
        if message.role == "assistant":
            before = spelled(template.conversation(system, tools, (), messages[:at]))
            assert whole.startswith(before + message.text), (before + message.text, whole)
