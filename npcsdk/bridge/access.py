"""Who may do what: the roles of clients, and the commands that need more than the least of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from npcsdk.wire.messages import (
    Command,
    DeleteSlot,
    ExportSlot,
    Forget,
    ImportSlot,
    Learn,
    Load,
    Metrics,
    Remember,
    Save,
    SetValues,
    Slots,
    Subscribe,
    Values,
)

__all__ = ["ROLES", "Access", "Role", "may", "session_name"]

Role: TypeAlias = Literal["play", "direct", "administer"]

ROLES: tuple[Role, ...] = ("play", "direct", "administer")
"""From the least to the most; each may do what those before it may."""

_NEEDS: dict[type[Command], Role] = {
    **dict.fromkeys((Save, Load, Slots, DeleteSlot, SetValues, Values), "direct"),
    **dict.fromkeys((Remember, Learn, Subscribe), "direct"),
    **dict.fromkeys(
        (ExportSlot, ImportSlot, Forget, Metrics), "administer"
    ),  # files of the server's; for good
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in.

    Without ``secret_key`` a server serves loopback only, and everybody has the role ``anonymous``. With it, clients
    prove who they are by CURVE, and only the public keys in ``clients`` are let in.
    """

    secret_key: str | None = None
    public_key: str | None = None
    clients: Mapping[str, Role] = field(default_factory=dict[str, Role])
    anonymous: Role = "administer"


def may(role: Role, command: Command) -> bool:
    """Whether a client of this role may do that."""
    return ROLES.index(role) >= ROLES.index(_NEEDS.get(type(command), "play"))


def session_name(key: str, client: str) -> str:
    """The session of a client that has proved its key: nobody else can name it."""
    return hashlib.sha256(f"{key}\0{client}".encode()).hexdigest() if key else client
