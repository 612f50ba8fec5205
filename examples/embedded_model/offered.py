# SPDX-License-Identifier: Apache-2.0
"""What the SDK puts before a line for a model of this size: by its own code, so that training and use agree.

For a model that is too small to choose, npcsdk picks of the recalled passages the sentences that may answer the line,
and names the action that its words ask for. Most of what is left to learn is to say it well.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from phrases import content

from npcsdk.actions.relevance import CLEAR, fitting
from npcsdk.actions.schema import ActionDefinition
from npcsdk.memory.embed import WordEmbedder
from npcsdk.memory.experience import Passage
from npcsdk.memory.focus import nearest_sentences
from npcsdk.memory.focus import sentences as cut

WHOLE = 0.05
"""How often passages stay whole, so that another setting does not confuse the model."""
MISLED = 0.4
"""How much of what only seems to answer a line, or to ask for an action, stays: with more of it nothing that is offered
can be trusted."""
_EMBED = WordEmbedder().embed


def sentences(
    rng: random.Random, line: str, passages: Sequence[str], answer: str = "", *, known: bool = True
) -> list[str]:
    """At most two sentences of `passages`: with the one that says `answer`, if there is one; few if not `known`."""
    if not passages or rng.random() < WHOLE:
        return list(passages)
    given = [
        Passage(id=str(n), text=text, source="lore", score=1.0, reason="") for n, text in enumerate(passages)
    ]
    chosen = [one.text for one in nearest_sentences(line, given, 2, _EMBED)]
    if not known:
        return chosen if rng.random() < MISLED else []
    wanted = content(answer)
    if wanted and not any(2 * len(content(one) & wanted) > len(wanted) for one in chosen):
        best = max(
            (one for text in passages for one in cut(text)), key=lambda one: len(content(one) & wanted)
        )
        if content(best) & wanted and best not in chosen:
            chosen = [best, *chosen[:1]]
            rng.shuffle(chosen)
    return chosen


def asked(line: str, tools: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the tools that the words of `line` ask for, if any."""
    definitions = [ActionDefinition(**tool) for tool in tools]
    (fit,) = fitting(definitions, line)
    return [name for name, score in fit.items() if score >= CLEAR]
