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


# Not knowing: said of oneself or of nobody in particular, not of the player ("you don't know") nor of the player's
# reasons ("I don't know why you ask, but ...").

_ADVERB = r"(?:(?:rightly|really|actually|truly|even|honestly|quite|exactly|yet|ever|myself|simply|just|for sure) )*"
_KNOW = (
    r"(?:know|knew|known|hear|heard|learn(?:ed|t)?|recall|remember|recogni[sz]e"
    r"|guess|help you|say (?:for|who|what|where|when|which|how|why|any)|say\b(?= *(?:[.,;!?…]|$)))"
)
_NOT = r"(?:(?:do|did|have|had|could|can|was|am|should) not|don't|dont|didn't|haven't|hadn't|couldn't|wouldn't|can't|cannot|cant|never)"
_NOT_ABOUT_YOU = r"(?! (?:why|what|how|who|if|that) you\b)(?! you\b(?! (?:that|who|where|when|what|which|how|why|the|any|if|much|more|about|there)))"
_QUITE = r"(?:(?:the|a|one|any) )?(?:(?:slightest|faintest|foggiest|remotest|earthly|single|first|such) )?"
_PATTERNS = (
    rf"(?<!you )(?<!they )(?<!if i ){_NOT} {_ADVERB}{_KNOW}{_NOT_ABOUT_YOU}",
    r"(?<!you )(?<!they )\b(?:can|could)(?: ?not|n't|'t|t| never) (?:\w+ )?tell(?: you)?\b(?! (?:lies|tales|stories))",
    r"\b(?:i'm|am i|i am|not) in (?:no|a) position to\b|\bblowed if i know\b|\bwould that i knew\b|\bname means nothing\b",
    r"\b(?:not|never) (?:known|clear) to (?:me|us)\b|\bunknown(?= *(?:[.,;!]|$))|\bnot have (?:that|the|this|any) (?:information|answer)\b",
    r"\bdon't have (?:that|the|this|any) (?:information|answer)\b|\bhaven't (?:told|said)\b",
    r"\b(?:i|we|me) (?:\w+ )?(?:know|knew|heard|recall|remember|learned|learnt) (?:of |about )?(?:nothing|none|no|nobody|naught|nowt|little)\b",
    r"\b(?:know|heard|learned) (?:absolutely |next to )?nothing\b|\bi have nothing (?:on|about)\b",
    rf"(?<!you have )(?<!you've )\b(?:no|nae|not|haven't|hasn't|have not) {_QUITE}(?:idea|clue|notion|inkling|foggiest|faintest|slightest|knowledge)\b",
    r"\bno (?:\w+ )?(?:information|record|word|news|memory|data|answer)\b(?! is\b)",
    r"\bnot (?:in|on|among) (?:my|our|the|any) (?:\w+ )?(?:records?|list|files?|books?|log|register|papers|map)\b",
    r"\bdunno\b|\bbeats me\b|\bsearch me\b|\b(?:god|heaven|heavens|lord|goodness|saints?|gods) (?:only )?knows?\b",
    r"(?:^|[.!?,;…] ?)(?:but )?who (?:knows|can say|can tell|could say)\b(?! (?:his|her|their|its|the|that)\b)|\byour guess is\b",
    r"\bhow (?:should|would|could|on earth (?:would|should)|the \w+ (?:would|should)) i know\b|\bif i (?:only )?knew\b",
    r"\bunknown to (?:me|us)\b|^unknown\b|\b(?:is|are|remains) unknown\b|\ba mystery to (?:me|us)\b",
    r"\bbeyond (?:me|my)\b|\b(?:above|outside|past) my (?:station|post|rank|pay|knowledge|ken|duties|work|craft|trade|records)\b",
    r"\b(?:no ?one|nobody|none)\b(?: \w+){0,3} (?:told|tells|tell|informed|said|says|mentioned|explained|knows)\b",
    r"\b(?:they|he|she|it|who|wind|tide|sea|book|chronicle|law|\w+s)(?: has| have| had)? (?:never|not) (?:told|tell|tells|said|informed|mentioned)\b",
    r"\b(?:never|not) been told\b|\bdoes(?:n't| not) (?:say|tell|ring)\b|\brings no bell\b",
    r"\b(?:i am|i'm|am) (?:not (?:sure|certain|aware|informed|familiar)|unsure|uncertain|unaware|ignorant)\b|\bnot (?:entirely |quite )?sure\b",
    r"\bme (?:not|no) (?:know|hear|heard|see)\b|\bi (?:do|did) not have the \w+ of knowing\b",
    r"\bknow\b.*\bi (?:do not|don't)(?: *[.!,;]|$)",
    r"\b(?:ask|try) (?:some|any)(?:one|body) (?:else|who)\b|\bask another\b",
    r"\bwish i (?:knew|could (?:tell|say))\b",
    r"\b(?:has|have|had|did) (?:not|never) reach(?:ed)? (?:me|us)\b|\b(?:no|nothing|nought)\b.{0,40}\breache[sd] (?:me|us|my|our)\b",
    r"\bescapes me\b|\bmemory fails\b|\blost on me\b|\bnews to me\b|\bslipped my mind\b",
    r"\bi (?:know|knew|remember) (?:it|that|this|him|her|them|of it)? ?not\b|\bi know not\b",
    r"\bnever (?:asked|counted|measured|met|found out|set eyes|laid eyes|been (?:there|to|that|in|so)|(?:saw|seen) (?:him|her|it|them|one|any|such|that))\b",
    r"\bhaven't (?:met|seen|counted|asked) (?:him|her|it|them|one|any|such|that)\b|\bi (?:only|just) know\b",
    r"\bnot (?:my|a) (?:department|line|field|trade|business to know)\b|\byet to (?:find out|hear|learn)\b",
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
    r"\b(?:\d+(?=(?:st|nd|rd|th)?\b)|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand)\b)",
    re.IGNORECASE,
)
_INNER_NAME = re.compile(r"(?<![.!?:;\"'“”‘…—-])(?<!^)\s+([A-Z][\w'’-]+)")
_NO_NAMES = frozenset(
    ["i", "i'm", "i'd", "i'll", "i've", "god", "lord", "heaven", "heavens", "hell", "mr", "mrs", "miss", "sir", "madam", "ma'am", "mother", "father", "captain", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "english", "oh", "ah", "no", "yes", "well", "ask", "not", "sorry", "try"]
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
