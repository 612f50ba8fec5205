"""Where clients come in: what the bridge needs of the sockets, which addresses it may have, and which kind it opens."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

from npcsdk.bridge.access import Access, Role
from npcsdk.bridge.curve_gate import CurveGate
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.plain_gate import PlainGate
from npcsdk.bridge.watch import Poller
from npcsdk.errors import BridgeError

__all__ = ["Gate", "check_address", "open_gate"]

_MANY = selectors.DefaultSelector.__name__ != "SelectSelector"  # else the system watches few sockets at once


class Gate(Protocol):
    """The bridge's sockets for clients. A route names a connection; nothing here ever waits for a reader."""

    address: str

    @property
    def poller(self) -> Poller:
        """Watches these sockets, and whatever else is registered there."""
        ...

    @property
    def behind(self) -> int:
        """Clients that do not read as fast as they are written to."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """What waits for them. Any thread."""
        ...

    @property
    def strangers(self) -> int:
        """How many were turned away because of their key."""
        ...

    @property
    def pause_ms(self) -> int | None:
        """How long the poller may wait; None: until something happens."""
        ...

    def receive(self, ready: Mapping[Any, int]) -> list[tuple[bytes, bytes, str, Role]]:
        """Messages, of everybody some: the route, what it says, the key that its sender has proved, and the role.

        Args:
            ready: what the poller has said.
        """
        ...

    def send(self, route: bytes, payload: bytes) -> None:
        """Send a message, by the next `flush`, or when its reader has read what came before."""
        ...

    def flush(self) -> None:
        """Let everything leave that can."""
        ...

    def dismiss(self, route: bytes) -> None:
        """End a connection when it has been sent what is for it; nothing of it is read any more."""
        ...

    def forget(self, route: bytes) -> None:
        """A client is gone; what it has not read is dropped."""
        ...

    def sweep(self, now: float, known: Callable[[bytes], bool]) -> None:
        """From time to time: let go of connections that have come to nothing. ``known``: who has greeted."""
        ...

    def close(self, linger: int) -> None:
        """Give everything back; what was sent has so many milliseconds to leave."""
        ...


def open_gate(
    address: str,
    limits: Limits,
    access: Access,
    *,
    version: Callable[[bytes], tuple[int, int]],
    gone: Callable[[bytes], None],
) -> Gate:
    """The gate for an address.

    Args:
        version: the protocol in which a route is spoken to; text is joined for 1.1 and later.
        gone: told of routes that are not there any more, or were let go.

    Raises:
        BridgeError: the port is taken (``address_in_use``), the address is not one (``bad_address``), not
            loopback though no keys are set (``address_refused``), or a key is none (``bad_key``).
    """
    check_address(address, secured=access.secret_key is not None)
    kind = PlainGate if access.secret_key is None and _MANY else CurveGate
    return kind(address, limits, access, version=version, gone=gone)


def check_address(address: str, *, secured: bool) -> None:
    """Nobody but this machine, unless clients have to prove who they are.

    Raises:
        BridgeError: ``bad_address`` or ``address_refused``.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname:
        raise BridgeError(
            f"The address {address!r} cannot be listened on.",
            hint="Write it as tcp://127.0.0.1:5990.",
            code="bad_address",
        )
    try:
        loopback = parts.hostname == "localhost" or ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not secured:
        raise BridgeError(
            f"The address {address} is not this machine's own (loopback), and no keys are set.",
            hint="Listen on 127.0.0.1; or make keys with npcsdk keys, and name them in a file for --config.",
            code="address_refused",
        )
