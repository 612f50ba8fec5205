"""Models of the real architectures with a few thousand random weights, made when a test needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tests.backends.toy import END, byte_level

WINDOW = 512
_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": WINDOW,
    "bos_token_id": 1,
    "eos_token_id": END,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}


def hugging_face(
    folder: Path, family: str, tokenizer: Tokenizer | None = None, *, head: int = 16, sliding: int = 32
) -> Path:
    """A folder as `save_pretrained` leaves it; ``family`` is nemotron, gemma or gemma2.

    ``head`` is the size of a head: half of what turns in Nemotron's has to be a multiple of 8 for onnxruntime-genai on
    a CPU. ``sliding`` is the window of Gemma 2, which has to hold a whole prompt there.
    """
    import torch
    import transformers

    tokenizer = tokenizer or byte_level()
    heads = _SHAPE["hidden_size"] // head  # llama.cpp's Nemotron knows no other number.
    shape = {**_SHAPE, "vocab_size": tokenizer.get_vocab_size(), "head_dim": head}
    shape |= {"num_attention_heads": heads, "num_key_value_heads": heads // 2}
    if family == "nemotron":
        config: Any = transformers.NemotronConfig(**shape, norm_eps=1e-5)
        model: Any = transformers.NemotronForCausalLM
    elif family == "gemma":
        config, model = transformers.GemmaConfig(**shape), transformers.GemmaForCausalLM
    else:
        config = transformers.Gemma2Config(**shape, sliding_window=sliding, query_pre_attn_scalar=head)
        model = transformers.Gemma2ForCausalLM
    torch.manual_seed(5)
    folder.mkdir(parents=True)
    model(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "npcsdk.json").write_text('{"prompt_format": "nemotron", "tool_format": "nemotron"}')
    return folder


def smaller(path: Path) -> None:
    """Leave a third of a tokenizer: what a model with fewer tokens has."""
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {
        piece: number for piece, number in vocabulary.items() if number < len(vocabulary) // 3
    }
    content["model"]["merges"] = []
    path.write_text(json.dumps(content), encoding="utf-8")


def gguf_file(
    path: Path, family: str, tokenizer: Tokenizer | None = None, *, like: Path | None = None
) -> Path:
    """A GGUF file; ``family`` is nemotron, gemma or gemma2. Byte-level tokenizers go in as GPT-2's, others as
    SentencePiece's. ``like`` is a folder of `hugging_face`, whose weights the file gets."""
    import gguf
    import numpy as np

    tokenizer = tokenizer or byte_level()
    pieces = {number: piece for piece, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    size, hidden, inner, heads, kv, head = len(pieces), 64, 96, 4, 2, 16
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(hidden)
    writer.add_block_count(2)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if family == "nemotron":
        writer.add_layer_norm_eps(1e-5)
        writer.add_rope_dimension_count(head // 2)
    else:
        writer.add_layer_norm_rms_eps(1e-6)
    if family == "gemma2":
        writer.add_sliding_window(32)
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)

    content = json.loads(tokenizer.to_str())
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    added = {token["content"] for token in content["added_tokens"]}
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    byte_level_pieces = content["decoder"]["type"] == "ByteLevel"
    kinds: list[int] = []
    for number in range(size):
        piece = pieces[number]
        kind = gguf.TokenType.NORMAL
        if piece in special:
            kind = gguf.TokenType.UNKNOWN if piece == "<unk>" else gguf.TokenType.CONTROL
        elif piece in added:
            kind = gguf.TokenType.USER_DEFINED
        elif len(piece) == 6 and piece.startswith("<0x"):
            kind = gguf.TokenType.BYTE
        kinds.append(int(kind))
    writer.add_tokenizer_model("gpt2" if byte_level_pieces else "llama")
    writer.add_token_list([pieces[number] for number in range(size)])
    writer.add_token_types(kinds)
    if byte_level_pieces:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(merges)
    else:
        ranks = {merge.replace(" ", ""): rank for rank, merge in enumerate(merges)}
        writer.add_token_scores([-float(ranks.get(pieces[number], 1000)) for number in range(size)])
        writer.add_add_space_prefix(any("Prepend" in str(part) for part in [content["normalizer"]]))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)

    known = _weights(like, family) if like is not None else {}

    def tensor(name: str, *shape: int, around: float = 0.0, spread: float = 0.3) -> None:
        made = known.get(name)
        if made is None:
            assert like is None, name
            made = random.normal(around, spread, size=shape).astype(np.float32)
        assert made.shape == shape
        writer.add_tensor(name, made)

    tensor("token_embd.weight", size, hidden)
    tensor("output_norm.weight", hidden, around=1, spread=0.1)
    if family == "nemotron":
        tensor("output_norm.bias", hidden, spread=0.1)
        tensor("output.weight", size, hidden)
    for layer in range(2):
        block = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm"):
            tensor(f"{block}.{name}.weight", hidden, around=1, spread=0.1)
            if family == "nemotron":
                tensor(f"{block}.{name}.bias", hidden, spread=0.1)
        if family == "gemma2":
            for name in ("post_attention_norm", "post_ffw_norm"):
                tensor(f"{block}.{name}.weight", hidden, around=1, spread=0.1)
        tensor(f"{block}.attn_q.weight", heads * head, hidden)
        tensor(f"{block}.attn_k.weight", kv * head, hidden)
        tensor(f"{block}.attn_v.weight", kv * head, hidden)
        tensor(f"{block}.attn_output.weight", hidden, heads * head)
        tensor(f"{block}.ffn_up.weight", inner, hidden)
        tensor(f"{block}.ffn_down.weight", hidden, inner)
        if family != "nemotron":
            tensor(f"{block}.ffn_gate.weight", inner, hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(folder: Path, family: str) -> dict[str, Any]:
    """The weights of a Hugging Face folder by their names in GGUF, where norms are kept around one and not zero."""
    import gguf
    from safetensors.numpy import load_file

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[family], 2)
    weights: dict[str, Any] = {}
    for name, values in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert known is not None, name
        weights[known] = values + 1 if name.endswith("norm.weight") else values
    return weights
