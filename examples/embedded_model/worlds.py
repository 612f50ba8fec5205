# SPDX-License-Identifier: Apache-2.0
"""A random world and a random character in it: who they are, what they know, and the system text that says so."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import facts as F
import lore
import manners
from lexicon import PROFESSION, Lexicon
from phrases import words

RULES = words("RULES")

SETTING = words("SETTING")

ABOUT = (Path(__file__).parent / "data" / "about.txt").read_text(encoding="utf-8").splitlines()[1:]

GOALS = words("GOALS")
RELATION = words("RELATION")
REFUSAL = words("REFUSAL")


def _yours(s: str) -> str:
    return re.sub(r"\byour\b", "my", re.sub(r"\byou are\b", "I am", re.sub(r"\byou\b", "me", s)))


@dataclass
class Persona:
    name: str
    role: str
    manner: str
    manner_words: str
    system: str
    place: str
    about: list[tuple[str, str]] = field(default_factory=list)
    """(question, answer as "I")"""
    goals: list[str] = field(default_factory=list)
    relations: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    knowledge: list[F.Fact] = field(default_factory=list)
    setting: str = ""

    def voice(self, kind: str, rng: random.Random, x: str = "") -> str:
        line = rng.choice(manners.ALL[self.manner][kind])
        return (
            line.replace("{x}", x).replace("{me}", self.name).replace("{role}", self.role).replace("  ", " ")
        )

    def not_known(self, rng: random.Random) -> str:
        """That the character does not know, in its manner, without naming what was asked about."""
        lines = [line for line in manners.ALL[self.manner]["unk"] if "{x}" not in line]
        return F.upper(rng.choice(lines).replace("{me}", self.name).replace("{role}", self.role))


def known(lex: Lexicon, given: dict[str, str] | None = None) -> F.Fact:
    """Something to know: a generated fact, or a sentence of the hand-written lore."""
    return lore.fact(lex) if lex.rng.random() < 0.6 and lore.book() else F.make(lex, given=given)


def make_persona(
    lex: Lexicon, size: float, manner_words: str = "", extra: list[str] | None = None
) -> Persona:
    """A character; `size` 0..1 sets how much of the possible text there is.

    `extra` are lines of a hand-written exchange (`role: …`, `about: …`, `knows: …`, `refuses: …`, `relation: …`).
    """
    rng = lex.rng
    said: dict[str, list[str]] = {}
    for line in extra or []:
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), []).append(value.strip())
    some = lambda p: rng.random() < p * (0.25 + size)  # noqa: E731

    name = said.get("name", [""])[0] or lex.person()
    town = lex.town()
    base = {"t": town}
    r = rng.random()
    prof = lex.c(PROFESSION)
    art = lambda w: ("an " if w[0] in "aeiou" else "a ") + w  # noqa: E731
    role = (
        art(prof)
        if r < 0.3
        else f"the {prof} of {town}"
        if r < 0.6
        else f"{prof} at {lex.place()}"
        if r < 0.75
        else f"{prof} of {town}"
        if r < 0.9
        else f"the {prof}"
    )
    if "role" in said:
        role = said["role"][0]
    manner = (
        manners.match(manner_words)
        if manner_words and manner_words != "any"
        else rng.choice(list(manners.ALL))
    )
    m = manners.ALL[manner]
    words = manner_words if manner_words and manner_words != "any" else rng.choice(m["names"])

    me = Persona(name, role, manner, words, "", town)
    blocks: list[str] = []
    top = [rng.choice(RULES)]
    if "setting" in said:
        me.setting = said["setting"][0]
        top += ["Setting: " + me.setting, *("- " + x for x in said.get("fact", []))]
    elif some(0.8):
        me.setting = F.Filler(lex, base).fill(rng.choice(SETTING))
        top.append("Setting: " + F.upper(me.setting) + rng.choice([".", ""]))
        for _ in range(rng.choice([0, 1, 1, 2, 3]) if some(0.7) else 0):
            fact = known(lex, base if rng.random() < 0.5 else None)
            me.knowledge.append(fact)
            top.append("- " + fact.text)
    blocks.append("\n".join(t for t in top if t))

    rows = [f"You are {name}, {role}."]
    n_about = min(4, int(rng.random() * (1.5 + 3 * size)))
    style = rng.choice(["You", "You", "name", "he", "she"])
    about: list[str] = list(said.get("about", []))
    for i, line in enumerate(rng.sample(ABOUT, 0 if about else n_about)):
        text, ask, answer = line.split("|")
        f = F.Filler(
            lex,
            base | {"reason0": rng.choice(["the war", "a fire", "a flood", "the plague", "a storm at sea"])},
        )
        subject = (
            "You"
            if style == "You"
            else name.split()[-1]
            if style == "name" and i == 0
            else "He"
            if style == "he"
            else "She"
        )
        if style != "You":
            their = {"he": "his", "she": "her"}.get(style, "their")
            text = (
                text.replace("have~s", "has")
                .replace("carr~ies", "carries")
                .replace("{Y} were", "{Y} was")
                .replace("~s", "s")
                .replace("your ", their + " ")
            )
        text = text.replace("carr~ies", "carry").replace("~s", "").replace("{Y}", subject)
        about.append(f.fill(text))
        for q in ask.split(" / "):
            me.about.append((f.fill(q), f.fill(answer)))
    if about:
        rows.append(" ".join(about))
    if not (some(0.95) or (manner_words and manner_words != "any")):
        manner, m, words = "plain", manners.PLAIN, ""
    if words:
        rows.append(f"Manner: {words}")
    me.manner, me.manner_words = manner, words
    style_words = said.get("style") or ([rng.choice(m["style"])] if some(0.6) else [])
    if style_words and style_words[0]:
        rows.append(f"Speech: {style_words[0]}")
    lines = said.get("say") or (rng.sample(m["say"], rng.choice([1, 2])) if some(0.5) else [])
    if lines:
        rows.append("You might say: " + " ".join(f'"{line}"' for line in lines))
    goals = list(said.get("goal", []))
    if not goals and some(0.5):
        goals = me.goals = [F.Filler(lex, base).fill(g) for g in rng.sample(GOALS, rng.choice([1, 1, 2, 3]))]
    if goals:
        rows.append("Goals: " + "; ".join(goals))
    relations = list(said.get("relation", []))
    if some(0.5):
        for _ in range(rng.choice([1, 1, 2, 3])):
            who = lex.person()
            what = F.Filler(lex, base | {"reason0": "the fire"}).fill(rng.choice(RELATION))
            me.relations.append((who, what))
            relations.append(f"{who}: {what}")
    if relations:
        rows.append("Relations: " + "; ".join(relations))
    refusals = list(said.get("refuses", []))
    if some(0.5):
        me.refusals = [F.Filler(lex, base).fill(r) for r in rng.sample(REFUSAL, rng.choice([1, 1, 2]))]
        refusals += me.refusals
    if refusals:
        rows.append("You refuse: " + "; ".join(refusals))
    knows = [k if k.endswith(".") else k + "." for k in said.get("knows", [])]
    if some(0.6):
        for _ in range(rng.choice([1, 2, 3, 4, 5])):
            fact = known(lex, base if rng.random() < 0.3 else None)
            me.knowledge.append(fact)
            knows.append(fact.text)
        rng.shuffle(knows)
    if knows:
        rows += ["You know:", *("- " + k for k in knows)]
    blocks.append("\n".join(rows))
    me.system = "\n\n".join(b for b in blocks if b)
    return me
