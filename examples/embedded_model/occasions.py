# SPDX-License-Identifier: Apache-2.0
"""What is said where nothing in the prompt says what: one of the sentences for the occasion.

The hand-written exchanges answer small talk with things that somebody made up. A network of this size cannot; trained
on them, it strings their words together. So it learns those of their replies that stand in the prompt, and for the rest
whole sentences that fit many lines: its own manner's, or a plain one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from phrases import content, words
from skills import Talk, dress

from npcsdk.prompt.introduction import asks_who, introduction

STANDS_THERE = 0.6
"""Of a reply's words so many must stand in the prompt for the reply to be learned."""
KEPT = 0.06
"""How many of the others are learned all the same."""
PLAIN = 0.5
"""How often a plain sentence stands for one in the character's manner."""
VOICES = {
    "greeting": "greet",
    "farewell": "bye",
    "thanks": "thanks",
    "insult": "insult",
    "mood": "mood",
    "nonsense": "huh",
    "refuse": "no",
    "no_tool": "no",
}
ABOUT_A_PASSAGE = ("fact", "fact_system", "followup", "trade", "quest", "irrelevant")
SOCIAL = [
    (re.compile(pattern, re.I), voice)
    for pattern, voice in (
        (
            r"\W*(?:hi|hello|hey|hullo|greetings|good (?:day|morning|evening|afternoon)|well met)\W*(?:\w+\W*){0,3}$",
            "greet",
        ),
        (r"\W*(?:bye|goodbye|farewell|so long|see you|see ya|good night)\b\W*(?:\w+\W*){0,4}$", "bye"),
        (r"\W*(?:thanks|thank you|thx|ty|cheers)\b", "thanks"),
        (
            r"\W*(?:how are (?:you|things)|how r u|how goes it|hows it going|how do you feel)\W*(?:\w+\W*){0,3}$",
            "mood",
        ),
    )
]
LISTS = {"compliment": "FLATTERED", "out_of_game": "NOT_HERE", "break_role": "ONLY_ME"}
OPEN = re.compile(r"\b(?:what|whats|wat|why|how|hows|who|whos|whom|which|where|wheres|when|whose)\b", re.I)
CLOSED = re.compile(
    r"^\W*(?:so |and |but |then |well |hey )?(?:is|are|r|was|were|do|does|did|can|could|will|would|shall|should"
    r"|have|has|had|may|might|am|isn't|aren't|don't|didn't|won't|can't|u|you) ?\b",
    re.I,
)
REQUEST = re.compile(
    r"\b(?:can|could|will|would) (?:you|u|ya)\b|\bplease\b|\bplz\b|\blet'?s\b|\bi want you to\b", re.I
)
IMPERATIVE = frozenset(words("IMPERATIVE"))


def learnable(reply: str, prompt: str) -> bool:
    """Whether most of what a reply says stands in the prompt."""
    said = content(reply)
    return not said or len(said & content(prompt)) >= STANDS_THERE * len(said)


def answer(t: Talk, kind: str, line: str, reply: str, rows: Sequence[str], known: bool) -> str:
    """A hand-written reply, or what a network of this size can learn in its place; `rows` are the passages offered."""
    if asks_who(line, f"{t.me.name} {t.me.role} {t.me.setting}"):
        return sentence(t, kind, line)
    said = [turn.text for turn in t.conv.turns[-6:]]
    if learnable(reply, "\n".join([t.me.system, line, *said])) or t.rng.random() < KEPT:
        return reply
    if rows and known and kind in ABOUT_A_PASSAGE:
        return dress(t, rows[0], 0.5)
    return sentence(t, kind, line)


def with_call(t: Talk, reply: str) -> str:
    """A hand-written reply that acts: the calls, and before them a sentence of the character's manner or nothing."""
    calls = " ".join(re.findall(r"<toolcall>.*?</toolcall>", reply))
    return calls if t.rng.random() < 0.5 else f"{t.me.voice('ok', t.rng)} {calls}"


def after(t: Talk, result: str, reply: str) -> str:
    """What is said after the game's answer."""
    if learnable(reply, result) or t.rng.random() < KEPT:
        return reply
    failed = re.match(r"failed|error|no\b|not\b|nothing|refused|out of|empty", result, re.I)
    return t.me.voice("fail" if failed else "done", t.rng)


def asks_for_a_deed(line: str) -> bool:
    """Whether a line is a request by its form, and not a question or a remark."""
    words_ = re.findall(r"[a-z']+", line.lower())
    return bool(IMPERATIVE.intersection(words_[:1]) or REQUEST.search(line))


def sentence(t: Talk, kind: str, line: str) -> str:
    """What the character says to a line of this kind, whatever the line is about."""
    me, r = t.me, t.rng
    if line.startswith("["):
        return me.voice("hark", r)
    if asks_who(line, f"{me.name} {me.role} {me.setting}"):
        return dress(t, introduction(me.name, me.role), 0.5)
    for pattern, voice in SOCIAL:
        if pattern.match(line):
            return me.voice(voice, r)
    if kind in LISTS:
        return filled(t, LISTS[kind])
    if kind == "unknown" or (kind in ABOUT_A_PASSAGE and ("?" in line or OPEN.search(line))):
        return me.not_known(r)
    if kind in VOICES:
        return me.voice(VOICES[kind], r)
    first = re.split(r"\W+", line.strip().lower())[0]
    if OPEN.search(line) and (
        line.rstrip().endswith("?") or OPEN.match(line.strip()) or "tell" in line.lower()
    ):
        return filled(t, "MUSE")
    if line.rstrip().endswith("?") or (CLOSED.match(line) and first not in ("u", "you")):
        return filled(t, "PERHAPS")
    if first in IMPERATIVE or first == "please":
        return me.voice("no", r) if r.random() > PLAIN else filled(t, "NOT_THAT")
    return filled(t, "HEARD")


def filled(t: Talk, name: str) -> str:
    """One of the sentences of a list."""
    return t.rng.choice(words(name)).replace("{me}", t.me.name).replace("{role}", t.me.role)
