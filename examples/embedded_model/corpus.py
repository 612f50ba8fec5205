# SPDX-License-Identifier: Apache-2.0
"""The hand-written exchanges (corpus/*.txt): read, filled with names, and turned into conversations.

The format is described in the README beside this file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import facts as F
import manners
import occasions
import toolbox
import worlds
from lexicon import PROFESSION, Lexicon
from phrases import words
from render import Conversation, call
from skills import REACT, Talk, make_state, noise

FOLDER = Path(__file__).parent / "corpus"
KNOWN = set(words("SLOTS")) | {
    "p",
    "t",
    "pl",
    "i",
    "n",
    "nn",
    "pr",
    "d",
    "prof",
    "cr",
    "f",
    "col",
    "sc",
    "ev",
    "w",
    "W",
}
SAYS = {"role", "setting", "fact", "about", "style", "say", "goal", "relation", "refuses", "knows"}
CALL = re.compile(r"<<\s*([\w.-]+)\s*(.*?)\s*>>")
ARGUMENT = re.compile(r'([\w-]+)\s*=\s*("(?:[^"]*)"|[^\s>]+)')


@dataclass
class Step:
    contexts: list[str]
    lines: list[str]
    replies: list[str]
    after: list[tuple[str, list[str]]] = field(default_factory=list)
    """(the game's answer, what the character says then)"""


@dataclass
class Block:
    kind: str
    manner: str
    says: list[str]
    tools: list[str]
    steps: list[Step]
    where: str = ""


class CorpusError(ValueError):
    """A block that does not follow the format."""


def parse(text: str, where: str = "") -> list[Block]:
    blocks: list[Block] = []
    for chunk in re.split(r"\n\s*\n", text):
        rows = [r.strip() for r in chunk.splitlines() if r.strip() and not r.startswith("#")]
        if not rows:
            continue
        block = Block("", "any", [], [], [], where)
        contexts: list[str] = []
        awaiting: str | None = None
        for row in rows:
            mark, body = row[:2].strip(), row[2:].strip()
            match mark:
                case "@":
                    block.kind = body
                case "~":
                    block.manner = body
                case "S:":
                    block.says.append(body)
                case "T:":
                    json.loads(re.sub(r"\{[a-z]+\d?\}", "x", body))
                    block.tools.append(body)
                case "C:":
                    contexts.append(body)
                case "P:":
                    block.steps.append(Step(contexts, body.split(" / "), []))
                    contexts = []
                case "R:":
                    awaiting = body
                case "N:" if block.steps:
                    if awaiting is not None:
                        block.steps[-1].after.append((awaiting, body.split(" / ")))
                        awaiting = None
                    else:
                        block.steps[-1].replies += body.split(" / ")
                case _:
                    raise CorpusError(f"{where}: {row!r}")
        if block.kind == "character":
            loose = [s for s in block.says if s.partition(":")[0] not in SAYS]
            if loose or not any(s.startswith("role:") for s in block.says):
                raise CorpusError(f"{where}: a character has a role and no {loose}")
        unknown = {m[1] for m in re.finditer(r"\{([A-Za-z]+)\d?\}", chunk)} - KNOWN
        if unknown:
            raise CorpusError(f"{where}: unknown slots {sorted(unknown)}")
        if block.steps and all(s.replies for s in block.steps):
            blocks.append(block)
    return blocks


@cache
def book() -> list[Block]:
    """All blocks that can be read; a broken one is left out and reported by `problems`."""
    out: list[Block] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for chunk in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            try:
                out += parse(chunk, path.name)
            except ValueError:
                continue
    return out


def problems() -> list[str]:
    out: list[str] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for chunk in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            try:
                parse(chunk, path.name)
            except ValueError as e:
                out.append(f"{path.name}: {e}: {chunk.splitlines()[0] if chunk.splitlines() else ''}")
    return out


@cache
def cast() -> list[Block]:
    """The blocks that show a whole character; their steps stand in any order."""
    return [b for b in book() if b.kind == "character"]


@cache
def alone() -> dict[str, list[Block]]:
    """Blocks that need nothing said of the character, by manner: they can stand anywhere in a conversation."""
    out: dict[str, list[Block]] = {}
    for b in book():
        if not b.says and not b.tools and b.kind not in ("no_tool",):
            out.setdefault(manners.match(b.manner), []).append(b)
    return out


class Slots:
    def __init__(self, lex: Lexicon, given: dict[str, str]) -> None:
        self.filler = F.Filler(lex, given)

    def fill(self, text: str) -> str:
        out = self.filler.fill(text)
        out = re.sub(r"\b([Tt]he) the ", r"\1 ", out)
        out = re.sub(r"([.!?] )the ([A-Z])", r"\1The \2", out)
        return out

    def reply(self, text: str) -> str:
        def spelled(m: re.Match[str]) -> str:
            arguments: dict[str, object] = {}
            for key, raw in ARGUMENT.findall(m[2]):
                value = raw.strip('"')
                if raw.startswith('"'):
                    arguments[key] = toolbox.bare(self.filler.fill(value))
                else:
                    value = self.filler.fill(value)
                    arguments[key] = (
                        value == "true"
                        if value in ("true", "false")
                        else int(value)
                        if value.lstrip("-").isdigit()
                        else value
                    )
            return call(m[1], arguments)

        head, n = "", 0
        parts: list[str] = []
        for m in CALL.finditer(text):
            parts += [self.fill(text[n : m.start()]), spelled(m)]
            n = m.end()
        parts.append(self.fill(text[n:]))
        out = head + "".join(parts)
        return out if out.startswith("<") else F.upper(out)


def tool(text: str, slots: Slots) -> dict[str, object]:
    return json.loads(re.sub(r"\{([a-z]+\d?)\}", lambda m: slots.filler.fill("{" + m[1] + "}"), text))


def play(t: Talk, block: Block, slots: Slots, extra: bool = True) -> None:
    """Add the block's turns to the conversation."""
    r = t.rng
    steps = block.steps
    if block.kind == "character":
        steps = r.sample(steps, min(len(steps), r.randint(3, 7)))
    for step in steps:
        rows = [slots.fill(c) for c in step.contexts]
        if (
            extra
            and block.kind not in ("after_result",)
            and not any(c.startswith("Now:") for c in rows)
            and r.random() < 0.4
        ):
            more = noise(t)
            rows += more
            r.shuffle(rows)
        now = [c for c in rows if c.startswith("Now:")]
        rows = [c for c in rows if c not in now]
        line = slots.fill(r.choice(step.lines))
        known = block.kind not in ("unknown", "irrelevant")
        if line.startswith("["):
            t.conv.user(REACT, [*rows, *now, "Event: " + line.strip("[] ")])
        else:
            answer = slots.fill(step.replies[0]) if step.contexts and known else ""
            rows = t.ask(line, rows, answer, known=known, now=now or ([] if block.tools else None))
        if step.after:
            acting = [x for x in step.replies if x.rstrip().endswith(">>")] or step.replies
            t.conv.says(occasions.with_call(t, slots.reply(r.choice(acting))))
            for result, then in step.after:
                told = slots.fill(result)
                t.conv.result(told)
                t.conv.says(occasions.after(t, told, slots.reply(r.choice(then))))
            continue
        reply = slots.reply(r.choice(step.replies))
        acts = "<toolcall>" in reply
        t.conv.says(
            occasions.with_call(t, reply)
            if acts
            else occasions.answer(t, block.kind, line, reply, rows, known)
        )


def start(lex: Lexicon, tools: bool) -> tuple[Talk, Block]:
    """A character made for a hand-written block, and the conversation that begins with it."""
    r = lex.rng
    block = r.choice(cast() if cast() and r.random() < 0.45 else book())
    given = {"me": lex.person(), "player": lex.invented()}
    slots = Slots(lex, given)
    says = [s for s in block.says if s.startswith("role:")] or [
        "role: " + r.choice(["a", "the"]) + " " + lex.c(PROFESSION)
    ]
    slots.filler.values["myrole"] = "the " + lex.c(PROFESSION)
    given["myrole"] = slots.filler.values["myrole"] = slots.fill(says[0]).partition(":")[2].strip()
    says = [slots.fill(s) for s in [says[0], *(s for s in block.says if not s.startswith("role:"))]]
    me = worlds.make_persona(
        lex,
        0.0 if block.kind == "character" else r.random() * 0.7,
        block.manner,
        [*says, f"name: {given['me']}"],
    )
    conv = Conversation(me.system)
    t = Talk(lex, me, conv)
    conv.tools = [tool(x, slots) for x in block.tools]
    if block.tools or (tools and r.random() < 0.4):
        names = {str(x["name"]) for x in conv.tools}
        for _ in range(r.choice([0, 0, 1, 2]) if block.tools else r.randint(1, 4)):
            more = toolbox.invent(lex).schema
            if more["name"] not in names and block.kind != "no_tool":
                names.add(str(more["name"]))
                conv.tools.append(more)
        r.shuffle(conv.tools)
    if r.random() < 0.4:
        t.state, t.now_share = make_state(lex), r.choice([0.3, 1.0])
    play(t, block, slots)
    return t, block


def another(t: Talk) -> None:
    """A further hand-written block for a conversation under way, in the same manner."""
    pool = alone().get(t.me.manner) or alone().get("plain") or []
    if pool:
        block = t.rng.choice(pool)
        slots = Slots(t.lex, {"me": t.me.name, "myrole": t.me.role, "player": t.lex.invented()})
        play(t, block, slots)


if __name__ == "__main__":
    for problem in problems():
        print(problem)
    print(len(book()), "blocks")
