"""Read a call that a model misspelled, where what it meant is clear. Pure.

Runtimes that hold a model to a constraint never need this. For the others there are two steps: `repair_body` reads
text that is nearly JSON, and `repair_call` fits a name and arguments to what is offered. Both refuse, rather than
guess, when more than one meaning is possible; what they return is checked like any other call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NoReturn, cast

from npcsdk.actions.formats.base import Call, MalformedCall, ToolFormat, compact_json, read_json

__all__ = ["repair_body", "repair_call"]

_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[A-Za-z]+")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?(?=[\s,}\]]|\Z)")
_WORDS: Final[dict[str, Any]] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None,
}  # fmt: skip
_DEEPEST: Final = 16
_LONGEST: Final = 20_000
_ARTICLE: Final = re.compile(r"\A(?:the|an?) ")
_LETTERS_ENOUGH: Final = 5
"""Shorter words differ in one letter too often by intention."""


def repair_body(body: str, tool_format: ToolFormat, *, ended: bool = False) -> list[Call]:
    """The calls in text that is nearly JSON.

    Taken as meant: a trailing comma, single quotes, ``True``/``False``/``None``, arguments beside the name, arguments
    as a string of JSON, a call under ``function``.

    Args:
        ended: the model ended its reply here of its own will, so that closing braces at the end may be missing.

    Raises:
        MalformedCall: it is not clear what was meant.
    """
    name, text = tool_format.named(body)
    value = tool_format.with_name(name, _Reader(text, ended).read())
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    # Through the strict reader again: whatever it refuses (greater numbers, repeated keys) stays refused.
    return list(tool_format.read_calls(read_json(compact_json([_straightened(item) for item in items]))))


def _straightened(item: Any) -> Any:
    """One call with its arguments where they belong."""
    if not isinstance(item, dict):
        return item
    fields = dict(cast("dict[str, Any]", item))
    inner = fields.get("function")
    if "name" not in fields and isinstance(inner, dict):
        fields = dict(cast("dict[str, Any]", inner))
    key = next((key for key in ("arguments", "parameters") if key in fields), None)
    if key is None:
        beside = {name: value for name, value in fields.items() if name not in ("name", "type", "id")}
        return {"name": fields.get("name"), "arguments": beside}
    if isinstance(fields[key], str):
        fields[key] = _Reader(fields[key], False).read()
    return fields


class _Reader:
    """Reads nearly-JSON. Every liberty that it takes has one meaning only."""

    def __init__(self, text: str, ended: bool) -> None:
        if len(text) > _LONGEST:
            raise MalformedCall("too long to repair")
        self._text = text
        self._at = 0
        self._ended = ended

    def read(self) -> Any:
        value = self._value(_DEEPEST)
        self._skip()
        if self._at < len(self._text):
            self._unclear()
        return value

    def _unclear(self) -> NoReturn:
        raise MalformedCall(f"not JSON, and what it means is not clear at character {self._at}")

    def _skip(self) -> str:
        """The next character that is not white space; "" at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _value(self, levels: int) -> Any:
        character = self._skip()
        if not levels:
            self._unclear()
        if character == "{":
            return self._object(levels - 1)
        if character == "[":
            return self._list(levels - 1)
        if character and character in "\"'":
            return self._string(character)
        for pattern, read in ((_NUMBER, read_json), (_WORD, self._word)):
            found = pattern.match(self._text, self._at)
            if found is not None:
                # A number at the very end may have lost its last digits.
                if found.end() == len(self._text):
                    self._unclear()
                self._at = found.end()
                return read(found[0])
        self._unclear()

    def _word(self, word: str) -> Any:
        if word not in _WORDS:
            self._unclear()
        return _WORDS[word]

    def _more(self, closing: str, first: bool) -> bool:
        """Whether another item follows; passes over a comma, also a trailing one."""
        character = self._skip()
        if not first:
            if character == ",":
                self._at += 1
                character = self._skip()
                if not character:
                    self._unclear()
            elif character and character != closing:
                self._unclear()
        if character == closing:
            self._at += 1
            return False
        if not character:
            if not self._ended or first:
                self._unclear()
            return False
        return True

    def _object(self, levels: int) -> dict[str, Any]:
        self._at += 1
        made: dict[str, Any] = {}
        while self._more("}", not made):
            quote = self._skip()
            if quote not in ('"', "'"):
                self._unclear()
            key = self._string(quote)
            if self._skip() != ":" or key in made:
                self._unclear()
            self._at += 1
            made[key] = self._value(levels)
        return made

    def _list(self, levels: int) -> list[Any]:
        self._at += 1
        made: list[Any] = []
        while self._more("]", not made):
            made.append(self._value(levels))
        return made

    def _string(self, quote: str) -> str:
        begin = self._at + 1
        at = begin
        while True:
            at = self._text.find(quote, at)
            if at < 0:
                self._unclear()
            backslashes = at - len(self._text[:at].rstrip("\\"))
            # An apostrophe inside of a word ends nothing.
            inside = quote == "'" and self._text[at - 1].isalnum() and self._text[at + 1 : at + 2].isalnum()
            if backslashes % 2 or inside:
                at += 1
                continue
            break
        raw = self._text[begin:at]
        self._at = at + 1
        if quote == "'":
            raw = raw.replace("\\'", "'")
            raw = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', raw)
        value = read_json(f'"{raw}"')
        return cast(str, value)


def repair_call(call: Call, offered: Mapping[str, Mapping[str, Any]], withheld: Collection[str] = ()) -> Call:
    """The call with its name and arguments as they are offered, where one meaning is clear; otherwise unchanged.

    Args:
        offered: the JSON Schema of each action's arguments, by name.
        withheld: names that exist but are not offered now: a call that may mean one of them means nothing else.
    """
    if call.name in offered:
        name = call.name
    else:
        meant = _meant(call.name, [*offered, *withheld])
        if meant is None or meant not in offered:
            return call
        name = meant
    return Call(name, _object_fitted(call.arguments, offered[name]))


def _meant(text: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``text`` means: the same but for case, article and separators, or for one letter."""
    names = list(names)
    if text in names:
        return text
    plain = _plain(text)
    same = [name for name in names if _plain(name) == plain]
    if same:
        return same[0] if len(same) == 1 else None
    if len(plain) < _LETTERS_ENOUGH:
        return None
    near = [name for name in names if len(name) >= _LETTERS_ENOUGH and _one_letter(plain, _plain(name))]
    return near[0] if len(near) == 1 else None


def _plain(text: str) -> str:
    words = re.sub(r"[\s_\-.]+", " ", text.strip().strip("\"'").casefold())
    return _ARTICLE.sub("", words, count=1).replace(" ", "")


def _one_letter(a: str, b: str) -> bool:
    """Whether one letter was left out, added, changed, or two neighbours swapped. A digit is never a slip."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    left, right = a[start : len(a) - end], b[start : len(b) - end]
    if not (left + right).isalpha():
        return False
    return max(len(left), len(right)) == 1 or (len(left) == 2 and left == right[::-1])


def _object_fitted(given: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    required = cast("Collection[str]", schema.get("required", ()))
    missing = [name for name in properties if name not in given]
    fitted: dict[str, Any] = {}
    for key, value in given.items():
        name = key if key in properties else (_meant(key, missing) or key)
        if name in fitted or (name != key and name in given):
            return {**given}  # two arguments for one parameter
        if (
            value is None
            and name in properties
            and name not in required
            and not _takes_null(properties[name])
        ):
            continue
        fitted[name] = _fitted(value, properties[name]) if name in properties else value
    return fitted


def _takes_null(schema: Mapping[str, Any]) -> bool:
    return "null" in str(schema.get("type", "")) or any(
        option.get("type") == "null" for option in cast("list[Mapping[str, Any]]", schema.get("anyOf", []))
    )


def _fitted(value: Any, schema: Mapping[str, Any]) -> Any:
    """``value`` in the type that ``schema`` asks for, where it is the same value."""
    options = cast("list[Mapping[str, Any]]", schema.get("anyOf", []))
    real = [option for option in options if option.get("type") != "null"]
    if len(real) == 1:
        schema = real[0]
    kind = schema.get("type")
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return _object_fitted(fields, schema) if kind == "object" else fields
    if isinstance(value, list):
        items = schema.get("items")
        if kind != "array" or not isinstance(items, Mapping):
            return cast("list[Any]", value)
        wanted = cast("Mapping[str, Any]", items)
        return [_fitted(item, wanted) for item in cast("list[Any]", value)]
    values = schema.get("enum")
    if isinstance(values, list | tuple):
        return _of_enum(value, cast("Collection[Any]", values))
    convert = _CONVERT.get(str(kind))
    return convert(value) if convert else value


def _of_enum(value: Any, values: Collection[Any]) -> Any:
    if value in values:
        return value
    if isinstance(value, str):
        texts = [item for item in values if isinstance(item, str)]
        meant = _meant(value, texts)
        if meant is not None:
            return meant
    spelled = [item for item in values if not isinstance(item, str) or not isinstance(value, str)]
    same = [item for item in spelled if compact_json(item).strip('"') == str(value).strip()]
    return same[0] if len(same) == 1 else value


def _number(value: Any) -> Any:
    text = value.strip() if isinstance(value, str) else ""
    return read_json(text) if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?", text) else value


def _integer(value: Any) -> Any:
    number = _number(value)
    return value if isinstance(number, float) and not number.is_integer() else number


def _switch(value: Any) -> Any:
    return (
        {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value
    )


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _switch,
    "string": _text,
}
