"""Whether a reply says, in whatever manner, that the character does not know: a broad list of ways to say so.

Said of oneself or of nobody in particular; not of the player ("you don't know"), nor of the player's reasons ("I don't
know why you ask, but ..."). ``tests/benchmarks/replies.yaml`` holds it to replies that were labelled by hand.
"""

from __future__ import annotations

import re

__all__ = ["not_knowing"]

# One way of saying so on each line; words in capitals stand for the parts below. The text is in lower case.
_WAYS = r"""
NOT_YOURS NOT_ADVERB_KNOW_OF_IT
NOT_YOURS CAN_NOT (?:\w+ )?tell(?: you)?\b(?! (?:lies|tales|stories))
\b(?:i|we|me) (?:\w+ )?KNEW (?:of |about )?(?:nothing|none|no|nobody|naught|nowt|little)\b
\b(?:know|heard|learned) (?:absolutely |next to )?nothing\b
\bi have nothing (?:on|about)\b
\bi (?:know|knew|remember) (?:it|that|this|him|her|them|of it)? ?not\b
\bme (?:not|no) (?:know|hear|heard|see)\b
\bi (?:do|did) not have the \w+ of knowing\b
\bknow\b.*\bi (?:do not|don't)(?: *[.!,;]|$)
\bi (?:only|just) know\b
(?<!you have )(?<!you've )\b(?:no|nae|not|haven't|hasn't|have not) A_SINGLE IDEA\b
\bno (?:\w+ )?(?:information|record|word|news|memory|data|answer)\b(?! is\b)
\bnot (?:in|on|among) (?:my|our|the|any) (?:\w+ )?(?:records?|list|files?|books?|log|register|papers|map)\b
\b(?:not|don't) have (?:that|the|this|any) (?:information|answer)\b
\bnot (?:my|a) (?:department|line|field|trade|business to know)\b
\b(?:i'm|am i|i am|not) in (?:no|a) position to\b
\bdunno\b|\bbeats me\b|\bsearch me\b|\byour guess is\b|\bname means nothing\b
\bblowed if i know\b|\bwould that i knew\b|\bif i (?:only )?knew\b|\bwish i (?:knew|could (?:tell|say))\b
\b(?:god|heaven|heavens|lord|goodness|saints?|gods) (?:only )?knows?\b
(?:^|[.!?,;…] ?)(?:but )?who (?:knows|can say|can tell|could say)\b(?! (?:his|her|their|its|the|that)\b)
\bhow (?:should|would|could|on earth (?:would|should)|the \w+ (?:would|should)) i know\b
\b(?:not|never) (?:known|clear) to (?:me|us)\b
\bunknown(?= *(?:[.,;!]|$))|\bunknown to (?:me|us)\b|\b(?:is|are|remains) unknown\b|\ba mystery to (?:me|us)\b
\bbeyond me\b
\b(?:above|beyond|outside|past) my (?:station|post|rank|pay|knowledge|ken|duties|work|craft|trade|records)\b
\b(?:no ?one|nobody|none)\b(?: \w+){0,3} (?:told|tells|tell|informed|said|says|mentioned|explained|knows)\b
\b(?:they|he|she|it|who|wind|tide|sea|book|chronicle|law|\w+s)(?: has| have| had)? (?:never|not) TOLD\b
\b(?:never|not) been told\b|\bhaven't (?:told|said)\b
\bdoes(?:n't| not) (?:say|tell|ring)\b|\brings no bell\b
\b(?:i am|i'm|am) (?:not (?:sure|certain|aware|informed|familiar)|unsure|uncertain|unaware|ignorant)\b
\bnot (?:entirely |quite )?sure\b
\b(?:ask|try) (?:some|any)(?:one|body) (?:else|who)\b|\bask another\b
\b(?:has|have|had|did) (?:not|never) reach(?:ed)? (?:me|us)\b
\b(?:no|nothing|nought)\b.{0,40}\breache[sd] (?:me|us|my|our)\b
\bescapes me\b|\bmemory fails\b|\blost on me\b|\bnews to me\b|\bslipped my mind\b|\byet to (?:find out|hear|learn)\b
\bnever (?:asked|counted|measured|met|found out|set eyes|laid eyes|been (?:there|to|that|in|so))\b
\b(?:never|not|haven't) (?:met|saw|seen|counted|asked) (?:him|her|it|them|one|any|such|that)\b
"""
_PARTS = {
    "NOT_ADVERB_KNOW_OF_IT": "NOT ADVERB KNOW NOT_WHY_YOU",
    "NOT_YOURS": r"(?<!you )(?<!they )(?<!if i )",
    "CAN_NOT": r"\b(?:can|could)(?: ?not|n't|'t|t| never)",
    "NOT ADVERB KNOW NOT_WHY_YOU": (
        r"(?:(?:do|did|have|had|could|can|was|am|should) not|don't|dont|didn't|haven't|hadn't|couldn't|wouldn't"
        r"|can't|cannot|cant|never) "
        r"(?:(?:rightly|really|actually|truly|even|honestly|quite|exactly|yet|ever|myself|simply|just|for sure) )*"
        r"(?:know|knew|known|hear|heard|learn(?:ed|t)?|recall|remember|recogni[sz]e|guess|help you"
        r"|say (?:for|who|what|where|when|which|how|why|any)|say\b(?= *(?:[.,;!?…]|$)))"
        r"(?! (?:why|what|how|who|if|that) you\b)"
        r"(?! you\b(?! (?:that|who|where|when|what|which|how|why|the|any|if|much|more|about|there)))"
    ),
    "KNEW": r"(?:know|knew|heard|recall|remember|learned|learnt)",
    "A_SINGLE": r"(?:(?:the|a|one|any) )?(?:(?:slightest|faintest|foggiest|remotest|earthly|single|first|such) )?",
    "IDEA": r"(?:idea|clue|notion|inkling|foggiest|faintest|slightest|knowledge)",
    "TOLD": r"(?:told|tell|tells|said|informed|mentioned)",
}


def _compiled() -> tuple[re.Pattern[str], ...]:
    made: list[re.Pattern[str]] = []
    for way in _WAYS.strip().splitlines():
        for word, part in _PARTS.items():
            glue = " " if word in ("NOT_YOURS", "A_SINGLE") else ""
            way = way.replace(word + glue, part)
        made.append(re.compile(way, re.DOTALL))
    return tuple(made)


_COMPILED = _compiled()


def not_knowing(text: str) -> bool:
    """Whether a reply says, in whatever manner, that the character does not know."""
    text = re.sub(r"\b([a-z])-(?=\1)", "", " ".join(text.replace("’", "'").lower().split()))  # d-don't
    return any(way.search(text) for way in _COMPILED)
