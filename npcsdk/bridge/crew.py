"""The workers of a server: what each does, and what that comes to together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from npcsdk.bridge.launcher import Launcher
from npcsdk.bridge.routing import Charge
from npcsdk.bridge.watch import Watch
from npcsdk.errors import BridgeError
from npcsdk.wire.messages import Loading, Ready

__all__ = ["Crew", "Member"]

_log = logging.getLogger(__name__)

_CRASHES = 3  # in a row before a worker has been ready
_AGAIN = 30.0  # seconds until a worker that cannot load its world is tried again, where others serve


@dataclass(slots=True, eq=False)
class Member:
    """One worker, and what it has told of itself."""

    number: int
    name: str
    launcher: Launcher
    ready: bool = False
    told: Ready | None = None
    """Its world, as it told of it last."""
    numbers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    restarts: int = 0
    crashes: int = 0
    drained: bool = False
    again_at: float | None = None
    """When it is tried again, after it has been given up."""


class Crew:
    """The workers. One is the rule; several have names.

    Args:
        configs: what each loads; see `npcsdk.bridge.launcher.WorkerConfig`. Of several, each has a ``name``, and a
            ``prefix`` or ``npcs`` that tell its characters from those of the others.

    Raises:
        BridgeError: two have one name (``bad_config``).
    """

    def __init__(
        self,
        configs: Sequence[Mapping[str, Any]],
        limits: Mapping[str, Any],
        poller: Watch,
        wake: Callable[[], None],
    ) -> None:
        self.several = len(configs) > 1
        names = [str(config.get("name") or "") for config in configs]
        if self.several and (len(set(names)) < len(names) or "" in names):
            raise BridgeError(
                "Of several workers each needs a name of its own.",
                hint=f"They are named: {', '.join(map(repr, names))}.",
                code="bad_config",
            )
        given = {"limits": limits, "announces": not self.several}
        self.members = [
            Member(number, names[number], Launcher({**config, **given}, poller, wake))
            for number, config in enumerate(configs)
        ]
        self.charges = [
            Charge(
                name,
                str(config.get("prefix") or ""),
                None if config.get("npcs") is None else frozenset(config["npcs"]),
            )
            for name, config in zip(names, configs, strict=True)
        ]

    def start(self) -> None:
        """Start all of them."""
        for member in self.members:
            member.launcher.start()

    @property
    def ready(self) -> bool:
        """Whether every world is loaded."""
        return all(member.ready for member in self.members)

    @property
    def told(self) -> Ready | None:
        """The worlds as one, once each has told of itself; None before."""
        tellings = [member.told for member in self.members if member.told is not None]
        if len(tellings) < len(self.members):
            return None
        names = dict.fromkeys(one.world for one in tellings)
        return Ready(world=", ".join(names), npcs=tuple(npc for one in tellings for npc in one.npcs))

    def loading(self, member: Member, message: Loading) -> Loading:
        """How far it is, with the name of who is."""
        return Loading(stage=f"{member.name}: {message.stage}", progress=message.progress)

    def died(self, member: Member, fault: Mapping[str, str], now: float) -> bool:
        """A worker has died: whether it is to be started again at once.

        Raises:
            BridgeError: it dies whenever it loads its world, and no other serves (``worker_died``).
        """
        if not member.ready:
            member.crashes += 1
        member.ready, member.numbers = False, {}
        member.restarts += 1
        if member.again_at is None and member.crashes >= _CRASHES and not self.give_up(member, now):
            raise BridgeError(**fault)
        return member.again_at is None

    def give_up(self, member: Member, now: float) -> bool:
        """Leave a worker alone for a while; False where there is no other that serves."""
        if not any(other.told is not None for other in self.members if other is not member):
            return False
        _log.error("The worker %r is tried again in %d seconds", member.name, _AGAIN)
        member.again_at = now + _AGAIN
        return True

    @staticmethod
    def absence(member: Member) -> Mapping[str, str]:
        """What to say to who asks for a worker that was given up."""
        return {
            "code": "worker_died",
            "message": f"The world of {member.name!r} cannot be loaded just now.",
            "hint": "The server tries again by and by; its log says why.",
        }

    def due(self, now: float) -> Iterator[Member]:
        """Workers that were given up, and are to be tried again."""
        for member in self.members:
            if member.again_at is not None and now >= member.again_at:
                member.again_at, member.crashes = None, _CRASHES - 1
                yield member

    def numbers(self) -> Mapping[str, Any]:
        """What the workers count, together and each."""
        together: dict[str, Any] = {}
        for member in self.members:
            together = _added(together, dict(member.numbers))
        each = [
            {"name": one.name, "ready": one.ready, "restarts": one.restarts, "numbers": dict(one.numbers)}
            for one in self.members
        ]
        return {
            "worker": together,
            "workers": each if self.several else [],
            "worker_restarts": sum(member.restarts for member in self.members),
        }

    def close(self) -> None:
        """End them, side by side."""
        for member in self.members:
            member.launcher.ask_to_end()
        for member in self.members:
            member.launcher.close()


def _added(one: Any, other: Any) -> Any:
    """Numbers added, in maps and lists of one shape; what is no number is the first's."""
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        both = {key: _added(first[key], second[key]) for key in first if key in second}
        return {**second, **first, **both}
    if isinstance(one, list) and isinstance(other, list):
        return [_added(a, b) for a, b in zip(cast("list[Any]", one), cast("list[Any]", other), strict=False)]
    return (
        one + other if isinstance(one, int | float) and isinstance(other, int | float) else cast("Any", one)
    )
