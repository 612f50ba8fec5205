"""Which actions stand in the prompt when there are too many for it. Pure.

The choice is lexical: words of the player's line, and of what was said a little before, against an action's name,
description, parameters and values, with a small list of words that mean much the same in games. It changes seldom,
because every change makes the model compute its whole prompt again: an action that is in stays in until another one
is needed and it has been of no use for the longest time. What is legal this turn is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from npcsdk.actions.schema import ActionDefinition
from npcsdk.actions.words import content_words, stem

__all__ = ["CLEAR", "ToolSet", "fitting", "scores"]

_ALIKE: Final = """
open unlock unbar unseal entrance gate door let through enter inside admit
close shut lock bar seal
give hand pass grant gift bring fetch lend present
take grab steal pick collect loot receive
buy sell trade price cost purchase barter shop wares goods haggle merchant
pay gold coin money silver wage debt owe
attack fight kill strike hit slay shoot stab battle enemy foe duel
defend guard protect shield watch
follow come accompany join escort along together
wait stay halt stop stand still
go walk move run travel leave away depart
show point guide direct where direction map way lead
heal cure bandage treat wound hurt medicine sick ill injured bleeding doctor
repair fix mend forge smith sharpen broken blunt
rest sleep room bed inn lodge lodging
eat food meal hungry cook bread supper dinner
drink ale beer wine thirsty pour tavern
light lamp lantern torch dark candle
fire burn flame kindle
read letter book write sign note message scroll
sing song music dance tune melody
story tale legend tell
alarm bell ring danger
call summon shout help
search look find seek inspect examine check
hide sneak conceal cover
teach learn train lesson skill practise
quest job task mission work reward
magic spell cast bless curse enchant blessing
brew potion craft elixir herb
greet wave bow nod salute hello welcome
gamble dice card bet game play wager
ride horse mount saddle stable
dig bury shovel mine
free release untie prisoner jail arrest imprison cell
ferry boat row ship sail cross river
pray prayer chapel god
promise swear vow oath
forgive pardon sorry apologise
throw cast hurl
wear dress armour clothes cloak
"""

_NAME, _DESCRIPTION, _VALUE = 3.0, 1.0, 1.5
_ALIKE_WEIGHT: Final = 0.7
_KEPT: Final = 0.6
_AT_ONCE: Final = 3
_NEAR_BEST: Final = 0.5
_FITS_AS_WELL: Final = 0.9

CLEAR: Final = 1.0
"""A score that small talk seldom reaches: the line asks for the action, or speaks of what it is about."""


def _groups() -> dict[str, set[int]]:
    made: dict[str, set[int]] = {}
    for number, line in enumerate(_ALIKE.strip().splitlines()):
        for word in line.split():
            made.setdefault(stem(word), set()).add(number)
    return made


_GROUPS: Final = _groups()


def _weights(definition: ActionDefinition) -> dict[str, float]:
    """The words of an action, and how much each says about it."""
    made: dict[str, float] = {}

    def add(text: str, weight: float) -> None:
        for word in content_words(text[:2000]):
            made[word] = max(made.get(word, 0.0), weight)

    add(definition.name, _NAME)
    add(definition.description, _DESCRIPTION)
    properties = cast("Mapping[str, Any]", definition.parameters.get("properties", {}))
    for name, schema in properties.items():
        add(name, _DESCRIPTION)
        if isinstance(schema, Mapping):
            fields = cast("Mapping[str, Any]", schema)
            add(str(fields.get("description", "")), _DESCRIPTION)
            for value in list(fields.get("enum", ()))[:50]:
                add(str(value), _VALUE)
    return made


class _Index:
    """The words of a set of actions."""

    def __init__(self, definitions: Sequence[ActionDefinition]) -> None:
        self._weights = {definition.name: _weights(definition) for definition in definitions}
        self._holders: dict[str, list[str]] = {}
        self._alike: dict[int, dict[str, float]] = {}
        for name, weights in self._weights.items():
            for word, weight in weights.items():
                self._holders.setdefault(word, []).append(name)
                for group in _GROUPS.get(word, ()):
                    holders = self._alike.setdefault(group, {})
                    holders[name] = max(holders.get(name, 0.0), weight)

    def scores(self, text: str) -> dict[str, float]:
        """How much each action has to do with ``text``; actions without a common word are left out."""
        found: dict[str, float] = {}
        for word in set(content_words(text)):
            here: dict[str, float] = {}
            holders = self._holders.get(word, ())
            for name in holders:
                here[name] = self._weights[name][word] * self._rarity(len(holders))
            for group in _GROUPS.get(word, ()):
                alike = self._alike.get(group, {})
                for name, weight in alike.items():
                    value = weight * _ALIKE_WEIGHT * self._rarity(len(alike))
                    here[name] = max(here.get(name, 0.0), value)
            for name, value in here.items():
                found[name] = found.get(name, 0.0) + value
        return found

    def _rarity(self, holders: int) -> float:
        return math.log(1 + len(self._weights) / holders)


def scores(definitions: Sequence[ActionDefinition], text: str) -> dict[str, float]:
    """How much each action has to do with ``text``, by name; actions that have nothing are left out."""
    return _Index(definitions).scores(text)


def fitting(definitions: Sequence[ActionDefinition], *lines: str) -> list[dict[str, float]]:
    """For each line the scores of the actions that its words fit best: one, several that fit alike, or none."""
    index = _Index(definitions)
    fits: list[dict[str, float]] = []
    for found in map(index.scores, lines):
        best = max(found.values(), default=0.0)
        fits.append({name: score for name, score in found.items() if score >= best * _FITS_AS_WELL})
    return fits


class ToolSet:
    """The actions in a conversation's prompt.

    Args:
        most: how many stand there at most; with no more actions than that all of them do.

    ``changes`` counts how often the set has changed after the first choice.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: tuple[ActionDefinition, ...] = ()
        self._index = _Index(())
        self._chosen: tuple[str, ...] | None = None
        self._use: dict[str, float] = {}
        self.changes = 0

    def choose(
        self, definitions: Iterable[ActionDefinition], text: str, *, legal: Collection[str] | None = None
    ) -> tuple[ActionDefinition, ...]:
        """The actions to show, in the order of ``definitions``.

        Args:
            definitions: all that the character may use.
            text: what the player says, or what happens.
            legal: names of those that could be called now (None: all); others are not brought in, but stay in.
        """
        known = tuple(definitions)
        if known != self._known:
            self._known, self._index = known, _Index(known)
        names = [definition.name for definition in known]
        now = self._index.scores(text)
        for name in {*self._use, *now}:
            self._use[name] = self._use.get(name, 0.0) * _KEPT + now.get(name, 0.0)
        if len(names) <= self._most:
            chosen = names
        else:
            pinned = [definition.name for definition in known if definition.pinned]
            allowed = names if legal is None else [name for name in names if name in legal]
            chosen = self._changed(names, pinned, allowed, now)
        ordered = tuple(name for name in names if name in chosen)
        self.changes += self._chosen is not None and ordered != self._chosen
        self._chosen = ordered
        return tuple(definition for definition in known if definition.name in ordered)

    def _changed(
        self, names: list[str], pinned: list[str], allowed: list[str], now: Mapping[str, float]
    ) -> set[str]:
        place = {name: number for number, name in enumerate(names)}

        def last_to_go(name: str) -> tuple[float, int]:
            return (-self._use.get(name, 0.0), place[name])

        if self._chosen is None:
            rest = sorted((name for name in allowed if name not in pinned), key=last_to_go)
            rest += [name for name in names if name not in allowed and name not in pinned]
            return {*pinned, *rest[: max(self._most - len(pinned), 0)]}
        kept = [name for name in self._chosen if name in place]
        best = max((now.get(name, 0.0) for name in allowed), default=0.0)
        wanted = sorted((name for name in allowed if now.get(name, 0.0) > 0), key=lambda name: -now[name])
        wanted = [name for name in wanted[:_AT_ONCE] if now[name] >= best * _NEAR_BEST]
        coming = [name for name in dict.fromkeys([*pinned, *wanted]) if name not in kept]
        staying = sorted(kept, key=lambda name: (name not in pinned, name not in wanted, *last_to_go(name)))
        room = max(self._most - len(coming), len(pinned) - len(set(coming) & set(pinned)))
        return {*coming, *staying[:room]}
