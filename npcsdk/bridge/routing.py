"""Which of several workers a client's command is for, and what their answers come to. No sockets.

A worker answers for a world of its own, whose characters' ids begin with its name (``tavern/mira``), or for some
characters of a world that others share. Conversations stay with the worker of their character. What is asked of the
whole server, as ``save``, is asked of all of them and answered once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from npcsdk.errors import ProtocolError, TurnError
from npcsdk.wire.codec import decode_command, decode_event, encode
from npcsdk.wire.messages import (
    Close,
    Command,
    Done,
    ExportSlot,
    Hello,
    ImportSlot,
    Leave,
    Open,
    Problem,
    React,
    Request,
    Say,
)

__all__ = ["Charge", "Routing"]

_REMEMBERED = 4096  # sessions whose clients may come back
_TALKS = 1024  # conversations of one client, also such as no worker would open: far more than its limit
_REQUEST = b"\xa7request"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a worker answers for: ids that begin with ``prefix``, or ``npcs``."""

    name: str
    prefix: str = ""
    npcs: frozenset[str] | None = None

    def has(self, npc: str) -> bool:
        """Whether a character is one of its."""
        return npc.startswith(self.prefix) and (
            self.npcs is None or npc.removeprefix(self.prefix) in self.npcs
        )


@dataclass(slots=True)
class _Talk:
    worker: int
    turn: str | None = None


@dataclass(slots=True)
class _Asked:
    command: Request
    waiting: set[int]
    values: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    problem: Problem | None = None


@dataclass(slots=True)
class _Client:
    hello: Hello
    talks: dict[str, _Talk]
    asked: dict[str, _Asked] = field(default_factory=dict[str, _Asked])


class Routing:
    """Where conversations are, and which requests wait for an answer.

    Args:
        charges: what each worker answers for, in the order of the workers.
    """

    def __init__(self, charges: Sequence[Charge]) -> None:
        self._charges = tuple(charges)
        self._all = tuple(range(len(charges)))
        self._clients: dict[bytes, _Client] = {}
        self._sessions: OrderedDict[str, dict[str, _Talk]] = OrderedDict()

    def worker_of(self, route: bytes, command: Command) -> int:
        """The worker of a turn; the first where there is none, which says so."""
        client = self._clients.get(route)
        talk = client.talks.get(getattr(command, "conversation", "")) if client else None
        return talk.worker if talk else 0

    def forward(self, route: bytes, payload: bytes) -> tuple[bool, list[tuple[int, bytes]]]:
        """Whether a client has greeted, and what each worker has to see of its command.

        Raises:
            TurnError: it is not clear whom it is for (``which_world``).
        """
        command = decode_command(payload)
        if isinstance(command, Hello):
            return True, list(self._greet(route, command))
        client = self._clients.get(route)
        if client is None:
            return False, [(0, payload)]  # who says that this client is not known
        workers = self._workers(client, command)
        if isinstance(command, Say | React) and (talk := client.talks.get(command.conversation)):
            talk.turn = command.turn
        elif isinstance(command, Request):
            client.asked.setdefault(command.request, _Asked(command, set(workers)))
        elif isinstance(command, Close):
            client.talks.pop(command.conversation, None)
        elif isinstance(command, Leave):
            self.gone(route)
            self._sessions.pop(client.hello.client, None)
        return False, [(worker, payload) for worker in workers]

    def answered(self, worker: int, route: bytes, payload: bytes) -> bytes | None:
        """What a worker has sent to a client, as the client shall have it; None while others are still to answer."""
        client = self._clients.get(route)
        if client is None or not client.asked or _REQUEST not in payload[:4096]:
            return payload
        try:
            message = decode_event(payload)
        except ProtocolError:
            return payload
        if not isinstance(message, Done | Problem) or message.request not in client.asked:
            return payload
        asked = client.asked[message.request]
        if isinstance(message, Done):
            asked.values.append(message.value)
        else:
            asked.problem = asked.problem or message
        return self._over(client, asked, worker, payload)

    def died(self, worker: int, error: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """A worker is gone, and with it its conversations: what to tell whom. Those of others go on."""
        messages: list[tuple[bytes, bytes]] = []
        for route, client in self._clients.items():
            for name, talk in list(client.talks.items()):
                if talk.worker == worker:
                    del client.talks[name]
                    messages += [(route, encode(one)) for one in _lost(name, talk.turn, error)]
            for asked in list(client.asked.values()):
                if worker in asked.waiting:
                    asked.problem = asked.problem or replace(
                        _problem(error), answers=asked.command.command, request=asked.command.request
                    )
                    if payload := self._over(client, asked, worker, None):
                        messages.append((route, payload))
        for talks in self._sessions.values():  # also of clients that are away
            for name in [name for name, talk in talks.items() if talk.worker == worker]:
                del talks[name]
        return messages

    def greetings(self) -> list[tuple[bytes, bytes]]:
        """What a new worker has to hear of the clients that are there, before anything else of them."""
        return [(route, encode(replace(client.hello, seen={}))) for route, client in self._clients.items()]

    def gone(self, route: bytes) -> None:
        """A connection has ended; its client may come back on another."""
        self._clients.pop(route, None)

    # Inside

    def _greet(self, route: bytes, hello: Hello) -> Iterator[tuple[int, bytes]]:
        talks = self._sessions.pop(hello.client, None)
        talks = self._sessions[hello.client] = {} if talks is None else talks
        while len(self._sessions) > _REMEMBERED:
            self._sessions.popitem(last=False)
        before = self._clients.get(route)
        self._clients[route] = _Client(hello, talks, before.asked if before else {})
        for worker in self._all:
            seen = {
                name: seq
                for name, seq in hello.seen.items()
                if (talks[name].worker if name in talks else 0) == worker
            }
            yield worker, encode(replace(hello, seen=seen))

    def _workers(self, client: _Client, command: Command) -> tuple[int, ...]:
        if isinstance(command, Open):
            talk = client.talks.get(command.conversation)
            if talk is None:
                found = self._with(command.npc)
                while len(client.talks) >= _TALKS:
                    del client.talks[next(iter(client.talks))]
                talk = client.talks[command.conversation] = _Talk(found[0] if found else 0)
            return (talk.worker,)
        conversation = getattr(command, "conversation", None)
        if conversation is not None:
            talk = client.talks.get(conversation)
            return (talk.worker if talk else 0,)
        npc = getattr(command, "npc", None)
        if npc is not None:
            return self._with(npc) or self._under(npc) or self._all
        slot = getattr(command, "slot", None)
        under = self._under(slot) if slot is not None else ()
        if isinstance(command, ExportSlot | ImportSlot) and not under:
            names = ", ".join(f"{charge.prefix}{slot or 'NAME'}" for charge in self._charges if charge.prefix)
            raise TurnError(
                "The server has several workers, and a file holds the saved moment of one.",
                hint=f"Name the world's: {names}." if names else "Copy the workers' memory folders instead.",
                code="which_world",
            )
        return under or self._all

    def _with(self, npc: str) -> tuple[int, ...]:
        """The worker that has this very character."""
        return tuple(number for number in self._all if self._charges[number].has(npc))[:1]

    def _under(self, name: str) -> tuple[int, ...]:
        return tuple(
            number
            for number in self._all
            if self._charges[number].prefix and name.startswith(self._charges[number].prefix)
        )

    @staticmethod
    def _over(client: _Client, asked: _Asked, worker: int, payload: bytes | None) -> bytes | None:
        """One more has answered, or cannot any more."""
        alone = len(asked.waiting) == 1 and not asked.values[1:] and asked.problem is None
        asked.waiting.discard(worker)
        if asked.waiting:
            return None
        client.asked.pop(asked.command.request, None)
        if alone and payload is not None:
            return payload
        if asked.problem is not None:
            return encode(asked.problem)
        value = _merged(asked.values)
        return encode(Done(request=asked.command.request, answers=asked.command.command, value=value))


def _problem(error: Mapping[str, str]) -> Problem:
    return Problem(
        code=error["code"], message=error["message"], hint=error["hint"], kind=TurnError.default_code
    )


def _lost(conversation: str, turn: str | None, error: Mapping[str, str]) -> Iterator[Problem]:
    if turn is not None:
        yield replace(_problem(error), conversation=conversation, turn=turn)
    hint = "Open it again, with its history to continue it."
    yield replace(_problem(error), code="conversation_lost", hint=hint, conversation=conversation)


def _merged(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One answer of several: numbers are added, of lists is kept what all have."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for value in values for key in value):
        those = [value[key] for value in values if key in value]
        first = those[0]
        if isinstance(first, list):
            in_all = [one for one in cast("list[Any]", first) if all(one in other for other in those[1:])]
            merged[key] = in_all
        elif isinstance(first, int | float) and not isinstance(first, bool):
            merged[key] = sum(those)
        else:
            merged[key] = first
    return merged
