"""Models in Hugging Face's own files (``config.json`` and safetensors), run by PyTorch. The owner of `torch` and
`transformers`.

The loop around the runtime is `npcsdk.backends.token_backend`; a conversation's cache is cut back and used again. No
code that comes with a model is run, and nothing is downloaded.

Options of a `ModelSource`:

    device          "cpu", "cuda", "cuda:1", "mps", ...; "all" spreads the model over all GPUs (needs `accelerate`);
                    "auto" takes a GPU if there is one, and says so if there is none. Left out: the same, silently.
    dtype           "bf16", "fp16" or "fp32"; the files' own if absent.
    quantization    "8bit" or "4bit", by `bitsandbytes`, on a GPU.
    attention       "sdpa" (PyTorch's own), "eager" or "flash_attention_2"; the library's choice for the architecture if
                    absent.
    compile         true for torch.compile, or the name of one of its backends. The first replies are slow then.
    threads         threads of one computation, for the whole process; PyTorch's choice if absent.
    context_length  tokens of prompt and reply together, at most the model's.
    cache_bytes     bytes for the caches of all sessions: 512 MiB, or one whole window if that is more.
    piece_ms        milliseconds of one piece of prefill: 50.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch as _torch
import transformers as _transformers

from npcsdk.backends.base import Backend, ModelSource
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.failures import first_line, ran_out_of_memory
from npcsdk.backends.options import check_options
from npcsdk.backends.sampler import Logits
from npcsdk.backends.token_backend import TokenBackend, TokenCache
from npcsdk.errors import MissingExtra, ModelError

__all__ = ["devices", "load"]

logger = logging.getLogger(__name__)

# Both are typed in part only. Everything that they return is named and typed in this module.
torch = cast("Any", _torch)
transformers = cast("Any", _transformers)

_CACHE_BYTES = 512 << 20
_TOKENS_MORE = (
    8  # Ids that a tokenizer may have beyond the model's, for tokens that are added and never used.
)
_NOT_OURS = (
    "sampling",
    "contexts",
    "limits",
)  # Options of a whole world travel together; these are the dialogue's.
_NUMBERS = ("threads", "context_length", "cache_bytes", "piece_ms")
_CHOICES = {
    "dtype": ("bf16", "fp16", "fp32"),
    "quantization": ("8bit", "4bit"),
    "attention": ("sdpa", "eager", "flash_attention_2"),
}
_OPTIONS = ("device", "compile", *_CHOICES, *_NUMBERS)
_AGAIN = "Copy or download the model's folder again."


class _Cache:
    """One conversation's keys and values, all of them in every layer: one of a sliding window could not be cut back."""

    __slots__ = ("_cache", "_device", "_forward")

    def __init__(self, forward: Any, device: Any) -> None:
        self._forward = forward
        self._device = device
        self._cache = transformers.DynamicCache()

    def append(self, ids: Sequence[int]) -> Logits:
        with torch.inference_mode():
            given = torch.tensor([list(ids)], dtype=torch.long, device=self._device)
            out = self._forward(
                input_ids=given, past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
            return cast("Logits", out.logits[0, -1].float().cpu().numpy())

    def rewind(self, length: int) -> None:
        if length:
            self._cache.crop(length - self._cache.get_seq_length())  # how many to remove, below zero
        else:
            self._cache = transformers.DynamicCache()


class _Runtime:
    """A loaded model."""

    name = "transformers"

    def __init__(
        self, model: Any, forward: Any, source: ModelSource, window: int, ends: tuple[int, ...]
    ) -> None:
        self.model = source.name
        self.context_length = window
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.ends = ends
        self.cache_bytes = _cache_bytes(model, window)
        self._model: Any = model
        self._forward: Any = forward
        self._device = model.get_input_embeddings().weight.device

    def new_cache(self) -> TokenCache:
        return _Cache(self._forward, self._device)

    def close(self) -> None:
        self._model = self._forward = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load(source: ModelSource) -> Backend:
    """Load a model folder.

    Raises:
        ModelError: code ``model_not_found``, ``model_broken``, ``model_unsupported``, ``tokenizer_mismatch``,
            ``device_absent``, ``out_of_memory``, ``compile_failed``, ``option_unknown`` or ``option_invalid``.
        MissingExtra: a package that an option asks for is not installed.
    """
    options = _options(source.options)
    folder = Path(source.path)
    for path in (folder / "config.json", folder / "tokenizer.json"):
        if not path.is_file():
            raise ModelError(
                f"The model is incomplete: {path} is missing.",
                code="model_not_found",
                hint="Copy the model's whole folder.",
            )
    device = _device(options.get("device"))
    settings = _settings(options, device)
    if "threads" in options:
        torch.set_num_threads(int(options["threads"]))
    model = _model(folder, settings, "" if device == "all" or "quantization" in options else device)
    encoding = TextEncoding.from_file(
        folder / "tokenizer.json", vocabulary=int(model.get_output_embeddings().weight.shape[0])
    )
    ends = _ends(model, encoding, folder)
    longest = int(getattr(model.config.get_text_config(), "max_position_embeddings", source.context_length))
    window = min(longest, source.context_length, int(options.get("context_length", longest)))
    forward = _compiled(model, options["compile"]) if options.get("compile") else model
    runtime = _Runtime(model, forward, source, window, ends)
    budget = int(options.get("cache_bytes", max(_CACHE_BYTES, runtime.cache_bytes)))
    if budget < runtime.cache_bytes:
        raise ModelError(
            f"One conversation of {window} tokens needs {runtime.cache_bytes} bytes of cache, and cache_bytes is "
            f"{budget}.",
            code="option_invalid",
            hint="Raise the option cache_bytes, or lower context_length.",
        )
    _try(runtime, folder, compiled=forward is not model)
    return TokenBackend(runtime, encoding, budget=budget, piece_ms=float(options.get("piece_ms", 50.0)))


def devices() -> list[dict[str, Any]]:
    """The GPUs that PyTorch can use, for `npcsdk.backends.survey`."""
    found: list[dict[str, Any]] = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        known = torch.cuda.get_device_properties(number)
        found.append({"kind": "cuda", "name": str(known.name), "memory": int(known.total_memory)})
    if torch.backends.mps.is_available():
        found.append({"kind": "metal", "name": "Apple GPU"})
    return found


def _options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return check_options(
        "transformers",
        given,
        _OPTIONS,
        numbers=_NUMBERS,
        choices=_CHOICES,
        switches=("compile",),
        others=_NOT_OURS,
    )


def _device(asked: str | None) -> str:
    """The device to load on. One that is named has to be there."""
    if asked in (None, "auto"):
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if asked and found == "cpu":
            logger.warning("no GPU that PyTorch can use was found: the model runs on the CPU")
        return found
    if asked == "all":
        _package("accelerate", "spreading a model over several GPUs")
    kind = "cuda" if asked == "all" else asked.partition(":")[0]
    try:
        there = kind != "cuda" or torch.cuda.is_available()
        torch.empty(1, device="cuda" if asked == "all" else asked)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = False
    if not there:
        raise ModelError(
            f"PyTorch finds no device {asked!r} here.",
            code="device_absent",
            hint='Install a build of PyTorch for it, or leave the option device out; "auto" takes what there is.',
        )
    return asked


def _settings(options: Mapping[str, Any], device: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "attention" in options:
        settings["attn_implementation"] = options["attention"]
    names = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    settings["dtype"] = names.get(str(options.get("dtype")), "auto")
    if options.get("attention") == "flash_attention_2":
        _package("flash_attn", "FlashAttention 2", "flash-attn")
        _needs_gpu("FlashAttention 2", device)
        if options.get("dtype") == "fp32":
            raise ModelError(
                "FlashAttention 2 computes in 16 bits, and the option dtype asks for 32.",
                code="option_invalid",
                hint="Set dtype to bf16 or fp16, or attention to sdpa.",
            )
    quantization = options.get("quantization")
    if quantization:
        _package("bitsandbytes", f"quantization in {quantization}")
        _package("accelerate", f"quantization in {quantization}")
        _needs_gpu(f"Quantization in {quantization}", device)
        four = quantization == "4bit"
        settings["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=four,
            load_in_8bit=not four,
            **({"bnb_4bit_compute_dtype": torch.bfloat16, "bnb_4bit_quant_type": "nf4"} if four else {}),
        )
    if device == "all":
        settings["device_map"] = "auto"
    elif quantization:
        settings["device_map"] = {"": device}
    return settings


def _compiled(model: Any, wanted: bool | str) -> Any:
    backend = wanted if isinstance(wanted, str) else "inductor"
    try:
        return torch.compile(model, dynamic=True, backend=backend)
    except Exception as error:
        raise ModelError(
            f"torch.compile has no backend {backend!r}: {first_line(error)}",
            code="option_invalid",
            hint=f"It has: {', '.join(map(str, torch.compiler.list_backends()))}; true means inductor.",
        ) from error


def _needs_gpu(what: str, device: str) -> None:
    if device.partition(":")[0] not in ("cuda", "all"):
        raise ModelError(
            f"{what} needs an NVIDIA or AMD GPU, and the model is to run on {device!r}.",
            code="device_absent",
            hint="Leave that option out here; on a processor, dtype bf16 halves the memory.",
        )


def _package(module: str, purpose: str, package: str = "") -> None:
    if importlib.util.find_spec(module) is None:
        own = f'"npcsdk[{"transformers" if module == "accelerate" else module}]"'
        raise MissingExtra(
            f"For {purpose} the package {package or module!r} is needed, which is not installed.",
            hint=f"Install it: pip install {package or own}",
        )


def _model(folder: Path, settings: dict[str, Any], device: str) -> Any:
    try:
        model, said = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **settings,
        )
        # What is missing would be made up at random, with a line in a log.
        missing = sorted(str(name) for name in said["missing_keys"])
        if missing:
            raise ValueError(f"the weights {', '.join(missing[:3])} are missing ({len(missing)} in all)")
        return (model.to(device) if device else model).eval()
    except Exception as error:  # Whatever the files, the library or a device's driver made of it.
        raise _failed(folder, "cannot be loaded", error) from error


def _failed(folder: Path, what: str, error: Exception) -> ModelError:
    if ran_out_of_memory(error):
        return ModelError(
            f"There is not enough memory for the model in {folder}: {first_line(error)}",
            code="out_of_memory",
            hint="Try the option dtype bf16, a quantization, another device, or a smaller model.",
        )
    message = f"The model in {folder} {what}: {first_line(error)}"
    if not _is_known(folder):
        hint = "Update the package transformers, or take a converted model that another runtime runs."
        return ModelError(message, code="model_unsupported", hint=hint)
    return ModelError(message, code="model_broken", hint=_AGAIN)


def _is_known(folder: Path) -> bool:
    """Whether the installed library has the architecture that the files name. Asked only of a model that fails."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return True  # Then that is what is wrong.
    return kind in transformers.CONFIG_MAPPING


def _ends(model: Any, encoding: TextEncoding, folder: Path) -> tuple[int, ...]:
    """The ids that end a reply, which the files name in one of several places."""
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        value: Any = getattr(config, "eos_token_id", None)
        ends = cast("list[int]", value) if isinstance(value, list) else [value]
        if ends and all(isinstance(end, int) for end in ends):
            break
    else:
        raise ModelError(
            f"{folder / 'config.json'} does not say which token ends a reply (eos_token_id).",
            code="model_broken",
            hint=_AGAIN,
        )
    if (
        max(ends) >= min(encoding.vocabulary, encoding.size)
        or encoding.size > encoding.vocabulary + _TOKENS_MORE
        or encoding.size < encoding.vocabulary // 2
    ):
        raise ModelError(
            f"The tokenizer in {folder} belongs to another model: it has {encoding.size} ids, the model "
            f"{encoding.vocabulary}, and {ends} end a reply.",
            code="tokenizer_mismatch",
            hint="Copy tokenizer.json from the model's own folder.",
        )
    return tuple(dict.fromkeys(ends))


def _cache_bytes(model: Any, window: int) -> int:
    """Bytes of keys and values for a whole window."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize * window)


def _try(runtime: _Runtime, folder: Path, *, compiled: bool = False) -> None:
    """Compute one token: a model that loads may still not run."""
    problem = ""
    try:
        logits = runtime.new_cache().append((runtime.ends[0],))
        if logits.shape != (runtime.vocabulary,) or not bool((abs(logits) < float("inf")).all()):
            problem = f"it computed logits of shape {logits.shape}, not {runtime.vocabulary} finite numbers"
    except Exception as error:
        runtime.close()
        if compiled and not ran_out_of_memory(error):
            raise ModelError(
                f"The model in {folder} cannot be compiled: {first_line(error)}",
                code="compile_failed",
                hint="Leave the option compile out; torch.compile needs a C++ compiler, and on a GPU Triton.",
            ) from error
        raise _failed(folder, "does not run", error) from error
    if problem:
        raise ModelError(f"The model in {folder} does not run: {problem}.", code="model_broken", hint=_AGAIN)


transformers.utils.logging.disable_progress_bar()  # A game's console is not for progress bars.
