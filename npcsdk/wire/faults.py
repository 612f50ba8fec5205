"""Errors of the SDK's tree to and from messages: class by family (``kind``), then code, message and hint."""

from __future__ import annotations

from typing import Protocol, TypedDict

from npcsdk.errors import NpcError

__all__ = ["Fault", "error_of", "fault_of"]


class Fault(TypedDict):
    """The fields that a `Problem` and a `Goodbye` share."""

    code: str
    message: str
    hint: str
    kind: str


class _Said(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def kind(self) -> str: ...


def fault_of(error: BaseException) -> Fault:
    """What an exception says, as fields of a message; one from outside the tree becomes ``internal_error``."""
    if isinstance(error, NpcError):
        return Fault(code=error.code, message=error.message, hint=error.hint, kind=type(error).default_code)
    return Fault(
        code="internal_error",
        message=f"{type(error).__name__}: {error}",
        hint="This should not happen; the log has the traceback.",
        kind=NpcError.default_code,
    )


def error_of(said: _Said) -> NpcError:
    """The exception that a message tells of, of the class that was raised on the other side."""
    kind = _kinds().get(said.kind, NpcError)
    return kind(said.message, hint=said.hint, code=said.code)


def _kinds() -> dict[str, type[NpcError]]:
    found: dict[str, type[NpcError]] = {}
    left = [NpcError]
    while left:
        kind = left.pop()
        found.setdefault(kind.default_code, kind)
        left.extend(kind.__subclasses__())
    return found
