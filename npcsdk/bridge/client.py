"""A world for a Python game: characters that run in a child process, or on a server.

    with npcsdk.World() as world:
        for event in world["mara"].say("Open the gate, please."):
            ...

`World` and `AsyncWorld` are two surfaces of one engine (`npcsdk.bridge.core`) and differ only in how they wait.
"""

from __future__ import annotations

import asyncio
import difflib
import weakref
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from npcsdk.bridge.asking import Asking, AsyncAsking
from npcsdk.bridge.core import Core
from npcsdk.bridge.handlers import Actions, Handlers, Veto, Where, collect
from npcsdk.bridge.keys import Keys
from npcsdk.bridge.talking import (
    AsyncConversation,
    AsyncNpc,
    AsyncTurn,
    Conversation,
    Npc,
    NpcBase,
    Turn,
)
from npcsdk.errors import WorldError
from npcsdk.wire.messages import Ready
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncConversation",
    "AsyncNpc",
    "AsyncTurn",
    "AsyncWorld",
    "Conversation",
    "Keys",
    "Npc",
    "Turn",
    "World",
    "connect",
]

OnLoading = Callable[[str, float | None], None]
State = Mapping[str, Any]


NpcT = TypeVar("NpcT", bound=NpcBase[Any])


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
        veto: Veto | None = None,
        options: Mapping[str, Any] | None = None,
        on_loading: OnLoading | None = None,
        opener: str | None = None,
    ) -> None:
        """Open a world.

        Args:
            folder: personas, lore and action definitions; None for the characters that ship with the SDK.
            model: the model's name or path; None for the embedded model.
            memory: the folder in which the characters' memory is kept, or ``http://host:port`` of a Chroma server
                for its vectors; None keeps nothing on disk.
            actions: the game's functions that characters may call, definitions that it answers itself, or
                handlers by name for actions that the world defines.
            inline: run in this process instead of a child: for tests and notebooks.
            handlers: run action handlers in a "thread" of their own, or in the "caller": the one that iterates.
            veto: decides last on each action, before its handler: a reason why it may not happen, or None. It is
                called in a thread of the SDK's and must not block.
            options: further options of the world and its model.
            on_loading: told the stage and the progress while the world loads, from another thread.
            opener: "module:function" that opens the world instead of the SDK's own, for tests.

        Raises:
            NpcError: the world or the model cannot be loaded; the error is the one that was raised there.
        """
        config = {
            "folder": _path(folder),
            "model": model,
            "memory": memory if isinstance(memory, str) and "://" in memory else _path(memory),
            "options": dict(options or {}),
            "opener": opener,
        }
        from npcsdk.bridge import links

        collected = collect(actions)
        link = links.InlineLink(config) if inline else links.WorkerLink(config)
        self._begin(link, Handlers(collected, handlers, veto), collected, on_loading)

    @classmethod
    def connect(
        cls,
        address: str = DEFAULT_ADDRESS,
        *,
        actions: Actions = (),
        handlers: Where = "thread",
        veto: Veto | None = None,
        timeout: float = 5.0,
        on_loading: OnLoading | None = None,
        keys: Keys | None = None,
    ) -> Self:
        """A world on a server (``npcsdk serve``).

        Args:
            address: as the server prints it, ``tcp://host:port``.
            actions: as for a world of one's own.
            handlers: as for a world of one's own.
            veto: as for a world of one's own.
            timeout: seconds of silence after which the server counts as unreachable.
            on_loading: as for a world of one's own.
            keys: for a server that demands them (`npcsdk keys`).

        Raises:
            BridgeError: nobody answers there (``server_unreachable``), or the server speaks another protocol.
        """
        from npcsdk.bridge import socket_links

        collected = collect(actions)
        world = cls.__new__(cls)
        link = socket_links.socket_link(address, silence=timeout, keys=keys)
        world._begin(link, Handlers(collected, handlers, veto), collected, on_loading)
        return world

    def _begin(self, link: Any, handlers: Handlers, collected: Any, on_loading: OnLoading | None) -> None:
        self.handlers = handlers
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


class World(Asking, _WorldBase[Npc]):
    """A world of characters to talk to; ready when it is constructed. Close it, or use it in a ``with``."""

    _npc_type = Npc

    def _begin(self, link: Any, handlers: Handlers, collected: Any, on_loading: OnLoading | None) -> None:
        super()._begin(link, handlers, collected, on_loading)
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


class AsyncWorld(AsyncAsking, _WorldBase[AsyncNpc]):
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
    veto: Veto | None = None,
    timeout: float = 5.0,
    on_loading: OnLoading | None = None,
    keys: Keys | None = None,
) -> World:
    """A world on a server; see `World.connect`."""
    return World.connect(
        address,
        actions=actions,
        handlers=handlers,
        veto=veto,
        timeout=timeout,
        on_loading=on_loading,
        keys=keys,
    )


def _path(path: str | PathLike[str] | None) -> str | None:
    return None if path is None else str(Path(fspath(path)).expanduser().absolute())
