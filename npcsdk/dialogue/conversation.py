"""A character and its interlocutor: a history, a state, and one turn at a time."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, cast

from npcsdk.actions.constraint import Offer
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import CancelFlag, Constraint, Finish, FinishReason, Request
from npcsdk.dialogue.clock import TurnClock
from npcsdk.dialogue.listening import TurnEvents
from npcsdk.dialogue.mind import Limits, Mind
from npcsdk.dialogue.npc import Npc
from npcsdk.dialogue.offering import Offering
from npcsdk.dialogue.remembering import Said, refers_back
from npcsdk.dialogue.turn import Result, TurnMachine
from npcsdk.errors import NpcError, TurnError, WorldError
from npcsdk.events import Dropped, End, Event, Failed, Recalled, StopReason, Tokens
from npcsdk.memory.recall import Passage
from npcsdk.prompt.budget import Shares
from npcsdk.prompt.build import REACT_LINE, event_line, state_line, tool_schemas
from npcsdk.prompt.compose import Composed, Composer, Past
from npcsdk.prompt.templates import ChatMessage
from npcsdk.prompt.untrusted import is_only_control, scrubbed

__all__ = ["Conversation", "Limits", "Mind"]

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that `Conversation.close` waits for a cancelled turn: a runtime stops within a piece of its work."""


@dataclass(slots=True)
class _Turn:
    """What one turn has been given and what has come of it."""

    id: str
    line: str
    happening: str
    state: Mapping[str, Any]
    seed: int | None
    timeline: int
    clock: TurnClock
    machine: TurnMachine | None = None
    composed: Composed | None = None
    recalled: tuple[Recalled, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    tokens: Tokens = field(default_factory=Tokens)
    reason: StopReason = "cancelled"

    @property
    def spoken(self) -> str:
        return self.machine.text if self.machine else ""


class Conversation:
    """Made by `npcsdk.dialogue.world.World.open`. `cancel` and `result` may be called from any thread."""

    def __init__(self, mind: Mind, npc: Npc, *, player: str, id: str) -> None:
        self.id = id
        self.npc = npc
        self.player = player
        self._mind = mind
        self._template = mind.template.speaking_as(npc.name)
        self._condition = threading.Condition()
        self._busy = False
        self._closed = False
        self._cancelled = False
        self._flag = CancelFlag()
        self._machine: TurnMachine | None = None
        self._events_now: Callable[[], TurnEvents | None] = lambda: None
        self._numbers = itertools.count(1)
        self._offering = Offering(npc.id, mind.cooldowns, mind.limits.actions)
        self._state: dict[str, Any] = {**npc.world.state, **npc.persona.state}
        sampling = npc.sampling(mind.sampling, None)
        window = mind.backend.capabilities.context_length
        self._composer = Composer(
            self._template,
            mind.backend.count,
            Shares(window=window, reply=min(sampling.max_tokens, window // 4)),
            contexts_in_system=mind.contexts_in_system,
        )
        self._history: list[Past] = []
        self._ids: list[str] = []  # of the turns in it
        self._last_line = ""
        self._restore(mind.memory.history(id), room=window)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    # What a game calls.

    def say(
        self,
        line: str,
        *,
        turn: str | None = None,
        state: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Iterator[Event]:
        """The player says ``line``; the events of the answer, as they come.

        The iterator works when it is advanced. Closing it early cancels the turn.

        Args:
            turn: an id for the turn, from whoever asks.
            state: what is so in the game now; merged into what was sent before.
            seed: makes the sampling repeatable.

        Raises:
            TurnError: at once, before anything is generated: ``line_empty``, ``line_too_long``, ``turn_in_progress``,
                ``conversation_closed``. Whatever goes wrong later ends the turn with `Failed`.
        """
        line = scrubbed(line)
        if is_only_control(line):
            what = "holds only control tokens" if line.strip() else "is empty"
            raise TurnError(f"The player's line {what}.", hint="Send some words.", code="line_empty")
        self._composer.check_line(line)
        return self._begin(line, "", turn, state, seed)

    def react(
        self,
        happening: str,
        *,
        turn: str | None = None,
        state: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Iterator[Event]:
        """Something happened in the game; the character remarks on it of its own accord. Otherwise as `say`."""
        happening = scrubbed(happening)
        if is_only_control(happening):
            raise TurnError(
                "The event is empty.",
                hint="Tell in a sentence what the character notices.",
                code="line_empty",
            )
        self._composer.check_line(happening)
        return self._begin(REACT_LINE, happening, turn, state, seed)

    def cancel(self) -> None:
        """Stop the turn that is running, if one is: within one piece of the runtime's work."""
        with self._condition:
            if self._busy:
                self._cancelled = True
                self._flag.set()
                self._condition.notify_all()

    def result(self, action_id: str, status: Literal["done", "failed"], value: Any = None) -> bool:
        """The game's answer to an action. False when nobody waits for it (unknown, answered already, too late)."""
        with self._condition:
            taken = self._machine is not None and self._machine.result(action_id, Result(status, value))
            self._condition.notify_all()
            return taken

    def close(self) -> None:
        """Cancel what is running and let go of the runtime's cache. Idempotent; what was said stays in memory.

        A turn that was running is over and remembered when this returns; its listener may still read its events.
        """
        with self._condition:
            self._closed = True
        self.cancel()
        events = self._events_now()
        if events is not None:
            events.finish(_PATIENCE)
        self._mind.backend.release(self.id)

    # One turn.

    def _begin(
        self, line: str, happening: str, turn: str | None, state: Mapping[str, Any] | None, seed: int | None
    ) -> Iterator[Event]:
        with self._condition:
            if self._closed:
                raise TurnError(
                    f"The conversation {self.id!r} is closed.",
                    hint="Open a new one.",
                    code="conversation_closed",
                )
            if self._busy:
                raise TurnError(
                    f"{self.npc.name} is still answering in the conversation {self.id!r}.",
                    hint="Wait for the end event or cancel the turn first.",
                    code="turn_in_progress",
                )
            now = {**self._state, **_checked(state)}
            current = _Turn(
                id=turn or f"{self.id}:{next(self._numbers)}",
                line=line,
                happening=happening,
                state=now,
                seed=seed,
                timeline=self._mind.memory.timeline,
                clock=TurnClock(),
            )
            self._state = now
            self._busy = True
            self._cancelled = False
            self._flag = CancelFlag()
            self._events_now = weakref.ref(events := TurnEvents(self._events(current), self._abandon))
        return events

    def _abandon(self) -> None:
        """A turn that was never listened to is over without a trace."""
        with self._condition:
            self._busy = False

    def _events(self, turn: _Turn) -> Generator[Event, None, None]:
        last: Event
        try:
            try:
                yield from turn.clock.outside(self._run(turn))
            except NpcError as error:
                last = _failed(error, turn.spoken)
            except Exception as error:  # a defect of ours or of a plug-in: the game must go on
                logger.exception("turn %s failed", turn.id)
                last = Failed(
                    code="internal_error",
                    message=f"{type(error).__name__}: {error}",
                    hint="This is a defect; the log has the details. The conversation can go on.",
                    text=turn.spoken,
                )
            else:
                last = self._end(turn)
        finally:  # also when the listener left: what was said is kept
            try:
                problem = self._keep(turn)
            finally:
                with self._condition:
                    self._busy = False
                    self._machine = None
                    closed = self._closed
                if closed:  # it was closed before this turn was over
                    self._mind.backend.release(self.id)
        if problem is not None and not isinstance(last, Failed):
            last = _failed(problem, turn.spoken)
        yield last

    def _run(self, turn: _Turn) -> Generator[Event, None, None]:
        mind = self._mind
        if self._cancelled:  # before anybody listened
            return
        definitions = self.npc.allowed(mind.definitions())
        shown, offer = self._offering.now(definitions, turn.state, turn.happening or turn.line)
        passages = self._recall(turn)
        turn.composed = composed = self._compose(turn, shown, passages)
        turn.dropped = composed.dropped
        turn.recalled = tuple(
            Recalled(source=item.source, text=item.text, score=item.score, reason=item.reason)
            for item in (passages[index] for index in composed.kept_passages)
        )
        machine = turn.machine = TurnMachine(
            offer=offer,
            tool_format=mind.tool_format,
            max_calls=mind.limits.calls,
            new_id=lambda: f"{turn.id}/{next(self._numbers)}",
            sequence=mind.limits.order == "sequence",
            used=self._offering.used,
        )
        with self._condition:
            self._machine = machine
        for rounds_left in range(mind.limits.rounds, -1, -1):
            finish = yield from self._generate(turn, machine, rounds_left)
            turn.reason = "cancelled" if self._cancelled else _REASONS[finish]
            yield from machine.round_over(cancelled=self._cancelled, cut=finish == "length")
            if machine.done:
                return
            if not rounds_left:
                turn.reason = "rounds"
                return
            with turn.clock.waiting():
                self._await_results(machine, definitions)
            if self._cancelled:
                turn.reason = "cancelled"
                return
            with self._condition:  # an answer counts, or is told that it comes too late
                machine.next_round()

    def _generate(
        self, turn: _Turn, machine: TurnMachine, rounds_left: int
    ) -> Generator[Event, None, FinishReason]:
        """One generation; its events, and as the generator's value the reason why it ended."""
        mind = self._mind
        assert turn.composed is not None
        flag = CancelFlag()
        with self._condition:
            self._flag = flag
            if self._cancelled:
                flag.set()
        turn.composed = self._composer.with_room_for(turn.composed, machine.messages)
        turn.dropped = turn.composed.dropped
        constraint = self._constraint(machine, rounds_left)
        if not machine.messages:
            self._offering.begin(machine.offer, constraint)
        request = Request(
            prompt=turn.composed.prompt(self._template, machine.messages),
            sampling=self.npc.sampling(mind.sampling, turn.seed),
            stop=self._template.stop,
            constraint=constraint,
            cancel=flag,
            session=self.id,
        )
        generation = mind.backend.generate(request)
        try:
            for item in turn.clock.runtime(generation):
                if isinstance(item, Finish):
                    usage = item.usage
                    turn.tokens = Tokens(
                        prompt=turn.tokens.prompt + usage.prompt_tokens,
                        cached=turn.tokens.cached + usage.cached_tokens,
                        computed=turn.tokens.computed + usage.computed_tokens,
                        generated=turn.tokens.generated + usage.generated_tokens,
                    )
                    return item.reason
                turn.clock.first_token()
                yield from machine.piece(item)
                if machine.stop_now:
                    flag.set()  # and listen on for the counts
        finally:
            close = getattr(generation, "close", None)
            if close is not None:
                close()
        return "stop"

    def _constraint(self, machine: TurnMachine, rounds_left: int) -> Constraint | None:
        if not self._mind.backend.capabilities.constraints:
            return None
        calls = machine.calls_left if rounds_left else 0
        return (machine.offer if calls else Offer({}, {})).constraint(self._mind.tool_format, calls)

    def _await_results(self, machine: TurnMachine, definitions: Sequence[ActionDefinition]) -> None:
        """Wait until the game has answered, each action at most for its own timeout."""
        timeouts = {definition.name: definition.timeout for definition in definitions}
        begun = monotonic()
        with self._condition:
            while not self._cancelled:
                left = [timeouts[action.name] - (monotonic() - begun) for action in machine.unanswered]
                if not left or max(left) <= 0:
                    return
                self._condition.wait(max(left))

    # Prompt, history, memory.

    def _recall(self, turn: _Turn) -> list[Passage]:
        query = turn.happening or turn.line
        with turn.clock.recall():
            found = self._recall_for(query)
            if not found and self._last_line and refers_back(query):
                found = self._recall_for(f"{self._last_line} {query}")
        if not turn.happening:
            self._last_line = turn.line
        return found

    def _recall_for(self, query: str) -> list[Passage]:
        return self._mind.memory.recall(
            query,
            npc=self.npc.id,
            interlocutor=self.player,
            tags=self.npc.persona.knows,
            limit=self._mind.limits.passages,
            without_turns=self._ids[self._composer.start :],  # what the prompt holds needs no recalling
        )

    def _compose(
        self, turn: _Turn, definitions: Sequence[ActionDefinition], passages: Sequence[Passage]
    ) -> Composed:
        tools = tool_schemas((item.name, item.description, item.parameters) for item in definitions)
        stable = self._composer.stable(self.npc.sections(turn.state), tools)
        now = [state_line(turn.state)] if state_line(turn.state) else []
        if turn.happening:
            now.append(event_line(turn.happening))
        return self._composer.compose(
            stable, self._history, [(item.source, item.text) for item in passages], now, turn.line
        )

    def _keep(self, turn: _Turn) -> NpcError | None:
        """Put a turn that is over into history and memory; the error if memory could not take it."""
        machine, composed = turn.machine, turn.composed
        answered: tuple[ChatMessage, ...] = ()
        if machine is not None and composed is not None:
            if machine.generating:
                machine.round_over(cancelled=True)
            answered = tuple(message for message in machine.messages if message.text)
            while answered and answered[-1].role == "tool":
                answered = answered[:-1]
            if answered:
                messages = (composed.user, *answered)
                self._history.append(Past(messages, self._composer.tokens(messages)))
                self._ids.append(turn.id)
        try:
            self._remember(turn, answered)
        except NpcError as error:
            return error
        except Exception as error:  # a defect of ours or of a store's: the game must go on
            logger.exception("turn %s cannot be remembered", turn.id)
            return NpcError(
                f"The turn was not remembered: {type(error).__name__}: {error}",
                hint="This is a defect; the log has the details. The conversation can go on.",
                code="internal_error",
            )
        return None

    def _remember(self, turn: _Turn, answered: Sequence[ChatMessage]) -> None:
        said = Said(
            npc=self.npc.id,
            player=self.player,
            turn=turn.id,
            line=turn.line,
            happening=turn.happening,
            text=turn.spoken,
            reason=turn.reason,
        )
        sent = (turn.composed.user, *answered) if turn.composed and answered else ()
        self._mind.memory.append_turn(
            self.id,
            self.npc.id,
            self.player,
            said.record(sent),
            experiences=said.experiences(self.npc.name, self.id, turn.state),
            timeline=turn.timeline,
        )

    def _restore(self, kept: Sequence[Mapping[str, Any]], room: int) -> None:
        """Take up what memory has of the conversation: as much as a prompt may hold."""
        for turn in reversed(kept):
            who = str(turn.get("npc", self.npc.id)), str(turn.get("player", self.player))
            if who != (self.npc.id, self.player):
                raise WorldError(
                    f"The conversation {self.id!r} is between {who[0]!r} and {who[1]!r}.",
                    hint="Use another conversation id.",
                    code="conversation_taken",
                )
            if not self._last_line and not turn.get("event"):
                self._last_line = str(turn.get("line", ""))
            if room > 0 and turn.get("messages"):
                messages = tuple(ChatMessage.of(item["role"], str(item["text"])) for item in turn["messages"])
                past = Past(messages, self._composer.tokens(messages))
                self._history.insert(0, past)
                self._ids.insert(0, str(turn.get("turn", "")))
                room -= past.tokens

    def _end(self, turn: _Turn) -> End:
        return End(
            reason=turn.reason,
            text=turn.spoken,
            tokens=turn.tokens,
            timings=turn.clock.timings(),
            recalled=turn.recalled,
            dropped=turn.dropped,
            explanation=self._offering.explanation(turn.machine.written if turn.machine else ()),
        )


def _checked(state: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if state is None:
        return {}
    if isinstance(cast(Any, state), Mapping) and all(isinstance(cast(Any, key), str) for key in state):
        return state
    raise TurnError(
        "The state is not a mapping of names to values.",
        hint='Send something like {"trust": 40, "nearby": ["well"]}.',
        code="bad_state",
    )


_REASONS: dict[FinishReason, StopReason] = {"stop": "stop", "length": "length", "cancelled": "stop"}


def _failed(error: NpcError, text: str) -> Failed:
    return Failed(code=error.code, message=error.message, hint=error.hint, text=text)
