"""Key files: who a server is, and who a client is.

A file holds lines ``public = ...`` and ``secret = ...``; a client's also ``server = ...``, the server's public key.
It can be read by its owner only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from npcsdk.errors import BridgeError

__all__ = ["Keys", "read_keys", "write_keys"]

_LINE = re.compile(r"^(public|secret|server)\s*=\s*(\S{40})\s*$")


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of keys, and for a client the public key of its server. Printing it does not show the secret."""

    public: str
    secret: str
    server: str | None = None

    def __repr__(self) -> str:
        return f"<Keys {self.public}>"

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Keys:
        """The keys in a file that `npcsdk keys` made.

        Raises:
            BridgeError: it cannot be read or holds no keys (``bad_key_file``).
        """
        return read_keys(Path(path))


def read_keys(path: Path) -> Keys:
    """See `Keys.read`."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BridgeError(
            f"The key file {path} cannot be read: {error}.",
            hint="npcsdk keys makes key files.",
            code="bad_key_file",
        ) from error
    found: dict[str, str] = {}
    for line in lines:
        if match := _LINE.match(line):
            found[match[1]] = match[2]
    if not {"public", "secret"} <= found.keys():
        raise BridgeError(
            f"The file {path} holds no pair of keys.",
            hint="npcsdk keys makes key files.",
            code="bad_key_file",
        )
    return Keys(found["public"], found["secret"], found.get("server"))


def write_keys(path: Path, keys: Keys) -> None:
    """Write a new file, for its owner's eyes only.

    Raises:
        BridgeError: it is there already, or cannot be written (``key_file``).
    """
    text = f"public = {keys.public}\nsecret = {keys.secret}\n"
    if keys.server:
        text += f"server = {keys.server}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise BridgeError(
            f"The key file {path} cannot be written: {error}.",
            hint="Keys are never overwritten: whoever holds the old ones would be locked out.",
            code="key_file",
        ) from error
