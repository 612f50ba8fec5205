"""GGUF files of a given shape with random weights: for speed, what a model says does not matter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shapes import Shape

__all__ = ["SPOKEN", "gguf"]

SPOKEN = 260
"""Ids below are control tokens and single bytes, which the model is made never to say."""


def gguf(shape: Shape, cache: Path, *, vocabulary: int = 3072) -> Path:
    """A GGUF file of this shape in Q8_0, made once. It says words of plain letters, and never ends by itself."""
    import gguf as format_

    path = cache / f"{shape.name}-{vocabulary}-q8_0.gguf"
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    writer = format_.GGUFWriter(unfinished, "nemotron")
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_eps(1e-5)
    writer.add_rope_dimension_count(shape.head_dim // 2)
    tokens = ["<pad>", "<unk>", "<s>", "</s>", *_byte_letters()]
    tokens += [f"Ġ{word}" for word in itertools.islice(_words(), vocabulary - len(tokens))]
    kinds = format_.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kinds.CONTROL)] * 4 + [int(kinds.NORMAL)] * (vocabulary - 4))
    writer.add_token_merges(["Ġ a"])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_add_bos_token(False)
    random = np.random.default_rng(0)
    eight = format_.GGMLQuantizationType.Q8_0

    def matrix(name: str, height: int, width: int, silent: int = 0) -> None:
        blocks: list[Any] = []
        for start in range(
            0, height, 8192
        ):  # Whole, a large vocabulary's would take three times its size at once.
            values = random.standard_normal((min(8192, height - start), width), dtype=np.float32)
            values *= np.float32(0.02)
            values[: max(silent - start, 0)] = 0  # Far below the best of the others.
            blocks.append(format_.quants.quantize(values, eight))
        writer.add_tensor(name, np.concatenate(blocks), raw_dtype=eight)

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(shape.hidden_size, dtype=np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(shape.hidden_size, dtype=np.float32))

    hidden, inner = shape.hidden_size, shape.intermediate_size
    heads, shared = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    matrix("token_embd.weight", vocabulary, hidden)
    norm("output_norm")
    matrix("output.weight", vocabulary, hidden, silent=SPOKEN)
    for layer in range(shape.num_hidden_layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
        matrix(f"{block}.attn_q.weight", heads, hidden)
        matrix(f"{block}.attn_k.weight", shared, hidden)
        matrix(f"{block}.attn_v.weight", shared, hidden)
        matrix(f"{block}.attn_output.weight", hidden, heads)
        matrix(f"{block}.ffn_up.weight", inner, hidden)
        matrix(f"{block}.ffn_down.weight", hidden, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)
    return path


def _byte_letters() -> list[str]:
    """How byte-level tokenizers write the 256 bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*map(chr, plain), *(chr(0x100 + at) for at in range(256 - len(plain)))]


def _words() -> Iterator[str]:
    for length in itertools.count(2):
        yield from map("".join, itertools.product("abdeghiklmnorstu", repeat=length))
