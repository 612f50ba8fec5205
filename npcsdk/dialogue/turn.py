"""One turn as a state machine without I/O.

It is fed what a backend generates and what the game answers, and gives back events and what to do next:

    machine = TurnMachine(...)
    until machine.done:
        for a round: feed every piece to `piece` until the generation ends or `stop_now` is true, then `round_over`
        for the actions in `waiting`: give each its `result`
        `messages` is what the model must see next

Calls are checked here, and repaired where their meaning is clear; what is not legal never becomes an `Action`. The
assistant's part of the history holds legal calls only: a broken one, seen again, teaches a small model to break the
next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from npcsdk.actions.constraint import BadCall, Offer
from npcsdk.actions.formats import Call, MalformedCall, ToolFormat
from npcsdk.actions.repair import repair_body, repair_call
from npcsdk.actions.schema import ActionDefinition
from npcsdk.actions.stream import CallName, CallPart, CallStream, Part, Speech, Unclosed
from npcsdk.backends.base import Piece
from npcsdk.dialogue.kept import Sampled, SampledCall, kept_segments
from npcsdk.events import Action, ActionStarted, Event, Refused, Text, Written
from npcsdk.prompt.templates import ChatMessage
from npcsdk.prompt.untrusted import neutralise

__all__ = ["Result", "TurnMachine"]

_LONGEST_ANSWER = 2000
"""Code points of a game's answer that a model reads: a few hundred tokens, which a small window has room for."""

_LONGEST_FATE = 200
"""Likewise of what people are told about it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The game's answer to an action: ``done`` with a value, ``failed`` with a reason, or ``silent``."""

    status: str
    value: Any = None

    def as_text(self) -> str:
        """What the model reads in the Tool turn."""
        if self.status == "silent":
            return "no answer"
        text = _plain(self.value)
        if self.status == "failed":
            return f"failed: {text}" if text else "failed"
        return text or "done"


def _plain(value: Any) -> str:
    if value is None or value is True:
        return ""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):  # keys that are no text, a circle, absurd depth
            value = str(value)
    text = value if len(value) <= _LONGEST_ANSWER else f"{value[:_LONGEST_ANSWER]}..."
    return neutralise(text).strip()


@dataclass(slots=True)
class _Round:
    """One generation of the model within a turn."""

    stream: CallStream
    pieces: Sampled = field(default_factory=Sampled)
    length: int = 0
    calls: list[SampledCall] = field(default_factory=list[SampledCall])
    made: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Where in ``calls`` an action stands: which of them, and which of its legal ones."""
    retracted: set[str] = field(default_factory=set[str])  # those that have not happened after all
    talked_over: bool = False  # what the model writes now comes after a waiting call; it is not taken
    started: ActionStarted | None = None  # announced, and neither made nor refused yet
    started_at: int = -1
    ended: bool = False  # the model ended the generation of its own will


class TurnMachine:
    """The state of one turn.

    Args:
        offer: what may be called now.
        tool_format: the model's dialect.
        max_calls: calls in one turn; further ones are refused.
        max_rounds: times that the turn may go on with results; in the round after the last, calls are refused.
        new_id: makes action ids, unique in the conversation.
        sequence: stop at an action that returns a result, so that the model decides on the next one with the
            answer in hand; otherwise it may call several, and gets their answers together.
        used: is told of every action that was made.
    """

    def __init__(
        self,
        *,
        offer: Offer,
        tool_format: ToolFormat,
        max_calls: int,
        max_rounds: int = 3,
        new_id: Callable[[], str],
        sequence: bool = False,
        used: Callable[[ActionDefinition], None] = lambda _: None,
    ) -> None:
        self._offer = offer
        self._format = tool_format
        self._max_calls = max_calls
        self._rounds_left = max_rounds
        self._new_id = new_id
        self._sequence = sequence
        self._used = used
        self._calls = 0
        self._round = self._new_round()
        self._messages: list[ChatMessage] = []
        self._waiting: dict[str, Action] = {}
        self._results: dict[str, Result] = {}
        self._spoken: list[str] = []
        self._written: list[Written] = []
        self._written_at: dict[str, int] = {}  # which of them an action came of
        self._offset = 0
        self.done = False
        self.out_of_rounds = False
        """Whether the model still asked for an action when there was no round left to answer it in."""
        self.generating = True
        """Whether a round is under way: begun, and `round_over` not called yet."""

    @property
    def text(self) -> str:
        """All that has been said in the turn so far."""
        return "".join(self._spoken)

    @property
    def calls_left(self) -> int:
        """How many calls the turn may still make."""
        return max(self._max_calls - self._calls, 0) if self._rounds_left else 0

    @property
    def written(self) -> tuple[Written, ...]:
        """The calls so far as the model wrote them, and what became of each."""
        return tuple(self._written)

    @property
    def offer(self) -> Offer:
        """What may be called now: what the turn was given, without what it has used up."""
        return self._offer

    @property
    def stop_now(self) -> bool:
        """Whether the generation should be stopped: the model waits for the game and has begun to talk over it."""
        return self._round.talked_over

    @property
    def waiting(self) -> tuple[Action, ...]:
        """Actions whose results the next round needs, in the order in which they were called."""
        return tuple(self._waiting.values())

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """The turn's finished messages after the user's: assistant, tool, assistant, ..."""
        return tuple(self._messages)

    def piece(self, piece: Piece) -> list[Event]:
        """Take generated text; the events that it completes."""
        if self.stop_now:
            return []
        self._round.pieces.add(piece)
        self._round.length += len(piece.text)
        return self._events(self._round.stream.feed(piece.text))

    def round_over(self, *, cancelled: bool = False, cut: bool = False) -> list[Event]:
        """The generation is over. After it, `waiting` says whether there is a next round.

        A cancelled turn keeps what was said and the calls that were made, and has no next round. ``cut`` says that
        the length limit ended it: then a call that is not finished cannot be told from half of one.
        """
        self._round.ended = not (cancelled or cut)
        events = self._events(self._round.stream.finish())
        self._messages.append(self._kept())
        self.generating = False
        if cancelled:
            self._waiting.clear()
        self.done = not self._waiting
        return events

    def _kept(self) -> ChatMessage:
        now = self._round
        gone = {place for action_id, place in now.made.items() if action_id in now.retracted}
        calls = list(now.calls)
        for index in {call for call, _ in gone}:
            legal = tuple(text for at, text in enumerate(calls[index].legal) if (index, at) not in gone)
            calls[index] = replace(calls[index], legal=legal, whole=False)
        return ChatMessage(
            "assistant", kept_segments(now.pieces, calls, self._format, silent_after=now.talked_over)
        )

    def _tell(self, action_id: str, more: str) -> None:
        """Something else has come of an action, for people who ask."""
        at = self._written_at.get(action_id)
        if at is not None:
            more = more if len(more) <= _LONGEST_FATE else f"{more[:_LONGEST_FATE]}..."
            self._written[at] = replace(self._written[at], became=f"{self._written[at].became}, {more}")

    def retract(
        self, action_ids: Collection[str], reason: str = "retracted: the game did not get it"
    ) -> None:
        """Actions of the last round that have not happened: history does not hold them either."""
        gone = (self._round.made.keys() & set(action_ids)) - self._round.retracted
        if not gone:
            return
        self._round.retracted |= gone
        for action_id in gone:
            self._waiting.pop(action_id, None)
            self._tell(action_id, reason)
        if not self.generating:
            self._messages[-1] = self._kept()

    def result(self, action_id: str, result: Result) -> bool:
        """Take the game's answer. False when nobody waits for it: unknown, or answered already.

        An action that returns nothing and failed all the same (the game forbade it) has not happened.
        """
        if result.status == "failed" and action_id not in self._waiting:
            self.retract([action_id], f"not allowed by the game: {result.as_text()}")
        if action_id not in self._waiting or action_id in self._results:
            return False
        self._results[action_id] = result
        self._tell(action_id, f"answered: {result.as_text()}")
        return True

    @property
    def unanswered(self) -> tuple[Action, ...]:
        """The waiting actions that have no result yet."""
        return tuple(action for key, action in self._waiting.items() if key not in self._results)

    def next_round(self) -> None:
        """Put the results into Tool turns and begin the next generation.

        Actions without a result get ``no answer``.
        """
        for action_id in self._waiting:
            result = self._results.get(action_id)
            if result is None:
                result = Result("silent")
                self._tell(action_id, result.as_text())
            self._messages.append(ChatMessage.of("tool", result.as_text()))
        self._waiting.clear()
        self._results.clear()
        self._rounds_left = max(self._rounds_left - 1, 0)
        self._round = self._new_round()
        self.generating = True
        if self._spoken and not self._spoken[-1].endswith((" ", "\n")):
            self._space_due = True

    def _new_round(self) -> _Round:
        self._space_due = False
        return _Round(self._format.stream())

    def _events(self, parts: Iterable[Part]) -> list[Event]:
        events: list[Event] = []
        for part in parts:
            if self.stop_now:
                break
            if isinstance(part, Speech):
                if self._waiting:  # the model speaks on without the answer it asked for
                    self._round.talked_over = True
                else:
                    events.append(self._say(part.text))
            elif isinstance(part, CallName):
                events.extend(self._name(part))
            elif isinstance(part, CallPart):
                events.extend(self._call(part))
            else:
                events.extend(self._unclosed(part))
        return events

    def _say(self, text: str) -> Text:
        if self._space_due:
            text = " " + text
            self._space_due = False
        event = Text(text=text, offset=self._offset)
        self._spoken.append(text)
        self._offset += len(text)
        return event

    def _name(self, part: CallName) -> list[Event]:
        if part.name not in self._offer.actions or not self.calls_left:
            return []
        started = ActionStarted(id=self._new_id(), name=part.name, offset=self._offset)
        self._round.started, self._round.started_at = started, part.start
        return [started]

    def _call(self, part: CallPart) -> list[Event]:
        if self._round.started_at != part.start:
            self._round.started = None
        try:
            calls, repaired = self._read(part.body)
        except MalformedCall as error:
            self._round.calls.append(SampledCall(part.start, part.end, part.body))
            return [self._refused("malformed", "", str(error), part.body)]
        events: list[Event] = []
        legal: list[str] = []
        for written in calls:
            try:
                if not self.calls_left:
                    self.out_of_rounds = self.out_of_rounds or not self._rounds_left
                    raise BadCall("too_many", self._limit())
                call, definition, arguments = self._checked(written)
            except BadCall as error:
                events.append(self._refused(error.code, written.name, str(error), part.body))
                continue
            self._calls += 1
            started, self._round.started = self._round.started, None
            action = Action(
                id=started.id if started else self._new_id(),
                name=call.name,
                arguments=arguments,
                offset=self._offset,
                returns=definition.returns,
                repaired=repaired or call is not written,
            )
            self._used(definition)
            if definition.cooldown:
                reason = f"it was used just now, and again only after {definition.cooldown:g} seconds"
                self._offer = self._offer.without(call.name, reason)
            if definition.returns == "result":
                self._waiting[action.id] = action
                self._round.talked_over = self._sequence
            events.append(action)
            repairs = ", repaired" if action.repaired else ""
            self._written_at[action.id] = len(self._written)
            self._written.append(Written(raw=part.body, became=f"action {action.id}{repairs}"))
            self._round.made[action.id] = (len(self._round.calls), len(legal))
            legal.append(self._format.render_call(call.name, call.arguments))
            if self.stop_now:
                break
        whole = len(legal) == len(calls) and not any(
            isinstance(event, Action) and event.repaired for event in events
        )
        self._round.calls.append(SampledCall(part.start, part.end, part.body, tuple(legal), whole=whole))
        return events

    def _limit(self) -> str:
        if self._rounds_left:
            return f"more than {self._max_calls} calls in one turn"
        return "the turn has gone on with results as often as it may"

    def _read(self, body: str) -> tuple[list[Call], bool]:
        """The calls in ``body``, and whether it had to be repaired."""
        try:
            return list(self._format.parse_calls(body)), False
        except MalformedCall as error:
            try:  # a body is incomplete only where the model closed the call, or ended its reply
                return repair_body(body, self._format, ended=True), True
            except MalformedCall:
                raise error from None

    def _checked(self, written: Call) -> tuple[Call, ActionDefinition, dict[str, Any]]:
        """The call as it was written or, if that is not legal, as it was clearly meant."""
        try:
            return (written, *self._offer.check(written))
        except BadCall as error:
            schemas = {name: offered.schema for name, offered in self._offer.actions.items()}
            meant = repair_call(written, schemas, self._offer.withheld)
            if meant == written:
                raise
            try:
                return (meant, *self._offer.check(meant))
            except BadCall:
                raise error from None

    def _unclosed(self, part: Unclosed) -> list[Event]:
        if self._round.ended:
            try:
                repair_body(part.body, self._format, ended=True)
            except MalformedCall:
                pass
            else:
                return self._call(CallPart(part.body, part.start, self._round.length))
        self._round.calls.append(SampledCall(part.start, self._round.length, part.body))
        started = self._round.started
        return [
            self._refused("unclosed", started.name if started else "", "the call was not finished", part.body)
        ]

    def _refused(self, code: str, name: str, message: str, raw: str) -> Refused:
        started, self._round.started = self._round.started, None
        self._written.append(Written(raw=raw, became=f"{code}: {message}"))
        return Refused(
            name=name or (started.name if started else ""),
            code=code,
            message=message,
            offset=self._offset,
            raw=raw,
            id=started.id if started else "",
        )
