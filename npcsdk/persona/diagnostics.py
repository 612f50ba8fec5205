"""The mistakes that a designer can make, and how each is shown.

`CATALOGUE` has one row for every code: its severity, the template of its message and a hint. A code is never
reused for something else. A `Diagnostic` renders as

    personas/mara.yaml:7:3 NPC030 `manor` is not a key of a persona
      manor: gruff
      ^^^^^
      Did you mean `manner`?
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

__all__ = ["CATALOGUE", "Diagnostic", "Kind", "Severity", "diagnose", "did_you_mean"]

Severity: TypeAlias = Literal["error", "warning"]

_WIDEST_LINE: Final = 100
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the catalogue; ``message`` and ``hint`` are `str.format` templates."""

    code: str
    severity: Severity
    message: str
    hint: str


def _rows() -> Iterable[Kind]:
    def error(number: int, message: str, hint: str) -> Kind:
        return Kind(f"NPC{number:03}", "error", message, hint)

    def warning(number: int, message: str, hint: str) -> Kind:
        return Kind(f"NPC{number:03}", "warning", message, hint)

    # 001-019: the text of a file.
    yield error(1, "this is not YAML: {problem}", "Check the quotes, brackets and indentation here.")
    yield error(
        2, "a tab stands where YAML wants spaces", "Indent with spaces; most editors can convert tabs."
    )
    yield error(3, "the file is not UTF-8: byte 0x{byte:02X} here", "Save the file as UTF-8 in your editor.")
    yield error(
        4,
        "the character U+{character:04X} is not allowed here",
        "Remove it; your editor may not show it.",
    )
    yield error(5, "`{key}` is given twice", "It was first given on line {first}; keep one of them.")
    yield error(
        6,
        "`{text}`: anchors and aliases are not used here",
        "Write the value out, or put the text in quotes.",
    )
    yield error(7, "`{text}`: tags are not used here", "Leave the tag out, or put the text in quotes.")
    yield error(
        8, "nested more than {limit} deep", "Nothing in these files is that deep; check the brackets."
    )
    yield error(
        9, "the file is larger than {limit:,} bytes", "Move long texts to lore files, or split the file."
    )
    yield error(10, "a second document begins here", "Keep one document in a file; remove the line `---`.")
    yield error(11, "this should be a list of `key: value` lines", "Begin with `name: ...`.")
    yield error(
        12, "a key must be plain text", "Write `key: value`, and put text that has brackets in quotes."
    )
    yield error(13, "the front matter is never closed", "End it with a line `---`.")
    # 020-029: the folder.
    yield error(
        20, "there is no `world.yaml` in this folder", "`npcsdk init DIR` makes a world to start from."
    )
    yield error(21, "this world has no personas", "Put a persona next to world.yaml, such as `mara.yaml`.")
    yield error(
        22, "the persona `{id}` exists twice", "The other one is {other}; give one of them another `id:`."
    )
    yield error(23, "this cannot be read: {problem}", "Check the path and who may read it.")
    yield error(
        24, "this is not a file of a world", "A world has `*.yaml` files, and `*.md` files in `lore/`."
    )
    # 030-039: keys and values.
    yield error(30, "`{key}` is not a key of {owner}", "The keys are: {known}.")
    yield error(31, "`{key}` is missing in {owner}", "Add a line `{key}: ...`.")
    yield error(32, "{label} should be {wanted}, not {found}", "")
    yield error(33, "{label} {problem}", "")
    yield error(34, "{label} has no value", "Write a value, or remove the line.")
    yield error(
        35, "`{text}` cannot be used as a name here", "Use letters, digits and `_`, and begin with a letter."
    )
    # 040-049: what belongs together.
    yield error(40, "there is no action `{name}` in world.yaml", "The actions are: {known}.")
    yield error(
        41,
        "this condition cannot be read: {problem}",
        'A condition looks like: trust >= 60 and quest.mine == "done"',
    )
    yield error(42, "{problem}", "")
    yield error(43, "there is nobody called `{name}` here", "The ids are: {known}.")
    yield error(44, "there is a {other} `{name}` already", "Give this group another id.")
    # 050-059: what is probably not meant.
    yield warning(
        50,
        "nothing in this world sets `{name}`",
        "If the game sends it, name it under `state:` in world.yaml.",
    )
    yield warning(51, "there is no persona `{name}`", "")
    yield warning(52, "no lore file has the tag `{tag}`", "The tags are: {known}.")
    yield warning(53, "nobody knows the tag `{tag}`", "Add it to the `knows:` of a persona.")
    yield warning(54, "this lore file says nothing", "Write a paragraph, or remove the file.")
    yield warning(
        55, "two personas are called {name}", "The other one is {other}; players cannot tell them apart."
    )
    yield warning(
        56,
        "this persona takes about {tokens} tokens of every prompt",
        "Move what is seldom needed to lore files; under {limit} is a good size.",
    )


CATALOGUE: Final[Mapping[str, Kind]] = MappingProxyType({kind.code: kind for kind in _rows()})


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake. Line and column count from 1, in code points; line 0 = the whole file."""

    code: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    length: int = 1
    hint: str = ""
    source_line: str = ""

    @property
    def severity(self) -> Severity:
        """An error keeps the world from loading; a warning does not."""
        return CATALOGUE[self.code].severity

    def render(self) -> str:
        """The mistake as designers see it: where and what, the line, a caret under it, and a hint."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        warning = "warning: " if self.severity == "warning" else ""
        lines = [f"{place} {self.code} {warning}{self.message}"]
        if self.line and self.source_line.strip():
            lines.extend(_with_caret(self.source_line, self.column, self.length))
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


def diagnose(
    code: str,
    file: str,
    *,
    line: int = 0,
    column: int = 0,
    length: int = 1,
    source_line: str = "",
    hint: str | None = None,
    **values: Any,
) -> Diagnostic:
    """A diagnostic of the catalogue's kind ``code``, its templates filled from ``values``."""
    kind = CATALOGUE[code]
    return Diagnostic(
        code=code,
        message=kind.message.format(**values),
        file=file,
        line=line,
        column=column,
        length=max(1, length),
        hint=kind.hint.format(**values) if hint is None else hint,
        source_line=source_line,
    )


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of ``known``, or None when nothing is near."""
    names = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(wrong.casefold()[:80], names, n=1, cutoff=0.6)
    return f"Did you mean `{names[near[0]]}`?" if near else None


def _with_caret(source: str, column: int, length: int) -> tuple[str, str]:
    # What is shown in a terminal must not be able to control it.
    source = _CONTROL.sub("\ufffd", source)
    start, end = column - 1, column - 1 + length
    begin = 0
    if len(source) > _WIDEST_LINE:
        begin = max(0, min(start - 30, len(source) - _WIDEST_LINE))
    else:
        # The indentation of a file says nothing here, and a tab has no width that we know.
        begin = len(source) - len(source.lstrip()) if start >= len(source) - len(source.lstrip()) else 0
    shown = source[begin : begin + _WIDEST_LINE].rstrip()
    left = "..." if begin and source[:begin].strip() else ""
    right = "..." if len(source.rstrip()) > begin + _WIDEST_LINE else ""
    end = min(end, max(start + 1, begin + len(shown)))
    blank = "".join("\t" if char == "\t" else " " * _width(char) for char in source[begin:start])
    caret = "^" * max(1, sum(_width(char) for char in source[start:end]))
    return f"  {left}{shown}{right}", f"  {' ' * len(left)}{blank}{caret}"


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
