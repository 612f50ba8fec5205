"""What a character is offered in a turn: what stands in its prompt, what is legal now, and why the rest is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, cast

from npcsdk.actions.constraint import Offer, make_offer
from npcsdk.actions.cooldown import Cooldowns
from npcsdk.actions.hints import draft, narrowed
from npcsdk.actions.relevance import CLEAR, ToolSet, fitting
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Constraint
from npcsdk.dialogue.mind import Limits
from npcsdk.events import Explanation, Withheld, Written
from npcsdk.prompt.untrusted import one_line

__all__ = ["Offering"]

_SHOWN = 8
"""Values of a parameter that an explanation names."""


class Offering:
    """The actions of one conversation.

    Args:
        npc: the character's id.
        cooldowns: the world's.
        limits: how many actions stand in the prompt at most, and who chooses among them.
        clock: seconds, for cooldowns.
    """

    def __init__(
        self, npc: str, cooldowns: Cooldowns, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._npc = npc
        self._cooldowns = cooldowns
        self._tools = ToolSet(limits.actions)
        self._by_words = limits.choose == "words"
        self._clock = clock
        self._offer = Offer({}, {})
        self._constraint: Constraint | None = None

    def now(
        self,
        definitions: Sequence[ActionDefinition],
        state: Mapping[str, Any],
        text: str,
        before: str = "",
    ) -> tuple[tuple[ActionDefinition, ...], Offer]:
        """The actions to show in the prompt, and those of them that may be called now.

        Args:
            text: what the player says, or what happens.
            before: the player's line before it, to which "yes, do it" refers.
        """
        cooling = self._cooldowns.waiting(self._npc, definitions, self._clock())
        offer = make_offer(definitions, state, spelled=one_line, excluded=cooling)
        shown = self._tools.choose(definitions, text, legal=offer.actions)
        names = {definition.name for definition in shown}
        unshown = {
            name: "it seemed not relevant, and there are too many for the prompt"
            for name in offer.actions
            if name not in names
        }
        legal = {name: offered for name, offered in offer.actions.items() if name in names}
        unfit: dict[str, str] = {}
        asked: dict[str, str] = {}
        if self._by_words:
            now, earlier = fitting([offered.definition for offered in legal.values()], text, before)
            fit = now or earlier
            reason = "another action fits the words better" if fit else "no words of the line fit it"
            unfit = {
                name: f"{reason}, and this model is too small to choose" for name in legal if name not in fit
            }
            legal = {
                name: replace(offered, schema=narrowed(offered.schema, text))
                for name, offered in legal.items()
                if name in fit
            }
            asked = {
                name: draft(name, legal[name].schema, text, names=(self._npc,))
                for name, score in now.items()
                if score >= CLEAR
            }
        return shown, Offer(legal, {**offer.withheld, **unshown, **unfit}, asked)

    def used(self, definition: ActionDefinition) -> None:
        """The character has done it."""
        self._cooldowns.used(self._npc, definition, self._clock())

    def begin(self, offer: Offer, constraint: Constraint | None) -> None:
        """A turn's first generation begins, under this constraint."""
        self._offer, self._constraint = offer, constraint

    def explanation(self, written: tuple[Written, ...]) -> Explanation:
        """What the last turn was offered, in words, for people; ``written`` are the calls in it."""
        return Explanation(
            offered=tuple(self._offer.actions),
            withheld=tuple(
                Withheld(name=name, reason=reason) for name, reason in self._offer.withheld.items()
            ),
            constraint=_in_words(self._constraint),
            calls=written,
            tool_changes=self._tools.changes,
        )


def _in_words(constraint: Constraint | None) -> str:
    if constraint is None:
        return ""
    if not constraint.tools:
        return f"speech only: {constraint.opening} is impossible"
    closing = f" {constraint.closing}" if constraint.closing else ""
    calls = ", ".join(f"{name}({_parameters(schema)})" for name, schema in constraint.tools)
    return (
        f"speech, and at most {constraint.max_calls} times {constraint.opening} with one of {calls}{closing}"
    )


def _parameters(schema: Mapping[str, Any]) -> str:
    """``target: iron gate | well; times?: integer``."""
    required = schema.get("required", ())
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    return "; ".join(
        f"{name}{'' if name in required else '?'}: {_values(item)}" for name, item in properties.items()
    )


def _values(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
        return f"list of {_values(schema['items'])}"
    values = cast("Sequence[Any]", schema.get("enum", ()))
    shown = " | ".join(str(value) for value in values[:_SHOWN])
    more = f" | and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return shown + more or str(schema.get("type", "any"))
