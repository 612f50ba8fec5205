# SPDX-License-Identifier: Apache-2.0
"""Facts of a world: a statement, the ways to ask for it, short answers in its words, and what it is about.

One template a line: statement | questions | short answers | topics. A digit after a slot's name makes a second value.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from lexicon import Lexicon
from phrases import reword, words

TABLE = Path(__file__).parent / "data" / "facts.txt"

REL = words("REL")
ACT = words("ACT")
XS = words("XS")

_SLOT = re.compile(r"\{([A-Za-z]+?)(\d?)\}")


@dataclass(frozen=True)
class Fact:
    """`kind` is the number of its template; `subject` names the slot that the text begins with, if the topic does."""

    text: str
    questions: list[str]
    short: list[str]
    topic: str
    kind: int


def _parse() -> list[tuple[str, list[str], list[str], list[str]]]:
    out = []
    for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        a, b, c, d = (part.strip() for part in line.split("|"))
        out.append((a, b.split(" / "), c.split(" / "), d.split(" / ")))
    return out


PARSED = _parse()


def _subject(parsed: tuple[str, list[str], list[str], list[str]]) -> str:
    """The slot that begins the statement and is its topic: facts of one subject can follow each other as "It ..."."""
    text, topic = parsed[0].lower(), parsed[3][0].lower()
    apart = not text.startswith(topic + " ") or text.startswith((topic + " of ", topic + " and {p2} are"))
    return "" if apart else topic.strip("{}").split("{")[-1]


SUBJECT = [_subject(p) for p in PARSED]
SAME: dict[str, list[int]] = {
    s: [i for i, x in enumerate(SUBJECT) if x == s] for s in set(SUBJECT) if s and SUBJECT.count(s) > 2
}


def upper(s: str) -> str:
    return s[:1].upper() + s[1:]


class Filler:
    """Fills `{slot}` and keeps the values, so that all lines of one exchange speak of the same things."""

    def __init__(self, lex: Lexicon, given: dict[str, str] | None = None) -> None:
        self.lex, self.values = lex, dict(given or {})

    def value(self, name: str, digit: str) -> str:
        key = name + digit
        if key not in self.values:
            base = name.lower() if name in ("Pl", "F", "X", "P") else name
            if base != name:
                self.values[key] = upper(self.value(base, digit))
            elif name == "x":
                self.values[key] = Filler(self.lex).fill(self.lex.c(XS))
            elif name == "act":
                self.values[key] = Filler(self.lex).fill(self.lex.c(ACT))
            elif name == "rel":
                self.values[key] = self.lex.c(REL)
            else:
                self.values[key] = self.lex.slot(name)
        return self.values[key]

    def fill(self, template: str) -> str:
        return _SLOT.sub(lambda m: self.value(m[1], m[2]), template)


def make(lex: Lexicon, kind: int | None = None, given: dict[str, str] | None = None) -> Fact:
    k = lex.rng.randrange(len(PARSED)) if kind is None else kind
    text, questions, short, topics = PARSED[k]
    f = Filler(lex, given)
    return Fact(
        upper(f.fill(text)),
        [f.fill(q) for q in questions],
        [upper(f.fill(s)) for s in short],
        f.fill(topics[0]),
        k,
    )


GENERIC = words("GENERIC")


def question(rng: random.Random, fact: Fact, pointed: bool = False) -> tuple[str, bool]:
    """A player's line that asks for the fact, and whether it is one of the open ones (answered by the statement).

    `pointed` leaves out questions that do not name the topic ("how much is the toll"), for when other passages are
    about the same kind of thing.
    """
    if not fact.topic:  # hand-written lore
        return rng.choice(fact.questions), True
    choices = (
        [q for q in fact.questions if fact.topic.removeprefix("the ") in q] if pointed else fact.questions
    )
    if not choices or rng.random() < 0.2:
        return rng.choice(GENERIC).strip().format(x=fact.topic), True
    return rng.choice(choices), False


LEAD = words("LEAD")
REWORDED = 0.25
"""How often a player uses another word than the one that was written: there are more words than anybody writes down."""


def typed(rng: random.Random, line: str) -> str:
    """The line as a player may type it: case, question mark, a lead, a typo."""
    if rng.random() < REWORDED:
        line = reword(rng, line)
    s = line if "?" in line else rng.choice(LEAD).strip().format(q=line)
    r = rng.random()
    if r < 0.35:
        s = upper(s)
        if not s.endswith(("?", ".", "!")):
            s += "?"
    elif r < 0.55 and not s.endswith("?"):
        s += "?"
    elif r < 0.7:
        s = s.lower()
    if rng.random() < 0.08 and len(s) > 12:
        i = rng.randrange(2, len(s) - 2)
        if s[i].islower() and s[i + 1].islower():
            s = s[:i] + rng.choice([s[i + 1] + s[i] + s[i + 2 :], s[i + 1 :], s[i] + s[i:]])
    return s
