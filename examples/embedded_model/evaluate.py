# SPDX-License-Identifier: Apache-2.0
"""A quick look at each behaviour on names and tools kept out of training; greedy, without the SDK."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import deeds
import render
import skills as S
import torch
import worlds
from lexicon import Lexicon
from model import Nemotron
from render import Conversation
from tokenizer import EOS
from tokenizers import Tokenizer

Case = tuple[str, Conversation, str, Callable[[str], bool]]
UNKNOWN = re.compile(
    r"n't know|not know|no idea|never heard|know nothing|cannot say|can't say|no knowledge|couldn't say|know less",
    re.I,
)


def _plain(s: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", s.lower()).strip()


def cases(n: int, seed: int = 7) -> list[Case]:
    """`n` cases of each behaviour; the last reply of each conversation is the one expected."""
    rng = random.Random(seed)
    out: list[Case] = []
    for k in range(n):
        for kind in ("fact", "fact1", "unknown", "identity"):
            lex = Lexicon(rng, held_out=True)
            me = worlds.make_persona(lex, 0.6)
            t = S.Talk(lex, me, Conversation(me.system))
            t.state, t.now_share = S.make_state(lex), 0.5
            if kind.startswith("fact"):
                S.fact_turn(t, 1 if kind == "fact1" else rng.randint(2, 4))
                fact = t.heard[-1]
                want = [_plain(fact.text), *map(_plain, fact.short)]
                check = lambda got, want=want: any(w in _plain(got) for w in want)  # noqa: E731
            elif kind == "unknown":
                S.unknown_turn(t)
                check = lambda got: bool(UNKNOWN.search(got))  # noqa: E731
            else:
                t.conv.user(rng.choice(S.WHO[:12]), [])
                t.conv.says(me.name)
                check = lambda got, name=me.name: name.split()[-1] in got  # noqa: E731
            out.append((kind, t.conv, t.conv.turns[-1].text, check))
        for kind in ("call", "call1", "no call"):
            lex = Lexicon(rng, held_out=True)
            me = worlds.make_persona(lex, 0.5)
            t = S.Talk(lex, me, Conversation(me.system))
            t.state, t.now_share = S.make_state(lex), 1.0
            tools = deeds.with_tools(t, 1 if kind == "call1" else rng.randint(2, 5))
            if kind == "no call":
                (S.social_turn if k % 3 else S.fact_turn)(t)
                check = lambda got: "<toolcall>" not in got  # noqa: E731
            else:
                spelled = deeds.call_turn(t, tools)
                while "<toolcall>" not in t.conv.turns[-1].text:
                    t.conv.turns.pop()
                check = lambda got, want=spelled: re.findall(r"<toolcall>.*?</toolcall>", got) == [want]  # noqa: E731
            out.append((kind, t.conv, t.conv.turns[-1].text, check))
    return out


@torch.no_grad()
def greedy(model: Nemotron, tok: Tokenizer, prompts: list[str], most: int = 44, batch: int = 24) -> list[str]:
    """Greedy replies, without a cache: slow per token, simple, and fast enough for a few dozen."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    encoded = [e.ids for e in tok.encode_batch(prompts, add_special_tokens=False)]
    out = [""] * len(prompts)
    for b in range(0, len(order), batch):
        rows = order[b : b + batch]
        lengths = torch.tensor([len(encoded[i]) for i in rows])
        ids = torch.zeros(len(rows), int(lengths.max()) + most, dtype=torch.long)
        for k, i in enumerate(rows):
            ids[k, : lengths[k]] = torch.tensor(encoded[i])
        start = lengths.clone()
        alive = torch.ones(len(rows), dtype=torch.bool)
        for _ in range(most):
            live = alive.nonzero().squeeze(1)
            top = int(lengths[live].max())
            with torch.autocast("cpu", torch.bfloat16):
                hidden = model(ids[live, :top])
                nxt = model.logits(hidden[torch.arange(len(live)), lengths[live] - 1]).argmax(-1)
            for k, token in zip(live.tolist(), nxt.tolist(), strict=True):
                if token == EOS:
                    alive[k] = False
                else:
                    ids[k, lengths[k]] = token
                    lengths[k] += 1
            if not alive.any():
                break
        for k, i in enumerate(rows):
            out[i] = tok.decode(ids[k, start[k] : lengths[k]].tolist(), skip_special_tokens=False)
    return out


def quick(model: Nemotron, tok: Tokenizer, n: int = 12, cases: int = 0, show: int = 1) -> str:
    """One paragraph: the share right by behaviour, and a wrong case of each."""
    todo = globals()["cases"](cases or n)
    prompts = []
    for _, conv, _, _ in todo:
        last = conv.turns.pop()
        prompts.append(render.prompt(conv))
        conv.turns.append(last)
    replies = greedy(model, tok, prompts)
    right: dict[str, list[bool]] = {}
    wrong: dict[str, list[str]] = {}
    for (kind, conv, want, check), got in zip(todo, replies, strict=True):
        ok = check(got)
        right.setdefault(kind, []).append(ok)
        if not ok:
            ask = conv.turns[-2].text.splitlines()[-1]
            wrong.setdefault(kind, []).append(f"    {kind}: {ask!r} want {want!r} got {got!r}")
    head = "EVAL " + "  ".join(f"{k} {100 * sum(v) / len(v):.0f}%" for k, v in right.items())
    return "\n".join([head, *(line for v in wrong.values() for line in v[:show])])
