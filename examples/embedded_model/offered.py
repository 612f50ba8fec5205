# SPDX-License-Identifier: Apache-2.0
"""What the SDK puts before a line for a model of this size: by its own code, so that training and use agree.

For a model that is too small to choose, npcsdk picks of the recalled passages the sentences that may answer the line,
and names the action that its words ask for. Most of what is left to learn is to say it well.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from phrases import content

from npcsdk.actions.hints import draft, narrowed
from npcsdk.actions.relevance import CLEAR, fitting
from npcsdk.actions.schema import ActionDefinition
from npcsdk.memory.embed import WordEmbedder
from npcsdk.memory.experience import Passage
from npcsdk.memory.focus import nearest_sentences
from npcsdk.memory.focus import sentences as cut
from npcsdk.prompt.introduction import asks_who, introduction

Targets = Mapping[str, Mapping[str, Sequence[str]]]
"""Of an action and its parameter: the names that the game's state lists now."""
WHOLE = 0.02
"""How often passages stay whole, so that another setting does not confuse the model."""
MISLED = 0.4
"""How much of what only seems to answer a line, or to ask for an action, stays: with more of it nothing that is offered
can be trusted."""
_EMBED = WordEmbedder().embed


def passage(
    rng: random.Random,
    line: str,
    passages: Sequence[str],
    answer: str = "",
    *,
    known: bool = True,
    told: Sequence[str] = (),
    own: tuple[str, str, str] = ("", "", ""),
) -> list[str]:
    """The one or two sentences that are offered for `line`, as one text: with the one that says `answer`, if there is
    one; seldom any if not `known`. `told` stands in the system block, `own` are the character's name, role, setting."""
    name, role, _ = own
    if name and asks_who(line, " ".join(own)):
        return [introduction(name, role)]
    if passages and rng.random() < WHOLE:
        return list(passages)
    given = [
        Passage(id=str(n), text=text, source="lore", score=1.0, reason="") for n, text in enumerate(passages)
    ]
    chosen = [one.text for one in nearest_sentences(line, given, 2, _EMBED, told)]
    if not known:
        return chosen if rng.random() < MISLED else []
    wanted = content(answer)
    if wanted and not (chosen and says(chosen[0], wanted)):
        parts = [(cut(text), n) for text in [*passages, *told] for n in range(len(cut(text)))]
        whole, n = max(parts, key=lambda part: len(content(part[0][part[1]]) & wanted), default=([""], 0))
        if says(whole[n], wanted):
            first = max(0, min(n if rng.random() < 0.5 else n - 1, len(whole) - 2))
            chosen = [" ".join(whole[first : first + 2])]
    return chosen


def says(text: str, wanted: set[str]) -> bool:
    """Whether most of the `wanted` words stand in a text."""
    return 2 * len(content(text) & wanted) > len(wanted)


def asked(
    line: str, tools: Iterable[Mapping[str, Any]], targets: Targets = MappingProxyType({})
) -> dict[str, str]:
    """Drafts of the calls that the words of `line` ask for, by name; `targets` are values of this turn alone."""
    definitions = {str(tool["name"]): ActionDefinition(**tool) for tool in tools}
    (fit,) = fitting(list(definitions.values()), line)
    drafts: dict[str, str] = {}
    for name, score in fit.items():
        if score >= CLEAR:
            parameters = definitions[name].parameters
            properties = dict(parameters.get("properties", {}))
            for key, names in targets.get(name, {}).items():
                properties[key] = {**properties[key], "enum": list(names)}
            drafts[name] = draft(name, narrowed({**parameters, "properties": properties}, line), line)
    return drafts
