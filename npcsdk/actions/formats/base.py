"""What a tool-call dialect has to say: its markers, how a call is written, and how one is read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Call", "MalformedCall", "ToolFormat"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the model wrote it, read but not yet checked."""

    name: str
    arguments: Mapping[str, Any]


class MalformedCall(ValueError):
    """The text between the markers is not a call; the message says why."""


class ToolFormat(ABC):
    """One model family's way to spell tools and calls. Stateless; one instance serves everybody."""

    name: ClassVar[str]
    opening: ClassVar[str]
    closing: ClassVar[str]

    @abstractmethod
    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call, markers included, as the model itself would write it."""

    @abstractmethod
    def parse_calls(self, body: str) -> Sequence[Call]:
        """Read what stood between the markers.

        Raises:
            MalformedCall: it is not a call.
        """


def compact_json(value: Any) -> str:
    """JSON as these models were trained on it: one line, ``", "`` and ``": "``, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False)
