"""The words of a line that carry its meaning, compared by their stems. English, and rough on purpose. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["content_words", "named", "stem"]

_WORD: Final = re.compile(r"[^\W_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SINGLE: Final = re.compile(r"(?<![^\W_])(?:\d|[A-Z])(?![^\W_])")
_LETTER_A: Final = re.compile(r"(?<=[a-z] )A(?![^\W_])")
_COMMON_WORDS: Final = """
a an and are as at be but by can could do does for from had has have he her him his how i if in into is it its may me
my not of off on one or our out please she should so some that the their them then there these they this to up us was
we were what when which who will with would you your character player now let thing
"""
_COMMON: Final = frozenset(_COMMON_WORDS.split())


def stem(word: str) -> str:
    for ending, least in (("ing", 6), ("ies", 5), ("ed", 5), ("es", 5), ("s", 4), ("e", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def content_words(text: str) -> list[str]:
    found = (word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text)))
    return [stem(word) for word in found if word not in _COMMON and len(word) > 1]


def named(values: Sequence[Any], line: str) -> list[Any]:
    """The values that share most words with ``line``; none where none shares any."""
    said = _all_words(line)
    shared = [len(said.intersection(content_words(str(value)) or _all_words(str(value)))) for value in values]
    best = max(shared, default=0)
    return [value for value, count in zip(values, shared, strict=True) if count == best > 0]


def _all_words(text: str) -> set[str]:
    """Also those that carry no meaning ("up"), and single figures and capital letters ("room 7", "strip A")."""
    single = [one for one in _SINGLE.findall(text) if one not in ("I", "A") or one == text]
    plain = [word.casefold() for word in _WORD.findall(text) if len(word) > 1]
    return {*content_words(text), *single, *plain, *_LETTER_A.findall(text)}
