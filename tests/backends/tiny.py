"""Models of the real architectures with a few thousand random weights, made when a test needs them."""

from __future__ import annotations

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


def hugging_face(folder: Path, family: str, tokenizer: Tokenizer | None = None) -> Path:
    """A folder as `save_pretrained` leaves it; ``family`` is nemotron, gemma or gemma2."""
    import torch
    import transformers

    tokenizer = tokenizer or byte_level()
    shape = {**_SHAPE, "vocab_size": tokenizer.get_vocab_size()}
    if family == "nemotron":
        config: Any = transformers.NemotronConfig(**shape, head_dim=16, norm_eps=1e-5)
        model: Any = transformers.NemotronForCausalLM
    elif family == "gemma":
        config, model = transformers.GemmaConfig(**shape, head_dim=16), transformers.GemmaForCausalLM
    else:
        config = transformers.Gemma2Config(**shape, head_dim=16, sliding_window=32, query_pre_attn_scalar=16)
        model = transformers.Gemma2ForCausalLM
    torch.manual_seed(5)
    folder.mkdir(parents=True)
    model(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "npcsdk.json").write_text('{"prompt_format": "nemotron", "tool_format": "nemotron"}')
    return folder
