"""How large a model is, read from its files without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from npcsdk.errors import ModelError
from npcsdk.models.catalog import Size
from npcsdk.models.gguf import read_gguf
from npcsdk.models.identify import Found

__all__ = ["shape_of"]

_WEIGHTS = {
    "onnx_genai": ("*.onnx", "*.onnx.data", "*.onnx_data"),
    "openvino_genai": ("openvino_model.bin",),
    "transformers": ("*.safetensors", "pytorch_model*.bin"),
}
_BITS = {"onnx_genai": 8.6, "openvino_genai": 8.5, "transformers": 16.0, "llama_cpp": 4.9}
"""Of one weight, where the files do not say: a guess to within a factor of two."""
_DTYPES = {"float32": 32.0, "float16": 16.0, "bfloat16": 16.0}


def shape_of(found: Found) -> Size | None:
    """The network's size, its parameters counted from the size of its files; None where they do not tell."""
    path = Path(found.path)
    if found.backend == "llama_cpp":
        return _gguf(path)
    if found.backend not in _WEIGHTS or not path.is_dir():
        return None
    size = sum(file.stat().st_size for pattern in _WEIGHTS[found.backend] for file in path.glob(pattern))
    if found.backend == "onnx_genai":
        decoder = _inner(_inner(_json(path / "genai_config.json"), "model"), "decoder")
        names = ("num_hidden_layers", "num_key_value_heads", "head_size")
        return _size(size, _BITS["onnx_genai"], *(decoder.get(name) for name in names))
    config = _json(path / "config.json")
    config = _inner(config, "text_config") or config
    heads = config.get("num_attention_heads")
    head = config.get("head_dim")
    if head is None and isinstance(heads, int) and heads and isinstance(config.get("hidden_size"), int):
        head = config["hidden_size"] // heads
    bits = _BITS[found.backend]
    if found.backend == "transformers":
        bits = _DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")), bits)
    return _size(
        size, bits, config.get("num_hidden_layers"), config.get("num_key_value_heads") or heads, head
    )


def _gguf(path: Path) -> Size | None:
    try:
        head = read_gguf(path)
    except ModelError:
        return None
    known = {
        name: head.values.get(f"{head.architecture}.{name}") for name in ("block_count", "embedding_length")
    }
    heads = head.values.get(f"{head.architecture}.attention.head_count")
    kv = head.values.get(f"{head.architecture}.attention.head_count_kv", heads)
    size = head.values.get(f"{head.architecture}.attention.key_length")
    if size is None and isinstance(heads, int) and heads and isinstance(known["embedding_length"], int):
        size = known["embedding_length"] // heads
    return _size(path.stat().st_size, _BITS["llama_cpp"], known["block_count"], kv, size)


def _size(size: int, bits: float, *shape: Any) -> Size | None:
    if not size or not all(isinstance(value, int) and value > 0 for value in shape):
        return None
    return Size(int(size * 8 / bits), *shape)


def _inner(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
