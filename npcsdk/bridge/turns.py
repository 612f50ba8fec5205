"""Turns of conversations: begun once, told event by event, kept for a client that comes back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from npcsdk.bridge.jobs import UNDER_WAY, Jobs
from npcsdk.bridge.outbox import Outbox
from npcsdk.bridge.rounds import Rounds
from npcsdk.bridge.sessions import EventsAtHand, ServiceConversation, ServiceLimits, ServiceTurn
from npcsdk.bridge.stats import Stats
from npcsdk.errors import NpcError
from npcsdk.events import End, Event, Failed, Text
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import React, Say

__all__ = ["Turns"]

_log = logging.getLogger(__name__)
_BUSY_MS = 1000


class Turns:
    """The turns of all conversations.

    Args:
        over: told of each turn that has ended, whichever way.
        drained: called once after `drain`, when the last turn has ended.
    """

    def __init__(
        self,
        outbox: Outbox,
        jobs: Jobs,
        limits: ServiceLimits,
        stats: Stats,
        rounds: Rounds,
        *,
        over: Callable[[Say | React], None],
        drained: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._limits = limits
        self._stats = stats
        self._rounds = rounds
        self._over = over
        self._drained = drained
        self._draining = False
        self._running = 0
        self._lock = threading.Lock()

    def drain(self) -> None:
        """Begin no more turns; call ``drained`` when those that run have ended."""
        with self._lock:
            self._draining = True
            idle = self._running == 0
        if idle:
            self._drained()

    def begin(self, conversation: ServiceConversation, command: Say | React) -> None:
        """Start a turn; the same turn again is told again."""
        session = conversation.session
        with session.lock:
            if session.route is None:
                return
            running = conversation.turn
            if (running and running.command.turn == command.turn) or command.turn in conversation.over:
                self._again(conversation, command)
                return
            refusal = self._refusal(conversation)
            if refusal is not None:
                self._outbox.refuse(session.route, command, *refusal[:3], retry_ms=refusal[3])
                self._over(command)
                return
            conversation.turn = turn = ServiceTurn(command)
            conversation.typed = None
            conversation.replay.begin(command.turn)  # who speaks anew has heard the end of the last turn
            with self._lock:
                self._running += 1
        if conversation.handle is not None:
            conversation.handle.cancel()  # what is being prepared: it is wanted now
        begun = time.monotonic()
        self._jobs.enqueue(conversation, lambda: self._run(conversation, turn, begun))

    def _again(self, conversation: ServiceConversation, command: Say | React) -> None:
        """The same turn again: the same events again, told apart by their numbers."""
        session = conversation.session
        again = list(conversation.replay.after(0)) if conversation.replay.turn == command.turn else []
        for payload in again:
            self._outbox.emit(session.route or b"", payload)
        if not again and not conversation.turn:
            text = "This turn is over, and its events are not kept any more."
            self._outbox.refuse(session.route or b"", command, "turn_over", text, "Give a new turn a new id.")

    def _refusal(self, conversation: ServiceConversation) -> tuple[str, str, str, int | None] | None:
        if conversation.turn is not None:
            hint = "Wait for the turn's end, or cancel it first."
            return "turn_in_progress", "The character is still speaking.", hint, None
        if self._draining:
            return "shutting_down", "The server is shutting down.", "Connect again in a moment.", None
        if self._jobs.waiting >= self._limits.queue:
            self._stats.busy += 1
            text = f"{self._jobs.waiting} turns wait for the model, which is the limit."
            return "busy", text, "Say it again a little later.", _BUSY_MS
        budget = conversation.session.budget
        wait = budget.take(time.monotonic()) if budget else None
        if wait is not None:
            self._stats.busy += 1
            text = f"This client has more than {self._limits.turns_per_minute:g} turns a minute."
            return "busy", text, "Say it again a little later.", wait
        return None

    def _run(self, conversation: ServiceConversation, turn: ServiceTurn, begun: float) -> str | None:
        """Run a turn to its end; or leave it to `Rounds`, when its events need nobody who waits for them."""
        command = turn.command
        handle = conversation.handle
        self._stats.began(time.monotonic() - begun)
        self._overhear(conversation, command.turn, command)
        try:
            if handle is None:
                turn.last = Failed(code="no_conversation", message="This conversation could not be opened.")
            elif turn.cancelled:
                turn.last = End(reason="cancelled")
            else:
                ask = handle.say if isinstance(command, Say) else handle.react
                events = ask(
                    command.line if isinstance(command, Say) else command.happening,
                    turn=command.turn,
                    state=command.state,
                    seed=command.seed,
                    priority=command.priority or 0,
                )
                if isinstance(events, EventsAtHand):
                    return self._listen(conversation, turn, events)
                for event in events:
                    self._take(conversation, turn, event)
        except Exception as error:
            turn.last = self._failed(turn, error)
        self._finish(conversation, turn)
        return None

    def _listen(
        self, conversation: ServiceConversation, turn: ServiceTurn, events: EventsAtHand
    ) -> str | None:
        """Run a turn that has a thread only while there is work to do."""

        def work() -> str | None:
            return self._go_on(conversation, turn, events.work)

        def advance() -> None:
            if not turn.over and self._go_on(conversation, turn, events.take) is None:
                self._jobs.done(conversation)

        events.listen(self._rounds.follow(advance), lambda: self._jobs.resume(conversation, work))
        return work()

    def _go_on(
        self, conversation: ServiceConversation, turn: ServiceTurn, take: Callable[[], Event | None]
    ) -> str | None:
        """Tell what a turn has to tell now."""
        try:
            while True:
                event = take()
                if event is None:
                    return UNDER_WAY
                self._take(conversation, turn, event)
                if turn.last is not None:
                    break
        except Exception as error:
            turn.last = self._failed(turn, error)
        self._finish(conversation, turn)
        return None

    def _take(self, conversation: ServiceConversation, turn: ServiceTurn, event: Event) -> None:
        if isinstance(event, End | Failed):
            turn.last = event  # told when the world is done with it: by then the turn is in the journal
        else:
            if isinstance(event, Text):
                turn.said.append(event.text)
            self._tell(conversation, event)
        if turn.cancelled and conversation.handle is not None:
            conversation.handle.cancel()  # again: the first may have come before the turn had begun

    @staticmethod
    def _failed(turn: ServiceTurn, error: Exception) -> Failed:
        fault = fault_of(error)
        if not isinstance(error, NpcError):
            _log.error("A turn failed", exc_info=error)
        return Failed(
            code=fault["code"], message=fault["message"], hint=fault["hint"], text="".join(turn.said)
        )

    def _finish(self, conversation: ServiceConversation, turn: ServiceTurn) -> None:
        command, last = turn.command, turn.last
        turn.over = True
        if last is None:
            text = "".join(turn.said)
            last = Failed(code="internal_error", message="The turn ended without an end.", text=text)
        with conversation.session.lock:
            self._tell(conversation, last)
            conversation.turn = None
            conversation.over.append(command.turn)
        self._over(command)
        with self._lock:
            self._running -= 1
            drained = self._draining and self._running == 0
        if drained:
            self._drained()

    def _tell(self, conversation: ServiceConversation, event: Event) -> None:
        session = conversation.session
        with session.lock:
            payload = conversation.replay.add(event)
            if session.route is not None and not conversation.closed:
                self._outbox.emit(session.route, payload)
        self._stats.told(event)
        self._overhear(conversation, conversation.replay.turn, event)

    def _overhear(self, conversation: ServiceConversation, turn: str, said: Say | React | Event) -> None:
        history = conversation.history or conversation.id
        self._outbox.overhear(
            conversation.npc, conversation.player, history, conversation.session, turn, said
        )

    def cancel(
        self, conversation: ServiceConversation, turn: str, arrived: Collection[str] | None = None
    ) -> None:
        """Stop a turn, if it is the one that runs. ``arrived``: ids of the actions that the game has had."""
        running = conversation.turn
        if running is not None and running.command.turn == turn:
            running.cancelled = True
            if conversation.handle is not None:
                conversation.handle.cancel(arrived)
