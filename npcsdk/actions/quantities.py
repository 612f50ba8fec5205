"""Whole numbers that an English line names, in figures or in words. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["numbers"]

_ONES: Final = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL: Final = {word: value for value, word in enumerate(_ONES.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}
_GREAT: Final = {"dozen": 12, "score": 20, "hundred": 100, "thousand": 1000}
_ALONE: Final = {"once": 1, "twice": 2, "thrice": 3, "couple": 2, "pair": 2, "dozen": 12}
_ORDINALS: Final = "second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_PLACE: Final = {word: value for value, word in enumerate(_ORDINALS.split(), start=2)}
_TOKEN: Final = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+", re.IGNORECASE)
_LONGEST: Final = 15
"""Digits of a number that is read; what is longer is no amount."""


def numbers(line: str) -> list[int]:
    """The numbers in the order in which they are named: "two dozen eels for 1,200" gives 24 and 1200.

    An ordinal counts before a noun ("the second floor"). Fractions are no whole numbers, and are left out.
    """
    found: list[int] = []
    total: int | None = None  # of the number in words that is being read
    part = 0  # of it, what "hundred" multiplies
    tokens = _TOKEN.findall(line.casefold())
    for place, token in enumerate(tokens):
        if token in _SMALL:
            value = _SMALL[token]
            if total is not None and not _goes_on(part, value):
                found.append(total + part)
                total = None
            total, part = total or 0, (part if total is not None else 0) + value
        elif token in _GREAT and total is not None:
            part = max(part, 1) * _GREAT[token]
            if token == "thousand":
                total, part = total + part, 0
        elif token == "and" and total is not None and (part or total) >= 100:
            continue
        else:
            if total is not None:
                found.append(total + part)
                total, part = None, 0
            if token[0].isdigit():
                found += _figures(token)
            elif token in _ALONE:
                found.append(_ALONE[token])
            elif token in _PLACE and tokens[place - 1 : place] != ["a"] and tokens[place + 1 :]:
                found.append(_PLACE[token])  # "the second floor", not "a second"
            elif token in _GREAT:  # "a hundred"
                total, part = (1000, 0) if token == "thousand" else (0, _GREAT[token])
    return found if total is None else [*found, total + part]


def _goes_on(part: int, value: int) -> bool:
    """Whether ``value`` belongs to a number of which ``part`` has been read: "sixty five", "two hundred six"."""
    return (value < 10 and part % 10 == 0 and part % 100 >= 20) or (part % 100 == 0 and value > 0)


def _figures(token: str) -> list[int]:
    if len(token) > _LONGEST or "." in token:
        return []
    head, *groups = token.split(",")
    if all(len(group) == 3 for group in groups):
        return [int(head + "".join(groups))]
    return [int(one) for one in (head, *groups)]
