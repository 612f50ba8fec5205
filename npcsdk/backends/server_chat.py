"""What a server with OpenAI's interface is told and what it says, as plain values. No I/O.

The owner of the interface's words: bodies of requests, deltas of replies. Two things are settled here. A server
reads control tokens wherever they stand, so their spellings are defused in everything that is text. And a server
that takes calls apart gives them as deltas; they are put together again in the model's dialect, so that the
parser above sees one thing whatever the runtime.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from npcsdk.actions.formats import MalformedCall, ToolFormat
from npcsdk.actions.stream import CallPart, Speech
from npcsdk.backends.base import Message, Prompt
from npcsdk.errors import BackendError

__all__ = [
    "CallDelta",
    "CallWriter",
    "Delta",
    "EventLines",
    "chat_messages",
    "estimate",
    "raw_text",
    "read_delta",
    "tools_for",
]

_LONGEST_LINE = 4 << 20
# How models of the families that servers run spell their control tokens.
_CONTROL = re.compile(
    r"<(?=\|)|<(?=/?(?:s|bos|eos|pad|unk|mask|sep|cls|extra_id_\d+|start_of_turn|end_of_turn|unused\d+|image_soft_token"
    r"|start_of_image|end_of_image|think)>)|\[(?=/?[A-Z_]{3,}\])"
)
_MARKER = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")
_LOOKALIKES = {"<": "\u2039", "[": "\u2045"}  # as `npcsdk.prompt.untrusted` writes them
_RUN = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)


def estimate(text: str) -> int:
    """About how many tokens ``text`` takes, rather too many than too few, for servers that do not count.

    A word counts a token for every three letters that it has begun; white space one a run (it is mostly part of the
    next word); every digit and sign one; letters beyond ASCII one for each byte of UTF-8 after the first. English
    prose comes out at 1.5 to 2 times the count of a tokenizer with 256,000 entries.
    """
    total = 0
    for run in _RUN.findall(text):
        if run[0].isspace():
            total += max(run.count("\n"), len(run) > 1)
        elif run.isascii():
            total += -(-len(run) // 3)
        else:
            total += max(len(run.encode("utf-8", "replace")) - 1, 1)
    return total


def raw_text(prompt: Prompt, *, keep: Collection[str] = (), bos: str = "") -> str:
    """The prompt for a server that encodes it with control tokens on.

    Args:
        keep: markers that are text for this model, those of its tool calls.
        bos: a token that the server puts at the beginning by itself, to be left out here.
    """
    markers = {
        found for segment in prompt.segments if segment.control for found in _MARKER.findall(segment.text)
    }
    parts: list[str] = []
    run: list[str] = []
    for segment in prompt.segments:
        if segment.control:
            parts += (_defused("".join(run), markers, keep), segment.text)
            run.clear()
        else:
            run.append(segment.text)
    parts.append(_defused("".join(run), markers, keep))
    return "".join(parts).removeprefix(bos)


def chat_messages(
    messages: Sequence[Message],
    tool_format: ToolFormat,
    *,
    structured: bool = True,
    spelled: Callable[[str, Sequence[Mapping[str, Any]]], str] | None = None,
) -> list[dict[str, Any]]:
    """Messages in the interface's form, control tokens defused.

    With ``structured``, calls in what the character said become ``tool_calls``, and the game's answers refer to them.
    An answer belongs to the latest calls that have none; calls that a game does not answer are "done", because
    servers insist on an answer to each. Without it the calls stay text, and answers are the user's messages; or
    ``spelled`` writes what was said and called.
    """
    keep = tool_format.markers
    given: list[dict[str, Any]] = []
    made = 0
    for at, message in enumerate(messages):
        text = _defused(message.content, (), keep)
        if message.role == "tool" and not structured:
            given.append({"role": "user", "content": f"<result> {text} </result>"})
        elif message.role == "tool":
            if not given or given[-1]["role"] != "tool":  # an answer to no call: of a turn that was cut
                given.append({"role": "user", "content": f"(Result: {text})"})
        elif message.role == "assistant" and structured:
            speech, calls = _calls(text, tool_format, made)
            made += len(calls)
            entry: dict[str, Any] = {"role": "assistant", "content": speech}
            given.append(entry)
            if calls:
                entry["tool_calls"] = calls
                answers = [answer.content for answer in _answers(messages, at + 1)]
                silent = ["done"] * (len(calls) - len(answers))
                for call, answer in zip(calls, [*silent, *answers][-len(calls) :], strict=True):
                    given.append(
                        {"role": "tool", "tool_call_id": call["id"], "content": _defused(answer, (), ())}
                    )
        elif message.role == "assistant" and spelled is not None:
            speech, calls = _calls(text, tool_format, made)
            said = [_object(call["function"]) for call in calls]
            did = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in said]
            given.append({"role": "assistant", "content": spelled(speech, did)})
        else:
            given.append({"role": message.role, "content": text})
    return given


def tools_for(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Offered actions as the interface has them."""
    return [{"type": "function", "function": dict(tool)} for tool in tools]


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A part of the ``index``-th call of a reply."""

    index: int
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of a stream says. ``finish`` is the server's word for why the reply ended."""

    text: str = ""
    calls: tuple[CallDelta, ...] = ()
    finish: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_delta(data: bytes) -> Delta:
    """Read an event of a completion or of a chat; also a whole reply of a server that does not stream.

    Raises:
        BackendError: ``reply_malformed``, or ``server_error`` when the event reports one.
    """
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BackendError(
            f"The server sent something that is no JSON: {data[:80]!r}.",
            code="reply_malformed",
            hint="Is it a server with OpenAI's interface? Its log may say more.",
        ) from error
    event = _object(value)
    if event.get("error"):
        problem = _object(event["error"]).get("message") or event["error"]
        raise BackendError(
            f"The server reported an error while it replied: {str(problem)[:300]}",
            code="server_error",
            hint="The turn is lost; see the server's log.",
        )
    usage = _object(event.get("usage"))
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices:
        return Delta(usage=usage)
    choice = _object(cast("list[Any]", choices)[0])
    said = _object(choice.get("delta") or choice.get("message"))
    text = said.get("content") if said else choice.get("text")
    listed = said.get("tool_calls")
    calls: list[CallDelta] = []
    for place, item in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
        entry = _object(item)
        function = _object(entry.get("function"))
        index = entry.get("index")
        arguments = function.get("arguments")
        calls.append(
            CallDelta(
                index if isinstance(index, int) else place,
                str(function.get("name") or ""),
                arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else "",
            )
        )
    return Delta(
        text if isinstance(text, str) else "", tuple(calls), str(choice.get("finish_reason") or ""), usage
    )


class CallWriter:
    """Writes calls that come as deltas in a model's dialect, as they come."""

    def __init__(self, tool_format: ToolFormat) -> None:
        self._format = tool_format
        self._index = -1
        self._tail = ""
        self._empty = True

    def feed(self, delta: CallDelta) -> str:
        """The text that ``delta`` adds."""
        text = ""
        if delta.index != self._index and delta.name:
            text = self.finish()
            head, _, self._tail = self._format.render_call(delta.name, {}).rpartition("{}")
            self._index, self._empty = delta.index, True
            text += head
        if self._tail and delta.arguments:
            text += delta.arguments
            self._empty = False
        return text

    def finish(self) -> str:
        """What ends the call that was begun, if one was."""
        tail, self._tail = self._tail, ""
        return ("{}" if self._empty else "") + tail if tail else ""


class EventLines:
    """Takes the bytes of an event stream, however they are cut, and gives the data of its events.

    Only ``data`` counts; an event's lines are joined. Lines end with LF or CR LF, and with nothing else that Unicode
    takes for the end of a line, for JSON may hold it.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that ``chunk`` completes.

        Raises:
            BackendError: ``reply_malformed``, for a line without end.
        """
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LONGEST_LINE:
            raise BackendError(
                f"The server sent a line of more than {_LONGEST_LINE} bytes.",
                code="reply_malformed",
                hint="Is it a server with OpenAI's interface?",
            )
        for line in lines:
            yield from self._line(line)

    def finish(self) -> Iterator[bytes]:
        """The last event, of a server that does not end it with an empty line."""
        rest, self._rest = self._rest, b""
        yield from self._line(rest)
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[bytes]:
        line = line.removesuffix(b"\r")
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            data = b"\n".join(self._data)
            self._data.clear()
            yield data


def _defused(text: str, markers: Collection[str], keep: Collection[str]) -> str:
    """``text`` without spellings of control tokens: their first character gives way to a look-alike."""
    kept = tuple(marker for marker in keep if marker)

    def replaced(found: re.Match[str]) -> str:
        at = found.start()
        if any(text.startswith(marker, at) for marker in kept):
            return text[at]
        return _LOOKALIKES.get(text[at], "\u00b7")

    pattern = _CONTROL.pattern
    others = sorted((marker for marker in markers if marker not in kept), key=len, reverse=True)
    for marker in others:
        pattern += f"|{re.escape(marker[0])}(?={re.escape(marker[1:])})"
    return re.sub(pattern, replaced, text)


def _calls(text: str, tool_format: ToolFormat, made: int) -> tuple[str, list[dict[str, Any]]]:
    """What was said in ``text``, and its calls in the interface's form, numbered from ``made``."""
    stream = tool_format.stream()
    speech: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in (*stream.feed(text), *stream.finish()):
        if isinstance(part, Speech):
            speech.append(part.text)
        elif isinstance(part, CallPart):
            try:
                parsed = tool_format.parse_calls(part.body)
            except MalformedCall:
                continue
            for call in parsed:
                arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
                function = {"name": call.name, "arguments": arguments}
                number = f"call_{made + len(calls)}"
                calls.append({"id": number, "type": "function", "function": function})
    return "".join(speech), calls


def _answers(messages: Sequence[Message], start: int) -> Iterator[Message]:
    for message in messages[start:]:
        if message.role != "tool":
            return
        yield message


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
