"""What counts as right, as pure functions of a case and a reply. Validated on hand-labelled replies in the tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.quality.cases import Case
from benchmarks.quality.play import Reply
from npcsdk.prompt.build import system_sections, system_text

__all__ = ["has_need", "invented", "not_knowing", "right", "right_arguments", "sane"]


def right(case: Case, reply: Reply) -> bool:
    """Whether the reply is what the case asks for. Free-form replies are for people to judge."""
    if reply.reason != "stop" and case.behaviour not in ("call", "chat"):
        return False
    match case.behaviour:
        case "fact" | "identity":
            return not reply.calls and all(has_need(reply.text, need) for need in case.needs)
        case "unknown":
            return not reply.calls and not_knowing(reply.text) and not invented(reply.text, case)
        case "call":
            (action, *others) = reply.actions or (None,)
            if action is None or others or reply.refused or reply.reason not in ("stop", "length"):
                return False
            schema = case.world.actions[case.tool].parameters
            free = {
                name
                for name, item in schema.items()
                if item.type == "string" and not (item.enum or item.source)
            }
            return action.name == case.tool and right_arguments(action.arguments, case.arguments, free)
        case "chat":
            return not reply.calls and bool(reply.text)
        case "free":
            return not sane(reply)
        case _:
            raise ValueError(case.behaviour)


def has_need(text: str, need: str) -> bool:
    """Whether one of the alternatives (`14|fourteen`) stands in the text as whole words; a `*` ends an open word."""
    plain = f" {_plain(text)} "
    return any(f" {_plain(one)}" + ("" if one.endswith("*") else " ") in plain for one in need.split("|"))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w]+", " ", text.replace("’", "'").replace("'", "").casefold()).split())


def right_arguments(got: Mapping[str, Any], want: Mapping[str, Any], free: set[str]) -> bool:
    """Exactly these arguments. A list gives alternatives; in ``free`` strings (no enum, no targets) case is no matter."""
    if got.keys() != want.keys():
        return False
    for name, value in want.items():
        allowed = value if isinstance(value, list) else [value]
        if not any(_same(got[name], one, name in free) for one in allowed):
            return False
    return True


def _same(got: Any, want: Any, free: bool) -> bool:
    if free and isinstance(got, str) and isinstance(want, str):
        return got.casefold() == want.casefold()
    return type(got) is type(want) and got == want


# Not knowing. Said of oneself (or of nobody in particular), not of the player, and not of why the player asks.

_ADVERB = r"(?:(?:rightly|really|actually|truly|even|honestly|quite|exactly|yet|ever|myself|simply|just|a(?:ny)?thing|for sure) )*"
_VERB = (
    r"(?:know|knew|known|hear|heard|learn(?:ed|t)?|meet|met|see|saw|seen|recall|remember|recognise|recognize"
    r"|tell you|say for|say who|say what|say where|say when|say which|say how|say why|say anything|say\b(?= *[.,;!?])|help you)"
)
_NOT = r"(?:(?:do|did|have|had|could|would|can|am|was|should) ?n[o']t|don't|dont|didn't|haven't|couldn't|wouldn't|can't|cannot|never|not)"
_ABOUT_YOU = r"(?! (?:(?:why|what|how|who|if) you\b|you\b(?! (?:that|who|where|when|what|which|how|why|the|any|if|much|more|about))))"
_PATTERNS = (
    rf"(?<!you )(?<!they )(?<!if i ){_NOT} {_ADVERB}{_VERB}{_ABOUT_YOU}",
    r"\b(?:i|we|me) (?:\w+ )?(?:know|knew|heard|have|hold|find|recall|remember|learned|see|saw) (?:of |about )?(?:nothing|none|no\b|nobody|naught|nowt|little)",
    r"\b(?:know|heard|have) (?:absolutely |next to )?nothing\b",
    r"\bno(?:t)? (?:the |a )?(?:slightest |faintest |foggiest |earthly |such )?(?:idea|clue|notion|inkling|foggiest|knowledge|information|record|word|news|memory|answer|data|faintest)\b",
    r"\bnot (?:the|a) (?:foggiest|faintest|slightest|clue)\b",
    r"\b(?:dunno|beats me|search me|who knows|who can say|who could say|god knows|heaven knows|lord knows|saints know|your guess)\b",
    r"\bhow (?:should|would|could|on earth would|the \w+ should) i know\b",
    r"\b(?:what do|do) i look like\b.*\b(?:map|list|clerk|book)\b",
    r"\bif i (?:only )?knew\b",
    r"\b(?:unknown|a mystery|a riddle|a secret) to (?:me|us)\b|^unknown\b|\bis unknown\b|\bremains unknown\b",
    r"\b(?:beyond|past|above|outside) (?:me|my)\b",
    r"\b(?:no ?one|nobody|none|they|he|she|it)(?: has| have| ha[ds])? (?:ever |never |not )?(?:told|tells|tell|informed|said|says|mentioned|explained)(?: to)? (?:me|us)\b",
    r"\b(?:never|not|hasn't|hasn't been|wasn't) (?:been )?told\b",
    r"\b(?:doesn't|does not|don't) ring (?:a|any) bell\b|\brings no bell\b",
    r"\b(?:i am|i'm|am) (?:not|un)(?: |)(?:sure|certain|aware|informed|familiar)\b|\bnot sure\b|\bunaware\b",
    r"\b(?:i|me) (?:not|no) (?:know|hear|heard|see)\b",
    r"\b(?:i am|i'm) (?:afraid|sorry)\b.{0,30}\b(?:not|can't|cannot|don't|no|never|nothing)\b",
    r"\b(?:ask|try) (?:some|any)(?:one|body|where)\b.*\belse\b|\bask (?:some|an)other\b",
    r"\bwish i (?:knew|could (?:tell|say|help))\b",
    r"\b(?:has|had|have|did) (?:not|never) (?:reached|come to) me\b|\b(?:reached|reaches) (?:not )?(?:me not|my ears not)\b|\b(?:no|nothing)\b.{0,30}\breache[sd] (?:me|us|my)\b",
    r"\bescapes me\b|\bfails me\b|\blost on me\b|\bnews to me\b",
    r"\bknow(?:s)? (?:it|that|this|him|her|them) not\b|\bi know not\b|\bknows? not\b",
    r"\bnever (?:asked|learned|learnt|counted|met|seen|saw|heard|been|found out|set eyes)\b",
    r"\b(?:i|we) (?:know|heard) only\b|\bi only know\b|\ball i know is\b|\bnot (?:my|in my) (?:department|line|trade|field|business to know|list|files|records|books?|post|station)\b",
    r"\bcould(?:n't| not) (?:rightly |even )?(?:say|guess|tell)\b|\bcan(?:'t|not) (?:rightly )?(?:say|guess)\b(?! (?:no|yes|i)\b)",
    r"\b(?:has|have|had) (?:yet )?to (?:find|hear|learn)\b|\bhas yet to\b",
)
_NOT_KNOWING = tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _PATTERNS)


def not_knowing(text: str) -> bool:
    """Whether a reply says, in whatever manner, that the character does not know."""
    text = re.sub(r"\b([a-z])-(?=\1)", "", " ".join(text.replace("’", "'").lower().split()))  # d-don't
    return any(pattern.search(text) for pattern in _NOT_KNOWING)


# An invented specific: a name that stands nowhere in the prompt, or a number where a number was asked for.

_QUANTITY = re.compile(
    r"\bhow (?:many|much|old|long|far|deep|big|tall|often|late|early|high|heavy|wide)\b|\bh?w?m?uch\b|\bwhen\b|\bprice\b|\bcost|\bfee\b|\bnumber\b"
    r"|\bwhat (?:time|year|day|hour|date|age)\b|\bage\b|\bwhich (?:year|day|number|deck|room|floor)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\b(?:\d+|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand)\b",
    re.IGNORECASE,
)
_INNER_NAME = re.compile(r"(?<![.!?:;\"'“”‘…—-])(?<!^)\s+([A-Z][\w'’-]+)")
_NO_NAMES = frozenset(
    "i i'm i'd i'll i've god lord heaven heavens hell mr mrs miss sir madam ma'am mother father captain monday tuesday "
    "wednesday thursday friday saturday sunday english oh ah no yes well ask not sorry try".split()
)


def invented(text: str, case: Case) -> str:
    """A name or number that the character made up, or ""."""
    prompt = prompt_words(case)
    for name in _INNER_NAME.findall(text):
        word = name.replace("’", "'").lower().removesuffix("'s").strip("'-")
        if word not in _NO_NAMES and word not in prompt:
            return name
    if _QUANTITY.search(case.line):
        for number in _NUMBER.findall(text):
            if number.lower() not in prompt:
                return number
    return ""


def prompt_words(case: Case) -> frozenset[str]:
    """All words that stand in the case's prompt, in lower case."""
    system = system_text(system_sections(case.world, case.persona, ()))
    everything = " ".join([system, *case.contexts, str(dict(case.now)), case.line])
    words = re.findall(r"[\w'’-]+", everything.lower().replace("’", "'"))
    return frozenset(
        form for word in words for form in (word.strip("'-"), word.strip("'-").removesuffix("'s"))
    )


# A machine's first look at free text. It does not replace reading.


def sane(reply: Reply) -> str:
    """What is wrong with a reply at first sight, or ""."""
    text = reply.text
    if not text:
        return "empty"
    if reply.reason != "stop":
        return f"ended by {reply.reason}"
    if text[-1] not in ".!?…\"'”)—*":
        return "no end"
    if re.search(r"<[a-z/_]|extra_id|\btoolcall\b|\{\"|\bPlayer:|\bUser\b\s*:", text):
        return "a marker"
    sentences = [part for part in re.split(r"[.!?…]+(?:\s|$)", text) if re.search(r"\w", part)]
    if len(sentences) > 5:  # one to three are asked for; short interjections count as sentences here
        return f"{len(sentences)} sentences"
    words = re.findall(r"[\w'’-]+", text.lower())
    grams = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    if len(grams) != len(set(grams)):
        return "repeats itself"
    return ""
