"""Compose a prompt: the system text of a character, the user's message of a turn, and the whole.

What goes where is one decision for every model family; how it is spelled is the template's. Everything that a
designer, a player, a game or memory wrote passes through `npcsdk.prompt.untrusted` here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from npcsdk.backends.base import Prompt
from npcsdk.persona.schema import Persona
from npcsdk.prompt.templates.base import ChatMessage, Template, merged
from npcsdk.prompt.untrusted import neutralise, one_line

__all__ = [
    "REACT_LINE",
    "Section",
    "assemble",
    "now_lines",
    "state_line",
    "system_sections",
    "system_text",
    "tool_schemas",
    "user_message",
]

REACT_LINE = "(You noticed this. Say something.)"
"""What stands for the player's words when the game, not a player, gave the occasion to speak."""

_NOT_FOR_MODELS = ("x-from",)
_LONGEST_DESCRIPTION = 300
"""Characters of an action's or a parameter's description in a prompt."""
_MOST_NAMES = 60
"""Names of one list of the state in a prompt, the first: what lies nearest, as games sort. All stay legal targets."""


class WorldText(Protocol):
    """What this module reads of a world."""

    @property
    def rules(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def facts(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Section:
    """A line or two of system text. ``rank`` 0 is never dropped; of the others the highest goes first."""

    name: str
    text: str
    rank: int = 0


def system_sections(world: WorldText, persona: Persona, unlocked: Sequence[str]) -> list[Section]:
    """The system text in its fixed order: the world's part (common to its characters), the persona, its knowledge.

    Args:
        unlocked: the secrets that this character may speak of now, as text.
    """
    sections = [Section("rules", one_line(world.rules))]
    if world.setting:
        sections.append(Section("setting", f"Setting: {one_line(world.setting)}"))
    sections += [Section("facts", f"- {one_line(fact)}", 2) for fact in world.facts]
    role = one_line(persona.role)
    sections.append(Section("identity", f"\nYou are {one_line(persona.name)}{', ' + role if role else ''}."))
    if persona.about:
        sections.append(Section("about", one_line(persona.about), 1))
    if persona.language and persona.language.lower() not in ("english", "en"):
        sections.append(Section("language", f"Language: {one_line(persona.language)}"))
    if persona.manner:
        sections.append(Section("manner", f"Manner: {one_line(persona.manner)}"))
    if persona.style:
        sections.append(Section("style", f"Speech: {one_line(persona.style)}", 1))
    if persona.examples:
        quoted = " ".join(f'"{one_line(example)}"' for example in persona.examples)
        sections.append(Section("examples", f"You might say: {quoted}", 6))
    if persona.goals:
        sections.append(Section("goals", f"Goals: {_joined(persona.goals)}", 4))
    if persona.relations:
        relations = (f"{one_line(who)}: {one_line(what)}" for who, what in persona.relations.items())
        sections.append(Section("relations", f"Relations: {'; '.join(relations)}", 5))
    if persona.refuses:
        sections.append(Section("refuses", f"You refuse: {_joined(persona.refuses)}"))
    known = [*persona.knowledge, *unlocked]
    if known:
        lines = "\n".join(f"- {one_line(item)}" for item in known)
        sections.append(Section("knowledge", f"You know:\n{lines}", 3))
    return sections


def _joined(items: Iterable[str]) -> str:
    return "; ".join(one_line(item) for item in items)


def system_text(sections: Iterable[Section]) -> str:
    """The sections as the text of the system block."""
    return "\n".join(section.text for section in sections)


def state_line(state: Mapping[str, Any]) -> str:
    """The game's state this turn as one passage, or "" when it holds nothing for a character to read.

    Words and lists of names are for the character; numbers, switches and dotted names (``quest.mine``) are
    for conditions.
    """
    parts: list[str] = []
    for key, value in state.items():
        text = "" if "." in key else _state_value(value)
        if text:
            parts.append(f"{one_line(key)}: {text}")
    return f"Now: {'; '.join(parts)}" if parts else ""


def _state_value(value: Any) -> str:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, (list, tuple)):
        names: list[str] = []
        items = cast("Sequence[Any]", value)
        for at, item in enumerate(items):
            if len(names) == _MOST_NAMES:
                names.append(f"and {len(items) - at} more")
                break
            if isinstance(item, Mapping):
                entry = cast("Mapping[str, Any]", item)
                item = entry.get("name", entry.get("id"))
            if isinstance(item, str) and item.strip():
                names.append(one_line(item))
        return ", ".join(names)
    return ""


def now_lines(state: Mapping[str, Any], *, happening: str = "", asked: Iterable[str] = ()) -> list[str]:
    """The passages of this turn alone: the game's state, an event in the game, and drafts of the calls that are asked
    for (told to a model that is too small to see it)."""
    wanted = " or ".join(one_line(call) for call in asked)
    lines = [
        state_line(state),
        f"Event: {one_line(happening)}" if happening else "",
        f"Asked for: {wanted}" if wanted and not happening else "",
    ]
    return [line for line in lines if line]


def user_message(template: Template, contexts: Sequence[str], line: str) -> str:
    """The user's message: this turn's passages, then the player's words."""
    words = neutralise(line).strip()
    return "\n".join([*(template.context(one_line(text)) for text in contexts), words])


def tool_schemas(tools: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[Mapping[str, Any], ...]:
    """Offered actions (name, description, parameters) as the objects that stand in ``<tool>``: without this turn's
    targets, so that they stay the same for the conversation, and defused like all text that is not ours."""
    return tuple(
        {
            "name": name,
            "description": _shortened(description),
            "parameters": _defused(parameters),
        }
        for name, description, parameters in tools
    )


def _shortened(description: str) -> str:
    # Cut before it is cleaned, so that a novel costs nothing; white space may make it shorter than it could be.
    text = one_line(description[: _LONGEST_DESCRIPTION * 4])
    if len(text) <= _LONGEST_DESCRIPTION:
        return text
    whole_words = text[:_LONGEST_DESCRIPTION].rpartition(" ")[0]
    return (whole_words or text[:_LONGEST_DESCRIPTION]).rstrip(" ,;.") + "..."


def _defused(value: Any) -> Any:
    if isinstance(value, str):
        return neutralise(value)
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {
            neutralise(key): (
                _shortened(item) if key == "description" and isinstance(item, str) else _defused(item)
            )
            for key, item in mapping.items()
            if key not in _NOT_FOR_MODELS
        }
    if isinstance(value, (list, tuple)):
        return [_defused(item) for item in cast("Sequence[Any]", value)]
    return value


def assemble(
    template: Template,
    *,
    system: str,
    tools: Sequence[Mapping[str, Any]],
    messages: Sequence[ChatMessage],
    system_contexts: Sequence[str] = (),
) -> Prompt:
    """The whole prompt, ending where the character speaks.

    ``system_contexts`` are passages for a model that needs them at the template's published place.
    """
    contexts = [one_line(text) for text in system_contexts]
    segments = template.conversation(system, tools, contexts, messages)
    told = "\n".join([system, *(template.context(text) for text in contexts)])  # chat servers read them too
    return Prompt(merged(segments), template.chat(told, tools, messages), tuple(tools))
