"""The sentences of what was recalled that are nearest to a line, for models that lose their way in more. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from npcsdk.memory.experience import Passage
from npcsdk.memory.registry import Vectors
from npcsdk.memory.text import terms

__all__ = ["nearest_sentences", "sentences"]

_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*(?:\s+|(?<=[。！？]))")
_SHORT_FORM = re.compile(r"(?:^|\s)(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Capt|Lt|No|[A-Z])\.$")
_FLOOR = 0.55
"""The worth of a sentence that has nothing to do with a line. Of questions about hand-written lore 87% of those that a
passage answers reach it, and 15% of those that none answers."""
_BESIDE = 0.5
"""What a further sentence is worth, as a share of the best one's; less than this would only mislead."""


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
    line: str,
    passages: Sequence[Passage],
    count: int,
    embed: Callable[[Sequence[str]], Vectors],
    known: Iterable[str] = (),
) -> list[Passage]:
    """The sentences that may answer ``line``, the best first, each as a passage of its own.

    They are of ``passages`` and of what a character has ``known`` all along.

    At most ``count``, and none where nothing has to do with the line: a model that is told nothing says that it does
    not know. A sentence counts for what it says itself and for what its passage says: "she died of bad peaches" belongs
    to the elephant before it. ``embed`` gives vectors of length one.
    """
    told = (
        Passage(id=f"known/{number}", text=text, source="persona", score=0.0, reason="known all along")
        for number, text in enumerate(known)
    )
    passages = [*passages, *told]
    parts = [(place, piece) for place, passage in enumerate(passages) for piece in sentences(passage.text)]
    texts = [*(passage.text for passage in passages), *(piece for _, piece in parts)]
    if not parts:
        return []
    vectors = embed([line, *texts])
    asked = set(terms(line))
    worth = [
        float(cosine) + len(asked & set(terms(text))) / max(len(asked), 1)
        for text, cosine in zip(texts, vectors[1:] @ vectors[0], strict=True)
    ]
    total = [own + worth[place] for own, (place, _) in zip(worth[len(passages) :], parts, strict=True)]
    least = max(_FLOOR, _BESIDE * max(total))
    best = sorted(range(len(parts)), key=total.__getitem__, reverse=True)[:count]
    chosen = [parts[number] for number in best if total[number] >= least]
    return [replace(passages[place], text=piece) for place, piece in chosen]
