"""What can be wrong with an address, for whoever listens or connects."""

from __future__ import annotations

from urllib.parse import urlsplit

from npcsdk.errors import BridgeError

__all__ = ["cannot_listen", "in_use", "place_of"]


def place_of(address: str) -> tuple[str, int]:
    """Host and port of ``tcp://host:port``; a port of ``*`` is 0.

    Raises:
        ValueError: it is no such address.
    """
    parts = urlsplit(address.removesuffix(":*") + ":0" if address.endswith(":*") else address)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None or parts.path not in ("", "/"):
        raise ValueError("it is not tcp://host:port")
    return parts.hostname, parts.port


def in_use(address: str) -> BridgeError:
    """Somebody else listens there."""
    return BridgeError(
        f"The address {address} is in use.",
        hint="Is npcsdk serve running already? Choose another port with --address.",
        code="address_in_use",
    )


def cannot_listen(address: str, reason: Exception) -> BridgeError:
    """The address cannot be had."""
    return BridgeError(
        f"The address {address!r} cannot be listened on: {reason}.",
        hint="Write it as tcp://127.0.0.1:5990.",
        code="bad_address",
    )
