# SPDX-License-Identifier: Apache-2.0
"""Names and things without end, so that a model that wants to repeat one has to copy it.

Everything open-ended (people, towns, places, items, tools) passes through `Lexicon.keep`: a checksum puts one string
in ten aside, training never sees those, and the evaluation (`held_out=True`) uses nothing else.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from phrases import words

ONSETS = words("ONSETS")
NUCLEI = words("NUCLEI")
CODAS = words("CODAS")
EASY_START = words("EASY_START")
EASY_ON = words("EASY_ON")
EASY_V = words("EASY_V")
EASY_END = words("EASY_END")
ENDS_P = words("ENDS_P")

T_HEAD = words("T_HEAD")
T_TAIL = words("T_TAIL")
ADJ = words("ADJ")
NOUN = words("NOUN")
SCENERY = words("SCENERY")
PLACE_KIND = words("PLACE_KIND")
PROFESSION = words("PROFESSION")
CREATURE = words("CREATURE")
FOOD = words("FOOD")
DRINK = words("DRINK")
COLOR = words("COLOR")
DAYS = words("DAYS")
DIRECTION = words("DIRECTION")
METAL = words("METAL")
REASON = words("REASON")
EVENT = words("EVENT")
VERB_PAST = words("VERB_PAST")
GROUP_A = words("GROUP_A")
GROUP_B = words("GROUP_B")
NUMBERS = words("NUMBERS")
WORDS = words("WORDS")

TITLE = words("TITLE")
MARKED = {
    "a": "áàäåãâ",
    "e": "éèëěê",
    "i": "íïî",
    "o": "óöøôõ",
    "u": "úüůû",
    "c": "čç",
    "s": "šś",
    "z": "žż",
    "n": "ñńň",
    "r": "ř",
    "l": "ł",
    "d": "ďð",
    "t": "ť",
    "y": "ý",
    "A": "ÁÅ",
    "O": "ÖØ",
    "S": "Š",
    "Z": "Ž",
    "E": "É",
    "C": "Č",
}


class Lexicon:
    """Random names of one side of the split. All choices come from `rng`, so a seed gives the same corpus."""

    def __init__(self, rng: random.Random, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out

    def keep(self, make: Callable[[], str]) -> str:
        for _ in range(200):
            s = make()
            if (zlib.crc32(s.lower().encode()) % 10 == 0) == self.held_out:
                return s
        return make()

    def c(self, seq: list[str]) -> str:
        return seq[int(self.rng.random() * len(seq))]

    def syllable(self) -> str:
        return self.c(ONSETS) + self.c(NUCLEI) + self.c(CODAS)

    def easy_word(self) -> str:
        """Two or three open syllables, as most authors name their people."""
        c = self.c
        middle = "".join(c(EASY_ON) + c(EASY_V) for _ in range(1 if self.rng.random() < 0.7 else 2))
        return c(EASY_START) + c(EASY_V) + middle + c(EASY_END)

    def word(self) -> str:
        if self.rng.random() < 0.75:
            return self.easy_word()
        r = self.rng.random()
        n = 1 if r < 0.15 else 2 if r < 0.75 else 3
        for _ in range(20):
            w = (
                "".join(self.syllable() for _ in range(n - 1))
                + self.syllable()
                + (self.c(ENDS_P) if n < 3 else "")
            )
            if 3 <= len(w) <= 11:
                return w
        return w[:9]

    def invented(self) -> str:
        return self.keep(lambda: self.word().capitalize())

    def person(self) -> str:
        name = self.plain_person()
        return self.keep(lambda: self.accented(name)) if self.rng.random() < 0.2 else name

    def plain_person(self) -> str:
        r = self.rng.random()
        if r < 0.45:
            return self.invented()
        if r < 0.72:
            return self.invented() + " " + self.surname()
        if r < 0.78:
            return "Old " + self.invented()
        if r < 0.9:
            return self.c(TITLE) + " " + (self.surname() if self.rng.random() < 0.6 else self.invented())
        if r < 0.95:
            return self.keep(lambda: self.c(NOUN).replace(" ", "").capitalize() + self.c(NOUN).split()[-1])
        return self.c(TITLE) + " " + self.invented() + " " + self.surname()

    def surname(self) -> str:
        r = self.rng.random()
        if r < 0.4:
            return self.keep(lambda: self.c(T_HEAD) + self.c(T_TAIL))
        if r < 0.6:
            return self.invented()
        if r < 0.8:  # long, as of many syllables
            return self.keep(
                lambda: (
                    self.easy_word() + self.word() + self.c(["", "sson", "sdottir", "ovich", "berg"])
                ).capitalize()
            )
        if r < 0.9:
            return self.invented() + "-" + self.invented()
        return self.keep(
            lambda: self.c(ADJ).split()[-1].capitalize() + "-" + self.c(NOUN).split()[-1].capitalize()
        )

    def accented(self, name: str) -> str:
        """Some letters with marks, as other languages write them."""
        share = self.rng.choice([0.15, 0.3])
        return "".join(
            self.c(list(MARKED[x])) if x in MARKED and self.rng.random() < share else x for x in name
        )

    def town(self) -> str:
        r = self.rng.random()
        if r < 0.45:
            return self.keep(lambda: self.c(T_HEAD) + self.c(T_TAIL))
        if r < 0.85:
            return self.invented()
        return self.c(["Port", "Upper", "Lower", "Fort", "Saint", "New"]) + " " + self.invented()

    def place(self) -> str:
        r = self.rng.random()
        if r < 0.3:
            return self.keep(lambda: f"the {self.c(ADJ)} {self.c(PLACE_KIND)}")
        if r < 0.5:
            return self.keep(lambda: f"the {self.c(ADJ).capitalize()} {self.c(NOUN + CREATURE).capitalize()}")
        if r < 0.7:
            return self.invented() + " " + self.c(PLACE_KIND + SCENERY).capitalize()
        if r < 0.85:
            return f"the {self.c(PLACE_KIND)} of {self.invented()}"
        return self.invented()

    def item(self) -> str:
        r = self.rng.random()
        if r < 0.56:
            return self.keep(lambda: f"{self.c(ADJ)} {self.c(NOUN)}")
        if r < 0.7:
            return self.keep(lambda: f"{self.c(ADJ)} {self.word()}")
        if r < 0.8:
            return self.keep(lambda: f"{self.word()} {self.c(NOUN)}")
        if r < 0.87:
            return self.joined(NOUN)
        if r < 0.95:
            return self.c(NOUN)
        return self.keep(self.word)

    def joined(self, nouns: list[str]) -> str:
        """With an apostrophe or a hyphen: "miller's wheel", "red-iron gate"."""
        if self.rng.random() < 0.5:
            return self.keep(lambda: f"{self.c([*PROFESSION, *CREATURE])}'s {self.c(nouns)}")
        return self.keep(lambda: f"{self.c(ADJ).split()[-1]}-{self.word()} {self.c(nouns)}")

    def scenery(self) -> str:
        r = self.rng.random()
        if r < 0.7:
            return self.keep(lambda: f"{self.c(ADJ)} {self.c(SCENERY)}")
        return self.joined(SCENERY) if r < 0.82 else self.keep(lambda: f"{self.word()} {self.c(SCENERY)}")

    def creature(self) -> str:
        return self.c(CREATURE) if self.rng.random() < 0.7 else self.keep(self.word)

    def number(self, words: bool = False) -> str:
        r = self.rng.random()
        if words and self.rng.random() < 0.25:
            return self.c(NUMBERS)
        if words and self.rng.random() < 0.12:  # as clocks, prices and great numbers are written
            great, small = self.rng.randint(1, 23), self.rng.randint(10, 59)
            return f"{great}{self.c([':', '.'])}{small}" if self.rng.random() < 0.6 else f"{great},{small}0"
        return str(
            self.rng.randint(2, 20)
            if r < 0.5
            else self.rng.randint(21, 99)
            if r < 0.85
            else self.rng.randint(100, 999)
        )

    def price(self) -> str:
        return f"{self.number(words=True)} {self.c(METAL)}"

    def direction(self) -> str:
        d = self.c(DIRECTION)
        if "{" in d:
            d = d.format(
                sc=self.c(SCENERY),
                k=self.c(PLACE_KIND),
                adj=self.c(ADJ),
                w=self.c(["north", "south", "east", "west"]),
            )
        return d

    def faction(self) -> str:
        return (
            f"the {self.c(GROUP_A)} {self.c(GROUP_B)}"
            if self.rng.random() < 0.6
            else f"the {self.invented()}s"
        )

    def slot(self, kind: str) -> str:
        """A value for a slot of the hand-written files or of a fact's template."""
        c = self.c
        match kind:
            case "name" | "p" | "player":
                return self.person() if kind != "player" else self.invented()
            case "place" | "pl":
                return self.place()
            case "town" | "t":
                return self.town()
            case "item" | "i" | "thing":
                return self.item()
            case "n":
                return self.number()
            case "nn":
                return self.number(words=True)
            case "price" | "pr":
                return self.price()
            case "direction" | "d":
                return self.direction()
            case "profession" | "prof":
                return c(PROFESSION)
            case "creature" | "cr":
                return self.creature()
            case "day":
                return c(DAYS)
            case "faction" | "f":
                return self.faction()
            case "color" | "col":
                return c(COLOR)
            case "drink":
                return c(DRINK)
            case "food":
                return c(FOOD)
            case "sc":
                return self.scenery()
            case "k":
                return c(PLACE_KIND)
            case "ev":
                return c(EVENT)
            case "reason":
                return c(REASON).format(n=c(NOUN), p=self.invented())
            case "vp":
                return c(VERB_PAST)
            case "w":
                return self.keep(self.word)
            case "W":
                return self.invented()
            case "word":
                return c(WORDS)
            case "adj":
                return c(ADJ)
            case "noun":
                return c(NOUN)
            case _:
                raise KeyError(kind)
