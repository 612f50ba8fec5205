# SPDX-License-Identifier: Apache-2.0
"""What a character must be able to do in one turn, each as a function that adds the turn to a conversation."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import facts as F
import offered
import worlds
from lexicon import Lexicon
from phrases import content, words
from render import Conversation

from npcsdk.prompt.build import now_lines
from npcsdk.prompt.introduction import asks_who, introduction

WHO = words("WHO")
WHAT = words("WHAT")
ABOUT_ASKED = words("ABOUT_ASKED")
GOAL_ASKED = words("GOAL_ASKED")
RELATION_ASKED = words("RELATION_ASKED")
REFUSE_ASKED = words("REFUSE_ASKED")
WHERE_ASKED = words("WHERE_ASKED")
GREET = words("GREET")
BYE = words("BYE")
THANKS = words("THANKS")
MOOD = words("MOOD")
INSULT = words("INSULT")
NONSENSE = words("NONSENSE")
FOLLOW = words("FOLLOW")
RECALL = words("RECALL")
NOW_KEYS = words("NOW_KEYS")
NOW = {
    "time": ["morning", "noon", "evening", "night", "dawn", "dusk", "midnight"],
    "weather": ["rain", "fog", "clear", "snow", "storm", "wind"],
    "mood": ["calm", "angry", "happy", "sad", "tired", "wary", "curious"],
    "quest": ["none", "open", "done", "failed"],
    "gold": ["{n}"],
    "day": ["{day}"],
    "crowd": ["empty", "a few people", "crowded"],
    "health": ["{n}", "full", "wounded"],
    "season": ["spring", "summer", "autumn", "winter"],
    "light": ["dark", "dim", "bright"],
}


REACT = "(You noticed this. Say something.)"


@dataclass
class Talk:
    """A conversation under way."""

    lex: Lexicon
    me: worlds.Persona
    conv: Conversation
    heard: list[F.Fact] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)
    now_share: float = 0.0
    targets: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Of tools, the parameters that take one of the things nearby."""

    @property
    def rng(self) -> random.Random:
        return self.lex.rng

    def now(self) -> list[str]:
        """The game's state this turn, or nothing."""
        if not self.state or self.rng.random() > self.now_share:
            return []
        keys = list(self.state)
        self.rng.shuffle(keys)
        return ["Now: " + "; ".join(f"{k}: {self.state[k]}" for k in keys)]

    def asked(self, line: str) -> dict[str, str]:
        """Drafts of the calls that the words of `line` ask for."""
        near = [name for name in self.state.get("nearby", "").split(", ") if name]
        targets = {tool: dict.fromkeys(keys, near) for tool, keys in self.targets.items() if near}
        return offered.asked(line, self.conv.tools, targets)

    def ask(
        self,
        line: str,
        passages: list[str],
        answer: str = "",
        *,
        known: bool = True,
        now: list[str] | None = None,
    ) -> list[str]:
        """The player's line, with what of `passages` is offered for it, the game's state, and what is asked for."""
        told = [row[2:] for row in self.me.system.splitlines() if row.startswith("- ")]
        rows = offered.passage(
            self.rng,
            line,
            passages,
            answer,
            known=known,
            told=told,
            own=(self.me.name, self.me.role, self.me.setting),
        )
        state = self.now() if now is None else now
        asked = now_lines({}, asked=self.asked(line).values())
        self.conv.user(line, [*rows, *state, *asked])
        return rows

    def say(self, line: str, passages: list[str], reply: str, *, known: bool = True) -> None:
        """A line and what the character says to it; see `ask`."""
        self.ask(line, passages, known=known)
        self.conv.says(reply)

    def tell(self, line: str, passages: list[str], answer: str) -> None:
        """A line and the statement that answers it: all of what is offered for it, in the character's manner."""
        rows = self.ask(line, passages, answer)
        whole = len(rows) == 1 and rows[0] != answer and offered.says(rows[0], content(answer))
        self.conv.says(dress(self, rows[0], 0.5) if whole else dress(self, answer))


def make_state(lex: Lexicon) -> dict[str, str]:
    rng = lex.rng
    state: dict[str, str] = {}
    if rng.random() < 0.8:
        state["place"] = lex.place()
    if rng.random() < 0.8:
        state["nearby"] = ", ".join(near(lex) for _ in range(rng.randint(1, 5)))
    for k in rng.sample(NOW_KEYS, rng.choice([0, 0, 1, 1, 2, 3])):
        state[k] = F.Filler(lex).fill(rng.choice(NOW[k]))
    return state or {"place": lex.place()}


def near(lex: Lexicon) -> str:
    r = lex.rng.random()
    return (
        lex.scenery() if r < 0.55 else lex.person() if r < 0.8 else lex.item() if r < 0.95 else lex.creature()
    )


def dress(t: Talk, body: str, often: float = 1.0) -> str:
    """A statement in the character's manner."""
    r = t.rng
    pre = t.me.voice("pre", r) if r.random() < 0.45 * often else ""
    post = t.me.voice("post", r) if r.random() < 0.3 * often else ""
    body = F.upper(body)
    if body and body[-1] not in ".!?":
        body += "."
    return " ".join(x for x in (pre, body, post) if x)


def companions(lex: Lexicon, fact: F.Fact, n: int) -> list[F.Fact]:
    """Other facts about the same subject."""
    slot = F.SUBJECT[fact.kind]
    kinds = [k for k in F.SAME.get(slot, []) if k != fact.kind]
    name = fact.topic.removeprefix("the ") if slot in ("i", "cr", "sc") else fact.topic
    return [F.make(lex, k, {slot: name}) for k in lex.rng.sample(kinds, min(n, len(kinds)))]


def prose(lex: Lexicon, facts: list[F.Fact]) -> str:
    """Sentences on one subject: named first, then "It" or "She"."""
    he = lex.rng.choice(["He", "She"]) if F.SUBJECT[facts[0].kind] == "p" else "It"
    rest = [he + f.text[len(f.topic) :] if lex.rng.random() < 0.85 else f.text for f in facts[1:]]
    return " ".join([facts[0].text, *rest])


def passage(lex: Lexicon, fact: F.Fact) -> str:
    """The fact as lore has it: alone, with its subject as a heading, or among other sentences."""
    r = lex.rng.random()
    if r < 0.52:
        return fact.text
    if r < 0.58:
        return f"{F.upper(fact.topic)}: {fact.text}"
    if r < 0.86 and F.SUBJECT[fact.kind] in F.SAME:
        group = [fact, *companions(lex, fact, lex.rng.choice([1, 1, 2]))]
        lex.rng.shuffle(group)
        return prose(lex, group)
    other = F.make(lex).text
    if r < 0.95:
        return f"{fact.text} {other}" if lex.rng.random() < 0.5 else f"{other} {fact.text}"
    return f"{other} {fact.text} {F.make(lex).text}"


def contexts_for(t: Talk, fact: F.Fact | None, n: int) -> tuple[list[str], list[F.Fact]]:
    """`n` passages in random order, one of them with `fact`; some of the others look like it."""
    others: list[F.Fact] = []
    for _ in range(n - (fact is not None)):
        hard = fact is not None and t.rng.random() < 0.25
        others.append(F.make(t.lex, fact.kind if hard and fact else None))
    rows = [passage(t.lex, f) for f in others]
    if fact is not None:
        rows.insert(t.rng.randint(0, len(rows)), passage(t.lex, fact))
    return rows, others


def fact_turn(t: Talk, n: int | None = None) -> None:
    fact = F.make(t.lex)
    rows, others = contexts_for(t, fact, n or t.rng.choice([1, 1, 1, 2, 2, 3, 4]))
    q, _ = F.question(t.rng, fact, pointed=any(o.kind == fact.kind for o in others))
    t.tell(F.typed(t.rng, q), rows, fact.text)
    t.heard.append(fact)


def knowledge_turn(t: Talk) -> None:
    if not t.me.knowledge:
        return fact_turn(t)
    fact = t.rng.choice(t.me.knowledge)
    rows, _ = contexts_for(t, None, t.rng.choice([0, 0, 0, 1, 2]))
    q, _ = F.question(t.rng, fact, pointed=t.rng.random() < 0.7)
    t.tell(F.typed(t.rng, q), rows, fact.text)


def recall_turn(t: Talk) -> None:
    """About something told or retrieved in an earlier turn."""
    if not t.heard:
        return fact_turn(t)
    fact = t.rng.choice(t.heard[-4:])
    rows, _ = contexts_for(t, None, t.rng.choice([0, 0, 0, 1]))
    q, _ = F.question(t.rng, fact, pointed=True)
    if t.rng.random() < 0.4:
        q = t.rng.choice(FOLLOW).format(x=fact.topic)
    elif t.rng.random() < 0.3:
        q = t.rng.choice(RECALL).format(q=q)
    t.tell(F.typed(t.rng, q), rows, fact.text)


def unknown_turn(t: Talk) -> None:
    fact = F.make(t.lex)
    n = t.rng.choice([0, 0, 0, 1, 1, 2, 3, 4])
    rows: list[str] = []
    about_same = False
    for _ in range(n):
        r = t.rng.random()
        if r < 0.25 and "{" in F.PARSED[fact.kind][3][0]:
            rows.append(passage(t.lex, F.make(t.lex, fact.kind)))
        elif r < 0.4 and F.SUBJECT[fact.kind] in F.SAME:
            rows.append(prose(t.lex, companions(t.lex, fact, t.rng.choice([1, 1, 2]))))
            about_same = True
        else:
            rows.append(passage(t.lex, F.make(t.lex)))
    key = fact.topic.removeprefix("the ").removeprefix("a ").lower()
    if not about_same:
        rows = [row for row in rows if key not in row.lower()]
    q, open_q = F.question(t.rng, fact, pointed=True)
    if about_same and open_q:
        pointed = [x for x in fact.questions if fact.topic in x]
        if not pointed:
            return unknown_turn(t)
        q = t.rng.choice(pointed)
    for _ in range(20):
        reply = t.me.voice("unk", t.rng, fact.topic)
        if not (about_same and fact.topic in reply):
            break
    t.say(F.typed(t.rng, q), rows, F.upper(reply), known=False)


def noise(t: Talk) -> list[str]:
    """Contexts that have nothing to do with the line."""
    n = t.rng.choice([0, 0, 0, 0, 0, 1, 1, 2, 3])
    return contexts_for(t, None, n)[0]


def identity_turn(t: Talk) -> None:
    me, r = t.me, t.rng
    short = me.name.split()[-1]
    k = r.random()
    if k < 0.6:
        q = r.choice(WHO if k < 0.4 else WHAT)
        a = introduction(me.name, me.role)
    elif k < 0.68:
        q = r.choice([f"are you {short}", f"you are {me.name}, right", f"is your name {short}"])
        a = r.choice([f"Yes, I am {me.name}.", f"I am {me.name}, {me.role}."])
    elif k < 0.75:
        wrong = t.lex.person()
        q = r.choice([f"are you {wrong}", f"you must be {wrong}", f"hello {wrong}", f"is your name {wrong}"])
        a = r.choice(
            [
                f"No, I am {me.name}.",
                f"I am {me.name}, not {wrong}.",
                f"{wrong}? No. I am {me.name}, {me.role}.",
            ]
        )
    elif me.about and k < 0.93:
        q, a = r.choice(me.about)
        if asks_who(q):
            a = f"{introduction(me.name, me.role)} {a}"
    else:
        q, a = (
            r.choice(ABOUT_ASKED),
            introduction(me.name, me.role) + (" " + r.choice(me.about)[1] if me.about else ""),
        )
    t.say(F.typed(r, q), noise(t), dress(t, a, 0.7))


def persona_turn(t: Talk) -> None:
    """Goals, relations, refusals, setting."""
    me, r = t.me, t.rng
    options = [
        k
        for k, v in (
            ("goal", me.goals),
            ("relation", me.relations),
            ("refuse", me.refusals),
            ("where", me.setting),
        )
        if v
    ]
    if not options:
        return identity_turn(t)
    match r.choice(options):
        case "goal":
            q = r.choice(GOAL_ASKED)
            a = "I want to " + worlds._yours(r.choice(me.goals))
        case "relation":
            who, what = r.choice(me.relations)
            q = r.choice(RELATION_ASKED).format(x=who)
            a = f"{who}? {F.upper(worlds._yours(what))}"
        case "refuse":
            what = r.choice(me.refusals).removeprefix("to ")
            q = r.choice(REFUSE_ASKED).format(x="to " + what)
            a = r.choice([me.voice("no", r), me.voice("no", r), f"I refuse to {what}."])
            t.say(F.typed(r, q), noise(t), a)
            return
        case _:
            q = r.choice(WHERE_ASKED)
            a = me.setting
    t.say(F.typed(r, q), noise(t), dress(t, a, 0.7))


def social_turn(t: Talk) -> None:
    r = t.rng
    kind, lines = r.choice(
        [
            ("greet", GREET),
            ("greet", GREET),
            ("bye", BYE),
            ("thanks", THANKS),
            ("mood", MOOD),
            ("insult", INSULT),
            ("huh", NONSENSE),
        ]
    )
    line = F.Filler(t.lex).fill(r.choice(lines).strip())
    if kind == "greet" and r.random() < 0.3:
        line += " " + r.choice([t.me.name.split()[-1], "friend", "sir", "stranger", t.me.role.split()[-1]])
    if r.random() < 0.4:
        line = F.upper(line)
    t.say(line, noise(t), t.me.voice(kind, r))


def react_turn(t: Talk) -> None:
    """The game tells of an event; nobody spoke."""
    kind, _, event = t.rng.choice(words("EVENTS")).partition(": ")
    event = F.upper(F.Filler(t.lex).fill(event).replace("of the the ", "of the "))
    t.conv.user(REACT, [*noise(t), *t.now(), f"Event: {event}"])
    t.conv.says(t.me.voice(kind, t.rng))


def echo_conversation(lex: Lexicon) -> Conversation:
    """A warm-up for copying alone: a list, twice over; the loss is on everything."""
    rng = lex.rng
    kinds = ["p", "pl", "t", "i", "w", "W", "pr", "n", "d", "sc", "cr"]
    rows = [
        F.make(lex).text if rng.random() < 0.3 else lex.slot(rng.choice(kinds))
        for _ in range(rng.randint(4, 14))
    ]
    conv = Conversation("Say it again.", everything=0.15)
    conv.user("\n".join(rows))
    if rng.random() < 0.6:
        rng.shuffle(rows)
    conv.says("\n".join(rows))
    return conv


def dense_conversation(lex: Lexicon, turns: int, most: int, unknown: float) -> Conversation:
    """Little persona, one question after another: the first steps of answering from context."""
    me = worlds.make_persona(lex, 0.0)
    t = Talk(lex, me, Conversation(me.system))
    for _ in range(turns):
        if lex.rng.random() < unknown:
            unknown_turn(t)
        else:
            fact_turn(t, lex.rng.randint(1, most))
    return t.conv
