# SPDX-License-Identifier: Apache-2.0
"""Questions about the hand-written passages, answered in the passage's own words, or not at all.

The replies of the hand-written exchanges are free; a character that is asked about lore should rather repeat what the
lore says. So each passage also serves with the sentence that holds the answer, and each question also stands where
no passage answers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import corpus
import facts as F
import lore
import worlds
from lexicon import PROFESSION, Lexicon
from phrases import content
from render import Conversation
from skills import Talk, contexts_for, identity_turn

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z{\"])")
ASKS = re.compile(
    r"\b(who|whose|what|where|when|how|why|which|is|are|do|does|did|tell|any|has|was|whats|wheres|whos)\b",
    re.I,
)


@dataclass(frozen=True)
class Reading:
    """A passage with slots, the lines that ask about it, and the sentence that answers them."""

    passage: str
    lines: tuple[str, ...]
    sentence: str


@cache
def readings() -> list[Reading]:
    out: list[Reading] = []
    for block in corpus.book():
        if block.kind not in ("fact", "fact_system", "followup"):
            continue
        known: list[str] = [s.partition(":")[2].strip() for s in block.says if s.startswith("knows:")]
        for step in block.steps:
            known += [c for c in step.contexts if not c.startswith("Now:")]
            said = content(" ".join(step.replies)) - content(" ".join(step.lines))
            best, passage, score = "", "", 0
            for candidate in known:
                for sentence in SENTENCE.split(candidate):
                    hits = len(content(sentence) & said)
                    if hits > score:
                        best, passage, score = sentence, candidate, hits
            asks = tuple(x for x in step.lines if ASKS.search(x) and len(content(x)) > 1 and x[0] != "[")
            if score >= 1 and asks and "<<" not in " ".join(step.replies):
                out.append(Reading(passage, asks, best))
    return out


def stray(lex: Lexicon) -> str:
    """Some hand-written passage, with slots filled."""
    given = {"me": lex.person(), "myrole": "the " + lex.c(PROFESSION)}
    return corpus.Slots(lex, given).fill(lex.rng.choice(readings()).passage)


def answer_turn(t: Talk) -> None:
    """A hand-written passage among others, and the question that it answers."""
    r = t.rng
    reading = r.choice(readings())
    slots = corpus.Slots(t.lex, {"me": t.me.name, "myrole": t.me.role})
    rows = [slots.fill(reading.passage)]
    for _ in range(r.choice([0, 0, 1, 2, 3])):
        rows += [stray(t.lex)] if r.random() < 0.5 else contexts_for(t, None, 1)[0]
    r.shuffle(rows)
    reply = slots.fill(reading.sentence)
    t.tell(F.typed(r, slots.fill(r.choice(reading.lines))), rows, reply)


def silence_turn(t: Talk) -> None:
    """A hand-written question that nothing here answers."""
    r = t.rng
    reading = r.choice(readings())
    slots = corpus.Slots(t.lex, {"me": t.me.name, "myrole": t.me.role})
    line = slots.fill(r.choice(reading.lines))
    asked = content(line)
    rows: list[str] = []
    for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
        row = stray(t.lex) if r.random() < 0.6 else contexts_for(t, None, 1)[0][0]
        if len(content(row) & asked) < 2:
            rows.append(row)
    t.say(F.typed(r, line), rows, t.me.not_known(t.rng), known=False)


def strays(t: Talk, n: int, but: lore.Lore) -> list[str]:
    """`n` passages that are not about the line."""
    return [
        lore.passage(t.lex, but) if t.rng.random() < 0.7 else contexts_for(t, None, 1)[0][0] for _ in range(n)
    ]


def lore_turn(t: Talk, most: int = 4) -> None:
    """A passage among others, and a line that one of its sentences answers."""
    r = t.rng
    told = r.choice(lore.book())
    f = F.Filler(t.lex)
    k = told.pick(r)
    alone = r.random() < 0.2 and (k == 0 or not lore.LEANS.match(told.sentences[k]))
    text = F.upper(f.fill(told.sentences[k] if alone else " ".join(told.sentences)))
    rows = [text, *strays(t, r.choice([n for n in (0, 0, 1, 2, 3, 3) if n < most]), told)]
    r.shuffle(rows)
    answer = F.upper(f.fill(told.sentences[k]))
    t.tell(F.typed(r, f.fill(r.choice(told.asked[k]))), rows, answer)
    if not alone and r.random() < 0.35:
        # A second question about the same passage, which stands in the turn before or is retrieved again.
        k = told.pick(r)
        again = [text] if r.random() < 0.6 else []
        line = F.typed(r, f.fill(r.choice(told.asked[k])))
        answer = F.upper(f.fill(told.sentences[k]))
        t.tell(line, again, answer)


def drill(lex: Lexicon, turns: int) -> Conversation:
    """A few passages and many lines about them: where the answer stands is most of what there is to learn."""
    me = worlds.make_persona(lex, 0.0)
    t = Talk(lex, me, Conversation(me.system))
    told = [(lore_, F.Filler(lex)) for lore_ in lex.rng.sample(lore.book(), lex.rng.randint(2, 5))]
    rows = [F.upper(f.fill(" ".join(x.sentences))) for x, f in told]
    for _ in range(turns):
        if lex.rng.random() < 0.1:
            identity_turn(t)
            continue
        x, f = lex.rng.choice(told)
        answer = ""
        if lex.rng.random() < 0.66:
            k = x.pick(lex.rng)
            line, answer = f.fill(lex.rng.choice(x.asked[k])), F.upper(f.fill(x.sentences[k]))
        elif x.open and lex.rng.random() < 0.5:
            line = f.fill(lex.rng.choice(x.open))
        else:
            other = lex.rng.choice([y for y in lore.book() if all(y is not z for z, _ in told)])
            line = F.Filler(lex).fill(lex.rng.choice([q for asked in other.asked for q in asked]))
        line = F.typed(lex.rng, line)
        if answer:
            t.tell(line, rows, answer)
        else:
            t.say(line, rows, t.me.not_known(t.rng), known=False)
    return t.conv


def open_turn(t: Talk, most: int = 4) -> None:
    """A line that no passage answers: near one that is there, or about one that is not."""
    r = t.rng
    told = r.choice(lore.book())
    f = F.Filler(t.lex)
    if told.open and r.random() < 0.55:
        line, rows = f.fill(r.choice(told.open)), [F.upper(f.fill(" ".join(told.sentences)))]
        rows += strays(t, r.choice([n for n in (0, 0, 1, 2, 3) if n < most]), told)
    else:
        line = f.fill(r.choice([q for asked in told.asked for q in asked] + told.open))
        rows = strays(t, r.choice([n for n in (0, 0, 1, 2, 3, 4) if n <= most]), told)
    r.shuffle(rows)
    t.say(F.typed(r, line), rows, t.me.not_known(t.rng), known=False)
