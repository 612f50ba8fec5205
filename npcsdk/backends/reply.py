"""From a request and logits to pieces of text: what every runtime that gives logits does alike.

Stops, banned tokens, the constraint, the sampler and the text stream of one reply; no cache and no runtime.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npcsdk.backends.base import Finish, FinishReason, Piece, Request, Usage
from npcsdk.backends.encoding import Encoding
from npcsdk.backends.guidance import Guidance, Guide
from npcsdk.backends.sampler import Logits, Sampler
from npcsdk.backends.text_stream import TextStream
from npcsdk.errors import BackendError, PromptTooLong

__all__ = ["Replies", "Reply"]


class Reply:
    """One reply in the making.

    ``prompt`` are the tokens to compute, ``limit`` how many tokens there may be (0: the prompt's alone are wanted).
    After each `take`, either ``reason`` says why the reply is over, or ``token`` is to be computed for the next logits.
    """

    __slots__ = (
        "_banned",
        "_bytes_of",
        "_ends",
        "_guide",
        "_sampler",
        "_stream",
        "generated",
        "limit",
        "prompt",
        "reason",
        "token",
    )

    def __init__(
        self,
        prompt: list[int],
        limit: int,
        *,
        sampler: Sampler,
        stream: TextStream,
        guide: Guide | None,
        ends: frozenset[int],
        banned: np.ndarray[tuple[int], np.dtype[np.intp]] | None,
        encoding: Encoding,
    ) -> None:
        self.prompt = prompt
        self.limit = limit
        self.generated = 0
        self.token = -1
        self.reason: FinishReason | None = None if limit > 0 else "length"
        self._sampler = sampler
        self._stream = stream
        self._guide = guide
        self._ends = ends
        self._banned = banned
        self._bytes_of = encoding.bytes_of

    def take(self, logits: Logits) -> Piece | None:
        """Choose the next token from ``logits`` (overwritten); a piece when some text is certain.

        Raises:
            BackendError: code ``constraint_failed``, or ``constraint_unsupported`` the first time.
            ValueError: the logits are no numbers.
        """
        if self._banned is not None:
            logits[self._banned] = -np.inf
        guide = self._guide
        token = self.token = self._sampler.pick(logits, None if guide is None else guide.legal())
        if token in self._ends:
            self.reason = "stop"
            return None
        self.generated += 1
        if guide is not None:
            guide.accept(token)
        piece = self._stream.push(token, self._bytes_of(token))
        if self._stream.stopped:
            self.reason = "stop"
        elif self.generated >= self.limit:
            self.reason = "length"
        return piece

    def rest(self) -> Piece | None:
        """What was held back, when the reply is over; nothing of one that was cancelled."""
        return self._stream.finish() if self.reason in ("stop", "length") else None

    def finish(self, *, cached: int, computed: int, prefill_s: float, decode_s: float) -> Finish:
        """The reply's end; a reply without a ``reason`` was cancelled."""
        return Finish(
            reason=self.reason or "cancelled",
            usage=Usage(
                prompt_tokens=len(self.prompt),
                cached_tokens=cached,
                computed_tokens=computed,
                generated_tokens=self.generated,
                prefill_s=prefill_s,
                decode_s=decode_s,
            ),
        )


class Replies:
    """What requests become for one model. Thread-safe.

    Args:
        encoding: the model's tokenizer.
        ends: ids that end a reply, the usual one first.
        vocabulary: how many ids the model has.
        context_length: tokens of prompt and reply together.
    """

    def __init__(
        self, encoding: Encoding, *, ends: Sequence[int], vocabulary: int, context_length: int
    ) -> None:
        self._encoding = encoding
        self._ends = tuple(ends)
        self._vocabulary = vocabulary
        self._window = context_length
        self._guidance = Guidance(encoding, stop=self._ends[0])

    def start(self, request: Request) -> Reply:
        """The reply to ``request``, before its first logits.

        Raises:
            PromptTooLong: the prompt leaves no room for a reply.
            BackendError: the prompt is empty or not of this model. (That the constraint cannot be held is raised by
                the first `Reply.take`: it is compiled while the prompt is computed.)
        """
        known = (self._encoding.token_id(text) for text in request.stop)
        ids = (number for number in known if number is not None and number < self._vocabulary)
        # Stop strings that are control tokens end by id; all of them end by text too.
        ends = frozenset((*self._ends, *ids))
        constraint = request.constraint
        guide = self._guidance.begin(constraint, ends) if constraint is not None else None
        prompt = self._encoding.encode(request.prompt)
        self._check(prompt)
        return Reply(
            prompt,
            min(request.sampling.max_tokens, self._window - len(prompt)),
            sampler=Sampler(request.sampling),
            stream=TextStream(request.stop),
            guide=guide,
            ends=ends,
            banned=self._banned(request, ends),
            encoding=self._encoding,
        )

    def _check(self, prompt: list[int]) -> None:
        length, window = len(prompt), self._window
        if length >= window:
            raise PromptTooLong(
                f"The prompt has {length} tokens and the model's window {window}, the reply included.",
                hint="Shorten the persona, the lore or the history.",
            )
        if not prompt:
            raise BackendError(
                "The prompt is empty.", code="prompt_empty", hint="Give it at least one token."
            )
        if not 0 <= min(prompt) <= max(prompt) < self._vocabulary:
            raise BackendError(
                f"The prompt holds a token id outside of the model's {self._vocabulary}.",
                code="token_unknown",
                hint="Segments' ids belong to the model that generated them; another model needs the text.",
            )

    def _banned(
        self, request: Request, ends: frozenset[int]
    ) -> np.ndarray[tuple[int], np.dtype[np.intp]] | None:
        """Control tokens that this reply may not hold: all but its ends and its constraint's markers."""
        allowed = set(ends)
        if request.constraint is not None and request.constraint.tools:
            held = request.constraint
            for text in (held.opening, held.closing, held.after_name):
                number = self._encoding.token_id(text)
                if number is not None:
                    allowed.add(number)
        banned = sorted(self._encoding.special - allowed)
        return np.array(banned, dtype=np.intp) if banned else None
