"""A constraint as one grammar of a whole reply, for servers that take a grammar in a request. Pure.

Text is free but for the marker that opens a call; after it stands one legal call, then text again. The notation is
that of `npcsdk.backends.ebnf`, which llama.cpp's servers read as GBNF and vLLM with XGrammar. Neither knows "all text
without this word", so that is an automaton: one rule for each beginning of the marker that the text may end with.
"""

from __future__ import annotations

from collections.abc import Iterable

from npcsdk.backends.base import Constraint
from npcsdk.backends.ebnf import Grammar, Inexpressible, any_object, calls_of, literal

__all__ = ["reply_grammar"]

_GAP = r"[ \n]?"
_WHITE = " \t\n\r\v\f"
# Code points of one length in UTF-8 each, and no halves of pairs. A reader may take a wider range for its bytes.
_RANGES = (
    (0x01, 0x7F),
    (0x80, 0x7FF),
    (0x800, 0xFFF),
    (0x1000, 0xCFFF),
    (0xD000, 0xD7FF),
    (0xE000, 0xFFFF),
    (0x10000, 0x3FFFF),
    (0x40000, 0xFFFFF),
    (0x100000, 0x10FFFF),
)


def reply_grammar(constraint: Constraint) -> str:
    """The grammar, or "" where there is nothing to hold.

    Of an action whose schema has no rule here, the arguments are held to be a JSON object and no more: they are
    checked when they come.
    """
    marker = constraint.opening
    if not marker:
        return ""
    rules = Grammar()
    object_ = _object(rules, constraint)
    calls = 0 if not object_ else 1 if constraint.listed else constraint.max_calls
    reply = _Reply(constraint, calls)
    root = reply.text(calls)
    if object_:
        reply.rules["call"] = f"{'' if constraint.after_name else f'{_GAP} '}{object_}" + (
            f" {_GAP} {literal(constraint.closing)}" if constraint.closing else ""
        )
        if constraint.bare:
            # A reply that begins with an object is a call without its marker; no other text begins like one.
            reply.rules["bare"] = f"{object_} {reply.after(calls - 1)}"
            root = f"bare | {reply.careful(calls, '{')}"
    elif constraint.bare:
        root = reply.careful(0, "{")
    rules.add(reply.rules)
    return rules.text(root)


def _object(rules: Grammar, constraint: Constraint) -> str:
    """An expression for what stands behind the marker; "" where no call is legal."""
    if not constraint.tools or constraint.max_calls < 1:
        return ""
    alike: dict[str, list[str]] = {}  # the names of the actions that take the same arguments
    for name, schema in constraint.tools:
        try:
            arguments = rules.arguments(schema)
        except Inexpressible:
            arguments = any_object(rules)
        alike.setdefault(arguments, []).append(name)
    one = calls_of(constraint, alike)
    if not constraint.listed:
        return one
    more = f' (", " {one}){{0,{constraint.max_calls - 1}}}' if constraint.max_calls > 1 else ""
    return f'"[" {one}{more} "]"'


class _Reply:
    """Rules for text that holds no marker, with so many calls to come."""

    def __init__(self, constraint: Constraint, calls: int) -> None:
        self.rules: dict[str, str] = {}
        self._marker = constraint.opening
        self._closed = bool(constraint.closing)
        self._calls = calls

    def text(self, calls: int, matched: int = 0) -> str:
        """The rule for text behind the first ``matched`` characters of the marker."""
        name = f"t{calls}-{matched}"
        if name in self.rules:
            return name
        self.rules[name] = ""  # It leads to itself.
        ways = ['""']
        special: list[str] = []
        for character in dict.fromkeys(self._marker):
            now = _overlap(self._marker, self._marker[:matched] + character)
            if now == 0:
                continue
            special.append(character)
            if now < len(self._marker):
                ways.append(f"{literal(character)} {self.text(calls, now)}")
            elif calls:
                ways.append(f"{literal(character)} call {self.after(calls - 1)}")
        ways.append(f"{_others(special)} {self.text(calls)}")
        self.rules[name] = " | ".join(ways)
        return name

    def after(self, calls: int) -> str:
        """The rule for text behind a call. Where nothing closes one, it must not look like one more."""
        return self.text(calls) if self._closed else self.careful(calls, "{,;")

    def careful(self, calls: int, not_first: str) -> str:
        """The rule for text whose first character beyond white space is none of ``not_first``."""
        name = f"c{calls}-{'-'.join(str(ord(character)) for character in not_first)}"
        if name in self.rules:
            return name
        first = self._marker[0]
        ways = ['""', f"{_others(_WHITE, inside=True)} {name}"]
        known = {*_WHITE, *not_first}
        if first not in known:
            known.add(first)
            if len(self._marker) > 1:
                ways.append(f"{literal(first)} {self.text(calls, 1)}")
            elif calls:
                ways.append(f"{literal(first)} call {self.after(calls - 1)}")
        elif first in not_first and calls:  # A marker that begins so is no object.
            ways.append(f"{literal(self._marker)} call {self.after(calls - 1)}")
        ways.append(f"{_others(sorted(known))} {self.text(calls)}")
        self.rules[name] = " | ".join(ways)
        return name


def _overlap(marker: str, text: str) -> int:
    """How much of the beginning of ``marker`` stands at the end of ``text``."""
    return next(length for length in range(len(marker), -1, -1) if text.endswith(marker[:length]))


def _others(characters: Iterable[str], *, inside: bool = False) -> str:
    """A class of all characters but these; of these alone when ``inside``."""
    points = sorted(map(ord, characters))
    if inside:
        return "[" + "".join(map(_escaped, points)) + "]"
    parts: list[str] = []
    for low, high in _RANGES:
        for point in points:
            if low <= point <= high:
                parts.append(_range(low, point - 1))
                low = point + 1
        parts.append(_range(low, high))
    return f"[{''.join(parts)}]"


def _range(low: int, high: int) -> str:
    return "" if low > high else _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"


def _escaped(point: int) -> str:
    return rf"\x{point:02x}" if point < 0x80 else rf"\u{point:04x}" if point < 0x10000 else rf"\U{point:08x}"
