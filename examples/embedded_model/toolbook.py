# SPDX-License-Identifier: Apache-2.0
"""The hand-written tools (toolbook/*.txt): what a character of any game may be asked to do, and how people ask for it.

A block is one deed. Its first line holds the names, its second the description; then come the parameters
(`[*] key, other key: kind: description`, `*` for an optional one), the lines that ask for it (`- line => key=value`;
what stands behind the arrow is what the words imply), and lines on the same matter that need no call (`! line / line`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "toolbook"
SLOTS = {
    "i",
    "p",
    "t",
    "pl",
    "sc",
    "cr",
    "d",
    "food",
    "drink",
    "col",
    "day",
    "prof",
    "f",
    "W",
    "w",
    "pr",
    "n",
    "n12",
    "ACT",
}
PLACE = re.compile(r"\{([a-zA-Z_][a-zA-Z_0-9]*)\}")


@dataclass(frozen=True)
class Param:
    """`kind`: a slot of `Lexicon.slot`, `n`, `n12`, `bool`, `a/b/c` (one of these), `(a; b; c)` (such as these) or
    `?phrase` (true if the line says the phrase)."""

    keys: list[str]
    kind: str
    about: str
    optional: bool


@dataclass(frozen=True)
class Line:
    """What a player says; `{0}` stands for the first parameter's value, `implied` holds values that the words imply."""

    text: str
    implied: dict[int, object] = field(default_factory=dict[int, object])


@dataclass(frozen=True)
class Deed:
    names: list[str]
    description: str
    params: list[Param]
    lines: list[Line]
    chat: list[str] = field(default_factory=list[str])


class ToolbookError(ValueError):
    """A block that does not follow the format."""


def _implied(params: list[Param], text: str) -> dict[int, object]:
    """The values behind the arrow, typed as their parameters are."""
    first = [p.keys[0] for p in params]
    out: dict[int, object] = {}
    # A comma may be part of a value: only one that is followed by `key=` separates.
    for pair in re.split(r",\s*(?=\w+\s*=)", text):
        key, equals, value = (x.strip() for x in pair.partition("="))
        if not equals or key not in first:
            raise ToolbookError(f"{pair!r} names no parameter")
        k = first.index(key)
        kind = params[k].kind
        if kind in ("n", "n12"):
            out[k] = int(value)
        elif kind == "bool":
            if value not in ("true", "false"):
                raise ToolbookError(f"{pair!r}: true or false")
            out[k] = value == "true"
        else:
            if "/" in kind and value not in kind.split("/"):
                raise ToolbookError(f"{pair!r} is none of {kind}")
            out[k] = value.strip('"')
    return out


def _line(params: list[Param], row: str) -> Line:
    text, _, behind = row.partition("=>")
    implied = _implied(params, behind.strip()) if behind.strip() else {}
    first = [p.keys[0] for p in params]
    used: set[int] = set()

    def index(m: re.Match[str]) -> str:
        if m[1] not in first:
            raise ToolbookError(f"{row!r}: no parameter {m[1]!r}")
        used.add(first.index(m[1]))
        return "{" + str(first.index(m[1])) + "}"

    text = PLACE.sub(index, text.strip())
    for k, p in enumerate(params):
        if k in used and (k in implied or p.kind == "bool"):
            raise ToolbookError(f"{row!r}: {p.keys[0]} stands in the line, so it cannot be implied too")
        if not p.optional and k not in used and k not in implied:
            raise ToolbookError(f"{row!r}: nothing says {p.keys[0]}")
    return Line(text, implied)


def parse(chunk: str) -> Deed:
    """One block."""
    rows = [r.strip() for r in chunk.splitlines() if r.strip() and not r.startswith("#")]
    if len(rows) < 3 or not rows[0].startswith("@"):
        raise ToolbookError("a block is `@ names`, a description and its lines")
    params: list[Param] = []
    lines: list[Line] = []
    chat: list[str] = []
    for row in rows[2:]:
        if row.startswith("- "):
            lines.append(_line(params, row[2:]))
        elif row.startswith("! "):
            chat += [x.strip() for x in row[2:].split(" / ")]
        else:
            optional = row.startswith("*")
            keys, _, rest = row.lstrip("* ").partition(":")
            kind, colon, about = (x.strip() for x in rest.partition(":"))
            if not colon:
                raise ToolbookError(f"{row!r}: `key: kind: description`")
            if kind not in SLOTS and kind != "bool" and "/" not in kind and kind[:1] != "(":
                raise ToolbookError(f"{row!r}: no kind {kind!r}")
            params.append(Param([k.strip() for k in keys.split(",")], kind, about, optional))
    if not lines:
        raise ToolbookError("no line asks for it")
    names = [n.strip() for n in rows[0][1:].split(",") if n.strip()]
    for n in names:
        if not re.fullmatch(r"[A-Za-z]\w*", n):
            raise ToolbookError(f"{n!r} is no name for a tool")
    return Deed(names, rows[1], params, lines, chat)


def read() -> tuple[list[Deed], list[str]]:
    """All deeds that can be read, and what is wrong with the others."""
    deeds: list[Deed] = []
    problems: list[str] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for chunk in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            if not [r for r in chunk.splitlines() if r.strip() and not r.startswith("#")]:
                continue
            try:
                deeds.append(parse(chunk))
            except ValueError as e:
                problems.append(f"{path.name}: {chunk.strip().splitlines()[0]}: {e}")
    return deeds, problems


if __name__ == "__main__":
    found, wrong = read()
    print("\n".join(wrong))
    print(len(found), "tools,", sum(len(d.lines) for d in found), "lines")
