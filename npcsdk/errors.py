"""Every error that npcsdk raises, in one tree.

    NpcError
    ├── WorldError            a world folder, persona, lore file or action definition is wrong
    │   └── WorldInvalid      ... with a diagnostic for every mistake
    ├── ModelError            a model cannot be found or loaded
    ├── BackendError          a runtime failed, or lacks what was asked of it
    │   ├── MissingExtra      ... because an optional dependency is not installed
    │   └── PromptTooLong     ... because the prompt does not fit the model's window
    ├── TurnError             a turn could not be started or finished
    ├── ActionError           an action is defined wrongly, or its handler failed
    ├── MemoryStoreError      the journal or the index cannot be read or written
    └── BridgeError           the other side of a socket or of the worker
        └── ProtocolError     ... sent something that the protocol does not allow

An error carries a stable machine-readable ``code``, a ``message`` that says what happened and where,
and a ``hint`` that says what to do next. The same three travel over the wire.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ActionError",
    "BackendError",
    "BridgeError",
    "MemoryStoreError",
    "MissingExtra",
    "ModelError",
    "NpcError",
    "PromptTooLong",
    "ProtocolError",
    "TurnError",
    "WorldError",
    "WorldInvalid",
]


class NpcError(Exception):
    """Base of the tree: ``code`` for programs, ``message`` and ``hint`` for people."""

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not pickle by default.
        return (_rebuild, (type(self), self.message, self.hint, self.code))


def _rebuild(kind: type[NpcError], message: str, hint: str, code: str) -> NpcError:
    return kind(message, hint=hint, code=code)


class WorldError(NpcError):
    """A world cannot be used: the folder, a persona, a lore file or an action definition is wrong."""

    default_code = "world_error"


class WorldInvalid(WorldError):
    """A world has mistakes; the message lists each with file, line, column, caret and hint."""

    default_code = "world_invalid"


class ModelError(NpcError):
    """A model cannot be found, recognised or loaded."""

    default_code = "model_error"


class BackendError(NpcError):
    """A runtime failed, or was asked for a feature that it does not have."""

    default_code = "backend_error"


class MissingExtra(BackendError):
    """An optional dependency is not installed; the hint names the extra that brings it."""

    default_code = "missing_extra"


class PromptTooLong(BackendError):
    """A prompt does not fit the model's window; the message names both numbers."""

    default_code = "prompt_too_long"


class TurnError(NpcError):
    """A turn could not be started or finished (another is running, the line is empty, it was lost)."""

    default_code = "turn_error"


class ActionError(NpcError):
    """An action is defined wrongly, or its handler failed."""

    default_code = "action_error"


class MemoryStoreError(NpcError):
    """The journal or the index cannot be read or written."""

    default_code = "memory_error"


class BridgeError(NpcError):
    """The process on the other side is gone, silent or refused."""

    default_code = "bridge_error"


class ProtocolError(BridgeError):
    """The peer sent something that the protocol does not allow."""

    default_code = "protocol_error"
