"""A persona alive in a world: what it is called, what it may do, and what it may say now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Sampling
from npcsdk.conditions import compile_condition
from npcsdk.memory.recall import Passage
from npcsdk.persona.schema import ActionEntry, ParameterEntry, Persona, SamplingEntry, WorldDefinition
from npcsdk.prompt.build import Section, system_sections
from npcsdk.prompt.introduction import asks_who, introduction

__all__ = ["Npc", "definition_of_entry"]


@dataclass(frozen=True, slots=True)
class Npc:
    """One character of a loaded world."""

    world: WorldDefinition
    persona: Persona

    @property
    def id(self) -> str:
        return self.persona.id

    @property
    def name(self) -> str:
        return self.persona.name

    @property
    def role(self) -> str:
        return self.persona.role

    @property
    def voice(self) -> str | None:
        return self.persona.voice

    def sections(self, state: Mapping[str, Any]) -> list[Section]:
        """The system text as it may be now: a secret whose condition does not hold is not in it (promise 3)."""
        return system_sections(self.world, self.persona, self._unlocked(state))

    def known(self, state: Mapping[str, Any]) -> list[str]:
        """What the system text says that the character knows: of its world, by itself, and the secrets unlocked."""
        return [*self.world.facts, *self.persona.knowledge, *self._unlocked(state)]

    def introduction(self, line: str) -> Passage | None:
        """Who the character is, if that is what ``line`` asks: one more thing that it has known all along."""
        own = (self.persona.name, self.persona.role, self.world.name, self.world.setting)
        if not asks_who(line, " ".join(own)):
            return None
        text = introduction(self.persona.name, self.persona.role)
        return Passage(id="self", text=text, source="persona", score=1.0, reason="the line asks for it")

    def _unlocked(self, state: Mapping[str, Any]) -> list[str]:
        secrets = self.persona.secrets
        return [secret.text for secret in secrets if compile_condition(secret.when).evaluate(state)]

    def sampling(self, default: Sampling, seed: int | None) -> Sampling:
        """The persona's settings over the world's over the model's."""
        chosen: dict[str, Any] = {
            name: getattr(default, name)
            for name in ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")
        }
        for entry in (self.world.sampling, self.persona.sampling):
            chosen |= {name: value for name, value in _given(entry) if value is not None}
        return Sampling(**chosen, seed=default.seed if seed is None else seed)

    def allowed(self, definitions: Iterable[ActionDefinition]) -> list[ActionDefinition]:
        """The actions that this character may use.

        Those the persona names (all of the world's if it names none), and those that only the game knows.
        """
        named = self.persona.actions
        return [
            definition
            for definition in definitions
            if (named is None or definition.name in named or definition.name not in self.world.actions)
            and (definition.who is None or self.id in definition.who)
        ]


def _given(entry: SamplingEntry) -> Iterable[tuple[str, Any]]:
    return ((name, getattr(entry, name)) for name in SamplingEntry.model_fields)


def definition_of_entry(name: str, entry: ActionEntry) -> ActionDefinition:
    """A world's YAML action as a definition."""
    required = [key for key, item in entry.parameters.items() if not item.optional and item.default is None]
    return ActionDefinition(
        name=name,
        description=entry.description,
        parameters={
            "type": "object",
            "properties": {key: _schema_of(item) for key, item in entry.parameters.items()},
            "required": required,
        },
        returns=entry.returns,
        when=entry.when,
        timeout=entry.timeout,
        cost=entry.cost,
        cooldown=entry.cooldown,
        who=entry.who,
        pinned=entry.pinned,
    )


def _schema_of(entry: ParameterEntry) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": entry.type,
        "description": entry.description or None,
        "enum": list(entry.enum) if entry.enum else None,
        "minimum": entry.minimum,
        "maximum": entry.maximum,
        "maxLength": entry.max_length,
        "default": entry.default,
        "x-from": entry.source,
    }
    given = {key: value for key, value in schema.items() if value is not None}
    if entry.many is None:
        return given
    of_the_list = {key: given.pop(key) for key in ("description", "x-from") if key in given}
    return {"type": "array", **of_the_list, "items": given, "minItems": 1, "maxItems": entry.many}
