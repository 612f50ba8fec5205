"""What the configuration beside a model in OpenVINO IR says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from npcsdk.errors import ModelError

__all__ = ["AGAIN", "PAGE", "Facts", "cache_pages", "step_tokens"]

AGAIN = "Copy the whole folder, or make it again: npcsdk models convert FOLDER OUT --to openvino."
"""What helps a folder that is not whole."""
PAGE = 32
"""Tokens of a page on CPUs; on GPUs it is 16, so the budget holds there too."""
_CACHE_BYTES = 1 << 30
_ELEMENTS = {"u8": 1, "f16": 2, "bf16": 2, "f32": 4}
_STEP_TOKENS = (32, 256)
_WEIGHTS_PER_STEP = 5_400_000_000
"""Bytes of weights, times tokens: what a core with AVX-512 does with in 50 ms."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``config.json`` says of the model. ``silent`` are control tokens without a meaning in a reply."""

    vocabulary: int
    context_length: int
    ends: tuple[int, ...]
    silent: frozenset[int]
    page_numbers: int
    """Keys and values of one token."""

    @classmethod
    def read(cls, folder: Path) -> Facts:
        path = folder / "config.json"
        try:
            content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            config: Mapping[str, Any] = content.get("text_config") or content
            more = folder / "generation_config.json"
            named: Mapping[str, Any] = json.loads(more.read_text(encoding="utf-8")) if more.is_file() else {}
            ends: list[int] = []
            for value in (config.get("eos_token_id"), content.get("eos_token_id"), named.get("eos_token_id")):
                listed = cast("list[Any]", value) if isinstance(value, list) else [value]
                ends += [int(number) for number in listed if number is not None and number not in ends]
            if not ends:
                raise ValueError("it does not say which token ends a reply (eos_token_id)")
            heads = int(config["num_attention_heads"])
            size = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
            shared = int(config.get("num_key_value_heads") or heads)
            quiet = (config.get(name) for name in ("bos_token_id", "pad_token_id", "unk_token_id"))
            return cls(
                vocabulary=int(config["vocab_size"]),
                context_length=int(config.get("max_position_embeddings", 4096)),
                ends=tuple(ends),
                silent=frozenset(number for number in quiet if isinstance(number, int)) - set(ends),
                page_numbers=2 * int(config["num_hidden_layers"]) * shared * size,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise ModelError(
                f"{path} cannot be used: {type(error).__name__}: {error}.", code="model_broken", hint=AGAIN
            ) from error


def cache_pages(options: Mapping[str, Any], facts: Facts, window: int) -> int:
    """How many pages of keys and values the budget allows."""
    page = facts.page_numbers * _ELEMENTS[str(options.get("cache_type", "f16"))] * PAGE
    least = -(-window // PAGE) + 1
    budget = int(options.get("cache_bytes", max(_CACHE_BYTES, page * least)))
    if budget < page * least:
        raise ModelError(
            f"One conversation of {window} tokens needs {page * least} bytes of cache, and cache_bytes is {budget}.",
            code="option_invalid",
            hint="Raise the option cache_bytes, or lower context_length.",
        )
    return budget // page


def step_tokens(folder: Path, device: str, threads: int = 0) -> int:
    """How many tokens a step may compute to take about 50 ms; everybody waits for a step. Fixed when a model is loaded.

    Args:
        threads: of one computation; 0 for one on each core.
    """
    least, most = _STEP_TOKENS
    if device != "CPU":
        return most
    weights = (folder / "openvino_model.bin").stat().st_size
    wanted = _WEIGHTS_PER_STEP * (threads or os.cpu_count() or 1) // max(weights, 1)
    return min(max(wanted // least * least, least), most)
