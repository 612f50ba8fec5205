"""A JSON Schema as a grammar in EBNF, for runtimes whose own reading of schemas is no use to a game. Pure.

The JSON is spelled as models were trained on it: one line, ``", "`` and ``": "``, properties in the schema's order. So
a model cannot wander off in white space, and a list of names that many actions share is one rule, compiled once.

The notation is that of GBNF and XGrammar: literals in quotes, classes in brackets, ``{least,most}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

from npcsdk.backends.base import Constraint

__all__ = ["Grammar", "Inexpressible", "any_object", "calls_of", "literal"]

_ANNOTATIONS: Final = frozenset(
    (
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$defs",
    )
)
_KEYWORDS: Final[dict[str, frozenset[str]]] = {
    "string": frozenset(("minLength", "maxLength")),
    "integer": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")),
    "number": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")),
    "boolean": frozenset(),
    "null": frozenset(),
    "array": frozenset(("items", "minItems", "maxItems")),
    "object": frozenset(("properties", "required", "additionalProperties")),
}
_HEX: Final = "[0-9a-fA-F]"
_CHARACTERS: Final = (
    # Not "all but": a runtime may read that as bytes, and what is no UTF-8 grows longer when it is read. Nor fewer
    # ranges: XGrammar takes one whose ends begin with different bytes for all that begins with these bytes.
    r"[\x20-\x21\x23-\x5b\x5d-\x7e\u0080-\u07ff\u0800-\u0fff\u1000-\ucfff\ud000-\ud7ff\ue000-\uffff"
    r'\U00010000-\U0003ffff\U00040000-\U000fffff\U00100000-\U0010ffff] | "\\" (["\\/bfnrt] | "u" '
    rf"([0-9a-cA-Ce-fE-F] {_HEX} {_HEX} {_HEX} | [dD] [0-7] {_HEX} {_HEX}))"
)
_GREATEST: Final = 10**9
"""Of a number without a bound, either side of zero."""
_PLACES: Final = 3
"""Digits after the point, of numbers whose bounds are not closer to each other than that."""
_MOST_PLACES: Final = 9
_MOST: Final = 200
"""Characters of a string, where any value is legal."""
_MEMBERS: Final = 15
"""Likewise members after the first."""

Digits = list[str]
"""One spelling: a class or a character for each place."""


class Inexpressible(ValueError):
    """The schema says something that this has no rule for."""


class Grammar:
    """Rules, gathered while schemas are turned into expressions over them."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._lists: dict[tuple[str, ...], str] = {}

    def text(self, root: str) -> str:
        """The whole grammar, whose first rule is ``root``."""
        return "".join(f"{name} ::= {rule}\n" for name, rule in (("root", root), *self._rules.items()))

    def add(self, rules: Mapping[str, str]) -> None:
        """Rules with names of the caller's, which begin with another letter than ours."""
        self._rules.update(rules)

    def value(self, schema: Any, definitions: Mapping[str, Any] | None = None) -> str:
        """An expression for the values that satisfy ``schema``: all of them, or those of a plainer spelling.

        Args:
            definitions: what ``$ref`` finds in ``#/$defs``; without circles.

        Raises:
            Inexpressible: for a keyword or a type that there is no rule for.
        """
        if not isinstance(schema, Mapping):
            raise Inexpressible(f"{schema!r} is any value")
        fields = cast("Mapping[str, Any]", schema)
        known = {**(definitions or {}), **fields.get("$defs", {})}
        said = {
            key: value
            for key, value in fields.items()
            if key not in _ANNOTATIONS and not key.startswith("x-")
        }
        if "$ref" in said:
            return self._reference(said, known)
        if "const" in said:
            return self._words([said["const"]])
        if "enum" in said:
            return self._words(cast("Sequence[Any]", said["enum"]))
        for key in ("anyOf", "oneOf"):
            if key in said:
                if said.keys() != {key}:
                    raise Inexpressible(f"{key} beside {', '.join(said.keys() - {key})}")
                return self._either(self.value(one, known) for one in cast("Sequence[Any]", said[key]))
        kinds = said.pop("type", None)
        if isinstance(kinds, list):
            named = cast("list[str]", kinds)
            return self._either(self._typed(kind, said, known, strict=False) for kind in named)
        return self._typed(str(kinds), said, known)

    def arguments(self, schema: Mapping[str, Any], *, closed: bool = True) -> str:
        """The same for an action's arguments; unless ``closed`` the last brace is the caller's to write.

        Equal ones are one rule.
        """
        definitions = cast("Mapping[str, Any]", schema.get("$defs", {}))
        said = {key: value for key, value in schema.items() if key not in _ANNOTATIONS and key != "type"}
        self._check("object", said)
        return self._rule(self._members(said, definitions) + (' "}"' if closed else ""))

    def _check(self, kind: str, said: Mapping[str, Any]) -> None:
        if kind not in _KEYWORDS:
            raise Inexpressible(f"a value of the type {kind}")
        unknown = said.keys() - _KEYWORDS[kind]
        if unknown:
            raise Inexpressible(f"{', '.join(sorted(unknown))} of a value of the type {kind}")

    def _typed(
        self, kind: str, said: Mapping[str, Any], definitions: Mapping[str, Any], *, strict: bool = True
    ) -> str:
        if not strict:  # one of several types: what is said of the others is not said of it
            others = {key for keywords in _KEYWORDS.values() for key in keywords}
            own = _KEYWORDS.get(kind, frozenset())
            said = {key: value for key, value in said.items() if key in own or key not in others}
        self._check(kind, said)
        match kind:
            case "string":
                return self._string(said)
            case "integer":
                return self._rule(_alternatives(_whole(*_bounds(said, Decimal(1)))))
            case "number":
                return self._number(said)
            case "boolean":
                return '("true" | "false")'
            case "null":
                return '"null"'
            case "array":
                return self._array(said, definitions)
            case _:
                return self._rule(f'{self._members(said, definitions)} "}}"')

    def _rule(self, expression: str) -> str:
        """The name of a rule for it; the same one for the same expression."""
        name = self._known.get(expression)
        if name is None:
            name = self._known[expression] = f"r{len(self._rules)}"
            self._rules[name] = expression
        return name

    def _either(self, expressions: Iterable[str]) -> str:
        alternatives = list(dict.fromkeys(expressions))
        if not alternatives:
            raise Inexpressible("nothing satisfies it")
        return alternatives[0] if len(alternatives) == 1 else self._rule(" | ".join(alternatives))

    def _reference(self, said: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
        name = str(said["$ref"]).removeprefix("#/$defs/")
        if set(said) != {"$ref"} or name not in definitions:
            raise Inexpressible(f"the reference {said['$ref']!r}")
        return self.value(definitions[name], definitions)

    def _words(self, values: Sequence[Any]) -> str:
        """Long lists of names are many actions': they are spelled once."""
        key = tuple(values) if all(isinstance(value, str) for value in values) else ()
        found = self._lists.get(key)
        if found is None:
            found = self._either(literal(json.dumps(value, ensure_ascii=False)) for value in values)
            if key:
                self._lists[key] = found
        return found

    def _string(self, said: Mapping[str, Any]) -> str:
        character = self._rule(_CHARACTERS)
        least, most = int(said.get("minLength", 0)), said.get("maxLength")
        if most is not None and least > int(most):
            raise Inexpressible("nothing satisfies it")
        return self._rule(rf'"\"" {character}{{{least},{"" if most is None else int(most)}}} "\""')

    def _number(self, said: Mapping[str, Any]) -> str:
        spellings: list[Digits] = _whole(*_bounds(said, Decimal(1)), empty=True)
        for places in range(1, _MOST_PLACES + 1):
            if places > _PLACES and spellings:
                break
            low, high = _bounds(said, Decimal(1).scaleb(-places))
            spellings += [
                [*spelling[:-places], ".", *spelling[-places:]]
                for spelling in _whole(low, high, least=places + 1, empty=True)
            ]
        return self._rule(_alternatives(spellings))

    def _array(self, said: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
        item = self.value(said.get("items"), definitions)
        least, most = int(said.get("minItems", 0)), said.get("maxItems")
        if most is not None and (int(most) < least or not int(most)):
            if least:
                raise Inexpressible("nothing satisfies it")
            return '"[]"'
        rest = "" if most is None else int(most) - 1
        items = f'{item} (", " {item}){{{max(least - 1, 0)},{rest}}}'
        return self._rule(f'"[" {items} "]"' if least else f'"[" ({items})? "]"')

    def _members(self, said: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
        """An object's opening brace and its members, in the schema's order. What is not required may be left out."""
        properties = cast("Mapping[str, Any]", said.get("properties", {}))
        required = cast("Sequence[str]", said.get("required", ()))
        if set(required) - properties.keys() or (
            not properties
            and said.get("additionalProperties", True) is not False
            and "properties" not in said
        ):
            raise Inexpressible("members of any name")
        members = [
            (
                f"{literal(f'{json.dumps(name, ensure_ascii=False)}: ')} {self.value(schema, definitions)}",
                name,
            )
            for name, schema in properties.items()
        ]
        first = next((index for index, (_, name) in enumerate(members) if name in required), len(members))
        after = [self._more(text, name in required) for text, name in members]
        if first < len(members):
            before = [f'({text} ", ")?' for text, _ in members[:first]]
            return " ".join(['"{"', *before, members[first][0], *after[first + 1 :]])
        if not members:
            return '"{"'
        starts = [" ".join([text, *after[index + 1 :]]) for index, (text, _) in enumerate(members)]
        return f'"{{" ({" | ".join(starts)})?'

    def _more(self, member: str, needed: bool) -> str:
        return f'", " {member}' if needed else f'(", " {member})?'


def any_object(grammar: Grammar) -> str:
    """The name of a rule for any JSON object of a few members on a level."""
    text = grammar.value({"type": "string", "maxLength": _MOST})
    number = '"-"? ("0" | [1-9] [0-9]{0,8}) ("." [0-9]{1,6})?'
    rules = {
        "any": f'{text} | {number} | "true" | "false" | "null" | any-object | any-list',
        "any-object": f'"{{" ({text} ": " any (", " {text} ": " any){{0,{_MEMBERS}}})? "}}"',
        "any-list": f'"[" (any (", " any){{0,{_MEMBERS}}})? "]"',
    }
    grammar.add(rules)
    return "any-object"


def calls_of(constraint: Constraint, alike: Mapping[str, Sequence[str]], *, closed: bool = True) -> str:
    """An expression for one call, without what opens and closes it.

    Args:
        alike: an expression for arguments, and the names of the actions that take them. What calls have in common is
            said once: a runtime compiles every place of a literal.
        closed: False: the call's last brace is the caller's to write.
    """
    after = constraint.after_name or f'", {json.dumps(constraint.arguments_key)}: '

    def spelled(name: str) -> str:
        return literal(
            name + after if constraint.after_name else json.dumps(name, ensure_ascii=False)[1:-1] + after
        )

    calls = " | ".join(f"({' | '.join(map(spelled, names))}) {one}" for one, names in alike.items())
    if constraint.after_name:
        return f"({calls})"
    return literal('{"name": "') + f" ({calls})" + (' "}"' if closed else "")


def literal(text: str) -> str:
    """``text`` as it stands in a grammar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _alternatives(spellings: Iterable[Digits]) -> str:
    found = list(dict.fromkeys(_spelled(spelling) for spelling in spellings))
    if not found:
        raise Inexpressible("nothing satisfies it")
    return " | ".join(found)


def _spelled(spelling: Digits) -> str:
    return " ".join(place if place.startswith("[") else f'"{place}"' for place in spelling)


def _bounds(said: Mapping[str, Any], unit: Decimal) -> tuple[int, int]:
    """The least and the greatest value, in units."""

    def units(value: Any) -> Decimal:
        return Decimal(str(value)) / unit

    low, high = (
        math.ceil(units(said.get("minimum", -_GREATEST))),
        math.floor(units(said.get("maximum", _GREATEST))),
    )
    if "exclusiveMinimum" in said:
        above = math.floor(units(said["exclusiveMinimum"])) + 1
        low = max(low, above) if "minimum" in said else above
    if "exclusiveMaximum" in said:
        below = math.ceil(units(said["exclusiveMaximum"])) - 1
        high = min(high, below) if "maximum" in said else below
    return low, high


def _whole(low: int, high: int, least: int = 1, *, empty: bool = False) -> list[Digits]:
    """How the whole numbers from ``low`` to ``high`` are spelled, with at least so many digits.

    Raises:
        Inexpressible: there are none, and that is not ``empty``.
    """
    found: list[Digits] = []
    if low < 0:
        found += [["-", *spelling] for spelling in _range(max(1, -high), -low, least)]
    if high >= 0:
        found += _range(max(low, 0), high, least)
    if not found and not empty:
        raise Inexpressible("nothing satisfies it")
    return found


def _range(low: int, high: int, least: int) -> list[Digits]:
    found: list[Digits] = []
    while low <= high:
        # Numbers of one length have their digits compared in order.
        size = max(len(str(low)), least)
        end = min(high, 10**size - 1)
        found += _between(f"{low:0{size}}", f"{end:0{size}}")
        low = end + 1
    return found


def _between(low: str, high: str) -> list[Digits]:
    if not low:
        return [[]]
    if low == high:
        return [list(low)]
    rest = len(low) - 1
    if low[0] == high[0]:
        return [[low[0], *more] for more in _between(low[1:], high[1:])]
    from_, to = int(low[0]), int(high[0])
    found: list[Digits] = []
    if set(low[1:]) - {"0"}:
        found += [[low[0], *more] for more in _between(low[1:], "9" * rest)]
        from_ += 1
    tail: list[Digits] = []
    if set(high[1:]) - {"9"}:
        tail = [[high[0], *more] for more in _between("0" * rest, high[1:])]
        to -= 1
    if from_ <= to:
        found.append([_class(from_, to), *["[0-9]"] * rest])
    return found + tail


def _class(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"
