"""Lets in the clients whose public keys are known: ZeroMQ's authentication (RFC 27), answered in the bridge's loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils import z85

from npcsdk.bridge.access import Role
from npcsdk.errors import BridgeError

__all__ = ["Doorkeeper", "check_key", "new_keys", "public_key_of"]

_ENDPOINT = "inproc://zeromq.zap.01"


class Doorkeeper:
    """Answers ZeroMQ's questions about who may connect. One for each context; made before the socket is bound."""

    def __init__(self, context: zmq.Context[Any], clients: Mapping[str, Role]) -> None:
        self._clients = clients
        self.refused = 0
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answer what was asked; does not wait."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, number = frames[0], frames[1]
            known = ""
            if len(frames) == 7 and frames[5] == b"CURVE" and len(frames[6]) == 32:
                known = z85.encode(frames[6]).decode()
            if known in self._clients:
                reply = [version, number, b"200", b"OK", known.encode(), b""]
            else:
                self.refused += 1
                reply = [version, number, b"400", b"unknown key", b"", b""]
            self.socket.send_multipart(reply)

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()


def new_keys() -> tuple[str, str]:
    """A public and a secret key, 40 characters each."""
    try:
        public, secret = zmq.curve_keypair()
    except zmq.ZMQError as error:
        raise BridgeError(
            f"This ZeroMQ library has no encryption: {error}.",
            hint="Install pyzmq from its own wheels, which have it.",
            code="no_curve",
        ) from error
    return public.decode(), secret.decode()


def public_key_of(secret: str) -> str:
    """The public key that belongs to a secret one."""
    return zmq.curve_public(check_key(secret).encode()).decode()


def check_key(key: str) -> str:
    """The key, if it is one.

    Raises:
        BridgeError: it is not 40 characters of Z85 (``bad_key``).
    """
    try:
        valid = len(key) == 40 and len(z85.decode(key.encode("ascii"))) == 32
    except (ValueError, KeyError, UnicodeEncodeError):
        valid = False
    if not valid:
        raise BridgeError(
            "This is not a key.",
            hint="A key has 40 characters; npcsdk keys makes them.",
            code="bad_key",
        )
    return key
