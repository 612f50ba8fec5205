"""Turns, conversations and characters as a Python game sees them, sync and async."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

from npcsdk.bridge import asking
from npcsdk.bridge.core import Core, Mailbox
from npcsdk.bridge.handlers import Handlers
from npcsdk.bridge.signals import HeldSignals
from npcsdk.errors import TurnError
from npcsdk.events import Action, End, Event, Failed
from npcsdk.wire.messages import NpcInfo, React, Say

__all__ = ["AsyncConversation", "AsyncNpc", "AsyncTurn", "Conversation", "Npc", "NpcBase", "Turn"]

State = Mapping[str, Any]


class WorldLike(Protocol):
    """What a character needs of its world."""

    core: Core
    handlers: Handlers


class _TurnBase:
    """What both kinds of turn share: cancelling, answering actions, how it ended."""

    def __init__(
        self, core: Core, handlers: Handlers, conversation: str, turn: str, mailbox: Mailbox
    ) -> None:
        self._core = core
        self._conversation = conversation
        self._handlers = handlers
        self._mailbox = mailbox
        self.id = turn
        self.last: End | Failed | None = None
        """How the turn ended, once that event has been iterated over."""

    def cancel(self) -> None:
        """Stop the character; the turn still ends with an `End` (reason ``cancelled``). Any thread."""
        self._core.cancel(self.id)

    def result(self, action: Action | str, value: Any = None) -> None:
        """Answer an action that has no handler: what it came to (null, numbers, text, lists, maps)."""
        self._core.result(self.id, action if isinstance(action, str) else action.id, "done", value)

    def fail(self, action: Action | str, reason: str) -> None:
        """Answer an action that has no handler: it did not succeed, and why, for the character to know."""
        self._core.result(self.id, action if isinstance(action, str) else action.id, "failed", reason)

    def _spoken(self) -> str:
        if isinstance(self.last, Failed):
            raise TurnError(self.last.message, hint=self.last.hint, code=self.last.code)
        return self.last.text if self.last else ""

    def _note(self, event: Event) -> None:
        if isinstance(event, End | Failed):
            self.last = event


class Turn(_TurnBase):
    """What a character does with one line: iterate for events, or take all of it with `text`.

    The turn runs from the moment it was begun. Leaving a loop over it early cancels it; Ctrl-C alone does not, so
    that the program can decide. Iterating again goes on where the last loop stopped.
    """

    def __iter__(self) -> Iterator[Event]:
        held = HeldSignals().keep()
        try:
            while self.last is None:
                event = self._core.next(self._mailbox, held)
                self._note(event)
                if isinstance(event, Action):
                    self._handlers.in_caller(self.id, event)
                yield event
        except GeneratorExit:
            if self.last is None:
                self.cancel()
            raise
        finally:
            held.end()

    def heard(self, offset: int) -> None:
        """The player heard only the first ``offset`` code points: so much is remembered. Blocks until it is.

        Raises:
            NpcError: it cannot be kept, or the turn has not begun.
        """
        self._core.ask(asking.heard(self._conversation, self.id, offset))

    def text(self) -> str:
        """Wait for the end and return all that was said.

        Raises:
            TurnError: the turn failed; the code says why.
        """
        for _ in self:
            pass
        return self._spoken()


class AsyncTurn(_TurnBase):
    """`Turn` for an event loop: ``async for event in turn``, ``await turn.text()``."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return _AsyncEvents(self)

    async def next(self) -> Event | None:
        """The next event, or None after the last."""
        if self.last is not None:
            return None
        event = await self._mailbox.get_async()
        self._note(event)
        if isinstance(event, Action):
            await self._handlers.in_task(self.id, event)
        return event

    async def heard(self, offset: int) -> None:
        """The player heard only the first ``offset`` code points: so much is remembered."""
        await asyncio.wrap_future(self._core.request(asking.heard(self._conversation, self.id, offset)))

    async def text(self) -> str:
        """Wait for the end and return all that was said; raises as `Turn.text`."""
        async for _ in self:
            pass
        return self._spoken()


class _AsyncEvents:
    """Not an async generator: those are closed some time after a loop was left, and the next line cannot wait."""

    def __init__(self, turn: AsyncTurn) -> None:
        self._turn = turn

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self._turn.next()
        except asyncio.CancelledError:
            self._turn.cancel()
            raise
        if event is None:
            raise StopAsyncIteration
        return event

    def __del__(self) -> None:
        if self._turn.last is None:
            self._turn.cancel()


TurnT = TypeVar("TurnT", bound=_TurnBase)
ConversationT = TypeVar("ConversationT", bound="_ConversationBase[Any]")


class _ConversationBase(Generic[TurnT]):
    """One npc and its interlocutor, with a history. One turn at a time."""

    def __init__(
        self, world: WorldLike, turn_type: type[TurnT], npc: str, player: str, history: str | None
    ) -> None:
        self._world = world
        self._turn_type = turn_type
        self.npc = npc
        self.player = player
        self._given_history = history
        self._core = world.core
        self._id = self._core.open(npc, player, history)

    @property
    def history(self) -> str | None:
        """The name under which this conversation can be continued another day; None until the server told it."""
        return self._core.history(self._id) or self._given_history

    def say(
        self, line: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> TurnT:
        """The player speaks; the character's turn begins.

        Args:
            line: what the player says, at least one character that is not a space.
            state: the game's state now: what conditions and actions look at.
            seed: makes the sampling repeatable on one machine and model.
            priority: of several characters' turns at once the highest goes first: -9 to 9, say 1 for whom the
                player faces and -1 for the crowd behind.

        Raises:
            ProtocolError: the line or the state has no form on the wire (code ``unencodable``, ``too_large``).
            BridgeError: the world is closed.
        """
        turn = secrets.token_hex(8)
        return self._begin(
            Say(
                conversation=self._id,
                turn=turn,
                line=line,
                state=dict(state or {}),
                seed=seed,
                priority=priority or None,
            )
        )

    def react(
        self, happening: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> TurnT:
        """Something happened in the game; the character may remark on it. Otherwise as `say`."""
        turn = secrets.token_hex(8)
        return self._begin(
            React(
                conversation=self._id,
                turn=turn,
                happening=happening,
                state=dict(state or {}),
                seed=seed,
                priority=priority or None,
            )
        )

    def typing(self, line: str) -> None:
        """The beginnings of what the player types: recall and the model get ready. Call it when they pause."""
        self._core.typing(self._id, line)

    def _begin(self, command: Say | React) -> TurnT:
        mailbox = self._core.begin(command)
        return self._turn_type(self._core, self._world.handlers, self._id, command.turn, mailbox)

    def _close(self) -> None:
        self._core.close_conversation(self._id)


class Conversation(_ConversationBase[Turn]):
    """One npc and its interlocutor, with a history. One turn at a time; closing it keeps what was remembered."""

    def prepare(self) -> None:
        """Warm the character, so that its first word comes soon. Blocks while it computes."""
        self._core.ask(asking.prepare(self._id))

    def update(self, state: State) -> None:
        """What is so in the game now, without a line."""
        self._core.ask(asking.state(self._id, state))

    def close(self) -> None:
        """End the conversation; a running turn is cancelled."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConversation(_ConversationBase[AsyncTurn]):
    """`Conversation` for an event loop."""

    async def prepare(self) -> None:
        """Warm the character, so that its first word comes soon."""
        await asyncio.wrap_future(self._core.request(asking.prepare(self._id)))

    async def update(self, state: State) -> None:
        """What is so in the game now, without a line."""
        await asyncio.wrap_future(self._core.request(asking.state(self._id, state)))

    async def close(self) -> None:
        """End the conversation; a running turn is cancelled."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class NpcBase(Generic[ConversationT]):
    """A character of the world."""

    def __init__(self, world: WorldLike, info: NpcInfo) -> None:
        self._world = world
        self.id = info.id
        self.name = info.name
        self.role = info.role
        self.voice = info.voice
        self._lock = threading.Lock()
        self._default: ConversationT | None = None

    def _open(self, player: str, history: str | None) -> ConversationT:
        raise NotImplementedError

    def conversation(self, player: str = "player", *, history: str | None = None) -> ConversationT:
        """A conversation of its own, with its own history; ``history`` continues an earlier one."""
        return self._open(player, history)

    @property
    def default(self) -> ConversationT:
        """The conversation that ``say`` and ``react`` of this character use."""
        with self._lock:
            if self._default is None:
                self._default = self._open("player", None)
            return self._default

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} ({self.name})>"


class Npc(NpcBase[Conversation]):
    """A character: ``say`` a line to it, or let it ``react``."""

    def _open(self, player: str, history: str | None) -> Conversation:
        return Conversation(self._world, Turn, self.id, player, history)

    def say(
        self, line: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> Turn:
        """Say something in the character's default conversation; see `Conversation.say`."""
        return self.default.say(line, state=state, seed=seed, priority=priority)

    def react(
        self, happening: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> Turn:
        """Let the character react in its default conversation; see `Conversation.react`."""
        return self.default.react(happening, state=state, seed=seed, priority=priority)


class AsyncNpc(NpcBase[AsyncConversation]):
    """`Npc` for an event loop."""

    def _open(self, player: str, history: str | None) -> AsyncConversation:
        return AsyncConversation(self._world, AsyncTurn, self.id, player, history)

    def say(
        self, line: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> AsyncTurn:
        """Say something in the character's default conversation; see `Conversation.say`."""
        return self.default.say(line, state=state, seed=seed, priority=priority)

    def react(
        self, happening: str, *, state: State | None = None, seed: int | None = None, priority: int = 0
    ) -> AsyncTurn:
        """Let the character react in its default conversation; see `Conversation.react`."""
        return self.default.react(happening, state=state, seed=seed, priority=priority)
