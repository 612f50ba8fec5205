"""Commands in, events out: runs the conversations of all clients on one world. Knows no sockets.

Commands arrive in one thread (`Service.receive`); each turn runs in a thread of a bounded pool, unless its events need
nobody who waits for them (`npcsdk.bridge.rounds`); bytes leave
through one callback, from any thread. Errors become messages here, so no client's mistake reaches another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from npcsdk.bridge.budget import Budget
from npcsdk.bridge.jobs import Jobs
from npcsdk.bridge.outbox import Outbox
from npcsdk.bridge.replay import Replay
from npcsdk.bridge.requests import Requests
from npcsdk.bridge.rounds import Rounds
from npcsdk.bridge.sessions import ServiceConversation, ServiceLimits, Session, WorldLike
from npcsdk.bridge.stats import Stats
from npcsdk.bridge.turns import Turns
from npcsdk.errors import NpcError, TurnError
from npcsdk.wire.codec import encode
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
    Request,
    Result,
    Say,
    ServerEvent,
    Typing,
)

__all__ = ["Service"]

_log = logging.getLogger(__name__)


class Service:
    """All conversations on one world.

    Args:
        emit: takes a route and the bytes of an event for the client behind it; called from any thread.
        drained: called once after `drain`, when the last turn has ended.
        over: told of each turn that has ended, whichever way.
        together: what is emitted within it, by one thread, may leave in one go.
        announces: tells its clients how the loading goes; else somebody else does, who knows of other workers.
    """

    def __init__(
        self,
        emit: Callable[[bytes, bytes], None],
        *,
        limits: ServiceLimits | None = None,
        drained: Callable[[], None] = lambda: None,
        over: Callable[[Say | React], None] = lambda command: None,
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
        announces: bool = True,
    ) -> None:
        self._limits = limits = limits or ServiceLimits()
        self.stats = Stats()
        self._announces = announces
        self._outbox = Outbox(emit)
        self._jobs = Jobs(limits.threads)
        self._rounds = Rounds(together)
        self._turns = Turns(
            self._outbox, self._jobs, limits, self.stats, self._rounds, over=over, drained=drained
        )
        self._requests = Requests(
            self._outbox,
            self._jobs,
            limits,
            world=lambda: self._world,
            sessions=lambda: list(self._sessions.values()),
        )
        self._world: WorldLike | None = None
        self._stage = Loading(stage="starting")
        self._failure: Goodbye | None = None
        self._sessions: dict[str, Session] = {}
        self._routes: dict[bytes, Session] = {}
        self._histories: dict[str, ServiceConversation] = {}
        self._lock = threading.RLock()  # everything above; taken after a session's lock, never before it

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
        for session in sessions:
            if self._register(session, session.actions):
                self._announce(session, self._ready(world))
        self._jobs.release()

    @property
    def loaded(self) -> bool:
        """Whether the world is there."""
        return self._world is not None

    @property
    def waiting(self) -> int:
        """Turns and requests that no thread has taken yet."""
        return self._jobs.waiting

    @property
    def conversations(self) -> int:
        """Conversations that are open."""
        return sum(len(session.conversations) for session in list(self._sessions.values()))

    def fail(self, error: BaseException) -> None:
        """The world cannot be loaded: everybody is told, now and later."""
        self._failure = Goodbye(**fault_of(error))
        self._broadcast(self._failure)

    def drain(self) -> None:
        """Begin no more turns; call ``drained`` when those that run have ended."""
        self._turns.drain()

    def close(self) -> None:
        """Cancel everything and close the world."""
        with self._lock:
            sessions, world, self._world = list(self._sessions.values()), self._world, None
        for session in sessions:
            self._drop(session)
        self._jobs.close()
        self._rounds.close()
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
            self._outbox.refuse(
                route, command, "hello_first", "The server does not know this client any more.", ""
            )
        elif isinstance(command, Open):
            self._open(session, command)
        elif isinstance(command, Leave):
            self._drop(session)
        elif isinstance(command, Request):
            self._requests.receive(session, command)
        elif not isinstance(command, Close | Say | React | Cancel | Result | Typing):
            return  # a ping is answered by the server's peer
        elif (conversation := session.conversations.get(command.conversation)) is None:
            if isinstance(command, Say | React):
                self._outbox.refuse(
                    route, command, "no_conversation", "This conversation is not open.", "Send open first."
                )
        elif isinstance(command, Close):
            self._close(conversation)
        elif isinstance(command, Say | React):
            self._turns.begin(conversation, command)
        elif isinstance(command, Cancel):
            self._turns.cancel(conversation, command.turn, command.actions)
        elif isinstance(command, Typing):
            self._requests.typing(conversation, command)
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
        if self._failure is not None and self._announces:
            self._outbox.emit(route, encode(self._failure))
            return
        session = self._sessions.get(hello.client)
        known = session is not None
        if session is None:
            session = self._sessions[hello.client] = Session(hello.client, route, ())
            rate = self._limits.turns_per_minute
            session.budget = Budget(rate, rate / 4, time.monotonic())
        with session.lock:
            if session.route not in (None, route):
                # The newest connection that knows the client's name is the client.
                self._routes.pop(session.route or b"", None)
                replaced = Goodbye(
                    code="replaced",
                    message="Another connection has taken over this client's session.",
                    hint="Give every client a name of its own.",
                )
                self._outbox.emit(session.route or b"", encode(replaced))
            session.route, session.gone_since = route, None
            self._routes[route] = session
            world = self._world
            if hello.actions != session.actions or not known:
                session.actions = hello.actions
                if not self._register(session, hello.actions):
                    return
            self._announce(session, self._stage if world is None else self._ready(world))
            for name, seen in hello.seen.items():
                self._catch_up(session, name, seen)
        if self._failure is not None and self._announces:  # it failed meanwhile
            self._outbox.emit(route, encode(self._failure))

    def _register(self, session: Session, actions: tuple[Mapping[str, Any], ...]) -> bool:
        from npcsdk.actions.schema import ActionDefinition

        try:
            session.definitions = tuple(ActionDefinition.from_dict(one) for one in actions)
            if self._world is not None and session.definitions:
                self._world.actions_with(session.definitions)  # an error here, not in each turn
        except Exception as error:
            if not isinstance(error, NpcError):
                _log.exception("A client's actions cannot be registered")
            self._outbox.send(session, Goodbye(**fault_of(error)))
            self._drop(session)
            return False
        return True

    def _catch_up(self, session: Session, name: str, seen: int) -> None:
        """Send what the client missed of a conversation, or tell it that this cannot be done."""
        conversation = session.conversations.get(name)
        if conversation is None or seen + 1 < conversation.replay.first:
            if conversation is not None:
                self._close(conversation)
            lost = Problem(
                code="conversation_lost",
                message=f"The server does not have the conversation {name!r} any more.",
                hint="Open it again, with its history to continue it.",
                kind=TurnError.default_code,
                conversation=name,
            )
            self._outbox.send(session, lost)
            return
        for payload in conversation.replay.after(seen):
            self._outbox.emit(session.route or b"", payload)

    def _drop(self, session: Session) -> None:
        with session.lock:
            self._outbox.unsubscribe(session)
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
                self._outbox.send(session, self._opened(existing, command))
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
            self._outbox.refuse(session.route, command, *refusal)
            return
        conversation = session.conversations[command.conversation] = ServiceConversation(
            command.conversation,
            session,
            Replay(command.conversation, self._limits.replay_events),
            command.npc,
            command.player,
        )
        if command.history is not None:
            self._claim(conversation, command.history)
        if holder is None:
            self._jobs.enqueue(conversation, lambda: self._open_now(conversation, command))
        else:  # the history's last conversation is still closing: begin behind it
            self._jobs.behind(conversation, holder, lambda: self._open_now(conversation, command))

    def _open_now(self, conversation: ServiceConversation, command: Open) -> None:
        world, session = self._world, conversation.session
        if conversation.closed or world is None:
            return
        try:
            handle = world.open(
                command.npc,
                player=command.player,
                conversation=command.history,
                actions=lambda: session.definitions,
            )
        except Exception as error:
            if not isinstance(error, NpcError):
                _log.exception("A conversation cannot be opened")
            with session.lock:
                self._forget(conversation)
                problem = Problem(**fault_of(error), answers=Open.command, conversation=command.conversation)
                self._outbox.send(session, problem)
            return
        with session.lock:
            conversation.handle = handle
            self._claim(conversation, handle.id)
            if not conversation.closed:
                self._outbox.send(session, self._opened(conversation, command))

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
                self._turns.cancel(conversation, conversation.turn.command.turn)
            self._jobs.enqueue(conversation, lambda: self._close_now(conversation))

    def _close_now(self, conversation: ServiceConversation) -> None:
        if conversation.handle is not None:
            conversation.handle.close()
        with conversation.session.lock:
            self._forget(conversation)
            self._outbox.send(conversation.session, Closed(conversation=conversation.id))

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
            self._announce(session, message)

    def _announce(self, session: Session, message: ServerEvent) -> None:
        if self._announces:
            self._outbox.send(session, message)
