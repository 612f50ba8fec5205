"""The small safe expressions that a designer writes after ``when:``.

    trust >= 60 and quest.mine == "done"
    not angry and (place in ["market", "gate"] or "old well" in nearby)

Grammar:

    or         = and ("or" and)*
    and        = not ("and" not)*
    not        = "not" not | comparison
    comparison = operand [("==" | "!=" | "<" | "<=" | ">" | ">=" | ["not"] "in") operand]
    operand    = name | number | string | "true" | "false" | list | "(" or ")"
    list       = "[" [operand ("," operand)*] "]"

A condition is read once, in time linear in its length, and never by ``eval``. Evaluating it never raises:

- a name that the state does not have (or has as None) is false by itself, and every comparison with it is
  false, ``!=`` and ``not in`` too, so that a secret stays locked while the game has said nothing;
- numbers, strings and booleans are three kinds: ``==`` between two kinds is false, ``!=`` is true, and
  ``<`` is false;
- ``quest.mine`` is found as ``state["quest.mine"]`` and as ``state["quest"]["mine"]``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any, Final, TypeAlias, cast

__all__ = ["Condition", "ConditionError", "Mention", "compile_condition"]

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 32
MAX_NAME_PARTS: Final = 8

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    | (?P<name>[^\W\d]\w*(?:-\w+)*(?:\.\w+(?:-\w+)*)*)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator>==|!=|<=|>=|[<>()\[\],])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "true", "false"})
_INSTEAD: Final = (
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("=", "write `==` to compare"),
    ("!", "write `not`"),
    ("+", "a condition compares, it does not calculate"),
    ("-", "a condition compares, it does not calculate"),
    ("*", "a condition compares, it does not calculate"),
    ("/", "a condition compares, it does not calculate"),
)


class ConditionError(ValueError):
    """A condition cannot be read; ``offset`` and ``length`` say where in its text (code points)."""

    def __init__(self, message: str, offset: int, length: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length

    def __reduce__(self) -> tuple[object, ...]:
        return (ConditionError, (self.message, self.offset, self.length))


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a condition's text and where it stands."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read. Equal texts are equal conditions; it may be shared between threads."""

    text: str
    mentions: tuple[Mention, ...]
    _root: _Node

    @property
    def names(self) -> frozenset[str]:
        """The names that the condition asks for."""
        return frozenset(mention.name for mention in self.mentions)

    def evaluate(self, state: Mapping[str, Any]) -> bool:
        """Whether the condition holds in ``state``. Never raises for any plain data."""
        return _truth(_value(self._root, state))


@dataclass(frozen=True, slots=True)
class _Literal:
    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class _Name:
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Not:
    inner: _Node


@dataclass(frozen=True, slots=True)
class _Junction:
    every: bool
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Comparison:
    operator: str
    left: _Node
    right: _Node


_Node: TypeAlias = _Literal | _Name | _List | _Not | _Junction | _Comparison


@lru_cache(maxsize=1024)  # every turn asks for the conditions of the same actions and secrets
def compile_condition(text: str) -> Condition:
    """Read a condition.

    Raises ConditionError with the offset of what cannot be read.
    """
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"a condition has at most {MAX_LENGTH} characters", MAX_LENGTH)
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


def _tokens(text: str) -> Iterator[_Token]:
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise _unreadable(text, offset)
        kind = cast("str", match.lastgroup)
        word = match.group()
        if kind == "name" and word not in _KEYWORDS and word.lower() in _KEYWORDS:
            raise ConditionError(f"write `{word.lower()}` in lower case", offset, len(word))
        if kind == "name" and word in _KEYWORDS:
            kind = "keyword"
        if kind != "space":
            yield _Token(kind, word, offset)
        offset = match.end()
    yield _Token("end", "", len(text))


def _unreadable(text: str, offset: int) -> ConditionError:
    rest = text[offset:]
    if rest[0] in "\"'":
        return ConditionError("this text is never closed", offset, len(rest))
    number = re.match(r"-?\d[\w.]*", rest)
    if number:
        return ConditionError(
            f"`{number.group()}` is neither a number nor a name", offset, len(number.group())
        )
    for wrong, instead in _INSTEAD:
        if rest.startswith(wrong):
            return ConditionError(f"`{wrong}` is not known here: {instead}", offset, len(wrong))
    return ConditionError(f"`{rest[0]}` is not known here", offset)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._token = next(self._tokens)
        self._mentions: list[Mention] = []
        self._depth = 0

    def parse(self) -> Condition:
        if self._token.kind == "end":
            raise ConditionError("the condition is empty", 0)
        root = self._or()
        if self._token.kind != "end":
            raise self._unexpected("expected `and`, `or` or the end")
        return Condition(self._text, tuple(self._mentions), root)

    def _advance(self) -> _Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _at(self, *texts: str) -> bool:
        return self._token.kind in ("operator", "keyword") and self._token.text in texts

    def _unexpected(self, expected: str) -> ConditionError:
        token = self._token
        if token.kind == "end":
            return ConditionError(f"the condition stops too early: {expected}", token.offset)
        return ConditionError(f"{expected}, not `{token.text}`", token.offset, len(token.text))

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConditionError(f"nested more than {MAX_DEPTH} deep", self._token.offset)

    def _or(self) -> _Node:
        self._deeper()
        parts = [self._and()]
        while self._at("or"):
            self._advance()
            parts.append(self._and())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else _Junction(False, tuple(parts))

    def _and(self) -> _Node:
        parts = [self._not()]
        while self._at("and"):
            self._advance()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else _Junction(True, tuple(parts))

    def _not(self) -> _Node:
        if not self._at("not"):
            return self._comparison()
        self._deeper()
        self._advance()
        inner = self._not()
        self._depth -= 1
        return _Not(inner)

    def _comparison(self) -> _Node:
        left = self._operand()
        if (self._token.kind == "operator" and self._token.text in _COMPARISONS) or self._at("in"):
            operator = self._advance().text
        elif self._at("not"):
            self._advance()
            if not self._at("in"):
                raise self._unexpected("expected `in` after `not`")
            self._advance()
            operator = "not in"
        else:
            return left
        node = _Comparison(operator, left, self._operand())
        if self._token.text in _COMPARISONS and self._token.kind == "operator":
            raise self._unexpected("two things are compared at a time: expected `and`")
        return node

    def _operand(self) -> _Node:
        token = self._token
        if token.kind == "name":
            self._advance()
            parts = tuple(token.text.split("."))
            if len(parts) > MAX_NAME_PARTS:
                raise ConditionError(
                    f"a name has at most {MAX_NAME_PARTS} parts", token.offset, len(token.text)
                )
            self._mentions.append(Mention(token.text, token.offset))
            return _Name(parts)
        if token.kind == "number":
            self._advance()
            return _Literal(float(token.text) if "." in token.text else int(token.text))
        if token.kind == "string":
            self._advance()
            return _Literal(_ESCAPE.sub(r"\1", token.text[1:-1]))
        if self._at("true", "false"):
            return _Literal(self._advance().text == "true")
        if self._at("("):
            self._advance()
            node = self._or()
            if not self._at(")"):
                raise self._unexpected("expected `)`")
            self._advance()
            return node
        if self._at("["):
            return self._list()
        raise self._unexpected("expected a name, a number, a text in quotes, `true`, `false`, `(` or `[`")

    def _list(self) -> _Node:
        self._deeper()
        self._advance()
        items: list[_Node] = []
        while not self._at("]"):
            if items:
                if not self._at(","):
                    raise self._unexpected("expected `,` or `]`")
                self._advance()
            items.append(self._operand())
        self._advance()
        self._depth -= 1
        return _List(tuple(items))


# Values are bool, Real, str, a tuple or list, or None for what the state does not have.


def _value(node: _Node, state: Mapping[str, Any]) -> Any:
    match node:
        case _Literal(value):
            return value
        case _Name(parts):
            return _plain(_look_up(state, parts))
        case _List(items):
            return tuple(_value(item, state) for item in items)
        case _Not(inner):
            return not _truth(_value(inner, state))
        case _Junction(every, parts):
            held = (_truth(_value(part, state)) for part in parts)
            return all(held) if every else any(held)
        case _Comparison(operator, left, right):
            return _compare(operator, _value(left, state), _value(right, state))


def _look_up(state: Mapping[str, Any], parts: tuple[str, ...]) -> Any:
    for split in range(len(parts), 0, -1):
        found: Any = state.get(".".join(parts[:split]))
        if split == len(parts):
            if found is not None:
                return found
        elif isinstance(found, Mapping):
            deeper = _look_up(cast("Mapping[str, Any]", found), parts[split:])
            if deeper is not None:
                return deeper
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | Real):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(cast("Sequence[Any]", value))
    return None


def _truth(value: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return False
    return bool(value)


def _kind(value: Any) -> str:
    # bool is an int in Python, but `flag == 1` is a mistake and not a truth.
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, Real) else "list"


def _equal(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and bool(left == right)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if operator in ("in", "not in"):
        if not isinstance(right, tuple):
            return False
        found = any(_equal(left, item) for item in cast("tuple[Any, ...]", right))
        return found if operator == "in" else not found
    if operator == "==":
        return _equal(left, right)
    if operator == "!=":
        return not _equal(left, right)
    if _kind(left) != _kind(right) or _kind(left) not in ("number", "string"):
        return False
    match operator:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)
