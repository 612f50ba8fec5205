"""What stands for the oldest turns of a long conversation: lines taken from them, and perhaps a model's words. Pure.

Every line says who told it. What the game told is so; what the player or the character said was said, no more; and
what a model wrote to sum it all up is never taken for more than that.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from npcsdk.memory.records import SUMMARY, Entry
from npcsdk.memory.scoring import overlap
from npcsdk.memory.text import spelled, terms

__all__ = ["Summary", "Told", "condense", "summary_entry", "summary_of", "usable"]

Origin = Literal["game", "player", "npc"]

_SENTENCE = re.compile(r".+?(?:[.!?\u2026]+[\"'\u201d\u2019)]*(?=\s|$)|[\u3002\uff01\uff1f]+|$)", re.DOTALL)
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", '"', "\u201d")
_LONGEST = 240  # characters of one line
_WEIGHTS: Mapping[str, float] = {"game": 2.0, "player": 1.0, "npc": 0.6}
_ASKED = 0.4  # a question says less than an answer
_OWN = 1.3  # what somebody says of himself
_OF_ONESELF = re.compile(r"\b(i|my|mine|we|our)\b", re.IGNORECASE)
_SAME = 0.6
_SHORT = 3.0  # a line of a single rare word says less than one of three
_NUMBER = 0.5
_LEAST = 0.35  # of what the best line is worth: less is small talk
_MISSES = 8  # lines in a row that do not fit before the rest is given up
_FEW_TERMS, _FROM_SOURCES, _MOST_TERMS = 3, 0.6, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing of a talk, in the words of ``origin``; ``turn`` is the id of the turn that it is from."""

    origin: Origin
    text: str
    turn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The turns of a conversation up to and with ``upto``, ``turns`` in number.

    ``lines`` are taken from them as they were; ``prose`` is what a model made of them, or "".
    """

    lines: tuple[Told, ...] = ()
    prose: str = ""
    upto: str = ""
    turns: int = 0

    def text(self, player: str) -> str:
        """As a character is told: what happened, and who said what to whom."""
        parts = [_spoken(line, player) for line in self.lines]
        if self.prose:
            parts.append(f"You remember it so: {self.prose}")
        return f"Earlier in this talk: {' '.join(parts)}" if parts else ""


def _spoken(line: Told, player: str) -> str:
    said = {"game": "It happened:", "player": f"{player} said:", "npc": "You said:"}[line.origin]
    end = "" if line.text.endswith(_ENDS) else "."
    return f"{said} {line.text}{end}"


def condense(told: Iterable[Told], fits: Callable[[Sequence[Told]], bool]) -> tuple[Told, ...]:
    """The sentences that say most, in the order in which they were told, as many as ``fits`` lets stand together.

    What the game told goes before what was said; small talk and what was said before are left out.
    """
    lines = [line for each in told for line in _sentences(each)]
    held = [frozenset(terms(line.text)) for line in lines]
    holding = Counter(term for each in held for term in each)
    rare = {
        term: math.log((len(lines) + 1.0) / count) * (_NUMBER if term.isdecimal() else 1.0)
        for term, count in holding.items()
    }

    def worth(number: int) -> float:
        known = held[number]
        line = lines[number]
        news = sum(rare[term] for term in known) / (_SHORT + len(known))
        value = news * _WEIGHTS[line.origin]
        if line.origin != "game":
            value *= _ASKED if line.text.endswith(("?", "\uff1f")) else 1.0
            value *= _OWN if _OF_ONESELF.search(line.text) else 1.0
        return value

    values = [worth(number) for number in range(len(lines))]
    least = _LEAST * max(values, default=0.0)
    order = sorted((n for n in range(len(lines)) if values[n] > least), key=lambda n: (-values[n], n))
    chosen: list[int] = []
    missed = 0
    for number in order:
        if any(overlap(held[number], held[other]) > _SAME for other in chosen):
            continue
        tried = sorted([*chosen, number])
        if fits([lines[each] for each in tried]):
            chosen, missed = tried, 0
        else:
            missed += 1
            if missed >= _MISSES:
                break
    return tuple(lines[number] for number in chosen)


def _sentences(told: Told) -> list[Told]:
    found: list[Told] = []
    for match in _SENTENCE.finditer(told.text[: _LONGEST * 40]):
        text = " ".join(match.group().split())
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST].rpartition(' ')[0] or text[:_LONGEST]}\u2026"
        if text:
            found.append(Told(origin=told.origin, text=text, turn=told.turn))
    return found


def usable(text: str, sources: Iterable[str]) -> str:
    """What of a model's words may stand in a summary of ``sources``: whole sentences; "" for none of it.

    It has to speak of what was spoken of: a model that makes things up is not believed.
    """
    sentences = [" ".join(match.group().split()) for match in _SENTENCE.finditer(text.strip())]
    while sentences and not sentences[-1].endswith(_ENDS):  # cut off by the length limit
        sentences.pop()
    sentences = list(dict.fromkeys(each for each in sentences if each))
    prose = " ".join(sentences)
    found = terms(prose)
    if not _FEW_TERMS <= len(found) <= _MOST_TERMS or len(set(found)) * 3 < len(found):
        return ""
    known = {term for source in sources for term in spelled(source)}
    grounded = sum(term in known for term in found)
    return prose if grounded >= _FROM_SOURCES * len(found) else ""


def summary_entry(summary: Summary, *, npc: str, interlocutor: str, conversation: str, at: float) -> Entry:
    """The summary as it is written. It counts as the game's word only where all of it is."""
    told = {line.origin for line in summary.lines} | ({"npc"} if summary.prose else set[str]())
    return Entry(
        npc=npc,
        interlocutor=interlocutor,
        conversation=conversation,
        kind=SUMMARY,
        origin="game" if told == {"game"} else "npc",
        at=at,
        data={
            "upto": summary.upto,
            "turns": summary.turns,
            "prose": summary.prose,
            "lines": [
                {"origin": line.origin, "text": line.text, "turn": line.turn} for line in summary.lines
            ],
        },
    )


def summary_of(data: Mapping[str, Any]) -> Summary:
    """The summary in a record's data. What is not as `summary_entry` writes it is left out."""
    given: Any = data.get("lines")
    lines: list[Told] = []
    for line in cast("list[Any]", given) if isinstance(given, list) else []:
        if isinstance(line, Mapping):
            fields = cast("Mapping[str, Any]", line)
            origin = fields.get("origin")
            if origin in _WEIGHTS:
                text, turn = str(fields.get("text", "")), str(fields.get("turn", ""))
                lines.append(Told(origin=cast(Origin, origin), text=text, turn=turn))
    turns: Any = data.get("turns")
    return Summary(
        lines=tuple(lines),
        prose=str(data.get("prose") or ""),
        upto=str(data.get("upto") or ""),
        turns=turns if isinstance(turns, int) else 0,
    )
