"""What a game asks of its world beside turns, blocking or awaited: saves, notes, values, what was heard."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from os import PathLike, fspath
from os.path import abspath
from typing import Any, Protocol

from npcsdk.wire.messages import (
    DeleteSlot,
    ExportSlot,
    Forget,
    Heard,
    ImportSlot,
    Learn,
    Load,
    Metrics,
    Prepare,
    Remember,
    Request,
    Save,
    SetValues,
    Slots,
    State,
    Values,
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
    def _note(npc: str, text: str, player: str, importance: float, at: float | None, place: str) -> Request:
        told: Any = {"player": player, "importance": importance, "at": at, "place": place or None}
        return Remember(request=_new(), npc=npc, text=text, **told)

    @staticmethod
    def _exporting(slot: str, file: str | PathLike[str]) -> Request:
        return ExportSlot(request=_new(), slot=slot, file=abspath(fspath(file)))

    @staticmethod
    def _importing(file: str | PathLike[str], slot: str | None) -> Request:
        return ImportSlot(request=_new(), file=abspath(fspath(file)), slot=slot)


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

    def delete_slot(self: Any, slot: str) -> None:
        """Forget a saved moment, and by and by what nothing else remembers."""
        self.core.ask(DeleteSlot(request=_new(), slot=slot))

    def export_slot(self: Any, slot: str, file: str | PathLike[str]) -> int:
        """Write a saved moment into a file, to ship inside the game's own save; how many records it has.

        The file is on the machine where the world lives.
        """
        return int(self.core.ask(self._exporting(slot, file)).get("records", 0))

    def import_slot(self: Any, file: str | PathLike[str], slot: str | None = None) -> str:
        """Take in such a file, also from another machine: the name to `load`, ``slot`` or the one that it had."""
        return str(self.core.ask(self._importing(file, slot)).get("slot", ""))

    def forget(self: Any, player: str) -> Mapping[str, int]:
        """Erase every trace of a player: records, summaries, what others tell of them, and their saved moments.

        Open conversations with them begin anew. What was exported is the game's to delete. How many ``records``,
        ``slots`` and ``conversations`` that were.
        """
        return self.core.ask(Forget(request=_new(), player=player))

    def remember(
        self: Any,
        npc: str,
        text: str,
        *,
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
        place: str = "",
    ) -> None:
        """A note of the game's: ``npc`` knows it from now on, of ``player`` or of nobody in particular ("").

        ``npc`` may be a group of the world, or ``*`` for everybody. ``at`` is game time in seconds, ``place`` where it
        happened.
        """
        self.core.ask(self._note(npc, text, player, importance, at, place))

    def learn(self: Any, npc: str, subject: str, attribute: str, value: str, **told: Any) -> None:
        """From now on ``attribute`` of ``subject`` is ``value``, whatever ``npc`` knew of it before.

        ``told``: ``text`` says it in a sentence; ``player``, ``importance``, ``at`` and ``place`` are as for
        `remember`.
        """
        self.core.ask(
            Learn(request=_new(), npc=npc, subject=subject, attribute=attribute, value=value, **told)
        )

    def set_values(self: Any, npc: str, values: Mapping[str, Any], *, player: str = "player") -> None:
        """Trust, mood and the like of ``npc`` towards ``player``: kept, and part of their conversations' state."""
        self.core.ask(SetValues(request=_new(), npc=npc, values=dict(values), player=player))

    def values(self: Any, npc: str, *, player: str = "player") -> Mapping[str, float]:
        """What `set_values` and the game's actions have set."""
        return self.core.ask(Values(request=_new(), npc=npc, player=player)).get("values", {})


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

    async def delete_slot(self: Any, slot: str) -> None:
        """See `Asking.delete_slot`."""
        await asyncio.wrap_future(self._ask(DeleteSlot(request=_new(), slot=slot)))

    async def export_slot(self: Any, slot: str, file: str | PathLike[str]) -> int:
        """See `Asking.export_slot`."""
        answer = await asyncio.wrap_future(self._ask(self._exporting(slot, file)))
        return int(answer.get("records", 0))

    async def import_slot(self: Any, file: str | PathLike[str], slot: str | None = None) -> str:
        """See `Asking.import_slot`."""
        answer = await asyncio.wrap_future(self._ask(self._importing(file, slot)))
        return str(answer.get("slot", ""))

    async def forget(self: Any, player: str) -> Mapping[str, int]:
        """See `Asking.forget`."""
        return await asyncio.wrap_future(self._ask(Forget(request=_new(), player=player)))

    async def remember(
        self: Any,
        npc: str,
        text: str,
        *,
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
        place: str = "",
    ) -> None:
        """A note of the game's: ``npc`` knows it from now on, of ``player`` or of nobody in particular ("")."""
        await asyncio.wrap_future(self._ask(self._note(npc, text, player, importance, at, place)))

    async def learn(self: Any, npc: str, subject: str, attribute: str, value: str, **told: Any) -> None:
        """See `Asking.learn`."""
        command = Learn(request=_new(), npc=npc, subject=subject, attribute=attribute, value=value, **told)
        await asyncio.wrap_future(self._ask(command))

    async def set_values(self: Any, npc: str, values: Mapping[str, Any], *, player: str = "player") -> None:
        """Trust, mood and the like of ``npc`` towards ``player``: kept, and part of their conversations' state."""
        command = SetValues(request=_new(), npc=npc, values=dict(values), player=player)
        await asyncio.wrap_future(self._ask(command))

    async def values(self: Any, npc: str, *, player: str = "player") -> Mapping[str, float]:
        """See `Asking.values`."""
        answer = await asyncio.wrap_future(self._ask(Values(request=_new(), npc=npc, player=player)))
        return answer.get("values", {})
