"""A character and its interlocutor: a history, a state, and one turn at a time."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Literal

from npcsdk.actions.constraint import Offer
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import CancelFlag, Constraint, Finish, FinishReason, Request
from npcsdk.dialogue.clock import TurnClock
from npcsdk.dialogue.history import History
from npcsdk.dialogue.listening import TurnEvents
from npcsdk.dialogue.mind import Limits, Mind
from npcsdk.dialogue.notebook import Notebook
from npcsdk.dialogue.npc import Npc
from npcsdk.dialogue.offering import Offering
from npcsdk.dialogue.preparing import Preparation
from npcsdk.dialogue.running import (
    REASONS,
    Running,
    checked_line,
    checked_state,
    defect,
    failed,
    not_now,
    tools_of,
)
from npcsdk.dialogue.turn import Result, TurnMachine
from npcsdk.dialogue.upkeep import Upkeep
from npcsdk.errors import NpcError
from npcsdk.events import Event, Failed, Tokens
from npcsdk.memory.recall import Passage
from npcsdk.prompt.budget import Shares
from npcsdk.prompt.build import REACT_LINE, now_lines
from npcsdk.prompt.compose import Composed, Composer, Stable
from npcsdk.prompt.untrusted import scrubbed

__all__ = ["Conversation", "Limits", "Mind"]

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds that a cancelled turn is waited for: a runtime stops within a piece of its work


class Conversation:
    """Made by `npcsdk.dialogue.world.World.open`. `cancel` and `result` may be called from any thread."""

    def __init__(
        self,
        mind: Mind,
        npc: Npc,
        *,
        player: str,
        id: str,
        definitions: Callable[[], Sequence[ActionDefinition]] | None = None,
    ) -> None:
        self.id = id
        self.npc = npc
        self.player = player
        self._mind = mind
        self._template = mind.template.speaking_as(npc.name)
        self._condition = threading.Condition()
        self._definitions = definitions or mind.definitions
        self._busy = False
        self._stale = False  # a save was loaded while a turn ran
        self._preparation: Preparation | None = None
        self._current: Running | None = None
        self._closed = False
        self._cancelled = False
        self._arrived: Collection[str] | None = None
        self._flag = CancelFlag()
        self._machine: TurnMachine | None = None
        self._events_now: Callable[[], TurnEvents | None] = lambda: None
        self._offering = Offering(npc.id, mind.cooldowns, mind.limits)
        self._notebook = Notebook(mind.memory, npc.id, player)
        self._history = History(mind.memory, self._notebook, mind.time, id=id, npc=npc, player=player)
        self._cut_short: frozenset[str] = frozenset()
        self._state = self._state_at_first()
        self._upkeep = Upkeep(self._history, mind.summaries, self._condition, lambda: mind.memory.timeline)
        self._read()
        self._numbers = itertools.count(self._history.last_number + 1)

    def _read(self) -> None:
        """Take up what memory has: at the beginning, and after a save was loaded."""
        mind = self._mind
        self._cut_short = self._notebook.cut_short()
        window = mind.backend.capabilities.context_length
        sampling = self.npc.sampling(mind.sampling, None)
        self._composer = Composer(
            self._template,
            mind.backend.count,
            Shares(window=window, reply=min(sampling.max_tokens, window // 4)),
            contexts_in_system=mind.contexts_in_system,
        )
        self._history.restore(self._composer, room=window)
        self._stale = False
        self._upkeep.drop()

    def _state_at_first(self) -> dict[str, Any]:
        npc = self.npc
        return {**npc.world.state, **npc.persona.state, **self._mind.memory.values(npc.id, self.player)}

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def gone(self) -> bool:
        """Whether it is closed, and its last turn is over."""
        return self._closed and not self._busy

    # What a game calls.

    def say(
        self,
        line: str,
        *,
        turn: str | None = None,
        state: Mapping[str, Any] | None = None,
        seed: int | None = None,
        priority: int = 0,
    ) -> Iterator[Event]:
        """The player says ``line``; the events of the answer, as they come.

        The iterator works when it is advanced. Closing it early cancels the turn.

        Args:
            turn: an id for the turn, from whoever asks.
            state: what is so in the game now; merged into what was sent before.
            seed: makes the sampling repeatable.
            priority: of several characters' turns at once the highest goes first; 0 is the usual.

        Raises:
            TurnError: at once, before anything is generated: ``line_empty``, ``line_too_long``, ``turn_in_progress``,
                ``conversation_closed``. Whatever goes wrong later ends the turn with `Failed`.
        """
        line = checked_line(line, "The player's line", hint="Send some words.")
        self._composer.check_line(line)
        return self._begin(line, "", turn, state, seed, priority)

    def react(
        self,
        happening: str,
        *,
        turn: str | None = None,
        state: Mapping[str, Any] | None = None,
        seed: int | None = None,
        priority: int = 0,
    ) -> Iterator[Event]:
        """Something happened in the game; the character remarks on it of its own accord. Otherwise as `say`."""
        happening = checked_line(
            happening, "The event", hint="Tell in a sentence what the character notices."
        )
        self._composer.check_line(happening)
        return self._begin(REACT_LINE, happening, turn, state, seed, priority)

    def cancel(self, arrived: Collection[str] | None = None) -> None:
        """Stop the turn that runs, or what is being prepared, within one piece of work. No action leaves any more.

        ``arrived``: ids of the actions that the game has had, where only it knows; the others are retracted.
        """
        with self._condition:
            self._arrived = self._arrived if arrived is None else arrived
            if self._preparation is not None:
                self._preparation.cancel.set()
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

    def update(self, state: Mapping[str, Any]) -> None:
        """What is so in the game now, without a line: the next turn goes by it.

        Raises:
            TurnError: ``bad_state``.
        """
        checked = checked_state(state)
        with self._condition:
            self._state = {**self._state, **checked}

    def prepare(self, line: str = "", *, cancel: CancelFlag | None = None) -> Tokens:
        """Compute what the next prompt will begin with, so that its first word comes soon.

        Blocks while it computes; a turn that begins meanwhile ends it within a piece of the runtime's work.

        ``line``: the beginnings of what the player types. ``cancel``: set from any thread to end it."""
        with self._condition:
            if self._closed or self._busy or self._preparation is not None:
                return Tokens()
            self._preparation = preparation = Preparation(cancel or CancelFlag())
            self._upkeep.take(self._composer)
            self._mind.summaries.turn_begins()
        try:
            definitions = self.npc.allowed(self._definitions())
            before = self._history.last_line
            shown, offer = self._offering.now(definitions, self._state, line, before)
            stable = self._composer.stable(self.npc.sections(self._state), tools_of(shown))
            found = self._recall_for(line, self._state) if line.strip() else []
            now = now_lines(self._state, asked=offer.asked.values()) if line else []
            composed = self._filled(stable, found, now, scrubbed(line))
            prompt = composed.prompt(self._template)
            return preparation.run(
                self._mind.backend, prompt, self.npc.sampling(self._mind.sampling, 0), self.id
            )
        finally:
            with self._condition:
                self._preparation = None
                self._mind.summaries.turn_over()
                self._condition.notify_all()

    def heard(self, turn: str, offset: int) -> bool:
        """Of ``turn`` the player heard only the first ``offset`` code points: that much was said (promise 5).

        On disk when this returns, or when the turn that still runs is over. False when there is no such turn.
        """
        with self._condition:
            running = self._current
            if running is not None and running.id == turn:
                running.heard = max(offset, 0)
                return True
            self._upkeep.heard_less(self._composer, running=self._busy)
            if not self._history.cut(turn, offset, self._composer, self._mind.tool_format, self._state):
                return False
            self._cut_short |= {turn}
            return True

    def rewind(self) -> bool:
        """A save was loaded: cancel what runs, and be as memory has it now; otherwise as `reread`."""
        self.cancel()
        with self._condition:
            self._state = self._state_at_first()
        return self.reread()

    def reread(self) -> bool:
        """Memory has changed: be as it has it now, or when the turn that runs (then True) is over."""
        with self._condition:
            self._upkeep.drop()
            self._stale = running = self._busy
            if not running and not self._closed:
                self._read()
        self._mind.backend.release(self.id)
        return running

    def disown(self) -> None:
        """Nothing of the turn that runs, and of what is being summed up, will be written any more."""
        with self._condition:
            self._upkeep.drop()
            if self._current is not None:
                self._history.disown(self._current)
        self.cancel()

    def over(self, timeout: float) -> None:
        """Wait until no turn runs; cancel the one that does not come to an end in so many seconds."""
        with self._condition:
            if self._condition.wait_for(lambda: not self._busy, timeout):
                return
        self.cancel()
        self._finish()

    def close(self) -> None:
        """Cancel what is running and let go of the runtime's cache. Idempotent; what was said stays in memory.

        A turn that was running is over and remembered when this returns; its listener may still read its events.
        """
        with self._condition:
            self._closed = True
        self.cancel()
        self._finish()
        self._mind.backend.release(self.id)

    def _finish(self) -> None:
        events = self._events_now()
        if events is not None:
            events.finish(_PATIENCE)

    # One turn.

    def _begin(
        self,
        line: str,
        happening: str,
        turn: str | None,
        state: Mapping[str, Any] | None,
        seed: int | None,
        priority: int,
    ) -> Iterator[Event]:
        with self._condition:
            if self._closed or self._busy:
                raise not_now(self.id, self.npc.name, closed=self._closed)
            now = {**self._state, **checked_state(state)}
            while self._preparation is not None:  # what it has computed is kept
                self._preparation.cancel.set()
                self._condition.wait()
            self._upkeep.take(self._composer)
            self._mind.summaries.turn_begins()
            current = Running(
                id=turn or f"{self.id}:{next(self._numbers)}",
                line=line,
                happening=happening,
                state=now,
                seed=seed,
                priority=priority,
                timeline=self._mind.memory.timeline,
                clock=TurnClock(),
                cancelled=lambda: self._cancelled,
            )
            self._state = now
            self._current = current
            self._busy = True
            self._cancelled, self._arrived = False, None
            self._flag = CancelFlag()
            events = TurnEvents(self._events(current), self._abandon, current.listener)
            self._events_now = weakref.ref(events)
        return events

    def _abandon(self) -> None:
        with self._condition:  # a turn that was never listened to is over without a trace
            self._over()

    def _over(self) -> None:
        """The turn is over. Holds the lock."""
        self._busy = False
        self._current = self._machine = None
        self._mind.summaries.turn_over()
        self._condition.notify_all()
        if self._stale and not self._closed:
            self._read()
        if not self._closed:
            self._upkeep.sum_up(self._composer)

    def _events(self, turn: Running) -> Generator[Event | None, None, None]:
        last: Event
        try:
            try:
                yield from turn.clock.outside(self._run(turn))
            except NpcError as error:
                last = failed(error, turn.spoken)
            except Exception as error:  # a defect of ours or of a plug-in: the game must go on
                logger.exception("turn %s failed", turn.id)
                last = failed(defect("The turn failed", error), turn.spoken)
            else:
                turn.take_back(self._arrived)
                last = turn.end(self._offering.explanation(turn.machine.written if turn.machine else ()))
        finally:  # also when the listener left: what was said is kept
            try:
                problem = self._history.keep(turn, self._composer, self._mind.tool_format)
            finally:
                with self._condition:
                    self._over()
                    closed = self._closed
                if closed:  # it was closed before this turn was over
                    self._mind.backend.release(self.id)
        if problem is not None and not isinstance(last, Failed):
            last = failed(problem, turn.spoken)
        yield last

    def _run(self, turn: Running) -> Generator[Event | None, None, None]:
        mind = self._mind
        if self._cancelled:  # before anybody listened
            return
        definitions = self.npc.allowed(self._definitions())
        text, before = turn.happening or turn.line, self._history.last_line
        shown, offer = self._offering.now(definitions, turn.state, text, before)
        passages = self._recall(turn)
        stable = self._composer.stable(self.npc.sections(turn.state), tools_of(shown))
        now = now_lines(turn.state, happening=turn.happening, asked=offer.asked.values())
        turn.composed = composed = self._filled(stable, passages, now, turn.line)
        turn.dropped = composed.dropped
        turn.recalled = self._history.recalled(composed, passages)
        machine = turn.machine = TurnMachine(
            offer=offer,
            tool_format=mind.tool_format,
            max_calls=mind.limits.calls,
            max_rounds=mind.limits.rounds,
            new_id=lambda: f"{turn.id}/{next(self._numbers)}",
            sequence=mind.limits.order == "sequence",
            used=self._offering.used,
        )
        with self._condition:
            self._machine = machine
        while True:
            finish = yield from self._generate(turn, machine)
            turn.reason = "cancelled" if self._cancelled else REASONS[finish]
            yield from turn.deliver(machine.round_over(cancelled=self._cancelled, cut=finish == "length"))
            if machine.done:
                if machine.out_of_rounds and turn.reason == "stop":
                    turn.reason = "rounds"
                return
            with turn.clock.waiting():
                self._await_results(machine, definitions)
            if self._cancelled:
                turn.reason = "cancelled"
                return
            with self._condition:  # an answer counts, or is told that it comes too late
                machine.next_round()

    def _generate(self, turn: Running, machine: TurnMachine) -> Generator[Event | None, None, FinishReason]:
        """One generation; its events, None for not yet, and as the generator's value the reason why it ended."""
        mind = self._mind
        assert turn.composed is not None
        flag = CancelFlag()
        with self._condition:
            self._flag = flag
            if self._cancelled:
                flag.set()
        turn.composed = self._composer.with_room_for(turn.composed, machine.messages)
        turn.dropped = turn.composed.dropped
        constraint = self._constraint(machine)
        if not machine.messages:
            self._offering.begin(machine.offer, constraint)
        request = Request(
            prompt=turn.composed.prompt(self._template, machine.messages),
            sampling=self.npc.sampling(mind.sampling, turn.seed),
            stop=self._template.stop,
            constraint=constraint,
            cancel=flag,
            session=self.id,
            priority=turn.priority,
        )
        generation = mind.backend.generate(request)
        try:
            for item in turn.clock.runtime(turn.listener.pieces(generation)):
                if item is None:
                    yield None
                    continue
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
                yield from turn.deliver(machine.piece(item))
                if machine.stop_now:
                    flag.set()  # and listen on for the counts
        finally:
            close = getattr(generation, "close", None)
            if close is not None:
                close()
        return "stop"

    def _constraint(self, machine: TurnMachine) -> Constraint | None:
        if not self._mind.backend.capabilities.constraints:
            return None
        calls = machine.calls_left
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

    def _recall(self, turn: Running) -> list[Passage]:
        with turn.clock.recall():
            found = self._recall_for(turn.happening or turn.line, turn.state)
        if not turn.happening:
            self._history.last_line = turn.line
        return found

    def _recall_for(self, query: str, state: Mapping[str, Any]) -> list[Passage]:
        limits = self._mind.limits
        return self._history.recall(
            query,
            self._composer,
            limit=limits.passages,
            sentences=limits.sentences,
            known=self.npc.known(state) if limits.sentences else (),
            now=self._mind.time.now(state),
            without=self._cut_short,
        )

    def _filled(self, stable: Stable, passages: Sequence[Passage], now: Sequence[str], line: str) -> Composed:
        shown = [(item.source, item.text) for item in passages]
        history = self._history
        return self._composer.compose(stable, history.past, shown, now, line, earlier=history.earlier)
