"""What a tool-call dialect has to say: its markers, how a call is written, and how one is read."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, cast

from npcsdk.actions.stream import CallStream

__all__ = ["Call", "MalformedCall", "ToolFormat", "compact_json", "read_json"]

_ARGUMENTS = ("arguments", "parameters")
_HARMLESS = {"name", "type", "id"}
_DEEPEST = 32
_SMALLEST, _GREATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the model wrote it, read but not yet checked."""

    name: str
    arguments: Mapping[str, Any]


class MalformedCall(ValueError):
    """The text between the markers is not a call; the message says why."""


class ToolFormat(ABC):
    """One model family's way to spell tools and calls. Stateless; one instance serves everybody.

    A call is an object with a ``name`` and its arguments under ``arguments_key``, between ``opening`` and
    ``closing``. ``closing`` may be "": then a call ends with its last brace. ``listed`` dialects write a list of
    calls; ``bare`` ones may begin a reply with a call and no marker. Dialects with ``after_name`` write the name
    before the object, which then is the arguments alone: these are the markers that may stand between the two, the
    one that must stand there last.
    """

    name: ClassVar[str]
    opening: ClassVar[str]
    closing: ClassVar[str]
    arguments_key: ClassVar[str] = "arguments"
    listed: ClassVar[bool] = False
    bare: ClassVar[bool] = False
    after_name: ClassVar[tuple[str, ...]] = ()

    @property
    def markers(self) -> tuple[str, ...]:
        """All that is never speech."""
        return tuple(marker for marker in (self.opening, self.closing, *self.after_name) if marker)

    def stream(self) -> CallStream:
        """What splits one generation of the model into speech and calls."""
        return CallStream(self.opening, self.closing, bare=self.bare, after_name=self.after_name)

    @abstractmethod
    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call, markers included, as the model itself would write it."""

    def instructions(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """What a system text has to say about tools and calls; "" for models whose template says it."""
        del tools
        return ""

    def parse_calls(self, body: str) -> Sequence[Call]:
        """Read what stood between the markers.

        Raises:
            MalformedCall: it is not a call.
        """
        name, text = self.named(body)
        return self.read_calls(self.with_name(name, read_json(text)))

    def named(self, body: str) -> tuple[str, str]:
        """The name that stands before the JSON in ``body``, "" where it stands within, and the JSON."""
        return "", body

    def with_name(self, name: str, value: Any) -> Any:
        """What was read as JSON, and the name that stood before it, as one call."""
        return {"name": name, self.arguments_key: value} if name else value

    def read_calls(self, value: Any) -> Sequence[Call]:
        """The calls in what `parse_calls` (or a repair) read as JSON: one object, or a list of them.

        Raises:
            MalformedCall: it is not a call.
        """
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        if not items:
            raise MalformedCall("an empty list of calls")
        return [self._read(item) for item in items]

    def _read(self, item: Any) -> Call:
        if not isinstance(item, dict):
            raise MalformedCall("not an object")
        fields = cast("dict[str, Any]", item)
        name = fields.get("name")
        if not isinstance(name, str):
            raise MalformedCall("no name")
        # Models that know several dialects mix their words for it.
        key = next((key for key in (self.arguments_key, *_ARGUMENTS) if key in fields), None)
        if key is None and fields.keys() - _HARMLESS:
            raise MalformedCall("the arguments stand beside the name")
        arguments = fields[key] if key is not None else None
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise MalformedCall("arguments are not an object")
        return Call(name, cast("dict[str, Any]", arguments))


def compact_json(value: Any) -> str:
    """JSON as these models were trained on it: one line, ``", "`` and ``": "``, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False)


def read_json(text: str) -> Any:
    """What a model wrote as JSON, if every peer can take it and all read it alike.

    Raises:
        MalformedCall: it is no JSON; or a key stands twice, a number is not finite or no 64-bit integer, text
            holds half a surrogate pair, or it is nested absurdly deep.
    """
    try:
        value = json.loads(
            text,
            strict=False,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
        if "\\u" in text:
            compact_json(value).encode()
    except RecursionError as error:
        raise MalformedCall("nested too deep") from error
    except UnicodeEncodeError as error:
        raise MalformedCall("half a surrogate pair in the text") from error
    except MalformedCall:
        raise
    except ValueError as error:
        raise MalformedCall(f"not JSON: {error}") from error
    if _deeper(value, _DEEPEST):
        raise MalformedCall("nested too deep")
    return value


def _no_constant(name: str) -> NoReturn:
    raise MalformedCall(f"{name} is not a number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedCall("a number is too great")
    return value


def _integer(digits: str) -> int:
    value = int(digits)
    if not _SMALLEST <= value <= _GREATEST:
        raise MalformedCall("an integer has more than 64 bits")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise MalformedCall("a key stands twice in one object")
    return made


def _deeper(value: Any, levels: int) -> bool:
    inner: Any = ()
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value).values()
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    else:
        return False
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)
