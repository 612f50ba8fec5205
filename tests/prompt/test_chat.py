"""Messages for servers: nothing is lost, and a prompt's measure counts all of it."""

from __future__ import annotations

from npcsdk.prompt.build import assemble
from npcsdk.prompt.templates import ChatMessage, load_template
from tests.prompt.conversations import TOOLS, spelled


def test_messages_and_tools_travel_as_values() -> None:
    messages = [
        ChatMessage.of("user", "hi"),
        ChatMessage.of("assistant", "yo"),
        ChatMessage.of("tool", "done"),
    ]
    prompt = assemble(load_template("chat"), system="Be kind.", tools=TOOLS, messages=messages)
    assert [(message.role, message.content) for message in prompt.messages] == [
        ("system", "Be kind."),
        ("user", "hi"),
        ("assistant", "yo"),
        ("tool", "done"),
    ]
    assert list(prompt.tools) == TOOLS
    text = spelled(prompt.segments)
    assert all(part in text for part in ("Be kind.", "open_gate", "hi", "yo", "done"))
    assert not any(segment.control for segment in prompt.segments)
