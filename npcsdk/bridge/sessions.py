"""What the service keeps for each client, and what it needs of a world."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from npcsdk.events import Event
from npcsdk.wire.messages import React, Say

__all__ = [
    "ConversationLike",
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


class ConversationLike(Protocol):
    """What the service needs of a conversation; `npcsdk.dialogue.conversation.Conversation` is one."""

    @property
    def id(self) -> str: ...
    def say(
        self, line: str, *, turn: str | None, state: Mapping[str, Any] | None, seed: int | None
    ) -> Iterator[Event]: ...
    def react(
        self, happening: str, *, turn: str | None, state: Mapping[str, Any] | None, seed: int | None
    ) -> Iterator[Event]: ...
    def cancel(self) -> None: ...
    def result(self, action_id: str, status: Any, value: Any = None) -> bool: ...
    def close(self) -> None: ...


class WorldLike(Protocol):
    """What the service needs of a world; `npcsdk.dialogue.world.World` is one."""

    @property
    def name(self) -> str: ...
    @property
    def npcs(self) -> Mapping[str, NpcLike]: ...
    def add_actions(self, definitions: Iterable[Any]) -> None: ...
    def open(self, npc: str, *, player: str, conversation: str | None) -> ConversationLike: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """What one client may hold, and for how long what it left behind is kept."""

    threads: int = 16
    """Turns that run at the same time; more wait."""
    conversations: int = 64
    """Open conversations of one client."""
    replay_events: int = 8192
    """Events of a conversation's last turn that are kept for a client that reconnects."""
    grace: float = 10.0
    """Seconds for which a vanished client's turns go on, in case it comes back."""


@dataclass(slots=True)
class ServiceTurn:
    command: Say | React
    cancelled: bool = False


@dataclass(slots=True, eq=False)
class ServiceConversation:
    id: str
    session: Session
    history: str | None = None
    handle: ConversationLike | None = None
    turn: ServiceTurn | None = None
    closed: bool = False
    seq: int = 0
    replay: deque[tuple[int, str, bytes]] = field(default_factory=deque[tuple[int, str, bytes]])
    over: deque[str] = field(default_factory=lambda: deque[str](maxlen=64))
    jobs: deque[Callable[[], None]] = field(default_factory=deque[Callable[[], None]])
    busy: bool = False


@dataclass(slots=True, eq=False)
class Session:
    client: str
    route: bytes | None
    actions: tuple[Mapping[str, Any], ...]
    conversations: dict[str, ServiceConversation] = field(default_factory=dict[str, ServiceConversation])
    gone_since: float | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)  # route, replays and order of sending
