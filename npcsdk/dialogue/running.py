"""One turn while it runs: what it was given, and what has come of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import FinishReason
from npcsdk.dialogue.clock import TurnClock
from npcsdk.dialogue.listening import Listener
from npcsdk.dialogue.remembering import Said
from npcsdk.dialogue.turn import TurnMachine
from npcsdk.errors import NpcError, TurnError
from npcsdk.events import (
    Action,
    ActionStarted,
    Dropped,
    End,
    Event,
    Explanation,
    Failed,
    Recalled,
    StopReason,
    Tokens,
)
from npcsdk.prompt.build import tool_schemas
from npcsdk.prompt.compose import Composed
from npcsdk.prompt.untrusted import is_only_control, scrubbed

__all__ = [
    "REASONS",
    "Running",
    "checked_line",
    "checked_state",
    "defect",
    "failed",
    "not_now",
    "tools_of",
]


@dataclass(slots=True)
class Running:
    """What one turn has been given and what has come of it."""

    id: str
    line: str
    happening: str
    state: Mapping[str, Any]
    seed: int | None
    priority: int
    timeline: int
    clock: TurnClock
    listener: Listener = field(default_factory=Listener)
    cancelled: Callable[[], bool] = lambda: False
    machine: TurnMachine | None = None
    composed: Composed | None = None
    recalled: tuple[Recalled, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    tokens: Tokens = field(default_factory=Tokens)
    reason: StopReason = "cancelled"
    heard: int | None = None  # code points of what was said, where the game has told
    given: list[str] = field(default_factory=list[str])  # ids of the actions that left
    retracted: list[str] = field(default_factory=list[str])
    disowned: bool = False  # its player is forgotten: nothing of it is kept

    def deliver(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events for the game: once the turn is cancelled, no action any more."""
        for event in events:
            if isinstance(event, Action | ActionStarted) and self.cancelled():
                if isinstance(event, Action):
                    self.retracted.append(event.id)
                continue
            if isinstance(event, Action):
                self.given.append(event.id)
            yield event

    def take_back(self, arrived: Collection[str] | None) -> None:
        """What the game of a cancelled turn did not get has not happened. ``arrived``: what it says it got."""
        if not self.cancelled():
            return
        if arrived is not None:
            self.retracted += [action for action in self.given if action not in arrived]
            self.given = [action for action in self.given if action in arrived]
        if self.machine is not None:
            self.machine.retract(self.retracted)

    @property
    def spoken(self) -> str:
        return self.machine.text if self.machine else ""

    @property
    def kept(self) -> str:
        """What is remembered as said."""
        return self.spoken if self.heard is None else self.spoken[: self.heard]

    def said(self, npc: str, player: str) -> Said:
        """What memory gets of it."""
        return Said(
            npc=npc,
            player=player,
            turn=self.id,
            line=self.line,
            happening=self.happening,
            text=self.kept,
            reason=self.reason,
        )

    def end(self, explanation: Explanation) -> End:
        """How a turn ends that went well."""
        return End(
            reason=self.reason,
            text=self.spoken,
            actions=tuple(self.given),
            retracted=tuple(self.retracted),
            tokens=self.tokens,
            timings=self.clock.timings(),
            recalled=self.recalled,
            dropped=self.dropped,
            explanation=explanation,
        )


def tools_of(definitions: Sequence[ActionDefinition]) -> tuple[Mapping[str, Any], ...]:
    """The definitions as the prompt shows them."""
    return tool_schemas((item.name, item.description, item.parameters) for item in definitions)


def checked_state(state: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What the game sent as its state; an error where that is no mapping of names."""
    if state is None:
        return {}
    if isinstance(cast(Any, state), Mapping) and all(isinstance(cast(Any, key), str) for key in state):
        return state
    raise TurnError(
        "The state is not a mapping of names to values.",
        hint='Send something like {"trust": 40, "nearby": ["well"]}.',
        code="bad_state",
    )


def checked_line(line: str, what: str, *, hint: str) -> str:
    """What was said or has happened, without control tokens; TurnError ``line_empty`` where nothing is left."""
    clean = scrubbed(line)
    if is_only_control(clean):
        wrong = "holds only control tokens" if clean.strip() else "is empty"
        raise TurnError(f"{what} {wrong}.", hint=hint, code="line_empty")
    return clean


def not_now(conversation: str, name: str, *, closed: bool) -> TurnError:
    """Why no turn can begin in a conversation with the character called ``name``."""
    if closed:
        return TurnError(
            f"The conversation {conversation!r} is closed.",
            hint="Open a new one.",
            code="conversation_closed",
        )
    return TurnError(
        f"{name} is still answering in the conversation {conversation!r}.",
        hint="Wait for the end event or cancel the turn first.",
        code="turn_in_progress",
    )


REASONS: dict[FinishReason, StopReason] = {"stop": "stop", "length": "length", "cancelled": "stop"}


def defect(what: str, error: Exception) -> NpcError:
    """An error that is nobody's but ours, or a plug-in's: the game goes on."""
    return NpcError(
        f"{what}: {type(error).__name__}: {error}",
        hint="This is a defect; the log has the details. The conversation can go on.",
        code="internal_error",
    )


def failed(error: NpcError, text: str) -> Failed:
    """How a turn ends that has failed after it had said ``text``."""
    return Failed(code=error.code, message=error.message, hint=error.hint, text=text)
