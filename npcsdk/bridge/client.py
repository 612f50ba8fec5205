"""A world for a Python game: characters that run in a child process, or on a server.

    with npcsdk.World() as world:
        for event in world["mira"].say("Open the gate, please."):
            ...

`World` and `AsyncWorld` are two surfaces of one engine (`npcsdk.bridge.core`) and differ only in how they wait.
"""

from __future__ import annotations

import asyncio
import difflib
import secrets
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from npcsdk.bridge.core import Core, Mailbox
from npcsdk.bridge.handlers import Actions, Handlers, Where, collect
from npcsdk.errors import TurnError, WorldError
from npcsdk.events import Action, End, Event, Failed
from npcsdk.wire.messages import NpcInfo, React, Ready, Say
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncConversation",
    "AsyncNpc",
    "AsyncTurn",
    "AsyncWorld",
    "Conversation",
    "Npc",
    "Turn",
    "World",
    "connect",
]

OnLoading = Callable[[str, float | None], None]
State = Mapping[str, Any]


class _TurnBase:
    """What both kinds of turn share: cancelling, answering actions, how it ended."""

    def __init__(self, core: Core, handlers: Handlers, turn: str, mailbox: Mailbox) -> None:
        self._core = core
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
        try:
            while self.last is None:
                event = self._mailbox.get()
                self._note(event)
                if isinstance(event, Action):
                    self._handlers.in_caller(self.id, event)
                yield event
        except GeneratorExit:
            if self.last is None:
                self.cancel()
            raise

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
        self, world: _WorldBase[Any], turn_type: type[TurnT], npc: str, player: str, history: str | None
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

    def say(self, line: str, *, state: State | None = None, seed: int | None = None) -> TurnT:
        """The player speaks; the character's turn begins.

        Args:
            line: what the player says, at least one character that is not a space.
            state: the game's state now: what conditions and actions look at.
            seed: makes the sampling repeatable on one machine and model.

        Raises:
            ProtocolError: the line or the state has no form on the wire (code ``unencodable``, ``too_large``).
            BridgeError: the world is closed.
        """
        turn = secrets.token_hex(8)
        return self._begin(
            Say(conversation=self._id, turn=turn, line=line, state=dict(state or {}), seed=seed)
        )

    def react(self, happening: str, *, state: State | None = None, seed: int | None = None) -> TurnT:
        """Something happened in the game; the character may remark on it. Otherwise as `say`."""
        turn = secrets.token_hex(8)
        return self._begin(
            React(conversation=self._id, turn=turn, happening=happening, state=dict(state or {}), seed=seed)
        )

    def _begin(self, command: Say | React) -> TurnT:
        mailbox = self._core.begin(command)
        return self._turn_type(self._core, self._world.handlers, command.turn, mailbox)

    def _close(self) -> None:
        self._core.close_conversation(self._id)


class Conversation(_ConversationBase[Turn]):
    """One npc and its interlocutor, with a history. One turn at a time; closing it keeps what was remembered."""

    def close(self) -> None:
        """End the conversation; a running turn is cancelled."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConversation(_ConversationBase[AsyncTurn]):
    """`Conversation` for an event loop."""

    async def close(self) -> None:
        """End the conversation; a running turn is cancelled."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _NpcBase(Generic[ConversationT]):
    """A character of the world."""

    def __init__(self, world: _WorldBase[Any], info: NpcInfo) -> None:
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


class Npc(_NpcBase[Conversation]):
    """A character: ``say`` a line to it, or let it ``react``."""

    def _open(self, player: str, history: str | None) -> Conversation:
        return Conversation(self._world, Turn, self.id, player, history)

    def say(self, line: str, *, state: State | None = None, seed: int | None = None) -> Turn:
        """Say something in the character's default conversation; see `Conversation.say`."""
        return self.default.say(line, state=state, seed=seed)

    def react(self, happening: str, *, state: State | None = None, seed: int | None = None) -> Turn:
        """Let the character react in its default conversation; see `Conversation.react`."""
        return self.default.react(happening, state=state, seed=seed)


class AsyncNpc(_NpcBase[AsyncConversation]):
    """`Npc` for an event loop."""

    def _open(self, player: str, history: str | None) -> AsyncConversation:
        return AsyncConversation(self._world, AsyncTurn, self.id, player, history)

    def say(self, line: str, *, state: State | None = None, seed: int | None = None) -> AsyncTurn:
        """Say something in the character's default conversation; see `Conversation.say`."""
        return self.default.say(line, state=state, seed=seed)

    def react(self, happening: str, *, state: State | None = None, seed: int | None = None) -> AsyncTurn:
        """Let the character react in its default conversation; see `Conversation.react`."""
        return self.default.react(happening, state=state, seed=seed)


NpcT = TypeVar("NpcT", bound=_NpcBase[Any])


class _WorldBase(Generic[NpcT]):
    """What both kinds of world share."""

    _npc_type: type[NpcT]

    def __init__(
        self,
        folder: str | PathLike[str] | None = None,
        *,
        model: str | None = None,
        memory: str | PathLike[str] | None = None,
        actions: Actions = (),
        inline: bool = False,
        handlers: Where = "thread",
        options: Mapping[str, Any] | None = None,
        on_loading: OnLoading | None = None,
        opener: str | None = None,
    ) -> None:
        """Open a world.

        Args:
            folder: personas, lore and action definitions; None for the characters that ship with the SDK.
            model: the model's name or path; None for the embedded model.
            memory: the folder in which the characters' memory is kept; None keeps nothing on disk.
            actions: the game's functions that characters may call, definitions that it answers itself, or
                handlers by name for actions that the world defines.
            inline: run in this process instead of a child: for tests and notebooks.
            handlers: run action handlers in a "thread" of their own, or in the "caller": the one that iterates.
            options: further options of the world and its model.
            on_loading: told the stage and the progress while the world loads, from another thread.
            opener: "module:function" that opens the world instead of the SDK's own, for tests.

        Raises:
            NpcError: the world or the model cannot be loaded; the error is the one that was raised there.
        """
        config = {
            "folder": _path(folder),
            "model": model,
            "memory": _path(memory),
            "options": dict(options or {}),
            "opener": opener,
        }
        from npcsdk.bridge import links

        collected = collect(actions)
        link = links.InlineLink(config) if inline else links.WorkerLink(config)
        self._begin(link, collected, handlers, on_loading)

    @classmethod
    def connect(
        cls,
        address: str = DEFAULT_ADDRESS,
        *,
        actions: Actions = (),
        handlers: Where = "thread",
        timeout: float = 5.0,
        on_loading: OnLoading | None = None,
    ) -> Self:
        """A world on a server (``npcsdk serve``).

        Args:
            address: as the server prints it, ``tcp://host:port``.
            actions: as for a world of one's own.
            handlers: as for a world of one's own.
            timeout: seconds of silence after which the server counts as unreachable.
            on_loading: as for a world of one's own.

        Raises:
            BridgeError: nobody answers there (``server_unreachable``), or the server speaks another protocol.
        """
        from npcsdk.bridge import links

        collected = collect(actions)
        world = cls.__new__(cls)
        world._begin(links.SocketLink(address, silence=timeout), collected, handlers, on_loading)
        return world

    def _begin(self, link: Any, collected: Any, where: Where, on_loading: OnLoading | None) -> None:
        self.handlers = Handlers(collected, where)
        self.core = Core(
            link, actions=collected.definitions, on_action=self.handlers.arrived, on_loading=on_loading
        )
        self.handlers.send = self.core.result
        self._npcs: dict[str, NpcT] = {}
        self._told: Ready | None = None
        # The thread must not keep the world alive: a world that is dropped, or left open at exit, is closed.
        self._finalizer = weakref.finalize(self, self.core.close)

    @property
    def name(self) -> str:
        """The world's name."""
        return self._ready().world

    @property
    def npcs(self) -> Mapping[str, NpcT]:
        """The world's characters by id."""
        self._ready()
        return self._npcs

    def __getitem__(self, npc: str) -> NpcT:
        """A character by its id.

        Raises:
            WorldError: there is none of that id (code ``npc_unknown``).
        """
        try:
            return self.npcs[npc]
        except KeyError:
            close = difflib.get_close_matches(npc, self._npcs, 1)
            raise WorldError(
                f"There is no character {npc!r} in this world.",
                hint=f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(self._npcs)}.",
                code="npc_unknown",
            ) from None

    def _ready(self) -> Ready:
        ready = self.core.check_ready()
        if ready is None:
            raise WorldError("The world is still loading.", hint="Wait for it first.", code="not_ready")
        if ready is not self._told:
            self._told = ready
            for info in ready.npcs:
                self._npcs.setdefault(info.id, self._npc_type(self, info))
        return ready


class World(_WorldBase[Npc]):
    """A world of characters to talk to; ready when it is constructed. Close it, or use it in a ``with``."""

    _npc_type = Npc

    def _begin(self, link: Any, collected: Any, where: Where, on_loading: OnLoading | None) -> None:
        super()._begin(link, collected, where, on_loading)
        try:
            self.core.wait_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End conversations and the worker; what the characters remember stays."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncWorld(_WorldBase[AsyncNpc]):
    """`World` for an event loop: ready inside ``async with``, or after ``await world.ready()``."""

    _npc_type = AsyncNpc

    async def ready(self) -> Self:
        """Wait until the world is loaded; raises what `World` raises."""
        self.handlers.loop = asyncio.get_running_loop()
        try:
            await self.core.wait_ready_async()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """End conversations and the worker; what the characters remember stays."""
        await asyncio.to_thread(self._finalizer)

    async def __aenter__(self) -> Self:
        return await self.ready()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def connect(
    address: str = DEFAULT_ADDRESS,
    *,
    actions: Actions = (),
    handlers: Where = "thread",
    timeout: float = 5.0,
    on_loading: OnLoading | None = None,
) -> World:
    """A world on a server; see `World.connect`."""
    return World.connect(address, actions=actions, handlers=handlers, timeout=timeout, on_loading=on_loading)


def _path(path: str | PathLike[str] | None) -> str | None:
    return None if path is None else str(Path(fspath(path)).expanduser().absolute())
