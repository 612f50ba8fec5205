# SPDX-License-Identifier: Apache-2.0
"""Tools to offer: invented over and over from a list of deeds, in many spellings, with the lines that call for them.

One deed a line in data/deeds.txt: names | description | parameters | lines. A parameter is `key:kind:description`;
kinds are those of `Lexicon.slot`, `n` (an integer), `a/b/c` (one of these) and `?phrase` (true if the line says the
phrase). A `*` before the key: optional.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import toolbook
from lexicon import NOUN, SCENERY, Lexicon
from toolbook import Deed, Line, Param

TABLE = Path(__file__).parent / "data" / "deeds.txt"

RENAMES = {
    "sc": ["target", "object", "thing", "what"],
    "i": ["item", "object", "thing", "what"],
    "p": ["name", "who", "person", "target"],
    "pl": ["place", "where", "location", "destination"],
    "n": ["count", "amount", "number"],
}
ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SLOT_OF = {"ACT": "act"}


def _parse() -> list[Deed]:
    deeds: list[Deed] = []
    for row in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        names, description, params, lines = (x.strip() for x in row.split("|"))
        made: list[Param] = []
        for p in filter(None, params.split(";")):
            keys, kind, about = p.split(":")
            made.append(Param(keys.lstrip("*").split(","), kind, about, keys.startswith("*")))
        deeds.append(Deed(names.split(","), description, made, [Line(x) for x in lines.split(" / ")]))
    return deeds


SHORT = _parse()
WRITTEN = toolbook.read()[0]


def spell(n: int) -> str:
    """A number below a thousand in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    rest = n % 100
    return f"{ONES[n // 100]} hundred" + (f" and {spell(rest)}" if rest else "")


@dataclass
class Tool:
    """A tool as it is offered, and how to ask for it."""

    deed: Deed
    schema: dict[str, object]
    keys: list[str]
    enums: list[list[str]]
    verb: str = ""

    @property
    def name(self) -> str:
        return str(self.schema["name"])


def respell(rng: random.Random, name: str) -> str:
    if rng.random() < 0.14 and "_" in name:
        a, *rest = name.split("_")
        return a + "".join(w.capitalize() for w in rest)
    return name


def invent(lex: Lexicon, deed: Deed | None = None) -> Tool:
    """A tool with its own name, keys, wording and enum; a share of them with words that mean nothing."""
    rng = lex.rng
    if deed is None and rng.random() < 0.16:
        deed = strange(lex)
    deed = deed or rng.choice(WRITTEN if WRITTEN and rng.random() < 0.8 else SHORT)
    name = deed.names[0] if rng.random() < 0.4 else rng.choice(deed.names)
    verb = name.split("_")[0]
    if rng.random() < 0.12 and "_" not in name and deed.params:
        name += "_" + rng.choice(deed.params[0].keys)
    properties: dict[str, object] = {}
    keys: list[str] = []
    required: list[str] = []
    enums: list[list[str]] = []
    bare = rng.random() < 0.15
    for p in deed.params:
        options = [
            k for k in p.keys + (RENAMES.get(p.kind, []) if rng.random() < 0.3 else []) if k not in keys
        ]
        options = options or [f"{p.keys[0]}_{len(keys) + 1}"]
        key = options[0] if rng.random() < 0.4 else rng.choice(options)
        spec: dict[str, object] = {
            "type": "integer"
            if p.kind in ("n", "n12")
            else "boolean"
            if p.kind.startswith("?") or p.kind == "bool"
            else "string"
        }
        choices: list[str] = []
        about = {} if bare else {"description": p.about}
        if "/" in p.kind and p.kind[0] != "(" and any(line.implied for line in deed.lines):
            choices = rng.sample(p.kind.split("/"), p.kind.count("/") + 1)
            spec |= ({"enum": choices} | about) if rng.random() < 0.5 else (about | {"enum": choices})
        elif "/" in p.kind and p.kind[0] != "(":
            pool = p.kind.split("/")
            choices = rng.sample(pool, min(len(pool), rng.randint(2, 5)))
            if rng.random() < 0.3 and len(pool) > 2:
                choices = [lex.word() if rng.random() < 0.5 else c for c in choices]
            spec |= ({"enum": choices} | about) if rng.random() < 0.5 else (about | {"enum": choices})
        else:
            spec |= about
        least = (
            min((int(str(x.implied.get(len(keys), 1))) for x in deed.lines), default=1)
            if p.kind == "n"
            else 0
        )
        if least >= 1 and rng.random() < 0.2:
            spec |= {"minimum": 1} | ({"maximum": 1000} if rng.random() < 0.5 else {})
        elif spec["type"] == "string" and not choices and rng.random() < 0.08:
            spec["maxLength"] = rng.choice([60, 80, 100])
        if p.optional and spec["type"] == "boolean" and rng.random() < 0.3:
            spec["default"] = False
        properties[key] = spec
        keys.append(key)
        enums.append(choices)
        if not p.optional:
            required.append(key)
    description = deed.description.format(
        a=rng.choice(["a gate", "a door", "something", "a gate or door"]), A=verb.capitalize()
    )
    schema: dict[str, object] = {"name": respell(rng, name), "description": description}
    parameters: dict[str, object] = {"type": "object", "properties": properties}
    if required or rng.random() < 0.5:
        parameters["required"] = required
    schema["parameters"] = parameters
    return Tool(deed, schema, keys, enums, verb)


def strange(lex: Lexicon) -> Deed:
    """A deed with an invented verb: only the words of the line tell that it is meant."""
    verb = lex.keep(lex.word)
    noun = lex.rng.choice([lex.keep(lex.word), lex.c(NOUN), lex.c(SCENERY)])
    kind = lex.rng.choice(["sc", "i", "p", "pl", "n", "col"])
    key = lex.rng.choice([noun, *RENAMES.get(kind, ["value"])])
    the = "the " if kind in ("i", "sc") else ""
    lines = {
        "n": f"{verb} {{0}} {noun}s / {verb} the {noun} {{0}} times / can you {verb} {{0}} {noun}s",
        "col": f"{verb} the {noun} {{0}} / can you {verb} the {noun} in {{0}}",
    }.get(
        kind,
        f"{verb} {the}{{0}} / please {verb} {the}{{0}} / can you {verb} {the}{{0}} / {verb} {the}{{0}} now",
    )
    return Deed(
        [f"{verb}_{noun}", verb, f"{verb}_{noun}"],
        lex.rng.choice([f"{verb.capitalize()} a {noun}.", f"{verb.capitalize()} something."]),
        [Param([key], kind, f"what to {verb}", False)],
        [Line(x) for x in lines.split(" / ")],
    )


def bare(value: str) -> str:
    return value[4:] if value.startswith("the ") else value


@dataclass
class Request:
    line: str
    arguments: dict[str, object]
    nearby: list[str]
    """Things that have to be near for this to make sense; the game lists them in `Now:`."""


def request(lex: Lexicon, tool: Tool, near: list[str]) -> Request:
    """A line that asks for the tool, and the arguments it means. `near`: what the game says is there."""
    rng = lex.rng
    asked = rng.choice(tool.deed.lines)
    line = asked.text
    words: list[str] = []
    arguments: dict[str, object] = {}
    nearby: list[str] = []
    for k, (p, key, choices) in enumerate(zip(tool.deed.params, tool.keys, tool.enums, strict=True)):
        if k in asked.implied:
            value = arguments[key] = asked.implied[k]
            words.append("")
            if p.kind in ("sc", "p", "cr") and str(value) not in near:
                nearby.append(str(value))
            continue
        if p.kind == "bool" or (p.optional and f"{{{k}}}" not in line and not p.kind.startswith("?")):
            words.append("")
            continue
        if p.kind.startswith("?"):
            phrase = re.search(r"\[(.*?)\]", line)
            said = rng.random() < 0.5
            if said:
                arguments[key] = True
            elif not p.optional:
                arguments[key] = False
            line = re.sub(r"\[.*?\]", phrase[1] if said and phrase else "", line)
            words.append("")
            continue
        if p.kind in ("n", "n12"):
            n = rng.randint(1, 12) if p.kind == "n12" or rng.random() < 0.45 else int(lex.number())
            n = max(2, n)
            words.append(spell(n) if rng.random() < (0.3 if n <= 20 else 0.12) else str(n))
            arguments[key] = n
            continue
        if choices or p.kind[0] == "(":
            value = rng.choice(choices or [x.strip() for x in p.kind.strip("()").split(";")])
            words.append(value)
        elif p.kind == "ACT":
            from facts import ACT, Filler

            value = Filler(lex).fill(rng.choice(ACT))
            words.append(value)
        else:
            value = bare(lex.slot(p.kind))
            if p.kind in ("sc", "p", "cr", "i") and near and rng.random() < 0.6:
                value = rng.choice(near)
            elif p.kind in ("sc", "cr") or (p.kind == "p" and rng.random() < 0.5):
                nearby.append(value)
            shown = value
            if (
                p.kind == "sc"
                and rng.random() < 0.2
                and " " in value
                and not any(v != value and v.endswith(value.split()[-1]) for v in near)
            ):
                shown = value.split()[-1]
                if value not in near and value not in nearby:
                    nearby.append(value)
            elif p.kind == "pl" and value[0].islower():
                shown = "the " + value
            words.append(shown)
        arguments[key] = value
    line = re.sub(r"\{v\}", tool.verb, line)
    line = re.sub(r"\{(\d)\}", lambda m: words[int(m[1])], line)
    line = re.sub(r"\[.*?\]", "", line).replace("the the ", "the ").replace("the Old ", "Old ")
    return Request(line, arguments, nearby)


if __name__ == "__main__":
    print("\n".join(toolbook.read()[1]))
    print(len(WRITTEN), "tools,", sum(len(d.lines) for d in WRITTEN), "lines")
