# SPDX-License-Identifier: Apache-2.0
"""Facts of a world: a statement, the ways to ask for it, short answers in its words, and what it is about.

One template a line: statement | questions | short answers | topics. A digit after a slot's name makes a second value.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from lexicon import Lexicon

TEMPLATES = """
The {i} costs {pr}. | how much is the {i} / what does the {i} cost / price of the {i} / how much for the {i} / what do you want for the {i} | {pr}. / It costs {pr}. / {pr} for the {i}. | the {i}
{p} sells {i}s for {pr} each. | how much are {p}'s {i}s / what does {p} sell / who sells {i}s / where can I get a {i} | {i}s, for {pr} each. / {p} does, for {pr}. | {p}
{p} is the {prof} of {t}. | who is {p} / what does {p} do / who is the {prof} of {t} / do you know {p} | The {prof} of {t}. / {p} is the {prof}. | {p}
{p} lives {d}. | where does {p} live / where can I find {p} / where is {p} / how do I find {p} | {d}. / You will find {p} {d}. | {p}
{Pl} is {d}. | where is {pl} / how do I get to {pl} / which way to {pl} / where can I find {pl} / point me to {pl} | {d}. / It is {d}. | {pl}
{Pl} lies {nn} miles {d}. | how far is {pl} / where is {pl} / how many miles to {pl} | {nn} miles {d}. / {nn} miles. | {pl}
The {i} is hidden {d}. | where is the {i} / where is the {i} hidden / how do I find the {i} / where did they hide the {i} | {d}. / It is hidden {d}. | the {i}
{p} {vp} the {i} {d}. | who {vp} the {i} / what did {p} do / what happened to the {i} / what do you know about the {i} | {p} did, {d}. / {p} {vp} it. | the {i}
{p} {vp} {n} {i}s last winter. | what did {p} do last winter / how many {i}s / who {vp} the {i}s | {n} {i}s. / {p} did, last winter. | {p}
The {ev} is on {day}. | when is the {ev} / what day is the {ev} / when does the {ev} start | {day}. / It is on {day}. | the {ev}
The {ev} in {t} begins at {day} and {p} leads it. | when is the {ev} / who leads the {ev} / what happens in {t} | {p} leads it. / It begins at {day}. | the {ev}
The bridge at {t} fell because of {reason}. | what happened to the bridge / why did the bridge fall / what happened at {t} | It fell because of {reason}. / {reason}, that is why. | the bridge at {t}
{p} left {t} because of {reason}. | why did {p} leave / what happened to {p} / why did {p} go away from {t} | Because of {reason}. / {p} left because of {reason}. | {p}
{Pl} is closed because of {reason}. | why is {pl} closed / what happened to {pl} / can I go into {pl} | Because of {reason}. / It is closed because of {reason}. | {pl}
{p} and {p2} are {rel}. | who is {p} to {p2} / how do {p} and {p2} know each other / what are {p} and {p2} | They are {rel}. / {p} and {p2} are {rel}. | {p}
{p} is looking for {n} {i}s and pays {pr}. | what is {p} looking for / what does {p} want / is there any work / who pays for {i}s | {n} {i}s. / {p} pays {pr} for {n} {i}s. | {p}
A {cr} was seen {d}. | where is the {cr} / where was the {cr} seen / have you seen a {cr} / is there a {cr} about | {d}. / It was seen {d}. | the {cr}
The {cr} fears {x}. | what does the {cr} fear / how do I drive off the {cr} / how can I fight the {cr} | {X}. / It fears {x}. | the {cr}
The {cr} of {t} only comes out at {day}. | when does the {cr} come out / what about the {cr} of {t} | At {day}. / Only at {day}. | the {cr}
The door of {pl} opens with the {i}. | how do I open the door of {pl} / what opens {pl} / how do I get into {pl} | With the {i}. / You need the {i}. | {pl}
The password of {f} is {w}. | what is the password of {f} / tell me the password / password of {f} | {w}. / It is {w}. | {f}
{F} meets {d}. | where does {f} meet / where is {f} / where can I find {f} | {d}. / They meet {d}. | {f}
{p} leads {f}. | who leads {f} / who is {p} / who is the head of {f} | {p}. / {p} does. / The leader of {f}. | {f}
{F} wants the {i} of {p}. | what does {f} want / who wants the {i} | The {i} of {p}. / {F} does. | {f}
{t} has {n} {x}. | how many {x} are in {t} / how many {x} has {t} / what do you know about {t} | {n}. / {n} {x}. | {t}
{t} was built by {p} {nn} years ago. | who built {t} / how old is {t} / when was {t} built | {p} did. / {nn} years ago. / {p} built it. | {t}
{t} is known for its {x}. | what is {t} known for / tell me about {t} / what is there in {t} | Its {x}. / For its {x}. | {t}
The people of {t} eat {food} with {drink} on {day}. | what do they eat in {t} / what do people eat on {day} | {food} with {drink}. / {food}. | {t}
The {sc} was painted {col} by {p}. | who painted the {sc} / what colour is the {sc} / what about the {sc} | {p} did. / {col}. | the {sc}
The {sc} has been broken since {day}. | since when is the {sc} broken / what happened to the {sc} / what is wrong with the {sc} | Since {day}. / It has been broken since {day}. | the {sc}
{p} has the key to the {sc}. | who has the key to the {sc} / how do I open the {sc} / where is the key | {p} has it. / {p}. | the {sc}
{p} owes {p2} {pr}. | how much does {p} owe {p2} / what does {p} owe / who owes {p2} money | {pr}. / {p} owes {p2} {pr}. | {p}
{p} is afraid of {x}. | what is {p} afraid of / what does {p} fear | {X}. / {p} is afraid of {x}. | {p}
{p} loves {x}. | what does {p} love / what does {p} like / what should I bring {p} | {X}. / {p} loves {x}. | {p}
{p} was born in {t}. | where was {p} born / where does {p} come from / where is {p} from | In {t}. / {p} was born in {t}. | {p}
{p} died {nn} years ago of {w} fever. | how did {p} die / when did {p} die / what happened to {p} | {nn} years ago, of {w} fever. / Of {w} fever. | {p}
{p} has {n} {x} and a {i}. | what has {p} got / how many {x} does {p} have / what does {p} own | {n} {x} and a {i}. / {n} {x}. | {p}
{p} wears a {i} and speaks with nobody. | what does {p} wear / how do I know {p} / what does {p} look like | A {i}. / {p} wears a {i}. | {p}
The road to {t} is blocked by {x}. | is the road to {t} open / what blocks the road / can I go to {t} / how is the road to {t} | It is blocked by {x}. / {X}, right across it. | the road to {t}
The ship {W} sails for {t} on {day}. | when does the {W} sail / where does the {W} go / is there a ship to {t} | On {day}. / For {t}. / The {W} sails on {day}. | the {W}
The mine of {t} holds {x}. | what is in the mine of {t} / what do they dig in {t} / what does the mine hold | {X}. / It holds {x}. | the mine of {t}
To cure {w} fever, boil {w2} root with {drink}. | how do I cure {w} fever / what helps against {w} fever / cure for {w} fever | Boil {w2} root with {drink}. / {w2} root, boiled with {drink}. | {w} fever
{w} root grows {d}. | where does {w} root grow / where can I find {w} root | {d}. / It grows {d}. | {w} root
The {i} was made by {p} of {t}. | who made the {i} / where does the {i} come from | {p} of {t}. / {p} made it. | the {i}
Nobody may enter {pl} after {day}. | when may I enter {pl} / may I enter {pl} / what are the rules of {pl} | Nobody may enter after {day}. / Not after {day}. | {pl}
The toll at {pl} is {pr}. | what is the toll at {pl} / how much is the toll / what do I pay at {pl} | {pr}. / The toll is {pr}. | the toll
A room at {pl} costs {pr} a night. | how much is a room at {pl} / what does a room cost / can I sleep at {pl} | {pr} a night. / {pr}. | {pl}
{p} saw {p2} {d} on {day}. | who saw {p2} / where was {p2} seen / when was {p2} seen | {p} did, {d}. / {d}, on {day}. | {p2}
The {ev} was won by {p}. | who won the {ev} / what happened at the {ev} | {p}. / {p} won it. | the {ev}
The prize of the {ev} is a {i}. | what is the prize of the {ev} / what can I win at the {ev} | A {i}. / The prize is a {i}. | the {ev}
{p} wants to buy a {i} before {day}. | what does {p} want to buy / what does {p} need / when does {p} need the {i} | A {i}. / Before {day}. | {p}
The {prof}'s name is {p}. | what is the {prof}'s name / who is the {prof} / name of the {prof} | {p}. / {p} is the name. | the {prof}
{p} keeps {x} in the {k}. | what does {p} keep in the {k} / where does {p} keep {x} | {X}. / In the {k}. | {p}
The {k} of {t} burned down on {day}. | what happened to the {k} of {t} / when did the {k} burn | It burned down on {day}. / It burned down. | the {k} of {t}
{pl} belongs to {p}. | who owns {pl} / whose is {pl} / who does {pl} belong to | {p}. / It belongs to {p}. | {pl}
The {w}s are {x} from {t}. | what are the {w}s / who are the {w}s / tell me about the {w}s | {X} from {t}. / They are {x} from {t}. | the {w}s
A {w} is a kind of {noun}. | what is a {w} / what does {w} mean / tell me about the {w} | A kind of {noun}. / It is a kind of {noun}. | a {w}
{p} carries a letter for {p2} of {t}. | who is the letter for / what does {p} carry / who carries the letter | {p2} of {t}. / A letter for {p2}. | {p}
The curse of {pl} is broken by {x}. | how do I break the curse of {pl} / what breaks the curse | {X}. / By {x}. | the curse of {pl}
The {W} river floods every {day}. | when does the {W} flood / tell me about the {W} river | Every {day}. / It floods every {day}. | the {W} river
The watch changes at {pl} every {nn} hours. | how often does the watch change / when does the watch change at {pl} | Every {n} hours. | the watch
It is {n} steps from {pl} to the {sc}. | how many steps to the {sc} / how far from {pl} to the {sc} | {n}. / {n} steps. | the {sc}
{p} taught {p2} to {act}. | who taught {p2} / what did {p} teach {p2} | {p} did. / To {act}. | {p2}
Travellers say that {pl} is full of {x}. | what is in {pl} / what do travellers say about {pl} / tell me about {pl} | {X}. / It is full of {x}. | {pl}
The {i} glows {col} when {x} are near. | what does the {i} do / when does the {i} glow / what is special about the {i} | It glows {col} when {x} are near. / When {x} are near. | the {i}
The {i} belongs to {p}, who got it from {p2}. | whose is the {i} / who owns the {i} / where did {p} get the {i} | {p}. / It belongs to {p}. / From {p2}. | the {i}
{pl} has {nn} rooms and a {sc}. | how many rooms has {pl} / what is inside {pl} / describe {pl} | {nn} rooms. / {nn} rooms and a {sc}. | {pl}
{pl} is guarded by {nn} {x}. | who guards {pl} / what guards {pl} / is {pl} guarded | {nn} {x}. / {X}, {nn} of them. | {pl}
{pl} opens at {day}. | when does {pl} open / is {pl} open | At {day}. / It opens at {day}. | {pl}
The {sc} leads to {pl}. | where does the {sc} lead / what is behind the {sc} / how do I reach {pl} | To {pl}. / It leads to {pl}. | the {sc}
The {sc} stands {d}. | where is the {sc} / where does the {sc} stand | {d}. / It stands {d}. | the {sc}
The {sc} needs {nn} people to move. | how do I move the {sc} / how many people does the {sc} need | {nn} people. / It needs {nn} people. | the {sc}
The {cr} lives {d}. | where does the {cr} live / where is the {cr} | {d}. / It lives {d}. | the {cr}
The {cr} ate {nn} {x} from {t}. | what did the {cr} eat / what has the {cr} done | {nn} {x} from {t}. / {X}, {nn} of them. | the {cr}
{t} is ruled by {p}. | who rules {t} / who is the lord of {t} / who is in charge of {t} | {p} does. / {p} rules it. | {t}
{t} lies {d}. | where is {t} / where does {t} lie / how do I get to {t} | {d}. / It lies {d}. | {t}
{t} was burned by {f}. | who burned {t} / what happened to {t} | {f} did. / It was burned by {f}. | {t}
{p} walks with a {noun} and smells of {food}. | how do I know {p} / what does {p} smell of / describe {p} | {p} smells of {food}. / Of {food}. | {p}
{p} is {nn} years old and works {d}. | how old is {p} / where does {p} work | {nn} years. / {d}. / {p} works {d}. | {p}
{p} knows where the {i} is. | who knows where the {i} is / what does {p} know / whom do I ask about the {i} | {p} knows. / Ask {p}. | {p}
{p} has not spoken to {p2} since the {ev}. | why do {p} and {p2} not speak / what about {p} and {p2} / since when does {p} not speak to {p2} | Since the {ev}. / Not since the {ev}. | {p}
{p} hid {pr} {d}. | what did {p} hide / where did {p} hide the money | {pr}. / {d}. / {p} hid {pr} {d}. | {p}
{p} cannot {act}. | what can {p} not do / can {p} {act} | No, {p} cannot {act}. / {p} cannot. | {p}
{p} can {act}. | what can {p} do / who can {act} / can anybody {act} | {p} can {act}. / {p} can. | {p}
"""

REL = """brothers|sisters|old friends|bitter enemies|rivals|cousins|married|father and son|mother and daughter|business partners|
neighbours|in love|twins|master and apprentice|not on speaking terms""".replace("\n", "").split("|")
ACT = """read the stars|mend nets|pick locks|brew {drink}|speak to {cr}s|carve {noun}s|ride a {cr}|swim in winter|forge a {noun}|
climb the {sc}|cook {food}|play the {noun}|read old {w}|dance|sing in {W}|tame a {cr}|shoot a {adj} {noun}""".replace("\n", "").split("|")
XS = """{adj} {noun}s|{food}|{cr}s|{adj} {food}|{drink}|wild {cr}s|{w}s|{noun}s|cold {drink}|{col} {noun}s|loud {noun}s|{w} {noun}s|
{adj} {w}s|thieves|fire|salt|snow and {w}|old {noun}s""".replace("\n", "").split("|")

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
    for line in TEMPLATES.strip().splitlines():
        a, b, c, d = (part.strip() for part in line.split("|"))
        out.append((a, b.split(" / "), c.split(" / "), d.split(" / ")))
    return out


PARSED = _parse()


def _subject(parsed: tuple[str, list[str], list[str], list[str]]) -> str:
    """The slot that both begins the statement and is its topic: facts of one subject can follow each other as "It ..."."""
    text, topic = parsed[0], parsed[3][0]
    return topic.strip("{}").split("{")[-1] if text.lower().startswith(topic.lower() + " ") and "are" not in text.split()[:4] else ""


SUBJECT = [_subject(p) for p in PARSED]
SAME: dict[str, list[int]] = {s: [i for i, x in enumerate(SUBJECT) if x == s] for s in set(SUBJECT) if s and SUBJECT.count(s) > 2}


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


GENERIC = """what do you know about {x} / tell me about {x} / what about {x} / have you heard of {x} / what can you tell me about {x} /
do you know anything about {x} / any news of {x} / i want to hear about {x} / what's the story with {x} / {x}?""".replace("\n", " ").split(" / ")


def question(rng: random.Random, fact: Fact, pointed: bool = False) -> tuple[str, bool]:
    """A player's line that asks for the fact, and whether it is one of the open ones (answered by the statement).

    `pointed` leaves out questions that do not name the topic ("how much is the toll"), for when other passages are
    about the same kind of thing.
    """
    choices = [q for q in fact.questions if fact.topic.removeprefix("the ") in q] if pointed else fact.questions
    if not choices or rng.random() < 0.2:
        return rng.choice(GENERIC).strip().format(x=fact.topic), True
    return rng.choice(choices), False


LEAD = """{q} / {q} / {q} / {q} / {q} / hey, {q} / tell me, {q} / please, {q} / excuse me, {q} / so {q} / i was wondering, {q} / {q} do you know /
say, {q} / sorry to bother you, but {q} / one more thing: {q} / friend, {q} / {q} please / well then, {q} / good, and {q} / ok {q}""".replace("\n", " ").split(" / ")


def typed(rng: random.Random, line: str) -> str:
    """The line as a player may type it: case, question mark, a lead, a typo."""
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
