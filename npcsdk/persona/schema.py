"""What a designer writes, as frozen values: the world file, personas, actions, lore passages.

These models are the one description of the files: the loader checks against them and the JSON Schemas for
editors are generated from them. Unknown keys are errors everywhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from npcsdk.conditions import ConditionError, compile_condition

__all__ = [
    "COMMON_TAG",
    "DEFAULT_RULES",
    "ActionEntry",
    "GroupEntry",
    "HearsayEntry",
    "LoreHeader",
    "LorePassage",
    "MemoryEntry",
    "ParameterEntry",
    "Persona",
    "RecallEntry",
    "SamplingEntry",
    "Scalar",
    "Secret",
    "StateValue",
    "WorldDefinition",
    "WorldFile",
]

DEFAULT_RULES: Final = (
    "Stay in character. Answer in one to three sentences. Use what you know and the context. "
    "If you do not know, say so."
)
COMMON_TAG: Final = "common"
"""The lore tag that everybody knows."""


def _one_line(text: str) -> str:
    # All of this ends up on one line of a prompt, however it was wrapped in the file.
    return " ".join(text.split())


def _is_condition(text: str) -> str:
    try:
        compile_condition(text)
    except ConditionError as error:
        raise PydanticCustomError(
            "condition",
            "{problem}",
            {"problem": error.message, "offset": error.offset, "length": error.length},
        ) from None
    return text


def _is_identifier(text: str) -> str:
    if not re.fullmatch(r"[^\W\d_][\w-]*", text):
        raise PydanticCustomError("identifier", "`{text}` is not a name for a program", {"text": text})
    return text


Text: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    AfterValidator(_one_line),
]
Name: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(_one_line)
]
Note: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=600), AfterValidator(_one_line)
]
Identifier: TypeAlias = Annotated[str, StringConstraints(max_length=64), AfterValidator(_is_identifier)]
ActionName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Tag: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$", max_length=64)]
StateName: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[^\W\d]\w*(-\w+)*(\.\w+(-\w+)*)*$", max_length=80)
]
When: TypeAlias = Annotated[str, AfterValidator(_is_condition)]
Whole: TypeAlias = Annotated[int, Strict()]
Number: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag: TypeAlias = Annotated[bool, Strict()]
Scalar: TypeAlias = Flag | Whole | Number | Annotated[str, Strict()]
StateValue: TypeAlias = Scalar | tuple[Scalar, ...]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=False)


class SamplingEntry(_Entry):
    """How freely a character speaks. What is left out is decided by the world, then by the model."""

    temperature: Number | None = Field(default=None, ge=0, le=2, description="0 = always the likeliest word.")
    top_p: Number | None = Field(
        default=None, gt=0, le=1, description="Keep the likeliest words up to this share."
    )
    top_k: Whole | None = Field(
        default=None, ge=1, le=1000, description="Keep this many of the likeliest words."
    )
    max_tokens: Whole | None = Field(default=None, ge=1, le=4096, description="The longest reply, in tokens.")


class ParameterEntry(_Entry):
    """One argument of an action. ``gate: string`` is short for ``gate: {type: string}``."""

    type: Literal["string", "integer", "number", "boolean"] = Field(
        default="string", description="What kind of value the character must give."
    )
    description: Note = Field(default="", description="What it means, in a few words.")
    enum: tuple[Scalar, ...] | None = Field(
        default=None, min_length=1, description="The only values allowed."
    )
    minimum: Number | None = Field(default=None, description="The smallest number allowed.")
    maximum: Number | None = Field(default=None, description="The largest number allowed.")
    max_length: Whole | None = Field(default=None, ge=1, le=4000, description="The longest text allowed.")
    many: Whole | None = Field(
        default=None, ge=1, le=16, description="A list: at least one such value, and at most so many."
    )
    default: Scalar | None = Field(default=None, description="Used when the character does not give one.")
    optional: Flag = Field(default=False, description="Whether the character may leave it out.")
    source: Annotated[str, StringConstraints(pattern=r"^state\.\w[\w.-]*$")] | None = Field(
        default=None,
        alias="from",
        description="Allow only what the game says exists now: `state.nearby` = the values of `nearby`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _agrees(self) -> ParameterEntry:
        numeric = self.type in ("integer", "number")
        if not numeric and (self.minimum is not None or self.maximum is not None):
            key = "minimum" if self.minimum is not None else "maximum"
            raise _contradiction(key, f"`{key}` is for numbers, and this is a {self.type}")
        if self.type != "string" and self.max_length is not None:
            raise _contradiction("max_length", f"`max_length` is for strings, and this is a {self.type}")
        if self.type != "string" and self.source is not None:
            raise _contradiction("from", f"`from` gives strings, and this is a {self.type}")
        if self.enum is not None and self.source is not None:
            raise _contradiction("from", "`from` and `enum` both say what is allowed; keep one")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise _contradiction("minimum", "`minimum` is greater than `maximum`")
        if self.many is not None and self.default is not None:
            raise _contradiction("default", "a list has no `default`; say `optional: true`")
        for value in self.enum or ():
            if not self._fits(value):
                raise _contradiction("enum", f"`{_spell(value)}` is not a {self.type} that this allows")
        if self.default is not None and not (
            self._fits(self.default) and (self.enum is None or self.default in self.enum)
        ):
            raise _contradiction("default", f"`{_spell(self.default)}` is not a {self.type} that this allows")
        return self

    def _fits(self, value: Any) -> bool:
        if self.type == "boolean":
            return isinstance(value, bool)
        if self.type == "string":
            return isinstance(value, str) and (self.max_length is None or len(value) <= self.max_length)
        kinds = int if self.type == "integer" else int | float
        return (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )


def _contradiction(key: str, problem: str) -> PydanticCustomError:
    return PydanticCustomError("contradiction", "{problem}", {"key": key, "problem": problem})


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class ActionEntry(_Entry):
    """Something that characters can do in the game."""

    description: Text = Field(description="What it does, as the character is told.")
    parameters: dict[ActionName, ParameterEntry] = Field(
        default_factory=dict[str, ParameterEntry], description="Its arguments, by name."
    )
    returns: Literal["nothing", "result"] = Field(
        default="nothing", description="`result`: the character waits for the game's answer and then goes on."
    )
    when: When | None = Field(
        default=None, description="Offered only while this holds: `trust >= 20 and not angry`."
    )
    timeout: Number = Field(default=10.0, gt=0, le=600, description="Seconds to wait for the game's answer.")
    cost: dict[StateName, Annotated[Number, Field(gt=0)]] = Field(
        default_factory=dict[str, float],
        description="Offered only while the state has this much of each: `{gold: 5}`. The game does the taking.",
    )
    cooldown: Number = Field(
        default=0.0, ge=0, le=3600, description="Seconds before the same character can do it again."
    )
    who: tuple[Identifier, ...] | None = Field(
        default=None,
        description="The ids of the personas that may do it. Left out: all whose `actions` allow it.",
    )
    pinned: Flag = Field(
        default=False, description="Stands in the prompt always, also when there are too many actions for it."
    )


class GroupEntry(_Entry):
    """A faction, a household: what happens to it, all of its members know."""

    id: Identifier = Field(description="How programs and `hearsay` call it.")
    members: tuple[Identifier, ...] = Field(min_length=1, description="The ids of its personas.")


class HearsayEntry(_Entry):
    """Somebody tells somebody what happened: the guard tells the captain."""

    speaker: Identifier = Field(alias="from", description="Who tells it: a persona or a group.")
    listener: Identifier = Field(alias="to", description="Who hears it: a persona or a group.")
    delay: Number = Field(default=0.0, ge=0, description="Game seconds until word has come.")
    certainty: Number = Field(default=0.7, gt=0, le=1, description="How much of its certainty is left.")
    kinds: tuple[Literal["event", "fact", "note", "turn"], ...] = Field(
        default=("event", "fact", "note"),
        min_length=1,
        description="What is told on. `turn` is what was said in conversations.",
    )
    importance: Number = Field(default=0.0, ge=0, le=1, description="The least that is worth telling.")


class RecallEntry(_Entry):
    """How much each side counts when something is recalled. What is left out stays as it is."""

    vector: Number | None = Field(default=None, ge=0, description="Likeness of meaning and spelling.")
    lexical: Number | None = Field(default=None, ge=0, description="Words in common.")
    recency: Number | None = Field(default=None, ge=0, le=2, description="How lately it happened.")
    importance: Number | None = Field(default=None, ge=0, le=2, description="How important it was.")
    diversity: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="0: the best in order; 1: as different from each other as can be.",
    )
    half_life: Number | None = Field(
        default=None, gt=0, description="Game seconds after which something is half as recent."
    )


class MemoryEntry(_Entry):
    """What characters keep, and how they recall it."""

    cap: Whole = Field(
        default=20_000,
        ge=100,
        description="Records that one character may have; then the least useful are forgotten.",
    )
    clock: StateName | None = Field(
        default=None,
        description="The state's number that is the game's time in seconds. Left out: `game_time`, then `time`.",
    )
    recall: RecallEntry = Field(default=RecallEntry(), description="How much each side counts.")


def _actions_differ(actions: dict[str, ActionEntry]) -> dict[str, ActionEntry]:
    seen: dict[str, str] = {}
    for name in actions:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise _contradiction(name, f"`{name}` and `{other}` differ in case only")
    return actions


class Secret(_Entry):
    """Something that a character knows but says only when a condition holds. Until then no model sees it."""

    id: Identifier = Field(description="A name for it, unique in this persona.")
    text: Text = Field(description="What the character knows, in a sentence or two.")
    when: When = Field(description='When it may be told: `trust >= 60 and quest.mine == "done"`.')


def _secrets_differ(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    seen: set[str] = set()
    for index, secret in enumerate(secrets):
        if secret.id in seen:
            raise _contradiction(f"{index}.id", f"there are two secrets `{secret.id}`")
        seen.add(secret.id)
    return secrets


class Persona(_Entry):
    """What a designer wrote about one character."""

    id: Identifier = Field(description="How programs call it. The file's name without `.yaml` if left out.")
    name: Name = Field(description="How people call it.")
    role: Text = Field(description="Completes the sentence: You are Mara, ...")
    about: Text = Field(
        description="One to four sentences about who this is, said to the character as `you`."
    )
    language: Name = Field(default="English", description="The language that it speaks.")
    manner: Note = Field(default="", description="A few words: gruff, short-spoken.")
    style: Note = Field(default="", description="How it speaks: sentence length, habits, words it uses.")
    examples: tuple[Text, ...] = Field(default=(), description="Lines that it might say, two to four.")
    goals: tuple[Text, ...] = Field(default=(), description="What it wants.")
    relations: dict[Name, Text] = Field(
        default_factory=dict[str, str],
        description="What it thinks of others, by persona id or name.",
    )
    refuses: tuple[Text, ...] = Field(default=(), description="What it will not do or talk about.")
    knows: tuple[Tag, ...] = Field(
        default=(), description="The lore tags that it knows; `common` is known to all."
    )
    knowledge: tuple[Text, ...] = Field(default=(), description="Plain facts that it always has in mind.")
    secrets: Annotated[tuple[Secret, ...], AfterValidator(_secrets_differ)] = Field(
        default=(), description="What it tells only under a condition."
    )
    actions: tuple[ActionName, ...] | None = Field(
        default=None, description="The actions that it may use. Left out = all of them; `[]` = none."
    )
    sampling: SamplingEntry = Field(default=SamplingEntry(), description="How freely it speaks.")
    voice: Name | None = Field(default=None, description="A voice id for the game's text to speech.")
    state: dict[StateName, StateValue] = Field(
        default_factory=dict[str, StateValue],
        description="Values that it begins with: trust, mood.",
    )


class WorldFile(_Entry):
    """The file ``world.yaml``: what all characters of a world share."""

    name: Name = Field(description="The world's name.")
    rules: Text = Field(default=DEFAULT_RULES, description="How every character must answer, in one line.")
    setting: Text = Field(description="Where and when this is, in one to three sentences.")
    facts: tuple[Text, ...] = Field(
        default=(), description="What everybody knows; always in the prompt, so keep it short."
    )
    state: dict[StateName, StateValue] = Field(
        default_factory=dict[str, StateValue],
        description="The values that the game sends and what they are at first; conditions may name them.",
    )
    actions: Annotated[dict[ActionName, ActionEntry], AfterValidator(_actions_differ)] = Field(
        default_factory=dict[str, ActionEntry],
        description="What characters can do in the game, by name.",
    )
    groups: tuple[GroupEntry, ...] = Field(
        default=(), description="Factions and households, whose members share what happens to them."
    )
    hearsay: tuple[HearsayEntry, ...] = Field(default=(), description="Who tells whom what happened.")
    sampling: SamplingEntry = Field(default=SamplingEntry(), description="How freely everybody speaks.")
    memory: MemoryEntry = Field(default=MemoryEntry(), description="What characters keep and recall.")


class LoreHeader(_Entry):
    """The front matter of a lore file."""

    tags: tuple[Tag, ...] = Field(
        default=(COMMON_TAG,), description="Who knows this: see `knows` of a persona."
    )


class LorePassage(_Entry):
    """A short piece of lore. ``source`` is ``lore/gate.md:12``, where its text begins."""

    id: str
    source: str
    title: str
    text: str
    tags: frozenset[str]


class WorldDefinition(WorldFile):
    """A world as loaded from its folder: ``world.yaml``, its personas by id, and its lore in passages."""

    folder: Path
    personas: dict[str, Persona]
    lore: tuple[LorePassage, ...] = ()

    def initial_state(self, npc: str) -> dict[str, StateValue]:
        """What holds for the persona ``npc`` until the game says otherwise: the world's state, then its own."""
        return {**self.state, **self.personas[npc].state}
