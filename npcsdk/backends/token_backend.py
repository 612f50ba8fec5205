"""The generation loop of runtimes that take token ids and give logits.

An adapter supplies a `TokenRuntime`; the loop, the caches' reuse, constraints, stops and usage are here,
once.

A session's cache holds the tokens of its last prompt and reply. A new prompt is compared with it, the cache
is cut back to what both have in common and only the rest is computed, in pieces of about ``piece_ms``.
Between two pieces, and between two tokens, a cancel is honoured and other conversations get their turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from npcsdk.backends.base import (
    Backend,
    CancelFlag,
    Capabilities,
    Finish,
    Piece,
    Request,
    Usage,
)
from npcsdk.backends.encoding import Encoding
from npcsdk.backends.fair_lock import FairLock
from npcsdk.backends.pool import SessionPool, common_prefix
from npcsdk.backends.reply import Replies
from npcsdk.backends.sampler import Logits
from npcsdk.errors import BackendError, NpcError

__all__ = ["TokenBackend", "TokenCache", "TokenRuntime", "common_prefix"]

_WAIT_S = 30.0
# Fewer tokens than 32 at once cost nearly as much as 32 (the matrices are read all the same), so that is the smallest
# piece as long as it takes no more than a quarter of a second.
_PIECE_TOKENS = (8, 32, 1024)
_PIECE_LONGEST_S = 0.25
# Many models compute logits for every token of a piece and not for the last one only.
_LOGITS_BYTES = 64 << 20


class TokenCache(Protocol):
    """One conversation's key-value cache. Used by one thread at a time."""

    def append(self, ids: Sequence[int]) -> Logits:
        """Compute one or more tokens; the logits after the last, shape ``[vocabulary]``, float32, the
        caller's."""
        ...

    def rewind(self, length: int) -> None:
        """Forget all but the first ``length`` tokens. An `append` follows."""
        ...


class TokenRuntime(Protocol):
    """A loaded model.

    ``ends`` are the ids that end a reply, the usual one first; ``cache_bytes`` is the size of one
    `TokenCache`.
    """

    name: str
    model: str
    context_length: int
    vocabulary: int
    ends: tuple[int, ...]
    cache_bytes: int

    def new_cache(self) -> TokenCache: ...

    def close(self) -> None: ...


class _Session:
    """A cache and the tokens in it."""

    __slots__ = ("cache", "tokens")

    def __init__(self, cache: TokenCache) -> None:
        self.cache = cache
        self.tokens: list[int] = []


class TokenBackend(Backend):
    """A `Backend` on a `TokenRuntime`.

    Args:
        runtime: the model; closed with the backend.
        encoding: its tokenizer.
        budget: bytes that all caches together may take. At least one cache has to fit.
        piece_ms: how long a piece of prefill should take.
    """

    def __init__(
        self, runtime: TokenRuntime, encoding: Encoding, *, budget: int, piece_ms: float = 50.0
    ) -> None:
        self.capabilities = Capabilities(
            backend=runtime.name,
            model=runtime.model,
            context_length=runtime.context_length,
            constraints=True,
            sessions=True,
            token_ids=True,
            seeded=True,
        )
        self._runtime: TokenRuntime | None = runtime
        self._encoding = encoding
        self._replies = Replies(
            encoding,
            ends=runtime.ends,
            vocabulary=runtime.vocabulary,
            context_length=runtime.context_length,
        )
        self._vocabulary = runtime.vocabulary
        self._cache_bytes = runtime.cache_bytes
        self._pool: SessionPool[_Session] = SessionPool(budget)
        self._pool_changed = threading.Condition()
        self._turn = FairLock()
        self._piece_s = piece_ms / 1000
        self._tokens_per_s = 0.0

    def count(self, text: str) -> int:
        return self._encoding.count(text)

    def memory_bytes(self) -> int:
        with self._pool_changed:
            return self._pool.bytes

    def release(self, session: str) -> None:
        with self._pool_changed:
            state = self._pool.release(session)
            self._pool_changed.notify_all()
        del state  # Freeing a cache takes time; not under the lock.

    def close(self) -> None:
        with self._pool_changed:
            states = self._pool.clear()
            runtime, self._runtime = self._runtime, None
            self._pool_changed.notify_all()
        if runtime is None:
            return
        self._turn.acquire()
        try:
            states.clear()
            runtime.close()
        finally:
            self._turn.release()

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        self._open()
        reply = self._replies.start(request)
        prompt = reply.prompt
        name = request.session if request.session is not None else ""
        session = self._take(name, request.cancel)
        if session is None:
            yield Finish(reason="cancelled", usage=Usage(prompt_tokens=len(prompt)))
            return
        clock = time.perf_counter
        tokens, turn, cancel, cache = session.tokens, self._turn, request.cancel, session.cache
        priority = request.priority
        cached = common_prefix(tokens, prompt)
        computed = 0
        prefill = decode = 0.0
        sound = True
        try:
            logits: Logits | None = None
            at = cached
            while at < len(prompt) and not cancel and not reply.reason:
                sound = False
                turn.acquire(priority)
                try:
                    self._open()
                    started = clock()
                    if len(tokens) > at:
                        cache.rewind(at)
                        del tokens[at:]
                    ids = prompt[at : at + self._piece(len(prompt) - at)]
                    logits = cache.append(ids)
                    took = clock() - started
                finally:
                    turn.release()
                sound = True
                tokens += ids
                at += len(ids)
                prefill += took
                self._measure(len(ids), took)
            computed = at - cached
            if logits is not None and at == len(prompt):
                while not cancel:
                    piece = reply.take(logits)
                    if piece is not None:
                        yield piece
                    if reply.reason:
                        break
                    sound = False
                    turn.acquire(priority)
                    try:
                        if self._runtime is None:
                            self._open()
                        started = clock()
                        logits = cache.append((reply.token,))
                        decode += clock() - started
                    finally:
                        turn.release()
                    sound = True
                    tokens.append(reply.token)
            rest = reply.rest()
            if rest is not None:
                yield rest
        except NpcError:
            raise
        except Exception as error:
            raise BackendError(
                f"The runtime {self.capabilities.backend} failed: {error}",
                code="runtime_failed",
                hint="The turn is lost; the model stays loaded and the next one starts afresh.",
            ) from error
        finally:
            self._give_back(name, session if sound else None)
        yield reply.finish(cached=cached, computed=computed, prefill_s=prefill, decode_s=decode)

    def _open(self) -> TokenRuntime:
        runtime = self._runtime
        if runtime is None:
            raise BackendError("The model was closed.", code="backend_closed", hint="Load it again.")
        return runtime

    def _piece(self, left: int) -> int:
        """How many tokens to compute next. A rest of up to two pieces goes at once."""
        least, efficient, most = _PIECE_TOKENS
        most = min(most, max(efficient, _LOGITS_BYTES // (4 * self._vocabulary)))
        rate = self._tokens_per_s or efficient / self._piece_s
        size = min(int(rate * self._piece_s), most)
        size = max(size, least, min(efficient, int(rate * _PIECE_LONGEST_S)))
        return left if left <= min(size * 2, most) else size

    def _measure(self, count: int, took: float) -> None:
        if count >= _PIECE_TOKENS[0] and took > 0:
            now = count / took
            self._tokens_per_s = now if not self._tokens_per_s else 0.7 * self._tokens_per_s + 0.3 * now

    def _take(self, name: str, cancel: CancelFlag) -> _Session | None:
        """The session's cache, or a fresh one; None when cancelled while waiting for room."""
        deadline = time.monotonic() + _WAIT_S
        with self._pool_changed:
            while True:
                runtime = self._open()
                session = self._pool.take(name)
                if session is not None:
                    return session
                evicted = self._pool.reserve(name, self._cache_bytes)
                if evicted is not None:
                    break
                if cancel:
                    return None
                if time.monotonic() > deadline:
                    raise BackendError(
                        f"All caches are in use ({self._pool.budget} bytes, {self._cache_bytes} each).",
                        code="cache_busy",
                        hint="Raise the option cache_bytes, or run fewer turns at once.",
                    )
                self._pool_changed.wait(0.05)
        if evicted:  # Its tokens stay: characters of a world share the beginning of their prompts.
            return evicted[-1]
        try:
            self._turn.acquire()
            try:
                return _Session(runtime.new_cache())
            finally:
                self._turn.release()
        except Exception as error:
            self._give_back(name, None)
            raise BackendError(
                f"The runtime could not make a cache of {self._cache_bytes} bytes: {error}",
                code="cache_failed",
                hint="Lower the option context_length.",
            ) from error

    def _give_back(self, name: str, session: _Session | None) -> None:
        with self._pool_changed:
            dropped = None
            if session is None:
                self._pool.forget(name, self._cache_bytes)
            elif self._runtime is None:
                self._pool.forget(name, self._cache_bytes)
                dropped = session
            else:
                dropped = self._pool.put(name, session, self._cache_bytes)
            self._pool_changed.notify_all()
        del dropped
