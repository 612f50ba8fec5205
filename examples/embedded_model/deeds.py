# SPDX-License-Identifier: Apache-2.0
"""Turns in which a character acts: calls, calls that are not possible, and what is said after the game answered."""

from __future__ import annotations

import json
import random
import re

import facts as F
import occasions
import offered
import toolbox
import worlds
from lexicon import CREATURE, Lexicon
from phrases import words
from render import Conversation, call
from skills import (
    Talk,
    contexts_for,
    dress,
    fact_turn,
    identity_turn,
    make_state,
    social_turn,
    unknown_turn,
)

POLITE = words("POLITE")
IMPERATIVE = words("IMPERATIVE")
NO_TOOL = words("NO_TOOL")
REASONS = words("REASONS")
TEXTS = words("TEXTS")
KEYS = words("KEYS")
UNNAMED = 0.2
"""How many of the requests whose words name no tool are kept: the SDK would not let it be called."""
ASKS = re.compile(
    r"(who|what|where|when|how|why|which|is|are|do|does|did|can|has|have|was|were|will)\b", re.I
)


def ask(rng: random.Random, line: str) -> str:
    first = line.split(" ")[0].strip(",")
    if first in IMPERATIVE and "?" not in line:
        line = rng.choice(POLITE).strip().format(q=line)
    r = rng.random()
    if r < 0.35:
        line = F.upper(line) + (
            "" if line[-1] in "?!." else "." if first in IMPERATIVE or rng.random() < 0.5 else "?"
        )
    elif r < 0.45 and line[-1] not in "?!.":
        line += "!"
    elif r < 0.55 and line[-1] not in "?!.":
        line += "?"
    return line


def offer(lex: Lexicon, n: int) -> list[toolbox.Tool]:
    """`n` tools whose names and deeds differ."""
    tools: list[toolbox.Tool] = []
    while len(tools) < n:
        tool = toolbox.invent(lex)
        if all(
            tool.name != t.name
            and tool.deed.names[0].split("_")[0] != t.deed.names[0].split("_")[0]
            and not set(tool.deed.names) & set(t.deed.names)
            for t in tools
        ):
            tools.append(tool)
    return tools


def with_tools(t: Talk, n: int) -> list[toolbox.Tool]:
    tools = offer(t.lex, n)
    t.conv.tools = [x.schema for x in tools]
    t.targets = {x.name: things(x) for x in tools}
    return tools


def things(tool: toolbox.Tool) -> list[str]:
    """The parameters of a tool that take what is nearby."""
    kinds = zip(tool.deed.params, tool.keys, strict=True)
    return [key for param, key in kinds if param.kind in ("sc", "cr")]


def nearby(t: Talk) -> list[str]:
    return [x for x in t.state.get("nearby", "").split(", ") if x]


def suitable(tool: toolbox.Tool, near: list[str]) -> list[str]:
    """What of the things nearby the tool can be used on."""
    people = [x for x in near if x[:1].isupper()]
    kinds = {p.kind for p in tool.deed.params}
    if "p" in kinds:
        return people
    return [x for x in near if x not in people and (x.split()[-1] in CREATURE) == ("cr" in kinds)]


def call_turn(t: Talk, tools: list[toolbox.Tool], quiet: bool = False, bare: bool = False) -> str:
    """Ask for one of the tools; returns the call as it should be spelled. `bare`: nothing around the call."""
    r = t.rng
    near = nearby(t)
    for _ in range(8):
        tool = r.choice(tools)
        req = toolbox.request(t.lex, tool, suitable(tool, near))
        named = t.asked(req.line)
        if not named and r.random() < UNNAMED:
            break
        if tool.name in named and (agrees(named[tool.name], req) or r.random() < offered.MISLED):
            break
    new = [x for x in req.nearby if x not in near]
    if new and (t.state or r.random() < 0.8):
        near = near[: r.randint(0, 4)] + new
        r.shuffle(near)
        t.state = t.state | {"nearby": ", ".join(near)}
    share, t.now_share = t.now_share, 1.0 if new else t.now_share
    rows = [] if bare else contexts_for(t, None, r.choice([0, 0, 0, 0, 1, 2]))[0]
    t.ask(ask(r, req.line), rows)
    t.now_share = share
    spelled = call(tool.name, req.arguments)
    before = "" if quiet or r.random() < 0.3 else t.me.voice("ok", r) + " "
    if bare:
        t.conv.says(spelled)
    elif r.random() < 0.3:
        t.conv.says(before + spelled)
        result_turn(t, tool, req)
    else:
        after = " " + t.me.voice(r.choice(["done", "post"]), r) if r.random() < 0.2 else ""
        t.conv.says((before + spelled + after).strip())
    return spelled


def agrees(draft: str, req: toolbox.Request) -> bool:
    """Whether a draft says nothing but what is meant, and leaves out nothing."""
    keys = re.findall(r'"(\w+)": ', draft)[2:]
    return set(keys) == set(req.arguments) and all(
        f'"{key}": {json.dumps(value, ensure_ascii=False)}' in draft or f'"{key}": ?' in draft
        for key, value in req.arguments.items()
    )


def result_turn(t: Talk, tool: toolbox.Tool, req: toolbox.Request) -> None:
    """The game's answer, and what the character says to it."""
    r = t.rng
    f = F.Filler(t.lex, {"k2": r.choice(["gold", "wood", "iron", "coins", "time", "light"])})
    k = r.random()
    if tool.deed.names[0] in ("check_stock", "check_price", "find_person") and k < 0.8:
        item = str(next(iter(req.arguments.values())))
        n = t.lex.number()
        if tool.deed.names[0] == "find_person":
            d = t.lex.direction()
            t.conv.result(r.choice([d, f"{item} is {d}.", json.dumps({"place": d})]))
            body = f"{item} is {d}."
        elif tool.deed.names[0] == "check_stock":
            t.conv.result(
                r.choice([n, json.dumps({"count": int(n)}), json.dumps({"stock": int(n)}), f"{n} left"])
            )
            body = r.choice([f"There are {n} left.", f"I have {n} of them.", f"{n}."])
        else:
            coin = r.choice(["silver", "gold", "coins"])
            t.conv.result(
                r.choice([f"{n} {coin}", json.dumps({"price": f"{n} {coin}"}), f"{item}: {n} {coin}"])
            )
            body = r.choice([f"The {item} costs {n} {coin}.", f"{n} {coin}.", f"That is {n} {coin}."])
        t.conv.says(dress(t, body, 0.7))
    elif k < 0.4:
        t.conv.result("done")
        t.conv.says(t.me.voice("done", r))
    elif k < 0.65:
        why = f.fill(r.choice(REASONS))
        t.conv.result("failed: " + why)
        t.conv.says(
            r.choice(
                [
                    f"{t.me.voice('fail', r)} {F.upper(why)}.",
                    f"{F.upper(why)}.",
                    f"{t.me.voice('fail', r)} {F.upper(why)}, it seems.",
                ]
            )
        )
    elif k < 0.7:
        t.conv.result("no answer")
        t.conv.says(r.choice([t.me.voice("fail", r), "Nothing happens. " + t.me.voice("fail", r)]))
    elif k < 0.85:
        text = f.fill(r.choice(TEXTS))
        t.conv.result(text)
        t.conv.says(dress(t, text, 0.7))
    else:
        pairs = {key: int(t.lex.number()) for key in r.sample(KEYS, r.choice([1, 1, 2]))}
        t.conv.result(json.dumps(pairs))
        t.conv.says(
            dress(
                t,
                " ".join(
                    f"The {key} is {n}." if not key.endswith("s") else f"That makes {n} {key}."
                    for key, n in pairs.items()
                ),
                0.7,
            )
        )


def no_tool_turn(t: Talk, tools: list[toolbox.Tool]) -> None:
    """Asked for a deed for which no tool is offered."""
    r = t.rng
    taken = {w for x in tools for w in [*x.deed.names, x.name]}
    stems = {w.split("_")[0] for w in taken}
    for _ in range(50):
        other = toolbox.invent(t.lex)
        if not ({*other.deed.names, other.name} & taken) and not (
            {n.split("_")[0] for n in other.deed.names} & stems
        ):
            req = toolbox.request(t.lex, other, [])
            if not t.asked(req.line) or r.random() < offered.MISLED / 2:
                break
    rows = contexts_for(t, None, r.choice([0, 0, 1, 2]))[0]
    t.ask(ask(r, req.line), rows)
    if not occasions.asks_for_a_deed(req.line):
        t.conv.says(occasions.sentence(t, "smalltalk", req.line))
        return
    t.conv.says(
        r.choice(
            [
                t.me.voice("no", r),
                r.choice(NO_TOOL),
                r.choice(NO_TOOL) + " " + t.me.voice("post", r),
                t.me.voice("no", r) + " " + r.choice(NO_TOOL),
            ]
        ).strip()
    )


def chat_turn(t: Talk, tools: list[toolbox.Tool]) -> None:
    """Talk about what the tools are for, without a wish for them."""
    r = t.rng
    lines = [x for tool in tools for x in tool.deed.chat]
    if not lines:
        return social_turn(t)
    line = r.choice(lines)
    if t.asked(line) and r.random() > offered.MISLED / 2:
        return social_turn(t)
    asks = line.endswith("?") or ASKS.match(line)
    t.ask(F.typed(r, line) if asks else line, contexts_for(t, None, r.choice([0, 0, 1]))[0])
    t.conv.says(t.me.not_known(r) if asks and r.random() < 0.5 else occasions.sentence(t, "smalltalk", line))


def look_turn(t: Talk) -> None:
    """A question about the game's state of this turn."""
    r = t.rng
    if not t.state:
        t.state = make_state(t.lex)
    share, t.now_share = t.now_share, 1.0
    key = r.choice(list(t.state))
    value = t.state[key]
    q, a = {
        "place": (
            "where are we / what is this place / where am i / do you know where we are",
            f"We are at {value}.",
        ),
        "nearby": (
            "what do you see / what is near / what is around here / what is nearby",
            f"I see {value}.",
        ),
        "time": ("what time is it / is it late / how late is it", f"It is {value}."),
        "weather": ("how is the weather / what is the weather like", f"The weather: {value}."),
        "mood": ("how do you feel / what's your mood / how are you", f"I am {value}."),
        "gold": ("how much gold do i have / how much gold is there", f"{value} gold."),
        "day": ("what day is it", f"It is {value}."),
        "quest": ("how is the quest / is the quest done", f"The quest is {value}."),
    }.get(key, (f"how is the {key} / what about the {key} / what is the {key}", f"The {key}: {value}."))
    t.ask(F.typed(r, r.choice(q.split(" / "))), contexts_for(t, None, r.choice([0, 0, 1]))[0])
    t.conv.says(dress(t, a, 0.6))
    t.now_share = share


def drill(lex: Lexicon, turns: int) -> Conversation:
    """The same few tools asked for again and again: which one, and with what, is most of what there is to learn."""
    me = worlds.make_persona(lex, 0.0)
    t = Talk(lex, me, Conversation(me.system))
    t.state, t.now_share = make_state(lex), 0.0
    tools = with_tools(t, lex.rng.randint(2, 6))
    for _ in range(turns):
        r = lex.rng.random()
        if r < 0.8:
            call_turn(t, tools, quiet=True, bare=True)
        elif r < 0.9:
            chat_turn(t, tools)
        else:
            no_tool_turn(t, tools)
    return t.conv


def tool_conversation(lex: Lexicon, turns: int, most: int) -> Conversation:
    """Little persona, few tools, one call after another: the first steps of acting."""
    me = worlds.make_persona(lex, 0.0)
    t = Talk(lex, me, Conversation(me.system))
    t.state, t.now_share = make_state(lex), lex.rng.choice([0.0, 0.5, 1.0])
    tools = with_tools(t, lex.rng.randint(1, most))
    for _ in range(turns):
        r = lex.rng.random()
        if r < (0.75 if most < 3 else 0.55):
            call_turn(t, tools, quiet=most < 3)
        elif r < 0.75:
            lex.rng.choice([social_turn, social_turn, fact_turn, unknown_turn, identity_turn])(t)
        else:
            no_tool_turn(t, tools)
    return t.conv
