"""What counts as right, as pure functions of a case and a reply. Validated on hand-labelled replies in the tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.quality.cases import Case
from benchmarks.quality.not_knowing import not_knowing
from benchmarks.quality.play import Reply
from npcsdk.prompt.build import system_sections, system_text

__all__ = ["has_need", "invented", "not_knowing", "right", "right_arguments", "sane"]


def right(case: Case, reply: Reply) -> bool:
    """Whether the reply is what the case asks for. Free-form replies are for people to judge."""
    if reply.reason != "stop" and case.behaviour not in ("call", "chat"):
        return False
    match case.behaviour:
        case "fact" | "identity":
            return not reply.calls and all(has_need(reply.text, need) for need in case.needs)
        case "unknown":
            return not reply.calls and not_knowing(reply.text) and not invented(reply.text, case)
        case "call":
            (action, *others) = reply.actions or (None,)
            if action is None or others or reply.refused or reply.reason not in ("stop", "length"):
                return False
            schema = case.world.actions[case.tool].parameters
            free = {
                name
                for name, item in schema.items()
                if item.type == "string" and not (item.enum or item.source)
            }
            return action.name == case.tool and right_arguments(action.arguments, case.arguments, free)
        case "chat":
            return not reply.calls and bool(reply.text)
        case "free":
            return not sane(reply)
        case _:
            raise ValueError(case.behaviour)


def has_need(text: str, need: str) -> bool:
    """Whether one of the alternatives (`14|fourteen`) stands in the text as whole words; a `*` ends an open word."""
    plain = f" {_plain(text)} "
    return any(f" {_plain(one)}" + ("" if one.endswith("*") else " ") in plain for one in need.split("|"))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w]+", " ", text.replace("’", "'").replace("'", "").casefold()).split())


def right_arguments(got: Mapping[str, Any], want: Mapping[str, Any], free: set[str]) -> bool:
    """Exactly these arguments. A list gives alternatives; case is no matter in ``free`` strings (no choices)."""
    if got.keys() != want.keys():
        return False
    for name, value in want.items():
        allowed = value if isinstance(value, list) else [value]
        if not any(_same(got[name], one, name in free) for one in allowed):
            return False
    return True


def _same(got: Any, want: Any, free: bool) -> bool:
    if free and isinstance(got, str) and isinstance(want, str):
        return got.casefold() == want.casefold()
    return type(got) is type(want) and got == want


# An invented specific: a name that stands nowhere in the prompt, or a number where a number was asked for.

_QUANTITY = re.compile(
    r"\bhow (?:many|much|old|long|far|deep|big|tall|often|late|early|high|heavy|wide)\b"
    r"|\bhw\b|\bwhen\b|\bprice\b|\bcost|\bfee\b|\bnumber\b|\bworth\b"
    r"|\bwhat (?:time|year|day|hour|date|age)\b|\bage\b|\bwhich (?:year|day|number|deck|room|floor)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\b(?:\d+(?=(?:st|nd|rd|th)?\b)|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand)\b)",
    re.IGNORECASE,
)
_INNER_NAME = re.compile(r"(?<![.!?:;\"'“”‘…—-])(?<!^)\s+([A-Z][\w'’-]+)")
_NO_NAMES = """i i'm i'd i'll i've god lord heaven heavens hell mr mrs miss sir madam ma'am mother father captain monday
tuesday wednesday thursday friday saturday sunday english oh ah no yes well ask not sorry try"""
_NO_NAME = frozenset(_NO_NAMES.split())


def invented(text: str, case: Case) -> str:
    """A name or number that the character made up, or ""."""
    prompt = prompt_words(case)
    for name in _INNER_NAME.findall(text):
        word = name.replace("’", "'").lower().removesuffix("'s").strip("'-")
        if word not in _NO_NAME and word not in prompt:
            return name
    if _QUANTITY.search(case.line):
        for number in _NUMBER.findall(text):
            if number.lower() not in prompt:
                return number
    return ""


def prompt_words(case: Case) -> frozenset[str]:
    """All words that stand in the case's prompt, in lower case."""
    system = system_text(system_sections(case.world, case.persona, ()))
    everything = " ".join([system, *case.contexts, str(dict(case.now)), case.line])
    words = re.findall(r"[\w'’-]+", everything.lower().replace("’", "'"))
    return frozenset(
        form for word in words for form in (word.strip("'-"), word.strip("'-").removesuffix("'s"))
    )


# A machine's first look at free text. It does not replace reading.


def sane(reply: Reply) -> str:
    """What is wrong with a reply at first sight, or ""."""
    text = reply.text
    if not text:
        return "empty"
    if reply.reason != "stop":
        return f"ended by {reply.reason}"
    if text[-1] not in ".!?…\"'”)—*":
        return "no end"
    if re.search(r"<[a-z/_]|extra_id|\btoolcall\b|\{\"|\bPlayer:|\bUser\b\s*:", text):
        return "a marker"
    sentences = [part for part in re.split(r"[.!?…]+(?:\s|$)", text) if re.search(r"\w", part)]
    if len(sentences) > 5:  # one to three are asked for; short interjections count as sentences here
        return f"{len(sentences)} sentences"
    words = re.findall(r"[\w'’-]+", text.lower())
    grams = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    if len(grams) != len(set(grams)):
        return "repeats itself"
    return ""
