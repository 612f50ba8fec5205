# SPDX-License-Identifier: Apache-2.0
"""The hand-written lore (lore/*.txt): passages, what people ask about each sentence, and what the passage leaves open.

A block is one passage: `= sentence | sentence`, then `1 line / line` (asked of the first sentence, and so on), and
`? line / line` (near the matter, but not answered).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import facts as F
from lexicon import Lexicon
from phrases import content

FOLDER = Path(__file__).parent / "lore"
LEANS = re.compile(
    r"(it|its|he|she|they|his|her|their|this|that|those|these|there|then|so|but|and|since|after|mine|ours|most|some|one"
    r"|two|another|by|either|both|each|nobody|no one|as|anyone|everyone|only|neither|which|who)\b",
    re.I,
)
"""How a sentence begins that means nothing without the one before."""


@dataclass(frozen=True)
class Lore:
    sentences: list[str]
    asked: list[list[str]]
    """For each sentence the lines that it answers."""
    open: list[str]

    def pick(self, rng: random.Random) -> int:
        """The number of a sentence that something asks about."""
        return rng.choice([k for k, asked in enumerate(self.asked) if asked])


class LoreError(ValueError):
    """A block that does not follow the format."""


def parse(chunk: str) -> Lore:
    rows = [r.strip() for r in chunk.splitlines() if r.strip() and not r.startswith("#")]
    if not rows[0].startswith("="):
        raise LoreError("a block begins with `= passage`")
    sentences = [s.strip() for s in rows[0][1:].split("|") if s.strip()]
    asked: list[list[str]] = [[] for _ in sentences]
    unanswered: list[str] = []
    for row in rows[1:]:
        mark, _, rest = row.partition(" ")
        lines = [x.strip() for x in rest.split(" / ") if x.strip()]
        if mark == "?":
            unanswered += lines
        elif mark.isdigit() and 1 <= int(mark) <= len(sentences):
            asked[int(mark) - 1] += lines
        else:
            raise LoreError(f"{row[:40]!r}: `k lines` or `? lines`")
    for text in [*sentences, *unanswered, *(q for qs in asked for q in qs)]:
        if "{" in F.Filler(Lexicon(random.Random(0))).fill(text):
            raise LoreError(f"{text!r}: a slot is not closed, or none is called so")
    if not any(asked):
        raise LoreError("nothing is asked")
    return Lore(sentences, asked, unanswered)


def read() -> tuple[list[Lore], list[str]]:
    """All passages that can be read, and what is wrong with the others."""
    found: list[Lore] = []
    problems: list[str] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for chunk in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            if not [r for r in chunk.splitlines() if r.strip() and not r.startswith("#")]:
                continue
            try:
                found.append(parse(chunk))
            except (ValueError, KeyError) as e:
                problems.append(f"{path.name}: {chunk.strip().splitlines()[0][:60]}: {e}")
    return found, problems


@cache
def book() -> list[Lore]:
    return read()[0]


def passage(lex: Lexicon, but: Lore | None = None) -> str:
    """Some passage other than `but`, its slots filled."""
    while (told := lex.rng.choice(book())) is but:
        pass
    return F.upper(F.Filler(lex).fill(" ".join(told.sentences)))


def fact(lex: Lexicon) -> F.Fact:
    """A sentence that can stand alone, as a fact that a character knows."""
    while True:
        lore = lex.rng.choice(book())
        k = lex.rng.randrange(len(lore.sentences))
        if lore.asked[k] and (k == 0 or not LEANS.match(lore.sentences[k])):
            f = F.Filler(lex)
            text = F.upper(f.fill(lore.sentences[k]))
            # Among other facts a line has to say what it is about.
            pointed = [q for q in (f.fill(q) for q in lore.asked[k]) if content(q) & content(text)]
            if pointed:
                return F.Fact(text, pointed, [text], "", -1)


if __name__ == "__main__":
    lores, wrong = read()
    print("\n".join(wrong))
    print(len(lores), "passages,", sum(len(q) for x in lores for q in x.asked), "lines")
