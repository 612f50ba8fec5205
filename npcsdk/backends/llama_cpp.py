"""GGUF files, run by llama.cpp through llama-cpp-python's low-level interface. The owner of `llama_cpp`.

One context holds a sequence for each conversation, all of them in one memory of cells, so that what their prompts have
in common at the beginning is computed and kept once. What is computed when is `npcsdk.backends.scheduler`'s, and the
loop around it `npcsdk.backends.llama_engine`'s. The runtime's own chat templates, sampling and grammars are not used.

Options of a `ModelSource`:

    device          "cpu", "gpu" (all layers; the package has to be built for it), or "auto", which says so if there is
                    none. Left out: a GPU if the package has one, silently.
    threads         threads of one computation; one for each core if absent.
    context_length  tokens of prompt and reply together, at most the model's.
    cache_bytes     bytes for the caches of all sessions, taken at once: 512 MiB, or one whole window if that is more.
    saved_bytes     bytes for the caches of sessions that had to make room, so that they come back at once: none.
    cache_type      "f16" (default), or "f32": twice the memory, and a reply that depends less on how a prompt came in.
    piece_ms        milliseconds that the prompts' part of a step should take while somebody is answered: 50.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import llama_cpp as _llama_cpp  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from numpy.typing import NDArray

from npcsdk.backends.base import Backend, ModelSource
from npcsdk.backends.encoding import Encoding, TextEncoding, VocabularyEncoding
from npcsdk.backends.llama_engine import BatchingBackend
from npcsdk.backends.options import check_options
from npcsdk.backends.plan import Entry
from npcsdk.backends.sampler import Logits
from npcsdk.errors import ModelError

__all__ = ["load"]

logger = logging.getLogger(__name__)
llama = cast("Any", _llama_cpp)  # ctypes: everything that it returns is named and typed in this module.

_CACHE_BYTES = 512 << 20
_NOT_OURS = (
    "sampling",
    "contexts",
    "limits",
)  # Options of a whole world travel together; these are the dialogue's.
_CHOICES = {"device": ("cpu", "gpu", "auto"), "cache_type": ("f16", "f32")}
_WHOLE = ("threads", "context_length", "cache_bytes", "saved_bytes")
_NUMBERS = (*_WHOLE, "piece_ms")
_MOST_THREADS = 512  # With more the runtime ends the process.
_MOST_SEQUENCES = 64
_BATCH = 512
_PAD = 256  # The runtime rounds a sequence's window up to this many cells.
_CPUINFO = Path("/proc/cpuinfo")

_errors: deque[str] = deque(maxlen=16)


@llama.llama_log_callback
def _log(level: int, text: bytes, _: object) -> None:
    # The runtime prints to stderr otherwise; a failure says why in the first line of this level.
    if level == 4 and text.strip():
        _errors.append(" ".join(text.decode("utf-8", "replace").split())[:300])


def _why() -> str:
    return _errors[0] if _errors else "llama.cpp does not say why"


llama.llama_log_set(_log, ctypes.c_void_p(0))
llama.llama_backend_init()


@dataclass(frozen=True, slots=True)
class Shape:
    """What bounds the caches: all of it known once the file is loaded."""

    window: int
    cells: int
    cell_bytes: int
    sequences: int
    element: int


class _Runtime:
    """A loaded model and its one context. Used by one thread at a time."""

    name = "llama_cpp"
    batch = _BATCH

    def __init__(self, model: Any, context: Any, name: str, shape: Shape, ends: tuple[int, ...]) -> None:
        self.model = name
        self.context_length = shape.window
        self.vocabulary = int(llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model)))
        self.ends = ends
        self.cells = shape.cells
        self.sequences = shape.sequences
        self.cell_bytes = shape.cell_bytes
        self.step_s = 0.0
        # A recurrent memory is one state for all tokens so far: it has no beginning that could be kept.
        self.partial = not (llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model))
        self._sliding = int(llama.llama_model_n_swa(model))
        self._model = model
        self._context = context
        self._memory = llama.llama_get_memory(context)
        self._row = ctypes.c_float * self.vocabulary
        # The batch's arrays are ours, so that they are filled by whole pieces and not token by token.
        self._ids = np.zeros(_BATCH, dtype=np.int32)
        self._positions = np.zeros(_BATCH, dtype=np.int32)
        self._sequence = np.zeros(_BATCH, dtype=np.int32)
        self._ones = np.ones(_BATCH, dtype=np.int32)
        self._wanted = np.zeros(_BATCH, dtype=np.int8)
        first = int(self._sequence.ctypes.data)
        self._pointers = np.arange(first, first + 4 * _BATCH, 4, dtype=np.uintp)
        self._batch = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self._ids, llama.llama_token),
            embd=None,
            pos=_pointer(self._positions, llama.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(llama.llama_seq_id)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def compute(self, entries: Sequence[Entry]) -> list[Logits]:
        at = 0
        rows: list[int] = []
        for entry in entries:
            end = at + len(entry.tokens)
            self._ids[at:end] = entry.tokens
            self._positions[at:end] = np.arange(entry.start, entry.start + end - at)
            self._sequence[at:end] = entry.sequence
            self._wanted[at:end] = 0
            if entry.last:
                self._wanted[end - 1] = 1
                rows.append(end - 1)
            at = end
        self._batch.n_tokens = at
        _errors.clear()
        code = llama.llama_decode(self._context, self._batch)
        if code == 1:
            raise RuntimeError(f"there is no room for {at} tokens among the {self.cells} of its memory")
        if code:
            raise RuntimeError(f"llama_decode returned {code} for {at} tokens: {_why()}")
        return [self._logits(row) for row in rows]

    def _logits(self, row: int) -> Logits:
        pointer = llama.llama_get_logits_ith(self._context, row)
        if not pointer:
            raise RuntimeError(f"llama.cpp gave no logits: {_why()}")
        return np.ctypeslib.as_array(self._row.from_address(ctypes.addressof(pointer.contents)))

    def cut(self, sequence: int, length: int) -> bool:
        if length and not self._holds(sequence, length):
            return False
        return bool(llama.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def copy(self, source: int, sequence: int, length: int) -> bool:
        if not self._holds(source, length):
            return False
        llama.llama_memory_seq_cp(self._memory, source, sequence, 0, length)
        return True

    def _holds(self, sequence: int, length: int) -> bool:
        """Whether all is there that the token after the first ``length`` looks at. Of what has left a sliding window,
        the cells may have gone to others."""
        first = llama.llama_memory_seq_pos_min(self._memory, sequence)
        last = llama.llama_memory_seq_pos_max(self._memory, sequence)
        needed = max(0, length - self._sliding) if self._sliding else 0
        return 0 <= first <= needed and last >= length - 1

    def save(self, sequence: int) -> bytes:
        try:
            size = llama.llama_state_seq_get_size(self._context, sequence)
            buffer = (ctypes.c_uint8 * size)()
            written = llama.llama_state_seq_get_data(self._context, buffer, size, sequence)
            return bytes(buffer) if written == size else b""
        except MemoryError:
            return b""

    def load(self, sequence: int, data: bytes) -> bool:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        return bool(data) and bool(llama.llama_state_seq_set_data(self._context, buffer, len(data), sequence))

    def close(self) -> None:
        llama.llama_free(self._context)
        llama.llama_model_free(self._model)
        self._context = self._model = self._memory = None


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return cast("Any", ctypes.cast)(int(array.ctypes.data), ctypes.POINTER(kind))


def load(source: ModelSource) -> Backend:
    """Load a GGUF file.

    Raises:
        ModelError: code ``model_not_found``, ``model_broken``, ``device_absent``, ``out_of_memory``,
            ``option_unknown`` or ``option_invalid``.
    """
    options = _options(source.options)
    path = Path(source.path)
    if not path.is_file():
        raise ModelError(
            f"There is no model at {path}.", code="model_not_found", hint="Check the path of the .gguf file."
        )
    model = _model(path, _layers(options.get("device")))
    context = None
    try:
        vocabulary = llama.llama_model_get_vocab(model)
        encoding, ends = _encoding(vocabulary, path)
        # A tokenizer that splits texts in a way that llama.cpp does not have travels in the file as it is.
        own = _text(model, "tokenizer.huggingface.json")
        if own:
            encoding = TextEncoding.from_text(own, path, vocabulary=encoding.vocabulary)
        shape = _shape(model, source, options)
        context = _context(
            model, shape, int(options.get("threads", min(os.cpu_count() or 1, _MOST_THREADS))), path
        )
        runtime = _Runtime(model, context, source.name, shape, ends)
        _try(runtime, path)
        return BatchingBackend(
            runtime,
            encoding,
            piece_ms=float(options.get("piece_ms", 50.0)),
            saved_bytes=int(options.get("saved_bytes", 0)),
        )
    except BaseException:
        if context is not None:
            llama.llama_free(context)
        llama.llama_model_free(model)
        raise


def _options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    check_options(
        "llama_cpp",
        given,
        (*_CHOICES, *_NUMBERS),
        numbers=_NUMBERS,
        choices=_CHOICES,
        whole=_WHOLE,
        others=_NOT_OURS,
    )
    if int(given.get("threads", 1)) > _MOST_THREADS:
        raise ModelError(
            f"The option 'threads' cannot be {given['threads']}.",
            code="option_invalid",
            hint=f"llama.cpp takes up to {_MOST_THREADS}.",
        )
    return given


def _layers(device: str | None) -> int:
    """How many layers go to a GPU: none, or all."""
    able = bool(llama.llama_supports_gpu_offload())
    if device == "gpu" and not able:
        raise ModelError(
            "The installed llama-cpp-python runs on the CPU only.",
            code="device_absent",
            hint='Install a build for your GPU, or leave the option device out; "auto" takes what there is.',
        )
    if device == "auto" and not able:
        logger.warning("the installed llama-cpp-python has no GPU: the model runs on the CPU")
    return -1 if able and device != "cpu" else 0


def _has_amx() -> bool:
    try:
        return "amx_int8" in _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _model(path: Path, layers: int) -> Any:
    _errors.clear()
    settings = llama.llama_model_default_params()
    settings.n_gpu_layers = layers
    # On processors with AMX the runtime's rearranged weights crash the process (seen with 0.3.36).
    settings.use_extra_bufts = not _has_amx()
    model = llama.llama_model_load_from_file(str(path).encode(), settings)
    if not model:
        memory = "alloc" in _why()
        raise ModelError(
            f"The model {path} cannot be loaded: {_why()}",
            code="out_of_memory" if memory else "model_broken",
            hint="Try a file with fewer bits for each weight."
            if memory
            else "Download the file again; or the installed llama-cpp-python is older than the model's architecture.",
        )
    return model


def _shape(model: Any, source: ModelSource, options: Mapping[str, Any]) -> Shape:
    element = 4 if options.get("cache_type") == "f32" else 2
    trained = int(llama.llama_model_n_ctx_train(model))
    window = min(trained, source.context_length, int(options.get("context_length", trained)))
    size = _number(model, "attention.key_length") or llama.llama_model_n_embd(
        model
    ) // llama.llama_model_n_head(model)
    values = _number(model, "attention.value_length") or size
    cell = llama.llama_model_n_layer(model) * llama.llama_model_n_head_kv(model) * (size + values) * element
    one = cell * -(-window // _PAD) * _PAD
    budget = int(options.get("cache_bytes", max(_CACHE_BYTES, one)))
    if budget < one:
        raise ModelError(
            f"One conversation of {window} tokens needs {one} bytes of cache, and cache_bytes is {budget}.",
            code="option_invalid",
            hint="Raise the option cache_bytes, or lower context_length.",
        )
    # More than a whole window for each sequence would never be used.
    cells = min(budget // cell // _PAD, -(-window // _PAD) * _MOST_SEQUENCES) * _PAD
    return Shape(window, cells, cell, _MOST_SEQUENCES, element)


def _number(model: Any, key: str) -> int:
    """A number of the file's head, by its key without the architecture; 0 if it is not there."""
    text = _text(model, f"{_text(model, 'general.architecture')}.{key}")
    return int(text) if text.isdecimal() else 0


def _text(model: Any, key: str) -> str:
    buffer = ctypes.create_string_buffer(128)
    size = llama.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    if size >= len(buffer):
        buffer = ctypes.create_string_buffer(size + 1)
        llama.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if size >= 0 else ""


def _context(model: Any, shape: Shape, threads: int, path: Path) -> Any:
    settings = llama.llama_context_default_params()
    settings.n_ctx = shape.cells
    settings.n_seq_max = settings.n_outputs_max = shape.sequences
    settings.kv_unified = True  # One memory of cells, which sequences can share.
    settings.swa_full = True  # A sliding window's cells could not be cut back.
    settings.type_k = settings.type_v = llama.GGML_TYPE_F32 if shape.element == 4 else llama.GGML_TYPE_F16
    if shape.element == 4:
        # The fused attention of CPUs works in 16 bits whatever the cache holds: logits off by 0.2% of their spread.
        settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.n_batch = settings.n_ubatch = _BATCH
    settings.n_threads = settings.n_threads_batch = threads
    _errors.clear()
    context = llama.llama_init_from_model(model, settings)
    if not context:
        raise ModelError(
            f"There is not enough memory to run the model {path}: {_why()}",
            code="out_of_memory",
            hint="Lower the option context_length or cache_bytes.",
        )
    return context


def _encoding(vocabulary: Any, path: Path) -> tuple[Encoding, tuple[int, ...]]:
    """The file's own tokenizer, and the ids that end a reply."""
    tokens: list[bytes] = []
    markers: dict[int, str] = {}
    special: list[int] = []
    ends: list[int] = []
    buffer = ctypes.create_string_buffer(1024)
    hidden = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
    ours = hidden | llama.LLAMA_TOKEN_ATTR_USER_DEFINED
    for token in range(llama.llama_vocab_n_tokens(vocabulary)):
        size = llama.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
        data = buffer.raw[: max(size, 0)]
        kind = llama.llama_vocab_get_attr(vocabulary, token)
        spelled = data.decode("utf-8", "replace")
        # Added tokens that are only white space (Gemma's runs of line breaks) are text; all others are ours.
        if kind & ours and (kind & hidden or spelled.strip()):
            markers[token] = spelled
            if kind & hidden:
                special.append(token)
            if llama.llama_vocab_is_eog(vocabulary, token):
                ends.append(token)
        tokens.append(data)
    last = llama.llama_vocab_eos(vocabulary)
    ends.sort(key=lambda token: token != last)
    if not ends:
        raise ModelError(
            f"The model {path} does not say which token ends a reply.",
            code="model_broken",
            hint="Download the file again, or convert it again with its tokenizer.",
        )

    def tokenize(text: str) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        ids = (llama.llama_token * room)()
        count = llama.llama_tokenize(vocabulary, data, len(data), ids, room, False, False)
        if count < 0:
            raise RuntimeError(f"llama_tokenize returned {count}")
        return list(ids[:count])

    return VocabularyEncoding(tokens, markers, special, tokenize), tuple(ends)


def _try(runtime: _Runtime, path: Path) -> None:
    """Compute three tokens: a model that loads may still not run.

    The first reads the file, the others tell the time.
    """
    times: list[float] = []
    finite = True
    try:
        for at in range(3):
            started = time.perf_counter()
            (logits,) = runtime.compute([Entry(0, 0, at, (runtime.ends[0],), False, True)])
            times.append(time.perf_counter() - started)
            finite = finite and bool(np.isfinite(logits).all())
    except RuntimeError as error:
        raise ModelError(
            f"The model {path} does not run: {error}",
            code="model_broken",
            hint="Download the file again; or the installed llama-cpp-python is broken.",
        ) from error
    runtime.cut(0, 0)
    runtime.step_s = min(times)
    if not finite:
        raise ModelError(
            f"The model {path} computes numbers that are not finite.",
            code="model_broken",
            hint="Download the file again.",
        )
