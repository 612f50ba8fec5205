"""The Nemotron template against its published Jinja source, byte for byte, and against golden files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.backends.base import Segment
from npcsdk.prompt.build import assemble
from npcsdk.prompt.templates import ChatMessage, load_template

HERE = Path(__file__).parent
TEMPLATE = load_template("nemotron")
# `tojson` as the model's own tokenizer class renders it (no HTML escapes, no ASCII escapes)
ENVIRONMENT = jinja2.Environment(keep_trailing_newline=True)
ENVIRONMENT.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
PUBLISHED = ENVIRONMENT.from_string((HERE / "nemotron.jinja").read_text(encoding="utf-8"))


def published(system: str, tools: list[Any], contexts: list[str], messages: list[tuple[str, str]]) -> str:
    return PUBLISHED.render(
        messages=[
            *([{"role": "system", "content": system}] if system.strip() else []),
            *({"role": role, "content": text} for role, text in messages),
        ],
        tools=tools,
        contexts=contexts,
    )


def ours(system: str, tools: list[Any], contexts: list[str], messages: list[tuple[str, str]]) -> str:
    head = TEMPLATE.head(system, tools, contexts)
    body = [part for role, text in messages for part in TEMPLATE.message(ChatMessage.of(role, text))]  # type: ignore[arg-type]
    return "".join(segment.text for segment in (*head, *body, *TEMPLATE.reply()))


TEXT = st.text(max_size=60)
SCHEMA = st.fixed_dictionaries(
    {
        "name": st.text(min_size=1, max_size=12),
        "description": TEXT,
        "parameters": st.dictionaries(st.text(max_size=8), st.integers() | TEXT | st.booleans(), max_size=3),
    }
)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), TEXT), max_size=6)


@given(system=TEXT, tools=st.lists(SCHEMA, max_size=3), contexts=st.lists(TEXT, max_size=3), messages=TURNS)
def test_equals_the_published_template(
    system: str, tools: list[Any], contexts: list[str], messages: list[tuple[str, str]]
) -> None:
    assert ours(system, tools, contexts, messages) == published(system, tools, contexts, messages)


@given(
    text=TEXT,
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_sampled_segments_spell_the_same_text(text: str, cuts: list[int]) -> None:
    """A reply kept in the pieces in which it was sampled reads like the reply as one string."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = tuple(
        Segment(text[start:stop], ids=(1,)) for start, stop in itertools.pairwise(edges) if stop > start
    )
    split = "".join(part.text for part in TEMPLATE.message(ChatMessage("assistant", pieces)))
    assert split == "".join(part.text for part in TEMPLATE.message(ChatMessage.of("assistant", text)))


TOOLS = [
    {
        "name": "open_gate",
        "description": "Open a gate.",
        "parameters": {"type": "object", "properties": {"gate": {"type": "string"}}, "required": ["gate"]},
    },
    {"name": "wave", "description": "Wave.", "parameters": {"type": "object", "properties": {}}},
]
CALL = '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"}} </toolcall>'
GOLDEN: dict[str, tuple[str, list[Any], list[str], list[tuple[str, str]]]] = {
    "plain": ("You are Bram.", [], [], [("user", "hi")]),
    "no_system": ("", [], [], [("user", "hi")]),
    "tools": ("You are Bram.", TOOLS, [], [("user", "hi")]),
    "tools_and_contexts": ("You are Bram.", TOOLS, ["The gate is iron.", "It is dusk."], [("user", "hi")]),
    "tool_turn": (
        "You are Bram.",
        TOOLS,
        [],
        [
            ("user", "<context> It is noon. </context>\nopen the gate"),
            ("assistant", f"Stand back. {CALL}"),
            ("tool", "done"),
            ("assistant", "There."),
            ("user", "thanks — Grüße 🙂"),
        ],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    golden = (HERE / "golden" / f"{name}.txt").read_bytes().decode("utf-8")
    assert ours(*GOLDEN[name]) == golden
    assert published(*GOLDEN[name]) == golden


def test_segments_know_control_from_text() -> None:
    prompt = assemble(
        TEMPLATE,
        system="Be kind.",
        tools=TOOLS,
        messages=[ChatMessage.of("user", "hi"), ChatMessage.of("tool", "x")],
    )
    control = [segment.text for segment in prompt.segments if segment.control]
    assert control == ["<extra_id_0>", "<extra_id_1>", "<extra_id_1>", "<extra_id_1>"]
    assert prompt.text == ours("Be kind.", TOOLS, [], [("user", "hi"), ("tool", "x")])
    # text between two control tokens is one segment, so that it is encoded in one go as the model's tokenizer does
    assert [segment.control for segment in prompt.segments] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
