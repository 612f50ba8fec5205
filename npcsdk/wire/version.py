"""The protocol's version, and which versions understand each other.

A peer with another *major* number is refused. A newer *minor* only adds fields and message kinds, so two peers
of one major talk in the lower minor of the two. The protocol is numbered apart from the SDK.
"""

from __future__ import annotations

__all__ = ["DEFAULT_ADDRESS", "FEATURES", "PROTOCOL", "agreed_version", "sdk_version"]

PROTOCOL = (1, 1)
"""Major and minor number of the protocol that this package speaks."""

DEFAULT_ADDRESS = "tcp://127.0.0.1:5990"
"""Where a server listens unless told otherwise."""

FEATURES = ("actions", "react", "resume", "requests", "coalesced")
"""What this side can do beyond saying and hearing; a peer may look before it asks for more."""


def agreed_version(theirs: tuple[int, int], ours: tuple[int, int] = PROTOCOL) -> tuple[int, int] | None:
    """The version in which both sides can talk, or None when the majors differ."""
    if theirs[0] != ours[0]:
        return None
    return min(theirs, ours)


def sdk_version() -> str:
    """The version of npcsdk, for people and logs; nothing is decided by it."""
    from npcsdk import __version__

    return __version__
