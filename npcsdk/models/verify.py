"""Whether a folder's files belong together, before a runtime is given them: runtimes say it late, or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from npcsdk.errors import ModelError

__all__ = ["CONTROL", "verify_genai"]

CONTROL: dict[str, tuple[str, ...]] = {
    "gemma": ("<bos>", "<start_of_turn>", "<end_of_turn>"),
    "nemotron": ("<extra_id_0>", "<extra_id_1>"),
}
"""Prompt format -> the control tokens that its prompts are made of; a tokenizer without them is another model's."""


# How an ONNX file names another that holds its weights: a key "location" and its value, in protobuf's spelling.
_LOCATION = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
_SCANNED = 64 << 20
_TOKENS_MORE = 8
"""Ids that a tokenizer may have beyond the model's, for tokens that are added and never used."""


def verify_genai(folder: Path, prompt_format: str = "") -> None:
    """Check a folder for onnxruntime-genai.

    Args:
        prompt_format: how the model is going to be spoken to.

    Raises:
        ModelError: ``model_not_found``: a file is missing that another names; ``tokenizer_mismatch``: the tokenizer is
            another model's.
    """
    model = _inner(_read(folder / "genai_config.json"), "model")
    decoder = _inner(model, "decoder")
    name = decoder.get("filename")
    if isinstance(name, str):
        graph = folder / name
        for other in _weights(graph):
            if not (graph.parent / other).is_file():
                raise ModelError(
                    f"The model is incomplete: {name} keeps its weights in {graph.parent / other}, which is missing.",
                    code="model_not_found",
                    hint="Copy the model's whole folder.",
                )
    if (folder / "tokenizer.json").is_file():
        _tokenizer(folder, model, CONTROL.get(prompt_format, ()))


def _weights(path: Path) -> list[str]:
    """The files in which an ONNX file keeps its weights. A file that is large holds them itself."""
    if not path.is_file() or path.stat().st_size > _SCANNED:
        return []
    data = path.read_bytes()
    names: set[bytes] = set()
    for found in _LOCATION.finditer(data):
        length = found[1][0]
        if length < 128:  # one byte of length; nobody has longer names
            names.add(data[found.end() : found.end() + length])
    return sorted(name.decode("utf-8", "replace") for name in names)


def _tokenizer(folder: Path, model: Mapping[str, Any], control: tuple[str, ...]) -> None:
    path = folder / "tokenizer.json"
    content = _read(path)
    ids: dict[str, int] = {}
    listed = content.get("added_tokens")
    for item in cast("list[dict[str, Any]]", listed) if isinstance(listed, list) else []:
        if isinstance(item.get("id"), int) and isinstance(item.get("content"), str):
            ids[item["content"]] = item["id"]
    vocabulary: Any = _inner(content, "model").get("vocab")
    if isinstance(vocabulary, list):  # a unigram model lists its pieces
        size = len(cast("list[Any]", vocabulary))
    elif isinstance(vocabulary, dict):
        size = 1 + max(cast("dict[str, int]", vocabulary).values(), default=-1)
    else:
        size = 0
    last = max([size - 1, *ids.values()])
    width = model.get("vocab_size")
    if isinstance(width, int) and (last >= width + _TOKENS_MORE or 0 <= last < width // 2):
        raise _mismatch(path, f"it has ids up to {last}, and the model has {width}")
    ends = model.get("eos_token_id")
    for end in cast("list[Any]", ends) if isinstance(ends, list) else [ends]:
        if isinstance(end, int) and last >= 0 and end > last:
            raise _mismatch(path, f"the model ends a reply with the id {end}, and it has ids up to {last}")
    missing = [token for token in control if token not in ids]
    if missing and ids:
        raise _mismatch(
            path, f"it does not know {', '.join(missing)}, and the model's prompts are made of them"
        )


def _mismatch(path: Path, what: str) -> ModelError:
    return ModelError(
        f"The tokenizer {path} belongs to another model: {what}.",
        code="tokenizer_mismatch",
        hint="Copy tokenizer.json from the model's own folder; if the model is right, name its prompt format in an "
        "npcsdk.json.",
    )


def _inner(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing: whoever needs the file says what is wrong with it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
