"""Models behind a server with OpenAI's interface: vLLM, llama-server, LM Studio, Ollama, NIM. The owner of `httpx`.

Where the server takes a prompt as it is (vLLM, llama-server) and the model is spoken to in a format that we know, it
gets our own prompt; else it gets messages and tools, and spells them itself.

Where the server takes a grammar (llama-server, llama-cpp-python's, vLLM) and calls are spelled in text, the reply is
held to it (`reply_grammar`): text, legal calls, text. A server that takes calls apart itself holds them as it can; and
what no server holds is checked and repaired when it comes, as always.

A request is repeated, after a pause, as long as nothing of a reply has come; after that a failure ends the turn.

Options of a `ModelSource` (`describe` finds out ``server``, ``bos`` and ``grammar`` by asking the server):

    server          "vllm", "llama_cpp" or "other": which parameters beyond OpenAI's it takes.
    api             "completion" (our prompt) or "chat" (messages).
    bos             a token that the server puts before a prompt by itself; "" where it puts none.
    tools           "server" (default); "words": actions are told in the system text; "json": likewise, and a reply is
                    one JSON object that the server holds to a schema (`server_json`), for servers that know no tools
                    or hold them badly.
    grammar         the field of a request in which the server takes a grammar: "grammar", "structured_outputs",
                    "guided_grammar"; "" where it takes none.
    api_key         sent as a bearer token; the environment's NPCSDK_API_KEY if absent. Never OPENAI_API_KEY, which is
                    not for every server that somebody names.
    timeout_s       seconds to wait for the next bytes: 60.
    context_length  tokens of prompt and reply together.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Any, cast

from npcsdk.actions.formats import ToolFormat, load_format
from npcsdk.backends.base import (
    Backend,
    Capabilities,
    Constraint,
    Finish,
    FinishReason,
    ModelSource,
    Piece,
    Request,
    Usage,
)
from npcsdk.backends.http_stream import END, HttpStreams, endpoint
from npcsdk.backends.options import check_options
from npcsdk.backends.reply_grammar import reply_grammar
from npcsdk.backends.server_chat import (
    CallWriter,
    Delta,
    chat_messages,
    estimate,
    raw_text,
    read_delta,
    tools_for,
)
from npcsdk.backends.server_facts import describe
from npcsdk.backends.server_json import JsonReply, instructions, response_format, spelled
from npcsdk.backends.text_stream import TextStream
from npcsdk.errors import BackendError, NpcError, PromptTooLong
from npcsdk.prompt.templates.instructions import tool_instructions

__all__ = ["describe", "load"]

logger = logging.getLogger(__name__)

_OPTIONS = ("server", "api", "bos", "tools", "grammar", "api_key", "timeout_s", "context_length")
_NOT_OURS = (
    "sampling",
    "contexts",
    "limits",
)  # Options of a whole world travel together; these are the dialogue's.
_CHOICES = {
    "server": ("vllm", "llama_cpp", "other"),
    "api": ("chat", "completion"),
    "tools": ("server", "words", "json"),
    "grammar": ("", "grammar", "structured_outputs", "guided_grammar"),
}
_GRAMMAR_WORDS = ("grammar", "structured", "guided", "ebnf", "gbnf")
_SCHEMA_WORDS = ("response_format", "schema", "json", "structured")
_CACHED = 16
_SERVERS_STOPS = 4
"""Stop strings that OpenAI's own interface takes. We look for all of them ourselves as well."""


class ServerBackend(Backend):
    """A model behind a server. See `load`."""

    def __init__(
        self, streams: HttpStreams, source: ModelSource, tool_format: ToolFormat, options: Mapping[str, Any]
    ) -> None:
        self._raw = options.get("api") == "completion"
        self._in_words = options.get("tools") == "words"
        self._as_json = options.get("tools") == "json" and not self._raw
        self._grammar = str(options.get("grammar", ""))
        self.capabilities = Capabilities(
            backend="openai_compat",
            model=source.name,
            context_length=int(options.get("context_length", source.context_length)),
            # A server that takes calls apart holds them by itself, and takes no grammar beside.
            constraints=self._as_json or (bool(self._grammar) and (self._raw or self._in_words)),
        )
        self._streams = streams
        self._model = source.name
        self._format = tool_format
        self._server = str(options.get("server", "other"))
        self._bos = str(options.get("bos", ""))
        self._grammars: deque[tuple[Constraint, str]] = deque(maxlen=_CACHED)
        self._refused: deque[str] = deque(maxlen=_CACHED)
        self._ask_count = lru_cache(maxsize=2048)(self._ask_count_uncached)

    def count(self, text: str) -> int:
        """The server's own count where it has one; else an estimate on the safe side (`server_chat.estimate`)."""
        if not text:
            return 0
        counted = self._ask_count(text) if self._server != "other" else None
        return estimate(text) if counted is None else counted

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        length = self.count(request.prompt.text)
        window = self.capabilities.context_length
        if length >= window:
            raise PromptTooLong(
                f"The prompt has {length} tokens and the model's window {window}, the reply included.",
                hint="Shorten the persona, the lore or the history, or set the option context_length.",
            )
        limit = min(request.sampling.max_tokens, window - length)
        if request.cancel or limit < 1:
            reason: FinishReason = "cancelled" if request.cancel else "length"
            yield Finish(reason=reason, usage=Usage(prompt_tokens=length, computed_tokens=length))
            return
        started = time.perf_counter()
        whole = JsonReply(self._format) if self._as_json else None
        reply = _Reply(request.stop, CallWriter(self._format), limit, whole)
        first = 0.0
        with closing(self._fetch(request, limit)) as events:  # which closes the stream, if it is still open
            for event in events:
                first = first or time.perf_counter()
                piece = reply.finish() if event == END else reply.feed(read_delta(event))
                if piece is not None:
                    yield piece
                if reply.reason:
                    break
                if request.cancel:
                    reply.reason = "cancelled"
                    break
            else:
                if request.cancel:
                    reply.reason = "cancelled"
                elif (piece := reply.finish()) is not None:
                    yield piece
        now = time.perf_counter()
        yield Finish(
            reason=reply.reason, usage=reply.usage(length, (first or now) - started, now - (first or now))
        )

    def close(self) -> None:
        self._streams.close()

    def _fetch(self, request: Request, limit: int) -> Generator[bytes, None, None]:
        held = self._held(request)

        def instead(refusal: str) -> bytes | None:
            """The same again without what the server says that it does not take."""
            nonlocal held
            words = refusal.lower()
            if held and (not words or any(word in words for word in _GRAMMAR_WORDS)):
                if words:
                    logger.warning(
                        "the server does not take a constraint, calls are checked: %s", refusal[:200]
                    )
                    self._refused.append(held)
                held = ""
                return self._body(request, limit, "")
            if self._as_json and any(word in words for word in _SCHEMA_WORDS):
                logger.warning("the server holds no reply to a schema, calls are checked: %s", refusal[:200])
                self._as_json, self._in_words = False, True
                return self._body(request, limit, "")
            if self._raw or self._in_words or not request.prompt.tools or "tool" not in words:
                return None
            self._in_words = True
            return self._body(request, limit, "")

        path = "completions" if self._raw else "chat/completions"
        return self._streams.post(path, self._body(request, limit, held), request.cancel.__bool__, instead)

    def _held(self, request: Request) -> str:
        """The grammar that holds the reply, "" where nothing does."""
        constraint = request.constraint
        if constraint is None or self._as_json or not self.capabilities.constraints:
            return ""
        text = next((text for known, text in tuple(self._grammars) if known == constraint), None)
        if text is None:
            text = reply_grammar(constraint)
            self._grammars.append((constraint, text))
        return "" if text in self._refused else text

    def _body(self, request: Request, limit: int, held: str) -> bytes:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": limit,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        stops = [stop for stop in request.stop if stop]
        if stops and not self._as_json:  # They stand in what is said, not in the JSON.
            body["stop"] = stops if self._server != "other" else stops[:_SERVERS_STOPS]
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if self._server == "vllm":
            body |= {"top_k": sampling.top_k or -1, "repetition_penalty": sampling.repetition_penalty}
        elif self._server == "llama_cpp":
            body |= {
                "top_k": sampling.top_k,
                "repeat_penalty": sampling.repetition_penalty,
                "cache_prompt": True,
            }
        if held:
            field = self._grammar
            body |= {field: {"grammar": held} if field == "structured_outputs" else held}
        prompt = request.prompt
        if self._raw:
            body["prompt"] = raw_text(prompt, keep=self._format.markers, bos=self._bos)
            # So that stops which are control tokens are seen as text, by the server and by us.
            if self._server == "vllm":
                body |= {"skip_special_tokens": False, "add_special_tokens": False}
            elif self._server == "llama_cpp":
                body["preserved_tokens"] = stops
        else:
            body["messages"] = chat_messages(
                prompt.messages,
                self._format,
                structured=not (self._in_words or self._as_json),
                spelled=spelled if self._as_json else None,
            )
            if self._as_json:
                self._tell(body["messages"], instructions(prompt.tools))
                older = self._grammar == "grammar" and self._server == "other"
                body["response_format"] = response_format(request, schema_in_object=older)
            elif prompt.tools and self._in_words:
                self._tell(body["messages"], tool_instructions(self._format, prompt.tools))
            elif prompt.tools:
                body["tools"] = tools_for(prompt.tools)
        return json.dumps(body).encode()

    def _tell(self, messages: list[dict[str, Any]], told: str) -> None:
        if messages and messages[0]["role"] == "system":
            messages[0]["content"] = f"{messages[0]['content']}\n\n{told}"
        else:
            messages.insert(0, {"role": "system", "content": told})

    def _ask_count_uncached(self, text: str) -> int | None:
        if self._server == "vllm":
            body: dict[str, Any] = {"model": self._model, "prompt": text, "add_special_tokens": False}
        else:
            body = {"content": text, "add_special": False, "parse_special": False}
        try:
            tokens = self._streams.ask("POST", endpoint(self._streams.url, "/tokenize"), body).get("tokens")
        except NpcError:
            return None
        return len(cast("list[Any]", tokens)) if isinstance(tokens, list) else None


class _Reply:
    """What has come of one reply."""

    def __init__(
        self, stops: tuple[str, ...], calls: CallWriter, limit: int, whole: JsonReply | None = None
    ) -> None:
        self.reason: Any = ""
        self._json = whole
        self._stream = TextStream(stops)
        self._calls = calls
        self._limit = limit
        self._told: Mapping[str, Any] = {}
        self._finish = ""
        self._deltas = 0
        self._half = ""

    def feed(self, delta: Delta) -> Piece | None:
        text = self._json.feed(delta.text) if self._json is not None else delta.text
        for call in delta.calls:
            text += self._calls.feed(call)
        if delta.finish:
            self._finish = delta.finish
            text += self._calls.finish()
        self._told = delta.usage or self._told
        if not text:
            return None
        if self._deltas >= self._limit:  # A server that minds no limit; a delta is one token or more.
            return self._end("length")
        self._deltas += 1
        text, self._half = _whole(self._half + text)
        piece = self._stream.push(0, text.encode()) if text else None
        if self._stream.stopped:
            self.reason = "stop"
        return None if piece is None else Piece(piece.text)

    def finish(self) -> Piece | None:
        """The stream has ended.

        Raises:
            BackendError: ``server_stopped``: before the reply had.
        """
        if not self._finish:
            raise BackendError(
                "The server closed the connection in the middle of a reply.",
                code="server_stopped",
                hint="The turn is lost; see whether the server is still running.",
            )
        return self._end("length" if self._finish == "length" else "stop")

    def _end(self, reason: str) -> Piece | None:
        self.reason = reason
        piece = self._stream.finish()
        return None if piece is None else Piece(piece.text)

    def usage(self, prompt: int, prefill: float, decode: float) -> Usage:
        told = self._told
        details: Any = told.get("prompt_tokens_details")
        prompt = _number(told.get("prompt_tokens"), prompt)
        cached = min(_number(details.get("cached_tokens") if isinstance(details, dict) else 0, 0), prompt)  # pyright: ignore
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            computed_tokens=prompt - cached,
            generated_tokens=_number(told.get("completion_tokens"), self._deltas),
            prefill_s=prefill,
            decode_s=decode,
        )


def _number(value: Any, other: int) -> int:
    return value if isinstance(value, int) and value >= 0 else other


def _whole(text: str) -> tuple[str, str]:
    """Whole code points, and a half pair at the end that the next delta may complete."""
    if text.isascii():
        return text, ""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    text = text.removesuffix(half)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half


def load(source: ModelSource) -> Backend:
    """Be ready to speak with a server; nothing is asked of it yet.

    Raises:
        ModelError: ``option_unknown`` or ``option_invalid``.
    """
    options = check_options(
        "openai_compat",
        source.options,
        _OPTIONS,
        numbers=("timeout_s", "context_length"),
        whole=("context_length",),
        choices=_CHOICES,
        others=_NOT_OURS,
        secret=("api_key",),
    )
    key = str(options.get("api_key") or os.environ.get("NPCSDK_API_KEY", ""))
    address = source.path.partition("#")[0]
    streams = HttpStreams(address, key=key, timeout_s=float(options.get("timeout_s", 60.0)))
    return ServerBackend(streams, source, load_format(source.tool_format), options)
