"""What a client has asked for and not had yet: conversations, turns, requests."""

from __future__ import annotations

from dataclasses import dataclass, field

from npcsdk.events import End
from npcsdk.wire.codec import encode
from npcsdk.wire.messages import Done, Open, Problem, React, Request, Say

__all__ = ["ConversationAsked", "Pending", "TurnAsked"]


@dataclass(slots=True)
class TurnAsked:
    """A turn that has not ended."""

    command: Say | React
    payload: bytes
    since: float  # when it was asked for
    epoch: str | None = None  # the epoch in which it was sent; None: not sent yet
    accepted: bool = False  # an event of it has arrived
    cancelled: bool = False
    given: list[str] = field(default_factory=list[str])  # ids of the actions that the game has been given
    retracted: list[str] = field(default_factory=list[str])  # and of those that came after it had cancelled
    results: list[bytes] = field(default_factory=list[bytes])

    def all_retracted(self, end: End) -> tuple[str, ...]:
        """What the server took back, and what was on its way when the game cancelled."""
        late = [action for action in self.retracted if action not in end.retracted]
        return (*(action for action in end.retracted if action not in self.given), *late)


@dataclass(slots=True)
class ConversationAsked:
    """A conversation that the client has not closed."""

    command: Open
    asked: bool = False  # sent on this connection
    opened: bool = False  # the server has it
    seq: int = 0  # of the last event that arrived
    turns: list[str] = field(default_factory=list[str])  # not ended, oldest first


@dataclass(slots=True)
class _Asked:
    command: Request
    payload: bytes
    since: float
    epoch: str | None = None  # the epoch in which it was sent; None: not sent yet


class Pending:
    """Each request that was added is answered once: by the server, or here when the server no longer can."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def add(self, command: Request, now: float) -> None:
        """Take a request.

        Raises:
            ProtocolError: it has no form on the wire, or is too large.
        """
        self._asked[command.request] = _Asked(command, encode(command), now)

    def to_send(self, epoch: str | None, *, again: bool = False) -> list[tuple[Request, bytes]]:
        """What the server of this epoch has not been sent yet; ``again``: on a new connection, all."""
        due = [one for one in self._asked.values() if again or one.epoch is None]
        for one in due:
            one.epoch = epoch
        return [(one.command, one.payload) for one in due]

    def answered(self, answer: Done | Problem) -> bool:
        """Whether the answer is to a request that has none yet."""
        return self._asked.pop(answer.request or "", None) is not None

    def fail(
        self, code: str, message: str, hint: str, *, sent: bool = False, before: float | None = None
    ) -> list[Problem]:
        """Answer all, or those that were sent, or those asked for before a time, with an error."""
        failed = [
            name
            for name, one in self._asked.items()
            if (not sent or one.epoch is not None) and (before is None or one.since < before)
        ]
        return [
            Problem(
                code=code,
                message=message,
                hint=hint,
                kind="bridge_error",
                answers=self._asked.pop(name).command.command,
                request=name,
            )
            for name in failed
        ]
