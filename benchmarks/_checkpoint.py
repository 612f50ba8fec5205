"""Hugging Face folders of a given shape with random weights: what converters begin from.

The same network as the GGUF files of `benchmarks._gguf`, with the same tokens.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._gguf import SPOKEN, _byte_letters, _words
from benchmarks.shapes import Shape

__all__ = ["checkpoint"]


def checkpoint(shape: Shape, cache: Path, *, vocabulary: int = 3072) -> Path:
    """A folder with a Nemotron of this shape, made once. It says words of plain letters, and never ends by itself."""
    from safetensors.numpy import save_file

    folder = cache / f"{shape.name}-{vocabulary}-hf"
    if (folder / "config.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    weights: dict[str, NDArray[np.float16]] = {}

    def matrix(name: str, height: int, width: int, silent: int = 0) -> None:
        values = random.standard_normal((height, width), dtype=np.float32) * np.float32(0.02)
        values[:silent] = 0  # Far below the best of the others.
        weights[f"{name}.weight"] = values.astype(np.float16)

    def norm(name: str) -> None:  # Kept around zero.
        weights[f"{name}.weight"] = np.zeros(shape.hidden_size, dtype=np.float16)
        weights[f"{name}.bias"] = np.zeros(shape.hidden_size, dtype=np.float16)

    hidden, inner = shape.hidden_size, shape.intermediate_size
    heads, shared = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    matrix("model.embed_tokens", vocabulary, hidden)
    norm("model.norm")
    matrix("lm_head", vocabulary, hidden, silent=SPOKEN)
    for layer in range(shape.num_hidden_layers):
        block = f"model.layers.{layer}"
        norm(f"{block}.input_layernorm")
        norm(f"{block}.post_attention_layernorm")
        for name, height, width in (
            ("self_attn.q_proj", heads, hidden),
            ("self_attn.k_proj", shared, hidden),
            ("self_attn.v_proj", shared, hidden),
            ("self_attn.o_proj", hidden, heads),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            matrix(f"{block}.{name}", height, width)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tokens = ["<pad>", "<unk>", "<s>", "</s>", *_byte_letters()]
    tokens += [f"Ġ{word}" for word in itertools.islice(_words(), vocabulary - len(tokens))]
    _tokenizer(tokens, folder / "tokenizer.json")
    config = {
        "architectures": ["NemotronForCausalLM"],
        "model_type": "nemotron",
        "vocab_size": vocabulary,
        "hidden_act": "relu2",
        "norm_eps": 1e-5,
        "partial_rotary_factor": 0.5,
        "rope_theta": 10000.0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        **asdict(shape),
    }
    (folder / "npcsdk.json").write_text(
        '{"prompt_format": "nemotron", "tool_format": "nemotron"}', encoding="utf-8"
    )
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return folder


def _tokenizer(tokens: list[str], path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens[:4]])
    tokenizer.save(str(path))
