"""What the conversations of a world share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from npcsdk.actions.cooldown import Cooldowns
from npcsdk.actions.formats import ToolFormat
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Backend, Sampling
from npcsdk.dialogue.gametime import GameTime
from npcsdk.dialogue.summaries import Summaries
from npcsdk.memory.recall import Memory
from npcsdk.prompt.templates import Template

__all__ = ["Limits", "Mind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one turn."""

    calls: int = 4
    """Actions in one turn."""
    rounds: int = 3
    """Times that a turn may wait for results and go on; in the round after the last only speech is possible."""
    passages: int = 4
    """Recalled passages offered to the prompt."""
    sentences: int = 0
    """Of these passages, so many sentences at most, those that may answer the line; 0 offers passages whole."""
    actions: int = 8
    """Actions that stand in the prompt; of more, those that seem relevant."""
    choose: Literal["model", "words"] = "model"
    """Who picks the action. ``words``: only the one that the player's words fit best may be called, and none where they
    fit none. The catalogue says so of models that are too small to choose."""
    order: Literal["parallel", "sequence"] = "parallel"
    """Whether a character may ask for several results at once, or has each before it decides on the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What the conversations of a world share."""

    backend: Backend
    template: Template
    tool_format: ToolFormat
    memory: Memory
    definitions: Callable[[], Sequence[ActionDefinition]]
    sampling: Sampling
    summaries: Summaries
    limits: Limits = field(default_factory=Limits)
    time: GameTime = field(default_factory=GameTime)
    cooldowns: Cooldowns = field(default_factory=Cooldowns)
    contexts_in_system: bool = False
