"""Models in OpenVINO IR, run by OpenVINO GenAI's continuous batching. The owner of `openvino_genai`.

One pipeline computes all conversations together, a token of each at a step, and keeps what it computed in pages that
conversations with a common beginning share; so a session needs no cache of its own. One thread steps the pipeline. A
prompt whose beginning another is just computing waits for it (`npcsdk.backends.openvino_beginnings`).

The runtime samples by itself and shows no logits. So a constraint is told to it as structural tags: free text, and a
call held to its schema from the opening marker to the closing one. What tags cannot say (how many calls, that a reply
may not open one when no action is offered, a call without its marker) is left to who reads the reply. Its repetition
penalty counts the prompt too. It does not say which tokens were cached, so usage counts a whole prompt as computed. A
step holds Python's lock: other threads of the process wait for it, as long as ``batch_tokens`` tokens of a prompt take.

Options of a `ModelSource`:

    device          "cpu" (default), "gpu", "gpu.1", ...; "auto" takes a GPU, and says so if there is none.
    threads         threads of one computation; the runtime's choice if absent.
    precision       "f32", "f16" or "bf16" of the computation; what the processor is best at if absent.
    cache_type      "u8" (the runtime's choice on CPUs), "f16", "bf16" or "f32".
    context_length  tokens of prompt and reply together, at most the model's.
    cache_bytes     bytes for the pages of all conversations: 1 GiB, or one whole window if that is more.
    batch_tokens    tokens that a step computes at most: 32 to 256, by what a processor can be expected to compute in
                    50 ms. Fewer keep running replies smoother while a prompt joins.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

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
from npcsdk.backends.delivery import Delivered, Delivery
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.failures import ran_out_of_memory
from npcsdk.backends.guidance import Guidance
from npcsdk.backends.openvino_beginnings import Beginnings
from npcsdk.backends.openvino_facts import AGAIN, PAGE, Facts, cache_pages, step_tokens
from npcsdk.backends.openvino_tags import generation_config, structural_tags
from npcsdk.backends.options import check_options
from npcsdk.backends.signal_stack import kept_signal_stack
from npcsdk.backends.text_stream import TextStream
from npcsdk.errors import BackendError, ModelError, NpcError, PromptTooLong

__all__ = ["load"]

logger = logging.getLogger(__name__)
# To import openvino reports to Google Analytics, from a process that it forks. Nothing leaves the player's machine
# unasked: where the reporter cannot be imported, openvino goes without.
sys.modules.setdefault("openvino_telemetry", cast("Any", None))
# Both are typed in part only. Everything that they return is named and typed in this module.
openvino: Any = importlib.import_module("openvino")
genai: Any = importlib.import_module("openvino_genai")

_PATIENCE = 0.002  # Seconds.
_KEPT = 16  # Constraints that are known as the runtime is told them.
_STEP_TOKENS = (32, 256)
_WEIGHTS_PER_STEP = (
    5_400_000_000  # Bytes of weights, times tokens: what a core with AVX-512 does with in 50 ms.
)
_NOT_OURS = ("sampling", "contexts", "limits")  # Options of a whole world; these are the dialogue's.
_CHOICES = {"precision": ("f32", "f16", "bf16"), "cache_type": ("u8", "f16", "bf16", "f32")}
_NUMBERS = ("threads", "context_length", "cache_bytes", "batch_tokens")
_PLACES = re.compile(r"(?:Exception from|Check '[^']*' failed at) \S+:\d+:\s*")
_FILES = (
    "openvino_model.xml",
    "openvino_model.bin",
    "openvino_tokenizer.xml",
    "openvino_detokenizer.xml",
    "config.json",
)


@dataclass(slots=True, eq=False)
class _Job:
    """One generation: written by the engine's thread, read by the caller's through ``said``."""

    request: Request
    prompt: list[int]
    config: Any
    ends: frozenset[int]
    stream: TextStream
    said: Delivery
    left: bool = False
    """The caller has gone."""
    handle: Any = None
    generated: int = 0
    started: float = 0.0
    first: float = 0.0

    @property
    def gone(self) -> bool:
        """Nobody wants the reply any more."""
        return self.left or bool(self.request.cancel)

    def usage(self) -> Usage:
        now = time.perf_counter()
        first = self.first or now
        return Usage(
            prompt_tokens=len(self.prompt),
            computed_tokens=len(self.prompt),
            generated_tokens=self.generated,
            prefill_s=first - self.started if self.started else 0.0,
            decode_s=now - first,
        )


class _Engine:
    """The pipeline and the one thread that uses it: requests join and leave between two steps."""

    def __init__(
        self, pipeline: Any, encoding: TextEncoding, dropped: frozenset[int], beginnings: Beginnings
    ) -> None:
        self._pipeline: Any = pipeline
        self._beginnings = beginnings
        self._encoding = encoding
        self._dropped = dropped
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._run, name="npcsdk-openvino", daemon=True)
        self._thread.start()

    def submit(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise _closed()
            self._waiting.append(job)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        running: list[_Job] = []
        held: list[_Job] = []  # Waiting for a beginning; never when nothing is running.
        while True:
            with self._changed:
                while not self._waiting and not running and not self._closed:
                    self._changed.wait()
                # The character that the player is facing goes first.
                fresh = sorted((*held, *self._waiting), key=lambda job: -job.request.priority)
                self._waiting.clear()
                closed = self._closed
            if closed:
                for job in (*running, *fresh):
                    job.said.put(_closed())
                self._drop(running)
                self._pipeline = None
                return
            held = []
            for job in fresh:
                if not job.gone and self._beginnings.waits(job.prompt):
                    held.append(job)
                elif self._begin(job):
                    running.append(job)
            try:
                if running:
                    self._pipeline.step()
                heard = running
                running = [job for job in running if self._read(job)]
                _hand_over(heard)
            except Exception as error:  # Whatever the native part says; the others' replies are lost with it.
                for job in running:
                    self._beginnings.dropped(job)
                    job.said.put(_failed(error))
                self._drop(running)
                running = []

    def _drop(self, running: list[_Job]) -> None:
        """Make the pipeline let go of what it computes: it does so in a step."""
        for job in running:
            job.handle.stop()
        try:
            if self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        except Exception:
            logger.exception("the runtime did not let go of its requests")

    def _begin(self, job: _Job) -> bool:
        if job.gone:
            job.said.put(Finish(reason="cancelled", usage=job.usage()))
            return False
        job.started = time.perf_counter()
        ids = openvino.Tensor(np.array([job.prompt], dtype=np.int64))
        try:
            job.handle = self._pipeline.add_request(next(self._numbers), ids, job.config)
        except Exception as error:
            job.said.put(_failed(error))
            return False
        self._beginnings.begin(job, job.prompt)
        return True

    def _read(self, job: _Job) -> bool:
        """Hand on what a step has brought; False when this was the last of it."""
        if job.gone:
            job.handle.stop()
            return self._end(job, "cancelled")
        status = job.handle.get_status()
        while job.handle.can_read():
            for output in job.handle.read().values():
                for token in output.generated_ids:
                    if not job.first:
                        job.first = time.perf_counter()
                        self._beginnings.computed(job)
                    if token in job.ends:
                        job.handle.stop()
                        return self._end(job, "stop")
                    job.generated += 1
                    if token in self._dropped:
                        continue
                    piece = job.stream.push(token, self._encoding.bytes_of(token))
                    if piece is not None:
                        job.said.put(piece)
                    if job.stream.stopped:
                        job.handle.stop()
                        return self._end(job, "stop")
        if status == genai.GenerationStatus.RUNNING:
            return True
        if status == genai.GenerationStatus.FINISHED:
            return self._end(job, "length")
        self._beginnings.dropped(job)
        job.said.put(
            BackendError(
                "The pages of all conversations together do not hold this one.",
                code="cache_busy",
                hint="Raise the option cache_bytes, or run fewer turns at once.",
            )
        )
        return False

    def _end(self, job: _Job, reason: FinishReason) -> bool:
        if reason != "cancelled" and (piece := job.stream.finish()) is not None:
            job.said.put(piece)
        self._beginnings.dropped(job)
        job.said.put(Finish(reason=reason, usage=job.usage()))
        return False


def _hand_over(jobs: Sequence[_Job]) -> None:
    """Let those who listen take what they got, before a step that holds Python's lock. Who has stopped listening is not
    waited for."""
    until = time.perf_counter() + _PATIENCE
    while any(len(job.said) == 1 for job in jobs) and time.perf_counter() < until:
        time.sleep(0)


class _OpenVinoBackend(Backend):
    """A loaded model."""

    def __init__(
        self, engine: _Engine, encoding: TextEncoding, source: ModelSource, window: int, facts: Facts
    ) -> None:
        self.capabilities = Capabilities(
            backend="openvino_genai",
            model=source.name,
            context_length=window,
            constraints=True,
            token_ids=True,
            seeded=True,
        )
        self._engine = engine
        self._encoding = encoding
        self._facts = facts
        self._guidance: Guidance | None = None
        self._tags: deque[tuple[Constraint, Any]] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def count(self, text: str) -> int:
        return self._encoding.count(text)

    def close(self) -> None:
        self._engine.close()

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        return Delivered(lambda delivery: self._generate(request, delivery))

    def _generate(self, request: Request, delivery: Delivery) -> Generator[Piece | Finish | None, None, None]:
        prompt = self._encoding.encode(request.prompt)
        window = self.capabilities.context_length
        if len(prompt) >= window:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and the model's window {window}, the reply included.",
                hint="Shorten the persona, the lore or the history.",
            )
        if not prompt or not 0 <= min(prompt) <= max(prompt) < self._facts.vocabulary:
            raise BackendError(
                f"The prompt is empty, or holds a token id outside of the model's {self._facts.vocabulary}.",
                code="token_unknown" if prompt else "prompt_empty",
                hint="Segments' ids belong to the model that generated them; another model needs the text.",
            )
        limit = min(request.sampling.max_tokens, window - len(prompt))
        if request.cancel or limit < 1:
            reason: FinishReason = "cancelled" if request.cancel else "length"
            yield Finish(reason=reason, usage=Usage(prompt_tokens=len(prompt), computed_tokens=len(prompt)))
            return
        ends = self._ends(request)
        config = generation_config(genai, request, limit, ends, self._held(request.constraint))
        job = _Job(request, prompt, config, ends, TextStream(request.stop), delivery)
        self._engine.submit(job)
        try:
            while True:
                item = delivery.get()
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, Piece) and request.cancel:
                    yield Finish(reason="cancelled", usage=job.usage())
                    return
                yield item
                if isinstance(item, Finish):
                    return
        finally:
            job.left = True

    def _held(self, constraint: Constraint | None) -> Any:
        """The constraint as the runtime is told it, if there is something to hold a reply to.

        What cannot be held is refused here. The runtime would find out in a step, and everybody's replies be lost.
        """
        if constraint is None or not constraint.tools or not constraint.opening:
            return None
        with self._lock:
            for known, tags in self._tags:
                if known is constraint or known == constraint:
                    return tags
            tags, read = structural_tags(genai, constraint)
            if read:
                if self._guidance is None:
                    self._guidance = Guidance(self._encoding, stop=self._facts.ends[0])
                self._guidance.start(constraint)
            self._tags.appendleft((constraint, tags))
            return tags

    def _ends(self, request: Request) -> frozenset[int]:
        """Ids that end this reply: the model's, stops that are control tokens, and every other control token that has
        no business in a reply, since none can be forbidden here."""
        allowed: set[int | None] = set()
        if request.constraint is not None and request.constraint.tools:
            markers = (request.constraint.opening, request.constraint.closing, request.constraint.after_name)
            allowed = {self._encoding.token_id(text) for text in markers}
        stops = {self._encoding.token_id(text) for text in request.stop}
        others = self._encoding.special - allowed - self._facts.silent
        known = (number for number in stops if number is not None and number < self._facts.vocabulary)
        return frozenset((*self._facts.ends, *known, *others))


def load(source: ModelSource) -> Backend:
    """Load a folder of OpenVINO IR.

    Raises:
        ModelError: code ``model_not_found``, ``model_broken``, ``tokenizer_mismatch``, ``device_absent``,
            ``device_unsupported``, ``option_unknown``, ``option_invalid`` or ``out_of_memory``.
    """
    options = _options(source.options)
    folder = Path(source.path)
    for name in _FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"The model is incomplete: {folder / name} is missing.", code="model_not_found", hint=AGAIN
            )
    facts = Facts.read(folder)
    encoding = TextEncoding.from_file(folder / "tokenizer.json", vocabulary=facts.vocabulary)
    fits = facts.vocabulary // 2 <= encoding.size <= facts.vocabulary + 8
    if not fits or max(facts.ends) >= min(encoding.size, facts.vocabulary):
        raise ModelError(
            f"The tokenizer in {folder} belongs to another model: it has {encoding.size} ids, the model "
            f"{facts.vocabulary}, and {facts.ends} end a reply.",
            code="tokenizer_mismatch",
            hint="Copy tokenizer.json from the model's own folder.",
        )
    window = min(
        facts.context_length, source.context_length, int(options.get("context_length", facts.context_length))
    )
    device = _device(str(options.get("device", "cpu")))
    unknown = encoding.token_id("<unk>")
    if unknown is not None and unknown not in facts.ends:
        facts = replace(facts, silent=facts.silent | {unknown})
    pages = cache_pages(options, facts, window)
    pipeline = _pipeline(folder, device, options, pages)
    engine = _Engine(pipeline, encoding, facts.silent, Beginnings(PAGE, pages))
    return _OpenVinoBackend(engine, encoding, source, window, facts)


def _pipeline(folder: Path, device: str, options: Mapping[str, Any], pages: int) -> Any:
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.dynamic_split_fuse = True  # A long prompt goes in pieces between the others' tokens.
    scheduler.max_num_batched_tokens = int(
        options.get("batch_tokens", step_tokens(folder, device, int(options.get("threads", 0))))
    )
    scheduler.num_kv_blocks = pages
    properties: dict[str, Any] = {}
    for option, name in (("precision", "INFERENCE_PRECISION_HINT"), ("cache_type", "KV_CACHE_PRECISION")):
        if option in options:
            properties[name] = str(options[option])
    if "threads" in options:
        properties["INFERENCE_NUM_THREADS"] = int(options["threads"])
    try:
        with kept_signal_stack():
            return genai.ContinuousBatchingPipeline(str(folder), scheduler, device, properties)
    except Exception as error:  # Whatever the files, the library or a device's driver made of it.
        memory = ran_out_of_memory(error)
        raise ModelError(
            f"The model in {folder} cannot be loaded: {_words(error)}",
            code="out_of_memory" if memory else "model_broken",
            hint="Lower the option cache_bytes or context_length, or convert to fewer bits."
            if memory
            else AGAIN,
        ) from error


def _options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return check_options(
        "openvino_genai",
        given,
        ("device", *_CHOICES, *_NUMBERS),
        numbers=_NUMBERS,
        whole=_NUMBERS,
        choices=_CHOICES,
        others=_NOT_OURS,
    )


def _device(asked: str) -> str:
    """OpenVINO's name for the device to load on. One that is named has to be there."""
    there = [str(name) for name in openvino.Core().available_devices]
    name = asked.upper()
    if name == "AUTO":
        found = next((device for device in there if device.startswith("GPU")), "CPU")
        if found == "CPU":
            logger.warning("no GPU that OpenVINO can use was found: the model runs on the CPU")
        return found
    if name.startswith("NPU"):
        raise ModelError(
            "OpenVINO's continuous batching does not run on an NPU.",
            code="device_unsupported",
            hint='Use the device "cpu" or "gpu".',
        )
    if name not in there and f"{name}.0" not in there:
        raise ModelError(
            f"OpenVINO finds no device {asked!r} here; it finds {', '.join(there)}.",
            code="device_absent",
            hint='Install its driver, or leave the option device out; "auto" takes what there is.',
        )
    return name


def _closed() -> NpcError:
    return BackendError("The model was closed.", code="backend_closed", hint="Load it again.")


def _words(error: Exception) -> str:
    """What the runtime says on one line, without the places in its sources that lead to it."""
    return _PLACES.sub("", " ".join(str(error).split()))[-400:]


def _failed(error: Exception) -> NpcError:
    return BackendError(
        f"The runtime openvino_genai failed: {_words(error)}",
        code="runtime_failed",
        hint="The turn is lost; the model stays loaded and the next one starts afresh.",
    )
