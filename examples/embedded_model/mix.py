# SPDX-License-Identifier: Apache-2.0
"""Which conversation comes next: the curriculum."""

from __future__ import annotations

import random

import corpus
import deeds
import facts as F
import reading
import skills as S
import toolbox
import worlds
from lexicon import Lexicon
from render import Conversation

# (until this many million tokens, kind of conversation -> weight)
STAGES: list[tuple[float, dict[str, float]]] = [
    (1.2, {"echo": 0.5, "dense1": 0.5}),
    (3.0, {"echo": 0.08, "dense1": 0.5, "dense4": 0.3, "tool1": 0.12}),
    (6.0, {"echo": 0.03, "dense1": 0.15, "dense4": 0.35, "tool1": 0.25, "full": 0.12, "book": 0.1}),
    (
        11.0,
        {
            "echo": 0.02,
            "dense1": 0.05,
            "dense4": 0.25,
            "tool1": 0.1,
            "tool4": 0.18,
            "full": 0.25,
            "book": 0.15,
        },
    ),
    (
        1e9,
        {
            "echo": 0.01,
            "dense4": 0.04,
            "lore": 0.08,
            "lore drill": 0.17,
            "tool4": 0.1,
            "tool drill": 0.18,
            "full": 0.26,
            "book": 0.16,
        },
    ),
]
SKILLS = {
    "fact": 28,
    "unknown": 20,
    "knowledge": 9,
    "recall": 8,
    "identity": 30,
    "persona": 9,
    "social": 11,
    "look": 4,
    "react": 5,
    "another": 18,
    "answer": 10,
    "silence": 4,
    "lore": 34,
    "open": 22,
}


def weights(millions: float) -> dict[str, float]:
    for until, w in STAGES:
        if millions < until:
            return w
    return STAGES[-1][1]


def turn(t: S.Talk, tools: list[toolbox.Tool]) -> None:
    """One turn of any kind, for a conversation in which `tools` are offered."""
    r = t.rng.random()
    if tools and r < 0.36:
        deeds.call_turn(t, tools)
    elif r < (0.42 if tools else 0.04):
        deeds.no_tool_turn(t, tools)
    elif tools and r < 0.45:
        deeds.chat_turn(t, tools)
    else:
        name = t.rng.choices(list(SKILLS), list(SKILLS.values()))[0]
        if name == "another":
            corpus.another(t)
        elif name in ("answer", "silence", "lore", "open"):
            getattr(reading, name + "_turn")(t)
        elif name == "look":
            deeds.look_turn(t)
        else:
            getattr(S, name + "_turn")(t)


def full(lex: Lexicon, turns: int) -> Conversation:
    """A whole character: persona, world, tools, and turns of every kind."""
    me = worlds.make_persona(lex, lex.rng.random() ** 1.4)
    t = S.Talk(lex, me, Conversation(me.system))
    if lex.rng.random() < 0.6:
        t.state, t.now_share = S.make_state(lex), lex.rng.choice([0.2, 0.6, 1.0])
    if lex.rng.random() < 0.07:  # the published place of contexts: in the system block
        told = [F.make(lex) for _ in range(lex.rng.randint(1, 4))]
        t.conv.contexts = [S.passage(lex, f) for f in told]
        me.knowledge += told
    tools = deeds.with_tools(t, lex.rng.randint(1, 5)) if lex.rng.random() < 0.65 else []
    for _ in range(turns):
        turn(t, tools)
    return t.conv


def lore_conversation(lex: Lexicon, turns: int) -> Conversation:
    """Little persona, one question after another on the hand-written lore."""
    me = worlds.make_persona(lex, 0.0)
    t = S.Talk(lex, me, Conversation(me.system))
    for _ in range(turns):
        (reading.lore_turn if lex.rng.random() < 0.6 else reading.open_turn)(t)
    return t.conv


def from_book(lex: Lexicon, turns: int) -> Conversation:
    """A hand-written exchange, then others in the same manner, and generated turns between them."""
    t, block = corpus.start(lex, tools=True)
    for _ in range(turns):
        if lex.rng.random() < 0.65:
            corpus.another(t)
        elif not block.says:
            turn(t, [])
        else:
            lex.rng.choice([S.fact_turn, reading.answer_turn, reading.silence_turn, S.identity_turn])(t)
    return t.conv


def conversation(
    rng: random.Random, millions: float, held_out: bool = False, most: int = 700
) -> Conversation:
    """One conversation for a run that has seen `millions` of tokens; `most` is where it will be cut."""
    lex = Lexicon(rng, held_out)
    w = weights(millions)
    kind = rng.choices(list(w), list(w.values()))[0]
    long = max(1, most // 640)
    match kind:
        case "echo":
            return S.echo_conversation(lex)
        case "dense1":
            return S.dense_conversation(lex, rng.randint(3, 6), 1, 0.12 if millions > 1 else 0.0)
        case "dense4":
            return S.dense_conversation(lex, rng.randint(2, 5), 4, 0.25)
        case "lore":
            return lore_conversation(lex, rng.randint(3, 6))
        case "lore drill":
            return reading.drill(lex, rng.randint(6, 12))
        case "tool drill":
            return deeds.drill(lex, rng.randint(6, 12))
        case "tool1":
            return deeds.tool_conversation(lex, rng.randint(2, 5), 2)
        case "tool4":
            return deeds.tool_conversation(lex, rng.randint(3, 6), 4)
        case "book":
            return from_book(lex, rng.randint(1, 4) * long)
        case _:
            return full(lex, rng.randint(2, 6) * long)
