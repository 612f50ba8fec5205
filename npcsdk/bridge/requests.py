"""Requests of clients beside turns: each carried out once, answered, and answered again to who asks again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from npcsdk.bridge.jobs import Jobs
from npcsdk.bridge.outbox import Outbox
from npcsdk.bridge.sessions import ServiceConversation, ServiceLimits, Session, WorldLike
from npcsdk.errors import NpcError, TurnError
from npcsdk.wire.codec import encode
from npcsdk.wire.messages import (
    DeleteSlot,
    Done,
    ExportSlot,
    Forget,
    Heard,
    ImportSlot,
    Learn,
    Load,
    Prepare,
    Remember,
    Request,
    Save,
    SetValues,
    Slots,
    State,
    Subscribe,
    Typing,
    Values,
)

__all__ = ["Requests"]

_log = logging.getLogger(__name__)
_BUSY_MS = 1000


class Requests:
    """What clients ask for beside turns.

    Args:
        world: the world, once it is there.
        sessions: all that there are.
    """

    def __init__(
        self,
        outbox: Outbox,
        jobs: Jobs,
        limits: ServiceLimits,
        world: Callable[[], WorldLike | None],
        sessions: Callable[[], Sequence[Session]],
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._limits = limits
        self._world = world
        self._sessions = sessions

    def receive(self, session: Session, command: Request) -> None:
        """Carry out a request, now or when its turn comes."""
        with session.lock:
            if command.request in session.answers:
                known = session.answers[command.request]
                if known is not None and session.route is not None:  # else it is under way
                    self._outbox.emit(session.route, known)
                return
            if self._world() is None:
                text, hint = "The world is still loading.", "Ask again when it is ready."
                self._refuse(session, command, "not_ready", text, hint)
                return
            if self._jobs.waiting >= self._limits.queue:
                self._refuse(session, command, "busy", "Too much waits for the model.", "Ask again later.")
                return
            session.answers[command.request] = None
            while len(session.answers) > self._limits.answers:
                session.answers.popitem(last=False)
        name = getattr(command, "conversation", None)
        if name is None:
            self._jobs.apart(session.client, lambda: self._carry_out(session, command, None))
        elif (conversation := session.conversations.get(name)) is None:
            error = TurnError("This conversation is not open.", hint="Open it first.", code="no_conversation")
            self._fail(session, command, error)
        elif isinstance(command, Heard):
            # Not behind the turn that it may interrupt.
            self._jobs.apart(session.client, lambda: self._carry_out(session, command, conversation))
        else:
            self._jobs.enqueue(conversation, lambda: self._carry_out(session, command, conversation))

    def typing(self, conversation: ServiceConversation, command: Typing) -> None:
        """Take up the newest beginnings of a line, when there is time."""
        waiting = conversation.typed is not None
        conversation.typed = command.line
        if not waiting and conversation.turn is None:
            self._jobs.enqueue(conversation, lambda: self._type(conversation))

    @staticmethod
    def _type(conversation: ServiceConversation) -> None:
        line, conversation.typed = conversation.typed, None
        if line is None or conversation.handle is None or conversation.turn is not None:
            return
        try:
            conversation.handle.prepare(line)
        except NpcError as error:
            _log.debug("nothing was prepared: %s", error)  # the line itself will say what is wrong

    def _carry_out(
        self, session: Session, command: Request, conversation: ServiceConversation | None
    ) -> None:
        try:
            value = self._do(session, command, conversation)
        except Exception as error:
            if not isinstance(error, NpcError):
                _log.exception("A request failed")
            self._fail(session, command, error)
            return
        answer = Done(request=command.request, answers=command.command, value=value or {})
        self._answer(session, command, encode(answer))

    def _do(
        self, session: Session, command: Request, conversation: ServiceConversation | None
    ) -> Mapping[str, Any] | None:
        world = self._world()
        if world is None:
            raise TurnError("The server is shutting down.", hint="Connect again.", code="shutting_down")
        if isinstance(command, Save):
            world.save(command.slot)
        elif isinstance(command, Load):
            world.load(command.slot)
        elif isinstance(command, Slots):
            return {"slots": world.slots()}
        elif isinstance(command, DeleteSlot):
            world.delete_slot(command.slot)
        elif isinstance(command, ExportSlot):
            return {"records": world.export_slot(command.slot, Path(command.file))}
        elif isinstance(command, ImportSlot):
            return {"slot": world.import_slot(Path(command.file), command.slot)}
        elif isinstance(command, Forget):
            return self._forget(world, command.player)
        elif isinstance(command, SetValues):
            world.set_values(command.npc, command.values, player=command.player)
        elif isinstance(command, Values):
            return {"values": dict(world.values(command.npc, player=command.player))}
        elif isinstance(command, Learn):
            world.learn(
                command.npc,
                command.subject,
                command.attribute,
                command.value,
                text=command.text,
                player=command.player,
                importance=command.importance,
                at=command.at,
                place=command.place or "",
            )
        elif isinstance(command, Remember):
            world.remember(
                command.npc,
                command.text,
                player=command.player,
                importance=command.importance,
                at=command.at,
                place=command.place or "",
            )
        elif isinstance(command, Subscribe):
            if command.npc not in world.npcs:
                hint = f"There are: {', '.join(world.npcs)}."
                raise TurnError(f"There is no character {command.npc!r}.", hint=hint, code="npc_unknown")
            self._outbox.subscribe(session, command.npc, command.on)
        elif conversation is None or conversation.handle is None:
            text = "This conversation could not be opened."
            raise TurnError(text, hint="Open it first.", code="no_conversation")
        elif isinstance(command, Heard):
            if not conversation.handle.heard(command.turn, command.offset):
                text = f"This conversation has no turn {command.turn!r}."
                raise TurnError(text, hint="Name a turn that has begun.", code="turn_unknown")
        elif isinstance(command, State):
            conversation.handle.update(command.state)
        elif isinstance(command, Prepare):
            if conversation.turn is None:  # else it is warmer than warm
                tokens = conversation.handle.prepare()
                return {"computed": tokens.computed, "cached": tokens.cached}
            return {"computed": 0, "cached": 0}
        return None

    def _forget(self, world: WorldLike, player: str) -> Mapping[str, int]:
        found = world.forget(player)
        for session in self._sessions():
            with session.lock:
                for conversation in list(session.conversations.values()):
                    if conversation.player == player:
                        conversation.replay.clear()  # what the player was told last
                        conversation.typed = None
        return {"records": found.records, "slots": found.slots, "conversations": found.conversations}

    def _fail(self, session: Session, command: Request, error: Exception) -> None:
        self._answer(session, command, encode(self._outbox.problem_of(command, error)))

    def _answer(self, session: Session, command: Request, payload: bytes) -> None:
        with session.lock:
            if command.request in session.answers:
                session.answers[command.request] = payload
            if session.route is not None:
                self._outbox.emit(session.route, payload)

    def _refuse(self, session: Session, command: Request, code: str, message: str, hint: str) -> None:
        retry = _BUSY_MS
        self._outbox.refuse(session.route or b"", command, code, message, hint, retry_ms=retry)
