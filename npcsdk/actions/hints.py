"""What a player's words already say of a call, for a model that is too small to read it out of them. Pure.

A draft is the call as the model would write it, with ``?`` for what the words leave open: the model copies, and fills
in. It is a hint in the prompt and nothing more; what is legal is the constraint's matter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from npcsdk.actions.quantities import numbers
from npcsdk.actions.words import content_words, named

__all__ = ["draft", "narrowed"]

_OPEN: Final = "?"
_PLAIN: Final = r"^[^{}<>]{1,60}$"
_MOST_CHOICES = 6
_MOST_LEFT = 3
_ASKING_WORDS: Final = """
want wants need needs like get got give gives take make put set go come look find try could please pls plz quick
quickly hurry deal trade let lets let's now today tonight just some any more good fine ok okay thanks friend sir madam
miss master lord lady boy kid man chum mate buddy about against over again back i'd i'll i'm i've
"""
_ASKING: Final = frozenset(_ASKING_WORDS.split())
_MOST_READ = 1000
"""Characters of a line; who writes more asks for nothing that is simple."""
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NEGATIONS: Final = """
no not without off none never skip minus neither nor cannot don't won't isn't needn't don’t won’t isn’t dont wont isnt
"""
_NOT: Final = frozenset(_NEGATIONS.split())
_BEFORE, _AFTER = 3, 2
"""Words around the one that names a switch, in which a negation belongs to it: "no need to heat it", "lights off"."""
_SAYS_NOTHING: Final = frozenset(content_words("whether if true false yes want wants wish wishes"))
_CAPITAL: Final = r"[^\W\d_a-z][^\W_]*"
_JOINED: Final = r"(?:(?:(?<=Mr)|(?<=Ms)|(?<=Dr)|(?<=Mrs))\. | of | of the | the | de | von | van | )"
_NAME: Final = re.compile(rf"(?<![\w'’-]){_CAPITAL}(?:[-'’](?!s\b)[^\W_]+|{_JOINED}{_CAPITAL})*")
_TITLE_WORDS: Final = """
mr mrs ms miss dr sir lady lord old young captain master mistress mother father brother sister uncle aunt auntie judge
professor major sergeant saint new
"""
_TITLES: Final = frozenset(_TITLE_WORDS.split())


def narrowed(schema: Mapping[str, Any], line: str) -> Mapping[str, Any]:
    """Choices and numbers that the line names go before those that it does not; free strings hold plain words.

    A model that loses its place takes any choice, and writes on in a string what belongs behind it.
    """
    made = dict(schema)
    if "properties" in made:
        properties = cast("Mapping[str, Mapping[str, Any]]", made["properties"])
        required = made.get("required", ())
        made["properties"] = {
            name: _switch(name, item, line, name in required)
            if item.get("type") == "boolean"
            else narrowed(item, line)
            for name, item in properties.items()
        }
    elif made.get("type") == "string" and isinstance(made.get("enum"), list | tuple):
        values = cast("Sequence[Any]", made["enum"])
        made["enum"] = named(values, line) or list(values)
    elif made.get("type") == "array" and (listed := _listed(made, line)):
        made["const"] = listed
    elif made.get("type") == "string" and not made.keys() & {"enum", "const", "pattern", "format"}:
        made["pattern"] = _PLAIN
    elif made.get("type") == "integer" and not made.keys() & {"enum", "const"}:
        least, most = made.get("minimum", 0), made.get("maximum", math.inf)
        if said := [number for number in numbers(line) if least <= number <= most]:
            made["enum"] = list(dict.fromkeys(said))
    return made


def _listed(schema: Mapping[str, Any], line: str) -> list[Any]:
    """Of a list's choices those that the line names in full; nothing where they are too few or too many."""
    said = set(content_words(line))
    items = cast("Mapping[str, Any]", schema["items"] if isinstance(schema.get("items"), Mapping) else {})
    values = cast("Sequence[Any]", items.get("enum", ()))
    found = [value for value in values if said.issuperset(words := content_words(str(value))) and words]
    return found if schema.get("minItems", 1) <= len(found) <= schema.get("maxItems", math.inf) else []


def _switch(name: str, item: Mapping[str, Any], line: str, required: bool) -> Mapping[str, Any]:
    said = _known(name, item, line[:_MOST_READ], required)
    return item if said is None or "enum" in item else {**item, "enum": [said]}


def draft(name: str, schema: Mapping[str, Any], line: str, *, names: Collection[str] = ()) -> str:
    """The call of action ``name`` as far as ``line`` says it: ``{"name": "pour", "arguments": {"drink": ?}}``.

    Args:
        schema: its parameters this turn, choices and numbers already narrowed to what the line names.
        names: of those who speak; they are no argument.
    """
    line = line[:_MOST_READ]
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    required = schema.get("required", ())
    texts = [key for key, item in properties.items() if _is_text(item)]
    counted = [key for key, item in properties.items() if item.get("type") == "integer"]
    spare = len(numbers(line)) - len([key for key in counted if key in required])
    about = " ".join([name, *(str(properties[key].get("description", "")) for key in texts), *names])
    said = _names(line, about)
    people = dict(zip(texts, said, strict=True)) if len(said) == len(texts) else {}
    if not said and len(texts) == 1 and texts[0] in required:
        explained = " ".join([about, *_explaining(properties)])
        people = {texts[0]: left} if (left := _left_over(line, explained)) else {}
    parts: list[str] = []
    for key, item in properties.items():
        value = _known(key, item, line, key in required)
        if key in counted and key not in required:
            value, spare = (value, spare - 1) if spare > 0 else (None, spare)
        if value is None and key in texts:
            value = people.get(key)
        if value is not None:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
        elif key in required:
            parts.append(f"{json.dumps(key)}: {_open(item)}")
    return f'{{"name": {json.dumps(name)}, "arguments": {{{", ".join(parts)}}}}}'


def _is_text(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "string" and "enum" not in item and "const" not in item


def _known(key: str, item: Mapping[str, Any], line: str, required: bool) -> Any:
    """The value of a parameter that the line says, or None."""
    if item.get("type") == "boolean":
        about = [*content_words(str(item.get("description", "")))] if required else []
        value = _switched([content_words(key), [word for word in about if word not in _SAYS_NOTHING]], line)
        return _turned(line) if value is None and required else value
    if "const" in item:
        return item["const"]
    values = cast("Sequence[Any]", item.get("enum", ()))
    if item.get("type") == "string":
        values = values if len(values) == 1 else named(values, line)
    return values[0] if len(values) == 1 else None


def _switched(names: Sequence[Sequence[str]], line: str) -> bool | None:
    """Whether a line says yes or no to a switch, if it names it: by the first of ``names``, or else by the next."""
    spoken = _WORD.findall(line.casefold())
    stems = [" ".join(content_words(word)) for word in spoken]
    for wanted in names:
        for place, said in enumerate(stems):
            if said and any(said == word or (len(word) > 3 and said.endswith(word)) for word in wanted):
                around = spoken[max(place - _BEFORE, 0) : place + 1 + _AFTER]
                return not _NOT.intersection(around)
    return None


def _turned(line: str) -> bool | None:
    """Whether a line turns something on or off."""
    if re.search(r"\boff\b", line, re.IGNORECASE):
        return False
    return True if re.search(r"\bon\b(?=[^\w\s]|$)", line, re.IGNORECASE) else None


def _names(line: str, about: str) -> list[str]:
    """The proper names in a line, but for those that it is ``about`` anyway; none where their ends are not clear."""
    taken = set(content_words(about))
    names: list[str] = []
    for found in _NAME.finditer(line):
        name, before = found[0], line[: found.start()].rstrip(" \"'“‘(")
        words = content_words(name)
        if not words or taken.issuperset(words):
            continue
        if before.endswith(" of"):  # "the inn of Aggain"
            return []
        if not before or before[-1] in ".!?:":  # a capital letter says nothing here
            head, _, rest = name.partition(" ")
            if rest and head.casefold().rstrip(".") not in _TITLES:
                return []
            if not rest:
                continue
        names.append(name)
    return names


def _explaining(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for key, item in properties.items():
        yield key
        yield str(item.get("description", ""))
        yield from map(str, cast("Sequence[Any]", item.get("enum", ()))[:_MOST_CHOICES])


def _left_over(line: str, explained: str) -> str:
    """The one stretch of a line's words that nothing else ``explained``, or ""."""
    known = set(content_words(explained))
    runs: list[list[str]] = [[]]
    for word in _WORD.findall(line):
        stems = content_words(word)
        a_number = bool(numbers(word)) and (word.isalpha() or word[0].isdigit())
        if stems and word.casefold() not in _ASKING and not a_number and not known.issuperset(stems):
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    found = [run for run in runs if run]
    if len(found) != 1 or len(found[0]) > _MOST_LEFT:
        return ""
    return " ".join([word for word in found[0] if word[0].isupper()] or found[0])  # "Tom cheated"


def _open(item: Mapping[str, Any]) -> str:
    """``?``, with the values to choose from where they are few."""
    values = cast("Sequence[Any]", item.get("enum", ()))
    if not 1 < len(values) <= _MOST_CHOICES:
        return _OPEN
    return _OPEN + "|".join(str(value) for value in values)
