"""Many conversations on one runtime with many sequences: one thread computes for all of them, step by step.

`npcsdk.backends.scheduler` decides what a step is; this carries it out, samples, and hands each caller its pieces. It
knows llama.cpp only as a `SequenceRuntime`, which is written for it in `npcsdk.backends.llama_cpp`.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from npcsdk.backends.base import Backend, Capabilities, Finish, Piece, Request
from npcsdk.backends.delivery import Delivered, Delivery
from npcsdk.backends.encoding import Encoding
from npcsdk.backends.plan import Copy, Cut, Drop, Entry, Forget, Load, Move, Plan, Save
from npcsdk.backends.reply import Replies, Reply
from npcsdk.backends.sampler import Logits
from npcsdk.backends.scheduler import Scheduler
from npcsdk.errors import BackendError, NpcError

__all__ = ["BatchingBackend", "SequenceRuntime"]

logger = logging.getLogger(__name__)


class SequenceRuntime(Protocol):
    """A loaded model with one memory of ``cells`` tokens for ``sequences`` sequences. Used by one thread.

    ``partial`` says whether a sequence can be cut, and a part of it copied. ``batch`` is the most tokens of one
    `compute`. ``cell_bytes`` is what one token takes, in memory and saved. ``step_s`` are the seconds
    of a `compute` of one token, 0 where that is not known.
    """

    name: str
    model: str
    context_length: int
    vocabulary: int
    ends: tuple[int, ...]
    cells: int
    sequences: int
    batch: int
    cell_bytes: int
    step_s: float
    partial: bool

    def compute(self, entries: Sequence[Entry]) -> list[Logits]:
        """Compute all entries at once. The logits after each that is ``last``, in order, shape ``[vocabulary]``,
        float32; valid until the next call, and the caller may overwrite them."""
        ...

    def cut(self, sequence: int, length: int) -> bool:
        """Keep the first ``length`` tokens. False when this memory cannot, or does not hold what they need."""
        ...

    def copy(self, source: int, sequence: int, length: int) -> bool:
        """Share the first ``length`` tokens of ``source``. False as for `cut`."""
        ...

    def save(self, sequence: int) -> bytes:
        """The contents of a sequence; nothing, which `load` will refuse, when that fails."""
        ...

    def load(self, sequence: int, data: bytes) -> bool:
        """Fill an empty sequence with what `save` gave. False when that fails."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Job:
    """A request under way. ``out`` is written by the engine and read by the caller."""

    request: Request
    reply: Reply
    out: Delivery
    left: bool = False
    """The caller does not listen any more."""
    number: int = -1
    prefill_s: float = 0.0
    decode_s: float = 0.0


class BatchingBackend(Backend):
    """A `Backend` on a `SequenceRuntime`.

    Args:
        runtime: the model; closed with the backend.
        encoding: its tokenizer.
        piece_ms: how long the prompts' part of a step should take while somebody is answered.
        saved_bytes: memory for evicted sequences, so that they need not be computed again when they come back.
    """

    def __init__(
        self, runtime: SequenceRuntime, encoding: Encoding, *, piece_ms: float = 50.0, saved_bytes: int = 0
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
        self._encoding = encoding
        self._replies = Replies(
            encoding,
            ends=runtime.ends,
            vocabulary=runtime.vocabulary,
            context_length=runtime.context_length,
        )
        self._engine = _Engine(runtime, piece_ms / 1000, saved_bytes)
        # Also when it is dropped or the interpreter ends: native code must not compute while that happens.
        self._stop = weakref.finalize(self, self._engine.stop)

    def count(self, text: str) -> int:
        return self._encoding.count(text)

    def memory_bytes(self) -> int:
        return self._engine.memory_bytes()

    def release(self, session: str) -> None:
        self._engine.release(session)

    def close(self) -> None:
        self._stop()

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        return Delivered(lambda delivery: self._generate(request, delivery))

    def _generate(self, request: Request, delivery: Delivery) -> Generator[Piece | Finish | None, None, None]:
        self._engine.check_open()
        reply = self._replies.start(request)
        cancel = request.cancel
        if reply.reason or cancel:
            yield reply.finish(cached=0, computed=0, prefill_s=0.0, decode_s=0.0)
            return
        job = _Job(request, reply, delivery)
        self._engine.submit(job)
        get = delivery.get
        dropped = False
        try:
            while True:
                item = get()
                if isinstance(item, Piece):
                    # The engine is ahead of its caller: what was not heard before the cancel was not said.
                    dropped = dropped or bool(cancel)
                    if not dropped:
                        yield item
                elif isinstance(item, Finish):
                    yield replace(item, reason="cancelled") if dropped else item
                    return
                elif item is None:
                    yield None
                else:
                    raise item
        finally:
            job.left = True


class _Engine:
    """The thread, and all that it shares with callers, which ``_changed`` guards."""

    def __init__(self, runtime: SequenceRuntime, piece_s: float, saved_bytes: int) -> None:
        self._runtime = runtime
        self._cell_bytes = runtime.cell_bytes
        self._name = runtime.name
        self._scheduler = Scheduler(
            cells=runtime.cells,
            sequences=runtime.sequences,
            piece_s=piece_s,
            step_s=runtime.step_s,
            batch=runtime.batch,
            saved=saved_bytes // runtime.cell_bytes,
            partial=runtime.partial,
        )
        self._changed = threading.Condition()
        self._jobs: dict[int, _Job] = {}
        self._states: dict[int, bytes] = {}
        self._closed = False
        self._broken = ""
        """What stopped the engine, when that was not its owner."""
        self._thread = threading.Thread(target=self._run, name=f"npcsdk-{runtime.name}", daemon=True)
        self._thread.start()

    # Any thread.

    def check_open(self) -> None:
        if self._closed:
            raise self._error()

    def submit(self, job: _Job) -> None:
        with self._changed:
            self.check_open()
            job.number = self._scheduler.add(
                job.reply.prompt,
                limit=job.reply.limit,
                session=job.request.session or "",
                priority=job.request.priority,
            )
            self._jobs[job.number] = job
            self._changed.notify()

    def release(self, session: str) -> None:
        with self._changed:
            if not self._closed:
                self._scheduler.release(session)

    def memory_bytes(self) -> int:
        with self._changed:
            return 0 if self._closed else (self._scheduler.used + self._scheduler.kept) * self._cell_bytes

    def stop(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # The engine's own thread.

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._jobs and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        break
                    self._drop_cancelled()
                    plan = self._scheduler.step()
                if plan:
                    self._carry_out(plan)
        except Exception as error:  # A mistake of ours: nobody may wait for ever because of it.
            logger.exception("the engine of %s stopped", self._name)
            self._broken = repr(error)
        finally:
            with self._changed:
                self._closed = True
                jobs = list(self._jobs.values())
                self._jobs.clear()
                self._states.clear()
            for job in jobs:
                job.out.put(self._error())
            self._runtime.close()

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs.values() if job.left or job.request.cancel]:
            self._end(job)

    def _carry_out(self, plan: Plan) -> None:
        failed = {sequence for move in plan.moves if (sequence := self._move(move)) is not None}
        if failed:
            with self._changed:
                for sequence in failed:
                    self._scheduler.restart(sequence)
            plan = Plan((), tuple(entry for entry in plan.entries if entry.sequence not in failed))
        entries = plan.entries
        if not entries:
            return
        started = time.perf_counter()
        try:
            logits = self._runtime.compute(entries)
        except Exception as error:
            self._fail(entries, error)
            return
        took = time.perf_counter() - started
        for entry in entries:
            job = self._jobs[entry.request]
            if entry.reply:
                job.decode_s += took
            else:
                job.prefill_s += took
        ended: list[_Job] = []
        running: list[_Job] = []
        broken: list[tuple[_Job, Exception]] = []
        for row, entry in zip(logits, (entry for entry in entries if entry.last), strict=True):
            job = self._jobs[entry.request]
            try:
                piece = job.reply.take(row)
            except Exception as error:
                broken.append((job, error))
                continue
            if piece is not None:
                job.out.put(piece)
            (ended if job.reply.reason else running).append(job)
        with self._changed:
            self._scheduler.measure(plan, took)
            for job in running:
                self._scheduler.next(job.number, job.reply.token)
            for job in ended:
                self._end(job)
            for job, error in broken:
                self._break(job, error)

    def _move(self, move: Move) -> int | None:
        """Carry out one move. The sequence that does not hold what it should, when that failed."""
        runtime = self._runtime
        match move:
            case Drop(sequence):
                runtime.cut(sequence, 0)
                return None
            case Save(sequence, state):
                self._states[state] = runtime.save(sequence)
                return None
            case Forget(state):
                del self._states[state]
                return None
            case Cut(sequence, length):
                done = runtime.cut(sequence, length)
            case Copy(source, sequence, length):
                done = runtime.copy(source, sequence, length)
            case Load(state, sequence):
                done = runtime.load(sequence, self._states.pop(state))
        if done:
            return None
        runtime.cut(sequence, 0)
        return sequence

    def _end(self, job: _Job) -> None:
        number = job.number
        finish = job.reply.finish(
            cached=self._scheduler.cached(number),
            computed=self._scheduler.computed(number),
            prefill_s=job.prefill_s,
            decode_s=job.decode_s,
        )
        self._scheduler.end(number)
        del self._jobs[number]
        rest = job.reply.rest()
        if rest is not None:
            job.out.put(rest)
        job.out.put(finish)

    def _break(self, job: _Job, error: Exception) -> None:
        self._scheduler.lose(job.number)
        del self._jobs[job.number]
        if not isinstance(error, NpcError):
            failure = BackendError(
                f"The runtime {self._name} failed: {error}",
                code="runtime_failed",
                hint="The turn is lost; the model stays loaded and the next one starts afresh.",
            )
            failure.__cause__ = error
            error = failure
        job.out.put(error)

    def _fail(self, entries: Sequence[Entry], error: Exception) -> None:
        """A computation failed: nobody knows what its sequences hold now."""
        with self._changed:
            for entry in entries:
                self._break(self._jobs[entry.request], error)

    def _error(self) -> BackendError:
        """Why there is no engine any more."""
        if not self._broken:
            return BackendError("The model was closed.", code="backend_closed", hint="Load it again.")
        return BackendError(
            f"The engine of {self._name} stopped: {self._broken}",
            code="runtime_failed",
            hint="Load the model again, and report this.",
        )
