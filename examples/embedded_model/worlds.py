# SPDX-License-Identifier: Apache-2.0
"""A random world and a random character in it: who they are, what they know, and the system text that says so."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import facts as F
import manners
from lexicon import PROFESSION, Lexicon

RULES = [
    "Stay in character. Answer in one to three sentences. Use what you know and the context. If you do not know, say so.",
    "Stay in character. Answer in one to three sentences. Use what you know and the context. If you do not know, say so.",
    "Stay in character. Answer in one to three sentences. Use what you know and the context. If you do not know, say so.",
    "Stay in character. Keep it short. Say so if you do not know.",
    "You are a character in a game. Speak only as this character, in one to three sentences.",
    "Answer as the character. Use the context. Never invent facts.",
    "",
]

SETTING = """{t}, a {adj} town by the {W} river|the {adj} port of {t}|{t}, a village at the edge of {pl}|the kingdom of {W} in the year {n}|
the city of {t}, after the war with {f}|a mining town called {t}|the {k} of {t}, deep in winter|the islands of {W}|{t}, where {f} rules|
a caravan camp on the road to {t}|the space station {W}, {n} years after the landing|the {adj} {k} of {t}|{t}, once rich, now poor""".replace("\n", "").split("|")

# {Y} is You, a name or He/She; a verb's ~s is for the third person. The second part asks, the third answers as "I".
ABOUT = """{Y} run~s the {k} of {t}.|what do you do here / what is your work|I run the {k} of {t}.
{Y} came to {t} {n} years ago.|when did you come here / how long have you been in {t}|I came to {t} {n} years ago.
{Y} sell~s {x} and {food}.|what do you sell / what have you got / show me your wares / do you sell anything|I sell {x} and {food}.
{Y} sell~s {i}s for {pr} each.|what do you sell / how much are your {i}s|I sell {i}s for {pr} each.
{Y} guard~s {pl}.|what are you guarding / what do you do here|I guard {pl}.
{Y} lost a {noun} to {p}.|what did you lose / what happened between you and {p}|I lost a {noun} to {p}.
{Y} grew up in {t}.|where are you from / where did you grow up / where were you born|I grew up in {t}.
{Y} hate~s {x}.|what do you hate / what makes you angry|I hate {x}.
{Y} love~s {food} and {drink}.|what do you like to eat / what is your favourite food / what do you like|I love {food} and {drink}.
{Y} know~s how to {act}.|what can you do / what are you good at / do you have a talent|I know how to {act}.
{Y} once fought a {cr} with a {i}.|did you ever fight / tell me a story / what was your greatest fight|I once fought a {cr} with a {i}.
{Y} live~s {d}.|where do you live / where is your home|I live {d}.
{Y} work~s for {p}.|who do you work for / who is your boss / who is your master|I work for {p}.
{Y} served in {f} for {n} years.|what did you do before / were you ever a soldier / tell me about your past|I served in {f} for {n} years.
{Y} learned the trade from {p}.|who taught you / who was your teacher|I learned the trade from {p}.
{Y} dream~s of {t2}.|what do you dream of / where would you like to go|I dream of {t2}.
{Y} own~s a {cr} called {W}.|do you have a pet / do you have any animals / what is your {cr} called|I own a {cr} called {W}.
{Y} never leave~s {pl}.|do you ever leave / where do you spend your days|I never leave {pl}.
{Y} mend~s {noun}s for a living.|how do you make a living / what do you do / what is your work|I mend {noun}s for a living.
{Y} make~s {adj} {noun}s.|what do you make / what do you do|I make {adj} {noun}s.
{Y} fear~s {x}.|what are you afraid of / are you afraid of anything|I fear {x}.
{Y} collect~s {adj} {noun}s.|do you collect anything / what is your hobby|I collect {adj} {noun}s.
{Y} have~s run {pl} for {nn} years.|how long have you been here / how long have you run {pl} / what do you run|I have run {pl} for {nn} years.
{Y} buried your husband {W} {nn} years ago.|are you married / what happened to your husband / who was {W}|I buried my husband {W} {nn} years ago.
{Y} raised your daughter {W} alone.|do you have children / who is {W} / tell me about your daughter|I raised my daughter {W} alone.
{Y} feed~s whoever is hungry.|why are you so kind / what do you do for the poor|I feed whoever is hungry.
{Y} sleep~s badly since {reason0}.|how do you sleep / you look tired|I sleep badly since {reason0}.
{Y} keep~s a {i} under your bed.|what do you keep under your bed / do you have a weapon|I keep a {i} under my bed.
{Y} never forgave {p}.|who did you never forgive / what about {p}|I never forgave {p}.
{Y} carr~ies your father's {noun} everywhere.|what is that {noun} / what do you carry|I carry my father's {noun} everywhere.
{Y} were a {prof} before {reason0}.|what were you before / what did you do before|I was a {prof} before {reason0}.
{Y} owe~s {pr} to {p}.|do you owe money / how much do you owe|I owe {pr} to {p}.
{Y} talk~s to your {cr} when nobody listens.|who do you talk to / do you have a pet|I talk to my {cr} when nobody listens.
{Y} saw {p} die.|did you see {p} / what happened to {p} / what did you see|I saw {p} die.
{Y} cannot read.|can you read / would you read this for me|I cannot read.
{Y} brew~s the best {drink} in {t}.|what do you brew / is your {drink} good|I brew the best {drink} in {t}.
{Y} lost a brother in {reason0}.|do you have family / what happened to your brother|I lost a brother in {reason0}.""".splitlines()

GOALS = """find the {i}|marry {p}|sell {n} {i}s before {day}|leave {t}|pay back {pr} to {p}|keep {pl} safe|learn to {act}|win the {ev}|
take revenge on {p}|build a new {k}|find out who {vp} the {i}|drive the {cr} away|become the best {prof} of {t}|protect {p}|
open a {k} in {t}|keep the peace|see {p} again|retire to {t}|bring back the {i} of {f}|get rich""".replace("\n", "").split("|")
RELATION = """an old friend|a rival|distrusted, lies too much|owes you {pr}|your sister|your brother|a good customer|your teacher|an enemy since the {ev}|
secretly admired|your cousin from {t}|a thief, you are sure of it|respected and a little feared|your apprentice|business partner|
buys {x} from you|once saved your life|cheats at dice|eats here every night|never pays a debt|sings too loudly|your oldest friend, {nn} years now|wants your {i}|sold you a bad {noun}|
you would trust with your life|has {n} {noun}s and shares none|asks too many questions|the only one who knows of the {i}|talks to {cr}s|a fool with a good heart|your employer|never forgiven for {reason0}""".replace("\n", "").split("|")
REFUSAL = """to leave {pl}|to speak of {p}|to sell the {i}|to give credit|to fight|to open the {sc} at night|to help {f}|to talk about the war|to lend money|to touch {x}|
to let strangers into {pl}|to tell lies|to speak ill of {p}|to work on {day}|to give anything away for free|to tell secrets|to steal|to carry weapons""".replace("\n", "").split("|")


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
        return line.replace("{x}", x).replace("{me}", self.name).replace("{role}", self.role).replace("  ", " ")


def make_persona(lex: Lexicon, size: float, manner_words: str = "", extra: list[str] | None = None) -> Persona:
    """A character; `size` 0..1 sets how much of the possible text there is. `extra` are lines of a hand-written exchange
    (`role: …`, `about: …`, `knows: …`, `refuses: …`, `relation: …`)."""
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
    role = art(prof) if r < 0.3 else f"the {prof} of {town}" if r < 0.6 else f"{prof} at {lex.place()}" if r < 0.75 else f"{prof} of {town}" if r < 0.9 else f"the {prof}"
    if "role" in said:
        role = said["role"][0]
    manner = manners.match(manner_words) if manner_words and manner_words != "any" else rng.choice(list(manners.ALL))
    m = manners.ALL[manner]
    words = manner_words if manner_words and manner_words != "any" else rng.choice(m["names"])

    me = Persona(name, role, manner, words, "", town)
    blocks: list[str] = []
    top = [rng.choice(RULES)]
    if some(0.8):
        me.setting = F.Filler(lex, base).fill(rng.choice(SETTING))
        top.append("Setting: " + F.upper(me.setting) + rng.choice([".", ""]))
        for _ in range(rng.choice([0, 1, 1, 2, 3]) if some(0.7) else 0):
            fact = F.make(lex, given=base if rng.random() < 0.5 else None)
            me.knowledge.append(fact)
            top.append("- " + fact.text)
    blocks.append("\n".join(t for t in top if t))

    rows = [f"You are {name}, {role}."]
    n_about = min(4, int(rng.random() * (1.5 + 3 * size)))
    style = rng.choice(["You", "You", "name", "he", "she"])
    about: list[str] = list(said.get("about", []))
    for i, line in enumerate(rng.sample(ABOUT, n_about)):
        text, ask, answer = line.split("|")
        f = F.Filler(lex, base | {"reason0": rng.choice(["the war", "a fire", "a flood", "the plague", "a storm at sea"])})
        subject = "You" if style == "You" else name.split()[-1] if style == "name" and i == 0 else "He" if style == "he" else "She"
        if style != "You":
            their = {"he": "his", "she": "her"}.get(style, "their")
            text = text.replace("have~s", "has").replace("carr~ies", "carries").replace("{Y} were", "{Y} was").replace("~s", "s").replace("your ", their + " ")
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
    if some(0.6):
        s = rng.choice(m["style"])
        if s:
            rows.append(f"Speech: {s}")
    if some(0.5):
        rows.append("You might say: " + " ".join(f'"{me_line}"' for me_line in rng.sample(m["say"], rng.choice([1, 2]))))
    if some(0.5):
        me.goals = [F.Filler(lex, base).fill(g) for g in rng.sample(GOALS, rng.choice([1, 1, 2, 3]))]
        rows.append("Goals: " + "; ".join(me.goals))
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
        for _ in range(rng.choice([1, 2, 2, 3, 4])):
            fact = F.make(lex, given=base if rng.random() < 0.3 else None)
            me.knowledge.append(fact)
            knows.append(fact.text)
        rng.shuffle(knows)
    if knows:
        rows += ["You know:", *("- " + k for k in knows)]
    blocks.append("\n".join(rows))
    me.system = "\n\n".join(b for b in blocks if b)
    return me
