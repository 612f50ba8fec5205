"""What the service keeps for each client, and what it needs of a world."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from npcsdk.bridge.budget import Budget
from npcsdk.bridge.replay import Replay
from npcsdk.events import End, Event, Failed, Tokens
from npcsdk.wire.messages import React, Say

__all__ = [
    "ConversationLike",
    "EventsAtHand",
    "ForgottenLike",
    "NpcLike",
    "ServiceConversation",
    "ServiceLimits",
    "ServiceTurn",
    "Session",
    "WorldLike",
]


class NpcLike(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def voice(self) -> str | None: ...


@runtime_checkable
class EventsAtHand(Protocol):
    """A turn's events from a world that says when it has one: no thread waits for them. See `npcsdk.bridge.rounds`.

    ``say`` and ``react`` may return these in place of an iterator. `npcsdk.dialogue.listening.TurnEvents` are such.
    """

    def listen(self, ready: Callable[[], None], work: Callable[[], None]) -> None:
        """Called first. From now on call ``ready`` when there may be something to `take`, and ``work`` when there is
        something to `work` on. From any thread; they do not wait."""
        ...

    def work(self) -> Event | None:
        """The next event, in a thread that may take its time; None when ``ready`` is to tell of the next.

        Called after `listen` and after each ``work``, until it is None or has given an `End` or a `Failed`.
        """
        ...

    def take(self) -> Event | None:
        """The next event, or None while there is none or there is somebody at work. Never waits."""
        ...


class ConversationLike(Protocol):
    """What the service needs of a conversation; `npcsdk.dialogue.conversation.Conversation` is one."""

    @property
    def id(self) -> str: ...
    def say(
        self,
        line: str,
        *,
        turn: str | None,
        state: Mapping[str, Any] | None,
        seed: int | None,
        priority: int,
    ) -> Iterator[Event] | EventsAtHand: ...
    def react(
        self,
        happening: str,
        *,
        turn: str | None,
        state: Mapping[str, Any] | None,
        seed: int | None,
        priority: int,
    ) -> Iterator[Event] | EventsAtHand: ...
    def update(self, state: Mapping[str, Any]) -> None: ...
    def prepare(self, line: str = "") -> Tokens: ...
    def heard(self, turn: str, offset: int) -> bool: ...
    def cancel(self, arrived: Collection[str] | None = None) -> None: ...
    def result(self, action_id: str, status: Any, value: Any = None) -> bool: ...
    def close(self) -> None: ...


class ForgottenLike(Protocol):
    """How much a person had left behind."""

    @property
    def records(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def conversations(self) -> int: ...


class WorldLike(Protocol):
    """What the service needs of a world; `npcsdk.dialogue.world.World` is one."""

    @property
    def name(self) -> str: ...
    @property
    def npcs(self) -> Mapping[str, NpcLike]: ...
    def actions_with(self, definitions: Iterable[Any]) -> Sequence[Any]: ...
    def open(
        self,
        npc: str,
        *,
        player: str,
        conversation: str | None,
        actions: Callable[[], Sequence[Any]] | None = None,
    ) -> ConversationLike: ...
    def save(self, slot: str) -> None: ...
    def load(self, slot: str) -> None: ...
    def slots(self) -> list[str]: ...
    def delete_slot(self, slot: str) -> None: ...
    def export_slot(self, slot: str, file: Path) -> int: ...
    def import_slot(self, file: Path, slot: str | None) -> str: ...
    def forget(self, player: str) -> ForgottenLike: ...
    def set_values(self, npc: str, values: Mapping[str, Any], *, player: str) -> None: ...
    def values(self, npc: str, *, player: str) -> Mapping[str, float]: ...
    def remember(
        self, npc: str, text: str, *, player: str, importance: float, at: float | None, place: str
    ) -> None: ...
    def learn(
        self,
        npc: str,
        subject: str,
        attribute: str,
        value: str,
        *,
        text: str,
        player: str,
        importance: float,
        at: float | None,
        place: str,
    ) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """What one client may hold, and for how long what it left behind is kept."""

    threads: int = 16
    """Turns that run at the same time, in a thread of their own while they need one; more wait."""
    conversations: int = 64
    """Open conversations of one client."""
    queue: int = 100_000
    """Turns and requests of all clients that wait for a thread; a server with more is busy."""
    turns_per_minute: float = 1e9
    """Of one client; as many at once as in a quarter of a minute."""
    answers: int = 256
    """Answers to requests that are kept for a client that asks again."""
    replay_events: int = 8192
    """Events of a conversation's last turn that are kept for a client that reconnects."""
    grace: float = 10.0
    """Seconds for which a vanished client's turns go on, in case it comes back."""


@dataclass(slots=True)
class ServiceTurn:
    command: Say | React
    cancelled: bool = False
    said: list[str] = field(default_factory=list[str])
    last: End | Failed | None = None
    over: bool = False


@dataclass(slots=True, eq=False)
class ServiceConversation:
    id: str
    session: Session
    replay: Replay
    npc: str = ""
    player: str = ""
    history: str | None = None
    typed: str | None = None  # the beginnings of a line, not taken up yet
    handle: ConversationLike | None = None
    turn: ServiceTurn | None = None
    closed: bool = False
    over: deque[str] = field(default_factory=lambda: deque[str](maxlen=64))
    jobs: deque[Callable[[], Any]] = field(default_factory=deque[Callable[[], Any]])
    busy: bool = False


@dataclass(slots=True, eq=False)
class Session:
    client: str
    route: bytes | None
    actions: tuple[Mapping[str, Any], ...]
    definitions: tuple[Any, ...] = ()
    budget: Budget | None = None
    answers: OrderedDict[str, bytes | None] = field(default_factory=OrderedDict[str, "bytes | None"])
    conversations: dict[str, ServiceConversation] = field(default_factory=dict[str, ServiceConversation])
    gone_since: float | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)  # route, replays and order of sending
