"""A Hugging Face folder, read for conversion: what kind of network its ``config.json`` describes, and its weights.

Weights are read from safetensors files by themselves, tensor by tensor and without PyTorch, so that a model larger than
the memory can be brought into a smaller precision.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from npcsdk.errors import ModelError

__all__ = ["Checkpoint", "Family", "Network", "Weights", "read_checkpoint"]

Family: TypeAlias = Literal["nemotron", "gemma", "gemma2"]
Floats: TypeAlias = NDArray[np.float32]

_FAMILIES: dict[str, Family] = {
    "NemotronForCausalLM": "nemotron",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma2",
}
_ACTIVATIONS = {
    "nemotron": ("relu2",),
    "gemma": ("gelu", "gelu_pytorch_tanh"),
    "gemma2": ("gelu_pytorch_tanh",),
}
_TYPES: dict[str, str] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_AGAIN = "Copy or download the model's folder again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The numbers of one network.

    ``rotary`` is how many of a head's numbers are rotated; ``scale`` is what scores are multiplied with.
    ``attention_cap`` and ``final_cap`` are soft caps, 0 where there are none. ``window`` is how far layers of even
    number look back, 0 where all look back on everything. ``ends`` are the ids that end a reply, the usual one first.
    """

    family: Family
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_length: int
    epsilon: float
    theta: float
    rotary: int
    scale: float
    tied: bool
    attention_cap: float
    final_cap: float
    window: int
    begin: int | None
    ends: tuple[int, ...]
    pad: int | None


class Weights(Mapping[str, Floats]):
    """Tensors by name, each read when it is asked for, in 32 bits.

    Raises:
        ModelError: ``model_broken``, for a file that is no safetensors file, or a tensor that is missing or of a type
            that npcsdk does not convert (a model that is quantised already).
    """

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[Path, str, tuple[int, ...], int]] = {}
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise ModelError(
                f"The folder {folder} has no *.safetensors files.",
                code="model_not_found",
                hint="Conversion reads safetensors files only; download them, or save the model as such.",
            )
        for path in paths:
            self._index(path)

    def _index(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                size = path.stat().st_size
                if length > size:
                    raise ValueError("it is not whole")
                tensors = cast("dict[str, dict[str, Any]]", json.loads(file.read(length)))
            for name, item in tensors.items():
                if name == "__metadata__":
                    continue
                begin, end = (int(number) for number in item["data_offsets"])
                if 8 + length + end > size:
                    raise ValueError(f"it has {size} bytes of {8 + length + end}")
                shape = tuple(int(number) for number in item["shape"])
                self._places[name] = (path, str(item["dtype"]), shape, 8 + length + begin)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} cannot be read: {error}.", code="model_broken", hint=_AGAIN) from error

    def __getitem__(self, name: str) -> Floats:
        found = self._places.get(name)
        if found is None:
            raise ModelError(
                f"The model is incomplete: its weights {name} are missing.", code="model_broken", hint=_AGAIN
            )
        path, kind, shape, offset = found
        if kind not in _TYPES:
            raise ModelError(
                f"The weights {name} in {path} are of the type {kind}.",
                code="model_unsupported",
                hint="Convert from the model as it was published, in 16 or 32 bits.",
            )
        stored = np.memmap(path, dtype=_TYPES[kind], mode="r", offset=offset, shape=(math.prod(shape),))
        if kind == "BF16":
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            values = stored.astype(np.float32)
        return values.reshape(shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""
        return self._places[name][2]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Any:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder with its network, its weights and its tokenizer's JSON."""

    folder: Path
    network: Network
    weights: Weights
    tokenizer: Mapping[str, Any]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a Hugging Face folder.

    Raises:
        ModelError: ``model_not_found`` (a file is missing), ``model_broken``, or ``model_unsupported`` (an architecture
            that npcsdk does not convert, or a variant of one).
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"The model is incomplete: {folder / name} is missing.",
                code="model_not_found",
                hint="Conversion begins from a Hugging Face folder: config.json, *.safetensors, tokenizer.json.",
            )
    config = _json(folder / "config.json")
    network = _network(folder, config)
    weights = Weights(folder)
    width = weights["model.embed_tokens.weight"].shape
    if width != (network.vocabulary, network.hidden):
        raise ModelError(
            f"The embedding of {folder} has the shape {width}, and config.json says "
            f"{(network.vocabulary, network.hidden)}.",
            code="model_broken",
            hint=_AGAIN,
        )
    return Checkpoint(
        folder=folder, network=network, weights=weights, tokenizer=_json(folder / "tokenizer.json")
    )


def _network(folder: Path, config: Mapping[str, Any]) -> Network:
    named = config.get("architectures")
    architecture = str(cast("list[Any]", named)[0]) if isinstance(named, list) and named else ""
    family = _FAMILIES.get(architecture)
    if family is None:
        raise ModelError(
            f"{folder} is a {architecture or config.get('model_type') or 'model of no named architecture'}.",
            code="model_unsupported",
            hint=f"npcsdk converts {', '.join(_FAMILIES)}.",
        )
    activation = config.get("hidden_activation") or config.get("hidden_act") or _ACTIVATIONS[family][-1]
    rope = cast("Mapping[str, Any]", config.get("rope_parameters") or config.get("rope_scaling") or {})
    kind = rope.get("rope_type", rope.get("type", "default"))
    if activation not in _ACTIVATIONS[family] or kind != "default":
        raise ModelError(
            f"{folder} is a {architecture} of its own kind (activation {activation}, rotation {kind}).",
            code="model_unsupported",
            hint="npcsdk converts these architectures as they were published.",
        )
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head_size = int(config.get("head_dim") or config.get("kv_channels") or hidden // heads)
        factor = float(rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 0.5)))
        query = float(config.get("query_pre_attn_scalar") or head_size) if family == "gemma2" else head_size
        ends = _ends(folder, config)
        return Network(
            family=family,
            hidden=hidden,
            inner=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=head_size,
            vocabulary=int(config["vocab_size"]),
            context_length=int(config.get("max_position_embeddings", 4096)),
            epsilon=float(config["norm_eps"] if family == "nemotron" else config.get("rms_norm_eps", 1e-6)),
            theta=float(rope.get("rope_theta", config.get("rope_theta", 10000.0))),
            rotary=int(head_size * factor) if family == "nemotron" else head_size,
            scale=query**-0.5,
            tied=bool(config.get("tie_word_embeddings", family != "nemotron")),
            attention_cap=float(config.get("attn_logit_softcapping") or 0) if family == "gemma2" else 0.0,
            final_cap=float(config.get("final_logit_softcapping") or 0) if family == "gemma2" else 0.0,
            window=int(config.get("sliding_window") or 0) if family == "gemma2" else 0,
            begin=_number(config.get("bos_token_id")),
            ends=ends,
            pad=_number(config.get("pad_token_id")),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{folder / 'config.json'} cannot be used: {type(error).__name__}: {error}.",
            code="model_broken",
            hint=_AGAIN,
        ) from error


def _ends(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end a reply: Gemma's generation config names more of them than its config."""
    path = folder / "generation_config.json"
    more: Any = _json(path).get("eos_token_id") if path.is_file() else None
    ends: list[int] = []
    for value in (config.get("eos_token_id"), more):
        listed = cast("list[Any]", value) if isinstance(value, list) else [value]
        ends += [number for number in listed if isinstance(number, int) and number not in ends]
    if not ends:
        raise ValueError("it does not say which token ends a reply (eos_token_id)")
    return tuple(ends)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}.", code="model_broken", hint=_AGAIN) from error
    return cast("dict[str, Any]", value)
