"""A reply as one JSON object, for servers that hold a chat to a schema and nothing else. Pure.

``{"say": "Aye.", "do": [{"name": "open_gate", "arguments": {}}]}``: what the character says, then what it does. A list
without an entry is always legal, so no call is forced. What is said is handed on while it comes; each call becomes the
model's dialect again, so that the parser above sees one thing whatever the server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import Request

__all__ = ["JsonReply", "instructions", "response_format", "spelled"]

_TOLD = """\
Answer with one JSON object and nothing else: {{"say": "what you say aloud", "do": []}}
To act in the world, put actions of this list into "do", each as {{"name": "ACTION", "arguments": {{...}}}}:
{tools}
Act only when it is asked for or called for; otherwise "do" stays empty."""
_TOLD_SPEECH = 'Answer with one JSON object and nothing else: {"say": "what you say aloud", "do": []}'
_WHOLE = re.compile(
    r"""(?:[^"\\]|\\[^u]|\\u(?:[0-9a-ceA-CEfF]...|[dD][0-7c-fC-F]..|[dD][89abAB]..(?:\\u....|(?=\\[^u]|[^\\]))))*""",
    re.DOTALL,
)
"""Characters of a JSON string that are whole: no escape that goes on, no half of a pair that another may follow."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPACE = " \t\n\r"
_DECODE = json.JSONDecoder(strict=False)


def instructions(tools: Sequence[Mapping[str, Any]]) -> str:
    """What the system text has to say."""
    if not tools:
        return _TOLD_SPEECH
    return _TOLD.format(tools="\n".join(json.dumps(dict(tool), ensure_ascii=False) for tool in tools))


def spelled(speech: str, calls: Sequence[Mapping[str, Any]]) -> str:
    """A reply of before, as the model would have written it."""
    return json.dumps({"say": speech.strip(), "do": list(calls)}, ensure_ascii=False)


def response_format(request: Request, *, schema_in_object: bool = False) -> dict[str, Any]:
    """The field of a request that holds a reply to legal calls.

    Args:
        schema_in_object: in the older form, which llama-cpp-python's server takes.
    """
    constraint = request.constraint
    offered: dict[str, Any] = {str(tool["name"]): tool.get("parameters", {}) for tool in request.prompt.tools}
    if constraint is not None:
        offered = dict(constraint.tools) if constraint.max_calls > 0 else {}
    calls: dict[str, Any] = {"type": "array", "maxItems": constraint.max_calls if constraint else 4}
    if offered:
        calls["items"] = {"anyOf": [_call(name, schema) for name, schema in offered.items()]}
    else:
        calls |= {"items": {"type": "string"}, "maxItems": 0}
    schema = _object({"say": {"type": "string"}, "do": calls})
    if schema_in_object:
        return {"type": "json_object", "schema": schema}
    return {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": _strict(schema), "schema": schema},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _call(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # References would point elsewhere from in here; what is not held is checked when it comes.
    arguments = {"type": "object"} if "$defs" in schema else {"type": "object", **schema}
    return _object({"name": {"type": "string", "enum": [name]}, "arguments": arguments})


def _strict(schema: Any) -> bool:
    """Whether OpenAI's strict reading takes it: every property required, and no others allowed."""
    if isinstance(schema, list):
        return all(map(_strict, cast("list[Any]", schema)))
    if not isinstance(schema, Mapping):
        return True
    fields = cast("Mapping[str, Any]", schema)
    properties = fields.get("properties", {})
    whole = fields.get("type") != "object" or (
        set(fields.get("required", ())) == set(properties) and fields.get("additionalProperties") is False
    )
    return whole and all(map(_strict, fields.values()))


def _known(escape: re.Match[str]) -> str:
    """An escape that JSON does not know is what it looks like."""
    return escape[0] if escape[1] in '"\\/bfnrtu' else "\\" + escape[0]


class JsonReply:
    """Reads a reply as it comes, however it is cut, and gives it back as speech and calls in a dialect.

    What does not begin like an object is handed on as it is: the server held it to nothing.
    """

    def __init__(self, tool_format: ToolFormat) -> None:
        self._format = tool_format
        self._rest = ""
        self._state = self._start

    def feed(self, text: str) -> str:
        """What ``text`` adds to the reply."""
        self._rest += text
        said = ""
        while True:
            before = (self._state, len(self._rest))
            said += self._state()
            if (self._state, len(self._rest)) == before:
                return said

    def _start(self) -> str:
        self._skip(_SPACE)
        if self._rest:
            self._state = self._key if self._rest[0] == "{" else self._plain
            if self._state == self._key:
                self._rest = self._rest[1:]
        return ""

    def _plain(self) -> str:
        text, self._rest = self._rest, ""
        return text

    def _key(self) -> str:
        self._skip(_SPACE + ",")
        found = re.match(r'"((?:[^"\\]|\\.)*)"\s*:\s*(?=\S)', self._rest)
        if found:
            self._rest = self._rest[found.end() :]
            opened = self._rest[0]
            self._state = self._value
            if found[1] == "say" and opened == '"':
                self._state = self._say
            elif found[1] == "do" and opened == "[":
                self._state = self._calls
            if self._state != self._value:
                self._rest = self._rest[1:]
        return ""

    def _say(self) -> str:
        found = _WHOLE.match(self._rest)
        whole = found[0] if found else ""
        self._rest = self._rest[len(whole) :]
        if self._rest.startswith('"'):
            self._rest = self._rest[1:]
            self._state = self._key
        try:
            return str(_DECODE.decode(f'"{_ESCAPE.sub(_known, whole)}"'))
        except ValueError:
            return whole

    def _calls(self) -> str:
        self._skip(_SPACE + ",")
        if self._rest.startswith("]"):
            self._rest = self._rest[1:]
            self._state = self._key
            return ""
        call = self._decoded()
        if not isinstance(call, dict):
            return ""
        fields = cast("dict[str, Any]", call)
        arguments = fields.get("arguments")
        given = cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else {}
        return self._format.render_call(str(fields.get("name", "")), given)

    def _value(self) -> str:
        """Of a key that nobody asked for."""
        if self._decoded() is not None:
            self._state = self._key
        return ""

    def _decoded(self) -> Any:
        """The value that stands there, None until it is whole."""
        try:
            decoded: tuple[Any, int] = _DECODE.raw_decode(self._rest)
        except (ValueError, RecursionError):
            return None
        value, end = decoded
        if end == len(self._rest) and not isinstance(value, dict | list | str):
            return None  # A number or a word may go on.
        self._rest = self._rest[end:]
        return False if value is None else value  # pyright: ignore[reportUnknownVariableType]

    def _skip(self, characters: str) -> None:
        self._rest = self._rest.lstrip(characters)
