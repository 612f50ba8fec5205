# SPDX-License-Identifier: Apache-2.0
"""Nemotron's spelling of a conversation, and its tokens with a loss on the replies alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tokenizer import EOS
from tokenizers import Tokenizer


@dataclass
class Turn:
    """One turn: role `User`, `Assistant` or `Tool`."""

    role: str
    text: str


@dataclass
class Conversation:
    system: str
    tools: list[dict[str, object]] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    everything: float = 0.0
    """Weight of the loss on tokens that are not a reply (0: replies only)."""

    def user(self, line: str, contexts: list[str] | None = None) -> None:
        rows = [f"<context> {c.strip()} </context>" for c in contexts or []]
        self.turns.append(Turn("User", "\n".join([*rows, line.strip()])))

    def says(self, text: str) -> None:
        self.turns.append(Turn("Assistant", text.strip()))

    def result(self, text: str) -> None:
        self.turns.append(Turn("Tool", text.strip()))


def call(name: str, arguments: dict[str, object]) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<toolcall> {body} </toolcall>"


def head(c: Conversation) -> str:
    out = "<extra_id_0>System\n" + c.system.strip()
    if c.tools or c.contexts:
        out += "\n"
    for tool in c.tools:
        out += f"\n<tool> {json.dumps(tool, ensure_ascii=False)} </tool>"
    if c.contexts:
        out += "\n" if c.tools else ""
        for context in c.contexts:
            out += f"\n<context> {context.strip()} </context>"
    return out + "\n\n"


def pieces(c: Conversation) -> list[tuple[str, bool]]:
    """(text, is a reply), in order; the text before a reply ends with the line `<extra_id_1>Assistant`."""
    out: list[tuple[str, bool]] = []
    prompt = head(c)
    for turn in c.turns:
        if turn.role == "Assistant":
            out.append((prompt + "<extra_id_1>Assistant\n", False))
            out.append((turn.text, True))
            prompt = "\n"
        else:
            prompt += f"<extra_id_1>{turn.role}\n{turn.text}\n"
    return out


def prompt(c: Conversation) -> str:
    """The text up to where the next reply begins."""
    return "".join(t for t, _ in pieces(c)) + (
        ("\n" if c.turns and c.turns[-1].role == "Assistant" else "")
        if not c.turns or c.turns[-1].role == "Assistant"
        else _open_tail(c)
    )


def _open_tail(c: Conversation) -> str:
    tail = ""
    for turn in reversed(c.turns):
        if turn.role == "Assistant":
            return "\n" + tail + "<extra_id_1>Assistant\n"
        tail = f"<extra_id_1>{turn.role}\n{turn.text}\n" + tail
    return head(c) + tail + "<extra_id_1>Assistant\n"


def encode(
    tok: Tokenizer, conversations: list[Conversation]
) -> list[tuple[list[int], list[int], list[float]]]:
    """For each conversation: input ids, the id to predict at each position, and that prediction's weight.

    A reply's last token predicts `</s>`, although what follows it in the text is the line break of the next turn: a
    history is replayed without `</s>`.
    """
    flat: list[str] = []
    spans: list[list[tuple[str, bool]]] = []
    for c in conversations:
        parts = pieces(c)
        spans.append(parts)
        flat.extend(t for t, _ in parts)
    encoded = iter(tok.encode_batch(flat, add_special_tokens=False))
    out = []
    for c, parts in zip(conversations, spans, strict=True):
        ids: list[int] = []
        target: list[int] = []
        weight: list[float] = []
        for _, is_reply in parts:
            got = next(encoded).ids
            if ids and target[-1] < 0:
                target[-1] = got[0]
                weight[-1] = 1.0 if is_reply else c.everything
            ids += got
            target += [*got[1:], -1]
            weight += [1.0 if is_reply else c.everything] * len(got)
            if is_reply:
                target[-1] = EOS
        out.append((ids, target, weight))
    return out
