"""A backend without a model: it replays replies that you give it.

For tests of a game, of prompts and of everything above the seam. It counts tokens simply (a word with the
space before it, a punctuation mark, a line break), keeps sessions, and honours cancels, stop strings and
``max_tokens`` as a real backend does. A constraint is not enforced: the script is replayed as it is written.

    backend = ScriptedBackend(["Good day.", "The gate? <toolcall> {...} </toolcall> It is open."])
    backend.requests[0].prompt.text     # what was asked
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from npcsdk.backends.base import Backend, Capabilities, Finish, ModelSource, Piece, Prompt, Request, Usage
from npcsdk.backends.text_stream import TextStream
from npcsdk.errors import BackendError, ModelError, PromptTooLong

__all__ = ["Reply", "ScriptedBackend", "load"]

Reply: TypeAlias = "str | Sequence[str] | BaseException"
"""Text (cut into tokens), or the exact pieces, or an exception to raise instead."""

_TOKEN = re.compile(r" ?[^\W_]+|\n| ?[^\w\s]|\s|_")


class ScriptedBackend(Backend):
    """Replays ``replies`` in order, or asks a function for the reply to each request.

    Args:
        replies: the replies, each used once; or a function of the request.
        context_length: tokens of prompt and reply together.
        delay: seconds of pretended work before each token.
        loop: start again after the last reply instead of failing with code ``script_exhausted``.

    ``requests`` collects every request in order, for assertions.
    """

    def __init__(
        self,
        replies: Iterable[Reply] | Callable[[Request], Reply],
        *,
        context_length: int = 4096,
        delay: float = 0.0,
        loop: bool = False,
        name: str = "scripted",
    ) -> None:
        self.capabilities = Capabilities(
            backend="scripted",
            model=name,
            context_length=context_length,
            sessions=True,
            token_ids=True,
            seeded=True,
        )
        self.requests: list[Request] = []
        self._answer = replies if callable(replies) else None
        self._replies = [] if callable(replies) else list(replies)
        self._next = 0
        self._loop = loop
        self._delay = delay
        self._ids: dict[str, int] = {}
        self._sessions: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def count(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        started = time.perf_counter()
        with self._lock:
            self.requests.append(request)
            prompt = self._encode(request.prompt)
            room = self.capabilities.context_length - len(prompt)
            if room < 1:
                raise PromptTooLong(
                    f"The prompt has {len(prompt)} tokens and the window {self.capabilities.context_length}.",
                    hint="Shorten the persona, the lore or the history.",
                )
            cached = _common(self._sessions.get(request.session or "", []), prompt)
            reply = self._reply(request)
        if isinstance(reply, BaseException):
            raise reply
        pieces = _TOKEN.findall(reply) if isinstance(reply, str) else list(reply)
        stream = TextStream(request.stop)
        written: list[int] = []
        reason = "stop"
        prefill = time.perf_counter() - started
        try:
            for text in pieces:
                if self._delay:
                    time.sleep(self._delay)
                if request.cancel:
                    reason = "cancelled"
                    break
                if len(written) >= min(request.sampling.max_tokens, room):
                    reason = "length"
                    break
                number = self._id(text)
                written.append(number)
                piece = stream.push(number, text.encode())
                if piece is not None:
                    yield piece
                if stream.stopped:
                    break
            if reason != "cancelled" and (piece := stream.finish()) is not None:
                yield piece
        finally:
            if request.session is not None:
                with self._lock:
                    self._sessions[request.session] = prompt + written
        yield Finish(
            reason=reason,
            usage=Usage(
                prompt_tokens=len(prompt),
                cached_tokens=cached,
                computed_tokens=len(prompt) - cached,
                generated_tokens=len(written),
                prefill_s=prefill,
                decode_s=time.perf_counter() - started - prefill,
            ),
        )

    def release(self, session: str) -> None:
        with self._lock:
            self._sessions.pop(session, None)

    def _reply(self, request: Request) -> Reply:
        if self._answer is not None:
            return self._answer(request)
        if self._next >= len(self._replies):
            if not (self._loop and self._replies):
                raise BackendError(
                    f"The script has {len(self._replies)} replies, and one more was asked for.",
                    code="script_exhausted",
                    hint="Give ScriptedBackend more replies, or loop=True.",
                )
            self._next = 0
        self._next += 1
        return self._replies[self._next - 1]

    def _encode(self, prompt: Prompt) -> list[int]:
        ids: list[int] = []
        for segment in prompt.segments:
            if segment.ids is not None:
                ids.extend(segment.ids)
            elif segment.control:
                ids.append(self._id(segment.text))
            else:
                ids.extend(self._id(text) for text in _TOKEN.findall(segment.text))
        return ids

    def _id(self, text: str) -> int:
        return self._ids.setdefault(text, len(self._ids))


def _common(a: list[int], b: list[int]) -> int:
    """Length of the common prefix, of which one token is always computed again."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return min(length, max(len(b) - 1, 0))


def load(source: ModelSource) -> Backend:
    """A backend from a JSON file: a list of replies, or an object with ``replies``, ``delay``, ``loop``
    (default true).

    Raises:
        ModelError: the file is missing (``model_not_found``) or is no script (``model_broken``).
    """
    path = Path(source.path)
    hint = 'A script is JSON: ["first reply", "second reply"], or {"replies": [...], "delay": 0.05}.'
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"There is no script at {path}.", code="model_not_found", hint=hint) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The script {path} cannot be read: {error}.", code="model_broken", hint=hint
        ) from error
    options: dict[str, Any] = (
        cast("dict[str, Any]", content) if isinstance(content, dict) else {"replies": content}
    )
    replies: Any = options.get("replies")
    if (
        not isinstance(replies, list)
        or not replies
        or not all(isinstance(r, str) for r in cast("list[Any]", replies))
    ):
        raise ModelError(f"The script {path} holds no list of replies.", code="model_broken", hint=hint)
    delay: Any = options.get("delay", 0.0)
    if not isinstance(delay, int | float) or delay < 0:
        raise ModelError(f"The script {path} has the delay {delay!r}.", code="model_broken", hint=hint)
    return ScriptedBackend(
        cast("list[str]", replies),
        context_length=source.context_length,
        delay=float(delay),
        loop=bool(options.get("loop", True)),
        name=source.name,
    )
