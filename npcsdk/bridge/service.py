"""Commands in, events out: runs the conversations of all clients on one world. Knows no sockets.

Commands arrive in one thread (`Service.receive`); each turn runs in a thread of a bounded pool; bytes leave
through one callback, from any thread. Errors become messages here, so no client's mistake reaches another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from npcsdk.bridge.pool import Pool
from npcsdk.bridge.sessions import ServiceConversation, ServiceLimits, ServiceTurn, Session, WorldLike
from npcsdk.errors import NpcError, TurnError
from npcsdk.events import End, Event, Failed, Text
from npcsdk.wire.codec import encode, encode_turn_event
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import (
    Cancel,
    Close,
    Closed,
    Command,
    Goodbye,
    Hello,
    Leave,
    Loading,
    NpcInfo,
    Open,
    Opened,
    Problem,
    React,
    Ready,
    Result,
    Say,
    ServerEvent,
)

__all__ = ["Service"]

_log = logging.getLogger(__name__)


class Service:
    """All conversations on one world.

    Args:
        emit: takes a route and the bytes of an event for the client behind it; called from any thread.
        drained: called once after `drain`, when the last turn has ended.
    """

    def __init__(
        self,
        emit: Callable[[bytes, bytes], None],
        *,
        limits: ServiceLimits | None = None,
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        self._emit = emit
        self._limits = limits or ServiceLimits()
        self._drained = drained
        self._draining = False
        self._world: WorldLike | None = None
        self._stage = Loading(stage="starting")
        self._failure: Goodbye | None = None
        self._sessions: dict[str, Session] = {}
        self._routes: dict[bytes, Session] = {}
        self._histories: dict[str, ServiceConversation] = {}
        self._waiting: list[ServiceConversation] = []  # have jobs, but the world is not there yet
        self._turns = 0
        self._lock = threading.RLock()  # everything above; taken after a session's lock, never before it
        self._pool = Pool(self._limits.threads, "npcsdk-turn")

    # The world

    def loading(self, stage: str, progress: float | None = None) -> None:
        """Tell every client how far the loading is."""
        self._stage = Loading(stage=stage, progress=progress)
        self._broadcast(self._stage)

    def attach(self, world: WorldLike) -> None:
        """The world is there: register the actions that came meanwhile, tell everybody, begin what waits."""
        with self._lock:
            self._world = world
            sessions = list(self._sessions.values())
            waiting, self._waiting = self._waiting, []
        for session in sessions:
            if self._register(session, session.actions):
                self._send(session, self._ready(world))
        for conversation in waiting:
            self._pool.submit(lambda one=conversation: self._work(one))

    @property
    def loaded(self) -> bool:
        """Whether the world is there."""
        return self._world is not None

    def fail(self, error: BaseException) -> None:
        """The world cannot be loaded: everybody is told, now and later."""
        self._failure = Goodbye(**fault_of(error))
        self._broadcast(self._failure)

    def drain(self) -> None:
        """Begin no more turns; call ``drained`` when those that run have ended."""
        with self._lock:
            self._draining = True
            idle = self._turns == 0
        if idle:
            self._drained()

    def close(self) -> None:
        """Cancel everything and close the world."""
        with self._lock:
            sessions, world, self._world = list(self._sessions.values()), self._world, None
        for session in sessions:
            self._drop(session)
        self._pool.close()
        if world is not None:
            world.close()

    # Clients

    def receive(self, route: bytes, command: Command) -> None:
        """Carry out one command. Returns at once; what takes time happens in the pool."""
        if isinstance(command, Hello):
            self._hello(route, command)
            return
        session = self._routes.get(route)
        if session is None:
            # Its conversations are gone: it has to greet again, and learns then what was lost.
            self._refuse(route, command, "hello_first", "The server does not know this client any more.", "")
        elif isinstance(command, Open):
            self._open(session, command)
        elif isinstance(command, Leave):
            self._drop(session)
        elif not isinstance(command, Close | Say | React | Cancel | Result):
            return  # a ping is answered by the server's peer
        elif (conversation := session.conversations.get(command.conversation)) is None:
            if isinstance(command, Say | React):
                self._refuse(
                    route, command, "no_conversation", "This conversation is not open.", "Send open first."
                )
        elif isinstance(command, Close):
            self._close(conversation)
        elif isinstance(command, Say | React):
            self._begin(conversation, command)
        elif isinstance(command, Cancel):
            self._cancel(conversation, command.turn)
        elif conversation.handle is not None:
            conversation.handle.result(command.action, command.status, command.value)

    def vanished(self, route: bytes, now: float) -> None:
        """The client behind a route is gone; it may come back on another within the time of grace."""
        session = self._routes.pop(route, None)
        if session is not None:
            with session.lock:
                session.route = None
                session.gone_since = now

    def tick(self, now: float) -> None:
        """Give up clients that did not come back."""
        for session in list(self._sessions.values()):
            if session.gone_since is not None and now - session.gone_since > self._limits.grace:
                self._drop(session)

    def _hello(self, route: bytes, hello: Hello) -> None:
        if self._failure is not None:
            self._emit(route, encode(self._failure))
            return
        session = self._sessions.get(hello.client)
        known = session is not None
        if session is None:
            session = self._sessions[hello.client] = Session(hello.client, route, ())
        with session.lock:
            if session.route not in (None, route):
                # The newest connection that knows the client's name is the client.
                self._routes.pop(session.route or b"", None)
                replaced = Goodbye(
                    code="replaced",
                    message="Another connection has taken over this client's session.",
                    hint="Give every client a name of its own.",
                )
                self._emit(session.route or b"", encode(replaced))
            session.route, session.gone_since = route, None
            self._routes[route] = session
            world = self._world
            if hello.actions != session.actions or not known:
                session.actions = hello.actions
                if not self._register(session, hello.actions):
                    return
            self._send(session, self._stage if world is None else self._ready(world))
            for name, seen in hello.seen.items():
                self._catch_up(session, name, seen)
        if self._failure is not None:  # it failed meanwhile
            self._emit(route, encode(self._failure))

    def _register(self, session: Session, actions: tuple[Mapping[str, Any], ...]) -> bool:
        from npcsdk.actions.schema import ActionDefinition

        try:
            definitions = [ActionDefinition.from_dict(one) for one in actions]
            if self._world is not None and definitions:
                self._world.add_actions(definitions)
        except Exception as error:
            if not isinstance(error, NpcError):
                _log.exception("A client's actions cannot be registered")
            self._send(session, Goodbye(**fault_of(error)))
            self._drop(session)
            return False
        return True

    def _catch_up(self, session: Session, name: str, seen: int) -> None:
        """Send what the client missed of a conversation, or tell it that this cannot be done."""
        conversation = session.conversations.get(name)
        first = conversation.replay[0][0] if conversation and conversation.replay else None
        if conversation is None or (seen < conversation.seq and (first is None or first > seen + 1)):
            if conversation is not None:
                self._close(conversation)
            lost = Problem(
                code="conversation_lost",
                message=f"The server does not have the conversation {name!r} any more.",
                hint="Open it again, with its history to continue it.",
                kind=TurnError.default_code,
                conversation=name,
            )
            self._send(session, lost)
            return
        for seq, _, payload in conversation.replay:
            if seq > seen:
                self._emit(session.route or b"", payload)

    def _drop(self, session: Session) -> None:
        with session.lock:
            self._sessions.pop(session.client, None)
            if session.route is not None:
                self._routes.pop(session.route, None)
            for conversation in list(session.conversations.values()):
                self._close(conversation)
            session.route = None

    # Conversations

    def _open(self, session: Session, command: Open) -> None:
        existing = session.conversations.get(command.conversation)
        if existing is not None:
            if existing.handle is not None:  # asked again after a reconnection
                self._send(session, self._opened(existing, command))
            return
        refusal = None
        holder = self._histories.get(command.history or "")
        if len(session.conversations) >= self._limits.conversations:
            refusal = (
                "too_many_conversations",
                f"This client has {len(session.conversations)} conversations open, which is the limit.",
                "Close those that are over.",
            )
        elif holder is not None and not holder.closed:
            refusal = (
                "history_in_use",
                f"The history {command.history!r} belongs to a conversation that is open.",
                "Close that one first, or open without a history.",
            )
        if refusal is not None and session.route is not None:
            self._refuse(session.route, command, *refusal)
            return
        conversation = session.conversations[command.conversation] = ServiceConversation(
            command.conversation, session
        )
        if command.history is not None:
            self._claim(conversation, command.history)
        if holder is None:
            self._enqueue(conversation, lambda: self._open_now(conversation, command))
        else:  # the history's last conversation is still closing: begin behind it
            conversation.busy = True
            conversation.jobs.append(lambda: self._open_now(conversation, command))
            self._enqueue(holder, lambda: self._pool.submit(lambda: self._work(conversation)))

    def _open_now(self, conversation: ServiceConversation, command: Open) -> None:
        world, session = self._world, conversation.session
        if conversation.closed or world is None:
            return
        try:
            handle = world.open(command.npc, player=command.player, conversation=command.history)
        except Exception as error:
            if not isinstance(error, NpcError):
                _log.exception("A conversation cannot be opened")
            with session.lock:
                self._forget(conversation)
                problem = Problem(**fault_of(error), answers=Open.command, conversation=command.conversation)
                self._send(session, problem)
            return
        with session.lock:
            conversation.handle = handle
            self._claim(conversation, handle.id)
            if not conversation.closed:
                self._send(session, self._opened(conversation, command))

    @staticmethod
    def _opened(conversation: ServiceConversation, command: Open) -> Opened:
        return Opened(
            conversation=conversation.id,
            npc=command.npc,
            player=command.player,
            history=conversation.handle.id if conversation.handle else "",
        )

    def _close(self, conversation: ServiceConversation) -> None:
        session = conversation.session
        with session.lock:
            if conversation.closed:
                return
            conversation.closed = True
            session.conversations.pop(conversation.id, None)
            if conversation.turn is not None:
                self._cancel(conversation, conversation.turn.command.turn)
            self._enqueue(conversation, lambda: self._close_now(conversation))

    def _close_now(self, conversation: ServiceConversation) -> None:
        if conversation.handle is not None:
            conversation.handle.close()
        with conversation.session.lock:
            self._forget(conversation)
            self._send(conversation.session, Closed(conversation=conversation.id))

    def _claim(self, conversation: ServiceConversation, history: str) -> None:
        with self._lock:
            conversation.history = history
            self._histories[history] = conversation

    def _forget(self, conversation: ServiceConversation) -> None:
        conversation.closed = True
        known = conversation.session.conversations
        if known.get(conversation.id) is conversation:
            del known[conversation.id]
        with self._lock:
            if self._histories.get(conversation.history or "") is conversation:
                del self._histories[conversation.history or ""]

    # Turns

    def _begin(self, conversation: ServiceConversation, command: Say | React) -> None:
        session = conversation.session
        with session.lock:
            if session.route is None:
                return
            running = conversation.turn
            if (running and running.command.turn == command.turn) or command.turn in conversation.over:
                # The same turn again: the same events again, told apart by their numbers.
                again = [payload for _, turn, payload in conversation.replay if turn == command.turn]
                for payload in again:
                    self._emit(session.route, payload)
                if not again and not running:
                    text = "This turn is over, and its events are not kept any more."
                    self._refuse(session.route, command, "turn_over", text, "Give a new turn a new id.")
                return
            if running is not None:
                self._refuse(
                    session.route,
                    command,
                    "turn_in_progress",
                    "The character is still speaking.",
                    "Wait for the turn's end, or cancel it first.",
                )
                return
            if self._draining:
                text, hint = "The server is shutting down.", "Connect again in a moment."
                self._refuse(session.route, command, "shutting_down", text, hint)
                return
            conversation.turn = turn = ServiceTurn(command)
            conversation.replay.clear()  # who speaks anew has heard the end of the last turn
            with self._lock:
                self._turns += 1
        self._enqueue(conversation, lambda: self._run(conversation, turn))

    def _run(self, conversation: ServiceConversation, turn: ServiceTurn) -> None:
        last: End | Failed | None = None
        said: list[str] = []
        command = turn.command
        handle = conversation.handle
        try:
            if handle is None:
                last = Failed(code="no_conversation", message="This conversation could not be opened.")
            elif turn.cancelled:
                last = End(reason="cancelled")
            else:
                ask = handle.say if isinstance(command, Say) else handle.react
                line = command.line if isinstance(command, Say) else command.happening
                for event in ask(line, turn=command.turn, state=command.state, seed=command.seed):
                    if isinstance(event, End | Failed):
                        last = event  # sent when the generator is done: by then the turn is in the journal
                    else:
                        if isinstance(event, Text):
                            said.append(event.text)
                        self._tell(conversation, command.turn, event)
                    if turn.cancelled:
                        handle.cancel()  # again: the first may have come before the turn had begun
        except Exception as error:
            fault = fault_of(error)
            if not isinstance(error, NpcError):
                _log.exception("A turn failed")
            last = Failed(
                code=fault["code"], message=fault["message"], hint=fault["hint"], text="".join(said)
            )
        if last is None:
            last = Failed(code="internal_error", message="The turn ended without an end.", text="".join(said))
        with conversation.session.lock:
            self._tell(conversation, command.turn, last)
            conversation.turn = None
            conversation.over.append(command.turn)
        with self._lock:
            self._turns -= 1
            drained = self._draining and self._turns == 0
        if drained:
            self._drained()

    def _tell(self, conversation: ServiceConversation, turn: str, event: Event) -> None:
        session = conversation.session
        with session.lock:
            conversation.seq += 1
            payload = encode_turn_event(conversation.id, turn, conversation.seq, event)
            conversation.replay.append((conversation.seq, turn, payload))
            if len(conversation.replay) > self._limits.replay_events:
                conversation.replay.popleft()
            if session.route is not None and not conversation.closed:
                self._emit(session.route, payload)

    def _cancel(self, conversation: ServiceConversation, turn: str) -> None:
        running = conversation.turn
        if running is not None and running.command.turn == turn:
            running.cancelled = True
            if conversation.handle is not None:
                conversation.handle.cancel()

    # Jobs and messages

    def _enqueue(self, conversation: ServiceConversation, job: Callable[[], None]) -> None:
        """Run a job after the conversation's earlier ones; different conversations run side by side."""
        with self._lock:
            conversation.jobs.append(job)
            if conversation.busy:
                return
            conversation.busy = True
            if self._world is None:
                self._waiting.append(conversation)
                return
        self._pool.submit(lambda: self._work(conversation))

    def _work(self, conversation: ServiceConversation) -> None:
        while True:
            with self._lock:
                if not conversation.jobs:
                    conversation.busy = False
                    return
                job = conversation.jobs.popleft()
            try:
                job()
            except Exception:
                _log.exception("A conversation's work failed")

    def ready(self) -> Ready:
        """What clients are told of the world that is attached."""
        assert self._world is not None
        return self._ready(self._world)

    @staticmethod
    def _ready(world: WorldLike) -> Ready:
        npcs = tuple(
            NpcInfo(id=npc.id, name=npc.name, role=npc.role or "", voice=npc.voice)
            for npc in world.npcs.values()
        )
        return Ready(world=world.name, npcs=npcs)

    def _broadcast(self, message: ServerEvent) -> None:
        for session in list(self._sessions.values()):
            self._send(session, message)

    def _send(self, session: Session, message: ServerEvent) -> None:
        with session.lock:
            if session.route is not None:
                self._emit(session.route, encode(message))

    def _refuse(self, route: bytes, command: Command, code: str, message: str, hint: str) -> None:
        problem = Problem(
            code=code,
            message=message,
            hint=hint,
            kind=TurnError.default_code,
            answers=command.command,
            conversation=getattr(command, "conversation", None),
            turn=getattr(command, "turn", None),
        )
        self._emit(route, encode(problem))
