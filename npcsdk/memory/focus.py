"""The sentences of what was recalled that are nearest to a line, for models that lose their way in more. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from npcsdk.memory.experience import Passage
from npcsdk.memory.registry import Vectors
from npcsdk.memory.text import terms

__all__ = ["nearest_sentences", "sentences"]

_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*(?:\s+|(?<=[。！？]))")
_SHORT_FORM = re.compile(r"(?:^|\s)(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Capt|Lt|No|[A-Z])\.$")
_WORDS = (
    0.2  # worth of a word that a text shares with the line, for each nat of its rarity, against one of cosine
)


def sentences(text: str) -> list[str]:
    """The sentences of a text in order; together they are the text but for white space."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        piece = text[start : end.end()].strip()
        if piece and not _SHORT_FORM.search(piece):
            found.append(piece)
            start = end.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def nearest_sentences(
    line: str, passages: Sequence[Passage], count: int, embed: Callable[[Sequence[str]], Vectors]
) -> list[Passage]:
    """Of ``passages`` the ``count`` sentences that answer ``line`` best, the best first, each as a passage of its own.

    A sentence counts for what it says itself and for what its passage says: "she died of bad peaches" belongs to the
    elephant before it. ``embed`` gives vectors of length one.
    """
    parts = [(passage, piece) for passage in passages for piece in sentences(passage.text)]
    if len(parts) <= count:
        return [replace(passage, text=piece) for passage, piece in parts]
    asked = set(terms(line))
    told = [set(terms(piece)) for _, piece in parts]
    rarity = {term: math.log(1 + len(told) / max(sum(term in one for one in told), 1)) for term in asked}
    texts = [line, *(piece for _, piece in parts), *(passage.text for passage in passages)]
    vectors = embed(texts)
    near = vectors[1:] @ vectors[0]
    whole = {
        passage.id: float(near[len(parts) + number]) + _shared(asked & set(terms(passage.text)), rarity)
        for number, passage in enumerate(passages)
    }
    worth = [
        float(near[number]) + _shared(asked & told[number], rarity) + whole[passage.id]
        for number, (passage, _) in enumerate(parts)
    ]
    best = sorted(range(len(parts)), key=worth.__getitem__, reverse=True)[:count]
    return [replace(parts[number][0], text=parts[number][1]) for number in best]


def _shared(terms_shared: set[str], rarity: dict[str, float]) -> float:
    return _WORDS * sum(rarity[term] for term in terms_shared)
