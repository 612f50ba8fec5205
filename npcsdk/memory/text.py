"""Text to terms: how a line becomes the words that recall compares. Pure, standard library only.

The same reading serves the word index and the hashing embedder: Unicode normalised, case and Latin
accents folded, common English words dropped, light English stems, pairs of characters for scripts that
are written without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["LONGEST", "edits", "misspelt_filler", "spelled", "terms", "words"]

LONGEST = 20_000
"""Characters of one text that are read for recall; the text itself is stored whole."""

# Whole blocks of scripts whose vowel signs are marks, which \w leaves out and would cut words at.
_MARKED = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u0669\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0966-\u0dff\u0e00-\u0e4e\u0e80-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17d3"
)
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKED}])+(?:['\u2019](?:[^\W_]|[{_MARKED}])+)*")
_ASCII_WORD = re.compile("[a-z0-9]+(?:'[a-z0-9]+)*")
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_LATIN_MARKS = re.compile("[\u0300-\u036f]")

_STOP_WORDS = """
    a an the this that these those there here it its itself he him his himself she her hers herself they them
    their theirs i im me my mine's myself we us our ours you your yours yourself u ur ye thee thou thy
    am is are was were be been being do does did doing done have has had having will would shall should can
    could may might must ought cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt
    shouldnt hasnt havent hadnt ive youve weve theyve ill youll hell shell well'll theyll id youd hed theyd
    youre were're theyre hes shes thats whats whos wheres theres heres lets
    and or but nor so if then than because as of at by for with about against between into through during
    to from in out on off over under again further once up down onto upon toward towards within without
    not no yes yeah yep nope ok okay
    what which who whom whose when where why how whatever whoever whenever wherever
    all any both each few more most other some such only own same too very just also even ever still yet
    much many lot lots anything something nothing everything anyone someone everyone everybody somebody
    anybody nobody thing things stuff kind sort
    tell say said says talk speak know knows knew known think thinks mean want wants like please ask asks
    explain describe hear heard let get gets got go goes going come comes came make makes give gives need
    find see look looks take takes took use try show happen happens happened name named called call
meet care later soon really actually maybe perhaps quite rather around right now today back
    hello hi hey greetings howdy hiya yo morning afternoon evening goodbye bye farewell cheers welcome
    thanks thank thx sorry pardon excuse sir madam miss mister mr mrs ms friend pal buddy fine good great
    nice cool wow oh ah um uh hmm er huh lol haha well sure alright
"""
_STOP = frozenset(_STOP_WORDS.split())

_NOUN_TOO = frozenset({"well", "fine"})  # filler, except after one of these:
_ARTICLES = frozenset({"a", "the", "this", "that", "your", "my", "our"})

_IRREGULAR = {
    word: stem
    for stem, forms in {
        "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth",
        "goose": "geese", "mouse": "mice", "wolf": "wolves", "knife": "knives", "thief": "thieves theft",
        "wife": "wives", "life": "lives alive", "leaf": "leaves", "die": "died dies dying dead death deaths",
        "sell": "sold sale sales", "buy": "bought", "build": "built", "keep": "kept", "steal": "stole stolen",
        "lose": "lost loss", "fight": "fought", "find": "found", "teach": "taught", "pay": "paid payment",
        "leave": "left", "break": "broke broken", "drink": "drank drunk", "grow": "grew grown growth",
        "slay": "slew slain", "write": "wrote written", "speak": "spoke spoken", "wear": "wore worn",
        "hide": "hid hidden", "bite": "bitten", "fall": "fell fallen", "rise": "rose risen",
        "ride": "rode ridden", "drive": "drove driven", "eat": "ate eaten", "sing": "sang sung song songs",
        "sink": "sank sunk", "swim": "swam swum", "begin": "began begun", "run": "ran", "win": "won",
        "catch": "caught", "bring": "brought", "hold": "held", "lead": "led", "meet": "met", "sleep": "slept",
        "burn": "burnt", "bury": "buried burial", "choose": "chose chosen choice", "swear": "swore sworn",
        "bear": "bore born borne birth", "freeze": "froze frozen", "weave": "wove woven", "send": "sent",
        "spend": "spent", "stand": "stood", "throw": "threw thrown", "draw": "drew drawn",
        "give": "gave given", "take": "took taken", "see": "saw seen", "forge": "forged forging", "flee": "fled",
        "ring": "rang rung", "strike": "struck stricken",
        "owe": "debt debts", "marry": "married marriage", "old": "older oldest elder", "sick": "sickness",
        "seek": "sought", "hang": "hung hanged", "feed": "fed", "breed": "bred", "shine": "shone", "wake": "woke",
    }.items()
    for word in forms.split()
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of ``text`` as written but folded: NFKC, no case, no Latin accents; no dropping."""
    text = text[:LONGEST]
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKD", text)
    text = unicodedata.normalize("NFKC", _LATIN_MARKS.sub("", text))
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if word.isascii() or not _DENSE.search(word):
            found.append(word.replace("\u2019", "'"))
        else:
            found.extend(_pairs(word))
    return found


def terms(text: str) -> list[str]:
    """The terms of ``text`` that carry meaning, stemmed, in order and with repetitions."""
    return [stem for _, stem in _meaningful(text)]


def spelled(text: str) -> dict[str, str]:
    """The terms of ``text``, each with the word as it stands there first."""
    found: dict[str, str] = {}
    for word, stem in _meaningful(text):
        found.setdefault(stem, word)
    return found


def _meaningful(text: str) -> Iterator[tuple[str, str]]:
    before = ""
    for word in words(text):
        if stem := _term(word):
            yield word, stem
        elif word in _NOUN_TOO and before in _ARTICLES:
            yield word, word
        before = word


def edits(a: str, b: str, most: int) -> int:
    """How many letters must be added, dropped, changed or swapped with their neighbour; ``most`` + 1 for more."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(row[j - 1] + 1, last[j] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


@lru_cache(maxsize=4_096)
def misspelt_filler(term: str) -> bool:
    """Whether ``term`` is one letter off a word that carries no meaning, like "wher" or "thnks"."""
    return len(term) >= 3 and any(
        word[0] == term[0] and edits(term, word, 1) <= 1
        for word in _STOP
        if len(word) >= 4 and abs(len(word) - len(term)) <= 1
    )


def _pairs(run: str) -> list[str]:
    """Overlapping pairs of characters: the usual unit of search for writing without spaces."""
    return [run] if len(run) < 3 else [run[i : i + 2] for i in range(len(run) - 1)]


@lru_cache(maxsize=65_536)
def _term(word: str) -> str:
    """The stem of one folded word, or "" for a word that says nothing about the subject."""
    if "'" in word:
        bare = word.replace("'", "")
        if bare in _STOP:
            return ""
        word = word.split("'", 1)[0] if word.endswith(("'s", "'ll", "'re", "'ve", "'d")) else bare
    if word in _STOP or (len(word) == 1 and word.isascii() and not word.isdigit()):
        return ""
    if word in _IRREGULAR:
        return _stem(_IRREGULAR[word])
    return _stem(word) if word.isascii() and word.isalpha() else word


def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies") and len(word) > 4:
            word = word[:-3] + "y"
        elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
            word = word[:-2]
        else:
            word = word[:-1]
    for suffix in ("ingly", "edly", "ing", "ed", "ery", "ers", "er", "ly", "ness", "ment", "ful"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            root = word[: -len(suffix)]
            if suffix in ("ed", "ing") and not any(vowel in root for vowel in "aeiouy"):
                break  # "string", "bred"
            word = root
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    if word.endswith("ied") and len(word) > 4:
        word = word[:-3] + "y"
    if word.endswith("i") and len(word) > 3:
        word = word[:-1] + "y"  # "carried" → "carri" → "carry"
    # "smithy" is the smith's, "foggy" is with fog
    if word[-1] in "ey" and len(word) > 3 and (word[-1] == "e" or word[-2] not in "aeiou"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word
