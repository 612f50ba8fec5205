"""What a game asks of its world beside turns, blocking or awaited: saves, notes, values, what was heard."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from npcsdk.wire.messages import (
    Heard,
    Load,
    Metrics,
    Prepare,
    Remember,
    Request,
    Save,
    SetValues,
    Slots,
    State,
)

__all__ = ["Asking", "AsyncAsking", "heard", "metrics_of", "prepare", "state"]

Answer = Future[Mapping[str, Any]]


class _Asks(Protocol):
    def request(self, command: Request) -> Answer: ...
    def ask(self, command: Request) -> Mapping[str, Any]: ...


class _HasCore(Protocol):
    @property
    def core(self) -> _Asks: ...


def _new() -> str:
    return secrets.token_hex(8)


def heard(conversation: str, turn: str, offset: int) -> Request:
    """The player heard only so much."""
    return Heard(request=_new(), conversation=conversation, turn=turn, offset=offset)


def prepare(conversation: str) -> Request:
    """Warm the character."""
    return Prepare(request=_new(), conversation=conversation)


def state(conversation: str, now: Mapping[str, Any]) -> Request:
    """What is so now."""
    return State(request=_new(), conversation=conversation, state=dict(now))


def metrics_of(core: _Asks) -> Mapping[str, Any]:
    """How a server is doing; blocks."""
    return core.ask(Metrics(request=_new()))


class _Director:
    """Makes the requests that steer a world."""

    def _ask(self: _HasCore, command: Request) -> Answer:
        return self.core.request(command)

    @staticmethod
    def _note(npc: str, text: str, player: str, importance: float, at: float | None) -> Request:
        return Remember(request=_new(), npc=npc, text=text, player=player, importance=importance, at=at)


class Asking(_Director):
    """The part of `npcsdk.World` that steers it. Every method blocks until it is done, and raises `NpcError`."""

    def save(self: Any, slot: str) -> None:
        """Name this moment of the world's memory, to come back to with `load`."""
        self.core.ask(Save(request=_new(), slot=slot))

    def load(self: Any, slot: str) -> None:
        """Go back to a saved moment: what came after it is not remembered, and running turns are cancelled."""
        self.core.ask(Load(request=_new(), slot=slot))

    def slots(self: Any) -> list[str]:
        """The names of the saved moments."""
        return list(self.core.ask(Slots(request=_new())).get("slots", ()))

    def remember(
        self: Any,
        npc: str,
        text: str,
        *,
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
    ) -> None:
        """A note of the game's: ``npc`` knows it from now on, of ``player`` or of nobody in particular ("")."""
        self.core.ask(self._note(npc, text, player, importance, at))

    def set_values(self: Any, npc: str, values: Mapping[str, Any], *, player: str = "player") -> None:
        """Trust, mood and the like of ``npc`` towards ``player``: kept, and part of their conversations' state."""
        self.core.ask(SetValues(request=_new(), npc=npc, values=dict(values), player=player))


class AsyncAsking(_Director):
    """`Asking` for an event loop."""

    async def save(self: Any, slot: str) -> None:
        """Name this moment of the world's memory, to come back to with `load`."""
        await asyncio.wrap_future(self._ask(Save(request=_new(), slot=slot)))

    async def load(self: Any, slot: str) -> None:
        """Go back to a saved moment: what came after it is not remembered, and running turns are cancelled."""
        await asyncio.wrap_future(self._ask(Load(request=_new(), slot=slot)))

    async def slots(self: Any) -> list[str]:
        """The names of the saved moments."""
        answer = await asyncio.wrap_future(self._ask(Slots(request=_new())))
        return list(answer.get("slots", ()))

    async def remember(
        self: Any,
        npc: str,
        text: str,
        *,
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
    ) -> None:
        """A note of the game's: ``npc`` knows it from now on, of ``player`` or of nobody in particular ("")."""
        await asyncio.wrap_future(self._ask(self._note(npc, text, player, importance, at)))

    async def set_values(self: Any, npc: str, values: Mapping[str, Any], *, player: str = "player") -> None:
        """Trust, mood and the like of ``npc`` towards ``player``: kept, and part of their conversations' state."""
        command = SetValues(request=_new(), npc=npc, values=dict(values), player=player)
        await asyncio.wrap_future(self._ask(command))
