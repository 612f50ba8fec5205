"""The service's way out: messages to clients, refusals, and whoever overhears."""

from __future__ import annotations

from collections.abc import Callable

from npcsdk.bridge.sessions import Session
from npcsdk.errors import NpcError, TurnError
from npcsdk.events import Event, event_to_dict
from npcsdk.wire.codec import encode
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import Command, Overheard, Problem, React, Request, Say, ServerEvent

__all__ = ["Outbox"]


class Outbox:
    """Args:
    emit: takes a route and the bytes of an event for the client behind it; called from any thread.
    """

    def __init__(self, emit: Callable[[bytes, bytes], None]) -> None:
        self.emit = emit
        self._listeners: dict[str, set[Session]] = {}

    def send(self, session: Session, message: ServerEvent) -> None:
        """Tell a client something, if it is there."""
        with session.lock:
            if session.route is not None:
                self.emit(session.route, encode(message))

    def refuse(
        self,
        route: bytes,
        command: Command,
        code: str,
        message: str,
        hint: str,
        *,
        retry_ms: int | None = None,
    ) -> None:
        """A command is not carried out."""
        problem = Problem(
            code=code,
            message=message,
            hint=hint,
            kind=TurnError.default_code,
            answers=command.command,
            conversation=getattr(command, "conversation", None),
            turn=command.turn if isinstance(command, Say | React) else None,
            request=getattr(command, "request", None),
            retry_ms=retry_ms,
        )
        self.emit(route, encode(problem))

    @staticmethod
    def problem_of(command: Request, error: Exception) -> Problem:
        """A request that failed."""
        return Problem(**fault_of(error), answers=command.command, request=command.request)

    # Overhearing

    def subscribe(self, session: Session, npc: str, on: bool) -> None:
        """From now on the session overhears the npc, or no more."""
        listeners = self._listeners.get(npc, set[Session]())
        # Replaced, never changed: turns read it without a lock.
        self._listeners[npc] = listeners | {session} if on else listeners - {session}

    def unsubscribe(self, session: Session) -> None:
        """The session is gone."""
        for npc in list(self._listeners):
            self.subscribe(session, npc, False)

    def overhear(
        self, npc: str, player: str, history: str, by: Session, turn: str, said: Say | React | Event
    ) -> None:
        """Let those who subscribed hear what goes on in a conversation of somebody else."""
        listeners = self._listeners.get(npc)
        if not listeners:
            return
        if isinstance(said, Say):
            content = {"event": "said", "line": said.line}
        elif isinstance(said, React):
            content = {"event": "happened", "happening": said.happening}
        else:
            content = event_to_dict(said)
        message = Overheard(npc=npc, player=player, history=history, turn=turn, content=content)
        for session in listeners - {by}:
            try:
                self.send(session, message)
            except NpcError:
                continue  # too large to be told with its surroundings; its own client has it
