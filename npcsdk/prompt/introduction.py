"""Whether a line asks a character who it is: for models too small to look it up in their persona. English. Pure.

A rule, not a list of questions: such a line speaks of "you", asks for a name, a trade or a story, and is about little
else. Words of the character's own name and role ("tell me your name, welder") say nothing against it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["asks_who", "introduction"]

_LONGEST: Final = 300
"""Characters of a line that may be about nothing else."""
_WORD: Final = re.compile(r"[^\W_]+")
_CALLED_OUT: Final = re.compile(r"^\W*\w+,|,\s*\w+(?:\s\w+)?[?!.\s]*$")  # "ahoy, who are you, old salt?"
_PLAINLY: Final = re.compile(
    r"\bwho(?:'?s| is|’s)?(?: (?:the \w+|in \w+(?: name)?|on earth))? (?:are|r|might|may|would) (?:you|u|ya|ye)\b"
    r"(?! \w+ing\b| to\b)"
    r"|\bwhat(?:'s| is it|’s it)?(?: that)?(?: do| does)? (?:you|u|ya|ye) (?:all )?do\b"
    r"(?=\W*$|[,;]| (?:all day|for|here|there|down|up|in|on|at|out|over|around|round|under|behind|aboard))"
    r"|\b(?:your|ur|yr|yer|thy)(?: (?:real|full|true|first|last|own|line of|place of))? (?:name|rank|job|work|trade"
    r"|profession|occupation|vocation|role|post|position|task|place|line|living|office|duty|duties|business|calling"
    r"|craft|function|story)\b"
    r"|\bwho(?:'?s| is|’s| stands| sits| goes)?(?: (?:it|that))?(?: \w+ing)? (?:there\b|behind (?:that|this)\b)"
    r"|\b(?:what|how)\b.*\b(?:(?:are|r) (?:you|u) called|calls? (?:you|u)\b)"
)
_YOU_WORDS: Final = "you u ya ye your ur yr yours yourself yourselves thou thee thy thyself yer"
_YOU: Final = frozenset(_YOU_WORDS.split())
_ONESELF: Final = frozenset({"yourself", "thyself", "yourselves"})
_OF_ONESELF: Final = """
name names named called call title handle nickname surname designation callsign rank job work working trade profession
occupation vocation role post position office duty duties business calling craft function speciality specialty station
employment gig hustle living purpose task story tale background history introduce introduced introduction met
recognise recognize identify address hired charged responsible
"""
_WHO: Final = frozenset({"who", "whos", "whom", "whose"})
_WHAT: Final = frozenset({"what", "whats", "wat", "wut", "which"})
_BEING: Final = frozenset({"do", "does", "doing", "done", "d", "are", "re", "r", "art", "were", "be", "dost"})
_HERE: Final = frozenset({"there", "this", "goes", "dis", "asking"})
_WHO_GOES: Final = _WHO | _HERE | {"is", "s", "it", "that"}
_TALK: Final = frozenset({"speaking", "speak", "talking", "talk"})
_YOUR: Final = frozenset({"your", "ur", "yours", "thy"})
_NOUNS: Final = frozenset({"name", "rank", "job", "trade", "profession", "role", "title", "occupation"})
_WISH_WORDS: Final = "want need see give know mean think like hear say get has have had"
_WISH: Final = frozenset(_WISH_WORDS.split())
_FILLER: Final = """
a an the and or but so well now then just only please plz pls again exactly actually really first last full real true
what whats wat wut which how is are r am art was were be being been s m re d do does dost did doing done can could may
might must should would will shall have has had got get i im ive me my we us our it its this that these those
there here where in on at of for to from by with about as if not no don t dont didn isn never ever before all any some
something anything nothing one more little bit few know tell give say said let lets see hear want need like ask asking
speak speaking talk talking talking state share mind sorry pardon excuse hello hi hey hail halt stop wait oh ah eh um
uh hm yes yo ok okay good fine day morning evening sir madam miss lady lord master friend stranger man woman boy girl
lad lass kid child fellow mate pal buddy old young captain soldier sailor pilot robot machine unit traveller little dear
folks people they he she them him her around out up down over off goes come hell heck devil earth blazes supposed
suppose think meant else way kind sort exactly pleasure honour honor nice meet meeting pleased remember forgot
forgotten catch caught missed remind describe explain show face life many much time times long night day days town
place ship aboard words
"""
_NAMES_IT: Final = frozenset(_OF_ONESELF.split())
_SAYS_LITTLE: Final = frozenset(_FILLER.split()) - _WHO


def asks_who(line: str, own: str = "") -> bool:
    """Whether ``line`` asks the one who is spoken to for a name, for what they do, or to tell of themselves.

    ``own``: the character's name, role and place; their words count for nothing.
    """
    if len(line) > _LONGEST:
        return False
    line = line.casefold()
    if _PLAINLY.search(line):
        return True
    said = _WORD.findall(_CALLED_OUT.sub("", line) if "," in line else line)
    words, mine = set(said), set(_WORD.findall(own.casefold()))
    named = words & _NAMES_IT
    if (words & _WHO and words & _HERE and words <= _WHO_GOES) or {"been", "introduced"} <= words:
        return True
    strange = words - _SAYS_LITTLE - _YOU - _NAMES_IT - _WHO - mine
    if not strange and not words - {"and", "so", "you", "are"} and {"you"} <= words:
        return True  # "and you are?"
    if words & _ONESELF:
        return len(strange) <= 1
    if named and ("my" not in words or words & _YOUR):
        if strange and not (said[-1] in strange and said[-2] in _NAMES_IT):  # "your name, welder"
            return False
        return bool(words & _YOU) or (len(said) <= 3 and bool(words & _NOUNS))
    if strange or (words & _TALK and not words & {"i", "we"}):
        return False
    if (words & _WHO and words & {*_YOU, *_TALK}) or {"about", "you"} <= words:
        return True
    return bool(words & _YOU and words & _WHAT and words & _BEING) and not words & _WISH


def introduction(name: str, role: str) -> str:
    """What the character says to such a line, at the least."""
    return f"I am {name}, {role}." if role else f"I am {name}."
